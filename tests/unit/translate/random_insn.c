/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "random_insn.h"

/* Deterministic, not privileged, and meaningful to run natively in this process? */
static bool runnable(const struct insn *i)
{
	if (!VECTORS_COMPARED && (i->desc & ID_FPU))
		return false;
	switch (insn_class(i)) {
	case IC_COPY:
	case IC_NOP:
	case IC_IMPL:
	case IC_MOFFS:
	case IC_LEA:
	case IC_STR:
	case IC_PUSHR:
	case IC_POPR:
	case IC_ENTER:
	case IC_LEAVE:
		break;
	default:
		return false;
	}
	if (i->enc == IE_LEGACY && i->map == 1) {
		if (i->op == 0x31) /* rdtsc */
			return false;
		if (i->op == 0xc7 && (i->modrm >= 0xc0 || (i->modrm >> 3 & 7) != 1))
			return false; /* rdrand, xsavec, ... */
		if (i->op == 0xae || i->op == 0x01)
			return false; /* xsave, xrstor, fences: their own test */
		if (i->op == 0x0d || i->op == 0x18 || i->op == 0x1c)
			return false; /* prefetches: a fault cannot be compared, nothing to see */
	}
	if (i->enc == IE_LEGACY && i->map == 0 && i->modrm < 0xc0 &&
	    ((i->op == 0xd9 && (insn_reg(i) & 6) == 4) ||
	     (i->op == 0xdd && (insn_reg(i) & 7) == 4)))
		return false; /* fldenv, fldcw, frstor: would unmask exceptions at random */
	return true;
}

/* The same instruction with one of its prefixes repeated, up to 15 bytes. */
static void lengthen(struct test_insn *t)
{
	const struct insn *i = &t->i;
	unsigned int n = INSN_MAX - t->len, k;
	uint8_t b = i->lock  ? 0xf0
		    : i->rep ? i->rep
		    : i->p67 ? 0x67
		    : i->p66 ? 0x66
		    : i->seg ? i->seg
			     : 0x3e;

	memmove(t->bytes + n, t->bytes, t->len);
	for (k = 0; k < n; k++)
		t->bytes[k] = b;
	t->len = insn_decode(&t->i, t->bytes, INSN_MAX);
}

/* Prefixes in an order that no assembler would write, some of them twice; REX that does not count.
 */
static unsigned int soup(uint8_t *p)
{
	static const uint8_t some[] = {0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x2e, 0x36, 0x3e, 0x26,
				       0x64, 0x65, 0x66, 0x67, 0x65, 0x48, 0x41, 0x4f};
	unsigned int n = 1 + rnd() % 6, k;

	for (k = 0; k < n; k++)
		p[k] = some[rnd() % sizeof(some)];
	return n;
}

/* A random encoding around an opcode: prefixes, REX, ModRM, SIB, displacement, immediate. */
bool random_insn(struct test_insn *t, int enc, unsigned int map, unsigned int op)
{
	uint8_t *p = t->bytes;
	unsigned int n = 0, rex = rnd() & 1 ? 0x40 | (rnd() & 15) : 0, kind;
	uint64_t r = rnd();

	memset(t, 0, sizeof(*t));
	if (!(r >> 44 & 15) && (enc == IE_LEGACY || (r >> 48 & 1)))
		n = soup(p);
	else if (!(r & 7))
		p[n++] = 0x65;
	else if (!(r & 0x38))
		p[n++] = 0x64;
	else if (!(r & 0x1c0))
		p[n++] = 0x3e;
	if (!(r & 0x1e00))
		p[n++] = 0x67;
	switch (enc) {
	case IE_LEGACY:
		if (!(r & 0x6000))
			p[n++] = 0x66;
		if (!(r & 0x18000))
			p[n++] = r & 0x20000 ? 0xf2 : 0xf3;
		if (!(r & 0x3c0000))
			p[n++] = 0xf0;
		if (rex)
			p[n++] = (uint8_t)rex;
		if (map)
			p[n++] = 0x0f;
		if (map == 2)
			p[n++] = 0x38;
		if (map == 3)
			p[n++] = 0x3a;
		break;
	case IE_VEX2:
		p[n++] = 0xc5;
		p[n++] = (uint8_t)rnd();
		if (r & 0x800000)
			p[n - 1] |= 0x78;
		break;
	case IE_VEX3:
		p[n++] = 0xc4;
		p[n++] = (uint8_t)((rnd() & 0xe0) | map);
		p[n++] = (uint8_t)rnd();
		if (r & 0x800000)
			p[n - 1] |= 0x78;
		break;
	default:
		p[n++] = 0x62;
		p[n++] = (uint8_t)((rnd() & 0xf0) | map);
		p[n++] = (uint8_t)rnd() | 4;
		if (r & 0x800000)
			p[n - 1] |= 0x78;
		p[n++] = (uint8_t)rnd();
		break;
	}
	p[n++] = (uint8_t)op;
	for (kind = n; kind < 16; kind++)
		p[kind] = (uint8_t)rnd();
	/* favour rsp in its various places */
	if (!(r >> 32 & 3))
		p[n] = (p[n] & ~7) | 4;
	if (!(r >> 34 & 3))
		p[n] = (p[n] & ~0x38) | 0x20;
	if (!(r >> 36 & 3))
		p[n + 1] = (p[n + 1] & ~7) | 4;
	t->len = insn_decode(&t->i, p, 15);
	if (!t->len || insn_class(&t->i) == IC_UD || !runnable(&t->i))
		return false;
	if (insn_has_mem(&t->i)) {
		const struct insn *i = &t->i;
		int32_t d = (int32_t)(rnd() & 0x7ff) - 0x400;

		if (i->disp_len == 4) {
			if (insn_rip_relative(i))
				d += (int32_t)(DATA - CODE);
			else if (insn_base(i) < 0)
				d += (int32_t)DATA;
			memcpy(p + i->o_disp, &d, 4);
		}
		insn_decode(&t->i, p, 15);
	}
	if (insn_class(&t->i) == IC_MOFFS) {
		uint64_t a = DATA + (rnd() & 0x3ff);

		memcpy(p + t->i.o_imm, &a, t->i.imm_len);
		insn_decode(&t->i, p, 15);
	}
	if (insn_class(&t->i) == IC_ENTER)
		p[t->i.o_imm + 1] &= 1;
	insn_decode(&t->i, p, 15);
	if (!(r >> 40 & 15))
		lengthen(t);
	return true;
}

void random_regs(struct core_regs *r, const struct insn *i)
{
	unsigned int k;

	memset(r, 0, sizeof(*r));
	for (k = 0; k < 16; k++)
		r->gpr[k] = rnd() & 1 ? rnd() : DATA + (rnd() & 0x3f8);
	r->gpr[R_RSP] = STACK + (rnd() & 0x78);
	r->gpr[R_RSI] = DATA + (rnd() & 0x7ff);
	r->gpr[R_RDI] = DATA + (rnd() & 0x7ff);
	if (insn_class(i) == IC_LEAVE || insn_class(i) == IC_ENTER)
		r->gpr[R_RBP] = STACK - 0x200;
	if (insn_class(i) == IC_IMPL)
		r->gpr[R_RBX] = DATA;
	if (insn_class(i) == IC_STR && i->rep)
		r->gpr[R_RCX] = rnd() & 0xff;
	if (insn_has_mem(i)) {
		int b = insn_base(i), x = insn_index(i);

		if (x >= 0 && x != R_RSP)
			r->gpr[x] = b >= 0 ? rnd() & 0xff : DATA >> (i->sib >> 6);
		if (b >= 0 && b != R_RSP)
			r->gpr[b] = DATA + (rnd() & 0x3ff);
		if (b >= 0 && b == x)
			r->gpr[b] = DATA / (1 + (1u << (i->sib >> 6)));
		if (i->map == 1 && i->enc == IE_LEGACY &&
		    (i->op == 0xa3 || i->op == 0xab || i->op == 0xb3 || i->op == 0xbb))
			r->gpr[insn_reg(i)] &= 0x3ff; /* bt: a bit index */
		if (b >= 0 && b != R_RSP && b == (int)insn_reg(i) && i->map == 1)
			r->gpr[b] = DATA;
	}
	/* segment bases: added to operands that are near DATA already, so keep them small */
	r->gs_base = rnd() & 0x7f8;
	r->fs_base = rnd() & 0x7f8;
	r->rflags = 0x202 | (rnd() & 0x8d5) | (rnd() & 7 ? 0 : 0x400);
	r->rip = CODE;
}

void scrub_fpu(uint8_t *fx)
{
	memset(fx + 6, 0, 18);
	memset(fx + 416, 0, 96);
	memset(fx + 512, 0, 64);
}

void random_fpu(uint8_t *fx, const struct insn *i)
{
	unsigned int k;

	fpu_save(fx);
	for (k = 160; k < 416; k++)
		fx[k] = (uint8_t)rnd();
	for (k = 576; k < FPU_SIZE; k++)
		fx[k] = (uint8_t)rnd();
	if (i->desc & ID_VSIB) { /* small indexes, but for the mask */
		for (k = 160; k < FPU_SIZE; k += 8)
			if (k < 160 + 16u * i->vvvv || k >= 176 + 16u * i->vvvv)
				memset(fx + k + 1, 0, 7);
	}
	fx[24] = 0x80; /* MXCSR: all masked */
	fx[25] = 0x1f;
	fx[0] = 0x7f; /* FCW */
	fx[1] = 0x03;
	fx[2] = fx[3] = fx[4] = 0; /* FSW, empty stack */
	memset(fx + 8, 0, 16);	   /* addresses */
	memset(fx + 512, 0, 64);
	*(uint64_t *)(fx + 512) = fpu_mask();
}

void show_insn(const struct test_insn *t, const char *what)
{
	unsigned int k;

	printf("%s:", what);
	for (k = 0; k < t->len; k++)
		printf(" %02x", t->bytes[k]);
	printf("\n");
}
