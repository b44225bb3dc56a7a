/* SPDX-License-Identifier: MIT */
/* Secondary vCPUs: their first state, taken from the guest's vcpu_guest_context. */
#include "core/sched/vcpu.h"

#include "core/cpu/cpu.h"
#include "core/cpu/debugreg.h"
#include "core/hypercall/hypercall.h"
#include "core/lib/bitops.h"
#include "core/lib/lock.h"
#include "core/lib/mem.h"
#include "core/mm/mm.h"
#include "core/run.h"

#define MAX_LDT_ENTRIES 8192u

/* The structure is more than a page: it is read in parts, each part once. */
#define CONTEXT(va, field)	 ((va) + offsetof(struct vcpu_guest_context, field))
#define FETCH(c, obj, va, field) core_get_bytes((c), (obj), CONTEXT(va, field), sizeof(*(obj)))

/* Everything but the trap table; fpu_ctxt is not looked at: a vCPU starts with a clean FPU. */
struct context {
	unsigned long flags;
	struct cpu_user_regs regs;
	struct { /* as in vcpu_guest_context, from ldt_base to the end */
		unsigned long ldt_base, ldt_ents;
		unsigned long gdt_frames[16], gdt_ents;
		unsigned long kernel_ss, kernel_sp;
		unsigned long ctrlreg[8];
		unsigned long debugreg[8];
		unsigned long event, failsafe, syscall;
		unsigned long vm_assist;
		uint64_t fs_base, gs_base_kernel, gs_base_user;
	} rest;
};

_Static_assert(sizeof(((struct context *)0)->rest) ==
		       sizeof(struct vcpu_guest_context) -
			       offsetof(struct vcpu_guest_context, ldt_base),
	       "struct context.rest is not the tail of vcpu_guest_context");

static bool addresses_ok(const struct context *x)
{
	return core_canonical(x->regs.rip) && core_canonical(x->rest.event) &&
	       core_canonical(x->rest.failsafe) && core_canonical(x->rest.syscall) &&
	       core_canonical(x->rest.fs_base) && core_canonical(x->rest.gs_base_kernel) &&
	       core_canonical(x->rest.gs_base_user) && x->rest.ldt_ents <= MAX_LDT_ENTRIES &&
	       (x->rest.ldt_ents == 0 ||
		((x->rest.ldt_base & 0xfff) == 0 && core_addr_ok(x->rest.ldt_base)));
}

static long load_traps(struct core_ctx *c, struct core_vcpu *v, uint64_t va)
{
	for (unsigned int i = 0; i < 256; i++) {
		struct trap_info t;

		if (!FETCH(c, &t, va, trap_ctxt[i]))
			return -XEN_EFAULT;
		if (!core_canonical(t.address))
			return -XEN_EINVAL;
		v->traps[i] = (struct core_trap){.addr = t.address, .cs = t.cs, .flags = t.flags};
	}
	return 0;
}

static void load_registers(struct core_vcpu *v, const struct context *x)
{
	const struct cpu_user_regs *u = &x->regs;
	struct core_regs *r = &v->regs;
	const uint64_t gpr[16] = {
		u->rax, u->rcx, u->rdx, u->rbx, u->rsp, u->rbp, u->rsi, u->rdi,
		u->r8,	u->r9,	u->r10, u->r11, u->r12, u->r13, u->r14, u->r15,
	};
	bool kernel = (x->flags & VGCF_IN_KERNEL) != 0;

	memset(r, 0, sizeof(*r));
	memcpy(r->gpr, gpr, sizeof(gpr));
	r->rip = u->rip;
	r->rflags = (u->rflags & CORE_FLAGS_USER) | CORE_FLAG_IF | CORE_FLAG_FIXED;
	r->cs = u->cs | 3;
	r->ss = u->ss | 3;
	r->ds = u->ds;
	r->es = u->es;
	r->fs = u->fs;
	r->gs = u->gs;
	r->fs_base = x->rest.fs_base;
	r->gs_base = kernel ? x->rest.gs_base_kernel : x->rest.gs_base_user;
	r->gs_base_other = kernel ? x->rest.gs_base_user : x->rest.gs_base_kernel;
	v->kernel_mode = kernel;
}

static void load_callbacks(struct core_vcpu *v, const struct context *x)
{
	v->cb_event = (struct core_callback){.addr = x->rest.event, .set = 1};
	v->cb_failsafe = (struct core_callback){
		.addr = x->rest.failsafe,
		.flags = (x->flags & VGCF_failsafe_disables_events) != 0,
		.set = 1,
	};
	v->cb_syscall = (struct core_callback){
		.addr = x->rest.syscall,
		.flags = (x->flags & VGCF_syscall_disables_events) != 0,
		.set = 1,
	};
}

static void load_debug_registers(struct core_vcpu *v, const struct context *x)
{
	/* Through the checks of the hypercall. Bad ones stay 0. */
	for (unsigned int i = 0; i < 8; i++) {
		if (i != 4 && i != 5)
			(void)core_debugreg_load(v, i, x->rest.debugreg[i]);
	}
}

/* What can fail, in an order that leaves nothing behind. */
static long load_tables(struct core_ctx *c, struct core_vcpu *v, const struct context *x,
			uint64_t va)
{
	uint64_t user = x->rest.ctrlreg[1] >> 12;
	long rc = core_gdt_set(c, v, x->rest.gdt_frames, (unsigned int)x->rest.gdt_ents);

	if (rc == 0)
		rc = load_traps(c, v, va);
	if (rc == 0)
		rc = core_mm_set_roots(c, v, x->rest.ctrlreg[3] >> 12,
				       user != 0 ? user : CORE_INVALID_MFN);
	if (rc != 0) {
		core_gdt_drop(c, v);
		memset(v->traps, 0, sizeof(v->traps));
	}
	return rc;
}

static bool fetch(struct core_ctx *c, struct context *x, uint64_t va)
{
	return FETCH(c, &x->flags, va, flags) && FETCH(c, &x->regs, va, user_regs) &&
	       core_get_bytes(c, &x->rest, CONTEXT(va, ldt_base), sizeof(x->rest));
}

static long initialise(struct core_ctx *c, struct core_vcpu *v, uint64_t va)
{
	struct context x;

	if (!fetch(c, &x, va))
		return -XEN_EFAULT;
	if (v->is_initialised)
		return -XEN_EEXIST;
	if (!addresses_ok(&x) || x.rest.gdt_ents > FIRST_RESERVED_GDT_ENTRY)
		return -XEN_EINVAL;
	/* It would start in user mode without user page tables. */
	if (!(x.flags & VGCF_IN_KERNEL) && x.rest.ctrlreg[1] >> 12 == 0)
		return -XEN_EINVAL;

	long rc = load_tables(c, v, &x, va);

	if (rc != 0)
		return rc;
	load_registers(v, &x);
	load_callbacks(v, &x);
	load_debug_registers(v, &x);
	v->ldt_base = x.rest.ldt_base;
	v->ldt_ents = (uint32_t)x.rest.ldt_ents;
	v->kernel_ss = x.rest.kernel_ss;
	v->kernel_sp = x.rest.kernel_sp;
	v->iopl = (uint32_t)(x.regs.rflags >> 12) & 3;
	if (x.rest.ctrlreg[0] & CORE_CR0_TS)
		v->cr0 |= CORE_CR0_TS;
	__atomic_store_n(&v->is_initialised, 1, __ATOMIC_RELEASE);
	return 0;
}

long core_vcpu_initialise(struct core_ctx *c, struct core_vcpu *v, uint64_t va)
{
	uint32_t idle = 0;

	/* Two vCPUs may try at once; mm takes locks of its own, so this is not a spin lock. */
	if (!__atomic_compare_exchange_n(&v->initialising, &idle, 1, false, __ATOMIC_ACQUIRE,
					 __ATOMIC_RELAXED))
		return -XEN_EEXIST;

	long rc = initialise(c, v, va);

	__atomic_store_n(&v->initialising, 0, __ATOMIC_RELEASE);
	return rc;
}

long core_vcpu_up(struct core_ctx *c, struct core_vcpu *v)
{
	if (!__atomic_load_n(&v->is_initialised, __ATOMIC_ACQUIRE))
		return -XEN_EINVAL;
	/* An executor of one vCPU says so, or the guest would wait for the second one for ever. */
	if (v->id != 0 && !__atomic_load_n(&v->is_up, __ATOMIC_SEQ_CST) &&
	    (!c->ops->start_vcpu || !c->ops->start_vcpu(c, v->id)))
		return -XEN_ENOSYS;
	if (__atomic_exchange_n(&v->is_up, 1, __ATOMIC_SEQ_CST) == 0)
		core_vcpu_kick(c, v);
	return 0;
}

/* Takes effect when the vCPU passes core_next(): at once for this one, soon for another. */
long core_vcpu_down(struct core_ctx *c, struct core_vcpu *v)
{
	if (__atomic_exchange_n(&v->is_up, 0, __ATOMIC_SEQ_CST) != 0)
		core_vcpu_kick(c, v);
	return 0;
}
