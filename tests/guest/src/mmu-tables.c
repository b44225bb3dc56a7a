/* SPDX-License-Identifier: MIT */
/* Entries of L2, L3 and L4 tables; pins and types of frames; writes to page tables in place. */
#include "pvg.h"

static u64 *table(void)
{
	return pvg_page_alloc();
}

static u64 m(const void *p)
{
	return pvg_mfn_of(p) << 12;
}

static u64 *root;

static long set4(unsigned int i, u64 val)
{
	return pvg_mmu_update((pvg_root_mfn() << 12) + i * 8, val);
}

static void pins(void)
{
	u64 *t = table(), *d = table();

	R("pin L1, mapped writable", pvg_pin(1, t));
	R("make it read-only", pvg_set_ro(t));
	R("pin L1, empty, read-only", pvg_pin(1, t));
	R("pin L1 again", pvg_pin(1, t));
	R("pin L2 of a pinned L1", pvg_pin(2, t));
	R("map it writable", pvg_set_rw(t));
	R("unpin", pvg_unpin(t));
	R("unpin again", pvg_unpin(t));
	R("pin L2 of a former L1", pvg_pin(2, t));
	R("unpin", pvg_unpin(t));
	R("map it writable", pvg_set_rw(t));
	R("unpin an ordinary page", pvg_unpin(d));
	R("pin L1, no such frame", pvg_mmuext(MMUEXT_PIN_L1_TABLE, 0x3fffffff, 0));
	R("unpin, no such frame", pvg_mmuext(MMUEXT_UNPIN_TABLE, 0x3fffffff, 0));
	R("pin L4 of the running root", pvg_mmuext(MMUEXT_PIN_L4_TABLE, pvg_root_mfn(), 0));
	R("pin L1 of the running root", pvg_mmuext(MMUEXT_PIN_L1_TABLE, pvg_root_mfn(), 0));
	R("pin L1 of shared_info",
	  pvg_mmuext(MMUEXT_PIN_L1_TABLE, start_info->shared_info >> 12, 0));
	t[3] = 0x3ffffffful << 12 | PTE_KERN;
	pvg_set_ro(t);
	R("pin L1 with a bad frame in it", pvg_pin(1, t));
	pvg_set_rw(t);
	t[3] = m(d) | PTE_KERN | 1ul << 62;
	pvg_set_ro(t);
	R("pin L1 with bit 62 set", pvg_pin(1, t));
	R("unpin", pvg_unpin(t));
	pvg_set_rw(t);
	t[3] = m(t) | PTE_KERN;
	pvg_set_ro(t);
	R("pin L1 that maps itself writable", pvg_pin(1, t));
	pvg_set_rw(t);
	t[3] = m(t) | PTE_P;
	pvg_set_ro(t);
	R("pin L1 that maps itself read-only", pvg_pin(1, t));
	R("unpin", pvg_unpin(t));
	pvg_set_rw(t);
	t[3] = m(d) | PTE_P | PTE_RW;
	t[4] = 0x7ffffffff000 | 0x10;
	pvg_set_ro(t);
	R("pin L1 that maps data, and holds junk", pvg_pin(1, t));
	printf("  flags became %lx, the junk %lx\n", t[3] & ~PTE_ADDR, t[4]);
	R("pin L1 of the page it maps writable", pvg_pin(1, d));
	R("give the data page read-only in the builder's map", pvg_set_ro(d));
	R("pin L1 of the page still mapped by the other", pvg_pin(1, d));
	R("unpin", pvg_unpin(t));
	R("pin L1 of the page now", pvg_pin(1, d));
	R("unpin", pvg_unpin(d));
	pvg_set_rw(d);
	pvg_set_rw(t);
	t[3] = t[4] = 0;
}

static const char *whose(u64 e)
{
	return e == 0x1234000 ? "as it was" : e ? "Xen's" : "zero";
}

/* A tree l4 -> l3 -> l2 -> l1 that grows from the leaves. */
static void levels(void)
{
	u64 *l1 = table(), *l2 = table(), *l3 = table(), *l4 = table(), *x = table();

	l2[0] = m(l1) | PTE_KERN;
	pvg_set_ro(l2);
	R("pin L2 whose L1 is mapped writable", pvg_pin(2, l2));
	pvg_set_ro(l1);
	R("pin L2 whose L1 is fit", pvg_pin(2, l2));
	printf("  flags became %lx\n", l2[0] & ~PTE_ADDR);
	R("map that L1 writable", pvg_set_rw(l1));
	R("pin that L1", pvg_pin(1, l1));
	R("unpin that L1", pvg_unpin(l1));
	R("L2 entry: bit 7 (2 MiB)", pvg_mmu_update(m(l2) + 8, m(x) | PTE_KERN | PTE_PS));
	R("L2 entry: an ordinary writable page", pvg_mmu_update(m(l2) + 8, m(x) | PTE_KERN));
	R("L2 entry: itself, writable", pvg_mmu_update(m(l2) + 8, m(l2) | PTE_KERN));
	R("L2 entry: itself, read-only", pvg_mmu_update(m(l2) + 8, m(l2) | PTE_P));
	R("L2 entry: cleared", pvg_mmu_update(m(l2) + 8, 0));
	R("L2 entry: no such frame", pvg_mmu_update(m(l2) + 8, 0x3ffffffful << 12 | PTE_KERN));
	R("L2 entry: same L1 again", pvg_mmu_update(m(l2) + 8, m(l1) | PTE_KERN));
	R("L2 entry: NX", pvg_mmu_update(m(l2) + 8, m(l1) | PTE_KERN | PTE_NX));
	printf("  flags became %lx\n", l2[1] & ~PTE_ADDR);
	R("L2 entry: read-only", pvg_mmu_update(m(l2) + 8, m(l1) | PTE_P));
	printf("  flags became %lx\n", l2[1] & ~PTE_ADDR);
	R("L2 entry: bit 8", pvg_mmu_update(m(l2) + 8, m(l1) | PTE_KERN | PTE_G));
	R("L2 entry: avail bits", pvg_mmu_update(m(l2) + 8, m(l1) | PTE_KERN | 0xe00));
	R("L2 entry: PWT PCD", pvg_mmu_update(m(l2) + 8, m(l1) | PTE_KERN | PTE_PWT | PTE_PCD));
	R("L2 entry: bit 52", pvg_mmu_update(m(l2) + 8, m(l1) | PTE_KERN | 1ul << 52));
	R("L2 entry: bit 62", pvg_mmu_update(m(l2) + 8, m(l1) | PTE_KERN | 1ul << 62));
	R("L2 entry: the running root", pvg_mmu_update(m(l2) + 8, pvg_root_mfn() << 12 | PTE_KERN));
	R("L2 entry: not present, junk", pvg_mmu_update(m(l2) + 8, 0x123450));
	printf("  the word became %lx\n", l2[1]);
	R("PRESERVE_AD on an L2 entry",
	  pvg_mmu_update((m(l2) + 8) | MMU_PT_UPDATE_PRESERVE_AD, m(l1) | PTE_P | PTE_RW));

	l3[0] = m(l2) | PTE_KERN;
	l3[511] = m(l2) | PTE_KERN;
	pvg_set_ro(l3);
	R("pin L3", pvg_pin(3, l3));
	printf("  flags became %lx\n", l3[0] & ~PTE_ADDR);
	R("L3 entry: an L1", pvg_mmu_update(m(l3) + 8, m(l1) | PTE_KERN));
	R("L3 entry: bit 7 (1 GiB)", pvg_mmu_update(m(l3) + 8, m(l2) | PTE_KERN | PTE_PS));
	R("L3 entry: bit 8", pvg_mmu_update(m(l3) + 8, m(l2) | PTE_KERN | PTE_G));
	R("L3 entry: itself, read-only", pvg_mmu_update(m(l3) + 8, m(l3) | PTE_P));
	R("L3 entry: itself, writable", pvg_mmu_update(m(l3) + 8, m(l3) | PTE_KERN));
	R("L3 entry: cleared", pvg_mmu_update(m(l3) + 8, 0));
	R("unpin L2", pvg_unpin(l2));
	R("pin L1 of an L2 in use", pvg_pin(1, l2));
	R("pin L2 in use", pvg_pin(2, l2));

	l4[0] = m(l3) | PTE_KERN;
	l4[256] = 0x1234000;
	pvg_set_ro(l4);
	R("pin L4", pvg_pin(4, l4));
	printf("  flags became %lx, slot 256 %s\n", l4[0] & ~PTE_ADDR, whose(l4[256]));
	R("pin L4 again", pvg_pin(4, l4));
	R("L4 entry 1: the L3", pvg_mmu_update(m(l4) + 8, m(l3) | PTE_KERN));
	R("L4 entry 1: bit 7", pvg_mmu_update(m(l4) + 8, m(l3) | PTE_KERN | PTE_PS));
	R("L4 entry 1: bit 8", pvg_mmu_update(m(l4) + 8, m(l3) | PTE_KERN | PTE_G));
	R("L4 entry 1: an L2", pvg_mmu_update(m(l4) + 8, m(l2) | PTE_KERN));
	R("L4 entry 1: itself, writable", pvg_mmu_update(m(l4) + 8, m(l4) | PTE_KERN));
	R("L4 entry 1: itself, read-only", pvg_mmu_update(m(l4) + 8, m(l4) | PTE_P));
	R("L4 entry 2: the running root, read-only",
	  pvg_mmu_update(m(l4) + 16, pvg_root_mfn() << 12 | PTE_P));
	R("L4 entry 1: cleared", pvg_mmu_update(m(l4) + 8, 0));
	R("L4 entry 2: cleared", pvg_mmu_update(m(l4) + 16, 0));
	for (unsigned int i = 254; i <= 273; i++) {
		long r = pvg_mmu_update(m(l4) + i * 8, m(l3) | PTE_KERN);

		printf("L4 entry %d: %le\n", i, r);
	}
	R("L4 entry 256: 0", pvg_mmu_update(m(l4) + 256 * 8, 0));
	R("L4 entry 511", pvg_mmu_update(m(l4) + 511 * 8, m(l3) | PTE_KERN));
	R("L4: NX, read-only", pvg_mmu_update(m(l4) + 511 * 8, m(l3) | PTE_P | PTE_NX));
	printf("  flags became %lx\n", l4[511] & ~PTE_ADDR);
	R("unpin L4", pvg_unpin(l4));
	R("unpin L3", pvg_unpin(l3));
	R("unpin L2", pvg_unpin(l2));
	R("all free again: L1", pvg_set_rw(l1));
	R("L2", pvg_set_rw(l2));
	R("L3", pvg_set_rw(l3));
	R("L4", pvg_set_rw(l4));
	printf("L4 slot 256 after unpin %s, slot 261 %s\n", whose(l4[256]), whose(l4[261]));
}

static void running_root(void)
{
	u64 *l3 = table();

	printf("slots 256-271 of the running root:");
	for (unsigned int i = 256; i < 272; i++)
		printf(" %s", root[i] & PTE_P ? root[i] & PTE_US ? "user" : "yes" : "-");
	printf("\n");
	R("root slot 300: root itself, read-only", set4(300, pvg_root_mfn() << 12 | PTE_P));
	printf("  the linear map shows the root: %d\n",
	       *(volatile u64 *)(0xffff000000000000 | 300ul << 39 | 300ul << 30 | 300ul << 21 |
				 300ul << 12 | 300 * 8) == root[300]);
	R("root slot 300: writable", set4(300, pvg_root_mfn() << 12 | PTE_KERN));
	R("root slot 300: cleared", set4(300, 0));
	R("root slot 256", set4(256, 0));
	R("root slot 258", set4(258, pvg_root_mfn() << 12 | PTE_P));
	R("root slot 300: a writable page", set4(300, m(l3) | PTE_KERN));
	pvg_set_ro(l3);
	R("root slot 300: an empty L3", set4(300, m(l3) | PTE_KERN));
	R("  that L3 mapped writable", pvg_set_rw(l3));
	R("root slot 300: cleared", set4(300, 0));
	R("  that L3 mapped writable", pvg_set_rw(l3));
}

static void bases(void)
{
	u64 *l4 = table(), *l1 = table();

	R("NEW_BASEPTR: the same", pvg_mmuext(MMUEXT_NEW_BASEPTR, pvg_root_mfn(), 0));
	R("NEW_BASEPTR: a writable page", pvg_mmuext(MMUEXT_NEW_BASEPTR, pvg_mfn_of(l4), 0));
	R("NEW_BASEPTR: no such frame", pvg_mmuext(MMUEXT_NEW_BASEPTR, 0x3fffffff, 0));
	R("NEW_BASEPTR: 0", pvg_mmuext(MMUEXT_NEW_BASEPTR, 0, 0) ? -1 : 0);
	pvg_set_ro(l1);
	pvg_pin(1, l1);
	R("NEW_BASEPTR: an L1", pvg_mmuext(MMUEXT_NEW_BASEPTR, pvg_mfn_of(l1), 0));
	R("NEW_USER_BASEPTR: an L1", pvg_mmuext(MMUEXT_NEW_USER_BASEPTR, pvg_mfn_of(l1), 0));
	pvg_unpin(l1);
	pvg_set_rw(l1);
	R("NEW_USER_BASEPTR: a writable page",
	  pvg_mmuext(MMUEXT_NEW_USER_BASEPTR, pvg_mfn_of(l4), 0));
	R("NEW_USER_BASEPTR: no such frame", pvg_mmuext(MMUEXT_NEW_USER_BASEPTR, 0x3fffffff, 0));
	R("NEW_USER_BASEPTR: 0", pvg_mmuext(MMUEXT_NEW_USER_BASEPTR, 0, 0));
	pvg_set_ro(l4);
	R("NEW_USER_BASEPTR: an empty table, not pinned",
	  pvg_mmuext(MMUEXT_NEW_USER_BASEPTR, pvg_mfn_of(l4), 0));
	R("  map it writable", pvg_set_rw(l4));
	R("NEW_USER_BASEPTR: the same again",
	  pvg_mmuext(MMUEXT_NEW_USER_BASEPTR, pvg_mfn_of(l4), 0));
	R("NEW_USER_BASEPTR: 0", pvg_mmuext(MMUEXT_NEW_USER_BASEPTR, 0, 0));
	R("  map it writable", pvg_set_rw(l4));
	/* switch to a copy of the root and back */
	for (int i = 0; i < 512; i++)
		l4[i] = i >= 256 && i < 272 ? 0 : root[i];
	pvg_set_ro(l4);
	R("NEW_BASEPTR: a copy of the root, not pinned",
	  pvg_mmuext(MMUEXT_NEW_BASEPTR, pvg_mfn_of(l4), 0));
	R("  pin the old root once more", pvg_pin(4, root));
	R("  unpin the old root", pvg_unpin(root));
	R("  pin the old root again", pvg_pin(4, root));
	R("NEW_BASEPTR: back", pvg_mmuext(MMUEXT_NEW_BASEPTR, pvg_mfn_of(root), 0));
	R("  map the copy writable", pvg_set_rw(l4));
}

void guest_main(void)
{
	pvg_events_init();
	pvg_traps_init();
	root = (u64 *)start_info->pt_base;
	pins();
	levels();
	running_root();
	bases();
}
