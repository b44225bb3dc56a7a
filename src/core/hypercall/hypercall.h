/* SPDX-License-Identifier: MIT */
/*
 * What a hypercall handler sees. The prototypes of all handlers come from table.def:
 *
 *	long core_hc_<name>(struct core_ctx *c, const uint64_t arg[6]);
 *
 * It returns what the guest finds in rax: a value >= 0 or a negative XEN_E* code. A handler that
 * called core_crash() returns anything; the value is dropped.
 */
#ifndef PVV_CORE_HYPERCALL_H
#define PVV_CORE_HYPERCALL_H

#include <xen/errno.h>

#include "core/core.h"
#include "core/mm/pte.h"

#define HYPERCALL(nr, name, nr_args, room)                                                         \
	long core_hc_##name(struct core_ctx *c, const uint64_t arg[6]);
#define HYPERCALL_LEFT(nr, name, reason)
#include "core/hypercall/table.def"
#undef HYPERCALL
#undef HYPERCALL_LEFT

/*
 * Long hypercalls: every few hundred steps a handler asks core_preempt_pending(); if it is set, it
 * puts aside what it has done by rewriting its own arguments and ends with
 *
 *	return core_hypercall_continue(c, __HYPERVISOR_mmu_update, args);
 *
 * The guest then executes the same `syscall` again with `args` in its registers (unused ones are
 * given back as they came), after events and requests of the library were served. Works the same
 * inside a multicall, where the entry in guest memory takes the place of the registers.
 */
long core_hypercall_continue(struct core_ctx *c, unsigned int nr, const uint64_t args[6]);

/* Call one hypercall by number; -XEN_ENOSYS for unknown ones. Counts it in ctl->hypercalls. */
long core_hypercall_call(struct core_ctx *c, uint64_t nr, const uint64_t arg[6]);

/*
 * Guest memory named by a hypercall argument: true = copied, the caller answers -XEN_EFAULT
 * otherwise. The hypervisor's own addresses are refused even where a guest may read them.
 */
static inline bool core_get_bytes(struct core_ctx *c, void *dst, uint64_t va, size_t len)
{
	return core_addr_ok(va) && core_guest_read(c, dst, va, len) == 0;
}

static inline bool core_put_bytes(struct core_ctx *c, uint64_t va, const void *src, size_t len)
{
	return core_addr_ok(va) && core_guest_write(c, va, src, len) == 0;
}

#define core_get(c, obj, va) core_get_bytes((c), (obj), (va), sizeof(*(obj)))
#define core_put(c, va, obj) core_put_bytes((c), (va), (obj), sizeof(*(obj)))
#define core_put_field(c, va, obj, field)                                                          \
	core_put_bytes((c), (va) + offsetof(__typeof__(*(obj)), field), &(obj)->field,             \
		       sizeof((obj)->field))

#endif
