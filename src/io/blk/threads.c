/* SPDX-License-Identifier: MIT */
/*
 * The engine for hosts without io_uring: a few threads that do the calls. They are made when there
 * is work that no idle one could take, and end with the device.
 */
#include "io/blk/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "util/err.h"

#define MAX_THREADS 4
#define STACK_SIZE  (128 * 1024)

struct list {
	struct blk_io *head;
	struct blk_io **tail;
};

struct pool {
	struct blk_engine engine;
	struct io_loop *loop;
	blk_batch_fn *batch;
	void *opaque;
	struct io_work work; /* reaps, on the loop */

	pthread_mutex_t lock; /* for all below */
	pthread_cond_t todo_cond;
	pthread_cond_t done_cond;
	struct list todo, done;
	unsigned int queued; /* length of todo */
	unsigned int idle;
	bool quit;
	unsigned int nr_threads; /* written by the loop's thread only */
	pthread_t threads[MAX_THREADS];
};

static void list_init(struct list *l)
{
	l->head = NULL;
	l->tail = &l->head;
}

static void list_append(struct list *l, struct blk_io *io)
{
	io->next = NULL;
	*l->tail = io;
	l->tail = &io->next;
}

static struct blk_io *list_take(struct list *l)
{
	struct blk_io *io = l->head;

	l->head = io->next;
	if (!l->head)
		l->tail = &l->head;
	return io;
}

static int64_t attempt(struct blk_io *io)
{
	int64_t r = -1;

	switch (io->op) {
	case BLK_IO_READ:
		r = preadv(io->fd, io->iov, (int)io->nr_iov, (off_t)io->offset);
		break;
	case BLK_IO_WRITE:
		r = pwritev2(io->fd, io->iov, (int)io->nr_iov, (off_t)io->offset,
			     io->dsync ? RWF_DSYNC : 0);
		break;
	case BLK_IO_FLUSH:
		r = fdatasync(io->fd);
		break;
	case BLK_IO_DISCARD:
		r = fallocate(io->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)io->offset,
			      (off_t)io->length);
		break;
	}
	return r < 0 ? -errno : r;
}

static void *serve(void *opaque)
{
	struct pool *p = opaque;

	pthread_mutex_lock(&p->lock);
	for (;;) {
		while (!p->todo.head && !p->quit) {
			p->idle++;
			pthread_cond_wait(&p->todo_cond, &p->lock);
			p->idle--;
		}
		if (!p->todo.head)
			break;
		struct blk_io *io = list_take(&p->todo);
		p->queued--;
		pthread_mutex_unlock(&p->lock);
		while (!blk_io_progress(io, attempt(io)))
			;
		pthread_mutex_lock(&p->lock);
		bool first = !p->done.head;
		list_append(&p->done, io);
		if (first) {
			/* Under the lock, so that free() cannot pass between the two. */
			io_loop_post(p->loop, &p->work);
			pthread_cond_signal(&p->done_cond);
		}
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

/* The embedder's signals are not for our threads. */
static int start_thread(struct pool *p)
{
	sigset_t all, old;
	pthread_attr_t attr;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int e = pthread_create(&p->threads[p->nr_threads], &attr, serve, p);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	if (!e)
		p->nr_threads++;
	return e;
}

static void pool_submit(struct blk_engine *engine, struct blk_io *io)
{
	struct pool *p = (struct pool *)engine;

	io->retries = 0;
	pthread_mutex_lock(&p->lock);
	list_append(&p->todo, io);
	p->queued++;
	pthread_cond_signal(&p->todo_cond);
	bool more = p->queued > p->idle;
	pthread_mutex_unlock(&p->lock);
	/* If it cannot be made the first one, which always exists, gets to it later. */
	if (more && p->nr_threads < MAX_THREADS)
		start_thread(p);
}

static void pool_kick(struct blk_engine *engine)
{
	(void)engine;
}

static void reap(struct pool *p, bool wait)
{
	struct list done;

	pthread_mutex_lock(&p->lock);
	while (wait && !p->done.head)
		pthread_cond_wait(&p->done_cond, &p->lock);
	done = p->done;
	list_init(&p->done);
	pthread_mutex_unlock(&p->lock);
	while (done.head) {
		struct blk_io *io = done.head;

		done.head = io->next;
		io->done(io, io->error);
	}
}

static void pool_wait(struct blk_engine *engine)
{
	reap((struct pool *)engine, true);
}

static void on_work(void *opaque)
{
	struct pool *p = opaque;

	reap(p, false);
	p->batch(p->opaque);
}

static void pool_free(struct blk_engine *engine)
{
	struct pool *p = (struct pool *)engine;

	pthread_mutex_lock(&p->lock);
	p->quit = true;
	pthread_cond_broadcast(&p->todo_cond);
	pthread_mutex_unlock(&p->lock);
	for (unsigned int i = 0; i < p->nr_threads; i++)
		pthread_join(p->threads[i], NULL);
	io_loop_cancel(p->loop, &p->work);
	pthread_cond_destroy(&p->todo_cond);
	pthread_cond_destroy(&p->done_cond);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

static const struct blk_engine_ops pool_ops = {
	.name = "threads",
	.submit = pool_submit,
	.kick = pool_kick,
	.wait = pool_wait,
	.free = pool_free,
};

int blk_threads_new(struct io_loop *loop, unsigned int depth, blk_batch_fn *batch, void *opaque,
		    struct blk_engine **ret_engine)
{
	struct pool *p = calloc(1, sizeof(*p));

	(void)depth;
	if (!p)
		return err_nomem(PVV_SUBSYS_BLOCK, "starting the disk's threads");
	*p = (struct pool){.engine.ops = &pool_ops, .loop = loop, .batch = batch, .opaque = opaque};
	p->work = (struct io_work){.fn = on_work, .opaque = p};
	list_init(&p->todo);
	list_init(&p->done);
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->todo_cond, NULL);
	pthread_cond_init(&p->done_cond, NULL);
	int e = start_thread(p);
	if (e) {
		pool_free(&p->engine);
		return err_sys(PVV_ESYS, PVV_SUBSYS_BLOCK, e, NULL,
			       "cannot start a thread for the disk's I/O");
	}
	*ret_engine = &p->engine;
	return PVV_OK;
}
