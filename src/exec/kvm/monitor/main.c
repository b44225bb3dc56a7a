/* SPDX-License-Identifier: MIT */
/*
 * The monitor comes up and runs. The library has made the page tables, copied this image and set
 * the registers for k_entry, each vCPU on a stack of its own; vCPU 0 builds the domain.
 */
#include "exec/kvm/monitor/k.h"

#include "core/lib/fmt.h"
#include "core/time/time.h"

const struct kvm_params *k_params;

_Static_assert(offsetof(struct kcpu, regs) == KC_REGS, "layout.h");
_Static_assert(offsetof(struct kcpu, rsp) == KC_RSP, "layout.h");
_Static_assert(offsetof(struct kcpu, scratch) == KC_SCRATCH, "layout.h");
_Static_assert(offsetof(struct kcpu, error) == KC_ERROR, "layout.h");
_Static_assert(offsetof(struct kcpu, segs) == KC_SEGS, "layout.h");
_Static_assert(R_RSP * 8 == KR_RSP, "layout.h");
_Static_assert(offsetof(struct core_regs, rip) == KR_RIP, "layout.h");
_Static_assert(offsetof(struct core_regs, rflags) == KR_RFLAGS, "layout.h");
_Static_assert(offsetof(struct core_regs, cs) == KR_CS, "layout.h");
_Static_assert(offsetof(struct core_regs, ss) == KR_SS, "layout.h");
_Static_assert(offsetof(struct core_regs, es) == KR_DS + 2, "all four at once");
_Static_assert(offsetof(struct core_regs, fs) == KR_DS + 4, "all four at once");
_Static_assert(offsetof(struct core_regs, gs) == KR_GS && KR_GS == KR_DS + 6, "layout.h");
_Static_assert(offsetof(struct core_regs, fs_base) == KR_FS_BASE, "layout.h");
_Static_assert(offsetof(struct core_regs, gs_base) == KR_GS_BASE, "layout.h");
_Static_assert(sizeof(struct kcpu) <= 4096, "a vCPU's page");

void k_start(const struct kvm_params *p, unsigned int id);

void k_die(const char *why)
{
	struct core_ctl *ctl = (struct core_ctl *)(KVM_RAM_VA + k_params->ctl_off);
	unsigned int i;

	for (i = 0; why[i] && i < CORE_REASON_MAX - 1; i++)
		ctl->reason[i] = why[i];
	ctl->reason[i] = '\0';
	/* Before the guest existed it is a start that failed, which the library sees. */
	if (__atomic_load_n(&ctl->run_state, __ATOMIC_RELAXED) != CORE_STATE_NEW)
		__atomic_store_n(&ctl->run_state, CORE_STATE_CRASHED, __ATOMIC_RELEASE);
	__atomic_add_fetch(&ctl->state_seq, 1, __ATOMIC_RELEASE);
	for (;;)
		outl(KVM_PORT_DIE, 0);
}

void k_panic(uint64_t vector, uint64_t error, uint64_t rip, uint64_t cr2)
{
	char why[CORE_REASON_MAX];

	core_fmt(why, sizeof(why),
		 "the monitor took exception %lu, error %lx, at %lx, address %lx (a bug, or a "
		 "hostile guest)",
		 vector, error, rip, cr2);
	k_die(why);
}

/*
 * Sleep until an interrupt: a kick or the timer. Interrupts are off until the halt, so that none
 * gets lost between the look at `kick` and it.
 */
static void halt(struct kcpu *k, uint32_t state, uint64_t ns)
{
	timer_arm(k, ns);
	__atomic_store_n(&k->ctlv->state, state, __ATOMIC_SEQ_CST);
	if (!__atomic_load_n(&k->ctlv->kick, __ATOMIC_SEQ_CST))
		cpu_halt();
	__atomic_store_n(&k->ctlv->state, CORE_VCPU_GUEST, __ATOMIC_SEQ_CST);
}

/*
 * A guest that polls without ever yielding burns a core for nothing; PV GRUB does at its prompt:
 * `cpuid; rdtsc`, and that is all. Nobody needs a hundred thousand CPUIDs in a row with nothing
 * else in between: then the vCPU naps before each further one. An event ends the nap at once.
 */
#define POLL_STREAK  100000u
#define POLL_NAP_MIN 20000ull
#define POLL_NAP_MAX 10000000ull

static void notice_polling(struct kcpu *k, bool cpuid)
{
	if (!cpuid) {
		k->poll_streak = 0;
		return;
	}
	if (k->poll_streak < POLL_STREAK) {
		k->poll_streak++;
		k->poll_nap = POLL_NAP_MIN;
		return;
	}
	uint64_t until = core_time_now(&k->c) + k->poll_nap, timer = core_timers_next(&k->c);

	k->ctlv->exits_block++;
	halt(k, CORE_VCPU_BLOCKED, timer < until ? timer : until);
	k->poll_nap += k->poll_nap / 8;
	if (k->poll_nap > POLL_NAP_MAX)
		k->poll_nap = POLL_NAP_MAX;
}

static void came_back(struct kcpu *k, unsigned int how)
{
	struct core_ctx *c = &k->c;
	enum came came = CAME_OTHER;

	__atomic_store_n(&k->in_guest, 0, __ATOMIC_RELEASE);
	if (how == KVM_EXIT_SYSCALL || how == KVM_EXIT_SYSCALL32) {
		if (c->v->kernel_mode)
			core_hypercall(c);
		else
			core_user_syscall(c);
	} else if (how != KVM_EXIT_NONE) {
		came = guest_trapped(k, how);
	}
	if (came != CAME_INTERRUPT) /* then the guest did nothing */
		notice_polling(k, came == CAME_CPUID);
}

struct core_regs *guest_turn(unsigned int how)
{
	struct kcpu *k = this_cpu();
	struct core_ctx *c = &k->c;
	enum core_action action;

	came_back(k, how);
	while ((action = core_next(c)) != CORE_RUN) {
		/* Stop: the library has been rung; it looks at our state and ends us. */
		if (action == CORE_BLOCK)
			halt(k, CORE_VCPU_BLOCKED, c->v->wake_ns);
		else
			halt(k, CORE_VCPU_PAUSED, CORE_NEVER);
		/* Another vCPU may have made this one anew, and given it a root. */
		load_root(k);
	}
	if (c->v->wake_ns < k->timer_ns)
		timer_arm(k, c->v->wake_ns);
	if (__builtin_expect(cpu_changes(k), 0))
		cpu_sync(k);
	tlb_before_entry(k);
	return k->regs;
}

void k_start(const struct kvm_params *p, unsigned int id)
{
	struct kcpu *k = kcpu_of(id);
	struct core_ctx *c = &k->c;

	k_params = p;
	k->id = id;
	k->cr3 = p->root;
	k->timer_ns = CORE_NEVER;
	k->cpu_dirty = 1;
	k->xcr0 = 1;
	c->ram = (uint8_t *)KVM_RAM_VA;
	c->ctl = (struct core_ctl *)(c->ram + p->ctl_off);
	c->d = (struct core_domain *)(c->ram + p->state_off);
	c->frames = (struct core_frame *)(c->ram + p->frames_off);
	c->ops = &k_ops;
	c->priv = k;
	c->kicked_at_wake = true;
	k->ctlv = &c->ctl->vcpu[id];
	k->regs = &c->d->vcpu[id].regs;
	cpu_tables_init(k);
	core_attach(c, id);
	__atomic_store_n(&k->ctlv->state, CORE_VCPU_GUEST, __ATOMIC_SEQ_CST);
	/* Of a domain that cannot be built the reason is recorded: core_next() says stop. */
	if (id == 0 && !core_domain_init(c))
		for (;;)
			halt(k, CORE_VCPU_PAUSED, CORE_NEVER);
	load_root(k);
	guest_loop(KVM_EXIT_NONE);
}
