/* SPDX-License-Identifier: MIT */
/* Bit arrays in memory that the guest, other vCPUs or the library change at the same time. */
#ifndef PVV_CORE_LIB_BITOPS_H
#define PVV_CORE_LIB_BITOPS_H

#include <stdbool.h>
#include <stdint.h>

static inline bool core_bit_test(const uint64_t *map, unsigned int bit)
{
	return (__atomic_load_n(&map[bit / 64], __ATOMIC_RELAXED) >> (bit % 64)) & 1;
}

/* These return the bit's former value and are full barriers. */
static inline bool core_bit_test_and_set(uint64_t *map, unsigned int bit)
{
	uint64_t mask = 1ull << (bit % 64);

	return (__atomic_fetch_or(&map[bit / 64], mask, __ATOMIC_SEQ_CST) & mask) != 0;
}

static inline bool core_bit_test_and_clear(uint64_t *map, unsigned int bit)
{
	uint64_t mask = 1ull << (bit % 64);

	return (__atomic_fetch_and(&map[bit / 64], ~mask, __ATOMIC_SEQ_CST) & mask) != 0;
}

/* Index of the lowest set bit; `word` must not be 0. */
static inline unsigned int core_bit_first(uint64_t word)
{
	return (unsigned int)__builtin_ctzll(word);
}

/* Only a canonical 64-bit address may become rip, a segment base or a breakpoint. */
static inline bool core_canonical(uint64_t va)
{
	return (uint64_t)((int64_t)(va << 16) >> 16) == va;
}

#endif
