/* SPDX-License-Identifier: MIT */
/*
 * The cost of page-table updates: mmu_update with 512 entries in one call (goal: <= 20 ns each),
 * single update_va_mapping calls, pin and unpin of a full table. Best of many rounds, since the
 * machine is shared.
 *
 *	bench_mmu [--check]
 *
 * With --check it ends with 1 if a goal is missed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../unit/mm/mm_guest.h"

#define ROUNDS	400u
#define ENTRIES 512u
#define TABLE	200u /* an L1 of our own */

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static bool missed;

static void report(const char *what, double ns, double goal)
{
	printf("%-52s %9.1f ns (goal: %.0f)\n", what, ns, goal);
	missed = missed || ns > goal;
}

static void must(long rc)
{
	if (rc != 0) {
		fprintf(stderr, "bench_mmu: a hypercall failed: %ld\n", rc);
		exit(1);
	}
}

/* All entries change from one frame to another: a reference taken and one put for each. */
static double remap(struct mm_guest *g, uint64_t flags, bool preserve_ad)
{
	struct mmu_update reqs[ENTRIES];
	double best = 1e9;

	for (unsigned int round = 0; round < ROUNDS; round++) {
		uint64_t va, args[6];
		double t;

		for (unsigned int i = 0; i < ENTRIES; i++) {
			reqs[i].ptr = (uint64_t)TABLE << 12 | i * 8 |
				      (preserve_ad ? MMU_PT_UPDATE_PRESERVE_AD : 0);
			reqs[i].val = pte(210 + (i + round) % 256, flags);
		}
		va = put_args(g, 0, reqs, sizeof(reqs));
		memcpy(args, (uint64_t[]){va, ENTRIES, 0, DOMID_SELF, 0, 0}, sizeof(args));
		t = now_ns();
		must(core_hc_mmu_update(&g->c, args));
		t = (now_ns() - t) / ENTRIES;
		best = t < best ? t : best;
	}
	return best;
}

static double va_mappings(struct mm_guest *g)
{
	double best = 1e9;

	for (unsigned int round = 0; round < ROUNDS; round++) {
		double t = now_ns();

		for (unsigned int i = 0; i < 256; i++) {
			uint64_t args[6] = {VA(210 + i), pte(210 + (i + round) % 256, P | RW),
					    UVMF_NONE};

			must(core_hc_update_va_mapping(&g->c, args));
		}
		t = (now_ns() - t) / 256;
		best = t < best ? t : best;
	}
	return best;
}

/* An L1 with 512 entries, validated and given up. Per entry, both ways. */
static double pin(struct mm_guest *g)
{
	double best = 1e9;

	for (unsigned int i = 0; i < ENTRIES; i++)
		must(update(g, TABLE, i, pte(210 + i % 256, P | RW)));
	for (unsigned int round = 0; round < ROUNDS; round++) {
		double t = now_ns();

		must(mmuext(g, MMUEXT_UNPIN_TABLE, TABLE, 0));
		must(mmuext(g, MMUEXT_PIN_L1_TABLE, TABLE, 0));
		t = (now_ns() - t) / ENTRIES;
		best = t < best ? t : best;
	}
	return best;
}

int main(int argc, char **argv)
{
	struct mm_guest *g = mm_guest_new(1);
	double goal = 20;

	make_ro(g, TABLE);
	must(mmuext(g, MMUEXT_PIN_L1_TABLE, TABLE, 0));
	report("mmu_update, 512 writable entries, each", remap(g, P | RW, false), goal);
	report("mmu_update, 512 read-only entries, each", remap(g, P, false), goal);
	report("mmu_update, preserving accessed and dirty, each", remap(g, P | RW, true), goal);
	report("mmu_update, 512 cleared entries, each", remap(g, 0, false), goal);
	report("update_va_mapping", va_mappings(g), 40);
	report("unpin and pin of an L1, each entry", pin(g), goal);
	mm_guest_free(g);
	return missed && argc > 1 && strcmp(argv[1], "--check") == 0;
}
