/* SPDX-License-Identifier: MIT */
/*
 * What the front end wrote about its rings, and the queues made of them. All of it is the guest's:
 * each node is read once and checked, and what is wrong is said in words.
 */
#include "io/net/vif.h"

#include <stdio.h>
#include <string.h>

#include "util/err.h"

/* --- the front end's side of the transport ---------------------------------------------------- */

/* A flag of the front end; false if it is nonsense. */
static bool get_flag(struct net_vif *vif, const char *name, bool fallback, bool *ret)
{
	uint64_t n;
	int r = xs_get_uint(vif->store, vif->front, name, UINT32_MAX, &n);

	*ret = r == PVV_OK ? n != 0 : fallback;
	return r == PVV_OK || r == PVV_ENOENT;
}

static bool get_u32(struct net_vif *vif, const char *dir, const char *name, uint32_t *ret)
{
	uint64_t n;

	if (xs_get_uint(vif->store, dir, name, UINT32_MAX, &n) < 0)
		return false;
	*ret = (uint32_t)n;
	return true;
}

static const char *read_queue(struct net_vif *vif, const char *dir, struct net_queue_transport *q)
{
	if (!get_u32(vif, dir, "tx-ring-ref", &q->tx_ref) ||
	    !get_u32(vif, dir, "rx-ring-ref", &q->rx_ref))
		return "its tx-ring-ref or rx-ring-ref is missing or not a number";
	if (get_u32(vif, dir, "event-channel-tx", &q->tx_port)) {
		if (!get_u32(vif, dir, "event-channel-rx", &q->rx_port))
			return "its event-channel-rx is missing or not a number";
		return NULL;
	}
	if (!get_u32(vif, dir, "event-channel", &q->tx_port))
		return "its event-channel is missing or not a number";
	q->rx_port = q->tx_port;
	return NULL;
}

static const char *read_queues(struct net_vif *vif, struct net_transport *t)
{
	uint64_t n = 1;
	int r = xs_get_uint(vif->store, vif->front, "multi-queue-num-queues", vif->max_queues, &n);

	if ((r != PVV_OK && r != PVV_ENOENT) || !n)
		return "its multi-queue-num-queues is not a number from 1 to "
		       "multi-queue-max-queues";
	t->nr_queues = (unsigned int)n;
	if (n == 1)
		return read_queue(vif, vif->front, &t->queue[0]);
	for (unsigned int i = 0; i < n; i++) {
		char dir[NET_PATH_MAX + 16];

		snprintf(dir, sizeof(dir), "%s/queue-%u", vif->front, i);
		const char *why = read_queue(vif, dir, &t->queue[i]);
		if (why)
			return why;
	}
	return NULL;
}

const char *net_transport_read(struct net_vif *vif, struct net_transport *t)
{
	bool copy, no_csum4;

	memset(t, 0, sizeof(*t)); /* also the padding: transports are compared as bytes */
	if (!get_flag(vif, "request-rx-copy", false, &copy) || !copy)
		return "its request-rx-copy is not 1 (there is no other way to receive)";
	if (!get_flag(vif, "feature-rx-notify", false, &t->rx_notify) ||
	    !get_flag(vif, "feature-sg", false, &t->sg) ||
	    !get_flag(vif, "feature-no-csum-offload", false, &no_csum4) ||
	    !get_flag(vif, "feature-ipv6-csum-offload", false, &t->csum6) ||
	    !get_flag(vif, "feature-gso-tcpv4", false, &t->gso4) ||
	    !get_flag(vif, "feature-gso-tcpv6", false, &t->gso6))
		return "one of its features is not a number";
	t->csum4 = !no_csum4;
	/* Cutting needs several pages to cut from, and making the checksums. */
	t->gso4 &= t->sg && t->csum4;
	t->gso6 &= t->sg && t->csum6;
	return read_queues(vif, t);
}

/* --- connecting ------------------------------------------------------------------------------- */

static const char *attach_ring(struct net_vif *vif, struct io_ring *ring, uint32_t ref,
			       uint32_t entry)
{
	void *page;

	if (io_grant_map(vif->guest, ref, true, &page) < 0)
		return "a page of its rings is not granted";
	if (io_ring_attach(ring, &page, 1, entry) < 0) {
		io_grant_unmap(vif->guest, ref, true);
		return "the producer index of one of its rings is impossible";
	}
	return NULL;
}

static bool bind_events(struct net_queue *q)
{
	struct io_guest *guest = q->vif->guest;
	const struct net_queue_transport *t = &q->at;

	if (t->tx_port == t->rx_port)
		return io_event_bind(guest, t->tx_port, net_queue_on_event, q) == 0;
	if (io_event_bind(guest, t->tx_port, net_queue_on_tx_event, q) < 0)
		return false;
	if (io_event_bind(guest, t->rx_port, net_queue_on_rx_event, q) == 0)
		return true;
	io_event_unbind(guest, t->tx_port);
	return false;
}

/* NULL, or what went wrong, with nothing left behind. */
static const char *attach_queue(struct net_queue *q, const struct net_queue_transport *t)
{
	struct net_vif *vif = q->vif;
	unsigned int index = q->index;
	const char *why;

	memset(q, 0, sizeof(*q));
	q->vif = vif;
	q->index = index;
	q->at = *t;
	why = attach_ring(vif, &q->tx, t->tx_ref, sizeof(struct netif_tx_request));
	if (why)
		return why;
	why = attach_ring(vif, &q->rx, t->rx_ref, sizeof(struct netif_rx_request));
	if (!why) {
		if (bind_events(q))
			return NULL;
		why = "one of its event channels does not exist or is in use";
		io_grant_unmap(vif->guest, t->rx_ref, true);
	}
	io_grant_unmap(vif->guest, t->tx_ref, true);
	return why;
}

static void detach_queue(struct net_queue *q)
{
	struct io_guest *guest = q->vif->guest;

	io_event_unbind(guest, q->at.tx_port);
	if (q->at.rx_port != q->at.tx_port)
		io_event_unbind(guest, q->at.rx_port);
	io_grant_unmap(guest, q->at.rx_ref, true);
	io_grant_unmap(guest, q->at.tx_ref, true);
}

static void configure_link(struct net_vif *vif, unsigned int nr_queues)
{
	const struct net_transport *t = &vif->transport;
	struct net_offload offload = {
		.csum = t->csum4,
		.tso4 = t->gso4,
		.tso6 = t->gso6,
	};

	if (!vif->link_lost)
		vif->link->ops->configure(vif->link, vif->params.link_down ? 0 : nr_queues,
					  &offload);
}

const char *net_connect(struct net_vif *vif, const struct net_transport *t)
{
	for (unsigned int i = 0; i < t->nr_queues; i++) {
		const char *why = attach_queue(&vif->queues[i], &t->queue[i]);

		if (!why)
			continue;
		while (i--)
			detach_queue(&vif->queues[i]);
		return why;
	}
	memcpy(&vif->transport, t, sizeof(*t));
	vif->rx_gso = vif->link->offload && (t->gso4 || t->gso6);
	vif->rx_pages = t->sg ? NET_RX_PAGES : 1;
	vif->rx_needed = vif->rx_pages + vif->rx_gso;
	vif->up = true;
	configure_link(vif, t->nr_queues);
	for (unsigned int i = 0; i < t->nr_queues; i++)
		net_queue_start(&vif->queues[i]);
	return NULL;
}

void net_disconnect(struct net_vif *vif)
{
	if (!vif->up)
		return;
	vif->up = false;
	configure_link(vif, 0);
	for (unsigned int i = 0; i < vif->transport.nr_queues; i++) {
		net_queue_stop(&vif->queues[i]);
		detach_queue(&vif->queues[i]);
	}
	if (vif->events.connected)
		vif->events.connected(vif->events.opaque, vif->params.handle, false);
}
