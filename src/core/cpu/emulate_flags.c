/* SPDX-License-Identifier: MIT */
/* pushf, popf, xgetbv and the fs/gs base instructions: nothing traps, all see real state. */
#include "core/cpu/emulate.h"

#include "core/cpu/cpu.h"
#include "core/lib/bitops.h"

/* The guest sees the flags of ring 3: interrupts on, IOPL 0, whatever it believes. */
static enum emu_result pushf(struct core_ctx *c, struct emu *e)
{
	struct core_regs *r = &c->v->regs;
	unsigned int size = core_insn_opsize(&e->i, true);
	uint64_t flags = r->rflags & ~(CORE_FLAG_RF | CORE_FLAG_VM);
	uint64_t sp = r->gpr[R_RSP] - size;

	e->fault = core_mem_write(c, sp, &flags, size);
	if (e->fault.raised)
		return EMU_FAULT;
	r->gpr[R_RSP] = sp;
	return EMU_DONE;
}

static enum emu_result popf(struct core_ctx *c, struct emu *e)
{
	struct core_regs *r = &c->v->regs;
	unsigned int size = core_insn_opsize(&e->i, true);
	uint64_t may = CORE_FLAGS_USER, flags = 0;

	e->fault = core_mem_read(c, r->gpr[R_RSP], &flags, size);
	if (e->fault.raised)
		return EMU_FAULT;
	if (size == 2)
		may &= 0xffff;
	r->rflags = (r->rflags & ~may) | (flags & may);
	r->gpr[R_RSP] += size;
	return EMU_DONE;
}

static enum emu_result xgetbv(struct core_ctx *c, struct emu *e)
{
	struct core_regs *r = &c->v->regs;

	if (!(c->v->cr4 & CORE_CR4_OSXSAVE))
		return emu_fault(e, CORE_VEC_UD);
	if ((uint32_t)r->gpr[R_RCX] > 1)
		return emu_fault(e, CORE_VEC_GP);
	/* Index 1, the components in use: all of them may be. */
	r->gpr[R_RAX] = (uint32_t)(c->v->xcr0 | 1);
	r->gpr[R_RDX] = c->v->xcr0 >> 32;
	return EMU_DONE;
}

/* rdfsbase, rdgsbase, wrfsbase, wrgsbase */
static enum emu_result base(struct core_ctx *c, struct emu *e)
{
	struct core_regs *r = &c->v->regs;
	uint64_t *reg = (e->i.reg & 1) ? &r->gs_base : &r->fs_base;
	unsigned int size = e->i.rex & 8 ? 8 : 4;
	uint64_t value;

	if (!(c->v->cr4 & CORE_CR4_FSGSBASE) || !e->i.mode64)
		return emu_fault(e, CORE_VEC_UD);
	if (!(e->i.reg & 2)) {
		core_reg_write(r, e->i.rm, size, *reg);
		return EMU_DONE;
	}
	value = size == 8 ? r->gpr[e->i.rm] : (uint32_t)r->gpr[e->i.rm];
	if (!core_canonical(value))
		return emu_fault(e, CORE_VEC_GP);
	*reg = value;
	return EMU_DONE;
}

enum emu_result emu_flags(struct core_ctx *c, struct emu *e)
{
	const struct core_insn *i = &e->i;

	if (i->map == 0 && i->opcode == 0x9c)
		return pushf(c, e);
	if (i->map == 0 && i->opcode == 0x9d)
		return popf(c, e);
	if (i->map == 1 && i->opcode == 0x01 && i->mod == 3 && i->reg == 2 && i->rm == 0)
		return xgetbv(c, e);
	if (i->map == 1 && i->opcode == 0xae && i->rep == 0xf3 && i->mod == 3 && (i->reg & 7) < 4)
		return base(c, e);
	return EMU_UNKNOWN;
}
