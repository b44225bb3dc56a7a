/* SPDX-License-Identifier: MIT */
/* sched_op and what core_next() makes of it; pausing, stopping; vcpu_op up and down. */
#include "harness.h"

#include <xen/event_channel.h>
#include <xen/sched.h>
#include <xen/vcpu.h>

#define SCHEDOP(t, cmd) call((t), __HYPERVISOR_sched_op, (cmd), 0, 0, 0)
#define MS		1000000ull

static uint32_t ipi(struct dom *t, uint32_t vcpu)
{
	struct evtchn_bind_ipi op = {.vcpu = vcpu};

	assert_int_equal(EVTCHN(t, EVTCHNOP_bind_ipi, &op), 0);
	return op.port;
}

static void raise_console(struct dom *t)
{
	t->ctl.inbound[0] |= 1ull << CONSOLE_PORT;
	t->ctl.inbound_any |= 1;
	t->ctl.vcpu[0].kick = 1;
}

static void running_is_stable(void **state)
{
	struct dom *t = dom_new();

	for (unsigned int i = 0; i < 5; i++)
		assert_int_equal(core_next(&t->c), CORE_RUN);
	assert_int_equal(t->c.v->wake_ns, CORE_NEVER);
	assert_int_equal(t->c.v->runstate.state, RUNSTATE_running);
	dom_free(t);
}

static void block_sleeps_until_an_event(void **state)
{
	struct dom *t = dom_new();

	set_event_callback(t);
	core_vcpu_info(&t->c, t->c.v)->evtchn_upcall_mask = 1;
	assert_int_equal(core_next(&t->c), CORE_RUN);
	assert_int_equal(SCHEDOP(t, SCHEDOP_block), 0);
	assert_int_equal(core_vcpu_info(&t->c, t->c.v)->evtchn_upcall_mask, 0);
	assert_int_equal(core_next(&t->c), CORE_BLOCK);
	assert_int_equal(t->c.v->wake_ns, CORE_NEVER);
	t->ctl.vcpu[0].kick = 1; /* for no reason */
	assert_int_equal(core_next(&t->c), CORE_BLOCK);
	assert_int_equal(t->ctl.vcpu[0].kick, 0);
	raise_console(t);
	assert_int_equal(core_next(&t->c), CORE_RUN);
	assert_int_equal(t->c.v->regs.rip, EVENT_HANDLER);
	assert_int_equal(REG(t, RAX), 0);
	assert_int_equal(core_next(&t->c), CORE_RUN);
	assert_int_equal(t->ctl.vcpu[0].exits_block, 2);
	dom_free(t);
}

static void block_with_an_event_pending_goes_on(void **state)
{
	struct dom *t = dom_new();
	uint32_t port = ipi(t, 0);
	struct evtchn_send op = {.port = port};

	set_event_callback(t);
	core_vcpu_info(&t->c, t->c.v)->evtchn_upcall_mask = 1;
	assert_int_equal(EVTCHN(t, EVTCHNOP_send, &op), 0);
	assert_int_equal(SCHEDOP(t, SCHEDOP_block), 0);
	assert_int_equal(core_next(&t->c), CORE_RUN);
	assert_int_equal(t->c.v->regs.rip, EVENT_HANDLER);
	dom_free(t);
}

static void another_vcpu_ends_a_block(void **state)
{
	struct dom *t = dom_new_vcpus(2);
	struct core_ctx other;
	uint32_t port = ipi(t, 0);
	struct evtchn_send op = {.port = port};

	set_event_callback(t);
	dom_vcpu(t, &other, 1);
	core_next(&t->c);
	SCHEDOP(t, SCHEDOP_block);
	assert_int_equal(core_next(&t->c), CORE_BLOCK);
	t->kicked = 0;
	/* vCPU 1 sends; it uses vCPU 0's page tables in this test. */
	other.v->kernel_root = t->c.v->kernel_root;
	assert_int_equal(
		call_on(&other, __HYPERVISOR_event_channel_op, EVTCHNOP_send, ARG(t, &op), 0, 0),
		0);
	assert_int_equal(t->kicked, 1);
	assert_int_equal(t->ctl.vcpu[0].kick, 1);
	assert_int_equal(core_next(&t->c), CORE_RUN);
	assert_int_equal(t->c.v->regs.rip, EVENT_HANDLER);
	dom_free(t);
}

/* ---- yield ------------------------------------------------------------------------------- */

/* Yield `n` times with `work` ns in between, sleeping when told to. Sums up what was slept. */
static uint64_t yield_loop(struct dom *t, unsigned int n, uint64_t work)
{
	uint64_t slept = 0;

	for (unsigned int i = 0; i < n; i++) {
		assert_int_equal(SCHEDOP(t, SCHEDOP_yield), 0);
		if (core_next(&t->c) == CORE_BLOCK) {
			uint64_t nap = t->c.v->wake_ns - core_time_now(&t->c);

			assert_true(nap > 0 && nap < 3 * MS);
			slept += nap;
			t->tsc += nap;
			assert_int_equal(core_next(&t->c), CORE_RUN);
		}
		t->tsc += work;
	}
	return slept;
}

static void waiting_by_yields_costs_little(void **state)
{
	struct dom *t = dom_new();

	core_next(&t->c);
	(void)yield_loop(t, 20000, 200); /* get used to it */
	/* 64 yields of 200 ns for each nap of 2.56 ms. */
	uint64_t slept = yield_loop(t, 64 * 100, 200);

	assert_int_equal(slept, 100 * 2560000ull);
	dom_free(t);
}

static void a_storm_of_yields_gets_through(void **state)
{
	struct dom *t = dom_new();

	core_next(&t->c);
	assert_int_equal(yield_loop(t, 60, 200), 0); /* short waits do not sleep at all */
	assert_true(yield_loop(t, 1000, 200) < 1 * MS);
	assert_true(yield_loop(t, 100000, 200) < 5000 * MS);
	dom_free(t);
}

static void work_between_yields_prevents_naps(void **state)
{
	struct dom *t = dom_new();

	core_next(&t->c);
	assert_int_equal(yield_loop(t, 1000, 100000), 0);
	for (unsigned int i = 0; i < 1000; i++) { /* so do other hypercalls */
		assert_int_equal(yield_loop(t, 10, 100), 0);
		call(t, __HYPERVISOR_xen_version, 0, 0, 0, 0);
	}
	dom_free(t);
}

static void an_event_ends_a_nap_and_the_streak(void **state)
{
	struct dom *t = dom_new();
	unsigned int yields = 0;

	core_next(&t->c);
	(void)yield_loop(t, 20000, 200);
	do {
		SCHEDOP(t, SCHEDOP_yield);
	} while (core_next(&t->c) == CORE_RUN);
	/* Upcalls are masked (PV GRUB never unmasks them): the kick alone must do. */
	raise_console(t);
	assert_int_equal(core_next(&t->c), CORE_RUN);
	do {
		SCHEDOP(t, SCHEDOP_yield);
		yields++;
	} while (core_next(&t->c) == CORE_RUN);
	assert_in_range(yields, 64, 65);
	assert_int_equal(t->c.v->wake_ns - core_time_now(&t->c), 20000); /* from the beginning */
	dom_free(t);
}

/* ---- poll -------------------------------------------------------------------------------- */

static long poll(struct dom *t, const evtchn_port_t *ports, unsigned int nr, uint64_t timeout)
{
	struct sched_poll op = {.nr_ports = nr, .timeout = timeout};

	memcpy(page_ptr(t, PG_DATA), ports, (nr < 256 ? nr : 256) * sizeof(*ports));
	set_xen_guest_handle(op.ports, (evtchn_port_t *)VA(PG_DATA));
	return op_call(t, __HYPERVISOR_sched_op, SCHEDOP_poll, &op, sizeof(op));
}

static void poll_waits_for_its_ports_masked_or_not(void **state)
{
	struct dom *t = dom_new();
	evtchn_port_t ports[2] = {STORE_PORT, CONSOLE_PORT};
	struct shared_info *s = core_shared_info(&t->c);

	core_next(&t->c);
	s->evtchn_mask[0] = ~0ull;
	assert_int_equal(poll(t, ports, 2, 0), 0);
	assert_int_equal(core_next(&t->c), CORE_BLOCK);
	assert_int_equal(t->c.v->wake_ns, CORE_NEVER);
	raise_console(t);
	assert_int_equal(core_next(&t->c), CORE_RUN);
	assert_int_equal(t->c.v->polling, 0);
	/* Already pending: returns at once. */
	assert_int_equal(poll(t, ports, 2, 0), 0);
	assert_int_equal(core_next(&t->c), CORE_RUN);
	/* Another port is pending: not ours. */
	assert_int_equal(poll(t, ports, 1, 0), 0);
	assert_int_equal(core_next(&t->c), CORE_BLOCK);
	dom_free(t);
}

static void poll_times_out(void **state)
{
	struct dom *t = dom_new();
	evtchn_port_t port = CONSOLE_PORT;

	core_next(&t->c);
	assert_int_equal(poll(t, &port, 1, 5 * MS), 0);
	assert_int_equal(core_next(&t->c), CORE_BLOCK);
	assert_int_equal(t->c.v->wake_ns, 5 * MS);
	t->tsc += 5 * MS - 1;
	assert_int_equal(core_next(&t->c), CORE_BLOCK);
	t->tsc += 1;
	assert_int_equal(core_next(&t->c), CORE_RUN);
	assert_int_equal(core_next(&t->c), CORE_RUN);
	assert_int_equal(t->c.v->wake_ns, CORE_NEVER);
	/* In the past: at once. */
	assert_int_equal(poll(t, &port, 1, 1), 0);
	assert_int_equal(core_next(&t->c), CORE_RUN);
	/* No ports: a sleep. */
	assert_int_equal(poll(t, &port, 0, core_time_now(&t->c) + MS), 0);
	assert_int_equal(core_next(&t->c), CORE_BLOCK);
	t->tsc += MS;
	assert_int_equal(core_next(&t->c), CORE_RUN);
	dom_free(t);
}

static void poll_ends_with_an_upcall(void **state)
{
	struct dom *t = dom_new();
	evtchn_port_t port = STORE_PORT;

	set_event_callback(t);
	core_next(&t->c);
	assert_int_equal(poll(t, &port, 1, 0), 0);
	assert_int_equal(core_next(&t->c), CORE_BLOCK);
	raise_console(t); /* another port, unmasked */
	assert_int_equal(core_next(&t->c), CORE_RUN);
	assert_int_equal(t->c.v->regs.rip, EVENT_HANDLER);
	dom_free(t);
}

static void poll_errors(void **state)
{
	struct dom *t = dom_new();
	evtchn_port_t ports[129] = {STORE_PORT, CORE_MAX_PORTS};
	struct sched_poll op = {.nr_ports = 1};

	assert_int_equal(poll(t, ports, 129, 0), -XEN_EINVAL);
	assert_int_equal(poll(t, ports, 2, 0), -XEN_EINVAL);
	ports[1] = t->d->valid_ports;
	assert_int_equal(poll(t, ports, 2, 0), -XEN_EINVAL);
	ports[1] = 0;
	assert_int_equal(poll(t, ports, 2, 0), -XEN_EINVAL);
	set_xen_guest_handle(op.ports, (evtchn_port_t *)UNMAPPED);
	assert_int_equal(SCHED(t, SCHEDOP_poll, &op), -XEN_EFAULT);
	assert_int_equal(call(t, __HYPERVISOR_sched_op, SCHEDOP_poll, UNMAPPED, 0, 0), -XEN_EFAULT);
	assert_int_equal(core_next(&t->c), CORE_RUN);
	dom_free(t);
}

/* ---- the end ----------------------------------------------------------------------------- */

static void shutdown_reports_its_code(void **state)
{
	for (unsigned int code = 0; code <= SHUTDOWN_MAX; code++) {
		struct dom *t = dom_new();
		struct sched_shutdown op = {.reason = code};

		assert_int_equal(SCHED(t, SCHEDOP_shutdown, &op), 0);
		assert_int_equal(t->ctl.run_state, CORE_STATE_SHUTDOWN);
		assert_int_equal(t->ctl.shutdown_code, code);
		assert_int_equal(t->doorbells, 1);
		assert_int_equal(core_next(&t->c), CORE_STOP);
		dom_free(t);
	}
}

static void shutdown_stops_the_other_vcpus(void **state)
{
	struct dom *t = dom_new_vcpus(3);
	struct sched_shutdown op = {.reason = SHUTDOWN_reboot};
	struct core_ctx other;

	assert_int_equal(SCHED(t, SCHEDOP_shutdown, &op), 0);
	assert_int_equal(t->kicked, 6);
	assert_int_equal(core_next(dom_vcpu(t, &other, 2)), CORE_STOP);
	dom_free(t);
}

static void a_latched_code_wins(void **state)
{
	struct dom *t = dom_new();
	struct sched_shutdown op = {.reason = SHUTDOWN_crash};

	assert_int_equal(SCHED(t, SCHEDOP_shutdown_code, &op), 0);
	assert_alive(t);
	op.reason = SHUTDOWN_watchdog;
	assert_int_equal(SCHED(t, SCHEDOP_shutdown_code, &op), 0); /* too late */
	op.reason = SHUTDOWN_poweroff;
	assert_int_equal(SCHED(t, SCHEDOP_shutdown, &op), 0);
	assert_int_equal(t->ctl.shutdown_code, SHUTDOWN_crash);
	dom_free(t);
}

static void the_rest_of_sched_op(void **state)
{
	struct dom *t = dom_new();
	struct sched_remote_shutdown remote = {.domain_id = DOMID, .reason = 0};

	assert_int_equal(SCHED(t, SCHEDOP_remote_shutdown, &remote), -XEN_EPERM);
	remote.domain_id = 0;
	assert_int_equal(SCHED(t, SCHEDOP_remote_shutdown, &remote), -XEN_EPERM);
	remote.domain_id = 33;
	assert_int_equal(SCHED(t, SCHEDOP_remote_shutdown, &remote), -XEN_ESRCH);
	assert_int_equal(SCHEDOP(t, SCHEDOP_pin_override), -XEN_EPERM);
	assert_int_equal(SCHEDOP(t, 8), -XEN_ENOSYS);
	assert_int_equal(call(t, __HYPERVISOR_sched_op, SCHEDOP_shutdown, UNMAPPED, 0, 0),
			 -XEN_EFAULT);
	assert_alive(t);
	dom_free(t);
}

static void watchdogs_bite(void **state)
{
	struct dom *t = dom_new();
	struct sched_watchdog op = {.id = 0, .timeout = 2};

	core_next(&t->c);
	assert_int_equal(SCHED(t, SCHEDOP_watchdog, &op), 1);
	op.id = 0;
	assert_int_equal(SCHED(t, SCHEDOP_watchdog, &op), 2);
	assert_int_equal(SCHED(t, SCHEDOP_watchdog, &op), (uint32_t)-XEN_ENOSPC);
	op = (struct sched_watchdog){.id = 2, .timeout = 0}; /* off */
	assert_int_equal(SCHED(t, SCHEDOP_watchdog, &op), 0);
	assert_int_equal(SCHED(t, SCHEDOP_watchdog, &op), -XEN_EINVAL);
	op.id = 3;
	assert_int_equal(SCHED(t, SCHEDOP_watchdog, &op), -XEN_EINVAL);

	assert_int_equal(core_next(&t->c), CORE_RUN);
	assert_int_equal(t->c.v->wake_ns, 2000 * MS);
	t->tsc += 1500 * MS;
	op = (struct sched_watchdog){.id = 1, .timeout = 2}; /* petted */
	assert_int_equal(SCHED(t, SCHEDOP_watchdog, &op), 0);
	t->tsc += 1500 * MS;
	assert_int_equal(core_next(&t->c), CORE_RUN);
	t->tsc += 501 * MS;
	assert_int_equal(core_next(&t->c), CORE_STOP);
	assert_int_equal(t->ctl.run_state, CORE_STATE_SHUTDOWN);
	assert_int_equal(t->ctl.shutdown_code, SHUTDOWN_watchdog);
	dom_free(t);
}

/* A new one with no time is over at once. */
static void a_watchdog_of_no_time(void **state)
{
	struct dom *t = dom_new();
	struct sched_watchdog op = {.id = 0, .timeout = 0};

	assert_int_equal(SCHED(t, SCHEDOP_watchdog, &op), 1);
	t->tsc += MS;
	assert_int_equal(core_next(&t->c), CORE_STOP);
	assert_int_equal(t->ctl.shutdown_code, SHUTDOWN_watchdog);
	dom_free(t);
}

/* ---- requests of the library ------------------------------------------------------------- */

static void pause_and_resume(void **state)
{
	struct dom *t = dom_new();
	uint32_t seq;

	core_next(&t->c);
	seq = t->ctl.state_seq;
	t->ctl.request = CORE_REQ_PAUSE;
	t->ctl.vcpu[0].kick = 1;
	assert_int_equal(core_next(&t->c), CORE_PAUSE);
	assert_int_equal(t->ctl.run_state, CORE_STATE_PAUSED);
	assert_int_equal(t->ctl.state_seq, seq + 1);
	assert_int_equal(t->doorbells, 1);
	assert_int_equal(core_next(&t->c), CORE_PAUSE);
	assert_int_equal(t->ctl.state_seq, seq + 1);
	t->ctl.request = 0;
	assert_int_equal(core_next(&t->c), CORE_RUN);
	assert_int_equal(t->ctl.run_state, CORE_STATE_RUNNING);
	assert_int_equal(t->d->vcpus_paused, 0);
	dom_free(t);
}

static void paused_when_the_last_vcpu_is(void **state)
{
	struct dom *t = dom_new_vcpus(3);
	struct core_ctx one;

	t->d->vcpu[1].is_up = 1; /* vCPU 2 stays down */
	dom_vcpu(t, &one, 1);
	t->ctl.request = CORE_REQ_PAUSE;
	assert_int_equal(core_next(&t->c), CORE_PAUSE);
	assert_int_equal(t->ctl.run_state, CORE_STATE_RUNNING);
	assert_int_equal(core_next(&one), CORE_PAUSE);
	assert_int_equal(t->ctl.run_state, CORE_STATE_PAUSED);
	dom_free(t);
}

static void a_blocked_vcpu_pauses_and_stays_blocked(void **state)
{
	struct dom *t = dom_new();

	core_next(&t->c);
	SCHEDOP(t, SCHEDOP_block);
	assert_int_equal(core_next(&t->c), CORE_BLOCK);
	t->ctl.request = CORE_REQ_PAUSE;
	assert_int_equal(core_next(&t->c), CORE_PAUSE);
	t->ctl.request = 0;
	assert_int_equal(core_next(&t->c), CORE_BLOCK);
	dom_free(t);
}

static void destroy_stops(void **state)
{
	struct dom *t = dom_new();

	t->ctl.request = CORE_REQ_DESTROY | CORE_REQ_PAUSE;
	assert_int_equal(core_next(&t->c), CORE_STOP);
	assert_int_equal(t->ctl.run_state, CORE_STATE_RUNNING); /* it did not end by itself */
	dom_free(t);
}

/* ---- vCPUs ------------------------------------------------------------------------------- */

static struct vcpu_guest_context *context(struct dom *t)
{
	/* Larger than a page: pages PG_FREE and behind. */
	struct vcpu_guest_context *x = page_ptr(t, PG_FREE);

	memset(x, 0, sizeof(*x));
	x->flags = VGCF_IN_KERNEL | VGCF_online | VGCF_syscall_disables_events;
	x->user_regs.rip = 0x7000;
	x->user_regs.rsp = STACK_TOP;
	x->user_regs.rdi = 0xd1;
	x->user_regs.cs = 0xe030;
	x->user_regs.ss = 0xe028;
	x->user_regs.rflags = 0x1002; /* IOPL 1 */
	x->trap_ctxt[13] = (struct trap_info){.vector = 13, .cs = 0xe033, .address = 0x9000};
	x->kernel_ss = 0xe02b;
	x->kernel_sp = STACK_TOP;
	x->ctrlreg[3] = (uint64_t)PG_L4 << 12;
	x->event_callback_eip = 0xa000;
	x->failsafe_callback_eip = 0xb000;
	x->syscall_callback_eip = 0xc000;
	x->fs_base = 0x1000;
	x->gs_base_kernel = 0x2000;
	x->gs_base_user = 0x3000;
	return x;
}

#define VCPUOP(t, cmd, id, va) call((t), __HYPERVISOR_vcpu_op, (cmd), (id), (va), 0)

static void a_second_vcpu_starts(void **state)
{
	struct dom *t = dom_new_vcpus(2);
	struct core_ctx other;
	struct core_vcpu *v;

	context(t);
	assert_int_equal(VCPUOP(t, VCPUOP_is_up, 0, 0), 1);
	assert_int_equal(VCPUOP(t, VCPUOP_is_up, 1, 0), 0);
	assert_int_equal(VCPUOP(t, VCPUOP_up, 1, 0), -XEN_EINVAL);
	assert_int_equal(VCPUOP(t, VCPUOP_initialise, 1, VA(PG_FREE)), 0);
	assert_int_equal(VCPUOP(t, VCPUOP_initialise, 1, VA(PG_FREE)), -XEN_EEXIST);
	assert_int_equal(VCPUOP(t, VCPUOP_initialise, 0, VA(PG_FREE)), -XEN_EEXIST);
	assert_int_equal(VCPUOP(t, VCPUOP_is_up, 1, 0), 0);
	assert_int_equal(core_next(dom_vcpu(t, &other, 1)), CORE_BLOCK);
	t->kicked = 0;
	assert_int_equal(VCPUOP(t, VCPUOP_up, 1, 0), 0);
	assert_int_equal(t->kicked, 2);
	assert_int_equal(VCPUOP(t, VCPUOP_is_up, 1, 0), 1);
	assert_int_equal(core_next(&other), CORE_RUN);

	v = other.v;
	assert_int_equal(v->regs.rip, 0x7000);
	assert_int_equal(v->regs.gpr[R_RDI], 0xd1);
	assert_int_equal(v->regs.cs, 0xe033);
	assert_int_equal(v->regs.ss, 0xe02b);
	assert_int_equal(v->regs.rflags, 0x202);
	assert_int_equal(v->iopl, 1);
	assert_int_equal(v->kernel_mode, 1);
	assert_int_equal(v->kernel_root, PG_L4);
	assert_int_equal(v->regs.fs_base, 0x1000);
	assert_int_equal(v->regs.gs_base, 0x2000);
	assert_int_equal(v->regs.gs_base_other, 0x3000);
	assert_int_equal(v->traps[13].addr, 0x9000);
	assert_int_equal(v->cb_event.addr, 0xa000);
	assert_int_equal(v->cb_failsafe.addr, 0xb000);
	assert_int_equal(v->cb_syscall.addr, 0xc000);
	assert_int_equal(v->cb_syscall.flags, 1);
	assert_int_equal(core_vcpu_info(&other, v)->evtchn_upcall_mask, 1);

	assert_int_equal(VCPUOP(t, VCPUOP_down, 1, 0), 0);
	assert_int_equal(core_next(&other), CORE_BLOCK);
	assert_int_equal(VCPUOP(t, VCPUOP_up, 1, 0), 0);
	assert_int_equal(core_next(&other), CORE_RUN);
	assert_int_equal(VCPUOP(t, VCPUOP_up, 2, 0), -XEN_ENOENT);
	dom_free(t);
}

static void bad_contexts_are_refused(void **state)
{
	struct dom *t = dom_new_vcpus(2);
	uint64_t refs = t->frames[PG_L4].type;
#define REFUSED(err)                                                                               \
	do {                                                                                       \
		assert_int_equal(VCPUOP(t, VCPUOP_initialise, 1, VA(PG_FREE)), (err));             \
		assert_int_equal(t->d->vcpu[1].is_initialised, 0);                                 \
		assert_int_equal(t->frames[PG_L4].type, refs);                                     \
	} while (0)

	context(t)->user_regs.rip = 0x800000000000;
	REFUSED(-XEN_EINVAL);
	context(t)->gs_base_user = 1ull << 60;
	REFUSED(-XEN_EINVAL);
	context(t)->ctrlreg[3] = VA(PG_L1);
	REFUSED(-XEN_EINVAL);
	context(t)->ctrlreg[3] = ~0ull;
	REFUSED(-XEN_EINVAL);
	context(t)->ctrlreg[1] = VA(PG_DATA); /* writable: no L4 */
	REFUSED(-XEN_EINVAL);
	context(t)->gdt_ents = 0x2000;
	REFUSED(-XEN_EINVAL);
	context(t)->ldt_ents = 8193;
	REFUSED(-XEN_EINVAL);
	context(t)->trap_ctxt[200].address = 1ull << 50;
	REFUSED(-XEN_EINVAL);
	context(t)->flags = 0; /* user mode, no user tables */
	REFUSED(-XEN_EINVAL);
	assert_int_equal(VCPUOP(t, VCPUOP_initialise, 1, UNMAPPED), -XEN_EFAULT);
	/* The tail is on another page. */
	memcpy(page_ptr(t, PG_HOLE - 1), context(t), 4096);
	assert_int_equal(VCPUOP(t, VCPUOP_initialise, 1, VA(PG_HOLE - 1)), -XEN_EFAULT);
	context(t);
	assert_int_equal(VCPUOP(t, VCPUOP_initialise, 1, VA(PG_FREE)), 0);
	dom_free(t);
}

static void the_rest_of_vcpu_op(void **state)
{
	struct dom *t = dom_new();

	assert_int_equal(VCPUOP(t, VCPUOP_get_physid, 0, VA(PG_ARG)), -XEN_EINVAL);
	assert_int_equal(VCPUOP(t, 99, 0, VA(PG_ARG)), -XEN_ENOSYS);
	assert_int_equal(VCPUOP(t, VCPUOP_is_up, 31, 0), -XEN_ENOENT);
	dom_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(running_is_stable),
		cmocka_unit_test(block_sleeps_until_an_event),
		cmocka_unit_test(block_with_an_event_pending_goes_on),
		cmocka_unit_test(another_vcpu_ends_a_block),
		cmocka_unit_test(waiting_by_yields_costs_little),
		cmocka_unit_test(a_storm_of_yields_gets_through),
		cmocka_unit_test(work_between_yields_prevents_naps),
		cmocka_unit_test(an_event_ends_a_nap_and_the_streak),
		cmocka_unit_test(poll_waits_for_its_ports_masked_or_not),
		cmocka_unit_test(poll_times_out),
		cmocka_unit_test(poll_ends_with_an_upcall),
		cmocka_unit_test(poll_errors),
		cmocka_unit_test(shutdown_reports_its_code),
		cmocka_unit_test(shutdown_stops_the_other_vcpus),
		cmocka_unit_test(a_latched_code_wins),
		cmocka_unit_test(the_rest_of_sched_op),
		cmocka_unit_test(watchdogs_bite),
		cmocka_unit_test(a_watchdog_of_no_time),
		cmocka_unit_test(pause_and_resume),
		cmocka_unit_test(paused_when_the_last_vcpu_is),
		cmocka_unit_test(a_blocked_vcpu_pauses_and_stays_blocked),
		cmocka_unit_test(destroy_stops),
		cmocka_unit_test(a_second_vcpu_starts),
		cmocka_unit_test(bad_contexts_are_refused),
		cmocka_unit_test(the_rest_of_vcpu_op),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
