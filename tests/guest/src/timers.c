/* SPDX-License-Identifier: MIT */
/* Timers and blocking: that they come, in which order, and what is refused. No durations. */
#include "pvg.h"

static unsigned int timer_port;
static u64 before; /* events counted before the last call */

#define CALL(name, expr)                                                                           \
	do {                                                                                       \
		long r_ = (before = pvg_port_count[timer_port], (expr));                           \
		printf("%s: %le\n", name, r_);                                                     \
	} while (0)
#define MS 1000000ul

static long vcpu(int cmd, unsigned int id, void *arg)
{
	return HC3(vcpu_op, cmd, id, arg);
}

static long block(void)
{
	return HC2(sched_op, SCHEDOP_block, 0);
}

/* Waits for one timer event for at most two seconds; how late it came, or -1. */
static long wait_event(u64 due)
{
	u64 end = pvg_now() + 2000 * MS;

	while (pvg_port_count[timer_port] == before) {
		if (pvg_now() > end)
			return -1;
		HC2(sched_op, SCHEDOP_yield, 0);
	}
	return (long)(pvg_now() - due);
}

static void set_timer_op(void)
{
	u64 due = pvg_now() + 5 * MS, seen;
	long late, set, cancel;

	CALL("set_timer_op in 5 ms", HC1(set_timer_op, due));
	late = wait_event(due);
	printf("  it came, and not early: %d\n", late >= 0);
	CALL("set_timer_op in the past", HC1(set_timer_op, 1));
	printf("  it came: %d\n", wait_event(0) >= 0);
	do { /* once more on a machine so busy that it was due before it was cancelled */
		seen = pvg_port_count[timer_port];
		due = pvg_now() + 5 * MS;
		set = HC1(set_timer_op, due);
		cancel = HC1(set_timer_op, 0);
	} while (pvg_now() >= due);
	CALL("set_timer_op in 5 ms", set);
	CALL("set_timer_op 0 (cancel)", cancel);
	pvg_spin_ns(15 * MS);
	pvg_force_callback();
	printf("  events: %d\n", (int)(pvg_port_count[timer_port] - seen));
	CALL("set_timer_op in 200 ms", HC1(set_timer_op, pvg_now() + 200 * MS));
	due = pvg_now() + 5 * MS;
	CALL("set_timer_op in 5 ms replaces it", HC1(set_timer_op, due));
	late = wait_event(due);
	printf("  it came before the first was due: %d\n", late >= 0 && late < (long)(190 * MS));
	seen = pvg_port_count[timer_port];
	pvg_spin_ns(5 * MS);
	HC1(set_timer_op, 0);
	printf("  once: %d\n", pvg_port_count[timer_port] == seen);
}

static void blocking(void)
{
	u64 due, seen = pvg_port_count[timer_port];
	struct evtchn_bind_ipi b = {.vcpu = 0};
	struct evtchn_send s;
	struct evtchn_close c;

	pvg_cli();
	due = pvg_now() + 10 * MS;
	HC1(set_timer_op, due);
	CALL("block with events masked", block());
	printf("  mask after: %d, the timer came: %d, not early: %d\n", VCPU0->evtchn_upcall_mask,
	       pvg_port_count[timer_port] == seen + 1, pvg_now() >= due);
	HC2(event_channel_op, EVTCHNOP_bind_ipi, &b);
	s.port = c.port = b.port;
	pvg_cli();
	HC2(event_channel_op, EVTCHNOP_send, &s);
	HC1(set_timer_op, pvg_now() + 3000 * MS);
	CALL("block with an event pending, masked", block());
	printf("  it returned at once, mask %d, event seen %d\n", VCPU0->evtchn_upcall_mask,
	       (int)pvg_port_count[b.port]);
	HC1(set_timer_op, 0);
	pvg_mask_port(b.port);
	HC2(event_channel_op, EVTCHNOP_send, &s);
	pvg_cli();
	due = pvg_now() + 10 * MS;
	HC1(set_timer_op, due);
	CALL("block with a masked port pending", block());
	printf("  waits for the timer: %d\n", pvg_now() >= due);
	HC2(event_channel_op, EVTCHNOP_close, &c);
	CALL("yield", HC2(sched_op, SCHEDOP_yield, 0));
}

static void singleshot(void)
{
	struct vcpu_set_singleshot_timer t = {.flags = 0};
	u64 seen;

	t.timeout_abs_ns = pvg_now() + 5 * MS;
	CALL("set_singleshot_timer in 5 ms", vcpu(VCPUOP_set_singleshot_timer, 0, &t));
	printf("  it came, and not early: %d\n", wait_event(t.timeout_abs_ns) >= 0);
	t.timeout_abs_ns = 1;
	CALL("in the past", vcpu(VCPUOP_set_singleshot_timer, 0, &t));
	printf("  it came: %d\n", wait_event(0) >= 0);
	t.flags = VCPU_SSHOTTMR_future;
	seen = pvg_port_count[timer_port];
	CALL("in the past, must be future", vcpu(VCPUOP_set_singleshot_timer, 0, &t));
	pvg_spin_ns(2 * MS);
	pvg_force_callback();
	printf("  events: %d\n", (int)(pvg_port_count[timer_port] - seen));
	t.timeout_abs_ns = pvg_now() + 20 * MS;
	CALL("in 20 ms, must be future", vcpu(VCPUOP_set_singleshot_timer, 0, &t));
	CALL("stop it", vcpu(VCPUOP_stop_singleshot_timer, 0, 0));
	pvg_spin_ns(30 * MS);
	pvg_force_callback();
	printf("  events: %d\n", (int)(pvg_port_count[timer_port] - seen));
	t.flags = 0xff;
	t.timeout_abs_ns = pvg_now() + MS;
	CALL("unknown flags", vcpu(VCPUOP_set_singleshot_timer, 0, &t));
	wait_event(0);
	CALL("of vCPU 1", vcpu(VCPUOP_set_singleshot_timer, 1, &t));
	CALL("at a bad pointer", vcpu(VCPUOP_set_singleshot_timer, 0, (void *)0x600000000000));
	CALL("stop of vCPU 1", vcpu(VCPUOP_stop_singleshot_timer, 1, 0));
}

/* A PV vCPU starts with a periodic timer of 10 ms. It ticks only while the vCPU is not blocked. */
static void default_period(void)
{
	u64 seen = pvg_port_count[timer_port], due;

	pvg_spin_ns(200 * MS);
	pvg_force_callback();
	printf("ticks in the first 200 ms without any timer set: %d\n",
	       pvg_port_count[timer_port] - seen >= 3);
	seen = pvg_port_count[timer_port];
	due = pvg_now() + 200 * MS;
	HC1(set_timer_op, due);
	/* Masked until the block, or the event may come before it and nothing ends it. */
	for (pvg_cli(); pvg_now() < due; pvg_cli())
		block();
	pvg_sti();
	printf("ticks while blocked for 200 ms: %s\n",
	       pvg_port_count[timer_port] - seen <= 4 ? "none of its own" : "many");
	CALL("stop_periodic_timer", vcpu(VCPUOP_stop_periodic_timer, 0, 0));
	pvg_force_callback();
	seen = pvg_port_count[timer_port];
	pvg_spin_ns(50 * MS);
	pvg_force_callback();
	printf("ticks after: %d\n", (int)(pvg_port_count[timer_port] - seen));
}

static void periodic(void)
{
	struct vcpu_set_periodic_timer t = {.period_ns = 10 * MS};
	u64 seen, start;

	CALL("set_periodic_timer 10 ms", vcpu(VCPUOP_set_periodic_timer, 0, &t));
	start = pvg_now();
	seen = pvg_port_count[timer_port];
	while (pvg_port_count[timer_port] < seen + 5 && pvg_now() < start + 3000 * MS)
		HC2(sched_op, SCHEDOP_yield, 0);
	printf("  five came: %d, in no less than 30 ms: %d\n",
	       pvg_port_count[timer_port] >= seen + 5, pvg_now() - start >= 30 * MS);
	CALL("stop_periodic_timer", vcpu(VCPUOP_stop_periodic_timer, 0, 0));
	pvg_force_callback();
	seen = pvg_port_count[timer_port];
	pvg_spin_ns(30 * MS);
	pvg_force_callback();
	printf("  events after: %d\n", (int)(pvg_port_count[timer_port] - seen));
	t.period_ns = 999999;
	CALL("period of 999999 ns", vcpu(VCPUOP_set_periodic_timer, 0, &t));
	t.period_ns = 0;
	CALL("period of 0", vcpu(VCPUOP_set_periodic_timer, 0, &t));
	t.period_ns = 1ul << 63;
	CALL("period of 2^63", vcpu(VCPUOP_set_periodic_timer, 0, &t));
	vcpu(VCPUOP_stop_periodic_timer, 0, 0);
	t.period_ns = 10 * MS;
	CALL("of vCPU 1", vcpu(VCPUOP_set_periodic_timer, 1, &t));
}

void guest_main(void)
{
	struct evtchn_bind_virq b = {.virq = VIRQ_TIMER, .vcpu = 0};

	pvg_events_init();
	pvg_traps_init();
	HC2(event_channel_op, EVTCHNOP_bind_virq, &b);
	timer_port = b.port;
	pvg_sti();
	default_period();
	set_timer_op();
	blocking();
	singleshot();
	periodic();
}
