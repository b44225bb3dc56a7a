/* SPDX-License-Identifier: MIT */
/*
 * How the outside world reaches K: faults of translated code, and kicks (from the library, or from
 * K's own timer). All handlers run on a stack of their own; the guest's rsp is the guest's, and
 * nothing here uses FS or GS.
 *
 * A handler that leaves the guest does not return: rt_sigreturn costs a third of the whole signal,
 * and all it would do is to jump to a known place (leave()). So nothing may have to be unblocked:
 * faults block no signal, and a kick may find a fault's handler at work. It does not disturb it,
 * and nested handlers never go deeper than that, because kicks do block everything and do return.
 */
#include "exec/ring3/monitor/smp.h"

#include <linux/futex.h>

#include "core/lib/mem.h"
#include "core/mm/pte.h"
#include "core/time/time.h"
#include "exec/ring3/monitor/kernel_debug.h"
#include "exec/ring3/monitor/kernel_debug.h"
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
	uint8_t *fpu; /* an XSAVE image; in bytes 464-511 what the kernel says of it */
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
#define SA_NODEFER_  0x40000000ul
#define ALL_SIGNALS  (~0ull)

/* An int32_t of siginfo, and what it is for a timer of timer_create(). */
#define SIGINFO_CODE 2
#define SI_TIMER_    (-2)

#define TIMER_NEAR_NS 200000u /* a timer so near is set anew in any case */

void k_restorer(void);

#define ALTSTACK_SIZE 65536
static uint8_t altstack[ALTSTACK_SIZE] __attribute__((aligned(64)));

/*
 * The frame with which a fault's handler goes back to translated code, from the moment on at which
 * it does not look at the kick flag any more: a kick that comes then takes it out of the guest.
 */
static struct k_ucontext *volatile going_back;

#define FPU_MAGIC    0x46505853u /* FP_XSTATE_MAGIC1 */
#define FPU_MAGIC_AT 464u
#define FPU_BITS_AT  472u
#define NO_AMX	     (~0x60000ull)

/*
 * xlate_leave() was called: go where the frame says, without rt_sigreturn. The kernel has emptied
 * the vector registers for the handler; if it is in them that the guest's are, they come back.
 */
static void leave(const struct k_ucontext *u)
{
	uint32_t magic = 0;
	uint64_t bits;

	if (!fpu_in_user()) {
		if (u->fpu)
			memcpy(&magic, u->fpu + FPU_MAGIC_AT, 4);
		if (magic != FPU_MAGIC)
			return; /* a host without XSAVE: rt_sigreturn knows how */
		memcpy(&bits, u->fpu + FPU_BITS_AT, 8);
		bits &= NO_AMX;
		__asm__ volatile("xrstor64 (%0)"
				 :
				 : "r"(u->fpu), "a"((uint32_t)bits), "d"((uint32_t)(bits >> 32))
				 : "memory");
	}
	/* Registers do not matter to xlate_leave()'s places; AC, DF and TF are clear in a handler.
	 */
	__asm__ volatile("mov %0, %%rsp\n\t"
			 "jmp *%1"
			 :
			 : "r"(u->regs.rsp), "r"(u->regs.rip)
			 : "memory");
	__builtin_unreachable();
}

/* For the run loop, with an exception for the guest. */
static void leave_with(struct k_ucontext *u, uint32_t vector, uint32_t error, uint64_t cr2)
{
	k.exc_vector = vector;
	k.exc_error = error;
	k.exc_cr2 = cr2;
	xlate_leave(k.x, &u->regs);
	leave(u);
}

/* The run loop is to look at the world: kicked, or translations were dropped. */
static void leave_kicked(struct k_ucontext *u)
{
	xlate_leave(k.x, &u->regs);
	leave(u);
}

/* The handler returns, and the access is repeated; unless a kick has come in the meantime. */
static void go_back(struct k_ucontext *u)
{
	struct xlate_recovered how;

	going_back = u;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (!__atomic_load_n(&k.ctlv->kick, __ATOMIC_SEQ_CST))
		return;
	going_back = NULL;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (xlate_where(k.x, u->regs.rip) == XLATE_IN_CACHE) { /* else the kick has done this */
		xlate_recover(k.x, &u->regs, &how);
		leave_kicked(u);
	}
}

/*
 * A page that was a page table is still read-only here, and most often it is cleared or copied to
 * next, to be one again: then that is done past the window, and two changes of the mapping are
 * saved.
 */
static bool past_window(struct k_ucontext *u)
{
	const uint64_t need = PTE_RW | PTE_DIRTY;
	uint64_t va = window_guest_va(u->cr2), upper, *pte;
	struct xlate_recovered how;
	bool taken;

	/* (Without the dirty bit it is the first store to any page.) */
	pte = tlb_follow(k.c.v->kernel_root, va, -1, &upper);
	if (!pte || (pte_read(pte) & need) != need || pte_mfn(pte_read(pte)) >= k.nr_frames)
		return false;
	taken = window_taken(pte_mfn(pte_read(pte)), va, false) == 1;
	xlate_recover(k.x, &u->regs, &how);
	if (how.completed || !xlate_store_access(k.x, true, taken))
		return false;
	xlate_leave(k.x, &u->regs);
	return true;
}

static void page_fault(struct k_ucontext *u, bool is_protected)
{
	struct xlate_recovered how;
	uint64_t va = window_guest_va(u->cr2);
	uint32_t error = 0;
	enum k_map map = K_MAP_FAULT;

	if (window_holds(u->cr2)) {
		if ((u->err & 3) == 3 && !kdebug_on && past_window(u))
			return;
		map = window_fill(va, u->err & 2, is_protected, &error);
		if (map == K_MAP_DONE) {
			go_back(u);
			return;
		}
	}
	xlate_recover(k.x, &u->regs, &how);
	if (how.completed || map == K_MAP_CODE) {
		leave_kicked(u);
		return;
	}
	if (map == K_MAP_WATCHED) {
		leave_with(u, K_WATCHED, how.fetch | (u->err & PF_WRITE), va);
		return;
	}
	/* Outside of the window (user memory, M2P): executed with the operand redirected from now
	 * on. */
	if (!window_holds(u->cr2)) {
		if (xlate_user_access(k.x)) {
			leave_kicked(u);
			return;
		}
		error = (uint32_t)u->err & 2;
	}
	/* A store to a page table, most likely: the next one here need not fault. */
	if (error == 3 && (u->err & 2) && !kdebug_on)
		(void)xlate_store_access(k.x, false, false);
	if (how.fetch)
		error |= 16;
	leave_with(u, 14, error, va);
}

static void on_fault(int sig, void *info, struct k_ucontext *u)
{
	struct xlate_recovered how;

	going_back = NULL;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	switch (xlate_where(k.x, u->regs.rip)) {
	case XLATE_MISS:
		xlate_miss(k.x, &u->regs);
		return;
	case XLATE_IN_CACHE:
		break;
	default:
		/* A kick met this handler's first instruction and took the last one's frame for it.
		 */
		if (xlate_left(&u->regs))
			return;
		k_die(sig == K_SIGBUS
			      ? "the host has no memory left for the guest's RAM"
			      : "the monitor took an exception (a bug, or a hostile guest)");
	}
	/* (else it is #SS or #AC; or a page that is there, and protected: window_protect.c) */
	if (sig == K_SIGBUS && u->trapno == 14 && (u->err & 3) != 3)
		k_die("the host has no memory left for the guest's RAM");
	if (u->trapno == 14) {
		page_fault(u, sig == K_SIGBUS);
		return;
	}
	xlate_recover(k.x, &u->regs, &how);
	if (how.completed || ((u->trapno == 13 || u->trapno == 12) && xlate_user_access(k.x))) {
		leave_kicked(u);
		return;
	}
	/* Error codes of #GP and the like speak of the host's descriptors: the guest sees 0. */
	leave_with(u, xlate_guest_vector(k.x, (unsigned int)u->trapno), 0, 0);
}

static void on_kick(int sig, void *info, struct k_ucontext *u)
{
	struct xlate_recovered how;

	/* In a fault's handler that goes back to translated code? Then it is that which is
	 * interrupted. */
	if (u->regs.rsp - (uintptr_t)altstack < ALTSTACK_SIZE && going_back) {
		u = going_back;
		going_back = NULL;
	}

	k.ctlv->kick = 1; /* set by the library already; not by the timer, or by other vCPUs */
	/* Others wrote a byte for it; always looked for, because signals that wait become one, and
	 * with the pipe full nobody could interrupt this vCPU any more. */
	if (k.smp)
		smp_kicked();
	/*
	 * If it was the timer it is not armed any more, also when it met the monitor, which goes on
	 * without a kicked exit: timer_arm() must not take it for armed. (The host's kernel queues
	 * a timer's signal also behind another of the same number.) Any other kick leaves it armed:
	 * to set it anew for each block and each packet costs more than the signal.
	 */
	if (((const int32_t *)info)[SIGINFO_CODE] == SI_TIMER_ ||
	    (k.timer_ns != ~0ull && k.timer_ns < core_time_now(&k.c) + TIMER_NEAR_NS))
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

static void handle(int sig, void (*fn)(int, void *, struct k_ucontext *), uint64_t flags,
		   uint64_t mask)
{
	struct k_sigaction sa = {
		.handler = fn,
		.flags = SA_SIGINFO_ | SA_ONSTACK_ | SA_RESTORER_ | flags,
		.restorer = k_restorer,
		.mask = mask,
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
		handle(faults[i], on_fault, SA_NODEFER_, 0);
		blocked &= ~(1ull << (faults[i] - 1));
	}
	handle(K_SIGUSR1, on_kick, 0, ALL_SIGNALS);
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
	/* First this: if it fires at once its handler is to have the last word. */
	k.timer_ns = ns;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	sys4(SYS_timer_settime, k.timer, 1 /* TIMER_ABSTIME */, &its, 0);
}
