/* SPDX-License-Identifier: MIT */
/*
 * Instruction decoding: what the translator needs to know about one instruction, and no more.
 *
 * There is no hand-written x86 decoder here. gen/gen_tables.c probes Zydis at build time over every
 * (map, opcode, mandatory prefix, REX.W, ModRM) and writes tables of descriptors; insn_decode()
 * only walks prefixes, ModRM and SIB, which are the same for all instructions.
 */
#ifndef PVV_TRANSLATE_INSN_H
#define PVV_TRANSLATE_INSN_H

#include <stdbool.h>
#include <stdint.h>

/* What to do with an instruction. */
enum insn_class {
	IC_UD,	    /* not valid, or hidden from guests: #UD */
	IC_COPY,    /* copied; a ModRM memory operand gets the prefix */
	IC_NOP,	    /* no effect: dropped */
	IC_SENS,    /* privileged, or shows host state: the core emulates it */
	IC_IMPL,    /* implicit memory operand that takes a segment prefix (xlat, maskmov) */
	IC_MOFFS,   /* mov with a 64-bit absolute address */
	IC_LEA,	    /* */
	IC_STR,	    /* movs, stos, lods, scas, cmps */
	IC_JMP,	    /* relative jump */
	IC_JCC,	    /* relative conditional jump */
	IC_LOOP,    /* loop, loope, loopne, jrcxz */
	IC_CALL,    /* relative call */
	IC_JMPI,    /* jmp r/m */
	IC_CALLI,   /* call r/m */
	IC_RET,	    /* near, also with an immediate */
	IC_PUSHR,   /* push r64 */
	IC_POPR,    /* pop r64 */
	IC_ENTER,   /* */
	IC_LEAVE,   /* */
	IC_SYSCALL, /* a hypercall */
	IC_INT,	    /* int n */
	IC_INT3,    /* */
	IC_LONG,    /* longer than 15 bytes: #GP */
	IC_NR
};

/* Register kinds of an operand field. */
enum { IK_NONE, IK_GPR8, IK_GPR };

/* Descriptor: a packed word. */
#define ID_CLASS(d)   ((d)&31)
#define ID_IMM(d)     (((d) >> 5) & 7) /* index of insn_imm_len[] */
#define ID_REG(d)     (((d) >> 8) & 3) /* IK_* of ModRM.reg */
#define ID_RM(d)      (((d) >> 10) & 3)
#define ID_OPREG(d)   (((d) >> 12) & 3) /* register in the opcode byte */
#define ID_VVVV(d)    (((d) >> 14) & 1) /* vvvv is a general register */
#define ID_WRITE_REG  (1u << 15)	/* writes it */
#define ID_WRITE_RM   (1u << 16)	/* likewise, if it is a register */
#define ID_MEM_READ   (1u << 17)
#define ID_MEM_WRITE  (1u << 18)
#define ID_VSIB	      (1u << 19)
#define ID_GPR_WRITE  (1u << 20)	 /* writes an explicit general register */
#define ID_MEMSIZE(d) (((d) >> 21) & 15) /* index of insn_mem_size[] */
#define ID_LOCK	      (1u << 25)	 /* takes a lock prefix (memory form) */
#define ID_NOMEM      (1u << 26)	 /* ModRM always names registers */
#define ID_FPU	      (1u << 27)	 /* #NM while cr0.TS is set */
#define ID_BCAST(d)                                                                                \
	(((d) >> 28) & 3)	 /* EVEX: log2 of the bytes of an element that is broadcast        \
				  */
#define ID_DISP8_L    (1u << 30) /* EVEX: displacements scale with the vector length */
#define ID_DISP8_DDUP (1u << 31) /* EVEX: likewise, by vmovddup's rule; both: with an element */

static const uint8_t insn_imm_len[8] = {0, 1, 2, 3, 4, 8, 0, 0};
static const uint16_t insn_mem_size[16] = {0,  1, 2,  4,   8,	 16,  32, 64,
					   10, 6, 28, 512, 4096, 108, 94, 14};

enum { IE_LEGACY, IE_VEX2, IE_VEX3, IE_EVEX };

#define INSN_MAX 15

struct insn {
	uint32_t desc;
	uint8_t len;
	uint8_t npfx; /* legacy prefixes (without REX) */
	uint8_t p66, p67, lock;
	uint8_t rep;	/* 0, 0xf3 or 0xf2 */
	uint8_t seg;	/* 0, 0x64 or 0x65: the override that counts */
	uint8_t anyseg; /* there is some segment override */
	uint8_t enc;	/* IE_* */
	uint8_t rex;	/* the REX byte, 0 = none */
	uint8_t map, op;
	uint8_t w, r, xb, b; /* extension bits; r and b are 0 or 8, xb likewise */
	uint8_t vvvv;
	uint8_t o_op;	 /* offset of the opcode byte */
	uint8_t o_modrm; /* 0 = none */
	uint8_t modrm, sib;
	uint8_t has_sib;
	uint8_t o_disp, disp_len;
	uint8_t o_imm, imm_len;
	uint8_t bytes[24];
};

static inline enum insn_class insn_class(const struct insn *i)
{
	return (enum insn_class)ID_CLASS(i->desc);
}
static inline bool insn_has_mem(const struct insn *i)
{
	return i->o_modrm && i->modrm < 0xc0;
}
static inline unsigned int insn_reg(const struct insn *i)
{
	return (i->modrm >> 3 & 7) | i->r;
}
static inline unsigned int insn_rm(const struct insn *i)
{
	return (i->modrm & 7) | i->b;
}
static inline bool insn_rip_relative(const struct insn *i)
{
	return i->o_modrm && (i->modrm & 0xc7) == 5;
}
/* The base register of a memory operand, or -1. */
static inline int insn_base(const struct insn *i)
{
	if (!i->has_sib)
		return insn_rip_relative(i) ? -1 : (int)insn_rm(i);
	if ((i->sib & 7) == 5 && i->modrm < 0x40)
		return -1;
	return (i->sib & 7) | i->b;
}
/* The index register (of a SIB without VSIB), or -1. */
static inline int insn_index(const struct insn *i)
{
	if (!i->has_sib || ((i->sib >> 3 & 7) | i->xb) == 4)
		return -1;
	return (i->sib >> 3 & 7) | i->xb;
}
/* EVEX: bytes of the operand in memory, by vector length and broadcast. */
static inline unsigned int insn_evex_size(const struct insn *i)
{
	unsigned int size = insn_mem_size[ID_MEMSIZE(i->desc)];
	uint8_t last = i->bytes[i->o_op - 1]; /* of the prefix: z, L'L, b, V', aaa */
	unsigned int l = last >> 5 & 3;

	switch (i->desc & (ID_DISP8_L | ID_DISP8_DDUP)) {
	case ID_DISP8_L | ID_DISP8_DDUP:
		return l < 2 ? size >> (2 - l) : size;
	case ID_DISP8_DDUP:
		return l ? 16u << l : 8;
	case ID_DISP8_L:
		if (last & 0x10)
			return 1u << ID_BCAST(i->desc);
		return l < 2 ? size >> (2 - l) : size;
	default:
		return size;
	}
}
/* What an 8-bit displacement is multiplied by: EVEX counts in operands. */
static inline unsigned int insn_disp8_scale(const struct insn *i)
{
	const uint32_t elements = ID_DISP8_L | ID_DISP8_DDUP;

	if (i->enc != IE_EVEX)
		return 1;
	return (i->desc & elements) == elements ? 1u << ID_BCAST(i->desc) : insn_evex_size(i);
}
/* fnstenv, fnsave, fxsave, xsave, xsavec, xsaveopt: show where the last x87 instruction was. */
static inline bool insn_saves_x87(const struct insn *i)
{
	unsigned int reg = i->modrm >> 3 & 7;

	if (i->enc != IE_LEGACY || !insn_has_mem(i))
		return false;
	if (!i->map)
		return (i->op == 0xd9 || i->op == 0xdd) && reg == 6;
	if (i->map != 1 || i->p66 || i->rep)
		return false;
	return (i->op == 0xae && (!reg || reg == 4 || reg == 6)) || (i->op == 0xc7 && reg == 4);
}
/* bt, bts, btr, btc with a register: the operand is only where bit 0 is. */
static inline bool insn_bit_string(const struct insn *i)
{
	return i->enc == IE_LEGACY && i->map == 1 && (i->op & 0xe7) == 0xa3;
}
int64_t insn_disp(const struct insn *i);
int64_t insn_imm(const struct insn *i);

/*
 * Decode the instruction at `p`, of which `avail` bytes count; 16 must be readable. Returns its
 * length, 0 if more bytes are needed; ret->desc of an invalid instruction has class IC_UD (its
 * length is then that of what was looked at, at least 1), one longer than 15 bytes IC_LONG.
 */
unsigned int insn_decode(struct insn *ret, const uint8_t *p, unsigned int avail);

/*
 * The generated tables. A first-level value is a descriptor index if bit 15 is clear, else a row
 * (bits 0-14) of 72 descriptor indexes: [0, 64) register forms by ModRM - 0xc0, [64, 72) memory
 * forms by ModRM.reg.
 */
#define INSN_ROW      72
#define INSN_HASMODRM 0x8000
extern const uint16_t insn_tab_legacy[4 * 256 * 6 * 2]; /* map, opcode, prefixes, W */
extern const uint16_t insn_tab_vex[3 * 256 * 4 * 2];	/* map - 1, opcode, pp, W */
extern const uint16_t insn_tab_evex[6 * 256 * 4 * 2];	/* map - 1, opcode, pp, W */
extern const uint16_t insn_rows[][INSN_ROW];
extern const uint32_t insn_descs[];

#endif
