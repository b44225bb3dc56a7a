/* SPDX-License-Identifier: MIT */
/*
 * The block back end against a front end made of the input: requests, indices, grants, events and
 * xenstore nodes in any order, and a host that completes I/O whenever the input says so. Whatever
 * happens, the device must be able to end with nothing left mapped, bound or in flight.
 *
 * The first byte chooses how the front end connects, then each command is a byte with operands.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../unit/blk/mock_engine.h"
#include "fake_guest.h"
#include "io/blk/blk.h"
#include "io/blk/device.h"
#include "io/xenstore/xenstore.h"

#define PAGES	 48u
#define INDIRECT 16u /* the page that is filled on request */
#define PORT	 5u
#define FRONT	 "/local/domain/1/device/vbd/51712"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *p;
	size_t left;
};

struct fuzz {
	struct io_loop *loop;
	struct io_guest *guest;
	struct xs_store *store;
	struct blk_device *dev;
	uint32_t req_prod;
	unsigned int order;
	bool abi_32;
	struct input in;
};

static struct mock mock;
/* Made once: what the front end can change in them is put right before each input. */
static struct io_loop *loop;
static struct io_guest *guest;
static struct xs_store *store;
static int image_fd;

static void copy_bytes(struct input *in, void *buf, size_t n)
{
	size_t have = in->left < n ? in->left : n;

	memset(buf, 0, n);
	memcpy(buf, in->p, have);
	in->p += have;
	in->left -= have;
}

static uint32_t number(struct input *in, size_t n)
{
	uint32_t v = 0;

	copy_bytes(in, &v, n);
	return v;
}

static void put(struct fuzz *f, const char *name, uint32_t value)
{
	xs_put(f->store, FRONT, name, "%u", value);
}

/* All that is queued in the loop, without waiting. */
static void run(struct fuzz *f)
{
	for (int i = 0; i < 4; i++) {
		io_loop_quit(f->loop);
		io_loop_run(f->loop);
	}
}

static void open_device(struct fuzz *f, uint8_t flags)
{
	struct blk_params params = BLK_PARAMS_INIT;
	struct blk_image *image;

	params.fd = image_fd;
	params.vdev = "xvda";
	params.persistent = true;
	params.readonly = (flags & 0xc0) == 0xc0;
	params.max_inflight = flags & 0x80 ? 3 : 0;
	if (blk_image_open(&params, &image) < 0)
		abort();
	mock_init(&mock);
	if (blk_device_new_with(f->loop, f->guest, f->store, image, NULL, &mock.engine, &f->dev) <
	    0)
		abort();
	run(f);
}

static void connect_front(struct fuzz *f, uint8_t flags)
{
	struct blkif_sring *sring = fake_page(f->guest, 0);

	f->abi_32 = flags & 1;
	f->order = flags >> 3 & 3;
	sring->req_event = sring->rsp_event = 1;
	put(f, "ring-ref", 0);
	if (f->order) {
		char name[24];

		put(f, "ring-page-order", f->order);
		for (unsigned int i = 0; i < 1u << f->order; i++) {
			snprintf(name, sizeof(name), "ring-ref%u", i);
			put(f, name, i);
		}
	}
	put(f, "event-channel", PORT);
	put(f, "feature-persistent", flags >> 1 & 1);
	if (f->abi_32)
		xs_put(f->store, FRONT, "protocol", "x86_32-abi");
	if (!(flags & 0x20))
		put(f, "state", XenbusStateInitialised);
	run(f);
}

static void put_request(struct fuzz *f)
{
	unsigned int entry = f->abi_32 ? 108 : 112;
	uint32_t nr_ents = 32u << f->order;
	size_t at = 64 + (size_t)(f->req_prod++ & (nr_ents - 1)) * entry;
	uint8_t raw[112];

	copy_bytes(&f->in, raw, entry);
	for (unsigned int i = 0; i < entry; i++, at++)
		((uint8_t *)fake_page(f->guest, at / 4096))[at % 4096] = raw[i];
	((struct blkif_sring *)fake_page(f->guest, 0))->req_prod = f->req_prod;
}

static void put_node(struct fuzz *f)
{
	static const char *const names[] = {
		"ring-ref",	   "ring-ref0",
		"ring-ref1",	   "event-channel",
		"ring-page-order", "num-ring-pages",
		"protocol",	   "feature-persistent",
		"state",	   "multi-queue-num-queues",
	};
	char value[17], path[96];
	uint32_t which = number(&f->in, 1);
	const char *name = names[which % (sizeof(names) / sizeof(names[0]))];

	snprintf(path, sizeof(path), FRONT "/%s", name);
	if (which & 0x80) {
		xs_rm(f->store, path);
		return;
	}
	uint32_t len = number(&f->in, 1) % sizeof(value);
	copy_bytes(&f->in, value, len);
	xs_write_data(f->store, path, value, len);
}

static void change_grant(struct fuzz *f)
{
	uint32_t what = number(&f->in, 1), ref = what % PAGES;

	fake_grant_end(f->guest, ref);
	if (what & 0x80 && !fake_grant_maps(f->guest, ref))
		fake_grant(f->guest, ref, number(&f->in, 1), what & 0x40);
}

static void command(struct fuzz *f)
{
	struct blkif_sring *sring = fake_page(f->guest, 0);
	uint32_t n;

	switch (number(&f->in, 1) % 12) {
	case 0:
		put_request(f);
		break;
	case 1:
		fake_raise(f->guest, PORT);
		break;
	case 2:
		sring->req_prod = f->req_prod = number(&f->in, 4);
		break;
	case 3: /* complete something, perhaps with an error */
		n = number(&f->in, 1);
		if (mock.nr_ops)
			mock_complete(&mock, (n & 63) % mock.nr_ops, n & 0x80 ? 5 : 0);
		break;
	case 4:
		while (mock.nr_ops)
			mock_complete(&mock, 0, 0);
		blk_run(f->dev);
		break;
	case 5:
		put(f, "state", number(&f->in, 1) % 9);
		break;
	case 6:
		put_node(f);
		break;
	case 7:
		change_grant(f);
		break;
	case 8: /* bytes anywhere: ring, indirect segments, data */
		n = number(&f->in, 3);
		copy_bytes(&f->in, (uint8_t *)fake_page(f->guest, (n >> 12) % PAGES) + (n & 0xff0),
			   16);
		break;
	case 9:
		copy_bytes(&f->in, fake_page(f->guest, INDIRECT), number(&f->in, 1) * 8);
		break;
	case 10:
		run(f);
		break;
	case 11:
		sring->rsp_event = number(&f->in, 4);
		sring->rsp_prod = number(&f->in, 4);
		break;
	}
}

static void set_up(void)
{
	if (!loop) {
		image_fd = memfd_create("fuzz", MFD_CLOEXEC);
		if (image_fd < 0 || ftruncate(image_fd, 1 << 20) < 0 || io_loop_new(&loop) < 0 ||
		    xs_store_new(loop, &store) < 0)
			abort();
		guest = fake_guest_new(1, "fuzz", PAGES);
	}
	for (uint32_t i = 0; i < PAGES; i++) {
		memset(fake_page(guest, i), 0, 4096);
		fake_grant(guest, i, i, false);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct blk_stats stats;

	set_up();
	struct fuzz f = {.loop = loop, .guest = guest, .store = store, .in = {data, size}};
	uint8_t flags = (uint8_t)number(&f.in, 1);
	open_device(&f, flags);
	connect_front(&f, flags);
	while (f.in.left)
		command(&f);
	run(&f);
	/* What is in flight is what the engine has, or waits for it. */
	if (f.dev->inflight && !mock.nr_ops)
		abort();
	blk_device_stats(f.dev, &stats);
	if (stats.refused > stats.errors)
		abort();
	blk_device_free(f.dev);
	if (!mock.freed || fake_grant_maps_total(guest))
		abort();
	for (uint32_t i = 0; i < FAKE_PORTS; i++)
		if (fake_bound(guest, i))
			abort();
	return 0;
}
