/* SPDX-License-Identifier: MIT */
/* Every operation on a real file, with both engines, both ABIs and rings of several pages. */
#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define OKAY	    BLKIF_RSP_OKAY
#define ERROR	    BLKIF_RSP_ERROR
#define EOPNOTSUPP_ BLKIF_RSP_EOPNOTSUPP

/* What each test runs with. */
struct variant {
	enum blk_engine_kind engine;
	bool abi_32;
	bool persistent;
	unsigned int order;
};

static void start(struct rig *r, void **state)
{
	const struct variant *v = *state;

	rig_init(r);
	r->params.engine = v->engine;
	r->abi_32 = v->abi_32;
	r->order = v->order;
	rig_device(r, NULL);
	if (v->persistent)
		rig_front_write(r, "feature-persistent", "1");
	rig_connect(r);
	assert_string_equal(blk_device_engine(r->dev),
			    v->engine == BLK_ENGINE_URING ? "io_uring" : "threads");
}

static void test_read(void **state)
{
	struct rig r;

	start(&r, state);
	for (unsigned int n = 1; n <= 11; n++) {
		struct rig_req q = rig_rw(BLKIF_OP_READ, 100 * n, RIG_DATA, n);
		uint64_t written = fake_pages_written(r.guest);

		assert_int_equal(rig_do(&r, &q), OKAY);
		/* Each page may have held code that was translated: it was reported. The ring's
		 * one too. */
		assert_int_equal(fake_pages_written(r.guest) - written,
				 n + (1u << ((const struct variant *)*state)->order));
		for (unsigned int i = 0; i < n; i++)
			assert_true(rig_page_is(&r, RIG_DATA + i, rig_pattern(100 * n + i)));
	}
	/* The last block, and sectors out of the middle of a page into the middle of another. */
	struct rig_req q = rig_rw(BLKIF_OP_READ, RIG_BLOCKS - 1, RIG_DATA, 1);
	assert_int_equal(rig_do(&r, &q), OKAY);
	assert_true(rig_page_is(&r, RIG_DATA, rig_pattern(RIG_BLOCKS - 1)));
	rig_fill(&r, RIG_DATA, 7);
	q.sector = 10 * 8 + 7; /* the last sector of block 10, the first of block 11 */
	q.seg[0].first_sect = 3;
	q.seg[0].last_sect = 4;
	assert_int_equal(rig_do(&r, &q), OKAY);
	uint64_t *p = fake_page(r.guest, RIG_DATA);
	assert_int_equal(p[3 * 64 - 1], 7);
	assert_int_equal(p[3 * 64], rig_pattern(10));
	assert_int_equal(p[4 * 64 - 1], rig_pattern(10));
	assert_int_equal(p[4 * 64], rig_pattern(11));
	assert_int_equal(p[5 * 64 - 1], rig_pattern(11));
	assert_int_equal(p[5 * 64], 7);

	struct blk_stats s;
	blk_device_stats(r.dev, &s);
	assert_int_equal(s.rd_req, 13);
	assert_int_equal(s.rd_bytes, 66 * 4096 + 4096 + 1024);
	assert_true(s.rd_time_ns > 0);
	assert_int_equal(s.wr_req + s.errors, 0);
	rig_stop(&r);
}

static void test_write(void **state)
{
	struct rig r;

	start(&r, state);
	for (unsigned int n = 1; n <= 11; n++) {
		struct rig_req q = rig_rw(BLKIF_OP_WRITE, 100 * n, RIG_DATA, n);

		for (unsigned int i = 0; i < n; i++)
			rig_fill(&r, RIG_DATA + i, n * 1000 + i);
		assert_int_equal(rig_do(&r, &q), OKAY);
		/* An acknowledged write is seen by every other reader at once. */
		for (unsigned int i = 0; i < n; i++)
			assert_true(rig_block_is(&r, 100 * n + i, n * 1000 + i));
		assert_true(rig_block_is(&r, 100 * n - 1, rig_pattern(100 * n - 1)));
		assert_true(rig_block_is(&r, 100 * n + n, rig_pattern(100 * n + n)));
	}
	struct blk_stats s;
	blk_device_stats(r.dev, &s);
	assert_int_equal(s.wr_req, 11);
	assert_int_equal(s.wr_bytes, 66 * 4096);
	rig_stop(&r);
}

/* Grants that allow reading only are enough for a write, and not enough for a read. */
static void test_readonly_grant(void **state)
{
	struct rig r;

	start(&r, state);
	fake_grant_end(r.guest, RIG_DATA);
	fake_grant(r.guest, RIG_DATA, RIG_DATA, true);
	rig_fill(&r, RIG_DATA, 42);
	struct rig_req q = rig_rw(BLKIF_OP_WRITE, 5, RIG_DATA, 1);
	assert_int_equal(rig_do(&r, &q), OKAY);
	assert_true(rig_block_is(&r, 5, 42));
	q = rig_rw(BLKIF_OP_READ, 6, RIG_DATA, 1);
	assert_int_equal(rig_do(&r, &q), ERROR);
	assert_true(rig_page_is(&r, RIG_DATA, 42));
	rig_stop(&r);
}

static void test_indirect(void **state)
{
	static const unsigned int sizes[] = {1, 11, 12, 32, 255, 256};
	struct rig r;

	start(&r, state);
	for (unsigned int k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
		unsigned int n = sizes[k];
		struct rig_req q = rig_indirect(&r, BLKIF_OP_WRITE, 300 * k, 20, RIG_DATA, n);

		for (unsigned int i = 0; i < n; i++)
			rig_fill(&r, RIG_DATA + i, n * 1000 + i);
		assert_int_equal(rig_do(&r, &q), OKAY);
		for (unsigned int i = 0; i < n; i++)
			assert_true(rig_block_is(&r, 300 * k + i, n * 1000 + i));
		q = rig_indirect(&r, BLKIF_OP_READ, 300 * k, 20, RIG_DATA + 300, n);
		assert_int_equal(rig_do(&r, &q), OKAY);
		for (unsigned int i = 0; i < n; i++)
			assert_true(rig_page_is(&r, RIG_DATA + 300 + i, n * 1000 + i));
	}
	rig_stop(&r);
}

static void test_flush_and_barrier(void **state)
{
	struct rig r;
	struct blk_stats s;

	start(&r, state);
	struct rig_req q = {.op = BLKIF_OP_FLUSH_DISKCACHE, .id = 1};
	assert_int_equal(rig_do(&r, &q), OKAY);
	q = (struct rig_req){.op = BLKIF_OP_WRITE_BARRIER, .id = 2};
	assert_int_equal(rig_do(&r, &q), OKAY);
	rig_fill(&r, RIG_DATA, 77);
	q = rig_rw(BLKIF_OP_WRITE_BARRIER, 9, RIG_DATA, 1);
	assert_int_equal(rig_do(&r, &q), OKAY);
	assert_true(rig_block_is(&r, 9, 77));
	q = rig_rw(BLKIF_OP_FLUSH_DISKCACHE, 10, RIG_DATA, 1);
	assert_int_equal(rig_do(&r, &q), OKAY);
	assert_true(rig_block_is(&r, 10, 77));
	blk_device_stats(r.dev, &s);
	assert_int_equal(s.flush_req, 4);
	assert_int_equal(s.wr_req, 2);
	rig_stop(&r);
}

static void test_discard(void **state)
{
	struct rig r;
	struct stat before, after;

	start(&r, state);
	assert_int_equal(rig_back_number(&r, "feature-discard"), 1);
	assert_true(rig_back_number(&r, "discard-granularity") >= 512);
	assert_int_equal(rig_back_number(&r, "discard-secure"), 0);
	fsync(r.fd);
	fstat(r.fd, &before);
	struct rig_req q = {.op = BLKIF_OP_DISCARD, .sector = 256 * 8, .nr_sectors = 1024 * 8};
	assert_int_equal(rig_do(&r, &q), OKAY);
	assert_true(rig_block_is(&r, 256, 0));
	assert_true(rig_block_is(&r, 1279, 0));
	assert_true(rig_block_is(&r, 255, rig_pattern(255)));
	assert_true(rig_block_is(&r, 1280, rig_pattern(1280)));
	fsync(r.fd);
	fstat(r.fd, &after);
	/* The space is given back, the size stays. */
	assert_true(after.st_blocks <= before.st_blocks - 1024 * 8 + 64);
	assert_int_equal(after.st_size, before.st_size);

	static const struct {
		uint64_t sector, nr_sectors;
	} bad[] = {
		{0, 0},
		{RIG_BLOCKS * 8, 1},
		{0, RIG_BLOCKS * 8 + 1},
		{RIG_BLOCKS * 8 - 1, 2},
		{UINT64_MAX, 2},
		{2, UINT64_MAX},
		{UINT64_MAX / 512, 1},
		{1, UINT64_MAX / 512},
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		q.sector = bad[i].sector;
		q.nr_sectors = bad[i].nr_sectors;
		assert_int_equal(rig_do(&r, &q), ERROR);
	}
	assert_true(rig_block_is(&r, 0, rig_pattern(0)));
	/* Secure erasure is not offered; the flag is ignored then, says blkif.h. */
	q = (struct rig_req){.op = BLKIF_OP_DISCARD,
			     .indirect_op = BLKIF_DISCARD_SECURE,
			     .sector = 0,
			     .nr_sectors = 8};
	assert_int_equal(rig_do(&r, &q), OKAY);
	struct blk_stats s;
	blk_device_stats(r.dev, &s);
	assert_int_equal(s.discard_req, 2);
	assert_int_equal(s.refused, 8);
	rig_stop(&r);
}

static void test_unknown_operation(void **state)
{
	struct rig r;

	start(&r, state);
	static const uint8_t ops[] = {4, 7, 8, 100, 255};
	for (size_t i = 0; i < sizeof(ops); i++) {
		struct rig_req q = rig_rw(ops[i], 3, RIG_DATA, 1);

		assert_int_equal(rig_do(&r, &q), EOPNOTSUPP_);
	}
	/* Still in business. */
	struct rig_req q = rig_rw(BLKIF_OP_READ, 3, RIG_DATA, 1);
	assert_int_equal(rig_do(&r, &q), OKAY);
	assert_int_equal(r.guest_errors, 0);
	rig_stop(&r);
}

/* Many rounds through the ring with all its entries in use, in a random mix. */
static void test_full_ring(void **state)
{
	struct rig r;
	uint64_t content[64];
	unsigned int seed = 1;

	start(&r, state);
	for (unsigned int i = 0; i < 64; i++)
		content[i] = rig_pattern(i);
	for (unsigned int round = 0; round < 40; round++) {
		uint64_t expect[64] = {0};
		unsigned int n = r.nr_ents < 64 ? r.nr_ents : 64;

		for (unsigned int i = 0; i < n; i++) {
			bool write = rand_r(&seed) & 1;
			struct rig_req q =
				rig_rw(write ? BLKIF_OP_WRITE : BLKIF_OP_READ, i, RIG_DATA + i, 1);

			if (write)
				rig_fill(&r, RIG_DATA + i, content[i] = round * 100 + i);
			else
				expect[i] = content[i];
			rig_queue(&r, &q);
		}
		rig_push(&r);
		for (unsigned int i = 0; i < n; i++)
			assert_int_equal(rig_wait(&r).status, OKAY);
		for (unsigned int i = 0; i < n; i++) {
			if (expect[i])
				assert_true(rig_page_is(&r, RIG_DATA + i, expect[i]));
			assert_true(rig_block_is(&r, i, content[i]));
		}
	}
	rig_stop(&r);
}

static void test_persistent(void **state)
{
	const struct variant *v = *state;
	struct rig r;

	start(&r, state);
	for (unsigned int k = 0; k < 10; k++) {
		struct rig_req q = rig_rw(BLKIF_OP_READ, k, RIG_DATA, 11);

		assert_int_equal(rig_do(&r, &q), OKAY);
	}
	/* Kept mapped after the request, and mapped only once; otherwise neither. */
	assert_int_equal(fake_grant_maps(r.guest, RIG_DATA), v->persistent ? 1 : 0);
	assert_int_equal(fake_grant_maps_ever(r.guest),
			 (1u << v->order) + (v->persistent ? 11 : 110));
	rig_stop(&r); /* checks that nothing is left mapped */
}

static void test_readonly_disk(void **state)
{
	const struct variant *v = *state;
	struct rig r;

	rig_init(&r);
	r.params.engine = v->engine;
	r.params.readonly = true;
	chmod(r.path, 0400);
	rig_device(&r, NULL);
	rig_connect(&r);
	assert_int_equal(rig_back_number(&r, "info"), VDISK_READONLY);
	assert_int_equal(rig_back_number(&r, "feature-discard"), 0);
	assert_int_equal(rig_back_number(&r, "feature-flush-cache"), 0);
	char mode[4];
	assert_int_equal(xs_get_str(r.store, RIG_BACK, "mode", mode, sizeof(mode)), 0);
	assert_string_equal(mode, "r");

	struct rig_req q = rig_rw(BLKIF_OP_READ, 3, RIG_DATA, 2);
	assert_int_equal(rig_do(&r, &q), OKAY);
	assert_true(rig_page_is(&r, RIG_DATA + 1, rig_pattern(4)));
	static const uint8_t ops[] = {BLKIF_OP_WRITE, BLKIF_OP_WRITE_BARRIER,
				      BLKIF_OP_FLUSH_DISKCACHE};
	for (size_t i = 0; i < sizeof(ops); i++) {
		q = rig_rw(ops[i], 8, RIG_DATA, 1);
		assert_int_equal(rig_do(&r, &q), ERROR);
	}
	q = rig_indirect(&r, BLKIF_OP_WRITE, 8, 20, RIG_DATA, 20);
	assert_int_equal(rig_do(&r, &q), ERROR);
	q = (struct rig_req){.op = BLKIF_OP_DISCARD, .sector = 64, .nr_sectors = 8};
	assert_int_equal(rig_do(&r, &q), ERROR);
	/* There is nothing to be flushed. */
	q = (struct rig_req){.op = BLKIF_OP_FLUSH_DISKCACHE};
	assert_int_equal(rig_do(&r, &q), OKAY);
	assert_true(rig_block_is(&r, 8, rig_pattern(8)));
	rig_stop(&r);
}

/* The host's file is cut under the guest's feet. */
static void test_image_shrinks(void **state)
{
	struct rig r;

	start(&r, state);
	assert_int_equal(ftruncate(r.fd, 4096 * 100 + 2048), 0);
	struct rig_req q = rig_rw(BLKIF_OP_READ, 99, RIG_DATA, 1);
	assert_int_equal(rig_do(&r, &q), OKAY);
	q = rig_rw(BLKIF_OP_READ, 99, RIG_DATA, 3);
	assert_int_equal(rig_do(&r, &q), ERROR);
	assert_int_equal(r.io_errors, 1);
	assert_string_equal(r.last_op, "read");
	assert_int_equal(r.last_errno, EIO);
	/* The guest learns of the new size. */
	assert_int_equal(blk_device_resize(r.dev), 0);
	assert_int_equal(rig_back_number(&r, "sectors"), 804);
	assert_int_equal(rig_back_number(&r, "physical-sector-size"), 512);
	q = rig_rw(BLKIF_OP_READ, 100, RIG_DATA, 1);
	assert_int_equal(rig_do(&r, &q), ERROR);
	assert_int_equal(r.io_errors, 1); /* refused, not tried */
	q.seg[0].last_sect = 3;
	assert_int_equal(rig_do(&r, &q), OKAY);
	rig_stop(&r);
}

/* A host that refuses writes: a memfd sealed against them. */
static void test_host_error(void **state)
{
	const struct variant *v = *state;
	struct rig r;

	rig_init(&r);
	r.params.engine = v->engine;
	r.params.path = NULL;
	r.params.fd = memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_true(r.params.fd >= 0);
	assert_int_equal(ftruncate(r.params.fd, 1 << 20), 0);
	assert_int_equal(fcntl(r.params.fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), 0);
	rig_device(&r, NULL);
	rig_connect(&r);
	struct rig_req q = rig_rw(BLKIF_OP_WRITE, 3, RIG_DATA, 1);
	assert_int_equal(rig_do(&r, &q), ERROR);
	assert_int_equal(r.io_errors, 1);
	assert_int_equal(r.last_errno, EPERM);
	assert_string_equal(r.last_op, "write");
	/* Reports are limited in rate, answers are not. */
	for (int i = 0; i < 20; i++)
		assert_int_equal(rig_do(&r, &q), ERROR);
	assert_true(r.io_errors <= 2);
	q = rig_rw(BLKIF_OP_READ, 3, RIG_DATA, 1);
	assert_int_equal(rig_do(&r, &q), OKAY);
	int fd = r.params.fd;
	rig_stop(&r);
	close(fd);
}

static void test_cache_modes(void **state)
{
	const struct variant *v = *state;
	static const enum blk_cache modes[] = {BLK_CACHE_WRITEBACK, BLK_CACHE_WRITETHROUGH,
					       BLK_CACHE_NONE, BLK_CACHE_DIRECTSYNC,
					       BLK_CACHE_UNSAFE};

	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		struct rig r;
		struct blk_image *probe;

		rig_init(&r);
		r.params.engine = v->engine;
		r.params.cache = modes[i];
		if (blk_image_open(&r.params, &probe) == PVV_EUNSUPPORTED) {
			print_message("skipped: no O_DIRECT in the file system of %s\n", r.path);
			rig_fini(&r);
			continue;
		}
		blk_image_free(probe);
		rig_device(&r, NULL);
		rig_connect(&r);
		rig_fill(&r, RIG_DATA, 10 + i);
		rig_fill(&r, RIG_DATA + 1, 20 + i);
		struct rig_req q = rig_rw(BLKIF_OP_WRITE, 50, RIG_DATA, 2);
		assert_int_equal(rig_do(&r, &q), OKAY);
		/* Single sectors, which O_DIRECT may not be able to do. */
		q = rig_rw(BLKIF_OP_WRITE, 60, RIG_DATA, 1);
		q.seg[0].first_sect = q.seg[0].last_sect = 3;
		q.sector += 5;
		assert_int_equal(rig_do(&r, &q), OKAY);
		q = (struct rig_req){.op = BLKIF_OP_FLUSH_DISKCACHE};
		assert_int_equal(rig_do(&r, &q), OKAY);
		q = rig_rw(BLKIF_OP_READ, 50, RIG_DATA + 2, 2);
		assert_int_equal(rig_do(&r, &q), OKAY);
		assert_true(rig_page_is(&r, RIG_DATA + 2, 10 + i));
		assert_true(rig_page_is(&r, RIG_DATA + 3, 20 + i));
		assert_true(rig_block_is(&r, 51, 20 + i));
		uint64_t sector[64];
		assert_int_equal(pread(r.fd, sector, 512, (60 * 8 + 5) * 512), 512);
		assert_int_equal(sector[0], 10 + i);
		assert_int_equal(sector[63], 10 + i);
		assert_int_equal(pread(r.fd, sector, 512, (60 * 8 + 6) * 512), 512);
		assert_int_equal(sector[0], rig_pattern(60));
		rig_stop(&r);
	}
}

#define TEST(f, variant)                                                                           \
	{                                                                                          \
#f "/" #variant, f, NULL, NULL, &variant                                           \
	}

#define TESTS(v)                                                                                   \
	TEST(test_read, v), TEST(test_write, v), TEST(test_readonly_grant, v),                     \
		TEST(test_indirect, v), TEST(test_flush_and_barrier, v), TEST(test_discard, v),    \
		TEST(test_unknown_operation, v), TEST(test_full_ring, v),                          \
		TEST(test_persistent, v), TEST(test_image_shrinks, v)

#define ENGINE_TESTS(v)                                                                            \
	TEST(test_readonly_disk, v), TEST(test_host_error, v), TEST(test_cache_modes, v)

int main(void)
{
	static struct variant uring = {BLK_ENGINE_URING, false, false, 0};
	static struct variant uring_32bit = {BLK_ENGINE_URING, true, false, 0};
	static struct variant uring_persistent = {BLK_ENGINE_URING, false, true, 0};
	static struct variant uring_pages4 = {BLK_ENGINE_URING, false, true, 2};
	static struct variant threads = {BLK_ENGINE_THREADS, false, false, 0};
	static struct variant threads_32bit_pages16 = {BLK_ENGINE_THREADS, true, true, 4};
	const struct CMUnitTest threads_tests[] = {
		TESTS(threads),
		TESTS(threads_32bit_pages16),
		ENGINE_TESTS(threads),
	};
	const struct CMUnitTest uring_tests[] = {
		TESTS(uring),	     TESTS(uring_32bit),  TESTS(uring_persistent),
		TESTS(uring_pages4), ENGINE_TESTS(uring),
	};
	int failed = cmocka_run_group_tests_name("blk-threads", threads_tests, NULL, NULL);

	struct io_loop *loop;
	struct blk_engine *engine;
	if (io_loop_new(&loop) < 0)
		return 1;
	if (blk_uring_new(loop, 16, NULL, NULL, &engine) < 0) {
		printf("skipped: the io_uring half: this host does not permit io_uring\n");
	} else {
		engine->ops->free(engine);
		failed += cmocka_run_group_tests_name("blk-uring", uring_tests, NULL, NULL);
	}
	io_loop_free(loop);
	return failed;
}
