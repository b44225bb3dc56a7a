/* SPDX-License-Identifier: MIT */
/*
 * The verbs, as any thread calls them, and what follows the end of an incarnation. What touches a
 * running incarnation happens on the I/O thread (io_loop_call), so that it cannot end meanwhile.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "domain/consoles.h"
#include "domain/memory.h"
#include "domain/run.h"

#define PAUSE_TIMEOUT_NS 2000000000ull
/* A guest that crashes sooner than this after its start would crash again and again. */
#define CRASH_LOOP_NS	 2000000000ull

static bool is_running(const struct pvv_domain *d)
{
	return d->state == PVV_DOMAIN_RUNNING || d->state == PVV_DOMAIN_BLOCKED;
}

static int wrong_state(struct pvv_domain *d, const char *must_be)
{
	return err_set(PVV_ESTATE, PVV_SUBSYS_DOMAIN, d->name, "domain '%s' is not %s", d->name,
		       must_be);
}

/* ---- start ---- */

static void unpublish_work(void *opaque)
{
	struct run *r = opaque;

	pthread_mutex_lock(&r->d->lock);
	r->d->run = NULL;
	pthread_mutex_unlock(&r->d->lock);
	run_free(r);
}

static int start_run(struct pvv_domain *d, bool paused)
{
	struct run *r = run_new(d, paused);
	bool published = false;
	int ret;

	if (!r)
		return PVV_ENOMEM;
	ret = config_check_startable(d->cfg);
	if (!ret)
		ret = run_open(r);
	if (!ret) {
		r->ops = host_choose_executor(d->host, d->cfg->executor, d->name);
		if (!r->ops)
			ret = PVV_EUNSUPPORTED;
	}
	if (!ret) {
		pthread_mutex_lock(&d->lock);
		r->cancelled = d->cancel_start;
		d->run = r;
		d->reason_text[0] = '\0';
		pthread_mutex_unlock(&d->lock);
		published = true;
		ret = run_launch(r);
	}
	if (ret < 0) {
		struct pvv_error e;

		err_save(&e);
		/* A verb of another thread may be looking at it there. */
		if (published)
			io_loop_call(d->host->loop, unpublish_work, r);
		else
			run_free(r);
		err_restore(&e);
	}
	return ret;
}

int domain_start(struct pvv_domain *d, uint64_t flags)
{
	struct pvv_error e;
	int ret;

	pthread_mutex_lock(&d->lock);
	if (d->state != PVV_DOMAIN_SHUTOFF) {
		pthread_mutex_unlock(&d->lock);
		return wrong_state(d, "shut off");
	}
	int old_reason = d->reason;
	d->state = PVV_DOMAIN_PAUSED;
	d->reason = PVV_PAUSED_STARTING_UP;
	d->cancel_start = false;
	d->live_memory = 0;
	d->live_vcpus = 0;
	memset(&d->stats, 0, sizeof(d->stats));
	for (unsigned int i = 0; i < d->nr_blocks; i++)
		memset(&d->blocks[i].stats, 0, sizeof(d->blocks[i].stats));
	for (unsigned int i = 0; i < d->nr_nets; i++)
		memset(&d->nets[i].stats, 0, sizeof(d->nets[i].stats));
	pthread_mutex_unlock(&d->lock);

	pthread_mutex_lock(&d->host->lock);
	d->active = true;
	d->autodestroy = flags & PVV_START_AUTODESTROY;
	pthread_mutex_unlock(&d->host->lock);
	ret = start_run(d, flags & PVV_START_PAUSED);
	if (ret < 0) {
		err_save(&e);
		/* The caller's reference keeps it. */
		domain_end(d, PVV_DOMAIN_SHUTOFF, old_reason, NULL);
		err_restore(&e);
	}
	return ret;
}

/* ---- pause, resume, shutdown, destroy ---- */

struct request {
	struct pvv_domain *d;
	const char *what;
	int ret;
	struct pvv_error error;
	unsigned int ends; /* of the domain at that moment */
	uint32_t pause_seq;
	bool made;  /* the request to pause, and did not join another's */
	bool early; /* the guest is still being started, and will come up paused */
	bool done;
};

/* Lock held. What becomes of start_paused is decided on the I/O thread, when the sandbox starts. */
static bool is_starting(const struct pvv_domain *d)
{
	return d->state == PVV_DOMAIN_PAUSED && d->reason == PVV_PAUSED_STARTING_UP;
}

static void pause_work(void *opaque)
{
	struct request *q = opaque;
	struct pvv_domain *d = q->d;
	struct run *r;

	pthread_mutex_lock(&d->lock);
	r = d->run;
	q->ends = d->ends;
	if (is_running(d) && r && !r->ending) {
		q->pause_seq = ++r->pause_seq;
		q->made = true;
		d->pause_failed = 0;
		d->want_paused = true;
		d->paused_ack = false;
		d->state = PVV_DOMAIN_PAUSED;
		d->reason = PVV_PAUSED_USER;
		pthread_cond_broadcast(&d->changed);
	} else if (d->state == PVV_DOMAIN_PAUSED && d->reason == PVV_PAUSED_USER && r &&
		   !r->ending) {
		q->pause_seq = r->pause_seq;
		r = NULL; /* is paused already, or will be */
	} else if (is_starting(d) && r && !r->ending) {
		r->start_paused = true;
		q->early = true;
		r = NULL;
	} else {
		q->ret = PVV_ESTATE;
		r = NULL;
	}
	pthread_mutex_unlock(&d->lock);
	if (!r)
		return;
	/* A number for each request: the monitor may not have noticed a resume in between. */
	__atomic_store_n(&memory_ctl(&r->mem)->pause_seq, q->pause_seq, __ATOMIC_SEQ_CST);
	__atomic_or_fetch(&memory_ctl(&r->mem)->request, CORE_REQ_PAUSE, __ATOMIC_SEQ_CST);
	guest_kick_all(r->guest);
	domain_post(d, PVV_EVENT_SUSPENDED, 0, "");
}

/* Lock held, on the I/O thread. */
static void set_running(struct pvv_domain *d)
{
	d->want_paused = false;
	d->state = PVV_DOMAIN_RUNNING;
	d->reason = PVV_RUNNING_UNPAUSED;
	pthread_cond_broadcast(&d->changed);
}

static void let_run(struct run *r)
{
	__atomic_and_fetch(&memory_ctl(&r->mem)->request, ~CORE_REQ_PAUSE, __ATOMIC_SEQ_CST);
	guest_kick_all(r->guest);
	domain_post(r->d, PVV_EVENT_RESUMED, 0, "");
}

/*
 * The request is withdrawn: what failed must not happen some time later. The host may be
 * overloaded, so a silent sandbox is no reason to end a guest; that is for the embedder to say.
 */
static void unresponsive_work(void *opaque)
{
	struct request *q = opaque;
	struct pvv_domain *d = q->d;

	/* Unless it has answered just now, or somebody has resumed it. */
	pthread_mutex_lock(&d->lock);
	struct run *r = d->run;
	bool silent = r && !r->ending && r->exec && d->ends == q->ends && d->want_paused &&
		      !d->paused_ack && r->pause_seq == q->pause_seq;
	bool withdraw = silent && q->made;
	if (withdraw) {
		d->pause_failed = q->pause_seq;
		r->pause_seq++; /* an answer that comes yet is to nobody */
		set_running(d);
	}
	pthread_mutex_unlock(&d->lock);
	if (withdraw)
		let_run(r);
	q->done = !silent;
}

static void deadline_in(struct timespec *ts, uint64_t ns)
{
	clock_gettime(CLOCK_MONOTONIC, ts);
	ns += (uint64_t)ts->tv_nsec;
	ts->tv_sec += (time_t)(ns / 1000000000u);
	ts->tv_nsec = (long)(ns % 1000000000u);
}

int domain_pause(struct pvv_domain *d)
{
	struct request q = {.d = d};
	struct timespec ts;
	bool timeout = false, waiting = true, same = true, failed;

	io_loop_call(d->host->loop, pause_work, &q);
	if (q.ret < 0)
		return wrong_state(d, "running");
	if (q.early)
		return 0; /* it has not run an instruction, and will not */
	deadline_in(&ts, PAUSE_TIMEOUT_NS);
	pthread_mutex_lock(&d->lock);
	for (;;) {
		same = d->ends == q.ends && d->state != PVV_DOMAIN_SHUTDOWN &&
		       d->reason != PVV_PAUSED_STARTING_UP;
		waiting = same && d->want_paused && !d->paused_ack;
		if (!waiting || timeout)
			break;
		timeout = pthread_cond_timedwait(&d->changed, &d->lock, &ts) == ETIMEDOUT;
	}
	failed = q.pause_seq && d->pause_failed == q.pause_seq;
	pthread_mutex_unlock(&d->lock);
	if (!same)
		return wrong_state(d, "running any more: it ended while it was being paused");
	/* It stands still; or it did as far as anybody can tell, and was resumed meanwhile. */
	if (!waiting && !failed)
		return 0;
	if (waiting)
		io_loop_call(d->host->loop, unresponsive_work, &q);
	if (q.done)
		return 0;
	return err_set(PVV_ETIMEDOUT, PVV_SUBSYS_DOMAIN, d->name,
		       "domain '%s' was not paused: its sandbox did not answer within %llu s; it "
		       "runs on (pvv_domain_destroy() ends it)",
		       d->name, PAUSE_TIMEOUT_NS / 1000000000);
}

static void resume_work(void *opaque)
{
	struct request *q = opaque;
	struct pvv_domain *d = q->d;
	struct run *r;

	pthread_mutex_lock(&d->lock);
	r = d->run;
	if (is_starting(d) && r && !r->ending && r->start_paused) {
		r->start_paused = false; /* resumed before it was up */
		pthread_mutex_unlock(&d->lock);
		return;
	}
	if (d->state != PVV_DOMAIN_PAUSED || d->reason == PVV_PAUSED_STARTING_UP || !r ||
	    r->ending) {
		q->ret = PVV_ESTATE;
		pthread_mutex_unlock(&d->lock);
		return;
	}
	set_running(d);
	pthread_mutex_unlock(&d->lock);
	let_run(r);
}

int domain_resume(struct pvv_domain *d)
{
	struct request q = {.d = d};

	io_loop_call(d->host->loop, resume_work, &q);
	return q.ret < 0 ? wrong_state(d, "paused") : 0;
}

static void shutdown_work(void *opaque)
{
	struct request *q = opaque;
	struct run *r = domain_run(q->d);
	char path[64];

	if (!r || r->ending || !r->in_store || !r->exec) {
		q->ret = wrong_state(q->d, "running");
		err_save(&q->error);
		return;
	}
	snprintf(path, sizeof(path), "/local/domain/%u/control", r->domid);
	q->ret = xs_put(r->h->store, path, "shutdown", "%s", q->what);
	if (q->ret < 0)
		err_save(&q->error); /* this thread's record; the caller's is another */
}

int domain_ask_shutdown(struct pvv_domain *d, const char *what)
{
	struct request q = {.d = d, .what = what};

	io_loop_call(d->host->loop, shutdown_work, &q);
	if (q.ret < 0)
		err_restore(&q.error);
	return q.ret;
}

static void destroy_work(void *opaque)
{
	struct request *q = opaque;
	struct pvv_domain *d = q->d;
	struct run *r;

	pthread_mutex_lock(&d->lock);
	r = d->run;
	q->ends = d->ends;
	if (!r && d->state == PVV_DOMAIN_CRASHED) {
		d->state = PVV_DOMAIN_SHUTOFF;
		d->reason = PVV_SHUTOFF_DESTROYED;
		q->done = true;
		pthread_cond_broadcast(&d->changed);
	} else if (!r && d->state == PVV_DOMAIN_SHUTOFF) {
		q->ret = PVV_ESTATE;
	} else if (!r) {
		d->cancel_start = true; /* start() is opening its files, on another thread */
	}
	pthread_mutex_unlock(&d->lock);
	if (!r)
		return;
	if (r->ending)
		r->no_restart = true;
	else if (!r->exec)
		r->cancelled = true; /* its builder is at work; run_attach() will see it */
	else
		run_stop(r, RUN_END_DESTROYED, "");
}

int domain_destroy(struct pvv_domain *d)
{
	struct request q = {.d = d};

	io_loop_call(d->host->loop, destroy_work, &q);
	if (q.ret < 0)
		return wrong_state(d, "active");
	/* Counted: another thread may start it again before this one has looked. */
	pthread_mutex_lock(&d->lock);
	while (!q.done && d->ends == q.ends)
		pthread_cond_wait(&d->changed, &d->lock);
	pthread_mutex_unlock(&d->lock);
	return 0;
}

int domain_wait(struct pvv_domain *d, int64_t timeout_ms)
{
	struct timespec ts;
	bool timeout = timeout_ms == 0;
	bool ended;

	if (timeout_ms > INT64_MAX / 1000000)
		timeout_ms = -1;
	if (timeout_ms > 0)
		deadline_in(&ts, (uint64_t)timeout_ms * 1000000u);
	pthread_mutex_lock(&d->lock);
	unsigned int ends = d->ends;
	for (;;) {
		ended = d->state == PVV_DOMAIN_SHUTOFF || d->state == PVV_DOMAIN_CRASHED ||
			d->ends != ends;
		if (ended || timeout)
			break;
		if (timeout_ms < 0)
			pthread_cond_wait(&d->changed, &d->lock);
		else
			timeout = pthread_cond_timedwait(&d->changed, &d->lock, &ts) == ETIMEDOUT;
	}
	pthread_mutex_unlock(&d->lock);
	return ended ? 0
		     : err_set(PVV_ETIMEDOUT, PVV_SUBSYS_DOMAIN, d->name,
			       "domain '%s' is still active", d->name);
}

/* ---- after the end ---- */

static enum config_action action_for(const struct run *r)
{
	const struct config *cfg = r->d->cfg;

	switch (r->end) {
	case RUN_END_POWEROFF:
		return cfg->on_poweroff;
	case RUN_END_REBOOT:
		return cfg->on_reboot;
	case RUN_END_PANIC:
	case RUN_END_FAULT:
		return cfg->on_crash;
	default:
		return CONFIG_ACTION_DESTROY;
	}
}

/* What ended by a restart that failed is no power-off. */
static bool restart_failed(struct run *r)
{
	struct pvv_domain *d = r->d;
	struct pvv_error e;

	err_save(&e);
	r->end = RUN_END_FAILED;
	snprintf(r->end_text, sizeof(r->end_text), "it could not be restarted: %.400s", e.message);
	pthread_mutex_lock(&d->lock);
	d->run = NULL;
	memcpy(d->reason_text, r->end_text, sizeof(d->reason_text));
	pthread_mutex_unlock(&d->lock);
	return false;
}

static bool try_restart(struct run *r, bool crashed)
{
	struct pvv_domain *d = r->d;
	struct run *next;

	if (crashed && io_now_ns() - r->started_ns < CRASH_LOOP_NS) {
		log_post(&d->host->events, PVV_LOG_WARNING, d->name,
			 "not restarted: it crashed within 2 s of its start");
		return false;
	}
	next = run_new(d, false);
	if (!next)
		return restart_failed(r);
	next->ops = r->ops;
	pthread_mutex_lock(&d->lock);
	d->run = next;
	d->state = PVV_DOMAIN_PAUSED;
	d->reason = PVV_PAUSED_STARTING_UP;
	pthread_cond_broadcast(&d->changed);
	pthread_mutex_unlock(&d->lock);
	if (run_launch(next) < 0) {
		restart_failed(r);
		run_free(next);
		return false;
	}
	if (!crashed)
		domain_post(d, PVV_EVENT_REBOOT, 0, "");
	return true;
}

void run_finished(struct run *r)
{
	static const struct {
		int shutoff, stopped;
	} how[] = {
		[RUN_END_NONE] = {PVV_SHUTOFF_UNKNOWN, PVV_EVENT_STOPPED_FAILED},
		[RUN_END_POWEROFF] = {PVV_SHUTOFF_SHUTDOWN, PVV_EVENT_STOPPED_SHUTDOWN},
		[RUN_END_REBOOT] = {PVV_SHUTOFF_SHUTDOWN, PVV_EVENT_STOPPED_SHUTDOWN},
		[RUN_END_PANIC] = {PVV_SHUTOFF_CRASHED, PVV_EVENT_STOPPED_CRASHED},
		[RUN_END_FAULT] = {PVV_SHUTOFF_CRASHED, PVV_EVENT_STOPPED_CRASHED},
		[RUN_END_DESTROYED] = {PVV_SHUTOFF_DESTROYED, PVV_EVENT_STOPPED_DESTROYED},
		[RUN_END_FAILED] = {PVV_SHUTOFF_FAILED, PVV_EVENT_STOPPED_FAILED},
	};
	struct pvv_domain *d = r->d;
	enum config_action action = action_for(r);
	bool crashed = r->end == RUN_END_PANIC || r->end == RUN_END_FAULT;
	char text[REASON_TEXT_MAX];

	pthread_mutex_lock(&d->lock);
	d->run = NULL;
	d->id = -1;
	d->executor = 0;
	d->want_paused = d->paused_ack = false;
	snprintf(d->reason_text, sizeof(d->reason_text), "%s", r->end_text);
	pthread_mutex_unlock(&d->lock);
	memcpy(text, r->end_text, sizeof(text));
	if (crashed)
		domain_post(d, PVV_EVENT_CRASHED,
			    r->end == RUN_END_PANIC ? PVV_EVENT_CRASHED_PANICKED
						    : PVV_EVENT_CRASHED_FAULT,
			    text);
	if (!r->no_restart &&
	    (action == CONFIG_ACTION_RESTART || action == CONFIG_ACTION_RENAME_RESTART ||
	     action == CONFIG_ACTION_COREDUMP_RESTART) &&
	    try_restart(r, crashed)) {
		run_free(r);
		return;
	}
	consoles_end(d->consoles);
	enum run_end end = r->end;
	memcpy(text, r->end_text, sizeof(text));
	run_free(r);
	const struct domain_stopped stopped = {how[end].stopped, text};
	/* From here on the embedder may start it again. */
	if (crashed && end != RUN_END_FAILED && action == CONFIG_ACTION_PRESERVE)
		domain_end(d, PVV_DOMAIN_CRASHED, PVV_CRASHED_PANICKED, &stopped);
	else
		domain_end(d, PVV_DOMAIN_SHUTOFF, how[end].shutoff, &stopped);
}
