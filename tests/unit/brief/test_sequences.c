/* SPDX-License-Identifier: MIT */
/*
 * Random programs of 5 to 30 steps, with jumps, calls and returns: at once, an instruction at a
 * time, with answers that are forgotten each time; beside the processor.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sys/mman.h>

#include "generate.h"

#define SLOT  64u /* bytes of a step */
#define STEPS 30u
#define PREP  21u /* bytes in front of the instruction that load its registers */

static uint8_t code[SLOT * (STEPS + 1)];
static uint64_t base;
static unsigned long nr_programs, nr_insns, nr_faults, nr_early;

struct out {
	uint8_t *p, *end;
};

static void put(struct out *o, const void *bytes, unsigned int len)
{
	if (len > (unsigned int)(o->end - o->p))
		abort();
	memcpy(o->p, bytes, len);
	o->p += len;
}

static void put32(struct out *o, uint64_t v)
{
	uint32_t w = (uint32_t)v;

	put(o, &w, 4);
}

/* mov $v, %reg */
static void load(struct out *o, unsigned int reg, uint64_t v)
{
	const uint8_t b[] = {0x48 | reg >> 3, 0xc7, 0xc0 | (reg & 7)};

	put(o, b, 3);
	put32(o, v);
}

static void nops(struct out *o, unsigned int len)
{
	static const uint8_t nop[9][8] = {
		{0},
		{0x90},
		{0x66, 0x90},
		{0x0f, 0x1f, 0x00},
		{0x0f, 0x1f, 0x40, 0x00},
		{0x0f, 0x1f, 0x44, 0x00, 0x00},
		{0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00},
		{0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00},
		{0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00},
	};

	for (; len; len -= len < 8 ? len : 8)
		put(o, nop[len < 8 ? len : 8], len < 8 ? len : 8);
}

static void load_operand(struct out *o, const struct insn *i)
{
	int b = insn_base(i), x = insn_index(i);

	if (x >= 0)
		load(o, (unsigned int)x, b >= 0 ? rnd() & 0xff : DATA >> (i->sib >> 6));
	if (b >= 0)
		load(o, (unsigned int)b,
		     b == x ? DATA / (1 + (1u << (i->sib >> 6))) : DATA + (rnd() & 0x3ff));
}

static bool is_plain(const struct insn *i, unsigned int kind)
{
	if (kind == BK_NATIVE || kind == BK_SYSCALL || (kind >= BK_JCC && kind <= BK_LEAVE))
		return false;
	/* (strings need registers of their own; the time is never the same) */
	return insn_class(i) != IC_STR && kind != BK_RDTSC && kind != BK_RDTSCP;
}

/* Any instruction that stays where it is. */
static void plain(struct out *o, uint64_t va)
{
	uint8_t *start = o->p;
	struct gen_insn t;

	do {
		while (!gen_insn(&t, rnd() & 1, rnd() & 0xff, va + PREP))
			;
	} while (!is_plain(&t.i, gen_kind(&t.i)));
	if (insn_has_mem(&t.i))
		load_operand(o, &t.i);
	nops(o, PREP - (unsigned int)(o->p - start));
	if (insn_class(&t.i) != IC_LEA && t.i.op == 0xf7 && (t.i.modrm >> 3 & 7) == 6 && !t.i.map) {
		o->p -= 2; /* a division that has a result, mostly */
		put(o, "\x31\xd2", 2);
	}
	put(o, t.bytes, t.len);
	if (undefined_flags(&t.i, gen_kind(&t.i)))
		put(o, "\x39\xc1", 2); /* cmp %eax, %ecx */
}

static void string(struct out *o)
{
	static const uint8_t ops[] = {0xa4, 0xa5, 0xaa, 0xab};
	uint64_t r = rnd();

	/* (an element across pages would be left to the processor, half way) */
	load(o, R_RDI, DATA + (r & 0x7f8) - 0x400);
	load(o, R_RSI, DATA + (r >> 16 & 0x7f8) - 0x400);
	load(o, R_RCX, r >> 32 & 0x7f);
	if (r & 1ull << 40)
		put(o, "\xf3", 1);
	if (r & 1ull << 41)
		put(o, "\x48", 1);
	put(o, &ops[r >> 42 & 3], 1);
}

static void stack(struct out *o)
{
	uint8_t reg = rnd() & 7;

	load(o, R_RSP, STACK + (rnd() & 0x78));
	switch (rnd() % 5) {
	case 0:
		put(o, (uint8_t[]){0x50 | reg}, 1);
		put(o, (uint8_t[]){0x41, 0x58 | (rnd() & 7)}, 2);
		break;
	case 1:
		put(o, (uint8_t[]){0x58 | reg}, 1);
		break;
	case 2:
		load(o, R_RBP, STACK - (rnd() & 0x3f8));
		put(o, "\xc9", 1);
		break;
	case 3:
		put(o, (uint8_t[]){0x6a, (uint8_t)rnd()}, 2);
		break;
	default: /* push 8(%rsp); push %rsp */
		put(o, "\xff\x74\x24\x08\x54", 5);
		break;
	}
}

/* To another step. */
static void flow(struct out *o, uint64_t va, uint64_t target)
{
	const uint8_t *start = o->p;
	uint64_t r = rnd();
	uint8_t reg = r & 7;

	load(o, R_RSP, STACK + (r >> 8 & 0x78));
#define RELATIVE() put32(o, target - (va + (uint64_t)(o->p - start) + 4))
	switch (r >> 20 & 7) {
	case 0:
	case 1:
	case 2:
		put(o, (uint8_t[]){0x0f, 0x80 | (r >> 24 & 15)}, 2);
		RELATIVE();
		break;
	case 3:
		put(o, (uint8_t[]){0x70 | (r >> 24 & 15), 2, 0xeb, 5}, 4); /* over the next jump */
		put(o, "\xe9", 1);
		RELATIVE();
		break;
	case 4:
		put(o, "\xe8", 1);
		RELATIVE();
		break;
	case 5:
		put(o, "\x68", 1);
		put32(o, target);
		put(o, r & 1ull << 32 ? "\xc3\x90\x90" : "\xc2\x10\x00", 3);
		break;
	default:
		load(o, reg, target);
		put(o, (uint8_t[]){0xff, (r & 1ull << 32 ? 0xe0 : 0xd0) | reg}, 2);
		break;
	}
#undef RELATIVE
}

/* Returns its length. */
static unsigned int program(void)
{
	unsigned int steps = 5 + rnd() % (STEPS - 4);

	for (unsigned int k = 0; k < steps; k++) {
		struct out o = {code + SLOT * k, code + SLOT * (k + 1)};
		uint64_t va = base + SLOT * k;
		unsigned int left = steps - k;

		switch (rnd() % 8) {
		case 0:
			stack(&o);
			break;
		case 1:
		case 2:
			flow(&o, va, va + SLOT * (1 + rnd() % (left < 4 ? left : 4)));
			break;
		case 3:
			if (rnd() & 1) {
				string(&o);
				break;
			}
			/* fall through */
		default:
			plain(&o, va);
			break;
		}
		nops(&o, (unsigned int)(o.end - o.p));
	}
	memset(code + SLOT * steps, INT3, SLOT);
	return SLOT * (steps + 1);
}

static void start_regs(struct core_regs *r)
{
	struct insn none;

	memset(&none, 0, sizeof(none));
	gen_regs(r, &none);
	r->rip = base;
}

/* In one go, or in many; to the same end. */
static enum brief_exit run(unsigned int how)
{
	enum brief_exit why;

	map_forgets = how & 2;
	if (!(how & 1))
		return brief_run(&B, 100000);
	do
		why = brief_run(&B, 1 + (how & 4 ? rnd() & 3 : 0));
	while (why == BRIEF_OVER);
	return why;
}

static bool one_program(unsigned int how)
{
	struct core_regs start, n;
	unsigned long before = B.executed;
	enum brief_exit why;
	struct outcome o;
	unsigned int len;
	bool ok;

	base = CODE + (rnd() & 0x1fff);
	len = program();
	rig_code(base, code, len);
	rig_random_memory();
	start_regs(&start);
	if (how & 8)
		rig_rights(rnd() & 1 ? DATA : DATA - 0x1000, 0x1000, rnd() & 1 ? PROT_READ : 0);
	R = n = start;
	why = run(how);
	nr_programs++;
	nr_insns += B.executed - before;
	if (why == BRIEF_NATIVE) {
		nr_early += *guest_ptr(R.rip) != INT3;
		ram_native[R.rip - GUEST_LOW] = INT3;
	}
	o = run_native(&n);
	if (how & 8)
		rig_rights(DATA - 0x1000, 0x2000, ALL_RIGHTS);
	if (why == BRIEF_NATIVE) {
		ok = o.sig == SIGTRAP;
		n.rip--;
	} else {
		nr_faults++;
		ok = why == BRIEF_FAULT && o.sig == SIGSEGV && o.addr == B.fault_va;
	}
	if (!ok)
		printf("another end: brief %d at %#lx, native signal %d at %#lx\n", why, R.rip,
		       o.sig, n.rip);
	/* (a page ends in plain()'s cmp: what it is to define was not yet) */
	ok &= same_registers(&R, &n,
			     (R.rip & 0xfff) == 0xfff && !memcmp(guest_ptr(R.rip), "\x39\xc1", 2)
				     ? FLAGS_UNDER
				     : 0);
	ok &= same_memory();
	if (!ok)
		printf("program at %#lx, end at %#lx\n", base, R.rip);
	return ok;
}

static void test_programs(void **state)
{
	const char *s = getenv("BRIEF_TRIES");
	unsigned int failures = 0;

	rig_begin();
	for (unsigned long k = s ? strtoul(s, NULL, 0) : 12000; k && failures < 10; k--) {
		uint64_t seed = rnd();

		rnd_seed(seed);
		if (!one_program(rnd() & rnd() & 15)) {
			printf("seed %#lx\n", seed);
			failures++;
		}
	}
	printf("%lu programs, %lu instructions, %lu faults, %lu left to the processor early\n",
	       nr_programs, nr_insns, nr_faults, nr_early);
	assert_int_equal(failures, 0);
	assert_true(nr_faults > nr_programs / 100);
	assert_true(nr_early < nr_programs / 4);
	assert_true(nr_insns > 50 * nr_programs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_programs),
	};

	if (!harness_init(0)) {
		printf("the address space is not free\n");
		return 77;
	}
	if (getenv("BRIEF_SEED"))
		rnd_seed(strtoull(getenv("BRIEF_SEED"), NULL, 0));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
