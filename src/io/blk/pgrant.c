/* SPDX-License-Identifier: MIT */
#include "io/blk/pgrant.h"

#include <assert.h>
#include <stdlib.h>

#define BUCKETS 1024u /* a power of two */
#define NONE	(-1)

struct entry {
	uint32_t ref;
	unsigned int users;
	void *page;
	int hash_next;
	/* Those without users, least recently used first; or the list of free entries by lru_next.
	 */
	int lru_prev, lru_next;
};

struct blk_pgrants {
	struct io_guest *guest;
	unsigned int max;
	unsigned int used; /* entries ever handed out from the end of the array */
	unsigned int count;
	int free;
	int lru_first, lru_last;
	int buckets[BUCKETS];
	struct entry entries[];
};

static int *bucket_of(struct blk_pgrants *pg, uint32_t ref)
{
	return &pg->buckets[(ref * 2654435761u >> 16) & (BUCKETS - 1)];
}

struct blk_pgrants *blk_pgrants_new(struct io_guest *guest, unsigned int max)
{
	struct blk_pgrants *pg = calloc(1, sizeof(*pg) + max * sizeof(pg->entries[0]));

	if (!pg)
		return NULL;
	pg->guest = guest;
	pg->max = max;
	pg->free = pg->lru_first = pg->lru_last = NONE;
	for (unsigned int i = 0; i < BUCKETS; i++)
		pg->buckets[i] = NONE;
	return pg;
}

static void lru_remove(struct blk_pgrants *pg, int i)
{
	struct entry *e = &pg->entries[i];

	if (e->lru_prev == NONE)
		pg->lru_first = e->lru_next;
	else
		pg->entries[e->lru_prev].lru_next = e->lru_next;
	if (e->lru_next == NONE)
		pg->lru_last = e->lru_prev;
	else
		pg->entries[e->lru_next].lru_prev = e->lru_prev;
}

static void lru_append(struct blk_pgrants *pg, int i)
{
	struct entry *e = &pg->entries[i];

	e->lru_prev = pg->lru_last;
	e->lru_next = NONE;
	if (pg->lru_last == NONE)
		pg->lru_first = i;
	else
		pg->entries[pg->lru_last].lru_next = i;
	pg->lru_last = i;
}

/* Unmap an entry without users and make it free. */
static void evict(struct blk_pgrants *pg, int i)
{
	struct entry *e = &pg->entries[i];
	int *p = bucket_of(pg, e->ref);

	while (*p != i)
		p = &pg->entries[*p].hash_next;
	*p = e->hash_next;
	lru_remove(pg, i);
	io_grant_unmap(pg->guest, e->ref, true);
	e->lru_next = pg->free;
	pg->free = i;
	pg->count--;
}

static int free_entry(struct blk_pgrants *pg)
{
	if (pg->free == NONE && pg->used < pg->max)
		return (int)pg->used++;
	if (pg->free == NONE && pg->lru_first != NONE)
		evict(pg, pg->lru_first);
	int i = pg->free;
	if (i != NONE)
		pg->free = pg->entries[i].lru_next;
	return i;
}

int blk_pgrants_get(struct blk_pgrants *pg, uint32_t ref, void **ret_page)
{
	int *bucket = bucket_of(pg, ref);

	for (int i = *bucket; i != NONE; i = pg->entries[i].hash_next) {
		struct entry *e = &pg->entries[i];

		if (e->ref != ref)
			continue;
		if (!e->users++)
			lru_remove(pg, i);
		*ret_page = e->page;
		return i;
	}

	int i = free_entry(pg);
	if (i == NONE)
		return NONE;
	struct entry *e = &pg->entries[i];
	if (io_grant_map(pg->guest, ref, true, &e->page) < 0) {
		e->lru_next = pg->free;
		pg->free = i;
		return NONE;
	}
	e->ref = ref;
	e->users = 1;
	e->hash_next = *bucket;
	*bucket = i;
	pg->count++;
	*ret_page = e->page;
	return i;
}

void blk_pgrants_put(struct blk_pgrants *pg, int handle)
{
	struct entry *e = &pg->entries[handle];

	assert(e->users);
	if (!--e->users)
		lru_append(pg, handle);
}

unsigned int blk_pgrants_count(const struct blk_pgrants *pg)
{
	return pg->count;
}

void blk_pgrants_free(struct blk_pgrants *pg)
{
	if (!pg)
		return;
	while (pg->lru_first != NONE)
		evict(pg, pg->lru_first);
	assert(!pg->count);
	free(pg);
}
