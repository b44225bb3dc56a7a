/* SPDX-License-Identifier: MIT */
/* The back end's half of a ring, against a front end that plays by the rules and ones that do not.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "io/ring.h"
#include "util/err.h"

#define ENTRY 112u

static uint32_t pages[16][1024] __attribute__((aligned(4096)));
static struct io_ring ring;

/* The shared indices. */
#define REQ_PROD  pages[0][0]
#define REQ_EVENT pages[0][1]
#define RSP_PROD  pages[0][2]
#define RSP_EVENT pages[0][3]

static int attach(unsigned int nr_pages, uint32_t entry)
{
	/* In an order that shows when neighbouring pages are taken for granted. */
	static const unsigned int order[16] = {0, 5,  3, 9,  1, 7,  2,	11,
					       4, 13, 6, 15, 8, 10, 12, 14};
	void *list[16];

	for (unsigned int i = 0; i < nr_pages; i++)
		list[i] = pages[order[i]];
	return io_ring_attach(&ring, list, nr_pages, entry);
}

static int fresh(void **state)
{
	(void)state;
	memset(pages, 0, sizeof(pages));
	REQ_EVENT = RSP_EVENT = 1;
	return 0;
}

static void test_sizes(void **state)
{
	fresh(state);
	assert_int_equal(attach(1, 112), 0);
	assert_int_equal(ring.nr_ents, 32);
	assert_int_equal(attach(1, 108), 0);
	assert_int_equal(ring.nr_ents, 32);
	assert_int_equal(attach(1, 12), 0); /* network transmit */
	assert_int_equal(ring.nr_ents, 256);
	assert_int_equal(attach(2, 112), 0);
	assert_int_equal(ring.nr_ents, 64);
	assert_int_equal(attach(16, 112), 0);
	assert_int_equal(ring.nr_ents, 512);
}

/* Each byte arrives where the entry is, also where it straddles pages, over many rounds. */
static void test_transfer(void **state)
{
	static const unsigned int sizes[] = {1, 2, 4, 16};
	uint8_t req[ENTRY], rsp[ENTRY];

	for (unsigned int k = 0; k < 4; k++) {
		fresh(state);
		assert_int_equal(attach(sizes[k], ENTRY), 0);
		struct io_ring front = ring; /* the same geometry, for writing requests */
		for (uint32_t i = 0; i < 3 * ring.nr_ents; i++) {
			assert_int_equal(io_ring_pending(&ring), 0);
			memset(req, (int)(i % 251 + 1), ENTRY);
			req[0] = 0xaa;
			req[ENTRY - 1] = 0xbb;
			front.req_cons = i + 1;
			front.rsp_prod = i;
			io_ring_put(&front, req, ENTRY);
			REQ_PROD = i + 1;
			assert_int_equal(io_ring_pending(&ring), 1);
			memset(rsp, 0, ENTRY);
			io_ring_take(&ring, rsp, ENTRY);
			assert_memory_equal(rsp, req, ENTRY);
			assert_int_equal(io_ring_inflight(&ring), 1);
			memset(rsp, (int)(i % 250), ENTRY);
			io_ring_put(&ring, rsp, ENTRY);
			assert_int_equal(RSP_PROD, i);
			io_ring_push(&ring);
			assert_int_equal(RSP_PROD, i + 1);
			front.req_cons = i;
			front.req_prod = i + 1;
			io_ring_take(&front, req, ENTRY);
			assert_memory_equal(rsp, req, ENTRY);
		}
	}
}

static void test_wrap_around(void **state)
{
	uint8_t buf[ENTRY] = {0};

	fresh(state);
	RSP_PROD = REQ_PROD = UINT32_MAX - 10;
	assert_int_equal(attach(1, ENTRY), 0);
	for (unsigned int i = 0; i < 40; i++) {
		REQ_PROD += 2;
		assert_int_equal(io_ring_pending(&ring), 2);
		io_ring_take(&ring, buf, ENTRY);
		io_ring_take(&ring, buf, ENTRY);
		io_ring_put(&ring, buf, 16);
		io_ring_put(&ring, buf, 16);
		RSP_EVENT = RSP_PROD + 2;
		assert_true(io_ring_push(&ring));
		assert_int_equal(RSP_PROD, REQ_PROD);
	}
}

static void test_impossible_indices(void **state)
{
	uint8_t buf[ENTRY] = {0};

	fresh(state);
	REQ_PROD = 33;
	assert_int_equal(attach(1, ENTRY), PVV_EGUEST);
	REQ_PROD = UINT32_MAX;
	assert_int_equal(attach(1, ENTRY), PVV_EGUEST);

	/* A full ring is fine, more is not. */
	REQ_PROD = 32;
	assert_int_equal(attach(1, ENTRY), 0);
	assert_int_equal(io_ring_pending(&ring), 32);
	REQ_PROD = 33;
	assert_int_equal(io_ring_pending(&ring), 0);
	assert_true(ring.broken);
	/* For good. */
	REQ_PROD = 32;
	assert_int_equal(io_ring_pending(&ring), 0);
	assert_false(io_ring_final_check(&ring));

	/* Taking a request does not make room for another one; answering it does. */
	fresh(state);
	REQ_PROD = 32;
	assert_int_equal(attach(1, ENTRY), 0);
	io_ring_take(&ring, buf, ENTRY);
	io_ring_put(&ring, buf, 16);
	REQ_PROD = 33;
	assert_int_equal(io_ring_pending(&ring), 32);
	io_ring_take(&ring, buf, ENTRY);
	REQ_PROD = 34;
	assert_int_equal(io_ring_pending(&ring), 0);
	assert_true(ring.broken);
	/* What was taken can still be answered, into the void. */
	memset(pages, 0x5a, sizeof(pages));
	io_ring_put(&ring, buf, 16);
	assert_false(io_ring_push(&ring));
	for (size_t i = 0; i < 1024; i++)
		assert_int_equal(pages[0][i], 0x5a5a5a5a);

	/* Backwards: requests that were seen cannot be taken back. */
	fresh(state);
	REQ_PROD = 5;
	assert_int_equal(attach(1, ENTRY), 0);
	assert_int_equal(io_ring_pending(&ring), 5);
	REQ_PROD = 4;
	assert_int_equal(io_ring_pending(&ring), 0);
	assert_true(ring.broken);
}

/* Lies about what is ours to write do not matter: the private copies count. */
static void test_lies_about_our_indices(void **state)
{
	uint8_t buf[ENTRY] = {0};

	fresh(state);
	assert_int_equal(attach(1, ENTRY), 0);
	REQ_PROD = 4;
	for (unsigned int i = 0; i < 4; i++) {
		RSP_PROD = 0xdeadbeef;
		REQ_EVENT = 0xdeadbeef;
		assert_int_equal(io_ring_pending(&ring), 4 - i);
		io_ring_take(&ring, buf, ENTRY);
		io_ring_put(&ring, buf, 16);
		io_ring_push(&ring);
		assert_int_equal(RSP_PROD, i + 1);
	}
}

static void test_notification(void **state)
{
	uint8_t buf[ENTRY] = {0};

	fresh(state);
	assert_int_equal(attach(1, ENTRY), 0);
	assert_false(io_ring_push(&ring)); /* nothing to say */
	REQ_PROD = 8;
	assert_int_equal(io_ring_pending(&ring), 8);
	for (unsigned int i = 0; i < 8; i++)
		io_ring_take(&ring, buf, ENTRY);
	RSP_EVENT = 3;
	io_ring_put(&ring, buf, 16);
	io_ring_put(&ring, buf, 16);
	assert_false(io_ring_push(&ring)); /* 2: not yet */
	io_ring_put(&ring, buf, 16);
	io_ring_put(&ring, buf, 16);
	assert_true(io_ring_push(&ring)); /* 4: past it */
	io_ring_put(&ring, buf, 16);
	assert_false(io_ring_push(&ring)); /* said already */
	RSP_EVENT = 6;
	io_ring_put(&ring, buf, 16);
	assert_true(io_ring_push(&ring)); /* 6: exactly */
}

static void test_final_check(void **state)
{
	uint8_t buf[ENTRY] = {0};

	fresh(state);
	assert_int_equal(attach(1, ENTRY), 0);
	REQ_PROD = 2;
	assert_true(io_ring_final_check(&ring));
	assert_int_equal(REQ_EVENT, 1); /* not asleep */
	io_ring_take(&ring, buf, ENTRY);
	io_ring_take(&ring, buf, ENTRY);
	assert_false(io_ring_final_check(&ring));
	assert_int_equal(REQ_EVENT, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_transfer),
		cmocka_unit_test(test_wrap_around),
		cmocka_unit_test(test_impossible_indices),
		cmocka_unit_test(test_lies_about_our_indices),
		cmocka_unit_test(test_notification),
		cmocka_unit_test(test_final_check),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
