/* SPDX-License-Identifier: MIT */
/*
 * Control flow: jumps, calls, returns, and the verification prologue. See translate.h for how calls
 * and returns work.
 */
#include "exec/ring3/translate/emit.h"

#define ABS(o) (XLATE_VCPU + (o))

#define LINE	   64u
#define PAGE_BYTES 4096u
#define JCC_LEN	   6u

/* What indirect jumps and calls use and give back. */
#define R_TMP R_RAX

static uint64_t rel_target(const struct em *e, const struct insn *i)
{
	return e->next + (uint64_t)insn_imm(i);
}

void op_jmp(struct em *e, const struct insn *i)
{
	e1(e, 0xe9);
	em_edge(e, rel_target(e, i));
	e->end = true;
}

/*
 * Compare and branch are one operation for the processor unless they lie in two cache lines, and a
 * branch that does costs a short loop a third of its speed (measured: "switch", 1.45 or 0.85, by 32
 * bytes). So the comparison moves into the next line, before anything knows where the branch is.
 */
void op_keep_together(struct em *e)
{
	uint8_t *from = e->plain;
	unsigned int len, pad, k;

	if (!from)
		return;
	len = (unsigned int)(e->p - from);
	pad = -(unsigned int)(uintptr_t)from & (LINE - 1);
	if (pad >= len + JCC_LEN)
		return;
	for (k = len; k--;)
		from[pad + k] = from[k];
	e->p = from;
	em_align(e, LINE);
	e->p += len;
	em_longer(e, len + pad);
}

void op_jcc(struct em *e, const struct insn *i)
{
	e1(e, 0x0f);
	e1(e, 0x80 | (i->op & 15));
	em_edge(e, rel_target(e, i));
}

/* loop, jrcxz: an 8-bit displacement reaches only a jump next to it. */
void op_loop(struct em *e, const struct insn *i)
{
	em_step(e, 0);
	if (i->p67)
		e1(e, 0x67);
	e1(e, i->op);
	e1(e, 2);
	em_step(e, ACT_NEXT);
	e1(e, 0xeb);
	e1(e, 5);
	em_step(e, ACT_REL8(insn_imm(i)));
	e1(e, 0xe9);
	em_edge(e, rel_target(e, i));
}

/* A call to a stub of this fragment, which jumps to XV_TARGET. */
static void local_call(struct em *e)
{
	struct local_call *c = &e->calls[e->nr_calls++];

	em_step(e, ACT_FIX(FIX_CALL));
	e1(e, 0xe8);
	c->site = here(e);
	c->ret = e->next;
	e4(e, 0);
}

/* Push the guest's return address. */
static void push_return(struct em *e, uint32_t act)
{
	em_step(e, act);
	e1(e, 0x68);
	e4(e, e->next);
	if (fits32(e->next))
		return;
	em_step(e, ACT_FIX(FIX_POP8) | act);
	e1(e, 0xc7);
	e1(e, 0x44);
	e1(e, 0x24);
	e1(e, 0x04);
	e4(e, e->next >> 32);
}

/* The instruction at `gva`, if it was read together with those in work. */
static bool peek(const struct em *e, uint64_t gva, struct insn *ret)
{
	uint64_t o = gva - e->src_gva;

	return o + INSN_MAX < e->src_len && insn_decode(ret, e->src + o, INSN_MAX) &&
	       ret->enc == IE_LEGACY && !ret->map && !ret->npfx;
}

/*
 * Retpolines and return thunks, as compilers and Linux write them:
 *
 *		call 1f			call 1f
 *		(a trap for speculation)
 *	1:	mov [rsp], r		lea rsp, [rsp + 8]
 *		ret			ret
 *
 * They are jmp r and ret, without the misprediction that they are made for: the guest's kernel has
 * no secrets from itself here. What they leave below the stack pointer is left there as well.
 */
static bool retpoline(struct em *e, uint64_t target)
{
	uint8_t jmp[16] = {0x40, 0xff};
	struct insn a, b;

	/* step by step, or only as far as the source is compared */
	if (e->x->stepping || e->x->redo || (e->f->flags & FRAG_VERIFY))
		return false;
	if (target - e->next > 64 || !peek(e, target, &a) || !peek(e, target + a.len, &b) ||
	    insn_class(&b) != IC_RET || b.imm_len || !a.w || !a.has_sib || a.sib != 0x24 || a.b ||
	    a.xb)
		return false;
	if (a.op == 0x89 && a.modrm < 0x40 && insn_reg(&a) != R_RSP) {
		unsigned int r = insn_reg(&a);

		em_step(e, 0);
		e1(e, 0x48 | r >> 3 << 2); /* mov [rsp - 8], r */
		e1(e, 0x89);
		e1(e, 0x44 | (r & 7) << 3);
		e1(e, 0x24);
		e1(e, 0xf8);
		jmp[0] |= r >> 3;
		jmp[2] = 0xe0 | (r & 7);
		insn_decode(&b, jmp, 3);
		op_indirect(e, &b);
		return true;
	}
	if (a.op == 0x8d && insn_reg(&a) == R_RSP && a.disp_len == 1 && insn_disp(&a) == 8 &&
	    fits32(e->next)) {
		em_step(e, 0);
		e1(e, 0x48); /* mov qword [rsp - 8], imm32 */
		e1(e, 0xc7);
		e1(e, 0x44);
		e1(e, 0x24);
		e1(e, 0xf8);
		e4(e, e->next);
		op_ret(e, &b);
		return true;
	}
	return false;
}

/*
 * Pushes the guest's return address, and then calls: the processor remembers where to return to,
 * and the fragment of the target begins with an entry that takes the host's return address off the
 * stack again. That costs no further jump, which would take a place in the processor's branch
 * history (measured: guest code with recursion lost a tenth by it). It writes to the word below the
 * stack pointer; if that is not there the call is made again in the exact way.
 */
void op_call(struct em *e, const struct insn *i)
{
	uint64_t target = rel_target(e, i);

	if (!retpoline(e, target))
		op_call_to(e, target);
}

void op_call_to(struct em *e, uint64_t target)
{
	push_return(e, 0);
	if (!e->exact) {
		em_step(e, ACT_FIX(FIX_LOOKUP_POP8));
		e1(e, 0xe8);
		em_call_edge(e, target);
		return;
	}
	em_step(e, ACT_FIX(FIX_POP8));
	e1(e, 0xe9);
	em_edge(e, target);
}

/*
 * r = [(r + 2 GiB - 1) * 4 + table]: the host address of guest address r. `act` is the action of
 * the table access itself, the only one of these that can fault.
 */
static void emit_lookup(struct em *e, unsigned int r, uint32_t act)
{
	const unsigned int rx = r >> 3;

	e1(e, 0x48 | rx << 2 | rx); /* lea r, [r + 0x7fffffff] */
	e1(e, 0x8d);
	e1(e, 0x80 | (r & 7) << 3 | (r & 7));
	if ((r & 7) == R_RSP)
		e1(e, 0x24);
	e4(e, 0x7fffffff);
	em_step(e, act);
	if (rx)
		e1(e, 0x46);
	e1(e, 0x8b);
	e1(e, 0x04 | (r & 7) << 3);
	e1(e, 0x85 | (r & 7) << 3);
	e4(e, XLATE_TABLE);
}

void op_load_target(struct em *e, const struct insn *i, unsigned int tmp)
{
	unsigned int r = insn_rm(i), n = 0, k;
	uint8_t buf[32] = {0};
	struct insn j;

	if (i->modrm >= 0xc0) {
		if (r == R_RSP) {
			em_guest_rsp(e, tmp, 0);
		} else if (r != tmp) {
			em_step(e, 0);
			e1(e, 0x48 | tmp >> 3 << 2 | r >> 3);
			e1(e, 0x8b);
			e1(e, 0xc0 | (tmp & 7) << 3 | (r & 7));
		}
		return;
	}
	/* the same operand, with mov; 66 does not count */
	if (i->p67)
		buf[n++] = 0x67;
	if (i->seg)
		buf[n++] = i->seg;
	buf[n++] = 0x48 | tmp >> 3 << 2 | i->xb >> 2 | i->b >> 3;
	buf[n++] = 0x8b;
	buf[n++] = (i->modrm & ~0x38) | (tmp & 7) << 3;
	if (i->has_sib)
		buf[n++] = i->sib;
	for (k = 0; k < i->disp_len; k++)
		buf[n++] = i->bytes[i->o_disp + k];
	insn_decode(&j, buf, n);
	op_copy(e, &j);
}

/* jmp [target] in the cache; the lookup has stored it there */
static void jmp_target(struct em *e)
{
	e1(e, 0xff);
	e1(e, 0x24);
	e1(e, 0x25);
	e4(e, ABS(XV_TARGET));
}

/* The target is in a register: it can do the lookup itself, and XV_SLOT is its spill slot, too. */
static void lookup_in_register(struct em *e, unsigned int r)
{
	em_step(e, 0);
	em_store(e, ABS(XV_SLOT), r);
	em_step(e, ACT_FIX(FIX_REG_SLOT) | ACT_REG(r));
	emit_lookup(e, r, ACT_FIX(FIX_LOOKUP_REG) | ACT_REG(r));
	em_step(e, ACT_FIX(FIX_REG_SLOT) | ACT_REG(r));
	em_store(e, ABS(XV_TARGET), r);
	em_load(e, r, ABS(XV_SLOT));
}

/* XV_SLOT = the target; XV_TARGET = its host address, unless in exact mode */
static void lookup_operand(struct em *e, const struct insn *i)
{
	if (i->modrm >= 0xc0 && insn_rm(i) != R_RSP && !e->exact) {
		lookup_in_register(e, insn_rm(i));
		return;
	}
	em_step(e, 0);
	em_store(e, ABS(XV_SP2), R_TMP);
	e->ambient = ACT_SP2(R_TMP);
	op_load_target(e, i, R_TMP);
	em_step(e, 0);
	em_store(e, ABS(XV_SLOT), R_TMP);
	if (!e->exact) {
		emit_lookup(e, R_TMP, ACT_FIX(FIX_LOOKUP));
		em_step(e, 0);
		em_store(e, ABS(XV_TARGET), R_TMP);
	}
	em_load(e, R_TMP, ABS(XV_SP2));
	e->ambient = 0;
}

void op_indirect(struct em *e, const struct insn *i)
{
	bool call = insn_class(i) == IC_CALLI;

	if (call && op_icall(e, i))
		return;
	e->end = !call;
	lookup_operand(e, i);
	if (!e->exact) {
		if (call) {
			local_call(e);
		} else {
			em_step(e, 0);
			jmp_target(e);
		}
		return;
	}
	if (call)
		push_return(e, 0);
	em_step(e, ACT_FIX(FIX_SLOT));
	em_jmp(e, TRAMP_SLOT);
}

/* mov r, [rsp] */
static void load_return(struct em *e, unsigned int r)
{
	e1(e, 0x48 | r >> 3 << 2);
	e1(e, 0x8b);
	e1(e, 0x04 | (r & 7) << 3);
	e1(e, 0x24);
}

/* push r, pop r (of those of em_scratch()) */
static void stack_op(struct em *e, unsigned int op, unsigned int r)
{
	if (r >= 8)
		e1(e, 0x41);
	e1(e, op | (r & 7));
}

/*
 * ret, ret n: look the return address up, write the host address over it and return to that.
 * (`push` and `ret 8` would leave it alone, but `ret n` costs more than the store to XV_SLOT, where
 * a miss finds the guest's.) By pop and push, because the first mention of rsp as a register after
 * a call or a push costs more than they do: the processor counts rsp elsewhere.
 */
static void ret_fast(struct em *e, unsigned int n)
{
	const unsigned int r = em_scratch(e);
	const uint32_t act = ACT_SP0(r);

	em_step(e, 0);
	em_store(e, ABS(XV_SP0), r);
	em_step(e, act);
	stack_op(e, 0x58, r);
	em_step(e, act | ACT_FIX(FIX_PUSH8));
	em_store(e, ABS(XV_SLOT), r);
	if (n) {
		e1(e, 0x48); /* mov qword [retimm], n */
		e1(e, 0xc7);
		e1(e, 0x04);
		e1(e, 0x25);
		e4(e, ABS(XV_RETIMM));
		e4(e, n);
	}
	emit_lookup(e, r, act | ACT_FIX(FIX_LOOKUP_PUSH8));
	/* The stack may not be writable, which is not the guest's problem: complete it. */
	em_step(e, act | ACT_FIX(n ? FIX_POPPEDI : FIX_SLOT));
	stack_op(e, 0x50, r);
	em_step(e, act | ACT_FIX(n ? FIX_RETI : FIX_RET));
	em_load(e, r, ABS(XV_SP0));
	em_step(e, ACT_FIX(n ? FIX_RETI : FIX_RET));
	if (!n) {
		e1(e, 0xc3);
		return;
	}
	e1(e, 0xc2);
	e1(e, n & 0xff);
	e1(e, n >> 8);
}

static void ret_exact(struct em *e, unsigned int n)
{
	const uint32_t act = ACT_SP0(R_TMP);

	em_step(e, 0);
	em_store(e, ABS(XV_SP0), R_TMP);
	em_step(e, act);
	load_return(e, R_TMP);
	em_store(e, ABS(XV_SLOT), R_TMP);
	em_load(e, R_TMP, ABS(XV_SP0));
	em_step(e, 0);
	e1(e, 0x48); /* lea rsp, [rsp + 8 + n] */
	e1(e, 0x8d);
	e1(e, 0xa4);
	e1(e, 0x24);
	e4(e, 8 + n);
	em_step(e, ACT_FIX(FIX_SLOT));
	em_jmp(e, TRAMP_SLOT);
}

void op_ret(struct em *e, const struct insn *i)
{
	unsigned int n = i->imm_len ? (unsigned int)insn_imm(i) & 0xffff : 0;

	e->end = true;
	if (e->exact)
		ret_exact(e, n);
	else
		ret_fast(e, n);
}

static void align(struct em *e, unsigned int n)
{
	while ((uintptr_t)e->p & (n - 1))
		e1(e, 0xcc);
}

/* The call stubs of the fragment, all of the same size: recover.c counts them. */
void op_call_stubs(struct em *e)
{
	unsigned int k;

	if (e->nr_calls)
		align(e, 16);
	e->f->body_end = here(e);
	for (k = 0; k < e->nr_calls; k++) {
		struct local_call *c = &e->calls[k];
		uint32_t rel = here(e) - (c->site + 4);

		__builtin_memcpy((void *)(uintptr_t)c->site, &rel, 4);
		if (fits32(e->f->gva)) { /* mov qword [rsp], imm32 */
			e1(e, 0x48);
			e1(e, 0xc7);
			e1(e, 0x04);
			e1(e, 0x24);
			e4(e, c->ret);
		} else {
			e1(e, 0xc7);
			e1(e, 0x04);
			e1(e, 0x24);
			e4(e, c->ret);
			e1(e, 0xc7);
			e1(e, 0x44);
			e1(e, 0x24);
			e1(e, 0x04);
			e4(e, c->ret >> 32);
		}
		jmp_target(e);
		align(e, fits32(e->f->gva) ? 16 : 32);
	}
	e->f->end = here(e);
}

/*
 * Is a whole page cleared, by the looks of what is in front of it? That is how kernels do it: mov
 * $4096, %ecx; xor %eax, %eax; rep stosb, or with a width of eight. Only a guess: the bytes may be
 * another instruction's end.
 */
static bool clears_page(const struct em *e, const struct insn *i)
{
	const unsigned int at = e->pc & (PAGE_BYTES - 1);
	struct xlate_code code;
	const uint8_t *p;
	uint32_t n;

	if ((i->op & 0xfe) != 0xaa || i->rep != 0xf3 || i->p66 || i->p67 || (i->op & 1 && !i->w))
		return false;
	/* (a fragment may begin with it: it was interrupted once) */
	if (at < 7 || e->x->cfg.fetch(e->x->cfg.priv, e->pc - 7, &code))
		return false;
	p = code.ptr + at - 7;
	if (p[0] != 0xb9 || p[5] != 0x31 || p[6] != 0xc0)
		return false;
	__builtin_memcpy(&n, p + 1, 4);
	return n == (i->op & 1 ? PAGE_BYTES / 8 : PAGE_BYTES);
}

/*
 * The processor's own strings have few misses of the cache under way at a time. With all lines of a
 * page asked for first one that was not in use lately takes 320 ns instead of 560, one that is in
 * the cache 10 more. And whoever clears one page most often clears the next one soon: as many lines
 * of it as can be under way cost nothing, more of them would be waited for.
 */
#define LINES_AHEAD 16u

static void prefetch_lines(struct em *e, uint32_t bytes, uint32_t act)
{
	for (uint32_t at = 0; at < bytes; at += LINE) {
		em_step(e, act);
		e1(e, 0x0f); /* prefetchw at(%rdi) */
		e1(e, 0x0d);
		e1(e, 0x8f);
		e4(e, at);
	}
}

/*
 * String instructions: es:rdi takes no override, so rdi (and rsi, to keep the fast microcode) are
 * shifted around the instruction, by lea because flags must survive. A source at fs: is shifted by
 * the guest's FS base as well.
 */
void op_string(struct em *e, const struct insn *i)
{
	unsigned int kind = i->op & 0xfe, n;
	bool di = kind != 0xac, si = kind != 0xaa && kind != 0xae, fs = si && i->seg == 0x64;
	bool shift_si = si && i->seg != 0x65;
	struct recode rc = {.reg = -1,
			    .rm = -1,
			    .opreg = -1,
			    .vvvv = -1,
			    .drop67 = true,
			    .seg = si && !shift_si ? 0x64 : 0};
	const uint32_t sp = ACT_SP0(R_RDX), par = ACT_REG(fs);
	const uint32_t only_si = sp | ACT_FIX(FIX_SI) | par, only_di = sp | ACT_FIX(FIX_DI);
	const uint32_t both = shift_si ? sp | par | ACT_FIX(di ? FIX_SIDI : FIX_SI) : only_di;
	uint8_t buf[32], *skip = NULL;
	bool clears;

	if (!di && !fs) { /* lods takes an override */
		op_impl(e, i);
		return;
	}
	n = insn_recode(i, &rc, buf);
	if (i->p67) { /* 32-bit rdi, rsi, rcx */
		static const uint8_t trunc[] = {0x89, 0xff, 0x89, 0xf6, 0x89, 0xc9};

		em_step(e, 0);
		if (i->rep) { /* jecxz: without a single iteration they stay as they are */
			e1(e, 0x67);
			e1(e, 0xe3);
			skip = e->p;
			e1(e, 0);
		}
		if (di)
			ebytes(e, trunc, 2);
		if (si)
			ebytes(e, trunc + 2, 2);
		if (i->rep)
			ebytes(e, trunc + 4, 2);
	}
	em_step(e, 0);
	em_store(e, ABS(XV_SP0), R_RDX);
	em_step(e, sp);
	em_movi(e, R_RDX, XLATE_SHIFT);
	if (di) {
		em_lea2(e, R_RDI, R_RDI, R_RDX);
		em_step(e, only_di);
	}
	if (fs)
		em_load(e, R_RDX, ABS(XV_FS_SHIFT));
	if (shift_si)
		em_lea2(e, R_RSI, R_RSI, R_RDX);
	clears = clears_page(e, i);
	if (clears)
		prefetch_lines(e, PAGE_BYTES, both);
	em_step(e, both);
	ebytes(e, buf, n);
	em_step(e, ACT_NEXT | both);
	if (clears)
		prefetch_lines(e, LINES_AHEAD * LINE, ACT_NEXT | both);
	if (di) {
		em_movi(e, R_RDX, -(uint64_t)XLATE_SHIFT);
		em_lea2(e, R_RDI, R_RDI, R_RDX);
	}
	if (shift_si) {
		em_step(e, ACT_NEXT | only_si);
		if (fs)
			em_load(e, R_RDX, ABS(XV_FS_UNSHIFT));
		em_lea2(e, R_RSI, R_RSI, R_RDX);
	}
	em_step(e, ACT_NEXT | sp);
	em_load(e, R_RDX, ABS(XV_SP0));
	if (skip)
		*skip = (uint8_t)(e->p - skip - 1);
}
