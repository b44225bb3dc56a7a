/* SPDX-License-Identifier: MIT */
/* Work from any thread, fairness, beginning and end. */
#include "loop_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* --- work ------------------------------------------------------------------------------------- */

static void test_post_runs_once_per_queueing(void **state)
{
	struct fixture *f = *state;
	atomic_int n = 0;
	struct io_work w = {.fn = count_up, .opaque = &n};

	for (int i = 0; i < 100; i++) {
		io_loop_post(f->loop, &w);
		sync_loop(f->loop);
		assert_int_equal(atomic_load(&n), i + 1);
	}
}

struct order {
	int seen[8];
	int n;
	struct io_work w[8];
	struct io_loop *loop;
};

struct order_item {
	struct order *o;
	int id;
};

static void note(void *opaque)
{
	struct order_item *it = opaque;

	it->o->seen[it->o->n++] = it->id;
}

static void post_all(void *opaque)
{
	struct order *o = opaque;

	for (int i = 0; i < 8; i++)
		io_loop_post(o->loop, &o->w[i]);
	/* Queued already: must not appear twice, nor change places. */
	io_loop_post(o->loop, &o->w[3]);
}

static void test_work_keeps_its_order(void **state)
{
	struct fixture *f = *state;
	struct order o = {.loop = f->loop};
	struct order_item items[8];

	for (int i = 0; i < 8; i++) {
		items[i] = (struct order_item){&o, i};
		o.w[i] = (struct io_work){.fn = note, .opaque = &items[i]};
	}
	io_loop_call(f->loop, post_all, &o);
	sync_loop(f->loop);
	assert_int_equal(o.n, 8);
	for (int i = 0; i < 8; i++)
		assert_int_equal(o.seen[i], i);
}

static void cancel_some(void *opaque)
{
	struct order *o = opaque;

	post_all(o);
	io_loop_cancel(o->loop, &o->w[0]);
	io_loop_cancel(o->loop, &o->w[7]);
	io_loop_cancel(o->loop, &o->w[7]);
	io_loop_cancel(o->loop, &o->w[4]);
	io_loop_post(o->loop, &o->w[0]); /* goes to the end now */
}

static void test_cancel(void **state)
{
	struct fixture *f = *state;
	struct order o = {.loop = f->loop};
	struct order_item items[8];
	const int want[] = {1, 2, 3, 5, 6, 0};

	for (int i = 0; i < 8; i++) {
		items[i] = (struct order_item){&o, i};
		o.w[i] = (struct io_work){.fn = note, .opaque = &items[i]};
	}
	io_loop_call(f->loop, cancel_some, &o);
	sync_loop(f->loop);
	assert_int_equal(o.n, 6);
	for (int i = 0; i < 6; i++)
		assert_int_equal(o.seen[i], want[i]);
}

/* The first item of a round cancels the second of the same round. */
struct canceller {
	struct io_loop *loop;
	struct io_work first, second;
	atomic_int second_ran;
};

static void cancel_second(void *opaque)
{
	struct canceller *c = opaque;

	io_loop_cancel(c->loop, &c->second);
}

static void post_both(void *opaque)
{
	struct canceller *c = opaque;

	io_loop_post(c->loop, &c->first);
	io_loop_post(c->loop, &c->second);
}

static void test_cancel_within_the_round(void **state)
{
	struct fixture *f = *state;
	struct canceller c = {.loop = f->loop};

	c.first = (struct io_work){.fn = cancel_second, .opaque = &c};
	c.second = (struct io_work){.fn = count_up, .opaque = &c.second_ran};
	io_loop_call(f->loop, post_both, &c);
	sync_loop(f->loop);
	sync_loop(f->loop);
	assert_int_equal(atomic_load(&c.second_ran), 0);
	io_loop_post(f->loop, &c.second);
	sync_loop(f->loop);
	assert_int_equal(atomic_load(&c.second_ran), 1);
}

/* Work that queues itself for ever must not keep a descriptor, a timer or a call from its turn. */
struct greedy {
	struct io_loop *loop;
	struct io_work w;
	uint64_t rounds;
	atomic_int stop;
};

static void repost(void *opaque)
{
	struct greedy *g = opaque;

	g->rounds++;
	if (!atomic_load(&g->stop))
		io_loop_post(g->loop, &g->w);
}

static void test_greedy_work_starves_nobody(void **state)
{
	struct fixture *f = *state;
	struct greedy g = {.loop = f->loop};
	struct pipe_reader r;

	g.w = (struct io_work){.fn = repost, .opaque = &g};
	io_loop_post(f->loop, &g.w);
	reader_init(&r, f->loop);
	assert_int_equal(write(r.fds[1], "abc", 3), 3);
	wait_for(&r.reads, 3);
	wait_for(&r.timeouts, 1);
	atomic_store(&g.stop, 1);
	sync_loop(f->loop);
	assert_true(g.rounds > 10);
	reader_done(&r);
}

/* A timer that re-arms itself in the past must not either. */
struct past_timer {
	struct io_loop *loop;
	struct io_timer t;
	uint64_t rounds;
	int stop;
};

static void rearm(void *opaque)
{
	struct past_timer *p = opaque;

	p->rounds++;
	if (!p->stop)
		io_timer_set(p->loop, &p->t, 1);
}

static void past_start(void *opaque)
{
	rearm(opaque);
}

static void past_stop(void *opaque)
{
	((struct past_timer *)opaque)->stop = 1;
}

static void test_past_timer_starves_nobody(void **state)
{
	struct fixture *f = *state;
	struct past_timer p = {.loop = f->loop};
	struct pipe_reader r;

	p.t = (struct io_timer){.fn = rearm, .opaque = &p};
	io_loop_call(f->loop, past_start, &p);
	reader_init(&r, f->loop);
	assert_int_equal(write(r.fds[1], "abc", 3), 3);
	wait_for(&r.reads, 3);
	wait_for(&r.timeouts, 1);
	io_loop_call(f->loop, past_stop, &p);
	sync_loop(f->loop);
	assert_true(p.rounds > 10);
	assert_int_equal(p.t.deadline_ns, 0);
	reader_done(&r);
}

/* --- many threads ----------------------------------------------------------------------------- */

#define POSTERS 4
#define POSTS	20000

struct poster {
	struct io_loop *loop;
	struct io_work w;
	atomic_uint produced;  /* by the thread */
	unsigned int consumed; /* by the loop: must reach the last value produced */
};

static void consume(void *opaque)
{
	struct poster *p = opaque;

	p->consumed = atomic_load_explicit(&p->produced, memory_order_relaxed);
}

static void *poster_main(void *arg)
{
	struct poster *p = arg;

	for (unsigned int i = 1; i <= POSTS; i++) {
		atomic_store_explicit(&p->produced, i, memory_order_relaxed);
		io_loop_post(p->loop, &p->w);
		if (i % 1000 == 0)
			sync_loop(p->loop);
	}
	return NULL;
}

static void test_no_wakeup_is_lost(void **state)
{
	struct fixture *f = *state;
	struct poster p[POSTERS];
	pthread_t t[POSTERS];

	memset(p, 0, sizeof(p));
	for (int i = 0; i < POSTERS; i++) {
		p[i].loop = f->loop;
		p[i].w = (struct io_work){.fn = consume, .opaque = &p[i]};
		assert_int_equal(pthread_create(&t[i], NULL, poster_main, &p[i]), 0);
	}
	for (int i = 0; i < POSTERS; i++)
		pthread_join(t[i], NULL);
	sync_loop(f->loop);
	for (int i = 0; i < POSTERS; i++)
		assert_int_equal(p[i].consumed, POSTS);
}

/* --- beginning and end ------------------------------------------------------------------------ */

static void test_quit_before_run_and_run_again(void **state)
{
	struct io_loop *loop;
	atomic_int n = 0;
	struct io_work w = {.fn = count_up, .opaque = &n};

	(void)state;
	assert_int_equal(io_loop_new(&loop), 0);
	io_loop_post(loop, &w);
	io_loop_quit(loop);
	io_loop_run(loop); /* returns at once, but not before what was posted earlier ran */
	assert_int_equal(atomic_load(&n), 1);
	/* Nobody runs the loop now: a call does not wait for ever. */
	io_loop_call(loop, count_up, &n);
	assert_int_equal(atomic_load(&n), 2);
	io_loop_quit(loop);
	io_loop_run(loop);
	io_loop_free(loop);
}

struct caller {
	struct io_loop *loop;
	atomic_int *n;
};

static void *caller_main(void *arg)
{
	struct caller *c = arg;

	for (int i = 0; i < 500; i++)
		io_loop_call(c->loop, count_up, c->n);
	return NULL;
}

static void test_calls_racing_with_quit_all_return(void **state)
{
	(void)state;
	for (int round = 0; round < 20; round++) {
		struct io_loop *loop;
		pthread_t runner, callers[3];
		atomic_int n = 0;
		struct caller c;

		assert_int_equal(io_loop_new(&loop), 0);
		c = (struct caller){loop, &n};
		assert_int_equal(pthread_create(&runner, NULL, loop_main, loop), 0);
		for (int i = 0; i < 3; i++)
			assert_int_equal(pthread_create(&callers[i], NULL, caller_main, &c), 0);
		usleep((useconds_t)round * 100);
		io_loop_quit(loop);
		pthread_join(runner, NULL);
		for (int i = 0; i < 3; i++)
			pthread_join(callers[i], NULL);
		assert_int_equal(atomic_load(&n), 1500);
		io_loop_free(loop);
	}
}

static int count_fds(int *not_cloexec)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	for (struct dirent *e; (e = readdir(d));) {
		int fd = atoi(e->d_name);

		if (e->d_name[0] == '.' || fd <= 2 || fd == dirfd(d))
			continue;
		n++;
		if (not_cloexec && !(fcntl(fd, F_GETFD) & FD_CLOEXEC))
			(*not_cloexec)++;
	}
	closedir(d);
	return n;
}

static void test_no_descriptor_leaks_and_all_are_cloexec(void **state)
{
	int before_open = 0, during_open = 0;
	int before = count_fds(&before_open);
	struct io_loop *loop;

	(void)state;
	assert_int_equal(io_loop_new(&loop), 0);
	assert_int_equal(count_fds(&during_open), before + 3);
	assert_int_equal(during_open, before_open);
	io_loop_free(loop);
	assert_int_equal(count_fds(NULL), before);
	io_loop_free(NULL);
}

static void test_out_of_descriptors(void **state)
{
	int before = count_fds(NULL);
	struct rlimit old;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	int next = dup(0);
	close(next);
	for (rlim_t room = 0; room < 3; room++) {
		struct io_loop *loop = (void *)1;
		struct rlimit tight = {.rlim_cur = (rlim_t)next + room, .rlim_max = old.rlim_max};

		assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
		int r = io_loop_new(&loop);
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
		assert_int_equal(r, PVV_ESYS);
		assert_int_equal(pvv_error_get_os_errno(pvv_error_last()), EMFILE);
		assert_int_equal(count_fds(NULL), before);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_LOOP(test_post_runs_once_per_queueing),
		WITH_LOOP(test_work_keeps_its_order),
		WITH_LOOP(test_cancel),
		WITH_LOOP(test_cancel_within_the_round),
		WITH_LOOP(test_greedy_work_starves_nobody),
		WITH_LOOP(test_past_timer_starves_nobody),
		WITH_LOOP(test_no_wakeup_is_lost),
		cmocka_unit_test(test_quit_before_run_and_run_again),
		cmocka_unit_test(test_calls_racing_with_quit_all_return),
		cmocka_unit_test(test_no_descriptor_leaks_and_all_are_cloexec),
		cmocka_unit_test(test_out_of_descriptors),
	};

	return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
