/* SPDX-License-Identifier: MIT */
#ifndef PVV_CORE_MM_PTWR_H
#define PVV_CORE_MM_PTWR_H

#include "core/mm/internal.h"

enum ptwr_kind {
	PTWR_MOV, /* store `src` */
	PTWR_ALU, /* memory = memory op src */
	PTWR_UNARY,
	PTWR_XCHG,
	PTWR_XADD,
	PTWR_CMPXCHG,
	PTWR_BIT,
	PTWR_STOS,
	PTWR_MOVS,
	PTWR_PUSH, /* store `src`, then rsp = addr */
	PTWR_POP,  /* store what rsp points to, then rsp += size */
};

/* The order of the x86 opcode map: ptwr_insn.op of PTWR_ALU. */
enum { ALU_ADD, ALU_OR, ALU_ADC, ALU_SBB, ALU_AND, ALU_SUB, ALU_XOR };
enum { UNARY_NOT = 2, UNARY_NEG = 3, UNARY_INC = 4, UNARY_DEC = 5 };
enum { BIT_SET = 5, BIT_RESET = 6, BIT_COMPLEMENT = 7 };

struct ptwr_insn {
	enum ptwr_kind kind;
	unsigned int op;
	unsigned int size; /* of the memory operand: 1, 2, 4, 8 */
	unsigned int length;
	uint64_t addr;	  /* of the memory operand, without the offset a bit index adds */
	uint64_t src;	  /* register or immediate, cut to `size` */
	unsigned int reg; /* the register operand, for those that write it back */
	bool reg_high;	  /* ... is ah, ch, dh or bh */
	bool reg_bit;	  /* PTWR_BIT: the index is a register and may reach beyond `addr` */
	bool rep;
};

/*
 * Decode the instruction in `bytes` (as many as could be read). False: not one that stores to
 * memory in a form that is emulated.
 */
bool ptwr_decode(const struct core_regs *r, const uint8_t *bytes, unsigned int nr,
		 struct ptwr_insn *ret);

#endif
