/* SPDX-License-Identifier: MIT */
/*
 * What mmu_update and mmuext_op have in common: a list of requests, a count of those done that
 * spans continuations, and tables whose demotion was preempted.
 */
#ifndef PVV_CORE_MM_OPS_H
#define PVV_CORE_MM_OPS_H

#include "core/mm/internal.h"

/* In the count: this is a continuation, add to *pdone instead of setting it. */
#define MMU_UPDATE_PREEMPTED (1u << 31)

struct mm_batch {
	unsigned int hypercall;
	const uint64_t *arg;
	uint64_t va, pdone;
	uint32_t count, done_before;
};

/* False: the call is over (or to be continued) already, *ret_rc is its result. */
bool mm_batch_start(struct core_ctx *c, struct mm_batch *b, unsigned int hypercall,
		    const uint64_t arg[6], long *ret_rc);
/* `done` requests of `size` bytes were done in this turn. Returns the hypercall's result. */
long mm_batch_end(struct core_ctx *c, const struct mm_batch *b, long rc, uint32_t done,
		  size_t size);

#endif
