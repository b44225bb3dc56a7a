/* SPDX-License-Identifier: MIT */
/* Packets from the guest. */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"

static uint8_t packet[70000];

static void fill(struct rig *r, unsigned int pfn, const uint8_t *data, size_t size)
{
	for (size_t at = 0; at < size; at += 4096)
		memcpy(fake_page(r->guest, pfn + at / 4096), data + at,
		       size - at < 4096 ? size - at : 4096);
}

/* Put a packet on the ring in slots of `piece` bytes from pages at `pfn`; ids count from 0. */
static unsigned int queue_pieces(struct rig *r, const uint8_t *data, size_t size, size_t piece,
				 unsigned int flags, unsigned int gso_type, unsigned int gso_size)
{
	unsigned int n = 0;

	for (size_t at = 0; at < size; n++) {
		size_t len = size - at < piece ? size - at : piece;
		unsigned int more = at + len < size ? NETTXF_more_data : 0;
		unsigned int offset = (unsigned int)(4096 - len) / 2;

		memcpy((uint8_t *)fake_page(r->guest, RIG_DATA + n) + offset, data + at, len);
		rig_tx(r, 0, RIG_DATA + n, offset, (unsigned int)(n ? len : size),
		       (n ? 0 : flags) | more, n);
		if (!n && flags & NETTXF_extra_info)
			rig_tx_gso(r, 0, gso_type, gso_size);
		at += len;
	}
	return n;
}

static void expect_responses(struct rig *r, unsigned int n, bool extra, int status)
{
	struct netif_tx_response rsp;

	for (unsigned int i = 0; i < n; i++) {
		rig_until(r, rig_tx_poll(r, 0, &rsp));
		assert_int_equal(rsp.id, i);
		assert_int_equal(rsp.status, status);
		if (i == 0 && extra) {
			rig_until(r, rig_tx_poll(r, 0, &rsp));
			assert_int_equal(rsp.status, NETIF_RSP_NULL);
		}
	}
	rig_run(r);
	assert_false(rig_tx_poll(r, 0, &rsp));
	for (unsigned int i = 0; i < n; i++)
		assert_int_equal(fake_grant_maps(r->guest, RIG_DATA + i), 0);
}

static void one_slot(void **state)
{
	struct net_stats s;
	struct rig r;

	rig_start(&r, true);
	for (unsigned int size = 14; size <= 1514; size += 100) {
		for (unsigned int i = 0; i < size; i++)
			packet[i] = (uint8_t)(i * 3 + size);
		fill(&r, RIG_DATA, packet, size);
		mock_link_clear(r.link);
		assert_int_equal(rig_send(&r, RIG_DATA, size, 0), NETIF_RSP_OKAY);
		assert_int_equal(r.link->nr_sent, 1);
		assert_int_equal(r.link->sent[0].size, size);
		assert_memory_equal(r.link->sent[0].data, packet, size);
		assert_int_equal(r.link->sent[0].hdr.flags, 0);
		assert_int_equal(r.link->sent[0].hdr.gso_type, 0);
	}
	net_vif_stats(r.vif, &s);
	assert_int_equal(s.tx_packets, 16);
	assert_int_equal(s.tx_bytes, 16 * 14 + 100 * 120);
	assert_int_equal(s.tx_errors + s.tx_dropped, 0);
	rig_stop(&r);
}

static void many_slots(void **state)
{
	static const size_t pieces[] = {1, 7, 100, 255, 256, 257, 1000, 4096};
	struct rig r;

	rig_start(&r, true);
	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		size_t size = pieces[i] * 17 + 1 > 65535 ? 65535 : pieces[i] * 17 + 1;

		for (size_t k = 0; k < size; k++)
			packet[k] = (uint8_t)(k * 5 + k / 256);
		mock_link_clear(r.link);
		unsigned int n = queue_pieces(&r, packet, size, pieces[i], 0, 0, 0);
		rig_tx_push(&r, 0);
		expect_responses(&r, n, false, NETIF_RSP_OKAY);
		assert_int_equal(r.link->nr_sent, 1);
		assert_int_equal(r.link->sent[0].size, size);
		assert_memory_equal(r.link->sent[0].data, packet, size);
	}
	rig_stop(&r);
}

static void checksum_is_left_to_a_link_that_can(void **state)
{
	struct rig r;

	rig_start(&r, true);
	for (int v = 4; v <= 6; v += 2) {
		for (int udp = 0; udp < 2; udp++) {
			size_t n = rig_packet(packet, (unsigned)v, udp ? IPPROTO_UDP : IPPROTO_TCP,
					      900);

			rig_packet_blank(packet, n);
			fill(&r, RIG_DATA, packet, n);
			mock_link_clear(r.link);
			assert_int_equal(rig_send(&r, RIG_DATA, (unsigned)n,
						  NETTXF_csum_blank | NETTXF_data_validated),
					 NETIF_RSP_OKAY);
			struct mock_frame *f = &r.link->sent[0];
			assert_int_equal(f->hdr.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
			assert_int_equal(f->hdr.csum_start, v == 4 ? 34 : 54);
			assert_int_equal(f->hdr.csum_offset, udp ? 6 : 16);
			assert_memory_equal(f->data, packet, n);
		}
	}
	rig_stop(&r);
}

static void checksum_is_made_for_a_link_that_cannot(void **state)
{
	struct rig r;

	rig_start(&r, false);
	for (int v = 4; v <= 6; v += 2) {
		for (size_t payload = 1; payload < 9000; payload = payload * 3 + 1) {
			size_t n = rig_packet(packet, (unsigned)v, IPPROTO_TCP, payload);

			rig_packet_blank(packet, n);
			mock_link_clear(r.link);
			unsigned int slots =
				queue_pieces(&r, packet, n, 1001, NETTXF_csum_blank, 0, 0);
			rig_tx_push(&r, 0);
			expect_responses(&r, slots, false, NETIF_RSP_OKAY);
			assert_int_equal(r.link->sent[0].hdr.flags, 0);
			assert_true(rig_packet_good(r.link->sent[0].data, n));
		}
	}
	rig_stop(&r);
}

static void large_packets_are_left_whole(void **state)
{
	struct rig r;

	rig_start(&r, true);
	for (int v = 4; v <= 6; v += 2) {
		size_t n = rig_packet(packet, (unsigned)v, IPPROTO_TCP, 60000);

		rig_packet_blank(packet, n);
		mock_link_clear(r.link);
		unsigned int slots = queue_pieces(
			&r, packet, n, 4096, NETTXF_csum_blank | NETTXF_extra_info,
			v == 4 ? XEN_NETIF_GSO_TYPE_TCPV4 : XEN_NETIF_GSO_TYPE_TCPV6, 1448);
		rig_tx_push(&r, 0);
		expect_responses(&r, slots, true, NETIF_RSP_OKAY);
		struct mock_frame *f = &r.link->sent[0];
		assert_int_equal(f->size, n);
		assert_memory_equal(f->data, packet, n);
		assert_int_equal(f->hdr.gso_type,
				 v == 4 ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6);
		assert_int_equal(f->hdr.gso_size, 1448);
		assert_int_equal(f->hdr.hdr_len, v == 4 ? 54 : 74);
		assert_int_equal(f->hdr.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
	}
	/* One that needs no cutting is sent as it is. */
	size_t n = rig_packet(packet, 4, IPPROTO_TCP, 1000);
	mock_link_clear(r.link);
	unsigned int slots = queue_pieces(&r, packet, n, 4096, NETTXF_extra_info,
					  XEN_NETIF_GSO_TYPE_TCPV4, 1448);
	rig_tx_push(&r, 0);
	expect_responses(&r, slots, true, NETIF_RSP_OKAY);
	assert_int_equal(r.link->sent[0].hdr.gso_type, VIRTIO_NET_HDR_GSO_NONE);
	rig_stop(&r);
}

/* Bad packets that harm nobody: an error each, and the next one passes. */
static void bad_packets(void **state)
{
	struct netif_tx_response rsp;
	struct net_stats s;
	struct rig r;
	size_t n;

	rig_start(&r, true);
	assert_int_equal(rig_send(&r, RIG_DATA, 13, 0), NETIF_RSP_ERROR);
	assert_int_equal(rig_send(&r, RIG_DATA, 0, 0), NETIF_RSP_ERROR);
	assert_int_equal(rig_send(&r, 5000, 100, 0), NETIF_RSP_ERROR); /* no such grant */
	assert_int_equal(rig_send(&r, ~0u, 100, 0), NETIF_RSP_ERROR);
	/* A checksum to be made of what has none. */
	memset(fake_page(r.guest, RIG_DATA), 0xaa, 4096);
	assert_int_equal(rig_send(&r, RIG_DATA, 1000, NETTXF_csum_blank), NETIF_RSP_ERROR);
	/* The pieces are larger than the whole. */
	rig_tx(&r, 0, RIG_DATA, 0, 100, NETTXF_more_data, 0);
	rig_tx(&r, 0, RIG_DATA + 1, 0, 101, 0, 1);
	rig_tx_push(&r, 0);
	expect_responses(&r, 2, false, NETIF_RSP_ERROR);
	/* The second page is not granted: the first is given back. */
	rig_tx(&r, 0, RIG_DATA, 0, 200, NETTXF_more_data, 0);
	rig_tx(&r, 0, 5000, 0, 100, 0, 1);
	rig_tx_push(&r, 0);
	rig_until(&r, rig_tx_poll(&r, 0, &rsp));
	assert_int_equal(rsp.status, NETIF_RSP_ERROR);
	rig_until(&r, rig_tx_poll(&r, 0, &rsp));
	assert_int_equal(fake_grant_maps(r.guest, RIG_DATA), 0);
	/* More slots than a packet may have, but not absurdly many. */
	for (unsigned int i = 0; i < NET_TX_SLOTS + 1; i++)
		rig_tx(&r, 0, RIG_DATA + i, 0, i ? 10 : 10 * (NET_TX_SLOTS + 1),
		       i < NET_TX_SLOTS ? NETTXF_more_data : 0, i);
	rig_tx_push(&r, 0);
	expect_responses(&r, NET_TX_SLOTS + 1, false, NETIF_RSP_ERROR);
	/* To be cut as what it is not. */
	n = rig_packet(packet, 6, IPPROTO_TCP, 3000);
	n = queue_pieces(&r, packet, n, 4096, NETTXF_extra_info, XEN_NETIF_GSO_TYPE_TCPV4, 1000);
	rig_tx_push(&r, 0);
	expect_responses(&r, (unsigned)n, true, NETIF_RSP_ERROR);
	n = rig_packet(packet, 4, IPPROTO_UDP, 3000);
	n = queue_pieces(&r, packet, n, 4096, NETTXF_extra_info, XEN_NETIF_GSO_TYPE_TCPV4, 1000);
	rig_tx_push(&r, 0);
	expect_responses(&r, (unsigned)n, true, NETIF_RSP_ERROR);
	/* To be cut into crumbs: sixty thousand packets of the host's for one of the guest's. */
	n = rig_packet(packet, 4, IPPROTO_TCP, 3000);
	n = queue_pieces(&r, packet, n, 4096, NETTXF_extra_info, XEN_NETIF_GSO_TYPE_TCPV4, 47);
	rig_tx_push(&r, 0);
	expect_responses(&r, (unsigned)n, true, NETIF_RSP_ERROR);
	n = rig_packet(packet, 4, IPPROTO_TCP, 3000);
	n = queue_pieces(&r, packet, n, 4096, NETTXF_extra_info, 77, 1000);
	rig_tx_push(&r, 0);
	expect_responses(&r, (unsigned)n, true, NETIF_RSP_ERROR);

	assert_int_equal(r.link->nr_sent, 0);
	net_vif_stats(r.vif, &s);
	assert_int_equal(s.tx_errors, 12);
	assert_int_equal(s.tx_packets, 0);
	assert_int_equal(rig_send(&r, RIG_DATA, 100, 0), NETIF_RSP_OKAY);
	assert_int_equal(r.guest_errors, 0);
	rig_stop(&r);
}

static void large_packets_need_a_link_that_cuts(void **state)
{
	struct rig r;

	rig_start(&r, false);
	size_t n = rig_packet(packet, 4, IPPROTO_TCP, 3000);
	n = queue_pieces(&r, packet, n, 4096, NETTXF_extra_info, XEN_NETIF_GSO_TYPE_TCPV4, 1000);
	rig_tx_push(&r, 0);
	expect_responses(&r, (unsigned)n, true, NETIF_RSP_ERROR);
	rig_stop(&r);
}

/* A link without room: the packet waits, nothing is lost, nothing is done meanwhile. */
static void waits_for_room(void **state)
{
	struct netif_tx_response rsp;
	struct rig r;

	rig_start(&r, true);
	r.link->room = 3;
	for (unsigned int i = 0; i < 10; i++)
		rig_tx(&r, 0, RIG_DATA + i, 0, 100 + i, 0, i);
	rig_tx_push(&r, 0);
	rig_run(&r);
	assert_int_equal(r.link->nr_sent, 3);
	for (unsigned int i = 0; i < 3; i++)
		assert_true(rig_tx_poll(&r, 0, &rsp));
	assert_false(rig_tx_poll(&r, 0, &rsp));
	assert_int_equal(fake_grant_maps(r.guest, RIG_DATA + 3), 1);
	r.link->room = 100; /* an eventfd is always writable: the next round sees it */
	rig_until(&r, r.link->nr_sent == 10);
	for (unsigned int i = 3; i < 10; i++) {
		rig_until(&r, rig_tx_poll(&r, 0, &rsp));
		assert_int_equal(rsp.id, i);
		assert_int_equal(r.link->sent[i].size, 100 + i);
	}
	rig_stop(&r);
}

static void ends_while_it_waits(void **state)
{
	struct rig r;

	rig_start(&r, true);
	r.link->room = 0;
	rig_tx(&r, 0, RIG_DATA, 0, 100, 0, 0);
	rig_tx_push(&r, 0);
	rig_run(&r);
	assert_int_equal(fake_grant_maps(r.guest, RIG_DATA), 1);
	rig_front_state(&r, XenbusStateClosed);
	rig_until(&r, rig_back_state(&r) == XenbusStateClosed);
	assert_int_equal(fake_grant_maps(r.guest, RIG_DATA), 0);
	rig_stop(&r);
}

static void drops_what_the_host_refuses(void **state)
{
	struct net_stats s;
	struct rig r;

	rig_start(&r, true);
	r.link->fail_send = EIO; /* an interface that is down */
	assert_int_equal(rig_send(&r, RIG_DATA, 100, 0), NETIF_RSP_DROPPED);
	assert_int_equal(r.link_errors, 0);
	r.link->fail_send = 0;
	assert_int_equal(rig_send(&r, RIG_DATA, 100, 0), NETIF_RSP_OKAY);
	r.link->fail_send = EPIPE; /* one that is gone */
	assert_int_equal(rig_send(&r, RIG_DATA, 100, 0), NETIF_RSP_DROPPED);
	assert_int_equal(r.link_errors, 1);
	assert_int_equal(rig_send(&r, RIG_DATA, 100, 0), NETIF_RSP_DROPPED);
	assert_int_equal(r.link_errors, 1);
	net_vif_stats(r.vif, &s);
	assert_int_equal(s.tx_dropped, 3);
	assert_int_equal(s.tx_packets, 1);
	rig_stop(&r);
}

/* Notifications: none that was not asked for. */
static void few_events(void **state)
{
	struct netif_tx_response rsp;
	struct rig r;

	rig_start(&r, true);
	struct netif_tx_sring *ring = fake_page(r.guest, r.q[0].tx_page);
	uint64_t before = fake_events(r.guest, RIG_PORT);
	ring->rsp_event = 200;
	for (unsigned int i = 0; i < 150; i++)
		rig_tx(&r, 0, RIG_DATA, 0, 100, 0, i);
	rig_tx_push(&r, 0);
	rig_until(&r, ring->rsp_prod == 150);
	assert_int_equal(fake_events(r.guest, RIG_PORT), before);
	for (unsigned int i = 0; i < 150; i++)
		assert_true(rig_tx_poll(&r, 0, &rsp));
	ring->rsp_event = 200;
	for (unsigned int i = 0; i < 100; i++)
		rig_tx(&r, 0, RIG_DATA, 0, 100, 0, i);
	rig_tx_push(&r, 0);
	rig_until(&r, ring->rsp_prod == 250);
	assert_int_equal(fake_events(r.guest, RIG_PORT), before + 1);
	rig_stop(&r);
}

/* Several queues under load each get their turn: no run serves one to the end. */
static void queues_take_turns(void **state)
{
	struct rig r;

	rig_init(&r);
	r.nr_queues = 4;
	r.split = true;
	rig_vif(&r, 4, true, NULL);
	rig_connect(&r);
	for (unsigned int q = 0; q < 4; q++) {
		for (unsigned int i = 0; i < 250; i++)
			rig_tx(&r, q, RIG_DATA, 0, 1000, 0, i);
		rig_tx_push(&r, q);
	}
	rig_until(&r, r.link->sent_ever == 1000);
	unsigned int first[4] = {0};
	for (unsigned int i = 0; i < MOCK_FRAMES; i++)
		first[r.link->sent[i].queue]++;
	for (unsigned int q = 0; q < 4; q++)
		assert_in_range(first[q], 64, 192);
	rig_stop(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_slot),
		cmocka_unit_test(many_slots),
		cmocka_unit_test(checksum_is_left_to_a_link_that_can),
		cmocka_unit_test(checksum_is_made_for_a_link_that_cannot),
		cmocka_unit_test(large_packets_are_left_whole),
		cmocka_unit_test(bad_packets),
		cmocka_unit_test(large_packets_need_a_link_that_cuts),
		cmocka_unit_test(waits_for_room),
		cmocka_unit_test(ends_while_it_waits),
		cmocka_unit_test(drops_what_the_host_refuses),
		cmocka_unit_test(few_events),
		cmocka_unit_test(queues_take_turns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
