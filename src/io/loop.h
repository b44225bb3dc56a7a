/* SPDX-License-Identifier: MIT */
/*
 * The I/O thread's event loop: one per host handle, made of epoll and one timer queue. Back ends
 * register descriptors and deferred work; nothing that runs here may block.
 */
#ifndef PVV_IO_LOOP_H
#define PVV_IO_LOOP_H

#include <stdint.h>

struct io_loop;

typedef void io_fd_fn(void *opaque, uint32_t epoll_events);
typedef void io_work_fn(void *opaque);

struct io_fd; /* a registration, owned by the loop until removed */

int io_loop_new(struct io_loop **ret_loop);
void io_loop_free(struct io_loop *loop);
/*
 * Run until io_loop_quit() (any thread); a quit before the run ends that run at once. Work posted
 * before the quit has run by then. Afterwards the caller counts as the loop's thread.
 */
void io_loop_run(struct io_loop *loop);
void io_loop_quit(struct io_loop *loop);

/*
 * Watch `fd` (not owned; not a regular file) for EPOLLIN/EPOLLOUT...; level-triggered. With events
 * 0 nothing is reported, not even a hang-up. Loop thread only.
 */
int io_loop_add_fd(struct io_loop *loop, int fd, uint32_t epoll_events, io_fd_fn *fn, void *opaque,
		   struct io_fd **ret_reg);
int io_loop_mod_fd(struct io_loop *loop, struct io_fd *reg, uint32_t epoll_events);
/* Safe inside any callback, also its own: no callback for it starts afterwards. */
void io_loop_del_fd(struct io_loop *loop, struct io_fd *reg);

/* A timer; `deadline_ns` is CLOCK_MONOTONIC, 0 disarms. Loop thread only. */
struct io_timer {
	uint64_t deadline_ns;
	io_work_fn *fn;
	void *opaque;
	struct io_timer *next; /* the loop's own */
};
void io_timer_set(struct io_loop *loop, struct io_timer *t, uint64_t deadline_ns);

/*
 * Run fn(opaque) on the loop's thread soon. Any thread; not async-signal-safe. The item must stay
 * alive until it ran; queueing it while it is queued does nothing.
 */
struct io_work {
	io_work_fn *fn;
	void *opaque;
	struct io_work *next; /* the loop's own */
	uint32_t queued;
};
void io_loop_post(struct io_loop *loop, struct io_work *work);
/* Take it out of the queue if it is queued. Loop thread only. */
void io_loop_cancel(struct io_loop *loop, struct io_work *work);
/*
 * Run fn on the loop's thread and wait for it (deadlocks if called there: it asserts). After the
 * loop ended it runs fn itself.
 */
void io_loop_call(struct io_loop *loop, io_work_fn *fn, void *opaque);

uint64_t io_now_ns(void); /* CLOCK_MONOTONIC */

#endif
