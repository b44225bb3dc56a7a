/* SPDX-License-Identifier: MIT */
/*
 * Why a turn ends, and where: system calls, faults, what is left to the processor, as many as were
 * allowed; with code that changes, frames at several addresses, and answers that are forgotten.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sys/mman.h>

#include "rig.h"

#define FLAG_RF 0x10000ull
#define FAR	0x7f0012345000ull
#define LAST	(BRIEF_VA_END - 0x1000)

#define CODE_IS(...)                                                                               \
	do {                                                                                       \
		static const uint8_t code_[] = {__VA_ARGS__};                                      \
		rig_code(CODE, code_, sizeof(code_));                                              \
	} while (0)

static void start(void)
{
	rig_begin();
	memset(&R, 0, sizeof(R));
	for (unsigned int k = 0; k < 16; k++)
		R.gpr[k] = 0x1111111111111111ull * k;
	R.gpr[R_RSP] = STACK;
	R.rip = CODE;
	R.rflags = 0x202;
	memset(guest_ptr(DATA - AREA / 2), 0x5a, AREA);
	memset(guest_ptr(STACK - STACK_AREA / 2), 0xa5, STACK_AREA);
	memory_untouched(NULL);
}

static uint64_t word(uint64_t va)
{
	uint64_t v;

	memcpy(&v, guest_ptr(va), 8);
	return v;
}

static void test_syscall(void **state)
{
	start();
	/* stc; mov $39, %eax; syscall */
	CODE_IS(0x90, 0xb8, 39, 0, 0, 0, 0x0f, 0x05);
	R.rflags = 0x202 | FLAG_RF | 0x8d5 | 0x400;
	assert_int_equal(brief_run(&B, 100), BRIEF_SYSCALL);
	assert_int_equal(R.rip, CODE + 8);
	assert_int_equal(R.gpr[R_RCX], CODE + 8);
	assert_int_equal(R.gpr[R_RAX], 39);
	assert_int_equal(R.rflags, 0x202 | 0x8d5 | 0x400);
	assert_int_equal(R.gpr[R_R11], R.rflags);
	assert_int_equal(R.gpr[R_RDX], 0x2222222222222222ull);
	assert_int_equal(B.executed, 3);
	/* the first one is one */
	R.rip = CODE + 6;
	R.rflags = 0x202 | FLAG_RF;
	assert_int_equal(brief_run(&B, 1), BRIEF_SYSCALL);
	assert_int_equal(R.gpr[R_R11], 0x202);
	assert_int_equal(R.rflags, 0x202);
	assert_int_equal(B.executed, 4);
	/* with prefixes: for the processor */
	CODE_IS(0x48, 0x0f, 0x05);
	R.rip = CODE;
	assert_int_equal(brief_run(&B, 1), BRIEF_NATIVE);
	CODE_IS(0x66, 0x0f, 0x05);
	assert_int_equal(brief_run(&B, 1), BRIEF_NATIVE);
	CODE_IS(0xf3, 0x0f, 0x05);
	assert_int_equal(brief_run(&B, 1), BRIEF_NATIVE);
	assert_int_equal(R.rip, CODE);
}

static void test_over(void **state)
{
	start();
	/* 1: inc %eax; dec %ecx; jnz 1b; syscall */
	CODE_IS(0xff, 0xc0, 0xff, 0xc9, 0x75, 0xfa, 0x0f, 0x05);
	for (unsigned int nr = 0; nr < 40; nr++) {
		R.rip = CODE;
		R.rflags = 0x202;
		R.gpr[R_RAX] = 0;
		R.gpr[R_RCX] = 10;
		B.executed = 0;
		if (nr > 30) {
			assert_int_equal(brief_run(&B, nr), BRIEF_SYSCALL);
			assert_int_equal(B.executed, 31);
			continue;
		}
		assert_int_equal(brief_run(&B, nr), BRIEF_OVER);
		assert_int_equal(B.executed, nr);
		assert_int_equal(R.gpr[R_RAX], (nr + 2) / 3);
		assert_int_equal(R.gpr[R_RCX], 10 - (nr + 1) / 3);
		assert_int_equal(R.rip, nr == 30 ? CODE + 6 : CODE + 2 * (nr % 3));
	}
	/* the whole of a loop that jumps to other pages: they do not count */
	CODE_IS(0xe9, 0xfb, 0x0f, 0, 0); /* jmp CODE + 0x1000 */
	memcpy(guest_ptr(CODE + 0x1000), "\xe9\xfb\xef\xff\xff", 5);
	for (unsigned int nr = 0; nr < 10; nr++) {
		R.rip = CODE;
		B.executed = 0;
		assert_int_equal(brief_run(&B, nr), BRIEF_OVER);
		assert_int_equal(B.executed, nr);
		assert_int_equal(R.rip, nr & 1 ? CODE + 0x1000 : CODE);
	}
}

/* RF is over with the first instruction that is completed, whichever that is. */
static void test_resume_flag(void **state)
{
	start();
	CODE_IS(0xeb, 0xfe); /* jmp . */
	R.rflags = 0x202 | FLAG_RF;
	assert_int_equal(brief_run(&B, 0), BRIEF_OVER);
	assert_int_equal(R.rflags, 0x202 | FLAG_RF);
	assert_int_equal(brief_run(&B, 3), BRIEF_OVER);
	assert_int_equal(R.rip, CODE);
	assert_int_equal(R.rflags, 0x202);
	/* and none is completed */
	CODE_IS(0x0f, 0xa2); /* cpuid */
	R.rflags = 0x202 | FLAG_RF;
	assert_int_equal(brief_run(&B, 3), BRIEF_NATIVE);
	assert_int_equal(R.rflags, 0x202 | FLAG_RF);
	CODE_IS(0x90, 0x0f, 0xa2);
	assert_int_equal(brief_run(&B, 3), BRIEF_NATIVE);
	assert_int_equal(R.rip, CODE + 1);
	assert_int_equal(R.rflags, 0x202);
}

/* An instruction's fault: registers exactly as in front of it. */
static void faults_at(uint64_t va, uint32_t error)
{
	const struct core_regs before = R;

	assert_int_equal(brief_run(&B, 1), BRIEF_FAULT);
	assert_int_equal(B.fault_va, va);
	assert_int_equal(B.fault_error, error);
	assert_memory_equal(&R, &before, sizeof(R));
	assert_true(memory_untouched("a fault"));
}

static void test_faults(void **state)
{
	start();
	/* mov %rax, (%rbx) */
	CODE_IS(0x48, 0x89, 0x03);
	R.gpr[R_RBX] = DATA + 8;
	rig_rights(DATA, 0x1000, 0);
	R.rflags = 0x202 | FLAG_RF | 0x8d5;
	faults_at(DATA + 8, PF_USER_BIT | PF_WRITE_BIT);
	rig_rights(DATA, 0x1000, PROT_READ);
	faults_at(DATA + 8, PF_USER_BIT | PF_WRITE_BIT | PF_PRESENT);
	/* having been read before */
	CODE_IS(0x48, 0x8b, 0x03, 0x48, 0x01, 0x03); /* mov (%rbx), %rax; add %rax, (%rbx) */
	assert_int_equal(brief_run(&B, 1), BRIEF_OVER);
	assert_int_equal(R.gpr[R_RAX], word(DATA + 8));
	faults_at(DATA + 8, PF_USER_BIT | PF_WRITE_BIT | PF_PRESENT);
	/* cmp and test do not write */
	CODE_IS(0x48, 0x39, 0x03, 0x48, 0x85, 0x03, 0x80, 0x3b, 1);
	R.rip = CODE;
	assert_int_equal(brief_run(&B, 3), BRIEF_OVER);
	assert_int_equal(R.rip, CODE + 9);
	/* a comparison that fails would not change it, yet it writes */
	CODE_IS(0xf0, 0x48, 0x0f, 0xb1, 0x13);
	R.rip = CODE;
	faults_at(DATA + 8, PF_USER_BIT | PF_WRITE_BIT | PF_PRESENT);
	rig_rights(DATA, 0x1000, ALL_RIGHTS);

	/* the stack: push, call, call *(%rbx), pop, ret, leave, push (%rbx) */
	rig_rights(STACK - 0x1000, 0x1000, PROT_READ);
	CODE_IS(0x50);
	faults_at(STACK - 8, PF_USER_BIT | PF_WRITE_BIT | PF_PRESENT);
	CODE_IS(0xe8, 0, 1, 0, 0);
	faults_at(STACK - 8, PF_USER_BIT | PF_WRITE_BIT | PF_PRESENT);
	CODE_IS(0xff, 0xd3);
	faults_at(STACK - 8, PF_USER_BIT | PF_WRITE_BIT | PF_PRESENT);
	CODE_IS(0xff, 0x33);
	faults_at(STACK - 8, PF_USER_BIT | PF_WRITE_BIT | PF_PRESENT);
	rig_rights(STACK, 0x1000, 0);
	CODE_IS(0x58);
	faults_at(STACK, PF_USER_BIT);
	CODE_IS(0xc3);
	faults_at(STACK, PF_USER_BIT);
	R.gpr[R_RBP] = STACK + 0x10;
	CODE_IS(0xc9);
	faults_at(STACK + 0x10, PF_USER_BIT);
	rig_rights(STACK - 0x1000, 0x2000, ALL_RIGHTS);
}

static void test_fetch_faults(void **state)
{
	start();
	CODE_IS(0x90, 0xe9, 0xfa, 0x0f, 0, 0); /* nop; jmp CODE + 0x1000 */
	rig_rights(CODE + 0x1000, 0x1000, 0);
	assert_int_equal(brief_run(&B, 10), BRIEF_FAULT);
	assert_int_equal(R.rip, CODE + 0x1000);
	assert_int_equal(B.fault_va, CODE + 0x1000);
	assert_int_equal(B.fault_error, PF_USER_BIT | PF_FETCH_BIT);
	assert_int_equal(B.executed, 2);
	rig_rights(CODE + 0x1000, 0x1000, PROT_READ | PROT_WRITE);
	faults_at(CODE + 0x1000, PF_USER_BIT | PF_FETCH_BIT | PF_PRESENT);
	rig_rights(CODE + 0x1000, 0x1000, ALL_RIGHTS);
	memcpy(guest_ptr(CODE + 0x1000), "\x0f\x05", 2);
	assert_int_equal(brief_run(&B, 10), BRIEF_SYSCALL);
	assert_int_equal(R.rip, CODE + 0x1002);
}

/* Left to the processor: nothing has happened. */
static void native(void)
{
	const struct core_regs before = R;
	const uint64_t executed = B.executed;

	assert_int_equal(brief_run(&B, 5), BRIEF_NATIVE);
	assert_memory_equal(&R, &before, sizeof(R));
	assert_int_equal(B.executed, executed);
	assert_true(memory_untouched("for the processor"));
}

static void test_unknown(void **state)
{
	static const struct {
		uint8_t bytes[8];
	} unknown[] = {
		{{0x0f, 0xa2}},					    /* cpuid */
		{{0x0f, 0x0b}},					    /* ud2 */
		{{0xcc}},					    /* int3 */
		{{0xcd, 0x80}},					    /* int $0x80 */
		{{0xf4}},					    /* hlt */
		{{0x9c}},					    /* pushf */
		{{0x9d}},					    /* popf */
		{{0xf3, 0x90}},					    /* pause */
		{{0x0f, 0x10, 0x03}},				    /* movups (%rbx), %xmm0 */
		{{0xf0, 0x01, 0xc0}},				    /* lock add %eax, %eax */
		{{0x67, 0x8b, 0x03}},				    /* mov (%ebx), %eax */
		{{0x66, 0xe8, 0, 0}},				    /* call rel16, or not */
		{{0x66, 0x74, 0}},				    /* je, or not */
		{{0x66, 0xc3}},					    /* ret, of 16 bits */
		{{0x66, 0x50}},					    /* push %ax */
		{{0xc5, 0xf8, 0x77}},				    /* vzeroupper */
		{{0x87, 0xc3}},					    /* xchg %eax, %ebx */
		{{0x8e, 0xd8}},					    /* mov %eax, %ds */
		{{0x06}},					    /* nothing in 64-bit mode */
		{{0x8d, 0xc0}},					    /* lea with a register */
		{{0xc7, 0xf8, 0}},				    /* xbegin */
		{{0xff, 0x3b}},					    /* nothing */
		{{0x48, 0x0f, 0xa3, 0x03}},			    /* bt %rax, (%rbx) */
		{{0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66}}, /* more than 15 bytes */
	};

	start();
	R.gpr[R_RBX] = DATA;
	for (unsigned int k = 0; k < sizeof(unknown) / sizeof(*unknown); k++) {
		rig_code(CODE, unknown[k].bytes, 8);
		if (unknown[k].bytes[7])
			memset(guest_ptr(CODE), 0x66, 30);
		native();
		native(); /* ... also as it is known to be unknown */
	}
	/* a division without a result; and without a divisor */
	CODE_IS(0x48, 0xf7, 0xf3);
	R.gpr[R_RBX] = R.gpr[R_RDX] = 5;
	native();
	R.gpr[R_RBX] = R.gpr[R_RDX] = 0;
	native();
	CODE_IS(0xf7, 0xf3);
	native();
	R.gpr[R_RBX] = 0x700000003ull;
	R.gpr[R_RDX] = 0x200000003ull;
	native();
	R.gpr[R_RDX] = 0x300000002ull;
	R.gpr[R_RAX] = 0xffffffff00000005ull;
	assert_int_equal(brief_run(&B, 1), BRIEF_OVER);
	assert_int_equal(R.gpr[R_RAX], 0x200000005ull / 3);
	assert_int_equal(R.gpr[R_RDX], 0x200000005ull % 3);
}

static void test_page_ends(void **state)
{
	static const uint8_t add[] = {0x48, 0x81, 0x03, 1, 0, 0, 0}; /* addq $1, (%rbx) */
	static const uint8_t load[] = {0x48, 0x8b, 0x03};

	start();
	/* the instruction: whole in front of the end, or across it */
	for (unsigned int k = 0; k <= sizeof(add); k++) {
		rig_code(CODE + 0x1000 - k, add, sizeof(add));
		R.rip = CODE + 0x1000 - k;
		R.gpr[R_RBX] = DATA;
		if (k && k < sizeof(add)) {
			native();
			continue;
		}
		assert_int_equal(brief_run(&B, 1), BRIEF_OVER);
		memory_untouched(NULL);
	}
	/* the operand: likewise, also if neither page is there */
	for (unsigned int k = 0; k < 16; k++) {
		rig_code(CODE, load, sizeof(load));
		R.rip = CODE;
		R.gpr[R_RBX] = DATA + 0x1000 - k;
		if (k && k < 8) {
			native();
			rig_rights(DATA, 0x2000, 0);
			native();
			rig_rights(DATA, 0x2000, ALL_RIGHTS);
			continue;
		}
		assert_int_equal(brief_run(&B, 1), BRIEF_OVER);
		assert_int_equal(R.gpr[R_RAX], word(DATA + 0x1000 - k));
	}
	/* ... also if the page of its first byte was looked up before: push, pop, load, store */
	for (unsigned int k = 1; k < 8; k++) {
		R.rip = CODE;
		R.gpr[R_RBX] = DATA;
		R.gpr[R_RSP] = STACK;
		CODE_IS(0x50, 0x58, 0x48, 0x8b, 0x03, 0x48, 0x89, 0x03);
		assert_int_equal(brief_run(&B, 4), BRIEF_OVER);
		memory_untouched(NULL);
		R.gpr[R_RBX] = DATA + 0x1000 - k;
		R.rip = CODE + 2;
		native();
		R.rip = CODE + 5;
		native();
	}
	/* the stack */
	for (unsigned int k = 1; k < 8; k++) {
		R.rip = CODE;
		R.gpr[R_RSP] = R.gpr[R_RBP] = STACK + k;
		CODE_IS(0x50);
		native();
		CODE_IS(0xe8, 0, 0, 0, 0);
		native();
		R.gpr[R_RSP] = R.gpr[R_RBP] = STACK - k;
		CODE_IS(0x58);
		native();
		CODE_IS(0xc3);
		native();
		CODE_IS(0xc9);
		native();
	}
}

/* Addresses with which programs are not dealt with here, though much would be there. */
static const uint64_t elsewhere[] = {
	0,
	8,
	BRIEF_VA_FIRST - 8,
	BRIEF_VA_END,
	BRIEF_VA_END + 8,
	0x800000000000,
	0x8000000000f8,
	DATA | 1ull << 47,
	DATA | 1ull << 48,
	DATA | 1ull << 49,
	DATA | 3ull << 48,
	DATA | 1ull << 55,
	DATA | 1ull << 62,
	DATA | 1ull << 63,
	0xffff7fffffffff00,
	0xffff800000000000,
	GUEST_HIGH + (DATA - GUEST_LOW),
	~0ull,
	~7ull,
};

/* `va` and the generation: no sum of both is another page's. */
static void test_elsewhere(void **state)
{
	static const unsigned int forgets[] = {0, 1, 1, 1, 4, 8, 100, 0xff00, 0x10000};

	for (unsigned int g = 0; g < sizeof(forgets) / sizeof(*forgets); g++) {
		start();
		for (unsigned int k = 0; k < forgets[g]; k++)
			brief_forget(&B);
		for (unsigned int k = 0; k < sizeof(elsewhere) / sizeof(*elsewhere); k++) {
			/* what is mapped for other addresses does not matter */
			R.rip = CODE;
			R.gpr[R_RBX] = DATA;
			R.gpr[R_RSP] = STACK;
			CODE_IS(0x48, 0x8b, 0x0b, 0x48, 0x89, 0x0b, 0x50, 0x58);
			assert_int_equal(brief_run(&B, 4), BRIEF_OVER);
			memory_untouched(NULL);
			R.rip = CODE;
			R.gpr[R_RBX] = elsewhere[k];
			CODE_IS(0x48, 0x8b, 0x0b); /* mov (%rbx), %rcx */
			native();
			CODE_IS(0x88, 0x0b); /* mov %cl, (%rbx) */
			native();
			CODE_IS(0xff, 0xe3); /* jmp *%rbx */
			native();
			CODE_IS(0xff, 0xd3); /* call *%rbx */
			native();
			CODE_IS(0xff, 0x33); /* push (%rbx) */
			native();
			R.fs_base = elsewhere[k];
			CODE_IS(0x64, 0x8b, 0x0c, 0x25, 0, 0, 0, 0);
			native();
			R.fs_base = 0;
			R.gpr[R_RSP] = R.gpr[R_RBP] = elsewhere[k];
			CODE_IS(0x58);
			native();
			CODE_IS(0xc3);
			native();
			CODE_IS(0xc9);
			native();
			R.gpr[R_RSP] = elsewhere[k] + 8;
			CODE_IS(0x50);
			native();
			CODE_IS(0xe8, 0, 0, 0, 0);
			native();
			R.gpr[R_RSP] = STACK;
			memcpy(guest_ptr(STACK), &elsewhere[k], 8);
			memory_untouched(NULL);
			CODE_IS(0xc3); /* ret to it */
			native();
			R.rip = elsewhere[k];
			native();
		}
	}
}

/* Relative jumps that lead out of the addresses of programs. */
static void test_far_jumps(void **state)
{
	static const uint8_t forward[] = {0xe9, 0xf0, 0xff, 0xff, 0x7f};
	static const uint8_t back[] = {0xe9, 0, 0, 0, 0x80};
	static const uint8_t first[] = {0xe9, 0xe8, 0x0f, 0x84, 0x75, 0x70};

	start();
	rig_code(CODE, "\xcc", 1);
	rig_alias(LAST, CODE);
	rig_alias(BRIEF_VA_FIRST, CODE);
	for (unsigned int up = 0; up < 2; up++)
		for (unsigned int k = 0; k < 6; k++) {
			const uint8_t *tail = (up ? forward : back) + 1;
			uint8_t code[8];
			unsigned int n = 0;

			if (first[k] == 0x84)
				code[n++] = 0x0f;
			code[n++] = first[k];
			memcpy(code + n, tail, 4);
			if (first[k] == 0x75 || first[k] == 0x70) { /* behind the end */
				code[n] = up ? 0x7f : 0x80;
				memset(code + n + 1, INT3, 3);
			}
			R.rflags = first[k] == 0x84 ? 0x242 : first[k] == 0x70 ? 0xa02 : 0x202;
			R.rip = up ? LAST + 0xff0 : BRIEF_VA_FIRST;
			rig_code(CODE + (R.rip & 0xfff), code, 8);
			native();
		}
	/* a condition that is not met leads nowhere */
	R.rip = LAST + 0xff0;
	rig_code(CODE + 0xff0, "\x0f\x84\xf0\xff\xff\x7f", 6);
	R.rflags = 0x202;
	assert_int_equal(brief_run(&B, 1), BRIEF_OVER);
	assert_int_equal(R.rip, LAST + 0xff6);
	/* a call whose stack was not looked up yet, to the very complement of its address */
	R.rip = 0x40000;
	rig_alias(R.rip, CODE);
	rig_code(CODE, "\xe8\0\0\xf8\xff", 5);
	native();
}

/* It runs off the end of what is dealt with here. */
static void test_last_page(void **state)
{
	start();
	rig_alias(LAST, CODE);
	rig_code(CODE + 0xffe, "\x90\x90", 2);
	R.rip = LAST + 0xffe;
	assert_int_equal(brief_run(&B, 5), BRIEF_NATIVE);
	assert_int_equal(R.rip, BRIEF_VA_END);
	assert_int_equal(B.executed, 2);
}

/* Bus locks are for G to have: hosts slow down who makes them, or send a signal. */
static void test_split_locks(void **state)
{
	start();
	for (unsigned int off = 0; off < 68; off++) {
		bool split = off + 4 > 64 && off < 64;

		R.gpr[R_RBX] = DATA + off;
		/* lock add %eax, (%rbx); xchg %eax, (%rbx); xadd %eax, (%rbx) */
		CODE_IS(0xf0, 0x01, 0x03);
		R.rip = CODE;
		assert_int_equal(brief_run(&B, 1), split ? BRIEF_NATIVE : BRIEF_OVER);
		CODE_IS(0x87, 0x03);
		R.rip = CODE;
		assert_int_equal(brief_run(&B, 1), split ? BRIEF_NATIVE : BRIEF_OVER);
		CODE_IS(0x0f, 0xc1, 0x03);
		R.rip = CODE;
		assert_int_equal(brief_run(&B, 1), BRIEF_OVER);
	}
}

/* The frame behind one of code is not touched: what is there may be nobody's any more. */
static void test_end_of_page(void **state)
{
	start();
	for (unsigned int n = 1; n <= 20; n++) {
		rig_code(CODE + 4096 - n, "\x48\xb8\1\2\3\4\5\6\7\x08", n < 10 ? n : 10);
		assert_int_equal(mprotect(guest_ptr(CODE + 4096), 4096, PROT_NONE), 0);
		for (unsigned int k = 0; k < 2; k++) {
			R.rip = CODE + 4096 - n;
			R.gpr[R_RAX] = 0;
			assert_int_equal(brief_run(&B, 1), n < 10 ? BRIEF_NATIVE : BRIEF_OVER);
			assert_int_equal(R.gpr[R_RAX], n < 10 ? 0 : 0x0807060504030201ull);
		}
		assert_int_equal(mprotect(guest_ptr(CODE + 4096), 4096, PROT_READ | PROT_WRITE), 0);
	}
}

static void test_changed_code(void **state)
{
	start();
	/* 1: movb $..., 2f(%rip) as data: each pass changes what comes next */
	CODE_IS(0xff, 0xc0, 0x0f, 0x05);
	R.gpr[R_RAX] = 10;
	assert_int_equal(brief_run(&B, 1), BRIEF_OVER);
	guest_ptr(CODE)[1] = 0xc8; /* dec %eax */
	R.rip = CODE;
	assert_int_equal(brief_run(&B, 1), BRIEF_OVER);
	assert_int_equal(R.gpr[R_RAX], 10);
	/* longer now, and shorter again */
	memcpy(guest_ptr(CODE), "\x48\xb8\1\2\3\4\5\6\7\x08", 10);
	R.rip = CODE;
	assert_int_equal(brief_run(&B, 1), BRIEF_OVER);
	assert_int_equal(R.gpr[R_RAX], 0x0807060504030201ull);
	assert_int_equal(R.rip, CODE + 10);
	guest_ptr(CODE)[9] = 9; /* its last byte */
	R.rip = CODE;
	assert_int_equal(brief_run(&B, 1), BRIEF_OVER);
	assert_int_equal(R.gpr[R_RAX], 0x0907060504030201ull);
	memcpy(guest_ptr(CODE), "\x90", 1);
	R.rip = CODE;
	assert_int_equal(brief_run(&B, 1), BRIEF_OVER);
	assert_int_equal(R.rip, CODE + 1);
	/* by itself: movb $0x90, 1f(%rip); 1: int3 */
	CODE_IS(0xc6, 0x05, 0, 0, 0, 0, 0x90, INT3, 0x0f, 0x05);
	R.rip = CODE;
	assert_int_equal(brief_run(&B, 9), BRIEF_SYSCALL);
	assert_int_equal(B.executed, 1 + 1 + 1 + 1 + 1 + 3);
	/* every byte of the longest ones counts: 15 bytes */
	CODE_IS(0x64, 0x64, 0x64, 0x64, 0x48, 0xc7, 0x84, 0x03, 0, 0, 0, 0, 1, 2, 3);
	for (unsigned int k = 0; k < 4; k++)
		guest_ptr(CODE)[k] = 0x3e;
	R.gpr[R_RBX] = DATA;
	R.gpr[R_RAX] = 0;
	native(); /* (16 bytes) */
	CODE_IS(0x3e, 0x3e, 0x3e, 0x48, 0xc7, 0x84, 0x03, 0, 0, 0, 0, 1, 2, 3, 4);
	R.rip = CODE;
	assert_int_equal(brief_run(&B, 1), BRIEF_OVER);
	assert_int_equal(word(DATA), 0x04030201);
	guest_ptr(CODE)[14] = 5;
	R.rip = CODE;
	assert_int_equal(brief_run(&B, 1), BRIEF_OVER);
	assert_int_equal(word(DATA), 0x05030201);
	guest_ptr(CODE)[7] = 8;
	R.rip = CODE;
	assert_int_equal(brief_run(&B, 1), BRIEF_OVER);
	assert_int_equal(word(DATA + 8), 0x05030201);
}

/* One frame at two addresses: what was decoded is shared, addresses are not. */
static void test_two_addresses(void **state)
{
	const uint64_t at[] = {CODE, FAR, CODE, FAR + 0x1000};

	start();
	rig_alias(FAR, CODE);
	rig_alias(FAR + 0x1000, CODE);
	rig_alias(FAR + 0x100, CODE); /* (a page has one alias) */
	/* lea 0x10(%rip), %rax; mov 0x100(%rip), %rcx; call 1f; 1: pop %rdx; jmp 2f; 2: */
	CODE_IS(0x48, 0x8d, 0x05, 0x10, 0, 0, 0, 0x48, 0x8b, 0x0d, 0, 1, 0, 0, 0xe8, 0, 0, 0, 0,
		0x5a, 0xeb, 0x02);
	for (unsigned int k = 0; k < 4; k++) {
		R.rip = at[k];
		assert_int_equal(brief_run(&B, 5), BRIEF_OVER);
		assert_int_equal(R.gpr[R_RAX], at[k] + 7 + 0x10);
		assert_int_equal(R.gpr[R_RCX], word(CODE + 14 + 0x100));
		assert_int_equal(R.gpr[R_RDX], at[k] + 19);
		assert_int_equal(R.rip, at[k] + 24);
	}
}

static void test_forget(void **state)
{
	unsigned long before;

	start();
	CODE_IS(0x48, 0x8b, 0x0b, 0x48, 0x89, 0x0b, 0x50); /* load, store, push */
	R.gpr[R_RBX] = FAR;
	rig_alias(FAR, DATA);
	memset(guest_ptr(DATA), 1, 8);
	memset(guest_ptr(DATA + 0x1000), 2, 8);
	assert_int_equal(brief_run(&B, 3), BRIEF_OVER);
	assert_int_equal(R.gpr[R_RCX], 0x0101010101010101ull);
	before = nr_maps;
	R.rip = CODE;
	assert_int_equal(brief_run(&B, 3), BRIEF_OVER);
	assert_int_equal(nr_maps, before); /* they are kept */
	rig_no_aliases();
	rig_alias(FAR, DATA + 0x1000);
	R.rip = CODE;
	assert_int_equal(brief_run(&B, 3), BRIEF_OVER);
	assert_int_equal(R.gpr[R_RCX], 0x0202020202020202ull);
	assert_true(nr_maps == before + 4); /* code, read, written, stack */
	/* code that is elsewhere now */
	memcpy(guest_ptr(CODE + 0x1000), "\x0f\x05", 2);
	rig_alias(CODE, CODE + 0x1000);
	R.rip = CODE;
	assert_int_equal(brief_run(&B, 3), BRIEF_SYSCALL);
	/* each time that it is asked */
	rig_no_aliases();
	rig_alias(FAR, DATA);
	map_forgets = true;
	for (unsigned int k = 0; k < 5; k++) {
		R.rip = CODE;
		R.gpr[R_RBX] = FAR;
		R.gpr[R_RCX] = 0;
		assert_int_equal(brief_run(&B, 3), BRIEF_OVER);
		assert_int_equal(R.gpr[R_RCX], 0x0101010101010101ull);
	}
}

/* A look at what an instruction touches may be what moves the page of code. */
static void test_code_moves(void **state)
{
	static const struct {
		uint8_t bytes[4];
		uint64_t at;
	} first[] = {
		{{0x48, 0x8b, 0x03}, DATA},	      /* mov (%rbx), %rax */
		{{0x48, 0x89, 0x03}, DATA},	      /* mov %rax, (%rbx) */
		{{0x90, 0x90, 0x50}, STACK - 0x1000}, /* push %rax */
		{{0x90, 0x90, 0x58}, STACK},	      /* pop %rax */
		{{0x90, 0x90, 0xaa}, DATA},	      /* stosb */
	};

	for (unsigned int k = 0; k < sizeof(first) / sizeof(*first); k++) {
		start();
		rig_code(CODE, "\x90\x90\x90\xff\xc1", 5); /* ... inc %ecx */
		memcpy(guest_ptr(CODE), first[k].bytes, 3);
		memcpy(guest_ptr(CODE + 0x1003), "\x0f\x05", 2);
		R.gpr[R_RBX] = R.gpr[R_RDI] = DATA;
		map_moves_code = first[k].at;
		assert_int_equal(brief_run(&B, 9), BRIEF_SYSCALL);
		assert_int_equal(R.rip, CODE + 5);
		assert_int_equal(map_moves_code, 0);
	}
}

/* The generations begin anew: nothing of old ones is left. */
static void test_generations(void **state)
{
	start();
	CODE_IS(0x48, 0x8b, 0x0b);
	R.gpr[R_RBX] = FAR;
	rig_alias(FAR, DATA);
	memset(guest_ptr(DATA), 1, 8);
	memset(guest_ptr(DATA + 0x1000), 2, 8);
	B.generation = 1;
	assert_int_equal(brief_run(&B, 1), BRIEF_OVER);
	assert_int_equal(R.gpr[R_RCX], 0x0101010101010101ull);
	rig_no_aliases();
	rig_alias(FAR, DATA + 0x1000);
	B.generation = (1ull << 27) - 2;
	for (unsigned int k = 0; k < 4; k++) {
		brief_forget(&B);
		R.rip = CODE;
		assert_int_equal(brief_run(&B, 1), BRIEF_OVER);
		assert_int_equal(R.gpr[R_RCX], 0x0202020202020202ull);
	}
	assert_true(B.generation < 10);
}

/* More code and data than is kept at once. */
static void test_many_pages(void **state)
{
	static const uint8_t code[] = {0x48, 0x8b, 0x03, 0x48, 0x01, 0x03, 0xff, 0xe1};
	uint64_t sum = 0;

	start();
	for (unsigned int k = 0; k < 200; k++) {
		uint64_t v = k;

		memcpy(guest_ptr(DATA + 0x10000 + 4096 * k), &v, 8);
		memcpy(guest_ptr(CODE + 0x10000 + 4096 * k), code, sizeof(code));
	}
	for (unsigned int pass = 1; pass < 4; pass++)
		for (unsigned int k = 0; k < 200; k++) {
			R.rip = CODE + 0x10000 + 4096 * k;
			R.gpr[R_RBX] = DATA + 0x10000 + 4096 * k;
			R.gpr[R_RCX] = CODE + 0x10000 + 4096 * ((k + 1) % 200);
			assert_int_equal(brief_run(&B, 3), BRIEF_OVER);
			assert_int_equal(R.gpr[R_RAX], (uint64_t)k << (pass - 1));
			assert_int_equal(R.rip, R.gpr[R_RCX]);
			sum += R.gpr[R_RAX];
		}
	assert_int_equal(sum, 7 * 199 * 200 / 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_syscall),	     cmocka_unit_test(test_over),
		cmocka_unit_test(test_resume_flag),  cmocka_unit_test(test_faults),
		cmocka_unit_test(test_fetch_faults), cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_page_ends),    cmocka_unit_test(test_elsewhere),
		cmocka_unit_test(test_far_jumps),    cmocka_unit_test(test_last_page),
		cmocka_unit_test(test_split_locks),  cmocka_unit_test(test_end_of_page),
		cmocka_unit_test(test_changed_code), cmocka_unit_test(test_two_addresses),
		cmocka_unit_test(test_code_moves),   cmocka_unit_test(test_forget),
		cmocka_unit_test(test_generations),  cmocka_unit_test(test_many_pages),
	};

	if (!harness_init(0)) {
		printf("the address space is not free\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
