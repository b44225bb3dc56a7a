/* SPDX-License-Identifier: MIT */
/*
 * A small domain with a fake executor, for the tests, the fuzz target and the benchmark of
 * src/core/mm: RAM mapped 1:1 at GUEST_VA by one L1, L2, L3 and L4, and everything counted.
 */
#ifndef MM_GUEST_H
#define MM_GUEST_H

#include "core/hypercall/hypercall.h"
#include "core/mm/internal.h"
#include "core/mm/ops.h"

enum {
	NR_PAGES = 512,
	MAX_PAGES = 560,
	SHARED_INFO = MAX_PAGES,
	GRANT_FIRST,
	GRANT_MAX = 4,
	M2P_FIRST = GRANT_FIRST + GRANT_MAX,
	M2P_FRAMES = 2,
	GAP = M2P_FIRST + M2P_FRAMES, /* a frame that is nobody's */
	NR_FRAMES,

	BOOT_L4 = 8,
	BOOT_L3,
	BOOT_L2,
	BOOT_L1,
	ARGS = 16, /* 8 pages for hypercall arguments */
	FREE = 32, /* from here the tests do as they like */
};

#define GUEST_VA 0xffffffff80000000ull
#define VA(mfn)	 (GUEST_VA + ((uint64_t)(mfn) << 12))
#define DOMID	 7u

#define P  PTE_PRESENT
#define RW PTE_RW
#define U  PTE_USER
#define A  PTE_ACCESSED
#define D  PTE_DIRTY
#define G  PTE_GLOBAL
#define GK PTE_GUEST_KERNEL

#define pte(mfn, flags) ((uint64_t)(mfn) << 12 | (flags))

struct mm_guest {
	struct core_ctx c;
	unsigned int nr_vcpus;
	/* what the fake executor saw */
	unsigned int flush_all, flush_va, protect, dirtied, root_changed, discarded;
	uint64_t last_mask, last_va, last_protect;
	unsigned int turns; /* of the last hypercall, 1 = not preempted */
	/* references the test itself has, for mm_guest_check(), and holds from outside */
	uint32_t refs[NR_FRAMES], trefs[NR_FRAMES];
	uint16_t readers[NR_FRAMES], writers[NR_FRAMES];
	char why[256];
	uint8_t *memory;
};

struct mm_guest *mm_guest_new(unsigned int nr_vcpus);
/* As above, but initialised by the caller: mm_guest_boot() after it changed the image. */
struct mm_guest *mm_guest_raw(unsigned int nr_vcpus);
bool mm_guest_boot(struct mm_guest *g);
/* As if it were new; cheaper. */
void mm_guest_reset(struct mm_guest *g);
void mm_guest_free(struct mm_guest *g);

static inline uint64_t *frame_at(struct mm_guest *g, uint64_t mfn)
{
	return core_frame_ptr(&g->c, mfn);
}

static inline uint64_t word_of(struct mm_guest *g, uint64_t mfn)
{
	return g->c.frames[mfn].type;
}

/*
 * A hypercall as the guest sees it: continued until it is over. 10,000 turns mean it makes no
 * progress; then the result is LONG_MIN.
 */
typedef long mm_guest_call(struct core_ctx *c, const uint64_t arg[6]);
long mm_guest_hypercall(struct mm_guest *g, mm_guest_call *call, uint64_t a0, uint64_t a1,
			uint64_t a2, uint64_t a3);

/* The kick flag: long operations stop as soon as they may. */
void mm_guest_preempt(struct mm_guest *g, bool on);

/* The usual ones; `done` in *ret_done. */
long mmu_update(struct mm_guest *g, const struct mmu_update *reqs, uint32_t nr, uint32_t dom,
		uint32_t *ret_done);
long update(struct mm_guest *g, uint64_t table, unsigned int slot, uint64_t val);
long va_mapping(struct mm_guest *g, uint64_t va, uint64_t val, uint64_t flags);
long mmuext(struct mm_guest *g, unsigned int cmd, uint64_t arg1, uint64_t arg2);
long memory_op(struct mm_guest *g, uint64_t cmd, const void *arg, size_t size);
/* Put bytes into the guest's argument pages and return their address. */
uint64_t put_args(struct mm_guest *g, unsigned int offset, const void *data, size_t size);

/* Make the frame's own mapping read-only (or writable again), so that it can be a page table. */
void make_ro(struct mm_guest *g, uint64_t mfn);
void make_rw(struct mm_guest *g, uint64_t mfn);

/*
 * Count every reference again from the page tables, pins, roots and what the test holds, and
 * compare with the frame table; check the free list, too. NULL, or what is wrong.
 */
const char *mm_guest_check(struct mm_guest *g);

#endif
