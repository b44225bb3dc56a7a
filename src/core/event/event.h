/* SPDX-License-Identifier: MIT */
/*
 * Event channels, the 2-level ABI: pending and mask bits in shared_info, a selector word and the
 * upcall flags in each vCPU's vcpu_info.
 *
 * A port that the guest allocated for domain 0 stays ECS_UNBOUND here for its whole life: whether a
 * back end of the library has bound it is what ctl->bound says at the moment of asking.
 */
#ifndef PVV_CORE_EVENT_H
#define PVV_CORE_EVENT_H

#include "core/core.h"

static inline struct shared_info *core_shared_info(const struct core_ctx *c)
{
	return core_frame_ptr(c, c->d->shared_info);
}

static inline struct vcpu_info *core_vcpu_info(const struct core_ctx *c, const struct core_vcpu *v)
{
	return (struct vcpu_info *)(c->ram + v->vcpu_info);
}

/* An upcall is pending and the vCPU does not mask it. */
static inline bool core_event_deliverable(const struct core_ctx *c, const struct core_vcpu *v)
{
	const struct vcpu_info *info = core_vcpu_info(c, v);

	return __atomic_load_n(&info->evtchn_upcall_pending, __ATOMIC_SEQ_CST) != 0 &&
	       __atomic_load_n(&info->evtchn_upcall_mask, __ATOMIC_RELAXED) == 0;
}

void core_event_init(struct core_ctx *c);

/* Raise `virq` at vCPU `v`, if the guest has bound it. */
void core_virq_raise(struct core_ctx *c, struct core_vcpu *v, unsigned int virq);
/* Take the ports the library raised and make them pending. */
void core_event_take_inbound(struct core_ctx *c);
/* Set the vCPU's upcall flag and wake it; used after its vcpu_info moved, too. */
void core_event_mark_pending(struct core_ctx *c, struct core_vcpu *v);
/* Is the port pending, masked or not? */
bool core_event_poll_ready_port(const struct core_ctx *c, uint32_t port);
/*
 * Before the guest goes on: make the upcall that is due, if there is one. After a long row of them
 * the guest has a moment first (v->upcall_hold).
 */
void core_event_upcall(struct core_ctx *c);
/* The same where none is due and none is held back. */
static inline void core_event_none(struct core_vcpu *v)
{
	if (v->returned) /* and it goes on: not so between the hypercalls of a handler */
		v->upcall_row = 0;
	v->returned = 0;
}
/* vCPU `v` is about to sleep in a poll: is one of its ports pending? */
bool core_event_poll_ready(const struct core_ctx *c, const struct core_vcpu *v);

/* ---- event/channel.c: with d->event_lock held ------------------------------------------- */

/* A free port, or a negative error. */
long core_evtchn_alloc(struct core_ctx *c);
void core_evtchn_close(struct core_ctx *c, uint32_t port);
void core_evtchn_set_pending(struct core_ctx *c, uint32_t port);

/*
 * The port table grows when it is used up, EVTCHN_BUCKET ports at a time as in Xen: a guest sees it
 * in the answers about ports beyond it.
 */
#define EVTCHN_BUCKET 64u

static inline bool core_evtchn_valid(const struct core_ctx *c, uint32_t port)
{
	return port < c->d->valid_ports;
}

/* The library's end: port `port` was allocated for domain 0 and a back end listens. */
bool core_evtchn_library_bound(const struct core_ctx *c, uint32_t port);

#endif
