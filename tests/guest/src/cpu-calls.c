/* SPDX-License-Identifier: MIT */
/* Hypercalls about the virtual processor: trap table, callbacks, stack, iret; legal and not. */
#include "pvg.h"

static void trap_tables(void)
{
	struct trap_info t[3];

	memset(t, 0, sizeof(t));
	t[0].vector = 6;
	t[0].cs = KERNEL_CS;
	t[0].address = pvg_trap_stubs[6];
	R("set_trap_table, one entry", HC1(set_trap_table, t));
	t[0].address = 1ul << 63;
	R("set_trap_table, non-canonical address", HC1(set_trap_table, t));
	t[0].address = 0xffff82d040200000;
	R("set_trap_table, address in Xen", HC1(set_trap_table, t));
	t[0].address = pvg_trap_stubs[6];
	t[0].cs = 0xe008;
	R("set_trap_table, Xen's cs", HC1(set_trap_table, t));
	t[0].cs = 0;
	R("set_trap_table, null cs", HC1(set_trap_table, t));
	t[0].cs = KERNEL_CS & ~3u;
	R("set_trap_table, cs with RPL 0", HC1(set_trap_table, t));
	pvg_traps_init();
	R("set_trap_table at a bad pointer", HC1(set_trap_table, 0x600000000000));
	R("set_trap_table in Xen", HC1(set_trap_table, 0xffff82d040200000));
	pvg_traps_init();
}

INSN(ud2, "ud2");
u64 cs_seen, flags_seen;
/* A handler registered with cs RPL 0 runs like any other. */
static void odd_gates(void)
{
	struct trap_info t[2];

	memset(t, 0, sizeof(t));
	t[0].vector = 6;
	t[0].cs = KERNEL_CS & ~3u;
	t[0].address = pvg_trap_stubs[6];
	HC1(set_trap_table, t);
	pvg_report("ud2 with a gate of cs RPL 0", t_ud2);
	t[0].flags = 0xf8; /* reserved bits */
	t[0].cs = KERNEL_CS;
	R("set_trap_table, reserved flags", HC1(set_trap_table, t));
	pvg_report("ud2 with it", t_ud2);
	pvg_traps_init();
}

static void callbacks(void)
{
	struct callback_register c = {.type = CALLBACKTYPE_event, .flags = 0};
	struct callback_unregister u = {.type = CALLBACKTYPE_event};

	for (unsigned int type = 0; type < 9; type++) {
		long r, q;

		if (type == CALLBACKTYPE_event || type == CALLBACKTYPE_failsafe)
			continue;
		c.type = (u16)type;
		c.address = (u64)pvg_event_entry;
		r = HC2(callback_op, CALLBACKOP_register, &c);
		u.type = (u16)type;
		q = HC2(callback_op, CALLBACKOP_unregister, &u);
		printf("callback type %d: register %le, unregister %le\n", type, r, q);
	}
	c.type = CALLBACKTYPE_event;
	c.address = 1ul << 63;
	R("register event, non-canonical", HC2(callback_op, CALLBACKOP_register, &c));
	c.address = 0xffff82d040200000;
	R("register event, in Xen", HC2(callback_op, CALLBACKOP_register, &c));
	c.address = (u64)pvg_event_entry;
	c.flags = 0xfffe;
	R("register event, unknown flags", HC2(callback_op, CALLBACKOP_register, &c));
	u.type = CALLBACKTYPE_event;
	R("unregister event", HC2(callback_op, CALLBACKOP_unregister, &u));
	u.type = CALLBACKTYPE_failsafe;
	R("unregister failsafe", HC2(callback_op, CALLBACKOP_unregister, &u));
	R("callback_op 2", HC2(callback_op, 2, &u));
	R("callback_op at a bad pointer", HC2(callback_op, CALLBACKOP_register, 0x600000000000));
	R("set_callbacks", HC3(set_callbacks, pvg_event_entry, pvg_failsafe_entry, 0));
	R("set_callbacks, non-canonical", HC3(set_callbacks, 1ul << 63, pvg_failsafe_entry, 0));
	R("set_callbacks", HC3(set_callbacks, pvg_event_entry, pvg_failsafe_entry, 0));
}

static void stacks(void)
{
	R("stack_switch", HC2(stack_switch, KERNEL_DS, (u64)pvg_image + 0x8000));
	R("stack_switch, ss RPL 0", HC2(stack_switch, KERNEL_DS & ~3u, (u64)pvg_image + 0x8000));
	R("stack_switch, null ss", HC2(stack_switch, 0, (u64)pvg_image + 0x8000));
	R("stack_switch, Xen's ss", HC2(stack_switch, 0xe010, (u64)pvg_image + 0x8000));
	R("stack_switch, non-canonical", HC2(stack_switch, KERNEL_DS, 1ul << 63));
	R("stack_switch, in Xen", HC2(stack_switch, KERNEL_DS, 0xffff82d040200000));
	R("stack_switch, odd", HC2(stack_switch, KERNEL_DS, (u64)pvg_image + 0x8001));
}

u64 iret_seen[3], iret_target;
/* iret with each part of the frame chosen; resumes at `1:` with everything else intact. */
static void do_iret(u64 cs, u64 ss, u64 flags)
{
	__asm__ volatile("movq %%rsp, %%rax\n"
			 "pushq %1\n"
			 "pushq %%rax\n"
			 "pushq %2\n"
			 "pushq %0\n"
			 "leaq 1f(%%rip), %%rax\n"
			 "movq %%rax, iret_target(%%rip)\n"
			 "pushq %%rax\n"
			 "pushq $0\n"	   /* VGCF flags */
			 "pushq $0x1111\n" /* rcx */
			 "pushq $0x2222\n" /* r11 */
			 "pushq $0x3333\n" /* rax */
			 "movl $23, %%eax\n"
			 "syscall\n"
			 "1:\n"
			 "movl %%cs, %%edx\n"
			 "movq %%rdx, cs_seen(%%rip)\n"
			 "pushfq\n"
			 "popq flags_seen(%%rip)\n"
			 "movq %%rax, iret_seen(%%rip)\n"
			 "movq %%rcx, iret_seen+8(%%rip)\n"
			 "movq %%r11, iret_seen+16(%%rip)\n"
			 "pushq $0x202\n"
			 "popfq\n" ::"r"(cs),
			 "r"(ss), "r"(flags)
			 : "rax", "rcx", "rdx", "r11", "memory", "cc");
}

static void iret(const char *name, u64 cs, u64 ss, u64 flags)
{
	bool t;

	VCPU0->evtchn_upcall_mask = 0;
	t = pvg_try3(do_iret, cs, ss, flags);
	if (t) {
		const struct trap_frame *f = &pvg_caught.f;

		printf("iret %s: %s", name, pvg_vector_name((unsigned int)f->vector));
		if (f->vector == 257)
			printf(", frame cs %lx ss %lx, segments %lx %lx %lx %lx", f->cs, f->ss,
			       pvg_failsafe_segs[0], pvg_failsafe_segs[1], pvg_failsafe_segs[2],
			       pvg_failsafe_segs[3]);
		else if (f->error != TRAP_NO_ERROR)
			printf(" error %lx, frame cs %lx ss %lx, rip is the target: %d, rflags %lx",
			       f->error, f->cs, f->ss, f->rip == iret_target, f->rflags);
		printf("\n");
		return;
	}
	printf("iret %s: cs %lx, rflags %lx, mask %d\n", name, cs_seen, flags_seen,
	       VCPU0->evtchn_upcall_mask);
}

static void irets(void)
{
	iret("plain, cs RPL 0", KERNEL_CS & ~3u, KERNEL_DS, 0x202);
	printf("  rax %lx, rcx %lx, r11 %lx\n", iret_seen[0], iret_seen[1], iret_seen[2]);
	iret("cs RPL 1", (KERNEL_CS & ~3u) | 1, KERNEL_DS, 0x202);
	iret("cs RPL 2", (KERNEL_CS & ~3u) | 2, KERNEL_DS, 0x202);
	iret("IF clear", KERNEL_CS & ~3u, KERNEL_DS, 0x2);
	iret("mask in cs, IF set", (KERNEL_CS & ~3ul) | 1ul << 32, KERNEL_DS, 0x202);
	iret("rflags IOPL 3, VM, VIP, VIF, RF", KERNEL_CS & ~3u, KERNEL_DS, 0x1b3202);
	iret("rflags NT, AC, ID, DF", KERNEL_CS & ~3u, KERNEL_DS, 0x244602);
	iret("ss RPL 0", KERNEL_CS & ~3u, KERNEL_DS & ~3u, 0x202);
	iret("ss null", KERNEL_CS & ~3u, 0, 0x202);
	iret("ss null RPL 3", KERNEL_CS & ~3u, 3, 0x202);
	iret("ss bad", KERNEL_CS & ~3u, 0x1000, 0x202);
	iret("ss user", KERNEL_CS & ~3u, FLAT_USER_SS64, 0x202);
	iret("cs bad", 0x1000, KERNEL_DS, 0x202);
	iret("cs null", 0, KERNEL_DS, 0x202);
	iret("cs user with RPL 0", FLAT_USER_CS64 & ~3u, KERNEL_DS, 0x202);
	iret("cs is data", KERNEL_DS & ~3u, KERNEL_DS, 0x202);
	iret("Xen's cs", 0xe008, KERNEL_DS, 0x202);
	iret("single step", KERNEL_CS & ~3u, KERNEL_DS, 0x302);
}

void guest_main(void)
{
	pvg_events_init();
	pvg_traps_init();
	trap_tables();
	odd_gates();
	callbacks();
	stacks();
	irets();
}
