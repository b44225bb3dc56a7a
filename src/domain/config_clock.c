/* SPDX-License-Identifier: MIT */
#include "domain/config.h"

#include <time.h>

int64_t config_clock_offset_ns(const struct config_clock *clock, int64_t now)
{
	int64_t seconds = clock->has_adjustment ? clock->adjustment : 0;

	if (clock->offset == CONFIG_CLOCK_ABSOLUTE) {
		seconds = (int64_t)clock->start - now;
	} else if (clock->offset == CONFIG_CLOCK_LOCALTIME ||
		   (clock->offset == CONFIG_CLOCK_VARIABLE && clock->basis_localtime)) {
		time_t t = (time_t)now;
		struct tm tm;

		if (localtime_r(&t, &tm))
			seconds += tm.tm_gmtoff;
	}
	return seconds * 1000000000;
}
