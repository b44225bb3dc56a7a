/* SPDX-License-Identifier: MIT */
/* Clocks, timers and runstate. */
#include "harness.h"

#include <xen/event_channel.h>
#include <xen/sched.h>
#include <xen/vcpu.h>

#define MS 1000000ull

static uint32_t bind_timer(struct dom *t)
{
	struct evtchn_bind_virq op = {.virq = VIRQ_TIMER};

	assert_int_equal(EVTCHN(t, EVTCHNOP_bind_virq, &op), 0);
	return op.port;
}

static bool fired(struct dom *t, uint32_t port)
{
	uint64_t *word = &core_shared_info(&t->c)->evtchn_pending[port / 64];
	bool was = *word >> (port % 64) & 1;

	*word &= ~(1ull << (port % 64));
	return was;
}

static void stop_ticker(struct dom *t)
{
	assert_int_equal(call(t, __HYPERVISOR_vcpu_op, VCPUOP_stop_periodic_timer, 0, 0, 0), 0);
}

static long set_timer(struct dom *t, uint64_t ns)
{
	return call(t, __HYPERVISOR_set_timer_op, ns, 0, 0, 0);
}

/* ---- clocks ------------------------------------------------------------------------------ */

static void system_time_scales(void **state)
{
	struct dom *t = dom_new();

	assert_int_equal(core_time_now(&t->c), 0);
	t->tsc += 12345;
	assert_int_equal(core_time_now(&t->c), 12345);
	t->tsc = 10; /* another core's counter, behind the base */
	assert_int_equal(core_time_now(&t->c), 0);
	t->ctl.ns_base = 77;
	assert_int_equal(core_time_now(&t->c), 77);
	/* 3 GHz: mul is 2^32 / 3, no shift. */
	t->ctl.tsc_mul = 1431655765;
	t->ctl.tsc_shift = 0;
	t->ctl.ns_base = 0;
	t->tsc = t->ctl.tsc_base + 3000000000ull * 1000;
	assert_in_range(core_time_now(&t->c), 999999999000ull, 1000000000000ull);
	t->ctl.tsc_shift = -1;
	assert_in_range(core_time_now(&t->c), 499999999000ull, 500000000000ull);
	dom_free(t);
}

/* The guest's own computation from vcpu_time_info gives the same. */
static void the_guest_computes_the_same_time(void **state)
{
	struct dom *t = dom_new();
	const struct vcpu_time_info *ti = &core_vcpu_info(&t->c, t->c.v)->time;

	t->tsc += 987654321;
	uint64_t delta = (t->tsc - ti->tsc_timestamp) << ti->tsc_shift;
	uint64_t ns = ti->system_time +
		      (uint64_t)(((unsigned __int128)delta * ti->tsc_to_system_mul) >> 32);

	assert_int_equal(ns, core_time_now(&t->c));
	assert_true(ti->flags & XEN_PVCLOCK_TSC_STABLE_BIT);
	dom_free(t);
}

/* Where the processors' counters differ the guest must not take them for one. */
static void an_unstable_counter_is_told(void **state)
{
	struct dom *t = dom_raw(1);

	t->ctl.boot.flags |= CORE_BOOT_TSC_UNSTABLE;
	assert_true(core_domain_init(&t->c));
	assert_int_equal(core_vcpu_info(&t->c, t->c.v)->time.flags, 0);
	dom_free(t);
}

static void new_parameters_are_published(void **state)
{
	struct dom *t = dom_new();
	const struct vcpu_time_info *ti = &core_vcpu_info(&t->c, t->c.v)->time;
	uint32_t version = ti->version;

	t->ctl.vcpu[0].kick = 1;
	core_next(&t->c);
	assert_int_equal(ti->version, version); /* nothing new */
	t->ctl.ns_base = 500;
	t->ctl.vcpu[0].kick = 1;
	core_next(&t->c);
	assert_int_equal(ti->version, version + 2);
	assert_int_equal(ti->system_time, 500);
	dom_free(t);
}

static void wall_clock_follows_the_library(void **state)
{
	struct dom *t = dom_raw(1);
	struct shared_info *s;

	t->ctl.boot.wallclock_offset_ns = -2500000000ll; /* 2.5 s behind */
	t->ctl.wall_nsec = 100;
	assert_true(core_domain_init(&t->c));
	s = core_shared_info(&t->c);
	assert_int_equal(s->wc_sec, 1700000000 - 3);
	assert_int_equal(s->wc_nsec, 500000100);
	uint32_t version = s->wc_version;

	t->ctl.wall_sec = 0x1234567890ull;
	t->ctl.wall_nsec = 999999999;
	t->ctl.boot.wallclock_offset_ns = 1;
	t->ctl.wall_version += 2;
	t->ctl.vcpu[0].kick = 1;
	core_next(&t->c);
	assert_int_equal(s->wc_sec, 0x34567891);
	assert_int_equal(s->wc_sec_hi, 0x12);
	assert_int_equal(s->wc_nsec, 0);
	assert_int_equal(s->wc_version, version + 2);
	dom_free(t);
}

static void the_time_area_is_a_copy(void **state)
{
	struct dom *t = dom_new();
	struct vcpu_register_time_memory_area op = {.addr.p = VA(PG_DATA) + 64};
	const struct vcpu_time_info *copy = (void *)((char *)page_ptr(t, PG_DATA) + 64);
#define TIME_AREA(id)                                                                              \
	call(t, __HYPERVISOR_vcpu_op, VCPUOP_register_vcpu_time_memory_area, (id), ARG(t, &op), 0)

	assert_int_equal(TIME_AREA(0), 0);
	assert_memory_equal(copy, &core_vcpu_info(&t->c, t->c.v)->time, sizeof(*copy));
	t->ctl.ns_base = 900;
	t->ctl.vcpu[0].kick = 1;
	core_next(&t->c);
	assert_int_equal(copy->system_time, 900);
	assert_int_equal(copy->version & 1, 0);

	op.addr.p = 0xffff800000000000ull;
	assert_int_equal(TIME_AREA(0), -XEN_EFAULT);
	op.addr.p = 0x800000000000ull - 8; /* only its start counts; nothing is written */
	assert_int_equal(TIME_AREA(0), 0);
	t->ctl.ns_base = 1000;
	t->ctl.vcpu[0].kick = 1;
	core_next(&t->c);
	assert_int_equal(copy->system_time, 900);
	op.addr.p = UNMAPPED; /* a valid address without memory: ignored until there is some */
	assert_int_equal(TIME_AREA(0), 0);
	assert_alive(t);
	dom_free(t);
}

/* ---- timers ------------------------------------------------------------------------------ */

static void one_shot_timer(void **state)
{
	struct dom *t = dom_new();
	uint32_t port = bind_timer(t);

	stop_ticker(t);
	core_next(&t->c);
	assert_int_equal(set_timer(t, 3 * MS), 0);
	assert_int_equal(core_next(&t->c), CORE_RUN);
	assert_int_equal(t->c.v->wake_ns, 3 * MS); /* the executor comes back by then */
	t->tsc += 3 * MS - 1;
	core_next(&t->c);
	assert_false(fired(t, port));
	t->tsc += 1;
	core_next(&t->c);
	assert_true(fired(t, port));
	assert_int_equal(t->c.v->wake_ns, CORE_NEVER);
	core_next(&t->c);
	assert_false(fired(t, port));

	assert_int_equal(set_timer(t, 4 * MS), 0);
	assert_int_equal(set_timer(t, 0), 0); /* stopped */
	t->tsc += 10 * MS;
	core_next(&t->c);
	assert_false(fired(t, port));
	assert_int_equal(set_timer(t, 1), 0); /* in the past: at once */
	core_next(&t->c);
	assert_true(fired(t, port));
	dom_free(t);
}

static void absurd_timeouts_fire_in_100_ms(void **state)
{
	struct dom *t = dom_new();
	uint32_t port = bind_timer(t);

	stop_ticker(t);
	core_next(&t->c);
	assert_int_equal(set_timer(t, (uint64_t)-5), 0);
	core_next(&t->c);
	assert_int_equal(t->c.v->wake_ns, 100 * MS);
	assert_int_equal(set_timer(t, 1ull << 50), 0);
	core_next(&t->c);
	assert_int_equal(t->c.v->wake_ns, 100 * MS);
	assert_int_equal(set_timer(t, (1ull << 50) - 1), 0);
	core_next(&t->c);
	assert_int_equal(t->c.v->wake_ns, (1ull << 50) - 1);
	assert_false(fired(t, port));
	dom_free(t);
}

static void a_timer_wakes_a_blocked_vcpu(void **state)
{
	struct dom *t = dom_new();
	uint32_t port = bind_timer(t);

	stop_ticker(t);
	set_event_callback(t);
	core_next(&t->c);
	set_timer(t, 7 * MS);
	call(t, __HYPERVISOR_sched_op, SCHEDOP_block, 0, 0, 0);
	assert_int_equal(core_next(&t->c), CORE_BLOCK);
	assert_int_equal(t->c.v->wake_ns, 7 * MS);
	t->tsc += 7 * MS;
	assert_int_equal(core_next(&t->c), CORE_RUN);
	assert_int_equal(t->c.v->regs.rip, EVENT_HANDLER);
	assert_true(fired(t, port));
	dom_free(t);
}

static void the_ticker_runs_at_100_hz(void **state)
{
	struct dom *t = dom_new();

	core_next(&t->c);
	assert_int_equal(t->c.v->wake_ns, CORE_NEVER); /* nobody listens */
	uint32_t port = bind_timer(t);
	unsigned int ticks = 0;

	for (unsigned int ms = 0; ms < 105; ms++) {
		core_next(&t->c);
		ticks += fired(t, port);
		t->tsc += MS;
	}
	assert_int_equal(ticks, 10);
	/* Late by many ticks: one event, and the phase is kept. */
	t->tsc += 1000 * MS;
	core_next(&t->c);
	assert_true(fired(t, port));
	assert_in_range(t->c.v->wake_ns, core_time_now(&t->c) + 1, core_time_now(&t->c) + 10 * MS);
	/* It does not wake a vCPU that sleeps; one tick comes when something else has. */
	set_event_callback(t);
	core_vcpu_info(&t->c, t->c.v)->evtchn_upcall_pending = 0;
	call(t, __HYPERVISOR_sched_op, SCHEDOP_block, 0, 0, 0);
	assert_int_equal(core_next(&t->c), CORE_BLOCK);
	assert_int_equal(t->c.v->wake_ns, CORE_NEVER);
	t->tsc += 100 * MS;
	t->ctl.vcpu[0].kick = 1;
	assert_int_equal(core_next(&t->c), CORE_BLOCK);
	assert_false(fired(t, port));
	core_shared_info(&t->c)->evtchn_pending[0] = 0;
	core_vcpu_info(&t->c, t->c.v)->evtchn_pending_sel = 0;
	t->ctl.inbound[0] = 1 << CONSOLE_PORT;
	t->ctl.inbound_any = 1;
	t->ctl.vcpu[0].kick = 1;
	assert_int_equal(core_next(&t->c), CORE_RUN);
	assert_true(fired(t, port));

	stop_ticker(t);
	core_next(&t->c);
	assert_int_equal(t->c.v->wake_ns, CORE_NEVER);
	dom_free(t);
}

static void periods_are_checked(void **state)
{
	struct dom *t = dom_new();
	struct vcpu_set_periodic_timer op = {.period_ns = MS - 1};
#define PERIODIC() call(t, __HYPERVISOR_vcpu_op, VCPUOP_set_periodic_timer, 0, ARG(t, &op), 0)

	assert_int_equal(PERIODIC(), -XEN_EINVAL);
	op.period_ns = 1ull << 63;
	assert_int_equal(PERIODIC(), -XEN_EINVAL);
	op.period_ns = MS;
	assert_int_equal(PERIODIC(), 0);
	assert_int_equal(call(t, __HYPERVISOR_vcpu_op, VCPUOP_set_periodic_timer, 0, UNMAPPED, 0),
			 -XEN_EFAULT);
	dom_free(t);
}

static void vcpu_op_one_shot(void **state)
{
	struct dom *t = dom_new_vcpus(2);
	uint32_t port = bind_timer(t);
	struct vcpu_set_singleshot_timer op = {.timeout_abs_ns = 2 * MS};
#define ONESHOT(id) call(t, __HYPERVISOR_vcpu_op, VCPUOP_set_singleshot_timer, (id), ARG(t, &op), 0)

	stop_ticker(t);
	core_next(&t->c);
	assert_int_equal(ONESHOT(0), 0);
	core_next(&t->c);
	assert_int_equal(t->c.v->wake_ns, 2 * MS);
	assert_int_equal(ONESHOT(1), -XEN_EINVAL); /* only its own */
	assert_int_equal(call(t, __HYPERVISOR_vcpu_op, VCPUOP_stop_singleshot_timer, 1, 0, 0),
			 -XEN_EINVAL);
	assert_int_equal(call(t, __HYPERVISOR_vcpu_op, VCPUOP_stop_singleshot_timer, 0, 0, 0), 0);
	core_next(&t->c);
	assert_int_equal(t->c.v->wake_ns, CORE_NEVER);

	t->tsc += 5 * MS;
	op.flags = VCPU_SSHOTTMR_future; /* ignored, as Xen does */
	assert_int_equal(ONESHOT(0), 0);
	core_next(&t->c);
	assert_true(fired(t, port));
	dom_free(t);
}

/* ---- runstate ---------------------------------------------------------------------------- */

static struct vcpu_runstate_info runstate(struct dom *t)
{
	struct vcpu_runstate_info info;

	assert_int_equal(call(t, __HYPERVISOR_vcpu_op, VCPUOP_get_runstate_info, 0, VA(PG_ARG), 0),
			 0);
	arg_get(t, &info, sizeof(info));
	return info;
}

static void times_add_up(void **state)
{
	struct dom *t = dom_new();
	struct vcpu_runstate_info info;

	core_next(&t->c);
	t->tsc += 5 * MS;
	info = runstate(t);
	assert_int_equal(info.state, RUNSTATE_running);
	assert_int_equal(info.time[RUNSTATE_running], 5 * MS);
	call(t, __HYPERVISOR_sched_op, SCHEDOP_block, 0, 0, 0);
	core_next(&t->c);
	t->tsc += 3 * MS;
	t->ctl.inbound[0] = 1 << CONSOLE_PORT;
	t->ctl.inbound_any = 1;
	t->ctl.vcpu[0].kick = 1;
	set_event_callback(t);
	assert_int_equal(core_next(&t->c), CORE_RUN);
	t->tsc += 1 * MS;
	info = runstate(t);
	assert_int_equal(info.time[RUNSTATE_running], 6 * MS);
	assert_int_equal(info.time[RUNSTATE_blocked], 3 * MS);
	assert_int_equal(info.time[0] + info.time[1] + info.time[2] + info.time[3],
			 core_time_now(&t->c));
	assert_int_equal(t->ctl.vcpu[0].blocked_ns, 3 * MS);
	dom_free(t);
}

static void waking_late_is_stolen_time(void **state)
{
	struct dom *t = dom_new();
	struct vcpu_runstate_info info;

	bind_timer(t);
	stop_ticker(t);
	set_event_callback(t);
	core_next(&t->c);
	set_timer(t, 4 * MS);
	call(t, __HYPERVISOR_sched_op, SCHEDOP_block, 0, 0, 0);
	core_next(&t->c);
	t->tsc += 6 * MS; /* the host was busy for 2 ms */
	assert_int_equal(core_next(&t->c), CORE_RUN);
	info = runstate(t);
	assert_int_equal(info.time[RUNSTATE_blocked], 4 * MS);
	assert_int_equal(info.time[RUNSTATE_runnable], 2 * MS);
	dom_free(t);
}

static void late_timers_are_stolen_time(void **state)
{
	struct dom *t = dom_new();
	struct vcpu_runstate_info info;

	bind_timer(t);
	stop_ticker(t);
	set_event_callback(t);
	t->c.kicked_at_wake = true;
	core_next(&t->c);
	set_timer(t, 4 * MS);
	core_next(&t->c);
	t->tsc += 7 * MS; /* it runs all the time, and is interrupted 3 ms late */
	t->ctl.vcpu[0].kick = 1;
	assert_int_equal(core_next(&t->c), CORE_RUN);
	info = runstate(t);
	assert_int_equal(info.state, RUNSTATE_running);
	assert_int_equal(info.time[RUNSTATE_running], 4 * MS);
	assert_int_equal(info.time[RUNSTATE_runnable], 3 * MS);
	/* Once only, and not where it is in time. */
	set_timer(t, 12 * MS);
	core_next(&t->c);
	for (unsigned int i = 0; i < 2; i++) {
		t->tsc += 5 * MS / 2 + i * 50000; /* (the second is 50 us late) */
		t->ctl.vcpu[0].kick = 1;
		assert_int_equal(core_next(&t->c), CORE_RUN);
	}
	assert_int_equal(runstate(t).time[RUNSTATE_runnable], 3 * MS);
	dom_free(t);
}

static void measured_steal_is_reported(void **state)
{
	struct dom *t = dom_new();
	struct vcpu_runstate_info info;

	core_next(&t->c);
	t->tsc += 10 * MS;
	t->ctl.vcpu[0].stolen_ns = 4 * MS;
	t->ctl.vcpu[0].kick = 1;
	core_next(&t->c);
	info = runstate(t);
	assert_int_equal(info.time[RUNSTATE_running], 6 * MS);
	assert_int_equal(info.time[RUNSTATE_runnable], 4 * MS);
	/* Nonsense cannot make the sum drift. */
	t->ctl.vcpu[0].stolen_ns = ~0ull;
	t->ctl.vcpu[0].kick = 1;
	core_next(&t->c);
	info = runstate(t);
	assert_int_equal(info.time[RUNSTATE_running] + info.time[RUNSTATE_runnable], 10 * MS);
	dom_free(t);
}

static void the_runstate_area_is_kept(void **state)
{
	struct dom *t = dom_new();
	struct vcpu_register_runstate_memory_area op = {.addr.p = VA(PG_DATA)};
	const struct vcpu_runstate_info *area = page_ptr(t, PG_DATA);

	core_next(&t->c);
	t->tsc += MS;
	assert_int_equal(call(t, __HYPERVISOR_vcpu_op, VCPUOP_register_runstate_memory_area, 0,
			      ARG(t, &op), 0),
			 0);
	assert_int_equal(area->state, RUNSTATE_running);
	assert_int_equal(area->time[RUNSTATE_running], MS);

	call(t, __HYPERVISOR_vm_assist, VMASST_CMD_enable, VMASST_TYPE_runstate_update_flag, 0, 0);
	call(t, __HYPERVISOR_sched_op, SCHEDOP_block, 0, 0, 0);
	core_next(&t->c);
	t->tsc += 2 * MS;
	t->ctl.inbound[0] = 1 << CONSOLE_PORT;
	t->ctl.inbound_any = 1;
	t->ctl.vcpu[0].kick = 1;
	set_event_callback(t);
	core_next(&t->c);
	assert_int_equal(area->state, RUNSTATE_running);
	assert_int_equal(area->time[RUNSTATE_blocked], 2 * MS);
	assert_int_equal(area->state_entry_time, 3 * MS); /* the update flag is gone again */

	op.addr.p = 0xffff800000000000ull;
	assert_int_equal(call(t, __HYPERVISOR_vcpu_op, VCPUOP_register_runstate_memory_area, 0,
			      ARG(t, &op), 0),
			 -XEN_EFAULT);
	dom_free(t);
}

/* The area is the kernel's, also when the vCPU is in user mode as the clock changes. */
static void areas_are_written_from_user_mode(void **state)
{
	struct dom *t = dom_new();
	struct vcpu_register_time_memory_area op = {.addr.p = VA(PG_DATA)};
	const struct vcpu_time_info *copy = page_ptr(t, PG_DATA);

	assert_int_equal(call(t, __HYPERVISOR_vcpu_op, VCPUOP_register_vcpu_time_memory_area, 0,
			      ARG(t, &op), 0),
			 0);
	enter_user(t);
	t->ctl.ns_base = 4242;
	t->ctl.vcpu[0].kick = 1;
	core_next(&t->c);
	assert_int_equal(copy->system_time, 4242);
	assert_int_equal(t->c.v->kernel_mode, 0);
	dom_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(system_time_scales),
		cmocka_unit_test(the_guest_computes_the_same_time),
		cmocka_unit_test(an_unstable_counter_is_told),
		cmocka_unit_test(new_parameters_are_published),
		cmocka_unit_test(wall_clock_follows_the_library),
		cmocka_unit_test(the_time_area_is_a_copy),
		cmocka_unit_test(one_shot_timer),
		cmocka_unit_test(absurd_timeouts_fire_in_100_ms),
		cmocka_unit_test(a_timer_wakes_a_blocked_vcpu),
		cmocka_unit_test(the_ticker_runs_at_100_hz),
		cmocka_unit_test(periods_are_checked),
		cmocka_unit_test(vcpu_op_one_shot),
		cmocka_unit_test(times_add_up),
		cmocka_unit_test(waking_late_is_stolen_time),
		cmocka_unit_test(late_timers_are_stolen_time),
		cmocka_unit_test(measured_steal_is_reported),
		cmocka_unit_test(the_runstate_area_is_kept),
		cmocka_unit_test(areas_are_written_from_user_mode),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
