/* SPDX-License-Identifier: MIT */
/* Small hypercalls that set one piece of processor state. */
#include "core/hypercall/hypercall.h"

#include "core/cpu/cpu.h"

/* ABI: served */
long core_hc_fpu_taskswitch(struct core_ctx *c, const uint64_t arg[6])
{
	if ((uint32_t)arg[0] != 0)
		c->v->cr0 |= CORE_CR0_TS;
	else
		c->v->cr0 &= ~CORE_CR0_TS;
	c->ops->cpu_changed(c);
	return 0;
}

#define ASSISTS                                                                                    \
	(1ull << VMASST_TYPE_4gb_segments | 1ull << VMASST_TYPE_4gb_segments_notify |              \
	 1ull << VMASST_TYPE_writable_pagetables | 1ull << VMASST_TYPE_pae_extended_cr3 |          \
	 1ull << VMASST_TYPE_architectural_iopl | 1ull << VMASST_TYPE_runstate_update_flag |       \
	 1ull << VMASST_TYPE_m2p_strict)

long core_hc_vm_assist(struct core_ctx *c, const uint64_t arg[6])
{
	uint32_t type = (uint32_t)arg[1];

	if (type >= 64 || !(ASSISTS >> type & 1))
		return -XEN_EINVAL;
	switch ((uint32_t)arg[0]) {
	case VMASST_CMD_enable: /* ABI: served */
		__atomic_fetch_or(&c->d->vm_assist, 1ull << type, __ATOMIC_RELAXED);
		return 0;
	case VMASST_CMD_disable: /* ABI: served */
		__atomic_fetch_and(&c->d->vm_assist, ~(1ull << type), __ATOMIC_RELAXED);
		return 0;
	default:
		return -XEN_ENOSYS;
	}
}
