/* SPDX-License-Identifier: MIT */
/*
 * One entry of a validated page table changes: take what the new entry needs, write it, give back
 * what the old one held. The order matters: a failure leaves everything as it was.
 */
#include "core/mm/entry.h"

/*
 * False: `compare` was asked for, and the accessed or dirty bit changed under us.
 *
 * In one step, also where nothing has to be kept: another vCPU that uses the page at this moment
 * either marks the old entry as accessed, and the executor is told of it and has that vCPU's
 * mapping dropped, or finds the new entry.
 */
static bool commit(struct core_ctx *c, unsigned int level, uint64_t *entry, uint64_t pte,
		   const struct mm_update *u)
{
	uint64_t old, new = pte;

	if (u->compare) {
		old = u->expected;
		if (!__atomic_compare_exchange_n(entry, &old, new, false, __ATOMIC_ACQ_REL,
						 __ATOMIC_RELAXED))
			return false;
	} else if (u->preserve_ad) {
		old = pte_read(entry);
		do
			new = pte | (old & (PTE_ACCESSED | PTE_DIRTY));
		while (!__atomic_compare_exchange_n(entry, &old, new, false, __ATOMIC_ACQ_REL,
						    __ATOMIC_RELAXED));
	} else {
		old = __atomic_exchange_n(entry, new, __ATOMIC_ACQ_REL);
	}
	mm_pte_changed(c, level, u->table, u->slot, old, new);
	core_frame_dirtied(c, u->table);
	return true;
}

static inline bool same_target(uint64_t old, uint64_t new)
{
	return ((old ^ new) & ~PTE_HARMLESS) == 0;
}

static int update_l1(struct core_ctx *c, const struct mm_update *u)
{
	uint64_t *entry = mm_table(c, u->table) + u->slot, old = pte_read(entry);

	int rc;

	if (!(u->pte & PTE_PRESENT)) {
		if (!commit(c, 1, entry, u->pte, u))
			return -XEN_EAGAIN;
		mm_l1e_put(c, old);
		return 0;
	}
	if (u->pte & PTE_L1_REFUSED)
		return -XEN_EINVAL;
	if (same_target(old, u->pte))
		return commit(c, 1, entry, pte_adjust(u->pte, 1), u) ? 0 : -XEN_EAGAIN;
	/* DOMID_IO as the owner of what is mapped: its RAM is not ours, and we have no I/O memory.
	 */
	if (u->io_only && pte_mfn(u->pte) < c->d->nr_frames && pte_mfn(u->pte) >= MM_LOW_FRAMES)
		return -XEN_EBUSY;
	rc = mm_l1e_get(c, u->pte);
	if (rc != 0)
		return rc;
	if (commit(c, 1, entry, pte_adjust(u->pte, 1), u)) {
		mm_l1e_put(c, old);
		return 0;
	}
	mm_l1e_put(c, u->pte);
	return -XEN_EAGAIN;
}

static int update_upper(struct core_ctx *c, unsigned int level, const struct mm_update *u)
{
	uint64_t *entry = mm_table(c, u->table) + u->slot, old = pte_read(entry);

	if (pte_xen_slot(level, u->slot))
		return -XEN_EINVAL;
	if (u->pte & PTE_PRESENT) {
		int rc;

		if (u->pte & PTE_UPPER_REFUSED)
			return -XEN_EINVAL;
		if (same_target(old, u->pte)) {
			(void)commit(c, level, entry, pte_adjust(u->pte, level), u);
			return 0;
		}
		rc = mm_entry_get(c, u->table, level, u->pte, MM_PREEMPT);
		if (rc != 0)
			return rc;
	}
	(void)commit(c, level, entry, pte_adjust(u->pte, level), u);
	if (old & PTE_PRESENT) {
		/* Xen flushes after each such hypercall; guests may rely on it. */
		c->mm_flush_due = true;
		mm_entry_put(c, u->table, level, old, MM_PREEMPT);
	}
	return 0;
}

int mm_update_entry(struct core_ctx *c, unsigned int level, const struct mm_update *u)
{
	return level == 1 ? update_l1(c, u) : update_upper(c, level, u);
}

bool mm_find_l1(struct core_ctx *c, uint64_t va, uint64_t *ret_table, unsigned int *ret_slot)
{
	uint64_t mfn = c->v->kernel_root;

	if (!core_addr_ok(va))
		return false;
	for (unsigned int level = 4; level > 1; level--) {
		uint64_t pte;

		if (mfn >= c->d->nr_frames)
			return false;
		pte = pte_read(mm_table(c, mfn) + pte_slot(va, level));
		if (!(pte & PTE_PRESENT))
			return false;
		mfn = pte_mfn(pte);
	}
	/* Linear mappings lead to tables of other levels. */
	if (mfn >= c->d->nr_frames || !frame_is(frame_word(mm_frame(c, mfn)), FRAME_L1))
		return false;
	*ret_table = mfn;
	*ret_slot = pte_slot(va, 1);
	return true;
}
