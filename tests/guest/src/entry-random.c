/* SPDX-License-Identifier: MIT */
/*
 * Random walks over where the kernel is entered: trap tables in all shapes, callbacks, NMIs, kernel
 * stacks. After each change a vector is raised, from the kernel or from a program: who took it,
 * with which mask, on which stack.
 */
#include "pvg.h"

#include <xen/nmi.h>

#define WALKS	8
#define STEPS	640
#define HOLE	0x600000000000ul
#define XEN	0xffff82d040200000ul
/* Where Xen could be, but neither Xen nor its guest has anything. */
#define NOWHERE 0xffff87ff00000000ul
#define PROGRAM 0x400000ul

/*
 * Vectors that the walk plays with, and what raises them: `int n` only where the processor has an
 * open gate under Xen (QEMU gets the error code of the others wrong).
 */
static const u8 vectors[] = {0, 3, 4, 6, 0x80};
INSN(v0, "xorl %ecx, %ecx\n div %ecx");
INSN(v3, "int3");
INSN(v4, "int $4");
INSN(v6, "ud2");
INSN(v80, "int $0x80");
static void (*const raisers[])(void) = {t_v0, t_v3, t_v4, t_v6, t_v80};

static u64 extra, who;
static struct trap_info *edge; /* the end of a page, behind which is a hole */
static u8 *stack, *program;

/* Two handlers for anything, which say that it was them; they go on behind a fault. */
void er_first(void);
void er_second(void);
u64 er_seen[4], er_skip;
__asm__(".text\n.globl er_first, er_second\n"
	"er_first: movq $1, er_seen(%rip)\n jmp 1f\n"
	"er_second: movq $2, er_seen(%rip)\n"
	"1: movq %rsp, er_seen+8(%rip)\n"
	"movl %ss, %ecx\n movq %rcx, er_seen+16(%rip)\n"
	"movl %cs, %ecx\n movq %rcx, er_seen+24(%rip)\n"
	"popq %rcx\n popq %r11\n jmp er_common\n"
	"er_common: pushq %rax\n pushq %rcx\n pushq %rdx\n pushq %r11\n"
	"movq %rsp, %rdi\n call er_note\n"
	"popq %r11\n popq %rdx\n popq %rcx\n popq %rax\n"
	"pushq $0\n pushq %rcx\n pushq %r11\n pushq %rax\n movl $23, %eax\n syscall\n");

void er_note(u64 *saved);
void er_note(u64 *saved)
{
	u64 *f = saved + 4; /* rip, cs, rflags */

	who = er_seen[0] | (u64)VCPU0->evtchn_upcall_mask << 4 | (er_seen[1] & 15) << 8 |
	      er_seen[2] << 16 | er_seen[3] << 32;
	who = pvg_mix(who, f[1]);	     /* cs, and the mask in it */
	who = pvg_mix(who, f[2] & ~0x8d5ul); /* rflags without what arithmetic left */
	SAY(" [handler %ld mask %d rsp %lx cs %lx flags %lx]", er_seen[0],
	    VCPU0->evtchn_upcall_mask, er_seen[1] & 0xfff, f[1], f[2]);
	f[0] += er_skip;
}

static u64 address(void)
{
	const u64 good[] = {(u64)er_first, (u64)er_second};
	static const u64 odd[] = {HOLE,	     NOWHERE,	0,	    1,	 (1ul << 47) - 1,
				  1ul << 47, 1ul << 63, ~0ul << 47, ~0ul};

	return pvg_rnd() % 4 ? PICK(good) : PICK(odd);
}

static u16 selector(void)
{
	static const u16 s[] = {KERNEL_CS, KERNEL_CS, KERNEL_CS, KERNEL_CS & ~3u, 0,
				0xe008,	   0x10,      0x33,	 0xffff};

	return PICK(s);
}

static long trap_table(void)
{
	struct trap_info t[6], *at;
	unsigned int n = (unsigned int)(pvg_rnd() % 6), k = (unsigned int)(pvg_rnd() % 12);
	long r;

	memset(t, 0, sizeof(t));
	for (unsigned int i = 0; i < n; i++) {
		t[i].vector = PICK(vectors);
		t[i].flags = (u8)(pvg_rnd() % 8 ? 3 | (pvg_rnd() & 1) << 2 : pvg_rnd() & 0xff);
		t[i].cs = selector();
		t[i].address = address();
		SAY("{%x %x %x %lx} ", t[i].vector, t[i].flags, t[i].cs,
		    t[i].address - (u64)er_first);
	}
	t[n].vector = PICK(vectors);
	t[n].flags = (u8)pvg_rnd();
	at = edge - (n + 1);
	if (k == 0)
		at = (struct trap_info *)HOLE;
	else if (k == 1)
		at = (struct trap_info *)XEN;
	else if (k == 2)
		at = (struct trap_info *)(1ul << 63);
	else if (k == 3)
		at++; /* no end: the page's is it */
	else if (k == 4)
		at = (struct trap_info *)((u64)at + 8); /* the last one in half */
	if (k > 2)
		memcpy(at, t, (size_t)((u8 *)edge - (u8 *)at));
	r = HC1(set_trap_table, at);
	SAY("set_trap_table of %d, kind %d", n, k);
	return r;
}

static long callback(void)
{
	struct callback_register c;
	struct callback_unregister u;
	static const u16 types[] = {0, 1, 2, 3, 5, 6, 7, 8, 9, 255, 65535};
	void *at = &c;
	bool undo = pvg_rnd() % 4 == 0;
	unsigned int k = (unsigned int)(pvg_rnd() % 10);

	memset(&c, 0, sizeof(c));
	c.type = PICK(types);
	c.flags = (u16)(pvg_rnd() % 4 ? pvg_rnd() & 1 : pvg_rnd());
	c.address = address();
	/* An entry for events that is no code would be the end at the next event. */
	if (c.type == CALLBACKTYPE_event && c.address >> 47 == 0)
		c.address = 1ul << 63;
	if (c.type == CALLBACKTYPE_event && c.address >> 47 == 0x1ffff)
		c.address = (u64)pvg_event_entry;
	if (c.type == CALLBACKTYPE_failsafe || c.type == CALLBACKTYPE_syscall)
		c.address |= 1ul << 62; /* refused or not, it is not used by what follows */
	u.type = c.type;
	u._unused = 0;
	if (undo)
		at = &u;
	if (k == 0)
		at = (void *)HOLE;
	if (k == 1)
		at = (void *)XEN;
	SAY("callback_op %d type %d flags %x address %lx at %lx", undo, c.type, c.flags, c.address,
	    k < 2 ? (u64)at : 0);
	if (pvg_rnd() % 16 == 0)
		return HC2(callback_op, 2 + pvg_rnd() % 1000, at);
	return HC2(callback_op, undo ? CALLBACKOP_unregister : CALLBACKOP_register, at);
}

/* NMIs: registered by either call, raised, and taken back. */
static long nmi(void)
{
	struct xennmi_callback x = {.handler_address = address()};
	struct callback_register c = {.type = CALLBACKTYPE_nmi, .flags = 0};
	bool good = x.handler_address == (u64)er_first || x.handler_address == (u64)er_second;
	void *at = pvg_rnd() % 8 ? (void *)&x : pvg_rnd() & 1 ? (void *)HOLE : (void *)XEN;
	long r;

	c.address = x.handler_address;
	SAY("nmi %lx", x.handler_address);
	switch (pvg_rnd() % 4) {
	case 0:
		r = HC2(nmi_op, XENNMI_register_callback, at);
		break;
	case 1:
		r = HC2(callback_op, CALLBACKOP_register, &c);
		break;
	case 2:
		good = false;
		r = HC2(nmi_op, XENNMI_unregister_callback, at);
		break;
	default:
		return HC2(nmi_op, 2 + pvg_rnd() % 8, at);
	}
	if (r == 0 && good) {
		VCPU0->evtchn_upcall_mask = pvg_rnd() & 1;
		extra = pvg_mix(extra, (u64)HC3(vcpu_op, VCPUOP_send_nmi, 0, 0));
		extra = pvg_mix(extra, VCPU0->evtchn_upcall_mask);
	}
	HC2(nmi_op, XENNMI_unregister_callback, 0);
	return r;
}

static long set_callbacks(void)
{
	static const u64 odd[] = {1ul << 63, 1ul << 47, (~0ul << 47) - 1};
	u64 event = pvg_rnd() & 1 ? (u64)pvg_event_entry : PICK(odd);
	u64 failsafe = pvg_rnd() & 1 ? (u64)pvg_failsafe_entry : PICK(odd);

	SAY("set_callbacks %lx %lx", event, failsafe);
	return HC3(set_callbacks, event, failsafe,
		   pvg_rnd() & 1 ? (u64)pvg_user_syscall : PICK(odd));
}

/* In the kernel, or in a program on the stack that was last named. */
static long raise(void)
{
	unsigned int k = (unsigned int)(pvg_rnd() % ARRAY_SIZE(vectors));
	bool mask = pvg_rnd() & 1;

	SAY("vector %x, mask %d", vectors[k], mask);
	who = 0;
	er_skip = vectors[k] == 0 || vectors[k] == 6 ? 2 : 0;
	VCPU0->evtchn_upcall_mask = mask;
	er_seen[0] = 0;
	if (pvg_try(raisers[k])) {
		const struct trap_frame *f = &pvg_caught.f;
		u64 fault = f->vector == 14 ? pvg_caught.cr2 : f->rip - (u64)raisers[k];

		SAY(" [vector %ld error %lx at %lx]", f->vector, f->error, fault);
		extra = pvg_mix(pvg_mix(extra, f->vector << 32 | f->error), fault);
		return (long)(f->vector == 14 ? 2 : f->vector == 13 ? 3 : 4);
	}
	extra = pvg_mix(pvg_mix(extra, who), VCPU0->evtchn_upcall_mask);
	return who != 0;
}

static long run_program(void)
{
	static const u64 sels[] = {KERNEL_DS, KERNEL_DS & ~3u, 0, 0xe010, 0x2b, ~0ul};
	u64 off = pvg_rnd() % 4 ? 0 : pvg_rnd() % 64, ss = PICK(sels);
	long r = HC2(stack_switch, ss, (u64)stack + PAGE_SIZE - off);

	struct callback_register c = {.type = CALLBACKTYPE_syscall,
				      .address = (u64)pvg_user_syscall};

	c.flags = (u16)(pvg_rnd() & 3);
	HC2(callback_op, CALLBACKOP_register, &c);
	program[0] = pvg_rnd() & 1 ? 0x0f : 0xf4; /* a system call, or hlt */
	program[1] = 0x05;
	VCPU0->evtchn_upcall_mask = 0;
	pvg_user_defaults(PROGRAM, PROGRAM + 2048);
	pvg_trap_hook = pvg_user_trap;
	pvg_user_go();
	pvg_trap_hook = NULL;
	SAY("program %x with stack -%ld ss %lx: how %d, flags %x", program[0], off, ss,
	    pvg_user.how, c.flags);
	extra = pvg_mix(extra, (u64)pvg_user.how | pvg_user.mask << 8);
	extra = pvg_mix(extra, pvg_user.f.cs);
	extra = pvg_mix(extra, pvg_user.f.ss << 32 | pvg_user.f.rsp);
	return r;
}

static long one(void)
{
	switch (pvg_rnd() % 16) {
	case 0 ... 3:
		return trap_table();
	case 4 ... 5:
		return callback();
	case 6:
		return nmi();
	case 7:
		return set_callbacks();
	case 8:
		return run_program();
	default:
		return raise();
	}
}

static u64 state(void)
{
	return extra;
}

void guest_main(void)
{
	u64 *l1;

	pvg_events_init();
	pvg_traps_init();
	edge = pvg_edge_alloc();
	stack = pvg_page_alloc();
	program = pvg_page_alloc();
	l1 = pvg_user_space(PROGRAM);
	l1[L1X(PROGRAM)] = pvg_mfn_of(program) << 12 | PTE_KERN | PTE_US;
	printf("user space: %le\n", pvg_user_space_use());
	for (unsigned int walk = 0; walk < WALKS; walk++) {
		pvg_seed(walk + 8000);
		extra = 0;
		pvg_events_init();
		pvg_traps_init();
		printf("walk %d\n", walk);
		pvg_walk(walk, STEPS, one, state);
	}
	pvg_traps_init();
}
