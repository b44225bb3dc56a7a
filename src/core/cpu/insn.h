/* SPDX-License-Identifier: MIT */
/*
 * A small decoder for the instructions that core_emulate() knows. Not a general one: it finds the
 * parts (prefixes, opcode, ModRM, immediate) of system instructions, which all have simple forms.
 */
#ifndef PVV_CORE_INSN_H
#define PVV_CORE_INSN_H

#include "core/core.h"
#include "core/cpu/desc.h"

struct core_insn {
	uint64_t rip;  /* of the first byte */
	uint8_t len;   /* bytes consumed so far */
	uint8_t valid; /* bytes[] that could be read */
	bool mode64;
	bool opsize, addrsize; /* 66, 67 */
	uint8_t rep;	       /* 0, f2 or f3 */
	bool lock;
	uint8_t rex; /* 0 or 40-4f */
	uint8_t seg; /* segment override: enum core_seg + 1, 0 = none */
	uint8_t opcode;
	uint8_t map; /* 0: one byte, 1: 0f, 2: 0f 38, 3: 0f 3a */
	bool has_modrm;
	uint8_t mod, reg, rm; /* reg, rm with REX bits */
	uint64_t ea;	      /* linear address of the memory operand (mod != 3) */
	uint8_t bytes[15];
};

/* Prefixes, opcode and, where the opcode has one, ModRM with its address. */
struct core_fault core_insn_decode(struct core_ctx *c, struct core_insn *i);

/* 1 to 8 immediate bytes, sign-extended, behind what was decoded. */
struct core_fault core_insn_imm(struct core_ctx *c, struct core_insn *i, unsigned int size,
				int64_t *ret);

/* Operand size of the instruction in bytes: 2, 4 or 8; `default64`: pushes, pops, near transfers.
 */
static inline unsigned int core_insn_opsize(const struct core_insn *i, bool default64)
{
	if (i->rex & 8)
		return 8;
	if (i->opsize)
		return 2;
	return default64 && i->mode64 ? 8 : 4;
}

/* Registers as an instruction writes them: 4 bytes clear the upper half, 1 and 2 bytes keep it. */
void core_reg_write(struct core_regs *r, unsigned int reg, unsigned int size, uint64_t value);

/* Memory operands, with the #PF an access by the guest itself would give. */
struct core_fault core_mem_read(struct core_ctx *c, uint64_t va, void *dst, size_t len);
struct core_fault core_mem_write(struct core_ctx *c, uint64_t va, const void *src, size_t len);
/* ModRM's rm operand, register or memory. */
struct core_fault core_rm_read(struct core_ctx *c, const struct core_insn *i, unsigned int size,
			       uint64_t *ret);
struct core_fault core_rm_write(struct core_ctx *c, const struct core_insn *i, unsigned int size,
				uint64_t value);

#endif
