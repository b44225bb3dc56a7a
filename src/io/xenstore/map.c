/* SPDX-License-Identifier: MIT */
/* A hash table from paths to nodes. */
#include "io/xenstore/internal.h"

#include <stdlib.h>
#include <string.h>

int xsm_init(struct xs_map *map, size_t buckets)
{
	*map = (struct xs_map){.nr_buckets = buckets};
	map->buckets = calloc(buckets, sizeof(*map->buckets));
	return map->buckets ? 0 : ENOMEM;
}

void xsm_free(struct xs_map *map, void (*free_entry)(struct xs_entry *))
{
	for (size_t i = 0; map->buckets && i < map->nr_buckets; i++) {
		for (struct xs_entry *e = map->buckets[i], *next; e; e = next) {
			next = e->next;
			free_entry(e);
		}
	}
	free(map->buckets);
	*map = (struct xs_map){0};
}

struct xs_entry *xsm_find(const struct xs_map *map, uint64_t hash, const char *path, size_t len)
{
	struct xs_entry *e = map->buckets[hash & (map->nr_buckets - 1)];

	while (e && !(e->hash == hash && e->len == len && memcmp(e->path, path, len) == 0))
		e = e->next;
	return e;
}

static void grow(struct xs_map *map)
{
	struct xs_map bigger;

	/* Without memory the chains just get longer. */
	if (xsm_init(&bigger, map->nr_buckets * 2))
		return;
	for (size_t i = 0; i < map->nr_buckets; i++) {
		for (struct xs_entry *e = map->buckets[i], *next; e; e = next) {
			struct xs_entry **b = &bigger.buckets[e->hash & (bigger.nr_buckets - 1)];

			next = e->next;
			e->next = *b;
			*b = e;
		}
	}
	bigger.nr = map->nr;
	free(map->buckets);
	*map = bigger;
}

void xsm_add(struct xs_map *map, struct xs_entry *e)
{
	if (map->nr >= map->nr_buckets)
		grow(map);
	struct xs_entry **b = &map->buckets[e->hash & (map->nr_buckets - 1)];

	e->next = *b;
	*b = e;
	map->nr++;
}

void xsm_del(struct xs_map *map, struct xs_entry *e)
{
	struct xs_entry **p = &map->buckets[e->hash & (map->nr_buckets - 1)];

	while (*p != e)
		p = &(*p)->next;
	*p = e->next;
	map->nr--;
}
