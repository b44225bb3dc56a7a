/* SPDX-License-Identifier: MIT */
#ifndef PVV_IO_CONSOLE_INTERNAL_H
#define PVV_IO_CONSOLE_INTERNAL_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <xen/io/console.h>

#include "io/console/console.h"

/* --- buffer.c: the last IO_CONSOLE_BUFFER bytes of a stream ------------------------------------
 */

struct con_buffer {
	char *data; /* allocated with the first byte */
	size_t head, len;
};

/* The oldest bytes give way; without memory the new ones are lost. */
void con_buffer_append(struct con_buffer *b, const char *data, size_t len);
/* The first contiguous part. */
size_t con_buffer_peek(const struct con_buffer *b, const char **ret_data);
void con_buffer_consume(struct con_buffer *b, size_t len);
void con_buffer_free(struct con_buffer *b);

/* --- sink.c: a descriptor that takes output and gives input, without ever blocking -------------
 */

struct con_sink {
	struct io_console *con;
	int fd; /* -1: nobody there; output is kept for whoever comes */
	bool owns_fd;
	bool readable, writable; /* what the descriptor is good for */
	bool socket, pipe;
	bool careful;  /* the descriptor may block: ask before each small write */
	bool patient;  /* may make the guest wait for ever */
	bool kept;     /* output is kept while nobody is there */
	bool dropping; /* lost patience with it */
	bool leaving;  /* has hung up, but what it said has not been read */
	struct io_fd *reg;
	struct io_timer patience;
	struct con_buffer pending;
	void (*gone)(struct con_sink *sink); /* the other side has hung up; the fd is closed */
};

void con_sink_init(struct con_sink *sink, struct io_console *con);
int con_sink_set(struct con_sink *sink, int fd, bool own);
void con_sink_close(struct con_sink *sink);
void con_sink_free(struct con_sink *sink);
void con_sink_write(struct con_sink *sink, const char *data, size_t len);
/* Whether the ring must wait for it. */
bool con_sink_stalls(const struct con_sink *sink);
/* Push out what it takes; returns false if something is left. */
bool con_sink_flush(struct con_sink *sink);
/* Wait for the right events after anything changed. */
void con_sink_arm(struct con_sink *sink);

/* --- backend.c -------------------------------------------------------------------------------- */

struct con_listener {
	int fd;
	struct io_fd *reg;
	struct io_timer retry; /* of a connection to be made */
	char *bound_path;      /* to be unlinked */
};

int con_backend_open(struct io_console *con);
/* Close it as soon as the readers have what they shall have. */
void con_backend_end(struct io_console *con);
void con_backend_close(struct io_console *con);

/* --- console.c -------------------------------------------------------------------------------- */

enum { CON_BACKEND, CON_STREAM, CON_SINKS };

struct io_console {
	struct io_loop *loop;
	struct io_console_config cfg;
	char *name, *path, *host, *service, *log_path;

	struct io_guest *guest; /* NULL: detached */
	struct xencons_interface *ring;
	uint32_t port;
	uint32_t out_cons, in_prod; /* ours; the ring's are copies of them */
	struct io_work work;
	struct io_timer window; /* ends a pause for flooding */
	uint64_t window_start;
	uint32_t window_bytes;

	struct con_sink sinks[CON_SINKS];
	struct con_buffer scrollback;
	bool fresh; /* the next attach begins a new run: forget the scrollback */
	int file_fd, log_fd;
	struct con_listener listener;
	int slave_fd;
	char tty[64];
	struct io_timer linger;
	uint64_t linger_until;
	bool backend_open;

	atomic_uint_fast64_t out_bytes, in_bytes;
};

/* Room for input in the guest's ring, 0 if there is no guest. */
uint32_t con_input_room(struct io_console *con);
void con_input(struct io_console *con, const char *data, uint32_t len);
/* Look at the rings soon. */
void con_kick(struct io_console *con);

#endif
