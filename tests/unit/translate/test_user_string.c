/* SPDX-License-Identifier: MIT */
/*
 * rep movs and rep stos on user memory, beside a model of them that knows one element at a time:
 * through the cache, by the longer way, from one to the other in the middle, into pages that are
 * not there; and stopped in front of each host instruction.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "exec/ring3/translate/internal.h"
#include "harness.h"

#define AREA   0x6000u /* of user memory, and of the kernel's */
#define ROUNDS 6000u

struct op {
	bool movs, down;
	unsigned int lg;
	uint8_t code[8];
	unsigned int len;
};

static struct op random_op(void)
{
	struct op o = {.movs = rnd() & 1, .lg = rnd() & 3, .down = rnd() % 8 == 0};

	o.code[o.len++] = rnd() & 1 ? 0xf3 : 0xf2;
	if (o.lg == 1)
		o.code[o.len++] = 0x66;
	if (o.lg == 3)
		o.code[o.len++] = 0x48;
	o.code[o.len++] = (o.movs ? 0xa4 : 0xaa) | (o.lg ? 1 : 0);
	return o;
}

/* Somewhere in one of the areas, most often near the end of a page. */
static uint64_t random_address(void)
{
	uint64_t at = 0x1000 + (rnd() & 0x3fff);

	if (rnd() & 1)
		at = (at | 0xfff) - (rnd() & 31);
	return (rnd() & 3 ? USER_BASE : DATA) + at;
}

static bool is_user(uint64_t va)
{
	return va - USER_BASE < USER_SIZE;
}

static uint8_t *model_byte(uint64_t va)
{
	return ram_native +
	       (is_user(va) ? USER_RAM + ((va - USER_BASE) ^ user_swap) : va - GUEST_LOW);
}

static bool denied(uint64_t va, bool write)
{
	return user_absent && va >> 12 == user_absent >> 12 && (write || !(user_absent & 1));
}

static bool element_denied(uint64_t va, unsigned int width, bool write, uint64_t *at)
{
	for (unsigned int k = 0; k < width; k++) {
		*at = va + k;
		if (denied(*at, write))
			return true;
	}
	return false;
}

/* Returns the address that cannot be accessed, 0 = done. `torn`: an element that may be written in
 * part. */
static uint64_t model(const struct op *o, struct core_regs *r, uint64_t *torn)
{
	const unsigned int width = 1u << o->lg;
	uint64_t at, v;
	unsigned int k;

	*torn = 0;
	for (; r->gpr[R_RCX]; r->gpr[R_RCX]--) {
		v = r->gpr[R_RAX];
		if (o->movs) {
			if (element_denied(r->gpr[R_RSI], width, false, &at))
				return at;
			for (k = 0, v = 0; k < width; k++)
				v |= (uint64_t)*model_byte(r->gpr[R_RSI] + k) << 8 * k;
		}
		if (element_denied(r->gpr[R_RDI], width, true, &at)) {
			*torn = r->gpr[R_RDI];
			return at;
		}
		for (k = 0; k < width; k++)
			*model_byte(r->gpr[R_RDI] + k) = (uint8_t)(v >> 8 * k);
		r->gpr[R_RDI] += o->down ? -(uint64_t)width : width;
		if (o->movs)
			r->gpr[R_RSI] += o->down ? -(uint64_t)width : width;
	}
	return 0;
}

static void fill(void)
{
	for (unsigned int k = 0; k < AREA; k += 8) {
		uint64_t v = rnd(), w = rnd();

		memcpy(ram_guest + USER_RAM + k, &v, 8);
		memcpy(ram_native + USER_RAM + k, &v, 8);
		memcpy(guest_ptr(DATA + k), &w, 8);
		memcpy(ram_native + (DATA + k - GUEST_LOW), &w, 8);
	}
}

static void random_regs(struct core_regs *r, const struct op *o)
{
	memset(r, 0, sizeof(*r));
	for (unsigned int k = 0; k < 16; k++)
		r->gpr[k] = rnd();
	r->gpr[R_RSP] = STACK;
	r->gpr[R_RDI] = random_address();
	r->gpr[R_RSI] = rnd() & 7 ? random_address() : r->gpr[R_RDI] - (rnd() & 15);
	r->gpr[R_RCX] = (rnd() & 7 ? rnd() % 0x1000 : rnd() % 3) >> o->lg;
	r->rflags = 0x202 | (rnd() & 0x8d5) | (o->down ? 0x400 : 0);
	r->rip = CODE;
}

static void same_memory(const struct op *o, uint64_t torn)
{
	/* (across pages, the second of which is not there) */
	for (unsigned int k = 0; torn && k < 1u << o->lg; k++)
		*model_byte(torn + k) = ram_guest[model_byte(torn + k) - ram_native];
	assert_memory_equal(ram_guest + USER_RAM, ram_native + USER_RAM, AREA);
	assert_memory_equal(guest_ptr(DATA), ram_native + (DATA - GUEST_LOW), AREA);
}

static void same_regs(const struct core_regs *m)
{
	assert_memory_equal(R.gpr, m->gpr, sizeof(R.gpr));
	assert_int_equal((R.rflags ^ m->rflags) & 0xcd5, 0);
}

/* Run to the end of the string, or the model's page fault. */
static void check(const struct op *o, struct core_regs *m)
{
	for (;;) {
		uint64_t torn, at = model(o, m, &torn);
		struct outcome out = run_guest();

		if (!at) {
			assert_int_equal(out.exit, XLATE_HYPERCALL);
			m->gpr[R_RCX] = R.gpr[R_RCX]; /* the hypercall's */
			m->gpr[R_R11] = R.gpr[R_R11];
			same_regs(m);
			same_memory(o, 0);
			return;
		}
		assert_int_equal(out.exit, XLATE_PAGE_FAULT);
		assert_int_equal(xlate_exit_addr(X), at);
		assert_int_equal(R.rip, CODE);
		same_regs(m);
		same_memory(o, torn);
		user_absent = 0;
	}
}

static void put_code(const struct op *o)
{
	poke(CODE, o->code, o->len);
	poke(CODE + o->len, "\x0f\x05", 2);
}

static void test_random(void **state)
{
	struct xlate_stats st;
	unsigned int n, faults = 0;
	struct core_regs m;

	harness_begin();
	harness_reset();
	rnd_seed(1);
	fill();
	for (n = 0; n < ROUNDS;) {
		struct op o = random_op();

		harness_reset();
		user_swap ^= 0x1000; /* pages that lie in a row for the guest only */
		put_code(&o);
		/* The same code for a while: a site, and what the small TLB knows grows. */
		for (unsigned int k = 0; k < 60; k++, n++) {
			o.down = rnd() % 8 == 0;
			random_regs(&m, &o);
			if (rnd() % 4 == 0)
				user_absent = (USER_BASE + (rnd() % 6 << 12)) | (rnd() & 1);
			if (user_absent || rnd() % 8 == 0)
				xlate_user_forget(X);
			faults += user_absent != 0;
			R = m;
			check(&o, &m);
			user_absent = 0;
		}
	}
	user_swap = 0;
	xlate_get_stats(X, &st);
	printf("%u strings, %u with a page that is not there\n", n, faults);
}

/* What the small TLB knows does not leave the cache. */
static void test_stays(void **state)
{
	struct xlate_stats st;
	struct core_regs m;
	uint64_t n = 0;

	harness_begin();
	for (unsigned int lg = 0; lg < 4; lg++)
		for (unsigned int movs = 0; movs < 2; movs++) {
			struct op o;

			do
				o = random_op();
			while (o.lg != lg || o.movs != movs);
			o.down = false;
			harness_reset();
			put_code(&o);
			for (unsigned int k = 0; k < 20; k++) {
				memset(&m, 0, sizeof(m));
				m.gpr[R_RSP] = STACK;
				m.gpr[R_RDI] = USER_BASE + 0x1008;
				m.gpr[R_RSI] = DATA + 0x1000;
				m.gpr[R_RCX] = 0x3000u >> lg;
				m.rflags = 0x202;
				m.rip = CODE;
				R = m;
				check(&o, &m);
				xlate_get_stats(X, &st);
				if (k == 2)
					n = st.user_accesses;
			}
			assert_int_equal(st.user_accesses, n);
		}
}

static struct core_regs step_start, step_end;
static const struct op *step_op;
static unsigned int nr_steps;
static bool step_bad;

/* At the instruction with so many elements done as its registers say, or behind it. */
static void check_step(const struct core_regs *seen)
{
	struct core_regs want = step_start;
	uint64_t done = step_start.gpr[R_RCX] - seen->gpr[R_RCX];

	nr_steps++;
	if (seen->rip != CODE) {
		want = step_end;
	} else {
		want.gpr[R_RCX] -= done;
		want.gpr[R_RDI] += done << step_op->lg;
		if (step_op->movs)
			want.gpr[R_RSI] += done << step_op->lg;
	}
	if (done > step_start.gpr[R_RCX] || memcmp(seen->gpr, want.gpr, sizeof(want.gpr)) ||
	    ((seen->rflags ^ want.rflags) & 0xcd5))
		step_bad = true;
}

static void known_start(const struct op *o)
{
	random_regs(&step_start, o);
	step_start.gpr[R_RDI] = USER_BASE + 0x2000 - (5u << o->lg) - (rnd() & 3);
	step_start.gpr[R_RSI] = DATA + 0x2000 - (9u << o->lg) - (rnd() & 3);
	step_start.gpr[R_RCX] = 20;
	step_end = step_start;
}

/* In front of each host instruction of a string over several pages, in both ways to look. */
static void test_boundaries(void **state)
{
	unsigned int kicks = 0;

	harness_begin();
	rnd_seed(7);
	for (unsigned int n = 0; n < 12; n++) {
		struct op o = random_op();
		uint64_t torn;

		o.down = false;
		step_op = &o;
		harness_reset();
		put_code(&o);
		known_start(&o);
		for (unsigned int k = 0; k < 3; k++) {
			fill();
			R = step_start;
			assert_int_equal(run_guest().exit, XLATE_HYPERCALL);
		}
		fill();
		assert_int_equal(model(&o, &step_end, &torn), 0);
		R = step_start;
		run_guest_stepped(check_step);
		if (step_bad)
			fail_msg("wrong at a boundary: width %u, movs %d", 1u << o.lg, o.movs);
		same_memory(&o, 0);
		for (unsigned int step = 1;; step++, kicks++) {
			struct core_regs m = step_start;
			bool kicked;

			fill();
			assert_int_equal(model(&o, &m, &torn), 0);
			R = step_start;
			kicked = run_guest_kicked_at(step);
			m.gpr[R_RCX] = R.gpr[R_RCX];
			m.gpr[R_R11] = R.gpr[R_R11];
			same_regs(&m);
			same_memory(&o, 0);
			if (!kicked)
				break;
		}
	}
	printf("%u host instructions stopped at, %u kicks\n", nr_steps, kicks);
	assert_true(nr_steps > 12 * 60 && kicks > 12 * 60);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_stays),
		cmocka_unit_test(test_boundaries),
	};

	if (!harness_init(0))
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
