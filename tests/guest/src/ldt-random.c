/* SPDX-License-Identifier: MIT */
/*
 * Random walks over descriptor tables: pages that become parts of the LDT and the GDT when they are
 * used, and what else is done to them before and after.
 */
#include "pvg.h"

#define WALKS 10
#define STEPS 640

static u64 extra;

static void poke(u64 a, u64 b, u64 c)
{
	*(volatile u64 *)a = b;
}

static u64 descriptor(void)
{
	static const u64 d[] = {0x00cff3000000ffff, 0x00cff3000000ffff, 0x00cff3000000ffff,
				0x00affb000000ffff, 0x00cf93000000ffff, 0,
				0x00cf73000000ffff, 0x00008900e0000067, 0x0000ec00e0330000,
				0x00008200e0000067, 0x00cff7000000ffff};

	return PICK(d);
}

/* Of the three pages that may be an LDT: a slot that has a descriptor, or any. */
static unsigned int where(void)
{
	return (unsigned int)(pvg_rnd() % 4 + (pvg_rnd() % 8 ? 0 : 508));
}

static long use(unsigned int sel)
{
	const struct trap_frame *f = &pvg_caught.f;

	if (!pvg_try3(pvg_load_ds, sel, 0, 0))
		return 0;
	extra = pvg_mix(extra, f->vector << 32 ^ f->error);
	if (f->vector == 14)
		extra = pvg_mix(extra, pvg_caught.cr2 - pvg_window);
	SAY(" %s %lx %lx", pvg_vector_name((unsigned int)f->vector), f->error,
	    f->vector == 14 ? pvg_caught.cr2 - pvg_window : 0);
	return f->vector == 14 ? -14 : -3;
}

static long one(void)
{
	unsigned int i = (unsigned int)(pvg_rnd() % 4), k = (unsigned int)(pvg_rnd() % 3),
		     n = (unsigned int)(pvg_rnd() % 4), s = where();
	u64 d = descriptor(), va = pvg_window + k * PAGE_SIZE, frames[2];
	long r;

	switch (pvg_rnd() % 16) {
	case 0:
		SAY("p%d %s", i, n ? "read-only" : "writable");
		return n ? pvg_set_ro(pvg_pool[i]) : pvg_set_rw(pvg_pool[i]);
	case 1:
	case 2:
		SAY("window %d = p%d %s", k, i,
		    n == 0   ? "writable"
		    : n == 1 ? "none"
			     : "read-only");
		return pvg_map((void *)va,
			       n == 1 ? 0 : pvg_pool_mfn[i] << 12 | (n == 0 ? PTE_KERN : PTE_P));
	case 3:
	case 4:
		SAY("descriptor p%d[%d] = %lx", i, s, d);
		return HC2(update_descriptor, (pvg_pool_mfn[i] << 12) + s * 8, d);
	case 5:
		SAY("store p%d[%d] = %lx", i, s, d);
		pvg_invlpg(pvg_pool[i]);
		return pvg_try3(poke, (u64)&pvg_pool[i][s], d, 0) ? -14 : 0;
	case 6:
	case 7: {
		static const u16 ents[] = {512, 512, 1024, 1536, 0, 4, 1, 8192, 8193};
		unsigned int e = PICK(ents);

		SAY("LDT of %d at window %d", e, k);
		return pvg_mmuext(MMUEXT_SET_LDT, va + (pvg_rnd() % 8 ? 0 : 8), e);
	}
	case 8:
	case 9:
	case 10:
		s += k * 512;
		SAY("use LDT %d", s);
		return use(s * 8 | 4 | n);
	case 11:
		frames[0] = pvg_pool_mfn[i];
		frames[1] = pvg_pool_mfn[(i + k) % 4];
		SAY("GDT of %d: p%d p%d", n * 256, i, (i + k) % 4);
		return HC2(set_gdt, frames, n * 256);
	case 12:
		SAY("use GDT %d", s);
		return use(s * 8 | n);
	case 13:
		SAY("pin p%d L%d", i, n + 1);
		return pvg_mmuext(MMUEXT_PIN_L1_TABLE + n, pvg_pool_mfn[i], 0);
	case 14:
		SAY("unpin p%d", i);
		return pvg_mmuext(MMUEXT_UNPIN_TABLE, pvg_pool_mfn[i], 0);
	default:
		SAY("clear p%d, store by a call", i);
		r = n ? pvg_mmu_update((pvg_pool_mfn[i] << 12) + s * 8, n == 1 ? d : 0)
		      : pvg_mmuext(MMUEXT_CLEAR_PAGE, pvg_pool_mfn[i], 0);
		return r;
	}
}

static u64 state(void)
{
	u64 sum = extra;

	for (unsigned int i = 0; i < 4; i++) {
		for (unsigned int s = 0; s < 4; s++)
			sum = pvg_mix(sum, pvg_pool[i][s]);
		sum = pvg_mix(sum, pvg_pool[i][508]);
	}
	return sum;
}

void guest_main(void)
{
	pvg_events_init();
	pvg_traps_init();
	pvg_pool_init();
	for (unsigned int walk = 0; walk < WALKS; walk++) {
		pvg_seed(walk + 4000);
		extra = 0;
		printf("walk %d\n", walk);
		pvg_walk(walk, STEPS, one, state);
		printf("clean: %d\n", pvg_pool_clean());
	}
}
