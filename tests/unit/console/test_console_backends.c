/* SPDX-License-Identifier: MIT */
/* What a console can be connected to: files, terminals, sockets, a caller's descriptor. */
#include "console_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

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

/*
 * Pseudo terminals that this process has. (Whether a name is in /dev/pts says nothing: another
 * process may have made a terminal of the same number meanwhile.)
 */
static int masters(void)
{
	char path[64], target[64];
	int count = 0;

	for (int fd = 0; fd < 256; fd++) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		ssize_t n = readlink(path, target, sizeof(target) - 1);
		target[n > 0 ? n : 0] = '\0';
		count += strstr(target, "ptmx") != NULL;
	}
	return count;
}

static void test_pty_nobody_reads_at_the_end(void **state)
{
	struct fixture *f = *state;

	open_console(f, &(struct io_console_config){.type = IO_CONSOLE_PTY});
	attach(f);
	guest_print(f, "unread");
	io_console_detach(f->con);
	io_console_end(f->con);
	assert_null(io_console_tty(f->con)); /* nobody is to come any more */
	assert_int_equal(masters(), 1);
	turn(f, 1200);
	assert_int_equal(masters(), 0); /* waited a second, not for ever */
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_FIXTURE(test_null_never_blocks_and_counts),
		WITH_FIXTURE(test_file_and_log_have_every_byte),
		WITH_FIXTURE(test_append_and_truncate),
		WITH_FIXTURE(test_file_that_cannot_be_opened),
		WITH_FIXTURE(test_full_file_loses_output_only),
		WITH_FIXTURE(test_fifo_without_reader_fails_at_once),
		WITH_FIXTURE(test_pty),
		WITH_FIXTURE(test_pty_without_terminal_does_not_block),
		WITH_FIXTURE(test_pty_last_bytes_reach_the_terminal),
		WITH_FIXTURE(test_pty_nobody_reads_at_the_end),
		WITH_FIXTURE(test_unix_listener),
		WITH_FIXTURE(test_unix_client_that_does_not_read),
		WITH_FIXTURE(test_unix_stale_socket_is_replaced_a_live_one_not),
		WITH_FIXTURE(test_unix_name_too_long),
		WITH_FIXTURE(test_unix_connects_and_reconnects),
		WITH_FIXTURE(test_tcp_listener),
		WITH_FIXTURE(test_tcp_names_are_not_looked_up),
		WITH_FIXTURE(test_fd_pipe_keeps_its_flags_and_makes_the_guest_wait),
		WITH_FIXTURE(test_fd_socket_both_ways),
		WITH_FIXTURE(test_fd_read_only_gives_input_only),
		WITH_FIXTURE(test_fd_regular_file_and_dev_null),
		WITH_FIXTURE(test_fd_that_is_not_open),
		WITH_FIXTURE(test_no_descriptor_is_left),
	};

	return cmocka_run_group_tests_name("console back ends", tests, NULL, NULL);
}
