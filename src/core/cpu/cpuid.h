/* SPDX-License-Identifier: MIT */
#ifndef PVV_CORE_CPUID_H
#define PVV_CORE_CPUID_H

#include "core/core.h"

struct core_cpuid_regs {
	uint32_t eax, ebx, ecx, edx;
};

enum core_vendor { CORE_VENDOR_OTHER, CORE_VENDOR_INTEL, CORE_VENDOR_AMD };

/* The library's policy with what depends on the vCPU filled in, and the hypervisor leaves. */
void core_cpuid(const struct core_ctx *c, uint32_t leaf, uint32_t subleaf,
		struct core_cpuid_regs *ret);

enum core_vendor core_cpuid_vendor(const struct core_ctx *c);
bool core_cpuid_has_rdtscp(const struct core_ctx *c);
/* The bits xsetbv may set in XCR0; 0 if the guest has no XSAVE. */
uint64_t core_cpuid_xcr0_max(const struct core_ctx *c);

#endif
