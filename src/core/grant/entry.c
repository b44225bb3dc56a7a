/* SPDX-License-Identifier: MIT */
/* Entries of the shared table, which the guest may change at any time. */
#include "core/grant/grant.h"

#include "core/lib/mem.h"
#include "core/mm/mm.h"

void core_grant_init(struct core_ctx *c)
{
	const struct core_boot *b = &c->ctl->boot;
	struct core_domain *d = c->d;

	d->grant_first = b->grant_first;
	d->grant_max = b->grant_max < CORE_MAX_GRANT_FRAMES ? b->grant_max : CORE_MAX_GRANT_FRAMES;
	if (d->grant_first >= d->nr_frames || d->grant_max > d->nr_frames - d->grant_first)
		d->grant_max = 0;
	d->grant_frames = d->grant_max != 0 ? 1 : 0;
	d->grant_version = 1;
	d->maptrack_max = b->maptrack_max < 1024 ? b->maptrack_max : 1024;
}

int grant_domain(const struct core_ctx *c, domid_t id, bool self_allowed)
{
	if (id == c->d->domid || (self_allowed && id == DOMID_SELF))
		return GNTST_okay;
	return id == 0 ? GNTST_permission_denied : GNTST_bad_domain;
}

int grant_frame_get(struct core_ctx *c, uint64_t mfn, bool readonly)
{
	bool writable;

	/* Not the guest's at all, or given back. */
	if (mfn >= c->d->nr_frames || !core_frame_get(c, mfn))
		return GNTST_bad_page;
	if (readonly)
		return GNTST_okay;
	writable = core_frame_get_type(c, mfn, FRAME_WRITABLE);
	core_frame_put(c, mfn);
	return writable ? GNTST_okay : GNTST_general_error;
}

void grant_frame_put(struct core_ctx *c, uint64_t mfn, bool readonly)
{
	if (readonly)
		core_frame_put(c, mfn);
	else
		core_frame_put_type(c, mfn);
}

static const struct core_maptrack *find_mapping(const struct core_ctx *c, uint32_t ref,
						bool for_writing)
{
	for (uint32_t i = 0; i < c->d->maptrack_max; i++) {
		const struct core_maptrack *m = &c->d->maptrack[i];

		if (m->flags != 0 && m->ref == ref &&
		    (!for_writing || !(m->flags & GNTMAP_readonly)))
			return m;
	}
	return NULL;
}

bool grant_mapped(const struct core_ctx *c, uint32_t ref, bool for_writing)
{
	return find_mapping(c, ref, for_writing) != NULL;
}

/*
 * Flags and domain in one word, changed by compare-and-swap: the guest may end the grant at the
 * same time, and may only do so while nobody uses it. Bounded, for the guest could change it
 * forever.
 */
#define TRIES 16

static int pin(struct core_ctx *c, uint32_t ref, bool readonly, bool whole)
{
	/* Part of a page can be copied, not mapped. */
	const uint32_t mask = GTF_type_mask | (whole ? GTF_sub_page : 0);
	uint32_t *word = (uint32_t *)grant_entry(c, ref);
	uint32_t old = __atomic_load_n(word, __ATOMIC_ACQUIRE);

	for (unsigned int n = 0; n < TRIES; n++) {
		uint32_t flags = old & 0xffff, domid = old >> 16;
		uint32_t new = old | GTF_reading | (readonly ? 0 : GTF_writing);

		if ((flags & mask) != GTF_permit_access || domid != c->d->domid ||
		    (!readonly && (flags & GTF_readonly)))
			return GNTST_general_error;
		if (__atomic_compare_exchange_n(word, &old, new, false, __ATOMIC_SEQ_CST,
						__ATOMIC_ACQUIRE))
			return GNTST_okay;
	}
	return GNTST_general_error;
}

static void unpin(struct core_ctx *c, uint32_t ref)
{
	uint32_t clear = 0;

	if (!grant_mapped(c, ref, true))
		clear |= GTF_writing;
	if (!grant_mapped(c, ref, false))
		clear |= GTF_reading;
	__atomic_fetch_and((uint32_t *)grant_entry(c, ref), ~clear, __ATOMIC_SEQ_CST);
}

int grant_acquire(struct core_ctx *c, uint32_t ref, bool readonly, bool whole, uint64_t *ret_mfn)
{
	if (ref >= grant_entries(c))
		return GNTST_bad_gntref;

	/*
	 * While it is mapped, what the mapping was made of counts, whatever the guest writes into
	 * the entry meanwhile; but for more rights it is asked for them.
	 */
	const struct core_maptrack *mapped = find_mapping(c, ref, false);
	int status = GNTST_okay;

	if (mapped == NULL || (!readonly && find_mapping(c, ref, true) == NULL))
		status = pin(c, ref, readonly, whole);
	if (status != GNTST_okay)
		return status;
	/* Read once. */
	*ret_mfn = mapped != NULL ? mapped->mfn
				  : __atomic_load_n(&grant_entry(c, ref)->frame, __ATOMIC_ACQUIRE);
	status = grant_frame_get(c, *ret_mfn, readonly);
	if (status != GNTST_okay)
		unpin(c, ref);
	return status;
}

void grant_release(struct core_ctx *c, uint32_t ref, bool readonly, uint64_t mfn)
{
	grant_frame_put(c, mfn, readonly);
	unpin(c, ref);
}

void grant_swap(struct core_ctx *c, struct gnttab_swap_grant_ref *op)
{
	struct grant_entry_v1 *a, *b, copy;

	op->status = GNTST_bad_gntref;
	if (op->ref_a >= grant_entries(c) || op->ref_b >= grant_entries(c))
		return;
	op->status = GNTST_okay;
	if (op->ref_a == op->ref_b)
		return;
	a = grant_entry(c, op->ref_a);
	b = grant_entry(c, op->ref_b);
	/* In use, by this domain or by the library: their owner would lose track. */
	if ((__atomic_load_n(&a->flags, __ATOMIC_ACQUIRE) & (GTF_reading | GTF_writing)) ||
	    (__atomic_load_n(&b->flags, __ATOMIC_ACQUIRE) & (GTF_reading | GTF_writing))) {
		op->status = GNTST_eagain;
		return;
	}
	memcpy(&copy, a, sizeof(copy));
	memcpy(a, b, sizeof(copy));
	memcpy(b, &copy, sizeof(copy));
}
