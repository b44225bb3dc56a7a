/* SPDX-License-Identifier: MIT */
/* Looking up, replacing and deleting single nodes, in the store or in a transaction's view of it.
 */
#include "io/xenstore/internal.h"

#include <stdlib.h>
#include <string.h>

static void account(struct xs_domain *d, const struct xs_node *n, size_t path_len, bool more)
{
	uint64_t bytes = sizeof(struct xs_entry) + path_len + xsn_memory(n);

	if (more) {
		d->nodes++;
		d->memory += bytes;
	} else {
		d->nodes--;
		d->memory -= bytes;
	}
}

static void disown(struct xs_store *store, struct xs_node *n, size_t path_len)
{
	struct xs_domain *d = xsd_find(store, n->perms[0].domid);

	account(d, n, path_len, false);
	xsd_put(store, d);
	xsn_unref(n);
}

static struct xs_entry *find(struct xs_store *store, const char *path, size_t len)
{
	return xsm_find(&store->map, xsp_hash(store->hash_key, path, len), path, len);
}

struct xs_entry *xst_new_entry(struct xs_store *store, const char *path, size_t len)
{
	struct xs_entry *e = malloc(sizeof(*e) + len);

	if (!e)
		return NULL;
	*e = (struct xs_entry){.hash = xsp_hash(store->hash_key, path, len), .len = (uint32_t)len};
	memcpy(e->path, path, len);
	return e;
}

struct xs_node *xst_find(struct xs_store *store, const char *path, size_t len)
{
	struct xs_entry *e = find(store, path, len);

	return e ? e->node : NULL;
}

int xst_lookup(struct xs_store *store, struct xs_tx *tx, const char *path, size_t len,
	       struct xs_node **ret_node)
{
	if (!tx) {
		*ret_node = xst_find(store, path, len);
		return 0;
	}
	struct xs_tx_entry *te;
	int r = xsx_access(tx, path, len, &te);

	*ret_node = r ? NULL : te->e.node;
	return r;
}

/* Into the store. `fresh` is for a node that does not exist yet: NULL to allocate it here. */
int xst_store(struct xs_store *store, const char *path, size_t len, struct xs_node *node,
	      struct xs_entry *fresh)
{
	struct xs_domain *d = xsd_get(store, node->perms[0].domid);
	struct xs_entry *e = find(store, path, len);

	if (!d || (!e && !fresh && !(fresh = xst_new_entry(store, path, len)))) {
		if (d)
			xsd_put(store, d);
		xsn_unref(node);
		return ENOMEM;
	}
	account(d, node, len, true);
	node->generation = ++store->generation;
	if (e) {
		disown(store, e->node, len);
	} else {
		e = fresh;
		xsm_add(&store->map, e);
	}
	e->node = node;
	return 0;
}

static void tx_account(struct xs_tx *tx, const struct xs_node *n, bool more)
{
	if (!n)
		return;
	if (n->perms[0].domid == tx->client->domid)
		tx->node_delta += more ? 1 : -1;
	uint64_t bytes = xsn_memory(n);
	tx->memory += more ? bytes : -bytes;
	tx->client->domain->memory += more ? bytes : -bytes;
}

static void tx_replace(struct xs_tx *tx, struct xs_tx_entry *te, struct xs_node *node)
{
	tx_account(tx, te->e.node, false);
	tx_account(tx, node, true);
	xsn_unref(te->e.node);
	te->e.node = node;
	te->modified = true;
}

int xst_put(struct xs_store *store, struct xs_tx *tx, const char *path, size_t len,
	    struct xs_node *node)
{
	if (!tx)
		return xst_store(store, path, len, node, NULL);
	struct xs_tx_entry *te;
	int r = xsx_access(tx, path, len, &te);
	if (r) {
		xsn_unref(node);
		return r;
	}
	node->generation = ++store->generation;
	tx_replace(tx, te, node);
	return 0;
}

void xst_del(struct xs_store *store, struct xs_tx *tx, const char *path, size_t len)
{
	if (tx) {
		struct xs_tx_entry *te;

		/* The caller has looked it up, so this only finds the record. */
		if (xsx_access(tx, path, len, &te) == 0)
			tx_replace(tx, te, NULL);
		return;
	}
	struct xs_entry *e = find(store, path, len);
	if (!e)
		return;
	xsm_del(&store->map, e);
	disown(store, e->node, len);
	free(e);
	store->generation++;
}
