/* SPDX-License-Identifier: MIT */
/*
 * How the outside world reaches K: faults of translated code, and kicks (from the library, or from
 * K's own timer). All handlers run on a stack of their own with every signal blocked; the guest's
 * rsp is the guest's, and nothing here uses FS or GS.
 */
#include "exec/ring3/monitor/smp.h"

#include <linux/futex.h>

#include "exec/ring3/monitor/user.h"

typedef unsigned long ulong_t;

/* The kernel's view of a signal frame (asm/ucontext.h), without libc's names around it. */
struct k_stack {
	void *sp;
	int flags;
	uint64_t size;
};
struct k_ucontext {
	uint64_t flags;
	struct k_ucontext *link;
	struct k_stack stack;
	struct xlate_sigregs regs;
	uint16_t cs, gs, fs, ss;
	uint64_t err, trapno, oldmask, cr2;
};
struct k_sigaction {
	void (*handler)(int, void *, struct k_ucontext *);
	uint64_t flags;
	void (*restorer)(void);
	uint64_t mask;
};

#define K_SIGILL  4
#define K_SIGTRAP 5
#define K_SIGBUS  7
#define K_SIGFPE  8
#define K_SIGUSR1 10
#define K_SIGSEGV 11

#define SA_SIGINFO_  4ul
#define SA_ONSTACK_  0x08000000ul
#define SA_RESTORER_ 0x04000000ul
#define ALL_SIGNALS  (~0ull)

void k_restorer(void);

#define ALTSTACK_SIZE 65536
static uint8_t altstack[ALTSTACK_SIZE] __attribute__((aligned(64)));

/* Leave the cache for the run loop, with an exception for the guest. */
static void leave_with(struct k_ucontext *u, uint32_t vector, uint32_t error, uint64_t cr2)
{
	k.exc_vector = vector;
	k.exc_error = error;
	k.exc_cr2 = cr2;
	xlate_leave(k.x, &u->regs);
}

static void page_fault(struct k_ucontext *u)
{
	struct xlate_recovered how;
	uint64_t va = window_guest_va(u->cr2);
	uint32_t error = 0;
	enum k_map map = K_MAP_FAULT;

	if (window_holds(u->cr2)) {
		map = window_fill(va, u->err & 2, &error);
		if (map == K_MAP_DONE)
			return;
	}
	xlate_recover(k.x, &u->regs, &how);
	if (how.completed || map == K_MAP_CODE) {
		xlate_leave(k.x, &u->regs);
		return;
	}
	/* Outside of the window (user memory, M2P): executed with the operand redirected from now
	 * on. */
	if (!window_holds(u->cr2)) {
		if (xlate_user_access(k.x)) {
			xlate_leave(k.x, &u->regs);
			return;
		}
		error = (uint32_t)u->err & 2;
	}
	if (how.fetch)
		error |= 16;
	leave_with(u, 14, error, va);
}

static void on_fault(int sig, void *info, struct k_ucontext *u)
{
	struct xlate_recovered how;

	switch (xlate_where(k.x, u->regs.rip)) {
	case XLATE_MISS:
		xlate_miss(k.x, &u->regs);
		return;
	case XLATE_IN_CACHE:
		break;
	default:
		k_die(sig == K_SIGBUS
			      ? "the host has no memory left for the guest's RAM"
			      : "the monitor took an exception (a bug, or a hostile guest)");
	}
	if (sig == K_SIGBUS && u->trapno == 14) /* (else it is #SS or #AC) */
		k_die("the host has no memory left for the guest's RAM");
	if (u->trapno == 14) {
		page_fault(u);
		return;
	}
	xlate_recover(k.x, &u->regs, &how);
	if (how.completed || ((u->trapno == 13 || u->trapno == 12) && xlate_user_access(k.x))) {
		xlate_leave(k.x, &u->regs);
		return;
	}
	/* Error codes of #GP and the like speak of the host's descriptors: the guest sees 0. */
	leave_with(u, xlate_guest_vector(k.x, (unsigned int)u->trapno), 0, 0);
}

static void on_kick(int sig, void *info, struct k_ucontext *u)
{
	struct xlate_recovered how;

	k.ctlv->kick = 1; /* set by the library already; not by the timer, or by other vCPUs */
	/* What else interrupts comes from a descriptor (si_code > 0): the own pipe. */
	if (((const int *)info)[2] > 0)
		smp_kicked();
	/*
	 * If it was the timer it is not armed any more, also when it met the monitor, which goes on
	 * without a kicked exit: timer_arm() must not take it for armed.
	 */
	k.timer_ns = ~0ull;
	switch (xlate_where(k.x, u->regs.rip)) {
	case XLATE_IN_CACHE:
		xlate_recover(k.x, &u->regs, &how);
		xlate_leave(k.x, &u->regs);
		break;
	case XLATE_IN_ENTRY:
		xlate_leave(k.x, &u->regs);
		break;
	default: /* in the monitor: it looks at the flag before it enters the guest */
		user_kicked();
		break;
	}
}

static void handle(int sig, void (*fn)(int, void *, struct k_ucontext *))
{
	struct k_sigaction sa = {
		.handler = fn,
		.flags = SA_SIGINFO_ | SA_ONSTACK_ | SA_RESTORER_,
		.restorer = k_restorer,
		.mask = ALL_SIGNALS,
	};

	if (sys4(SYS_rt_sigaction, sig, &sa, 0, 8))
		k_die("cannot install a signal handler");
}

void signals_init(void)
{
	static const int faults[] = {K_SIGILL, K_SIGTRAP, K_SIGBUS, K_SIGFPE, K_SIGSEGV};
	struct k_stack ss = {.sp = altstack, .size = sizeof(altstack)};
	uint64_t blocked = ALL_SIGNALS & ~(1ull << (K_SIGUSR1 - 1));

	if (sys2(SYS_sigaltstack, &ss, 0))
		k_die("cannot set the signal stack");
	for (unsigned int i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		handle(faults[i], on_fault);
		blocked &= ~(1ull << (faults[i] - 1));
	}
	handle(K_SIGUSR1, on_kick);
	sys4(SYS_rt_sigprocmask, 2 /* SIG_SETMASK */, &blocked, 0, 8);
}

/* ---- the timer: kicks this vCPU when the guest's next timer is due while the guest runs ---- */

void timer_init(void)
{
	struct {
		uint64_t value;
		int signo, notify;
		uint64_t pad[6];
	} ev = {.signo = K_SIGUSR1, .notify = 0 /* SIGEV_SIGNAL */};

	if (sys3(SYS_timer_create, 1 /* CLOCK_MONOTONIC */, &ev, &k.timer))
		k_die("cannot create a timer");
	k.timer_ns = ~0ull;
}

void timer_arm(uint64_t ns)
{
	struct {
		uint64_t interval_sec, interval_ns, sec, ns;
	} its = {0, 0, 0, 0};

	/* An earlier kick than needed is harmless, and programming costs: leave it be. */
	if (ns >= k.timer_ns)
		return;
	its.sec = ns / 1000000000u;
	its.ns = ns % 1000000000u;
	if (!its.sec && !its.ns)
		its.ns = 1;
	sys4(SYS_timer_settime, k.timer, 1 /* TIMER_ABSTIME */, &its, 0);
	k.timer_ns = ns;
}
