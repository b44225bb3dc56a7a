/* SPDX-License-Identifier: MIT */
/*
 * rsp as data. The hardware's rsp is the guest's plus S, so an instruction that reads or writes rsp
 * other than as a stack pointer or base needs care. S has 43 low zero bits: operands of 8 and 16
 * bits, and 32-bit results of reading esp, are right as they are.
 *
 * Without touching flags and without a scratch register:
 *	r = rsp:	mov r, -S;   lea r, [rsp + r]
 *	rsp = r:	mov rsp, S;  lea rsp, [rsp + r]
 */
#include "exec/ring3/translate/emit.h"

/* op r, [rsp + disp32] */
static void rsp_disp_32(struct em *e, unsigned int op, unsigned int r, uint32_t disp)
{
	e1(e, op);
	e1(e, 0x84 | r << 3);
	e1(e, 0x24);
	e4(e, disp);
}

static void rsp_disp(struct em *e, unsigned int op, unsigned int r, uint32_t disp)
{
	e1(e, 0x48);
	rsp_disp_32(e, op, r, disp);
}

/* mov between rsp and something: true if done. */
static bool rsp_mov(struct em *e, const struct insn *i)
{
	bool to_reg = i->op == 0x8b; /* destination is ModRM.reg */
	unsigned int dst, src;

	if (i->enc != IE_LEGACY || i->map || !i->w || (i->op != 0x89 && i->op != 0x8b))
		return false;
	if (i->modrm >= 0xc0) {
		dst = to_reg ? insn_reg(i) : insn_rm(i);
		src = to_reg ? insn_rm(i) : insn_reg(i);
		if (dst == src)
			return true;
		if (dst == R_RSP) {
			em_rsp_from(e, src, 0, ACT_FIX(FIX_RSP_ADD) | ACT_REG(src) | ACT_NEXT);
			return true;
		}
		em_step(e, 0);
		em_movi(e, dst, -(uint64_t)XLATE_SHIFT);
		em_step(e, ACT_FIX(FIX_REG_ADD) | ACT_REG(dst) | ACT_NEXT);
		em_lea2(e, dst, R_RSP, dst);
		return true;
	}
	if (to_reg && op_mem_plain(e, i)) {
		uint32_t raw = ACT_NEXT | ACT_FIX(FIX_RSP_RAW);
		struct insn j = *i;

		j.desc &= ~(3u << 8); /* not "rsp as data" for op_copy() */
		em_step(e, 0);
		op_copy(e, &j);
		em_step(e, raw);
		em_store(e, XLATE_VCPU + XV_SP0, R_RAX);
		em_step(e, raw | ACT_SP0(R_RAX));
		em_movi(e, R_RAX, XLATE_SHIFT);
		em_step(e, raw | ACT_SP0(R_RAX));
		em_lea2(e, R_RSP, R_RSP, R_RAX);
		em_step(e, ACT_NEXT | ACT_SP0(R_RAX));
		em_load(e, R_RAX, XLATE_VCPU + XV_SP0);
		return true;
	}
	return false;
}

/*
 * add and sub rsp, imm. The sign of a shifted rsp is not the guest's: the flags are made by the
 * same operation on the guest's value, beside the change of rsp itself, which stays one short step.
 */
static bool rsp_alu_imm(struct em *e, const struct insn *i)
{
	struct recode rc = {.reg = -1, .opreg = -1, .vvvv = -1};
	/* sub is for the beginning of a function, where rax is nothing yet */
	unsigned int sub = i->modrm >> 3 & 7, r = sub == 5 ? R_RAX : em_scratch(e), n;
	const uint32_t act = ACT_SP0(r);
	uint64_t imm = (uint64_t)insn_imm(i);
	uint8_t buf[32];

	if (i->enc != IE_LEGACY || i->map || !i->w || i->modrm < 0xc0 ||
	    (i->op != 0x81 && i->op != 0x83) || (sub != 0 && sub != 5))
		return false;
	if (sub == 5)
		imm = -imm;
	if (!fits32(imm))
		return false;
	rc.rm = (int)r;
	n = insn_recode(i, &rc, buf);
	em_step(e, 0);
	em_store(e, XLATE_VCPU + XV_SP0, r);
	em_guest_rsp(e, r, act);
	ebytes(e, buf, n);
	em_step(e, ACT_NEXT | ACT_FIX(FIX_RSP_REG) | ACT_REG(r) | act);
	rsp_disp(e, 0x8d, R_RSP, (uint32_t)imm);
	em_step(e, ACT_NEXT | act);
	em_load(e, r, XLATE_VCPU + XV_SP0);
	return true;
}

static void translate_replaced(struct em *e, const struct insn *j)
{
	if (insn_class(j) == IC_LEA)
		op_lea(e, j);
	else
		op_copy(e, j);
}

/*
 * Any instruction: replace rsp by a scratch register that holds the guest's value, and write it
 * back if it may have been changed.
 */
void op_rsp(struct em *e, const struct insn *i)
{
	struct recode rc = {.reg = -1, .rm = -1, .opreg = -1, .vvvv = -1};
	unsigned int r = op_scratch(i, 0, true), n;
	uint32_t d = i->desc;
	uint8_t buf[32] = {0};
	struct insn j;

	if (rsp_mov(e, i) || rsp_alu_imm(e, i))
		return;
	rc.seg = i->seg;
	if (i->o_modrm && ID_REG(d) == IK_GPR && insn_reg(i) == R_RSP)
		rc.reg = (int)r;
	if (i->o_modrm && i->modrm >= 0xc0 && ID_RM(d) == IK_GPR && insn_rm(i) == R_RSP)
		rc.rm = (int)r;
	if (ID_OPREG(d) == IK_GPR && ((i->op & 7) | i->b) == R_RSP)
		rc.opreg = (int)r;
	if (ID_VVVV(d) && i->vvvv == R_RSP)
		rc.vvvv = (int)r;
	n = insn_recode(i, &rc, buf);
	insn_decode(&j, buf, n > INSN_MAX ? INSN_MAX : n);

	em_step(e, 0);
	em_store(e, XLATE_VCPU + XV_SP2, r);
	e->ambient = ACT_SP2(r);
	if (d & ID_GPR_WRITE)
		e->ambient_next = ACT_FIX(FIX_RSP_REG) | ACT_REG(r);
	em_guest_rsp(e, r, 0);
	/* rip-relative operands: the copy must see the same target */
	translate_replaced(e, &j);
	if (d & ID_GPR_WRITE) {
		uint32_t act = ACT_NEXT | ACT_FIX(FIX_RSP_REG) | ACT_REG(r);

		em_rsp_from(e, r, act, act);
		e->ambient_next = 0;
	}
	em_step(e, ACT_NEXT);
	em_load(e, r, XLATE_VCPU + XV_SP2);
	e->ambient = 0;
}

static void lea_rip(struct em *e, const struct insn *i)
{
	uint64_t t = e->next + (uint64_t)insn_disp(i);
	unsigned int r = insn_reg(i);

	if (i->p67)
		t = (uint32_t)t;
	if (i->p66 && !i->w) {
		e1(e, 0x66);
		if (r >= 8)
			e1(e, 0x41);
		e1(e, 0xb8 | (r & 7));
		e1(e, (uint8_t)t);
		e1(e, (uint8_t)(t >> 8));
		return;
	}
	if (!i->w)
		t = (uint32_t)t;
	em_movi(e, r, r == R_RSP ? t + XLATE_SHIFT : t);
}

/* rsp as the destination; true if done. */
static bool lea_to_rsp(struct em *e, const struct insn *i)
{
	int base = insn_base(i), index = insn_index(i);

	if (i->p66 && !i->w) {
		ebytes(e, i->bytes, i->len);
		return true;
	}
	if (!i->w || i->p67)
		return false;
	if (base == R_RSP) { /* shifted on both sides */
		ebytes(e, i->bytes, i->len);
		return true;
	}
	if (base < 0 || index >= 0)
		return false;
	em_step(e, 0);
	em_movi(e, R_RSP, XLATE_SHIFT + (uint64_t)insn_disp(i));
	em_step(e, ACT_NEXT | ACT_FIX(FIX_RSP_ADD) | ACT_REG(base));
	em_lea2(e, R_RSP, R_RSP, (unsigned int)base);
	return true;
}

void op_lea(struct em *e, const struct insn *i)
{
	unsigned int dst = insn_reg(i);

	if (i->modrm >= 0xc0) {
		em_exit(e, XC_UD, e->pc);
		e->end = true;
		return;
	}
	if (insn_rip_relative(i)) {
		em_step_op(e);
		lea_rip(e, i);
		return;
	}
	if (dst == R_RSP) {
		if (!lea_to_rsp(e, i))
			op_rsp(e, i);
		return;
	}
	if (insn_base(i) != R_RSP || !i->w || i->p67) {
		em_step_op(e);
		ebytes(e, i->bytes, i->len);
		return;
	}
	if (insn_index(i) < 0 && !e->ambient) {
		em_step(e, 0);
		em_movi(e, dst, (uint64_t)insn_disp(i) - XLATE_SHIFT);
		em_step(e, ACT_NEXT | ACT_FIX(FIX_REG_ADD) | ACT_REG(dst));
		em_lea2(e, dst, R_RSP, dst);
	} else {
		unsigned int q =
			op_scratch(i, e->ambient ? 1u << (ACT_GET_SP2(e->ambient) - 1) : 0, true);
		struct recode rc = {.reg = -1,
				    .rm = -1,
				    .opreg = -1,
				    .vvvv = -1,
				    .mem = RM_SWAP_BASE,
				    .base = (int)q};
		uint8_t buf[32];
		unsigned int n = insn_recode(i, &rc, buf);

		em_step(e, 0);
		em_store(e, XLATE_VCPU + XV_SP0, q);
		em_guest_rsp(e, q, ACT_SP0(q));
		em_step(e, ACT_SP0(q));
		ebytes(e, buf, n);
		em_step(e, ACT_NEXT | ACT_SP0(q));
		em_load(e, q, XLATE_VCPU + XV_SP0);
	}
}

static unsigned int stack_reg(const struct insn *i)
{
	return i->o_modrm ? insn_rm(i) : (i->op & 7u) | i->b;
}

void op_push(struct em *e, const struct insn *i)
{
	if (stack_reg(i) != R_RSP || (i->p66 && !i->w)) {
		ebytes(e, i->bytes, i->len);
		return;
	}
	em_step(e, 0);
	em_store(e, XLATE_VCPU + XV_SP0, R_RAX);
	em_guest_rsp(e, R_RAX, ACT_SP0(R_RAX));
	em_step(e, ACT_SP0(R_RAX));
	e1(e, 0x50);
	em_step(e, ACT_NEXT | ACT_SP0(R_RAX));
	em_load(e, R_RAX, XLATE_VCPU + XV_SP0);
}

void op_pop(struct em *e, const struct insn *i)
{
	static const uint8_t mov_rsp_stack[16] = {0x48, 0x8b, 0x24, 0x24};
	struct insn j;

	if (stack_reg(i) != R_RSP || (i->p66 && !i->w)) {
		ebytes(e, i->bytes, i->len);
		return;
	}
	insn_decode(&j, mov_rsp_stack, 4); /* the increment does not survive */
	rsp_mov(e, &j);
}

/*
 * The same with 16-bit operands, which nobody uses: frame pointers of two bytes, of which the shift
 * has none. Of rbp only the lower two bytes change, however far the processor has counted down.
 */
static void enter_16(struct em *e, unsigned int size, unsigned int level)
{
	static const uint8_t walk[] = {0x48, 0x8d, 0x6d, 0xfe,	      /* lea rbp, [rbp - 2] */
				       0x66, 0x65, 0xff, 0x75, 0x00}; /* push word gs:[rbp] */
	static const uint8_t lea[] = {0x66, 0x8d, 0x6c, 0x24}, push[] = {0x66, 0x55};
	const uint32_t act = ACT_FIX(FIX_RBP_SP0_RSP_SP1);
	unsigned int k;

	em_step(e, 0);
	em_store(e, XLATE_VCPU + XV_SP0, R_RBP);
	em_store(e, XLATE_VCPU + XV_SP1, R_RSP);
	em_step(e, act);
	ebytes(e, push, sizeof(push));
	for (k = 1; k < level; k++) {
		em_step(e, act);
		ebytes(e, walk, sizeof(walk));
	}
	em_step(e, act);
	if (level) {
		ebytes(e, lea, sizeof(lea)); /* lea bp, [rsp + 2 * (level - 1)] */
		e1(e, 2 * (level - 1));
		ebytes(e, push, sizeof(push));
	}
	/* can the new top of stack be written? */
	e1(e, 0x66);
	rsp_disp_32(e, 0x8b, R_RBP, -size);
	e1(e, 0x66);
	rsp_disp_32(e, 0x89, R_RBP, -size);
	em_load(e, R_RBP, XLATE_VCPU + XV_SP0); /* its upper bits did not walk */
	ebytes(e, lea, sizeof(lea));
	e1(e, 2 * level);
	rsp_disp(e, 0x8d, R_RSP, -size);
}

/* enter imm16, imm8: everything is taken back from two slots until the end. */
void op_enter(struct em *e, const struct insn *i)
{
	unsigned int size = i->bytes[i->o_imm] | i->bytes[i->o_imm + 1] << 8;
	unsigned int level = i->bytes[i->o_imm + 2] & 31, k;
	const uint32_t act = ACT_FIX(FIX_RBP_SP0_RSP_SP1);

	if (i->p66 && !i->w) {
		enter_16(e, size, level);
		return;
	}
	em_step(e, 0);
	em_store(e, XLATE_VCPU + XV_SP0, R_RBP);
	em_step(e, 0);
	em_store(e, XLATE_VCPU + XV_SP1, R_RSP);
	em_step(e, act);
	e1(e, 0x55);
	for (k = 1; k < level; k++) {
		static const uint8_t walk[] = {0x48, 0x8d, 0x6d, 0xf8,	/* lea rbp, [rbp - 8] */
					       0x65, 0xff, 0x75, 0x00}; /* push gs:[rbp] */

		em_step(e, act);
		ebytes(e, walk, sizeof(walk));
	}
	if (level) {
		em_step(e, act);
		em_movi(e, R_RBP, 8ull * (level - 1) - XLATE_SHIFT);
		em_lea2(e, R_RBP, R_RSP, R_RBP);
		e1(e, 0x55);
	}
	/* the processor checks that the new top of stack can be written */
	em_step(e, act);
	rsp_disp(e, 0x8b, R_RBP, -size);
	rsp_disp(e, 0x89, R_RBP, -size);
	em_movi(e, R_RBP, 8ull * level - XLATE_SHIFT);
	em_lea2(e, R_RBP, R_RSP, R_RBP);
	rsp_disp(e, 0x8d, R_RSP, -size);
}

void op_leave(struct em *e, const struct insn *i)
{
	const uint32_t act = ACT_FIX(FIX_RSP_SP1);

	em_step(e, 0);
	em_store(e, XLATE_VCPU + XV_SP1, R_RSP);
	em_rsp_from(e, R_RBP, 0, act);
	em_step(e, act);
	if (i->p66 && !i->w)
		e1(e, 0x66);
	e1(e, 0x5d);
}

/* mov r, selector: from the vCPU page, where the guest's own selectors are */
static void mov_selector(struct em *e, const struct insn *i)
{
	static const uint8_t place[6] = {6, 0, 2, 4, 8, 10}; /* es, cs, ss, ds, fs, gs */
	unsigned int r = insn_rm(i);

	if (i->p66 && !i->w)
		e1(e, 0x66);
	if (r >= 8)
		e1(e, 0x44);
	if (i->p66 && !i->w) {
		e1(e, 0x8b);
	} else { /* movzx r32 */
		e1(e, 0x0f);
		e1(e, 0xb7);
	}
	e1(e, 0x04 | (r & 7) << 3);
	e1(e, 0x25);
	e4(e, XLATE_VCPU + XV_SEL + place[insn_reg(i) & 7]);
}

/* pushf: the hardware's flags, and those that only the core knows (AC, ID, ...) */
static void pushf(struct em *e)
{
	static const uint8_t load[] = {0x48, 0x8b, 0x04, 0x24}, store[] = {0x48, 0x89, 0x04, 0x24};
	const uint32_t spilled = ACT_SP0(R_RAX) | ACT_SP1(R_RCX);

	em_step(e, 0);
	e1(e, 0x9c);
	em_step(e, ACT_FIX(FIX_POP8));
	em_store(e, XLATE_VCPU + XV_SP0, R_RAX);
	em_store(e, XLATE_VCPU + XV_SP1, R_RCX);
	em_step(e, ACT_FIX(FIX_POP8) | spilled);
	ebytes(e, load, sizeof(load));
	em_load(e, R_RCX, XLATE_VCPU + XV_FLAGS);
	em_lea2(e, R_RAX, R_RAX, R_RCX);
	ebytes(e, store, sizeof(store));
	em_step(e, ACT_NEXT | spilled);
	em_load(e, R_RCX, XLATE_VCPU + XV_SP1);
	em_load(e, R_RAX, XLATE_VCPU + XV_SP0);
}

/* Linux reads its clocks with it. If it is interrupted in between it starts again. */
static void rdtscp(struct em *e, const struct insn *i)
{
	ebytes(e, i->bytes, i->len);
	em_load(e, R_RCX, XLATE_VCPU + XV_TSC_AUX);
}

void xlate_set_rdtscp(struct xlate *x, bool in_place, uint32_t aux)
{
	XV->tsc_aux = aux;
	if (x->rdtscp == in_place)
		return;
	x->rdtscp = in_place;
	xlate_flush(x);
}

bool op_sensitive(struct em *e, const struct insn *i)
{
	if (e->x->rdtscp && i->len == 3 && i->enc == IE_LEGACY && i->map == 1 && i->op == 0x01 &&
	    i->modrm == 0xf9) {
		rdtscp(e, i);
		return true;
	}
	if (i->enc != IE_LEGACY || i->map)
		return false;
	if (i->op == 0x9c && !i->p66) {
		pushf(e);
		return true;
	}
	if (i->op == 0x8c && i->modrm >= 0xc0 && insn_rm(i) != R_RSP && (i->modrm >> 3 & 7) < 6) {
		mov_selector(e, i);
		return true;
	}
	return false;
}
