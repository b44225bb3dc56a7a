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

	status = grant_domain(c, ptr->domid, true);
	/* Frames by number only of the caller's own; everything else takes a grant. */
	if (status != GNTST_bad_domain && ptr->domid != DOMID_SELF && !s->gref)
		return GNTST_permission_denied;
	if (status == GNTST_permission_denied)
		return grant_of_dom0(ptr->u.ref);
	if (status != GNTST_okay)
		return status;
	if (s->gref) {
		s->ref = ptr->u.ref;
		status = grant_acquire(c, s->ref, s->readonly, &s->mfn);
	} else {
		s->mfn = ptr->u.gmfn;
		status = grant_frame_get(c, s->mfn, s->readonly);
	}
	s->held = status == GNTST_okay;
	return status;
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
	int status;

	if ((uint32_t)op->source.offset + op->len > 4096 ||
	    (uint32_t)op->dest.offset + op->len > 4096) {
		op->status = GNTST_bad_copy_arg;
		return;
	}
	status = take(c, &src, &op->source);
	if (status == GNTST_okay)
		status = take(c, &dst, &op->dest);
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
