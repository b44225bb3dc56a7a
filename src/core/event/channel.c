/* SPDX-License-Identifier: MIT */
/* The table of ports: allocation, closing, and what start of day finds in it. */
#include "core/event/event.h"

#include <xen/errno.h>

#include "core/lib/bitops.h"
#include "core/lib/mem.h"
#include "core/run.h"

bool core_evtchn_library_bound(const struct core_ctx *c, uint32_t port)
{
	const struct core_evtchn *e = &c->d->evtchn[port];

	return e->state == ECS_UNBOUND && e->remote_dom == 0 && core_bit_test(c->ctl->bound, port);
}

long core_evtchn_alloc(struct core_ctx *c)
{
	struct core_domain *d = c->d;

	for (uint32_t port = 1; port < d->max_ports; port++) {
		if (d->evtchn[port].state != ECS_FREE)
			continue;
		if (port >= d->valid_ports)
			d->valid_ports = (port / EVTCHN_BUCKET + 1) * EVTCHN_BUCKET;
		return port;
	}
	return -XEN_ENOSPC;
}

static void tell_library_closed(struct core_ctx *c, uint32_t port)
{
	core_bit_test_and_set(c->ctl->closed, port);
	__atomic_fetch_or(&c->ctl->closed_any, 1ull << (port / 64), __ATOMIC_SEQ_CST);
	core_ring_doorbell(c);
}

void core_evtchn_close(struct core_ctx *c, uint32_t port)
{
	struct core_evtchn *e = &c->d->evtchn[port];

	switch (e->state) {
	case ECS_UNBOUND:
		if (e->remote_dom == 0)
			tell_library_closed(c, port);
		break;
	case ECS_INTERDOMAIN: {
		struct core_evtchn *peer = &c->d->evtchn[e->remote_port];

		peer->state = ECS_UNBOUND;
		peer->remote_dom = (uint16_t)c->d->domid;
		peer->remote_port = 0;
		break;
	}
	case ECS_VIRQ:
		for (unsigned int i = 0; i < c->d->nr_vcpus; i++) {
			if (c->d->vcpu[i].virq_port[e->virq] == port)
				c->d->vcpu[i].virq_port[e->virq] = 0;
		}
		break;
	default:
		break;
	}
	/* A stale pending bit would look like an event of the port's next user. */
	core_bit_test_and_clear(core_shared_info(c)->evtchn_pending, port);
	memset(e, 0, sizeof(*e));
	__atomic_store_n(&c->ctl->port_vcpu[port], 0, __ATOMIC_RELAXED);
}

static void reserve_for_library(struct core_ctx *c, uint32_t port)
{
	if (port == 0 || !core_evtchn_valid(c, port))
		return;
	c->d->evtchn[port].state = ECS_UNBOUND;
	c->d->evtchn[port].remote_dom = 0;
}

void core_event_init(struct core_ctx *c)
{
	const struct core_boot *boot = &c->ctl->boot;
	struct core_domain *d = c->d;

	d->max_ports =
		boot->max_ports < CORE_MAX_PORTS ? (uint32_t)boot->max_ports : CORE_MAX_PORTS;
	d->valid_ports = EVTCHN_BUCKET;
	d->evtchn[0].state = ECS_RESERVED;
	reserve_for_library(c, boot->store_port);
	reserve_for_library(c, boot->console_port);
}
