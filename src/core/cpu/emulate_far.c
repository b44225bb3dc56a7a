/* SPDX-License-Identifier: MIT */
/* Far transfers within ring 3: iret, ret far, and jmp and call through memory. */
#include "core/cpu/emulate.h"

#include "core/cpu/cpu.h"
#include "core/lib/bitops.h"

/* The new cs:rip, checked. `returning`: iret and ret may not lower the RPL. */
static struct core_fault check_target(struct core_ctx *c, uint16_t cs, uint64_t rip, bool returning)
{
	uint64_t desc;
	struct core_fault f;

	f = core_cs_check(c, cs, &desc);
	if (f.raised)
		return f;
	if (returning && (cs & 3) != 3)
		return core_fault_vector(CORE_VEC_GP, cs & ~3u);
	if (desc & DESC_L ? !core_canonical(rip) : rip > core_desc_limit(desc))
		return core_fault_vector(CORE_VEC_GP, 0);
	return core_fault_none();
}

/* `n` stack slots of `size` bytes each. */
static struct core_fault peek(struct core_ctx *c, unsigned int size, unsigned int n, uint64_t *ret)
{
	uint64_t sp = c->v->regs.gpr[R_RSP];
	struct core_fault f = core_fault_none();

	for (unsigned int k = 0; k < n && !f.raised; k++) {
		ret[k] = 0;
		f = core_mem_read(c, sp + k * size, &ret[k], size);
	}
	return f;
}

static enum emu_result iret(struct core_ctx *c, struct emu *e)
{
	struct core_regs *r = &c->v->regs;
	unsigned int size = core_insn_opsize(&e->i, false);
	uint64_t frame[5], may = CORE_FLAGS_USER;

	if (r->rflags & CORE_FLAG_NT)
		return emu_fault(e, CORE_VEC_GP);
	e->fault = peek(c, size, 5, frame);
	if (!e->fault.raised)
		e->fault = check_target(c, (uint16_t)frame[1], frame[0], true);
	if (!e->fault.raised)
		e->fault = core_ss_check(c, (uint16_t)frame[4]);
	if (e->fault.raised)
		return EMU_FAULT;
	if (size == 2)
		may &= 0xffff;
	r->rip = frame[0];
	r->cs = (uint16_t)frame[1];
	r->rflags = (r->rflags & ~may) | (frame[2] & may);
	r->gpr[R_RSP] = frame[3];
	r->ss = (uint16_t)frame[4];
	return EMU_JUMPED;
}

static enum emu_result ret_far(struct core_ctx *c, struct emu *e, bool with_imm)
{
	struct core_regs *r = &c->v->regs;
	unsigned int size = core_insn_opsize(&e->i, false);
	uint64_t frame[2];
	int64_t imm = 0;

	if (with_imm)
		e->fault = core_insn_imm(c, &e->i, 2, &imm);
	if (!e->fault.raised)
		e->fault = peek(c, size, 2, frame);
	if (!e->fault.raised)
		e->fault = check_target(c, (uint16_t)frame[1], frame[0], true);
	if (e->fault.raised)
		return EMU_FAULT;
	r->rip = frame[0];
	r->cs = (uint16_t)frame[1];
	r->gpr[R_RSP] += 2 * size + (uint16_t)imm;
	return EMU_JUMPED;
}

static enum emu_result through_memory(struct core_ctx *c, struct emu *e, bool call)
{
	struct core_regs *r = &c->v->regs;
	unsigned int size = core_insn_opsize(&e->i, false);
	uint64_t rip = 0, frame[2] = {e->i.rip + e->i.len, r->cs};
	uint16_t sel;

	if (e->i.mod == 3)
		return emu_fault(e, CORE_VEC_UD);
	e->fault = core_mem_read(c, e->i.ea, &rip, size);
	if (!e->fault.raised)
		e->fault = core_mem_read(c, e->i.ea + size, &sel, sizeof(sel));
	if (!e->fault.raised)
		e->fault = check_target(c, sel, rip, false);
	if (call) {
		uint64_t sp = r->gpr[R_RSP] - 2 * size;

		if (!e->fault.raised)
			e->fault = core_mem_write(c, sp, &frame[0], size);
		if (!e->fault.raised)
			e->fault = core_mem_write(c, sp + size, &frame[1], size);
		if (!e->fault.raised)
			r->gpr[R_RSP] = sp;
	}
	if (e->fault.raised)
		return EMU_FAULT;
	r->rip = rip;
	r->cs = sel | 3; /* the RPL becomes the CPL */
	return EMU_JUMPED;
}

enum emu_result emu_far(struct core_ctx *c, struct emu *e)
{
	/* Compatibility mode has other stack rules; a PV kernel does not run in it. */
	if (e->i.map != 0 || !e->i.mode64)
		return EMU_UNKNOWN;
	switch (e->i.opcode) {
	case 0xca:
		return ret_far(c, e, true);
	case 0xcb:
		return ret_far(c, e, false);
	case 0xcf:
		return iret(c, e);
	case 0xff:
		if ((e->i.reg & 7) == 3 || (e->i.reg & 7) == 5)
			return through_memory(c, e, (e->i.reg & 7) == 3);
		return EMU_UNKNOWN;
	default:
		return EMU_UNKNOWN;
	}
}
