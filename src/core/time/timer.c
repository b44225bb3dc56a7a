/* SPDX-License-Identifier: MIT */
/* The two timers of a vCPU, both on VIRQ_TIMER, and the domain's watchdogs. */
#include "core/time/time.h"

#include "core/event/event.h"
#include "core/hypercall/hypercall.h"
#include "core/lib/lock.h"
#include "core/run.h"

/* A guest that means "never" gets an event after this long; see core_hc_set_timer_op(). */
#define FAR_FUTURE_NS	   (1ull << 50)
#define FAR_FUTURE_TICK_NS 100000000ull

static bool ticking(const struct core_vcpu *v)
{
	/* Nobody listens: do not wake an idle vCPU a hundred times a second. */
	return v->periodic_ns != 0 && v->virq_port[VIRQ_TIMER] != 0;
}

static void run_periodic(struct core_ctx *c, uint64_t now)
{
	struct core_vcpu *v = c->v;

	if (!ticking(v)) {
		v->periodic_next = 0;
		return;
	}
	if (v->periodic_next == 0) {
		v->periodic_next = now + v->periodic_ns;
		return;
	}
	if (now < v->periodic_next)
		return;
	/* Missed ticks are not made up for: the guest reads the clock. */
	uint64_t missed = (now - v->periodic_next) / v->periodic_ns;

	v->periodic_next += (missed + 1) * v->periodic_ns;
	core_virq_raise(c, v, VIRQ_TIMER);
}

void core_timer_set_periodic(struct core_ctx *c, struct core_vcpu *v, uint64_t period_ns)
{
	__atomic_store_n(&v->periodic_ns, period_ns, __ATOMIC_RELAXED);
	__atomic_store_n(&v->periodic_next, 0, __ATOMIC_RELAXED);
	if (v == c->v)
		v->wake_ns = 0;
	else
		core_vcpu_kick(c, v);
}

static void run_watchdogs(struct core_ctx *c, uint64_t now)
{
	for (unsigned int i = 0; i < 2; i++) {
		uint64_t due = __atomic_load_n(&c->d->watchdog_ns[i], __ATOMIC_RELAXED);

		if (due != 0 && now >= due)
			core_shutdown(c, SHUTDOWN_watchdog);
	}
}

void core_timers_run(struct core_ctx *c)
{
	struct core_vcpu *v = c->v;
	uint64_t now = core_time_now(c);

	/* As on Xen, a vCPU that sleeps is not woken by its ticker: one tick when it runs again. */
	if (!core_vcpu_blocked(v))
		run_periodic(c, now);
	if (v->singleshot_ns != 0 && now >= v->singleshot_ns) {
		v->singleshot_ns = 0;
		core_virq_raise(c, v, VIRQ_TIMER);
	}
	if (v->poll_timeout != 0 && now >= v->poll_timeout) {
		v->poll_timeout = 0;
		__atomic_store_n(&v->blocked, 0, __ATOMIC_SEQ_CST);
	}
	run_watchdogs(c, now);
}

uint64_t core_timers_next(const struct core_ctx *c)
{
	const struct core_vcpu *v = c->v;
	uint64_t next = CORE_NEVER;

	if (ticking(v) && !core_vcpu_blocked(v))
		next = v->periodic_next; /* 0 = not started: come back at once */
	if (v->singleshot_ns != 0 && v->singleshot_ns < next)
		next = v->singleshot_ns;
	if (v->poll_timeout != 0 && v->poll_timeout < next)
		next = v->poll_timeout;
	if (v->upcall_hold != 0 && v->upcall_hold < next)
		next = v->upcall_hold;
	for (unsigned int i = 0; i < 2; i++) {
		uint64_t due = __atomic_load_n(&c->d->watchdog_ns[i], __ATOMIC_RELAXED);

		if (due != 0 && due < next)
			next = due;
	}
	return next;
}

/* ABI: served */
long core_hc_set_timer_op(struct core_ctx *c, const uint64_t arg[6])
{
	struct core_vcpu *v = c->v;
	uint64_t timeout = arg[0];

	if (timeout == 0) {
		v->singleshot_ns = 0;
		return 0;
	}
	/*
	 * Negative, or further away than about 13 days: a guest whose own arithmetic wrapped. It
	 * may have work to do now or none at all, so it gets an event soon, but not at once.
	 */
	uint64_t now = core_time_now(c);

	if (timeout >> 63 || (timeout > now && timeout - now >= FAR_FUTURE_NS))
		timeout = now + FAR_FUTURE_TICK_NS;
	v->singleshot_ns = timeout;
	v->wake_ns = 0; /* look at the timers before the guest goes on: it may be due already */
	return 0;
}
