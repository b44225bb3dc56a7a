/* SPDX-License-Identifier: MIT */
/*
 * Random instructions, with registers and vector state that let most of them run: for comparing
 * translated code with native.
 */
#ifndef TEST_TRANSLATE_RANDOM_INSN_H
#define TEST_TRANSLATE_RANDOM_INSN_H

#include "exec/ring3/translate/insn.h"
#include "harness.h"

#define AREA 0x4000u /* DATA - AREA/2 ... DATA + AREA/2 may be touched */

struct test_insn {
	uint8_t bytes[24];
	unsigned int len;
	struct insn i;
};

/* A random encoding around an opcode; false: none that can be compared. */
bool random_insn(struct test_insn *t, int enc, unsigned int map, unsigned int op);
/* Registers for it, with rip at CODE. */
void random_regs(struct core_regs *r, const struct insn *i);
void random_fpu(uint8_t *fx, const struct insn *i);
/* x87 instruction and data pointers hold host addresses: leave them out of comparisons. */
void scrub_fpu(uint8_t *fx);
void show_insn(const struct test_insn *t, const char *what);

#endif
