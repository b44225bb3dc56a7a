/* SPDX-License-Identifier: MIT */
/*
 * A domain's memory: one sealed memfd that holds guest RAM, the hypervisor's frames that a guest
 * may map, and behind them the control pages, the core's state and its frame table. See struct
 * exec_memory (exec/executor.h) for the order.
 */
#ifndef PVV_DOMAIN_MEMORY_H
#define PVV_DOMAIN_MEMORY_H

#include <stdint.h>

#include "core/ctl.h"
#include "exec/executor.h"

#define MEMORY_MAX_PAGES	(1ull << 28) /* 1 TiB: what `nr_frames << 12` is planned for */
/* Where a domain's RAM begins (16 MiB): see doc/adr/0005. */
#define MEMORY_RAM_FIRST	0x1000u
#define MEMORY_MAX_GRANT_FRAMES 256u /* CORE_MAX_GRANT_FRAMES of core/state.h */

struct memory_params {
	const char *name;      /* of the domain; shows in /proc/PID/maps as memfd:pvv-NAME */
	uint64_t nr_pages;     /* RAM frames at start */
	uint64_t max_pages;    /* RAM frames the balloon may grow to, 0 = nr_pages */
	uint64_t ram_first;    /* machine frames before pfn 0, nobody's; a multiple of 512 */
	uint32_t grant_frames; /* limit, 0 = 64 as Xen's default; each holds 512 entries */
	uint32_t max_ports;    /* event channel limit, 0 = CORE_MAX_PORTS */
	uint32_t nr_vcpus;     /* for exec_region() */
	/* Size of the executor's own region behind all else (exec_ops.region), NULL = none. */
	uint64_t (*exec_region)(uint64_t nr_frames, unsigned int nr_vcpus);
};

/*
 * Make and map the memory; nothing but the first control page is touched. Initialises struct
 * core_ctl's header (magic, version, size) and fills the memory part of `boot`: nr_pages,
 * max_pages, nr_frames, shared_info, grant_*, maptrack_max, m2p_*, max_ports; the rest of it is
 * zeroed. The caller completes `boot` (build_domain(), CPUID, identity) and copies it to
 * memory_ctl()->boot. Errors: PVV_EINVAL, PVV_ELIMIT, PVV_ENOMEM, PVV_ESYS.
 */
int memory_create(const struct memory_params *p, struct exec_memory *ret_mem,
		  struct core_boot *ret_boot);
/* Unmap and close; a zeroed or already destroyed one is accepted. */
void memory_destroy(struct exec_memory *mem);

static inline struct core_ctl *memory_ctl(const struct exec_memory *mem)
{
	return (struct core_ctl *)(mem->base + mem->ctl_off);
}

/* Machine frame -> the library's view; the caller has checked mfn < mem->nr_frames. */
static inline void *memory_pfn(const struct exec_memory *mem, uint64_t pfn)
{
	return mem->base + ((mem->ram_first + pfn) << 12);
}

static inline void *memory_frame(const struct exec_memory *mem, uint64_t mfn)
{
	return mem->base + (mfn << 12);
}

/* Bytes of guest RAM and control pages that are backed by host memory now (for statistics). */
uint64_t memory_resident(const struct exec_memory *mem);

#endif
