/* SPDX-License-Identifier: MIT */
#include "mm_test.h"

static void boot(void **state)
{
	struct mm_guest *g = *state;
	const uint64_t *m2p = frame_at(g, M2P_FIRST);

	check(g);
	assert_int_equal(g->c.v->kernel_root, BOOT_L4);
	assert_true(g->c.v->user_root == CORE_INVALID_MFN);
	assert_int_equal(frame_trefs(word_of(g, BOOT_L4)), 2);
	assert_true(word_of(g, BOOT_L4) & FRAME_PINNED);
	assert_int_equal(g->root_changed, 1);
	assert_int_equal(g->c.d->tot_pages, NR_PAGES);
	assert_int_equal(m2p[0], 0);
	assert_int_equal(m2p[NR_PAGES - 1], NR_PAGES - 1);
	for (unsigned int i = NR_PAGES; i < M2P_FRAMES * 512; i++)
		assert_true(m2p[i] == ~0ull);
}

static void entries_read_back(void **state)
{
	struct mm_guest *g = *state;

	/* The builder's kernel mappings lack USER: marked as the kernel's, not global. */
	assert_int_equal(frame_at(g, BOOT_L1)[40], pte(40, P | RW | U | GK));
	assert_int_equal(frame_at(g, BOOT_L1)[BOOT_L1], pte(BOOT_L1, P | U | GK));
	assert_int_equal(frame_at(g, BOOT_L2)[0], pte(BOOT_L1, P | RW | U));
}

static bool boots(struct mm_guest *g)
{
	bool ok = mm_guest_boot(g);

	assert_int_equal(g->c.d->mm_lock, 0);
	assert_true(ok || g->c.ctl->reason[0] != '\0');
	mm_guest_free(g);
	return ok;
}

static void bad_images(void **state)
{
	struct mm_guest *g = mm_guest_raw(1);

	assert_true(boots(g));

	g = mm_guest_raw(1);
	frame_at(g, BOOT_L1)[BOOT_L2] |= RW; /* a page table mapped writable */
	assert_false(boots(g));

	g = mm_guest_raw(1);
	frame_at(g, BOOT_L1)[3] = pte(M2P_FIRST, P);
	assert_false(boots(g));

	g = mm_guest_raw(1);
	frame_at(g, BOOT_L1)[3] = pte(NR_FRAMES, P);
	assert_false(boots(g));

	g = mm_guest_raw(1);
	frame_at(g, BOOT_L2)[3] = pte(2, P | RW | PTE_PSE);
	assert_false(boots(g));

	g = mm_guest_raw(1);
	frame_at(g, BOOT_L4)[0] = pte(NR_PAGES, P); /* not populated */
	assert_false(boots(g));
}

/* What core_mm_init() is told by the builder. */
static void bad_layouts(void **state)
{
	struct mm_guest *g = mm_guest_new(1);
	struct core_boot good = g->c.ctl->boot, *b = &g->c.ctl->boot;

#define REFUSED(field, value)                                                                      \
	do {                                                                                       \
		*b = good;                                                                         \
		b->field = (value);                                                                \
		assert_false(core_mm_init(&g->c));                                                 \
	} while (0)
	REFUSED(nr_pages, 0);
	REFUSED(nr_pages, MAX_PAGES + 1);
	REFUSED(max_pages, NR_FRAMES + 1);
	REFUSED(nr_frames, 1ull << 30);
	REFUSED(m2p_first, MAX_PAGES - 1);
	REFUSED(m2p_first, NR_FRAMES - 1);
	REFUSED(m2p_frames, 1);
	REFUSED(shared_info, 5);
	REFUSED(shared_info, NR_FRAMES);
	REFUSED(grant_first, 5);
	REFUSED(grant_max, NR_FRAMES);
	REFUSED(root, NR_FRAMES);
	REFUSED(root, ~0ull);
	REFUSED(root, M2P_FIRST);
#undef REFUSED
	*b = good;
	mm_guest_free(g);
}

/* Frames of the hypervisor: which the guest may map, and how. */
static void xen_frames(void **state)
{
	struct mm_guest *g = *state;

	assert_int_equal(va_mapping(g, VA(0), pte(SHARED_INFO, P | RW), 0), 0);
	assert_int_equal(va_mapping(g, VA(1), pte(GRANT_FIRST + GRANT_MAX - 1, P | RW), 0), 0);
	check(g);
	assert_int_equal(va_mapping(g, VA(2), pte(M2P_FIRST, P), 0), -XEN_EBUSY);
	assert_int_equal(va_mapping(g, VA(2), pte(GAP, P), 0), -XEN_EBUSY);
	assert_int_equal(mmuext(g, MMUEXT_PIN_L1_TABLE, SHARED_INFO, 0), -XEN_EINVAL);
	assert_int_equal(mmuext(g, MMUEXT_PIN_L1_TABLE, M2P_FIRST, 0), -XEN_EINVAL);
	assert_int_equal(mmuext(g, MMUEXT_CLEAR_PAGE, M2P_FIRST, 0), -XEN_EINVAL);
	assert_int_equal(mmuext(g, MMUEXT_CLEAR_PAGE, GRANT_FIRST, 0), 0);
	make_rw(g, 0);
	make_rw(g, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MM_TEST(boot),
		MM_TEST(entries_read_back),
		cmocka_unit_test(bad_images),
		cmocka_unit_test(bad_layouts),
		MM_TEST(xen_frames),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
