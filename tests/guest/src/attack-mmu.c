/* SPDX-License-Identifier: MIT */
/*
 * A random walk over the MMU interface that looks for one thing: a page table (or descriptor
 * page) that can be written directly. Deterministic; the domain must survive, and what it prints
 * is only whether it ever won.
 */
#include "pvg.h"

#define POOL 24
static u64 *pool[POOL]; /* pages that serve as data and tables of all levels */
static u64 pool_mfn[POOL];
static u64 window; /* a 2 MiB range with an L1 of its own */
static u64 *window_l1;
static u64 seed = 0x123456789abcdef1ul;
static unsigned int won, refused, done;

static u64 rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static u64 any_frame(void)
{
	switch (rnd() % 12) {
	case 0:
		return pvg_root_mfn();
	case 1:
		return pvg_mfn_of(window_l1);
	case 2:
		return rnd() % 0x40000;
	case 3:
		return 0x3fffffff;
	case 4:
		return start_info->shared_info >> 12;
	default:
		return pool_mfn[rnd() % POOL];
	}
}

static u64 any_flags(void)
{
	static const u64 f[] = {PTE_KERN,
				PTE_P,
				PTE_P | PTE_RW,
				PTE_P | PTE_US,
				0,
				PTE_P | PTE_RW | PTE_US,
				PTE_KERN | PTE_PS,
				PTE_KERN | PTE_NX,
				PTE_P | PTE_RW | PTE_G,
				PTE_KERN | 1ul << 52};

	return f[rnd() % ARRAY_SIZE(f)];
}

static void count(long r)
{
	if (r < 0)
		refused++;
	else
		done++;
}

static void step(void)
{
	unsigned int i = (unsigned int)(rnd() % POOL);
	u64 pte = any_frame() << 12 | any_flags();

	switch (rnd() % 8) {
	case 0: /* the builder's mapping of a pool page: writable, read-only */
		count(rnd() & 1 ? pvg_set_ro(pool[i]) : pvg_set_rw(pool[i]));
		break;
	case 1: /* into a pool page, whatever it is */
		count(pvg_mmu_update(pool_mfn[i] << 12 | (rnd() % 512) * 8 | (rnd() % 4 == 0) * 2,
				     pte));
		break;
	case 2: /* in the window */
		count(pvg_map((void *)(window + (rnd() % 512) * PAGE_SIZE), pte));
		break;
	case 3:
		count(pvg_mmuext(MMUEXT_PIN_L1_TABLE + (unsigned int)(rnd() % 4), pool_mfn[i], 0));
		break;
	case 4:
		count(pvg_mmuext(MMUEXT_UNPIN_TABLE, pool_mfn[i], 0));
		break;
	case 5: /* the root's free slots */
		count(pvg_mmu_update((pvg_root_mfn() << 12) + (300 + rnd() % 4) * 8, pte));
		break;
	case 6:
		count(pvg_mmuext(rnd() & 1 ? MMUEXT_CLEAR_PAGE : MMUEXT_COPY_PAGE, pool_mfn[i],
				 any_frame()));
		break;
	case 7:
		count(pvg_mmuext(MMUEXT_NEW_USER_BASEPTR, rnd() & 3 ? 0 : pool_mfn[i], 0));
		break;
	}
}

static u64 poke_at;
static void poke(u64 a, u64 b, u64 c)
{
	volatile u64 *p = (u64 *)a;

	*p = *p;
}

/* Is a frame that some mapping lets us write really no page table now? Pinning it as each level
 * must fail while the writable mapping lives. */
static void look(void)
{
	for (unsigned int i = 0; i < 512; i += 1 + rnd() % 16) {
		u64 e = window_l1[i];
		void *va = (void *)(window + i * PAGE_SIZE);

		if (!(e & PTE_P) || !(e & PTE_RW))
			continue;
		pvg_invlpg(va);
		poke_at = (u64)va;
		if (pvg_try3(poke, (u64)va, 0, 0))
			continue; /* shared_info and such may come and go */
		for (unsigned int l = 0; l < 4; l++) {
			u64 mfn = (e & PTE_ADDR) >> 12;

			if (!pvg_mmuext(MMUEXT_PIN_L1_TABLE + l, mfn, 0))
				won++;
		}
	}
}

void guest_main(void)
{
	u64 *l2;

	pvg_events_init();
	pvg_traps_init();
	window_l1 = pvg_page_alloc();
	for (int i = 0; i < POOL; i++) {
		pool[i] = pvg_page_alloc();
		pool_mfn[i] = pvg_mfn_of(pool[i]);
	}
	l2 = pvg_entry((u64)pvg_image, 2);
	l2 -= ((u64)l2 & 4095) / 8;
	window = ((u64)pvg_image & ~((1ul << 30) - 1)) + (300ul << 21);
	pvg_set_ro(window_l1);
	pvg_mmu_update((pvg_mfn_of(l2) << 12) + 300 * 8, pvg_mfn_of(window_l1) << 12 | PTE_KERN);
	for (int i = 0; i < 20000; i++) {
		step();
		if (i % 64 == 0)
			look();
	}
	printf("done > 1000: %d, refused > 1000: %d\n", done > 1000, refused > 1000);
	printf("writable page tables found: %d\n", won);
}
