/* SPDX-License-Identifier: MIT */
/* vcpu_op: areas, timers and state of one vCPU. Bringing vCPUs up and down is in vcpu_init.c. */
#include "core/hypercall/hypercall.h"

#include "core/event/event.h"
#include "core/lib/lock.h"
#include "core/lib/mem.h"
#include "core/mm/mm.h"
#include "core/run.h"
#include "core/sched/vcpu.h"
#include "core/time/time.h"

#define MIN_PERIOD_NS 1000000ull
#define MAX_PERIOD_NS (~0ull >> 2)

static long get_runstate(struct core_ctx *c, struct core_vcpu *v, uint64_t va)
{
	struct vcpu_runstate_info info;

	core_runstate_snapshot(c, v, &info);
	return core_put(c, va, &info) ? 0 : -XEN_EFAULT;
}

/* 0 takes the area away. The vCPU's own thread fills it in: its page tables decide. */
static long register_runstate(struct core_ctx *c, struct core_vcpu *v, uint64_t va)
{
	struct vcpu_register_runstate_memory_area op;

	if (!core_get(c, &op, va) || !core_addr_ok(op.addr.p))
		return -XEN_EFAULT;
	v->runstate_va = op.addr.p;
	if (v == c->v) {
		core_runstate_account(c);
		core_runstate_publish(c);
	} else {
		core_vcpu_kick(c, v);
	}
	return 0;
}

static long register_time(struct core_ctx *c, struct core_vcpu *v, uint64_t va)
{
	struct vcpu_register_time_memory_area op;

	if (!core_get(c, &op, va) || !core_addr_ok(op.addr.p))
		return -XEN_EFAULT;
	v->time_va = op.addr.p;
	if (v == c->v) {
		core_time_update(c, true);
	} else {
		v->time_params[2] = 0; /* makes its next core_time_update() write */
		core_vcpu_kick(c, v);
	}
	return 0;
}

static long register_vcpu_info(struct core_ctx *c, struct core_vcpu *v, uint64_t va)
{
	struct vcpu_register_vcpu_info op;
	struct vcpu_info *old, *new;

	if (!core_get(c, &op, va))
		return -XEN_EFAULT;
	if (op.offset > 4096 - sizeof(*new) || (op.offset & (_Alignof(struct vcpu_info) - 1)) != 0)
		return -XEN_ENXIO;
	if (v->vcpu_info_mfn != 0)
		return -XEN_EINVAL;
	if (v != c->v && v->is_up)
		return -XEN_EINVAL;
	/* The reference stays for the domain's life: the page can never become a page table. */
	if (!core_frame_get_type(c, op.mfn, FRAME_WRITABLE))
		return -XEN_EINVAL;

	core_event_lock(c);
	old = core_vcpu_info(c, v);
	new = (struct vcpu_info *)((uint8_t *)core_frame_ptr(c, op.mfn) + op.offset);
	memcpy(new, old, sizeof(*new));
	v->vcpu_info_mfn = op.mfn + 1;
	__atomic_store_n(&v->vcpu_info, (op.mfn << 12) + op.offset, __ATOMIC_SEQ_CST);
	/* Whatever was raised while the structure moved is found by looking at everything. */
	__atomic_store_n(&new->evtchn_upcall_pending, 1, __ATOMIC_SEQ_CST);
	__atomic_store_n(&new->evtchn_pending_sel, ~0ull, __ATOMIC_SEQ_CST);
	core_event_unlock(c);
	core_frame_dirtied(c, op.mfn);
	if (v == c->v)
		core_time_update(c, true);
	else
		v->time_params[2] = 0;
	return 0;
}

static long set_periodic(struct core_ctx *c, struct core_vcpu *v, uint64_t va)
{
	struct vcpu_set_periodic_timer op;

	if (!core_get(c, &op, va))
		return -XEN_EFAULT;
	if (op.period_ns < MIN_PERIOD_NS || op.period_ns > MAX_PERIOD_NS)
		return -XEN_EINVAL;
	core_timer_set_periodic(c, v, op.period_ns);
	return 0;
}

static long set_singleshot(struct core_ctx *c, struct core_vcpu *v, uint64_t va)
{
	struct vcpu_set_singleshot_timer op;

	if (v != c->v)
		return -XEN_EINVAL;
	if (!core_get(c, &op, va))
		return -XEN_EFAULT;
	/*
	 * VCPU_SSHOTTMR_future may be ignored, and is: the event comes at once instead of -ETIME.
	 * 0 is a time like any other here, long past.
	 */
	v->singleshot_ns = op.timeout_abs_ns != 0 ? op.timeout_abs_ns : 1;
	v->wake_ns = 0;
	return 0;
}

static long stop_singleshot(struct core_ctx *c, struct core_vcpu *v)
{
	if (v != c->v)
		return -XEN_EINVAL;
	v->singleshot_ns = 0;
	return 0;
}

static long send_nmi(struct core_ctx *c, struct core_vcpu *v, uint64_t va)
{
	if (va != 0)
		return -XEN_EINVAL;
	if (__atomic_exchange_n(&v->nmi_pending, 1, __ATOMIC_SEQ_CST) == 0)
		core_vcpu_wake(c, v);
	return 0;
}

long core_hc_vcpu_op(struct core_ctx *c, const uint64_t arg[6])
{
	uint32_t id = (uint32_t)arg[1];
	uint64_t va = arg[2];

	if (id >= c->d->nr_vcpus)
		return -XEN_ENOENT;
	struct core_vcpu *v = &c->d->vcpu[id];

	switch ((uint32_t)arg[0]) {
	case VCPUOP_initialise: /* ABI: served */
		return core_vcpu_initialise(c, v, va);
	case VCPUOP_up: /* ABI: served */
		return core_vcpu_up(c, v);
	case VCPUOP_down: /* ABI: served */
		return core_vcpu_down(c, v);
	case VCPUOP_is_up: /* ABI: served */
		return v->is_up != 0;
	case VCPUOP_get_runstate_info: /* ABI: served */
		return get_runstate(c, v, va);
	case VCPUOP_register_runstate_memory_area: /* ABI: served */
		return register_runstate(c, v, va);
	case VCPUOP_set_periodic_timer: /* ABI: served */
		return set_periodic(c, v, va);
	case VCPUOP_stop_periodic_timer: /* ABI: served */
		core_timer_set_periodic(c, v, 0);
		return 0;
	case VCPUOP_set_singleshot_timer: /* ABI: served */
		return set_singleshot(c, v, va);
	case VCPUOP_stop_singleshot_timer: /* ABI: served */
		return stop_singleshot(c, v);
	case VCPUOP_register_vcpu_info: /* ABI: served */
		return register_vcpu_info(c, v, va);
	case VCPUOP_register_vcpu_time_memory_area: /* ABI: served */
		return register_time(c, v, va);
	case VCPUOP_send_nmi: /* ABI: served */
		return send_nmi(c, v, va);
	case VCPUOP_get_physid: /* ABI: -EINVAL; no vCPU is pinned to a processor */
		return -XEN_EINVAL;
	default:
		return -XEN_ENOSYS;
	}
}
