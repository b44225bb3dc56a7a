/* SPDX-License-Identifier: MIT */
/* Translating one fragment. */
#include "exec/ring3/translate/emit.h"

/*
 * The records of a guest page and its frame. The frame is noted before its bytes are read, so that
 * no write can slip between.
 */
static uint32_t open_page(struct xlate *x, uint64_t gva, struct xlate_code *code,
			  struct page_rec **page, struct page_rec **frame)
{
	uint32_t err = x->cfg.fetch(x->cfg.priv, gva, code);

	if (err)
		return err;
	*page = xlate_page(x, gva >> 12, true);
	*frame = xlate_page(x, code->mfn | PAGE_REC_FRAME, true);
	if ((*page)->head && (*page)->mfn != code->mfn)
		xlate_invalidate_va_range(x, PAGE_MASK_(gva), 4096);
	(*page)->mfn = code->mfn;
	if (!(*frame)->verify && !(*frame)->noted) {
		(*frame)->noted = 1;
		x->cfg.note(x->cfg.priv, code->mfn);
		xlate_user_forget_writes(x);
	}
	return 0;
}

static void attach(struct xlate *x, struct em *e, unsigned int which, struct page_rec *page,
		   struct page_rec *frame)
{
	struct frag *f = e->f;

	f->page[which] = (uint32_t)(page - x->pages);
	f->frame[which] = (uint32_t)(frame - x->pages);
	if (frame->verify)
		f->flags |= FRAG_VERIFY;
}

/* Put the fragment onto the lists of its pages, each list once. */
static void enlist(struct xlate *x, uint32_t fi)
{
	struct frag *f = &x->frags[fi];
	unsigned int k;

	if (f->page[1] == f->page[0])
		f->page[1] = 0;
	if (f->frame[1] == f->frame[0])
		f->frame[1] = 0;
	for (k = 0; k < 2; k++) {
		if (f->page[k]) {
			f->next_page[k] = x->pages[f->page[k]].head;
			x->pages[f->page[k]].head = fi;
		}
		if (f->frame[k]) {
			f->next_frame[k] = x->pages[f->frame[k]].head;
			x->pages[f->frame[k]].head = fi;
		}
	}
}

/* Decode at e->pc, reading from the next page if needed. 0: no more bytes, or *err. */
static unsigned int decode(struct xlate *x, struct em *e, struct insn *i, uint32_t *err)
{
	struct source *s = &e->source;
	unsigned int o = (unsigned int)(e->pc - e->src_gva), n, k;
	struct page_rec *page, *frame;
	struct xlate_code code;
	uint64_t next;

	if (o >= s->len)
		return 0;
	n = insn_decode(i, s->buf + o, s->len - o);
	if (n || !s->to_page_end || s->second)
		return n;
	next = PAGE_MASK_(e->src_gva) + 4096;
	*err = open_page(x, next, &code, &page, &frame);
	if (*err)
		return 0;
	if (frame->verify && !(e->f->flags & FRAG_VERIFY) && e->pc != e->f->gva)
		return 0; /* a fragment of its own, then */
	s->second = true;
	attach(x, e, 1, page, frame);
	for (k = 0; k < INSN_MAX; k++)
		s->buf[s->len + k] = code.ptr[k];
	s->len += INSN_MAX;
	n = insn_decode(i, s->buf + o, s->len - o);
	return n;
}

static void emit_insn(struct em *e, const struct insn *i)
{
	switch (insn_class(i)) {
	case IC_COPY:
		op_copy(e, i);
		break;
	case IC_NOP:
		/* Compilers align loops by these. */
		if (i->len > 1 && !(e->next & 7))
			em_align(e, LOOP_ALIGN);
		break;
	case IC_LEA:
		op_lea(e, i);
		break;
	case IC_PUSHR:
		op_push(e, i);
		break;
	case IC_POPR:
		op_pop(e, i);
		break;
	case IC_JCC:
		op_jcc(e, i);
		break;
	case IC_JMP:
		op_jmp(e, i);
		break;
	case IC_CALL:
		op_call(e, i);
		break;
	case IC_RET:
		op_ret(e, i);
		break;
	case IC_JMPI:
	case IC_CALLI:
		op_indirect(e, i);
		break;
	case IC_LOOP:
		op_loop(e, i);
		break;
	case IC_STR:
		op_string(e, i);
		break;
	case IC_IMPL:
		op_impl(e, i);
		break;
	case IC_MOFFS:
		op_moffs(e, i);
		break;
	case IC_ENTER:
		op_enter(e, i);
		break;
	case IC_LEAVE:
		op_leave(e, i);
		break;
	case IC_SYSCALL:
		em_exit(e, XC_SYSCALL, e->next);
		break;
	case IC_SENS:
		if (op_sensitive(e, i))
			break;
		em_exit(e, XC_SENS, e->pc);
		break;
	case IC_INT:
		em_exit(e, XC_INT | (uint32_t)i->bytes[i->o_imm] << 8 | (uint32_t)i->len << 16,
			e->next);
		break;
	case IC_INT3:
		em_exit(e, XC_INT | 3u << 8 | (uint32_t)i->len << 16, e->next);
		break;
	case IC_LONG:
		em_exit(e, XC_GP, e->pc);
		e->end = true;
		break;
	default:
		em_exit(e, XC_UD, e->pc);
		e->end = true;
		break;
	}
}

/* Is this a store, which may change what follows, or a branch: the end of a verified block? */
static bool ends_verified(const struct insn *i)
{
	if (i->desc & ID_MEM_WRITE)
		return true;
	switch (insn_class(i)) {
	case IC_JCC:
	case IC_LOOP:
	case IC_CALL:
	case IC_CALLI:
		return true;
	default:
		return false;
	}
}

/*
 * A verified block: short, left at the first branch, entered at its start only. Its length must be
 * known before its code is emitted.
 */
static unsigned int verified_len(struct xlate *x, struct em *e)
{
	const uint64_t start = e->pc;
	unsigned int n, len = 0, k;
	struct insn i;
	uint32_t err;

	for (k = 0; k < 16; k++) {
		n = decode(x, e, &i, &err);
		if (!n || (len && len + n > 64))
			break;
		len += n;
		e->pc += n;
		if (PAGE_MASK_(e->pc) != PAGE_MASK_(start) || ends_verified(&i) ||
		    insn_class(&i) == IC_JMP || insn_class(&i) == IC_RET ||
		    insn_class(&i) == IC_JMPI || insn_class(&i) == IC_UD ||
		    insn_class(&i) == IC_LONG)
			break;
	}
	e->pc = start;
	return len;
}

static void resolve_edges(struct xlate *x, struct em *e)
{
	unsigned int k;

	for (k = 0; k < e->nr_edges; k++) {
		uint32_t id = ++x->nr_edges, host, to;
		struct edge *d = &x->edges[id];

		*d = (struct edge){.target = e->edges[k].target,
				   .site = e->edges[k].site,
				   .call = e->edges[k].call};
		host = x->stepping ? 0
		       : d->call   ? xlate_lookup_call(x, d->target)
				   : xlate_lookup(x, d->target);
		to = host ? xlate_frag_of(x, host) : 0;
		if (to) {
			xlate_link(x, id, host, to);
		} else {
			uint32_t rel = xlate_edge_stub(x, id) - (d->site + 4);

			__builtin_memcpy((void *)(uintptr_t)d->site, &rel, 4);
		}
	}
}

/*
 * Behind the gate of a run of FPU instructions and within it: not to be entered from elsewhere,
 * because the trap may have been set since.
 */
static bool in_gated_run(const struct em *e, const struct insn *i)
{
	return e->gated && (i->desc & ID_FPU);
}

static void note_fpu(struct xlate *x, struct em *e, const struct insn *i)
{
	if (!(i->desc & ID_FPU)) {
		e->gated = false;
		return;
	}
	if (!(e->f->flags & FRAG_FPU)) {
		e->f->flags |= FRAG_FPU;
		x->nr_fpu_frags++;
	}
	if (x->fpu_lazy && !x->ts && !e->gated) {
		op_fpu_gate(e);
		e->gated = true;
	}
}

static bool is_full(const struct em *e)
{
	return here(e) - e->f->host > FRAG_HOST_MAX / 2;
}

/* Is it one host instruction now, which may lie anywhere? (FPU instructions may be exits.) */
static bool is_plain(const struct em *e, const struct insn *i)
{
	return insn_class(i) == IC_COPY && !(i->desc & ID_FPU) && !e->nsteps;
}

/* Emit instructions from e->pc on. */
static void emit_body(struct xlate *x, struct em *e, struct insn *first)
{
	bool verify = e->f->flags & FRAG_VERIFY;
	const uint64_t start = e->pc;
	uint64_t limit = ~0ull;
	unsigned int count, max = x->stepping || x->redo ? 1 : FRAG_MAX_INSNS, glen;
	struct insn i = *first;
	uint32_t err, site;

	if (verify) {
		unsigned int len = verified_len(x, e);

		limit = start + len;
		op_verify(e, len);
	}
	for (count = 0; count < max && !e->end; count++) {
		if (count) {
			if (PAGE_MASK_(e->pc) != PAGE_MASK_(start) || e->pc == limit)
				break;
			if (!verify && xlate_lookup(x, e->pc))
				break; /* joins a fragment that exists */
			if (!decode(x, e, &i, &err))
				break;
		}
		glen = i.len;
		e->next = e->pc + glen;
		if (insn_class(&i) == IC_JCC)
			op_keep_together(e);
		if (!verify && !x->stepping && !x->redo && !in_gated_run(e, &i) && !e->group_left)
			xlate_map(x, e->pc, here(e));
		note_fpu(x, e, &i);
		em_watch(e, &i);
		em_begin(e);
		site = e->group_left ? 0 : xlate_user_site(x, e->pc, &i);
		if (!site && !e->group_left && !verify && !is_full(e))
			op_group_find(e, &i, max - count);
		if ((i.desc & ID_FPU) && x->ts) {
			em_exit(e, XC_NM, e->pc);
			e->end = true;
		} else if (site) {
			if (!op_user_inline(e, &i, site) && !op_user_string(e, &i, site))
				em_exit(e, XC_USER | site << 8, e->pc);
		} else if (e->group_left) {
			op_group(e, &i);
		} else {
			emit_insn(e, &i);
		}
		em_end(e, glen);
		e->plain = is_plain(e, &i) && !site ? e->insn_start : NULL;
		e->pc = e->next;
		x->st.guest_insns++;
		if (verify && ends_verified(&i))
			break;
		if (is_full(e) && !e->group_left)
			break;
	}
	e->f->glen = (uint16_t)(e->pc - start);
	if (!e->end) {
		em_begin(e);
		em_step(e, 0);
		e1(e, 0xe9);
		em_edge(e, e->pc);
		em_end(e, 0);
	}
}

bool xlate_have_room(const struct xlate *x)
{
	return x->cold - x->hot > FRAG_HOST_MAX + (2u << 20) && x->nr_frags + 2 < MAX_FRAGS &&
	       x->nr_edges + 2 * FRAG_MAX_INSNS + 16 < MAX_EDGES && x->nr_pages + 8 < MAX_PAGES &&
	       x->nr_touched + TOUCHED_SPARE < MAX_TOUCHED &&
	       x->nr_far + FRAG_MAX_INSNS < MAX_FAR / 2 && x->notes_used + (1u << 16) < NOTES_SIZE;
}

/* Code outside of the flat table's windows: exact mode, until none has been seen for long. */
static void choose_mode(struct xlate *x, uint64_t gva)
{
#ifndef XLATE_NO_TABLE
	if (!in_window(gva)) {
		x->win_quiet = 0;
		if (!x->exact)
			xlate_flush(x);
		x->exact = 1;
		x->st.exact_mode = 1;
	} else if (x->exact && ++x->win_quiet > WIN_QUIET) {
		xlate_flush(x);
		x->exact = 0;
	}
#endif
}

/* A new fragment: its record, not yet counted. */
static void prepare_frag(struct xlate *x, struct em *e, uint64_t gva)
{
	e->x = x;
	e->fi = x->nr_frags + 1;
	e->f = &x->frags[e->fi];
	*e->f = (struct frag){.gva = gva};
	e->pc = gva;
	e->end = false;
	e->redirect = false;
	e->gated = false;
	e->plain = NULL;
	e->group_left = 0;
	e->exact = x->exact || x->stepping || x->redo;
	e->nr_edges = e->nr_calls = 0;
}

static void place_frag(struct xlate *x, struct em *e, bool called)
{
	const uint32_t align = e->f->gva & 15 ? FRAG_ALIGN : LOOP_ALIGN;

	x->hot = (x->hot + align - 1) & -align;
	e->f->host = x->hot;
	e->f->notes = x->notes_used;
	e->note = x->notes + x->notes_used;
	e->p = (uint8_t *)(uintptr_t)x->hot;
	x->nr_frags++;
	if (!called)
		return;
	e->f->flags |= FRAG_CALLED;
	em_begin(e);
	em_step(e, ACT_FIX(FIX_POP8));
	ebytes(e, em_call_entry, CALL_ENTRY);
	em_end(e, 0);
}

void xlate_begin_frag(struct xlate *x, struct em *e, uint64_t gva)
{
	prepare_frag(x, e, gva);
	place_frag(x, e, false);
}

void xlate_end_frag(struct xlate *x, struct em *e)
{
	e->f->notes_end = (uint32_t)(e->note - x->notes);
	x->notes_used = e->f->notes_end;
	op_call_stubs(e);
	x->hot = e->f->end;
	resolve_edges(x, e);
}

uint32_t xlate_translate(struct xlate *x, uint64_t gva, bool called, uint32_t *err, uint64_t *addr)
{
	struct em *e = x->em;
	struct page_rec *page, *frame;
	struct xlate_code code;
	struct insn first;
	unsigned int avail, k, off = gva & 0xfff;

	*addr = gva;
	/* Nothing is forgotten for a jump to where no code is. */
	*err = x->cfg.fetch(x->cfg.priv, gva, &code);
	if (*err)
		return 0;
	choose_mode(x, gva);
	if (!xlate_have_room(x))
		xlate_flush(x);
	*err = open_page(x, gva, &code, &page, &frame);
	if (*err)
		return 0;

	prepare_frag(x, e, gva);
	attach(x, e, 0, page, frame);
	avail = 4096 - off;
	e->source.to_page_end = avail <= SRC_MAX;
	e->source.len = avail <= SRC_MAX ? avail : SRC_MAX;
	e->source.second = false;
	for (k = 0; k + 8 <= e->source.len; k += 8)
		__builtin_memcpy(e->source.buf + k, code.ptr + off + k, 8);
	for (; k < e->source.len; k++)
		e->source.buf[k] = code.ptr[off + k];
	e->src = e->source.buf;
	e->src_gva = gva;
	e->src_len = e->source.len;
	if (!decode(x, e, &first, err)) {
		*addr = PAGE_MASK_(gva) + 4096;
		return 0;
	}

	place_frag(x, e, called);
	emit_body(x, e, &first);
	xlate_end_frag(x, e);
	if ((e->f->flags & FRAG_VERIFY) && !x->stepping && !x->redo)
		xlate_map(x, gva, frag_body(e->f));
	if (x->stepping || x->redo)
		e->f->flags |= FRAG_STEP;
	enlist(x, e->fi);
	x->st.fragments++;
	x->st.guest_bytes += e->f->glen;
	x->st.host_bytes += e->f->end - e->f->host;
	return frag_body(e->f);
}
