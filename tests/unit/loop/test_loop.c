/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "io/loop.h"
#include "util/err.h"

#define MS 1000000ull

struct fixture {
	struct io_loop *loop;
	pthread_t thread;
};

static void *loop_main(void *arg)
{
	io_loop_run(arg);
	return NULL;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	assert_int_equal(io_loop_new(&f->loop), 0);
	assert_int_equal(pthread_create(&f->thread, NULL, loop_main, f->loop), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	io_loop_quit(f->loop);
	pthread_join(f->thread, NULL);
	io_loop_free(f->loop);
	free(f);
	return 0;
}

/* --- work ------------------------------------------------------------------------------------- */

static void count_up(void *opaque)
{
	atomic_fetch_add((atomic_int *)opaque, 1);
}

static void nothing(void *opaque)
{
	(void)opaque;
}

/* A round trip through the loop: what was posted before it has run afterwards. */
static void sync_loop(struct io_loop *loop)
{
	io_loop_call(loop, nothing, NULL);
}

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

struct pipe_reader {
	struct io_loop *loop;
	struct io_fd *reg;
	int fds[2];
	struct io_timer timer;
	atomic_int reads, timeouts;
	int add_result;
};

static void on_readable(void *opaque, uint32_t events)
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

static void wait_for(atomic_int *v, int want)
{
	for (int i = 0; i < 5000 && atomic_load(v) < want; i++)
		usleep(1000);
	assert_true(atomic_load(v) >= want);
}

static void reader_init(struct pipe_reader *r, struct io_loop *loop)
{
	memset(r, 0, sizeof(*r));
	r->loop = loop;
	assert_int_equal(pipe2(r->fds, O_CLOEXEC | O_NONBLOCK), 0);
	io_loop_call(loop, reader_start, r);
	assert_int_equal(r->add_result, 0);
}

static void reader_done(struct pipe_reader *r)
{
	io_loop_call(r->loop, reader_stop, r);
	close(r->fds[0]);
	close(r->fds[1]);
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

/* --- timers ----------------------------------------------------------------------------------- */

struct timers {
	struct io_loop *loop;
	struct io_timer t[16];
	struct timer_item {
		struct timers *all;
		int id;
	} items[16];
	int seen[32];
	int n;
	atomic_int fired;
	uint64_t deadline[16];
	int early;
};

static void timer_note(void *opaque)
{
	struct timer_item *it = opaque;
	struct timers *all = it->all;

	all->early += io_now_ns() < all->deadline[it->id];
	all->seen[all->n++] = it->id;
	atomic_fetch_add(&all->fired, 1);
}

static void timers_start(void *opaque)
{
	static const int ms[16] = {9, 3, 1, 7, 5, 2, 8, 4, 6, 0, 15, 11, 13, 10, 14, 12};
	struct timers *a = opaque;
	uint64_t now = io_now_ns();

	for (int i = 0; i < 16; i++) {
		a->items[i] = (struct timer_item){a, ms[i]};
		a->t[i] = (struct io_timer){.fn = timer_note, .opaque = &a->items[i]};
		a->deadline[ms[i]] = now + 2 * MS + (uint64_t)ms[i] * MS;
		io_timer_set(a->loop, &a->t[i], now + 1000 * MS); /* moved just below */
		io_timer_set(a->loop, &a->t[i], a->deadline[ms[i]]);
	}
}

static void test_timers_fire_in_order_and_not_early(void **state)
{
	struct fixture *f = *state;
	struct timers a = {.loop = f->loop};

	io_loop_call(f->loop, timers_start, &a);
	wait_for(&a.fired, 16);
	sync_loop(f->loop);
	assert_int_equal(a.n, 16);
	assert_int_equal(a.early, 0);
	for (int i = 0; i < 16; i++) {
		assert_int_equal(a.seen[i], i);
		assert_int_equal(a.t[i].deadline_ns, 0);
	}
}

static void disarm_next(void *opaque)
{
	struct timer_item *it = opaque;

	timer_note(it);
	io_timer_set(it->all->loop, &it->all->t[1], 0);
}

static void expired_pair(void *opaque)
{
	struct timers *a = opaque;

	/* Both have expired when the round looks: the first disarms the second. */
	for (int i = 0; i < 3; i++) {
		a->items[i] = (struct timer_item){a, i};
		a->t[i] = (struct io_timer){.fn = i == 0 ? disarm_next : timer_note,
					    .opaque = &a->items[i]};
		io_timer_set(a->loop, &a->t[i], (uint64_t)i + 1);
	}
}

static void test_timer_disarmed_by_another_of_its_round(void **state)
{
	struct fixture *f = *state;
	struct timers a = {.loop = f->loop};

	io_loop_call(f->loop, expired_pair, &a);
	wait_for(&a.fired, 2);
	sync_loop(f->loop);
	assert_int_equal(a.n, 2);
	assert_int_equal(a.seen[0], 0);
	assert_int_equal(a.seen[1], 2);
}

static void far_timer(void *opaque)
{
	struct timers *a = opaque;

	a->items[0] = (struct timer_item){a, 0};
	a->t[0] = (struct io_timer){.fn = timer_note, .opaque = &a->items[0]};
	io_timer_set(a->loop, &a->t[0], UINT64_MAX);
}

static void disarm(void *opaque)
{
	struct timers *a = opaque;

	io_timer_set(a->loop, &a->t[0], 0);
}

static void test_farthest_deadline(void **state)
{
	struct fixture *f = *state;
	struct timers a = {.loop = f->loop};

	io_loop_call(f->loop, far_timer, &a);
	usleep(20000);
	sync_loop(f->loop);
	assert_int_equal(a.n, 0);
	io_loop_call(f->loop, disarm, &a);
}

/* An idle loop sleeps, also after a timer has fired and a descriptor has hung up unwatched. */
static void mute(void *opaque)
{
	struct pipe_reader *r = opaque;

	r->add_result = io_loop_mod_fd(r->loop, r->reg, 0);
}

static void unmute(void *opaque)
{
	struct pipe_reader *r = opaque;

	r->add_result = io_loop_mod_fd(r->loop, r->reg, EPOLLIN);
}

static uint64_t cpu_ns(struct fixture *f)
{
	clockid_t clock;
	struct timespec ts;

	assert_int_equal(pthread_getcpuclockid(f->thread, &clock), 0);
	assert_int_equal(clock_gettime(clock, &ts), 0);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void test_idle_loop_sleeps(void **state)
{
	struct fixture *f = *state;
	struct pipe_reader r;

	reader_init(&r, f->loop);
	wait_for(&r.timeouts, 1);
	io_loop_call(f->loop, mute, &r);
	close(r.fds[1]); /* a hang-up nobody waits for */
	uint64_t before = cpu_ns(f);
	usleep(100000);
	assert_true(cpu_ns(f) - before < 20 * MS);
	io_loop_call(f->loop, unmute, &r);
	assert_int_equal(r.add_result, 0);
	r.fds[1] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	reader_done(&r);
}

/* --- descriptors ------------------------------------------------------------------------------ */

/* Two ready pipes whose handlers each remove the other: exactly one runs. */
struct duel {
	struct io_loop *loop;
	int fds[2][2];
	struct io_fd *reg[2];
	struct duel_side {
		struct duel *d;
		int me;
	} side[2];
	int ran;
	int self;
};

static void kill_other(void *opaque, uint32_t events)
{
	struct duel_side *s = opaque;

	(void)events;
	s->d->ran++;
	io_loop_del_fd(s->d->loop, s->d->reg[!s->me]);
	io_loop_del_fd(s->d->loop, s->d->reg[s->me]);
}

static void duel_start(void *opaque)
{
	struct duel *d = opaque;

	for (int i = 0; i < 2; i++) {
		d->side[i] = (struct duel_side){d, i};
		io_loop_add_fd(d->loop, d->fds[i][0], EPOLLIN, kill_other, &d->side[i], &d->reg[i]);
	}
}

static void test_del_fd_inside_callbacks(void **state)
{
	struct fixture *f = *state;

	for (int round = 0; round < 20; round++) {
		struct duel d = {.loop = f->loop};

		for (int i = 0; i < 2; i++) {
			assert_int_equal(pipe2(d.fds[i], O_CLOEXEC), 0);
			assert_int_equal(write(d.fds[i][1], "x", 1), 1);
		}
		io_loop_call(f->loop, duel_start, &d);
		for (int i = 0; i < 3; i++)
			sync_loop(f->loop);
		assert_int_equal(d.ran, 1);
		for (int i = 0; i < 2; i++) {
			close(d.fds[i][0]);
			close(d.fds[i][1]);
		}
	}
}

/* With more ready descriptors than one batch holds, each gets its turn. */
#define CROWD 200
struct crowd {
	struct io_loop *loop;
	struct crowd_one {
		int fds[2];
		struct io_fd *reg;
		int ran;
	} one[CROWD];
	int failures;
};

static void crowd_ready(void *opaque, uint32_t events)
{
	struct crowd_one *one = opaque;

	(void)events;
	one->ran++; /* never reads: stays ready */
}

static void crowd_start(void *opaque)
{
	struct crowd *c = opaque;

	for (int i = 0; i < CROWD; i++)
		c->failures += io_loop_add_fd(c->loop, c->one[i].fds[0], EPOLLIN, crowd_ready,
					      &c->one[i], &c->one[i].reg) != 0;
}

static void crowd_stop(void *opaque)
{
	struct crowd *c = opaque;

	for (int i = 0; i < CROWD; i++)
		io_loop_del_fd(c->loop, c->one[i].reg);
}

static void test_ready_crowd_is_served_fairly(void **state)
{
	struct fixture *f = *state;
	struct crowd *c = calloc(1, sizeof(*c));
	int least = 1 << 30, most = 0;

	assert_non_null(c);
	c->loop = f->loop;
	for (int i = 0; i < CROWD; i++) {
		assert_int_equal(pipe2(c->one[i].fds, O_CLOEXEC), 0);
		assert_int_equal(write(c->one[i].fds[1], "x", 1), 1);
	}
	io_loop_call(f->loop, crowd_start, c);
	assert_int_equal(c->failures, 0);
	usleep(50000);
	io_loop_call(f->loop, crowd_stop, c);
	for (int i = 0; i < CROWD; i++) {
		least = c->one[i].ran < least ? c->one[i].ran : least;
		most = c->one[i].ran > most ? c->one[i].ran : most;
		close(c->one[i].fds[0]);
		close(c->one[i].fds[1]);
	}
	assert_true(least > 0);
	assert_true(most - least <= 2);
	free(c);
}

static void add_regular_file(void *opaque)
{
	struct pipe_reader *r = opaque;

	r->add_result = io_loop_add_fd(r->loop, r->fds[0], EPOLLIN, on_readable, r, &r->reg);
	assert_int_equal(pvv_error_get_os_errno(pvv_error_last()), EPERM);
}

static void test_regular_file_is_refused(void **state)
{
	struct fixture *f = *state;
	struct pipe_reader r = {.loop = f->loop};

	r.fds[0] = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	assert_true(r.fds[0] >= 0);
	io_loop_call(f->loop, add_regular_file, &r);
	assert_int_equal(r.add_result, PVV_ESYS);
	close(r.fds[0]);
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

#define WITH_LOOP(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

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
		WITH_LOOP(test_timers_fire_in_order_and_not_early),
		WITH_LOOP(test_timer_disarmed_by_another_of_its_round),
		WITH_LOOP(test_farthest_deadline),
		WITH_LOOP(test_idle_loop_sleeps),
		WITH_LOOP(test_del_fd_inside_callbacks),
		WITH_LOOP(test_ready_crowd_is_served_fairly),
		WITH_LOOP(test_regular_file_is_refused),
		cmocka_unit_test(test_quit_before_run_and_run_again),
		cmocka_unit_test(test_calls_racing_with_quit_all_return),
		cmocka_unit_test(test_no_descriptor_leaks_and_all_are_cloexec),
		cmocka_unit_test(test_out_of_descriptors),
	};

	return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
