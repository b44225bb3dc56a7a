/* SPDX-License-Identifier: MIT */
/* Ways from a system call of a program to the stub (monitor/user_site_way.c), in pages of all
 * kinds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "exec/ring3/monitor/user.h"

#define PAGE 4096u

static uint8_t code[PAGE], copy[PAGE];
static unsigned int end;

static void put(const char *bytes, unsigned int n)
{
	memcpy(code + end, bytes, n);
	end += n;
}
#define PUT(bytes) put(bytes, sizeof(bytes) - 1)

static void begin(void)
{
	memset(code, 0xfc, sizeof(code)); /* cld */
	end = 64;
	PUT("\x0f\x05");
}

static bool find(struct site_way *way)
{
	memcpy(copy, code, PAGE);
	return site_find_way(code, copy, 64, way);
}

/* Where the jumps from `off` on end: the address of the pointer. */
static uint32_t follow(uint32_t at)
{
	for (unsigned int i = 0; i < 3; i++) {
		int32_t rel;
		uint32_t entry;

		assert_true(at <= PAGE - 2);
		if (copy[at] == 0xeb) {
			at = at + 2 + (uint32_t)(int8_t)copy[at + 1];
		} else if (copy[at] == 0xe9) {
			memcpy(&rel, copy + at + 1, 4);
			at = at + 5 + (uint32_t)rel;
		} else {
			assert_true(at <= PAGE - 7);
			assert_memory_equal(copy + at, ((const uint8_t[]){0xff, 0x24, 0x25}), 3);
			memcpy(&entry, copy + at + 3, 4);
			return entry;
		}
	}
	fail_msg("no end");
	return 0;
}

static void behind_a_return(void **state)
{
	struct site_way way;

	begin();
	PUT("\x48\x3d\x00\xf0\xff\xff\xc3\x0f\x1f\x80\x00\x00\x00\x00"); /* cmp, ret, nop of 7 */
	assert_int_equal(end, 80);
	assert_true(find(&way));
	assert_int_equal(way.hole.at, 73);
	assert_int_equal(way.hole.room, 7);
	assert_false(way.hole.stepped_on);
	assert_int_equal(way.relay.room, 0);
	site_write_way(copy, 64, &way, 0x12340);
	assert_int_equal(follow(64), 0x12340);
	assert_memory_equal(copy + 66, code + 66, 7);
	assert_memory_equal(copy + 80, code + 80, PAGE - 80);
}

/* What follows no return or jump may be executed; seven bytes of it are too few. */
static void not_behind_a_call(void **state)
{
	struct site_way way;

	begin();
	PUT("\x31\xc0\xe8\x00\x00\x00\x00\x0f\x1f\x80\x00\x00\x00\x00");
	assert_int_equal(end, 80);
	assert_false(find(&way));
}

static void not_up_to_a_multiple_of_16(void **state)
{
	struct site_way way;

	begin();
	PUT("\xc3\x0f\x1f\x80\x00\x00\x00\x00\x0f\x1f\x80\x00\x00\x00\x00");
	assert_int_equal(end, 81);
	assert_false(find(&way));
}

static void stepped_over(void **state)
{
	struct site_way way;

	begin();
	end = 101;
	PUT("\x66\x66\x2e\x0f\x1f\x84\x00\x00\x00\x00\x00");
	assert_int_equal(end, 112);
	assert_true(find(&way));
	assert_int_equal(way.hole.at, 103);
	assert_true(way.hole.stepped_on);
	site_write_way(copy, 64, &way, 0x12348);
	assert_int_equal(follow(64), 0x12348);
	assert_int_equal(copy[101], 0xeb); /* who comes from above goes on below */
	assert_int_equal(101 + 2 + copy[102], 112);
}

static void backwards_and_too_far(void **state)
{
	struct site_way way;

	for (unsigned int at = 128; at <= 512; at += 16) {
		begin();
		memset(code + 64, 0xfc, 2);
		code[256] = 0x0f, code[257] = 0x05;
		end = at - 9;
		PUT("\x66\x0f\x1f\x84\x00\x00\x00\x00\x00");
		memcpy(copy, code, PAGE);
		bool near = at - 7 >= 256 + 2 - 128 && at - 7 <= 256 + 2 + 127;
		if (at - 9 < 258 && at > 256)
			continue;
		assert_int_equal(site_find_way(code, copy, 256, &way), near);
	}
}

static void relays(void **state)
{
	struct site_way way;

	/* a nop of four near by, one of eleven a short jump from there */
	begin();
	end = 156;
	PUT("\x0f\x1f\x40\x00");
	assert_false(find(&way));
	end = 261;
	PUT("\x66\x66\x2e\x0f\x1f\x84\x00\x00\x00\x00\x00");
	assert_true(find(&way));
	assert_int_equal(way.relay.at, 158);
	assert_int_equal(way.hole.at, 263);
	site_write_way(copy, 64, &way, 0x12350);
	assert_int_equal(follow(64), 0x12350);
	/* ... and further away: a short jump is not enough, a nop of seven holds a long one */
	begin();
	end = 156;
	PUT("\x0f\x1f\x40\x00");
	end = 4005;
	PUT("\x66\x66\x2e\x0f\x1f\x84\x00\x00\x00\x00\x00");
	assert_false(find(&way));
	end = 137;
	PUT("\x0f\x1f\x80\x00\x00\x00\x00");
	assert_true(find(&way));
	assert_int_equal(way.relay.at, 139);
	assert_int_equal(way.hole.at, 4007);
	site_write_way(copy, 64, &way, 0x12358);
	assert_int_equal(follow(64), 0x12358);
}

/* A small one near by is taken before a large one that others may need. */
static void nearest_first(void **state)
{
	struct site_way way;

	begin();
	end = 72;
	PUT("\xfc\xfc\xc3\xcc\xcc\xcc\xcc\xcc"); /* five bytes are free */
	assert_int_equal(end, 80);
	end = 100;
	PUT("\xc3");
	memset(code + end, 0xcc, 11);
	end = 4005;
	PUT("\x66\x66\x2e\x0f\x1f\x84\x00\x00\x00\x00\x00");
	assert_true(find(&way));
	assert_int_equal(way.relay.at, 75);
	assert_int_equal(way.hole.at, 4007);
	site_write_way(copy, 64, &way, 0x12340);
	assert_int_equal(follow(64), 0x12340);
}

/* The end of a longer nop is none. */
static void part_of_another(void **state)
{
	struct site_way way;

	begin();
	end = 96 - 15;
	PUT("\x66\x66\x66\x66\x66\x66\x2e\x0f\x1f\x84\x00\x00\x00\x00\x00");
	assert_false(find(&way));
}

static void prefixed_or_cut(void **state)
{
	struct site_way way;

	begin();
	PUT("\xc3");
	memset(code + end, 0xcc, 13);
	assert_true(find(&way));
	code[63] = 0x66;
	assert_false(find(&way));
	memset(code, 0xcc, PAGE);
	code[PAGE - 1] = 0x0f;
	memcpy(copy, code, PAGE);
	assert_false(site_find_way(code, copy, PAGE - 1, &way));
	assert_false(site_find_way(code, copy, PAGE + 100, &way));
}

static uint32_t seed = 1;
static uint32_t any(uint32_t below)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 8) % below;
}

/* Pages full of what there is, and a way for each syscall until there is no more room. */
static void many(void **state)
{
	static const char *const bits[] = {"\x0f\x05",
					   "\xc3",
					   "\x31\xc0",
					   "\xfc",
					   "\x90\x90\x90\x90",
					   "\xe9\x01\x02\x03\x04",
					   "\xcc\xcc\xcc\xcc\xcc"};
	static const uint8_t lens[] = {2, 1, 2, 1, 4, 5, 5};
	static const uint8_t nop11[] = {0x66, 0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0};
	unsigned int total = 0;

	for (unsigned int page = 0; page < 300; page++) {
		static struct {
			uint32_t off;
			struct site_way way;
		} made[400];
		uint8_t touched[PAGE] = {0};
		unsigned int nr = 0;

		for (unsigned int at = 0; at < PAGE;) {
			unsigned int i = any(7);

			if (any(9) == 0 && (at + 11) % 16 == 0 && at + 11 <= PAGE) {
				memcpy(code + at, nop11, 11);
				at += 11;
			} else if (at + lens[i] <= PAGE) {
				memcpy(code + at, bits[i], lens[i]);
				at += lens[i];
			} else {
				code[at++] = (uint8_t)any(256);
			}
		}
		memcpy(copy, code, PAGE);
		for (uint32_t off = 0; off < PAGE && nr < 400; off++) {
			struct site_way *way = &made[nr].way;

			if (!site_find_way(code, copy, off, way))
				continue;
			if (touched[off] || touched[off + 1])
				continue; /* bytes that look like one, in what was already used */
			made[nr].off = off;
			site_write_way(copy, off, way, 0x10000 + 8 * nr);
			touched[off] = touched[off + 1] = 1;
			nr++;
		}
		for (unsigned int i = 0; i < nr; i++)
			assert_int_equal(follow(made[i].off), 0x10000 + 8 * i);
		total += nr;
	}
	assert_true(total > 1000);
}

/* What a hostile program may have there: nothing outside the page is looked at. */
static void garbage(void **state)
{
	struct site_way way;

	for (unsigned int n = 0; n < 4000; n++) {
		uint32_t off = any(PAGE + 8);

		for (unsigned int i = 0; i < PAGE; i++)
			code[i] = (uint8_t)(any(3) ? any(256) : 0x90);
		if (off < PAGE - 1)
			code[off] = 0x0f, code[off + 1] = 0x05;
		memcpy(copy, code, PAGE);
		if (site_find_way(code, copy, off, &way)) {
			site_write_way(copy, off, &way, 0x12000);
			assert_int_equal(follow(off), 0x12000);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(behind_a_return),
		cmocka_unit_test(not_behind_a_call),
		cmocka_unit_test(not_up_to_a_multiple_of_16),
		cmocka_unit_test(stepped_over),
		cmocka_unit_test(backwards_and_too_far),
		cmocka_unit_test(relays),
		cmocka_unit_test(nearest_first),
		cmocka_unit_test(part_of_another),
		cmocka_unit_test(prefixed_or_cut),
		cmocka_unit_test(many),
		cmocka_unit_test(garbage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
