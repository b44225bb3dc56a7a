/* SPDX-License-Identifier: MIT */
/*
 * Instructions that look at descriptor tables: sgdt, sidt, sldt, str and smsw show what they show
 * on Xen (its own tables, out of the guest's reach); lar, lsl, verr and verw ask about a selector.
 */
#include "core/cpu/emulate.h"

#include "core/cpu/cpu.h"
#include "core/lib/mem.h"

/* Where Xen keeps a vCPU's GDT and LDT (64 KiB further), and its IDT: nothing can be read there. */
#define GDT_BASE	0xffff820000000000ull
#define GDT_VCPU_STRIDE 0x20000ull
#define GDT_LIMIT	0xefffu
#define IDT_BASE	0xffff82d040900000ull
#define IDT_LIMIT	0x0fffu
#define TSS_SELECTOR	0xe040u
#define LDT_SELECTOR	0xe050u

static enum emu_result store_table(struct core_ctx *c, struct emu *e, uint64_t base, uint16_t limit)
{
	uint8_t bytes[10];

	memcpy(bytes, &limit, 2);
	memcpy(bytes + 2, &base, 8);
	return emu_end(e, core_mem_write(c, e->i.ea, bytes, e->i.mode64 ? 10 : 6));
}

static enum emu_result store_word(struct core_ctx *c, struct emu *e, uint64_t value)
{
	unsigned int size = e->i.mod == 3 ? core_insn_opsize(&e->i, false) : 2;

	return emu_end(e, core_rm_write(c, &e->i, size, value));
}

static void set_zf(struct core_ctx *c, bool on)
{
	if (on)
		c->v->regs.rflags |= CORE_FLAG_ZF;
	else
		c->v->regs.rflags &= ~CORE_FLAG_ZF;
}

/*
 * The descriptor of a selector operand, if ring 3 may see it. A page fault on the LDT is the
 * guest's; anything else that is wrong only clears ZF.
 */
static enum emu_result visible(struct core_ctx *c, struct emu *e, uint64_t *desc, bool *ok)
{
	uint64_t sel;

	*ok = false;
	e->fault = core_rm_read(c, &e->i, 2, &sel);
	if (e->fault.raised)
		return EMU_FAULT;
	if ((sel & ~3ull) == 0)
		return EMU_DONE;
	switch (core_desc_read(c, (uint16_t)sel, desc)) {
	case DESC_OK:
		break;
	case DESC_OUTSIDE:
		return EMU_DONE;
	default:
		e->fault = core_mem_read(c, *desc, desc, 8);
		return e->fault.raised ? EMU_FAULT : EMU_DONE;
	}
	bool conforming = (*desc & DESC_S) && (*desc & DESC_CODE) && (*desc & DESC_EC);

	*ok = conforming || DESC_DPL(*desc) == 3;
	return EMU_DONE;
}

/* System descriptors in 64-bit mode: LDT and TSSs have a limit, `lar` knows call gates too. */
static bool has_type(uint64_t desc, bool limit)
{
	unsigned int type = DESC_TYPE(desc);

	if (desc & DESC_S)
		return true;
	return type == 2 || type == 9 || type == 11 || (!limit && type == 12);
}

static enum emu_result lar_lsl(struct core_ctx *c, struct emu *e, bool limit)
{
	unsigned int size = core_insn_opsize(&e->i, false);
	uint64_t desc, value;
	bool ok;
	enum emu_result how = visible(c, e, &desc, &ok);

	if (how != EMU_DONE)
		return how;
	ok = ok && has_type(desc, limit);
	set_zf(c, ok);
	if (!ok)
		return EMU_DONE;
	value = limit ? core_desc_limit(desc) : (desc >> 32) & 0x00f0ff00;
	core_reg_write(&c->v->regs, e->i.reg, size, value);
	return EMU_DONE;
}

static enum emu_result verify(struct core_ctx *c, struct emu *e, bool write)
{
	uint64_t desc;
	bool ok;
	enum emu_result how = visible(c, e, &desc, &ok);

	if (how != EMU_DONE)
		return how;
	if (ok && !(desc & DESC_S))
		ok = false;
	if (ok && write)
		ok = !(desc & DESC_CODE) && (desc & DESC_RW);
	else if (ok)
		ok = !(desc & DESC_CODE) || (desc & DESC_RW);
	set_zf(c, ok);
	return EMU_DONE;
}

static enum emu_result group6(struct core_ctx *c, struct emu *e)
{
	switch (e->i.reg & 7) {
	case 0:
		return store_word(c, e, c->v->ldt_ents != 0 ? LDT_SELECTOR : 0);
	case 1:
		return store_word(c, e, TSS_SELECTOR);
	case 4:
		return verify(c, e, false);
	case 5:
		return verify(c, e, true);
	default:
		return EMU_UNKNOWN;
	}
}

static enum emu_result group7(struct core_ctx *c, struct emu *e)
{
	unsigned int reg = e->i.reg & 7;

	if (reg == 4) {
		/* The whole of cr0 in a register, 16 bits of it in memory. */
		return store_word(c, e, c->v->cr0);
	}
	if (e->i.mod == 3)
		return EMU_UNKNOWN;
	if (reg == 0)
		return store_table(c, e, GDT_BASE + c->v->id * GDT_VCPU_STRIDE, GDT_LIMIT);
	if (reg == 1)
		return store_table(c, e, IDT_BASE, IDT_LIMIT);
	return EMU_UNKNOWN;
}

enum emu_result emu_tables(struct core_ctx *c, struct emu *e)
{
	if (e->i.map != 1)
		return EMU_UNKNOWN;
	switch (e->i.opcode) {
	case 0x00:
		return group6(c, e);
	case 0x01:
		return group7(c, e);
	case 0x02:
		return lar_lsl(c, e, false);
	case 0x03:
		return lar_lsl(c, e, true);
	default:
		return EMU_UNKNOWN;
	}
}
