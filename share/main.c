/* SPDX-License-Identifier: MIT */
/* keeperd: options, the loop, and draining at SIGTERM. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>

#include "keeper.h"

static const char help[] =
	"Usage: keeperd [OPTIONS]\n"
	"\n"
	"Keeps the domains of a folder (NAME.xml each) running.\n"
	"\n"
	"  --folder DIR        the XML files (default $CONFIGURATION_DIRECTORY, /etc/keeper)\n"
	"  --socket PATH       HTTP (default $RUNTIME_DIRECTORY/keeper.sock, /run/keeper/...)\n"
	"  --grace SECONDS     for a guest that is asked to power off (default 30)\n"
	"  --drain SECONDS     for all of them, at SIGTERM (default 60)\n"
	"  --backoff MIN,MAX   seconds before a guest is started again (default 1,60)\n"
	"  --steady SECONDS    after this time its back-off is forgotten (default 60)\n"
	"  --parallel N        starts at the same time (default 8)\n"
	"\n"
	"SIGTERM or SIGINT drains; the second one ends the guests. SIGHUP looks at the folder.\n";

static void log_library(pvv_log_level level, const char *domain, const char *message, void *opaque)
{
	fprintf(stderr, "<%d>%s%s%s\n", (int)level, domain ? domain : "", domain ? ": " : "",
		message);
}

/* ---- draining */

static void end_if_drained(struct keeper *k)
{
	struct unit *u;

	if (!k->draining)
		return;
	LIST_FOREACH(u, &k->units, list)
	if (unit_is_active(u))
		return;
	sd_event_exit(k->event, 0);
}

static void stop_all(struct keeper *k, bool force)
{
	struct unit *u, *next;

	for (u = LIST_FIRST(&k->units); u; u = next) {
		next = LIST_NEXT(u, list);
		unit_stop(u, force); /* frees a unit without a file */
	}
}

static int on_drain_deadline(sd_event_source *s, uint64_t usec, void *opaque)
{
	stop_all(opaque, true);
	return 0;
}

static int on_term(sd_event_source *s, const struct signalfd_siginfo *si, void *opaque)
{
	struct keeper *k = opaque;
	bool second = k->draining;

	sd_notify(0, "STOPPING=1\nSTATUS=Draining");
	LOG(SD_NOTICE, "%s", second ? "ending all guests" : "draining");
	k->draining = true;
	if (!second)
		sd_event_add_time_relative(k->event, NULL, CLOCK_MONOTONIC, k->drain_ms * 1000, 0,
					   on_drain_deadline, k);
	stop_all(k, second);
	end_if_drained(k);
	return 0;
}

static int on_hup(sd_event_source *s, const struct signalfd_siginfo *si, void *opaque)
{
	folder_scan(opaque);
	return 0;
}

/* ---- the library's events */

static int on_host(sd_event_source *s, int fd, uint32_t events, void *opaque)
{
	struct keeper *k = opaque;
	pvv_event *event;

	for (int i = 0; i < 64 && pvv_event_next(k->host, 0, &event) == 1; i++) {
		unit_on_event(k, event);
		pvv_event_free(event);
	}
	pvv_dispatch(k->host, 0); /* the log */
	end_if_drained(k);
	return 0;
}

/* ---- beginning */

static uint64_t ms(const char *text)
{
	char *end;
	double s = strtod(text, &end);

	if (end == text || !(s >= 0 && s <= 1e6)) {
		fprintf(stderr, "keeperd: '%s' is not a number of seconds\n", text);
		exit(2);
	}
	return (uint64_t)(s * 1000);
}

static void defaults(struct keeper *k)
{
	static char path[256];
	const char *dir = getenv("RUNTIME_DIRECTORY"), *conf = getenv("CONFIGURATION_DIRECTORY");

	snprintf(path, sizeof(path), "%s/keeper.sock", dir ? dir : "/run/keeper");
	k->socket = path;
	k->folder = conf ? conf : "/etc/keeper";
	k->grace_ms = 30000;
	k->drain_ms = k->backoff_max_ms = k->steady_ms = 60000;
	k->backoff_min_ms = 1000;
	k->parallel = 8;
}

static void set_backoff(struct keeper *k, const char *text)
{
	const char *comma = strchr(text, ',');

	k->backoff_min_ms = ms(text);
	k->backoff_max_ms = comma ? ms(comma + 1) : k->backoff_min_ms;
	if (!k->backoff_min_ms)
		k->backoff_min_ms = 1;
}

static void parse(struct keeper *k, int argc, char **argv)
{
	static const struct option options[] = {
		{"folder", required_argument, NULL, 'f'},
		{"socket", required_argument, NULL, 's'},
		{"grace", required_argument, NULL, 'g'},
		{"drain", required_argument, NULL, 'd'},
		{"backoff", required_argument, NULL, 'b'},
		{"steady", required_argument, NULL, 't'},
		{"parallel", required_argument, NULL, 'p'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		switch (opt) {
		case 'f':
			k->folder = optarg;
			break;
		case 's':
			k->socket = optarg;
			break;
		case 'g':
			k->grace_ms = ms(optarg);
			break;
		case 'd':
			k->drain_ms = ms(optarg);
			break;
		case 'b':
			set_backoff(k, optarg);
			break;
		case 't':
			k->steady_ms = ms(optarg);
			break;
		case 'p':
			k->parallel = (unsigned int)strtoul(optarg, NULL, 10);
			if (k->parallel > 0)
				break;
			/* fall through */
		default:
			fputs(help, opt == 'h' ? stdout : stderr);
			exit(opt == 'h' ? 0 : 2);
		}
	}
}

static int set_up_loop(struct keeper *k)
{
	int ret = sd_event_default(&k->event);

	if (ret >= 0)
		ret = sd_event_add_signal(k->event, NULL, SIGTERM, on_term, k);
	if (ret >= 0)
		ret = sd_event_add_signal(k->event, NULL, SIGINT, on_term, k);
	if (ret >= 0)
		ret = sd_event_add_signal(k->event, NULL, SIGHUP, on_hup, k);
	if (ret >= 0)
		ret = sd_event_add_io(k->event, NULL, pvv_host_fd(k->host), EPOLLIN, on_host, k);
	if (ret >= 0)
		ret = sd_event_set_watchdog(k->event, true); /* nothing without WatchdogSec= */
	if (ret >= 0)
		ret = folder_watch(k);
	if (ret < 0)
		LOG(SD_ERR, "%s: %s", k->folder, strerror(-ret));
	return ret;
}

static int set_up(struct keeper *k)
{
	struct rlimit nofile;
	sigset_t set;

	/* Before there are threads: sd-event takes these through a signalfd. */
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	/* A domain takes several descriptors; nothing here uses select(). */
	if (!getrlimit(RLIMIT_NOFILE, &nofile)) {
		nofile.rlim_cur = nofile.rlim_max;
		setrlimit(RLIMIT_NOFILE, &nofile);
	}
	if (pvv_host_open(0, &k->host) < 0 || pvv_host_open(0, &k->checker) < 0 ||
	    pvv_host_set_log(k->host, PVV_LOG_INFO, log_library, NULL) < 0) {
		LOG(SD_ERR, "%s", pvv_error_get_message(pvv_error_last()));
		return -1;
	}
	if (set_up_loop(k) < 0)
		return -1;
	return api_start(k);
}

int main(int argc, char **argv)
{
	static struct keeper k = {.queue = TAILQ_HEAD_INITIALIZER(k.queue)};
	int ret;

	defaults(&k);
	parse(&k, argc, argv);
	if (set_up(&k) < 0)
		return 1;
	folder_scan(&k);
	sd_notify(0, "READY=1\nSTATUS=Keeping domains");
	ret = sd_event_loop(k.event);
	api_stop(&k);
	LOG(SD_INFO, "all guests have ended");
	/* Units go with the process; the host handles would end with their last domain. */
	pvv_host_unref(k.host);
	pvv_host_unref(k.checker);
	return ret < 0;
}
