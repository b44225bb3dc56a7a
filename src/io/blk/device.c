/* SPDX-License-Identifier: MIT */
#include "io/blk/device.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/err.h"

#define REPORT_INTERVAL_NS 1000000000u

/* --- making ----------------------------------------------------------------------------------- */

static struct blk_device *alloc_device(struct io_loop *loop, struct io_guest *guest,
				       struct xs_store *store, struct blk_image *image,
				       const struct blk_events *events)
{
	struct blk_device *dev = calloc(1, sizeof(*dev));
	unsigned int max = image->params.max_inflight;

	if (!dev)
		return NULL;
	dev->loop = loop;
	dev->guest = guest;
	dev->store = store;
	dev->image = image;
	if (events)
		dev->events = *events;
	dev->domid = io_guest_domid(guest);
	dev->rerun = (struct io_work){.fn = blk_run, .opaque = dev};
	dev->max_inflight = !max		     ? BLK_DEFAULT_INFLIGHT
			    : max > BLK_MAX_INFLIGHT ? BLK_MAX_INFLIGHT
						     : max;
	snprintf(dev->front, sizeof(dev->front), "/local/domain/%u/device/vbd/%u", dev->domid,
		 image->vdev);
	snprintf(dev->back, sizeof(dev->back), "/local/domain/0/backend/vbd/%u/%u", dev->domid,
		 image->vdev);
	return dev;
}

static int make_engine(struct blk_device *dev)
{
	enum blk_engine_kind kind = dev->image->params.engine;
	unsigned int depth = 16;
	int r = PVV_EUNSUPPORTED;

	/* Room for all requests and a sync. */
	while (depth < dev->max_inflight + 1)
		depth *= 2;
	if (dev->image->must_use_threads)
		kind = BLK_ENGINE_THREADS;
	if (kind != BLK_ENGINE_THREADS)
		r = blk_uring_new(dev->loop, depth, blk_run, dev, &dev->engine);
	if (r < 0 && kind != BLK_ENGINE_URING)
		r = blk_threads_new(dev->loop, depth, blk_run, dev, &dev->engine);
	return r;
}

static void free_device(struct blk_device *dev)
{
	if (dev->engine)
		dev->engine->ops->free(dev->engine);
	blk_request_free_spares(dev);
	blk_image_free(dev->image);
	free(dev);
}

static int set_up(struct blk_device *dev, struct blk_device **ret_device)
{
	int r = dev->engine ? PVV_OK : make_engine(dev);

	if (r == PVV_OK)
		r = blk_xenbus_init(dev);
	if (r < 0) {
		free_device(dev);
		return r;
	}
	*ret_device = dev;
	return PVV_OK;
}

int blk_device_new(struct io_loop *loop, struct io_guest *guest, struct xs_store *store,
		   struct blk_image *image, const struct blk_events *events,
		   struct blk_device **ret_device)
{
	return blk_device_new_with(loop, guest, store, image, events, NULL, ret_device);
}

int blk_device_new_with(struct io_loop *loop, struct io_guest *guest, struct xs_store *store,
			struct blk_image *image, const struct blk_events *events,
			struct blk_engine *engine, struct blk_device **ret_device)
{
	struct blk_device *dev = alloc_device(loop, guest, store, image, events);

	if (!dev) {
		blk_image_free(image);
		if (engine)
			engine->ops->free(engine);
		return err_nomem(PVV_SUBSYS_BLOCK, "making a block device");
	}
	dev->engine = engine;
	return set_up(dev, ret_device);
}

/* --- ending ----------------------------------------------------------------------------------- */

static void begin_close(struct blk_device *dev, io_work_fn *done, void *opaque)
{
	assert(!dev->closing);
	dev->closing = true;
	dev->closed = done;
	dev->closed_opaque = opaque;
	if (dev->conn.up)
		blk_xenbus_disconnect(dev, false);
}

void blk_finish_close(struct blk_device *dev)
{
	io_work_fn *done = dev->closed;
	void *opaque = dev->closed_opaque;

	io_loop_cancel(dev->loop, &dev->rerun);
	blk_xenbus_fini(dev);
	free_device(dev);
	if (done)
		done(opaque);
}

void blk_device_close(struct blk_device *dev, io_work_fn *done, void *opaque)
{
	begin_close(dev, done, opaque);
	blk_run(dev);
}

void blk_device_free(struct blk_device *dev)
{
	if (!dev)
		return;
	dev->waiting = true;
	if (!dev->closing)
		begin_close(dev, NULL, NULL);
	blk_run(dev);
	while (dev->inflight) {
		/* Whatever is in flight is with the engine, or waits for something that is. */
		dev->engine->ops->wait(dev->engine);
		blk_run(dev);
	}
	blk_finish_close(dev);
}

/* --- reports and numbers ---------------------------------------------------------------------- */

void blk_stat_add(uint64_t *counter, uint64_t n)
{
	/* One writer: no need for an atomic addition. */
	__atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

void blk_device_stats(const struct blk_device *dev, struct blk_stats *ret_stats)
{
	const uint64_t *from = (const uint64_t *)&dev->stats;
	uint64_t *to = (uint64_t *)ret_stats;

	_Static_assert(sizeof(*ret_stats) % sizeof(uint64_t) == 0, "all counters are 64 bits");
	for (size_t i = 0; i < sizeof(*ret_stats) / sizeof(uint64_t); i++)
		to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
}

void blk_report_io_error(struct blk_device *dev, const char *op, uint64_t offset, uint64_t length,
			 int error)
{
	uint64_t now = io_now_ns();

	if (!dev->events.io_error)
		return;
	/* A guest can cause as many as it likes, by writing to a full file system for example. */
	if (now < dev->next_io_report_ns) {
		dev->io_errors_suppressed++;
		return;
	}
	struct blk_io_error report = {
		.vdev = dev->image->vdev_name,
		.image = dev->image->name,
		.op = op,
		.offset = offset,
		.length = length,
		.os_errno = error,
		.suppressed = dev->io_errors_suppressed,
	};
	dev->next_io_report_ns = now + REPORT_INTERVAL_NS;
	dev->io_errors_suppressed = 0;
	dev->events.io_error(dev->events.opaque, &report);
}

void blk_report_guest_error(struct blk_device *dev, const char *why)
{
	uint64_t now = io_now_ns();

	if (!dev->events.guest_error || now < dev->next_guest_report_ns)
		return;
	dev->next_guest_report_ns = now + REPORT_INTERVAL_NS;
	dev->events.guest_error(dev->events.opaque, dev->image->vdev_name, why);
}

const char *blk_device_vdev(const struct blk_device *dev)
{
	return dev->image->vdev_name;
}

const char *blk_device_engine(const struct blk_device *dev)
{
	return dev->engine->ops->name;
}
