/* SPDX-License-Identifier: MIT */
/* What leaves the cache: hypercalls, sensitive instructions, traps; and the kick flag. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "harness.h"

static enum xlate_exit run_bytes(const void *code, size_t len)
{
	unsigned int k;

	poke(CODE, code, len);
	memset(&R, 0, sizeof(R));
	for (k = 0; k < 16; k++)
		R.gpr[k] = 0x1010101010101010ull * k;
	R.gpr[R_RSP] = STACK;
	R.gpr[R_RBX] = DATA;
	R.rflags = 0x202 | 0xc1;
	R.rip = CODE;
	return (enum xlate_exit)run_guest().exit;
}

static void regs_untouched(void)
{
	unsigned int k;

	for (k = 0; k < 16; k++)
		if (k != R_RSP && k != R_RBX)
			assert_int_equal(R.gpr[k], 0x1010101010101010ull * k);
	assert_int_equal(R.gpr[R_RSP], STACK);
	assert_int_equal(R.rflags, 0x202 | 0xc1);
}

#define BYTES(s) (s), sizeof(s) - 1

static void test_sensitive(void **state)
{
	static const struct {
		const char *what, *code;
		unsigned int len;
	} list[] = {
		{"cli", BYTES("\xfa")},
		{"sti", BYTES("\xfb")},
		{"pushfw", BYTES("\x66\x9c")},
		{"popf", BYTES("\x9d")},
		{"hlt", BYTES("\xf4")},
		{"in al, dx", BYTES("\xec")},
		{"out imm, eax", BYTES("\xe7\x80")},
		{"insb", BYTES("\x6c")},
		{"rep outsb", BYTES("\xf3\x6e")},
		{"iretq", BYTES("\x48\xcf")},
		{"sysretq", BYTES("\x48\x0f\x07")},
		{"sysenter", BYTES("\x0f\x34")},
		{"cpuid", BYTES("\x0f\xa2")},
		{"rdmsr", BYTES("\x0f\x32")},
		{"wrmsr", BYTES("\x0f\x30")},
		{"rdpmc", BYTES("\x0f\x33")},
		{"rdtscp", BYTES("\x0f\x01\xf9")},
		{"xgetbv", BYTES("\x0f\x01\xd0")},
		{"xsetbv", BYTES("\x0f\x01\xd1")},
		{"swapgs", BYTES("\x0f\x01\xf8")},
		{"monitor", BYTES("\x0f\x01\xc8")},
		{"clac", BYTES("\x0f\x01\xca")},
		{"sgdt [rbx]", BYTES("\x0f\x01\x03")},
		{"sidt [rbx]", BYTES("\x0f\x01\x0b")},
		{"lgdt [rbx]", BYTES("\x0f\x01\x13")},
		{"lidt [rbx]", BYTES("\x0f\x01\x1b")},
		{"smsw eax", BYTES("\x0f\x01\xe0")},
		{"smsw [rbx]", BYTES("\x0f\x01\x23")},
		{"lmsw ax", BYTES("\x0f\x01\xf0")},
		{"invlpg [rbx]", BYTES("\x0f\x01\x3b")},
		{"sldt eax", BYTES("\x0f\x00\xc0")},
		{"str eax", BYTES("\x0f\x00\xc8")},
		{"lldt ax", BYTES("\x0f\x00\xd0")},
		{"ltr ax", BYTES("\x0f\x00\xd8")},
		{"verr ax", BYTES("\x0f\x00\xe0")},
		{"verw [rbx]", BYTES("\x0f\x00\x2b")},
		{"lar eax, ecx", BYTES("\x0f\x02\xc1")},
		{"lsl eax, ecx", BYTES("\x0f\x03\xc1")},
		{"clts", BYTES("\x0f\x06")},
		{"wbinvd", BYTES("\x0f\x09")},
		{"mov rax, cr0", BYTES("\x0f\x20\xc0")},
		{"mov cr3, rax", BYTES("\x0f\x22\xd8")},
		{"mov rax, dr7", BYTES("\x0f\x21\xf8")},
		{"mov dr0, rax", BYTES("\x0f\x23\xc0")},
		{"mov esp, ds", BYTES("\x8c\xdc")},
		{"mov [rbx], gs", BYTES("\x8c\x2b")},
		{"mov ss, eax", BYTES("\x8e\xd0")},
		{"push fs", BYTES("\x0f\xa0")},
		{"pop gs", BYTES("\x0f\xa9")},
		{"lss", BYTES("\x0f\xb2\x03")},
		{"lfs", BYTES("\x0f\xb4\x03")},
		{"rdfsbase", BYTES("\xf3\x48\x0f\xae\xc0")},
		{"wrgsbase", BYTES("\xf3\x48\x0f\xae\xd8")},
		{"lret", BYTES("\xcb")},
		{"lretq imm", BYTES("\x48\xca\x08\x00")},
		{"ljmp [rbx]", BYTES("\xff\x2b")},
		{"lcall [rbx]", BYTES("\x48\xff\x1b")},
		{"invpcid", BYTES("\x66\x0f\x38\x82\x03")},
		{"rdpid", BYTES("\xf3\x0f\xc7\xf8")},
		{"xsaves", BYTES("\x48\x0f\xc7\x2b")},
		{"int1", BYTES("\xf1")},
	};
	unsigned int k;

	harness_begin();
	for (k = 0; k < sizeof(list) / sizeof(*list); k++) {
		enum xlate_exit e = run_bytes(list[k].code, list[k].len);

		if (e != XLATE_SENSITIVE || R.rip != CODE)
			printf("%s: exit %d rip %#lx\n", list[k].what, e, R.rip);
		assert_int_equal(e, XLATE_SENSITIVE);
		assert_int_equal(R.rip, CODE);
		regs_untouched();
	}
}

/* Selectors and flags are the guest's, not the host's. */
static void test_virtual_state(void **state)
{
	/* mov eax, cs; mov r9, ss; mov dx, ds; mov esi, es; mov edi, fs; mov bp, gs; pushfq;
	 * syscall */
	static const uint8_t code[] = {0x8c, 0xc8, 0x49, 0x8c, 0xd1, 0x66, 0x8c, 0xda, 0x8c,
				       0xc6, 0x8c, 0xe7, 0x66, 0x8c, 0xed, 0x9c, 0x0f, 0x05};
	static const uint64_t extra[] = {0, 0x40000, 0x200000, 0x244000};
	unsigned int k;

	harness_begin();
	for (k = 0; k < 4; k++) {
		poke(CODE, code, sizeof(code));
		memset(&R, 0xff, sizeof(R));
		R.gs_base = R.fs_base = 0;
		R.cs = 0xe033;
		R.ss = 0xe02b;
		R.ds = 1;
		R.es = 2;
		R.fs = 3;
		R.gs = 4;
		R.rip = CODE;
		R.gpr[R_RSP] = STACK;
		R.rflags = 0x202 | 0x4d5 | extra[k];
		assert_int_equal(run_guest().exit, XLATE_HYPERCALL);
		assert_int_equal(R.gpr[R_RAX], 0xe033);
		assert_int_equal(R.gpr[R_R9], 0xe02b);
		assert_int_equal(R.gpr[R_RDX], 0xffffffffffff0001);
		assert_int_equal(R.gpr[R_RSI], 2);
		assert_int_equal(R.gpr[R_RDI], 3);
		assert_int_equal(R.gpr[R_RBP], 0xffffffffffff0004);
		assert_int_equal(R.gpr[R_RSP], STACK - 8);
		assert_int_equal(*(uint64_t *)guest_ptr(STACK - 8), 0x202 | 0x4d5 | extra[k]);
		assert_int_equal(R.rflags, 0x202 | 0x4d5 | extra[k]);
	}
}

/* In place once the monitor says so, with its own number of the processor; else it leaves. */
static void test_rdtscp(void **state)
{
	static const char code[] = "\x0f\x01\xf9\xf4";
	uint64_t before, tsc;

	harness_begin();
	assert_int_equal(run_bytes(code, 4), XLATE_SENSITIVE);
	assert_int_equal(R.rip, CODE);
	for (uint32_t aux = 0; aux <= 0xfffff000u - 4096; aux += 0xfffff000u / 3) {
		xlate_set_rdtscp(X, true, aux);
		before = __builtin_ia32_rdtsc();
		assert_int_equal(run_bytes(code, 4), XLATE_SENSITIVE);
		assert_int_equal(R.rip, CODE + 3);
		tsc = R.gpr[R_RDX] << 32 | R.gpr[R_RAX];
		assert_in_range(tsc, before, __builtin_ia32_rdtsc());
		assert_int_equal(R.gpr[R_RCX], aux);
		assert_int_equal(R.rflags, 0x202 | 0xc1);
	}
	xlate_set_rdtscp(X, false, 5);
	assert_int_equal(run_bytes(code, 4), XLATE_SENSITIVE);
	regs_untouched();
}

static void test_undefined(void **state)
{
	static const struct {
		const char *what, *code;
		unsigned int len;
	} list[] = {
		{"ud2", BYTES("\x0f\x0b")},
		{"forced emulation", BYTES("\x0f\x0bxen\x0f\xa2")},
		{"ud1", BYTES("\x0f\xb9\xc0")},
		{"push es", BYTES("\x06")},
		{"aaa", BYTES("\x37")},
		{"lcall imm", BYTES("\x9a\x01\x02\x03\x04\x05\x06")},
		{"xbegin", BYTES("\xc7\xf8\x00\x00\x00\x00")},
		{"xtest", BYTES("\x0f\x01\xd6")},
		{"vmcall", BYTES("\x0f\x01\xc1")},
		{"vmread", BYTES("\x0f\x78\xc0")},
		{"rdpkru", BYTES("\x0f\x01\xee")},
		{"wrpkru", BYTES("\x0f\x01\xef")},
		{"movdir64b", BYTES("\x66\x0f\x38\xf8\x03")},
		{"tpause", BYTES("\x66\x0f\xae\xf0")},
		{"lock nop", BYTES("\xf0\x90")},
		{"lock ret", BYTES("\xf0\xc3")},
		{"lock mov", BYTES("\xf0\x89\x03")},
		{"lea eax, eax", BYTES("\x8d\xc0")},
		{"rex vex", BYTES("\x48\xc5\xf8\x77")},
		{"monitorx", BYTES("\x0f\x01\xfa")},
		{"xop", BYTES("\x8f\xe8\x78\xc0\xc0\x00")},
		{"3dnow", BYTES("\x0f\x0f\xc0\x9e")},
		{"enclu", BYTES("\x0f\x01\xd7")},
		{"clui", BYTES("\xf3\x0f\x01\xee")},
		{"wrss", BYTES("\x0f\x38\xf6\x03")},
	};
	unsigned int k;

	harness_begin();
	for (k = 0; k < sizeof(list) / sizeof(*list); k++) {
		enum xlate_exit e = run_bytes(list[k].code, list[k].len);

		if (e != XLATE_UD || R.rip != CODE)
			printf("%s: exit %d rip %#lx\n", list[k].what, e, R.rip);
		assert_int_equal(e, XLATE_UD);
		assert_int_equal(R.rip, CODE);
		regs_untouched();
	}
}

/* The processor refuses more than 15 bytes with #GP, be they valid or not. */
static void test_too_long(void **state)
{
	static const char *const list[] = {
		"\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x90",
		"\x2e\x2e\x2e\x2e\x2e\x48\x81\x84\x24\x01\x02\x03\x04\x01\x02\x03",
		"\x67\x67\x67\x67\x67\x67\x67\x67\x67\x67\x67\x67\x67\x67\x0f\xff",
		"\xf0\xf0\xf0\xf0\xf0\xf0\xf0\xf0\xf0\xf0\xf0\xf0\xf0\xf0\xf0\xf0",
	};
	unsigned int k;

	harness_begin();
	for (k = 0; k < 4; k++) {
		struct core_regs n;

		assert_int_equal(run_bytes(list[k], 16), XLATE_GP);
		assert_int_equal(R.rip, CODE);
		regs_untouched();
		n = R;
		memcpy(ram_native + (CODE - GUEST_LOW), list[k], 16);
		assert_int_equal(run_native(&n).sig, SIGSEGV);
	}
}

/* Stack or not stack: the vectors for addresses that are not canonical are the processor's. */
static void test_stack_faults(void **state)
{
	static const struct {
		const char *what, *code;
		unsigned int len;
	} list[] = {
		{"mov rax, [rbp+8]", BYTES("\x48\x8b\x45\x08")},
		{"mov [rbp+rdx*2], eax", BYTES("\x89\x44\x55\x00")},
		{"mov rax, [rbp*2]", BYTES("\x48\x8b\x04\x6d\x00\x00\x00\x00")},
		{"mov rax, [rdx+rbp]", BYTES("\x48\x8b\x04\x2a")},
		{"mov rax, [r13]", BYTES("\x49\x8b\x45\x00")},
		{"mov rax, [rsi]", BYTES("\x48\x8b\x06")},
		{"mov rax, [rsp+8]", BYTES("\x48\x8b\x44\x24\x08")},
		{"mov rax, [r12]", BYTES("\x49\x8b\x04\x24")},
		{"mov rax, fs:[rbp]", BYTES("\x64\x48\x8b\x45\x00")},
		{"mov rax, gs:[rsp]", BYTES("\x65\x48\x8b\x04\x24")},
		{"add [rbp], eax", BYTES("\x01\x45\x00")},
		{"movups xmm0, [rbp]", BYTES("\x0f\x10\x45\x00")},
		{"lock bts [rbp], edx", BYTES("\xf0\x0f\xab\x55\x00")},
		{"push rax", BYTES("\x50")},
		{"push 1", BYTES("\x6a\x01")},
		{"push rsp", BYTES("\x54")},
		{"push [rsi]", BYTES("\xff\x36")},
		{"push [rbx]", BYTES("\xff\x33")},
		{"push [rbp]", BYTES("\xff\x75\x00")},
		{"pop rax", BYTES("\x58")},
		{"pop [rbx]", BYTES("\x8f\x03")},
		{"pop [rsi]", BYTES("\x8f\x06")},
		{"call", BYTES("\xe8\x10\x00\x00\x00")},
		{"call rbx", BYTES("\xff\xd3")},
		{"call [rbx]", BYTES("\xff\x13")},
		{"call [rbp]", BYTES("\xff\x55\x00")},
		{"call [rsi]", BYTES("\xff\x16")},
		{"ret", BYTES("\xc3")},
		{"ret 8", BYTES("\xc2\x08\x00")},
		{"leave", BYTES("\xc9")},
		{"enter 8, 0", BYTES("\xc8\x08\x00\x00")},
		{"movsb", BYTES("\xa4")},
		{"lodsq", BYTES("\x48\xad")},
	};
	/* the registers that are bad: rsp, rbp, rsi and r12, r13 with them; all of them */
	static const unsigned int bad[] = {1u << R_RSP, 1u << R_RBP,
					   1u << R_RSI | 1u << R_R12 | 1u << R_R13, 0xffff};
	unsigned int k, b, j, nr = 0;

	harness_begin();
	for (k = 0; k < sizeof(list) / sizeof(*list); k++)
		for (b = 0; b < 4; b++) {
			struct core_regs n;
			struct outcome og, on;

			memset(&R, 0, sizeof(R));
			for (j = 0; j < 16; j++)
				R.gpr[j] = bad[b] >> j & 1 ? 1ull << 63 | 0x1000 : DATA + 64 * j;
			R.gpr[R_RDX] = 0;
			if (R.gpr[R_RSP] >> 63 == 0)
				R.gpr[R_RSP] = STACK;
			R.rflags = 0x202;
			R.rip = CODE;
			poke(CODE, list[k].code, list[k].len);
			poke(CODE + list[k].len, "\x0f\x05", 2);
			memcpy(ram_native + (CODE - GUEST_LOW) + list[k].len, native_end_code, 8);
			n = R;
			on = run_native(&n);
			if (on.exit || on.vector == 14 || on.vector == 6)
				continue;
			og = run_guest();
			if (og.exit || og.vector != on.vector || R.rip != CODE)
				printf("%s (%x bad): exit %d vector %u rip +%#lx, native %u\n",
				       list[k].what, bad[b], og.exit, og.vector, R.rip - CODE,
				       on.vector);
			assert_int_equal(og.exit, 0);
			assert_int_equal(og.vector, on.vector);
			assert_int_equal(R.rip, CODE);
			nr++;
		}
	printf("%u faults\n", nr);
	assert_true(nr > 50);
}

/*
 * An indirect call that misses the lookup and then faults at its push has left its target behind; a
 * return that misses after that must not take it for its own.
 */
static void test_fault_after_miss(void **state)
{
	uint64_t ret = CODE + 0x40;

	harness_begin();
	harness_reset();
	poke(CODE, "\xff\xd3", 2); /* call rbx */
	poke(CODE + 0x20, "\xc3", 1);
	poke(CODE + 0x40, "\x0f\x05", 2);
	memset(&R, 0, sizeof(R));
	R.rip = CODE;
	R.rflags = 0x202;
	R.gpr[R_RBX] = CODE + 0x80;
	R.gpr[R_RSP] = 1ull << 63;
	assert_int_equal(run_guest().exit, 0);
	assert_int_equal(R.rip, CODE);
	R.rip = CODE + 0x20;
	R.gpr[R_RSP] = STACK;
	memcpy(guest_ptr(STACK), &ret, 8);
	assert_int_equal(run_guest().exit, XLATE_HYPERCALL);
	assert_int_equal(R.rip, ret + 2);
}

static void test_traps(void **state)
{
	harness_begin();
	assert_int_equal(run_bytes(BYTES("\xcd\x80")), XLATE_SOFT_INT);
	assert_int_equal(xlate_exit_vector(X), 0x80);
	assert_int_equal(xlate_exit_len(X), 2);
	assert_int_equal(R.rip, CODE + 2);
	regs_untouched();
	assert_int_equal(run_bytes(BYTES("\xcc")), XLATE_SOFT_INT);
	assert_int_equal(xlate_exit_vector(X), 3);
	assert_int_equal(xlate_exit_len(X), 1);
	assert_int_equal(R.rip, CODE + 1);
	/* the core emulated something and goes on behind it */
	assert_int_equal(run_bytes(BYTES("\x0f\xa2\xb8\x07\x00\x00\x00\x0f\x05")), XLATE_SENSITIVE);
	R.rip += 2;
	assert_int_equal(run_guest().exit, XLATE_HYPERCALL);
	assert_int_equal(R.gpr[R_RAX], 7);
}

static void test_hypercall(void **state)
{
	/* the hypercall page's stub: push rcx; push r11; mov eax, 17; syscall; pop r11; pop rcx;
	 * ret */
	static const uint8_t stub[] = {0x51, 0x41, 0x53, 0xb8, 17,   0,	   0,
				       0,    0x0f, 0x05, 0x41, 0x5b, 0x59, 0xc3};
	uint64_t ret = CODE + 0x40;

	harness_begin();
	poke(CODE + 0x40, "\x0f\x0b", 2);
	poke(CODE, stub, sizeof(stub));
	memset(&R, 0, sizeof(R));
	R.rip = CODE;
	R.rflags = 0x202 | 0x85;
	R.gpr[R_RSP] = STACK;
	R.gpr[R_RCX] = 0x1111;
	R.gpr[R_R11] = 0x2222;
	memcpy(guest_ptr(STACK), &ret, 8);
	assert_int_equal(run_guest().exit, XLATE_HYPERCALL);
	assert_int_equal(R.gpr[R_RAX], 17);
	assert_int_equal(R.rip, CODE + 10);
	assert_int_equal(R.gpr[R_RCX], CODE + 10);
	assert_int_equal(R.gpr[R_R11], 0x202 | 0x85);
	assert_int_equal(R.gpr[R_RSP], STACK - 16);
	R.gpr[R_RAX] = 0; /* its result */
	assert_int_equal(run_guest().exit, XLATE_UD);
	assert_int_equal(R.rip, ret);
	assert_int_equal(R.gpr[R_RCX], 0x1111);
	assert_int_equal(R.gpr[R_R11], 0x2222);
	assert_int_equal(R.gpr[R_RSP], STACK + 8);
}

/* The kick flag forbids to enter, and is seen whenever the translator resolves something. */
static void test_kick_flag(void **state)
{
	harness_begin();
	poke(CODE, "\xb8\x01\x00\x00\x00\x0f\x05", 7);
	memset(&R, 0, sizeof(R));
	R.rip = CODE;
	R.rflags = 0x202;
	kick_flag = 1;
	assert_int_equal(xlate_enter(X), XLATE_KICKED);
	assert_int_equal(R.rip, CODE);
	assert_int_equal(R.gpr[R_RAX], 0);
	kick_flag = 0;
	assert_int_equal(xlate_enter(X), XLATE_HYPERCALL);
	assert_int_equal(R.gpr[R_RAX], 1);
}

static const struct {
	const char *what, *code;
	unsigned int len;
} fpu_insns[] = {
	{"fninit", BYTES("\xdb\xe3")},
	{"fld1", BYTES("\xd9\xe8")},
	{"fnsave", BYTES("\xdd\x33")},
	{"frstor", BYTES("\xdd\x23")},
	{"fnstenv", BYTES("\xd9\x33")},
	{"fwait", BYTES("\x9b")},
	{"emms", BYTES("\x0f\x77")},
	{"fxsave", BYTES("\x48\x0f\xae\x03")},
	{"fxrstor", BYTES("\x48\x0f\xae\x0b")},
	{"ldmxcsr", BYTES("\x0f\xae\x13")},
	{"stmxcsr", BYTES("\x0f\xae\x1b")},
	{"xsave", BYTES("\x48\x0f\xae\x23")},
	{"xrstor", BYTES("\x48\x0f\xae\x2b")},
	{"xsaveopt", BYTES("\x48\x0f\xae\x33")},
	{"xsavec", BYTES("\x48\x0f\xc7\x23")},
	{"movups", BYTES("\x0f\x10\x03")},
	{"movd", BYTES("\x0f\x6e\xc0")},
	{"cvtsi2sd", BYTES("\xf2\x0f\x2a\xc0")},
	{"maskmovq", BYTES("\x0f\xf7\xc1")},
	{"vzeroupper", BYTES("\xc5\xf8\x77")},
	{"vaddps ymm", BYTES("\xc5\xfc\x58\xc1")},
	{"kmovw", BYTES("\xc5\xf8\x92\xc8")},
	{"vaddps zmm", BYTES("\x62\xf1\x7c\x48\x58\xc1")},
};

/* The monitor's trap: each FPU instruction leaves in front of itself, by whatever way it is met. */
static void test_fpu_trap(void **state)
{
	unsigned int k;

	harness_begin();
	for (k = 0; k < sizeof(fpu_insns) / sizeof(*fpu_insns); k++) {
		enum xlate_exit e;

		xlate_set_fpu_trap(X, true);
		e = run_bytes(fpu_insns[k].code, fpu_insns[k].len);
		if (e != XLATE_FPU || R.rip != CODE)
			printf("%s: exit %d rip %#lx\n", fpu_insns[k].what, e, R.rip);
		assert_int_equal(e, XLATE_FPU);
		assert_int_equal(R.rip, CODE);
		regs_untouched();
		xlate_set_ts(X, true);
		assert_int_equal(run_guest().exit, XLATE_NM);
		xlate_set_ts(X, false);
		R.rflags |= 0x100;
		assert_int_equal(run_guest().exit, XLATE_FPU);
		R.rflags &= ~0x100ull;
	}
	/* nothing else does */
	assert_int_equal(run_bytes(BYTES("\x0f\xae\xe8\x0f\xc3\x03\x48\x0f\xc7\x0b\x0f\x05")),
			 XLATE_HYPERCALL);
	harness_reset();
}

/* One instruction of the guest: where it stands and what it left. */
static void fpu_run(uint64_t rip, uint64_t stop, bool trap)
{
	enum xlate_exit e;

	R.rip = rip;
	xlate_set_fpu_trap(X, trap);
	e = (enum xlate_exit)run_guest().exit;
	assert_int_equal(e, trap ? XLATE_FPU : XLATE_HYPERCALL);
	assert_int_equal(R.rip, stop);
}

/* Within a run of FPU instructions, which has one gate: every way into it finds a gate as well. */
static void test_fpu_run(void **state)
{
	/*
	 * 0 inc eax; 2 paddq xmm0, xmm0; 6 paddq xmm1, xmm1; 10 movq rcx, xmm0; 15 inc edx;
	 * 17 movq rsi, xmm1; 22 syscall
	 */
	static const char code[] = "\xff\xc0\x66\x0f\xd4\xc0\x66\x0f\xd4\xc9"
				   "\x66\x48\x0f\x7e\xc1\xff\xc2\x66\x48\x0f\x7e\xce\x0f\x05";
	static const char jump[] = "\xe9\x01\xff\xff\xff"; /* from CODE + 0x100 to CODE + 6 */
	static const unsigned int entry[] = {2, 6, 10, 17};
	unsigned int k;

	harness_begin();
	xlate_set_fpu_trap(X, true);
	xlate_set_fpu_trap(X, false);
	assert_int_equal(run_bytes(code, sizeof(code) - 1), XLATE_HYPERCALL);
	poke(CODE + 0x100, jump, 5);
	for (k = 0; k < 8; k++) {
		uint64_t at = CODE + entry[k & 3];

		fpu_run(at, at, true);
		fpu_run(at, CODE + 24, false);
		fpu_run(CODE, CODE + 2, true);
		fpu_run(CODE, CODE + 24, false);
		fpu_run(CODE + 15, CODE + 17, true);
		fpu_run(CODE + 0x100, CODE + 6, true);
		fpu_run(CODE + 0x100, CODE + 24, false);
	}
	harness_reset();
}

/*
 * Saved x87 environments show where the last x87 instruction was, and its operand: as natively, at
 * a low address and a kernel's, saved to kernel and to user memory.
 */
static const char *const x87_ops[] = {
	"\xd9\x07\x90\x90", /* fld dword [rdi]; nop; nop */
	"\xd9\xe8\x90\x90", /* fld1 */
	"\xd8\x44\x24\x08", /* fadd dword [rsp + 8] */
	"\x9b\xd9\xc0\x90", /* fwait; fld st0 */
	"\x65\xd9\x07\x90", /* fld dword gs:[rdi] */
	"\x90\x90\x90\x90", /* none: the address is of before, and not in the cache */
};
static const struct {
	const char *what, *code;
	unsigned int len, o_ip, ip_size;
} x87_saves[] = {
	{"fnstenv", BYTES("\xd9\x33"), 12, 4},
	{"fnsave", BYTES("\xdd\x33"), 12, 4},
	{"fxsave", BYTES("\x0f\xae\x03"), 8, 4},
	{"fxsave64", BYTES("\x48\x0f\xae\x03"), 8, 8},
	{"xsave", BYTES("\x0f\xae\x23"), 8, 4},
	{"xsave64", BYTES("\x48\x0f\xae\x23"), 8, 8},
	{"xsavec64", BYTES("\x48\x0f\xc7\x23"), 8, 8},
	{"xsaveopt64", BYTES("\x48\x0f\xae\x33"), 8, 8},
};

/* The guest's code and registers, and the same for the native run with its area at DATA + 0x2000.
 */
static void x87_setup(unsigned int op, unsigned int save, struct core_regs *n)
{
	unsigned int len = 4 + x87_saves[save].len;
	uint8_t code[64];

	memcpy(code, x87_ops[op], 4);
	memcpy(code + 4, x87_saves[save].code, x87_saves[save].len);
	memcpy(code + len, "\x0f\x05", 2);
	poke(CODE, code, len + 2);
	memcpy(ram_native + (CODE - GUEST_LOW) + len, native_end_code, 8);
	memset(&R, 0, sizeof(R));
	R.rip = CODE;
	R.rflags = 0x202;
	R.gpr[R_RSP] = STACK;
	R.gpr[R_RDI] = DATA;
	R.gpr[R_RBX] = DATA + 0x2000;
	R.gpr[R_RAX] = 3;
	*n = R;
}

static void one_x87(unsigned int op, unsigned int save, uint64_t rbx, bool high)
{
	static uint8_t fx[FPU_SIZE] __attribute__((aligned(64)));
	const uint64_t off = high ? GUEST_HIGH - GUEST_LOW : 0;
	const unsigned int o_ip = x87_saves[save].o_ip, size = x87_saves[save].ip_size;
	uint8_t *native = ram_native + (DATA + 0x2000 - GUEST_LOW);
	uint8_t *saved = rbx - USER_BASE < USER_SIZE ? ram_guest + USER_RAM + (rbx - USER_BASE)
						     : guest_ptr(rbx);
	struct core_regs n;
	uint64_t ip = 0;

	x87_setup(op, save, &n);
	poke(DATA, "\x00\x00\x80\x3f\x00\x00\x80\x3f", 8);
	poke(STACK, "\x00\x00\x80\x3f\x00\x00\x80\x3f\x00\x00\x80\x3f", 12);
	memset(saved, 0, 1024);
	memset(native, 0, 1024);
	fpu_save(fx);
	memset(fx, 0, 576);
	fx[0] = 0x7f;
	fx[1] = 3;
	fx[24] = 0x80;
	fx[25] = 0x1f;
	fx[8] = 0x11; /* an instruction address of before */
	fx[512] = 3;  /* x87 and SSE are in use */
	fpu_load(fx);
	assert_int_equal(run_native(&n).exit, XLATE_HYPERCALL);
	R.rip += off;
	R.gpr[R_RSP] += off;
	R.gpr[R_RDI] += off;
	R.gpr[R_RBX] = rbx;
	fpu_load(fx);
	assert_int_equal(run_guest().exit, XLATE_HYPERCALL);
	fpu_load(fx);
	memcpy(&ip, native + o_ip, size);
	/* (AMD's processors tell it only of an instruction that has trapped) */
	if (op < 5 && !(ip == 0 && __builtin_cpu_is("amd"))) {
		assert_in_range(ip, CODE, CODE + 3);
		ip += off;
	}
	memcpy(native + o_ip, &ip, size);
	if (high) { /* the operand was somewhere else, then */
		memset(native + o_ip + 8, 0, size);
		memset(saved + o_ip + 8, 0, size);
	}
	if (memcmp(saved, native, 512)) {
		memcpy(&ip, saved + o_ip, size);
		printf("%s, instruction %u, to %#lx: instruction address %#lx\n",
		       x87_saves[save].what, op, rbx, ip);
	}
	assert_memory_equal(saved, native, 512);
}

static void test_x87_addresses(void **state)
{
	unsigned int op, save, k;

	if (!VECTORS_COMPARED) {
		printf("left out: ASan's runtime uses the FPU\n");
		return;
	}
	harness_begin();
	harness_reset();
	for (save = 0; save < sizeof(x87_saves) / sizeof(*x87_saves); save++)
		for (op = 0; op < sizeof(x87_ops) / sizeof(*x87_ops); op++)
			for (k = 0; k < 2; k++) {
				one_x87(op, save, DATA + 0x2000, false);
				one_x87(op, save, HIGH(DATA) + 0x2000, true);
				one_x87(op, save, USER_BASE + 0x2000, false);
				one_x87(op, save, USER_BASE + 0x2fc0, true);
			}
}

static unsigned int nr_steps;
static void count_step(const struct core_regs *r)
{
	nr_steps++;
}

/*
 * A hypercall that does nothing, again and again: out of the cache and back in, without looking for
 * anything or translating once more. (How long that takes is the benchmark's business.)
 */
static void test_hypercall_again(void **state)
{
	/* 1: syscall; jmp 1b */
	struct xlate_stats a, b;
	unsigned int k;

	harness_reset(); /* the tests before have rewritten this page often: it is verified */
	poke(CODE, "\x0f\x05\xeb\xfc", 4);
	memset(&R, 0, sizeof(R));
	R.rip = CODE;
	R.rflags = 0x202;
	for (k = 0; k < 3; k++)
		assert_int_equal(xlate_enter(X), XLATE_HYPERCALL);
	xlate_get_stats(X, &a);
	for (k = 0; k < 1000; k++) {
		assert_int_equal(xlate_enter(X), XLATE_HYPERCALL);
		assert_int_equal(R.rip, CODE + 2);
	}
	xlate_get_stats(X, &b);
	assert_memory_equal(&a, &b, sizeof(a));
	/* the jump, the way to the exit's stub, and that: host instructions */
	nr_steps = 0;
	assert_int_equal(run_guest_stepped(count_step).exit, XLATE_HYPERCALL);
	printf("%u host instructions in the cache for each\n", nr_steps);
	assert_in_range(nr_steps, 2, 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sensitive),	 cmocka_unit_test(test_virtual_state),
		cmocka_unit_test(test_rdtscp),		 cmocka_unit_test(test_undefined),
		cmocka_unit_test(test_too_long),	 cmocka_unit_test(test_stack_faults),
		cmocka_unit_test(test_fault_after_miss), cmocka_unit_test(test_traps),
		cmocka_unit_test(test_hypercall),	 cmocka_unit_test(test_kick_flag),
		cmocka_unit_test(test_fpu_trap),	 cmocka_unit_test(test_fpu_run),
		cmocka_unit_test(test_x87_addresses),	 cmocka_unit_test(test_hypercall_again),
	};

	if (!harness_init(0))
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
