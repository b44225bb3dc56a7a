/* SPDX-License-Identifier: MIT */
/*
 * Memory management, for the other rooms of the core and the executors. The way a page-table
 * update takes through this room: doc/pv-mmu.md.
 *
 * All functions take mm_lock themselves; callers may hold grant_lock, never event_lock. Executor
 * operations (flush_*, frame_protect, frames_discard, ...) are called with mm_lock held: they must
 * not wait for a vCPU that is in the monitor, which may be spinning on that lock.
 */
#ifndef PVV_CORE_MM_MM_H
#define PVV_CORE_MM_MM_H

#include "core/core.h"
#include "core/mm/frame.h"
#include "core/mm/pte.h"

/* ---- walking ---------------------------------------------------------------------------- */

/*
 * As core_walk(), for one access: checks the rights and sets accessed and dirty bits as hardware
 * does. `access`: PF_WRITE, PF_USER (the guest's user mode), PF_FETCH. False: *ret_flags is the
 * #PF error code (PF_USER as given).
 */
bool core_walk_access(struct core_ctx *c, uint64_t root_mfn, uint64_t va, uint32_t access,
		      uint64_t *ret_mfn, uint64_t *ret_flags);

/* Flushes a guest asked for: the executor's mappings and the core's own translations. */
void core_mm_flush_all(struct core_ctx *c, uint64_t vcpu_mask);
void core_mm_flush_va(struct core_ctx *c, uint64_t vcpu_mask, uint64_t va);

static inline uint64_t core_vcpu_mask_all(const struct core_ctx *c)
{
	return c->d->nr_vcpus >= 64 ? ~0ull : (1ull << c->d->nr_vcpus) - 1;
}

static inline uint64_t core_vcpu_mask_self(const struct core_ctx *c)
{
	return 1ull << c->v->id;
}

/* ---- frames ----------------------------------------------------------------------------- */

/* A general reference: the frame is the guest's and stays it. False: it is not. */
bool core_frame_get(struct core_ctx *c, uint64_t mfn);
void core_frame_put(struct core_ctx *c, uint64_t mfn);

/*
 * A general and a type reference, FRAME_WRITABLE or FRAME_SEG_DESC (GDT frames: all descriptors are
 * checked, and their DPL raised to 3, at the first reference). False: not the guest's, in use as
 * another type, or the content is not valid for the type.
 */
bool core_frame_get_type(struct core_ctx *c, uint64_t mfn, enum frame_type type);
void core_frame_put_type(struct core_ctx *c, uint64_t mfn);

/* In use as `type` at this moment (a snapshot: get a reference to rely on it). */
static inline bool core_frame_is_type(struct core_ctx *c, uint64_t mfn, enum frame_type type)
{
	return mfn < c->d->nr_frames && frame_is(frame_word(&c->frames[mfn]), type);
}

/* The core wrote to the frame itself: tell the executor if it holds code. */
static inline void core_frame_dirtied(struct core_ctx *c, uint64_t mfn)
{
	if (__atomic_load_n(&c->frames[mfn].aux, __ATOMIC_RELAXED) & CORE_FRAME_CODE)
		c->ops->frame_dirtied(c, mfn);
}

/*
 * Check a descriptor as Xen does and raise its DPL to 3 where needed. False: not one a guest may
 * have (system segments, gates to the hypervisor).
 */
bool core_descriptor_fix(uint64_t *desc);

/*
 * The page of the current vCPU's LDT that holds descriptor `index`, as a descriptor page. False: it
 * is not mapped, mapped writable, or holds a descriptor a guest may not have.
 */
bool core_ldt_frame(struct core_ctx *c, unsigned int index, uint64_t *ret_mfn);

/* ---- roots (vcpu_op) -------------------------------------------------------------------- */

/*
 * Load the roots of a vCPU that is down (VCPUOP_initialise): 0 or -XEN_EINVAL. user_mfn may be
 * CORE_INVALID_MFN. core_mm_drop_roots() is the reverse.
 */
int core_mm_set_roots(struct core_ctx *c, struct core_vcpu *v, uint64_t kernel_mfn,
		      uint64_t user_mfn);
void core_mm_drop_roots(struct core_ctx *c, struct core_vcpu *v);

/*
 * An emulated `mov cr3`. 0, -XEN_E* (the guest's #GP), or 1: preempted, let the guest execute the
 * instruction again.
 */
int core_mm_write_cr3(struct core_ctx *c, uint64_t mfn);

/* ---- grants: the PTE of a mapping (GNTMAP_host_map) --------------------------------------- */

/*
 * The caller holds the references the mapping needs (core_frame_get, or _get_type for a writable
 * one) and keeps them until it has removed the mapping. `addr` is a guest virtual address, or with
 * GNTMAP_contains_pte the machine address of a PTE. Returns GNTST_okay or GNTST_general_error.
 */
int core_mm_grant_install(struct core_ctx *c, uint64_t addr, uint64_t mfn, uint32_t gntmap_flags);
/*
 * Undo: the PTE must still map `mfn` with the same rights. With `new_addr` (not 0,
 * GNTTABOP_unmap_and_replace) the entry that maps new_addr moves to its place. The caller flushes.
 */
int core_mm_grant_remove(struct core_ctx *c, uint64_t addr, uint64_t mfn, uint32_t gntmap_flags,
			 uint64_t new_addr);

/* ---- faults ----------------------------------------------------------------------------- */

/*
 * A write of the guest kernel to a read-only mapping of an L1 page table (#PF error code `error`,
 * vm_assist writable_pagetables): emulate it. True: done, v->regs is behind the instruction (or,
 * for an unfinished rep, at it). False: not ours, give the guest its #PF.
 */
bool core_mm_ro_fault(struct core_ctx *c, uint64_t cr2, uint32_t error);

#endif
