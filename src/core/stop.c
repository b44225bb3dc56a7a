/* SPDX-License-Identifier: MIT */
/* The ways a domain ends, and the wires to the other vCPUs and to the library. */
#include "core/run.h"

#include <stdarg.h>

#include "core/lib/bitops.h"
#include "core/lib/fmt.h"
#include "core/lib/lock.h"

void core_vcpu_kick(struct core_ctx *c, struct core_vcpu *v)
{
	/* Whoever set it before us has kicked the vCPU, or is about to: it has not looked yet. */
	if (__atomic_exchange_n(&c->ctl->vcpu[v->id].kick, 1, __ATOMIC_SEQ_CST) != 0)
		return;
	/* This vCPU is in the core now and passes core_next() before it runs the guest again. */
	if (v == c->v)
		return;
	if (c->kick_later)
		c->kick_due |= 1ull << v->id;
	else
		c->ops->kick_vcpu(c, v->id);
}

/*
 * A kick is a system call, and the vCPU it wakes may want the lock at once: so kicks wait for the
 * end of the section.
 */
void core_event_lock(struct core_ctx *c)
{
	core_lock(c, &c->d->event_lock);
	c->kick_later = true;
}

void core_event_unlock(struct core_ctx *c)
{
	uint64_t due = c->kick_due;

	c->kick_due = 0;
	c->kick_later = false;
	core_unlock(c, &c->d->event_lock);
	for (; due != 0; due &= due - 1)
		c->ops->kick_vcpu(c, core_bit_first(due));
}

void core_vcpu_wake(struct core_ctx *c, struct core_vcpu *v)
{
	__atomic_store_n(&v->blocked, 0, __ATOMIC_SEQ_CST);
	core_vcpu_kick(c, v);
}

void core_ring_doorbell(struct core_ctx *c)
{
	if (__atomic_exchange_n(&c->ctl->doorbell, 1, __ATOMIC_SEQ_CST) == 0)
		c->ops->doorbell(c);
}

/* Only the first end counts. The caller has filled in what `state` is explained by. */
static void end(struct core_ctx *c, uint32_t state)
{
	__atomic_store_n(&c->ctl->run_state, state, __ATOMIC_RELEASE);
	__atomic_fetch_add(&c->ctl->state_seq, 1, __ATOMIC_SEQ_CST);
	for (unsigned int i = 0; i < c->d->nr_vcpus; i++)
		core_vcpu_kick(c, &c->d->vcpu[i]);
	core_ring_doorbell(c);
}

static bool first_to_stop(struct core_ctx *c)
{
	return __atomic_exchange_n(&c->d->stop, 1, __ATOMIC_SEQ_CST) == 0;
}

void core_crash(struct core_ctx *c, const char *fmt, ...)
{
	va_list ap;

	if (!first_to_stop(c))
		return;
	va_start(ap, fmt);
	core_vfmt(c->ctl->reason, sizeof(c->ctl->reason), fmt, ap);
	va_end(ap);
	end(c, CORE_STATE_CRASHED);
}

void core_shutdown(struct core_ctx *c, uint32_t code)
{
	uint32_t none = 0;

	/* A code the guest latched earlier wins over the one it shuts down with. */
	if (!__atomic_compare_exchange_n(&c->d->shutdown_latched, &none, code + 1, false,
					 __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		code = none - 1;
	if (!first_to_stop(c))
		return;
	c->ctl->shutdown_code = code;
	end(c, CORE_STATE_SHUTDOWN);
}
