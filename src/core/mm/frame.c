/* SPDX-License-Identifier: MIT */
#include "core/mm/frame.h"

/*
 * The table may be written by a hostile sandbox: a compare-and-swap that keeps failing must not
 * hold the library's I/O thread.
 */
#define MAX_TRIES 1000

static bool hold(struct core_frame *f, uint32_t one, uint32_t all)
{
	uint32_t aux = __atomic_load_n(&f->aux, __ATOMIC_RELAXED);
	uint64_t word;
	int tries = 0;

	do {
		if ((aux & all) == all || tries++ == MAX_TRIES)
			return false;
	} while (!__atomic_compare_exchange_n(&f->aux, &aux, aux + one, false, __ATOMIC_SEQ_CST,
					      __ATOMIC_RELAXED));

	word = __atomic_load_n(&f->type, __ATOMIC_SEQ_CST);
	if (one == FRAME_READER ? frame_refs(word) != 0 : frame_writable(word))
		return true;
	__atomic_sub_fetch(&f->aux, one, __ATOMIC_SEQ_CST);
	return false;
}

bool frame_get(struct core_frame *frames, uint64_t nr, uint64_t mfn)
{
	return mfn < nr && hold(&frames[mfn], FRAME_READER, FRAME_READERS);
}

void frame_put(struct core_frame *frames, uint64_t nr, uint64_t mfn)
{
	if (mfn < nr)
		__atomic_sub_fetch(&frames[mfn].aux, FRAME_READER, __ATOMIC_SEQ_CST);
}

bool frame_get_writable(struct core_frame *frames, uint64_t nr, uint64_t mfn)
{
	return mfn < nr && hold(&frames[mfn], FRAME_WRITER, FRAME_WRITERS);
}

void frame_put_writable(struct core_frame *frames, uint64_t nr, uint64_t mfn)
{
	if (mfn < nr)
		__atomic_sub_fetch(&frames[mfn].aux, FRAME_WRITER, __ATOMIC_SEQ_CST);
}
