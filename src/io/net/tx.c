/* SPDX-License-Identifier: MIT */
/*
 * From the guest to the link. A packet is one or more entries of the ring; all numbers in them are
 * the guest's. The headers are copied out before they are looked at, and what was looked at is
 * what is sent; the rest goes to the link from where it lies.
 */
#include "io/net/vif.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#define RUN_PACKETS   128u
#define RUN_BYTES     (2u << 20)
#define BATCH_PACKETS 16u /* between two publications of responses */
#define BATCH_BYTES   (256u << 10)
/*
 * The least that a packet may be cut into; Linux' own TCP does not go lower (tcp_min_snd_mss). With
 * 1 byte a packet of 64 KiB would make the host's kernel 65,000 of them, in one call of ours.
 */
#define GSO_MIN	      48u

/* --- taking a packet -------------------------------------------------------------------------- */

static bool take(struct net_queue *q, void *entry, size_t size)
{
	/* A front end publishes a packet as a whole. */
	if (!io_ring_pending(&q->tx)) {
		q->vif->broken = "a packet in its transmit ring has no end";
		return false;
	}
	io_ring_take(&q->tx, entry, size);
	return true;
}

/* What stands behind the first entry if that has NETTXF_extra_info. */
static bool take_extras(struct net_queue *q, struct net_packet *p)
{
	struct netif_extra_info extra;
	unsigned int n = 0;

	do {
		if (n++ == NET_TX_EXTRAS) {
			q->vif->broken = "a packet has too much extra information";
			return false;
		}
		if (!take(q, &extra, sizeof(extra)))
			return false;
		p->slot[p->nr_slots++].extra = true;
		if (extra.type == XEN_NETIF_EXTRA_TYPE_NONE ||
		    extra.type >= XEN_NETIF_EXTRA_TYPE_MAX) {
			q->vif->broken = "a packet has extra information of an unknown type";
			return false;
		}
		if (extra.type == XEN_NETIF_EXTRA_TYPE_GSO) {
			p->gso_type = extra.u.gso.type;
			p->gso_size = extra.u.gso.size;
			if (!p->gso_size) {
				q->vif->broken = "a packet is to be cut into pieces of 0 bytes";
				return false;
			}
		}
	} while (extra.flags & XEN_NETIF_EXTRA_FLAG_MORE);
	return true;
}

static bool add_part(struct net_queue *q, struct net_packet *p, const struct netif_tx_request *req)
{
	p->slot[p->nr_slots].id = req->id;
	p->slot[p->nr_slots++].extra = false;
	p->part[p->nr_parts++] =
		(struct net_tx_map){.ref = req->gref, .offset = req->offset, .size = req->size};
	return true;
}

/*
 * Copy a whole packet's entries out of the ring. False if the protocol was broken, with
 * vif->broken.
 */
static bool take_packet(struct net_queue *q, struct net_packet *p)
{
	struct netif_tx_request req;

	p->nr_slots = p->nr_parts = p->nr_maps = p->nr_iov = 0;
	p->gso_type = XEN_NETIF_GSO_TYPE_NONE;
	p->gso_size = 0;
	memset(&p->hdr, 0, sizeof(p->hdr));
	if (!take(q, &req, sizeof(req)))
		return false;
	add_part(q, p, &req);
	p->flags = req.flags;
	p->size = req.size;
	if ((req.flags & NETTXF_extra_info) && !take_extras(q, p))
		return false;
	while (req.flags & NETTXF_more_data) {
		if (p->nr_parts == NET_TX_FATAL) {
			q->vif->broken = "a packet has more slots than any may have";
			return false;
		}
		if (!take(q, &req, sizeof(req)))
			return false;
		add_part(q, p, &req);
	}
	return true;
}

/* --- checking it ------------------------------------------------------------------------------ */

/* The first entry has the size of all. False: a bad packet, or a broken protocol. */
static bool check_sizes(struct net_queue *q, struct net_packet *p)
{
	uint32_t rest = 0;

	for (unsigned int i = 1; i < p->nr_parts; i++)
		rest += p->part[i].size;
	if (rest > p->size || p->size < NET_FRAME_MIN || p->nr_parts > NET_TX_SLOTS)
		return false;
	p->part[0].size = (uint16_t)(p->size - rest);
	for (unsigned int i = 0; i < p->nr_parts; i++) {
		if ((uint32_t)p->part[i].offset + p->part[i].size > NET_PAGE) {
			q->vif->broken = "a packet crosses the end of a page";
			return false;
		}
	}
	return true;
}

static bool map_parts(struct net_queue *q, struct net_packet *p)
{
	for (; p->nr_maps < p->nr_parts; p->nr_maps++) {
		struct net_tx_map *m = &p->part[p->nr_maps];

		if (io_grant_map(q->vif->guest, m->ref, false, &m->page) < 0)
			return false;
	}
	return true;
}

/* iov[1] becomes the copy of the headers, what follows the rest of the pages. */
static uint32_t gather(struct net_packet *p)
{
	uint32_t head = 0;

	p->nr_iov = 2;
	for (unsigned int i = 0; i < p->nr_parts; i++) {
		const struct net_tx_map *m = &p->part[i];
		uint8_t *data = (uint8_t *)m->page + m->offset;
		uint32_t n = PACKET_HEAD - head < m->size ? PACKET_HEAD - head : m->size;

		memcpy(p->head + head, data, n);
		head += n;
		if (m->size > n)
			p->iov[p->nr_iov++] =
				(struct iovec){.iov_base = data + n, .iov_len = m->size - n};
	}
	p->iov[1] = (struct iovec){.iov_base = p->head, .iov_len = head};
	/* The compiler must not read the pages again where the copy is used. */
	__asm__ volatile("" : : "r"(p) : "memory");
	return head;
}

/* A checksum to make, and pieces to cut, said in the link's words. */
static bool offload(const struct net_vif *vif, struct net_packet *p, uint32_t head)
{
	bool gso = p->gso_type != XEN_NETIF_GSO_TYPE_NONE;
	struct packet_headers h;

	if (!gso && !(p->flags & NETTXF_csum_blank))
		return true;
	if (!packet_parse(p->head, head, &h))
		return false;
	p->hdr.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	p->hdr.csum_start = (uint16_t)h.l4;
	p->hdr.csum_offset = (uint16_t)(h.csum - h.l4);
	if (!gso) {
		if (vif->link->offload)
			return true;
		packet_finish_csum(p->iov + 1, p->nr_iov - 1, h.l4, h.csum, h.proto == IPPROTO_UDP);
		memset(&p->hdr, 0, sizeof(p->hdr));
		return true;
	}
	unsigned int version = p->gso_type == XEN_NETIF_GSO_TYPE_TCPV4	 ? 4
			       : p->gso_type == XEN_NETIF_GSO_TYPE_TCPV6 ? 6
									 : 0;
	/* Not offered without a link that cuts; the header must be there to be repeated. */
	if (!vif->link->offload || h.proto != IPPROTO_TCP || version != h.version)
		return false;
	if (p->size - h.payload <= p->gso_size)
		return true; /* nothing to cut */
	if (p->gso_size < GSO_MIN)
		return false;
	p->hdr.gso_type = version == 4 ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6;
	p->hdr.gso_size = p->gso_size;
	p->hdr.hdr_len = (uint16_t)h.payload;
	return true;
}

static bool prepare(struct net_queue *q, struct net_packet *p)
{
	return check_sizes(q, p) && map_parts(q, p) && offload(q->vif, p, gather(p));
}

/* --- answering -------------------------------------------------------------------------------- */

static void unmap_parts(struct net_queue *q, struct net_packet *p)
{
	while (p->nr_maps)
		io_grant_unmap(q->vif->guest, p->part[--p->nr_maps].ref, false);
}

static void respond(struct net_queue *q, struct net_packet *p, int16_t status)
{
	unmap_parts(q, p);
	for (unsigned int i = 0; i < p->nr_slots; i++) {
		struct netif_tx_response rsp = {
			.id = p->slot[i].extra ? 0 : p->slot[i].id,
			.status = p->slot[i].extra ? NETIF_RSP_NULL : status,
		};

		io_ring_put(&q->tx, &rsp, sizeof(rsp));
	}
}

static void publish(struct net_queue *q)
{
	net_ring_settle(q, &q->tx);
	if (io_ring_push(&q->tx))
		io_event_send(q->vif->guest, q->at.tx_port);
}

/* --- the loop --------------------------------------------------------------------------------- */

/* False if it has to wait for room in the link. */
static bool send_packet(struct net_queue *q, struct net_packet *p)
{
	struct net_vif *vif = q->vif;
	struct net_stats *s = &vif->stats;
	int16_t status = NETIF_RSP_OKAY;
	ssize_t n = -EPIPE;

	if (vif->params.link_down || vif->link_lost)
		status = NETIF_RSP_DROPPED;
	else
		n = vif->link->ops->send(vif->link, q->index, &p->hdr, p->iov, p->nr_iov);
	if (n == -EAGAIN)
		return false;
	if (n >= 0) {
		net_stat_add(&s->tx_packets, 1);
		net_stat_add(&s->tx_bytes, p->size);
	} else {
		net_stat_add(&s->tx_dropped, 1);
		status = NETIF_RSP_DROPPED;
		if (n == -EPIPE && !vif->params.link_down && !vif->link_lost)
			net_link_is_lost(vif);
	}
	respond(q, p, status);
	return true;
}

/* Take and send one packet; false if the run has to end. */
static bool one_packet(struct net_queue *q)
{
	struct net_packet *p = &q->packet;

	if (!q->tx_blocked) {
		if (!take_packet(q, p))
			return false;
		if (!prepare(q, p)) {
			net_stat_add(&q->vif->stats.tx_errors, 1);
			respond(q, p, NETIF_RSP_ERROR);
			return !q->vif->broken;
		}
	}
	q->tx_blocked = !send_packet(q, p);
	return !q->tx_blocked;
}

bool net_tx_run(struct net_queue *q)
{
	unsigned int packets = 0, batch = 0;
	uint64_t bytes = 0, batch_bytes = 0;
	bool more = false;

	while (q->tx_blocked || io_ring_pending(&q->tx) || io_ring_final_check(&q->tx)) {
		if (packets == RUN_PACKETS || bytes >= RUN_BYTES) {
			more = true;
			break;
		}
		if (!one_packet(q))
			break;
		packets++;
		bytes += q->packet.size;
		batch_bytes += q->packet.size;
		if (++batch == BATCH_PACKETS || batch_bytes >= BATCH_BYTES) {
			publish(q);
			batch = 0;
			batch_bytes = 0;
		}
	}
	publish(q);
	if (q->tx.broken && !q->vif->broken)
		q->vif->broken = "the request producer index of its transmit ring is impossible";
	return more;
}

void net_tx_drop(struct net_queue *q)
{
	unmap_parts(q, &q->packet);
	q->tx_blocked = false;
}
