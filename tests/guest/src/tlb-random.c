/* SPDX-License-Identifier: MIT */
/*
 * A random walk over page tables of all levels that are shared by three roots, in three parts of
 * the address space, changed by any vCPU while any root is loaded anywhere: behind a flush, or the
 * load of a root, loads, stores and string instructions of the kernel find what the tables say, on
 * each vCPU. What they say is read from the tables themselves.
 */
#include "pvg.h"

#define DATA	 6u
#define ROOTS	 3u
#define RIGHTS	 (PTE_P | PTE_US)
#define STEPS	 2500u
#define L3_FIRST 4u /* places in a table that are used, from here on */
#define L2_FIRST 7u
#define L1_FIRST 9u
#ifdef CPUS_2
#define CPUS 2u
#else
#define CPUS 1u
#endif

static const unsigned int l4_slots[] = {0, 36, 320};
static const unsigned int nr_tables[] = {0, 6, 4, 3, ROOTS}, places[] = {0, 4, 2, 2, 3};
static u64 *tables[5][6], *data[DATA];
static u64 loaded[CPUS]; /* the root of each vCPU */
static unsigned int wrong, counts[4];

static u64 m(const void *p)
{
	return pvg_mfn_of(p) << 12;
}
static unsigned int slot_of(unsigned int level, unsigned int place)
{
	static const unsigned int first[] = {0, L1_FIRST, L2_FIRST, L3_FIRST};

	return level == 4 ? l4_slots[place] : first[level] + place;
}
static u64 random_va(void)
{
	u64 va = 0;

	for (unsigned int level = 1; level <= 4; level++)
		va |= (u64)slot_of(level, (unsigned int)pvg_rnd() % places[level])
		      << (12 + 9 * (level - 1));
	return va >> 47 & 1 ? va | 0xffff000000000000ul : va;
}

/* ---- on one vCPU or the other -------------------------------------------------------------- */

static u64 at, arg, arg2, seen;
static long result;
static bool failed;

static void j_load(void)
{
	failed = pvg_load(at, &seen);
}
static void j_load_string(void)
{
	failed = pvg_load_copy(at, &seen);
}
static void j_store(void)
{
	failed = pvg_store(at, arg);
}
static void j_store_string(void)
{
	failed = pvg_store_copy(at, &arg);
}
static void j_update(void)
{
	result = pvg_mmu_update(arg, arg2);
}
static void j_root(void)
{
	result = pvg_mmuext(MMUEXT_NEW_BASEPTR, arg, 0);
}
static void j_flush(void)
{
	result = pvg_mmuext(MMUEXT_TLB_FLUSH_ALL, 0, 0);
}
static void j_pin(void)
{
	result = pvg_mmuext(MMUEXT_PIN_L1_TABLE, arg, 0);
}

static unsigned int any_cpu(void)
{
	return (unsigned int)pvg_rnd() % CPUS;
}

/* ---- what the tables say ------------------------------------------------------------------- */

static u64 *at_frame(u64 entry, unsigned int level)
{
	for (unsigned int i = 0; i < nr_tables[level]; i++)
		if (m(tables[level][i]) == (entry & PTE_ADDR))
			return tables[level][i];
	return NULL;
}

/* The page of data at va, NULL: none. */
static u64 *walk(u64 root, u64 va, bool *ret_write)
{
	const u64 *t = tables[4][root];
	u64 e = 0;

	*ret_write = true;
	for (unsigned int level = 4;; level--) {
		e = t[va >> (12 + 9 * (level - 1)) & 511];
		if (!(e & PTE_P))
			return NULL;
		if (!(e & PTE_RW))
			*ret_write = false;
		if (level == 1)
			break;
		t = at_frame(e, level - 1);
		if (!t)
			return NULL;
	}
	for (unsigned int i = 0; i < DATA; i++)
		if (m(data[i]) == (e & PTE_ADDR))
			return data[i];
	return NULL;
}

/* ---- what is done -------------------------------------------------------------------------- */

static unsigned int step;

static void bad(const char *what, unsigned int cpu, u64 va, u64 got, u64 should)
{
	if (wrong++ < 5)
		printf("step %u: vCPU %u, root %lu, %lx: %s %lx, not %lx\n", step, cpu, loaded[cpu],
		       va, what, got, should);
}

static void check(unsigned int cpu)
{
	unsigned int how = (unsigned int)pvg_rnd() & 3, word;
	static u64 value;
	bool may_write;
	u64 va = random_va(), *page = walk(loaded[cpu], va, &may_write), before;

	if (how < 2) {
		at = va;
		pvg_on(cpu, how ? j_load_string : j_load);
		if (failed != !page)
			bad("a load: fault", cpu, va, failed, !page);
		else if (page && seen != page[0])
			bad("read", cpu, va, seen, page[0]);
		counts[failed]++;
		return;
	}
	word = 1 + (unsigned int)pvg_rnd() % 500;
	at = va + word * 8;
	before = page ? page[word] : 0;
	value += 2; /* (never with the bit that makes an entry present) */
	arg = value;
	pvg_on(cpu, how == 2 ? j_store : j_store_string);
	if (failed != (!page || !may_write))
		bad("a store: fault", cpu, at, failed, !page || !may_write);
	else if (page && page[word] != (may_write ? arg : before))
		bad("there is", cpu, at, page[word], may_write ? arg : before);
	counts[2 + failed]++;
}
static void check_some(void)
{
	for (unsigned int i = 0; i < 6; i++)
		check(i % CPUS);
}

static void update(const u64 *table, unsigned int slot, u64 entry)
{
	arg = m(table) + slot * 8;
	arg2 = entry;
	pvg_on(any_cpu(), j_update);
}

/* The first tables are of the kernel's part, and seldom used elsewhere. */
static const unsigned int kernels[] = {0, 2, 1, 1};

static u64 random_entry(unsigned int level, bool kernel)
{
	u64 rights = RIGHTS | (pvg_rnd() & 7 ? PTE_RW : 0);
	unsigned int below = level - 1, n;

	if ((pvg_rnd() & 7) == 0)
		return 0;
	if (level == 1)
		return m(data[pvg_rnd() % DATA]) | rights | (pvg_rnd() & 1 ? PTE_A : 0) |
		       (pvg_rnd() & 1 ? PTE_D : 0);
	if ((pvg_rnd() & 31) == 0)
		n = (unsigned int)pvg_rnd() % nr_tables[below];
	else if (kernel)
		n = (unsigned int)pvg_rnd() % kernels[below];
	else
		n = kernels[below] + (unsigned int)pvg_rnd() % (nr_tables[below] - kernels[below]);
	return m(tables[below][n]) | rights;
}
/* ... for a place in one of a level's tables. */
static u64 entry_for(unsigned int level, unsigned int table, unsigned int place)
{
	return random_entry(level, level == 4 ? l4_slots[place] >= 256 : table < kernels[level]);
}

static void change(void)
{
	static const u8 levels[] = {1, 1, 1, 1, 2, 2, 3, 4};
	unsigned int level = levels[pvg_rnd() % sizeof(levels)],
		     table = (unsigned int)pvg_rnd() % nr_tables[level],
		     place = (unsigned int)pvg_rnd() % places[level];

	update(tables[level][table], slot_of(level, place), entry_for(level, table, place));
	if (result != 0)
		printf("step %u: mmu_update, level %u: %le\n", step, level, result);
}

static void load_root(unsigned int cpu)
{
	loaded[cpu] = pvg_rnd() % ROOTS;
	arg = pvg_mfn_of(tables[4][loaded[cpu]]);
	pvg_on(cpu, j_root);
}

/* A page that is mapped becomes a table: nobody flushes, and nobody can write to it any more. */
static void retype(void)
{
	u64 *p = data[pvg_rnd() % DATA];

	for (unsigned int i = 0; i < nr_tables[1]; i++)
		for (unsigned int k = 0; k < places[1]; k++) {
			u64 e = tables[1][i][L1_FIRST + k];

			if ((e & PTE_P) && (e & PTE_ADDR) == m(p))
				update(tables[1][i], L1_FIRST + k, e & ~PTE_RW);
		}
	pvg_set_ro(p);
	arg = pvg_mfn_of(p);
	pvg_on(any_cpu(), j_pin);
	if (result != 0)
		printf("step %u: pin: %le\n", step, result);
	/* (stores only: nothing was flushed, so what is gone may still be there to read) */
	for (unsigned int i = 0; i < 40; i++) {
		unsigned int cpu = i % CPUS, word = 1 + (unsigned int)pvg_rnd() % 500;
		u64 before = p[word];
		bool may_write;

		at = random_va();
		if (walk(loaded[cpu], at, &may_write) != p)
			continue;
		at += word * 8;
		arg = 0x7ffe;
		pvg_on(cpu, i & 4 ? j_store : j_store_string);
		if (p[word] != before)
			bad("a table has", cpu, at, p[word], before);
	}
	pvg_mmuext(MMUEXT_UNPIN_TABLE, pvg_mfn_of(p), 0);
	pvg_set_rw(p);
}

static void make(void)
{
	const u64 *from = (const u64 *)start_info->pt_base;

	for (unsigned int i = 0; i < DATA; i++) {
		data[i] = pvg_page_alloc();
		data[i][0] = 0xda00 + i * 2;
	}
	for (unsigned int level = 1; level <= 4; level++)
		for (unsigned int i = 0; i < nr_tables[level]; i++) {
			u64 *t = tables[level][i] = pvg_page_alloc();

			for (unsigned int k = 0; level == 4 && k < 512; k++)
				t[k] = k >= 256 && k < 272 ? 0 : from[k];
			for (unsigned int k = 0; k < places[level]; k++)
				t[slot_of(level, k)] = entry_for(level, i, k);
			pvg_set_ro(t);
		}
	for (unsigned int i = 0; i < ROOTS; i++)
		printf("pin: %le\n", pvg_mmuext(MMUEXT_PIN_L4_TABLE, pvg_mfn_of(tables[4][i]), 0));
	for (unsigned int cpu = 0; cpu < CPUS; cpu++)
		load_root(cpu);
}

void guest_main(void)
{
	pvg_events_init();
	pvg_traps_init();
	pvg_seed(4711);
#ifdef CPUS_2
	printf("initialise: %le\n", pvg_vcpu_init(1));
	printf("up: %le\n", pvg_worker_up(1));
#endif
	make();
	for (step = 0; step < STEPS; step++) {
		for (unsigned int n = (unsigned int)pvg_rnd() & 3; n; n--)
			change();
		switch (pvg_rnd() & 7) {
		case 0:
			retype();
			/* fall through */
		case 1:
		case 2:
			pvg_on(any_cpu(), j_flush);
			break;
		default: /* loading a root flushes as well */
			for (unsigned int cpu = 0; cpu < CPUS; cpu++)
				load_root(cpu);
		}
		check_some();
	}
	printf("loads: %u, and %u faults\nstores: %u, and %u\nwrong: %u\n", counts[0], counts[1],
	       counts[2], counts[3], wrong);
}
