/* SPDX-License-Identifier: MIT */
/*
 * FPU instructions while somebody else's state may be in the FPU: a gate in front of each run of
 * them leaves if XV_FPU_TRAP is set. It is a check and not a patch, because the monitor changes its
 * mind at every change between guest user and guest kernel, and the guest's kernel executes very
 * few of them.
 */
#include "exec/ring3/translate/emit.h"

#define ABS(o) (XLATE_VCPU + (o))

/* The way out: rcx back, then leave. */
static uint32_t gate_exit(struct em *e)
{
	uint8_t *hot = e->p, *stub = cold_alloc(e->x, 64);

	e->p = stub;
	em_load(e, R_RCX, ABS(XV_SP0));
	em_exit(e, XC_FPU, e->pc);
	e->p = hot;
	return (uint32_t)(uintptr_t)stub;
}

void op_fpu_gate(struct em *e)
{
	const uint32_t act = ACT_SP0(R_RCX);
	uint32_t stub = gate_exit(e);

	em_begin(e);
	em_step(e, 0);
	em_store(e, ABS(XV_SP0), R_RCX);
	em_step(e, act);
	em_load(e, R_RCX, ABS(XV_FPU_TRAP));
	e1(e, 0xe3); /* jrcxz over the exit: flags are the guest's */
	e1(e, 5);
	e1(e, 0xe9);
	e4(e, stub - (here(e) + 4));
	em_load(e, R_RCX, ABS(XV_SP0));
	em_end(e, 0);
}

void xlate_set_fpu_trap(struct xlate *x, bool trap)
{
	XV->fpu_trap = trap;
	if (!trap || x->fpu_lazy)
		return;
	/* The first time: what was translated so far has no gates. */
	x->fpu_lazy = 1;
	xlate_kill_fpu(x);
}
