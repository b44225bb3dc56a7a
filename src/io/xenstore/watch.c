/* SPDX-License-Identifier: MIT */
/*
 * Watches. They are hashed by their path, so that a change costs one lookup per component of its
 * path, however many watches there are.
 */
#include "io/xenstore/internal.h"

#include <stdlib.h>
#include <string.h>

/* Paths noted for one internal subscriber; beyond them it is told that all may have changed. */
#define EVENTS_PER_WATCH 32u
/* Delivered in one go, before the loop's other users get their turn. */
#define DELIVER_BATCH	 64

static struct xs_watch_list *bucket(struct xs_store *store, uint64_t hash)
{
	return &store->watch_buckets[hash % XS_WATCH_BUCKETS];
}

static size_t memory(const struct xs_watch *w)
{
	return sizeof(*w) + w->len + 1 + strlen(w->token) + 1;
}

int xsw_add(struct xs_client *c, const char *path, size_t len, uint32_t relative, const char *token,
	    struct xs_watch **ret_watch)
{
	struct xs_store *store = c->store;
	size_t token_len = strlen(token);
	struct xs_watch *w = malloc(sizeof(*w) + len + 1 + token_len + 1);

	if (!w)
		return ENOMEM;
	if (store->nr_watches == store->matches_size) {
		size_t size = store->matches_size * 2 + 64;
		struct xs_watch **m = realloc(store->matches, size * sizeof(*m));

		if (!m) {
			free(w);
			return ENOMEM;
		}
		store->matches = m;
		store->matches_size = size;
	}
	*w = (struct xs_watch){
		.client = c,
		.hash = xsp_hash(store->hash_key, path, len),
		.serial = store->watch_serial++,
		.len = (uint32_t)len,
		.relative = relative,
	};
	memcpy(w->path, path, len);
	w->path[len] = '\0';
	w->token = memcpy(w->path + len + 1, token, token_len + 1);
	TAILQ_INIT(&w->events);
	w->all.watch = w;
	TAILQ_INSERT_TAIL(&c->watches, w, client_link);
	TAILQ_INSERT_TAIL(bucket(store, w->hash), w, bucket_link);
	store->nr_watches++;
	c->nr_watches++;
	c->domain->memory += memory(w);
	*ret_watch = w;
	return 0;
}

static void unqueue(struct xs_store *store, struct xs_event *ev)
{
	TAILQ_REMOVE(&store->events, ev, link);
	TAILQ_REMOVE(&ev->watch->events, ev, watch_link);
	ev->watch->nr_events--;
	ev->queued = false;
}

void xsw_del(struct xs_watch *w)
{
	struct xs_client *c = w->client;

	while (!TAILQ_EMPTY(&w->events)) {
		struct xs_event *ev = TAILQ_FIRST(&w->events);

		unqueue(c->store, ev);
		if (ev != &w->all)
			free(ev);
	}
	TAILQ_REMOVE(&c->watches, w, client_link);
	TAILQ_REMOVE(bucket(c->store, w->hash), w, bucket_link);
	c->store->nr_watches--;
	c->nr_watches--;
	c->domain->memory -= memory(w);
	free(w);
}

struct xs_watch *xsw_find(struct xs_client *c, const char *path, size_t len, const char *token)
{
	struct xs_watch *w;

	TAILQ_FOREACH(w, &c->watches, client_link)
	if (w->len == len && memcmp(w->path, path, len) == 0 && strcmp(w->token, token) == 0)
		return w;
	return NULL;
}

/* --- firing ----------------------------------------------------------------------------------- */

static size_t match(struct xs_store *store, const char *path, size_t len, size_t n)
{
	uint64_t hash = xsp_hash(store->hash_key, path, len);
	struct xs_watch *w;

	TAILQ_FOREACH(w, bucket(store, hash), bucket_link)
	if (w->hash == hash && w->len == len && memcmp(w->path, path, len) == 0)
		store->matches[n++] = w;
	return n;
}

static int by_serial(const void *a, const void *b)
{
	const struct xs_watch *x = *(struct xs_watch *const *)a;
	const struct xs_watch *y = *(struct xs_watch *const *)b;

	return x->serial < y->serial ? -1 : x->serial > y->serial;
}

static bool readable(const struct xs_client *c, const struct xs_node *n)
{
	return n && (xsp_bits(c, n->perms, n->nr_perms) & XS_PERM_R);
}

static void send_event(struct xs_watch *w, const char *path, size_t len)
{
	if (w->client->event)
		w->client->event(w->client, w, path, len);
	else
		xsw_queue(w, path, len);
}

void xsw_fire(struct xs_store *store, struct xs_tx *tx, const char *path, size_t len, bool exact,
	      const struct xs_node *before, const struct xs_node *after)
{
	if (tx) {
		struct xs_tx_entry *te;

		/* The operation has touched it: this only finds the record. */
		if (xsx_access(tx, path, len, &te) == 0) {
			te->fire = true;
			te->exact = exact;
		}
		return;
	}
	size_t parent_len = xsp_parent(path, len);
	const struct xs_node *parent = parent_len ? xst_find(store, path, parent_len) : NULL;
	size_t n = match(store, path, len, 0);
	size_t own = n;
	for (size_t at = exact ? 0 : parent_len; at; at = xsp_parent(path, at))
		n = match(store, path, at, n);
	store->fired += n;
	/* In the order of registration, as if there were one list. */
	if (n > own)
		qsort(store->matches, n, sizeof(store->matches[0]), by_serial);
	for (size_t i = 0; i < n; i++) {
		struct xs_watch *w = store->matches[i];

		if (w->client->privileged || readable(w->client, after) ||
		    readable(w->client, before) || readable(w->client, parent))
			send_event(w, path, len);
	}
}

void xsw_fire_special(struct xs_store *store, const char *name)
{
	size_t len = strlen(name);
	struct xs_node *n = xst_find(store, name, len);

	xsw_fire(store, NULL, name, len, true, n, n);
}

/* --- internal subscribers --------------------------------------------------------------------- */

static bool is_queued(struct xs_watch *w, const char *path, size_t len)
{
	struct xs_event *ev;

	TAILQ_FOREACH(ev, &w->events, watch_link)
	{
		const char *p = ev->path ? ev->path : w->path;

		if (strlen(p) == len && memcmp(p, path, len) == 0)
			return true;
	}
	return false;
}

void xsw_queue(struct xs_watch *w, const char *path, size_t len)
{
	struct xs_store *store = w->client->store;
	struct xs_event *ev = NULL;

	if (is_queued(w, path, len))
		return;
	if (w->nr_events < EVENTS_PER_WATCH)
		ev = malloc(sizeof(*ev) + len + 1);
	if (ev) {
		*ev = (struct xs_event){.watch = w, .path = (char *)(ev + 1)};
		memcpy(ev->path, path, len);
		ev->path[len] = '\0';
	} else {
		ev = &w->all;
		if (ev->queued)
			return;
	}
	ev->queued = true;
	TAILQ_INSERT_TAIL(&store->events, ev, link);
	TAILQ_INSERT_TAIL(&w->events, ev, watch_link);
	w->nr_events++;
	io_loop_post(store->loop, &store->deliver);
}

void xsw_deliver(void *opaque)
{
	struct xs_store *store = opaque;
	char path[XS_PATH_BUF];

	pthread_mutex_lock(&store->lock);
	for (int i = 0; i < DELIVER_BATCH && !TAILQ_EMPTY(&store->events); i++) {
		struct xs_event *ev = TAILQ_FIRST(&store->events);
		struct xs_watch *w = ev->watch;
		xs_watch_fn *fn = w->fn;
		void *fn_opaque = w->opaque;
		const char *p = ev->path ? ev->path : w->path;

		memcpy(path, p, strlen(p) + 1);
		unqueue(store, ev);
		if (ev != &w->all)
			free(ev);
		/* Watches are removed on this thread only: w may be gone after, not before. */
		pthread_mutex_unlock(&store->lock);
		fn(fn_opaque, path);
		pthread_mutex_lock(&store->lock);
	}
	bool more = !TAILQ_EMPTY(&store->events);
	pthread_mutex_unlock(&store->lock);
	if (more)
		io_loop_post(store->loop, &store->deliver);
}
