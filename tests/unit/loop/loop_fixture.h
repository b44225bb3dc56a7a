/* SPDX-License-Identifier: MIT */
/* A loop that runs on a thread of its own, and a pipe and a timer for it to serve. */
#ifndef PVV_TESTS_LOOP_FIXTURE_H
#define PVV_TESTS_LOOP_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>

#include "io/loop.h"
#include "util/err.h"

#define MS 1000000ull

struct fixture {
	struct io_loop *loop;
	pthread_t thread;
};

/* A thread that runs the loop given. */
void *loop_main(void *loop);
int setup(void **state);
int teardown(void **state);
#define WITH_LOOP(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

/* Work that adds one to an atomic_int, and that does nothing. */
void count_up(void *opaque);
void nothing(void *opaque);
/* A round trip through the loop: what was posted before it has run afterwards. */
void sync_loop(struct io_loop *loop);
/* Waits up to 5 s for *v to reach `want`. */
void wait_for(atomic_int *v, int want);

/* Counts the bytes written to fds[1], and a timer 2 ms after the start. */
struct pipe_reader {
	struct io_loop *loop;
	struct io_fd *reg;
	int fds[2];
	struct io_timer timer;
	atomic_int reads, timeouts;
	int add_result;
};

void reader_init(struct pipe_reader *r, struct io_loop *loop);
void reader_done(struct pipe_reader *r);
void on_readable(void *opaque, uint32_t events);

#endif
