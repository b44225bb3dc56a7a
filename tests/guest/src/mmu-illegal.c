/* SPDX-License-Identifier: MIT */
/* mmu_update and update_va_mapping: what is refused, with which errno, and what is left behind. */
#include "pvg.h"

static u8 *data, *other, *slot; /* three ordinary pages; slot's PTE is the one played with */
static u64 slot_pte;		/* machine address of that PTE */
static u64 mfn_data, mfn_other;

static u64 flags_of(u64 *e)
{
	return *e & ~PTE_ADDR;
}

static long set(u64 val)
{
	return pvg_mmu_update(slot_pte, val);
}

static long update(u64 ptr, u64 val, unsigned int dom)
{
	struct mmu_update u = {.ptr = ptr, .val = val};

	return HC4(mmu_update, &u, 1, 0, dom);
}

static void flags(void)
{
	u64 *e = pvg_entry((u64)slot, 1);

	R("P", set(mfn_data << 12 | PTE_P));
	printf("  then flags %lx\n", flags_of(e));
	R("P RW", set(mfn_data << 12 | PTE_P | PTE_RW));
	printf("  then flags %lx\n", flags_of(e));
	R("P RW US", set(mfn_data << 12 | PTE_P | PTE_RW | PTE_US));
	printf("  then flags %lx\n", flags_of(e));
	R("P RW G", set(mfn_data << 12 | PTE_P | PTE_RW | PTE_G));
	printf("  then flags %lx\n", flags_of(e));
	R("P RW US G", set(mfn_data << 12 | PTE_P | PTE_RW | PTE_US | PTE_G));
	printf("  then flags %lx\n", flags_of(e));
	R("P RW PWT PCD", set(mfn_data << 12 | PTE_P | PTE_RW | PTE_PWT | PTE_PCD));
	printf("  then flags %lx\n", flags_of(e));
	R("P RW PAT", set(mfn_data << 12 | PTE_P | PTE_RW | PTE_PS));
	printf("  then flags %lx\n", flags_of(e));
	R("P RW avail bits 9-11", set(mfn_data << 12 | PTE_P | PTE_RW | 0xe00));
	printf("  then flags %lx\n", flags_of(e));
	R("P RW bit 52", set(mfn_data << 12 | PTE_P | PTE_RW | 1ul << 52));
	printf("  then flags %lx\n", flags_of(e));
	R("P RW bit 58", set(mfn_data << 12 | PTE_P | PTE_RW | 1ul << 58));
	R("P RW bit 61", set(mfn_data << 12 | PTE_P | PTE_RW | 1ul << 61));
	R("P RW bit 62", set(mfn_data << 12 | PTE_P | PTE_RW | 1ul << 62));
	printf("  then flags %lx\n", flags_of(e));
	R("P RW NX", set(mfn_data << 12 | PTE_P | PTE_RW | PTE_NX));
	printf("  then flags %lx\n", flags_of(e));
	R("not present, junk", set(0x7fffffffff000 | 0x7e));
	printf("  then %lx\n", *e);
	R("not present, bit 62", set(1ul << 62));
	printf("  then %lx\n", *e);
	R("zero", set(0));
}

static void frames(void)
{
	u64 l1 = pvg_entry_maddr((u64)slot, 1) >> 12;
	u64 l2 = pvg_entry_maddr((u64)slot, 2) >> 12;

	R("frame beyond all memory", set(0x3ffffffful << 12 | PTE_KERN));
	R("frame 2^40-1", set(0xfffffffffful << 12 | PTE_KERN));
	R("its own L1 table, read-only", set(l1 << 12 | PTE_P));
	R("its own L1 table, writable", set(l1 << 12 | PTE_KERN));
	R("its L2 table, writable", set(l2 << 12 | PTE_KERN));
	R("the root, writable", set(pvg_root_mfn() << 12 | PTE_KERN));
	R("the root, read-only", set(pvg_root_mfn() << 12 | PTE_P));
	R("shared_info, writable", set(start_info->shared_info | PTE_KERN));
	R("shared_info, read-only", set(start_info->shared_info | PTE_P));
	R("put the data page back", set(mfn_data << 12 | PTE_KERN));
}

static void pointers(void)
{
	u64 e = slot_pte;

	R("command 3", update(e | 3, mfn_data << 12 | PTE_KERN, DOMID_SELF));
	R("ptr not a multiple of 8", update(e | 4, mfn_data << 12 | PTE_KERN, DOMID_SELF));
	R("ptr beyond all memory", update(0x3ffffffful << 12, 0, DOMID_SELF));
	R("ptr in an ordinary page", update((mfn_other << 12) + 8, 0x1234567890, DOMID_SELF));
	printf("  the word became %lx\n", ((u64 *)other)[1]);
	R("ptr in an ordinary page, a bad PTE",
	  update((mfn_other << 12) + 16, 0xffffffffff00f, DOMID_SELF));
	printf("  the word became %lx\n", ((u64 *)other)[2]);
	R("ptr in shared_info", update(start_info->shared_info + 4088, 0, DOMID_SELF));
}

static void domains(void)
{
	u64 v = mfn_data << 12 | PTE_KERN;

	R("domid self", update(slot_pte, v, DOMID_SELF));
	R("domid 0", update(slot_pte, v, 0));
	R("domid 1000, which is nobody", update(slot_pte, v, 1000));
	R("domid IO", update(slot_pte, v, DOMID_IO));
	R("domid IO, frame 0xb8", update(slot_pte, 0xb8000 | PTE_KERN, DOMID_IO));
	R("domid XEN", update(slot_pte, v, DOMID_XEN));
	R("domid INVALID", update(slot_pte, v, DOMID_INVALID));
	R("domid COW", update(slot_pte, v, DOMID_COW));
	R("domid IDLE", update(slot_pte, v, DOMID_IDLE));
	R("page-table domain 1 + 1000", update(slot_pte, v, (1001u << 16) | DOMID_SELF));
	R("page-table domain 1 + 0", update(slot_pte, v, (1u << 16) | DOMID_SELF));
	R("page-table domain 1 + self",
	  update(slot_pte, v, ((DOMID_SELF + 1u) << 16) | DOMID_SELF));
}

static void counts(void)
{
	struct mmu_update u[4];
	unsigned int done = 77;

	for (int i = 0; i < 4; i++) {
		u[i].ptr = slot_pte;
		u[i].val = mfn_data << 12 | PTE_KERN;
	}
	R("count 0", HC4(mmu_update, u, 0, &done, DOMID_SELF));
	printf("  done %d\n", done);
	R("count 4", HC4(mmu_update, u, 4, &done, DOMID_SELF));
	printf("  done %d\n", done);
	u[2].val = 0x3ffffffful << 12 | PTE_KERN;
	done = 77;
	R("count 4, the third bad", HC4(mmu_update, u, 4, &done, DOMID_SELF));
	printf("  done %d\n", done);
	R("count 4, requests at a bad pointer",
	  HC4(mmu_update, 0x600000000000, 4, &done, DOMID_SELF));
	printf("  done %d\n", done);
	R("requests at Xen's memory", HC4(mmu_update, 0xffff82d040200000, 1, 0, DOMID_SELF));
	R("requests at a non-canonical pointer", HC4(mmu_update, 1ul << 63, 1, 0, DOMID_SELF));
	R("done at a bad pointer", HC4(mmu_update, u, 1, 0x600000000000, DOMID_SELF));
	R("count 2^31 (the flag for a continuation), done not given",
	  HC4(mmu_update, u, 1u << 31, 0, DOMID_SELF));
	R("count 2^31-1, requests end in a hole",
	  HC4(mmu_update, 0x600000000000, 0x7fffffff, 0, DOMID_SELF));
}

static void preserve(void)
{
	u64 *e = pvg_entry((u64)slot, 1);

	set(mfn_data << 12 | PTE_KERN);
	R("MMU_PT_UPDATE_PRESERVE_AD without A, D",
	  pvg_mmu_update(slot_pte | MMU_PT_UPDATE_PRESERVE_AD, mfn_data << 12 | PTE_P | PTE_RW));
	printf("  then flags %lx\n", flags_of(e));
	R("same, another frame",
	  pvg_mmu_update(slot_pte | MMU_PT_UPDATE_PRESERVE_AD, mfn_other << 12 | PTE_P | PTE_RW));
	printf("  then flags %lx, the other frame: %d\n", flags_of(e),
	       (*e & PTE_ADDR) >> 12 == mfn_other);
	R("same, not present", pvg_mmu_update(slot_pte | MMU_PT_UPDATE_PRESERVE_AD, 0));
	printf("  then %lx\n", *e);
	R("PT_UPDATE_NO_TRANSLATE", pvg_mmu_update(slot_pte | 3, mfn_data << 12 | PTE_KERN));
	set(mfn_data << 12 | PTE_KERN);
}

static void machphys(void)
{
	u64 pfn = pvg_pfn_of(data);

	R("MACHPHYS of own frame", pvg_mmu_update((mfn_data << 12) | MMU_MACHPHYS_UPDATE, 0x12345));
	printf("  M2P says %lx\n", machine_to_phys_mapping[mfn_data]);
	R("MACHPHYS to ~0", pvg_mmu_update((mfn_data << 12) | MMU_MACHPHYS_UPDATE, ~0ul));
	printf("  M2P says %lx\n", machine_to_phys_mapping[mfn_data]);
	R("MACHPHYS back", pvg_mmu_update((mfn_data << 12) | MMU_MACHPHYS_UPDATE, pfn));
	R("MACHPHYS of a page table", pvg_mmu_update((pvg_root_mfn() << 12) | MMU_MACHPHYS_UPDATE,
						     pvg_pfn_of((void *)start_info->pt_base)));
	R("MACHPHYS of shared_info",
	  pvg_mmu_update(start_info->shared_info | MMU_MACHPHYS_UPDATE, 5));
	R("MACHPHYS beyond all memory",
	  pvg_mmu_update((0x3ffffffful << 12) | MMU_MACHPHYS_UPDATE, 5));
	R("MACHPHYS with an offset in the page",
	  pvg_mmu_update((mfn_data << 12) | 0x120 | MMU_MACHPHYS_UPDATE, pfn));
}

static void va_mapping(void)
{
	u64 v = mfn_data << 12 | PTE_KERN, bitmap = 1, *e = pvg_entry((u64)slot, 1);
	static const unsigned long fl[] = {
		UVMF_NONE,
		UVMF_TLB_FLUSH | UVMF_LOCAL,
		UVMF_TLB_FLUSH | UVMF_ALL,
		UVMF_INVLPG | UVMF_LOCAL,
		UVMF_INVLPG | UVMF_ALL,
		3,
		3 | UVMF_ALL,
		UVMF_NONE | UVMF_ALL,
		1ul << 40 | UVMF_INVLPG,
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(fl); i++) {
		long r = HC3(update_va_mapping, slot, v, fl[i]);

		printf("update_va_mapping flags %lx: %le\n", fl[i], r);
	}
	R("flags: TLB flush, vCPU bitmap",
	  HC3(update_va_mapping, slot, v, (u64)&bitmap | UVMF_TLB_FLUSH));
	R("flags: INVLPG, vCPU bitmap",
	  HC3(update_va_mapping, slot, v, (u64)&bitmap | UVMF_INVLPG));
	R("flags: INVLPG, bitmap at a bad pointer",
	  HC3(update_va_mapping, slot, v, 0x600000000000 | UVMF_INVLPG));
	R("P only", HC3(update_va_mapping, slot, mfn_data << 12 | PTE_P, UVMF_INVLPG));
	printf("  then flags %lx\n", flags_of(e));
	R("P RW", HC3(update_va_mapping, slot, mfn_data << 12 | PTE_P | PTE_RW, UVMF_INVLPG));
	printf("  then flags %lx\n", flags_of(e));
	R("va with an offset in the page", HC3(update_va_mapping, slot + 0x123, v, UVMF_INVLPG));
	R("va without an L1 table", HC3(update_va_mapping, 0x600000000000, v, UVMF_INVLPG));
	R("va without an L1 table, PTE 0", HC3(update_va_mapping, 0x600000000000, 0, UVMF_INVLPG));
	R("va of the M2P", HC3(update_va_mapping, 0xffff800000000000, v, UVMF_INVLPG));
	R("va in Xen", HC3(update_va_mapping, 0xffff82d040200000, v, UVMF_INVLPG));
	R("va not canonical", HC3(update_va_mapping, 1ul << 63, v, UVMF_INVLPG));
	R("bad frame", HC3(update_va_mapping, slot, 0x3ffffffful << 12 | PTE_KERN, UVMF_INVLPG));
	R("a page table, writable",
	  HC3(update_va_mapping, slot, pvg_root_mfn() << 12 | PTE_KERN, UVMF_INVLPG));
	R("unmap", HC3(update_va_mapping, slot, 0, UVMF_INVLPG));
	R("unmap again", HC3(update_va_mapping, slot, 0, UVMF_INVLPG));
	R("otherdomain, self",
	  HC4(update_va_mapping_otherdomain, slot, v, UVMF_INVLPG, DOMID_SELF));
	R("otherdomain, 0", HC4(update_va_mapping_otherdomain, slot, v, UVMF_INVLPG, 0));
	R("otherdomain, nobody", HC4(update_va_mapping_otherdomain, slot, v, UVMF_INVLPG, 1000));
	R("map again", HC3(update_va_mapping, slot, v, UVMF_INVLPG));
}

void guest_main(void)
{
	pvg_events_init();
	pvg_traps_init();
	data = pvg_page_alloc();
	other = pvg_page_alloc();
	slot = pvg_page_alloc();
	mfn_data = pvg_mfn_of(data);
	mfn_other = pvg_mfn_of(other);
	slot_pte = pvg_entry_maddr((u64)slot, 1);
	printf("flags of the builder's PTEs: data %lx, page table %lx, L2 %lx L3 %lx L4 %lx\n",
	       flags_of(pvg_entry((u64)slot, 1)), flags_of(pvg_entry(start_info->pt_base, 1)),
	       flags_of(pvg_entry((u64)slot, 2)), flags_of(pvg_entry((u64)slot, 3)),
	       flags_of(pvg_entry((u64)slot, 4)));
	flags();
	frames();
	pointers();
	domains();
	counts();
	preserve();
	machphys();
	va_mapping();
}
