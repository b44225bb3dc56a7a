/* SPDX-License-Identifier: MIT */
/* Quotas, back-pressure, and guests that break the ring or the protocol. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fake_guest.h"
#include "peer.h"

struct fixture {
	struct io_loop *loop;
	struct xs_store *store;
	struct peer p, other;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	assert_int_equal(io_loop_new(&f->loop), 0);
	assert_int_equal(xs_store_new(f->loop, &f->store), 0);
	peer_open(&f->p, f->loop, f->store, 5);
	peer_open(&f->other, f->loop, f->store, 7);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	peer_close(&f->p);
	peer_close(&f->other);
	xs_store_free(f->store);
	io_loop_free(f->loop);
	free(f);
	return 0;
}

static const char *write_node(struct peer *p, uint32_t tx, const char *path, size_t size)
{
	static char buf[XENSTORE_PAYLOAD_MAX];
	size_t n = strlen(path) + 1;

	memcpy(buf, path, n);
	memset(buf + n, 'v', size);
	return peer_do(p, XS_WRITE, tx, buf, n + size);
}

static void must_work(struct peer *p)
{
	static struct message_in m;

	peer_request(p, XS_READ, 0, "name", 5, &m);
	assert_int_equal(m.hdr.type, XS_READ);
	assert_int_equal(memcmp(m.payload, "guest", 5), 0);
}

static uint32_t start_tx(struct peer *p)
{
	static struct message_in m;

	peer_request(p, XS_TRANSACTION_START, 0, "", 1, &m);
	return m.hdr.type == XS_ERROR ? 0 : (uint32_t)strtoul(m.payload, NULL, 10);
}

/* --- quotas ----------------------------------------------------------------------------------- */

static void test_node_quota(void **state)
{
	struct fixture *f = *state;
	struct xs_domain *d = xsd_find(f->store, 5);
	char path[32];
	const char *error = "";
	int i;

	for (i = 0; i < 2000 && !error[0]; i++) {
		snprintf(path, sizeof(path), "data/%d/%d", i / 50, i);
		error = write_node(&f->p, 0, path, 1);
	}
	assert_string_equal(error, "ENOSPC");
	assert_int_equal(d->nodes, 1000);
	/* A chain that does not fit as a whole leaves nothing. */
	assert_string_equal(peer_str(&f->p, XS_RM, 0, "data/0/0"), "");
	assert_string_equal(write_node(&f->p, 0, "data/a/b/c", 1), "ENOSPC");
	assert_string_equal(peer_str(&f->p, XS_READ, 0, "data/a"), "ENOENT");
	assert_string_equal(write_node(&f->p, 0, "data/a", 1), "");
	/* Others have theirs, and domain 0 none. */
	assert_string_equal(write_node(&f->other, 0, "data/x", 1), "");
	assert_int_equal(xs_write(f->store, "/local/domain/5/data/by-dom0", "x"), 0);
	assert_string_equal(write_node(&f->p, 0, "data/b", 1), "ENOSPC");
	/* What exists can still be changed. */
	assert_string_equal(write_node(&f->p, 0, "data/a", 2), "");
	assert_string_equal(peer_str(&f->p, XS_RM, 0, "data"), "");
	assert_string_equal(write_node(&f->p, 0, "drivers/b", 1), "");
}

static void test_node_quota_in_transactions(void **state)
{
	struct fixture *f = *state;
	struct xs_quota q;
	char path[32];

	xs_get_quota(f->store, &q);
	q.nodes = xsd_find(f->store, 5)->nodes + 10;
	xs_set_quota(f->store, &q);
	uint32_t a = start_tx(&f->p), b = start_tx(&f->p);
	for (int i = 0; i < 10; i++) {
		snprintf(path, sizeof(path), "data/a%d", i);
		assert_string_equal(write_node(&f->p, a, path, 1), "");
		snprintf(path, sizeof(path), "drivers/b%d", i);
		assert_string_equal(write_node(&f->p, b, path, 1), "");
	}
	assert_string_equal(write_node(&f->p, a, "data/more", 1), "ENOSPC");
	/* Making room counts within the transaction. */
	assert_string_equal(peer_str(&f->p, XS_RM, a, "data/a0"), "");
	assert_string_equal(write_node(&f->p, a, "data/more", 1), "");
	assert_string_equal(peer_str(&f->p, XS_TRANSACTION_END, a, "T"), "");
	/* Each was fine alone; together they are not. */
	assert_string_equal(peer_str(&f->p, XS_TRANSACTION_END, b, "T"), "ENOSPC");
	assert_string_equal(peer_str(&f->p, XS_READ, 0, "drivers/b0"), "ENOENT");
	assert_string_equal(peer_str(&f->p, XS_READ, b, "name"), "ENOENT");
}

static void test_node_size_quota(void **state)
{
	struct fixture *f = *state;
	char path[1100];

	/* 24 bytes of header and 8 for the one permission. */
	assert_string_equal(write_node(&f->p, 0, "data/big", 2048 - 32 - 1), "");
	assert_string_equal(write_node(&f->p, 0, "data/big", 2048 - 32), "ENOSPC");
	assert_string_equal(write_node(&f->p, 0, "data/new", 2048), "ENOSPC");
	assert_string_equal(peer_str(&f->p, XS_READ, 0, "data/new"), "ENOENT");
	/* Permissions count, */
	assert_string_equal(peer_str(&f->p, XS_SET_PERMS, 0, "data/big\0n5\0r7"), "ENOSPC");
	/* and the names of children do. */
	memset(path, 'c', sizeof(path));
	memcpy(path, "data/1", 6);
	path[1000] = '\0';
	assert_string_equal(write_node(&f->p, 0, path, 1), "");
	path[5] = '2';
	assert_string_equal(write_node(&f->p, 0, path, 1), "");
	path[5] = '3';
	assert_string_equal(write_node(&f->p, 0, path, 1), "ENOSPC");
	assert_string_equal(peer_do(&f->p, XS_READ, 0, path, strlen(path) + 1), "ENOENT");
	assert_int_equal(xs_write(f->store, "/local/domain/5/data/4", "x"), 0);
	/* Domain 0 may write what a payload holds. */
	memset(path, 'x', sizeof(path));
	assert_int_equal(
		xs_write(f->store, "/big", "%.*s%.*s%.*s", 1100, path, 1100, path, 1100, path), 0);
}

static void test_watch_quota(void **state)
{
	struct fixture *f = *state;
	char payload[32];
	static struct message_in m;

	for (int i = 0; i < 129; i++) {
		int n = snprintf(payload, sizeof(payload), "data%c%d", '\0', i);

		assert_string_equal(peer_do(&f->p, XS_WATCH, 0, payload, (size_t)n + 1), "");
		assert_true(peer_event(&f->p, &m));
	}
	assert_string_equal(peer_str(&f->p, XS_WATCH, 0, "data\0more"), "E2BIG");
	assert_string_equal(peer_str(&f->other, XS_WATCH, 0, "data\0more"), "");
	assert_string_equal(peer_str(&f->p, XS_UNWATCH, 0,
				     "data\0"
				     "0"),
			    "");
	assert_string_equal(peer_str(&f->p, XS_WATCH, 0, "data\0more"), "");
	assert_true(peer_event(&f->p, &m));
}

static void test_transaction_quota(void **state)
{
	struct fixture *f = *state;
	uint32_t last = 0;

	for (int i = 0; i < 11; i++)
		assert_true((last = start_tx(&f->p)) != 0);
	assert_string_equal(peer_str(&f->p, XS_TRANSACTION_START, 0, ""), "ENOSPC");
	assert_true(start_tx(&f->other) != 0);
	assert_string_equal(peer_str(&f->p, XS_TRANSACTION_END, last, "F"), "");
	assert_true(start_tx(&f->p) != 0);
}

/* Of one domain alone. */
static void test_own_quotas(void **state)
{
	struct fixture *f = *state;
	static struct message_in m;
	struct xs_quota q;
	char payload[32];

	xs_get_quota(f->store, &q);
	q.nodes = xsd_find(f->store, 5)->nodes + 2;
	q.watches = 3;
	q.transactions = 1;
	xs_conn_set_quota(f->p.conn, &q);
	for (int i = 0; i < 4; i++) {
		int n = snprintf(payload, sizeof(payload), "data%c%d", '\0', i);

		assert_string_equal(peer_do(&f->p, XS_WATCH, 0, payload, (size_t)n + 1),
				    i < 3 ? "" : "E2BIG");
		assert_string_equal(peer_do(&f->other, XS_WATCH, 0, payload, (size_t)n + 1), "");
		assert_true(i == 3 || peer_event(&f->p, &m));
	}
	assert_string_equal(write_node(&f->p, 0, "data/a", 1), "");
	assert_string_equal(write_node(&f->p, 0, "data/b", 1), "");
	assert_string_equal(write_node(&f->p, 0, "data/c", 1), "ENOSPC");
	for (int i = 0; i < 10; i++) {
		snprintf(payload, sizeof(payload), "data/%d", i);
		assert_string_equal(write_node(&f->other, 0, payload, 1), "");
	}
	assert_true(start_tx(&f->p) != 0);
	assert_string_equal(peer_str(&f->p, XS_TRANSACTION_START, 0, ""), "ENOSPC");
	assert_true(start_tx(&f->other) != 0);
	assert_true(start_tx(&f->other) != 0);
}

static void test_transaction_node_quota(void **state)
{
	struct fixture *f = *state;
	uint32_t tx = start_tx(&f->p);
	struct xs_quota q;

	xs_get_quota(f->store, &q);
	q.transaction_nodes = 5;
	xs_set_quota(f->store, &q);
	assert_string_equal(peer_str(&f->p, XS_READ, tx, "name"), "");
	assert_string_equal(peer_str(&f->p, XS_READ, tx, "domid"), "");
	assert_string_equal(peer_str(&f->p, XS_READ, tx, "memory/target"), "");
	/* The missing node, and its parent for the permissions. */
	assert_string_equal(peer_str(&f->p, XS_READ, tx, "data/no"), "ENOENT");
	assert_string_equal(peer_str(&f->p, XS_READ, tx, "console/port"), "ENOSPC");
	assert_string_equal(peer_str(&f->p, XS_WRITE, tx,
				     "drivers/x\0"
				     "1"),
			    "ENOSPC");
	assert_string_equal(peer_str(&f->p, XS_READ, tx, "name"), "");
	/* It lacks something now: what it would commit is not what was asked for. */
	assert_string_equal(peer_str(&f->p, XS_TRANSACTION_END, tx, "T"), "ENOMEM");
	assert_string_equal(peer_str(&f->p, XS_TRANSACTION_END, tx, "T"), "ENOENT");
}

/* A domain that fills all it may stays within its memory; what it gives up, it has again. */
static void test_memory_quota(void **state)
{
	struct fixture *f = *state;
	struct xs_domain *d = xsd_find(f->store, 5);
	const char *error = "";
	uint64_t before = d->memory;
	char path[64];
	struct xs_quota q;

	xs_get_quota(f->store, &q);
	q.memory = before + 100000;
	xs_set_quota(f->store, &q);
	for (int i = 0; i < 900 && !error[0]; i++) {
		snprintf(path, sizeof(path), "data/%d", i);
		error = write_node(&f->p, 0, path, 1500);
	}
	assert_string_equal(error, "ENOMEM");
	assert_true(d->memory <= q.memory + 4096);
	/* Transactions and watches count as well. */
	uint32_t tx = start_tx(&f->p);
	for (int i = 0; i < 50; i++) {
		snprintf(path, sizeof(path), "data/%d", i);
		error = peer_do(&f->p, XS_READ, tx, path, strlen(path) + 1);
	}
	assert_string_equal(error, "ENOMEM");
	assert_string_equal(peer_str(&f->p, XS_TRANSACTION_END, tx, "F"), "");
	assert_string_equal(peer_str(&f->p, XS_RM, 0, "data"), "");
	assert_true(d->memory < before);
	assert_string_equal(write_node(&f->p, 0, "drivers/again", 1500), "");
	must_work(&f->other);
}

/* --- back-pressure ---------------------------------------------------------------------------- */

/* Puts a request into the ring without waiting for room; false if there is none. */
static bool post_in(struct peer *p, uint32_t type, uint32_t tx, const char *payload, uint32_t len)
{
	struct xsd_sockmsg hdr = {.type = type, .req_id = 1, .tx_id = tx, .len = len};
	char bytes[256];

	memcpy(bytes, &hdr, sizeof(hdr));
	memcpy(bytes + sizeof(hdr), payload, len);
	len += (uint32_t)sizeof(hdr);
	if (XENSTORE_RING_SIZE - (p->page->req_prod - p->page->req_cons) < len)
		return false;
	for (uint32_t i = 0; i < len; i++)
		p->page->req[MASK_XENSTORE_IDX(p->page->req_prod + i)] = bytes[i];
	p->page->req_prod += len;
	fake_raise(p->guest, PEER_PORT);
	return true;
}

static bool post(struct peer *p, uint32_t type, const char *payload, uint32_t len)
{
	return post_in(p, type, 0, payload, len);
}

static void test_replies_that_are_not_read(void **state)
{
	struct fixture *f = *state;
	static struct message_in m;
	unsigned int sent = 0, got = 0;

	write_node(&f->p, 0, "data/big", 1900);
	for (int idle = 0; idle < 20;) {
		if (post(&f->p, XS_READ, "data/big", 9)) {
			sent++;
			idle = 0;
		} else {
			idle++;
		}
		pump(f->loop);
	}
	/* The quota of replies, one in the ring, and a ring full of requests. */
	assert_true(sent >= 20);
	assert_true(sent <= 20 + 1 + XENSTORE_RING_SIZE / 25 + 1);
	must_work(&f->other);
	/* None was lost. */
	while (got < sent && peer_pull(&f->p, &m)) {
		assert_int_equal(m.hdr.type, XS_READ);
		assert_int_equal(m.hdr.len, 1900);
		got++;
	}
	assert_int_equal(got, sent);
	must_work(&f->p);
}

static void test_events_that_are_not_read(void **state)
{
	struct fixture *f = *state;
	static struct message_in m;
	char path[64];
	size_t bytes = 0;

	assert_string_equal(peer_str(&f->p, XS_WATCH, 0, "data\0tok"), "");
	assert_true(peer_event(&f->p, &m));
	malloc_trim(0);
	for (int i = 0; i < 100000; i++) {
		snprintf(path, sizeof(path), "/local/domain/5/data/%d", i);
		assert_int_equal(xs_write(f->store, path, "x"), 0);
		if (i % 1000 == 999)
			assert_int_equal(xs_rm(f->store, "/local/domain/5/data"), 0);
		if (i % 64 == 0)
			pump(f->loop);
	}
	while (peer_event(&f->p, &m))
		bytes += m.hdr.len;
	assert_true(bytes > 32 * 1024);
	assert_true(bytes <= 64 * 1024 + XENSTORE_RING_SIZE);
	must_work(&f->p);
}

static void test_unread_doubles_are_one_event(void **state)
{
	struct fixture *f = *state;
	static struct message_in m;
	unsigned int n = 0;

	assert_string_equal(peer_str(&f->p, XS_WATCH, 0, "data\0tok"), "");
	assert_true(peer_event(&f->p, &m));
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(xs_write(f->store, "/local/domain/5/data/same", "%d", i), 0);
		pump(f->loop);
	}
	while (peer_event(&f->p, &m))
		n++;
	/* As many as fit into the ring, and one more. */
	assert_true(n >= 1);
	assert_true(n <= 1 + XENSTORE_RING_SIZE / 20);
}

/* A storm of requests must leave the loop to others. */
static void tick(void *opaque)
{
	(*(unsigned int *)opaque)++;
}

static void test_storm_is_fair(void **state)
{
	struct fixture *f = *state;
	unsigned int ticks = 0;
	struct io_work w = {.fn = tick, .opaque = &ticks};

	/* 42 requests of 24 bytes: more than one batch. */
	while (post(&f->p, XS_READ, "domid\0\0", 8))
		;
	io_loop_post(f->loop, &w);
	for (int i = 0; i < 4; i++)
		pump(f->loop);
	assert_int_equal(ticks, 1);
	/* All invalid ("domid" and more): errors all the same. */
	static struct message_in m;
	for (int i = 0; i < XENSTORE_RING_SIZE / 24; i++) {
		assert_true(peer_pull(&f->p, &m));
		assert_int_equal(m.hdr.type, XS_ERROR);
	}
}

/*
 * One request that fires as many events as there can be, while the guest reads none: a transaction
 * that changes much, beneath as many watches as there may be. All other guests wait meanwhile.
 * Milliseconds of this thread.
 */
static double storm(struct fixture *f, uint32_t event_bytes)
{
	static struct message_in m;
	struct timespec begin, end;
	struct xs_quota quota;
	char path[32];
	uint32_t tx;

	xs_get_quota(f->store, &quota);
	quota.event_bytes = event_bytes;
	xs_conn_set_quota(f->p.conn, &quota);
	tx = start_tx(&f->p);
	for (int i = 0; i < 500; i++) {
		snprintf(path, sizeof(path), "data/%x", i);
		assert_string_equal(write_node(&f->p, tx, path, 1), "");
	}
	assert_true(post_in(&f->p, XS_TRANSACTION_END, tx, "T", 2));
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
	pump(f->loop);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
	for (m.hdr.type = XS_ERROR; m.hdr.type != XS_TRANSACTION_END;)
		assert_true(peer_pull(&f->p, &m));
	assert_string_equal(m.payload, "OK");
	return (double)(end.tv_sec - begin.tv_sec) * 1e3 +
	       (double)(end.tv_nsec - begin.tv_nsec) / 1e6;
}

/* What is unread already must not make it slower: with looks at each it was by a factor of 200. */
static void test_storm_of_events(void **state)
{
	struct fixture *f = *state;
	static struct message_in m;
	double few, many;
	char path[32];

	for (int i = 0; i < 129; i++) {
		int n = snprintf(path, sizeof(path), "data%c%d", 0, i) + 1;

		assert_string_equal(peer_do(&f->p, XS_WATCH, 0, path, (size_t)n), "");
		assert_true(peer_event(&f->p, &m));
	}
	few = storm(f, 2 * 1024);
	many = storm(f, 64 * 1024);
	printf("%.1f ms with few unread events, %.1f with many\n", few, many);
	assert_true(many < 20 * few);
}

/* Several such requests are not served in one go. */
struct left {
	struct xenstore_domain_interface *page;
	uint32_t bytes; /* of requests, when others had their turn */
};

static void look(void *opaque)
{
	struct left *l = opaque;

	l->bytes = l->page->req_prod - l->page->req_cons;
}

static void test_storms_are_fair(void **state)
{
	struct fixture *f = *state;
	static struct message_in m;
	struct left left = {.page = f->p.page};
	struct io_work w = {.fn = look, .opaque = &left};
	uint32_t tx[4];
	char path[32];

	assert_string_equal(write_node(&f->p, 0, "data/x", 1), "");
	for (int i = 0; i < 100; i++) {
		int n = snprintf(path, sizeof(path), "data%c%d", 0, i) + 1;

		assert_string_equal(peer_do(&f->p, XS_WATCH, 0, path, (size_t)n), "");
		assert_true(peer_event(&f->p, &m));
	}
	for (int t = 0; t < 4; t++) {
		tx[t] = start_tx(&f->p);
		for (int i = 0; i < 100; i++) {
			snprintf(path, sizeof(path), "data/x/%x", t * 100 + i);
			assert_string_equal(write_node(&f->p, tx[t], path, 1), "");
		}
	}
	while (f->p.nr_events)
		assert_true(peer_event(&f->p, &m));
	for (int t = 0; t < 4; t++)
		assert_true(post_in(&f->p, XS_TRANSACTION_END, tx[t], "T", 2));
	io_loop_post(f->loop, &w);
	pump(f->loop);
	assert_int_equal(left.bytes, 3 * (sizeof(m.hdr) + 2));
}

static void test_byte_by_byte(void **state)
{
	struct fixture *f = *state;
	struct xsd_sockmsg hdr = {.type = XS_READ, .req_id = 77, .len = 5};
	char bytes[sizeof(hdr) + 5];
	static struct message_in m;

	memcpy(bytes, &hdr, sizeof(hdr));
	memcpy(bytes + sizeof(hdr), "name", 5);
	for (int round = 0; round < 200; round++) {
		for (size_t i = 0; i < sizeof(bytes); i++) {
			assert_true(peer_push(&f->p, bytes + i, 1));
			pump(f->loop);
		}
		assert_true(peer_pull(&f->p, &m));
		assert_int_equal(m.hdr.type, XS_READ);
		assert_int_equal(m.hdr.req_id, 77);
		assert_string_equal(m.payload, "guest5");
	}
}

static void test_largest_payload(void **state)
{
	struct fixture *f = *state;
	char payload[XENSTORE_PAYLOAD_MAX];

	memset(payload, 'x', sizeof(payload));
	memcpy(payload, "data/l", 7);
	assert_string_equal(peer_do(&f->p, XS_WRITE, 0, payload, sizeof(payload)), "ENOSPC");
	must_work(&f->p);
}

/* --- broken rings ----------------------------------------------------------------------------- */

static void ring_the_bell(struct fixture *f)
{
	fake_raise(f->p.guest, PEER_PORT);
	for (int i = 0; i < 4; i++)
		pump(f->loop);
}

static void reconnect(struct fixture *f)
{
	f->p.page->connection = XENSTORE_RECONNECT;
	ring_the_bell(f);
	assert_int_equal(f->p.page->connection, XENSTORE_CONNECTED);
	assert_int_equal(f->p.page->error, XENSTORE_ERROR_NONE);
	assert_int_equal(f->p.page->req_cons, f->p.page->req_prod);
	assert_int_equal(f->p.page->rsp_cons, f->p.page->rsp_prod);
	must_work(&f->p);
}

static void test_features_are_announced(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(f->p.page->server_features,
			 XENSTORE_SERVER_FEATURE_RECONNECTION | XENSTORE_SERVER_FEATURE_ERROR);
}

static void test_request_index_lies(void **state)
{
	struct fixture *f = *state;
	static const uint32_t lies[] = {1025, 5000, 0x80000000u, 0xffffffffu};

	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		uint64_t events = fake_events(f->p.guest, PEER_PORT);

		f->p.page->req_prod = f->p.page->req_cons + lies[i];
		ring_the_bell(f);
		assert_int_equal(f->p.page->error, XENSTORE_ERROR_RINGIDX);
		assert_true(fake_events(f->p.guest, PEER_PORT) > events);
		/* Nothing moves until it reconnects, not even with sane indices. */
		f->p.page->req_prod = f->p.page->req_cons;
		assert_true(post(&f->p, XS_READ, "name", 5));
		ring_the_bell(f);
		assert_int_equal(f->p.page->rsp_cons, f->p.page->rsp_prod);
		must_work(&f->other);
		reconnect(f);
	}
}

static void test_reply_index_lies(void **state)
{
	struct fixture *f = *state;

	f->p.page->rsp_cons = f->p.page->rsp_prod + 1;
	assert_true(post(&f->p, XS_READ, "name", 5));
	ring_the_bell(f);
	assert_int_equal(f->p.page->error, XENSTORE_ERROR_RINGIDX);
	reconnect(f);
	f->p.page->rsp_cons = f->p.page->rsp_prod - 1025;
	assert_true(post(&f->p, XS_READ, "name", 5));
	ring_the_bell(f);
	assert_int_equal(f->p.page->error, XENSTORE_ERROR_RINGIDX);
	reconnect(f);
}

static void test_payload_length_lies(void **state)
{
	struct fixture *f = *state;
	static const uint32_t lengths[] = {4097, 0x7fffffff, 0x80000000u, 0xffffffffu};

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		struct xsd_sockmsg hdr = {.type = XS_READ, .len = lengths[i]};

		assert_true(peer_push(&f->p, &hdr, sizeof(hdr)));
		ring_the_bell(f);
		assert_int_equal(f->p.page->error, XENSTORE_ERROR_PROTO);
		must_work(&f->other);
		reconnect(f);
	}
}

/* Our own indices in the page are not read back. */
static void test_our_indices_overwritten(void **state)
{
	struct fixture *f = *state;
	static struct message_in m;
	uint32_t cons = f->p.page->req_cons, prod = f->p.page->rsp_prod;

	f->p.page->req_cons = cons + 1000;
	f->p.page->rsp_prod = prod + 1000;
	struct xsd_sockmsg hdr = {.type = XS_READ, .req_id = 3, .len = 5};
	char bytes[sizeof(hdr) + 5];
	memcpy(bytes, &hdr, sizeof(hdr));
	memcpy(bytes + sizeof(hdr), "name", 5);
	for (size_t i = 0; i < sizeof(bytes); i++)
		f->p.page->req[MASK_XENSTORE_IDX(cons + i)] = bytes[i];
	f->p.page->req_prod = cons + (uint32_t)sizeof(bytes);
	ring_the_bell(f);
	assert_int_equal(f->p.page->req_cons, cons + sizeof(bytes));
	assert_int_equal(f->p.page->rsp_prod, prod + sizeof(hdr) + 6);
	assert_true(peer_pull(&f->p, &m));
	assert_string_equal(m.payload, "guest5");
}

static void test_reconnect_drops_everything(void **state)
{
	struct fixture *f = *state;
	static struct message_in m;
	uint32_t tx;

	assert_string_equal(peer_str(&f->p, XS_WATCH, 0, "data\0tok"), "");
	assert_true(peer_event(&f->p, &m));
	tx = start_tx(&f->p);
	/* Half a request and an unread event. */
	assert_true(peer_push(&f->p, "\2\0\0\0\1", 5));
	assert_int_equal(xs_write(f->store, "/local/domain/5/data/x", "1"), 0);
	pump(f->loop);
	reconnect(f);
	assert_string_equal(peer_str(&f->p, XS_READ, tx, "name"), "ENOENT");
	assert_string_equal(peer_str(&f->p, XS_UNWATCH, 0, "data\0tok"), "ENOENT");
	assert_int_equal(xs_write(f->store, "/local/domain/5/data/x", "1"), 0);
	assert_false(peer_event(&f->p, &m));
	/* What is in the store stays. */
	assert_string_equal(peer_str(&f->p, XS_READ, 0, "data/x"), "");
}

static void test_index_wrap(void **state)
{
	struct fixture *f = *state;
	unsigned int domid = io_guest_domid(f->p.guest);

	/* A ring that was restored in the middle of its life. */
	xs_conn_free(f->p.conn);
	f->p.page->req_cons = f->p.page->req_prod = 0xffffff00u;
	f->p.page->rsp_cons = f->p.page->rsp_prod = 0xfffffff0u;
	assert_int_equal(xs_conn_new(f->store, f->p.guest, f->p.page, PEER_PORT, &f->p.conn), 0);
	assert_int_equal(domid, 5);
	for (int i = 0; i < 100; i++)
		must_work(&f->p);
	assert_true(f->p.page->req_cons < 0x80000000u);
}

/* A request that waits in the ring when the connection is made. */
static void test_early_request(void **state)
{
	struct fixture *f = *state;
	static struct message_in m;

	xs_conn_free(f->p.conn);
	memset(f->p.page, 0, sizeof(*f->p.page));
	f->p.page->req_prod = 0;
	fake_use_loop(f->p.guest, f->loop);
	struct xsd_sockmsg hdr = {.type = XS_READ, .len = 5};
	memcpy(f->p.page->req, &hdr, sizeof(hdr));
	memcpy(f->p.page->req + sizeof(hdr), "name", 5);
	f->p.page->req_prod = sizeof(hdr) + 5;
	assert_int_equal(xs_conn_new(f->store, f->p.guest, f->p.page, PEER_PORT, &f->p.conn), 0);
	pump(f->loop);
	pump(f->loop);
	assert_int_equal(f->p.page->rsp_prod, sizeof(hdr) + 6);
	assert_true(peer_pull(&f->p, &m));
}

/* Another vCPU scribbles over the page while we serve it. */
struct scribbler {
	struct xenstore_domain_interface *page;
	atomic_int stop;
};

static void *scribble(void *arg)
{
	struct scribbler *s = arg;
	unsigned int seed = 7;
	uint32_t *words = (uint32_t *)s->page;

	while (!atomic_load(&s->stop)) {
		uint32_t r = (uint32_t)rand_r(&seed);
		/* Mostly the request bytes, now and then an index or the connection state. */
		size_t at = r % 64 ? r % (XENSTORE_RING_SIZE / 4) : 512 + r / 64 % 7;

		__atomic_store_n(&words[at], (uint32_t)rand_r(&seed) % 128, __ATOMIC_RELAXED);
	}
	return NULL;
}

static void test_page_changes_while_it_is_read(void **state)
{
#ifdef __SANITIZE_THREAD__
	print_message(
		"skipped: racing with the guest is the point here, ThreadSanitizer objects\n");
	skip();
#endif
	struct fixture *f = *state;
	struct scribbler s = {.page = f->p.page};
	unsigned int seed = 3;
	pthread_t t;

	assert_int_equal(pthread_create(&t, NULL, scribble, &s), 0);
	for (int i = 0; i < 20000; i++) {
		uint32_t r = (uint32_t)rand_r(&seed);

		__atomic_store_n(&s.page->req_prod, s.page->req_cons + r % 1025, __ATOMIC_RELAXED);
		__atomic_store_n(&s.page->rsp_cons, s.page->rsp_prod - r / 1025 % 1025,
				 __ATOMIC_RELAXED);
		if (i % 8 == 0)
			__atomic_store_n(&s.page->connection, XENSTORE_RECONNECT, __ATOMIC_RELAXED);
		fake_raise(f->p.guest, PEER_PORT);
		pump(f->loop);
	}
	atomic_store(&s.stop, 1);
	pthread_join(t, NULL);
	must_work(&f->other);
	assert_true(xsd_find(f->store, 5)->memory <= f->store->quota.memory + 8192);
	reconnect(f);
}

#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_node_quota),
		T(test_own_quotas),
		T(test_node_quota_in_transactions),
		T(test_node_size_quota),
		T(test_watch_quota),
		T(test_transaction_quota),
		T(test_transaction_node_quota),
		T(test_memory_quota),
		T(test_replies_that_are_not_read),
		T(test_events_that_are_not_read),
		T(test_unread_doubles_are_one_event),
		T(test_storm_is_fair),
		T(test_storm_of_events),
		T(test_storms_are_fair),
		T(test_byte_by_byte),
		T(test_largest_payload),
		T(test_features_are_announced),
		T(test_request_index_lies),
		T(test_reply_index_lies),
		T(test_payload_length_lies),
		T(test_our_indices_overwritten),
		T(test_reconnect_drops_everything),
		T(test_index_wrap),
		T(test_early_request),
		T(test_page_changes_while_it_is_read),
	};

	return cmocka_run_group_tests_name("xenstore ring", tests, NULL, NULL);
}
