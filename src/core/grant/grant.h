/* SPDX-License-Identifier: MIT */
/*
 * Grant tables, version 1. The guest grants pages to domain 0, that is to the library, which reads
 * the table by itself (domain/guest.c); here are the guest's own operations, among them mapping and
 * copying what it granted to itself.
 *
 * The guest's grants to itself that are mapped are the entries of d->maptrack in use; how often a
 * reference is mapped for reading and writing is counted by looking through them.
 */
#ifndef PVV_CORE_GRANT_H
#define PVV_CORE_GRANT_H

#include "core/core.h"

#include <xen/grant_table.h>

#define GRANTS_PER_FRAME (4096u / sizeof(struct grant_entry_v1))

void core_grant_init(struct core_ctx *c);

/* ---- within the room; with d->grant_lock held ------------------------------------------- */

static inline uint32_t grant_entries(const struct core_ctx *c)
{
	return c->d->grant_frames * (uint32_t)GRANTS_PER_FRAME;
}

static inline struct grant_entry_v1 *grant_entry(const struct core_ctx *c, uint32_t ref)
{
	return (struct grant_entry_v1 *)core_frame_ptr(c, c->d->grant_first) + ref;
}

/*
 * Use the grant `ref`, given by this domain to itself: sets GTF_reading (and GTF_writing) in the
 * entry and returns its frame with the references of a reader or a writer. `whole`: to map it, for
 * which it must be a grant of a whole page. GNTST_*.
 */
int grant_acquire(struct core_ctx *c, uint32_t ref, bool readonly, bool whole, uint64_t *ret_mfn);
/* Give them back; the flags are cleared when no mapping needs them any more. */
void grant_release(struct core_ctx *c, uint32_t ref, bool readonly, uint64_t mfn);
/* Is the reference mapped by this domain? */
bool grant_mapped(const struct core_ctx *c, uint32_t ref, bool for_writing);

/* Frame references of a reader or a writer. GNTST_okay or an error. */
int grant_frame_get(struct core_ctx *c, uint64_t mfn, bool readonly);
void grant_frame_put(struct core_ctx *c, uint64_t mfn, bool readonly);

/* A domain number that a grant operation names: this one, domain 0, or nobody. GNTST_*. */
int grant_domain(const struct core_ctx *c, domid_t id, bool self_allowed);

/* Domain 0 exists and has a table, as any domain, but has granted nothing. */
static inline int grant_of_dom0(uint32_t ref)
{
	return ref < GRANTS_PER_FRAME ? GNTST_general_error : GNTST_bad_gntref;
}

/* ---- one operation each, for grant_op.c; GNTST_* in the structure ------------------------ */

void grant_map(struct core_ctx *c, struct gnttab_map_grant_ref *op);
void grant_unmap(struct core_ctx *c, struct gnttab_unmap_grant_ref *op);
void grant_unmap_and_replace(struct core_ctx *c, struct gnttab_unmap_and_replace *op);
void grant_copy(struct core_ctx *c, struct gnttab_copy *op);
void grant_transfer(struct core_ctx *c, struct gnttab_transfer *op);
void grant_swap(struct core_ctx *c, struct gnttab_swap_grant_ref *op);

#endif
