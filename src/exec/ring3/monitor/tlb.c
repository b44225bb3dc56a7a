/* SPDX-License-Identifier: MIT */
#include "exec/ring3/monitor/tlb.h"

#include "core/lib/mem.h"
#include "core/mm/entry.h"
#include "exec/ring3/monitor/smp.h"
#include "exec/ring3/monitor/user.h"

_Static_assert(sizeof(struct tlb_table) == U_TABLE_SIZE, "as user.h lays it out");

static struct tlb_queue window; /* of this vCPU's window */

static inline unsigned int shift_of(unsigned int level)
{
	return 12 + 9 * (level - 1);
}

void tlb_add(struct tlb_queue *q, uint64_t va, uint64_t len)
{
	struct tlb_range *last = &q->range[q->nr ? q->nr - 1 : 0];

	smp_due(true);
	if (q->all)
		return;
	if (q->nr != 0 && va == last->va + last->len) {
		last->len += len;
		return;
	}
	if (q->nr != 0 && va + len == last->va) {
		last->va = va;
		last->len += len;
		return;
	}
	if (q->nr == TLB_RANGES) {
		q->all = true;
		return;
	}
	q->range[q->nr++] = (struct tlb_range){va, len};
}

static void forget(const struct tlb_table *t, uint64_t va, uint64_t len, bool user)
{
	if (t->window)
		tlb_add(&window, va, len);
	if (user && t->slot && va < U_VA_END)
		user_forget(t->slot - 1u, va, len);
}

/* ... since it was noted. */
static bool has_ended(const struct tlb_table *t)
{
	return __atomic_load_n(&t->ended, __ATOMIC_ACQUIRE) & TLB_ENDED;
}

/* Linux uses a table in at most two places; with a third the first is given up. */
static void note(uint64_t mfn, unsigned int level, uint64_t base, int slot)
{
	struct tlb_table *t = &k.tables[mfn];
	uint64_t mine = base | TLB_VALID, span = 512ull << shift_of(level);

	if (!(base >> 63))
		t->low = 1;
	if (k.smp && has_ended(t))
		__atomic_store_n(&t->ended, TLB_AGAIN, __ATOMIC_RELAXED);
	if (t->va[0] != mine && t->va[1] != mine) {
		if (!(t->va[0] & TLB_VALID)) {
			t->va[0] = mine;
		} else if (!(t->va[1] & TLB_VALID)) {
			t->va[1] = mine;
		} else {
			forget(t, t->va[0] & ~0xfffull, span, true);
			t->va[0] = mine;
		}
	}
	if (slot < 0) {
		t->window = 1;
		if (k.smp)
			__atomic_thread_fence(__ATOMIC_SEQ_CST); /* said first, read then */
		return;
	}
	/* In another process before: at most one has mappings through a table. */
	if (t->slot && t->slot != slot + 1) {
		for (int i = 0; i < 2; i++)
			if ((t->va[i] & TLB_VALID) && t->va[i] < U_VA_END)
				user_forget(t->slot - 1u, t->va[i] & ~0xfffull, span);
		memset(t->mapped, 0, sizeof(t->mapped));
	}
	t->slot = (uint16_t)(slot + 1);
	if (k.smp)
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

uint64_t *tlb_follow(uint64_t root, uint64_t va, int slot, uint64_t *ret_upper)
{
	struct core_ctx *c = &k.c;
	uint64_t table = root, base = 0, rights = PTE_RW | PTE_USER, nx = 0;

	if (root >= k.nr_frames)
		return NULL;
	for (unsigned int level = 4;; level--) {
		unsigned int i = (unsigned int)(va >> shift_of(level)) & 511;
		uint64_t *entry = (uint64_t *)core_frame_ptr(c, table) + i, v;

		if (level < 4)
			note(table, level, base, slot);
		if (level == 1) {
			*ret_upper = rights | nx;
			return entry;
		}
		v = __atomic_load_n(entry, __ATOMIC_SEQ_CST);
		if (!(v & PTE_PRESENT))
			return NULL;
		rights &= v;
		nx |= v & PTE_NX;
		table = pte_mfn(v);
		if (table >= k.nr_frames)
			return NULL;
		base |= (uint64_t)i << shift_of(level);
		if (level == 4 && i >= 256)
			base |= 0xffff000000000000ull;
	}
}

/* Is this still a place of the table? Another one may have taken it, and this one another. */
static bool is_place(uint64_t root, uint64_t va, uint64_t mfn)
{
	uint64_t table = root;

	for (unsigned int level = 4; level > 1 && table < k.nr_frames; level--) {
		uint64_t v =
			pte_read((uint64_t *)core_frame_ptr(&k.c, table) + pte_slot(va, level));

		table = v & PTE_PRESENT ? pte_mfn(v) : CORE_INVALID_MFN;
	}
	return table == mfn;
}

bool tlb_is_there(uint64_t root, uint64_t va, const uint64_t *pte)
{
	return is_place(root, va, (uint64_t)((const uint8_t *)pte - k.c.ram) >> 12);
}

bool tlb_was_there(const uint64_t *pte)
{
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return !has_ended(tlb_table_of(pte));
}

struct tlb_table *tlb_table_of(const uint64_t *entry)
{
	return &k.tables[(uint64_t)((const uint8_t *)entry - k.c.ram) >> 12];
}

/*
 * A table that goes when it is empty, as Linux gives tables back: what was mapped through its
 * entries was dropped with them. Looking is cheaper than unmapping nothing.
 */
static bool empty(uint64_t table)
{
	return table < k.nr_frames &&
	       pte_next_present(core_frame_ptr(&k.c, table), 0) == PTE_ENTRIES;
}

struct tlb_table *tlb_tables_of(unsigned int vcpu)
{
	return (struct tlb_table *)(k.exec + ux_tables(k.nr_frames, k.nr_vcpus, vcpu));
}

/* An entry of an upper level, or of the user's part: what was mapped through it goes. */
static void lost(uint64_t mfn, unsigned int level, unsigned int slot)
{
	struct tlb_table *t = &k.tables[mfn];
	uint64_t len = 1ull << shift_of(level);
	bool user = t->slot != 0;

	if (level == 4) {
		uint64_t va = (uint64_t)slot << 39 | (slot >= 256 ? 0xffff000000000000ull : 0);

		tlb_add(&window, va, len);
		if (user && va < U_VA_END)
			user_forget(t->slot - 1u, va, len);
		return;
	}
	if (level == 1) {
		uint64_t bit = 1ull << (slot % 64);

		user = t->mapped[slot / 64] & bit;
		t->mapped[slot / 64] &= ~bit;
	}
	for (int i = 0; (user || t->window) && i < 2; i++)
		if (t->va[i] & TLB_VALID)
			forget(t, (t->va[i] & ~0xfffull) + slot * len, len, user);
}

/*
 * An L1 entry of programs lost nothing but the right to write, or got it: a page that is mapped
 * stays where it is. False: it has to go.
 */
static bool write_changed(uint64_t mfn, unsigned int slot, uint64_t old, uint64_t new)
{
	const uint64_t may = PTE_RW | PTE_DIRTY,
		       *pte = (uint64_t *)core_frame_ptr(&k.c, mfn) + slot;
	const struct tlb_table *t = &k.tables[mfn];
	bool could = (old & may) == may, can = (new &may) == may;
	struct u_slot *s;

	if (!t->slot || mm_pte_lost(old & ~may, new & ~may))
		return false;
	s = user_slot_number(t->slot - 1u);
	for (int i = 0; i < 2; i++) {
		uint64_t va = (t->va[i] & ~0xfffull) + slot * 4096ull;

		if (!(t->va[i] & TLB_VALID))
			continue;
		if (t->window && !can)
			tlb_add(&window, va, 4096);
		/* (or it is not writable in the process, for it was not before) */
		if (could == can || !user_may_have(s, pte) || va < U_FIRST || va >= U_VA_END)
			continue;
		if (!can && !remote_write_lost(s, va))
			return false;
		if (can && is_place(s->root, va, mfn))
			remote_write_given(s, va, pte_mfn(new));
	}
	return true;
}

/* A kernel page's entry: at once, for the new state is often known, too. */
static void kernel_entry(uint64_t mfn, unsigned int slot, uint64_t old, uint64_t new)
{
	const struct tlb_table *t = &k.tables[mfn];

	for (int i = 0; i < 2; i++) {
		uint64_t va = (t->va[i] & ~0xfffull) + slot * 4096ull;

		if (!(t->va[i] & TLB_VALID) || !(va >> 63))
			continue;
		window_entry_changed(va, old, new);
		/* Copies between kernel and user memory have looked the kernel's side up as well.
		 */
		xlate_user_forget_va(k.x, va);
		if (pte_mfn(old) != pte_mfn(new) || (~new &PTE_PRESENT) || (new & ~old &PTE_NX))
			xlate_invalidate_va_range(k.x, va, 4096);
	}
}

void tlb_pte_changed(struct core_ctx *c, uint64_t mfn, unsigned int level, unsigned int slot,
		     uint64_t old, uint64_t new)
{
	const struct tlb_table *t = &k.tables[mfn];
	bool is_lost = mm_pte_lost(old, new);

	if (level > 1) {
		if (!is_lost || empty(pte_mfn(old)))
			return;
	} else if (!(old & PTE_ACCESSED)) {
		return; /* nothing is mapped through an entry without it */
	}
	if (k.smp && is_lost)
		smp_tell(mfn, level, slot, old);
	if (level == 4) {
		lost(mfn, level, slot);
		return;
	}
	if (!t->window && !t->slot)
		return;
	if (level == 1 && (t->va[0] >> 63 || t->va[1] >> 63)) {
		kernel_entry(mfn, slot, old, new);
		if (tlb_kernel_table(t))
			return;
	}
	if (level == 1 && write_changed(mfn, slot, old, new))
		return;
	if (is_lost)
		lost(mfn, level, slot);
}

void tlb_told(uint64_t mfn, unsigned int level, unsigned int slot)
{
	if (mfn < k.nr_frames)
		lost(mfn, level, slot);
}

void tlb_mark_ended(struct tlb_table *t)
{
	if (!has_ended(t))
		__atomic_store_n(&t->ended, t->ended ? TLB_ENDED_AGAIN : TLB_ENDED,
				 __ATOMIC_SEQ_CST);
}

static void gone(uint64_t mfn, unsigned int level)
{
	struct tlb_table *t = &k.tables[mfn];

	if (level == 4 && t->slot)
		user_root_gone(t->slot - 1u, mfn);
	*t = (struct tlb_table){0};
}

void tlb_told_gone(uint64_t mfn, unsigned int level)
{
	if (mfn >= k.nr_frames)
		return;
	/* (notes of the old table do no harm: more is dropped than need be) */
	if (level == 4 || k.tables[mfn].ended == TLB_ENDED)
		gone(mfn, level);
	else
		k.tables[mfn].ended = has_ended(&k.tables[mfn]) ? TLB_ENDED : 0;
}

void tlb_table_gone(struct core_ctx *c, uint64_t mfn, unsigned int level)
{
	if (k.smp)
		smp_tell_gone(mfn, level);
	/* Changes that others made, and that this vCPU has not heard of, are to find the notes. */
	if (!k.smp || level == 4 || !smp_asked_about(mfn))
		gone(mfn, level);
}

void tlb_forget_all(void)
{
	window.all = true;
	user_forget_all();
	user_roots_ended();
}

static void drain_window(void)
{
	if (window.all) {
		window_flush_all();
		xlate_user_forget(k.x);
		xlate_revalidate(k.x);
	} else {
		for (unsigned int i = 0; i < window.nr; i++) {
			uint64_t va = window.range[i].va, len = window.range[i].len;

			window_flush_range(va, len);
			xlate_invalidate_va_range(k.x, va, len);
			if (len == 4096)
				xlate_user_forget_va(k.x, va);
			else
				xlate_user_forget(k.x);
		}
	}
	window.all = false;
	window.nr = 0;
}

void tlb_drain(void)
{
	if (tlb_pending(&window))
		drain_window();
	user_drain();
	smp_due(false);
}
