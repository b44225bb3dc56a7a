/* SPDX-License-Identifier: MIT */
/*
 * CPUID by forced emulation, leaf after leaf. What a processor has differs from host to host: shown
 * are the shape (which leaves answer at all beyond the maximum, which sub-leaves), what a PV guest
 * is never shown whatever the processor has, and Xen's own leaves.
 */
#include "pvg.h"

static void cpuid(u32 leaf, u32 sub, u32 *r)
{
	u64 a = 0xdeadbeef00000000 | leaf, b = ~0ul, c = 0xdeadbeef00000000 | sub, d = ~0ul;

	__asm__ volatile("ud2\n .ascii \"xen\"\n cpuid" : "+a"(a), "+b"(b), "+c"(c), "+d"(d));
	r[0] = (u32)a;
	r[1] = (u32)b;
	r[2] = (u32)c;
	r[3] = (u32)d;
	if ((a | b | c | d) >> 32)
		printf("leaf %x, %x: upper halves are not zero\n", leaf, sub);
}

static bool none(const u32 *r)
{
	return !(r[0] | r[1] | r[2] | r[3]);
}

/* Leaves that answer though they are beyond what the range's first leaf says. */
static void beyond(u32 first, u32 count)
{
	u32 r[4], max, odd = 0;

	cpuid(first, 0, r);
	max = r[0];
	for (u32 leaf = first; leaf < first + count; leaf++) {
		cpuid(leaf, leaf & 1 ? 0 : 3, r);
		if ((leaf > max || max < first) && !none(r)) {
			odd++;
			printf("  leaf %x: %x %x %x %x\n", leaf, r[0], r[1], r[2], r[3]);
		}
	}
	printf("%x: its maximum is in range %d, leaves beyond that answer: %u\n", first,
	       max >= first && max < first + count, odd);
}

static void odd_ranges(void)
{
	static const u32 at[] = {0x1000,     0x10000,	 0x20000000, 0x3fffffff, 0x40000006,
				 0x400000ff, 0x40000100, 0x40000105, 0x40000200, 0x4000ff00,
				 0x4000ffff, 0x40010000, 0x7fffffff, 0x8000ffff, 0x80860000,
				 0x80860001, 0x8fffffff, 0xc0000000, 0xc0000001, 0xffffffff};

	for (unsigned int i = 0; i < ARRAY_SIZE(at); i++) {
		u32 r[4];

		cpuid(at[i], 0, r);
		printf("leaf %x: %x %x %x %x\n", at[i], r[0], r[1], r[2], r[3]);
	}
}

static void xens(void)
{
	for (u32 leaf = 0x40000000; leaf < 0x40000006; leaf++) {
		for (u32 sub = 0; sub < 5; sub++) {
			u32 r[4];

			cpuid(leaf, sub, r);
			if (leaf == 0x40000003 && sub == 0) /* a frequency, how the TSC is */
				printf("leaf %x, %u: ebx %x, ecx %d, edx %x\n", leaf, sub, r[1],
				       r[2] != 0, r[3]);
			else if (leaf == 0x40000003 && sub < 3) /* the factors of the clock */
				printf("leaf %x, %u: %d %x\n", leaf, sub, (r[0] | r[2]) != 0, r[1]);
			else if (leaf == 0x40000005) /* the width of the host's addresses */
				printf("leaf %x, %u: %x, %d, %x %x\n", leaf, sub, r[0], r[1] != 0,
				       r[2], r[3]);
			else
				printf("leaf %x, %u: %x %x %x %x\n", leaf, sub, r[0], r[1], r[2],
				       r[3]);
		}
	}
}

/* Bits that no PV guest is shown; and those that each is. */
static const struct {
	u32 leaf, sub;
	u8 reg;
	u32 never, always;
} words[] = {
	{0x00000001, 0, 0, 0xf000c000, 0},
	{0x00000001, 0, 2,
	 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 10 | 1 << 11 |
		 1 << 14 | 1 << 15 | 1 << 16 | 1 << 18 | 1 << 21 | 1 << 24,
	 1u << 31},
	{0x00000001, 0, 3,
	 1 << 1 | 1 << 3 | 1 << 10 | 1 << 12 | 1 << 13 | 1 << 17 | 1 << 18 | 1 << 20 | 1 << 21 |
		 1 << 22 | 1 << 29 | 1 << 30 | 1u << 31,
	 1 << 0 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 8 | 1 << 15 | 1 << 23 | 1 << 24 | 1 << 25 |
		 1 << 26},
	{0x80000001, 0, 2,
	 1 << 1 | 1 << 2 | 1 << 3 | 1 << 9 | 1 << 10 | 1 << 12 | 1 << 13 | 1 << 14 | 1 << 17 |
		 1 << 19 | 1 << 23 | 1 << 24 | 1 << 25 | 1 << 28 | 1u << 31,
	 0},
	{0x80000001, 0, 3, 1 << 10 | 1 << 18 | 1 << 19 | 1 << 21 | 1 << 26 | 1 << 28,
	 1 << 11 | 1 << 20 | 1 << 29},
	{0x00000007, 0, 1, 1 << 1 | 1 << 2 | 1 << 10 | 1 << 12 | 1 << 22 | 1 << 25, 0},
	{0x80000007, 0, 3, ~(1u << 8 | 1u << 10), 0},
};

static void policy(void)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(words); i++) {
		u32 r[4], v;

		cpuid(words[i].leaf, words[i].sub, r);
		v = r[words[i].reg];
		printf("leaf %x register %d: of those never shown %x, missing of those always "
		       "shown %x\n",
		       words[i].leaf, words[i].reg, v & words[i].never, ~v & words[i].always);
	}
}

static void relations(void)
{
	u32 r[4], q[4], b[4];
	unsigned int n;

	cpuid(0, 0, r);
	cpuid(0x80000000, 0, q);
	printf("leaf 80000000: %x %x %x, or the vendor's again: %d\n", 0, 0, 0,
	       (!q[1] && !q[2] && !q[3]) || (q[1] == r[1] && q[2] == r[2] && q[3] == r[3]));
	cpuid(0, 77, q);
	printf("leaf 0: the sub-leaf means nothing: %d\n", !memcmp(r, q, sizeof(r)));
	cpuid(1, 0, r);
	cpuid(1, ~0u, q);
	printf("leaf 1: the sub-leaf means nothing: %d; APIC id %x, one logical processor or HTT: "
	       "%d\n",
	       !memcmp(r, q, sizeof(r)), r[1] >> 24, (r[1] >> 16 & 0xff) <= 1 || r[3] >> 28 & 1);
	cpuid(7, 0, r);
	n = r[0];
	cpuid(7, n + 1, q);
	printf("leaf 7: behind its last sub-leaf nothing: %d; sub-leaf ~0: ", none(q));
	cpuid(7, ~0u, q);
	printf("%d\n", none(q));
	for (n = 0; n < 32; n++) {
		cpuid(4, n, r);
		if (!(r[0] & 31))
			break;
	}
	cpuid(4, n + 1, q);
	printf("leaf 4: an end %d, and nothing behind it: %d\n", n < 32, !(q[0] & 31));
	for (n = 0; n < 3; n++) {
		cpuid(0xb, n, r);
		printf("leaf b, %u: %x %x %x %x\n", n, r[0], r[1], r[2], r[3]);
	}
	cpuid(0xb, 0x123, r);
	printf("leaf b, 123: %x %x %x %x\n", r[0], r[1], r[2], r[3]);
	cpuid(0x80000001, 0, r);
	cpuid(1, 0, q);
	cpuid(0, 0, b);
	printf("leaf 80000001 edx: the bits of leaf 1 again only on AMD: %d\n",
	       b[1] == 0x68747541 ? (r[3] & 0x183f3ff & ~(q[3] & 0x183f3ff)) == 0
				  : (r[3] & 0x183f3ff & ~(1u << 11)) == 0);
	cpuid(0x80000007, 0, r);
	printf("leaf 80000007: %x %x %x\n", r[0], r[1], r[2]);
	cpuid(0x80000008, 0, r);
	printf("leaf 80000008: linear address width %d, the guest's own physical one %x, ecx %x "
	       "edx %x\n",
	       r[0] >> 8 & 0xff, r[0] >> 16 & 0xff, r[2], r[3]);
}

/* Leaves of which a PV guest sees nothing on any processor. */
static void hidden(void)
{
	static const u32 leaves[] = {
		3,	    5,		6,	    9,		0xa,	    0xc,	0xf,
		0x10,	    0x11,	0x12,	    0x14,	0x15,	    0x16,	0x17,
		0x18,	    0x19,	0x1a,	    0x1b,	0x1c,	    0x1d,	0x1e,
		0x1f,	    0x20,	0x80000009, 0x8000000a, 0x80000019, 0x8000001a, 0x8000001b,
		0x8000001c, 0x8000001d, 0x8000001e, 0x8000001f, 0x80000020};

	for (unsigned int i = 0; i < ARRAY_SIZE(leaves); i++) {
		u32 r[4], q[4];

		cpuid(leaves[i], 0, r);
		cpuid(leaves[i], 1, q);
		printf("leaf %x: %x %x %x %x, sub-leaf 1: %x %x %x %x\n", leaves[i], r[0], r[1],
		       r[2], r[3], q[0], q[1], q[2], q[3]);
	}
}

void guest_main(void)
{
	pvg_events_init();
	pvg_traps_init();
	beyond(0, 64);
	beyond(0x40000000, 512);
	beyond(0x80000000, 64);
	odd_ranges();
	xens();
	policy();
	relations();
	hidden();
}
