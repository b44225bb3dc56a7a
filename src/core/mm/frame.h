/* SPDX-License-Identifier: MIT */
/*
 * The frame table: who may use a machine frame, and as what. doc/pv-mmu.md has the rules.
 *
 * Everything that decides about a frame is in one word, so that "take a reference as this type" is
 * a single compare-and-swap, also against the library, whose back ends take references without a
 * lock. The core itself changes types and page tables under core_domain.mm_lock only.
 *
 * struct core_frame, beyond .type:
 *   page tables: .count = number of entries looked at, count of linear mappings (table.c)
 *   free frames: .count, .aux (low 30 bits) = next and previous of the free list (freelist.c)
 *
 * This header and frame.c need nothing else of the core; the library links them for its back ends.
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
#define FRAME_LEFT	 (1ull << 61) /* given back, freed when its last reference goes */
#define FRAME_ALLOCATED	 (1ull << 62) /* part of the reservation: holds one general reference */
#define FRAME_XEN	 (1ull << 63) /* hypervisor-owned: never given back */

enum frame_type {
	FRAME_NONE,
	FRAME_L1, /* FRAME_L1 + n is the page table of level n + 1 */
	FRAME_L2,
	FRAME_L3,
	FRAME_L4,
	FRAME_SEG_DESC, /* descriptors only: GDT */
	FRAME_WRITABLE,
};

static inline uint64_t frame_word(const struct core_frame *f)
{
	return __atomic_load_n(&f->type, __ATOMIC_ACQUIRE);
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
	       (word & FRAME_TREF_MASK) != 0;
}

/* A frame without references (free, or not the guest's) and a saturated one are refused. */
static inline bool frame_ref(struct core_frame *f)
{
	uint64_t old = frame_word(f);

	do {
		uint64_t refs = old & FRAME_REF_MASK;

		if (refs == 0 || refs == FRAME_REF_MASK)
			return false;
	} while (!__atomic_compare_exchange_n(&f->type, &old, old + FRAME_REF, true,
					      __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE));
	return true;
}

/* True: that was the last reference, and somebody under mm_lock must free the frame. */
static inline bool frame_unref(struct core_frame *f)
{
	return (__atomic_sub_fetch(&f->type, FRAME_REF, __ATOMIC_ACQ_REL) & FRAME_REF_MASK) == 0;
}

/*
 * One general reference and one type reference as FRAME_WRITABLE. A frame that is not in use under
 * a type becomes writable; page tables and descriptor pages are refused.
 */
static inline bool frame_ref_writable(struct core_frame *f)
{
	const uint64_t writable = ((uint64_t)FRAME_WRITABLE << FRAME_TYPE_SHIFT) | FRAME_VALID;
	uint64_t old = frame_word(f), new;

	do {
		uint64_t refs = old & FRAME_REF_MASK, trefs = old & FRAME_TREF_MASK;

		if (refs == 0 || refs == FRAME_REF_MASK || trefs == FRAME_TREF_MASK)
			return false;
		if ((old & (FRAME_TYPE_MASK | FRAME_VALID)) != writable && trefs != 0)
			return false;
		new = (old & ~(FRAME_TYPE_MASK | FRAME_VALID)) | writable;
		new += FRAME_REF + FRAME_TREF;
	} while (!__atomic_compare_exchange_n(&f->type, &old, new, true, __ATOMIC_ACQ_REL,
					      __ATOMIC_ACQUIRE));
	return true;
}

/* True as frame_unref(). The type stays, so that a change of it can be noticed (frame_protect). */
static inline bool frame_unref_writable(struct core_frame *f)
{
	return (__atomic_sub_fetch(&f->type, FRAME_REF + FRAME_TREF, __ATOMIC_ACQ_REL) &
		FRAME_REF_MASK) == 0;
}

/*
 * The library's side (domain/guest.c): references for back ends, without a lock and without trust
 * in what the table says. False: no such frame, given back, or in use as a page table. A frame
 * whose last reference is put here is picked up by the core later (mm/freelist.c).
 */
bool frame_get(struct core_frame *frames, uint64_t nr, uint64_t mfn);
void frame_put(struct core_frame *frames, uint64_t nr, uint64_t mfn);
bool frame_get_writable(struct core_frame *frames, uint64_t nr, uint64_t mfn);
void frame_put_writable(struct core_frame *frames, uint64_t nr, uint64_t mfn);

#endif
