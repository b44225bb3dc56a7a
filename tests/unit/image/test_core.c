/* SPDX-License-Identifier: MIT */
/*
 * Builder and core together: what build_domain() leaves is what core_domain_init() accepts, for
 * layouts of every kind, and the guest then finds its page tables as on Xen (see
 * tests/guest/expected/startofday*.txt).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <xen/elfnote.h>

#include "core/core.h"
#include "core/mm/frame.h"
#include "mkelf.h"
#include "startofday.h"
#include "util/err.h"

#define BASE 0xffffffff80000000ull
#define MIB  256ull /* pages */

#define PTE_ADDR   0x000ffffffffff000ull
#define PTE_KERNEL (1ull << 52) /* Xen's mark of entries that were asked for without US */

static void nothing_vcpus(struct core_ctx *c, uint64_t vcpus)
{
}

static void nothing_va(struct core_ctx *c, uint64_t vcpus, uint64_t va)
{
}

static void nothing_mfn(struct core_ctx *c, uint64_t mfn)
{
}

static void nothing_mfns(struct core_ctx *c, uint64_t mfn, uint64_t nr)
{
}

static void nothing(struct core_ctx *c)
{
}

static void nothing_id(struct core_ctx *c, unsigned int id)
{
}

static uint64_t no_time(struct core_ctx *c)
{
	return 0;
}

static const struct core_exec_ops ops = {
	.flush_all = nothing_vcpus,
	.flush_va = nothing_va,
	.frame_protect = nothing_mfn,
	.frame_dirtied = nothing_mfn,
	.root_changed = nothing,
	.frames_discard = nothing_mfns,
	.doorbell = nothing,
	.kick_vcpu = nothing_id,
	.rdtsc = no_time,
	.cpu_changed = nothing,
};

static bool start(struct sod *s, struct core_ctx *c)
{
	struct core_ctl *ctl = memory_ctl(&s->mem);

	ctl->boot = s->boot;
	ctl->tsc_mul = 1u << 31;
	*c = (struct core_ctx){
		.d = (struct core_domain *)(s->mem.base + s->mem.state_off),
		.frames = (struct core_frame *)(s->mem.base + s->mem.frames_off),
		.ctl = ctl,
		.ram = s->mem.base,
		.ops = &ops,
	};
	if (core_domain_init(c))
		return true;
	print_error("%.*s\n", (int)sizeof(ctl->reason), ctl->reason);
	return false;
}

static enum frame_type type_of(const struct core_ctx *c, uint64_t pfn)
{
	return frame_type(frame_word(&c->frames[pfn]));
}

/* Each table frame has its level's type, the root's pin is there, entries read back as on Xen. */
static void check_types(const struct sod *s, const struct core_ctx *c)
{
	const struct build_layout *l = &s->layout;
	static const enum frame_type types[] = {FRAME_L1, FRAME_L2, FRAME_L3, FRAME_L4};
	uint64_t pfn = l->region[BUILD_PAGE_TABLES].pfn, l1 = 0;

	assert_true(frame_word(&c->frames[l->root]) & FRAME_PINNED);
	assert_int_equal(c->d->vcpu[0].kernel_root, l->root);
	for (int level = 3; level >= 0; level--)
		for (uint64_t i = 0; i < l->tables[level]; i++, pfn++) {
			assert_int_equal(type_of(c, pfn), types[level]);
			assert_true(frame_is(frame_word(&c->frames[pfn]), types[level]));
			l1 = pfn;
		}
	pfn = l->region[BUILD_P2M_TABLES].pfn;
	for (int level = 3; level >= 0; level--)
		for (uint64_t i = 0; i < l->p2m_tables[level]; i++, pfn++)
			assert_true(frame_is(frame_word(&c->frames[pfn]), types[level]));
	/* The last L1: present entries have US and the mark, tables are read-only. */
	const uint64_t *t = (const uint64_t *)(s->mem.base + (l1 << 12));
	const struct build_region *pt = &l->region[BUILD_PAGE_TABLES];
	for (int i = 0; i < 512; i++) {
		uint64_t to = (t[i] & PTE_ADDR) >> 12;

		if (!(t[i] & 1))
			continue;
		assert_int_equal(t[i] & PTE_KERNEL, PTE_KERNEL);
		assert_int_equal(t[i] & 7, to >= pt->pfn && to < pt->pfn + pt->nr ? 5 : 7);
	}
	/* An ordinary page is writable, a frame behind RAM's end is not the guest's. */
	assert_int_equal(type_of(c, l->region[BUILD_START_INFO].pfn), FRAME_WRITABLE);
	assert_int_equal(c->v->regs.rip, l->entry);
	assert_int_equal(c->v->regs.gpr[R_RSI], l->start_info);
	assert_int_equal(c->v->regs.gpr[R_RSP], l->stack);
}

static void layouts_are_accepted(void **state)
{
	static const struct {
		uint64_t base, paddr, p2m, mib;
	} t[] = {
		{0, 0, IMAGE_UNSET, 4},
		{0x400000, 0x1000, IMAGE_UNSET, 8},
		{0x1fffff000, 0, IMAGE_UNSET, 32},
		{0x7fffff000000, 0, IMAGE_UNSET, 32},
		{0xffff880000000000, 0, IMAGE_UNSET, 32},
		{0xffffffffff800000, 0, 0x8000000000, 32},
		{BASE, 0x1000000, 0x8000000000, 300},
		{BASE, 0x1000000, 0x7fffe00000, 2200},
		{BASE, 0, BASE - 0x200000, 300},
		{BASE + 0x40000000, 0, BASE, 100},
		{BASE + 0x1000000, 0, BASE, 100},
		{BASE + 0x100000, 0, BASE, 100},
		{0xffff888000000000, 0, 0x7f0000000000, 64},
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct mkelf m;
		struct sod s;
		struct core_ctx c;
		struct image *img;

		mkelf_kernel(&m, t[i].base, t[i].paddr);
		mkelf_number(&m, XEN_ELFNOTE_HYPERCALL_PAGE, t[i].base + t[i].paddr + 0x2000);
		if (t[i].p2m != IMAGE_UNSET)
			mkelf_number(&m, XEN_ELFNOTE_INIT_P2M, t[i].p2m);
		mkelf_finish(&m);
		assert_int_equal(mkelf_load(&m, 0, &img), 0);
		struct build_params p = {.image = img, .nr_pages = t[i].mib * MIB, .nr_vcpus = 2};

		sod_build(&s, &p);
		if (!start(&s, &c))
			fail_msg("layout %zu is refused", i);
		check_types(&s, &c);
		/* The hypercall page was filled, at the third page of the kernel. */
		const uint8_t *page = s.mem.base + t[i].paddr + 0x2000;
		int differs = 0;
		for (uint64_t j = 0; j < 4096; j++)
			differs += page[j] != mkelf_byte(0, 0x2000 + j);
		assert_in_range(differs, 1000, 4096);
		sod_free(&s);
		image_free(img);
		mkelf_free(&m);
	}
}

/* A writable page table must not get past the core: what the read-only entries are for. */
static void a_writable_table_is_not(void **state)
{
	struct mkelf m;
	struct sod s;
	struct core_ctx c;
	struct image *img;

	mkelf_kernel(&m, BASE, 0);
	mkelf_finish(&m);
	assert_int_equal(mkelf_load(&m, 0, &img), 0);
	struct build_params p = {.image = img, .nr_pages = 16 * MIB, .nr_vcpus = 1};
	sod_build(&s, &p);
	uint64_t l1 = s.layout.region[BUILD_PAGE_TABLES].pfn + 3;
	uint64_t *t = (uint64_t *)(s.mem.base + (l1 << 12));
	assert_int_equal(t[l1] & 3, 1);
	t[l1] |= 2;
	assert_false(start(&s, &c));
	assert_int_equal(memory_ctl(&s.mem)->run_state, CORE_STATE_CRASHED);
	sod_free(&s);
	image_free(img);
	mkelf_free(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(layouts_are_accepted),
		cmocka_unit_test(a_writable_table_is_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
