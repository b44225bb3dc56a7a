/* SPDX-License-Identifier: MIT */
/*
 * Precise state: from the host registers at any instruction of the hot region to the registers of
 * the guest at an instruction boundary. The notes say how; see notes.h.
 */
#include "exec/ring3/translate/internal.h"
#include "exec/ring3/translate/notes.h"

#define FLAGS 0xcd5ull /* what guest code changes by itself */

void xlate_notes_start(const struct xlate *x, const struct frag *f, struct note_iter *it)
{
	it->p = x->notes + f->notes;
	it->end = x->notes + f->notes_end;
	it->gva = f->gva;
	it->host = f->host;
}

bool xlate_notes_next(struct note_iter *it)
{
	unsigned int k;

	if (it->p >= it->end)
		return false;
	if (*it->p & 15) {
		it->glen = *it->p & 15;
		it->hlen = *it->p >> 4;
		it->nsteps = 0;
		it->p++;
		return true;
	}
	it->nsteps = *it->p >> 4;
	it->glen = it->p[1];
	it->steps = it->p + 2;
	it->p += 2 + 4 * it->nsteps;
	it->hlen = 0;
	for (k = 0; k < it->nsteps; k++)
		it->hlen += it->steps[4 * k];
	return true;
}

void xlate_notes_advance(struct note_iter *it)
{
	it->gva += it->glen;
	it->host += it->hlen;
}

static uint32_t step_action(const uint8_t *s)
{
	return s[1] | (uint32_t)s[2] << 8 | (uint32_t)s[3] << 16;
}

static void load_regs(struct core_regs *r, const struct xlate_sigregs *s)
{
	const uint64_t gpr[16] = {s->rax, s->rcx, s->rdx, s->rbx, s->rsp - XLATE_SHIFT,
				  s->rbp, s->rsi, s->rdi, s->r8,  s->r9,
				  s->r10, s->r11, s->r12, s->r13, s->r14,
				  s->r15};

	__builtin_memcpy(r->gpr, gpr, sizeof(gpr));
	r->rflags = (r->rflags & ~FLAGS) | (s->eflags & FLAGS);
}

static void apply(struct core_regs *r, uint32_t act, uint64_t start, uint64_t next, uint64_t rsp,
		  struct xlate_recovered *ret)
{
	unsigned int reg = ACT_GET_REG(act);
	const struct xlate_vcpu *v = XV;

	r->rip = act & ACT_NEXT ? next : start;
	ret->completed = act & ACT_NEXT;
	switch (ACT_GET_FIX(act)) {
	case FIX_SI:
		r->gpr[R_RSI] -= reg ? v->fs_shift : XLATE_SHIFT;
		break;
	case FIX_SIDI:
		r->gpr[R_RSI] -= reg ? v->fs_shift : XLATE_SHIFT;
		r->gpr[R_RDI] -= XLATE_SHIFT;
		break;
	case FIX_DI:
		r->gpr[R_RDI] -= XLATE_SHIFT;
		break;
	case FIX_POP8:
		r->gpr[R_RSP] += 8;
		break;
	case FIX_PUSH8:
		r->gpr[R_RSP] -= 8;
		break;
	case FIX_RETI:
		r->gpr[R_RSP] += v->retimm;
		/* fall through */
	case FIX_RET:
		r->gpr[R_RSP] += 8;
		r->rip = v->slot;
		ret->completed = true;
		break;
	case FIX_POPPEDI:
		r->gpr[R_RSP] += v->retimm;
		/* fall through */
	case FIX_SLOT:
		r->rip = v->slot;
		ret->completed = true;
		break;
	case FIX_LOOKUP_REG:
		r->gpr[reg] = v->slot;
		/* fall through */
	case FIX_LOOKUP:
		ret->lookup = true;
		break;
	case FIX_LOOKUP_PUSH8:
		r->gpr[R_RSP] -= 8;
		ret->lookup = true;
		break;
	case FIX_LOOKUP_POP8:
		r->gpr[R_RSP] += 8;
		ret->lookup = true;
		break;
	case FIX_REG_SLOT:
		r->gpr[reg] = v->slot;
		break;
	case FIX_RSP_REG:
		r->gpr[R_RSP] = r->gpr[reg];
		break;
	case FIX_RSP_ADD:
		r->gpr[R_RSP] = rsp + r->gpr[reg] - XLATE_SHIFT;
		break;
	case FIX_RSP_RAW:
		r->gpr[R_RSP] = rsp;
		break;
	case FIX_RSP_SP1:
		r->gpr[R_RSP] = v->sp1 - XLATE_SHIFT;
		break;
	case FIX_RBP_SP0_RSP_SP1:
		r->gpr[R_RBP] = v->sp0;
		r->gpr[R_RSP] = v->sp1 - XLATE_SHIFT;
		break;
	case FIX_REG_ADD:
		r->gpr[reg] += rsp;
		break;
	case FIX_STR_FLAGS: /* as lahf and seto left them */
		r->rflags &= ~0x8d5ull;
		r->rflags |= (v->str_flags >> 8 & 0xd5) | (v->str_flags & 1) << 11;
		break;
	case FIX_STR_RUNS:
		r->gpr[R_RDI] = v->str_end_di - (r->gpr[R_RCX] << (reg & 3));
		if (reg & STR_MOVS)
			r->gpr[R_RSI] = v->str_end_si - (r->gpr[R_RCX] << (reg & 3));
		r->gpr[R_RCX] += v->str_end_cx;
		break;
	case FIX_FETCH:
		ret->fetch = true;
		break;
	case FIX_REL8:
		r->rip = next + (uint64_t)(int64_t)(int8_t)(act >> 16);
		ret->completed = true;
		return; /* the parameter is where the spill slots' registers would be */
	default:
		break;
	}
	if (ACT_GET_SP0(act))
		r->gpr[ACT_GET_SP0(act) - 1] = v->sp0;
	if (ACT_GET_SP1(act))
		r->gpr[ACT_GET_SP1(act) - 1] = v->sp1;
	if (ACT_GET_SP2(act))
		r->gpr[ACT_GET_SP2(act) - 1] = v->sp2;
}

/* In a call stub: the call has pushed its return address; take it back. */
static void recover_stub(struct xlate *x, const struct frag *f, uint32_t rip, struct core_regs *r,
			 struct xlate_recovered *ret)
{
	unsigned int size = f->gva == (uint64_t)(int64_t)(int32_t)f->gva ? 16 : 32;
	unsigned int k = (rip - f->body_end) / size;
	struct note_iter it;

	for (xlate_notes_start(x, f, &it); xlate_notes_next(&it); xlate_notes_advance(&it)) {
		/* the call is the last step of its expansion */
		if (!it.nsteps ||
		    ACT_GET_FIX(step_action(it.steps + 4 * (it.nsteps - 1))) != FIX_CALL)
			continue;
		if (!k--)
			break;
	}
	apply(r, ACT_FIX(FIX_POP8), it.gva, it.gva + it.glen, 0, ret);
}

/* The expansion that this is in; false: behind all of the fragment. */
static bool find_note(const struct xlate *x, const struct frag *f, uint32_t rip,
		      struct note_iter *it)
{
	for (xlate_notes_start(x, f, it); xlate_notes_next(it); xlate_notes_advance(it))
		if (rip - it->host < it->hlen)
			return true;
	return it->p != it->end || rip - it->host < it->hlen;
}

static uint32_t action_at(const struct note_iter *it, uint32_t off)
{
	for (uint32_t k = 0; k < it->nsteps; k++) {
		if (off < it->steps[4 * k])
			return step_action(it->steps + 4 * k);
		off -= it->steps[4 * k];
	}
	return 0;
}

void xlate_recover(struct xlate *x, const struct xlate_sigregs *s, struct xlate_recovered *ret)
{
	uint32_t rip = (uint32_t)s->rip, act;
	struct core_regs *r = x->cfg.regs;
	struct xlate_recovered dummy;
	const struct frag *f;
	struct note_iter it;

	if (!ret)
		ret = &dummy;
	*ret = (struct xlate_recovered){0};
	load_regs(r, s);
	x->cur_frag = xlate_frag_of(x, rip);
	if (!x->cur_frag)
		return; /* xlate_where() did not say IN_CACHE */
	f = &x->frags[x->cur_frag];
	if (rip >= f->body_end) {
		recover_stub(x, f, rip, r, ret);
		return;
	}
	if (!find_note(x, f, rip, &it)) { /* behind the last one: alignment */
		r->rip = it.gva;
		return;
	}
	act = action_at(&it, rip - it.host);
	apply(r, act, it.gva, it.gva + it.glen, s->rsp, ret);
	if (ACT_GET_FIX(act) == FIX_FS)
		x->fs_stale = 1;
	/*
	 * If it is a fault: an indirect transfer to an address that the flat table does not serve.
	 * It has been taken back, and is made once more in the exact way, in which C looks the
	 * address up. (A kick may stop here as well; that it is exact then does no harm.)
	 */
	if (ret->lookup) {
		x->redo = 1;
		x->redo_rip = r->rip;
		ret->completed = true;
	}
}

/*
 * Behind a redirected instruction of which something is still to be done: its operand lay across
 * pages and is to be written back, say (xlate_user_done()). The guest's state is not complete here,
 * and the next thing that happens is that the cache is left.
 */
static bool unfinished(const struct xlate *x, uint32_t rip)
{
	const struct frag *f;
	struct note_iter it;
	uint32_t frag;

	if (!x->bounce_len && !x->saved_site)
		return false;
	frag = xlate_frag_of(x, rip);
	f = &x->frags[frag];
	return frag && (f->flags & FRAG_SNIPPET) && rip < f->body_end &&
	       find_note(x, f, rip, &it) && (action_at(&it, rip - it.host) & ACT_NEXT);
}

enum xlate_where xlate_where(const struct xlate *x, uint64_t rip)
{
	if (rip < 0x10000)
		return XLATE_MISS;
	if (rip >= x->hot_start && rip < x->hot)
		return unfinished(x, (uint32_t)rip) ? XLATE_LEAVING : XLATE_IN_CACHE;
	if (rip >= XLATE_CACHE && rip < x->cache_end)
		return XLATE_LEAVING;
	if (rip >= (uintptr_t)xlate_asm_entry_begin && rip < (uintptr_t)xlate_asm_entry_end)
		return XLATE_IN_ENTRY;
	if (rip >= (uintptr_t)xlate_asm_entry_end && rip < (uintptr_t)xlate_asm_exit_end)
		return XLATE_LEAVING;
	return XLATE_OUTSIDE;
}

void xlate_leave(struct xlate *x, struct xlate_sigregs *s)
{
	bool entry = xlate_where(x, s->rip) == XLATE_IN_ENTRY;

	s->rip = (uintptr_t)(entry ? xlate_asm_abort : xlate_asm_signal);
	s->rsp = XV->host_rsp;
	s->eflags &= ~0x40500ull; /* AC, DF, TF */
}

bool xlate_left(const struct xlate_sigregs *s)
{
	return s->rip == (uintptr_t)xlate_asm_abort || s->rip == (uintptr_t)xlate_asm_signal;
}

void xlate_miss(struct xlate *x, struct xlate_sigregs *s)
{
	s->rip = TRAMP_MISS;
}
