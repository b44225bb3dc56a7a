/* SPDX-License-Identifier: MIT */
/* grant_table_op: the argument arrays, preemption, and the operations on the table as a whole. */
#include "core/hypercall/hypercall.h"

#include "core/grant/grant.h"
#include "core/lib/lock.h"
#include "core/mm/mm.h"

/* ---- arrays of operations ---------------------------------------------------------------- */

union op {
	struct gnttab_map_grant_ref map;
	struct gnttab_unmap_grant_ref unmap;
	struct gnttab_unmap_and_replace replace;
	struct gnttab_transfer transfer;
	struct gnttab_copy copy;
	struct gnttab_swap_grant_ref swap;
};

static size_t op_size(uint32_t cmd)
{
	switch (cmd) {
	case GNTTABOP_map_grant_ref:
		return sizeof(struct gnttab_map_grant_ref);
	case GNTTABOP_unmap_grant_ref:
		return sizeof(struct gnttab_unmap_grant_ref);
	case GNTTABOP_unmap_and_replace:
		return sizeof(struct gnttab_unmap_and_replace);
	case GNTTABOP_transfer:
		return sizeof(struct gnttab_transfer);
	case GNTTABOP_copy:
		return sizeof(struct gnttab_copy);
	default:
		return sizeof(struct gnttab_swap_grant_ref);
	}
}

static void one(struct core_ctx *c, uint32_t cmd, union op *op)
{
	core_lock(c, &c->d->grant_lock);
	switch (cmd) {
	case GNTTABOP_map_grant_ref:
		grant_map(c, &op->map);
		break;
	case GNTTABOP_unmap_grant_ref:
		grant_unmap(c, &op->unmap);
		break;
	case GNTTABOP_unmap_and_replace:
		grant_unmap_and_replace(c, &op->replace);
		break;
	case GNTTABOP_transfer:
		grant_transfer(c, &op->transfer);
		break;
	case GNTTABOP_copy:
		grant_copy(c, &op->copy);
		break;
	default:
		grant_swap(c, &op->swap);
		break;
	}
	core_unlock(c, &c->d->grant_lock);
}

static long array(struct core_ctx *c, const uint64_t arg[6])
{
	uint32_t cmd = (uint32_t)arg[0], count = (uint32_t)arg[2], done = 0;
	uint64_t va = arg[1];
	size_t size = op_size(cmd);
	long rc = core_addr_ok(va) ? 0 : -XEN_EFAULT;

	for (; done < count && rc == 0; done++, va += size) {
		union op op;

		if (done > 0 && core_preempt_pending(c))
			break;
		if (!core_get_bytes(c, &op, va, size)) {
			rc = -XEN_EFAULT;
			break;
		}
		one(c, cmd, &op);
		if (!core_put_bytes(c, va, &op, size))
			rc = -XEN_EFAULT;
	}
	/* What was unmapped must be gone from every TLB before the guest reuses it. */
	if (cmd == GNTTABOP_unmap_grant_ref || cmd == GNTTABOP_unmap_and_replace)
		core_mm_flush_all(c, core_vcpu_mask_all(c));
	if (rc == 0 && done < count) {
		uint64_t args[6] = {arg[0], va, count - done, arg[3], arg[4], arg[5]};

		return core_hypercall_continue(c, __HYPERVISOR_grant_table_op, args);
	}
	return rc;
}

/* ---- the table --------------------------------------------------------------------------- */

/* Frame numbers of the table; it grows here, and its new frames start empty. */
static int list_frames(struct core_ctx *c, const struct gnttab_setup_table *op)
{
	uint64_t list = (uint64_t)(uintptr_t)op->frame_list.p;

	if (op->nr_frames > c->d->grant_max)
		return GNTST_general_error;
	core_lock(c, &c->d->grant_lock);
	if (op->nr_frames > c->d->grant_frames)
		c->d->grant_frames = op->nr_frames;
	core_unlock(c, &c->d->grant_lock);
	for (uint32_t i = 0; i < op->nr_frames; i++) {
		xen_pfn_t mfn = c->d->grant_first + i;

		if (!core_put_bytes(c, list + i * sizeof(mfn), &mfn, sizeof(mfn)))
			return GNTST_bad_virt_addr;
	}
	return GNTST_okay;
}

static long setup_table(struct core_ctx *c, uint64_t va)
{
	struct gnttab_setup_table op;

	if (!core_get(c, &op, va))
		return -XEN_EFAULT;
	int status = grant_domain(c, op.dom, true);

	if (status == GNTST_okay)
		status = list_frames(c, &op);
	op.status = (int16_t)status;
	return core_put_field(c, va, &op, status) ? 0 : -XEN_EFAULT;
}

static long query_size(struct core_ctx *c, uint64_t va)
{
	struct gnttab_query_size op;

	if (!core_get(c, &op, va))
		return -XEN_EFAULT;
	op.status = (int16_t)grant_domain(c, op.dom, true);
	if (op.status == GNTST_okay) {
		op.nr_frames = c->d->grant_frames;
		op.max_nr_frames = c->d->grant_max;
	}
	return core_put(c, va, &op) ? 0 : -XEN_EFAULT;
}

static long set_version(struct core_ctx *c, uint64_t va)
{
	struct gnttab_set_version op;
	long rc = 0;

	if (!core_get(c, &op, va))
		return -XEN_EFAULT;
	if (op.version == 2)
		rc = -XEN_ENOSYS; /* as Xen with max_grant_version=1 */
	else if (op.version != 1)
		rc = -XEN_EINVAL;
	op.version = c->d->grant_version;
	return core_put(c, va, &op) ? rc : -XEN_EFAULT;
}

static long get_version(struct core_ctx *c, uint64_t va)
{
	struct gnttab_get_version op;

	if (!core_get(c, &op, va))
		return -XEN_EFAULT;
	switch (grant_domain(c, op.dom, true)) {
	case GNTST_okay:
		break;
	case GNTST_permission_denied:
		return -XEN_EPERM;
	default:
		return -XEN_ESRCH;
	}
	op.version = c->d->grant_version;
	return core_put_field(c, va, &op, version) ? 0 : -XEN_EFAULT;
}

/* Version 1 has no status frames: any request for one is too many. */
static long get_status_frames(struct core_ctx *c, uint64_t va)
{
	struct gnttab_get_status_frames op;

	if (!core_get(c, &op, va))
		return -XEN_EFAULT;
	int status = grant_domain(c, op.dom, true);

	if (status == GNTST_okay && op.nr_frames > 0)
		status = GNTST_general_error;
	op.status = (int16_t)status;
	return core_put_field(c, va, &op, status) ? 0 : -XEN_EFAULT;
}

/* Caches are coherent here: only the arguments are looked at. */
static long cache_flush_one(struct core_ctx *c, uint64_t va)
{
	struct gnttab_cache_flush op;

	if (!core_get(c, &op, va))
		return -XEN_EFAULT;
	if (op.offset >= 4096 || op.length > 4096 || op.offset + op.length > 4096 ||
	    (op.op & ~(GNTTAB_CACHE_INVAL | GNTTAB_CACHE_CLEAN | GNTTAB_CACHE_SOURCE_GREF)))
		return -XEN_EINVAL;
	if (op.length == 0 || op.op == 0)
		return 0;
	if (op.op & GNTTAB_CACHE_SOURCE_GREF)
		return -XEN_EOPNOTSUPP;
	uint64_t mfn = op.a.dev_bus_addr >> 12;

	if (mfn >= c->d->nr_frames || !core_frame_get(c, mfn))
		return -XEN_EPERM;
	core_frame_put(c, mfn);
	return 0;
}

static long cache_flush(struct core_ctx *c, const uint64_t arg[6])
{
	uint32_t count = (uint32_t)arg[2];
	uint64_t va = arg[1];

	if (!core_addr_ok(va))
		return -XEN_EFAULT;
	for (uint32_t i = 0; i < count; i++, va += sizeof(struct gnttab_cache_flush)) {
		if (i > 0 && core_preempt_pending(c)) {
			uint64_t args[6] = {arg[0], va, count - i, arg[3], arg[4], arg[5]};

			return core_hypercall_continue(c, __HYPERVISOR_grant_table_op, args);
		}
		long rc = cache_flush_one(c, va);

		if (rc != 0)
			return rc;
	}
	return 0;
}

long core_hc_grant_table_op(struct core_ctx *c, const uint64_t arg[6])
{
	uint32_t count = (uint32_t)arg[2];
	bool single = count == 1;

	if (count > INT32_MAX)
		return -XEN_EINVAL;
	switch ((uint32_t)arg[0]) {
	case GNTTABOP_map_grant_ref:	 /* ABI: served; grants of the domain to itself */
	case GNTTABOP_unmap_grant_ref:	 /* ABI: served */
	case GNTTABOP_unmap_and_replace: /* ABI: served */
	case GNTTABOP_transfer:		 /* ABI: GNTST_bad_page; nobody accepts pages */
	case GNTTABOP_copy:		 /* ABI: served */
	case GNTTABOP_swap_grant_ref:	 /* ABI: served */
		return array(c, arg);
	case GNTTABOP_setup_table: /* ABI: served */
		return single ? setup_table(c, arg[1]) : -XEN_EINVAL;
	case GNTTABOP_query_size: /* ABI: served */
		return single ? query_size(c, arg[1]) : -XEN_EINVAL;
	case GNTTABOP_set_version: /* ABI: served; version 1 only, -ENOSYS for 2 */
		return set_version(c, arg[1]);
	case GNTTABOP_get_version: /* ABI: served */
		return get_version(c, arg[1]);
	case GNTTABOP_get_status_frames: /* ABI: served; version 1 has none */
		return single ? get_status_frames(c, arg[1]) : -XEN_EINVAL;
	case GNTTABOP_cache_flush: /* ABI: served; caches are coherent */
		return cache_flush(c, arg);
	case GNTTABOP_dump_table: /* ABI: -ENOSYS; as Xen, which has dropped it */
	default:
		return -XEN_ENOSYS;
	}
}
