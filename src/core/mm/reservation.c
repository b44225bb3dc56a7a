/* SPDX-License-Identifier: MIT */
/* XENMEM_increase_reservation, _decrease_reservation and _populate_physmap: the balloon. */
#include "core/hypercall/hypercall.h"
#include "core/mm/reservation.h"

struct extents {
	uint64_t list; /* guest handle */
	uint64_t nr, done;
	unsigned int order, address_bits;
	bool on_demand; /* XENMEMF_populate_on_demand */
	bool preempted;
};

static bool get_pfn(struct core_ctx *c, const struct extents *e, uint64_t i, uint64_t *ret_pfn)
{
	return core_guest_read(c, ret_pfn, e->list + i * sizeof(uint64_t), sizeof(uint64_t)) == 0;
}

static bool put_mfn(struct core_ctx *c, const struct extents *e, uint64_t i, uint64_t mfn)
{
	return core_guest_write(c, e->list + i * sizeof(uint64_t), &mfn, sizeof(mfn)) == 0;
}

static bool increase_one(struct core_ctx *c, struct extents *e, uint64_t i)
{
	uint64_t mfn = mm_frame_alloc(c, e->order, e->address_bits);

	if (mfn == CORE_INVALID_MFN)
		return false;
	/* The frames stay the guest's if it cannot be told, as with Xen. */
	return e->list == 0 || put_mfn(c, e, i, mfn);
}

static bool populate_one(struct core_ctx *c, struct extents *e, uint64_t i)
{
	uint64_t pfn, mfn;

	/* Populate-on-demand is for domain builders, and for guests with a p2m of Xen's. */
	if (!get_pfn(c, e, i, &pfn) || e->on_demand)
		return false;
	mfn = mm_frame_alloc(c, e->order, e->address_bits);
	if (mfn == CORE_INVALID_MFN)
		return false;
	for (uint64_t k = 0; k < 1ull << e->order; k++)
		mm_set_m2p(c, mfn + k, pfn + k);
	return put_mfn(c, e, i, mfn); /* likewise */
}

bool mm_frame_give_back(struct core_ctx *c, uint64_t mfn)
{
	struct core_frame *f;
	uint64_t word;

	/* Beyond max_pages, the hypervisor's: those count, and stay where they are. */
	if (mfn >= c->d->nr_frames)
		return false;
	f = mm_frame(c, mfn);
	word = frame_word(f);
	if (frame_refs(word) == 0)
		return false;
	/* Given back before, but still in use: that is no error. */
	if (!(word & FRAME_ALLOCATED))
		return true;
	frame_set_word(f, word & ~FRAME_ALLOCATED);
	if (frame_unref(f))
		(void)mm_frame_free_lazily(c, mfn);
	else
		mm_frame_leaves(c, mfn);
	return true;
}

/* Frames freed one after the other are discarded in runs: each is a system call or more. */
struct run {
	uint64_t first, nr;
};

static void discard(struct core_ctx *c, struct run *r)
{
	if (r->nr != 0)
		c->ops->frames_discard(c, r->first, r->nr);
	r->nr = 0;
}

static void discard_later(struct core_ctx *c, struct run *r, uint64_t mfn)
{
	if (r->nr != 0 && mfn == r->first + r->nr) {
		r->nr++;
	} else if (r->nr != 0 && mfn + 1 == r->first) {
		r->first--;
		r->nr++;
	} else {
		discard(c, r);
		*r = (struct run){.first = mfn, .nr = 1};
	}
}

static bool decrease_one(struct core_ctx *c, struct extents *e, uint64_t i, struct run *r)
{
	uint64_t mfn;

	if (!get_pfn(c, e, i, &mfn))
		return false;
	for (uint64_t k = 0; k < 1ull << e->order; k++) {
		if (!mm_frame_give_back(c, mfn + k))
			return false;
		if (mm_frame_is_free(c, mfn + k))
			discard_later(c, r, mfn + k);
	}
	return true;
}

static void work(struct core_ctx *c, unsigned int op, struct extents *e)
{
	struct run freed = {0};
	uint64_t start = e->done;
	bool ok = true;

	if (e->order > MM_MAX_ORDER)
		return;
	if ((op != XENMEM_increase_reservation || e->list != 0) && !core_addr_ok(e->list))
		return;
	mm_lock(c);
	while (ok && e->done < e->nr) {
		if (e->done != start && core_preempt_pending(c)) {
			e->preempted = true;
			break;
		}
		if (op == XENMEM_increase_reservation)
			ok = increase_one(c, e, e->done);
		else if (op == XENMEM_populate_physmap)
			ok = populate_one(c, e, e->done);
		else
			ok = decrease_one(c, e, e->done, &freed);
		if (ok)
			e->done++;
	}
	discard(c, &freed);
	mm_unlock(c);
}

/*
 * A width that no frame has, or frames of one NUMA node and no other, which is not a guest's to ask
 * for (unless the node is one of its own: there are none, and so any is meant).
 */
static bool mem_flags_ok(unsigned int flags)
{
	unsigned int bits = XENMEMF_get_address_bits(flags);

	return (bits == 0 || bits > 12) && ((flags & XENMEMF_vnode) || mm_node_ok(flags));
}

/* No error codes: the result is the number of extents done, `start` of them in earlier turns. */
long mm_reservation_op(struct core_ctx *c, unsigned int op, unsigned long start, uint64_t va,
		       const uint64_t arg[6])
{
	struct xen_memory_reservation r;

	if (!mm_get(c, &r, va, sizeof(r)))
		return (long)start;
	/* The count must fit into the command word of a continuation. */
	if (r.nr_extents > (~0u >> 6) || start >= r.nr_extents)
		return (long)start;
	if (mm_domain_by_any_id(c, r.domid) != MM_DOM_SELF)
		return (long)start;
	if (!mem_flags_ok(r.mem_flags))
		return (long)start;

	struct extents e = {
		.list = (uint64_t)(uintptr_t)r.extent_start.p,
		.nr = r.nr_extents,
		.done = start,
		.order = r.extent_order,
		.address_bits = XENMEMF_get_address_bits(r.mem_flags),
		.on_demand = op == XENMEM_populate_physmap &&
			     (r.mem_flags & XENMEMF_populate_on_demand) != 0,
	};

	work(c, op, &e);
	if (e.preempted) {
		uint64_t args[6] = {op | e.done << 6, arg[1], arg[2], arg[3], arg[4], arg[5]};

		return core_hypercall_continue(c, __HYPERVISOR_memory_op, args);
	}
	return (long)e.done;
}
