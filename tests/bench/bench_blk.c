/* SPDX-License-Identifier: MIT */
/*
 * How fast the block back end moves data between the host's page cache and a guest: a front end on
 * one thread keeps the ring full, the back end runs on another, as in a host.
 *
 *	bench_blk [--check] [DIRECTORY]
 *
 * One line per case. With --check it ends with 1 if a sequential read misses 1 GB/s.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "fake_guest.h"
#include "io/blk/blk.h"
#include "io/loop.h"
#include "io/xenstore/xenstore.h"

#include <xen/xen.h>
#include <xen/io/blkif.h>
#include <xen/io/xenbus.h>

#define IMAGE_BYTES (256u << 20)
#define PAGE	    4096u
#define RING_REF    0u
#define PORT	    3u
#define FIRST_DATA  64u
#define NR_DATA	    (FAKE_GRANTS - FIRST_DATA)
#define FRONT	    "/local/domain/1/device/vbd/51712"
#define BACK	    "/local/domain/0/backend/vbd/1/51712"

struct bench {
	struct io_loop *loop;
	struct io_guest *guest;
	struct xs_store *store;
	struct blk_params params;
	struct blk_device *dev;
	pthread_t thread;
	blkif_front_ring_t ring;
	unsigned int order;
	bool persistent;
	char path[128];
	bool closed;
};

struct result {
	double seconds;
	double bytes;
	double requests;
	double events;
	double cpu; /* of the whole process, in seconds */
};

static void die(const char *what)
{
	fprintf(stderr, "bench_blk: %s\n", what);
	exit(2);
}

static void make_device(void *opaque)
{
	struct bench *b = opaque;
	struct blk_image *image;

	if (blk_image_open(&b->params, &image) < 0 ||
	    blk_device_new(b->loop, b->guest, b->store, image, NULL, &b->dev) < 0)
		die("no device");
}

static void closed(void *opaque)
{
	__atomic_store_n((bool *)opaque, true, __ATOMIC_RELEASE);
}

static void close_device(void *opaque)
{
	struct bench *b = opaque;

	blk_device_close(b->dev, closed, &b->closed);
}

static void *run_loop(void *opaque)
{
	io_loop_run(opaque);
	return NULL;
}

static void await_state(struct bench *b, unsigned int state)
{
	uint64_t now = 0;

	for (int i = 0; i < 10000 && now != state; i++) {
		if (xs_get_uint(b->store, BACK, "state", 9, &now) < 0)
			now = 0;
		usleep(500);
	}
	if (now != state)
		die("the back end does not connect");
}

static void start(struct bench *b)
{
	void *sring = fake_page(b->guest, RING_REF);

	b->closed = false;
	if (pthread_create(&b->thread, NULL, run_loop, b->loop))
		die("no thread");
	io_loop_call(b->loop, make_device, b);
	await_state(b, XenbusStateInitWait);
	/* One page: more would not be adjacent in the fake guest. */
	XEN_FRONT_RING_INIT(&b->ring, (blkif_sring_t *)sring, PAGE);
	xs_put(b->store, FRONT, "ring-ref", "%u", RING_REF);
	xs_put(b->store, FRONT, "event-channel", "%u", PORT);
	xs_put(b->store, FRONT, "feature-persistent", "%d", b->persistent);
	xs_put(b->store, FRONT, "state", "%d", XenbusStateInitialised);
	await_state(b, XenbusStateConnected);
}

static void stop(struct bench *b)
{
	io_loop_call(b->loop, close_device, b);
	while (!__atomic_load_n(&b->closed, __ATOMIC_ACQUIRE))
		usleep(100);
	io_loop_quit(b->loop);
	pthread_join(b->thread, NULL);
}

static void queue(struct bench *b, bool write, uint64_t id, uint64_t sector, unsigned int pages)
{
	blkif_request_t *req = RING_GET_REQUEST(&b->ring, b->ring.req_prod_pvt);
	struct blkif_request_segment *seg = req->seg;
	unsigned int first = FIRST_DATA + (unsigned int)(id * pages) % (NR_DATA - pages);
	uint8_t op = write ? BLKIF_OP_WRITE : BLKIF_OP_READ;

	if (pages > BLKIF_MAX_SEGMENTS_PER_REQUEST) {
		blkif_request_indirect_t *ind = (blkif_request_indirect_t *)req;
		unsigned int page = 1 + (unsigned int)id;

		*ind = (blkif_request_indirect_t){.operation = BLKIF_OP_INDIRECT,
						  .indirect_op = op,
						  .nr_segments = (uint16_t)pages,
						  .id = id,
						  .sector_number = sector};
		ind->indirect_grefs[0] = page;
		seg = fake_page(b->guest, page);
	} else {
		req->operation = op;
		req->nr_segments = (uint8_t)pages;
		req->id = id;
		req->sector_number = sector;
	}
	for (unsigned int i = 0; i < pages; i++)
		seg[i] = (struct blkif_request_segment){.gref = first + i, 0, 7};
	b->ring.req_prod_pvt++;
}

#define xen_mb()  __atomic_thread_fence(__ATOMIC_SEQ_CST)
#define xen_wmb() __atomic_thread_fence(__ATOMIC_RELEASE)
#define xen_rmb() __atomic_thread_fence(__ATOMIC_ACQUIRE)

/* Take the responses there are; wait for some if there are none. */
static unsigned int receive(struct bench *b, unsigned int *free_ids, unsigned int *nr_free)
{
	unsigned int n = 0;
	int more;

	do {
		RING_IDX prod = __atomic_load_n(&b->ring.sring->rsp_prod, __ATOMIC_ACQUIRE);

		for (; b->ring.rsp_cons != prod; b->ring.rsp_cons++, n++) {
			blkif_response_t *rsp = RING_GET_RESPONSE(&b->ring, b->ring.rsp_cons);

			if (rsp->status)
				die("a request failed");
			free_ids[(*nr_free)++] = (unsigned int)rsp->id;
		}
		RING_FINAL_CHECK_FOR_RESPONSES(&b->ring, more);
	} while (more);
	return n;
}

/* `depth` requests of `pages` pages in flight for about a second. */
static struct result measure(struct bench *b, bool write, unsigned int pages, unsigned int depth)
{
	unsigned int free_ids[64], nr_free = 0;
	uint64_t sector = 0, requests = 0, outstanding = 0;
	struct rusage ru0, ru1;
	uint64_t events = fake_events(b->guest, PORT);

	if (depth > RING_SIZE(&b->ring))
		depth = RING_SIZE(&b->ring);
	for (unsigned int i = 0; i < depth; i++)
		free_ids[nr_free++] = i;
	getrusage(RUSAGE_SELF, &ru0);
	uint64_t begin = io_now_ns(), end = begin + 1000000000u;
	for (;;) {
		bool more = io_now_ns() < end;
		int notify;

		while (more && nr_free) {
			if (sector + pages * 8 > IMAGE_BYTES / 512)
				sector = 0;
			queue(b, write, free_ids[--nr_free], sector, pages);
			sector += pages * 8;
			outstanding++;
		}
		RING_PUSH_REQUESTS_AND_CHECK_NOTIFY(&b->ring, notify);
		if (notify)
			fake_raise(b->guest, PORT);
		if (!outstanding)
			break;
		/* A guest would block for the event; we look for it, politely. */
		uint64_t seen = fake_events(b->guest, PORT);
		unsigned int n;
		while (!(n = receive(b, free_ids, &nr_free)))
			while (fake_events(b->guest, PORT) == seen)
				sched_yield();
		outstanding -= n;
		requests += n;
	}
	getrusage(RUSAGE_SELF, &ru1);
	return (struct result){
		.seconds = (double)(io_now_ns() - begin) / 1e9,
		.bytes = (double)requests * pages * PAGE,
		.requests = (double)requests,
		.events = (double)(fake_events(b->guest, PORT) - events),
		.cpu = (double)(ru1.ru_utime.tv_sec + ru1.ru_stime.tv_sec - ru0.ru_utime.tv_sec -
				ru0.ru_stime.tv_sec) +
		       (double)(ru1.ru_utime.tv_usec + ru1.ru_stime.tv_usec - ru0.ru_utime.tv_usec -
				ru0.ru_stime.tv_usec) /
			       1e6,
	};
}

static void make_image(struct bench *b, const char *dir)
{
	static char chunk[1 << 20];

	snprintf(b->path, sizeof(b->path), "%.100s/bench-blk-XXXXXX", dir);
	int fd = mkstemp(b->path);
	if (fd < 0)
		die("cannot make the image");
	for (size_t i = 0; i < IMAGE_BYTES / sizeof(chunk); i++) {
		memset(chunk, (int)i + 1, sizeof(chunk));
		if (write(fd, chunk, sizeof(chunk)) != sizeof(chunk))
			die("cannot write the image");
	}
	close(fd);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		unsigned int pages, depth;
		bool write;
	} cases[] = {
		{"seq-read-4k-qd1", 1, 1, false},     {"seq-read-4k-qd32", 1, 32, false},
		{"seq-read-44k-qd32", 11, 32, false}, {"seq-read-128k-qd32", 32, 32, false},
		{"seq-read-1m-qd8", 256, 8, false},   {"seq-write-44k-qd32", 11, 32, true},
		{"seq-write-1m-qd8", 256, 8, true},
	};
	bool check = argc > 1 && !strcmp(argv[1], "--check"), ok = true;
	struct bench b = {.params = BLK_PARAMS_INIT};
	const char *dir = argc > 1 + check ? argv[1 + check] : "/var/tmp";

	make_image(&b, dir);
	b.params.path = b.path;
	b.params.vdev = "xvda";
	b.params.persistent = true;
	b.guest = fake_guest_new(1, "bench", FAKE_GRANTS);
	for (uint32_t i = 0; i < FAKE_GRANTS; i++)
		fake_grant(b.guest, i, i, false);
	if (io_loop_new(&b.loop) < 0 || xs_store_new(b.loop, &b.store) < 0)
		die("no loop");
	fake_use_loop(b.guest, b.loop);
	for (unsigned int mode = 0; mode < 4; mode++) {
		b.params.engine = mode & 1 ? BLK_ENGINE_THREADS : BLK_ENGINE_AUTO;
		b.persistent = mode & 2;
		start(&b);
		for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
			struct result r =
				measure(&b, cases[i].write, cases[i].pages, cases[i].depth);
			double rate = r.bytes / r.seconds / 1e9;

			printf("blk %-8s %-10s %-19s %7.2f GB/s %8.0f req/s %5.2f cpu %5.2f "
			       "events/req\n",
			       blk_device_engine(b.dev), b.persistent ? "persistent" : "mapped",
			       cases[i].name, rate, r.requests / r.seconds, r.cpu / r.seconds,
			       r.events / r.requests);
			fflush(stdout);
			if (!cases[i].write && cases[i].pages >= 11 && rate < 1)
				ok = false;
		}
		stop(&b);
	}
	xs_store_free(b.store);
	fake_guest_free(b.guest);
	io_loop_free(b.loop);
	unlink(b.path);
	return check && !ok;
}
