/* SPDX-License-Identifier: MIT */
/* Guest address -> host address, host address -> fragment, page -> fragments. */
#include "exec/ring3/translate/internal.h"
#include "exec/ring3/translate/notes.h"

static bool is_touched(const struct xlate *x, uint32_t index)
{
	return x->touched_map[index >> 16] >> (index >> 10 & 63) & 1;
}

/* One that is there already is of a newer fragment: the lists have these first. */
static void put_back(uint64_t first, uint64_t gva, uint32_t host)
{
	if (gva - first < 1024 && FLAT(gva) == TRAMP_MISS)
		FLAT(gva) = host;
}

/* Not the first of a group (op_group.c), which has a register spilled: not to be entered. */
static bool inside(const struct note_iter *it)
{
	return it->nsteps && ACT_GET_SP0(it->steps[1]);
}

/* The entries of [first, first + 1024) that are in fragments of this guest page. */
static void refill(struct xlate *x, uint64_t page, uint64_t first)
{
	const struct page_rec *r = xlate_page(x, page, false);
	uint32_t k, next;

	for (k = r ? r->head : 0; k; k = next) {
		const struct frag *f = &x->frags[k];
		const bool second = f->page[1] == (uint32_t)(r - x->pages);
		const int64_t at = (int64_t)(f->gva - first);
		struct note_iter it;

		next = f->next_page[second];
		if (second || (f->flags & (FRAG_DEAD | FRAG_STEP | FRAG_SNIPPET)) || at >= 1024 ||
		    at + f->glen <= 0)
			continue;
		put_back(first, f->gva, frag_body(f));
		/* not to be entered elsewhere, or the notes do not say where (op_fpu.c) */
		if (f->flags & (FRAG_VERIFY | FRAG_FPU))
			continue;
		for (xlate_notes_start(x, f, &it); xlate_notes_next(&it); xlate_notes_advance(&it))
			/*
			 * Of several notes for one instruction it is the first one at which it is
			 * entered (user_tlb.c); the last note is only the way on.
			 */
			if (it.host >= frag_body(f) && it.gva - f->gva < f->glen && !inside(&it))
				put_back(first, it.gva, it.host);
	}
}

/*
 * The flat table is demand-zero; an entry that was never written is 0 and a jump through it faults
 * at address 0 (XLATE_MISS). Pages that are used at all are filled with the address of the miss
 * trampoline, which is faster than a fault, and with what was there before xlate_trim(). False: too
 * many of them, but for `spare`.
 */
static bool touch(struct xlate *x, uint32_t index, uint32_t spare)
{
	const uint32_t page = index >> 10;
	const uint64_t first = ((uint64_t)page << 10) - 0x7fffffff, last = first + 1023;
	uint32_t *p = (uint32_t *)XLATE_TABLE + ((uint64_t)page << 10);
	unsigned int k;

	if (is_touched(x, index))
		return true;
	if (x->nr_touched + spare >= MAX_TOUCHED)
		return false;
	x->touched_map[page >> 6] |= 1ull << (page & 63);
	x->touched[x->nr_touched++] = page;
	for (k = 0; k < 1024; k++)
		p[k] = TRAMP_MISS;
	if (!x->trimmed)
		return true;
	refill(x, first >> 12, first);
	if (first >> 12 != last >> 12)
		refill(x, last >> 12, first);
	return true;
}

/* Is the entry of this address what it should be? False: there is none. */
static bool has_entry(struct xlate *x, uint64_t gva)
{
	const struct page_rec *r;

	if (is_touched(x, FLAT_INDEX(gva)))
		return true;
	if (!x->trimmed)
		return false;
	r = xlate_page(x, gva >> 12, false);
	return r && r->head && touch(x, FLAT_INDEX(gva), TOUCHED_SPARE);
}

bool xlate_worth_trimming(const struct xlate *x)
{
	return x->nr_touched > TRIM_MIN && x->cfg.zero;
}

void xlate_trim(struct xlate *x)
{
	unsigned int k;

	for (k = 0; k < x->nr_touched; k++)
		x->touched_map[x->touched[k] >> 6] &= ~(1ull << (x->touched[k] & 63));
	x->nr_touched = 0;
	x->trimmed = 1;
	x->st.trims++;
	x->cfg.zero(x->cfg.priv, XLATE_TABLE, XLATE_TABLE_SIZE);
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

uint32_t xlate_lookup(struct xlate *x, uint64_t gva)
{
	uint32_t v;

	if (in_window(gva)) {
		if (!has_entry(x, gva))
			return 0;
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
		if (touch(x, FLAT_INDEX(gva), 0)) /* (xlate_have_room() was asked) */
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

	if (in_window(gva)) {
		if (is_touched(x, FLAT_INDEX(gva)) && FLAT(gva) == host)
			FLAT(gva) = TRAMP_MISS;
		return;
	}
	if (xlate_lookup(x, gva) != host)
		return;
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
	x->trimmed = 0; /* there are no fragments any more */
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

uint32_t xlate_lookup_call(struct xlate *x, uint64_t gva)
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
	/* neighbours stay neighbours: the hash takes no more memory than its use */
	uint32_t h = ((uint32_t)((key >> 8) * 0x9e3779b97f4a7c15ull >> 40) << 8 | (key & 255)) &
		     (2 * MAX_PAGES - 1);
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
