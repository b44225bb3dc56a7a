/* SPDX-License-Identifier: MIT */
/*
 * From an instruction's bytes to what run.c does: which operation, and where its operands are. What
 * is not listed here is BK_NATIVE.
 */
#include "exec/ring3/brief/brief.h"
#include "exec/ring3/translate/insn.h"

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI };

static uint8_t *reg_of(struct brief *b, const struct insn *i, unsigned int nr, unsigned int size)
{
	uint8_t *p;

	if (size == 0 && !i->rex && nr >= RSP)
		return (uint8_t *)&b->regs->gpr[nr - RSP] + 1; /* ah, ch, dh, bh */
	p = (uint8_t *)&b->regs->gpr[nr];
	return p;
}

static unsigned int size_of(const struct insn *i)
{
	return i->w ? 3 : i->p66 ? 1 : 2;
}

static unsigned int address(struct brief *b, struct brief_op *op, const struct insn *i,
			    unsigned int use)
{
	int base = insn_base(i), index = insn_index(i);

	op->base = insn_rip_relative(i) ? &b->rip_next : base >= 0 ? &b->regs->gpr[base] : &b->zero;
	op->index = index >= 0 ? &b->regs->gpr[index] : &b->zero;
	op->segment = i->seg == 0x64   ? &b->regs->fs_base
		      : i->seg == 0x65 ? &b->regs->gs_base
				       : &b->zero;
	op->scale = index >= 0 ? i->sib >> 6 : 0;
	op->disp = insn_disp(i);
	return use;
}

/* The upper half of a register that gets 32 bits. */
static void is_result(struct brief *b, struct brief_op *op, const uint8_t *reg)
{
	op->upper = op->size == 2 ? (uint32_t *)(void *)(uintptr_t)(reg + 4) : &b->nowhere;
}

/* r/m is the destination, the register of ModRM the source. */
static unsigned int rm_reg(struct brief *b, struct brief_op *op, const struct insn *i,
			   unsigned int size, bool writes)
{
	op->size = size;
	op->write = writes;
	op->src = reg_of(b, i, insn_reg(i), size);
	if (insn_has_mem(i))
		return address(b, op, i, BM_DST);
	op->dst = reg_of(b, i, insn_rm(i), size);
	if (writes)
		is_result(b, op, op->dst);
	return BM_NONE;
}

/* ... the other way round. */
static unsigned int reg_rm(struct brief *b, struct brief_op *op, const struct insn *i,
			   unsigned int size, unsigned int src_size, bool writes)
{
	op->size = size;
	op->dst = reg_of(b, i, insn_reg(i), size);
	if (writes)
		is_result(b, op, op->dst);
	/* of what is read; run.c checks that it is within one page */
	if (insn_has_mem(i)) {
		op->size = src_size;
		return address(b, op, i, BM_SRC);
	}
	op->src = reg_of(b, i, insn_rm(i), src_size);
	return BM_NONE;
}

/* r/m alone, or with an immediate. */
static unsigned int rm_imm(struct brief *b, struct brief_op *op, const struct insn *i,
			   unsigned int size, bool writes)
{
	op->size = size;
	op->write = writes;
	op->imm = insn_imm(i);
	op->src = (uint8_t *)&op->imm;
	if (insn_has_mem(i))
		return address(b, op, i, BM_DST);
	op->dst = reg_of(b, i, insn_rm(i), size);
	if (writes)
		is_result(b, op, op->dst);
	return BM_NONE;
}

static unsigned int rax_imm(struct brief *b, struct brief_op *op, const struct insn *i,
			    unsigned int size, bool writes)
{
	op->size = size;
	op->imm = insn_imm(i);
	op->src = (uint8_t *)&op->imm;
	op->dst = (uint8_t *)&b->regs->gpr[RAX];
	if (writes)
		is_result(b, op, op->dst);
	return BM_NONE;
}

static const uint8_t group1[8] = {BK_ADD, BK_OR, BK_ADC, BK_SBB, BK_AND, BK_SUB, BK_XOR, BK_CMP};
static const uint8_t locked1[8] = {
	BK_LOCK_ADD, BK_LOCK_OR,  BK_NATIVE,   BK_NATIVE,
	BK_LOCK_AND, BK_LOCK_SUB, BK_LOCK_XOR, BK_NATIVE,
};
static const uint8_t group2[8] = {BK_ROL, BK_ROR, BK_RCL, BK_RCR, BK_SHL, BK_SHR, BK_SHL, BK_SAR};

static unsigned int native(struct brief_op *op)
{
	op->kind = BK_NATIVE;
	return BM_NONE;
}

static unsigned int arithmetic(struct brief *b, struct brief_op *op, const struct insn *i,
			       unsigned int which, unsigned int form)
{
	unsigned int size = form & 1 ? size_of(i) : 0;
	bool writes = group1[which] != BK_CMP;

	op->kind = group1[which] + size;
	if (i->lock) {
		if (locked1[which] == BK_NATIVE)
			return native(op);
		op->kind = locked1[which] + size;
	}
	switch (form) {
	case 0:
	case 1:
		return rm_reg(b, op, i, size, writes);
	case 2:
	case 3:
		return reg_rm(b, op, i, size, size, writes);
	default:
		return rax_imm(b, op, i, size, writes);
	}
}

static unsigned int shift(struct brief *b, struct brief_op *op, const struct insn *i)
{
	unsigned int size = i->op & 1 ? size_of(i) : 0, how;

	op->kind = group2[insn_reg(i) & 7] + size;
	how = rm_imm(b, op, i, size, true);
	if (i->op == 0xd0 || i->op == 0xd1)
		op->imm = 1;
	else if (i->op == 0xd2 || i->op == 0xd3)
		op->src = (uint8_t *)&b->regs->gpr[RCX];
	return how;
}

static unsigned int group3(struct brief *b, struct brief_op *op, const struct insn *i)
{
	unsigned int size = i->op & 1 ? size_of(i) : 0;

	switch (insn_reg(i) & 7) {
	case 0:
	case 1:
		op->kind = BK_TEST + size;
		return rm_imm(b, op, i, size, false);
	case 2:
		op->kind = BK_NOT + size;
		return i->lock ? native(op) : rm_imm(b, op, i, size, true);
	case 3:
		op->kind = BK_NEG + size;
		return i->lock ? native(op) : rm_imm(b, op, i, size, true);
	case 4:
		op->kind = BK_MUL + size;
		break;
	case 5:
		op->kind = BK_IMUL + size;
		break;
	case 6:
		op->kind = BK_DIV + size;
		break;
	default:
		return native(op);
	}
	if (size < 2)
		return native(op);
	return rm_imm(b, op, i, size, false);
}

static unsigned int group5(struct brief *b, struct brief_op *op, const struct insn *i)
{
	unsigned int size = i->op & 1 ? size_of(i) : 0, what = insn_reg(i) & 7;

	if (what < 2) {
		op->kind = (i->lock ? what ? BK_LOCK_DEC : BK_LOCK_INC
			    : what  ? BK_DEC
				    : BK_INC) +
			   size;
		return rm_imm(b, op, i, size, true);
	}
	if (!(i->op & 1) || i->p66 || (what != 2 && what != 4 && what != 6))
		return native(op);
	op->kind = what == 2 ? BK_CALLI : what == 4 ? BK_JMPI : BK_PUSH;
	op->size = 3;
	if (insn_has_mem(i))
		return address(b, op, i, BM_SRC);
	op->src = (uint8_t *)&b->regs->gpr[insn_rm(i)];
	return BM_NONE;
}

static unsigned int one_byte(struct brief *b, struct brief_op *op, const struct insn *i)
{
	unsigned int size = i->op & 1 ? size_of(i) : 0, how;

	if (i->op < 0x40 && (i->op & 7) < 6)
		return arithmetic(b, op, i, i->op >> 3, i->op & 7);
	switch (i->op) {
	case 0x50 ... 0x57:
		op->kind = BK_PUSH;
		op->src = (uint8_t *)&b->regs->gpr[(i->op & 7) | i->b];
		return i->p66 ? native(op) : BM_NONE;
	case 0x58 ... 0x5f:
		op->kind = BK_POP;
		op->dst = (uint8_t *)&b->regs->gpr[(i->op & 7) | i->b];
		return i->p66 ? native(op) : BM_NONE;
	case 0x63:
		op->kind = BK_SX32_64;
		if (!i->w)
			return native(op);
		return reg_rm(b, op, i, 3, 2, true);
	case 0x68:
	case 0x6a:
		op->kind = BK_PUSH;
		op->imm = insn_imm(i);
		op->src = (uint8_t *)&op->imm;
		return i->p66 ? native(op) : BM_NONE;
	case 0x69:
	case 0x6b:
		op->kind = BK_IMUL3 + size_of(i);
		op->imm = insn_imm(i);
		return reg_rm(b, op, i, size_of(i), size_of(i), true);
	case 0x70 ... 0x7f:
		op->kind = BK_JCC + (i->op & 15);
		op->imm = insn_imm(i);
		return i->p66 ? native(op) : BM_NONE;
	case 0x80:
	case 0x81:
	case 0x83:
		how = insn_reg(i) & 7;
		op->kind = (i->lock ? locked1[how] : group1[how]) + size;
		if (i->lock && locked1[how] == BK_NATIVE)
			return native(op);
		return rm_imm(b, op, i, size, how != 7);
	case 0x84:
	case 0x85:
		op->kind = BK_TEST + size;
		return rm_reg(b, op, i, size, false);
	case 0x86:
	case 0x87:
		op->kind = BK_XCHG + size;
		/* with both upper halves to clear it is not worth the trouble */
		if (!insn_has_mem(i))
			return native(op);
		how = rm_reg(b, op, i, size, true);
		is_result(b, op, op->src);
		return how;
	case 0x88:
	case 0x89:
		op->kind = BK_MOV + size;
		return rm_reg(b, op, i, size, true);
	case 0x8a:
	case 0x8b:
		op->kind = BK_MOV + size;
		return reg_rm(b, op, i, size, size, true);
	case 0x8d:
		size = size_of(i);
		op->kind = BK_LEA + size;
		op->size = size;
		op->dst = (uint8_t *)&b->regs->gpr[insn_reg(i)];
		is_result(b, op, op->dst);
		if (!insn_has_mem(i))
			return native(op);
		address(b, op, i, BM_ADDRESS);
		op->segment = &b->zero;
		return BM_ADDRESS;
	case 0x90:
		op->kind = BK_NOP;
		return i->rep || i->b ? native(op) : BM_NONE;
	case 0x98:
		op->kind = i->w ? BK_CDQE : i->p66 ? BK_CBW : BK_CWDE;
		return BM_NONE;
	case 0x99:
		op->kind = i->w ? BK_CQO : i->p66 ? BK_CWD : BK_CDQ;
		return BM_NONE;
	case 0xa4:
	case 0xa5:
	case 0xaa:
	case 0xab:
		op->kind = (i->op < 0xa8 ? BK_MOVS : BK_STOS) + size;
		op->size = size;
		op->cc = i->rep != 0;
		return i->seg ? native(op) : BM_NONE;
	case 0xa8:
	case 0xa9:
		op->kind = BK_TEST + size;
		return rax_imm(b, op, i, size, false);
	case 0xb0 ... 0xbf:
		size = i->op & 8 ? size_of(i) : 0;
		op->kind = BK_MOV + size;
		op->size = size;
		op->imm = insn_imm(i);
		op->src = (uint8_t *)&op->imm;
		op->dst = reg_of(b, i, (i->op & 7) | i->b, size);
		is_result(b, op, op->dst);
		return BM_NONE;
	case 0xc0:
	case 0xc1:
	case 0xd0 ... 0xd3:
		return shift(b, op, i);
	case 0xc2:
	case 0xc3:
		op->kind = BK_RET;
		op->imm = i->op == 0xc2 ? (uint16_t)insn_imm(i) : 0;
		return i->p66 ? native(op) : BM_NONE;
	case 0xc6:
	case 0xc7:
		op->kind = BK_MOV + size;
		if (insn_reg(i) & 7)
			return native(op);
		return rm_imm(b, op, i, size, true);
	case 0xc9:
		op->kind = BK_LEAVE;
		return i->p66 ? native(op) : BM_NONE;
	case 0xe8:
	case 0xe9:
	case 0xeb:
		op->kind = i->op == 0xe8 ? BK_CALL : BK_JMP;
		op->imm = insn_imm(i);
		return i->p66 ? native(op) : BM_NONE;
	case 0xf6:
	case 0xf7:
		return group3(b, op, i);
	case 0xfe:
	case 0xff:
		return group5(b, op, i);
	default:
		return native(op);
	}
}

/* bt, bts, btr, btc with an immediate, or between registers. */
static unsigned int bit(struct brief *b, struct brief_op *op, const struct insn *i,
			unsigned int which)
{
	unsigned int size = size_of(i), how;

	op->kind = BK_BT + 4 * which + size;
	if (i->op == 0xba) {
		how = rm_imm(b, op, i, size, which != 0);
		op->imm &= (8 << size) - 1;
		return i->lock ? native(op) : how;
	}
	/* with a register memory is a string of bits */
	return insn_has_mem(i) ? native(op) : rm_reg(b, op, i, size, which != 0);
}

static unsigned int two_bytes(struct brief *b, struct brief_op *op, const struct insn *i)
{
	unsigned int size = i->op & 1 ? size_of(i) : 0, how;

	switch (i->op) {
	case 0x01: /* rdtscp */
		op->kind = BK_RDTSCP;
		return i->modrm == 0xf9 && !i->npfx ? BM_NONE : native(op);
	case 0x31:
		op->kind = BK_RDTSC;
		return i->npfx ? native(op) : BM_NONE;
	case 0xae: /* lfence, mfence, sfence */
		op->kind = BK_FENCE;
		return i->modrm >= 0xe8 && !i->npfx ? BM_NONE : native(op);
	case 0x05:
		op->kind = BK_SYSCALL;
		return i->npfx || i->rex ? native(op) : BM_NONE;
	case 0x0d: /* of a register: nothing on Intel's processors, undefined on AMD's */
		op->kind = BK_NOP;
		return i->modrm >> 6 == 3 ? native(op) : BM_NONE;
	case 0x18:
	case 0x1f:
		op->kind = BK_NOP;
		return BM_NONE;
	case 0x1e: /* endbr64 */
		op->kind = BK_NOP;
		return i->rep == 0xf3 && i->modrm == 0xfa ? BM_NONE : native(op);
	case 0x40 ... 0x4f:
		op->kind = BK_CMOV + size_of(i);
		op->cc = i->op & 15;
		return reg_rm(b, op, i, size_of(i), size_of(i), true);
	case 0x80 ... 0x8f:
		op->kind = BK_JCC + (i->op & 15);
		op->imm = insn_imm(i);
		return i->p66 ? native(op) : BM_NONE;
	case 0x90 ... 0x9f:
		op->kind = BK_SETCC;
		op->cc = i->op & 15;
		return rm_imm(b, op, i, 0, true);
	case 0xa3:
		return bit(b, op, i, 0);
	case 0xab:
		return i->lock ? native(op) : bit(b, op, i, 1);
	case 0xb3:
		return i->lock ? native(op) : bit(b, op, i, 2);
	case 0xbb:
		return i->lock ? native(op) : bit(b, op, i, 3);
	case 0xba:
		return (insn_reg(i) & 7) < 4 ? native(op) : bit(b, op, i, insn_reg(i) & 3);
	case 0xaf:
		op->kind = BK_IMUL2 + size_of(i);
		return reg_rm(b, op, i, size_of(i), size_of(i), true);
	case 0xb0:
	case 0xb1:
		op->kind = (i->lock ? BK_LOCK_CMPXCHG : BK_CMPXCHG) + size;
		if (!insn_has_mem(i))
			return native(op);
		return rm_reg(b, op, i, size, true);
	case 0xc0:
	case 0xc1:
		op->kind = (i->lock ? BK_LOCK_XADD : BK_XADD) + size;
		if (!insn_has_mem(i))
			return native(op);
		how = rm_reg(b, op, i, size, true);
		is_result(b, op, op->src);
		return how;
	case 0xb6:
	case 0xbe:
		size = size_of(i);
		if (i->op == 0xb6)
			op->kind = size == 1 ? BK_ZX8_16 : BK_ZX8;
		else
			op->kind = size == 1 ? BK_SX8_16 : size == 2 ? BK_SX8_32 : BK_SX8_64;
		return reg_rm(b, op, i, size, 0, true);
	case 0xb7:
	case 0xbf:
		size = size_of(i);
		if (size == 1)
			return native(op);
		op->kind = i->op == 0xb7 ? BK_ZX16 : size == 2 ? BK_SX16_32 : BK_SX16_64;
		return reg_rm(b, op, i, size, 1, true);
	case 0xbc:
	case 0xbd:
		if (i->op == 0xbc)
			op->kind = (i->rep ? BK_TZCNT : BK_BSF) + size_of(i);
		else
			op->kind = (i->rep ? BK_LZCNT : BK_BSR) + size_of(i);
		how = reg_rm(b, op, i, size_of(i), size_of(i), true);
		op->upper = &b->nowhere; /* (the whole register is loaded and stored) */
		return how;
	case 0xc8 ... 0xcf:
		op->kind = i->w ? BK_BSWAP_64 : BK_BSWAP_32;
		op->dst = (uint8_t *)&b->regs->gpr[(i->op & 7) | i->b];
		return i->p66 ? native(op) : BM_NONE;
	default:
		return native(op);
	}
}

/* 0xf2 and 0xf3 mean something with few of these: they are let pass in front of these few only. */
static bool odd_prefix(const struct insn *i)
{
	if (i->enc != IE_LEGACY || i->p67 || insn_class(i) == IC_UD || insn_class(i) == IC_LONG)
		return true;
	if (!i->rep)
		return false;
	if (!i->map)
		return i->rep != 0xf3 || (i->op != 0xc3 && i->op != 0x90 &&
					  (i->op & 0xfe) != 0xa4 && (i->op & 0xfe) != 0xaa);
	return i->map != 1 || i->rep != 0xf3 || (i->op != 0x1e && i->op != 0xbc && i->op != 0xbd);
}

static bool is_locked(const struct insn *i)
{
	return i->lock || (!i->map && (i->op & 0xfe) == 0x86); /* xchg: always */
}

unsigned int brief_compile(struct brief *b, struct brief_op *op, const struct insn *i)
{
	unsigned int how;

	op->dst = op->src = (uint8_t *)&b->zero;
	op->upper = &b->nowhere;
	op->base = op->index = op->segment = &b->zero;
	op->disp = op->imm = 0;
	op->len = i->len;
	op->size = 3;
	op->scale = op->cc = op->write = 0;
	if (odd_prefix(i) || i->map > 1)
		return native(op);
	how = i->map ? two_bytes(b, op, i) : one_byte(b, op, i);
	return how == BM_DST && is_locked(i) ? BM_LOCKED : how;
}
