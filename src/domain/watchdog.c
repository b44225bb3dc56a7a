/* SPDX-License-Identifier: MIT */
/*
 * What a sandbox takes of the host's memory beyond the guest's RAM. An honest monitor fills little
 * of its sparse tables; a hostile guest could fill all of them (doc/security.md), and no resource
 * limit of Linux bounds that without a cgroup: RLIMIT_RSS has no effect, RLIMIT_AS and RLIMIT_DATA
 * count what is mapped, not what is used. So the library looks, and ends a domain that takes more
 * than it may.
 */
#include <stdio.h>

#include "domain/run.h"

#define LOOK_NS	      500000000ull
#define LOOK_AGAIN_NS 20000000ull    /* while it grows by more than GROWTH in between */
#define GROWTH	      (8ull << 20)   /* bytes */
#define VCPU_BYTES    (512ull << 20) /* translated code and its tables, with room */

static uint64_t limit(const struct run *r)
{
	const struct config *cfg = r->d->cfg;

	if (cfg->limits.overhead)
		return cfg->limits.overhead;
	return r->boot.nr_vcpus * VCPU_BYTES + (r->boot.max_pages << 12) / 32;
}

static void look(void *opaque)
{
	struct run *r = opaque;
	uint64_t now = r->ops->overhead(r->exec), before = r->overhead;
	char text[200];

	r->overhead = now;
	if (now > limit(r)) {
		snprintf(text, sizeof(text),
			 "its sandbox took %llu MiB of the host's memory beyond the guest's RAM, "
			 "%llu MiB are allowed (<pvvirt:overhead>)",
			 (unsigned long long)now >> 20, (unsigned long long)limit(r) >> 20);
		run_stop(r, RUN_END_FAULT, text);
		return;
	}
	io_timer_set(r->h->loop, &r->watchdog,
		     io_now_ns() + (now > before + GROWTH ? LOOK_AGAIN_NS : LOOK_NS));
}

void run_watch(struct run *r)
{
	r->watchdog = (struct io_timer){.fn = look, .opaque = r};
	io_timer_set(r->h->loop, &r->watchdog, io_now_ns() + LOOK_AGAIN_NS);
}

void run_unwatch(struct run *r)
{
	if (r->watchdog.fn)
		io_timer_set(r->h->loop, &r->watchdog, 0);
}
