/* SPDX-License-Identifier: MIT */
/*
 * Every kind of frame in every use: one line a kind, one errno a use. A use that succeeds is undone
 * before the next.
 */
#include "pvg.h"

static u64 *slot;	  /* its PTE is the mapping that is tried */
static u64 *l2, *l3, *l4; /* tables in which entry 7 is tried */
static u64 *spare;	  /* a data page to copy from */
static u64 *gdt_spare;

static u64 frame(const void *p)
{
	return pvg_mfn_of(p);
}

struct kind {
	const char *name;
	u64 mfn;
};
static struct kind kinds[24];
static unsigned int nr_kinds;

static void kind(const char *name, u64 mfn)
{
	kinds[nr_kinds].name = name;
	kinds[nr_kinds++].mfn = mfn;
}

static u64 *table_page(void)
{
	u64 *t = pvg_page_alloc();

	return t;
}

static void make_kinds(void)
{
	u64 *p;
	unsigned long grant_frame = 0;
	struct gnttab_setup_table setup = {.dom = DOMID_SELF, .nr_frames = 1};
	u64 f;

	kind("a page mapped writable", frame(pvg_page_alloc()));
	pvg_set_ro(p = table_page());
	kind("a page mapped read-only", frame(p));
	pvg_map(p = table_page(), 0);
	kind("a page not mapped", pvg_mfn_of_pfn(pvg_pfn_of(p)));
	pvg_set_ro(p = table_page());
	pvg_mmuext(MMUEXT_PIN_L1_TABLE, frame(p), 0);
	kind("an L1, pinned", frame(p));
	pvg_set_ro(p = table_page());
	pvg_mmu_update(frame(l2) * 4096 + 8, frame(p) << 12 | PTE_KERN);
	kind("an L1, linked", frame(p));
	pvg_set_ro(p = table_page());
	pvg_mmuext(MMUEXT_PIN_L2_TABLE, frame(p), 0);
	kind("an L2, pinned", frame(p));
	pvg_set_ro(p = table_page());
	pvg_mmuext(MMUEXT_PIN_L3_TABLE, frame(p), 0);
	kind("an L3, pinned", frame(p));
	pvg_set_ro(p = table_page());
	pvg_mmuext(MMUEXT_PIN_L4_TABLE, frame(p), 0);
	kind("an L4, pinned", frame(p));
	kind("the running root", pvg_root_mfn());
	pvg_set_ro(p = table_page());
	f = frame(p);
	HC2(set_gdt, &f, 512);
	kind("a GDT page", f);
	kind("shared_info", start_info->shared_info >> 12);
	set_xen_guest_handle(setup.frame_list, &grant_frame);
	HC3(grant_table_op, GNTTABOP_setup_table, &setup, 1);
	kind("a grant frame", grant_frame);
	p = table_page();
	f = frame(p);
	pvg_map(p, 0);
	{
		struct xen_memory_reservation r = {.nr_extents = 1, .domid = DOMID_SELF};

		set_xen_guest_handle(r.extent_start, &f);
		HC2(memory_op, XENMEM_decrease_reservation, &r);
	}
	kind("a page given back", f);
	kind("no frame", 0x3fffffff);
}

/* ---- the uses: each returns the result and undoes what it did ---- */

static long map_with(u64 mfn, u64 flags)
{
	long r = pvg_map(slot, mfn << 12 | flags);

	pvg_map(slot, 0);
	return r;
}
static long map_ro(u64 mfn)
{
	return map_with(mfn, PTE_P);
}
static long map_rw(u64 mfn)
{
	return map_with(mfn, PTE_KERN);
}
static long entry(u64 *table, u64 val)
{
	long r = pvg_mmu_update((frame(table) << 12) + 7 * 8, val);

	pvg_mmu_update((frame(table) << 12) + 7 * 8, 0);
	return r;
}
static long in_l2(u64 mfn)
{
	return entry(l2, mfn << 12 | PTE_KERN);
}
static long in_l3(u64 mfn)
{
	return entry(l3, mfn << 12 | PTE_KERN);
}
static long in_l4(u64 mfn)
{
	return entry(l4, mfn << 12 | PTE_KERN);
}
static long in_l2_ro(u64 mfn)
{
	return entry(l2, mfn << 12 | PTE_P);
}
static long in_l3_ro(u64 mfn)
{
	return entry(l3, mfn << 12 | PTE_P);
}
static long in_l4_ro(u64 mfn)
{
	return entry(l4, mfn << 12 | PTE_P);
}
static long pin(unsigned int level, u64 mfn)
{
	long r = pvg_mmuext(MMUEXT_PIN_L1_TABLE + level - 1, mfn, 0);

	if (!r)
		pvg_mmuext(MMUEXT_UNPIN_TABLE, mfn, 0);
	return r;
}
static long pin1(u64 mfn)
{
	return pin(1, mfn);
}
static long pin2(u64 mfn)
{
	return pin(2, mfn);
}
static long pin3(u64 mfn)
{
	return pin(3, mfn);
}
static long pin4(u64 mfn)
{
	return pin(4, mfn);
}
static long clear(u64 mfn)
{
	return pvg_mmuext(MMUEXT_CLEAR_PAGE, mfn, 0);
}
static long copy_from(u64 mfn)
{
	return pvg_mmuext(MMUEXT_COPY_PAGE, frame(spare), mfn);
}
static long user_root(u64 mfn)
{
	long r = pvg_mmuext(MMUEXT_NEW_USER_BASEPTR, mfn, 0);

	pvg_mmuext(MMUEXT_NEW_USER_BASEPTR, 0, 0);
	return r;
}
static long as_gdt(u64 mfn)
{
	u64 f = mfn, back = frame(gdt_spare);
	long r = HC2(set_gdt, &f, 512);

	/* "a GDT page" must stay one: it is the loaded one unless something else was loaded */
	if (!r && mfn != kinds[9].mfn) {
		f = kinds[9].mfn;
		HC2(set_gdt, &f, 512);
	}
	(void)back;
	return r;
}
static long update_zero(u64 mfn)
{
	return pvg_mmu_update((mfn << 12) + 20 * 8, 0);
}
static long update_pte(u64 mfn)
{
	long r = pvg_mmu_update((mfn << 12) + 20 * 8, frame(spare) << 12 | PTE_P);

	pvg_mmu_update((mfn << 12) + 20 * 8, 0);
	return r;
}
static long update_desc(u64 mfn)
{
	long r = HC2(update_descriptor, (mfn << 12) + 30 * 8, 0x00cff3000000ffff);

	HC2(update_descriptor, (mfn << 12) + 30 * 8, 0);
	return r;
}
static long machphys(u64 mfn)
{
	u64 old = mfn < 0x1000000 ? machine_to_phys_mapping[mfn] : 0;

	return pvg_mmu_update(mfn << 12 | MMU_MACHPHYS_UPDATE, old);
}
static long exchange(u64 mfn)
{
	struct xen_memory_exchange x = {.in = {.nr_extents = 1, .domid = DOMID_SELF},
					.out = {.nr_extents = 1, .domid = DOMID_SELF}};
	u64 out = 0x500000;
	long r;

	if (mfn == kinds[1].mfn || mfn == kinds[2].mfn)
		return 1; /* would succeed and take it away */
	set_xen_guest_handle(x.in.extent_start, &mfn);
	set_xen_guest_handle(x.out.extent_start, &out);
	r = HC2(memory_op, XENMEM_exchange, &x);
	return r;
}
static long vcpu_info(u64 mfn)
{
	struct vcpu_register_vcpu_info r = {.mfn = mfn, .offset = 0};

	/* can be done once only: ask for those that must be refused */
	if (mfn == kinds[0].mfn || mfn == kinds[1].mfn || mfn == kinds[2].mfn)
		return 1;
	return HC3(vcpu_op, VCPUOP_register_vcpu_info, 0, &r);
}
static long grant_copy_to(u64 mfn)
{
	struct gnttab_copy c = {.len = 8, .flags = 0};

	c.source.domid = c.dest.domid = DOMID_SELF;
	c.source.u.gmfn = frame(spare);
	c.dest.u.gmfn = mfn;
	c.dest.offset = 2048;
	HC3(grant_table_op, GNTTABOP_copy, &c, 1);
	return c.status;
}
static long grant_copy_from(u64 mfn)
{
	struct gnttab_copy c = {.len = 8, .flags = 0};

	c.source.domid = c.dest.domid = DOMID_SELF;
	c.source.u.gmfn = mfn;
	c.dest.u.gmfn = frame(spare);
	HC3(grant_table_op, GNTTABOP_copy, &c, 1);
	return c.status;
}

static const struct {
	const char *name;
	long (*fn)(u64 mfn);
	bool status; /* a grant status, not an errno */
} uses[] = {
	{"map read-only", map_ro, false},
	{"map writable", map_rw, false},
	{"L2 entry", in_l2, false},
	{"L2 entry, read-only", in_l2_ro, false},
	{"L3 entry", in_l3, false},
	{"L3 entry, read-only", in_l3_ro, false},
	{"L4 entry", in_l4, false},
	{"L4 entry, read-only", in_l4_ro, false},
	{"pin L1", pin1, false},
	{"pin L2", pin2, false},
	{"pin L3", pin3, false},
	{"pin L4", pin4, false},
	{"CLEAR_PAGE", clear, false},
	{"COPY_PAGE from", copy_from, false},
	{"NEW_USER_BASEPTR", user_root, false},
	{"set_gdt", as_gdt, false},
	{"mmu_update of 0 in it", update_zero, false},
	{"mmu_update of a PTE in it", update_pte, false},
	{"update_descriptor in it", update_desc, false},
	{"MACHPHYS", machphys, false},
	{"exchange", exchange, false},
	{"register_vcpu_info", vcpu_info, false},
	{"grant copy into it", grant_copy_to, true},
	{"grant copy out of it", grant_copy_from, true},
};

void guest_main(void)
{
	pvg_events_init();
	pvg_traps_init();
	slot = pvg_page_alloc();
	pvg_map(slot, 0);
	spare = pvg_page_alloc();
	gdt_spare = pvg_page_alloc();
	pvg_set_ro(l2 = pvg_page_alloc());
	pvg_mmuext(MMUEXT_PIN_L2_TABLE, frame(l2), 0);
	pvg_set_ro(l3 = pvg_page_alloc());
	pvg_mmuext(MMUEXT_PIN_L3_TABLE, frame(l3), 0);
	pvg_set_ro(l4 = pvg_page_alloc());
	pvg_mmuext(MMUEXT_PIN_L4_TABLE, frame(l4), 0);
	make_kinds();
	for (unsigned int k = 0; k < nr_kinds; k++) {
		printf("%s:\n", kinds[k].name);
		for (unsigned int u = 0; u < ARRAY_SIZE(uses); u++) {
			long r;

			/* what would take away the ground or the page's kind */
			if (uses[u].fn == clear && k == 10)
				continue;
			r = uses[u].fn(kinds[k].mfn);
			if (uses[u].status)
				printf("  %s: %d\n", uses[u].name, (int)r);
			else
				printf("  %s: %le\n", uses[u].name, r);
		}
	}
}
