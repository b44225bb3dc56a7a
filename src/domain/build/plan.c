/* SPDX-License-Identifier: MIT */
/*
 * Where everything goes: the "Start-of-day memory layout" of <xen/xen.h>, with the choices that
 * Xen's toolstack makes within it. From the kernel's first frame on, packed and page aligned:
 *
 *	kernel image; module; phys-to-machine list; start_info; xenstore ring; console ring;
 *	page tables (the root first); boot stack; padding of at least 512 KiB up to 4 MiB
 *
 * All of that, from VIRT_BASE on, is the initial mapping. A module stays out of it when the kernel
 * has the note MOD_START_PFN, and so does the list when it has INIT_P2M: they follow the padding.
 */
#include <inttypes.h>
#include <string.h>

#include "domain/build/internal.h"
#include "domain/image/source.h"

#define MIN_PADDING (512ull << 10)
#define END_ALIGN   (4ull << 20)

#define XEN_HOLE_START 0xffff800000000000ull
#define XEN_HOLE_END   0xffff880000000000ull

static const char *const region_names[BUILD_NR_REGIONS] = {
	[BUILD_KERNEL] = "kernel",
	[BUILD_MODULE] = "module",
	[BUILD_P2M] = "phys-to-machine list",
	[BUILD_P2M_TABLES] = "page tables of the list",
	[BUILD_START_INFO] = "start_info",
	[BUILD_STORE] = "xenstore ring",
	[BUILD_CONSOLE] = "console ring",
	[BUILD_PAGE_TABLES] = "page tables",
	[BUILD_STACK] = "boot stack",
	[BUILD_PAD] = "padding",
};

#define fail(p, code, ...) err_set((code), PVV_SUBSYS_DOMAIN, (p)->image->name, __VA_ARGS__)

/* Append a region of `nr` frames at *pfn; mapped ones lie at VIRT_BASE plus their address. */
static void append(struct build_layout *l, enum build_region_id id, uint64_t *pfn, uint64_t nr,
		   bool mapped)
{
	l->region[id].pfn = *pfn;
	l->region[id].nr = nr;
	l->region[id].va = mapped ? l->virt_base + (*pfn << 12) : BUILD_UNMAPPED;
	*pfn += nr;
}

static int too_small(const struct build_params *p, uint64_t needed)
{
	return fail(p, PVV_ELIMIT,
		    "%s: the kernel%s and its start-up data need %" PRIu64
		    " MiB of memory, the domain has %" PRIu64 " KiB",
		    p->image->name, p->module ? ", the module" : "",
		    (needed >> 8) + ((needed & 0xff) != 0), p->nr_pages * 4);
}

/*
 * The page tables must map themselves: add 4 MiB until they, the stack and the padding fit. Each
 * turn adds an L1 table or two, so this ends after a few.
 */
static int plan_tables(const struct build_params *p, struct plan *plan, uint64_t *pfn)
{
	struct build_layout *l = &plan->l;
	uint64_t extra = 1 + MIN_PADDING / PAGE_SIZE, end = 0, need = 0;

	do {
		uint64_t bytes = (*pfn + need + extra) * PAGE_SIZE;

		/* Aligned as an address; VIRT_BASE need not be. */
		end = ((l->virt_base + bytes + END_ALIGN - 1) & ~(END_ALIGN - 1)) - l->virt_base;
		if (end / PAGE_SIZE > p->nr_pages)
			return too_small(p, end / PAGE_SIZE);
		if (l->virt_base + (end - 1) < l->virt_base)
			return fail(p, PVV_EIMAGE,
				    "%s: the initial mapping of %" PRIu64
				    " MiB at VIRT_BASE %#" PRIx64 " would leave the address space",
				    p->image->name, end >> 20, l->virt_base);
		tables_count(&plan->initial, l->virt_base, l->virt_base + end - 1, NULL);
		need = tables_total(&plan->initial);
	} while ((*pfn + need + extra) * PAGE_SIZE > end);

	tables_place(&plan->initial, *pfn);
	l->root = *pfn;
	append(l, BUILD_PAGE_TABLES, pfn, need, true);
	append(l, BUILD_STACK, pfn, 1, true);
	append(l, BUILD_PAD, pfn, end / PAGE_SIZE - *pfn, true);
	l->virt_end = l->virt_base + end;
	for (unsigned int i = 0; i < TABLE_LEVELS; i++)
		l->tables[i] = plan->initial.level[i].nr;
	return 0;
}

static int plan_p2m_apart(const struct build_params *p, struct plan *plan, uint64_t *pfn)
{
	struct build_layout *l = &plan->l;
	uint64_t va = p->image->init_p2m, nr = pages_of(p->nr_pages * 8);
	uint64_t last = va + nr * PAGE_SIZE - 1;

	if (last < va || last >= l->virt_base || (va ^ last) >> 47 ||
	    (va >> 47 != 0 && va >> 47 != 0x1ffff) || (va < XEN_HOLE_END && last >= XEN_HOLE_START))
		return fail(p, PVV_EIMAGE,
			    "%s: the note INIT_P2M %#" PRIx64 " leaves no room for a list of "
			    "%" PRIu64 " frames",
			    p->image->name, va, p->nr_pages);
	append(l, BUILD_P2M, pfn, nr, false);
	tables_count(&plan->p2m, va, last, &plan->initial);
	tables_place(&plan->p2m, *pfn);
	append(l, BUILD_P2M_TABLES, pfn, tables_total(&plan->p2m), false);
	for (unsigned int i = 0; i < TABLE_LEVELS; i++)
		l->p2m_tables[i] = plan->p2m.level[i].nr;
	l->p2m_va = va;
	return 0;
}

static int check_params(const struct build_params *p, uint64_t *ret_module_size)
{
	int r;

	*ret_module_size = 0;
	if (p->cmdline && strlen(p->cmdline) > BUILD_MAX_CMDLINE)
		return fail(p, PVV_EINVAL,
			    "the kernel command line is %zu bytes long, %u are possible",
			    strlen(p->cmdline), BUILD_MAX_CMDLINE);
	if (p->nr_pages == 0 || p->nr_pages > 1ull << 32)
		return fail(p, PVV_EINVAL, "a domain cannot have %" PRIu64 " pages of memory",
			    p->nr_pages);
	if (p->image->refused[0])
		return fail(p, PVV_EIMAGE, "%s: %s", p->image->name, p->image->refused);
	if (p->module) {
		r = image_source_size(p->module, ret_module_size);
		if (r < 0)
			return r;
	}
	return 0;
}

int plan_make(const struct build_params *p, struct plan *plan)
{
	const struct image *img = p->image;
	struct build_layout *l = &plan->l;
	uint64_t module_size, module_pages, pfn, p2m_pages = pages_of(p->nr_pages * 8);
	int r;

	*plan = (struct plan){0};
	r = check_params(p, &module_size);
	if (r < 0)
		return r;
	for (unsigned int i = 0; i < BUILD_NR_REGIONS; i++) {
		l->region[i].name = region_names[i];
		l->region[i].va = BUILD_UNMAPPED;
	}
	/* With this, and p_paddr checked to be < 2^47, no sum below can wrap. */
	module_pages = module_size / PAGE_SIZE + (module_size % PAGE_SIZE != 0);
	if (module_pages > p->nr_pages)
		return too_small(p, pages_of(img->phys_end) + module_pages);
	l->virt_base = img->virt_base;
	l->module_size = module_size;
	plan->p2m_apart = img->init_p2m != IMAGE_UNSET;

	pfn = img->phys_start >> 12;
	append(l, BUILD_KERNEL, &pfn, pages_of(img->phys_end) - pfn, true);
	if (!img->mod_start_pfn)
		append(l, BUILD_MODULE, &pfn, module_pages, true);
	if (!plan->p2m_apart)
		append(l, BUILD_P2M, &pfn, p2m_pages, true);
	append(l, BUILD_START_INFO, &pfn, 1, true);
	append(l, BUILD_STORE, &pfn, 1, true);
	append(l, BUILD_CONSOLE, &pfn, 1, true);
	r = plan_tables(p, plan, &pfn);
	if (r < 0)
		return r;

	if ((l->virt_end - 1) >> 47 != l->virt_base >> 47 ||
	    (l->virt_base < XEN_HOLE_END && l->virt_end - 1 >= XEN_HOLE_START))
		return fail(p, PVV_EIMAGE,
			    "%s: the initial mapping %#" PRIx64 " to %#" PRIx64
			    " would run into addresses a guest does not have",
			    img->name, l->virt_base, l->virt_end);

	if (img->mod_start_pfn)
		append(l, BUILD_MODULE, &pfn, module_pages, false);
	if (plan->p2m_apart) {
		r = plan_p2m_apart(p, plan, &pfn);
		if (r < 0)
			return r;
	} else {
		l->p2m_va = l->region[BUILD_P2M].va;
	}
	if (pfn > p->nr_pages)
		return too_small(p, pfn);

	l->nr_used = pfn;
	l->entry = img->entry;
	l->start_info = l->region[BUILD_START_INFO].va;
	l->stack = l->region[BUILD_STACK].va + PAGE_SIZE;
	l->hypercall_page = ~0ull;
	if (img->hypercall_page != IMAGE_UNSET)
		l->hypercall_page = (img->hypercall_page - img->virt_base) >> 12;
	return 0;
}

int build_plan(const struct build_params *p, struct build_layout *ret)
{
	struct plan plan;
	int r = plan_make(p, &plan);

	if (r == 0)
		*ret = plan.l;
	return r;
}
