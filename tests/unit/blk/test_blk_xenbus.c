/* SPDX-License-Identifier: MIT */
/* The device in xenstore: nodes, states, hand-over between front ends, nonsense in the nodes. */
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void open_rig(struct rig *r)
{
	rig_init(r);
	rig_device(r, NULL);
}

static void assert_node(struct rig *r, const char *dir, const char *name, const char *value)
{
	char buf[128];

	if (xs_get_str(r->store, dir, name, buf, sizeof(buf)) < 0)
		fail_msg("no %s/%s", dir, name);
	assert_string_equal(buf, value);
}

/* Settle: everything that was caused has happened. */
static void settle(struct rig *r)
{
	for (int i = 0; i < 5; i++)
		rig_step(r);
}

static void read_one(struct rig *r, unsigned int block)
{
	struct rig_req q = rig_rw(BLKIF_OP_READ, block, RIG_DATA, 1);

	rig_fill(r, RIG_DATA, 0);
	assert_int_equal(rig_do(r, &q), BLKIF_RSP_OKAY);
	assert_true(rig_page_is(r, RIG_DATA, rig_pattern(block)));
}

static void test_nodes(void **state)
{
	struct rig r;

	(void)state;
	open_rig(&r);
	rig_until(&r, rig_back_state(&r) == XenbusStateInitWait);
	assert_node(&r, RIG_FRONT, "backend", RIG_BACK);
	assert_node(&r, RIG_FRONT, "backend-id", "0");
	assert_node(&r, RIG_FRONT, "virtual-device", "51712");
	assert_node(&r, RIG_FRONT, "device-type", "disk");
	assert_node(&r, RIG_FRONT, "state", "1");
	assert_node(&r, RIG_BACK, "frontend", RIG_FRONT);
	assert_node(&r, RIG_BACK, "frontend-id", "7");
	assert_node(&r, RIG_BACK, "dev", "xvda");
	assert_node(&r, RIG_BACK, "mode", "w");
	assert_node(&r, RIG_BACK, "online", "1");
	assert_node(&r, RIG_BACK, "removable", "0");
	assert_node(&r, RIG_BACK, "bootable", "0");
	assert_node(&r, RIG_BACK, "params", r.path);
	assert_node(&r, RIG_BACK, "sectors", "16384");
	assert_node(&r, RIG_BACK, "sector-size", "512");
	assert_node(&r, RIG_BACK, "physical-sector-size", "4096");
	assert_node(&r, RIG_BACK, "info", "0");
	assert_node(&r, RIG_BACK, "feature-flush-cache", "1");
	assert_node(&r, RIG_BACK, "feature-barrier", "1");
	assert_node(&r, RIG_BACK, "feature-persistent", "1");
	assert_node(&r, RIG_BACK, "feature-max-indirect-segments", "256");
	assert_node(&r, RIG_BACK, "max-ring-page-order", "4");
	assert_node(&r, RIG_BACK, "max-ring-pages", "16");
	assert_node(&r, RIG_BACK, "multi-queue-max-queues", "1");
	blk_device_free(r.dev);
	assert_false(xs_exists(r.store, RIG_FRONT));
	assert_false(xs_exists(r.store, RIG_BACK));
	rig_fini(&r);
}

static void test_cdrom(void **state)
{
	struct rig r;

	(void)state;
	rig_init(&r);
	r.params.cdrom = r.params.bootable = true;
	r.params.persistent = false;
	rig_device(&r, NULL);
	assert_node(&r, RIG_FRONT, "device-type", "cdrom");
	assert_node(&r, RIG_BACK, "device-type", "cdrom");
	assert_node(&r, RIG_BACK, "info", "7");
	assert_node(&r, RIG_BACK, "mode", "r");
	assert_node(&r, RIG_BACK, "removable", "1");
	assert_node(&r, RIG_BACK, "bootable", "1");
	assert_node(&r, RIG_BACK, "feature-persistent", "0");
	assert_false(xs_exists(r.store, RIG_BACK "/discard-granularity"));
	rig_stop(&r);
}

static void test_same_number_twice(void **state)
{
	struct blk_image *image;
	struct blk_device *second;
	struct rig r;

	(void)state;
	open_rig(&r);
	struct blk_params p = r.params;
	p.no_lock = true;
	p.vdev = "0xca00";
	assert_int_equal(blk_image_open(&p, &image), 0);
	assert_int_equal(blk_device_new(r.loop, r.guest, r.store, image, NULL, &second),
			 PVV_EEXIST);
	/* The first is unharmed. */
	rig_connect(&r);
	read_one(&r, 1);
	rig_stop(&r);
}

static void test_normal_life(void **state)
{
	struct rig r;

	(void)state;
	open_rig(&r);
	rig_connect(&r);
	assert_int_equal(r.connects, 1);
	assert_true(fake_bound(r.guest, r.port));
	read_one(&r, 5);
	rig_front_state(&r, XenbusStateClosing);
	rig_until(&r, rig_back_state(&r) == XenbusStateClosing);
	/* The ring is served until the front end has closed. */
	read_one(&r, 6);
	rig_front_state(&r, XenbusStateClosed);
	rig_until(&r, rig_back_state(&r) == XenbusStateClosed);
	assert_int_equal(r.disconnects, 1);
	assert_false(fake_bound(r.guest, r.port));
	assert_int_equal(fake_grant_maps_total(r.guest), 0);
	/* And again. */
	rig_front_state(&r, XenbusStateInitialising);
	r.first_ring_page = 3;
	r.port = 9;
	rig_connect(&r);
	read_one(&r, 7);
	assert_int_equal(r.connects, 2);
	rig_stop(&r);
}

/* As PV GRUB ends: Closed and at once Initialising, which we may see as one change. */
static void test_boot_loader_hand_over(void **state)
{
	struct rig r;

	(void)state;
	open_rig(&r);
	for (unsigned int i = 0; i < 20; i++) {
		r.first_ring_page = i;
		r.port = 10 + i;
		rig_connect(&r);
		read_one(&r, i);
		rig_front_state(&r, XenbusStateClosed);
		if (i % 2)
			settle(&r);
		rig_front_state(&r, XenbusStateInitialising);
		rig_until(&r, rig_back_state(&r) == XenbusStateInitWait);
		assert_int_equal(fake_grant_maps_total(r.guest), 0);
	}
	assert_int_equal(r.connects, 20);
	assert_int_equal(r.disconnects, 20);
	assert_int_equal(r.guest_errors, 0);
	rig_stop(&r);
}

/* A kernel that starts anew and does not wait for us: other references, or the same once more. */
static void test_new_front_end_without_goodbye(void **state)
{
	struct rig r;

	(void)state;
	open_rig(&r);
	rig_connect(&r);
	read_one(&r, 1);
	/* The same ring page, begun from 0. */
	rig_make_ring(&r);
	rig_front_state(&r, XenbusStateInitialised);
	rig_until(&r, r.connects == 2);
	read_one(&r, 2);
	r.first_ring_page = 2;
	rig_make_ring(&r);
	rig_front_state(&r, XenbusStateConnected);
	rig_until(&r, r.connects == 3);
	read_one(&r, 3);
	/* Once more, now that Connected was the first that we saw of it. */
	rig_make_ring(&r);
	rig_front_state(&r, XenbusStateInitialised);
	rig_until(&r, r.connects == 4);
	read_one(&r, 4);
	assert_int_equal(r.guest_errors, 0);
	rig_stop(&r);
}

/* Writing the same state over and over is no reason to do anything. */
static void test_repeated_states(void **state)
{
	struct rig r;

	(void)state;
	open_rig(&r);
	rig_connect(&r);
	for (int i = 0; i < 50; i++) {
		rig_front_state(&r, XenbusStateConnected);
		rig_step(&r);
	}
	assert_int_equal(r.connects, 1);
	read_one(&r, 1);
	/* States that mean nothing for a block front end. */
	static const char *const odd[] = {"2", "7", "8"};
	for (int i = 0; i < 3; i++) {
		rig_front_write(&r, "state", "%s", odd[i]);
		settle(&r);
		assert_int_equal(rig_back_state(&r), XenbusStateConnected);
	}
	read_one(&r, 2);
	/* What is no state at all counts as gone. */
	rig_front_write(&r, "state", "banana");
	rig_until(&r, rig_back_state(&r) == XenbusStateClosed);
	rig_stop(&r);
}

static void test_front_directory_removed(void **state)
{
	struct rig r;

	(void)state;
	open_rig(&r);
	rig_connect(&r);
	assert_int_equal(xs_rm(r.store, RIG_FRONT), 0);
	rig_until(&r, rig_back_state(&r) == XenbusStateClosed);
	assert_int_equal(fake_grant_maps_total(r.guest), 0);
	rig_stop(&r);
}

struct nonsense {
	const char *name, *value;
};

/* Each of these is refused in words, harms nothing, and can be repaired by starting over. */
static void test_bad_transport(void **state)
{
	static const struct nonsense cases[] = {
		{"ring-ref", "-1"},
		{"ring-ref", "4294967296"},
		{"ring-ref", "99999"}, /* not granted */
		{"ring-ref", ""},
		{"ring-ref", "0 "},
		{"event-channel", "x"},
		{"event-channel", "300"}, /* no such port */
		{"event-channel", "4294967295"},
		{"protocol", "arm-abi"},
		{"protocol", "x86_64-abi-and-much-more-that-does-not-fit-into-anything"},
		{"multi-queue-num-queues", "2"},
		{"multi-queue-num-queues", "0"},
		{"ring-page-order", "5"},
		{"ring-page-order", "-1"},
		{"ring-page-order", "1"}, /* there are no ring-ref0 and 1 */
		{"num-ring-pages", "3"},
		{"num-ring-pages", "0"},
		{"num-ring-pages", "32"},
		{"feature-persistent", "maybe"},
	};
	struct rig r;
	char error[256];

	(void)state;
	open_rig(&r);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct nonsense *c = &cases[i];

		rig_until(&r, rig_back_state(&r) == XenbusStateInitWait);
		rig_make_ring(&r);
		rig_front_write(&r, c->name, "%s", c->value);
		rig_front_state(&r, XenbusStateInitialised);
		rig_until(&r, rig_back_state(&r) == XenbusStateClosing);
		assert_int_equal(xs_get_str(r.store, RIG_ERROR, NULL, error, sizeof(error)), 0);
		assert_non_null(strstr(error, "xvda"));
		assert_int_equal(fake_grant_maps_total(r.guest), 0);
		assert_false(fake_bound(r.guest, r.port));
		/* Insisting does not help, not even with better nodes: it must begin anew. */
		char path[128];
		snprintf(path, sizeof(path), RIG_FRONT "/%s", c->name);
		xs_rm(r.store, path);
		rig_make_ring(&r);
		rig_front_state(&r, XenbusStateConnected);
		settle(&r);
		assert_int_equal(rig_back_state(&r), XenbusStateClosing);
		rig_front_state(&r, XenbusStateClosed);
		rig_until(&r, rig_back_state(&r) == XenbusStateClosed);
		rig_front_state(&r, XenbusStateInitialising);
	}
	assert_int_equal(r.connects, 0);
	assert_true(r.guest_errors >= 1); /* limited in rate */
	rig_connect(&r);
	read_one(&r, 1);
	rig_stop(&r);
}

static void test_old_names_of_ring_pages(void **state)
{
	struct rig r;

	(void)state;
	open_rig(&r);
	/* One page as ring-ref0, with an order of 0. */
	rig_until(&r, rig_back_state(&r) == XenbusStateInitWait);
	rig_make_ring(&r);
	xs_rm(r.store, RIG_FRONT "/ring-ref");
	rig_front_write(&r, "ring-page-order", "0");
	rig_front_write(&r, "ring-ref0", "0");
	rig_front_state(&r, XenbusStateInitialised);
	rig_until(&r, rig_back_state(&r) == XenbusStateConnected);
	read_one(&r, 1);
	rig_front_state(&r, XenbusStateClosed);
	rig_front_state(&r, XenbusStateInitialising);
	/* Four pages by number instead of order. */
	rig_until(&r, rig_back_state(&r) == XenbusStateInitWait);
	r.order = 2;
	rig_make_ring(&r);
	xs_rm(r.store, RIG_FRONT "/ring-page-order");
	rig_front_write(&r, "num-ring-pages", "4");
	rig_front_state(&r, XenbusStateInitialised);
	rig_until(&r, rig_back_state(&r) == XenbusStateConnected);
	for (unsigned int i = 0; i < 200; i++)
		read_one(&r, i);
	rig_stop(&r);
}

static void test_port_in_use(void **state)
{
	struct rig r;

	(void)state;
	open_rig(&r);
	assert_int_equal(io_event_bind(r.guest, r.port, (io_event_fn *)settle, NULL), 0);
	rig_until(&r, rig_back_state(&r) == XenbusStateInitWait);
	rig_make_ring(&r);
	rig_front_state(&r, XenbusStateInitialised);
	rig_until(&r, rig_back_state(&r) == XenbusStateClosing);
	assert_non_null(strstr(r.last_why, "event channel"));
	io_event_unbind(r.guest, r.port);
	rig_stop(&r);
}

static void test_unplug(void **state)
{
	struct rig r;

	(void)state;
	open_rig(&r);
	rig_connect(&r);
	blk_device_unplug(r.dev);
	assert_int_equal(rig_back_state(&r), XenbusStateClosing);
	assert_node(&r, RIG_BACK, "online", "0");
	read_one(&r, 4);
	rig_front_state(&r, XenbusStateClosed);
	rig_until(&r, rig_back_state(&r) == XenbusStateClosed);
	assert_int_equal(r.disconnects, 1);
	/* It does not come back. */
	rig_front_state(&r, XenbusStateInitialising);
	settle(&r);
	assert_int_equal(rig_back_state(&r), XenbusStateClosed);
	rig_front_state(&r, XenbusStateInitialised);
	settle(&r);
	assert_int_equal(rig_back_state(&r), XenbusStateClosed);
	rig_stop(&r);
}

static void test_resize(void **state)
{
	struct rig r;

	(void)state;
	open_rig(&r);
	rig_connect(&r);
	struct rig_req q = rig_rw(BLKIF_OP_READ, RIG_BLOCKS, RIG_DATA, 1);
	assert_int_equal(rig_do(&r, &q), BLKIF_RSP_ERROR);
	assert_int_equal(ftruncate(r.fd, (RIG_BLOCKS + 10) * 4096), 0);
	assert_int_equal(blk_device_resize(r.dev), 0);
	assert_int_equal(rig_back_number(&r, "sectors"), (RIG_BLOCKS + 10) * 8);
	assert_int_equal(rig_do(&r, &q), BLKIF_RSP_OKAY);
	assert_true(rig_page_is(&r, RIG_DATA, 0));
	/* Not below a sector: then all stays as it was. */
	assert_int_equal(ftruncate(r.fd, 100), 0);
	assert_int_equal(blk_device_resize(r.dev), PVV_EINVAL);
	assert_int_equal(rig_back_number(&r, "sectors"), (RIG_BLOCKS + 10) * 8);
	rig_stop(&r);
}

/* Requests that were in the ring, with their event, before we had connected. */
static void test_requests_before_connected(void **state)
{
	struct rig r;

	(void)state;
	open_rig(&r);
	rig_until(&r, rig_back_state(&r) == XenbusStateInitWait);
	rig_make_ring(&r);
	struct rig_req q = rig_rw(BLKIF_OP_READ, 3, RIG_DATA, 1);
	rig_queue(&r, &q);
	rig_push(&r);
	rig_front_state(&r, XenbusStateInitialised);
	assert_int_equal(rig_wait(&r).status, BLKIF_RSP_OKAY);
	rig_stop(&r);
}

/* The device ends in every state. */
static void test_free_in_every_state(void **state)
{
	(void)state;
	for (unsigned int s = 0; s <= 8; s++) {
		struct rig r;

		open_rig(&r);
		if (s % 2)
			rig_connect(&r);
		rig_front_state(&r, s);
		if (s % 3)
			settle(&r);
		rig_stop(&r);
	}
}

/* Random states and nodes; at the end everything still works. */
static void test_random_states(void **state)
{
	static const char *const names[] = {"ring-ref", "event-channel", "ring-page-order",
					    "protocol", "ring-ref0",	 "ring-ref1"};
	unsigned int seed = 7;
	struct rig r;

	(void)state;
	open_rig(&r);
	for (unsigned int i = 0; i < 3000; i++) {
		unsigned int dice = (unsigned int)rand_r(&seed) % 8;

		if (dice < 4)
			rig_front_state(&r, (unsigned int)rand_r(&seed) % 9);
		else if (dice < 6)
			rig_front_write(&r, names[rand_r(&seed) % 6], "%d", rand_r(&seed) % 20);
		else if (dice == 6)
			xs_rm(r.store, RIG_FRONT "/ring-page-order");
		else if (i % 5 == 0)
			rig_step(&r);
		if (rand_r(&seed) % 4 == 0)
			fake_raise(r.guest, (uint32_t)rand_r(&seed) % 20);
	}
	for (int i = 0; i < 6; i++) {
		char path[128];

		snprintf(path, sizeof(path), RIG_FRONT "/%s", names[i]);
		xs_rm(r.store, path);
	}
	rig_front_state(&r, XenbusStateClosed);
	rig_until(&r, rig_back_state(&r) == XenbusStateClosed);
	assert_int_equal(fake_grant_maps_total(r.guest), 0);
	assert_int_equal(r.connects, r.disconnects);
	rig_front_state(&r, XenbusStateInitialising);
	rig_connect(&r);
	read_one(&r, 1);
	rig_stop(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nodes),
		cmocka_unit_test(test_cdrom),
		cmocka_unit_test(test_same_number_twice),
		cmocka_unit_test(test_normal_life),
		cmocka_unit_test(test_boot_loader_hand_over),
		cmocka_unit_test(test_new_front_end_without_goodbye),
		cmocka_unit_test(test_repeated_states),
		cmocka_unit_test(test_front_directory_removed),
		cmocka_unit_test(test_bad_transport),
		cmocka_unit_test(test_old_names_of_ring_pages),
		cmocka_unit_test(test_port_in_use),
		cmocka_unit_test(test_unplug),
		cmocka_unit_test(test_resize),
		cmocka_unit_test(test_requests_before_connected),
		cmocka_unit_test(test_free_in_every_state),
		cmocka_unit_test(test_random_states),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
