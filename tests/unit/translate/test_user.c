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

#include "exec/ring3/translate/internal.h"
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
	{"lock bts [rdi], rax", BYTES("\xf0\x48\x0f\xab\x07")},
	{"btc [rdi], ax", BYTES("\x66\x0f\xbb\x07")},
	{"btr [rdi+4], eax", BYTES("\x0f\xb3\x47\x04")},
	{"mov rbp, [rdi+rcx*2+8]", BYTES("\x48\x8b\x6c\x4f\x08")},
	{"sub [rsi+rdi*1+8], ecx; (with rdi the distance)",
	 BYTES("\x48\x29\xf7\x29\x4c\x3e\x08\x48\x01\xf7")},
	{"setb [rdi]", BYTES("\x0f\x92\x07")},
	{"mov rsp, [rdi]; mov rax, rsp; mov rsp, r8",
	 BYTES("\x48\x8b\x27\x48\x89\xe0\x4c\x89\xc4")},
	{"movups xmm0, [rdi]; movups [rdi+16], xmm0", BYTES("\x0f\x10\x07\x0f\x11\x47\x10")},
	{"evex: vmovdqu64 xmm16, [rdi+16]; vmovdqu64 [rdi+32], xmm16",
	 BYTES("\x62\xe1\xfe\x08\x6f\x47\x01\x62\xe1\xfe\x08\x7f\x47\x02")},
	{"evex: vmovdqu32 ymm17, [rdi+32]; vmovdqu32 [rdi], ymm17",
	 BYTES("\x62\xe1\x7e\x28\x6f\x4f\x01\x62\xe1\x7e\x28\x7f\x0f")},
	{"evex: vpabsd ymm18, [rdi+4]{1to8}; vmovdqu64 [rdi+32], ymm18",
	 BYTES("\x62\xe2\x7d\x38\x1e\x57\x01\x62\xe1\xfe\x28\x7f\x57\x01")},
	{"evex: vmovsd xmm19, [rdi+8]; vmovsd [rdi+16], xmm19",
	 BYTES("\x62\xe1\xff\x08\x10\x5f\x01\x62\xe1\xff\x08\x11\x5f\x02")},
	{"evex: vmovddup xmm20, [rdi+8]; vmovdqu64 [rdi+16], xmm20",
	 BYTES("\x62\xe1\xff\x08\x12\x67\x01\x62\xe1\xfe\x08\x7f\x67\x01")},
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

static bool can_run(const struct form *f)
{
	if (!VECTORS_COMPARED && (strstr(f->what, "xmm") || strstr(f->what, "ymm")))
		return false;
	if (strncmp(f->what, "evex", 4) || __builtin_cpu_supports("avx512vl"))
		return true;
	printf("%s: left out, this processor has no AVX-512\n", f->what);
	return false;
}

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
	if (strstr(f->what, "bt") && !strstr(f->what, "setb")) /* a bit string */
		R.gpr[R_RAX] = (rnd() & 0xffff) - 0x8000;
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
		if (!can_run(&forms[f]))
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
		assert_true(st.user_sites > 0 && st.user_accesses > 0);
	}
}

/*
 * Kernels clear pages for page tables, which the window has read-only, and others. A site that
 * becomes one because of the first rests when nothing is read-only any more, and wakes.
 */
static void clear_a_page(uint64_t di)
{
	memset(guest_ptr(di), 0x77, 0x1000);
	memset(&R, 0, sizeof(R));
	R.gpr[R_RSP] = STACK;
	R.gpr[R_RDI] = di;
	R.gpr[R_RDX] = 0x1234;
	R.rflags = 0x202;
	R.rip = CODE;
	assert_int_equal(run_guest().exit, XLATE_HYPERCALL);
	assert_int_equal(R.gpr[R_RDI], di + 0x1000);
	assert_int_equal(R.gpr[R_RDX], 0x1234);
	for (unsigned int k = 0; k < 0x1000; k++)
		assert_int_equal(guest_ptr(di)[k], 0);
}

static const uint8_t store_rax[] = {0x48, 0x89, 0x07, 0x0f, 0x05}; /* mov %rax, (%rdi) */

/* One such store, to a page that the tests make read-only, by the code at rip. */
static bool store_faults(uint64_t rip)
{
	memset(&R, 0, sizeof(R));
	R.gpr[R_RSP] = STACK;
	R.gpr[R_RAX] = rip;
	R.gpr[R_RDI] = DATA + 0x3008;
	R.rflags = 0x202;
	R.rip = rip;
	if (run_guest().exit != XLATE_HYPERCALL)
		return true;
	assert_int_equal(*(const uint64_t *)guest_ptr(DATA + 0x3008), rip);
	return false;
}

static uint64_t served(void)
{
	struct xlate_stats st;

	xlate_get_stats(X, &st);
	return st.user_accesses;
}

static void test_clearing_rests(void **state)
{
	static const uint8_t code[] = {0xb9, 0, 0x10, 0, 0, 0x31, 0xc0, 0xf3, 0xaa, 0x0f, 0x05};
	unsigned int k;
	uint64_t n;

	harness_begin();
	harness_reset();
	poke(CODE, code, sizeof(code));
	poke(CODE + 0x100, store_rax, sizeof(store_rax));
	for (k = 0; k < 3; k++)
		clear_a_page(DATA + 0x1000 * k);
	assert_int_equal(served(), 0);
	for (unsigned int round = 0; round < 3; round++) {
		/* page tables, in between: a fault, and past the window from then on */
		set_taken(DATA + 0x3000);
		for (k = 0; k < 200; k++) {
			n = served();
			xlate_user_forget(X);
			clear_a_page(DATA + 0x1000 * (k % 10 == 3 ? 3 : k % 3));
			assert_true(served() > n || k < 3);
			assert_true(served() == n || asked_at_string);
		}
		/* (a single store by a site, next) */
		for (k = 0; k < 20; k++) {
			xlate_user_forget(X);
			(void)store_faults(CODE + 0x100);
		}
		assert_false(asked_at_string);
		/* none any more */
		set_taken(0);
		for (k = 0; k < 200; k++) {
			xlate_user_forget(X);
			clear_a_page(DATA + 0x1000 * (k % 3));
		}
		n = served();
		clear_a_page(DATA);
		assert_int_equal(served(), n);
	}
}

/* (in even steps no two of them would share a place in a list with a hash) */
static uint64_t scattered(unsigned int k)
{
	return CODE + 0x10ull * (k * k * 7 % 251);
}

/* By many instructions in turn: each becomes a site after a few, wherever it lies. */
static void test_stores_become_sites(void **state)
{
	unsigned int k, round, faults = 0;

	harness_begin();
	harness_reset();
	for (k = 0; k < 24; k++)
		poke(scattered(k), store_rax, sizeof(store_rax));
	set_taken(DATA + 0x3000);
	for (round = 0; round < 8; round++) {
		for (k = 0; k < 24; k++)
			faults += store_faults(scattered(k));
	}
	assert_true(faults > 24);
	for (k = 0; k < 24; k++) {
		xlate_user_forget(X);
		assert_false(store_faults(scattered(k)));
	}
	set_taken(0);
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
		if (!can_run(&forms[f]))
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
		xlate_user_forget(X);
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
	xlate_user_forget(X);
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

/* Run `code` (with a hypercall behind it) on registers di and ax. */
static void run_code(const char *code, size_t len, uint64_t di, uint64_t ax)
{
	if (memcmp(guest_ptr(CODE), code, len)) {
		poke(CODE, code, len);
		poke(CODE + len, "\x0f\x05", 2);
	}
	memset(&R, 0, sizeof(R));
	R.rip = CODE;
	R.rflags = 0x202;
	R.gpr[R_RSP] = STACK;
	R.gpr[R_RDI] = di;
	R.gpr[R_RAX] = ax;
	assert_int_equal(run_guest().exit, XLATE_HYPERCALL);
}

static uint64_t *user_word(uint64_t user)
{
	return (uint64_t *)(ram_guest + (user - USER_BASE + USER_RAM));
}

/* What the callback said is used until the translator is told to forget it, as with a TLB. */
static void test_tlb(void **state)
{
	const uint64_t u = USER_BASE + 0x2000, v = u + 0x1000;
	struct xlate_stats st;
	uint64_t n, k;

	harness_begin();
	harness_reset();
	*user_word(u) = 1;
	*user_word(v) = 2;
	run_code(BYTES("\x48\x8b\x17"), u, 0); /* mov rdx, [rdi] */
	run_code(BYTES("\x48\x8b\x17"), v, 0);
	n = nr_user_asked;
	for (k = 0; k < 100; k++) {
		run_code(BYTES("\x48\x8b\x17"), k & 1 ? u : v, 0);
		assert_int_equal(R.gpr[R_RDX], k & 1 ? 1 : 2);
	}
	assert_int_equal(nr_user_asked, n);
	xlate_get_stats(X, &st);
	if (st.user_accesses > 5)
		printf("without BMI2 each access leaves the cache\n");
	assert_true(st.user_accesses < 5 || !X->bmi2);
	/* pages change places */
	user_swap = 0x1000;
	run_code(BYTES("\x48\x8b\x17"), u, 0);
	assert_int_equal(R.gpr[R_RDX], 1);
	xlate_user_forget_va(X, u + 0x123);
	run_code(BYTES("\x48\x8b\x17"), u, 0);
	assert_int_equal(R.gpr[R_RDX], 2);
	run_code(BYTES("\x48\x8b\x17"), v, 0);
	assert_int_equal(R.gpr[R_RDX], 2);
	xlate_user_forget(X);
	run_code(BYTES("\x48\x8b\x17"), v, 0);
	assert_int_equal(R.gpr[R_RDX], 1);
	user_swap = 0;
	xlate_user_forget(X);
}

/* The right to read is not the right to write, and that can be taken back alone. */
static void test_tlb_rights(void **state)
{
	const uint64_t v = USER_BASE + 0x3000;
	uint64_t n, k;

	harness_begin();
	harness_reset();
	run_code(BYTES("\x48\x8b\x17"), v, 0);
	user_absent = v | 1;
	poke(CODE, "\x48\x89\x07", 3); /* mov [rdi], rax */
	R.rip = CODE;
	R.gpr[R_RDI] = v;
	assert_int_equal(run_guest().exit, XLATE_PAGE_FAULT);
	user_absent = 0;
	run_code(BYTES("\x48\x89\x07"), v, 3);
	n = nr_user_asked;
	run_code(BYTES("\x48\x89\x07"), v, 4);
	run_code(BYTES("\x48\x89\x07"), DATA, 4);
	assert_int_equal(nr_user_asked, n);
	user_absent = v | 1;
	xlate_user_forget_writes(X);
	R.rip = CODE;
	R.gpr[R_RDI] = v;
	assert_int_equal(run_guest().exit, XLATE_PAGE_FAULT);
	assert_int_equal(xlate_exit_addr(X), v);
	assert_int_equal(*user_word(v), 4);
	user_absent = 0;
	/* the same through the strings' loop */
	poke(CODE, "\xf3\xaa\x0f\x05", 4);
	for (k = 0; k < 10; k++) {
		R.rip = CODE;
		R.gpr[R_RDI] = v;
		R.gpr[R_RCX] = 800;
		assert_int_equal(run_guest().exit, XLATE_HYPERCALL);
		if (!k)
			n = nr_user_asked;
	}
	assert_int_equal(nr_user_asked, n);
}

/* Code that is there already: fresh code takes back rights to write. */
#define READER CODE
#define WRITER (CODE + 0x40)

static void put_accesses(void)
{
	poke(READER, "\x48\x8b\x17\x0f\x05", 5); /* mov rdx, [rdi] */
	poke(WRITER, "\x48\x89\x07\x0f\x05", 5); /* mov [rdi], rax */
}

static enum xlate_exit access_user(uint64_t code, uint64_t va)
{
	R.rip = code;
	R.gpr[R_RDI] = va;
	R.gpr[R_RAX] = 2;
	return run_guest().exit;
}

static uint64_t read_user(uint64_t va)
{
	assert_int_equal(access_user(READER, va), XLATE_HYPERCALL);
	return R.gpr[R_RDX];
}

/* What was learned of a root comes back with it, unless something has changed. */
static void test_tlb_roots(void **state)
{
	const uint64_t u = USER_BASE + 0x2000, v = u + 0x1000;
	uint64_t n;

	harness_begin();
	harness_reset();
	*user_word(u) = 1;
	*user_word(v) = 2;
	put_accesses();
	(void)read_user(u);
	assert_int_equal(access_user(WRITER, v), XLATE_HYPERCALL);
	xlate_user_switch(X, 0x500, 0x501, 5);
	assert_int_equal(read_user(u), 1);
	assert_int_equal(access_user(WRITER, v), XLATE_HYPERCALL);
	user_swap = 0x1000; /* the other root */
	xlate_user_switch(X, 0x501, 0x505, 5);
	assert_int_equal(read_user(u), 2);
	assert_int_equal(read_user(v), 1);
	user_swap = 0;
	n = nr_user_asked;
	xlate_user_switch(X, 0x505, 0x501, 5);
	assert_int_equal(read_user(u), 1);
	assert_int_equal(access_user(WRITER, v), XLATE_HYPERCALL);
	xlate_user_switch(X, 0x501, 0x505, 5);
	assert_int_equal(read_user(u), 2);
	assert_int_equal(nr_user_asked, n);
	/* Tables have changed: before it was loaded again, and while it was. */
	user_swap = 0x1000;
	xlate_user_switch(X, 0x505, 0x501, 6);
	assert_int_equal(read_user(u), 2);
	user_swap = 0;
	xlate_user_switch(X, 0x501, 0x505, 7);
	xlate_user_switch(X, 0x505, 0x501, 7);
	assert_int_equal(read_user(u), 1);
	/* One page was to be forgotten, the right to write, all, while another root was loaded. */
	for (n = 0; n < 3; n++) {
		assert_int_equal(access_user(WRITER, v), XLATE_HYPERCALL);
		*user_word(u) = 1;
		*user_word(v) = 2;
		assert_int_equal(read_user(u), n & 1 ? 2 : 1);
		xlate_user_switch(X, 0x501, 0x505, 7);
		if (n == 0)
			xlate_user_forget_va(X, u);
		else if (n == 1)
			xlate_user_forget_writes(X);
		else
			xlate_user_forget(X);
		user_swap ^= 0x1000;
		xlate_user_switch(X, 0x505, 0x501, 7);
		assert_int_equal(read_user(u), n & 1 ? 1 : 2);
		user_absent = v | 1;
		assert_int_equal(access_user(WRITER, v), XLATE_PAGE_FAULT);
		user_absent = 0;
	}
	/* More roots and more pages than there is room for. */
	user_swap = 0;
	*user_word(u) = 1;
	*user_word(v) = 2;
	xlate_user_forget(X);
	for (n = 0; n < 200; n++) {
		xlate_user_switch(X, 0x500 + n % 7, 0x500 + (n + 1) % 7, 8);
		user_swap = (n + 1) % 7 & 1 ? 0x1000 : 0;
		assert_int_equal(read_user(u), user_swap ? *user_word(v) : *user_word(u));
		for (uint64_t i = 0; n == 100 && i < 7; i++)
			read_user(USER_BASE + 0x1000 * i);
	}
	user_swap = 0;
	xlate_user_forget(X);
}

/* Code is translated from a page that is already known to be writable: writes are noticed still. */
static void test_tlb_code(void **state)
{
	const uint64_t u = USER_BASE + 0x4000, code = GUEST_LOW + USER_RAM + 0x4000;
	unsigned int k;

	harness_begin();
	harness_reset();
	for (k = 0; k < 5; k++) {
		/* mov [rdi], rax: the code is mov edx, k; syscall */
		run_code(BYTES("\x48\x89\x07"), u, 0x00050f00000000baull | (uint64_t)k << 8);
		run_code(BYTES("\x48\x89\x07"), u, 0x00050f00000000baull | (uint64_t)k << 8);
		R.rip = code;
		assert_int_equal(run_guest().exit, XLATE_HYPERCALL);
		assert_int_equal(R.gpr[R_RDX], k);
	}
}

/*
 * A string instruction meets a kernel page that the TLB knows as "through the window", where
 * nothing is mapped now: the translator itself must not go that way.
 */
static void test_tlb_window(void **state)
{
	harness_begin();
	harness_reset();
	run_code(BYTES("\x48\x8b\x17"), USER_BASE + 0x2000, 0); /* mov rdx, [rdi]: a site */
	run_code(BYTES("\x48\x8b\x17"), DATA, 0);
	run_code(BYTES("\x48\x89\x07"), USER_BASE + 0x2000, 0);
	run_code(BYTES("\x48\x89\x07"), DATA, 0);
	mprotect((void *)(DATA + XLATE_SHIFT), 4096, PROT_NONE); /* not as set_rights() does */
	poke(CODE, "\xf3\xa4\x0f\x05", 4);
	R.rip = CODE;
	R.gpr[R_RSI] = USER_BASE + 0x2000;
	R.gpr[R_RDI] = DATA;
	R.gpr[R_RCX] = 100;
	assert_int_equal(run_guest().exit, XLATE_HYPERCALL);
	assert_int_equal(R.gpr[R_RDI], DATA + 100);
	mprotect((void *)(DATA + XLATE_SHIFT), 4096, PROT_READ | PROT_WRITE);
}

/* Where an instruction was that touched user memory, there is something else now. */
static void test_other_insn_at_site(void **state)
{
	unsigned int k;

	harness_begin();
	harness_reset();
	for (k = 0; k < 3; k++) {
		run_code(BYTES("\x48\x8b\x17"), USER_BASE + 0x2000, 0);
		/* call +1; ud2-ish byte; pop rdx */
		poke(CODE, "\xe8\x01\x00\x00\x00\xcc\x5a\x0f\x05", 9);
		R.rip = CODE;
		R.gpr[R_RSP] = STACK;
		assert_int_equal(run_guest().exit, XLATE_HYPERCALL);
		assert_int_equal(R.gpr[R_RDX], CODE + 5);
		assert_int_equal(R.gpr[R_RSP], STACK);
	}
}

/* Stop in front of every host instruction of a site that looks its operand up by itself. */
static struct core_regs step_start, step_end;
static bool step_bad;
static unsigned int nr_steps;

static void check_step(const struct core_regs *seen)
{
	const struct core_regs *want = seen->rip == CODE ? &step_start : &step_end;

	nr_steps++;
	if (memcmp(seen->gpr, want->gpr, sizeof(seen->gpr)) ||
	    ((seen->rflags ^ want->rflags) & 0xcd5))
		step_bad = true;
}

/* More than one instruction, or a result that the hypercall hides, or no one-step instruction. */
static bool not_stepped(const char *what)
{
	return strchr(what, ';') || strstr(what, "rep") || strstr(what, "ecx,") ||
	       (!VECTORS_COMPARED && strstr(what, "xmm"));
}

static void test_tlb_boundaries(void **state)
{
	unsigned int f, k;

	harness_begin();
	nr_steps = 0;
	for (f = 0; f < NR && !step_bad; f++) {
		if (not_stepped(forms[f].what))
			continue;
		harness_reset();
		/* marks the site; the second run fills the TLB; then step */
		for (k = 0; k < 2; k++)
			check_form(&forms[f], USER_BASE + 0x2000, DATA + 0x2000, 3);
		fill(3);
		rnd_seed(3);
		for (k = 0; k < 16; k++)
			step_start.gpr[k] = rnd();
		step_start.gpr[R_RSP] = STACK;
		step_start.gpr[R_RDI] = USER_BASE + 0x2010;
		step_start.gpr[R_RSI] = DATA + 0x2000;
		step_start.gpr[R_RCX] = 3;
		step_start.gpr[R_RAX] = 0x41;
		step_start.rflags = 0x202 | 0x8d5;
		step_start.rip = CODE;
		R = step_start;
		assert_int_equal(run_guest().exit, XLATE_HYPERCALL);
		step_end = R;
		step_end.gpr[R_RCX] = 3;
		step_end.gpr[R_R11] = step_start.gpr[R_R11];
		fill(3);
		R = step_start;
		run_guest_stepped(check_step);
		if (step_bad)
			printf("%s\n", forms[f].what);
	}
	printf("%u host instructions stopped at\n", nr_steps);
	assert_false(step_bad);
	assert_true(nr_steps > 300 || !X->bmi2);
}

/* A kick at any host instruction of an access across pages: all of it is done, and done once. */
static void test_kicks_across_pages(void **state)
{
	static uint8_t want[0x6000];
	unsigned int f, k, step, nr = 0;

	harness_begin();
	for (f = 0; f < NR; f++) {
		struct core_regs start, end;

		if (not_stepped(forms[f].what))
			continue;
		harness_reset();
		check_form(&forms[f], USER_BASE + 0x2fff, DATA + 0x2000, 3);
		memset(&start, 0, sizeof(start));
		rnd_seed(f);
		for (k = 0; k < 16; k++)
			start.gpr[k] = rnd();
		start.gpr[R_RSP] = STACK;
		start.gpr[R_RDI] = start.gpr[R_RSI] = USER_BASE + 0x2fff;
		start.gpr[R_RCX] = 3;
		start.gpr[R_RAX] = 0x41;
		start.rflags = 0x202 | 0x8d5;
		start.rip = CODE;
		fill(f);
		R = start;
		assert_int_equal(run_guest().exit, XLATE_HYPERCALL);
		end = R;
		memcpy(want, ram_guest + USER_RAM, sizeof(want));
		for (step = 1;; step++) {
			bool kicked;

			fill(f);
			R = start;
			kicked = run_guest_kicked_at(step);
			if (memcmp(ram_guest + USER_RAM, want, sizeof(want)) ||
			    memcmp(R.gpr, end.gpr, sizeof(R.gpr)))
				fail_msg("%s, kicked behind %u instructions", forms[f].what, step);
			if (!kicked)
				break;
			nr++;
		}
	}
	printf("%u kicks\n", nr);
	assert_true(nr > 50);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forms),
		cmocka_unit_test(test_clearing_rests),
		cmocka_unit_test(test_stores_become_sites),
		cmocka_unit_test(test_page_faults),
		cmocka_unit_test(test_read_only),
		cmocka_unit_test(test_tlb),
		cmocka_unit_test(test_tlb_code),
		cmocka_unit_test(test_tlb_rights),
		cmocka_unit_test(test_tlb_roots),
		cmocka_unit_test(test_tlb_boundaries),
		cmocka_unit_test(test_kicks_across_pages),
		cmocka_unit_test(test_tlb_window),
		cmocka_unit_test(test_other_insn_at_site),
	};

	if (!harness_init(0))
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
