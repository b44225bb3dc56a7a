/* SPDX-License-Identifier: MIT */
#ifndef PVV_DOMAIN_CLOCK_H
#define PVV_DOMAIN_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "core/ctl.h"

/* A reading of the time-stamp counter and CLOCK_MONOTONIC at the same moment. */
struct clock_pair {
	uint64_t tsc, ns;
};
struct clock_pair clock_pair_now(void);
/* Does the host's kernel trust the counters of all its processors to agree? */
bool clock_tsc_trusted(void);
/*
 * Fill the time fields of `ctl`: system time is the host's CLOCK_MONOTONIC, extrapolated with the
 * counter's rate between `since` and now (waits until they are 20 ms apart, for a rate good to a
 * few ppm).
 */
void clock_publish(struct core_ctl *ctl, const struct clock_pair *since);

#endif
