/* SPDX-License-Identifier: MIT */
/* Hypercalls from before the sub-operation was an argument of its own. */
#include "core/hypercall/hypercall.h"

#include <xen/event_channel.h>
#include <xen/physdev.h>
#include <xen/sched.h>

#include "core/run.h"

/* ABI: served; yield and block */
long core_hc_sched_op_compat(struct core_ctx *c, const uint64_t arg[6])
{
	switch ((uint32_t)arg[0]) {
	case SCHEDOP_yield:
	case SCHEDOP_block:
		return core_hc_sched_op(c, arg);
	case SCHEDOP_shutdown: {
		/* The reason itself, not a pointer to it. */
		core_shutdown(c, (uint32_t)arg[1] & 0xff);
		return 0;
	}
	default:
		return -XEN_ENOSYS;
	}
}

/* ABI: served; as event_channel_op, without reset and the FIFO operations */
long core_hc_event_channel_op_compat(struct core_ctx *c, const uint64_t arg[6])
{
	struct evtchn_op op;

	/* All of it, whatever the command needs. */
	if (!core_get(c, &op, arg[0]))
		return -XEN_EFAULT;
	if (op.cmd > EVTCHNOP_unmask)
		return -XEN_ENOSYS;
	const uint64_t args[6] = {op.cmd, arg[0] + offsetof(struct evtchn_op, u)};

	return core_hc_event_channel_op(c, args);
}

/* ABI: served; as physdev_op */
long core_hc_physdev_op_compat(struct core_ctx *c, const uint64_t arg[6])
{
	struct physdev_op op;

	if (!core_get(c, &op, arg[0]))
		return -XEN_EFAULT;
	/* Nothing is left of commands 0 to 3; those that came later are passed on, too. */
	const uint64_t args[6] = {op.cmd, arg[0] + offsetof(struct physdev_op, u)};

	return core_hc_physdev_op(c, args);
}
