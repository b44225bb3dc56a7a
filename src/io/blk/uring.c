/* SPDX-License-Identifier: MIT */
/*
 * The engine on io_uring. Reads that the page cache can serve are done within the kick and reaped
 * right after it; for these the eventfd is switched off, so that they cost no wake-up of the loop.
 */
#include "io/blk/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "util/err.h"

#define RETRY_NS 1000000u /* when the kernel has no memory for our submissions */

struct uring {
	struct blk_engine engine;
	struct io_loop *loop;
	blk_batch_fn *batch;
	void *opaque;
	struct io_uring ring;
	int event_fd;
	struct io_fd *reg;
	struct io_timer retry;
	struct blk_io *backlog; /* did not fit into the submission queue */
	struct blk_io **backlog_tail;
	unsigned int inflight; /* in the rings, submitted or not */
	unsigned int depth;
};

static void prepare(struct io_uring_sqe *sqe, struct blk_io *io)
{
	int flags = io->dsync ? RWF_DSYNC : 0;

	switch (io->op) {
	case BLK_IO_READ:
		if (io->nr_iov == 1)
			io_uring_prep_read(sqe, io->fd, io->iov->iov_base,
					   (unsigned int)io->iov->iov_len, io->offset);
		else
			io_uring_prep_readv(sqe, io->fd, io->iov, io->nr_iov, io->offset);
		break;
	case BLK_IO_WRITE:
		io_uring_prep_writev2(sqe, io->fd, io->iov, io->nr_iov, io->offset, flags);
		break;
	case BLK_IO_FLUSH:
		io_uring_prep_fsync(sqe, io->fd, IORING_FSYNC_DATASYNC);
		break;
	case BLK_IO_DISCARD:
		io_uring_prep_fallocate(sqe, io->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					(off_t)io->offset, (off_t)io->length);
		break;
	}
	io_uring_sqe_set_data(sqe, io);
}

/* False if there is no room: the completion queue must be able to take all that is in flight. */
static bool enter(struct uring *u, struct blk_io *io)
{
	struct io_uring_sqe *sqe = u->inflight < u->depth ? io_uring_get_sqe(&u->ring) : NULL;

	if (!sqe)
		return false;
	prepare(sqe, io);
	u->inflight++;
	return true;
}

static void defer(struct uring *u, struct blk_io *io)
{
	io->next = NULL;
	*u->backlog_tail = io;
	u->backlog_tail = &io->next;
}

static void uring_submit(struct blk_engine *engine, struct blk_io *io)
{
	struct uring *u = (struct uring *)engine;

	io->retries = 0;
	if (u->backlog || !enter(u, io))
		defer(u, io);
}

static void enter_backlog(struct uring *u)
{
	while (u->backlog && enter(u, u->backlog))
		u->backlog = u->backlog->next;
	if (!u->backlog)
		u->backlog_tail = &u->backlog;
}

/* True if there was a completion. */
static bool reap(struct uring *u)
{
	struct io_uring_cqe *cqe;
	bool any = false;

	while (io_uring_peek_cqe(&u->ring, &cqe) == 0) {
		struct blk_io *io = io_uring_cqe_get_data(cqe);
		int result = cqe->res;

		io_uring_cqe_seen(&u->ring, cqe);
		u->inflight--;
		any = true;
		if (blk_io_progress(io, result))
			io->done(io, io->error);
		else if (u->backlog || !enter(u, io))
			defer(u, io);
	}
	return any;
}

static void push(struct uring *u)
{
	enter_backlog(u);
	if (!io_uring_sq_ready(&u->ring))
		return;
	int r = io_uring_submit(&u->ring);
	/* Out of memory or of room: what was not taken is still queued, so try again soon. */
	if (r < 0 || io_uring_sq_ready(&u->ring))
		io_timer_set(u->loop, &u->retry, io_now_ns() + RETRY_NS);
}

static void uring_kick(struct blk_engine *engine)
{
	struct uring *u = (struct uring *)engine;

	/*
	 * Rounds, because what is reaped may submit again (rests of short transfers, a flush that
	 * waited for a write). A round that reaps nothing ends it, and each operation is
	 * continued only with progress or a bounded number of times.
	 */
	io_uring_cq_eventfd_toggle(&u->ring, false);
	do {
		push(u);
	} while (reap(u) && (u->backlog || io_uring_sq_ready(&u->ring)));
	io_uring_cq_eventfd_toggle(&u->ring, true);
	/* One that completed between the last look and the switch would be waited for in vain. */
	if (io_uring_cq_ready(&u->ring))
		eventfd_write(u->event_fd, 1);
}

static void uring_wait(struct blk_engine *engine)
{
	struct uring *u = (struct uring *)engine;
	struct timespec pause = {.tv_nsec = RETRY_NS};

	while (!reap(u)) {
		enter_backlog(u);
		int r = io_uring_submit_and_wait(&u->ring, 1);
		if (r < 0 && r != -EINTR)
			nanosleep(&pause, NULL);
	}
}

static void on_event(void *opaque, uint32_t events)
{
	struct uring *u = opaque;
	eventfd_t count;

	(void)events;
	(void)eventfd_read(u->event_fd, &count);
	reap(u);
	u->batch(u->opaque);
}

static void on_retry(void *opaque)
{
	struct uring *u = opaque;

	uring_kick(&u->engine);
	u->batch(u->opaque);
}

static void uring_free(struct blk_engine *engine)
{
	struct uring *u = (struct uring *)engine;

	io_timer_set(u->loop, &u->retry, 0);
	if (u->reg)
		io_loop_del_fd(u->loop, u->reg);
	io_uring_queue_exit(&u->ring);
	if (u->event_fd >= 0)
		close(u->event_fd);
	free(u);
}

static const struct blk_engine_ops uring_ops = {
	.name = "io_uring",
	.submit = uring_submit,
	.kick = uring_kick,
	.wait = uring_wait,
	.free = uring_free,
};

static bool knows_our_operations(struct io_uring *ring)
{
	static const int needed[] = {IORING_OP_READ, IORING_OP_READV, IORING_OP_WRITEV,
				     IORING_OP_FSYNC, IORING_OP_FALLOCATE};
	struct io_uring_probe *probe = io_uring_get_probe_ring(ring);
	bool ok = probe != NULL;

	for (size_t i = 0; ok && i < sizeof(needed) / sizeof(needed[0]); i++)
		ok = io_uring_opcode_supported(probe, needed[i]);
	io_uring_free_probe(probe);
	return ok;
}

int blk_uring_new(struct io_loop *loop, unsigned int depth, blk_batch_fn *batch, void *opaque,
		  struct blk_engine **ret_engine)
{
	struct uring *u = calloc(1, sizeof(*u));

	if (!u)
		return err_nomem(PVV_SUBSYS_BLOCK, "starting io_uring");
	*u = (struct uring){.engine.ops = &uring_ops,
			    .loop = loop,
			    .batch = batch,
			    .opaque = opaque,
			    .event_fd = -1,
			    .depth = depth};
	u->backlog_tail = &u->backlog;
	u->retry = (struct io_timer){.fn = on_retry, .opaque = u};
	int r = io_uring_queue_init(depth, &u->ring, 0);
	if (r < 0) {
		free(u);
		return err_sys(PVV_EUNSUPPORTED, PVV_SUBSYS_BLOCK, -r, NULL,
			       "this host does not let us use io_uring");
	}
	if (!knows_our_operations(&u->ring)) {
		uring_free(&u->engine);
		return err_set(PVV_EUNSUPPORTED, PVV_SUBSYS_BLOCK, NULL,
			       "this host's io_uring is too old (Linux 5.6 has what we need)");
	}
	u->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = u->event_fd < 0 ? -errno : io_uring_register_eventfd(&u->ring, u->event_fd);
	if (r < 0) {
		uring_free(&u->engine);
		return err_sys(PVV_ESYS, PVV_SUBSYS_BLOCK, -r, NULL,
			       "cannot make io_uring's event descriptor");
	}
	r = io_loop_add_fd(loop, u->event_fd, EPOLLIN, on_event, u, &u->reg);
	if (r < 0) {
		uring_free(&u->engine);
		return r;
	}
	*ret_engine = &u->engine;
	return PVV_OK;
}
