/* SPDX-License-Identifier: MIT */
/* The little library of the freestanding core. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/lib/bitops.h"
#include "core/lib/fmt.h"
#include "core/lib/lock.h"

/* Same text and same length as libc's. */
#define SAME(...)                                                                                  \
	do {                                                                                       \
		char ours[128], libc[128];                                                         \
		size_t n = core_fmt(ours, sizeof(ours), __VA_ARGS__);                              \
		int m = snprintf(libc, sizeof(libc), __VA_ARGS__);                                 \
		assert_string_equal(ours, libc);                                                   \
		assert_int_equal(n, m);                                                            \
	} while (0)

static void formats_like_printf(void **state)
{
	SAME("plain");
	SAME("%s and %s", "one", "two");
	SAME("[%8s]", "right");
	SAME("%d %d %d", 0, -1, 2147483647);
	SAME("%d", -2147483647 - 1);
	SAME("%ld", (long)INT64_MIN);
	SAME("%u %x", 4294967295u, 0xdeadbeefu);
	SAME("%lx %lu", ~0ul, ~0ul);
	SAME("%llx", 0x123456789abcdefull);
	SAME("%016lx|%8x|%08d", 0xabcul, 0xabcu, -42);
	SAME("%zu", (size_t)77);
	SAME("%c%c", 'a', 'b');
	SAME("100%%");
	SAME("%hu %hhu", (unsigned short)3, (unsigned char)4);
}

static void unknown_conversions_are_copied(void **state)
{
	char buf[64];
	const char *volatile odd = "%q %-5d %"; /* volatile: not for the compiler's eyes */

	assert_int_equal(core_fmt(buf, sizeof(buf), "%s", odd), strlen(odd));
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-security"
	core_fmt(buf, sizeof(buf), odd);
#pragma GCC diagnostic pop
	assert_string_equal(buf, odd);
}

static void output_is_bounded(void **state)
{
	char buf[8];

	memset(buf, 'x', sizeof(buf));
	assert_int_equal(core_fmt(buf, 4, "%s", "abcdefgh"), 8);
	assert_string_equal(buf, "abc");
	assert_int_equal(buf[4], 'x');
	assert_int_equal(core_fmt(buf, 0, "%d", 12345), 5);
	assert_int_equal(buf[0], 'a');
	assert_int_equal(core_fmt(buf, 1, "%d", 12345), 5);
	assert_string_equal(buf, "");
}

static void null_string_is_named(void **state)
{
	char buf[16];
	const char *volatile none = NULL;

	core_fmt(buf, sizeof(buf), "<%s>", none);
	assert_string_equal(buf, "<(null)>");
}

static void bits(void **state)
{
	uint64_t map[2] = {0};

	assert_false(core_bit_test_and_set(map, 70));
	assert_true(core_bit_test_and_set(map, 70));
	assert_int_equal(map[1], 1 << 6);
	assert_true(core_bit_test(map, 70));
	assert_true(core_bit_test_and_clear(map, 70));
	assert_false(core_bit_test_and_clear(map, 70));
	assert_int_equal(core_bit_first(0x80), 7);
}

static void canonical_addresses(void **state)
{
	assert_true(core_canonical(0));
	assert_true(core_canonical(0x7fffffffffff));
	assert_false(core_canonical(0x800000000000));
	assert_false(core_canonical(0xffff7fffffffffff));
	assert_true(core_canonical(0xffff800000000000));
}

static void lock_is_taken_and_left(void **state)
{
	const struct core_exec_ops none = {0};
	struct core_ctx c = {.ops = &none};
	uint32_t lock = 0;

	core_lock(&c, &lock);
	assert_int_equal(lock, 1);
	core_unlock(&c, &lock);
	assert_int_equal(lock, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(formats_like_printf),
		cmocka_unit_test(unknown_conversions_are_copied),
		cmocka_unit_test(output_is_bounded),
		cmocka_unit_test(null_string_is_named),
		cmocka_unit_test(bits),
		cmocka_unit_test(canonical_addresses),
		cmocka_unit_test(lock_is_taken_and_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
