/* SPDX-License-Identifier: MIT */
#include "core/hypercall/hypercall.h"

/*
 * A list of hypercalls in guest memory, each with its own result. Nested ones are refused. When a
 * call wants to be continued, its entry takes the new arguments and the list starts again there.
 */
/* ABI: served; nested ones are refused with -EINVAL */
long core_hc_multicall(struct core_ctx *c, const uint64_t arg[6])
{
	uint64_t va = arg[0];
	uint32_t nr = (uint32_t)arg[1];
	uint32_t done = 0;
	bool suspend = false;
	long rc = 0;

	if (c->hc.in_multicall)
		return -XEN_EINVAL;
	if (!core_addr_ok(va))
		return -XEN_EFAULT;
	c->hc.in_multicall = true;

	while (rc == 0 && done < nr) {
		struct multicall_entry call;

		if (done > 0 && core_preempt_pending(c)) {
			suspend = true;
			break;
		}
		if (!core_get(c, &call, va)) {
			rc = -XEN_EFAULT;
			break;
		}
		call.result = (xen_ulong_t)core_hypercall_call(c, call.op, call.args);
		if (c->d->stop != 0)
			break;
		if (c->hc.preempted) {
			c->hc.preempted = false;
			for (unsigned int i = 0; i < 6; i++)
				call.args[i] = c->hc.args[i];
			suspend = core_put(c, va, &call);
			rc = suspend ? 0 : -XEN_EFAULT;
			break;
		}
		if (call.op == __HYPERVISOR_iret) {
			/* The frame is loaded already: what follows belongs to nobody. */
			(void)core_put_field(c, va, &call, result);
			rc = (long)call.result;
			break;
		}
		if (!core_put_field(c, va, &call, result)) {
			rc = -XEN_EFAULT;
			break;
		}
		va += sizeof(call);
		done++;
	}

	c->hc.in_multicall = false;
	if (suspend) {
		uint64_t args[6] = {va, nr - done, arg[2], arg[3], arg[4], arg[5]};

		return core_hypercall_continue(c, __HYPERVISOR_multicall, args);
	}
	return rc;
}
