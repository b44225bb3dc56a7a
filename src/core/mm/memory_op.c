/* SPDX-License-Identifier: MIT */
/* ABI: memory_op */
#include "core/hypercall/hypercall.h"
#include "core/mm/reservation.h"

#define MEMOP_SHIFT 6 /* the command word's upper bits: extents done before a continuation */

/* Only for tools in Xen's header. */
#define MEM_SHARING_FREED  18u
#define MEM_SHARING_SHARED 19u
#define MEM_ACCESS_OP	   21u
#define MEM_CLAIM_PAGES	   24u
#define MEM_RESERVED_MAP   27u

static long reservation_size(struct core_ctx *c, unsigned int op, uint64_t va)
{
	struct xen_memory_domain dom;

	if (!mm_get(c, &dom, va, sizeof(dom)))
		return -XEN_EFAULT;
	long rc = mm_only_self(c, dom.domid);
	if (rc)
		return rc;
	if (op == XENMEM_maximum_reservation)
		return (long)mm_reservation_limit(c);
	if (op == XENMEM_current_reservation) {
		mm_lock(c);
		mm_reclaim(c);
		mm_unlock(c);
		return (long)c->d->tot_pages;
	}
	/* XENMEM_maximum_gpfn: what the guest itself published. */
	const struct shared_info *s = core_frame_ptr(c, c->d->shared_info);
	unsigned long max_pfn = __atomic_load_n(&s->arch.max_pfn, __ATOMIC_RELAXED);

	return (long)((max_pfn != 0 ? max_pfn : 1) - 1);
}

static long machphys_mapping(struct core_ctx *c, uint64_t va)
{
	struct xen_machphys_mapping m = {
		.v_start = MACH2PHYS_VIRT_START,
		.v_end = MACH2PHYS_VIRT_END,
		.max_mfn = MACH2PHYS_NR_ENTRIES - 1,
	};

	return mm_put(c, va, &m, sizeof(m)) ? 0 : -XEN_EFAULT;
}

/* The M2P in pieces of 2 MiB; the compatibility one (32-bit guests) does not exist. */
static long machphys_list(struct core_ctx *c, uint64_t va)
{
	struct xen_machphys_mfn_list list;
	uint64_t buffer, pieces = (c->d->m2p_frames + PTE_ENTRIES - 1) / PTE_ENTRIES, i;

	if (!mm_get(c, &list, va, sizeof(list)))
		return -XEN_EFAULT;
	buffer = (uint64_t)(uintptr_t)list.extent_start.p;
	for (i = 0; i < list.max_extents && i < pieces; i++) {
		uint64_t mfn = c->d->m2p_first + i * PTE_ENTRIES;

		if (!mm_put(c, buffer + i * sizeof(mfn), &mfn, sizeof(mfn)))
			return -XEN_EFAULT;
	}
	list.nr_extents = (unsigned int)i;
	return mm_put(c, va, &list, sizeof(list)) ? 0 : -XEN_EFAULT;
}

/* Commands about physical address maps, which a PV domain does not have. */
static long physmap(struct core_ctx *c, unsigned int op, uint64_t va)
{
	struct xen_add_to_physmap add;
	struct xen_add_to_physmap_batch batch;
	struct xen_remove_from_physmap remove;
	domid_t id;

	switch (op) {
	case XENMEM_add_to_physmap:
		if (!mm_get(c, &add, va, sizeof(add)))
			return -XEN_EFAULT;
		if (add.space == XENMAPSPACE_gmfn_foreign)
			return -XEN_ENOSYS;
		id = add.domid;
		break;
	case XENMEM_add_to_physmap_batch:
		if (!mm_get(c, &batch, va, sizeof(batch)))
			return -XEN_EFAULT;
		if (batch.space == XENMAPSPACE_gmfn_range)
			return -XEN_EOPNOTSUPP;
		id = batch.domid;
		break;
	default:
		if (!mm_get(c, &remove, va, sizeof(remove)))
			return -XEN_EFAULT;
		id = remove.domid;
		break;
	}
	return mm_domain_by_any_id(c, id) == MM_DOM_NONE ? -XEN_ESRCH : -XEN_EACCES;
}

static long pod_target(struct core_ctx *c, uint64_t va)
{
	struct xen_pod_target target;

	if (!mm_get(c, &target, va, sizeof(target)))
		return -XEN_EFAULT;
	/* For domains that are populated on demand, which PV domains are not. */
	return mm_domain_by_any_id(c, target.domid) == MM_DOM_NONE ? -XEN_ESRCH : -XEN_EINVAL;
}

static long claim_pages(struct core_ctx *c, uint64_t va)
{
	struct xen_memory_reservation r;

	if (!mm_get(c, &r, va, sizeof(r)))
		return -XEN_EFAULT;
	/* DOMID_SELF is not understood here. */
	if (r.extent_start.p != NULL || r.extent_order != 0 || r.mem_flags != 0 ||
	    r.domid == DOMID_SELF || mm_domain_by_any_id(c, r.domid) == MM_DOM_NONE)
		return -XEN_EINVAL;
	return -XEN_EPERM;
}

static long vnumainfo(struct core_ctx *c, uint64_t va)
{
	struct xen_vnuma_topology_info v;

	if (!mm_get(c, &v, va, sizeof(v)))
		return -XEN_EFAULT;
	if (v.pad != 0)
		return -XEN_EINVAL;
	long rc = mm_only_self(c, v.domid);
	return rc ? rc : -XEN_EOPNOTSUPP;
}

/* Resources of domains one controls; DOMID_SELF is not understood. */
static long acquire_resource(struct core_ctx *c, uint64_t va)
{
	struct {
		domid_t domid;
		uint16_t type;
		uint32_t id, nr_frames, pad;
		uint64_t frame, frame_list;
	} r;

	if (!mm_get(c, &r, va, sizeof(r)))
		return -XEN_EFAULT;
	if (r.pad != 0 || r.frame >> 32 != 0 || (r.frame + r.nr_frames) >> 32 != 0)
		return -XEN_EINVAL;
	return r.domid == DOMID_SELF || mm_domain_by_any_id(c, r.domid) == MM_DOM_NONE ? -XEN_ESRCH
										       : -XEN_EPERM;
}

/* Memory that devices have claimed: there are no devices. */
static long reserved_memory(struct core_ctx *c, uint64_t va)
{
	struct {
		uint32_t flags, nr_entries;
		uint64_t buffer;
		uint32_t device;
	} map;

	if (!mm_get(c, &map, va, sizeof(map)) || !core_addr_ok(map.buffer))
		return -XEN_EFAULT;
	if ((map.flags & ~1u) != 0)
		return -XEN_EINVAL;
	map.nr_entries = 0;
	return core_put_field(c, va, &map, nr_entries) ? 0 : -XEN_EFAULT;
}

/* Access rights of an HVM guest's memory. The header keeps it for tools. */
static long mem_access(struct core_ctx *c, uint64_t va)
{
	struct {
		uint8_t op, access;
		domid_t domid;
		uint32_t nr;
		uint64_t pfn, pfn_list, access_list;
	} access;

	if (!mm_get(c, &access, va, sizeof(access)))
		return -XEN_EFAULT;
	if (access.domid == c->d->domid)
		return -XEN_EPERM;
	return access.domid == 0 ? -XEN_EINVAL : -XEN_ESRCH;
}

/* Commands that know no continuation, with the whole command word. */
static long plain_op(struct core_ctx *c, uint64_t cmd, uint64_t va)
{
	switch (cmd) {
	case XENMEM_memory_map: /* ABI: served */
		return mm_memory_map(c, va);
	case XENMEM_set_memory_map: /* ABI: served */
		return mm_set_memory_map(c, va);
	case XENMEM_machine_memory_map: /* ABI: -EPERM; control domain only */
		return -XEN_EPERM;
	case XENMEM_machphys_mapping: /* ABI: served */
		return machphys_mapping(c, va);
	case XENMEM_machphys_mfn_list: /* ABI: served */
		return machphys_list(c, va);
	case XENMEM_machphys_compat_mfn_list: /* ABI: -EOPNOTSUPP; 64-bit guests only */
		return -XEN_EOPNOTSUPP;
	case XENMEM_set_pod_target: /* ABI: -EINVAL; HVM guests only */
	case XENMEM_get_pod_target: /* ABI: -EINVAL; HVM guests only */
		return pod_target(c, va);
	case MEM_SHARING_FREED:	 /* ABI: served; nothing is shared */
	case MEM_SHARING_SHARED: /* ABI: served; nothing is shared */
		return 0;
	default:
		return -XEN_ENOSYS;
	}
}

long core_hc_memory_op(struct core_ctx *c, const uint64_t arg[6])
{
	uint64_t cmd = arg[0], start = cmd >> MEMOP_SHIFT, va = arg[1];
	unsigned int op = cmd & ((1u << MEMOP_SHIFT) - 1);

	switch (op) {
	case XENMEM_increase_reservation: /* ABI: served */
	case XENMEM_decrease_reservation: /* ABI: served */
	case XENMEM_populate_physmap:	  /* ABI: served */
		return mm_reservation_op(c, op, start, va, arg);
	case XENMEM_exchange: /* ABI: served */
		return start != 0 ? -XEN_EINVAL : mm_exchange(c, va, arg);
	case XENMEM_maximum_ram_page: /* ABI: served */
		return start != 0 ? -XEN_EINVAL : (long)c->d->nr_frames;
	case XENMEM_current_reservation: /* ABI: served */
	case XENMEM_maximum_reservation: /* ABI: served */
	case XENMEM_maximum_gpfn:	 /* ABI: served */
		return start != 0 ? -XEN_EINVAL : reservation_size(c, op, va);
	case XENMEM_add_to_physmap:	  /* ABI: -EACCES; not for PV domains */
	case XENMEM_add_to_physmap_batch: /* ABI: -EACCES; not for PV domains */
		/* They start at a 16-bit number. */
		return start > 0xffff ? -XEN_EDOM : physmap(c, op, va);
	case XENMEM_remove_from_physmap: /* ABI: -EACCES; not for PV domains */
		return start != 0 ? -XEN_EINVAL : physmap(c, op, va);
	case MEM_CLAIM_PAGES: /* ABI: -EPERM; control domain only */
		return start != 0 ? -XEN_EINVAL : claim_pages(c, va);
	case XENMEM_get_vnumainfo: /* ABI: -EOPNOTSUPP; no virtual NUMA */
		return start != 0 ? -XEN_EINVAL : vnumainfo(c, va);
	case XENMEM_acquire_resource: /* ABI: -EPERM; control domain only */
		return acquire_resource(c, va);
	case MEM_RESERVED_MAP: /* ABI: served; there is none */
		return start != 0 ? -XEN_EINVAL : reserved_memory(c, va);
	case MEM_ACCESS_OP: /* ABI: -EPERM; control domain only */
		return mem_access(c, va);
	default:
		return plain_op(c, cmd, va);
	}
}
