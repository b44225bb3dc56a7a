/* SPDX-License-Identifier: MIT */
/*
 * A small TLB in software for redirected accesses: what the monitor answered for a page, until it
 * says xlate_user_forget(). Two direct-mapped tables, for reads and for writes, in the vCPU page,
 * where emitted code looks them up by itself: the accesses of copies that a kernel unrolls, of
 * get_user() and put_user() stay in the cache.
 *
 *	tag[page & 255] = -page; 1 if empty (no page number plus one is 0)
 *	host address = guest address + delta[page & 255]
 *
 * When the guest loads another root the entries are put away, and come back with the first one, if
 * in between nothing was to be forgotten and no entry of any page table has lost anything.
 *
 * Kernel addresses are entered with the window's shift, because the same code is used for both;
 * only emitted code may go that way.
 */
#include "exec/ring3/translate/emit.h"

#define ABS(o)	     (XLATE_VCPU + (o))
#define TAG(write)   ((uint64_t *)(uintptr_t)ABS(XV_TLB_TAG + ((write) ? 0x800 : 0)))
#define DELTA(write) ((uint64_t *)(uintptr_t)ABS(XV_TLB_DELTA + ((write) ? 0x800 : 0)))
#define SLOTS	     256u
#define EMPTY	     1u
#define INLINE_MAX   64u /* bytes of an operand that is looked up in the cache */

/* Few of them are in use when the guest goes to another program. */
static void empty(struct xlate *x, bool write)
{
	uint64_t *tag = TAG(write), left;
	unsigned int w;

	for (w = 0; w < SLOTS / 64; w++) {
		for (left = x->tlb_used[write][w]; left; left &= left - 1)
			tag[w * 64 + (unsigned int)__builtin_ctzll(left)] = EMPTY;
		x->tlb_used[write][w] = 0;
	}
}

void xlate_tlb_init(struct xlate *x)
{
	uint32_t a = 7, b, c = 0, d;

	for (d = 0; d < SLOTS / 64; d++)
		x->tlb_used[0][d] = x->tlb_used[1][d] = ~0ull;
	empty(x, false);
	empty(x, true);
	__asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	x->bmi2 = b >> 8 & 1;
}

void xlate_user_forget_writes(struct xlate *x)
{
	x->tlb_forgets++;
	empty(x, true);
}

void xlate_user_forget(struct xlate *x)
{
	xlate_user_forget_writes(x);
	empty(x, false);
}

uint64_t xlate_user_forgets(const struct xlate *x)
{
	return x->tlb_forgets;
}

void xlate_user_forget_va(struct xlate *x, uint64_t va)
{
	unsigned int slot = va >> 12 & (SLOTS - 1);

	x->tlb_forgets++;
	if (TAG(false)[slot] == -(va >> 12))
		TAG(false)[slot] = EMPTY;
	if (TAG(true)[slot] == -(va >> 12))
		TAG(true)[slot] = EMPTY;
}

void xlate_tlb_enter(struct xlate *x, uint64_t va, bool write, uint64_t delta)
{
	unsigned int slot = va >> 12 & (SLOTS - 1);

	TAG(write)[slot] = -(va >> 12);
	DELTA(write)[slot] = delta;
	x->tlb_used[write][slot / 64] |= 1ull << (slot % 64);
}

/* ---- several roots --------------------------------------------------------------------------- */

static void put_away(struct xlate *x, struct tlb_saved *s)
{
	s->nr = 0;
	for (unsigned int i = 0; i < 2 * SLOTS; i++) {
		unsigned int slot = i % SLOTS;
		bool write = i >= SLOTS;
		uint64_t left = x->tlb_used[write][slot / 64] >> (slot % 64);

		if (!left) {
			i |= 63;
			continue;
		}
		i += (unsigned int)__builtin_ctzll(left);
		slot = i % SLOTS;
		/* (Through the window: what is read-only there by then would fault.) */
		if (TAG(write)[slot] == EMPTY || DELTA(write)[slot] == XLATE_SHIFT)
			continue;
		if (s->nr == TLB_SAVED) { /* a program that touches so much learns it again */
			s->nr = 0;
			return;
		}
		s->entry[s->nr++] = (struct tlb_entry){TAG(write)[slot], DELTA(write)[slot],
						       (uint8_t)slot, write};
	}
}

/* NULL: nothing is known of it. */
static struct tlb_saved *saved_for(struct xlate *x, uint64_t root)
{
	for (unsigned int i = 0; i < TLB_ROOTS; i++)
		if (x->tlb_saved[i].root == root)
			return &x->tlb_saved[i];
	return NULL;
}

void xlate_user_switch(struct xlate *x, uint64_t from, uint64_t to, uint64_t changes)
{
	struct tlb_saved *s = saved_for(x, from);

	if (!s)
		s = &x->tlb_saved[x->tlb_victim++ % TLB_ROOTS];
	s->nr = 0;
	s->root = from;
	s->forgets = x->tlb_forgets;
	s->changes = changes;
	if (x->tlb_changes == changes)
		put_away(x, s);
	empty(x, false);
	empty(x, true);
	x->tlb_changes = changes;
	s = saved_for(x, to);
	if (!s || s->forgets != x->tlb_forgets || s->changes != changes)
		return;
	for (unsigned int i = 0; i < s->nr; i++) {
		const struct tlb_entry *e = &s->entry[i];

		TAG(e->write)[e->slot] = e->tag;
		DELTA(e->write)[e->slot] = e->delta;
		x->tlb_used[e->write][e->slot / 64] |= 1ull << (e->slot % 64);
	}
}

uint32_t xlate_user_ptr(struct xlate *x, uint64_t va, bool write, uint8_t **ret)
{
	unsigned int slot = va >> 12 & (SLOTS - 1);
	uint32_t err;

	/* Not through the window: a fault is emitted code's, not ours. */
	if (TAG(write)[slot] == -(va >> 12) && DELTA(write)[slot] != XLATE_SHIFT) {
		*ret = (uint8_t *)(uintptr_t)(va + DELTA(write)[slot]);
		return 0;
	}
	err = x->cfg.user(x->cfg.priv, va, write, ret);
	if (!err)
		xlate_tlb_enter(x, va, write, (uintptr_t)*ret - va);
	return err;
}

/* ---- the same by emitted code ---------------------------------------------------------------- */

/* dst = src >> 12 (its low byte is the slot), without flags: rorx */
static void rotate(struct em *e, unsigned int dst, unsigned int src)
{
	e1(e, 0xc4);
	e1(e, 0xe3); /* both registers are of the low eight */
	e1(e, 0xfb);
	e1(e, 0xf0);
	e1(e, 0xc0 | dst << 3 | src);
	e1(e, 12);
}

/* r = [table + (r & 255) * 8] */
static void index_table(struct em *e, unsigned int r, uint32_t table)
{
	e1(e, 0x40); /* movzx r32, r8: with REX also for esi and edi */
	e1(e, 0x0f);
	e1(e, 0xb6);
	e1(e, 0xc0 | r << 3 | r);
	e1(e, 0x48); /* mov r, [r * 8 + table] */
	e1(e, 0x8b);
	e1(e, 0x04 | r << 3);
	e1(e, 0xc5 | r << 3);
	e4(e, table);
}

/* Besides rcx, which jrcxz needs. All are back in place before the instruction itself. */
#define A R_RSI
#define B R_RDI

static void restore(struct em *e)
{
	em_load(e, B, ABS(XV_SP2));
	em_load(e, A, ABS(XV_SP1));
	em_load(e, R_RCX, ABS(XV_SP0));
}

bool op_can_inline(const struct xlate *x, const struct insn *i)
{
	unsigned int size = insn_mem_size[ID_MEMSIZE(i->desc)];

	if (insn_class(i) != IC_COPY || !insn_has_mem(i) || (i->desc & ID_VSIB) ||
	    i->enc == IE_EVEX || insn_bit_string(i) || insn_saves_x87(i) || op_uses_rsp(i))
		return false;
	if (i->seg || i->p67 || insn_base(i) == R_RSP || insn_rip_relative(i))
		return false;
	return x->bmi2 && size && size <= INLINE_MAX;
}

bool op_user_inline(struct em *e, const struct insn *i, uint32_t site)
{
	const uint32_t act = ACT_SP0(R_RCX) | ACT_SP1(A) | ACT_SP2(B);
	unsigned int size = insn_mem_size[ID_MEMSIZE(i->desc)];
	bool write = i->desc & ID_MEM_WRITE;
	uint8_t *hot, *stub;

	if (!op_can_inline(e->x, i))
		return false;
	stub = cold_alloc(e->x, 64);
	hot = e->p;
	e->p = stub;
	restore(e);
	em_exit(e, XC_USER | site << 8, e->pc);
	e->p = hot;

	em_begin(e);
	em_step(e, 0);
	em_store(e, ABS(XV_SP0), R_RCX);
	em_store(e, ABS(XV_SP1), A);
	em_store(e, ABS(XV_SP2), B);
	em_step(e, act);
	op_ea(e, i, A);
	e1(e, 0xb9); /* mov ecx, 12; shrx rcx, A, rcx: the page */
	e4(e, 12);
	e1(e, 0xc4);
	e1(e, 0xe2);
	e1(e, 0xf3);
	e1(e, 0xf7);
	e1(e, 0xc8 | A);
	/* the slot of the last byte, the page of the first: they only agree within one page */
	e1(e, 0x48); /* lea B, [A + size - 1] */
	e1(e, 0x8d);
	e1(e, 0x40 | B << 3 | A);
	e1(e, size - 1);
	rotate(e, B, B);
	index_table(e, B, ABS(XV_TLB_TAG + (write ? 0x800 : 0)));
	em_lea2(e, R_RCX, R_RCX, B);
	e1(e, 0xe3); /* jrcxz over the exit */
	e1(e, 5);
	e1(e, 0xe9);
	e4(e, (uint32_t)(uintptr_t)stub - (here(e) + 4));
	rotate(e, R_RCX, A);
	index_table(e, R_RCX, ABS(XV_TLB_DELTA + (write ? 0x800 : 0)));
	em_lea2(e, A, A, R_RCX);
	em_store(e, ABS(XV_REDIRECT), A);
	restore(e);
	em_end(e, 0);

	em_begin(e);
	e->redirect = true;
	op_redirected(e, i);
	e->redirect = false;
	return true;
}
