/* SPDX-License-Identifier: MIT */
#include "rig.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- reports ---------------------------------------------------------------------------------- */

static void on_io_error(void *opaque, const struct blk_io_error *e)
{
	struct rig *r = opaque;

	r->io_errors++;
	r->last_errno = e->os_errno;
	snprintf(r->last_op, sizeof(r->last_op), "%s", e->op);
}

static void on_guest_error(void *opaque, const char *vdev, const char *why)
{
	struct rig *r = opaque;

	(void)vdev;
	r->guest_errors++;
	snprintf(r->last_why, sizeof(r->last_why), "%s", why);
}

static void on_connected(void *opaque, const char *vdev, bool connected)
{
	struct rig *r = opaque;

	(void)vdev;
	if (connected)
		r->connects++;
	else
		r->disconnects++;
}

/* --- making ----------------------------------------------------------------------------------- */

uint64_t rig_pattern(uint64_t block)
{
	return block * 0x9e3779b97f4a7c15u + 1;
}

static void make_image(struct rig *r)
{
	static uint64_t data[RIG_BLOCKS * 512];
	const char *dir = getenv("TMPDIR");

	snprintf(r->path, sizeof(r->path), "%.40s/pvv-blk-XXXXXX", dir ? dir : "/var/tmp");
	r->fd = mkstemp(r->path);
	assert_true(r->fd >= 0);
	for (size_t i = 0; i < RIG_BLOCKS * 512; i++)
		data[i] = rig_pattern(i / 512);
	assert_int_equal(pwrite(r->fd, data, sizeof(data), 0), sizeof(data));
}

void rig_init(struct rig *r)
{
	memset(r, 0, sizeof(*r));
	io_rig_init(&r->io, RIG_DOMID, RIG_PAGES, RIG_FRONT, RIG_BACK);
	make_image(r);
	r->params =
		(struct blk_params){.path = r->path, .fd = -1, .vdev = "xvda", .persistent = true};
	r->events = (struct blk_events){on_io_error, on_guest_error, on_connected, r};
	r->port = RIG_PORT;
}

void rig_device(struct rig *r, struct blk_engine *engine)
{
	struct blk_image *image;

	assert_int_equal(blk_image_open(&r->params, &image), 0);
	assert_int_equal(blk_device_new_with(r->loop, r->guest, r->store, image, &r->events, engine,
					     &r->dev),
			 0);
}

void rig_fini(struct rig *r)
{
	io_rig_fini(&r->io);
	close(r->fd);
	unlink(r->path);
}

void rig_start(struct rig *r, enum blk_engine_kind engine)
{
	rig_init(r);
	r->params.engine = engine;
	rig_device(r, NULL);
	rig_connect(r);
}

void rig_stop(struct rig *r)
{
	blk_device_free(r->dev);
	rig_fini(r);
}

/* --- the ring --------------------------------------------------------------------------------- */

static uint32_t entry_size(const struct rig *r)
{
	return r->abi_32 ? 108 : 112;
}

static struct blkif_sring *sring(struct rig *r)
{
	return fake_page(r->guest, r->first_ring_page);
}

static void copy(struct rig *r, uint32_t idx, void *buf, size_t size, bool in)
{
	size_t at = 64 + (size_t)(idx % r->nr_ents) * entry_size(r);

	for (size_t i = 0; i < size; i++, at++) {
		uint8_t *page = fake_page(r->guest, r->first_ring_page + at / 4096);

		if (in)
			page[at % 4096] = ((uint8_t *)buf)[i];
		else
			((uint8_t *)buf)[i] = page[at % 4096];
	}
}

void rig_make_ring(struct rig *r)
{
	uint32_t fit = ((4096u << r->order) - 64) / entry_size(r);

	for (r->nr_ents = 1; r->nr_ents * 2 <= fit;)
		r->nr_ents *= 2;
	for (unsigned int i = 0; i < 1u << r->order; i++)
		memset(fake_page(r->guest, r->first_ring_page + i), 0, 4096);
	sring(r)->req_event = sring(r)->rsp_event = 1;
	r->req_prod = r->rsp_cons = 0;
	if (r->order) {
		rig_front_write(r, "ring-page-order", "%u", r->order);
		for (unsigned int i = 0; i < 1u << r->order; i++) {
			char name[24];

			snprintf(name, sizeof(name), "ring-ref%u", i);
			rig_front_write(r, name, "%u", r->first_ring_page + i);
		}
	} else {
		rig_front_write(r, "ring-ref", "%u", r->first_ring_page);
	}
	rig_front_write(r, "event-channel", "%u", r->port);
	if (r->abi_32)
		rig_front_write(r, "protocol", "x86_32-abi");
}

void rig_connect(struct rig *r)
{
	rig_until(r, rig_back_state(r) == XenbusStateInitWait);
	rig_make_ring(r);
	rig_front_state(r, XenbusStateInitialised);
	rig_until(r, rig_back_state(r) == XenbusStateConnected);
	rig_front_state(r, XenbusStateConnected);
	rig_step(r);
}

void rig_queue_raw(struct rig *r, const void *raw, size_t size)
{
	copy(r, r->req_prod++, (void *)(uintptr_t)raw, size, true);
}

static void put(uint8_t *raw, size_t at, const void *value, size_t size)
{
	memcpy(raw + at, value, size);
}

void rig_queue(struct rig *r, const struct rig_req *q)
{
	/* Where a 64-bit number may begin after the first four bytes. */
	size_t at = r->abi_32 ? 4 : 8;
	uint8_t raw[112] = {q->op};
	uint16_t nr_segs = (uint16_t)q->nr_segs;

	put(raw, at, &q->id, 8);
	put(raw, at + 8, &q->sector, 8);
	if (q->op == BLKIF_OP_INDIRECT) {
		raw[1] = q->indirect_op;
		put(raw, 2, &nr_segs, 2);
		put(raw, at + 20, q->indirect, sizeof(q->indirect));
	} else if (q->op == BLKIF_OP_DISCARD) {
		raw[1] = q->indirect_op;
		put(raw, at + 16, &q->nr_sectors, 8);
	} else {
		raw[1] = (uint8_t)q->nr_segs;
		put(raw, at + 16, q->seg, sizeof(q->seg));
	}
	rig_queue_raw(r, raw, entry_size(r));
}

void rig_set_req_prod(struct rig *r, uint32_t req_prod)
{
	__atomic_store_n(&sring(r)->req_prod, req_prod, __ATOMIC_SEQ_CST);
}

void rig_push(struct rig *r)
{
	uint32_t old = sring(r)->req_prod;

	rig_set_req_prod(r, r->req_prod);
	uint32_t event = __atomic_load_n(&sring(r)->req_event, __ATOMIC_SEQ_CST);
	if (r->req_prod - event < r->req_prod - old)
		fake_raise(r->guest, r->port);
}

bool rig_poll(struct rig *r, struct rig_rsp *rsp)
{
	uint8_t raw[16];

	if (__atomic_load_n(&sring(r)->rsp_prod, __ATOMIC_ACQUIRE) == r->rsp_cons)
		return false;
	copy(r, r->rsp_cons++, raw, r->abi_32 ? 12 : 16, false);
	__atomic_store_n(&sring(r)->rsp_event, r->rsp_cons + 1, __ATOMIC_SEQ_CST);
	memcpy(&rsp->id, raw, 8);
	rsp->op = raw[8];
	memcpy(&rsp->status, raw + 10, 2);
	return true;
}

struct rig_rsp rig_wait(struct rig *r)
{
	struct rig_rsp rsp;

	rig_until(r, rig_poll(r, &rsp));
	return rsp;
}

int rig_do(struct rig *r, const struct rig_req *q)
{
	rig_queue(r, q);
	rig_push(r);
	struct rig_rsp rsp = rig_wait(r);
	assert_int_equal(rsp.id, q->id);
	/* As Linux's front end insists: an indirect request is answered as what it asked for. */
	assert_int_equal(rsp.op, q->op == BLKIF_OP_INDIRECT ? q->indirect_op : q->op);
	return rsp.status;
}

/* --- requests and data ------------------------------------------------------------------------ */

struct rig_req rig_rw(uint8_t op, uint64_t block, unsigned int pfn, unsigned int pages)
{
	struct rig_req q = {.op = op, .nr_segs = pages, .sector = block * 8};

	q.id = 0x1122334400000000u | block;
	for (unsigned int i = 0; i < pages; i++)
		q.seg[i] = (struct blkif_request_segment){.gref = pfn + i, 0, 7};
	return q;
}

struct rig_req rig_indirect(struct rig *r, uint8_t op, uint64_t block, unsigned int page,
			    unsigned int pfn, unsigned int pages)
{
	struct rig_req q = {.op = BLKIF_OP_INDIRECT,
			    .indirect_op = op,
			    .nr_segs = pages,
			    .sector = block * 8,
			    .id = 0x5566 + block};
	struct blkif_request_segment *seg = fake_page(r->guest, page);

	for (unsigned int i = 0; i < pages && i < 512; i++)
		seg[i] = (struct blkif_request_segment){.gref = pfn + i, 0, 7};
	q.indirect[0] = page;
	return q;
}

void rig_fill(struct rig *r, unsigned int pfn, uint64_t value)
{
	uint64_t *p = fake_page(r->guest, pfn);

	for (int i = 0; i < 512; i++)
		p[i] = value;
}

static bool all_is(const uint64_t *p, uint64_t value)
{
	for (int i = 0; i < 512; i++)
		if (p[i] != value)
			return false;
	return true;
}

bool rig_page_is(struct rig *r, unsigned int pfn, uint64_t value)
{
	return all_is(fake_page(r->guest, pfn), value);
}

bool rig_block_is(struct rig *r, uint64_t block, uint64_t value)
{
	uint64_t data[512];

	assert_int_equal(pread(r->fd, data, 4096, (off_t)block * 4096), 4096);
	return all_is(data, value);
}

bool rig_have_uring(void)
{
	struct blk_engine *engine;
	struct io_loop *loop;
	bool ok = false;

	if (io_loop_new(&loop) < 0)
		return false;
	if (blk_uring_new(loop, 16, NULL, NULL, &engine) == 0) {
		engine->ops->free(engine);
		ok = true;
	}
	io_loop_free(loop);
	return ok;
}
