/* SPDX-License-Identifier: MIT */
/*
 * console_io: the emergency console. What a guest writes goes to a ring in the control pages that
 * the library reads when it cares to; a slow reader loses the oldest text, the guest never waits.
 */
#include "core/hypercall/hypercall.h"

#include "core/lib/lock.h"

/* Each chunk is visible to the library as a whole; the guest may be preempted in between. */
#define CHUNK 128u

static void put_ring(struct core_ctl *ctl, const uint8_t *text, size_t len)
{
	uint64_t prod = __atomic_load_n(&ctl->debug_prod, __ATOMIC_RELAXED);

	for (size_t i = 0; i < len; i++)
		ctl->debug_ring[(prod + i) % CORE_DEBUG_RING] = text[i];
	__atomic_store_n(&ctl->debug_prod, prod + len, __ATOMIC_RELEASE);
}

static long console_write(struct core_ctx *c, uint32_t count, uint64_t va, const uint64_t arg[6])
{
	while (count > 0) {
		uint8_t text[CHUNK];
		uint32_t len = count < CHUNK ? count : CHUNK;

		if (!core_get_bytes(c, text, va, len))
			return -XEN_EFAULT;
		core_lock(&c->d->console_lock);
		put_ring(c->ctl, text, len);
		core_unlock(&c->d->console_lock);
		va += len;
		count -= len;
		if (count > 0 && core_preempt_pending(c)) {
			uint64_t args[6] = {arg[0], count, va, arg[3], arg[4], arg[5]};

			return core_hypercall_continue(c, __HYPERVISOR_console_io, args);
		}
	}
	return 0;
}

long core_hc_console_io(struct core_ctx *c, const uint64_t arg[6])
{
	uint32_t count = (uint32_t)arg[1];

	switch ((uint32_t)arg[0]) {
	case CONSOLEIO_write: /* ABI: served; a debug hypervisor's answer (release: -EPERM) */
		if (count > INT32_MAX)
			return -XEN_EINVAL;
		return console_write(c, count, arg[2], arg);
	case CONSOLEIO_read: /* ABI: served; there is never input */
		return count > INT32_MAX ? -XEN_EINVAL : 0;
	default:
		return -XEN_ENOSYS;
	}
}
