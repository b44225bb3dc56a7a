/* SPDX-License-Identifier: MIT */
/*
 * From the `syscall` instruction to a handler. The switch is generated from table.def and compiles
 * to one indirect jump without a table of absolute addresses, so the image needs no relocations.
 */
#include "core/hypercall/hypercall.h"

#define SYSCALL_LEN 2

static inline void count(struct core_ctx *c, unsigned int nr)
{
	uint64_t *counter = &c->ctl->hypercalls[c->v->id][nr];

	/* Nobody else writes here: a locked instruction would be a third of the call. */
	__atomic_store_n(counter, *counter + 1, __ATOMIC_RELAXED);
}

long core_hypercall_call(struct core_ctx *c, uint64_t nr, const uint64_t arg[6])
{
	switch (nr) {
#define HYPERCALL(number, name, nr_args, room)                                                     \
	case number:                                                                               \
		count(c, number);                                                                  \
		return core_hc_##name(c, arg);
#define HYPERCALL_LEFT(number, name, reason)                                                       \
	case number:                                                                               \
		count(c, number);                                                                  \
		return -XEN_ENOSYS; /* reason: see doc/abi-coverage.md */
#include "core/hypercall/table.def"
#undef HYPERCALL
#undef HYPERCALL_LEFT
	default:
		return -XEN_ENOSYS;
	}
}

void core_hypercall(struct core_ctx *c)
{
	struct core_regs *r = &c->v->regs;
	uint64_t nr = r->gpr[R_RAX];
	uint64_t arg[6] = {
		r->gpr[R_RDI], r->gpr[R_RSI], r->gpr[R_RDX],
		r->gpr[R_R10], r->gpr[R_R8],  r->gpr[R_R9],
	};

	c->ctl->vcpu[c->v->id].exits_hypercall++;
	c->hc.preempted = false;
	if (nr != __HYPERVISOR_sched_op)
		c->v->yield_streak = 0; /* it does something: see sched/sched_op.c */
	long ret = core_hypercall_call(c, nr, arg);

	if (__builtin_expect(c->hc.preempted, false)) {
		const uint64_t *left = c->hc.args;

		c->hc.preempted = false;
		r->gpr[R_RDI] = left[0];
		r->gpr[R_RSI] = left[1];
		r->gpr[R_RDX] = left[2];
		r->gpr[R_R10] = left[3];
		r->gpr[R_R8] = left[4];
		r->gpr[R_R9] = left[5];
		r->rip -= SYSCALL_LEN;
	}
	/* iret returns the rax of its frame; core_hc_iret() has loaded everything else. */
	r->gpr[R_RAX] = (uint64_t)ret;
}

long core_hypercall_continue(struct core_ctx *c, unsigned int nr, const uint64_t args[6])
{
	for (unsigned int i = 0; i < 6; i++)
		c->hc.args[i] = args[i];
	c->hc.preempted = true;
	return (long)nr;
}
