/* SPDX-License-Identifier: MIT */
/*
 * Random walks over event channels and grants, with small numbers so that many meet: a letter for
 * each answer, and with each line a sum over the state of all.
 */
#include "pvg.h"

#define WALKS 24
#define STEPS 800

static domid_t self;

static domid_t domid(void)
{
	const domid_t d[] = {DOMID_SELF, DOMID_SELF, DOMID_SELF, DOMID_SELF, self,
			     self,	 0,	     1000,	 DOMID_IO};

	return d[pvg_rnd() % ARRAY_SIZE(d)];
}

/* Not 1 and 2, which are the console's and the store's. */
static u32 port(void)
{
	u32 p = (u32)(pvg_rnd() % 24);

	return p == 1 || p == 2 ? 24 : p == 23 ? 1000 : p == 22 ? 5000 : p;
}

static u32 vcpu(void)
{
	return pvg_rnd() % 4 ? 0 : (u32)(pvg_rnd() % 3);
}

static void mask_bit(void)
{
	u32 p = port();

	if (p < 3 || p > 30)
		return;
	if (pvg_rnd() & 1)
		pvg_mask_port(p);
	else
		__atomic_fetch_and(&pvg_shared->evtchn_mask[p / 64], ~(1ul << p % 64),
				   __ATOMIC_SEQ_CST);
	if (pvg_rnd() & 1)
		__atomic_fetch_and(&pvg_shared->evtchn_pending[p / 64], ~(1ul << p % 64),
				   __ATOMIC_SEQ_CST);
}

static long event_op(void)
{
	union {
		struct evtchn_alloc_unbound unbound;
		struct evtchn_bind_interdomain inter;
		struct evtchn_bind_virq virq;
		struct evtchn_bind_ipi ipi;
		struct evtchn_bind_pirq pirq;
		struct evtchn_close close;
		struct evtchn_send send;
		struct evtchn_status status;
		struct evtchn_bind_vcpu bind;
		struct evtchn_unmask unmask;
	} u;
	unsigned int op = (unsigned int)(pvg_rnd() % 10);
	u32 p = port(), v = vcpu(), virq = (u32)(pvg_rnd() % 26);
	domid_t d = domid(), d2 = domid();
	long r;

	memset(&u, 0, sizeof(u));
	SAY("op %d port %d vcpu %d virq %d dom %x %x", op, p, v, virq, d, d2);
	switch (op) {
	case EVTCHNOP_bind_interdomain:
		u.inter.remote_dom = d;
		u.inter.remote_port = p;
		break;
	case EVTCHNOP_bind_virq:
		u.virq.virq = virq;
		u.virq.vcpu = v;
		break;
	case EVTCHNOP_bind_pirq:
		u.pirq.pirq = p;
		break;
	case EVTCHNOP_close:
		u.close.port = p;
		break;
	case EVTCHNOP_send:
		u.send.port = p;
		break;
	case EVTCHNOP_status:
		u.status.dom = d;
		u.status.port = p;
		break;
	case EVTCHNOP_alloc_unbound:
		u.unbound.dom = d;
		u.unbound.remote_dom = d2;
		break;
	case EVTCHNOP_bind_ipi:
		u.ipi.vcpu = v;
		break;
	case EVTCHNOP_bind_vcpu:
		u.bind.port = p;
		u.bind.vcpu = v;
		break;
	default:
		u.unmask.port = p;
		break;
	}
	r = HC2(event_channel_op, op, &u);
	if (r == 0 && op == EVTCHNOP_status && d != 0)
		return 1 + (long)u.status.status;
	return r;
}

static long event(void)
{
	if (pvg_rnd() % 4 == 0)
		mask_bit();
	return event_op();
}

static u64 ports(void)
{
	u64 sum = 0;

	for (u32 p = 3; p < 26; p++) {
		struct evtchn_status s = {.dom = DOMID_SELF, .port = p};
		long r = HC2(event_channel_op, EVTCHNOP_status, &s);
		u64 word = (u64)r << 32 | s.status << 8 | s.vcpu;

		if (r == 0 && s.status == EVTCHNSTAT_interdomain)
			word |= (u64)s.u.interdomain.port << 16 | (u64)(s.u.interdomain.dom == self)
									  << 28;
		if (r == 0 && s.status == EVTCHNSTAT_unbound)
			word |= (u64)(s.u.unbound.dom == self ? 1
				      : s.u.unbound.dom == 0  ? 2
							      : s.u.unbound.dom)
				<< 16;
		if (r == 0 && s.status == EVTCHNSTAT_virq)
			word |= (u64)s.u.virq << 16;
		word |= (u64)pvg_port_pending(p) << 40 | (u64)pvg_port_masked(p) << 41;
		sum = pvg_mix(sum, word ^ (u64)p << 50);
	}
	return sum;
}

/* ---- grants ---- */

#define PAGES 6
static u8 *page[PAGES], *hole[4];
static u32 handle[8] = {7777, 7777, 7777, 7777, 7777, 7777, 7777, 7777};

static u64 frame(void)
{
	unsigned int i = (unsigned int)(pvg_rnd() % (PAGES + 3));

	if (i < PAGES)
		return pvg_mfn_of(page[i]);
	return i == PAGES	? pvg_root_mfn()
	       : i == PAGES + 1 ? start_info->shared_info >> 12
				: 0x3fffffff;
}

static u32 ref(void)
{
	u32 r = (u32)(pvg_rnd() % 12);

	return r == 11 ? 1 << 20 : r == 10 ? 600 : 8 + r;
}

static long grant(void)
{
	union {
		struct gnttab_map_grant_ref map;
		struct gnttab_unmap_grant_ref unmap;
		struct gnttab_unmap_and_replace replace;
		struct gnttab_copy copy;
		struct gnttab_swap_grant_ref swap;
	} u;
	static const u16 flags[] = {GTF_permit_access,
				    GTF_permit_access,
				    GTF_permit_access | GTF_readonly,
				    0,
				    GTF_accept_transfer,
				    GTF_permit_access | 0x100,
				    GTF_transitive,
				    GTF_permit_access | GTF_sub_page,
				    GTF_permit_access | GTF_PWT};
	static const u32 gntmap[] = {GNTMAP_host_map,
				     GNTMAP_host_map,
				     GNTMAP_host_map | GNTMAP_readonly,
				     GNTMAP_device_map,
				     GNTMAP_host_map | GNTMAP_device_map,
				     GNTMAP_host_map | GNTMAP_application_map,
				     0,
				     GNTMAP_host_map | 1u << 5,
				     GNTMAP_host_map | 1u << 16,
				     GNTMAP_host_map | 1u << 10,
				     GNTMAP_host_map | GNTMAP_contains_pte};
	unsigned int op = (unsigned int)(pvg_rnd() % 8), h = (unsigned int)(pvg_rnd() % 4),
		     k = (unsigned int)(pvg_rnd() % 8);
	u32 r = ref(), r2 = ref();
	u64 f = frame(), f2 = frame();
	domid_t d = domid(), d2 = domid();
	u16 fl = flags[pvg_rnd() % ARRAY_SIZE(flags)];
	u32 gm = gntmap[pvg_rnd() % ARRAY_SIZE(gntmap)];
	u16 off = (u16)(pvg_rnd() % 4 * 1400), len = (u16)(pvg_rnd() % 5 * 1000),
	    cf = (u16)(pvg_rnd() % 5);
	long rc;

	memset(&u, 0, sizeof(u));
	SAY("gnt %d ref %d %d dom %x %x flags %x map %x hole %d handle %d", op, r, r2, d, d2, fl,
	    gm, h, k);
	switch (op) {
	case 0:
	case 1: /* an entry; one that is in use may not be changed */
		if (r > 600 || pvg_grants[r].flags & (GTF_reading | GTF_writing))
			return 0;
		pvg_grant(r, d == DOMID_SELF ? self : d, f, false);
		pvg_grants[r].flags = fl;
		return 0;
	case 2:
	case 3:
		u.map.dom = d == DOMID_SELF ? self : d;
		u.map.ref = r;
		u.map.flags = gm;
		u.map.host_addr =
			gm & GNTMAP_contains_pte ? pvg_entry_maddr((u64)hole[h], 1) : (u64)hole[h];
		rc = HC3(grant_table_op, GNTTABOP_map_grant_ref, &u, 1);
		if (rc)
			return rc;
		if (!u.map.status)
			handle[k] = u.map.handle;
		return u.map.status;
	case 4:
	case 5:
		u.unmap.handle = handle[k];
		u.unmap.host_addr = gm & GNTMAP_contains_pte ? pvg_entry_maddr((u64)hole[h], 1)
				    : pvg_rnd() % 8	     ? (u64)hole[h]
							     : 0;
		rc = HC3(grant_table_op, GNTTABOP_unmap_grant_ref, &u, 1);
		return rc ? rc : u.unmap.status;
	case 6:
		u.copy.source.domid = d;
		u.copy.dest.domid = d2;
		u.copy.flags = cf;
		if (cf & 1)
			u.copy.source.u.ref = r;
		else
			u.copy.source.u.gmfn = f;
		if (cf & 2)
			u.copy.dest.u.ref = r2;
		else
			u.copy.dest.u.gmfn = f2 == start_info->shared_info >> 12 ? f : f2;
		if (!(cf & 2) && u.copy.dest.u.gmfn == start_info->shared_info >> 12)
			return 0;
		u.copy.source.offset = off;
		u.copy.len = len;
		if ((cf & 2) && r2 <= 600 && pvg_grants[r2].frame == start_info->shared_info >> 12)
			return 0;
		rc = HC3(grant_table_op, GNTTABOP_copy, &u, 1);
		return rc ? rc : u.copy.status;
	default:
		u.swap.ref_a = r;
		u.swap.ref_b = r2;
		rc = HC3(grant_table_op, GNTTABOP_swap_grant_ref, &u, 1);
		return rc ? rc : u.swap.status;
	}
}

static u64 grants(void)
{
	u64 sum = 0;

	for (u32 r = 8; r < 19; r++) {
		sum = pvg_mix(sum, pvg_grants[r].flags ^ (u64)r << 30);
	}
	for (unsigned int h = 0; h < 4; h++) {
		u64 e = *pvg_entry((u64)hole[h], 1), m = (e & PTE_ADDR) >> 12, k;

		for (k = 0; k < PAGES && pvg_mfn_of(page[k]) != m; k++)
			;
		sum = pvg_mix(sum, (e & ~PTE_ADDR & ~(PTE_A | PTE_D)) ^ k << 20);
	}
	return sum;
}

static void clean(void)
{
	for (u32 p = 3; p < 1024; p++) {
		struct evtchn_close c = {.port = p};

		HC2(event_channel_op, EVTCHNOP_close, &c);
		__atomic_fetch_and(&pvg_shared->evtchn_mask[p / 64], ~(1ul << p % 64),
				   __ATOMIC_SEQ_CST);
		__atomic_fetch_and(&pvg_shared->evtchn_pending[p / 64], ~(1ul << p % 64),
				   __ATOMIC_SEQ_CST);
	}
}

void guest_main(void)
{
	pvg_events_init();
	pvg_traps_init();
	HC3(vcpu_op, VCPUOP_stop_periodic_timer, 0, 0); /* ticks come when they want */
	pvg_grants_init();
	pvg_store_init();
	self = (domid_t)pvg_store_number("domid");
	for (int i = 0; i < PAGES; i++)
		page[i] = pvg_page_alloc();
	for (int i = 0; i < 4; i++) {
		hole[i] = pvg_page_alloc();
		pvg_map(hole[i], 0);
	}
	for (unsigned int walk = 0; walk < WALKS; walk++) {
		pvg_seed(walk);
		printf("walk %d\nevents\n", walk);
		pvg_walk(walk, STEPS, event, ports);
		clean();
		/* Later handles repeat, in another order than on Xen, which has more of them. */
		if (walk < 5) {
			printf("grants\n");
			pvg_walk(walk, STEPS, grant, grants);
		}
	}
}
