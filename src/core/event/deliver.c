/* SPDX-License-Identifier: MIT */
/* From a sender to the bits the guest sees, and to the vCPU that has to look at them. */
#include "core/event/event.h"

#include "core/cpu/bounce.h"
#include "core/lib/bitops.h"
#include "core/lib/lock.h"
#include "core/run.h"
#include "core/time/time.h"

void core_event_mark_pending(struct core_ctx *c, struct core_vcpu *v)
{
	struct vcpu_info *info = core_vcpu_info(c, v);

	/* Already set: whoever set it has woken the vCPU, or it runs and will look. */
	if (__atomic_exchange_n(&info->evtchn_upcall_pending, 1, __ATOMIC_SEQ_CST) != 0)
		return;
	core_vcpu_wake(c, v);
}

/* A poller without a list of its own wakes up for any port; others ask for theirs. */
static void wake_pollers(struct core_ctx *c, uint32_t port)
{
	for (unsigned int i = 0; i < c->d->nr_vcpus; i++) {
		struct core_vcpu *v = &c->d->vcpu[i];

		if (__atomic_load_n(&v->polling, __ATOMIC_SEQ_CST) == 0)
			continue;
		for (unsigned int k = 0; k < v->poll_nr; k++) {
			if (v->poll_ports[k] == port) {
				core_vcpu_wake(c, v);
				break;
			}
		}
	}
}

void core_evtchn_set_pending(struct core_ctx *c, uint32_t port)
{
	struct shared_info *s = core_shared_info(c);
	struct core_vcpu *v = &c->d->vcpu[c->d->evtchn[port].vcpu];

	if (core_bit_test_and_set(s->evtchn_pending, port))
		return;
	if (!core_bit_test(s->evtchn_mask, port) &&
	    !core_bit_test_and_set(&core_vcpu_info(c, v)->evtchn_pending_sel, port / 64))
		core_event_mark_pending(c, v);
	wake_pollers(c, port);
}

bool core_event_poll_ready_port(const struct core_ctx *c, uint32_t port)
{
	return core_bit_test(core_shared_info(c)->evtchn_pending, port);
}

bool core_event_poll_ready(const struct core_ctx *c, const struct core_vcpu *v)
{
	for (unsigned int i = 0; i < v->poll_nr; i++) {
		if (core_event_poll_ready_port(c, v->poll_ports[i]))
			return true;
	}
	return false;
}

void core_virq_raise(struct core_ctx *c, struct core_vcpu *v, unsigned int virq)
{
	core_event_lock(c);
	if (v->virq_port[virq] != 0) {
		core_evtchn_set_pending(c, v->virq_port[virq]);
		c->ctl->vcpu[v->id].events++;
	}
	core_event_unlock(c);
}

/*
 * A guest each of whose upcalls causes the next one executes nothing of what they interrupt, for
 * ever. Linux 6.1 with preemptible RCU (Debian's rt kernel) does so in about every second boot, on
 * Xen, too: the irq_work that an upcall's rcu_read_unlock() sends to its own processor is handled
 * inside the rcu_read_lock() of the next upcall, which therefore sends another. Real interrupts
 * take some time to arrive, and the few instructions done meanwhile end it. So after a long row of
 * upcalls with nothing between them the guest runs a moment before the next. Nobody is promised an
 * upcall at an exact instruction, and a row that long is some 100 us: a flood that can wait a
 * little.
 */
#define UPCALLS_IN_A_ROW 64u
#define HOLD_NS		 50000ull

void core_event_upcall(struct core_ctx *c)
{
	struct core_vcpu *v = c->v;
	bool returned = v->returned != 0;

	if (!core_event_deliverable(c, v)) {
		core_event_none(v);
		v->upcall_hold = 0;
		return;
	}
	v->returned = 0;
	if (v->upcall_hold != 0) {
		if (core_time_now(c) < v->upcall_hold)
			return;
		v->upcall_hold = 0;
		v->upcall_row = 0;
	} else if (!returned) {
		v->upcall_row = 0;
	} else if (++v->upcall_row >= UPCALLS_IN_A_ROW) {
		v->upcall_hold = core_time_now(c) + HOLD_NS;
		return;
	}
	core_bounce_event(c);
}

static void take_word(struct core_ctx *c, unsigned int w)
{
	uint64_t bits = __atomic_exchange_n(&c->ctl->inbound[w], 0, __ATOMIC_SEQ_CST);

	while (bits != 0) {
		uint32_t port = w * 64 + core_bit_first(bits);

		bits &= bits - 1;
		/* The guest may have closed it since, or it never was the library's. */
		if (!core_evtchn_valid(c, port))
			continue;
		const struct core_evtchn *e = &c->d->evtchn[port];

		if (e->state == ECS_UNBOUND && e->remote_dom == 0) {
			core_evtchn_set_pending(c, port);
			c->ctl->vcpu[e->vcpu].events++;
		}
	}
}

void core_event_take_inbound(struct core_ctx *c)
{
	if (__atomic_load_n(&c->ctl->inbound_any, __ATOMIC_SEQ_CST) == 0)
		return;

	uint64_t words = __atomic_exchange_n(&c->ctl->inbound_any, 0, __ATOMIC_SEQ_CST);

	core_event_lock(c);
	while (words != 0) {
		take_word(c, core_bit_first(words));
		words &= words - 1;
	}
	core_event_unlock(c);
}
