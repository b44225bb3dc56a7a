/* SPDX-License-Identifier: MIT */
/*
 * Mappings that were changed but not flushed: what must not be reachable through them, and what
 * counts and types do when tables are shared, unlinked, replaced and destroyed in odd orders.
 */
#include "pvg.h"

static u64 m(const void *p)
{
	return pvg_mfn_of(p) << 12;
}
static long quiet(void *va, u64 pte)
{
	return HC3(update_va_mapping, va, pte, UVMF_NONE);
}
static void write8(u64 a, u64 b, u64 c)
{
	*(volatile u64 *)a = b;
}
static bool can_write(void *p, u64 v)
{
	return !pvg_try3(write8, (u64)p, v, 0);
}
static void show_write(const char *name, void *p, u64 v)
{
	if (can_write(p, v))
		printf("%s: done\n", name);
	else
		printf("%s: %s error %lx\n", name,
		       pvg_vector_name((unsigned int)pvg_caught.f.vector), pvg_caught.f.error);
}

/* A stale writable mapping must be gone when the page has become a table. */
static void stale_table(void)
{
	u64 *t = pvg_page_alloc();

	t[0] = 0; /* in the TLB, writable */
	R("read-only without a flush", quiet(t, m(t) | PTE_P));
	R("pin it", pvg_pin(1, t));
	show_write("write through the stale mapping", &t[1], 0x3ffffffful << 12 | PTE_KERN);
	printf("the entry: %lx\n", t[1]);
	R("unpin", pvg_unpin(t));
	R("writable again, without a flush", quiet(t, m(t) | PTE_KERN));
	printf("write: %d\n", can_write(&t[1], 0x10));
}

static void stale_descriptors(void)
{
	u64 *t = pvg_page_alloc(), f = pvg_mfn_of(t);

	t[0] = 0;
	quiet(t, m(t) | PTE_P);
	R("set_gdt", HC2(set_gdt, &f, 512));
	printf("write through the stale mapping: %d\n", can_write(&t[20], 0x0000890000000067));
	HC2(set_gdt, &f, 0);
}

static void stale_freed(void)
{
	u64 *t = pvg_page_alloc(), f = pvg_mfn_of(t);
	struct xen_memory_reservation r = {.nr_extents = 1, .domid = DOMID_SELF};

	t[0] = 1;
	quiet(t, 0);
	set_xen_guest_handle(r.extent_start, &f);
	R("give it back", HC2(memory_op, XENMEM_decrease_reservation, &r));
	can_write(t, 2); /* works or faults: nobody has the frame yet */
}

/* Two L2 entries share an L1; the order of taking them away. */
static void shared_tables(void)
{
	u64 *l1 = pvg_page_alloc(), *l2 = pvg_page_alloc(), *d = pvg_page_alloc();

	l1[0] = m(d) | PTE_KERN;
	pvg_set_ro(l1);
	pvg_set_ro(l2);
	R("pin the L2", pvg_pin(2, l2));
	R("link the L1", pvg_mmu_update(m(l2), m(l1) | PTE_KERN));
	R("link it twice", pvg_mmu_update(m(l2) + 8, m(l1) | PTE_KERN));
	R("pin it too", pvg_pin(1, l1));
	R("data page read-only in the builder's map", pvg_set_ro(d));
	R("pin the data page as L1", pvg_pin(1, d));
	R("unlink once", pvg_mmu_update(m(l2), 0));
	R("pin the data page as L1", pvg_pin(1, d));
	R("unlink twice", pvg_mmu_update(m(l2) + 8, 0));
	R("pin the data page as L1", pvg_pin(1, d));
	R("L1 entry written while only pinned", pvg_mmu_update(m(l1), m(d) | PTE_P));
	R("pin the data page as L1", pvg_pin(1, d));
	R("L1 entry to what is a table now, writable", pvg_mmu_update(m(l1), m(d) | PTE_KERN));
	R("unpin the data page", pvg_unpin(d));
	R("L1 entry writable", pvg_mmu_update(m(l1), m(d) | PTE_KERN));
	R("unpin the L1", pvg_unpin(l1));
	R("pin the data page as L1", pvg_pin(1, d));
	printf("the former L1 still says %lx\n", l1[0] & ~PTE_ADDR);
	R("pin the former L1, its entry refused now", pvg_pin(1, l1));
	R("unpin the data page", pvg_unpin(d));
	R("pin the former L1", pvg_pin(1, l1));
	R("unpin", pvg_unpin(l1));
	R("unpin the L2", pvg_unpin(l2));
	pvg_set_rw(l1);
	pvg_set_rw(l2);
	pvg_set_rw(d);
}

/* A table that fails in its middle leaves no references behind. */
static void half_valid(void)
{
	u64 *l1 = pvg_page_alloc(), *l2 = pvg_page_alloc(), *d = pvg_page_alloc();

	l1[0] = m(d) | PTE_KERN;
	l1[511] = 0x3ffffffful << 12 | PTE_KERN;
	pvg_set_ro(l1);
	R("pin L1 with a bad last entry", pvg_pin(1, l1));
	R("its first page is free of it", (pvg_set_ro(d), pvg_pin(1, d)));
	R("unpin", pvg_unpin(d));
	pvg_set_rw(d);
	l2[0] = m(l1) | PTE_KERN;
	pvg_set_ro(l2);
	R("pin L2 of the bad L1", pvg_pin(2, l2));
	R("the L1 can be mapped writable", pvg_set_rw(l1));
	l1[511] = 0;
	R("pin L2, the L1 mapped writable", pvg_pin(2, l2));
	R("read-only", pvg_set_ro(l1));
	R("pin L2", pvg_pin(2, l2));
	R("unpin", pvg_unpin(l2));
	R("both writable", pvg_set_rw(l1) | pvg_set_rw(l2));
}

/* A table that maps itself through the window it forms. */
static void windows(void)
{
	u64 *l1 = pvg_page_alloc(), *d = pvg_page_alloc(), *l2 = pvg_entry((u64)pvg_image, 2);
	u64 window = ((u64)pvg_image & ~((1ul << 30) - 1)) + (301ul << 21), at;

	l2 -= ((u64)l2 & 4095) / 8;
	at = m(l2) + 301 * 8;
	pvg_set_ro(l1);
	R("link", pvg_mmu_update(at, m(l1) | PTE_KERN));
	R("map the data page by va", pvg_map((void *)window, m(d) | PTE_KERN));
	show_write("write through the window", (void *)window, 0x77);
	printf("seen: %lx\n", d[0]);
	R("map the table itself, read-only", pvg_map((void *)(window + PAGE_SIZE), m(l1) | PTE_P));
	printf("it shows its first entry: %d\n", *(volatile u64 *)(window + PAGE_SIZE) == l1[0]);
	R("map the table itself, writable",
	  pvg_map((void *)(window + PAGE_SIZE), m(l1) | PTE_KERN));
	R("the L2 entry read-only", pvg_mmu_update(at, m(l1) | PTE_P));
	pvg_mmuext(MMUEXT_TLB_FLUSH_LOCAL, 0, 0);
	show_write("write through the window", (void *)window, 0x78);
	R("the L2 entry NX", pvg_mmu_update(at, m(l1) | PTE_KERN | PTE_NX));
	pvg_mmuext(MMUEXT_TLB_FLUSH_LOCAL, 0, 0);
	*(volatile u8 *)d = 0xc3;
	printf("call into the window traps: %d", pvg_try((void (*)(void))window));
	printf(" error %lx\n", pvg_caught.f.error);
	R("the L2 entry not present", pvg_mmu_update(at, 0));
	pvg_mmuext(MMUEXT_TLB_FLUSH_LOCAL, 0, 0);
	show_write("write through the window", (void *)window, 0x78);
	R("the table can be written now", pvg_set_rw(l1));
	printf("its entries are as they were: %lx %lx\n", l1[0] & ~PTE_ADDR, l1[1] & ~PTE_ADDR);
}

/* Changing the running root under one's feet, within what is allowed. */
static void root_entries(void)
{
	u64 *root = (u64 *)start_info->pt_base, *l3 = pvg_page_alloc(), old;
	unsigned int i = L4X(pvg_image);

	old = root[i];
	R("the image's own L4 entry, the same again", pvg_mmu_update(m(root) + i * 8, old));
	R("  with A and D clear", pvg_mmu_update(m(root) + i * 8, old & ~(PTE_A | PTE_D)));
	R("unpin the running root", pvg_unpin(root));
	R("  pin it again", pvg_pin(4, root));
	R("link an L3 and unpin the root", pvg_set_ro(l3));
	R("  link", pvg_mmu_update(m(root) + 310 * 8, m(l3) | PTE_KERN));
	R("  unpin", pvg_unpin(root));
	R("  map the L3 writable", pvg_set_rw(l3));
	R("  pin", pvg_pin(4, root));
	R("  unlink", pvg_mmu_update(m(root) + 310 * 8, 0));
	R("  map the L3 writable", pvg_set_rw(l3));
	R("map the running root's frame writable", pvg_map(l3, m(root) | PTE_KERN));
}

/* Reads and writes see what the tables say: accessed and dirty. */
static void accessed(void)
{
	u64 *d = pvg_page_alloc(), *e = pvg_entry((u64)d, 1);

	R("map without A and D", pvg_map(d, m(d) | PTE_P | PTE_RW));
	printf("flags %lx\n", *e & 0x67);
	(void)*(volatile u64 *)d;
	printf("after a read: %lx\n", *e & 0x67);
	*(volatile u64 *)d = 1;
	printf("after a write: %lx\n", *e & 0x67);
}

void guest_main(void)
{
	pvg_events_init();
	pvg_traps_init();
	stale_table();
	stale_descriptors();
	stale_freed();
	shared_tables();
	half_valid();
	windows();
	root_entries();
	accessed();
}
