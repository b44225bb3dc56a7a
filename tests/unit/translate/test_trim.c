/* SPDX-License-Identifier: MIT */
/*
 * xlate_trim(): the look-up table is forgotten, the translations are not. What was an entry before
 * is one again when it is needed, in the same place, and nothing is translated twice.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "exec/ring3/translate/internal.h"
#include "harness.h"

#define PAGES 64u
#define STEP  0x340u /* from one function to the next: some cross pages, some pages of the table */
#define NR    (PAGES * 0x1000u / STEP)

static struct xlate_stats stats(void)
{
	struct xlate_stats s;

	xlate_get_stats(X, &s);
	return s;
}

/*
 * Function k: add eax, k; nop; test edi, edi; jz 1f; inc edi; 1: call the next; add ebx, eax; ret.
 */
static void put_functions(uint64_t base)
{
	static const uint8_t middle[] = {0x0f, 0x1f, 0x40, 0x00, 0x85, 0xff,
					 0x74, 0x02, 0xff, 0xc7, 0xe8};
	unsigned int k;

	poke(base - 0x1000, "\x0f\x05", 2); /* where the first one returns to */
	for (k = 0; k < NR; k++) {
		uint64_t at = base + k * STEP;
		uint8_t c[64];
		unsigned int n = 0;
		int32_t rel;

		c[n++] = 0x05; /* add eax, imm32 */
		memcpy(c + n, &k, 4);
		n += 4;
		if (k + 1 < NR) {
			memcpy(c + n, middle, sizeof(middle));
			n += sizeof(middle);
			rel = (int32_t)(STEP - (n + 4));
			memcpy(c + n, &rel, 4);
			n += 4;
		}
		c[n++] = 0x01; /* add ebx, eax */
		c[n++] = 0xc3;
		c[n++] = 0xc3; /* ret */
		poke(at, c, n);
	}
}

static uint32_t run_functions(uint64_t base)
{
	uint64_t end = base - 0x1000;

	memset(&R, 0, sizeof(R));
	R.rip = base;
	R.rflags = 0x202;
	R.gpr[R_RSP] = STACK + (base - CODE) - 8;
	memcpy(guest_ptr(R.gpr[R_RSP]), &end, 8);
	assert_int_equal(run_guest().exit, XLATE_HYPERCALL);
	assert_int_equal(R.rip, end + 2);
	return (uint32_t)R.gpr[R_RBX];
}

/* All entries of the functions, in the order of their addresses. */
static unsigned int snapshot(uint64_t base, uint32_t *ret)
{
	unsigned int n = 0;
	uint64_t a;

	for (a = 0; a < PAGES * 0x1000; a++) {
		ret[a] = xlate_lookup(X, base + a);
		n += ret[a] != 0;
	}
	return n;
}

static uint32_t entries[PAGES * 0x1000];

static void one_trim(uint64_t base)
{
	static uint32_t before[PAGES * 0x1000], after[PAGES * 0x1000];
	uint32_t sum, touched;
	unsigned int n;
	uint64_t frags;

	harness_cache(0);
	put_functions(base);
	sum = run_functions(base);
	assert_int_equal(run_functions(base), sum);
	n = snapshot(base, before);
	assert_true(n > 5 * NR);
	frags = stats().fragments;
	touched = X->nr_touched;
	assert_true(touched > TRIM_MIN);
	assert_true(xlate_worth_trimming(X));
	xlate_trim(X);
	assert_int_equal(X->nr_touched, 0);
	assert_false(xlate_worth_trimming(X));
	/* by running: returns meet pages that are not there */
	assert_int_equal(run_functions(base), sum);
	assert_int_equal(stats().fragments, frags);
	assert_true(X->nr_touched > 0 && X->nr_touched <= touched);
	/* by asking */
	xlate_trim(X);
	assert_int_equal(snapshot(base, after), n);
	assert_memory_equal(before, after, sizeof(before));
	assert_true(X->nr_touched <= touched);
}

static void test_trim(void **state)
{
	harness_begin();
	one_trim(CODE);
	one_trim(HIGH(CODE));
}

/* What is invalid does not come back, and what is translated now goes beside what was before. */
static void test_changed(void **state)
{
	uint32_t sum, old;

	harness_begin();
	harness_cache(0);
	put_functions(CODE);
	sum = run_functions(CODE);
	old = xlate_lookup(X, CODE + STEP);
	xlate_trim(X);
	xlate_invalidate_frame(X, (CODE - GUEST_LOW) >> 12);
	assert_int_equal(xlate_lookup(X, CODE + STEP), 0);
	assert_int_not_equal(xlate_lookup(X, CODE + 8 * STEP), 0);
	assert_int_equal(run_functions(CODE), sum);
	assert_int_not_equal(xlate_lookup(X, CODE + STEP), old);
	/* all forgotten while some of the table was */
	xlate_trim(X);
	xlate_invalidate_all(X);
	assert_int_equal(xlate_lookup(X, CODE + 8 * STEP), 0);
	assert_int_equal(run_functions(CODE), sum);
}

/*
 * An access to user memory looks its operand up first: that is where it is entered again. (At the
 * access itself it would go where the last one went.)
 */
static void test_user_sites(void **state)
{
	/* nop; mov rax, [r9]; mov [r9 + 8], rbx; syscall */
	static const uint8_t code[] = {0x90, 0x49, 0x8b, 0x01, 0x49, 0x89, 0x59, 0x08, 0x0f, 0x05};
	uint64_t *mem = (uint64_t *)(ram_guest + USER_RAM);
	const uint64_t at = CODE + PAGES * 0x1000;
	unsigned int k;

	harness_begin();
	harness_cache(0);
	put_functions(CODE);
	run_functions(CODE);
	poke(at, code, sizeof(code));
	for (k = 0; k < 8; k++) {
		uint64_t *here = mem + 0x400 * k; /* 8 KiB apart */

		here[0] = 1000 + k;
		here[1] = 0;
		memset(&R, 0, sizeof(R));
		R.rip = at + (k > 3 ? k % 2 : 0); /* also in the middle of the fragment */
		R.rflags = 0x202;
		R.gpr[R_R9] = USER_BASE + 0x2000 * k;
		R.gpr[R_RBX] = 7 + k;
		assert_int_equal(run_guest().exit, XLATE_HYPERCALL);
		assert_int_equal(R.gpr[R_RAX], 1000 + k);
		assert_int_equal(here[1], 7 + k);
		if (k == 2) /* the sites are known: one fragment with both */
			poke(at, code, sizeof(code));
		if (k >= 3) {
			run_functions(CODE);
			snapshot(CODE, entries);
			assert_true(xlate_worth_trimming(X));
			xlate_trim(X);
		}
	}
	assert_true(X->nr_user >= 2);
}

/* Single steps and transfers in the exact way are for once: no entries of theirs come back. */
static void test_steps(void **state)
{
	uint32_t sum;
	unsigned int k;

	harness_begin();
	harness_cache(0);
	put_functions(CODE);
	sum = run_functions(CODE);
	R.rip = CODE + 2 * STEP;
	R.gpr[R_RSP] = STACK;
	R.rflags |= 0x100;
	for (k = 0; k < 5; k++)
		assert_int_equal(run_guest().exit, XLATE_STEP);
	xlate_trim(X);
	for (k = 0; k < PAGES * 0x1000; k++) {
		uint32_t host = xlate_lookup(X, CODE + k);

		if (host)
			assert_false(X->frags[xlate_frag_of(X, host)].flags & FRAG_STEP);
	}
	assert_int_equal(run_functions(CODE), sum);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_trim),
		cmocka_unit_test(test_changed),
		cmocka_unit_test(test_user_sites),
		cmocka_unit_test(test_steps),
	};

#ifdef XLATE_NO_TABLE
	printf("no look-up table beside AddressSanitizer: nothing to trim\n");
	return 77;
#endif
	if (!harness_init(0))
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
