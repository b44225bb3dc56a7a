/* SPDX-License-Identifier: MIT */
/* Frames to the guest. */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"

static uint8_t packet[70000];
static struct rig_frame frame;

static void make(size_t size)
{
	for (size_t i = 0; i < size; i++)
		packet[i] = (uint8_t)(i * 11 + i / 253 + size);
}

/* Every size around the limits of pages, with and without the gap for extra information. */
static void all_sizes(void **state)
{
	static const size_t sizes[] = {14,   60,   1514,  4095,	 4096,	4097,
				       8192, 9014, 32768, 65535, 65536, NET_FRAME_MAX};
	struct net_stats s;

	for (int offload = 0; offload < 2; offload++) {
		struct rig r;
		uint64_t bytes = 0;

		rig_start(&r, offload);
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			make(sizes[i]);
			mock_link_put(r.link, 0, NULL, packet, sizes[i]);
			rig_until(&r, rig_receive(&r, 0, &frame));
			assert_int_equal(frame.size, sizes[i]);
			assert_memory_equal(frame.data, packet, sizes[i]);
			assert_int_equal(frame.slots, (sizes[i] + 4095) / 4096);
			assert_int_equal(frame.gso_type, 0);
			bytes += sizes[i];
		}
		net_vif_stats(r.vif, &s);
		assert_int_equal(s.rx_packets, sizeof(sizes) / sizeof(sizes[0]));
		assert_int_equal(s.rx_bytes, bytes);
		assert_int_equal(s.rx_dropped, 0);
		rig_stop(&r);
	}
}

static void large_frames_say_how_to_cut(void **state)
{
	static const size_t sizes[] = {2000, 4096, 4097, 30000, 65550};
	struct rig r;

	rig_start(&r, true);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		for (int v6 = 0; v6 < 2; v6++) {
			struct virtio_net_hdr hdr = {
				.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
				.gso_type =
					v6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4,
				.gso_size = 1448,
				.csum_start = v6 ? 54 : 34,
				.csum_offset = 16,
			};

			make(sizes[i]);
			mock_link_put(r.link, 0, &hdr, packet, sizes[i]);
			rig_until(&r, rig_receive(&r, 0, &frame));
			assert_int_equal(frame.size, sizes[i]);
			assert_memory_equal(frame.data, packet, sizes[i]);
			assert_int_equal(frame.slots, (sizes[i] + 4095) / 4096 + 1);
			assert_int_equal(frame.gso_size, 1448);
			assert_int_equal(frame.gso_type,
					 v6 ? XEN_NETIF_GSO_TYPE_TCPV6 : XEN_NETIF_GSO_TYPE_TCPV4);
			assert_true(frame.flags & NETRXF_csum_blank);
		}
	}
	rig_stop(&r);
}

static void checksums(void **state)
{
	struct virtio_net_hdr hdr = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM};
	struct virtio_net_hdr valid = {.flags = VIRTIO_NET_HDR_F_DATA_VALID};

	/* csum6: whether the guest makes checksums of IPv6. */
	for (int csum6 = 0; csum6 < 2; csum6++) {
		for (int v = 4; v <= 6; v += 2) {
			struct rig r;

			rig_init(&r);
			rig_vif(&r, 1, true, NULL);
			rig_make_rings(&r);
			rig_features(&r);
			rig_front_write(&r, "feature-ipv6-csum-offload", "%d", csum6);
			rig_front_state(&r, XenbusStateConnected);
			rig_offer(&r, 0, RIG_RX, 40);
			rig_until(&r, rig_back_state(&r) == XenbusStateConnected);
			size_t n = rig_packet(packet, (unsigned)v, IPPROTO_UDP, 6000);
			rig_packet_blank(packet, n);
			hdr.csum_start = v == 4 ? 34 : 54;
			hdr.csum_offset = 6;
			mock_link_put(r.link, 0, &hdr, packet, n);
			rig_until(&r, rig_receive(&r, 0, &frame));
			assert_int_equal(frame.size, n);
			bool left = v == 4 || csum6;
			assert_int_equal(frame.flags, NETRXF_data_validated | NETRXF_more_data |
							      (left ? NETRXF_csum_blank : 0));
			assert_int_equal(rig_packet_good(frame.data, n), !left);
			mock_link_put(r.link, 0, &valid, packet, 100);
			rig_until(&r, rig_receive(&r, 0, &frame));
			assert_int_equal(frame.flags, NETRXF_data_validated);
			mock_link_put(r.link, 0, NULL, packet, 100);
			rig_until(&r, rig_receive(&r, 0, &frame));
			assert_int_equal(frame.flags, 0);
			rig_stop(&r);
		}
	}
}

/* What the guest cannot be given is dropped, and the next frame is whole. */
static void drops(void **state)
{
	static const struct virtio_net_hdr bad[] = {
		{.gso_type = VIRTIO_NET_HDR_GSO_UDP, .gso_size = 1000},
		{.gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 0},
		{.gso_type = 77},
		{.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 9000, .csum_offset = 16},
		{.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 2999, .csum_offset = 0},
	};
	struct net_stats s;
	struct rig r;

	rig_start(&r, true);
	make(sizeof(packet));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		mock_link_put(r.link, 0, &bad[i], packet, 3000);
	mock_link_put(r.link, 0, NULL, packet, 13);
	mock_link_put(r.link, 0, NULL, packet, 70000);
	mock_link_put(r.link, 0, NULL, packet, 5000);
	rig_until(&r, rig_receive(&r, 0, &frame));
	assert_int_equal(frame.size, 5000);
	assert_memory_equal(frame.data, packet, 5000);
	net_vif_stats(r.vif, &s);
	assert_int_equal(s.rx_dropped, 7);
	assert_int_equal(s.rx_packets, 1);
	rig_stop(&r);
}

static void a_guest_without_sg_gets_single_pages(void **state)
{
	struct virtio_net_hdr gso = {.gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 1000};
	struct net_stats s;
	struct rig r;

	rig_init(&r);
	rig_vif(&r, 1, true, NULL);
	rig_make_rings(&r);
	rig_features(&r);
	rig_front_write(&r, "feature-sg", "0");
	rig_front_state(&r, XenbusStateConnected);
	rig_offer(&r, 0, RIG_RX, 2);
	rig_until(&r, rig_back_state(&r) == XenbusStateConnected);
	make(5000);
	mock_link_put(r.link, 0, NULL, packet, 5000);
	mock_link_put(r.link, 0, &gso, packet, 3000);
	mock_link_put(r.link, 0, NULL, packet, 4096);
	mock_link_put(r.link, 0, NULL, packet, 1514);
	rig_until(&r, rig_receive(&r, 0, &frame));
	assert_int_equal(frame.size, 4096);
	rig_until(&r, rig_receive(&r, 0, &frame));
	assert_int_equal(frame.size, 1514);
	net_vif_stats(r.vif, &s);
	assert_int_equal(s.rx_dropped, 2);
	rig_stop(&r);
}

/* Without pages to receive into, frames stay in the link and nobody turns in circles. */
static void waits_for_pages(void **state)
{
	for (int split = 0; split < 2; split++) {
		struct rig r;

		rig_init(&r);
		r.split = split;
		rig_vif(&r, 1, true, NULL);
		rig_connect(&r);
		rig_offer(&r, 0, RIG_RX, NET_RX_SLOTS - 1);
		make(100);
		mock_link_put(r.link, 0, NULL, packet, 100);
		rig_run(&r);
		unsigned int reads = r.link->reads;
		rig_run(&r);
		assert_int_equal(r.link->reads, reads);
		assert_false(rig_receive(&r, 0, &frame));
		rig_offer(&r, 0, RIG_RX + NET_RX_SLOTS - 1, 1);
		rig_until(&r, rig_receive(&r, 0, &frame));
		assert_int_equal(frame.size, 100);
		/* Used up one at a time: each page that comes back makes room for a frame. */
		for (unsigned int i = 0; i < 300; i++) {
			make(100 + i);
			mock_link_put(r.link, 0, NULL, packet, 100 + i);
			rig_until(&r, rig_receive(&r, 0, &frame));
			assert_int_equal(frame.size, 100 + i);
			assert_memory_equal(frame.data, packet, 100 + i);
		}
		rig_stop(&r);
	}
}

/* A front end that does not tell of the pages it offers is asked. */
static void asks_who_does_not_notify(void **state)
{
	struct rig r;

	rig_init(&r);
	rig_vif(&r, 1, true, NULL);
	rig_make_rings(&r);
	rig_features(&r);
	rig_front_write(&r, "feature-rx-notify", "0");
	rig_front_state(&r, XenbusStateConnected);
	rig_until(&r, rig_back_state(&r) == XenbusStateConnected);
	make(100);
	mock_link_put(r.link, 0, NULL, packet, 100);
	rig_run(&r);
	struct netif_rx_sring *ring = fake_page(r.guest, r.q[0].rx_page);
	ring->req_event = 1000; /* so that the rig raises nothing */
	rig_offer(&r, 0, RIG_RX, 40);
	rig_until(&r, rig_receive(&r, 0, &frame));
	rig_stop(&r);
}

static void in_order_and_all(void **state)
{
	unsigned int put = 0, got = 0;
	struct rig r;

	rig_start(&r, true);
	srand(7);
	while (got < 3000) {
		while (put < 3000 && r.link->nr_waiting[0] < 100) {
			size_t size = 14 + (size_t)rand() % (rand() % 8 ? 1500 : 65000);

			make(size);
			memcpy(packet, &put, sizeof(put));
			mock_link_put(r.link, 0, NULL, packet, size);
			put++;
		}
		rig_step(&r);
		while (rig_receive(&r, 0, &frame)) {
			assert_memory_equal(frame.data, &got, sizeof(got));
			make(frame.size);
			memcpy(packet, &got, sizeof(got));
			assert_memory_equal(frame.data, packet, frame.size);
			got++;
		}
	}
	rig_stop(&r);
}

/* The guest learns that a page was written before it learns of the frame. */
static void pages_are_reported_written(void **state)
{
	struct rig r;

	rig_start(&r, true);
	uint64_t before = fake_pages_written(r.guest);
	make(9000);
	mock_link_put(r.link, 0, NULL, packet, 9000);
	rig_until(&r, rig_receive(&r, 0, &frame));
	assert_true(fake_pages_written(r.guest) >= before + 3);
	rig_stop(&r);
}

static void few_events(void **state)
{
	struct rig r;

	rig_start(&r, true);
	rig_offer(&r, 0, RIG_RX + 64, 150);
	rig_run(&r);
	struct netif_rx_sring *ring = fake_page(r.guest, r.q[0].rx_page);
	uint64_t before = fake_events(r.guest, RIG_PORT);
	ring->rsp_event = 100;
	make(100);
	for (unsigned int i = 0; i < 90; i++)
		mock_link_put(r.link, 0, NULL, packet, 100);
	rig_until(&r, ring->rsp_prod == 90);
	assert_int_equal(fake_events(r.guest, RIG_PORT), before);
	for (unsigned int i = 0; i < 90; i++)
		mock_link_put(r.link, 0, NULL, packet, 100);
	rig_until(&r, ring->rsp_prod == 180);
	assert_int_equal(fake_events(r.guest, RIG_PORT), before + 1);
	rig_stop(&r);
}

static void a_lost_link(void **state)
{
	struct rig r;

	rig_start(&r, true);
	make(100);
	r.link->fail_recv = EPIPE;
	mock_link_put(r.link, 0, NULL, packet, 100);
	rig_until(&r, r.link_errors == 1);
	unsigned int reads = r.link->reads;
	rig_run(&r);
	assert_int_equal(r.link->reads, reads);
	assert_int_equal(r.link_errors, 1);
	assert_int_equal(rig_back_number(&r, "carrier"), 0);
	assert_int_equal(rig_back_state(&r), XenbusStateConnected);
	/* The guest may come and go as it likes. */
	rig_front_state(&r, XenbusStateClosed);
	rig_until(&r, rig_back_state(&r) == XenbusStateClosed);
	rig_front_state(&r, XenbusStateInitialising);
	rig_connect(&r);
	rig_stop(&r);
}

static void queues(void **state)
{
	struct rig r;

	rig_init(&r);
	r.nr_queues = 3;
	rig_vif(&r, 4, true, NULL);
	rig_connect(&r);
	for (unsigned int q = 0; q < 3; q++)
		rig_offer(&r, q, RIG_RX + q * 64, 64);
	for (unsigned int i = 0; i < 60; i++) {
		unsigned int q = i % 3;

		make(100 + i);
		mock_link_put(r.link, q, NULL, packet, 100 + i);
		rig_until(&r, rig_receive(&r, q, &frame));
		assert_int_equal(frame.size, 100 + i);
		assert_memory_equal(frame.data, packet, 100 + i);
	}
	rig_stop(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_sizes),
		cmocka_unit_test(large_frames_say_how_to_cut),
		cmocka_unit_test(checksums),
		cmocka_unit_test(drops),
		cmocka_unit_test(a_guest_without_sg_gets_single_pages),
		cmocka_unit_test(waits_for_pages),
		cmocka_unit_test(asks_who_does_not_notify),
		cmocka_unit_test(in_order_and_all),
		cmocka_unit_test(pages_are_reported_written),
		cmocka_unit_test(few_events),
		cmocka_unit_test(a_lost_link),
		cmocka_unit_test(queues),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
