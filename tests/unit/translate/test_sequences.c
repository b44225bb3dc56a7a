/* SPDX-License-Identifier: MIT */
/*
 * Random sequences of instructions, translated and native side by side: what one instruction leaves
 * is what the next one finds, code crosses a page, memory is missing or read-only page by page
 * (also in the middle of an operand or of a string), branches and calls lead into the middle,
 * stores change the instructions that follow. Registers, flags, vector state and all memory must be
 * the same at the end, or at the fault that ended it.
 *
 * XLATE_SEQUENCES=n tries so many, XLATE_SEED=n begins elsewhere.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sys/mman.h>

#include "random_insn.h"

#define MAX_INSNS  16
#define WINDOW_END (0x800000000000ull - XLATE_SHIFT) /* of low addresses; then user memory */
#define END	   (CODE + 0x6000) /* where all of them end; the only code that differs */
#define EDGE	   (CODE + 0x1000) /* the code lies across it */

struct sequence {
	uint8_t code[512];
	unsigned int len, nr;
	unsigned int at[MAX_INSNS + 1]; /* where each unit begins, for branches */
	uint64_t start;
	bool string67;
	struct core_regs regs;
};

static unsigned long nr_run, nr_fault, nr_patched, nr_retired;

static void put(struct sequence *s, const void *src, unsigned int len)
{
	memcpy(s->code + s->len, src, len);
	s->len += len;
}

/* mov r, imm64 (or imm32 where that does) */
static void put_mov(struct sequence *s, unsigned int r, uint64_t v)
{
	uint8_t b[10] = {(uint8_t)(0x48 | r >> 3), (uint8_t)(0xb8 | (r & 7))};

	memcpy(b + 2, &v, 8);
	put(s, b, 10);
}

/* An address in the data area, some of them at the edge of a page. */
static uint64_t data_address(void)
{
	if (rnd() & 3)
		return DATA - 0x1000 + (rnd() & 0x1fff);
	return DATA - 0x1000 + (rnd() & 0x1000) - (rnd() & 0x47);
}

/* A random instruction, mostly with registers that make its operand accessible. */
static void put_insn(struct sequence *s)
{
	static const uint8_t maps[] = {0, 0, 0, 0, 1, 1, 1, 2, 3};
	struct test_insn t;
	int enc, b = -1, x;

	do {
		unsigned int map, which = rnd() & 15;

		enc = which < 11   ? IE_LEGACY
		      : which < 12 ? IE_VEX2
		      : which < 14 ? IE_VEX3
				   : IE_EVEX;
		map = enc == IE_LEGACY ? maps[rnd() % sizeof(maps)]
		      : enc == IE_VEX2 ? 1
				       : 1 + rnd() % (enc == IE_VEX3 ? 3 : 6);
		/* (what saves the x87 environment shows addresses: test_exits.c has those) */
		if (random_insn(&t, enc, map, rnd() & 0xff) && !insn_saves_x87(&t.i))
			break;
	} while (1);
	/* rip-relative operands were made for code at CODE */
	if (insn_rip_relative(&t.i)) {
		uint64_t next = s->start + s->len + t.len;
		int32_t d = (int32_t)(data_address() - next);

		memcpy(t.bytes + t.i.o_disp, &d, 4);
	}
	if (rnd() & 7) {
		b = insn_has_mem(&t.i) ? insn_base(&t.i) : -1;
		x = insn_has_mem(&t.i) && !(t.i.desc & ID_VSIB) ? insn_index(&t.i) : -1;
		if (insn_class(&t.i) == IC_STR) {
			put_mov(s, R_RDI, data_address());
			put_mov(s, R_RSI, data_address());
			if (t.i.rep)
				put_mov(s, R_RCX, rnd() & 0x7ff);
		}
		if (x >= 0 && x != R_RSP)
			put_mov(s, (unsigned int)x, rnd() & 0xff);
		if (b >= 0 && b != R_RSP)
			put_mov(s, (unsigned int)b, data_address());
	}
	/* (random bit numbers reach what native code has elsewhere) */
	if (insn_has_mem(&t.i) && insn_bit_string(&t.i) && (int)insn_reg(&t.i) != b &&
	    insn_reg(&t.i) != R_RSP)
		put_mov(s, insn_reg(&t.i), rnd() & 0x3fff);
	s->string67 |= insn_class(&t.i) == IC_STR && t.i.p67;
	put(s, t.bytes, t.len);
}

/* Stores in a row by the same base register: the translator makes their addresses together. */
static void put_stores(struct sequence *s)
{
	static const uint8_t ops[] = {0x88, 0x89, 0x89, 0xc6, 0xc7};
	unsigned int n = 3 + rnd() % 6, base = rnd() & 15, x, k;

	if (base == R_RSP)
		base = R_RDI;
	put_mov(s, base, data_address());
	x = rnd() & 15;
	if (x != base && x != R_RSP)
		put_mov(s, x, rnd() & 0x1f);
	for (k = 0; k < n; k++) {
		uint8_t b[16];
		unsigned int len = 0, op = ops[rnd() % sizeof(ops)], reg = rnd() & 15;
		bool sib = (base & 7) == R_RSP || !(rnd() & 3);
		unsigned int index = sib && x != R_RSP && rnd() & 1 ? x : R_RSP;
		uint64_t v = rnd();

		if (op >= 0xc6)
			reg = 0;
		if (!(rnd() & 7))
			b[len++] = 0x66;
		b[len] = (uint8_t)(0x40 | (rnd() & 1) << 3 | reg >> 3 << 2 | index >> 3 << 1 |
				   base >> 3);
		if (b[len] != 0x40 || rnd() & 1)
			len++;
		b[len++] = (uint8_t)op;
		b[len++] = (uint8_t)(0x40 | (reg & 7) << 3 | (sib ? 4 : base & 7));
		if (sib)
			b[len++] = (uint8_t)((rnd() & 3) << 6 | (index & 7) << 3 | (base & 7));
		b[len++] = (uint8_t)rnd();
		memcpy(b + len, &v, 8);
		if (op == 0xc6)
			len++;
		else if (op == 0xc7)
			len += b[0] == 0x66 && !(b[1] >= 0x48 && b[1] < 0x50) ? 2 : 4;
		put(s, b, len);
	}
}

/* jcc, jmp, loop or jrcxz over the next unit: returns where its displacement is */
static unsigned int put_branch(struct sequence *s)
{
	static const uint8_t ops[] = {0xe0, 0xe1, 0xe2, 0xe3, 0xeb};
	uint8_t b[2] = {rnd() & 3 ? (uint8_t)(0x70 | (rnd() & 15)) : ops[rnd() % 5], 0};

	if (!(rnd() & 15) && b[0] < 0xeb && b[0] >= 0xe0)
		put(s, "\x67", 1); /* ecx counts */
	put(s, b, 2);
	return s->len - 1;
}

/* Ways to get to the next unit: they leave their traces on the stack and in registers. */
static void put_transfer(struct sequence *s)
{
	unsigned int fix = 0, below, r = rnd() & 1 ? R_R11 : R_RBX;
	uint8_t b[16];
	uint32_t v;

	switch (rnd() % 6) {
	case 0: /* call; the address stays on the stack */
		put(s, "\xe8\0\0\0\0", 5);
		below = 8;
		break;
	case 1: /* push imm32; ret */
		put(s, "\x68", 1);
		fix = s->len;
		put(s, "\0\0\0\0\xc3", 5);
		below = 8;
		break;
	case 2: /* the same with ret 16 */
		put(s, "\x68", 1);
		fix = s->len;
		put(s, "\0\0\0\0\xc2\x10\0", 7);
		below = 24;
		break;
	case 3: /* mov r, imm; jmp or call r */
		b[0] = (uint8_t)(0x40 | r >> 3);
		b[1] = 0xff;
		b[2] = (uint8_t)((rnd() & 1 ? 0xe0 : 0xd0) | (r & 7));
		put_mov(s, r, 0);
		fix = s->len - 8;
		put(s, b, 3);
		below = 8;
		break;
	case 4: /* mov dword [rsp - 8], imm; mov dword [rsp - 4], 0; call or jmp [rsp - 8] */
		put(s, "\xc7\x44\x24\xf8", 4);
		fix = s->len;
		put(s, "\0\0\0\0\xc7\x44\x24\xfc\0\0\0\0\xff", 13);
		b[0] = rnd() & 1 ? 0x64 : 0x54;
		b[1] = 0x24;
		b[2] = 0xf8;
		put(s, b, 3);
		below = 8;
		break;
	default: /* call forth; jmp over; forth: ret */
		put(s, "\xe8\2\0\0\0\xeb\1\xc3", 8);
		below = 8;
	}
	v = (uint32_t)(s->start + s->len);
	if (fix)
		memcpy(s->code + fix, &v, 4);
	/* mov qword [rsp - below], imm: that word shows a host address (doc/ring3.md) */
	b[0] = 0x48;
	b[1] = 0xc7;
	b[2] = 0x44;
	b[3] = 0x24;
	b[4] = (uint8_t)-below;
	v = (uint32_t)rnd();
	memcpy(b + 5, &v, 4);
	put(s, b, 9);
}

/* A store into the instruction behind it (mov eax, imm32), or into the one behind that. */
static void put_patch(struct sequence *s)
{
	uint64_t target;
	uint8_t mov[11] = {0xc7, 0x04, 0x25}, nops[8];
	unsigned int gap = rnd() & 7;
	uint32_t v;

	memset(nops, 0x90, sizeof(nops));
	target = s->start + s->len + 11 + gap + 1;
	v = (uint32_t)target;
	memcpy(mov + 3, &v, 4);
	v = (uint32_t)rnd();
	memcpy(mov + 7, &v, 4);
	put(s, mov, 11);
	put(s, nops, gap);
	put(s, "\xb8\x11\x22\x33\x44", 5);
	nr_patched++;
}

static void make_sequence(struct sequence *s)
{
	unsigned int n = 2 + rnd() % (MAX_INSNS - 2), k, over = 0;
	uint32_t rel;

	memset(s, 0, sizeof(*s));
	s->start = EDGE - rnd() % 120;
	for (k = 0; k < n && s->len < 340; k++) {
		unsigned int begin = s->len;

		s->at[s->nr++] = begin;
		switch (rnd() % 10) {
		case 0:
			put_transfer(s);
			break;
		case 1:
			if (!over) {
				over = put_branch(s);
				continue;
			}
			put_insn(s);
			break;
		case 2:
			if (!(rnd() & 3)) {
				put_patch(s);
				break;
			}
			/* fall through */
		case 3:
			if (!(rnd() & 3)) {
				put_stores(s);
				break;
			}
			/* fall through */
		default:
			put_insn(s);
			break;
		}
		if (over && s->len - over - 1 < 0x80)
			s->code[over] = (uint8_t)(s->len - over - 1);
		over = 0;
	}
	rel = (uint32_t)(END - (s->start + s->len + 5));
	put(s, "\xe9", 1);
	put(s, &rel, 4);
}

static void start_regs(struct sequence *s)
{
	struct core_regs *r = &s->regs;
	unsigned int k;

	memset(r, 0, sizeof(*r));
	for (k = 0; k < 16; k++)
		r->gpr[k] = rnd() & 1 ? rnd() : data_address();
	r->gpr[R_RSP] = STACK + (rnd() & 0x7f);
	r->gs_base = rnd() & 0x7f8;
	r->fs_base = rnd() & 0x7f8;
	r->rflags = 0x202 | (rnd() & 0x8d5) | (rnd() & 3 ? 0 : 0x400);
	r->rip = s->start;
}

static void random_memory(void)
{
	static const uint64_t area[2][2] = {{DATA - 0x3000, 0x6000}, {STACK - 0x2000, 0x4000}};
	unsigned int a;
	uint64_t k;

	for (a = 0; a < 2; a++)
		for (k = 0; k < area[a][1]; k += 8) {
			uint64_t v = rnd() & 7 ? rnd() : data_address();

			memcpy(guest_ptr(area[a][0] + k), &v, 8);
			memcpy(ram_native + (area[a][0] + k - GUEST_LOW), &v, 8);
		}
}

/* Which pages are there: 4 of data, the lower one of the stack. */
static void set_pages(unsigned int how, bool back)
{
	static const int rights[4] = {ALL_RIGHTS, ALL_RIGHTS, PROT_READ, 0};
	unsigned int k;

	if (how == 0)
		return;
	for (k = 0; k < 4; k++)
		if (rights[how >> 2 * k & 3] != ALL_RIGHTS)
			set_rights(DATA - 0x2000 + 0x1000 * k, 0x1000,
				   back ? ALL_RIGHTS : rights[how >> 2 * k & 3]);
	if (!(how >> 8 & 7))
		set_rights(STACK - 0x1000, 0x1000, back ? ALL_RIGHTS : 0);
}

static void print_sequence(const struct sequence *s, const char *what)
{
	unsigned int k;

	printf("%s: at %#lx\n", what, s->start);
	for (k = 0; k < s->len; k++)
		printf("%02x ", s->code[k]);
	printf("\n");
}

/* Is this byte part of a host address, which a return has left below the stack pointer? */
static bool left_by_return(const uint8_t *p)
{
	unsigned int k;
	uint64_t v;

	for (k = 0; k < 8; k++) {
		memcpy(&v, p - k, 8);
		if (v - XLATE_CACHE < XLATE_CACHE_SIZE_MAX)
			return true;
	}
	return false;
}

static bool same_range(uint64_t gva, uint64_t len, const char *what)
{
	const uint8_t *g = guest_ptr(gva), *n = ram_native + (gva - GUEST_LOW);
	uint64_t k;

	for (k = 0; k < len; k++)
		if (g[k] != n[k] && !left_by_return(g + k)) {
			printf("%s at %#lx: guest %02x native %02x\n", what, gva + k, g[k], n[k]);
			return false;
		}
	return true;
}

static bool same_all(const struct sequence *s, const struct core_regs *n, bool fault)
{
	bool ok = true;
	unsigned int k;

	for (k = 0; k < 16; k++)
		/* (string instructions with a prefix 67: the upper halves at a fault, see
		 * doc/ring3.md) */
		if (R.gpr[k] != n->gpr[k] &&
		    !(fault && s->string67 && (uint32_t)R.gpr[k] == (uint32_t)n->gpr[k])) {
			printf("register %u: guest %#lx native %#lx\n", k, R.gpr[k], n->gpr[k]);
			ok = false;
		}
	if ((R.rflags ^ n->rflags) & 0xcd5) {
		printf("flags: guest %#lx native %#lx\n", R.rflags & 0xcd5, n->rflags & 0xcd5);
		ok = false;
	}
	if (fault && R.rip != n->rip) {
		printf("rip: guest %#lx native %#lx\n", R.rip, n->rip);
		ok = false;
	}
	ok &= same_range(DATA - 0x3000, 0x6000, "data");
	ok &= same_range(EDGE - 0x200, 0x600, "code");
	return ok;
}

/* Native code must not find the translator's own memory, let alone write to it. */
static void hide_translator(bool hide)
{
	struct xlate_area areas[XLATE_NR_AREAS];
	unsigned int k;

	xlate_areas(areas, 0);
	for (k = 0; k < XLATE_NR_AREAS; k++)
		if (areas[k].size)
			mprotect((void *)(uintptr_t)areas[k].addr, areas[k].size,
				 hide ? PROT_NONE
				      : PROT_READ | PROT_WRITE | (areas[k].exec ? PROT_EXEC : 0));
}

static bool run_sequence(struct sequence *s)
{
	static uint8_t fx[FPU_SIZE] __attribute__((aligned(64)));
	static uint8_t fg[FPU_SIZE] __attribute__((aligned(64)));
	static uint8_t fn[FPU_SIZE] __attribute__((aligned(64)));
	static const struct insn plain;
	struct core_regs n = s->regs;
	struct outcome og, on;
	unsigned int how = rnd() & 1 ? (unsigned int)rnd() & 0x7ff : 0;
	uint8_t page[0x600];
	unsigned int k;
	bool fault, ok;

	random_memory();
	random_fpu(fx, &plain);
	memset(page, 0xcc, sizeof(page));
	memcpy(page + (s->start - (EDGE - 0x200)), s->code, s->len);
	poke(EDGE - 0x200, page, sizeof(page));
	R = s->regs;
	set_pages(how, false);
	fpu_load(fx);
	og = run_guest();
	fpu_save(fg);
	fpu_load(fx);
	hide_translator(true);
	on = run_native(&n);
	hide_translator(false);
	fpu_save(fn);
	set_pages(how, true);
	nr_run++;
	/* what native code reached in this process is not the guest's memory */
	if (og.addr >= GUEST_LOW - 0x1000 && og.addr < GUEST_LOW)
		return true;
	if (og.sig == SIGSEGV && !og.addr && on.sig != SIGSEGV && on.sig != SIGBUS)
		return true; /* (not canonical plus the shift, or the other way round) */
	fault = on.exit != XLATE_HYPERCALL;
	if (fault != (og.exit != XLATE_HYPERCALL)) {
		print_sequence(s, fault ? "only native faults" : "only the guest faults");
		printf("guest: exit %d signal %d addr %#lx rip %#lx; native: signal %d addr %#lx "
		       "rip %#lx\n",
		       og.exit, og.sig, og.addr, R.rip, on.sig, on.addr, n.rip);
		return false;
	}
	if (!fault) {
		R.gpr[R_RCX] = n.gpr[R_RCX];
		R.gpr[R_R11] = n.gpr[R_R11];
	} else {
		nr_fault++;
		/* (calls and pushes with a stack in user memory: #SS instead of #PF) */
		if (on.sig == SIGSEGV && on.addr && og.addr != on.addr &&
		    !(og.vector == 12 && on.addr >= WINDOW_END)) {
			print_sequence(s, "different fault addresses");
			printf("guest: exit %d %#lx rip %#lx, native %#lx rip %#lx\n", og.exit,
			       og.addr, R.rip, on.addr, n.rip);
			return false;
		}
	}
	nr_retired += s->nr;
	ok = same_all(s, &n, fault);
	scrub_fpu(fg);
	scrub_fpu(fn);
	for (k = 0; k < FPU_SIZE; k++)
		if (fg[k] != fn[k]) {
			printf("vector state at %u: guest %02x native %02x\n", k, fg[k], fn[k]);
			ok = false;
			break;
		}
	if (!ok)
		print_sequence(s, "differs");
	return ok;
}

static void test_sequences(void **state)
{
	const char *tries = getenv("XLATE_SEQUENCES"), *first = getenv("XLATE_SEED");
	unsigned long n = tries ? strtoul(tries, NULL, 0) : 3000, k, failures = 0;
	uint64_t seed = first ? strtoull(first, NULL, 0) : 1;

	harness_begin();
	/* Nothing else is there: what one sequence leaves elsewhere must not matter to the next. */
	set_rights(GUEST_LOW, GUEST_SIZE, 0);
	set_rights(DATA - 0x3000, 0x6000, ALL_RIGHTS);
	set_rights(STACK - 0x2000, 0x4000, ALL_RIGHTS);
	set_rights(EDGE - 0x1000, 0x2000, ALL_RIGHTS);
	set_rights(END, 0x1000, ALL_RIGHTS);
	poke(END, "\x0f\x05", 2);
	memcpy(ram_native + (END - GUEST_LOW), native_end_code, 8);
	for (k = 0; k < n && failures < 10; k++, seed++) {
		static struct sequence s;

		rnd_seed(seed);
		make_sequence(&s);
		start_regs(&s);
		if (k % 50 == 0) /* or all pages would be verified for being rewritten so often */
			harness_reset();
		if (!run_sequence(&s)) {
			printf("XLATE_SEED=%lu XLATE_SEQUENCES=1\n", seed);
			failures++;
		}
	}
	printf("%lu sequences, %lu ended with a fault, %lu changed themselves\n", nr_run, nr_fault,
	       nr_patched);
	assert_int_equal(failures, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_sequences)};

	if (!VECTORS_COMPARED) {
		printf("skipped: native code with random addresses would write to ASan's shadow\n");
		return 77;
	}
	if (!harness_init(0))
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
