/* SPDX-License-Identifier: MIT */
/*
 * The network back end against a front end made of the input: requests, indices, grants, events and
 * xenstore nodes in any order, and a link that has frames, room and offloads as the input says.
 * Whatever happens, the interface must be able to end with nothing left mapped or bound.
 *
 * The first two bytes choose how the front end connects, then each command is a byte with operands.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/net/mock_link.h"
#include "io/net/vif.h"
#include "ring_front.h"

#define PAGES 64u
#define PORT  5u
#define FRONT "/local/domain/1/device/vif/0"

struct fuzz {
	struct net_vif *vif;
	struct mock_link *link;
	unsigned int nr_queues;
	uint32_t tx_prod[NET_MAX_QUEUES], rx_prod[NET_MAX_QUEUES];
	struct input in;
};

static struct front front = {.path = FRONT, .pages = PAGES};
static bool link_freed;

/* --- connecting ------------------------------------------------------------------------------- */

static void open_vif(struct fuzz *f, uint8_t flags)
{
	struct net_vif_params params = {.mac = {0, 0x16, 0x3e, 0, 0, 1}};

	link_freed = false;
	f->link = mock_link_new(3, flags & 1, &link_freed);
	f->link->link.valid_sums = flags & 2;
	if (net_vif_new(front.loop, front.guest, front.store, &f->link->link, &params, NULL,
			&f->vif) < 0)
		abort();
	front_run(&front);
}

static void connect_front(struct fuzz *f, uint8_t flags)
{
	char name[40];

	f->nr_queues = 1 + (flags >> 6) % 3;
	front_put(&front, "request-rx-copy", 1);
	front_put(&front, "feature-rx-notify", 1);
	front_put(&front, "feature-sg", flags & 1);
	front_put(&front, "feature-gso-tcpv4", flags >> 1 & 1);
	front_put(&front, "feature-gso-tcpv6", flags >> 2 & 1);
	front_put(&front, "feature-ipv6-csum-offload", flags >> 3 & 1);
	front_put(&front, "feature-no-csum-offload", flags >> 4 & 1);
	if (f->nr_queues > 1)
		front_put(&front, "multi-queue-num-queues", f->nr_queues);
	for (unsigned int q = 0; q < f->nr_queues; q++) {
		struct netif_tx_sring *tx = fake_page(front.guest, q * 2);
		struct netif_rx_sring *rx = fake_page(front.guest, q * 2 + 1);
		char dir[24] = "";

		tx->req_event = tx->rsp_event = rx->req_event = rx->rsp_event = 1;
		if (f->nr_queues > 1)
			snprintf(dir, sizeof(dir), "queue-%u/", q);
		snprintf(name, sizeof(name), "%stx-ring-ref", dir);
		front_put(&front, name, q * 2);
		snprintf(name, sizeof(name), "%srx-ring-ref", dir);
		front_put(&front, name, q * 2 + 1);
		snprintf(name, sizeof(name), "%sevent-channel", dir);
		front_put(&front, name, PORT + q);
	}
	if (!(flags & 0x20))
		front_put(&front, "state", XenbusStateConnected);
	front_run(&front);
}

/* --- commands --------------------------------------------------------------------------------- */

static void put_tx(struct fuzz *f, unsigned int q)
{
	struct netif_tx_sring *ring = fake_page(front.guest, q * 2);

	copy_bytes(&f->in, &ring->ring[f->tx_prod[q]++ % 256], 12);
	ring->req_prod = f->tx_prod[q];
}

/* A likely one: pieces with plausible sizes, so that packets come through. */
static void put_packet(struct fuzz *f, unsigned int q)
{
	struct netif_tx_sring *ring = fake_page(front.guest, q * 2);
	unsigned int n = 1 + number(&f->in, 1) % 20, flags = number(&f->in, 1) & 15;
	unsigned int piece = 1 + number(&f->in, 2) % 4096;

	for (unsigned int i = 0; i < n; i++) {
		struct netif_tx_request req = {
			.gref = 8 + i,
			.flags = (uint16_t)((i ? 0 : flags & ~NETTXF_more_data) |
					    (i + 1 < n ? NETTXF_more_data : 0)),
			.id = (uint16_t)i,
			.size = (uint16_t)(i ? piece : piece * n),
		};

		memcpy(&ring->ring[f->tx_prod[q]++ % 256], &req, sizeof(req));
		if (i || !(req.flags & NETTXF_extra_info))
			continue;
		struct netif_extra_info extra = {.type = XEN_NETIF_EXTRA_TYPE_GSO};
		extra.u.gso.type = XEN_NETIF_GSO_TYPE_TCPV4;
		extra.u.gso.size = (uint16_t)(1 + piece);
		memcpy(&ring->ring[f->tx_prod[q]++ % 256], &extra, sizeof(extra));
	}
	ring->req_prod = f->tx_prod[q];
}

static void offer(struct fuzz *f, unsigned int q)
{
	struct netif_rx_sring *ring = fake_page(front.guest, q * 2 + 1);
	unsigned int n = number(&f->in, 1) % 64;

	for (unsigned int i = 0; i < n; i++) {
		struct netif_rx_request req = {.id = (uint16_t)i, .gref = 28 + i % 36};

		memcpy(&ring->ring[f->rx_prod[q]++ % 256], &req, sizeof(req));
	}
	ring->req_prod = f->rx_prod[q];
}

static void put_frame(struct fuzz *f, unsigned int q)
{
	static uint8_t data[70000];
	struct virtio_net_hdr hdr;
	size_t size = 1 + number(&f->in, 2) % sizeof(data);

	copy_bytes(&f->in, &hdr, sizeof(hdr));
	if (f->link->nr_waiting[q] < 64)
		mock_link_put(f->link, q, &hdr, data, size);
}

static void put_node(struct fuzz *f)
{
	static const char *const names[] = {
		"tx-ring-ref",	       "rx-ring-ref",
		"event-channel",       "event-channel-tx",
		"event-channel-rx",    "multi-queue-num-queues",
		"queue-1/tx-ring-ref", "queue-0/event-channel",
		"feature-sg",	       "feature-gso-tcpv4",
		"request-rx-copy",     "state",
		"feature-rx-notify",   "feature-no-csum-offload",
		"queue-1/rx-ring-ref", "queue-1/event-channel",
	};

	front_put_node(&front, &f->in, names, sizeof(names) / sizeof(names[0]));
}

static void command(struct fuzz *f)
{
	uint32_t op = number(&f->in, 1), n;
	unsigned int q = (op >> 4) % f->nr_queues;
	struct netif_tx_sring *tx = fake_page(front.guest, q * 2);
	struct netif_rx_sring *rx = fake_page(front.guest, q * 2 + 1);

	switch (op % 16) {
	case 0:
	case 1:
		put_tx(f, q);
		break;
	case 2:
		put_packet(f, q);
		break;
	case 3:
		offer(f, q);
		break;
	case 4:
		put_frame(f, q);
		break;
	case 5:
		fake_raise(front.guest, PORT + q);
		break;
	case 6:
		front_run(&front);
		break;
	case 7:
		tx->req_prod = f->tx_prod[q] = number(&f->in, 4);
		break;
	case 8:
		rx->req_prod = f->rx_prod[q] = number(&f->in, 4);
		break;
	case 9:
		front_put(&front, "state", number(&f->in, 1) % 9);
		break;
	case 10:
		put_node(f);
		break;
	case 11:
		front_change_grant(&front, &f->in);
		break;
	case 12: /* bytes anywhere */
		front_scribble(&front, &f->in);
		break;
	case 13: /* headers of a packet */
		copy_bytes(&f->in, fake_page(front.guest, 8), 80);
		break;
	case 14:
		f->link->room = number(&f->in, 1);
		break;
	case 15:
		n = number(&f->in, 1);
		f->link->fail_send = n & 1 ? EIO : n & 2 ? EPIPE : 0;
		f->link->fail_recv = n & 4 ? EIO : n & 8 ? EPIPE : 0;
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct net_stats stats;

	front_set_up(&front);
	struct fuzz f = {.in = {data, size}};
	open_vif(&f, (uint8_t)number(&f.in, 1));
	connect_front(&f, (uint8_t)number(&f.in, 1));
	while (f.in.left)
		command(&f);
	front_run(&front);
	net_vif_stats(f.vif, &stats);
	if (stats.tx_packets < f.link->sent_ever)
		abort();
	net_vif_free(f.vif);
	if (!link_freed)
		abort();
	front_check_released(&front);
	return 0;
}
