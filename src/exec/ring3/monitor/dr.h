/* SPDX-License-Identifier: MIT */
/* What is written in a dr7. */
#ifndef PVV_MONITOR_DR_H
#define PVV_MONITOR_DR_H

#include <stdint.h>

enum { ON_EXECUTE, ON_WRITE, ON_IO, ON_ACCESS };
#define DR7_ENABLED 0xffu /* two bits each, the guest's kernel decides for which task */

/* ON_IO (no breakpoint without cr4.DE) also for those that are off. */
static inline unsigned int dr_kind(uint32_t dr7, unsigned int i)
{
	return dr7 >> (2 * i) & 3 ? dr7 >> (16 + 4 * i) & 3 : ON_IO;
}

static inline uint64_t dr_length(uint32_t dr7, unsigned int i)
{
	static const uint8_t len[] = {1, 2, 8, 4};

	return len[dr7 >> (18 + 4 * i) & 3];
}

/* The processor ignores the low bits of the address of a longer one. */
static inline uint64_t dr_place(uint32_t dr7, const uint64_t addr[4], unsigned int i)
{
	return addr[i] & ~(dr_length(dr7, i) - 1);
}

#endif
