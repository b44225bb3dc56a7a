/* SPDX-License-Identifier: MIT */
/*
 * Random walks over memory_op: frames given back and asked for, exchanged, mapped meanwhile; with
 * odd counts, orders, lists and flags. Which frame comes is the host's matter, what it is is not.
 */
#include "pvg.h"

#define WALKS 12
#define STEPS 640
#define SLOTS 12
#define HOLE  0x600000000000ul
#define XEN   0xffff82d040200000ul
#define FREE  0x100000u /* a pfn that nothing is at */

static domid_t self;
static u8 *page[SLOTS], *extra_map;
static u64 mfn[SLOTS];	  /* what the guest holds there, 0: nothing */
static bool given[SLOTS]; /* back, but still mapped */
static bool mapped[SLOTS];
static u64 extra, first;
static u64 *edge; /* the end of a page, behind which is a hole */
static u64 *rdonly;

static long mem(u64 op, void *arg)
{
	return HC2(memory_op, op, arg);
}

static u64 reservation(void)
{
	domid_t me = DOMID_SELF;

	return (u64)mem(XENMEM_current_reservation, &me);
}

static domid_t domain(void)
{
	const domid_t d[] = {DOMID_SELF, DOMID_SELF, DOMID_SELF, DOMID_SELF, DOMID_SELF,
			     DOMID_SELF, DOMID_SELF, DOMID_SELF, self,	     self,
			     0,		 1000,	     DOMID_IO};

	return PICK(d);
}

static u32 mem_flags(void)
{
	static const u32 f[] = {0,
				0,
				0,
				0,
				0,
				0,
				XENMEMF_address_bits(64),
				XENMEMF_address_bits(12),
				XENMEMF_address_bits(13),
				XENMEMF_address_bits(1),
				XENMEMF_exact_node(0),
				XENMEMF_node(0),
				XENMEMF_node(77),
				XENMEMF_vnode,
				XENMEMF_populate_on_demand,
				1u << 20,
				1u << 30};

	return PICK(f);
}

/* A slot that is, and whose frame is, as wanted; SLOTS if there is none. */
static unsigned int slot(bool held, bool is_mapped)
{
	unsigned int from = (unsigned int)(pvg_rnd() % SLOTS);

	for (unsigned int i = 0; i < SLOTS; i++) {
		unsigned int k = (from + i) % SLOTS;

		if ((mfn[k] != 0) == held && !given[k] && (!held || mapped[k] == is_mapped))
			return k;
	}
	return SLOTS;
}

static bool held_by_us(u64 m)
{
	for (unsigned int i = 0; i < SLOTS; i++)
		if (mfn[i] == m)
			return true;
	return false;
}

/* Where a list of n is read and written. */
static u64 *list_at(const u64 *list, unsigned int n)
{
	u64 *at = edge - n;
	unsigned int k = (unsigned int)(pvg_rnd() % 12);

	if (k == 0)
		return (u64 *)HOLE;
	if (k == 1)
		return (u64 *)XEN;
	if (k == 2) { /* can be read, not written */
		u64 *e = rdonly;

		pvg_set_rw(rdonly);
		memcpy(e, list, n * sizeof(*list));
		pvg_set_ro(rdonly);
		return e;
	}
	if (k == 3 && n)
		at++;
	memcpy(at, list, (u64)((u8 *)edge - (u8 *)at));
	return at;
}

static long reserve(unsigned int op, u64 *list, u64 n, unsigned int order, u32 flags, domid_t dom,
		    u64 start)
{
	struct xen_memory_reservation r = {
		.nr_extents = n, .extent_order = order, .mem_flags = flags, .domid = dom};

	set_xen_guest_handle(r.extent_start, list);
	SAY("op %d of %ld at %lx order %d flags %x dom %x start %ld", op, n, (u64)list, order,
	    flags, dom, start);
	return mem(op | start << 6, &r);
}

static u64 odd_frame(void)
{
	const u64 f[] = {0x3fffffff, ~0ul, 1ul << 40, start_info->shared_info >> 12, 1ul << 52};

	return PICK(f);
}

/* Order 0 or one for which there is never room. */
static unsigned int any_order(void)
{
	static const u8 o[] = {0, 0, 0, 0, 0, 0, 0, 0, 20, 21, 30, 64, 128, 255};

	return PICK(o);
}

static long decrease(void)
{
	u64 list[4], *at;
	unsigned int who[4], n = (unsigned int)(pvg_rnd() % 4), order = any_order();
	u64 count = n, start = pvg_rnd() % 8 ? 0 : pvg_rnd() % 5;
	domid_t dom = domain();
	u32 flags = mem_flags();
	long r;

	for (unsigned int i = 0; i < n; i++) {
		who[i] = pvg_rnd() % 6 ? slot(true, pvg_rnd() & 1) : SLOTS;
		for (unsigned int k = 0; k < i; k++)
			if (who[k] == who[i])
				who[i] = SLOTS;
		list[i] = who[i] < SLOTS ? mfn[who[i]] : odd_frame();
	}
	if (pvg_rnd() % 16 == 0)
		count = pvg_rnd() & 1 ? 1ul << 26 : ~0ul;
	if (order != 0 && order <= 20)
		order = 0;
	at = list_at(list, n);
	r = reserve(XENMEM_decrease_reservation, at, count, order, flags, dom, start);
	if (r < 0 || r > n || at == (u64 *)HOLE || at == (u64 *)XEN)
		return r;
	for (u64 i = start; i < (u64)r; i++) {
		u64 m = at[i];

		for (unsigned int k = 0; k < SLOTS; k++) {
			if (mfn[k] == m && mapped[k])
				given[k] = true;
			else if (mfn[k] == m)
				mfn[k] = 0;
		}
	}
	return r;
}

/* One more frame is ours, at slot k. */
static void came(unsigned int k, u64 m)
{
	extra = pvg_mix(extra, held_by_us(m));
	mfn[k] = m;
	mapped[k] = given[k] = false;
}

static long increase(bool populate)
{
	u64 list[4], out, *at, before = reservation();
	unsigned int who[4], n = 0, want = (unsigned int)(pvg_rnd() % 4), order = any_order();
	u64 count, start = pvg_rnd() % 8 ? 0 : pvg_rnd() % 5;
	domid_t dom = domain();
	u32 flags = mem_flags();
	long r;

	while (n < want) {
		unsigned int k = slot(false, false);
		bool used = k == SLOTS;

		for (unsigned int i = 0; i < n; i++)
			used |= who[i] == k;
		if (used)
			break;
		who[n] = k;
		list[n] = FREE + k;
		n++;
	}
	count = pvg_rnd() % 16 ? n : pvg_rnd() & 1 ? 1ul << 26 : ~0ul;
	at = list_at(list, n);
	r = reserve(populate ? XENMEM_populate_physmap : XENMEM_increase_reservation, at, count,
		    order, flags, dom, start);
	out = reservation() - before;
	extra = pvg_mix(extra, out);
	if (at == (u64 *)HOLE || at == (u64 *)XEN || r < 0 || r > n)
		return r;
	for (u64 i = start; i < (u64)r; i++) {
		u64 m = at[i];

		extra = pvg_mix(extra, m == FREE + who[i]);
		if (m == FREE + who[i])
			continue; /* not told: lost until the end */
		if (populate)
			extra = pvg_mix(extra, pvg_pfn_of_mfn(m));
		SAY(" [%d %lx]", held_by_us(m), pvg_pfn_of_mfn(m));
		came(who[i], m);
	}
	return r;
}

static long exchange(void)
{
	u64 in[3], out[3], *ina, *outa;
	unsigned int who[3], n = (unsigned int)(pvg_rnd() % 4);
	struct xen_memory_exchange x;
	static const u8 orders[] = {0, 0, 0, 0, 0, 0, 0, 1, 10, 21, 64, 255};
	u64 before = reservation();
	long r;

	memset(&x, 0, sizeof(x));
	for (unsigned int i = 0; i < n; i++) {
		who[i] = pvg_rnd() % 8 ? slot(true, pvg_rnd() % 8 == 0) : SLOTS;
		for (unsigned int k = 0; k < i; k++)
			if (who[k] == who[i])
				who[i] = SLOTS;
		in[i] = who[i] < SLOTS ? mfn[who[i]] : odd_frame();
		out[i] = FREE + 100 + i;
	}
	x.in.nr_extents = n;
	x.out.nr_extents = pvg_rnd() % 8 ? n : pvg_rnd() % 4;
	x.in.extent_order = PICK(orders);
	x.out.extent_order = pvg_rnd() % 8 ? x.in.extent_order : PICK(orders);
	if (x.in.extent_order == 1)
		x.in.extent_order = x.out.extent_order == 1 ? 0 : 1;
	if (n == 2 && x.in.extent_order == 0 && x.out.extent_order == 1)
		x.out.extent_order = 0; /* two frames in a row: the host's matter */
	x.in.domid = domain();
	x.out.domid = pvg_rnd() % 8 ? x.in.domid : domain();
	x.in.mem_flags = mem_flags();
	x.out.mem_flags = mem_flags();
	x.nr_exchanged = pvg_rnd() % 8 ? 0 : pvg_rnd() % 4;
	ina = list_at(in, n);
	set_xen_guest_handle(x.in.extent_start, ina);
	outa = out;
	if (pvg_rnd() % 8 == 0)
		outa = (u64 *)(pvg_rnd() & 1 ? XEN : 1ul << 63);
	set_xen_guest_handle(x.out.extent_start, outa);
	SAY("exchange %ld/%d for %ld/%d flags %x %x doms %x %x done %ld at %lx %lx",
	    x.in.nr_extents, x.in.extent_order, x.out.nr_extents, x.out.extent_order,
	    x.in.mem_flags, x.out.mem_flags, x.in.domid, x.out.domid, x.nr_exchanged, (u64)ina,
	    (u64)outa);
	r = mem(XENMEM_exchange, &x);
	extra = pvg_mix(extra, x.nr_exchanged);
	extra = pvg_mix(extra, reservation() - before);
	for (unsigned int i = 0; i < n; i++) {
		if (out[i] == FREE + 100 + i)
			continue;
		for (unsigned int k = 0; k < SLOTS; k++) {
			if (mfn[k] != ina[i])
				continue;
			extra = pvg_mix(extra, pvg_pfn_of_mfn(out[i]));
			mfn[k] = 0;
			came(k, out[i]);
		}
	}
	return r;
}

static long map(void)
{
	unsigned int k = (unsigned int)(pvg_rnd() % SLOTS);
	u64 flags = pvg_rnd() & 1 ? PTE_KERN : PTE_P;
	long r;

	if (mapped[k]) {
		SAY("unmap %d%s", k, given[k] ? ", given back" : "");
		r = pvg_map(page[k], 0);
		if (r == 0) {
			if (given[k])
				mfn[k] = 0;
			given[k] = mapped[k] = false;
		}
		return r;
	}
	if (!mfn[k])
		return 0;
	SAY("map %d | %lx", k, flags);
	r = pvg_map(page[k], mfn[k] << 12 | flags);
	if (r == 0)
		mapped[k] = true;
	return r;
}

/* What else can be done to a frame that was given back. */
static long other_use(void)
{
	unsigned int k = (unsigned int)(pvg_rnd() % SLOTS), op = (unsigned int)(pvg_rnd() % 5);
	u64 list;
	long r;

	if (!mfn[k])
		return 0;
	SAY("use %d of %d%s", op, k, given[k] ? ", given back" : "");
	switch (op) {
	case 0:
		r = pvg_map(extra_map, mfn[k] << 12 | PTE_KERN);
		pvg_map(extra_map, 0);
		return r;
	case 1:
		r = pvg_mmuext(MMUEXT_PIN_L1_TABLE, mfn[k], 0);
		pvg_mmuext(MMUEXT_UNPIN_TABLE, mfn[k], 0);
		return r;
	case 2:
		return pvg_mmuext(MMUEXT_CLEAR_PAGE, mfn[k], 0);
	case 3:
		return pvg_mmu_update(mfn[k] << 12 | MMU_MACHPHYS_UPDATE, FREE + k);
	default:
		if (!given[k])
			return 0;
		list = mfn[k];
		return reserve(XENMEM_decrease_reservation, &list, 1, 0, 0, DOMID_SELF, 0);
	}
}

static long question(void)
{
	struct {
		u64 a[64];
	} buf;
	union {
		domid_t id;
		struct xen_memory_map map;
		struct xen_machphys_mfn_list list;
	} u;
	static const u8 ops[] = {XENMEM_maximum_ram_page,    XENMEM_current_reservation,
				 XENMEM_maximum_reservation, XENMEM_maximum_gpfn,
				 XENMEM_memory_map,	     XENMEM_machphys_mfn_list};
	unsigned int op = PICK(ops);
	u64 start = pvg_rnd() % 4 ? 0 : pvg_rnd() % 3;
	void *at = &u;
	long r;

	memset(&u, 0, sizeof(u));
	switch (op) {
	case XENMEM_memory_map:
		u.map.nr_entries = (unsigned int)(pvg_rnd() % 4);
		set_xen_guest_handle(u.map.buffer, pvg_rnd() % 4 ? (void *)&buf : (void *)HOLE);
		break;
	case XENMEM_machphys_mfn_list:
		u.list.max_extents = pvg_rnd() % 3 != 0; /* more of them are the size of the host */
		set_xen_guest_handle(u.list.extent_start,
				     pvg_rnd() % 4 ? (void *)&buf : (void *)HOLE);
		break;
	default:
		u.id = domain();
		break;
	}
	if (pvg_rnd() % 8 == 0)
		at = (void *)(pvg_rnd() & 1 ? HOLE : XEN);
	SAY("question %d at %lx start %ld", op, (u64)at, start);
	r = mem(op | start << 6, at);
	if (op == XENMEM_memory_map)
		extra = pvg_mix(extra, u.map.nr_entries);
	if (op == XENMEM_machphys_mfn_list)
		extra = pvg_mix(extra, u.list.nr_extents);
	return r > 0 ? 1 : r;
}

static long one(void)
{
	switch (pvg_rnd() % 12) {
	case 0:
	case 1:
		return decrease();
	case 2:
	case 3:
		return increase(true);
	case 4:
		return increase(false);
	case 5:
	case 6:
		return exchange();
	case 7:
	case 8:
		return map();
	case 9:
	case 10:
		return other_use();
	default:
		return question();
	}
}

static u64 state(void)
{
	u64 sum = extra;

	for (unsigned int i = 0; i < SLOTS; i++)
		sum = pvg_mix(sum, (u64)(mfn[i] != 0) | (u64)mapped[i] << 1 | (u64)given[i] << 2);
	sum = pvg_mix(sum, reservation() - first);
	return sum;
}

/* The same room everywhere: none, and then a few frames from the end of memory. */
static void make_room(void)
{
	u64 m;
	long given_back = 0;

	while (reserve(XENMEM_increase_reservation, &m, 1, 0, 0, DOMID_SELF, 0) == 1)
		;
	for (u64 pfn = start_info->nr_pages - 600; pfn < start_info->nr_pages; pfn++) {
		m = pvg_mfn_of_pfn(pfn);
		given_back += reserve(XENMEM_decrease_reservation, &m, 1, 0, 0, DOMID_SELF, 0);
	}
	printf("given back: %ld\n", given_back);
}

void guest_main(void)
{
	domid_t me = DOMID_SELF;

	pvg_events_init();
	pvg_traps_init();
	pvg_store_init();
	self = (domid_t)pvg_store_number("domid");
	for (unsigned int i = 0; i < SLOTS; i++) {
		page[i] = pvg_page_alloc();
		mfn[i] = pvg_mfn_of(page[i]);
		mapped[i] = true;
	}
	extra_map = pvg_page_alloc();
	pvg_map(extra_map, 0);
	rdonly = pvg_page_alloc_ro();
	edge = pvg_edge_alloc();
	first = reservation();
	printf("room to grow: %ld\n", mem(XENMEM_maximum_reservation, &me) - (long)first);
	make_room();
	first = reservation();
	for (unsigned int walk = 0; walk < WALKS; walk++) {
		pvg_seed(walk + 2000);
		extra = 0;
		printf("walk %d\n", walk);
		pvg_walk(walk, STEPS, one, state);
	}
}
