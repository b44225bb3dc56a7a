/* SPDX-License-Identifier: MIT */
#include "exec/ring3/monitor/tlb.h"

#include "core/mm/pte.h"
#include "exec/ring3/monitor/k.h"
#include "exec/ring3/monitor/user.h"

static struct tlb_queue window; /* of this vCPU's window */

static inline unsigned int shift_of(unsigned int level)
{
	return 12 + 9 * (level - 1);
}

void tlb_add(struct tlb_queue *q, uint64_t va, uint64_t len)
{
	struct tlb_range *last = &q->range[q->nr ? q->nr - 1 : 0];

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

static void forget(const struct tlb_table *t, uint64_t va, uint64_t len)
{
	if (t->kmask)
		tlb_add(&window, va, len);
	if (t->slot && va < U_VA_END)
		user_forget(t->slot - 1u, va, len);
}

/* Linux uses a table in at most two places; with a third the first is given up. */
static void note(uint64_t mfn, unsigned int level, uint64_t base, int slot)
{
	struct tlb_table *t = &k.tables[mfn];
	uint64_t mine = base | TLB_VALID, span = 512ull << shift_of(level);

	if (t->va[0] != mine && t->va[1] != mine) {
		if (!(t->va[0] & TLB_VALID)) {
			t->va[0] = mine;
		} else if (!(t->va[1] & TLB_VALID)) {
			t->va[1] = mine;
		} else {
			forget(t, t->va[0] & ~0xfffull, span);
			t->va[0] = mine;
		}
	}
	if (slot < 0) {
		t->kmask |= 1u << k.c.v->id;
		return;
	}
	/* In another process before: at most one has mappings through a table. */
	if (t->slot && t->slot != slot + 1)
		for (int i = 0; i < 2; i++)
			if ((t->va[i] & TLB_VALID) && t->va[i] < U_VA_END)
				user_forget(t->slot - 1u, t->va[i] & ~0xfffull, span);
	t->slot = (uint16_t)(slot + 1);
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

void tlb_pte_changed(struct core_ctx *c, uint64_t mfn, unsigned int level, unsigned int slot,
		     uint64_t old)
{
	const struct tlb_table *t = &k.tables[mfn];
	uint64_t len = 1ull << shift_of(level);

	if (level == 4) {
		uint64_t va = (uint64_t)slot << 39 | (slot >= 256 ? 0xffff000000000000ull : 0);

		tlb_add(&window, va, len);
		if (t->slot && va < U_VA_END)
			user_forget(t->slot - 1u, va, len);
		return;
	}
	/* Nothing is mapped through an entry without its accessed bit. */
	if ((!t->kmask && !t->slot) || (level == 1 && !(old & PTE_ACCESSED)))
		return;
	for (int i = 0; i < 2; i++)
		if (t->va[i] & TLB_VALID)
			forget(t, (t->va[i] & ~0xfffull) + slot * len, len);
}

void tlb_table_gone(struct core_ctx *c, uint64_t mfn, unsigned int level)
{
	struct tlb_table *t = &k.tables[mfn];

	if (level == 4 && t->slot)
		user_root_gone(t->slot - 1u);
	*t = (struct tlb_table){0};
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
}
