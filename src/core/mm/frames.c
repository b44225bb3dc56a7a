/* SPDX-License-Identifier: MIT */
/* References for the other rooms of the core: grants, descriptor tables, registered areas. */
#include "core/mm/internal.h"

bool core_frame_get(struct core_ctx *c, uint64_t mfn)
{
	bool ok;

	if (mfn >= c->d->nr_frames)
		return false;
	mm_lock(c);
	ok = frame_ref(mm_frame(c, mfn));
	mm_unlock(c);
	return ok;
}

void core_frame_put(struct core_ctx *c, uint64_t mfn)
{
	mm_lock(c);
	mm_unref(c, mfn);
	mm_unlock(c);
}

bool core_frame_get_type(struct core_ctx *c, uint64_t mfn, enum frame_type type)
{
	bool ok;

	if (mfn >= c->d->nr_frames)
		return false;
	mm_lock(c);
	if (type == FRAME_WRITABLE)
		ok = frame_ref_writable(mm_frame(c, mfn));
	else
		ok = mm_type_get(c, mfn, type, MM_NO_PREEMPT) == 0;
	mm_unlock(c);
	return ok;
}

void core_frame_put_type(struct core_ctx *c, uint64_t mfn)
{
	mm_lock(c);
	mm_type_put(c, mfn, MM_NO_PREEMPT);
	mm_unlock(c);
}
