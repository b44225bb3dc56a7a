/* SPDX-License-Identifier: MIT */
/* Start of day: from the layout the library prepared to a vCPU that can run. */
#include "core/core.h"

#include "core/cpu/cpu.h"
#include "core/event/event.h"
#include "core/grant/grant.h"
#include "core/lib/bitops.h"
#include "core/lib/mem.h"
#include "core/run.h"
#include "core/time/time.h"

/* PV guests start with a 100 Hz ticker on VIRQ_TIMER; most switch it off at once. */
#define TICKER_NS 10000000ull

static bool boot_is_sane(struct core_ctx *c)
{
	const struct core_boot *b = &c->ctl->boot;

	if (b->nr_vcpus == 0 || b->nr_vcpus > CORE_MAX_VCPUS) {
		core_crash(c, "start of day: %u vCPUs, the limit is %u", b->nr_vcpus,
			   CORE_MAX_VCPUS);
		return false;
	}
	if (b->nr_pages > b->max_pages || b->max_pages > b->nr_frames ||
	    b->shared_info >= b->nr_frames || b->root - b->ram_first >= b->nr_pages) {
		core_crash(c, "start of day: layout: pages %lu, max %lu, frames %lu, root %lx",
			   b->nr_pages, b->max_pages, b->nr_frames, b->root);
		return false;
	}
	if (b->hypercall_page != CORE_INVALID_MFN &&
	    b->hypercall_page - b->ram_first >= b->nr_pages) {
		core_crash(c, "start of day: the hypercall page is frame %lx", b->hypercall_page);
		return false;
	}
	if (!core_canonical(b->entry_rip) || !core_canonical(b->entry_rsp)) {
		core_crash(c, "start of day: entry at %lx, stack at %lx", b->entry_rip,
			   b->entry_rsp);
		return false;
	}
	return true;
}

static void init_vcpu(struct core_ctx *c, unsigned int id)
{
	struct core_vcpu *v = &c->d->vcpu[id];

	v->id = id;
	v->kernel_mode = 1;
	v->kernel_root = CORE_INVALID_MFN;
	v->user_root = CORE_INVALID_MFN;
	v->vcpu_info = (c->d->shared_info << 12) + offsetof(struct shared_info, vcpu_info[id]);
	v->wake_ns = CORE_NEVER;
	v->periodic_ns = TICKER_NS;
	v->runstate.state = RUNSTATE_offline;
	v->runstate.state_entry_time = core_time_now(c);
	core_cpu_init(v);
	/* Upcalls are masked until the guest has a callback. */
	core_vcpu_info(c, v)->evtchn_upcall_mask = 1;
}

/* The register file of vCPU 0 as the ABI gives it to a 64-bit kernel. */
static void start_registers(struct core_ctx *c)
{
	const struct core_boot *b = &c->ctl->boot;
	struct core_vcpu *v = c->v;
	struct core_regs *r = &v->regs;

	memset(r, 0, sizeof(*r));
	r->rip = b->entry_rip;
	r->gpr[R_RSI] = b->entry_rsi;
	r->gpr[R_RSP] = b->entry_rsp;
	r->rflags = CORE_FLAG_FIXED | CORE_FLAG_IF;
	r->cs = FLAT_KERNEL_CS64;
	r->ss = FLAT_KERNEL_SS64;
	v->kernel_ss = FLAT_KERNEL_SS64;
	v->kernel_sp = b->entry_rsp;
	v->is_initialised = 1;
	v->is_up = 1;
}

bool core_domain_init(struct core_ctx *c)
{
	struct core_domain *d = c->d;
	const struct core_boot *b = &c->ctl->boot;

	memset(d, 0, sizeof(*d));
	d->magic = CORE_STATE_MAGIC;
	d->version = CORE_STATE_VERSION;
	d->size = sizeof(*d);
	d->domid = b->domid;
	c->v = &d->vcpu[0];
	if (!boot_is_sane(c))
		return false;
	d->nr_vcpus = b->nr_vcpus;
	d->nr_frames = b->nr_frames;
	d->ram_first = b->ram_first;
	d->max_pages = b->max_pages;
	d->shared_info = b->shared_info;
	d->m2p_first = b->m2p_first;
	d->m2p_frames = b->m2p_frames;
	d->vm_assist = b->vm_assist;

	for (unsigned int id = 0; id < d->nr_vcpus; id++)
		init_vcpu(c, id);
	core_event_init(c);
	core_grant_init(c);
	core_attach(c, 0);
	if (!core_mm_init(c))
		return false;
	if (b->hypercall_page != CORE_INVALID_MFN)
		core_fill_hypercall_page(core_frame_ptr(c, b->hypercall_page));
	start_registers(c);
	core_time_update(c, true);
	__atomic_store_n(&c->ctl->run_state, CORE_STATE_RUNNING, __ATOMIC_RELEASE);
	__atomic_fetch_add(&c->ctl->state_seq, 1, __ATOMIC_SEQ_CST);
	return true;
}

void core_attach(struct core_ctx *c, unsigned int id)
{
	c->v = &c->d->vcpu[id];
	memset(&c->hc, 0, sizeof(c->hc));
	memset(&c->walk, 0, sizeof(c->walk));
}
