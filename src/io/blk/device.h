/* SPDX-License-Identifier: MIT */
/*
 * The inside of a block device, shared by the files of this folder:
 *
 *	device.c   making and ending, statistics, error reports
 *	xenbus.c   nodes, and following the front end's state
 *	connect.c  the front end's transport nodes, the connection made of them
 *	queue.c	   the loop that takes requests from the ring and publishes responses
 *	request.c  checking one request, mapping its pages, completing it
 *	order.c	   what waits for what: flushes and barriers
 *
 * Everything here runs on the loop's thread.
 */
#ifndef PVV_IO_BLK_DEVICE_H
#define PVV_IO_BLK_DEVICE_H

#include <stdint.h>

#include <xen/xen.h>
#include <xen/io/xenbus.h>

#include "io/blk/blk.h"
#include "io/blk/engine.h"
#include "io/blk/image.h"
#include "io/blk/pgrant.h"
#include "io/blk/wire.h"
#include "io/ring.h"
#include "io/xenstore/xenstore.h"

#define BLK_PAGE	     4096u
#define BLK_SECTORS_PER_PAGE (BLK_PAGE / BLK_SECTOR_SIZE)
#define BLK_MAX_INDIRECT     256u /* segments, 1 MiB */
#define BLK_DEFAULT_INFLIGHT 64u
#define BLK_MAX_INFLIGHT     512u
#define BLK_PATH_MAX	     96

enum blk_kind {
	BLK_KIND_READ,
	BLK_KIND_WRITE,
	BLK_KIND_FLUSH,
	BLK_KIND_BARRIER, /* drain, flush, write, flush */
	BLK_KIND_DISCARD,
};

enum blk_phase {
	BLK_PHASE_ONLY, /* all but barriers have one */
	BLK_PHASE_DRAIN,
	BLK_PHASE_PREFLUSH,
	BLK_PHASE_WRITE,
	BLK_PHASE_POSTFLUSH,
};

/* A page of the guest in use by a request. */
struct blk_map {
	uint32_t ref;
	int persistent; /* handle, or negative: mapped for this request only */
	void *page;
};

/* A request that was taken from the ring, found good, and not answered yet. */
struct blk_req {
	struct blk_io io; /* must be first */
	struct blk_device *dev;
	struct blk_req *prev, *next; /* among the writes in flight, or in one of the flush lists */
	enum blk_kind kind;
	enum blk_phase phase;
	uint8_t ring_op;
	uint64_t id;
	uint64_t seq;
	uint64_t start_ns;
	uint64_t offset, bytes; /* what was asked for */

	bool map_write;
	unsigned int nr_maps;
	unsigned int capacity; /* of the two arrays */
	struct blk_map *maps;
	struct iovec *iov;
};

struct blk_req_list {
	struct blk_req *head, *tail;
};

/* One connection with the front end; all zero while there is none. */
struct blk_conn {
	bool up;
	bool muted; /* the front end does not expect responses any more */
	enum blk_abi abi;
	unsigned int nr_pages;
	uint32_t refs[IO_RING_MAX_PAGES];
	uint32_t port;
	struct io_ring ring;
	struct blk_pgrants *persistent;
};

/* How the front end wants to talk. */
struct blk_transport {
	enum blk_abi abi;
	bool persistent;
	unsigned int nr_pages;
	uint32_t refs[IO_RING_MAX_PAGES];
	uint32_t port;
};

struct blk_device {
	struct io_loop *loop;
	struct io_guest *guest;
	struct xs_store *store;
	struct blk_image *image;
	struct blk_events events;
	struct blk_engine *engine;

	unsigned int domid;
	char front[BLK_PATH_MAX];
	char back[BLK_PATH_MAX];

	/* xenbus.c */
	enum xenbus_state state;
	struct xs_watch *watch;
	struct blk_conn conn;
	bool disconnecting;   /* no more requests; when the last is done the connection ends */
	bool front_connected; /* the front end has said Connected in this connection */
	bool failed;	      /* after an error: not again before the front end has reset itself */
	bool unplugging;

	/* device.c */
	bool closing;
	bool waiting; /* blk_device_free() frees it, not the loop */
	io_work_fn *closed;
	void *closed_opaque;
	uint64_t next_io_report_ns, next_guest_report_ns;
	uint64_t io_errors_suppressed;

	/* queue.c, request.c */
	struct io_work rerun;
	bool running;
	uint64_t run_bytes; /* taken on in this run */
	unsigned int max_inflight;
	unsigned int inflight;
	struct blk_req *spare;

	/* order.c */
	uint64_t next_seq;
	struct blk_req_list writes;   /* in flight, oldest first */
	struct blk_req_list flushes;  /* not begun, oldest first */
	struct blk_req_list flushing; /* share the running sync */
	struct blk_io sync;
	bool syncing;
	uint64_t sync_start_ns;
	int sync_lost; /* errno of a failed sync: what it lost, no later sync can bring back */
	struct blk_req *barrier;

	struct blk_stats stats; /* accessed with relaxed atomics */
};

/* device.c */
void blk_stat_add(uint64_t *counter, uint64_t n);
void blk_report_io_error(struct blk_device *dev, const char *op, uint64_t offset, uint64_t length,
			 int error);
void blk_report_guest_error(struct blk_device *dev, const char *why);
/* The device is closing and nothing is in flight: free it. */
void blk_finish_close(struct blk_device *dev);

/* xenbus.c */
int blk_xenbus_init(struct blk_device *dev);
void blk_xenbus_fini(struct blk_device *dev);
/* Look at the front end's state and do what it asks for. */
void blk_xenbus_evaluate(struct blk_device *dev);
/* Take no more requests, and end the connection when those taken are done. */
void blk_xenbus_disconnect(struct blk_device *dev, bool muted);
void blk_xenbus_set_state(struct blk_device *dev, enum xenbus_state state);
/* The disconnection that was asked for can happen now. */
void blk_xenbus_disconnected(struct blk_device *dev);
/* The front end broke the protocol: say so, disconnect. */
void blk_xenbus_fail(struct blk_device *dev, const char *why);

/* connect.c; the sentences say what is wrong, NULL: nothing */
const char *blk_transport_read(struct blk_device *dev, struct blk_transport *t);
bool blk_transport_same(const struct blk_conn *conn, const struct blk_transport *t);
const char *blk_conn_attach(struct blk_device *dev, const struct blk_transport *t);
void blk_conn_detach(struct blk_device *dev);

/* queue.c */
void blk_run(void *dev);
void blk_respond(struct blk_device *dev, uint64_t id, uint8_t op, int16_t status);

/* request.c */
void blk_request_start(struct blk_device *dev, const struct blk_cmd *cmd);
void blk_request_finish(struct blk_req *req, int error);
void blk_request_free_spares(struct blk_device *dev);

/* order.c */
void blk_list_append(struct blk_req_list *list, struct blk_req *req);
void blk_list_remove(struct blk_req_list *list, struct blk_req *req);
/* Begin a request of one of these kinds; each ends in blk_request_finish(). */
void blk_order_write(struct blk_req *req); /* also discards */
void blk_order_flush(struct blk_req *req);
void blk_order_barrier(struct blk_req *req);
/* Something ended: begin what waited for it. */
void blk_order_advance(struct blk_device *dev);

/* Tests put in an engine of their own here. */
int blk_device_new_with(struct io_loop *loop, struct io_guest *guest, struct xs_store *store,
			struct blk_image *image, const struct blk_events *events,
			struct blk_engine *engine, struct blk_device **ret_device);

#endif
