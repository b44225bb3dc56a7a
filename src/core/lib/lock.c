/* SPDX-License-Identifier: MIT */
#include "core/lib/lock.h"

/* About as long as a section takes (a few microseconds); longer means the holder does not run. */
#define SPINS 200u

static bool try(uint32_t *lock)
{
	uint32_t idle = CORE_LOCK_FREE;

	return __atomic_load_n(lock, __ATOMIC_RELAXED) == CORE_LOCK_FREE &&
	       __atomic_compare_exchange_n(lock, &idle, CORE_LOCK_HELD, false, __ATOMIC_ACQUIRE,
					   __ATOMIC_RELAXED);
}

void core_lock_slow(struct core_ctx *c, uint32_t *lock)
{
	for (unsigned int i = 0; i < SPINS; i++) {
		if (try(lock))
			return;
		core_relax();
	}
	/* Taken as "waited for", as others may wait besides us: a needless wake at the end. */
	while (__atomic_exchange_n(lock, CORE_LOCK_WAITED_FOR, __ATOMIC_ACQUIRE) !=
	       CORE_LOCK_FREE) {
		if (c->ops->wait)
			c->ops->wait(c, lock, CORE_LOCK_WAITED_FOR);
		else
			core_relax();
	}
}

void core_unlock_slow(struct core_ctx *c, uint32_t *lock)
{
	if (c->ops->wake)
		c->ops->wake(c, lock);
}
