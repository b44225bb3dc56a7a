/* SPDX-License-Identifier: MIT */
/*
 * From the link to the guest. Frames are read straight into pages that the guest has offered: as
 * many of them as the largest frame can take are mapped ahead, because a link does not tell how
 * long the next one is. What a frame does not use stays for the next.
 *
 * Responses stand in the ring in the order of the offers, and the second of a frame that is to be
 * cut is no data but says so; such frames are common, so the second page is left out when reading
 * and the data of the few other long frames is moved.
 */
#include "io/net/vif.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#define RUN_PACKETS   128u
#define RUN_BYTES     (2u << 20)
#define BATCH_PACKETS 32u
#define BATCH_BYTES   (256u << 10)

static struct net_rx_slot *slot(struct net_queue *q, unsigned int i)
{
	return &q->window[(q->rx_first + i) % NET_RX_SLOTS];
}

/* Map offers until the largest frame fits. False if there are not enough, or one is bad. */
static bool fill_window(struct net_queue *q)
{
	while (q->rx_count < q->vif->rx_needed) {
		struct net_rx_slot *s = slot(q, q->rx_count);
		struct netif_rx_request req;
		void *page;

		if (!io_ring_pending(&q->rx) && !io_ring_final_check(&q->rx))
			return false;
		io_ring_take(&q->rx, &req, sizeof(req));
		if (io_grant_map(q->vif->guest, req.gref, true, &page) < 0) {
			q->vif->broken = "a page to receive into is not granted for writing";
			return false;
		}
		*s = (struct net_rx_slot){.id = req.id, .ref = req.gref, .page = page};
		q->rx_count++;
	}
	return true;
}

/* The i-th page of data is in this slot of the window. */
static unsigned int data_slot(const struct net_vif *vif, unsigned int i)
{
	return vif->rx_gso && i ? i + 1 : i;
}

static unsigned int make_iov(struct net_queue *q)
{
	unsigned int n = q->vif->rx_pages;

	for (unsigned int i = 0; i < n; i++)
		q->rx_iov[1 + i] = (struct iovec){
			.iov_base = slot(q, data_slot(q->vif, i))->page,
			.iov_len = NET_PAGE,
		};
	q->rx_iov[1 + n] = (struct iovec){.iov_base = q->rx_rest, .iov_len = sizeof(q->rx_rest)};
	return n + 2;
}

/* --- one frame -------------------------------------------------------------------------------- */

static bool is_ip6(const uint8_t *frame)
{
	return frame[12] == 0x86 && frame[13] == 0xdd;
}

/* NETRXF_* about the checksum, after making it if the guest cannot. */
static uint16_t checksum_flags(struct net_queue *q, const struct virtio_net_hdr *hdr, size_t size)
{
	const struct net_transport *t = &q->vif->transport;
	struct iovec iov[NET_RX_PAGES];
	unsigned int n = 0;

	if (!(hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM))
		return q->vif->link->valid_sums || hdr->flags & VIRTIO_NET_HDR_F_DATA_VALID
			       ? NETRXF_data_validated
			       : 0;
	bool ip6 = is_ip6(slot(q, 0)->page);
	if (hdr->gso_type != VIRTIO_NET_HDR_GSO_NONE || (ip6 ? t->csum6 : t->csum4))
		return NETRXF_csum_blank | NETRXF_data_validated;
	for (size_t left = size; left; n++) {
		size_t len = left < NET_PAGE ? left : NET_PAGE;

		iov[n] = (struct iovec){slot(q, data_slot(q->vif, n))->page, len};
		left -= len;
	}
	packet_finish_csum(iov, n, hdr->csum_start, (size_t)hdr->csum_start + hdr->csum_offset,
			   hdr->csum_offset == 6);
	return NETRXF_data_validated;
}

static void respond(struct net_queue *q, const struct netif_rx_response *rsp)
{
	struct net_rx_slot *s = slot(q, 0);

	/* Before the answer: the guest may run what was read as soon as it sees it. */
	io_page_written(q->vif->guest, s->page);
	io_grant_unmap(q->vif->guest, s->ref, true);
	q->rx_first = (q->rx_first + 1) % NET_RX_SLOTS;
	q->rx_count--;
	io_ring_put(&q->rx, rsp, sizeof(*rsp));
}

static void respond_extra(struct net_queue *q, const struct virtio_net_hdr *hdr)
{
	struct netif_extra_info extra = {.type = XEN_NETIF_EXTRA_TYPE_GSO};
	struct netif_rx_response rsp;

	extra.u.gso.size = hdr->gso_size;
	extra.u.gso.type = (hdr->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) == VIRTIO_NET_HDR_GSO_TCPV4
				   ? XEN_NETIF_GSO_TYPE_TCPV4
				   : XEN_NETIF_GSO_TYPE_TCPV6;
	_Static_assert(sizeof(extra) == sizeof(rsp), "both fill an entry of the ring");
	memcpy(&rsp, &extra, sizeof(rsp));
	respond(q, &rsp);
}

/* The data of a frame without extra information, together. */
static void close_gap(struct net_queue *q, unsigned int pages)
{
	for (unsigned int i = 1; i < pages; i++) {
		memcpy(slot(q, i)->page, slot(q, i + 1)->page, NET_PAGE);
		io_page_written(q->vif->guest, slot(q, i + 1)->page);
	}
}

static void give(struct net_queue *q, const struct virtio_net_hdr *hdr, size_t size)
{
	bool gso = hdr->gso_type != VIRTIO_NET_HDR_GSO_NONE;
	unsigned int pages = (unsigned int)((size + NET_PAGE - 1) / NET_PAGE);
	uint16_t flags = checksum_flags(q, hdr, size);

	if (!gso && pages > 1 && data_slot(q->vif, 1) != 1)
		close_gap(q, pages);
	net_stat_add(&q->vif->stats.rx_packets, 1);
	net_stat_add(&q->vif->stats.rx_bytes, size);
	for (unsigned int i = 0; i < pages; i++) {
		size_t len = size < NET_PAGE ? size : NET_PAGE;
		struct netif_rx_response rsp = {
			.id = slot(q, 0)->id,
			.flags = (uint16_t)((i ? 0 : flags) |
					    (i == 0 && gso ? NETRXF_extra_info : 0) |
					    (i + 1 < pages ? NETRXF_more_data : 0)),
			.status = (int16_t)len,
		};

		respond(q, &rsp);
		if (i == 0 && gso)
			respond_extra(q, hdr);
		size -= len;
	}
}

/* Can this guest be given such a frame? Also frames from before the link was told what it takes. */
static bool acceptable(const struct net_vif *vif, const struct virtio_net_hdr *hdr, size_t size)
{
	if (size < NET_FRAME_MIN || size > (size_t)vif->rx_pages * NET_PAGE)
		return false;
	if (hdr->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM &&
	    (size_t)hdr->csum_start + hdr->csum_offset + 2 > size)
		return false;
	switch (hdr->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_NONE:
		return true;
	case VIRTIO_NET_HDR_GSO_TCPV4:
		return vif->transport.gso4 && hdr->gso_size;
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return vif->transport.gso6 && hdr->gso_size;
	default:
		return false;
	}
}

/* --- the loop --------------------------------------------------------------------------------- */

static void publish(struct net_queue *q)
{
	net_ring_settle(q, &q->rx);
	if (io_ring_push(&q->rx))
		io_event_send(q->vif->guest, q->at.rx_port);
}

/* Read and give one frame: its size, or -errno. */
static ssize_t one_frame(struct net_queue *q)
{
	struct net_vif *vif = q->vif;
	struct virtio_net_hdr hdr = {0};
	ssize_t n = vif->link->ops->recv(vif->link, q->index, &hdr, q->rx_iov, make_iov(q));

	if (n < 0)
		return n;
	if (acceptable(vif, &hdr, (size_t)n))
		give(q, &hdr, (size_t)n);
	else
		net_stat_add(&vif->stats.rx_dropped, 1);
	return n;
}

bool net_rx_run(struct net_queue *q)
{
	unsigned int packets = 0, batch = 0;
	uint64_t bytes = 0, batch_bytes = 0;
	bool more = false;

	q->rx_starved = false;
	if (q->vif->link_lost || q->vif->params.link_down)
		return false;
	for (;;) {
		if (packets == RUN_PACKETS || bytes >= RUN_BYTES) {
			more = true;
			break;
		}
		if (!fill_window(q)) {
			q->rx_starved = true;
			break;
		}
		ssize_t n = one_frame(q);
		if (n < 0) {
			if (n == -EPIPE)
				net_link_is_lost(q->vif);
			break;
		}
		packets++;
		bytes += (uint64_t)n;
		batch_bytes += (uint64_t)n;
		if (++batch == BATCH_PACKETS || batch_bytes >= BATCH_BYTES) {
			publish(q);
			batch = 0;
			batch_bytes = 0;
		}
	}
	publish(q);
	if (q->rx.broken && !q->vif->broken)
		q->vif->broken = "the request producer index of its receive ring is impossible";
	return more;
}

void net_rx_drop(struct net_queue *q)
{
	while (q->rx_count) {
		/* Frames that were not given have been read into it, too. */
		io_page_written(q->vif->guest, slot(q, 0)->page);
		io_grant_unmap(q->vif->guest, slot(q, 0)->ref, true);
		q->rx_first = (q->rx_first + 1) % NET_RX_SLOTS;
		q->rx_count--;
	}
	io_pages_settle(q->vif->guest);
}
