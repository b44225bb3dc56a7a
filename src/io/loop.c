/* SPDX-License-Identifier: MIT */
/*
 * The I/O thread's event loop. One round of it runs, in this order: the work that was queued when
 * the round began, the timers that had expired when the round began, and one batch of ready
 * descriptors. Whatever a callback queues or arms runs in the next round at the earliest, so that
 * no domain's back end can keep the others from their turn by re-queueing itself.
 */
#include "io/loop.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "util/err.h"

/* Descriptors served in one round; epoll rotates among the ready ones if there are more. */
#define EVENT_BATCH 64

struct io_fd {
	int fd;
	uint32_t events;
	bool armed; /* in the epoll set */
	bool dead;  /* freed at the end of the round */
	io_fd_fn *fn;
	void *opaque;
	struct io_fd *prev, *next;
};

struct io_loop {
	int epoll_fd;
	int wake_fd;
	int timer_fd;

	/* The loop thread's own. */
	struct io_fd *fds;
	struct io_fd *graveyard;
	struct io_timer *timers; /* by deadline */
	struct io_timer *firing; /* expired in this round, not yet run */
	uint64_t programmed_ns;	 /* what timer_fd is set to, 0 if disarmed */
	struct io_work *running; /* this round's work, not yet run */

	pthread_mutex_t lock; /* for all below, and for queued and next of each queued work item */
	pthread_t thread;
	bool has_thread;
	bool sleeping; /* in epoll_wait, or about to be, and not woken yet */
	bool stopped;  /* io_loop_run() has returned */
	bool quit;
	unsigned int calls; /* io_loop_call()s that wait */
	struct io_work *pending;
	struct io_work **pending_tail;
};

struct call {
	struct io_work work;
	struct io_loop *loop;
	io_work_fn *fn;
	void *opaque;
	pthread_cond_t done_cond;
	bool done;
};

uint64_t io_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* --- making and ending ------------------------------------------------------------------------ */

static void close_fds(struct io_loop *loop)
{
	int fds[] = {loop->epoll_fd, loop->wake_fd, loop->timer_fd};

	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

static int add_internal(struct io_loop *loop, int fd, void *tag)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = tag};

	return epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &ev);
}

int io_loop_new(struct io_loop **ret_loop)
{
	struct io_loop *loop = calloc(1, sizeof(*loop));

	if (!loop)
		return err_nomem(PVV_SUBSYS_API, "making the I/O loop");
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	loop->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	/* The addresses of the two fields mark the loop's own descriptors in epoll's data. */
	if (loop->epoll_fd < 0 || loop->wake_fd < 0 || loop->timer_fd < 0 ||
	    add_internal(loop, loop->wake_fd, &loop->wake_fd) < 0 ||
	    add_internal(loop, loop->timer_fd, &loop->timer_fd) < 0) {
		int e = errno;

		close_fds(loop);
		free(loop);
		return err_sys(PVV_ESYS, PVV_SUBSYS_API, e, NULL,
			       "cannot make the descriptors of the I/O loop");
	}
	loop->pending_tail = &loop->pending;
	pthread_mutex_init(&loop->lock, NULL);
	*ret_loop = loop;
	return PVV_OK;
}

static void bury(struct io_loop *loop)
{
	while (loop->graveyard) {
		struct io_fd *reg = loop->graveyard;

		loop->graveyard = reg->next;
		free(reg);
	}
}

void io_loop_free(struct io_loop *loop)
{
	if (!loop)
		return;
	while (loop->fds)
		io_loop_del_fd(loop, loop->fds);
	bury(loop);
	close_fds(loop);
	pthread_mutex_destroy(&loop->lock);
	free(loop);
}

/* --- descriptors ------------------------------------------------------------------------------ */

static int set_events(struct io_loop *loop, struct io_fd *reg, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = reg};

	/*
	 * epoll reports EPOLLHUP and EPOLLERR even to those who wait for nothing, which would make
	 * the loop spin for a peer that went away while we do not care: take it out of the set.
	 */
	if (!events) {
		if (reg->armed)
			epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, reg->fd, &ev);
		reg->armed = false;
	} else if (!reg->armed) {
		if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, reg->fd, &ev) < 0)
			return errno;
		reg->armed = true;
	} else if (events != reg->events) {
		if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, reg->fd, &ev) < 0)
			return errno;
	}
	reg->events = events;
	return 0;
}

int io_loop_add_fd(struct io_loop *loop, int fd, uint32_t epoll_events, io_fd_fn *fn, void *opaque,
		   struct io_fd **ret_reg)
{
	struct io_fd *reg = calloc(1, sizeof(*reg));

	if (!reg)
		return err_nomem(PVV_SUBSYS_API, "registering a descriptor with the I/O loop");
	*reg = (struct io_fd){.fd = fd, .fn = fn, .opaque = opaque};
	int e = set_events(loop, reg, epoll_events);
	if (e) {
		free(reg);
		return err_sys(PVV_ESYS, PVV_SUBSYS_API, e, NULL,
			       "cannot wait for events of file descriptor %d", fd);
	}
	reg->next = loop->fds;
	if (reg->next)
		reg->next->prev = reg;
	loop->fds = reg;
	*ret_reg = reg;
	return PVV_OK;
}

int io_loop_mod_fd(struct io_loop *loop, struct io_fd *reg, uint32_t epoll_events)
{
	int e = set_events(loop, reg, epoll_events);

	if (e)
		return err_sys(PVV_ESYS, PVV_SUBSYS_API, e, NULL,
			       "cannot change the events awaited of file descriptor %d", reg->fd);
	return PVV_OK;
}

void io_loop_del_fd(struct io_loop *loop, struct io_fd *reg)
{
	assert(!reg->dead);
	set_events(loop, reg, 0);
	if (reg->next)
		reg->next->prev = reg->prev;
	if (reg->prev)
		reg->prev->next = reg->next;
	else
		loop->fds = reg->next;
	/* This round's batch may still point to it. */
	reg->dead = true;
	reg->next = loop->graveyard;
	loop->graveyard = reg;
}

/* --- timers ----------------------------------------------------------------------------------- */

static bool unlink_timer(struct io_timer **list, struct io_timer *t)
{
	for (; *list; list = &(*list)->next) {
		if (*list == t) {
			*list = t->next;
			t->next = NULL;
			return true;
		}
	}
	return false;
}

void io_timer_set(struct io_loop *loop, struct io_timer *t, uint64_t deadline_ns)
{
	if (t->deadline_ns && !unlink_timer(&loop->timers, t))
		unlink_timer(&loop->firing, t);
	t->deadline_ns = deadline_ns;
	if (!deadline_ns)
		return;
	struct io_timer **p = &loop->timers;
	while (*p && (*p)->deadline_ns <= deadline_ns)
		p = &(*p)->next;
	t->next = *p;
	*p = t;
}

static void run_timers(struct io_loop *loop)
{
	if (!loop->timers)
		return;
	uint64_t now = io_now_ns();
	struct io_timer **p = &loop->timers;
	while (*p && (*p)->deadline_ns <= now)
		p = &(*p)->next;
	if (p == &loop->timers)
		return;
	loop->firing = loop->timers;
	loop->timers = *p;
	*p = NULL;
	while (loop->firing) {
		struct io_timer *t = loop->firing;

		loop->firing = t->next;
		t->next = NULL;
		t->deadline_ns = 0;
		t->fn(t->opaque);
	}
}

static void program_timer(struct io_loop *loop)
{
	uint64_t want = loop->timers ? loop->timers->deadline_ns : 0;

	if (want == loop->programmed_ns)
		return;
	struct itimerspec its = {
		.it_value = {.tv_sec = (time_t)(want / 1000000000u),
			     .tv_nsec = (long)(want % 1000000000u)},
	};
	/* Any 64-bit number of nanoseconds makes a valid time: it cannot be refused. */
	int r = timerfd_settime(loop->timer_fd, TFD_TIMER_ABSTIME, &its, NULL);
	assert(r == 0);
	(void)r;
	loop->programmed_ns = want;
}

/* --- work from any thread --------------------------------------------------------------------- */

static void wake(struct io_loop *loop)
{
	uint64_t one = 1;

	/* Cannot fail: the counter is far from its end and EAGAIN means that it is awake anyway. */
	if (write(loop->wake_fd, &one, sizeof(one)) < 0)
		assert(errno == EAGAIN);
}

/* With the lock held. True if the caller must wake the loop after it dropped the lock. */
static bool enqueue(struct io_loop *loop, struct io_work *work)
{
	if (work->queued)
		return false;
	work->queued = 1;
	work->next = NULL;
	*loop->pending_tail = work;
	loop->pending_tail = &work->next;
	bool must_wake = loop->sleeping;
	loop->sleeping = false;
	return must_wake;
}

void io_loop_post(struct io_loop *loop, struct io_work *work)
{
	pthread_mutex_lock(&loop->lock);
	/* Under the lock: this item may be what the loop still lives for. */
	if (enqueue(loop, work))
		wake(loop);
	pthread_mutex_unlock(&loop->lock);
}

static bool unlink_work(struct io_work **list, struct io_work *work)
{
	for (; *list; list = &(*list)->next) {
		if (*list == work) {
			*list = work->next;
			return true;
		}
	}
	return false;
}

void io_loop_cancel(struct io_loop *loop, struct io_work *work)
{
	pthread_mutex_lock(&loop->lock);
	if (work->queued) {
		if (!unlink_work(&loop->running, work) && unlink_work(&loop->pending, work)) {
			loop->pending_tail = &loop->pending;
			while (*loop->pending_tail)
				loop->pending_tail = &(*loop->pending_tail)->next;
		}
		work->queued = 0;
	}
	pthread_mutex_unlock(&loop->lock);
}

static void run_call(void *opaque)
{
	struct call *c = opaque;
	struct io_loop *loop = c->loop;

	c->fn(c->opaque);
	pthread_mutex_lock(&loop->lock);
	c->done = true;
	loop->calls--;
	/* The waiter's frame, and the condition in it, may be gone once the lock is dropped. */
	pthread_cond_signal(&c->done_cond);
	pthread_mutex_unlock(&loop->lock);
}

void io_loop_call(struct io_loop *loop, io_work_fn *fn, void *opaque)
{
	struct call c = {.loop = loop, .fn = fn, .opaque = opaque};

	c.work = (struct io_work){.fn = run_call, .opaque = &c};
	pthread_mutex_lock(&loop->lock);
	assert(!loop->has_thread || !pthread_equal(loop->thread, pthread_self()));
	if (loop->stopped) {
		pthread_mutex_unlock(&loop->lock);
		fn(opaque);
		return;
	}
	pthread_cond_init(&c.done_cond, NULL);
	loop->calls++;
	if (enqueue(loop, &c.work))
		wake(loop);
	while (!c.done)
		pthread_cond_wait(&c.done_cond, &loop->lock);
	pthread_mutex_unlock(&loop->lock);
	pthread_cond_destroy(&c.done_cond);
}

static void run_work(struct io_loop *loop)
{
	pthread_mutex_lock(&loop->lock);
	loop->running = loop->pending;
	loop->pending = NULL;
	loop->pending_tail = &loop->pending;
	while (loop->running) {
		struct io_work *work = loop->running;
		io_work_fn *fn = work->fn;
		void *opaque = work->opaque;

		loop->running = work->next;
		work->queued = 0;
		pthread_mutex_unlock(&loop->lock);
		fn(opaque);
		pthread_mutex_lock(&loop->lock);
	}
	pthread_mutex_unlock(&loop->lock);
}

/* --- the loop --------------------------------------------------------------------------------- */

void io_loop_quit(struct io_loop *loop)
{
	pthread_mutex_lock(&loop->lock);
	loop->quit = true;
	/* Under the lock: its thread may free the loop as soon as it can see `quit`. */
	if (loop->sleeping)
		wake(loop);
	loop->sleeping = false;
	pthread_mutex_unlock(&loop->lock);
}

static void drain(int fd)
{
	uint64_t count;

	/* Non-blocking, and one read empties an eventfd and a timerfd alike. */
	if (read(fd, &count, sizeof(count)) < 0)
		assert(errno == EAGAIN || errno == EINTR || errno == ECANCELED);
}

static void dispatch(struct io_loop *loop, const struct epoll_event *events, int n)
{
	for (int i = 0; i < n; i++) {
		void *tag = events[i].data.ptr;

		if (tag == &loop->wake_fd) {
			drain(loop->wake_fd);
		} else if (tag == &loop->timer_fd) {
			drain(loop->timer_fd);
			loop->programmed_ns = 0;
		} else {
			struct io_fd *reg = tag;

			if (reg->armed && (events[i].events & (reg->events | EPOLLHUP | EPOLLERR)))
				reg->fn(reg->opaque, events[i].events);
		}
	}
	bury(loop);
}

/* How long epoll may sleep: not at all if there is work. False if the loop shall end. */
static bool before_sleep(struct io_loop *loop, int *timeout)
{
	pthread_mutex_lock(&loop->lock);
	bool go_on = !loop->quit;
	loop->sleeping = go_on && !loop->pending;
	*timeout = loop->sleeping ? -1 : 0;
	pthread_mutex_unlock(&loop->lock);
	return go_on;
}

/* A caller of io_loop_call() that came in time gets its answer; later ones run it themselves. */
static void stop(struct io_loop *loop)
{
	pthread_mutex_lock(&loop->lock);
	do {
		pthread_mutex_unlock(&loop->lock);
		run_work(loop);
		pthread_mutex_lock(&loop->lock);
	} while (loop->calls);
	loop->stopped = true;
	loop->has_thread = false;
	pthread_mutex_unlock(&loop->lock);
}

void io_loop_run(struct io_loop *loop)
{
	struct epoll_event events[EVENT_BATCH];
	int timeout;

	pthread_mutex_lock(&loop->lock);
	loop->thread = pthread_self();
	loop->has_thread = true;
	loop->stopped = false;
	pthread_mutex_unlock(&loop->lock);
	for (;;) {
		run_work(loop);
		run_timers(loop);
		program_timer(loop);
		if (!before_sleep(loop, &timeout))
			break;
		int n = epoll_wait(loop->epoll_fd, events, EVENT_BATCH, timeout);

		assert(n >= 0 || errno == EINTR);
		pthread_mutex_lock(&loop->lock);
		loop->sleeping = false;
		pthread_mutex_unlock(&loop->lock);
		dispatch(loop, events, n);
	}
	stop(loop);
	/* So that the same loop can be run again, as tests do. */
	pthread_mutex_lock(&loop->lock);
	loop->quit = false;
	pthread_mutex_unlock(&loop->lock);
}
