/* SPDX-License-Identifier: MIT */
/* Front ends that lie: each attack is answered, or ends the connection; the back end goes on. */
#include "mock_engine.h"
#include "rig.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define ERROR BLKIF_RSP_ERROR

static struct mock mock;

static void start(struct rig *r)
{
	rig_init(r);
	mock_init(&mock);
	rig_device(r, &mock.engine);
	rig_connect(r);
}

static void settle(struct rig *r)
{
	for (int i = 0; i < 5; i++)
		rig_step(r);
}

/* The connection has ended with a sentence, nothing is held, and starting over works. */
static void assert_thrown_out(struct rig *r)
{
	char error[256];

	rig_until(r, rig_back_state(r) == XenbusStateClosing && !fake_bound(r->guest, r->port));
	assert_int_equal(xs_get_str(r->store, RIG_ERROR, NULL, error, sizeof(error)), 0);
	assert_non_null(strstr(error, "impossible"));
	assert_int_equal(r->guest_errors, 1);
	assert_int_equal(fake_grant_maps_total(r->guest), 0);
	rig_front_state(r, XenbusStateClosed);
	rig_until(r, rig_back_state(r) == XenbusStateClosed);
	rig_front_state(r, XenbusStateInitialising);
	rig_connect(r);
	struct rig_req q = rig_rw(BLKIF_OP_READ, 1, RIG_DATA, 1);
	rig_queue(r, &q);
	rig_push(r);
	settle(r);
	assert_int_equal(mock.nr_ops, 1);
	mock_complete(&mock, 0, 0);
	blk_run(r->dev);
	assert_int_equal(rig_wait(r).status, 0);
}

static void test_producer_index_lies(void **state)
{
	static const uint32_t lies[] = {33, 34, 64, 1000, 0x7fffffff, 0x80000000, UINT32_MAX};

	(void)state;
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		struct rig r;

		start(&r);
		rig_set_req_prod(&r, lies[i]);
		fake_raise(r.guest, r.port);
		settle(&r);
		assert_int_equal(mock.submitted, 0);
		assert_thrown_out(&r);
		rig_stop(&r);
	}
}

/* More requests than the ring holds while earlier ones are in flight: their entries are not free.
 */
static void test_overrun_while_in_flight(void **state)
{
	struct rig r;

	(void)state;
	start(&r);
	for (unsigned int i = 0; i < 32; i++) {
		struct rig_req q = rig_rw(BLKIF_OP_WRITE, i, RIG_DATA + i, 1);

		rig_queue(&r, &q);
	}
	rig_push(&r);
	settle(&r);
	assert_int_equal(mock.nr_ops, 32);
	rig_set_req_prod(&r, 33);
	fake_raise(r.guest, r.port);
	settle(&r);
	/* Disconnection waits for what is in flight: its pages stay mapped until then. */
	assert_true(fake_grant_maps_total(r.guest) >= 32);
	assert_true(fake_bound(r.guest, r.port));
	uint32_t rsp_prod = ((struct blkif_sring *)fake_page(r.guest, 0))->rsp_prod;
	while (mock.nr_ops)
		mock_complete(&mock, mock.nr_ops / 2, 0);
	blk_run(r.dev);
	/* And the broken ring gets no responses any more. */
	assert_int_equal(((struct blkif_sring *)fake_page(r.guest, 0))->rsp_prod, rsp_prod);
	assert_thrown_out(&r);
	rig_stop(&r);
}

/* What is in the ring when a request was taken counts, not what it becomes later. */
static void test_request_changed_after_copy(void **state)
{
	struct rig r;
	struct rig_rsp rsp;

	(void)state;
	start(&r);
	struct rig_req q = rig_rw(BLKIF_OP_WRITE, 10, RIG_DATA, 2);
	q.id = 1234;
	rig_fill(&r, RIG_DATA, 77);
	rig_fill(&r, RIG_DATA + 1, 78);
	rig_queue(&r, &q);
	rig_push(&r);
	settle(&r);
	assert_int_equal(mock.nr_ops, 1);
	memset((char *)fake_page(r.guest, 0) + 64, 0xff, 4096 - 64);
	mock_complete(&mock, 0, 0);
	blk_run(r.dev);
	rsp = rig_wait(&r);
	assert_int_equal(rsp.id, 1234);
	assert_int_equal(rsp.op, BLKIF_OP_WRITE);
	assert_int_equal(rsp.status, 0);
	assert_int_equal(mock.nr_writes, 16);
	assert_int_equal(mock.writes[0].sector, 80);
	assert_int_equal(mock.writes[15].value, 78);
	rig_stop(&r);
}

static void test_indirect_page_changed_after_copy(void **state)
{
	struct rig r;

	(void)state;
	start(&r);
	struct rig_req q = rig_indirect(&r, BLKIF_OP_WRITE, 10, 20, RIG_DATA, 30);
	rig_fill(&r, RIG_DATA + 29, 99);
	rig_queue(&r, &q);
	rig_push(&r);
	settle(&r);
	/* Its page is not even mapped any more. */
	assert_int_equal(fake_grant_maps(r.guest, 20), 0);
	memset(fake_page(r.guest, 20), 0xff, 4096);
	mock_complete(&mock, 0, 0);
	blk_run(r.dev);
	assert_int_equal(rig_wait(&r).status, 0);
	assert_int_equal(mock.writes[29 * 8].value, 99);
	rig_stop(&r);
}

/* All of these are refused before the host sees anything, and leave nothing mapped. */
static void refuse(struct rig *r, const struct rig_req *q)
{
	unsigned int before = fake_grant_maps_total(r->guest);
	struct blk_stats s0, s1;

	blk_device_stats(r->dev, &s0);
	assert_int_equal(rig_do(r, q), ERROR);
	blk_device_stats(r->dev, &s1);
	assert_int_equal(s1.refused, s0.refused + 1);
	assert_int_equal(mock.submitted, 0);
	assert_int_equal(fake_grant_maps_total(r->guest), before);
}

static void test_bad_segments(void **state)
{
	static const struct {
		uint8_t first, last;
	} bad[] = {{1, 0}, {7, 6}, {0, 8}, {8, 8}, {255, 255}, {0, 255}, {255, 0}, {8, 0}};
	struct rig r;

	(void)state;
	start(&r);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		for (unsigned int at = 0; at < 3; at++) {
			for (uint8_t op = BLKIF_OP_READ; op <= BLKIF_OP_WRITE_BARRIER; op++) {
				struct rig_req q = rig_rw(op, 5, RIG_DATA, 3);

				q.seg[at].first_sect = bad[i].first;
				q.seg[at].last_sect = bad[i].last;
				refuse(&r, &q);
			}
			struct rig_req q = rig_indirect(&r, BLKIF_OP_WRITE, 5, 20, RIG_DATA, 30);
			struct blkif_request_segment *seg = fake_page(r.guest, 20);
			seg[at * 14].first_sect = bad[i].first;
			seg[at * 14].last_sect = bad[i].last;
			refuse(&r, &q);
		}
	}
	/* None at all, too many. */
	static const unsigned int counts[] = {0, 12, 13, 100, 255};
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		struct rig_req q = rig_rw(BLKIF_OP_READ, 5, RIG_DATA, 1);

		q.nr_segs = counts[i];
		refuse(&r, &q);
		q.op = BLKIF_OP_WRITE;
		refuse(&r, &q);
	}
	rig_stop(&r);
}

static void test_bad_sectors(void **state)
{
	static const uint64_t bad[] = {
		RIG_BLOCKS * 8, RIG_BLOCKS * 8 - 1, RIG_BLOCKS * 8 - 7, UINT64_MAX,
		UINT64_MAX - 7, UINT64_MAX - 8,	    UINT64_MAX / 512,	UINT64_MAX / 512 + 1,
		1ull << 63,	1ull << 55,	    (1ull << 55) + 8,	UINT64_MAX / 512 - 7,
	};
	struct rig r;

	(void)state;
	start(&r);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		for (uint8_t op = BLKIF_OP_READ; op <= BLKIF_OP_WRITE_BARRIER; op++) {
			struct rig_req q = rig_rw(op, 0, RIG_DATA, 1);

			q.sector = bad[i];
			refuse(&r, &q);
		}
		struct rig_req q = rig_indirect(&r, BLKIF_OP_READ, 0, 20, RIG_DATA, 256);
		q.sector = bad[i];
		refuse(&r, &q);
	}
	rig_stop(&r);
}

static void test_bad_grants(void **state)
{
	static const uint32_t bad[] = {FAKE_GRANTS, 0x7fffffff, 0x80000000, UINT32_MAX};
	struct rig r;

	(void)state;
	start(&r);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		for (unsigned int at = 0; at < 11; at += 5) {
			struct rig_req q = rig_rw(BLKIF_OP_READ, 5, RIG_DATA, 11);

			q.seg[at].gref = bad[i];
			refuse(&r, &q);
		}
		struct rig_req q = rig_indirect(&r, BLKIF_OP_READ, 5, 20, RIG_DATA, 30);
		q.indirect[0] = bad[i];
		refuse(&r, &q);
		q = rig_indirect(&r, BLKIF_OP_WRITE, 5, 20, RIG_DATA, 30);
		((struct blkif_request_segment *)fake_page(r.guest, 20))[29].gref = bad[i];
		refuse(&r, &q);
	}
	/* The host's own failures to map. */
	for (unsigned int n = 1; n <= 3; n++) {
		struct rig_req q = rig_rw(BLKIF_OP_READ, 5, RIG_DATA, 3);

		fake_fail_maps(r.guest, n);
		for (unsigned int k = 0; k < n; k++)
			refuse(&r, &q);
	}
	rig_stop(&r);
}

static void test_bad_indirect(void **state)
{
	static const unsigned int counts[] = {0, 257, 512, 513, 4096, 65535};
	static const uint8_t ops[] = {BLKIF_OP_WRITE_BARRIER,
				      BLKIF_OP_FLUSH_DISKCACHE,
				      BLKIF_OP_DISCARD,
				      BLKIF_OP_INDIRECT,
				      4,
				      255};
	struct rig r;

	(void)state;
	start(&r);
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		struct rig_req q = rig_indirect(&r, BLKIF_OP_READ, 5, 20, RIG_DATA, 1);

		q.nr_segs = counts[i];
		refuse(&r, &q);
	}
	for (size_t i = 0; i < sizeof(ops); i++) {
		struct rig_req q = rig_indirect(&r, ops[i], 5, 20, RIG_DATA, 1);

		refuse(&r, &q);
	}
	/* The indirect page is a page of the ring, or one of its own data pages: just bytes. */
	struct rig_req q = rig_indirect(&r, BLKIF_OP_READ, 5, 20, RIG_DATA, 256);
	q.indirect[0] = 0;
	refuse(&r, &q);
	rig_stop(&r);
}

/* Data that goes into the ring itself: read from the disk over the ring's indices and entries. */
static void test_data_into_the_ring(void **state)
{
	struct rig r;

	(void)state;
	start(&r);
	struct rig_req q = rig_rw(BLKIF_OP_READ, 5, 0 /* the ring's page */, 1);
	rig_queue(&r, &q);
	rig_push(&r);
	settle(&r);
	assert_int_equal(mock.nr_ops, 1);
	memset(fake_page(r.guest, 0), 0xff, 4096); /* what the DMA would do */
	mock.nr_ops--;
	mock.ops[0]->done(mock.ops[0], 0);
	blk_run(r.dev);
	assert_thrown_out(&r);
	rig_stop(&r);
}

/* A flood: the loop gets its turn between bounded portions of it. */
static void test_flood(void **state)
{
	struct blk_stats s;
	struct rig r;
	struct rig_rsp rsp;
	unsigned int answers = 0;

	(void)state;
	rig_init(&r);
	r.order = 4;
	mock_init(&mock);
	rig_device(&r, &mock.engine);
	rig_connect(&r);
	for (unsigned int i = 0; i < 512; i++) {
		struct rig_req q = rig_rw(99, i, RIG_DATA, 1);

		rig_queue(&r, &q);
	}
	/* Not through the loop: one run must not do it all. */
	rig_set_req_prod(&r, r.req_prod);
	blk_run(r.dev);
	blk_device_stats(r.dev, &s);
	assert_true(s.refused > 0 && s.refused <= 256);
	/* The rest follows by itself, without another event. */
	rig_until(&r, (blk_device_stats(r.dev, &s), s.refused == 512));
	while (rig_poll(&r, &rsp))
		answers++;
	assert_int_equal(answers, 512);
	/* Events without requests cost nothing and do nothing. */
	for (unsigned int i = 0; i < 10000; i++)
		fake_raise(r.guest, r.port);
	settle(&r);
	assert_int_equal(mock.submitted, 0);
	rig_stop(&r);
}

/* Large requests count by their size, too. */
static void test_flood_of_bytes(void **state)
{
	struct rig r;

	(void)state;
	start(&r);
	for (unsigned int i = 0; i < 32; i++) {
		struct rig_req q = rig_indirect(&r, BLKIF_OP_READ, i, 20, RIG_DATA, 256);

		rig_queue(&r, &q);
	}
	rig_set_req_prod(&r, r.req_prod);
	blk_run(r.dev);
	assert_true(mock.nr_ops >= 1 && mock.nr_ops <= 5);
	rig_until(&r, mock.nr_ops == 32);
	while (mock.nr_ops)
		mock_complete(&mock, 0, 0);
	blk_run(r.dev);
	for (unsigned int i = 0; i < 32; i++)
		assert_int_equal(rig_wait(&r).status, 0);
	rig_stop(&r);
}

/* A grant taken back, the port closed, while I/O is in flight: the page stays until the end. */
static void test_grant_ends_in_flight(void **state)
{
	struct rig r;

	(void)state;
	start(&r);
	struct rig_req q = rig_rw(BLKIF_OP_READ, 5, RIG_DATA, 1);
	rig_queue(&r, &q);
	rig_push(&r);
	settle(&r);
	fake_grant_end(r.guest, RIG_DATA);
	fake_grant_end(r.guest, 0); /* the ring */
	mock_complete(&mock, 0, 0);
	blk_run(r.dev);
	assert_int_equal(rig_wait(&r).status, 0);
	fake_grant(r.guest, RIG_DATA, RIG_DATA, false);
	rig_stop(&r);
}

/* The front end closes, or starts anew, with requests in flight and a barrier waiting. */
static void test_close_in_flight(void **state)
{
	static const unsigned int states[] = {XenbusStateClosed, XenbusStateInitialising, 0};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct rig r;

		start(&r);
		struct rig_req q = rig_rw(BLKIF_OP_WRITE, 5, RIG_DATA, 1);
		rig_queue(&r, &q);
		q = rig_rw(BLKIF_OP_WRITE_BARRIER, 6, RIG_DATA, 1);
		rig_queue(&r, &q);
		rig_push(&r);
		settle(&r);
		rig_front_state(&r, states[i]);
		settle(&r);
		assert_int_equal(r.disconnects, 0);
		assert_true(fake_grant_maps(r.guest, RIG_DATA) > 0);
		/* The ring's page is the guest's again; nothing may be written there now. */
		memset(fake_page(r.guest, 0), 0x77, 4096);
		for (int n = 0; n < 4; n++) {
			assert_int_equal(mock.nr_ops, 1);
			mock_complete(&mock, 0, 0);
			blk_run(r.dev);
		}
		assert_int_equal(mock.nr_ops, 0);
		rig_until(&r, r.disconnects == 1);
		for (unsigned int k = 0; k < 4096; k++)
			assert_int_equal(((uint8_t *)fake_page(r.guest, 0))[k], 0x77);
		assert_int_equal(fake_grant_maps_total(r.guest), 0);
		rig_stop(&r);
	}
}

static struct blkif_request_segment random_segment(unsigned int *seed)
{
	unsigned int a = (unsigned int)rand_r(seed), b = (unsigned int)rand_r(seed);
	struct blkif_request_segment seg = {
		.gref = RIG_DATA + a % 100,
		.first_sect = (uint8_t)(b % 3),
		.last_sect = (uint8_t)(b / 8 % 5 + 3),
	};

	switch (b / 64 % 128) {
	case 0:
		seg.gref = b;
		break;
	case 1:
		seg.last_sect = (uint8_t)(a >> 8);
		break;
	case 2:
		seg.first_sect = (uint8_t)(a >> 8);
		break;
	}
	return seg;
}

static struct rig_req random_request(struct rig *r, unsigned int *seed)
{
	unsigned int a = (unsigned int)rand_r(seed), b = (unsigned int)rand_r(seed);
	struct rig_req q = {
		.op = (uint8_t)(b % 8),
		.indirect_op = (uint8_t)(b / 8 % 2),
		.nr_segs = a % 13,
		.id = a,
		.sector = b % (RIG_BLOCKS * 8),
		.nr_sectors = a % 1000,
	};
	struct blkif_request_segment *seg = fake_page(r->guest, 20);

	for (unsigned int i = 0; i < BLKIF_MAX_SEGMENTS_PER_REQUEST; i++)
		q.seg[i] = random_segment(seed);
	if (q.op == BLKIF_OP_INDIRECT) {
		q.nr_segs = a / 16 % 64;
		for (unsigned int i = 0; i < q.nr_segs; i++)
			seg[i] = random_segment(seed);
		q.indirect[0] = 20;
	}
	if (a / 64 % 16 == 0)
		q.sector = (uint64_t)a << 32 | b;
	if (a / 64 % 16 == 1)
		q.nr_segs = b % 300;
	if (a / 64 % 16 == 2)
		q.op = (uint8_t)b;
	return q;
}

/* Random requests by the thousand, some of them nonsense, completed in random order. */
static void random_requests(bool abi_32, bool persistent)
{
	unsigned int seed = 99, answers = 0, sent = 0, good = 0;
	struct rig_rsp rsp;
	struct rig r;

	rig_init(&r);
	r.abi_32 = abi_32;
	mock_init(&mock);
	rig_device(&r, &mock.engine);
	rig_front_write(&r, "feature-persistent", "%d", persistent);
	rig_connect(&r);
	/* Never zero: a read into the ring itself would end the connection. */
	for (unsigned int i = 0; i < 512; i++)
		((struct blkif_request_segment *)fake_page(r.guest, 20))[i] = random_segment(&seed);
	while (sent < 20000) {
		for (; r.req_prod - r.rsp_cons < r.nr_ents; sent++) {
			struct rig_req q = random_request(&r, &seed);

			rig_queue(&r, &q);
			if (rand_r(&seed) % 8 == 0)
				break;
		}
		rig_push(&r);
		blk_run(r.dev);
		while (mock.nr_ops && rand_r(&seed) % 8)
			mock_complete(&mock, (unsigned int)rand_r(&seed) % mock.nr_ops,
				      rand_r(&seed) % 16 ? 0 : EIO);
		mock.nr_writes = 0;
		blk_run(r.dev);
		while (rig_poll(&r, &rsp)) {
			answers++;
			good += rsp.status == 0;
		}
	}
	while (mock.nr_ops) {
		mock_complete(&mock, 0, 0);
		blk_run(r.dev);
	}
	while (rig_poll(&r, &rsp))
		answers++;
	/* None is lost, and none is answered twice. */
	assert_int_equal(answers, r.req_prod);
	assert_true(good > 1000);
	assert_int_equal(r.guest_errors, 0);
	rig_stop(&r);
}

static void test_random_requests(void **state)
{
	(void)state;
	random_requests(false, false);
	random_requests(true, true);
	random_requests(true, false);
	random_requests(false, true);
}

/* --- a guest with another CPU ----------------------------------------------------------------- */

struct racer {
	struct rig *r;
	bool stop;
};

/* Changes segments between good and terrible, in the indirect page and in the ring's entries. */
static void *race(void *opaque)
{
	struct racer *racer = opaque;
	volatile uint8_t *segs = fake_page(racer->r->guest, 20);
	volatile uint8_t *ring = fake_page(racer->r->guest, 0);

	for (unsigned int i = 0; !__atomic_load_n(&racer->stop, __ATOMIC_RELAXED); i++) {
		segs[(i % 256) * 8 + 5] = i & 256 ? 255 : 7;
		segs[(i % 256) * 8 + 4] = i & 512 ? 200 : 0;
		/* The last sectors of the ring's entries, and their numbers of segments. */
		ring[64 + (i % 32) * 112 + 24 + 5] = i & 32 ? 255 : 7;
		ring[64 + (i % 32) * 112 + 1] = i & 64 ? 255 : 1;
	}
	return NULL;
}

static void test_racing_guest(void **state)
{
	unsigned int good = 0, bad = 0;
	struct racer racer = {0};
	struct rig_rsp rsp;
	pthread_t thread;
	struct rig r;

	(void)state;
#ifdef __SANITIZE_THREAD__
	print_message("skipped: a data race on purpose is nothing for the thread sanitizer\n");
	skip();
#endif
	start(&r);
	racer.r = &r;
	assert_int_equal(pthread_create(&thread, NULL, race, &racer), 0);
	for (unsigned int i = 0; good < 2000 || bad < 2000; i++) {
		struct rig_req q = i % 2 ? rig_rw(BLKIF_OP_WRITE, 5, RIG_DATA, 1)
					 : rig_indirect(&r, BLKIF_OP_WRITE, 5, 20, RIG_DATA, 8);

		rig_queue(&r, &q);
		rig_push(&r);
		blk_run(r.dev);
		/* The mock checks that the pieces of memory are as long as they should be. */
		while (mock.nr_ops) {
			for (unsigned int k = 0; k < mock.ops[0]->nr_iov; k++)
				assert_true(mock.ops[0]->iov[k].iov_len <= 4096);
			mock_complete(&mock, 0, 0);
		}
		mock.nr_writes = 0;
		blk_run(r.dev);
		while (rig_poll(&r, &rsp)) {
			good += rsp.status == 0;
			bad += rsp.status != 0;
		}
	}
	__atomic_store_n(&racer.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	rig_stop(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_producer_index_lies),
		cmocka_unit_test(test_overrun_while_in_flight),
		cmocka_unit_test(test_request_changed_after_copy),
		cmocka_unit_test(test_indirect_page_changed_after_copy),
		cmocka_unit_test(test_bad_segments),
		cmocka_unit_test(test_bad_sectors),
		cmocka_unit_test(test_bad_grants),
		cmocka_unit_test(test_bad_indirect),
		cmocka_unit_test(test_data_into_the_ring),
		cmocka_unit_test(test_flood),
		cmocka_unit_test(test_flood_of_bytes),
		cmocka_unit_test(test_grant_ends_in_flight),
		cmocka_unit_test(test_close_in_flight),
		cmocka_unit_test(test_random_requests),
		cmocka_unit_test(test_racing_guest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
