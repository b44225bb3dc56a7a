/* SPDX-License-Identifier: MIT */
/* The memory of a new domain, from what the library's builder left in ctl->boot. */
#include "core/mm/internal.h"

/* The free list's links and the frame word have room for so many (4 TiB of RAM). */
#define MAX_FRAMES (1ull << 30)

static bool sane(struct core_ctx *c)
{
	const struct core_boot *b = &c->ctl->boot;

	uint64_t ram_end = b->ram_first + b->max_pages;

	if (b->nr_pages == 0 || b->nr_pages > b->max_pages || b->max_pages > b->nr_frames ||
	    b->ram_first > b->nr_frames || ram_end > b->nr_frames ||
	    b->nr_frames >= MAX_FRAMES - 1) {
		core_crash(c, "memory layout: %lu of %lu pages from %lx in %lu frames", b->nr_pages,
			   b->max_pages, b->ram_first, b->nr_frames);
		return false;
	}
	if (b->m2p_first < ram_end || b->m2p_first >= b->nr_frames ||
	    b->m2p_frames > b->nr_frames - b->m2p_first ||
	    b->m2p_frames * PTE_ENTRIES < b->nr_frames) {
		core_crash(c, "memory layout: M2P at frame %lu, %lu frames, for %lu frames",
			   b->m2p_first, b->m2p_frames, b->nr_frames);
		return false;
	}
	if (b->shared_info < ram_end || b->shared_info >= b->nr_frames ||
	    b->grant_first < ram_end || b->grant_first >= b->nr_frames ||
	    b->grant_max > b->nr_frames - b->grant_first) {
		core_crash(c, "memory layout: shared info at frame %lu, %u grant frames at %lu",
			   b->shared_info, b->grant_max, b->grant_first);
		return false;
	}
	return true;
}

static void fill_m2p(struct core_ctx *c)
{
	uint64_t *m2p = core_frame_ptr(c, c->d->m2p_first), first = c->d->ram_first;

	for (uint64_t mfn = 0; mfn < c->d->m2p_frames * PTE_ENTRIES; mfn++)
		m2p[mfn] = mfn - first < c->ctl->boot.nr_pages ? mfn - first : ~0ull;
}

/* Frames of the hypervisor that the guest may map writable, as if it had one mapping always. */
static void share(struct core_ctx *c, uint64_t first, uint64_t nr)
{
	for (uint64_t mfn = first; mfn < first + nr; mfn++)
		mm_frame(c, mfn)->type = FRAME_XEN | FRAME_VALID | FRAME_REF | FRAME_TREF |
					 (uint64_t)FRAME_WRITABLE << FRAME_TYPE_SHIFT;
}

static void init_frames(struct core_ctx *c)
{
	struct core_domain *d = c->d;
	const struct core_boot *b = &c->ctl->boot;

	for (uint64_t mfn = 0; mfn < d->nr_frames; mfn++) {
		struct core_frame *f = mm_frame(c, mfn);

		f->count = 0;
		f->aux = 0;
		/* Those without references are nobody's: no PTE can name them (the M2P, gaps). */
		f->type = mfn - b->ram_first < b->nr_pages ? FRAME_ALLOCATED | FRAME_REF : 0;
	}
	share(c, b->shared_info, 1);
	share(c, b->grant_first, b->grant_max);

	d->free_head = CORE_INVALID_MFN;
	d->free_tail = CORE_INVALID_MFN;
	d->tot_pages = d->max_pages;
	for (uint64_t mfn = b->ram_first + b->nr_pages; mfn < mm_ram_end(c); mfn++)
		mm_frame_drop(c, mfn);
	d->mm_leaving = 0;
	d->e820_nr = 0;
}

bool core_mm_init(struct core_ctx *c)
{
	struct core_domain *d = c->d;
	const struct core_boot *b = &c->ctl->boot;
	int rc;

	if (!sane(c))
		return false;
	for (unsigned int id = 0; id < d->nr_vcpus; id++) {
		d->vcpu[id].kernel_root = CORE_INVALID_MFN;
		d->vcpu[id].user_root = CORE_INVALID_MFN;
		d->vcpu[id].mm_old_table = 0;
		d->vcpu[id].walk_gen = 1;
	}
	init_frames(c);
	fill_m2p(c);
	c->ctl->nr_pages = d->tot_pages;

	/* Twice: the pin a guest expects to find and undo, and vCPU 0's root. */
	rc = mm_type_get(c, b->root, FRAME_L4, MM_NO_PREEMPT);
	if (rc == 0)
		rc = mm_type_get(c, b->root, FRAME_L4, MM_NO_PREEMPT);
	if (rc != 0) {
		core_crash(c, "the initial page tables at frame %lu are not valid (error %d)",
			   b->root, rc);
		return false;
	}
	mm_frame(c, b->root)->type |= FRAME_PINNED;
	d->vcpu[0].kernel_root = b->root;
	mm_show_m2p(c, b->root, true);
	c->ops->root_changed(c);
	return true;
}
