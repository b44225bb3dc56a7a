/* SPDX-License-Identifier: MIT */
/*
 * Counters of a domain: read from the control pages (where a hostile monitor can write what it
 * likes: they are numbers for people, nothing depends on them) and from the back ends.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/state.h"
#include "domain/consoles.h"
#include "domain/memory.h"
#include "domain/run.h"

static void sum_vcpus(const struct core_ctl *ctl, unsigned int nr, pvv_domain_stats *s)
{
	for (unsigned int i = 0; i < nr && i < CORE_MAX_VCPUS; i++) {
		const uint64_t *calls = ctl->hypercalls[i];

		const struct core_ctl_vcpu *v = &ctl->vcpu[i];

		s->exits_exception += v->exits_exception;
		s->exits_emulate += v->exits_emulate;
		s->exits_kick += v->exits_kick;
		s->exits_block += v->exits_block;
		s->page_faults += v->page_faults;
		s->events += v->events;
		s->brief_turns += v->brief_turns;
		s->user_turns += v->user_turns;
		for (unsigned int k = 0; k < sizeof(ctl->hypercalls[0]) / sizeof(calls[0]); k++)
			s->hypercalls += calls[k];
	}
}

/* By VCPUOP_up and _down: one that was taken down keeps its process. */
static uint32_t vcpus_up(const struct run *r)
{
	const struct core_domain *d = (struct core_domain *)(r->mem.base + r->mem.state_off);
	uint32_t up = 0;

	for (unsigned int i = 0; i < r->boot.nr_vcpus && i < CORE_MAX_VCPUS; i++)
		up += __atomic_load_n(&d->vcpu[i].is_up, __ATOMIC_RELAXED) != 0;
	return up ? up : 1;
}

static void refresh_blocks(struct pvv_domain *d, struct run *r)
{
	for (size_t i = 0; i < r->nr_disks; i++) {
		struct blk_stats b;
		pvv_block_stats *p = &d->blocks[i].stats;

		if (!r->disks[i].device)
			continue;
		blk_device_stats(r->disks[i].device, &b);
		*p = (pvv_block_stats){
			.size = sizeof(*p),
			.rd_req = b.rd_req,
			.rd_bytes = b.rd_bytes,
			.rd_time_ns = b.rd_time_ns,
			.wr_req = b.wr_req,
			.wr_bytes = b.wr_bytes,
			.wr_time_ns = b.wr_time_ns,
			.flush_req = b.flush_req,
			.discard_req = b.discard_req,
			.errors = b.errors,
		};
	}
}

void domain_refresh_stats(struct pvv_domain *d)
{
	struct run *r = domain_run(d);
	pvv_domain_stats s = {.size = sizeof(s)};

	if (!r || !r->exec)
		return;
	sum_vcpus(memory_ctl(&r->mem), r->boot.nr_vcpus, &s);
	s.cpu_time_ns = r->ops->cpu_time ? r->ops->cpu_time(r->exec) : 0;
	s.cpu_moves = r->ops->moves ? r->ops->moves(r->exec) : 0;
	uint32_t up = vcpus_up(r);

	if (r->ops->exits) {
		struct exec_exits x;

		r->ops->exits(r->exec, &x);
		s.vm_exits = x.total;
		s.vm_exits_io = x.io;
		s.vm_exits_halt = x.halt;
		s.vm_exits_interrupt = x.interrupt;
		s.vm_exits_memory = x.memory;
		s.vm_exits_user = x.user;
	}
	s.memory = __atomic_load_n(&memory_ctl(&r->mem)->nr_pages, __ATOMIC_RELAXED) << 12;
	if (s.memory > r->boot.max_pages << 12)
		s.memory = r->boot.max_pages << 12;
	s.resident_memory = memory_resident(&r->mem);
	s.overhead_memory = r->ops->overhead(r->exec);
	consoles_counters(d->consoles, &s.console_out, &s.console_in);
	pthread_mutex_lock(&d->lock);
	d->stats = s;
	d->vcpus_up = up;
	refresh_blocks(d, r);
	run_refresh_nets(r);
	pthread_mutex_unlock(&d->lock);
}

static void refresh_work(void *opaque)
{
	domain_refresh_stats(opaque);
}

void domain_update_stats(struct pvv_domain *d)
{
	io_loop_call(d->host->loop, refresh_work, d);
}
