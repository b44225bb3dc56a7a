/* SPDX-License-Identifier: MIT */
/*
 * keeperd keeps the domains of a folder running. One thread, one sd-event loop:
 *
 *	main.c		options, signals, draining
 *	folder.c	the folder of XML files (inotify), what a file asks for
 *	unit.c		one file = one unit: start, stop, what follows an end, back-off
 *	api.c		HTTP on a Unix socket (libmicrohttpd, driven by our loop)
 *	console.c	a console connection after its "Upgrade"
 *	metrics.c	Prometheus text
 */
#ifndef KEEPER_H
#define KEEPER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/queue.h>
#include <sys/stat.h>

#include <microhttpd.h>
#include <pvvirt/pvvirt.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>

#define NAME_MAX_LEN 64
#define DISKS_MAX    16
#define FILE_MAX     (1 << 20) /* the library's own limit for a document */

/* journald understands the prefix; on a terminal it does no harm. */
#define LOG(level, ...)                                                                            \
	do {                                                                                       \
		fprintf(stderr, level __VA_ARGS__);                                                \
		fputc('\n', stderr);                                                               \
	} while (0)

enum unit_state {
	UNIT_INVALID,  /* its file is not acceptable; error says why */
	UNIT_QUEUED,   /* waits for its turn to start */
	UNIT_STARTING, /* pvv_domain_start() was called */
	UNIT_RUNNING,
	UNIT_STOPPING, /* asked; ended by force after the grace */
	UNIT_BACKOFF,  /* ended, is started again later */
	UNIT_STOPPED,  /* ended, and stays so */
	UNIT_CRASHED,  /* crashed, and preserved for a look at it */
	UNIT_STATES,
};

enum action { ACTION_DESTROY, ACTION_RESTART, ACTION_PRESERVE };

/* What a file asks for. */
struct spec {
	char *source; /* the file's text */
	char *xml;    /* for the library: with on_* = destroy, what follows an end is our job */
	enum action on_poweroff, on_reboot, on_crash;
	char disks[DISKS_MAX][16];
	unsigned int nr_disks;
};

struct keeper;

struct unit {
	LIST_ENTRY(unit) list;
	TAILQ_ENTRY(unit) queue; /* while UNIT_QUEUED */
	struct keeper *k;
	char name[NAME_MAX_LEN + 1];
	struct stat file; /* as it was read last */
	bool seen;	  /* by the scan under way */
	enum unit_state state;
	struct spec spec;
	struct spec next; /* a new version, applied when the old guest has ended */
	pvv_domain *dom;
	bool removed;	/* the file is gone: so is the unit, when the guest has ended */
	bool held;	/* stopped by a client: not started again until it says so */
	bool again;	/* restart was asked for: start when stopped */
	bool rebooting; /* the guest's last word was "reboot" */
	bool killing;	/* killer is at work */
	pthread_t killer;
	sd_event_source *timer; /* grace or back-off */
	uint64_t started_us;
	uint64_t backoff_ms; /* of the last restart */
	uint64_t restarts;
	char error[512]; /* the last one: why it is invalid, crashed, could not start */
};

struct keeper {
	sd_event *event;
	pvv_host *host;
	pvv_host *checker; /* documents are tried here: a name may be in use in `host` */
	const char *folder, *socket;
	uint64_t grace_ms, drain_ms, backoff_min_ms, backoff_max_ms, steady_ms;
	unsigned int parallel; /* starts at the same time */
	LIST_HEAD(, unit) units;
	TAILQ_HEAD(, unit) queue;
	unsigned int starting;
	bool draining;
	bool own_socket; /* not a .socket unit's */
	sd_event_source *scan;
	struct MHD_Daemon *http;
	sd_event_source *http_timer;
	LIST_HEAD(, relay) relays;
	unsigned int consoles;
	uint64_t events;
};

/* unit.c */
extern const char *const unit_state_names[UNIT_STATES];
struct unit *unit_find(struct keeper *k, const char *name);
struct unit *unit_new(struct keeper *k, const char *name);
/* Takes over the spec's contents. */
void unit_apply(struct unit *u, struct spec *spec);
void unit_invalid(struct unit *u, const char *error);
void unit_remove(struct unit *u);
void unit_start(struct unit *u);
void unit_stop(struct unit *u, bool force);
void unit_restart(struct unit *u);
void unit_on_event(struct keeper *k, const pvv_event *event);
void units_pump(struct keeper *k); /* starts what is queued */
bool unit_is_active(const struct unit *u);
uint64_t now_us(void);

/* folder.c */
int folder_watch(struct keeper *k);
void folder_scan(struct keeper *k);
void spec_free(struct spec *s);

/* api.c, console.c, metrics.c */
struct request {	       /* one HTTP request */
	struct relay *pending; /* a console that waits for its "101" */
};
int api_start(struct keeper *k);
void api_stop(struct keeper *k);
void api_run(struct keeper *k); /* outside of its callbacks */
enum MHD_Result console_attach(struct keeper *k, struct unit *u, struct MHD_Connection *c,
			       struct request *req);
void console_abandon(struct relay *r);
void consoles_close(struct keeper *k);
char *metrics_text(struct keeper *k, size_t *ret_len); /* free() */

#endif
