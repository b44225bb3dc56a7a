// SPDX-License-Identifier: MIT
/* ptrace as debuggers use it: registers, memory, breakpoints, single steps, system calls,
 * watchpoints. */
#include "conform.h"
#include <elf.h>
#include <stddef.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>

static volatile long target = 5;

__attribute__((noinline)) static long callee(long n)
{
	__asm__ volatile("" : "+r"(n));
	return n * 3 + 1;
}

static pid_t child(void (*run)(void))
{
	pid_t pid = fork();

	if (!pid) {
		MUST(ptrace(PTRACE_TRACEME, 0, 0, 0));
		raise(SIGSTOP);
		run();
		_exit(0);
	}
	return pid;
}

static int stopped(pid_t pid)
{
	int status = 0;

	CHECK(waitpid(pid, &status, 0) == pid, "waitpid: %s", strerror(errno));
	CHECK(WIFSTOPPED(status), "the child ended with 0x%x", status);
	return status >> 8;
}

static void exits_4(void)
{
	_exit((int)callee(target) - 12);
}

/* An int3 in the text: the trap, the original back, rip back, on. */
static void breakpoints(void)
{
	pid_t pid = child(exits_4);
	struct user_regs_struct r;
	long word;

	CHECK(stopped(pid) == SIGSTOP, "first stop");
	errno = 0;
	word = ptrace(PTRACE_PEEKTEXT, pid, callee, 0);
	CHECK(!errno && !memcmp(&word, (void *)callee, 8), "peek");
	MUST(ptrace(PTRACE_POKETEXT, pid, callee, (word & ~0xffl) | 0xcc));
	MUST(ptrace(PTRACE_CONT, pid, 0, 0));
	CHECK(stopped(pid) == SIGTRAP, "no trap");
	MUST(ptrace(PTRACE_GETREGS, pid, 0, &r));
	CHECK(r.rip == (uint64_t)callee + 1 && r.rdi == 5, "rip 0x%llx, rdi %lld", r.rip, r.rdi);
	CHECK(*(unsigned char *)callee != 0xcc, "the breakpoint is in the parent, too");
	MUST(ptrace(PTRACE_POKETEXT, pid, callee, word));
	r.rip--;
	r.rdi = 6;
	MUST(ptrace(PTRACE_SETREGS, pid, 0, &r));
	MUST(ptrace(PTRACE_CONT, pid, 0, 0));
	expect_status(pid, (6 * 3 + 1 - 12) << 8);
}

static void loop(void)
{
	__asm__ volatile("mov $100, %%ecx\n1:\tdec %%ecx\n\tjnz 1b" ::: "rcx", "cc");
	exits_4();
}

static void single_steps(void)
{
	pid_t pid = child(loop);
	struct user_regs_struct r, last = {0};
	int steps = 0, same = 0, sig;

	CHECK(stopped(pid) == SIGSTOP, "first stop");
	for (; steps < 2000; steps++) {
		int status;

		MUST(ptrace(PTRACE_SINGLESTEP, pid, 0, 0));
		CHECK(waitpid(pid, &status, 0) == pid, "waitpid");
		if (WIFEXITED(status)) {
			CHECK(WEXITSTATUS(status) == 4, "status 0x%x", status);
			break;
		}
		sig = WSTOPSIG(status);
		CHECK(sig == SIGTRAP, "signal %d after a step", sig);
		MUST(ptrace(PTRACE_GETREGS, pid, 0, &r));
		same += r.rip == last.rip;
		last = r;
	}
	CHECK(steps > 200 && steps < 2000, "%d steps", steps);
	CHECK(same < 3, "%d steps did not move", same);
}

static void makes_calls(void)
{
	syscall(SYS_getppid);
	exits_4();
}

static void system_calls(void)
{
	pid_t pid = child(makes_calls);
	struct user_regs_struct r;
	int seen = 0;

	CHECK(stopped(pid) == SIGSTOP, "first stop");
	MUST(ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESYSGOOD));
	for (int n = 0; n < 50; n++) {
		int status;

		MUST(ptrace(PTRACE_SYSCALL, pid, 0, 0));
		CHECK(waitpid(pid, &status, 0) == pid, "waitpid");
		if (WIFEXITED(status)) {
			CHECK(WEXITSTATUS(status) == 3 * 7 + 1 - 12, "status 0x%x", status);
			CHECK(seen == 2, "getppid was seen %d times", seen);
			return;
		}
		CHECK(WSTOPSIG(status) == (SIGTRAP | 0x80), "stop with %d", WSTOPSIG(status));
		MUST(ptrace(PTRACE_GETREGS, pid, 0, &r));
		if (r.orig_rax != SYS_getppid)
			continue;
		if (seen++) {
			CHECK((pid_t)r.rax == getpid(), "getppid answers %lld", r.rax);
			MUST(ptrace(PTRACE_POKEDATA, pid, &target, 7));
		} else {
			CHECK((long)r.rax == -ENOSYS, "rax at the entry is %lld", r.rax);
		}
	}
	fail("no end");
}

static void vectors(void)
{
	static uint8_t value[16];

	memset(value, 0x3c, sizeof(value));
	__asm__ volatile("movups %0, %%xmm5\n\tint3\n\tmovups %%xmm5, %0" : "+m"(value) : : "xmm5");
	_exit(value[0] == 0x99 && value[15] == 0x99 ? 4 : 1);
}

static void fpu_registers(void)
{
	pid_t pid = child(vectors);
	struct user_fpregs_struct f;

	CHECK(stopped(pid) == SIGSTOP, "first stop");
	MUST(ptrace(PTRACE_CONT, pid, 0, 0));
	CHECK(stopped(pid) == SIGTRAP, "no trap");
	MUST(ptrace(PTRACE_GETFPREGS, pid, 0, &f));
	CHECK(f.xmm_space[5 * 4] == 0x3c3c3c3c, "xmm5 reads 0x%x", f.xmm_space[5 * 4]);
	memset(&f.xmm_space[5 * 4], 0x99, 16);
	MUST(ptrace(PTRACE_SETFPREGS, pid, 0, &f));
	MUST(ptrace(PTRACE_CONT, pid, 0, 0));
	expect_status(pid, 4 << 8);
}

static void faults(void)
{
	volatile int *nowhere = (volatile int *)16;

	__asm__ volatile("" : "+r"(nowhere));
	*nowhere = 1;
}

static void signals(void)
{
	pid_t pid = child(faults);
	siginfo_t info;

	CHECK(stopped(pid) == SIGSTOP, "first stop");
	MUST(ptrace(PTRACE_CONT, pid, 0, 0));
	CHECK(stopped(pid) == SIGSEGV, "no SIGSEGV");
	MUST(ptrace(PTRACE_GETSIGINFO, pid, 0, &info));
	CHECK(info.si_code == SEGV_MAPERR && info.si_addr == (void *)16, "code %d, address %p",
	      info.si_code, info.si_addr);
	MUST(ptrace(PTRACE_CONT, pid, 0, SIGSEGV));
	expect_status(pid, SIGSEGV);
}

static void spins(void)
{
	while (target)
		;
	_exit(4);
}

/* A program that never enters the kernel is interrupted, changed, and let go. */
static void attach(void)
{
	pid_t pid = fork();

	if (!pid)
		spins();
	usleep(20000);
	MUST(ptrace(PTRACE_SEIZE, pid, 0, 0));
	for (int i = 0; i < 5; i++) {
		MUST(ptrace(PTRACE_INTERRUPT, pid, 0, 0));
		CHECK((stopped(pid) & 0xff) == SIGTRAP, "interrupt");
		if (i < 4)
			MUST(ptrace(PTRACE_CONT, pid, 0, 0));
	}
	MUST(ptrace(PTRACE_POKEDATA, pid, &target, 0));
	MUST(ptrace(PTRACE_DETACH, pid, 0, 0));
	expect_status(pid, 4 << 8);
}

static void writes_target(void)
{
	for (int i = 0; i < 1000; i++)
		__asm__ volatile("nop");
	target = 17;
	__asm__ volatile("nop");
	_exit(4);
}

static void hardware(size_t reg, unsigned long value, pid_t pid)
{
	if (ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, u_debugreg) + reg * 8, value))
		fail("debug register %zu = 0x%lx: %s", reg, value, strerror(errno));
}

static void watchpoint(void)
{
	pid_t pid = child(writes_target);
	struct user_regs_struct r;
	long dr6;

	CHECK(stopped(pid) == SIGSTOP, "first stop");
	hardware(0, (unsigned long)&target, pid);
	hardware(7, 1 | 0xdul << 16, pid); /* 8 bytes would be 0x9; 4 bytes, on writes */
	MUST(ptrace(PTRACE_CONT, pid, 0, 0));
	CHECK(stopped(pid) == SIGTRAP, "no trap");
	MUST(ptrace(PTRACE_GETREGS, pid, 0, &r));
	dr6 = ptrace(PTRACE_PEEKUSER, pid, offsetof(struct user, u_debugreg) + 6 * 8, 0);
	CHECK(dr6 & 1, "dr6 is 0x%lx", dr6);
	CHECK(ptrace(PTRACE_PEEKDATA, pid, &target, 0) == 17, "the write is not there yet");
	hardware(7, 0, pid);
	MUST(ptrace(PTRACE_CONT, pid, 0, 0));
	expect_status(pid, 4 << 8);
}

/* Two on one variable, of which only the first is for loads: a load is the first's alone, whatever
 * the host makes inaccessible to see either; a store is both's, even of the value that is there
 * already. */
static void loads_then_stores(void)
{
	(void)target;
	__asm__ volatile("nop; nop");
	target = 5;
	__asm__ volatile("nop; nop");
	_exit(4);
}

static void watched_twice(void)
{
	const unsigned long both =
		0xful | 0xful << 16 | 0xdul << 20; /* DR0: on access, DR1: on writes */
	const char *const what[] = {"load", "store"};
	pid_t pid = child(loads_then_stores);
	long dr6;

	CHECK(stopped(pid) == SIGSTOP, "first stop");
	hardware(0, (unsigned long)&target, pid);
	hardware(1, (unsigned long)&target, pid);
	hardware(7, both, pid);
	for (int i = 0; i < 2; i++) {
		MUST(ptrace(PTRACE_CONT, pid, 0, 0));
		CHECK(stopped(pid) == SIGTRAP, "no trap at the %s", what[i]);
		dr6 = ptrace(PTRACE_PEEKUSER, pid, offsetof(struct user, u_debugreg) + 6 * 8, 0);
		CHECK((dr6 & 15) == (i ? 3 : 1), "dr6 is 0x%lx at the %s", dr6, what[i]);
		hardware(6, 0, pid);
	}
	hardware(7, 0, pid);
	MUST(ptrace(PTRACE_CONT, pid, 0, 0));
	expect_status(pid, 4 << 8);
}

static void hardware_breakpoint(void)
{
	pid_t pid = child(exits_4);
	struct user_regs_struct r;

	CHECK(stopped(pid) == SIGSTOP, "first stop");
	hardware(0, (unsigned long)callee, pid);
	hardware(7, 1, pid);
	MUST(ptrace(PTRACE_CONT, pid, 0, 0));
	CHECK(stopped(pid) == SIGTRAP, "no trap");
	MUST(ptrace(PTRACE_GETREGS, pid, 0, &r));
	CHECK(r.rip == (uint64_t)callee, "rip 0x%llx", r.rip);
	MUST(ptrace(PTRACE_CONT, pid, 0, 0));
	expect_status(pid, 4 << 8);
}

const struct test ptrace_tests[] = {
	{"ptrace-breakpoints", breakpoints},
	{"ptrace-single-steps", single_steps},
	{"ptrace-system-calls", system_calls},
	{"ptrace-fpu-registers", fpu_registers},
	{"ptrace-signals", signals},
	{"ptrace-attach", attach},
	{"ptrace-watchpoint", watchpoint},
	{"ptrace-watched-twice", watched_twice},
	{"ptrace-hardware-breakpoint", hardware_breakpoint},
	{NULL, NULL},
};
