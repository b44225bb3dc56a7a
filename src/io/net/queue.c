/* SPDX-License-Identifier: MIT */
/*
 * Who runs when. A queue runs when the guest or the link says that there is something; a run is
 * bounded, and what is left takes its turn behind the other queues and domains. Nothing is asked
 * of the host while the guest could not take the answer.
 */
#include "io/net/vif.h"

#include <string.h>
#include <sys/epoll.h>

/* A front end that does not tell of pages it has offered is asked as often. */
#define POLL_NS 10000000u

static void set_events(struct net_queue *q, uint32_t events)
{
	if (!q->reg || q->reg_events == events)
		return;
	/* It cannot fail for a descriptor that was added, but for a lack of memory. */
	if (io_loop_mod_fd(q->vif->loop, q->reg, events) == 0)
		q->reg_events = events;
}

void net_ring_settle(struct net_queue *q, struct io_ring *ring)
{
	if (ring->rsp_pushed == ring->rsp_prod)
		return;
	io_page_written(q->vif->guest, ring->pages[0]);
	io_pages_settle(q->vif->guest);
}

/* What to wait for, after a run. */
static void settle(struct net_queue *q)
{
	struct net_vif *vif = q->vif;
	bool deaf = vif->link_lost || vif->params.link_down;
	uint32_t events = 0;

	if (!deaf && !q->rx_starved)
		events |= EPOLLIN;
	if (!deaf && q->tx_blocked)
		events |= EPOLLOUT;
	set_events(q, events);
	if (q->tx_again || q->rx_again)
		io_loop_post(vif->loop, &q->rerun);
	if (q->rx_starved && !vif->transport.rx_notify && !q->poll.deadline_ns)
		io_timer_set(vif->loop, &q->poll, io_now_ns() + POLL_NS);
}

static void run(struct net_queue *q, bool tx, bool rx)
{
	struct net_vif *vif = q->vif;

	if (tx)
		q->tx_again = net_tx_run(q);
	if (rx && !vif->broken)
		q->rx_again = net_rx_run(q);
	if (vif->broken) {
		const char *why = vif->broken;

		vif->broken = NULL;
		net_xenbus_fail(vif, why);
		return;
	}
	settle(q);
}

static void on_rerun(void *opaque)
{
	struct net_queue *q = opaque;

	run(q, q->tx_again, q->rx_again);
}

static void on_poll(void *opaque)
{
	run(opaque, false, true);
}

static void on_link(void *opaque, uint32_t events)
{
	struct net_queue *q = opaque;
	bool trouble = events & (EPOLLHUP | EPOLLERR);

	/* The next call of the link says what the trouble is. */
	if (trouble && q->rx_starved && !q->tx_blocked) {
		net_link_is_lost(q->vif);
		settle(q);
		return;
	}
	run(q, q->tx_blocked && (events & EPOLLOUT || trouble), events & EPOLLIN || trouble);
}

void net_queue_on_event(void *opaque)
{
	run(opaque, true, ((struct net_queue *)opaque)->rx_starved);
}

void net_queue_on_tx_event(void *opaque)
{
	run(opaque, true, false);
}

void net_queue_on_rx_event(void *opaque)
{
	struct net_queue *q = opaque;

	if (q->rx_starved)
		run(q, false, true);
}

void net_link_is_lost(struct net_vif *vif)
{
	const char *why = NULL;

	if (vif->link_lost)
		return;
	vif->link_lost = true;
	for (unsigned int i = 0; i < vif->max_queues; i++)
		set_events(&vif->queues[i], 0);
	if (vif->link->ops->why)
		why = vif->link->ops->why(vif->link);
	if (vif->events.link_error)
		vif->events.link_error(vif->events.opaque, vif->params.handle,
				       why ? why : "the device is gone");
	(void)xs_put(vif->store, vif->back, "carrier", "0");
}

void net_queue_start(struct net_queue *q)
{
	struct net_vif *vif = q->vif;
	int fd = vif->link->ops->fd(vif->link, q->index);

	q->rerun = (struct io_work){.fn = on_rerun, .opaque = q};
	q->poll = (struct io_timer){.fn = on_poll, .opaque = q};
	q->reg = NULL;
	q->reg_events = 0;
	if (io_loop_add_fd(vif->loop, fd, 0, on_link, q, &q->reg) < 0)
		net_link_is_lost(vif);
	/* The guest may have sent packets, and the event, before we listened. */
	q->tx_again = q->rx_again = true;
	io_loop_post(vif->loop, &q->rerun);
}

void net_queue_stop(struct net_queue *q)
{
	io_loop_cancel(q->vif->loop, &q->rerun);
	io_timer_set(q->vif->loop, &q->poll, 0);
	if (q->reg)
		io_loop_del_fd(q->vif->loop, q->reg);
	q->reg = NULL;
	net_tx_drop(q);
	net_rx_drop(q);
}
