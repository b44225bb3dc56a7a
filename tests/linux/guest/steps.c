// SPDX-License-Identifier: MIT
/*
 * User mode in a guest, step by step: an /init without libc whose argument says how far to go. Each
 * step prints `ok STEP` or what was wrong. Boot with --cmdline 'console=hvc0 -- STEP...'; without a
 * step it takes all of them in order. Ends with a power-off. Natively it runs as an ordinary
 * program, and only exits.
 */
#include "mini.h"

enum {
	SYS_read = 0,
	SYS_write,
	SYS_open,
	SYS_close,
	SYS_mmap = 9,
	SYS_mprotect,
	SYS_munmap,
	SYS_brk,
	SYS_rt_sigaction,
	SYS_rt_sigprocmask,
	SYS_rt_sigreturn,
	SYS_pipe = 22,
	SYS_yield = 24,
	SYS_mremap,
	SYS_nanosleep = 35,
	SYS_getpid = 39,
	SYS_clone = 56,
	SYS_fork,
	SYS_vfork,
	SYS_execve,
	SYS_exit,
	SYS_wait4,
	SYS_kill,
	SYS_uname,
	SYS_getppid = 110,
	SYS_arch_prctl = 158,
	SYS_reboot = 169,
	SYS_clock_gettime = 228,
	SYS_exit_group = 231,
};

static char **environment;
static const char *self;
static char zeros[1 << 20];
static int data = 42;

static int fail(const char *step, const char *what, long value)
{
	put("FAIL ");
	put(step);
	put(": ");
	put_value(what, value);
	return -1;
}

static int step_hello(void)
{
	put("hello from a program with a stack\n");
	return 0;
}

static int step_syscalls(void)
{
	char uts[6 * 65];
	int64_t ts[2] = {0, 0};
	long r;

	r = sys(SYS_getpid, 0);
	if (r < 1)
		return fail("syscalls", "getpid", r);
	r = sys(SYS_uname, uts);
	if (r || !mini_streq(uts, "Linux"))
		return fail("syscalls", "uname", r);
	put(uts + 2 * 65);
	put("\n");
	r = sys(SYS_write, 1, 8,
		1); /* an address that is not mapped: the kernel's exception table */
	if (r != -14)
		return fail("syscalls", "write from a bad address should be -14, is", r);
	r = sys(1000, 1, 2, 3);
	if (r != -38)
		return fail("syscalls", "unknown system call should be -38, is", r);
	r = sys(SYS_clock_gettime, 1, ts);
	if (r || ts[0] < 0)
		return fail("syscalls", "clock_gettime", r);
	for (int i = 0; i < 10000; i++)
		if (sys(SYS_getppid, 0) < 0)
			return fail("syscalls", "getppid", i);
	return 0;
}

/* Every register but rax, rcx and r11 survives a system call; so do the flags. */
static int step_registers(void)
{
	uint64_t in[12], out[12], flags;
	register uint64_t *to __asm__("r15") = out; /* not rbp, which is under test */

	for (int i = 0; i < 12; i++)
		in[i] = 0x1111111111111111ull * (uint64_t)(i + 1);
	__asm__ volatile("push %%rbp\n\t"
			 "mov 0x00(%[in]), %%rbx\n\t"
			 "mov 0x08(%[in]), %%rdi\n\t"
			 "mov 0x10(%[in]), %%rdx\n\t"
			 "mov 0x18(%[in]), %%rbp\n\t"
			 "mov 0x20(%[in]), %%r8\n\t"
			 "mov 0x28(%[in]), %%r9\n\t"
			 "mov 0x30(%[in]), %%r10\n\t"
			 "mov 0x38(%[in]), %%r12\n\t"
			 "mov 0x40(%[in]), %%r13\n\t"
			 "mov $39, %%eax\n\t"
			 "stc\n\t"
			 "syscall\n\t"
			 "pushf\n\t"
			 "mov %%rbx, 0x00(%[out])\n\t"
			 "mov %%rdi, 0x08(%[out])\n\t"
			 "mov %%rdx, 0x10(%[out])\n\t"
			 "mov %%rbp, 0x18(%[out])\n\t"
			 "mov %%r8, 0x20(%[out])\n\t"
			 "mov %%r9, 0x28(%[out])\n\t"
			 "mov %%r10, 0x30(%[out])\n\t"
			 "mov %%r12, 0x38(%[out])\n\t"
			 "mov %%r13, 0x40(%[out])\n\t"
			 "pop %%rcx\n\t"
			 "mov %%rcx, 0x48(%[out])\n\t"
			 "pop %%rbp\n\t"
			 :
			 : [in] "S"(in), [out] "r"(to)
			 : "rax", "rbx", "rcx", "rdx", "rdi", "r8", "r9", "r10", "r11", "r12",
			   "r13", "memory", "cc");
	for (int i = 0; i < 9; i++)
		if (in[i] != out[i])
			return fail("registers", "register changed, number", i);
	flags = out[9];
	if ((flags & 0x8d5) != ((flags & 0x8d5) | 1))
		return fail("registers", "carry was lost, flags", (long)flags);
	return 0;
}

static int step_fault(void)
{
	volatile char *p;
	long sum = 0;

	if (data != 42)
		return fail("fault", "initialized data", data);
	for (size_t i = 0; i < sizeof(zeros); i += 4096)
		sum += zeros[i];
	if (sum)
		return fail("fault", "bss is not zero", sum);
	for (size_t i = 0; i < sizeof(zeros); i += 4096)
		zeros[i] = (char)(i >> 12);
	for (size_t i = 0; i < sizeof(zeros); i += 4096)
		if (zeros[i] != (char)(i >> 12))
			return fail("fault", "bss page holds something else", (long)i);
	data = 43;
	p = (volatile char *)sys(SYS_brk, 0);
	if ((long)p <= 0 || sys(SYS_brk, p + (1 << 16)) != (long)p + (1 << 16))
		return fail("fault", "brk", (long)p);
	p[0] = 1;
	p[65535] = 2;
	p = (volatile char *)sys(SYS_mmap, 0, 4 << 20, 3, 0x22, -1, 0);
	if ((unsigned long)p > -4096ul)
		return fail("fault", "mmap", (long)p);
	for (size_t i = 0; i < 4 << 20; i += 4096)
		p[i] = (char)(i >> 14);
	for (size_t i = 0; i < 4 << 20; i += 4096)
		if (p[i] != (char)(i >> 14) || p[i + 1])
			return fail("fault", "mapped page holds something else", (long)i);
	if (sys(SYS_mprotect, p, 4096, 1) || p[0] != 0 || sys(SYS_mprotect, p, 4096, 3))
		return fail("fault", "mprotect", 0);
	p[0] = 9;
	if (sys(SYS_munmap, p, 4 << 20))
		return fail("fault", "munmap", 0);
	return 0;
}

static int step_clock(void)
{
	int64_t last[2] = {0, 0}, ts[2], pause[2] = {0, 20000000};

	for (int i = 0; i < 1000; i++) {
		if (sys(SYS_clock_gettime, 1, ts))
			return fail("clock", "clock_gettime", i);
		if (ts[0] < last[0] || (ts[0] == last[0] && ts[1] < last[1]))
			return fail("clock", "went backwards at", i);
		last[0] = ts[0];
		last[1] = ts[1];
	}
	if (sys(SYS_nanosleep, pause, 0))
		return fail("clock", "nanosleep", 0);
	sys(SYS_clock_gettime, 1, ts);
	if ((ts[0] - last[0]) * 1000000000 + ts[1] - last[1] < 20000000)
		return fail("clock", "slept too short", ts[1] - last[1]);
	return 0;
}

static long wait_for(long pid)
{
	int status = -1;
	long r = sys(SYS_wait4, pid, &status, 0, 0);

	return r == pid ? status : r < 0 ? r : -1000;
}

static int step_fork(void)
{
	volatile char *p = (volatile char *)sys(SYS_mmap, 0, 65536, 3, 0x22, -1, 0);
	long pid, r;

	for (int i = 0; i < 16; i++)
		p[i * 4096] = (char)i;
	pid = sys(SYS_fork, 0);
	if (pid < 0)
		return fail("fork", "fork", pid);
	if (!pid) {
		for (int i = 0; i < 16; i++)
			if (p[i * 4096] != i)
				sys(SYS_exit_group, 1);
		for (int i = 0; i < 16; i++)
			p[i * 4096] = (char)(100 + i); /* copy on write */
		sys(SYS_exit_group, 7);
	}
	r = wait_for(pid);
	if (r != 7 << 8)
		return fail("fork", "status of the child should be 1792, is", r);
	for (int i = 0; i < 16; i++)
		if (p[i * 4096] != i)
			return fail("fork", "the child wrote into the parent's page", i);
	for (int i = 0; i < 50; i++) {
		pid = sys(SYS_fork, 0);
		if (!pid)
			sys(SYS_exit_group, i);
		r = wait_for(pid);
		if (r != i << 8)
			return fail("fork", "status of a child in a loop", r);
	}
	return 0;
}

static int step_segv(void)
{
	long pid = sys(SYS_fork, 0), r;

	if (!pid) {
		*(volatile int *)8 = 1;
		sys(SYS_exit_group, 1);
	}
	r = wait_for(pid);
	if ((r & 0x7f) != 11)
		return fail("segv", "the child should die of signal 11, status", r);
	pid = sys(SYS_fork, 0);
	if (!pid) {
		__asm__ volatile("ud2");
		sys(SYS_exit_group, 1);
	}
	r = wait_for(pid);
	if ((r & 0x7f) != 4)
		return fail("segv", "the child should die of signal 4, status", r);
	pid = sys(SYS_fork, 0);
	if (!pid) {
		__asm__ volatile("hlt");
		sys(SYS_exit_group, 1);
	}
	r = wait_for(pid);
	if ((r & 0x7f) != 11)
		return fail("segv", "hlt: the child should die of signal 11, status", r);
	return 0;
}

static volatile int got;

static void on_signal(int number)
{
	got = number;
}

/* The kernel wants the return code (SA_RESTORER) from the program. */
__attribute__((naked, used)) static void restorer(void)
{
	__asm__ volatile("mov $15, %eax\n\tsyscall");
}

static int step_signal(void)
{
	struct {
		void (*handler)(int);
		unsigned long flags;
		void (*restore)(void);
		unsigned long mask;
	} act = {on_signal, 0x04000000, restorer, 0};
	double f = 1.25;
	long r;

	r = sys(SYS_rt_sigaction, 10, &act, 0, 8);
	if (r)
		return fail("signal", "sigaction", r);
	__asm__ volatile("" : "+x"(f));
	r = sys(SYS_kill, sys(SYS_getpid, 0), 10);
	__asm__ volatile("" : "+x"(f));
	if (r || got != 10)
		return fail("signal", "the handler got", got);
	if (f != 1.25)
		return fail("signal", "an SSE register changed", (long)(f * 100));
	return 0;
}

static int step_pipe(void)
{
	int a[2], b[2];
	char c = 0;
	long pid, r;

	if (sys(SYS_pipe, a) || sys(SYS_pipe, b))
		return fail("pipe", "pipe", -1);
	pid = sys(SYS_fork, 0);
	if (!pid) {
		for (int i = 0; i < 1000; i++) {
			if (sys(SYS_read, a[0], &c, 1) != 1 || sys(SYS_write, b[1], &c, 1) != 1)
				sys(SYS_exit_group, 1);
		}
		sys(SYS_exit_group, 0);
	}
	for (int i = 0; i < 1000; i++) {
		c = (char)i;
		if (sys(SYS_write, a[1], &c, 1) != 1 || sys(SYS_read, b[0], &c, 1) != 1 ||
		    c != (char)i)
			return fail("pipe", "round", i);
	}
	r = wait_for(pid);
	return r ? fail("pipe", "status", r) : 0;
}

static int step_exec(void)
{
	char *argv[] = {(char *)self, "exit-5", NULL};
	long pid, r;

	for (int i = 0; i < 10; i++) {
		pid = sys(i & 1 ? SYS_fork : SYS_clone, 17, 0, 0, 0, 0);
		if (!pid) {
			sys(SYS_execve, self, argv, environment);
			sys(SYS_exit_group, 99);
		}
		r = wait_for(pid);
		if (r != 5 << 8)
			return fail("exec", "status should be 1280, is", r);
	}
	return 0;
}

static const struct {
	const char *name;
	int (*run)(void);
} steps[] = {
	{"hello", step_hello}, {"syscalls", step_syscalls}, {"registers", step_registers},
	{"fault", step_fault}, {"clock", step_clock},	    {"fork", step_fork},
	{"segv", step_segv},   {"signal", step_signal},	    {"pipe", step_pipe},
	{"exec", step_exec},
};

static int take(size_t i)
{
	if (steps[i].run())
		return 1;
	put("ok ");
	put(steps[i].name);
	put("\n");
	return 0;
}

__attribute__((used)) void mini_main(long *stack)
{
	int argc = (int)stack[0], failed = 0;
	char **argv = (char **)(stack + 1);

	environment = argv + argc + 1;
	self = sys(SYS_getpid, 0) == 1 ? "/init" : argv[0];
	if (argc == 2 && mini_streq(argv[1], "exit-5"))
		sys(SYS_exit_group, 5);
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
		if (argc < 2)
			failed += take(i);
		else
			for (int a = 1; a < argc; a++)
				if (mini_streq(argv[a], steps[i].name))
					failed += take(i);
	put_value("failed", failed);
	if (sys(SYS_getpid, 0) == 1)
		sys(SYS_reboot, 0xfee1dead, 672274793, 0x4321fedc, 0);
	sys(SYS_exit_group, failed);
}

__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall "
	"mini_main\n");
