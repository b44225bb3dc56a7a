/* SPDX-License-Identifier: MIT */
/*
 * Which of the translator's spaces (user_tlb.c) stands for which root: what it has learned of the
 * user's half of a root stays known while others run. Entries of tables that change are reported as
 * they are for the window, of whatever root (tlb.c). What is not reported to a vCPU are the L4
 * entries of a root that it has not loaded; so each space notes those that it was learned through,
 * and is as good as new when the root is loaded again and one of them differs. An L3 table that is
 * none any more takes with it what points to it: it may be one again, with other entries.
 *
 * The kernel's half is one space for all roots, by the same rule.
 */
#include "exec/ring3/monitor/k.h"

#include "core/mm/entry.h"
#include "core/mm/pte.h"

#define NR_SPACES  8u
#define SPACE_L4   8u
#define ENTRY_BITS ((PTE_MFN_MASK << PTE_MFN_SHIFT) | PTE_PRESENT | PTE_RW | PTE_USER | PTE_NX)

struct space {
	uint64_t root, number, used;
	bool full; /* more L4 entries than can be noted */
	uint32_t nr;
	struct {
		uint32_t slot;
		uint64_t entry;
	} l4[SPACE_L4];
};
static struct space lower[NR_SPACES] = {[0 ... NR_SPACES - 1] = {.root = CORE_INVALID_MFN}};
static struct space upper;
static struct space *now = lower;
static uint64_t space_clock;

static uint64_t l4_entry(uint32_t slot)
{
	const uint64_t *l4 = core_frame_ptr(&k.c, k.c.v->kernel_root);

	return pte_read(&l4[slot]) & ENTRY_BITS;
}

/* Nothing was learned of it yet. */
static void begin(struct space *s, uint64_t root)
{
	s->root = root;
	s->number = 0;
	s->nr = 0;
	s->full = false;
}

void spaces_note(uint64_t va)
{
	struct space *s = va >> 63 ? &upper : now;
	uint32_t slot = (uint32_t)(va >> 39) & 511;

	for (uint32_t i = 0; i < s->nr; i++)
		if (s->l4[i].slot == slot)
			return;
	if (s->nr == SPACE_L4) {
		s->full = true;
		return;
	}
	s->l4[s->nr].slot = slot;
	s->l4[s->nr++].entry = l4_entry(slot);
}

static bool still_good(const struct space *s)
{
	for (uint32_t i = 0; i < s->nr; i++)
		if (s->l4[i].entry != l4_entry(s->l4[i].slot))
			return false;
	return !s->full;
}

static void forget_upper(void)
{
	begin(&upper, 0);
	xlate_user_forget_upper(k.x);
}

void spaces_forget(void)
{
	for (unsigned int i = 0; i < NR_SPACES; i++)
		begin(&lower[i], CORE_INVALID_MFN);
	begin(&upper, 0);
	xlate_user_forget(k.x);
	/* What is learned from here on counts as one that has not been loaded yet. */
	now->root = k.window_root;
	now->number = xlate_user_space(k.x, 0);
}

/* The space of this root, or the one that was not used for longest. */
static struct space *find(uint64_t root)
{
	struct space *oldest = lower;

	for (unsigned int i = 0; i < NR_SPACES; i++) {
		if (lower[i].root == root)
			return &lower[i];
		if (lower[i].used < oldest->used)
			oldest = &lower[i];
	}
	begin(oldest, root);
	return oldest;
}

void spaces_root_changed(void)
{
	if (!still_good(&upper))
		forget_upper();
	now = find(k.window_root);
	if (!still_good(now))
		begin(now, k.window_root);
	now->used = ++space_clock;
	now->number = xlate_user_space(k.x, now->number);
}

static bool points_to(const struct space *s, uint64_t mfn)
{
	for (uint32_t i = 0; i < s->nr; i++)
		if (pte_mfn(s->l4[i].entry) == mfn)
			return true;
	return s->full;
}

void spaces_table_gone(uint64_t mfn)
{
	for (unsigned int i = 0; i < NR_SPACES; i++) {
		struct space *s = &lower[i];

		if (s->root == CORE_INVALID_MFN || !points_to(s, mfn))
			continue;
		begin(s, s == now ? s->root : CORE_INVALID_MFN);
		if (s == now)
			s->number = xlate_user_space(k.x, 0);
	}
	if (points_to(&upper, mfn))
		forget_upper();
}
