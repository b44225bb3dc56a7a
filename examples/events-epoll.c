/* SPDX-License-Identifier: MIT */
/*
 * An embedder's own loop: epoll over the library's one descriptor, a timer and the program's
 * signals. Nothing of the library runs except inside the calls made here.
 *
 *	cc events-epoll.c $(pkg-config --cflags --libs libpvvirt) && ./a.out DOMAIN.xml...
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <pvvirt/pvvirt.h>

static int running; /* domains that have not stopped */

static void fail(void)
{
	fprintf(stderr, "%s\n", pvv_error_get_message(pvv_error_last()));
	exit(1);
}

/* Parsing errors name line and column; what would be ignored is a warning, not a failure. */
static void start(pvv_host *host, const char *file)
{
	static char xml[1 << 20];
	pvv_domain *domain;
	char *warnings;
	FILE *f = fopen(file, "re");
	size_t n = f ? fread(xml, 1, sizeof(xml) - 1, f) : 0;

	xml[n] = '\0';
	if (!f || fclose(f)) {
		perror(file);
		exit(1);
	}
	if (pvv_domain_create_xml(host, xml, 0, &domain) < 0 ||
	    pvv_domain_get_warnings(domain, &warnings) < 0)
		fail();
	fputs(warnings, stderr);
	pvv_free(warnings);
	if (pvv_domain_start(domain, 0) < 0)
		fail();
	running++;
	pvv_domain_unref(domain); /* it runs on, and pvv_host_lookup_domain() finds it */
}

static void on_events(pvv_host *host)
{
	pvv_event *event;

	while (pvv_event_next(host, 0, &event) == 1) {
		printf("%s: %s %s\n", pvv_event_get_domain_name(event),
		       pvv_event_type_name(pvv_event_get_type(event)), pvv_event_get_text(event));
		if (pvv_event_get_type(event) == PVV_EVENT_STOPPED)
			running--;
		pvv_event_free(event);
	}
}

/* The first signal asks the guests, the second one ends them. */
static void on_signal(pvv_host *host)
{
	static int asked;
	pvv_domain **domains;
	size_t count;

	if (pvv_host_list_domains(host, 0, &domains, &count) < 0)
		fail();
	for (size_t i = 0; i < count; i++) {
		if (asked)
			pvv_domain_destroy(domains[i], 0);
		else
			pvv_domain_shutdown(domains[i], 0);
		pvv_domain_unref(domains[i]);
	}
	pvv_free(domains);
	asked = 1;
}

int main(int argc, char **argv)
{
	struct itimerspec every = {.it_interval = {10, 0}, .it_value = {10, 0}};
	struct epoll_event ev = {.events = EPOLLIN};
	struct signalfd_siginfo si;
	uint64_t ticks;
	pvv_host *host;
	sigset_t set;
	int ep, sig, timer, fds[3];

	/* The program's own business; the library blocks signals in its thread and takes none. */
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	sig = signalfd(-1, &set, SFD_CLOEXEC);
	timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	timerfd_settime(timer, 0, &every, NULL);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (pvv_host_open(0, &host) < 0)
		fail();

	fds[0] = pvv_host_fd(host); /* level-triggered; not ours to read or close */
	fds[1] = sig;
	fds[2] = timer;
	ep = epoll_create1(EPOLL_CLOEXEC);
	for (int i = 0; i < 3; i++) {
		ev.data.fd = fds[i];
		epoll_ctl(ep, EPOLL_CTL_ADD, fds[i], &ev);
	}
	for (int i = 1; i < argc; i++)
		start(host, argv[i]);
	while (running > 0 && epoll_wait(ep, &ev, 1, -1) >= 0) {
		if (ev.data.fd == fds[0])
			on_events(host);
		else if (ev.data.fd == sig && read(sig, &si, sizeof(si)) == sizeof(si))
			on_signal(host);
		else if (ev.data.fd == timer && read(timer, &ticks, sizeof(ticks)) > 0)
			printf("%d running\n", running);
	}
	close(ep);
	close(sig);
	close(timer);
	pvv_host_unref(host);
	return 0;
}
