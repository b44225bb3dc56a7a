/* SPDX-License-Identifier: MIT */
/*
 * What a guest may rely on.
 *
 *  - A write is acknowledged when the host's write call has returned: its data are then visible to
 *    all later reads, but (unless the cache mode is write-through) not safe from a power failure.
 *  - A flush is acknowledged when an fdatasync() has succeeded that began after all writes and
 *    discards before the flush in the ring were complete. Flushes that wait for the same writes
 *    share one fdatasync(); one that arrives while an fdatasync() runs waits for the next, for
 *    the running one may have passed its data already.
 *  - A barrier waits for all requests before it, then flush, write, flush; nothing after it is
 *    taken from the ring before its end.
 *  - When an fdatasync() fails the kernel may forget what it could not write, and report success
 *    the next time (fsyncgate). So no flush succeeds after that.
 */
#include "io/blk/device.h"

#include <errno.h>
#include <string.h>

void blk_list_append(struct blk_req_list *list, struct blk_req *req)
{
	req->next = NULL;
	req->prev = list->tail;
	if (list->tail)
		list->tail->next = req;
	else
		list->head = req;
	list->tail = req;
}

void blk_list_remove(struct blk_req_list *list, struct blk_req *req)
{
	if (req->next)
		req->next->prev = req->prev;
	else
		list->tail = req->prev;
	if (req->prev)
		req->prev->next = req->next;
	else
		list->head = req->next;
}

static void submit(struct blk_device *dev, struct blk_io *io)
{
	dev->engine->ops->submit(dev->engine, io);
}

/* --- writes ----------------------------------------------------------------------------------- */

static void write_done(struct blk_io *io, int error)
{
	struct blk_req *req = (struct blk_req *)io;
	struct blk_device *dev = req->dev;

	blk_list_remove(&dev->writes, req);
	blk_request_finish(req, error);
	blk_order_advance(dev);
}

void blk_order_write(struct blk_req *req)
{
	struct blk_device *dev = req->dev;

	req->seq = ++dev->next_seq;
	req->io.done = write_done;
	blk_list_append(&dev->writes, req);
	submit(dev, &req->io);
}

/* --- syncs ------------------------------------------------------------------------------------ */

static void barrier_step(struct blk_device *dev, int error);

/* The errors of a sync that a later sync could hide. */
static bool loses_data(const struct blk_device *dev)
{
	return dev->image->params.cache != BLK_CACHE_NONE &&
	       dev->image->params.cache != BLK_CACHE_DIRECTSYNC;
}

static void finish_flushes(struct blk_device *dev, int error)
{
	while (dev->flushing.head) {
		struct blk_req *req = dev->flushing.head;

		blk_list_remove(&dev->flushing, req);
		blk_request_finish(req, error);
	}
}

static void sync_done(struct blk_io *io, int error)
{
	struct blk_device *dev =
		(struct blk_device *)((char *)io - offsetof(struct blk_device, sync));

	dev->syncing = false;
	blk_stat_add(&dev->stats.flush_time_ns, io_now_ns() - dev->sync_start_ns);
	if (error) {
		blk_report_io_error(dev, "flush", 0, 0, error);
		if (loses_data(dev))
			dev->sync_lost = error;
	}
	finish_flushes(dev, error);
	if (dev->barrier && dev->barrier->phase != BLK_PHASE_DRAIN)
		barrier_step(dev, error);
	blk_order_advance(dev);
}

/* True if it runs, and sync_done() follows; else *ret_error is the answer already. */
static bool start_sync(struct blk_device *dev, int *ret_error)
{
	*ret_error = dev->sync_lost;
	if (dev->sync_lost || dev->image->params.cache == BLK_CACHE_UNSAFE ||
	    dev->image->params.readonly)
		return false;
	dev->sync = (struct blk_io){.op = BLK_IO_FLUSH, .fd = dev->image->fd, .done = sync_done};
	dev->sync_start_ns = io_now_ns();
	dev->syncing = true;
	submit(dev, &dev->sync);
	return true;
}

void blk_order_flush(struct blk_req *req)
{
	req->seq = ++req->dev->next_seq;
	blk_list_append(&req->dev->flushes, req);
	blk_order_advance(req->dev);
}

/* --- barriers --------------------------------------------------------------------------------- */

static void barrier_write_done(struct blk_io *io, int error)
{
	barrier_step(((struct blk_req *)io)->dev, error);
}

/* The phase that the barrier is in has ended; go on until one takes time. */
static void barrier_step(struct blk_device *dev, int error)
{
	struct blk_req *req = dev->barrier;

	while (!error) {
		switch (req->phase) {
		case BLK_PHASE_DRAIN:
			req->phase = BLK_PHASE_PREFLUSH;
			if (start_sync(dev, &error))
				return;
			break;
		case BLK_PHASE_PREFLUSH:
			if (!req->bytes)
				goto out;
			req->phase = BLK_PHASE_WRITE;
			req->io.done = barrier_write_done;
			submit(dev, &req->io);
			return;
		case BLK_PHASE_WRITE:
			req->phase = BLK_PHASE_POSTFLUSH;
			if (start_sync(dev, &error))
				return;
			break;
		default:
			goto out;
		}
	}
out:
	dev->barrier = NULL;
	blk_request_finish(req, error);
}

void blk_order_barrier(struct blk_req *req)
{
	req->phase = BLK_PHASE_DRAIN;
	req->dev->barrier = req;
	blk_order_advance(req->dev);
}

/* --- progress --------------------------------------------------------------------------------- */

/* Move the flushes whose writes are complete to the list that the next sync serves. */
static bool gather_flushes(struct blk_device *dev)
{
	const struct blk_req *oldest = dev->writes.head;

	while (dev->flushes.head && (!oldest || oldest->seq > dev->flushes.head->seq)) {
		struct blk_req *req = dev->flushes.head;

		blk_list_remove(&dev->flushes, req);
		blk_list_append(&dev->flushing, req);
	}
	return dev->flushing.head != NULL;
}

void blk_order_advance(struct blk_device *dev)
{
	int error;

	if (dev->syncing)
		return;
	if (gather_flushes(dev)) {
		if (start_sync(dev, &error))
			return;
		finish_flushes(dev, error);
	}
	/* The barrier itself is one of those in flight. */
	if (dev->barrier && dev->barrier->phase == BLK_PHASE_DRAIN && dev->inflight == 1)
		barrier_step(dev, 0);
}
