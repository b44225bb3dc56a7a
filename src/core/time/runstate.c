/* SPDX-License-Identifier: MIT */
/* Runstate: where a vCPU's time went. The four times always add up to the system time. */
#include "core/time/time.h"

#include "core/hypercall/hypercall.h"
#include "core/lib/lock.h"
#include "core/run.h"

static void account(struct core_ctx *c, struct core_vcpu *v, int state, uint64_t now)
{
	struct vcpu_runstate_info *r = &v->runstate;

	if (now > r->state_entry_time) {
		r->time[r->state] += now - r->state_entry_time;
		r->state_entry_time = now;
	}
	r->state = state;
	c->ctl->vcpu[v->id].guest_ns = r->time[RUNSTATE_running];
	c->ctl->vcpu[v->id].blocked_ns = r->time[RUNSTATE_blocked];
}

void core_runstate_account(struct core_ctx *c)
{
	core_lock(c, &c->d->sched_lock);
	account(c, c->v, c->v->runstate.state, core_time_now(c));
	core_unlock(c, &c->d->sched_lock);
}

/* As if the vCPU had been accounted for just now. */
void core_runstate_snapshot(struct core_ctx *c, const struct core_vcpu *v,
			    struct vcpu_runstate_info *ret)
{
	core_lock(c, &c->d->sched_lock);
	uint64_t now = core_time_now(c);

	*ret = v->runstate;
	if (now > ret->state_entry_time)
		ret->time[ret->state] += now - ret->state_entry_time;
	core_unlock(c, &c->d->sched_lock);
}

void core_runstate_change(struct core_ctx *c, struct core_vcpu *v, int state)
{
	if (v->runstate.state == state)
		return;
	core_lock(c, &c->d->sched_lock);
	account(c, v, state, core_time_now(c));
	core_unlock(c, &c->d->sched_lock);
}

void core_runstate_late(struct core_ctx *c, uint64_t since)
{
	struct core_vcpu *v = c->v;
	uint64_t now = core_time_now(c);

	if (since < v->runstate.state_entry_time || since >= now)
		return;
	core_lock(c, &c->d->sched_lock);
	account(c, v, RUNSTATE_runnable, since);
	core_unlock(c, &c->d->sched_lock);
}

bool core_runstate_steal(struct core_ctx *c)
{
	struct core_vcpu *v = c->v;
	uint64_t total = __atomic_load_n(&c->ctl->vcpu[v->id].stolen_ns, __ATOMIC_RELAXED);
	uint64_t stolen = total - v->stolen_seen;

	if (stolen == 0 || v->runstate.state != RUNSTATE_running)
		return false;
	core_lock(c, &c->d->sched_lock);
	account(c, v, RUNSTATE_running, core_time_now(c));
	/* Never more than the vCPU was thought to run: the sum must not drift. */
	if (stolen > v->runstate.time[RUNSTATE_running])
		stolen = v->runstate.time[RUNSTATE_running];
	v->runstate.time[RUNSTATE_running] -= stolen;
	v->runstate.time[RUNSTATE_runnable] += stolen;
	v->stolen_seen = total;
	core_unlock(c, &c->d->sched_lock);
	return true;
}

/* Registered areas are the kernel's: they are written through its page tables in any mode. */
static bool put(struct core_ctx *c, uint64_t va, const void *src, size_t len)
{
	return core_addr_ok(va) && core_write_as_kernel(c, va, src, len) == 0;
}

void core_runstate_publish(struct core_ctx *c)
{
	struct core_vcpu *v = c->v;
	struct vcpu_runstate_info copy = v->runstate;
	const uint64_t entry_va =
		v->runstate_va + offsetof(struct vcpu_runstate_info, state_entry_time);

	if (v->runstate_va == 0)
		return;
	if (!(c->d->vm_assist & (1ull << VMASST_TYPE_runstate_update_flag))) {
		(void)put(c, v->runstate_va, &copy, sizeof(copy));
		return;
	}
	/* Readers on other vCPUs retry while the flag is set. */
	uint64_t entry = copy.state_entry_time;

	copy.state_entry_time |= XEN_RUNSTATE_UPDATE;
	if (!put(c, entry_va, &copy.state_entry_time, 8))
		return;
	__atomic_thread_fence(__ATOMIC_RELEASE);
	if (!put(c, v->runstate_va, &copy, sizeof(copy)))
		return;
	__atomic_thread_fence(__ATOMIC_RELEASE);
	(void)put(c, entry_va, &entry, 8);
}
