/* SPDX-License-Identifier: MIT */
/*
 * Random walks over sched_op and the timers: polls with good and bad lists, blocks, watchdogs,
 * timers that fire, are cancelled, were due long ago or never will be. What is awaited is known by
 * the walk: it sleeps for long only where it expects to be woken at once.
 */
#include "pvg.h"

#define WALKS 8
#define STEPS 320
#define HOLE  0x600000000000ul
#define XEN   0xffff82d040200000ul
#define MS    1000000ul
#define PORTS 4

static unsigned int port[PORTS], timer_port, closed_port, unbound;
static bool pending[PORTS]; /* as the guest knows */
static u64 extra;
static u32 *edge; /* the end of a page, behind which is a hole */
static u32 *rdonly;

static void close(unsigned int p)
{
	struct evtchn_close c = {.port = p};

	HC2(event_channel_op, EVTCHNOP_close, &c);
}

static unsigned int bind_ipi(void)
{
	struct evtchn_bind_ipi b = {.vcpu = 0};

	HC2(event_channel_op, EVTCHNOP_bind_ipi, &b);
	return b.port;
}

/* What is pending by now; nothing is delivered, for the walk keeps events masked. */
static bool take(unsigned int p)
{
	bool was = pvg_test_and_clear(pvg_shared->evtchn_pending, p);

	if (was) { /* so that the next one is new to the selector as well */
		VCPU0->evtchn_pending_sel = 0;
		VCPU0->evtchn_upcall_pending = 0;
	}
	return was;
}

static long send(void)
{
	unsigned int k = (unsigned int)(pvg_rnd() % PORTS);
	struct evtchn_send s = {.port = port[k]};

	SAY("send %d", k);
	pending[k] = true;
	return HC2(event_channel_op, EVTCHNOP_send, &s);
}

static long clear(void)
{
	unsigned int k = (unsigned int)(pvg_rnd() % PORTS);

	SAY("clear %d", k);
	pending[k] = false;
	return take(port[k]);
}

static long mask(void)
{
	unsigned int k = (unsigned int)(pvg_rnd() % PORTS);

	if (pvg_rnd() & 1) {
		SAY("mask %d", k);
		pvg_mask_port(port[k]);
	} else {
		SAY("unmask %d", k);
		pvg_unmask_port(port[k]);
	}
	return pvg_port_pending(port[k]);
}

/* Whether it was long: nothing here should be, unless it waits for what does not come. */
static u64 took(u64 start)
{
	return pvg_now() - start > 5000 * MS;
}

static long poll(void)
{
	struct sched_poll p;
	u32 list[6], *at;
	unsigned int n = (unsigned int)(pvg_rnd() % 5), k = (unsigned int)(pvg_rnd() % 16);
	void *op = &p;
	bool ready = false, bad = false;
	u64 start = pvg_now();
	long r;

	memset(&p, 0, sizeof(p));
	for (unsigned int i = 0; i < n; i++) {
		unsigned int q = (unsigned int)(pvg_rnd() % PORTS);
		const u32 odd[] = {closed_port, unbound, 0, 1000, 4095, 4096, 131071, 131072, ~0u};

		list[i] = port[q];
		if (pvg_rnd() % 4 == 0)
			list[i] = PICK(odd);
		else if (pending[q] && !bad)
			ready = true;
		if (list[i] >= 4096 && !ready)
			bad = true;
		SAY("%x%s ", list[i], ready ? "!" : "");
	}
	at = edge - n;
	memcpy(at, list, n * sizeof(*at));
	p.nr_ports = n;
	if (k == 0)
		at = (u32 *)HOLE;
	if (k == 1)
		at = (u32 *)XEN;
	if (k == 2)
		at = (u32 *)(1ul << 63);
	if (k < 3)
		ready = false, bad |= n > 0;
	if (k == 3) { /* one more than there is */
		p.nr_ports = n + 1;
		bad |= !ready;
	}
	if (k == 4) {
		static const u32 many[] = {129, 128 + 256, 1u << 31, ~0u};

		p.nr_ports = PICK(many);
		ready = false;
		bad = true;
	}
	if (k == 5) {
		op = (void *)(pvg_rnd() & 1 ? HOLE : XEN);
		bad = true;
	}
	set_xen_guest_handle(p.ports, at);
	/* Where it should return at once it may as well be asked to wait for ever. */
	if (ready || bad)
		p.timeout = pvg_rnd() & 1 ? 0 : ~0ul >> (pvg_rnd() & 1);
	else
		p.timeout = pvg_rnd() & 1 ? pvg_now() + 50000 : pvg_rnd() % 3;
	if (!ready && !bad && p.timeout == 0)
		p.timeout = 1;
	SAY("poll of %x at %lx timeout %lx%s%s", p.nr_ports, k < 3 ? (u64)at : 0, p.timeout,
	    ready ? " ready" : "", bad ? " bad" : "");
	r = HC2(sched_op, SCHEDOP_poll, op);
	extra = pvg_mix(extra, took(start));
	extra = pvg_mix(extra, VCPU0->evtchn_upcall_mask);
	return r;
}

/* Either something is pending already, or a timer ends it. */
static long block(void)
{
	u64 start = pvg_now();
	bool now = false;
	long r;

	for (unsigned int i = 0; i < PORTS; i++)
		now |= pending[i] && !pvg_port_masked(port[i]) && VCPU0->evtchn_upcall_pending;
	if (!now) {
		VCPU0->evtchn_upcall_pending = 0;
		VCPU0->evtchn_pending_sel = 0;
		take(timer_port);
		HC1(set_timer_op, pvg_now() + 200000);
	}
	SAY("block%s", now ? " pending" : "");
	pvg_upcalls = 0;
	r = pvg_rnd() & 1 ? HC2(sched_op, SCHEDOP_block, 0) : hypercall(6, 1, 0, 0, 0, 0);
	/* The upcall cleared all there was. */
	VCPU0->evtchn_upcall_mask = 1;
	HC1(set_timer_op, 0);
	extra = pvg_mix(extra, took(start) | (pvg_upcalls != 0) << 4);
	for (unsigned int i = 0; i < PORTS; i++)
		pending[i] = pvg_port_pending(port[i]);
	take(timer_port);
	return r;
}

/* Whether the timer's event comes within a second. */
static bool comes(void)
{
	u64 end = pvg_now() + 1000 * MS;

	while (!take(timer_port)) {
		if (pvg_now() > end)
			return false;
		HC2(sched_op, SCHEDOP_yield, 0);
	}
	return true;
}

static bool stays_away(void)
{
	pvg_spin_ns(MS / 4);
	pvg_force_callback();
	return !take(timer_port);
}

static u64 far(void)
{
	const u64 t[] = {pvg_now() + (1ul << 49), pvg_now() + (1ul << 40),
			 pvg_now() + 3600000 * MS};

	return PICK(t);
}

static u64 wrapped(void)
{
	const u64 t[] = {1ul << 63, ~0ul, ~0ul >> 1, pvg_now() + (1ul << 51), 0xc000000000000000};

	return PICK(t);
}

static long timer_op(void)
{
	u64 due;
	long r;

	take(timer_port);
	switch (pvg_rnd() % 5) {
	case 0:
		due = pvg_rnd() & 1 ? 1 : pvg_now() - 1;
		r = HC1(set_timer_op, due);
		SAY("timer of the past");
		extra = pvg_mix(extra, comes());
		return r;
	case 1:
		r = HC1(set_timer_op, pvg_now() + 100000);
		SAY("timer soon");
		extra = pvg_mix(extra, comes());
		return r;
	case 2:
		r = HC1(set_timer_op, far());
		SAY("timer far away, and cancelled");
		extra = pvg_mix(extra, stays_away());
		HC1(set_timer_op, 0);
		return r;
	case 3:
		r = HC1(set_timer_op, wrapped());
		SAY("timer of a number that wrapped");
		extra = pvg_mix(extra, comes());
		return r;
	default:
		HC1(set_timer_op, far());
		r = HC1(set_timer_op, 0);
		SAY("timer cancelled");
		extra = pvg_mix(extra, stays_away());
		return r;
	}
}

static long single(void)
{
	struct vcpu_set_singleshot_timer t = {.flags = (u32)(pvg_rnd() & 1)};
	u32 cpu = pvg_rnd() % 8 ? 0 : (u32)(pvg_rnd() % 3);
	unsigned int k = (unsigned int)(pvg_rnd() % 4);
	long r;

	if (pvg_rnd() % 8 == 0)
		t.flags = (u32)pvg_rnd();
	take(timer_port);
	t.timeout_abs_ns = k == 0 ? 1 : k == 1 ? 0 : k == 2 ? pvg_now() + 100000 : far();
	SAY("single %d flags %x vCPU %d", k, t.flags, cpu);
	r = HC3(vcpu_op, VCPUOP_set_singleshot_timer, cpu, &t);
	if (r)
		return r;
	if (k == 3)
		extra = pvg_mix(extra, stays_away());
	else
		extra = pvg_mix(extra, comes());
	/* One timer: either call stops it. */
	if (pvg_rnd() & 1)
		extra = pvg_mix(extra, (u64)HC3(vcpu_op, VCPUOP_stop_singleshot_timer, 0, 0));
	else
		HC1(set_timer_op, 0);
	extra = pvg_mix(extra, stays_away());
	return r;
}

static long periodic(void)
{
	static const u64 periods[] = {MS, 2 * MS, MS + 1, 3 * MS};
	struct vcpu_set_periodic_timer t = {.period_ns = PICK(periods)};
	unsigned int n = 1 + (unsigned int)(pvg_rnd() % 3);
	long r;

	take(timer_port);
	if (pvg_rnd() & 1)
		pvg_mask_port(timer_port);
	r = HC3(vcpu_op, VCPUOP_set_periodic_timer, 0, &t);
	SAY("periodic %ld, %d times", t.period_ns, n);
	for (unsigned int i = 0; i < n; i++)
		extra = pvg_mix(extra, comes());
	extra = pvg_mix(extra, (u64)HC3(vcpu_op, VCPUOP_stop_periodic_timer, 0, 0));
	take(timer_port);
	extra = pvg_mix(extra, stays_away());
	pvg_unmask_port(timer_port);
	return r;
}

static long watchdog(void)
{
	static const u32 ids[] = {0, 0, 1, 2, 3, 4, 1u << 31, ~0u};
	struct sched_watchdog w = {.id = PICK(ids), .timeout = pvg_rnd() & 1 ? 1000 : ~0u};
	void *at = pvg_rnd() % 8 ? (void *)&w : pvg_rnd() & 1 ? (void *)HOLE : (void *)XEN;

	if (w.id != 0 && pvg_rnd() & 1)
		w.timeout = 0;
	SAY("watchdog %x timeout %x", w.id, w.timeout);
	return HC2(sched_op, SCHEDOP_watchdog, at);
}

static long other(void)
{
	struct sched_remote_shutdown s = {.reason = (unsigned int)(pvg_rnd() % 8)};
	struct sched_pin_override o = {.pcpu = (int)pvg_rnd()};
	static const domid_t doms[] = {0, 1000, DOMID_SELF, DOMID_IO, DOMID_XEN, DOMID_INVALID};
	u64 bad = pvg_rnd() & 1 ? HOLE : XEN;
	u64 start = pvg_now(), cmd = 8 + pvg_rnd() % 100;

	s.domain_id = PICK(doms);
	switch (pvg_rnd() % 8) {
	case 0:
		SAY("remote_shutdown of %x", s.domain_id);
		return HC2(sched_op, SCHEDOP_remote_shutdown, pvg_rnd() % 4 ? (u64)&s : bad);
	case 1:
		SAY("pin_override");
		return HC2(sched_op, SCHEDOP_pin_override, pvg_rnd() % 4 ? (u64)&o : bad);
	case 2:
		SAY("shutdown at a bad address");
		return HC2(sched_op, SCHEDOP_shutdown, bad);
	case 3:
		SAY("shutdown_code at a bad address");
		return HC2(sched_op, SCHEDOP_shutdown_code, bad);
	case 4:
		SAY("sched_op %ld", cmd);
		return HC2(sched_op, cmd, bad);
	case 5:
		SAY("sched_op_compat %ld", cmd);
		return hypercall(6, cmd, bad, 0, 0, 0);
	case 6:
		SAY("yield by the old call");
		extra = pvg_mix(extra, (u64)hypercall(6, 0, 0, 0, 0, 0));
		return (long)took(start);
	default:
		SAY("sched_op of 64 bits");
		return HC2(sched_op, (1ul << 32) + pvg_rnd() % 2 * SCHEDOP_pin_override, 0);
	}
}

static long one(void)
{
	switch (pvg_rnd() % 16) {
	case 0 ... 2:
		return send();
	case 3 ... 4:
		return clear();
	case 5:
		return mask();
	case 6 ... 9:
		return poll();
	case 10:
		return block();
	case 11:
		return timer_op();
	case 12:
		return pvg_rnd() % 4 ? single() : periodic();
	case 13 ... 14:
		return watchdog();
	default:
		return other();
	}
}

static u64 state(void)
{
	u64 sum = extra;

	for (unsigned int i = 0; i < PORTS; i++)
		sum = pvg_mix(sum, (u64)pvg_port_pending(port[i]) | (u64)pvg_port_masked(port[i])
									    << 1);
	return sum;
}

void guest_main(void)
{
	struct evtchn_bind_virq b = {.virq = VIRQ_TIMER, .vcpu = 0};
	struct evtchn_alloc_unbound u = {.dom = DOMID_SELF, .remote_dom = 0};

	pvg_events_init();
	pvg_traps_init();
	HC3(vcpu_op, VCPUOP_stop_periodic_timer, 0, 0);
	edge = pvg_edge_alloc();
	rdonly = pvg_page_alloc_ro();
	HC2(event_channel_op, EVTCHNOP_bind_virq, &b);
	timer_port = b.port;
	for (unsigned int i = 0; i < PORTS; i++)
		port[i] = bind_ipi();
	closed_port = bind_ipi();
	close(closed_port);
	HC2(event_channel_op, EVTCHNOP_alloc_unbound, &u);
	unbound = u.port;
	for (unsigned int walk = 0; walk < WALKS; walk++) {
		VCPU0->evtchn_upcall_mask = 1;
		for (unsigned int i = 0; i < PORTS; i++) {
			pvg_unmask_port(port[i]);
			take(port[i]);
			pending[i] = false;
		}
		pvg_seed(walk + 9000);
		extra = 0;
		printf("walk %d\n", walk);
		pvg_walk(walk, STEPS, one, state);
	}
	/* or what is left of the walk would be an upcall when the console is waited for */
	VCPU0->evtchn_upcall_mask = 1;
}
