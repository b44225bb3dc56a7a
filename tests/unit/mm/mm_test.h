/* SPDX-License-Identifier: MIT */
#ifndef MM_TEST_H
#define MM_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mm_guest.h"

static inline void check(struct mm_guest *g)
{
	const char *why = mm_guest_check(g);

	if (why)
		fail_msg("%s", why);
}

static inline int setup(void **state)
{
	*state = mm_guest_new(1);
	return 0;
}

static inline int teardown(void **state)
{
	struct mm_guest *g = *state;
	const char *why = mm_guest_check(g);

	if (why)
		print_error("at the end: %s\n", why);
	mm_guest_free(g);
	return why ? -1 : 0;
}

#define MM_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

/* Frames FREE.. as tables that lead from L4 to L1 `l1`, for the slot of VA 0; nothing pinned. */
struct tree {
	uint64_t l4, l3, l2, l1;
};

static inline struct tree make_tree(struct mm_guest *g, uint64_t first)
{
	struct tree t = {first, first + 1, first + 2, first + 3};

	frame_at(g, t.l4)[0] = pte(t.l3, P | RW | U);
	frame_at(g, t.l3)[0] = pte(t.l2, P | RW | U);
	frame_at(g, t.l2)[0] = pte(t.l1, P | RW | U);
	for (uint64_t mfn = first; mfn < first + 4; mfn++)
		make_ro(g, mfn);
	return t;
}

#endif
