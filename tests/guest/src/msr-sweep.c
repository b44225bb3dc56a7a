/* SPDX-License-Identifier: MIT */
/*
 * All model-specific registers of the ranges in which there are any: which can be read, and what
 * may be written. Those that only one maker's processors have are in privileged.c.
 */
#include "pvg.h"

static u64 value;

static void rdmsr(u64 nr, u64 b, u64 c)
{
	u32 lo, hi;

	__asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"((u32)nr));
	value = (u64)hi << 32 | lo;
}
static void wrmsr(u64 nr, u64 v, u64 c)
{
	__asm__ volatile("wrmsr" ::"a"((u32)v), "d"((u32)(v >> 32)), "c"((u32)nr));
}

static bool one_maker(u32 nr)
{
	static const struct {
		u32 from, to;
	} r[] = {{0x17, 0x17},
		 {0x3a, 0x3a},
		 {0x8b, 0x8b},
		 {0xc1, 0xc8},
		 {0xce, 0xce},
		 {0x10a, 0x10a},
		 {0x140, 0x140},
		 {0x186, 0x189},
		 {0x198, 0x19c},
		 {0x1a0, 0x1a0},
		 {0x1b0, 0x1b0},
		 {0x280, 0x29f},
		 {0x309, 0x30b},
		 {0x38d, 0x390},
		 {0xc0000103, 0xc0000103},
		 {0xc0010000, 0xc0012fff}};

	for (unsigned int i = 0; i < ARRAY_SIZE(r); i++)
		if (nr >= r[i].from && nr <= r[i].to)
			return true;
	return false;
}

/* Written values of these are used: bases, the time, hypercall page. */
static bool is_live(u32 nr)
{
	return nr == 0x10 || (nr >= 0xc0000100 && nr <= 0xc0000102) || nr == 0x40000000;
}

/* 'G' or another trap's number, '0' for a value of 0, 'r' for any other */
static char read_one(u32 nr)
{
	if (pvg_try3(rdmsr, nr, 0, 0))
		return pvg_caught.f.vector == 13 && pvg_caught.f.error == 0 ? 'G' : 'T';
	return value || is_live(nr) ? 'r' : '0';
}

static char write_one(u32 nr, u64 v)
{
	if (pvg_try3(wrmsr, nr, v, 0))
		return pvg_caught.f.vector == 13 && pvg_caught.f.error == 0 ? 'G' : 'T';
	return 'w';
}

static void sweep(u32 from, u32 to)
{
	char last[5] = "", now[5] = "";
	u32 start = from;

	for (u32 nr = from; nr <= to; nr++) {
		u64 had;

		if (one_maker(nr))
			continue;
		now[0] = read_one(nr);
		had = value;
		now[1] = now[2] = now[3] = '-';
		if (!is_live(nr)) {
			now[1] = write_one(nr, 0);
			now[2] = write_one(nr, ~0ul);
			now[3] = now[0] == 'G' ? '-' : write_one(nr, had);
		}
		if (nr != from && memcmp(last, now, 4)) {
			printf("%x-%x: %s\n", start, nr - 1, last);
			start = nr;
		}
		memcpy(last, now, sizeof(last));
	}
	printf("%x-%x: %s\n", start, to, last);
}

void guest_main(void)
{
	pvg_events_init();
	pvg_traps_init();
	printf("read, write of 0, of all ones, of what was read\n");
	sweep(0, 0x1fff);
	sweep(0x40000000, 0x400001ff);
	sweep(0x80000000, 0x8000000f);
	sweep(0xc0000000, 0xc0000fff);
	sweep(0xfffffff0, 0xfffffffe);
}
