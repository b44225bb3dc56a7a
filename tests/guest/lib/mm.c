/* SPDX-License-Identifier: MIT */
/*
 * Page tables as the builder left them: pfn n is mapped at PVG_BASE + n * 4096, and so are the page
 * tables themselves (read-only). mfn and pfn need not be equal: always go through the lists.
 */
#include "pvg.h"

#define BASE ((u64)pvg_image)

u64 pvg_mfn_of_pfn(u64 pfn)
{
	return ((const u64 *)start_info->mfn_list)[pfn];
}

u64 pvg_pfn_of_mfn(u64 mfn)
{
	return machine_to_phys_mapping[mfn];
}

void *pvg_va_of_pfn(u64 pfn)
{
	return (void *)(BASE + (pfn << 12));
}

u64 pvg_pfn_of(const void *va)
{
	return ((u64)va - BASE) >> 12;
}

u64 pvg_mfn_of(const void *va)
{
	return pvg_mfn_of_pfn(pvg_pfn_of(va));
}

void *pvg_va_of_mfn(u64 mfn)
{
	return pvg_va_of_pfn(pvg_pfn_of_mfn(mfn));
}

u64 pvg_root_mfn(void)
{
	return pvg_mfn_of((void *)start_info->pt_base);
}

u64 *pvg_entry(u64 va, int level)
{
	u64 *table = (u64 *)start_info->pt_base;

	for (int l = 4; l > level; l--) {
		u64 e = table[(va >> (12 + 9 * (l - 1))) & 511];

		if (!(e & PTE_P) || (e & PTE_PS && l < 4))
			return NULL;
		table = pvg_va_of_mfn((e & PTE_ADDR) >> 12);
	}
	return &table[(va >> (12 + 9 * (level - 1))) & 511];
}

u64 pvg_entry_maddr(u64 va, int level)
{
	u64 *e = pvg_entry(va, level);

	return e ? (pvg_mfn_of(e) << 12) + ((u64)e & 4095) : 0;
}

void *pvg_pages_alloc(unsigned int n)
{
	static u64 next;
	u8 *p;

	if (!next)
		next = start_info->pt_base + start_info->nr_pt_frames * PAGE_SIZE;
	for (unsigned int i = 0; i < n; i++) {
		u64 *e = pvg_entry(next + i * PAGE_SIZE, 1);

		if (!e || !(*e & PTE_P))
			return NULL;
	}
	p = (u8 *)next;
	next += n * PAGE_SIZE;
	memset(p, 0, n * PAGE_SIZE);
	return p;
}

void *pvg_page_alloc(void)
{
	return pvg_pages_alloc(1);
}

long pvg_mmu_update(u64 ptr, u64 val)
{
	struct mmu_update u = {.ptr = ptr, .val = val};

	return HC4(mmu_update, &u, 1, 0, DOMID_SELF);
}

long pvg_map(void *va, u64 pte)
{
	return HC3(update_va_mapping, va, pte, UVMF_INVLPG);
}

long pvg_mmuext(unsigned int cmd, u64 arg1, u64 arg2)
{
	struct mmuext_op op = {.cmd = cmd};

	op.arg1.mfn = arg1;
	memcpy(&op.arg2, &arg2, sizeof(arg2)); /* a count, a frame or a pointer */
	return HC4(mmuext_op, &op, 1, 0, DOMID_SELF);
}

long pvg_set_ro(void *va)
{
	return pvg_map(va, *pvg_entry((u64)va, 1) & ~PTE_RW);
}

long pvg_set_rw(void *va)
{
	return pvg_map(va, *pvg_entry((u64)va, 1) | PTE_RW);
}

long pvg_pin(unsigned int level, const void *table)
{
	return pvg_mmuext(MMUEXT_PIN_L1_TABLE + level - 1, pvg_mfn_of(table), 0);
}

long pvg_unpin(const void *table)
{
	return pvg_mmuext(MMUEXT_UNPIN_TABLE, pvg_mfn_of(table), 0);
}

void *pvg_edge_alloc(void)
{
	u8 *two = pvg_pages_alloc(2);

	pvg_map(two + PAGE_SIZE, 0);
	return two + PAGE_SIZE;
}

void *pvg_page_alloc_ro(void)
{
	void *page = pvg_page_alloc();

	pvg_set_ro(page);
	return page;
}
