/* SPDX-License-Identifier: MIT */
/* memory_op: giving frames back, getting them, exchanging them; what else it answers. */
#include "pvg.h"

static long mem(unsigned int op, void *arg)
{
	return HC2(memory_op, op, arg);
}

static long reserve(unsigned int op, u64 *list, u64 n, unsigned int order, unsigned int flags,
		    unsigned int dom)
{
	struct xen_memory_reservation r = {
		.nr_extents = n, .extent_order = order, .mem_flags = flags, .domid = (domid_t)dom};

	set_xen_guest_handle(r.extent_start, list);
	return mem(op, &r);
}

static long current(void)
{
	domid_t self = DOMID_SELF;

	return mem(XENMEM_current_reservation, &self);
}

static void questions(void)
{
	domid_t self = DOMID_SELF, dom0 = 0, nobody = 1000;
	struct xen_machphys_mapping mp;
	struct xen_memory_map map = {.nr_entries = 8};
	struct xen_machphys_mfn_list list = {.max_extents = 1};
	static u8 buffer[8 * 20 + 64];
	u64 frame;

	R("current_reservation is nr_pages", current() - (long)start_info->nr_pages);
	R("maximum_reservation >= it",
	  mem(XENMEM_maximum_reservation, &self) >= (long)start_info->nr_pages);
	R("current_reservation of domain 0", mem(XENMEM_current_reservation, &dom0));
	R("current_reservation of nobody", mem(XENMEM_current_reservation, &nobody));
	R("maximum_ram_page is positive", mem(XENMEM_maximum_ram_page, NULL) > 0);
	R("maximum_gpfn", mem(XENMEM_maximum_gpfn, &self) >= 0);
	R("machphys_mapping", mem(XENMEM_machphys_mapping, &mp));
	printf("  %lx-%lx, max mfn covers the own frames: %d\n", mp.v_start, mp.v_end,
	       mp.max_mfn >= pvg_root_mfn());
	set_xen_guest_handle(map.buffer, buffer);
	R("memory_map", mem(XENMEM_memory_map, &map));
	printf("  entries %d\n", (int)map.nr_entries);
	if (map.nr_entries == 1 || map.nr_entries == 2)
		for (unsigned int i = 0; i < map.nr_entries; i++) {
			u64 *e = (u64 *)(buffer + 20 * i);

			printf("  at %lx, %d KiB, type %d\n", e[0], (int)(e[1] >> 10),
			       (int)*(u32 *)&e[2]);
		}
	map.nr_entries = 0;
	R("memory_map with no room", mem(XENMEM_memory_map, &map));
	set_xen_guest_handle(list.extent_start, &frame);
	R("machphys_mfn_list", mem(XENMEM_machphys_mfn_list, &list));
	R("machine_memory_map", mem(XENMEM_machine_memory_map, &map));
	R("set_memory_map", mem(XENMEM_set_memory_map, &map));
	R("command 63", mem(63, &map));
	R("current_reservation at a bad pointer",
	  mem(XENMEM_current_reservation, (void *)0x600000000000));
	{
		struct xen_add_to_physmap a = {.domid = DOMID_SELF,
					       .space = XENMAPSPACE_shared_info};

		R("add_to_physmap", mem(XENMEM_add_to_physmap, &a));
	}
	{
		struct xen_remove_from_physmap a = {.domid = DOMID_SELF, .gpfn = 5};

		R("remove_from_physmap", mem(XENMEM_remove_from_physmap, &a));
	}
}

static void decrease(void)
{
	u8 *p = pvg_page_alloc(), *q = pvg_page_alloc();
	u64 mfn = pvg_mfn_of(p), list[3], bad;
	long before = current();

	R("decrease, still mapped",
	  reserve(XENMEM_decrease_reservation, &mfn, 1, 0, 0, DOMID_SELF));
	printf("  reservation changed by %d, still readable: %d\n", (int)(current() - before),
	       *(volatile u8 *)p == 0);
	R("  decrease it again", reserve(XENMEM_decrease_reservation, &mfn, 1, 0, 0, DOMID_SELF));
	R("  a new mapping of it", pvg_map(q, mfn << 12 | PTE_KERN));
	R("  unmap one", pvg_map(p, 0));
	printf("  reservation changed by %d\n", (int)(current() - before));
	R("  unmap the other", pvg_map(q, 0));
	printf("  reservation changed by %d\n", (int)(current() - before));
	R("  decrease it again", reserve(XENMEM_decrease_reservation, &mfn, 1, 0, 0, DOMID_SELF));
	R("  map it again", pvg_map(p, mfn << 12 | PTE_KERN));
	bad = 0x3fffffff;
	R("decrease, no such frame",
	  reserve(XENMEM_decrease_reservation, &bad, 1, 0, 0, DOMID_SELF));
	bad = pvg_root_mfn();
	before = current();
	R("decrease the root", reserve(XENMEM_decrease_reservation, &bad, 1, 0, 0, DOMID_SELF));
	printf("  reservation changed by %d\n", (int)(current() - before));
	bad = start_info->shared_info >> 12;
	R("decrease shared_info", reserve(XENMEM_decrease_reservation, &bad, 1, 0, 0, DOMID_SELF));
	q = pvg_page_alloc();
	list[0] = pvg_mfn_of(q);
	list[1] = 0x3fffffff;
	list[2] = pvg_mfn_of(pvg_page_alloc());
	pvg_map(q, 0);
	R("decrease three, the second bad",
	  reserve(XENMEM_decrease_reservation, list, 3, 0, 0, DOMID_SELF));
	R("decrease for domain 0", reserve(XENMEM_decrease_reservation, list, 1, 0, 0, 0));
	R("decrease for nobody", reserve(XENMEM_decrease_reservation, list, 1, 0, 0, 1000));
	R("decrease none", reserve(XENMEM_decrease_reservation, list, 0, 0, 0, DOMID_SELF));
	R("decrease, order 21", reserve(XENMEM_decrease_reservation, list, 1, 21, 0, DOMID_SELF));
	R("decrease, list at a bad pointer",
	  reserve(XENMEM_decrease_reservation, (u64 *)0x600000000000, 1, 0, 0, DOMID_SELF));
	R("decrease, list in Xen",
	  reserve(XENMEM_decrease_reservation, (u64 *)0xffff82d040200000, 1, 0, 0, DOMID_SELF));
	R("decrease, 2^62 extents",
	  reserve(XENMEM_decrease_reservation, (u64 *)0x600000000000, 1ul << 62, 0, 0, DOMID_SELF));
}

static void grow(void)
{
	u64 pfn = 0x20, frame, out[4], total = 0;
	long r, n;
	u8 *p;

	/* room to grow: what decrease() gave back */
	frame = pfn = pvg_pfn_of(p = pvg_page_alloc());
	{
		u64 mfn = pvg_mfn_of(p);

		pvg_map(p, 0);
		R("give one back", reserve(XENMEM_decrease_reservation, &mfn, 1, 0, 0, DOMID_SELF));
	}
	R("populate_physmap", reserve(XENMEM_populate_physmap, &frame, 1, 0, 0, DOMID_SELF));
	printf("  the list has a frame: %d, M2P says the pfn: %d\n", frame != pfn,
	       machine_to_phys_mapping[frame] == pfn);
	R("  map it", pvg_map(p, frame << 12 | PTE_KERN));
	printf("  zero: %d\n", ((volatile u64 *)p)[17] == 0);
	R("increase_reservation", reserve(XENMEM_increase_reservation, out, 1, 0, 0, DOMID_SELF));
	R("  map it", pvg_map(p, out[0] << 12 | PTE_KERN));
	for (n = 0; n < 10000; n++) {
		r = reserve(XENMEM_increase_reservation, out, 1, 0, 0, DOMID_SELF);
		if (r != 1)
			break;
		total++;
	}
	printf("increase until it ends: result %le, reservation is the maximum: %d\n", r,
	       current() == mem(XENMEM_maximum_reservation, &(domid_t){DOMID_SELF}));
	frame = 0x30;
	R("populate beyond the maximum",
	  reserve(XENMEM_populate_physmap, &frame, 1, 0, 0, DOMID_SELF));
	R("increase for domain 0", reserve(XENMEM_increase_reservation, out, 1, 0, 0, 0));
	R("populate, order 12", reserve(XENMEM_populate_physmap, &frame, 1, 12, 0, DOMID_SELF));
	R("populate, 2^62 extents",
	  reserve(XENMEM_populate_physmap, &frame, 1ul << 62, 0, 0, DOMID_SELF));
}

static long exchange(u64 *in, u64 nin, unsigned int oin, u64 *out, u64 nout, unsigned int oout,
		     u64 done, u64 *ret_done)
{
	struct xen_memory_exchange x = {
		.in = {.nr_extents = nin, .extent_order = oin, .domid = DOMID_SELF},
		.out = {.nr_extents = nout, .extent_order = oout, .domid = DOMID_SELF},
		.nr_exchanged = done,
	};
	long r;

	set_xen_guest_handle(x.in.extent_start, in);
	set_xen_guest_handle(x.out.extent_start, out);
	r = mem(XENMEM_exchange, &x);
	*ret_done = x.nr_exchanged;
	return r;
}

static void exchanging(void)
{
	u8 *p = pvg_pages_alloc(2);
	u64 in[2] = {pvg_mfn_of(p), pvg_mfn_of(p + PAGE_SIZE)}, out[2], done;
	u64 old = in[0];

	p[0] = 7;
	out[0] = pvg_pfn_of(p);
	R("exchange a mapped frame", exchange(in, 1, 0, out, 1, 0, 0, &done));
	printf("  exchanged %d\n", (int)done);
	pvg_map(p, 0);
	pvg_map(p + PAGE_SIZE, 0);
	out[0] = pvg_pfn_of(p);
	R("exchange one for one", exchange(in, 1, 0, out, 1, 0, 0, &done));
	printf("  exchanged %d, a frame came: %d, M2P says the pfn: %d\n", (int)done,
	       out[0] != pvg_pfn_of(p), machine_to_phys_mapping[out[0]] == pvg_pfn_of(p));
	R("  map the new one", pvg_map(p, out[0] << 12 | PTE_KERN));
	printf("  its content is zero: %d\n", p[0] == 0);
	if (out[0] != old)
		R("  map the old one", pvg_map(p, old << 12 | PTE_KERN) ? -1 : 0);
	R("exchange of unequal sizes", exchange(in, 1, 0, out, 2, 0, 0, &done));
	R("exchange already past the end", exchange(in, 1, 0, out, 1, 0, 2, &done));
	in[1] = 0x3fffffff;
	R("exchange of no such frame", exchange(in + 1, 1, 0, out, 1, 0, 0, &done));
	in[1] = pvg_root_mfn();
	R("exchange of the root", exchange(in + 1, 1, 0, out, 1, 0, 0, &done));
	R("exchange, order 30", exchange(in, 1, 30, out, 1, 30, 0, &done));
	R("exchange, lists at a bad pointer",
	  exchange((u64 *)0x600000000000, 1, 0, out, 1, 0, 0, &done));
}

void guest_main(void)
{
	pvg_events_init();
	pvg_traps_init();
	questions();
	decrease();
	grow();
	exchanging();
}
