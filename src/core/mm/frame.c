/* SPDX-License-Identifier: MIT */
#include "core/mm/frame.h"

/*
 * The table may be written by a hostile sandbox: a compare-and-swap that keeps failing must not
 * hold the library's I/O thread.
 */
#define MAX_TRIES 1000

static bool get(struct core_frame *f, bool writable)
{
	const uint64_t type = ((uint64_t)FRAME_WRITABLE << FRAME_TYPE_SHIFT) | FRAME_VALID;
	uint64_t old = frame_word(f), new;

	for (int tries = 0; tries < MAX_TRIES; tries++) {
		uint64_t refs = old & FRAME_REF_MASK, trefs = old & FRAME_TREF_MASK;

		if (refs == 0 || refs == FRAME_REF_MASK)
			return false;
		new = old + FRAME_REF;
		if (writable) {
			if (trefs == FRAME_TREF_MASK ||
			    ((old & (FRAME_TYPE_MASK | FRAME_VALID)) != type && trefs != 0))
				return false;
			new = ((new & ~(FRAME_TYPE_MASK | FRAME_VALID)) | type) + FRAME_TREF;
		}
		if (__atomic_compare_exchange_n(&f->type, &old, new, false, __ATOMIC_ACQ_REL,
						__ATOMIC_ACQUIRE))
			return true;
	}
	return false;
}

bool frame_get(struct core_frame *frames, uint64_t nr, uint64_t mfn)
{
	return mfn < nr && get(&frames[mfn], false);
}

void frame_put(struct core_frame *frames, uint64_t nr, uint64_t mfn)
{
	if (mfn < nr)
		(void)frame_unref(&frames[mfn]);
}

bool frame_get_writable(struct core_frame *frames, uint64_t nr, uint64_t mfn)
{
	return mfn < nr && get(&frames[mfn], true);
}

void frame_put_writable(struct core_frame *frames, uint64_t nr, uint64_t mfn)
{
	if (mfn < nr)
		(void)frame_unref_writable(&frames[mfn]);
}
