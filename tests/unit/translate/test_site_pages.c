/* SPDX-License-Identifier: MIT */
/*
 * Which system calls of programs become sites (monitor/user_site.c), whose copies of pages they
 * are, and that one that was lost or refused can become one again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sys/mman.h>

#include "core/mm/frame.h"
#include "core/mm/mm.h"
#include "exec/ring3/monitor/k.h"
#include "exec/ring3/monitor/user.h"

#define PAGE   4096u
#define FRAMES 1024u
#define OFF    64u /* of the system call in its page */
#define TEXT   (U_FIRST + 0x400000)
#define HOT    8u /* calls that make a site */
#define NEVER  1000u

struct k k;
const uint8_t u_stub[4096], u_site[1], u_site_saved[1], u_site_end[1];
static struct core_vcpu vcpu;
static uint64_t flags; /* of the page's entry */
static uint64_t mfn;   /* the frame behind TEXT */
static unsigned int orders, forgotten;
static uint64_t ordered[6];
static const struct u_slot *forgotten_of;

/* ---- the rest of the monitor ---------------------------------------------------------------- */

bool core_walk(struct core_ctx *c, uint64_t root, uint64_t va, uint64_t *ret_mfn,
	       uint64_t *ret_flags)
{
	*ret_mfn = mfn;
	*ret_flags = flags;
	return (va & ~0xfffull) == TEXT;
}
void user_forget_page(const struct u_slot *s, uint64_t va)
{
	assert_int_equal(va, TEXT);
	forgotten++;
	forgotten_of = s;
}
void user_drain(void)
{
}
void k_note(void *priv, uint64_t frame)
{
}
void order_add(struct u_slot *s, uint64_t nr, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3,
	       uint64_t a4, uint64_t a5)
{
	const uint64_t a[] = {a0, a1, a2, a3, a4, a5};

	assert_int_equal(nr, SYS_mmap);
	memcpy(ordered, a, sizeof(a));
	orders++;
}

/* ---- */

static uint8_t *frame(uint64_t n)
{
	return k.c.ram + n * PAGE;
}
static uint8_t *copy(uint64_t n)
{
	return k.exec + ux_sites(FRAMES, 1, 0) + n * PAGE;
}

/* Code with a system call; `room`: and with bytes behind its end that nobody executes. */
static void put_code(uint64_t n, bool room)
{
	memset(frame(n), 0xfc, PAGE); /* cld */
	memcpy(frame(n) + OFF, "\x0f\x05\xc3", 3);
	if (room)
		memset(frame(n) + OFF + 3, 0xcc, 13);
}
static struct u_slot process(uint64_t life)
{
	return (struct u_slot){.life = life};
}
static void call(struct u_slot *s, unsigned int times)
{
	while (times--)
		site_called(s, TEXT + OFF + 2);
}
/* How many calls it takes until the process has a site there. */
static unsigned int calls_until_site(struct u_slot *s)
{
	unsigned int before = orders, n = 0;

	while (orders == before && n < NEVER) {
		call(s, 1);
		n++;
	}
	return n;
}
static bool has_copy(struct u_slot *s)
{
	return site_copy(s, TEXT, mfn) != 0;
}

/* Where the jumps in the copy end: jmp hole; hole: jmp *entry. */
static uint32_t number_of_site(const uint8_t *p)
{
	uint32_t hole = OFF + 2 + p[OFF + 1], entry;

	assert_memory_equal(p + hole, ((const uint8_t[]){0xff, 0x24, 0x25}), 3);
	memcpy(&entry, p + hole + 3, 4);
	return (entry - U_SITES) / 8;
}

static int set_up(void **state)
{
	k.nr_frames = FRAMES;
	k.nr_vcpus = 1;
	k.exec_off = 1ull << 30;
	k.c.v = &vcpu;
	if (!k.exec) {
		k.exec = mmap(NULL, ux_size(FRAMES, 1), PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		k.c.ram = mmap(NULL, FRAMES * PAGE, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		k.c.frames = calloc(FRAMES, sizeof(k.c.frames[0]));
	}
	flags = PTE_PRESENT | PTE_USER;
	mfn = 5;
	put_code(mfn, true);
	orders = forgotten = 0;
	return k.exec == MAP_FAILED || k.c.ram == MAP_FAILED || !k.c.frames ? -1 : 0;
}

static void test_made(void **state)
{
	struct u_slot s = process(1), other = process(2);
	uint32_t i;
	uint64_t at;

	assert_int_equal(calls_until_site(&s), HOT);
	at = ordered[5] - k.exec_off - ux_sites(FRAMES, 1, 0);
	assert_int_equal(ordered[0], TEXT);
	assert_int_equal(ordered[2], PROT_READ | PROT_EXEC);
	assert_int_equal(at % PAGE, 0);
	assert_in_range(at / PAGE, 0, U_SITE_PAGES - 1);
	/* The guest's own memory is as it was; the copy has a jump in place of the syscall. */
	assert_int_equal(frame(mfn)[OFF], 0x0f);
	assert_int_equal(copy(at / PAGE)[OFF], 0xeb);
	assert_memory_equal(frame(mfn), copy(at / PAGE), OFF);
	assert_int_equal(site_copy(&s, TEXT, mfn), ordered[5]);
	/* By its number G says which one it came by; one that makes it up gets nowhere. */
	i = number_of_site(copy(at / PAGE));
	assert_int_equal(site_came(&s, i), TEXT + OFF + 2);
	assert_int_equal(site_came(&other, i), 0);
	assert_int_equal(site_came(&s, i + 1), 0);
	assert_int_equal(site_came(&s, U_NR_SITES), 0);
	assert_int_equal(site_came(&s, ~0u), 0);
	/* It stays one site. */
	call(&s, NEVER);
	assert_int_equal(orders, 1);
	site_emptied(&s);
	assert_false(has_copy(&s));
}

static void test_not_there(void **state)
{
	static const uint64_t wrong[] = {PTE_PRESENT | PTE_USER | PTE_RW,
					 PTE_PRESENT | PTE_USER | PTE_NX, PTE_PRESENT};
	struct u_slot s = process(10);

	/* Whoever may write, or not execute. */
	for (unsigned int i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		flags = wrong[i];
		assert_int_equal(calls_until_site(&s), NEVER);
	}
	/* ... is no longer so: */
	flags = PTE_PRESENT | PTE_USER;
	assert_in_range(calls_until_site(&s), 1, HOT);
	site_emptied(&s);
	/* Single steps see what is there. */
	s = process(11);
	site_plain(&s);
	assert_int_equal(calls_until_site(&s), NEVER);
	/* A page table is nobody's code. */
	s = process(12);
	k.c.frames[mfn].type = FRAME_TREF | (uint64_t)FRAME_L1 << FRAME_TYPE_SHIFT;
	assert_int_equal(calls_until_site(&s), NEVER);
	k.c.frames[mfn].type = 0;
}

/* What is written to a page ends its copies, and makes a system call in it a site again. */
static void test_lost(void **state)
{
	struct u_slot s = process(20), other = process(21);

	assert_int_equal(calls_until_site(&s), HOT);
	assert_int_equal(calls_until_site(&other), HOT);
	site_frame_written(mfn + 1);
	for (uint64_t other_frame = mfn + 64; other_frame < FRAMES; other_frame += 64)
		site_frame_written(other_frame);
	assert_int_equal(forgotten, 0);
	site_frame_written(mfn);
	assert_int_equal(forgotten, 2);
	assert_false(has_copy(&s) || has_copy(&other));
	frame(mfn)[0] = 0x90;
	assert_int_equal(calls_until_site(&s), HOT);
	assert_int_equal(copy((ordered[5] - k.exec_off - ux_sites(FRAMES, 1, 0)) / PAGE)[0], 0x90);
	assert_int_equal(calls_until_site(&other), HOT);
	site_emptied(&s);
	site_emptied(&other);
}

/* A copy is one process's: another has the page as it is, until its own calls say otherwise. */
static void test_own(void **state)
{
	struct u_slot s = process(30), other = process(31);

	assert_int_equal(calls_until_site(&s), HOT);
	assert_false(has_copy(&other));
	assert_int_equal(calls_until_site(&other), HOT);
	assert_true(site_copy(&s, TEXT, mfn) != site_copy(&other, TEXT, mfn));
	site_emptied(&s);
	assert_false(has_copy(&s));
	assert_true(has_copy(&other));
	/* Emptied, it has another life: all begins anew. */
	s.life = 32;
	assert_int_equal(calls_until_site(&s), HOT);
	site_emptied(&s);
	site_emptied(&other);
}

/* Refused, for there is no way from it: not asked again, but by a process of another life. */
static void test_refused(void **state)
{
	struct u_slot s = process(40);

	put_code(mfn, false);
	assert_int_equal(calls_until_site(&s), NEVER);
	put_code(mfn, true);
	assert_int_equal(calls_until_site(&s), NEVER);
	s.life = 41;
	assert_int_equal(calls_until_site(&s), HOT);
	site_emptied(&s);
}

/* More processes than there is room for copies: one loses its own, and may have one again. */
static void test_no_room(void **state)
{
	static struct u_slot s[U_SITE_PAGES + 8];
	unsigned int n = sizeof(s) / sizeof(s[0]), with = 0;

	for (unsigned int i = 0; i < n; i++) {
		s[i] = process(1000 + i);
		assert_int_equal(calls_until_site(&s[i]), HOT);
	}
	assert_int_equal(forgotten, n - U_SITE_PAGES);
	for (unsigned int i = 0; i < n; i++)
		with += has_copy(&s[i]);
	assert_int_equal(with, U_SITE_PAGES);
	for (unsigned int i = 0; i < n; i++)
		if (!has_copy(&s[i]))
			assert_int_equal(calls_until_site(&s[i]), HOT);
	for (unsigned int i = 0; i < n; i++)
		site_emptied(&s[i]);
	for (unsigned int i = 0; i < n; i++)
		assert_false(has_copy(&s[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_made, set_up),
		cmocka_unit_test_setup(test_not_there, set_up),
		cmocka_unit_test_setup(test_lost, set_up),
		cmocka_unit_test_setup(test_own, set_up),
		cmocka_unit_test_setup(test_refused, set_up),
		cmocka_unit_test_setup(test_no_room, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
