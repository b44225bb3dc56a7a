/* SPDX-License-Identifier: MIT */
/* A storm of hypercalls with random arguments and pointers; only living through it counts. */
#include "pvg.h"
#include <xen/nmi.h>

static u64 seed = 0xfeedfacecafebeeful;
static u8 *scratch; /* two pages, then a hole */

static u64 rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static u64 arg(void)
{
	switch (rnd() % 10) {
	case 0:
		return 0;
	case 1:
		return rnd() % 64;
	case 2:
		return rnd();
	case 3:
		return (u64)scratch + rnd() % PAGE_SIZE;
	case 4:
		return (u64)scratch + 2 * PAGE_SIZE - rnd() % 64; /* runs into the hole */
	case 5:
		return 0xffff800000000000 + rnd() % (1ul << 30);
	case 6:
		return 0xffff82d040200000 + rnd() % (1ul << 20);
	case 7:
		return ~0ul - rnd() % 4096;
	case 8:
		return DOMID_SELF;
	default:
		return (u64)scratch;
	}
}

/* Those that end the guest, take away what it stands on or wait forever are left out. */
static bool deadly(unsigned int nr, u64 a)
{
	switch (nr) {
	case __HYPERVISOR_iret:
	case __HYPERVISOR_set_trap_table:
	case __HYPERVISOR_set_gdt:
	case __HYPERVISOR_set_callbacks:
	case __HYPERVISOR_callback_op:
	case __HYPERVISOR_stack_switch:
	case __HYPERVISOR_mmu_update:
	case __HYPERVISOR_mmuext_op:
	case __HYPERVISOR_update_va_mapping:
	case __HYPERVISOR_update_va_mapping_otherdomain:
	case __HYPERVISOR_update_descriptor: /* low frame numbers may be the guest's own text */
	case __HYPERVISOR_multicall:
	case __HYPERVISOR_sched_op_compat:
		return true;
	case __HYPERVISOR_sched_op:
		return (u32)a <= SCHEDOP_poll || (u32)a >= SCHEDOP_watchdog;
	case __HYPERVISOR_event_channel_op:
		return (u32)a == EVTCHNOP_reset || (u32)a == EVTCHNOP_close ||
		       (u32)a == EVTCHNOP_init_control;
	case __HYPERVISOR_memory_op:
		return (u32)a == XENMEM_decrease_reservation || (u32)a == XENMEM_exchange;
	case __HYPERVISOR_vcpu_op:
		return (u32)a != VCPUOP_is_up && (u32)a != VCPUOP_get_runstate_info;
	case __HYPERVISOR_grant_table_op:
		return (u32)a == GNTTABOP_transfer || (u32)a == GNTTABOP_copy;
	}
	return false;
}

void guest_main(void)
{
	unsigned int calls = 0, failed = 0;

	pvg_events_init();
	pvg_traps_init();
	scratch = pvg_pages_alloc(3);
	pvg_map(scratch + 2 * PAGE_SIZE, 0);
	while (calls < 100000) {
		unsigned int nr = (unsigned int)(rnd() % 48);
		u64 a = arg(), b = arg(), c = arg(), d = arg(), e = arg();

		if (rnd() % 3 == 0)
			a = rnd() % 24;
		if (deadly(nr, a))
			continue;
		for (int i = 0; i < 64; i++)
			((u64 *)scratch)[i] = rnd() % 5 ? rnd() % 16 : arg();
		if (pvg_raw_syscall(nr, a, b, c, d, e) < 0)
			failed++;
		calls++;
	}
	printf("calls %d, most failed: %d\n", calls, failed > calls / 2);
	/* and the same thing many times */
	for (unsigned int i = 0; i < 200000; i++)
		pvg_raw_syscall(__HYPERVISOR_xen_version, 0, 0, 0, 0, 0);
	for (unsigned int i = 0; i < 200000; i++)
		pvg_raw_syscall(63, i, i, i, i, i);
	printf("alive\n");
}
