/* SPDX-License-Identifier: MIT */
/*
 * Raw system calls, for K and for the child between clone and K: there is no libc. seccomp.c says
 * which of them K may make.
 */
#ifndef PVV_RING3_SYS_H
#define PVV_RING3_SYS_H

#include <stdint.h>

#include <sys/syscall.h>

static inline __attribute__((always_inline)) long sys6(long nr, long a, long b, long c, long d,
						       long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

#define sys0(nr)	     sys6(nr, 0, 0, 0, 0, 0, 0)
#define sys1(nr, a)	     sys6(nr, (long)(a), 0, 0, 0, 0, 0)
#define sys2(nr, a, b)	     sys6(nr, (long)(a), (long)(b), 0, 0, 0, 0)
#define sys3(nr, a, b, c)    sys6(nr, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define sys4(nr, a, b, c, d) sys6(nr, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)

static inline __attribute__((always_inline)) long sys_mmap(uint64_t addr, uint64_t len, int prot,
							   int flags, int fd, uint64_t off)
{
	return sys6(SYS_mmap, (long)addr, (long)len, prot, flags, fd, (long)off);
}

_Noreturn static inline __attribute__((always_inline)) void sys_exit(int status)
{
	for (;;)
		sys1(SYS_exit_group, status);
}

#endif
