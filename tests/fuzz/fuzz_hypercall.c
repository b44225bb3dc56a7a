/* SPDX-License-Identifier: MIT */
/*
 * A guest that calls any hypercall with any arguments, executes any system instruction, faults and
 * is interrupted at will. Each input is a list of such actions; after each one the core's own
 * bookkeeping is checked. Memory errors are the sanitizers' business.
 */
#include <stdio.h>
#include <stdlib.h>

#include "input.h"

#include "../unit/core/harness.h"

#include <xen/event_channel.h>
#include <xen/grant_table.h>

#define MAX_ACTIONS 300u
#define NR_VCPUS    2u

static uint64_t raw(struct input *in, unsigned int bytes)
{
	uint64_t v = 0;

	for (unsigned int i = 0; i < bytes; i++)
		v |= (uint64_t)byte(in) << (i * 8);
	return v;
}

/* Values that mean something: pages, edges, small numbers; now and then anything. */
static uint64_t value(struct input *in)
{
	static const uint64_t special[] = {
		0,
		1,
		2,
		DOMID_SELF,
		DOMID,
		VA(PG_ARG),
		VA(PG_ARG) + 8,
		VA(PG_DATA),
		VA(PG_HOLE) - 8,
		VA(PG_HOLE),
		VA(PG_READONLY),
		VA(PG_FREE),
		STACK_TOP - 72,
		UNMAPPED,
		0x7fffffffffff,
		0x800000000000,
		0xffff800000000000,
		0xffff880000000000,
		~0ull,
		~0ull - 7,
		0x7fffffff,
		0x80000000,
		0xffffffff,
		PG_FREE,
		PG_L1,
		PG_L4,
		PG_USER_L4,
		PG_GDT,
		SHARED_INFO,
		GRANT_FIRST,
		M2P,
		NR_FRAMES,
	};
	uint8_t b = byte(in);

	if (b < 0x40)
		return b;
	if (b < 0xe0)
		return special[b % 32];
	return raw(in, 1 + b % 8);
}

static void require(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "fuzz_hypercall: %s\n", what);
	abort();
}

static void check_ports(const struct dom *t)
{
	const struct core_domain *d = t->d;

	for (uint32_t p = 0; p < d->max_ports; p++) {
		const struct core_evtchn *e = &d->evtchn[p];

		require(e->vcpu < NR_VCPUS, "a port notifies a vCPU that does not exist");
		if (e->state == ECS_INTERDOMAIN) {
			const struct core_evtchn *peer = &d->evtchn[e->remote_port];

			require(e->remote_port < d->max_ports && peer->state == ECS_INTERDOMAIN &&
					peer->remote_port == p,
				"the two ends of a channel disagree");
		}
		if (e->state == ECS_VIRQ)
			require(d->vcpu[e->vcpu].virq_port[e->virq] == p ||
					e->virq > VIRQ_DEBUG, /* global ones may move */
				"a VIRQ does not know its port");
	}
}

static void check_vcpu(const struct dom *t, const struct core_vcpu *v)
{
	const struct vcpu_runstate_info *r = &v->runstate;

	if (v->is_initialised) {
		require((v->regs.rflags & CORE_FLAG_IF) && !(v->regs.rflags & CORE_FLAG_IOPL),
			"rflags are not those of a guest");
		require((v->regs.cs & 3) == 3 && (v->regs.ss & 3) == 3, "not at ring 3");
		require(v->kernel_root < NR_FRAMES, "no kernel root");
		require(v->kernel_mode || v->user_root < NR_FRAMES, "user mode without a root");
	}
	require(r->time[0] + r->time[1] + r->time[2] + r->time[3] <= core_time_now(&t->c),
		"runstate times are ahead of the clock");
	require(v->gdt_ents <= FIRST_RESERVED_GDT_ENTRY, "the GDT is too long");
	require(v->vcpu_info + sizeof(struct vcpu_info) <= (uint64_t)NR_FRAMES << 12,
		"vcpu_info is outside memory");
}

static void check(const struct dom *t)
{
	const struct core_domain *d = t->d;

	require(d->mm_lock == 0 && d->event_lock == 0 && d->grant_lock == 0 && d->sched_lock == 0 &&
			d->console_lock == 0,
		"a lock is held");
	require(!t->c.hc.in_multicall && !t->c.hc.preempted, "a hypercall left its state behind");
	require(t->ctl.run_state != CORE_STATE_CRASHED ||
			(t->ctl.reason[0] != '\0' &&
			 memchr(t->ctl.reason, 0, sizeof(t->ctl.reason)) != NULL),
		"a crash without a reason");
	if (d->stop)
		return; /* half-done state of a dead guest is nobody's concern */
	check_ports(t);
	for (unsigned int i = 0; i < NR_VCPUS; i++)
		check_vcpu(t, &d->vcpu[i]);
}

/* ---- actions ----------------------------------------------------------------------------- */

static void hypercall(struct dom *t, struct input *in)
{
	struct core_regs *r = &t->c.v->regs;
	uint8_t nr = byte(in);

	r->gpr[R_RAX] = nr < 0xf0 ? nr % 44 : value(in);
	r->gpr[R_RDI] = value(in);
	r->gpr[R_RSI] = value(in);
	r->gpr[R_RDX] = value(in);
	r->gpr[R_R10] = value(in);
	t->ctl.vcpu[0].kick = byte(in) & 1; /* preempt it, or not */
	core_hypercall(&t->c);
}

/* A sub-operation with its structure filled in, the way guests call. */
static void operation(struct dom *t, struct input *in)
{
	static const uint8_t nrs[] = {
		__HYPERVISOR_event_channel_op, __HYPERVISOR_grant_table_op,
		__HYPERVISOR_sched_op,	       __HYPERVISOR_vcpu_op,
		__HYPERVISOR_physdev_op,       __HYPERVISOR_callback_op,
		__HYPERVISOR_mmuext_op,	       __HYPERVISOR_memory_op,
		__HYPERVISOR_xen_version,      __HYPERVISOR_multicall,
		__HYPERVISOR_set_trap_table,   __HYPERVISOR_set_gdt,
	};
	struct core_regs *r = &t->c.v->regs;
	uint8_t nr = nrs[byte(in) % sizeof(nrs)], cmd = byte(in) % 34;
	uint64_t words[6];

	for (unsigned int i = 0; i < 6; i++) {
		words[i] = value(in);
		if (byte(in) & 1) /* two 32-bit fields */
			words[i] = (uint32_t)words[i] | value(in) << 32;
	}
	memcpy(page_ptr(t, PG_ARG), words, sizeof(words));
	r->gpr[R_RAX] = nr;
	r->gpr[R_RDI] = cmd;
	r->gpr[R_RSI] = VA(PG_ARG);
	r->gpr[R_RDX] = byte(in) % 4;
	r->gpr[R_R10] = DOMID_SELF;
	if (nr == __HYPERVISOR_vcpu_op) {
		r->gpr[R_RSI] = byte(in) % 3;
		r->gpr[R_RDX] = VA(PG_ARG);
	} else if (nr == __HYPERVISOR_mmuext_op || nr >= __HYPERVISOR_multicall) {
		if (nr == __HYPERVISOR_mmuext_op || nr == __HYPERVISOR_multicall) {
			r->gpr[R_RDI] = VA(PG_ARG);
			r->gpr[R_RSI] = byte(in) % 4;
		}
	}
	core_hypercall(&t->c);
}

static void instruction(struct dom *t, struct input *in)
{
	static const uint8_t starts[][3] = {
		{0x0f, 0x20}, {0x0f, 0x22}, {0x0f, 0x21}, {0x0f, 0x23}, {0x0f, 0x30}, {0x0f, 0x32},
		{0x0f, 0x01}, {0x0f, 0x00}, {0x0f, 0x02}, {0x0f, 0x03}, {0x8c},	      {0x8e},
		{0xcf},	      {0x48, 0xcf}, {0xcb},	  {0xff},	{0x9c},	      {0x9d},
		{0x6c},	      {0x6e},	    {0xf3, 0x6d}, {0xe4},	{0xef},	      {0x0f, 0xa1},
		{0x0f, 0xb2}, {0x0f, 0xb5}, {0xcd},	  {0x0f, 0x0b}, {0x0f, 0x05}, {0xf4},
	};
	uint8_t bytes[16], choice = byte(in);

	for (unsigned int i = 0; i < sizeof(bytes); i++)
		bytes[i] = byte(in);
	if (choice < 0xc0)
		memcpy(bytes, starts[choice % 30], starts[choice % 30][1] != 0 ? 2 : 1);
	if (!t->c.v->kernel_mode)
		memcpy(page_ptr(t, PG_USER), bytes, sizeof(bytes));
	else
		memcpy(page_ptr(t, PG_CODE), bytes, sizeof(bytes));
	t->c.v->regs.rip = t->c.v->kernel_mode ? VA(PG_CODE) : USER_VA;
	if (byte(in) & 1)
		core_emulate(&t->c);
	else
		core_exception(&t->c, choice & 1 ? 13 : 6, 0, 0);
}

static void iret(struct dom *t, struct input *in)
{
	struct iret_context f = {
		.rax = value(in),
		.flags = byte(in),
		.rip = value(in),
		.cs = byte(in) & 1   ? FLAT_USER_CS64
		      : byte(in) & 1 ? 0xe030
				     : value(in),
		.rflags = raw(in, 3),
		.rsp = value(in),
		.ss = byte(in) & 1 ? FLAT_USER_SS64 : value(in),
	};

	if (!t->c.v->kernel_mode)
		core_user_syscall(&t->c);
	if (t->d->stop)
		return;
	t->c.v->regs.gpr[R_RSP] = STACK_TOP - sizeof(f);
	memcpy(t->ram + STACK_TOP - sizeof(f), &f, sizeof(f));
	t->c.v->regs.gpr[R_RAX] = __HYPERVISOR_iret;
	core_hypercall(&t->c);
}

static void library(struct dom *t, struct input *in)
{
	uint32_t port = byte(in);

	switch (byte(in) % 4) {
	case 0:
		t->ctl.inbound[port / 64] |= 1ull << (port % 64);
		t->ctl.inbound_any |= 1ull << (port / 64);
		t->ctl.vcpu[0].kick = 1;
		break;
	case 1:
		t->ctl.bound[port / 64] ^= 1ull << (port % 64);
		break;
	case 2:
		t->ctl.request ^= CORE_REQ_PAUSE;
		break;
	default:
		t->ctl.ns_base += port;
		t->ctl.vcpu[0].stolen_ns += raw(in, 4);
		t->ctl.vcpu[0].kick = 1;
		break;
	}
}

static void action(struct dom *t, struct input *in)
{
	struct core_vcpu *v = t->c.v;

	switch (byte(in) % 12) {
	case 0:
	case 1:
		hypercall(t, in);
		break;
	case 2:
	case 3:
		operation(t, in);
		break;
	case 4:
		t->tsc += raw(in, 3);
		(void)core_next(&t->c);
		break;
	case 5:
		core_exception(&t->c, byte(in) % 32, (uint32_t)value(in), value(in));
		break;
	case 6:
		core_soft_interrupt(&t->c, byte(in), 2);
		break;
	case 7:
	case 8:
		instruction(t, in);
		break;
	case 9:
		iret(t, in);
		break;
	case 10:
		library(t, in);
		break;
	default: /* the guest writes: its registers, its shared pages */
		switch (byte(in) % 4) {
		case 0:
			v->regs.gpr[byte(in) & 15] = value(in);
			break;
		case 1:
			v->regs.gpr[R_RSP] = STACK_TOP;
			break;
		case 2:
			((uint64_t *)page_ptr(t, SHARED_INFO))[raw(in, 2) % 512] = value(in);
			break;
		default:
			((uint64_t *)page_ptr(t, GRANT_FIRST))[byte(in) % 64] = value(in);
			break;
		}
		break;
	}
}

/* A guest that has set itself up: inputs need not discover that first. */
static void start(struct dom *t)
{
	struct grant_entry_v1 *g = page_ptr(t, GRANT_FIRST);

	dom_reset(t, NR_VCPUS);
	require(core_domain_init(&t->c), "the domain does not start");
	for (unsigned int vector = 0; vector < 20; vector++)
		set_trap(t, vector, 0);
	set_trap(t, 0x80, 3);
	set_event_callback(t);
	enter_user(t);
	t->c.v->kernel_sp = STACK_TOP;
	core_exception(&t->c, 0, 0, 0);
	for (unsigned int ref = 8; ref < 12; ref++)
		g[ref] = (struct grant_entry_v1){.flags = GTF_permit_access |
							  (ref & 1 ? GTF_readonly : 0),
						 .domid = DOMID,
						 .frame = PG_FREE + ref};
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	static struct dom *t; /* one for all inputs: a new one costs more than most of them */

	if (t == NULL)
		t = dom_raw(NR_VCPUS);
	start(t);
	for (unsigned int n = 0; n < MAX_ACTIONS && in.size > 0; n++) {
		action(t, &in);
		check(t);
		if (t->d->stop)
			start(t);
	}
	return 0;
}
