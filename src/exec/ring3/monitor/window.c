/* SPDX-License-Identifier: MIT */
/*
 * The window: host mappings of the domain's memfd at guest virtual address + K_SHIFT, a cache of
 * the guest's validated page tables ("TLB"). Filled when the guest touches a page, emptied as a TLB
 * is: when the guest flushes, switches roots, or when a frame must not be written any more.
 *
 * A fault costs a signal (2-3 us), so one fault maps the whole run of neighbours in the same L1
 * table that are contiguous in machine memory with the same rights; the host's kernel then fills in
 * single pages without a signal. Accessed and dirty bits are what hardware would set, except that a
 * run is made of pages that have them already.
 */
#include "exec/ring3/monitor/smp.h"

#include <sys/mman.h>

#include "core/mm/pte.h"

#define PTE_P		PTE_PRESENT
#define PTE_A		PTE_ACCESSED
#define PTE_D		PTE_DIRTY
#define PTE_FRAME	0x000ffffffffff000ull
/* The host allows 65,530 mappings a process (vm.max_map_count); stay clear of it. */
#define WINDOW_MAPS_MAX 48000u

static uint64_t *pte_of(uint64_t va)
{
	struct core_ctx *c = &k.c;
	uint64_t table = c->v->kernel_mode ? c->v->kernel_root : c->v->user_root;

	for (int level = 4; level >= 1; level--) {
		uint64_t *e = core_frame_ptr(c, table);
		e += (va >> (12 + 9 * (level - 1))) & 511;
		if (level == 1)
			return e;
		uint64_t v = __atomic_load_n(e, __ATOMIC_RELAXED);
		if (!(v & PTE_P))
			return NULL;
		table = (v & PTE_FRAME) >> 12;
		if (table >= k.nr_frames)
			return NULL;
	}
	return NULL;
}

/* Read by other vCPUs: see smp.c. */
static void set_entry(struct k_frame *f, int i, uint64_t entry)
{
	if (i == 1)
		entry |= f->va[1] & KF_CODE;
	__atomic_store_n(&f->va[i], entry, __ATOMIC_RELAXED);
}

static bool entry_valid(uint64_t entry)
{
	return (entry & KF_MAPPED) && (entry & KF_EPOCH) == k.epoch;
}

static void note_mapping(uint64_t mfn, uint64_t va, bool writable)
{
	struct k_frame *f = &k.kframes[mfn];
	uint64_t entry = va | KF_MAPPED | k.epoch | (writable ? KF_WRITABLE : 0);

	for (int i = 0; i < 2; i++) {
		uint64_t old = f->va[i];

		if (!entry_valid(old))
			set_entry(f, i, entry);
		else if ((old & ~0xfffull) == va)
			set_entry(f, i, entry | (i == 0 ? old & KF_MANY : 0));
		else
			continue;
		return;
	}
	set_entry(f, 0, f->va[0] | KF_MANY);
}

static bool is_code(uint64_t mfn)
{
	if (k.smp)
		return __atomic_load_n(&k.c.frames[mfn].aux, __ATOMIC_RELAXED) & CORE_FRAME_CODE;
	return xlate_frame_noted(k.x, mfn);
}

/*
 * First say that they will be writable here, then look whether they may be: whoever turns one into
 * a page table or translates from it does it the other way round.
 */
bool window_announce(uint64_t va, uint64_t mfn, uint64_t nr)
{
	for (uint64_t i = 0; i < nr; i++)
		note_mapping(mfn + i, va + (i << 12), true);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	for (uint64_t i = 0; i < nr; i++)
		if (!smp_may_write(mfn + i))
			return false;
	return true;
}

/* False: with other vCPUs, one of the frames may not be written after all. */
static bool map_run(uint64_t va, uint64_t mfn, uint64_t nr, bool writable)
{
	long r;

	if (k.nr_maps >= WINDOW_MAPS_MAX)
		window_flush_all();
	if (k.smp && writable && !window_announce(va, mfn, nr))
		return false;
	r = sys_mmap(va + K_SHIFT, nr << 12, PROT_READ | (writable ? PROT_WRITE : 0),
		     MAP_SHARED | MAP_FIXED, K_FD_MEMORY, mfn << 12);
	if (r < 0 && r > -4096) {
		/* Out of mappings or page-table memory: start again with an empty window. */
		window_flush_all();
		if (k.smp && writable && !window_announce(va, mfn, nr))
			return false;
		r = sys_mmap(va + K_SHIFT, nr << 12, PROT_READ | (writable ? PROT_WRITE : 0),
			     MAP_SHARED | MAP_FIXED, K_FD_MEMORY, mfn << 12);
		if (r < 0 && r > -4096)
			k_die("the host has no memory for the domain's mappings");
	}
	k.nr_maps++;
	k.ctlv->page_faults++;
	for (uint64_t i = 0; i < nr && !(k.smp && writable); i++)
		note_mapping(mfn + i, va + (i << 12), writable);
	return true;
}

/* How far the run around `pte` reaches: entries of the same table, contiguous, same rights. */
static void find_run(uint64_t *pte, bool writable, uint64_t *ret_before, uint64_t *ret_after)
{
	uint64_t *first = (uint64_t *)((uintptr_t)pte & ~0xffful), *last = first + 511;
	uint64_t want = __atomic_load_n(pte, __ATOMIC_RELAXED);
	uint64_t need = PTE_P | PTE_A | (writable ? PTE_RW | PTE_D : 0);
	uint64_t before = 0, after = 0;

	for (uint64_t *p = pte; p < last; after++) {
		uint64_t v = __atomic_load_n(++p, __ATOMIC_RELAXED), mfn = (v & PTE_FRAME) >> 12;
		if ((v & need) != need ||
		    (v & PTE_FRAME) != (want & PTE_FRAME) + ((after + 1) << 12) ||
		    mfn >= k.nr_frames || (is_code(mfn) && writable))
			break;
	}
	for (uint64_t *p = pte; p > first; before++) {
		uint64_t v = __atomic_load_n(--p, __ATOMIC_RELAXED);
		if ((v & need) != need ||
		    (v & PTE_FRAME) + ((before + 1) << 12) != (want & PTE_FRAME) ||
		    (is_code((v & PTE_FRAME) >> 12) && writable))
			break;
	}
	*ret_before = before;
	*ret_after = after;
}

void window_code_written(uint64_t mfn)
{
	__atomic_and_fetch(&k.c.frames[mfn].aux, ~(CORE_FRAME_CODE | CORE_FRAME_CODE_STALE),
			   __ATOMIC_SEQ_CST);
	k.kframes[mfn].va[1] &= ~(uint64_t)KF_CODE;
	xlate_invalidate_frame(k.x, mfn);
	if (k.smp)
		smp_code_changed(mfn, 1);
}

enum k_map window_fill(uint64_t va, bool write, uint32_t *ret_error)
{
	struct core_ctx *c = &k.c;
	bool code = false;
	uint64_t mfn, flags, before, after, *pte;

	va &= ~0xfffull;
	if (!core_walk(c, c->v->kernel_root, va, &mfn, &flags)) {
		*ret_error = write ? 2 : 0;
		return K_MAP_FAULT;
	}
	if (write && !(flags & PTE_RW)) {
		*ret_error = 3;
		return K_MAP_FAULT;
	}
	if (write && is_code(mfn)) {
		window_code_written(mfn);
		code = true;
	}

	pte = pte_of(va);
	if (!pte || ((__atomic_load_n(pte, __ATOMIC_RELAXED) & PTE_FRAME) >> 12) != mfn) {
		/* No guest PTE behind it: the hypervisor's own area (M2P). */
		(void)map_run(va, mfn, 1, false);
		return K_MAP_DONE;
	}
	/* Changed since by another vCPU: the access is repeated, and looked at again. */
	if (!pte_mark(pte, mfn, PTE_A | (write ? PTE_D : 0)))
		return code ? K_MAP_CODE : K_MAP_DONE;
	/* Map writable at once if no dirty bit needs to be noticed. */
	bool writable = (flags & PTE_RW) && (__atomic_load_n(pte, __ATOMIC_RELAXED) & PTE_D) &&
			!is_code(mfn);
	find_run(pte, writable, &before, &after);
	if (!map_run(va - (before << 12), mfn - before, before + 1 + after, writable))
		(void)map_run(va, mfn, 1, writable);
	return code ? K_MAP_CODE : K_MAP_DONE;
}

void window_flush_all(void)
{
	if (!k.nr_maps)
		return;
	sys2(SYS_munmap, K_WINDOW, K_WINDOW_END - K_WINDOW);
	k.nr_maps = 0;
	k.epoch = (k.epoch + (1u << KF_EPOCH_SHIFT)) & KF_EPOCH;
	if (k.smp)
		__atomic_store_n(&k.me->epoch, k.epoch, __ATOMIC_RELEASE);
	/* An entry that survives 256 epochs is taken for valid: it costs one needless unmapping. */
}

void window_flush_va(uint64_t va)
{
	uint64_t host = (va & ~0xfffull) + K_SHIFT;

	if (k.nr_maps && window_holds(host))
		sys2(SYS_munmap, host, 4096);
}

void window_protect(uint64_t mfn)
{
	struct k_frame *f = &k.kframes[mfn];

	if (!k.nr_maps)
		return;
	if (entry_valid(f->va[0]) && (f->va[0] & KF_MANY)) {
		window_flush_all();
		return;
	}
	for (int i = 0; i < 2; i++) {
		if (entry_valid(f->va[i]) && (f->va[i] & KF_WRITABLE)) {
			window_flush_va(f->va[i] & ~0xfffull);
			set_entry(f, i, 0);
		}
	}
}
