/* SPDX-License-Identifier: MIT */
/*
 * Frames as page tables: promotion (validating the content and taking the references its entries
 * need) with the first type reference, demotion with the last.
 *
 * Both can take long (an L4 may stand for gigabytes), so both can stop anywhere between two entries
 * of an upper level. The state of a stopped one is in the frame itself and does not know which of
 * the two it was: not FRAME_VALID, and `done` = the number of leading entries that hold their
 * reference. The last of these may lead to a table that is stopped itself. So "continue promoting"
 * starts with finishing that child, and "continue demoting" with putting it.
 *
 * Who keeps a stopped table's reference: its parent's entry, or v->mm_old_table (a demotion, to
 * be continued by the next hypercall of this vCPU), or nobody: FRAME_ORPHAN (a promotion that a
 * hypercall will ask for again); whoever asks next takes the orphan's reference over.
 *
 * Recursion goes one level down each time, plus one step sideways for a linear mapping.
 */
#include "core/mm/entry.h"

/* ---- the frame's second word --------------------------------------------------------------- */

static unsigned int get_done(const struct core_frame *f)
{
	return f->count & 0x3ff;
}

static void set_done(struct core_frame *f, unsigned int done)
{
	f->count = (f->count & 0xffff0000u) | done;
}

/* > 0: mapped by so many linear entries; < 0: has so many. Never both, so chains cannot form. */
static int get_linear(const struct core_frame *f)
{
	return (int16_t)(f->count >> 16);
}

static void add_linear(struct core_frame *f, int by)
{
	f->count = (f->count & 0xffffu) | ((uint32_t)(get_linear(f) + by) << 16);
}

static void clear_bits(struct core_frame *f, uint64_t bits)
{
	frame_set_word(f, frame_word(f) & ~bits);
}

static void set_bits(struct core_frame *f, uint64_t bits)
{
	frame_set_word(f, frame_word(f) | bits);
}

static void drop(struct core_frame *f)
{
	frame_set_word(f, frame_word(f) - FRAME_REF - FRAME_TREF);
}

static int promote(struct core_ctx *c, uint64_t mfn, enum mm_preempt preempt);
static int release(struct core_ctx *c, uint64_t mfn, enum mm_preempt preempt);

/* ---- taking -------------------------------------------------------------------------------- */

/* *ret_held: the references were taken, though what follows may have failed or been stopped. */
static int take(struct core_ctx *c, uint64_t mfn, enum frame_type type, enum mm_preempt preempt,
		bool *ret_held)
{
	struct core_frame *f;
	uint64_t old, new;

	*ret_held = false;
	if (mfn >= c->d->nr_frames)
		return -XEN_EINVAL;
	f = mm_frame(c, mfn);
	old = frame_word(f);
	if (frame_refs(old) == 0 || frame_refs(old) == FRAME_REF_MASK ||
	    (old & FRAME_TREF_MASK) == FRAME_TREF_MASK)
		return -XEN_EINVAL;
	if (frame_trefs(old) != 0) {
		if (frame_type(old) != type)
			return -XEN_EINVAL;
		new = old &FRAME_ORPHAN ? old & ~FRAME_ORPHAN : old + FRAME_REF + FRAME_TREF;
		frame_set_word(f, new);
		*ret_held = true;
		return new &FRAME_VALID ? 0 : promote(c, mfn, preempt);
	}

	new = (old & ~(FRAME_TYPE_MASK | FRAME_VALID)) | ((uint64_t)type << FRAME_TYPE_SHIFT);
	frame_set_word(f, new + FRAME_REF + FRAME_TREF);
	if (frame_held(f, FRAME_WRITERS)) {
		frame_set_word(f, old);
		return -XEN_EINVAL;
	}
	*ret_held = true;
	f->count = 0;
	/* From here on its content must not change behind our back. */
	if (frame_type(old) == FRAME_WRITABLE)
		c->ops->frame_protect(c, mfn);
	return promote(c, mfn, preempt);
}

static bool linear_get(struct core_ctx *c, uint64_t table, unsigned int level, uint64_t pte)
{
	uint64_t mfn = pte_mfn(pte), old;
	struct core_frame *f, *own = mm_frame(c, table);

	if (pte & PTE_RW)
		return false;
	if (mfn == table)
		return true; /* maps itself: no reference, or it would never go away */
	if (mfn >= c->d->nr_frames)
		return false;
	f = mm_frame(c, mfn);
	if (get_linear(own) > 0 || get_linear(own) == INT16_MIN)
		return false;
	old = frame_word(f);
	if (!frame_is(old, (enum frame_type)level) || frame_refs(old) == FRAME_REF_MASK ||
	    (old & FRAME_TREF_MASK) == FRAME_TREF_MASK || get_linear(f) < 0 ||
	    get_linear(f) == INT16_MAX)
		return false;
	frame_set_word(f, old + FRAME_REF + FRAME_TREF);
	add_linear(f, 1);
	add_linear(own, -1);
	return true;
}

/* The references of a present entry of an upper-level table. */
static int entry_take(struct core_ctx *c, uint64_t table, unsigned int level, uint64_t pte,
		      enum mm_preempt preempt, bool *ret_held)
{
	int rc;

	*ret_held = false;
	if (pte & PTE_UPPER_REFUSED)
		return -XEN_EINVAL;
	rc = take(c, pte_mfn(pte), (enum frame_type)(level - 1), preempt, ret_held);
	if (rc == -XEN_EINVAL && !*ret_held && linear_get(c, table, level, pte)) {
		*ret_held = true;
		rc = 0;
	}
	return rc;
}

/* ---- promotion ----------------------------------------------------------------------------- */

static int promote_l1(struct core_ctx *c, uint64_t mfn)
{
	uint64_t *t = mm_table(c, mfn);

	for (unsigned int i = pte_next_present(t, 0); i < PTE_ENTRIES;
	     i = pte_next_present(t, i + 1)) {
		uint64_t pte = pte_read(&t[i]), adjusted;
		int rc = mm_l1e_get(c, pte);
		if (rc != 0) {
			while (i > 0)
				mm_l1e_put(c, pte_read(&t[--i]));
			return rc;
		}
		adjusted = pte_adjust(pte, 1);
		if (adjusted != pte)
			pte_write(&t[i], adjusted);
	}
	set_done(mm_frame(c, mfn), PTE_ENTRIES);
	return 0;
}

static void adjust_upper(uint64_t *entry, unsigned int level)
{
	uint64_t pte = pte_read(entry), adjusted = pte_adjust(pte, level);

	if (adjusted != pte)
		pte_write(entry, adjusted);
}

/* The last entry of a stopped table: finish the child it leads to. */
static int promote_stopped_child(struct core_ctx *c, uint64_t mfn, unsigned int level,
				 enum mm_preempt preempt)
{
	unsigned int done = get_done(mm_frame(c, mfn));
	uint64_t *t = mm_table(c, mfn), pte;
	int rc;

	if (done == 0)
		return 0;
	pte = pte_read(&t[done - 1]);
	if (!(pte & PTE_PRESENT) || pte_xen_slot(level, done - 1) || pte_mfn(pte) == mfn)
		return 0;
	if (!(frame_word(mm_frame(c, pte_mfn(pte))) & FRAME_VALID)) {
		rc = promote(c, pte_mfn(pte), preempt);
		if (rc != 0)
			return rc;
	}
	adjust_upper(&t[done - 1], level);
	return 0;
}

static int promote_upper(struct core_ctx *c, uint64_t mfn, unsigned int level,
			 enum mm_preempt preempt)
{
	struct core_frame *f = mm_frame(c, mfn);
	uint64_t *t = mm_table(c, mfn);
	int rc = promote_stopped_child(c, mfn, level, preempt);

	if (rc != 0)
		return rc;
	for (unsigned int i = pte_next_present(t, get_done(f)); i < PTE_ENTRIES;
	     i = pte_next_present(t, i + 1)) {
		uint64_t pte = pte_read(&t[i]);
		bool held;

		if (pte_xen_slot(level, i))
			continue;
		rc = entry_take(c, mfn, level, pte, preempt, &held);
		if (held)
			set_done(f, i + 1);
		if (rc != 0)
			return rc;
		adjust_upper(&t[i], level);
		if (preempt == MM_PREEMPT && core_preempt_pending(c) && i + 1 < PTE_ENTRIES)
			return -MM_RESTART;
	}
	set_done(f, PTE_ENTRIES);
	if (level == 4)
		mm_fill_xen_slots(c, t);
	return 0;
}

/*
 * Validate a frame that carries its type and (at least) one type reference. On an error or a stop
 * the references stay with whoever holds them.
 */
static int promote(struct core_ctx *c, uint64_t mfn, enum mm_preempt preempt)
{
	struct core_frame *f = mm_frame(c, mfn);
	enum frame_type type = frame_type(frame_word(f));
	int rc;

	if (type == FRAME_SEG_DESC)
		rc = mm_segdesc_validate(c, mfn) ? 0 : -XEN_EINVAL;
	else if (type == FRAME_L1)
		rc = promote_l1(c, mfn);
	else
		rc = promote_upper(c, mfn, (unsigned int)type, preempt);
	if (rc == 0)
		set_bits(f, FRAME_VALID);
	return rc;
}

/* ---- demotion ------------------------------------------------------------------------------ */

static bool entry_is_linear(struct core_ctx *c, unsigned int level, uint64_t pte)
{
	return frame_type(frame_word(mm_frame(c, pte_mfn(pte)))) == (enum frame_type)level;
}

/* Stopped: the reference stays with the entry. */
static int entry_release(struct core_ctx *c, uint64_t table, unsigned int level, uint64_t pte,
			 enum mm_preempt preempt)
{
	uint64_t mfn = pte_mfn(pte);
	struct core_frame *f = mm_frame(c, mfn);
	bool linear;
	int rc;

	if (mfn == table)
		return 0;
	linear = entry_is_linear(c, level, pte);
	/* With the last reference the target's count goes as a whole. */
	if (linear && frame_trefs(frame_word(f)) > 1)
		add_linear(f, -1);
	rc = release(c, mfn, preempt);
	if (rc == 0 && linear)
		add_linear(mm_frame(c, table), 1);
	return rc;
}

static void demote_l1(struct core_ctx *c, uint64_t mfn)
{
	uint64_t *t = mm_table(c, mfn);

	if (get_done(mm_frame(c, mfn)) == 0)
		return;
	for (unsigned int i = pte_next_present(t, 0); i < PTE_ENTRIES;
	     i = pte_next_present(t, i + 1))
		mm_l1e_put(c, pte_read(&t[i]));
	set_done(mm_frame(c, mfn), 0);
}

static int demote_upper(struct core_ctx *c, uint64_t mfn, unsigned int level,
			enum mm_preempt preempt)
{
	struct core_frame *f = mm_frame(c, mfn);
	uint64_t *t = mm_table(c, mfn);

	for (unsigned int i = pte_last_present(t, get_done(f)); i > 0;
	     i = pte_last_present(t, i - 1)) {
		uint64_t pte = pte_read(&t[i - 1]);
		int rc;

		set_done(f, i);
		if (pte_xen_slot(level, i - 1))
			continue;
		rc = entry_release(c, mfn, level, pte, preempt);
		if (rc != 0)
			return rc;
		if (preempt == MM_PREEMPT && core_preempt_pending(c) && i > 1) {
			set_done(f, i - 1);
			return -MM_RESTART;
		}
	}
	set_done(f, 0);
	return 0;
}

static int release(struct core_ctx *c, uint64_t mfn, enum mm_preempt preempt)
{
	struct core_frame *f = mm_frame(c, mfn);
	uint64_t word = frame_word(f);
	enum frame_type type = frame_type(word);

	if (type == FRAME_WRITABLE) {
		mm_unref_writable(c, mfn);
		return 0;
	}
	if (frame_trefs(word) > 1) {
		drop(f);
		return 0;
	}
	if (type == FRAME_L1) {
		demote_l1(c, mfn);
	} else if (type != FRAME_SEG_DESC) {
		int rc;

		clear_bits(f, FRAME_VALID);
		rc = demote_upper(c, mfn, (unsigned int)type, preempt);
		if (rc != 0)
			return rc;
	}
	/* Before anybody can have it as something else. */
	mm_tables_lost(c);
	if (type != FRAME_SEG_DESC && c->ops->table_gone != NULL)
		c->ops->table_gone(c, mfn, (unsigned int)type);
	f->count = 0;
	frame_set_word(f, (frame_word(f) & ~(FRAME_VALID | FRAME_TYPE_MASK)) - FRAME_TREF);
	mm_unref(c, mfn);
	return 0;
}

/* ---- for the operations -------------------------------------------------------------------- */

/* The result of a take whose references are held, for a caller that keeps no state of its own. */
static int settle(struct core_ctx *c, uint64_t mfn, int rc, enum mm_preempt preempt)
{
	struct core_frame *f = mm_frame(c, mfn);

	if (rc == 0)
		return 0;
	if (rc != -MM_RESTART) {
		mm_type_put(c, mfn, preempt);
	} else if (frame_trefs(frame_word(f)) == 1) {
		set_bits(f, FRAME_ORPHAN);
	} else {
		/* Somebody else holds the stopped table as well: it stays theirs. */
		drop(f);
	}
	return rc;
}

int mm_type_get(struct core_ctx *c, uint64_t mfn, enum frame_type type, enum mm_preempt preempt)
{
	bool held;
	int rc = take(c, mfn, type, preempt, &held);

	return held ? settle(c, mfn, rc, preempt) : rc;
}

int mm_entry_get(struct core_ctx *c, uint64_t table, unsigned int level, uint64_t pte,
		 enum mm_preempt preempt)
{
	bool held;
	int rc = entry_take(c, table, level, pte, preempt, &held);

	return held ? settle(c, pte_mfn(pte), rc, preempt) : rc;
}

void mm_type_put(struct core_ctx *c, uint64_t mfn, enum mm_preempt preempt)
{
	if (release(c, mfn, preempt) != 0)
		c->v->mm_old_table = mfn + 1;
}

void mm_entry_put(struct core_ctx *c, uint64_t table, unsigned int level, uint64_t pte,
		  enum mm_preempt preempt)
{
	bool linear = pte_mfn(pte) != table && entry_is_linear(c, level, pte);

	if (entry_release(c, table, level, pte, preempt) != 0) {
		c->v->mm_old_table = pte_mfn(pte) + 1;
		/* The reference is the vCPU's now, no longer that of a linear entry. */
		if (linear)
			add_linear(mm_frame(c, table), 1);
	}
}

int mm_old_table_finish(struct core_ctx *c)
{
	int rc;

	if (c->v->mm_old_table == 0)
		return 0;
	rc = release(c, c->v->mm_old_table - 1, MM_PREEMPT);
	if (rc == 0)
		c->v->mm_old_table = 0;
	return rc;
}
