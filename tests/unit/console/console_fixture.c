/* SPDX-License-Identifier: MIT */
#include "console_fixture.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void pump(struct fixture *f)
{
	io_loop_quit(f->loop);
	io_loop_run(f->loop);
}

/* Descriptors are not looked at by a loop that quits at once: let it turn a few times. */
static void quit_loop(void *opaque)
{
	io_loop_quit(opaque);
}

void turn(struct fixture *f, unsigned int ms)
{
	struct io_timer t = {.fn = quit_loop, .opaque = f->loop};

	io_timer_set(f->loop, &t, io_now_ns() + ms * 1000000ull);
	io_loop_run(f->loop);
	io_timer_set(f->loop, &t, 0);
}

int setup(void **state)
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

int teardown(void **state)
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

void open_console(struct fixture *f, const struct io_console_config *cfg)
{
	assert_int_equal(io_console_new(f->loop, cfg, "guest9", &f->con), 0);
}

void attach(struct fixture *f)
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
size_t guest_put(struct fixture *f, const char *data, size_t len)
{
	size_t n = 0;

	while (n < len && ring_room(f)) {
		f->ring->out[MASK_XENCONS_IDX(f->ring->out_prod, f->ring->out)] = data[n++];
		f->ring->out_prod++;
	}
	fake_raise(f->guest, PORT);
	return n;
}

void guest_print(struct fixture *f, const char *text)
{
	assert_int_equal(guest_put(f, text, strlen(text)), strlen(text));
	pump(f);
}

/* Prints `len` bytes of a known sequence from `from`; the number that the back end took. */
size_t guest_flood(struct fixture *f, size_t from, size_t len, unsigned int patience)
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

size_t guest_get(struct fixture *f, char *buf, size_t size)
{
	size_t n = 0;

	while (n < size && f->ring->in_cons != f->ring->in_prod) {
		buf[n++] = f->ring->in[MASK_XENCONS_IDX(f->ring->in_cons, f->ring->in)];
		f->ring->in_cons++;
	}
	fake_raise(f->guest, PORT);
	return n;
}

void expect_input(struct fixture *f, const char *want)
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

ssize_t read_now(int fd, void *buf, size_t size)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	if (poll(&p, 1, 0) != 1)
		return -1;
	return read(fd, buf, size);
}

void expect_output(struct fixture *f, int fd, const char *want)
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

void expect_sequence(const char *buf, size_t len, size_t from)
{
	for (size_t i = 0; i < len; i++)
		if (buf[i] != (char)('a' + (from + i) % 23))
			fail_msg("byte %zu is wrong", i);
}

char *slurp(const char *path, size_t *ret_len)
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
