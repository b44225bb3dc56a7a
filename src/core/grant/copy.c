/* SPDX-License-Identifier: MIT */
/* GNTTABOP_copy and GNTTABOP_transfer. */
#include "core/grant/grant.h"

#include "core/lib/mem.h"
#include "core/mm/mm.h"

struct side {
	bool gref, readonly, held;
	uint32_t ref;
	uint64_t mfn;
};

static int take(struct core_ctx *c, struct side *s, const struct gnttab_copy_ptr *ptr)
{
	int status;

	/* Frames by number only of the caller's own; everything else takes a grant. */
	if (ptr->domid != DOMID_SELF && !s->gref)
		return GNTST_permission_denied;
	if (grant_domain(c, ptr->domid, true) == GNTST_permission_denied)
		return grant_of_dom0(ptr->u.ref);
	if (s->gref) {
		s->ref = ptr->u.ref;
		status = grant_acquire(c, s->ref, s->readonly, false, &s->mfn);
	} else {
		s->mfn = ptr->u.gmfn;
		status = grant_frame_get(c, s->mfn, s->readonly);
	}
	s->held = status == GNTST_okay;
	return status;
}

static bool in_page(const struct gnttab_copy_ptr *ptr, uint16_t len)
{
	return (uint32_t)ptr->offset + len <= 4096;
}

static void give_back(struct core_ctx *c, const struct side *s)
{
	if (!s->held)
		return;
	if (s->gref)
		grant_release(c, s->ref, s->readonly, s->mfn);
	else
		grant_frame_put(c, s->mfn, s->readonly);
}

void grant_copy(struct core_ctx *c, struct gnttab_copy *op)
{
	struct side src = {.gref = (op->flags & GNTCOPY_source_gref) != 0, .readonly = true};
	struct side dst = {.gref = (op->flags & GNTCOPY_dest_gref) != 0, .readonly = false};
	int status = GNTST_okay;

	/* The order is Xen's: both domains, then each page, and only then the place in them. */
	if (grant_domain(c, op->source.domid, true) == GNTST_bad_domain ||
	    grant_domain(c, op->dest.domid, true) == GNTST_bad_domain)
		status = GNTST_bad_domain;
	if (status == GNTST_okay)
		status = take(c, &src, &op->source);
	if (status == GNTST_okay)
		status = take(c, &dst, &op->dest);
	if (status == GNTST_okay && !(in_page(&op->source, op->len) && in_page(&op->dest, op->len)))
		status = GNTST_bad_copy_arg;
	if (status == GNTST_okay) {
		memmove((uint8_t *)core_frame_ptr(c, dst.mfn) + op->dest.offset,
			(uint8_t *)core_frame_ptr(c, src.mfn) + op->source.offset, op->len);
		core_frame_dirtied(c, dst.mfn);
	}
	give_back(c, &dst);
	give_back(c, &src);
	op->status = (int16_t)status;
}

/*
 * There is no domain that could accept a page. Xen takes the page away even when the transfer
 * fails, unless the error is GNTST_bad_page: so that is the answer, and the guest keeps it.
 */
void grant_transfer(struct core_ctx *c, struct gnttab_transfer *op)
{
	op->status = GNTST_bad_page;
}
