/* SPDX-License-Identifier: MIT */
/* What the files of mm/ share. Everything here wants d->mm_lock held unless said otherwise. */
#ifndef PVV_CORE_MM_INTERNAL_H
#define PVV_CORE_MM_INTERNAL_H

#include <xen/errno.h>

#include "core/lib/lock.h"
#include "core/mm/mm.h"

/* Internal only: "preempted, come again". Never given to a guest. */
#define MM_RESTART 85

/* Which preemption is allowed: hypercalls may be continued, start-up and vcpu_op may not. */
enum mm_preempt { MM_NO_PREEMPT, MM_PREEMPT };

static inline void mm_lock(struct core_ctx *c)
{
	core_lock(c, &c->d->mm_lock);
}

static inline void mm_unlock(struct core_ctx *c)
{
	core_unlock(c, &c->d->mm_lock);
}

static inline struct core_frame *mm_frame(struct core_ctx *c, uint64_t mfn)
{
	return &c->frames[mfn];
}

static inline uint64_t *mm_table(struct core_ctx *c, uint64_t mfn)
{
	return core_frame_ptr(c, mfn);
}

/* freelist.c: frames of the reservation that are not allocated */
void mm_frame_free(struct core_ctx *c, uint64_t mfn);
bool mm_frame_free_lazily(struct core_ctx *c, uint64_t mfn); /* true: the caller discards */
void mm_frame_leaves(struct core_ctx *c, uint64_t mfn);
uint64_t mm_frame_alloc(struct core_ctx *c, unsigned int order, unsigned int address_bits);
void mm_frame_drop(struct core_ctx *c, uint64_t mfn);
void mm_frame_take(struct core_ctx *c, uint64_t mfn);
void mm_set_m2p(struct core_ctx *c, uint64_t mfn, uint64_t pfn);
void mm_reclaim(struct core_ctx *c);

/* RAM is [ram_first, ram_end). */
static inline uint64_t mm_ram_end(const struct core_ctx *c)
{
	return c->d->ram_first + c->d->max_pages;
}

/* Frames the guest may have now: the library lowers it with the balloon's target. */
static inline uint64_t mm_reservation_limit(const struct core_ctx *c)
{
	uint64_t limit = __atomic_load_n(&c->ctl->mem_limit, __ATOMIC_RELAXED);

	return limit != 0 && limit < c->d->max_pages ? limit : c->d->max_pages;
}

static inline bool mm_is_ram(const struct core_ctx *c, uint64_t mfn)
{
	return mfn - c->d->ram_first < c->d->max_pages;
}

/* Of RAM. */
static inline bool mm_frame_is_free(struct core_ctx *c, uint64_t mfn)
{
	uint64_t word = frame_word(mm_frame(c, mfn));

	return frame_refs(word) == 0 && !(word & (FRAME_LEFT | FRAME_ORPHAN));
}

/* Put references of known kind; frees the frame after its last one. */
static inline void mm_unref(struct core_ctx *c, uint64_t mfn)
{
	if (__builtin_expect(frame_unref(mm_frame(c, mfn)), false))
		mm_frame_free(c, mfn);
}

static inline void mm_unref_writable(struct core_ctx *c, uint64_t mfn)
{
	if (__builtin_expect(frame_unref_writable(mm_frame(c, mfn)), false))
		mm_frame_free(c, mfn);
}

/*
 * table.c: references to frames as page tables or descriptor pages.
 *
 * mm_type_get: takes a general and a type reference. 0, -XEN_EINVAL, what validation found, or
 * -MM_RESTART (nothing taken; call again with the same arguments). After an error v->mm_old_table
 * may be set: an undo that was preempted.
 * mm_type_put: the reverse. If it is preempted it leaves the rest in v->mm_old_table.
 * mm_old_table_finish: continue that: 0 or -MM_RESTART.
 */
int mm_type_get(struct core_ctx *c, uint64_t mfn, enum frame_type type, enum mm_preempt preempt);
void mm_type_put(struct core_ctx *c, uint64_t mfn, enum mm_preempt preempt);
int mm_old_table_finish(struct core_ctx *c);
/* One level down or sideways from an entry of a table of `level` >= 2. */
int mm_entry_get(struct core_ctx *c, uint64_t table, unsigned int level, uint64_t pte,
		 enum mm_preempt preempt);
void mm_entry_put(struct core_ctx *c, uint64_t table, unsigned int level, uint64_t pte,
		  enum mm_preempt preempt);

/* roots.c: the hypervisor's slots of an L4; the M2P's among them, as the root is used */
void mm_fill_xen_slots(struct core_ctx *c, uint64_t *l4);
void mm_show_m2p(struct core_ctx *c, uint64_t l4_mfn, bool kernel);

/* update.c: set one entry of a validated table, with all checks. */
struct mm_update {
	uint64_t table; /* mfn */
	unsigned int slot;
	uint64_t pte;
	bool preserve_ad; /* keep accessed and dirty of the old entry */
	bool io_only;	  /* foreign domain DOMID_IO: no RAM may be mapped */
	bool compare;	  /* L1 only: -XEN_EAGAIN unless the entry still is `expected` */
	uint64_t expected;
};
int mm_update_entry(struct core_ctx *c, unsigned int level, const struct mm_update *u);
/* The L1 table (of the current root) and slot that map va; false if there is none. */
bool mm_find_l1(struct core_ctx *c, uint64_t va, uint64_t *ret_table, unsigned int *ret_slot);

/* walk.c: as core_walk(), and the entries used, level 4 first (ret_path[0] NULL: the M2P). */
bool mm_walk(struct core_ctx *c, uint64_t root_mfn, uint64_t va, uint64_t *ret_mfn,
	     uint64_t *ret_flags, uint64_t **ret_path);

/* ldt.c: drop the references that selectors loaded from LDTs took. */
void mm_ldt_forget(struct core_ctx *c, struct core_vcpu *v);

/* segdesc.c */
bool mm_segdesc_validate(struct core_ctx *c, uint64_t mfn);

/* Guest memory for hypercall arguments: refuses the hypervisor's addresses. No lock needed. */
static inline bool mm_get(struct core_ctx *c, void *dst, uint64_t va, size_t len)
{
	return core_addr_ok(va) && core_guest_read(c, dst, va, len) == 0;
}

static inline bool mm_put(struct core_ctx *c, uint64_t va, const void *src, size_t len)
{
	return core_addr_ok(va) && core_guest_write(c, va, src, len) == 0;
}

/* vcpumask.c: a guest's bitmap of vCPUs. False: not readable. */
bool mm_vcpu_mask(struct core_ctx *c, uint64_t va, uint64_t *ret_mask);

/* Domain numbers in hypercalls: this domain, domain 0 (which exists and is not ours), no one. */
enum mm_dom { MM_DOM_SELF, MM_DOM_OTHER, MM_DOM_NONE };
static inline enum mm_dom mm_domain_by_any_id(const struct core_ctx *c, domid_t id)
{
	if (id == DOMID_SELF || id == c->d->domid)
		return MM_DOM_SELF;
	return id == 0 ? MM_DOM_OTHER : MM_DOM_NONE;
}
/* 0 if that is the caller, else what a call says that is only for oneself here. */
static inline int mm_only_self(const struct core_ctx *c, domid_t id)
{
	enum mm_dom who = mm_domain_by_any_id(c, id);

	return who == MM_DOM_SELF ? 0 : who == MM_DOM_OTHER ? -XEN_EPERM : -XEN_ESRCH;
}

#endif
