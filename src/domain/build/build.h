/* SPDX-License-Identifier: MIT */
/*
 * The domain builder: lays a kernel image out in fresh guest memory the way <xen/xen.h> describes
 * the start of day, and says where the first vCPU starts. pfn n is mfn ram_first + n, byte
 * (ram_first + n) << 12 of the domain's memory.
 */
#ifndef PVV_DOMAIN_BUILD_BUILD_H
#define PVV_DOMAIN_BUILD_BUILD_H

#include <stdint.h>

#include "core/ctl.h"
#include "domain/image/image.h"
#include "exec/executor.h"

#define BUILD_MAX_CMDLINE 1023u /* bytes, without the terminating NUL */
#define BUILD_MAX_REGIONS 12u
#define BUILD_UNMAPPED	  (~0ull)

struct build_params {
	const struct image *image;
	const struct image_source *module; /* initial ram disk; NULL or size 0: none */
	const char *cmdline;		   /* NULL: "" */
	uint64_t nr_pages;		   /* RAM frames the domain starts with */
	uint32_t store_port, console_port; /* event channels; Xen's toolstack makes them 1 and 2 */
	uint32_t nr_vcpus;
};

enum build_region_id { /* indexes of build_layout.region[] */
		       BUILD_KERNEL,
		       BUILD_MODULE,
		       BUILD_P2M,	 /* the list itself */
		       BUILD_P2M_TABLES, /* its page tables when it lies at INIT_P2M */
		       BUILD_START_INFO,
		       BUILD_STORE,
		       BUILD_CONSOLE,
		       BUILD_PAGE_TABLES,
		       BUILD_STACK,
		       BUILD_PAD, /* what fills the initial mapping up to 4 MiB */
		       BUILD_NR_REGIONS
};

/* Where everything lies. nr = 0: there is no such region. */
struct build_layout {
	struct build_region {
		const char *name;
		uint64_t pfn, nr;
		uint64_t va; /* in the initial mapping or BUILD_UNMAPPED */
	} region[BUILD_MAX_REGIONS];
	uint64_t virt_base, virt_end;	   /* the initial mapping */
	uint64_t p2m_va;		   /* of the phys-to-machine list */
	uint64_t module_size;		   /* bytes */
	uint64_t root;			   /* pfn of the L4 */
	uint64_t tables[4];		   /* how many L1, L2, L3, L4 the initial mapping takes */
	uint64_t p2m_tables[4];		   /* how many more for the list at INIT_P2M */
	uint64_t nr_used;		   /* frames up to the end of the last region */
	uint64_t entry, start_info, stack; /* guest virtual: rip, rsi, rsp at start */
	uint64_t hypercall_page;	   /* pfn or ~0 */
};

/*
 * Only compute the layout (for the inspector, and to learn whether an image fits). Errors:
 * PVV_ELIMIT (the kernel and its module do not fit in nr_pages; says how much is needed),
 * PVV_EIMAGE, PVV_EINVAL (command line too long), and those of reading the module's size.
 */
int build_plan(const struct build_params *p, struct build_layout *ret);

/*
 * Fill guest RAM, shared_info and the reserved grant entries of fresh (all zero) memory from
 * memory_create(), and fill in what `boot` says about the image: root, entry_*, hypercall_page,
 * virt_base, vm_assist, ports, nr_vcpus. Touches only the pages it fills. `ret_layout` may be NULL.
 * Errors as build_plan(), and PVV_EIO when the module cannot be read.
 */
int build_domain(const struct build_params *p, const struct exec_memory *mem,
		 struct core_boot *boot, struct build_layout *ret_layout);

#endif
