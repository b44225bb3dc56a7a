/* SPDX-License-Identifier: MIT */
/*
 * A guest that does anything to its page tables: each input is a list of operations (memory
 * hypercalls, plain stores where it has a writable mapping, emulated stores, abandoned
 * continuations, references of back ends). After each of them all references are counted again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "input.h"

#include "../unit/mm/mm_guest.h"

#include <xen/memory.h>

#define MAX_OPS 400u

static uint64_t word(struct input *in)
{
	uint64_t v = 0;

	for (unsigned int i = 0; i < 8; i++)
		v = v << 8 | byte(in);
	return v;
}

/* Mostly the same few frames, so that they meet each other in all roles. */
static uint64_t mfn(struct input *in)
{
	uint8_t b = byte(in);
	static const uint16_t special[] = {BOOT_L4,	 BOOT_L3,     BOOT_L2,	     BOOT_L1,
					   ARGS,	 SHARED_INFO, GRANT_FIRST,   M2P_FIRST,
					   GAP,		 NR_FRAMES,   MAX_PAGES - 1, NR_PAGES,
					   NR_PAGES + 1, 0,	      NR_PAGES - 1,  1};

	if (b < 0xc0)
		return FREE + b % 24;
	if (b < 0xf8)
		return special[b & 15];
	return word(in);
}

static unsigned int slot(struct input *in)
{
	static const uint16_t slots[] = {0, 1, 2, 255, 256, 271, 272, 511};
	uint8_t b = byte(in);

	return b & 0x80 ? (b & 0x7f) * 4 : slots[b & 7];
}

static uint64_t entry(struct input *in)
{
	static const uint64_t flags[] = {P | RW,	  P,	0, P | RW | U, P | U, P | A | D,
					 P | RW | PTE_NX, P | G};
	uint8_t b = byte(in);
	uint64_t e = mfn(in) << 12 | flags[b & 7];

	if (b >= 0xf0)
		e ^= word(in);
	return e;
}

/* What the guest could write itself: pages that are not in use under another type. */
static void poke(struct mm_guest *g, struct input *in)
{
	uint64_t m = mfn(in), e;
	unsigned int s = slot(in);

	e = entry(in);
	if (m < NR_PAGES && frame_get_writable(g->c.frames, NR_FRAMES, m)) {
		frame_at(g, m)[s] = e;
		frame_put_writable(g->c.frames, NR_FRAMES, m);
	}
}

static void list(struct mm_guest *g, struct input *in, unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++)
		frame_at(g, ARGS + 1)[i] = mfn(in);
}

static void reservation(struct mm_guest *g, struct input *in)
{
	static const uint8_t cmds[] = {XENMEM_decrease_reservation, XENMEM_populate_physmap,
				       XENMEM_increase_reservation, XENMEM_exchange};
	uint8_t b = byte(in);
	struct xen_memory_exchange x = {
		.in = {.nr_extents = 1 + (b >> 6),
		       .extent_order = (b >> 2) & 3,
		       .domid = DOMID_SELF},
	};

	x.in.extent_start.p = (void *)VA(ARGS + 1);
	x.out = x.in;
	list(g, in, x.in.nr_extents);
	if ((b & 3) == 3) {
		uint8_t out = byte(in);

		x.out.nr_extents = out >> 4;
		x.out.extent_order = out & 15;
		x.out.extent_start.p = (void *)(VA(ARGS + 1) + 256);
	}
	(void)memory_op(g, cmds[b & 3], &x, sizeof(x));
}

/* Take and put references as a back end does. */
static void back_end(struct mm_guest *g, struct input *in)
{
	uint64_t m = mfn(in);
	uint8_t b = byte(in);

	if (m >= NR_FRAMES)
		return;
	if ((b & 1) && g->writers[m] > 0) {
		frame_put_writable(g->c.frames, NR_FRAMES, m);
		g->writers[m]--;
	} else if ((b & 2) && g->readers[m] > 0) {
		frame_put(g->c.frames, NR_FRAMES, m);
		g->readers[m]--;
	} else if ((b & 4) && frame_get_writable(g->c.frames, NR_FRAMES, m)) {
		g->writers[m]++;
	} else if ((b & 8) && frame_get(g->c.frames, NR_FRAMES, m)) {
		g->readers[m]++;
	}
}

static void ro_fault(struct mm_guest *g, struct input *in)
{
	struct core_regs *r = &g->c.v->regs;
	uint64_t at = VA(mfn(in)) + slot(in) * 8;
	uint8_t code[16];
	unsigned int reg = byte(in) & 15;

	for (unsigned int i = 0; i < sizeof(code); i++)
		code[i] = byte(in);
	memcpy(frame_at(g, ARGS + 4), code, sizeof(code));
	r->rip = VA(ARGS + 4);
	r->rflags = 0x202 | (byte(in) & 0xd5);
	for (unsigned int i = 0; i < 16; i++)
		r->gpr[i] = i == reg ? at : (i & 1 ? entry(in) : i);
	(void)core_mm_ro_fault(&g->c, at, PF_PRESENT | PF_WRITE);
}

/* One turn only: the guest does not come back to it. */
static void abandoned(struct mm_guest *g, struct input *in)
{
	struct mmuext_op op = {.cmd = byte(in) % 6, .arg1.mfn = mfn(in)};
	uint64_t args[6] = {put_args(g, 0, &op, sizeof(op)), 1, 0, DOMID_SELF};

	mm_guest_preempt(g, true);
	g->c.hc.preempted = false;
	(void)core_hc_mmuext_op(&g->c, args);
	g->c.hc.preempted = false;
}

/* Arguments without any care. */
static void raw(struct mm_guest *g, struct input *in)
{
	static mm_guest_call *const calls[] = {core_hc_mmu_update, core_hc_mmuext_op,
					       core_hc_memory_op, core_hc_update_va_mapping};
	uint64_t a[4];
	uint8_t b = byte(in);

	for (unsigned int i = 0; i < 4; i++) {
		switch ((b >> (2 * (i % 3) + 2)) & 3) {
		case 0:
			a[i] = byte(in);
			break;
		case 1:
			a[i] = VA(ARGS) + byte(in) * 8u;
			break;
		case 2:
			a[i] = word(in);
			break;
		default:
			a[i] = DOMID_SELF;
			break;
		}
	}
	/* Bound the work, not the checks: a list of 2^31 requests is a long time only. */
	if ((b & 3) < 2)
		a[1] = (a[1] & 0x80000000) | (a[1] & 0x3f);
	(void)mm_guest_hypercall(g, calls[b & 3], a[0], a[1], a[2], a[3]);
}

static void one(struct mm_guest *g, struct input *in)
{
	uint8_t op = byte(in);
	uint64_t m, e;
	unsigned int s;

	switch (op % 12) {
	case 0:
	case 1:
		poke(g, in);
		break;
	case 2:
	case 3:
		m = mfn(in);
		s = slot(in);
		e = entry(in);
		(void)update(g, m & ((1ull << 50) - 1), s, e);
		break;
	case 4:
		m = mfn(in);
		e = entry(in);
		(void)va_mapping(g, VA(m), e, byte(in) & 7);
		break;
	case 5:
	case 6:
		m = byte(in) % 24;
		e = mfn(in);
		(void)mmuext(g, (unsigned int)m, e, e ^ 1);
		break;
	case 7:
		reservation(g, in);
		break;
	case 8:
		back_end(g, in);
		break;
	case 9:
		ro_fault(g, in);
		break;
	case 10:
		abandoned(g, in);
		break;
	default:
		raw(g, in);
		break;
	}
	mm_guest_preempt(g, op & 0x80);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct mm_guest *g;
	struct input in = {.data = data, .size = size};

	if (g)
		mm_guest_reset(g);
	else
		g = mm_guest_new(1);
	g->c.d->vm_assist = 1ull << VMASST_TYPE_writable_pagetables;
	for (unsigned int i = 0; i < MAX_OPS && in.size > 0; i++) {
		const char *why;

		one(g, &in);
		why = mm_guest_check(g);
		if (why) {
			fprintf(stderr, "after operation %u: %s\n", i, why);
			abort();
		}
	}
	return 0;
}
