/* SPDX-License-Identifier: MIT */
/*
 * The console ring and its life. The ring is hostile: we keep our own two indices, read the guest's
 * two once per use, and take no more than a ring's length on their word.
 */
#include "io/console/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/err.h"

/* Taken in one go, before the loop's other users get their turn. */
#define SERVICE_BATCH 8192u
#define WINDOW_NS     10000000ull

static uint32_t load(const uint32_t *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static void store_release(uint32_t *p, uint32_t v)
{
	__atomic_store_n(p, v, __ATOMIC_RELEASE);
}

/* --- output ----------------------------------------------------------------------------------- */

static void write_file(int fd, const char *data, size_t len)
{
	while (len && fd >= 0) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		/* A full disk must not stop the guest; what does not fit is lost. */
		if (n <= 0)
			return;
		data += n;
		len -= (size_t)n;
	}
}

static void distribute(struct io_console *con, const char *data, size_t len)
{
	con_buffer_append(&con->scrollback, data, len);
	write_file(con->log_fd, data, len);
	write_file(con->file_fd, data, len);
	for (int i = 0; i < CON_SINKS; i++)
		con_sink_write(&con->sinks[i], data, len);
}

/* Take a part of the ring; 0 if it is empty, or if the guest has broken it. */
static uint32_t take(struct io_console *con)
{
	struct xencons_interface *ring = con->ring;
	char buf[sizeof(ring->out)];
	uint32_t len = load(&ring->out_prod) - con->out_cons;

	if (len == 0 || len > sizeof(ring->out))
		return 0;
	uint32_t at = MASK_XENCONS_IDX(con->out_cons, ring->out);
	uint32_t first = (uint32_t)sizeof(ring->out) - at;
	if (first > len)
		first = len;
	memcpy(buf, ring->out + at, first);
	memcpy(buf + first, ring->out, len - first);
	con->out_cons += len;
	io_page_written(con->guest, ring);
	io_pages_settle(con->guest);
	store_release(&ring->out_cons, con->out_cons);
	atomic_fetch_add_explicit(&con->out_bytes, len, memory_order_relaxed);
	distribute(con, buf, len);
	return len;
}

/* Whether the guest has printed its share of this window; the timer goes on then. */
static bool flooding(struct io_console *con)
{
	uint64_t now = io_now_ns();

	if (now - con->window_start >= WINDOW_NS) {
		con->window_start = now;
		con->window_bytes = 0;
	}
	if (con->window_bytes < IO_CONSOLE_RATE / (1000000000ull / WINDOW_NS))
		return false;
	io_timer_set(con->loop, &con->window, con->window_start + WINDOW_NS);
	return true;
}

static bool stalled(const struct io_console *con)
{
	for (int i = 0; i < CON_SINKS; i++)
		if (con_sink_stalls(&con->sinks[i]))
			return true;
	return false;
}

static void service(void *opaque)
{
	struct io_console *con = opaque;
	uint32_t total = 0, n = 0;

	if (!con->guest)
		return;
	if (con->window.deadline_ns == 0 && !flooding(con)) {
		while (total < SERVICE_BATCH && !stalled(con) && (n = take(con)))
			total += n;
		con->window_bytes += total;
	}
	/* The guest may have taken input, too. */
	for (int i = 0; i < CON_SINKS; i++)
		con_sink_arm(&con->sinks[i]);
	if (total)
		io_event_send(con->guest, con->port);
	if (total >= SERVICE_BATCH)
		con_kick(con);
}

void con_kick(struct io_console *con)
{
	if (con->guest)
		io_loop_post(con->loop, &con->work);
}

/* --- input ------------------------------------------------------------------------------------ */

uint32_t con_input_room(struct io_console *con)
{
	if (!con->guest)
		return 0;
	uint32_t used = con->in_prod - load(&con->ring->in_cons);
	/* A guest that lies about what it has read gets nothing more. */
	return used > sizeof(con->ring->in) ? 0 : (uint32_t)sizeof(con->ring->in) - used;
}

void con_input(struct io_console *con, const char *data, uint32_t len)
{
	struct xencons_interface *ring = con->ring;

	for (uint32_t i = 0; i < len; i++)
		ring->in[MASK_XENCONS_IDX(con->in_prod + i, ring->in)] = data[i];
	con->in_prod += len;
	io_page_written(con->guest, ring);
	io_pages_settle(con->guest);
	store_release(&ring->in_prod, con->in_prod);
	atomic_fetch_add_explicit(&con->in_bytes, len, memory_order_relaxed);
	io_event_send(con->guest, con->port);
}

/* --- making and ending ------------------------------------------------------------------------ */

static bool copy_string(char **dst, const char *src)
{
	return !src || (*dst = strdup(src));
}

static void free_strings(struct io_console *con)
{
	free(con->name);
	free(con->path);
	free(con->host);
	free(con->service);
	free(con->log_path);
	free(con);
}

int io_console_new(struct io_loop *loop, const struct io_console_config *cfg, const char *name,
		   struct io_console **ret_con)
{
	struct io_console *con = calloc(1, sizeof(*con));

	if (!con)
		return err_nomem(PVV_SUBSYS_CONSOLE, "making a console");
	con->loop = loop;
	con->cfg = *cfg;
	con->file_fd = con->log_fd = con->slave_fd = con->listener.fd = con->cfg.fd = -1;
	con->work = (struct io_work){.fn = service, .opaque = con};
	con->window = (struct io_timer){.fn = service, .opaque = con};
	for (int i = 0; i < CON_SINKS; i++)
		con_sink_init(&con->sinks[i], con);
	con->sinks[CON_STREAM].patient = true;
	if (!copy_string(&con->name, name) || !copy_string(&con->path, cfg->path) ||
	    !copy_string(&con->host, cfg->host) || !copy_string(&con->service, cfg->service) ||
	    !copy_string(&con->log_path, cfg->log_file)) {
		free_strings(con);
		return err_nomem(PVV_SUBSYS_CONSOLE, "making a console");
	}
	if (cfg->type == IO_CONSOLE_FD) {
		con->cfg.fd = fcntl(cfg->fd, F_DUPFD_CLOEXEC, 3);
		if (con->cfg.fd < 0) {
			int e = errno;

			free_strings(con);
			return err_sys(e == EBADF ? PVV_EINVAL : PVV_ESYS, PVV_SUBSYS_CONSOLE, e,
				       name, "cannot use file descriptor %d as a console", cfg->fd);
		}
	}
	*ret_con = con;
	return PVV_OK;
}

void io_console_free(struct io_console *con)
{
	if (!con)
		return;
	io_console_detach(con);
	io_console_end(con);
	con_backend_close(con);
	for (int i = 0; i < CON_SINKS; i++)
		con_sink_free(&con->sinks[i]);
	con_buffer_free(&con->scrollback);
	io_loop_cancel(con->loop, &con->work);
	io_timer_set(con->loop, &con->window, 0);
	if (con->cfg.fd >= 0)
		close(con->cfg.fd);
	free_strings(con);
}

int io_console_attach(struct io_console *con, struct io_guest *guest, void *ring_page,
		      uint32_t port)
{
	if (con->guest)
		return err_set(PVV_EBUSY, PVV_SUBSYS_CONSOLE, con->name,
			       "the console is attached to a guest already");
	int r = con_backend_open(con);
	if (r < 0)
		return r;
	r = io_event_bind(guest, port, service, con);
	if (r < 0) {
		con_backend_end(con);
		return r;
	}
	con->guest = guest;
	con->ring = ring_page;
	con->port = port;
	atomic_store_explicit(&con->out_bytes, 0, memory_order_relaxed);
	atomic_store_explicit(&con->in_bytes, 0, memory_order_relaxed);
	/* Zero in a new page; the state of the stream in a restored one. */
	con->out_cons = load(&con->ring->out_cons);
	con->in_prod = load(&con->ring->in_prod);
	if (con->fresh)
		con_buffer_free(&con->scrollback);
	con->fresh = false;
	con_kick(con);
	return PVV_OK;
}

void io_console_detach(struct io_console *con)
{
	if (!con->guest)
		return;
	io_event_unbind(con->guest, con->port);
	/* Twice: a ring's end and its beginning. The readers keep room for that. */
	if (take(con))
		take(con);
	con->guest = NULL;
	con->ring = NULL;
	io_loop_cancel(con->loop, &con->work);
	io_timer_set(con->loop, &con->window, 0);
	for (int i = 0; i < CON_SINKS; i++)
		con_sink_arm(&con->sinks[i]);
}

/* --- the embedder's stream -------------------------------------------------------------------- */

static bool hung_up(int fd)
{
	struct pollfd p = {.fd = fd};

	return poll(&p, 1, 0) == 1 && (p.revents & (POLLHUP | POLLERR));
}

int io_console_open(struct io_console *con, int *ret_fd)
{
	struct con_sink *stream = &con->sinks[CON_STREAM];
	const char *data;
	int fds[2];

	if (stream->fd >= 0 && !hung_up(stream->fd))
		return err_set(PVV_EBUSY, PVV_SUBSYS_CONSOLE, con->name,
			       "the console is open already; close that descriptor first");
	con_sink_close(stream);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return err_sys(PVV_ESYS, PVV_SUBSYS_CONSOLE, errno, con->name,
			       "cannot make a socket pair for the console");
	/* Both parts of the circular buffer; it is all the room the stream has. */
	struct con_buffer copy = con->scrollback;
	while (copy.len) {
		size_t len = con_buffer_peek(&copy, &data);

		con_buffer_append(&stream->pending, data, len);
		con_buffer_consume(&copy, len);
	}
	int r = con_sink_set(stream, fds[0], true);
	if (r < 0) {
		close(fds[0]);
		close(fds[1]);
		con_buffer_free(&stream->pending);
		return r;
	}
	*ret_fd = fds[1];
	return PVV_OK;
}

/* The other side may read later: all goes into the kernel's buffer now. */
static void end_stream(struct con_sink *stream)
{
	/* The default buffer may be full; the largest one is twice that, more than is pending. */
	int size = 1 << 20;

	if (stream->fd < 0)
		return;
	if (!con_sink_flush(stream) && stream->fd >= 0) {
		setsockopt(stream->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
		con_sink_flush(stream);
	}
	con_sink_close(stream);
}

void io_console_end(struct io_console *con)
{
	struct con_sink *stream = &con->sinks[CON_STREAM];

	/* Someone has seen it all: nobody who opens it for the next run wants it again. */
	if (stream->fd >= 0)
		con_buffer_free(&con->scrollback);
	con->fresh = true;
	end_stream(stream);
	con_backend_end(con);
}

/* --- questions -------------------------------------------------------------------------------- */

const char *io_console_tty(const struct io_console *con)
{
	/* At its end it lingers for those who have it open, and is nobody else's any more. */
	return con->tty[0] && !con->linger.deadline_ns ? con->tty : NULL;
}

void io_console_counters(const struct io_console *con, uint64_t *ret_out, uint64_t *ret_in)
{
	*ret_out = atomic_load_explicit(&con->out_bytes, memory_order_relaxed);
	*ret_in = atomic_load_explicit(&con->in_bytes, memory_order_relaxed);
}
