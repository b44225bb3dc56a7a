/* SPDX-License-Identifier: MIT */
/*
 * What is on the host when the back end dies. A child plays guest and back end on a real file and
 * says in a pipe what was acknowledged; it is killed in the middle, and the file must have it all.
 * Killing a process does not lose the page cache, so a second test looks into that: cachestat(2)
 * tells whether the kernel has anything of the file left to write back when a flush is
 * acknowledged.
 */
#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define BLOCKS 256u

struct variant {
	enum blk_engine_kind engine;
	enum blk_cache cache;
};

/* --- killed ----------------------------------------------------------------------------------- */

struct report {
	uint32_t block;
	uint32_t value;
	bool acked; /* else: about to be sent */
};

static void report(int out, uint32_t block, uint32_t value, bool acked)
{
	struct report rep = {block, value, acked};

	if (write(out, &rep, sizeof(rep)) != sizeof(rep))
		_exit(4);
}

/* A write to some blocks that no write is in flight for; false if the dice hit such a one. */
static bool send_write(struct rig *r, int out, uint32_t *open, uint32_t value, unsigned int *seed)
{
	uint32_t b = (uint32_t)rand_r(seed) % (BLOCKS - 8);
	unsigned int pages = 1 + (unsigned int)rand_r(seed) % 8;

	for (unsigned int k = 0; k < pages; k++)
		if (open[b + k])
			return false;
	struct rig_req q = rig_rw(rand_r(seed) % 32 ? BLKIF_OP_WRITE : BLKIF_OP_WRITE_BARRIER, b,
				  RIG_DATA + b, pages);
	q.id = (uint64_t)pages << 32 | b;
	for (unsigned int k = 0; k < pages; k++) {
		open[b + k] = value;
		rig_fill(r, RIG_DATA + b + k, value);
		report(out, b + k, value, false);
	}
	rig_queue(r, &q);
	return true;
}

/* Writes for ever, many at a time. */
static void write_for_ever(struct rig *r, int out)
{
	uint32_t value = 1, open[BLOCKS] = {0};
	unsigned int seed = (unsigned int)getpid();
	struct rig_rsp rsp;

	for (;;) {
		while (r->req_prod - r->rsp_cons < r->nr_ents &&
		       send_write(r, out, open, value, &seed))
			value++;
		rig_push(r);
		rig_step(r);
		while (rig_poll(r, &rsp)) {
			uint32_t b = (uint32_t)rsp.id;

			if (rsp.status)
				_exit(3);
			for (unsigned int k = 0; k < rsp.id >> 32; k++) {
				report(out, b + k, open[b + k], true);
				open[b + k] = 0;
			}
		}
	}
}

/* In the child: everything anew but the image, which the parent has made. */
static void child(const struct rig *parent, const struct variant *v, int out)
{
	struct rig r;

	rig_init(&r);
	unlink(r.path);
	r.params = (struct blk_params){.path = parent->path,
				       .fd = -1,
				       .vdev = "xvda",
				       .engine = v->engine,
				       .cache = v->cache};
	rig_device(&r, NULL);
	rig_connect(&r);
	write_for_ever(&r, out);
}

/* What the parent knows: the last values sent and acknowledged. */
struct known {
	uint32_t sent[BLOCKS], acked[BLOCKS];
	unsigned int acks;
};

static bool listen_to(int in, struct known *k)
{
	struct report rep;

	if (read(in, &rep, sizeof(rep)) != sizeof(rep))
		return false;
	if (rep.acked)
		k->acked[rep.block] = rep.value;
	else
		k->sent[rep.block] = rep.value;
	k->acks += rep.acked;
	return true;
}

static void check_file(int fd, const struct known *k)
{
	uint64_t data[512];

	for (uint32_t b = 0; b < BLOCKS; b++) {
		assert_int_equal(pread(fd, data, 4096, (off_t)b * 4096), 4096);
		for (int i = 0; i < 512; i++) {
			/* A write in flight may be there, in part; nothing else may. */
			if (data[i] != k->acked[b])
				assert_int_equal(data[i], k->sent[b]);
			if (k->sent[b] == k->acked[b])
				assert_int_equal(data[i], k->acked[b]);
		}
	}
}

static void kill_one(const struct variant *v, unsigned int round)
{
	static const char zeros[BLOCKS * 4096];
	struct known known = {.acks = 0};
	struct blk_image *image;
	int ends[2], status, e = PVV_EBUSY;
	struct rig r;

	rig_init(&r);
	assert_int_equal(pwrite(r.fd, zeros, sizeof(zeros), 0), sizeof(zeros));
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	pid_t pid = fork();
	if (pid == 0)
		child(&r, v, ends[1]);
	close(ends[1]);
	/* So far at least; then the end comes within the next milliseconds. */
	while (known.acks < 50 + round * 300 && listen_to(ends[0], &known))
		;
	usleep(round * 100);
	assert_int_equal(kill(pid, SIGKILL), 0);
	while (listen_to(ends[0], &known))
		;
	close(ends[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	assert_true(known.acks >= 50 + round * 300);
	/*
	 * The lock dies with its holder, io_uring's I/O included: that may last a moment longer,
	 * and nobody else may write before its end.
	 */
	for (int i = 0; i < 1000 && e == PVV_EBUSY; i++) {
		e = blk_image_open(&r.params, &image);
		if (e == PVV_EBUSY)
			usleep(10000);
	}
	assert_int_equal(e, 0);
	check_file(r.fd, &known);
	blk_image_free(image);
	rig_fini(&r);
}

/* False, with the reason, if the file system has no O_DIRECT and this needs it. */
static bool possible(const struct variant *v)
{
	struct blk_image *image;
	struct rig r;

	rig_init(&r);
	r.params.cache = v->cache;
	int e = blk_image_open(&r.params, &image);
	if (e == PVV_EUNSUPPORTED)
		print_message("skipped: no O_DIRECT in the file system of %s\n", r.path);
	else
		blk_image_free(image);
	rig_fini(&r);
	return e == 0;
}

static void test_killed(void **state)
{
	if (!possible(*state))
		skip();
	for (unsigned int round = 0; round < 12; round++)
		kill_one(*state, round);
}

/* --- flushed ---------------------------------------------------------------------------------- */

#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif

struct cachestat_range {
	uint64_t off, len;
};

struct cachestat {
	uint64_t nr_cache, nr_dirty, nr_writeback, nr_evicted, nr_recently_evicted;
};

static long unwritten(int fd)
{
	struct cachestat_range range = {0, 0};
	struct cachestat cs = {0};

	if (syscall(SYS_cachestat, fd, &range, &cs, 0) < 0)
		return -1;
	return (long)(cs.nr_dirty + cs.nr_writeback);
}

/* False, with the reason, if the kernel or the file system cannot tell. */
static bool observable(struct rig *r)
{
	struct statfs fs;

	if (unwritten(r->fd) < 0) {
		print_message("skipped: cachestat: %s (Linux 6.5 has it)\n", strerror(errno));
		return false;
	}
	assert_int_equal(fstatfs(r->fd, &fs), 0);
	if (fs.f_type == 0x01021994 /* tmpfs */ || fs.f_type == 0x794c7630 /* overlayfs */) {
		print_message("skipped: the file system of %s does not write back itself\n",
			      r->path);
		return false;
	}
	return true;
}

static void test_flush_reaches_the_disk(void **state)
{
	const struct variant *v = *state;
	bool write_through = v->cache == BLK_CACHE_WRITETHROUGH || v->cache == BLK_CACHE_DIRECTSYNC;
	bool cached = v->cache == BLK_CACHE_WRITEBACK || v->cache == BLK_CACHE_WRITETHROUGH;
	struct rig r;

	rig_init(&r);
	if (!observable(&r)) {
		rig_fini(&r);
		skip();
	}
	r.params.engine = v->engine;
	r.params.cache = v->cache;
	rig_device(&r, NULL);
	rig_connect(&r);
	fdatasync(r.fd);
	assert_int_equal(unwritten(r.fd), 0);
	for (unsigned int i = 0; i < 20; i++) {
		/* Several at once, and the flush with them in the ring. */
		for (unsigned int k = 0; k < 10; k++) {
			struct rig_req q = rig_rw(BLKIF_OP_WRITE, i * 50 + k * 3, RIG_DATA, 2);

			rig_queue(&r, &q);
		}
		if (i % 2) {
			rig_push(&r);
			for (unsigned int k = 0; k < 10; k++)
				assert_int_equal(rig_wait(&r).status, 0);
			/* The observer sees what a missing sync would leave. */
			if (cached && !write_through)
				assert_true(unwritten(r.fd) > 0);
			if (write_through)
				assert_int_equal(unwritten(r.fd), 0);
		}
		struct rig_req q =
			rig_rw(i % 4 < 2 ? BLKIF_OP_FLUSH_DISKCACHE : BLKIF_OP_WRITE_BARRIER,
			       1500 + i, RIG_DATA, i % 4 == 3);
		q.id = 999;
		rig_queue(&r, &q);
		rig_push(&r);
		struct rig_rsp rsp;
		do {
			rsp = rig_wait(&r);
			assert_int_equal(rsp.status, 0);
		} while (rsp.id != 999);
		assert_int_equal(unwritten(r.fd), 0);
	}
	rig_stop(&r);
}

/* --- both engines, if there are both ---------------------------------------------------------- */

#define TEST(f, v)                                                                                 \
	{                                                                                          \
#f "/" #v, f, NULL, NULL, &v                                                       \
	}

int main(void)
{
	static struct variant threads = {BLK_ENGINE_THREADS, BLK_CACHE_WRITEBACK};
	static struct variant threads_sync = {BLK_ENGINE_THREADS, BLK_CACHE_WRITETHROUGH};
	static struct variant threads_direct = {BLK_ENGINE_THREADS, BLK_CACHE_NONE};
	static struct variant uring_direct = {BLK_ENGINE_URING, BLK_CACHE_NONE};
	static struct variant uring = {BLK_ENGINE_URING, BLK_CACHE_WRITEBACK};
	static struct variant uring_sync = {BLK_ENGINE_URING, BLK_CACHE_WRITETHROUGH};
	const struct CMUnitTest tests[] = {
		TEST(test_killed, threads),
		TEST(test_killed, threads_direct),
		TEST(test_flush_reaches_the_disk, threads),
		TEST(test_flush_reaches_the_disk, threads_sync),
		TEST(test_killed, uring),
		TEST(test_killed, uring_direct),
		TEST(test_flush_reaches_the_disk, uring),
		TEST(test_flush_reaches_the_disk, uring_sync),
	};
	size_t n = sizeof(tests) / sizeof(tests[0]);

	if (!rig_have_uring()) {
		printf("skipped: the io_uring half: this host does not permit io_uring\n");
		n /= 2;
	}
	return _cmocka_run_group_tests("blk-crash", tests, n, NULL, NULL);
}
