/* SPDX-License-Identifier: MIT */
/* event_channel_op: one function for each sub-operation, with d->event_lock taken by each. */
#include "core/hypercall/hypercall.h"

#include "core/event/event.h"
#include "core/lib/bitops.h"
#include "core/lib/lock.h"
#include "core/mm/mm.h"
#include "core/run.h"

/* Not in the header of this interface version. */
#ifndef EVTCHNOP_reset_cont
#define EVTCHNOP_reset_cont 14
#endif

/* 0 if `dom` names the caller; what Xen says to an unprivileged caller otherwise. */
static long only_self(const struct core_ctx *c, domid_t dom)
{
	if (dom == DOMID_SELF || dom == c->d->domid)
		return 0;
	return dom == 0 ? -XEN_EPERM : -XEN_ESRCH;
}

/*
 * A new port that is what `like` says (state, vCPU, virq, peer domain), or an error. `bound`, if
 * given, is the one place where such a port is noted: -EEXIST if there is one already.
 */
static long new_port(struct core_ctx *c, const struct core_evtchn *like, uint32_t *bound)
{
	core_event_lock(c);
	long port = bound != NULL && *bound != 0 ? -XEN_EEXIST : core_evtchn_alloc(c);

	if (port > 0) {
		struct core_evtchn *e = &c->d->evtchn[port];

		e->state = like->state;
		e->vcpu = like->vcpu;
		e->virq = like->virq;
		e->remote_dom = like->remote_dom;
		if (bound != NULL)
			*bound = (uint32_t)port;
	}
	core_event_unlock(c);
	return port;
}

static long alloc_unbound(struct core_ctx *c, uint64_t va)
{
	struct evtchn_alloc_unbound op;

	if (!core_get(c, &op, va))
		return -XEN_EFAULT;

	long rc = only_self(c, op.dom);

	if (rc != 0)
		return rc;
	const struct core_evtchn like = {
		.state = ECS_UNBOUND,
		.remote_dom = op.remote_dom == DOMID_SELF ? (uint16_t)c->d->domid : op.remote_dom,
	};
	long port = new_port(c, &like, NULL);

	if (port < 0)
		return port;
	op.port = (evtchn_port_t)port;
	return core_put(c, va, &op) ? 0 : -XEN_EFAULT;
}

/* The peer must be a port of the same domain: domain 0 has none that it offers. */
static long connect(struct core_ctx *c, uint32_t remote_port)
{
	long port = core_evtchn_alloc(c);

	if (port < 0)
		return port;
	if (!core_evtchn_valid(c, remote_port))
		return -XEN_EINVAL;
	struct core_evtchn *local = &c->d->evtchn[port];
	struct core_evtchn *remote = &c->d->evtchn[remote_port];

	if (remote->state != ECS_UNBOUND || remote->remote_dom != c->d->domid)
		return -XEN_EINVAL;
	local->state = ECS_INTERDOMAIN;
	local->remote_dom = (uint16_t)c->d->domid;
	local->remote_port = remote_port;
	remote->state = ECS_INTERDOMAIN;
	remote->remote_port = (uint32_t)port;
	/* The peer may have sent before anybody was there. */
	core_evtchn_set_pending(c, (uint32_t)port);
	return port;
}

static long bind_interdomain(struct core_ctx *c, uint64_t va)
{
	struct evtchn_bind_interdomain op;

	if (!core_get(c, &op, va))
		return -XEN_EFAULT;
	bool dom0 = op.remote_dom == 0 && c->d->domid != 0;

	if (!dom0 && op.remote_dom != DOMID_SELF && op.remote_dom != c->d->domid)
		return -XEN_ESRCH;
	core_event_lock(c);
	long port = dom0 ? core_evtchn_alloc(c) : connect(c, op.remote_port);

	/* It has no port for us; but first there must be one here. */
	if (dom0 && port > 0)
		port = -XEN_EINVAL;

	core_event_unlock(c);
	if (port < 0)
		return port;
	op.local_port = (evtchn_port_t)port;
	return core_put(c, va, &op) ? 0 : -XEN_EFAULT;
}

static bool virq_is_global(uint32_t virq)
{
	return virq != VIRQ_TIMER && virq != VIRQ_DEBUG && virq != VIRQ_XENOPROF &&
	       virq != VIRQ_XENPMU;
}

static long bind_virq(struct core_ctx *c, uint64_t va)
{
	struct evtchn_bind_virq op;

	if (!core_get(c, &op, va))
		return -XEN_EFAULT;
	if (op.virq >= NR_VIRQS || (virq_is_global(op.virq) && op.vcpu != 0))
		return -XEN_EINVAL;
	if (op.vcpu >= c->d->nr_vcpus)
		return -XEN_ENOENT;

	const struct core_evtchn like = {
		.state = ECS_VIRQ, .vcpu = (uint16_t)op.vcpu, .virq = (uint16_t)op.virq};
	long port = new_port(c, &like, &c->d->vcpu[op.vcpu].virq_port[op.virq]);

	if (port < 0)
		return port;
	/* The vCPU's ticker counts as a deadline only while somebody listens. */
	if (op.virq == VIRQ_TIMER)
		core_vcpu_kick(c, &c->d->vcpu[op.vcpu]);
	op.port = (evtchn_port_t)port;
	return core_put(c, va, &op) ? 0 : -XEN_EFAULT;
}

static long bind_ipi(struct core_ctx *c, uint64_t va)
{
	struct evtchn_bind_ipi op;

	if (!core_get(c, &op, va))
		return -XEN_EFAULT;
	if (op.vcpu >= c->d->nr_vcpus)
		return -XEN_ENOENT;
	const struct core_evtchn like = {.state = ECS_IPI, .vcpu = (uint16_t)op.vcpu};
	long port = new_port(c, &like, NULL);

	if (port < 0)
		return port;
	op.port = (evtchn_port_t)port;
	return core_put(c, va, &op) ? 0 : -XEN_EFAULT;
}

static long bind_pirq(struct core_ctx *c, uint64_t va)
{
	struct evtchn_bind_pirq op;

	if (!core_get(c, &op, va))
		return -XEN_EFAULT;
	return op.pirq < CORE_NR_PIRQS ? -XEN_EPERM : -XEN_EINVAL;
}

static long close_port(struct core_ctx *c, uint64_t va)
{
	struct evtchn_close op;
	long rc = -XEN_EINVAL;

	if (!core_get(c, &op, va))
		return -XEN_EFAULT;
	core_event_lock(c);
	if (core_evtchn_valid(c, op.port) && c->d->evtchn[op.port].state != ECS_FREE &&
	    c->d->evtchn[op.port].state != ECS_RESERVED) {
		core_evtchn_close(c, op.port);
		rc = 0;
	}
	core_event_unlock(c);
	return rc;
}

static void send_to_library(struct core_ctx *c, uint32_t port)
{
	uint64_t word = 1ull << (port / 64);

	core_bit_test_and_set(c->ctl->outbound, port);
	__atomic_fetch_or(&c->ctl->outbound_any, word, __ATOMIC_SEQ_CST);
	core_ring_doorbell(c);
}

static long send_port(struct core_ctx *c, uint32_t port)
{
	if (!core_evtchn_valid(c, port))
		return -XEN_EINVAL;
	const struct core_evtchn *e = &c->d->evtchn[port];

	switch (e->state) {
	case ECS_INTERDOMAIN:
		core_evtchn_set_pending(c, e->remote_port);
		return 0;
	case ECS_IPI:
		core_evtchn_set_pending(c, port);
		return 0;
	case ECS_UNBOUND:
		/* Nobody bound it yet: the notification is lost, as on Xen. */
		if (core_evtchn_library_bound(c, port))
			send_to_library(c, port);
		return 0;
	default:
		return -XEN_EINVAL;
	}
}

static long send(struct core_ctx *c, uint64_t va)
{
	struct evtchn_send op;

	if (!core_get(c, &op, va))
		return -XEN_EFAULT;
	core_event_lock(c);
	long rc = send_port(c, op.port);

	core_event_unlock(c);
	return rc;
}

static void fill_status(const struct core_ctx *c, struct evtchn_status *op)
{
	const struct core_evtchn *e = &c->d->evtchn[op->port];

	switch (e->state) {
	case ECS_UNBOUND:
		if (core_evtchn_library_bound(c, op->port)) {
			op->status = EVTCHNSTAT_interdomain;
			op->u.interdomain.dom = 0;
			op->u.interdomain.port = op->port;
		} else {
			op->status = EVTCHNSTAT_unbound;
			op->u.unbound.dom = e->remote_dom;
		}
		break;
	case ECS_INTERDOMAIN:
		op->status = EVTCHNSTAT_interdomain;
		op->u.interdomain.dom = e->remote_dom;
		op->u.interdomain.port = e->remote_port;
		break;
	case ECS_VIRQ:
		op->status = EVTCHNSTAT_virq;
		op->u.virq = e->virq;
		break;
	case ECS_IPI:
		op->status = EVTCHNSTAT_ipi;
		break;
	default:
		op->status = EVTCHNSTAT_closed;
		break;
	}
	op->vcpu = e->vcpu;
}

static long status(struct core_ctx *c, uint64_t va)
{
	struct evtchn_status op;

	if (!core_get(c, &op, va))
		return -XEN_EFAULT;

	long rc = only_self(c, op.dom);

	if (rc == -XEN_ESRCH)
		return rc;
	/* Before the right to ask; of domain 0 nothing else is known than that it has a few. */
	if (rc != 0 ? op.port >= EVTCHN_BUCKET : !core_evtchn_valid(c, op.port))
		return -XEN_EINVAL;
	if (rc != 0)
		return rc;
	core_event_lock(c);
	fill_status(c, &op);
	core_event_unlock(c);
	return core_put(c, va, &op) ? 0 : -XEN_EFAULT;
}

static void set_vcpu(struct core_ctx *c, uint32_t port, uint32_t vcpu)
{
	c->d->evtchn[port].vcpu = (uint16_t)vcpu;
	__atomic_store_n(&c->ctl->port_vcpu[port], (uint8_t)vcpu, __ATOMIC_RELAXED);
}

static long bind_vcpu(struct core_ctx *c, uint64_t va)
{
	struct evtchn_bind_vcpu op;
	long rc = 0;

	if (!core_get(c, &op, va))
		return -XEN_EFAULT;
	if (op.vcpu >= c->d->nr_vcpus)
		return -XEN_ENOENT;
	if (!core_evtchn_valid(c, op.port))
		return -XEN_EINVAL;
	core_event_lock(c);
	struct core_evtchn *e = &c->d->evtchn[op.port];

	if (e->state == ECS_UNBOUND || e->state == ECS_INTERDOMAIN ||
	    (e->state == ECS_VIRQ && virq_is_global(e->virq)))
		set_vcpu(c, op.port, op.vcpu);
	else
		rc = -XEN_EINVAL;
	core_event_unlock(c);
	return rc;
}

static long unmask(struct core_ctx *c, uint64_t va)
{
	struct evtchn_unmask op;
	struct shared_info *s = core_shared_info(c);

	if (!core_get(c, &op, va))
		return -XEN_EFAULT;
	if (!core_evtchn_valid(c, op.port))
		return -XEN_EINVAL;
	core_event_lock(c);
	const struct core_evtchn *e = &c->d->evtchn[op.port];
	struct core_vcpu *v = &c->d->vcpu[e->vcpu];

	/* A closed port is no error, but nothing happens. */
	if (e->state != ECS_FREE && e->state != ECS_RESERVED &&
	    core_bit_test_and_clear(s->evtchn_mask, op.port) &&
	    core_bit_test(s->evtchn_pending, op.port) &&
	    !core_bit_test_and_set(&core_vcpu_info(c, v)->evtchn_pending_sel, op.port / 64))
		core_event_mark_pending(c, v);
	core_event_unlock(c);
	return 0;
}

static long reset(struct core_ctx *c, uint64_t va)
{
	struct evtchn_reset op;

	if (!core_get(c, &op, va))
		return -XEN_EFAULT;

	long rc = only_self(c, op.dom);

	if (rc != 0)
		return rc;
	core_event_lock(c);
	for (uint32_t port = 1; port < c->d->max_ports; port++) {
		if (c->d->evtchn[port].state != ECS_FREE)
			core_evtchn_close(c, port);
	}
	core_event_unlock(c);
	return 0;
}

static long init_control(struct core_ctx *c, uint64_t va)
{
	struct evtchn_init_control op;

	if (!core_get(c, &op, va))
		return -XEN_EFAULT;
	if (op.vcpu >= c->d->nr_vcpus)
		return -XEN_ENOENT;
	if (op.offset > 4096 - sizeof(struct evtchn_fifo_control_block) || (op.offset & 7) != 0 ||
	    !core_frame_get(c, op.control_gfn))
		return -XEN_EINVAL;
	core_frame_put(c, op.control_gfn);
	return -XEN_ENOSYS;
}

static long set_priority(struct core_ctx *c, uint64_t va)
{
	struct evtchn_set_priority op;

	if (!core_get(c, &op, va))
		return -XEN_EFAULT;
	return core_evtchn_valid(c, op.port) ? -XEN_ENOSYS : -XEN_EINVAL;
}

/* What Xen says to a guest that has not switched to the FIFO ABI. */
static long expand_array(struct core_ctx *c, uint64_t va)
{
	struct evtchn_expand_array op;

	return core_get(c, &op, va) ? -XEN_EOPNOTSUPP : -XEN_EFAULT;
}

long core_hc_event_channel_op(struct core_ctx *c, const uint64_t arg[6])
{
	switch ((uint32_t)arg[0]) {
	case EVTCHNOP_bind_interdomain: /* ABI: served; within the domain, -EINVAL for domain 0 */
		return bind_interdomain(c, arg[1]);
	case EVTCHNOP_bind_virq: /* ABI: served */
		return bind_virq(c, arg[1]);
	case EVTCHNOP_bind_pirq: /* ABI: -EPERM; a guest without devices owns no interrupt */
		return bind_pirq(c, arg[1]);
	case EVTCHNOP_close: /* ABI: served */
		return close_port(c, arg[1]);
	case EVTCHNOP_send: /* ABI: served */
		return send(c, arg[1]);
	case EVTCHNOP_status: /* ABI: served */
		return status(c, arg[1]);
	case EVTCHNOP_alloc_unbound: /* ABI: served */
		return alloc_unbound(c, arg[1]);
	case EVTCHNOP_bind_ipi: /* ABI: served */
		return bind_ipi(c, arg[1]);
	case EVTCHNOP_bind_vcpu: /* ABI: served */
		return bind_vcpu(c, arg[1]);
	case EVTCHNOP_unmask: /* ABI: served */
		return unmask(c, arg[1]);
	case EVTCHNOP_reset:	  /* ABI: served */
	case EVTCHNOP_reset_cont: /* ABI: served; as Xen calls itself when it was interrupted */
		return reset(c, arg[1]);
	case EVTCHNOP_init_control: /* ABI: -ENOSYS; the FIFO ABI is not offered */
		return init_control(c, arg[1]);
	case EVTCHNOP_expand_array: /* ABI: -EOPNOTSUPP; the FIFO ABI is not offered */
		return expand_array(c, arg[1]);
	case EVTCHNOP_set_priority: /* ABI: -ENOSYS; the FIFO ABI is not offered */
		return set_priority(c, arg[1]);
	default:
		return -XEN_ENOSYS;
	}
}
