/* SPDX-License-Identifier: MIT */
/*
 * Random walks over grants and the page tables they are mapped in: replaced and overwritten
 * mappings, several operations a call, frames that are granted, mapped and page tables at once.
 */
#include "pvg.h"

#define WALKS  10
#define STEPS  640
#define HOLES  4
#define REFS   10
#define MARKED 7777u /* no handle */

static domid_t self;
static u32 handle[6];
static u64 extra;

static domid_t domid(void)
{
	const domid_t d[] = {self, self, self, self, self, self, DOMID_SELF, 0, 1000, DOMID_IO};

	return PICK(d);
}

static u32 ref(void)
{
	u32 r = (u32)(pvg_rnd() % (REFS + 2));

	return r == REFS ? 600 : r > REFS ? 1u << 20 : 8 + r;
}

static u64 hole(void)
{
	u32 k = (u32)(pvg_rnd() % (HOLES + 2));

	return k < HOLES ? pvg_window + k * PAGE_SIZE : k == HOLES ? 0x600000000000ul : 1ul << 63;
}

static u64 pte_of(u64 va)
{
	u64 at = va < pvg_window || va >= pvg_window + HOLES * PAGE_SIZE
			 ? (pvg_pool_mfn[0] << 12)
			 : (pvg_window_mfn << 12) + L1X(va) * 8;

	return at + (pvg_rnd() % 16 ? 0 : 4);
}

static long entry(void)
{
	static const u16 flags[] = {GTF_permit_access,
				    GTF_permit_access,
				    GTF_permit_access,
				    GTF_permit_access | GTF_readonly,
				    0,
				    GTF_accept_transfer,
				    GTF_accept_transfer | GTF_transfer_committed,
				    GTF_accept_transfer | GTF_transfer_completed,
				    GTF_permit_access | GTF_PCD};
	const char *name;
	u64 f = pvg_pool_frame(&name);
	u32 r = 8 + (u32)(pvg_rnd() % REFS);
	domid_t d = domid();
	u16 fl = PICK(flags);

	if (f == start_info->shared_info >> 12)
		f = pvg_pool_mfn[1];
	SAY("entry %d = %s for %x flags %x", r, name, d, fl);
	if (pvg_grants[r].flags & (GTF_reading | GTF_writing))
		return 1;
	pvg_grant(r, d, f, false);
	pvg_grants[r].flags = fl;
	return 0;
}

static u32 map_flags(void)
{
	static const u32 f[] = {GNTMAP_host_map,
				GNTMAP_host_map,
				GNTMAP_host_map,
				GNTMAP_host_map | GNTMAP_readonly,
				GNTMAP_host_map | GNTMAP_readonly,
				GNTMAP_device_map,
				GNTMAP_device_map | GNTMAP_readonly,
				GNTMAP_host_map | GNTMAP_device_map,
				GNTMAP_host_map | GNTMAP_application_map,
				GNTMAP_host_map | GNTMAP_contains_pte,
				GNTMAP_host_map | GNTMAP_contains_pte | GNTMAP_readonly,
				0};

	return PICK(f);
}

static u32 some_handle(void)
{
	return pvg_rnd() % 8 ? PICK(handle) : pvg_rnd() & 1 ? MARKED : ~0u;
}

static long maps(void)
{
	struct gnttab_map_grant_ref m[3];
	unsigned int n = 1 + (unsigned int)(pvg_rnd() % 3);
	long r, last = 0;

	for (unsigned int i = 0; i < n; i++) {
		u64 va = hole();

		memset(&m[i], 0, sizeof(m[i]));
		m[i].flags = map_flags();
		m[i].ref = ref();
		m[i].dom = domid();
		m[i].status = 77;
		m[i].host_addr = m[i].flags & GNTMAP_contains_pte ? pte_of(va) : va;
		SAY("map ref %d of %x flags %x hole %d; ", m[i].ref, m[i].dom, m[i].flags,
		    (int)L1X(va));
	}
	SAY("map of %d", n);
	r = HC3(grant_table_op, GNTTABOP_map_grant_ref, m, n);
	for (unsigned int i = 0; i < n; i++) {
		SAY(" %d", m[i].status);
		extra = pvg_mix(extra, (u64)m[i].status);
		last = m[i].status;
		if (m[i].status == 0) {
			u64 f = m[i].dev_bus_addr >> 12, k;

			for (k = 0; k < PVG_POOL && pvg_pool_mfn[k] != f; k++)
				;
			extra = pvg_mix(extra, k);
			handle[pvg_rnd() % ARRAY_SIZE(handle)] = m[i].handle;
		}
	}
	return r ? r : last;
}

static long unmaps(void)
{
	struct gnttab_unmap_grant_ref u[3];
	unsigned int n = 1 + (unsigned int)(pvg_rnd() % 3);
	long r, last = 0;

	for (unsigned int i = 0; i < n; i++) {
		u64 va = hole();

		memset(&u[i], 0, sizeof(u[i]));
		u[i].handle = some_handle();
		u[i].status = 77;
		u[i].host_addr = pvg_rnd() % 4 ? va : pvg_rnd() & 1 ? pte_of(va) : 0;
		if (pvg_rnd() % 4 == 0)
			u[i].dev_bus_addr = pvg_rnd() & 1 ? PICK(pvg_pool_mfn) << 12 : 0x1000;
		SAY("unmap handle %d hole %d %lx bus %lx; ", u[i].handle, (int)L1X(va),
		    u[i].host_addr, u[i].dev_bus_addr);
	}
	SAY("unmap of %d", n);
	r = HC3(grant_table_op, GNTTABOP_unmap_grant_ref, u, n);
	for (unsigned int i = 0; i < n; i++) {
		SAY(" %d", u[i].status);
		extra = pvg_mix(extra, (u64)u[i].status);
		last = u[i].status;
	}
	return r ? r : last;
}

static long replace(void)
{
	struct gnttab_unmap_and_replace u;
	long r;

	memset(&u, 0, sizeof(u));
	u.handle = some_handle();
	u.host_addr = hole();
	u.new_addr = pvg_rnd() % 8 ? hole() : 0;
	u.status = 77;
	SAY("replace handle %d hole %d by %d", u.handle, (int)L1X(u.host_addr),
	    (int)L1X(u.new_addr));
	r = HC3(grant_table_op, GNTTABOP_unmap_and_replace, &u, 1);
	return r ? r : u.status;
}

static long transfer(void)
{
	struct gnttab_transfer t = {.ref = ref(), .domid = domid(), .status = 77};
	static const u64 f[] = {0x3fffffff, ~0ul, 1ul << 52};
	long r;

	/* A frame of ours would be gone before the other side is looked at. */
	t.mfn = PICK(f);
	SAY("transfer to %x ref %d", t.domid, t.ref);
	r = HC3(grant_table_op, GNTTABOP_transfer, &t, 1);
	return r ? r : t.status;
}

static long copies(void)
{
	struct gnttab_copy c[3];
	unsigned int n = 1 + (unsigned int)(pvg_rnd() % 3);
	const char *name;
	long r, last = 0;

	for (unsigned int i = 0; i < n; i++) {
		u64 f = pvg_pool_frame(&name), f2 = PICK(pvg_pool_mfn);

		memset(&c[i], 0, sizeof(c[i]));
		c[i].flags = (u16)(pvg_rnd() % 4);
		c[i].source.domid = c[i].flags & 1 ? domid() : DOMID_SELF;
		c[i].dest.domid = c[i].flags & 2 ? domid() : DOMID_SELF;
		if (c[i].flags & 1)
			c[i].source.u.ref = ref();
		else
			c[i].source.u.gmfn = f == start_info->shared_info >> 12 ? 0x3fffffff : f;
		if (c[i].flags & 2)
			c[i].dest.u.ref = ref();
		else
			c[i].dest.u.gmfn = f2;
		c[i].len = 8;
		c[i].source.offset = 4000; /* what is not used as an entry */
		c[i].dest.offset = pvg_rnd() % 8 ? 4000 : 4092;
		c[i].status = 77;
	}
	SAY("copy of %d", n);
	r = HC3(grant_table_op, GNTTABOP_copy, c, n);
	for (unsigned int i = 0; i < n; i++) {
		SAY(" %d", c[i].status);
		extra = pvg_mix(extra, (u64)c[i].status);
		last = c[i].status;
	}
	return r ? r : last;
}

static void poke(u64 a, u64 b, u64 c)
{
	*(volatile u64 *)a = b;
}
static void peek(u64 a, u64 b, u64 c)
{
	(void)*(volatile u64 *)a;
}

static long tables(void)
{
	unsigned int i = (unsigned int)(pvg_rnd() % PVG_POOL), k = (unsigned int)(pvg_rnd() % 10),
		     n = (unsigned int)(pvg_rnd() % 4);
	const char *name;
	u64 va = pvg_window + pvg_rnd() % HOLES * PAGE_SIZE, f = pvg_pool_frame(&name);

	switch (k) {
	case 0:
	case 1:
		SAY("p%d %s", i, n ? "read-only" : "writable");
		return n ? pvg_set_ro(pvg_pool[i]) : pvg_set_rw(pvg_pool[i]);
	case 2:
	case 3:
		SAY("pin p%d L%d", i, n ? 1 : 2);
		return pvg_mmuext(n ? MMUEXT_PIN_L1_TABLE : MMUEXT_PIN_L2_TABLE, pvg_pool_mfn[i],
				  0);
	case 4:
		SAY("unpin p%d", i);
		return pvg_mmuext(MMUEXT_UNPIN_TABLE, pvg_pool_mfn[i], 0);
	case 5: /* a mapping that is not a grant's, perhaps over one that is */
		SAY("hole %d = %s, %d", (int)L1X(va), name, n);
		return pvg_map((void *)va, n == 0 ? 0 : f << 12 | (n == 1 ? PTE_P : PTE_KERN));
	case 6: { /* the bits of what is there */
		u64 e = pvg_window_l1[L1X(va)];

		SAY("hole %d changes %lx", (int)L1X(va), e & ~PTE_ADDR);
		return pvg_map((void *)va, e ^ (n == 0 ? PTE_RW : n == 1 ? 1ul << 9 : PTE_NX));
	}
	case 7:
		SAY("store to hole %d", (int)L1X(va));
		pvg_invlpg((void *)va);
		return pvg_try3(poke, va + 4000, 0, 0) ? -14 : 0;
	case 8:
		SAY("load from hole %d", (int)L1X(va));
		pvg_invlpg((void *)va);
		return pvg_try3(peek, va + 4000, 0, 0) ? -14 : 0;
	default:
		SAY("entry ends");
		i = 8 + i;
		if (pvg_grants[i].flags & (GTF_reading | GTF_writing))
			return 1;
		pvg_grants[i].flags = 0;
		return 0;
	}
}

static long one(void)
{
	switch (pvg_rnd() % 12) {
	case 0:
	case 1:
		return entry();
	case 2:
	case 3:
	case 4:
		return maps();
	case 5:
	case 6:
		return unmaps();
	case 7:
		return replace();
	case 8:
		return pvg_rnd() & 1 ? transfer() : copies();
	default:
		return tables();
	}
}

static u64 state(void)
{
	u64 sum = extra;

	for (u32 r = 8; r < 8 + REFS; r++)
		sum = pvg_mix(sum, pvg_grants[r].flags ^ (u64)r << 30);
	for (unsigned int h = 0; h < HOLES; h++) {
		u64 e = pvg_window_l1[h], m = (e & PTE_ADDR) >> 12, k;

		for (k = 0; k < PVG_POOL && pvg_pool_mfn[k] != m; k++)
			;
		sum = pvg_mix(sum, (e & ~PTE_ADDR & ~(PTE_A | PTE_D)) ^ k << 20);
		SAY(" [%lx p%ld]", e & ~PTE_ADDR, k);
	}
	return sum;
}

/* All handles given back, whatever they map. */
static void clean(void)
{
	for (unsigned int h = 0; h < HOLES; h++) {
		for (unsigned int i = 0; i < ARRAY_SIZE(handle); i++) {
			struct gnttab_unmap_grant_ref u = {.host_addr = pvg_window + h * PAGE_SIZE,
							   .handle = handle[i]};

			HC3(grant_table_op, GNTTABOP_unmap_grant_ref, &u, 1);
		}
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(handle); i++)
		handle[i] = MARKED;
}

void guest_main(void)
{
	pvg_events_init();
	pvg_traps_init();
	pvg_grants_init();
	pvg_store_init();
	self = (domid_t)pvg_store_number("domid");
	pvg_pool_init();
	for (unsigned int walk = 0; walk < WALKS; walk++) {
		for (unsigned int i = 0; i < ARRAY_SIZE(handle); i++)
			handle[i] = MARKED;
		pvg_seed(walk + 3000);
		extra = 0;
		printf("walk %d\n", walk);
		pvg_walk(walk, STEPS, one, state);
		clean();
	}
}
