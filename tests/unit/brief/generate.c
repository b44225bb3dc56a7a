/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "generate.h"

static unsigned int prefixes(uint8_t *p, uint64_t r)
{
	static const uint8_t some[] = {0x66, 0xf0, 0x64, 0x65, 0x3e, 0x2e, 0xf3, 0xf2, 0x67, 0x48};
	unsigned int n = 0;

	if (!(r & 7))
		p[n++] = 0x66;
	if (!(r & 0x38))
		p[n++] = 0xf0;
	if (!(r & 0x3c0))
		p[n++] = r & 0x400 ? 0x64 : 0x65;
	if (!(r & 0x3800))
		p[n++] = r & 0x4000 ? 0xf2 : 0xf3;
	if (!(r & 0x1f0000)) /* any of them, in any order, some of them twice */
		for (unsigned int k = 1 + rnd() % 5; k; k--)
			p[n++] = some[rnd() % sizeof(some)];
	if (r & 0x200000) {
		p[n++] = 0x40 | (r >> 24 & 15);
		if (!(r & 0xf0000000))
			p[n - 1] = 0x48;
	}
	return n;
}

static bool is_relative_jump(const struct insn *i)
{
	switch (insn_class(i)) {
	case IC_JMP:
	case IC_JCC:
	case IC_CALL:
		return true;
	default:
		return false;
	}
}

bool gen_insn(struct gen_insn *t, unsigned int map, unsigned int op, uint64_t va)
{
	const uint64_t r = rnd();
	uint8_t *p = t->bytes;
	unsigned int n;
	int32_t d;

	memset(t, 0, sizeof(*t));
	n = prefixes(p, r);
	if (map)
		p[n++] = 0x0f;
	p[n++] = (uint8_t)op;
	for (unsigned int k = n; k < 16 + n && k < sizeof(t->bytes); k++)
		p[k] = (uint8_t)rnd();
	if (!(r >> 32 & 3)) /* SIB, or rsp */
		p[n] = (p[n] & ~7) | 4;
	if (!(r >> 34 & 7)) /* rip, or rbp */
		p[n] = (p[n] & ~0xc7) | 5;
	if (!(r >> 37 & 7)) /* no base */
		p[n + 1] = (p[n + 1] & ~7) | 5;
	if (!(r >> 40 & 7)) /* no index */
		p[n + 1] = (p[n + 1] & ~0x38) | 0x20;
	t->len = insn_decode(&t->i, p, 15);
	if (!t->len || insn_class(&t->i) == IC_UD || insn_class(&t->i) == IC_LONG)
		return false;
	d = (int32_t)(rnd() & 0x7ff) - 0x400;
	if (insn_has_mem(&t->i) && t->i.disp_len == 4) {
		if (insn_rip_relative(&t->i))
			d += (int32_t)(DATA - va);
		else if (insn_base(&t->i) < 0)
			d += (int32_t)DATA;
		memcpy(p + t->i.o_disp, &d, 4);
	}
	if (is_relative_jump(&t->i) && t->i.imm_len == 4)
		memcpy(p + t->i.o_imm, &d, 4);
	t->len = insn_decode(&t->i, p, 15);
	return true;
}

void gen_regs(struct core_regs *r, const struct insn *i)
{
	int b = insn_base(i), x = insn_index(i);

	memset(r, 0, sizeof(*r));
	for (unsigned int k = 0; k < 16; k++) {
		uint64_t v = rnd();

		r->gpr[k] = v & 1	     ? rnd()
			    : v & 2	     ? DATA + (v >> 8 & 0x3ff)
			    : v & 4	     ? CODE + (v >> 8 & 0xfff)
			    : (v & 24) == 24 ? (uint64_t)(int64_t)(int8_t)(v >> 8)
					     : rnd() >> (v >> 8 & 63);
	}
	r->gpr[R_RSP] = STACK + (rnd() & 0x78);
	r->gpr[R_RSI] = DATA + (rnd() & 0x7ff);
	r->gpr[R_RDI] = DATA + (rnd() & 0x7ff);
	if (rnd() & 1)
		r->gpr[R_RCX] &= 0x3f;
	if (insn_class(i) == IC_LEAVE)
		r->gpr[R_RBP] = STACK - (rnd() & 0x3f8);
	if (insn_class(i) == IC_STR)
		r->gpr[R_RCX] = rnd() & 0x1ff;
	if ((i->op & 0xfe) == 0xf6 && (rnd() & 1)) /* a division that has a result */
		r->gpr[R_RDX] &= 0xff;
	if (insn_has_mem(i)) {
		if (x >= 0)
			r->gpr[x] = b >= 0 ? rnd() & 0xff : DATA >> (i->sib >> 6);
		if (x >= 0 && b >= 0 && (rnd() & 1))
			r->gpr[x] = -r->gpr[x];
		if (b >= 0 && b != R_RSP)
			r->gpr[b] = DATA + (rnd() & 0x3ff);
		if (b >= 0 && b == x)
			r->gpr[b] = DATA / (1 + (1u << (i->sib >> 6)));
	}
	/* added to operands that are near DATA already */
	r->gs_base = rnd() & 0x7f8;
	r->fs_base = rnd() & 0x7f8;
	r->rflags = 0x202 | (rnd() & 0x8d5);
	r->rip = CODE;
}

unsigned int gen_kind(const struct insn *i)
{
	struct brief_op op = {0};

	brief_compile(&B, &op, i);
	return op.kind;
}
