/* SPDX-License-Identifier: MIT */
/*
 * One incarnation of a domain, from start to its end:
 *
 *	run_open()   caller's thread (or the builder's, at a restart): open kernel, module, disks
 *	run_launch() starts the builder thread: load the image, lay out the guest   (build.c)
 *	attach       I/O thread: xenstore, devices, consoles, sandbox; the guest runs (run.c)
 *	end          I/O thread: the sandbox ended or is killed; devices drain; memory goes
 */
#ifndef PVV_DOMAIN_RUN_H
#define PVV_DOMAIN_RUN_H

#include "domain/build/build.h"
#include "domain/guest.h"
#include "domain/host.h"
#include "io/blk/blk.h"
#include "io/net/net.h"
#include "io/xenstore/xenstore.h"
#include "util/err.h"

enum run_end { /* why an incarnation ended */
	       RUN_END_NONE = 0,
	       RUN_END_POWEROFF,
	       RUN_END_REBOOT,
	       RUN_END_PANIC, /* SHUTDOWN_crash */
	       RUN_END_FAULT, /* core_crash(), or the sandbox died */
	       RUN_END_DESTROYED,
	       RUN_END_FAILED, /* could not be started */
};

struct run_disk {
	struct run *run;
	struct blk_image *image; /* until a device took it over */
	struct blk_device *device;
	char target[16];
};

struct run_net {
	struct run *run;
	struct net_link *link; /* until an interface took it over */
	struct net_vif *vif;
	char name[32]; /* of the link */
};

struct run {
	struct pvv_domain *d;
	struct pvv_host *h;
	bool start_paused;
	const struct exec_ops *ops;

	/* opened */
	bool opened;
	int kernel_fd, initrd_fd;
	struct run_disk *disks;
	size_t nr_disks;
	struct run_net *nets;
	size_t nr_nets;

	/* built */
	struct exec_memory mem;
	struct core_boot boot; /* the library's own copy */
	struct build_layout layout;
	struct pvv_error error; /* of a failed build or attach; code 0 = none */

	/* I/O thread */
	unsigned int domid;
	uint64_t started_ns;
	bool cancelled; /* destroy came while it was being built */
	struct io_work work;
	struct io_guest *guest;
	struct exec *exec;
	struct xs_conn *xs;
	bool in_store, consoles_attached;
	struct io_fd *doorbell_reg, *end_reg;
	uint32_t run_state; /* last one seen, enum core_run_state */
	uint64_t debug_cons;
	struct io_timer watchdog;
	uint64_t overhead;	/* host memory beyond RAM at its last look */
	uint32_t vcpus_started; /* bit n: vCPU n was handed to the executor */
	uint32_t pause_seq;	/* of the last request to pause */
	enum run_end end;
	char end_text[REASON_TEXT_MAX];
	unsigned int closing; /* devices that are still draining */
	bool ending, no_restart;
};

/* Errors: what pvv_domain_start() lists; nothing is left open on failure. */
int run_open(struct run *r);
int run_launch(struct run *r);
/* prepare.c: fn(r) on a short-lived thread that takes no signals; an errno value. */
int run_thread(struct run *r, void *(*fn)(void *));
/* build.c: on the builder thread; the result is r->error. */
void run_build(struct run *r);
/* run.c: on the I/O thread. */
void run_attach(struct run *r);
void run_stop(struct run *r, enum run_end why, const char *text);
/* vcpus.c: on the I/O thread: start the vCPUs that the guest brought up. */
void run_start_vcpus(struct run *r);
/* Devices, console ports and xenstore (devices.c). */
int run_attach_devices(struct run *r);
/* watchdog.c: between the start of the sandbox and its end. */
void run_watch(struct run *r);
void run_unwatch(struct run *r);
/* resources.c: what the guest may have, with the balloon's target and a little more. */
void run_limit_memory(struct run *r, uint64_t bytes);
void run_detach_devices(struct run *r); /* calls run_devices_gone() when all have drained */
void run_devices_gone(struct run *r);
/* Network interfaces (network.c). */
int run_open_nets(struct run *r);
void run_free_nets(struct run *r);
int run_attach_nets(struct run *r);
void run_detach_nets(struct run *r);
void run_refresh_nets(struct run *r); /* under d->lock */
void run_free(struct run *r);
/* lifecycle.c: the incarnation is over and freed of everything; decides what comes next. */
void run_finished(struct run *r);
struct run *run_new(struct pvv_domain *d, bool start_paused);

/* I/O thread: the incarnation stays until the caller returns to the loop or ends it itself. */
static inline struct run *domain_run(struct pvv_domain *d)
{
	struct run *r;

	pthread_mutex_lock(&d->lock);
	r = d->run;
	pthread_mutex_unlock(&d->lock);
	return r;
}

#endif
