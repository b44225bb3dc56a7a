/* SPDX-License-Identifier: MIT */
/* What the emulate_*.c files share. The order in which they are asked is in emulate.c. */
#ifndef PVV_CORE_EMULATE_H
#define PVV_CORE_EMULATE_H

#include "core/cpu/insn.h"

enum emu_result {
	EMU_UNKNOWN, /* not one of mine */
	EMU_DONE,    /* go on behind the instruction */
	EMU_JUMPED,  /* rip is set */
	EMU_FAULT,   /* e->fault */
	EMU_GONE,    /* it bounced or crashed by itself */
};

struct emu {
	struct core_insn i;
	struct core_fault fault;
};

static inline enum emu_result emu_fault(struct emu *e, uint8_t vector)
{
	e->fault = core_fault_vector(vector, 0);
	return EMU_FAULT;
}

/* EMU_DONE unless `f` was raised. */
static inline enum emu_result emu_end(struct emu *e, struct core_fault f)
{
	e->fault = f;
	return f.raised ? EMU_FAULT : EMU_DONE;
}

/* What Xen emulates after a #GP: I/O, control, debug and model-specific registers, cpuid, tsc. */
enum emu_result emu_privileged(struct core_ctx *c, struct emu *e);
enum emu_result emu_io(struct core_ctx *c, struct emu *e);
/* cli and sti of the guest's kernel, in and out: does its I/O privilege level allow them? */
bool emu_iopl_ok(const struct core_ctx *c);

/* What ring 3 executes without a trap, but a translator must not: flags, segments, far transfers */
enum emu_result emu_flags(struct core_ctx *c, struct emu *e);
enum emu_result emu_segments(struct core_ctx *c, struct emu *e);
enum emu_result emu_far(struct core_ctx *c, struct emu *e);
enum emu_result emu_tables(struct core_ctx *c, struct emu *e);

/* `ud2; .ascii "xen"; cpuid` at v->regs.rip. False: an ordinary ud2. */
bool emu_forced(struct core_ctx *c);

#endif
