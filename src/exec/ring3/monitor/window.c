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
#include "exec/ring3/monitor/kernel_debug.h"
#include "exec/ring3/monitor/tlb.h"
#include "exec/ring3/monitor/user.h"

#define PTE_FRAME_ (PTE_MFN_MASK << PTE_MFN_SHIFT)

/* The host allows 65,530 mappings a process (vm.max_map_count); stay clear of it. Counted is what
 * was mapped or cut, each of which makes two more at most. */
#define WINDOW_MAPS_MAX 31000u

/* The low part of the window is emptied more often, and so has epochs of its own. */
static uint32_t epoch_of(uint64_t va)
{
	return va >> 63 ? k.epoch : k.low_epoch;
}

/* Read by other vCPUs: see smp.c. */
static void set_entry(struct k_frame *f, int i, uint64_t entry)
{
	if (i == 1)
		entry |= f->va[1] & KF_CODE;
	else
		entry |= f->va[0] & KF_TAKEN;
	__atomic_store_n(&f->va[i], entry, __ATOMIC_RELAXED);
}

static bool entry_valid(uint64_t entry)
{
	return (entry & KF_MAPPED) && (entry & KF_EPOCH) == epoch_of(entry);
}

/*
 * A third place is not noted, only that there is one. That has to be known for as long as any of
 * them is mapped, and notes of the low half are forgotten before the others.
 */
static void note_third(struct k_frame *f, uint64_t entry)
{
	uint64_t first = f->va[0];

	if (!(first >> 63)) {
		if (entry >> 63)
			first = entry;
		else if (f->va[1] >> 63)
			first = f->va[1] & ~(uint64_t)KF_CODE; /* (which stays there as well) */
	}
	set_entry(f, 0, first | KF_MANY);
}

static void note_taken(struct k_frame *f, bool taken)
{
	__atomic_store_n(&f->va[0], taken ? f->va[0] | KF_TAKEN : f->va[0] & ~(uint64_t)KF_TAKEN,
			 __ATOMIC_RELAXED);
}

/* `kept`: what was noted at this place and is still so. */
static void note_mapping(uint64_t mfn, uint64_t va, unsigned int how, unsigned int kept)
{
	struct k_frame *f = &k.kframes[mfn];
	uint64_t entry = va | KF_MAPPED | epoch_of(va) | how;

	if (how & KF_WRITABLE)
		note_taken(f, false);
	for (int i = 0; i < 2; i++) {
		uint64_t old = f->va[i];

		if (!entry_valid(old))
			set_entry(f, i, entry);
		else if ((old & ~0xfffull) == va)
			set_entry(f, i, entry | (old & (kept | (i == 0 ? KF_MANY : 0))));
		else
			continue;
		return;
	}
	note_third(f, entry);
}

bool window_is_code(uint64_t mfn)
{
	return __atomic_load_n(&k.c.frames[mfn].aux, __ATOMIC_RELAXED) & CORE_FRAME_CODE;
}

int window_taken(uint64_t mfn, uint64_t va, bool once)
{
	struct k_frame *f = &k.kframes[mfn];
	bool ret = f->va[0] & KF_TAKEN;

	for (int i = 0; i < 2; i++) {
		if (!entry_valid(f->va[i]) || (f->va[i] & ~0xfffull) != (va & ~0xfffull))
			continue;
		if (once)
			note_taken(f, false);
		return ret;
	}
	return -1;
}

/*
 * First say what will be mapped here (a mapping that is there stays what it is until then), then
 * look whether it may be: whoever changes an entry, turns a frame into a page table or translates
 * from it does it the other way round.
 */
bool window_announce(uint64_t va, uint64_t mfn, uint64_t nr, unsigned int how)
{
	for (uint64_t i = 0; i < nr; i++)
		note_mapping(mfn + i, va + (i << 12), how, KF_POINTER | KF_WRITABLE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	for (uint64_t i = 0; how && i < nr; i++)
		if (!smp_may_write(mfn + i))
			return false;
	return true;
}

/* With other vCPUs: announced, and the entries (from `pte` on; NULL: there are none) still so. */
static bool may_map(const uint64_t *pte, uint64_t va, uint64_t mfn, uint64_t nr, bool writable)
{
	const uint64_t need = PTE_PRESENT | (writable ? PTE_RW | PTE_DIRTY : 0);

	if (!k.smp)
		return true;
	if (!window_announce(va, mfn, nr, writable ? KF_WRITABLE : 0))
		return false;
	for (uint64_t i = 0; pte && i < nr; i++)
		if ((pte_read(pte + i) & (need | PTE_FRAME_)) != (need | (mfn + i) << 12))
			return false;
	return true;
}

static long map_pages(uint64_t va, uint64_t mfn, uint64_t nr, bool writable)
{
	return sys_mmap(va + K_SHIFT, nr << 12, PROT_READ | (writable ? PROT_WRITE : 0),
			MAP_SHARED | MAP_FIXED, K_FD_MEMORY, mfn << 12);
}

/* False: another vCPU has changed one of the entries or frames meanwhile. */
static bool map_run(const uint64_t *pte, uint64_t va, uint64_t mfn, uint64_t nr, bool writable)
{
	long r;

	if (k.nr_maps >= WINDOW_MAPS_MAX)
		window_flush_all();
	if (!may_map(pte, va, mfn, nr, writable))
		return false;
	r = map_pages(va, mfn, nr, writable);
	if (r < 0 && r > -4096) {
		/* Out of mappings or page-table memory: start again with an empty window. */
		window_flush_all();
		if (!may_map(pte, va, mfn, nr, writable))
			return false;
		r = map_pages(va, mfn, nr, writable);
		if (r < 0 && r > -4096)
			k_die("the host has no memory for the domain's mappings");
	}
	window_page_mapped(va, mfn, nr);
	k.nr_maps++;
	k.ctlv->page_faults++;
	/* (With other vCPUs it was announced; but what was writable there is not any more.) */
	for (uint64_t i = 0; i < nr && !(k.smp && writable); i++)
		note_mapping(mfn + i, va + (i << 12), writable ? KF_WRITABLE : 0, KF_POINTER);
	return true;
}

/*
 * A neighbour that belongs into the run: the next frame, the same rights, and not there already
 * (mapping it again would cost the host the page-table entries that it has filled in).
 */
static bool fits(uint64_t v, uint64_t va, uint64_t mfn, bool writable)
{
	const uint64_t need = PTE_PRESENT | PTE_ACCESSED, dirty = PTE_RW | PTE_DIRTY;

	if ((v & need) != need || (v & PTE_FRAME_) != mfn << 12 || mfn >= k.nr_frames ||
	    ((v & dirty) == dirty && !window_is_code(mfn)) != writable)
		return false;
	for (int i = 0; i < 2; i++) {
		uint64_t e = k.kframes[mfn].va[i];

		if (entry_valid(e) && (e & ~0xfffull) == va)
			return !(e & KF_WRITABLE) == writable;
	}
	return true;
}

/* How far the run around `pte` reaches, within its table. */
static void find_run(uint64_t *pte, uint64_t va, uint64_t mfn, bool writable, uint64_t *ret_before,
		     uint64_t *ret_after)
{
	uint64_t *first = (uint64_t *)((uintptr_t)pte & ~0xffful), *last = first + 511;
	uint64_t before = 0, after = 0;

	while (pte + after < last &&
	       fits(pte_read(pte + after + 1), va + ((after + 1) << 12), mfn + after + 1, writable))
		after++;
	while (pte - before > first && before < mfn &&
	       fits(pte_read(pte - before - 1), va - ((before + 1) << 12), mfn - before - 1,
		    writable))
		before++;
	*ret_before = before;
	*ret_after = after;
}

/* (Cheaper than to map it again: what the host has filled in stays.) */
static void make_read_only(struct k_frame *f, int i)
{
	uint64_t e = f->va[i];

	/* (The note of a third place was lost, and made again for a pointer of the translator.) */
	if (((e & KF_WRITABLE) || (f->va[0] & KF_MANY)) && !window_page_protect(e & ~0xfffull)) {
		k.nr_maps++; /* the host may have cut a mapping in three */
		if (sys3(SYS_mprotect, (e & ~0xfffull) + K_SHIFT, 4096, PROT_READ))
			window_flush_range(e & ~0xfffull, 4096);
	}
	set_entry(f, i, e & ~(uint64_t)(KF_WRITABLE | KF_POINTER | KF_CODE));
	note_taken(f, true);
}

/* The entry that mapped the frame at va has changed: the mapping goes, or becomes what it says. */
void window_entry_changed(uint64_t va, uint64_t old, uint64_t new)
{
	const uint64_t dirty = PTE_RW | PTE_DIRTY;
	uint64_t mfn = pte_mfn(old);
	struct k_frame *f = &k.kframes[mfn];
	bool writable;

	/* Not RAM (the M2P has its own way): nothing was noted of it. */
	if (mfn >= k.nr_frames) {
		window_flush_range(va, 4096);
		return;
	}
	for (int i = 0; i < 2; i++) {
		if (!entry_valid(f->va[i]) || (f->va[i] & ~0xfffull) != va || (f->va[i] & KF_MANY))
			continue;
		writable = (new &dirty) == dirty && !window_is_code(mfn);
		if ((new &PTE_PRESENT) && (new &PTE_ACCESSED) && pte_mfn(new) == mfn &&
		    !kdebug_on) {
			/*
			 * A page becomes a page table or is none any more, mostly. That it may be
			 * written again does not matter until somebody does: clearing it, which is
			 * what comes next, goes another way (signal.c).
			 */
			if (!writable)
				make_read_only(f, i);
			return;
		}
		set_entry(f, i, 0);
		break;
	}
	window_flush_range(va, 4096);
}

void window_code_gone(uint64_t mfn)
{
	k.kframes[mfn].va[1] &= ~(uint64_t)KF_CODE;
	xlate_invalidate_frame(k.x, mfn);
	site_frame_written(mfn);
}

void window_code_written(uint64_t mfn)
{
	__atomic_and_fetch(&k.c.frames[mfn].aux, ~(CORE_FRAME_CODE | CORE_FRAME_CODE_STALE),
			   __ATOMIC_SEQ_CST);
	window_code_gone(mfn);
	if (k.smp)
		smp_code_changed(mfn, 1);
}

static void note_root(uint64_t va);

/* The page is protected, and may be written: without a new mapping. */
static bool allow(const uint64_t *pte, uint64_t va, uint64_t mfn)
{
	if (!window_page_is(va, mfn) || !may_map(pte, va, mfn, 1, true) || !window_page_allow(va))
		return false;
	k.ctlv->page_faults++;
	if (!k.smp)
		note_mapping(mfn, va, KF_WRITABLE, KF_POINTER);
	return true;
}

enum k_map window_fill(uint64_t va, bool write, bool is_protected, uint32_t *ret_error)
{
	struct core_ctx *c = &k.c;
	bool code = false;
	uint64_t mfn, flags, before, after, *pte, upper;
	int prot = PROT_WRITE;

	va &= ~0xfffull;
	note_root(va);
	pte = tlb_follow(c->v->kernel_root, va, -1, &upper);
	if (!core_walk(c, c->v->kernel_root, va, &mfn, &flags)) {
		*ret_error = write ? 2 : 0;
		return K_MAP_FAULT;
	}
	if (write && !(flags & PTE_RW)) {
		*ret_error = 3;
		return K_MAP_FAULT;
	}
	if (kdebug_on) {
		prot = kdebug_prot(va);
		if (!(prot & (write ? PROT_WRITE : PROT_READ)))
			return K_MAP_WATCHED;
	}
	if (write && window_is_code(mfn)) {
		window_code_written(mfn);
		code = true;
	}

	if (!pte || ((__atomic_load_n(pte, __ATOMIC_RELAXED) & PTE_FRAME_) >> 12) != mfn) {
		/* Another vCPU has changed it in between: that way here is not noted. Once more. */
		if (k.smp && core_addr_ok(va))
			return code ? K_MAP_CODE : K_MAP_DONE;
		/* No guest PTE behind it: the hypervisor's own area (M2P). */
		(void)map_run(NULL, va, mfn, 1, false);
		return K_MAP_DONE;
	}
	/* Changed since by another vCPU: the access is repeated, and looked at again. */
	if (!pte_mark(pte, mfn, PTE_ACCESSED | (write ? PTE_DIRTY : 0)))
		return code ? K_MAP_CODE : K_MAP_DONE;
	/* Map writable at once if no dirty bit needs to be noticed. */
	bool writable = (flags & PTE_RW) && (__atomic_load_n(pte, __ATOMIC_RELAXED) & PTE_DIRTY) &&
			!window_is_code(mfn) && (prot & PROT_WRITE);
	if (is_protected && writable && allow(pte, va, mfn))
		return code ? K_MAP_CODE : K_MAP_DONE;
	if (kdebug_on)
		before = after = 0; /* the neighbours may be watched */
	else
		find_run(pte, va, mfn, writable, &before, &after);
	if (!map_run(pte - before, va - (before << 12), mfn - before, before + 1 + after, writable))
		(void)map_run(pte, va, mfn, 1, writable);
	return code ? K_MAP_CODE : K_MAP_DONE;
}

void window_flush_all(void)
{
	if (!k.nr_maps)
		return;
	sys2(SYS_munmap, K_WINDOW, K_WINDOW_END - K_WINDOW);
	k.nr_maps = 0;
	k.epoch = (k.epoch + (1u << KF_EPOCH_SHIFT)) & KF_EPOCH;
	k.low_epoch = (k.low_epoch + (1u << KF_EPOCH_SHIFT)) & KF_EPOCH;
	if (k.smp) {
		smp_publish_epochs();
		/* The notes of the translator's pointers are forgotten, too. */
		xlate_user_forget(k.x);
	}
	/* An entry that survives 128 epochs is taken for valid: it costs one needless unmapping. */
}

void window_flush_range(uint64_t va, uint64_t len)
{
	uint64_t first = va + K_SHIFT, last = first + len - 1;

	if (!k.nr_maps)
		return;
	/* The window is the addresses from K_WINDOW up to K_WINDOW_END, the range may wrap. */
	if (first > last || last >= K_WINDOW_END) {
		if (first >= K_WINDOW_END && first <= last)
			return;
		last = K_WINDOW_END - 1;
	}
	if (first < K_WINDOW)
		first = K_WINDOW;
	if (first >= last)
		return;
	k.nr_maps++;
	/* Cutting a mapping in two can fail for want of another one; dropping all of them cannot.
	 */
	if (sys2(SYS_munmap, first & ~0xfffull, ((last | 0xfff) + 1) - (first & ~0xfffull)))
		window_flush_all();
}

/* ---- roots -------------------------------------------------------------------------------- */

/*
 * Through which L4 entries of which content the window was filled. All roots of a kernel share its
 * own half, so a switch drops what differs: the user's part, if the kernel touched any.
 */
static struct {
	uint64_t entry[PTE_ENTRIES];
	uint64_t used[PTE_ENTRIES / 64];
} roots;
#define ROOT_BITS (PTE_FRAME_ | PTE_PRESENT | PTE_RW)

static uint64_t root_entry(unsigned int slot)
{
	const uint64_t *l4 = core_frame_ptr(&k.c, k.c.v->kernel_root);

	return pte_read(&l4[slot]) & ROOT_BITS;
}

/* Notes of the low half are forgotten at once, so what is mapped there goes at once, too. */
static void drop_low(void)
{
	for (unsigned int w = 0; w < PTE_ENTRIES / 64 / 2; w++)
		roots.used[w] = 0;
	window_flush_range(0, 1ull << 47);
	k.low_epoch = (k.low_epoch + (1u << KF_EPOCH_SHIFT)) & KF_EPOCH;
	if (k.smp) {
		smp_publish_epochs();
		xlate_user_forget_writes(k.x); /* as in window_flush_all() */
	}
}

static void drop_slot(unsigned int slot)
{
	if (slot < PTE_ENTRIES / 2) {
		drop_low();
		return;
	}
	roots.used[slot / 64] &= ~(1ull << (slot % 64));
	window_flush_range((uint64_t)slot << 39 | 0xffff000000000000ull, 1ull << 39);
}

static void note_root(uint64_t va)
{
	unsigned int slot = (unsigned int)(va >> 39) & 511;
	uint64_t now = root_entry(slot);

	if (roots.entry[slot] != now && (roots.used[slot / 64] >> (slot % 64) & 1))
		drop_slot(slot);
	roots.entry[slot] = now;
	roots.used[slot / 64] |= 1ull << (slot % 64);
}

void window_root_changed(void)
{
	bool code = false;

	for (unsigned int w = 0; w < PTE_ENTRIES / 64; w++) {
		for (uint64_t left = roots.used[w]; left; left &= left - 1) {
			unsigned int slot = w * 64 + (unsigned int)__builtin_ctzll(left);

			if (roots.entry[slot] == root_entry(slot))
				continue;
			drop_slot(slot);
			code |= slot >= 256 || k.low_code;
		}
	}
	if (code)
		xlate_revalidate(k.x);
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
		if (entry_valid(f->va[i]) && (f->va[i] & (KF_WRITABLE | KF_POINTER)))
			make_read_only(f, i);
	}
}
