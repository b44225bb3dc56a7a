/* SPDX-License-Identifier: MIT */
/* Exceptions and software interrupts of the guest: whose are they, and where do they go? */
#include "core/cpu/exception.h"

#include "core/cpu/bounce.h"
#include "core/cpu/cpu.h"
#include "core/cpu/emulate.h"
#include "core/lib/bitops.h"
#include "core/mm/mm.h"
#include "core/run.h"

#define SYSCALL_LEN	2
#define VEC_SYSCALL_INT 0x80u

void core_debug_trap(struct core_ctx *c, uint64_t dr6)
{
	c->v->debugreg[6] |= dr6 & 0xe00f;
	core_inject(c, CORE_VEC_DB, 0);
}

/* The guest set cr0.TS: it wants to know about the first use of the FPU. Xen clears TS again. */
static void no_fpu(struct core_ctx *c)
{
	if (!(c->v->cr0 & CORE_CR0_TS))
		return;
	c->v->cr0 &= ~CORE_CR0_TS;
	c->ops->cpu_changed(c);
	core_inject(c, CORE_VEC_NM, 0);
}

static void page_fault(struct core_ctx *c, uint32_t error, uint64_t cr2)
{
	/* Executors see no difference; for the processor there are no pages at such addresses. */
	if (!core_canonical(cr2)) {
		core_inject(c, CORE_VEC_GP, 0);
		return;
	}
	c->ctl->vcpu[c->v->id].page_faults++;
	if (c->v->kernel_mode &&
	    (error & (PF_PRESENT | PF_WRITE | PF_RESERVED | PF_FETCH)) == (PF_PRESENT | PF_WRITE)) {
		if (core_mm_ro_fault(c, cr2, error))
			return;
	}
	core_inject_pf(c, error, cr2);
}

void core_exception(struct core_ctx *c, unsigned int vector, uint32_t error, uint64_t cr2)
{
	c->ctl->vcpu[c->v->id].exits_exception++;
	switch (vector) {
	case CORE_VEC_PF:
		page_fault(c, error, cr2);
		break;
	case CORE_VEC_GP:
		if (error == 0 && core_emulate_privileged(c))
			break;
		core_inject(c, vector, error);
		break;
	case CORE_VEC_UD:
		if (!emu_forced(c))
			core_inject(c, vector, 0);
		break;
	case CORE_VEC_NM:
		no_fpu(c);
		break;
	case CORE_VEC_DB:
		/* Executors that know the cause pass dr6's bits in `error`. */
		core_debug_trap(c, error != 0 ? error : CORE_DR6_BS);
		break;
	default:
		core_inject(c, vector, error);
		break;
	}
}

/*
 * The guest's kernel counts as ring 1 for DPL checks, its user mode as ring 3. int3 and into are
 * open to both: the processor's own gates for them are. So is that of int 0x80, as long as the
 * guest has a handler for it: Xen goes there without a look at the DPL.
 */
void core_soft_interrupt(struct core_ctx *c, unsigned int vector, unsigned int len)
{
	const struct core_trap *t = &c->v->traps[vector & 255];
	unsigned int cpl = c->v->kernel_mode ? 1 : 3;

	c->ctl->vcpu[c->v->id].exits_exception++;
	bool open = vector == CORE_VEC_BP || vector == CORE_VEC_OF ||
		    (vector == VEC_SYSCALL_INT && t->addr != 0);

	if (open || (t->flags & 3u) >= cpl) {
		core_inject(c, vector & 255, 0);
		return;
	}
	/* What the processor pushes for a gate that is out of reach; rip at the instruction. */
	c->v->regs.rip -= len;
	core_inject(c, CORE_VEC_GP, (vector & 255) << 3 | 2);
}

void core_user_syscall(struct core_ctx *c)
{
	struct core_vcpu *v = c->v;
	struct core_regs *r = &v->regs;
	const struct core_callback *cb = &v->cb_syscall;

	c->ctl->vcpu[v->id].exits_exception++;
	if (r->cs == FLAT_USER_CS32 && v->cb_syscall32.addr != 0)
		cb = &v->cb_syscall32;
	if (cb->addr == 0) {
		r->rip -= SYSCALL_LEN;
		core_inject(c, CORE_VEC_UD, 0);
		return;
	}
	core_bounce(c, cb->addr, cb->flags ? CORE_BOUNCE_MASK : 0, 0, "syscall");
	r->rflags &= ~CORE_FLAG_DF;
}

void core_user_sysenter(struct core_ctx *c)
{
	const struct core_callback *cb = &c->v->cb_sysenter;
	struct core_regs *r = &c->v->regs;

	c->ctl->vcpu[c->v->id].exits_exception++;
	/* The instruction saves nothing, so Xen does not know either where it was. */
	r->rip = 0;
	r->cs = 3;
	r->gpr[R_RSP] = 0;
	if (cb->addr == 0) {
		core_inject(c, CORE_VEC_GP, 0);
		return;
	}
	core_bounce(c, cb->addr, cb->flags ? CORE_BOUNCE_MASK : 0, 0, "sysenter");
}
