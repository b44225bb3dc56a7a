/* SPDX-License-Identifier: MIT */
/*
 * The operations on the tree with their permission checks and quotas, the same for the wire and for
 * the library, in a transaction or not. Each is atomic: it fails without a trace.
 */
#include "io/xenstore/internal.h"

#include <stdlib.h>
#include <string.h>

/*
 * What to tell about a node that is not there: that, only to those who could have read (or written,
 * whichever they asked for) the nearest node above it.
 */
static int missing_error(struct xs_client *c, struct xs_tx *tx, const char *path, size_t len,
			 uint32_t bits)
{
	while ((len = xsp_parent(path, len))) {
		struct xs_node *n;
		int r = xst_lookup(c->store, tx, path, len, &n);

		if (r)
			return r;
		if (n)
			return xsp_bits(c, n->perms, n->nr_perms) & bits ? ENOENT : EACCES;
	}
	return ENOENT;
}

int xst_get(struct xs_client *c, struct xs_tx *tx, const char *path, size_t len, uint32_t bits,
	    struct xs_node **ret_node)
{
	int r = xst_lookup(c->store, tx, path, len, ret_node);

	if (r == 0 && !*ret_node)
		r = missing_error(c, tx, path, len, bits);
	else if (r == 0 && (xsp_bits(c, (*ret_node)->perms, (*ret_node)->nr_perms) & bits) != bits)
		r = EACCES;
	if (r)
		c->last_error = r;
	return r;
}

/* Whether the client may have a node of this shape. */
static int check_size(const struct xs_client *c, const struct xs_node *n)
{
	if (c->privileged)
		return 0;
	if (xsn_quota_size(n) >= c->quota->node_size)
		return ENOSPC;
	return xsd_check_memory(c, xsn_memory(n));
}

static int check_count(const struct xs_client *c, const struct xs_tx *tx, size_t more)
{
	if (c->privileged)
		return 0;
	int64_t have = (int64_t)c->domain->nodes + (tx ? tx->node_delta : 0);
	return have + (int64_t)more > (int64_t)c->quota->nodes ? ENOSPC : 0;
}

/* Put a node that passes the quotas; takes the reference. */
static int put_checked(struct xs_client *c, struct xs_tx *tx, const char *path, size_t len,
		       struct xs_node *n)
{
	if (!n)
		return ENOMEM;
	int r = check_size(c, n);
	if (r) {
		xsn_unref(n);
		return r;
	}
	return xst_put(c->store, tx, path, len, n);
}

/* Create the nodes from `path` up to, but not, the existing one at path[0..top). */
static int create_chain(struct xs_client *c, struct xs_tx *tx, const char *path, size_t len,
			size_t top, const struct xs_node *ancestor, const void *data,
			uint32_t data_len)
{
	struct xs_perm perms[XS_PERMS_MAX];
	uint32_t nr = ancestor->nr_perms;
	size_t failed = 0;
	int r = 0;

	memcpy(perms, ancestor->perms, nr * sizeof(perms[0]));
	/* Who creates a node owns it; what domain 0 creates belongs to whom the parent does. */
	if (!c->privileged)
		perms[0].domid = c->domid;
	for (size_t at = len, below = 0; at > top; below = at, at = xsp_parent(path, at)) {
		size_t leaf_len = 0;
		const char *leaf = below ? xsp_leaf(path, below, &leaf_len) : NULL;
		char child[XS_PATH_BUF];

		if (leaf) {
			memcpy(child, leaf, leaf_len);
			child[leaf_len++] = '\0';
		}
		r = put_checked(c, tx, path, at,
				xsn_new(perms, nr, below ? NULL : data, below ? 0 : data_len, child,
					(uint32_t)leaf_len));
		if (r) {
			failed = at;
			break;
		}
	}
	/* Undo: nothing refers to the new nodes yet. */
	for (size_t at = len; r && at > failed; at = xsp_parent(path, at))
		xst_del(c->store, tx, path, at);
	return r;
}

/* `path` does not exist and the client may create it. */
static int create(struct xs_client *c, struct xs_tx *tx, const char *path, size_t len,
		  const void *data, uint32_t data_len)
{
	struct xs_node *ancestor = NULL;
	size_t top = len, below = len, count = 0;

	while (!ancestor) {
		below = top;
		top = xsp_parent(path, top);
		count++;
		if (!top)
			return EINVAL; /* a special name: the library makes those */
		int r = xst_lookup(c->store, tx, path, top, &ancestor);
		if (r)
			return r;
	}
	int r = check_count(c, tx, count);
	if (r)
		return r;
	xsn_ref(ancestor);
	r = create_chain(c, tx, path, len, top, ancestor, data, data_len);
	if (r == 0) {
		size_t leaf_len;
		const char *leaf = xsp_leaf(path, below, &leaf_len);

		r = put_checked(c, tx, path, top, xsn_with_child(ancestor, leaf, leaf_len));
		for (size_t at = len; r && at > top; at = xsp_parent(path, at))
			xst_del(c->store, tx, path, at);
	}
	xsn_unref(ancestor);
	return r;
}

static struct xs_node *now(struct xs_client *c, struct xs_tx *tx, const char *path, size_t len)
{
	struct xs_node *n;

	return xst_lookup(c->store, tx, path, len, &n) ? NULL : n;
}

int xst_write(struct xs_client *c, struct xs_tx *tx, const char *path, size_t len, const void *data,
	      uint32_t data_len)
{
	struct xs_node *old;
	int r = xst_get(c, tx, path, len, XS_PERM_W, &old);

	if (r && r != ENOENT)
		return r;
	xsn_ref(old);
	if (old)
		r = put_checked(c, tx, path, len, xsn_with_data(old, data, data_len));
	else
		r = create(c, tx, path, len, data, data_len);
	if (r == 0)
		xsw_fire(c->store, tx, path, len, false, old, now(c, tx, path, len));
	xsn_unref(old);
	return r;
}

int xst_mkdir(struct xs_client *c, struct xs_tx *tx, const char *path, size_t len)
{
	struct xs_node *n;
	int r = xst_get(c, tx, path, len, XS_PERM_W, &n);

	if (r != ENOENT)
		return r;
	r = create(c, tx, path, len, NULL, 0);
	if (r == 0)
		xsw_fire(c->store, tx, path, len, false, NULL, now(c, tx, path, len));
	return r;
}

int xst_set_perms(struct xs_client *c, struct xs_tx *tx, const char *path, size_t len,
		  const struct xs_perm *perms, uint32_t nr_perms)
{
	struct xs_node *old;

	if (!c->privileged && nr_perms > c->quota->node_perms)
		return ENOSPC;
	int r = xst_get(c, tx, path, len, XS_PERM_W | XS_PERM_OWNER, &old);
	if (r)
		return r;
	/* Or a domain could charge its nodes to another one. */
	if (!c->privileged && perms[0].domid != old->perms[0].domid)
		return EPERM;
	xsn_ref(old);
	r = put_checked(c, tx, path, len, xsn_with_perms(old, perms, nr_perms));
	if (r == 0)
		xsw_fire(c->store, tx, path, len, false, old, now(c, tx, path, len));
	xsn_unref(old);
	return r;
}

/* --- removing a subtree ----------------------------------------------------------------------- */

/* The paths to be removed, each after all below it: a 32-bit length and the bytes. */
struct doomed {
	char *bytes;
	size_t used, size;
};

static int doom(struct doomed *d, const char *path, size_t len)
{
	uint32_t n = (uint32_t)len;

	if (d->size - d->used < sizeof(n) + len) {
		size_t size = d->size * 2 + sizeof(n) + len + 256;
		char *bytes = realloc(d->bytes, size);

		if (!bytes)
			return ENOMEM;
		d->bytes = bytes;
		d->size = size;
	}
	memcpy(d->bytes + d->used, &n, sizeof(n));
	memcpy(d->bytes + d->used + sizeof(n), path, len);
	d->used += sizeof(n) + len;
	return 0;
}

struct level {
	const struct xs_node *node;
	uint32_t next_child; /* offset in its list */
	uint32_t path_len;
};

struct walk {
	struct level *levels;
	size_t depth, size;
	char path[XS_PATH_BUF];
};

static int descend(struct walk *w, const struct xs_node *n, size_t path_len)
{
	if (w->depth == w->size) {
		size_t size = w->size * 2 + 16;
		struct level *levels = realloc(w->levels, size * sizeof(*levels));

		if (!levels)
			return ENOMEM;
		w->levels = levels;
		w->size = size;
	}
	w->levels[w->depth++] = (struct level){.node = n, .path_len = (uint32_t)path_len};
	return 0;
}

/* All below and with `path`, in post-order. Depth is what a guest chose: no recursion. */
static int collect(struct xs_client *c, struct xs_tx *tx, const char *path, size_t len,
		   const struct xs_node *top, struct doomed *d)
{
	struct walk *w = calloc(1, sizeof(*w));
	if (!w)
		return ENOMEM;
	memcpy(w->path, path, len);
	int r = descend(w, top, len);
	while (r == 0 && w->depth) {
		struct level *l = &w->levels[w->depth - 1];

		if (l->next_child >= l->node->child_len) {
			r = doom(d, w->path, l->path_len);
			w->depth--;
			continue;
		}
		const char *name = xsn_children(l->node) + l->next_child;
		size_t name_len = strlen(name), at = l->path_len;
		struct xs_node *n;

		l->next_child += (uint32_t)name_len + 1;
		if (at + 1 + name_len > sizeof(w->path))
			continue;
		w->path[at] = '/';
		memcpy(w->path + at + 1, name, name_len);
		r = xst_lookup(c->store, tx, w->path, at + 1 + name_len, &n);
		if (r == 0 && n)
			r = descend(w, n, at + 1 + name_len);
	}
	free(w->levels);
	free(w);
	return r;
}

static void remove_all(struct xs_client *c, struct xs_tx *tx, const struct doomed *d,
		       size_t top_len)
{
	uint32_t n;

	/* First the events, while permissions can still be seen, then the nodes. */
	for (size_t at = 0; at < d->used; at += sizeof(n) + n) {
		memcpy(&n, d->bytes + at, sizeof(n));
		const char *path = d->bytes + at + sizeof(n);
		xsw_fire(c->store, tx, path, n, n != top_len, now(c, tx, path, n), NULL);
	}
	for (size_t at = 0; at < d->used; at += sizeof(n) + n) {
		memcpy(&n, d->bytes + at, sizeof(n));
		xst_del(c->store, tx, d->bytes + at + sizeof(n), n);
	}
}

int xst_rm(struct xs_client *c, struct xs_tx *tx, const char *path, size_t len)
{
	struct xs_node *n, *parent;
	size_t parent_len = xsp_parent(path, len), leaf_len;
	int r = xst_get(c, tx, path, len, XS_PERM_W, &n);

	if (r == ENOENT && parent_len) {
		/* Already gone is fine, if there is a place where it could have been. */
		r = xst_lookup(c->store, tx, path, parent_len, &parent);
		return r ? r : parent ? 0 : ENOENT;
	}
	if (r)
		return r;
	if (!parent_len)
		return EINVAL;
	struct doomed d = {0};
	r = collect(c, tx, path, len, n, &d);
	if (r == 0)
		r = xst_lookup(c->store, tx, path, parent_len, &parent);
	if (r == 0) {
		const char *leaf = xsp_leaf(path, len, &leaf_len);
		struct xs_node *without = xsn_without_child(parent, leaf, leaf_len);

		r = without ? xst_put(c->store, tx, path, parent_len, without) : ENOMEM;
	}
	if (r == 0)
		remove_all(c, tx, &d, len);
	free(d.bytes);
	return r;
}
