/* SPDX-License-Identifier: MIT */
/* The two engines by themselves, and the choice between them where io_uring is forbidden. */
#include <errno.h>
#include <fcntl.h>
#include <dirent.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rig.h"

/* --- accounting ------------------------------------------------------------------------------- */

static void test_progress(void **state)
{
	char a[1000], b[24], c[5000];
	struct iovec iov[] = {{a, sizeof(a)}, {b, sizeof(b)}, {c, sizeof(c)}};
	struct blk_io io = {.op = BLK_IO_READ, .iov = iov, .nr_iov = 3, .offset = 512};

	(void)state;
	io.length = 6024;
	assert_false(blk_io_progress(&io, -EINTR));
	assert_false(blk_io_progress(&io, 512));
	assert_int_equal(io.offset, 1024);
	assert_int_equal(io.length, 5512);
	assert_ptr_equal(io.iov->iov_base, a + 512);
	assert_false(blk_io_progress(&io, -EAGAIN));
	assert_false(blk_io_progress(&io, 488 + 24));
	assert_int_equal(io.nr_iov, 1);
	assert_ptr_equal(io.iov->iov_base, c);
	assert_false(blk_io_progress(&io, 4999));
	assert_true(blk_io_progress(&io, 1));
	assert_int_equal(io.error, 0);
	assert_int_equal(io.nr_iov, 0);

	static const struct {
		int64_t result;
		int error;
	} ends[] = {{0, EIO}, {-ENOSPC, ENOSPC}, {-EIO, EIO}, {513, EIO}, {1ll << 40, EIO}};
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		iov[0] = (struct iovec){a, 512};
		io = (struct blk_io){.op = BLK_IO_WRITE, .iov = iov, .nr_iov = 1, .length = 512};
		assert_true(blk_io_progress(&io, ends[i].result));
		assert_int_equal(io.error, ends[i].error);
	}
	io = (struct blk_io){.op = BLK_IO_FLUSH};
	assert_true(blk_io_progress(&io, 0));
	assert_int_equal(io.error, 0);
	/* Interrupted for ever: that has an end as well. */
	int n = 0;
	io = (struct blk_io){.op = BLK_IO_FLUSH};
	while (!blk_io_progress(&io, n % 2 ? -EINTR : -EAGAIN))
		n++;
	assert_int_equal(io.error, EIO);
	assert_true(n > 10 && n < 100000);
}

/* --- one engine ------------------------------------------------------------------------------- */

#define OPS 300

struct op {
	struct blk_io io; /* must be first */
	struct iovec iov[4];
	char data[4][512];
	unsigned int done;
	int error;
};

struct bed {
	struct io_loop *loop;
	struct blk_engine *engine;
	struct op *ops;
	unsigned int batches;
	int fd;
};

static void on_done(struct blk_io *io, int error)
{
	struct op *op = (struct op *)io;

	op->done++;
	op->error = error;
}

static void on_batch(void *opaque)
{
	((struct bed *)opaque)->batches++;
}

static void open_bed(struct bed *b, enum blk_engine_kind kind)
{
	char path[] = "/var/tmp/pvv-engine-XXXXXX";

	memset(b, 0, sizeof(*b));
	b->fd = mkstemp(path);
	assert_true(b->fd >= 0);
	unlink(path);
	assert_int_equal(io_loop_new(&b->loop), 0);
	assert_int_equal((kind == BLK_ENGINE_URING ? blk_uring_new : blk_threads_new)(
				 b->loop, 16, on_batch, b, &b->engine),
			 0);
	b->ops = calloc(OPS, sizeof(*b->ops));
	assert_non_null(b->ops);
}

static void close_bed(struct bed *b)
{
	b->engine->ops->free(b->engine);
	io_loop_free(b->loop);
	free(b->ops);
	close(b->fd);
}

static struct op *make_op(struct bed *b, unsigned int i, enum blk_io_op what, unsigned int at)
{
	struct op *op = &b->ops[i];

	memset(op, 0, sizeof(*op));
	for (int k = 0; k < 4; k++)
		op->iov[k] = (struct iovec){op->data[k], 512};
	op->io = (struct blk_io){.op = what,
				 .fd = b->fd,
				 .iov = op->iov,
				 .nr_iov = 4,
				 .offset = (uint64_t)at * 2048,
				 .length = 2048,
				 .done = on_done};
	return op;
}

static void quit(void *opaque)
{
	io_loop_quit(opaque);
}

static void step(struct bed *b)
{
	struct io_timer t = {.fn = quit, .opaque = b->loop};

	io_timer_set(b->loop, &t, io_now_ns() + 200000);
	io_loop_run(b->loop);
	io_timer_set(b->loop, &t, 0);
}

static bool all_done(struct bed *b, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		if (!b->ops[i].done)
			return false;
	return true;
}

/* Until n operations are done, by the loop or by waiting; each exactly once. */
static void finish(struct bed *b, unsigned int n, bool by_loop)
{
	uint64_t end = io_now_ns() + 20000000000u;

	b->engine->ops->kick(b->engine);
	while (!all_done(b, n)) {
		if (by_loop) {
			step(b);
			b->engine->ops->kick(b->engine);
		} else {
			b->engine->ops->wait(b->engine);
		}
		assert_true(io_now_ns() < end);
	}
	for (unsigned int i = 0; i < n; i++)
		assert_int_equal(b->ops[i].done, 1);
}

/* Many more at once than the queues hold. */
static void many(enum blk_engine_kind kind, bool by_loop)
{
	struct bed b;

	open_bed(&b, kind);
	for (unsigned int i = 0; i < OPS; i++) {
		struct op *op = make_op(&b, i, BLK_IO_WRITE, i);

		memset(op->data, (int)i % 255 + 1, sizeof(op->data));
		op->io.dsync = i % 50 == 0;
		b.engine->ops->submit(b.engine, &op->io);
	}
	finish(&b, OPS, by_loop);
	for (unsigned int i = 0; i < OPS; i++)
		assert_int_equal(b.ops[i].error, 0);
	for (unsigned int i = 0; i < OPS; i++)
		b.engine->ops->submit(b.engine, &make_op(&b, i, BLK_IO_READ, i)->io);
	finish(&b, OPS, by_loop);
	for (unsigned int i = 0; i < OPS; i++) {
		assert_int_equal(b.ops[i].error, 0);
		for (size_t k = 0; k < sizeof(b.ops[i].data); k++)
			assert_int_equal(((uint8_t *)b.ops[i].data)[k], i % 255 + 1);
	}
	close_bed(&b);
}

static enum blk_engine_kind kind_of(void **state)
{
	return **(enum blk_engine_kind **)state;
}

static void test_many(void **state)
{
	many(kind_of(state), true);
	many(kind_of(state), false);
}

static void test_end_of_file(void **state)
{
	struct bed b;
	char byte = 1;

	open_bed(&b, kind_of(state));
	/* The second half of the request does not exist. */
	assert_int_equal(pwrite(b.fd, &byte, 1, 1023), 1);
	b.engine->ops->submit(b.engine, &make_op(&b, 0, BLK_IO_READ, 0)->io);
	finish(&b, 1, true);
	assert_int_equal(b.ops[0].error, EIO);
	close_bed(&b);
}

static void test_errors(void **state)
{
	struct bed b;

	open_bed(&b, kind_of(state));
	struct op *op = make_op(&b, 0, BLK_IO_WRITE, 0);
	op->io.fd = 999;
	b.engine->ops->submit(b.engine, &op->io);
	op = make_op(&b, 1, BLK_IO_READ, 0);
	op->iov[2].iov_base = (void *)8;
	assert_int_equal(ftruncate(b.fd, 65536), 0);
	b.engine->ops->submit(b.engine, &op->io);
	op = make_op(&b, 2, BLK_IO_FLUSH, 0);
	op->io.fd = 999;
	b.engine->ops->submit(b.engine, &op->io);
	op = make_op(&b, 3, BLK_IO_DISCARD, 0);
	op->io.fd = 999;
	b.engine->ops->submit(b.engine, &op->io);
	finish(&b, 4, true);
	assert_int_equal(b.ops[0].error, EBADF);
	assert_int_equal(b.ops[1].error, EFAULT);
	assert_int_equal(b.ops[2].error, EBADF);
	assert_int_equal(b.ops[3].error, EBADF);
	close_bed(&b);
}

/* The kernel writes what fits and says so; the rest is tried, and then the error comes out. */
static void test_short_write(void **state)
{
	char data[4096];
	struct bed b;
	int sealed = memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_int_equal(ftruncate(sealed, 4096), 0);
	assert_int_equal(fcntl(sealed, F_ADD_SEALS, F_SEAL_GROW), 0);
	open_bed(&b, kind_of(state));
	struct op *op = make_op(&b, 0, BLK_IO_WRITE, 0);
	memset(op->data, 0x5a, sizeof(op->data));
	op->io.fd = sealed;
	op->io.offset = 3072;
	b.engine->ops->submit(b.engine, &op->io);
	finish(&b, 1, false);
	assert_int_equal(op->error, EPERM);
	assert_int_equal(op->io.offset, 4096);
	assert_int_equal(op->io.length, 1024);
	assert_int_equal(pread(sealed, data, sizeof(data), 0), sizeof(data));
	assert_int_equal(data[3071], 0);
	for (int i = 3072; i < 4096; i++)
		assert_int_equal(data[i], 0x5a);
	close(sealed);
	close_bed(&b);
}

static void test_discard_and_flush(void **state)
{
	struct bed b;
	char data[8192], back[8192];

	open_bed(&b, kind_of(state));
	memset(data, 7, sizeof(data));
	assert_int_equal(pwrite(b.fd, data, sizeof(data), 0), sizeof(data));
	struct op *op = make_op(&b, 0, BLK_IO_DISCARD, 0);
	op->io.offset = 4096;
	op->io.length = 4096;
	b.engine->ops->submit(b.engine, &op->io);
	b.engine->ops->submit(b.engine, &make_op(&b, 1, BLK_IO_FLUSH, 0)->io);
	finish(&b, 2, true);
	assert_int_equal(b.ops[0].error, 0);
	assert_int_equal(b.ops[1].error, 0);
	memset(data + 4096, 0, 4096);
	assert_int_equal(pread(b.fd, back, sizeof(back), 0), sizeof(back));
	assert_memory_equal(data, back, sizeof(data));
	close_bed(&b);
}

/* What is asynchronous is announced through the loop; what was done in the kick is not. */
static void test_wakes_the_loop(void **state)
{
	struct bed b;

	open_bed(&b, kind_of(state));
	for (unsigned int i = 0; i < 20; i++) {
		b.engine->ops->submit(b.engine, &make_op(&b, i, BLK_IO_FLUSH, 0)->io);
		b.engine->ops->kick(b.engine);
		uint64_t end = io_now_ns() + 10000000000u;
		while (!b.ops[i].done && io_now_ns() < end)
			step(&b);
		assert_int_equal(b.ops[i].done, 1);
	}
	assert_true(b.batches > 0);
	close_bed(&b);
}

/* --- the process around it -------------------------------------------------------------------- */

static unsigned int count_entries(const char *dir)
{
	DIR *d = opendir(dir);
	unsigned int n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* Every thread of ours but the first blocks all signals that can be blocked. */
static void check_signal_masks(void)
{
	DIR *d = opendir("/proc/self/task");
	const struct dirent *e;

	assert_non_null(d);
	while ((e = readdir(d))) {
		char path[300], line[128];
		unsigned long long mask = 0;

		if (e->d_name[0] == '.' || atoi(e->d_name) == getpid())
			continue;
		snprintf(path, sizeof(path), "/proc/self/task/%s/status", e->d_name);
		FILE *f = fopen(path, "re");
		while (f && fgets(line, sizeof(line), f))
			sscanf(line, "SigBlk: %llx", &mask);
		if (f) {
			fclose(f);
			/* Those of the job control, SIGCHLD, SIGTERM, SIGALRM ... */
			assert_int_equal(mask & 0x7ffaf800, 0x7ffaf800 & ~(1ull << (SIGSTOP - 1)));
		}
	}
	closedir(d);
}

static void test_nothing_left(void **state)
{
	unsigned int fds = count_entries("/proc/self/fd");

	for (int i = 0; i < 20; i++) {
		struct bed b;

		open_bed(&b, kind_of(state));
		for (unsigned int k = 0; k < 50; k++) {
			struct op *op = make_op(&b, k, BLK_IO_WRITE, k);

			b.engine->ops->submit(b.engine, &op->io);
		}
		if (kind_of(state) == BLK_ENGINE_THREADS) {
			check_signal_masks();
			/* ".", "..", this one, at most four more (and a sanitizer's own). */
			assert_true(count_entries("/proc/self/task") <= 8);
		}
		finish(&b, 50, false);
		close_bed(&b);
	}
	assert_int_equal(count_entries("/proc/self/fd"), fds);
}

static void forbid_io_uring(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0 /* the number of the call */),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {sizeof(code) / sizeof(code[0]), code};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) < 0)
		_exit(10);
}

/* As in many containers. In a child, as the filter cannot be taken off again. */
static void test_io_uring_forbidden(void **state)
{
	(void)state;
	pid_t pid = fork();
	if (pid == 0) {
		struct blk_engine *engine;
		struct rig r;

		forbid_io_uring();
		rig_init(&r);
		if (blk_uring_new(r.loop, 16, NULL, NULL, &engine) != PVV_EUNSUPPORTED ||
		    !strstr(pvv_error_get_message(pvv_error_last()), "io_uring"))
			_exit(11);
		/* Asked for by name it is an error, else the threads take over. */
		struct blk_image *image;
		r.params.engine = BLK_ENGINE_URING;
		if (blk_image_open(&r.params, &image) < 0 ||
		    blk_device_new(r.loop, r.guest, r.store, image, NULL, &r.dev) !=
			    PVV_EUNSUPPORTED)
			_exit(12);
		r.params.engine = BLK_ENGINE_AUTO;
		rig_device(&r, NULL);
		if (strcmp(blk_device_engine(r.dev), "threads"))
			_exit(13);
		rig_connect(&r);
		struct rig_req q = rig_rw(BLKIF_OP_READ, 9, RIG_DATA, 1);
		if (rig_do(&r, &q) || !rig_page_is(&r, RIG_DATA, rig_pattern(9)))
			_exit(14);
		rig_stop(&r);
		_exit(0);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

#define TEST(f, v)                                                                                 \
	{                                                                                          \
#f "/" #v, f, NULL, NULL, &v                                                       \
	}
#define TESTS(v)                                                                                   \
	TEST(test_many, v), TEST(test_end_of_file, v), TEST(test_errors, v),                       \
		TEST(test_short_write, v), TEST(test_discard_and_flush, v),                        \
		TEST(test_wakes_the_loop, v), TEST(test_nothing_left, v)

int main(void)
{
	static enum blk_engine_kind threads = BLK_ENGINE_THREADS, uring = BLK_ENGINE_URING;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_progress),
		cmocka_unit_test(test_io_uring_forbidden),
		TESTS(threads),
		TESTS(uring),
	};
	size_t n = sizeof(tests) / sizeof(tests[0]);

	if (!rig_have_uring()) {
		printf("skipped: the io_uring half: this host does not permit io_uring\n");
		n -= 7;
	}
	return _cmocka_run_group_tests("blk-engine", tests, n, NULL, NULL);
}
