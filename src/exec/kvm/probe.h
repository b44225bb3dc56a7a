/* SPDX-License-Identifier: MIT */
/* The tiny virtual machine of the probe: pages of one region, all mapped in the high half. */
#ifndef PVV_KVM_PROBE_H
#define PVV_KVM_PROBE_H

#define PROBE_VA    0xffffffff81000000
#define PROBE_GPA   0x100000
#define PROBE_CODE  0 /* pages; two of it */
#define PROBE_DATA  2 /* struct probe_result */
#define PROBE_DESC  3 /* GDT, TSS */
#define PROBE_IDT   4
#define PROBE_STACK 5 /* two of them: ring 0, ring 3 */
#define PROBE_TABLE 7 /* four levels of page tables */
#define PROBE_PAGES 11
#define PROBE_HOLE  (PROBE_VA + 0x40000) /* nothing is mapped there */

#define PROBE_PORT    0x10
#define PROBE_BOUNCES 32
#define PROBE_RECORDS 8
#define PROBE_RECORD  40 /* bytes each */

#ifndef __ASSEMBLER__
#include <stdint.h>

struct probe_result {
	uint64_t bounces; /* syscalls that arrived in ring 0 */
	uint64_t nr;	  /* exceptions */
	struct probe_record {
		uint64_t vector, error, cr2, cs, rip;
	} record[PROBE_RECORDS];
};

extern const uint8_t probe_start[], probe_end[], probe_entry[], probe_syscall[], probe_stubs[];
#endif

#endif
