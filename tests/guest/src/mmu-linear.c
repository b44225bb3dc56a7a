/* SPDX-License-Identifier: MIT */
/* Recursive (linear) page tables, large batches, and reading Xen's slots through one's own eyes. */
#include "pvg.h"

static u64 m(const void *p)
{
	return pvg_mfn_of(p) << 12;
}
static long set(const void *table, unsigned int i, u64 val)
{
	return pvg_mmu_update(m(table) + i * 8, val);
}
static u64 *table(void)
{
	u64 *t = pvg_page_alloc();

	pvg_set_ro(t);
	return t;
}

/* Chains of linear entries among tables of one level. */
static void chains(unsigned int level)
{
	u64 *a = table(), *b = table(), *c = table();

	printf("level %d\n", level);
	pvg_pin(level, a);
	pvg_pin(level, b);
	pvg_pin(level, c);
	R("  a -> a", set(a, 0, m(a) | PTE_P));
	R("  a -> a twice", set(a, 1, m(a) | PTE_P));
	R("  a -> b", set(a, 2, m(b) | PTE_P));
	R("  b -> c, b being pointed at", set(b, 0, m(c) | PTE_P));
	R("  c -> a, a pointing elsewhere", set(c, 0, m(a) | PTE_P));
	R("  b -> a, both ways", set(b, 1, m(a) | PTE_P));
	R("  b -> b", set(b, 2, m(b) | PTE_P));
	R("  unpin b while a points at it", pvg_unpin(b));
	R("  b writable", pvg_set_rw(b));
	R("  a -> b gone", set(a, 2, 0));
	R("  b writable", pvg_set_rw(b));
	R("  unpin a, which points at itself", pvg_unpin(a));
	R("  a writable", pvg_set_rw(a));
	R("  c -> a gone", set(c, 0, 0));
	R("  unpin c", pvg_unpin(c));
	R("  a, b, c writable", pvg_set_rw(a) | pvg_set_rw(b) | pvg_set_rw(c));
}

static void read8(u64 a, u64 b, u64 c)
{
	(void)*(volatile u64 *)a;
}

/* A linear map of the root shows Xen's entries; what they map stays Xen's. */
static void xen_slots(void)
{
	u64 base = 0xffff000000000000 | 301ul << 39;
	u64 l4 = base | 301ul << 30 | 301ul << 21 | 301ul << 12;

	R("root slot 301: the root",
	  set((void *)start_info->pt_base, 301, pvg_root_mfn() << 12 | PTE_P));
	printf("reading slot 262 by it: %s\n",
	       pvg_try3(read8, l4 + 262 * 8, 0, 0) ? "traps" : "works");
	/* one level down: the L3 of Xen's slot 262 as an L4 entry's "page" */
	printf("reading Xen's L3 by it: ");
	if (pvg_try3(read8, base | 301ul << 30 | 301ul << 21 | 262ul << 12, 0, 0))
		printf("%s error %lx\n", pvg_vector_name((unsigned int)pvg_caught.f.vector),
		       pvg_caught.f.error);
	else
		printf("works\n");
	R("gone", set((void *)start_info->pt_base, 301, 0));
}

/* 512 requests in one call, and failures inside. */
static void batches(void)
{
	static struct mmu_update u[1024];
	u64 *l1 = table(), *d = pvg_page_alloc();
	unsigned int done = 0;

	pvg_pin(1, l1);
	for (unsigned int i = 0; i < 1024; i++) {
		u[i].ptr = m(l1) + (i & 511) * 8;
		u[i].val = i < 512 ? m(d) | PTE_KERN : 0;
	}
	R("512 entries", HC4(mmu_update, u, 512, &done, DOMID_SELF));
	printf("  done %d, the last is there: %d\n", done, l1[511] != 0);
	R("1024, the second half clears", HC4(mmu_update, u, 1024, &done, DOMID_SELF));
	printf("  done %d, the last is there: %d\n", done, l1[511] != 0);
	u[300].val = pvg_root_mfn() << 12 | PTE_KERN;
	R("one of them bad", HC4(mmu_update, u, 1024, &done, DOMID_SELF));
	printf("  done %d, entry 299: %d, 300: %d, 301: %d\n", done, l1[299] != 0, l1[300] != 0,
	       l1[301] != 0);
	u[300].ptr = (m(l1) + 300 * 8) | MMU_MACHPHYS_UPDATE;
	u[300].val = pvg_pfn_of(l1);
	u[301].ptr |= MMU_PT_UPDATE_PRESERVE_AD;
	R("commands mixed", HC4(mmu_update, u, 512, &done, DOMID_SELF));
	printf("  done %d, entry 301: %d\n", done, l1[301] != 0);
	R("unpin", pvg_unpin(l1));
	R("all references are gone: pin the data page",
	  (pvg_set_ro(d), pvg_set_ro(d), pvg_pin(1, d)));
	R("unpin", pvg_unpin(d));
	pvg_set_rw(d);
	pvg_set_rw(l1);
}

/* A page mapped 3000 times. */
static void many_maps(void)
{
	u64 *l1[6], *d = pvg_page_alloc();
	long bad = 0;

	for (int k = 0; k < 6; k++) {
		l1[k] = pvg_page_alloc();
		for (int i = 0; i < 512; i++)
			l1[k][i] = m(d) | PTE_KERN;
		pvg_set_ro(l1[k]);
		bad |= pvg_pin(1, l1[k]);
	}
	R("six L1 tables full of one page", bad);
	pvg_set_ro(d);
	R("pin it", pvg_pin(1, d));
	for (int k = 0; k < 5; k++)
		pvg_unpin(l1[k]);
	R("pin it with one table left", pvg_pin(1, d));
	for (int i = 0; i < 511; i++)
		set(l1[5], (unsigned int)i, 0);
	R("pin it with one entry left", pvg_pin(1, d));
	set(l1[5], 511, m(d) | PTE_P);
	R("pin it with that read-only", pvg_pin(1, d));
	R("unpin", pvg_unpin(d));
	pvg_unpin(l1[5]);
}

/* update_va_mapping in a multicall, as kernels batch it. */
static void multicall_maps(void)
{
	static multicall_entry_t c[64];
	u8 *v = pvg_pages_alloc(8);
	u64 first = pvg_mfn_of(v);
	long bad = 0;

	memset(c, 0, sizeof(c));
	for (int i = 0; i < 64; i++) {
		c[i].op = __HYPERVISOR_update_va_mapping;
		c[i].args[0] = (u64)v + (u64)(i % 8) * PAGE_SIZE;
		c[i].args[1] =
			(pvg_mfn_of_pfn(pvg_pfn_of(v) + (u64)((i * 3) % 8)) << 12) | PTE_KERN;
		c[i].args[2] = i == 63 ? UVMF_TLB_FLUSH | UVMF_LOCAL : 0;
	}
	c[10].args[1] = pvg_root_mfn() << 12 | PTE_KERN;
	R("multicall of 64 update_va_mapping", HC2(multicall, c, 64));
	for (int i = 0; i < 64; i++)
		if (i != 10)
			bad |= (long)c[i].result;
	printf("  the bad one: %le, the others: %le\n", (long)c[10].result, bad);
	printf("  page 0 shows frame 0: %d\n", (*pvg_entry((u64)v, 1) & PTE_ADDR) >> 12 == first);
}

void guest_main(void)
{
	pvg_events_init();
	pvg_traps_init();
	chains(2);
	chains(3);
	chains(4);
	xen_slots();
	batches();
	many_maps();
	multicall_maps();
}
