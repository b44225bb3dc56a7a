/* SPDX-License-Identifier: MIT */
/*
 * Hypercalls. With PVG_HYPERCALL_PAGE through the page the builder filled in, else by a bare
 * `syscall`, as GRUB and today's Linux do.
 */
#ifndef PVG_HYPERCALL_H
#define PVG_HYPERCALL_H

#include <stdint.h>

extern uint8_t hypercall_page[];

static inline long pvg_raw_syscall(unsigned long nr, unsigned long a, unsigned long b,
				   unsigned long c, unsigned long d, unsigned long e)
{
	register unsigned long r10 __asm__("r10") = d;
	register unsigned long r8 __asm__("r8") = e;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret), "+D"(a), "+S"(b), "+d"(c), "+r"(r10), "+r"(r8)
			 : "0"(nr)
			 : "rcx", "r11", "memory");
	return ret;
}

static inline long hypercall(unsigned int nr, unsigned long a, unsigned long b, unsigned long c,
			     unsigned long d, unsigned long e)
{
#ifdef PVG_HYPERCALL_PAGE
	register unsigned long r10 __asm__("r10") = d;
	register unsigned long r8 __asm__("r8") = e;
	long ret;

	__asm__ volatile("call *%%rax"
			 : "=a"(ret), "+D"(a), "+S"(b), "+d"(c), "+r"(r10), "+r"(r8)
			 : "0"(hypercall_page + nr * 32)
			 : "rcx", "r11", "memory");
	return ret;
#else
	return pvg_raw_syscall(nr, a, b, c, d, e);
#endif
}

#define HC0(op)	      hypercall(__HYPERVISOR_##op, 0, 0, 0, 0, 0)
#define HC1(op, a)    hypercall(__HYPERVISOR_##op, (unsigned long)(a), 0, 0, 0, 0)
#define HC2(op, a, b) hypercall(__HYPERVISOR_##op, (unsigned long)(a), (unsigned long)(b), 0, 0, 0)
#define HC3(op, a, b, c)                                                                           \
	hypercall(__HYPERVISOR_##op, (unsigned long)(a), (unsigned long)(b), (unsigned long)(c),   \
		  0, 0)
#define HC4(op, a, b, c, d)                                                                        \
	hypercall(__HYPERVISOR_##op, (unsigned long)(a), (unsigned long)(b), (unsigned long)(c),   \
		  (unsigned long)(d), 0)

#endif
