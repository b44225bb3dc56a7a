/* SPDX-License-Identifier: MIT */
/* Running, waking and stopping vCPUs: what the rooms of the core need of run.c and stop.c. */
#ifndef PVV_CORE_RUN_H
#define PVV_CORE_RUN_H

#include "core/core.h"

/* Make the vCPU pass through core_next(); no effect on whether it is blocked. */
void core_vcpu_kick(struct core_ctx *c, struct core_vcpu *v);
/* Something happened that ends a block, a poll or a yield of `v`. */
void core_vcpu_wake(struct core_ctx *c, struct core_vcpu *v);
/* In sched_op block or poll; others clear it. */
static inline bool core_vcpu_blocked(const struct core_vcpu *v)
{
	return __atomic_load_n(&v->blocked, __ATOMIC_RELAXED) != 0;
}
/* Around everything that looks at or changes event channels. */
void core_event_lock(struct core_ctx *c);
void core_event_unlock(struct core_ctx *c);
/* The library has news in ctl: outbound, closed, or run_state. */
void core_ring_doorbell(struct core_ctx *c);
/* The domain shuts down with a SHUTDOWN_* code; every vCPU stops. */
void core_shutdown(struct core_ctx *c, uint32_t code);

/*
 * Guest memory through the kernel's page tables, whatever mode the vCPU is in: areas the kernel
 * registered, its LDT and I/O bitmap. Bytes not copied, as core_guest_read().
 */
size_t core_read_as_kernel(struct core_ctx *c, void *dst, uint64_t va, size_t len);
size_t core_write_as_kernel(struct core_ctx *c, uint64_t va, const void *src, size_t len);

/* Kernel <-> user mode of this vCPU: GS bases, page-table root. */
void core_toggle_mode(struct core_ctx *c);

#endif
