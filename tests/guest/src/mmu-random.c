/* SPDX-License-Identifier: MIT */
/*
 * Random walks over the MMU interface that use only frames of a small pool and a few special ones,
 * so that each answer is the same on every host: one letter each. `-DFROM=..`, `-DTO=..` say in
 * words what was done, to find out about a difference.
 */
#include "pvg.h"

#define POOL 10
#ifndef WALKS
#define WALKS 40
#endif
#define STEPS 1000
#ifndef FROM
#define FROM 1
#define TO   0
#endif
#ifndef WALK
#define WALK 0
#endif

static u64 *pool[POOL];
static u64 mfn[POOL], window, window_mfn;
static u64 *window_l1;
static u64 seed;
static unsigned int step, walk;

static u64 rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed >> 11;
}

static bool loud(void)
{
	return walk == WALK && step + 1 > FROM && step <= TO;
}

static char letter(long r)
{
	switch (r) {
	case 0:
		return '.';
	case -1:
		return 'P';
	case -3:
		return 'S';
	case -14:
		return 'F';
	case -16:
		return 'B';
	case -22:
		return 'I';
	case -38:
		return 'N';
	case -12:
		return 'M';
	default:
		return r > 0 ? '+' : '?';
	}
}

/* A frame and how to call it. */
static u64 frame(const char **name)
{
	static const char *const names[] = {"p0", "p1", "p2", "p3", "p4",
					    "p5", "p6", "p7", "p8", "p9"};
	unsigned int i = (unsigned int)(rnd() % (POOL + 4));

	if (i < POOL) {
		*name = names[i];
		return mfn[i];
	}
	switch (i - POOL) {
	case 0:
		*name = "window";
		return window_mfn;
	case 1:
		*name = "root";
		return pvg_root_mfn();
	case 2:
		*name = "shared";
		return start_info->shared_info >> 12;
	default:
		*name = "nowhere";
		return 0x3fffffff;
	}
}

static u64 flags(void)
{
	static const u64 f[] = {PTE_KERN,
				PTE_KERN | PTE_US,
				PTE_P,
				PTE_P | PTE_RW,
				PTE_P | PTE_US,
				0,
				PTE_RW,
				PTE_KERN | PTE_US | PTE_NX,
				PTE_KERN | PTE_PS,
				PTE_KERN | PTE_G,
				PTE_P | PTE_PCD,
				PTE_P | 1ul << 55};

	return f[rnd() % (rnd() % 4 ? 6 : ARRAY_SIZE(f))];
}

static unsigned int slot(void)
{
	static const u16 s[] = {0, 1, 2, 3, 255, 256, 258, 271, 272, 511};

	return s[rnd() % (rnd() % 4 ? 3 : ARRAY_SIZE(s))];
}

static void poke(u64 a, u64 b, u64 c)
{
	*(volatile u64 *)a = b;
}

/* A store by the processor to a page of the pool: done, emulated or a fault. */
static long store(unsigned int i, unsigned int s, u64 v)
{
	pvg_invlpg(pool[i]);
	return pvg_try3(poke, (u64)&pool[i][s], v, 0) ? (pvg_caught.f.vector == 14 ? -14 : -3) : 0;
}

static long one(void)
{
	unsigned int i = (unsigned int)(rnd() % POOL), s = slot(), n;
	const char *name, *name2;
	u64 f = frame(&name), fl = flags(), f2 = frame(&name2), op = rnd() % 20;
	u64 frames[2] = {f, f2};
	struct mmu_update up[3];
	u32 done = 9;
	long r;

	switch (op) {
	case 0:
	case 1: /* the builder's mapping of the page */
		n = (unsigned int)(rnd() % 4);
		if (loud())
			printf("%d: p%d %s", step, i, n ? "read-only" : "writable");
		return n ? pvg_set_ro(pool[i]) : pvg_set_rw(pool[i]);
	case 2:
	case 3:
	case 4:
	case 5: /* an entry */
		n = (unsigned int)(rnd() % 4);
		if (loud())
			printf("%d: p%d[%d] = %s | %lx%s", step, i, s, name, fl,
			       n ? "" : " preserve");
		return pvg_mmu_update((mfn[i] << 12) + s * 8 + (n ? 0 : MMU_PT_UPDATE_PRESERVE_AD),
				      f << 12 | fl);
	case 6:
	case 7:
	case 8: /* pins */
		n = (unsigned int)(rnd() % 4);
		if (loud())
			printf("%d: pin %s L%d", step, name, n + 1);
		if (f == window_mfn)
			return 0;
		return pvg_mmuext(MMUEXT_PIN_L1_TABLE + n, f, 0);
	case 9:
	case 10:
		if (loud())
			printf("%d: unpin %s", step, name);
		if (f == pvg_root_mfn())
			return 0;
		return pvg_mmuext(MMUEXT_UNPIN_TABLE, f, 0);
	case 11: /* a window to it */
		if (loud())
			printf("%d: window[%d] = %s | %lx", step, s, name, fl);
		return pvg_map((void *)(window + s * PAGE_SIZE), f << 12 | fl);
	case 12:
		if (loud())
			printf("%d: clear %s", step, name);
		return f == window_mfn || f == start_info->shared_info >> 12
			       ? 0
			       : pvg_mmuext(MMUEXT_CLEAR_PAGE, f, 0);
	case 13:
		if (loud())
			printf("%d: copy p%d to %s", step, i, name);
		return f == start_info->shared_info >> 12 ? 0
							  : pvg_mmuext(MMUEXT_COPY_PAGE, f, mfn[i]);
	case 14:
		n = (unsigned int)(rnd() % 3);
		if (loud())
			printf("%d: user root %s", step, n ? name : "none");
		return pvg_mmuext(MMUEXT_NEW_USER_BASEPTR, n ? f : 0, 0);
	case 15:
		n = (unsigned int)(rnd() % 3);
		if (loud())
			printf("%d: gdt of %d: %s %s", step, n, name, name2);
		r = HC2(set_gdt, frames, n * 512);
		return r;
	case 16:
		if (loud())
			printf("%d: descriptor p%d[%d]", step, i, s);
		return HC2(update_descriptor, (mfn[i] << 12) + s * 8,
			   rnd() & 1 ? 0 : 0x00cff3000000ffff);
	case 17: /* three at once */
		for (n = 0; n < 3; n++) {
			up[n].ptr = (mfn[i] << 12) + (s ^ n) % 512 * 8;
			up[n].val = (n == 1 ? f2 : f) << 12 | fl;
		}
		r = HC4(mmu_update, up, 3, &done, DOMID_SELF);
		if (loud())
			printf("%d: three in p%d[%d]: %s %s | %lx, done %d", step, i, s, name,
			       name2, fl, done);
		return r ? r : done == 3 ? 0 : 99;
	case 18:
		if (loud())
			printf("%d: store p%d[%d] = %s | %lx", step, i, s, name, fl);
		return store(i, s, f << 12 | fl);
	default: /* a copy of the root, to be one */
		if (loud())
			printf("%d: p%d is a copy of the root", step, i);
		return pvg_mmuext(MMUEXT_COPY_PAGE, mfn[i], pvg_root_mfn());
	}
}

/* What is in the pages, in terms of the pool. */
static u64 contents(void)
{
	u64 sum = 0;

	for (unsigned int i = 0; i < POOL; i++) {
		for (unsigned int s = 0; s < 512; s++) {
			u64 e = pool[i][s], m = (e & PTE_ADDR) >> 12, k;

			if (!e || (s >= 256 && s <= 271))
				continue; /* Xen's own */
			for (k = 0; k < POOL && mfn[k] != m; k++)
				;
			sum = (sum ^ (e & ~PTE_ADDR & ~(PTE_A | PTE_D)) ^ k << 20 ^ s << 30 ^
			       (u64)i << 40) *
			      0x9e3779b97f4a7c15;
			sum ^= sum >> 29;
		}
	}
	return sum;
}

/* Back to plain pages: whatever is in the way goes, until nothing changes any more. */
static bool clean(void)
{
	pvg_mmuext(MMUEXT_NEW_USER_BASEPTR, 0, 0);
	HC2(set_gdt, 0, 0);
	for (unsigned int s = 0; s < 512; s++)
		pvg_map((void *)(window + s * PAGE_SIZE), 0);
	for (int round = 0; round < 6; round++) {
		for (unsigned int i = 0; i < POOL; i++)
			pvg_mmuext(MMUEXT_UNPIN_TABLE, mfn[i], 0);
		for (unsigned int i = 0; i < POOL; i++) {
			static const u16 s[] = {0,   1,	  2,   3,   255, 272, 511,
						253, 254, 273, 274, 509, 510, 257};

			for (unsigned int k = 0; k < ARRAY_SIZE(s); k++)
				pvg_mmu_update((mfn[i] << 12) + s[k] * 8, 0);
		}
	}
	for (unsigned int i = 0; i < POOL; i++) {
		if (pvg_mmuext(MMUEXT_CLEAR_PAGE, mfn[i], 0) || pvg_set_rw(pool[i]))
			return false;
	}
	return true;
}

void guest_main(void)
{
	u64 *l2;

	pvg_events_init();
	pvg_traps_init();
	window_l1 = pvg_page_alloc();
	window_mfn = pvg_mfn_of(window_l1);
	for (int i = 0; i < POOL; i++) {
		pool[i] = pvg_page_alloc();
		mfn[i] = pvg_mfn_of(pool[i]);
	}
	l2 = pvg_entry((u64)pvg_image, 2);
	l2 -= ((u64)l2 & 4095) / 8;
	window = ((u64)pvg_image & ~((1ul << 30) - 1)) + (300ul << 21);
	pvg_set_ro(window_l1);
	pvg_mmu_update((pvg_mfn_of(l2) << 12) + 300 * 8, window_mfn << 12 | PTE_KERN);
	HC2(vm_assist, VMASST_CMD_enable, VMASST_TYPE_writable_pagetables);
	for (walk = 0; walk < WALKS; walk++) {
		/*
		 * In these Xen 4.17 loses a reference: when validation fails in a table below a
		 * table, behind entries of both that were good, the lower one keeps its type until
		 * somebody tries it again. Here it goes at once.
		 */
		static const u64 lossy = 1ul << 2 | 1ul << 8 | 1ul << 9 | 1ul << 19 | 1ul << 20 |
					 1ul << 24 | 1ul << 26 | 1ul << 27;
		char line[65];
		unsigned int k = 0;

		if (lossy >> walk & 1)
			continue;
		seed = 0x9e3779b97f4a7c15ul * (walk + 1);
		printf("walk %d\n", walk);
		for (step = 0; step < STEPS; step++) {
			long r = one();

			if (loud())
				printf(": %le\n", r);
			line[k++] = letter(r);
			if (k == 64 || step == STEPS - 1) {
				line[k] = 0;
				printf("%s\n", line);
				k = 0;
			}
		}
		printf("contents %lx\n", contents());
		printf("clean: %d\n", clean());
	}
}
