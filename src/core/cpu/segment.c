/* SPDX-License-Identifier: MIT */
/* Hypercalls about segments: the GDT, single descriptors, segment bases, the kernel's stack. */
#include "core/hypercall/hypercall.h"

#include "core/cpu/cpu.h"
#include "core/cpu/desc.h"
#include "core/lib/bitops.h"
#include "core/mm/mm.h"

#define GDT_PER_FRAME 512u

/* ---- set_gdt, update_descriptor ---------------------------------------------------------- */

/* Take all frames of a new GDT, or none. */
static long get_gdt_frames(struct core_ctx *c, const uint64_t *frames, unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++) {
		if (core_frame_get_type(c, frames[i], FRAME_SEG_DESC))
			continue;
		while (i-- > 0)
			core_frame_put_type(c, frames[i]);
		return -XEN_EINVAL;
	}
	return 0;
}

void core_gdt_drop(struct core_ctx *c, struct core_vcpu *v)
{
	for (unsigned int i = 0; i < (v->gdt_ents + GDT_PER_FRAME - 1) / GDT_PER_FRAME; i++) {
		core_frame_put_type(c, v->gdt_frames[i]);
		v->gdt_frames[i] = 0;
	}
	v->gdt_ents = 0;
}

long core_gdt_set(struct core_ctx *c, struct core_vcpu *v, const uint64_t *frames,
		  unsigned int entries)
{
	unsigned int nr = (entries + GDT_PER_FRAME - 1) / GDT_PER_FRAME;

	if (entries > FIRST_RESERVED_GDT_ENTRY)
		return -XEN_EINVAL;

	long rc = get_gdt_frames(c, frames, nr);

	if (rc != 0)
		return rc;
	core_gdt_drop(c, v);
	for (unsigned int i = 0; i < nr; i++)
		v->gdt_frames[i] = frames[i];
	v->gdt_ents = entries;
	if (v == c->v)
		c->ops->cpu_changed(c);
	return 0;
}

/* ABI: served */
long core_hc_set_gdt(struct core_ctx *c, const uint64_t arg[6])
{
	uint64_t frames[FIRST_RESERVED_GDT_PAGE];
	uint32_t entries = (uint32_t)arg[1];

	if (entries > FIRST_RESERVED_GDT_ENTRY)
		return -XEN_EINVAL;
	if (entries != 0 &&
	    !core_get_bytes(c, frames, arg[0],
			    (entries + GDT_PER_FRAME - 1) / GDT_PER_FRAME * sizeof(frames[0])))
		return -XEN_EFAULT;
	return core_gdt_set(c, c->v, frames, entries);
}

/* ABI: served; the descriptor is checked, its DPL raised to 3 */
long core_hc_update_descriptor(struct core_ctx *c, const uint64_t arg[6])
{
	uint64_t address = arg[0], desc = arg[1];
	uint64_t mfn = address >> 12;

	if ((address & 7) != 0 || mfn >= c->d->nr_frames || !core_descriptor_fix(&desc))
		return -XEN_EINVAL;
	/* Written in place if it is a table in use; any other page must be writable. */
	bool in_use = frame_is(frame_word(&c->frames[mfn]), FRAME_SEG_DESC);

	if (!core_frame_get_type(c, mfn, in_use ? FRAME_SEG_DESC : FRAME_WRITABLE))
		return -XEN_EINVAL;
	uint64_t *slot = (uint64_t *)(c->ram + address);

	__atomic_store_n(slot, desc, __ATOMIC_RELEASE);
	core_frame_dirtied(c, mfn);
	core_frame_put_type(c, mfn);
	return 0;
}

/* ---- segment bases ----------------------------------------------------------------------- */

/*
 * The user's gs: the register is one for both modes, only the base is switched. A selector that
 * cannot be loaded becomes 0.
 */
static void load_user_gs(struct core_ctx *c, uint16_t sel)
{
	struct core_regs *r = &c->v->regs;
	uint64_t kernel_base = r->gs_base;

	if (sel > 3)
		sel |= 3;
	if (core_seg_load(c, CORE_SEG_GS, sel).raised) {
		r->gs = 0;
		r->gs_base = 0;
	}
	r->gs_base_other = r->gs_base;
	r->gs_base = kernel_base;
}

long core_hc_set_segment_base(struct core_ctx *c, const uint64_t arg[6])
{
	struct core_regs *r = &c->v->regs;
	uint64_t base = arg[1];
	uint32_t which = (uint32_t)arg[0];

	if (which == SEGBASE_GS_USER_SEL) { /* ABI: served */
		load_user_gs(c, (uint16_t)base);
		return 0;
	}
	if (which > SEGBASE_GS_USER_SEL || !core_canonical(base))
		return -XEN_EINVAL;
	switch (which) {
	case SEGBASE_FS: /* ABI: served */
		r->fs_base = base;
		break;
	case SEGBASE_GS_USER: /* ABI: served */
		r->gs_base_other = base;
		break;
	case SEGBASE_GS_KERNEL: /* ABI: served */
		r->gs_base = base;
		break;
	}
	return 0;
}

/* ABI: served */
long core_hc_stack_switch(struct core_ctx *c, const uint64_t arg[6])
{
	uint16_t ss = (uint16_t)arg[0];

	/* Never the hypervisor's own segments; 64-bit kernels run on FLAT_KERNEL_SS anyway. */
	if ((ss >> 3) >= FIRST_RESERVED_GDT_ENTRY && !(ss & 4))
		ss = FLAT_KERNEL_SS64;
	c->v->kernel_ss = ss;
	c->v->kernel_sp = arg[1];
	return 0;
}
