/* SPDX-License-Identifier: MIT */
#include "domain/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <x86intrin.h>

static uint64_t timespec_ns(const struct timespec *ts)
{
	return (uint64_t)ts->tv_sec * 1000000000u + (uint64_t)ts->tv_nsec;
}

struct clock_pair clock_pair_now(void)
{
	struct clock_pair best = {0, 0};
	uint64_t best_width = ~0ull;

	/* The narrowest of a few readings: an interruption in between widens one. */
	for (int i = 0; i < 8; i++) {
		struct timespec ts;
		uint64_t a = __rdtsc();
		clock_gettime(CLOCK_MONOTONIC, &ts);
		uint64_t b = __rdtsc();
		if (b - a < best_width) {
			best_width = b - a;
			best = (struct clock_pair){a + (b - a) / 2, timespec_ns(&ts)};
		}
	}
	return best;
}

/*
 * A host that has found its counters to differ uses another clock source; those it falls back to
 * are few. (Under a hypervisor its own clock is usual, which rests on the counter.)
 */
bool clock_tsc_trusted(void)
{
	static const char *const others[] = {"hpet", "acpi_pm", "refined-jiffies", "jiffies",
					     "pit"};
	char name[64] = "";
	FILE *f = fopen("/sys/devices/system/clocksource/clocksource0/current_clocksource", "re");

	if (!f)
		return true;
	if (fscanf(f, "%63s", name) != 1)
		name[0] = '\0';
	fclose(f);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (strcmp(name, others[i]) == 0)
			return false;
	return true;
}

/* ns = ((ticks << shift) * mul) >> 32, as <xen/xen.h> defines for struct vcpu_time_info. */
static void rate(uint64_t ticks, uint64_t ns, uint32_t *ret_mul, int32_t *ret_shift)
{
	int32_t shift = 0;

	/* Bring ns / ticks into [0.5, 1), so that mul has 32 significant bits. */
	while (ns > ticks) {
		ticks <<= 1;
		shift++;
	}
	while (ns * 2 <= ticks) {
		ticks >>= 1;
		shift--;
	}
	unsigned __int128 mul = ((unsigned __int128)ns << 32) / ticks;
	*ret_mul = mul > 0xffffffffu ? 0xffffffffu : (uint32_t)mul;
	*ret_shift = shift;
}

void clock_publish(struct core_ctl *ctl, const struct clock_pair *since)
{
	struct clock_pair now = clock_pair_now();
	struct timespec real, mono;
	uint64_t wall;

	while (now.ns - since->ns < 20000000u) {
		struct timespec ts = {0, (long)(20000000u - (now.ns - since->ns))};
		clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, NULL);
		now = clock_pair_now();
	}
	rate(now.tsc - since->tsc, now.ns - since->ns, &ctl->tsc_mul, &ctl->tsc_shift);
	ctl->tsc_base = now.tsc;
	ctl->ns_base = now.ns;
	clock_gettime(CLOCK_REALTIME, &real);
	clock_gettime(CLOCK_MONOTONIC, &mono);
	wall = timespec_ns(&real) - timespec_ns(&mono);
	ctl->wall_sec = wall / 1000000000u;
	ctl->wall_nsec = (uint32_t)(wall % 1000000000u);
}
