/* SPDX-License-Identifier: MIT */
/* When an event comes between other things: traps, iret, hypercalls, nested handlers. */
#include "pvg.h"

static unsigned int port, port2;

static void ev_send(unsigned int p)
{
	struct evtchn_send s = {.port = p};

	HC2(event_channel_op, EVTCHNOP_send, &s);
}

INSN(ud2, "ud2");
extern u8 iret_here[];

static unsigned int inside_handler;
static bool send_in_handler(struct trap_frame *f)
{
	unsigned int before = pvg_upcalls;

	if (f->vector != 3)
		return false;
	ev_send(port);
	inside_handler = pvg_upcalls - before;
	return true;
}

/* A trap gate that masks: the event waits for the iret. */
static void in_trap(void)
{
	struct trap_info t[2] = {{.vector = 3, .cs = KERNEL_CS}};

	for (int masks = 0; masks < 2; masks++) {
		t[0].flags = (u8)(3 | (masks ? 4 : 0));
		t[0].address = pvg_trap_stubs[3];
		HC1(set_trap_table, t);
		pvg_upcalls = 0;
		pvg_trap_hook = send_in_handler;
		__asm__ volatile("int3");
		pvg_trap_hook = NULL;
		printf("sent in a handler whose gate %s: upcalls inside %d, after iret %d\n",
		       masks ? "masks" : "does not mask", inside_handler, pvg_upcalls);
	}
}

/* iret that unmasks with something pending: the upcall comes before the first instruction. */
static void by_iret(void)
{
	u64 at;

	pvg_cli();
	pvg_upcalls = 0;
	ev_send(port);
	__asm__ volatile(
		"movq %%rsp, %%rax\n pushq %1\n pushq %%rax\n pushq $0x202\n pushq %2\n"
		"leaq 1f(%%rip), %%rax\n movq %%rax, %0\n pushq %%rax\n pushq $0\n pushq $0\n"
		"pushq $0\n pushq $0\n movl $23, %%eax\n syscall\n1:"
		: "=&r"(at)
		: "r"((u64)KERNEL_DS), "r"((u64)(KERNEL_CS & ~3u))
		: "rax", "rcx", "r11", "memory");
	printf("iret to IF set: upcalls %d, at the target %d, mask in the frame %d\n", pvg_upcalls,
	       pvg_upcall_frame.rip == at, (int)(pvg_upcall_frame.cs >> 32));
	printf("  mask now %d\n", VCPU0->evtchn_upcall_mask);
}

/* After a hypercall the upcall's frame points behind the syscall, with the result in rax. */
static void by_hypercall(void)
{
	struct evtchn_send s = {.port = port};
	u64 at;
	long r;

	pvg_sti();
	pvg_upcalls = 0;
	__asm__ volatile("leaq 1f(%%rip), %%rcx\n movq %%rcx, %1\n syscall\n1:"
			 : "=a"(r), "=&r"(at)
			 : "0"((u64)__HYPERVISOR_event_channel_op), "D"((u64)EVTCHNOP_send), "S"(&s)
			 : "rcx", "r11", "memory");
	printf("send while unmasked: result %le, upcalls %d, behind the syscall %d, rax %le\n", r,
	       pvg_upcalls, pvg_upcall_frame.rip == at, (long)pvg_upcall_frame.rax);
}

static unsigned int depth, deepest;
static void nest(unsigned int p)
{
	depth++;
	if (depth > deepest)
		deepest = depth;
	if (p == port && depth < 3) {
		ev_send(port2);
		VCPU0->evtchn_upcall_mask = 0;
		barrier();
		pvg_force_callback();
		pvg_cli();
	}
	depth--;
}

static void nested(void)
{
	pvg_port_hook = nest;
	pvg_upcalls = 0;
	deepest = 0;
	pvg_port_count[port] = pvg_port_count[port2] = 0;
	ev_send(port);
	printf("a handler that unmasks: upcalls %d, deepest %d, ports seen %d and %d\n",
	       pvg_upcalls, deepest, (int)pvg_port_count[port], (int)pvg_port_count[port2]);
	printf("  mask after: %d\n", VCPU0->evtchn_upcall_mask);
	pvg_port_hook = NULL;
}

/* A fault with an event pending and unmasked by a store: the trap first, or the event? */
static void fault_and_event(void)
{
	pvg_cli();
	pvg_upcalls = 0;
	ev_send(port);
	VCPU0->evtchn_upcall_mask = 0;
	barrier();
	pvg_try(t_ud2);
	printf("#UD with an event waiting: vector %d at the ud2 %d, upcalls %d\n",
	       (int)pvg_caught.f.vector, pvg_caught.f.rip == (u64)t_ud2, pvg_upcalls);
	printf("  the event came on the handler's first instruction: %d\n",
	       pvg_upcall_frame.rip == pvg_trap_stubs[6]);
}

/* Popf and sti do not touch the upcall mask. */
static void flags(void)
{
	pvg_cli();
	ev_send(port);
	pvg_upcalls = 0;
	__asm__ volatile("pushq $0x202\n popfq" ::: "memory", "cc");
	pvg_force_callback();
	printf("popf with IF while masked: upcalls %d\n", pvg_upcalls);
	pvg_sti();
	printf("unmasked: upcalls %d\n", pvg_upcalls);
}

/* A port shared by two senders coalesces; bits of two words come lowest first. */
static void words(void)
{
	struct evtchn_bind_ipi b = {.vcpu = 0};
	unsigned int last = 0;

	for (int i = 0; i < 100; i++) {
		HC2(event_channel_op, EVTCHNOP_bind_ipi, &b);
		last = b.port;
	}
	printf("a hundred more ports, the last beyond 64: %d\n", last > 64);
	pvg_cli();
	pvg_upcalls = 0;
	pvg_port_count[last] = pvg_port_count[port] = 0;
	ev_send(last);
	ev_send(port);
	ev_send(last);
	printf("selector %lx\n", VCPU0->evtchn_pending_sel);
	pvg_sti();
	printf("upcalls %d, seen %d and %d\n", pvg_upcalls, (int)pvg_port_count[port],
	       (int)pvg_port_count[last]);
}

/* An endless loop is interrupted by the timer. */
static volatile bool ticked;
static void tick(unsigned int p)
{
	ticked = true;
}
static void loop(void)
{
	struct evtchn_bind_virq v = {.virq = VIRQ_TIMER, .vcpu = 0};
	u64 n = 0;

	HC2(event_channel_op, EVTCHNOP_bind_virq, &v);
	HC3(vcpu_op, VCPUOP_stop_periodic_timer, 0, 0);
	pvg_port_hook = tick;
	pvg_sti();
	/* (On a starved machine the timer may be due before the loop begins.) */
	for (int i = 0; i < 20 && n == 0; i++) {
		ticked = false;
		HC1(set_timer_op, pvg_now() + 5000000);
		while (!ticked)
			n++;
	}
	printf("a loop without hypercalls was interrupted: %d\n", n > 0);
	__asm__ volatile("1: jmp 2f\n 2: cmpb $0, %0\n je 1b" : "+m"(ticked));
	ticked = false;
	HC1(set_timer_op, pvg_now() + 5000000);
	__asm__ volatile("1: cmpb $0, %0\n je 1b" : "+m"(ticked)::"memory", "cc");
	printf("and the tightest one\n");
	{
		u64 sum = 0, a = 1, b = 2, c = 3, d = 4;

		/* registers and flags survive it */
		ticked = false;
		HC1(set_timer_op, pvg_now() + 5000000);
		__asm__ volatile("1: addq $1, %1\n adcq $1, %2\n addq $1, %3\n adcq $1, %4\n"
				 "cmpb $0, %0\n je 1b"
				 : "+m"(ticked), "+r"(a), "+r"(b), "+r"(c), "+r"(d)::"memory",
				   "cc");
		sum = (a - 1) + (b - 2) + (c - 3) + (d - 4);
		printf("registers survive interruption: %d\n", sum == 4 * (a - 1));
	}
}

void guest_main(void)
{
	struct evtchn_bind_ipi b = {.vcpu = 0};

	pvg_events_init();
	pvg_traps_init();
	HC3(vcpu_op, VCPUOP_stop_periodic_timer, 0, 0);
	HC2(event_channel_op, EVTCHNOP_bind_ipi, &b);
	port = b.port;
	HC2(event_channel_op, EVTCHNOP_bind_ipi, &b);
	port2 = b.port;
	pvg_sti();
	in_trap();
	by_iret();
	by_hypercall();
	nested();
	fault_and_event();
	flags();
	words();
	loop();
}
