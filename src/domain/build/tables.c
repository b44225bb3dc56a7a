/* SPDX-License-Identifier: MIT */
/*
 * The page tables a domain starts with. Four levels of 512 entries; a table of level n (1 = L1)
 * covers 1 << (12 + 9 * n) bytes, the root covers everything.
 */
#include "domain/build/internal.h"
#include "domain/memory.h"

#define PTE_PRESENT  0x01ull
#define PTE_RW	     0x02ull
#define PTE_USER     0x04ull
#define PTE_ACCESSED 0x20ull
#define PTE_DIRTY    0x40ull

/* As Xen's domain builder sets them. */
#define PTE_L1	  (PTE_PRESENT | PTE_RW | PTE_ACCESSED)
#define PTE_UPPER (PTE_PRESENT | PTE_RW | PTE_ACCESSED | PTE_DIRTY | PTE_USER)

/* Which table of `level` (0 = L1) covers `va`. Bits above 47 repeat bit 47 and count for nothing.
 */
static uint64_t table_no(uint64_t va, unsigned int level)
{
	return (va & 0xffffffffffffull) >> (21 + 9 * level);
}

static unsigned int entry_no(uint64_t va, unsigned int level)
{
	return (va >> (12 + 9 * level)) & 511;
}

void tables_count(struct table_range *r, uint64_t va, uint64_t last,
		  const struct table_range *shared)
{
	r->va = va;
	r->last = last;
	r->shared = shared;
	for (unsigned int i = 0; i < TABLE_LEVELS; i++) {
		uint64_t a = table_no(va, i), b = table_no(last, i);

		r->level[i].first = a;
		r->level[i].nr = b - a + 1;
		if (!shared)
			continue;
		/* `shared` lies above this range, so what it has in common is at its start. */
		uint64_t theirs = shared->level[i].first;

		if (theirs <= b)
			r->level[i].nr = theirs > a ? theirs - a : 0;
	}
}

uint64_t tables_total(const struct table_range *r)
{
	return r->level[0].nr + r->level[1].nr + r->level[2].nr + r->level[3].nr;
}

void tables_place(struct table_range *r, uint64_t pfn)
{
	for (int i = TABLE_LEVELS - 1; i >= 0; i--) {
		r->level[i].pfn = pfn;
		pfn += r->level[i].nr;
	}
}

static uint64_t table_pfn(const struct table_range *r, uint64_t va, unsigned int level)
{
	uint64_t no = table_no(va, level);
	const struct table_level *t = &r->level[level];

	if (no - t->first >= t->nr)
		t = &r->shared->level[level];
	return t->pfn + (no - t->first);
}

void tables_map(const struct exec_memory *mem, const struct table_range *r, uint64_t va,
		uint64_t pfn, uint64_t nr, uint64_t ro_pfn, uint64_t ro_nr)
{
	uint64_t *l1 = NULL;

	for (uint64_t i = 0; i < nr; i++, va += PAGE_SIZE) {
		if (!l1 || entry_no(va, 0) == 0) {
			/* A new L1 table: hang it in, and what is above it. */
			uint64_t below = table_pfn(r, va, 0);

			l1 = memory_pfn(mem, below);
			for (unsigned int level = 1; level < TABLE_LEVELS; level++) {
				uint64_t above = table_pfn(r, va, level);
				uint64_t *t = memory_pfn(mem, above);

				t[entry_no(va, level)] = (mem->ram_first + below) << 12 | PTE_UPPER;
				below = above;
			}
		}
		bool ro = pfn + i - ro_pfn < ro_nr;

		l1[entry_no(va, 0)] =
			(mem->ram_first + pfn + i) << 12 | (ro ? PTE_L1 & ~PTE_RW : PTE_L1);
	}
}
