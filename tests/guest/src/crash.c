/* SPDX-License-Identifier: MIT */
/* Ways for a guest to end, one a build. Each prints a line before it does it. */
#include "pvg.h"

static u8 unmapped[PAGE_SIZE] __page __unused_;

static inline void iret_frame(u64 cs, u64 rip, u64 sp)
{
	__asm__ volatile(
		"pushq %3\n pushq %2\n pushq $0x202\n pushq %0\n pushq %1\n pushq $0\n pushq $0\n"
		"pushq $0\n pushq $0\n movl $23, %%eax\n syscall" ::"r"(cs),
		"r"(rip), "r"(sp), "r"((u64)KERNEL_DS)
		: "memory");
}

void guest_main(void)
{
	printf("before\n");
	pvg_console_flush();
#if defined NO_HANDLER_UD
	__asm__ volatile("ud2");
#elif defined NO_HANDLER_PF
	*(volatile u8 *)0x600000000000 = 1;
#elif defined NO_HANDLER_INT3
	__asm__ volatile("int3");
#elif defined NO_HANDLER_GP
	__asm__ volatile("hlt");
#elif defined BAD_STACK
	pvg_traps_init();
	__asm__ volatile("movabsq $0x600000000000, %rsp\n ud2");
#elif defined NONCANONICAL_STACK
	pvg_traps_init();
	__asm__ volatile("movabsq $0x8000000000000000, %rsp\n ud2");
#elif defined XEN_STACK
	pvg_traps_init();
	__asm__ volatile("movabsq $0xffff82d040200800, %rsp\n ud2");
#elif defined READONLY_STACK
	pvg_traps_init();
	pvg_set_ro(unmapped);
	__asm__ volatile("leaq 2048+%0, %%rsp\n ud2" ::"m"(unmapped));
#elif defined HANDLER_UNMAPPED
	{
		static struct trap_info t[2] = {{.vector = 6, .cs = KERNEL_CS}};

		pvg_traps_init();
		t[0].address = 0x600000000000;
		HC1(set_trap_table, t);
		__asm__ volatile("ud2"); /* #PF at the handler is an ordinary fault */
	}
#elif defined PF_HANDLER_UNMAPPED
	{
		static struct trap_info t[2] = {{.vector = 14, .cs = KERNEL_CS}};

		pvg_traps_init();
		t[0].address = 0x600000000000;
		HC1(set_trap_table, t);
		*(volatile u8 *)unmapped = 1;
		*(volatile u8 *)0x600000000000 = 1; /* faults until the stack is used up */
	}
#elif defined IRET_STACK
	pvg_traps_init();
	__asm__ volatile("movabsq $0x600000000000, %rsp\n movl $23, %eax\n syscall");
#elif defined IRET_USER
	pvg_traps_init();
	iret_frame(0x33 | 3, (u64)guest_main, (u64)unmapped + 2048);
#elif defined IRET_BAD_CS_NO_FAILSAFE
	/* The console's answer to "before" must be pending, or the end depends on how fast it is.
	 */
	pvg_shared_init();
	while (!VCPU0->evtchn_upcall_pending)
		barrier();
	pvg_traps_init();
	iret_frame(0x1000, (u64)guest_main, (u64)unmapped + 2048);
#elif defined EVENT_NO_CALLBACK
	{
		struct evtchn_bind_ipi b = {.vcpu = 0};
		struct evtchn_send s;

		pvg_shared_init();
		pvg_traps_init();
		VCPU0->evtchn_upcall_mask = 0;
		HC2(event_channel_op, EVTCHNOP_bind_ipi, &b);
		s.port = b.port;
		HC2(event_channel_op, EVTCHNOP_send, &s);
	}
#elif defined UNMAP_TEXT
	pvg_traps_init();
	{
		u64 *e = pvg_entry((u64)pvg_image, 2);
		u64 at = (pvg_mfn_of(e) << 12) + ((u64)e & 4095);

		pvg_mmu_update(at, 0); /* everything is gone, the handler too */
	}
#elif defined REBOOT
	pvg_exit(SHUTDOWN_reboot);
#elif defined SUSPEND
	pvg_exit(SHUTDOWN_suspend);
#elif defined CRASH
	pvg_exit(SHUTDOWN_crash);
#elif defined WATCHDOG
	pvg_exit(SHUTDOWN_watchdog);
#elif defined REASON99
	{
		struct sched_shutdown s = {.reason = 99};
		long r = HC2(sched_op, SCHEDOP_shutdown, &s);

		printf("shutdown with reason 99: %le\n", r);
	}
#elif defined SHUTDOWN_CODE
	{
		struct sched_shutdown s = {.reason = SHUTDOWN_reboot};
		long r = HC2(sched_op, SCHEDOP_shutdown_code, &s);

		printf("shutdown_code reboot: %le\n", r);
		pvg_exit(SHUTDOWN_poweroff);
	}
#elif defined SPIN_MASKED
	pvg_shared_init();
	VCPU0->evtchn_upcall_mask = 1;
	for (;;)
		__asm__ volatile("pause");
#else
#error "no way to end was chosen"
#endif
	printf("after\n");
}
