/* SPDX-License-Identifier: MIT */
/* ABI: mmu_update */
#include "core/hypercall/hypercall.h"
#include "core/mm/internal.h"
#include "core/mm/ops.h"

/* The frame of page-table domain that entries may map, of foreigndom's lower half. */
enum owner { OWNER_SELF, OWNER_IO, OWNER_REFUSED };

struct call {
	enum owner owner;    /* of the frames that are mapped */
	bool foreign_tables; /* the upper half named another domain */
};

/* 0 or -XEN_ESRCH. */
static int find_owner(struct core_ctx *c, uint32_t id, struct call *call)
{
	switch (id) {
	case DOMID_SELF:
		call->owner = OWNER_SELF;
		return 0;
	case DOMID_IO:
		call->owner = OWNER_IO;
		return 0;
	case DOMID_XEN:
		call->owner = OWNER_REFUSED;
		return 0;
	default:
		/* The domain's own number is not accepted here; domain 0 exists, but not for us. */
		if (id == c->d->domid || mm_domain_by_any_id(c, (domid_t)id) == MM_DOM_NONE)
			return -XEN_ESRCH;
		call->owner = OWNER_REFUSED;
		return 0;
	}
}

/* A frame that is no page table: the update is a plain store, if the guest could do it itself. */
static int write_plain(struct core_ctx *c, uint64_t mfn, unsigned int slot, uint64_t val)
{
	if (!frame_ref_writable(mm_frame(c, mfn)))
		return -XEN_EINVAL;
	pte_write(mm_table(c, mfn) + slot, val);
	core_frame_dirtied(c, mfn);
	mm_unref_writable(c, mfn);
	return 0;
}

static int update_pt(struct core_ctx *c, const struct call *call, uint64_t ptr, uint64_t val,
		     bool preserve_ad)
{
	struct mm_update u = {
		.table = ptr >> 12,
		.slot = (unsigned int)(ptr & 0xfff) / sizeof(uint64_t),
		.pte = val,
		.preserve_ad = preserve_ad,
		.io_only = call->owner == OWNER_IO,
	};
	uint64_t word;
	enum frame_type type;

	if (u.table >= c->d->nr_frames)
		return -XEN_EINVAL;
	word = frame_word(mm_frame(c, u.table));
	if (frame_refs(word) == 0)
		return -XEN_EINVAL;
	type = frame_type(word);
	/* Not in use under its type, or not validated: counts as data, if it may be data. */
	if (!frame_is(word, type) || type == FRAME_WRITABLE)
		return write_plain(c, u.table, u.slot, val);
	if (type < FRAME_L1 || type > FRAME_L4)
		return -XEN_EINVAL;
	if (type > FRAME_L1 && call->owner != OWNER_SELF)
		return -XEN_EINVAL;
	return mm_update_entry(c, (unsigned int)type, &u);
}

static int update_m2p(struct core_ctx *c, const struct call *call, uint64_t ptr, uint64_t pfn)
{
	uint64_t mfn = ptr >> 12;

	if (call->foreign_tables || call->owner == OWNER_REFUSED)
		return -XEN_EPERM;
	if (call->owner == OWNER_IO || mfn >= c->d->nr_frames ||
	    frame_refs(frame_word(mm_frame(c, mfn))) == 0)
		return -XEN_EINVAL;
	mm_set_m2p(c, mfn, pfn);
	return 0;
}

static int do_one(struct core_ctx *c, const struct call *call, const struct mmu_update *req)
{
	unsigned int cmd = req->ptr & (sizeof(uint64_t) - 1);

	switch (cmd) {
	case MMU_NORMAL_PT_UPDATE:	 /* ABI: served */
	case MMU_PT_UPDATE_PRESERVE_AD:	 /* ABI: served */
	case MMU_PT_UPDATE_NO_TRANSLATE: /* ABI: served */
		if (call->foreign_tables || call->owner == OWNER_REFUSED)
			return -XEN_EPERM;
		return update_pt(c, call, req->ptr, req->val, cmd == MMU_PT_UPDATE_PRESERVE_AD);
	case MMU_MACHPHYS_UPDATE: /* ABI: served */
		return update_m2p(c, call, req->ptr, req->val);
	default:
		return -XEN_ENOSYS;
	}
}

/*
 * Requests are read a few at a time: a translation and a copy for each would cost more than the
 * update. 0 = not readable.
 */
#define CHUNK 32u

static unsigned int read_requests(struct core_ctx *c, struct mmu_update *reqs, uint64_t va,
				  uint32_t left)
{
	unsigned int n = left < CHUNK ? left : CHUNK;

	if (core_guest_read(c, reqs, va, n * sizeof(*reqs)) == 0)
		return n;
	/* Those in front of a bad page count. */
	return core_guest_read(c, reqs, va, sizeof(*reqs)) == 0 ? 1 : 0;
}

/* Requests [0, *ret_done) were done. With mm_lock held. */
static int do_requests(struct core_ctx *c, const struct call *call, uint64_t va, uint32_t count,
		       uint32_t *ret_done)
{
	struct mmu_update reqs[CHUNK];
	unsigned int have = 0, next = 0;

	for (*ret_done = 0; *ret_done < count; (*ret_done)++, next++) {
		int rc;

		if (c->v->mm_old_table != 0 || (*ret_done > 0 && core_preempt_pending(c)))
			return -MM_RESTART;
		if (next == have) {
			next = 0;
			have = read_requests(c, reqs, va + *ret_done * sizeof(*reqs),
					     count - *ret_done);
			if (have == 0)
				return -XEN_EFAULT;
		}
		rc = do_one(c, call, &reqs[next]);
		if (rc != 0)
			return rc;
	}
	return 0;
}

long core_hc_mmu_update(struct core_ctx *c, const uint64_t arg[6])
{
	struct mm_batch b;
	struct call call = {0};
	uint32_t done = 0, tables = (uint32_t)arg[3] >> 16;
	long rc;

	if (!mm_batch_start(c, &b, __HYPERVISOR_mmu_update, arg, &rc))
		return rc;
	if (tables != 0 && tables - 1 != c->d->domid) {
		if (mm_domain_by_any_id(c, (domid_t)(tables - 1)) != MM_DOM_OTHER)
			return -XEN_ESRCH;
		call.foreign_tables = true;
	}
	rc = find_owner(c, (uint16_t)arg[3], &call);
	if (rc == 0) {
		mm_lock(c);
		rc = do_requests(c, &call, b.va, b.count, &done);
		mm_unlock(c);
		if (c->mm_flush_due) {
			c->mm_flush_due = false;
			core_mm_flush_all(c, core_vcpu_mask_all(c));
		}
	}
	return mm_batch_end(c, &b, rc, done, sizeof(struct mmu_update));
}
