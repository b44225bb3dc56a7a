/* SPDX-License-Identifier: MIT */
/*
 * Runs of stores. A store with a segment base keeps one of the processor's two store units to
 * itself (measured: one a cycle instead of two, which made copying structures take 1.50 of native).
 * So the addresses of four and more of them in a row with the same base register are made from one
 * that has the shift added:
 *
 *		mov [SP0], r
 *		mov r, [SHIFT]
 *		lea r, [r + BASE]
 *		mov [r + ...], ...	for each of them
 *		mov r, [SP0]
 *
 * Each guest instruction is recovered by itself, but only the first one can be entered: the others
 * are not in the lookup tables, and a jump to one of them makes a fragment of its own.
 */
#include "exec/ring3/translate/emit.h"

#define GROUP_MIN 4u
#define GROUP_MAX 16u
#define LOOK_ON	  6u /* instructions behind it that should not wait for r */

/* mov [base + ...], register or immediate, which changes no register */
static bool is_store(const struct insn *i)
{
	if (i->enc != IE_LEGACY || i->map || insn_class(i) != IC_COPY || !insn_has_mem(i) ||
	    i->p67 || i->seg || i->lock || i->rep || insn_base(i) < 0 || insn_base(i) == R_RSP)
		return false;
	switch (i->op) {
	case 0x88: /* ah..bh cannot be named beside r8..r15 */
		return i->rex || insn_reg(i) < 4;
	case 0x89:
		return insn_reg(i) != R_RSP;
	default:
		return i->op == 0xc6 || i->op == 0xc7;
	}
}

/* Registers that it names. */
static uint32_t named(const struct insn *i)
{
	uint32_t mask = 0;

	if (i->o_modrm) {
		mask |= 1u << insn_reg(i);
		if (!insn_has_mem(i))
			mask |= 1u << insn_rm(i);
		if (insn_has_mem(i) && insn_base(i) >= 0)
			mask |= 1u << insn_base(i);
		if (insn_has_mem(i) && insn_index(i) >= 0)
			mask |= 1u << insn_index(i);
	}
	if (ID_OPREG(i->desc))
		mask |= 1u << ((i->op & 7) | i->b);
	return mask;
}

static int free_register(uint32_t used)
{
	static const uint8_t regs[] = {R_RDI, R_RSI, R_R11, R_R10, R_R9,  R_R8,
				       R_RDX, R_RCX, R_R15, R_R14, R_RBX, R_RAX};
	unsigned int k;

	for (k = 0; k < sizeof(regs); k++)
		if (!(used >> regs[k] & 1))
			return regs[k];
	return -1;
}

/* The instruction at e->pc + *off of those in work. */
static bool next_insn(const struct em *e, unsigned int off, struct insn *ret)
{
	const uint64_t o = e->pc + off - e->src_gva;

	return o < e->source.len && insn_decode(ret, e->src + o, e->source.len - (unsigned int)o) &&
	       ((e->pc + off) ^ e->f->gva) < 4096;
}

void op_group_find(struct em *e, const struct insn *first, unsigned int max)
{
	uint32_t used = 0, later;
	unsigned int n = 0, off = 0, k;
	struct insn i = *first;
	int r;

	if (!is_store(first))
		return;
	do {
		if (n && xlate_lookup(e->x, e->pc + off))
			break;
		if (xlate_user_site(e->x, e->pc + off, &i))
			break;
		used |= named(&i);
		off += i.len;
		n++;
	} while (n < max && n < GROUP_MAX && next_insn(e, off, &i) && is_store(&i) &&
		 insn_base(&i) == insn_base(first));
	if (n < GROUP_MIN)
		return;
	later = used;
	for (k = 0; k < LOOK_ON && next_insn(e, off, &i); k++) {
		later |= named(&i);
		off += i.len;
	}
	r = free_register(later);
	if (r < 0)
		r = free_register(used);
	if (r < 0)
		return;
	e->group_reg = (unsigned int)r;
	e->group_left = n;
	e->group_new = true;
}

void op_group(struct em *e, const struct insn *i)
{
	const unsigned int r = e->group_reg;
	const struct recode rc = {
		.reg = -1, .rm = -1, .opreg = -1, .vvvv = -1, .mem = RM_SWAP_BASE, .base = (int)r};
	uint8_t buf[32];
	unsigned int n = insn_recode(i, &rc, buf);

	if (e->group_new) {
		em_step(e, 0);
		em_store(e, XLATE_VCPU + XV_SP0, r);
		em_step(e, ACT_SP0(r));
		em_load(e, r, XLATE_VCPU + XV_SHIFT);
		em_lea2(e, r, r, (unsigned int)insn_base(i));
		e->group_new = false;
	}
	em_step(e, ACT_SP0(r));
	ebytes(e, buf, n);
	if (--e->group_left)
		return;
	em_step(e, ACT_NEXT | ACT_SP0(r));
	em_load(e, r, XLATE_VCPU + XV_SP0);
}
