/* SPDX-License-Identifier: MIT */
/*
 * A small pool of pages for walks over the MMU interface, and a window: an L1 table of its own in
 * which they can be mapped. Answers then depend on what was done, not on the host.
 */
#include "pvg.h"

u64 *pvg_pool[PVG_POOL], pvg_pool_mfn[PVG_POOL], pvg_window, pvg_window_mfn;
u64 *pvg_window_l1;

void pvg_pool_init(void)
{
	u64 *l2;

	pvg_window_l1 = pvg_page_alloc();
	pvg_window_mfn = pvg_mfn_of(pvg_window_l1);
	for (int i = 0; i < PVG_POOL; i++) {
		pvg_pool[i] = pvg_page_alloc();
		pvg_pool_mfn[i] = pvg_mfn_of(pvg_pool[i]);
	}
	l2 = pvg_entry((u64)pvg_image, 2);
	l2 -= ((u64)l2 & 4095) / 8;
	pvg_window = ((u64)pvg_image & ~((1ul << 30) - 1)) + (300ul << 21);
	pvg_set_ro(pvg_window_l1);
	pvg_mmu_update((pvg_mfn_of(l2) << 12) + 300 * 8, pvg_window_mfn << 12 | PTE_KERN);
}

u64 pvg_pool_frame(const char **name)
{
	static const char *const names[PVG_POOL] = {"p0", "p1", "p2", "p3", "p4",
						    "p5", "p6", "p7", "p8", "p9"};
	unsigned int i = (unsigned int)(pvg_rnd() % (PVG_POOL + 4));

	if (i < PVG_POOL) {
		*name = names[i];
		return pvg_pool_mfn[i];
	}
	switch (i - PVG_POOL) {
	case 0:
		*name = "window";
		return pvg_window_mfn;
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

u64 pvg_pool_flags(void)
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

	return f[pvg_rnd() % (pvg_rnd() % 4 ? 6 : ARRAY_SIZE(f))];
}

unsigned int pvg_pool_slot(void)
{
	static const u16 s[] = {0, 1, 2, 3, 255, 256, 258, 271, 272, 511};

	return s[pvg_rnd() % (pvg_rnd() % 4 ? 3 : ARRAY_SIZE(s))];
}

u64 pvg_pool_contents(void)
{
	u64 sum = 0;

	for (unsigned int i = 0; i < PVG_POOL; i++) {
		for (unsigned int s = 0; s < 512; s++) {
			u64 e = pvg_pool[i][s], m = (e & PTE_ADDR) >> 12, k;

			if (!e || (s >= 256 && s <= 271))
				continue; /* Xen's own */
			for (k = 0; k < PVG_POOL && pvg_pool_mfn[k] != m; k++)
				;
			sum = pvg_mix(sum, (e & ~PTE_ADDR & ~(PTE_A | PTE_D)) ^ k << 20 ^
						   (u64)s << 30 ^ (u64)i << 40);
		}
	}
	return sum;
}

bool pvg_pool_clean(void)
{
	pvg_mmuext(MMUEXT_NEW_USER_BASEPTR, 0, 0);
	pvg_mmuext(MMUEXT_SET_LDT, 0, 0);
	HC2(set_gdt, 0, 0);
	for (unsigned int s = 0; s < 512; s++)
		pvg_map((void *)(pvg_window + s * PAGE_SIZE), 0);
	for (int round = 0; round < 6; round++) {
		for (unsigned int i = 0; i < PVG_POOL; i++)
			pvg_mmuext(MMUEXT_UNPIN_TABLE, pvg_pool_mfn[i], 0);
		for (unsigned int i = 0; i < PVG_POOL; i++) {
			static const u16 s[] = {0,   1,	  2,   3,   255, 272, 511,
						253, 254, 273, 274, 509, 510, 257};

			for (unsigned int k = 0; k < ARRAY_SIZE(s); k++)
				pvg_mmu_update((pvg_pool_mfn[i] << 12) + s[k] * 8, 0);
		}
	}
	for (unsigned int i = 0; i < PVG_POOL; i++) {
		if (pvg_mmuext(MMUEXT_CLEAR_PAGE, pvg_pool_mfn[i], 0) || pvg_set_rw(pvg_pool[i]))
			return false;
	}
	return true;
}
