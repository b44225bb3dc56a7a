/* SPDX-License-Identifier: MIT */
/*
 * The iret hypercall: back from a handler to what it interrupted, or on to the guest's user mode.
 * The frame on the kernel's stack is struct iret_context of the public headers.
 */
#include "core/hypercall/hypercall.h"

#include "core/cpu/bounce.h"
#include "core/cpu/cpu.h"
#include "core/cpu/desc.h"
#include "core/cpu/exception.h"
#include "core/event/event.h"
#include "core/lib/bitops.h"
#include "core/run.h"

/*
 * Xen leaves by sysret when the frame says so: cs and ss are the flat user segments then, whatever
 * the frame holds, and rcx and r11 are what the instruction takes them from.
 */
static void leave_by_sysret(struct core_regs *r, uint64_t rflags)
{
	r->gpr[R_RCX] = r->rip;
	r->gpr[R_R11] = (rflags & ~(CORE_FLAG_IOPL | CORE_FLAG_VM)) | CORE_FLAG_IF;
	r->cs = r->cs == FLAT_USER_CS32 ? FLAT_USER_CS32 : FLAT_USER_CS64;
	r->ss = FLAT_USER_SS64;
}

/* What the processor checks when Xen executes iretq; a failure is a fault at the frame's target. */
static struct core_fault check_target(struct core_ctx *c)
{
	const struct core_regs *r = &c->v->regs;
	uint64_t desc;

	/* The flat segments of the ABI, which nearly all frames have: nothing to look up. */
	if (r->cs == FLAT_USER_CS64 && r->ss == FLAT_USER_SS64)
		return core_canonical(r->rip) ? core_fault_none()
					      : core_fault_vector(CORE_VEC_GP, 0);
	struct core_fault f = core_cs_check(c, r->cs, &desc);

	if (f.raised)
		return f;
	if (!core_canonical(r->rip) && (desc & DESC_L))
		return core_fault_vector(CORE_VEC_GP, 0);
	return core_ss_check(c, r->ss);
}

/* ABI: served */
long core_hc_iret(struct core_ctx *c, const uint64_t arg[6])
{
	struct core_vcpu *v = c->v;
	struct core_regs *r = &v->regs;
	struct iret_context frame;

	if (!core_get(c, &frame, r->gpr[R_RSP])) {
		core_crash(c, "iret: cannot read the frame at %lx", r->gpr[R_RSP]);
		return 0;
	}
	if ((frame.cs & 3) == 3) {
		if (v->user_root == CORE_INVALID_MFN) {
			core_crash(c, "iret to user mode at %lx: there are no user page tables",
				   frame.rip);
			return 0;
		}
		core_toggle_mode(c);
	}
	if (c->d->vm_assist & (1ull << VMASST_TYPE_architectural_iopl))
		v->iopl = (uint32_t)(frame.rflags >> 12) & 3;

	r->rip = frame.rip;
	r->cs = (uint16_t)frame.cs | 3;
	r->rflags = (frame.rflags & CORE_FLAGS_USER) | CORE_FLAG_IF | CORE_FLAG_FIXED;
	/* (goes on at a breakpoint of the debug registers) */
	if ((frame.cs & 3) == 3 || (v->debugreg[7] & 0xff))
		r->rflags |= frame.rflags & CORE_FLAG_RF;
	r->gpr[R_RSP] = frame.rsp;
	r->ss = (uint16_t)frame.ss | 3;
	core_vcpu_info(c, v)->evtchn_upcall_mask = (frame.rflags & CORE_FLAG_IF) == 0;
	v->nmi_masked = 0;
	v->returned = 1;

	bool by_sysret = (frame.flags & VGCF_IN_SYSCALL) && core_canonical(r->rip);

	if (!(frame.flags & VGCF_IN_SYSCALL)) {
		r->gpr[R_R11] = frame.r11;
		r->gpr[R_RCX] = frame.rcx;
	}
	if (by_sysret) {
		leave_by_sysret(r, frame.rflags);
		if (!(r->rflags & CORE_FLAG_TF))
			return (long)frame.rax;
		/* Unlike iret, it traps at once. */
		r->gpr[R_RAX] = frame.rax;
		core_debug_trap(c, CORE_DR6_BS);
		return (long)r->gpr[R_RAX];
	}
	struct core_fault f = check_target(c);

	if (f.raised) {
		/* The handler sees rax as the frame had it: load it before the bounce. */
		r->gpr[R_RAX] = frame.rax;
		core_fault_inject(c, &f);
		return (long)r->gpr[R_RAX];
	}
	return (long)frame.rax;
}
