/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "mm_test.h"

static void pin_levels(void **state)
{
	struct mm_guest *g = *state;
	struct tree t = make_tree(g, FREE);
	uint64_t mfns[] = {t.l1, t.l2, t.l3, t.l4};

	frame_at(g, t.l1)[0] = pte(200, P | RW);
	for (unsigned int cmd = MMUEXT_PIN_L1_TABLE; cmd <= MMUEXT_PIN_L4_TABLE; cmd++) {
		assert_int_equal(mmuext(g, cmd, mfns[cmd], 0), 0);
		check(g);
		assert_true(word_of(g, mfns[cmd]) & FRAME_PINNED);
		/* Again, and as something else. */
		assert_int_equal(mmuext(g, cmd, mfns[cmd], 0), -XEN_EINVAL);
		assert_int_equal(mmuext(g, (cmd + 1) % 4, mfns[cmd], 0), -XEN_EINVAL);
		check(g);
	}
	/* Unpinned from below: the upper levels keep them as tables. */
	for (unsigned int i = 0; i < 4; i++) {
		assert_int_equal(mmuext(g, MMUEXT_UNPIN_TABLE, mfns[i], 0), 0);
		check(g);
		assert_int_equal(mmuext(g, MMUEXT_UNPIN_TABLE, mfns[i], 0), -XEN_EINVAL);
		if (i < 3)
			assert_true(frame_is(word_of(g, mfns[i]), (enum frame_type)(i + 1)));
	}
	for (unsigned int i = 0; i < 4; i++) {
		assert_int_equal(frame_type(word_of(g, mfns[i])), FRAME_NONE);
		make_rw(g, mfns[i]);
	}
}

static void pin_refused(void **state)
{
	struct mm_guest *g = *state;

	assert_int_equal(mmuext(g, MMUEXT_PIN_L1_TABLE, 200, 0), -XEN_EINVAL); /* writable */
	assert_int_equal(mmuext(g, MMUEXT_PIN_L1_TABLE, NR_PAGES, 0), -XEN_EINVAL);
	assert_int_equal(mmuext(g, MMUEXT_PIN_L1_TABLE, NR_FRAMES, 0), -XEN_EINVAL);
	assert_int_equal(mmuext(g, MMUEXT_PIN_L1_TABLE, ~0ull, 0), -XEN_EINVAL);
	assert_int_equal(mmuext(g, MMUEXT_UNPIN_TABLE, 200, 0), -XEN_EINVAL);
	assert_int_equal(mmuext(g, MMUEXT_UNPIN_TABLE, NR_FRAMES, 0), -XEN_EINVAL);
	for (uint64_t mfn = NR_PAGES; mfn < MAX_PAGES; mfn++) /* free ones */
		assert_int_equal(mmuext(g, MMUEXT_UNPIN_TABLE, mfn, 0), -XEN_EINVAL);
	assert_int_equal(mmuext(g, MMUEXT_UNPIN_TABLE, BOOT_L1, 0), -XEN_EINVAL);
	/* Content errors come through as they are. */
	make_ro(g, 200);
	frame_at(g, 200)[7] = pte(BOOT_L1, P | RW);
	assert_int_equal(mmuext(g, MMUEXT_PIN_L1_TABLE, 200, 0), -XEN_EBUSY);
	frame_at(g, 200)[7] = pte(NR_FRAMES, P | RW);
	assert_int_equal(mmuext(g, MMUEXT_PIN_L1_TABLE, 200, 0), -XEN_EPERM);
	frame_at(g, 200)[7] = pte(201, P | PTE_PCD);
	assert_int_equal(mmuext(g, MMUEXT_PIN_L1_TABLE, 200, 0), -XEN_EINVAL);
	/* A table that maps itself writable can never be one. */
	frame_at(g, 200)[7] = pte(200, P | RW);
	assert_int_equal(mmuext(g, MMUEXT_PIN_L1_TABLE, 200, 0), -XEN_EBUSY);
	frame_at(g, 200)[7] = pte(200, P);
	assert_int_equal(mmuext(g, MMUEXT_PIN_L1_TABLE, 200, 0), 0);
	check(g);
	assert_int_equal(mmuext(g, MMUEXT_UNPIN_TABLE, 200, 0), 0);
}

/* A frame becomes a page table: no writable mapping of it may survive anywhere. */
static void protect(void **state)
{
	struct mm_guest *g = *state;

	make_ro(g, 200);
	assert_int_equal(g->protect, 0);
	assert_int_equal(mmuext(g, MMUEXT_PIN_L1_TABLE, 200, 0), 0);
	assert_int_equal(g->protect, 1);
	assert_int_equal(g->last_protect, 200);
	assert_int_equal(va_mapping(g, VA(200), pte(200, P | RW), 0), -XEN_EBUSY);
	assert_int_equal(mmuext(g, MMUEXT_UNPIN_TABLE, 200, 0), 0);
	/* It was no writable page in between: nothing to protect from. */
	assert_int_equal(mmuext(g, MMUEXT_PIN_L1_TABLE, 200, 0), 0);
	assert_int_equal(g->protect, 1);
	assert_int_equal(mmuext(g, MMUEXT_UNPIN_TABLE, 200, 0), 0);
	make_rw(g, 200);
}

static void xen_slots(void **state)
{
	struct mm_guest *g = *state;
	struct tree t = make_tree(g, FREE);
	uint64_t *l4 = frame_at(g, t.l4), *root = frame_at(g, BOOT_L4);

	/* What the guest leaves there is neither looked at nor kept. */
	l4[256] = pte(BOOT_L1, P | RW);
	l4[271] = ~0ull;
	l4[261] = pte(BOOT_L2, P | RW);
	assert_int_equal(mmuext(g, MMUEXT_PIN_L4_TABLE, t.l4, 0), 0);
	assert_true(l4[256] == 0 && l4[257] == 0 && l4[271] == 0);
	for (unsigned int i = 256; i < 272; i++) {
		bool xen = i == 258 || i == 260 || i == 261 || i == 262;

		assert_int_equal(l4[i] & P, xen);
		assert_false(l4[i] & U);
		assert_true(!xen || pte_mfn(l4[i]) >= NR_FRAMES);
		assert_int_equal(root[i] & (P | U), i == 256 ? P | U : xen ? P : 0u);
	}
	check(g);
	/* The M2P is shown in roots that are in use by the kernel; by "strict" in no other. */
	assert_int_equal(mmuext(g, MMUEXT_NEW_USER_BASEPTR, t.l4, 0), 0);
	assert_true(l4[256] == 0);
	assert_int_equal(mmuext(g, MMUEXT_NEW_USER_BASEPTR, 0, 0), 0);
	g->c.d->vm_assist = 1ull << VMASST_TYPE_m2p_strict;
	assert_int_equal(mmuext(g, MMUEXT_UNPIN_TABLE, t.l4, 0), 0);
	assert_int_equal(mmuext(g, MMUEXT_PIN_L4_TABLE, t.l4, 0), 0);
	assert_true(l4[256] & P);
	assert_int_equal(mmuext(g, MMUEXT_NEW_USER_BASEPTR, t.l4, 0), 0);
	assert_true(l4[256] == 0);
	/* A linear map shows them, but leads nowhere. */
	assert_int_equal(update(g, BOOT_L4, 300, pte(BOOT_L4, P)), 0);
	uint64_t mfn, flags, slot300 = 300ull << 39 | 0xffffull << 48;

	assert_true(core_walk(&g->c, BOOT_L4, slot300 | 300ull << 30 | 300ull << 21 | 300ull << 12,
			      &mfn, &flags));
	assert_int_equal(mfn, BOOT_L4);
	assert_false(
		core_walk(&g->c, BOOT_L4, slot300 | 300ull << 30 | 258ull << 21, &mfn, &flags));
	check(g);
}

static void baseptr(void **state)
{
	struct mm_guest *g = *state;
	struct tree t = make_tree(g, FREE);
	struct core_vcpu *v = g->c.v;

	frame_at(g, t.l4)[511] = pte(BOOT_L3, P | RW | U);
	assert_int_equal(mmuext(g, MMUEXT_NEW_BASEPTR, t.l4, 0), 0);
	assert_int_equal(v->kernel_root, t.l4);
	assert_int_equal(g->root_changed, 2);
	assert_int_equal(frame_at(g, t.l4)[256] & (P | U), P | U);
	check(g);
	/* The old root is still pinned, the new one is not and lives by being loaded. */
	assert_true(frame_is(word_of(g, BOOT_L4), FRAME_L4));
	assert_int_equal(mmuext(g, MMUEXT_UNPIN_TABLE, BOOT_L4, 0), 0);
	assert_int_equal(frame_type(word_of(g, BOOT_L4)), FRAME_NONE);
	assert_true(frame_is(word_of(g, BOOT_L3), FRAME_L3));
	check(g);
	/* Again: a flush. */
	assert_int_equal(mmuext(g, MMUEXT_NEW_BASEPTR, t.l4, 0), 0);
	assert_int_equal(g->root_changed, 2);
	assert_int_equal(g->flush_all, 1);
	assert_int_equal(mmuext(g, MMUEXT_NEW_BASEPTR, 200, 0), -XEN_EINVAL);
	assert_int_equal(mmuext(g, MMUEXT_NEW_BASEPTR, t.l3, 0), -XEN_EINVAL);
	assert_int_equal(mmuext(g, MMUEXT_NEW_BASEPTR, NR_FRAMES, 0), -XEN_EINVAL);
	assert_int_equal(v->kernel_root, t.l4);
	check(g);

	assert_int_equal(mmuext(g, MMUEXT_NEW_USER_BASEPTR, BOOT_L4, 0), 0);
	assert_int_equal(v->user_root, BOOT_L4);
	check(g);
	assert_int_equal(mmuext(g, MMUEXT_NEW_USER_BASEPTR, t.l1, 0), -XEN_EINVAL);
	assert_int_equal(mmuext(g, MMUEXT_NEW_USER_BASEPTR, 0, 0), 0);
	assert_true(v->user_root == CORE_INVALID_MFN);
	check(g);
	assert_int_equal(mmuext(g, MMUEXT_NEW_BASEPTR, BOOT_L4, 0), 0);
	assert_int_equal(frame_type(word_of(g, t.l4)), FRAME_NONE);
	check(g);
}

static void flushes(void **state)
{
	struct mm_guest *g = mm_guest_new(4);
	uint64_t mask = 0xffff0005, va = VA(5);
	struct mmuext_op op = {.cmd = MMUEXT_TLB_FLUSH_MULTI};
	uint64_t mask_va = put_args(g, 0x1000, &mask, sizeof(mask));

	assert_int_equal(mmuext(g, MMUEXT_TLB_FLUSH_LOCAL, 0, 0), 0);
	assert_int_equal(g->last_mask, 1);
	assert_int_equal(mmuext(g, MMUEXT_TLB_FLUSH_ALL, 0, 0), 0);
	assert_int_equal(g->last_mask, 15);
	assert_int_equal(mmuext(g, op.cmd, 0, mask_va), 0);
	assert_int_equal(g->last_mask, 5);
	assert_int_equal(g->flush_all, 3);
	assert_int_equal(mmuext(g, op.cmd, 0, VA(NR_PAGES)), -XEN_EINVAL);
	assert_int_equal(mmuext(g, op.cmd, 0, MACH2PHYS_VIRT_START), -XEN_EINVAL);

	assert_int_equal(mmuext(g, MMUEXT_INVLPG_LOCAL, va, 0), 0);
	assert_int_equal(g->last_mask, 1);
	assert_int_equal(mmuext(g, MMUEXT_INVLPG_ALL, va, 0), 0);
	assert_int_equal(g->last_mask, 15);
	assert_int_equal(mmuext(g, MMUEXT_INVLPG_MULTI, va, mask_va), 0);
	assert_int_equal(g->last_mask, 5);
	assert_true(g->last_va == va);
	assert_int_equal(g->flush_va, 3);
	/* The hypervisor's addresses, and those that do not exist, are nobody's mappings. */
	assert_int_equal(mmuext(g, MMUEXT_INVLPG_ALL, MACH2PHYS_VIRT_START, 0), 0);
	assert_int_equal(mmuext(g, MMUEXT_INVLPG_LOCAL, 1ull << 60, 0), 0);
	assert_int_equal(g->flush_va, 3);
	mm_guest_free(g);
}

static void caches(void **state)
{
	struct mm_guest *g = *state;

	assert_int_equal(mmuext(g, MMUEXT_FLUSH_CACHE, 0, 0), -XEN_EACCES);
	assert_int_equal(mmuext(g, MMUEXT_FLUSH_CACHE_GLOBAL, 0, 0), -XEN_EINVAL);
	assert_int_equal(mmuext(g, MMUEXT_MARK_SUPER, 0, 0), -XEN_EOPNOTSUPP);
	assert_int_equal(mmuext(g, MMUEXT_UNMARK_SUPER, 0, 0), -XEN_EOPNOTSUPP);
	assert_int_equal(mmuext(g, 14, 0, 0), -XEN_ENOSYS);
	assert_int_equal(mmuext(g, 21, 0, 0), -XEN_ENOSYS);
	assert_int_equal(mmuext(g, ~0u, 0, 0), -XEN_ENOSYS);
}

static void ldt(void **state)
{
	struct mm_guest *g = *state;
	struct core_vcpu *v = g->c.v;

	assert_int_equal(mmuext(g, MMUEXT_SET_LDT, VA(5), 10), 0);
	assert_true(v->ldt_base == VA(5) && v->ldt_ents == 10);
	assert_int_equal(mmuext(g, MMUEXT_SET_LDT, VA(5) + 8, 10), -XEN_EINVAL);
	assert_int_equal(mmuext(g, MMUEXT_SET_LDT, VA(5), 8193), -XEN_EINVAL);
	assert_int_equal(mmuext(g, MMUEXT_SET_LDT, MACH2PHYS_VIRT_START, 1), -XEN_EINVAL);
	assert_int_equal(mmuext(g, MMUEXT_SET_LDT, 1ull << 50, 1), -XEN_EINVAL);
	assert_true(v->ldt_base == VA(5) && v->ldt_ents == 10);
	/* Without entries the address does not matter. */
	assert_int_equal(mmuext(g, MMUEXT_SET_LDT, 123, 0), 0);
	assert_true(v->ldt_base == 0 && v->ldt_ents == 0);
}

static void pages(void **state)
{
	struct mm_guest *g = *state;

	memset(frame_at(g, 200), 0x5a, 4096);
	g->c.frames[201].aux |= CORE_FRAME_CODE;
	assert_int_equal(mmuext(g, MMUEXT_COPY_PAGE, 201, 200), 0);
	assert_memory_equal(frame_at(g, 200), frame_at(g, 201), 4096);
	assert_int_equal(g->dirtied, 1);
	assert_int_equal(mmuext(g, MMUEXT_CLEAR_PAGE, 200, 0), 0);
	assert_int_equal(frame_at(g, 200)[511], 0);
	assert_int_equal(g->dirtied, 1);
	assert_int_equal(mmuext(g, MMUEXT_COPY_PAGE, 200, BOOT_L1), 0); /* reading is fine */
	assert_int_equal(mmuext(g, MMUEXT_CLEAR_PAGE, BOOT_L1, 0), -XEN_EINVAL);
	assert_int_equal(mmuext(g, MMUEXT_COPY_PAGE, BOOT_L1, 200), -XEN_EINVAL);
	assert_int_equal(mmuext(g, MMUEXT_COPY_PAGE, 200, NR_PAGES), -XEN_EINVAL);
	assert_int_equal(mmuext(g, MMUEXT_COPY_PAGE, 200, NR_FRAMES), -XEN_EINVAL);
	assert_int_equal(mmuext(g, MMUEXT_COPY_PAGE, NR_FRAMES, 200), -XEN_EINVAL);
	assert_int_equal(mmuext(g, MMUEXT_CLEAR_PAGE, NR_PAGES, 0), -XEN_EINVAL);
	assert_int_equal(mmuext(g, MMUEXT_COPY_PAGE, 200, 200), 0);
	check(g);
}

static void foreign(void **state)
{
	struct mm_guest *g = *state;
	struct mmuext_op op = {.cmd = MMUEXT_TLB_FLUSH_LOCAL};
	uint64_t va = put_args(g, 0, &op, sizeof(op));
	static const struct {
		uint32_t id;
		long rc;
	} ids[] = {{DOMID, -XEN_ESRCH},	   {0, -XEN_EPERM},	     {5, -XEN_ESRCH},
		   {DOMID_IO, -XEN_EPERM}, {DOMID_XEN, -XEN_EPERM},  {DOMID_COW, -XEN_ESRCH},
		   {DOMID_SELF, 0},	   {0x10000 | DOMID_SELF, 0}};

	for (unsigned int i = 0; i < sizeof(ids) / sizeof(ids[0]); i++)
		assert_int_equal(mm_guest_hypercall(g, core_hc_mmuext_op, va, 1, 0, ids[i].id),
				 ids[i].rc);
	assert_int_equal(mm_guest_hypercall(g, core_hc_mmuext_op, VA(NR_PAGES), 1, 0, DOMID_SELF),
			 -XEN_EFAULT);
	assert_int_equal(
		mm_guest_hypercall(g, core_hc_mmuext_op, MACH2PHYS_VIRT_START, 1, 0, DOMID_SELF),
		-XEN_EFAULT);
	/* The count of a list that stops. */
	struct mmuext_op ops[3] = {op, op, {.cmd = 99}};

	va = put_args(g, 0, ops, sizeof(ops));
	assert_int_equal(mm_guest_hypercall(g, core_hc_mmuext_op, va, 3, va + 4096, DOMID_SELF),
			 -XEN_ENOSYS);
	assert_int_equal(*(uint32_t *)frame_at(g, ARGS + 1), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MM_TEST(pin_levels), MM_TEST(pin_refused), MM_TEST(protect),
		MM_TEST(xen_slots),  MM_TEST(baseptr),	   cmocka_unit_test(flushes),
		MM_TEST(caches),     MM_TEST(ldt),	   MM_TEST(pages),
		MM_TEST(foreign),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
