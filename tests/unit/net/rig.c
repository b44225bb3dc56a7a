/* SPDX-License-Identifier: MIT */
#include "rig.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- reports ---------------------------------------------------------------------------------- */

static void on_link_error(void *opaque, unsigned int handle, const char *why)
{
	struct rig *r = opaque;

	(void)handle;
	r->link_errors++;
	snprintf(r->last_why, sizeof(r->last_why), "%s", why);
}

static void on_guest_error(void *opaque, unsigned int handle, const char *why)
{
	struct rig *r = opaque;

	(void)handle;
	r->guest_errors++;
	snprintf(r->last_why, sizeof(r->last_why), "%s", why);
}

static void on_connected(void *opaque, unsigned int handle, bool connected)
{
	struct rig *r = opaque;

	(void)handle;
	if (connected)
		r->connects++;
	else
		r->disconnects++;
}

/* --- making ----------------------------------------------------------------------------------- */

void rig_init(struct rig *r)
{
	memset(r, 0, sizeof(*r));
	io_rig_init(&r->io, RIG_DOMID, RIG_PAGES, RIG_FRONT, RIG_BACK);
	r->params = (struct net_vif_params){.mac = {0, 0x16, 0x3e, 1, 2, 3}};
	r->events = (struct net_events){on_link_error, on_guest_error, on_connected, r};
	r->nr_queues = 1;
}

void rig_vif(struct rig *r, unsigned int queues, bool offload, struct net_link *link)
{
	if (!link) {
		r->link = mock_link_new(queues, offload, &r->link_freed);
		link = &r->link->link;
	}
	assert_int_equal(
		net_vif_new(r->loop, r->guest, r->store, link, &r->params, &r->events, &r->vif), 0);
}

void rig_fini(struct rig *r)
{
	io_rig_fini(&r->io);
}

void rig_start(struct rig *r, bool offload)
{
	rig_init(r);
	rig_vif(r, 1, offload, NULL);
	rig_connect(r);
	rig_offer(r, 0, RIG_RX, 64);
	rig_run(r);
}

void rig_stop(struct rig *r)
{
	net_vif_free(r->vif);
	rig_fini(r);
}

void rig_run(struct rig *r)
{
	for (int i = 0; i < 8; i++)
		rig_step(r);
}

/* --- nodes ------------------------------------------------------------------------------------ */

void rig_features(struct rig *r)
{
	static const char *const names[] = {"request-rx-copy",	 "feature-rx-notify",
					    "feature-sg",	 "feature-gso-tcpv4",
					    "feature-gso-tcpv6", "feature-ipv6-csum-offload"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		rig_front_write(r, names[i], "1");
}

static void write_queue(struct rig *r, unsigned int i)
{
	const struct rig_queue *q = &r->q[i];
	char prefix[16] = "", name[48];

	if (r->nr_queues > 1)
		snprintf(prefix, sizeof(prefix), "queue-%u/", i);
	snprintf(name, sizeof(name), "%stx-ring-ref", prefix);
	rig_front_write(r, name, "%u", q->tx_page);
	snprintf(name, sizeof(name), "%srx-ring-ref", prefix);
	rig_front_write(r, name, "%u", q->rx_page);
	snprintf(name, sizeof(name), "%sevent-channel%s", prefix, r->split ? "-tx" : "");
	rig_front_write(r, name, "%u", q->tx_port);
	if (!r->split)
		return;
	snprintf(name, sizeof(name), "%sevent-channel-rx", prefix);
	rig_front_write(r, name, "%u", q->rx_port);
}

void rig_make_rings(struct rig *r)
{
	for (unsigned int i = 0; i < r->nr_queues; i++) {
		struct rig_queue *q = &r->q[i];

		memset(q, 0, sizeof(*q));
		q->tx_page = i * 2;
		q->rx_page = i * 2 + 1;
		q->tx_port = RIG_PORT + i * 2;
		q->rx_port = r->split ? q->tx_port + 1 : q->tx_port;
		memset(fake_page(r->guest, q->tx_page), 0, 4096);
		memset(fake_page(r->guest, q->rx_page), 0, 4096);
		struct netif_tx_sring *tx = fake_page(r->guest, q->tx_page);
		struct netif_rx_sring *rx = fake_page(r->guest, q->rx_page);
		tx->req_event = tx->rsp_event = rx->req_event = rx->rsp_event = 1;
		write_queue(r, i);
	}
	if (r->nr_queues > 1)
		rig_front_write(r, "multi-queue-num-queues", "%u", r->nr_queues);
}

void rig_connect(struct rig *r)
{
	rig_until(r, rig_back_state(r) == XenbusStateInitWait);
	rig_make_rings(r);
	rig_features(r);
	rig_front_state(r, XenbusStateConnected);
	rig_until(r, rig_back_state(r) == XenbusStateConnected);
	rig_run(r);
}

/* --- transmitting ----------------------------------------------------------------------------- */

static struct netif_tx_sring *tx_ring(struct rig *r, unsigned int queue)
{
	return fake_page(r->guest, r->q[queue].tx_page);
}

static struct netif_rx_sring *rx_ring(struct rig *r, unsigned int queue)
{
	return fake_page(r->guest, r->q[queue].rx_page);
}

void rig_tx_raw(struct rig *r, unsigned int queue, const void *entry, size_t size)
{
	memcpy(&tx_ring(r, queue)->ring[r->q[queue].tx_prod++ % RIG_ENTS], entry, size);
}

void rig_tx(struct rig *r, unsigned int queue, uint32_t ref, unsigned int offset, unsigned int size,
	    unsigned int flags, unsigned int id)
{
	struct netif_tx_request req = {
		.gref = ref,
		.offset = (uint16_t)offset,
		.flags = (uint16_t)flags,
		.id = (uint16_t)id,
		.size = (uint16_t)size,
	};

	rig_tx_raw(r, queue, &req, sizeof(req));
}

void rig_tx_gso(struct rig *r, unsigned int queue, unsigned int type, unsigned int size)
{
	struct netif_extra_info extra = {.type = XEN_NETIF_EXTRA_TYPE_GSO};

	extra.u.gso.type = (uint8_t)type;
	extra.u.gso.size = (uint16_t)size;
	rig_tx_raw(r, queue, &extra, sizeof(extra));
}

void rig_tx_push(struct rig *r, unsigned int queue)
{
	struct netif_tx_sring *s = tx_ring(r, queue);
	uint32_t old = s->req_prod;

	__atomic_store_n(&s->req_prod, r->q[queue].tx_prod, __ATOMIC_SEQ_CST);
	if (r->q[queue].tx_prod - s->req_event < r->q[queue].tx_prod - old)
		fake_raise(r->guest, r->q[queue].tx_port);
}

bool rig_tx_poll(struct rig *r, unsigned int queue, struct netif_tx_response *rsp)
{
	struct netif_tx_sring *s = tx_ring(r, queue);

	if (__atomic_load_n(&s->rsp_prod, __ATOMIC_ACQUIRE) == r->q[queue].tx_cons)
		return false;
	*rsp = s->ring[r->q[queue].tx_cons++ % RIG_ENTS].rsp;
	__atomic_store_n(&s->rsp_event, r->q[queue].tx_cons + 1, __ATOMIC_SEQ_CST);
	return true;
}

int rig_send(struct rig *r, uint32_t pfn, unsigned int size, unsigned int flags)
{
	struct netif_tx_response rsp;

	rig_tx(r, 0, pfn, 0, size, flags, 0x1234);
	rig_tx_push(r, 0);
	rig_until(r, rig_tx_poll(r, 0, &rsp));
	assert_int_equal(rsp.id, 0x1234);
	return rsp.status;
}

/* --- receiving -------------------------------------------------------------------------------- */

void rig_offer(struct rig *r, unsigned int queue, uint32_t ref, unsigned int count)
{
	struct rig_queue *q = &r->q[queue];
	struct netif_rx_sring *s = rx_ring(r, queue);
	uint32_t old = s->req_prod;

	for (unsigned int i = 0; i < count; i++, q->rx_prod++) {
		uint32_t at = q->rx_prod % RIG_ENTS;

		q->rx_ref[at] = ref + i;
		s->ring[at].req = (struct netif_rx_request){.id = (uint16_t)at, .gref = ref + i};
	}
	__atomic_store_n(&s->req_prod, q->rx_prod, __ATOMIC_SEQ_CST);
	if (q->rx_prod - s->req_event < q->rx_prod - old)
		fake_raise(r->guest, q->rx_port);
}

bool rig_rx_poll(struct rig *r, unsigned int queue, struct netif_rx_response *rsp, uint32_t *ref)
{
	struct rig_queue *q = &r->q[queue];
	struct netif_rx_sring *s = rx_ring(r, queue);

	if (__atomic_load_n(&s->rsp_prod, __ATOMIC_ACQUIRE) == q->rx_cons)
		return false;
	*rsp = s->ring[q->rx_cons % RIG_ENTS].rsp;
	*ref = q->rx_ref[q->rx_cons % RIG_ENTS];
	/* Answered and taken back: nothing of the page is in use by the back end. */
	assert_int_equal(fake_grant_maps(r->guest, *ref), 0);
	q->rx_cons++;
	__atomic_store_n(&s->rsp_event, q->rx_cons + 1, __ATOMIC_SEQ_CST);
	return true;
}

bool rig_receive(struct rig *r, unsigned int queue, struct rig_frame *f)
{
	struct netif_rx_response rsp;
	struct netif_extra_info extra;
	uint32_t ref;

	memset(f, 0, sizeof(*f));
	if (!rig_rx_poll(r, queue, &rsp, &ref))
		return false;
	f->flags = rsp.flags;
	for (;;) {
		/* Responses are in the order of the offers, with their numbers. */
		assert_int_equal(rsp.id, (r->q[queue].rx_cons - 1) % RIG_ENTS);
		assert_true(rsp.status > 0 && rsp.offset + rsp.status <= 4096);
		assert_true(f->size + (size_t)rsp.status <= sizeof(f->data));
		memcpy(f->data + f->size, (uint8_t *)fake_page(r->guest, ref) + rsp.offset,
		       (size_t)rsp.status);
		f->size += (size_t)rsp.status;
		f->slots++;
		rig_offer(r, queue, ref, 1);
		if (rsp.flags & NETRXF_extra_info) {
			assert_int_equal(f->slots, 1);
			uint16_t flags = rsp.flags;
			assert_true(rig_rx_poll(r, queue, (void *)&extra, &ref));
			rig_offer(r, queue, ref, 1);
			f->slots++;
			assert_int_equal(extra.type, XEN_NETIF_EXTRA_TYPE_GSO);
			assert_int_equal(extra.flags, 0);
			f->gso_type = extra.u.gso.type;
			f->gso_size = extra.u.gso.size;
			rsp.flags = flags;
		}
		if (!(rsp.flags & NETRXF_more_data))
			return true;
		assert_true(rig_rx_poll(r, queue, &rsp, &ref));
	}
}

/* --- packets ---------------------------------------------------------------------------------- */

static void put16(uint8_t *p, size_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static unsigned int get16(const uint8_t *p)
{
	return (unsigned int)p[0] << 8 | p[1];
}

/* The plainest way to sum, to compare with the fast one. */
static uint32_t add_up(const uint8_t *p, size_t len)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < len; i++) {
		sum += i & 1 ? p[i] : (uint32_t)p[i] << 8;
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return sum;
}

/* Of the pseudo header, not complemented. */
static uint32_t pseudo(const uint8_t *buf, size_t size)
{
	bool v4 = buf[14] >> 4 == 4;
	size_t l4 = v4 ? 34 : 54;
	uint8_t tail[4] = {0, v4 ? buf[23] : buf[20]};

	put16(tail + 2, size - l4);
	uint32_t sum = add_up(buf + (v4 ? 26 : 22), v4 ? 8 : 32) + add_up(tail, 4);
	return (sum & 0xffff) + (sum >> 16);
}

static uint8_t *field(uint8_t *buf)
{
	bool v4 = buf[14] >> 4 == 4;
	bool tcp = buf[v4 ? 23 : 20] == IPPROTO_TCP;

	return buf + (v4 ? 34 : 54) + (tcp ? 16 : 6);
}

bool rig_packet_good(const uint8_t *buf, size_t size)
{
	size_t l4 = buf[14] >> 4 == 4 ? 34 : 54;
	uint32_t sum = pseudo(buf, size) + add_up(buf + l4, size - l4);

	return (sum & 0xffff) + (sum >> 16) == 0xffff;
}

void rig_packet_blank(uint8_t *buf, size_t size)
{
	put16(field(buf), pseudo(buf, size));
}

size_t rig_packet(uint8_t *buf, unsigned int version, unsigned int proto, size_t payload)
{
	size_t l4 = version == 4 ? 34 : 54, header = proto == IPPROTO_TCP ? 20 : 8;
	size_t size = l4 + header + payload;

	memset(buf, 0, l4 + header);
	memcpy(buf, "\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x02", 12);
	put16(buf + 12, version == 4 ? 0x0800 : 0x86dd);
	if (version == 4) {
		buf[14] = 0x45;
		put16(buf + 16, size - 14);
		buf[22] = 64;
		buf[23] = (uint8_t)proto;
		memcpy(buf + 26, "\x0a\x00\x00\x01\x0a\x00\x00\x02", 8);
		put16(buf + 24, ~add_up(buf + 14, 20) & 0xffff);
	} else {
		buf[14] = 0x60;
		put16(buf + 18, size - 54);
		buf[20] = (uint8_t)proto;
		buf[21] = 64;
		buf[22] = buf[38] = 0xfd;
		buf[37] = 1;
		buf[53] = 2;
	}
	put16(buf + l4, 1000);
	put16(buf + l4 + 2, 2000);
	if (proto == IPPROTO_TCP)
		buf[l4 + 12] = 0x50;
	else
		put16(buf + l4 + 4, 8 + payload);
	for (size_t i = 0; i < payload; i++)
		buf[l4 + header + i] = (uint8_t)(i * 7 + i / 251);
	put16(field(buf), 0);
	uint32_t sum = pseudo(buf, size) + add_up(buf + l4, size - l4);
	sum = (sum & 0xffff) + (sum >> 16);
	put16(field(buf), ~sum & 0xffff);
	assert_true(get16(field(buf)) != 0);
	return size;
}
