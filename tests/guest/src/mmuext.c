/* SPDX-License-Identifier: MIT */
/* The rest of mmuext_op: flushes, LDTs, clearing and copying pages, and its errors. */
#include "pvg.h"

static long ext(unsigned int cmd, u64 a, u64 b)
{
	return pvg_mmuext(cmd, a, b);
}

static void flushes(void)
{
	static u64 mask = 1, big = ~0ul;
	u8 *p = pvg_page_alloc();

	R("TLB_FLUSH_LOCAL", ext(MMUEXT_TLB_FLUSH_LOCAL, 0, 0));
	R("TLB_FLUSH_ALL", ext(MMUEXT_TLB_FLUSH_ALL, 0, 0));
	R("TLB_FLUSH_MULTI", ext(MMUEXT_TLB_FLUSH_MULTI, 0, (u64)&mask));
	R("TLB_FLUSH_MULTI, bits beyond the vCPUs", ext(MMUEXT_TLB_FLUSH_MULTI, 0, (u64)&big));
	R("TLB_FLUSH_MULTI, no mask", ext(MMUEXT_TLB_FLUSH_MULTI, 0, 0));
	R("TLB_FLUSH_MULTI, bad pointer", ext(MMUEXT_TLB_FLUSH_MULTI, 0, 0x600000000000));
	R("INVLPG_LOCAL", ext(MMUEXT_INVLPG_LOCAL, (u64)p, 0));
	R("INVLPG_LOCAL, a hole", ext(MMUEXT_INVLPG_LOCAL, 0x600000000000, 0));
	R("INVLPG_LOCAL, in Xen", ext(MMUEXT_INVLPG_LOCAL, 0xffff82d040200000, 0));
	R("INVLPG_LOCAL, non-canonical", ext(MMUEXT_INVLPG_LOCAL, 1ul << 63, 0));
	R("INVLPG_ALL", ext(MMUEXT_INVLPG_ALL, (u64)p, 0));
	R("INVLPG_ALL, non-canonical", ext(MMUEXT_INVLPG_ALL, 1ul << 63, 0));
	R("INVLPG_MULTI", ext(MMUEXT_INVLPG_MULTI, (u64)p, (u64)&mask));
	R("INVLPG_MULTI, bad pointer", ext(MMUEXT_INVLPG_MULTI, (u64)p, 0x600000000000));
	R("FLUSH_CACHE", ext(MMUEXT_FLUSH_CACHE, 0, 0));
	R("FLUSH_CACHE_GLOBAL", ext(MMUEXT_FLUSH_CACHE_GLOBAL, 0, 0));
	R("MARK_SUPER", ext(MMUEXT_MARK_SUPER, pvg_mfn_of(p), 0));
	R("UNMARK_SUPER", ext(MMUEXT_UNMARK_SUPER, pvg_mfn_of(p), 0));
	R("command 18 with arguments", ext(18, 0x3fffffff, 0));
	R("command 21", ext(21, 0, 0));
	R("command 2^32-1", ext(0xffffffff, 0, 0));
}

static void pages(void)
{
	u64 *a = pvg_page_alloc(), *b = pvg_page_alloc();

	a[0] = 1;
	a[511] = 2;
	b[0] = 3;
	R("COPY_PAGE", ext(MMUEXT_COPY_PAGE, pvg_mfn_of(b), pvg_mfn_of(a)));
	printf("  copied: %d %d\n", (int)b[0], (int)b[511]);
	R("CLEAR_PAGE", ext(MMUEXT_CLEAR_PAGE, pvg_mfn_of(b), 0));
	printf("  cleared: %d %d\n", (int)b[0], (int)b[511]);
	R("COPY_PAGE onto itself", ext(MMUEXT_COPY_PAGE, pvg_mfn_of(a), pvg_mfn_of(a)));
	R("CLEAR_PAGE of the root", ext(MMUEXT_CLEAR_PAGE, pvg_root_mfn(), 0));
	R("COPY_PAGE to the root", ext(MMUEXT_COPY_PAGE, pvg_root_mfn(), pvg_mfn_of(a)));
	R("COPY_PAGE from the root", ext(MMUEXT_COPY_PAGE, pvg_mfn_of(b), pvg_root_mfn()));
	printf("  copied: %d\n", b[511] == ((u64 *)start_info->pt_base)[511]);
	R("CLEAR_PAGE, no such frame", ext(MMUEXT_CLEAR_PAGE, 0x3fffffff, 0));
	R("COPY_PAGE, no such destination", ext(MMUEXT_COPY_PAGE, 0x3fffffff, pvg_mfn_of(a)));
	R("COPY_PAGE, no such source", ext(MMUEXT_COPY_PAGE, pvg_mfn_of(a), 0x3fffffff));
	pvg_set_ro(a);
	R("CLEAR_PAGE of a page mapped read-only", ext(MMUEXT_CLEAR_PAGE, pvg_mfn_of(a), 0));
	ext(MMUEXT_PIN_L1_TABLE, pvg_mfn_of(a), 0);
	R("CLEAR_PAGE of a pinned L1", ext(MMUEXT_CLEAR_PAGE, pvg_mfn_of(a), 0));
	ext(MMUEXT_UNPIN_TABLE, pvg_mfn_of(a), 0);
}

static void ldt(void)
{
	u64 *t = pvg_page_alloc();

	R("SET_LDT null", ext(MMUEXT_SET_LDT, 0, 0));
	R("SET_LDT not page aligned", ext(MMUEXT_SET_LDT, (u64)t + 8, 1));
	R("SET_LDT 8193 entries", ext(MMUEXT_SET_LDT, (u64)t, 8193));
	R("SET_LDT 8192 entries", ext(MMUEXT_SET_LDT, (u64)t, 8192));
	R("SET_LDT non-canonical", ext(MMUEXT_SET_LDT, 1ul << 63, 1));
	R("SET_LDT in Xen", ext(MMUEXT_SET_LDT, 0xffff82d040200000, 1));
	R("SET_LDT a hole", ext(MMUEXT_SET_LDT, 0x600000000000, 1));
	R("SET_LDT 0 entries at a bad address", ext(MMUEXT_SET_LDT, 1ul << 63, 0));
	R("SET_LDT null again", ext(MMUEXT_SET_LDT, 0, 0));
}

static long many(unsigned int bad, unsigned int count, unsigned int *done, unsigned int dom)
{
	struct mmuext_op op[4];

	for (unsigned int i = 0; i < 4; i++)
		op[i].cmd = i == bad ? 77 : MMUEXT_TLB_FLUSH_LOCAL;
	return HC4(mmuext_op, op, count, done, dom);
}

static void calls(void)
{
	unsigned int done = 77;

	R("four ops", many(9, 4, &done, DOMID_SELF));
	printf("  done %d\n", done);
	R("four, the third unknown", many(2, 4, &done, DOMID_SELF));
	printf("  done %d\n", done);
	done = 77;
	R("none", many(9, 0, &done, DOMID_SELF));
	printf("  done %d\n", done);
	done = 77;
	R("for domain 0", many(9, 1, &done, 0));
	printf("  done %d\n", done);
	R("for nobody", many(9, 1, &done, 1000));
	R("for DOMID_IO", many(9, 1, &done, DOMID_IO));
	R("for DOMID_XEN", many(9, 1, &done, DOMID_XEN));
	R("for DOMID_INVALID", many(9, 1, &done, DOMID_INVALID));
	R("operations at a bad pointer", HC4(mmuext_op, 0x600000000000, 1, 0, DOMID_SELF));
	R("operations in Xen", HC4(mmuext_op, 0xffff82d040200000, 1, 0, DOMID_SELF));
	R("done at a bad pointer", many(9, 1, (unsigned int *)0x600000000000, DOMID_SELF));
	R("count 2^31", many(9, 1u << 31, NULL, DOMID_SELF));
	R("2^31-1 operations at a bad pointer",
	  HC4(mmuext_op, 0x600000000000, 0x7fffffff, 0, DOMID_SELF));
}

void guest_main(void)
{
	pvg_events_init();
	pvg_traps_init();
	flushes();
	pages();
	ldt();
	calls();
}
