/* SPDX-License-Identifier: MIT */
/*
 * XENMEM_exchange: give frames back and get as many others, differently arranged (contiguous, or
 * contiguous ones broken up). Works chunk by chunk, each of which succeeds or changes nothing. A
 * chunk is 1 << max(order in, order out) frames.
 */
#include "core/hypercall/hypercall.h"
#include "core/mm/reservation.h"

/*
 * The frames of a chunk's output come from the free list. Where it has none (a full domain), the
 * input goes there first and the output may be made of it; if that fails, too, the input is taken
 * out of the list again, with its content.
 */
struct plan {
	struct xen_memory_exchange x;
	uint64_t in_list, out_list;
	unsigned int in_chunk, out_chunk; /* log2 of the extents of a chunk */
	uint32_t in[1u << MM_MAX_ORDER];  /* the current chunk's frames */
	uint32_t out[1u << MM_MAX_ORDER]; /* ... and the bases of its output extents */
};

static uint64_t in_frames(const struct plan *p)
{
	return 1ull << (p->in_chunk + p->x.in.extent_order);
}

/*
 * Take a frame that nobody uses: no mapping, no type, no pin, only the reservation's reference, and
 * not held from outside.
 */
static bool steal(struct core_ctx *c, uint64_t mfn)
{
	struct core_frame *f;
	uint64_t word;

	if (!mm_is_ram(c, mfn))
		return false;
	f = mm_frame(c, mfn);
	word = frame_word(f);
	if (!(word & FRAME_ALLOCATED) || frame_refs(word) != 1)
		return false;
	/* Without references, but not free: it is on no list yet. */
	frame_set_word(f, FRAME_ORPHAN);
	if (frame_held(f, FRAME_HOLDS)) {
		frame_set_word(f, word);
		return false;
	}
	if (frame_type(word) == FRAME_WRITABLE)
		c->ops->frame_protect(c, mfn);
	return true;
}

static void give_again(struct core_ctx *c, uint64_t mfn)
{
	frame_set_word(mm_frame(c, mfn), FRAME_ALLOCATED | FRAME_REF);
}

static int steal_chunk(struct core_ctx *c, struct plan *p, uint64_t chunk)
{
	uint64_t mask = (1ull << p->x.in.extent_order) - 1, nr = in_frames(p), base = 0;

	for (uint64_t k = 0; k < nr; k++) {
		uint64_t extent = (chunk << p->in_chunk) + (k >> p->x.in.extent_order);
		int rc = 0;

		if ((k & mask) == 0 && core_guest_read(c, &base, p->in_list + extent * sizeof(base),
						       sizeof(base)) != 0)
			rc = -XEN_EFAULT;
		else if (!steal(c, base + (k & mask)))
			rc = -XEN_EINVAL;
		if (rc != 0) {
			while (k > 0)
				give_again(c, p->in[--k]);
			return rc;
		}
		p->in[k] = (uint32_t)(base + (k & mask));
	}
	return 0;
}

static int alloc_chunk(struct core_ctx *c, struct plan *p)
{
	for (uint64_t i = 0; i < 1ull << p->out_chunk; i++) {
		uint64_t mfn = mm_frame_alloc(c, p->x.out.extent_order,
					      XENMEMF_get_address_bits(p->x.out.mem_flags));

		if (mfn == CORE_INVALID_MFN) {
			while (i-- > 0) {
				for (uint64_t k = 0; k < 1ull << p->x.out.extent_order; k++)
					mm_frame_drop(c, p->out[i] + k);
			}
			return -XEN_ENOMEM;
		}
		p->out[i] = (uint32_t)mfn;
	}
	return 0;
}

/* Point of no return: the input's content goes, the output gets its place in the M2P. */
static int commit_chunk(struct core_ctx *c, struct plan *p, uint64_t chunk)
{
	int rc = 0;

	for (uint64_t k = 0; k < in_frames(p); k++) {
		mm_set_m2p(c, p->in[k], ~0ull);
		core_frame_dirtied(c, p->in[k]);
		c->ops->frames_discard(c, p->in[k], 1);
	}
	for (uint64_t i = 0; i < 1ull << p->out_chunk; i++) {
		uint64_t va = p->out_list + ((chunk << p->out_chunk) + i) * sizeof(uint64_t);
		uint64_t pfn, mfn = p->out[i];

		if (core_guest_read(c, &pfn, va, sizeof(pfn)) != 0) {
			rc = -XEN_EFAULT;
			continue;
		}
		for (uint64_t k = 0; k < 1ull << p->x.out.extent_order; k++)
			mm_set_m2p(c, mfn + k, pfn + k);
		if (core_guest_write(c, va, &mfn, sizeof(mfn)) != 0)
			rc = -XEN_EFAULT;
	}
	return rc;
}

static int do_chunk(struct core_ctx *c, struct plan *p, uint64_t chunk)
{
	int rc = steal_chunk(c, p, chunk);
	bool reuse;

	if (rc != 0)
		return rc;
	reuse = alloc_chunk(c, p) != 0;
	for (uint64_t k = 0; k < in_frames(p); k++)
		mm_frame_drop(c, p->in[k]);
	if (reuse && alloc_chunk(c, p) != 0) {
		for (uint64_t k = in_frames(p); k > 0; k--)
			mm_frame_take(c, p->in[k - 1]);
		return -XEN_ENOMEM;
	}
	return commit_chunk(c, p, chunk);
}

/* Something to do? The order of the checks is Xen's. */
static int check(struct core_ctx *c, struct plan *p, bool *ret_done)
{
	struct xen_memory_exchange *x = &p->x;

	if (x->in.extent_order > MM_MAX_ORDER || x->out.extent_order > MM_MAX_ORDER)
		return -XEN_EPERM;
	if (x->nr_exchanged > x->in.nr_extents || x->in.domid != x->out.domid ||
	    (~0ull >> x->in.extent_order) < x->in.nr_extents ||
	    (~0ull >> x->out.extent_order) < x->out.nr_extents ||
	    x->in.nr_extents << x->in.extent_order != x->out.nr_extents << x->out.extent_order)
		return -XEN_EINVAL;
	*ret_done = x->nr_exchanged == x->in.nr_extents;
	if (*ret_done)
		return 0;
	p->in_list = (uint64_t)(uintptr_t)x->in.extent_start.p;
	p->out_list = (uint64_t)(uintptr_t)x->out.extent_start.p;
	if (!core_addr_ok(p->in_list) || !core_addr_ok(p->out_list))
		return -XEN_EFAULT;
	if (x->in.extent_order <= x->out.extent_order)
		p->in_chunk = x->out.extent_order - x->in.extent_order;
	else
		p->out_chunk = x->in.extent_order - x->out.extent_order;
	if (!mm_node_ok(x->out.mem_flags))
		return -XEN_EINVAL;
	return mm_only_self(c, x->in.domid);
}

long mm_exchange(struct core_ctx *c, uint64_t va, const uint64_t arg[6])
{
	struct plan p = {0};
	uint64_t first, chunk;
	bool preempted = false, done = false;
	int rc;

	if (!mm_get(c, &p.x, va, sizeof(p.x)))
		return -XEN_EFAULT;
	rc = check(c, &p, &done);
	if (done)
		return 0;
	if (rc != 0)
		return core_put_field(c, va, &p.x, nr_exchanged) ? rc : -XEN_EFAULT;

	mm_lock(c);
	first = p.x.nr_exchanged >> p.in_chunk;
	for (chunk = first; chunk < p.x.in.nr_extents >> p.in_chunk; chunk++) {
		if (chunk != first && core_preempt_pending(c)) {
			preempted = true;
			break;
		}
		rc = do_chunk(c, &p, chunk);
		if (rc != 0)
			break;
	}
	mm_unlock(c);

	p.x.nr_exchanged = chunk << p.in_chunk;
	if (!core_put_field(c, va, &p.x, nr_exchanged))
		return -XEN_EFAULT;
	if (preempted)
		return core_hypercall_continue(c, __HYPERVISOR_memory_op, arg);
	return rc;
}
