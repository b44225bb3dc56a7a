/* SPDX-License-Identifier: MIT */
/* set_trap_table and the callbacks: where the guest's kernel wants to be entered. */
#include "core/hypercall/hypercall.h"

#include <xen/callback.h>
#include <xen/nmi.h>

#include "core/cpu/cpu.h"
#include "core/lib/bitops.h"
#include "core/lib/mem.h"

/* ---- set_trap_table ---------------------------------------------------------------------- */

/*
 * Code selectors of handlers are kept for the record only: 64-bit handlers always start with
 * FLAT_KERNEL_CS64. One that names the hypervisor's part of the GDT is replaced, as Xen does.
 */
static uint16_t fix_selector(uint16_t sel, uint16_t flat)
{
	if ((sel >> 3) < FIRST_RESERVED_GDT_ENTRY || (sel & 4) || sel == flat)
		return sel;
	return flat;
}

/* ABI: served; NULL clears the table */
long core_hc_set_trap_table(struct core_ctx *c, const uint64_t arg[6])
{
	struct core_vcpu *v = c->v;
	uint64_t va = arg[0];

	if (va == 0) {
		memset(v->traps, 0, sizeof(v->traps));
		return 0;
	}
	/* The list ends with address 0; a guest that never ends it is preempted, not trusted. */
	for (;;) {
		struct trap_info t;

		if (!core_get(c, &t, va))
			return -XEN_EFAULT;
		if (t.address == 0)
			return 0;
		if (!core_canonical(t.address))
			return -XEN_EINVAL;
		v->traps[t.vector] = (struct core_trap){
			.addr = t.address,
			.cs = fix_selector(t.cs, FLAT_KERNEL_CS64),
			.flags = t.flags,
		};
		va += sizeof(t);
		if (core_preempt_pending(c)) {
			uint64_t args[6] = {va, arg[1], arg[2], arg[3], arg[4], arg[5]};

			return core_hypercall_continue(c, __HYPERVISOR_set_trap_table, args);
		}
	}
}

/* ---- callbacks --------------------------------------------------------------------------- */

static void set_nmi(struct core_vcpu *v, uint64_t address)
{
	struct core_trap *t = &v->traps[CORE_VEC_NMI];

	memset(t, 0, sizeof(*t));
	if (address != 0)
		*t = (struct core_trap){.addr = address, .cs = FLAT_KERNEL_CS64, .flags = 4};
}

static struct core_callback *callback_slot(struct core_vcpu *v, unsigned int type)
{
	switch (type) {
	case CALLBACKTYPE_event:
		return &v->cb_event;
	case CALLBACKTYPE_failsafe:
		return &v->cb_failsafe;
	case CALLBACKTYPE_syscall:
		return &v->cb_syscall;
	case CALLBACKTYPE_syscall32:
		return &v->cb_syscall32;
	case CALLBACKTYPE_sysenter:
		return &v->cb_sysenter;
	default:
		return NULL;
	}
}

static long register_callback(struct core_vcpu *v, unsigned int type, unsigned int flags,
			      uint64_t address)
{
	struct core_callback *cb = callback_slot(v, type);

	if (!core_canonical(address))
		return -XEN_EINVAL;
	if (type == CALLBACKTYPE_nmi) {
		set_nmi(v, address);
		return 0;
	}
	if (cb == NULL)
		return -XEN_ENOSYS;
	cb->addr = address;
	cb->flags = flags & CALLBACKF_mask_events;
	cb->set = 1;
	return 0;
}

/* ABI: served; event, failsafe and syscall entry at once */
long core_hc_set_callbacks(struct core_ctx *c, const uint64_t arg[6])
{
	/* Each on its own, as Xen does: a bad address leaves the old callback in place. */
	(void)register_callback(c->v, CALLBACKTYPE_event, 0, arg[0]);
	(void)register_callback(c->v, CALLBACKTYPE_failsafe, 0, arg[1]);
	(void)register_callback(c->v, CALLBACKTYPE_syscall, 0, arg[2]);
	return 0;
}

static long callback_register(struct core_ctx *c, uint64_t va)
{
	struct callback_register op;

	if (!core_get(c, &op, va))
		return -XEN_EFAULT;
	return register_callback(c->v, op.type, op.flags, op.address);
}

static long callback_unregister(struct core_ctx *c, uint64_t va)
{
	struct callback_unregister op;

	if (!core_get(c, &op, va))
		return -XEN_EFAULT;
	if (op.type == CALLBACKTYPE_nmi) {
		set_nmi(c->v, 0);
		return 0;
	}
	/* The others cannot be taken back. */
	return callback_slot(c->v, op.type) != NULL ? -XEN_EINVAL : -XEN_ENOSYS;
}

long core_hc_callback_op(struct core_ctx *c, const uint64_t arg[6])
{
	switch ((uint32_t)arg[0]) {
	case CALLBACKOP_register: /* ABI: served */
		return callback_register(c, arg[1]);
	case CALLBACKOP_unregister: /* ABI: served; NMI only, -EINVAL for the others as Xen */
		return callback_unregister(c, arg[1]);
	default:
		return -XEN_ENOSYS;
	}
}

long core_hc_nmi_op(struct core_ctx *c, const uint64_t arg[6])
{
	struct xennmi_callback op;

	switch ((uint32_t)arg[0]) {
	case XENNMI_register_callback: /* ABI: served; as callback_op */
		if (!core_get(c, &op, arg[1]))
			return -XEN_EFAULT;
		return register_callback(c->v, CALLBACKTYPE_nmi, 0, op.handler_address);
	case XENNMI_unregister_callback: /* ABI: served */
		set_nmi(c->v, 0);
		return 0;
	default:
		return -XEN_ENOSYS;
	}
}
