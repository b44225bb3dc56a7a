/* SPDX-License-Identifier: MIT */
/*
 * Random walks over vcpu_op: vCPU 0 runs, 1 is initialised and down, 2 never is initialised, 3 does
 * not exist; good and bad structures, areas and contexts.
 */
#include "pvg.h"

#define WALKS 8
#define STEPS 640
#define HOLE  0x600000000000ul
#define XEN   0xffff82d040200000ul

static u64 extra;
static u8 *area; /* two pages, the second of which is a hole */
static u8 *rdonly;
static struct vcpu_guest_context *context;

static u64 address(void)
{
	const u64 a[] = {(u64)area,
			 (u64)area + 64,
			 (u64)area + 1,
			 (u64)area + 4080,
			 (u64)area + 4096,
			 (u64)rdonly,
			 HOLE,
			 XEN,
			 1ul << 63,
			 1ul << 47,
			 (1ul << 47) - 8,
			 0xffff7fffffffffff,
			 ~0ul,
			 0xffff880000000000 - 8,
			 0};

	return PICK(a);
}

/* One field of a good context gets a value that it may not have. */
static void spoil(struct vcpu_guest_context *x)
{
	static const u64 bad[] = {1ul << 63, 1ul << 47, ~0ul >> 1, XEN, HOLE, 0x3fffffff, 1};
	u64 v = PICK(bad);
	unsigned int k = (unsigned int)(pvg_rnd() % 18);

	switch (k) {
	case 0:
		x->flags = 0;
		break;
	case 1:
		x->user_regs.rip = v;
		break;
	case 2:
		x->event_callback_eip = v;
		break;
	case 3:
		x->failsafe_callback_eip = v;
		break;
	case 4:
		x->syscall_callback_eip = v;
		break;
	case 5:
		x->trap_ctxt[pvg_rnd() % 256].address = v;
		break;
	case 6:
		x->gdt_ents = pvg_rnd() & 1 ? 512 : v;
		x->gdt_frames[0] = v;
		break;
	case 7:
		x->gdt_ents = 14 * 512 + 512;
		break;
	case 8:
		x->ldt_ents = 8193;
		break;
	case 9:
		x->ldt_ents = 1;
		x->ldt_base = v;
		break;
	case 10:
		x->ctrlreg[3] = v << 12;
		break;
	case 11:
		x->ctrlreg[1] = v << 12;
		break;
	case 12:
		x->fs_base = v;
		break;
	case 13:
		x->gs_base_kernel = v;
		break;
	case 14:
		x->gs_base_user = v;
		break;
	case 15:
		x->ctrlreg[3] = pvg_mfn_of(area) << 12;
		break;
	case 16:
		x->gdt_ents = 512;
		x->gdt_frames[0] = pvg_root_mfn();
		break;
	default:
		x->ctrlreg[3] = start_info->shared_info;
		break;
	}
	/* What was allowed would be the last try: the root is wrong in any case. */
	if (k != 10 && k != 15 && k != 17)
		x->ctrlreg[3] = pvg_rnd() & 1 ? 0x3ffffffful << 12 : pvg_mfn_of(area) << 12;
	SAY("spoil %d with %lx, cr3 %lx; ", k, v, x->ctrlreg[3]);
}

static long call(unsigned int cmd, u32 cpu, void *at)
{
	SAY("vcpu_op %d, vCPU %d, at %lx", cmd, cpu, (u64)at);
	return HC3(vcpu_op, cmd, cpu, at);
}

static long one(void)
{
	static const u32 cpus[] = {0, 0, 1, 1, 2, 2, 3, 4096, ~0u};
	static const u64 periods[] = {0,	 999999,	  1000000,   50000000, 1ul << 61,
				      1ul << 62, (1ul << 62) - 1, 1ul << 63, ~0ul};
	static const u64 times[] = {0, 1, 1000, 1ul << 50, 1ul << 62, 1ul << 63, ~0ul};
	union {
		struct vcpu_runstate_info state;
		struct vcpu_register_runstate_memory_area rarea;
		struct vcpu_register_time_memory_area tarea;
		struct vcpu_register_vcpu_info info;
		struct vcpu_set_periodic_timer periodic;
		struct vcpu_set_singleshot_timer single;
		struct vcpu_get_physid physid;
	} u;
	u32 cpu = PICK(cpus);
	u64 a = address();
	void *at = pvg_rnd() % 8 ? (void *)&u : pvg_rnd() & 1 ? (void *)HOLE : (void *)XEN;
	long r;

	memset(&u, 0, sizeof(u));
	switch (pvg_rnd() % 16) {
	case 0:
		memset(context, 0, sizeof(*context));
		pvg_vcpu_context(context, 2);
		spoil(context);
		return call(VCPUOP_initialise, cpu,
			    at == &u		 ? context
			    : at == (void *)HOLE ? (u8 *)context + 2048
						 : at);
	case 1:
		return cpu == 1 ? 0 : call(VCPUOP_up, cpu, at);
	case 2:
		return cpu == 0 ? 0 : call(VCPUOP_down, cpu, at);
	case 3:
		return call(VCPUOP_is_up, cpu, at);
	case 4:
		r = call(VCPUOP_get_runstate_info, cpu, at);
		if (!r && at == &u)
			extra = pvg_mix(extra, (u64)u.state.state);
		return r;
	case 5:
	case 6:
		u.rarea.addr.p = a;
		SAY("area %lx; ", a);
		memset(area, 0, PAGE_SIZE);
		r = call(VCPUOP_register_runstate_memory_area, cpu, at);
		if (a - (u64)area < 64 && cpu == 0 && !r && at == &u)
			extra = pvg_mix(extra, *(volatile u32 *)a);
		return r;
	case 7:
	case 8:
		u.tarea.addr.p = a;
		SAY("area %lx; ", a);
		memset(area, 0, PAGE_SIZE);
		r = call(VCPUOP_register_vcpu_time_memory_area, cpu, at);
		if (a - (u64)area < 64 && cpu == 0 && !r && at == &u)
			extra = pvg_mix(extra, *(volatile u32 *)a != 0);
		return r;
	case 9:
	case 10: {
		const u64 mfns[] = {0x3fffffff,	      ~0ul,	pvg_root_mfn(), pvg_mfn_of(area),
				    pvg_mfn_of(area), 1ul << 52};
		static const u32 offsets[] = {0, 1, 8, 4096 - 64, 4096 - 56, 4095, 4096, 1u << 31};

		u.info.mfn = PICK(mfns);
		u.info.offset = PICK(offsets);
		if (cpu == 0 && u.info.mfn == pvg_mfn_of(area))
			u.info.offset |= 1;
		SAY("info %lx + %d; ", u.info.mfn == pvg_mfn_of(area) ? 0 : u.info.mfn,
		    u.info.offset);
		return call(VCPUOP_register_vcpu_info, cpu, at);
	}
	case 11:
		u.periodic.period_ns = PICK(periods);
		SAY("period %lx; ", u.periodic.period_ns);
		return call(VCPUOP_set_periodic_timer, cpu, at);
	case 12:
		return call(VCPUOP_stop_periodic_timer, cpu, at);
	case 13:
		u.single.timeout_abs_ns = PICK(times);
		u.single.flags = (u32)(pvg_rnd() % 4);
		SAY("time %lx flags %d; ", u.single.timeout_abs_ns, u.single.flags);
		return call(VCPUOP_set_singleshot_timer, cpu, at);
	case 14:
		return call(VCPUOP_stop_singleshot_timer, cpu, at);
	default: {
		static const u8 cmds[] = {11, 11, 12, 14, 15, 16, 31, 64, 255};
		unsigned int cmd = PICK(cmds);

		if (cmd == 11 && cpu == 0)
			return 0;
		if (cmd == 11 && pvg_rnd() & 1)
			at = NULL;
		return call(cmd, cpu, at);
	}
	}
}

static u64 state(void)
{
	return extra;
}

void guest_main(void)
{
	pvg_events_init();
	pvg_traps_init();
	area = pvg_pages_alloc(2);
	pvg_map(area + PAGE_SIZE, 0);
	rdonly = pvg_page_alloc_ro();
	context = pvg_pages_alloc(2);
	printf("initialise 1: %le\n", pvg_vcpu_init(1));
	for (unsigned int walk = 0; walk < WALKS; walk++) {
		pvg_seed(walk + 5000);
		extra = 0;
		printf("walk %d\n", walk);
		pvg_walk(walk, STEPS, one, state);
	}
	HC3(vcpu_op, VCPUOP_stop_periodic_timer, 0, 0);
}
