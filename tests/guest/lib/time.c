/* SPDX-License-Identifier: MIT */
#include "pvg.h"

u64 pvg_rdtsc(void)
{
	u32 lo, hi;

	__asm__ volatile("lfence; rdtsc" : "=a"(lo), "=d"(hi)::"memory");
	return (u64)hi << 32 | lo;
}

u64 pvg_now(void)
{
	volatile struct vcpu_time_info *t = &VCPU0->time;
	u32 version;
	u64 delta, ns;

	do {
		version = t->version;
		rmb();
		delta = pvg_rdtsc() - t->tsc_timestamp;
		if (t->tsc_shift >= 0)
			delta <<= t->tsc_shift;
		else
			delta >>= -t->tsc_shift;
		ns = t->system_time +
		     (u64)(((unsigned __int128)delta * t->tsc_to_system_mul) >> 32);
		rmb();
	} while ((version & 1) || version != t->version);
	return ns;
}

void pvg_spin_ns(u64 ns)
{
	u64 end = pvg_now() + ns;

	while (pvg_now() < end)
		__asm__ volatile("pause");
}
