/* SPDX-License-Identifier: MIT */
#include "mm_guest.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct count {
	uint64_t refs, trefs;
	int linear;
};

static const char *wrong(struct mm_guest *g, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(g->why, sizeof(g->why), fmt, ap);
	va_end(ap);
	return g->why;
}

static void hold(struct count *n, uint64_t mfn_plus_1)
{
	if (mfn_plus_1 != 0) {
		n[mfn_plus_1 - 1].refs++;
		n[mfn_plus_1 - 1].trefs++;
	}
}

static const char *count_l1(struct mm_guest *g, uint64_t table, struct count *n)
{
	const uint64_t *t = frame_at(g, table);

	for (unsigned int i = 0; i < 512; i++) {
		uint64_t mfn = pte_mfn(t[i]);

		if (!(t[i] & P))
			continue;
		if (mfn >= NR_FRAMES)
			return wrong(g, "L1 %lu[%u] maps frame %lu", table, i, mfn);
		if (t[i] & PTE_L1_REFUSED)
			return wrong(g, "L1 %lu[%u] is %lx", table, i, t[i]);
		n[mfn].refs++;
		if (!(t[i] & RW))
			continue;
		n[mfn].trefs++;
		if (!frame_is(word_of(g, mfn), FRAME_WRITABLE))
			return wrong(g, "L1 %lu[%u] maps frame %lu, type %d, writable", table, i,
				     mfn, frame_type(word_of(g, mfn)));
	}
	return NULL;
}

static const char *count_upper(struct mm_guest *g, uint64_t table, unsigned int level,
			       struct count *n)
{
	const uint64_t *t = frame_at(g, table);
	unsigned int done = g->c.frames[table].count & 0x3ff;

	for (unsigned int i = 0; i < done; i++) {
		uint64_t mfn = pte_mfn(t[i]);
		unsigned int type;

		if (pte_xen_slot(level, i)) {
			if ((t[i] & P) && done == 512 && pte_mfn(t[i]) < NR_FRAMES)
				return wrong(g, "L4 %lu[%u] is %lx", table, i, t[i]);
			continue;
		}
		if (!(t[i] & P) || mfn == table)
			continue;
		if (mfn >= NR_FRAMES || (t[i] & PTE_UPPER_REFUSED))
			return wrong(g, "L%u %lu[%u] is %lx", level, table, i, t[i]);
		hold(n, mfn + 1);
		type = frame_type(word_of(g, mfn));
		if (type == level) {
			n[mfn].linear++;
			n[table].linear--;
			if (t[i] & RW)
				return wrong(g, "L%u %lu[%u]: writable linear map", level, table,
					     i);
		} else if (type != level - 1) {
			return wrong(g, "L%u %lu[%u] leads to frame %lu of type %u", level, table,
				     i, mfn, type);
		}
	}
	return NULL;
}

static const char *count_tables(struct mm_guest *g, struct count *n)
{
	for (uint64_t mfn = 0; mfn < NR_FRAMES; mfn++) {
		uint64_t word = word_of(g, mfn);
		unsigned int type = frame_type(word), done = g->c.frames[mfn].count & 0x3ff;
		const char *why = NULL;

		if (frame_refs(word) == 0)
			continue;
		if (word & FRAME_ALLOCATED)
			n[mfn].refs++;
		if ((word & FRAME_XEN) || (word & FRAME_PINNED))
			hold(n, mfn + 1);
		if (word & FRAME_ORPHAN)
			hold(n, mfn + 1);
		if (frame_trefs(word) == 0) {
			if (type != FRAME_NONE && type != FRAME_WRITABLE)
				return wrong(g, "frame %lu: type %u without references", mfn, type);
			continue;
		}
		if (type < FRAME_L1 || type > FRAME_L4)
			continue;
		if ((word & FRAME_VALID) && done != 512)
			return wrong(g, "table %lu is valid with %u entries done", mfn, done);
		if (type == FRAME_L1)
			why = done == 512 ? count_l1(g, mfn, n) : NULL;
		else
			why = count_upper(g, mfn, type, n);
		if (why)
			return why;
	}
	return NULL;
}

static const char *check_free_list(struct mm_guest *g)
{
	const struct core_domain *d = g->c.d;
	uint64_t listed = 0, idle = 0, left = 0;
	uint32_t prev = 0x3fffffff, mfn = (uint32_t)d->free_head; /* 0x3fffffff: the ends */

	if (d->free_head == CORE_INVALID_MFN)
		mfn = 0x3fffffff;
	for (; mfn != 0x3fffffff; mfn = g->c.frames[mfn].count) {
		if (mfn >= MAX_PAGES || !mm_frame_is_free(&g->c, mfn))
			return wrong(g, "frame %u on the free list", mfn);
		if (word_of(g, mfn) != (uint64_t)prev << 30 || ++listed > MAX_PAGES)
			return wrong(g, "free list broken at frame %u", mfn);
		prev = mfn;
	}
	for (uint64_t i = 0; i < MAX_PAGES; i++) {
		bool is_free = mm_frame_is_free(&g->c, i);

		idle += is_free;
		left += (word_of(g, i) & FRAME_LEFT) != 0;
		if (is_free && ((uint64_t *)frame_at(g, M2P_FIRST))[i] != ~0ull)
			return wrong(g, "free frame %lu is in the M2P", i);
	}
	if (listed != 0 && d->free_tail != prev)
		return wrong(g, "the free list ends at %u, not at %lu", prev, d->free_tail);
	if (idle != listed)
		return wrong(g, "%lu frames are free, %lu are on the list", idle, listed);
	if (left != d->mm_leaving)
		return wrong(g, "%lu frames are leaving, %lu are counted", left, d->mm_leaving);
	if (d->tot_pages != MAX_PAGES - listed || g->c.ctl->nr_pages != d->tot_pages)
		return wrong(g, "reservation is %lu of %d, %lu are free", d->tot_pages, MAX_PAGES,
			     listed);
	return NULL;
}

const char *mm_guest_check(struct mm_guest *g)
{
	struct count n[NR_FRAMES] = {0};
	const char *why;

	for (unsigned int i = 0; i < g->nr_vcpus; i++) {
		const struct core_vcpu *v = &g->c.d->vcpu[i];

		hold(n, v->kernel_root + 1);
		hold(n, v->user_root + 1);
		hold(n, v->mm_old_table);
		for (unsigned int k = 0; k < 16; k++)
			hold(n, v->ldt_frames[k]);
	}
	why = count_tables(g, n);
	if (why)
		return why;
	for (uint64_t mfn = 0; mfn < NR_FRAMES; mfn++) {
		uint64_t word = word_of(g, mfn);
		unsigned int type = frame_type(word);

		if ((g->c.frames[mfn].aux & FRAME_HOLDS) !=
		    (g->readers[mfn] | (uint32_t)g->writers[mfn] << 15))
			return wrong(g, "frame %lu: holds %x, not %u and %u", mfn,
				     g->c.frames[mfn].aux, g->readers[mfn], g->writers[mfn]);
		if (g->writers[mfn] && frame_refs(word) && frame_trefs(word) &&
		    type != FRAME_WRITABLE)
			return wrong(g, "frame %lu: type %u, but held by a writer", mfn, type);
		if (frame_refs(word) == 0) {
			if (n[mfn].refs + g->refs[mfn] != 0)
				return wrong(g, "frame %lu is free, counted %lu", mfn, n[mfn].refs);
			continue;
		}
		n[mfn].refs += g->refs[mfn];
		n[mfn].trefs += g->trefs[mfn];
		if (frame_refs(word) != n[mfn].refs || frame_trefs(word) != n[mfn].trefs)
			return wrong(g,
				     "frame %lu (%lx): %lu references, %lu of type %u; "
				     "counted %lu and %lu",
				     mfn, word, frame_refs(word), frame_trefs(word), type,
				     n[mfn].refs, n[mfn].trefs);
		if (type >= FRAME_L1 && type <= FRAME_L4 &&
		    (int16_t)(g->c.frames[mfn].count >> 16) != n[mfn].linear)
			return wrong(g, "table %lu: linear count %d, counted %d", mfn,
				     (int16_t)(g->c.frames[mfn].count >> 16), n[mfn].linear);
	}
	if (g->c.d->mm_lock != 0)
		return wrong(g, "mm_lock is held");
	return check_free_list(g);
}
