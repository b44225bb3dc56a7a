/* SPDX-License-Identifier: MIT */
/* What a console is connected to: opening it, clients that come and go, and closing it. */
#include "io/console/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "util/err.h"

#define RETRY_NS       1000000000ull /* between attempts to connect */
#define LINGER_NS      1000000000ull /* for a terminal to read the last bytes */
#define LINGER_STEP_NS 5000000ull

static struct con_sink *backend(struct io_console *con)
{
	return &con->sinks[CON_BACKEND];
}

static int fail(struct io_console *con, int e, const char *what, const char *path)
{
	return err_sys(PVV_ESYS, PVV_SUBSYS_CONSOLE, e, con->name, "cannot %s '%s' for the console",
		       what, path);
}

/* --- files ------------------------------------------------------------------------------------ */

static int open_file(struct io_console *con, const char *path, bool append, int *ret_fd)
{
	/* O_NONBLOCK: a FIFO without a reader fails now instead of blocking all domains. */
	int fd = open(path,
		      O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK |
			      (append ? O_APPEND : O_TRUNC),
		      0600);

	if (fd < 0)
		return fail(con, errno, "open", path);
	*ret_fd = fd;
	return PVV_OK;
}

static int open_output_file(struct io_console *con)
{
	struct stat st;
	int fd = -1, r = open_file(con, con->path, con->cfg.append, &fd);

	if (r < 0)
		return r;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
		con->file_fd = fd;
		return PVV_OK;
	}
	r = con_sink_set(backend(con), fd, true);
	if (r < 0)
		close(fd);
	return r;
}

/* --- pseudo terminals ------------------------------------------------------------------------- */

static int open_pty(struct io_console *con)
{
	struct termios tio;
	int e, master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (master < 0)
		return fail(con, errno, "open", "/dev/ptmx");
	if (grantpt(master) < 0 || unlockpt(master) < 0 ||
	    (errno = ptsname_r(master, con->tty, sizeof(con->tty))) != 0 ||
	    fcntl(master, F_SETFL, O_RDWR | O_NONBLOCK) < 0 ||
	    (con->slave_fd = open(con->tty, O_RDWR | O_NOCTTY | O_CLOEXEC)) < 0 ||
	    tcgetattr(con->slave_fd, &tio) < 0)
		goto failed;
	/*
	 * Raw, or the terminal would echo the guest's output as its input. We keep the slave open,
	 * so that this stays when terminals come and go, and the master does not hang up.
	 */
	cfmakeraw(&tio);
	if (tcsetattr(con->slave_fd, TCSANOW, &tio) < 0)
		goto failed;
	int r = con_sink_set(backend(con), master, true);
	if (r < 0)
		close(master);
	return r;
failed:
	e = errno;
	close(master);
	return fail(con, e, "make", "a pseudo terminal");
}

/* --- sockets ---------------------------------------------------------------------------------- */

union address {
	struct sockaddr sa;
	struct sockaddr_un un;
	struct sockaddr_storage any;
};

static int unix_address(struct io_console *con, union address *addr, socklen_t *ret_len)
{
	if (strlen(con->path) >= sizeof(addr->un.sun_path))
		return err_set(PVV_EINVAL, PVV_SUBSYS_CONSOLE, con->name,
			       "the console's socket name '%s' is longer than %zu bytes", con->path,
			       sizeof(addr->un.sun_path) - 1);
	addr->un.sun_family = AF_UNIX;
	strcpy(addr->un.sun_path, con->path);
	*ret_len = sizeof(addr->un);
	return PVV_OK;
}

/* Numbers only: looking up a name would block all domains. */
static int tcp_address(struct io_console *con, union address *addr, socklen_t *ret_len)
{
	struct addrinfo hints = {
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | (con->cfg.listen ? AI_PASSIVE : 0),
	};
	struct addrinfo *ai;
	int e = getaddrinfo(con->host ? con->host : "127.0.0.1", con->service ? con->service : "0",
			    &hints, &ai);

	if (e)
		return err_set(PVV_EINVAL, PVV_SUBSYS_CONSOLE, con->name,
			       "the console's address '%s' port '%s' is not numeric: %s",
			       con->host ? con->host : "", con->service ? con->service : "",
			       gai_strerror(e));
	memcpy(&addr->any, ai->ai_addr, ai->ai_addrlen);
	*ret_len = ai->ai_addrlen;
	freeaddrinfo(ai);
	return PVV_OK;
}

static int socket_address(struct io_console *con, union address *addr, socklen_t *ret_len)
{
	memset(addr, 0, sizeof(*addr));
	return con->cfg.type == IO_CONSOLE_UNIX ? unix_address(con, addr, ret_len)
						: tcp_address(con, addr, ret_len);
}

static const char *socket_name(const struct io_console *con)
{
	return con->cfg.type == IO_CONSOLE_UNIX ? con->path : con->service ? con->service : "";
}

static void on_client(void *opaque, uint32_t events)
{
	struct io_console *con = opaque;
	struct con_sink *sink = backend(con);
	int fd = accept4(con->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd < 0)
		return;
	if (sink->fd >= 0) {
		struct pollfd p = {.fd = sink->fd};

		/* One at a time, but a client that has gone does not keep the place. */
		if (sink->readable && !sink->leaving &&
		    !(poll(&p, 1, 0) == 1 && p.revents & (POLLHUP | POLLERR))) {
			close(fd);
			return;
		}
		con_sink_close(sink);
	}
	if (con_sink_set(sink, fd, true) < 0)
		close(fd);
}

/* A socket nobody answers at is a leftover of a process that died. */
static void unlink_stale(const union address *addr, socklen_t len)
{
	struct stat st;

	if (lstat(addr->un.sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
		return;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return;
	if (connect(fd, &addr->sa, len) < 0 && errno == ECONNREFUSED)
		unlink(addr->un.sun_path);
	close(fd);
}

static int open_listener(struct io_console *con)
{
	struct con_listener *l = &con->listener;
	union address addr;
	socklen_t len;
	int one = 1, r = socket_address(con, &addr, &len);

	if (r < 0)
		return r;
	l->fd = socket(addr.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (l->fd < 0)
		return fail(con, errno, "make a socket", socket_name(con));
	if (addr.sa.sa_family == AF_UNIX) {
		unlink_stale(&addr, len);
		fchmod(l->fd, 0600); /* what the name will get, whatever the umask */
	} else {
		setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	}
	if (bind(l->fd, &addr.sa, len) < 0)
		return fail(con, errno, "bind", socket_name(con));
	if (addr.sa.sa_family == AF_UNIX)
		l->bound_path = strdup(con->path);
	if (listen(l->fd, 4) < 0)
		return fail(con, errno, "listen at", socket_name(con));
	backend(con)->kept = true;
	return io_loop_add_fd(con->loop, l->fd, EPOLLIN, on_client, con, &l->reg);
}

static int connect_once(struct io_console *con)
{
	union address addr;
	socklen_t len;
	int r = socket_address(con, &addr, &len);

	if (r < 0)
		return r;
	int fd = socket(addr.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return fail(con, errno, "make a socket", socket_name(con));
	/* One that is in progress hangs up if it fails, and is tried again then. */
	if (connect(fd, &addr.sa, len) < 0 && errno != EINPROGRESS) {
		r = fail(con, errno, "connect to", socket_name(con));
		close(fd);
		return r;
	}
	r = con_sink_set(backend(con), fd, true);
	if (r < 0)
		close(fd);
	return r;
}

static void server_gone(struct con_sink *sink)
{
	struct io_console *con = sink->con;

	io_timer_set(con->loop, &con->listener.retry, io_now_ns() + RETRY_NS);
}

static void retry_connect(void *opaque)
{
	struct io_console *con = opaque;

	if (con->backend_open && connect_once(con) < 0)
		server_gone(backend(con));
}

static int open_client(struct io_console *con)
{
	backend(con)->kept = true;
	backend(con)->gone = server_gone;
	con->listener.retry = (struct io_timer){.fn = retry_connect, .opaque = con};
	return connect_once(con);
}

/* --- a caller's descriptor -------------------------------------------------------------------- */

/*
 * Its flags are shared with the caller, who may not expect O_NONBLOCK. Pipes and terminals can be
 * opened a second time; not the master of a pseudo terminal, that would make another one.
 */
static int reopen_nonblocking(int fd, int flags)
{
	struct stat st;
	unsigned int n;
	char path[64];

	if (fstat(fd, &st) < 0)
		return -1;
	if (!S_ISFIFO(st.st_mode) &&
	    !(S_ISCHR(st.st_mode) && isatty(fd) && ioctl(fd, TIOCGPTN, &n)))
		return -1;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, (flags & O_ACCMODE) | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
}

static int open_fd(struct io_console *con)
{
	int flags = fcntl(con->cfg.fd, F_GETFL);
	struct stat st;

	backend(con)->patient = true;
	if (fstat(con->cfg.fd, &st) == 0 && S_ISREG(st.st_mode)) {
		con->file_fd = fcntl(con->cfg.fd, F_DUPFD_CLOEXEC, 3);
		return con->file_fd < 0 ? fail(con, errno, "duplicate", "its descriptor") : PVV_OK;
	}
	int again = flags & O_NONBLOCK ? -1 : reopen_nonblocking(con->cfg.fd, flags);
	if (again < 0)
		return con_sink_set(backend(con), con->cfg.fd, false);
	int r = con_sink_set(backend(con), again, true);
	if (r < 0)
		close(again);
	return r;
}

/* --- opening and closing ---------------------------------------------------------------------- */

static int open_any(struct io_console *con)
{
	switch (con->cfg.type) {
	case IO_CONSOLE_NULL:
		return PVV_OK;
	case IO_CONSOLE_PTY:
		return open_pty(con);
	case IO_CONSOLE_FILE:
		return open_output_file(con);
	case IO_CONSOLE_UNIX:
	case IO_CONSOLE_TCP:
		return con->cfg.listen ? open_listener(con) : open_client(con);
	case IO_CONSOLE_FD:
		return open_fd(con);
	}
	return err_set(PVV_EINVAL, PVV_SUBSYS_CONSOLE, con->name, "%d is not a type of console",
		       (int)con->cfg.type);
}

int con_backend_open(struct io_console *con)
{
	io_timer_set(con->loop, &con->linger, 0);
	if (con->backend_open)
		return PVV_OK;
	backend(con)->gone = NULL;
	backend(con)->kept = backend(con)->patient = false;
	int r = PVV_OK;
	if (con->log_path)
		r = open_file(con, con->log_path, con->cfg.log_append, &con->log_fd);
	if (r == PVV_OK)
		r = open_any(con);
	con->backend_open = true;
	if (r < 0)
		con_backend_close(con);
	return r;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void con_backend_close(struct io_console *con)
{
	struct con_listener *l = &con->listener;

	if (!con->backend_open)
		return;
	con->backend_open = false;
	io_timer_set(con->loop, &con->linger, 0);
	io_timer_set(con->loop, &l->retry, 0);
	backend(con)->kept = false;
	con_sink_close(backend(con));
	con_buffer_free(&backend(con)->pending);
	if (l->reg)
		io_loop_del_fd(con->loop, l->reg);
	l->reg = NULL;
	close_fd(&l->fd);
	if (l->bound_path)
		unlink(l->bound_path);
	free(l->bound_path);
	l->bound_path = NULL;
	close_fd(&con->slave_fd);
	con->tty[0] = '\0';
	close_fd(&con->file_fd);
	close_fd(&con->log_fd);
}

/* Whether somebody may still read what we have for them. Closing a master discards it. */
static bool unread(struct io_console *con)
{
	struct pollfd slave = {.fd = con->slave_fd, .events = POLLIN};
	int n = 0;

	if (backend(con)->fd >= 0 && backend(con)->pending.len)
		return true;
	/*
	 * What was written to a master is brought to its slave by a worker of the kernel, whenever
	 * that gets to it. poll() waits for the worker, FIONREAD counts only what has arrived.
	 */
	(void)poll(&slave, 1, 0);
	return con->slave_fd >= 0 && ioctl(con->slave_fd, FIONREAD, &n) == 0 && n > 0;
}

static void linger(void *opaque)
{
	struct io_console *con = opaque;
	uint64_t now = io_now_ns();

	if (!unread(con) || now >= con->linger_until)
		con_backend_close(con);
	else
		io_timer_set(con->loop, &con->linger, now + LINGER_STEP_NS);
}

void con_backend_end(struct io_console *con)
{
	if (!con->backend_open || con->linger.deadline_ns)
		return;
	if (backend(con)->fd >= 0)
		con_sink_flush(backend(con));
	con->linger = (struct io_timer){.fn = linger, .opaque = con};
	con->linger_until = io_now_ns() + LINGER_NS;
	/* What was written to a master reaches its slave a moment later. */
	if (con->slave_fd >= 0)
		io_timer_set(con->loop, &con->linger, io_now_ns() + LINGER_STEP_NS);
	else
		linger(con);
}
