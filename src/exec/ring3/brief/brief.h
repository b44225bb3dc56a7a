/* SPDX-License-Identifier: MIT */
/*
 * Brief turns of guest programs: between two entries to the guest's kernel many programs execute
 * some dozens of instructions - a loop around a system call, the end of a forked child, a touch of
 * the next page. Handing over to the process that runs them natively, and back, costs as much as
 * five hundred. So K interprets them itself, on the guest's registers and through the guest's page
 * tables (adr/0019).
 *
 * What is known here is what compilers emit for general registers. Anything else ends the turn in
 * front of that instruction, and the program goes on natively from there; so nothing has to be
 * emulated that is not simple, and an instruction that is missing costs time, nothing else.
 *
 * An instruction is decoded once, and kept by the place of its bytes in memory. Each time it is
 * executed the bytes are compared with those that it was decoded from: no invalidation, whoever
 * writes to code, and the processes that share a frame share that, too.
 *
 * Nothing in here is specific to the monitor; tests run it hosted, beside the processor.
 */
#ifndef PVV_RING3_BRIEF_H
#define PVV_RING3_BRIEF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/state.h"

/* Addresses that it deals with; programs elsewhere run natively. (user.h: U_FIRST, U_VA_END) */
#define BRIEF_VA_FIRST 0x30000ull
#define BRIEF_VA_END   0x7ffffffff000ull

#define BRIEF_OPS 2048u /* decoded instructions that are kept */
#define BRIEF_TLB 64u

/* Why it ended. The registers are exact: those in front of the instruction at rip. */
enum brief_exit {
	BRIEF_SYSCALL, /* a system call: rip is behind it, rcx and r11 as it leaves them */
	BRIEF_FAULT,   /* a page fault: brief.fault_va, brief.fault_error */
	BRIEF_NATIVE,  /* an instruction that is not for here */
	BRIEF_OVER,    /* as many as were allowed */
};

#define BRIEF_STOP 0x80000000u

/* Access, as in a page fault's error code: 0, PF_WRITE or PF_FETCH. */
struct brief_config {
	/*
	 * Where the byte at `va` is: 0 and *ret, good for the whole page until brief_forget(); or
	 * the error code of the program's page fault; or BRIEF_STOP: the turn is over, now.
	 */
	uint32_t (*map)(void *priv, uint64_t va, uint32_t access, uint8_t **ret);
	void *priv;
};

/* A decoded instruction. */
struct brief_op {
	const uint8_t *at; /* where its bytes are, NULL = none */
	uint64_t bytes[2];
	struct brief_op *next, *taken; /* what was executed behind it the last time */
	void *enter, *body; /* where run.c goes first; and behind the operand in memory */
	uint8_t *dst, *src; /* operands, unless in memory */
	uint32_t *upper;    /* becomes 0: the upper half of a 32-bit result's register */
	const uint64_t *base, *index, *segment;
	int64_t disp, imm;
	uint8_t len, size, scale, kind;
	uint8_t cc;    /* condition; of a string: repeated */
	uint8_t write; /* the operand in memory is written */
	uint8_t over;  /* its bytes behind the first one */
};

struct brief_page {
	uint64_t tag; /* page number, generation above */
	uint64_t delta;
};

struct brief {
	struct brief_config cfg;
	struct core_regs *regs;
	uint64_t generation;
	uint64_t rip_next; /* base of operands that are relative to rip */
	uint64_t zero;
	uint32_t nowhere;
	uint64_t fault_va;
	uint32_t fault_error;
	uint64_t executed;		     /* instructions, ever */
	struct brief_page tlb[2][BRIEF_TLB]; /* for reads, for writes */
	struct brief_page code[16];
	struct brief_op op[BRIEF_OPS];
};

/* *b is all zero. *regs is what all turns work on. */
void brief_init(struct brief *b, const struct brief_config *cfg, struct core_regs *regs);
/* What map() answered may not be so any more. */
void brief_forget(struct brief *b);
/* Execute up to `nr` instructions of a 64-bit program. */
enum brief_exit brief_run(struct brief *b, unsigned int nr);

/* ---- compile.c, run.c ---- */

/* What run.c can do, by operand size where there is room for four. */
enum brief_kind {
	BK_ADD,
	BK_OR = 4,
	BK_ADC = 8,
	BK_SBB = 12,
	BK_AND = 16,
	BK_SUB = 20,
	BK_XOR = 24,
	BK_CMP = 28,
	BK_TEST = 32,
	BK_MOV = 36,
	BK_INC = 40,
	BK_DEC = 44,
	BK_NOT = 48,
	BK_NEG = 52,
	BK_ROL = 56,
	BK_ROR = 60,
	BK_RCL = 64,
	BK_RCR = 68,
	BK_SHL = 72,
	BK_SHR = 76,
	BK_SAR = 80,
	BK_CMOV = 84,  /* 16, 32, 64 */
	BK_IMUL2 = 88, /* likewise, as all behind it */
	BK_IMUL3 = 92,
	BK_BSF = 96,
	BK_BSR = 100,
	BK_TZCNT = 104,
	BK_LZCNT = 108,
	BK_LEA = 112,
	BK_BT = 116, /* of a register's or memory's bit that an immediate or register names */
	BK_BTS = 120,
	BK_BTR = 124,
	BK_BTC = 128,
	BK_MUL = 132,
	BK_IMUL = 136,
	BK_DIV = 140, /* 32, 64 */
	BK_XCHG = 144,
	BK_LOCK_ADD = 148,
	BK_LOCK_OR = 152,
	BK_LOCK_AND = 156,
	BK_LOCK_SUB = 160,
	BK_LOCK_XOR = 164,
	BK_LOCK_INC = 168,
	BK_LOCK_DEC = 172,
	BK_XADD = 176,
	BK_LOCK_XADD = 180,
	BK_CMPXCHG = 184,
	BK_LOCK_CMPXCHG = 188,
	BK_STOS = 192,
	BK_MOVS = 196,
	BK_ZX8_16 = 200,
	BK_ZX8,
	BK_ZX16,
	BK_SX8_16,
	BK_SX8_32,
	BK_SX8_64,
	BK_SX16_32,
	BK_SX16_64,
	BK_SX32_64,
	BK_SETCC,
	BK_JCC, /* 16 of them */
	BK_JMP = BK_JCC + 16,
	BK_JMPI,
	BK_CALL,
	BK_CALLI,
	BK_RET,
	BK_PUSH,
	BK_POP,
	BK_LEAVE,
	BK_CBW,
	BK_CWDE,
	BK_CDQE,
	BK_CWD,
	BK_CDQ,
	BK_CQO,
	BK_BSWAP_32,
	BK_BSWAP_64,
	BK_RDTSC,
	BK_RDTSCP,
	BK_FENCE,
	BK_NOP,
	BK_SYSCALL,
	BK_NATIVE,
	BK_NR
};

/* How the operand in memory is used. */
enum { BM_NONE, BM_SRC, BM_DST, BM_LOCKED, BM_ADDRESS };

struct insn;
/* Fill in everything but at, bytes, next, taken, enter and body. Returns how memory is used. */
unsigned int brief_compile(struct brief *b, struct brief_op *op, const struct insn *i);

#endif
