/* SPDX-License-Identifier: MIT */
/* Segment registers: mov, push, pop, lss, lfs, lgs. */
#include "core/cpu/emulate.h"

#include "core/cpu/cpu.h"

static uint16_t selector(const struct core_regs *r, enum core_seg seg)
{
	switch (seg) {
	case CORE_SEG_ES:
		return r->es;
	case CORE_SEG_CS:
		return r->cs;
	case CORE_SEG_SS:
		return r->ss;
	case CORE_SEG_DS:
		return r->ds;
	case CORE_SEG_FS:
		return r->fs;
	default:
		return r->gs;
	}
}

static enum emu_result mov_from(struct core_ctx *c, struct emu *e)
{
	unsigned int reg = e->i.reg & 7;

	if (reg > CORE_SEG_GS)
		return emu_fault(e, CORE_VEC_UD);
	/* To memory always 16 bits. */
	return emu_end(e,
		       core_rm_write(c, &e->i, e->i.mod == 3 ? core_insn_opsize(&e->i, false) : 2,
				     selector(&c->v->regs, (enum core_seg)reg)));
}

static enum emu_result mov_to(struct core_ctx *c, struct emu *e)
{
	unsigned int reg = e->i.reg & 7;
	uint64_t value;

	if (reg > CORE_SEG_GS || reg == CORE_SEG_CS)
		return emu_fault(e, CORE_VEC_UD);
	e->fault = core_rm_read(c, &e->i, 2, &value);
	if (e->fault.raised)
		return EMU_FAULT;
	return emu_end(e, core_seg_load(c, (enum core_seg)reg, (uint16_t)value));
}

static enum emu_result push(struct core_ctx *c, struct emu *e, enum core_seg seg)
{
	struct core_regs *r = &c->v->regs;
	unsigned int size = core_insn_opsize(&e->i, true);
	uint64_t value = selector(r, seg), sp = r->gpr[R_RSP] - size;

	e->fault = core_mem_write(c, sp, &value, size);
	if (e->fault.raised)
		return EMU_FAULT;
	r->gpr[R_RSP] = sp;
	return EMU_DONE;
}

static enum emu_result pop(struct core_ctx *c, struct emu *e, enum core_seg seg)
{
	struct core_regs *r = &c->v->regs;
	unsigned int size = core_insn_opsize(&e->i, true);
	uint16_t value;

	e->fault = core_mem_read(c, r->gpr[R_RSP], &value, sizeof(value));
	if (!e->fault.raised)
		e->fault = core_seg_load(c, seg, value);
	if (e->fault.raised)
		return EMU_FAULT;
	r->gpr[R_RSP] += size;
	return EMU_DONE;
}

/* A far pointer in memory: offset into the register, selector into `seg`. */
static enum emu_result load_far(struct core_ctx *c, struct emu *e, enum core_seg seg)
{
	unsigned int size = core_insn_opsize(&e->i, false);
	uint64_t offset = 0;
	uint16_t sel;

	if (e->i.mod == 3)
		return emu_fault(e, CORE_VEC_UD);
	e->fault = core_mem_read(c, e->i.ea, &offset, size);
	if (!e->fault.raised)
		e->fault = core_mem_read(c, e->i.ea + size, &sel, sizeof(sel));
	if (!e->fault.raised)
		e->fault = core_seg_load(c, seg, sel);
	if (e->fault.raised)
		return EMU_FAULT;
	core_reg_write(&c->v->regs, e->i.reg, size, offset);
	return EMU_DONE;
}

enum emu_result emu_segments(struct core_ctx *c, struct emu *e)
{
	if (e->i.map == 0) {
		if (e->i.opcode == 0x8c)
			return mov_from(c, e);
		if (e->i.opcode == 0x8e)
			return mov_to(c, e);
		return EMU_UNKNOWN;
	}
	if (e->i.map != 1)
		return EMU_UNKNOWN;
	switch (e->i.opcode) {
	case 0xa0:
		return push(c, e, CORE_SEG_FS);
	case 0xa1:
		return pop(c, e, CORE_SEG_FS);
	case 0xa8:
		return push(c, e, CORE_SEG_GS);
	case 0xa9:
		return pop(c, e, CORE_SEG_GS);
	case 0xb2:
		return load_far(c, e, CORE_SEG_SS);
	case 0xb4:
		return load_far(c, e, CORE_SEG_FS);
	case 0xb5:
		return load_far(c, e, CORE_SEG_GS);
	default:
		return EMU_UNKNOWN;
	}
}
