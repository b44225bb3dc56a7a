/* SPDX-License-Identifier: MIT */
/*
 * Random walks over the MMU interface, several requests a call: what was done before the one that
 * failed, and how many the call says; foreign domains, odd commands, counts and pointers.
 */
#include "pvg.h"

#define WALKS	  16
#define STEPS	  640
#define HOLE	  0x600000000000ul
#define XEN	  0xffff82d040200000ul
#define PREEMPTED (1u << 31) /* of a count: `done` holds what was done before */

static domid_t self;
static u32 *done;      /* in a page of its own */
static u8 *rdonly;     /* mapped read-only */
static u64 *edge;      /* the end of a page, behind which is a hole */
static u64 extra;      /* mixed into the next sum: counts and words */
static u64 spare_slot; /* machine address of an unused entry of the root */

static u32 domains(void)
{
	const u32 lower[] = {DOMID_SELF, DOMID_SELF, DOMID_SELF, DOMID_SELF, DOMID_SELF,
			     DOMID_SELF, DOMID_SELF, DOMID_SELF, DOMID_IO,   self,
			     0,		 1000,	     DOMID_XEN,	 DOMID_COW,  DOMID_INVALID};
	const u32 upper[] = {
		0, 0, 0, 0, 0, 0, 0, 0, 0, self + 1u, 1, 1001, DOMID_SELF + 1u, DOMID_IO + 1u};

	return PICK(lower) | PICK(upper) << 16;
}

/* Where `done` goes: NULL, good, or nowhere. */
static u32 *done_ptr(void)
{
	u32 *const at[] = {done, done, done, done, NULL, (u32 *)rdonly, (u32 *)HOLE, (u32 *)XEN};

	*done = (u32)(pvg_rnd() % 4);
	return PICK(at);
}

/* Not all counts are true. */
static u32 count(u32 n)
{
	u32 k = (u32)(pvg_rnd() % 16);

	return k == 0 ? 0 : k == 1 ? n | PREEMPTED : k == 2 ? PREEMPTED : n;
}

/* Requests at the edge of a page: those behind it cannot be read. */
static void *place(const void *list, unsigned int size, unsigned int n)
{
	unsigned int k = (unsigned int)(pvg_rnd() % 8);
	u8 *at = (u8 *)edge;

	if (k == 7)
		return pvg_rnd() & 1 ? (void *)HOLE : (void *)XEN;
	at -= (u64)size * (k == 6 ? n - 1 : n);
	memcpy(at, list, (u64)size * (k == 6 ? n - 1 : n));
	return at;
}

static u64 pointer(const char **name)
{
	unsigned int i = (unsigned int)(pvg_rnd() % PVG_POOL), k = (unsigned int)(pvg_rnd() % 24);
	u64 slot = pvg_pool_slot();

	*name = "pool";
	switch (k) {
	case 0:
		*name = "window";
		return (pvg_window_mfn << 12) + slot * 8;
	case 1:
		*name = "nowhere";
		return (0x3fffffful << 12) + slot * 8;
	case 2:
		*name = "root";
		return spare_slot + (pvg_rnd() & 1 ? 0 : (256 + pvg_rnd() % 16 - 200) * 8);
	case 3:
		*name = "beyond";
		return 1ul << (40 + pvg_rnd() % 24) | slot * 8;
	default:
		return (pvg_pool_mfn[i] << 12) + slot * 8;
	}
}

static long updates(void)
{
	struct mmu_update u[5];
	unsigned int n = 1 + (unsigned int)(pvg_rnd() % 5);
	const char *name, *name2;
	u32 dom = domains(), cnt, *at;
	void *list;
	long r;

	for (unsigned int i = 0; i < n; i++) {
		static const u8 cmds[] = {0, 0, 0, 0, 0, 0, 2, 2, 3, 4, 5, 7};
		u64 cmd = PICK(cmds), f = pvg_pool_frame(&name2), fl = pvg_pool_flags();

		u[i].ptr = pointer(&name) | cmd;
		u[i].val = f << 12 | fl;
		SAY("mmu_update %d: %s %lx cmd %d = %s | %lx; ", i, name, u[i].ptr & 0xff8,
		    (int)cmd, name2, fl);
	}
	cnt = count(n);
	list = place(u, sizeof(u[0]), n);
	at = done_ptr();
	SAY("count %x domains %x list %lx done at %lx", cnt, dom, (u64)list, (u64)at);
	r = HC4(mmu_update, list, cnt, at, dom);
	extra = pvg_mix(extra, *done);
	SAY(", done %d", *done);
	return r;
}

/* The M2P of the pool's frames, then put right again. */
static long machphys(void)
{
	struct mmu_update u[3];
	unsigned int n = 1 + (unsigned int)(pvg_rnd() % 3);
	const char *name;
	u32 dom = domains();
	long r;

	for (unsigned int i = 0; i < n; i++) {
		u[i].ptr =
			pvg_pool_frame(&name) << 12 | (pvg_rnd() % 4 ? 0 : 8) | MMU_MACHPHYS_UPDATE;
		u[i].val = pvg_rnd() % 3 ? 0x1000 + i : ~0ul;
	}
	*done = 9;
	SAY("machphys of %d domains %x", n, dom);
	r = HC4(mmu_update, u, n, done, dom);
	extra = pvg_mix(extra, *done);
	for (unsigned int i = 0; i < PVG_POOL; i++) {
		u64 now = pvg_pfn_of_mfn(pvg_pool_mfn[i]), pfn = pvg_pfn_of(pvg_pool[i]);

		extra = pvg_mix(extra, now == pfn ? 0 : now);
		pvg_mmu_update(pvg_pool_mfn[i] << 12 | MMU_MACHPHYS_UPDATE, pfn);
	}
	pvg_mmu_update(pvg_window_mfn << 12 | MMU_MACHPHYS_UPDATE, pvg_pfn_of(pvg_window_l1));
	pvg_mmu_update(pvg_root_mfn() << 12 | MMU_MACHPHYS_UPDATE,
		       pvg_pfn_of((void *)start_info->pt_base));
	return r;
}

static void ext_op(struct mmuext_op *op)
{
	static const u8 cmds[] = {MMUEXT_PIN_L1_TABLE,
				  MMUEXT_PIN_L1_TABLE,
				  MMUEXT_PIN_L2_TABLE,
				  MMUEXT_PIN_L3_TABLE,
				  MMUEXT_PIN_L4_TABLE,
				  MMUEXT_UNPIN_TABLE,
				  MMUEXT_UNPIN_TABLE,
				  MMUEXT_TLB_FLUSH_LOCAL,
				  MMUEXT_INVLPG_LOCAL,
				  MMUEXT_TLB_FLUSH_MULTI,
				  MMUEXT_INVLPG_MULTI,
				  MMUEXT_TLB_FLUSH_ALL,
				  MMUEXT_INVLPG_ALL,
				  MMUEXT_FLUSH_CACHE,
				  MMUEXT_SET_LDT,
				  MMUEXT_NEW_USER_BASEPTR,
				  MMUEXT_NEW_USER_BASEPTR,
				  MMUEXT_CLEAR_PAGE,
				  MMUEXT_COPY_PAGE,
				  MMUEXT_FLUSH_CACHE_GLOBAL,
				  MMUEXT_MARK_SUPER,
				  MMUEXT_UNMARK_SUPER,
				  MMUEXT_NEW_BASEPTR,
				  21,
				  63};
	const char *name, *name2;
	u64 f = pvg_pool_frame(&name), f2 = pvg_pool_frame(&name2);
	unsigned int cmd = PICK(cmds);
	static u64 mask = 1;

	memset(op, 0, sizeof(*op));
	switch (cmd) {
	case MMUEXT_PIN_L1_TABLE:
	case MMUEXT_PIN_L2_TABLE:
	case MMUEXT_PIN_L3_TABLE:
	case MMUEXT_PIN_L4_TABLE:
		op->arg1.mfn = f == pvg_window_mfn ? 0x3fffffff : f;
		break;
	case MMUEXT_UNPIN_TABLE:
		op->arg1.mfn = f == pvg_root_mfn() ? 0x3fffffff : f;
		break;
	case MMUEXT_NEW_BASEPTR: /* what is no root, or the running one */
		op->arg1.mfn = f == start_info->shared_info >> 12 ? f
			       : pvg_rnd() & 1			  ? pvg_root_mfn()
								  : 0x3fffffff;
		break;
	case MMUEXT_NEW_USER_BASEPTR:
		op->arg1.mfn = pvg_rnd() & 1 ? f : 0;
		break;
	case MMUEXT_CLEAR_PAGE:
	case MMUEXT_COPY_PAGE:
		op->arg1.mfn = f == start_info->shared_info >> 12 ? 0x3fffffff : f;
		op->arg2.src_mfn = f2 == start_info->shared_info >> 12 ? f : f2;
		break;
	case MMUEXT_SET_LDT:
		op->arg1.linear_addr = pvg_rnd() & 1   ? pvg_window + (pvg_rnd() % 4) * PAGE_SIZE
				       : pvg_rnd() & 1 ? XEN
						       : 1ul << 63;
		op->arg1.linear_addr |= pvg_rnd() % 4 ? 0 : 8;
		op->arg2.nr_ents = (unsigned int)(pvg_rnd() % 5) * 2048 + (pvg_rnd() % 4 ? 0 : 1);
		break;
	default:
		op->arg1.linear_addr = pvg_rnd() & 1 ? pvg_window : pvg_rnd() & 1 ? XEN : 1ul << 63;
		set_xen_guest_handle(op->arg2.vcpumask, pvg_rnd() & 1	? (void *)&mask
							: pvg_rnd() & 1 ? (void *)XEN
									: (void *)HOLE);
		break;
	}
	op->cmd = cmd | (pvg_rnd() % 32 ? 0 : 1u << 31);
	SAY("mmuext %x %s(%lx) %s(%lx); ", op->cmd, name,
	    op->arg1.mfn == f ? 0 : op->arg1.linear_addr, name2,
	    op->arg2.src_mfn == f2 ? 0 : op->arg2.src_mfn);
}

static long ext(void)
{
	struct mmuext_op op[4];
	unsigned int n = 1 + (unsigned int)(pvg_rnd() % 4);
	u32 dom = pvg_rnd() % 4 ? DOMID_SELF : domains(), cnt, *at;
	void *list;
	long r;

	for (unsigned int i = 0; i < n; i++)
		ext_op(&op[i]);
	cnt = count(n);
	list = place(op, sizeof(op[0]), n);
	at = done_ptr();
	SAY("count %x domain %x list %lx done at %lx", cnt, dom, (u64)list, (u64)at);
	r = HC4(mmuext_op, list, cnt, at, dom);
	extra = pvg_mix(extra, *done);
	SAY(", done %d", *done);
	return r;
}

/* Every kind of address that has an L1 of ours, or none. */
static long by_address(void)
{
	static u64 mask = 1;
	const u64 vas[] = {pvg_window,
			   pvg_window + 0x1000,
			   pvg_window + 0x2000,
			   pvg_window,
			   pvg_window + 0x1000,
			   pvg_window + 0x2fff,
			   HOLE,
			   XEN,
			   1ul << 63,
			   1ul << 47,
			   0xffff800000000000,
			   pvg_window + (1ul << 21),
			   0xffff880000000000};
	const u64 masks[] = {0, 0, 4, 4, (u64)&mask, HOLE, XEN, 1ul << 63, (u64)rdonly};
	const char *name;
	u64 f = pvg_pool_frame(&name), fl = pvg_pool_flags(), va = PICK(vas);
	u64 how = PICK(masks) | pvg_rnd() % 4;

	if (pvg_rnd() % 4) {
		SAY("va_mapping %lx = %s | %lx, flags %lx", va, name, fl, how);
		return HC3(update_va_mapping, va, f << 12 | fl, how);
	} else {
		u32 dom = domains();

		SAY("va_mapping %lx = %s | %lx, flags %lx, domain %x", va, name, fl, how, dom);
		return HC4(update_va_mapping_otherdomain, va, f << 12 | fl, how, dom);
	}
}

static long several(void)
{
	struct multicall_entry m[4];
	struct mmu_update u[4];
	struct mmuext_op op[4];
	unsigned int n = 1 + (unsigned int)(pvg_rnd() % 4);
	const char *name, *name2;
	void *list;
	long r;

	memset(m, 0, sizeof(m));
	for (unsigned int i = 0; i < n; i++) {
		u64 f = pvg_pool_frame(&name), fl = pvg_pool_flags();

		m[i].result = 77;
		switch (pvg_rnd() % 6) {
		case 0:
		case 1:
			u[i].ptr = pointer(&name2);
			u[i].val = f << 12 | fl;
			m[i].op = __HYPERVISOR_mmu_update;
			m[i].args[0] = (u64)&u[i];
			m[i].args[1] = 1;
			m[i].args[3] = DOMID_SELF;
			break;
		case 2:
			ext_op(&op[i]);
			m[i].op = __HYPERVISOR_mmuext_op;
			m[i].args[0] = (u64)&op[i];
			m[i].args[1] = 1;
			m[i].args[3] = DOMID_SELF;
			break;
		case 3:
			m[i].op = __HYPERVISOR_update_va_mapping;
			m[i].args[0] = pvg_window + pvg_rnd() % 4 * PAGE_SIZE;
			m[i].args[1] = f << 12 | fl;
			m[i].args[2] = pvg_rnd() % 8;
			break;
		case 4:
			m[i].op = __HYPERVISOR_update_descriptor;
			m[i].args[0] = (f << 12) + pvg_pool_slot() * 8;
			m[i].args[1] = pvg_rnd() & 1 ? 0 : 0x00cff3000000ffff;
			if (f == start_info->shared_info >> 12 || f == pvg_root_mfn())
				m[i].args[0] |= 1;
			break;
		default: {
			static const u64 odd[] = {__HYPERVISOR_multicall, 63, 64, 1ul << 32, ~0ul};

			m[i].op = PICK(odd);
			m[i].args[1] = 1;
			break;
		}
		}
		SAY("entry %d: op %lx %s | %lx; ", i, m[i].op, name, fl);
	}
	list = place(m, sizeof(m[0]), n);
	SAY("multicall of %d at %lx", n, (u64)list);
	r = HC2(multicall, list, n);
	if (list != (void *)HOLE && list != (void *)XEN) {
		const struct multicall_entry *e = list;

		for (unsigned int i = 0; (u64)(e + 1) <= (u64)edge; i++, e++)
			extra = pvg_mix(extra, e->result);
	}
	return r;
}

static long one(void)
{
	switch (pvg_rnd() % 12) {
	case 0:
	case 1: {
		unsigned int i = (unsigned int)(pvg_rnd() % PVG_POOL),
			     n = (unsigned int)(pvg_rnd() % 4);

		SAY("p%d %s", i, n ? "read-only" : "writable");
		return n ? pvg_set_ro(pvg_pool[i]) : pvg_set_rw(pvg_pool[i]);
	}
	case 2:
	case 3:
	case 4:
	case 5:
		return updates();
	case 6:
	case 7:
	case 8:
		return ext();
	case 9:
		return by_address();
	case 10:
		return several();
	default:
		return machphys();
	}
}

static u64 state(void)
{
	return pvg_mix(extra, pvg_pool_contents());
}

void guest_main(void)
{
	pvg_events_init();
	pvg_traps_init();
	pvg_store_init();
	self = (domid_t)pvg_store_number("domid");
	pvg_pool_init();
	done = pvg_page_alloc();
	rdonly = pvg_page_alloc_ro();
	edge = pvg_edge_alloc();
	spare_slot = (pvg_root_mfn() << 12) + 200 * 8;
	HC2(vm_assist, VMASST_CMD_enable, VMASST_TYPE_writable_pagetables);
	for (unsigned int walk = 0; walk < WALKS; walk++) {
		pvg_seed(walk + 1000);
		extra = 0;
		printf("walk %d\n", walk);
		pvg_walk(walk, STEPS, one, state);
		pvg_mmu_update(spare_slot, 0);
		printf("clean: %d\n", pvg_pool_clean());
	}
}
