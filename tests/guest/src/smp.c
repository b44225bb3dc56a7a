/* SPDX-License-Identifier: MIT */
/*
 * More than one vCPU: bringing them up, interrupting each other, what each sees of the others'
 * changes to page tables and code. The last vCPU does what vCPU 0 tells it.
 */
#include "pvg.h"

#if defined(CPUS_8)
#define NR_CPUS 8u
#elif defined(CPUS_4)
#define NR_CPUS 4u
#else
#define NR_CPUS 2u
#endif
#define ME (NR_CPUS - 1) /* the vCPU that is worked with */

static volatile u32 command, answer;
static volatile u64 seen[4];
static unsigned int ipi_port[PVG_MAX_VCPUS]; /* to this vCPU */

static long vcpu(int cmd, unsigned int id, void *arg)
{
	return HC3(vcpu_op, cmd, id, arg);
}
static long ev_send(unsigned int port)
{
	struct evtchn_send s = {.port = port};

	return HC2(event_channel_op, EVTCHNOP_send, &s);
}
static unsigned int bind_ipi(unsigned int cpu)
{
	struct evtchn_bind_ipi b = {.vcpu = cpu};

	if (HC2(event_channel_op, EVTCHNOP_bind_ipi, &b))
		return 0;
	pvg_port_cpu[b.port] = (u8)cpu;
	pvg_unmask_port(b.port);
	return b.port;
}
static void mask(bool on)
{
	MY_VCPU->evtchn_upcall_mask = on;
	barrier();
	if (!on && MY_VCPU->evtchn_upcall_pending)
		pvg_force_callback();
}

/* ---- the other vCPU ----------------------------------------------------------------------- */

enum {
	C_NONE,
	C_REGS,
	C_PINGPONG,
	C_SPIN,
	C_POLL,
	C_READ,
	C_WRITE,
	C_CALL,
	C_DOWN,
	C_TIMER,
	C_END
};

static volatile u64 *shared_word; /* what C_READ and C_WRITE hammer at */
static volatile u64 pings, pongs, faults;
static volatile bool stop;
#ifdef CODE
#define ROUNDS 1000u
#else
#define ROUNDS 50u
#endif

static void c_regs(void)
{
	struct vcpu_guest_context x;
	u64 flags;

	pvg_vcpu_context(&x, ME);
	__asm__ volatile("pushfq; popq %0" : "=r"(flags));
	seen[0] = pvg_cpu();
	seen[1] = flags >> 9 & 1;
	seen[2] = MY_VCPU->evtchn_upcall_mask;
	seen[3] = MY_VCPU->time.version != 0 && !(MY_VCPU->time.version & 1);
}

/* Each waits for its IPI asleep and sends the next. */
static void c_pingpong(void)
{
	for (unsigned int i = 1; i <= ROUNDS; i++) {
		for (;;) {
			MY_VCPU->evtchn_upcall_mask = 1;
			barrier();
			if (pvg_port_count[ipi_port[ME]] >= i)
				break;
			HC2(sched_op, SCHEDOP_block, 0);
		}
		mask(false);
		ev_send(ipi_port[0]);
	}
}

/* It never enters the hypervisor by itself. */
static void c_spin(void)
{
	u64 before = pvg_port_count[ipi_port[ME]];

	mask(false);
	seen[0] = 1;
	while (*(volatile u64 *)&pvg_port_count[ipi_port[ME]] < before + ROUNDS)
		__asm__ volatile("pause");
}

static void c_poll(void)
{
	evtchn_port_t port = ipi_port[ME];
	struct sched_poll p = {.nr_ports = 1};

	set_xen_guest_handle(p.ports, &port);
	MY_VCPU->evtchn_upcall_mask = 1;
	pvg_mask_port(port);
	for (unsigned int i = 0; i < ROUNDS; i++) {
		seen[0] = i + 1;
		while (!pvg_port_pending(port))
			HC2(sched_op, SCHEDOP_poll, &p);
		pvg_test_and_clear(pvg_shared->evtchn_pending, port);
		seen[1] = i + 1;
	}
	pvg_unmask_port(port);
	mask(false);
}

#define STALE 0xdeacul /* bit 0 clear: no present entry */

static void c_read(void)
{
	u64 wrong = 0, n = 0;

	while (!stop) {
		wrong += *shared_word == STALE;
		seen[1] = ++n;
	}
	seen[0] = wrong;
}

/* A store that may fault: then the hook moves rip behind it. */
extern u8 store_at[], store_done[];
static __attribute__((noinline)) void store(volatile u64 *p, u64 v)
{
	__asm__ volatile(".globl store_at, store_done\nstore_at: movq %1, (%0)\nstore_done:"
			 :
			 : "r"(p), "r"(v)
			 : "memory");
}
static bool on_trap(struct trap_frame *f)
{
	if (f->vector != 14 || f->rip != (u64)store_at)
		return false;
	f->rip = (u64)store_done;
	faults++;
	return true;
}
static void c_write(void)
{
	u64 n = 0;

	while (!stop) {
		store(shared_word, STALE);
		seen[1] = ++n;
	}
}

/* A function in a page of its own that returns a number vCPU 0 changes. */
__asm__(".pushsection .text\n.balign 4096\n.globl patched\npatched: mov $1, %eax\nret\n.balign "
	"4096\n.popsection");
unsigned int patched(void);
static volatile u32 patch_done, patch_seen;

static void serialize(void)
{
	u32 a = 0, b, c = 0, d;

	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d)::"memory");
}

/* After an IPI, which serializes, only the new number may be seen. */
static void c_call(void)
{
	u64 wrong = 0, n = 0, ipis = pvg_port_count[ipi_port[ME]];

	mask(false);
	while (!stop) {
		u32 got, least;

		if (*(volatile u64 *)&pvg_port_count[ipi_port[ME]] != ipis) {
			ipis = pvg_port_count[ipi_port[ME]];
			serialize();
			patch_seen = patch_done;
		}
		least = patch_seen;
		barrier();
		got = patched();
		wrong += got < least;
		seen[1] = ++n;
	}
	seen[0] = wrong;
}

static void c_timer(void)
{
	struct vcpu_set_singleshot_timer t = {.timeout_abs_ns = pvg_now() + 5000000};
	struct evtchn_bind_virq b = {.virq = VIRQ_TIMER, .vcpu = ME};
	u64 before;

	seen[0] = HC2(event_channel_op, EVTCHNOP_bind_virq, &b);
	pvg_port_cpu[b.port] = ME;
	before = pvg_port_count[b.port];
	pvg_unmask_port(b.port);
	vcpu(VCPUOP_stop_periodic_timer, ME, 0);
	for (;;) {
		/* Masked until the block: the timer may be due before it on a starved machine. */
		MY_VCPU->evtchn_upcall_mask = 1;
		barrier();
		if (pvg_port_count[b.port] != before)
			break;
		vcpu(VCPUOP_set_singleshot_timer, ME, &t);
		HC2(sched_op, SCHEDOP_block, 0);
	}
	mask(false);
	seen[1] = pvg_now() >= t.timeout_abs_ns;
}

static void serve(unsigned int cpu)
{
	for (;;) {
		u32 c = command;

		switch (c) {
		case C_REGS:
			c_regs();
			break;
		case C_PINGPONG:
			c_pingpong();
			break;
		case C_SPIN:
			c_spin();
			break;
		case C_POLL:
			c_poll();
			break;
		case C_READ:
			c_read();
			break;
		case C_WRITE:
			c_write();
			break;
		case C_CALL:
			c_call();
			break;
		case C_DOWN:
			seen[0]++;
			command = C_NONE;
			answer = c;
			vcpu(VCPUOP_down, cpu, 0);
			seen[1]++;
			continue;
		case C_TIMER:
			c_timer();
			break;
		case C_END:
			command = C_NONE; /* in this order: vCPU 0 goes on at once */
			answer = c;
			return;
		default:
			pvg_relax();
			continue;
		}
		barrier();
		command = C_NONE;
		answer = c;
	}
}

static void tell(u32 c)
{
	answer = C_NONE;
	stop = false;
	memset((void *)seen, 0, sizeof(seen));
	barrier();
	command = c;
}
static void await(u32 c)
{
	while (answer != c)
		pvg_relax();
}
/* Until it has gone round `n` times more. */
static void await_rounds(u64 n)
{
	u64 until = seen[1] + n;

	while (seen[1] < until)
		pvg_relax();
}

/* ---- vCPU 0 ------------------------------------------------------------------------------- */

static void bring_up(void)
{
	static struct vcpu_guest_context x;

	R("is it up", vcpu(VCPUOP_is_up, ME, 0));
	R("up before initialise", vcpu(VCPUOP_up, ME, 0));
	R("is vCPU 40 up", vcpu(VCPUOP_is_up, 40, 0));
	R("up of vCPU 40", vcpu(VCPUOP_up, 40, 0));
	R("initialise without a context", vcpu(VCPUOP_initialise, ME, (void *)0x10));
	pvg_vcpu_context(&x, ME);
	x.ctrlreg[3] = pvg_mfn_of(&x) << 12;
	R("initialise with a root that is none", vcpu(VCPUOP_initialise, ME, &x));
	pvg_vcpu_context(&x, ME);
	x.gdt_ents = 1000000;
	R("initialise with a GDT too large", vcpu(VCPUOP_initialise, ME, &x));
	for (unsigned int i = 1; i < NR_CPUS; i++)
		R("initialise", pvg_vcpu_init(i));
	R("initialise again", pvg_vcpu_init(ME));
	R("is it up", vcpu(VCPUOP_is_up, ME, 0));
	for (unsigned int i = 1; i < NR_CPUS; i++) {
		ipi_port[i] = bind_ipi(i);
		if (i != ME) {
			tell(C_END);
			R("up", pvg_vcpu_up(i, serve));
			await(C_END);
		}
	}
	R("up", pvg_vcpu_up(ME, serve));
	R("is it up", vcpu(VCPUOP_is_up, ME, 0));
	R("up again", vcpu(VCPUOP_up, ME, 0));
	R("initialise while up", pvg_vcpu_init(ME));
	R("initialise of vCPU 0", pvg_vcpu_init(0));
	tell(C_REGS);
	await(C_REGS);
	printf("it runs as vCPU %d of %d, IF %d, upcalls masked %d, time valid %d\n", (int)seen[0],
	       (int)NR_CPUS, (int)seen[1], (int)seen[2], (int)seen[3]);
}

static void ipis(void)
{
	u64 before;

	ipi_port[0] = bind_ipi(0);
	before = pvg_port_count[ipi_port[ME]];
	tell(C_PINGPONG);
	for (unsigned int i = 1; i <= ROUNDS; i++) {
		ev_send(ipi_port[ME]);
		for (;;) {
			MY_VCPU->evtchn_upcall_mask = 1;
			barrier();
			if (pvg_port_count[ipi_port[0]] >= i)
				break;
			HC2(sched_op, SCHEDOP_block, 0);
		}
		mask(false);
	}
	await(C_PINGPONG);
	printf("ping-pong of sleepers: %d there, %d back\n",
	       (int)(pvg_port_count[ipi_port[ME]] - before), (int)pvg_port_count[ipi_port[0]]);

	tell(C_SPIN);
	while (!seen[0])
		pvg_relax();
	for (unsigned int i = 0; i < ROUNDS; i++) {
		u64 count = pvg_port_count[ipi_port[ME]];

		ev_send(ipi_port[ME]);
		while (*(volatile u64 *)&pvg_port_count[ipi_port[ME]] == count)
			pvg_relax();
	}
	await(C_SPIN);
	printf("all IPIs reached a vCPU that spins\n");

	tell(C_POLL);
	for (unsigned int i = 0; i < ROUNDS; i++) {
		while (seen[0] != i + 1)
			pvg_relax();
		ev_send(ipi_port[ME]);
		while (seen[1] != i + 1)
			pvg_relax();
	}
	await(C_POLL);
	printf("all IPIs ended a poll\n");

	tell(C_TIMER);
	await(C_TIMER);
	printf("its own timer: bind %d, not early %d\n", (int)seen[0], (int)seen[1]);
}

static void clocks(void)
{
	u64 before = pvg_now(), there;
	unsigned int wrong = 0;

	for (unsigned int i = 0; i < ROUNDS; i++) {
		tell(C_REGS);
		await(C_REGS);
		there = pvg_now();
		wrong += there < before;
		before = there;
	}
	printf("time went back: %d\n", (int)wrong);
}

/* The page at `va` changes under a vCPU that reads it all the time. */
static void shoot_down(unsigned int how)
{
	static const char *const name[] = {"update_va_mapping", "INVLPG_ALL", "TLB_FLUSH_MULTI"};
	u64 *va = pvg_page_alloc(), *page[2] = {pvg_page_alloc(), pvg_page_alloc()};
	u64 pte[2] = {pvg_mfn_of(page[0]) << 12 | PTE_KERN, pvg_mfn_of(page[1]) << 12 | PTE_KERN};
	u64 all = (1ul << NR_CPUS) - 1;
	unsigned int failed = 0;

	pvg_map(va, pte[0]);
	pvg_mmuext(MMUEXT_TLB_FLUSH_ALL, 0, 0);
	shared_word = va;
	tell(C_READ);
	await_rounds(10);
	for (unsigned int i = 1; i <= ROUNDS; i++) {
		u64 *old = page[(i - 1) & 1];

		if (how == 0) {
			failed +=
				HC3(update_va_mapping, va, pte[i & 1], UVMF_INVLPG | UVMF_ALL) != 0;
		} else {
			failed += HC3(update_va_mapping, va, pte[i & 1], UVMF_NONE) != 0;
			if (how == 1)
				failed += pvg_mmuext(MMUEXT_INVLPG_ALL, (u64)va, 0) != 0;
			else
				failed += pvg_mmuext(MMUEXT_TLB_FLUSH_MULTI, 0, (u64)&all) != 0;
		}
		*old = STALE;
		if (i % 8 == 0)
			await_rounds(2);
		*old = 0;
	}
	stop = true;
	await(C_READ);
	printf("shoot-down by %s: calls failed %d, stale reads %d\n", name[how], (int)failed,
	       (int)seen[0]);
}

/* A page becomes a page table while another vCPU writes to it. */
static void becomes_a_table(void)
{
	u64 *page = pvg_page_alloc(), pte = *pvg_entry((u64)page, 1);
	unsigned int failed = 0, written = 0;

	pvg_trap_hook = on_trap;
	shared_word = page + 17;
	faults = 0;
	tell(C_WRITE);
	await_rounds(10);
	for (unsigned int i = 0; i < ROUNDS; i++) {
		u64 n;

		/* No flush: the type of the frame changes, and that must be enough. */
		failed += HC3(update_va_mapping, page, pte & ~PTE_RW, UVMF_NONE) != 0;
		n = faults;
		/* It may be written until it is pinned; what is there must not be present. */
		if (pvg_mmuext(MMUEXT_PIN_L1_TABLE, pvg_mfn_of(page), 0) != 0) {
			failed++;
			continue;
		}
		pvg_mmu_update((pvg_mfn_of(page) << 12) + 17 * 8, 0);
		written += page[17] != 0;
		/* It must run into a fault, and not get through. */
		while (faults < n + 2)
			pvg_relax();
		written += page[17] != 0;
		failed += pvg_mmuext(MMUEXT_UNPIN_TABLE, pvg_mfn_of(page), 0) != 0;
		failed += HC3(update_va_mapping, page, pte, UVMF_NONE) != 0;
		pvg_mmuext(MMUEXT_INVLPG_ALL, (u64)page, 0);
		if (i % 8 == 0)
			await_rounds(2);
	}
	stop = true;
	await(C_WRITE);
	pvg_trap_hook = NULL;
	printf("a page table that is written to: calls failed %d, written %d\n", (int)failed,
	       (int)written);
}

static __unused_ void cross_code(void)
{
	unsigned int failed = 0;

	failed += pvg_set_rw((void *)patched) != 0;
	patch_done = patch_seen = 1;
	tell(C_CALL);
	await_rounds(10);
	for (u32 i = 2; i < ROUNDS; i++) {
		*(volatile u32 *)((u8 *)patched + 1) = i;
		patch_done = i;
		mb();
		ev_send(ipi_port[ME]);
		while (patch_seen != i)
			pvg_relax();
		if (i % 8 == 0)
			await_rounds(2);
	}
	stop = true;
	await(C_CALL);
	printf("code changed by another vCPU: calls failed %d, old code %d, now %d\n", (int)failed,
	       (int)seen[0], (int)patched());
}

static void down_and_up(void)
{
	struct vcpu_runstate_info info;

	tell(C_DOWN);
	await(C_DOWN);
	while (vcpu(VCPUOP_is_up, ME, 0))
		pvg_relax();
	printf("down: is up %d, was behind the call %d\n", (int)vcpu(VCPUOP_is_up, ME, 0),
	       (int)seen[1]);
	do
		R("runstate", vcpu(VCPUOP_get_runstate_info, ME, &info));
	while (0);
	printf("state %d (offline)\n", info.state == RUNSTATE_offline);
	R("initialise while down", pvg_vcpu_init(ME));
	R("down again", vcpu(VCPUOP_down, ME, 0));
	R("up", vcpu(VCPUOP_up, ME, 0));
	while (!seen[1])
		pvg_relax();
	printf("it goes on behind the call\n");
	tell(C_REGS);
	await(C_REGS);
	printf("it still is vCPU %d\n", (int)seen[0]);
	/* From outside, while it runs. */
	R("down by vCPU 0", vcpu(VCPUOP_down, ME, 0));
	R("up by vCPU 0", vcpu(VCPUOP_up, ME, 0));
	tell(C_REGS);
	await(C_REGS);
	printf("it still is vCPU %d\n", (int)seen[0]);
}

void guest_main(void)
{
	pvg_traps_init();
	pvg_events_init();
	pvg_mask_port(start_info->console.domU.evtchn);
	mask(false);
	bring_up();
	ipis();
	clocks();
#ifdef CODE /* QEMU's TCG goes on with the old code: not recorded */
	cross_code();
	tell(C_END);
	await(C_END);
	return;
#endif
	for (unsigned int how = 0; how < 3; how++)
		shoot_down(how);
	becomes_a_table();
	down_and_up();
	tell(C_END);
	await(C_END);
	while (vcpu(VCPUOP_is_up, ME, 0))
		pvg_relax();
	printf("done\n");
}
