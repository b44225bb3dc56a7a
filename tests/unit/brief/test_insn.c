/* SPDX-License-Identifier: MIT */
/*
 * Every instruction that the interpreter knows, beside the processor: random registers, flags and
 * memory; also with pages that are absent or read-only. What it does not know it must leave alone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sys/mman.h>

#include "generate.h"

static unsigned long nr_run, nr_native, nr_fault, nr_elsewhere;
static unsigned long compiled[BK_NR], executed[BK_NR];
static unsigned int failures;

enum { DATA_RO = 1, DATA_ABSENT = 2, STACK_ABSENT = 4, STACK_RO = 8, HALF = 16 };

/* HALF: only from DATA on, so that operands lie astride. */
static void protect(unsigned int how, bool on)
{
	const uint64_t from = how & HALF ? DATA : DATA - AREA / 2,
		       len = how & HALF ? AREA / 2 : AREA;

	if (how & (DATA_RO | DATA_ABSENT))
		rig_rights(from, len, !on ? ALL_RIGHTS : how & DATA_RO ? PROT_READ : 0);
	if (how & (STACK_ABSENT | STACK_RO))
		rig_rights(STACK - STACK_AREA / 2, STACK_AREA,
			   !on			? ALL_RIGHTS
			   : how & STACK_ABSENT ? 0
						: PROT_READ);
}

static bool complain(const struct gen_insn *t, const char *what)
{
	show_bytes(what, t->bytes, t->len);
	return false;
}

/* The counter went on in between, by less than a second. */
static void same_time(unsigned int kind, struct core_regs *n)
{
	uint64_t was = R.gpr[R_RDX] << 32 | R.gpr[R_RAX], is = n->gpr[R_RDX] << 32 | n->gpr[R_RAX];

	if ((kind != BK_RDTSC && kind != BK_RDTSCP) || is - was > 1ull << 32)
		return;
	n->gpr[R_RAX] = R.gpr[R_RAX];
	n->gpr[R_RDX] = R.gpr[R_RDX];
	if (kind == BK_RDTSCP && !(R.gpr[R_RCX] >> 32))
		n->gpr[R_RCX] = R.gpr[R_RCX]; /* (this thread may have moved) */
}

/* It went to another instruction: is that where the processor goes? */
static bool like_native(const struct gen_insn *t, const struct core_regs *start, unsigned int how)
{
	struct core_regs n = *start;
	struct outcome o;

	protect(how, true);
	o = run_native(&n);
	protect(how, false);
	if (o.sig != SIGTRAP) {
		complain(t, "the processor faults");
		printf("  signal %d, address %#lx\n", o.sig, o.addr);
		return false;
	}
	n.rip--; /* int3 */
	same_time(gen_kind(&t->i), &n);
	if (!same_registers(&R, &n, undefined_flags(&t->i, gen_kind(&t->i))) || !same_memory())
		return complain(t, "executed otherwise");
	return true;
}

static bool fault_like_native(const struct gen_insn *t, const struct core_regs *start,
			      unsigned int how)
{
	struct core_regs n = *start;
	struct outcome o;

	nr_fault++;
	protect(how, true);
	o = run_native(&n);
	protect(how, false);
	if (o.sig != SIGSEGV || o.addr != B.fault_va ||
	    (o.error & PF_WRITE_BIT) != (B.fault_error & PF_WRITE_BIT)) {
		complain(t, "another fault");
		printf("  brief: error %#x, address %#lx\n  native: signal %d, error %#x, address "
		       "%#lx\n",
		       B.fault_error, B.fault_va, o.sig, o.error, o.addr);
		return false;
	}
	if (!same_registers(&R, &n, 0) || !same_memory())
		return complain(t, "state at the fault");
	/* (but for strings, which may be half way) */
	if (insn_class(&t->i) != IC_STR &&
	    (!same_registers(&R, start, 0) || !memory_untouched("the fault")))
		return complain(t, "not as before the faulting instruction");
	return true;
}

static bool run_one(const struct gen_insn *t, const struct core_regs *start, unsigned int how)
{
	const bool string = insn_class(&t->i) == IC_STR;
	unsigned int kind = gen_kind(&t->i);
	unsigned long before;
	enum brief_exit why;

	rig_code(start->rip, t->bytes, t->len);
	rig_random_memory();
	protect(how, true);
	memory_untouched(NULL);
	R = *start;
	before = B.executed;
	do
		why = brief_run(&B, 1);
	while (string && why == BRIEF_OVER && R.rip == start->rip);
	protect(how, false);
	nr_run++;
	compiled[kind]++;
	if (!string && B.executed - before != (why == BRIEF_OVER || why == BRIEF_SYSCALL))
		return complain(t, "miscounted");
	switch (why) {
	case BRIEF_NATIVE:
		nr_native++;
		if (!string &&
		    (!same_registers(&R, start, 0) || !memory_untouched("left to the processor")))
			return complain(t, "not as before");
		return true;
	case BRIEF_SYSCALL:
		if (t->bytes[0] != 0x0f || t->bytes[1] != 5)
			return complain(t, "a system call");
		return true;
	case BRIEF_FAULT:
		return fault_like_native(t, start, how);
	default:
		break;
	}
	if (kind == BK_NATIVE)
		return complain(t, "executed although not known");
	executed[kind]++;
	/* the processor would go on there */
	if (R.rip - CODE >= 4096 * CODE_PAGES || R.rip - start->rip < t->len) {
		nr_elsewhere++;
		return true;
	}
	return like_native(t, start, how);
}

static void one_opcode(unsigned int map, unsigned int op, unsigned int tries, bool faults)
{
	for (unsigned int k = 0; k < tries && failures < 20; k++) {
		uint64_t seed = rnd(), va = CODE;
		struct core_regs start;
		struct gen_insn t;
		unsigned int how = 0;
		bool ok;

		rnd_seed(seed);
		/* also across the end of the page, or just in front of it */
		va += rnd() & 7 ? 0x800 : 0x1000 - 1 - rnd() % 15;
		if (!gen_insn(&t, map, op, va))
			continue;
		gen_regs(&start, &t.i);
		start.rip = va;
		if (faults)
			how = 1 + rnd() % 31;
		if (!(rnd() & 0xff))
			rig_fresh();
		map_forgets = !(rnd() & 7);
		ok = run_one(&t, &start, how);
		/* (what it compares with comes true seldom enough) */
		if (ok && t.i.map == 1 && (t.i.op & 0xfe) == 0xb0 && !how &&
		    insn_base(&t.i) != R_RAX && insn_index(&t.i) != R_RAX) {
			start.gpr[R_RAX] = R.gpr[R_RAX];
			rnd_seed(seed);
			ok = run_one(&t, &start, how);
		}
		if (!ok) {
			printf("  seed %#lx, how %u\n", seed, how);
			failures++;
		}
	}
}

static unsigned int tries(unsigned int usual)
{
	const char *s = getenv("BRIEF_TRIES");

	return s ? (unsigned int)atoi(s) : usual;
}

static void all_opcodes(unsigned int nr, bool faults)
{
	rig_begin();
	failures = 0;
	nr_run = nr_native = nr_fault = nr_elsewhere = 0;
	for (unsigned int op = 0; op < 256; op++)
		for (unsigned int map = 0; map < 2; map++)
			one_opcode(map, op, op == 0xff || op == 0xf7 ? 4 * nr : nr, faults);
	printf("%lu instructions, %lu left to the processor, %lu faults, %lu jumps elsewhere\n",
	       nr_run, nr_native, nr_fault, nr_elsewhere);
	assert_int_equal(failures, 0);
}

static void test_values(void **state)
{
	unsigned int nr = 0;

	all_opcodes(tries(200), false);
	assert_true(nr_run - nr_native > nr_run / 4);
	/* nothing that is known was left out */
	for (unsigned int k = 0; k < BK_NR; k++) {
		if (k == BK_NATIVE || k == BK_SYSCALL || !compiled[k])
			continue;
		if (!executed[k])
			printf("kind %u: never executed\n", k);
		assert_true(executed[k] > 0);
		nr++;
	}
	printf("%u kinds of operations\n", nr);
	assert_true(nr > 200);
}

static void test_faults(void **state)
{
	all_opcodes(tries(40), true);
	assert_true(nr_fault > nr_run / 10);
}

/* Counts of all sizes, from 0 on: flags that are undefined are the same, too. */
static void test_shifts(void **state)
{
	static const uint8_t ops[] = {0xc0, 0xc1, 0xd0, 0xd1, 0xd2, 0xd3};

	rig_begin();
	failures = 0;
	for (unsigned int k = 0; k < sizeof(ops); k++)
		one_opcode(0, ops[k], tries(3000), false);
	assert_int_equal(failures, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_shifts),
	};

	if (!harness_init(0)) {
		printf("the address space is not free\n");
		return 77;
	}
	if (getenv("BRIEF_SEED"))
		rnd_seed(strtoull(getenv("BRIEF_SEED"), NULL, 0));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
