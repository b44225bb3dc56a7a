/* SPDX-License-Identifier: MIT */
/* Privileged instructions as Xen emulates them for the guest's kernel. */
#include "core/cpu/emulate.h"

#include "core/cpu/cpu.h"
#include "core/cpu/cpuid.h"
#include "core/cpu/debugreg.h"
#include "core/cpu/msr.h"
#include "core/event/event.h"
#include "core/hypercall/hypercall.h"
#include "core/mm/mm.h"

/* PAE, MCE, OSFXSR, OSXMMEXCPT: always as they are. */
#define CR4_FIXED	   0x660ull
#define LEAF7_EBX_FSGSBASE 1u

static enum emu_result read_cr(struct core_ctx *c, struct emu *e)
{
	struct core_vcpu *v = c->v;
	uint64_t value;

	switch (e->i.reg) {
	case 0:
		value = v->cr0;
		break;
	case 2:
		value = core_vcpu_info(c, v)->arch.cr2;
		break;
	case 3:
		value = v->kernel_root << 12;
		break;
	case 4:
		value = v->cr4;
		break;
	default:
		return EMU_UNKNOWN;
	}
	core_reg_write(&v->regs, e->i.rm, e->i.mode64 ? 8 : 4, value);
	return EMU_DONE;
}

static uint64_t guest_cr4(const struct core_ctx *c, uint64_t value)
{
	uint64_t may = CORE_CR4_TSD | CORE_CR4_DE;
	struct core_cpuid_regs leaf7;

	core_cpuid(c, 7, 0, &leaf7);
	if (leaf7.ebx & LEAF7_EBX_FSGSBASE)
		may |= CORE_CR4_FSGSBASE;
	if (core_cpuid_xcr0_max(c) != 0)
		may |= CORE_CR4_OSXSAVE;
	return (value & may) | CR4_FIXED;
}

static enum emu_result write_cr3(struct core_ctx *c, uint64_t value)
{
	int rc = core_mm_write_cr3(c, value >> 12);

	if (rc > 0)
		return EMU_JUMPED; /* preempted: rip stays, the guest tries again */
	return rc == 0 ? EMU_DONE : EMU_UNKNOWN;
}

static enum emu_result write_cr(struct core_ctx *c, struct emu *e)
{
	struct core_vcpu *v = c->v;
	uint64_t value = v->regs.gpr[e->i.rm];

	switch (e->i.reg) {
	case 0: /* only TS can change */
		if ((value ^ v->cr0) & ~CORE_CR0_TS)
			return EMU_UNKNOWN;
		v->cr0 = value;
		break;
	case 2:
		core_vcpu_info(c, v)->arch.cr2 = value;
		return EMU_DONE;
	case 3:
		return write_cr3(c, value);
	case 4:
		v->cr4 = guest_cr4(c, value);
		break;
	default:
		return EMU_UNKNOWN;
	}
	c->ops->cpu_changed(c);
	return EMU_DONE;
}

static enum emu_result read_dr(struct core_ctx *c, struct emu *e)
{
	uint64_t value;

	if (!core_debugreg_get(c, e->i.reg, &value))
		return emu_fault(e, CORE_VEC_UD);
	core_reg_write(&c->v->regs, e->i.rm, e->i.mode64 ? 8 : 4, value);
	return EMU_DONE;
}

static enum emu_result write_dr(struct core_ctx *c, struct emu *e)
{
	switch (core_debugreg_set(c, e->i.reg, c->v->regs.gpr[e->i.rm])) {
	case 0:
		return EMU_DONE;
	case -XEN_ENODEV:
		return emu_fault(e, CORE_VEC_UD);
	default:
		return emu_fault(e, CORE_VEC_GP);
	}
}

static void set_edx_eax(struct core_regs *r, uint64_t value)
{
	r->gpr[R_RAX] = (uint32_t)value;
	r->gpr[R_RDX] = value >> 32;
}

static uint64_t edx_eax(const struct core_regs *r)
{
	return r->gpr[R_RDX] << 32 | (uint32_t)r->gpr[R_RAX];
}

static enum emu_result rdtsc(struct core_ctx *c, struct emu *e, bool with_aux)
{
	struct core_regs *r = &c->v->regs;

	if (!c->v->kernel_mode && (c->v->cr4 & CORE_CR4_TSD))
		return EMU_UNKNOWN;
	if (with_aux && !core_cpuid_has_rdtscp(c))
		return emu_fault(e, CORE_VEC_UD);
	set_edx_eax(r, c->ops->rdtsc(c));
	if (with_aux)
		r->gpr[R_RCX] = (uint32_t)c->v->tsc_aux;
	return EMU_DONE;
}

static enum emu_result cpuid(struct core_ctx *c)
{
	struct core_regs *r = &c->v->regs;
	struct core_cpuid_regs out;

	core_cpuid(c, (uint32_t)r->gpr[R_RAX], (uint32_t)r->gpr[R_RCX], &out);
	r->gpr[R_RAX] = out.eax;
	r->gpr[R_RBX] = out.ebx;
	r->gpr[R_RCX] = out.ecx;
	r->gpr[R_RDX] = out.edx;
	return EMU_DONE;
}

/* Combinations the processor accepts: AVX needs SSE, AVX-512 needs AVX and comes as a whole. */
static bool xcr0_valid(uint64_t value, uint64_t max)
{
	const uint64_t sse = 2, avx = 4, mpx = 0x18, avx512 = 0xe0;

	if (!(value & 1) || (value & ~max))
		return false;
	if ((value & avx) && !(value & sse))
		return false;
	if ((value & mpx) != 0 && (value & mpx) != mpx)
		return false;
	return (value & avx512) == 0 || ((value & avx512) == avx512 && (value & avx));
}

static enum emu_result xsetbv(struct core_ctx *c, struct emu *e)
{
	struct core_vcpu *v = c->v;
	uint64_t value = edx_eax(&v->regs);

	if (!(v->cr4 & CORE_CR4_OSXSAVE) || e->i.rep || e->i.opsize)
		return emu_fault(e, CORE_VEC_UD);
	if (!v->kernel_mode || (uint32_t)v->regs.gpr[R_RCX] != 0 ||
	    !xcr0_valid(value, core_cpuid_xcr0_max(c)))
		return emu_fault(e, CORE_VEC_GP);
	v->xcr0 = value;
	c->ops->cpu_changed(c);
	return EMU_DONE;
}

static enum emu_result msr(struct core_ctx *c, struct emu *e, bool write)
{
	struct core_regs *r = &c->v->regs;
	uint32_t index = (uint32_t)r->gpr[R_RCX];
	uint64_t value = edx_eax(r);

	if (write)
		return core_msr_write(c, index, value) ? EMU_DONE : EMU_UNKNOWN;
	if (!core_msr_read(c, index, &value))
		return EMU_UNKNOWN;
	set_edx_eax(r, value);
	return EMU_DONE;
}

/* 0f 01 with register forms: xsetbv and rdtscp are the ones Xen looks for. */
static enum emu_result group7(struct core_ctx *c, struct emu *e)
{
	if (e->i.mod != 3 || (e->i.rm & 7) != 1)
		return EMU_UNKNOWN;
	switch (e->i.reg & 7) {
	case 2:
		return xsetbv(c, e);
	case 7:
		return rdtsc(c, e, true);
	default:
		return EMU_UNKNOWN;
	}
}

enum emu_result emu_privileged(struct core_ctx *c, struct emu *e)
{
	const bool kernel = c->v->kernel_mode != 0;

	if (e->i.map == 0) {
		if (e->i.opcode == 0xfa || e->i.opcode == 0xfb)
			/* Allowed ones do nothing: the event mask is the guest's IF. */
			return emu_iopl_ok(c) ? EMU_DONE : EMU_UNKNOWN;
		return emu_io(c, e);
	}
	if (e->i.map != 1)
		return EMU_UNKNOWN;
	switch (e->i.opcode) {
	case 0x01:
		return group7(c, e);
	case 0x31:
		return rdtsc(c, e, false);
	case 0xa2:
		return cpuid(c);
	default:
		break;
	}
	if (!kernel)
		return EMU_UNKNOWN;
	switch (e->i.opcode) {
	case 0x06: /* clts */
		c->v->cr0 &= ~CORE_CR0_TS;
		c->ops->cpu_changed(c);
		return EMU_DONE;
	case 0x09: /* wbinvd: there is no device that would notice */
		return EMU_DONE;
	case 0x20:
		return read_cr(c, e);
	case 0x21:
		return read_dr(c, e);
	case 0x22:
		return write_cr(c, e);
	case 0x23:
		return write_dr(c, e);
	case 0x30:
		return msr(c, e, true);
	case 0x32:
		return msr(c, e, false);
	default:
		return EMU_UNKNOWN;
	}
}
