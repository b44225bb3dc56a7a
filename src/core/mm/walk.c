/* SPDX-License-Identifier: MIT */
/*
 * Walking the guest's page tables in software. No lock: a table may change or even stop being one
 * while it is read, so each frame number is checked again, and writers hold a reference that says
 * "not a page table" while they write (access.c).
 */
#include "core/mm/internal.h"

#define WALK_RIGHTS (PTE_PRESENT | PTE_RW | PTE_USER)

/* The read-only M2P at the start of the hypervisor's area; kernel roots only, as Xen has it. */
static bool walk_m2p(struct core_ctx *c, uint64_t root_mfn, uint64_t va, uint64_t *ret_mfn,
		     uint64_t *ret_flags)
{
	uint64_t frame = (va - MACH2PHYS_VIRT_START) >> 12;

	if (va >= MACH2PHYS_VIRT_END || frame >= c->d->m2p_frames)
		return false;
	if (root_mfn == c->v->user_root && root_mfn != c->v->kernel_root)
		return false;
	*ret_mfn = c->d->m2p_first + frame;
	*ret_flags = PTE_PRESENT | PTE_USER | PTE_NX;
	return true;
}

bool mm_walk(struct core_ctx *c, uint64_t root_mfn, uint64_t va, uint64_t *ret_mfn,
	     uint64_t *ret_flags, uint64_t **ret_path)
{
	uint64_t mfn = root_mfn, rights = WALK_RIGHTS, nx = 0, pte = 0;

	ret_path[0] = NULL;
	*ret_flags = 0;
	if (!core_addr_ok(va)) {
		if (va >= MACH2PHYS_VIRT_START)
			return walk_m2p(c, root_mfn, va, ret_mfn, ret_flags);
		return false;
	}
	for (unsigned int level = 4; level >= 1; level--) {
		uint64_t *entry;

		if (mfn >= c->d->nr_frames)
			return false;
		entry = mm_table(c, mfn) + pte_slot(va, level);
		pte = pte_read(entry);
		if (!(pte & PTE_PRESENT))
			return false;
		ret_path[4 - level] = entry;
		rights &= pte;
		nx |= pte & PTE_NX;
		mfn = pte_mfn(pte);
	}
	if (mfn >= c->d->nr_frames)
		return false;
	*ret_mfn = mfn;
	*ret_flags = rights | nx | (pte & ~(WALK_RIGHTS | PTE_NX | (PTE_MFN_MASK << 12)));
	return true;
}

bool core_walk(struct core_ctx *c, uint64_t root_mfn, uint64_t va, uint64_t *ret_mfn,
	       uint64_t *ret_flags)
{
	uint64_t *path[4];

	return mm_walk(c, root_mfn, va, ret_mfn, ret_flags, path);
}

static uint64_t table_mfn(const struct core_ctx *c, const uint64_t *entry)
{
	return (uint64_t)((const uint8_t *)entry - c->ram) >> 12;
}

bool core_walk_access(struct core_ctx *c, uint64_t root_mfn, uint64_t va, uint32_t access,
		      uint64_t *ret_mfn, uint64_t *ret_flags)
{
	uint64_t *path[4];

	if (!mm_walk(c, root_mfn, va, ret_mfn, ret_flags, path)) {
		*ret_flags = access & (PF_WRITE | PF_USER | PF_FETCH);
		return false;
	}
	if (((access & PF_WRITE) && !(*ret_flags & PTE_RW)) ||
	    ((access & PF_USER) && !(*ret_flags & PTE_USER)) ||
	    ((access & PF_FETCH) && (*ret_flags & PTE_NX))) {
		*ret_flags = PF_PRESENT | (access & (PF_WRITE | PF_USER | PF_FETCH));
		return false;
	}
	if (path[0] == NULL)
		return true;
	for (unsigned int i = 0; i < 3; i++)
		(void)pte_mark(path[i], table_mfn(c, path[i + 1]), PTE_ACCESSED);
	(void)pte_mark(path[3], *ret_mfn, PTE_ACCESSED | (access & PF_WRITE ? PTE_DIRTY : 0));
	return true;
}

static void forget(struct core_ctx *c, uint64_t vcpu_mask)
{
	for (unsigned int id = 0; id < c->d->nr_vcpus; id++) {
		if ((vcpu_mask >> id) & 1)
			__atomic_add_fetch(&c->d->vcpu[id].walk_gen, 1, __ATOMIC_RELEASE);
	}
}

void core_mm_flush_all(struct core_ctx *c, uint64_t vcpu_mask)
{
	vcpu_mask &= core_vcpu_mask_all(c);
	if (vcpu_mask == 0)
		return;
	forget(c, vcpu_mask);
	c->ops->flush_all(c, vcpu_mask);
}

void core_mm_flush_va(struct core_ctx *c, uint64_t vcpu_mask, uint64_t va)
{
	vcpu_mask &= core_vcpu_mask_all(c);
	if (vcpu_mask == 0)
		return;
	forget(c, vcpu_mask);
	c->ops->flush_va(c, vcpu_mask, va);
}
