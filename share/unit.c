/* SPDX-License-Identifier: MIT */
/* A unit's life: what is asked of it, what its guest does, and what follows. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "keeper.h"

const char *const unit_state_names[UNIT_STATES] = {
	[UNIT_INVALID] = "invalid", [UNIT_QUEUED] = "queued",	  [UNIT_STARTING] = "starting",
	[UNIT_RUNNING] = "running", [UNIT_STOPPING] = "stopping", [UNIT_BACKOFF] = "backoff",
	[UNIT_STOPPED] = "stopped", [UNIT_CRASHED] = "crashed",
};

uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* Whether a guest of it may be running. */
bool unit_is_active(const struct unit *u)
{
	return u->state == UNIT_STARTING || u->state == UNIT_RUNNING || u->state == UNIT_STOPPING;
}

struct unit *unit_find(struct keeper *k, const char *name)
{
	struct unit *u;

	LIST_FOREACH(u, &k->units, list)
	if (!strcmp(u->name, name))
		return u;
	return NULL;
}

struct unit *unit_new(struct keeper *k, const char *name)
{
	struct unit *u = calloc(1, sizeof(*u));

	if (!u)
		return NULL;
	u->k = k;
	snprintf(u->name, sizeof(u->name), "%s", name);
	u->state = UNIT_STOPPED;
	LIST_INSERT_HEAD(&k->units, u, list);
	return u;
}

static void drop_timer(struct unit *u)
{
	u->timer = sd_event_source_disable_unref(u->timer);
}

static void set_timer(struct unit *u, uint64_t ms, sd_event_time_handler_t fn)
{
	drop_timer(u);
	sd_event_add_time_relative(u->k->event, &u->timer, CLOCK_MONOTONIC, ms * 1000, 10000, fn,
				   u);
}

static void set_state(struct unit *u, enum unit_state state)
{
	if (u->state == UNIT_QUEUED)
		TAILQ_REMOVE(&u->k->queue, u, queue);
	if (u->state == UNIT_STARTING)
		u->k->starting--;
	u->state = state;
	if (state == UNIT_QUEUED)
		TAILQ_INSERT_TAIL(&u->k->queue, u, queue);
	if (state == UNIT_STARTING)
		u->k->starting++;
}

static void unit_free(struct unit *u)
{
	drop_timer(u);
	set_state(u, UNIT_STOPPED);
	LIST_REMOVE(u, list);
	pvv_domain_unref(u->dom);
	spec_free(&u->spec);
	spec_free(&u->next);
	free(u);
}

static void set_error(struct unit *u, const char *text)
{
	snprintf(u->error, sizeof(u->error), "%s", text);
}

/* ---- starting, with back-off ---- */

static int on_backoff(sd_event_source *s, uint64_t usec, void *opaque)
{
	struct unit *u = opaque;

	drop_timer(u);
	unit_start(u);
	return 0;
}

/*
 * Twice as long each time, from the minimum to the maximum; from the start again for a guest that
 * ran well for `steady`. Without this a guest that ends at once would be all that the machine does.
 */
static void start_later(struct unit *u)
{
	struct keeper *k = u->k;
	uint64_t ran_us = u->started_us ? now_us() - u->started_us : 0;

	if (ran_us >= k->steady_ms * 1000)
		u->backoff_ms = 0;
	u->backoff_ms = u->backoff_ms ? u->backoff_ms * 2 : k->backoff_min_ms;
	if (u->backoff_ms > k->backoff_max_ms)
		u->backoff_ms = k->backoff_max_ms;
	u->restarts++;
	u->started_us = 0;
	set_state(u, UNIT_BACKOFF);
	LOG(SD_INFO, "%s: starts again in %" PRIu64 " ms", u->name, u->backoff_ms);
	set_timer(u, u->backoff_ms, on_backoff);
}

static int make_domain(struct unit *u)
{
	if (u->dom)
		return 0;
	return pvv_domain_create_xml(u->k->host, u->spec.xml, 0, &u->dom);
}

static void start_now(struct unit *u)
{
	int ret = make_domain(u);

	if (!ret)
		ret = pvv_domain_start(u->dom, 0);
	if (ret < 0) {
		set_error(u, pvv_error_get_message(pvv_error_last()));
		LOG(SD_ERR, "%s: %s", u->name, u->error);
		start_later(u);
		return;
	}
	set_state(u, UNIT_STARTING);
}

void units_pump(struct keeper *k)
{
	struct unit *u;

	while (!k->draining && k->starting < k->parallel && (u = TAILQ_FIRST(&k->queue)))
		start_now(u);
}

void unit_start(struct unit *u)
{
	u->held = false;
	if (u->k->draining || u->removed)
		return;
	switch (u->state) {
	case UNIT_STOPPING:
		u->again = true;
		break;
	case UNIT_CRASHED: /* preserved: this is the end of it */
		pvv_domain_destroy(u->dom, 0);
		/* fall through */
	case UNIT_STOPPED:
	case UNIT_BACKOFF:
		drop_timer(u);
		set_state(u, UNIT_QUEUED);
		units_pump(u->k);
		break;
	default:
		break; /* on its way, or cannot be */
	}
}

/* ---- stopping ---- */

static void *killer(void *opaque)
{
	pvv_domain *dom = opaque;

	pvv_domain_destroy(dom, 0); /* waits for its disks' I/O: not on the loop's thread */
	pvv_domain_unref(dom);
	return NULL;
}

static void end_by_force(struct unit *u)
{
	if (u->killing)
		return;
	LOG(SD_NOTICE, "%s: does not power off, it is ended", u->name);
	u->killing = !pthread_create(&u->killer, NULL, killer, pvv_domain_ref(u->dom));
	if (!u->killing) {
		pvv_domain_unref(u->dom);
		pvv_domain_destroy(u->dom, 0);
	}
}

static int on_grace(sd_event_source *s, uint64_t usec, void *opaque)
{
	struct unit *u = opaque;

	drop_timer(u);
	end_by_force(u);
	return 0;
}

/* The guest has ended, or there was none: what now? */
static void after_end(struct unit *u)
{
	if (u->removed) {
		unit_free(u);
		return;
	}
	set_state(u, UNIT_STOPPED);
	if (u->next.xml) {
		struct spec next = u->next;

		memset(&u->next, 0, sizeof(u->next));
		spec_free(&u->spec);
		u->spec = next;
		u->dom = pvv_domain_unref(u->dom);
		u->again = true;
	}
	if (u->again && !u->held) {
		u->again = false;
		u->backoff_ms = 0;
		unit_start(u);
	}
}

static void stop(struct unit *u, bool force)
{
	switch (u->state) {
	case UNIT_STARTING:
	case UNIT_RUNNING:
		set_state(u, UNIT_STOPPING);
		pvv_domain_shutdown(u->dom, 0); /* not up yet: again when it is */
		set_timer(u, u->k->grace_ms, on_grace);
		/* fall through */
	case UNIT_STOPPING:
		if (force)
			end_by_force(u);
		break;
	case UNIT_CRASHED:
		pvv_domain_destroy(u->dom, 0);
		after_end(u);
		break;
	case UNIT_QUEUED:
	case UNIT_BACKOFF:
	case UNIT_STOPPED:
	case UNIT_INVALID:
		drop_timer(u);
		if (u->state != UNIT_INVALID || u->removed)
			after_end(u);
		break;
	default:
		break;
	}
}

void unit_stop(struct unit *u, bool force)
{
	u->held = true;
	u->again = false;
	stop(u, force);
}

void unit_restart(struct unit *u)
{
	u->held = false;
	if (u->k->draining || u->state == UNIT_INVALID)
		return;
	u->again = true;
	stop(u, false);
}

/* ---- its file ---- */

void unit_apply(struct unit *u, struct spec *spec)
{
	u->removed = false;
	u->error[0] = '\0';
	spec_free(&u->next);
	u->next = *spec;
	memset(spec, 0, sizeof(*spec));
	if (u->state == UNIT_INVALID)
		set_state(u, UNIT_STOPPED);
	stop(u, false);
}

/* A mistake in a file does not end the guest of its last good version. */
void unit_invalid(struct unit *u, const char *error)
{
	set_error(u, error);
	LOG(SD_ERR, "%s", error);
	if (!u->spec.xml)
		set_state(u, UNIT_INVALID);
}

void unit_remove(struct unit *u)
{
	LOG(SD_INFO, "%s: removed", u->name);
	u->removed = true;
	u->again = false;
	spec_free(&u->next);
	stop(u, false);
}

/* ---- its guest ---- */

static enum action what_follows(const struct unit *u, int detail)
{
	switch (detail) {
	case PVV_EVENT_STOPPED_SHUTDOWN:
		return u->rebooting ? u->spec.on_reboot : u->spec.on_poweroff;
	case PVV_EVENT_STOPPED_CRASHED:
		return u->spec.on_crash;
	case PVV_EVENT_STOPPED_FAILED:
		return ACTION_RESTART; /* a missing disk may come back */
	default:
		return ACTION_DESTROY;
	}
}

static const char *how(const struct unit *u, int detail)
{
	if (detail == PVV_EVENT_STOPPED_CRASHED)
		return "crashed";
	if (detail == PVV_EVENT_STOPPED_FAILED)
		return "failed";
	return u->rebooting ? "rebooted" : "ended";
}

static void on_stopped(struct unit *u, int detail, const char *text)
{
	bool asked = u->state == UNIT_STOPPING;
	enum action action = what_follows(u, detail);

	drop_timer(u);
	if (u->killing) {
		pthread_join(u->killer, NULL);
		u->killing = false;
	}
	if (detail == PVV_EVENT_STOPPED_CRASHED || detail == PVV_EVENT_STOPPED_FAILED)
		set_error(u, text);
	LOG(SD_INFO, "%s: %s%s%s", u->name, how(u, detail), *text ? ": " : "", text);
	if (u->k->draining || u->held || u->removed || asked || u->next.xml)
		after_end(u);
	else if (action == ACTION_RESTART)
		start_later(u);
	else if (action == ACTION_PRESERVE && detail == PVV_EVENT_STOPPED_CRASHED)
		set_state(u, UNIT_CRASHED);
	else
		after_end(u);
}

void unit_on_event(struct keeper *k, const pvv_event *event)
{
	struct unit *u = unit_find(k, pvv_event_get_domain_name(event));
	int detail = pvv_event_get_detail(event);

	k->events++;
	if (!u)
		return;
	switch (pvv_event_get_type(event)) {
	case PVV_EVENT_STARTED:
		u->started_us = now_us();
		u->rebooting = false;
		if (u->state == UNIT_STOPPING) {
			pvv_domain_shutdown(u->dom, 0); /* asked while it was being started */
			break;
		}
		set_state(u, UNIT_RUNNING);
		LOG(SD_INFO, "%s: started", u->name);
		break;
	case PVV_EVENT_SHUTDOWN:
		u->rebooting = detail == PVV_EVENT_SHUTDOWN_REBOOT;
		break;
	case PVV_EVENT_STOPPED:
		on_stopped(u, detail, pvv_event_get_text(event));
		break;
	case PVV_EVENT_IO_ERROR:
		LOG(SD_ERR, "%s: %s", u->name, pvv_event_get_text(event));
		break;
	default:
		break;
	}
	units_pump(k);
}
