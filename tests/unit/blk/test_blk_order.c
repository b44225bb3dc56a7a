/* SPDX-License-Identifier: MIT */
/*
 * What waits for what, with a host that completes operations when the test says so. The last tests
 * cut the power at random moments of random workloads and check what a guest may rely on.
 */
#include "mock_engine.h"
#include "rig.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct mock mock;

static void start(struct rig *r, enum blk_cache cache)
{
	rig_init(r);
	/* The mock has no O_DIRECT to lose: the image is only asked for its size. */
	r->params.cache = cache == BLK_CACHE_NONE ? BLK_CACHE_WRITEBACK : cache;
	mock_init(&mock);
	rig_device(r, &mock.engine);
	r->dev->image->params.cache = cache;
	rig_connect(r);
}

static void stop(struct rig *r)
{
	rig_stop(r);
	assert_true(mock.freed);
}

/* As the loop would call it after a batch of completions. */
static void complete(struct rig *r, int i, int error)
{
	assert_true(i >= 0);
	mock_complete(&mock, (unsigned int)i, error);
	blk_run(r->dev);
}

static void send(struct rig *r, uint8_t op, uint64_t block, uint64_t id)
{
	struct rig_req q = rig_rw(op, block, RIG_DATA + (unsigned int)block,
				  op == BLKIF_OP_FLUSH_DISKCACHE ? 0 : 1);

	q.id = id;
	rig_queue(r, &q);
	rig_push(r);
	rig_step(r);
}

static uint64_t answered(struct rig *r, int status)
{
	struct rig_rsp rsp;

	assert_true(rig_poll(r, &rsp));
	assert_int_equal(rsp.status, status);
	return rsp.id;
}

static void assert_silent(struct rig *r)
{
	struct rig_rsp rsp;

	rig_step(r);
	assert_false(rig_poll(r, &rsp));
}

/* A flush begins when the writes before it are complete, and does not wait for later ones. */
static void test_flush_waits(void **state)
{
	struct rig r;

	(void)state;
	start(&r, BLK_CACHE_WRITEBACK);
	send(&r, BLKIF_OP_WRITE, 1, 1);
	send(&r, BLKIF_OP_WRITE, 2, 2);
	send(&r, BLKIF_OP_FLUSH_DISKCACHE, 0, 3);
	send(&r, BLKIF_OP_WRITE, 4, 4);
	send(&r, BLKIF_OP_READ, 5, 5);
	assert_int_equal(mock.nr_ops, 4);
	assert_int_equal(mock_find(&mock, BLK_IO_FLUSH), -1);
	complete(&r, 2, 0); /* the later write */
	assert_int_equal(answered(&r, 0), 4);
	complete(&r, 1, 0);
	assert_int_equal(answered(&r, 0), 2);
	assert_int_equal(mock_find(&mock, BLK_IO_FLUSH), -1);
	complete(&r, 0, 0);
	assert_int_equal(answered(&r, 0), 1);
	/* Only the read and the sync are left. */
	assert_int_equal(mock.nr_ops, 2);
	assert_silent(&r);
	complete(&r, mock_find(&mock, BLK_IO_FLUSH), 0);
	assert_int_equal(answered(&r, 0), 3);
	complete(&r, 0, 0);
	assert_int_equal(answered(&r, 0), 5);
	stop(&r);
}

/* Flushes share a sync that has not begun, and never one that has. */
static void test_flush_groups(void **state)
{
	struct rig r;

	(void)state;
	start(&r, BLK_CACHE_WRITEBACK);
	send(&r, BLKIF_OP_WRITE, 1, 1);
	send(&r, BLKIF_OP_FLUSH_DISKCACHE, 0, 2);
	send(&r, BLKIF_OP_FLUSH_DISKCACHE, 0, 3);
	complete(&r, 0, 0);
	assert_int_equal(answered(&r, 0), 1);
	assert_int_equal(mock.nr_ops, 1);
	send(&r, BLKIF_OP_FLUSH_DISKCACHE, 0, 4);
	send(&r, BLKIF_OP_FLUSH_DISKCACHE, 0, 5);
	assert_int_equal(mock.nr_ops, 1);
	complete(&r, 0, 0);
	assert_int_equal(answered(&r, 0), 2);
	assert_int_equal(answered(&r, 0), 3);
	assert_silent(&r);
	assert_int_equal(mock.nr_ops, 1);
	complete(&r, 0, 0);
	assert_int_equal(answered(&r, 0), 4);
	assert_int_equal(answered(&r, 0), 5);
	assert_int_equal(mock.submitted, 3);
	stop(&r);
}

/* Drain, sync, write, sync; and nothing behind it begins before its end. */
static void test_barrier(void **state)
{
	struct rig r;

	(void)state;
	start(&r, BLK_CACHE_WRITEBACK);
	send(&r, BLKIF_OP_WRITE, 1, 1);
	send(&r, BLKIF_OP_READ, 2, 2);
	send(&r, BLKIF_OP_WRITE_BARRIER, 3, 3);
	send(&r, BLKIF_OP_WRITE, 4, 4);
	send(&r, BLKIF_OP_FLUSH_DISKCACHE, 0, 5);
	assert_int_equal(mock.nr_ops, 2);
	complete(&r, 0, 0);
	assert_int_equal(answered(&r, 0), 1);
	assert_int_equal(mock.nr_ops, 1);
	complete(&r, 0, 0);
	assert_int_equal(answered(&r, 0), 2);
	assert_int_equal(mock.nr_ops, 1);
	assert_int_equal(mock.ops[0]->op, BLK_IO_FLUSH);
	complete(&r, 0, 0);
	assert_int_equal(mock.nr_ops, 1);
	assert_int_equal(mock.ops[0]->op, BLK_IO_WRITE);
	assert_int_equal(mock.ops[0]->offset, 3 * 4096);
	complete(&r, 0, 0);
	assert_silent(&r);
	assert_int_equal(mock.nr_ops, 1);
	assert_int_equal(mock.ops[0]->op, BLK_IO_FLUSH);
	complete(&r, 0, 0);
	assert_int_equal(answered(&r, 0), 3);
	/* Now the others. */
	assert_int_equal(mock.nr_ops, 1);
	assert_int_equal(mock.ops[0]->offset, 4 * 4096);
	complete(&r, 0, 0);
	complete(&r, 0, 0);
	assert_int_equal(answered(&r, 0), 4);
	assert_int_equal(answered(&r, 0), 5);
	stop(&r);
}

static void test_barrier_waits_for_running_sync(void **state)
{
	struct rig r;

	(void)state;
	start(&r, BLK_CACHE_WRITEBACK);
	send(&r, BLKIF_OP_FLUSH_DISKCACHE, 0, 1);
	send(&r, BLKIF_OP_WRITE_BARRIER, 3, 2);
	send(&r, BLKIF_OP_WRITE_BARRIER, 4, 3);
	assert_int_equal(mock.submitted, 1);
	complete(&r, 0, 0);
	assert_int_equal(answered(&r, 0), 1);
	for (unsigned int i = 0; i < 3; i++)
		complete(&r, 0, 0);
	assert_int_equal(answered(&r, 0), 2);
	for (unsigned int i = 0; i < 3; i++)
		complete(&r, 0, 0);
	assert_int_equal(answered(&r, 0), 3);
	assert_int_equal(mock.submitted, 7);
	stop(&r);
}

/* Each step of a barrier can fail; the device goes on. */
static void test_barrier_errors(void **state)
{
	(void)state;
	for (unsigned int step = 0; step < 3; step++) {
		struct rig r;

		start(&r, BLK_CACHE_NONE);
		send(&r, BLKIF_OP_WRITE_BARRIER, 3, 1);
		for (unsigned int i = 0; i < step; i++)
			complete(&r, 0, 0);
		complete(&r, 0, ENOSPC);
		assert_int_equal(mock.nr_ops, 0);
		assert_int_equal(answered(&r, BLKIF_RSP_ERROR), 1);
		assert_int_equal(r.io_errors, 1);
		assert_int_equal(r.last_errno, ENOSPC);
		assert_string_equal(r.last_op, step == 1 ? "write" : "flush");
		send(&r, BLKIF_OP_READ, 3, 2);
		complete(&r, 0, 0);
		assert_int_equal(answered(&r, 0), 2);
		stop(&r);
	}
}

/*
 * After a failed fdatasync() the kernel may drop what it could not write and succeed the next time.
 * With its page cache in between no later flush may succeed.
 */
static void test_failed_sync_is_not_forgotten(void **state)
{
	struct rig r;

	(void)state;
	start(&r, BLK_CACHE_WRITEBACK);
	send(&r, BLKIF_OP_FLUSH_DISKCACHE, 0, 1);
	complete(&r, 0, EIO);
	assert_int_equal(answered(&r, BLKIF_RSP_ERROR), 1);
	send(&r, BLKIF_OP_FLUSH_DISKCACHE, 0, 2);
	rig_step(&r);
	assert_int_equal(answered(&r, BLKIF_RSP_ERROR), 2);
	send(&r, BLKIF_OP_WRITE_BARRIER, 3, 3);
	assert_int_equal(answered(&r, BLKIF_RSP_ERROR), 3);
	assert_int_equal(mock.submitted, 1);
	stop(&r);

	start(&r, BLK_CACHE_NONE);
	send(&r, BLKIF_OP_FLUSH_DISKCACHE, 0, 1);
	complete(&r, 0, EIO);
	assert_int_equal(answered(&r, BLKIF_RSP_ERROR), 1);
	send(&r, BLKIF_OP_FLUSH_DISKCACHE, 0, 2);
	complete(&r, 0, 0);
	assert_int_equal(answered(&r, 0), 2);
	stop(&r);
}

static void test_errors(void **state)
{
	static const struct {
		uint8_t op;
		int error, status;
		bool reported;
	} cases[] = {
		{BLKIF_OP_READ, EIO, BLKIF_RSP_ERROR, true},
		{BLKIF_OP_WRITE, ENOSPC, BLKIF_RSP_ERROR, true},
		{BLKIF_OP_WRITE, EOPNOTSUPP, BLKIF_RSP_ERROR, true},
		{BLKIF_OP_DISCARD, EIO, BLKIF_RSP_ERROR, true},
		{BLKIF_OP_DISCARD, EOPNOTSUPP, BLKIF_RSP_EOPNOTSUPP, false},
	};
	struct blk_stats s;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct rig r;

		start(&r, BLK_CACHE_WRITEBACK);
		struct rig_req q = rig_rw(cases[i].op, 1, RIG_DATA, 1);
		q.nr_sectors = 8;
		rig_queue(&r, &q);
		rig_push(&r);
		rig_step(&r);
		complete(&r, 0, cases[i].error);
		answered(&r, cases[i].status);
		assert_int_equal(r.io_errors, cases[i].reported);
		blk_device_stats(r.dev, &s);
		assert_int_equal(s.errors, 1);
		assert_int_equal(s.refused, 0);
		assert_int_equal(s.rd_req + s.wr_req + s.discard_req, 0);
		stop(&r);
	}
}

static void test_unsafe_never_syncs(void **state)
{
	struct rig r;

	(void)state;
	start(&r, BLK_CACHE_UNSAFE);
	send(&r, BLKIF_OP_WRITE, 1, 1);
	send(&r, BLKIF_OP_FLUSH_DISKCACHE, 0, 2);
	assert_silent(&r);
	complete(&r, 0, 0);
	assert_int_equal(answered(&r, 0), 1);
	assert_int_equal(answered(&r, 0), 2);
	send(&r, BLKIF_OP_WRITE_BARRIER, 1, 3);
	complete(&r, 0, 0);
	assert_int_equal(answered(&r, 0), 3);
	assert_int_equal(mock.submitted, 2);
	stop(&r);
}

/* No more in flight than allowed, and all are answered in the end. */
static void test_inflight_limit(void **state)
{
	struct rig r;

	(void)state;
	rig_init(&r);
	r.params.max_inflight = 5;
	r.order = 2;
	mock_init(&mock);
	rig_device(&r, &mock.engine);
	rig_connect(&r);
	for (unsigned int i = 0; i < 100; i++) {
		struct rig_req q = rig_rw(BLKIF_OP_READ, i, RIG_DATA + i, 1);

		rig_queue(&r, &q);
	}
	rig_push(&r);
	rig_step(&r);
	for (unsigned int i = 0; i < 100; i++) {
		assert_int_equal(mock.nr_ops, 100 - i < 5 ? 100 - i : 5);
		complete(&r, i % 3 < mock.nr_ops ? (int)(i % 3) : 0, 0);
		answered(&r, 0);
	}
	stop(&r);
}

/* --- power cuts ------------------------------------------------------------------------------- */

#define BLOCKS 32u

/*
 * What the guest knows of a block. Blocks are written one request at a time, as file systems do,
 * so that "the last value" means something.
 */
struct block {
	uint64_t acked;	  /* the last value whose write was acknowledged */
	uint64_t durable; /* the last one that a later acknowledged flush or barrier covers */
	uint64_t writing; /* in flight, 0 if none */
};

struct op {
	uint8_t op;
	uint64_t block, value;
	uint64_t covers[BLOCKS]; /* FLUSH, BARRIER: what was acknowledged when it was sent */
	bool open;
};

static struct block blocks[BLOCKS];
static struct op ops[4096];
static unsigned int nr_ops;
static uint64_t next_value;

static void guest_send(struct rig *r, unsigned int *seed)
{
	unsigned int dice = (unsigned int)rand_r(seed) % 16;
	struct op *op = &ops[nr_ops];
	uint64_t b = (unsigned int)rand_r(seed) % BLOCKS;

	*op = (struct op){.block = b, .open = true};
	op->op = dice == 0   ? BLKIF_OP_WRITE_BARRIER
		 : dice <= 2 ? BLKIF_OP_FLUSH_DISKCACHE
			     : BLKIF_OP_WRITE;
	if (op->op != BLKIF_OP_FLUSH_DISKCACHE) {
		if (blocks[b].writing)
			return;
		op->value = blocks[b].writing = ++next_value;
		rig_fill(r, RIG_DATA + (unsigned int)b, op->value);
	}
	for (unsigned int i = 0; i < BLOCKS; i++)
		op->covers[i] = blocks[i].acked;
	struct rig_req q = rig_rw(op->op, b, RIG_DATA + (unsigned int)b, op->value ? 1 : 0);
	q.id = nr_ops++;
	rig_queue(r, &q);
	rig_push(r);
}

static void guest_receive(struct rig *r)
{
	struct rig_rsp rsp;

	while (rig_poll(r, &rsp)) {
		struct op *op = &ops[rsp.id];

		assert_true(op->open);
		op->open = false;
		assert_int_equal(rsp.status, 0);
		if (op->value) {
			blocks[op->block].acked = op->value;
			blocks[op->block].writing = 0;
		}
		if (op->op == BLKIF_OP_WRITE)
			continue;
		for (unsigned int i = 0; i < BLOCKS; i++)
			if (op->covers[i] > blocks[i].durable)
				blocks[i].durable = op->covers[i];
		if (op->value)
			blocks[op->block].durable = op->value;
	}
}

/* The oldest value that the block can have after the power cut: the last that was synced. */
static void check_block(uint64_t b, const struct block *known, bool write_through)
{
	uint64_t worst = 0;

	for (unsigned int i = 0; i < mock.nr_writes; i++)
		if (mock.writes[i].sector == b * 8 && mock.writes[i].synced)
			worst = mock.writes[i].value;
	assert_true(worst >= known->durable);
	if (write_through)
		assert_true(worst >= known->acked);
}

/*
 * If anything that was sent after a barrier can survive, the barrier's own data and all that was
 * acknowledged or sent before must be safe: a later write may not even have been submitted before.
 */
static void check_barriers(void)
{
	uint64_t newest = 0;

	for (unsigned int i = 0; i < mock.nr_writes; i++)
		if (mock.writes[i].value > newest)
			newest = mock.writes[i].value;
	for (unsigned int i = 0; i < nr_ops; i++) {
		if (ops[i].op != BLKIF_OP_WRITE_BARRIER || !ops[i].value || ops[i].value >= newest)
			continue;
		/* Values grow in the order of sending. */
		bool after = false;
		for (unsigned int k = 0; k < mock.nr_writes; k++)
			after |= mock.writes[k].value > ops[i].value;
		for (unsigned int k = 0; after && k < mock.nr_writes; k++)
			if (mock.writes[k].value <= ops[i].value)
				assert_true(mock.writes[k].synced);
	}
}

static void power_cut(unsigned int seed, enum blk_cache cache)
{
	struct rig r;
	unsigned int steps = 50 + (unsigned int)rand_r(&seed) % 400;

	memset(blocks, 0, sizeof(blocks));
	nr_ops = 0;
	next_value = 0;
	start(&r, cache);
	for (unsigned int i = 0; i < steps; i++) {
		if (rand_r(&seed) % 2 && r.req_prod - r.rsp_cons < r.nr_ents)
			guest_send(&r, &seed);
		else if (mock.nr_ops)
			mock_complete(&mock, (unsigned int)rand_r(&seed) % mock.nr_ops, 0);
		/* Not always, so that completions and requests gather. */
		if (rand_r(&seed) % 2)
			blk_run(r.dev);
		guest_receive(&r);
	}
	for (unsigned int b = 0; b < BLOCKS; b++)
		check_block(b, &blocks[b], cache == BLK_CACHE_WRITETHROUGH);
	check_barriers();
	/* And if the power stays, all is answered. */
	while (mock.nr_ops || r.req_prod != r.rsp_cons) {
		blk_run(r.dev);
		if (mock.nr_ops)
			mock_complete(&mock, (unsigned int)rand_r(&seed) % mock.nr_ops, 0);
		blk_run(r.dev);
		guest_receive(&r);
	}
	stop(&r);
}

static void test_power_cuts(void **state)
{
	(void)state;
	for (unsigned int seed = 1; seed <= 150; seed++)
		power_cut(seed, BLK_CACHE_WRITEBACK);
}

static void test_power_cuts_write_through(void **state)
{
	(void)state;
	for (unsigned int seed = 1; seed <= 50; seed++)
		power_cut(seed, BLK_CACHE_WRITETHROUGH);
}

/* The end of the device completes and answers what was taken. */
static void test_close_drains(void **state)
{
	struct rig r;
	struct rig_rsp rsp;
	unsigned int n = 0;

	(void)state;
	start(&r, BLK_CACHE_WRITEBACK);
	send(&r, BLKIF_OP_WRITE, 1, 1);
	send(&r, BLKIF_OP_FLUSH_DISKCACHE, 0, 2);
	send(&r, BLKIF_OP_READ, 3, 3);
	send(&r, BLKIF_OP_WRITE_BARRIER, 4, 4);
	send(&r, BLKIF_OP_WRITE, 5, 5); /* behind the barrier: not taken */
	assert_int_equal(mock.nr_ops, 2);
	blk_device_free(r.dev);
	assert_true(mock.freed);
	while (rig_poll(&r, &rsp)) {
		assert_int_equal(rsp.status, 0);
		n++;
	}
	assert_int_equal(n, 4);
	assert_int_equal(mock.nr_writes, 16);
	rig_fini(&r); /* nothing is mapped or bound */
}

static void on_closed(void *opaque)
{
	*(bool *)opaque = true;
}

static void test_close_is_asynchronous(void **state)
{
	struct rig r;
	bool closed = false;

	(void)state;
	start(&r, BLK_CACHE_WRITEBACK);
	send(&r, BLKIF_OP_WRITE, 1, 1);
	blk_device_close(r.dev, on_closed, &closed);
	rig_step(&r);
	assert_false(closed);
	assert_true(fake_grant_maps_total(r.guest) > 0);
	mock_complete(&mock, 0, 0);
	assert_false(closed); /* not within a completion: the engine is still at work */
	blk_run(r.dev);
	assert_true(closed);
	assert_true(mock.freed);
	assert_false(xs_exists(r.store, RIG_BACK));
	assert_false(xs_exists(r.store, RIG_FRONT));
	rig_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_flush_waits),
		cmocka_unit_test(test_flush_groups),
		cmocka_unit_test(test_barrier),
		cmocka_unit_test(test_barrier_waits_for_running_sync),
		cmocka_unit_test(test_barrier_errors),
		cmocka_unit_test(test_failed_sync_is_not_forgotten),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_unsafe_never_syncs),
		cmocka_unit_test(test_inflight_limit),
		cmocka_unit_test(test_power_cuts),
		cmocka_unit_test(test_power_cuts_write_through),
		cmocka_unit_test(test_close_drains),
		cmocka_unit_test(test_close_is_asynchronous),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
