/* SPDX-License-Identifier: MIT */
/*
 * The guest's user mode: page tables of its own, what a program may do and what its kernel sees of
 * what it may not. Each case is a few instructions that run until the first trap or system call.
 */
#include "pvg.h"

#define CODE  0x400000ul
#define DATA  0x500000ul
#define RDONL 0x501000ul
#define KERN  0x502000ul /* mapped without the user bit */
#define NXDAT 0x503000ul
#define STACK 0x504000ul
#define TABLE 0x505000ul /* an L1 table, read-only */
#define UNMAP 0x600000ul

static u8 *code, *data, *stack;
static u64 *l1, *root;

static void report(const char *name, const u8 *text, unsigned int len)
{
	memset(code, 0xf4, 64); /* hlt: a #GP behind it */
	memcpy(code, text, len);
	pvg_user_go();
	printf("%s: ", name);
	if (pvg_user.how == PVG_USER_SYSCALL) {
		printf("system call, rip+%lx cs %lx ss %lx rflags %lx rsp%c rax %lx",
		       pvg_user.f.rip - pvg_user_frame.rip, pvg_user.f.cs, pvg_user.f.ss,
		       pvg_user.f.rflags & ~0xd5ul,
		       pvg_user.f.rsp == pvg_user_frame.rsp ? '=' : '!', pvg_user.gprs[0]);
	} else {
		printf("%s", pvg_vector_name((unsigned int)pvg_user.f.vector));
		if (pvg_user.f.error != TRAP_NO_ERROR)
			printf(" error %lx", pvg_user.f.error);
		if (pvg_user.f.vector == 14)
			printf(" cr2 %lx", pvg_user.cr2);
		printf(" rip+%lx cs %lx ss %lx rflags %lx", pvg_user.f.rip - pvg_user_frame.rip,
		       pvg_user.f.cs, pvg_user.f.ss, pvg_user.f.rflags & ~0xd5ul);
	}
	printf(" mask %ld\n", pvg_user.mask);
}

#define U(name, ...)                                                                               \
	do {                                                                                       \
		static const u8 t_[] = {__VA_ARGS__};                                              \
		report(name, t_, sizeof(t_));                                                      \
	} while (0)
#define SYSCALL	 0x0f, 0x05
#define A32(x)	 (u8)(x), (u8)((x) >> 8), (u8)((x) >> 16), (u8)((x) >> 24)
#define LOAD(x)	 0x8a, 0x04, 0x25, A32(x) /* mov x, %al */
#define STORE(x) 0x88, 0x04, 0x25, A32(x) /* mov %al, x */
#define CALL(x)	 0xb8, A32(x), 0xff, 0xe0 /* mov $x, %eax; jmp *%rax */

static void instructions(void)
{
	U("syscall", 0xb8, 0x27, 0, 0, 0, SYSCALL);
	U("ud2", 0x0f, 0x0b);
	U("int3", 0xcc);
	U("int $3", 0xcd, 3);
	U("int 0x80", 0xcd, 0x80);
	U("int 0x90, DPL 0", 0xcd, 0x90);
	U("int 14", 0xcd, 14);
	U("int 2", 0xcd, 2);
	U("hlt", 0xf4);
	U("cli", 0xfa);
	U("sti", 0xfb);
	U("in", 0xe4, 0x80);
	U("out", 0xe6, 0x80);
	U("insb", 0x6c);
	U("rdmsr", 0xb9, A32(0xc0000100), 0x0f, 0x32);
	U("wrmsr", 0xb9, A32(0xc0000100), 0x0f, 0x30);
	U("mov cr0", 0x0f, 0x20, 0xc0);
	U("mov to cr0", 0x0f, 0x22, 0xc0);
	U("mov cr3", 0x0f, 0x20, 0xd8);
	U("mov dr7", 0x0f, 0x21, 0xf8);
	U("clts", 0x0f, 0x06);
	U("lgdt", 0x0f, 0x01, 0x14, 0x25, A32(DATA));
	U("lldt", 0x0f, 0x00, 0xd0);
	U("ltr", 0x0f, 0x00, 0xd8);
	U("lmsw", 0x0f, 0x01, 0xf0);
	U("invlpg", 0x0f, 0x01, 0x3c, 0x25, A32(DATA));
	U("wbinvd", 0x0f, 0x09);
	U("invd", 0x0f, 0x08);
	U("swapgs", 0x0f, 0x01, 0xf8);
	U("sysret", 0x48, 0x0f, 0x07);
	U("sysenter without a callback", 0x0f, 0x34);
	pvg_user_frame.rsp = UNMAP;
	U("sysenter without a callback or a stack", 0x0f, 0x34);
	pvg_user_frame.rsp = STACK + 2048;
	U("sysexit", 0x48, 0x0f, 0x35);
	U("rdpmc", 0x0f, 0x33);
	U("rdtsc, then syscall", 0x0f, 0x31, 0xb8, 1, 0, 0, 0, SYSCALL);
	U("cpuid, then syscall", 0x31, 0xc0, 0x53, 0x0f, 0xa2, 0x5b, 0xb8, 1, 0, 0, 0, SYSCALL);
	U("forced emulation of cpuid", 0x53, 0x0f, 0x0b, 'x', 'e', 'n', 0x0f, 0xa2, 0x5b, 0xb8, 1,
	  0, 0, 0, SYSCALL);
	U("forced emulation of nop", 0x0f, 0x0b, 'x', 'e', 'n', 0x90);
	U("monitor", 0x0f, 0x01, 0xc8);
	U("divide by 0", 0x31, 0xc9, 0xf7, 0xf1);
	U("bound (not in 64-bit)", 0x62, 0x00);
	U("into (not in 64-bit)", 0xce);
	U("pushf, cli bit", 0x9c, 0x58, 0x25, A32(0x3202), SYSCALL);
	U("popf of everything", 0x48, 0xc7, 0xc0, A32(0x3ed7), 0x50, 0x9d, 0x9c, 0x58, 0x25,
	  A32(0x37700), SYSCALL);
	U("pushf of IOPL", 0x9c, 0x58, 0xc1, 0xe8, 0x0c, 0x83, 0xe0, 3, SYSCALL);
	U("mov from cs, ss, ds", 0x8c, 0xc8, 0xb9, 0, 0, 0, 0, SYSCALL);
	U("mov from ss", 0x8c, 0xd0, SYSCALL);
	U("mov from ds", 0x8c, 0xd8, SYSCALL);
	U("null to ss", 0x31, 0xc0, 0x8e, 0xd0);
	U("ss of Xen's", 0xb8, A32(0xe010), 0x8e, 0xd0);
	U("ds beyond the GDT", 0xb8, A32(0x1003), 0x8e, 0xd8);
	U("ds of an LDT", 0xb8, A32(0x0007), 0x8e, 0xd8);
	U("single step", 0x9c, 0x80, 0x4c, 0x24, 1, 1, 0x9d, 0x90, 0x90);
	U("icebp-free nop sled, then syscall", 0x90, 0x90, 0x90, SYSCALL);
	U("lock on a register", 0xf0, 0x01, 0xc0);
	U("sgdt, then syscall", 0x0f, 0x01, 0x04, 0x25, A32(DATA + 64), 0xb8, 1, 0, 0, 0, SYSCALL);
	U("smsw, then syscall", 0x0f, 0x01, 0xe0, 0xb8, 1, 0, 0, 0, SYSCALL);
	U("hypercall by number 17", 0xb8, 17, 0, 0, 0, 0x31, 0xff, SYSCALL);
}

static void memory(void)
{
	U("read data", LOAD(DATA), SYSCALL);
	U("write data", STORE(DATA), SYSCALL);
	U("read read-only", LOAD(RDONL), SYSCALL);
	U("write read-only", STORE(RDONL), SYSCALL);
	U("read a hole", LOAD(UNMAP));
	U("write a hole", STORE(UNMAP));
	U("jump to a hole", CALL(UNMAP));
	U("read a page without the user bit", LOAD(KERN));
	U("write a page without the user bit", STORE(KERN));
	U("jump to a page without the user bit", CALL(KERN));
	U("jump to NX", CALL(NXDAT));
	U("read NX", LOAD(NXDAT), SYSCALL);
	U("read a page table", LOAD(TABLE), SYSCALL);
	U("write a page table", STORE(TABLE));
	U("read Xen", 0x48, 0xa1, 0, 0, 0x20, 0x40, 0xd0, 0x82, 0xff, 0xff);
	U("read the M2P", 0x48, 0xa1, 0, 0, 0, 0, 0, 0x80, 0xff, 0xff);
	U("read the kernel", 0xa0, 0, 0, 0, 0x80, 0xff, 0xff, 0xff, 0xff);
	U("read non-canonical", 0xa0, 0, 0, 0, 0, 0, 0, 0, 0x80);
	U("push with a bad stack", 0x48, 0x31, 0xe4, 0x50);
	U("jump non-canonical", 0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0xe0);
}

static void frames(void)
{
#define WITH(name, assign)                                                                         \
	do {                                                                                       \
		pvg_user_defaults(CODE, STACK + 2048);                                             \
		assign;                                                                            \
		U(name, 0xb8, 1, 0, 0, 0, SYSCALL);                                                \
		pvg_user_defaults(CODE, STACK + 2048);                                             \
	} while (0)
	WITH("iret plain", );
	WITH("iret, in a system call", pvg_user_frame.flags = 0x100);
	WITH("iret, in a system call, rip non-canonical",
	     (pvg_user_frame.flags = 0x100, pvg_user_frame.rip = 1ul << 63));
	WITH("iret, rip non-canonical", pvg_user_frame.rip = 1ul << 47);
	WITH("iret, rip in a hole", pvg_user_frame.rip = UNMAP);
	WITH("iret, IF clear", pvg_user_frame.rflags = 0x002);
	WITH("iret, IOPL 3", pvg_user_frame.rflags = 0x3202);
	WITH("iret, NT", pvg_user_frame.rflags = 0x4202);
	WITH("iret, AC", pvg_user_frame.rflags = 0x40202);
	WITH("iret, VM", pvg_user_frame.rflags = 0x20202);
	WITH("iret, VIF VIP RF ID DF", pvg_user_frame.rflags = 0x390602);
	WITH("iret, TF", pvg_user_frame.rflags = 0x302);
	WITH("iret, rflags all ones", pvg_user_frame.rflags = ~0x100ul);
	WITH("iret, cs 0x33", pvg_user_frame.cs = 0x33);
	WITH("iret, cs null", pvg_user_frame.cs = 3);
	WITH("iret, cs 0xe03b", pvg_user_frame.cs = 0xe03b);
	WITH("iret, cs of data", pvg_user_frame.cs = 0xe02b);
	WITH("iret, cs beyond", pvg_user_frame.cs = 0x1003);
	WITH("iret, cs 32-bit", pvg_user_frame.cs = 0xe023);
	WITH("iret, ss null", pvg_user_frame.ss = 3);
	WITH("iret, ss 0", pvg_user_frame.ss = 0);
	WITH("iret, ss beyond", pvg_user_frame.ss = 0x1003);
	WITH("iret, ss code", pvg_user_frame.ss = 0xe033);
	WITH("iret, in a system call, cs and ss null",
	     (pvg_user_frame.flags = 0x100, pvg_user_frame.cs = 3, pvg_user_frame.ss = 3));
	WITH("iret, rsp non-canonical", pvg_user_frame.rsp = 1ul << 63);
	WITH("iret, rsp 0", pvg_user_frame.rsp = 0);
	WITH("iret, odd rsp", pvg_user_frame.rsp = STACK + 2047);
	WITH("iret, in a system call, rflags all ones",
	     (pvg_user_frame.flags = 0x100, pvg_user_frame.rflags = ~0x100ul));
}

static void settings(void)
{
	struct callback_register cb = {.type = CALLBACKTYPE_syscall,
				       .address = (u64)pvg_user_syscall};
	struct physdev_set_iopl iopl = {.iopl = 1};
	struct physdev_set_iobitmap io = {.nr_ports = 65536};
	static u8 bitmap[8192];

	cb.flags = CALLBACKF_mask_events;
	HC2(callback_op, CALLBACKOP_register, &cb);
	U("syscall, callback masks events", 0xb8, 1, 0, 0, 0, SYSCALL);
	cb.flags = 0;
	HC2(callback_op, CALLBACKOP_register, &cb);
	U("syscall, callback does not", 0xb8, 1, 0, 0, 0, SYSCALL);
	cb.type = CALLBACKTYPE_sysenter;
	cb.flags = CALLBACKF_mask_events;
	HC2(callback_op, CALLBACKOP_register, &cb);
	/* With -EFAULT in rax: where the host has no stack there, it is what comes back in any
	 * case. */
	U("sysenter, callback masks events", 0x48, 0xc7, 0xc0, A32(-14), 0x0f, 0x34);
	pvg_user_frame.rsp = UNMAP;
	U("sysenter without a stack", 0x48, 0xc7, 0xc0, A32(-14), 0x0f, 0x34);
	pvg_user_frame.rsp = STACK + 2048;
	pvg_user_frame.rflags = 0x44602;
	U("sysenter, other flags", 0x48, 0xc7, 0xc0, A32(-14), 0x0f, 0x34);
	pvg_user_frame.rflags = 0x202;
	HC2(physdev_op, PHYSDEVOP_set_iopl, &iopl);
	U("IOPL 1: in", 0xe4, 0x80);
	U("IOPL 1: cli", 0xfa);
	iopl.iopl = 3;
	HC2(physdev_op, PHYSDEVOP_set_iopl, &iopl);
	U("IOPL 3: in", 0xe4, 0x80, SYSCALL);
	U("IOPL 3: cli", 0xfa, SYSCALL);
	U("IOPL 3: pushf", 0x9c, 0x58, 0xc1, 0xe8, 0x0c, 0x83, 0xe0, 3, SYSCALL);
	U("IOPL 3: hlt", 0xf4);
	iopl.iopl = 0;
	HC2(physdev_op, PHYSDEVOP_set_iopl, &iopl);
	set_xen_guest_handle(io.bitmap, bitmap);
	HC2(physdev_op, PHYSDEVOP_set_iobitmap, &io);
	U("bitmap of zeroes: in", 0xe4, 0x80, SYSCALL);
	bitmap[16] = 1;
	U("bitmap, bit set: in", 0xe4, 0x80, SYSCALL);
	U("bitmap, next bit not: in", 0xe4, 0x81, SYSCALL);
	io.nr_ports = 0;
	HC2(physdev_op, PHYSDEVOP_set_iobitmap, &io);
	HC1(fpu_taskswitch, 1);
	U("TS: fnop", 0xd9, 0xd0, SYSCALL);
	U("TS gone: fnop", 0xd9, 0xd0, SYSCALL);
	HC2(set_segment_base, SEGBASE_FS, DATA);
	HC2(set_segment_base, SEGBASE_GS_USER, DATA + 8);
	data[0] = 0x5a;
	data[8] = 0xa5;
	U("fs:0", 0x31, 0xc0, 0x64, 0x8a, 0x04, 0x25, 0, 0, 0, 0, SYSCALL);
	U("gs:0", 0x31, 0xc0, 0x65, 0x8a, 0x04, 0x25, 0, 0, 0, 0, SYSCALL);
	U("fs = 0, then fs:0", 0x31, 0xc0, 0x8e, 0xe0, 0x64, 0x8a, 0x04, 0x25, A32(DATA), SYSCALL);
	VCPU0->evtchn_upcall_mask = 1;
	U("entered with events masked", 0xb8, 1, 0, 0, 0, SYSCALL);
	VCPU0->evtchn_upcall_mask = 0;
	{
		struct trap_info t[2] = {{.vector = 0x91,
					  .flags = 3 | 4,
					  .cs = KERNEL_CS,
					  .address = pvg_trap_stubs[0x91]}};

		HC1(set_trap_table, t);
		U("int 0x91, a gate that masks", 0xcd, 0x91);
		t[0].flags = 2;
		HC1(set_trap_table, t);
		U("int 0x91, DPL 2", 0xcd, 0x91);
		t[0].flags = 1;
		HC1(set_trap_table, t);
		U("int 0x91, DPL 1", 0xcd, 0x91);
	}
}

static void map(u64 va, void *page, u64 flags)
{
	l1[L1X(va)] = (page ? pvg_mfn_of(page) << 12 : 0) | flags;
}

static long build(void)
{
	u64 *l3 = pvg_page_alloc(), *l2 = pvg_page_alloc();
	u64 *ld = pvg_page_alloc();

	root = pvg_page_alloc();
	l1 = pvg_page_alloc();
	code = pvg_page_alloc();
	data = pvg_page_alloc();
	stack = pvg_page_alloc();
	memset(data, 0xf4, PAGE_SIZE); /* hlt */
	root[0] = pvg_mfn_of(l3) << 12 | PTE_KERN | PTE_US;
	l3[0] = pvg_mfn_of(l2) << 12 | PTE_KERN | PTE_US;
	l2[2] = pvg_mfn_of(l1) << 12 | PTE_KERN | PTE_US;
	l2[3] = pvg_mfn_of(ld) << 12 | PTE_KERN | PTE_US;
	map(CODE, code, PTE_P | PTE_US);
	map(DATA, data, PTE_KERN | PTE_US);
	map(RDONL, data, PTE_P | PTE_US);
	map(KERN, data, PTE_KERN);
	map(NXDAT, data, PTE_KERN | PTE_US | PTE_NX);
	map(STACK, stack, PTE_KERN | PTE_US);
	map(TABLE, l1, PTE_P | PTE_US);
	pvg_set_ro(root);
	pvg_set_ro(l3);
	pvg_set_ro(l2);
	pvg_set_ro(l1);
	pvg_set_ro(ld);
	return pvg_mmuext(MMUEXT_PIN_L4_TABLE, pvg_mfn_of(root), 0);
}

void guest_main(void)
{
	static u8 kernel_stack[8192] __attribute__((aligned(16)));
	struct callback_register cb = {.type = CALLBACKTYPE_syscall,
				       .address = (u64)pvg_user_syscall};

	pvg_events_init();
	pvg_traps_init();
	VCPU0->evtchn_upcall_mask = 0;
	pvg_user_defaults(CODE, STACK + 2048);
	printf("build: %le\n", build());
	printf("user root: %le\n", pvg_mmuext(MMUEXT_NEW_USER_BASEPTR, pvg_mfn_of(root), 0));
	printf("user root again: %le\n", pvg_mmuext(MMUEXT_NEW_USER_BASEPTR, pvg_mfn_of(root), 0));
	printf("stack: %le\n", HC2(stack_switch, KERNEL_DS, kernel_stack + sizeof(kernel_stack)));
	pvg_trap_hook = pvg_user_trap;
	U("syscall without a callback", 0xb8, 1, 0, 0, 0, SYSCALL);
	HC2(callback_op, CALLBACKOP_register, &cb);
	instructions();
	memory();
	frames();
	settings();
	printf("user root: %le\n", pvg_mmuext(MMUEXT_NEW_USER_BASEPTR, 0, 0));
}
