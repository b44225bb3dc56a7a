/* SPDX-License-Identifier: MIT */
/*
 * The guest kernel's rflags.AC. The processor's own would check what the translator and the monitor
 * access as well, so it stays clear, and accesses are looked at here, an instruction at a time. No
 * kernel runs like this for long.
 */
#include "exec/ring3/monitor/k.h"

#include "core/cpu/cpu.h"
#include "core/mm/mm.h"
#include "exec/ring3/monitor/kernel_debug.h"

/* A page fault comes first. */
static bool reachable(const struct xlate_access *a)
{
	const uint32_t access = a->write ? PF_WRITE : 0;
	uint64_t mfn, flags;

	return core_walk_access(&k.c, k.c.v->kernel_root, a->va, access, &mfn, &flags) &&
	       core_walk_access(&k.c, k.c.v->kernel_root, a->va + a->len - 1, access, &mfn, &flags);
}

enum xlate_exit kalign_enter(void)
{
	enum xlate_exit why;
	struct xlate_access a;

	if (xlate_misaligned(k.x, &a) && reachable(&a)) {
		k.ctlv->exits_exception++;
		core_exception(&k.c, CORE_VEC_AC, 0, 0);
		return 0;
	}
	xlate_step_next(k.x);
	why = enter_guest();
	return why == XLATE_STEP && !(k.c.v->regs.rflags & CORE_FLAG_TF) ? 0 : why;
}
