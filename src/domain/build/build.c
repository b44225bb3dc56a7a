/* SPDX-License-Identifier: MIT */
#include "domain/build/build.h"

#include <string.h>

#include <xen/xen.h>
#include <xen/grant_table.h>

#include "domain/build/internal.h"
#include "domain/memory.h"
#include "domain/image/source.h"

static uint8_t *frame(const struct exec_memory *mem, uint64_t pfn)
{
	return memory_pfn(mem, pfn);
}

/* Memory is fresh, so what p_memsz has beyond p_filesz is zero already and stays untouched. */
static void load_kernel(const struct image *img, const struct exec_memory *mem)
{
	for (unsigned int i = 0; i < img->nr_segments; i++) {
		const struct image_segment *s = &img->segment[i];

		if (s->filesz)
			memcpy(frame(mem, 0) + s->paddr, img->elf + s->offset, s->filesz);
	}
	if (img->symtab.size)
		image_put_symtab(img, frame(mem, 0) + img->symtab.paddr);
}

static void fill_p2m(const struct exec_memory *mem, uint64_t pfn, uint64_t nr_pages)
{
	uint64_t *list = (uint64_t *)frame(mem, pfn);

	for (uint64_t i = 0; i < nr_pages; i++)
		list[i] = mem->ram_first + i;
}

static void fill_start_info(const struct build_params *p, const struct plan *plan,
			    const struct exec_memory *mem, const struct core_boot *boot)
{
	const struct build_layout *l = &plan->l;
	const struct build_region *r = l->region;
	struct start_info *si = (struct start_info *)frame(mem, r[BUILD_START_INFO].pfn);

	memcpy(si->magic, "xen-3.0-x86_64", sizeof("xen-3.0-x86_64"));
	si->nr_pages = p->nr_pages;
	si->shared_info = boot->shared_info << 12;
	si->store_mfn = mem->ram_first + r[BUILD_STORE].pfn;
	si->store_evtchn = p->store_port;
	si->console.domU.mfn = mem->ram_first + r[BUILD_CONSOLE].pfn;
	si->console.domU.evtchn = p->console_port;
	si->pt_base = r[BUILD_PAGE_TABLES].va;
	si->nr_pt_frames = r[BUILD_PAGE_TABLES].nr;
	si->mfn_list = l->p2m_va;
	if (plan->p2m_apart) {
		si->first_p2m_pfn = r[BUILD_P2M].pfn;
		si->nr_p2m_frames = r[BUILD_P2M].nr + r[BUILD_P2M_TABLES].nr;
	}
	if (l->module_size) {
		si->mod_len = l->module_size;
		if (r[BUILD_MODULE].va == BUILD_UNMAPPED) {
			si->flags |= SIF_MOD_START_PFN;
			si->mod_start = r[BUILD_MODULE].pfn;
		} else {
			si->mod_start = r[BUILD_MODULE].va;
		}
	}
	if (p->cmdline) /* plan_make() has checked its length */
		memcpy(si->cmd_line, p->cmdline, strlen(p->cmdline));
}

/*
 * As Xen's toolstack leaves it: upcalls masked on every vCPU, no port masked, nothing pending.
 * Times are the core's.
 */
static void fill_shared_info(const struct exec_memory *mem, const struct core_boot *boot)
{
	struct shared_info *si = memory_frame(mem, boot->shared_info);

	for (unsigned int i = 0; i < XEN_LEGACY_MAX_VCPUS; i++)
		si->vcpu_info[i].evtchn_upcall_mask = 1;
}

/*
 * The rings' frames are granted to domain 0 in the entries that the ABI reserves for them. Xen's
 * guests find them in use: xenstored and xenconsoled have mapped them before the guest runs.
 */
static void fill_grants(const struct build_layout *l, const struct exec_memory *mem,
			const struct core_boot *boot)
{
	grant_entry_v1_t *table = memory_frame(mem, boot->grant_first);
	const struct {
		unsigned int ref;
		enum build_region_id id;
	} reserved[] = {
		{GNTTAB_RESERVED_CONSOLE, BUILD_CONSOLE},
		{GNTTAB_RESERVED_XENSTORE, BUILD_STORE},
	};

	if (boot->grant_max == 0)
		return;
	for (unsigned int i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++) {
		grant_entry_v1_t *e = &table[reserved[i].ref];

		e->flags = GTF_permit_access | GTF_reading | GTF_writing;
		e->domid = 0;
		e->frame = (uint32_t)(mem->ram_first + l->region[reserved[i].id].pfn);
	}
}

static int check_memory(const struct build_params *p, const struct exec_memory *mem,
			const struct core_boot *boot)
{
	if (boot->nr_pages == p->nr_pages && p->nr_pages <= boot->max_pages &&
	    boot->max_pages <= mem->nr_frames && boot->shared_info < mem->nr_frames &&
	    boot->grant_first + boot->grant_max <= mem->nr_frames)
		return 0;
	return err_set(PVV_EINVAL, PVV_SUBSYS_DOMAIN, p->image->name,
		       "the domain's memory was made for %llu pages, not %llu",
		       (unsigned long long)boot->nr_pages, (unsigned long long)p->nr_pages);
}

int build_domain(const struct build_params *p, const struct exec_memory *mem,
		 struct core_boot *boot, struct build_layout *ret_layout)
{
	struct plan plan;
	const struct build_layout *l = &plan.l;
	int r = check_memory(p, mem, boot);

	if (r == 0)
		r = plan_make(p, &plan);
	if (r < 0)
		return r;
	const struct build_region *tables = &l->region[BUILD_PAGE_TABLES];
	const struct build_region *p2m = &l->region[BUILD_P2M];

	load_kernel(p->image, mem);
	if (l->module_size) {
		r = image_source_read(p->module, 0, frame(mem, l->region[BUILD_MODULE].pfn),
				      l->module_size);
		if (r < 0)
			return r;
	}
	fill_p2m(mem, p2m->pfn, p->nr_pages);
	fill_start_info(p, &plan, mem, boot);
	tables_map(mem, &plan.initial, l->virt_base, 0, (l->virt_end - l->virt_base) >> 12,
		   tables->pfn, tables->nr);
	if (plan.p2m_apart)
		tables_map(mem, &plan.p2m, l->p2m_va, p2m->pfn, p2m->nr, 0, 0);
	fill_shared_info(mem, boot);
	fill_grants(l, mem, boot);

	boot->root = mem->ram_first + l->root;
	boot->entry_rip = l->entry;
	boot->entry_rsi = l->start_info;
	boot->entry_rsp = l->stack;
	boot->hypercall_page =
		l->hypercall_page == BUILD_UNMAPPED ? ~0ull : mem->ram_first + l->hypercall_page;
	boot->virt_base = l->virt_base;
	boot->vm_assist = 0; /* notes switch assists on for 32-bit kernels only */
	boot->store_port = p->store_port;
	boot->console_port = p->console_port;
	boot->nr_vcpus = p->nr_vcpus;
	if (ret_layout)
		*ret_layout = *l;
	return 0;
}
