/* SPDX-License-Identifier: MIT */
/*
 * Memory operands. The rules, for an operand with effective address EA (guest):
 *
 *	no override		gs:EA			hardware: S + EA
 *	base rsp, no override	EA as it is		rsp is kept shifted
 *	rip-relative		gs:[disp32]		if the target sign-extends from 32 bits
 *	guest gs:		fs:EA			hardware: guest GS base + S + EA
 *	guest fs:		gs:[EA + fs_base]	computed in scratch registers
 *	0x67 (32-bit EA)	like the first row, also with rsp as base: the hardware truncates EA
 *				before it adds the segment base, and S has 43 low zero bits
 *
 * What does not fit (rip-relative to far away, gs: with base rsp, more than 15 bytes) is computed
 * into a scratch register first.
 */
#include "exec/ring3/translate/emit.h"

bool op_uses_rsp(const struct insn *i)
{
	uint32_t d = i->desc;

	if (i->o_modrm) {
		if (ID_REG(d) == IK_GPR && insn_reg(i) == R_RSP)
			return true;
		if (i->modrm >= 0xc0 && ID_RM(d) == IK_GPR && insn_rm(i) == R_RSP)
			return true;
	}
	if (ID_OPREG(d) == IK_GPR && ((i->op & 7) | i->b) == R_RSP)
		return true;
	return ID_VVVV(d) && i->vvvv == R_RSP;
}

unsigned int op_scratch(const struct insn *i, uint32_t avoid, bool mem)
{
	/* rcx: only for BMI instructions, the only ones that could use up the others */
	static const uint8_t order[5] = {R_RSI, R_RDI, R_RBX, R_RBP, R_RCX};
	unsigned int k;

	if (i->o_modrm) {
		avoid |= 1u << insn_reg(i);
		if (ID_REG(i->desc) == IK_GPR8) /* ah..bh live in rax..rbx */
			avoid |= 1u << (insn_reg(i) & 3);
		if (i->modrm >= 0xc0) {
			avoid |= 1u << insn_rm(i);
			if (ID_RM(i->desc) == IK_GPR8)
				avoid |= 1u << (insn_rm(i) & 3);
		} else {
			if (mem && insn_base(i) >= 0)
				avoid |= 1u << insn_base(i);
			if (mem && insn_index(i) >= 0)
				avoid |= 1u << insn_index(i);
			if (i->enc == IE_LEGACY && i->map == 1 && i->op == 0xc7)
				avoid |= 1u << R_RBX; /* cmpxchg8b */
		}
	}
	if (ID_VVVV(i->desc))
		avoid |= 1u << i->vvvv;
	for (k = 0; k < 4; k++)
		if (!(avoid & 1u << order[k]))
			break;
	return order[k];
}

/* REX, VEX or EVEX bits and the opcode, with changed register fields. */
static unsigned int recode_opcode(const struct insn *i, const struct recode *rc, bool mem_changed,
				  uint8_t *out, unsigned int o)
{
	unsigned int r = rc->reg >= 0 ? (unsigned int)rc->reg & 8 : i->r, xb = i->xb, b = i->b;
	unsigned int k = i->npfx + !!i->rex;

	if (mem_changed) {
		xb = 0;
		b = rc->mem == RM_ABS ? 0 : (unsigned int)rc->base & 8;
		if (rc->mem == RM_BASE_INDEX)
			xb = (unsigned int)rc->index & 8;
		if (rc->mem == RM_SWAP_BASE)
			xb = i->xb;
	}
	if (rc->rm >= 0)
		b = (unsigned int)rc->rm & 8;
	if (rc->opreg >= 0)
		b = (unsigned int)rc->opreg & 8;
	switch (i->enc) {
	case IE_LEGACY:
		if (i->rex || r || xb || b)
			out[o++] = 0x40 | i->w << 3 | r >> 1 | xb >> 2 | b >> 3;
		break;
	case IE_VEX2:
		out[o++] = 0xc5;
		out[o] = (i->bytes[k + 1] & 0x7f) | (r ? 0 : 0x80);
		if (rc->vvvv >= 0)
			out[o] = (out[o] & ~0x78) | (~(unsigned int)rc->vvvv & 15) << 3;
		o++;
		k += 2;
		break;
	default:
		out[o++] = i->bytes[k];
		out[o++] = (i->bytes[k + 1] & 0x1f) | (r ? 0 : 0x80) | (xb ? 0 : 0x40) |
			   (b ? 0 : 0x20);
		out[o] = i->bytes[k + 2];
		if (rc->vvvv >= 0)
			out[o] = (out[o] & ~0x78) | (~(unsigned int)rc->vvvv & 15) << 3;
		o++;
		k += 3;
		if (i->enc == IE_EVEX)
			out[o++] = i->bytes[k++];
		break;
	}
	for (; k <= i->o_op; k++)
		out[o++] = i->bytes[k];
	if (rc->opreg >= 0)
		out[o - 1] = (out[o - 1] & ~7) | (rc->opreg & 7);
	return o;
}

unsigned int insn_recode(const struct insn *i, const struct recode *rc, uint8_t *out)
{
	unsigned int o = 0, k;
	uint8_t m = i->modrm;

	/*
	 * Each prefix once: what is repeated does not count, but would not leave room for the
	 * segment prefix in 15 bytes. Of F2 and F3 the last one counts.
	 */
	if (rc->seg)
		out[o++] = (uint8_t)rc->seg;
	if (i->p66)
		out[o++] = 0x66;
	if (i->p67 && !rc->drop67)
		out[o++] = 0x67;
	if (i->lock)
		out[o++] = 0xf0;
	if (i->rep)
		out[o++] = i->rep;
	o = recode_opcode(i, rc, rc->mem != RM_SAME, out, o);
	if (!i->o_modrm)
		goto imm;
	if (rc->reg >= 0)
		m = (m & ~0x38) | (rc->reg & 7) << 3;
	if (rc->rm >= 0)
		m = (m & ~7) | (rc->rm & 7);
	switch (rc->mem) {
	case RM_SAME:
	case RM_SWAP_BASE:
		if (rc->mem == RM_SWAP_BASE && rc->base == R_RBP && m < 0x40) {
			out[o++] = m | 0x40;
			out[o++] = (i->sib & ~7) | R_RBP;
			out[o++] = 0;
			break;
		}
		if (rc->mem == RM_SWAP_BASE && !i->has_sib)
			m = (m & ~7) | (rc->base & 7);
		out[o++] = m;
		if (i->has_sib)
			out[o++] = rc->mem == RM_SAME ? i->sib : (i->sib & ~7) | (rc->base & 7);
		for (k = 0; k < i->disp_len; k++)
			out[o++] = i->bytes[i->o_disp + k];
		break;
	case RM_ABS:
		out[o++] = (m & 0x38) | 4;
		out[o++] = 0x25;
		__builtin_memcpy(out + o, &rc->disp, 4);
		o += 4;
		break;
	case RM_BASE: /* a zero displacement makes rbp a base like any other */
		out[o++] = (m & 0x38) | 0x40 | (rc->base & 7);
		out[o++] = (uint8_t)rc->disp;
		break;
	case RM_BASE_INDEX:
		out[o++] = (m & 0x38) | 0x44;
		out[o++] = (rc->index & 7) << 3 | (rc->base & 7);
		out[o++] = (uint8_t)rc->disp;
		break;
	}
imm:
	for (k = 0; k < i->imm_len; k++)
		out[o++] = i->bytes[i->o_imm + k];
	return o;
}

static void put(struct em *e, const uint8_t *buf, unsigned int n)
{
	em_step_op(e);
	ebytes(e, buf, n);
}

/* Its length with each prefix once and none for the segment: what insn_recode() makes of it. */
static unsigned int bare_len(const struct insn *i)
{
	return i->len - i->npfx + i->p66 + i->p67 + i->lock + !!i->rep;
}

enum mem_mode { MM_PREFIX, MM_BARE, MM_ABS, MM_FAR, MM_GS_RSP, MM_FS, MM_LONG, MM_REDIRECT };

static uint64_t rip_target(const struct em *e, const struct insn *i)
{
	uint64_t t = e->next + (uint64_t)insn_disp(i);

	return i->p67 ? (uint32_t)t : t;
}

static enum mem_mode mem_mode(const struct em *e, const struct insn *i)
{
	if (e->redirect)
		return MM_REDIRECT;
	if (i->seg == 0x64)
		return MM_FS;
	if (insn_base(i) == R_RSP && !i->p67)
		return i->seg ? MM_GS_RSP : MM_BARE;
	if (insn_rip_relative(i)) {
		if (!fits32(rip_target(e, i)) && !i->p67)
			return MM_FAR;
		return bare_len(i) + 2 > INSN_MAX ? MM_LONG : MM_ABS;
	}
	return bare_len(i) + 1 > INSN_MAX ? MM_LONG : MM_PREFIX;
}

bool op_mem_plain(const struct em *e, const struct insn *i)
{
	return mem_mode(e, i) <= MM_ABS;
}

/* EVEX displacements of 8 bits are scaled: they stay with the instruction. */
static bool keeps_disp8(const struct insn *i)
{
	return i->enc == IE_EVEX && i->disp_len == 1;
}

/* pop [rsp + x] computes its address with the rsp it leaves behind: r += 8, or 2 */
static void emit_pop_adjust(struct em *e, const struct insn *i, unsigned int r)
{
	if (i->enc != IE_LEGACY || i->map || i->op != 0x8f || insn_base(i) != R_RSP)
		return;
	if (i->p67)
		e1(e, 0x67);
	e1(e, 0x48);
	e1(e, 0x8d);
	e1(e, 0x40 | r << 3 | r);
	e1(e, i->p66 && !i->w ? 2 : 8);
}

/* r = EA of the operand as the hardware sees it: shifted if the base is rsp. */
void op_ea(struct em *e, const struct insn *i, unsigned int r)
{
	if (insn_rip_relative(i)) {
		em_movi(e, r, rip_target(e, i));
		return;
	}
	if (i->p67)
		e1(e, 0x67);
	e1(e, 0x48 | i->xb >> 2 | i->b >> 3);
	e1(e, 0x8d);
	e1(e, (i->modrm & ~0x38) | r << 3);
	if (i->has_sib)
		e1(e, i->sib);
	if (keeps_disp8(i))
		e1(e, 0);
	else
		ebytes(e, i->bytes + i->o_disp, i->disp_len);
	emit_pop_adjust(e, i, r);
}

/*
 * The instruction as it is, with the guest's FS base in the hardware: for the few whose operand
 * cannot be computed beforehand.
 */
static void op_with_fs(struct em *e, const struct insn *i)
{
	struct recode rc = {.seg = 0x64, .reg = -1, .rm = -1, .opreg = -1, .vvvv = -1};
	bool by_rsp = insn_has_mem(i) && insn_base(i) == R_RSP && !i->p67;
	const uint32_t fs = ACT_FIX(FIX_FS), sp = ACT_SP0(R_RAX);
	uint8_t buf[32];
	unsigned int n = insn_recode(i, &rc, buf);

	em_step(e, 0);
	em_store(e, XLATE_VCPU + XV_SP0, R_RAX);
	em_step(e, fs | sp);
	em_load(e, R_RAX, XLATE_VCPU + (by_rsp ? XV_FS_BASE : XV_FS_SHIFT));
	em_wrfsbase_rax(e);
	em_load(e, R_RAX, XLATE_VCPU + XV_SP0);
	em_step(e, fs);
	ebytes(e, buf, n);
	em_step(e, ACT_NEXT | fs);
	em_store(e, XLATE_VCPU + XV_SP0, R_RAX);
	em_step(e, ACT_NEXT | fs | sp);
	em_load(e, R_RAX, XLATE_VCPU + XV_HW_FS);
	em_wrfsbase_rax(e);
	em_load(e, R_RAX, XLATE_VCPU + XV_SP0);
}

static void op_mem_complex(struct em *e, const struct insn *i, enum mem_mode mode)
{
	struct recode rc = {
		.seg = i->seg == 0x65 ? 0x64 : 0x65, .reg = -1, .rm = -1, .opreg = -1, .vvvv = -1};
	const uint32_t taken = e->ambient ? 1u << (ACT_GET_SP2(e->ambient) - 1) : 0;
	unsigned int r = op_scratch(i, taken, mode == MM_GS_RSP), r2 = 0, n;
	uint32_t act = ACT_SP0(r);
	uint8_t buf[32];

	if (mode == MM_FS && (i->desc & ID_VSIB)) {
		op_with_fs(e, i);
		return;
	}
	em_step(e, 0);
	em_store(e, XLATE_VCPU + XV_SP0, r);
	rc.base = (int)r;
	if (mode != MM_REDIRECT && keeps_disp8(i))
		rc.disp = (int8_t)insn_disp(i);
	switch (mode) {
	case MM_FAR:
	case MM_LONG:
		rc.mem = RM_BASE;
		rc.drop67 = true;
		em_step(e, act);
		op_ea(e, i, r);
		break;
	case MM_REDIRECT:
		rc.mem = RM_BASE;
		rc.drop67 = true;
		rc.seg = 0;
		em_step(e, act);
		em_load(e, r, XLATE_VCPU + XV_REDIRECT);
		break;
	case MM_GS_RSP:
		rc.mem = RM_SWAP_BASE;
		em_guest_rsp(e, r, act);
		emit_pop_adjust(e, i, r);
		break;
	default: /* MM_FS */
		r2 = op_scratch(i, 1u << r | taken, false);
		rc.mem = RM_BASE_INDEX;
		rc.index = (int)r2;
		rc.drop67 = true;
		rc.seg = insn_base(i) == R_RSP && !i->p67 ? 0 : 0x65;
		em_step(e, act);
		em_store(e, XLATE_VCPU + XV_SP1, r2);
		act |= ACT_SP1(r2);
		em_step(e, act);
		op_ea(e, i, r);
		em_step(e, act);
		em_load(e, r2, XLATE_VCPU + XV_FS_BASE);
		break;
	}
	n = insn_recode(i, &rc, buf);
	em_step(e, act);
	ebytes(e, buf, n);
	if (r2) {
		em_step(e, ACT_NEXT | act);
		em_load(e, r2, XLATE_VCPU + XV_SP1);
		act = ACT_SP0(r);
	}
	em_step(e, ACT_NEXT | act);
	em_load(e, r, XLATE_VCPU + XV_SP0);
}

static void op_mem(struct em *e, const struct insn *i)
{
	enum mem_mode mode = mem_mode(e, i);
	struct recode rc = {
		.seg = i->seg == 0x65 ? 0x64 : 0x65, .reg = -1, .rm = -1, .opreg = -1, .vvvv = -1};
	uint8_t buf[32];

	switch (mode) {
	case MM_PREFIX:
		if (!i->anyseg && i->len < INSN_MAX) {
			em_step_op(e);
			e1(e, 0x65);
			ebytes(e, i->bytes, i->len);
			return;
		}
		break;
	case MM_BARE:
		if (!i->anyseg) {
			put(e, i->bytes, i->len);
			return;
		}
		rc.seg = 0;
		break;
	case MM_ABS:
		rc.mem = RM_ABS;
		rc.disp = (int32_t)rip_target(e, i);
		break;
	default:
		op_mem_complex(e, i, mode);
		return;
	}
	put(e, buf, insn_recode(i, &rc, buf));
}

void op_copy(struct em *e, const struct insn *i)
{
	if (op_uses_rsp(i))
		op_rsp(e, i);
	else if (insn_has_mem(i))
		op_mem(e, i);
	else
		put(e, i->bytes, i->len);
}

/* xlat, maskmov: a segment prefix is all they need. */
void op_impl(struct em *e, const struct insn *i)
{
	struct recode rc = {
		.seg = i->seg == 0x65 ? 0x64 : 0x65, .reg = -1, .rm = -1, .opreg = -1, .vvvv = -1};
	uint8_t buf[32];

	if (i->seg == 0x64) {
		op_with_fs(e, i);
		return;
	}
	put(e, buf, insn_recode(i, &rc, buf));
}

void op_redirected(struct em *e, const struct insn *i)
{
	if (insn_class(i) == IC_MOFFS)
		op_moffs(e, i);
	else
		op_copy(e, i);
}

void op_moffs(struct em *e, const struct insn *i)
{
	uint64_t addr = (uint64_t)insn_imm(i);
	uint8_t buf[32];
	unsigned int n = 0;
	struct insn j;
	int32_t disp;

	if (i->imm_len == 4)
		addr = (uint32_t)addr;
	if (e->redirect) {
		addr = 0; /* any operand will do */
	} else if (i->seg != 0x64 || !fits32(addr)) {
		op_impl(e, i);
		return;
	}
	/* fs: and redirection: the same with a ModRM operand */
	disp = (int32_t)addr;
	buf[n++] = 0x64;
	if (i->p66)
		buf[n++] = 0x66;
	if (i->w)
		buf[n++] = 0x48;
	buf[n++] = (i->op & 2 ? 0x88 : 0x8a) | (i->op & 1);
	buf[n++] = 0x04;
	buf[n++] = 0x25;
	__builtin_memcpy(buf + n, &disp, 4);
	insn_decode(&j, buf, n + 4);
	op_mem(e, &j);
}
