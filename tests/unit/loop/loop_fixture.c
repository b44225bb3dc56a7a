/* SPDX-License-Identifier: MIT */
#include "loop_fixture.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

void *loop_main(void *arg)
{
	io_loop_run(arg);
	return NULL;
}

int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	assert_int_equal(io_loop_new(&f->loop), 0);
	assert_int_equal(pthread_create(&f->thread, NULL, loop_main, f->loop), 0);
	*state = f;
	return 0;
}

int teardown(void **state)
{
	struct fixture *f = *state;

	io_loop_quit(f->loop);
	pthread_join(f->thread, NULL);
	io_loop_free(f->loop);
	free(f);
	return 0;
}

void count_up(void *opaque)
{
	atomic_fetch_add((atomic_int *)opaque, 1);
}

void nothing(void *opaque)
{
	(void)opaque;
}

void sync_loop(struct io_loop *loop)
{
	io_loop_call(loop, nothing, NULL);
}

void on_readable(void *opaque, uint32_t events)
{
	struct pipe_reader *r = opaque;
	char c;

	if (events & EPOLLIN && read(r->fds[0], &c, 1) == 1)
		atomic_fetch_add(&r->reads, 1);
}

static void on_timer(void *opaque)
{
	struct pipe_reader *r = opaque;

	atomic_fetch_add(&r->timeouts, 1);
}

static void reader_start(void *opaque)
{
	struct pipe_reader *r = opaque;

	r->add_result = io_loop_add_fd(r->loop, r->fds[0], EPOLLIN, on_readable, r, &r->reg);
	r->timer = (struct io_timer){.fn = on_timer, .opaque = r};
	io_timer_set(r->loop, &r->timer, io_now_ns() + 2 * MS);
}

static void reader_stop(void *opaque)
{
	struct pipe_reader *r = opaque;

	io_loop_del_fd(r->loop, r->reg);
	io_timer_set(r->loop, &r->timer, 0);
}

void wait_for(atomic_int *v, int want)
{
	for (int i = 0; i < 5000 && atomic_load(v) < want; i++)
		usleep(1000);
	assert_true(atomic_load(v) >= want);
}

void reader_init(struct pipe_reader *r, struct io_loop *loop)
{
	memset(r, 0, sizeof(*r));
	r->loop = loop;
	assert_int_equal(pipe2(r->fds, O_CLOEXEC | O_NONBLOCK), 0);
	io_loop_call(loop, reader_start, r);
	assert_int_equal(r->add_result, 0);
}

void reader_done(struct pipe_reader *r)
{
	io_loop_call(r->loop, reader_stop, r);
	close(r->fds[0]);
	close(r->fds[1]);
}
