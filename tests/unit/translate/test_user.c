/* SPDX-License-Identifier: MIT */
/*
 * Kernel accesses to user memory: addresses that are not in the window. Each access form is run
 * with its operand in user memory and, through the very same (by then marked) code, in kernel
 * memory; results must be those of a native run on ordinary memory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "harness.h"

#define BYTES(s) (s), sizeof(s) - 1

/* Operand address in rdi (and rsi); rax, rcx, rdx, rbx, r8 are free. */
static const struct form {
	const char *what, *code;
	unsigned int len;
} forms[] = {
	{"mov rax, [rdi]", BYTES("\x48\x8b\x07")},
	{"mov [rdi], rbx", BYTES("\x48\x89\x1f")},
	{"movzx ecx, byte [rdi+1]", BYTES("\x0f\xb6\x4f\x01")},
	{"movzx edx, word [rdi+rcx]", BYTES("\x0f\xb7\x14\x0f")},
	{"movsxd rax, dword [rdi]", BYTES("\x48\x63\x07")},
	{"mov byte [rdi], 7", BYTES("\xc6\x07\x07")},
	{"mov dword [rdi+4], imm", BYTES("\xc7\x47\x04\x44\x33\x22\x11")},
	{"mov [rdi], ah", BYTES("\x88\x27")},
	{"movnti [rdi], rax", BYTES("\x48\x0f\xc3\x07")},
	{"lock cmpxchg [rdi], ecx", BYTES("\xf0\x0f\xb1\x0f")},
	{"lock xadd [rdi], edx", BYTES("\xf0\x0f\xc1\x17")},
	{"xchg [rdi], edx", BYTES("\x87\x17")},
	{"lock or [rdi], edx", BYTES("\xf0\x09\x17")},
	{"add [rdi], rbx", BYTES("\x48\x01\x1f")},
	{"cmp [rdi], rbx", BYTES("\x48\x39\x1f")},
	{"push [rdi]; pop rax", BYTES("\xff\x37\x58")},
	{"push rbx; pop [rdi]", BYTES("\x53\x8f\x07")},
	{"setb [rdi]", BYTES("\x0f\x92\x07")},
	{"mov rsp, [rdi]; mov rax, rsp; mov rsp, r8",
	 BYTES("\x48\x8b\x27\x48\x89\xe0\x4c\x89\xc4")},
	{"movups xmm0, [rdi]; movups [rdi+16], xmm0", BYTES("\x0f\x10\x07\x0f\x11\x47\x10")},
	{"lodsb", BYTES("\xac")},
	{"stosq", BYTES("\x48\xab")},
	{"movsd", BYTES("\xa5")},
	{"rep movsb", BYTES("\xf3\xa4")},
	{"rep movsq", BYTES("\xf3\x48\xa5")},
	{"rep stosb", BYTES("\xf3\xaa")},
	{"rep stosq", BYTES("\xf3\x48\xab")},
	{"repe cmpsb", BYTES("\xf3\xa6")},
	{"repne scasb", BYTES("\xf2\xae")},
	{"cmpsq", BYTES("\x48\xa7")},
	{"scasw", BYTES("\x66\xaf")},
	{"std; rep movsb; cld", BYTES("\xfd\xf3\xa4\xfc")},
	{"std; rep stosw; cld", BYTES("\xfd\xf3\x66\xab\xfc")},
};
#define NR (sizeof(forms) / sizeof(*forms))

/* Where the native run has what the guest has at a user address. */
static uint64_t native_of(uint64_t user)
{
	return user - USER_BASE + USER_RAM + GUEST_LOW;
}

static void fill(uint64_t seed)
{
	unsigned int k;

	rnd_seed(seed);
	for (k = 0; k < 0x6000; k += 8) {
		uint64_t v = k & 0x80 ? rnd() : 0x4141414141414141ull;

		memcpy(ram_guest + USER_RAM + k, &v, 8);
		memcpy(ram_native + USER_RAM + k, &v, 8);
		memcpy(guest_ptr(DATA + k), &v, 8);
		memcpy(ram_native + (DATA + k - GUEST_LOW), &v, 8);
	}
}

static void check_form(const struct form *f, uint64_t di, uint64_t si, uint64_t rcx)
{
	struct core_regs n;
	struct outcome o;
	unsigned int k;

	fill(di + rcx);
	poke(CODE, f->code, f->len);
	poke(CODE + f->len, "\x0f\x05", 2);
	memcpy(ram_native + (CODE - GUEST_LOW) + f->len, native_end_code, 8);
	memset(&R, 0, sizeof(R));
	for (k = 0; k < 16; k++)
		R.gpr[k] = rnd();
	R.gpr[R_RSP] = R.gpr[R_R8] = STACK;
	R.gpr[R_RDI] = di;
	R.gpr[R_RSI] = si;
	R.gpr[R_RCX] = rcx;
	R.rflags = 0x202 | (rnd() & 0x8d5);
	R.rip = CODE;
	n = R;
	if (di >= USER_BASE)
		n.gpr[R_RDI] = native_of(di);
	if (si >= USER_BASE)
		n.gpr[R_RSI] = native_of(si);
	o = run_native(&n);
	assert_int_equal(o.exit, XLATE_HYPERCALL);
	o = run_guest();
	if (o.exit != XLATE_HYPERCALL)
		printf("%s: exit %d signal %d rip +%#lx\n", f->what, o.exit, o.sig, R.rip - CODE);
	assert_int_equal(o.exit, XLATE_HYPERCALL);
	for (k = 0; k < 16; k++) {
		uint64_t want = n.gpr[k];

		if (k == R_RCX || k == R_R11)
			continue;
		if (k == R_RDI && di >= USER_BASE)
			want = want - native_of(di) + di;
		if (k == R_RSI && si >= USER_BASE)
			want = want - native_of(si) + si;
		if (R.gpr[k] != want)
			printf("%s: register %u: %#lx, not %#lx\n", f->what, k, R.gpr[k], want);
		assert_int_equal(R.gpr[k], want);
	}
	if ((R.rflags ^ n.rflags) & 0xcd5)
		printf("%s: flags %#lx, not %#lx\n", f->what, R.rflags, n.rflags);
	assert_int_equal(R.rflags & 0xcd5, n.rflags & 0xcd5);
	assert_memory_equal(ram_guest + USER_RAM, ram_native + USER_RAM, 0x6000);
	assert_memory_equal(guest_ptr(DATA), ram_native + (DATA - GUEST_LOW), 0x6000);
}

static void test_forms(void **state)
{
	/* within a page, across pages at several splits, long strings over several pages */
	static const uint64_t offsets[] = {0x2000, 0x2123, 0x2fff, 0x2ffd, 0x2ff9, 0x2ff4};
	static const uint64_t counts[] = {0, 1, 5, 64, 1500};
	struct xlate_stats st;
	unsigned int f, k, c;

	harness_begin();
	for (f = 0; f < NR; f++) {
		if (!VECTORS_COMPARED && strstr(forms[f].what, "xmm"))
			continue;
		harness_reset();
		for (k = 0; k < 6; k++)
			for (c = 0; c < 5; c++) {
				uint64_t u = USER_BASE + offsets[k];

				check_form(&forms[f], u, DATA + 0x2345, counts[c]);
				check_form(&forms[f], u, u + 0x800, counts[c]);
				check_form(&forms[f], DATA + 0x2000 + (offsets[k] & 0xff),
					   USER_BASE + 0x2000, counts[c]);
				check_form(&forms[f], DATA + 0x2008, DATA + 0x2801, counts[c]);
			}
		xlate_get_stats(X, &st);
		assert_true(st.user_sites > 0 && st.user_accesses > 10);
	}
}

/* The user page is not there: #PF at the instruction, with nothing done, or partly for rep. */
static void test_page_faults(void **state)
{
	unsigned int f;

	harness_begin();
	for (f = 0; f < NR; f++) {
		struct core_regs start;
		enum xlate_exit e;

		if (f >= NR - 2) /* they run downwards */
			break;
		if (!VECTORS_COMPARED && strstr(forms[f].what, "xmm"))
			continue;
		harness_reset();
		user_absent = 0;
		/* mark the site first */
		check_form(&forms[f], USER_BASE + 0x2000, USER_BASE + 0x2800, 1);
		fill(1);
		memset(&R, 0, sizeof(R));
		R.gpr[R_RSP] = R.gpr[R_R8] = STACK;
		R.gpr[R_RDI] = USER_BASE + 0x3000 - 8;
		R.gpr[R_RSI] = USER_BASE + 0x2000;
		R.gpr[R_RCX] = 64;
		R.gpr[R_RAX] = 0x55;
		if (strstr(forms[f].what, "lods"))
			R.gpr[R_RSI] = USER_BASE + 0x3000;
		else if (!strstr(forms[f].what, "rep"))
			R.gpr[R_RDI] = USER_BASE + 0x3000 - 1;
		if (strstr(forms[f].what, "[rdi]") || strstr(forms[f].what, "[rdi+"))
			R.gpr[R_RDI] = USER_BASE + 0x3000;
		R.rflags = 0x202;
		R.rip = CODE;
		if (!memcmp(forms[f].code, "\xfd", 1))
			continue;
		user_absent = USER_BASE + 0x3000;
		start = R;
		e = (enum xlate_exit)run_guest().exit;
		if (strstr(forms[f].what, "rep")) {
			/* repe cmps and repne scas may end before they get there */
			if (e == XLATE_HYPERCALL)
				continue;
			assert_int_equal(e, XLATE_PAGE_FAULT);
			assert_int_equal(xlate_exit_addr(X) & ~0xffful, USER_BASE + 0x3000);
			assert_int_equal(R.rip, CODE);
			assert_true(R.gpr[R_RDI] <= USER_BASE + 0x3000);
			user_absent = 0;
			assert_int_equal(run_guest().exit, XLATE_HYPERCALL);
			continue;
		}
		if (e != XLATE_PAGE_FAULT)
			printf("%s: exit %d\n", forms[f].what, e);
		assert_int_equal(e, XLATE_PAGE_FAULT);
		assert_int_equal(xlate_exit_addr(X) & ~0xffful, USER_BASE + 0x3000);
		/* push rbx; pop [rdi]: the push has happened */
		if (R.rip == CODE)
			assert_memory_equal(R.gpr, start.gpr, sizeof(R.gpr));
		user_absent = 0;
		assert_int_equal(run_guest().exit, XLATE_HYPERCALL);
	}
	user_absent = 0;
}

/* Reading is allowed, writing is not. */
static void test_read_only(void **state)
{
	harness_begin();
	harness_reset();
	check_form(&forms[1], USER_BASE + 0x2000, 0, 0);
	user_absent = (USER_BASE + 0x3000) | 1;
	memset(&R, 0, sizeof(R));
	R.rip = CODE;
	R.rflags = 0x202;
	R.gpr[R_RDI] = USER_BASE + 0x3010;
	assert_int_equal(run_guest().exit, XLATE_PAGE_FAULT);
	assert_int_equal(xlate_exit_error(X), 7);
	assert_int_equal(xlate_exit_addr(X), USER_BASE + 0x3010);
	user_absent = 0;
	assert_int_equal(run_guest().exit, XLATE_HYPERCALL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forms),
		cmocka_unit_test(test_page_faults),
		cmocka_unit_test(test_read_only),
	};

	if (!harness_init(0))
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
