/* SPDX-License-Identifier: MIT */
/* Random instructions of those that the interpreter might know, whose operands are where memory is.
 */
#ifndef TEST_BRIEF_GENERATE_H
#define TEST_BRIEF_GENERATE_H

#include "rig.h"

struct gen_insn {
	uint8_t bytes[32];
	unsigned int len;
	struct insn i;
};

/*
 * A random encoding around an opcode of map 0 or 1, for the address `va`: prefixes, REX, ModRM,
 * SIB, displacement, immediate. A displacement alone (also one from rip) leads near DATA, a jump
 * leads not far. False: no instruction.
 */
bool gen_insn(struct gen_insn *t, unsigned int map, unsigned int op, uint64_t va);
/* Registers with which its memory operand is near DATA, most of the time. */
void gen_regs(struct core_regs *r, const struct insn *i);
/* What brief_compile() makes of it. */
unsigned int gen_kind(const struct insn *i);

#endif
