/* SPDX-License-Identifier: MIT */
/*
 * What a vCPU does next. core_next() runs before each entry to the guest, so the common case - no
 * kick, no timer due, no event - is a handful of loads, and no look at the clock where the executor
 * has a timer of its own (core_ctx.kicked_at_wake).
 *
 * The order that makes sleeping safe: `kick` is cleared first, then everything a kick may stand
 * for is looked at, then the executor sleeps only while `kick` is still 0.
 */
#include "core/run.h"

#include "core/cpu/bounce.h"
#include "core/event/event.h"
#include "core/lib/lock.h"
#include "core/time/time.h"

/* Every vCPU stands still: tell the library, once for each of its requests. */
static void pause_report(struct core_ctx *c)
{
	uint32_t seq = __atomic_load_n(&c->ctl->pause_seq, __ATOMIC_SEQ_CST);

	if (c->ctl->run_state == CORE_STATE_RUNNING) {
		__atomic_store_n(&c->ctl->run_state, CORE_STATE_PAUSED, __ATOMIC_RELEASE);
		__atomic_fetch_add(&c->ctl->state_seq, 1, __ATOMIC_SEQ_CST);
	} else if (c->ctl->run_state != CORE_STATE_PAUSED || c->ctl->pause_ack == seq) {
		return;
	}
	__atomic_store_n(&c->ctl->pause_ack, seq, __ATOMIC_SEQ_CST);
	core_ring_doorbell(c);
}

static void pause_enter(struct core_ctx *c)
{
	struct core_domain *d = c->d;
	bool was_paused = c->v->paused;
	uint32_t up = 0;

	core_lock(c, &d->sched_lock);
	if (!was_paused) {
		c->v->paused = 1;
		d->vcpus_paused++;
	}
	for (unsigned int i = 0; i < d->nr_vcpus; i++)
		up += d->vcpu[i].is_up != 0 && d->vcpu[i].paused == 0;
	/* Paused means: no guest instruction is executed any more, on no vCPU. */
	if (up == 0)
		pause_report(c);
	core_unlock(c, &d->sched_lock);
	if (!was_paused)
		core_runstate_change(c, c->v, RUNSTATE_offline);
}

static void pause_leave(struct core_ctx *c)
{
	struct core_domain *d = c->d;

	core_lock(c, &d->sched_lock);
	c->v->paused = 0;
	d->vcpus_paused--;
	if (c->ctl->run_state == CORE_STATE_PAUSED) {
		__atomic_store_n(&c->ctl->run_state, CORE_STATE_RUNNING, __ATOMIC_RELEASE);
		__atomic_fetch_add(&c->ctl->state_seq, 1, __ATOMIC_SEQ_CST);
		core_ring_doorbell(c);
	}
	core_unlock(c, &d->sched_lock);
}

/*
 * A timer that is due interrupts a vCPU at once, unless the host runs something else in its place:
 * then the time since is what the vCPU has not had. (A guest ticks some hundred times a second, so
 * little stays unnoticed.) True: the runstate is another.
 */
#define LATE_NS 200000u /* less may be work of the executor's */

static bool was_held_up(struct core_ctx *c)
{
	uint64_t due = c->v->wake_ns;

	if (c->v->runstate.state != RUNSTATE_running || due == 0 || due == CORE_NEVER ||
	    core_time_now(c) < due + LATE_NS)
		return false;
	core_runstate_late(c, due);
	core_runstate_change(c, c->v, RUNSTATE_running);
	return true;
}

/* A kick or a request of the library. True: `*ret` is the answer of core_next(). */
static bool attention(struct core_ctx *c, enum core_action *ret)
{
	struct core_ctl *ctl = c->ctl;

	__atomic_exchange_n(&ctl->vcpu[c->v->id].kick, 0, __ATOMIC_SEQ_CST);
	uint32_t request = __atomic_load_n(&ctl->request, __ATOMIC_SEQ_CST);

	if (__atomic_load_n(&c->d->stop, __ATOMIC_SEQ_CST) || (request & CORE_REQ_DESTROY)) {
		*ret = CORE_STOP;
		return true;
	}
	if (request & CORE_REQ_PAUSE) {
		pause_enter(c);
		c->v->wake_ns = CORE_NEVER;
		*ret = CORE_PAUSE;
		return true;
	}
	if (c->v->paused)
		pause_leave(c);
	/* Whatever the guest was waiting for when it kept yielding may have happened. */
	c->v->yield_until = 0;
	c->v->yield_streak = 0;
	core_event_take_inbound(c);
	core_time_update(c, false);
	if (core_runstate_steal(c) || was_held_up(c))
		core_runstate_publish(c);
	return false;
}

static enum core_action sleep(struct core_ctx *c, int runstate, uint64_t until)
{
	uint64_t timer = runstate == RUNSTATE_offline ? CORE_NEVER : core_timers_next(c);

	c->ctl->vcpu[c->v->id].exits_block++;
	c->v->wake_ns = timer < until ? timer : until;
	core_runstate_change(c, c->v, runstate);
	return CORE_BLOCK;
}

/* Blocked in sched_op: is there a reason to go on? */
static bool still_blocked(struct core_ctx *c)
{
	struct core_vcpu *v = c->v;

	if (__atomic_load_n(&v->blocked, __ATOMIC_SEQ_CST) == 0)
		return false;
	if (core_event_deliverable(c, v) || (v->nmi_pending && !v->nmi_masked))
		return false;
	if (v->polling && core_event_poll_ready(c, v))
		return false;
	return true;
}

static void run_again(struct core_ctx *c)
{
	struct core_vcpu *v = c->v;

	/* Others look at these, and clear the first. */
	__atomic_store_n(&v->blocked, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&v->polling, 0, __ATOMIC_RELAXED);
	v->poll_timeout = 0;
	if (v->runstate.state == RUNSTATE_running)
		return;
	if (v->wake_ns != CORE_NEVER)
		core_runstate_late(c, v->wake_ns);
	core_runstate_change(c, v, RUNSTATE_running);
	core_runstate_publish(c);
}

/* A deadline may be over. Whoever sets an earlier one sets wake_ns to 0, or kicks. */
static inline bool timers_due(const struct core_ctx *c)
{
	uint64_t wake = c->v->wake_ns;

	return wake == 0 || (!c->kicked_at_wake && wake != CORE_NEVER);
}

/* The usual case: since the guest was left, nothing has come that look() would find. */
static inline bool nothing_new(const struct core_ctx *c)
{
	const struct core_vcpu *v = c->v;

	if (timers_due(c))
		return false;
	uint32_t news = __atomic_load_n(&c->ctl->vcpu[v->id].kick, __ATOMIC_SEQ_CST);

	news |= __atomic_load_n(&c->ctl->request, __ATOMIC_RELAXED);
	news |= __atomic_load_n(&c->d->stop, __ATOMIC_RELAXED);
	news |= __atomic_load_n(&v->blocked, __ATOMIC_RELAXED) | v->polling | v->paused;
	news |= v->nmi_pending | (uint32_t)v->runstate.state | !v->is_up;
	return news == 0 && (v->yield_until | v->upcall_hold) == 0 && !core_event_deliverable(c, v);
}

_Static_assert(RUNSTATE_running == 0, "nothing_new() counts on it");

/* (not inlined, so that the usual case saves no registers) */
static __attribute__((noinline)) enum core_action look(struct core_ctx *c)
{
	struct core_vcpu *v = c->v;
	enum core_action action;
	bool timers = timers_due(c) || v->runstate.state != RUNSTATE_running;

	if (__atomic_load_n(&c->ctl->vcpu[v->id].kick, __ATOMIC_SEQ_CST) != 0 ||
	    __atomic_load_n(&c->ctl->request, __ATOMIC_RELAXED) != 0 || v->paused) {
		if (attention(c, &action))
			return action;
		timers = true; /* another vCPU may have set one of ours */
	}
	if (__atomic_load_n(&c->d->stop, __ATOMIC_RELAXED) != 0)
		return CORE_STOP;
	if (!v->is_up)
		return sleep(c, RUNSTATE_offline, CORE_NEVER);
	if (timers)
		core_timers_run(c);
	if (core_vcpu_blocked(v) || v->polling) {
		if (still_blocked(c))
			return sleep(c, RUNSTATE_blocked, CORE_NEVER);
	}
	if (v->yield_until != 0) {
		if (!core_event_deliverable(c, v) && core_time_now(c) < v->yield_until)
			return sleep(c, RUNSTATE_blocked, v->yield_until);
		v->yield_until = 0;
		v->yield_last = core_time_now(c); /* the sleep itself was no guest work */
	}
	if (core_vcpu_blocked(v) || v->polling || v->runstate.state != RUNSTATE_running) {
		run_again(c);
		core_timers_run(c);
		timers = true;
	}

	if (v->nmi_pending && !v->nmi_masked)
		core_bounce_nmi(c);
	core_event_upcall(c);
	if (__atomic_load_n(&c->d->stop, __ATOMIC_RELAXED) != 0)
		return CORE_STOP;
	if (timers || v->upcall_hold != 0)
		v->wake_ns = core_timers_next(c);
	return CORE_RUN;
}

enum core_action core_next(struct core_ctx *c)
{
	if (__builtin_expect(!nothing_new(c), false))
		return look(c);
	core_event_none(c->v);
	return CORE_RUN;
}

size_t core_read_as_kernel(struct core_ctx *c, void *dst, uint64_t va, size_t len)
{
	uint32_t mode = c->v->kernel_mode;

	c->v->kernel_mode = 1;
	size_t left = core_guest_read(c, dst, va, len);

	c->v->kernel_mode = mode;
	return left;
}

size_t core_write_as_kernel(struct core_ctx *c, uint64_t va, const void *src, size_t len)
{
	uint32_t mode = c->v->kernel_mode;

	c->v->kernel_mode = 1;
	size_t left = core_guest_write(c, va, src, len);

	c->v->kernel_mode = mode;
	return left;
}
