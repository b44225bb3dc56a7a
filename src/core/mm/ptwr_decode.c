/* SPDX-License-Identifier: MIT */
/*
 * The instructions with which kernels write page-table entries: mov, stos, movs, read-modify-write
 * arithmetic, xchg, xadd, cmpxchg, bit operations. 64-bit code only, general registers only.
 */
#include "core/mm/ptwr.h"

struct cursor {
	const uint8_t *bytes;
	unsigned int nr, at;
	bool bad;
};

struct prefixes {
	bool operand16, address32, rep, rep_ne;
	uint8_t rex;
	uint64_t segment_base;
};

struct operand {		 /* of a ModRM byte */
	unsigned int reg, field; /* reg with REX.R; the bare field */
	uint64_t addr;
	bool rip_relative;
	bool base_rsp;
};

static uint64_t take(struct cursor *cur, unsigned int size)
{
	uint64_t value = 0;

	if (cur->nr - cur->at < size) {
		cur->bad = true;
		return 0;
	}
	for (unsigned int i = 0; i < size; i++)
		value |= (uint64_t)cur->bytes[cur->at++] << (8 * i);
	return value;
}

static uint64_t take_signed(struct cursor *cur, unsigned int size)
{
	uint64_t value = take(cur, size);

	switch (size) {
	case 1:
		return (uint64_t)(int64_t)(int8_t)value;
	case 2:
		return (uint64_t)(int64_t)(int16_t)value;
	case 4:
		return (uint64_t)(int64_t)(int32_t)value;
	default:
		return value;
	}
}

/* REX counts only directly before the opcode; returns the first opcode byte. */
static uint8_t take_prefixes(struct cursor *cur, const struct core_regs *r, struct prefixes *p)
{
	for (;;) {
		uint8_t b = (uint8_t)take(cur, 1);

		if (cur->bad)
			return 0;
		switch (b) {
		case 0x26:
		case 0x2e:
		case 0x36:
		case 0x3e:
		case 0xf0:
			break;
		case 0x64:
			p->segment_base = r->fs_base;
			break;
		case 0x65:
			p->segment_base = r->gs_base;
			break;
		case 0x66:
			p->operand16 = true;
			break;
		case 0x67:
			p->address32 = true;
			break;
		case 0xf2:
			p->rep_ne = true;
			break;
		case 0xf3:
			p->rep = true;
			break;
		default:
			if ((b & 0xf0) != 0x40)
				return b;
			p->rex = b;
			continue;
		}
		p->rex = 0;
	}
}

static uint64_t take_sib(struct cursor *cur, const struct core_regs *r, uint8_t rex,
			 unsigned int mod)
{
	uint8_t sib = (uint8_t)take(cur, 1);
	unsigned int index = ((sib >> 3) & 7) | (rex & 2 ? 8 : 0);
	unsigned int base = (sib & 7) | (rex & 1 ? 8 : 0);
	uint64_t addr = 0;

	if (index != R_RSP)
		addr = r->gpr[index] << (sib >> 6);
	if ((sib & 7) == 5 && mod == 0)
		return addr + take_signed(cur, 4);
	return addr + r->gpr[base];
}

/* False: the operand is a register. */
static bool take_modrm(struct cursor *cur, const struct core_regs *r, const struct prefixes *p,
		       struct operand *ret)
{
	uint8_t modrm = (uint8_t)take(cur, 1);
	unsigned int mod = modrm >> 6, rm = modrm & 7;

	ret->field = (modrm >> 3) & 7;
	ret->reg = ret->field | (p->rex & 4 ? 8 : 0);
	ret->rip_relative = false;
	ret->base_rsp = false;
	if (cur->bad || mod == 3)
		return false;
	if (rm == 4) {
		uint8_t sib = cur->at < cur->nr ? cur->bytes[cur->at] : 0;

		ret->base_rsp = (sib & 7) == R_RSP && !(p->rex & 1);
		ret->addr = take_sib(cur, r, p->rex, mod);
	} else if (rm == 5 && mod == 0) {
		ret->addr = take_signed(cur, 4);
		ret->rip_relative = true;
	} else {
		ret->addr = r->gpr[rm | (p->rex & 1 ? 8 : 0)];
	}
	if (mod == 1)
		ret->addr += take_signed(cur, 1);
	else if (mod == 2)
		ret->addr += take_signed(cur, 4);
	return !cur->bad;
}

static uint64_t cut(uint64_t value, unsigned int size)
{
	return size == 8 ? value : value & ((1ull << (8 * size)) - 1);
}

/* Without REX, byte registers 4 to 7 are the second bytes of the first four. */
static void use_reg(const struct core_regs *r, const struct prefixes *p, unsigned int reg,
		    struct ptwr_insn *in)
{
	in->reg = reg;
	in->reg_high = in->size == 1 && p->rex == 0 && reg >= 4 && reg < 8;
	in->src = in->reg_high ? cut(r->gpr[reg - 4] >> 8, 1) : cut(r->gpr[reg], in->size);
}

static void use_imm(struct cursor *cur, unsigned int imm_size, struct ptwr_insn *in)
{
	in->src = cut(take_signed(cur, imm_size), in->size);
}

static unsigned int size_of(const struct prefixes *p, uint8_t opcode)
{
	if (!(opcode & 1))
		return 1;
	if (p->rex & 8)
		return 8;
	return p->operand16 ? 2 : 4;
}

/* F6, F7: not, neg. FE, FF: inc, dec. */
static bool decode_unary(uint8_t opcode, unsigned int field, struct ptwr_insn *in)
{
	in->kind = PTWR_UNARY;
	if (opcode < 0xf8)
		in->op = field;
	else
		in->op = UNARY_INC + field;
	return opcode < 0xf8 ? field == UNARY_NOT || field == UNARY_NEG : field < 2;
}

static bool decode_one_byte(struct cursor *cur, const struct core_regs *r, const struct prefixes *p,
			    uint8_t opcode, const struct operand *m, struct ptwr_insn *in)
{
	unsigned int imm = in->size == 8 ? 4 : in->size;

	in->kind = PTWR_ALU;
	switch (opcode) {
	case 0x00 ... 0x31: /* op r/m, reg; callers took out the other forms and cmp */
		in->op = opcode >> 3;
		use_reg(r, p, m->reg, in);
		return true;
	case 0x80:
	case 0x81:
	case 0x83:
		in->op = m->field;
		use_imm(cur, opcode == 0x83 ? 1 : imm, in);
		return in->op != 7;
	case 0x86:
	case 0x87:
		in->kind = PTWR_XCHG;
		use_reg(r, p, m->reg, in);
		return true;
	case 0x88:
	case 0x89:
		in->kind = PTWR_MOV;
		use_reg(r, p, m->reg, in);
		return true;
	case 0xc6:
	case 0xc7:
		in->kind = PTWR_MOV;
		use_imm(cur, imm, in);
		return m->field == 0;
	case 0x8f: /* pop r/m: the value is read by the emulation */
		in->kind = PTWR_POP;
		return m->field == 0;
	default: /* f6, f7, fe, ff */
		return decode_unary(opcode, m->field, in);
	}
}

/* What `cc`, the low four bits of a conditional opcode, says about the flags. */
static bool condition(uint64_t rflags, unsigned int cc)
{
	bool cf = rflags & 1, pf = rflags & 4, zf = rflags & 0x40, sf = rflags & 0x80;
	bool of = rflags & 0x800, is;

	switch (cc >> 1) {
	case 0:
		is = of;
		break;
	case 1:
		is = cf;
		break;
	case 2:
		is = zf;
		break;
	case 3:
		is = cf || zf;
		break;
	case 4:
		is = sf;
		break;
	case 5:
		is = pf;
		break;
	case 6:
		is = sf != of;
		break;
	default:
		is = zf || sf != of;
		break;
	}
	return is != (cc & 1);
}

static bool decode_two_byte(struct cursor *cur, const struct core_regs *r, const struct prefixes *p,
			    uint8_t opcode, const struct operand *m, struct ptwr_insn *in)
{
	switch (opcode) {
	case 0xab:
	case 0xb3:
	case 0xbb: /* bts, btr, btc r/m, reg */
		in->kind = PTWR_BIT;
		in->op = opcode == 0xab ? BIT_SET : opcode == 0xb3 ? BIT_RESET : BIT_COMPLEMENT;
		in->reg_bit = true;
		use_reg(r, p, m->reg, in);
		return true;
	case 0xba: /* ... with an immediate */
		in->kind = PTWR_BIT;
		in->op = m->field;
		in->src = take(cur, 1) & (8 * in->size - 1);
		return in->op >= BIT_SET;
	case 0x90 ... 0x9f: /* setcc */
		in->kind = PTWR_MOV;
		in->src = condition(r->rflags, opcode & 15);
		return true;
	case 0xb0:
	case 0xb1:
		in->kind = PTWR_CMPXCHG;
		use_reg(r, p, m->reg, in);
		return true;
	case 0xc0:
	case 0xc1:
		in->kind = PTWR_XADD;
		use_reg(r, p, m->reg, in);
		return true;
	case 0xc3: /* movnti */
		in->kind = PTWR_MOV;
		use_reg(r, p, m->reg, in);
		return !p->operand16 && !p->rep && !p->rep_ne;
	default:
		return false;
	}
}

static bool has_modrm(bool two_byte, uint8_t opcode)
{
	if (two_byte)
		return opcode == 0xab || opcode == 0xb3 || opcode == 0xba || opcode == 0xbb ||
		       opcode == 0xb0 || opcode == 0xb1 || opcode == 0xc0 || opcode == 0xc1 ||
		       opcode == 0xc3 || (opcode & 0xf0) == 0x90;
	if (opcode < 0x38)
		return (opcode & 7) < 2;
	return opcode == 0x80 || opcode == 0x81 || opcode == 0x83 ||
	       (opcode >= 0x86 && opcode <= 0x89) || opcode == 0x8f || opcode == 0xc6 ||
	       opcode == 0xc7 || opcode == 0xf6 || opcode == 0xf7 || opcode == 0xfe ||
	       opcode == 0xff;
}

/* push of a register or an immediate: 8 bytes, or 2 with an operand size prefix. */
static bool decode_push(struct cursor *cur, const struct core_regs *r, const struct prefixes *p,
			uint8_t opcode, struct ptwr_insn *in)
{
	in->kind = PTWR_PUSH;
	in->size = p->operand16 ? 2 : 8;
	in->addr = r->gpr[R_RSP] - in->size;
	if (opcode == 0x68)
		use_imm(cur, p->operand16 ? 2 : 4, in);
	else if (opcode == 0x6a)
		use_imm(cur, 1, in);
	else
		in->src = cut(r->gpr[(opcode & 7) | (p->rex & 1 ? 8 : 0)], in->size);
	return true;
}

/* mov moffs, stos, movs, push. */
static bool decode_no_modrm(struct cursor *cur, const struct core_regs *r, const struct prefixes *p,
			    uint8_t opcode, struct ptwr_insn *in)
{
	in->rep = p->rep || p->rep_ne;
	switch (opcode) {
	case 0x50 ... 0x57:
	case 0x68:
	case 0x6a:
		in->rep = false;
		return decode_push(cur, r, p, opcode, in);
	case 0xa2:
	case 0xa3:
		in->kind = PTWR_MOV;
		in->addr = take(cur, 8) + p->segment_base;
		in->rep = false;
		break;
	case 0xaa:
	case 0xab:
		in->kind = PTWR_STOS;
		in->addr = r->gpr[R_RDI];
		break;
	case 0xa4:
	case 0xa5: /* the source is read by the emulation; an override would apply to it */
		in->kind = PTWR_MOVS;
		in->addr = r->gpr[R_RDI];
		return !p->address32 && p->segment_base == 0;
	default:
		return false;
	}
	in->src = cut(r->gpr[R_RAX], in->size);
	return !p->address32;
}

bool ptwr_decode(const struct core_regs *r, const uint8_t *bytes, unsigned int nr,
		 struct ptwr_insn *ret)
{
	struct cursor cur = {.bytes = bytes, .nr = nr};
	struct prefixes p = {0};
	struct operand m;
	uint8_t opcode = take_prefixes(&cur, r, &p);
	bool two_byte = opcode == 0x0f, ok;

	*ret = (struct ptwr_insn){0};
	if (two_byte)
		opcode = (uint8_t)take(&cur, 1);
	if (cur.bad)
		return false;
	/* The bit operations' opcodes do not encode the size in their lowest bit. */
	ret->size = size_of(&p, two_byte && (opcode == 0xba || opcode == 0xc3) ? 1
				: two_byte && (opcode & 0xf0) == 0x90	       ? 0
									       : opcode);
	if (!two_byte && opcode == 0x8f)
		ret->size = p.operand16 ? 2 : 8;
	if (has_modrm(two_byte, opcode)) {
		if (!take_modrm(&cur, r, &p, &m))
			return false;
		ok = two_byte ? decode_two_byte(&cur, r, &p, opcode, &m, ret)
			      : decode_one_byte(&cur, r, &p, opcode, &m, ret);
		ret->addr = m.addr + (m.rip_relative ? r->rip + cur.at : 0);
		if (p.address32)
			ret->addr &= 0xffffffffu;
		ret->addr += p.segment_base;
		/* rsp as the base of pop's operand counts after the increment. */
		if (ret->kind == PTWR_POP && m.base_rsp)
			ret->addr += ret->size;
	} else {
		ok = !two_byte && decode_no_modrm(&cur, r, &p, opcode, ret);
	}
	ret->length = cur.at;
	return ok && !cur.bad;
}
