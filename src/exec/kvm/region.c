/* SPDX-License-Identifier: MIT */
/*
 * The monitor's region of the VM. Everything that would be start-up assembly is prepared here, in C
 * and outside: the vCPUs begin in 64-bit mode with their stacks and the final page tables.
 */
#include <string.h>
#include <sys/mman.h>

#include "exec/kvm/kvm.h"
#include "util/err.h"

#define PTE_P  1ull
#define PTE_W  2ull
#define PTE_U  4ull
#define PTE_A  0x20ull
#define PTE_D  0x40ull
#define PTE_PS 0x80ull
#define PTE_NX (1ull << 63)
#define RX     (PTE_P | PTE_A)
#define RW     (PTE_P | PTE_W | PTE_A | PTE_D | PTE_NX)
#define TABLE  (PTE_P | PTE_W | PTE_A)
#define FRAME  0x000ffffffffff000ull

#define PAGE 4096ull
#define BIG  (2ull << 20)

#define PARAMS_VA (KVM_IMAGE_VA + KVM_IMAGE_MAX)

/* Region memory, in pages; the region was made large enough, see region_size(). */
static uint64_t take(struct kvm_region *r, uint64_t pages)
{
	uint64_t gpa = r->gpa + r->used;

	r->used += pages * PAGE;
	return gpa;
}

static uint64_t *at(const struct kvm_region *r, uint64_t gpa)
{
	return (uint64_t *)(r->base + (gpa - r->gpa));
}

static unsigned int slot(uint64_t va, unsigned int level)
{
	return (unsigned int)(va >> (12 + 9 * (level - 1))) & 511;
}

/* The table of `level` that maps va, made if need be. */
static uint64_t *table(struct kvm_region *r, uint64_t va, unsigned int level, uint64_t flags)
{
	uint64_t *t = at(r, r->l4);

	for (unsigned int l = 4; l > level; l--) {
		uint64_t *e = &t[slot(va, l)];

		if (!*e)
			*e = take(r, 1) | flags;
		t = at(r, *e & FRAME);
	}
	return t;
}

static void map(struct kvm_region *r, uint64_t va, uint64_t gpa, uint64_t pages, uint64_t flags)
{
	for (uint64_t i = 0; i < pages; i++, va += PAGE)
		table(r, va, 1, TABLE)[slot(va, 1)] = (gpa + i * PAGE) | flags;
}

static uint64_t boot_m2p(const struct exec_memory *m, uint64_t *ret_frames)
{
	const struct core_boot *b = &((struct core_ctl *)(m->base + m->ctl_off))->boot;

	*ret_frames = b->m2p_frames;
	return b->m2p_first << 12;
}

/* The machine-to-physical table, the only thing of ours that ring 3 may read. */
static void map_m2p(struct kvm_region *r, const struct exec_memory *m)
{
	const uint64_t leaf = PTE_P | PTE_U | PTE_A | PTE_NX, upper = PTE_P | PTE_U | PTE_A;
	uint64_t va = 0xffff800000000000ull, nr, gpa = boot_m2p(m, &nr);

	for (uint64_t i = 0; i < nr; i++, va += PAGE)
		table(r, va, 1, upper)[slot(va, 1)] = (gpa + i * PAGE) | leaf;
}

/* All of the memfd, with large pages; what the last one covers beyond it is not there. */
static void map_ram(struct kvm_region *r, const struct exec_memory *m)
{
	for (uint64_t off = 0; off < m->size; off += BIG) {
		uint64_t va = KVM_RAM_VA + off;

		table(r, va, 2, TABLE)[slot(va, 2)] = off | RW | PTE_PS;
	}
}

static void map_cpus(struct exec *e, struct kvm_region *r, uint64_t cpus)
{
	for (unsigned int id = 0; id < e->nr_vcpus; id++)
		for (unsigned int page = 0; page < KVM_CPU_PAGES; page++)
			if (page != KVM_CPU_GUARD)
				map(r, kvm_block_va(id) + page * PAGE,
				    cpus + id * KVM_CPU_SIZE + page * PAGE, 1, RW);
}

static void map_image(struct kvm_region *r, const struct kvm_image_header *h)
{
	uint64_t text = (h->text_end - KVM_IMAGE_VA) / PAGE;
	uint64_t data = (h->bss_end - h->text_end) / PAGE, gpa = take(r, text + data);

	memcpy(at(r, gpa), kvm_image_start, h->data_end - KVM_IMAGE_VA);
	map(r, KVM_IMAGE_VA, gpa, text, RX);
	map(r, h->text_end, gpa + text * PAGE, data, RW);
	r->entry = h->entry;
}

static void fill(struct exec *e, struct kvm_region *r)
{
	const struct exec_memory *m = e->memory;
	const struct kvm_image_header *h = (const struct kvm_image_header *)kvm_image_start;
	const uint64_t windows = (uint64_t)e->nr_vcpus * KVM_GDT_STRIDE;
	uint64_t window_l1, params, cpus, zero;

	r->l4 = take(r, 1);
	zero = take(r, 1);
	map_image(r, h);
	map(r, KVM_IDT_VA, take(r, 1), 1, RW);
	cpus = take(r, (uint64_t)e->nr_vcpus * (KVM_CPU_SIZE / PAGE));
	map_cpus(e, r, cpus);
	map_m2p(r, m);
	map_ram(r, m);

	/* The windows' L1 tables: consecutive, and themselves mapped for the monitor. */
	window_l1 = take(r, (windows + BIG - 1) / BIG);
	for (uint64_t off = 0; off < windows; off += BIG)
		table(r, KVM_GDT_VA + off, 2, TABLE)[slot(KVM_GDT_VA + off, 2)] =
			(window_l1 + off / BIG * PAGE) | TABLE;
	map(r, PARAMS_VA + PAGE, window_l1, (windows + BIG - 1) / BIG, RW);
	at(r, r->l4)[KVM_SLOT_OTHER] = take(r, 1) | TABLE;

	params = take(r, 1);
	map(r, PARAMS_VA, params, 1, RW & ~(PTE_W | PTE_D));
	r->params_va = PARAMS_VA;

	struct kvm_params *p = (struct kvm_params *)at(r, params);
	*p = (struct kvm_params){
		.mem_size = m->size,
		.nr_frames = m->nr_frames,
		.ctl_off = m->ctl_off,
		.state_off = m->state_off,
		.frames_off = m->frames_off,
		.root = r->l4,
		.window_va = PARAMS_VA + PAGE,
		.cpus_gpa = cpus,
		.zero_gpa = zero,
		.nr_vcpus = e->nr_vcpus,
		.has_xsave = e->has_xsave,
		.has_rdtscp = e->has_rdtscp,
		.has_pv_eoi = e->has_pv_eoi,
	};
	for (unsigned int i = 0; i < KVM_SLOTS; i++)
		p->slots[i] = at(r, r->l4)[KVM_SLOT_FIRST + i];
}

/* Enough for everything above: tables for the RAM and the M2P are what grows. */
static uint64_t region_size(const struct exec *e)
{
	const struct kvm_image_header *h = (const struct kvm_image_header *)kvm_image_start;
	uint64_t m2p, pages = (h->bss_end - KVM_IMAGE_VA) / PAGE;

	boot_m2p(e->memory, &m2p);
	pages += (uint64_t)e->nr_vcpus * (KVM_CPU_SIZE / PAGE);
	pages += (e->memory->size >> 30) + 2 + m2p / 512 + m2p / 512 / 512 + 64;
	return (pages * PAGE + BIG - 1) & ~(BIG - 1);
}

int kvm_region_create(struct exec *e, struct kvm_region *r)
{
	const uint64_t gib = 1ull << 30;

	r->size = region_size(e);
	/* Above everything, and clear of the 20 MiB below 4 GiB where KVM has pages of its own. */
	r->gpa = (e->memory->size + gib - 1) & ~(gib - 1);
	if (r->gpa < 4 * gib)
		r->gpa = 4 * gib;
	if ((r->gpa + r->size) >> e->address_bits)
		return err_set(PVV_ELIMIT, PVV_SUBSYS_EXEC, e->name,
			       "domain '%s' has too much memory for this host's processor, whose "
			       "addresses have %u bits",
			       e->name, e->address_bits);
	r->base = mmap(NULL, r->size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (r->base == MAP_FAILED) {
		r->base = NULL;
		return err_nomem(PVV_SUBSYS_EXEC, "preparing the virtual machine");
	}
	madvise(r->base, r->size, MADV_DONTFORK);
	madvise(r->base, r->size, MADV_DONTDUMP);
	fill(e, r);
	return 0;
}
