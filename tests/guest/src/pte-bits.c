/* SPDX-License-Identifier: MIT */
/*
 * Every bit of an entry at every level, present and not, over an empty and a used slot; what is
 * then in the table; and the same entries found in a page that is pinned.
 */
#include "pvg.h"

static u64 *t[5]; /* tables of our own, t[4] the root that is pinned */
static u64 m[5], data_mfn;

static u64 target(int level)
{
	return (level == 1 ? data_mfn : m[level - 1]) << 12;
}

/* Which of 64 bits differ from the plain answer, as ranges. Those of frames that may exist are the
 * host's matter. */
static void show(const char *what, const long *r, const u64 *got)
{
	printf("%s:\n", what);
	for (int b = 0; b < 64; b++) {
		int e = b;

		if (b == 12)
			b = e = 40;
		while (e != 11 && e < 63 && r[e + 1] == r[b] &&
		       (got[e + 1] & ~PTE_ADDR & ~(1ul << (e + 1))) ==
			       (got[b] & ~PTE_ADDR & ~(1ul << b)) &&
		       !(got[e + 1] >> (e + 1) & 1) == !(got[b] >> b & 1))
			e++;
		printf("  bits %d-%d: %le, kept %d, others %lx\n", b, e, r[b],
		       (int)(got[b] >> b & 1), got[b] & ~(1ul << b) & ~PTE_ADDR);
		b = e;
	}
}

static void updates(int level, u64 base, const char *what)
{
	long r[64];
	u64 got[64], slot = 5, *e = &t[level][slot], ptr = (m[level] << 12) + slot * 8;

	for (int b = 0; b < 64; b++) {
		pvg_mmu_update(ptr, 0);
		r[b] = pvg_mmu_update(ptr, base ^ 1ul << b);
		got[b] = *e;
	}
	pvg_mmu_update(ptr, 0);
	show(what, r, got);
}

/* Flags only: the frame stays, which is a shorter way through Xen. */
static void changes(int level, u64 base, const char *what)
{
	long r[64];
	u64 got[64], slot = 6, *e = &t[level][slot], ptr = (m[level] << 12) + slot * 8;

	for (int b = 0; b < 64; b++) {
		pvg_mmu_update(ptr, base);
		r[b] = pvg_mmu_update(ptr, base ^ 1ul << b);
		got[b] = *e;
	}
	pvg_mmu_update(ptr, 0);
	show(what, r, got);
}

static void preserves(int level, u64 base, const char *what)
{
	long r[64];
	u64 got[64], slot = 6, *e = &t[level][slot], ptr = (m[level] << 12) + slot * 8;

	for (int b = 0; b < 64; b++) {
		pvg_mmu_update(ptr, base | PTE_A | PTE_D);
		r[b] = pvg_mmu_update(ptr | MMU_PT_UPDATE_PRESERVE_AD,
				      (base & ~(PTE_A | PTE_D)) ^ 1ul << b);
		got[b] = *e;
	}
	pvg_mmu_update(ptr, 0);
	show(what, r, got);
}

/* The same entry in a fresh page that is pinned. */
static void pins(int level, u64 base, const char *what)
{
	static u64 *fresh;
	long r[64];
	u64 got[64];

	if (!fresh)
		fresh = pvg_page_alloc();
	for (int b = 0; b < 64; b++) {
		memset(fresh, 0, PAGE_SIZE);
		fresh[5] = base ^ 1ul << b;
		pvg_set_ro(fresh);
		r[b] = pvg_mmuext(MMUEXT_PIN_L1_TABLE + (unsigned int)level - 1, pvg_mfn_of(fresh),
				  0);
		got[b] = fresh[5];
		if (r[b] == 0)
			pvg_mmuext(MMUEXT_UNPIN_TABLE, pvg_mfn_of(fresh), 0);
		pvg_set_rw(fresh);
	}
	show(what, r, got);
}

static void va(u64 base, const char *what)
{
	static u8 *slot;
	long r[64];
	u64 got[64];

	if (!slot)
		slot = pvg_page_alloc();
	for (int b = 0; b < 64; b++) {
		pvg_map(slot, 0);
		r[b] = HC3(update_va_mapping, slot, base ^ 1ul << b, 0);
		got[b] = *pvg_entry((u64)slot, 1);
	}
	pvg_map(slot, 0);
	show(what, r, got);
}

void guest_main(void)
{
	static const char *const up[] = {"", "L1 set", "L2 set", "L3 set", "L4 set"};
	static const char *const ch[] = {"", "L1 change", "L2 change", "L3 change", "L4 change"};
	static const char *const ad[] = {"", "L1 preserve", "L2 preserve", "L3 preserve",
					 "L4 preserve"};
	static const char *const pi[] = {"", "L1 pin", "L2 pin", "L3 pin", "L4 pin"};
	static const char *const ro[] = {"", "L1 set, read-only", "L2 set, read-only",
					 "L3 set, read-only", "L4 set, read-only"};

	pvg_events_init();
	pvg_traps_init();
	data_mfn = pvg_mfn_of(pvg_page_alloc());
	for (int l = 1; l <= 4; l++) {
		t[l] = pvg_page_alloc();
		m[l] = pvg_mfn_of(t[l]);
		if (l > 1)
			t[l][0] = target(l) | PTE_KERN | PTE_US;
	}
	for (int l = 1; l <= 4; l++)
		pvg_set_ro(t[l]);
	printf("pin: %le\n", pvg_mmuext(MMUEXT_PIN_L4_TABLE, m[4], 0));
	for (int l = 1; l <= 4; l++) {
		updates(l, target(l) | PTE_KERN | PTE_US, up[l]);
		updates(l, target(l) | PTE_P, ro[l]);
		changes(l, target(l) | PTE_KERN | PTE_US, ch[l]);
		preserves(l, target(l) | PTE_KERN | PTE_US, ad[l]);
		pins(l, target(l) | PTE_KERN | PTE_US, pi[l]);
	}
	va(data_mfn << 12 | PTE_KERN, "update_va_mapping");
	va(data_mfn << 12 | PTE_KERN | PTE_US | PTE_G, "update_va_mapping, user and global");
	updates(1, 0, "L1 set, nothing");
	updates(2, 0, "L2 set, nothing");
	updates(4, 0, "L4 set, nothing");
	updates(1, m[1] << 12 | PTE_KERN, "L1 set, itself writable");
	updates(1, m[4] << 12 | PTE_P, "L1 set, the root read-only");
	updates(1, 0x3fffffful << 12 | PTE_KERN, "L1 set, no such frame");
	updates(2, 0x3fffffful << 12 | PTE_KERN, "L2 set, no such frame");
	updates(2, data_mfn << 12 | PTE_KERN, "L2 set, a data page");
	updates(3, m[3] << 12 | PTE_P, "L3 set, itself read-only");
	updates(4, m[4] << 12 | PTE_P, "L4 set, itself read-only");
	updates(4, m[4] << 12 | PTE_KERN, "L4 set, itself writable");
}
