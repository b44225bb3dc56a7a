/* SPDX-License-Identifier: MIT */
/*
 * The emitter: writes host code into the hot region and the recovery notes beside it.
 */
#ifndef PVV_TRANSLATE_EMIT_H
#define PVV_TRANSLATE_EMIT_H

#include "exec/ring3/translate/internal.h"
#include "exec/ring3/translate/notes.h"

#define FRAG_MAX_INSNS 200
/* No single guest instruction grows to more than this. */
#define INSN_HOST_MAX  700
#define FRAG_HOST_MAX  (FRAG_MAX_INSNS * 64 + 4096)

struct local_edge {
	uint32_t site;
	bool call;
	uint64_t target;
};

struct local_call {
	uint32_t site; /* rel32 of the call */
	uint64_t ret;
};

#define SRC_MAX 1024 /* source bytes a fragment may have, but for a last crossing instruction */

/* A copy of the source, taken once: the guest may write to it at any time. */
struct source {
	uint8_t buf[SRC_MAX + 64];
	unsigned int len;
	bool to_page_end;
	bool second; /* bytes of the next page were appended */
};

struct em {
	struct xlate *x;
	struct frag *f;
	uint32_t fi; /* index of f */
	uint8_t *p;
	uint64_t pc, next; /* of the guest instruction in work */
	bool end;	   /* the fragment ends behind it */
	bool exact;	   /* no use of the flat table: every indirect transfer leaves */
	bool redirect;	   /* the memory operand is at XV_REDIRECT */
	bool gated;	   /* the last instruction was an FPU instruction behind a gate */
	bool group_new;	   /* the instruction in work is the first of a group */
	unsigned int group_left, group_reg; /* see op_group.c */

	/* notes of the instruction in work */
	uint8_t *note;	     /* where they begin */
	uint8_t *insn_start; /* host */
	uint8_t *plain;	     /* where the last one is, if it is just copied: it can be moved */
	uint8_t *step_start;
	unsigned int nsteps;
	uint32_t last_act;
	uint32_t ambient;      /* added to every action */
	uint32_t ambient_next; /* added to actions of a completed instruction */

	struct source source;
	const uint8_t *src; /* source.buf */
	uint64_t src_gva;
	unsigned int src_len;

	unsigned int nr_edges, nr_calls;
	struct local_edge edges[FRAG_MAX_INSNS * 2 + 8];
	struct local_call calls[FRAG_MAX_INSNS + 8];
};

static inline void e1(struct em *e, unsigned int b)
{
	*e->p++ = (uint8_t)b;
}
static inline void e4(struct em *e, uint64_t v)
{
	uint32_t w = (uint32_t)v;

	__builtin_memcpy(e->p, &w, 4);
	e->p += 4;
}
static inline void e8(struct em *e, uint64_t v)
{
	__builtin_memcpy(e->p, &v, 8);
	e->p += 8;
}
static inline void ebytes(struct em *e, const uint8_t *src, unsigned int n)
{
	while (n--)
		*e->p++ = *src++;
}
static inline uint32_t here(const struct em *e)
{
	return (uint32_t)(uintptr_t)e->p;
}
static inline bool fits32(uint64_t v)
{
	return v == (uint64_t)(int64_t)(int32_t)v;
}

/*
 * A short loop that crosses such a boundary takes up to a fifth longer (measured). Fragments begin
 * at one if the guest's code is aligned there; for others density is worth more.
 */
#define LOOP_ALIGN 32
#define FRAG_ALIGN 4

/* Around the code of one guest instruction of this length. */
void em_begin(struct em *e) XLATE_HIDDEN;
void em_end(struct em *e, unsigned int glen) XLATE_HIDDEN;
/* The instruction before, a simple one, is now this long (no-operations in front of it). */
void em_longer(struct em *e, unsigned int hlen) XLATE_HIDDEN;
/* The host instruction that follows gets this recovery action. */
void em_step(struct em *e, uint32_t act) XLATE_HIDDEN;
/* Likewise, inside of an expansion only: the guest instruction proper, nothing done yet. */
static inline void em_step_op(struct em *e)
{
	if (e->nsteps)
		em_step(e, 0);
}

/* mov [addr], r64 and back */
void em_store(struct em *e, uint32_t addr, unsigned int r) XLATE_HIDDEN;
void em_load(struct em *e, unsigned int r, uint32_t addr) XLATE_HIDDEN;
/* mov r64, value, in the shortest form */
void em_movi(struct em *e, unsigned int r, uint64_t v) XLATE_HIDDEN;
/* lea dst, [base + index] */
void em_lea2(struct em *e, unsigned int dst, unsigned int base, unsigned int index) XLATE_HIDDEN;
/* rsp = r + shift, in two instructions */
void em_rsp_from(struct em *e, unsigned int r, uint32_t act_before,
		 uint32_t act_between) XLATE_HIDDEN;
/* r = guest rsp, two instructions, both with this action */
void em_guest_rsp(struct em *e, unsigned int r, uint32_t act) XLATE_HIDDEN;
/*
 * A register to use and give back, for frequent expansions at the end of a function: the way
 * through the spill slot takes time, so best one that nobody waits for. Not rax, the result. What
 * the function has written, and does not preserve, its caller does not use (not even one that knows
 * it). If nothing is known, not the same everywhere, so that one spill need not wait for the last.
 */
unsigned int em_scratch(const struct em *e) XLATE_HIDDEN;
/* To be told of each instruction, for em_scratch(). */
void em_watch(struct em *e, const struct insn *i) XLATE_HIDDEN;
static inline void em_wrfsbase_rax(struct em *e)
{
	static const uint8_t insn[] = {0xf3, 0x48, 0x0f, 0xae, 0xd0};

	ebytes(e, insn, sizeof(insn));
}
/* No-operations up to an address that is a multiple of n (a power of two). */
void em_align(struct em *e, unsigned int n) XLATE_HIDDEN;
/* rel32 of a direct branch to a guest address */
void em_edge(struct em *e, uint64_t target) XLATE_HIDDEN;
/* Likewise, of a call: to the target's entry for calls. */
void em_call_edge(struct em *e, uint64_t target) XLATE_HIDDEN;
/* lea rsp, [rsp + 8]: that entry, CALL_ENTRY bytes */
extern const uint8_t em_call_entry[CALL_ENTRY] XLATE_HIDDEN;
/* jmp to a host address */
void em_jmp(struct em *e, uint32_t host) XLATE_HIDDEN;
/* An exit stub, and a jmp to one. */
uint32_t em_exit_stub(struct em *e, uint32_t info, uint64_t rip) XLATE_HIDDEN;
void em_exit(struct em *e, uint32_t info, uint64_t rip) XLATE_HIDDEN;

/* Room in the cold region; returns its address. */
static inline uint8_t *cold_alloc(struct xlate *x, unsigned int n)
{
	x->cold -= n;
	return (uint8_t *)(uintptr_t)x->cold;
}

/* ---- op_mem.c ---- */
/* How to change an instruction when it is encoded again; -1 = as it is. */
struct recode {
	int seg; /* segment prefix, 0 = none */
	bool drop67;
	int reg, rm, opreg, vvvv;
	int mem; /* RM_* */
	int base, index;
	int32_t disp;
};
enum { RM_SAME, RM_ABS, RM_BASE, RM_BASE_INDEX, RM_SWAP_BASE /* without SIB: rsp and rbp not */ };
unsigned int insn_recode(const struct insn *i, const struct recode *rc, uint8_t *out) XLATE_HIDDEN;
void op_copy(struct em *e, const struct insn *i) XLATE_HIDDEN;
void op_moffs(struct em *e, const struct insn *i) XLATE_HIDDEN;
void op_impl(struct em *e, const struct insn *i) XLATE_HIDDEN;
/* r = effective address of the operand as the hardware sees it: shifted if the base is rsp. */
void op_ea(struct em *e, const struct insn *i, unsigned int r) XLATE_HIDDEN;
/* IC_COPY or IC_MOFFS while e->redirect. */
void op_redirected(struct em *e, const struct insn *i) XLATE_HIDDEN;
/* Is op_copy() of this memory form a single host instruction? */
bool op_mem_plain(const struct em *e, const struct insn *i) XLATE_HIDDEN;
/*
 * A register of the low eight that the instruction does not use and that is not in `avoid` (a bit
 * mask); `mem`: base and index do not do either.
 */
unsigned int op_scratch(const struct insn *i, uint32_t avoid, bool mem) XLATE_HIDDEN;
bool op_uses_rsp(const struct insn *i) XLATE_HIDDEN;

/* ---- op_rsp.c ---- */
void op_rsp(struct em *e, const struct insn *i) XLATE_HIDDEN;
void op_lea(struct em *e, const struct insn *i) XLATE_HIDDEN;
void op_push(struct em *e, const struct insn *i) XLATE_HIDDEN;
void op_pop(struct em *e, const struct insn *i) XLATE_HIDDEN;
void op_enter(struct em *e, const struct insn *i) XLATE_HIDDEN;
void op_leave(struct em *e, const struct insn *i) XLATE_HIDDEN;
/* The few sensitive instructions that need not leave the cache. */
bool op_sensitive(struct em *e, const struct insn *i) XLATE_HIDDEN;

/* ---- user_tlb.c ---- */
/*
 * A user site that looks its operand up by itself and leaves only if that fails. False: it is not
 * of the kind that can.
 */
bool op_user_inline(struct em *e, const struct insn *i, uint32_t site) XLATE_HIDDEN;
/* Likewise for rep movs and rep stos, see user_string.c. */
bool op_user_string(struct em *e, const struct insn *i, uint32_t site) XLATE_HIDDEN;
/* Plain enough for that: one operand, no segment, no stack. */
bool op_can_inline(const struct xlate *x, const struct insn *i) XLATE_HIDDEN;

/* ---- op_fpu.c ---- */
void op_fpu_gate(struct em *e) XLATE_HIDDEN;

/* ---- op_flow.c ---- */
void op_string(struct em *e, const struct insn *i) XLATE_HIDDEN;
/* Before a conditional jump: see there. */
void op_keep_together(struct em *e) XLATE_HIDDEN;
void op_jcc(struct em *e, const struct insn *i) XLATE_HIDDEN;
void op_jmp(struct em *e, const struct insn *i) XLATE_HIDDEN;
void op_loop(struct em *e, const struct insn *i) XLATE_HIDDEN;
void op_call(struct em *e, const struct insn *i) XLATE_HIDDEN;
void op_indirect(struct em *e, const struct insn *i) XLATE_HIDDEN;
void op_ret(struct em *e, const struct insn *i) XLATE_HIDDEN;
/* A call to a known address. */
void op_call_to(struct em *e, uint64_t target) XLATE_HIDDEN;
/* tmp = the operand of an indirect jump or call, tmp being spilled already */
void op_load_target(struct em *e, const struct insn *i, unsigned int tmp) XLATE_HIDDEN;
void op_call_stubs(struct em *e) XLATE_HIDDEN;
/* The prologue that compares `len` source bytes at e->pc with what they are now. */
void op_verify(struct em *e, unsigned int len) XLATE_HIDDEN;

/* ---- op_group.c ---- */
/* Does a run of stores begin here, of `max` instructions at most? */
void op_group_find(struct em *e, const struct insn *first, unsigned int max) XLATE_HIDDEN;
/* The next instruction of one (e->group_left). */
void op_group(struct em *e, const struct insn *i) XLATE_HIDDEN;

/* ---- op_icall.c ---- */
/* An indirect call that remembers its function. False: this one is not to. */
bool op_icall(struct em *e, const struct insn *i) XLATE_HIDDEN;

#endif
