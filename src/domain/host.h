/* SPDX-License-Identifier: MIT */
/*
 * The insides of a host handle and of a domain object.
 *
 * Threads: the embedder calls from any thread; each host has one I/O thread (io/loop.h) on which
 * all back ends run and all processes are made and ended; each start has a short-lived builder
 * thread that loads the image (that may take a second, and neither start() nor the I/O thread may
 * wait for it).
 *
 * Locks, in this order: host->lock (list of domains, references), domain->lock (state), the event
 * queue's. None is held while calling into io/, exec/ or the embedder.
 *
 * Life: a domain object lives while it has user references or is active (state other than
 * SHUTOFF); a host while it has user references or domain objects.
 */
#ifndef PVV_DOMAIN_HOST_H
#define PVV_DOMAIN_HOST_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <pvvirt/pvvirt.h>

#include "domain/config.h"
#include "domain/event.h"
#include "exec/executor.h"
#include "io/loop.h"

struct xs_store;
struct run;
struct domain_consoles;

#define REASON_TEXT_MAX 512
#define DOMID_LAST	0x7fefu /* DOMID_FIRST_RESERVED - 1 */

struct pvv_host {
	pid_t pid; /* of the process that opened it: a forked child must not use it */
	pthread_mutex_t lock;
	unsigned int user_refs;	 /* under lock */
	unsigned int nr_objects; /* domain objects, under lock */
	struct pvv_domain *domains;
	unsigned int next_domid;		   /* I/O thread, as is the next */
	uint64_t domids_used[DOMID_LAST / 64 + 1]; /* one bit each */
	struct io_loop *loop;
	pthread_t thread;
	struct xs_store *store; /* I/O thread */
	struct event_queue events;
	pthread_mutex_t probe_lock;
	bool probed;
	struct exec_probe probe_ring3, probe_kvm;
};

struct pvv_domain {
	struct pvv_domain *next; /* host's list, under host->lock */
	struct pvv_host *host;
	unsigned int user_refs; /* under host->lock */
	bool active;		/* under host->lock: keeps the object alive */
	bool autodestroy;	/* under host->lock */

	/* Never change after creation. */
	char name[CONFIG_NAME_MAX + 1];
	char uuid[37];
	char *warnings;
	/*
	 * Changed on the I/O thread and under lock, while the domain is shut off (api/console.c).
	 * So whoever holds the lock, is the I/O thread, or has made the domain active may read it.
	 */
	struct config *cfg;
	struct domain_consoles *consoles; /* used on the I/O thread only */

	pthread_mutex_t lock;
	pthread_cond_t changed; /* CLOCK_MONOTONIC */
	int state, reason;
	int id;		   /* domid, -1 */
	uint32_t executor; /* 0, 1 ring3, 2 kvm */
	char reason_text[REASON_TEXT_MAX];
	unsigned int ends; /* how often it became SHUTOFF or CRASHED */
	bool cancel_start; /* destroyed before start() had published its run */
	/*
	 * The incarnation, NULL if not active. Published under lock by start(); all else about it
	 * is the I/O thread's.
	 */
	struct run *run;
	uint64_t live_memory; /* asked for since the start, bytes; 0: as configured */
	uint32_t live_vcpus;  /* likewise */
	uint32_t vcpus_up;    /* as of the last look */
	bool paused_ack;      /* the monitor said that it stands still */
	bool want_paused;
	uint32_t pause_failed;	/* the request to pause that was withdrawn unanswered */
	pvv_domain_stats stats; /* as of the last look, or the end */
	struct block_counter {
		char target[16];
		pvv_block_stats stats;
	} * blocks;
	unsigned int nr_blocks;
	struct net_counter {
		char mac[18];
		char target[32]; /* "": none named */
		pvv_interface_stats stats;
	} * nets;
	unsigned int nr_nets;
};

/* ---- host.c ---- */
int host_open(struct pvv_host **ret_host);
void host_ref(struct pvv_host *h);
void host_unref(struct pvv_host *h);
/* PVV_EFORK in a forked child. */
int host_check(const struct pvv_host *h);
const struct exec_ops *host_choose_executor(struct pvv_host *h, enum config_executor want,
					    const char *domain);
void host_probe(struct pvv_host *h);
/* A domain id that no running domain has; 0 if all are taken. I/O thread. */
unsigned int host_take_domid(struct pvv_host *h);
void host_put_domid(struct pvv_host *h, unsigned int domid);

/* ---- domain.c ---- */
/* Takes over cfg (completed and checked), also on failure. */
int domain_new(struct pvv_host *h, struct config *cfg, char *warnings, struct pvv_domain **ret);
void domain_ref(struct pvv_domain *d);
void domain_unref(struct pvv_domain *d);
/*
 * The last step of a stop: the state, PVV_EVENT_STOPPED (NULL: none), and the object is no longer
 * kept by being active, in one step: an embedder that sees the state or the event may start it
 * again at once. May free d.
 */
struct domain_stopped {
	int detail;
	const char *text;
};
void domain_end(struct pvv_domain *d, int state, int reason, const struct domain_stopped *stopped);
/* Change state and wake those who wait; the caller posts the event. */
void domain_set_state(struct pvv_domain *d, int state, int reason);
void domain_post(struct pvv_domain *d, pvv_event_type type, int detail, const char *text);

/* ---- lifecycle.c: the verbs, any thread ---- */
int domain_start(struct pvv_domain *d, uint64_t flags);
int domain_pause(struct pvv_domain *d);
int domain_resume(struct pvv_domain *d);
int domain_ask_shutdown(struct pvv_domain *d, const char *what);
int domain_destroy(struct pvv_domain *d);
int domain_wait(struct pvv_domain *d, int64_t timeout_ms);
/* ---- resources.c: likewise. What is asked for holds until the domain is shut off. ---- */
#define DOMAIN_TARGET_MIN (4ull << 20) /* bytes; less does not hold a guest's kernel */
int domain_set_memory(struct pvv_domain *d, uint64_t bytes);
int domain_set_vcpus(struct pvv_domain *d, uint32_t vcpus);
/* Bytes the balloon may grow to; bytes and vCPUs the guest is to have now. Under d->lock, or where
 * d->cfg may be read and no verb can run. */
uint64_t domain_max_memory(const struct config *cfg);
uint64_t domain_target_memory(const struct pvv_domain *d);
uint32_t domain_target_vcpus(const struct pvv_domain *d);

/* Bring d->stats and d->blocks up to date. On the I/O thread; domain_update_stats() on others. */
void domain_refresh_stats(struct pvv_domain *d);
void domain_update_stats(struct pvv_domain *d);
/* network.c: d->nets, all zero. */
int domain_make_net_counters(struct pvv_domain *d);

#endif
