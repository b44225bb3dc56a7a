/* SPDX-License-Identifier: MIT */
/* Of ubench and iobench: each says before it includes this what PROGRAM is called. */
#ifndef PVV_BENCH_H
#define PVV_BENCH_H

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *fmt, ...)
{
	int err = errno;
	va_list ap;

	va_start(ap, fmt);
	printf(PROGRAM ": error: ");
	vprintf(fmt, ap);
	printf(" (errno %d)\n", err);
	va_end(ap);
	fflush(stdout);
	_exit(1);
}

static double now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

#endif
