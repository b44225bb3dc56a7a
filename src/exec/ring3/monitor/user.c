/* SPDX-License-Identifier: MIT */
/*
 * Running guest user mode. A brief turn is user_brief.c's; for any other the registers go to G's
 * state page, control follows, and comes back with a signal frame that says why. See
 * exec/ring3/user.h.
 */
#include "exec/ring3/monitor/user.h"

#include <linux/audit.h>
#include <sys/syscall.h>

#include "core/cpu/cpu.h"
#include "core/cpu/cpuid.h"
#include "core/cpu/desc.h"
#include "core/lib/bitops.h"
#include "core/lib/mem.h"
#include "core/mm/mm.h"
#include "core/time/time.h"
#include "exec/ring3/monitor/smp.h"

#define HOST_CS64   0x33
#define HOST_CS32   0x23
#define VDSO_SIZE   0x2000u /* what `sysenter` may return to */
#define HOST_SS	    0x2b
#define HOST_EFAULT 14

#define SIGILL_	 4
#define SIGTRAP_ 5
#define SIGBUS_	 7
#define SIGFPE_	 8
#define SIGUSR1_ 10
#define SIGSEGV_ 11
#define SIGSYS_	 31

#define VSYSCALL_FIRST 0xffffffffff600000ull
#define IN_STUB(rip)   ((rip)-U_BASE < 4096)

struct siginfo_ {
	int32_t signo, error, code, pad;
	uint64_t addr; /* SIGSYS: of the system call; SIGSEGV: cr2 */
	uint32_t nr, arch;
};

/* What happened last, for user_run(): the page to map as soon as the guest has dealt with it. */
static uint64_t retry_va, retry_root, retry_rip;
static uint32_t retry_access;

/* ---- in ----------------------------------------------------------------------------------- */

static uint64_t host_cs(uint16_t cs)
{
	uint64_t desc;

	/* The flat selectors of Xen and Linux's own, without a look at the table. */
	if (cs == FLAT_USER_CS64 || cs == HOST_CS64)
		return HOST_CS64;
	if (core_cs_check(&k.c, cs, &desc).raised)
		return HOST_CS64;
	return desc & DESC_L ? HOST_CS64 : HOST_CS32;
}

/* Of 32-bit programs: what stands for the guest's selector is flat, and has the same number if it
 * can. */
static uint16_t flat_selector(uint16_t sel)
{
	if (!sel)
		return 0;
	if ((sel >> 3) - U_TLS_FIRST < U_TLS_NR &&
	    __atomic_load_n(&k.nursery->has_tls, __ATOMIC_RELAXED))
		return sel | 7;
	return HOST_SS;
}

static void load_state(struct u_slot *s)
{
	struct u_state *st = s->state;
	const struct core_regs *r = &k.c.v->regs;
	uint32_t flags;

	memcpy(st->gpr, r->gpr, sizeof(st->gpr));
	st->rip = r->rip;
	st->cs = host_cs(r->cs);
	st->rflags = (r->rflags & CORE_FLAGS_USER) | CORE_FLAG_IF | CORE_FLAG_FIXED;
	st->rflags |= debug_flags(s);
	st->rsp = r->gpr[R_RSP];
	st->ss = HOST_SS;
	st->fs_base = r->fs_base;
	st->gs_base = r->gs_base;
	st->fpmask = fpu_mask();
	st->fpstate = fpu_give(s);
	flags = fpu_flags();
	if (s->nt)
		flags |= UF_FLAGS;
	if (st->cs != HOST_CS64 || (st->rflags & CORE_FLAG_TF))
		flags |= UF_IRETQ;
	if (!s->bases || s->fs_base != r->fs_base || s->gs_base != r->gs_base)
		flags |= UF_BASES;
	st->frame = 0;
	if (st->cs == HOST_CS32 && r->ds) {
		/* 32-bit code uses all of them. The guest's descriptors are not the host's: flat
		 * ones take their place, and the bases follow. Not where ds is null: then a 64-bit
		 * program has jumped here and loaded by itself what G still has. */
		st->ds = HOST_SS;
		st->es = r->es ? HOST_SS : 0;
		st->fs = flat_selector(r->fs);
		st->gs = flat_selector(r->gs);
		flags |= UF_SEGMENTS | UF_BASES;
	}
	st->flags = flags;
}

/* ---- out ---------------------------------------------------------------------------------- */

/* Its place in K's view, or NULL if G made the address up. */
static const uint8_t *frame_at(const struct u_slot *s, uint64_t at, uint64_t room)
{
	uint64_t off = at - U_BLOCK;

	if (off < UB_STACK || off > U_BLOCK_SIZE - room || (at & 7))
		return NULL;
	return s->block + off;
}

/* What G has said that it has; if it lies it goes on with what it really has. */
static void take_bases(struct u_slot *s)
{
	struct core_regs *r = &k.c.v->regs;

	s->fs_base = __atomic_load_n(&s->state->fs_base, __ATOMIC_RELAXED);
	s->gs_base = __atomic_load_n(&s->state->gs_base, __ATOMIC_RELAXED);
	s->bases = true;
	if (core_canonical(s->fs_base))
		r->fs_base = s->fs_base;
	if (core_canonical(s->gs_base))
		r->gs_base = s->gs_base;
}

static void take_registers(struct u_slot *s, const struct u_frame *f)
{
	struct core_regs *r = &k.c.v->regs;

	r->gpr[R_RAX] = f->rax;
	r->gpr[R_RCX] = f->rcx;
	r->gpr[R_RDX] = f->rdx;
	r->gpr[R_RBX] = f->rbx;
	r->gpr[R_RSP] = f->rsp;
	r->gpr[R_RBP] = f->rbp;
	r->gpr[R_RSI] = f->rsi;
	r->gpr[R_RDI] = f->rdi;
	r->gpr[R_R8] = f->r8;
	r->gpr[R_R9] = f->r9;
	r->gpr[R_R10] = f->r10;
	r->gpr[R_R11] = f->r11;
	r->gpr[R_R12] = f->r12;
	r->gpr[R_R13] = f->r13;
	r->gpr[R_R14] = f->r14;
	r->gpr[R_R15] = f->r15;
	r->rip = f->rip;
	r->rflags = (f->eflags & (CORE_FLAGS_USER | CORE_FLAG_RF)) | CORE_FLAG_IF | CORE_FLAG_FIXED;
	/* The guest's own selectors where the host has its flat ones. */
	if (f->cs != host_cs(r->cs))
		r->cs = f->cs == HOST_CS32 ? FLAT_USER_CS32 : FLAT_USER_CS64;
	take_bases(s);
}

/* A system call without a signal. */
static void on_site(struct u_slot *s)
{
	struct u_state *st = s->state;
	struct core_regs *r = &k.c.v->regs;
	uint64_t rflags, rip;

	memcpy(r->gpr, st->gpr, sizeof(r->gpr));
	s->called = r->gpr[R_RAX] & 63;
	__asm__ volatile("" ::: "memory"); /* what was copied is what is used */
	take_bases(s);
	rflags = __atomic_load_n(&st->rflags, __ATOMIC_RELAXED);
	fpu_came_back(s, U_BLOCK + UB_STATE + US_FPU);
	s->fpu_live = true;
	s->nt = rflags & CORE_FLAG_NT;
	r->rflags = (rflags & CORE_FLAGS_USER) | CORE_FLAG_IF | CORE_FLAG_FIXED;
	if (host_cs(r->cs) != HOST_CS64)
		r->cs = FLAT_USER_CS64;
	rip = site_came(s, (uint32_t)r->gpr[R_RCX]);
	if (!rip) {
		core_exception(&k.c, CORE_VEC_GP, 0, 0);
		return;
	}
	r->rip = r->gpr[R_RCX] = rip;
	r->gpr[R_R11] = r->rflags;
	core_user_syscall(&k.c);
}

/*
 * The door of 32-bit programs that is not int $0x80: `sysenter` on Intel's processors, `syscall` on
 * AMD's; neither knows the other one as 32-bit code. The host has already done what the callers in
 * its own vDSO expect, and ebp was read from their stack. With `sysenter` the stack pointer is what
 * it was. With `syscall` it is ecx, and where the instruction was is lost (rip is in the host's
 * vDSO, which is nobody's business): Linux goes on in its vDSO without asking.
 */
static void fast_32(struct core_regs *r)
{
	if (core_cpuid_vendor(&k.c) == CORE_VENDOR_AMD) {
		r->gpr[R_RBP] = (uint32_t)r->gpr[R_RCX];
		r->rip = 0;
		r->cs = FLAT_USER_CS32; /* as Xen says, whatever it was */
		core_user_syscall(&k.c);
	} else {
		r->gpr[R_RBP] = (uint32_t)r->gpr[R_RSP];
		core_user_sysenter(&k.c);
	}
}

/* A system call by any of the doors. */
static void on_syscall(struct u_slot *s, const struct siginfo_ *si)
{
	struct core_regs *r = &k.c.v->regs;
	uint8_t insn[2] = {0, 0};

	if (si->addr >= VSYSCALL_FIRST && si->addr < VSYSCALL_FIRST + 4096) {
		/* The host emulated the call of the vsyscall page up to its return: undo it. */
		r->gpr[R_RSP] -= 8;
		r->rip = si->addr;
		core_exception(&k.c, CORE_VEC_PF, PF_USER | PF_FETCH, si->addr);
		return;
	}
	if (si->arch == AUDIT_ARCH_X86_64) {
		site_called(s, r->rip);
		core_user_syscall(&k.c);
		return;
	}
	(void)core_guest_read(&k.c, insn, r->rip - 2, 2);
	if (insn[0] == 0xcd)
		core_soft_interrupt(&k.c, insn[1], 2);
	else
		fast_32(r);
}

/*
 * One of those that never became a system call. The host's kernel takes it for one of its 32-bit
 * vDSO, which keeps a register on the stack; where there is no stack it returns an error to the
 * vDSO, which programs of a guest do not have: a jump, as 32-bit code, to where nothing is.
 */
static bool lost_fast_32(const struct u_slot *s, const struct u_frame *f)
{
	return (f->err & PF_FETCH) && f->cr2 == f->rip && f->cs == HOST_CS32 &&
	       (uint32_t)f->rax == (uint32_t)-HOST_EFAULT &&
	       (uint32_t)f->rip - (uint32_t)k.vdso < VDSO_SIZE &&
	       (s->state->cs == HOST_CS64 || !user_allowed(f->cr2, PF_FETCH));
}

static void tell_guest(uint64_t va, uint32_t access, uint32_t error)
{
	retry_va = va;
	retry_access = access;
	retry_root = k.c.v->user_root;
	retry_rip = k.c.v->regs.rip;
	core_exception(&k.c, CORE_VEC_PF, error | PF_USER, va);
}

static void on_page_fault(struct u_slot *s, const struct u_frame *f, int sig)
{
	uint32_t access = (uint32_t)f->err & (PF_WRITE | PF_FETCH), error;

	if (lost_fast_32(s, f)) {
		fast_32(&k.c.v->regs);
		return;
	}
	if (sig == SIGBUS_ && remote_fault(s, f->cr2, access))
		return;
	begin_touched(s, f->cr2, access);
	if (debug_fault(s, f->cr2, access) || user_map(s, f->cr2, access, &error))
		return;
	if (debug_active(s, 0))
		debug_came_back(s, false);
	if (f->cr2 < U_FIRST && user_allowed(f->cr2, access)) {
		/* The guest has a page where the stub lies. Told of a page fault it would only try
		 * again, for ever. */
		core_exception(&k.c, CORE_VEC_GP, 0, 0);
		return;
	}
	tell_guest(f->cr2, access, error);
}

/* 32-bit code loads a selector of the guest's table, thread-local storage most often; the host has
 * no such descriptor. load_state() puts a flat one with the same base in its place. */
static bool load_selector(void)
{
	struct core_regs *r = &k.c.v->regs;
	uint8_t insn[3] = {0, 0, 0};
	unsigned int n, seg;

	if (host_cs(r->cs) != HOST_CS32)
		return false;
	(void)core_guest_read(&k.c, insn, r->rip, 3); /* zeros behind the end of a page */
	n = insn[0] == 0x66;
	seg = insn[n + 1] >> 3 & 7;
	if (insn[n] != 0x8e || insn[n + 1] >> 6 != 3 || seg > CORE_SEG_GS || seg == CORE_SEG_CS ||
	    seg == CORE_SEG_SS)
		return false;
	if (core_seg_load(&k.c, (enum core_seg)seg, (uint16_t)r->gpr[insn[n + 1] & 7]).raised)
		return false;
	r->rip += n + 2;
	return true;
}

static void on_fault(struct u_slot *s, int sig, const struct u_frame *f)
{
	struct core_regs *r = &k.c.v->regs;
	uint32_t err = (uint32_t)f->err;
	uint8_t insn[2] = {0, 0};

	/* (a register set that the program may not use has no trap number: the last one's is still
	 * there) */
	switch (sig == SIGILL_ ? CORE_VEC_UD : f->trapno) {
	case CORE_VEC_PF:
		on_page_fault(s, f, sig);
		return;
	case CORE_VEC_BP:
		core_soft_interrupt(&k.c, CORE_VEC_BP, 1);
		return;
	case CORE_VEC_OF:
		core_soft_interrupt(&k.c, CORE_VEC_OF, 1);
		return;
	case CORE_VEC_GP:
		/* int n: the host's gate is closed, the guest's may be open. */
		if (err & 2) {
			r->rip += 2;
			core_soft_interrupt(&k.c, err >> 3 & 255, 2);
			return;
		}
		if (!load_selector())
			core_exception(&k.c, CORE_VEC_GP, 0, 0);
		return;
	case CORE_VEC_UD:
		(void)core_guest_read(&k.c, insn, r->rip, 2); /* zeros behind the end of a page */
		if (insn[0] == 0x0f && insn[1] == 0x34)
			core_user_sysenter(&k.c); /* AMD's processors do not know it here */
		else
			core_exception(&k.c, CORE_VEC_UD, 0, 0);
		return;
	case CORE_VEC_DB:
		if (debug_trap(s))
			return;
		__attribute__((fallthrough));
	case CORE_VEC_DE:
	case CORE_VEC_MF:
	case CORE_VEC_XM:
	case CORE_VEC_AC:
	case CORE_VEC_BR:
	case CORE_VEC_SS:
	case CORE_VEC_NP:
		core_exception(&k.c, (unsigned int)f->trapno, 0, 0);
		return;
	default: /* a signal nobody sent */
		core_exception(&k.c, CORE_VEC_GP, 0, 0);
	}
}

static void came_back(struct u_slot *s, uint64_t at)
{
	const uint8_t *p = frame_at(s, at, UC_SIGINFO + sizeof(struct siginfo_));
	struct siginfo_ si;
	uint64_t fpstate;
	struct u_frame f;
	bool rewound;

	if (at == US_SITE) {
		on_site(s);
		return;
	}
	s->fpu_live = false;
	s->bases = false;
	s->called = -1;
	if (!p) {
		/* A kick before the guest's first instruction; or G made it up, and then the kernel
		 * kills the program. */
		if (at) {
			core_exception(&k.c, CORE_VEC_GP, 0, 0);
			return;
		}
		k.ctlv->exits_kick++;
		fpstate = __atomic_load_n(&s->state->fpstate, __ATOMIC_RELAXED);
		if (fpu_in_user() && fpstate)
			fpu_came_back(s, fpstate);
		return;
	}
	memcpy(&f, p + UC_REGS, sizeof(f));
	memcpy(&si, p + UC_SIGINFO, sizeof(si));
	__asm__ volatile("" ::: "memory"); /* what was copied is what is used */
	rewound = (si.signo == SIGUSR1_ || si.signo == SIGTRAP_) && site_rewind(s, &f);
	if (IN_STUB(f.rip)) {
		/* What iretq or xrstor refused, which G alone can have made: registers as they
		 * were meant. */
		core_exception(&k.c, CORE_VEC_GP, 0, 0);
		return;
	}
	fpu_came_back(s, f.fpstate);
	s->nt = f.eflags & CORE_FLAG_NT;
	take_registers(s, &f);
	if (debug_active(s, 0))
		debug_came_back(s, si.signo == SIGUSR1_ ||
					   (si.signo != SIGSYS_ &&
					    (f.trapno == CORE_VEC_PF || f.trapno == CORE_VEC_DB)));
	if (rewound && si.signo == SIGTRAP_) {
		site_plain(s); /* a single step has to see the system call */
		return;
	}
	switch (si.signo) {
	case SIGSYS_:
		on_syscall(s, &si);
		break;
	case SIGUSR1_:
		k.ctlv->exits_kick++;
		k.timer_ns = ~0ull;
		break;
	case SIGSEGV_:
	case SIGBUS_:
	case SIGFPE_:
	case SIGILL_:
	case SIGTRAP_:
		on_fault(s, si.signo, &f);
		break;
	}
}

/* ---- the turn ----------------------------------------------------------------------------- */

void user_run(void)
{
	struct u_slot *s;
	bool yield, alive;
	uint64_t at, rip;
	uint32_t error;

	if (brief_turn()) {
		if (retry_va && retry_root == k.c.v->user_root)
			brief_touched(retry_va, retry_access);
		retry_va = 0;
		return;
	}
	s = user_slot();
	if (debug_active(s, k.c.v->debugreg[7]))
		debug_enter(s);
	if (__builtin_expect(s->site_page != 0, 0) &&
	    (k.c.v->regs.rflags & CORE_FLAG_TF || debug_active(s, k.c.v->debugreg[7])))
		site_plain(s);
	user_drain();
	if (retry_va) {
		bool given = remote_was_given(retry_va);

		/* (not where the guest answers with a signal) */
		if (!given && retry_root == k.c.v->user_root && retry_rip == k.c.v->regs.rip)
			(void)user_map(s, retry_va, retry_access, &error);
		retry_va = 0;
	}
	if (s->fresh && !debug_active(s, k.c.v->debugreg[7])) {
		if (!begin_run(s, &error)) {
			/* What G could not even fetch needs no G to find that out. */
			tell_guest(k.c.v->regs.rip, PF_FETCH, error);
			return;
		}
	} else if (!s->maps) {
		/* An empty process: what it certainly wants in one go, and not by a fault each. */
		(void)user_map(s, k.c.v->regs.rip, PF_FETCH, &error);
		(void)user_map(s, k.c.v->regs.gpr[R_RSP], PF_WRITE, &error);
	}
	brief_map_touched(s);
	/* What became writable just now may have been code, with copies that go (user_site.c). */
	user_drain();
	order_check(s);
	load_state(s);
	yield = turn_by_yield(s);
	if (yield)
		s->state->flags |= UF_YIELD;
	if (k.smp) {
		quiet_gives_turn(s);
		smp_enter(); /* and what others asked to be dropped is dropped */
	}
	s->loose = true;
	k.ctlv->user_turns++;
	alive = turn_give(s, yield);
	if (k.smp)
		smp_leave();
	if (!alive) {
		if (user_again(s))
			core_exception(&k.c, CORE_VEC_GP, 0, 0);
		return;
	}
	order_check(s);
	rip = s->state->rip;
	at = __atomic_load_n(&s->state->frame, __ATOMIC_RELAXED);
	s->own |= at != 0;
	came_back(s, at);
	if (k.c.v->kernel_mode)
		brief_learn(rip, s->state->told - s->state->started, at == US_SITE);
}
