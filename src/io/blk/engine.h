/* SPDX-License-Identifier: MIT */
/*
 * Who does the host's I/O. An engine belongs to one device and is used on the loop's thread only;
 * it keeps no order among the operations it was given: order.c gives it those that may overlap.
 */
#ifndef PVV_IO_BLK_ENGINE_H
#define PVV_IO_BLK_ENGINE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "io/loop.h"

enum blk_io_op {
	BLK_IO_READ,
	BLK_IO_WRITE,
	BLK_IO_FLUSH,	/* fdatasync() */
	BLK_IO_DISCARD, /* punch a hole */
};

/* One operation; belongs to the engine from the submission until done() is called. */
struct blk_io {
	enum blk_io_op op;
	int fd;
	bool dsync;	   /* WRITE: done when durable */
	struct iovec *iov; /* READ, WRITE: changed as the transfer goes on */
	unsigned int nr_iov;
	uint64_t offset, length; /* what is left, in bytes */
	/* 0 if all was done, else the host's errno. Runs within kick(), wait() or the loop. */
	void (*done)(struct blk_io *io, int error);

	/* The engine's own. */
	unsigned int retries;
	int error;
	struct blk_io *next;
};

struct blk_engine {
	const struct blk_engine_ops *ops;
};

/* Runs on the loop after a batch of done() calls that kick() and wait() did not cause. */
typedef void blk_batch_fn(void *opaque);

struct blk_engine_ops {
	const char *name;
	/* Queue it; the host may not see it before the kick. */
	void (*submit)(struct blk_engine *engine, struct blk_io *io);
	void (*kick)(struct blk_engine *engine);
	/* Block until something was done; only if something was submitted. */
	void (*wait)(struct blk_engine *engine);
	/* Only if nothing is in flight. */
	void (*free)(struct blk_engine *engine);
};

/* PVV_EUNSUPPORTED if the host has no io_uring or does not permit it. */
int blk_uring_new(struct io_loop *loop, unsigned int depth, blk_batch_fn *batch, void *opaque,
		  struct blk_engine **ret_engine);
int blk_threads_new(struct io_loop *loop, unsigned int depth, blk_batch_fn *batch, void *opaque,
		    struct blk_engine **ret_engine);

/*
 * Account for `result` (bytes or -errno) of one attempt. True if the operation is over, with
 * io->error; false if the rest has to be submitted again.
 */
bool blk_io_progress(struct blk_io *io, int64_t result);

#endif
