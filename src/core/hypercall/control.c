/* SPDX-License-Identifier: MIT */
/*
 * Hypercalls of control domains, tool stacks and HVM guests. Others are refused, with the error
 * that Xen has for them: guests probe.
 */
#include "core/hypercall/hypercall.h"

/* The structures begin with the command; what cannot be read is no permission's matter. */
static long refuse(struct core_ctx *c, uint64_t va, long why)
{
	uint32_t cmd[2];

	return core_get(c, &cmd, va) ? why : -XEN_EFAULT;
}

/* ABI: -EPERM; control domain only */
long core_hc_platform_op(struct core_ctx *c, const uint64_t arg[6])
{
	return refuse(c, arg[0], -XEN_EPERM);
}

/* ABI: -EPERM; control domain only */
long core_hc_xenoprof_op(struct core_ctx *c, const uint64_t arg[6])
{
	return refuse(c, arg[1], -XEN_EPERM);
}

/* ABI: -EINVAL; the parameters are those of HVM guests */
long core_hc_hvm_op(struct core_ctx *c, const uint64_t arg[6])
{
	/* Commands 0 and 1 set and get a parameter; the others need an HVM guest to begin with. */
	return (uint32_t)arg[0] <= 1 ? refuse(c, arg[1], -XEN_EINVAL) : -XEN_ENOSYS;
}

/* ABI: -EPERM; control domain only */
long core_hc_sysctl(struct core_ctx *c, const uint64_t arg[6])
{
	return refuse(c, arg[0], -XEN_EPERM);
}

/* ABI: -EPERM; control domain only */
long core_hc_domctl(struct core_ctx *c, const uint64_t arg[6])
{
	return refuse(c, arg[0], -XEN_EPERM);
}

/* ABI: -EPERM; control domain only */
long core_hc_kexec_op(struct core_ctx *c, const uint64_t arg[6])
{
	return -XEN_EPERM;
}

/* ABI: -EOPNOTSUPP; no performance counters, as Xen without vpmu */
long core_hc_xenpmu_op(struct core_ctx *c, const uint64_t arg[6])
{
	return -XEN_EOPNOTSUPP;
}

/* ABI: -EPERM; device models only */
long core_hc_dm_op(struct core_ctx *c, const uint64_t arg[6])
{
	if ((uint32_t)arg[1] == 0)
		return -XEN_ENODATA;
	return (domid_t)arg[0] == 0 ? -XEN_EPERM : -XEN_ESRCH;
}

/* ABI: -EPERM; control domain only */
long core_hc_hypfs_op(struct core_ctx *c, const uint64_t arg[6])
{
	return -XEN_EPERM;
}

/* ABI: -EPERM; control domain only */
long core_hc_mca(struct core_ctx *c, const uint64_t arg[6])
{
	return -XEN_EPERM;
}

/* ABI: -EPERM; control domain only */
long core_hc_paging_domctl_cont(struct core_ctx *c, const uint64_t arg[6])
{
	return refuse(c, arg[0], -XEN_EPERM);
}
