/* SPDX-License-Identifier: MIT */
/*
 * rep movs and rep stos at a user site, in the cache: what a kernel copies its data with. Each
 * round takes what lies within one page of the destination and one of the source, if the small TLB
 * (user_tlb.c) knows both; all else - a page that it does not know, an element across pages,
 * backwards - is the longer way's, which carries out the rest of the string (user.c).
 *
 * Nothing of it can fault, for entries "through the window" are not used here. It can be kicked
 * anywhere:
 *	until rcx is the number of elements of this round, rsi, rdi and rcx are the guest's;
 *	from then on rcx says how far it is from the round's end, whose registers are in the
 *	vCPU page.
 */
#include "exec/ring3/translate/emit.h"

#define ABS(o)	  (XLATE_VCPU + (o))
#define TAG(w)	  ABS(XV_TLB_TAG + ((w) ? 0x800 : 0))
#define DELTA(w)  ABS(XV_TLB_DELTA + ((w) ? 0x800 : 0))
#define BAILS_MAX 8u
#define PAGE_NEG  0xfffff000u

/* Scratch, besides the string's own registers. */
#define A R_RAX
#define B R_RBX
#define D R_RDX

struct bails {
	uint8_t *site[BAILS_MAX]; /* rel32 of jumps to the longer way */
	unsigned int nr;
};

/* op r/m64 = dst, r64 = src, both of the low eight */
static void rr(struct em *e, unsigned int op, unsigned int dst, unsigned int src)
{
	e1(e, 0x48);
	e1(e, op);
	e1(e, 0xc0 | src << 3 | dst);
}

/* op r64, [index * 8 + table] */
static void r_table(struct em *e, unsigned int op, unsigned int r, unsigned int index,
		    uint32_t table)
{
	e1(e, 0x48);
	e1(e, op);
	e1(e, 0x04 | r << 3);
	e1(e, 0xc5 | index << 3);
	e4(e, table);
}

static void jcc_bail(struct em *e, struct bails *b, unsigned int cc)
{
	e1(e, 0x0f);
	e1(e, 0x80 | cc);
	b->site[b->nr++] = e->p;
	e4(e, 0);
}
#define CC_E  4u
#define CC_NE 5u

/* The arithmetic flags are what they were (rax is lost). */
static void restore_flags(struct em *e)
{
	em_load(e, A, ABS(XV_STR_FLAGS));
	e1(e, 0x04); /* add al, 0x7f: OF */
	e1(e, 0x7f);
	e1(e, 0x9e); /* sahf */
}

static void restore_regs(struct em *e)
{
	em_load(e, A, ABS(XV_SP0));
	em_load(e, D, ABS(XV_SP1));
	em_load(e, B, ABS(XV_SP2));
}

/* host = where the page of va is, as the small TLB says; by means of tmp */
static void look_up(struct em *e, struct bails *b, bool write, unsigned int va, unsigned int host,
		    unsigned int tmp)
{
	rr(e, 0x89, tmp, va); /* mov tmp, va; shr tmp, 12 */
	e1(e, 0x48);
	e1(e, 0xc1);
	e1(e, 0xe8 | tmp);
	e1(e, 12);
	e1(e, 0x0f); /* movzx host32, tmp8 */
	e1(e, 0xb6);
	e1(e, 0xc0 | host << 3 | tmp);
	r_table(e, 0x03, tmp, host, TAG(write)); /* add: 0 if it is that page's */
	jcc_bail(e, b, CC_NE);
	r_table(e, 0x8b, host, host, DELTA(write));
	e1(e, 0x48); /* cmp host, [shift] */
	e1(e, 0x3b);
	e1(e, 0x04 | host << 3);
	e1(e, 0x25);
	e4(e, ABS(XV_SHIFT));
	jcc_bail(e, b, CC_E);
	rr(e, 0x01, host, va); /* add */
}

/* r |= -4096: minus what is left of the page */
static void minus_left(struct em *e, unsigned int r)
{
	e1(e, 0x48);
	e1(e, 0x81);
	e1(e, 0xc8 | r);
	e4(e, PAGE_NEG);
}

/* rdx = elements of this round, from the host addresses A and (two) B, which is lost */
static void count_round(struct em *e, struct bails *b, bool two, unsigned int lg)
{
	rr(e, 0x89, D, A);
	minus_left(e, D);
	if (two) {
		minus_left(e, B);
		rr(e, 0x39, D, B); /* cmp rdx, rbx; cmovl rdx, rbx: the one that has less */
		e1(e, 0x48);
		e1(e, 0x0f);
		e1(e, 0x4c);
		e1(e, 0xc0 | D << 3 | B);
	}
	e1(e, 0x48); /* neg rdx */
	e1(e, 0xf7);
	e1(e, 0xd8 | D);
	if (lg) {
		e1(e, 0x48); /* shr rdx, lg */
		e1(e, 0xc1);
		e1(e, 0xe8 | D);
		e1(e, lg);
		jcc_bail(e, b, CC_E);
	}
	rr(e, 0x39, D, R_RCX); /* cmp rdx, rcx; cmova rdx, rcx */
	e1(e, 0x48);
	e1(e, 0x0f);
	e1(e, 0x47);
	e1(e, 0xc0 | D << 3 | R_RCX);
}

/* [slot] = r + rdx elements (rax is lost) */
static void store_end(struct em *e, unsigned int r, unsigned int lg, uint32_t slot)
{
	e1(e, 0x48); /* lea rax, [r + rdx * width] */
	e1(e, 0x8d);
	e1(e, 0x04 | A << 3);
	e1(e, lg << 6 | D << 3 | r);
	em_store(e, slot, A);
}

static void patch(uint8_t *rel32, const uint8_t *target)
{
	uint32_t rel = (uint32_t)(target - (rel32 + 4));

	__builtin_memcpy(rel32, &rel, 4);
}

/* The longer way, with the guest's registers as they are at the instruction. */
static void emit_bail(struct em *e, const struct bails *b, uint32_t site)
{
	uint8_t *hot = e->p, *stub = cold_alloc(e->x, 64);

	e->p = stub;
	restore_flags(e);
	restore_regs(e);
	em_exit(e, XC_USER | site << 8, e->pc);
	e->p = hot;
	for (unsigned int k = 0; k < b->nr; k++)
		patch(b->site[k], stub);
}

static bool can_inline(const struct xlate *x, const struct insn *i, uint32_t site)
{
	unsigned int kind = i->op & 0xfe;

	return insn_class(i) == IC_STR && (kind == 0xa4 || kind == 0xaa) && i->rep && !i->seg &&
	       !i->p67 && !(x->user[site].flags & SITE_STORE);
}

bool op_user_string(struct em *e, const struct insn *i, uint32_t site)
{
	const uint32_t sp = ACT_SP0(A) | ACT_SP1(D) | ACT_SP2(B), try = ABS(XV_STR_TRY);
	const uint32_t flags = sp | ACT_FIX(FIX_STR_FLAGS);
	const bool movs = (i->op & 0xfe) == 0xa4;
	const unsigned int lg = !(i->op & 1) ? 0 : i->w ? 3 : i->p66 ? 1 : 2;
	struct bails b = {.nr = 0};
	uint8_t *none, *top;

	if (!can_inline(e->x, i, site))
		return false;
	em_begin(e);
	em_step(e, 0);
	e1(e, 0xe3); /* jrcxz to a jump to the end (which is too far) */
	e1(e, 2);
	e1(e, 0xeb); /* jmp over it */
	e1(e, 5);
	e1(e, 0xe9);
	none = e->p;
	e4(e, 0);
	top = e->p;
	em_store(e, ABS(XV_SP0), A);
	em_store(e, ABS(XV_SP1), D);
	em_store(e, ABS(XV_SP2), B);
	em_store(e, ABS(XV_SLOT), R_RDI);
	/* Forwards? Without a look at the flags, which would need a stack: by a string. */
	em_step(e, sp | ACT_FIX(FIX_REG_SLOT) | ACT_REG(R_RDI));
	em_movi(e, R_RDI, try);
	e1(e, 0xaa); /* stosb */
	e1(e, 0x48); /* lea rdx, [rdi - (try + 1)] */
	e1(e, 0x8d);
	e1(e, 0x80 | D << 3 | R_RDI);
	e4(e, -(try + 1));
	em_load(e, R_RDI, ABS(XV_SLOT));
	em_step(e, sp);
	e1(e, 0x9f); /* lahf; seto al */
	e1(e, 0x0f);
	e1(e, 0x90);
	e1(e, 0xc0);
	em_store(e, ABS(XV_STR_FLAGS), A);
	em_step(e, flags);
	e1(e, 0x85); /* test edx, edx */
	e1(e, 0xc0 | D << 3 | D);
	jcc_bail(e, &b, CC_NE);
	look_up(e, &b, true, R_RDI, A, B);
	if (movs) {
		look_up(e, &b, false, R_RSI, B, D);
		em_store(e, ABS(XV_STR_SRC), B);
	}
	em_step(e, flags);
	count_round(e, &b, movs, lg);
	em_store(e, ABS(XV_STR_DST), A);
	store_end(e, R_RDI, lg, ABS(XV_STR_END_DI));
	if (movs)
		store_end(e, R_RSI, lg, ABS(XV_STR_END_SI));
	rr(e, 0x89, A, R_RCX); /* mov rax, rcx; sub rax, rdx */
	rr(e, 0x29, A, D);
	em_store(e, ABS(XV_STR_END_CX), A);
	em_step(e, flags);
	restore_flags(e);
	rr(e, 0x89, R_RCX, D);
	em_step(e, sp | ACT_FIX(FIX_STR_RUNS) | ACT_REG(lg | (movs ? STR_MOVS : 0)));
	em_load(e, R_RDI, ABS(XV_STR_DST));
	if (movs)
		em_load(e, R_RSI, ABS(XV_STR_SRC));
	restore_regs(e);
	e1(e, 0xf3);
	if (lg == 1)
		e1(e, 0x66);
	if (lg == 3)
		e1(e, 0x48);
	e1(e, i->op);
	em_load(e, R_RDI, ABS(XV_STR_END_DI));
	if (movs)
		em_load(e, R_RSI, ABS(XV_STR_END_SI));
	em_load(e, R_RCX, ABS(XV_STR_END_CX));
	em_step(e, 0);
	e1(e, 0xe3); /* jrcxz to the end */
	e1(e, 5);
	e1(e, 0xe9);
	e4(e, (uint32_t)(top - (e->p + 4)));
	patch(none, e->p);
	emit_bail(e, &b, site);
	return true;
}
