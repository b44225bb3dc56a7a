/* SPDX-License-Identifier: MIT */
/*
 * A guest's connection: requests from, replies and watch events to the ring in the page it shares
 * with us. The page is hostile. We keep our own two indices and only ever write them; the guest's
 * two are read once per use and must lie within a ring's length of ours. All bytes are copied out
 * before they are looked at.
 *
 * Memory is bounded: requests are taken only while the guest reads its replies, and watch events
 * that it does not read are dropped beyond a quota, as xenstored does.
 */
#include "io/xenstore/internal.h"

#include <stdlib.h>
#include <string.h>

#include "util/err.h"

/* Served in one go, before the loop's other users get their turn. */
#define REQUEST_BATCH 32
#define FIRED_BATCH   4096u /* or as many watches met */

/* A guest may have thousands of events unread, and whatever fires one looks for its like. */
#define EVENT_BUCKETS 1024u

struct message {
	TAILQ_ENTRY(message) link;
	LIST_ENTRY(message) same; /* events with the same last bits of a hash */
	struct xsd_sockmsg hdr;	  /* payload follows */
};

struct xs_conn {
	struct xs_client c;
	struct io_guest *guest;
	struct xs_quota quota; /* if it has its own */
	struct xenstore_domain_interface *page;
	uint32_t port;
	uint32_t req_cons, rsp_prod; /* ours; the page's are copies of them */
	bool dead;		     /* broke the protocol; waits for a reconnection */
	bool serving;
	struct io_work work;

	struct xsd_sockmsg in_hdr;
	uint32_t in_used; /* bytes of header and payload received */
	char in[XENSTORE_PAYLOAD_MAX + 1];

	TAILQ_HEAD(message_list, message) out;
	LIST_HEAD(event_list, message) events[EVENT_BUCKETS];
	uint32_t out_sent; /* bytes of the first message that are in the ring */
	uint32_t nr_replies;
	size_t event_bytes;
};

/* --- the page --------------------------------------------------------------------------------- */

static uint32_t load(const uint32_t *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static void store_release(uint32_t *p, uint32_t v)
{
	__atomic_store_n(p, v, __ATOMIC_RELEASE);
}

static void copy_from_ring(char *dst, const char *ring, uint32_t idx, uint32_t len)
{
	uint32_t at = MASK_XENSTORE_IDX(idx), first = XENSTORE_RING_SIZE - at;

	if (first > len)
		first = len;
	memcpy(dst, ring + at, first);
	memcpy(dst + first, ring, len - first);
}

static void copy_to_ring(char *ring, uint32_t idx, const char *src, uint32_t len)
{
	uint32_t at = MASK_XENSTORE_IDX(idx), first = XENSTORE_RING_SIZE - at;

	if (first > len)
		first = len;
	memcpy(ring + at, src, first);
	memcpy(ring, src + first, len - first);
}

/* --- what goes out ---------------------------------------------------------------------------- */

static void drop_message(struct xs_conn *conn, struct message *m)
{
	TAILQ_REMOVE(&conn->out, m, link);
	if (m->hdr.type == XS_WATCH_EVENT) {
		LIST_REMOVE(m, same);
		conn->event_bytes -= m->hdr.len;
	} else {
		conn->nr_replies--;
	}
	free(m);
}

static void drop_all(struct xs_conn *conn)
{
	while (!TAILQ_EMPTY(&conn->out))
		drop_message(conn, TAILQ_FIRST(&conn->out));
	conn->out_sent = 0;
	conn->in_used = 0;
}

static void kill_conn(struct xs_conn *conn, uint32_t error)
{
	conn->dead = true;
	xs_client_reset(&conn->c);
	drop_all(conn);
	store_release(&conn->page->error, error);
}

static struct message *new_message(const struct xsd_sockmsg *hdr)
{
	struct message *m = malloc(sizeof(*m) + hdr->len);

	if (m)
		*m = (struct message){.hdr = *hdr};
	return m;
}

static void on_event(struct xs_client *c, const struct xs_watch *w, const char *path, size_t len)
{
	struct xs_conn *conn = (struct xs_conn *)c;
	const uint64_t *key = c->store->hash_key;
	size_t cut = w->relative;
	struct event_list *like;
	struct message *m;

	if (cut) {
		cut = cut < len ? cut + 1
				: len; /* and the slash; nothing is left of the home itself */
		path += cut;
		len -= cut;
	}
	size_t token_len = strlen(w->token) + 1, total = len + 1 + token_len;
	if (conn->dead || total > XENSTORE_PAYLOAD_MAX)
		return;
	/* An unread event tells all that a second one like it would. */
	like = &conn->events[(xsp_hash(key, path, len) * 3 + xsp_hash(key, w->token, token_len)) %
			     EVENT_BUCKETS];
	LIST_FOREACH(m, like, same)
	{
		const char *payload = (const char *)(m + 1);

		if (m->hdr.len == total && memcmp(payload, path, len) == 0 &&
		    payload[len] == '\0' && memcmp(payload + len + 1, w->token, token_len) == 0 &&
		    !(m == TAILQ_FIRST(&conn->out) && conn->out_sent))
			return;
	}
	if (conn->event_bytes + total > c->quota->event_bytes)
		return;
	struct xsd_sockmsg hdr = {.type = XS_WATCH_EVENT, .len = (uint32_t)total};
	m = new_message(&hdr);
	if (!m)
		return;
	char *payload = (char *)(m + 1);
	memcpy(payload, path, len);
	payload[len] = '\0';
	memcpy(payload + len + 1, w->token, token_len);
	TAILQ_INSERT_TAIL(&conn->out, m, link);
	LIST_INSERT_HEAD(like, m, same);
	conn->event_bytes += total;
	if (!conn->serving)
		io_loop_post(c->store->loop, &conn->work);
}

/* Put as much as fits into the ring. False if the guest broke it; *progress if it was moved. */
static bool flush(struct xs_conn *conn, bool *progress)
{
	struct xenstore_domain_interface *page = conn->page;

	while (!TAILQ_EMPTY(&conn->out)) {
		struct message *m = TAILQ_FIRST(&conn->out);
		uint32_t used = conn->rsp_prod - load(&page->rsp_cons);

		if (used > XENSTORE_RING_SIZE) {
			kill_conn(conn, XENSTORE_ERROR_RINGIDX);
			return false;
		}
		uint32_t total = (uint32_t)sizeof(m->hdr) + m->hdr.len;
		uint32_t n = total - conn->out_sent, room = XENSTORE_RING_SIZE - used;
		if (n > room)
			n = room;
		if (n == 0)
			return true;
		/* Header and payload lie one behind the other. */
		copy_to_ring(page->rsp, conn->rsp_prod, (const char *)&m->hdr + conn->out_sent, n);
		conn->rsp_prod += n;
		io_page_written(conn->guest, page);
		io_pages_settle(conn->guest);
		store_release(&page->rsp_prod, conn->rsp_prod);
		*progress = true;
		conn->out_sent += n;
		if (conn->out_sent == total) {
			conn->out_sent = 0;
			drop_message(conn, m);
		}
	}
	return true;
}

/* --- what comes in ---------------------------------------------------------------------------- */

/* Bytes from the ring towards a whole request. 1: complete, 0: not yet, -1: the guest broke it. */
static int receive(struct xs_conn *conn, bool *progress)
{
	const uint32_t hdr_len = sizeof(conn->in_hdr);

	for (;;) {
		uint32_t want = conn->in_used < hdr_len
					? hdr_len - conn->in_used
					: hdr_len + conn->in_hdr.len - conn->in_used;
		if (want == 0)
			return 1;
		uint32_t have = load(&conn->page->req_prod) - conn->req_cons;
		if (have > XENSTORE_RING_SIZE) {
			kill_conn(conn, XENSTORE_ERROR_RINGIDX);
			return -1;
		}
		if (have == 0)
			return 0;
		uint32_t n = have < want ? have : want;
		char *dst = conn->in_used < hdr_len ? (char *)&conn->in_hdr + conn->in_used
						    : conn->in + (conn->in_used - hdr_len);
		copy_from_ring(dst, conn->page->req, conn->req_cons, n);
		conn->req_cons += n;
		conn->in_used += n;
		store_release(&conn->page->req_cons, conn->req_cons);
		*progress = true;
		if (conn->in_used == hdr_len && conn->in_hdr.len > XENSTORE_PAYLOAD_MAX) {
			kill_conn(conn, XENSTORE_ERROR_PROTO);
			return -1;
		}
	}
}

static bool serve_one(struct xs_conn *conn)
{
	struct xsd_sockmsg hdr = conn->in_hdr;
	struct xs_watch *new_watch;
	const void *data;
	uint32_t len;

	conn->in_used = 0;
	conn->in[hdr.len] = '\0';
	hdr.type = xsq_serve(&conn->c, hdr.type, hdr.tx_id, conn->in, hdr.len, &data, &len,
			     &new_watch);
	hdr.len = len;
	struct message *m = new_message(&hdr);
	if (!m) {
		/* A guest cannot go on without its reply; that much it can be told. */
		kill_conn(conn, XENSTORE_ERROR_COMM);
		return false;
	}
	memcpy(m + 1, data, len);
	TAILQ_INSERT_TAIL(&conn->out, m, link);
	conn->nr_replies++;
	if (new_watch)
		on_event(&conn->c, new_watch, new_watch->path, new_watch->len);
	return true;
}

/* Both queues emptied, at indices that cannot be wrong. */
static void reconnect(struct xs_conn *conn)
{
	struct xenstore_domain_interface *page = conn->page;

	xs_client_reset(&conn->c);
	drop_all(conn);
	conn->dead = false;
	conn->req_cons = conn->rsp_prod = 0;
	store_release(&page->req_cons, 0);
	store_release(&page->req_prod, 0);
	store_release(&page->rsp_cons, 0);
	store_release(&page->rsp_prod, 0);
	store_release(&page->error, XENSTORE_ERROR_NONE);
	store_release(&page->connection, XENSTORE_CONNECTED);
}

/* With the store locked. True if there is more to do at once. */
static bool serve(struct xs_conn *conn, bool *progress)
{
	uint64_t fired;

	if (load(&conn->page->connection) == XENSTORE_RECONNECT) {
		reconnect(conn);
		*progress = true;
	}
	if (conn->dead || !flush(conn, progress))
		return false;
	fired = conn->c.store->fired;
	for (int i = 0; i < REQUEST_BATCH && conn->c.store->fired - fired < FIRED_BATCH; i++) {
		if (conn->nr_replies >= conn->c.quota->requests)
			return false; /* until the guest has read some: it will send an event */
		int r = receive(conn, progress);
		if (r <= 0)
			return false;
		if (!serve_one(conn) || !flush(conn, progress))
			return false;
	}
	return true;
}

static void on_work(void *opaque)
{
	struct xs_conn *conn = opaque;
	struct xs_store *store = conn->c.store;
	bool progress = false;

	pthread_mutex_lock(&store->lock);
	bool was_dead = conn->dead;
	conn->serving = true;
	bool more = serve(conn, &progress);
	conn->serving = false;
	progress |= conn->dead != was_dead;
	pthread_mutex_unlock(&store->lock);
	/* One event for the whole batch: it says "look at the indices", not how often. */
	if (progress)
		io_event_send(conn->guest, conn->port);
	if (more)
		io_loop_post(store->loop, &conn->work);
}

/* --- making and ending ------------------------------------------------------------------------ */

int xs_conn_new(struct xs_store *store, struct io_guest *guest, void *ring_page, uint32_t port,
		struct xs_conn **ret_conn)
{
	struct xs_conn *conn = calloc(1, sizeof(*conn));

	if (!conn)
		return err_nomem(PVV_SUBSYS_XENSTORE, "connecting a domain to xenstore");
	int r = io_event_bind(guest, port, on_work, conn);
	if (r < 0) {
		free(conn);
		return r;
	}
	conn->guest = guest;
	conn->page = ring_page;
	conn->port = port;
	conn->work = (struct io_work){.fn = on_work, .opaque = conn};
	TAILQ_INIT(&conn->out);
	/* Zero in a new page; the state of the stream in a restored one. */
	conn->req_cons = load(&conn->page->req_cons);
	conn->rsp_prod = load(&conn->page->rsp_prod);
	store_release(&conn->page->error, XENSTORE_ERROR_NONE);
	store_release(&conn->page->server_features,
		      XENSTORE_SERVER_FEATURE_RECONNECTION | XENSTORE_SERVER_FEATURE_ERROR);
	pthread_mutex_lock(&store->lock);
	r = xs_client_init(&conn->c, store, io_guest_domid(guest));
	conn->c.event = on_event;
	if (r == 0)
		xsw_fire_special(store, "@introduceDomain");
	pthread_mutex_unlock(&store->lock);
	if (r) {
		io_event_unbind(guest, port);
		free(conn);
		if (r == ENOMEM)
			return err_nomem(PVV_SUBSYS_XENSTORE, "connecting a domain to xenstore");
		return err_set(PVV_EEXIST, PVV_SUBSYS_XENSTORE, io_guest_name(guest),
			       "domain %u is connected to xenstore already", io_guest_domid(guest));
	}
	/* It may have spoken before we listened. */
	io_loop_post(store->loop, &conn->work);
	*ret_conn = conn;
	return PVV_OK;
}

void xs_conn_set_quota(struct xs_conn *conn, const struct xs_quota *quota)
{
	pthread_mutex_lock(&conn->c.store->lock);
	conn->quota = *quota;
	conn->c.quota = &conn->quota;
	pthread_mutex_unlock(&conn->c.store->lock);
}

void xs_conn_free(struct xs_conn *conn)
{
	if (!conn)
		return;
	struct xs_store *store = conn->c.store;
	io_event_unbind(conn->guest, conn->port);
	pthread_mutex_lock(&store->lock);
	xs_client_end(&conn->c);
	drop_all(conn);
	pthread_mutex_unlock(&store->lock);
	/* Nobody can post it any more. */
	io_loop_cancel(store->loop, &conn->work);
	free(conn);
}
