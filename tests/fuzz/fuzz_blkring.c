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
#include "io/blk/blk.h"
#include "io/blk/device.h"
#include "ring_front.h"

#define PAGES	 48u
#define INDIRECT 16u /* the page that is filled on request */
#define PORT	 5u
#define FRONT	 "/local/domain/1/device/vbd/51712"

struct fuzz {
	struct blk_device *dev;
	uint32_t req_prod;
	unsigned int order;
	bool abi_32;
	struct input in;
};

static struct mock mock;
static struct front front = {.path = FRONT, .pages = PAGES};
static int image_fd = -1;

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
	if (blk_device_new_with(front.loop, front.guest, front.store, image, NULL, &mock.engine,
				&f->dev) < 0)
		abort();
	front_run(&front);
}

static void connect_front(struct fuzz *f, uint8_t flags)
{
	struct blkif_sring *sring = fake_page(front.guest, 0);

	f->abi_32 = flags & 1;
	f->order = flags >> 3 & 3;
	sring->req_event = sring->rsp_event = 1;
	front_put(&front, "ring-ref", 0);
	if (f->order) {
		char name[24];

		front_put(&front, "ring-page-order", f->order);
		for (unsigned int i = 0; i < 1u << f->order; i++) {
			snprintf(name, sizeof(name), "ring-ref%u", i);
			front_put(&front, name, i);
		}
	}
	front_put(&front, "event-channel", PORT);
	front_put(&front, "feature-persistent", flags >> 1 & 1);
	if (f->abi_32)
		xs_put(front.store, FRONT, "protocol", "x86_32-abi");
	if (!(flags & 0x20))
		front_put(&front, "state", XenbusStateInitialised);
	front_run(&front);
}

static void put_request(struct fuzz *f)
{
	unsigned int entry = f->abi_32 ? 108 : 112;
	uint32_t nr_ents = 32u << f->order;
	size_t at = 64 + (size_t)(f->req_prod++ & (nr_ents - 1)) * entry;
	uint8_t raw[112];

	copy_bytes(&f->in, raw, entry);
	for (unsigned int i = 0; i < entry; i++, at++)
		((uint8_t *)fake_page(front.guest, at / 4096))[at % 4096] = raw[i];
	((struct blkif_sring *)fake_page(front.guest, 0))->req_prod = f->req_prod;
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

	front_put_node(&front, &f->in, names, sizeof(names) / sizeof(names[0]));
}

static void command(struct fuzz *f)
{
	struct blkif_sring *sring = fake_page(front.guest, 0);
	uint32_t n;

	switch (number(&f->in, 1) % 12) {
	case 0:
		put_request(f);
		break;
	case 1:
		fake_raise(front.guest, PORT);
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
		front_put(&front, "state", number(&f->in, 1) % 9);
		break;
	case 6:
		put_node(f);
		break;
	case 7:
		front_change_grant(&front, &f->in);
		break;
	case 8: /* bytes anywhere: ring, indirect segments, data */
		front_scribble(&front, &f->in);
		break;
	case 9:
		copy_bytes(&f->in, fake_page(front.guest, INDIRECT), number(&f->in, 1) * 8);
		break;
	case 10:
		front_run(&front);
		break;
	case 11:
		sring->rsp_event = number(&f->in, 4);
		sring->rsp_prod = number(&f->in, 4);
		break;
	}
}

static void set_up(void)
{
	if (image_fd < 0) {
		image_fd = memfd_create("fuzz", MFD_CLOEXEC);
		if (image_fd < 0 || ftruncate(image_fd, 1 << 20) < 0)
			abort();
	}
	front_set_up(&front);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct blk_stats stats;

	set_up();
	struct fuzz f = {.in = {data, size}};
	uint8_t flags = (uint8_t)number(&f.in, 1);
	open_device(&f, flags);
	connect_front(&f, flags);
	while (f.in.left)
		command(&f);
	front_run(&front);
	/* What is in flight is what the engine has, or waits for it. */
	if (f.dev->inflight && !mock.nr_ops)
		abort();
	blk_device_stats(f.dev, &stats);
	if (stats.refused > stats.errors)
		abort();
	blk_device_free(f.dev);
	if (!mock.freed)
		abort();
	front_check_released(&front);
	return 0;
}
