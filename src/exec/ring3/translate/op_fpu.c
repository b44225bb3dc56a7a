/* SPDX-License-Identifier: MIT */
/*
 * 1. FPU instructions while somebody else's state may be in the FPU: a gate in front of each run of
 * them leaves if XV_FPU_TRAP is set. It is a check and not a patch, because the monitor changes its
 * mind at every change between guest user and guest kernel, and the guest's kernel executes very
 * few of them.
 */
#include "exec/ring3/translate/emit.h"

#define ABS(o) (XLATE_VCPU + (o))

/* The way out: rcx back, then leave. */
static uint32_t gate_exit(struct em *e)
{
	uint8_t *hot = e->p, *stub = cold_alloc(e->x, 64);

	e->p = stub;
	em_load(e, R_RCX, ABS(XV_SP0));
	em_exit(e, XC_FPU, e->pc);
	e->p = hot;
	return (uint32_t)(uintptr_t)stub;
}

void op_fpu_gate(struct em *e)
{
	const uint32_t act = ACT_SP0(R_RCX);
	uint32_t stub = gate_exit(e);

	em_begin(e);
	em_step(e, 0);
	em_store(e, ABS(XV_SP0), R_RCX);
	em_step(e, act);
	em_load(e, R_RCX, ABS(XV_FPU_TRAP));
	e1(e, 0xe3); /* jrcxz over the exit: flags are the guest's */
	e1(e, 5);
	e1(e, 0xe9);
	e4(e, stub - (here(e) + 4));
	em_load(e, R_RCX, ABS(XV_SP0));
	em_end(e, 0);
}

void xlate_set_fpu_trap(struct xlate *x, bool trap)
{
	XV->fpu_trap = trap;
	if (!trap || x->fpu_lazy)
		return;
	/* The first time: what was translated so far has no gates. */
	x->fpu_lazy = 1;
	xlate_kill_fpu(x);
}

/* The guest instruction at host address `host`; *ret_frag is its fragment. 0 = unknown. */
static uint64_t guest_address(struct xlate *x, uint32_t host, const struct frag **ret_frag)
{
	uint32_t k = xlate_frag_of(x, host);
	struct note_iter it;

	if (!k)
		return 0;
	*ret_frag = &x->frags[k];
	for (xlate_notes_start(x, *ret_frag, &it); xlate_notes_next(&it); xlate_notes_advance(&it))
		if (host - it.host < it.hlen)
			return it.gva;
	return 0;
}

/* Is this address relative to rsp, which is shifted? */
static bool by_rsp(struct xlate *x, uint64_t gva)
{
	uint8_t buf[32] = {0};
	struct xlate_code code;
	struct insn i;
	unsigned int k;

	/* (an instruction that crosses pages is taken for one that does not use rsp) */
	if (x->cfg.fetch(x->cfg.priv, gva, &code))
		return false;
	for (k = 0; k < INSN_MAX && (gva & 0xfff) + k < 4096; k++)
		buf[k] = code.ptr[(gva & 0xfff) + k];
	return insn_decode(&i, buf, k) && insn_has_mem(&i) && insn_base(&i) == R_RSP && !i.seg &&
	       !i.p67;
}

/*
 * A field of the saved environment. By the monitor's view, byte by byte: it may cross pages. (If
 * the page has gone in between, that is another vCPU's doing, and it gets nothing.)
 */
static uint64_t get_field(struct xlate *x, uint64_t va, unsigned int n)
{
	uint64_t v = 0;
	uint8_t *p;

	while (n--)
		v = v << 8 | (xlate_user_ptr(x, va + n, true, &p) ? 0 : *p);
	return v;
}

static void put_field(struct xlate *x, uint64_t va, unsigned int n, uint64_t v)
{
	uint8_t *p;

	for (; n--; va++, v >>= 8)
		if (!xlate_user_ptr(x, va, true, &p))
			*p = (uint8_t)v;
}

void xlate_fix_saved(struct xlate *x, const struct insn *i, uint64_t va)
{
	bool env = !i->map;
	const unsigned int n = !env && i->w ? 8 : 4;
	const uint64_t at_ip = va + (env ? 12 : 8), at_dp = va + (env ? 20 : 16);
	const struct frag *f = NULL;
	uint64_t ip, dp, gva;

	if (env && i->p66 && !i->w) { /* 16 bits of an address in the cache say nothing */
		put_field(x, va + 6, 2, 0);
		return;
	}
	/* xsave and its like without the x87 component in eax: nothing was written there */
	if (!env && (i->modrm >> 3 & 7) && !(x->cfg.regs->gpr[R_RAX] & 1))
		return;
	ip = get_field(x, at_ip, n);
	if (ip < x->hot_start || ip >= x->hot)
		return;
	gva = guest_address(x, (uint32_t)ip, &f);
	put_field(x, at_ip, n, gva);
	dp = get_field(x, at_dp, n);
	if (!dp || !f)
		return;
	if (f->flags & FRAG_SNIPPET)
		dp = 0; /* a redirected operand: where it was is not known any more */
	else if (by_rsp(x, gva))
		dp -= XLATE_SHIFT;
	put_field(x, at_dp, n, dp);
}
