/* SPDX-License-Identifier: MIT */
/*
 * Transactions. Each keeps its own version of the nodes it has read or changed, together with the
 * generation the store's node had at the first access. It can be committed if none of these has
 * changed since (a node's generation changes with its value, its permissions and its children).
 */
#include "io/xenstore/internal.h"

#include <stdlib.h>
#include <string.h>

static struct xs_tx_entry *tx_entry(struct xs_entry *e)
{
	return (struct xs_tx_entry *)((char *)e - offsetof(struct xs_tx_entry, e));
}

int xsx_start(struct xs_client *c, uint32_t *ret_id)
{
	if (!c->privileged && c->nr_transactions >= c->quota->transactions)
		return ENOSPC;
	struct xs_tx *tx = calloc(1, sizeof(*tx));
	if (!tx)
		return ENOMEM;
	if (xsm_init(&tx->map, 16)) {
		free(tx);
		return ENOMEM;
	}
	tx->client = c;
	TAILQ_INIT(&tx->entries);
	do {
		tx->id = c->next_tx++;
	} while (tx->id == 0 || xsx_find(c, tx->id));
	TAILQ_INSERT_TAIL(&c->transactions, tx, link);
	c->nr_transactions++;
	*ret_id = tx->id;
	return 0;
}

struct xs_tx *xsx_find(struct xs_client *c, uint32_t id)
{
	struct xs_tx *tx;

	TAILQ_FOREACH(tx, &c->transactions, link)
	if (tx->id == id)
		return tx;
	return NULL;
}

int xsx_access(struct xs_tx *tx, const char *path, size_t len, struct xs_tx_entry **ret_entry)
{
	struct xs_store *store = tx->client->store;
	uint64_t hash = xsp_hash(store->hash_key, path, len);
	struct xs_entry *e = xsm_find(&tx->map, hash, path, len);

	if (e) {
		*ret_entry = tx_entry(e);
		return 0;
	}
	if (!tx->client->privileged && tx->touched >= tx->client->quota->transaction_nodes) {
		tx->failed = true;
		return ENOSPC;
	}
	struct xs_node *base = xst_find(store, path, len);
	uint64_t bytes = sizeof(struct xs_tx_entry) + len + (base ? xsn_memory(base) : 0);
	if (xsd_check_memory(tx->client, bytes))
		return ENOMEM;
	struct xs_tx_entry *te = malloc(sizeof(*te) + len);
	if (!te)
		return ENOMEM;
	*te = (struct xs_tx_entry){
		.base = xsn_ref(base),
		.base_generation = base ? base->generation : 0,
		.e = {.hash = hash, .node = xsn_ref(base), .len = (uint32_t)len},
	};
	memcpy(te->e.path, path, len);
	xsm_add(&tx->map, &te->e);
	TAILQ_INSERT_TAIL(&tx->entries, te, link);
	tx->touched++;
	tx->memory += bytes;
	tx->client->domain->memory += bytes;
	*ret_entry = te;
	return 0;
}

static void free_entry(struct xs_entry *e)
{
	struct xs_tx_entry *te = tx_entry(e);

	xsn_unref(te->base);
	xsn_unref(te->e.node);
	free(te->fresh);
	free(te);
}

void xsx_abort(struct xs_tx *tx)
{
	struct xs_client *c = tx->client;

	TAILQ_REMOVE(&c->transactions, tx, link);
	c->nr_transactions--;
	c->domain->memory -= tx->memory;
	xsm_free(&tx->map, free_entry);
	free(tx);
}

/* All that can fail, before anything is changed. */
static int prepare(struct xs_tx *tx)
{
	struct xs_client *c = tx->client;
	struct xs_store *store = c->store;
	struct xs_tx_entry *te;

	if (tx->failed)
		return ENOMEM;
	TAILQ_FOREACH(te, &tx->entries, link)
	{
		struct xs_node *now = xst_find(store, te->e.path, te->e.len);

		if ((now ? now->generation : 0) != te->base_generation)
			return EAGAIN;
	}
	if (!c->privileged && tx->node_delta > 0 &&
	    (int64_t)c->domain->nodes + tx->node_delta > (int64_t)c->quota->nodes)
		return ENOSPC;
	TAILQ_FOREACH(te, &tx->entries, link)
	{
		if (!te->modified || !te->e.node)
			continue;
		if (!te->base && !(te->fresh = xst_new_entry(store, te->e.path, te->e.len)))
			return ENOMEM;
		if (!xsd_get(store, te->e.node->perms[0].domid))
			return ENOMEM;
	}
	return 0;
}

int xsx_commit(struct xs_tx *tx)
{
	struct xs_store *store = tx->client->store;
	struct xs_tx_entry *te;
	int r = prepare(tx);

	if (r) {
		xsx_abort(tx);
		return r;
	}
	/* Deletions last: an event of a deleted node asks for its parent's permissions. */
	TAILQ_FOREACH(te, &tx->entries, link)
	{
		if (!te->modified || !te->e.node)
			continue;
		/* Cannot fail after prepare(). The store gets the entry's own node: it is final. */
		xst_store(store, te->e.path, te->e.len, xsn_ref(te->e.node), te->fresh);
		te->fresh = NULL;
	}
	TAILQ_FOREACH(te, &tx->entries, link)
	if (te->fire && (te->base || te->e.node))
		xsw_fire(store, NULL, te->e.path, te->e.len, te->exact, te->base, te->e.node);
	TAILQ_FOREACH(te, &tx->entries, link)
	if (te->modified && !te->e.node)
		xst_del(store, NULL, te->e.path, te->e.len);
	xsx_abort(tx);
	return 0;
}
