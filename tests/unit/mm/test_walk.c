/* SPDX-License-Identifier: MIT */
/* Software walks, and the core's accesses to guest memory. */
#include <string.h>

#include "mm_test.h"

static bool walk(struct mm_guest *g, uint64_t va, uint64_t *mfn, uint64_t *flags)
{
	return core_walk(&g->c, g->c.v->kernel_root, va, mfn, flags);
}

static void rights(void **state)
{
	struct mm_guest *g = *state;
	struct tree t = make_tree(g, FREE);
	uint64_t mfn, flags;

	assert_true(walk(g, VA(100) + 5, &mfn, &flags));
	assert_int_equal(mfn, 100);
	assert_int_equal(flags, P | RW | U | GK);
	assert_true(walk(g, VA(BOOT_L4), &mfn, &flags));
	assert_int_equal(flags, P | U | GK);
	assert_false(walk(g, VA(NR_PAGES), &mfn, &flags));
	assert_int_equal(flags, 0);
	assert_false(walk(g, 0, &mfn, &flags));
	assert_false(walk(g, 1ull << 47, &mfn, &flags));
	assert_false(core_walk(&g->c, NR_FRAMES, VA(0), &mfn, &flags));
	assert_false(core_walk(&g->c, CORE_INVALID_MFN, VA(0), &mfn, &flags));

	/* The AND of the levels; NX is the OR. */
	frame_at(g, t.l1)[0] = pte(100, P | RW);
	assert_int_equal(update(g, BOOT_L4, 0, pte(t.l3, P | RW)), 0);
	assert_true(walk(g, 0, &mfn, &flags));
	assert_true(flags & RW);
	assert_int_equal(update(g, t.l3, 0, pte(t.l2, P)), 0);
	assert_true(walk(g, 0, &mfn, &flags));
	assert_false(flags & RW);
	assert_int_equal(update(g, t.l2, 0, pte(t.l1, P | RW | PTE_NX)), 0);
	assert_true(walk(g, 0, &mfn, &flags));
	assert_true(flags & PTE_NX);
	/* Through a linear mapping the tables can be read. */
	assert_int_equal(update(g, BOOT_L4, 1, pte(BOOT_L4, P)), 0);
	assert_true(walk(g, (1ull << 39 | 1ull << 30 | 1ull << 21 | 1ull << 12), &mfn, &flags));
	assert_int_equal(mfn, BOOT_L4);
	assert_false(flags & RW);
	/* Entries of the hypervisor's slots never count. */
	frame_at(g, BOOT_L4)[256] = pte(t.l3, P | RW);
	assert_true(walk(g, MACH2PHYS_VIRT_START, &mfn, &flags));
	assert_int_equal(mfn, M2P_FIRST);
	frame_at(g, BOOT_L4)[257] = pte(t.l3, P | RW);
	assert_false(walk(g, MACH2PHYS_VIRT_START + (1ull << 39), &mfn, &flags));
	frame_at(g, BOOT_L4)[256] = frame_at(g, BOOT_L4)[257] = 0;
	check(g);
}

static void m2p_area(void **state)
{
	struct mm_guest *g = *state;
	uint64_t mfn, flags, value = 0;

	assert_true(walk(g, MACH2PHYS_VIRT_START + 4097, &mfn, &flags));
	assert_int_equal(mfn, M2P_FIRST + 1);
	assert_false(flags & RW);
	assert_true(flags & P);
	assert_false(walk(g, MACH2PHYS_VIRT_START + (M2P_FRAMES << 12), &mfn, &flags));
	assert_false(walk(g, MACH2PHYS_VIRT_END, &mfn, &flags));
	assert_false(walk(g, __HYPERVISOR_VIRT_END - 1, &mfn, &flags));
	/* Emulated instructions may read it; hypercall arguments may not lie there. */
	assert_int_equal(core_guest_read(&g->c, &value, MACH2PHYS_VIRT_START + 77 * 8, 8), 0);
	assert_int_equal(value, 77);
	assert_int_equal(core_guest_write(&g->c, MACH2PHYS_VIRT_START, &value, 8), 8);
	assert_false(mm_get(&g->c, &value, MACH2PHYS_VIRT_START, 8));
	/* Not for the user's root. */
	make_ro(g, 200);
	assert_int_equal(mmuext(g, MMUEXT_NEW_USER_BASEPTR, 200, 0), 0);
	assert_false(core_walk(&g->c, 200, MACH2PHYS_VIRT_START, &mfn, &flags));
	g->c.v->kernel_mode = 0;
	assert_int_equal(core_guest_read(&g->c, &value, MACH2PHYS_VIRT_START, 8), 8);
	assert_int_equal(core_guest_read(&g->c, &value, VA(5), 8), 8);
	g->c.v->kernel_mode = 1;
	assert_int_equal(mmuext(g, MMUEXT_NEW_USER_BASEPTR, 0, 0), 0);
}

static void accesses(void **state)
{
	struct mm_guest *g = *state;
	uint64_t *l1 = frame_at(g, BOOT_L1), root = BOOT_L4, mfn, flags;

	assert_true(core_walk_access(&g->c, root, VA(100), 0, &mfn, &flags));
	assert_int_equal(l1[100] & (A | D), A);
	assert_true(frame_at(g, BOOT_L4)[511] & A);
	assert_true(core_walk_access(&g->c, root, VA(100), PF_WRITE | PF_USER, &mfn, &flags));
	assert_int_equal(l1[100] & (A | D), A | D);
	assert_false(frame_at(g, BOOT_L2)[0] & D);
	assert_false(core_walk_access(&g->c, root, VA(BOOT_L1), PF_WRITE, &mfn, &flags));
	assert_int_equal(flags, PF_PRESENT | PF_WRITE);
	assert_false(l1[BOOT_L1] & A);
	assert_false(core_walk_access(&g->c, root, 0, PF_WRITE | PF_USER, &mfn, &flags));
	assert_int_equal(flags, PF_WRITE | PF_USER);
	assert_int_equal(va_mapping(g, VA(101), pte(101, P | PTE_NX), 0), 0);
	assert_true(core_walk_access(&g->c, root, VA(101), 0, &mfn, &flags));
	assert_false(core_walk_access(&g->c, root, VA(101), PF_FETCH, &mfn, &flags));
	assert_int_equal(flags, PF_PRESENT | PF_FETCH);
	assert_true(core_walk_access(&g->c, root, MACH2PHYS_VIRT_START, 0, &mfn, &flags));
	assert_false(core_walk_access(&g->c, root, MACH2PHYS_VIRT_START, PF_WRITE, &mfn, &flags));
}

static void copies(void **state)
{
	struct mm_guest *g = *state;
	uint8_t buf[8192], back[8192];
	uint64_t end = VA(NR_PAGES);

	for (unsigned int i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)(i * 7);
	/* Two pages that are no neighbours. */
	assert_int_equal(va_mapping(g, VA(101), pte(150, P | RW), 0), 0);
	g->c.frames[150].aux |= CORE_FRAME_CODE;
	assert_int_equal(core_guest_write(&g->c, VA(100) + 100, buf, 8000), 0);
	assert_int_equal(g->dirtied, 1);
	assert_memory_equal((uint8_t *)frame_at(g, 150), buf + 3996, 4004);
	assert_int_equal(core_guest_read(&g->c, back, VA(100) + 100, 8000), 0);
	assert_memory_equal(back, buf, 8000);
	assert_true(frame_at(g, BOOT_L1)[100] & D);
	/* They stop at the first bad page. */
	assert_int_equal(core_guest_read(&g->c, back, end - 10, 100), 90);
	assert_int_equal(core_guest_write(&g->c, end - 10, buf, 5000), 4990);
	assert_memory_equal((uint8_t *)frame_at(g, NR_PAGES - 1) + 4086, buf, 10);
	assert_int_equal(core_guest_write(&g->c, VA(BOOT_L1), buf, 8), 8);
	assert_int_equal(core_guest_read(&g->c, back, VA(BOOT_L1), 8), 0);
	assert_int_equal(core_guest_read(&g->c, back, ~0ull - 3, 8), 8);
	assert_int_equal(core_guest_read(&g->c, back, (1ull << 47) - 4, 8), 8);
	assert_int_equal(core_guest_read(&g->c, back, 5, 0), 0);
	check(g);
}

/* A translation may be stale like a TLB's, but never lead to a write into a page table. */
static void cache(void **state)
{
	struct mm_guest *g = *state;
	struct core_walk_cache *w;
	uint64_t value = 0;

	frame_at(g, 100)[0] = 111;
	frame_at(g, 160)[0] = 222;
	assert_int_equal(core_guest_read(&g->c, &value, VA(100), 8), 0);
	assert_int_equal(value, 111);
	assert_int_equal(va_mapping(g, VA(100), pte(160, P | RW), UVMF_INVLPG), 0);
	assert_int_equal(core_guest_read(&g->c, &value, VA(100), 8), 0);
	assert_int_equal(value, 222);
	assert_int_equal(core_guest_write(&g->c, VA(100), &value, 8), 0);
	/* Without a flush: the writable translation is refused once the frame is a table. */
	assert_int_equal(va_mapping(g, VA(100), pte(160, P), 0), 0);
	make_ro(g, 160);
	frame_at(g, 160)[0] = 0;
	assert_int_equal(mmuext(g, MMUEXT_PIN_L1_TABLE, 160, 0), 0);
	w = &g->c.walk[g->c.walk_now];
	w->va[(VA(100) >> 12) & 15] = VA(100) | 3;
	w->mfn_flags[(VA(100) >> 12) & 15] = 160;
	w->gen = g->c.v->walk_gen;
	value = pte(BOOT_L1, P | RW);
	assert_int_equal(core_guest_write(&g->c, VA(100), &value, 8), 8);
	assert_int_equal(frame_at(g, 160)[0], 0);
	check(g);
	/* A new root, another vCPU's flush. */
	assert_int_equal(core_guest_read(&g->c, &value, VA(102), 8), 0);
	core_mm_flush_all(&g->c, 1);
	assert_true(g->c.walk[g->c.walk_now].gen != g->c.v->walk_gen);
	assert_int_equal(mmuext(g, MMUEXT_UNPIN_TABLE, 160, 0), 0);
}

static uint64_t look(struct mm_guest *g, uint64_t va)
{
	uint64_t value = 0;

	assert_int_equal(core_guest_read(&g->c, &value, va, 8), 0);
	return value;
}

/* Translations outlive the time in which another root is loaded, unless anything has changed. */
static void cache_of_roots(void **state)
{
	struct mm_guest *g = *state;
	struct tree t = make_tree(g, FREE);
	uint64_t *l1 = frame_at(g, BOOT_L1), old;

	frame_at(g, 100)[0] = 111;
	frame_at(g, 160)[0] = 222;
	frame_at(g, t.l1)[0] = pte(160, P | U);
	frame_at(g, t.l4)[511] = pte(BOOT_L3, P | RW | U);
	/* (pinned once, so that loading it turns nothing into a table and back) */
	assert_int_equal(mmuext(g, MMUEXT_PIN_L4_TABLE, t.l4, 0), 0);
	assert_int_equal(look(g, VA(100)), 111);
	assert_int_equal(mmuext(g, MMUEXT_NEW_BASEPTR, t.l4, 0), 0);
	assert_int_equal(look(g, VA(100)), 111);
	assert_int_equal(look(g, 0), 222);
	/* Behind the core's back: what is known is not looked up. */
	old = l1[100];
	l1[100] = pte(160, P | RW | U | A | D);
	assert_int_equal(mmuext(g, MMUEXT_NEW_BASEPTR, BOOT_L4, 0), 0);
	assert_int_equal(look(g, VA(100)), 111);
	assert_int_equal(mmuext(g, MMUEXT_NEW_BASEPTR, t.l4, 0), 0);
	assert_int_equal(look(g, VA(100)), 111);
	l1[100] = old;
	/* What is one root's is not the other's. */
	assert_int_equal(mmuext(g, MMUEXT_NEW_BASEPTR, BOOT_L4, 0), 0);
	assert_int_equal(core_guest_read(&g->c, &old, 0, 8), 8);
	/* A change without a flush, while the other one is loaded, ... */
	assert_int_equal(mmuext(g, MMUEXT_NEW_BASEPTR, t.l4, 0), 0);
	assert_int_equal(va_mapping(g, VA(100), pte(160, P | RW), 0), 0);
	assert_int_equal(mmuext(g, MMUEXT_NEW_BASEPTR, BOOT_L4, 0), 0);
	assert_int_equal(look(g, VA(100)), 222);
	/* ... and in between two loads of the same. */
	assert_int_equal(va_mapping(g, VA(100), pte(100, P | RW), 0), 0);
	assert_int_equal(mmuext(g, MMUEXT_NEW_BASEPTR, t.l4, 0), 0);
	assert_int_equal(mmuext(g, MMUEXT_NEW_BASEPTR, BOOT_L4, 0), 0);
	assert_int_equal(look(g, VA(100)), 111);
	/* A root that is none any more, and then one with other entries. */
	assert_int_equal(mmuext(g, MMUEXT_NEW_BASEPTR, t.l4, 0), 0);
	assert_int_equal(look(g, 0), 222);
	assert_int_equal(mmuext(g, MMUEXT_NEW_BASEPTR, BOOT_L4, 0), 0);
	assert_int_equal(mmuext(g, MMUEXT_UNPIN_TABLE, t.l4, 0), 0);
	frame_at(g, t.l1)[0] = pte(100, P | U);
	assert_int_equal(mmuext(g, MMUEXT_NEW_BASEPTR, t.l4, 0), 0);
	assert_int_equal(look(g, 0), 111);
	/* An upper level's entry. */
	assert_int_equal(update(g, t.l2, 0, 0), 0);
	assert_int_equal(mmuext(g, MMUEXT_NEW_BASEPTR, BOOT_L4, 0), 0);
	assert_int_equal(mmuext(g, MMUEXT_NEW_BASEPTR, t.l4, 0), 0);
	assert_int_equal(core_guest_read(&g->c, &old, 0, 8), 8);
	assert_int_equal(mmuext(g, MMUEXT_NEW_BASEPTR, BOOT_L4, 0), 0);
	check(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MM_TEST(rights), MM_TEST(m2p_area), MM_TEST(accesses),
		MM_TEST(copies), MM_TEST(cache),    MM_TEST(cache_of_roots),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
