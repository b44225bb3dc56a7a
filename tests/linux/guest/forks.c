// SPDX-License-Identifier: MIT
/*
 * fork, exec, exit and wait, N times: as process 1 with FORKS=N on the kernel's command line, and
 * then the power off; natively with N as the argument. Without libc: glibc's start executes cpuid
 * 34 times, which is an exit each. What it costs is counted outside.
 */
#include "mini.h"

enum {
	SYS_getpid = 39,
	SYS_fork = 57,
	SYS_execve = 59,
	SYS_wait4 = 61,
	SYS_reboot = 169,
	SYS_exit_group = 231,
};

static char **environment;
static const char *self;

static long number(const char *s)
{
	long n = 0;

	while (*s >= '0' && *s <= '9')
		n = n * 10 + *s++ - '0';
	return n;
}

static long wanted(int argc, char **argv)
{
	if (argc > 1)
		return number(argv[1]);
	for (char **e = environment; *e; e++) {
		const char *a = *e, *b = "FORKS=";

		while (*b && *a == *b)
			a++, b++;
		if (!*b)
			return number(a);
	}
	return 10;
}

static int one(void)
{
	char *argv[] = {(char *)self, "exit-5", NULL};
	int status = -1;
	long pid = sys(SYS_fork);

	if (!pid) {
		sys(SYS_execve, self, argv, environment);
		sys(SYS_exit_group, 99);
	}
	return sys(SYS_wait4, pid, &status, 0, 0) == pid && status == 5 << 8;
}

__attribute__((used)) void mini_main(long *stack)
{
	int argc = (int)stack[0];
	char **argv = (char **)(stack + 1);
	long good = 0, n;

	if (argc == 2 && mini_streq(argv[1], "exit-5"))
		sys(SYS_exit_group, 5);
	environment = argv + argc + 1;
	n = wanted(argc, argv);
	self = sys(SYS_getpid) == 1 ? "/init" : argv[0];
	for (long i = 0; i < n; i++)
		good += one();
	put_value("forks wanted", n);
	put_value("forks done", good);
	if (sys(SYS_getpid) == 1)
		sys(SYS_reboot, 0xfee1dead, 672274793, 0x4321fedc, 0);
	sys(SYS_exit_group, good != n);
}

__asm__(".globl _start\n_start: mov %rsp, %rdi\n and $-16, %rsp\n call mini_main\n");
