/* SPDX-License-Identifier: MIT */
/* Guest address -> host address, host address -> fragment, page -> fragments. */
#include "exec/ring3/translate/internal.h"

/*
 * The flat table is demand-zero; an entry that was never written is 0 and a jump through it faults
 * at address 0 (XLATE_MISS). Pages that are used at all are filled with the address of the miss
 * trampoline, which is faster than a fault.
 */
static void fill_page(struct xlate *x, uint32_t index)
{
	uint32_t page = index >> 10, *p = (uint32_t *)XLATE_TABLE + ((uint64_t)page << 10);
	unsigned int k;

	if (x->touched_map[page >> 6] & 1ull << (page & 63))
		return;
	x->touched_map[page >> 6] |= 1ull << (page & 63);
	x->touched[x->nr_touched++] = page;
	for (k = 0; k < 1024; k++)
		p[k] = TRAMP_MISS;
}

static uint32_t far_slot(const struct xlate *x, uint64_t gva)
{
	uint32_t h = (uint32_t)((gva * 0x9e3779b97f4a7c15ull) >> 40) & (MAX_FAR - 1);
	uint32_t del = ~0u;

	for (;; h = (h + 1) & (MAX_FAR - 1)) {
		if (!x->far[h].host)
			return del != ~0u ? del : h;
		if (x->far[h].host == 1) {
			if (del == ~0u)
				del = h;
		} else if (x->far[h].gva == gva) {
			return h;
		}
	}
}

uint32_t xlate_lookup(const struct xlate *x, uint64_t gva)
{
	uint32_t v;

	if (in_window(gva)) {
		v = FLAT(gva);
		return v == TRAMP_MISS ? 0 : v;
	}
	if (!x->nr_far)
		return 0;
	v = far_slot(x, gva);
	return x->far[v].host > 1 ? (uint32_t)x->far[v].host : 0;
}

void xlate_map(struct xlate *x, uint64_t gva, uint32_t host)
{
	uint32_t s;

	if (in_window(gva)) {
		fill_page(x, FLAT_INDEX(gva));
		FLAT(gva) = host;
		return;
	}
	s = far_slot(x, gva);
	if (!x->far[s].host)
		x->nr_far++; /* deleted ones stay counted: probes still walk over them */
	x->far[s].gva = gva;
	x->far[s].host = host;
}

void xlate_unmap(struct xlate *x, uint64_t gva, uint32_t host)
{
	uint32_t s;

	if (xlate_lookup(x, gva) != host)
		return;
	if (in_window(gva)) {
		FLAT(gva) = TRAMP_MISS;
		return;
	}
	s = far_slot(x, gva);
	x->far[s].host = 1;
}

void xlate_forget_lookups(struct xlate *x)
{
	unsigned int k, j;

	for (k = 0; k < x->nr_touched; k++) {
		uint32_t *p = (uint32_t *)XLATE_TABLE + ((uint64_t)x->touched[k] << 10);

		for (j = 0; j < 1024; j++)
			p[j] = TRAMP_MISS;
	}
	if (x->nr_far)
		__builtin_memset(x->far, 0, MAX_FAR * sizeof(*x->far));
	x->nr_far = 0;
}

uint32_t xlate_frag_of(const struct xlate *x, uint32_t host)
{
	uint32_t lo = 1, hi = x->nr_frags + 1;

	while (hi - lo > 1) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (x->frags[mid].host <= host)
			lo = mid;
		else
			hi = mid;
	}
	if (lo > x->nr_frags || host < x->frags[lo].host || host >= x->frags[lo].end)
		return 0;
	return lo;
}

uint32_t xlate_lookup_call(const struct xlate *x, uint64_t gva)
{
	uint32_t host = xlate_lookup(x, gva), k = host ? xlate_frag_of(x, host) : 0;
	const struct frag *f = &x->frags[k];

	return k && (f->flags & FRAG_CALLED) && frag_body(f) == host ? host : 0;
}

/*
 * Nearly every page and frame that somebody asks about holds no code: a bit says so at the cost of
 * one load. Frames have one each, guest pages share them.
 */
static uint64_t *filter_word(struct xlate *x, uint64_t key, uint64_t *bit)
{
	uint64_t n = key & PAGE_REC_FRAME ? key & (FILTER_FRAMES - 1)
					  : FILTER_FRAMES + (key & (FILTER_PAGES - 1));

	*bit = 1ull << (n & 63);
	return &x->filter[n >> 6];
}

struct page_rec *xlate_page(struct xlate *x, uint64_t key, bool make)
{
	uint64_t bit, *filter = filter_word(x, key, &bit);
	uint32_t h = (uint32_t)((key * 0x9e3779b97f4a7c15ull) >> 40) & (2 * MAX_PAGES - 1);
	struct page_rec *r;

	if (!(*filter & bit) && !make)
		return NULL;
	for (; x->page_hash[h]; h = (h + 1) & (2 * MAX_PAGES - 1)) {
		r = &x->pages[x->page_hash[h]];
		if (r->key == key)
			return r;
	}
	if (!make)
		return NULL;
	*filter |= bit;
	x->page_hash[h] = ++x->nr_pages; /* xlate_translate() made sure that there is room */
	r = &x->pages[x->nr_pages];
	*r = (struct page_rec){.key = key};
	return r;
}
