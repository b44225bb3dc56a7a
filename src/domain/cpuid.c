/* SPDX-License-Identifier: MIT */
/*
 * The policy is a list of what is let through, not of what is hidden: a feature that a later
 * processor brings stays away until someone has thought about it.
 *
 * Left out although Xen's PV guests see them on some hosts:
 *   - what needs an MSR that the core does not have: IBRS/STIBP/SSBD, ITSC and TSC
 *     deadline; MONITOR/MWAIT; performance counters;
 *   - FSGSBASE: guest kernel code would read the executor's own segment bases;
 *   - TSX: an abort rolls back behind the translator's back; PKU, LA57, UMIP: need CR4 bits;
 *   - MOVDIRI, MOVDIR64B, SERIALIZE, VP2INTERSECT: off in Xen too unless asked for;
 *   - XSAVES: supervisor state. AMX and later state components: their size would make every
 *     signal frame 8 KiB larger for nothing.
 */
#include "domain/cpuid.h"

#include <cpuid.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define B(n) (1u << (n))

/* Leaf 1. PSE36, PSE, PGE, MTRR, VME stay hidden: a PV kernel has no say in them. */
#define L1_EDX                                                                                     \
	(B(0) /* FPU */ | B(2) /* DE */ | B(4) /* TSC */ | B(5) /* MSR */ | B(6) /* PAE */ |       \
	 B(7) /* MCE */ | B(8) /* CX8 */ | B(9) /* APIC */ | B(11) /* SEP */ | B(14) /* MCA */ |   \
	 B(15) /* CMOV */ | B(16) /* PAT */ | B(19) /* CLFLUSH */ | B(23) /* MMX */ |              \
	 B(24) /* FXSR */ | B(25) /* SSE */ | B(26) /* SSE2 */ | B(27) /* SS */)
#define L1_ECX                                                                                     \
	(B(0) /* SSE3 */ | B(1) /* PCLMULQDQ */ | B(9) /* SSSE3 */ | B(12) /* FMA */ |             \
	 B(13) /* CX16 */ | B(19) /* SSE4.1 */ | B(20) /* SSE4.2 */ | B(22) /* MOVBE */ |          \
	 B(23) /* POPCNT */ | B(25) /* AESNI */ | B(26) /* XSAVE */ | B(28) /* AVX */ |            \
	 B(29) /* F16C */ | B(30) /* RDRAND */)
#define L1_ECX_XSAVE	  B(26)
#define L1_ECX_AVX	  (B(12) | B(28) | B(29))
#define L1_ECX_HYPERVISOR B(31)

/* Leaf 7, subleaf 0. */
#define L7_EBX                                                                                     \
	(B(3) /* BMI1 */ | B(5) /* AVX2 */ | B(8) /* BMI2 */ | B(9) /* ERMS */ |                   \
	 B(13) /* FPU CS/DS gone */ | B(16) /* AVX512F */ | B(17) /* AVX512DQ */ |                 \
	 B(18) /* RDSEED */ | B(19) /* ADX */ | B(21) /* AVX512IFMA */ | B(23) /* CLFLUSHOPT */ |  \
	 B(24) /* CLWB */ | B(28) /* AVX512CD */ | B(29) /* SHA */ | B(30) /* AVX512BW */ |        \
	 B(31) /* AVX512VL */)
#define L7_EBX_AVX    B(5)
#define L7_EBX_AVX512 (B(16) | B(17) | B(21) | B(28) | B(30) | B(31))
#define L7_ECX                                                                                     \
	(B(1) /* AVX512VBMI */ | B(6) /* AVX512VBMI2 */ | B(8) /* GFNI */ | B(9) /* VAES */ |      \
	 B(10) /* VPCLMULQDQ */ | B(11) /* AVX512VNNI */ | B(12) /* AVX512BITALG */ |              \
	 B(14) /* AVX512VPOPCNTDQ */ | B(22) /* RDPID */ | B(25) /* CLDEMOTE */)
#define L7_ECX_AVX	 (B(9) | B(10))
#define L7_ECX_AVX512	 (B(1) | B(6) | B(11) | B(12) | B(14))
#define L7_EDX		 B(4) /* FSRM */
#define L7_EDX_ARCH_CAPS B(29)
/* Leaf 7, subleaf 1. */
#define L71_EAX                                                                                    \
	(B(4) /* AVX-VNNI */ | B(5) /* AVX512BF16 */ | B(10) /* FZRM */ | B(11) /* FSRS */ |       \
	 B(12) /* FSRC */)
#define L71_EAX_AVX    B(4)
#define L71_EAX_AVX512 B(5)

/* Leaf 0xD. Components: x87, SSE, AVX, and the three of AVX-512. */
#define XCR0_BASE   0x03u
#define XCR0_AVX    0x04u
#define XCR0_AVX512 0xe0u
#define LD1_EAX	    (B(0) /* XSAVEOPT */ | B(1) /* XSAVEC */ | B(2) /* XGETBV(1) */)

/* Extended leaf 1. */
#define E1_EDX                                                                                     \
	(B(11) /* SYSCALL */ | B(20) /* NX */ | B(22) /* MMXEXT */ | B(25) /* FFXSR */ |           \
	 B(27) /* RDTSCP */ | B(29) /* LM */ | B(30) /* 3DNOWEXT */ | B(31) /* 3DNOW */)
/* AMD repeats these bits of leaf 1. */
#define E1_EDX_AMD_COMMON (L1_EDX & 0x0183f3ffu)
#define E1_ECX                                                                                     \
	(B(0) /* LAHF */ | B(5) /* ABM */ | B(6) /* SSE4A */ | B(7) /* MISALIGNSSE */ |            \
	 B(8) /* PREFETCHW */ | B(11) /* XOP */ | B(16) /* FMA4 */ | B(21) /* TBM */)
#define E1_ECX_AVX	(B(11) | B(16))
#define E8_EBX		(B(0) /* CLZERO */ | B(2) /* RSTR_FP_ERR_PTRS */ | E8_EBX_BTC_NO)
/* Weaknesses that a processor of AMD's has not. */
#define E8_EBX_BTC_NO	B(29)
#define E21_EAX_SRSO_NO B(29)
#define E21_EAX                                                                                    \
	(B(2) /* LFENCE serializes */ | B(6) /* null selectors clear their base */ |               \
	 E21_EAX_SRSO_NO)
#define E21_ECX (B(1) /* TSA_SQ_NO */ | B(2) /* TSA_L1_NO */)

struct policy {
	struct core_boot *boot;
	cpuid_fn *ask;
	void *opaque;
	bool amd;
	uint32_t xcr0;
};

static struct cpuid_regs ask_host(void *opaque, uint32_t leaf, uint32_t subleaf)
{
	struct cpuid_regs r;

	__cpuid_count(leaf, subleaf, r.eax, r.ebx, r.ecx, r.edx);
	return r;
}

static struct cpuid_regs ask(const struct policy *p, uint32_t leaf, uint32_t subleaf)
{
	return p->ask(p->opaque, leaf, subleaf);
}

static void add(struct policy *p, uint32_t leaf, uint32_t subleaf, bool indexed,
		struct cpuid_regs r)
{
	struct core_boot *b = p->boot;

	if (b->nr_cpuid == sizeof(b->cpuid) / sizeof(b->cpuid[0]))
		return;
	b->cpuid[b->nr_cpuid++] = (struct core_cpuid){
		.leaf = leaf,
		.subleaf = subleaf,
		.flags = indexed ? 1 : 0,
		.eax = r.eax,
		.ebx = r.ebx,
		.ecx = r.ecx,
		.edx = r.edx,
	};
}

/* What of XSAVE can be offered: whole feature sets, as far as the processor has them. */
static uint32_t find_xcr0(const struct policy *p, uint32_t max)
{
	if (max < 0xd || !(ask(p, 1, 0).ecx & L1_ECX_XSAVE))
		return 0;
	uint32_t has = ask(p, 0xd, 0).eax;

	if ((has & XCR0_BASE) != XCR0_BASE)
		return 0;
	uint32_t xcr0 = XCR0_BASE;
	if (has & XCR0_AVX) {
		xcr0 |= XCR0_AVX;
		if ((has & XCR0_AVX512) == XCR0_AVX512)
			xcr0 |= XCR0_AVX512;
	}
	return xcr0;
}

static void leaf_1(struct policy *p)
{
	struct cpuid_regs r = ask(p, 1, 0);

	/* One logical processor in each package, CLFLUSH size as it is, APIC id 0. */
	r.ebx = (r.ebx & 0x0000ff00) | 1u << 16;
	r.ecx = (r.ecx & L1_ECX) | L1_ECX_HYPERVISOR;
	r.edx &= L1_EDX;
	if (!p->xcr0)
		r.ecx &= ~L1_ECX_XSAVE;
	if (!(p->xcr0 & XCR0_AVX))
		r.ecx &= ~L1_ECX_AVX;
	add(p, 1, 0, false, r);
}

/* Caches are the host's, but shared with nobody: what is shared is not known to the guest. */
static void leaf_4(struct policy *p, uint32_t leaf)
{
	for (uint32_t i = 0; i < 8; i++) {
		struct cpuid_regs r = ask(p, leaf, i);

		if ((r.eax & 0x1f) == 0)
			break;
		r.eax &= 0x3ff;
		add(p, leaf, i, true, r);
	}
}

static void leaf_7(struct policy *p)
{
	struct cpuid_regs r = ask(p, 7, 0), one = {0};
	uint32_t max = r.eax;

	r.ebx &= L7_EBX;
	r.ecx &= L7_ECX;
	r.edx &= L7_EDX;
	if (max >= 1)
		one.eax = ask(p, 7, 1).eax & L71_EAX;
	if (!(p->xcr0 & XCR0_AVX)) {
		r.ebx &= ~L7_EBX_AVX;
		r.ecx &= ~L7_ECX_AVX;
		one.eax &= ~L71_EAX_AVX;
	}
	if ((p->xcr0 & XCR0_AVX512) == 0) {
		r.ebx &= ~L7_EBX_AVX512;
		r.ecx &= ~L7_ECX_AVX512;
		one.eax &= ~L71_EAX_AVX512;
	}
	r.eax = one.eax ? 1 : 0;
	add(p, 7, 0, true, r);
	if (r.eax)
		add(p, 7, 1, true, one);
}

static void leaf_d(struct policy *p)
{
	struct cpuid_regs sub[8] = {0}, r = {0};
	uint32_t size = 576, compact = 576; /* legacy area and header */

	if (!p->xcr0)
		return;
	for (uint32_t i = 2; i < 8; i++) {
		if (!(p->xcr0 & B(i)))
			continue;
		sub[i] = ask(p, 0xd, i);
		sub[i].ecx &= B(1); /* aligned in the compacted format; not supervisor state */
		sub[i].edx = 0;
		if (sub[i].ebx + sub[i].eax > size)
			size = sub[i].ebx + sub[i].eax;
		if (sub[i].ecx & B(1))
			compact = (compact + 63) & ~63u;
		compact += sub[i].eax;
	}
	r.eax = p->xcr0;
	r.ebx = r.ecx = size;
	add(p, 0xd, 0, true, r);
	r = (struct cpuid_regs){.eax = ask(p, 0xd, 1).eax & LD1_EAX};
	r.ebx = r.eax & B(1) ? compact : 0;
	add(p, 0xd, 1, true, r);
	for (uint32_t i = 2; i < 8; i++)
		if (p->xcr0 & B(i))
			add(p, 0xd, i, true, sub[i]);
}

static void extended(struct policy *p)
{
	struct cpuid_regs r = ask(p, 0x80000000u, 0);
	uint32_t max = r.eax;

	if (max < 0x80000001u || max > 0x8000ffffu)
		return;
	/* Topology (0x8000001e) and what needs it are not offered. */
	if (max > 0x80000008u)
		r.eax = p->amd ? 0x80000021u : 0x80000008u;
	add(p, 0x80000000u, 0, false, r);

	r = ask(p, 0x80000001u, 0);
	r.edx &= p->amd ? E1_EDX | E1_EDX_AMD_COMMON : E1_EDX;
	r.ecx &= E1_ECX;
	if (!(p->xcr0 & XCR0_AVX))
		r.ecx &= ~E1_ECX_AVX;
	if (!p->amd)
		r.eax = r.ebx = 0;
	add(p, 0x80000001u, 0, false, r);
	for (uint32_t leaf = 0x80000002u; leaf <= 0x80000006u && leaf <= max; leaf++)
		add(p, leaf, 0, false, ask(p, leaf, 0));
	if (max < 0x80000008u)
		return;
	r = ask(p, 0x80000008u, 0);
	r.eax &= 0xffff; /* physical and linear address sizes */
	if (((r.eax >> 8) & 0xff) > 48)
		r.eax = (r.eax & 0xff) | 48u << 8; /* four levels of page tables */
	r.ebx &= p->amd ? E8_EBX : 0;
	r.ecx = r.edx = 0;
	add(p, 0x80000008u, 0, false, r);
	if (!p->amd)
		return;
	r = (struct cpuid_regs){0};
	if (max >= 0x80000021u) {
		r = ask(p, 0x80000021u, 0);
		r.eax &= E21_EAX;
		r.ecx &= E21_ECX;
		r.ebx = r.edx = 0;
	}
	add(p, 0x80000021u, 0, false, r);
}

void cpuid_policy(struct core_boot *boot, cpuid_fn *fn, void *opaque)
{
	struct policy p = {.boot = boot, .ask = fn ? fn : ask_host, .opaque = opaque};
	struct cpuid_regs r = ask(&p, 0, 0);
	uint32_t max = r.eax;

	boot->nr_cpuid = 0;
	memset(boot->cpuid, 0, sizeof(boot->cpuid));
	p.amd = r.ebx == 0x68747541 /* "Auth"enticAMD */ ||
		r.ebx == 0x6f677948 /* "Hygo"nGenuine */;
	p.xcr0 = find_xcr0(&p, max);

	r.eax = max > 0xd ? 0xd : max;
	if (!p.xcr0 && r.eax > 7)
		r.eax = 7;
	add(&p, 0, 0, false, r);
	if (max >= 1)
		leaf_1(&p);
	if (max >= 2 && !p.amd)
		add(&p, 2, 0, false, ask(&p, 2, 0));
	if (max >= 4 && !p.amd)
		leaf_4(&p, 4);
	if (max >= 7)
		leaf_7(&p);
	leaf_d(&p);
	extended(&p);
}

uint64_t cpuid_policy_xcr0(const struct core_boot *boot)
{
	for (uint32_t i = 0; i < boot->nr_cpuid; i++)
		if (boot->cpuid[i].leaf == 0xd && boot->cpuid[i].subleaf == 0)
			return (uint64_t)boot->cpuid[i].edx << 32 | boot->cpuid[i].eax;
	return 0;
}

static struct core_cpuid *find(struct core_boot *boot, uint32_t leaf)
{
	for (uint32_t i = 0; i < boot->nr_cpuid; i++)
		if (boot->cpuid[i].leaf == leaf)
			return &boot->cpuid[i];
	return NULL;
}

void cpuid_policy_translated(struct core_boot *boot)
{
	struct core_cpuid *e8 = find(boot, 0x80000008u), *e21 = find(boot, 0x80000021u);

	if (!e8 || !e21) /* not AMD's */
		return;
	e8->ebx |= E8_EBX_BTC_NO;
	e21->eax |= E21_EAX_SRSO_NO;
}

void cpuid_policy_arch_caps(struct core_boot *boot, uint64_t caps)
{
	struct core_cpuid *vendor = NULL, *features = NULL;

	for (uint32_t i = 0; i < boot->nr_cpuid; i++) {
		struct core_cpuid *e = &boot->cpuid[i];

		if (e->leaf == 0)
			vendor = e;
		else if (e->leaf == 7 && e->subleaf == 0)
			features = e;
	}
	boot->arch_caps = 0;
	if (!caps || !vendor || vendor->ebx != 0x756e6547 /* "Genu"ineIntel */ || !features)
		return;
	features->edx |= L7_EDX_ARCH_CAPS;
	boot->arch_caps = caps;
}
