/* SPDX-License-Identifier: MIT */
/*
 * A TLB in software for redirected accesses: what the monitor answered for a page, until it says
 * xlate_user_forget(). Two levels.
 *
 * The first is for emitted code, which looks it up by itself: the accesses of copies that a kernel
 * unrolls, of get_user() and put_user() stay in the cache. Two direct-mapped tables, for reads and
 * for writes, in the vCPU page:
 *
 *	tag[page & 255] = -page; 1 if empty (no page number plus one is 0)
 *	host address = guest address + delta[page & 255]
 *
 * Kernel addresses are entered with the window's shift, because the same code is used for both;
 *only emitted code may go that way.
 *
 * The second is for C, which fills the first from it and copies strings by it: sets of four entries
 * that say which space they are of, so that they survive while another one runs. Spaces are numbers
 * that are never used again: one for the addresses of the upper half, and one for those of the
 *lower half, which the monitor chooses anew with each root (xlate_user_space()). To forget a space
 *is to take a new number. Likewise for rights to write: an entry's is good while x->writes is what
 *it was.
 */
#include "exec/ring3/translate/emit.h"

#define ABS(o)	     (XLATE_VCPU + (o))
#define TAG(write)   ((uint64_t *)(uintptr_t)ABS(XV_TLB_TAG + ((write) ? 0x800 : 0)))
#define DELTA(write) ((uint64_t *)(uintptr_t)ABS(XV_TLB_DELTA + ((write) ? 0x800 : 0)))
#define SLOTS	     256u
#define EMPTY	     1u
#define INLINE_MAX   64u /* bytes of an operand that is looked up in the cache */

/* ---- the first level ------------------------------------------------------------------------ */

static void empty(struct xlate *x, bool write)
{
	uint64_t *tag = TAG(write);
	uint32_t used = x->tlb_used[write];

	if (used <= TLB_LISTED) {
		while (used)
			tag[x->tlb_list[write][--used]] = EMPTY;
	} else {
		for (unsigned int k = 0; k < SLOTS; k++)
			tag[k] = EMPTY;
	}
	x->tlb_used[write] = 0;
}

void xlate_tlb_enter(struct xlate *x, uint64_t va, bool write, uint64_t delta)
{
	unsigned int slot = va >> 12 & (SLOTS - 1);
	uint32_t used = x->tlb_used[write];

	if (TAG(write)[slot] == EMPTY && used <= TLB_LISTED) {
		if (used < TLB_LISTED)
			x->tlb_list[write][used] = (uint8_t)slot;
		x->tlb_used[write] = used + 1;
	}
	TAG(write)[slot] = -(va >> 12);
	DELTA(write)[slot] = delta;
}

/* ---- the second -------------------------------------------------------------------------------
 */

static struct tlb_way *set_of(const struct xlate *x, uint64_t page)
{
	return &x->ways[((page ^ page >> 9) & (TLB_SETS - 1)) * TLB_WAYS];
}

/* The way for the page in its present space, NULL: none. */
static inline struct tlb_way *find_way(const struct xlate *x, uint64_t page)
{
	uint64_t space = x->space[page >> 51];
	struct tlb_way *w = set_of(x, page);

	for (unsigned int k = 0; k < TLB_WAYS; k++)
		if (w[k].page == page && w[k].space == space)
			return &w[k];
	return NULL;
}

static void enter_way(struct xlate *x, const struct tlb_way *new)
{
	struct tlb_way *w = find_way(x, new->page);

	for (unsigned int k = 0; !w && k < TLB_WAYS; k++)
		if (!set_of(x, new->page)[k].space)
			w = &set_of(x, new->page)[k];
	if (!w)
		w = &set_of(x, new->page)[x->tlb_victim++ % TLB_WAYS];
	*w = *new;
}

void xlate_tlb_init(struct xlate *x)
{
	uint32_t a = 7, b, c = 0, d;

	x->tlb_used[0] = x->tlb_used[1] = TLB_LISTED + 1;
	empty(x, false);
	empty(x, true);
	__builtin_memset(x->ways, 0, sizeof(struct tlb_way) * TLB_SETS * TLB_WAYS);
	x->space[0] = 1;
	x->space[1] = 2;
	x->last_space = 2;
	x->writes = 1;
	__asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	x->bmi2 = b >> 8 & 1;
}

void xlate_user_forget_writes(struct xlate *x)
{
	empty(x, true);
	x->writes++;
}

uint64_t xlate_user_space(struct xlate *x, uint64_t space)
{
	empty(x, false);
	empty(x, true);
	x->space[0] = space ? space : ++x->last_space;
	return x->space[0];
}

void xlate_user_forget_upper(struct xlate *x)
{
	empty(x, false);
	empty(x, true);
	x->space[1] = ++x->last_space;
}

void xlate_user_forget(struct xlate *x)
{
	xlate_user_forget_upper(x);
	x->space[0] = ++x->last_space;
}

void xlate_user_forget_va(struct xlate *x, uint64_t va)
{
	unsigned int slot = va >> 12 & (SLOTS - 1);
	struct tlb_way *w = set_of(x, va >> 12);

	/* (An empty place may be listed twice then: that does no harm.) */
	if (TAG(false)[slot] == -(va >> 12))
		TAG(false)[slot] = EMPTY;
	if (TAG(true)[slot] == -(va >> 12))
		TAG(true)[slot] = EMPTY;
	/* Of all spaces: who asks does not know of which roots the table is a part. */
	for (unsigned int k = 0; k < TLB_WAYS; k++)
		if (w[k].page == va >> 12)
			w[k].space = 0;
}

uint32_t xlate_user_ptr(struct xlate *x, uint64_t va, bool write, uint8_t **ret)
{
	const struct tlb_way *w = find_way(x, va >> 12);
	struct tlb_way new = {va >> 12, x->space[va >> 63], write ? x->writes : 0, NULL};
	uint32_t err;

	if (w && (!write || w->writes == x->writes)) {
		*ret = w->host + (va & 0xfff);
		return 0;
	}
	x->st.user_asked++;
	err = x->cfg.user(x->cfg.priv, va, write, ret);
	if (!err) {
		new.host = *ret - (va & 0xfff);
		enter_way(x, &new);
	}
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
