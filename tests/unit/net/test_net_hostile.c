/* SPDX-License-Identifier: MIT */
/* A front end that lies: it is disconnected with a sentence, and nothing else happens. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"

static struct netif_tx_sring *tx(struct rig *r)
{
	return fake_page(r->guest, r->q[0].tx_page);
}

static struct netif_rx_sring *rx(struct rig *r)
{
	return fake_page(r->guest, r->q[0].rx_page);
}

/* It was disconnected for that, everything is unmapped, and it may begin anew. */
static void expect_end(struct rig *r, const char *why)
{
	rig_until(r, rig_back_state(r) == XenbusStateClosing);
	assert_int_equal(r->guest_errors, 1);
	if (!strstr(r->last_why, why))
		fail_msg("'%s' does not say '%s'", r->last_why, why);
	assert_int_equal(fake_grant_maps_total(r->guest), 0);
	assert_false(fake_bound(r->guest, RIG_PORT));
	rig_front_state(r, XenbusStateInitialising);
	rig_connect(r);
	assert_int_equal(rig_send(r, RIG_DATA, 100, 0), NETIF_RSP_OKAY);
	rig_stop(r);
}

static void impossible_indices(void **state)
{
	static const uint32_t values[] = {257, 1000, 0x80000000, 0xffffffff, 0xfffffff0};

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		struct rig r;

		rig_start(&r, true);
		tx(&r)->req_prod = values[i];
		fake_raise(r.guest, RIG_PORT);
		expect_end(&r, "transmit ring is impossible");
		rig_start(&r, true);
		rig_send(&r, RIG_DATA, 100, 0); /* so that it is not starved, then use pages up */
		rx(&r)->req_prod = values[i] + 64;
		for (int k = 0; k < 70; k++)
			mock_link_put(r.link, 0, NULL, "0123456789abcdef", 16);
		expect_end(&r, "receive ring is impossible");
	}
}

static void impossible_from_the_start(void **state)
{
	for (int which = 0; which < 2; which++) {
		struct rig r;

		rig_init(&r);
		rig_vif(&r, 1, true, NULL);
		rig_make_rings(&r);
		rig_features(&r);
		if (which)
			tx(&r)->req_prod = 300;
		else
			rx(&r)->req_prod = 300;
		rig_front_state(&r, XenbusStateConnected);
		expect_end(&r, "producer index");
	}
}

static void packets_without_end(void **state)
{
	struct rig r;

	rig_start(&r, true);
	rig_tx(&r, 0, RIG_DATA, 0, 100, NETTXF_more_data, 0);
	rig_tx_push(&r, 0);
	expect_end(&r, "has no end");

	rig_start(&r, true);
	rig_tx(&r, 0, RIG_DATA, 0, 100, NETTXF_extra_info, 0);
	rig_tx_push(&r, 0);
	expect_end(&r, "has no end");

	/* A whole ring of it. */
	rig_start(&r, true);
	for (unsigned int i = 0; i < RIG_ENTS; i++)
		rig_tx(&r, 0, RIG_DATA, 0, 100, NETTXF_more_data, i);
	rig_tx_push(&r, 0);
	expect_end(&r, "more slots than any may have");
	assert_true(r.link_freed);
}

static void extra_information(void **state)
{
	struct netif_extra_info e = {.type = XEN_NETIF_EXTRA_TYPE_GSO,
				     .flags = XEN_NETIF_EXTRA_FLAG_MORE};
	struct rig r;

	e.u.gso.size = 1000;
	e.u.gso.type = XEN_NETIF_GSO_TYPE_TCPV4;
	rig_start(&r, true);
	rig_tx(&r, 0, RIG_DATA, 0, 100, NETTXF_extra_info, 0);
	for (int i = 0; i < 200; i++)
		rig_tx_raw(&r, 0, &e, sizeof(e));
	rig_tx_push(&r, 0);
	expect_end(&r, "too much extra information");

	static const uint8_t types[] = {0, XEN_NETIF_EXTRA_TYPE_MAX, 255};
	for (size_t i = 0; i < sizeof(types); i++) {
		rig_start(&r, true);
		rig_tx(&r, 0, RIG_DATA, 0, 100, NETTXF_extra_info, 0);
		e.type = types[i];
		e.flags = 0;
		rig_tx_raw(&r, 0, &e, sizeof(e));
		rig_tx_push(&r, 0);
		expect_end(&r, "unknown type");
	}

	rig_start(&r, true);
	rig_tx(&r, 0, RIG_DATA, 0, 100, NETTXF_extra_info, 0);
	rig_tx_gso(&r, 0, XEN_NETIF_GSO_TYPE_TCPV4, 0);
	rig_tx_push(&r, 0);
	expect_end(&r, "pieces of 0 bytes");
}

static void over_the_end_of_a_page(void **state)
{
	static const struct {
		unsigned int offset, size;
	} cases[] = {{4096, 14}, {4083, 14}, {65535, 100}, {1, 4096}, {0, 4097}, {0, 65535}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct rig r;

		rig_start(&r, true);
		rig_tx(&r, 0, RIG_DATA, cases[i].offset, cases[i].size, 0, 0);
		rig_tx_push(&r, 0);
		expect_end(&r, "end of a page");
		rig_start(&r, true);
		rig_tx(&r, 0, RIG_DATA, 0, 65535, NETTXF_more_data, 0);
		rig_tx(&r, 0, RIG_DATA, cases[i].offset, cases[i].size, 0, 1);
		rig_tx_push(&r, 0);
		expect_end(&r, "end of a page");
	}
}

static void pages_that_are_not_granted(void **state)
{
	struct rig r;

	rig_start(&r, true);
	rig_offer(&r, 0, 5000, 1);
	for (int k = 0; k < 64; k++)
		mock_link_put(r.link, 0, NULL, "0123456789abcdef", 16);
	expect_end(&r, "not granted for writing");

	rig_start(&r, true);
	fake_grant(r.guest, 900, 900, true);
	rig_offer(&r, 0, 900, 1);
	for (int k = 0; k < 64; k++)
		mock_link_put(r.link, 0, NULL, "0123456789abcdef", 16);
	expect_end(&r, "not granted for writing");
}

/* A grant taken back while its page is in use concerns nobody. */
static void grants_taken_back(void **state)
{
	struct rig_frame *f = malloc(sizeof(*f));
	struct rig r;

	rig_start(&r, true);
	for (uint32_t i = 0; i < 64; i++)
		fake_grant_end(r.guest, RIG_RX + i);
	mock_link_put(r.link, 0, NULL, "0123456789abcdef", 16);
	struct netif_rx_response rsp;
	uint32_t ref;
	rig_until(&r, rig_rx_poll(&r, 0, &rsp, &ref));
	assert_int_equal(rsp.status, 16);
	rig_stop(&r);
	free(f);
}

/* The front end scribbles over what it reads from us: it fools only itself. */
static void scribbled_rings(void **state)
{
	struct rig r;

	rig_start(&r, true);
	srand(3);
	for (int round = 0; round < 2000; round++) {
		uint32_t n = (uint32_t)rand();

		switch (rand() % 6) {
		case 0:
			tx(&r)->rsp_prod = n;
			break;
		case 1:
			tx(&r)->rsp_event = n;
			break;
		case 2:
			rx(&r)->rsp_prod = n;
			break;
		case 3:
			rx(&r)->rsp_event = n;
			break;
		case 4:
			tx(&r)->req_event = n;
			break;
		default:
			mock_link_put(r.link, 0, NULL, "0123456789abcdef", 16);
			rig_tx(&r, 0, RIG_DATA, 0, 60, 0, 0);
			rig_tx_push(&r, 0);
			fake_raise(r.guest, RIG_PORT);
			while (r.link->nr_waiting[0] > 400)
				rig_step(&r);
		}
		if (round % 50 == 0) {
			rig_step(&r);
			rig_offer(&r, 0, RIG_RX, 40);
			if (rig_back_state(&r) != XenbusStateConnected)
				break;
		}
	}
	rig_front_state(&r, XenbusStateInitialising);
	rig_connect(&r);
	assert_int_equal(rig_send(&r, RIG_DATA, 100, 0), NETIF_RSP_OKAY);
	rig_stop(&r);
}

/* Events without end and without reason cost no more than a look. */
static void event_storm(void **state)
{
	struct rig r;

	rig_start(&r, true);
	unsigned int reads = r.link->reads;
	for (int i = 0; i < 10000; i++)
		fake_raise(r.guest, RIG_PORT);
	rig_run(&r);
	assert_true(r.link->reads - reads < 5);
	assert_int_equal(r.link->writes, 0);
	rig_stop(&r);
}

/* All kinds of entries at random: errors or a disconnection, and everything is given back. */
static void random_entries(void **state)
{
	for (unsigned int seed = 0; seed < 300; seed++) {
		struct netif_tx_response rsp;
		struct rig r;

		srand(seed);
		rig_start(&r, seed & 1);
		for (int round = 0; round < 20; round++) {
			unsigned int n = (unsigned int)rand() % 30;

			for (unsigned int i = 0; i < n; i++)
				rig_tx(&r, 0, (uint32_t)rand() % (rand() % 4 ? 200 : 2000),
				       (unsigned int)rand() % (rand() % 4 ? 500 : 6000),
				       (unsigned int)rand() % (rand() % 4 ? 3000 : 65536),
				       (unsigned int)rand() % 16 & (rand() % 3 ? 3u : 15u), i);
			rig_tx(&r, 0, RIG_DATA, 0, 100, 0, 99);
			rig_tx_push(&r, 0);
			rig_step(&r);
			if (rig_back_state(&r) != XenbusStateConnected)
				break;
			while (rig_tx_poll(&r, 0, &rsp))
				;
		}
		rig_stop(&r); /* asserts that nothing is mapped or bound */
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(impossible_indices),
		cmocka_unit_test(impossible_from_the_start),
		cmocka_unit_test(packets_without_end),
		cmocka_unit_test(extra_information),
		cmocka_unit_test(over_the_end_of_a_page),
		cmocka_unit_test(pages_that_are_not_granted),
		cmocka_unit_test(grants_taken_back),
		cmocka_unit_test(scribbled_rings),
		cmocka_unit_test(event_storm),
		cmocka_unit_test(random_entries),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
