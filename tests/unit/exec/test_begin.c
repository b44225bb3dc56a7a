/* SPDX-License-Identifier: MIT */
/*
 * How programs begin (monitor/user_begin.c): what is learned from them, that it has bounds, and
 * that what was learned from one program does no harm to another that began at the same address.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/mm/mm.h"
#include "exec/ring3/monitor/k.h"
#include "exec/ring3/monitor/user.h"

#define RIP	(U_FIRST + 0x400000)
#define RSP	(U_FIRST + 0x7000000)
#define A	(U_FIRST + 0x10000)
#define B	(U_FIRST + 0x20000)
#define C	(U_FIRST + 0x30000)
#define MANY	1000u
#define A_WHILE 900u /* of one kind, in which anything is learned anew */

struct k k;
static struct core_vcpu vcpu;
static uint64_t absent[4];	  /* pages that the guest's tables do not have */
static uint64_t mapped[MANY + 8]; /* what user_map() was asked for, in order */
static uint32_t rights[MANY + 8];
static unsigned int nr;

/* ---- the rest of the monitor ---------------------------------------------------------------- */

unsigned int user_number_of(const struct u_slot *s)
{
	return 0;
}
static bool is_mapped(uint64_t va)
{
	for (unsigned int i = 0; i < nr; i++)
		if (mapped[i] == (va & ~0xfffull))
			return true;
	return false;
}
uint64_t *tlb_follow(uint64_t root, uint64_t va, int number, uint64_t *ret_upper)
{
	static uint64_t entry;

	entry = va & ~0xfffull;
	return &entry;
}
bool user_may_have(const struct u_slot *s, const uint64_t *entry)
{
	return is_mapped(*entry);
}
bool user_allowed(uint64_t va, uint32_t access)
{
	for (unsigned int i = 0; i < sizeof(absent) / sizeof(absent[0]); i++)
		if (absent[i] && absent[i] == (va & ~0xfffull))
			return false;
	return true;
}
bool user_map(struct u_slot *s, uint64_t va, uint32_t access, uint32_t *ret_error)
{
	*ret_error = access;
	if (!user_allowed(va, access))
		return false;
	assert_true(nr < sizeof(mapped) / sizeof(mapped[0]));
	mapped[nr] = va & ~0xfffull;
	rights[nr++] = access;
	return true;
}

/* ---- programs -------------------------------------------------------------------------------- */

/* A process that begins there, with nothing mapped but what it is given. */
static struct u_slot begun(uint64_t rip)
{
	struct u_slot s = {.fresh = true};
	uint32_t error;

	nr = 0;
	vcpu.regs.rip = rip;
	vcpu.regs.gpr[R_RSP] = RSP;
	assert_true(begin_run(&s, &error));
	assert_false(s.fresh);
	assert_true(is_mapped(rip));
	assert_true(is_mapped(RSP));
	return s;
}
/* Two of a kind, after which it is known. */
static void learn(uint64_t rip)
{
	struct u_slot s = begun(rip);

	begin_touched(&s, A, 0); /* (of the first one nothing is learned) */
	assert_true(begin_wants(&s, B));
	s = begun(rip);
	assert_int_equal(nr, 2);
	begin_touched(&s, A + 8, PF_FETCH);
	begin_touched(&s, B, 0);
	begin_touched(&s, B + 16, PF_WRITE);
	begin_touched(&s, C, PF_WRITE);
}

static int set_up(void **state)
{
	k.c.v = &vcpu;
	memset(absent, 0, sizeof(absent));
	return 0;
}

static void test_learned(void **state)
{
	struct u_slot s;

	learn(RIP);
	s = begun(RIP);
	assert_int_equal(nr, 4);
	assert_true(is_mapped(A) && is_mapped(B));
	assert_false(is_mapped(C)); /* it becomes another page by the store */
	assert_int_equal(rights[2] | rights[3], 0);
	/* Of the neighbours of what it touches those that are known, and no others. */
	assert_true(begin_wants(&s, A) && begin_wants(&s, C));
	assert_false(begin_wants(&s, A + 0x1000));
	/* What this one touches besides is learned as well, once. */
	begin_touched(&s, A + 0x5000, 0);
	begin_touched(&s, A + 0x5008, 0);
	s = begun(RIP);
	assert_int_equal(nr, 5);
	assert_true(is_mapped(A + 0x5000));
	/* Another kind knows nothing of that. */
	s = begun(RIP + 0x1230);
	assert_int_equal(nr, 2);
	assert_true(begin_wants(&s, A + 0x1000));
}

/* Pages that are not there any more, or not this program's, are not mapped, and nothing else ends.
 */
static void test_wrong(void **state)
{
	uint32_t error = 0;
	struct u_slot s;

	learn(RIP + 0x100);
	absent[0] = A;
	s = begun(RIP + 0x100);
	assert_int_equal(nr, 3);
	assert_false(is_mapped(A));
	assert_true(is_mapped(B));
	absent[1] = B;
	s = begun(RIP + 0x100);
	assert_int_equal(nr, 2);
	/* No stack: the program's first access says so itself. No code: the guest hears of it. */
	absent[2] = RSP;
	s = (struct u_slot){.fresh = true};
	nr = 0;
	assert_true(begin_run(&s, &error));
	absent[3] = RIP & ~0xfffull;
	s = (struct u_slot){.fresh = true};
	nr = 0;
	assert_false(begin_run(&s, &error));
	assert_int_equal(error, PF_FETCH);
	assert_int_equal(nr, 0);
}

/* One that touches page after page is like all others, and its beginning costs no more than they.
 */
static void test_bounded(void **state)
{
	struct u_slot s = begun(RIP + 0x200);

	s = begun(RIP + 0x200);
	for (unsigned int i = 0; i < MANY; i++)
		begin_touched(&s, A + i * 0x1000ull, 0);
	assert_true(begin_wants(&s, C + MANY * 0x1000ull));
	s = begun(RIP + 0x200);
	assert_in_range(nr, 2, 32);
	assert_true(begin_wants(&s, C + MANY * 0x1000ull));
}

/* More kinds than there is room for: the last one counts, and a process of one before is no less.
 */
static void test_many_kinds(void **state)
{
	struct u_slot old;

	learn(RIP + 0x300);
	old = begun(RIP + 0x300);
	assert_int_equal(nr, 4);
	for (unsigned int i = 1; i <= MANY; i++)
		learn(RIP + 0x300 + i * 0x40);
	/* Its kind is not known any more: it gets neighbours, and teaches nobody. */
	assert_true(begin_wants(&old, A + 0x1000));
	for (unsigned int i = 0; i < 4; i++)
		begin_touched(&old, A + 0x8000 + i * 0x1000, 0);
	for (unsigned int i = 1; i <= MANY; i++) {
		(void)begun(RIP + 0x300 + i * 0x40);
		assert_false(is_mapped(A + 0x8000));
	}
	(void)begun(RIP + 0x300);
	assert_int_equal(nr, 2);
}

/* Programs change: what is touched no more is forgotten some time. */
static void test_forgotten(void **state)
{
	unsigned int without = 0;

	learn(RIP + 0x400);
	for (unsigned int i = 0; i < A_WHILE; i++) {
		struct u_slot s = begun(RIP + 0x400);

		begin_touched(&s, C + 0x9000, 0);
		without += !is_mapped(A);
	}
	assert_int_equal(nr, 3);
	assert_false(is_mapped(A));
	assert_true(is_mapped(C + 0x9000));
	assert_in_range(without, A_WHILE / 2, A_WHILE - 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_learned, set_up),
		cmocka_unit_test_setup(test_wrong, set_up),
		cmocka_unit_test_setup(test_bounded, set_up),
		cmocka_unit_test_setup(test_many_kinds, set_up),
		cmocka_unit_test_setup(test_forgotten, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
