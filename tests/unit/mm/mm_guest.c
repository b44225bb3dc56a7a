/* SPDX-License-Identifier: MIT */
#include "mm_guest.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct mm_guest *guest_of(struct core_ctx *c)
{
	return c->priv;
}

static void op_flush_all(struct core_ctx *c, uint64_t mask)
{
	guest_of(c)->flush_all++;
	guest_of(c)->last_mask = mask;
}

static void op_flush_va(struct core_ctx *c, uint64_t mask, uint64_t va)
{
	guest_of(c)->flush_va++;
	guest_of(c)->last_mask = mask;
	guest_of(c)->last_va = va;
}

static void op_protect(struct core_ctx *c, uint64_t mfn)
{
	guest_of(c)->protect++;
	guest_of(c)->last_protect = mfn;
}

static void op_dirtied(struct core_ctx *c, uint64_t mfn)
{
	guest_of(c)->dirtied++;
}

static void op_root_changed(struct core_ctx *c)
{
	guest_of(c)->root_changed++;
}

static void op_discard(struct core_ctx *c, uint64_t mfn, uint64_t nr)
{
	guest_of(c)->discarded += nr;
	memset(core_frame_ptr(c, mfn), 0, nr << 12);
}

static void op_nothing(struct core_ctx *c)
{
}

static void op_kick(struct core_ctx *c, unsigned int id)
{
}

static uint64_t op_rdtsc(struct core_ctx *c)
{
	return 0;
}

static const struct core_exec_ops ops = {
	.flush_all = op_flush_all,
	.flush_va = op_flush_va,
	.frame_protect = op_protect,
	.frame_dirtied = op_dirtied,
	.root_changed = op_root_changed,
	.frames_discard = op_discard,
	.doorbell = op_nothing,
	.kick_vcpu = op_kick,
	.rdtsc = op_rdtsc,
	.cpu_changed = op_nothing,
};

static void build_image(struct mm_guest *g)
{
	uint64_t *l1 = frame_at(g, BOOT_L1);

	frame_at(g, BOOT_L4)[pte_slot(GUEST_VA, 4)] = pte(BOOT_L3, P | RW | U);
	frame_at(g, BOOT_L3)[pte_slot(GUEST_VA, 3)] = pte(BOOT_L2, P | RW | U);
	frame_at(g, BOOT_L2)[pte_slot(GUEST_VA, 2)] = pte(BOOT_L1, P | RW | U);
	for (unsigned int i = 0; i < NR_PAGES; i++)
		l1[i] = pte(i, P | (i >= BOOT_L4 && i <= BOOT_L1 ? 0 : RW));
}

static void clean(struct mm_guest *g)
{
	struct core_ctx *c = &g->c;
	uint8_t *memory = g->memory;
	unsigned int nr_vcpus = g->nr_vcpus;

	memset(memory, 0, (size_t)NR_FRAMES << 12);
	memset(c->d, 0, sizeof(*c->d));
	memset(c->ctl, 0, sizeof(*c->ctl));
	memset(c->frames, 0, NR_FRAMES * sizeof(*c->frames));
	*g = (struct mm_guest){
		.c = {.ram = memory, .d = c->d, .ctl = c->ctl, .frames = c->frames, .ops = &ops},
		.nr_vcpus = nr_vcpus,
		.memory = memory,
	};
	c->v = &c->d->vcpu[0];
	c->priv = g;
	build_image(g);
}

struct mm_guest *mm_guest_raw(unsigned int nr_vcpus)
{
	struct mm_guest *g = calloc(1, sizeof(*g));

	if (!g || posix_memalign((void **)&g->memory, 4096, (size_t)NR_FRAMES << 12) ||
	    posix_memalign((void **)&g->c.ctl, 64, sizeof(*g->c.ctl)))
		abort();
	g->nr_vcpus = nr_vcpus;
	g->c.d = malloc(sizeof(*g->c.d));
	g->c.frames = malloc(NR_FRAMES * sizeof(*g->c.frames));
	if (!g->c.d || !g->c.frames)
		abort();
	clean(g);
	return g;
}

void mm_guest_reset(struct mm_guest *g)
{
	clean(g);
	if (!mm_guest_boot(g))
		abort();
}

bool mm_guest_boot(struct mm_guest *g)
{
	struct core_domain *d = g->c.d;
	struct core_boot *b = &g->c.ctl->boot;

	b->nr_pages = NR_PAGES;
	b->max_pages = d->max_pages = MAX_PAGES;
	b->nr_frames = d->nr_frames = NR_FRAMES;
	b->shared_info = d->shared_info = SHARED_INFO;
	b->grant_first = GRANT_FIRST;
	b->grant_max = GRANT_MAX;
	b->m2p_first = d->m2p_first = M2P_FIRST;
	b->m2p_frames = d->m2p_frames = M2P_FRAMES;
	b->root = BOOT_L4;
	b->nr_vcpus = d->nr_vcpus = g->nr_vcpus;
	b->domid = d->domid = DOMID;
	for (unsigned int i = 0; i < d->nr_vcpus; i++)
		d->vcpu[i].id = i;
	g->c.v->kernel_mode = 1;
	return core_mm_init(&g->c);
}

struct mm_guest *mm_guest_new(unsigned int nr_vcpus)
{
	struct mm_guest *g = mm_guest_raw(nr_vcpus);

	if (!mm_guest_boot(g))
		abort();
	return g;
}

void mm_guest_free(struct mm_guest *g)
{
	free(g->c.frames);
	free(g->c.ctl);
	free(g->c.d);
	free(g->memory);
	free(g);
}

long mm_guest_hypercall(struct mm_guest *g, mm_guest_call *call, uint64_t a0, uint64_t a1,
			uint64_t a2, uint64_t a3)
{
	uint64_t args[6] = {a0, a1, a2, a3, 0x4444, 0x5555};
	long rc;

	for (g->turns = 1; g->turns < 10000; g->turns++) {
		g->c.hc.preempted = false;
		rc = call(&g->c, args);
		if (!g->c.hc.preempted)
			return rc;
		memcpy(args, g->c.hc.args, sizeof(args));
	}
	return LONG_MIN;
}

void mm_guest_preempt(struct mm_guest *g, bool on)
{
	g->c.ctl->vcpu[0].kick = on;
}

uint64_t put_args(struct mm_guest *g, unsigned int offset, const void *data, size_t size)
{
	memcpy((uint8_t *)frame_at(g, ARGS) + offset, data, size);
	return VA(ARGS) + offset;
}

#define DONE_AT (7u << 12)

long mmu_update(struct mm_guest *g, const struct mmu_update *reqs, uint32_t nr, uint32_t dom,
		uint32_t *ret_done)
{
	uint32_t done = 0xdddddddd;
	uint64_t va = put_args(g, 0, reqs, nr * sizeof(*reqs));
	uint64_t pdone = put_args(g, DONE_AT, &done, sizeof(done));
	long rc = mm_guest_hypercall(g, core_hc_mmu_update, va, nr, pdone, dom);

	if (ret_done)
		memcpy(ret_done, (uint8_t *)frame_at(g, ARGS) + DONE_AT, sizeof(*ret_done));
	return rc;
}

long update(struct mm_guest *g, uint64_t table, unsigned int slot, uint64_t val)
{
	struct mmu_update req = {.ptr = table << 12 | slot * 8, .val = val};

	return mmu_update(g, &req, 1, DOMID_SELF, NULL);
}

long va_mapping(struct mm_guest *g, uint64_t va, uint64_t val, uint64_t flags)
{
	return mm_guest_hypercall(g, core_hc_update_va_mapping, va, val, flags, 0);
}

long mmuext(struct mm_guest *g, unsigned int cmd, uint64_t arg1, uint64_t arg2)
{
	struct mmuext_op op = {.cmd = cmd};

	op.arg1.linear_addr = arg1;
	op.arg2.src_mfn = arg2;
	return mm_guest_hypercall(g, core_hc_mmuext_op, put_args(g, 0, &op, sizeof(op)), 1, 0,
				  DOMID_SELF);
}

long memory_op(struct mm_guest *g, uint64_t cmd, const void *arg, size_t size)
{
	uint64_t va = arg ? put_args(g, 0, arg, size) : 0;

	return mm_guest_hypercall(g, core_hc_memory_op, cmd, va, 0, 0);
}

static void remap(struct mm_guest *g, uint64_t mfn, uint64_t flags)
{
	if (va_mapping(g, VA(mfn), pte(mfn, flags), UVMF_NONE) != 0)
		abort();
}

void make_ro(struct mm_guest *g, uint64_t mfn)
{
	remap(g, mfn, P);
}

void make_rw(struct mm_guest *g, uint64_t mfn)
{
	remap(g, mfn, P | RW);
}
