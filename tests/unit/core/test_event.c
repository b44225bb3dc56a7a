/* SPDX-License-Identifier: MIT */
/* Event channels: every operation, its errors, and delivery. */
#include "harness.h"

#include <xen/event_channel.h>
#include <xen/vcpu.h>

static uint32_t alloc_for(struct dom *t, domid_t remote)
{
	struct evtchn_alloc_unbound op = {.dom = DOMID_SELF, .remote_dom = remote};

	assert_int_equal(EVTCHN(t, EVTCHNOP_alloc_unbound, &op), 0);
	return op.port;
}

static uint32_t ipi(struct dom *t, uint32_t vcpu)
{
	struct evtchn_bind_ipi op = {.vcpu = vcpu};

	assert_int_equal(EVTCHN(t, EVTCHNOP_bind_ipi, &op), 0);
	return op.port;
}

static long send(struct dom *t, uint32_t port)
{
	struct evtchn_send op = {.port = port};

	return EVTCHN(t, EVTCHNOP_send, &op);
}

static long close_port(struct dom *t, uint32_t port)
{
	struct evtchn_close op = {.port = port};

	return EVTCHN(t, EVTCHNOP_close, &op);
}

static struct evtchn_status status(struct dom *t, uint32_t port)
{
	struct evtchn_status op = {.dom = DOMID_SELF, .port = port};

	assert_int_equal(EVTCHN(t, EVTCHNOP_status, &op), 0);
	return op;
}

static bool pending(struct dom *t, uint32_t port)
{
	return core_shared_info(&t->c)->evtchn_pending[port / 64] >> (port % 64) & 1;
}

static void mask(struct dom *t, uint32_t port)
{
	core_shared_info(&t->c)->evtchn_mask[port / 64] |= 1ull << (port % 64);
}

static struct vcpu_info *info(struct dom *t)
{
	return core_vcpu_info(&t->c, t->c.v);
}

static void bind_library(struct dom *t, uint32_t port)
{
	t->ctl.bound[port / 64] |= 1ull << (port % 64);
}

static void raise_from_library(struct dom *t, uint32_t port)
{
	t->ctl.inbound[port / 64] |= 1ull << (port % 64);
	t->ctl.inbound_any |= 1ull << (port / 64);
	t->ctl.vcpu[0].kick = 1;
}

/* ---- allocation -------------------------------------------------------------------------- */

static void ports_are_given_out_lowest_first(void **state)
{
	struct dom *t = dom_new();

	assert_int_equal(alloc_for(t, 0), 3); /* 0 is reserved, 1 and 2 are the library's */
	assert_int_equal(alloc_for(t, 0), 4);
	assert_int_equal(close_port(t, 3), 0);
	assert_int_equal(alloc_for(t, 7), 3);
	assert_int_equal(status(t, 3).status, EVTCHNSTAT_unbound);
	assert_int_equal(status(t, 3).u.unbound.dom, 7);
	assert_int_equal(status(t, 9).status, EVTCHNSTAT_closed);
	assert_int_equal(status(t, 0).status, EVTCHNSTAT_closed);
	dom_free(t);
}

static void ports_run_out(void **state)
{
	struct dom *t = dom_new();
	struct evtchn_alloc_unbound op = {.dom = DOMID_SELF, .remote_dom = 0};

	for (unsigned int i = 3; i < 1024; i++)
		assert_int_equal(alloc_for(t, 0), i);
	assert_int_equal(EVTCHN(t, EVTCHNOP_alloc_unbound, &op), -XEN_ENOSPC);
	assert_int_equal(close_port(t, 500), 0);
	assert_int_equal(alloc_for(t, 0), 500);
	dom_free(t);
}

static void alloc_errors(void **state)
{
	struct dom *t = dom_new();
	struct evtchn_alloc_unbound op = {.dom = 0, .remote_dom = 0};

	assert_int_equal(EVTCHN(t, EVTCHNOP_alloc_unbound, &op), -XEN_EPERM);
	op.dom = 77;
	assert_int_equal(EVTCHN(t, EVTCHNOP_alloc_unbound, &op), -XEN_ESRCH);
	op.dom = DOMID; /* by its number */
	assert_int_equal(EVTCHN(t, EVTCHNOP_alloc_unbound, &op), 0);
	assert_int_equal(
		call(t, __HYPERVISOR_event_channel_op, EVTCHNOP_alloc_unbound, UNMAPPED, 0, 0),
		-XEN_EFAULT);
	/* Readable, not writable: the port is lost, as on Xen. */
	memset(page_ptr(t, PG_READONLY), 0, 4096);
	((struct evtchn_alloc_unbound *)page_ptr(t, PG_READONLY))->dom = DOMID_SELF;
	assert_int_equal(call(t, __HYPERVISOR_event_channel_op, EVTCHNOP_alloc_unbound,
			      VA(PG_READONLY), 0, 0),
			 -XEN_EFAULT);
	assert_int_equal(alloc_for(t, 0), 5);
	dom_free(t);
}

/* Ports beyond what the table has grown to do not exist yet. */
static void the_table_grows_in_steps(void **state)
{
	struct dom *t = dom_new();
	struct evtchn_status op = {.dom = DOMID_SELF, .port = 63};

	assert_int_equal(EVTCHN(t, EVTCHNOP_status, &op), 0);
	op.port = 64;
	assert_int_equal(EVTCHN(t, EVTCHNOP_status, &op), -XEN_EINVAL);
	while (alloc_for(t, 0) != 64)
		;
	assert_int_equal(EVTCHN(t, EVTCHNOP_status, &op), 0);
	op.port = 127;
	assert_int_equal(EVTCHN(t, EVTCHNOP_status, &op), 0);
	op.port = 128;
	assert_int_equal(EVTCHN(t, EVTCHNOP_status, &op), -XEN_EINVAL);
	dom_free(t);
}

/* ---- binding ----------------------------------------------------------------------------- */

static void loopback(void **state)
{
	struct dom *t = dom_new();
	uint32_t a = alloc_for(t, DOMID_SELF);
	struct evtchn_bind_interdomain op = {.remote_dom = DOMID_SELF, .remote_port = a};

	assert_int_equal(EVTCHN(t, EVTCHNOP_bind_interdomain, &op), 0);
	uint32_t b = op.local_port;

	assert_int_equal(b, a + 1);
	assert_true(pending(t, b)); /* the peer may have sent before */
	assert_int_equal(status(t, a).status, EVTCHNSTAT_interdomain);
	assert_int_equal(status(t, a).u.interdomain.dom, DOMID);
	assert_int_equal(status(t, a).u.interdomain.port, b);
	assert_int_equal(status(t, b).u.interdomain.port, a);

	assert_int_equal(send(t, b), 0);
	assert_true(pending(t, a));
	assert_int_equal(EVTCHN(t, EVTCHNOP_bind_interdomain, &op), -XEN_EINVAL); /* taken */

	assert_int_equal(close_port(t, b), 0);
	assert_int_equal(status(t, a).status, EVTCHNSTAT_unbound);
	assert_int_equal(status(t, a).u.unbound.dom, DOMID);
	assert_false(pending(t, b));
	assert_int_equal(EVTCHN(t, EVTCHNOP_bind_interdomain, &op), 0); /* and again */
	dom_free(t);
}

static void bind_interdomain_errors(void **state)
{
	struct dom *t = dom_new();
	struct evtchn_bind_interdomain op = {.remote_dom = 0, .remote_port = 1};

	assert_int_equal(EVTCHN(t, EVTCHNOP_bind_interdomain, &op), -XEN_EINVAL);
	op.remote_dom = 99;
	assert_int_equal(EVTCHN(t, EVTCHNOP_bind_interdomain, &op), -XEN_ESRCH);
	op.remote_dom = DOMID_SELF;
	op.remote_port = 5000;
	assert_int_equal(EVTCHN(t, EVTCHNOP_bind_interdomain, &op), -XEN_EINVAL);
	op.remote_port = CONSOLE_PORT; /* not for us to bind */
	assert_int_equal(EVTCHN(t, EVTCHNOP_bind_interdomain, &op), -XEN_EINVAL);
	op.remote_port = 40;
	assert_int_equal(EVTCHN(t, EVTCHNOP_bind_interdomain, &op), -XEN_EINVAL);
	assert_int_equal(alloc_for(t, 0), 3); /* nothing leaked */
	dom_free(t);
}

static void virqs(void **state)
{
	struct dom *t = dom_new_vcpus(2);
	struct evtchn_bind_virq op = {.virq = VIRQ_TIMER, .vcpu = 1};

	assert_int_equal(EVTCHN(t, EVTCHNOP_bind_virq, &op), 0);
	assert_int_equal(status(t, op.port).status, EVTCHNSTAT_virq);
	assert_int_equal(status(t, op.port).u.virq, VIRQ_TIMER);
	assert_int_equal(status(t, op.port).vcpu, 1);
	uint32_t port = op.port;

	assert_int_equal(EVTCHN(t, EVTCHNOP_bind_virq, &op), -XEN_EEXIST);
	op.vcpu = 0;
	assert_int_equal(EVTCHN(t, EVTCHNOP_bind_virq, &op), 0);
	op.vcpu = 2;
	assert_int_equal(EVTCHN(t, EVTCHNOP_bind_virq, &op), -XEN_ENOENT);
	op = (struct evtchn_bind_virq){.virq = NR_VIRQS};
	assert_int_equal(EVTCHN(t, EVTCHNOP_bind_virq, &op), -XEN_EINVAL);
	op = (struct evtchn_bind_virq){.virq = VIRQ_CONSOLE, .vcpu = 1}; /* global: vCPU 0 only */
	assert_int_equal(EVTCHN(t, EVTCHNOP_bind_virq, &op), -XEN_EINVAL);

	core_virq_raise(&t->c, &t->d->vcpu[1], VIRQ_TIMER);
	assert_true(pending(t, port));
	core_virq_raise(&t->c, &t->d->vcpu[1], VIRQ_DEBUG); /* not bound: nothing */
	assert_int_equal(close_port(t, port), 0);
	op = (struct evtchn_bind_virq){.virq = VIRQ_TIMER, .vcpu = 1};
	assert_int_equal(EVTCHN(t, EVTCHNOP_bind_virq, &op), 0);
	assert_int_equal(send(t, op.port), -XEN_EINVAL); /* not something to send to */
	dom_free(t);
}

static void ipis(void **state)
{
	struct dom *t = dom_new_vcpus(2);
	uint32_t port = ipi(t, 1);
	struct evtchn_bind_ipi op = {.vcpu = 2};

	assert_int_equal(status(t, port).status, EVTCHNSTAT_ipi);
	assert_int_equal(send(t, port), 0);
	assert_true(pending(t, port));
	assert_int_equal(core_vcpu_info(&t->c, &t->d->vcpu[1])->evtchn_upcall_pending, 1);
	assert_int_equal(info(t)->evtchn_upcall_pending, 0);
	assert_int_equal(t->kicked, 2);
	assert_int_equal(EVTCHN(t, EVTCHNOP_bind_ipi, &op), -XEN_ENOENT);
	dom_free(t);
}

static void bind_vcpu_moves_what_may_move(void **state)
{
	struct dom *t = dom_new_vcpus(2);
	struct evtchn_bind_virq timer = {.virq = VIRQ_TIMER, .vcpu = 0};
	struct evtchn_bind_virq global = {.virq = VIRQ_CONSOLE, .vcpu = 0};
	struct evtchn_bind_vcpu op = {.vcpu = 1};

	assert_int_equal(EVTCHN(t, EVTCHNOP_bind_virq, &timer), 0);
	assert_int_equal(EVTCHN(t, EVTCHNOP_bind_virq, &global), 0);
	op.port = timer.port;
	assert_int_equal(EVTCHN(t, EVTCHNOP_bind_vcpu, &op), -XEN_EINVAL);
	op.port = ipi(t, 0);
	assert_int_equal(EVTCHN(t, EVTCHNOP_bind_vcpu, &op), -XEN_EINVAL);
	op.port = 900;
	assert_int_equal(EVTCHN(t, EVTCHNOP_bind_vcpu, &op), -XEN_EINVAL);
	op.port = 5000;
	assert_int_equal(EVTCHN(t, EVTCHNOP_bind_vcpu, &op), -XEN_EINVAL);
	op.port = global.port;
	assert_int_equal(EVTCHN(t, EVTCHNOP_bind_vcpu, &op), 0);
	assert_int_equal(status(t, global.port).vcpu, 1);
	op.port = CONSOLE_PORT;
	assert_int_equal(EVTCHN(t, EVTCHNOP_bind_vcpu, &op), 0);
	op.vcpu = 2;
	assert_int_equal(EVTCHN(t, EVTCHNOP_bind_vcpu, &op), -XEN_ENOENT);

	raise_from_library(t, CONSOLE_PORT);
	assert_int_equal(core_next(&t->c), CORE_RUN);
	assert_int_equal(core_vcpu_info(&t->c, &t->d->vcpu[1])->evtchn_upcall_pending, 1);
	/* Closing puts the port back on vCPU 0. */
	close_port(t, CONSOLE_PORT);
	assert_int_equal(alloc_for(t, 0), CONSOLE_PORT);
	assert_int_equal(status(t, CONSOLE_PORT).vcpu, 0);
	dom_free(t);
}

static void pirqs_and_fifo_are_not_offered(void **state)
{
	struct dom *t = dom_new();
	struct evtchn_bind_pirq op = {.pirq = 4};

	assert_int_equal(EVTCHN(t, EVTCHNOP_bind_pirq, &op), -XEN_EPERM);
	op.pirq = 100000;
	assert_int_equal(EVTCHN(t, EVTCHNOP_bind_pirq, &op), -XEN_EINVAL);
	struct evtchn_init_control init = {.vcpu = 0};

	/* A control block where Xen would take it is refused for what it is, others for where they
	 * are. */
	init.control_gfn = ~0ull >> 12;
	assert_int_equal(EVTCHN(t, EVTCHNOP_init_control, &init), -XEN_EINVAL);
	init.control_gfn = VA(PG_ARG) >> 12;
	init.offset = 4;
	assert_int_equal(EVTCHN(t, EVTCHNOP_init_control, &init), -XEN_EINVAL);
	init.offset = 0;
	assert_int_equal(EVTCHN(t, EVTCHNOP_init_control, &init), -XEN_ENOSYS);
	init.vcpu = 1;
	assert_int_equal(EVTCHN(t, EVTCHNOP_init_control, &init), -XEN_ENOENT);
	assert_int_equal(EVTCHN(t, EVTCHNOP_expand_array, &init), -XEN_EOPNOTSUPP);
	struct evtchn_set_priority priority = {.port = CONSOLE_PORT};

	assert_int_equal(EVTCHN(t, EVTCHNOP_set_priority, &priority), -XEN_ENOSYS);
	priority.port = 5000;
	assert_int_equal(EVTCHN(t, EVTCHNOP_set_priority, &priority), -XEN_EINVAL);
	for (unsigned int cmd = 15; cmd < 20; cmd++)
		assert_int_equal(call(t, __HYPERVISOR_event_channel_op, cmd, VA(PG_ARG), 0, 0),
				 -XEN_ENOSYS);
	dom_free(t);
}

static void close_errors(void **state)
{
	struct dom *t = dom_new();

	assert_int_equal(close_port(t, 0), -XEN_EINVAL);
	assert_int_equal(close_port(t, 3), -XEN_EINVAL);
	assert_int_equal(close_port(t, 1024), -XEN_EINVAL);
	assert_int_equal(close_port(t, 0xffffffff), -XEN_EINVAL);
	dom_free(t);
}

/* ---- the library's end ------------------------------------------------------------------- */

static void sending_to_the_library(void **state)
{
	struct dom *t = dom_new();

	assert_int_equal(send(t, CONSOLE_PORT), 0); /* nobody listens: lost */
	assert_int_equal(t->ctl.outbound_any, 0);
	assert_int_equal(t->doorbells, 0);
	bind_library(t, CONSOLE_PORT);
	assert_int_equal(send(t, CONSOLE_PORT), 0);
	assert_int_equal(t->ctl.outbound[0], 1 << CONSOLE_PORT);
	assert_int_equal(t->ctl.outbound_any, 1);
	assert_int_equal(t->doorbells, 1);
	assert_int_equal(send(t, CONSOLE_PORT), 0); /* the doorbell still rings */
	assert_int_equal(t->doorbells, 1);
	t->ctl.doorbell = 0;
	assert_int_equal(send(t, CONSOLE_PORT), 0);
	assert_int_equal(t->doorbells, 2);

	uint32_t high = 700;

	while (alloc_for(t, 0) != high)
		;
	bind_library(t, high);
	assert_int_equal(send(t, high), 0);
	assert_int_equal(t->ctl.outbound_any, 1 | 1ull << (high / 64));
	dom_free(t);
}

static void closing_tells_the_library(void **state)
{
	struct dom *t = dom_new();

	bind_library(t, CONSOLE_PORT);
	assert_int_equal(close_port(t, CONSOLE_PORT), 0);
	assert_int_equal(t->ctl.closed[0], 1 << CONSOLE_PORT);
	assert_int_equal(t->ctl.closed_any, 1);
	assert_int_equal(t->doorbells, 1);
	dom_free(t);
}

static void the_library_raises_ports(void **state)
{
	struct dom *t = dom_new();

	set_event_callback(t);
	raise_from_library(t, CONSOLE_PORT);
	assert_int_equal(core_next(&t->c), CORE_RUN);
	assert_true(pending(t, CONSOLE_PORT));
	assert_int_equal(info(t)->evtchn_pending_sel, 1);
	assert_int_equal(t->c.v->regs.rip, EVENT_HANDLER);
	assert_int_equal(t->ctl.inbound[0], 0);
	assert_int_equal(t->ctl.inbound_any, 0);
	assert_int_equal(t->ctl.vcpu[0].events, 1);
	dom_free(t);
}

static void ports_that_are_not_the_librarys_stay_silent(void **state)
{
	struct dom *t = dom_new();
	uint32_t mine = ipi(t, 0), other = alloc_for(t, 7);

	for (unsigned int w = 0; w < CORE_PORT_WORDS; w++)
		t->ctl.inbound[w] = ~0ull;
	t->ctl.inbound_any = ~0ull;
	t->ctl.vcpu[0].kick = 1;
	assert_int_equal(core_next(&t->c), CORE_RUN);
	assert_false(pending(t, mine));
	assert_false(pending(t, other));
	assert_false(pending(t, 0));
	assert_true(pending(t, CONSOLE_PORT));
	assert_true(pending(t, STORE_PORT));
	for (unsigned int w = 1; w < 64; w++)
		assert_int_equal(core_shared_info(&t->c)->evtchn_pending[w], 0);
	dom_free(t);
}

/* ---- delivery ---------------------------------------------------------------------------- */

static void upcall_frame(void **state)
{
	struct dom *t = dom_new();
	uint32_t port = ipi(t, 0);

	set_event_callback(t);
	assert_int_equal(core_next(&t->c), CORE_RUN);
	t->c.v->regs.rip = 0x4242;
	assert_int_equal(send(t, port), 0);
	assert_int_equal(core_next(&t->c), CORE_RUN);
	struct bounced b = bounce_get(t, false);

	assert_int_equal(t->c.v->regs.rip, EVENT_HANDLER);
	assert_int_equal(b.rip, 0x4242);
	assert_true(b.rflags & CORE_FLAG_IF);
	assert_int_equal(info(t)->evtchn_upcall_mask, 1);    /* always masked on the way in */
	assert_int_equal(info(t)->evtchn_upcall_pending, 1); /* the guest clears it */
	/* Not again while it is masked. */
	t->c.v->regs.rip = 0x4343;
	assert_int_equal(core_next(&t->c), CORE_RUN);
	assert_int_equal(t->c.v->regs.rip, 0x4343);
	dom_free(t);
}

/* What a handler does: it clears what it found, perhaps causes another event, and returns. */
static void handle_upcall(struct dom *t, uint32_t port, bool again)
{
	struct bounced b = bounce_get(t, false);
	struct iret_context frame = {
		.rcx = b.rcx,
		.r11 = b.r11,
		.rip = b.rip,
		.cs = b.cs & 0xffff,
		.rflags = b.rflags,
		.rsp = b.rsp,
		.ss = b.ss,
	};

	info(t)->evtchn_upcall_pending = 0;
	info(t)->evtchn_pending_sel = 0;
	core_shared_info(&t->c)->evtchn_pending[port / 64] = 0;
	if (again) {
		assert_int_equal(send(t, port), 0);
		assert_int_equal(core_next(&t->c), CORE_RUN); /* masked: the handler goes on */
		assert_int_equal(t->c.v->regs.rip, EVENT_HANDLER);
	}
	REG(t, RSP) = STACK_TOP - 1024;
	memcpy(t->ram + REG(t, RSP), &frame, sizeof(frame));
	call_on(&t->c, __HYPERVISOR_iret, 0, 0, 0, 0);
}

/* One upcall and what the guest does in it; false: none was made. */
static bool an_upcall(struct dom *t, uint32_t port, bool again)
{
	assert_int_equal(core_next(&t->c), CORE_RUN);
	assert_alive(t);
	if (t->c.v->regs.rip != EVENT_HANDLER)
		return false;
	handle_upcall(t, port, again);
	return true;
}

static void upcalls_that_cause_upcalls_let_the_guest_run(void **state)
{
	struct dom *t = dom_new();
	uint32_t port = ipi(t, 0);
	uint64_t now;

	set_event_callback(t);
	REG(t, RSP) = STACK_TOP;
	t->c.v->regs.rip = 0x4242;
	assert_int_equal(send(t, port), 0);
	for (unsigned int round = 0; round < 3; round++) {
		unsigned int row = 0;

		while (an_upcall(t, port, true))
			assert_true(++row < 1000);
		assert_true(row >= 32); /* a short row is left alone */
		assert_int_equal(t->c.v->regs.rip, 0x4242);
		assert_int_equal(info(t)->evtchn_upcall_mask, 0);
		assert_int_equal(info(t)->evtchn_upcall_pending, 1);
		/* It stays that way for a moment, and the executor is told how long. */
		now = core_time_now(&t->c);
		assert_int_equal(t->c.v->wake_ns, core_timers_next(&t->c));
		assert_in_range(t->c.v->wake_ns, now + 1, now + 1000000);
		assert_int_equal(core_next(&t->c), CORE_RUN);
		assert_int_equal(t->c.v->regs.rip, 0x4242);
		t->tsc += t->c.v->wake_ns - now;
	}
	assert_true(an_upcall(t, port, false));
	assert_false(an_upcall(t, port, false));
	assert_int_equal(t->c.v->upcall_hold, 0);
	dom_free(t);
}

/* Masked meanwhile: the moment is over, and the event is delivered as soon as it is unmasked. */
static void an_upcall_held_back_is_not_lost(void **state)
{
	struct dom *t = dom_new();
	uint32_t port = ipi(t, 0);

	set_event_callback(t);
	REG(t, RSP) = STACK_TOP;
	t->c.v->regs.rip = 0x4242;
	assert_int_equal(send(t, port), 0);
	while (an_upcall(t, port, true))
		;
	info(t)->evtchn_upcall_mask = 1;
	assert_int_equal(core_next(&t->c), CORE_RUN);
	info(t)->evtchn_upcall_mask = 0;
	assert_true(an_upcall(t, port, false));
	assert_false(an_upcall(t, port, false));
	dom_free(t);
}

/* Very many events of a guest that gets on between them: each at once. */
static void a_stream_of_events_is_not_held_back(void **state)
{
	struct dom *t = dom_new();
	uint32_t port = ipi(t, 0);

	set_event_callback(t);
	REG(t, RSP) = STACK_TOP;
	t->c.v->regs.rip = 0x4242;
	for (unsigned int i = 0; i < 1000; i++) {
		assert_int_equal(send(t, port), 0);
		assert_true(an_upcall(t, port, false));
		assert_false(an_upcall(t, port, false)); /* it goes on */
	}
	dom_free(t);
}

static void masked_ports_are_only_pending(void **state)
{
	struct dom *t = dom_new();
	uint32_t port = ipi(t, 0);
	struct evtchn_unmask op = {.port = port};

	set_event_callback(t);
	mask(t, port);
	assert_int_equal(send(t, port), 0);
	assert_true(pending(t, port));
	assert_int_equal(info(t)->evtchn_upcall_pending, 0);
	assert_int_equal(info(t)->evtchn_pending_sel, 0);

	assert_int_equal(EVTCHN(t, EVTCHNOP_unmask, &op), 0);
	assert_int_equal(info(t)->evtchn_upcall_pending, 1);
	assert_int_equal(info(t)->evtchn_pending_sel, 1);
	assert_int_equal(core_shared_info(&t->c)->evtchn_mask[0], 0);
	/* Unmasking what is unmasked does nothing. */
	info(t)->evtchn_upcall_pending = 0;
	info(t)->evtchn_pending_sel = 0;
	assert_int_equal(EVTCHN(t, EVTCHNOP_unmask, &op), 0);
	assert_int_equal(info(t)->evtchn_upcall_pending, 0);
	op.port = 2000;
	assert_int_equal(EVTCHN(t, EVTCHNOP_unmask, &op), -XEN_EINVAL);
	/* A closed port keeps its mask. */
	op.port = 60;
	mask(t, op.port);
	assert_int_equal(EVTCHN(t, EVTCHNOP_unmask, &op), 0);
	assert_int_equal(core_shared_info(&t->c)->evtchn_mask[0], 1ull << 60);
	dom_free(t);
}

static void an_edge_is_an_edge(void **state)
{
	struct dom *t = dom_new();
	uint32_t port = ipi(t, 0);

	assert_int_equal(send(t, port), 0);
	info(t)->evtchn_upcall_pending = 0;
	info(t)->evtchn_pending_sel = 0;
	assert_int_equal(send(t, port), 0); /* still pending: no new upcall */
	assert_int_equal(info(t)->evtchn_upcall_pending, 0);
	core_shared_info(&t->c)->evtchn_pending[0] = 0;
	assert_int_equal(send(t, port), 0);
	assert_int_equal(info(t)->evtchn_upcall_pending, 1);
	dom_free(t);
}

static void unmasking_by_hand_is_seen_before_entry(void **state)
{
	struct dom *t = dom_new();
	uint32_t port = ipi(t, 0);

	set_event_callback(t);
	info(t)->evtchn_upcall_mask = 1;
	assert_int_equal(send(t, port), 0);
	t->c.v->regs.rip = 0x1000;
	assert_int_equal(core_next(&t->c), CORE_RUN);
	assert_int_equal(t->c.v->regs.rip, 0x1000);
	info(t)->evtchn_upcall_mask = 0;
	assert_int_equal(core_next(&t->c), CORE_RUN);
	assert_int_equal(t->c.v->regs.rip, EVENT_HANDLER);
	dom_free(t);
}

static void upcall_without_callback_crashes(void **state)
{
	struct dom *t = dom_new();
	uint32_t port = ipi(t, 0);

	info(t)->evtchn_upcall_mask = 0;
	assert_int_equal(send(t, port), 0);
	assert_int_equal(core_next(&t->c), CORE_STOP);
	assert_crashed(t, "event upcall");
	dom_free(t);
}

static void reset_closes_everything(void **state)
{
	struct dom *t = dom_new();
	struct evtchn_reset op = {.dom = DOMID_SELF};
	uint32_t a = ipi(t, 0), b = alloc_for(t, DOMID_SELF);
	struct evtchn_bind_interdomain bind = {.remote_dom = DOMID, .remote_port = b};
	struct evtchn_bind_virq virq = {.virq = VIRQ_TIMER};

	assert_int_equal(EVTCHN(t, EVTCHNOP_bind_interdomain, &bind), 0);
	assert_int_equal(EVTCHN(t, EVTCHNOP_bind_virq, &virq), 0);
	assert_int_equal(EVTCHN(t, EVTCHNOP_reset, &op), 0);
	for (uint32_t port = 1; port < 10; port++)
		assert_int_equal(status(t, port).status, EVTCHNSTAT_closed);
	assert_int_equal(t->ctl.closed[0], 1 << CONSOLE_PORT | 1 << STORE_PORT);
	assert_int_equal(t->c.v->virq_port[VIRQ_TIMER], 0);
	assert_int_equal(ipi(t, 0), 1);
	(void)a;
	op.dom = 0;
	assert_int_equal(EVTCHN(t, EVTCHNOP_reset, &op), -XEN_EPERM);
	op.dom = 9;
	assert_int_equal(EVTCHN(t, EVTCHNOP_reset, &op), -XEN_ESRCH);
	dom_free(t);
}

/* ---- vcpu_info elsewhere ----------------------------------------------------------------- */

static long register_info(struct dom *t, unsigned int vcpu, uint64_t mfn, uint32_t offset)
{
	struct vcpu_register_vcpu_info op = {.mfn = mfn, .offset = offset};

	return call(t, __HYPERVISOR_vcpu_op, VCPUOP_register_vcpu_info, vcpu, ARG(t, &op), 0);
}

static void vcpu_info_moves(void **state)
{
	struct dom *t = dom_new();
	struct vcpu_info *old = info(t), *new = (void *)((char *)page_ptr(t, PG_FREE) + 128);
	uint32_t port = ipi(t, 0);

	set_event_callback(t);
	old->evtchn_pending_sel = 0;
	assert_int_equal(register_info(t, 0, PG_FREE, 128), 0);
	assert_ptr_equal(info(t), new);
	/* Everything is looked at once, so nothing is lost in the move. */
	assert_int_equal(new->evtchn_upcall_pending, 1);
	assert_int_equal(new->evtchn_pending_sel, ~0ull);
	assert_int_equal(new->evtchn_upcall_mask, 0);
	assert_int_equal(new->time.version & 1, 0);
	assert_int_equal(new->time.tsc_to_system_mul, 0x80000000u);
	assert_int_equal(core_next(&t->c), CORE_RUN);
	assert_int_equal(t->c.v->regs.rip, EVENT_HANDLER);

	new->evtchn_upcall_pending = 0;
	new->evtchn_pending_sel = 0;
	assert_int_equal(send(t, port), 0);
	assert_int_equal(new->evtchn_upcall_pending, 1);
	assert_int_equal(old->evtchn_upcall_pending, 0);
	assert_int_equal(register_info(t, 0, PG_FREE + 1, 0), -XEN_EINVAL); /* once only */
	dom_free(t);
}

static void vcpu_info_errors(void **state)
{
	struct dom *t = dom_new_vcpus(2);

	assert_int_equal(register_info(t, 0, PG_FREE, 4096 - 56), -XEN_ENXIO);
	assert_int_equal(register_info(t, 0, PG_FREE, 4), -XEN_ENXIO);
	assert_int_equal(register_info(t, 0, PG_L1, 0), -XEN_EINVAL);
	assert_int_equal(register_info(t, 0, NR_FRAMES, 0), -XEN_EINVAL);
	assert_int_equal(register_info(t, 0, ~0ull, 0), -XEN_EINVAL);
	assert_int_equal(register_info(t, 2, PG_FREE, 0), -XEN_ENOENT);
	assert_int_equal(register_info(t, 1, PG_FREE, 0), 0); /* it is down */
	assert_int_equal(call(t, __HYPERVISOR_vcpu_op, VCPUOP_register_vcpu_info, 0, UNMAPPED, 0),
			 -XEN_EFAULT);
	dom_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ports_are_given_out_lowest_first),
		cmocka_unit_test(ports_run_out),
		cmocka_unit_test(alloc_errors),
		cmocka_unit_test(the_table_grows_in_steps),
		cmocka_unit_test(loopback),
		cmocka_unit_test(bind_interdomain_errors),
		cmocka_unit_test(virqs),
		cmocka_unit_test(ipis),
		cmocka_unit_test(bind_vcpu_moves_what_may_move),
		cmocka_unit_test(pirqs_and_fifo_are_not_offered),
		cmocka_unit_test(close_errors),
		cmocka_unit_test(sending_to_the_library),
		cmocka_unit_test(closing_tells_the_library),
		cmocka_unit_test(the_library_raises_ports),
		cmocka_unit_test(ports_that_are_not_the_librarys_stay_silent),
		cmocka_unit_test(upcall_frame),
		cmocka_unit_test(upcalls_that_cause_upcalls_let_the_guest_run),
		cmocka_unit_test(an_upcall_held_back_is_not_lost),
		cmocka_unit_test(a_stream_of_events_is_not_held_back),
		cmocka_unit_test(masked_ports_are_only_pending),
		cmocka_unit_test(an_edge_is_an_edge),
		cmocka_unit_test(unmasking_by_hand_is_seen_before_entry),
		cmocka_unit_test(upcall_without_callback_crashes),
		cmocka_unit_test(reset_closes_everything),
		cmocka_unit_test(vcpu_info_moves),
		cmocka_unit_test(vcpu_info_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
