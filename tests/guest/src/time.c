/* SPDX-License-Identifier: MIT */
/* The clock pages and run states, and the other questions of vcpu_op. */
#include "pvg.h"

#define MS 1000000ul

static long vcpu(int cmd, unsigned int id, void *arg)
{
	return HC3(vcpu_op, cmd, id, arg);
}

static void clock(void)
{
	u64 last = pvg_now(), backwards = 0, n;
	struct vcpu_time_info *t = &VCPU0->time;

	for (n = 0; n < 20000; n++) {
		u64 now = pvg_now();

		if (now < last)
			backwards++;
		last = now;
	}
	printf("system time went backwards %d times\n", (int)backwards);
	printf("version even: %d, not 0: %d\n", !(t->version & 1), t->version != 0);
	printf("multiplier set: %d, shift in -31..31: %d\n", t->tsc_to_system_mul != 0,
	       t->tsc_shift > -32 && t->tsc_shift < 32);
	printf("system time of the stamp is not later than now: %d\n", t->system_time <= pvg_now());
	printf("tsc stamp is not later than now: %d\n", t->tsc_timestamp <= pvg_rdtsc());
	printf("wall clock version even: %d, not 0: %d\n", !(pvg_shared->wc_version & 1),
	       pvg_shared->wc_version != 0);
	printf("wall clock after 2020: %d, nsec below 10^9: %d\n", pvg_shared->wc_sec > 1577836800,
	       pvg_shared->wc_nsec < 1000000000);
	printf("flags but for bit 0: %d, pads %d %d %d\n", t->flags & ~1, (int)t->pad0, t->pad1[0],
	       t->pad1[1]);
	{
		u64 tsc = pvg_rdtsc(), ns = pvg_now(), d;

		pvg_spin_ns(20 * MS);
		d = pvg_now() - ns;
		printf("20 ms of spinning are 20..2000 ms: %d, the tsc moved: %d\n",
		       d >= 20 * MS && d<2000 * MS, pvg_rdtsc()> tsc);
	}
}

static void runstates(void)
{
	static struct vcpu_runstate_info a, b, area;
	struct vcpu_register_runstate_memory_area reg;
	u64 now, due, slept = 0;
	long r = 0;

	R("get_runstate_info", vcpu(VCPUOP_get_runstate_info, 0, &a));
	now = pvg_now();
	printf("  state %d, entered in the past: %d\n", a.state, a.state_entry_time <= now);
	/* (once more where there was no processor for this vCPU until the time was nearly over) */
	for (unsigned int i = 0; i < 20 && slept < 15 * MS; i++) {
		vcpu(VCPUOP_get_runstate_info, 0, &a);
		pvg_cli(); /* block unmasks: the timer cannot come before it */
		due = pvg_now() + 20 * MS;
		HC1(set_timer_op, due);
		HC2(sched_op, SCHEDOP_block, 0);
		r = vcpu(VCPUOP_get_runstate_info, 0, &b);
		slept = b.time[RUNSTATE_blocked] - a.time[RUNSTATE_blocked];
	}
	R("after a block of 20 ms", r);
	printf("  blocked longer by at least 15 ms: %d, state %d\n", slept >= 15 * MS, b.state);
	a = b;
	pvg_spin_ns(20 * MS);
	vcpu(VCPUOP_get_runstate_info, 0, &b);
	printf("after spinning 20 ms, running or runnable longer by that: %d, not blocked: %d\n",
	       b.time[RUNSTATE_running] + b.time[RUNSTATE_runnable] - a.time[RUNSTATE_running] -
			       a.time[RUNSTATE_runnable] >=
		       19 * MS,
	       b.time[RUNSTATE_blocked] == a.time[RUNSTATE_blocked]);
	reg.addr.p = (u64)&area;
	memset(&area, 0xff, sizeof(area));
	R("register_runstate_memory_area", vcpu(VCPUOP_register_runstate_memory_area, 0, &reg));
	printf("  filled at once: %d\n", area.state == RUNSTATE_running);
	now = area.time[RUNSTATE_blocked];
	pvg_cli();
	HC1(set_timer_op, pvg_now() + 20 * MS);
	HC2(sched_op, SCHEDOP_block, 0);
	printf("  follows a block: %d, state %d\n", area.time[RUNSTATE_blocked] > now, area.state);
	reg.addr.p = 0;
	R("register null", vcpu(VCPUOP_register_runstate_memory_area, 0, &reg));
	reg.addr.p = 0x600000000000;
	R("register a bad pointer", vcpu(VCPUOP_register_runstate_memory_area, 0, &reg));
	reg.addr.p = 0xffff82d040200000;
	R("register Xen's memory", vcpu(VCPUOP_register_runstate_memory_area, 0, &reg));
	reg.addr.p = 0;
	vcpu(VCPUOP_register_runstate_memory_area, 0, &reg);
	R("of vCPU 1", vcpu(VCPUOP_get_runstate_info, 1, &a));
	R("at a bad pointer", vcpu(VCPUOP_get_runstate_info, 0, (void *)0x600000000000));
}

static int nmis, nmi_mask;
static bool nmi(struct trap_frame *f)
{
	if (f->vector != 2)
		return false;
	nmis++;
	nmi_mask = VCPU0->evtchn_upcall_mask;
	return true;
}

static void vcpus(void)
{
	static struct vcpu_guest_context ctx;
	struct vcpu_get_physid id;
	static struct vcpu_time_info t;
	struct vcpu_register_time_memory_area area;

	R("is_up 0", vcpu(VCPUOP_is_up, 0, 0));
	R("is_up 1", vcpu(VCPUOP_is_up, 1, 0));
	R("is_up 2^31", vcpu(VCPUOP_is_up, 1u << 31, 0));
	R("up 0", vcpu(VCPUOP_up, 0, 0));
	R("up 1", vcpu(VCPUOP_up, 1, 0));
	R("down 1", vcpu(VCPUOP_down, 1, 0));
	R("initialise 0", vcpu(VCPUOP_initialise, 0, &ctx));
	R("initialise 1", vcpu(VCPUOP_initialise, 1, &ctx));
	R("initialise 0 from a bad pointer", vcpu(VCPUOP_initialise, 0, (void *)0x600000000000));
	R("get_physid", vcpu(VCPUOP_get_physid, 0, &id));
	pvg_trap_hook = nmi;
	R("send_nmi 0", vcpu(VCPUOP_send_nmi, 0, 0));
	printf("  NMIs seen: %d, upcall mask inside %d\n", nmis, nmi_mask);
	pvg_trap_hook = NULL;
	R("command 50", vcpu(50, 0, 0));
	area.addr.p = (u64)&t;
	R("register_vcpu_time_memory_area", vcpu(VCPUOP_register_vcpu_time_memory_area, 0, &area));
	printf("  filled: %d\n", t.tsc_to_system_mul == VCPU0->time.tsc_to_system_mul);
	area.addr.p = 0x600000000000;
	R("register a bad pointer", vcpu(VCPUOP_register_vcpu_time_memory_area, 0, &area));
}

static void vcpu_info_area(void)
{
	u8 *page = pvg_page_alloc();
	struct vcpu_register_vcpu_info r = {.mfn = pvg_mfn_of(page), .offset = 4096 - 56};
	struct vcpu_info *v = (struct vcpu_info *)(page + 1024);

	R("register_vcpu_info across the page end", vcpu(VCPUOP_register_vcpu_info, 0, &r));
	r.offset = 1028;
	R("register_vcpu_info not aligned", vcpu(VCPUOP_register_vcpu_info, 0, &r));
	r.mfn = 0x3fffffff;
	r.offset = 1024;
	R("register_vcpu_info, no such frame", vcpu(VCPUOP_register_vcpu_info, 0, &r));
	r.mfn = pvg_root_mfn();
	R("register_vcpu_info, a page table", vcpu(VCPUOP_register_vcpu_info, 0, &r));
	r.mfn = pvg_mfn_of(page);
	R("register_vcpu_info of vCPU 1", vcpu(VCPUOP_register_vcpu_info, 1, &r));
	VCPU0->evtchn_upcall_mask = 1;
	R("register_vcpu_info", vcpu(VCPUOP_register_vcpu_info, 0, &r));
	printf("  mask copied %d, time copied %d, pending selector %lx, upcall pending %d\n",
	       v->evtchn_upcall_mask, v->time.tsc_to_system_mul != 0, v->evtchn_pending_sel,
	       v->evtchn_upcall_pending);
	R("register_vcpu_info again", vcpu(VCPUOP_register_vcpu_info, 0, &r));
	pvg_set_ro(page);
	R("make its page a page table", pvg_mmuext(MMUEXT_PIN_L1_TABLE, r.mfn, 0));
	pvg_set_rw(page);
}

void guest_main(void)
{
	struct evtchn_bind_virq b = {.virq = VIRQ_TIMER, .vcpu = 0};

	pvg_events_init();
	pvg_traps_init();
	HC2(event_channel_op, EVTCHNOP_bind_virq, &b);
	pvg_sti();
	clock();
	runstates();
	vcpus();
	vcpu_info_area();
}
