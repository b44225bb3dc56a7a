/* SPDX-License-Identifier: MIT */
/*
 * Each hypercall that takes a pointer, with each kind of pointer that may be wrong. What it points
 * at is zero unless the call would then be a real thing to do.
 */
#include "pvg.h"
#include <xen/nmi.h>

#define SELF DOMID_SELF

struct call {
	const char *name;
	u8 nr, ptr; /* hypercall, and which argument is the pointer */
	u64 a[4];   /* the others */
	u8 word;    /* this 8-byte word of the structure ... */
	u64 value;  /* ... is this */
};

#define OP(op, cmd)	       __HYPERVISOR_##op, 1, {cmd}, 0, 0
#define OPW(op, cmd, w, v)     __HYPERVISOR_##op, 1, {cmd}, w, v
#define VCPU(cmd)	       __HYPERVISOR_vcpu_op, 2, {cmd, 0}, 0, 0
#define GNT(cmd)	       __HYPERVISOR_grant_table_op, 1, {cmd, 0, 1}, 0, 0
#define MEM_SELF(cmd)	       __HYPERVISOR_memory_op, 1, {cmd}, 0, SELF
#define MEM_SELF_AT(cmd, w, v) __HYPERVISOR_memory_op, 1, {cmd}, w, v

static const struct call calls[] = {
	{"set_trap_table", 0, 0, {0}, 0, 0},
	{"mmu_update", 1, 0, {0, 1, 0, SELF}, 0, 0xfffffffffffff000},
	{"mmu_update of none", 1, 0, {0, 0, 0, SELF}, 0, 0},
	{"mmu_update of none, done", 1, 2, {0, 0, 0, SELF}, 0, 0},
	{"set_gdt of none", 2, 0, {0, 0}, 0, 0},
	{"set_gdt of one entry", 2, 0, {0, 1}, 0, ~0ul},
	{"set_gdt of 513 entries", 2, 0, {0, 513}, 0, ~0ul},
	{"multicall", 13, 0, {0, 1}, 0, 63},
	{"multicall of none", 13, 0, {0, 0}, 0, 0},
	{"mmuext_op", 26, 0, {0, 1, 0, SELF}, 0, MMUEXT_TLB_FLUSH_LOCAL},
	{"mmuext_op of none", 26, 0, {0, 0, 0, SELF}, 0, 0},
	{"mmuext_op of none, done", 26, 2, {0, 0, 0, SELF}, 0, 0},
	{"mmuext_op, mask", 26, 0, {0, 1, 0, SELF}, 0, MMUEXT_TLB_FLUSH_MULTI},
	{"update_va_mapping, mask", 14, 2, {0x600000000000, 0, 0}, 0, 0},
	{"memory increase", OP(memory_op, XENMEM_increase_reservation)},
	{"memory decrease", OP(memory_op, XENMEM_decrease_reservation)},
	{"memory populate", OP(memory_op, XENMEM_populate_physmap)},
	{"memory exchange", OP(memory_op, XENMEM_exchange)},
	{"memory maximum_ram_page", OPW(memory_op, 63, 0, 0)},
	{"memory current_reservation", MEM_SELF(XENMEM_current_reservation)},
	{"memory machphys_mfn_list", OP(memory_op, XENMEM_machphys_mfn_list)},
	{"memory machphys_mapping", OP(memory_op, XENMEM_machphys_mapping)},
	{"memory add_to_physmap", MEM_SELF(XENMEM_add_to_physmap)},
	{"memory remove_from_physmap", MEM_SELF(XENMEM_remove_from_physmap)},
	{"memory add_to_physmap_batch", MEM_SELF(XENMEM_add_to_physmap_batch)},
	{"memory memory_map", OP(memory_op, XENMEM_memory_map)},
	{"memory machine_memory_map", OP(memory_op, XENMEM_machine_memory_map)},
	{"memory set_memory_map", MEM_SELF(XENMEM_set_memory_map)},
	{"memory set_pod_target", MEM_SELF_AT(XENMEM_set_pod_target, 3, SELF)},
	{"memory get_pod_target", MEM_SELF_AT(XENMEM_get_pod_target, 3, SELF)},
	{"memory get_sharing_freed_pages", OP(memory_op, 18)},
	{"memory get_sharing_shared_pages", OP(memory_op, 19)},
	{"memory paging_op", OP(memory_op, 20)},
	{"memory access_op", OP(memory_op, 21)},
	{"memory sharing_op", OP(memory_op, 22)},
	{"memory claim_pages", MEM_SELF_AT(24, 2, SELF)},
	{"memory reserved_device_memory_map", OP(memory_op, 27)},
	{"memory get_vnumainfo", MEM_SELF(XENMEM_get_vnumainfo)},
	{"memory acquire_resource", MEM_SELF(XENMEM_acquire_resource)},
	{"set_timer_op_compat 11", 11, 0, {0}, 0, 0},
	{"version version", OP(xen_version, XENVER_version)},
	{"version extraversion", OP(xen_version, XENVER_extraversion)},
	{"version compile_info", OP(xen_version, XENVER_compile_info)},
	{"version capabilities", OP(xen_version, XENVER_capabilities)},
	{"version changeset", OP(xen_version, XENVER_changeset)},
	{"version platform_parameters", OP(xen_version, XENVER_platform_parameters)},
	{"version get_features", OP(xen_version, XENVER_get_features)},
	{"version pagesize", OP(xen_version, XENVER_pagesize)},
	{"version guest_handle", OP(xen_version, XENVER_guest_handle)},
	{"version commandline", OP(xen_version, XENVER_commandline)},
	{"version build_id", OP(xen_version, XENVER_build_id)},
	{"version 11", OP(xen_version, 11)},
	{"console write 1", 18, 2, {CONSOLEIO_write, 1}, 0, 0},
	{"grant map", GNT(GNTTABOP_map_grant_ref)},
	{"grant unmap", GNT(GNTTABOP_unmap_grant_ref)},
	{"grant setup", GNT(GNTTABOP_setup_table)},
	{"grant dump", GNT(GNTTABOP_dump_table)},
	{"grant transfer", __HYPERVISOR_grant_table_op, 1, {GNTTABOP_transfer, 0, 1}, 0, ~0ul},
	{"grant copy", GNT(GNTTABOP_copy)},
	{"grant query_size", GNT(GNTTABOP_query_size)},
	{"grant unmap_and_replace", GNT(GNTTABOP_unmap_and_replace)},
	{"grant set_version", GNT(GNTTABOP_set_version)},
	{"grant get_status_frames", GNT(GNTTABOP_get_status_frames)},
	{"grant get_version", GNT(GNTTABOP_get_version)},
	{"grant swap", GNT(GNTTABOP_swap_grant_ref)},
	{"grant cache_flush", GNT(GNTTABOP_cache_flush)},
	{"grant map of none", __HYPERVISOR_grant_table_op, 1, {0, 0, 0}, 0, 0},
	{"grant copy of none", __HYPERVISOR_grant_table_op, 1, {5, 0, 0}, 0, 0},
	{"grant cache_flush of none", __HYPERVISOR_grant_table_op, 1, {12, 0, 0}, 0, 0},
	{"vcpu initialise", VCPU(VCPUOP_initialise)},
	{"vcpu up", VCPU(VCPUOP_up)},
	{"vcpu is_up", VCPU(VCPUOP_is_up)},
	{"vcpu get_runstate_info", VCPU(VCPUOP_get_runstate_info)},
	{"vcpu register_runstate", VCPU(VCPUOP_register_runstate_memory_area)},
	{"vcpu set_periodic", VCPU(VCPUOP_set_periodic_timer)},
	{"vcpu set_singleshot", VCPU(VCPUOP_set_singleshot_timer)},
	{"vcpu register_vcpu_info",
	 __HYPERVISOR_vcpu_op,
	 2,
	 {VCPUOP_register_vcpu_info, 0},
	 0,
	 ~0ul},
	{"vcpu register_time", VCPU(VCPUOP_register_vcpu_time_memory_area)},
	{"vcpu get_physid", VCPU(VCPUOP_get_physid)},
	{"xsm_op", 27, 0, {0}, 0, 0},
	{"nmi register", OP(nmi_op, XENNMI_register_callback)},
	{"nmi unregister", OP(nmi_op, XENNMI_unregister_callback)},
	{"sched poll", OPW(sched_op, SCHEDOP_poll, 2, 1)},
	{"sched remote_shutdown", OP(sched_op, SCHEDOP_remote_shutdown)},
	{"sched watchdog", OPW(sched_op, SCHEDOP_watchdog, 0, 9)},
	{"sched pin_override", OP(sched_op, SCHEDOP_pin_override)},
	{"callback register", OPW(callback_op, CALLBACKOP_register, 0, 3)},
	{"callback unregister", OP(callback_op, CALLBACKOP_unregister)},
	{"event bind_interdomain", OP(event_channel_op, EVTCHNOP_bind_interdomain)},
	{"event bind_virq", OPW(event_channel_op, EVTCHNOP_bind_virq, 0, 99)},
	{"event bind_pirq", OP(event_channel_op, EVTCHNOP_bind_pirq)},
	{"event close", OP(event_channel_op, EVTCHNOP_close)},
	{"event send", OP(event_channel_op, EVTCHNOP_send)},
	{"event status", OPW(event_channel_op, EVTCHNOP_status, 0, SELF)},
	{"event alloc_unbound", OP(event_channel_op, EVTCHNOP_alloc_unbound)},
	{"event bind_ipi", OPW(event_channel_op, EVTCHNOP_bind_ipi, 0, 77)},
	{"event bind_vcpu", OP(event_channel_op, EVTCHNOP_bind_vcpu)},
	{"event unmask", OP(event_channel_op, EVTCHNOP_unmask)},
	{"event reset", OP(event_channel_op, EVTCHNOP_reset)},
	{"event init_control", OPW(event_channel_op, EVTCHNOP_init_control, 1, 999)},
	{"event expand_array", OP(event_channel_op, EVTCHNOP_expand_array)},
	{"event set_priority", OP(event_channel_op, EVTCHNOP_set_priority)},
	{"event 14", OP(event_channel_op, 14)},
	{"physdev set_iopl", OP(physdev_op, PHYSDEVOP_set_iopl)},
	{"physdev set_iobitmap", OP(physdev_op, PHYSDEVOP_set_iobitmap)},
	{"physdev eoi", OP(physdev_op, PHYSDEVOP_eoi)},
	{"physdev irq_status_query", OP(physdev_op, PHYSDEVOP_irq_status_query)},
	{"physdev map_pirq", OPW(physdev_op, PHYSDEVOP_map_pirq, 0, SELF)},
	{"physdev unmap_pirq", OPW(physdev_op, PHYSDEVOP_unmap_pirq, 0, SELF)},
	{"physdev apic_read", OP(physdev_op, PHYSDEVOP_apic_read)},
	{"physdev apic_write", OP(physdev_op, PHYSDEVOP_apic_write)},
	{"physdev alloc_irq_vector", OP(physdev_op, PHYSDEVOP_alloc_irq_vector)},
	{"hvm_op set_param", OPW(hvm_op, 0, 0, SELF)},
	{"hvm_op get_param", OPW(hvm_op, 1, 0, SELF)},
	{"sysctl", 35, 0, {0}, 0, 0},
	{"domctl", 36, 0, {0}, 0, 0},
	{"platform_op", 7, 0, {0}, 0, 0},
	{"kexec_op", OP(kexec_op, 0)},
	{"xenpmu_op", OP(xenpmu_op, 0)},
	{"argo_op", 39, 1, {0}, 0, 0},
	{"dm_op", 41, 2, {SELF, 1}, 0, 0},
	{"hypfs_op", 42, 1, {0}, 0, 0},
	{"mca", 48, 0, {0}, 0, 0},
	{"event_channel_op_compat", 16, 0, {0}, 0, 99},
	{"event_channel_op_compat close", 16, 0, {0}, 0, EVTCHNOP_close},
	{"physdev_op_compat", 19, 0, {0}, 0, 99},
	{"physdev_op_compat iopl", 19, 0, {0}, 0, PHYSDEVOP_set_iopl},
	{"xenoprof_op", 31, 1, {0}, 0, 0},
};

enum kind {
	ZERO,
	HOLE,
	LOW_END,
	NONCANON,
	TOP_BIT,
	XEN,
	M2P,
	XEN_END,
	WRAP,
	READONLY,
	TABLE,
	CUT,
	ODD,
	GOOD,
	KINDS
};
static const char *const kind_name[KINDS] = {"null",  "hole", "low end",    "2^47",  "2^63",
					     "Xen",   "M2P",  "end of Xen", "wraps", "read-only",
					     "table", "cut",  "odd",	    "good"};

static u8 *two; /* the second page is not there */

static u64 pointer(enum kind k, const struct call *c)
{
	static u64 good[520] __page, odd[520] __page, ro[512] __page;

	pvg_set_rw(ro);
	memset(good, 0, sizeof(good));
	memset(odd, 0, sizeof(odd));
	memset(ro, 0, sizeof(ro));
	good[c->word] = ro[c->word] = c->value;
	memcpy((u8 *)odd + 1 + c->word * 8, &c->value, 8);
	memset(two, 0, PAGE_SIZE);
	pvg_set_ro(ro);
	switch (k) {
	case ZERO:
		return 0;
	case HOLE:
		return 0x600000000000;
	case LOW_END:
		return 0x7ffffffffffe;
	case NONCANON:
		return 1ul << 47;
	case TOP_BIT:
		return 1ul << 63;
	case XEN:
		return 0xffff82d040200000;
	case M2P:
		return 0xffff803fffffffe0; /* far beyond the memory: not mapped */
	case XEN_END:
		return 0xffff87fffffffffe;
	case WRAP:
		return ~0ul - 1;
	case READONLY:
		return (u64)ro;
	case TABLE:
		return start_info->pt_base + 300 * 8; /* free slots: read-only, zero */
	case CUT:
		return (u64)two + PAGE_SIZE - 2;
	case ODD:
		return (u64)odd + 1;
	default:
		return (u64)good;
	}
}

static long do_call(const struct call *c, u64 p)
{
	u64 a[4];

	memcpy(a, c->a, sizeof(a));
	a[c->ptr] = p;
	return pvg_raw_syscall(c->nr, a[0], a[1], a[2], a[3], 0);
}

/* Restored after each: what a call with a zero structure may have done. */
static void repair(void)
{
	struct vcpu_register_runstate_memory_area r = {0};

	pvg_traps_init();
	HC3(vcpu_op, VCPUOP_register_runstate_memory_area, 0, &r);
	HC3(vcpu_op, VCPUOP_register_vcpu_time_memory_area, 0, &r);
}

void guest_main(void)
{
	pvg_events_init();
	pvg_traps_init();
	two = pvg_pages_alloc(2);
	pvg_map(two + PAGE_SIZE, 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(calls); i++) {
		long r[KINDS];

		for (unsigned int k = 0; k < KINDS; k++) {
			/* without a deadline poll would wait for ever, a watchdog bite at once */
			bool poll = calls[i].nr == __HYPERVISOR_sched_op &&
				    (calls[i].a[0] == SCHEDOP_poll ||
				     calls[i].a[0] == SCHEDOP_watchdog);

			if (poll && k == TABLE) {
				r[k] = r[k - 1];
				continue;
			}
			r[k] = do_call(&calls[i], pointer(k, &calls[i]));
			repair();
		}
		printf("%s:\n", calls[i].name);
		for (unsigned int k = 0; k < KINDS; k++) {
			if (k == 0 || r[k] != r[k - 1] || k == GOOD)
				printf("  from %s: %le\n", kind_name[k], r[k]);
		}
	}
}
