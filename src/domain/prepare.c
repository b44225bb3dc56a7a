/* SPDX-License-Identifier: MIT */
/* The builder thread: from open files to memory that an executor can run. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "domain/archcaps.h"
#include "domain/clock.h"
#include "domain/cpuid.h"
#include "domain/image/image.h"
#include "domain/memory.h"
#include "domain/run.h"

#define STORE_PORT	     1u
#define CONSOLE_PORT	     2u
#define DEFAULT_HIGHEST_PORT 1023 /* as xl */

static int load(struct run *r, struct image **ret_image)
{
	const struct config *cfg = r->d->cfg;
	struct image_source src = {
		.name = cfg->kernel	  ? cfg->kernel
			: cfg->bootloader ? cfg->bootloader
					  : "kernel descriptor",
		.fd = r->kernel_fd,
	};

	return image_load(&src, cfg->memory, 0, ret_image);
}

/* The configuration names the highest port, the core wants the number behind it. */
static uint32_t ports_limit(uint32_t highest)
{
	if (!highest)
		highest = DEFAULT_HIGHEST_PORT;
	return highest < CORE_MAX_PORTS ? highest + 1 : CORE_MAX_PORTS;
}

/* As Xen's tools: a guest starts with its target, the balloon can fetch what is above it. */
static uint64_t start_memory(struct pvv_domain *d)
{
	uint64_t bytes;

	pthread_mutex_lock(&d->lock);
	bytes = domain_target_memory(d);
	pthread_mutex_unlock(&d->lock);
	return bytes;
}

static int build(struct run *r)
{
	const struct config *cfg = r->d->cfg;
	struct clock_pair since = clock_pair_now();
	struct image *image = NULL;
	struct image_source module = {
		.name = cfg->initrd ? cfg->initrd : "initrd descriptor",
		.fd = r->initrd_fd,
	};
	struct memory_params mp = {
		.name = r->d->name,
		.nr_pages = start_memory(r->d) >> 12,
		.max_pages = domain_max_memory(cfg) >> 12,
		.ram_first = MEMORY_RAM_FIRST,
		.grant_frames = cfg->max_grant_frames,
		.max_ports = ports_limit(cfg->max_event_channels),
		.nr_vcpus = cfg->vcpus,
		.exec_region = r->ops->region,
	};
	int ret;

	if (r->ops && r->ops->ram_first)
		mp.ram_first = r->ops->ram_first(mp.max_pages, MEMORY_RAM_FIRST);
	ret = load(r, &image);
	if (ret < 0)
		return ret;
	ret = memory_create(&mp, &r->mem, &r->boot);
	if (!ret) {
		struct build_params bp = {
			.image = image,
			.module = r->initrd_fd >= 0 ? &module : NULL,
			.cmdline = cfg->cmdline,
			.nr_pages = mp.nr_pages,
			.store_port = STORE_PORT,
			.console_port = CONSOLE_PORT,
			.nr_vcpus = cfg->vcpus,
		};
		ret = build_domain(&bp, &r->mem, &r->boot, &r->layout);
	}
	image_free(image);
	if (ret < 0)
		return ret;
	r->boot.nr_vcpus = cfg->vcpus;
	memcpy(r->boot.uuid, cfg->uuid, sizeof(r->boot.uuid));
	r->boot.wallclock_offset_ns = config_clock_offset_ns(&cfg->clock, time(NULL));
	if (!clock_tsc_trusted())
		r->boot.flags |= CORE_BOOT_TSC_UNSTABLE;
	cpuid_policy(&r->boot, NULL, NULL);
	if (r->ops->translates)
		cpuid_policy_translated(&r->boot);
	cpuid_policy_arch_caps(&r->boot, arch_caps(r->ops->translates));
	clock_publish(memory_ctl(&r->mem), &since);
	return 0;
}

void run_build(struct run *r)
{
	int ret = r->opened ? 0 : run_open(r);

	if (!ret)
		ret = build(r);
	if (ret < 0)
		err_save(&r->error);
}

static void attach_work(void *opaque)
{
	run_attach(opaque);
}

static void *builder(void *opaque)
{
	struct run *r = opaque;

	pthread_setname_np(pthread_self(), "pvv-build");
	run_build(r);
	r->work.fn = attach_work;
	r->work.opaque = r;
	io_loop_post(r->h->loop, &r->work);
	return NULL;
}

int run_thread(struct run *r, void *(*fn)(void *))
{
	pthread_attr_t attr;
	pthread_t thread;
	sigset_t all, old;
	int e;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, 512 << 10);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	/* From here on r may be gone at any time. */
	e = pthread_create(&thread, &attr, fn, r);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	return e;
}

int run_launch(struct run *r)
{
	int e = run_thread(r, builder);

	/* If there is one, r may be gone. */
	if (e)
		return err_sys(PVV_ESYS, PVV_SUBSYS_DOMAIN, e, r->d->name,
			       "cannot start a thread to build domain '%s'", r->d->name);
	return 0;
}
