/* SPDX-License-Identifier: MIT */
#ifndef PVV_CORE_MM_RESERVATION_H
#define PVV_CORE_MM_RESERVATION_H

#include <xen/memory.h>

#include "core/mm/internal.h"

/* The largest extent a domain without devices may name at once. */
#define MM_MAX_ORDER 9u

/* increase_reservation, decrease_reservation, populate_physmap; exchange. */
long mm_reservation_op(struct core_ctx *c, unsigned int op, unsigned long start, uint64_t va,
		       const uint64_t arg[6]);
long mm_exchange(struct core_ctx *c, uint64_t va, const uint64_t arg[6]);

/* e820.c */
long mm_memory_map(struct core_ctx *c, uint64_t va);
long mm_set_memory_map(struct core_ctx *c, uint64_t va);

/* A frame leaves the reservation: it is freed now, or when its last reference goes. With mm_lock
 * held. False: not the guest's, or not one that can be given back. */
bool mm_frame_give_back(struct core_ctx *c, uint64_t mfn);

/* May the caller have frames of the node that mem_flags ask for? Any will do, or none in special.
 */
static inline bool mm_node_ok(unsigned int mem_flags)
{
	return !(mem_flags & XENMEMF_exact_node_request) ||
	       XENMEMF_get_node(mem_flags) == XENMEMF_get_node(0);
}

#endif
