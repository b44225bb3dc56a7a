/* SPDX-License-Identifier: MIT */
/* sched_op: giving the processor away, and ending the domain. */
#include "core/hypercall/hypercall.h"

#include "core/event/event.h"
#include "core/lib/lock.h"
#include "core/run.h"
#include "core/time/time.h"

#define MAX_POLL_PORTS 128u

/*
 * A guest that waits in a loop of yields (PV GRUB does) must not burn a core, yet a guest that
 * yields a hundred thousand times must get through. So of a long streak every 64th yield sleeps, 20
 * us at first and 2.56 ms after some thousands: below 1 % of a core in the long run. Any kick - an
 * event raised by the library, above all - ends the sleep and the streak, and so does anything else
 * that the guest does: real work between two yields, or another hypercall (core_hypercall()).
 */
#define YIELDS_A_NAP  64u
#define YIELDS_A_STEP 1024u
#define NAP_MIN_NS    20000ull
#define NAP_STEPS     7u /* 20 us << 7 = 2.56 ms */
#define WORK_NS	      80000ull

static long yield(struct core_ctx *c)
{
	struct core_vcpu *v = c->v;

	if (c->d->nr_vcpus > 1 && c->ops->yield)
		c->ops->yield(c);

	uint64_t now = core_time_now(c);

	if (now - v->yield_last > WORK_NS)
		v->yield_streak = 0;
	v->yield_last = now;
	if (v->yield_streak < NAP_STEPS * YIELDS_A_STEP + YIELDS_A_NAP)
		v->yield_streak++;
	else
		v->yield_streak -= YIELDS_A_NAP - 1; /* stay in the last step */
	if (v->yield_streak % YIELDS_A_NAP == 0) {
		unsigned int step = v->yield_streak / YIELDS_A_STEP;

		v->yield_until = now + (NAP_MIN_NS << (step < NAP_STEPS ? step : NAP_STEPS));
	}
	return 0;
}

static long block(struct core_ctx *c)
{
	struct core_vcpu *v = c->v;

	core_vcpu_info(c, v)->evtchn_upcall_mask = 0;
	/* core_next() looks for events after this: one that is pending now ends the block. */
	__atomic_store_n(&v->blocked, 1, __ATOMIC_SEQ_CST);
	return 0;
}

static long poll(struct core_ctx *c, uint64_t va)
{
	struct core_vcpu *v = c->v;
	struct sched_poll op;
	uint32_t ports[MAX_POLL_PORTS];
	uint64_t list;

	if (!core_get(c, &op, va))
		return -XEN_EFAULT;
	if (op.nr_ports > MAX_POLL_PORTS)
		return -XEN_EINVAL;
	list = (uint64_t)(uintptr_t)op.ports.p;
	if (!core_addr_ok(list)) /* also of a list of none */
		return -XEN_EFAULT;
	if (core_event_deliverable(c, v))
		return 0;
	for (unsigned int i = 0; i < op.nr_ports; i++) {
		if (!core_get_bytes(c, &ports[i], list + i * 4ull, 4))
			return -XEN_EFAULT;
		if (ports[i] == 0 || !core_evtchn_valid(c, ports[i])) /* a closed one is fine */
			return -XEN_EINVAL;
		v->poll_ports[i] = ports[i];
		v->poll_nr = i + 1;
		/* Later ports are not even looked at, as in Xen: a bad one goes unnoticed. */
		if (core_event_poll_ready_port(c, ports[i])) {
			v->poll_nr = 0;
			return 0;
		}
	}
	v->poll_nr = op.nr_ports;
	v->poll_timeout = op.timeout;
	v->wake_ns = 0; /* the timeout may be over already */
	__atomic_store_n(&v->blocked, 1, __ATOMIC_SEQ_CST);
	/* From here on senders wake us; core_next() looks at the ports again before it sleeps. */
	__atomic_store_n(&v->polling, 1, __ATOMIC_SEQ_CST);
	return 0;
}

static long shutdown(struct core_ctx *c, uint64_t va, bool now)
{
	struct sched_shutdown op;
	uint32_t none = 0;

	if (!core_get(c, &op, va))
		return -XEN_EFAULT;

	uint32_t code = op.reason & 0xff;

	if (now)
		core_shutdown(c, code);
	else
		__atomic_compare_exchange_n(&c->d->shutdown_latched, &none, code + 1, false,
					    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	return 0;
}

static long remote_shutdown(struct core_ctx *c, uint64_t va)
{
	struct sched_remote_shutdown op;

	if (!core_get(c, &op, va))
		return -XEN_EFAULT;
	return op.domain_id == 0 || op.domain_id == c->d->domid ? -XEN_EPERM : -XEN_ESRCH;
}

/* Two timers a domain; `id` 0 takes a free one. */
static long watchdog(struct core_ctx *c, uint64_t va)
{
	struct sched_watchdog op;
	uint64_t *timers = c->d->watchdog_ns;
	bool new = false; /* then a timeout of 0 is over at once, else it stops the timer */
	long rc = 0;

	if (!core_get(c, &op, va))
		return -XEN_EFAULT;
	if (op.id > 2)
		return -XEN_EINVAL;

	uint64_t due = core_time_now(c) + op.timeout * 1000000000ull;

	core_lock(c, &c->d->sched_lock);
	if (op.id == 0) {
		op.id = timers[0] == 0 ? 1 : timers[1] == 0 ? 2 : 0;
		/* Xen's own error is one of 32 bits, not extended: who looks at 64 sees a large id.
		 */
		rc = op.id != 0 ? (long)op.id : (long)(uint32_t)-XEN_ENOSPC;
		new = true;
	} else if (timers[op.id - 1] == 0) {
		rc = -XEN_EINVAL;
	}
	if (rc >= 0 && op.id != 0)
		__atomic_store_n(&timers[op.id - 1], op.timeout != 0 || new ? due | (due == 0) : 0,
				 __ATOMIC_RELAXED);
	core_unlock(c, &c->d->sched_lock);
	c->v->wake_ns = 0; /* makes core_next() compute the next deadline again */
	return rc;
}

long core_hc_sched_op(struct core_ctx *c, const uint64_t arg[6])
{
	switch ((uint32_t)arg[0]) {
	case SCHEDOP_yield: /* ABI: served; a long streak of yields sleeps a little */
		return yield(c);
	case SCHEDOP_block: /* ABI: served */
		return block(c);
	case SCHEDOP_shutdown: /* ABI: served */
		return shutdown(c, arg[1], true);
	case SCHEDOP_shutdown_code: /* ABI: served */
		return shutdown(c, arg[1], false);
	case SCHEDOP_poll: /* ABI: served */
		return poll(c, arg[1]);
	case SCHEDOP_remote_shutdown: /* ABI: -EPERM; control domain only */
		return remote_shutdown(c, arg[1]);
	case SCHEDOP_watchdog: /* ABI: served */
		return watchdog(c, arg[1]);
	case SCHEDOP_pin_override: /* ABI: -EPERM; control domain only */
		return -XEN_EPERM;
	default:
		return -XEN_ENOSYS;
	}
}
