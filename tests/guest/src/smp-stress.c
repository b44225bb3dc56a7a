/* SPDX-License-Identifier: MIT */
/*
 * Four vCPUs that do everything at once, without an end: page tables, flushes, frames given back
 * and taken, interrupts, code that changes. Each checks what is its own. A test of tests/system
 * pauses, resumes and kills it; it says "round N" from time to time, and WRONG if something is.
 */
#include "pvg.h"

#define NR 4u

struct own {
	u64 *page;   /* becomes a page table and data in turn */
	u64 *moving; /* is mapped to two frames in turn */
	u64 pte[2];
	u8 *code;
	u64 *balloon;
	u64 seed, rounds;
} __attribute__((aligned(64)));

static struct own own[NR];
static unsigned int port[NR];
static volatile u64 wrong, wrong_what;

static u64 next(struct own *o)
{
	o->seed ^= o->seed << 13;
	o->seed ^= o->seed >> 7;
	o->seed ^= o->seed << 17;
	return o->seed;
}

static void check(bool good, u64 what)
{
	if (good)
		return;
	wrong_what = what;
	__atomic_fetch_add(&wrong, 1, __ATOMIC_SEQ_CST);
}

static void table(struct own *o)
{
	u64 pte = pvg_mfn_of(o->page) << 12, value = next(o) & ~1ul;

	o->page[7] = value;
	check(pvg_map(o->page, pte | (PTE_KERN & ~PTE_RW)) == 0, 1);
	check(pvg_mmuext(MMUEXT_PIN_L1_TABLE, pte >> 12, 0) == 0, 2);
	check(o->page[7] == value, 3);
	check(pvg_mmu_update(pte + 7 * 8, 0) == 0, 4);
	check(o->page[7] == 0, 5);
	check(pvg_mmuext(MMUEXT_UNPIN_TABLE, pte >> 12, 0) == 0, 6);
	check(pvg_map(o->page, pte | PTE_KERN) == 0, 7);
	o->page[7] = value + 2;
	check(o->page[7] == value + 2, 8);
}

static void move(struct own *o)
{
	u64 a = next(o);

	for (unsigned int i = 0; i < 2; i++) {
		check(HC3(update_va_mapping, o->moving, o->pte[i], UVMF_INVLPG | UVMF_ALL) == 0, 9);
		o->moving[3] = a + i;
	}
	check(HC3(update_va_mapping, o->moving, o->pte[0], UVMF_TLB_FLUSH | UVMF_ALL) == 0, 10);
	check(o->moving[3] == a, 11);
}

static void code(struct own *o)
{
	u32 value = (u32)next(o);

	o->code[0] = 0xb8; /* mov $value, %eax; ret */
	memcpy(o->code + 1, &value, 4);
	o->code[5] = 0xc3;
	check(((u32(*)(void))o->code)() == value, 12);
}

static void balloon(struct own *o, unsigned int cpu)
{
	u64 mfn = *pvg_entry((u64)o->balloon, 1) >> 12 & 0xfffffffffful,
	    pfn = pvg_pfn_of(o->balloon);
	xen_pfn_t frame = mfn;
	struct xen_memory_reservation r = {.nr_extents = 1, .domid = DOMID_SELF};

	set_xen_guest_handle(r.extent_start, &frame);
	check(pvg_map(o->balloon, 0) == 0, 13);
	check(HC2(memory_op, XENMEM_decrease_reservation, &r) == 1, 14);
	frame = pfn;
	check(HC2(memory_op, XENMEM_populate_physmap, &r) == 1, 15);
	check(pvg_map(o->balloon, frame << 12 | PTE_KERN) == 0, 16);
	check(o->balloon[cpu] == 0, 17);
	o->balloon[cpu] = next(o);
}

static void work(unsigned int cpu)
{
	struct own *o = &own[cpu];

	pvg_shared->vcpu_info[cpu].evtchn_upcall_mask = 0;
	for (;; o->rounds++) {
		struct evtchn_send s = {.port = port[next(o) % NR]};

		switch (next(o) % 8) {
		case 0:
		case 1:
			table(o);
			break;
		case 2:
		case 3:
			move(o);
			break;
		case 4:
			code(o);
			break;
		case 5:
			balloon(o, cpu);
			break;
		case 6:
			check(HC2(event_channel_op, EVTCHNOP_send, &s) == 0, 18);
			break;
		default:
			HC2(sched_op, SCHEDOP_yield, 0);
			break;
		}
		if (wrong && cpu == 0) {
			printf("WRONG %d times, last check %d\n", (int)wrong, (int)wrong_what);
			pvg_exit(SHUTDOWN_crash);
		}
		if (cpu == 0 && o->rounds % 500 == 0) {
			bool all = true;

			for (unsigned int i = 0; i < NR; i++)
				all &= own[i].rounds > 100;
			if (all)
				printf("round %d\n", (int)o->rounds);
		}
	}
}

void guest_main(void)
{
	pvg_traps_init();
	pvg_events_init();
	for (unsigned int i = 0; i < NR; i++) {
		struct evtchn_bind_ipi b = {.vcpu = i};
		u64 *spare = pvg_page_alloc();

		own[i].page = pvg_page_alloc();
		own[i].moving = pvg_page_alloc();
		own[i].code = pvg_page_alloc();
		own[i].balloon = pvg_page_alloc();
		own[i].pte[0] = pvg_mfn_of(own[i].moving) << 12 | PTE_KERN;
		own[i].pte[1] = pvg_mfn_of(spare) << 12 | PTE_KERN;
		own[i].seed = 88172645463325252ul + i;
		HC2(event_channel_op, EVTCHNOP_bind_ipi, &b);
		port[i] = b.port;
		pvg_port_cpu[b.port] = (u8)i;
		pvg_unmask_port(b.port);
	}
	for (unsigned int i = 1; i < NR; i++) {
		if (pvg_vcpu_init(i) || pvg_vcpu_up(i, work)) {
			printf("WRONG: vCPU %d does not start\n", (int)i);
			pvg_exit(SHUTDOWN_crash);
		}
	}
	work(0);
}
