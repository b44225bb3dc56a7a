/* SPDX-License-Identifier: MIT */
/* Weights of domains as the host's scheduler knows them. */
#include "exec/executor.h"

/* The host's scheduler weighs by steps of a quarter: 1024 / 1.25^nice. */
int exec_nice(uint32_t shares)
{
	uint64_t weight = 1024ull << 20, want = (uint64_t)shares << 20;
	int nice = 0;

	/* To the nearest step: half of one is about 12 %. */
	for (; nice < 19 && want < weight - weight / 9; nice++)
		weight -= weight / 5;
	for (; nice > -20 && want > weight + weight / 8; nice--)
		weight += weight / 4;
	return nice;
}
