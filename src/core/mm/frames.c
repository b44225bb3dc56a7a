/* SPDX-License-Identifier: MIT */
/* References for the other rooms of the core: grants, descriptor tables, registered areas. */
#include "core/mm/internal.h"

bool core_frame_get(struct core_ctx *c, uint64_t mfn)
{
	return mfn < c->d->nr_frames && frame_ref(mm_frame(c, mfn));
}

void core_frame_put(struct core_ctx *c, uint64_t mfn)
{
	mm_lock(c);
	mm_unref(c, mfn);
	mm_unlock(c);
}

bool core_frame_get_type(struct core_ctx *c, uint64_t mfn, enum frame_type type)
{
	int rc;

	if (mfn >= c->d->nr_frames)
		return false;
	if (type == FRAME_WRITABLE)
		return frame_ref_writable(mm_frame(c, mfn));
	mm_lock(c);
	rc = mm_type_get(c, mfn, type, MM_NO_PREEMPT);
	mm_unlock(c);
	return rc == 0;
}

void core_frame_put_type(struct core_ctx *c, uint64_t mfn)
{
	mm_lock(c);
	mm_type_put(c, mfn, MM_NO_PREEMPT);
	mm_unlock(c);
}
