/* SPDX-License-Identifier: MIT */
/* The library's own side: values, permissions, watches by callback, use by several threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_guest.h"
#include "peer.h"
#include "util/err.h"

struct fixture {
	struct io_loop *loop;
	struct xs_store *store;
	size_t nodes; /* in an empty store */
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	assert_int_equal(io_loop_new(&f->loop), 0);
	assert_int_equal(xs_store_new(f->loop, &f->store), 0);
	f->nodes = f->store->map.nr;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	xs_store_free(f->store);
	io_loop_free(f->loop);
	free(f);
	return 0;
}

static void expect(struct xs_store *store, const char *path, const char *want)
{
	char *got;
	size_t len;

	assert_int_equal(xs_read(store, path, &got, &len), 0);
	assert_string_equal(got, want);
	assert_int_equal(len, strlen(want));
	free(got);
}

/* --- values ----------------------------------------------------------------------------------- */

static void test_write_and_read(void **state)
{
	struct xs_store *store = ((struct fixture *)*state)->store;
	char *got = (void *)1;

	assert_int_equal(xs_write(store, "/a/b", "%d-%s", 7, "x"), 0);
	expect(store, "/a/b", "7-x");
	expect(store, "/a", "");
	assert_int_equal(xs_put(store, "/a", "c", "%u", 5u), 0);
	expect(store, "/a/c", "5");
	assert_int_equal(xs_put(store, "/a", NULL, "%s", "dir"), 0);
	expect(store, "/a", "dir");
	assert_int_equal(xs_read(store, "/none", &got, NULL), PVV_ENOENT);
	assert_null(got);
	assert_non_null(strstr(pvv_error_get_message(pvv_error_last()), "/none"));
	assert_int_equal(xs_write(store, "relative", "x"), PVV_EINVAL);
	assert_int_equal(xs_write(store, "/a//b", "x"), PVV_EINVAL);
	assert_int_equal(xs_write_data(store, "/a", "", 4097), PVV_ELIMIT);
	assert_true(xs_exists(store, "/a/b"));
	assert_false(xs_exists(store, "/a/x"));
	assert_false(xs_exists(store, "not a path"));
}

static void test_binary_values(void **state)
{
	struct xs_store *store = ((struct fixture *)*state)->store;
	char *got, buf[16];
	size_t len;

	assert_int_equal(xs_write_data(store, "/bin", "a\0b", 4), 0);
	assert_int_equal(xs_read(store, "/bin", &got, &len), 0);
	assert_int_equal(len, 4);
	assert_memory_equal(got, "a\0b\0", 5);
	free(got);
	assert_int_equal(xs_get_str(store, "/bin", NULL, buf, sizeof(buf)), PVV_EGUEST);
	assert_int_equal(xs_write(store, "/s", "0123456789"), 0);
	assert_int_equal(xs_get_str(store, "/", "s", buf, sizeof(buf)), PVV_EINVAL); /* "//s" */
	assert_int_equal(xs_get_str(store, "/s", NULL, buf, 10), PVV_EGUEST);
	assert_int_equal(xs_get_str(store, "/s", NULL, buf, 11), 0);
	assert_string_equal(buf, "0123456789");
	assert_int_equal(xs_get_str(store, "/none", NULL, buf, sizeof(buf)), PVV_ENOENT);
}

static void test_numbers(void **state)
{
	struct xs_store *store = ((struct fixture *)*state)->store;
	static const struct {
		const char *text;
		uint64_t max;
		int ret;
		uint64_t value;
	} t[] = {
		{"0", 10, 0, 0},
		{"10", 10, 0, 10},
		{"11", 10, PVV_EGUEST, 0},
		{"007", 10, 0, 7},
		{"", 10, PVV_EGUEST, 0},
		{"-1", 10, PVV_EGUEST, 0},
		{"+1", 10, PVV_EGUEST, 0},
		{" 1", 10, PVV_EGUEST, 0},
		{"1 ", 10, PVV_EGUEST, 0},
		{"0x1", 10, PVV_EGUEST, 0},
		{"1", 0, PVV_EGUEST, 0},
		{"0", 0, 0, 0},
		{"4294967295", UINT32_MAX, 0, UINT32_MAX},
		{"4294967296", UINT32_MAX, PVV_EGUEST, 0},
		{"18446744073709551615", UINT64_MAX, 0, UINT64_MAX},
		{"18446744073709551616", UINT64_MAX, PVV_EGUEST, 0},
		{"99999999999999999999", UINT64_MAX, PVV_EGUEST, 0},
		{"000000000000000000000000000001", UINT64_MAX, PVV_EGUEST, 0},
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		uint64_t v = 12345;

		assert_int_equal(xs_write(store, "/n", "%s", t[i].text), 0);
		assert_int_equal(xs_get_uint(store, "/n", NULL, t[i].max, &v), t[i].ret);
		assert_int_equal(v, t[i].ret ? 12345 : t[i].value);
	}
	uint64_t v;
	assert_int_equal(xs_get_uint(store, "/no", "n", 1, &v), PVV_ENOENT);
}

static void test_directories(void **state)
{
	struct xs_store *store = ((struct fixture *)*state)->store;
	char *names;
	size_t len;

	assert_int_equal(xs_mkdir(store, "/d/x"), 0);
	assert_int_equal(xs_mkdir(store, "/d/y"), 0);
	assert_int_equal(xs_directory(store, "/d", &names, &len), 0);
	assert_int_equal(len, 4);
	assert_memory_equal(names, "x\0y", 4);
	free(names);
	assert_int_equal(xs_rm(store, "/d"), 0);
	assert_int_equal(xs_rm(store, "/d"), 0);
	assert_int_equal(xs_rm(store, "/d/e/f/g"), 0);
	assert_int_equal(xs_rm(store, "/"), PVV_EINVAL);
	assert_int_equal(xs_directory(store, "/d", &names, &len), PVV_ENOENT);
	assert_null(names);
}

/* Thousands of nodes, so that the table grows, and all gone again. */
static void test_many_nodes(void **state)
{
	size_t nodes = ((struct fixture *)*state)->nodes;
	struct xs_store *store = ((struct fixture *)*state)->store;
	char path[64];

	for (int i = 0; i < 20000; i++) {
		snprintf(path, sizeof(path), "/many/%d/%d", i % 100, i);
		assert_int_equal(xs_write(store, path, "%d", i), 0);
	}
	for (int i = 0; i < 20000; i++) {
		char want[16];

		snprintf(path, sizeof(path), "/many/%d/%d", i % 100, i);
		snprintf(want, sizeof(want), "%d", i);
		expect(store, path, want);
	}
	assert_int_equal(xs_rm(store, "/many"), 0);
	for (int i = 0; i < 20000; i++) {
		snprintf(path, sizeof(path), "/many/%d/%d", i % 100, i);
		assert_false(xs_exists(store, path));
	}
	assert_int_equal(store->map.nr, nodes);
	assert_int_equal(xsd_find(store, 0)->nodes, nodes);
}

/* As deep as a path can be; removing it must not recurse. */
static void test_deepest_tree(void **state)
{
	size_t nodes = ((struct fixture *)*state)->nodes;
	struct xs_store *store = ((struct fixture *)*state)->store;
	char path[2049];

	for (int i = 0; i < 1024; i++)
		memcpy(path + 2 * i, "/a", 2);
	path[2048] = '\0';
	assert_int_equal(xs_write(store, path, "deep"), 0);
	expect(store, path, "deep");
	assert_int_equal(store->map.nr, nodes + 1024);
	assert_int_equal(xs_rm(store, "/a"), 0);
	assert_int_equal(store->map.nr, nodes);
}

static void test_permissions(void **state)
{
	struct xs_store *store = ((struct fixture *)*state)->store;

	assert_int_equal(xs_mkdir_perms(store, "/p", "n%u r%u", 0u, 5u), 0);
	assert_int_equal(xs_write(store, "/p/q", "x"), 0);
	struct xs_node *n = xst_find(store, "/p/q", 4);
	assert_int_equal(n->nr_perms, 2);
	assert_int_equal(n->perms[1].domid, 5);
	assert_int_equal(n->perms[1].bits, XS_PERM_R);
	assert_int_equal(xs_set_perms(store, "/p/q", "b7"), 0);
	n = xst_find(store, "/p/q", 4);
	assert_int_equal(n->nr_perms, 1);
	assert_int_equal(n->perms[0].domid, 7);
	assert_int_equal(xs_set_perms(store, "/p/q", "%s", ""), PVV_EINVAL);
	assert_int_equal(xs_set_perms(store, "/p/q", "n0 "), 0);
	assert_int_equal(xs_set_perms(store, "/p/q", "n0  r1"), PVV_EINVAL);
	assert_int_equal(xs_set_perms(store, "/none", "n0"), PVV_ENOENT);
	assert_int_equal(xs_mkdir_perms(store, "bad", "n0"), PVV_EINVAL);
}

/* --- watches by callback ---------------------------------------------------------------------- */

struct seen {
	struct xs_store *store;
	struct xs_watch *watch;
	char paths[128][96];
	unsigned int n;
	bool inside;
	unsigned int remove_at; /* remove the watch in the n-th call */
	const char *write_path; /* write there in each call, up to 5 times */
};

static void on_change(void *opaque, const char *path)
{
	struct seen *s = opaque;

	assert_false(s->inside); /* never from inside an operation */
	assert_true(s->n < 128);
	snprintf(s->paths[s->n++], sizeof(s->paths[0]), "%s", path);
	s->inside = true;
	if (s->write_path && s->n < 5)
		assert_int_equal(xs_write(s->store, s->write_path, "%u", s->n), 0);
	if (s->n == s->remove_at) {
		xs_unwatch(s->store, s->watch);
		s->watch = NULL;
	}
	s->inside = false;
}

static void settle(struct io_loop *loop)
{
	for (int i = 0; i < 10; i++)
		pump(loop);
}

static void test_watch_callbacks(void **state)
{
	struct fixture *f = *state;
	struct seen s = {.store = f->store};

	assert_int_equal(xs_watch(f->store, "/w", on_change, &s, &s.watch), 0);
	assert_int_equal(s.n, 0); /* deferred */
	settle(f->loop);
	assert_int_equal(s.n, 1);
	assert_string_equal(s.paths[0], "/w");
	assert_int_equal(xs_write(f->store, "/w/x", "1"), 0);
	assert_int_equal(xs_write(f->store, "/ww", "1"), 0);
	assert_int_equal(xs_write(f->store, "/w/y/z", "1"), 0);
	assert_int_equal(s.n, 1);
	settle(f->loop);
	assert_int_equal(s.n, 3);
	assert_string_equal(s.paths[1], "/w/x");
	assert_string_equal(s.paths[2], "/w/y/z");
	/* The same path several times is one event. */
	for (int i = 0; i < 100; i++)
		assert_int_equal(xs_write(f->store, "/w/x", "%d", i), 0);
	settle(f->loop);
	assert_int_equal(s.n, 4);
	assert_int_equal(xs_rm(f->store, "/w"), 0);
	settle(f->loop);
	assert_int_equal(s.n, 5);
	assert_string_equal(s.paths[4], "/w");
	xs_unwatch(f->store, s.watch);
	assert_int_equal(xs_write(f->store, "/w", "1"), 0);
	settle(f->loop);
	assert_int_equal(s.n, 5);
}

static void test_watch_of_a_removed_subtree(void **state)
{
	struct fixture *f = *state;
	struct seen s = {.store = f->store};

	assert_int_equal(xs_write(f->store, "/front/1/state", "4"), 0);
	assert_int_equal(xs_watch(f->store, "/front/1/state", on_change, &s, &s.watch), 0);
	settle(f->loop);
	assert_int_equal(xs_rm(f->store, "/front"), 0);
	settle(f->loop);
	assert_int_equal(s.n, 2);
	assert_string_equal(s.paths[1], "/front/1/state");
	xs_unwatch(f->store, s.watch);
}

static void test_watch_many_paths_collapse(void **state)
{
	struct fixture *f = *state;
	struct seen s = {.store = f->store};
	char path[32];
	bool all = false;

	assert_int_equal(xs_watch(f->store, "/m", on_change, &s, &s.watch), 0);
	settle(f->loop);
	s.n = 0;
	for (int i = 0; i < 5000; i++) {
		snprintf(path, sizeof(path), "/m/%d", i);
		assert_int_equal(xs_write(f->store, path, "x"), 0);
	}
	settle(f->loop);
	assert_true(s.n <= 40);
	for (unsigned int i = 0; i < s.n; i++)
		all |= strcmp(s.paths[i], "/m") == 0;
	assert_true(all);
	/* And afterwards single paths are told again. */
	s.n = 0;
	assert_int_equal(xs_write(f->store, "/m/7", "y"), 0);
	settle(f->loop);
	assert_int_equal(s.n, 1);
	assert_string_equal(s.paths[0], "/m/7");
	xs_unwatch(f->store, s.watch);
}

static void test_watch_removed_in_its_callback(void **state)
{
	struct fixture *f = *state;
	struct seen s = {.store = f->store, .remove_at = 2};

	assert_int_equal(xs_watch(f->store, "/r", on_change, &s, &s.watch), 0);
	assert_int_equal(xs_write(f->store, "/r/1", "x"), 0);
	assert_int_equal(xs_write(f->store, "/r/2", "x"), 0);
	assert_int_equal(xs_write(f->store, "/r/3", "x"), 0);
	settle(f->loop);
	assert_int_equal(s.n, 2);
}

static void test_watch_whose_callback_writes(void **state)
{
	struct fixture *f = *state;
	struct seen s = {.store = f->store, .write_path = "/self"};

	assert_int_equal(xs_watch(f->store, "/self", on_change, &s, &s.watch), 0);
	settle(f->loop);
	assert_int_equal(s.n, 5); /* each write leads to one more call, none is nested */
	xs_unwatch(f->store, s.watch);
}

static void test_special_watches(void **state)
{
	struct fixture *f = *state;
	struct seen in = {.store = f->store}, out = {.store = f->store};
	struct peer p;

	assert_int_equal(xs_watch(f->store, "@introduceDomain", on_change, &in, &in.watch), 0);
	assert_int_equal(xs_watch(f->store, "@releaseDomain", on_change, &out, &out.watch), 0);
	settle(f->loop);
	peer_open(&p, f->loop, f->store, 3);
	settle(f->loop);
	assert_int_equal(in.n, 2);
	assert_int_equal(out.n, 1);
	peer_close(&p);
	settle(f->loop);
	assert_int_equal(in.n, 2);
	assert_int_equal(out.n, 2);
	assert_string_equal(out.paths[1], "@releaseDomain");
	xs_unwatch(f->store, in.watch);
	xs_unwatch(f->store, out.watch);
}

/* A back end follows a front end's state, as blk and net do. */
static void test_watch_of_a_guests_node(void **state)
{
	struct fixture *f = *state;
	struct seen s = {.store = f->store};
	struct peer p;

	peer_open(&p, f->loop, f->store, 3);
	assert_int_equal(xs_mkdir_perms(f->store, "/local/domain/3/device/vbd/51712", "n3 r0"), 0);
	assert_int_equal(xs_watch(f->store, "/local/domain/3/device/vbd/51712/state", on_change, &s,
				  &s.watch),
			 0);
	settle(f->loop);
	s.n = 0;
	assert_string_equal(peer_str(&p, XS_WRITE, 0,
				     "device/vbd/51712/ring-ref\0"
				     "8"),
			    "");
	assert_string_equal(peer_str(&p, XS_WRITE, 0,
				     "device/vbd/51712/state\0"
				     "3"),
			    "");
	settle(f->loop);
	assert_int_equal(s.n, 1);
	assert_string_equal(s.paths[0], "/local/domain/3/device/vbd/51712/state");
	xs_unwatch(f->store, s.watch);
	peer_close(&p);
}

/* --- domains ---------------------------------------------------------------------------------- */

static void test_domains_leave_nothing_behind(void **state)
{
	struct fixture *f = *state;
	struct peer p;

	for (unsigned int i = 0; i < 200; i++) {
		peer_open(&p, f->loop, f->store, 1 + i);
		peer_str(&p, XS_WRITE, 0,
			 "data/x\0"
			 "1");
		peer_str(&p, XS_WATCH, 0, "data\0tok");
		peer_str(&p, XS_TRANSACTION_START, 0, "");
		peer_str(&p, XS_WRITE, 1,
			 "data/y\0"
			 "1");
		peer_close(&p);
		assert_null(xsd_find(f->store, 1 + i));
	}
	assert_int_equal(f->store->nr_watches, 0);
	assert_int_equal(xs_rm(f->store, "/local/domain/0/backend"), 0);
	assert_int_equal(f->store->map.nr, f->nodes);
}

static void test_connect_twice(void **state)
{
	struct fixture *f = *state;
	struct xs_conn *second;
	struct peer p;

	peer_open(&p, f->loop, f->store, 3);
	assert_int_equal(xs_conn_new(f->store, p.guest, p.page, PEER_PORT, &second), PVV_EBUSY);
	assert_int_equal(xs_conn_new(f->store, p.guest, p.page, 9, &second), PVV_EEXIST);
	assert_false(fake_bound(p.guest, 9));
	assert_int_equal(xs_conn_new(f->store, p.guest, p.page, 70000, &second), PVV_EGUEST);
	assert_string_equal(peer_str(&p, XS_READ, 0, "name"), "");
	peer_close(&p);
}

/* --- several threads -------------------------------------------------------------------------- */

#define THREADS 3
#define ROUNDS	3000

struct worker {
	struct xs_store *store;
	unsigned int id;
	atomic_uint *calls;
};

static void *work(void *arg)
{
	struct worker *w = arg;
	char dir[32], path[64];
	uint64_t v;

	snprintf(dir, sizeof(dir), "/t/%u", w->id);
	for (unsigned int i = 0; i < ROUNDS; i++) {
		snprintf(path, sizeof(path), "%s/%u", dir, i % 50);
		if (xs_write(w->store, path, "%u", i) || xs_get_uint(w->store, path, NULL, i, &v) ||
		    v != i)
			return (void *)1;
		if (i % 100 == 99 && xs_rm(w->store, dir))
			return (void *)1;
		if (i % 10 == 0)
			xs_exists(w->store, "/t/0/0");
	}
	return NULL;
}

static void count_call(void *opaque, const char *path)
{
	(void)path;
	atomic_fetch_add((atomic_uint *)opaque, 1);
}

struct watch_start {
	struct xs_store *store;
	atomic_uint *calls;
	struct xs_watch *watch;
	int ret;
};

static void start_watch(void *opaque)
{
	struct watch_start *s = opaque;

	s->ret = xs_watch(s->store, "/t", count_call, s->calls, &s->watch);
}

static void stop_watch(void *opaque)
{
	struct watch_start *s = opaque;

	xs_unwatch(s->store, s->watch);
}

static void *loop_main(void *arg)
{
	io_loop_run(arg);
	return NULL;
}

static void test_threads(void **state)
{
	struct fixture *f = *state;
	pthread_t loop_thread, t[THREADS];
	struct worker w[THREADS];
	atomic_uint calls = 0;
	struct watch_start s = {.store = f->store, .calls = &calls};
	void *ret;

	assert_int_equal(pthread_create(&loop_thread, NULL, loop_main, f->loop), 0);
	io_loop_call(f->loop, start_watch, &s);
	assert_int_equal(s.ret, 0);
	for (unsigned int i = 0; i < THREADS; i++) {
		w[i] = (struct worker){f->store, i, &calls};
		assert_int_equal(pthread_create(&t[i], NULL, work, &w[i]), 0);
	}
	for (unsigned int i = 0; i < THREADS; i++) {
		pthread_join(t[i], &ret);
		assert_null(ret);
	}
	io_loop_call(f->loop, stop_watch, &s);
	io_loop_quit(f->loop);
	pthread_join(loop_thread, NULL);
	assert_true(atomic_load(&calls) > 1);
}

#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_write_and_read),
		T(test_binary_values),
		T(test_numbers),
		T(test_directories),
		T(test_many_nodes),
		T(test_deepest_tree),
		T(test_permissions),
		T(test_watch_callbacks),
		T(test_watch_of_a_removed_subtree),
		T(test_watch_many_paths_collapse),
		T(test_watch_removed_in_its_callback),
		T(test_watch_whose_callback_writes),
		T(test_special_watches),
		T(test_watch_of_a_guests_node),
		T(test_domains_leave_nothing_behind),
		T(test_connect_twice),
		T(test_threads),
	};

	return cmocka_run_group_tests_name("xenstore", tests, NULL, NULL);
}
