/* SPDX-License-Identifier: MIT */
/* Hypercalls about HVM guests and their device models: a PV domain is neither. */
#include "core/hypercall/hypercall.h"

#include <xen/hvm/hvm_op.h>
#include <xen/hvm/params.h>

#include "core/time/time.h"

/* Trace records of a guest go nowhere, but are checked. */
static long xentrace(struct core_ctx *c, uint64_t va)
{
	struct {
		uint16_t event, extra_bytes;
		uint8_t extra[28];
	} op;

	if (!core_get(c, &op, va))
		return -XEN_EFAULT;
	return op.extra_bytes > sizeof(op.extra) || op.event >> 12 != 0 ? -XEN_EINVAL : 0;
}

/* Parameters of a domain: none of a PV domain may be asked for. */
static long param(struct core_ctx *c, uint64_t va)
{
	struct xen_hvm_param op;

	if (!core_get(c, &op, va))
		return -XEN_EFAULT;
	if (op.index < HVM_NR_PARAMS && op.domid != 0 && op.domid != DOMID_SELF &&
	    op.domid != c->d->domid)
		return -XEN_ESRCH;
	return -XEN_EINVAL;
}

static long mem_type(struct core_ctx *c, uint64_t va)
{
	struct xen_hvm_get_mem_type op;

	if (!core_get(c, &op, va))
		return -XEN_EFAULT;
	if (op.domid == 0)
		return -XEN_EPERM;
	return op.domid == DOMID_SELF || op.domid == c->d->domid ? -XEN_EINVAL : -XEN_ESRCH;
}

/* Help for shadow page tables, which no domain here has. */
static long table_dying(struct core_ctx *c, uint64_t va)
{
	struct {
		domid_t domid;
		uint16_t pad[3];
		uint64_t gpa;
	} op;

	if (!core_get(c, &op, va))
		return -XEN_EFAULT;
	if (op.domid == 0)
		return -XEN_EOPNOTSUPP;
	return op.domid == DOMID_SELF || op.domid == c->d->domid ? -XEN_EINVAL : -XEN_ESRCH;
}

static long get_time(struct core_ctx *c, uint64_t va)
{
	struct xen_hvm_get_time op = {.now = core_time_now(c)};

	return core_put(c, va, &op) ? 0 : -XEN_EFAULT;
}

long core_hc_hvm_op(struct core_ctx *c, const uint64_t arg[6])
{
	uint64_t va = arg[1];

	switch (arg[0]) {     /* all 64 bits count */
	case HVMOP_set_param: /* ABI: -EINVAL; HVM guests only */
	case HVMOP_get_param: /* ABI: -EINVAL; HVM guests only */
		return param(c, va);
	case HVMOP_flush_tlbs:		     /* ABI: -EINVAL; HVM guests only */
	case HVMOP_set_evtchn_upcall_vector: /* ABI: -EINVAL; HVM guests only */
	case HVMOP_guest_request_vm_event:   /* ABI: -EINVAL; nobody listens */
		return -XEN_EINVAL;
	case HVMOP_pagetable_dying: /* ABI: -EOPNOTSUPP; no shadow page tables */
		return table_dying(c, va);
	case HVMOP_get_time: /* ABI: served */
		return get_time(c, va);
	case HVMOP_xentrace: /* ABI: served; the records are dropped */
		return xentrace(c, va);
	case HVMOP_get_mem_type: /* ABI: -EINVAL; HVM guests only */
		return mem_type(c, va);
	case HVMOP_altp2m: /* ABI: -EOPNOTSUPP; not offered */
		return -XEN_EOPNOTSUPP;
	default:
		return -XEN_ENOSYS;
	}
}

/* ABI: -EPERM; device models only */
long core_hc_dm_op(struct core_ctx *c, const uint64_t arg[6])
{
	enum { MAX_BUFS = 2 };
	uint64_t bufs[MAX_BUFS][2];
	uint32_t nr = (uint32_t)arg[1];
	domid_t id = (domid_t)arg[0];

	if (nr == 0)
		return -XEN_ENODATA;
	if (nr > MAX_BUFS)
		return -XEN_E2BIG;
	if (!core_get_bytes(c, bufs, arg[2], nr * sizeof(bufs[0])))
		return -XEN_EFAULT;
	/* Only other domains can be meant, and domain 0 is no HVM guest. */
	if (id == c->d->domid)
		return -XEN_EPERM;
	return id == 0 ? -XEN_EINVAL : -XEN_ESRCH;
}
