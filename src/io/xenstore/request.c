/* SPDX-License-Identifier: MIT */
/*
 * The requests of the wire protocol and xenstored's answers to them. A handler gets a payload that
 * is followed by a NUL, and returns 0 with its reply in the request, or the errno to be named.
 */
#include "io/xenstore/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct request {
	struct xs_client *c;
	struct xs_tx *tx;
	char *data;
	uint32_t len;
	char *path; /* the store's buffer for it */
	size_t path_len;
	const void *reply;
	uint32_t reply_len;
	struct xs_watch *new_watch;
};

typedef int handler(struct request *q);

const char *xsq_error_name(int errnum)
{
	for (size_t i = 0; i < sizeof(xsd_errors) / sizeof(xsd_errors[0]); i++)
		if (xsd_errors[i].errnum == errnum)
			return xsd_errors[i].errstring;
	return "EINVAL";
}

/* --- taking payloads apart -------------------------------------------------------------------- */

/* The string at *at, which must end within the payload; NULL if there is none. */
static const char *next_string(const struct request *q, uint32_t *at)
{
	const char *s = q->data + *at;
	const char *end = *at < q->len ? memchr(s, '\0', q->len - *at) : NULL;

	if (!end)
		return NULL;
	*at += (uint32_t)(end - s) + 1;
	return s;
}

/* The payload, if it is one string and nothing else. */
static const char *only_string(const struct request *q)
{
	uint32_t at = 0;
	const char *s = next_string(q, &at);

	return s && at == q->len ? s : NULL;
}

static int resolve(struct request *q, const char *path, bool special)
{
	if (!path)
		return EINVAL;
	int r = xsp_resolve(q->c, path, special, q->path, &q->path_len);
	if (r)
		q->c->last_error = r;
	return r;
}

static int reply(struct request *q, const void *data, size_t len)
{
	if (len > XENSTORE_PAYLOAD_MAX)
		return E2BIG;
	q->reply = data;
	q->reply_len = (uint32_t)len;
	return 0;
}

static int ok(struct request *q, int r)
{
	return r ? r : reply(q, "OK", 3);
}

/*
 * The path that shall be the whole payload. For one that is not, xenstored 4.17 has no error of its
 * own but answers with what the path before it failed for, and guests know it by that.
 */
static int only_path(struct request *q, bool special)
{
	const char *path = only_string(q);

	return path ? resolve(q, path, special) : q->c->last_error;
}

static int only_node(struct request *q, uint32_t bits, struct xs_node **ret_node)
{
	int r = only_path(q, false);

	return r ? r : xst_get(q->c, q->tx, q->path, q->path_len, bits, ret_node);
}

/* --- the tree --------------------------------------------------------------------------------- */

static int do_read(struct request *q)
{
	struct xs_node *n;
	int r = only_node(q, XS_PERM_R, &n);

	return r ? r : reply(q, xsn_data(n), n->data_len);
}

static int do_directory(struct request *q)
{
	struct xs_node *n;
	int r = only_node(q, XS_PERM_R, &n);

	return r ? r : reply(q, xsn_children(n), n->child_len);
}

static int do_directory_part(struct request *q)
{
	uint32_t at = 0;
	const char *path = next_string(q, &at);
	const char *offset = path ? next_string(q, &at) : NULL;
	struct xs_node *n;

	if (!offset)
		return EINVAL;
	int r = resolve(q, path, false);
	if (r == 0)
		r = xst_get(q->c, q->tx, q->path, q->path_len, XS_PERM_R, &n);
	if (r)
		return r;
	/* Whole names only, as many as fit; an empty one marks the end of the list. */
	char *out = q->c->store->reply;
	size_t len = (size_t)snprintf(out, XENSTORE_PAYLOAD_MAX, "%llu",
				      (unsigned long long)n->generation) +
		     1;
	size_t from = (unsigned int)strtol(offset, NULL, 10);
	while (from < n->child_len) {
		const char *name = xsn_children(n) + from;
		size_t name_len = strlen(name) + 1;

		if (len + name_len >= XENSTORE_PAYLOAD_MAX)
			break;
		memcpy(out + len, name, name_len);
		len += name_len;
		from += name_len;
	}
	if (from >= n->child_len)
		out[len++] = '\0';
	return reply(q, out, len);
}

static int do_write(struct request *q)
{
	uint32_t at = 0;
	const char *path = next_string(q, &at);
	int r = resolve(q, path, false);

	if (r)
		return r;
	return ok(q, xst_write(q->c, q->tx, q->path, q->path_len, q->data + at, q->len - at));
}

/* Where a missing node would be made, a missing path passes for a failed allocation. */
static int path_to_change(struct request *q)
{
	int r = only_path(q, false);

	return r == ENOENT ? ENOMEM : r;
}

static int do_mkdir(struct request *q)
{
	int r = path_to_change(q);

	return r ? r : ok(q, xst_mkdir(q->c, q->tx, q->path, q->path_len));
}

static int do_rm(struct request *q)
{
	int r = path_to_change(q);

	return r ? r : ok(q, xst_rm(q->c, q->tx, q->path, q->path_len));
}

/* The special names have permissions that only domain 0 can see and set. */
static int do_get_perms(struct request *q)
{
	struct xs_node *n;
	int r = only_path(q, q->c->privileged);

	if (r == 0)
		r = xst_get(q->c, q->tx, q->path, q->path_len, XS_PERM_R, &n);
	if (r)
		return r;
	char *out = q->c->store->reply;
	size_t len = xsp_format(n->perms, n->nr_perms, out, XENSTORE_PAYLOAD_MAX);
	return len ? reply(q, out, len) : E2BIG;
}

static bool introduced(struct xs_store *store, unsigned int domid)
{
	struct xs_domain *d = xsd_find(store, domid);

	return d && d->client;
}

static int do_set_perms(struct request *q)
{
	struct xs_perm perms[XS_PERMS_MAX];
	uint32_t nr, at = 0;
	const char *path = next_string(q, &at);

	/* Each permission ends in a NUL too, so the payload does. */
	if (!path || at == q->len || q->data[q->len - 1] != '\0')
		return EINVAL;
	int r = xsp_parse(q->data + at, q->len - at, '\0', perms, &nr);
	/* More than we keep is more than any quota, which is what is told to a domain. */
	if (r == E2BIG)
		return ENOSPC;
	/* The owner must exist. The library's own side may set one that is about to. */
	if (r == 0 && !q->c->privileged && !introduced(q->c->store, perms[0].domid))
		r = ENOENT;
	if (r == 0)
		r = resolve(q, path, q->c->privileged);
	return r ? r : ok(q, xst_set_perms(q->c, q->tx, q->path, q->path_len, perms, nr));
}

/* --- watches ---------------------------------------------------------------------------------- */

/* A path and a token, nothing else. */
static int watch_args(struct request *q, const char **ret_path, const char **ret_token)
{
	uint32_t at = 0;

	*ret_path = next_string(q, &at);
	*ret_token = *ret_path ? next_string(q, &at) : NULL;
	return *ret_token && at == q->len ? 0 : EINVAL;
}

/* Any name may follow the @; only two will ever be heard of. */
static int resolve_watch(struct request *q, const char *path)
{
	if (path[0] != '@')
		return resolve(q, path, false);
	q->path_len = strlen(path);
	if (q->path_len > XENSTORE_REL_PATH_MAX)
		return EINVAL;
	memcpy(q->path, path, q->path_len + 1);
	return 0;
}

static int do_watch(struct request *q)
{
	struct xs_client *c = q->c;
	const char *path, *token;
	int r = watch_args(q, &path, &token);

	if (r == 0)
		r = resolve_watch(q, path);
	if (r)
		return r;
	if (xsw_find(c, q->path, q->path_len, token))
		return EEXIST;
	if (!c->privileged && c->nr_watches >= c->quota->watches)
		return E2BIG;
	r = xsd_check_memory(c, sizeof(*q->new_watch) + q->len);
	if (r)
		return r;
	uint32_t prefix = 0;
	char home[40];
	if (path[0] != '/' && path[0] != '@')
		prefix = (uint32_t)snprintf(home, sizeof(home), "/local/domain/%u", c->domid);
	return ok(q, xsw_add(c, q->path, q->path_len, prefix, token, &q->new_watch));
}

static int do_unwatch(struct request *q)
{
	const char *path, *token;
	int r = watch_args(q, &path, &token);

	if (r)
		return r;
	/* What is no path is not watched either. */
	struct xs_watch *w =
		resolve_watch(q, path) ? NULL : xsw_find(q->c, q->path, q->path_len, token);
	if (!w)
		return ENOENT;
	xsw_del(w);
	return ok(q, 0);
}

static int do_reset_watches(struct request *q)
{
	xs_client_reset(q->c);
	return ok(q, 0);
}

/* --- transactions ----------------------------------------------------------------------------- */

static int do_transaction_start(struct request *q)
{
	uint32_t id;

	if (q->tx) /* they do not nest */
		return EBUSY;
	int r = xsx_start(q->c, &id);
	if (r)
		return r;
	char *out = q->c->store->reply;
	return reply(q, out, (size_t)snprintf(out, XENSTORE_PAYLOAD_MAX, "%u", id) + 1);
}

static int do_transaction_end(struct request *q)
{
	const char *arg = only_string(q);

	if (!arg || (strcmp(arg, "T") != 0 && strcmp(arg, "F") != 0))
		return EINVAL;
	if (!q->tx)
		return ENOENT;
	if (arg[0] == 'T')
		return ok(q, xsx_commit(q->tx));
	xsx_abort(q->tx);
	return ok(q, 0);
}

/* --- domains ---------------------------------------------------------------------------------- */

/* As atoi() takes it: errors go undetected, and that is documented. */
static int domid_arg(struct request *q, unsigned int *ret_domid)
{
	const char *arg = only_string(q);

	if (!arg)
		return EINVAL;
	*ret_domid = (unsigned int)strtol(arg, NULL, 10);
	return 0;
}

static int do_get_domain_path(struct request *q)
{
	unsigned int domid;
	int r = domid_arg(q, &domid);

	if (r)
		return r;
	char *out = q->c->store->reply;
	return reply(q, out,
		     (size_t)snprintf(out, XENSTORE_PAYLOAD_MAX, "/local/domain/%u", domid) + 1);
}

static int do_is_domain_introduced(struct request *q)
{
	unsigned int domid;
	int r = q->c->privileged ? domid_arg(q, &domid) : EACCES;

	if (r)
		return r;
	return reply(q, domid == DOMID_SELF || introduced(q->c->store, domid) ? "T" : "F", 2);
}

/* What domain 0 does by calls of the library instead, and nobody else may. */
static int do_privileged(struct request *q)
{
	return q->c->privileged ? ENOSYS : EACCES;
}

/* --- dispatch --------------------------------------------------------------------------------- */

enum { NO_TX = 1 }; /* the transaction in the header is ignored */

static const struct {
	handler *fn;
	unsigned int flags;
} handlers[XS_TYPE_COUNT] = {
	[XS_CONTROL] = {do_privileged, 0},
	[XS_DIRECTORY] = {do_directory, 0},
	[XS_READ] = {do_read, 0},
	[XS_GET_PERMS] = {do_get_perms, 0},
	[XS_WATCH] = {do_watch, NO_TX},
	[XS_UNWATCH] = {do_unwatch, NO_TX},
	[XS_TRANSACTION_START] = {do_transaction_start, 0},
	[XS_TRANSACTION_END] = {do_transaction_end, 0},
	[XS_INTRODUCE] = {do_privileged, NO_TX},
	[XS_RELEASE] = {do_privileged, NO_TX},
	[XS_GET_DOMAIN_PATH] = {do_get_domain_path, 0},
	[XS_WRITE] = {do_write, 0},
	[XS_MKDIR] = {do_mkdir, 0},
	[XS_RM] = {do_rm, 0},
	[XS_SET_PERMS] = {do_set_perms, 0},
	[XS_IS_DOMAIN_INTRODUCED] = {do_is_domain_introduced, NO_TX},
	[XS_RESUME] = {do_privileged, NO_TX},
	[XS_SET_TARGET] = {do_privileged, NO_TX},
	[XS_RESET_WATCHES] = {do_reset_watches, NO_TX},
	[XS_DIRECTORY_PART] = {do_directory_part, 0},
};

static int serve(struct request *q, uint32_t type, uint32_t tx_id)
{
	if (type >= XS_TYPE_COUNT || !handlers[type].fn)
		return ENOSYS;
	/* Refused before their arguments are looked at, and before the transaction is. */
	if (handlers[type].fn == do_privileged)
		return do_privileged(q);
	if (tx_id && !(handlers[type].flags & NO_TX)) {
		q->tx = xsx_find(q->c, tx_id);
		if (!q->tx)
			return ENOENT;
	}
	return handlers[type].fn(q);
}

uint32_t xsq_serve(struct xs_client *c, uint32_t type, uint32_t tx_id, char *data, uint32_t len,
		   const void **ret_data, uint32_t *ret_len, struct xs_watch **ret_watch)
{
	struct request q = {.c = c, .data = data, .len = len, .path = c->store->path};
	int r = serve(&q, type, tx_id);

	*ret_watch = q.new_watch;
	if (r) {
		const char *name = xsq_error_name(r);

		*ret_data = name;
		*ret_len = (uint32_t)strlen(name) + 1;
		return XS_ERROR;
	}
	*ret_data = q.reply;
	*ret_len = q.reply_len;
	return type;
}
