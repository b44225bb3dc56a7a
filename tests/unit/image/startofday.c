/* SPDX-License-Identifier: MIT */
#include "startofday.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <xen/grant_table.h>

#include "util/err.h"

#define PTE_ADDR 0x000ffffffffff000ull

void sod_build(struct sod *s, const struct build_params *p)
{
	struct memory_params mp = {.name = "test", .nr_pages = p->nr_pages};

	memset(s, 0, sizeof(*s));
	if (memory_create(&mp, &s->mem, &s->boot) < 0 ||
	    build_domain(p, &s->mem, &s->boot, &s->layout) < 0)
		fail_msg("%s", pvv_error_get_message(pvv_error_last()));
}

void sod_free(struct sod *s)
{
	memory_destroy(&s->mem);
}

const struct start_info *sod_start_info(const struct sod *s)
{
	int rw;
	uint64_t pfn = sod_walk(s, s->boot.entry_rsi, &rw);

	assert_true(pfn < s->boot.nr_pages);
	return (const struct start_info *)(s->mem.base + (pfn << 12));
}

static const uint64_t *table(const struct sod *s, uint64_t pfn)
{
	assert_true(pfn < s->boot.nr_pages);
	return (const uint64_t *)(s->mem.base + (pfn << 12));
}

uint64_t sod_walk(const struct sod *s, uint64_t va, int *ret_rw)
{
	uint64_t pfn = s->boot.root, e;

	*ret_rw = 1;
	for (int shift = 39; shift >= 12; shift -= 9) {
		e = table(s, pfn)[(va >> shift) & 511];
		if (!(e & 1))
			return ~0ull;
		assert_int_equal(e & 0x80, shift == 12 ? e & 0x80 : 0); /* no large pages */
		assert_int_equal(e & ~PTE_ADDR & ~0x67ull, 0);		/* P RW US A D only */
		if (!(e & 2))
			*ret_rw = 0;
		pfn = (e & PTE_ADDR) >> 12;
	}
	return pfn;
}

/* Count leaves below a table, and mark each table frame seen; none may be seen twice. */
static uint64_t count(const struct sod *s, uint64_t pfn, int level, uint8_t *seen)
{
	uint64_t n = 0;

	assert_int_equal(seen[pfn], 0);
	seen[pfn] = 1;
	for (int i = 0; i < 512; i++) {
		uint64_t e = table(s, pfn)[i];

		if (!e)
			continue;
		assert_true(e & 1);
		n += level == 1 ? 1 : count(s, (e & PTE_ADDR) >> 12, level - 1, seen);
	}
	return n;
}

static void check_regions(const struct sod *s, const struct build_params *p)
{
	const struct build_layout *l = &s->layout;
	uint64_t last = 0;

	for (int i = 0; i < BUILD_NR_REGIONS; i++) {
		const struct build_region *a = &l->region[i];

		if (!a->nr)
			continue;
		assert_non_null(a->name);
		assert_true(a->pfn + a->nr <= p->nr_pages);
		if (a->pfn + a->nr > last)
			last = a->pfn + a->nr;
		if (a->va != BUILD_UNMAPPED)
			assert_int_equal(a->va, l->virt_base + (a->pfn << 12));
		for (int j = 0; j < i; j++) {
			const struct build_region *b = &l->region[j];

			if (b->nr)
				assert_false(a->pfn < b->pfn + b->nr && b->pfn < a->pfn + a->nr);
		}
	}
	assert_int_equal(l->nr_used, last);
	assert_int_equal(l->virt_end & ((4u << 20) - 1), 0);
	/* Padding behind the last element, which is the stack. */
	uint64_t stack_end = l->region[BUILD_STACK].va + 4096;
	assert_int_equal(stack_end, s->boot.entry_rsp);
	assert_true(l->virt_end - stack_end >= 512u << 10);
	assert_true(l->virt_end - stack_end < (512u << 10) + (4u << 20));
}

static void check_tables(const struct sod *s)
{
	const struct build_layout *l = &s->layout;
	const struct build_region *pt = &l->region[BUILD_PAGE_TABLES];
	const struct build_region *pm = &l->region[BUILD_P2M_TABLES];
	const struct build_region *list = &l->region[BUILD_P2M];
	uint64_t pages = (l->virt_end - l->virt_base) >> 12, tables = 0;
	uint8_t *seen = calloc(1, s->boot.nr_pages);
	int rw;

	assert_non_null(seen);
	for (uint64_t i = 0; i < pages; i++) {
		assert_int_equal(sod_walk(s, l->virt_base + (i << 12), &rw), i);
		assert_int_equal(rw, !(i >= pt->pfn && i < pt->pfn + pt->nr));
	}
	if (l->p2m_va != list->va) {
		assert_int_equal(list->va, BUILD_UNMAPPED);
		for (uint64_t i = 0; i < list->nr; i++) {
			assert_int_equal(sod_walk(s, l->p2m_va + (i << 12), &rw), list->pfn + i);
			assert_true(rw);
		}
		pages += list->nr;
	}
	/* Nothing else, and each table exactly once: those of the mapping first. */
	assert_int_equal(s->boot.root, pt->pfn);
	assert_int_equal(count(s, s->boot.root, 4, seen), pages);
	for (uint64_t i = 0; i < s->boot.nr_pages; i++) {
		int is_table = (i >= pt->pfn && i < pt->pfn + pt->nr) ||
			       (i >= pm->pfn && i < pm->pfn + pm->nr);

		assert_int_equal(seen[i], is_table);
		tables += is_table;
	}
	for (int i = 0; i < 4; i++)
		tables -= l->tables[i] + l->p2m_tables[i];
	assert_int_equal(tables, 0);
	free(seen);
}

static void check_start_info(const struct sod *s, const struct build_params *p)
{
	const struct start_info *si = sod_start_info(s);
	const struct build_region *r = s->layout.region;
	int rw;

	assert_int_equal(s->boot.entry_rsi & 0xfff, 0);
	assert_string_equal(si->magic, "xen-3.0-x86_64");
	assert_int_equal(si->nr_pages, p->nr_pages);
	assert_int_equal(si->shared_info, s->boot.shared_info << 12);
	assert_int_equal(si->store_mfn, r[BUILD_STORE].pfn);
	assert_int_equal(si->store_evtchn, p->store_port);
	assert_int_equal(si->console.domU.mfn, r[BUILD_CONSOLE].pfn);
	assert_int_equal(si->console.domU.evtchn, p->console_port);
	assert_int_equal(sod_walk(s, si->pt_base, &rw), s->boot.root);
	assert_int_equal(si->nr_pt_frames, r[BUILD_PAGE_TABLES].nr);
	/* The list, read through the page tables: the identity, then zeros up to the page's end. */
	for (uint64_t i = 0; i < r[BUILD_P2M].nr; i++) {
		uint64_t pfn = sod_walk(s, si->mfn_list + (i << 12), &rw);
		const uint64_t *list = table(s, pfn);

		for (uint64_t j = 0; j < 512; j++)
			assert_int_equal(list[j], i * 512 + j < p->nr_pages ? i * 512 + j : 0);
	}
	assert_int_equal(r[BUILD_P2M].nr, (p->nr_pages * 8 + 4095) / 4096);
}

static void check_kernel(const struct sod *s, const struct build_params *p)
{
	const struct image *img = p->image;
	int rw;

	for (unsigned int i = 0; i < img->nr_segments; i++) {
		const struct image_segment *g = &img->segment[i];

		assert_memory_equal(s->mem.base + g->paddr, img->elf + g->offset, g->filesz);
		for (uint64_t j = g->filesz; j < g->memsz; j++)
			assert_int_equal(s->mem.base[g->paddr + j], 0);
	}
	assert_int_equal(s->boot.entry_rip, img->entry);
	assert_int_not_equal(sod_walk(s, s->boot.entry_rip, &rw), ~0ull);
	assert_int_equal(s->boot.virt_base, img->virt_base);
}

static void check_hypervisor_frames(const struct sod *s)
{
	const struct shared_info *si =
		(const struct shared_info *)(s->mem.base + (s->boot.shared_info << 12));
	struct shared_info expected = {0};
	const grant_entry_v1_t *g =
		(const grant_entry_v1_t *)(s->mem.base + (s->boot.grant_first << 12));

	for (int i = 0; i < XEN_LEGACY_MAX_VCPUS; i++)
		expected.vcpu_info[i].evtchn_upcall_mask = 1;
	assert_memory_equal(si, &expected, sizeof(expected));
	assert_int_equal(g[GNTTAB_RESERVED_CONSOLE].flags,
			 0x19); /* in use, for reading and writing */
	assert_int_equal(g[GNTTAB_RESERVED_CONSOLE].domid, 0);
	assert_int_equal(g[GNTTAB_RESERVED_CONSOLE].frame, s->layout.region[BUILD_CONSOLE].pfn);
	assert_int_equal(g[GNTTAB_RESERVED_XENSTORE].flags, 0x19);
	assert_int_equal(g[GNTTAB_RESERVED_XENSTORE].frame, s->layout.region[BUILD_STORE].pfn);
	for (int i = GNTTAB_NR_RESERVED_ENTRIES; i < 512; i++)
		assert_int_equal(g[i].flags, 0);
}

void sod_check(const struct sod *s, const struct build_params *p)
{
	check_regions(s, p);
	check_tables(s);
	check_start_info(s, p);
	check_kernel(s, p);
	check_hypervisor_frames(s);
}
