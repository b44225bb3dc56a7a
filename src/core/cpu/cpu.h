/* SPDX-License-Identifier: MIT */
/* The virtual processor: shared definitions of the files of cpu/. */
#ifndef PVV_CORE_CPU_H
#define PVV_CORE_CPU_H

#include "core/core.h"

/* rflags */
#define CORE_FLAG_CF	0x00000001ull
#define CORE_FLAG_FIXED 0x00000002ull /* always set */
#define CORE_FLAG_PF	0x00000004ull
#define CORE_FLAG_AF	0x00000010ull
#define CORE_FLAG_ZF	0x00000040ull
#define CORE_FLAG_SF	0x00000080ull
#define CORE_FLAG_TF	0x00000100ull
#define CORE_FLAG_IF	0x00000200ull
#define CORE_FLAG_DF	0x00000400ull
#define CORE_FLAG_OF	0x00000800ull
#define CORE_FLAG_IOPL	0x00003000ull
#define CORE_FLAG_NT	0x00004000ull
#define CORE_FLAG_RF	0x00010000ull
#define CORE_FLAG_VM	0x00020000ull
#define CORE_FLAG_AC	0x00040000ull
#define CORE_FLAG_VIF	0x00080000ull
#define CORE_FLAG_VIP	0x00100000ull
#define CORE_FLAG_ID	0x00200000ull
/* What a guest may change by popf or iret; TF included. */
#define CORE_FLAGS_USER                                                                            \
	(CORE_FLAG_CF | CORE_FLAG_PF | CORE_FLAG_AF | CORE_FLAG_ZF | CORE_FLAG_SF | CORE_FLAG_TF | \
	 CORE_FLAG_DF | CORE_FLAG_OF | CORE_FLAG_NT | CORE_FLAG_AC | CORE_FLAG_ID)

#define CORE_CR0_TS 0x00000008ull

#define CORE_CR4_TSD	  0x00000004ull
#define CORE_CR4_DE	  0x00000008ull
#define CORE_CR4_FSGSBASE 0x00010000ull
#define CORE_CR4_OSXSAVE  0x00040000ull

enum {
	CORE_VEC_DE = 0,
	CORE_VEC_DB = 1,
	CORE_VEC_NMI = 2,
	CORE_VEC_BP = 3,
	CORE_VEC_OF = 4,
	CORE_VEC_BR = 5,
	CORE_VEC_UD = 6,
	CORE_VEC_NM = 7,
	CORE_VEC_DF = 8,
	CORE_VEC_TS = 10,
	CORE_VEC_NP = 11,
	CORE_VEC_SS = 12,
	CORE_VEC_GP = 13,
	CORE_VEC_PF = 14,
	CORE_VEC_MF = 16,
	CORE_VEC_AC = 17,
	CORE_VEC_MC = 18,
	CORE_VEC_XM = 19,
	CORE_VEC_CP = 21,
};

/* Control registers and such of a vCPU that has not run yet. */
void core_cpu_init(struct core_vcpu *v);

/* set_gdt of any vCPU: 0 or -XEN_EINVAL; the old table is given back only if the new one is good.
 */
long core_gdt_set(struct core_ctx *c, struct core_vcpu *v, const uint64_t *frames,
		  unsigned int entries);
void core_gdt_drop(struct core_ctx *c, struct core_vcpu *v);

/* Write the 128 stubs (mov $nr, %eax; syscall ...) into a page. */
void core_fill_hypercall_page(void *page);

#endif
