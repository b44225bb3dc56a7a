/* SPDX-License-Identifier: MIT */
/*
 * Model-specific registers a PV guest can see: what Xen 4.17 answers, #GP for everything else. The
 * registers of the system-call entries (STAR, LSTAR, SYSENTER_*) are among the rest: those entries
 * are callbacks.
 */
#include "core/cpu/msr.h"

#include "core/cpu/cpu.h"
#include "core/cpu/cpuid.h"
#include "core/lib/bitops.h"
#include "core/mm/mm.h"

#define MSR_P5_MC_ADDR	       0x00000000u
#define MSR_P5_MC_TYPE	       0x00000001u
#define MSR_TSC		       0x00000010u
#define MSR_PLATFORM_ID	       0x00000017u
#define MSR_APIC_BASE	       0x0000001bu
#define MSR_FEATURE_CONTROL    0x0000003au
#define MSR_UCODE_REV	       0x0000008bu
#define MSR_PERFCTR0	       0x000000c1u
#define MSR_PERFCTR7	       0x000000c8u
#define MSR_PLATFORM_INFO      0x000000ceu
#define MSR_MPERF	       0x000000e7u
#define MSR_APERF	       0x000000e8u
#define MSR_ARCH_CAPABILITIES  0x0000010au
#define MSR_MISC_FEATURES      0x00000140u
#define MSR_MCG_CAP	       0x00000179u
#define MSR_MCG_STATUS	       0x0000017au
#define MSR_MCG_CTL	       0x0000017bu
#define MSR_PERFEVTSEL0	       0x00000186u
#define MSR_PERFEVTSEL3	       0x00000189u
#define MSR_PERF_STATUS	       0x00000198u
#define MSR_PERF_CTL	       0x00000199u
#define MSR_THERM_CONTROL      0x0000019au
#define MSR_THERM_STATUS       0x0000019cu
#define MSR_MISC_ENABLE	       0x000001a0u
#define MSR_ENERGY_PERF_BIAS   0x000001b0u
#define MSR_PAT		       0x00000277u
#define MSR_FIXED_CTR0	       0x00000309u
#define MSR_FIXED_CTR2	       0x0000030bu
#define MSR_PERF_CAPABILITIES  0x00000345u
#define MSR_FIXED_CTR_CTRL     0x0000038du
#define MSR_GLOBAL_OVF_CTRL    0x00000390u
#define MSR_MC0_CTL2	       0x00000280u
#define MSR_MC31_CTL2	       0x0000029fu
#define MSR_MC0_CTL	       0x00000400u
#define MSR_MC1_MISC	       0x00000407u
#define MSR_MC31_MISC	       0x0000047fu
#define MSR_XEN_HYPERCALL_PAGE 0x40000000u
#define MSR_EFER	       0xc0000080u
#define MSR_FS_BASE	       0xc0000100u
#define MSR_GS_BASE	       0xc0000101u
#define MSR_KERNEL_GS_BASE     0xc0000102u
#define MSR_TSC_AUX	       0xc0000103u
#define MSR_K8_HWCR	       0xc0010015u
#define MSR_K8_SYSCFG	       0xc0010010u
#define MSR_AMD64_NB_CFG       0xc001001fu
#define MSR_K8_PSTATE_LIMIT    0xc0010061u
#define MSR_K8_PSTATE7	       0xc001006bu
#define MSR_FAM10H_MMIO_CONF   0xc0010058u
#define MSR_AMD64_DE_CFG       0xc0011029u

/* APIC enabled at its usual address; bit 8: bootstrap processor. */
#define APIC_BASE		 0xfee00800ull
#define APIC_BASE_BSP		 0x100ull
/* Fast strings; branch trace, PEBS and xTPR messages not available. */
#define MISC_ENABLE		 0x00801801ull
/* Two banks, threshold-based status, software error recovery: Xen's virtual MCE, always quiet. */
#define MCG_CAP_INTEL		 0x01000802ull
#define MCG_CAP_AMD		 0x00000002ull
#define DE_CFG_LFENCE_SERIALISES 2ull
#define HWCR_TSC_FREQ_SEL	 (1ull << 24)

/* Any revision: guests want to see that there is one. */
#define UCODE_REV (1ull << 32)

/* Performance counters: without a virtual PMU they read as 0, and writes are dropped. */
static bool is_intel_pmu(uint32_t msr)
{
	return (msr >= MSR_PERFCTR0 && msr <= MSR_PERFCTR7) ||
	       (msr >= MSR_PERFEVTSEL0 && msr <= MSR_PERFEVTSEL3) ||
	       (msr >= MSR_FIXED_CTR0 && msr <= MSR_FIXED_CTR2) ||
	       (msr >= MSR_FIXED_CTR_CTRL && msr <= MSR_GLOBAL_OVF_CTRL);
}

static bool read_intel(const struct core_ctx *c, uint32_t msr, uint64_t *ret)
{
	*ret = 0;
	if (msr >= MSR_MC0_CTL2 && msr <= MSR_MC31_CTL2)
		return true;
	switch (msr) {
	case MSR_PLATFORM_ID:
	case MSR_PLATFORM_INFO: /* no CPUID faulting */
	case MSR_MISC_FEATURES:
	case MSR_PERF_STATUS:
	case MSR_PERF_CTL:
	case MSR_THERM_STATUS:
		return true;
	case MSR_ARCH_CAPABILITIES:
		*ret = c->ctl->boot.arch_caps;
		return true;
	case MSR_FEATURE_CONTROL:
		*ret = 1; /* locked, nothing enabled */
		return true;
	case MSR_MISC_ENABLE:
		*ret = MISC_ENABLE;
		return true;
	default:
		return is_intel_pmu(msr);
	}
}

static bool read_amd(uint32_t msr, uint64_t *ret)
{
	*ret = 0;
	switch (msr) {
	case MSR_K8_HWCR:
		*ret = HWCR_TSC_FREQ_SEL;
		return true;
	case MSR_AMD64_DE_CFG:
		*ret = DE_CFG_LFENCE_SERIALISES;
		return true;
	case MSR_K8_SYSCFG:
	case MSR_AMD64_NB_CFG:
	case MSR_FAM10H_MMIO_CONF:
		return true;
	default:
		return msr >= MSR_K8_PSTATE_LIMIT && msr <= MSR_K8_PSTATE7;
	}
}

static bool read_known(struct core_ctx *c, uint32_t msr, uint64_t *ret)
{
	const struct core_vcpu *v = c->v;
	const struct core_regs *r = &v->regs;
	enum core_vendor vendor = core_cpuid_vendor(c);

	switch (msr) {
	case MSR_FS_BASE:
		*ret = r->fs_base;
		return true;
	case MSR_GS_BASE:
		*ret = r->gs_base;
		return true;
	case MSR_KERNEL_GS_BASE: /* in kernel mode: the user's */
		*ret = r->gs_base_other;
		return true;
	case MSR_EFER:
		*ret = v->efer;
		return true;
	case MSR_PAT:
		*ret = v->pat;
		return true;
	case MSR_TSC:
		*ret = c->ops->rdtsc(c);
		return true;
	case MSR_TSC_AUX:
		*ret = v->tsc_aux;
		return core_cpuid_has_rdtscp(c);
	case MSR_APIC_BASE:
		*ret = APIC_BASE | (v->id == 0 ? APIC_BASE_BSP : 0);
		return true;
	case MSR_UCODE_REV:
		*ret = UCODE_REV;
		return vendor != CORE_VENDOR_OTHER;
	case MSR_PERF_CAPABILITIES:
	case MSR_P5_MC_ADDR:
	case MSR_P5_MC_TYPE:
	case MSR_MCG_STATUS:
	case MSR_MCG_CTL:
	case MSR_XEN_HYPERCALL_PAGE:
		*ret = 0;
		return true;
	case MSR_MCG_CAP:
		*ret = vendor == CORE_VENDOR_AMD ? MCG_CAP_AMD : MCG_CAP_INTEL;
		return true;
	default:
		break;
	}
	/* All reporting on, nothing reported; and of banks that a processor could have, nothing. */
	if (msr >= MSR_MC0_CTL && msr <= MSR_MC31_MISC) {
		*ret = msr <= MSR_MC1_MISC && msr % 4 == 0 ? ~0ull : 0;
		return true;
	}
	if (vendor == CORE_VENDOR_AMD)
		return read_amd(msr, ret);
	return vendor == CORE_VENDOR_INTEL && read_intel(c, msr, ret);
}

bool core_msr_read(struct core_ctx *c, uint32_t msr, uint64_t *ret)
{
	if (read_known(c, msr, ret))
		return true;
	/* Too early to take a #GP: Xen makes up a 0 rather than let the guest die of a probe. */
	if (c->v->traps[CORE_VEC_GP].addr == 0 && msr >> 16 != 0x4000) {
		*ret = 0;
		return true;
	}
	return false;
}

/* Like the note in a guest's image: fill the frame with the stubs. */
static bool write_hypercall_page(struct core_ctx *c, uint64_t value)
{
	uint64_t mfn = value >> 12;

	if ((value & 0xfff) != 0 || mfn >= c->d->nr_frames ||
	    !core_frame_get_type(c, mfn, FRAME_WRITABLE))
		return false;
	core_fill_hypercall_page(core_frame_ptr(c, mfn));
	core_frame_dirtied(c, mfn);
	core_frame_put_type(c, mfn);
	return true;
}

static bool write_vendor(struct core_ctx *c, uint32_t msr, uint64_t value)
{
	/* Dropped: power and machine-check settings of a processor the guest does not own. */
	switch (core_cpuid_vendor(c)) {
	case CORE_VENDOR_INTEL:
		return msr == MSR_MISC_ENABLE || msr == MSR_MPERF || msr == MSR_APERF ||
		       msr == MSR_THERM_CONTROL || msr == MSR_ENERGY_PERF_BIAS ||
		       msr == MSR_UCODE_REV || msr == MSR_PERF_CTL || is_intel_pmu(msr) ||
		       (msr >= MSR_MC0_CTL2 && msr <= MSR_MC31_CTL2) ||
		       (msr == MSR_MISC_FEATURES && value == 0);
	case CORE_VENDOR_AMD:
		return msr == MSR_MPERF || msr == MSR_APERF || msr == MSR_K8_HWCR ||
		       msr == MSR_AMD64_NB_CFG || msr == MSR_FAM10H_MMIO_CONF ||
		       (msr >= MSR_K8_PSTATE_LIMIT && msr <= MSR_K8_PSTATE7);
	default:
		return false;
	}
}

bool core_msr_write(struct core_ctx *c, uint32_t msr, uint64_t value)
{
	struct core_vcpu *v = c->v;
	struct core_regs *r = &v->regs;

	switch (msr) {
	case MSR_FS_BASE:
	case MSR_GS_BASE:
	case MSR_KERNEL_GS_BASE:
		if (!core_canonical(value))
			return false;
		if (msr == MSR_FS_BASE)
			r->fs_base = value;
		else if (msr == MSR_GS_BASE)
			r->gs_base = value;
		else
			r->gs_base_other = value;
		return true;
	case MSR_EFER: /* Linux writes back what it read */
		return value == v->efer;
	case MSR_TSC_AUX:
		if (value >> 32 != 0 || !core_cpuid_has_rdtscp(c))
			return false;
		v->tsc_aux = value;
		c->ops->cpu_changed(c);
		return true;
	case MSR_XEN_HYPERCALL_PAGE:
		return write_hypercall_page(c, value);
	case MSR_MCG_CAP:
	case MSR_MCG_STATUS:
	case MSR_MCG_CTL:
		return true;
	default:
		break;
	}
	/* What was reported can only be cleared. */
	if (msr >= MSR_MC0_CTL && msr <= MSR_MC31_MISC)
		return msr > MSR_MC1_MISC || msr % 4 == 0 || value == 0;
	return write_vendor(c, msr, value);
}
