/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include <xen/io/console.h>

#include "fake_guest.h"
#include "io/console/console.h"
#include "util/err.h"

#define PORT 2u

struct fixture {
	struct io_loop *loop;
	struct io_guest *guest;
	struct xencons_interface *ring;
	struct io_console *con;
	char dir[64];
};

static void pump(struct fixture *f)
{
	io_loop_quit(f->loop);
	io_loop_run(f->loop);
}

/* Descriptors are not looked at by a loop that quits at once: let it turn a few times. */
static void quit_loop(void *opaque)
{
	io_loop_quit(opaque);
}

static void turn(struct fixture *f, unsigned int ms)
{
	struct io_timer t = {.fn = quit_loop, .opaque = f->loop};

	io_timer_set(f->loop, &t, io_now_ns() + ms * 1000000ull);
	io_loop_run(f->loop);
	io_timer_set(f->loop, &t, 0);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	strcpy(f->dir, "/tmp/pvv-console-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	assert_int_equal(io_loop_new(&f->loop), 0);
	f->guest = fake_guest_new(9, "guest9", 1);
	fake_use_loop(f->guest, f->loop);
	f->ring = fake_page(f->guest, 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char cmd[128];

	io_console_free(f->con);
	fake_guest_free(f->guest);
	io_loop_free(f->loop);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", f->dir);
	assert_int_equal(system(cmd), 0);
	free(f);
	return 0;
}

static void open_console(struct fixture *f, const struct io_console_config *cfg)
{
	assert_int_equal(io_console_new(f->loop, cfg, "guest9", &f->con), 0);
}

static void attach(struct fixture *f)
{
	assert_int_equal(io_console_attach(f->con, f->guest, f->ring, PORT), 0);
	pump(f);
}

/* --- the guest's side ------------------------------------------------------------------------- */

static size_t ring_room(const struct fixture *f)
{
	return sizeof(f->ring->out) - (f->ring->out_prod - f->ring->out_cons);
}

/* As much as fits; the number of bytes. */
static size_t guest_put(struct fixture *f, const char *data, size_t len)
{
	size_t n = 0;

	while (n < len && ring_room(f)) {
		f->ring->out[MASK_XENCONS_IDX(f->ring->out_prod, f->ring->out)] = data[n++];
		f->ring->out_prod++;
	}
	fake_raise(f->guest, PORT);
	return n;
}

static void guest_print(struct fixture *f, const char *text)
{
	assert_int_equal(guest_put(f, text, strlen(text)), strlen(text));
	pump(f);
}

/* Prints `len` bytes of a known sequence from `from`; the number that the back end took. */
static size_t guest_flood(struct fixture *f, size_t from, size_t len, unsigned int patience)
{
	char buf[2048];
	size_t done = 0;

	while (done < len) {
		size_t n = len - done < sizeof(buf) ? len - done : sizeof(buf);

		for (size_t i = 0; i < n; i++)
			buf[i] = (char)('a' + (from + done + i) % 23);
		n = guest_put(f, buf, n);
		done += n;
		pump(f);
		if (n == 0) {
			if (patience == 0)
				break;
			turn(f, 1);
			patience--;
		}
	}
	return done;
}

static size_t guest_get(struct fixture *f, char *buf, size_t size)
{
	size_t n = 0;

	while (n < size && f->ring->in_cons != f->ring->in_prod) {
		buf[n++] = f->ring->in[MASK_XENCONS_IDX(f->ring->in_cons, f->ring->in)];
		f->ring->in_cons++;
	}
	fake_raise(f->guest, PORT);
	return n;
}

static void expect_input(struct fixture *f, const char *want)
{
	char buf[2048];
	size_t n = 0;

	for (int i = 0; i < 50 && n < strlen(want); i++) {
		turn(f, 2);
		n += guest_get(f, buf + n, sizeof(buf) - 1 - n);
	}
	buf[n] = '\0';
	assert_string_equal(buf, want);
}

/* --- the reader's side ------------------------------------------------------------------------ */

static ssize_t read_now(int fd, void *buf, size_t size)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	if (poll(&p, 1, 0) != 1)
		return -1;
	return read(fd, buf, size);
}

static void expect_output(struct fixture *f, int fd, const char *want)
{
	char buf[4096];
	size_t n = 0;

	for (int i = 0; i < 50 && n < strlen(want); i++) {
		ssize_t r = read_now(fd, buf + n, sizeof(buf) - 1 - n);

		if (r > 0)
			n += (size_t)r;
		else
			turn(f, 2);
	}
	buf[n] = '\0';
	assert_string_equal(buf, want);
}

static void expect_sequence(const char *buf, size_t len, size_t from)
{
	for (size_t i = 0; i < len; i++)
		if (buf[i] != (char)('a' + (from + i) % 23))
			fail_msg("byte %zu is wrong", i);
}

static char *slurp(const char *path, size_t *ret_len)
{
	char *buf = calloc(1, 1 << 20);
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	assert_non_null(buf);
	assert_true(fd >= 0);
	ssize_t n = read(fd, buf, (1 << 20) - 1);
	assert_true(n >= 0);
	close(fd);
	*ret_len = (size_t)n;
	return buf;
}

/* --- null, file and log ----------------------------------------------------------------------- */

static void test_null_never_blocks_and_counts(void **state)
{
	struct fixture *f = *state;
	uint64_t out, in;

	open_console(f, &(struct io_console_config){.type = IO_CONSOLE_NULL});
	attach(f);
	assert_int_equal(guest_flood(f, 0, 100000, 0), 100000);
	assert_int_equal(f->ring->out_cons, f->ring->out_prod);
	assert_true(fake_events(f->guest, PORT) > 0);
	assert_null(io_console_tty(f->con));
	io_console_counters(f->con, &out, &in);
	assert_int_equal(out, 100000);
	assert_int_equal(in, 0);
}

static void test_file_and_log_have_every_byte(void **state)
{
	struct fixture *f = *state;
	char path[128], log[128];
	size_t len;

	snprintf(path, sizeof(path), "%s/out", f->dir);
	snprintf(log, sizeof(log), "%s/log", f->dir);
	open_console(f, &(struct io_console_config){
				.type = IO_CONSOLE_FILE, .path = path, .log_file = log});
	attach(f);
	assert_int_equal(guest_flood(f, 0, 300000, 0), 300000);
	/* The last words are still in the ring when the domain dies. */
	assert_int_equal(guest_put(f, "the end", 7), 7);
	io_console_detach(f->con);
	io_console_end(f->con);
	for (int i = 0; i < 2; i++) {
		char *text = slurp(i ? log : path, &len);
		struct stat st;

		assert_int_equal(len, 300007);
		expect_sequence(text, 300000, 0);
		assert_memory_equal(text + 300000, "the end", 7);
		free(text);
		assert_int_equal(stat(i ? log : path, &st), 0);
		assert_int_equal(st.st_mode & 0777, 0600);
	}
}

static void test_append_and_truncate(void **state)
{
	struct fixture *f = *state;
	char path[128];
	size_t len;

	snprintf(path, sizeof(path), "%s/out", f->dir);
	for (int run = 0; run < 4; run++) {
		open_console(f, &(struct io_console_config){.type = IO_CONSOLE_FILE,
							    .path = path,
							    .append = run % 2 == 1});
		attach(f);
		guest_print(f, run % 2 ? "second" : "first,");
		io_console_free(f->con);
		f->con = NULL;
	}
	char *text = slurp(path, &len);
	assert_string_equal(text, "first,second");
	free(text);
}

static void test_file_that_cannot_be_opened(void **state)
{
	struct fixture *f = *state;

	open_console(f, &(struct io_console_config){.type = IO_CONSOLE_FILE,
						    .path = "/nonexistent/dir/file"});
	assert_int_equal(io_console_attach(f->con, f->guest, f->ring, PORT), PVV_ESYS);
	assert_int_equal(pvv_error_get_os_errno(pvv_error_last()), ENOENT);
	assert_non_null(strstr(pvv_error_get_message(pvv_error_last()), "/nonexistent/dir/file"));
	assert_false(fake_bound(f->guest, PORT));
}

/* A full disk, in effect: every write fails. The guest must not notice. */
static void test_full_file_loses_output_only(void **state)
{
	struct fixture *f = *state;

	open_console(f, &(struct io_console_config){.type = IO_CONSOLE_NULL,
						    .log_file = "/dev/full",
						    .log_append = true});
	attach(f);
	assert_int_equal(guest_flood(f, 0, 50000, 0), 50000);
}

static void test_fifo_without_reader_fails_at_once(void **state)
{
	struct fixture *f = *state;
	char path[128];

	snprintf(path, sizeof(path), "%s/fifo", f->dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	open_console(f, &(struct io_console_config){.type = IO_CONSOLE_FILE, .path = path});
	assert_int_equal(io_console_attach(f->con, f->guest, f->ring, PORT), PVV_ESYS);
	assert_int_equal(pvv_error_get_os_errno(pvv_error_last()), ENXIO);
}

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

/* --- pty -------------------------------------------------------------------------------------- */

static void test_pty(void **state)
{
	struct fixture *f = *state;

	open_console(f, &(struct io_console_config){.type = IO_CONSOLE_PTY});
	assert_null(io_console_tty(f->con));
	attach(f);
	const char *tty = io_console_tty(f->con);
	assert_non_null(tty);
	int fd = open(tty, O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(fd >= 0);
	/* Raw: nothing is echoed or translated. */
	guest_print(f, "a\nb\x03\n");
	expect_output(f, fd, "a\nb\x03\n");
	assert_int_equal(write(fd, "q\r\x04", 3), 3);
	expect_input(f, "q\r\x04");
	turn(f, 5);
	assert_int_equal(f->ring->in_prod, 3);
	close(fd);
	/* The terminal went away and another came. */
	guest_print(f, "between ");
	fd = open(tty, O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(fd >= 0);
	guest_print(f, "times");
	expect_output(f, fd, "between times");
	close(fd);
}

static void test_pty_without_terminal_does_not_block(void **state)
{
	struct fixture *f = *state;
	uint64_t before = io_now_ns();

	open_console(f, &(struct io_console_config){.type = IO_CONSOLE_PTY});
	attach(f);
	assert_int_equal(guest_flood(f, 0, 1 << 20, 1000), 1 << 20);
	/* Patience was lost once, not with every byte. */
	assert_true(io_now_ns() - before < 20 * IO_CONSOLE_PATIENCE_MS * 1000000ull);
	/* A terminal that comes now gets something: what the kernel held, then the latest. */
	int fd = open(io_console_tty(f->con), O_RDWR | O_NOCTTY | O_CLOEXEC);
	char *buf = malloc(1 << 20);
	size_t n = 0;
	assert_non_null(buf);
	for (int idle = 0; idle < 20;) {
		ssize_t r = read_now(fd, buf + n, (1 << 20) - n);

		if (r > 0) {
			n += (size_t)r;
			idle = 0;
		} else {
			turn(f, 2);
			idle++;
		}
	}
	assert_true(n >= IO_CONSOLE_BUFFER);
	expect_sequence(buf + n - IO_CONSOLE_BUFFER, IO_CONSOLE_BUFFER,
			(1 << 20) - IO_CONSOLE_BUFFER);
	free(buf);
	close(fd);
}

static void test_pty_last_bytes_reach_the_terminal(void **state)
{
	struct fixture *f = *state;
	char buf[64];

	open_console(f, &(struct io_console_config){.type = IO_CONSOLE_PTY});
	attach(f);
	int fd = open(io_console_tty(f->con), O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(fd >= 0);
	guest_put(f, "power off", 9);
	io_console_detach(f->con);
	io_console_end(f->con);
	turn(f, 20);
	expect_output(f, fd, "power off");
	turn(f, 50);
	/* Now it is closed: end of file. */
	assert_true(read(fd, buf, sizeof(buf)) <= 0);
	assert_null(io_console_tty(f->con));
	close(fd);
}

static void test_pty_nobody_reads_at_the_end(void **state)
{
	struct fixture *f = *state;

	open_console(f, &(struct io_console_config){.type = IO_CONSOLE_PTY});
	attach(f);
	guest_print(f, "unread");
	io_console_detach(f->con);
	io_console_end(f->con);
	assert_non_null(io_console_tty(f->con));
	turn(f, 1200);
	assert_null(io_console_tty(f->con)); /* waited a second, not for ever */
}

/* --- unix and tcp ----------------------------------------------------------------------------- */

static int unix_connect(const char *path)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	strcpy(un.sun_path, path);
	if (connect(fd, (struct sockaddr *)&un, sizeof(un)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static void test_unix_listener(void **state)
{
	struct fixture *f = *state;
	char path[128], buf[8];
	struct stat st;

	snprintf(path, sizeof(path), "%s/sock", f->dir);
	open_console(f, &(struct io_console_config){
				.type = IO_CONSOLE_UNIX, .path = path, .listen = true});
	attach(f);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	guest_print(f, "before ");
	int fd = unix_connect(path);
	assert_true(fd >= 0);
	turn(f, 2);
	guest_print(f, "after");
	expect_output(f, fd, "before after");
	assert_int_equal(write(fd, "in", 2), 2);
	expect_input(f, "in");
	/* One client at a time. */
	int second = unix_connect(path);
	turn(f, 2);
	assert_int_equal(read(second, buf, sizeof(buf)), 0);
	close(second);
	guest_print(f, "!");
	expect_output(f, fd, "!");
	/* Reconnect: what was printed meanwhile is not lost. */
	close(fd);
	turn(f, 2);
	guest_print(f, "alone ");
	fd = unix_connect(path);
	turn(f, 2);
	guest_print(f, "together");
	expect_output(f, fd, "alone together");
	/* At the end the client gets all, then end of file, and the name goes. */
	guest_put(f, "bye", 3);
	io_console_detach(f->con);
	io_console_end(f->con);
	expect_output(f, fd, "bye");
	assert_int_equal(read(fd, buf, sizeof(buf)), 0);
	close(fd);
	assert_int_equal(stat(path, &st), -1);
}

static void test_unix_client_that_does_not_read(void **state)
{
	struct fixture *f = *state;
	char path[128];

	snprintf(path, sizeof(path), "%s/sock", f->dir);
	open_console(f, &(struct io_console_config){
				.type = IO_CONSOLE_UNIX, .path = path, .listen = true});
	attach(f);
	int fd = unix_connect(path);
	turn(f, 2);
	assert_int_equal(guest_flood(f, 0, 2 << 20, 2000), 2 << 20);
	close(fd);
}

static void test_unix_stale_socket_is_replaced_a_live_one_not(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int dead = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(un.sun_path, sizeof(un.sun_path), "%s/sock", f->dir);
	assert_int_equal(bind(dead, (struct sockaddr *)&un, sizeof(un)), 0);
	assert_int_equal(listen(dead, 1), 0);
	struct io_console_config cfg = {
		.type = IO_CONSOLE_UNIX, .path = un.sun_path, .listen = true};
	open_console(f, &cfg);
	assert_int_equal(io_console_attach(f->con, f->guest, f->ring, PORT), PVV_ESYS);
	assert_int_equal(pvv_error_get_os_errno(pvv_error_last()), EADDRINUSE);
	close(dead);
	attach(f);
	int fd = unix_connect(un.sun_path);
	assert_true(fd >= 0);
	close(fd);
}

static void test_unix_name_too_long(void **state)
{
	struct fixture *f = *state;
	char path[256];

	memset(path, 'x', sizeof(path));
	path[0] = '/';
	path[200] = '\0';
	open_console(f, &(struct io_console_config){
				.type = IO_CONSOLE_UNIX, .path = path, .listen = true});
	assert_int_equal(io_console_attach(f->con, f->guest, f->ring, PORT), PVV_EINVAL);
}

static void test_unix_connects_and_reconnects(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(un.sun_path, sizeof(un.sun_path), "%s/srv", f->dir);
	open_console(f, &(struct io_console_config){.type = IO_CONSOLE_UNIX, .path = un.sun_path});
	assert_int_equal(io_console_attach(f->con, f->guest, f->ring, PORT), PVV_ESYS);
	assert_int_equal(bind(server, (struct sockaddr *)&un, sizeof(un)), 0);
	assert_int_equal(listen(server, 1), 0);
	attach(f);
	int fd = accept(server, NULL, NULL);
	assert_true(fd >= 0);
	guest_print(f, "one ");
	expect_output(f, fd, "one ");
	close(fd);
	turn(f, 5);
	guest_print(f, "two");
	turn(f, 1100);
	fd = accept(server, NULL, NULL);
	assert_true(fd >= 0);
	expect_output(f, fd, "two");
	close(fd);
	close(server);
}

static void test_tcp_listener(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(in);
	char service[8];

	/* A free port of the moment. */
	int probe = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(probe, (struct sockaddr *)&in, len), 0);
	assert_int_equal(getsockname(probe, (struct sockaddr *)&in, &len), 0);
	close(probe);
	snprintf(service, sizeof(service), "%u", ntohs(in.sin_port));
	open_console(f, &(struct io_console_config){.type = IO_CONSOLE_TCP,
						    .host = "127.0.0.1",
						    .service = service,
						    .listen = true});
	attach(f);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&in, len), 0);
	turn(f, 5);
	guest_print(f, "over tcp");
	expect_output(f, fd, "over tcp");
	assert_int_equal(write(fd, "in", 2), 2);
	expect_input(f, "in");
	/* Gone without a hang-up event: the next one takes its place. */
	close(fd);
	turn(f, 5);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&in, len), 0);
	turn(f, 5);
	guest_print(f, "again");
	expect_output(f, fd, "again");
	close(fd);
}

static void test_tcp_names_are_not_looked_up(void **state)
{
	struct fixture *f = *state;

	open_console(f, &(struct io_console_config){.type = IO_CONSOLE_TCP,
						    .host = "localhost",
						    .service = "1",
						    .listen = true});
	assert_int_equal(io_console_attach(f->con, f->guest, f->ring, PORT), PVV_EINVAL);
}

/* --- a caller's descriptor -------------------------------------------------------------------- */

static void test_fd_pipe_keeps_its_flags_and_makes_the_guest_wait(void **state)
{
	struct fixture *f = *state;
	char *buf = malloc(1 << 20);
	size_t n = 0;
	int p[2];

	assert_non_null(buf);
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	open_console(f, &(struct io_console_config){.type = IO_CONSOLE_FD, .fd = p[1]});
	attach(f);
	size_t took = guest_flood(f, 0, 1 << 20, 200);
	assert_true(took < 1 << 18);
	assert_false(fcntl(p[1], F_GETFL) & O_NONBLOCK);
	size_t printed = took;
	while (n < 600000) {
		ssize_t r = read_now(p[0], buf + n, (1 << 20) - n);

		if (r > 0)
			n += (size_t)r;
		turn(f, 1);
		printed += guest_flood(f, printed, 65536, 0);
	}
	expect_sequence(buf, n, 0);
	/* The reader goes: the guest runs free. */
	close(p[0]);
	turn(f, 5);
	assert_int_equal(guest_flood(f, printed, 1 << 18, 200), 1 << 18);
	close(p[1]);
	free(buf);
}

static void test_fd_socket_both_ways(void **state)
{
	struct fixture *f = *state;
	int s[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s), 0);
	open_console(f, &(struct io_console_config){.type = IO_CONSOLE_FD, .fd = s[1]});
	close(s[1]); /* it has its own */
	attach(f);
	guest_print(f, "out");
	expect_output(f, s[0], "out");
	assert_int_equal(write(s[0], "in", 2), 2);
	expect_input(f, "in");
	close(s[0]);
}

static void test_fd_read_only_gives_input_only(void **state)
{
	struct fixture *f = *state;
	int p[2];

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	open_console(f, &(struct io_console_config){.type = IO_CONSOLE_FD, .fd = p[0]});
	attach(f);
	assert_int_equal(guest_flood(f, 0, 1 << 18, 0), 1 << 18);
	assert_int_equal(write(p[1], "typed", 5), 5);
	close(p[1]);
	expect_input(f, "typed");
	close(p[0]);
}

static void test_fd_regular_file_and_dev_null(void **state)
{
	struct fixture *f = *state;
	char path[128];
	size_t len;

	snprintf(path, sizeof(path), "%s/plain", f->dir);
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	open_console(f, &(struct io_console_config){.type = IO_CONSOLE_FD, .fd = fd});
	attach(f);
	assert_int_equal(guest_flood(f, 0, 100000, 0), 100000);
	io_console_free(f->con);
	close(fd);
	char *text = slurp(path, &len);
	assert_int_equal(len, 100000);
	expect_sequence(text, len, 0);
	free(text);
	memset(f->ring, 0, sizeof(*f->ring));
	fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	open_console(f, &(struct io_console_config){.type = IO_CONSOLE_FD, .fd = fd});
	attach(f);
	assert_int_equal(guest_flood(f, 0, 100000, 0), 100000);
	close(fd);
}

static void test_fd_that_is_not_open(void **state)
{
	struct fixture *f = *state;
	struct io_console_config cfg = {.type = IO_CONSOLE_FD, .fd = 987};

	assert_int_equal(io_console_new(f->loop, &cfg, "x", &f->con), PVV_EINVAL);
	f->con = NULL;
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

static int count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void test_no_descriptor_is_left(void **state)
{
	struct fixture *f = *state;
	char path[128], log[128];
	int before = count_fds();

	snprintf(path, sizeof(path), "%s/x", f->dir);
	snprintf(log, sizeof(log), "%s/log", f->dir);
	for (int type = IO_CONSOLE_NULL; type <= IO_CONSOLE_FD; type++) {
		struct io_console_config cfg = {.type = (enum io_console_type)type,
						.path = path,
						.listen = true,
						.host = "127.0.0.1",
						.service = "0",
						.log_file = log,
						.fd = 1};
		int fd;

		open_console(f, &cfg);
		attach(f);
		assert_int_equal(io_console_open(f->con, &fd), 0);
		guest_print(f, "");
		io_console_free(f->con);
		f->con = NULL;
		close(fd);
		unlink(path);
		assert_int_equal(count_fds(), before);
	}
}

#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_null_never_blocks_and_counts),
		T(test_file_and_log_have_every_byte),
		T(test_append_and_truncate),
		T(test_file_that_cannot_be_opened),
		T(test_full_file_loses_output_only),
		T(test_fifo_without_reader_fails_at_once),
		T(test_stream_both_ways),
		T(test_input_before_the_start_is_kept),
		T(test_input_of_one_who_left_is_kept),
		T(test_late_opener_gets_the_beginning),
		T(test_scrollback_is_the_last_64_kib),
		T(test_one_stream_at_a_time),
		T(test_slow_stream_makes_the_guest_wait),
		T(test_stream_ends_after_the_last_byte),
		T(test_reboot_keeps_the_stream),
		T(test_next_run_starts_with_an_empty_scrollback),
		T(test_input_waits_for_the_guest),
		T(test_half_closed_stream_still_reads),
		T(test_pty),
		T(test_pty_without_terminal_does_not_block),
		T(test_pty_last_bytes_reach_the_terminal),
		T(test_pty_nobody_reads_at_the_end),
		T(test_unix_listener),
		T(test_unix_client_that_does_not_read),
		T(test_unix_stale_socket_is_replaced_a_live_one_not),
		T(test_unix_name_too_long),
		T(test_unix_connects_and_reconnects),
		T(test_tcp_listener),
		T(test_tcp_names_are_not_looked_up),
		T(test_fd_pipe_keeps_its_flags_and_makes_the_guest_wait),
		T(test_fd_socket_both_ways),
		T(test_fd_read_only_gives_input_only),
		T(test_fd_regular_file_and_dev_null),
		T(test_fd_that_is_not_open),
		T(test_lying_indices),
		T(test_indices_wrap),
		T(test_random_indices),
		T(test_flood_is_rate_limited),
		T(test_attach_errors),
		T(test_no_descriptor_is_left),
	};

	return cmocka_run_group_tests_name("console", tests, NULL, NULL);
}
