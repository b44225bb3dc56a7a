/* SPDX-License-Identifier: MIT */
/*
 * Locks in the domain's state region: shared by the vCPUs of one domain, which are threads or
 * processes of the host. Sections are short, and no lock is held while the guest runs or the vCPU
 * sleeps; but the host may take the processor from a holder at any time, so a waiter spins a moment
 * and then sleeps (lock.c): with two vCPUs on one processor the holder could not go on otherwise.
 *
 * Order: grant_lock > mm_lock; event_lock and sched_lock are leaves.
 *
 * A vCPU that ends with a lock held takes the domain with it: the executor ends all of them when
 * one dies, and the library never takes these locks.
 */
#ifndef PVV_CORE_LIB_LOCK_H
#define PVV_CORE_LIB_LOCK_H

#include "core/core.h"

enum { CORE_LOCK_FREE = 0, CORE_LOCK_HELD = 1, CORE_LOCK_WAITED_FOR = 2 };

/* lock.c: what happens when somebody else has it, or waits for it. */
void core_lock_slow(struct core_ctx *c, uint32_t *lock);
void core_unlock_slow(struct core_ctx *c, uint32_t *lock);

static inline void core_relax(void)
{
	__builtin_ia32_pause();
}

static inline void core_lock(struct core_ctx *c, uint32_t *lock)
{
	uint32_t idle = CORE_LOCK_FREE;

	if (!__atomic_compare_exchange_n(lock, &idle, CORE_LOCK_HELD, false, __ATOMIC_ACQUIRE,
					 __ATOMIC_RELAXED))
		core_lock_slow(c, lock);
}

static inline void core_unlock(struct core_ctx *c, uint32_t *lock)
{
	if (__builtin_expect(__atomic_exchange_n(lock, CORE_LOCK_FREE, __ATOMIC_RELEASE) !=
				     CORE_LOCK_HELD,
			     false))
		core_unlock_slow(c, lock);
}

#endif
