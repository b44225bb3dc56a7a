/* SPDX-License-Identifier: MIT */
/*
 * Hypercalls of control domains and tool stacks. They are refused, with the error that Xen has for
 * a domain without privilege: guests probe.
 */
#include "core/hypercall/hypercall.h"

#include "core/lib/bitops.h"
#include "core/lib/mem.h"

/* Xen's headers keep these for tools. All three structures begin alike. */
#define PLATFORM_VERSION 0x03000001u
#define DOMCTL_VERSION	 0x15u
#define SYSCTL_VERSION	 0x15u
struct control {
	uint32_t cmd, version;
	domid_t domain; /* domctl only */
	uint16_t pad[3];
	uint8_t body[128];
};

/* The commands of domctl that matter below. */
enum domctl {
	DOMCTL_createdomain = 1,
	DOMCTL_getdomaininfo = 5,
	DOMCTL_shadow_op = 10,
	DOMCTL_irq_permission = 19,
	DOMCTL_iomem_permission = 20,
	DOMCTL_ioport_permission = 21,
	DOMCTL_assign_device = 37,
	DOMCTL_memory_mapping = 39,
	DOMCTL_test_assign_device = 45,
	DOMCTL_set_target = 46,
	DOMCTL_deassign_device = 47,
};

#define MAX_PORTS    65536u
/* Frames that can be: 40 bits of address, as the machine has that Xen is recorded on. */
#define MAX_MFN_BITS 28

/* The whole structure is copied before anything is looked at. */
static long control(struct core_ctx *c, uint64_t va, uint32_t version, size_t size)
{
	struct control op;

	if (!core_get_bytes(c, &op, va, size))
		return -XEN_EFAULT;
	return op.version != version ? -XEN_EACCES : -XEN_EPERM;
}

/* ABI: -EPERM; control domain only */
long core_hc_platform_op(struct core_ctx *c, const uint64_t arg[6])
{
	return control(c, arg[0], PLATFORM_VERSION, 8 + sizeof(((struct control *)0)->body));
}

/* ABI: -EPERM; control domain only */
long core_hc_sysctl(struct core_ctx *c, const uint64_t arg[6])
{
	return control(c, arg[0], SYSCTL_VERSION, 8 + sizeof(((struct control *)0)->body));
}

/* A range of frames or ports: whether there is one is asked first. */

static bool good_frames(const uint64_t first_nr[2])
{
	return first_nr[0] + first_nr[1] - 1 >= first_nr[0];
}

static bool good_ports(const uint8_t body[])
{
	uint32_t first_nr[2];

	memcpy(first_nr, body, sizeof(first_nr));
	return first_nr[0] + first_nr[1] > first_nr[0] && first_nr[0] + first_nr[1] <= MAX_PORTS;
}

static bool good_mapping(const uint64_t gfn_mfn_nr[3])
{
	uint64_t gfn = gfn_mfn_nr[0], mfn = gfn_mfn_nr[1], last = mfn + gfn_mfn_nr[2] - 1;

	return last >= mfn && (mfn | last) >> MAX_MFN_BITS == 0 && gfn + gfn_mfn_nr[2] - 1 >= gfn;
}

static long set_target(const struct core_ctx *c, domid_t id, domid_t target)
{
	if (target != 0 && target != c->d->domid)
		return -XEN_ESRCH;
	return target == id ? -XEN_EINVAL : -XEN_EOPNOTSUPP;
}

/* Of a domain that exists: some commands look at what is wanted of it before who asks. */
static long domctl_of(const struct core_ctx *c, const struct control *op)
{
	uint64_t words[3];
	domid_t target;

	memcpy(words, op->body, sizeof(words));
	memcpy(&target, op->body, sizeof(target));
	switch (op->cmd) {
	case DOMCTL_irq_permission:
		return (uint32_t)words[0] >= CORE_NR_PIRQS ? -XEN_EINVAL : -XEN_EPERM;
	case DOMCTL_iomem_permission:
		return good_frames(words) ? -XEN_EPERM : -XEN_EINVAL;
	case DOMCTL_ioport_permission:
		return good_ports(op->body) ? -XEN_EPERM : -XEN_EINVAL;
	case DOMCTL_memory_mapping:
		return good_mapping(words) ? -XEN_EPERM : -XEN_EINVAL;
	case DOMCTL_set_target:
		return set_target(c, op->domain, target);
	case 38: /* commands for HVM guests */
	case 48:
		return -XEN_EINVAL;
	case 40: /* not compiled in */
	case 50:
		return -XEN_EOPNOTSUPP;
	default:
		return -XEN_EPERM;
	}
}

/* Numbers of no domain; those that are reserved are known to a few commands. */
static long domctl_of_nobody(uint32_t cmd, domid_t id)
{
	switch (cmd) {
	case DOMCTL_createdomain:
		return -XEN_EPERM;
	case DOMCTL_getdomaininfo: /* the next domain from here on: there are none so high */
		return id >= DOMID_FIRST_RESERVED ? -XEN_EINVAL : -XEN_ESRCH;
	case DOMCTL_assign_device:
	case DOMCTL_deassign_device:
		return id == DOMID_IO ? -XEN_EPERM : -XEN_ESRCH;
	case DOMCTL_test_assign_device:
		return id == DOMID_INVALID ? -XEN_EPERM : -XEN_ESRCH;
	default:
		return -XEN_ESRCH;
	}
}

/* ABI: -EPERM; control domain only */
long core_hc_domctl(struct core_ctx *c, const uint64_t arg[6])
{
	struct control op;

	if (!core_get(c, &op, arg[0]))
		return -XEN_EFAULT;
	if (op.version != DOMCTL_VERSION)
		return -XEN_EACCES;
	if (op.domain == 0 || op.domain == c->d->domid)
		return domctl_of(c, &op);
	return domctl_of_nobody(op.cmd, op.domain);
}

/* ABI: -EPERM; control domain only */
long core_hc_paging_domctl_cont(struct core_ctx *c, const uint64_t arg[6])
{
	struct control op;

	if (!core_get(c, &op, arg[0]))
		return -XEN_EFAULT;
	if (op.version != DOMCTL_VERSION || op.cmd != DOMCTL_shadow_op)
		return -XEN_EOPNOTSUPP;
	return op.domain == 0 || op.domain == c->d->domid ? -XEN_EPERM : -XEN_ESRCH;
}

/* ABI: -EPERM; control domain only, and no profiling hardware */
long core_hc_xenoprof_op(struct core_ctx *c, const uint64_t arg[6])
{
	enum { INIT = 0, GET_BUFFER = 14, LAST = 17, INIT_SIZE = 72, GET_BUFFER_SIZE = 32 };
	uint32_t cmd = (uint32_t)arg[0];
	uint8_t op[INIT_SIZE];

	if (cmd > LAST)
		return -XEN_EINVAL;
	if (cmd != INIT && cmd != GET_BUFFER)
		return -XEN_EPERM;
	return core_get_bytes(c, op, arg[1], cmd == INIT ? INIT_SIZE : GET_BUFFER_SIZE)
		       ? -XEN_ENODEV
		       : -XEN_EFAULT;
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
