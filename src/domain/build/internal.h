/* SPDX-License-Identifier: MIT */
/* Between the files of this folder only. */
#ifndef PVV_DOMAIN_BUILD_INTERNAL_H
#define PVV_DOMAIN_BUILD_INTERNAL_H

#include <stdbool.h>

#include "domain/build/build.h"
#include "util/err.h"

#define PAGE_SIZE    4096ull
#define TABLE_LEVELS 4

#define pages_of(bytes) (((bytes) + PAGE_SIZE - 1) / PAGE_SIZE)

/*
 * A range of guest virtual addresses and the page tables that map it. The tables of one level are
 * consecutive frames, in the order of the addresses they cover; level[0] holds the L1 tables.
 * A range may take part of its tables from another (`shared`): the list at INIT_P2M hangs off the
 * root that the initial mapping has already.
 */
struct table_range {
	uint64_t va, last; /* inclusive, so that a range may end at 2^64 */
	const struct table_range *shared;
	struct table_level {
		uint64_t first, nr; /* number of a table: the address bits above what it covers */
		uint64_t pfn;	    /* of table `first` */
	} level[TABLE_LEVELS];
};

/* Which tables are needed; fills level[].first and .nr. */
void tables_count(struct table_range *r, uint64_t va, uint64_t last,
		  const struct table_range *shared);
uint64_t tables_total(const struct table_range *r);
/* Give them frames from `pfn` on, the root's level first as Xen does. */
void tables_place(struct table_range *r, uint64_t pfn);
/*
 * Map `nr` frames from `pfn` on at `va`, which lies in `r`. L1 entries of frames in
 * [ro_pfn, ro_pfn + ro_nr) are read-only.
 */
void tables_map(const struct exec_memory *mem, const struct table_range *r, uint64_t va,
		uint64_t pfn, uint64_t nr, uint64_t ro_pfn, uint64_t ro_nr);

/* build_layout and the tables it implies. */
struct plan {
	struct build_layout l;
	struct table_range initial, p2m;
	bool p2m_apart; /* the list lies at INIT_P2M */
};

int plan_make(const struct build_params *p, struct plan *ret);

#endif
