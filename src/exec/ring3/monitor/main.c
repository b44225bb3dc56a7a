/* SPDX-License-Identifier: MIT */
/*
 * K comes up and runs. The trampoline (tramp.S) has emptied the address space and mapped this
 * image; here the rest is mapped, the door is closed behind us (seccomp), the core builds the
 * domain, and then it is one loop until the domain stops.
 */
#include "exec/ring3/monitor/kernel_debug.h"
#include "exec/ring3/monitor/dr.h"
#include "exec/ring3/monitor/gang.h"
#include "exec/ring3/monitor/smp.h"

#include <linux/futex.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "core/cpu/cpu.h"
#include "core/cpu/cpuid.h"
#include "core/lib/mem.h"
#include "core/time/time.h"
#include "exec/ring3/monitor/user.h"

struct k k;

void k_start(const struct k_params *params);

void k_die(const char *why)
{
	struct core_ctl *ctl = k.c.ctl;
	uint64_t one = 1;
	unsigned int i;

	if (ctl) {
		for (i = 0; why[i] && i < CORE_REASON_MAX - 1; i++)
			ctl->reason[i] = why[i];
		ctl->reason[i] = '\0';
		/* Before the guest existed it is a start that failed, which the library sees. */
		if (__atomic_load_n(&ctl->run_state, __ATOMIC_RELAXED) != CORE_STATE_NEW)
			__atomic_store_n(&ctl->run_state, CORE_STATE_CRASHED, __ATOMIC_RELEASE);
		__atomic_add_fetch(&ctl->state_seq, 1, __ATOMIC_RELEASE);
		sys3(SYS_write, K_FD_DOORBELL, &one, sizeof(one));
	}
	sys_exit(1);
}

/* Nothing of the embedding program's vector registers may reach the guest. */
static void fpu_init(void)
{
	static const struct {
		uint8_t legacy[512], header[64];
	} __attribute__((aligned(64))) zero;
	uint32_t mxcsr = 0x1f80;
	uint32_t a, b, cx, d;

	__asm__ volatile("fninit; ldmxcsr %0" : : "m"(mxcsr));
	__asm__ volatile("cpuid" : "=a"(a), "=b"(b), "=c"(cx), "=d"(d) : "a"(1), "c"(0));
	if (cx & (1u << 27)) /* OSXSAVE: a header without any component resets them all */
		__asm__ volatile("xrstor64 %0" : : "m"(zero), "a"(~0u), "d"(~0u) : "memory");
	else
		__asm__ volatile("pxor %%xmm0,%%xmm0; pxor %%xmm1,%%xmm1; pxor %%xmm2,%%xmm2;"
				 "pxor %%xmm3,%%xmm3; pxor %%xmm4,%%xmm4; pxor %%xmm5,%%xmm5;"
				 "pxor %%xmm6,%%xmm6; pxor %%xmm7,%%xmm7; pxor %%xmm8,%%xmm8;"
				 "pxor %%xmm9,%%xmm9; pxor %%xmm10,%%xmm10; pxor %%xmm11,%%xmm11;"
				 "pxor %%xmm12,%%xmm12; pxor %%xmm13,%%xmm13; pxor %%xmm14,%%xmm14;"
				 "pxor %%xmm15,%%xmm15" ::
					 : "memory");
	__asm__ volatile("fninit; ldmxcsr %0" : : "m"(mxcsr));
}

static void *map_anonymous(uint64_t addr, uint64_t len, int prot, int flags)
{
	long r = sys_mmap(addr, len, prot, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);

	if (r < 0 && r > -4096)
		k_die("the host has no memory for the monitor");
	return (void *)r;
}

/* Behind the RAM view: what K keeps for each frame. */
static void map_memory(const struct k_params *p)
{
	long r = sys_mmap(K_RAM_BASE, p->mem_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
			  K_FD_MEMORY, 0);

	if (r < 0 && r > -4096)
		sys_exit(123);
	k.c.ram = (uint8_t *)K_RAM_BASE;
	k.c.ctl = (struct core_ctl *)(k.c.ram + p->ctl_off);
	k.c.d = (struct core_domain *)(k.c.ram + p->state_off);
	k.c.frames = (struct core_frame *)(k.c.ram + p->frames_off);
	k.c.ops = &k_ops;
	k.exec_off = p->exec_off;
	k.exec = k.c.ram + p->exec_off;
	k.window_root = CORE_INVALID_MFN;
	k.nr_frames = p->nr_frames;
	k.vdso = p->vdso;
	k.ctlv = &k.c.ctl->vcpu[p->vcpu];
	smp_init(p);
	k.tables = tlb_tables_of(k.id);
	if (!k.smp)
		k.kframes = map_anonymous(K_RAM_BASE + p->mem_size + (1ul << 30),
					  p->nr_frames * sizeof(struct k_frame),
					  PROT_READ | PROT_WRITE, MAP_FIXED | MAP_NORESERVE);
}

static void zero_table(void *priv, uint64_t addr, uint64_t len)
{
	if (sys3(SYS_madvise, addr, len, MADV_DONTNEED))
		k_die("the host refuses to take memory back (madvise)");
}

static void map_translator(uint64_t cache_size)
{
	struct xlate_area areas[XLATE_NR_AREAS];
	struct xlate_config cfg = {
		.cache_size = cache_size,
		.regs = &k.c.v->regs,
		.kick = &k.ctlv->kick,
		.fetch = k_fetch,
		.note = k_note,
		.user = k_user,
		.zero = zero_table,
	};

	xlate_areas(areas, cache_size);
	for (unsigned int i = 0; i < XLATE_NR_AREAS; i++)
		if (areas[i].size)
			map_anonymous(areas[i].addr, areas[i].size,
				      PROT_READ | PROT_WRITE | (areas[i].exec ? PROT_EXEC : 0),
				      MAP_FIXED | (areas[i].noreserve ? MAP_NORESERVE : 0));
	k.x = xlate_init(&cfg);
	if (!k.x)
		k_die("the translator cannot start");
}

static void close_the_door(const struct k_params *p)
{
	struct rlimit64_ {
		uint64_t cur, max;
	} as = {p->rlimit_as, p->rlimit_as}, none = {0, 0};
	struct {
		unsigned short len;
		const uint64_t *filter;
	} prog = {(unsigned short)p->filter_len, p->filter};

	sys4(SYS_prlimit64, 0, RLIMIT_AS, &as, 0);
	sys4(SYS_prlimit64, 0, RLIMIT_CORE, &none, 0);
	sys4(SYS_prlimit64, 0, RLIMIT_NPROC, &none, 0);
	if (sys3(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog))
		k_die("the host refuses the system call filter");
	/* The parameters and the trampoline: the last trace of the embedding program. */
	if (sys2(SYS_munmap, p->tramp_base, p->tramp_len))
		k_die("cannot remove the trampoline");
}

/* ---- the loop ---- */

/*
 * What a vCPU that does not sleep says of itself. Telling the guest from the monitor costs a locked
 * instruction each way; alone nobody asks, and it says "guest", which means: interrupt it.
 */
static uint32_t awake(void)
{
	return k.smp ? CORE_VCPU_MONITOR : CORE_VCPU_GUEST;
}

void k_sleep(uint32_t state, uint64_t ns)
{
	struct {
		uint64_t sec, ns;
	} ts = {ns / 1000000000u, ns % 1000000000u};

	__atomic_store_n(&k.ctlv->state, state, __ATOMIC_SEQ_CST);
	if (k.smp) {
		smp_away();
		quiet_before_sleep(ns);
	}
	if (!__atomic_load_n(&k.ctlv->kick, __ATOMIC_SEQ_CST))
		sys6(SYS_futex, (long)&k.ctlv->kick, FUTEX_WAIT_BITSET, 0,
		     ns == ~0ull ? 0 : (long)&ts, 0, FUTEX_BITSET_MATCH_ANY);
	__atomic_store_n(&k.ctlv->state, awake(), __ATOMIC_SEQ_CST);
	if (k.smp)
		smp_note_cpu();
}

/* There is nothing to do. */
static void sleep_until(uint32_t state, uint64_t ns)
{
	gang_idle();
	k_sleep(state, ns);
	gang_awake();
}

/*
 * A guest that sleeps for a while is idle, and gives the translator's look-up table back: most of
 * it is of its boot. Seldom, because one that is not will want some of it again (10 ms of work at
 * most).
 */
#define TRIM_SLEEP 250000000ull
#define TRIM_EVERY 10000000000ull

static void block(uint64_t wake_ns)
{
	if (xlate_worth_trimming(k.x)) {
		uint64_t now = core_time_now(&k.c), then = now + TRIM_SLEEP;

		if (now >= k.trim_ns && wake_ns > then) {
			sleep_until(CORE_VCPU_BLOCKED, then);
			if (core_time_now(&k.c) < then ||
			    __atomic_load_n(&k.ctlv->kick, __ATOMIC_SEQ_CST))
				return; /* it has something to do */
			xlate_trim(k.x);
			k.trim_ns = then + TRIM_EVERY;
		}
	}
	sleep_until(CORE_VCPU_BLOCKED, wake_ns);
}

static void on_signal_exit(void)
{
	uint32_t vector = k.exc_vector;

	if (vector == K_NO_EXC) {
		k.ctlv->exits_kick++;
		return;
	}
	k.exc_vector = K_NO_EXC;
	k.ctlv->exits_exception++;
	core_exception(&k.c, vector, k.exc_error, k.exc_cr2);
}

/*
 * A guest that polls without ever yielding burns a core for nothing. PV GRUB does at its prompt: it
 * looks at its ring and at the clock, `cpuid; rdtsc`, and that is all. Nobody needs a hundred
 * thousand CPUIDs in a row with nothing else in between, so then the vCPU naps before each further
 * one; an event from the library ends the nap at once. Naps grow to no more than an eighth of the
 * time that it has polled, so what it waits for by the clock is hardly late.
 */
#define POLL_STREAK  100000u
#define POLL_NAP_MIN 20000ull
#define POLL_NAP_MAX 25000000ull

static bool at_cpuid(void)
{
	uint8_t insn[2];

	return core_guest_read(&k.c, insn, k.c.v->regs.rip, 2) == 0 && insn[0] == 0x0f &&
	       insn[1] == 0xa2;
}

static void notice_polling(void)
{
	static uint64_t nap;

	if (k.poll_streak < POLL_STREAK && ++k.poll_streak % 1000)
		return;
	if (!at_cpuid()) {
		k.poll_streak = 0;
		return;
	}
	if (k.poll_streak < POLL_STREAK)
		return;
	if (k.poll_streak == POLL_STREAK)
		k.poll_streak++, nap = POLL_NAP_MIN;
	else
		nap = nap + nap / 8 < POLL_NAP_MAX ? nap + nap / 8 : POLL_NAP_MAX;
	uint64_t until = core_time_now(&k.c) + nap, timer = core_timers_next(&k.c);
	k.ctlv->exits_block++;
	sleep_until(CORE_VCPU_BLOCKED, timer < until ? timer : until);
}

enum xlate_exit enter_guest(void)
{
	enum xlate_exit why;

	if (k.smp)
		smp_enter();
	why = xlate_enter(k.x);
	if (k.smp)
		smp_leave();
	return why;
}

static void show_tsc_aux(void)
{
	xlate_set_rdtscp(k.x, k.rdtscp, (uint32_t)k.c.v->tsc_aux);
}

static void run_guest(void)
{
	struct core_ctx *c = &k.c;
	enum xlate_exit why;

	if (__builtin_expect((c->v->debugreg[7] & DR7_ENABLED) || kdebug_on, 0))
		kdebug_enter();
	if (__builtin_expect(c->v->regs.rflags & CORE_FLAG_AC, 0) && !kdebug_on) {
		why = kalign_enter();
		if (!why)
			return;
	} else {
		why = enter_guest();
		/* Its first FPU instruction: nobody else has to know. */
		if (why == XLATE_FPU) {
			fpu_claim();
			why = enter_guest();
		}
	}
	if (__builtin_expect(kdebug_on, 0)) {
		why = kdebug_exit(why);
		if (!why)
			return;
	}
	if (why == XLATE_SENSITIVE) {
		notice_polling();
		core_emulate(c);
		show_tsc_aux(); /* (an MSR) */
		return;
	}
	/* A kick alone is nothing the guest did: Xen's own 100 Hz timer makes some. */
	if (why != XLATE_KICKED && (why != XLATE_SIGNAL || k.exc_vector != K_NO_EXC))
		k.poll_streak = 0;
	switch (why) {
	case XLATE_HYPERCALL:
		core_hypercall(c);
		break;
	case XLATE_SENSITIVE:
		break;
	case XLATE_SOFT_INT:
		core_soft_interrupt(c, xlate_exit_vector(k.x), xlate_exit_len(k.x));
		break;
	case XLATE_NM:
		k.ctlv->exits_exception++;
		core_exception(c, 7, 0, 0);
		break;
	case XLATE_FPU:
		fpu_claim();
		break;
	case XLATE_UD:
		k.ctlv->exits_exception++;
		core_exception(c, 6, 0, 0);
		break;
	case XLATE_GP:
		k.ctlv->exits_exception++;
		core_exception(c, 13, 0, 0);
		break;
	case XLATE_FETCH_FAULT:
	case XLATE_PAGE_FAULT:
		k.ctlv->exits_exception++;
		core_exception(c, 14, xlate_exit_error(k.x), xlate_exit_addr(k.x));
		break;
	case XLATE_STEP:
		core_exception(c, 1, 0, 0);
		break;
	case XLATE_SIGNAL:
		gang_tick();
		on_signal_exit();
		break;
	case XLATE_KICKED:
		gang_tick();
		k.ctlv->exits_kick++;
		break;
	}
}

/*
 * K and the guest threads it hands over to must share a processor: a wake-up on another one costs
 * ten times as much. N and all it makes inherit this. Of the processors that the configuration
 * allows, vCPU 0 stays where the host's scheduler put it at the fork, and vCPU n takes the nth
 * behind that.
 */
#define PIN_PAGE 0x70000000ul

static unsigned int cpu_of_first(const struct k_params *p)
{
	unsigned int cpu = 0;

	if (p->vcpu == 0) {
		sys3(SYS_getcpu, &cpu, 0, 0);
		return cpu;
	}
	if (sys_mmap(PIN_PAGE, K_PEER_SIZE, PROT_READ, MAP_SHARED | MAP_FIXED, K_FD_MEMORY,
		     p->smp_off) == (long)PIN_PAGE) {
		cpu = ((const struct k_peer *)PIN_PAGE)->cpu;
		sys2(SYS_munmap, PIN_PAGE, K_PEER_SIZE);
	}
	return cpu;
}

static void pin(const struct k_params *p)
{
	uint64_t mask[16] = {0};
	unsigned int cpu = cpu_of_first(p), left = p->vcpu, nr = 0;

	if (sys3(SYS_sched_getaffinity, 0, sizeof(mask), mask) <= 0)
		return;
	for (unsigned int i = 0; i < sizeof(mask) / 8; i++)
		for (uint64_t m = mask[i]; m; m &= m - 1)
			nr++;
	if (nr == 0)
		return;
	left %= nr;
	for (cpu %= sizeof(mask) * 8;; cpu = (cpu + 1) % (sizeof(mask) * 8))
		if ((mask[cpu / 64] >> (cpu % 64) & 1) && left-- == 0)
			break;
	memset(mask, 0, sizeof(mask));
	mask[cpu / 64] = 1ull << (cpu % 64);
	sys3(SYS_sched_setaffinity, 0, sizeof(mask), mask);
}

void k_start(const struct k_params *p)
{
	struct core_ctx *c = &k.c;

	pin(p);
	nursery_start(p);
	map_memory(p);
	window_protect_init();
	k.exc_vector = K_NO_EXC;
	core_attach(c, p->vcpu);
	c->kicked_at_wake = true; /* by timer_arm() */
	user_init(p);
	map_translator(p->code_cache);
	fpu_init();
	/* Behind the translator, which a kick's handler asks; until here they are blocked. */
	signals_init();
	timer_init();
	nursery_hide_cpuid();
	gang_init(p);
	close_the_door(p);

	if (k.smp)
		smp_note_cpu();
	__atomic_store_n(&k.ctlv->state, awake(), __ATOMIC_SEQ_CST);
	/* The domain is there when another vCPU starts. */
	if (k.id == 0 && !core_domain_init(c))
		sys_exit(0); /* the reason is recorded */
	k.rdtscp = core_cpuid_has_rdtscp(c);
	show_tsc_aux();
	for (;;) {
		switch (core_next(c)) {
		case CORE_RUN:
			if (__builtin_expect(gang.look, 0) && !gang_turn())
				break;
			/* Behind core_next(): the mark was set before the event it delivers. */
			if (__builtin_expect(c->ctl->code_stale != 0, 0) ||
			    (k.smp && k.peers->stale_lock))
				k_code_stale();
			timer_arm(gang_timer(c->v->wake_ns));
			if (c->v->kernel_mode)
				run_guest();
			else
				user_run();
			break;
		case CORE_BLOCK:
			k.ctlv->exits_block++;
			block(c->v->wake_ns);
			break;
		case CORE_PAUSE:
			sleep_until(CORE_VCPU_PAUSED, ~0ull);
			break;
		case CORE_STOP:
			/* The library has been rung; it looks at our last state and ends us. */
			sleep_until(CORE_VCPU_PAUSED, ~0ull);
			break;
		}
	}
}
