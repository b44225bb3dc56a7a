/* SPDX-License-Identifier: MIT */
/* shared_info and event channels, as a kernel uses them. */
#include "pvg.h"

static u8 shared_page[PAGE_SIZE] __page;
struct shared_info *pvg_shared;
unsigned int pvg_upcalls;
void (*pvg_upcall_end)(void);
u64 pvg_port_count[4096];
struct trap_frame pvg_upcall_frame;
u64 pvg_upcall_mask_inside;
void (*pvg_port_hook)(unsigned int port);

void pvg_shared_init(void)
{
	if (pvg_shared)
		return;
	if (pvg_map(shared_page, (start_info->shared_info & PTE_ADDR) | PTE_KERN)) {
		pvg_puts("cannot map shared_info\n");
		pvg_exit(SHUTDOWN_crash);
	}
	pvg_shared = (struct shared_info *)shared_page;
}

void pvg_events_init(void)
{
	struct callback_register cb = {.type = CALLBACKTYPE_event};

	pvg_shared_init();
	/* console and store are polled; their events would disturb what a guest counts */
	if (!(start_info->flags & SIF_INITDOMAIN)) {
		pvg_mask_port(start_info->console.domU.evtchn);
		pvg_mask_port(start_info->store_evtchn);
	}
	cb.address = (u64)pvg_event_entry;
	HC2(callback_op, CALLBACKOP_register, &cb);
	cb.type = CALLBACKTYPE_failsafe;
	cb.address = (u64)pvg_failsafe_entry;
	HC2(callback_op, CALLBACKOP_register, &cb);
}

bool pvg_test_and_clear(volatile void *bits, unsigned int nr)
{
	bool old;

	__asm__ volatile("lock btrq %2, %1"
			 : "=@ccc"(old), "+m"(*(volatile u64 *)bits)
			 : "r"((u64)nr)
			 : "memory");
	return old;
}

/* entry.S calls this. */
void pvg_upcall(struct trap_frame *f)
{
	unsigned int cpu = pvg_cpu();
	struct vcpu_info *v = &pvg_shared->vcpu_info[cpu];

	if (cpu == 0) {
		pvg_upcalls++;
		pvg_upcall_frame = *f;
		pvg_upcall_mask_inside = v->evtchn_upcall_mask;
	}
	while (v->evtchn_upcall_pending) {
		u64 sel;

		v->evtchn_upcall_pending = 0;
		mb();
		sel = __atomic_exchange_n(&v->evtchn_pending_sel, 0, __ATOMIC_SEQ_CST);
		while (sel) {
			unsigned int w = (unsigned int)__builtin_ctzll(sel);
			u64 bits = pvg_shared->evtchn_pending[w] & ~pvg_shared->evtchn_mask[w];

			sel &= sel - 1;
			while (bits) {
				unsigned int port = w * 64 + (unsigned int)__builtin_ctzll(bits);

				bits &= bits - 1;
				if (pvg_port_cpu[port] != cpu)
					continue;
				pvg_test_and_clear(pvg_shared->evtchn_pending, port);
				pvg_port_count[port]++;
				if (pvg_port_hook)
					pvg_port_hook(port);
			}
		}
	}
	if (cpu == 0 && pvg_upcall_end)
		pvg_upcall_end();
}

void pvg_force_callback(void)
{
	HC2(xen_version, XENVER_version, 0);
}

void pvg_sti(void)
{
	barrier();
	VCPU0->evtchn_upcall_mask = 0;
	mb();
	if (VCPU0->evtchn_upcall_pending)
		pvg_force_callback();
}

void pvg_mask_port(unsigned int port)
{
	__asm__ volatile("lock btsq %1, %0"
			 : "+m"(*(volatile u64 *)pvg_shared->evtchn_mask)
			 : "r"((u64)port)
			 : "memory", "cc");
}

void pvg_unmask_port(unsigned int port)
{
	struct evtchn_unmask u = {.port = port};

	HC2(event_channel_op, EVTCHNOP_unmask, &u);
}

bool pvg_port_pending(unsigned int port)
{
	return ((volatile u64 *)pvg_shared->evtchn_pending)[port / 64] >> (port % 64) & 1;
}

bool pvg_port_masked(unsigned int port)
{
	return ((volatile u64 *)pvg_shared->evtchn_mask)[port / 64] >> (port % 64) & 1;
}
