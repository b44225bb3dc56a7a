/* SPDX-License-Identifier: MIT */
/* Every exception a guest kernel can raise: vector, error code, rip, and what the frame says. */
#include "pvg.h"

INSN(ud2, "ud2");
INSN(int3, "int3");
INSN(int_3, ".byte 0xcd, 0x03");
INSN(int_4, "int $4");
INSN(int_80, "int $0x80");
INSN(de, "xorl %ecx, %ecx\n movl $1, %eax\n xorl %edx, %edx\n divl %ecx");
INSN(de_overflow, "movl $1, %ecx\n movl $5, %edx\n xorl %eax, %eax\n divl %ecx");
INSN(into, ".byte 0xce");
INSN(lock_nop, ".byte 0xf0, 0x90");
INSN(vmcall, "vmcall");
INSN(forced_nop, "ud2\n .ascii \"xen\"\n nop");
INSN(forced_cpuid,
     "movl $0x40000000, %eax\n xorl %ecx, %ecx\n push %rbx\n ud2\n .ascii \"xen\"\n cpuid\n"
     " movl %ebx, %eax\n pop %rbx");
INSN(noncanon_read, "movabsq $0x8000000000000000, %rax\n movq (%rax), %rcx");
INSN(noncanon_jump, "movabsq $0x8000000070000000, %rax\n jmp *%rax");
INSN(noncanon_ret, "movabsq $0x8000000070000000, %rax\n pushq %rax\n ret");
INSN(ss_null, "xorl %eax, %eax\n movl %eax, %ss");
INSN(ds_null, "movl %ds, %ecx\n xorl %eax, %eax\n movl %eax, %ds\n movl %ecx, %ds");
INSN(ds_bad, "movl $0x1000, %eax\n movl %eax, %ds");
INSN(es_bad_ldt, "movl $0x7, %eax\n movl %eax, %es");
INSN(fs_bad, "movl $0xfff8, %eax\n movl %eax, %fs");
INSN(ds_code, "movl %ds, %ecx\n movl $0xe033, %eax\n movl %eax, %ds\n movl %ecx, %ds");
INSN(pf_read, "movabsq $0x600000000000, %rax\n movq 0x123(%rax), %rcx");
INSN(pf_write, "movabsq $0x600000000000, %rax\n movq %rcx, 8(%rax)");
INSN(pf_rmw, "movabsq $0x600000000000, %rax\n lock incq (%rax)");
INSN(pf_exec, "movabsq $0x600000000000, %rax\n jmp *%rax");
INSN(pf_call, "movabsq $0x600000000000, %rax\n call *%rax");
INSN(pf_m2p_write, "movabsq $0xffff800000000000, %rax\n movq (%rax), %rcx\n movq %rcx, (%rax)");
INSN(pf_m2p_exec, "movabsq $0xffff800000000000, %rax\n jmp *%rax");
INSN(pf_xen_read, "movabsq $0xffff82d040200000, %rax\n movq (%rax), %rcx");
INSN(pf_xen_write, "movabsq $0xffff82d040200000, %rax\n movq %rcx, (%rax)");
INSN(pf_xen_hole, "movabsq $0xffff840000000000, %rax\n movq (%rax), %rcx");
INSN(pf_xen_exec, "movabsq $0xffff82d040200000, %rax\n jmp *%rax");
INSN(fp_nm, "fnop");
INSN(mf, "fninit\n pushq $0x37b\n fldcw (%rsp)\n addq $8, %rsp\n fld1\n fldz\n fdivrp\n fwait");
INSN(step, "pushfq\n orl $0x100, (%rsp)\n popfq\n nop\n nop");
static u8 ro_page[PAGE_SIZE] __page;
static u8 nx_page[PAGE_SIZE] __page;
static void ro_write(u64 a, u64 b, u64 c)
{
	*(volatile u8 *)a = 1;
}
static void call_it(u64 a, u64 b, u64 c)
{
	((void (*)(void))a)();
}

static void frame_of(const char *name)
{
	const struct trap_frame *f = &pvg_caught.f;

	printf("%s frame: cs %lx ss %lx rflags %lx; entered with ss %x rflags %lx\n", name, f->cs,
	       f->ss, f->rflags & ~0x8d5ul, pvg_entry_ss, pvg_entry_rflags & ~0x8d5ul);
}

static u64 frame_end;
static bool note_frame(struct trap_frame *f)
{
	frame_end = (u64)(f + 1);
	return false;
}

/* All the general registers must be in the frame as they were. */
INSN(regs, "pushq %rbx\n pushq %rbp\n pushq %r12\n pushq %r13\n pushq %r14\n pushq %r15\n"
	   " movq $1, %rax\n movq $2, %rbx\n movq $3, %rcx\n movq $4, %rdx\n movq $5, %rsi\n"
	   " movq $6, %rdi\n movq $7, %rbp\n movq $8, %r8\n movq $9, %r9\n movq $10, %r10\n"
	   " movq $11, %r11\n movq $12, %r12\n movq $13, %r13\n movq $14, %r14\n movq $15, %r15\n"
	   " ud2\n");

static void check_regs(void)
{
	const struct trap_frame *f = &pvg_caught.f;

	pvg_try(t_regs);
	printf("registers: %d %d %d %d %d %d %d %d %d %d %d %d %d %d %d\n", (int)f->rax,
	       (int)f->rbx, (int)f->rcx, (int)f->rdx, (int)f->rsi, (int)f->rdi, (int)f->rbp,
	       (int)f->r8, (int)f->r9, (int)f->r10, (int)f->r11, (int)f->r12, (int)f->r13,
	       (int)f->r14, (int)f->r15);
}

/* rsp in the frame is exact; the frame itself is pushed at the next multiple of 16 below. */
INSN(rsp0, "andq $-16, %rsp\n ud2");
INSN(rsp8, "andq $-16, %rsp\n subq $8, %rsp\n ud2");
INSN(rsp1, "andq $-16, %rsp\n subq $15, %rsp\n ud2");
static void check_alignment(void)
{
	static void (*const fn[])(void) = {t_rsp0, t_rsp8, t_rsp1};

	pvg_trap_hook = note_frame;
	for (int i = 0; i < 3; i++) {
		pvg_try(fn[i]);
		printf("rsp %% 16 = %d: frame lies %d below\n", (int)(pvg_caught.f.rsp & 15),
		       (int)(pvg_caught.f.rsp - frame_end));
	}
	pvg_trap_hook = NULL;
}

INSN(flags, "pushq $0x204ed7\n popfq\n ud2"); /* ID, NT, DF, OF... but no TF, AC */
INSN(flags_ac, "pushq $0x40202\n popfq\n ud2");
INSN(flags_all, "pushq $0x3ffed7\n popfq\n ud2");
static void check_flags(void)
{
	pvg_try(t_flags);
	printf("rflags 204ed7 in the frame: %lx, in the handler: %lx\n", pvg_caught.f.rflags,
	       pvg_entry_rflags);
	pvg_try(t_flags_ac);
	printf("rflags 40202 in the frame: %lx, in the handler: %lx\n", pvg_caught.f.rflags,
	       pvg_entry_rflags);
	pvg_try(t_flags_all);
	printf("rflags 3ffed7 (IOPL, VM, VIF, VIP, RF too) in the frame: %lx, in the handler: "
	       "%lx\n",
	       pvg_caught.f.rflags, pvg_entry_rflags);
}

static u8 mask_inside;
static bool note_mask(struct trap_frame *f)
{
	mask_inside = VCPU0->evtchn_upcall_mask;
	return false;
}

/* The upcall mask: in the frame's cs, in rflags.IF, and for gates that mask. */
static void check_mask(void)
{
	struct trap_info one[2] = {{.vector = 6, .flags = 4, .cs = KERNEL_CS}};

	one[0].address = pvg_trap_stubs[6];
	pvg_trap_hook = note_mask;
	for (int masked = 0; masked < 2; masked++) {
		for (int gate = 0; gate < 2; gate++) {
			one[0].flags = gate ? 4 : 0;
			HC1(set_trap_table, one);
			VCPU0->evtchn_upcall_mask = (u8)masked;
			pvg_try(t_ud2);
			printf("mask %d, gate %s: frame cs %lx, IF %d, mask inside %d, after iret "
			       "%d\n",
			       masked, gate ? "masks" : "leaves", pvg_caught.f.cs,
			       (int)(pvg_caught.f.rflags >> 9 & 1), mask_inside,
			       VCPU0->evtchn_upcall_mask);
		}
	}
	one[0].flags = 0;
	HC1(set_trap_table, one);
	pvg_trap_hook = NULL;
}

static void debug_registers(void)
{
	static u64 watched;
	static const struct {
		int reg;
		const char *what;
		u64 value;
	} bad[] = {
		{4, "0", 0},
		{5, "0", 0},
		{8, "0", 0},
		{0, "non-canonical", 1ul << 63},
		{0, "in Xen", 0xffff82d040200000},
		{1, "in the M2P", 0xffff800000000000},
	};

	printf("set_debugreg 0: %le\n", HC2(set_debugreg, 0, &watched));
	printf("get_debugreg 0 is it: %d\n", HC1(get_debugreg, 0) == (long)&watched);
	for (int i = 0; i < 6; i++)
		printf("set_debugreg %d %s: %le\n", bad[i].reg, bad[i].what,
		       HC2(set_debugreg, bad[i].reg, bad[i].value));
	printf("get_debugreg 4: %le\n", HC1(get_debugreg, 4) == HC1(get_debugreg, 6));
	printf("get_debugreg 8: %le\n", HC1(get_debugreg, 8));
	printf("get_debugreg 6: %lx\n", HC1(get_debugreg, 6));
	printf("get_debugreg 7: %lx\n", HC1(get_debugreg, 7));
	printf("set_debugreg 7 GD: %le\n", HC2(set_debugreg, 7, 0x2000));
	printf("set_debugreg 7 io watch: %le\n", HC2(set_debugreg, 7, 0x20001));
	printf("set_debugreg 7 reserved high: %le\n", HC2(set_debugreg, 7, 1ul << 40));
	printf("get_debugreg 7: %lx\n", HC1(get_debugreg, 7));
	printf("set_debugreg 7: %le\n", HC2(set_debugreg, 7, 0xd0001 | 0x300));
	printf("get_debugreg 7: %lx\n", HC1(get_debugreg, 7));
	if (pvg_try3(ro_write, (u64)&watched, 0, 0))
		printf("watched write: %s, dr6 %lx, written %d\n",
		       pvg_vector_name((unsigned int)pvg_caught.f.vector), HC1(get_debugreg, 6),
		       (int)watched);
	else
		printf("watched write: no trap\n");
	printf("set_debugreg 6 0: %le\n", HC2(set_debugreg, 6, 0));
	printf("get_debugreg 6: %lx\n", HC1(get_debugreg, 6));
	printf("set_debugreg 7 0: %le\n", HC2(set_debugreg, 7, 0));
}

/* A trap inside the handler of a trap. */
static unsigned int nest;
static bool nested(struct trap_frame *f)
{
	struct pvg_caught outer;

	if (f->vector != 3)
		return false;
	if (nest++ < 3) {
		__asm__ volatile("int3");
		return true;
	}
	outer.result = pvg_try(t_ud2);
	printf("inside three nested #BP: %s\n",
	       outer.result ? pvg_vector_name((unsigned int)pvg_caught.f.vector) : "nothing");
	return true;
}

static void exceptions(void)
{
	pvg_report("ud2", t_ud2);
	frame_of("ud2");
	pvg_report("int3", t_int3);
	frame_of("int3");
	pvg_report("int $3 (two bytes)", t_int_3);
	pvg_report("int $4", t_int_4);
	pvg_report("int $0x80, DPL 3", t_int_80);
	pvg_report("div by zero", t_de);
	pvg_report("div overflow", t_de_overflow);
	pvg_report("into", t_into);
	pvg_report("lock nop", t_lock_nop);
	pvg_report("vmcall", t_vmcall);
	pvg_report("forced emulation of nop", t_forced_nop);
	pvg_report("forced emulation of cpuid", t_forced_cpuid);
	pvg_report("read non-canonical", t_noncanon_read);
	/* Whether rip is the jump (Intel) or the target (AMD, TCG) is the processor's choice. */
	pvg_try(t_noncanon_jump);
	printf("jmp to non-canonical: %s error %lx\n",
	       pvg_vector_name((unsigned int)pvg_caught.f.vector), pvg_caught.f.error);
	pvg_try(t_noncanon_ret);
	printf("ret to non-canonical: %s error %lx\n",
	       pvg_vector_name((unsigned int)pvg_caught.f.vector), pvg_caught.f.error);
	pvg_report("ss = null", t_ss_null);
	pvg_report("ds = null", t_ds_null);
	pvg_report("ds = beyond the GDT", t_ds_bad);
	pvg_report("es = in a missing LDT", t_es_bad_ldt);
	pvg_report("fs = last of the GDT", t_fs_bad);
	pvg_report("ds = kernel code", t_ds_code);
	pvg_report("page fault, read", t_pf_read);
	pvg_report("page fault, write", t_pf_write);
	/* TCG reads first, processors say "write" at once: the bit is left out. */
	pvg_try(t_pf_rmw);
	printf("page fault, read-modify-write: error but for bit 1: %lx\n",
	       pvg_caught.f.error & ~2ul);
	pvg_try(t_pf_exec);
	printf("page fault, jmp: error %lx rip %lx cr2 %lx\n", pvg_caught.f.error, pvg_caught.f.rip,
	       pvg_caught.cr2);
	pvg_try(t_pf_call);
	printf("page fault, call: error %lx rip %lx cr2 %lx\n", pvg_caught.f.error,
	       pvg_caught.f.rip, pvg_caught.cr2);
	pvg_report("M2P write", t_pf_m2p_write);
	pvg_try(t_pf_m2p_exec);
	printf("M2P exec: %s error %lx rip %lx cr2 %lx\n",
	       pvg_vector_name((unsigned int)pvg_caught.f.vector), pvg_caught.f.error,
	       pvg_caught.f.rip, pvg_caught.cr2);
	pvg_report("Xen's memory, read", t_pf_xen_read);
	pvg_report("Xen's memory, write", t_pf_xen_write);
	pvg_report("Xen's range, nothing there", t_pf_xen_hole);
	pvg_try(t_pf_xen_exec);
	printf("Xen's memory, exec: %s error %lx rip %lx cr2 %lx\n",
	       pvg_vector_name((unsigned int)pvg_caught.f.vector), pvg_caught.f.error,
	       pvg_caught.f.rip, pvg_caught.cr2);
}

static void pages(void)
{
	bool t;

	printf("make a page read-only: %le\n", pvg_set_ro(ro_page));
	t = pvg_try3(ro_write, (u64)ro_page, 0, 0);
	printf("write to it: %d error %lx cr2 is it: %d\n", t, pvg_caught.f.error,
	       pvg_caught.cr2 == (u64)ro_page);
	printf("make a page NX: %le\n", pvg_map(nx_page, *pvg_entry((u64)nx_page, 1) | PTE_NX));
	nx_page[0] = 0xc3;
	t = pvg_try3(call_it, (u64)nx_page, 0, 0);
	printf("call it: %d error %lx cr2 is it: %d, rip is it: %d\n", t, pvg_caught.f.error,
	       pvg_caught.cr2 == (u64)nx_page, pvg_caught.f.rip == (u64)nx_page);
	printf("unmap it: %le\n", pvg_map(nx_page, 0));
	t = pvg_try3(ro_write, (u64)nx_page + 5, 0, 0);
	printf("write to it: %d error %lx cr2 is it+5: %d\n", t, pvg_caught.f.error,
	       pvg_caught.cr2 == (u64)nx_page + 5);
}

static void fpu(void)
{
	printf("fpu_taskswitch(1): %le\n", HC1(fpu_taskswitch, 1));
	pvg_report("fnop with TS", t_fp_nm);
	pvg_report("fnop again", t_fp_nm);
	printf("fpu_taskswitch(1): %le\n", HC1(fpu_taskswitch, 1));
	printf("fpu_taskswitch(0): %le\n", HC1(fpu_taskswitch, 0));
	pvg_report("fnop without TS", t_fp_nm);
	printf("fpu_taskswitch(7): %le\n", HC1(fpu_taskswitch, 7));
	pvg_report("fnop after fpu_taskswitch(7)", t_fp_nm);
	pvg_report("unmasked x87 division by zero", t_mf);
	__asm__ volatile("fninit");
}

void guest_main(void)
{
	pvg_events_init();
	pvg_traps_init();
	printf("upcall mask at start: %d\n", VCPU0->evtchn_upcall_mask);
	exceptions();
	pages();
	fpu();
	check_regs();
	check_alignment();
	check_flags();
	check_mask();
	pvg_trap_hook = nested;
	__asm__ volatile("int3");
	pvg_trap_hook = NULL;
	pvg_report("single step", t_step);
	printf("dr6 %lx\n", HC1(get_debugreg, 6));
	debug_registers();
}
