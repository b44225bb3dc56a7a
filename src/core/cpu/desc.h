/* SPDX-License-Identifier: MIT */
/* Segment descriptors: the guest's GDT and LDT, and what loading a selector at ring 3 does. */
#ifndef PVV_CORE_DESC_H
#define PVV_CORE_DESC_H

#include "core/core.h"

#define DESC_TYPE(d)  ((unsigned int)((d) >> 40) & 15u)
#define DESC_ACCESSED (1ull << 40)
#define DESC_RW	      (1ull << 41) /* readable code, writable data */
#define DESC_EC	      (1ull << 42) /* conforming code, expand-down data */
#define DESC_CODE     (1ull << 43)
#define DESC_S	      (1ull << 44) /* code or data */
#define DESC_DPL(d)   ((unsigned int)((d) >> 45) & 3u)
#define DESC_P	      (1ull << 47)
#define DESC_L	      (1ull << 53)
#define DESC_DB	      (1ull << 54)
#define DESC_G	      (1ull << 55)

static inline uint64_t core_desc_base(uint64_t d)
{
	return ((d >> 16) & 0xffffff) | ((d >> 56) << 24);
}

static inline uint32_t core_desc_limit(uint64_t d)
{
	uint32_t limit = (uint32_t)(d & 0xffff) | (uint32_t)((d >> 32) & 0xf0000);

	return (d & DESC_G) ? limit << 12 | 0xfff : limit;
}

/* How an instruction ends; the vector is an exception for the guest. */
struct core_fault {
	bool raised;
	bool page_fault;
	uint8_t vector;
	uint32_t error;
	uint64_t cr2;
};

enum core_desc_result { DESC_OK, DESC_OUTSIDE, DESC_FAULT };
/*
 * Read the descriptor `sel` names. DESC_OUTSIDE: beyond the table's limit. DESC_FAULT: the page of
 * the LDT is not there; *ret is the faulting address then.
 */
enum core_desc_result core_desc_read(struct core_ctx *c, uint16_t sel, uint64_t *ret);

/* What `mov sreg`, `pop sreg` and iret check; R_SEG_* name the register. */
enum core_seg { CORE_SEG_ES, CORE_SEG_CS, CORE_SEG_SS, CORE_SEG_DS, CORE_SEG_FS, CORE_SEG_GS };

/* Load ds, es, fs, gs or ss, with the base for fs and gs. Nothing is changed if it faults. */
struct core_fault core_seg_load(struct core_ctx *c, enum core_seg seg, uint16_t sel);
/* May cs become `sel` at ring 3? *ret_desc is its descriptor. */
struct core_fault core_cs_check(struct core_ctx *c, uint16_t sel, uint64_t *ret_desc);
/* May ss become `sel` for code that runs on `cs_desc`? */
struct core_fault core_ss_check(struct core_ctx *c, uint16_t sel);

static inline struct core_fault core_fault_none(void)
{
	return (struct core_fault){.raised = false};
}

static inline struct core_fault core_fault_vector(uint8_t vector, uint32_t error)
{
	return (struct core_fault){.raised = true, .vector = vector, .error = error};
}

void core_fault_inject(struct core_ctx *c, const struct core_fault *f);

#endif
