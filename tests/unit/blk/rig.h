/* SPDX-License-Identifier: MIT */
/*
 * A block device with all that it needs, and a front end played by the test: a fake domain, a
 * store, an image file, a ring. Everything runs in the test's thread; the loop is stepped.
 */
#ifndef PVV_TESTS_BLK_RIG_H
#define PVV_TESTS_BLK_RIG_H

#include "io/blk/blk.h"
#include "io/blk/device.h"
#include "io_rig.h"
#include "util/err.h"

#define RIG_DOMID  7u
#define RIG_PORT   5u
#define RIG_VDEV   51712u
#define RIG_FRONT  "/local/domain/7/device/vbd/51712"
#define RIG_BACK   "/local/domain/0/backend/vbd/7/51712"
#define RIG_ERROR  "/local/domain/0/error/backend/vbd/7/51712/error"
#define RIG_PAGES  1024u
#define RIG_DATA   32u /* the first page for data; those before are for rings and indirect pages */
#define RIG_BLOCKS 2048u /* the image's size in pages: 8 MiB */

struct rig {
	IO_RIG;
	struct blk_device *dev;
	struct blk_params params;
	struct blk_events events;
	char path[64];
	int fd; /* the image, for the test's own looks */

	/* The front end. */
	bool abi_32;
	unsigned int order;
	unsigned int first_ring_page;
	uint32_t port;
	uint32_t nr_ents;
	uint32_t req_prod, rsp_cons;

	/* What was reported. */
	unsigned int io_errors, guest_errors, connects, disconnects;
	int last_errno;
	char last_op[16];
	char last_why[256];
};

struct rig_req {
	uint8_t op;
	uint8_t indirect_op;
	unsigned int nr_segs;
	uint64_t id;
	uint64_t sector;
	uint64_t nr_sectors;
	struct blkif_request_segment seg[BLKIF_MAX_SEGMENTS_PER_REQUEST];
	uint32_t indirect[BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST];
};

struct rig_rsp {
	uint64_t id;
	uint8_t op;
	int16_t status;
};

/* Loop, guest, store and an image file of RIG_BLOCKS pages, page i filled with rig_pattern(i). */
void rig_init(struct rig *r);
/* The device, by r->params; `engine` may be NULL. */
void rig_device(struct rig *r, struct blk_engine *engine);
void rig_fini(struct rig *r);
/* All of it with that engine, connected. */
void rig_start(struct rig *r, enum blk_engine_kind engine);
void rig_stop(struct rig *r);

/* A fresh ring at r->first_ring_page; writes the transport nodes. */
void rig_make_ring(struct rig *r);
/* The same, then state Initialised, until the back end is connected; then state Connected. */
void rig_connect(struct rig *r);

/* Put requests into the ring. */
void rig_queue(struct rig *r, const struct rig_req *req);
void rig_queue_raw(struct rig *r, const void *raw, size_t size);
/* Publish them and send the event if it is asked for. */
void rig_push(struct rig *r);
void rig_set_req_prod(struct rig *r, uint32_t req_prod);
/* Take a response if there is one. */
bool rig_poll(struct rig *r, struct rig_rsp *rsp);
struct rig_rsp rig_wait(struct rig *r);
/* One request, pushed, and its status. */
int rig_do(struct rig *r, const struct rig_req *req);

/* A request of whole pages: page `pfn`.. (granted under its own number) to disk block `block`.. */
struct rig_req rig_rw(uint8_t op, uint64_t block, unsigned int pfn, unsigned int pages);
/* n segments in `page`, which becomes the indirect page. */
struct rig_req rig_indirect(struct rig *r, uint8_t op, uint64_t block, unsigned int page,
			    unsigned int pfn, unsigned int pages);

uint64_t rig_pattern(uint64_t block);
void rig_fill(struct rig *r, unsigned int pfn, uint64_t value);
/* All of the page has the value; of the file likewise. */
bool rig_page_is(struct rig *r, unsigned int pfn, uint64_t value);
bool rig_block_is(struct rig *r, uint64_t block, uint64_t value);
/* Whether this machine has io_uring (containers often have not). */
bool rig_have_uring(void);

#endif
