/* SPDX-License-Identifier: MIT */
/*
 * Code that changes: rewritten by the guest or behind its back, remapped, taken away; code in one
 * page with the data it writes; instructions across pages; addresses outside of the flat table's
 * windows.
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

static struct xlate_stats stats(void)
{
	struct xlate_stats s;

	xlate_get_stats(X, &s);
	return s;
}

static struct outcome go(uint64_t rip, uint64_t delta)
{
	memset(&R, 0, sizeof(R));
	R.rip = rip;
	R.gpr[R_RSP] = STACK + delta;
	R.gpr[R_RDI] = DATA + delta;
	R.gs_base = DATA + delta;
	R.rflags = 0x202;
	return run_guest();
}

/* mov eax, imm32; syscall */
static void put_const(uint64_t gva, uint32_t v)
{
	uint8_t c[7] = {0xb8, 0, 0, 0, 0, 0x0f, 0x05};

	memcpy(c + 1, &v, 4);
	poke(gva, c, sizeof(c));
}

static void test_rewritten(void **state)
{
	unsigned int k;

	harness_begin();
	harness_reset();
	for (k = 0; k < 20; k++) {
		put_const(CODE, k);
		assert_int_equal(go(CODE, 0).exit, XLATE_HYPERCALL);
		assert_int_equal(R.gpr[R_RAX], k);
		assert_int_equal(go(CODE, 0).exit, XLATE_HYPERCALL);
		assert_int_equal(R.gpr[R_RAX], k);
	}
}

/* mov dword [rdi], esi; jmp r8: the write goes to another page that holds translated code. */
static void test_guest_writes_code(void **state)
{
	static const uint8_t writer[] = {0x89, 0x37, 0x41, 0xff, 0xe0};
	const uint64_t target = CODE + 0x5000;
	unsigned int k;
	uint64_t before;

	harness_begin();
	harness_reset();
	poke(CODE, writer, sizeof(writer));
	put_const(target, 77);
	assert_int_equal(go(target, 0).exit, XLATE_HYPERCALL);
	assert_int_equal(R.gpr[R_RAX], 77);
	assert_true(frame_protected((target - GUEST_LOW) >> 12));
	before = nr_write_faults;
	for (k = 0; k < 3; k++) {
		memset(&R, 0, sizeof(R));
		R.rip = CODE;
		R.rflags = 0x202;
		R.gpr[R_RSP] = STACK;
		R.gpr[R_RDI] = target + 1;
		R.gpr[R_RSI] = 1000 + k;
		R.gpr[R_R8] = target;
		assert_int_equal(run_guest().exit, XLATE_HYPERCALL);
		assert_int_equal(R.gpr[R_RAX], 1000 + k);
	}
	assert_int_equal(nr_write_faults - before, 3);
	assert_int_equal(stats().verify_frames, 0);
}

/* The same through the high view: one frame, two addresses. */
static void test_alias(void **state)
{
	const uint64_t target = CODE + 0x6000;
	unsigned int k;

	harness_begin();
	harness_reset();
	for (k = 0; k < 4; k++) {
		put_const(target, 50 + k);
		assert_int_equal(go(target, 0).exit, XLATE_HYPERCALL);
		assert_int_equal(R.gpr[R_RAX], 50 + k);
		assert_int_equal(go(HIGH(target), GUEST_HIGH - GUEST_LOW).exit, XLATE_HYPERCALL);
		assert_int_equal(R.gpr[R_RAX], 50 + k);
		assert_int_equal(R.rip, HIGH(target) + 7);
	}
}

/*
 * A loop that increments a counter in its own page. The page's blocks must end up verified instead
 * of faulting for ever; then a real change of that code must be seen, too.
 */
static void test_own_page(void **state)
{
	/* 1: inc qword [rip + x]; dec ecx; jnz 1; mov eax, imm32; syscall */
	static const uint8_t code[] = {0x48, 0xff, 0x05, 0xf9, 0x00, 0x00, 0x00, 0xff, 0xc9,
				       0x75, 0xf5, 0xb8, 0x2a, 0x00, 0x00, 0x00, 0x0f, 0x05};
	uint64_t zero = 0, delta;
	uint32_t v;
	int high;

	harness_begin();
	for (high = 0; high < 2; high++) {
		delta = high ? GUEST_HIGH - GUEST_LOW : 0;
		harness_reset();
		poke(CODE, code, sizeof(code));
		poke(CODE + 0x100, &zero, 8);
		memset(&R, 0, sizeof(R));
		R.rip = CODE + delta;
		R.rflags = 0x202 | 0x8d5;
		R.gpr[R_RCX] = 5000;
		R.gpr[R_RSP] = STACK + delta;
		assert_int_equal(run_guest().exit, XLATE_HYPERCALL);
		assert_int_equal(*(uint64_t *)guest_ptr(CODE + 0x100), 5000);
		assert_int_equal(R.gpr[R_RAX], 42);
		assert_int_equal(stats().verify_frames, 1);
		assert_false(frame_protected((CODE - GUEST_LOW) >> 12));
		/* behind the translator's back: no write fault, nobody calls invalidate */
		v = 43;
		memcpy(guest_ptr(CODE + 12), &v, 4);
		R.rip = CODE + delta + 11;
		assert_int_equal(run_guest().exit, XLATE_HYPERCALL);
		assert_int_equal(R.gpr[R_RAX], 43);
		assert_int_equal(*(uint64_t *)guest_ptr(CODE + 0x100), 5000);
	}
}

/* Verified blocks with every length of source, entered with all flags and registers live. */
static void test_verified_blocks(void **state)
{
	unsigned int len, k;

	harness_begin();
	harness_reset();
	/* make the frame a verified one */
	for (k = 0; k < 10; k++) {
		put_const(CODE, k);
		go(CODE, 0);
	}
	assert_true(stats().verify_frames > 0);
	for (len = 1; len < 40; len++) {
		uint8_t c[64];

		memset(c, 0x90, sizeof(c));
		c[len - 1] = 0xf9; /* stc */
		memcpy(c + len, "\x0f\x05", 2);
		poke(CODE + 64 - len, c, len + 2);
		memset(&R, 0, sizeof(R));
		for (k = 0; k < 16; k++)
			R.gpr[k] = k * 0x1111111111111111ull;
		R.rip = CODE + 64 - len;
		R.rflags = 0x202 | 0x8d4;
		R.gpr[R_RSP] = STACK;
		assert_int_equal(run_guest().exit, XLATE_HYPERCALL);
		assert_int_equal(R.rflags & 0xcd5, 0x8d5);
		for (k = 0; k < 16; k++)
			if (k != R_RCX && k != R_R11 && k != R_RSP)
				assert_int_equal(R.gpr[k], k * 0x1111111111111111ull);
		/* change each byte in turn to clc: it must be noticed */
		for (k = 0; k < len; k++) {
			uint8_t *p = guest_ptr(CODE + 64 - len + k), old = *p;

			*p = k == len - 1 ? 0xf8 : 0xf9;
			R.rip = CODE + 64 - len;
			R.rflags &= ~1ull;
			assert_int_equal(run_guest().exit, XLATE_HYPERCALL);
			assert_int_equal(R.rflags & 1, k != len - 1);
			*p = old;
		}
	}
}

/* The page goes away while its translation exists; then another frame is put there. */
static void test_unmapped(void **state)
{
	const uint64_t target = CODE + 0x7000;
	struct outcome o;

	harness_begin();
	harness_reset();
	put_const(target, 5);
	assert_int_equal(go(target, 0).exit, XLATE_HYPERCALL);
	set_rights(target, 1, 0);
	o = go(target, 0);
	assert_int_equal(o.exit, XLATE_FETCH_FAULT);
	assert_int_equal(o.addr, target);
	assert_int_equal(xlate_exit_error(X), 0x14);
	assert_int_equal(R.rip, target);
	set_rights(target, 1, ALL_RIGHTS);
	assert_int_equal(go(target, 0).exit, XLATE_HYPERCALL);
	assert_int_equal(R.gpr[R_RAX], 5);
	/* running into it: the state is that before the fetch */
	memset(guest_ptr(target - 0x10), 0x90, 0x10);
	set_rights(target, 1, 0);
	o = go(target - 0x10, 0);
	assert_int_equal(o.exit, XLATE_FETCH_FAULT);
	assert_int_equal(R.rip, target);
	set_rights(target, 1, ALL_RIGHTS);
	/* nowhere at all */
	o = go(0x123456789000ul, 0);
	assert_int_equal(o.exit, XLATE_FETCH_FAULT);
	assert_int_equal(o.addr, 0x123456789000ul);
}

/* One instruction across a page boundary, at each split; its second page changes, vanishes. */
static void test_crossing(void **state)
{
	/* mov rax, imm64 */
	uint8_t c[12] = {0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8, 0x0f, 0x05};
	const uint64_t page = CODE + 0x9000;
	unsigned int split;

	harness_begin();
	harness_reset();
	for (split = 1; split < 10; split++) {
		struct outcome o;
		uint64_t v;

		c[9] = 8;
		poke(page - split, c, sizeof(c));
		assert_int_equal(go(page - split, 0).exit, XLATE_HYPERCALL);
		memcpy(&v, c + 2, 8);
		assert_int_equal(R.gpr[R_RAX], v);
		set_rights(page, 1, 0);
		o = go(page - split, 0);
		assert_int_equal(o.exit, XLATE_FETCH_FAULT);
		assert_int_equal(o.addr, page);
		assert_int_equal(R.rip, page - split);
		set_rights(page, 1, ALL_RIGHTS);
		c[9] = 9;
		poke(page - split + 9, c + 9, 1);
		assert_int_equal(go(page - split, 0).exit, XLATE_HYPERCALL);
		memcpy(&v, c + 2, 8);
		assert_int_equal(R.gpr[R_RAX], v);
	}
}

/* Code in a far place, code in 2..4 GiB: windows move, then exact mode; results stay right. */
static void test_windows(void **state)
{
	/* call rax; call [rdi]; inc ebx; cmp ebx, 3; jb back; syscall ... callee: add rcx, 1; ret
	 */
	static const uint8_t code[] = {0xff, 0xd0, 0xff, 0x17, 0xe8, 0x17, 0x00, 0x00, 0x00,
				       0xff, 0xc3, 0x83, 0xfb, 0x03, 0x72, 0xf0, 0x0f, 0x05};
	static const uint8_t callee[] = {0x48, 0x83, 0xc5, 0x01, 0xc3};
	const uint64_t delta[3] = {0, GUEST_HIGH - GUEST_LOW, GUEST_FAR - GUEST_LOW};
	unsigned int k;

	harness_begin();
	harness_reset();
	poke(CODE, code, sizeof(code));
	poke(CODE + 0x20, callee, sizeof(callee));
	for (k = 0; k < 40; k++) {
		uint64_t d = delta[k % 3], other = delta[(k + 1 + k / 3) % 3];
		uint64_t target = CODE + 0x20 + other;

		memset(&R, 0, sizeof(R));
		R.rip = CODE + d;
		R.rflags = 0x202;
		R.gpr[R_RSP] = STACK + d;
		R.gpr[R_RDI] = DATA + d;
		R.gpr[R_RAX] = target;
		memcpy(guest_ptr(DATA), &target, 8);
		assert_int_equal(run_guest().exit, XLATE_HYPERCALL);
		assert_int_equal(R.gpr[R_RBP], 9);
		assert_int_equal(R.gpr[R_RSP], STACK + d);
		assert_int_equal(R.rip, CODE + d + sizeof(code));
	}
	assert_int_equal(stats().exact_mode, 1);
}

/* A jump to where no code is costs nothing: no window moves, nothing is forgotten. */
static void test_wild_jumps(void **state)
{
	unsigned int k;

	harness_begin();
	harness_reset();
	put_const(CODE, 3);
	for (k = 0; k < 50; k++) {
		assert_int_equal(go(0x123456789000ul + (uint64_t)k * 0x100000000ul, 0).exit,
				 XLATE_FETCH_FAULT);
		assert_int_equal(go(CODE, 0).exit, XLATE_HYPERCALL);
	}
	assert_int_equal(stats().fragments, 1);
	assert_int_equal(stats().flushes, 0);
}

/*
 * Indirect transfers to addresses that share their low bits with translated code: each must fault
 * at the target itself, with the stack as the transfer leaves it.
 */
static void test_no_alias(void **state)
{
	static const struct {
		const char *what;
		uint8_t code[4];
		unsigned int len;
		int pushed;
	} forms[] = {
		{"jmp rax", {0xff, 0xe0}, 2, 0},
		{"jmp r12", {0x41, 0xff, 0xe4}, 3, 0},
		{"jmp [rdi]", {0xff, 0x27}, 2, 0},
		{"call rax", {0xff, 0xd0}, 2, 8},
		{"call r13", {0x41, 0xff, 0xd5}, 3, 8},
		{"call [rdi]", {0xff, 0x17}, 2, 8},
		{"ret", {0xc3}, 1, -8},
		{"ret 16", {0xc2, 0x10, 0x00}, 3, -24},
	};
	static const uint64_t upper[] = {
		0xfffffffe00000000, 0x600000000000,
		0x7fff00000000,	    0x555500000000,
		0xdead000000000000, 0xffff888000000000,
		0xffffc90000000000, 0x8000000000000,
		0x200000000000,	    0xffffffff00000000 - 0x80000000,
	};
	const uint64_t target = CODE + 0x4000, base = CODE + 0x100;
	unsigned int f, u, again, k;

	harness_begin();
	harness_reset();
	put_const(target, 5);
	assert_int_equal(go(target, 0).exit, XLATE_HYPERCALL);
	for (f = 0; f < sizeof(forms) / sizeof(*forms); f++) {
		uint64_t rip = base + 16 * f;

		poke(rip, forms[f].code, forms[f].len);
		for (u = 0; u < sizeof(upper) / sizeof(*upper); u++)
			for (again = 0; again < 2; again++) {
				uint64_t wild = target + upper[u], *sp = (void *)guest_ptr(STACK);
				struct outcome o;

				memset(&R, 0, sizeof(R));
				R.rip = rip;
				R.rflags = 0x202 | 0x8d5;
				for (k = 0; k < 16; k++)
					R.gpr[k] = k;
				R.gpr[R_RSP] = STACK;
				R.gpr[R_RDI] = DATA;
				R.gpr[R_RAX] = R.gpr[R_R12] = R.gpr[R_R13] = wild;
				*sp = wild;
				memcpy(guest_ptr(DATA), &wild, 8);
				o = run_guest();
				if (o.exit != XLATE_FETCH_FAULT || R.rip != wild)
					printf("%s to %#lx: exit %d signal %d rip %#lx\n",
					       forms[f].what, wild, o.exit, o.sig, R.rip);
				assert_int_equal(o.exit, XLATE_FETCH_FAULT);
				assert_int_equal(R.rip, wild);
				assert_int_equal(R.gpr[R_RSP],
						 STACK - (uint64_t)(int64_t)forms[f].pushed);
				assert_int_equal(R.gpr[R_RAX], wild);
				assert_int_equal(R.gpr[R_RBX], R_RBX);
				assert_int_equal(R.rflags & 0xcd5, 0x8d5);
				if (forms[f].pushed == 8)
					assert_int_equal(*(uint64_t *)guest_ptr(STACK - 8),
							 rip + forms[f].len);
			}
		/* and the real one is reached as ever */
		R.rip = rip;
		R.gpr[R_RSP] = STACK;
		R.gpr[R_RAX] = R.gpr[R_R12] = R.gpr[R_R13] = target;
		memcpy(guest_ptr(STACK), &target, 8);
		memcpy(guest_ptr(DATA), &target, 8);
		assert_int_equal(run_guest().exit, XLATE_HYPERCALL);
		assert_int_equal(R.gpr[R_RAX], 5);
	}
#ifndef XLATE_NO_TABLE
	assert_int_equal(X->exact, 0);
#endif
}

/* Exact mode ends when far code is not seen for long; a verifying frame gets another chance. */
static void test_modes_end(void **state)
{
	unsigned int k;

	harness_begin();
	test_windows(state);
	assert_int_equal(X->exact, 1);
	put_const(CODE, 9);
	for (k = 0; k < WIN_QUIET + 10; k++) {
		xlate_invalidate_va_range(X, CODE, 4096);
		assert_int_equal(go(CODE, 0).exit, XLATE_HYPERCALL);
	}
#ifndef XLATE_NO_TABLE
	assert_int_equal(X->exact, 0);
#endif
	assert_int_equal(R.gpr[R_RAX], 9);

	harness_reset();
	for (k = 0; k < 12; k++) {
		put_const(CODE, k);
		go(CODE, 0);
	}
	assert_int_equal(X->nr_verify, 1);
	for (k = 1; k <= X->nr_pages; k++)
		X->pages[k].last_tsc -= VERIFY_CYCLES << 3;
	for (k = 0; k < 0x1001; k++)
		assert_int_equal(go(CODE, 0).exit, XLATE_HYPERCALL);
	assert_int_equal(X->nr_verify, 0);
	assert_true(frame_protected((CODE - GUEST_LOW) >> 12));
	put_const(CODE, 99);
	assert_int_equal(go(CODE, 0).exit, XLATE_HYPERCALL);
	assert_int_equal(R.gpr[R_RAX], 99);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rewritten),	cmocka_unit_test(test_guest_writes_code),
		cmocka_unit_test(test_alias),		cmocka_unit_test(test_own_page),
		cmocka_unit_test(test_verified_blocks), cmocka_unit_test(test_unmapped),
		cmocka_unit_test(test_crossing),	cmocka_unit_test(test_windows),
		cmocka_unit_test(test_wild_jumps),	cmocka_unit_test(test_no_alias),
		cmocka_unit_test(test_modes_end),
	};

	if (!harness_init(0))
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
