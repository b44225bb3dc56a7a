/* SPDX-License-Identifier: MIT */
/*
 * The core's own accesses to guest virtual memory: hypercall arguments, bounce frames, operands of
 * emulated instructions.
 */
#include "core/lib/mem.h"
#include "core/mm/internal.h"

/* Low bits of a cached translation's key; page addresses have room for them. */
#define CACHE_VALID 1ull
#define CACHE_WRITE 2ull

static uint64_t current_root(const struct core_ctx *c)
{
	return c->v->kernel_mode ? c->v->kernel_root : c->v->user_root;
}

/*
 * Translations may be as stale as a TLB's: until the guest flushes or loads a root. A few roots
 * have theirs each, because kernels go back and forth between them, and to look a page up again
 * costs as much as the rest of a short hypercall. When a root is loaded again they are good if not
 * one entry of any page table has lost anything since the first of them was looked up.
 */
static struct core_walk_cache *change_cache(struct core_ctx *c, uint64_t root, uint64_t gen)
{
	uint64_t tables = __atomic_load_n(&c->d->tables_gen, __ATOMIC_SEQ_CST);
	struct core_walk_cache *w;
	unsigned int i = 0;

	while (i < CORE_WALK_ROOTS && c->walk[i].root != root)
		i++;
	if (i == CORE_WALK_ROOTS)
		i = c->walk_victim++ % CORE_WALK_ROOTS;
	c->walk_now = i;
	w = &c->walk[i];
	if (w->root != root || w->gen != gen ||
	    (w->loads != c->v->root_loads && w->tables != tables)) {
		memset(w->va, 0, sizeof(w->va));
		w->root = root;
		w->gen = gen;
		w->tables = tables;
	}
	w->loads = c->v->root_loads;
	return w;
}

static struct core_walk_cache *cache_of(struct core_ctx *c, uint64_t root)
{
	struct core_walk_cache *w = &c->walk[c->walk_now];
	uint64_t gen = __atomic_load_n(&c->v->walk_gen, __ATOMIC_ACQUIRE);

	if (w->root == root && w->gen == gen && w->loads == c->v->root_loads)
		return w;
	return change_cache(c, root, gen);
}

static bool lookup(struct core_ctx *c, struct core_walk_cache *w, uint64_t va, bool write,
		   uint64_t *ret_mfn)
{
	uint64_t page = va & ~0xfffull, key = page | CACHE_VALID | (write ? CACHE_WRITE : 0);
	unsigned int i = (unsigned int)(va >> 12) & 15;
	uint64_t flags;

	if ((w->va[i] & ~(write ? 0 : CACHE_WRITE)) == key) {
		*ret_mfn = w->mfn_flags[i];
		return true;
	}
	if (!core_walk_access(c, w->root, va, write ? PF_WRITE : 0, ret_mfn, &flags))
		return false;
	/* (the M2P is nobody's page table's, and not in all roots) */
	if (core_addr_ok(va)) {
		w->va[i] = key;
		w->mfn_flags[i] = *ret_mfn;
	}
	return true;
}

static size_t page_rest(uint64_t va, size_t len)
{
	size_t rest = 4096 - (va & 0xfff);

	return len < rest ? len : rest;
}

size_t core_guest_read(struct core_ctx *c, void *dst, uint64_t va, size_t len)
{
	struct core_walk_cache *w = cache_of(c, current_root(c));
	uint8_t *to = dst;
	uint64_t mfn;

	while (len > 0) {
		size_t n = page_rest(va, len);

		if (!lookup(c, w, va, false, &mfn))
			break;
		memcpy(to, (uint8_t *)core_frame_ptr(c, mfn) + (va & 0xfff), n);
		to += n;
		va += n;
		len -= n;
	}
	return len;
}

/*
 * A mapping that was writable when it was looked up may lead to what is a page table by now: the
 * hold keeps it from becoming one while it is written. If it is refused, the translation was stale
 * or the guest is racing with itself. With one vCPU nothing else makes a frame a page table.
 */
static bool hold(struct core_ctx *c, uint64_t mfn)
{
	if (c->d->nr_vcpus == 1)
		return mfn < c->d->nr_frames && frame_writable(frame_word(&c->frames[mfn]));
	return frame_get_writable(c->frames, c->d->nr_frames, mfn);
}

static bool write_page(struct core_ctx *c, struct core_walk_cache *w, uint64_t va, const void *src,
		       size_t n)
{
	uint64_t mfn;

	if (!lookup(c, w, va, true, &mfn))
		return false;
	if (!hold(c, mfn)) {
		w->va[(va >> 12) & 15] = 0;
		if (!lookup(c, w, va, true, &mfn) || !hold(c, mfn))
			return false;
	}
	memcpy((uint8_t *)core_frame_ptr(c, mfn) + (va & 0xfff), src, n);
	/*
	 * Behind a locked instruction: either we see that another vCPU marks the frame as code, or
	 * it reads what we wrote.
	 */
	if (c->d->nr_vcpus > 1)
		frame_put_writable(c->frames, c->d->nr_frames, mfn);
	core_frame_dirtied(c, mfn);
	return true;
}

size_t core_guest_write(struct core_ctx *c, uint64_t va, const void *src, size_t len)
{
	struct core_walk_cache *w = cache_of(c, current_root(c));
	const uint8_t *from = src;

	while (len > 0) {
		size_t n = page_rest(va, len);

		if (!write_page(c, w, va, from, n))
			break;
		from += n;
		va += n;
		len -= n;
	}
	return len;
}
