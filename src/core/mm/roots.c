/* SPDX-License-Identifier: MIT */
/* The vCPU's page-table roots: each holds a type reference on its L4. */
#include "core/mm/roots.h"

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
	v->walk_gen++;
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
	}
	v->user_root = mfn;
	v->walk_gen++;
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
	}
	mm_unlock(c);
	return rc == 0 ? 0 : -XEN_EINVAL;
}

void core_mm_drop_roots(struct core_ctx *c, struct core_vcpu *v)
{
	mm_lock(c);
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
