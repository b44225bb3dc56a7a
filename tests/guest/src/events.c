/* SPDX-License-Identifier: MIT */
/* Event channels: binding, delivery and masking, polling, and what is refused. */
#include "pvg.h"

static unsigned int order[16], nr_order;
static void note_port(unsigned int port)
{
	if (nr_order < 16)
		order[nr_order++] = port;
}

static long op(int cmd, void *arg)
{
	return HC2(event_channel_op, cmd, arg);
}
static long ev_send(unsigned int port)
{
	struct evtchn_send s = {.port = port};

	return op(EVTCHNOP_send, &s);
}
static long ev_close(unsigned int port)
{
	struct evtchn_close c = {.port = port};

	return op(EVTCHNOP_close, &c);
}
static long ev_unmask(unsigned int port)
{
	struct evtchn_unmask u = {.port = port};

	return op(EVTCHNOP_unmask, &u);
}
static long alloc(unsigned int dom, unsigned int remote, unsigned int *port)
{
	struct evtchn_alloc_unbound a = {.dom = (domid_t)dom, .remote_dom = (domid_t)remote};
	long r = op(EVTCHNOP_alloc_unbound, &a);

	*port = r ? 0 : a.port;
	return r;
}
static long inter(unsigned int dom, unsigned int remote, unsigned int *port)
{
	struct evtchn_bind_interdomain b = {.remote_dom = (domid_t)dom, .remote_port = remote};
	long r = op(EVTCHNOP_bind_interdomain, &b);

	*port = r ? 0 : b.local_port;
	return r;
}
static long virq(unsigned int nr, unsigned int vcpu, unsigned int *port)
{
	struct evtchn_bind_virq b = {.virq = nr, .vcpu = vcpu};
	long r = op(EVTCHNOP_bind_virq, &b);

	*port = r ? 0 : b.port;
	return r;
}
static long ipi(unsigned int vcpu, unsigned int *port)
{
	struct evtchn_bind_ipi b = {.vcpu = vcpu};
	long r = op(EVTCHNOP_bind_ipi, &b);

	*port = r ? 0 : b.port;
	return r;
}
static void status(const char *name, unsigned int dom, unsigned int port)
{
	static const char *const states[] = {"closed", "unbound", "interdomain",
					     "pirq",   "virq",	  "ipi"};
	struct evtchn_status s = {.dom = (domid_t)dom, .port = port};
	long r = op(EVTCHNOP_status, &s);

	printf("status of %s: %le", name, r);
	if (!r) {
		printf(" %s vcpu %d", s.status < 6 ? states[s.status] : "?", (int)s.vcpu);
		if (s.status == EVTCHNSTAT_unbound)
			printf(" for %s", s.u.unbound.dom ? "itself" : "domain 0");
		if (s.status == EVTCHNSTAT_virq)
			printf(" virq %d", (int)s.u.virq);
	}
	printf("\n");
}

static void initial_ports(void)
{
	struct evtchn_status s = {.dom = DOMID_SELF, .port = start_info->store_evtchn};

	op(EVTCHNOP_status, &s);
	printf("store port: status %d, remote domain %d\n", (int)s.status, s.u.interdomain.dom);
	status("port 0", DOMID_SELF, 0);
	status("port 3", DOMID_SELF, 3);
	status("port 1000", DOMID_SELF, 1000);
	status("port 1023", DOMID_SELF, 1023);
	status("port 4095", DOMID_SELF, 4095);
	status("port 4096", DOMID_SELF, 4096);
	status("port 100000", DOMID_SELF, 100000);
	status("port 1 of domain 0", 0, 1);
	status("port 1 of nobody", 1000, 1);
	status("port 1 of DOMID_INVALID", DOMID_INVALID, 1);
}

static void binding(void)
{
	unsigned int a, b, c, d, e, v;

	R("alloc for self", alloc(DOMID_SELF, DOMID_SELF, &a));
	printf("  port is the first free: %d\n", a == 3);
	R("alloc for domain 0", alloc(DOMID_SELF, 0, &b));
	R("alloc for nobody", alloc(DOMID_SELF, 1000, &c));
	R("alloc on behalf of domain 0", alloc(0, DOMID_SELF, &d));
	R("alloc on behalf of nobody", alloc(1000, DOMID_SELF, &d));
	status("the one for domain 0", DOMID_SELF, b);
	R("interdomain to own port", inter(DOMID_SELF, a, &d));
	printf("  local port is another: %d\n", d != a);
	R("interdomain to it again", inter(DOMID_SELF, a, &e));
	R("interdomain to the one for domain 0", inter(DOMID_SELF, b, &e));
	R("interdomain to port 4000", inter(DOMID_SELF, 4000, &e));
	R("interdomain to port 2^20", inter(DOMID_SELF, 1 << 20, &e));
	R("interdomain to domain 0, port 1", inter(0, 1, &e));
	R("interdomain to nobody", inter(1000, 1, &e));
	R("virq timer", virq(VIRQ_TIMER, 0, &v));
	R("virq timer again", virq(VIRQ_TIMER, 0, &e));
	R("virq timer on vCPU 1", virq(VIRQ_TIMER, 1, &e));
	R("virq debug", virq(VIRQ_DEBUG, 0, &e));
	R("  close it", ev_close(e));
	R("virq console (global, dom0's)", virq(VIRQ_CONSOLE, 0, &e));
	if (e)
		ev_close(e);
	R("virq dom_exc", virq(VIRQ_DOM_EXC, 0, &e));
	if (e)
		ev_close(e);
	R("virq 24", virq(24, 0, &e));
	R("virq 2^31", virq(1u << 31, 0, &e));
	R("ipi", ipi(0, &c));
	R("ipi to vCPU 1", ipi(1, &e));
	R("ipi to vCPU 2^31", ipi(1u << 31, &e));
	status("own unbound, now bound", DOMID_SELF, a);
	status("virq", DOMID_SELF, v);
	status("ipi", DOMID_SELF, c);
	R("send to port 0", ev_send(0));
	R("send to a closed port", ev_send(100));
	R("send to port 4096", ev_send(4096));
	R("send to an unbound port", ev_send(b));
	R("send to a virq port", ev_send(v));
	R("send to an ipi port", ev_send(c));
	R("close port 0", ev_close(0));
	R("close port 100", ev_close(100));
	R("close port 5000", ev_close(5000));
	R("close the unbound one", ev_close(b));
	R("close it again", ev_close(b));
	R("close one end of the pair", ev_close(d));
	status("the other end", DOMID_SELF, a);
	R("send to the other end", ev_send(a));
	R("close the other end", ev_close(a));
	R("close the ipi", ev_close(c));
	R("close the virq", ev_close(v));
	R("alloc again", alloc(DOMID_SELF, DOMID_SELF, &b));
	printf("  reuses the lowest: %d\n", b == 3);
	ev_close(b);
}

/* What an upcall looks like, and when it happens. */
static void delivery(void)
{
	unsigned int a, b, c;

	pvg_port_hook = note_port;
	ipi(0, &a);
	ipi(0, &b);
	printf("a new port is masked: %d\n", pvg_port_masked(a));
	pvg_unmask_port(a);
	pvg_unmask_port(b);
	pvg_upcalls = 0;
	pvg_cli();
	R("send while events are masked", ev_send(a));
	printf("  pending %d, selector word 0: %lx, upcall pending %d, upcalls %d\n",
	       pvg_port_pending(a), VCPU0->evtchn_pending_sel, VCPU0->evtchn_upcall_pending,
	       pvg_upcalls);
	R("send again", ev_send(a));
	barrier();
	VCPU0->evtchn_upcall_mask = 0;
	barrier();
	printf("unmasked by store: upcalls %d\n", pvg_upcalls);
	pvg_force_callback();
	printf("after a hypercall: upcalls %d, port seen %d times\n", pvg_upcalls,
	       (int)pvg_port_count[a]);
	printf("  frame: cs %lx IF %d, mask inside %d, ss %lx\n", pvg_upcall_frame.cs,
	       (int)(pvg_upcall_frame.rflags >> 9 & 1), (int)pvg_upcall_mask_inside,
	       pvg_upcall_frame.ss);
	printf("  mask after: %d\n", VCPU0->evtchn_upcall_mask);
	pvg_upcalls = 0;
	R("send while unmasked", ev_send(a));
	printf("  upcalls at once: %d\n", pvg_upcalls);
	pvg_mask_port(a);
	pvg_upcalls = 0;
	R("send to a masked port", ev_send(a));
	printf("  upcalls %d, pending %d, selector %lx, upcall pending %d\n", pvg_upcalls,
	       pvg_port_pending(a), VCPU0->evtchn_pending_sel, VCPU0->evtchn_upcall_pending);
	R("unmask it by hypercall", ev_unmask(a));
	printf("  upcalls %d, pending %d, masked %d\n", pvg_upcalls, pvg_port_pending(a),
	       pvg_port_masked(a));
	pvg_mask_port(a);
	ev_send(a);
	pvg_upcalls = 0;
	pvg_test_and_clear(pvg_shared->evtchn_mask, a);
	pvg_force_callback();
	printf("unmask it by a bit clear: upcalls %d, pending %d\n", pvg_upcalls,
	       pvg_port_pending(a));
	R("unmask again by hypercall (not masked now)", ev_unmask(a));
	printf("  upcalls %d, pending %d\n", pvg_upcalls, pvg_port_pending(a));
	pvg_test_and_clear(pvg_shared->evtchn_pending, a);
	R("unmask of port 4096", ev_unmask(4096));
	R("unmask of a closed port", ev_unmask(200));
	/* order: lowest word and bit first, several in one upcall */
	pvg_cli();
	nr_order = 0;
	pvg_upcalls = 0;
	ev_send(b);
	ev_send(a);
	pvg_sti();
	printf("two at once: upcalls %d, order %s\n", pvg_upcalls,
	       nr_order == 2 && order[0] == a && order[1] == b ? "by port" : "other");
	/* pending set but upcall_pending lost */
	pvg_cli();
	ev_send(a);
	VCPU0->evtchn_upcall_pending = 0;
	pvg_upcalls = 0;
	pvg_sti();
	printf("upcall_pending cleared by hand: upcalls %d\n", pvg_upcalls);
	pvg_force_callback();
	printf("  after one more hypercall: %d\n", pvg_upcalls);
	R("send again, still pending", ev_send(a));
	printf("  upcalls %d\n", pvg_upcalls);
	pvg_test_and_clear(pvg_shared->evtchn_pending, a);
	ev_send(a);
	printf("pending cleared, selector left, sent again: upcalls %d\n", pvg_upcalls);
	pvg_test_and_clear(pvg_shared->evtchn_pending, a);
	VCPU0->evtchn_pending_sel = 0;
	ev_send(a);
	printf("pending and selector cleared, sent again: upcalls %d\n", pvg_upcalls);
	VCPU0->evtchn_upcall_pending = 1;
	pvg_upcalls = 0;
	pvg_force_callback();
	printf("upcall_pending set by hand, a hypercall: upcalls %d\n", pvg_upcalls);
	/* loopback pair */
	alloc(DOMID_SELF, DOMID_SELF, &c);
	{
		unsigned int d;

		pvg_cli();
		inter(DOMID_SELF, c, &d);
		printf("the new end of a pair: masked %d, pending %d; the other: masked %d, "
		       "pending %d\n",
		       pvg_port_masked(d), pvg_port_pending(d), pvg_port_masked(c),
		       pvg_port_pending(c));
		pvg_sti();
		pvg_unmask_port(c);
		pvg_unmask_port(d);
		memset(pvg_port_count, 0, sizeof(pvg_port_count));
		R("send on one end", ev_send(c));
		printf("  this end saw %d, the other %d\n", (int)pvg_port_count[c],
		       (int)pvg_port_count[d]);
		R("send on the other", ev_send(d));
		printf("  this end saw %d, the other %d\n", (int)pvg_port_count[c],
		       (int)pvg_port_count[d]);
		pvg_mask_port(d);
		ev_send(c);
		printf("close a pending, masked port: %le\n", ev_close(d));
		printf("  pending %d masked %d\n", pvg_port_pending(d), pvg_port_masked(d));
		ev_close(c);
	}
	ev_close(a);
	ev_close(b);
	pvg_port_hook = NULL;
}

static long poll(unsigned int *ports, unsigned int n, u64 timeout)
{
	struct sched_poll p = {.nr_ports = n, .timeout = timeout};

	set_xen_guest_handle(p.ports, ports);
	return HC2(sched_op, SCHEDOP_poll, &p);
}

static void polling(void)
{
	unsigned int a, b, both[2], bad = 5000;
	u64 start;

	ipi(0, &a);
	ipi(0, &b);
	both[0] = a;
	both[1] = b;
	pvg_cli();
	pvg_mask_port(a);
	ev_send(a);
	R("poll a pending, masked port", poll(&a, 1, 0));
	printf("  still pending %d\n", pvg_port_pending(a));
	pvg_test_and_clear(pvg_shared->evtchn_pending, a);
	start = pvg_now();
	R("poll with a deadline in 20 ms", poll(&a, 1, start + 20000000));
	printf("  it took that long: %d\n", pvg_now() - start >= 20000000);
	R("poll with a deadline in the past", poll(&a, 1, 1));
	R("poll two, the second pending", (ev_send(b), poll(both, 2, 0)));
	pvg_test_and_clear(pvg_shared->evtchn_pending, b);
	R("poll port 5000", poll(&bad, 1, pvg_now() + 1000000));
	R("poll no ports, deadline", poll(NULL, 0, pvg_now() + 1000000));
	R("poll 129 ports", poll(NULL, 129, pvg_now() + 1000000));
	R("poll ports at a bad pointer", poll((void *)0x600000000000, 1, pvg_now() + 1000000));
	pvg_sti();
	R("poll with events on", poll(&a, 1, pvg_now() + 1000000));
	ev_close(a);
	ev_close(b);
}

static void rest(void)
{
	struct evtchn_bind_vcpu bv;
	struct evtchn_reset reset = {.dom = DOMID_SELF};
	struct evtchn_set_priority prio = {.priority = 3};
	struct evtchn_expand_array expand = {0};
	struct evtchn_init_control init = {.vcpu = 7};
	unsigned int a, v, n;

	ipi(0, &a);
	virq(VIRQ_TIMER, 0, &v);
	bv.port = a;
	bv.vcpu = 0;
	R("bind_vcpu of an ipi", op(EVTCHNOP_bind_vcpu, &bv));
	bv.port = v;
	R("bind_vcpu of a per-vCPU virq", op(EVTCHNOP_bind_vcpu, &bv));
	bv.port = start_info->store_evtchn;
	R("bind_vcpu of the store port", op(EVTCHNOP_bind_vcpu, &bv));
	bv.vcpu = 5;
	R("bind_vcpu to vCPU 5", op(EVTCHNOP_bind_vcpu, &bv));
	bv.port = 4096;
	bv.vcpu = 0;
	R("bind_vcpu of port 4096", op(EVTCHNOP_bind_vcpu, &bv));
	bv.port = 300;
	R("bind_vcpu of a closed port", op(EVTCHNOP_bind_vcpu, &bv));
	ev_close(a);
	ev_close(v);
	prio.port = start_info->store_evtchn;
	R("set_priority", op(EVTCHNOP_set_priority, &prio));
	R("expand_array", op(EVTCHNOP_expand_array, &expand));
	R("init_control for vCPU 7", op(EVTCHNOP_init_control, &init));
	R("command 99", op(99, &a));
	R("argument at a bad pointer", op(EVTCHNOP_send, (void *)0x600000000000));
	R("argument in Xen", op(EVTCHNOP_send, (void *)0xffff82d040200000));
	{
		struct evtchn_bind_pirq p = {.pirq = 1};

		R("bind_pirq 1", op(EVTCHNOP_bind_pirq, &p));
		p.pirq = 100000;
		R("bind_pirq 100000", op(EVTCHNOP_bind_pirq, &p));
	}
	/* how many are there */
	for (n = 0; !alloc(DOMID_SELF, 0, &a); n++)
		;
	printf("ports until the table is full: %d\n", n);
	R("then", alloc(DOMID_SELF, 0, &a));
	R("then an ipi", ipi(0, &a));
	R("then a virq", virq(VIRQ_TIMER, 0, &a));
	/* all but console and store */
	for (unsigned int p = 3; p < 5000; p++)
		if (p != start_info->store_evtchn && p != start_info->console.domU.evtchn)
			ev_close(p);
	R("after closing all", alloc(DOMID_SELF, 0, &a));
	pvg_console_flush();
	reset.dom = 0;
	R("reset of domain 0", op(EVTCHNOP_reset, &reset));
	reset.dom = 1000;
	R("reset of nobody", op(EVTCHNOP_reset, &reset));
}

void guest_main(void)
{
	pvg_events_init();
	pvg_traps_init();
	initial_ports();
	binding();
	delivery();
	polling();
	rest();
}
