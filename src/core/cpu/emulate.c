/* SPDX-License-Identifier: MIT */
/*
 * Instructions the guest may not, or must not, execute by itself. Two ways lead here: a #GP that
 * the processor raised (only what Xen emulates is looked for, all else is the guest's #GP), and
 * core_emulate(), by which a translating executor leaves everything sensitive to the core.
 */
#include "core/cpu/emulate.h"

#include "core/cpu/bounce.h"
#include "core/cpu/cpu.h"
#include "core/cpu/cpuid.h"
#include "core/cpu/exception.h"
#include "core/lib/mem.h"

/* The processor's own answer at ring 3 to what nobody here knows. */
static uint8_t native_fault(const struct core_insn *i)
{
	if (i->map == 0)
		return i->opcode == 0xf4 || i->opcode == 0xfa || i->opcode == 0xfb ? CORE_VEC_GP
										   : CORE_VEC_UD;
	if (i->map != 1)
		return CORE_VEC_UD;
	switch (i->opcode) {
	case 0x00: /* lldt, ltr */
		return (i->reg & 7) == 2 || (i->reg & 7) == 3 ? CORE_VEC_GP : CORE_VEC_UD;
	case 0x01: /* lgdt, lidt, lmsw, invlpg; swapgs */
		if (i->mod != 3)
			return (i->reg & 7) != 5 ? CORE_VEC_GP : CORE_VEC_UD;
		return (i->reg & 7) == 6 || ((i->reg & 7) == 7 && (i->rm & 7) == 0) ? CORE_VEC_GP
										    : CORE_VEC_UD;
	case 0x06: /* clts */
	case 0x07: /* sysret */
	case 0x08: /* invd */
	case 0x09: /* wbinvd */
	case 0x30: /* wrmsr */
	case 0x31: /* rdtsc */
	case 0x32: /* rdmsr */
	case 0x33: /* rdpmc */
	case 0x34: /* sysenter, when the guest has no callback */
	case 0x35: /* sysexit */
	case 0xa2: /* cpuid */
		return CORE_VEC_GP;
	case 0x20: /* mov cr, also those that do not exist; mov dr */
	case 0x21:
	case 0x22:
	case 0x23:
		return CORE_VEC_GP;
	default:
		return CORE_VEC_UD;
	}
}

/* sysenter, int3, int n, icebp, syscall, ud2: they enter something. */
static enum emu_result enters(struct core_ctx *c, struct emu *e)
{
	struct core_regs *r = &c->v->regs;
	const struct core_insn *i = &e->i;
	int64_t vector;

	if (i->map == 0 && i->opcode == 0xcc) {
		r->rip = i->rip + i->len;
		core_soft_interrupt(c, CORE_VEC_BP, i->len);
		return EMU_GONE;
	}
	if (i->map == 0 && i->opcode == 0xcd) {
		e->fault = core_insn_imm(c, &e->i, 1, &vector);
		if (e->fault.raised)
			return EMU_FAULT;
		r->rip = i->rip + i->len;
		core_soft_interrupt(c, (uint8_t)vector, i->len);
		return EMU_GONE;
	}
	if (i->map == 0 && i->opcode == 0xf1) {
		r->rip = i->rip + i->len;
		core_inject(c, CORE_VEC_DB, 0);
		return EMU_GONE;
	}
	if (i->map == 1 && i->opcode == 0x05) {
		r->rip = i->rip + i->len;
		r->gpr[R_RCX] = r->rip;
		r->gpr[R_R11] = r->rflags;
		if (c->v->kernel_mode)
			core_hypercall(c);
		else
			core_user_syscall(c);
		return EMU_GONE;
	}
	if (i->map == 1 && i->opcode == 0x0b && emu_forced(c))
		return EMU_GONE;
	if (i->map == 1 && i->opcode == 0x34 &&
	    (!c->v->kernel_mode || c->v->cb_sysenter.addr != 0)) {
		core_user_sysenter(c);
		return EMU_GONE;
	}
	return EMU_UNKNOWN;
}

/* Completed: step over it, and take the single-step trap the processor would take. */
static void retire(struct core_ctx *c, const struct emu *e, enum emu_result how, bool tf)
{
	struct core_regs *r = &c->v->regs;

	if (how == EMU_DONE)
		r->rip = e->i.mode64 ? e->i.rip + e->i.len : (uint32_t)(e->i.rip + e->i.len);
	r->rflags &= ~CORE_FLAG_RF;
	if (tf)
		core_debug_trap(c, CORE_DR6_BS);
}

static bool finish(struct core_ctx *c, struct emu *e, enum emu_result how, bool tf)
{
	switch (how) {
	case EMU_DONE:
	case EMU_JUMPED:
		retire(c, e, how, tf);
		return true;
	case EMU_FAULT:
		core_fault_inject(c, &e->fault);
		return true;
	case EMU_GONE:
		return true;
	default:
		return false;
	}
}

bool core_emulate_privileged(struct core_ctx *c)
{
	bool tf = (c->v->regs.rflags & CORE_FLAG_TF) != 0;
	struct emu e;

	e.fault = core_insn_decode(c, &e.i);
	if (e.fault.raised)
		return false;
	return finish(c, &e, emu_privileged(c, &e), tf);
}

static enum emu_result any_group(struct core_ctx *c, struct emu *e)
{
	enum emu_result how = emu_privileged(c, e);

	if (how == EMU_UNKNOWN)
		how = emu_flags(c, e);
	if (how == EMU_UNKNOWN)
		how = emu_segments(c, e);
	if (how == EMU_UNKNOWN)
		how = emu_far(c, e);
	if (how == EMU_UNKNOWN)
		how = emu_tables(c, e);
	return how == EMU_UNKNOWN ? enters(c, e) : how;
}

void core_emulate(struct core_ctx *c)
{
	bool tf = (c->v->regs.rflags & CORE_FLAG_TF) != 0;
	struct emu e;

	c->ctl->vcpu[c->v->id].exits_emulate++;
	e.fault = core_insn_decode(c, &e.i);
	if (e.fault.raised) {
		core_fault_inject(c, &e.fault);
		return;
	}
	/* None of these instructions may be locked. */
	if (e.i.lock || !finish(c, &e, any_group(c, &e), tf))
		core_inject(c, e.i.lock ? CORE_VEC_UD : native_fault(&e.i), 0);
}

bool emu_forced(struct core_ctx *c)
{
	static const uint8_t forced_cpuid[] = {0x0f, 0x0b, 'x', 'e', 'n', 0x0f, 0xa2};
	struct core_regs *r = &c->v->regs;
	struct core_cpuid_regs out;
	uint8_t bytes[sizeof(forced_cpuid)];

	if (core_guest_read(c, bytes, r->rip, sizeof(bytes)) != 0 ||
	    memcmp(bytes, forced_cpuid, sizeof(bytes)) != 0)
		return false;
	core_cpuid(c, (uint32_t)r->gpr[R_RAX], (uint32_t)r->gpr[R_RCX], &out);
	r->gpr[R_RAX] = out.eax;
	r->gpr[R_RBX] = out.ebx;
	r->gpr[R_RCX] = out.ecx;
	r->gpr[R_RDX] = out.edx;
	r->rip += sizeof(bytes);
	r->rflags &= ~CORE_FLAG_RF;
	if (r->rflags & CORE_FLAG_TF)
		core_debug_trap(c, CORE_DR6_BS);
	return true;
}
