/* SPDX-License-Identifier: MIT */
/* lib/mem.c as the freestanding image has it, under other names, against libc's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

void *core_test_memcpy(void *restrict dst, const void *restrict src, size_t n);
void *core_test_memmove(void *dst, const void *src, size_t n);
void *core_test_memset(void *dst, int byte, size_t n);
int core_test_memcmp(const void *a, const void *b, size_t n);

#define SIZE 300

static void fill(uint8_t *p)
{
	for (unsigned int i = 0; i < SIZE; i++)
		p[i] = (uint8_t)(i * 7 + 3);
}

static void moves_like_libc(void **state)
{
	uint8_t ours[SIZE], libc[SIZE];

	srand(1);
	for (unsigned int round = 0; round < 2000; round++) {
		unsigned int from = (unsigned int)rand() % 100, to = (unsigned int)rand() % 100;
		unsigned int n = (unsigned int)rand() % 200;

		fill(ours);
		fill(libc);
		assert_ptr_equal(core_test_memmove(ours + to, ours + from, n), ours + to);
		memmove(libc + to, libc + from, n);
		assert_memory_equal(ours, libc, SIZE);
	}
}

static void copies_and_sets(void **state)
{
	uint8_t a[SIZE], b[SIZE];

	for (unsigned int n = 0; n < 70; n++) {
		fill(a);
		memset(b, 0, SIZE);
		assert_ptr_equal(core_test_memcpy(b + 5, a + 9, n), b + 5);
		assert_memory_equal(b + 5, a + 9, n);
		assert_int_equal(b[5 + n], 0);
		assert_ptr_equal(core_test_memset(a, 0x1ab, n), a);
		for (unsigned int i = 0; i < n; i++)
			assert_int_equal(a[i], 0xab);
		assert_int_equal(a[n], (uint8_t)(n * 7 + 3));
	}
}

static void compares(void **state)
{
	assert_int_equal(core_test_memcmp("abc", "abc", 3), 0);
	assert_true(core_test_memcmp("abc", "abd", 3) < 0);
	assert_true(core_test_memcmp("\xff", "\x01", 1) > 0);
	assert_int_equal(core_test_memcmp("x", "y", 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(moves_like_libc),
		cmocka_unit_test(copies_and_sets),
		cmocka_unit_test(compares),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
