/* SPDX-License-Identifier: MIT */
/*
 * Recovery notes: for each guest instruction of a fragment, how long it is in guest and host code;
 * for expansions, an action for each host instruction that says how to get a precise guest state
 * when execution stops in front of it.
 *
 *	simple		glen | hlen << 4			(one host instruction or none)
 *	expansion	0 | nsteps << 4, glen, nsteps times { host length, action (3 bytes) }
 *
 * Neighbouring host instructions with the same action share a step.
 */
#ifndef PVV_TRANSLATE_NOTES_H
#define PVV_TRANSLATE_NOTES_H

/* Afterwards restore register r from spill slot 0 / 1. */
#define ACT_SP0(r)  (1u + (r))
#define ACT_SP1(r)  ((1u + (r)) << 5)
/* The instruction is complete: rip is behind it. Else it has not happened: rip is at it. */
#define ACT_NEXT    (1u << 10)
#define ACT_FIX(f)  ((uint32_t)(f) << 11)
#define ACT_REG(r)  ((uint32_t)(r) << 16) /* parameter of the fix */
#define ACT_SP2(r)  ((1u + (r)) << 20)	  /* r < 8 */
/* rip = next + delta, complete; the delta takes the place of the register and spill slot 2 */
#define ACT_REL8(d) (ACT_FIX(FIX_REL8) | (uint32_t)(uint8_t)(d) << 16)

#define ACT_GET_SP0(a) ((a)&31)
#define ACT_GET_SP1(a) ((a) >> 5 & 31)
#define ACT_GET_FIX(a) ((a) >> 11 & 31)
#define ACT_GET_REG(a) ((a) >> 16 & 15)
#define ACT_GET_SP2(a) ((a) >> 20 & 15)

enum fix {
	FIX_NONE,
	FIX_SI,		     /* rsi is shifted */
	FIX_DI,		     /* rdi is shifted */
	FIX_SIDI,	     /* both */
	FIX_POP8,	     /* a call pushed its return address */
	FIX_PUSH8,	     /* a return popped its address */
	FIX_CALL,	     /* none; marks the call instruction, to find it from its stub */
	FIX_RET,	     /* a return is under way: rip = slot, rsp += 8 */
	FIX_RETI,	     /* ret n: rip = slot, rsp += 8 + retimm */
	FIX_POPPEDI,	     /* likewise, with rsp behind the address: rip = slot, rsp += retimm */
	FIX_SLOT,	     /* rip = slot */
	FIX_REG_SLOT,	     /* the register is in slot */
	FIX_RSP_REG,	     /* guest rsp is in the register */
	FIX_RSP_ADD,	     /* guest rsp = rsp + register - shift */
	FIX_RSP_RAW,	     /* rsp is not shifted */
	FIX_RSP_SP1,	     /* shifted rsp is in spill slot 1 */
	FIX_REG_ADD,	     /* register += rsp */
	FIX_FETCH,	     /* a source byte of a verifying fragment is being read */
	FIX_RBP_SP0_RSP_SP1, /* enter: both are in their slots */
	FIX_LOOKUP,	     /* none; a fault here is a look beyond the flat table */
	FIX_LOOKUP_REG,	     /* likewise, with the register in slot */
	FIX_LOOKUP_PUSH8,    /* likewise, in a return that popped its address */
	FIX_LOOKUP_POP8,     /* likewise, in a call that pushed it: a fault at the word below */
	FIX_REL8,	     /* see ACT_REL8 */
	FIX_REDIRECT,	     /* a redirected operand is being accessed */
	FIX_FS,		     /* none; the hardware FS base is that of the guest's FS */
	FIX_STR_FLAGS,	     /* user_string.c: the flags are in their slot */
	FIX_STR_RUNS, /* likewise: a round is under way; register: log2 of its width, STR_MOVS */
};

#define STR_MOVS 4u

#endif
