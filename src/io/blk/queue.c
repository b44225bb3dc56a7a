/* SPDX-License-Identifier: MIT */
/*
 * The loop around the ring. One run takes a bounded number of requests and bytes and then queues
 * itself again, so that one domain's disk does not keep the I/O thread from the others'. Responses
 * are published per batch, and the guest gets an event for a batch at most.
 */
#include "io/blk/device.h"

#define RUN_REQUESTS   128u
#define RUN_BYTES      (4u << 20)
#define BATCH_REQUESTS 16u /* between two kicks of the engine */
#define BATCH_BYTES    (1u << 20)

enum stop {
	STOP_EMPTY, /* the front end will notify us */
	STOP_FULL,  /* something in flight must end first */
	STOP_BATCH,
};

static bool can_take(const struct blk_device *dev)
{
	return dev->conn.up && !dev->disconnecting && !dev->barrier &&
	       dev->inflight < dev->max_inflight;
}

void blk_respond(struct blk_device *dev, uint64_t id, uint8_t op, int16_t status)
{
	uint8_t raw[BLK_WIRE_REQUEST_MAX];
	uint32_t len = blk_wire_encode(dev->conn.abi, id, op, status, raw);

	if (!dev->conn.muted)
		io_ring_put(&dev->conn.ring, raw, len);
}

static void publish(struct blk_device *dev)
{
	struct blk_conn *conn = &dev->conn;

	if (conn->up && !conn->muted && conn->ring.rsp_pushed != conn->ring.rsp_prod) {
		for (unsigned int i = 0; i < conn->nr_pages; i++)
			io_page_written(dev->guest, conn->ring.pages[i]);
		io_pages_settle(dev->guest);
	}
	if (conn->up && !conn->muted && io_ring_push(&conn->ring))
		io_event_send(dev->guest, conn->port);
}

static enum stop take_batch(struct blk_device *dev)
{
	struct io_ring *ring = &dev->conn.ring;
	uint64_t end = dev->run_bytes + BATCH_BYTES;
	uint8_t raw[BLK_WIRE_REQUEST_MAX] = {0};
	struct blk_cmd cmd;

	for (unsigned int i = 0; i < BATCH_REQUESTS && dev->run_bytes < end; i++) {
		if (!can_take(dev))
			return STOP_FULL;
		if (!io_ring_pending(ring) && !io_ring_final_check(ring))
			return STOP_EMPTY;
		io_ring_take(ring, raw, ring->entry_size);
		blk_wire_decode(dev->conn.abi, raw, &cmd);
		blk_request_start(dev, &cmd);
	}
	return STOP_BATCH;
}

void blk_run(void *opaque)
{
	struct blk_device *dev = opaque;
	enum stop stop;

	/* Reached from below through a callback: the outer call goes on. */
	if (dev->running)
		return;
	dev->running = true;
	dev->run_bytes = 0;
	for (unsigned int n = 0;; n += BATCH_REQUESTS) {
		stop = take_batch(dev);
		/* Also for what completions have submitted; some of it may complete here. */
		dev->engine->ops->kick(dev->engine);
		publish(dev);
		/* If completions have made room nobody else would wake us up. */
		bool more = stop == STOP_BATCH || (stop == STOP_FULL && can_take(dev));
		if (!more)
			break;
		if (n + BATCH_REQUESTS >= RUN_REQUESTS || dev->run_bytes >= RUN_BYTES) {
			io_loop_post(dev->loop, &dev->rerun);
			break;
		}
	}
	dev->running = false;

	if (dev->conn.up && dev->conn.ring.broken && !dev->disconnecting)
		blk_xenbus_fail(dev, "the request producer index of the ring is impossible");
	if (dev->disconnecting && !dev->inflight)
		blk_xenbus_disconnected(dev);
	/* The last thing: it may free the device. */
	if (dev->closing && !dev->conn.up && !dev->waiting)
		blk_finish_close(dev);
}
