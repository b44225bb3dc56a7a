/* SPDX-License-Identifier: MIT */
/*
 * One request, from the copy of the ring's entry to the response. All numbers in it are the
 * guest's; nothing is mapped or submitted before all of them were checked, except the pages of
 * indirect segments, which are copied and unmapped at once.
 */
#include "io/blk/device.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SEGMENTS_PER_PAGE (BLK_PAGE / sizeof(struct blkif_request_segment))
_Static_assert(BLK_MAX_INDIRECT <= SEGMENTS_PER_PAGE * BLKIF_MAX_INDIRECT_PAGES_PER_REQUEST,
	       "the pages of an indirect request hold its segments");

/* --- memory ----------------------------------------------------------------------------------- */

/* With room for `nr_segs` segments; NULL if out of memory. */
static struct blk_req *alloc_req(struct blk_device *dev, unsigned int nr_segs)
{
	struct blk_req *req = dev->spare;

	if (req)
		dev->spare = req->next;
	else if (!(req = calloc(1, sizeof(*req))))
		return NULL;
	if (req->capacity < nr_segs) {
		unsigned int n = nr_segs <= BLKIF_MAX_SEGMENTS_PER_REQUEST
					 ? BLKIF_MAX_SEGMENTS_PER_REQUEST
					 : BLK_MAX_INDIRECT;

		free(req->maps);
		free(req->iov);
		req->capacity = n;
		req->maps = malloc(n * sizeof(*req->maps));
		req->iov = malloc(n * sizeof(*req->iov));
		if (!req->maps || !req->iov) {
			req->capacity = 0;
			req->next = dev->spare;
			dev->spare = req;
			return NULL;
		}
	}
	struct blk_map *maps = req->maps;
	struct iovec *iov = req->iov;
	unsigned int capacity = req->capacity;
	*req = (struct blk_req){.dev = dev, .maps = maps, .iov = iov, .capacity = capacity};
	return req;
}

static void free_req(struct blk_req *req)
{
	req->next = req->dev->spare;
	req->dev->spare = req;
}

void blk_request_free_spares(struct blk_device *dev)
{
	while (dev->spare) {
		struct blk_req *req = dev->spare;

		dev->spare = req->next;
		free(req->maps);
		free(req->iov);
		free(req);
	}
}

/* --- pages ------------------------------------------------------------------------------------ */

static int map_page(struct blk_req *req, uint32_t ref, void **ret_page)
{
	struct blk_device *dev = req->dev;
	struct blk_map *map = &req->maps[req->nr_maps];
	int handle = -1;

	if (dev->conn.persistent)
		handle = blk_pgrants_get(dev->conn.persistent, ref, ret_page);
	if (handle < 0 && io_grant_map(dev->guest, ref, req->map_write, ret_page) < 0)
		return -1;
	*map = (struct blk_map){.ref = ref, .persistent = handle, .page = *ret_page};
	req->nr_maps++;
	return 0;
}

static void unmap_pages(struct blk_req *req)
{
	struct blk_device *dev = req->dev;

	for (unsigned int i = 0; i < req->nr_maps; i++) {
		/* Before the answer: the guest may run what was read as soon as it sees it. */
		if (req->map_write)
			io_page_written(dev->guest, req->maps[i].page);
		if (req->maps[i].persistent >= 0)
			blk_pgrants_put(dev->conn.persistent, req->maps[i].persistent);
		else
			io_grant_unmap(dev->guest, req->maps[i].ref, req->map_write);
	}
	req->nr_maps = 0;
}

/* The segments were checked. Adjacent pieces of memory become one. */
static int map_segments(struct blk_req *req, const struct blkif_request_segment *seg,
			unsigned int nr_segs)
{
	struct iovec *last = NULL;

	for (unsigned int i = 0; i < nr_segs; i++) {
		void *page;

		if (map_page(req, seg[i].gref, &page) < 0)
			return -1;
		char *base = (char *)page + seg[i].first_sect * BLK_SECTOR_SIZE;
		size_t len = (seg[i].last_sect - seg[i].first_sect + 1u) * BLK_SECTOR_SIZE;
		if (last && (char *)last->iov_base + last->iov_len == base) {
			last->iov_len += len;
			continue;
		}
		last = &req->iov[req->io.nr_iov++];
		*last = (struct iovec){.iov_base = base, .iov_len = len};
	}
	req->io.iov = req->iov;
	return 0;
}

/* --- checks ----------------------------------------------------------------------------------- */

static bool in_bounds(const struct blk_device *dev, uint64_t sector, uint64_t nr_sectors)
{
	uint64_t sectors = dev->image->sectors;

	return nr_sectors && nr_sectors <= sectors && sector <= sectors - nr_sectors;
}

/* The sum of the segments' sectors, 0 if one of them is impossible. */
static uint64_t count_sectors(const struct blkif_request_segment *seg, unsigned int nr_segs)
{
	uint64_t n = 0;

	for (unsigned int i = 0; i < nr_segs; i++) {
		if (seg[i].first_sect > seg[i].last_sect ||
		    seg[i].last_sect >= BLK_SECTORS_PER_PAGE)
			return 0;
		n += seg[i].last_sect - seg[i].first_sect + 1u;
	}
	return n;
}

/* Copy the segments of an indirect request out of the guest's pages. */
static int copy_indirect(struct blk_device *dev, const struct blk_cmd *cmd,
			 struct blkif_request_segment *seg)
{
	unsigned int done = 0;

	for (unsigned int i = 0; done < cmd->nr_segments; i++) {
		unsigned int n = cmd->nr_segments - done;
		void *page;

		if (n > SEGMENTS_PER_PAGE)
			n = SEGMENTS_PER_PAGE;
		if (io_grant_map(dev->guest, cmd->indirect_grefs[i], false, &page) < 0)
			return -1;
		memcpy(seg + done, page, n * sizeof(*seg));
		__asm__ volatile("" : : "r"(seg) : "memory"); /* the copy, from here on */
		io_grant_unmap(dev->guest, cmd->indirect_grefs[i], false);
		done += n;
	}
	return 0;
}

/* --- beginning -------------------------------------------------------------------------------- */

static void refuse(struct blk_device *dev, const struct blk_cmd *cmd, int16_t status)
{
	blk_stat_add(&dev->stats.errors, 1);
	blk_stat_add(&dev->stats.refused, 1);
	blk_respond(dev, cmd->id, cmd->op, status);
}

static struct blk_req *new_req(struct blk_device *dev, const struct blk_cmd *cmd,
			       enum blk_kind kind, unsigned int nr_segs)
{
	struct blk_req *req = alloc_req(dev, nr_segs);

	if (!req)
		return NULL;
	req->kind = kind;
	req->id = cmd->id;
	req->ring_op = cmd->op;
	req->offset = cmd->sector * BLK_SECTOR_SIZE;
	req->start_ns = io_now_ns();
	req->map_write = kind == BLK_KIND_READ;
	dev->inflight++;
	return req;
}

/* Undo new_req() for a request that did not begin. */
static void drop_req(struct blk_req *req)
{
	unmap_pages(req);
	req->dev->inflight--;
	free_req(req);
}

static void read_done(struct blk_io *io, int error)
{
	struct blk_device *dev = ((struct blk_req *)io)->dev;

	blk_request_finish((struct blk_req *)io, error);
	blk_order_advance(dev);
}

static void start_transfer(struct blk_device *dev, const struct blk_cmd *cmd, enum blk_kind kind)
{
	struct blkif_request_segment copy[BLK_MAX_INDIRECT];
	const struct blkif_request_segment *seg = cmd->seg;

	if (kind != BLK_KIND_READ && dev->image->params.readonly)
		return refuse(dev, cmd, BLKIF_RSP_ERROR);
	if (cmd->nr_segments > (cmd->indirect ? BLK_MAX_INDIRECT : BLKIF_MAX_SEGMENTS_PER_REQUEST))
		return refuse(dev, cmd, BLKIF_RSP_ERROR);
	if (cmd->indirect) {
		if (copy_indirect(dev, cmd, copy) < 0)
			return refuse(dev, cmd, BLKIF_RSP_ERROR);
		seg = copy;
	}
	uint64_t sectors = count_sectors(seg, cmd->nr_segments);
	if (!in_bounds(dev, cmd->sector, sectors))
		return refuse(dev, cmd, BLKIF_RSP_ERROR);

	struct blk_req *req = new_req(dev, cmd, kind, cmd->nr_segments);
	if (!req)
		return refuse(dev, cmd, BLKIF_RSP_ERROR);
	if (map_segments(req, seg, cmd->nr_segments) < 0) {
		drop_req(req);
		return refuse(dev, cmd, BLKIF_RSP_ERROR);
	}
	req->bytes = req->io.length = sectors * BLK_SECTOR_SIZE;
	dev->run_bytes += req->bytes;
	req->io.offset = req->offset;
	req->io.op = kind == BLK_KIND_READ ? BLK_IO_READ : BLK_IO_WRITE;
	req->io.dsync = kind != BLK_KIND_READ && blk_image_write_through(dev->image);
	req->io.fd = blk_image_fd_for(dev->image, req->iov, req->io.nr_iov, req->offset);
	if (kind == BLK_KIND_WRITE) {
		blk_order_write(req);
	} else if (kind == BLK_KIND_BARRIER) {
		blk_order_barrier(req);
	} else {
		req->io.done = read_done;
		dev->engine->ops->submit(dev->engine, &req->io);
	}
}

/* A flush or barrier without data. */
static void start_empty(struct blk_device *dev, const struct blk_cmd *cmd, enum blk_kind kind)
{
	struct blk_req *req = new_req(dev, cmd, kind, 0);

	if (!req)
		return refuse(dev, cmd, BLKIF_RSP_ERROR);
	if (kind == BLK_KIND_FLUSH)
		blk_order_flush(req);
	else
		blk_order_barrier(req);
}

static void start_discard(struct blk_device *dev, const struct blk_cmd *cmd)
{
	if (!dev->image->discard && !dev->image->params.readonly)
		return refuse(dev, cmd, BLKIF_RSP_EOPNOTSUPP);
	if (dev->image->params.readonly || !in_bounds(dev, cmd->sector, cmd->nr_sectors))
		return refuse(dev, cmd, BLKIF_RSP_ERROR);
	struct blk_req *req = new_req(dev, cmd, BLK_KIND_DISCARD, 0);
	if (!req)
		return refuse(dev, cmd, BLKIF_RSP_ERROR);
	req->bytes = cmd->nr_sectors * BLK_SECTOR_SIZE;
	req->io = (struct blk_io){.op = BLK_IO_DISCARD,
				  .fd = dev->image->fd,
				  .offset = req->offset,
				  .length = req->bytes};
	blk_order_write(req);
}

void blk_request_start(struct blk_device *dev, const struct blk_cmd *cmd)
{
	/* Only these two can be asked for indirectly. */
	if (cmd->indirect && cmd->op != BLKIF_OP_READ && cmd->op != BLKIF_OP_WRITE)
		return refuse(dev, cmd, BLKIF_RSP_ERROR);

	switch (cmd->op) {
	case BLKIF_OP_READ:
		return start_transfer(dev, cmd, BLK_KIND_READ);
	case BLKIF_OP_WRITE:
		return start_transfer(dev, cmd, BLK_KIND_WRITE);
	case BLKIF_OP_FLUSH_DISKCACHE:
		if (!cmd->nr_segments)
			return start_empty(dev, cmd, BLK_KIND_FLUSH);
		/*
		 * Nobody sends a flush with data. What it would mean differs between back ends;
		 * a barrier is at least as strong as any of it.
		 */
		return start_transfer(dev, cmd, BLK_KIND_BARRIER);
	case BLKIF_OP_WRITE_BARRIER:
		return cmd->nr_segments ? start_transfer(dev, cmd, BLK_KIND_BARRIER)
					: start_empty(dev, cmd, BLK_KIND_BARRIER);
	case BLKIF_OP_DISCARD:
		return start_discard(dev, cmd);
	default:
		return refuse(dev, cmd, BLKIF_RSP_EOPNOTSUPP);
	}
}

/* --- ending ----------------------------------------------------------------------------------- */

static void count(struct blk_device *dev, const struct blk_req *req)
{
	struct blk_stats *s = &dev->stats;
	uint64_t ns = io_now_ns() - req->start_ns;

	switch (req->kind) {
	case BLK_KIND_READ:
		blk_stat_add(&s->rd_req, 1);
		blk_stat_add(&s->rd_bytes, req->bytes);
		blk_stat_add(&s->rd_time_ns, ns);
		break;
	case BLK_KIND_BARRIER:
		blk_stat_add(&s->flush_req, 1);
		if (!req->bytes)
			break;
		/* fallthrough */
	case BLK_KIND_WRITE:
		blk_stat_add(&s->wr_req, 1);
		blk_stat_add(&s->wr_bytes, req->bytes);
		blk_stat_add(&s->wr_time_ns, ns);
		break;
	case BLK_KIND_FLUSH:
		blk_stat_add(&s->flush_req, 1);
		break;
	case BLK_KIND_DISCARD:
		blk_stat_add(&s->discard_req, 1);
		break;
	}
}

void blk_request_finish(struct blk_req *req, int error)
{
	static const char *const names[] = {
		[BLK_KIND_READ] = "read",
		[BLK_KIND_WRITE] = "write",
		[BLK_KIND_BARRIER] = "write",
		[BLK_KIND_DISCARD] = "discard",
	};
	struct blk_device *dev = req->dev;
	int16_t status = error ? BLKIF_RSP_ERROR : BLKIF_RSP_OKAY;
	bool of_sync = req->kind == BLK_KIND_FLUSH ||
		       (req->kind == BLK_KIND_BARRIER && req->phase != BLK_PHASE_WRITE);

	if (req->kind == BLK_KIND_DISCARD && error == EOPNOTSUPP)
		status = BLKIF_RSP_EOPNOTSUPP;
	else if (error && !of_sync) /* a sync has reported its error itself */
		blk_report_io_error(dev, names[req->kind], req->offset, req->bytes, error);
	if (error)
		blk_stat_add(&dev->stats.errors, 1);
	else
		count(dev, req);
	unmap_pages(req);
	blk_respond(dev, req->id, req->ring_op, status);
	dev->inflight--;
	free_req(req);
}
