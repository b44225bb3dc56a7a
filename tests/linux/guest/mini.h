/* SPDX-License-Identifier: MIT */
/*
 * What a program without libc needs: system calls, and printing numbers. For the first steps of
 * user mode in a guest, where the fewer instructions run before the one under test, the better.
 */
#ifndef MINI_H
#define MINI_H

#include <stddef.h>
#include <stdint.h>

static inline long sys6(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "0"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

/* sys(number, up to six arguments); the rest is zero */
#define sys(...) SYS_PAD(__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0)
#define SYS_PAD(nr, a, b, c, d, e, f, ...)                                                         \
	sys6(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

static inline size_t mini_strlen(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

static inline int mini_streq(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

static inline void put(const char *s)
{
	sys(1, 1, s, mini_strlen(s));
}

/* name = value\n in one write, so that lines of several processes stay whole */
static inline void put_value(const char *name, long value)
{
	char line[128], digits[24];
	size_t n = 0, d = 0;
	unsigned long v = value < 0 ? -(unsigned long)value : (unsigned long)value;

	while (*name && n < 90)
		line[n++] = *name++;
	line[n++] = ' ';
	if (value < 0)
		line[n++] = '-';
	do {
		digits[d++] = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	while (d)
		line[n++] = digits[--d];
	line[n++] = '\n';
	sys(1, 1, line, n);
}

#endif
