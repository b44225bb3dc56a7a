/* SPDX-License-Identifier: MIT */
/* The domain object: references, the host's list, state. */
#include "domain/host.h"

#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include "domain/consoles.h"
#include "util/err.h"

static void free_consoles(void *opaque)
{
	consoles_free(opaque);
}

static void domain_free(struct pvv_domain *d)
{
	/* Consoles belong to the I/O thread. */
	if (pthread_equal(d->host->thread, pthread_self()))
		free_consoles(d->consoles);
	else if (d->consoles)
		io_loop_call(d->host->loop, free_consoles, d->consoles);
	config_free(d->cfg);
	free(d->warnings);
	free(d->blocks);
	free(d->nets);
	pthread_cond_destroy(&d->changed);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

/* Under host->lock. */
static int insert(struct pvv_host *h, struct pvv_domain *d)
{
	for (struct pvv_domain *o = h->domains; o; o = o->next) {
		if (!strcmp(o->name, d->name))
			return err_set(PVV_EEXIST, PVV_SUBSYS_DOMAIN, d->name,
				       "a domain named '%s' exists already", d->name);
		if (!strcmp(o->uuid, d->uuid))
			return err_set(PVV_EEXIST, PVV_SUBSYS_DOMAIN, d->name,
				       "domain '%s' has the UUID %s already", o->name, d->uuid);
	}
	d->next = h->domains;
	h->domains = d;
	h->nr_objects++;
	return 0;
}

int domain_new(struct pvv_host *h, struct config *cfg, char *warnings, struct pvv_domain **ret)
{
	struct pvv_domain *d = calloc(1, sizeof(*d));
	pthread_condattr_t attr;
	int r;

	*ret = NULL;
	if (!d) {
		config_free(cfg);
		free(warnings);
		return err_nomem(PVV_SUBSYS_DOMAIN, "making a domain");
	}
	d->host = h;
	d->cfg = cfg;
	d->warnings = warnings;
	d->user_refs = 1;
	d->state = PVV_DOMAIN_SHUTOFF;
	d->id = -1;
	snprintf(d->name, sizeof(d->name), "%s", cfg->name);
	config_uuid_format(cfg->uuid, d->uuid);
	pthread_mutex_init(&d->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&d->changed, &attr);
	pthread_condattr_destroy(&attr);
	d->nr_blocks = (unsigned int)cfg->nr_disks;
	d->blocks = calloc(d->nr_blocks ? d->nr_blocks : 1, sizeof(*d->blocks));
	for (unsigned int i = 0; d->blocks && i < d->nr_blocks; i++)
		snprintf(d->blocks[i].target, sizeof(d->blocks[i].target), "%s",
			 cfg->disks[i].target);
	r = d->blocks ? consoles_new(h->loop, cfg, &d->consoles)
		      : err_nomem(PVV_SUBSYS_DOMAIN, "making a domain");
	if (!r)
		r = domain_make_net_counters(d);
	if (!r) {
		pthread_mutex_lock(&h->lock);
		r = insert(h, d);
		pthread_mutex_unlock(&h->lock);
	}
	if (r < 0) {
		domain_free(d);
		return r;
	}
	*ret = d;
	return 0;
}

/* Under host->lock: take it out of the list if nothing keeps it. The caller frees. */
static bool remove_if_dead(struct pvv_domain *d)
{
	struct pvv_host *h = d->host;

	if (d->user_refs || d->active)
		return false;
	for (struct pvv_domain **p = &h->domains; *p; p = &(*p)->next) {
		if (*p == d) {
			*p = d->next;
			break;
		}
	}
	return true;
}

static void drop(struct pvv_domain *d)
{
	struct pvv_host *h = d->host;

	domain_free(d);
	/* The object's share in the host; as a user reference so that one rule ends the host. */
	pthread_mutex_lock(&h->lock);
	h->nr_objects--;
	h->user_refs++;
	pthread_mutex_unlock(&h->lock);
	host_unref(h);
}

void domain_ref(struct pvv_domain *d)
{
	pthread_mutex_lock(&d->host->lock);
	d->user_refs++;
	pthread_mutex_unlock(&d->host->lock);
}

void domain_unref(struct pvv_domain *d)
{
	struct pvv_host *h = d->host;
	bool dead, destroy;

	pthread_mutex_lock(&h->lock);
	destroy = d->user_refs == 1 && d->active && d->autodestroy;
	if (!destroy) {
		d->user_refs--;
		dead = remove_if_dead(d);
	}
	pthread_mutex_unlock(&h->lock);
	if (destroy) {
		struct pvv_error saved;

		err_save(&saved);
		domain_destroy(d); /* PVV_ESTATE: it stopped by itself meanwhile */
		err_restore(&saved);
		pthread_mutex_lock(&h->lock);
		d->user_refs--;
		dead = remove_if_dead(d);
		pthread_mutex_unlock(&h->lock);
	}
	if (dead)
		drop(d);
}

/* Under d->lock. */
static void set_state(struct pvv_domain *d, int state, int reason)
{
	d->state = state;
	d->reason = reason;
	if (state == PVV_DOMAIN_SHUTOFF || state == PVV_DOMAIN_CRASHED)
		d->ends++;
	pthread_cond_broadcast(&d->changed);
}

void domain_end(struct pvv_domain *d, int state, int reason, const struct domain_stopped *stopped)
{
	bool dead;

	pthread_mutex_lock(&d->host->lock);
	d->active = false;
	pthread_mutex_lock(&d->lock);
	set_state(d, state, reason);
	/* Under the lock: who starts it again comes after the event, with the event of that. */
	if (stopped)
		domain_post(d, PVV_EVENT_STOPPED, stopped->detail, stopped->text);
	pthread_mutex_unlock(&d->lock);
	dead = remove_if_dead(d);
	pthread_mutex_unlock(&d->host->lock);
	if (dead)
		drop(d);
}

void domain_set_state(struct pvv_domain *d, int state, int reason)
{
	pthread_mutex_lock(&d->lock);
	set_state(d, state, reason);
	pthread_mutex_unlock(&d->lock);
}

void domain_post(struct pvv_domain *d, pvv_event_type type, int detail, const char *text)
{
	event_post(&d->host->events, type, detail, d->name, d->uuid, text);
}
