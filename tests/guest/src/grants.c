/* SPDX-License-Identifier: MIT */
/* Grant tables, version 1: set-up, mapping one's own grants, copying, and what is refused. */
#include "pvg.h"

static long gnt(unsigned int op, void *arg, unsigned int n)
{
	return HC3(grant_table_op, op, arg, n);
}

/* A call's result and the status inside. */
#define S(name, call, status)                                                                      \
	do {                                                                                       \
		long r_ = (call);                                                                  \
		printf("%s: %le, status %d\n", name, r_, (int)(status));                           \
	} while (0)

static u8 *data, *hole;
static domid_t self;

static void setup(void)
{
	unsigned long frames[64];
	struct gnttab_setup_table s = {.dom = DOMID_SELF};
	struct gnttab_query_size q = {.dom = DOMID_SELF};
	struct gnttab_set_version v = {.version = 1};
	struct gnttab_get_version g = {.dom = DOMID_SELF};
	struct gnttab_dump_table d = {.dom = DOMID_SELF};

	set_xen_guest_handle(s.frame_list, frames);
	S("get_version", gnt(GNTTABOP_get_version, &g, 1), g.version);
	S("set_version 1", gnt(GNTTABOP_set_version, &v, 1), v.version);
	v.version = 3;
	S("set_version 3", gnt(GNTTABOP_set_version, &v, 1), v.version);
	v.version = 0;
	S("set_version 0", gnt(GNTTABOP_set_version, &v, 1), v.version);
	S("query_size", gnt(GNTTABOP_query_size, &q, 1), q.status);
	printf("  frames %d, maximum %d\n", (int)q.nr_frames, (int)q.max_nr_frames);
	s.nr_frames = 1;
	S("setup 1", gnt(GNTTABOP_setup_table, &s, 1), s.status);
	s.nr_frames = 4;
	S("setup 4", gnt(GNTTABOP_setup_table, &s, 1), s.status);
	printf("  frames differ: %d\n", frames[0] != frames[1] && frames[1] != frames[2]);
	s.nr_frames = 0;
	S("setup 0", gnt(GNTTABOP_setup_table, &s, 1), s.status);
	S("query_size", gnt(GNTTABOP_query_size, &q, 1), q.status);
	printf("  frames %d\n", (int)q.nr_frames);
	s.nr_frames = q.max_nr_frames + 1;
	S("setup one more than the maximum", gnt(GNTTABOP_setup_table, &s, 1), s.status);
	s.nr_frames = 1;
	s.dom = 0;
	S("setup for domain 0", gnt(GNTTABOP_setup_table, &s, 1), s.status);
	s.dom = 1000;
	S("setup for nobody", gnt(GNTTABOP_setup_table, &s, 1), s.status);
	s.dom = DOMID_SELF;
	set_xen_guest_handle(s.frame_list, (unsigned long *)0x600000000000);
	S("setup, list at a bad pointer", gnt(GNTTABOP_setup_table, &s, 1), s.status);
	q.dom = 1000;
	S("query_size of nobody", gnt(GNTTABOP_query_size, &q, 1), q.status);
	q.dom = 0;
	S("query_size of domain 0", gnt(GNTTABOP_query_size, &q, 1), q.status);
	S("dump_table", gnt(GNTTABOP_dump_table, &d, 1), d.status);
	R("command 99", gnt(99, &d, 1));
	R("count 0", gnt(GNTTABOP_query_size, &q, 0));
	R("count 2 of setup", gnt(GNTTABOP_setup_table, &s, 2));
	R("count 2^31", gnt(GNTTABOP_map_grant_ref, &q, 1u << 31));
	R("at a bad pointer", gnt(GNTTABOP_query_size, (void *)0x600000000000, 1));
	R("in Xen", gnt(GNTTABOP_map_grant_ref, (void *)0xffff82d040200000, 1));
	R("map the second frame of the table writable", pvg_map(hole, frames[1] << 12 | PTE_KERN));
	R("  and read-only", pvg_map(hole, frames[1] << 12 | PTE_P));
	R("  unmap", pvg_map(hole, 0));
}

static struct gnttab_map_grant_ref map_op(unsigned int dom, unsigned int ref, u64 va,
					  unsigned int flags)
{
	struct gnttab_map_grant_ref m = {
		.dom = (domid_t)dom, .ref = ref, .host_addr = va, .flags = flags};

	m.status = 77;
	gnt(GNTTABOP_map_grant_ref, &m, 1);
	return m;
}

static int unmap(u64 va, unsigned int handle)
{
	struct gnttab_unmap_grant_ref u = {.host_addr = va, .handle = handle};
	long r = gnt(GNTTABOP_unmap_grant_ref, &u, 1);

	return r ? (int)r : u.status;
}

static void mapping(void)
{
	struct gnttab_map_grant_ref m, m2;
	u64 *e = pvg_entry((u64)hole, 1);

	pvg_grant(8, DOMID_SELF, pvg_mfn_of(data), false);
	m = map_op(DOMID_SELF, 8, (u64)hole, GNTMAP_host_map);
	printf("map of DOMID_SELF's: %d\n", m.status);
	/* learn the own id: xenstore */
	{
		char buf[16];

		pvg_store_init();
		printf("own domid known: %d\n", pvg_store_read("domid", buf, sizeof(buf)) > 0);
	}
	self = (domid_t)pvg_store_number("domid");
	m = map_op(self, 8, (u64)hole, GNTMAP_host_map);
	printf("map, granted to DOMID_SELF as such: %d\n", m.status);
	pvg_grants[8].domid = self;
	m = map_op(self, 8, (u64)hole, GNTMAP_host_map);
	printf("map, granted to the own id: %d\n", m.status);
	printf("  same memory: %d, PTE flags %lx, entry flags %x\n",
	       (data[0] = 0x5a, *(volatile u8 *)hole == 0x5a), *e & ~PTE_ADDR, pvg_grants[8].flags);
	m2 = map_op(self, 8, (u64)hole, GNTMAP_host_map);
	printf("map again over it: %d, the PTE is still there: %d\n", m2.status,
	       (*e & PTE_ADDR) >> 12 == pvg_mfn_of(data));
	printf("unmap with a wrong handle: %d\n", unmap((u64)hole, 12345));
	printf("unmap with a wrong address: %d\n", unmap((u64)hole + PAGE_SIZE, m.handle));
	printf("unmap the second: %d\n", m2.status ? 0 : unmap((u64)hole, m2.handle));
	printf("unmap the first: %d\n", unmap((u64)hole, m.handle));
	printf("  PTE %lx, entry flags %x\n", *e, pvg_grants[8].flags);
	printf("unmap again: %d\n", unmap((u64)hole, m.handle));
	m = map_op(self, 8, (u64)hole, GNTMAP_host_map | GNTMAP_readonly);
	printf("map read-only: %d, PTE flags %lx, entry flags %x\n", m.status, *e & ~PTE_ADDR,
	       pvg_grants[8].flags);
	printf("  change its PTE to writable: %le\n",
	       pvg_map(hole, pvg_mfn_of(data) << 12 | PTE_KERN));
	printf("  unmap: %d\n", unmap((u64)hole, m.handle));
	printf("  PTE flags %lx, entry flags %x\n", *e & ~PTE_ADDR, pvg_grants[8].flags);
	pvg_map(hole, 0);
	pvg_grant(9, pvg_grants[8].domid, pvg_mfn_of(data), true);
	m = map_op(self, 9, (u64)hole, GNTMAP_host_map);
	printf("map a read-only grant writable: %d\n", m.status);
	m = map_op(self, 9, (u64)hole, GNTMAP_host_map | GNTMAP_readonly);
	printf("map a read-only grant read-only: %d\n", m.status);
	if (!m.status)
		unmap((u64)hole, m.handle);
	printf("map ref 7, not granted: %d\n", map_op(self, 7, (u64)hole, 2).status);
	printf("map ref 2^20: %d\n", map_op(self, 1 << 20, (u64)hole, 2).status);
	printf("map with no flags: %d\n", map_op(self, 8, (u64)hole, 0).status);
	printf("map of domain 0's ref 0: %d\n", map_op(0, 0, (u64)hole, 2).status);
	printf("map of nobody's: %d\n", map_op(1000, 8, (u64)hole, 2).status);
	printf("map at a va without L1: %d\n", map_op(self, 8, 0x600000000000, 2).status);
	printf("map in Xen: %d\n", map_op(self, 8, 0xffff82d040200000, 2).status);
	printf("map not page aligned: ");
	m = map_op(self, 8, (u64)hole + 8, 2);
	printf("%d\n", m.status);
	if (!m.status)
		unmap((u64)hole + 8, m.handle);
	m = map_op(self, 8, pvg_entry_maddr((u64)hole, 1), GNTMAP_host_map | GNTMAP_contains_pte);
	printf("map by the PTE's machine address: %d, same memory: %d\n", m.status,
	       *(volatile u8 *)hole == 0x5a);
	if (!m.status)
		printf("  unmap: %d\n", unmap(pvg_entry_maddr((u64)hole, 1), m.handle));
	m = map_op(self, 8, 0, GNTMAP_device_map);
	printf("device map only: %d\n", m.status);
	if (!m.status) {
		struct gnttab_unmap_grant_ref u = {.dev_bus_addr = m.dev_bus_addr,
						   .handle = m.handle};

		gnt(GNTTABOP_unmap_grant_ref, &u, 1);
		printf("  bus address is the frame: %d, unmap: %d\n",
		       m.dev_bus_addr >> 12 == pvg_mfn_of(data), u.status);
	}
	pvg_grant(10, pvg_grants[8].domid, 0x3fffffff, false);
	printf("map a grant of no such frame: %d\n", map_op(self, 10, (u64)hole, 2).status);
	pvg_grant(10, pvg_grants[8].domid, pvg_root_mfn(), false);
	printf("map a grant of the root, writable: %d\n", map_op(self, 10, (u64)hole, 2).status);
	pvg_grant(11, 0, pvg_mfn_of(data), false);
	printf("map a grant for domain 0: %d\n", map_op(self, 11, (u64)hole, 2).status);
	pvg_grants[11].flags = GTF_accept_transfer;
	printf("map a transfer grant: %d\n", map_op(self, 11, (u64)hole, 2).status);
	pvg_map(hole, 0);
	/* replace */
	{
		struct gnttab_unmap_and_replace u;

		m = map_op(self, 8, (u64)hole, GNTMAP_host_map);
		u.host_addr = (u64)hole;
		u.new_addr = (u64)data;
		u.handle = m.handle;
		S("unmap_and_replace", gnt(GNTTABOP_unmap_and_replace, &u, 1), u.status);
		printf("  hole now shows data: %d, data's PTE %lx\n", *(volatile u8 *)hole == 0x5a,
		       *pvg_entry((u64)data, 1));
		pvg_map(data, pvg_mfn_of(data) << 12 | PTE_KERN);
		pvg_map(hole, 0);
	}
}

static int copy(unsigned int sref, u64 smfn, unsigned int soff, unsigned int dref, u64 dmfn,
		unsigned int doff, unsigned int len, unsigned int flags)
{
	struct gnttab_copy c = {.len = (u16)len, .flags = (u16)flags};
	long r;

	c.source.domid = c.dest.domid = DOMID_SELF;
	c.source.offset = (u16)soff;
	c.dest.offset = (u16)doff;
	if (flags & GNTCOPY_source_gref)
		c.source.u.ref = sref;
	else
		c.source.u.gmfn = smfn;
	if (flags & GNTCOPY_dest_gref)
		c.dest.u.ref = dref;
	else
		c.dest.u.gmfn = dmfn;
	c.status = 77;
	r = gnt(GNTTABOP_copy, &c, 1);
	return r ? (int)r : c.status;
}

static void copying(void)
{
	u8 *a = pvg_page_alloc(), *b = pvg_page_alloc();
	u64 ma = pvg_mfn_of(a), mb = pvg_mfn_of(b);

	for (int i = 0; i < 4096; i++)
		a[i] = (u8)(i * 7);
	pvg_grant(20, self, ma, true);
	pvg_grant(21, self, mb, false);
	printf("copy frame to frame: %d\n", copy(0, ma, 0, 0, mb, 0, 4096, 0));
	printf("  equal: %d\n", !memcmp(a, b, 4096));
	memset(b, 0, 4096);
	printf("copy ref to ref, 100 bytes: %d\n", copy(20, 0, 10, 21, 0, 20, 100, 3));
	printf("  equal: %d, not more: %d\n", !memcmp(a + 10, b + 20, 100),
	       b[19] == 0 && b[120] == 0);
	printf("copy to a read-only ref: %d\n", copy(21, 0, 0, 20, 0, 0, 8, 3));
	printf("copy beyond the source page: %d\n", copy(20, 0, 4090, 21, 0, 0, 8, 3));
	printf("copy beyond the destination page: %d\n", copy(20, 0, 0, 21, 0, 4090, 8, 3));
	printf("copy of 0 bytes: %d\n", copy(20, 0, 0, 21, 0, 0, 0, 3));
	printf("copy, offset 4096: %d\n", copy(20, 0, 4096, 21, 0, 0, 0, 3));
	printf("copy of ref 7, not granted: %d\n", copy(7, 0, 0, 21, 0, 0, 8, 3));
	printf("copy of ref 2^20: %d\n", copy(1 << 20, 0, 0, 21, 0, 0, 8, 3));
	printf("copy of no such frame: %d\n", copy(0, 0x3fffffff, 0, 21, 0, 0, 8, 2));
	printf("copy into the root: %d\n", copy(0, ma, 0, 0, pvg_root_mfn(), 0, 8, 0));
	printf("copy from the root: %d\n", copy(0, pvg_root_mfn(), 0, 0, mb, 0, 8, 0));
	printf("copy into shared_info: %d\n",
	       copy(0, mb, 4000, 0, start_info->shared_info >> 12, 4000, 8, 0));
	printf("entry flags after: %x %x\n", pvg_grants[20].flags, pvg_grants[21].flags);
	{
		struct gnttab_copy c = {.len = 8, .flags = 0};

		c.source.domid = 0;
		c.source.u.gmfn = 0x100;
		c.dest.domid = DOMID_SELF;
		c.dest.u.gmfn = mb;
		S("copy from a frame of domain 0", gnt(GNTTABOP_copy, &c, 1), c.status);
		c.flags = GNTCOPY_source_gref;
		c.source.u.ref = 8;
		S("copy from a ref of domain 0", gnt(GNTTABOP_copy, &c, 1), c.status);
		c.source.domid = 1000;
		S("copy from a ref of nobody", gnt(GNTTABOP_copy, &c, 1), c.status);
	}
	{
		struct gnttab_transfer t = {.mfn = mb, .domid = self, .ref = 22};

		t.status = 77;
		S("transfer to self", gnt(GNTTABOP_transfer, &t, 1), t.status);
		t.domid = 1000;
		t.mfn = 0x3fffffff;
		S("transfer of no such frame", gnt(GNTTABOP_transfer, &t, 1), t.status);
	}
	{
		struct gnttab_swap_grant_ref s = {.ref_a = 20, .ref_b = 21};

		S("swap_grant_ref", gnt(GNTTABOP_swap_grant_ref, &s, 1), s.status);
		printf("  swapped: %d\n", pvg_grants[21].frame == (u32)ma);
		s.ref_a = 1 << 20;
		S("swap with ref 2^20", gnt(GNTTABOP_swap_grant_ref, &s, 1), s.status);
	}
}

void guest_main(void)
{
	pvg_events_init();
	pvg_traps_init();
	data = pvg_page_alloc();
	hole = pvg_page_alloc();
	pvg_map(hole, 0);
	setup();
	pvg_grants_init();
	mapping();
	copying();
}
