/* SPDX-License-Identifier: MIT */
/* The vCPU's page-table roots: each holds a type reference on its L4. */
#include "core/mm/roots.h"

#include "core/mm/entry.h"

/*
 * Slots 256 to 271 of each L4. Xen puts its own mappings there, and so does an executor whose
 * guests run on their own page tables; walks do not look at them. Where there are none, what a
 * guest reads is of the same form, with a frame that does not exist.
 */
#define XEN_FRAME (PTE_MFN_MASK - 1)
#define XEN_ENTRY (XEN_FRAME << PTE_MFN_SHIFT | PTE_PRESENT | PTE_ACCESSED | PTE_DIRTY)
#define M2P_ENTRY (XEN_ENTRY | PTE_USER)
#define SLOT_M2P  256u

/* What is in a slot: the executor's own entry, or one of the form that Xen's has. */
static uint64_t slot_entry(struct core_ctx *c, unsigned int slot)
{
	static const uint16_t used = 1u << 2 | 1u << 4 | 1u << 5 | 1u << 6;

	if (c->ops->root_slot)
		return c->ops->root_slot(c, slot);
	if (slot == SLOT_M2P)
		return M2P_ENTRY;
	return used >> (slot - L4_XEN_FIRST) & 1 ? XEN_ENTRY | PTE_RW : 0;
}

/* No RAM; but a guest may have copied the hypervisor's slots, and those lead to memory of Xen's. */
int mm_no_frame(struct core_ctx *c, uint64_t mfn)
{
	if (mfn == PTE_MFN_MASK)
		return -XEN_EINVAL;
	for (unsigned int i = L4_XEN_FIRST; i <= L4_XEN_LAST; i++) {
		uint64_t pte = slot_entry(c, i);

		if ((pte & PTE_PRESENT) && pte_mfn(pte) == mfn)
			return -XEN_EBUSY;
	}
	return -XEN_EPERM;
}

void mm_fill_xen_slots(struct core_ctx *c, uint64_t *l4)
{
	bool strict = c->d->vm_assist >> VMASST_TYPE_m2p_strict & 1;

	for (unsigned int i = L4_XEN_FIRST; i <= L4_XEN_LAST; i++)
		pte_write(&l4[i], i != SLOT_M2P || strict ? slot_entry(c, i) : 0);
}

void mm_show_m2p(struct core_ctx *c, uint64_t l4_mfn, bool kernel)
{
	bool strict = c->d->vm_assist >> VMASST_TYPE_m2p_strict & 1;

	if (kernel && !strict)
		pte_write(mm_table(c, l4_mfn) + SLOT_M2P, slot_entry(c, SLOT_M2P));
	else if (!kernel && strict)
		pte_write(mm_table(c, l4_mfn) + SLOT_M2P, 0);
}

int mm_load_kernel_root(struct core_ctx *c, uint64_t mfn)
{
	struct core_vcpu *v = c->v;
	uint64_t old = v->kernel_root;
	int rc;

	if (old == mfn) {
		/* Loading a root again is how some kernels flush. */
		core_mm_flush_all(c, core_vcpu_mask_self(c));
		return 0;
	}
	rc = mm_type_get(c, mfn, FRAME_L4, MM_PREEMPT);
	if (rc != 0)
		return rc;
	v->kernel_root = mfn;
	v->root_loads++;
	mm_show_m2p(c, mfn, true);
	mm_ldt_forget(c, v); /* another root may map another LDT there */
	c->ops->root_changed(c);
	if (old != CORE_INVALID_MFN)
		mm_type_put(c, old, MM_PREEMPT);
	return 0;
}

int mm_load_user_root(struct core_ctx *c, uint64_t mfn)
{
	struct core_vcpu *v = c->v;
	uint64_t old = v->user_root;

	/* The ABI's way to have none. Frame 0 therefore cannot be a user root. */
	if (mfn == 0)
		mfn = CORE_INVALID_MFN;
	if (old == mfn)
		return 0;
	if (mfn != CORE_INVALID_MFN) {
		int rc = mm_type_get(c, mfn, FRAME_L4, MM_PREEMPT);

		if (rc != 0)
			return rc;
		mm_show_m2p(c, mfn, false);
	}
	v->user_root = mfn;
	v->root_loads++;
	c->ops->root_changed(c);
	if (old != CORE_INVALID_MFN)
		mm_type_put(c, old, MM_PREEMPT);
	return 0;
}

int core_mm_set_roots(struct core_ctx *c, struct core_vcpu *v, uint64_t kernel_mfn,
		      uint64_t user_mfn)
{
	int rc;

	mm_lock(c);
	rc = mm_type_get(c, kernel_mfn, FRAME_L4, MM_NO_PREEMPT);
	if (rc == 0 && user_mfn != CORE_INVALID_MFN) {
		rc = mm_type_get(c, user_mfn, FRAME_L4, MM_NO_PREEMPT);
		if (rc != 0)
			mm_type_put(c, kernel_mfn, MM_NO_PREEMPT);
	}
	if (rc == 0) {
		v->kernel_root = kernel_mfn;
		v->user_root = user_mfn;
		v->root_loads++;
		mm_show_m2p(c, kernel_mfn, true);
	}
	mm_unlock(c);
	return rc == 0 ? 0 : -XEN_EINVAL;
}

void core_mm_drop_roots(struct core_ctx *c, struct core_vcpu *v)
{
	mm_lock(c);
	mm_ldt_forget(c, v);
	if (v->kernel_root != CORE_INVALID_MFN)
		mm_type_put(c, v->kernel_root, MM_NO_PREEMPT);
	if (v->user_root != CORE_INVALID_MFN)
		mm_type_put(c, v->user_root, MM_NO_PREEMPT);
	v->kernel_root = CORE_INVALID_MFN;
	v->user_root = CORE_INVALID_MFN;
	mm_unlock(c);
}

int core_mm_write_cr3(struct core_ctx *c, uint64_t mfn)
{
	int rc;

	mm_lock(c);
	rc = mm_old_table_finish(c);
	if (rc == 0)
		rc = mm_load_kernel_root(c, mfn);
	mm_unlock(c);
	return rc == -MM_RESTART ? 1 : rc;
}
