/* SPDX-License-Identifier: MIT */
/*
 * The front end of the tests: a well-behaved guest on the far side of a xenstore ring. It runs the
 * host's loop itself whenever it waits, so that a test is one thread and deterministic.
 */
#ifndef PVV_TESTS_XENSTORE_PEER_H
#define PVV_TESTS_XENSTORE_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "io/xenstore/internal.h"

#define PEER_PORT 3u

struct message_in {
	struct xsd_sockmsg hdr;
	char payload[XENSTORE_PAYLOAD_MAX + 1]; /* NUL behind it */
};

struct peer {
	struct io_loop *loop;
	struct xs_store *store;
	struct io_guest *guest;
	struct xs_conn *conn;
	struct xenstore_domain_interface *page;
	uint32_t next_req;
	struct message_in events[64]; /* that came while a reply was awaited */
	unsigned int nr_events;
};

/* One round of the loop and what it leads to. */
void pump(struct io_loop *loop);

/* Connect a domain, with the standard layout of its home. */
void peer_open(struct peer *p, struct io_loop *loop, struct xs_store *store, unsigned int domid);
void peer_close(struct peer *p);

/* Bytes into the ring, pumping while it is full; false if the other side does not take them. */
bool peer_push(struct peer *p, const void *data, size_t len);
/* The next message, or false if none comes. */
bool peer_pull(struct peer *p, struct message_in *m);
/* A request and its reply; events that come first are kept. Fails the test without a reply. */
void peer_request(struct peer *p, uint32_t type, uint32_t tx, const void *payload, size_t len,
		  struct message_in *reply);
/* The next event, kept or fresh. */
bool peer_event(struct peer *p, struct message_in *m);

/* A string request: "NAME" of the reply's error, or "" for success. */
const char *peer_do(struct peer *p, uint32_t type, uint32_t tx, const char *payload, size_t len);
#define peer_str(p, type, tx, s) peer_do(p, type, tx, s, sizeof(s))

#endif
