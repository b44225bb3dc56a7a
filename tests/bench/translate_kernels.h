/* SPDX-License-Identifier: MIT */
/* What the programs of translate_kernels*.c share. */
#ifndef PVV_TRANSLATE_KERNELS_H
#define PVV_TRANSLATE_KERNELS_H

#include <stddef.h>
#include <stdint.h>

typedef uint64_t u64;
typedef uint32_t u32;

#define noinline __attribute__((noinline))

/* Scratch memory, handed out from its beginning. */
struct arena {
	char *p;
};

void *memset(void *d, int c, size_t n);
void *memcpy(void *d, const void *s, size_t n);

static inline u64 next(u64 *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

static inline void *take(struct arena *a, size_t n)
{
	void *p = a->p;

	a->p += (n + 15) & ~15ul;
	return p;
}

/* One program each: `rounds` of it, a checksum. */
typedef u64 kernel_t(u64 rounds, struct arena *a);
kernel_t k_chase, k_hash, k_tree, k_sort, k_copy, k_string, k_fib, k_many, k_indirect, k_retpoline,
	k_switch, k_walk, k_crc, k_bitmap, k_radix, k_lists, k_format, k_lz, k_matrix, k_rep,
	k_percpu;

#endif
