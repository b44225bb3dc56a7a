/* SPDX-License-Identifier: MIT */
/* Console devices: the front end's states, and front ends that do not keep to the protocol. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xen/io/xenbus.h>

#include "console_fixture.h"
#include "io/console/device.h"

#define FRONT "/local/domain/9/device/console/3"
#define BACK  "/local/domain/0/backend/console/9/3"
#define REF   20u

struct rig {
	struct fixture *f;
	struct xs_store *store;
	struct io_console_device *dev;
	int stream;
};

static struct rig begin(void **state, const char *channel)
{
	struct rig r = {.f = *state};
	const struct io_console_config cfg = {.type = IO_CONSOLE_NULL};

	assert_int_equal(xs_store_new(r.f->loop, &r.store), 0);
	open_console(r.f, &cfg);
	assert_int_equal(io_console_open(r.f->con, &r.stream), 0);
	fake_grant(r.f->guest, REF, 0, false);
	assert_int_equal(
		io_console_device_new(r.f->loop, r.f->guest, r.store, r.f->con, 3, channel, &r.dev),
		0);
	pump(r.f);
	return r;
}

static void end(struct rig *r)
{
	io_console_device_free(r->dev);
	assert_int_equal(fake_grant_maps_total(r->f->guest), 0);
	xs_domain_erase(r->store, 9);
	xs_domain_release(r->store, 9);
	pump(r->f);
	xs_store_free(r->store);
	close(r->stream);
}

static unsigned int back_state(struct rig *r)
{
	uint64_t n = 99;

	xs_get_uint(r->store, BACK, "state", 10, &n);
	return (unsigned int)n;
}

static void front(struct rig *r, unsigned int state)
{
	xs_put(r->store, FRONT, "state", "%u", state);
	pump(r->f);
}

static void announce(struct rig *r, const char *ref, const char *port)
{
	xs_put(r->store, FRONT, "ring-ref", "%s", ref);
	xs_put(r->store, FRONT, "port", "%s", port);
}

static void connect(struct rig *r)
{
	announce(r, "20", "2");
	front(r, XenbusStateInitialised);
	assert_int_equal(back_state(r), XenbusStateConnected);
}

static void expect_node(struct rig *r, const char *dir, const char *name, const char *want)
{
	char buf[128];

	assert_int_equal(xs_get_str(r->store, dir, name, buf, sizeof(buf)), 0);
	assert_string_equal(buf, want);
}

static void test_connect(void **state)
{
	struct rig r = begin(state, "org.example");

	expect_node(&r, FRONT, "backend", BACK);
	expect_node(&r, FRONT, "name", "org.example");
	expect_node(&r, FRONT, "tty", "");
	expect_node(&r, BACK, "frontend", FRONT);
	expect_node(&r, BACK, "frontend-id", "9");
	expect_node(&r, BACK, "name", "org.example");
	assert_int_equal(back_state(&r), XenbusStateInitWait);
	connect(&r);
	assert_int_equal(fake_grant_maps(r.f->guest, REF), 1);
	front(&r, XenbusStateConnected);
	assert_int_equal(back_state(&r), XenbusStateConnected);
	assert_int_equal(fake_grant_maps_ever(r.f->guest), 1);
	guest_print(r.f, "hello\n");
	expect_output(r.f, r.stream, "hello\n");
	assert_int_equal(write(r.stream, "in", 2), 2);
	expect_input(r.f, "in");
	/* Gone, and there again. */
	front(&r, XenbusStateClosing);
	assert_int_equal(back_state(&r), XenbusStateClosing);
	front(&r, XenbusStateClosed);
	assert_int_equal(back_state(&r), XenbusStateClosed);
	assert_int_equal(fake_grant_maps_total(r.f->guest), 0);
	assert_false(fake_bound(r.f->guest, PORT));
	front(&r, XenbusStateInitialising);
	assert_int_equal(back_state(&r), XenbusStateInitWait);
	connect(&r);
	guest_print(r.f, "again\n");
	expect_output(r.f, r.stream, "again\n");
	end(&r);
}

/* The last words are in the ring when the guest is gone. */
static void test_last_words(void **state)
{
	struct rig r = begin(state, NULL);

	assert_false(xs_exists(r.store, FRONT "/name"));
	connect(&r);
	guest_put(r.f, "last", 4);
	io_console_device_free(r.dev);
	r.dev = NULL;
	expect_output(r.f, r.stream, "last");
	end(&r);
}

/* A kernel after a boot loader that did not close. */
static void test_another_front_end(void **state)
{
	struct rig r = begin(state, NULL);

	connect(&r);
	announce(&r, "20", "7");
	front(&r, XenbusStateInitialised);
	assert_int_equal(back_state(&r), XenbusStateConnected);
	assert_true(fake_bound(r.f->guest, 7));
	assert_false(fake_bound(r.f->guest, PORT));
	assert_int_equal(fake_grant_maps(r.f->guest, REF), 1);
	front(&r, XenbusStateInitialising);
	assert_int_equal(back_state(&r), XenbusStateInitWait);
	assert_int_equal(fake_grant_maps_total(r.f->guest), 0);
	end(&r);
}

static void test_bad_front_ends(void **state)
{
	static const struct {
		const char *ref, *port;
	} bad[] = {
		{"21", "2"},	{"99999", "2"},	 {"-1", "2"},	       {"", "2"},
		{"x", "2"},	{"20", "99999"}, {"20", "4294967296"}, {"4294967296", "2"},
		{"20 20", "2"}, {"20", ""},
	};
	struct rig r = begin(state, NULL);

	front(&r, XenbusStateConnected); /* without a ring */
	assert_int_equal(back_state(&r), XenbusStateClosing);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		announce(&r, bad[i].ref, bad[i].port);
		front(&r, XenbusStateInitialised);
		assert_int_equal(back_state(&r), XenbusStateClosing);
		assert_int_equal(fake_grant_maps_total(r.f->guest), 0);
		front(&r, XenbusStateInitialising);
		assert_int_equal(back_state(&r), XenbusStateInitWait);
	}
	/* States that are none, and a directory that goes. */
	xs_put(r.store, FRONT, "state", "nonsense");
	pump(r.f);
	assert_int_equal(back_state(&r), XenbusStateClosed);
	front(&r, XenbusStateInitialising);
	connect(&r);
	xs_rm(r.store, FRONT);
	pump(r.f);
	assert_int_equal(back_state(&r), XenbusStateClosed);
	assert_int_equal(fake_grant_maps_total(r.f->guest), 0);
	end(&r);
}

/* Any order of any states: never more than one mapping, nothing left at the end. */
static void test_any_order(void **state)
{
	struct rig r = begin(state, NULL);
	uint32_t seed = 1;

	announce(&r, "20", "2");
	for (int i = 0; i < 2000; i++) {
		seed = seed * 1664525u + 1013904223u;
		if (seed >> 29 == 0)
			announce(&r, seed & 64 ? "20" : "21", seed & 128 ? "2" : "3");
		xs_put(r.store, FRONT, "state", "%u", (seed >> 16) % 9);
		if (seed & 256)
			pump(r.f);
		assert_true(fake_grant_maps_total(r.f->guest) <= 1);
	}
	end(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_FIXTURE(test_connect),	      WITH_FIXTURE(test_last_words),
		WITH_FIXTURE(test_another_front_end), WITH_FIXTURE(test_bad_front_ends),
		WITH_FIXTURE(test_any_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
