/* SPDX-License-Identifier: MIT */
/*
 * A vCPU stays on the processor where it was started, for K and its guest threads have to be
 * together. Where it has to share it for seconds while another one has nothing to do, that was the
 * wrong one: this finds out which has nothing to do.
 */
#include "exec/ring3/gang.h"

#include <stdio.h>
#include <string.h>

/* As long as the load that the vCPUs make is one to go by: half a second, five seconds. */
#define SHORT (1ull << 30)
#define LONG  (1ull << 34)

int gang_find_idle(struct gang_idle *g, const char *path, const uint64_t *allowed, unsigned int cpu)
{
	uint64_t now = __builtin_ia32_rdtsc(), took = now - g->since;
	bool judge = g->since && took > SHORT && took < LONG, own_busy = false;
	uint32_t best = 0;
	int ret = -1;
	char line[512];
	FILE *f;

	if (g->since && took <= SHORT)
		return -1;
	f = fopen(path, "re");
	if (!f)
		return -1;
	g->since = now;
	while (fgets(line, sizeof(line), f)) {
		unsigned long long v[8] = {0};
		uint32_t idle, all = 0, part;
		unsigned int n;

		/* (the first line is that of all together) */
		if (line[3] == ' ' ||
		    sscanf(line, "cpu%u %llu %llu %llu %llu %llu %llu %llu %llu", &n, &v[0], &v[1],
			   &v[2], &v[3], &v[4], &v[5], &v[6], &v[7]) < 6 ||
		    n >= GANG_CPUS)
			continue;
		for (int i = 0; i < 8; i++)
			all += (uint32_t)v[i];
		idle = (uint32_t)(v[3] + v[4]); /* and waiting for disks */
		part = all - g->all[n]
			       ? (uint32_t)((uint64_t)(idle - g->idle[n]) * 100 / (all - g->all[n]))
			       : 0;
		g->idle[n] = idle;
		g->all[n] = all;
		if (n == cpu)
			own_busy = part <= 5;
		else if ((allowed[n / 64] >> (n % 64) & 1) && part >= 70 && part > best) {
			best = part;
			ret = (int)n;
		}
	}
	fclose(f);
	return judge && own_busy ? ret : -1;
}
