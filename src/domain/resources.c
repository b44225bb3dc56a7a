/* SPDX-License-Identifier: MIT */
/*
 * Memory and vCPUs of a running domain. Both are requests, by the xenstore nodes that guests watch
 * (memory/target, cpu/N/availability): the guest's balloon and CPU hot-plug do the work when they
 * get to it. For memory there is also a limit that holds without the guest's consent: it cannot
 * have more than it was told.
 */
#include <stdio.h>
#include <string.h>

#include "domain/memory.h"
#include "domain/run.h"

/* What a guest may have beyond its target: Xen's tools allow as much (LIBXL_MAXMEM_CONSTANT). */
#define TARGET_SLACK_PAGES 256u

struct request {
	struct pvv_domain *d;
	uint64_t bytes;
	uint32_t vcpus;
	int ret;
	struct pvv_error error;
};

static int not_running(struct pvv_domain *d)
{
	return err_set(PVV_ESTATE, PVV_SUBSYS_DOMAIN, d->name,
		       "domain '%s' is not running; what it starts with is in its configuration",
		       d->name);
}

uint64_t domain_max_memory(const struct config *cfg)
{
	return cfg->max_memory > cfg->memory ? cfg->max_memory : cfg->memory;
}

uint64_t domain_target_memory(const struct pvv_domain *d)
{
	if (d->live_memory)
		return d->live_memory;
	return d->cfg->current_memory ? d->cfg->current_memory : d->cfg->memory;
}

uint32_t domain_target_vcpus(const struct pvv_domain *d)
{
	if (d->live_vcpus)
		return d->live_vcpus;
	return d->cfg->vcpus_online ? d->cfg->vcpus_online : d->cfg->vcpus;
}

/* I/O thread: the incarnation whose store can be written, NULL with an error. */
static struct run *running(struct pvv_domain *d)
{
	struct run *r = domain_run(d);

	if (r && !r->ending && r->in_store && r->exec)
		return r;
	not_running(d);
	return NULL;
}

void run_limit_memory(struct run *r, uint64_t bytes)
{
	uint64_t pages = (bytes >> 12) + TARGET_SLACK_PAGES;

	if (pages > r->boot.max_pages)
		pages = r->boot.max_pages;
	__atomic_store_n(&memory_ctl(&r->mem)->mem_limit, pages, __ATOMIC_RELAXED);
}

static int write_memory(struct run *r, uint64_t bytes)
{
	char path[64];
	int ret;

	snprintf(path, sizeof(path), "/local/domain/%u/memory", r->domid);
	ret = xs_put(r->h->store, path, "target", "%llu", (unsigned long long)bytes >> 10);
	if (!ret)
		run_limit_memory(r, bytes);
	return ret;
}

static void memory_work(void *opaque)
{
	struct request *q = opaque;
	struct pvv_domain *d = q->d;
	struct run *r = running(d);

	q->ret = r ? write_memory(r, q->bytes) : PVV_ESTATE;
	if (q->ret < 0) {
		err_save(&q->error); /* this thread's record; the caller's is another */
		return;
	}
	pthread_mutex_lock(&d->lock);
	d->live_memory = q->bytes;
	pthread_mutex_unlock(&d->lock);
}

int domain_set_memory(struct pvv_domain *d, uint64_t bytes)
{
	struct request q = {.d = d};
	uint64_t max;
	bool balloon;

	pthread_mutex_lock(&d->lock);
	max = domain_max_memory(d->cfg);
	balloon = d->cfg->balloon;
	pthread_mutex_unlock(&d->lock);
	if (!balloon)
		return err_set(PVV_EUNSUPPORTED, PVV_SUBSYS_DOMAIN, d->name,
			       "domain '%s' has no balloon (<memballoon model='none'>)", d->name);
	if (bytes < DOMAIN_TARGET_MIN || !config_round_memory(bytes, &q.bytes) || q.bytes > max)
		return err_set(PVV_EINVAL, PVV_SUBSYS_DOMAIN, d->name,
			       "domain '%s' can have %llu to %llu MiB, not %llu bytes", d->name,
			       DOMAIN_TARGET_MIN >> 20, (unsigned long long)max >> 20,
			       (unsigned long long)bytes);
	io_loop_call(d->host->loop, memory_work, &q);
	if (q.ret < 0)
		err_restore(&q.error);
	return q.ret;
}

static int write_vcpus(struct run *r, uint32_t online)
{
	char path[64], leaf[32];
	int ret = 0;

	snprintf(path, sizeof(path), "/local/domain/%u/cpu", r->domid);
	for (uint32_t i = 0; !ret && i < r->boot.nr_vcpus; i++) {
		snprintf(leaf, sizeof(leaf), "%u/availability", i);
		ret = xs_put(r->h->store, path, leaf, i < online ? "online" : "offline");
	}
	return ret;
}

static void vcpus_work(void *opaque)
{
	struct request *q = opaque;
	struct pvv_domain *d = q->d;
	struct run *r = running(d);

	q->ret = r ? write_vcpus(r, q->vcpus) : PVV_ESTATE;
	if (q->ret < 0) {
		err_save(&q->error);
		return;
	}
	pthread_mutex_lock(&d->lock);
	d->live_vcpus = q->vcpus;
	pthread_mutex_unlock(&d->lock);
}

int domain_set_vcpus(struct pvv_domain *d, uint32_t vcpus)
{
	struct request q = {.d = d, .vcpus = vcpus};
	uint32_t max;

	pthread_mutex_lock(&d->lock);
	max = d->cfg->vcpus;
	pthread_mutex_unlock(&d->lock);
	if (vcpus < 1 || vcpus > max)
		return err_set(PVV_EINVAL, PVV_SUBSYS_DOMAIN, d->name,
			       "domain '%s' can have 1 to %u vCPUs online, not %u", d->name, max,
			       vcpus);
	io_loop_call(d->host->loop, vcpus_work, &q);
	if (q.ret < 0)
		err_restore(&q.error);
	return q.ret;
}
