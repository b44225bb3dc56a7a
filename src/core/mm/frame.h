/* SPDX-License-Identifier: MIT */
/*
 * The frame table: who may use a machine frame, and as what. doc/pv-mmu.md has the rules.
 *
 * struct core_frame:
 *   .type   type, type references, general references, flags. Written under core_domain.mm_lock
 *	     only, so that counting costs no locked instruction; read by anybody.
 *   .count  page tables: entries looked at and linear mappings (table.c); free frames: the list
 *   .aux    holds of the outside, which comes without a lock: readers, writers; and the
 *	     executor's two bits
 *
 * The outside are the library's back ends (granted frames) and the core's own writes to guest
 * memory. It announces itself in .aux first and looks at .type then; the core changes .type first
 * and looks at .aux then, with a barrier in between on both sides. So one of them notices: no frame
 * becomes a page table or is freed while somebody writes to it.
 *
 * This header and frame.c need nothing else of the core; the library links them.
 */
#ifndef PVV_CORE_MM_FRAME_H
#define PVV_CORE_MM_FRAME_H

#include <stdbool.h>
#include <stdint.h>

#include "core/state.h"

#define FRAME_REF	 1ull /* one general reference */
#define FRAME_REF_MASK	 ((1ull << 30) - 1)
#define FRAME_TREF_SHIFT 30
#define FRAME_TREF	 (1ull << FRAME_TREF_SHIFT) /* one type reference */
#define FRAME_TREF_MASK	 (((1ull << 24) - 1) << FRAME_TREF_SHIFT)
#define FRAME_TYPE_SHIFT 54
#define FRAME_TYPE_MASK	 (15ull << FRAME_TYPE_SHIFT)
#define FRAME_VALID	 (1ull << 58) /* the content was checked for the type */
#define FRAME_PINNED	 (1ull << 59) /* the guest holds a type reference by MMUEXT_PIN_* */
#define FRAME_ORPHAN	 (1ull << 60) /* half validated, its reference is nobody's: see table.c */
#define FRAME_LEFT	 (1ull << 61) /* given back, freed when its last reference or hold goes */
#define FRAME_ALLOCATED	 (1ull << 62) /* part of the reservation: holds one general reference */
#define FRAME_XEN	 (1ull << 63) /* hypervisor-owned: never given back */

/* A free frame has no references; its list's back link is in these bits (freelist.c). */
#define FRAME_LINK_SHIFT 30
#define FRAME_LINK_MASK	 ((1ull << 30) - 1)

/* .aux */
#define FRAME_READER  1u
#define FRAME_READERS 0x7fffu
#define FRAME_WRITER  (1u << 15)
#define FRAME_WRITERS (0x7fffu << 15)
#define FRAME_HOLDS   (FRAME_READERS | FRAME_WRITERS)

enum frame_type {
	FRAME_NONE,
	FRAME_L1, /* FRAME_L1 + n is the page table of level n + 1 */
	FRAME_L2,
	FRAME_L3,
	FRAME_L4,
	FRAME_SEG_DESC, /* descriptors only: GDT */
	FRAME_WRITABLE,
};

#define FRAME_IS_WRITABLE (((uint64_t)FRAME_WRITABLE << FRAME_TYPE_SHIFT) | FRAME_VALID)

static inline uint64_t frame_word(const struct core_frame *f)
{
	return __atomic_load_n(&f->type, __ATOMIC_RELAXED);
}

/* Under mm_lock. */
static inline void frame_set_word(struct core_frame *f, uint64_t word)
{
	__atomic_store_n(&f->type, word, __ATOMIC_RELEASE);
}

static inline enum frame_type frame_type(uint64_t word)
{
	return (enum frame_type)((word & FRAME_TYPE_MASK) >> FRAME_TYPE_SHIFT);
}

static inline uint64_t frame_refs(uint64_t word)
{
	return word & FRAME_REF_MASK;
}

static inline uint64_t frame_trefs(uint64_t word)
{
	return (word & FRAME_TREF_MASK) >> FRAME_TREF_SHIFT;
}

/* The frame is, at this moment, in use as `type` and its content was checked. */
static inline bool frame_is(uint64_t word, enum frame_type type)
{
	return (word & (FRAME_TYPE_MASK | FRAME_VALID)) ==
		       (((uint64_t)type << FRAME_TYPE_SHIFT) | FRAME_VALID) &&
	       (word & FRAME_TREF_MASK) != 0 && frame_refs(word) != 0;
}

/* Somebody owns it, and it is nothing that must not be written to. */
static inline bool frame_writable(uint64_t word)
{
	return frame_refs(word) != 0 &&
	       ((word & FRAME_TREF_MASK) == 0 ||
		(word & (FRAME_TYPE_MASK | FRAME_VALID)) == FRAME_IS_WRITABLE);
}

/* ---- references, under mm_lock -------------------------------------------------------------- */

/* A frame without references (free, or not the guest's) and a saturated one are refused. */
static inline bool frame_ref(struct core_frame *f)
{
	uint64_t word = frame_word(f);

	if (frame_refs(word) == 0 || frame_refs(word) == FRAME_REF_MASK)
		return false;
	frame_set_word(f, word + FRAME_REF);
	return true;
}

/* True: that was the last reference, mm_frame_free() follows. */
static inline bool frame_unref(struct core_frame *f)
{
	uint64_t word = frame_word(f) - FRAME_REF;

	frame_set_word(f, word);
	return frame_refs(word) == 0;
}

/*
 * One general reference and one type reference as FRAME_WRITABLE. A frame that is not in use under
 * a type becomes writable; page tables and descriptor pages are refused.
 */
static inline bool frame_ref_writable(struct core_frame *f)
{
	uint64_t word = frame_word(f), trefs = word & FRAME_TREF_MASK;

	if (frame_refs(word) == 0 || frame_refs(word) == FRAME_REF_MASK || trefs == FRAME_TREF_MASK)
		return false;
	if ((word & (FRAME_TYPE_MASK | FRAME_VALID)) != FRAME_IS_WRITABLE) {
		if (trefs != 0)
			return false;
		word = (word & ~(FRAME_TYPE_MASK | FRAME_VALID)) | FRAME_IS_WRITABLE;
	}
	frame_set_word(f, word + FRAME_REF + FRAME_TREF);
	return true;
}

/* True as frame_unref(). The type stays, so that a change of it can be noticed (frame_protect). */
static inline bool frame_unref_writable(struct core_frame *f)
{
	uint64_t word = frame_word(f) - FRAME_REF - FRAME_TREF;

	frame_set_word(f, word);
	return frame_refs(word) == 0;
}

/* After .type was changed: does the outside hold the frame? `which`: FRAME_WRITERS, FRAME_HOLDS. */
static inline bool frame_held(struct core_frame *f, uint32_t which)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return (__atomic_load_n(&f->aux, __ATOMIC_ACQUIRE) & which) != 0;
}

/* ---- holds, without a lock --------------------------------------------------------------------
 */

/*
 * While it is held, the frame is not freed, and held for writing it is no page table. Needs no
 * trust in the table, which the sandbox can write. False: no such frame, given back, in use as a
 * page table, or too many holds (32,767).
 */
bool frame_get(struct core_frame *frames, uint64_t nr, uint64_t mfn);
void frame_put(struct core_frame *frames, uint64_t nr, uint64_t mfn);
bool frame_get_writable(struct core_frame *frames, uint64_t nr, uint64_t mfn);
void frame_put_writable(struct core_frame *frames, uint64_t nr, uint64_t mfn);

#endif
