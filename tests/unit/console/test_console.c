/* SPDX-License-Identifier: MIT */
/* The ring, the embedder's stream, input, and guests that lie. */
#include "console_fixture.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* --- the embedder's stream -------------------------------------------------------------------- */

static void test_stream_both_ways(void **state)
{
	struct fixture *f = *state;
	int fd;

	open_console(f, &(struct io_console_config){.type = IO_CONSOLE_NULL});
	assert_int_equal(io_console_open(f->con, &fd), 0); /* before the start */
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	attach(f);
	guest_print(f, "hello\r\n");
	expect_output(f, fd, "hello\r\n");
	assert_int_equal(write(fd, "input", 5), 5);
	expect_input(f, "input");
	close(fd);
}

static void test_input_before_the_start_is_kept(void **state)
{
	struct fixture *f = *state;
	int fd;

	open_console(f, &(struct io_console_config){.type = IO_CONSOLE_NULL});
	assert_int_equal(io_console_open(f->con, &fd), 0);
	assert_int_equal(write(fd, "early", 5), 5);
	turn(f, 5);
	attach(f);
	expect_input(f, "early");
	close(fd);
}

static void test_input_of_one_who_left_is_kept(void **state)
{
	struct fixture *f = *state;
	int fd;

	open_console(f, &(struct io_console_config){.type = IO_CONSOLE_NULL});
	assert_int_equal(io_console_open(f->con, &fd), 0);
	assert_int_equal(write(fd, "testament", 9), 9);
	close(fd);
	turn(f, 5);
	attach(f);
	guest_print(f, "nobody hears this");
	expect_input(f, "testament");
}

static void test_late_opener_gets_the_beginning(void **state)
{
	struct fixture *f = *state;
	int fd;

	open_console(f, &(struct io_console_config){.type = IO_CONSOLE_NULL});
	attach(f);
	guest_print(f, "first ");
	guest_print(f, "second ");
	assert_int_equal(io_console_open(f->con, &fd), 0);
	guest_print(f, "third");
	expect_output(f, fd, "first second third");
	close(fd);
	/* And so does the next one. */
	assert_int_equal(io_console_open(f->con, &fd), 0);
	expect_output(f, fd, "first second third");
	close(fd);
}

static void test_scrollback_is_the_last_64_kib(void **state)
{
	struct fixture *f = *state;
	char *buf = malloc(200000);
	size_t n = 0;
	int fd;

	assert_non_null(buf);
	open_console(f, &(struct io_console_config){.type = IO_CONSOLE_NULL});
	attach(f);
	assert_int_equal(guest_flood(f, 0, 150001, 0), 150001);
	assert_int_equal(io_console_open(f->con, &fd), 0);
	turn(f, 5);
	for (ssize_t r; (r = read_now(fd, buf + n, 200000 - n)) > 0;)
		n += (size_t)r;
	assert_int_equal(n, IO_CONSOLE_BUFFER);
	expect_sequence(buf, n, 150001 - IO_CONSOLE_BUFFER);
	close(fd);
	free(buf);
}

static void test_one_stream_at_a_time(void **state)
{
	struct fixture *f = *state;
	int fd, other = -1;

	open_console(f, &(struct io_console_config){.type = IO_CONSOLE_NULL});
	assert_int_equal(io_console_open(f->con, &fd), 0);
	assert_int_equal(io_console_open(f->con, &other), PVV_EBUSY);
	close(fd);
	/* At once, without the loop having noticed. */
	assert_int_equal(io_console_open(f->con, &fd), 0);
	close(fd);
}

static void test_slow_stream_makes_the_guest_wait(void **state)
{
	struct fixture *f = *state;
	char *buf = malloc(4 << 20);
	size_t n = 0;
	int fd;

	assert_non_null(buf);
	open_console(f, &(struct io_console_config){.type = IO_CONSOLE_NULL});
	assert_int_equal(io_console_open(f->con, &fd), 0);
	attach(f);
	size_t took = guest_flood(f, 0, 4 << 20, 200);
	assert_true(took < 1 << 20); /* two buffers' worth and the ring */
	assert_true(took > 65536);
	/* Nothing was lost: as the reader reads, the rest comes. */
	size_t printed = took;
	while (n < (2 << 20)) {
		ssize_t r = read_now(fd, buf + n, (4 << 20) - n);

		if (r > 0)
			n += (size_t)r;
		turn(f, 1);
		printed += guest_flood(f, printed, 65536, 0);
	}
	expect_sequence(buf, n, 0);
	close(fd);
	/* Nobody there: it runs free again. */
	turn(f, 5);
	assert_int_equal(guest_flood(f, printed, 1 << 20, 200), 1 << 20);
	free(buf);
}

/* The reader sees all that was printed before the end, then end of file, even if it comes late. */
static void test_stream_ends_after_the_last_byte(void **state)
{
	struct fixture *f = *state;
	char *buf = malloc(2 << 20);
	size_t n = 0;
	ssize_t r;
	int fd;

	assert_non_null(buf);
	for (int full = 0; full < 2; full++) {
		open_console(f, &(struct io_console_config){.type = IO_CONSOLE_NULL});
		assert_int_equal(io_console_open(f->con, &fd), 0);
		attach(f);
		size_t took = guest_flood(f, 0, full ? 2 << 20 : 10, 50);
		if (!full)
			took += guest_flood(f, took, 2000, 0);
		/* Input nobody has read must not turn the end into an error. */
		assert_int_equal(write(fd, "unread", 6), 6);
		io_console_detach(f->con);
		io_console_end(f->con);
		io_console_free(f->con);
		f->con = NULL;
		for (n = 0; (r = read(fd, buf + n, (2 << 20) - n)) > 0;)
			n += (size_t)r;
		assert_int_equal(r, 0);
		assert_int_equal(n, took);
		expect_sequence(buf, n, 0);
		close(fd);
		memset(f->ring, 0, sizeof(*f->ring));
	}
	free(buf);
}

static void test_reboot_keeps_the_stream(void **state)
{
	struct fixture *f = *state;
	int fd;

	open_console(f, &(struct io_console_config){.type = IO_CONSOLE_NULL});
	assert_int_equal(io_console_open(f->con, &fd), 0);
	attach(f);
	guest_put(f, "going down\n", 11);
	io_console_detach(f->con);
	assert_false(fake_bound(f->guest, PORT));
	memset(f->ring, 0, sizeof(*f->ring));
	attach(f);
	guest_print(f, "up again\n");
	expect_output(f, fd, "going down\nup again\n");
	close(fd);
}

static void test_next_run_starts_with_an_empty_scrollback(void **state)
{
	struct fixture *f = *state;
	int fd;

	open_console(f, &(struct io_console_config){.type = IO_CONSOLE_NULL});
	attach(f);
	guest_print(f, "old");
	io_console_detach(f->con);
	io_console_end(f->con);
	/* Nobody has seen it: it can still be read... */
	assert_int_equal(io_console_open(f->con, &fd), 0);
	expect_output(f, fd, "old");
	close(fd);
	/* ...until the next run. */
	memset(f->ring, 0, sizeof(*f->ring));
	attach(f);
	guest_print(f, "new");
	assert_int_equal(io_console_open(f->con, &fd), 0);
	expect_output(f, fd, "new");
	io_console_detach(f->con);
	io_console_end(f->con);
	close(fd);
	assert_int_equal(io_console_open(f->con, &fd), 0);
	memset(f->ring, 0, sizeof(*f->ring));
	attach(f);
	guest_print(f, "third");
	expect_output(f, fd, "third");
	close(fd);
}

/* --- input ------------------------------------------------------------------------------------ */

static void test_input_waits_for_the_guest(void **state)
{
	struct fixture *f = *state;
	char text[5001], got[5001];
	size_t n = 0;
	int fd;

	open_console(f, &(struct io_console_config){.type = IO_CONSOLE_NULL});
	assert_int_equal(io_console_open(f->con, &fd), 0);
	attach(f);
	for (size_t i = 0; i < 5000; i++)
		text[i] = (char)('a' + i % 26);
	assert_int_equal(write(fd, text, 5000), 5000);
	turn(f, 5);
	assert_int_equal(f->ring->in_prod - f->ring->in_cons, sizeof(f->ring->in));
	for (int i = 0; i < 100 && n < 5000; i++) {
		n += guest_get(f, got + n, 777 < 5000 - n ? 777 : 5000 - n);
		turn(f, 1);
	}
	assert_int_equal(n, 5000);
	assert_memory_equal(text, got, 5000);
	close(fd);
}

static void test_half_closed_stream_still_reads(void **state)
{
	struct fixture *f = *state;
	int fd;

	open_console(f, &(struct io_console_config){.type = IO_CONSOLE_NULL});
	assert_int_equal(io_console_open(f->con, &fd), 0);
	attach(f);
	assert_int_equal(write(fd, "x", 1), 1);
	shutdown(fd, SHUT_WR);
	expect_input(f, "x");
	guest_print(f, "still here");
	expect_output(f, fd, "still here");
	close(fd);
}

/* --- hostile rings ---------------------------------------------------------------------------- */

static void test_lying_indices(void **state)
{
	struct fixture *f = *state;
	uint64_t out, in;
	int fd;

	open_console(f, &(struct io_console_config){.type = IO_CONSOLE_NULL});
	assert_int_equal(io_console_open(f->con, &fd), 0);
	attach(f);
	guest_print(f, "ok");
	/* More than the ring holds: nothing is taken on such a word. */
	static const uint32_t lies[] = {2 + 2049, 1, 0, 0x80000000u, 0xffffffffu, 5000};
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		f->ring->out_prod = lies[i];
		fake_raise(f->guest, PORT);
		pump(f);
		assert_int_equal(f->ring->out_cons, 2);
	}
	/* Our index in the page is not read back. */
	f->ring->out_cons = 77;
	f->ring->out_prod = 2;
	guest_put(f, "", 0);
	f->ring->out[2] = '!';
	f->ring->out_prod = 3;
	fake_raise(f->guest, PORT);
	pump(f);
	assert_int_equal(f->ring->out_cons, 3);
	expect_output(f, fd, "ok!");
	/* Input: a guest that claims to have read what was never written gets none. */
	f->ring->in_cons = 5000;
	assert_int_equal(write(fd, "secret", 6), 6);
	turn(f, 5);
	assert_int_equal(f->ring->in_prod, 0);
	f->ring->in_cons = 0;
	fake_raise(f->guest, PORT);
	turn(f, 5);
	assert_int_equal(f->ring->in_prod, 6);
	io_console_counters(f->con, &out, &in);
	assert_int_equal(out, 3);
	assert_int_equal(in, 6);
	close(fd);
}

static void test_indices_wrap(void **state)
{
	struct fixture *f = *state;
	int fd;

	f->ring->out_prod = f->ring->out_cons = 0xfffffff0u;
	f->ring->in_prod = f->ring->in_cons = 0xfffffffdu;
	open_console(f, &(struct io_console_config){.type = IO_CONSOLE_NULL});
	assert_int_equal(io_console_open(f->con, &fd), 0);
	attach(f);
	guest_print(f, "this goes beyond the end of the numbers");
	expect_output(f, fd, "this goes beyond the end of the numbers");
	assert_int_equal(write(fd, "and this", 8), 8);
	expect_input(f, "and this");
	close(fd);
}

static void test_random_indices(void **state)
{
	struct fixture *f = *state;
	unsigned int seed = 1;

	open_console(f, &(struct io_console_config){.type = IO_CONSOLE_NULL});
	attach(f);
	for (int i = 0; i < 20000; i++) {
		uint32_t *index[] = {(uint32_t *)&f->ring->in_cons, (uint32_t *)&f->ring->in_prod,
				     (uint32_t *)&f->ring->out_cons,
				     (uint32_t *)&f->ring->out_prod};
		uint32_t r = (uint32_t)rand_r(&seed);

		*index[r % 4] = r & 8 ? r * 2654435761u : *index[3] + (r >> 8) % 4096;
		fake_raise(f->guest, PORT);
		if (i % 16 == 0)
			pump(f);
	}
}

/* A flood is slowed down to the documented rate, and leaves the loop to others. */
static void test_flood_is_rate_limited(void **state)
{
	struct fixture *f = *state;
	uint64_t start = io_now_ns(), bytes = 0;

	open_console(f, &(struct io_console_config){.type = IO_CONSOLE_NULL});
	attach(f);
	while (io_now_ns() - start < 200000000ull) {
		f->ring->out_prod = f->ring->out_cons + sizeof(f->ring->out);
		uint32_t cons = f->ring->out_cons;

		fake_raise(f->guest, PORT);
		pump(f);
		bytes += f->ring->out_cons - cons;
	}
	double seconds = (double)(io_now_ns() - start) / 1e9;
	assert_true((double)bytes / seconds < 1.3 * IO_CONSOLE_RATE);
	assert_true(bytes > 100000);
}

static void test_attach_errors(void **state)
{
	struct fixture *f = *state;

	open_console(f, &(struct io_console_config){.type = IO_CONSOLE_NULL});
	attach(f);
	assert_int_equal(io_console_attach(f->con, f->guest, f->ring, PORT + 1), PVV_EBUSY);
	io_console_detach(f->con);
	assert_int_equal(io_console_attach(f->con, f->guest, f->ring, 100000), PVV_EGUEST);
	io_console_detach(f->con); /* nothing to do */
	attach(f);
	guest_print(f, "works");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_FIXTURE(test_stream_both_ways),
		WITH_FIXTURE(test_input_before_the_start_is_kept),
		WITH_FIXTURE(test_input_of_one_who_left_is_kept),
		WITH_FIXTURE(test_late_opener_gets_the_beginning),
		WITH_FIXTURE(test_scrollback_is_the_last_64_kib),
		WITH_FIXTURE(test_one_stream_at_a_time),
		WITH_FIXTURE(test_slow_stream_makes_the_guest_wait),
		WITH_FIXTURE(test_stream_ends_after_the_last_byte),
		WITH_FIXTURE(test_reboot_keeps_the_stream),
		WITH_FIXTURE(test_next_run_starts_with_an_empty_scrollback),
		WITH_FIXTURE(test_input_waits_for_the_guest),
		WITH_FIXTURE(test_half_closed_stream_still_reads),
		WITH_FIXTURE(test_lying_indices),
		WITH_FIXTURE(test_indices_wrap),
		WITH_FIXTURE(test_random_indices),
		WITH_FIXTURE(test_flood_is_rate_limited),
		WITH_FIXTURE(test_attach_errors),
	};

	return cmocka_run_group_tests_name("console", tests, NULL, NULL);
}
