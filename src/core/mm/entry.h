/* SPDX-License-Identifier: MIT */
/* The references one L1 entry holds. Inline: this is the inner loop of everything. */
#ifndef PVV_CORE_MM_ENTRY_H
#define PVV_CORE_MM_ENTRY_H

#include "core/mm/internal.h"

/*
 * Take what a present L1 entry needs: a writable type reference if it has RW, else a general one.
 * -XEN_EINVAL: bits it may not have; -XEN_EPERM: no RAM (device memory, to Xen, which counts a PC's
 * first megabyte as such); -XEN_EBUSY: not the guest's, or writable and in use as a page table.
 */
#define MM_LOW_FRAMES 0x100u
/* roots.c: mapping a frame that is beyond all memory. */
int mm_no_frame(struct core_ctx *c, uint64_t mfn);

static inline int mm_l1e_get(struct core_ctx *c, uint64_t pte)
{
	uint64_t mfn = pte_mfn(pte);

	if (__builtin_expect((pte & PTE_L1_REFUSED) != 0, false))
		return -XEN_EINVAL;
	if (__builtin_expect(mfn >= c->d->nr_frames, false))
		return mm_no_frame(c, mfn);
	if (pte & PTE_RW ? frame_ref_writable(mm_frame(c, mfn)) : frame_ref(mm_frame(c, mfn)))
		return 0;
	return mfn < MM_LOW_FRAMES && frame_refs(frame_word(mm_frame(c, mfn))) == 0 ? -XEN_EPERM
										    : -XEN_EBUSY;
}

static inline void mm_l1e_put(struct core_ctx *c, uint64_t pte)
{
	if (!(pte & PTE_PRESENT))
		return;
	if (pte & PTE_RW) {
		mm_unref_writable(c, pte_mfn(pte));
		return;
	}
	mm_unref(c, pte_mfn(pte));
}

/* Did a present entry lose its frame, a right, or a bit that says what was accessed? */
static inline bool mm_pte_lost(uint64_t old, uint64_t new)
{
	const uint64_t given = PTE_PRESENT | PTE_RW | PTE_USER | PTE_ACCESSED | PTE_DIRTY;

	return (old & ~new &given) != 0 || (new & ~old &PTE_NX) != 0 ||
	       pte_mfn(old) != pte_mfn(new);
}

/* What was looked up through tables that are not loaded now may not be so any more: access.c. */
static inline void mm_tables_lost(struct core_ctx *c)
{
	uint64_t *gen = &c->d->tables_gen;

	/* A locked instruction is as long as half of an update. */
	if (c->d->nr_vcpus == 1)
		__atomic_store_n(gen, *gen + 1, __ATOMIC_RELAXED);
	else
		__atomic_add_fetch(gen, 1, __ATOMIC_SEQ_CST);
}

/* After an entry was written: for executors that follow the tables. */
static inline void mm_pte_changed(struct core_ctx *c, unsigned int level, uint64_t table,
				  unsigned int slot, uint64_t old, uint64_t new)
{
	if ((old & PTE_PRESENT) && mm_pte_lost(old, new))
		mm_tables_lost(c);
	if ((old & PTE_PRESENT) && old != new && c->ops->pte_changed != NULL)
		c->ops->pte_changed(c, table, level, slot, old, new);
}

#endif
