/* SPDX-License-Identifier: MIT */
/*
 * Writable page tables: the guest's kernel stores to a read-only mapping of an L1 table, and the
 * store is carried out here, checked like any other update. Only L1 tables, only with the vm_assist
 * switched on, only aligned stores within the page that faulted; everything else is the guest's own
 * fault.
 */
#include "core/mm/ptwr.h"

#define FLAG_CF	    (1u << 0)
#define FLAG_PF	    (1u << 2)
#define FLAG_AF	    (1u << 4)
#define FLAG_ZF	    (1u << 6)
#define FLAG_SF	    (1u << 7)
#define FLAG_DF	    (1u << 10)
#define FLAG_OF	    (1u << 11)
#define FLAG_RF	    (1u << 16)
#define FLAGS_ARITH (FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_OF)

#define INSN_MAX 15u

struct ptwr {
	struct core_ctx *c;
	struct core_regs *r;
	struct ptwr_insn in;
	uint64_t page;	/* virtual address of the page that faulted */
	uint64_t table; /* the L1 table it maps */
};

static uint64_t size_mask(unsigned int size)
{
	return size == 8 ? ~0ull : (1ull << (8 * size)) - 1;
}

/* ---- arithmetic --------------------------------------------------------------------------- */

static uint64_t result_flags(uint64_t res, unsigned int size)
{
	uint64_t flags = 0;

	if (!(__builtin_popcount((unsigned int)res & 0xff) & 1))
		flags |= FLAG_PF;
	if ((res & size_mask(size)) == 0)
		flags |= FLAG_ZF;
	if ((res >> (8 * size - 1)) & 1)
		flags |= FLAG_SF;
	return flags;
}

/* a op b, cut to `size`; *flags: the carry goes in, all arithmetic flags come out. */
static uint64_t alu(unsigned int op, uint64_t a, uint64_t b, unsigned int size, uint64_t *flags)
{
	uint64_t mask = size_mask(size), sign = 1ull << (8 * size - 1), res, out = 0;
	uint64_t carry = (op == ALU_ADC || op == ALU_SBB) && (*flags & FLAG_CF) ? 1 : 0;

	switch (op) {
	case ALU_ADD:
	case ALU_ADC:
		res = (a + b + carry) & mask;
		if (res < a || (carry && res == a))
			out |= FLAG_CF;
		if (~(a ^ b) & (a ^ res) & sign)
			out |= FLAG_OF;
		out |= (a ^ b ^ res) & FLAG_AF;
		break;
	case ALU_SUB:
	case ALU_SBB:
		res = (a - b - carry) & mask;
		if (a < b || (carry && a == b))
			out |= FLAG_CF;
		if ((a ^ b) & (a ^ res) & sign)
			out |= FLAG_OF;
		out |= (a ^ b ^ res) & FLAG_AF;
		break;
	case ALU_OR:
		res = a | b;
		break;
	case ALU_AND:
		res = a & b;
		break;
	default:
		res = a ^ b;
		break;
	}
	*flags = (*flags & ~(uint64_t)FLAGS_ARITH) | out | result_flags(res, size);
	return res;
}

static uint64_t unary(unsigned int op, uint64_t a, unsigned int size, uint64_t *flags)
{
	uint64_t carry = *flags & FLAG_CF, res;

	switch (op) {
	case UNARY_NOT:
		return ~a & size_mask(size);
	case UNARY_NEG:
		return alu(ALU_SUB, 0, a, size, flags);
	default: /* inc and dec leave the carry alone */
		res = alu(op == UNARY_INC ? ALU_ADD : ALU_SUB, a, 1, size, flags);
		*flags = (*flags & ~(uint64_t)FLAG_CF) | carry;
		return res;
	}
}

static void write_reg(struct core_regs *r, const struct ptwr_insn *in, unsigned int reg, bool high,
		      uint64_t value)
{
	if (high)
		r->gpr[reg - 4] = (r->gpr[reg - 4] & ~0xff00ull) | (value & 0xff) << 8;
	else if (in->size == 4)
		r->gpr[reg] = value & 0xffffffffu; /* clears the upper half, as hardware does */
	else
		r->gpr[reg] = (r->gpr[reg] & ~size_mask(in->size)) | (value & size_mask(in->size));
}

/* ---- one store ---------------------------------------------------------------------------- */

/* What the instruction makes of `old`. False: it does not store (cmpxchg that fails). */
static bool compute(struct ptwr *p, uint64_t old, uint64_t *ret_new, uint64_t *flags)
{
	const struct ptwr_insn *in = &p->in;
	unsigned int bit = (unsigned int)in->src & (8 * in->size - 1);
	uint64_t rax = p->r->gpr[R_RAX] & size_mask(in->size);

	switch (in->kind) {
	case PTWR_ALU:
		*ret_new = alu(in->op, old, in->src, in->size, flags);
		return true;
	case PTWR_UNARY:
		*ret_new = unary(in->op, old, in->size, flags);
		return true;
	case PTWR_XADD:
		*ret_new = alu(ALU_ADD, old, in->src, in->size, flags);
		return true;
	case PTWR_CMPXCHG:
		(void)alu(ALU_SUB, rax, old, in->size, flags);
		*ret_new = in->src;
		return rax == old;
	case PTWR_BIT:
		*flags = (*flags & ~(uint64_t)FLAG_CF) | ((old >> bit) & 1);
		*ret_new = in->op == BIT_SET	 ? old | 1ull << bit
			   : in->op == BIT_RESET ? old & ~(1ull << bit)
						 : old ^ 1ull << bit;
		return true;
	default:
		*ret_new = in->src;
		return true;
	}
}

/* The registers an instruction changes besides the flags. */
static void write_back(struct ptwr *p, uint64_t old, bool stored)
{
	const struct ptwr_insn *in = &p->in;

	if (in->kind == PTWR_XCHG || in->kind == PTWR_XADD)
		write_reg(p->r, in, in->reg, in->reg_high, old);
	else if (in->kind == PTWR_CMPXCHG && !stored)
		write_reg(p->r, in, R_RAX, false, old);
}

/*
 * The whole entry is replaced, whatever the size of the store; it must still be what it was when
 * the new value was computed, or an accessed or dirty bit would be lost.
 */
static bool store(struct ptwr *p, uint64_t addr)
{
	unsigned int size = p->in.size, shift = (unsigned int)(addr & 7) * 8;
	uint64_t flags, old, new, mask = size_mask(size);
	struct mm_update u = {
		.table = p->table,
		.slot = (unsigned int)(addr & 0xfff) / 8,
		.compare = true,
	};
	bool stored;
	int rc;

	if (((addr ^ p->page) & ~0xfffull) != 0 || (addr & (size - 1)) != 0)
		return false;
	do {
		u.expected = pte_read(mm_table(p->c, p->table) + u.slot);
		old = (u.expected >> shift) & mask;
		flags = p->r->rflags;
		stored = compute(p, old, &new, &flags);
		rc = 0;
		if (stored) {
			u.pte = (u.expected & ~(mask << shift)) | new << shift;
			rc = mm_update_entry(p->c, 1, &u);
		}
	} while (rc == -XEN_EAGAIN);
	if (rc != 0)
		return false;
	p->r->rflags = flags;
	write_back(p, old, stored);
	return true;
}

/* Repetitions as far as they stay in the page: a fault for each would be dear. */
static bool string(struct ptwr *p)
{
	struct core_regs *r = p->r;
	uint64_t step = r->rflags & FLAG_DF ? -(uint64_t)p->in.size : p->in.size;
	unsigned int done = 0;

	while (!p->in.rep || r->gpr[R_RCX] != 0) {
		if (p->in.kind == PTWR_MOVS &&
		    core_guest_read(p->c, &p->in.src, r->gpr[R_RSI], p->in.size) != 0)
			break;
		if (!store(p, r->gpr[R_RDI]))
			break;
		done++;
		r->gpr[R_RDI] += step;
		if (p->in.kind == PTWR_MOVS)
			r->gpr[R_RSI] += step;
		if (!p->in.rep)
			break;
		r->gpr[R_RCX]--;
	}
	if (done != 0 && (!p->in.rep || r->gpr[R_RCX] == 0))
		r->rip += p->in.length;
	return done != 0;
}

static bool emulate(struct ptwr *p)
{
	uint64_t addr = p->in.addr;

	if (p->in.kind == PTWR_STOS || p->in.kind == PTWR_MOVS)
		return string(p);
	if (p->in.kind == PTWR_BIT && p->in.reg_bit) {
		/* A signed bit index in a register reaches beyond the operand. */
		unsigned int bits = 8 * p->in.size;
		int64_t index = p->in.size == 8	  ? (int64_t)p->in.src
				: p->in.size == 4 ? (int32_t)p->in.src
						  : (int16_t)p->in.src;

		addr += (uint64_t)((index & -(int64_t)bits) / 8);
	}
	if (p->in.kind == PTWR_POP &&
	    core_guest_read(p->c, &p->in.src, p->r->gpr[R_RSP], p->in.size) != 0)
		return false;
	if (!store(p, addr))
		return false;
	if (p->in.kind == PTWR_PUSH)
		p->r->gpr[R_RSP] = addr;
	else if (p->in.kind == PTWR_POP)
		p->r->gpr[R_RSP] += p->in.size;
	p->r->rip += p->in.length;
	return true;
}

/* The page must be mapped by a present entry without RW, and be an L1 table. */
static bool find_table(struct core_ctx *c, uint64_t cr2, uint64_t *ret_table)
{
	uint64_t *path[4], flags;

	if (!mm_walk(c, c->v->kernel_root, cr2, ret_table, &flags, path) || path[0] == NULL)
		return false;
	if (pte_read(path[3]) & PTE_RW)
		return false;
	return frame_is(frame_word(mm_frame(c, *ret_table)), FRAME_L1);
}

bool core_mm_ro_fault(struct core_ctx *c, uint64_t cr2, uint32_t error)
{
	struct ptwr p = {.c = c, .r = &c->v->regs, .page = cr2 & ~0xfffull};
	uint8_t bytes[INSN_MAX];
	unsigned int nr;
	bool done = false;

	if (!(c->d->vm_assist & (1ull << VMASST_TYPE_writable_pagetables)) || !c->v->kernel_mode)
		return false;
	if ((error & (PF_PRESENT | PF_WRITE | PF_RESERVED | PF_FETCH)) != (PF_PRESENT | PF_WRITE))
		return false;
	nr = INSN_MAX - (unsigned int)core_guest_read(c, bytes, p.r->rip, INSN_MAX);
	if (!ptwr_decode(p.r, bytes, nr, &p.in))
		return false;

	mm_lock(c);
	if (find_table(c, cr2, &p.table))
		done = emulate(&p);
	mm_unlock(c);
	if (done)
		p.r->rflags &= ~(uint64_t)FLAG_RF;
	return done;
}
