/* SPDX-License-Identifier: MIT */
/*
 * Spin locks in the domain's state region: shared by the vCPUs of one domain, which are threads or
 * processes of the host. A holder may lose its core, so waiters use `pause` and keep sections
 * short; no lock is ever held while the guest runs or while the vCPU sleeps.
 *
 * Order: grant_lock > mm_lock; event_lock is a leaf.
 */
#ifndef PVV_CORE_LIB_LOCK_H
#define PVV_CORE_LIB_LOCK_H

#include <stdint.h>

static inline void core_relax(void)
{
	__builtin_ia32_pause();
}

static inline void core_lock(uint32_t *lock)
{
	while (__atomic_exchange_n(lock, 1, __ATOMIC_ACQUIRE) != 0) {
		while (__atomic_load_n(lock, __ATOMIC_RELAXED) != 0)
			core_relax();
	}
}

static inline void core_unlock(uint32_t *lock)
{
	__atomic_store_n(lock, 0, __ATOMIC_RELEASE);
}

#endif
