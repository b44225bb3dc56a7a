/* SPDX-License-Identifier: MIT */
/*
 * Frames of RAM that are not part of the reservation: never populated, or given back.
 * A doubly linked list through the frame table, so that a run of neighbours can be taken out of its
 * middle. First in, first out: what a guest gets is hardly ever what it gave just before, as on
 * Xen.
 */
#include "core/lib/mem.h"
#include "core/mm/internal.h"

#define LIST_END ((uint32_t)FRAME_LINK_MASK)

/* The next one is in .count, the previous one in the otherwise empty .type. */
static void set_prev(struct core_frame *f, uint32_t prev)
{
	frame_set_word(f, (uint64_t)prev << FRAME_LINK_SHIFT);
}

static void list_add(struct core_ctx *c, uint64_t mfn)
{
	struct core_domain *d = c->d;
	struct core_frame *f = mm_frame(c, mfn);

	f->count = LIST_END;
	if (d->free_head == CORE_INVALID_MFN) {
		set_prev(f, LIST_END);
		d->free_head = mfn;
	} else {
		set_prev(f, (uint32_t)d->free_tail);
		mm_frame(c, d->free_tail)->count = (uint32_t)mfn;
	}
	d->free_tail = mfn;
}

static void list_remove(struct core_ctx *c, uint64_t mfn)
{
	struct core_domain *d = c->d;
	struct core_frame *f = mm_frame(c, mfn);
	uint32_t next = f->count;
	uint32_t prev = (uint32_t)(frame_word(f) >> FRAME_LINK_SHIFT & FRAME_LINK_MASK);

	if (prev == LIST_END)
		d->free_head = next == LIST_END ? CORE_INVALID_MFN : next;
	else
		mm_frame(c, prev)->count = next;
	if (next == LIST_END)
		d->free_tail = prev == LIST_END ? CORE_INVALID_MFN : prev;
	else
		set_prev(mm_frame(c, next), prev);
	f->count = 0;
}

void mm_set_m2p(struct core_ctx *c, uint64_t mfn, uint64_t pfn)
{
	uint64_t *m2p = core_frame_ptr(c, c->d->m2p_first);

	if (mfn < c->d->m2p_frames * PTE_ENTRIES)
		__atomic_store_n(&m2p[mfn], pfn, __ATOMIC_RELAXED);
}

static void set_tot_pages(struct core_ctx *c, uint64_t pages)
{
	c->d->tot_pages = pages;
	__atomic_store_n(&c->ctl->nr_pages, pages, __ATOMIC_RELAXED);
}

/* On the list and off it again, the caller knows that nobody refers to the frame. */
void mm_frame_drop(struct core_ctx *c, uint64_t mfn)
{
	list_add(c, mfn);
	set_tot_pages(c, c->d->tot_pages - 1);
}

void mm_frame_take(struct core_ctx *c, uint64_t mfn)
{
	list_remove(c, mfn);
	frame_set_word(mm_frame(c, mfn), FRAME_ALLOCATED | FRAME_REF);
	set_tot_pages(c, c->d->tot_pages + 1);
}

bool mm_frame_free_lazily(struct core_ctx *c, uint64_t mfn)
{
	struct core_frame *f = mm_frame(c, mfn);
	uint64_t word = frame_word(f);

	if (frame_held(f, FRAME_HOLDS)) {
		mm_frame_leaves(c, mfn);
		return false;
	}
	if (frame_type(word) == FRAME_WRITABLE)
		c->ops->frame_protect(c, mfn);
	core_frame_dirtied(c, mfn);
	if (word & FRAME_LEFT)
		c->d->mm_leaving--;
	mm_set_m2p(c, mfn, ~0ull);
	mm_frame_drop(c, mfn);
	return true;
}

/* The last reference is gone. */
void mm_frame_free(struct core_ctx *c, uint64_t mfn)
{
	if (mm_frame_free_lazily(c, mfn))
		c->ops->frames_discard(c, mfn, 1);
}

/* It is no longer part of the reservation, but somebody still uses it. */
void mm_frame_leaves(struct core_ctx *c, uint64_t mfn)
{
	struct core_frame *f = mm_frame(c, mfn);

	if (frame_word(f) & FRAME_LEFT)
		return;
	frame_set_word(f, frame_word(f) | FRAME_LEFT);
	c->d->mm_leaving++;
}

/* Frames that were held from outside when their last reference went. */
void mm_reclaim(struct core_ctx *c)
{
	for (uint64_t mfn = c->d->ram_first; c->d->mm_leaving > 0 && mfn < mm_ram_end(c); mfn++) {
		uint64_t word = frame_word(mm_frame(c, mfn));

		if ((word & FRAME_LEFT) && frame_refs(word) == 0)
			mm_frame_free(c, mfn);
	}
}

/* Below frame `end`. */
static uint64_t find_run(struct core_ctx *c, unsigned int order, uint64_t end)
{
	uint64_t nr = 1ull << order;

	for (uint64_t first = (c->d->ram_first + nr - 1) & ~(nr - 1); first + nr <= end;
	     first += nr) {
		uint64_t i = 0;

		while (i < nr && mm_frame_is_free(c, first + i))
			i++;
		if (i == nr)
			return first;
	}
	return CORE_INVALID_MFN;
}

/*
 * 1 << order frames, aligned, zero, without M2P entries, each with the reservation's reference,
 * with machine addresses of at most that many bits (0: of any); or CORE_INVALID_MFN.
 */
uint64_t mm_frame_alloc(struct core_ctx *c, unsigned int order, unsigned int address_bits)
{
	struct core_domain *d = c->d;
	uint64_t nr = 1ull << order, first, end = mm_ram_end(c);

	if (address_bits != 0 && address_bits < 52 && end > (1ull << address_bits) >> 12)
		end = (1ull << address_bits) >> 12;
	if (d->free_head == CORE_INVALID_MFN)
		mm_reclaim(c);
	uint64_t limit = mm_reservation_limit(c);
	if (d->free_head == CORE_INVALID_MFN || d->tot_pages > limit || nr > limit - d->tot_pages)
		return CORE_INVALID_MFN;
	first = order == 0 && end == mm_ram_end(c) ? d->free_head : find_run(c, order, end);
	if (first == CORE_INVALID_MFN)
		return CORE_INVALID_MFN;
	for (uint64_t mfn = first; mfn < first + nr; mfn++)
		mm_frame_take(c, mfn);
	return first;
}
