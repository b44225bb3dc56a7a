/* SPDX-License-Identifier: MIT */
/*
 * PV consoles. An io_console belongs to a domain object and outlives the incarnations of its guest:
 * it is attached to the ring (xen/io/console.h) of one at a time.
 *
 * What the guest prints goes to the back end, to the log file and to the embedder's stream, if it
 * has opened one. Who may make the guest wait:
 *	- the stream and a caller's descriptor: as long as they do not take it;
 *	- pty, unix and tcp: as long as the reader makes progress. One that takes nothing for
 *	  IO_CONSOLE_PATIENCE_MS, or is not there, gets the last 64 KiB when it comes back;
 *	- file, log and null never: a file that cannot be written loses output.
 * Nothing of this holds more than 64 KiB per reader, and a guest that floods its console is slowed
 * down to IO_CONSOLE_RATE bytes per second.
 *
 * Functions are for the loop's thread (or after the loop ended) unless they say otherwise.
 */
#ifndef PVV_IO_CONSOLE_H
#define PVV_IO_CONSOLE_H

#include <stdbool.h>
#include <stdint.h>

#include "io/guest.h"
#include "io/loop.h"

#define IO_CONSOLE_BUFFER      65536u
#define IO_CONSOLE_PATIENCE_MS 100u
#define IO_CONSOLE_RATE	       (32u << 20)

struct io_console;

enum io_console_type {
	IO_CONSOLE_NULL,
	IO_CONSOLE_PTY,
	IO_CONSOLE_FILE, /* path, append */
	IO_CONSOLE_UNIX, /* path, listen */
	IO_CONSOLE_TCP,	 /* host and service as numbers, listen */
	IO_CONSOLE_FD,	 /* fd: as its access mode says, input, output or both */
};

struct io_console_config {
	enum io_console_type type;
	const char *path;
	bool append; /* file: keep what is there */
	bool listen; /* unix, tcp: wait for one client at a time; else connect, again and again */
	const char *host, *service;
	int fd;		      /* duplicated; its flags are left alone */
	const char *log_file; /* NULL: none */
	bool log_append;
};

/*
 * Any thread; opens nothing yet. `name` (of the domain) is for error messages. The fd is duplicated
 * now: PVV_EINVAL if it is not open.
 */
int io_console_new(struct io_loop *loop, const struct io_console_config *cfg, const char *name,
		   struct io_console **ret_con);
/* Detaches and ends first, if need be; what readers have not taken by now is lost. */
void io_console_free(struct io_console *con);

/*
 * Connect the guest's ring (mapped, must stay until detach) and port; opens the back end and the
 * log if they are not open. PVV_ESYS, PVV_EIO, PVV_EUNSUPPORTED: they cannot be opened. PVV_EBUSY:
 * attached already, or the port is bound.
 */
int io_console_attach(struct io_console *con, struct io_guest *guest, void *ring_page,
		      uint32_t port);
/* The guest is dead or about to reboot: take what is left in its ring. The readers stay. */
void io_console_detach(struct io_console *con);
/*
 * The domain is shut off: readers get what they have not read, then end of file; the back end is
 * closed. A new attach opens it again.
 */
void io_console_end(struct io_console *con);

/*
 * The embedder's stream, one end of a socket pair: first the last 64 KiB printed, then all that
 * follows; what is written to it is input; end of file at io_console_end(). The caller owns
 * *ret_fd. PVV_EBUSY if the last one is still open at the other side.
 */
int io_console_open(struct io_console *con, int *ret_fd);

/* The slave's name, NULL if the back end is no pty or is not open. Valid until io_console_end(). */
const char *io_console_tty(const struct io_console *con);

/* Bytes taken from the guest and given to it, ever. Any thread. */
void io_console_counters(const struct io_console *con, uint64_t *ret_out, uint64_t *ret_in);

#endif
