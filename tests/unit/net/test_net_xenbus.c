/* SPDX-License-Identifier: MIT */
/* The interface in xenstore: what is offered, how a front end connects, closes and comes again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"

static void offers_what_it_can(void **state)
{
	struct rig r;
	char text[64];

	rig_init(&r);
	r.params.mtu = 9000;
	r.params.bridge = "br0";
	rig_vif(&r, 4, true, NULL);
	rig_until(&r, rig_back_state(&r) == XenbusStateInitWait);
	assert_int_equal(rig_back_number(&r, "feature-sg"), 1);
	assert_int_equal(rig_back_number(&r, "feature-rx-copy"), 1);
	assert_int_equal(rig_back_number(&r, "feature-gso-tcpv4"), 1);
	assert_int_equal(rig_back_number(&r, "feature-gso-tcpv6"), 1);
	assert_int_equal(rig_back_number(&r, "feature-ipv6-csum-offload"), 1);
	assert_int_equal(rig_back_number(&r, "feature-split-event-channels"), 1);
	assert_int_equal(rig_back_number(&r, "multi-queue-max-queues"), 4);
	assert_int_equal(rig_back_number(&r, "feature-ctrl-ring"), 0);
	assert_int_equal(xs_get_str(r.store, RIG_FRONT, "mac", text, sizeof(text)), 0);
	assert_string_equal(text, "00:16:3e:01:02:03");
	assert_int_equal(xs_get_str(r.store, RIG_FRONT, "mtu", text, sizeof(text)), 0);
	assert_string_equal(text, "9000");
	assert_int_equal(xs_get_str(r.store, RIG_BACK, "bridge", text, sizeof(text)), 0);
	assert_int_equal(xs_get_str(r.store, RIG_FRONT, "backend", text, sizeof(text)), 0);
	assert_string_equal(text, RIG_BACK);
	rig_stop(&r);
	assert_true(r.link_freed);
}

static void offers_no_more_than_the_link_has(void **state)
{
	struct rig r;

	rig_init(&r);
	r.params.max_queues = 2;
	rig_vif(&r, 4, false, NULL);
	assert_int_equal(rig_back_number(&r, "feature-gso-tcpv4"), 0);
	assert_int_equal(rig_back_number(&r, "feature-gso-tcpv6"), 0);
	assert_int_equal(rig_back_number(&r, "multi-queue-max-queues"), 2);
	assert_false(xs_exists(r.store, RIG_FRONT "/mtu"));
	rig_stop(&r);
}

static void leaves_nothing_behind(void **state)
{
	struct rig r;

	rig_start(&r, true);
	assert_int_equal(r.link->queues, 1);
	net_vif_free(r.vif);
	assert_true(r.link_freed);
	assert_false(xs_exists(r.store, RIG_FRONT));
	assert_false(xs_exists(r.store, RIG_BACK));
	assert_false(xs_exists(r.store, RIG_ERROR));
	rig_fini(&r); /* asserts that nothing is mapped or bound */
}

static void connects(void **state)
{
	struct rig r;

	rig_start(&r, true);
	assert_int_equal(r.connects, 1);
	assert_int_equal(r.link->queues, 1);
	assert_true(r.link->offload.csum && r.link->offload.tso4 && r.link->offload.tso6);
	assert_true(fake_bound(r.guest, RIG_PORT));
	rig_stop(&r);
}

static void tells_the_link_what_the_guest_takes(void **state)
{
	static const struct {
		const char *name, *value;
		bool csum, tso4, tso6;
	} cases[] = {
		{"feature-gso-tcpv4", "0", true, false, true},
		{"feature-gso-tcpv6", "0", true, true, false},
		{"feature-ipv6-csum-offload", "0", true, true, false},
		{"feature-no-csum-offload", "1", false, false, true},
		{"feature-sg", "0", true, false, false},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct rig r;

		rig_init(&r);
		rig_vif(&r, 1, true, NULL);
		rig_make_rings(&r);
		rig_features(&r);
		rig_front_write(&r, cases[i].name, "%s", cases[i].value);
		rig_front_state(&r, XenbusStateConnected);
		rig_until(&r, rig_back_state(&r) == XenbusStateConnected);
		assert_int_equal(r.link->offload.csum, cases[i].csum);
		assert_int_equal(r.link->offload.tso4, cases[i].tso4);
		assert_int_equal(r.link->offload.tso6, cases[i].tso6);
		rig_stop(&r);
	}
}

static void connects_with_queues(void **state)
{
	struct rig r;

	for (unsigned int n = 1; n <= 4; n++) {
		for (int split = 0; split < 2; split++) {
			rig_init(&r);
			r.nr_queues = n;
			r.split = split;
			rig_vif(&r, 4, true, NULL);
			rig_connect(&r);
			assert_int_equal(r.link->queues, n);
			for (unsigned int i = 0; i < 4; i++) {
				assert_int_equal(fake_bound(r.guest, RIG_PORT + i * 2), i < n);
				assert_int_equal(fake_bound(r.guest, RIG_PORT + i * 2 + 1),
						 i < n && split);
			}
			rig_stop(&r);
		}
	}
}

/* A sentence for each way to be wrong, and a way back. */
static void refuses_nonsense(void **state)
{
	static const struct {
		const char *name, *value, *why;
	} cases[] = {
		{"request-rx-copy", "0", "request-rx-copy"},
		{"request-rx-copy", "yes", "request-rx-copy"},
		{"tx-ring-ref", "", "tx-ring-ref"},
		{"tx-ring-ref", "9999", "not granted"},
		{"rx-ring-ref", "-1", "rx-ring-ref"},
		{"rx-ring-ref", "4294967296", "rx-ring-ref"},
		{"event-channel", "x", "event-channel"},
		{"event-channel", "100000", "event channel"},
		{"event-channel-tx", "7", "event-channel-rx"},
		{"multi-queue-num-queues", "0", "multi-queue-num-queues"},
		{"multi-queue-num-queues", "5", "multi-queue-num-queues"},
		{"multi-queue-num-queues", "two", "multi-queue-num-queues"},
		{"multi-queue-num-queues", "2", "tx-ring-ref"},
		{"feature-sg", "maybe", "features"},
		{"feature-gso-tcpv4", "?", "features"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct rig r;
		char error[256];

		rig_init(&r);
		rig_vif(&r, 4, true, NULL);
		rig_until(&r, rig_back_state(&r) == XenbusStateInitWait);
		rig_make_rings(&r);
		rig_features(&r);
		rig_front_write(&r, cases[i].name, "%s", cases[i].value);
		rig_front_state(&r, XenbusStateConnected);
		rig_until(&r, rig_back_state(&r) == XenbusStateClosing);
		assert_int_equal(r.guest_errors, 1);
		assert_non_null(strstr(r.last_why, cases[i].why));
		assert_int_equal(xs_get_str(r.store, RIG_ERROR, NULL, error, sizeof(error)), 0);
		assert_non_null(strstr(error, cases[i].why));
		assert_int_equal(fake_grant_maps_total(r.guest), 0);
		/* It stays so until the front end begins anew. */
		rig_front_state(&r, XenbusStateConnected);
		rig_run(&r);
		assert_int_equal(rig_back_state(&r), XenbusStateClosing);
		xs_rm(r.store, RIG_FRONT "/multi-queue-num-queues");
		xs_rm(r.store, RIG_FRONT "/event-channel-tx");
		rig_front_state(&r, XenbusStateInitialising);
		rig_connect(&r);
		rig_stop(&r);
	}
}

static void refuses_a_queue_twice(void **state)
{
	struct rig r;

	rig_init(&r);
	r.nr_queues = 2;
	rig_vif(&r, 2, true, NULL);
	rig_make_rings(&r);
	rig_features(&r);
	rig_front_write(&r, "queue-1/event-channel", "%u", RIG_PORT);
	rig_front_state(&r, XenbusStateConnected);
	rig_until(&r, rig_back_state(&r) == XenbusStateClosing);
	assert_int_equal(fake_grant_maps_total(r.guest), 0);
	assert_false(fake_bound(r.guest, RIG_PORT));
	rig_stop(&r);
}

static void closes(void **state)
{
	struct rig r;

	rig_start(&r, true);
	rig_front_state(&r, XenbusStateClosing);
	rig_until(&r, rig_back_state(&r) == XenbusStateClosing);
	assert_int_equal(r.disconnects, 1);
	assert_int_equal(r.link->queues, 0);
	assert_int_equal(fake_grant_maps_total(r.guest), 0);
	rig_front_state(&r, XenbusStateClosed);
	rig_until(&r, rig_back_state(&r) == XenbusStateClosed);
	rig_front_state(&r, XenbusStateInitialising);
	rig_connect(&r);
	assert_int_equal(r.connects, 2);
	rig_stop(&r);
}

/* A boot loader that hands over: no Closed is seen, just other rings. */
static void notices_another_front_end(void **state)
{
	struct rig r;
	uint8_t frame[100] = {0};
	struct rig_frame *f = malloc(sizeof(*f));

	rig_start(&r, true);
	rig_front_state(&r, XenbusStateInitialising);
	rig_connect(&r);
	assert_int_equal(r.connects, 2);
	/* Connected all the time, but the ring is another. */
	rig_front_write(&r, "tx-ring-ref", "%u", 20);
	rig_front_state(&r, XenbusStateConnected);
	rig_run(&r);
	assert_int_equal(r.connects, 3);
	assert_int_equal(fake_grant_maps(r.guest, 20), 1);
	rig_front_write(&r, "tx-ring-ref", "%u", 0);
	rig_front_state(&r, XenbusStateInitialised);
	rig_run(&r);
	assert_int_equal(r.connects, 4);
	rig_offer(&r, 0, RIG_RX, 40);
	mock_link_put(r.link, 0, NULL, frame, sizeof(frame));
	rig_until(&r, rig_receive(&r, 0, f));
	rig_stop(&r);
	free(f);
}

static void follows_a_directory_that_goes(void **state)
{
	struct rig r;

	rig_start(&r, true);
	xs_rm(r.store, RIG_FRONT);
	rig_until(&r, rig_back_state(&r) == XenbusStateClosed);
	assert_int_equal(fake_grant_maps_total(r.guest), 0);
	rig_stop(&r);
}

static void many_times(void **state)
{
	struct rig r;

	rig_init(&r);
	rig_vif(&r, 2, true, NULL);
	for (unsigned int i = 0; i < 50; i++) {
		r.nr_queues = 1 + i % 2;
		r.split = i % 3 == 0;
		rig_front_state(&r, XenbusStateInitialising);
		rig_until(&r, rig_back_state(&r) == XenbusStateInitWait);
		xs_rm(r.store, RIG_FRONT "/multi-queue-num-queues");
		xs_rm(r.store, RIG_FRONT "/event-channel-tx");
		rig_connect(&r);
		rig_front_state(&r, i % 2 ? XenbusStateClosing : XenbusStateClosed);
		rig_until(&r, rig_back_state(&r) == (i % 2 ? 5 : 6));
	}
	assert_int_equal(r.connects, 50);
	assert_int_equal(r.disconnects, 50);
	rig_stop(&r);
}

static void refuses_the_same_handle(void **state)
{
	struct rig r;
	struct net_vif *second;
	bool freed = false;
	struct mock_link *m = mock_link_new(1, true, &freed);

	rig_start(&r, true);
	assert_int_equal(net_vif_new(r.loop, r.guest, r.store, &m->link, &r.params, NULL, &second),
			 PVV_EEXIST);
	assert_true(freed);
	assert_null(second);
	assert_int_equal(rig_back_state(&r), XenbusStateConnected);
	rig_stop(&r);
}

static void unplugged_cable(void **state)
{
	struct rig r;
	uint8_t frame[100] = {0};

	rig_init(&r);
	r.params.link_down = true;
	rig_vif(&r, 1, true, NULL);
	rig_connect(&r);
	rig_offer(&r, 0, RIG_RX, 40);
	assert_int_equal(rig_back_number(&r, "carrier"), 0);
	assert_int_equal(r.link->queues, 0);
	assert_int_equal(rig_send(&r, RIG_DATA, 100, 0), NETIF_RSP_DROPPED);
	assert_int_equal(r.link->nr_sent, 0);
	mock_link_put(r.link, 0, NULL, frame, sizeof(frame));
	rig_run(&r);
	assert_int_equal(r.link->reads, 0);
	rig_stop(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(offers_what_it_can),
		cmocka_unit_test(offers_no_more_than_the_link_has),
		cmocka_unit_test(leaves_nothing_behind),
		cmocka_unit_test(connects),
		cmocka_unit_test(tells_the_link_what_the_guest_takes),
		cmocka_unit_test(connects_with_queues),
		cmocka_unit_test(refuses_nonsense),
		cmocka_unit_test(refuses_a_queue_twice),
		cmocka_unit_test(closes),
		cmocka_unit_test(notices_another_front_end),
		cmocka_unit_test(follows_a_directory_that_goes),
		cmocka_unit_test(many_times),
		cmocka_unit_test(refuses_the_same_handle),
		cmocka_unit_test(unplugged_cable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
