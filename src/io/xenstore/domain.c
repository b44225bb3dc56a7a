/* SPDX-License-Identifier: MIT */
/* What each domain holds in the store, and the clients. */
#include "io/xenstore/internal.h"

#include <stdlib.h>
#include <string.h>

static struct xs_domain **slot(struct xs_store *store, unsigned int domid)
{
	struct xs_domain **p = &store->domains[domid % XS_DOMAIN_BUCKETS];

	while (*p && (*p)->domid != domid)
		p = &(*p)->next;
	return p;
}

struct xs_domain *xsd_find(struct xs_store *store, unsigned int domid)
{
	return *slot(store, domid);
}

struct xs_domain *xsd_get(struct xs_store *store, unsigned int domid)
{
	struct xs_domain **p = slot(store, domid);

	if (!*p) {
		*p = calloc(1, sizeof(**p));
		if (*p)
			(*p)->domid = domid;
	}
	return *p;
}

void xsd_put(struct xs_store *store, struct xs_domain *d)
{
	if (d->nodes || d->client)
		return;
	struct xs_domain **p = slot(store, d->domid);
	*p = d->next;
	free(d);
}

int xsd_check_memory(const struct xs_client *c, uint64_t bytes)
{
	if (c->privileged || c->domain->memory + bytes <= c->quota->memory)
		return 0;
	return ENOMEM;
}

int xs_client_init(struct xs_client *c, struct xs_store *store, unsigned int domid)
{
	*c = (struct xs_client){
		.store = store,
		.domid = domid,
		.privileged = domid == 0,
		.quota = &store->quota,
		.next_tx = 1,
		.last_error = ENOENT,
	};
	TAILQ_INIT(&c->watches);
	TAILQ_INIT(&c->transactions);
	c->domain = xsd_get(store, domid);
	if (!c->domain)
		return ENOMEM;
	if (c->domain->client)
		return EEXIST;
	c->domain->client = c;
	return 0;
}

void xs_client_reset(struct xs_client *c)
{
	while (!TAILQ_EMPTY(&c->watches))
		xsw_del(TAILQ_FIRST(&c->watches));
	while (!TAILQ_EMPTY(&c->transactions))
		xsx_abort(TAILQ_FIRST(&c->transactions));
}

void xs_client_end(struct xs_client *c)
{
	xs_client_reset(c);
	c->domain->client = NULL;
	xsd_put(c->store, c->domain);
	c->domain = NULL;
}

/* --- the end of a domain ---------------------------------------------------------------------- */

static bool has_rights(const struct xs_node *n, unsigned int domid)
{
	for (uint32_t i = 0; i < n->nr_perms; i++)
		if (n->perms[i].domid == domid)
			return true;
	return false;
}

/* Remove the node if the domain owns it, else strike the domain from its permissions. */
static void strip(struct xs_store *store, const char *path, size_t len, unsigned int domid)
{
	struct xs_node *n = xst_find(store, path, len);
	struct xs_perm perms[XS_PERMS_MAX];
	uint32_t nr = 0;

	if (!n) /* went with its parent */
		return;
	if (n->perms[0].domid == domid) {
		xst_rm(&store->dom0, NULL, path, len);
		return;
	}
	for (uint32_t i = 0; i < n->nr_perms; i++)
		if (n->perms[i].domid != domid)
			perms[nr++] = n->perms[i];
	/* Not an event: nobody who still exists sees a difference. */
	n = xsn_with_perms(n, perms, nr);
	if (n)
		xst_store(store, path, len, n, NULL);
}

/* The next domain of that number must not inherit anything. */
static void strip_all(struct xs_store *store, unsigned int domid)
{
	struct xs_entry **found = malloc((store->map.nr + 1) * sizeof(*found));
	size_t nr = 0;

	if (!found)
		return;
	for (size_t i = 0; i < store->map.nr_buckets; i++)
		for (struct xs_entry *e = store->map.buckets[i]; e; e = e->next)
			if (has_rights(e->node, domid))
				found[nr++] = e;
	/* Removing one removes others: keep copies of the paths, not the entries. */
	for (size_t i = 0; i < nr; i++) {
		struct xs_entry *copy = malloc(sizeof(*copy) + found[i]->len);

		if (copy)
			memcpy(copy, found[i], sizeof(*copy) + found[i]->len);
		found[i] = copy;
	}
	for (size_t i = 0; i < nr; i++) {
		if (found[i])
			strip(store, found[i]->path, found[i]->len, domid);
		free(found[i]);
	}
	free(found);
}

void xs_domain_release(struct xs_store *store, unsigned int domid)
{
	if (domid == 0)
		return;
	pthread_mutex_lock(&store->lock);
	strip_all(store, domid);
	xsw_fire_special(store, "@releaseDomain");
	pthread_mutex_unlock(&store->lock);
}
