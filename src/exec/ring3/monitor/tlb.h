/* SPDX-License-Identifier: MIT */
/*
 * Following the guest's page tables. K's window and the U processes cache what the tables say; both
 * note through which tables a mapping came, so that when the core reports a changed entry
 * (core_exec_ops.pte_changed) exactly that range is dropped, at the guest's next flush. A flush of
 * "everything" then costs what has changed and nothing else, and the next switch of page tables
 * nothing at all.
 */
#ifndef PVV_MONITOR_TLB_H
#define PVV_MONITOR_TLB_H

#include <stdbool.h>
#include <stdint.h>

#include "core/core.h"

/*
 * For each frame that is a page table: where in the address space it was used. Each vCPU has such
 * a table of its own, in the memfd: others look whether a change concerns it, and tell it then.
 */
struct tlb_table {
	uint64_t
		va[2]; /* of its first entry | TLB_VALID: two places (Linux maps its image twice) */
	uint32_t window; /* this vCPU's window has mappings through it */
	uint16_t slot;	 /* 1 + the U process that has, 0 = none */
	uint8_t low;   /* it was used for programs, perhaps at a place that is not noted any more */
	uint8_t ended; /* TLB_*: other vCPUs write it, too */
	/* An L1 table: pages that this U process may have mapped, a bit for each entry. No bit: it
	 * has not. Of a time before the process was emptied unless `life` is that of the slot. */
	uint64_t mapped[8];
	uint64_t life;
};
#define TLB_VALID 1ull

/*
 * A table that is none any more may be one again before this vCPU has heard of it. What it has
 * noted in between is of the next table, whose changes it would not hear of without; and those that
 * it was told of stand behind the end of the old one in its list.
 */
#define TLB_ENDED	1u /* on another vCPU, and this one has not heard of it yet */
#define TLB_AGAIN	2u /* ... but used it since, */
#define TLB_ENDED_AGAIN 3u /* and that has ended, too */

#define TLB_RANGES 64u
struct tlb_range {
	uint64_t va, len;
};
/* What is to be dropped. */
struct tlb_queue {
	uint32_t nr;
	bool all;
	struct tlb_range range[TLB_RANGES];
};
static inline bool tlb_pending(const struct tlb_queue *q)
{
	return q->nr != 0 || q->all;
}
void tlb_add(struct tlb_queue *q, uint64_t va, uint64_t len);

/*
 * Walk from `root` to the L1 entry of `va` and note the way: for this vCPU's window (slot < 0) or
 * for a U process. NULL: there is no L1 table. *ret_upper: what the levels above allow (RW and
 * USER; NX if one of them forbids).
 */
uint64_t *tlb_follow(uint64_t root, uint64_t va, int slot, uint64_t *ret_upper);
/*
 * Is the table that tlb_follow() came to still there? And behind a look at its entries: was it that
 * until then? Nobody waits for a vCPU in its monitor: a table may have become anything meanwhile.
 */
bool tlb_is_there(uint64_t root, uint64_t va, const uint64_t *pte);
bool tlb_was_there(const uint64_t *pte);
/* The table that led to the entry. */
struct tlb_table *tlb_table_of(const uint64_t *entry);
/* Used for kernel addresses only, so that all that is mapped by it is noted with the frames. */
static inline bool tlb_kernel_table(const struct tlb_table *t)
{
	return !t->low && t->slot == 0;
}
/* Drop from the window and the U processes what is due. */
void tlb_drain(void);
struct tlb_table *tlb_tables_of(unsigned int vcpu);
/* Another vCPU changed an entry, or gave a table up. */
void tlb_told(uint64_t mfn, unsigned int level, unsigned int slot);
void tlb_told_gone(uint64_t mfn, unsigned int level);
/* Another vCPU is about to be told so. */
void tlb_mark_ended(struct tlb_table *t);
/* ... or so much that it cannot be told. */
void tlb_forget_all(void);

/* The core's reports. */
void tlb_pte_changed(struct core_ctx *c, uint64_t mfn, unsigned int level, unsigned int slot,
		     uint64_t old, uint64_t new);
void tlb_table_gone(struct core_ctx *c, uint64_t mfn, unsigned int level);

#endif
