// SPDX-License-Identifier: MIT
/* What each exception looks like to a signal handler: signal, si_code, si_addr, trap number, error
 * code, rip. */
#include "conform.h"

static void expect(int sig, int code, uint64_t addr, uint64_t trapno)
{
	CHECK(caught.sig == sig, "signal %d, not %d", caught.sig, sig);
	CHECK(caught.code == code, "si_code %d, not %d", caught.code, code);
	CHECK(caught.addr == addr, "si_addr 0x%lx, not 0x%lx", caught.addr, addr);
	CHECK(caught.trapno == trapno, "trap number %lu, not %lu", caught.trapno, trapno);
}

static void read_byte(void *p)
{
	(void)*(volatile char *)p;
}

static void write_byte(void *p)
{
	*(volatile char *)p = 1;
}

static void jump(void *p)
{
	((void (*)(void))p)();
}

static void read_unmapped(void)
{
	char *p = pages(1, PROT_READ);

	munmap(p, 4096);
	catch_signal(read_byte, p + 123);
	expect(SIGSEGV, SEGV_MAPERR, (uint64_t)p + 123, 14);
	CHECK(caught.error == 4, "error code 0x%lx, not 4", caught.error);
	CHECK(caught.cr2 == (uint64_t)p + 123, "cr2 0x%lx", caught.cr2);
}

static void write_readonly(void)
{
	char *p = pages(1, PROT_READ);

	read_byte(p);
	catch_signal(write_byte, p + 7);
	expect(SIGSEGV, SEGV_ACCERR, (uint64_t)p + 7, 14);
	CHECK(caught.error == 7, "error code 0x%lx, not 7", caught.error);
	CHECK(*p == 0, "the write happened");
}

static void write_unmapped(void)
{
	catch_signal(write_byte, (void *)16);
	expect(SIGSEGV, SEGV_MAPERR, 16, 14);
	CHECK(caught.error == 6, "error code 0x%lx, not 6", caught.error);
}

static void read_none(void)
{
	char *p = pages(1, PROT_NONE);

	catch_signal(read_byte, p);
	expect(SIGSEGV, SEGV_ACCERR, (uint64_t)p, 14);
}

static void jump_nx(void)
{
	unsigned char *p = pages(1, PROT_READ | PROT_WRITE);

	p[0] = 0xc3;
	catch_signal(jump, p);
	expect(SIGSEGV, SEGV_ACCERR, (uint64_t)p, 14);
	CHECK(caught.error == 0x15, "error code 0x%lx, not 0x15", caught.error);
	CHECK(caught.rip == (uint64_t)p, "rip 0x%lx", caught.rip);
}

static void jump_unmapped(void)
{
	unsigned char *p = pages(1, PROT_READ | PROT_WRITE);

	munmap(p, 4096);
	catch_signal(jump, p + 5);
	expect(SIGSEGV, SEGV_MAPERR, (uint64_t)p + 5, 14);
	CHECK(caught.error == 0x14, "error code 0x%lx, not 0x14", caught.error);
}

/* Kernel and hypervisor addresses are simply not there for a program. */
static void kernel_addresses(void)
{
	static const uint64_t where[] = {0xffffffff81000000, 0xffff888000000000, 0xffff800000000000,
					 0xffffffffff5ff000, 0xfffffffffffff000, 0xffff820000000000,
					 0xffff87ffffffffff};

	for (size_t i = 0; i < sizeof(where) / sizeof(where[0]); i++) {
		catch_signal(read_byte, (void *)where[i]);
		CHECK(caught.sig == SIGSEGV && caught.addr == where[i] &&
			      caught.code == SEGV_MAPERR,
		      "read of 0x%lx: signal %d, code %d, address 0x%lx", where[i], caught.sig,
		      caught.code, caught.addr);
		catch_signal(write_byte, (void *)where[i]);
		CHECK(caught.sig == SIGSEGV && caught.addr == where[i],
		      "write of 0x%lx: signal %d, address 0x%lx", where[i], caught.sig,
		      caught.addr);
		catch_signal(jump, (void *)where[i]);
		CHECK(caught.sig == SIGSEGV && caught.rip == where[i],
		      "jump to 0x%lx: signal %d, rip 0x%lx", where[i], caught.sig, caught.rip);
	}
}

static void noncanonical(void)
{
	catch_signal(read_byte, (void *)0x8000000000000000);
	expect(SIGSEGV, SI_KERNEL, 0, 13);
	catch_signal(write_byte, (void *)0x0000800000000000);
	expect(SIGSEGV, SI_KERNEL, 0, 13);
	catch_signal(read_byte,
		     (void *)0x00007fffffffffff); /* canonical, the last byte, not mapped */
	expect(SIGSEGV, SEGV_MAPERR, 0x00007fffffffffff, 14);
}

static void on_rbp(void *arg)
{
	(void)arg;
	__asm__ volatile("push %%rbp\n\tmovabs $0x9000000000000000, %%rbp\n\tmov (%%rbp), "
			 "%%rax\n\tpop %%rbp" ::
				 : "rax");
}

/* An access by rbp is a stack access: #SS where others get #GP, and Linux says SIGBUS. */
static void stack_segment(void)
{
	catch_signal(on_rbp, NULL);
	expect(SIGBUS, SI_KERNEL, 0, 12);
}

#define INSN(name, text)                                                                           \
	static void name(void *arg)                                                                \
	{                                                                                          \
		(void)arg;                                                                         \
		__asm__ volatile(text ::: "rax", "rcx", "rdx", "memory");                          \
	}

INSN(do_hlt, "hlt")
INSN(do_cli, "cli")
INSN(do_sti, "sti")
INSN(do_in, "mov $0x80, %%edx\n\tin %%dx, %%al")
INSN(do_out, "out %%al, $0x80")
INSN(do_cr3, "mov %%cr3, %%rax")
INSN(do_dr7, "mov %%db7, %%rax")
INSN(do_rdmsr, "mov $0x10, %%ecx\n\trdmsr")
INSN(do_wrmsr, "wrmsr")
INSN(do_lgdt, "sub $16, %%rsp\n\tlgdt (%%rsp)\n\tadd $16, %%rsp")
INSN(do_swapgs, "swapgs")
INSN(do_invlpg, "invlpg (%%rsp)")
INSN(do_wbinvd, "wbinvd")
INSN(do_clts, "clts")
INSN(do_iretq_bad, "push $0\n\tpush %%rsp\n\tpushf\n\tpush $8\n\tpush $0\n\tiretq")
INSN(do_int81, "int $0x81")
INSN(do_int4, "int $4")
INSN(do_int14, "int $14")
INSN(do_load_ss, "mov $0x18, %%eax\n\tmov %%eax, %%ss")
INSN(do_load_ds, "mov $0xfff8, %%eax\n\tmov %%eax, %%ds")
INSN(do_sse_align, "lea 1(%%rsp), %%rax\n\tand $-16, %%rax\n\tmovaps 1(%%rax), %%xmm0")
INSN(do_ud2, "ud2")
INSN(do_sysretq, "sysretq")
INSN(do_bad_opcode, ".byte 0x06")
INSN(do_lock_bad, ".byte 0xf0, 0x89, 0xc0")
INSN(do_int3, "int3")
INSN(do_int3_long, ".byte 0xcd, 3")
INSN(do_icebp, ".byte 0xf1")
INSN(do_div0, "xor %%edx, %%edx\n\txor %%ecx, %%ecx\n\tmov $1, %%eax\n\tdiv %%ecx")
INSN(do_div_big, "mov $5, %%edx\n\tmov $1, %%ecx\n\tidiv %%ecx")

/* Privileged instructions */
static void general_protection(void)
{
	static const struct {
		const char *name;
		void (*run)(void *);
	} insn[] = {
		{"hlt", do_hlt},
		{"cli", do_cli},
		{"sti", do_sti},
		{"in", do_in},
		{"out", do_out},
		{"mov cr3", do_cr3},
		{"mov dr7", do_dr7},
		{"rdmsr", do_rdmsr},
		{"wrmsr", do_wrmsr},
		{"lgdt", do_lgdt},
		{"swapgs", do_swapgs},
		{"invlpg", do_invlpg},
		{"wbinvd", do_wbinvd},
		{"clts", do_clts},
		{"iretq", do_iretq_bad},
		{"int 0x81", do_int81},
		{"int 14", do_int14},
		{"mov 0x18, ss", do_load_ss},
		{"mov 0xfff8, ds", do_load_ds},
		{"misaligned movaps", do_sse_align},
	};

	for (size_t i = 0; i < sizeof(insn) / sizeof(insn[0]); i++) {
		catch_signal(insn[i].run, NULL);
		CHECK(caught.sig == SIGSEGV && caught.code == SI_KERNEL && caught.addr == 0,
		      "%s: signal %d, code %d, address 0x%lx", insn[i].name, caught.sig,
		      caught.code, caught.addr);
		CHECK(caught.trapno == 13, "%s: trap number %lu", insn[i].name, caught.trapno);
	}
}

static void int_n_error(void)
{
	catch_signal(do_int81, NULL);
	CHECK(caught.error == 0x81 * 8 + 2, "int 0x81: error code 0x%lx, not 0x%x", caught.error,
	      0x81 * 8 + 2);
	catch_signal(do_int14, NULL);
	CHECK(caught.error == 14 * 8 + 2, "int 14: error code 0x%lx, not 0x%x", caught.error,
	      14 * 8 + 2);
}

static void overflow(void)
{
	catch_signal(do_int4, NULL);
	expect(SIGSEGV, SI_KERNEL, 0, 4);
}

static void illegal(void)
{
	static void (*const insn[])(void *) = {do_ud2, do_bad_opcode, do_lock_bad};

	for (size_t i = 0; i < sizeof(insn) / sizeof(insn[0]); i++) {
		catch_signal(insn[i], NULL);
		CHECK(caught.sig == SIGILL && caught.code == ILL_ILLOPN,
		      "number %zu: signal %d, code %d", i, caught.sig, caught.code);
		CHECK(caught.addr == caught.rip && caught.trapno == 6,
		      "number %zu: address 0x%lx, rip 0x%lx, trap %lu", i, caught.addr, caught.rip,
		      caught.trapno);
	}
	catch_signal(do_sysretq, NULL);
	CHECK(caught.sig == SIGSEGV && caught.trapno == 13, "sysretq: signal %d, trap %lu",
	      caught.sig, caught.trapno);
}

static void breakpoint(void)
{
	catch_signal(do_int3, NULL);
	expect(SIGTRAP, SI_KERNEL, 0, 3);
	CHECK(*(unsigned char *)(caught.rip - 1) == 0xcc, "rip is not behind the int3");
	catch_signal(do_int3_long, NULL);
	CHECK(caught.sig == SIGTRAP && *(unsigned char *)(caught.rip - 2) == 0xcd,
	      "int $3: signal %d, rip 0x%lx", caught.sig, caught.rip);
}

static void icebp(void)
{
	catch_signal(do_icebp, NULL);
	CHECK(caught.sig == SIGTRAP && caught.trapno == 1, "signal %d, trap number %lu", caught.sig,
	      caught.trapno);
	/* (or in front of it, which is the hypervisor's doing: KVM's, on AMD's processors) */
	CHECK(((unsigned char *)caught.rip)[-1] == 0xf1 ||
		      (__builtin_cpu_is("amd") && *(unsigned char *)caught.rip == 0xf1),
	      "rip is not behind the icebp");
}

static void do_tiles(void *arg)
{
	/* ldtilecfg (%rax); tilezero %tmm0 */
	__asm__ volatile(".byte 0xc4, 0xe2, 0x78, 0x49, 0x00, 0xc4, 0xe2, 0x7b, 0x49, 0xc0"
			 :
			 : "a"(arg)
			 : "memory");
}

/* Not asked for, or not there: where it is known the host says so without a trap number of its own.
 */
static void tiles(void)
{
	static struct {
		uint8_t palette, start, pad[14];
		uint16_t bytes[16];
		uint8_t rows[16];
	} config = {.palette = 1, .bytes = {64}, .rows = {16}};

	for (int i = 0; i < 2; i++) {
		*(volatile char *)pages(1, PROT_READ | PROT_WRITE) = 1; /* a trap number */
		catch_signal(do_tiles, &config);
		CHECK(caught.sig == SIGILL, "signal %d", caught.sig);
	}
}

static void divide(void)
{
	catch_signal(do_div0, NULL);
	expect(SIGFPE, FPE_INTDIV, caught.rip, 0);
	catch_signal(do_div_big, NULL);
	expect(SIGFPE, FPE_INTDIV, caught.rip, 0);
}

static void do_sse(void *arg)
{
	uint32_t mxcsr = 0x1f80 & ~*(uint32_t *)arg;
	double zero = 0, one = 1, tiny = 1e-300;

	__asm__ volatile("ldmxcsr %0\n\tmovsd %1, %%xmm0\n\tmovsd %2, %%xmm1\n\t"
			 "cmpl $0x1c80, %0\n\tjne 1f\n\tnop\n1:\tdivsd %%xmm1, %%xmm0\n\t"
			 "mulsd %3, %%xmm1\n\t"
			 :
			 : "m"(mxcsr), "m"(one), "m"(zero), "m"(tiny)
			 : "xmm0", "xmm1");
}

static void do_sse_invalid(void *arg)
{
	uint32_t mxcsr = 0x1f00;
	double minus = -1;

	(void)arg;
	__asm__ volatile("ldmxcsr %0\n\tsqrtsd %1, %%xmm0" : : "m"(mxcsr), "m"(minus) : "xmm0");
}

static void do_x87(void *arg)
{
	uint16_t cw = 0x37b; /* zero divide unmasked */

	(void)arg;
	__asm__ volatile("fldcw %0\n\tfldz\n\tfld1\n\tfdivp\n\tfwait\n\tfninit" : : "m"(cw));
}

static void sse_exceptions(void)
{
	uint32_t unmask = 0x200;

	catch_signal(do_sse, &unmask);
	expect(SIGFPE, FPE_FLTDIV, caught.rip, 19);
	catch_signal(do_sse_invalid, NULL);
	expect(SIGFPE, FPE_FLTINV, caught.rip, 19);
}

static void x87_exceptions(void)
{
	catch_signal(do_x87, NULL);
	CHECK(caught.sig == SIGFPE && caught.trapno == 16, "signal %d, trap number %lu", caught.sig,
	      caught.trapno);
	CHECK(caught.code == FPE_FLTDIV, "code %d", caught.code);
}

static void do_ac(void *p)
{
	__asm__ volatile("pushf\n\torl $0x40000, (%%rsp)\n\tpopf\n\tmov 1(%0), %%eax\n\t"
			 "pushf\n\tandl $~0x40000, (%%rsp)\n\tpopf"
			 :
			 : "r"(p)
			 : "rax", "memory", "cc");
}

static void alignment(void)
{
	static _Alignas(16) char data[16];

	catch_signal(do_ac, data);
	__asm__ volatile("pushf\n\tandl $~0x40000, (%%rsp)\n\tpopf" ::: "cc", "memory");
	CHECK(caught.sig == SIGBUS && caught.code == BUS_ADRALN, "signal %d, code %d", caught.sig,
	      caught.code);
	CHECK(caught.trapno == 17, "trap number %lu", caught.trapno);
}

static void past_end_of_file(void)
{
	int fd = (int)MUST(memfd_create("conform", 0));
	char *p;

	MUST(ftruncate(fd, 4096));
	p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(p != MAP_FAILED, "mmap");
	p[0] = 1;
	catch_signal(read_byte, p + 4096);
	expect(SIGBUS, BUS_ADRERR, (uint64_t)p + 4096, 14);
}

/* Single step by the flag: a trap after each instruction, with TRAP_TRACE. */
static volatile int steps;
static uint64_t first_step;

static void on_step(int sig, siginfo_t *info, void *context)
{
	greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;

	(void)sig;
	CHECK(info->si_code == TRAP_TRACE, "si_code %d", info->si_code);
	if (!steps++)
		first_step = (uint64_t)g[REG_RIP];
	CHECK((uint64_t)info->si_addr == (uint64_t)g[REG_RIP], "si_addr is not rip");
}

static void trap_flag(void)
{
	uint64_t start;

	on_signal(SIGTRAP, on_step, 0);
	__asm__ volatile("lea 1f(%%rip), %0\n\t"
			 "pushf\n\torl $0x100, (%%rsp)\n\tpopf\n\t"
			 "nop\n1:\tnop\n\tnop\n\t"
			 "mov $39, %%eax\n\tsyscall\n\t"
			 "pushf\n\tandl $~0x100, (%%rsp)\n\tpopf\n\tnop\n\tnop"
			 : "=&r"(start)
			 :
			 : "rax", "rcx", "r11", "memory", "cc");
	CHECK(first_step == start, "the first trap at 0x%lx, not 0x%lx", first_step, start);
	/* none behind the syscall itself: its return restores the flag, and the next instruction
	 * traps */
	CHECK(steps == 7, "%d traps, not 7", steps);
}

const struct test fault_tests[] = {
	{"fault-read-unmapped", read_unmapped},
	{"fault-write-readonly", write_readonly},
	{"fault-write-unmapped", write_unmapped},
	{"fault-read-none", read_none},
	{"fault-jump-nx", jump_nx},
	{"fault-jump-unmapped", jump_unmapped},
	{"fault-kernel-addresses", kernel_addresses},
	{"fault-noncanonical", noncanonical},
	{"fault-stack-segment", stack_segment},
	{"fault-privileged", general_protection},
	{"fault-int-n-error", int_n_error},
	{"fault-overflow", overflow},
	{"fault-illegal", illegal},
	{"fault-breakpoint", breakpoint},
	{"fault-icebp", icebp},
	{"fault-tiles", tiles},
	{"fault-divide", divide},
	{"fault-sse", sse_exceptions},
	{"fault-x87", x87_exceptions},
	{"fault-alignment", alignment},
	{"fault-past-end-of-file", past_end_of_file},
	{"fault-trap-flag", trap_flag},
	{NULL, NULL},
};
