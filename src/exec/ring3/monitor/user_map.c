/* SPDX-License-Identifier: MIT */
/*
 * Filling a U process: the guest's user page tables become mappings of the memfd, when the program
 * touches a page. One order of M maps the page and its neighbours: the host takes about 0.5 us for
 * each, a fault costs ten times that.
 */
#include "exec/ring3/monitor/user.h"

#include <sys/mman.h>

#include "core/lib/mem.h"
#include "core/mm/mm.h"
#include "exec/ring3/monitor/k.h"

#define NEIGHBOURS 16u /* pages, aligned */
#define MAPS_MAX   56000u

static bool usable(uint64_t pte)
{
	const uint64_t need = PTE_PRESENT | PTE_USER | PTE_ACCESSED;

	return (pte & need) == need && pte_mfn(pte) < k.nr_frames;
}

/* Writable only with the dirty bit set, or the first write would not be noticed. */
static int prot_of(uint64_t pte, uint64_t upper)
{
	int prot = PROT_READ;

	if ((pte & upper & PTE_RW) && (pte & PTE_DIRTY))
		prot |= PROT_WRITE;
	if (!((pte | upper) & PTE_NX))
		prot |= PROT_EXEC;
	return prot;
}

/* The bits of NEIGHBOURS pages from entry `first` on. */
static uint64_t *mapped_bits(struct u_slot *s, struct tlb_table *t, unsigned int first,
			     unsigned int *ret_shift)
{
	if (t->life != s->life) {
		memset(t->mapped, 0, sizeof(t->mapped));
		t->life = s->life;
	}
	*ret_shift = first % 64;
	return &t->mapped[first / 64];
}

/* `at`: in the memfd; `pte`: of va. */
static void map(struct u_slot *s, const uint64_t *pte, uint64_t va, uint64_t at, uint64_t nr,
		int prot)
{
	for (uint64_t i = 0; (prot & PROT_WRITE) && i < nr; i++)
		if (window_is_code((at >> 12) + i))
			window_code_written((at >> 12) + i);
	if (prot == (PROT_READ | PROT_WRITE) &&
	    (ahead_fill(s, va, at, nr << 12) || keep_fill(s, va, at, nr << 12)))
		return;
	ahead_mapped(s, pte, va, at, nr << 12, prot);
	keep_mapped(s, va, at, nr << 12, prot);
	order_add(s, SYS_mmap, va, nr << 12, (uint64_t)prot, MAP_SHARED | MAP_FIXED | MAP_POPULATE,
		  K_FD_MEMORY, at);
	s->maps++;
}

/* Where in the memfd the content of the page is. */
static uint64_t content(struct u_slot *s, uint64_t va, uint64_t mfn, int prot)
{
	uint64_t copy = 0;

	if ((prot & (PROT_EXEC | PROT_WRITE)) == PROT_EXEC)
		copy = site_copy(s, va, mfn);
	return copy ? copy : mfn << 12;
}

bool user_may_have(const struct u_slot *s, const uint64_t *pte)
{
	const struct tlb_table *t = tlb_table_of(pte);
	unsigned int i = ((uintptr_t)pte & 0xfff) / sizeof(*pte);

	return t->slot == user_number_of(s) + 1 && t->life == s->life &&
	       (t->mapped[i / 64] >> (i % 64) & 1);
}

bool user_allowed(uint64_t va, uint32_t access)
{
	uint64_t mfn, flags;

	return core_walk_access(&k.c, k.c.v->user_root, va, access | PF_USER, &mfn, &flags);
}

bool user_map(struct u_slot *s, uint64_t va, uint32_t access, uint32_t *ret_error)
{
	uint64_t mfn, flags, upper, *pte, *pte_first, first, run = 0, run_va = 0, run_at = 0, from;
	uint64_t root = k.c.v->user_root, *bits, life, entry[NEIGHBOURS];
	unsigned int shift;
	int run_prot = 0;

	va &= ~0xfffull;
	*ret_error = access;
	if (va < U_FIRST || va >= U_VA_END)
		return false;
	pte = tlb_follow(root, va, k.tables[root].slot - 1, &upper);
	if (!core_walk_access(&k.c, root, va, access | PF_USER, &mfn, &flags)) {
		*ret_error = (uint32_t)flags;
		return false;
	}
	if (!pte || !(upper & PTE_USER))
		return false;
	first = va & ~((uint64_t)NEIGHBOURS * 4096 - 1);
	pte_first = pte - ((va - first) >> 12);
	/* What was a table may be anybody's by now, and say whatever they like: G tries again. */
	if (k.smp && !tlb_is_there(root, va, pte))
		return true;
	for (unsigned int i = 0; i < NEIGHBOURS; i++)
		entry[i] = pte_read(pte_first + i);
	if (k.smp && !tlb_was_there(pte))
		return true;
	if (s->maps > MAPS_MAX) {
		s->gone.all = true;
		user_drain_slot(s);
	}
	life = s->life;
	bits = mapped_bits(s, tlb_table_of(pte), first >> 12 & 511, &shift);
	for (unsigned int i = 0; i < NEIGHBOURS; i++) {
		uint64_t at = first + i * 4096ull, v = entry[i];
		uint64_t bit = 1ull << (shift + i);
		bool in_row = run && pte_mfn(v) << 12 == run_at + (run << 12);
		int prot;

		/* (What is there already would be mapped again, for as much as a new page.) */
		if (at < U_FIRST || at >= U_VA_END || !usable(v) ||
		    (at != va && ((*bits & bit) || (!in_row && !begin_wants(s, at))))) {
			if (run)
				map(s, pte_first + ((run_va - first) >> 12), run_va, run_at, run,
				    run_prot);
			run = 0;
			continue;
		}
		*bits |= bit;
		prot = debug_prot(s, at, prot_of(v, upper));
		from = content(s, at, pte_mfn(v), prot);
		if (run && from == run_at + (run << 12) && prot == run_prot) {
			run++;
			continue;
		}
		if (run)
			map(s, pte_first + ((run_va - first) >> 12), run_va, run_at, run, run_prot);
		run = 1;
		run_va = at;
		run_at = from;
		run_prot = prot;
	}
	if (run)
		map(s, pte_first + ((run_va - first) >> 12), run_va, run_at, run, run_prot);
	if (s->life != life) {
		/* Emptied meanwhile, while this vCPU waited for another one (user_quiet.c): the
		 * bits are of the time before. */
		s->gone.all = true;
		user_drain_slot(s);
	}
	k.ctlv->page_faults++;
	return true;
}
