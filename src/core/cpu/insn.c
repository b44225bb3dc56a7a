/* SPDX-License-Identifier: MIT */
#include "core/cpu/insn.h"

#include "core/cpu/cpu.h"
#include "core/lib/bitops.h"
#include "core/lib/mem.h"
#include "core/mm/mm.h"

/* ---- guest memory ------------------------------------------------------------------------ */

/* The #PF for the byte at `va`: asks the page tables again, with the access that failed. */
static struct core_fault page_fault(struct core_ctx *c, uint64_t va, uint32_t access)
{
	uint64_t root = c->v->kernel_mode ? c->v->kernel_root : c->v->user_root;
	struct core_fault f = {.raised = true, .page_fault = true, .cr2 = va};
	uint64_t mfn, flags;

	if (!core_canonical(va))
		return core_fault_vector(CORE_VEC_GP, 0);
	if (core_walk_access(c, root, va, access, &mfn, &flags))
		f.error = access | PF_PRESENT; /* there, but not a page that may be written */
	else
		f.error = (uint32_t)flags;
	return f;
}

struct core_fault core_mem_read(struct core_ctx *c, uint64_t va, void *dst, size_t len)
{
	size_t left = core_guest_read(c, dst, va, len);

	return left == 0 ? core_fault_none() : page_fault(c, va + (len - left), 0);
}

struct core_fault core_mem_write(struct core_ctx *c, uint64_t va, const void *src, size_t len)
{
	size_t left = core_guest_write(c, va, src, len);

	return left == 0 ? core_fault_none() : page_fault(c, va + (len - left), PF_WRITE);
}

void core_reg_write(struct core_regs *r, unsigned int reg, unsigned int size, uint64_t value)
{
	uint64_t *p = &r->gpr[reg & 15];

	switch (size) {
	case 1:
		*p = (*p & ~0xffull) | (value & 0xff);
		break;
	case 2:
		*p = (*p & ~0xffffull) | (value & 0xffff);
		break;
	case 4:
		*p = (uint32_t)value;
		break;
	default:
		*p = value;
		break;
	}
}

struct core_fault core_rm_read(struct core_ctx *c, const struct core_insn *i, unsigned int size,
			       uint64_t *ret)
{
	*ret = 0;
	if (i->mod != 3)
		return core_mem_read(c, i->ea, ret, size);
	memcpy(ret, &c->v->regs.gpr[i->rm], size);
	return core_fault_none();
}

struct core_fault core_rm_write(struct core_ctx *c, const struct core_insn *i, unsigned int size,
				uint64_t value)
{
	if (i->mod != 3)
		return core_mem_write(c, i->ea, &value, size);
	core_reg_write(&c->v->regs, i->rm, size, value);
	return core_fault_none();
}

/* ---- decoding ---------------------------------------------------------------------------- */

static struct core_fault next_byte(struct core_ctx *c, struct core_insn *i, uint8_t *ret)
{
	if (i->len >= sizeof(i->bytes)) /* longer than an instruction can be */
		return core_fault_vector(CORE_VEC_GP, 0);
	if (i->len >= i->valid)
		return page_fault(c, i->rip + i->len, 0);
	*ret = i->bytes[i->len++];
	return core_fault_none();
}

struct core_fault core_insn_imm(struct core_ctx *c, struct core_insn *i, unsigned int size,
				int64_t *ret)
{
	uint64_t value = 0;

	for (unsigned int n = 0; n < size; n++) {
		uint8_t byte = 0;
		struct core_fault f = next_byte(c, i, &byte);

		if (f.raised)
			return f;
		value |= (uint64_t)byte << (n * 8);
	}
	unsigned int shift = 64 - size * 8;

	*ret = size == 0 ? 0 : (int64_t)(value << shift) >> shift;
	return core_fault_none();
}

/* True: the byte was a prefix. A REX counts only directly before the opcode. */
static bool take_prefix(struct core_insn *i, uint8_t byte)
{
	uint8_t rex = 0;

	switch (byte) {
	case 0x66:
		i->opsize = true;
		break;
	case 0x67:
		i->addrsize = true;
		break;
	case 0xf0:
		i->lock = true;
		break;
	case 0xf2:
	case 0xf3:
		i->rep = byte;
		break;
	case 0x26:
		i->seg = CORE_SEG_ES + 1;
		break;
	case 0x2e:
		i->seg = CORE_SEG_CS + 1;
		break;
	case 0x36:
		i->seg = CORE_SEG_SS + 1;
		break;
	case 0x3e:
		i->seg = CORE_SEG_DS + 1;
		break;
	case 0x64:
		i->seg = CORE_SEG_FS + 1;
		break;
	case 0x65:
		i->seg = CORE_SEG_GS + 1;
		break;
	default:
		if (!i->mode64 || (byte & 0xf0) != 0x40)
			return false;
		rex = byte;
		break;
	}
	i->rex = rex;
	return true;
}

/* Which of the opcodes we know carry a ModRM byte. */
static bool opcode_has_modrm(const struct core_insn *i)
{
	if (i->map == 0) {
		switch (i->opcode) {
		case 0x8c: /* mov r/m, sreg */
		case 0x8e: /* mov sreg, r/m */
		case 0xc4: /* les, lds: VEX in 64-bit mode */
		case 0xc5:
		case 0xff: /* far call and jmp */
			return true;
		default:
			return false;
		}
	}
	if (i->map != 1)
		return true;
	switch (i->opcode) {
	case 0x05: /* syscall */
	case 0x06: /* clts */
	case 0x07: /* sysret */
	case 0x08: /* invd */
	case 0x09: /* wbinvd */
	case 0x0b: /* ud2 */
	case 0x30: /* wrmsr, rdtsc, rdmsr, rdpmc, sysenter, sysexit */
	case 0x31:
	case 0x32:
	case 0x33:
	case 0x34:
	case 0x35:
	case 0xa0: /* push and pop fs, gs; cpuid */
	case 0xa1:
	case 0xa2:
	case 0xa8:
	case 0xa9:
		return false;
	default:
		return true;
	}
}

static uint64_t segment_base(const struct core_ctx *c, const struct core_insn *i)
{
	if (i->seg == CORE_SEG_FS + 1)
		return c->v->regs.fs_base;
	if (i->seg == CORE_SEG_GS + 1)
		return c->v->regs.gs_base;
	return 0;
}

/* The SIB byte's part of an address; mod 0 with base 101 has a displacement instead of a base. */
static struct core_fault decode_sib(struct core_ctx *c, struct core_insn *i, uint64_t *ea,
				    unsigned int *disp)
{
	const struct core_regs *r = &c->v->regs;
	uint8_t sib = 0;
	struct core_fault f = next_byte(c, i, &sib);

	if (f.raised)
		return f;
	unsigned int index = ((sib >> 3) & 7) | ((i->rex & 2) << 2);
	unsigned int base = (sib & 7) | ((i->rex & 1) << 3);

	if (index != R_RSP)
		*ea += r->gpr[index] << (sib >> 6);
	if ((sib & 7) == 5 && i->mod == 0)
		*disp = 4;
	else
		*ea += r->gpr[base];
	return core_fault_none();
}

static struct core_fault decode_memory(struct core_ctx *c, struct core_insn *i)
{
	unsigned int disp = i->mod == 1 ? 1 : i->mod == 2 ? 4 : 0;
	bool rip_relative = false;
	struct core_fault f = core_fault_none();
	uint64_t ea = 0;
	int64_t offset;

	if ((i->rm & 7) == 4) {
		f = decode_sib(c, i, &ea, &disp);
	} else if ((i->rm & 7) == 5 && i->mod == 0) {
		disp = 4;
		rip_relative = i->mode64;
	} else {
		ea = c->v->regs.gpr[i->rm];
	}
	if (!f.raised)
		f = core_insn_imm(c, i, disp, &offset);
	if (f.raised)
		return f;
	ea += (uint64_t)offset;
	/* None of our instructions has a memory operand *and* an immediate. */
	if (rip_relative)
		ea += i->rip + i->len;
	if (i->addrsize != !i->mode64)
		ea = (uint32_t)ea;
	i->ea = ea + segment_base(c, i);
	return core_fault_none();
}

static struct core_fault decode_modrm(struct core_ctx *c, struct core_insn *i)
{
	uint8_t modrm = 0;
	struct core_fault f = next_byte(c, i, &modrm);

	if (f.raised)
		return f;
	i->has_modrm = true;
	i->mod = modrm >> 6;
	i->reg = (uint8_t)(((modrm >> 3) & 7) | ((i->rex & 4) << 1));
	i->rm = (uint8_t)((modrm & 7) | ((i->rex & 1) << 3));
	/* mov to and from cr, dr: mod is ignored, rm is always a register. */
	if (i->map == 1 && i->opcode >= 0x20 && i->opcode <= 0x23)
		i->mod = 3;
	return i->mod == 3 ? core_fault_none() : decode_memory(c, i);
}

struct core_fault core_insn_decode(struct core_ctx *c, struct core_insn *i)
{
	const struct core_regs *r = &c->v->regs;
	struct core_fault f;
	uint64_t desc;
	uint8_t byte = 0;

	memset(i, 0, sizeof(*i));
	i->rip = r->rip;
	i->mode64 = r->cs == FLAT_RING3_CS64 ||
		    (core_desc_read(c, r->cs, &desc) == DESC_OK && (desc & DESC_L));
	i->valid = (uint8_t)(sizeof(i->bytes) -
			     core_guest_read(c, i->bytes, i->rip, sizeof(i->bytes)));
	do {
		f = next_byte(c, i, &byte);
		if (f.raised)
			return f;
	} while (take_prefix(i, byte));

	if (byte == 0x0f) {
		i->map = 1;
		f = next_byte(c, i, &byte);
		if (!f.raised && (byte == 0x38 || byte == 0x3a)) {
			i->map = byte == 0x38 ? 2 : 3;
			f = next_byte(c, i, &byte);
		}
		if (f.raised)
			return f;
	}
	i->opcode = byte;
	return opcode_has_modrm(i) ? decode_modrm(c, i) : core_fault_none();
}
