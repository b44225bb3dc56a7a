/* SPDX-License-Identifier: MIT */
/* Frame counts at their limits, the library's side, descriptor pages, grants' PTEs, threads. */
#include <pthread.h>
#include <string.h>

#include "mm_test.h"

#include <xen/grant_table.h>

static void saturation(void **state)
{
	struct mm_guest *g = *state;
	struct core_frame *f = &g->c.frames[100];
	uint64_t word = f->type;

	/* As many references as fit, of each kind: an error, never a wrap. */
	f->type = (word & ~FRAME_REF_MASK) | FRAME_REF_MASK;
	assert_false(frame_ref(f));
	assert_false(frame_ref_writable(f));
	assert_int_equal(va_mapping(g, VA(5), pte(100, P), 0), -XEN_EBUSY);
	f->type = word | FRAME_TREF_MASK;
	assert_false(frame_ref_writable(f));
	assert_int_equal(va_mapping(g, VA(5), pte(100, P | RW), 0), -XEN_EBUSY);
	assert_true(frame_ref(f));
	(void)frame_unref(f);
	f->type = word;

	f = &g->c.frames[BOOT_L4];
	word = f->type;
	f->type = word | FRAME_TREF_MASK;
	assert_int_equal(mmuext(g, MMUEXT_NEW_USER_BASEPTR, BOOT_L4, 0), -XEN_EINVAL);
	f->type = word | FRAME_REF_MASK;
	assert_int_equal(mmuext(g, MMUEXT_NEW_USER_BASEPTR, BOOT_L4, 0), -XEN_EINVAL);
	assert_int_equal(update(g, BOOT_L4, 0, pte(BOOT_L4, P)), 0); /* itself needs none */
	f->type = word;
	f = &g->c.frames[BOOT_L1];
	word = f->type;
	f->type = word | FRAME_TREF_MASK;
	assert_int_equal(update(g, BOOT_L2, 1, pte(BOOT_L1, P)), -XEN_EINVAL);
	f->type = word;
	/* The linear count, 16 bits. */
	make_ro(g, 200);
	assert_int_equal(mmuext(g, MMUEXT_PIN_L2_TABLE, 200, 0), 0);
	g->c.frames[BOOT_L2].count |= 32767u << 16;
	assert_int_equal(update(g, 200, 0, pte(BOOT_L2, P)), -XEN_EINVAL);
	g->c.frames[BOOT_L2].count &= 0xffff;
	assert_int_equal(update(g, 200, 0, pte(BOOT_L2, P)), 0);
	assert_int_equal(mmuext(g, MMUEXT_UNPIN_TABLE, 200, 0), 0);
}

static void library_side(void **state)
{
	struct mm_guest *g = *state;
	struct core_frame *fr = g->c.frames;

	assert_true(frame_get_writable(fr, NR_FRAMES, 200));
	g->writers[200]++;
	check(g);
	/* While the back end writes, the guest cannot make a page table of it. */
	make_ro(g, 200);
	assert_int_equal(mmuext(g, MMUEXT_PIN_L1_TABLE, 200, 0), -XEN_EINVAL);
	frame_put_writable(fr, NR_FRAMES, 200);
	g->writers[200]--;
	assert_int_equal(mmuext(g, MMUEXT_PIN_L1_TABLE, 200, 0), 0);
	/* And the other way round; reading is fine. */
	assert_false(frame_get_writable(fr, NR_FRAMES, 200));
	assert_true(frame_get(fr, NR_FRAMES, 200));
	frame_put(fr, NR_FRAMES, 200);
	assert_int_equal(mmuext(g, MMUEXT_UNPIN_TABLE, 200, 0), 0);
	assert_true(frame_get_writable(fr, NR_FRAMES, 200));
	frame_put_writable(fr, NR_FRAMES, 200);
	/* So many holds, not more. */
	fr[200].aux |= FRAME_WRITERS;
	assert_false(frame_get_writable(fr, NR_FRAMES, 200));
	assert_true(frame_get(fr, NR_FRAMES, 200));
	fr[200].aux |= FRAME_READERS;
	assert_false(frame_get(fr, NR_FRAMES, 200));
	fr[200].aux &= ~FRAME_HOLDS;
	/* The executor's bits are left alone. */
	fr[200].aux |= CORE_FRAME_CODE;
	assert_true(frame_get_writable(fr, NR_FRAMES, 200));
	frame_put_writable(fr, NR_FRAMES, 200);
	assert_int_equal(fr[200].aux, CORE_FRAME_CODE);
	/* Numbers out of range. */
	assert_false(frame_get(fr, NR_FRAMES, NR_FRAMES));
	assert_false(frame_get_writable(fr, NR_FRAMES, ~0ull));
	frame_put(fr, NR_FRAMES, ~0ull);
	frame_put_writable(fr, NR_FRAMES, NR_FRAMES);
	assert_false(frame_get(fr, NR_FRAMES, M2P_FIRST));
	assert_false(frame_get(fr, NR_FRAMES, NR_PAGES));
	assert_true(frame_get_writable(fr, NR_FRAMES, GRANT_FIRST));
	frame_put_writable(fr, NR_FRAMES, GRANT_FIRST);
}

/* ---- descriptor pages -------------------------------------------------------------------------
 */

static void descriptors(void **state)
{
	static const struct {
		uint64_t desc, fixed;
		bool ok;
	} d[] = {
		{0, 0, true},
		{0x00af9b000000ffff, 0x00affb000000ffff, true}, /* kernel code: DPL 3 */
		{0x00cf93000000ffff, 0x00cff3000000ffff, true},
		{0x00affb000000ffff, 0x00affb000000ffff, true},
		{0x00008b0000000067, 0, false},			/* TSS */
		{0x0000820000000067, 0, false},			/* LDT */
		{0x00000b0000000067, 0x00000b0000000067, true}, /* ... not present */
		{0x00008e0000080000, 0, false},			/* interrupt gate */
		{0x0000ec0000080000, 0x00008c00000b0000, true}, /* call gate: out of reach */
		{0x00008c00000b0000, 0x00008c00000b0000, true},
		{0x00008c00e0080000, 0, false},			/* into Xen's part of the GDT */
		{0x0000ec00e0330000, 0x00008c00e0330000, true}, /* the flat kernel code segment */
		{0x00008c0000040000, 0x00008c0000070000, true}, /* LDT selector */
		{0x00008ce000080000, 0, false},
		{0x0000800000000000, 0x0000800000000000, true}, /* second half of a call gate */
	};

	for (unsigned int i = 0; i < sizeof(d) / sizeof(d[0]); i++) {
		uint64_t desc = d[i].desc;

		assert_int_equal(core_descriptor_fix(&desc), d[i].ok);
		assert_true(desc == (d[i].ok ? d[i].fixed : d[i].desc));
	}
}

static void descriptor_page(void **state)
{
	struct mm_guest *g = *state;
	struct core_ctx *c = &g->c;

	frame_at(g, 200)[3] = 0x00af9b000000ffff;
	assert_false(core_frame_get_type(c, 200, FRAME_SEG_DESC)); /* mapped writable */
	make_ro(g, 200);
	frame_at(g, 200)[511] = 0x00008b0000000067;
	assert_false(core_frame_get_type(c, 200, FRAME_SEG_DESC));
	check(g);
	frame_at(g, 200)[511] = 0;
	assert_true(core_frame_get_type(c, 200, FRAME_SEG_DESC));
	assert_true(core_frame_is_type(c, 200, FRAME_SEG_DESC));
	assert_true(frame_at(g, 200)[3] == 0x00affb000000ffff);
	assert_true(core_frame_get_type(c, 200, FRAME_SEG_DESC));
	g->refs[200] = g->trefs[200] = 2;
	check(g);
	assert_int_equal(va_mapping(g, VA(200), pte(200, P | RW), 0), -XEN_EBUSY);
	assert_int_equal(mmuext(g, MMUEXT_PIN_L1_TABLE, 200, 0), -XEN_EINVAL);
	core_frame_put_type(c, 200);
	core_frame_put_type(c, 200);
	g->refs[200] = g->trefs[200] = 0;
	make_rw(g, 200);
	assert_false(core_frame_get_type(c, BOOT_L1, FRAME_SEG_DESC));
	assert_false(core_frame_get_type(c, NR_FRAMES, FRAME_SEG_DESC));
	assert_false(core_frame_get_type(c, NR_PAGES, FRAME_WRITABLE));
	assert_false(core_frame_get_type(c, BOOT_L1, FRAME_WRITABLE));
	assert_true(core_frame_get_type(c, 201, FRAME_WRITABLE));
	core_frame_put_type(c, 201);
	assert_true(core_frame_get(c, 201));
	core_frame_put(c, 201);
	assert_false(core_frame_get(c, NR_FRAMES));
}

static void load_ldt(struct mm_guest *g, bool works)
{
	uint64_t mfn = 0;

	assert_int_equal(core_ldt_frame(&g->c, 5, &mfn), works);
	if (!works)
		return;
	assert_int_equal(mfn, 200);
	assert_true(core_frame_is_type(&g->c, 200, FRAME_SEG_DESC));
	assert_true(core_ldt_frame(&g->c, 511, &mfn)); /* no second reference */
	check(g);
}

/* A page of an LDT is a descriptor page from the first selector to the next change. */
static void ldt_page(void **state)
{
	struct mm_guest *g = *state;
	uint64_t mfn;

	load_ldt(g, false);
	assert_int_equal(mmuext(g, MMUEXT_SET_LDT, VA(200), 600), 0);
	load_ldt(g, false); /* mapped writable */
	make_ro(g, 200);
	frame_at(g, 200)[7] = 0x00008b0000000067;
	load_ldt(g, false);
	frame_at(g, 200)[7] = 0;
	load_ldt(g, true);
	assert_false(core_ldt_frame(&g->c, 600, &mfn));
	assert_false(core_ldt_frame(&g->c, 8192, &mfn));
	assert_false(core_ldt_frame(&g->c, 512, &mfn)); /* the second page is writable */
	assert_int_equal(va_mapping(g, VA(5), pte(200, P | RW), 0), -XEN_EBUSY);

	/* That its mapping goes changes nothing. */
	assert_int_equal(va_mapping(g, VA(200), 0, 0), 0);
	check(g);
	assert_int_equal(frame_refs(word_of(g, 200)), 2);
	load_ldt(g, true);
	make_ro(g, 200);
	/* The LDT moves, the root changes, the vCPU is reset. */
	assert_int_equal(mmuext(g, MMUEXT_SET_LDT, VA(200), 599), 0);
	assert_int_equal(frame_trefs(word_of(g, 200)), 0);
	load_ldt(g, true);
	frame_at(g, 210)[511] = pte(BOOT_L3, P);
	make_ro(g, 210);
	assert_int_equal(mmuext(g, MMUEXT_NEW_BASEPTR, 210, 0), 0);
	assert_int_equal(frame_trefs(word_of(g, 200)), 0);
	check(g);
	load_ldt(g, true);
	core_mm_drop_roots(&g->c, g->c.v);
	assert_int_equal(frame_trefs(word_of(g, 200)), 0);
	assert_int_equal(core_mm_set_roots(&g->c, g->c.v, BOOT_L4, CORE_INVALID_MFN), 0);
	assert_int_equal(mmuext(g, MMUEXT_SET_LDT, 0, 0), 0);
	make_rw(g, 200);
	make_rw(g, 210);
}

/* ---- grants ----------------------------------------------------------------------------- */

static void hold_writable(struct mm_guest *g, uint64_t mfn)
{
	assert_true(core_frame_get_type(&g->c, mfn, FRAME_WRITABLE));
}

static void grant_by_address(void **state)
{
	struct mm_guest *g = *state;
	struct core_ctx *c = &g->c;
	uint64_t *l1 = frame_at(g, BOOT_L1);

	hold_writable(g, 300);
	assert_int_equal(core_mm_grant_install(c, VA(200), 300, GNTMAP_host_map), GNTST_okay);
	assert_int_equal(l1[200], pte(300, P | RW | A | D | U | GK | PTE_NX));
	check(g); /* the grant's references are the entry's; the old mapping's were put */
	assert_int_equal(core_mm_grant_remove(c, VA(200), 301, GNTMAP_host_map, 0),
			 GNTST_general_error);
	assert_int_equal(
		core_mm_grant_remove(c, VA(200), 300, GNTMAP_host_map | GNTMAP_readonly, 0),
		GNTST_general_error);
	assert_int_equal(core_mm_grant_remove(c, VA(200), 300, GNTMAP_host_map, 0), GNTST_okay);
	assert_int_equal(l1[200], 0);
	core_frame_put_type(c, 300);
	check(g);
	/* Read-only, for the application, with bits of the guest's choice. */
	assert_true(core_frame_get(c, BOOT_L4));
	assert_int_equal(core_mm_grant_install(c, VA(200), BOOT_L4,
					       GNTMAP_host_map | GNTMAP_readonly |
						       GNTMAP_application_map |
						       5u << _GNTMAP_guest_avail0),
			 GNTST_okay);
	assert_int_equal(l1[200], pte(BOOT_L4, P | A | D | U | G | 5u << 9 | PTE_NX));
	check(g);
	/* The guest overwrites it: the references go with it. */
	make_rw(g, 200);
	check(g);
	assert_int_equal(
		core_mm_grant_remove(c, VA(200), BOOT_L4, GNTMAP_host_map | GNTMAP_readonly, 0),
		GNTST_general_error);
	assert_int_equal(core_mm_grant_install(c, 0, 300, GNTMAP_host_map), GNTST_general_error);
	assert_int_equal(core_mm_grant_install(c, MACH2PHYS_VIRT_START, 300, GNTMAP_host_map),
			 GNTST_general_error);
}

static void grant_by_pte(void **state)
{
	struct mm_guest *g = *state;
	struct core_ctx *c = &g->c;
	uint32_t flags = GNTMAP_host_map | GNTMAP_contains_pte;
	uint64_t ptr = (uint64_t)BOOT_L1 << 12 | 200 * 8;

	hold_writable(g, 300);
	assert_int_equal(core_mm_grant_install(c, ptr, 300, flags), GNTST_okay);
	assert_int_equal(core_mm_grant_remove(c, ptr, 300, flags, VA(201)), GNTST_general_error);
	assert_int_equal(core_mm_grant_remove(c, ptr, 300, flags, 0), GNTST_okay);
	core_frame_put_type(c, 300);
	check(g);
	static const uint64_t bad[] = {((uint64_t)BOOT_L1 << 12) + 4, (uint64_t)BOOT_L2 << 12,
				       200ull << 12, (uint64_t)NR_FRAMES << 12, ~7ull};

	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(core_mm_grant_install(c, bad[i], 300, flags), GNTST_general_error);
		assert_int_equal(core_mm_grant_remove(c, bad[i], 300, flags, 0),
				 GNTST_general_error);
	}
	check(g);
}

static void grant_replace(void **state)
{
	struct mm_guest *g = *state;
	struct core_ctx *c = &g->c;
	uint64_t *l1 = frame_at(g, BOOT_L1);

	hold_writable(g, 300);
	assert_int_equal(core_mm_grant_install(c, VA(200), 300, GNTMAP_host_map), GNTST_okay);
	assert_int_equal(core_mm_grant_remove(c, VA(200), 300, GNTMAP_host_map, VA(200)),
			 GNTST_general_error);
	/* It was taken away, with its references, before it was looked for. */
	assert_int_equal(l1[200], 0);
	check(g);
	hold_writable(g, 300);
	assert_int_equal(core_mm_grant_install(c, VA(200), 300, GNTMAP_host_map), GNTST_okay);
	assert_int_equal(core_mm_grant_remove(c, VA(200), 300, GNTMAP_host_map, 0x1000),
			 GNTST_general_error);
	assert_int_equal(core_mm_grant_remove(c, VA(201), 300, GNTMAP_host_map, VA(202)),
			 GNTST_general_error);
	assert_int_equal(l1[202], 0);
	check(g);
	assert_int_equal(core_mm_grant_remove(c, VA(200), 300, GNTMAP_host_map, VA(210)),
			 GNTST_okay);
	assert_int_equal(l1[200], pte(210, P | RW | U | GK));
	assert_int_equal(l1[210], 0);
	core_frame_put_type(c, 300);
	check(g);
}

/* ---- races -------------------------------------------------------------------------------------
 */

struct race {
	struct mm_guest *g;
	uint64_t got;
	bool stop;
};

/* A back end on another thread, while the guest turns the frame into a page table and back. */
static void *back_end(void *arg)
{
	struct race *r = arg;
	struct core_frame *fr = r->g->c.frames;

	while (!__atomic_load_n(&r->stop, __ATOMIC_RELAXED)) {
		if (frame_get_writable(fr, NR_FRAMES, 200)) {
			/* As long as we hold it, it is no page table. */
			if (frame_is(frame_word(&fr[200]), FRAME_L1))
				__atomic_store_n(&r->got, 1ull << 63, __ATOMIC_RELAXED);
			else
				__atomic_fetch_add(&r->got, 1, __ATOMIC_RELAXED);
			frame_put_writable(fr, NR_FRAMES, 200);
		}
		if (frame_get(fr, NR_FRAMES, 201))
			frame_put(fr, NR_FRAMES, 201);
	}
	return NULL;
}

static void race(void **state)
{
	struct mm_guest *g = *state;
	struct race r = {.g = g};
	unsigned int pinned = 0, refused = 0;
	pthread_t thread;

	make_ro(g, 200);
	make_ro(g, 201);
	assert_int_equal(pthread_create(&thread, NULL, back_end, &r), 0);
	for (unsigned int i = 0; i < 20000000 && (pinned < 20000 || refused < 1 || r.got < 1000);
	     i++) {
		long rc = mmuext(g, MMUEXT_PIN_L1_TABLE, 200, 0);

		assert_true(rc == 0 || rc == -XEN_EINVAL);
		if (rc == 0) {
			pinned++;
			assert_int_equal(mmuext(g, MMUEXT_UNPIN_TABLE, 200, 0), 0);
		} else {
			refused++;
		}
		assert_int_equal(mmuext(g, MMUEXT_PIN_L2_TABLE, 201, 0), 0);
		assert_int_equal(mmuext(g, MMUEXT_UNPIN_TABLE, 201, 0), 0);
	}
	__atomic_store_n(&r.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	assert_true(pinned > 0);
	assert_true(r.got > 0 && r.got < 1ull << 63);
	check(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MM_TEST(saturation),	  MM_TEST(library_side),  cmocka_unit_test(descriptors),
		MM_TEST(descriptor_page), MM_TEST(ldt_page),	  MM_TEST(grant_by_address),
		MM_TEST(grant_by_pte),	  MM_TEST(grant_replace), MM_TEST(race),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
