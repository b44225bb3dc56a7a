/* SPDX-License-Identifier: MIT */
/*
 * The PTE of a mapped grant. The references belong to the grant (grant/), the PTE only shows the
 * frame: it is not checked as the guest's own entries are, and not counted when it is removed
 * through the grant table. A guest that overwrites it directly puts the grant's references, as on
 * Xen, and then cannot unmap the grant any more.
 */
#include "core/mm/entry.h"

#include <xen/grant_table.h>

struct place {
	uint64_t table;
	uint64_t *entry;
};

static bool find(struct core_ctx *c, uint64_t addr, uint32_t flags, struct place *ret)
{
	unsigned int slot;

	if (flags & GNTMAP_contains_pte) {
		if ((addr & 7) != 0 || addr >> 12 >= c->d->nr_frames)
			return false;
		ret->table = addr >> 12;
		slot = (unsigned int)(addr & 0xfff) / 8;
		if (!frame_is(frame_word(mm_frame(c, ret->table)), FRAME_L1))
			return false;
	} else if (!mm_find_l1(c, addr, &ret->table, &slot)) {
		return false;
	}
	ret->entry = mm_table(c, ret->table) + slot;
	return true;
}

static uint64_t make_pte(uint64_t mfn, uint32_t flags)
{
	uint64_t pte = mfn << PTE_MFN_SHIFT | PTE_PRESENT | PTE_ACCESSED | PTE_DIRTY | PTE_NX;

	if (!(flags & GNTMAP_readonly))
		pte |= PTE_RW;
	if (flags & GNTMAP_application_map)
		pte |= PTE_USER;
	pte |= ((uint64_t)(flags >> _GNTMAP_guest_avail0) << 9) & PTE_AVAIL;
	return pte_adjust(pte, 1);
}

static void write_entry(struct core_ctx *c, const struct place *p, uint64_t pte)
{
	uint64_t old = __atomic_exchange_n(p->entry, pte, __ATOMIC_ACQ_REL);
	unsigned int slot = (unsigned int)(p->entry - mm_table(c, p->table));

	mm_pte_changed(c, 1, p->table, slot, old, pte);
	core_frame_dirtied(c, p->table);
}

int core_mm_grant_install(struct core_ctx *c, uint64_t addr, uint64_t mfn, uint32_t gntmap_flags)
{
	struct place p;
	int rc = GNTST_general_error;

	mm_lock(c);
	if (find(c, addr, gntmap_flags, &p)) {
		uint64_t old = pte_read(p.entry);

		write_entry(c, &p, make_pte(mfn, gntmap_flags));
		mm_l1e_put(c, old);
		rc = GNTST_okay;
	}
	mm_unlock(c);
	return rc;
}

/* Take the entry that maps new_addr out of its table; it keeps its references. */
static bool take_entry(struct core_ctx *c, uint64_t new_addr, uint64_t *ret_pte)
{
	struct place from;

	if (!find(c, new_addr, 0, &from))
		return false;
	*ret_pte = pte_read(from.entry);
	write_entry(c, &from, 0);
	return true;
}

int core_mm_grant_remove(struct core_ctx *c, uint64_t addr, uint64_t mfn, uint32_t gntmap_flags,
			 uint64_t new_addr)
{
	uint64_t want = PTE_PRESENT | (gntmap_flags & GNTMAP_readonly ? 0 : PTE_RW);
	uint64_t old, pte = 0;
	struct place p;
	int rc = GNTST_general_error;

	if (new_addr != 0 && (gntmap_flags & GNTMAP_contains_pte))
		return rc;
	mm_lock(c);
	/* First of all, as on Xen: it is gone also if the other one then is not the grant's, or is
	 * the same. */
	if (new_addr != 0 && !take_entry(c, new_addr, &pte)) {
		mm_unlock(c);
		return rc;
	}
	if (find(c, addr, gntmap_flags, &p)) {
		old = pte_read(p.entry);
		if (pte_mfn(old) == mfn && (old & (PTE_PRESENT | PTE_RW)) == want) {
			write_entry(c, &p, pte);
			rc = GNTST_okay;
		}
	}
	if (rc != GNTST_okay)
		mm_l1e_put(c, pte);
	mm_unlock(c);
	return rc;
}
