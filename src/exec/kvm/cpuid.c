/* SPDX-License-Identifier: MIT */
/*
 * Which processor there is inside. Two answers: what the monitor (or who has taken it over) finds,
 * and what of the guest's policy this host's KVM can keep.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "exec/kvm/kvm.h"
#include "util/err.h"

#define LEAF1_ECX_X2APIC    (1u << 21)
#define LEAF1_ECX_DEADLINE  (1u << 24)
#define LEAF1_ECX_XSAVE	    (1u << 26)
#define LEAF1_ECX_SOFTWARE  (1u << 31) /* runs under a hypervisor: no matter of KVM */
#define LEAFD1_EAX_COMPACT  (1u << 1)
#define EXT1_EDX_RDTSCP	    (1u << 27)
#define LEAF_KVM_FEATURES   0x40000001u
#define LEAF_ADDRESS_BITS   0x80000008u
#define KVM_FEATURES_WANTED (1u << 6) /* end of interrupt by memory */

#define MAX_ENTRIES 256

const struct kvm_cpuid_entry2 *kvm_cpuid_find(const struct kvm_cpuid2 *c, uint32_t leaf,
					      uint32_t subleaf)
{
	for (uint32_t i = 0; i < c->nent; i++)
		if (c->entries[i].function == leaf &&
		    (!(c->entries[i].flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) ||
		     c->entries[i].index == subleaf))
			return &c->entries[i];
	return NULL;
}

/*
 * No virtualization inside virtualization, and of KVM's own services the one that is used; no
 * counters, no tracing, no enclaves, no fifth level of page tables: each is a part of the host's
 * kernel that a hostile monitor would otherwise reach.
 */
static void close_features(struct kvm_cpuid2 *c)
{
	static const struct {
		uint32_t leaf, eax, ebx, ecx, edx; /* what goes, of all subleaves */
	} closed[] = {
		{1, .ecx = 1u << 5 | 1u << 6 | 1u << 15}, /* VMX, SMX, PDCM */
		{7, .ebx = 1u << 2 | 1u << 25,		  /* SGX, PT */
		 .ecx = 1u << 7 | 1u << 16 | 1u << 30,	  /* CET, LA57, SGX_LC */
		 .edx = 1u << 19 | 1u << 20},		  /* arch. LBR, CET */
		{0xa, ~0u, ~0u, ~0u, ~0u},		  /* counters */
		{0x12, ~0u, ~0u, ~0u, ~0u},		  /* SGX */
		{0x14, ~0u, ~0u, ~0u, ~0u},		  /* PT */
		{0x1c, ~0u, ~0u, ~0u, ~0u},		  /* arch. LBR */
		{LEAF_KVM_FEATURES, .eax = ~KVM_FEATURES_WANTED},
		{0x80000001u, .ecx = 1u << 2 | 3u << 23 | 1u << 28}, /* SVM, counters */
		{0x8000000au, ~0u, ~0u, ~0u, ~0u},		     /* SVM */
		{0x80000022u, ~0u, ~0u, ~0u, ~0u},		     /* counters */
	};

	for (uint32_t i = 0; i < c->nent; i++) {
		struct kvm_cpuid_entry2 *x = &c->entries[i];

		for (size_t k = 0; k < sizeof(closed) / sizeof(closed[0]); k++) {
			if (x->function != closed[k].leaf)
				continue;
			x->eax &= ~closed[k].eax;
			x->ebx &= ~closed[k].ebx;
			x->ecx &= ~closed[k].ecx;
			x->edx &= ~closed[k].edx;
		}
	}
}

int kvm_cpuid_ask(struct exec *e, int kvm)
{
	const struct kvm_cpuid_entry2 *x;

	e->cpuid = calloc(1, sizeof(*e->cpuid) + MAX_ENTRIES * sizeof(e->cpuid->entries[0]));
	if (!e->cpuid)
		return err_nomem(PVV_SUBSYS_EXEC, "starting a domain");
	e->cpuid->nent = MAX_ENTRIES;
	if (ioctl(kvm, KVM_GET_SUPPORTED_CPUID, e->cpuid) < 0)
		return err_sys(PVV_ESYS, PVV_SUBSYS_EXEC, errno, e->name,
			       "domain '%s': the host's KVM does not say what processor it offers",
			       e->name);
	close_features(e->cpuid);
	x = kvm_cpuid_find(e->cpuid, 1, 0);
	e->has_xsave = x && (x->ecx & LEAF1_ECX_XSAVE);
	x = kvm_cpuid_find(e->cpuid, 0x80000001u, 0);
	e->has_rdtscp = x && (x->edx & EXT1_EDX_RDTSCP);
	x = kvm_cpuid_find(e->cpuid, 7, 0);
	e->leaf7_ebx = x ? x->ebx : 0;
	x = kvm_cpuid_find(e->cpuid, LEAF_KVM_FEATURES, 0);
	e->has_pv_eoi = x && (x->eax & KVM_FEATURES_WANTED);
	x = kvm_cpuid_find(e->cpuid, LEAF_ADDRESS_BITS, 0);
	e->address_bits = x ? x->eax & 0xff : 0;
	if (e->address_bits < 36 || e->address_bits > 52)
		e->address_bits = 36;
	return 0;
}

int kvm_cpuid_set(struct kvm_vcpu *v)
{
	struct kvm_cpuid2 *c = v->e->cpuid;

	for (uint32_t i = 0; i < c->nent; i++) {
		struct kvm_cpuid_entry2 *x = &c->entries[i];

		if (x->function == 1) {
			x->ebx = (x->ebx & 0xffffff) | v->id << 24;
			x->ecx |= LEAF1_ECX_X2APIC | LEAF1_ECX_DEADLINE;
		} else if (x->function == 0xb || x->function == 0x1f) {
			x->edx = v->id;
		}
	}
	return ioctl(v->fd, KVM_SET_CPUID2, c);
}

/* ---- the guest's policy ---- */

static struct core_cpuid *policy(struct core_boot *b, uint32_t leaf, uint32_t subleaf)
{
	for (uint32_t i = 0; i < b->nr_cpuid && i < sizeof(b->cpuid) / sizeof(b->cpuid[0]); i++)
		if (b->cpuid[i].leaf == leaf && b->cpuid[i].subleaf == subleaf)
			return &b->cpuid[i];
	return NULL;
}

/* Leaf 0xd once more, for the components that are left. */
static void xsave_sizes(struct core_boot *b)
{
	struct core_cpuid *d = policy(b, 0xd, 0), *one = policy(b, 0xd, 1);
	uint32_t size = 512 + 64, compact = size;

	if (!d)
		return;
	for (uint32_t i = 2; i < 32; i++) {
		struct core_cpuid *x = policy(b, 0xd, i);

		if (!x)
			continue;
		if (!(d->eax >> i & 1)) {
			x->eax = x->ebx = x->ecx = x->edx = 0;
			continue;
		}
		if (x->ebx + x->eax > size)
			size = x->ebx + x->eax;
		compact = ((x->ecx & 2 ? (compact + 63) & ~63u : compact)) + x->eax;
	}
	d->ebx = d->ecx = size;
	if (one)
		one->ebx = one->eax & LEAFD1_EAX_COMPACT ? compact : 0;
}

/*
 * The policy was made of what the processor says. KVM may offer less in a virtual machine (a state
 * component that it does not switch, say): that goes, and nothing else does.
 */
void kvm_cpuid_limit(const struct kvm_cpuid2 *offered, struct core_boot *b)
{
	static const struct {
		uint32_t leaf, subleaf;
		bool eax, ebx, ecx, edx; /* registers made of feature bits */
	} words[] = {
		{.leaf = 1, .ecx = true, .edx = true},
		{.leaf = 7, .ebx = true, .ecx = true, .edx = true},
		{.leaf = 7, .subleaf = 1, .eax = true},
		{.leaf = 0xd, .eax = true, .edx = true},
		{.leaf = 0xd, .subleaf = 1, .eax = true},
		{.leaf = 0x80000001u, .ecx = true, .edx = true},
	};
	static const struct kvm_cpuid_entry2 nothing;

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		struct core_cpuid *c = policy(b, words[i].leaf, words[i].subleaf);
		const struct kvm_cpuid_entry2 *x =
			kvm_cpuid_find(offered, words[i].leaf, words[i].subleaf);

		if (!c)
			continue;
		if (!x)
			x = &nothing;
		if (words[i].eax)
			c->eax &= x->eax;
		if (words[i].ebx)
			c->ebx &= x->ebx;
		if (words[i].ecx)
			c->ecx &= x->ecx | (words[i].leaf == 1 ? LEAF1_ECX_SOFTWARE : 0);
		if (words[i].edx)
			c->edx &= x->edx;
	}
	xsave_sizes(b);
}
