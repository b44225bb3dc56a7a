/* SPDX-License-Identifier: MIT */
/* Every bit of a descriptor: what update_descriptor says to it, what it makes of it, what loads. */
#include "pvg.h"

static u64 *gdt;

static u32 lar(u32 sel)
{
	u32 r = 0;
	u8 ok;

	__asm__ volatile("lar %2, %0\n setz %1" : "+r"(r), "=qm"(ok) : "r"(sel) : "cc");
	return ok ? r : 0;
}
static bool verr(u32 sel)
{
	u8 ok;

	__asm__ volatile("verr %w1\n setz %0" : "=qm"(ok) : "r"(sel) : "cc");
	return ok;
}
static bool verw(u32 sel)
{
	u8 ok;

	__asm__ volatile("verw %w1\n setz %0" : "=qm"(ok) : "r"(sel) : "cc");
	return ok;
}

/* 0: it loads, or the vector. */
static unsigned int tried(void (*fn)(u64, u64, u64), u64 sel)
{
	return pvg_try3(fn, sel, 0, 0) ? (unsigned int)pvg_caught.f.vector : 0;
}

struct result {
	long r;
	u64 change; /* of the bits */
	u32 lar;
	u8 ds, ss, cs, err, erw;
};

static struct result one(u64 desc, bool code_ok)
{
	struct result x = {0};

	HC2(update_descriptor, (pvg_mfn_of(gdt) << 12) + 8 * 4, 0);
	x.r = HC2(update_descriptor, (pvg_mfn_of(gdt) << 12) + 8 * 4, desc);
	if (x.r)
		return x;
	x.change = gdt[4] ^ desc;
	/* Of system descriptors QEMU's TCG shows too many. */
	x.lar = desc >> 44 & 1 ? lar(0x23) & 0xff00 : 0;
	x.err = verr(0x23);
	x.erw = verw(0x23);
	x.ds = (u8)tried(pvg_load_ds, 0x23);
	x.ss = (u8)tried(pvg_load_ss, 0x23);
	x.cs = code_ok ? (u8)tried(pvg_far_return, 0x23) : 255;
	return x;
}

static bool same(const struct result *a, const struct result *b)
{
	return a->r == b->r && a->change == b->change && a->lar == b->lar && a->ds == b->ds &&
	       a->ss == b->ss && a->cs == b->cs && a->err == b->err && a->erw == b->erw;
}

static void show(unsigned int from, unsigned int to, const struct result *x)
{
	if (x->r)
		printf("  %x-%x: %le\n", from, to, x->r);
	else
		printf("  %x-%x: changed %lx, lar %x verr %d verw %d, ds %d ss %d cs %d\n", from,
		       to, x->change, x->lar, x->err, x->erw, x->ds, x->ss, x->cs);
}

static void sweep(const char *name, u64 base, unsigned int shift, unsigned int n, bool flip)
{
	struct result x, last = {0};
	unsigned int from = 0, i;

	printf("%s:\n", name);
	for (i = 0; i < n; i++) {
		u64 d = flip ? base ^ 1ul << i : base | (u64)i << shift;
		u8 type = (u8)(d >> 40);

		/* Loading code of 16 or 32 bits would go astray. */
		x = one(d, !((type & 0x98) == 0x98 && (d >> 53 & 3) != 1) && (d >> 53 & 3) == 1);
		/* The accessed bit is of no interest, the load itself has set it. */
		x.change &= ~(1ul << 40);
		x.lar &= ~0x100u;
		if (i && !same(&x, &last)) {
			show(from, i - 1, &last);
			from = i;
		}
		last = x;
	}
	show(from, i - 1, &last);
}

void guest_main(void)
{
	u64 frames[1];

	pvg_events_init();
	pvg_traps_init();
	gdt = pvg_page_alloc();
	frames[0] = pvg_mfn_of(gdt);
	pvg_set_ro(gdt);
	printf("set_gdt: %le\n", HC2(set_gdt, frames, 512));
	sweep("access byte, flags a", 0x00a000000000ffff, 40, 256, false);
	sweep("access byte, flags c", 0x00c000000000ffff, 40, 256, false);
	sweep("access byte, flags 0, the kernel's selector", 0x00000000e0330000, 40, 256, false);
	sweep("access byte, flags 0, Xen's selector", 0x00000000e0080000, 40, 256, false);
	sweep("flags of code", 0x0000fb000000ffff, 52, 16, false);
	sweep("flags of data", 0x0000f3000000ffff, 52, 16, false);
	sweep("bits of 64-bit code", 0x00affb000000ffff, 0, 64, true);
	sweep("bits of data", 0x00cff3000000ffff, 0, 64, true);
	sweep("bits of a call gate", 0x0000ec00e0330000, 0, 64, true);
	sweep("bits of a call gate of the guest's cs", 0x0000ec0000130000, 0, 64, true);
	sweep("bits of nothing", 0, 0, 64, true);
	printf("update of entry 511: %le\n",
	       HC2(update_descriptor, (pvg_mfn_of(gdt) << 12) + 8 * 511, 0x00cff3000000ffff));
	for (unsigned int i = 1; i < 8; i++)
		printf("update at +%d: %le\n", i,
		       HC2(update_descriptor, (pvg_mfn_of(gdt) << 12) + i, 0));
	for (unsigned int i = 40; i < 64; i++)
		printf("update at bit %d: %le\n", i,
		       HC2(update_descriptor, (pvg_mfn_of(gdt) << 12) | 1ul << i, 0));
	printf("lar of the flat ones: %x %x %x %x, of Xen's %x %x\n", lar(0xe033), lar(0xe02b),
	       lar(0xe023), lar(0xe03b), lar(0xe008), lar(0xe010));
}
