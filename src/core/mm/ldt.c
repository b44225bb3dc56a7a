/* SPDX-License-Identifier: MIT */
/*
 * LDTs. A guest's LDT is ordinary memory until a selector is loaded from one of its pages: then the
 * page becomes a descriptor page (nobody can write to it, each descriptor was checked), and stays
 * one until the LDT or the root changes. That the page is not mapped there any more changes
 * nothing, as on Xen (which can be built to care, for one old system).
 */
#include "core/mm/internal.h"

#define DESC_PER_PAGE 512u

bool core_ldt_frame(struct core_ctx *c, unsigned int index, uint64_t *ret_mfn)
{
	struct core_vcpu *v = c->v;
	unsigned int page = index / DESC_PER_PAGE;
	uint64_t mfn, flags;
	bool ok = false;

	if (index >= v->ldt_ents || page >= sizeof(v->ldt_frames) / sizeof(v->ldt_frames[0]))
		return false;
	mm_lock(c);
	if (v->ldt_frames[page] != 0) {
		*ret_mfn = v->ldt_frames[page] - 1;
		ok = true;
	} else if (core_walk(c, v->kernel_root, v->ldt_base + page * 4096ull, &mfn, &flags) &&
		   mm_type_get(c, mfn, FRAME_SEG_DESC, MM_NO_PREEMPT) == 0) {
		v->ldt_frames[page] = mfn + 1;
		*ret_mfn = mfn;
		ok = true;
	}
	mm_unlock(c);
	return ok;
}

void mm_ldt_forget(struct core_ctx *c, struct core_vcpu *v)
{
	for (unsigned int i = 0; i < sizeof(v->ldt_frames) / sizeof(v->ldt_frames[0]); i++) {
		uint64_t mfn = v->ldt_frames[i];

		if (mfn == 0)
			continue;
		v->ldt_frames[i] = 0;
		mm_type_put(c, mfn - 1, MM_NO_PREEMPT);
	}
}
