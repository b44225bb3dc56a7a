/* SPDX-License-Identifier: MIT */
/*
 * A hundred guests: a staggered start (a few at a time boot, so that the first ones are of use
 * early), statistics once a second, and a shutdown that asks, waits for a deadline and then ends
 * the rest.
 *
 *	cc fleet.c $(pkg-config --cflags --libs libpvvirt)
 *	./a.out KERNEL [DOMAINS] [SECONDS] [GRACE]
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <pvvirt/pvvirt.h>

#define AT_ONCE 8 /* starts under way */

static int nr, asked_for, starting, up, gone, failed;
static pvv_domain **fleet;
static volatile sig_atomic_t stop;

static void on_sigint(int sig)
{
	(void)sig;
	stop = 1;
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void fail(void)
{
	fprintf(stderr, "%s\n", pvv_error_get_message(pvv_error_last()));
	exit(1);
}

/* Called by pvv_dispatch() only, on this thread: no locks needed. */
static void on_event(pvv_host *host, const pvv_event *event, void *opaque)
{
	(void)host;
	(void)opaque;
	switch (pvv_event_get_type(event)) {
	case PVV_EVENT_STARTED:
		starting--;
		up++;
		break;
	case PVV_EVENT_STOPPED:
		if (pvv_event_get_detail(event) == PVV_EVENT_STOPPED_FAILED) {
			starting--; /* it never ran */
			failed++;
			fprintf(stderr, "%s: %s\n", pvv_event_get_domain_name(event),
				pvv_event_get_text(event));
		} else {
			up--;
		}
		gone++;
		break;
	default:
		break;
	}
}

static void start_next(pvv_host *host, const char *kernel)
{
	pvv_domain_options options = PVV_DOMAIN_OPTIONS_INIT;
	char name[32];

	snprintf(name, sizeof(name), "fleet-%03d", asked_for);
	options.name = name;
	options.kernel = kernel;
	options.memory = 32 << 20;
	options.console = PVV_CONSOLE_NULL;
	options.on_reboot = PVV_ACTION_DESTROY;
	if (pvv_domain_create(host, &options, 0, &fleet[asked_for]) < 0 ||
	    pvv_domain_start(fleet[asked_for], 0) < 0)
		fail();
	asked_for++;
	starting++;
}

static void print_stats(void)
{
	uint64_t cpu = 0, hypercalls = 0, overhead = 0;

	for (int i = 0; i < asked_for; i++) {
		pvv_domain_stats s = {.size = sizeof(s)};

		if (pvv_domain_get_stats(fleet[i], 0, &s) < 0)
			fail();
		cpu += s.cpu_time_ns;
		hypercalls += s.hypercalls;
		overhead += s.overhead_memory;
	}
	printf("%d up, %d starting, %d gone; %.1f s of CPU, %llu hypercalls, %llu MiB overhead\n",
	       up, starting, gone, (double)cpu / 1e9, (unsigned long long)hypercalls,
	       (unsigned long long)(overhead >> 20));
}

/* Waits up to `seconds` for events and runs their callbacks. */
static void turn(pvv_host *host, double seconds)
{
	struct pollfd p = {pvv_host_fd(host), POLLIN, 0};

	if (seconds < 0)
		seconds = 0;
	if (poll(&p, 1, (int)(seconds * 1000) + 1) < 0 && errno != EINTR)
		exit(1);
	if (pvv_dispatch(host, 0) < 0)
		fail();
}

int main(int argc, char **argv)
{
	double seconds = argc > 3 ? atof(argv[3]) : 10, grace = argc > 4 ? atof(argv[4]) : 5;
	double begin = now(), next = begin + 1, deadline;
	int graceful, forced = 0;
	pvv_host *host;

	nr = argc > 2 ? atoi(argv[2]) : 100;
	if (argc < 2 || nr < 1) {
		fprintf(stderr, "usage: %s KERNEL [DOMAINS] [SECONDS] [GRACE]\n", argv[0]);
		return 2;
	}
	fleet = calloc((size_t)nr, sizeof(pvv_domain *));
	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGINT, on_sigint);
	if (!fleet || pvv_host_open(0, &host) < 0 ||
	    pvv_host_set_event_callback(host, on_event, NULL) < 0)
		fail();

	while (!stop && gone < nr && now() - begin < seconds) {
		while (asked_for < nr && starting < AT_ONCE)
			start_next(host, argv[1]);
		turn(host, 0.1);
		if (now() >= next) {
			print_stats();
			next += 1;
		}
	}

	/* Ask all of them, then wait for all of them: not one after the other. */
	graceful = -gone;
	deadline = now() + grace;
	for (int i = 0; i < asked_for; i++)
		pvv_domain_shutdown(fleet[i], 0); /* PVV_ESTATE: it is not running, as well */
	while (gone < asked_for && now() < deadline)
		turn(host, deadline - now());
	graceful += gone;
	for (int i = 0; i < asked_for; i++) {
		if (pvv_domain_destroy(fleet[i], 0) == 0)
			forced++;
		pvv_domain_unref(fleet[i]);
	}
	printf("%d ended by themselves, %d when asked, %d were ended\n",
	       asked_for - graceful - forced, graceful, forced);
	pvv_host_unref(host);
	free(fleet);
	return failed != 0;
}
