/* SPDX-License-Identifier: MIT */
/*
 * Port I/O. The guest's I/O privilege level or its bitmap decides whether it may try; there is
 * nothing behind the ports, so reads give all ones and writes are dropped. Two latches exist for
 * every PV guest on Xen: the index of the CMOS port and the PCI configuration address.
 */
#include "core/cpu/emulate.h"

#include "core/cpu/cpu.h"
#include "core/mm/pte.h"
#include "core/run.h"

#define CMOS_INDEX   0x70u
#define PCI_ADDRESS  0xcf8u
/* A long `rep ins` is left here to be continued, so that the vCPU stays responsive. */
#define REPS_AT_ONCE 512u

bool emu_iopl_ok(const struct core_ctx *c)
{
	const struct core_vcpu *v = c->v;
	unsigned int cpl = 3;

	if (v->kernel_mode)
		cpl = (c->d->vm_assist & (1ull << VMASST_TYPE_architectural_iopl)) ? 0 : 1;
	return cpl <= v->iopl;
}

/* As a processor reads the bitmap of a TSS: always two bytes. If one is not there, both forbid. */
static struct core_fault permitted(struct core_ctx *c, uint32_t port, unsigned int bytes)
{
	const struct core_vcpu *v = c->v;
	uint16_t mask = 0;

	if (emu_iopl_ok(c))
		return core_fault_none();
	if (port + bytes <= v->iobitmap_ports) {
		uint64_t va = v->iobitmap + (port >> 3);

		if (core_read_as_kernel(c, &mask, va, sizeof(mask)) != 0)
			mask = 0xffff;
		if ((mask & (((1u << bytes) - 1) << (port & 7))) == 0)
			return core_fault_none();
	}
	return core_fault_vector(CORE_VEC_GP, 0);
}

static uint32_t port_read(const struct core_ctx *c, uint32_t port, unsigned int bytes)
{
	uint32_t value = 0;

	if (port == PCI_ADDRESS && bytes == 4)
		return c->d->pci_address;
	for (unsigned int n = 0; n < bytes; n++) {
		uint32_t byte = port + n == CMOS_INDEX ? c->d->cmos_index : 0xff;

		value |= byte << (n * 8);
	}
	return value;
}

static void port_write(struct core_ctx *c, uint32_t port, unsigned int bytes, uint32_t value)
{
	if (port == PCI_ADDRESS && bytes == 4) {
		c->d->pci_address = value;
		return;
	}
	for (unsigned int n = 0; n < bytes; n++) {
		if (port + n == CMOS_INDEX)
			c->d->cmos_index = (uint8_t)(value >> (n * 8));
	}
}

/* The width of rcx, rsi, rdi in a string instruction. */
static uint64_t address(const struct core_insn *i, uint64_t value)
{
	return i->addrsize != !i->mode64 ? (uint32_t)value : value;
}

static void advance(const struct core_insn *i, uint64_t *reg, int64_t by)
{
	if (i->addrsize != !i->mode64)
		*reg = (uint32_t)(*reg + (uint64_t)by);
	else
		*reg += (uint64_t)by;
}

/* One element of ins or outs. */
static struct core_fault string_element(struct core_ctx *c, struct emu *e, bool in, uint32_t port,
					unsigned int bytes)
{
	struct core_regs *r = &c->v->regs;
	const struct core_insn *i = &e->i;
	uint64_t *index = &r->gpr[in ? R_RDI : R_RSI];
	int64_t step = (r->rflags & CORE_FLAG_DF) ? -(int64_t)bytes : (int64_t)bytes;
	uint64_t at = address(i, *index);
	uint32_t value = 0;
	struct core_fault f;

	if (!in && i->seg == CORE_SEG_FS + 1)
		at += r->fs_base;
	else if (!in && i->seg == CORE_SEG_GS + 1)
		at += r->gs_base;
	if (!core_addr_ok(at))
		return core_fault_vector(CORE_VEC_GP, 0); /* also what a guest may read there */
	if (in) {
		value = port_read(c, port, bytes);
		f = core_mem_write(c, at, &value, bytes);
	} else {
		f = core_mem_read(c, at, &value, bytes);
		if (!f.raised)
			port_write(c, port, bytes, value);
	}
	if (!f.raised)
		advance(i, index, step);
	else if (f.page_fault)
		f.error &= ~PF_PRESENT; /* Xen does not tell a page that is there from a hole */
	return f;
}

/* With 32-bit addresses a rep takes the upper halves away, however often it repeats. */
static void clip(const struct core_insn *i, struct core_regs *r, bool in)
{
	advance(i, &r->gpr[R_RCX], 0);
	advance(i, &r->gpr[in ? R_RDI : R_RSI], 0);
}

static enum emu_result string_io(struct core_ctx *c, struct emu *e, bool in, unsigned int bytes)
{
	struct core_regs *r = &c->v->regs;
	uint32_t port = (uint16_t)r->gpr[R_RDX];

	if (e->i.rep && address(&e->i, r->gpr[R_RCX]) == 0) {
		clip(&e->i, r, in);
		return EMU_DONE;
	}
	e->fault = permitted(c, port, bytes);
	if (e->fault.raised)
		return EMU_FAULT;
	if (!e->i.rep)
		return emu_end(e, string_element(c, e, in, port, bytes));
	clip(&e->i, r, in);
	for (unsigned int n = 0; n < REPS_AT_ONCE; n++) {
		e->fault = string_element(c, e, in, port, bytes);
		if (e->fault.raised)
			return EMU_FAULT;
		advance(&e->i, &r->gpr[R_RCX], -1);
		if (address(&e->i, r->gpr[R_RCX]) == 0)
			return EMU_DONE;
		if (core_preempt_pending(c))
			break;
	}
	return EMU_JUMPED; /* rip stays: the guest executes the rest */
}

enum emu_result emu_io(struct core_ctx *c, struct emu *e)
{
	struct core_regs *r = &c->v->regs;
	uint8_t op = e->i.opcode;
	unsigned int bytes = !(op & 1) ? 1 : e->i.opsize && !(e->i.rex & 8) ? 2 : 4;
	uint32_t port = (uint16_t)r->gpr[R_RDX];
	bool in = !(op & 2);

	if (!(op >= 0x6c && op <= 0x6f) && (op & 0xf4) != 0xe4)
		return EMU_UNKNOWN;
	/* #UD comes first, but not on each processor: TCG's asks for the privilege before. */
	if (e->i.lock)
		return emu_fault(e, CORE_VEC_UD);
	if (op >= 0x6c && op <= 0x6f)
		return string_io(c, e, in, bytes);
	if (!(op & 8)) {
		int64_t imm;

		e->fault = core_insn_imm(c, &e->i, 1, &imm);
		if (e->fault.raised)
			return EMU_FAULT;
		port = (uint8_t)imm;
	}
	e->fault = permitted(c, port, bytes);
	if (e->fault.raised)
		return EMU_FAULT;
	if (in)
		core_reg_write(r, R_RAX, bytes, port_read(c, port, bytes));
	else
		port_write(c, port, bytes, (uint32_t)r->gpr[R_RAX]);
	return EMU_DONE;
}
