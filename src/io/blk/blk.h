/* SPDX-License-Identifier: MIT */
/*
 * The block back end: one virtual disk of a domain, over Xen's blkif protocol.
 *
 * Life: blk_image_open() on any thread (it may block; all errors a user can make are reported
 * here), blk_device_new() on the I/O thread, blk_device_close() or blk_device_free() there before
 * the io_guest and the store end. The device follows the front end's xenbus state by itself.
 */
#ifndef PVV_IO_BLK_H
#define PVV_IO_BLK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "io/guest.h"
#include "io/loop.h"

#define BLK_SECTOR_SIZE 512u

/* --- the name of a disk (vdev.c) -------------------------------------------------------------- */

#define BLK_VDEV_NAME_MAX 16

/*
 * "xvda" -> 51712, "xvdaa" -> extended numbering, "hda", "sdb3", and plain numbers ("51712",
 * "0xca00"). PVV_EINVAL with a sentence.
 */
int blk_vdev_parse(const char *name, uint32_t *ret_vdev);
/* The canonical name of a number ("xvda1"); a number in decimal where there is none. */
void blk_vdev_name(uint32_t vdev, char buf[static BLK_VDEV_NAME_MAX]);

/* --- the image (image.c) ---------------------------------------------------------------------- */

enum blk_cache {
	BLK_CACHE_WRITEBACK = 0, /* host page cache, durable after a flush */
	BLK_CACHE_WRITETHROUGH,	 /* host page cache, a write is acknowledged when durable */
	BLK_CACHE_NONE,		 /* O_DIRECT, durable after a flush */
	BLK_CACHE_DIRECTSYNC,	 /* O_DIRECT, a write is acknowledged when durable */
	BLK_CACHE_UNSAFE,	 /* flushes are ignored */
};

enum blk_engine_kind {
	BLK_ENGINE_AUTO = 0, /* io_uring, or threads where the host forbids it */
	BLK_ENGINE_URING,
	BLK_ENGINE_THREADS,
};

struct blk_params {
	const char *path; /* raw image file or block device; NULL: fd */
	int fd;		  /* used if path is NULL; the library keeps its own duplicate */
	const char *vdev; /* "xvda" */
	enum blk_cache cache;
	enum blk_engine_kind engine;
	bool readonly;
	bool shareable; /* several writers agree among themselves: a shared lock only */
	bool no_lock;	/* for file systems without locks */
	bool no_discard;
	bool cdrom; /* a removable read-only disc to the guest */
	bool removable;
	bool bootable;
	bool persistent; /* offer persistent grants, which cost the guest a copy; see doc/block.md
			  */
	/* Requests taken from the ring and not answered yet; 0 = default. */
	unsigned int max_inflight;
};

#define BLK_PARAMS_INIT                                                                            \
	{                                                                                          \
		.fd = -1                                                                           \
	}

struct blk_image;

/*
 * Open, measure and lock. The strings are copied. Errors: PVV_EINVAL, PVV_ENOENT, PVV_EPERM,
 * PVV_EBUSY (locked by somebody), PVV_EUNSUPPORTED (O_DIRECT), PVV_EIO, PVV_ESYS, PVV_ENOMEM.
 */
int blk_image_open(const struct blk_params *params, struct blk_image **ret_image);
/* For an image that no device took over. NULL is accepted. */
void blk_image_free(struct blk_image *image);
uint64_t blk_image_sectors(const struct blk_image *image);

/* --- the device ------------------------------------------------------------------------------- */

struct blk_io_error {
	const char *vdev;  /* "xvda" */
	const char *image; /* its path or "fd N" */
	const char *op;	   /* "read", "write", "flush", "discard" */
	uint64_t offset;   /* bytes */
	uint64_t length;
	int os_errno;
	uint64_t suppressed; /* errors that were not reported since the last report */
};

/* Each may be NULL. They run on the I/O thread. */
struct blk_events {
	/* The host failed to do I/O; the guest got an error. At most one call per second. */
	void (*io_error)(void *opaque, const struct blk_io_error *error);
	/* The guest broke the protocol: the device was disconnected. `why` is a sentence. */
	void (*guest_error)(void *opaque, const char *vdev, const char *why);
	/* The guest connected (true) or disconnected (false). */
	void (*connected)(void *opaque, const char *vdev, bool connected);
	void *opaque;
};

struct blk_stats {
	uint64_t rd_req, rd_bytes, rd_time_ns;
	uint64_t wr_req, wr_bytes, wr_time_ns;
	uint64_t flush_req, flush_time_ns, discard_req;
	uint64_t errors;  /* requests answered with an error */
	uint64_t refused; /* of these, malformed ones that did not reach the host */
};

struct blk_device;
struct xs_store;

/*
 * Take over `image` (also on failure) and publish the device's nodes, front and back; the front
 * end's state starts as Initialising.
 */
int blk_device_new(struct io_loop *loop, struct io_guest *guest, struct xs_store *store,
		   struct blk_image *image, const struct blk_events *events,
		   struct blk_device **ret_device);

/*
 * End the device, on the loop's thread: nothing more is taken from the ring, what was taken is done
 * and answered, then all grants are unmapped, the nodes removed and the device freed, and
 * done(opaque) runs (on the loop, possibly before the call returns).
 */
void blk_device_close(struct blk_device *dev, io_work_fn *done, void *opaque);
/* The same, but waits for the host's I/O: for tests and for the end of the loop. */
void blk_device_free(struct blk_device *dev);

/* Ask the front end to let the disk go (hot-unplug): state Closing, online 0. */
void blk_device_unplug(struct blk_device *dev);
/* The image grew or shrank: measure it again and tell the guest. */
int blk_device_resize(struct blk_device *dev);

/* Any thread, while the device exists. */
void blk_device_stats(const struct blk_device *dev, struct blk_stats *ret_stats);
const char *blk_device_vdev(const struct blk_device *dev);
/* "io_uring" or "threads". */
const char *blk_device_engine(const struct blk_device *dev);

#endif
