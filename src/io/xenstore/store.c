/* SPDX-License-Identifier: MIT */
/* Making and ending the store, and the library's own access to it with the rights of domain 0. */
#include "io/xenstore/internal.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "util/err.h"

static const struct xs_quota default_quota = {
	.nodes = 1000,
	.node_size = 2048,
	.node_perms = 5,
	.path_len = XENSTORE_REL_PATH_MAX,
	.watches = 129, /* xenstored's 128 and 10 let one more in */
	.transactions = 11,
	.transaction_nodes = 1024,
	.requests = 20,
	.event_bytes = 64 * 1024,
	.memory = 2560 * 1024,
};

/* xenstored's own nodes, and domain 0's home: all owned by domain 0, and nothing for others. */
static int make_roots(struct xs_store *store)
{
	static const char *const roots[] = {"/", "@introduceDomain", "@releaseDomain"};
	static const struct xs_perm none = {.domid = 0, .bits = 0};

	for (size_t i = 0; i < sizeof(roots) / sizeof(roots[0]); i++) {
		struct xs_node *n = xsn_new(&none, 1, NULL, 0, NULL, 0);

		if (!n || xst_store(store, roots[i], strlen(roots[i]), n, NULL))
			return ENOMEM;
	}
	static const char *const nodes[][2] = {{"/tool/xenstored", ""},
					       {"/local/domain/0/domid", "0"},
					       {"/local/domain/0/name", "Domain-0"}};

	for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++)
		if (xst_write(&store->dom0, NULL, nodes[i][0], strlen(nodes[i][0]), nodes[i][1],
			      (uint32_t)strlen(nodes[i][1])))
			return ENOMEM;
	return 0;
}

int xs_store_new(struct io_loop *loop, struct xs_store **ret_store)
{
	struct xs_store *store = calloc(1, sizeof(*store));

	if (!store)
		return err_nomem(PVV_SUBSYS_XENSTORE, "making the xenstore");
	store->loop = loop;
	store->quota = default_quota;
	pthread_mutex_init(&store->lock, NULL);
	for (size_t i = 0; i < XS_WATCH_BUCKETS; i++)
		TAILQ_INIT(&store->watch_buckets[i]);
	TAILQ_INIT(&store->events);
	store->deliver = (struct io_work){.fn = xsw_deliver, .opaque = store};
	/* Without entropy (early boot) the addresses must do. */
	if (getrandom(store->hash_key, sizeof(store->hash_key), GRND_NONBLOCK) < 0)
		store->hash_key[0] = (uintptr_t)store;
	if (xsm_init(&store->map, 1024) || xs_client_init(&store->dom0, store, 0) ||
	    make_roots(store)) {
		xs_store_free(store);
		return err_nomem(PVV_SUBSYS_XENSTORE, "making the xenstore");
	}
	*ret_store = store;
	return PVV_OK;
}

static void free_entry(struct xs_entry *e)
{
	xsn_unref(e->node);
	free(e);
}

void xs_store_free(struct xs_store *store)
{
	if (!store)
		return;
	if (store->dom0.domain)
		xs_client_reset(&store->dom0);
	assert(store->nr_watches == 0);
	io_loop_cancel(store->loop, &store->deliver);
	xsm_free(&store->map, free_entry);
	for (size_t i = 0; i < XS_DOMAIN_BUCKETS; i++) {
		for (struct xs_domain *d = store->domains[i], *next; d; d = next) {
			next = d->next;
			free(d);
		}
	}
	free(store->matches);
	pthread_mutex_destroy(&store->lock);
	free(store);
}

void xs_get_quota(struct xs_store *store, struct xs_quota *ret_quota)
{
	pthread_mutex_lock(&store->lock);
	*ret_quota = store->quota;
	pthread_mutex_unlock(&store->lock);
}

void xs_set_quota(struct xs_store *store, const struct xs_quota *quota)
{
	pthread_mutex_lock(&store->lock);
	store->quota = *quota;
	pthread_mutex_unlock(&store->lock);
}

/* --- helpers ---------------------------------------------------------------------------------- */

static int fail(int errnum, const char *doing, const char *path)
{
	int code = PVV_EINTERNAL;

	switch (errnum) {
	case 0:
		return PVV_OK;
	case ENOMEM:
		return err_nomem(PVV_SUBSYS_XENSTORE, doing);
	case ENOENT:
		code = PVV_ENOENT;
		break;
	case EINVAL:
		code = PVV_EINVAL;
		break;
	case E2BIG:
		code = PVV_ELIMIT;
		break;
	}
	return err_set(code, PVV_SUBSYS_XENSTORE, path, "%s '%s' in xenstore failed with %s", doing,
		       path, xsq_error_name(errnum));
}

/* "dir/name" into a buffer; the path is too long for the store if it does not fit. */
static int join(const char *dir, const char *name, char buf[XS_PATH_BUF])
{
	int n = snprintf(buf, XS_PATH_BUF, "%s%s%s", dir, name ? "/" : "", name ? name : "");

	if (n < 0 || (size_t)n >= XS_PATH_BUF)
		return err_set(PVV_EINVAL, PVV_SUBSYS_XENSTORE, dir,
			       "a xenstore path is longer than %u bytes", XS_PATH_BUF - 1);
	return PVV_OK;
}

/* Lock the store and check the path; the caller unlocks in any case. */
static int enter(struct xs_store *store, const char *path, bool special, size_t *ret_len)
{
	pthread_mutex_lock(&store->lock);
	return xsp_resolve(&store->dom0, path, special, store->path, ret_len);
}

static void leave(struct xs_store *store)
{
	pthread_mutex_unlock(&store->lock);
}

/* --- writing ---------------------------------------------------------------------------------- */

int xs_write_data(struct xs_store *store, const char *path, const void *data, size_t len)
{
	size_t path_len;

	if (len > XENSTORE_PAYLOAD_MAX)
		return fail(E2BIG, "writing", path);
	int r = enter(store, path, false, &path_len);
	if (r == 0)
		r = xst_write(&store->dom0, NULL, store->path, path_len, data, (uint32_t)len);
	leave(store);
	return fail(r, "writing", path);
}

static int write_fmt(struct xs_store *store, const char *path, const char *fmt, va_list ap)
	__attribute__((format(printf, 3, 0)));

static int write_fmt(struct xs_store *store, const char *path, const char *fmt, va_list ap)
{
	char value[XENSTORE_PAYLOAD_MAX + 2];
	int n = vsnprintf(value, sizeof(value), fmt, ap);

	return xs_write_data(store, path, value, n < 0 ? sizeof(value) : (size_t)n);
}

int xs_write(struct xs_store *store, const char *path, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	int r = write_fmt(store, path, fmt, ap);
	va_end(ap);
	return r;
}

int xs_put(struct xs_store *store, const char *dir, const char *name, const char *fmt, ...)
{
	char path[XS_PATH_BUF];
	va_list ap;
	int r = join(dir, name, path);

	if (r < 0)
		return r;
	va_start(ap, fmt);
	r = write_fmt(store, path, fmt, ap);
	va_end(ap);
	return r;
}

int xs_mkdir(struct xs_store *store, const char *path)
{
	size_t len;
	int r = enter(store, path, false, &len);

	if (r == 0)
		r = xst_mkdir(&store->dom0, NULL, store->path, len);
	leave(store);
	return fail(r, "creating", path);
}

int xs_rm(struct xs_store *store, const char *path)
{
	size_t len;
	int r = enter(store, path, false, &len);

	if (r == 0)
		r = xst_rm(&store->dom0, NULL, store->path, len);
	leave(store);
	return fail(r == ENOENT ? 0 : r, "removing", path);
}

/* --- permissions ------------------------------------------------------------------------------ */

static int set_perms(struct xs_store *store, const char *path, bool create, const char *fmt,
		     va_list ap) __attribute__((format(printf, 4, 0)));

static int set_perms(struct xs_store *store, const char *path, bool create, const char *fmt,
		     va_list ap)
{
	struct xs_perm perms[XS_PERMS_MAX];
	char text[XS_PERMS_MAX * 12];
	uint32_t nr;
	size_t len;
	int n = vsnprintf(text, sizeof(text), fmt, ap);

	if (n < 0 || (size_t)n >= sizeof(text) || xsp_parse(text, (size_t)n, ' ', perms, &nr))
		return err_set(PVV_EINVAL, PVV_SUBSYS_XENSTORE, path,
			       "'%s' is not a list of xenstore permissions", text);
	int r = enter(store, path, true, &len);
	if (r == 0 && create)
		r = xst_mkdir(&store->dom0, NULL, store->path, len);
	if (r == 0)
		r = xst_set_perms(&store->dom0, NULL, store->path, len, perms, nr);
	leave(store);
	return fail(r, "setting the permissions of", path);
}

int xs_set_perms(struct xs_store *store, const char *path, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	int r = set_perms(store, path, false, fmt, ap);
	va_end(ap);
	return r;
}

int xs_mkdir_perms(struct xs_store *store, const char *path, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	int r = set_perms(store, path, true, fmt, ap);
	va_end(ap);
	return r;
}

/* --- reading ---------------------------------------------------------------------------------- */

/* A copy of the value or of the children's names, with a NUL behind it. */
static int copy_out(struct xs_store *store, const char *path, bool children, char **ret_data,
		    size_t *ret_len)
{
	size_t len;
	int r = enter(store, path, false, &len);
	char *copy = NULL;

	if (r == 0) {
		struct xs_node *n = xst_find(store, store->path, len);
		size_t size = !n ? 0 : children ? n->child_len : n->data_len;

		r = !n ? ENOENT : (copy = malloc(size + 1)) ? 0 : ENOMEM;
		if (r == 0) {
			memcpy(copy, children ? xsn_children(n) : xsn_data(n), size);
			copy[size] = '\0';
			if (ret_len)
				*ret_len = size;
		}
	}
	leave(store);
	*ret_data = copy;
	return fail(r, "reading", path);
}

int xs_read(struct xs_store *store, const char *path, char **ret_data, size_t *ret_len)
{
	return copy_out(store, path, false, ret_data, ret_len);
}

int xs_directory(struct xs_store *store, const char *path, char **ret_names, size_t *ret_len)
{
	return copy_out(store, path, true, ret_names, ret_len);
}

int xs_get_str(struct xs_store *store, const char *dir, const char *name, char *buf, size_t size)
{
	char path[XS_PATH_BUF];
	size_t len;
	int r = join(dir, name, path);

	if (r < 0)
		return r;
	bool bad = false;
	r = enter(store, path, false, &len);
	if (r == 0) {
		struct xs_node *n = xst_find(store, store->path, len);

		bad = n && (n->data_len >= size || memchr(xsn_data(n), '\0', n->data_len));
		r = n ? 0 : ENOENT;
		if (n && !bad) {
			memcpy(buf, xsn_data(n), n->data_len);
			buf[n->data_len] = '\0';
		}
	}
	leave(store);
	if (bad)
		return err_set(PVV_EGUEST, PVV_SUBSYS_XENSTORE, path,
			       "the value of '%s' is not a string of at most %zu bytes", path,
			       size - 1);
	return fail(r, "reading", path);
}

int xs_get_uint(struct xs_store *store, const char *dir, const char *name, uint64_t max,
		uint64_t *ret_value)
{
	char text[24];
	uint64_t v = 0;
	int r = xs_get_str(store, dir, name, text, sizeof(text));
	bool good = r == PVV_OK && text[0];

	if (r != PVV_OK && r != PVV_EGUEST)
		return r;
	for (const char *p = text; good && *p; p++) {
		unsigned int digit = (unsigned int)(unsigned char)*p - '0';

		good = digit <= 9 && digit <= max && v <= (max - digit) / 10;
		v = v * 10 + digit;
	}
	if (!good)
		return err_set(PVV_EGUEST, PVV_SUBSYS_XENSTORE, dir,
			       "the value of '%s%s%s' is not a number up to %llu", dir,
			       name ? "/" : "", name ? name : "", (unsigned long long)max);
	*ret_value = v;
	return PVV_OK;
}

bool xs_exists(struct xs_store *store, const char *path)
{
	size_t len;
	bool there = enter(store, path, false, &len) == 0 && xst_find(store, store->path, len);

	leave(store);
	return there;
}

/* --- watches ---------------------------------------------------------------------------------- */

int xs_watch(struct xs_store *store, const char *path, xs_watch_fn *fn, void *opaque,
	     struct xs_watch **ret_watch)
{
	size_t len;
	int r = enter(store, path, true, &len);

	if (r == 0)
		r = xsw_add(&store->dom0, store->path, len, 0, "", ret_watch);
	if (r == 0) {
		(*ret_watch)->fn = fn;
		(*ret_watch)->opaque = opaque;
		xsw_queue(*ret_watch, store->path, len);
	}
	leave(store);
	return fail(r, "watching", path);
}

void xs_unwatch(struct xs_store *store, struct xs_watch *watch)
{
	pthread_mutex_lock(&store->lock);
	xsw_del(watch);
	pthread_mutex_unlock(&store->lock);
}
