/* SPDX-License-Identifier: MIT */
/* Each privileged or sensitive instruction in guest-kernel mode: the trap, or the answer. */
#include "pvg.h"

u64 slot[4];

/* Runs fn and prints the trap, or rax (with `mask` applied) when there was none. */
static void show(const char *name, void (*fn)(void), u64 mask)
{
	if (pvg_try(fn)) {
		pvg_report(name, fn);
		return;
	}
	printf("%s: no trap", name);
	if (mask)
		printf(", %lx", pvg_caught.result & mask);
	printf("\n");
}
#define SHOW(name, text, mask)                                                                     \
	do {                                                                                       \
		extern void s_##name(void);                                                        \
		show(text, s_##name, mask);                                                        \
	} while (0)
#define I(name, text)                                                                              \
	__asm__(".pushsection .text\n.globl s_" #name "\ns_" #name ":\n" text                      \
		"\nret\n.popsection\n")

I(hlt, "hlt");
I(cli, "cli");
I(sti, "sti");
I(clts, "clts");
I(invd, "invd");
I(wbinvd, "wbinvd");
I(invlpg, "invlpg (%rsp)");
I(lgdt, "lgdt (%rsp)");
I(lidt, "lidt (%rsp)");
I(lldt, "xorl %eax, %eax\n lldt %ax");
I(ltr, "xorl %eax, %eax\n ltr %ax");
I(lmsw, "movl $1, %eax\n lmsw %ax");
I(swapgs, "swapgs");
I(sysret, "sysretq");
I(sysexit, "sysexitq");
I(iretq0,
  "movl %cs, %eax\n andl $~3, %eax\n movq %rsp, %rcx\n movl %ss, %edx\n pushq %rdx\n pushq %rcx\n"
  " pushfq\n pushq %rax\n leaq 1f(%rip), %rax\n pushq %rax\n iretq\n1:");
I(iretq3, "movl %cs, %eax\n movq %rsp, %rcx\n movl %ss, %edx\n pushq %rdx\n pushq %rcx\n pushfq\n"
	  " pushq %rax\n leaq 1f(%rip), %rax\n pushq %rax\n iretq\n1: movl $1, %eax");
I(lretq,
  "movl %cs, %eax\n pushq %rax\n leaq 1f(%rip), %rax\n pushq %rax\n lretq\n1: movl $1, %eax");
I(lretq0,
  "movl %cs, %eax\n andl $~3, %eax\n pushq %rax\n leaq 1f(%rip), %rax\n pushq %rax\n lretq\n"
  "1: movl $1, %eax");
I(rdpmc, "xorl %ecx, %ecx\n rdpmc");
I(monitor, "movq %rsp, %rax\n xorl %ecx, %ecx\n xorl %edx, %edx\n monitor");
I(mwait, "xorl %eax, %eax\n xorl %ecx, %ecx\n mwait");
I(rdtsc, "rdtsc\n xorl %eax, %eax\n");
I(vmxoff, "vmxoff");
I(rsm, "rsm");
I(xsetbv, "xorl %ecx, %ecx\n movl $1, %eax\n xorl %edx, %edx\n xsetbv");
I(outb80, "xorl %eax, %eax\n outb %al, $0x80");
I(inb60, "inb $0x60, %al");
I(indx, "movl $0xcf8, %edx\n inl %dx, %eax");
I(outs, "leaq slot(%rip), %rsi\n movl $0x80, %edx\n outsb");
I(ins, "leaq slot(%rip), %rdi\n movl $0x60, %edx\n insb");
I(rcr0, "movq %cr0, %rax");
I(rcr2, "movq %cr2, %rax");
I(rcr3, "movq %cr3, %rax");
I(rcr4, "movq %cr4, %rax");
I(rcr8, "movq %cr8, %rax");
I(rcr1, ".byte 0x0f, 0x20, 0xc8");
I(rcr5, ".byte 0x0f, 0x20, 0xe8");
I(wcr0_same, "movq %cr0, %rax\n movq %rax, %cr0");
I(wcr0_ts, "movq %cr0, %rax\n orq $8, %rax\n movq %rax, %cr0\n movq %cr0, %rax\n clts");
I(wcr0_wp, "movq %cr0, %rax\n btrq $16, %rax\n movq %rax, %cr0");
I(wcr0_cd, "movq %cr0, %rax\n btsq $30, %rax\n movq %rax, %cr0");
I(wcr0_am, "movq %cr0, %rax\n btrq $18, %rax\n movq %rax, %cr0\n movq %cr0, %rax");
I(wcr2, "movl $0x12345, %eax\n movq %rax, %cr2\n movq %cr2, %rax");
I(wcr3, "movq %cr3, %rax\n movq %rax, %cr3");
I(wcr3_bad, "movq $0x7ffff000, %rax\n movq %rax, %cr3");
I(wcr3_low, "movq %cr3, %rax\n orq $0x18, %rax\n movq %rax, %cr3\n movq %cr3, %rax");
I(wcr4_same, "movq %cr4, %rax\n movq %rax, %cr4");
I(wcr4_tsd, "movq %cr4, %rax\n orq $4, %rax\n movq %rax, %cr4\n movq %cr4, %rax\n movq %rax, %rcx\n"
	    " andq $~4, %rcx\n movq %rcx, %cr4");
I(wcr4_pge, "movq %cr4, %rax\n btcq $7, %rax\n movq %rax, %cr4\n movq %cr4, %rax");
I(wcr4_smep, "movq %cr4, %rax\n btsq $20, %rax\n movq %rax, %cr4\n movq %cr4, %rax");
I(wcr4_vmxe, "movq %cr4, %rax\n btsq $13, %rax\n movq %rax, %cr4\n movq %cr4, %rax");
I(wcr4_pae, "movq %cr4, %rax\n btrq $5, %rax\n movq %rax, %cr4\n movq %cr4, %rax");
I(wcr4_zero, "xorl %eax, %eax\n movq %rax, %cr4\n movq %cr4, %rax");
I(wcr8, "xorl %eax, %eax\n movq %rax, %cr8");
I(rdr0, "movq %dr0, %rax");
I(rdr4, "movq %db4, %rax");
I(rdr6, "movq %dr6, %rax");
I(rdr7, "movq %dr7, %rax");
I(wdr0, "movl $0x1000, %eax\n movq %rax, %dr0\n xorl %eax, %eax\n movq %dr0, %rax");
I(wdr0_bad, "movabsq $0xffff82d040200000, %rax\n movq %rax, %dr0");
I(wdr6, "xorl %eax, %eax\n movq %rax, %dr6\n movq %dr6, %rax");
I(wdr7, "movl $0x400, %eax\n movq %rax, %dr7\n movq %dr7, %rax");
I(wdr7_gd, "movl $0x2400, %eax\n movq %rax, %dr7");
/* Sensitive, but they do not trap on hardware without UMIP. */
I(smsw, "xorl %eax, %eax\n smsw %eax\n andl $8, %eax\n movl $1, %eax");
I(sgdt, "subq $16, %rsp\n sgdt (%rsp)\n addq $16, %rsp\n movl $1, %eax");
I(sidt, "subq $16, %rsp\n sidt (%rsp)\n addq $16, %rsp\n movl $1, %eax");
I(sldt, "xorl %eax, %eax\n sldt %eax");
I(str, "xorl %eax, %eax\n str %eax");
I(mov_cs, "xorl %eax, %eax\n movl %cs, %eax");
I(mov_ss, "xorl %eax, %eax\n movl %ss, %eax");
I(mov_ds, "xorl %eax, %eax\n movl %ds, %eax\n orq $0x100000, %rax");
I(lar_cs, "movl $0xe033, %ecx\n xorl %eax, %eax\n lar %ecx, %eax\n jz 1f\n movl $-1, %eax\n1:");
I(lar_ss, "movl $0xe02b, %ecx\n xorl %eax, %eax\n lar %ecx, %eax\n jz 1f\n movl $-1, %eax\n1:");
I(lsl_cs, "movl $0xe033, %ecx\n xorl %eax, %eax\n lsl %ecx, %eax\n jz 1f\n movl $1, %eax\n1:");
I(lar_null, "xorl %ecx, %ecx\n movl $7, %eax\n lar %ecx, %eax\n jz 1f\n orl $0x100, %eax\n1:");
I(lar_xen, "movl $0xe008, %ecx\n movl $7, %eax\n lar %ecx, %eax\n jz 1f\n orl $0x100, %eax\n1:");
I(verr_cs, "movl $0xe033, %ecx\n xorl %eax, %eax\n verr %cx\n setz %al\n orl $0x10, %eax");
I(verw_ds, "movl $0xe02b, %ecx\n xorl %eax, %eax\n verw %cx\n setz %al\n orl $0x10, %eax");
I(pushf, "pushfq\n popq %rax\n andl $0x3f7700, %eax");
I(popf_cli, "pushq $0x2\n popfq\n pushfq\n popq %rax\n andl $0x7700, %eax");
I(popf_iopl, "pushq $0x3202\n popfq\n pushfq\n popq %rax\n andl $0x7700, %eax");
I(rdfsbase, "rdfsbase %rax");
I(wrgsbase, "rdgsbase %rax\n wrgsbase %rax");
I(ud_cpuid, "pushq %rbx\n movl $0x40000000, %eax\n xorl %ecx, %ecx\n ud2\n .ascii \"xen\"\n cpuid\n"
	    " movl %ebx, %eax\n shlq $32, %rcx\n orq %rcx, %rax\n popq %rbx");
I(forced_rdtsc, "ud2\n .ascii \"xen\"\n rdtsc");
I(forced_66_cpuid, "ud2\n .ascii \"xen\"\n .byte 0x66\n cpuid");

static void privileged(void)
{
	SHOW(hlt, "hlt", 0);
	SHOW(cli, "cli", 0);
	SHOW(sti, "sti", 0);
	SHOW(clts, "clts", 0);
	SHOW(invd, "invd", 0);
	SHOW(wbinvd, "wbinvd", 0);
	SHOW(invlpg, "invlpg", 0);
	SHOW(lgdt, "lgdt", 0);
	SHOW(lidt, "lidt", 0);
	SHOW(lldt, "lldt", 0);
	SHOW(ltr, "ltr", 0);
	SHOW(lmsw, "lmsw", 0);
	SHOW(swapgs, "swapgs", 0);
	SHOW(sysret, "sysret", 0);
	SHOW(sysexit, "sysexit", 0);
	SHOW(iretq0, "iretq to RPL 0", 0);
	SHOW(iretq3, "iretq to RPL 3", ~0ul);
	SHOW(lretq, "lretq to RPL 3", ~0ul);
	SHOW(lretq0, "lretq to RPL 0", ~0ul);
	SHOW(rdpmc, "rdpmc", 0);
	SHOW(monitor, "monitor", 0);
	SHOW(mwait, "mwait", 0);
	SHOW(rdtsc, "rdtsc", 0);
	SHOW(vmxoff, "vmxoff", 0);
	SHOW(rsm, "rsm", 0);
	SHOW(xsetbv, "xsetbv without OSXSAVE", 0);
}

static void ports(void)
{
	SHOW(outb80, "outb 0x80", 0);
	SHOW(inb60, "inb 0x60", 0xff);
	SHOW(indx, "inl 0xcf8", ~0ul);
	SHOW(outs, "outsb", 0);
	SHOW(ins, "insb", 0);
}

static void control(void)
{
	SHOW(rcr0, "read cr0", ~0ul);
	SHOW(rcr1, "read cr1", ~0ul);
	SHOW(rcr2, "read cr2", 0);
	SHOW(rcr3, "read cr3", 0);
	printf("cr3 is the root's mfn << 12: %d\n", pvg_caught.result == pvg_root_mfn() << 12);
	/* PAE, TSD, DE, PSE, PGE, VME, PVI, MCE, OSFXSR, OSXMMEXCPT */
	SHOW(rcr4, "read cr4", 0x6ff);
	SHOW(rcr5, "read cr5", ~0ul);
	SHOW(rcr8, "read cr8", ~0ul);
	SHOW(wcr0_same, "write cr0, same", 0);
	SHOW(wcr0_ts, "write cr0, TS on", 8);
	SHOW(wcr0_wp, "write cr0, WP off", 0);
	SHOW(wcr0_cd, "write cr0, CD on", 0);
	SHOW(wcr0_am, "write cr0, AM off", 1 << 18);
	SHOW(wcr2, "write cr2", ~0ul);
	SHOW(wcr3, "write cr3, same", 0);
	SHOW(wcr3_low, "write cr3 with PWT and PCD", 0xfff);
	SHOW(wcr3_bad, "write cr3, no such frame", 0);
	SHOW(wcr4_same, "write cr4, same", 0);
	SHOW(wcr4_tsd, "write cr4, TSD on", 4);
	SHOW(wcr4_pge, "write cr4, PGE off", 0x6ff);
	SHOW(wcr4_smep, "write cr4, SMEP on", 0x1006ff);
	SHOW(wcr4_vmxe, "write cr4, VMXE on", 0x26ff);
	SHOW(wcr4_pae, "write cr4, PAE off", 0x6ff);
	SHOW(wcr4_zero, "write cr4, 0", 0x6ff);
	SHOW(wcr8, "write cr8", 0);
	SHOW(rdr0, "read dr0", ~0ul);
	SHOW(rdr4, "read dr4", ~0ul);
	SHOW(rdr6, "read dr6", ~0ul);
	SHOW(rdr7, "read dr7", ~0ul);
	SHOW(wdr0, "write dr0", ~0ul);
	SHOW(wdr0_bad, "write dr0, in Xen", ~0ul);
	SHOW(wdr6, "write dr6, 0", ~0ul);
	SHOW(wdr7, "write dr7, 0x400", ~0ul);
	SHOW(wdr7_gd, "write dr7, GD", ~0ul);
}

static void sensitive(void)
{
	SHOW(smsw, "smsw", 0);
	SHOW(sgdt, "sgdt", 0);
	SHOW(sidt, "sidt", 0);
	SHOW(sldt, "sldt", 0);
	SHOW(str, "str", 0);
	SHOW(mov_cs, "mov from cs", ~0ul);
	SHOW(mov_ss, "mov from ss", ~0ul);
	SHOW(mov_ds, "mov from ds", ~0ul);
	SHOW(lar_cs, "lar FLAT_KERNEL_CS", 0xf0ff00);
	SHOW(lar_ss, "lar FLAT_KERNEL_DS", 0xf0ff00);
	SHOW(lsl_cs, "lsl FLAT_KERNEL_CS", ~0ul);
	SHOW(lar_null, "lar null: fails", 0x107);
	SHOW(lar_xen, "lar of Xen's cs: fails", 0x107);
	SHOW(verr_cs, "verr FLAT_KERNEL_CS", ~0ul);
	SHOW(verw_ds, "verw FLAT_KERNEL_DS", ~0ul);
	SHOW(pushf, "pushf", ~0ul);
	SHOW(popf_cli, "popf clearing IF", ~0ul);
	SHOW(popf_iopl, "popf setting IOPL", ~0ul);
	SHOW(rdfsbase, "rdfsbase without FSGSBASE", 0);
	SHOW(wrgsbase, "wrgsbase without FSGSBASE", 0);
	SHOW(ud_cpuid, "forced cpuid 0x40000000 ecx:ebx", ~0ul);
	SHOW(forced_rdtsc, "forced rdtsc", 0);
	SHOW(forced_66_cpuid, "forced cpuid with a prefix", 0);
}

static void rdmsr(u64 nr, u64 b, u64 c)
{
	u32 lo, hi;

	__asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"((u32)nr));
	slot[0] = (u64)hi << 32 | lo;
}
static void wrmsr(u64 nr, u64 value, u64 c)
{
	__asm__ volatile("wrmsr" ::"a"((u32)value), "d"((u32)(value >> 32)), "c"((u32)nr));
}

static const struct {
	u32 nr;
	const char *name;
	u64 mask; /* bits whose value is the same everywhere */
} msrs[] = {
	{0x10, "TSC", 0},
	{0x17, "PLATFORM_ID", 0},
	{0x1b, "APIC_BASE", 0x0},
	{0x3a, "FEATURE_CONTROL", 0},
	{0x48, "SPEC_CTRL", 0},
	{0x49, "PRED_CMD", 0},
	{0x79, "UCODE_WRITE", 0},
	{0x8b, "UCODE_REV", 0},
	{0xc1, "PERFCTR0", 0},
	{0xce, "PLATFORM_INFO", ~0ul},
	{0xe7, "MPERF", 0},
	{0xfe, "MTRRcap", 0},
	{0x10a, "ARCH_CAPABILITIES", 0},
	{0x140, "MISC_FEATURES_ENABLES", ~0ul},
	{0x174, "SYSENTER_CS", 0},
	{0x175, "SYSENTER_ESP", 0},
	{0x179, "MCG_CAP", 0},
	{0x17a, "MCG_STATUS", 0},
	{0x186, "PERFEVTSEL0", 0},
	{0x198, "PERF_STATUS", 0},
	{0x199, "PERF_CTL", 0},
	{0x19c, "THERM_STATUS", 0},
	{0x1a0, "MISC_ENABLE", 0},
	{0x1d9, "DEBUGCTL", 0},
	{0x200, "MTRRphysBase0", 0},
	{0x277, "PAT", ~0ul},
	{0x2ff, "MTRRdefType", 0},
	{0x401, "MC0_STATUS", 0},
	{0x480, "VMX_BASIC", 0},
	{0x802, "X2APIC_ID", 0},
	{0x40000000, "the hypercall page", 0},
	{0xc0000080, "EFER", ~0ul},
	{0xc0000081, "STAR", 0},
	{0xc0000082, "LSTAR", 0},
	{0xc0000084, "SYSCALL_MASK", 0},
	{0xc0000100, "FS_BASE", ~0ul},
	{0xc0000101, "GS_BASE", ~0ul},
	{0xc0000102, "KERNEL_GS_BASE", ~0ul},
	{0xc0000103, "TSC_AUX", 0},
	{0xc0010015, "K8_HWCR", 0},
	{0xdeadbeef, "one that does not exist", 0},
};

static void msr_reads(void)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(msrs); i++) {
		if (pvg_try3(rdmsr, msrs[i].nr, 0, 0)) {
			printf("rdmsr %x %s: %s error %lx\n", msrs[i].nr, msrs[i].name,
			       pvg_vector_name((unsigned int)pvg_caught.f.vector),
			       pvg_caught.f.error);
			continue;
		}
		printf("rdmsr %x %s: ", msrs[i].nr, msrs[i].name);
		if (msrs[i].mask)
			printf("%lx\n", slot[0] & msrs[i].mask);
		else
			printf("answers\n");
	}
}

static void msr_write(u32 nr, const char *name, u64 value)
{
	if (pvg_try3(wrmsr, nr, value, 0))
		printf("wrmsr %x %s = %lx: %s error %lx\n", nr, name, value,
		       pvg_vector_name((unsigned int)pvg_caught.f.vector), pvg_caught.f.error);
	else if (pvg_try3(rdmsr, nr, 0, 0))
		printf("wrmsr %x %s = %lx: done\n", nr, name, value);
	else
		printf("wrmsr %x %s = %lx: done, %s\n", nr, name, value,
		       slot[0] == value ? "reads back" : "reads differently");
}

static void msr_writes(void)
{
	msr_write(0x10, "TSC", 0);
	msr_write(0x1b, "APIC_BASE", 0xfee00000);
	msr_write(0x48, "SPEC_CTRL", 0);
	msr_write(0x49, "PRED_CMD", 0);
	msr_write(0x79, "UCODE_WRITE", 0);
	msr_write(0x8b, "UCODE_REV", 0);
	msr_write(0x140, "MISC_FEATURES_ENABLES", 0);
	msr_write(0x140, "MISC_FEATURES_ENABLES", 1);
	msr_write(0x174, "SYSENTER_CS", 0);
	msr_write(0x199, "PERF_CTL", 0);
	msr_write(0x1a0, "MISC_ENABLE", 0);
	msr_write(0x277, "PAT", 0x0007040600070406);
	msr_write(0x277, "PAT", 0x050100070406);
	msr_write(0xc0000080, "EFER", 0x501);
	msr_write(0xc0000080, "EFER", 0xd01);
	msr_write(0xc0000082, "LSTAR", 0);
	msr_write(0xc0000100, "FS_BASE", 0x123456789a);
	msr_write(0xc0000100, "FS_BASE", 0xffff800000000000);
	msr_write(0xc0000100, "FS_BASE", 0x8000000000000000);
	msr_write(0xc0000100, "FS_BASE", 0);
	msr_write(0xc0000101, "GS_BASE", 0xffffffff80001000);
	msr_write(0xc0000101, "GS_BASE", 0x0001000000000000);
	msr_write(0xc0000101, "GS_BASE", 0);
	msr_write(0xc0000102, "KERNEL_GS_BASE", 0x1000);
	msr_write(0xc0000102, "KERNEL_GS_BASE", 0x8000000000000000);
	msr_write(0xc0000102, "KERNEL_GS_BASE", 0);
	msr_write(0xc0000103, "TSC_AUX", 1);
	msr_write(0xdeadbeef, "one that does not exist", 0);
	/* 0x40000000: see version.c for the hypercall page */
	msr_write(0x40000000, "the hypercall page, no such frame", 0x7ffffffff000);
	/* (the page's number depends on what else is linked into the guest) */
	if (pvg_try3(wrmsr, 0x40000000, (pvg_pfn_of(slot) << 12) + 1, 0))
		printf("wrmsr 40000000 the hypercall page, index 1: %s error %lx\n",
		       pvg_vector_name((unsigned int)pvg_caught.f.vector), pvg_caught.f.error);
	else
		printf("wrmsr 40000000 the hypercall page, index 1: done\n");
}

static void segment_bases(void)
{
	static const struct {
		unsigned int which;
		u64 base;
	} t[] = {
		{SEGBASE_FS, 0x1000},
		{SEGBASE_FS, 1ul << 63},
		{SEGBASE_FS, 0},
		{SEGBASE_GS_KERNEL, 0xffffffff80002000},
		{SEGBASE_GS_KERNEL, 1ul << 47},
		{SEGBASE_GS_KERNEL, 0},
		{SEGBASE_GS_USER, 0x3000},
		{SEGBASE_GS_USER, 1ul << 47},
		{SEGBASE_GS_USER, 0},
		{SEGBASE_GS_USER_SEL, 0},
		{SEGBASE_GS_USER_SEL, 0x2b},
		{SEGBASE_GS_USER_SEL, 0x1007},
		{4, 0},
		{0xffffffff, 0},
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(t); i++) {
		long r = HC2(set_segment_base, t[i].which, t[i].base);

		printf("set_segment_base %d %lx: %le\n", (int)t[i].which, t[i].base, r);
	}
	HC2(set_segment_base, SEGBASE_GS_KERNEL, slot);
	slot[1] = 0x1234;
	__asm__ volatile("movq %%gs:8, %0" : "=r"(slot[2])::"memory");
	printf("gs base is used: %d\n", slot[2] == 0x1234);
	HC2(set_segment_base, SEGBASE_GS_KERNEL, 0);
}

void guest_main(void)
{
	struct physdev_set_iopl iopl = {.iopl = 1};
	long r;

	pvg_events_init();
	pvg_traps_init();
	privileged();
	ports();
	control();
	sensitive();
	r = HC2(physdev_op, PHYSDEVOP_set_iopl, &iopl);
	printf("set_iopl 1: %le\n", r);
	SHOW(cli, "cli", 0);
	printf("upcall mask: %d\n", VCPU0->evtchn_upcall_mask);
	SHOW(sti, "sti", 0);
	printf("upcall mask: %d\n", VCPU0->evtchn_upcall_mask);
	SHOW(pushf, "pushf", ~0ul);
	ports();
	iopl.iopl = 4;
	r = HC2(physdev_op, PHYSDEVOP_set_iopl, &iopl);
	printf("set_iopl 4: %le\n", r);
	iopl.iopl = 0;
	HC2(physdev_op, PHYSDEVOP_set_iopl, &iopl);
	msr_reads();
	msr_writes();
	segment_bases();
}
