/* SPDX-License-Identifier: MIT */
#include "core/hypercall/hypercall.h"
#include "core/mm/internal.h"

/* Which vCPUs: the bits of `flags` above the flush type are a small constant or a pointer. */
static long flush_mask(struct core_ctx *c, uint64_t flags, uint64_t *ret_mask)
{
	uint64_t who = flags & ~(uint64_t)UVMF_FLUSHTYPE_MASK;

	if (who == UVMF_LOCAL)
		*ret_mask = core_vcpu_mask_self(c);
	else if (who == UVMF_ALL)
		*ret_mask = core_vcpu_mask_all(c);
	else if (!mm_vcpu_mask(c, who, ret_mask))
		return -XEN_EFAULT;
	return 0;
}

static long flush(struct core_ctx *c, uint64_t va, uint64_t flags)
{
	uint64_t type = flags & UVMF_FLUSHTYPE_MASK, mask;
	long rc;

	if (type != UVMF_TLB_FLUSH && type != UVMF_INVLPG)
		return 0;
	rc = flush_mask(c, flags, &mask);
	if (rc != 0)
		return rc;
	if (type == UVMF_TLB_FLUSH)
		core_mm_flush_all(c, mask);
	else
		core_mm_flush_va(c, mask, va);
	return 0;
}

static long update(struct core_ctx *c, const uint64_t arg[6])
{
	struct mm_update u = {.pte = arg[1]};
	long rc = -XEN_EINVAL;

	mm_lock(c);
	if (mm_find_l1(c, arg[0], &u.table, &u.slot))
		rc = mm_update_entry(c, 1, &u);
	mm_unlock(c);
	/* Nothing changed, nothing to flush. */
	return rc != 0 ? rc : flush(c, arg[0], arg[2]);
}

/* ABI: served */
long core_hc_update_va_mapping(struct core_ctx *c, const uint64_t arg[6])
{
	return update(c, arg);
}

/* The owner of what is mapped: nobody but the domain itself, by DOMID_SELF. */
/* ABI: served; -EPERM but for DOMID_SELF */
long core_hc_update_va_mapping_otherdomain(struct core_ctx *c, const uint64_t arg[6])
{
	domid_t id = (domid_t)arg[3];

	if (id == DOMID_SELF)
		return update(c, arg);
	return id == 0 || id == DOMID_IO || id == DOMID_XEN ? -XEN_EPERM : -XEN_ESRCH;
}
