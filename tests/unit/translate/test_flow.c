/* SPDX-License-Identifier: MIT */
/*
 * Control flow and stack handling. The oracle is a native run that is single-stepped: a list of the
 * states at all instruction boundaries. The translated run is stopped in front of each of its host
 * instructions; each state that is recovered there must be in the list, in order. The same once
 * more with pages taken away, so that every memory access faults once.
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

#define SNIPPETS(X)                                                                                \
	X(calls)                                                                                   \
	X(ret_imm)                                                                                 \
	X(push_ret)                                                                                \
	X(get_pc)                                                                                  \
	X(indirect)                                                                                \
	X(functions)                                                                               \
	X(stores)                                                                                  \
	X(lines)                                                                                   \
	X(loops)                                                                                   \
	X(jcc) X(retpoline) X(thunks) X(stacks) X(overlap) X(strings) X(pages) X(segments) X(pushes)
#define DECLARE(n) extern const uint8_t snip_##n[], snip_##n##_end[];
SNIPPETS(DECLARE)
#define ENTRY(n) {#n, snip_##n, snip_##n##_end},
static const struct snippet {
	const char *name;
	const uint8_t *start, *end;
} snippets[] = {SNIPPETS(ENTRY)};
#define NR (sizeof(snippets) / sizeof(*snippets))

#define MAX_TRACE 4096
static struct core_regs trace[MAX_TRACE];
static unsigned int nr_trace, at;
static unsigned long nr_checked;
static uint64_t low, high;
static bool failed;

static void record(const struct core_regs *r)
{
	if (r->rip >= low && r->rip <= high && nr_trace < MAX_TRACE)
		trace[nr_trace++] = *r;
}

static bool same(const struct core_regs *a, const struct core_regs *b)
{
	return !memcmp(a->gpr, b->gpr, sizeof(a->gpr)) && a->rip == b->rip &&
	       !((a->rflags ^ b->rflags) & 0xcd5);
}

static void explain(const struct core_regs *r)
{
	unsigned int k, j, best = 0, best_n = 99;

	for (k = 0; k < nr_trace; k++) {
		unsigned int n = 0;

		if (trace[k].rip != r->rip)
			continue;
		for (j = 0; j < 16; j++)
			n += trace[k].gpr[j] != r->gpr[j];
		if (n < best_n) {
			best_n = n;
			best = k;
		}
	}
	printf("  recovered rip %#lx (+%#lx), nearest native state %u\n", r->rip, r->rip - low,
	       best);
	if (best_n == 99)
		return;
	for (j = 0; j < 16; j++)
		if (trace[best].gpr[j] != r->gpr[j])
			printf("  register %u: %#lx, native %#lx\n", j, r->gpr[j],
			       trace[best].gpr[j]);
	printf("  flags %#lx, native %#lx\n", r->rflags & 0xcd5, trace[best].rflags & 0xcd5);
}

static void check(const struct core_regs *r)
{
	unsigned int k;

	nr_checked++;
	if (failed)
		return;
	for (k = at; k < nr_trace; k++)
		if (same(r, &trace[k])) {
			at = k;
			return;
		}
	failed = true;
	explain(r);
}

static void prepare(const struct snippet *s, struct core_regs *r, uint64_t seed)
{
	size_t len = (size_t)(s->end - s->start);
	uint64_t v;
	unsigned int k;

	rnd_seed(seed);
	poke(CODE, s->start, len);
	poke(CODE + len, "\x0f\x05", 2);
	memcpy(ram_native + (CODE - GUEST_LOW) + len, native_end_code, 8);
	for (k = 0; k < 0x2000; k += 8) {
		v = rnd();
		memcpy(guest_ptr(DATA - 0x1000 + k), &v, 8);
		memcpy(ram_native + (DATA - 0x1000 + k - GUEST_LOW), &v, 8);
	}
	for (k = 0; k < 0x2000; k += 8) {
		v = rnd();
		memcpy(guest_ptr(STACK - 0x1000 + k), &v, 8);
		memcpy(ram_native + (STACK - 0x1000 + k - GUEST_LOW), &v, 8);
	}
	memset(r, 0, sizeof(*r));
	for (k = 0; k < 16; k++)
		r->gpr[k] = rnd();
	r->gpr[R_RDI] = DATA;
	r->gpr[R_RSI] = DATA + 0x800;
	r->gpr[R_RSP] = STACK;
	r->gpr[R_RBP] = STACK + 0x100;
	r->gpr[R_R8] = rnd() & 1 ? r->gpr[R_RBX] : rnd();
	r->gs_base = 0x40;
	r->fs_base = 0x80;
	/* gs:0x10 and fs:0x18 are low addresses: give them DATA-relative bases instead */
	if (s->start == snip_segments)
		r->gpr[R_R15] = 0;
	r->rflags = 0x202 | (rnd() & 0x8d5);
	r->rip = low = CODE;
	high = CODE + len;
}

static bool memory_same(void)
{
	return !memcmp(guest_ptr(DATA - 0x1000), ram_native + (DATA - 0x1000 - GUEST_LOW),
		       0x2000) &&
	       !memcmp(guest_ptr(STACK), ram_native + (STACK - GUEST_LOW), 0x1000);
}

static void end_state(const struct snippet *s, const struct core_regs *n)
{
	struct core_regs g = R;

	/* the hypercall itself changed these */
	g.gpr[R_RCX] = n->gpr[R_RCX];
	g.gpr[R_R11] = n->gpr[R_R11];
	g.rip = n->rip;
	if (!same(&g, n) || !memory_same()) {
		printf("%s: end state differs\n", s->name);
		explain(&g);
		failed = true;
	}
}

static void run_snippet(const struct snippet *s, uint64_t seed)
{
	struct core_regs start, n;
	struct outcome o;

	prepare(s, &start, seed);
	if (s->start == snip_segments) {
		start.gs_base = DATA + 0x100;
		start.fs_base = DATA + 0x200;
		start.gpr[R_RDI] = 0x80;
	}
	nr_trace = at = 0;
	n = start;
	o = run_native_stepped(&n, record);
	if (o.exit != XLATE_HYPERCALL)
		printf("%s: native signal %d at +%#lx address %#lx\n", s->name, o.sig, n.rip - CODE,
		       o.addr);
	assert_int_equal(o.exit, XLATE_HYPERCALL);
	R = start;
	o = run_guest_stepped(check);
	if (o.exit != XLATE_HYPERCALL)
		printf("%s: guest exit %d signal %d at +%#lx address %#lx\n", s->name, o.exit,
		       o.sig, R.rip - CODE, o.addr);
	assert_int_equal(o.exit, XLATE_HYPERCALL);
	n.rip = R.rip;
	end_state(s, &n);
	if (failed)
		printf("%s, seed %lu\n", s->name, seed);
}

static void test_boundaries(void **state)
{
	unsigned int k, n;

	harness_begin();
	for (k = 0; k < NR; k++)
		for (n = 0; n < 8 && !failed; n++) {
			harness_reset();
			run_snippet(&snippets[k], n + 1);
			run_snippet(&snippets[k], n + 101); /* linked by now */
		}
	printf("%lu states checked\n", nr_checked);
	assert_false(failed);
	assert_true(nr_checked > 10000);
}

/*
 * Each access faults once: data and stack pages are taken away before every attempt and given back
 * only for the instruction that faulted there.
 */
static void test_fault_everywhere(void **state)
{
	unsigned int k, n;
	unsigned long nr_faults = 0;

	harness_begin();
	for (k = 0; k < NR; k++)
		for (n = 1; n <= 3; n++) {
			const struct snippet *s = &snippets[k];
			struct core_regs start, end;
			struct outcome o;
			int guard;

			prepare(s, &start, n);
			if (s->start == snip_segments) {
				start.gs_base = DATA + 0x100;
				start.fs_base = DATA + 0x200;
				start.gpr[R_RDI] = 0x80;
			}
			nr_trace = at = 0;
			failed = false;
			end = start;
			assert_int_equal(run_native_stepped(&end, record).exit, XLATE_HYPERCALL);
			R = start;
			for (guard = 0; guard < 2000; guard++) {
				int prot = guard & 1 ? PROT_READ : PROT_NONE;

				set_rights(DATA - 0x1000, 0x2000, prot);
				set_rights(STACK - 0x1000, 0x2000, prot);
				o = run_guest();
				set_rights(DATA - 0x1000, 0x2000, ALL_RIGHTS);
				set_rights(STACK - 0x1000, 0x2000, ALL_RIGHTS);
				if (o.exit == XLATE_HYPERCALL)
					break;
				if (o.sig != SIGSEGV)
					printf("%s: exit %d signal %d at +%#lx\n", s->name, o.exit,
					       o.sig, R.rip - CODE);
				assert_int_equal(o.sig, SIGSEGV);
				nr_faults++;
				check(&R);
				assert_false(failed);
				/* over this instruction with everything accessible */
				R.rflags |= 0x100;
				o = run_guest();
				R.rflags &= ~0x100ull;
				if (o.exit == XLATE_HYPERCALL)
					break;
				assert_int_equal(o.exit, XLATE_STEP);
				check(&R);
				assert_false(failed);
			}
			assert_int_equal(o.exit, XLATE_HYPERCALL);
			end.rip = R.rip;
			end_state(s, &end);
			assert_false(failed);
		}
	printf("%lu faults\n", nr_faults);
	assert_true(nr_faults > 150);
}

/* TF: every guest instruction ends with a step exit, and the states are the native ones exactly. */
static void test_guest_steps(void **state)
{
	unsigned int k, n;

	harness_begin();
	for (k = 0; k < NR; k++) {
		struct core_regs start, end;
		struct outcome o;

		prepare(&snippets[k], &start, 7);
		if (snippets[k].start == snip_segments) {
			start.gs_base = DATA + 0x100;
			start.fs_base = DATA + 0x200;
			start.gpr[R_RDI] = 0x80;
		}
		nr_trace = 0;
		end = start;
		assert_int_equal(run_native_stepped(&end, record).exit, XLATE_HYPERCALL);
		R = start;
		/* (a repeated string instruction is one step here, several natively) */
		at = 0;
		for (n = 0; n <= nr_trace; n++) {
			R.rflags |= 0x100;
			o = run_guest();
			R.rflags &= ~0x100ull;
			if (o.exit != XLATE_STEP)
				break;
			check(&R);
			assert_false(failed);
		}
		if (o.exit != XLATE_HYPERCALL)
			printf("%s: exit %d signal %d at +%#lx after %u steps\n", snippets[k].name,
			       o.exit, o.sig, R.rip - CODE, n);
		assert_int_equal(o.exit, XLATE_HYPERCALL);
	}
}

/*
 * A call writes to the word below the one it pushes (see op_call()): the guest does not notice if
 * that is in a page which is not there, or which it may only read.
 */
static void test_call_at_page(void **state)
{
	/* call 1f; mov ecx, 5; syscall; 1: mov eax, [rsp]; ret */
	static const uint8_t code[] = {0xe8, 7, 0,    0,    0,	  0xb9, 5,    0,
				       0,    0, 0x0f, 0x05, 0x8b, 0x04, 0x24, 0xc3};
	const uint64_t top = STACK + 0x1000;
	unsigned int k, round;

	harness_begin();
	for (k = 0; k < 2; k++) {
		harness_reset();
		poke(CODE, code, sizeof(code));
		set_rights(STACK, 0x1000, k ? PROT_READ : PROT_NONE);
		for (round = 0; round < 3; round++) {
			memset(&R, 0, sizeof(R));
			R.rip = CODE;
			R.rflags = 0x202;
			R.gpr[R_RSP] = top + 8;
			assert_int_equal(run_guest().exit, XLATE_HYPERCALL);
			assert_int_equal(R.gpr[R_RSP], top + 8);
			assert_int_equal(R.gpr[R_RAX], CODE + 5);
		}
		/* without a place for the return address it faults, and nothing has happened */
		R.rip = CODE;
		R.gpr[R_RSP] = top;
		assert_int_equal(run_guest().sig, SIGSEGV);
		assert_int_equal(R.rip, CODE);
		assert_int_equal(R.gpr[R_RSP], top);
		set_rights(STACK, 0x1000, ALL_RIGHTS);
	}
}

/* A function that a fragment came upon before anybody called it: a second one begins there. */
static void test_call_into_fragment(void **state)
{
	/* 0: mov eax, 1; 5: add eax, 2; ret.  0x20: call 5; call 5; syscall */
	static const uint8_t f[] = {0xb8, 1, 0, 0, 0, 0x83, 0xc0, 2, 0xc3};
	static const uint8_t g[] = {0xe8, 0xe0, 0xff, 0xff, 0xff, 0xe8,
				    0xdb, 0xff, 0xff, 0xff, 0x0f, 0x05};
	uint64_t ret = CODE + 0x20;

	harness_begin();
	harness_reset();
	poke(CODE, f, sizeof(f));
	poke(CODE + 0x20, g, sizeof(g));
	memset(&R, 0, sizeof(R));
	R.rip = CODE;
	R.rflags = 0x202;
	R.gpr[R_RSP] = STACK;
	memcpy(guest_ptr(STACK), &ret, 8);
	assert_int_equal(run_guest().exit, XLATE_HYPERCALL);
	assert_int_equal(R.gpr[R_RAX], 7);
#ifndef XLATE_NO_TABLE /* (there calls are made in the exact way) */
	assert_int_not_equal(xlate_lookup_call(X, CODE + 5), 0);
#endif
	assert_int_equal(xlate_lookup_call(X, CODE), 0); /* nobody called that */
	/* both are gone when the code changes, and the calls find the new one */
	poke(CODE + 7, "\x05", 1);
	assert_int_equal(xlate_lookup(X, CODE + 5), 0);
	R.rip = CODE + 0x20;
	R.gpr[R_RAX] = 0;
	assert_int_equal(run_guest().exit, XLATE_HYPERCALL);
	assert_int_equal(R.gpr[R_RAX], 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_call_at_page), cmocka_unit_test(test_call_into_fragment),
		cmocka_unit_test(test_boundaries),   cmocka_unit_test(test_fault_everywhere),
		cmocka_unit_test(test_guest_steps),
	};

	if (!harness_init(0))
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
