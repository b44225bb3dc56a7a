/* SPDX-License-Identifier: MIT */
/*
 * The back end on its own thread, as in a host, and a front end on another one that uses the ring
 * as a guest does: with its barriers and event indices only. For the thread sanitizer, and for lost
 * events: if one is lost this test never ends.
 */
#include "rig.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct host {
	struct rig rig;
	pthread_t thread;
	struct blk_image *image;
	bool closed;
};

static void *run(void *opaque)
{
	io_loop_run(opaque);
	return NULL;
}

static void make_device(void *opaque)
{
	struct host *h = opaque;
	struct rig *r = &h->rig;

	if (blk_device_new(r->loop, r->guest, r->store, h->image, NULL, &r->dev) < 0)
		abort();
}

static void on_closed(void *opaque)
{
	__atomic_store_n((bool *)opaque, true, __ATOMIC_RELEASE);
}

static void close_device(void *opaque)
{
	struct host *h = opaque;

	blk_device_close(h->rig.dev, on_closed, &h->closed);
}

static void wait_state(struct rig *r, unsigned int state)
{
	for (int i = 0; i < 20000; i++) {
		if (rig_back_state(r) == state)
			return;
		usleep(1000);
	}
	fail_msg("the back end did not reach state %u", state);
}

static void open_host(struct host *h, enum blk_engine_kind engine, unsigned int order)
{
	struct rig *r = &h->rig;

	memset(h, 0, sizeof(*h));
	rig_init(r);
	r->params.engine = engine;
	r->order = order;
	assert_int_equal(blk_image_open(&r->params, &h->image), 0);
	assert_int_equal(pthread_create(&h->thread, NULL, run, r->loop), 0);
	io_loop_call(r->loop, make_device, h);
	wait_state(r, XenbusStateInitWait);
	rig_make_ring(r);
	rig_front_state(r, XenbusStateInitialised);
	wait_state(r, XenbusStateConnected);
}

static void close_host(struct host *h)
{
	io_loop_call(h->rig.loop, close_device, h);
	for (int i = 0; i < 20000 && !__atomic_load_n(&h->closed, __ATOMIC_ACQUIRE); i++)
		usleep(1000);
	assert_true(__atomic_load_n(&h->closed, __ATOMIC_ACQUIRE));
	io_loop_quit(h->rig.loop);
	pthread_join(h->thread, NULL);
	rig_fini(&h->rig);
}

static void stress(enum blk_engine_kind engine, unsigned int order)
{
	unsigned int seed = 5, sent = 0, answered = 0;
	uint32_t value[64] = {0}, open[64] = {0};
	struct blk_stats s;
	struct host h;

	open_host(&h, engine, order);
	struct rig *r = &h.rig;
	while (answered < 20000) {
		struct rig_rsp rsp;
		unsigned int burst = 1 + (unsigned int)rand_r(&seed) % 24;

		while (burst-- && sent < 20000 && r->req_prod - r->rsp_cons < r->nr_ents) {
			uint32_t b = (uint32_t)rand_r(&seed) % 64;

			if (open[b])
				continue;
			bool write = !value[b] || rand_r(&seed) % 2;
			struct rig_req q =
				rig_rw(write ? BLKIF_OP_WRITE : BLKIF_OP_READ, b, RIG_DATA + b, 1);
			if (rand_r(&seed) % 256 == 0) {
				q.op = BLKIF_OP_FLUSH_DISKCACHE;
				q.nr_segs = 0;
			}
			q.id = b;
			open[b] = q.op + 1u;
			if (q.op == BLKIF_OP_WRITE)
				rig_fill(r, RIG_DATA + b, value[b] = sent + 1);
			else if (q.op == BLKIF_OP_READ)
				rig_fill(r, RIG_DATA + b, 0);
			rig_queue(r, &q);
			sent++;
		}
		rig_push(r);
		if (!rig_poll(r, &rsp)) {
			usleep(10);
			continue;
		}
		do {
			assert_int_equal(rsp.status, 0);
			assert_true(open[rsp.id] == rsp.op + 1u);
			if (rsp.op != BLKIF_OP_FLUSH_DISKCACHE)
				assert_true(rig_page_is(r, RIG_DATA + (unsigned int)rsp.id,
							value[rsp.id]));
			open[rsp.id] = 0;
			answered++;
		} while (rig_poll(r, &rsp));
		if (rand_r(&seed) % 16 == 0)
			blk_device_stats(r->dev, &s);
	}
	blk_device_stats(r->dev, &s);
	assert_int_equal(s.rd_req + s.wr_req + s.flush_req, 20000);
	/* Responses came in batches: fewer events than responses. */
	assert_true(fake_events(r->guest, r->port) <= 20000);
	close_host(&h);
}

static void test_threads(void **state)
{
	(void)state;
	stress(BLK_ENGINE_THREADS, 0);
	stress(BLK_ENGINE_THREADS, 2);
}

static void test_auto(void **state)
{
	(void)state;
	stress(BLK_ENGINE_AUTO, 0);
	stress(BLK_ENGINE_AUTO, 2);
}

/* Ends with everything in flight, over and over. */
static void test_close_under_load(void **state)
{
	(void)state;
	for (unsigned int round = 0; round < 20; round++) {
		struct host h;

		open_host(&h, round % 2 ? BLK_ENGINE_THREADS : BLK_ENGINE_AUTO, 0);
		for (unsigned int i = 0; i < 32; i++) {
			struct rig_req q = rig_rw(i % 3 ? BLKIF_OP_READ : BLKIF_OP_WRITE, i * 11,
						  RIG_DATA + i * 11, 11);

			rig_queue(&h.rig, &q);
		}
		rig_push(&h.rig);
		close_host(&h);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_auto),
		cmocka_unit_test(test_close_under_load),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
