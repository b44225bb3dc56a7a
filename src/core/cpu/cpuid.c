/* SPDX-License-Identifier: MIT */
#include "core/cpu/cpuid.h"

#include <xen/arch-x86/cpuid.h>

#include "core/cpu/cpu.h"
#include "core/time/time.h"

#define LEAF1_ECX_XSAVE	  (1u << 26)
#define LEAF1_ECX_OSXSAVE (1u << 27)
#define EXT1_EDX_RDTSCP	  (1u << 27)

#define XEN_VERSION_LEAF      (4u << 16 | 17u)
/* How often the TSC was set anew: once, when the domain was made. */
#define TSC_INCARNATION	      1u
/* Machine frames are numbered from 0 and there are never more than 1 << (48 - 12). */
#define MACHINE_ADDRESS_WIDTH 48u

static const struct core_cpuid *find(const struct core_ctx *c, uint32_t leaf, uint32_t subleaf)
{
	const struct core_boot *b = &c->ctl->boot;
	uint32_t nr = b->nr_cpuid < 64 ? b->nr_cpuid : 64;

	for (uint32_t i = 0; i < nr; i++) {
		const struct core_cpuid *e = &b->cpuid[i];

		if (e->leaf == leaf && (!(e->flags & 1) || e->subleaf == subleaf))
			return e;
	}
	return NULL;
}

/* Frequency of the guest's TSC from the pvclock parameters. */
static uint32_t tsc_khz(const struct core_ctx *c)
{
	uint64_t mul = c->ctl->tsc_mul;

	if (mul == 0)
		return 0;
	uint64_t khz = (1000000ull << 32) / mul;
	int shift = c->ctl->tsc_shift;

	return (uint32_t)(shift < 0 ? khz << -shift : khz >> shift);
}

static void xen_leaf(const struct core_ctx *c, uint32_t leaf, uint32_t subleaf,
		     struct core_cpuid_regs *r)
{
	switch (leaf - XEN_CPUID_FIRST_LEAF) {
	case 0:
		r->eax = XEN_CPUID_FIRST_LEAF + XEN_CPUID_MAX_NUM_LEAVES;
		r->ebx = XEN_CPUID_SIGNATURE_EBX;
		r->ecx = XEN_CPUID_SIGNATURE_ECX;
		r->edx = XEN_CPUID_SIGNATURE_EDX;
		break;
	case 1:
		r->eax = XEN_VERSION_LEAF;
		break;
	case 2:
		r->eax = 1;	     /* hypercall pages */
		r->ebx = 0x40000000; /* MSR to install one */
		r->ecx = XEN_CPUID_FEAT1_MMU_PT_UPDATE_PRESERVE_AD;
		break;
	case 3:
		if (subleaf == 0) {
			r->eax = 2; /* the TSC is stable and constant */
			r->ecx = tsc_khz(c);
			r->edx = TSC_INCARNATION;
		} else if (subleaf == 1) {
			r->ecx = c->ctl->tsc_mul;
			r->edx = (uint32_t)c->ctl->tsc_shift;
		} else if (subleaf == 2) {
			r->eax = tsc_khz(c);
		}
		break;
	case 5:
		if (subleaf == 0)
			r->ebx = MACHINE_ADDRESS_WIDTH;
		break;
	default:
		break;
	}
}

/* Size of the XSAVE area for `xcr0`, from the components' own sub-leaves. */
static uint32_t xsave_size(const struct core_ctx *c, uint64_t xcr0)
{
	uint32_t size = 512 + 64;

	for (unsigned int i = 2; i < 63; i++) {
		const struct core_cpuid *e;

		if (!(xcr0 >> i & 1))
			continue;
		e = find(c, 0xd, i);
		if (e != NULL && e->ebx + e->eax > size)
			size = e->ebx + e->eax;
	}
	return size;
}

static void per_vcpu(const struct core_ctx *c, uint32_t leaf, uint32_t subleaf,
		     struct core_cpuid_regs *r)
{
	const struct core_vcpu *v = c->v;

	switch (leaf) {
	case 1:
		/* Xen shows PV guests 0 as the initial APIC id, of each vCPU: that there are
		 * several the kernel knows from elsewhere. */
		r->ebx &= 0x00ffffff;
		/*
		 * A PV kernel is shown the hypervisor's own OSXSAVE, before it has set its own:
		 * Linux takes that for "Xen will let me use XSAVE" and does without otherwise.
		 */
		r->ecx &= ~LEAF1_ECX_OSXSAVE;
		if ((r->ecx & LEAF1_ECX_XSAVE) && (v->kernel_mode || (v->cr4 & CORE_CR4_OSXSAVE)))
			r->ecx |= LEAF1_ECX_OSXSAVE;
		break;
	case 0xd:
		if (subleaf == 0)
			r->ebx = xsave_size(c, v->xcr0 | 3);
		break;
	default:
		break;
	}
}

void core_cpuid(const struct core_ctx *c, uint32_t leaf, uint32_t subleaf,
		struct core_cpuid_regs *ret)
{
	*ret = (struct core_cpuid_regs){0};
	if (leaf >= XEN_CPUID_FIRST_LEAF && leaf < XEN_CPUID_FIRST_LEAF + 0x10000) {
		xen_leaf(c, leaf, subleaf, ret);
		return;
	}
	const struct core_cpuid *e = find(c, leaf, subleaf);

	if (e == NULL)
		return;
	ret->eax = e->eax;
	ret->ebx = e->ebx;
	ret->ecx = e->ecx;
	ret->edx = e->edx;
	per_vcpu(c, leaf, subleaf, ret);
}

enum core_vendor core_cpuid_vendor(const struct core_ctx *c)
{
	const struct core_cpuid *e = find(c, 0, 0);

	if (e == NULL)
		return CORE_VENDOR_OTHER;
	if (e->ebx == 0x756e6547) /* "Genu" */
		return CORE_VENDOR_INTEL;
	/* "Auth", "Hygo" */
	return e->ebx == 0x68747541 || e->ebx == 0x6f677948 ? CORE_VENDOR_AMD : CORE_VENDOR_OTHER;
}

bool core_cpuid_has_rdtscp(const struct core_ctx *c)
{
	const struct core_cpuid *e = find(c, 0x80000001, 0);

	return e != NULL && (e->edx & EXT1_EDX_RDTSCP);
}

uint64_t core_cpuid_xcr0_max(const struct core_ctx *c)
{
	const struct core_cpuid *e = find(c, 1, 0);

	if (e == NULL || !(e->ecx & LEAF1_ECX_XSAVE))
		return 0;
	e = find(c, 0xd, 0);
	return e != NULL ? (uint64_t)e->edx << 32 | e->eax : 0;
}
