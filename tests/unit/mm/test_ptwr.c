/* SPDX-License-Identifier: MIT */
/*
 * Emulated stores to page tables. The oracle is the processor: the same instruction with the same
 * registers runs natively on a copy of the table, and memory, registers and flags must be equal.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "core/mm/ptwr.h"
#include "mm_test.h"

#define TABLE	    200u /* the L1 under test, pinned */
#define CODE	    40u	 /* guest page with the instruction */
#define ARITH	    0x8d5u
#define WRITE_FAULT (PF_PRESENT | PF_WRITE)

struct native { /* the assembly below knows the offsets */
	uint64_t gpr[16];
	uint64_t rflags;
	const void *code;
};

/* r15 points to the structure while the instruction runs; rsp is the C stack. */
void run_native(struct native *n);
__asm__(".text\n"
	".globl run_native\n"
	"run_native:\n"
	"	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
	"	mov %rdi, %r15\n"
	"	push 128(%r15); popfq\n"
	"	mov 0(%r15), %rax; mov 8(%r15), %rcx; mov 16(%r15), %rdx; mov 24(%r15), %rbx\n"
	"	mov 40(%r15), %rbp; mov 48(%r15), %rsi; mov 56(%r15), %rdi\n"
	"	mov 64(%r15), %r8; mov 72(%r15), %r9; mov 80(%r15), %r10; mov 88(%r15), %r11\n"
	"	mov 96(%r15), %r12; mov 104(%r15), %r13; mov 112(%r15), %r14\n"
	"	call *136(%r15)\n"
	"	pushfq; pop 128(%r15); cld\n"
	"	mov %rax, 0(%r15); mov %rcx, 8(%r15); mov %rdx, 16(%r15); mov %rbx, 24(%r15)\n"
	"	mov %rbp, 40(%r15); mov %rsi, 48(%r15); mov %rdi, 56(%r15)\n"
	"	mov %r8, 64(%r15); mov %r9, 72(%r15); mov %r10, 80(%r15); mov %r11, 88(%r15)\n"
	"	mov %r12, 96(%r15); mov %r13, 104(%r15); mov %r14, 112(%r15)\n"
	"	pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
	"	ret\n");

static int ptwr_setup(void **state)
{
	struct mm_guest *g = mm_guest_new(1);

	*state = g;
	g->c.d->vm_assist = 1ull << VMASST_TYPE_writable_pagetables;
	make_ro(g, TABLE);
	g->c.v->regs.rip = VA(CODE);
	g->c.v->regs.rflags = 0x202;
	return mmuext(g, MMUEXT_PIN_L1_TABLE, TABLE, 0) != 0;
}

#define PTWR_TEST(f) cmocka_unit_test_setup_teardown(f, ptwr_setup, teardown)

static void put_code(struct mm_guest *g, const void *bytes, size_t len)
{
	memcpy(frame_at(g, CODE), bytes, len);
}

static bool fault(struct mm_guest *g, uint64_t addr)
{
	return core_mm_ro_fault(&g->c, addr, WRITE_FAULT);
}

/* ---- what is handled at all --------------------------------------------------------------------
 */

static void conditions(void **state)
{
	struct mm_guest *g = *state;
	struct core_regs *r = &g->c.v->regs;
	uint64_t at = VA(TABLE) + 64;

	put_code(g, "\x48\x89\x03", 3); /* mov [rbx], rax */
	r->gpr[R_RBX] = at;
	r->gpr[R_RAX] = pte(100, P | RW);

	g->c.d->vm_assist = 0;
	assert_false(fault(g, at));
	g->c.d->vm_assist = ~0ull;
	g->c.v->kernel_mode = 0;
	assert_false(fault(g, at));
	g->c.v->kernel_mode = 1;
	assert_false(core_mm_ro_fault(&g->c, at, PF_WRITE));
	assert_false(core_mm_ro_fault(&g->c, at, PF_PRESENT));
	assert_false(core_mm_ro_fault(&g->c, at, WRITE_FAULT | PF_RESERVED));
	assert_false(core_mm_ro_fault(&g->c, at, WRITE_FAULT | PF_FETCH));
	assert_int_equal(frame_at(g, TABLE)[8], 0);
	assert_true(r->rip == VA(CODE));

	r->rflags |= 0x10000;
	assert_true(fault(g, at));
	assert_int_equal(frame_at(g, TABLE)[8], pte(100, P | RW | U | GK));
	assert_true(r->rip == VA(CODE) + 3);
	assert_int_equal(r->rflags, 0x202);
	check(g);
}

/* Only L1 tables; not other read-only pages, not the upper levels, not what is not mapped. */
static void other_pages(void **state)
{
	struct mm_guest *g = *state;
	struct core_regs *r = &g->c.v->regs;
	uint64_t pages[] = {VA(BOOT_L2), VA(BOOT_L4),	       VA(201),	  VA(NR_PAGES),
			    0x1000,	 MACH2PHYS_VIRT_START, 1ull << 47};

	make_ro(g, 201);
	put_code(g, "\x48\x89\x03", 3);
	for (unsigned int i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
		r->gpr[R_RBX] = pages[i];
		assert_false(fault(g, pages[i]));
	}
	/* The instruction stores elsewhere than where the fault was. */
	r->gpr[R_RBX] = VA(201);
	assert_false(fault(g, VA(TABLE)));
	/* Not aligned; across the end of the page. */
	r->gpr[R_RBX] = VA(TABLE) + 4;
	assert_false(fault(g, VA(TABLE) + 4));
	r->gpr[R_RBX] = VA(TABLE) + 4092;
	assert_false(fault(g, VA(TABLE) + 4092));
	make_rw(g, 201);
	/* Through a linear mapping: what maps the table there is an L2 entry, with RW. */
	assert_int_equal(update(g, BOOT_L2, 4, pte(BOOT_L2, P)), 0);
	r->gpr[R_RBX] = GUEST_VA + (4ull << 21) + 300 * 8;
	assert_false(fault(g, r->gpr[R_RBX]));
	check(g);
}

static void invalid_entries(void **state)
{
	struct mm_guest *g = *state;
	struct core_regs *r = &g->c.v->regs, before;
	static const uint64_t bad[] = {pte(BOOT_L1, P | RW), pte(TABLE, P | RW), pte(NR_FRAMES, P),
				       pte(NR_PAGES, P), pte(100, P | PTE_PCD)};

	put_code(g, "\x48\x87\x03", 3); /* xchg [rbx], rax */
	r->gpr[R_RBX] = VA(TABLE);
	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		r->gpr[R_RAX] = bad[i];
		before = *r;
		assert_false(fault(g, VA(TABLE)));
		assert_memory_equal(r, &before, sizeof(before));
		assert_int_equal(frame_at(g, TABLE)[0], 0);
		check(g);
	}
	r->gpr[R_RAX] = pte(TABLE, P);
	assert_true(fault(g, VA(TABLE)));
	check(g);
}

/* Instructions that do not store, or not in a way that is emulated. */
static void refused_instructions(void **state)
{
	struct mm_guest *g = *state;
	struct core_regs *r = &g->c.v->regs, before;
	static const char *const code[] = {
		"\x90",
		"\x48\x8b\x03",
		"\x48\x39\x03",
		"\x48\x83\x3b\x01",
		"\x48\x85\x03",
		"\x48\x89\xc3",
		"\xff\x13",
		"\xff\x33",
		"\x8f\x03",
		"\x0f\x29\x03",
		"\x48\x0f\xc7\x0b",
		"\xc7\x4b\x01\x01",
		"\x66\x0f\x7f\x03",
		"\x0f\xba\x23\x01",
		"\xc5\xf8\x29\x03",
		"\xf3\x0f\xc3\x03",
		"\x66\x0f\xc3\x03",
		"\x62\x61\x7c\x48\x29\x03",
		"\xf6\x03\x01",
		"\xf7\x23",
		"\xc0\x23\x01",
		"\x67\x48\xab",
		"\x0f\xae\x03",
		("\x66\x66\x66\x66\x66\x66\x66\x66"
		 "\x66\x66\x66\x66\x66\x66\x66"),
	};

	r->gpr[R_RBX] = VA(TABLE);
	r->gpr[R_RDI] = VA(TABLE);
	for (unsigned int i = 0; i < sizeof(code) / sizeof(code[0]); i++) {
		memset(frame_at(g, CODE), 0xcc, 16);
		put_code(g, code[i], strlen(code[i]));
		before = *r;
		assert_false(fault(g, VA(TABLE)));
		assert_memory_equal(r, &before, sizeof(before));
	}
	/* An instruction that ends behind the last readable byte. */
	put_code(g, "\x90", 1);
	memcpy((uint8_t *)frame_at(g, NR_PAGES - 1) + 4094, "\x48\x89", 2);
	r->rip = VA(NR_PAGES) - 2;
	assert_false(fault(g, VA(TABLE)));
	memcpy((uint8_t *)frame_at(g, NR_PAGES - 1) + 4093, "\x48\x89\x03", 3);
	r->rip = VA(NR_PAGES) - 3;
	assert_true(fault(g, VA(TABLE)));
	r->rip = VA(NR_PAGES);
	assert_false(fault(g, VA(TABLE)));
	check(g);
}

/* ---- against the processor ------------------------------------------------------------------- */

struct form {
	const char *bytes;
	unsigned int len;
	unsigned int imm; /* bytes of immediate appended */
	bool string;
};

#define F(s, i)                                                                                    \
	{                                                                                          \
		s, sizeof(s) - 1, i, false                                                         \
	}
#define S(s)                                                                                       \
	{                                                                                          \
		s, sizeof(s) - 1, 0, true                                                          \
	}

/* ModRM 0x03: [rbx], register field 0 (rax) or as given; 0x13 = rdx, 0x0b = rcx, 0x23 = ah/sp. */
static const struct form forms[] = {
	F("\x88\x13", 0),
	F("\x89\x13", 0),
	F("\x66\x89\x13", 0),
	F("\x48\x89\x13", 0),
	F("\x88\x23", 0),
	F("\x88\x33", 0),
	F("\x88\x2b", 0),
	F("\x40\x88\x2b", 0),
	F("\x4c\x89\x03", 0),
	F("\xc6\x03", 1),
	F("\xc7\x03", 4),
	F("\x66\xc7\x03", 2),
	F("\x48\xc7\x03", 4),
	F("\x00\x13", 0),
	F("\x01\x13", 0),
	F("\x66\x01\x13", 0),
	F("\x48\x01\x13", 0),
	F("\x08\x23", 0),
	F("\x09\x13", 0),
	F("\x48\x09\x13", 0),
	F("\x48\x11\x13", 0),
	F("\x10\x13", 0),
	F("\x19\x13", 0),
	F("\x48\x19\x13", 0),
	F("\x18\x13", 0),
	F("\x66\x11\x13", 0),
	F("\x66\x19\x13", 0),
	F("\x20\x13", 0),
	F("\x21\x13", 0),
	F("\x48\x21\x13", 0),
	F("\x28\x13", 0),
	F("\x29\x13", 0),
	F("\x48\x29\x13", 0),
	F("\x31\x13", 0),
	F("\x48\x31\x13", 0),
	F("\x80\x03", 1),
	F("\x80\x0b", 1),
	F("\x80\x13", 1),
	F("\x80\x1b", 1),
	F("\x80\x23", 1),
	F("\x80\x2b", 1),
	F("\x80\x33", 1),
	F("\x81\x23", 4),
	F("\x48\x81\x23", 4),
	F("\x48\x81\x0b", 4),
	F("\x66\x81\x03", 2),
	F("\x83\x23", 1),
	F("\x48\x83\x23", 1),
	F("\x48\x83\x0b", 1),
	F("\xf0\x48\x83\x33", 1),
	F("\xf6\x13", 0),
	F("\xf6\x1b", 0),
	F("\x48\xf7\x13", 0),
	F("\x48\xf7\x1b", 0),
	F("\xf7\x1b", 0),
	F("\xfe\x03", 0),
	F("\xfe\x0b", 0),
	F("\x48\xff\x03", 0),
	F("\x48\xff\x0b", 0),
	F("\x66\xff\x03", 0),
	F("\xff\x0b", 0),
	F("\x86\x13", 0),
	F("\x86\x23", 0),
	F("\x87\x13", 0),
	F("\x48\x87\x13", 0),
	F("\x66\x87\x13", 0),
	F("\x4c\x87\x33", 0),
	F("\x0f\xc0\x13", 0),
	F("\x0f\xc1\x13", 0),
	F("\xf0\x48\x0f\xc1\x13", 0),
	F("\x66\x0f\xc1\x13", 0),
	F("\x0f\xb0\x13", 0),
	F("\x0f\xb1\x13", 0),
	F("\xf0\x48\x0f\xb1\x13", 0),
	F("\x66\x0f\xb1\x13", 0),
	F("\x0f\xb0\x23", 0),
	F("\x0f\xba\x2b", 1),
	F("\x48\x0f\xba\x2b", 1),
	F("\x48\x0f\xba\x33", 1),
	F("\x66\x0f\xba\x3b", 1),
	F("\xf0\x48\x0f\xba\x33", 1),
	F("\x0f\xba\x3b", 1),
	F("\x48\x0f\xab\x0b", 0),
	F("\x48\x0f\xb3\x0b", 0),
	F("\x48\x0f\xbb\x0b", 0),
	F("\x0f\xab\x0b", 0),
	F("\x66\x0f\xb3\x0b", 0),
	F("\x0f\xc3\x13", 0),
	F("\x48\x0f\xc3\x13", 0),
	F("\x0f\x90\x03", 0),
	F("\x0f\x91\x03", 0),
	F("\x0f\x92\x03", 0),
	F("\x0f\x93\x03", 0),
	F("\x0f\x94\x03", 0),
	F("\x0f\x95\x03", 0),
	F("\x0f\x96\x03", 0),
	F("\x0f\x97\x03", 0),
	F("\x0f\x98\x03", 0),
	F("\x0f\x99\x03", 0),
	F("\x0f\x9a\x03", 0),
	F("\x0f\x9b\x03", 0),
	F("\x0f\x9c\x03", 0),
	F("\x0f\x9d\x03", 0),
	F("\x0f\x9e\x03", 0),
	F("\x0f\x9f\x03", 0),
	/* addressing: disp8, disp32, SIB with index, r9-based, address size 32 is below */
	F("\x48\x89\x53\x08", 0),
	F("\x48\x89\x93\x10\x00\x00\x00", 0),
	F("\x48\x89\x14\x33", 0),
	F("\x48\x89\x14\xf3", 0),
	F("\x49\x89\x11", 0),
	F("\x49\x89\x54\x31\x08", 0),
	F("\x4a\x89\x14\x23", 0),
	F("\x3e\x48\x89\x13", 0),
	S("\x48\xab"),
	S("\xab"),
	S("\x66\xab"),
	S("\xaa"),
	S("\xf3\x48\xab"),
	S("\xf3\xaa"),
	S("\xf3\xab"),
};

static uint64_t rnd(void)
{
	return (uint64_t)rand() << 40 ^ (uint64_t)rand() << 20 ^ (uint64_t)rand();
}

/* Small numbers and single bits make carries and comparisons happen. */
static uint64_t rnd_value(void)
{
	switch (rand() % 4) {
	case 0:
		return (uint64_t)(rand() % 5) - 2;
	case 1:
		return 1ull << (rand() % 64);
	default:
		return rnd();
	}
}

static uint8_t *native_code, *native_page;

static void random_registers(struct mm_guest *g, struct native *n, const struct form *f)
{
	struct core_regs *r = &g->c.v->regs;
	uint64_t off = 2048 + (uint64_t)(rand() % 8) * 8;

	for (unsigned int i = 0; i < 15; i++)
		r->gpr[i] = rnd_value();
	r->gpr[R_RSP] = 0;
	r->gpr[R_R15] = 0;
	r->gpr[R_RSI] = (uint64_t)(rand() % 8); /* indexes */
	r->gpr[R_R12] = (uint64_t)(rand() % 4) * 8;
	r->gpr[R_RCX] = (uint64_t)(rand() % 4096) - 2048; /* counts, bit indexes */
	if (f->string)
		r->gpr[R_RCX] = 1 + (uint64_t)(rand() % 12);
	if (rand() % 2)
		off += (uint64_t)(rand() % 8);
	r->gpr[R_RBX] = r->gpr[R_R9] = r->gpr[R_RDI] = off;
	r->rflags = 0x202 | (rnd() & ARITH) | (f->string && rand() % 2 ? 0x400 : 0);
	memcpy(n->gpr, r->gpr, sizeof(n->gpr));
	n->rflags = r->rflags;
	for (unsigned int i = 0; i < 3; i++) {
		static const unsigned int base[] = {R_RBX, R_R9, R_RDI};

		r->gpr[base[i]] += VA(TABLE);
		n->gpr[base[i]] += (uint64_t)(uintptr_t)native_page;
	}
	/* A compare that succeeds. */
	if (rand() % 2) {
		memcpy(&r->gpr[R_RAX], (uint8_t *)frame_at(g, TABLE) + off, 8);
		n->gpr[R_RAX] = r->gpr[R_RAX];
	}
}

/* The page faulted at the address of the first store; bit operations may reach elsewhere in it. */
static void one_native(struct mm_guest *g, const struct form *f)
{
	struct core_regs *r = &g->c.v->regs, before;
	struct native n = {.code = native_code};
	uint64_t *table = frame_at(g, TABLE), old_table[512];
	uint8_t code[32];
	unsigned int len = f->len;

	for (unsigned int i = 0; i < 512; i++) {
		/* Not present, so that nearly everything may be stored. */
		static const int step[] = {-1, 1};
		uint64_t valid = pte(100 + i % 100, P | U | G);

		table[i] = rnd() & ~1ull;
		if (rand() % 4 == 0) /* what not, inc and dec make present is valid */
			table[i] = rand() % 2 ? ~valid : valid + (uint64_t)step[rand() % 2];
	}
	memcpy(old_table, table, 4096);
	memcpy(native_page, table, 4096);
	memcpy(code, f->bytes, f->len);
	for (unsigned int i = 0; i < f->imm; i++)
		code[len++] = (uint8_t)rand();
	code[len] = 0xc3;
	put_code(g, code, len);
	memcpy(native_code, code, len + 1);
	random_registers(g, &n, f);
	r->rip = VA(CODE);
	before = *r;

	if (!fault(g, VA(TABLE) + 2048)) {
		assert_memory_equal(r, &before, sizeof(before));
		assert_memory_equal(table, old_table, 4096);
		return;
	}
	run_native(&n);
	if (r->rip == VA(CODE)) {
		/* A repetition that came to an entry it may not write: as far as it went. */
		assert_true(f->string && r->gpr[R_RCX] != 0);
		return;
	}
	assert_true(r->rip == VA(CODE) + len);
	for (unsigned int i = 0; i < 15; i++) {
		uint64_t want = n.gpr[i];

		if (i == R_RBX || i == R_R9 || i == R_RDI)
			want += VA(TABLE) - (uint64_t)(uintptr_t)native_page;
		if (i != R_RSP && r->gpr[i] != want)
			fail_msg("%02x %02x %02x: register %u is %lx, not %lx", code[0], code[1],
				 code[2], i, r->gpr[i], want);
	}
	if ((r->rflags ^ n.rflags) & ARITH)
		fail_msg("%02x %02x %02x: flags %lx, not %lx", code[0], code[1], code[2],
			 r->rflags & ARITH, n.rflags & ARITH);
	for (unsigned int i = 0; i < 512; i++) {
		uint64_t want;

		memcpy(&want, native_page + 8 * i, 8);
		want = table[i] == old_table[i] ? want : pte_adjust(want, 1);
		if (table[i] != want)
			fail_msg("%02x %02x %02x: entry %u is %lx, not %lx (was %lx)", code[0],
				 code[1], code[2], i, table[i], want, old_table[i]);
	}
}

static void like_the_processor(void **state)
{
	struct mm_guest *g = *state;
	unsigned int nr = sizeof(forms) / sizeof(forms[0]), done[sizeof(forms) / sizeof(forms[0])];

	native_code = mmap(NULL, 8192, PROT_READ | PROT_WRITE | PROT_EXEC,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	native_page =
		mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(native_code != MAP_FAILED && native_page != MAP_FAILED);
	native_page += 4096;
	srand(2);
	memset(done, 0, sizeof(done));
	for (unsigned int round = 0; round < 300; round++) {
		for (unsigned int i = 0; i < nr; i++) {
			one_native(g, &forms[i]);
			done[i] += g->c.v->regs.rip != VA(CODE);
			/* What one leaves as present entries the next overwrites behind the back of
			 * the core: start it afresh. */
			for (unsigned int k = 0; k < 512; k++) {
				if (frame_at(g, TABLE)[k] & P)
					assert_int_equal(update(g, TABLE, k, 0), 0);
			}
		}
	}
	check(g);
	/* Each form was really carried out, and often. */
	for (unsigned int i = 0; i < nr; i++) {
		if (done[i] < 5)
			fail_msg("form %u (%02x %02x) was emulated %u times only", i,
				 (uint8_t)forms[i].bytes[0], (uint8_t)forms[i].bytes[1], done[i]);
	}
	munmap(native_code, 8192);
	munmap(native_page - 4096, 3 * 4096);
}

/* Forms whose addresses cannot be the same natively. */
static void special_addresses(void **state)
{
	struct mm_guest *g = *state;
	struct core_regs *r = &g->c.v->regs;
	uint64_t at = VA(TABLE) + 0x100;
	uint8_t moffs[10] = {0x48, 0xa3};
	int32_t rel = (int32_t)(at - (VA(CODE) + 11));
	uint8_t rip_rel[11] = {0x48, 0xc7, 0x05, 0, 0, 0, 0, 0x78, 0x56, 0x34, 0x12};

	memcpy(moffs + 2, &at, 8);
	put_code(g, moffs, sizeof(moffs));
	r->gpr[R_RAX] = 0x1230;
	assert_true(fault(g, at));
	assert_int_equal(frame_at(g, TABLE)[32], 0x1230);
	assert_true(r->rip == VA(CODE) + 10);

	r->rip = VA(CODE);
	memcpy(rip_rel + 3, &rel, 4);
	put_code(g, rip_rel, sizeof(rip_rel));
	assert_true(fault(g, at));
	assert_int_equal(frame_at(g, TABLE)[32], 0x12345678);
	assert_true(r->rip == VA(CODE) + 11);

	r->rip = VA(CODE);
	r->gs_base = VA(TABLE);
	put_code(g, "\x65\x48\x89\x04\x25\x00\x01\x00\x00", 9); /* mov gs:0x100, rax */
	assert_true(fault(g, at));
	assert_int_equal(frame_at(g, TABLE)[32], 0x1230);

	/* push and pop, which move rsp as well; pop of what rsp itself addresses. */
	r->rip = VA(CODE);
	r->gpr[R_RSP] = at + 8;
	put_code(g, "\x50", 1);
	assert_true(fault(g, at));
	assert_int_equal(frame_at(g, TABLE)[32], 0x1230);
	assert_true(r->gpr[R_RSP] == at && r->rip == VA(CODE) + 1);
	r->rip = VA(CODE);
	r->gpr[R_RSP] = at + 8;
	put_code(g, "\x6a\xfe", 2);
	assert_true(fault(g, at));
	assert_true(frame_at(g, TABLE)[32] == ~1ull);
	r->rip = VA(CODE);
	r->gpr[R_RSP] = VA(100);
	r->gpr[R_RBX] = at;
	frame_at(g, 100)[0] = 0x4440;
	put_code(g, "\x8f\x03", 2);
	assert_true(fault(g, at));
	assert_int_equal(frame_at(g, TABLE)[32], 0x4440);
	assert_true(r->gpr[R_RSP] == VA(100) + 8);
	r->rip = VA(CODE);
	r->gpr[R_RSP] = at - 8;
	frame_at(g, TABLE)[31] = 0x5550;
	put_code(g, "\x8f\x04\x24", 3);
	assert_true(fault(g, at));
	assert_int_equal(frame_at(g, TABLE)[32], 0x5550);
	assert_true(r->gpr[R_RSP] == at);

	/* movs, forwards in one go, and from a source that is not there. */
	for (unsigned int i = 0; i < 16; i++)
		frame_at(g, 100)[i] = pte(300 + i, P | RW);
	r->rip = VA(CODE);
	r->gpr[R_RSI] = VA(100);
	r->gpr[R_RDI] = at;
	r->gpr[R_RCX] = 16;
	put_code(g, "\xf3\x48\xa5", 3);
	assert_true(fault(g, at));
	assert_int_equal(r->gpr[R_RCX], 0);
	assert_true(r->gpr[R_RSI] == VA(100) + 128 && r->gpr[R_RDI] == at + 128);
	assert_true(r->rip == VA(CODE) + 3);
	assert_int_equal(frame_at(g, TABLE)[47], pte(315, P | RW | U | GK));
	check(g);
	r->rip = VA(CODE);
	r->gpr[R_RSI] = VA(NR_PAGES);
	r->gpr[R_RDI] = at;
	r->gpr[R_RCX] = 1;
	assert_false(fault(g, at));
	/* A repetition stops at the end of the page, and at an entry that is refused. */
	r->gpr[R_RSI] = VA(100);
	r->gpr[R_RDI] = VA(TABLE) + 4088;
	r->gpr[R_RCX] = 2;
	assert_true(fault(g, VA(TABLE) + 4088));
	assert_int_equal(r->gpr[R_RCX], 1);
	assert_true(r->rip == VA(CODE));
	frame_at(g, 100)[3] = pte(BOOT_L1, P | RW);
	r->gpr[R_RSI] = VA(100);
	r->gpr[R_RDI] = at;
	r->gpr[R_RCX] = 16;
	assert_true(fault(g, at));
	assert_int_equal(r->gpr[R_RCX], 13);
	assert_false(fault(g, r->gpr[R_RDI]));
	check(g);
}

/* Present entries: references move, accessed and dirty bits are kept by read-modify-write. */
static void present_entries(void **state)
{
	struct mm_guest *g = *state;
	struct core_regs *r = &g->c.v->regs;
	uint64_t *e = frame_at(g, TABLE), at = VA(TABLE);

	assert_int_equal(update(g, TABLE, 0, pte(100, P | RW | U | A | D)), 0);
	r->gpr[R_RBX] = at;
	put_code(g, "\xf0\x48\x0f\xba\x33\x01", 6); /* lock btr [rbx], 1: no longer writable */
	assert_true(fault(g, at));
	assert_int_equal(e[0], pte(100, P | U | G | A | D));
	assert_true(r->rflags & 1);
	check(g);
	r->rip = VA(CODE);
	r->gpr[R_RAX] = 0;
	put_code(g, "\x48\x87\x03", 3); /* xchg [rbx], rax: get and clear */
	assert_true(fault(g, at));
	assert_int_equal(r->gpr[R_RAX], pte(100, P | U | G | A | D));
	assert_int_equal(e[0], 0);
	check(g);
	/* An accessed bit that was set in the meantime: nothing happens, it is tried again. */
	assert_int_equal(update(g, TABLE, 0, pte(100, P | RW)), 0);
	for (unsigned int i = 0; i < 3; i++) {
		struct mm_update u = {.table = TABLE, .compare = true, .expected = e[0] ^ A};

		u.pte = i == 0 ? 0 : i == 1 ? pte(100, P | RW | D) : pte(101, P | RW);
		assert_int_equal(mm_update_entry(&g->c, 1, &u), -XEN_EAGAIN);
		assert_int_equal(e[0], pte(100, P | RW | U | GK));
		check(g);
	}
	assert_int_equal(update(g, TABLE, 0, 0), 0);
	/* Half of an entry: the upper one makes no difference while it is not present. */
	r->rip = VA(CODE);
	r->gpr[R_RAX] = 0x80000000;
	r->gpr[R_RBX] = at + 4;
	put_code(g, "\x89\x03", 2);
	assert_true(fault(g, at + 4));
	assert_true(e[0] == PTE_NX);
	r->rip = VA(CODE);
	r->gpr[R_RAX] = (uint32_t)pte(100, P | RW);
	r->gpr[R_RBX] = at;
	assert_true(fault(g, at));
	assert_true(e[0] == (pte(100, P | RW | U | GK) | PTE_NX));
	check(g);
	/* One byte: present goes. */
	r->rip = VA(CODE);
	put_code(g, "\xc6\x03\x00", 3);
	assert_true(fault(g, at));
	check(g);
	assert_false(e[0] & P);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		PTWR_TEST(conditions),	       PTWR_TEST(other_pages),
		PTWR_TEST(invalid_entries),    PTWR_TEST(refused_instructions),
		PTWR_TEST(like_the_processor), PTWR_TEST(special_addresses),
		PTWR_TEST(present_entries),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
