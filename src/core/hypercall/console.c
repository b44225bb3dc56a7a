/* SPDX-License-Identifier: MIT */
/*
 * console_io: the emergency console. What a guest writes goes to a ring in the control pages that
 * the library reads when it cares to; a slow reader loses the oldest text, the guest never waits.
 */
#include "core/hypercall/hypercall.h"

#include "core/lib/lock.h"

/* Each chunk becomes visible to the library as a whole. */
#define CHUNK 128u

static void put_ring(struct core_ctl *ctl, const uint8_t *text, size_t len)
{
	uint64_t prod = __atomic_load_n(&ctl->debug_prod, __ATOMIC_RELAXED);

	for (size_t i = 0; i < len; i++)
		ctl->debug_ring[(prod + i) % CORE_DEBUG_RING] = text[i];
	__atomic_store_n(&ctl->debug_prod, prod + len, __ATOMIC_RELEASE);
}

/* At most a ring full of it: more would overwrite itself. */
static void capture(struct core_ctx *c, uint32_t count, uint64_t va)
{
	if (count > CORE_DEBUG_RING)
		count = CORE_DEBUG_RING;
	while (count > 0) {
		uint8_t text[CHUNK];
		uint32_t len = count < CHUNK ? count : CHUNK;

		if (!core_get_bytes(c, text, va, len))
			return;
		core_lock(c, &c->d->console_lock);
		put_ring(c->ctl, text, len);
		core_unlock(c, &c->d->console_lock);
		va += len;
		count -= len;
	}
}

/*
 * An ordinary domain may not use Xen's console (unless Xen is a debug build), and is told so. What
 * it wanted to say is too useful to be lost: the library gets it nevertheless.
 */
/* ABI: -EPERM; as a release build of Xen, but the library keeps what was written */
long core_hc_console_io(struct core_ctx *c, const uint64_t arg[6])
{
	if ((uint32_t)arg[0] == CONSOLEIO_write)
		capture(c, (uint32_t)arg[1], arg[2]);
	return -XEN_EPERM;
}
