/* SPDX-License-Identifier: MIT */
/*
 * memcpy and friends for the freestanding image. `rep movsb/stosb` is what current processors do
 * best for whole pages, and short copies of constant size are the compiler's. Must be compiled with
 * -fno-builtin, else the compiler turns the loops into calls to themselves.
 */
#define CORE_LIB_MEM_CALLS
#include "core/lib/mem.h"

#include <stdint.h>

/* Any address, any type. */
typedef uint64_t __attribute__((may_alias, aligned(1))) word;

/*
 * The frames that are pushed and popped at each entry of the guest's kernel are a few words, for
 * which starting a string instruction takes longer than copying them.
 */
#define A_FEW 128u

void *memcpy(void *restrict dst, const void *restrict src, size_t n)
{
	void *d = dst;

	if (n <= A_FEW) {
		word *to = dst;
		const word *from = src;

		for (; n >= 32; n -= 32, to += 4, from += 4) {
			uint64_t a = from[0], b = from[1], e = from[2], f = from[3];

			to[0] = a;
			to[1] = b;
			to[2] = e;
			to[3] = f;
		}
		for (; n >= 8; n -= 8)
			*to++ = *from++;
		d = to;
		src = from;
		if (n == 0)
			return dst;
	}
	__asm__ volatile("rep movsb" : "+D"(d), "+S"(src), "+c"(n) : : "memory");
	return dst;
}

void *memmove(void *dst, const void *src, size_t n)
{
	uint8_t *d = dst;
	const uint8_t *s = src;

	if ((uintptr_t)dst - (uintptr_t)src >= n)
		return memcpy(dst, src, n);
	while (n > 0) {
		n--;
		((volatile uint8_t *)d)[n] = s[n];
	}
	return dst;
}

void *memset(void *dst, int byte, size_t n)
{
	void *d = dst;

	__asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(byte) : "memory");
	return dst;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const uint8_t *x = a, *y = b;

	for (size_t i = 0; i < n; i++) {
		if (x[i] != y[i])
			return x[i] < y[i] ? -1 : 1;
	}
	return 0;
}
