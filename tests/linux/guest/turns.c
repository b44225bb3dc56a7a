// SPDX-License-Identifier: MIT
/*
 * TURNS=CALLS,CHILDREN on the kernel's command line: so many system calls with next to nothing in
 * between, so many forked children that only exit, then the power off. How its turns were executed
 * is counted outside.
 */
#include "mini.h"

enum {
	SYS_fork = 57,
	SYS_wait4 = 61,
	SYS_getppid = 110,
	SYS_reboot = 169,
	SYS_exit_group = 231,
};

static const char *number(const char *s, long *ret)
{
	for (*ret = 0; *s >= '0' && *s <= '9'; s++)
		*ret = *ret * 10 + *s - '0';
	return s;
}

static int child_ends_well(void)
{
	int status = -1;
	long pid = sys(SYS_fork);

	if (!pid)
		sys(SYS_exit_group, 7);
	return sys(SYS_wait4, pid, &status, 0, 0) == pid && status == 7 << 8;
}

__attribute__((used)) void mini_main(long *stack)
{
	char **environment = (char **)(stack + 1) + stack[0] + 1;
	long calls = 0, children = 0, good_calls = 0, good_children = 0;

	for (char **e = environment; *e; e++) {
		const char *a = *e, *b = "TURNS=";

		while (*b && *a == *b)
			a++, b++;
		if (!*b && *(a = number(a, &calls)) == ',')
			number(a + 1, &children);
	}
	for (long i = 0; i < calls; i++)
		good_calls += sys(SYS_getppid) == 0;
	for (long i = 0; i < children; i++)
		good_children += child_ends_well();
	put_value("calls", good_calls);
	put_value("children", good_children);
	sys(SYS_reboot, 0xfee1dead, 672274793, 0x4321fedc, 0);
	sys(SYS_exit_group, 1);
}

__asm__(".globl _start\n_start: mov %rsp, %rdi\n and $-16, %rsp\n call mini_main\n");
