/* SPDX-License-Identifier: MIT */
#include "core/cpu/bounce.h"

#include "core/cpu/cpu.h"
#include "core/event/event.h"
#include "core/lib/bitops.h"
#include "core/run.h"

/* Cleared in the flags the handler starts with; IOPL and VM are never set. */
#define HANDLER_CLEARS                                                                             \
	(CORE_FLAG_AC | CORE_FLAG_VM | CORE_FLAG_RF | CORE_FLAG_NT | CORE_FLAG_TF | CORE_FLAG_IOPL)

static inline bool in_hypervisor_range(uint64_t va)
{
	return va >= __HYPERVISOR_VIRT_START && va < __HYPERVISOR_VIRT_END;
}

void core_toggle_mode(struct core_ctx *c)
{
	struct core_regs *r = &c->v->regs;
	uint64_t base = r->gs_base;

	r->gs_base = r->gs_base_other;
	r->gs_base_other = base;
	c->v->kernel_mode ^= 1;
	c->ops->root_changed(c);
}

/* The rflags the guest is shown: IF is its upcall mask, IOPL what it asked for (as an assist). */
static uint64_t guest_rflags(const struct core_ctx *c, bool masked)
{
	const uint64_t hidden = CORE_FLAG_IF | CORE_FLAG_IOPL | CORE_FLAG_RF | CORE_FLAG_VM |
				CORE_FLAG_VIF | CORE_FLAG_VIP;
	uint64_t flags = c->v->regs.rflags & ~hidden;

	if (!masked)
		flags |= CORE_FLAG_IF;
	if (c->d->vm_assist & (1ull << VMASST_TYPE_architectural_iopl))
		flags |= (uint64_t)(c->v->iopl & 3) << 12;
	return flags;
}

void core_bounce(struct core_ctx *c, uint64_t handler, unsigned int flags, uint32_t error,
		 const char *what)
{
	struct core_vcpu *v = c->v;
	struct core_regs *r = &v->regs;
	struct vcpu_info *info = core_vcpu_info(c, v);
	uint64_t frame[8], cs = r->cs, sp;
	unsigned int n = 0;

	if (v->kernel_mode) {
		sp = r->gpr[R_RSP];
		cs &= ~3ull; /* tells the guest that it was in its kernel */
	} else {
		core_toggle_mode(c);
		sp = v->kernel_sp;
	}
	bool masked = info->evtchn_upcall_mask != 0;

	frame[n++] = r->gpr[R_RCX];
	frame[n++] = r->gpr[R_R11];
	if (flags & CORE_BOUNCE_ERROR)
		frame[n++] = error;
	frame[n++] = r->rip;
	frame[n++] = cs | (uint64_t)(masked ? 1 : 0) << 32;
	frame[n++] = guest_rflags(c, masked);
	frame[n++] = r->gpr[R_RSP];
	frame[n++] = r->ss;

	sp = (sp & ~15ull) - n * 8;
	if (handler == 0) {
		core_crash(c, "%s at rip %lx: the guest has registered no handler", what, r->rip);
		return;
	}
	if (in_hypervisor_range(sp) || in_hypervisor_range(sp + n * 8 - 1) ||
	    core_guest_write(c, sp, frame, n * 8) != 0) {
		core_crash(c, "%s at rip %lx: cannot write the frame to the kernel stack at %lx",
			   what, r->rip, sp);
		return;
	}
	if (flags & CORE_BOUNCE_MASK)
		info->evtchn_upcall_mask = 1;
	r->gpr[R_RSP] = sp;
	r->ss = FLAT_KERNEL_SS64;
	r->cs = FLAT_KERNEL_CS64;
	r->rip = handler;
	r->rflags &= ~HANDLER_CLEARS;
	/* Their values are in the frame; Xen enters the handler by sysret. */
	r->gpr[R_RCX] = r->rip;
	r->gpr[R_R11] = r->rflags;
}

static bool pushes_error(unsigned int vector)
{
	return vector < 32 &&
	       (1u << vector & (1u << CORE_VEC_DF | 1u << CORE_VEC_TS | 1u << CORE_VEC_NP |
				1u << CORE_VEC_SS | 1u << CORE_VEC_GP | 1u << CORE_VEC_PF |
				1u << CORE_VEC_AC | 1u << CORE_VEC_CP)) != 0;
}

static const char *vector_name(unsigned int vector)
{
	switch (vector) {
	case CORE_VEC_DE:
		return "#DE (divide error)";
	case CORE_VEC_DB:
		return "#DB (debug)";
	case CORE_VEC_BP:
		return "#BP (breakpoint)";
	case CORE_VEC_OF:
		return "#OF (overflow)";
	case CORE_VEC_BR:
		return "#BR (bound range)";
	case CORE_VEC_UD:
		return "#UD (invalid opcode)";
	case CORE_VEC_NM:
		return "#NM (no FPU)";
	case CORE_VEC_DF:
		return "#DF (double fault)";
	case CORE_VEC_TS:
		return "#TS (invalid TSS)";
	case CORE_VEC_NP:
		return "#NP (segment not present)";
	case CORE_VEC_SS:
		return "#SS (stack segment)";
	case CORE_VEC_GP:
		return "#GP (general protection)";
	case CORE_VEC_PF:
		return "#PF (page fault)";
	case CORE_VEC_MF:
		return "#MF (x87)";
	case CORE_VEC_AC:
		return "#AC (alignment)";
	case CORE_VEC_XM:
		return "#XM (SIMD)";
	default:
		return "software interrupt";
	}
}

void core_inject(struct core_ctx *c, unsigned int vector, uint32_t error)
{
	const struct core_trap *t = &c->v->traps[vector & 255];
	unsigned int flags = 0;

	if (pushes_error(vector))
		flags |= CORE_BOUNCE_ERROR;
	if (t->flags & 4)
		flags |= CORE_BOUNCE_MASK;
	core_bounce(c, t->addr, flags, error, vector_name(vector));
}

void core_inject_pf(struct core_ctx *c, uint32_t error, uint64_t cr2)
{
	const uint32_t user_bit = 4;

	core_vcpu_info(c, c->v)->arch.cr2 = cr2;
	/* The guest's kernel runs at ring 3 too; the bit is to say which of its modes faulted. */
	error &= ~user_bit;
	if (!c->v->kernel_mode)
		error |= user_bit;
	core_inject(c, CORE_VEC_PF, error);
}

void core_bounce_event(struct core_ctx *c)
{
	core_bounce(c, c->v->cb_event.addr, CORE_BOUNCE_MASK, 0, "event upcall");
}

void core_bounce_nmi(struct core_ctx *c)
{
	struct core_vcpu *v = c->v;
	const struct core_trap *t = &v->traps[CORE_VEC_NMI];

	v->nmi_pending = 0;
	if (t->addr == 0)
		return;
	v->nmi_masked = 1; /* until the next iret hypercall */
	core_bounce(c, t->addr, (t->flags & 4) ? CORE_BOUNCE_MASK : 0, 0, "NMI");
}
