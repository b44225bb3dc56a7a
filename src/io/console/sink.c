/* SPDX-License-Identifier: MIT */
/*
 * A reader of the console that may be slow, absent, or hang up at any time. Output that it does not
 * take at once is kept, up to a buffer's length. Input is read only when the guest has room for it,
 * so that the writer feels the guest's pace.
 */
#include "io/console/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Kept output above which the guest waits; leaves room for a whole ring at its end. */
#define HIGH_WATER    32768u
/* What a pipe that polls writable takes without blocking. */
#define CAREFUL_WRITE 512u

static void lose_patience(void *opaque)
{
	struct con_sink *sink = opaque;

	sink->dropping = true;
	con_kick(sink->con);
}

void con_sink_init(struct con_sink *sink, struct io_console *con)
{
	*sink = (struct con_sink){.con = con, .fd = -1};
	sink->patience = (struct io_timer){.fn = lose_patience, .opaque = sink};
}

/* --- output ----------------------------------------------------------------------------------- */

static bool would_block(const struct con_sink *sink)
{
	struct pollfd p = {.fd = sink->fd, .events = POLLOUT};

	return poll(&p, 1, 0) != 1 || !(p.revents & (POLLOUT | POLLERR | POLLHUP));
}

/*
 * The reader of a pipe may be gone. The I/O thread blocks SIGPIPE, but a console may also be ended
 * on a thread of the embedder, which must not be killed for it.
 */
static ssize_t write_pipe(int fd, const char *data, size_t len)
{
	struct timespec now = {0};
	sigset_t pipe_only, old, pending;

	sigemptyset(&pipe_only);
	sigaddset(&pipe_only, SIGPIPE);
	sigpending(&pending);
	pthread_sigmask(SIG_BLOCK, &pipe_only, &old);
	ssize_t n = write(fd, data, len);
	int e = errno;
	if (n < 0 && e == EPIPE && !sigismember(&pending, SIGPIPE))
		sigtimedwait(&pipe_only, NULL, &now);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	errno = e;
	return n;
}

static ssize_t write_some(struct con_sink *sink, const char *data, size_t len)
{
	ssize_t n;

	if (sink->careful) {
		if (would_block(sink)) {
			errno = EAGAIN;
			return -1;
		}
		if (len > CAREFUL_WRITE)
			len = CAREFUL_WRITE;
	}
	do {
		n = sink->socket ? send(sink->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL)
		    : sink->pipe ? write_pipe(sink->fd, data, len)
				 : write(sink->fd, data, len);
	} while (n < 0 && errno == EINTR);
	return n;
}

static void hang_up(struct con_sink *sink)
{
	con_sink_close(sink);
	if (sink->gone)
		sink->gone(sink);
	/* It may have been the one the guest waited for. */
	con_kick(sink->con);
}

bool con_sink_flush(struct con_sink *sink)
{
	const char *data;
	bool progress = false;

	while (sink->pending.len && sink->fd >= 0 && sink->writable) {
		size_t len = con_buffer_peek(&sink->pending, &data);
		ssize_t n = write_some(sink, data, len);

		if (n <= 0) {
			if (n < 0 && errno != EAGAIN)
				hang_up(sink);
			break;
		}
		con_buffer_consume(&sink->pending, (size_t)n);
		progress = true;
	}
	if (progress) {
		sink->dropping = false;
		io_timer_set(sink->con->loop, &sink->patience, 0);
		if (!con_sink_stalls(sink))
			con_kick(sink->con);
	}
	return sink->pending.len == 0;
}

void con_sink_write(struct con_sink *sink, const char *data, size_t len)
{
	if (!sink->kept && (sink->fd < 0 || !sink->writable))
		return;
	con_buffer_append(&sink->pending, data, len);
	con_sink_flush(sink);
	con_sink_arm(sink);
}

bool con_sink_stalls(const struct con_sink *sink)
{
	return sink->fd >= 0 && sink->writable && sink->pending.len >= HIGH_WATER &&
	       !sink->dropping;
}

/* --- input ------------------------------------------------------------------------------------ */

static void read_some(struct con_sink *sink)
{
	char buf[1024];
	uint32_t room = con_input_room(sink->con);
	ssize_t n;

	if (room > sizeof(buf))
		room = sizeof(buf);
	if (!room || !sink->readable)
		return;
	do {
		n = sink->socket ? recv(sink->fd, buf, room, MSG_DONTWAIT)
				 : read(sink->fd, buf, room);
	} while (n < 0 && errno == EINTR);
	if (n > 0)
		con_input(sink->con, buf, (uint32_t)n);
	else if (n == 0)
		sink->readable = false; /* it may still want to read */
	else if (errno != EAGAIN)
		hang_up(sink);
}

static bool unread_input(const struct con_sink *sink)
{
	int n = 0;

	return sink->readable && ioctl(sink->fd, FIONREAD, &n) == 0 && n > 0;
}

static void on_events(void *opaque, uint32_t events)
{
	struct con_sink *sink = opaque;

	if (events & EPOLLIN)
		read_some(sink);
	if (sink->fd >= 0 && events & EPOLLOUT)
		con_sink_flush(sink);
	if (sink->fd >= 0 && events & (EPOLLHUP | EPOLLERR)) {
		/* Its last words count, if the guest has no room for them yet. */
		sink->leaving = unread_input(sink);
		sink->writable = false;
		if (!sink->kept)
			con_buffer_free(&sink->pending);
		if (!sink->leaving)
			hang_up(sink);
	}
	con_sink_arm(sink);
}

void con_sink_arm(struct con_sink *sink)
{
	struct io_console *con = sink->con;
	uint32_t events = 0;

	if (sink->fd < 0)
		return;
	if (sink->readable && con_input_room(con))
		events |= EPOLLIN;
	if (sink->pending.len && sink->writable)
		events |= EPOLLOUT;
	/* An idle socket is watched for its hang-up alone: reported whatever the mask, once. */
	if (!events && sink->socket && !sink->leaving)
		events = EPOLLET;
	if (sink->reg)
		io_loop_mod_fd(con->loop, sink->reg, events);
	/* The guest waits: how long is known from when it began. */
	if (!sink->patient && con_sink_stalls(sink) && !sink->patience.deadline_ns)
		io_timer_set(con->loop, &sink->patience,
			     io_now_ns() + IO_CONSOLE_PATIENCE_MS * 1000000ull);
}

/* --- coming and going ------------------------------------------------------------------------- */

int con_sink_set(struct con_sink *sink, int fd, bool own)
{
	struct stat st;
	int flags = fcntl(fd, F_GETFL);
	int r = io_loop_add_fd(sink->con->loop, fd, 0, on_events, sink, &sink->reg);

	if (r < 0)
		return r;
	sink->fd = fd;
	sink->owns_fd = own;
	sink->readable = (flags & O_ACCMODE) != O_WRONLY;
	sink->writable = (flags & O_ACCMODE) != O_RDONLY;
	sink->socket = fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
	sink->pipe = fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode);
	sink->careful = !sink->socket && !(flags & O_NONBLOCK);
	sink->dropping = sink->leaving = false;
	con_sink_flush(sink);
	con_sink_arm(sink);
	return 0;
}

void con_sink_close(struct con_sink *sink)
{
	char buf[1024];

	if (sink->reg)
		io_loop_del_fd(sink->con->loop, sink->reg);
	sink->reg = NULL;
	if (sink->fd >= 0 && sink->socket) {
		/* Unread input would turn the other side's end of file into a reset connection. */
		shutdown(sink->fd, SHUT_RDWR);
		for (int i = 0; i < 1024 && recv(sink->fd, buf, sizeof(buf), MSG_DONTWAIT) > 0; i++)
			;
	}
	if (sink->fd >= 0 && sink->owns_fd)
		close(sink->fd);
	sink->fd = -1;
	io_timer_set(sink->con->loop, &sink->patience, 0);
	if (!sink->kept)
		con_buffer_free(&sink->pending);
}

void con_sink_free(struct con_sink *sink)
{
	con_sink_close(sink);
	con_buffer_free(&sink->pending);
}
