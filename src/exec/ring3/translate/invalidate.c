/* SPDX-License-Identifier: MIT */
/* Forgetting translations: one fragment, a frame's, a page's, all. */
#include "exec/ring3/translate/internal.h"

void xlate_kill(struct xlate *x, uint32_t frag)
{
	struct frag *f = &x->frags[frag];
	struct note_iter it;

	if (f->flags & FRAG_DEAD)
		return;
	f->flags |= FRAG_DEAD;
	if (f->flags & FRAG_VERIFY)
		xlate_unmap(x, f->gva, frag_body(f));
	else
		for (xlate_notes_start(x, f, &it); xlate_notes_next(&it); xlate_notes_advance(&it))
			xlate_unmap(x, it.gva, it.host);
	xlate_unlink_all(x, f);
	x->st.invalidated_fragments++;
}

/* Kill all fragments of a list; the record's list is empty afterwards. */
static bool kill_list(struct xlate *x, struct page_rec *r)
{
	uint32_t index = (uint32_t)(r - x->pages), k, next;
	bool any = false;

	for (k = r->head; k; k = next) {
		struct frag *f = &x->frags[k];
		unsigned int which = f->page[1] == index || f->frame[1] == index;

		next = r->key & PAGE_REC_FRAME ? f->next_frame[which] : f->next_page[which];
		any |= !(f->flags & FRAG_DEAD);
		xlate_kill(x, k);
	}
	r->head = 0;
	return any;
}

/* Unlinking may need exit stubs: forget everything if there is no room for them. */
static bool room_for_stubs(struct xlate *x)
{
	if (x->cold - x->hot > (1u << 20))
		return true;
	xlate_flush(x);
	return false;
}

bool xlate_frame_noted(const struct xlate *x, uint64_t mfn)
{
	const struct page_rec *r = xlate_page((struct xlate *)x, mfn | PAGE_REC_FRAME, false);

	return r && r->noted;
}

bool xlate_invalidate_frame(struct xlate *x, uint64_t mfn)
{
	struct page_rec *r = xlate_page(x, mfn | PAGE_REC_FRAME, false);
	const struct frag *cur = x->cur_frag ? &x->frags[x->cur_frag] : NULL;
	uint64_t now = __builtin_ia32_rdtsc();
	uint32_t index;

	if (!r)
		return false;
	index = (uint32_t)(r - x->pages);
	x->st.invalidated_frames++;
	/* Successive within about 100 ms: code and hot data in one page. */
	if (now - r->last_tsc > 300000000)
		r->nr_invalidated /= 2;
	r->last_tsc = now;
	r->nr_invalidated++;
	/*
	 * Code that writes to its own page would be translated, noted and hit the protection again
	 * at once.
	 */
	if (cur && (cur->frame[0] == index || cur->frame[1] == index))
		r->nr_invalidated = THRASH_MAX;
	if (r->nr_invalidated >= THRASH_MAX && !r->verify) {
		r->verify = 1;
		r->verify_times++;
		x->nr_verify++;
		x->st.verify_frames++;
	}
	r->noted = 0;
	if (!r->head)
		return false;
	if (!room_for_stubs(x))
		return true;
	return kill_list(x, r);
}

/*
 * Linux patches its text heavily while it boots and never again: verifying is not for ever. A frame
 * that still thrashes comes back after a few write faults, and then stays twice as long.
 */
void xlate_expire_verify(struct xlate *x)
{
	uint64_t now = __builtin_ia32_rdtsc();
	uint32_t k;

	if (!room_for_stubs(x))
		return;
	for (k = 1; k <= x->nr_pages; k++) {
		struct page_rec *r = &x->pages[k];
		unsigned int shift = r->verify_times < 10 ? r->verify_times : 10;

		if (!r->verify || now - r->last_tsc < VERIFY_CYCLES << shift)
			continue;
		r->verify = 0;
		r->nr_invalidated = 0;
		x->nr_verify--;
		kill_list(x, r);
	}
}

void xlate_set_ts(struct xlate *x, bool ts)
{
	if (x->ts == ts)
		return;
	x->ts = ts;
	xlate_kill_fpu(x);
}

void xlate_kill_fpu(struct xlate *x)
{
	uint32_t k;

	if (!x->nr_fpu_frags || !room_for_stubs(x))
		return;
	for (k = 1; k <= x->nr_frags; k++)
		if (x->frags[k].flags & FRAG_FPU)
			xlate_kill(x, k);
	x->nr_fpu_frags = 0;
}

void xlate_invalidate_va_range(struct xlate *x, uint64_t va, uint64_t len)
{
	uint64_t page = va >> 12, last = (va + len - 1) >> 12, n = last - page + 1;
	struct page_rec *r;
	uint32_t k;

	if (!len || !room_for_stubs(x))
		return;
	if (n > x->nr_pages) {
		for (k = 1; k <= x->nr_pages; k++) {
			r = &x->pages[k];
			if (!(r->key & PAGE_REC_FRAME) && r->key - page < n && r->head)
				kill_list(x, r);
		}
		return;
	}
	for (; n--; page = (page + 1) & 0xfffffffffffffull) {
		r = xlate_page(x, page, false);
		if (r && r->head)
			kill_list(x, r);
	}
}

void xlate_revalidate(struct xlate *x)
{
	uint32_t k;

	if (!room_for_stubs(x))
		return;
	for (k = 1; k <= x->nr_pages; k++) {
		struct page_rec *r = &x->pages[k];
		struct xlate_code code;

		if ((r->key & PAGE_REC_FRAME) || !r->head)
			continue;
		if (x->cfg.fetch(x->cfg.priv, r->key << 12, &code) || code.mfn != r->mfn)
			kill_list(x, r);
	}
}

void xlate_flush(struct xlate *x)
{
	uint32_t k;

	xlate_forget_lookups(x);
	x->hot = x->hot_start;
	x->cold = x->cache_end;
	x->nr_frags = 0;
	x->nr_fpu_frags = 0;
	x->nr_edges = 0;
	x->notes_used = 0;
	x->cur_frag = 0;
	if (x->nr_pages > MAX_PAGES / 2) {
		x->nr_pages = 0;
		x->nr_verify = 0;
		__builtin_memset(x->page_hash, 0, 2 * MAX_PAGES * sizeof(*x->page_hash));
	}
	for (k = 1; k <= x->nr_pages; k++)
		x->pages[k].head = 0;
	for (k = 1; k <= x->nr_user; k++)
		x->user[k].snippet = 0;
	x->generation++;
	x->st.flushes++;
}

void xlate_invalidate_all(struct xlate *x)
{
	xlate_flush(x);
}
