/* SPDX-License-Identifier: MIT */
/* Linear mappings, preemption in the middle of a tree, undo, and what several holders share. */
#include <stdlib.h>
#include <string.h>

#include "mm_test.h"

/* ---- linear mappings ----------------------------------------------------------------------- */

static void linear_self(void **state)
{
	struct mm_guest *g = *state;
	struct tree t = make_tree(g, FREE);

	frame_at(g, t.l4)[100] = pte(t.l4, P);
	frame_at(g, t.l3)[100] = pte(t.l3, P);
	frame_at(g, t.l2)[100] = pte(t.l2, P | U);
	assert_int_equal(mmuext(g, MMUEXT_PIN_L4_TABLE, t.l4, 0), 0);
	check(g);
	assert_int_equal(frame_trefs(word_of(g, t.l4)), 1);
	/* Changing and clearing such an entry. */
	assert_int_equal(update(g, t.l2, 101, pte(t.l2, P)), 0);
	assert_int_equal(update(g, t.l2, 100, 0), 0);
	check(g);
	assert_int_equal(mmuext(g, MMUEXT_UNPIN_TABLE, t.l4, 0), 0);
	check(g);
	assert_int_equal(frame_type(word_of(g, t.l2)), FRAME_NONE);
}

static void linear_refused(void **state)
{
	struct mm_guest *g = *state;
	struct tree t = make_tree(g, FREE);

	/* Writable, and not of the same level. */
	assert_int_equal(mmuext(g, MMUEXT_PIN_L4_TABLE, t.l4, 0), 0);
	assert_int_equal(update(g, t.l4, 100, pte(t.l4, P | RW)), -XEN_EINVAL);
	assert_int_equal(update(g, t.l4, 100, pte(t.l2, P)), -XEN_EINVAL);
	assert_int_equal(update(g, t.l3, 100, pte(t.l4, P)), -XEN_EINVAL);
	assert_int_equal(update(g, t.l2, 100, pte(t.l4, P)), -XEN_EINVAL);
	check(g);
	/* While it is being validated as another level's child, a table cannot be mapped. */
	frame_at(g, 200)[0] = pte(201, P);
	frame_at(g, 201)[0] = pte(200, P);
	make_ro(g, 200);
	make_ro(g, 201);
	assert_int_equal(mmuext(g, MMUEXT_PIN_L3_TABLE, 200, 0), -XEN_EINVAL);
	assert_int_equal(mmuext(g, MMUEXT_PIN_L4_TABLE, 200, 0), -XEN_EINVAL);
	check(g);
	assert_int_equal(mmuext(g, MMUEXT_UNPIN_TABLE, t.l4, 0), 0);
}

/* a maps b linearly: b may not map others, a may not be mapped, and b outlives its pin. */
static void linear_other(void **state)
{
	struct mm_guest *g = *state;
	uint64_t a = 200, b = 201, other = 202;

	for (uint64_t mfn = a; mfn <= other; mfn++) {
		make_ro(g, mfn);
		assert_int_equal(mmuext(g, MMUEXT_PIN_L2_TABLE, mfn, 0), 0);
	}
	assert_int_equal(update(g, a, 0, pte(b, P)), 0);
	check(g);
	assert_int_equal(update(g, a, 1, pte(b, P)), 0);
	check(g);
	assert_int_equal(update(g, b, 0, pte(other, P)), -XEN_EINVAL);
	assert_int_equal(update(g, other, 0, pte(a, P)), -XEN_EINVAL);
	assert_int_equal(update(g, b, 0, pte(a, P)), -XEN_EINVAL);
	assert_int_equal(update(g, b, 0, pte(b, P)), 0); /* itself is no chain */
	check(g);
	assert_int_equal(mmuext(g, MMUEXT_UNPIN_TABLE, b, 0), 0);
	assert_true(frame_is(word_of(g, b), FRAME_L2));
	check(g);
	/* The entry changes from one linear mapping to another, then goes. */
	assert_int_equal(update(g, a, 1, pte(other, P)), 0);
	check(g);
	assert_int_equal(update(g, a, 0, 0), 0);
	assert_int_equal(frame_type(word_of(g, b)), FRAME_NONE);
	check(g);
	assert_int_equal(mmuext(g, MMUEXT_UNPIN_TABLE, other, 0), 0);
	assert_int_equal(mmuext(g, MMUEXT_UNPIN_TABLE, a, 0), 0);
	assert_int_equal(frame_type(word_of(g, other)), FRAME_NONE);
	check(g);
	make_rw(g, a);
	make_rw(g, b);
	make_rw(g, other);
}

/* ---- preemption ---------------------------------------------------------------------------- */

#define BIG 64u /* frames of the big tree: 1 L4, 2 L3, 8 L2, the rest L1 */

/* Two L3s, in each four L2s, in each some L1s with a few entries; one L1 shared by all L2s. */
static uint64_t big_tree(struct mm_guest *g)
{
	uint64_t l4 = 128, l3 = l4 + 1, l2 = l3 + 2, l1 = l2 + 8, shared = l4 + BIG - 1;

	for (unsigned int i = 0; i < 2; i++)
		frame_at(g, l4)[i * 300] = pte(l3 + i, P | RW);
	for (unsigned int i = 0; i < 8; i++)
		frame_at(g, l3 + i / 4)[i * 60] = pte(l2 + i, P | RW);
	for (unsigned int i = 0; i < 48; i++) {
		frame_at(g, l2 + i / 6)[(i % 6) * 100] = pte(l1 + i, P | RW);
		for (unsigned int k = 0; k < 16; k++)
			frame_at(g, l1 + i)[k * 32] = pte(300 + i + k, P | (k & 1 ? RW : 0));
	}
	for (unsigned int i = 0; i < 8; i++)
		frame_at(g, l2 + i)[511] = pte(shared, P | RW);
	frame_at(g, shared)[0] = pte(400, P | RW);
	for (uint64_t mfn = l4; mfn < l4 + BIG; mfn++)
		make_ro(g, mfn);
	check(g);
	return l4;
}

static void all_none(struct mm_guest *g, uint64_t first)
{
	for (uint64_t mfn = first; mfn < first + BIG; mfn++)
		assert_int_equal(frame_trefs(word_of(g, mfn)), 0);
	check(g);
}

static void preempted_pin(void **state)
{
	struct mm_guest *g = *state;
	uint64_t l4 = big_tree(g);

	mm_guest_preempt(g, true);
	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(mmuext(g, MMUEXT_PIN_L4_TABLE, l4, 0), 0);
		assert_true(g->turns > 40);
		check(g);
		/* Every entry was adjusted, also those at which it was stopped. */
		for (uint64_t mfn = l4; mfn < l4 + 11; mfn++) {
			for (unsigned int k = 0; k < 512; k++) {
				uint64_t e = frame_at(g, mfn)[k];

				if ((e & P) && !(mfn == l4 && k >= 256 && k < 272))
					assert_true(e & U);
			}
		}
		assert_int_equal(mmuext(g, MMUEXT_UNPIN_TABLE, l4, 0), 0);
		assert_true(g->turns > 40);
		all_none(g, l4);
	}
}

/* The last reference of a big tree is a linear entry. */
static void preempted_linear(void **state)
{
	struct mm_guest *g = *state;
	uint64_t l4 = big_tree(g), a = FREE;

	make_ro(g, a);
	assert_int_equal(mmuext(g, MMUEXT_PIN_L4_TABLE, a, 0), 0);
	for (unsigned int round = 0; round < 2; round++) {
		mm_guest_preempt(g, false);
		assert_int_equal(mmuext(g, MMUEXT_PIN_L4_TABLE, l4, 0), 0);
		assert_int_equal(update(g, a, 9, pte(l4, P)), 0);
		assert_int_equal(mmuext(g, MMUEXT_UNPIN_TABLE, l4, 0), 0);
		assert_true(frame_is(word_of(g, l4), FRAME_L4));
		check(g);
		mm_guest_preempt(g, true);
		if (round == 0) {
			assert_int_equal(update(g, a, 9, 0), 0);
			assert_true(g->turns > 40);
		} else {
			/* ... in a table that is itself given up. */
			assert_int_equal(mmuext(g, MMUEXT_UNPIN_TABLE, a, 0), 0);
			assert_true(g->turns > 40);
		}
		all_none(g, l4);
	}
	assert_int_equal(frame_trefs(word_of(g, a)), 0);
}

/* One turn of a hypercall, as the executor makes it; true: to be continued with args. */
static bool turn(struct mm_guest *g, mm_guest_call *call, uint64_t args[6], long *ret_rc)
{
	g->c.hc.preempted = false;
	*ret_rc = call(&g->c, args);
	if (g->c.hc.preempted)
		memcpy(args, g->c.hc.args, sizeof(g->c.hc.args));
	check(g);
	return g->c.hc.preempted;
}

static uint64_t put_ext(struct mm_guest *g, unsigned int cmd, uint64_t mfn)
{
	struct mmuext_op op = {.cmd = cmd, .arg1.mfn = mfn};

	return put_args(g, 0, &op, sizeof(op));
}

/* The counts are right at each stop, and no other operation can use what is half done. */
static void every_stop(void **state)
{
	struct mm_guest *g = *state;
	uint64_t l4 = big_tree(g),
		 args[6] = {put_ext(g, MMUEXT_PIN_L4_TABLE, l4), 1, 0, DOMID_SELF};
	unsigned int stops = 0;
	long rc;

	mm_guest_preempt(g, true);
	while (turn(g, core_hc_mmuext_op, args, &rc)) {
		stops++;
		assert_false(word_of(g, l4) & FRAME_VALID);
		assert_int_equal(va_mapping(g, VA(l4), pte(l4, P | RW), 0), -XEN_EBUSY);
		assert_int_equal(update(g, l4, 5, 0), -XEN_EINVAL);
		put_ext(g, MMUEXT_PIN_L4_TABLE, l4);
		check(g);
	}
	assert_int_equal(rc, 0);
	assert_true(stops > 40);
	mm_guest_preempt(g, false);
	assert_int_equal(mmuext(g, MMUEXT_UNPIN_TABLE, l4, 0), 0);
	all_none(g, l4);
}

/* The guest never comes back to its pin: another one takes the half-done table over. */
static void orphan(void **state)
{
	struct mm_guest *g = *state;
	uint64_t l4 = big_tree(g), args[6];
	long rc;

	for (unsigned int stops = 1; stops < 40; stops += 6) {
		uint64_t start[6] = {put_ext(g, MMUEXT_PIN_L4_TABLE, l4), 1, 0, DOMID_SELF};

		memcpy(args, start, sizeof(args));
		mm_guest_preempt(g, true);
		for (unsigned int i = 0; i < stops; i++)
			assert_true(turn(g, core_hc_mmuext_op, args, &rc));
		assert_true(word_of(g, l4) & FRAME_ORPHAN);
		mm_guest_preempt(g, false);
		/* As another type it stays refused; as this one it goes on where it stopped. */
		assert_int_equal(mmuext(g, MMUEXT_PIN_L1_TABLE, l4, 0), -XEN_EINVAL);
		assert_int_equal(mmuext(g, MMUEXT_NEW_USER_BASEPTR, l4, 0), 0);
		check(g);
		assert_int_equal(mmuext(g, MMUEXT_NEW_USER_BASEPTR, 0, 0), 0);
		all_none(g, l4);
	}
}

/* A half-done L2 in a half-done tree is asked for by somebody else. */
static void shared_stop(void **state)
{
	struct mm_guest *g = *state;
	uint64_t l4 = big_tree(g), l2 = l4 + 3, args[6] = {0, 1, 0, DOMID_SELF};
	long rc;

	args[0] = put_ext(g, MMUEXT_PIN_L4_TABLE, l4);
	mm_guest_preempt(g, true);
	assert_true(turn(g, core_hc_mmuext_op, args, &rc));
	assert_true(turn(g, core_hc_mmuext_op, args, &rc));
	assert_false(word_of(g, l2) & FRAME_VALID);
	assert_int_equal(frame_type(word_of(g, l2)), FRAME_L2);
	assert_int_equal(mmuext(g, MMUEXT_PIN_L2_TABLE, l2, 0), 0);
	check(g);
	assert_int_equal(frame_trefs(word_of(g, l2)), 2);
	put_ext(g, MMUEXT_PIN_L4_TABLE, l4);
	while (turn(g, core_hc_mmuext_op, args, &rc))
		;
	assert_int_equal(rc, 0);
	assert_int_equal(mmuext(g, MMUEXT_UNPIN_TABLE, l4, 0), 0);
	assert_true(frame_is(word_of(g, l2), FRAME_L2));
	assert_int_equal(mmuext(g, MMUEXT_UNPIN_TABLE, l2, 0), 0);
	all_none(g, l4);
}

/* The last entry of the tree is bad: a long undo, stopped again and again, and then the error. */
static void preempted_undo(void **state)
{
	struct mm_guest *g = *state;
	uint64_t l4 = big_tree(g), last_l1 = l4 + 11 + 47;

	frame_at(g, last_l1)[511] = pte(BOOT_L4, P | RW);
	for (unsigned int preempt = 0; preempt < 2; preempt++) {
		mm_guest_preempt(g, preempt);
		assert_int_equal(mmuext(g, MMUEXT_PIN_L4_TABLE, l4, 0), -XEN_EBUSY);
		assert_int_equal(g->turns > 80, preempt);
		all_none(g, l4);
		assert_int_equal(mmuext(g, MMUEXT_NEW_BASEPTR, l4, 0), -XEN_EBUSY);
		all_none(g, l4);
		assert_int_equal(update(g, BOOT_L4, 0, pte(l4 + 2, P)), -XEN_EBUSY);
		all_none(g, l4);
		assert_int_equal(update(g, BOOT_L4, 0, pte(l4 + 1, P)), 0);
		check(g);
		assert_int_equal(update(g, BOOT_L4, 0, 0), 0);
		all_none(g, l4);
	}
}

/* While a demotion is put off, every memory hypercall first goes on with it. */
static void old_table(void **state)
{
	struct mm_guest *g = *state;
	uint64_t l4 = big_tree(g), args[6] = {0, 1, 0, DOMID_SELF};
	long rc;

	assert_int_equal(mmuext(g, MMUEXT_PIN_L4_TABLE, l4, 0), 0);
	args[0] = put_ext(g, MMUEXT_UNPIN_TABLE, l4);
	mm_guest_preempt(g, true);
	assert_true(turn(g, core_hc_mmuext_op, args, &rc));
	assert_int_equal(g->c.v->mm_old_table, l4 + 1);
	assert_true(turn(g, core_hc_mmuext_op, args, &rc));
	/* Pinned again before it is gone: it comes back, the old reference goes later. */
	mm_guest_preempt(g, false);
	assert_int_equal(mmuext(g, MMUEXT_PIN_L4_TABLE, l4, 0), 0);
	check(g);
	assert_int_equal(g->c.v->mm_old_table, 0);
	assert_int_equal(mmuext(g, MMUEXT_UNPIN_TABLE, l4, 0), 0);
	all_none(g, l4);

	/* The same from another vCPU's point of view: it does not finish it, but may reuse it. */
	assert_int_equal(mmuext(g, MMUEXT_PIN_L4_TABLE, l4, 0), 0);
	mm_guest_preempt(g, true);
	memcpy(args, (uint64_t[]){put_ext(g, MMUEXT_UNPIN_TABLE, l4), 1, 0, DOMID_SELF, 0, 0},
	       sizeof(args));
	for (unsigned int i = 0; i < 10; i++)
		assert_true(turn(g, core_hc_mmuext_op, args, &rc));
	uint64_t pending = g->c.v->mm_old_table;

	assert_int_equal(pending, l4 + 1);
	g->c.v->mm_old_table = 0; /* ... which is what another vCPU's is */
	g->refs[l4]++, g->trefs[l4]++;
	mm_guest_preempt(g, false);
	assert_int_equal(mmuext(g, MMUEXT_PIN_L4_TABLE, l4, 0), 0);
	check(g);
	assert_true(frame_is(word_of(g, l4), FRAME_L4));
	g->c.v->mm_old_table = pending;
	g->refs[l4]--, g->trefs[l4]--;
	assert_int_equal(mmuext(g, MMUEXT_TLB_FLUSH_LOCAL, 0, 0), 0);
	check(g);
	assert_true(frame_is(word_of(g, l4), FRAME_L4));
	assert_int_equal(mmuext(g, MMUEXT_UNPIN_TABLE, l4, 0), 0);
	all_none(g, l4);
}

/* Entries of upper levels lead to big subtrees, too: mmu_update is continued in the middle. */
static void preempted_entry(void **state)
{
	struct mm_guest *g = *state;
	uint64_t l4 = big_tree(g);
	struct mmu_update reqs[3] = {
		{(uint64_t)BOOT_L4 << 12 | 8, pte(l4 + 1, P | RW)},
		{(uint64_t)BOOT_L4 << 12 | 16, pte(l4 + 2, P | RW)},
		{(uint64_t)BOOT_L1 << 12 | 200 * 8, pte(201, P)},
	};
	uint32_t done;

	mm_guest_preempt(g, true);
	assert_int_equal(mmu_update(g, reqs, 3, DOMID_SELF, &done), 0);
	assert_int_equal(done, 3);
	assert_true(g->turns > 40);
	check(g);
	reqs[0].val = 0;
	reqs[1].val = 0;
	reqs[2].val = pte(BOOT_L1, P | RW);
	assert_int_equal(mmu_update(g, reqs, 3, DOMID_SELF, &done), -XEN_EBUSY);
	assert_int_equal(done, 2);
	assert_true(g->turns > 40);
	all_none(g, l4);
	/* The last request leaves a rest: the result comes after it. */
	assert_int_equal(update(g, BOOT_L4, 1, pte(l4 + 1, P)), 0);
	assert_int_equal(update(g, BOOT_L4, 1, 0), 0);
	assert_int_equal(g->c.v->mm_old_table, 0);
	all_none(g, l4);
	/* Roots. */
	assert_int_equal(mmuext(g, MMUEXT_NEW_USER_BASEPTR, l4, 0), 0);
	check(g);
	assert_int_equal(mmuext(g, MMUEXT_NEW_USER_BASEPTR, 0, 0), 0);
	all_none(g, l4);
}

static void mov_cr3(void **state)
{
	struct mm_guest *g = *state;
	uint64_t l4 = big_tree(g);
	unsigned int turns = 0;
	int rc;

	frame_at(g, l4)[511] = pte(BOOT_L3, P | RW);
	mm_guest_preempt(g, true);
	while ((rc = core_mm_write_cr3(&g->c, l4)) > 0)
		turns++;
	assert_int_equal(rc, 0);
	assert_true(turns > 40);
	assert_int_equal(g->c.v->kernel_root, l4);
	check(g);
	while ((rc = core_mm_write_cr3(&g->c, BOOT_L4)) > 0)
		;
	assert_int_equal(rc, 0);
	while ((rc = core_mm_write_cr3(&g->c, BOOT_L4)) > 0)
		;
	all_none(g, l4);
	assert_true(core_mm_write_cr3(&g->c, 200) < 0);
	assert_true(core_mm_write_cr3(&g->c, ~0ull >> 12) < 0);
}

/* vcpu_op: roots of another vCPU, all or nothing, without preemption. */
static void other_vcpu(void **state)
{
	struct mm_guest *g = mm_guest_new(2);
	uint64_t l4 = big_tree(g);
	struct core_vcpu *v = &g->c.d->vcpu[1];

	mm_guest_preempt(g, true);
	assert_int_equal(core_mm_set_roots(&g->c, v, l4, 200), -XEN_EINVAL);
	all_none(g, l4);
	assert_int_equal(core_mm_set_roots(&g->c, v, 200, l4), -XEN_EINVAL);
	assert_int_equal(core_mm_set_roots(&g->c, v, BOOT_L4, l4), 0);
	check(g);
	core_mm_drop_roots(&g->c, v);
	all_none(g, l4);
	assert_int_equal(core_mm_set_roots(&g->c, v, BOOT_L4, CORE_INVALID_MFN), 0);
	check(g);
	core_mm_drop_roots(&g->c, v);
	check(g);
	mm_guest_free(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MM_TEST(linear_self),
		MM_TEST(linear_refused),
		MM_TEST(linear_other),
		MM_TEST(preempted_pin),
		MM_TEST(preempted_linear),
		MM_TEST(every_stop),
		MM_TEST(orphan),
		MM_TEST(shared_stop),
		MM_TEST(preempted_undo),
		MM_TEST(old_table),
		MM_TEST(preempted_entry),
		MM_TEST(mov_cr3),
		cmocka_unit_test(other_vcpu),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
