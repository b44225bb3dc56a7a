/* SPDX-License-Identifier: MIT */
/*
 * Indirect calls. Nearly all of them call the same function again and again, so the site compares
 * with the function of last time and then makes a direct call. That saves two stores and the jump
 * through memory (measured: 1.15 of native instead of 1.48). The comparison must not touch flags:
 *
 *		mov [SP2], rcx
 *		mov rcx, OPERAND
 *		lea rcx, [rcx - FUNCTION]
 *		jrcxz 1f
 *		jmp miss
 *	1:	mov rcx, [SP2]
 *		push RETURN
 *		call FUNCTION		an edge like any other
 *
 * A miss leaves the cache, and another function takes the place. Sites that go on missing are
 * translated once more, with the look-up in the flat table instead (op_flow.c).
 */
#include "exec/ring3/translate/emit.h"

/* From the edge's rel32 back to the comparison's: call, push, reload, jmp, jrcxz. */
#define COMPARE_BACK (1 + 5 + 8 + 5 + 2 + 4)
#define MISSES_MAX   4u

/* Sites with many functions; one too many does no harm. */
static uint64_t *many_word(struct xlate *x, uint64_t gva, uint64_t *bit)
{
	const uint64_t n = gva * 0x9e3779b97f4a7c15ull >> 49;

	*bit = 1ull << (n & 63);
	return &x->icall_many[n >> 6];
}

/* What is compared with is subtracted, as 32 bits with a sign. */
static bool can_be_compared(uint64_t target)
{
	return fits32(-target);
}

/* The way out of a miss; the registers are those behind the comparison. */
static uint32_t miss_stub(struct em *e, uint32_t edge)
{
	return em_exit_stub(e, XC_ICALL | edge << 8, e->pc);
}

bool op_icall(struct em *e, const struct insn *i)
{
	uint64_t bit;

	if (e->exact || (e->f->flags & FRAG_VERIFY) || !fits32(e->next) ||
	    (*many_word(e->x, e->pc, &bit) & bit))
		return false;
	em_step(e, 0);
	em_store(e, XLATE_VCPU + XV_SP2, R_RCX);
	e->ambient = ACT_SP2(R_RCX);
	op_load_target(e, i, R_RCX);
	em_step(e, 0);
	/*
	 * Not known yet: this instruction itself, which nobody calls. (It would do, too: the edge
	 * goes to what is compared with.)
	 */
	e1(e, 0x48); /* lea rcx, [rcx - target] */
	e1(e, 0x8d);
	e1(e, 0x89);
	e4(e, -e->pc);
	e1(e, 0xe3); /* jrcxz over the jmp */
	e1(e, 5);
	em_jmp(e, miss_stub(e, e->x->nr_edges + e->nr_edges + 1));
	em_load(e, R_RCX, XLATE_VCPU + XV_SP2);
	e->ambient = 0;
	op_call_to(e, e->pc);
	return true;
}

/* Take an edge out of the list of where it leads to. */
static void unlink_edge(struct xlate *x, uint32_t id)
{
	struct edge *d = &x->edges[id];
	uint32_t to, *p;

	if (!d->linked)
		return;
	__builtin_memcpy(&to, (void *)(uintptr_t)d->site, 4);
	p = &x->frags[xlate_frag_of(x, to + d->site + 4)].in;
	while (*p != id)
		p = &x->edges[*p].next;
	*p = d->next;
	d->linked = 0;
}

/* From its beginning: from the call on it would be in two pieces for ever. */
static void make_again(struct xlate *x, uint32_t frag)
{
	const uint64_t gva = x->frags[frag].gva;
	const bool called = x->frags[frag].flags & FRAG_CALLED;
	uint64_t addr;
	uint32_t err;

	xlate_kill(x, frag);
	xlate_translate(x, gva, called, &err, &addr);
}

void xlate_icall_miss(struct xlate *x, uint32_t id)
{
	struct core_regs *r = x->cfg.regs;
	struct edge *d = &x->edges[id];
	uint64_t target = r->gpr[R_RCX] + d->target, bit;
	uint32_t value = (uint32_t)-target;

	r->gpr[R_RCX] = XV->sp2;
	r->rip = XV->exit_rip;
	if (!xlate_have_room(x)) {
		xlate_flush(x);
		return;
	}
	if (!can_be_compared(target) || d->misses++ >= MISSES_MAX) {
		*many_word(x, r->rip, &bit) |= bit;
		make_again(x, xlate_frag_of(x, d->site));
		return;
	}
	unlink_edge(x, id);
	d->target = target;
	__builtin_memcpy((void *)(uintptr_t)(d->site - COMPARE_BACK), &value, 4);
	value = xlate_edge_stub(x, id) - (d->site + 4);
	__builtin_memcpy((void *)(uintptr_t)d->site, &value, 4);
}
