/* SPDX-License-Identifier: MIT */
/*
 * Every instruction form, translated and native side by side: random registers, flags, vector state
 * and memory; also with the memory not accessible, so that faults are compared as well. The
 * encodings come from the decode tables themselves: each valid (map, opcode, prefix, W, ModRM
 * class) is visited several times with random operands.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sys/mman.h>

#include "random_insn.h"

static unsigned long nr_run, nr_fault, nr_ud;

static void random_memory(void)
{
	uint8_t *g = guest_ptr(DATA - AREA / 2);
	unsigned int k;

	for (k = 0; k < AREA; k += 8) {
		uint64_t v = rnd();

		memcpy(g + k, &v, 8);
	}
	memcpy(ram_native + (DATA - AREA / 2 - GUEST_LOW), g, AREA);
	g = guest_ptr(STACK - 0x1000);
	for (k = 0; k < 0x2000; k += 8) {
		uint64_t v = rnd() & 3 ? rnd() : DATA + (rnd() & 0x3f8);

		memcpy(g + k, &v, 8);
	}
	memcpy(ram_native + (STACK - 0x1000 - GUEST_LOW), g, 0x2000);
}

static bool same_memory(const struct test_insn *t)
{
	const uint8_t *g = guest_ptr(DATA - AREA / 2);
	const uint8_t *n = ram_native + (DATA - AREA / 2 - GUEST_LOW);
	unsigned int k;

	for (k = 0; k < AREA; k++)
		if (g[k] != n[k]) {
			show_insn(t, "memory differs");
			printf("  at %#lx: guest %02x native %02x\n", DATA - AREA / 2 + k, g[k],
			       n[k]);
			return false;
		}
	g = guest_ptr(STACK - 0x1000);
	n = ram_native + (STACK - 0x1000 - GUEST_LOW);
	for (k = 0; k < 0x2000; k++)
		if (g[k] != n[k]) {
			show_insn(t, "stack differs");
			printf("  at %#lx: guest %02x native %02x\n", STACK - 0x1000 + k, g[k],
			       n[k]);
			return false;
		}
	return true;
}

static bool same_regs(const struct test_insn *t, const struct core_regs *n, bool fault)
{
	static const char *names[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
					"r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
	const uint64_t m = 0xcd5;
	bool ok = true;
	unsigned int k;

	for (k = 0; k < 16; k++)
		if (R.gpr[k] != n->gpr[k]) {
			if (ok)
				show_insn(t, fault ? "registers differ at the fault"
						   : "registers differ");
			printf("  %s: guest %#lx native %#lx\n", names[k], R.gpr[k], n->gpr[k]);
			ok = false;
		}
	if ((R.rflags & m) != (n->rflags & m)) {
		show_insn(t, "flags differ");
		printf("  guest %#lx native %#lx\n", R.rflags & m, n->rflags & m);
		ok = false;
	}
	if (fault && R.rip != n->rip) {
		show_insn(t, "rip differs at the fault");
		printf("  guest %#lx native %#lx\n", R.rip, n->rip);
		ok = false;
	}
	return ok;
}

/* 0: all accessible; 1: data read-only, 2: data absent; + 4: the stack's lower page absent */
static void protect_areas(unsigned int how)
{
	if (how & 3)
		set_rights(DATA - AREA / 2, AREA, how & 1 ? PROT_READ : 0);
	if (how & 4)
		set_rights(STACK - 0x1000, 0x1000, 0);
}

static void unprotect_areas(unsigned int how)
{
	if (how & 3)
		set_rights(DATA - AREA / 2, AREA, ALL_RIGHTS);
	if (how & 4)
		set_rights(STACK - 0x1000, 0x1000, ALL_RIGHTS);
}

static bool run_one(const struct test_insn *t, const struct core_regs *start, uint64_t seed,
		    unsigned int how)
{
	static uint8_t fx[FPU_SIZE] __attribute__((aligned(64)));
	static uint8_t fg[FPU_SIZE] __attribute__((aligned(64)));
	static uint8_t fn[FPU_SIZE] __attribute__((aligned(64)));
	struct core_regs n = *start;
	struct outcome og, on;
	uint8_t code[32];
	bool fault;

	rnd_seed(seed);
	random_memory();
	random_fpu(fx, &t->i);
	memcpy(code, t->bytes, t->len);
	memcpy(code + t->len, "\x0f\x05", 2);
	poke(CODE, code, t->len + 2);
	memcpy(ram_native + (CODE - GUEST_LOW) + t->len, native_end_code, 8);

	R = *start;
	protect_areas(how);
	fpu_load(fx);
	og = run_guest();
	fpu_save(fg);
	fpu_load(fx);
	on = run_native(&n);
	fpu_save(fn);
	unprotect_areas(how);
	nr_run++;
	if (og.exit == XLATE_FETCH_FAULT) {
		show_insn(t, "fetch fault");
		return false;
	}
	/* the oracle shares its address space with the translator's own areas */
	if (og.sig == SIGSEGV && og.addr >= XLATE_VCPU && og.addr < XLATE_META + XLATE_META_SIZE)
		return true;
	fault = on.exit != XLATE_HYPERCALL;
	if (og.exit == XLATE_HYPERCALL) { /* the hypercall itself clobbers these */
		if (fault) {
			show_insn(t, "only native faults");
			printf("  signal %d addr %#lx\n", on.sig, on.addr);
			return false;
		}
		R.gpr[R_RCX] = n.gpr[R_RCX];
		R.gpr[R_R11] = n.gpr[R_R11];
		/* ... so compare them through a second run, below */
	} else if (!fault) {
		show_insn(t, "only the guest faults");
		printf("  exit %d signal %d addr %#lx\n", og.exit, og.sig, og.addr);
		return false;
	} else {
		nr_fault++;
		if (og.exit == XLATE_UD || og.sig == SIGILL) {
			nr_ud++;
			if (on.sig != SIGILL) {
				show_insn(t, "guest #UD, native not");
				printf("  native signal %d\n", on.sig);
				return false;
			}
		} else if (og.sig != on.sig && !(og.sig == SIGSEGV && on.sig == SIGBUS) &&
			   !(og.sig == SIGBUS && on.sig == SIGSEGV)) {
			show_insn(t, "different signals");
			printf("  guest %d (exit %d) native %d\n", og.sig, og.exit, on.sig);
			return false;
		} else if (on.addr && og.addr != on.addr) {
			show_insn(t, "different fault addresses");
			printf("  guest %#lx native %#lx\n", og.addr, on.addr);
			return false;
		}
	}
	if (!same_regs(t, &n, fault) || !same_memory(t))
		return false;
	scrub_fpu(fg);
	scrub_fpu(fn);
	if (VECTORS_COMPARED && memcmp(fg, fn, FPU_SIZE)) {
		show_insn(t, "vector state differs");
		return false;
	}
	return true;
}

static unsigned int failures;
static bool gates; /* in front of FPU instructions */

static void fresh(void)
{
	harness_reset();
	if (!gates)
		return;
	xlate_set_fpu_trap(X, true);
	xlate_set_fpu_trap(X, false);
}

static void one_opcode(int enc, unsigned int map, unsigned int op, unsigned int tries, bool protect)
{
	unsigned int k;

	for (k = 0; k < tries && failures < 20; k++) {
		struct core_regs start;
		struct test_insn t;
		uint64_t seed = rnd();
		bool ok;

		rnd_seed(seed);
		if (!random_insn(&t, enc, map, op))
			continue;
		random_regs(&start, &t.i);
		ok = run_one(&t, &start, seed, protect ? 1 + rnd() % 6 : 0);
		/* what comes to the same address is not to be taken for a site of user.c, too */
		if (insn_saves_x87(&t.i))
			fresh();
		if (!ok) {
			printf("  seed %#lx\n", seed);
			failures++;
		}
	}
}

static void all_opcodes(unsigned int tries, bool protect)
{
	unsigned int map, op;

	harness_begin();
	failures = 0;
	for (op = 0; op < 256; op++) {
		for (map = 0; map < 4; map++)
			one_opcode(IE_LEGACY, map, op, tries * (map < 2 ? 4 : 1), protect);
		one_opcode(IE_VEX2, 1, op, tries, protect);
		for (map = 1; map < 4; map++)
			one_opcode(IE_VEX3, map, op, tries, protect);
		for (map = 1; map < 7; map++)
			one_opcode(IE_EVEX, map, op, tries, protect);
	}
	printf("%lu instructions run, %lu faulted, %lu of them #UD\n", nr_run, nr_fault, nr_ud);
	assert_int_equal(failures, 0);
	assert_true(nr_run > 1000);
}

/*
 * Stop in front of every host instruction of the translation: the recovered state must be exactly
 * the one before the guest instruction or the one behind it, whatever its rip says.
 */
static struct core_regs step_before, step_after;
static const struct test_insn *step_insn;
static unsigned long nr_steps, nr_behind;
static bool step_failed;

static void check_step(const struct core_regs *seen)
{
	const struct core_regs *want = seen->rip == CODE ? &step_before : &step_after;
	const struct insn *i = &step_insn->i;
	const uint64_t m = 0xcd5;
	unsigned int k;

	nr_steps++;
	nr_behind += want == &step_after;
	if (step_failed)
		return;
	if (seen->rip != CODE && seen->rip != CODE + step_insn->len) {
		show_insn(step_insn, "stopped elsewhere");
		printf("  rip %#lx\n", seen->rip);
		step_failed = true;
		return;
	}
	if (insn_class(i) == IC_STR && i->rep)
		return; /* between two iterations: checked by the fault tests */
	for (k = 0; k < 16; k++) {
		bool string = insn_class(i) == IC_STR && i->p67 && (k == 1 || k == 6 || k == 7);

		if (seen->gpr[k] != want->gpr[k] && !string) {
			show_insn(step_insn, seen->rip == CODE ? "before" : "behind");
			printf("  register %u: %#lx, not %#lx\n", k, seen->gpr[k], want->gpr[k]);
			step_failed = true;
		}
	}
	if ((seen->rflags & m) != (want->rflags & m)) {
		show_insn(step_insn, "flags");
		printf("  %#lx, not %#lx\n", seen->rflags & m, want->rflags & m);
		step_failed = true;
	}
}

static uint8_t step_fpu[FPU_SIZE] __attribute__((aligned(64)));

static void one_stepped(int enc, unsigned int map, unsigned int op)
{
	struct core_regs start;
	struct test_insn t;
	uint64_t seed = rnd();
	uint8_t code[32];

	rnd_seed(seed);
	if (!random_insn(&t, enc, map, op))
		return;
	random_regs(&start, &t.i);
	if (!run_one(&t, &start, seed, 0)) {
		failures++;
		return;
	}
	/* what the native run left, unless it faulted */
	rnd_seed(seed);
	random_fpu(step_fpu, &t.i);
	random_memory();
	memcpy(code, t.bytes, t.len);
	memcpy(ram_native + (CODE - GUEST_LOW), code, t.len);
	memcpy(ram_native + (CODE - GUEST_LOW) + t.len, native_end_code, 8);
	step_before = step_after = start;
	fpu_load(step_fpu);
	if (run_native(&step_after).exit != XLATE_HYPERCALL)
		return;
	step_insn = &t;
	step_failed = false;
	R = start;
	fpu_load(step_fpu);
	run_guest_stepped(check_step);
	if (step_failed) {
		printf("  seed %#lx\n", seed);
		failures++;
	}
}

static void test_every_boundary(void **state)
{
	unsigned int map, op, k;

	harness_begin();
	failures = 0;
	for (op = 0; op < 256; op++) {
		for (k = 0; k < 3 && failures < 10; k++)
			for (map = 0; map < 2; map++)
				one_stepped(IE_LEGACY, map, op);
		for (map = 2; map < 4 && failures < 10; map++) {
			one_stepped(IE_LEGACY, map, op);
			one_stepped(IE_VEX3, map, op);
			one_stepped(IE_EVEX, map, op);
		}
	}
	printf("%lu host instructions stopped at, %lu of them completed the guest's\n", nr_steps,
	       nr_behind);
	assert_int_equal(failures, 0);
	assert_true(nr_steps > 5000 && nr_behind > 200);
}

static void test_values(void **state)
{
	const char *s = getenv("XLATE_TRIES");

	all_opcodes(s ? (unsigned int)atoi(s) : 12, false);
}

static void test_faults(void **state)
{
	const char *s = getenv("XLATE_TRIES");

	all_opcodes(s ? (unsigned int)atoi(s) : 4, true);
}

/* add, or, and, sub, cmp ... of rsp with an immediate: flags and all, whatever the sign. */
static void test_rsp_flags(void **state)
{
	unsigned int k;

	harness_begin();
	for (k = 0; k < 4000; k++) {
		struct test_insn t = {.bytes = {0x48, 0x81, 0xc4}};
		struct core_regs start;
		uint64_t seed = rnd(), imm = rnd() >> (rnd() & 31);

		if (k & 8)
			t.bytes[1] = 0x83;
		t.bytes[2] |= (uint8_t)((k & 7) << 3);
		memcpy(t.bytes + 3, &imm, 4);
		t.len = insn_decode(&t.i, t.bytes, 15);
		random_regs(&start, &t.i);
		if (!(k & 16))
			start.gpr[R_RSP] = rnd() >> (rnd() & 63);
		if (k & 32)
			start.gpr[R_RSP] = imm;
		assert_true(run_one(&t, &start, seed, 0));
	}
}

/* With gates in front of FPU instructions: the same results, and the same at each boundary. */
static void test_gates(void **state)
{
	harness_begin();
	gates = true;
	fresh();
	all_opcodes(2, false);
	all_opcodes(2, true);
	test_every_boundary(state);
	gates = false;
	harness_reset();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),	       cmocka_unit_test(test_faults),
		cmocka_unit_test(test_every_boundary), cmocka_unit_test(test_gates),
		cmocka_unit_test(test_rsp_flags),
	};

	if (!VECTORS_COMPARED)
		printf("vector instructions are left out: ASan uses the vector registers\n");
	if (!harness_init(0))
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
