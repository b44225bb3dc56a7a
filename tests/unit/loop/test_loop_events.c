/* SPDX-License-Identifier: MIT */
/* Timers and descriptors. */
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_LOOP(test_timers_fire_in_order_and_not_early),
		WITH_LOOP(test_timer_disarmed_by_another_of_its_round),
		WITH_LOOP(test_farthest_deadline),
		WITH_LOOP(test_idle_loop_sleeps),
		WITH_LOOP(test_del_fd_inside_callbacks),
		WITH_LOOP(test_ready_crowd_is_served_fairly),
		WITH_LOOP(test_regular_file_is_refused),
	};

	return cmocka_run_group_tests_name("loop events", tests, NULL, NULL);
}
