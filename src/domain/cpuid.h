/* SPDX-License-Identifier: MIT */
/*
 * The CPUID policy of a PV guest: what the host's processor can do, less what a guest without
 * privileges cannot use. As Xen's policy for PV guests, and stricter where the ring3 executor needs
 * it. Hypervisor leaves (0x40000000...) are the core's.
 */
#ifndef PVV_DOMAIN_CPUID_H
#define PVV_DOMAIN_CPUID_H

#include <stdint.h>

#include "core/ctl.h"

struct cpuid_regs {
	uint32_t eax, ebx, ecx, edx;
};
/* Asks a processor; NULL means this host's. Tests put other processors here. */
typedef struct cpuid_regs cpuid_fn(void *opaque, uint32_t leaf, uint32_t subleaf);

/*
 * Fill boot->cpuid[] and boot->nr_cpuid. Leaves that are not listed read as zero. The core adds
 * what differs between vCPUs or with time: leaf 1 EBX[31:24] (APIC id), ECX.OSXSAVE (from CR4),
 * leaf 0xD EBX (from XCR0; the policy has the size for all components offered).
 */
void cpuid_policy(struct core_boot *boot, cpuid_fn *ask, void *opaque);

/*
 * Then, if no instruction of the guest's kernel is executed where it lies, on AMD's processors: it
 * need not guard against what depends on that (archcaps.c says why).
 */
void cpuid_policy_translated(struct core_boot *boot);

/*
 * And, on Intel's processors: what the guest reads in IA32_ARCH_CAPABILITIES (archcaps.h), and
 * that there is such a register. 0: there is none.
 */
void cpuid_policy_arch_caps(struct core_boot *boot, uint64_t caps);

/* XCR0 bits the policy offers: what XSETBV may set. 0: no XSAVE. */
uint64_t cpuid_policy_xcr0(const struct core_boot *boot);

#endif
