/* SPDX-License-Identifier: MIT */
#include "core/cpu/desc.h"

#include "core/cpu/bounce.h"
#include "core/cpu/cpu.h"
#include "core/lib/bitops.h"
#include "core/mm/mm.h"
#include "core/run.h"

/* The hypervisor's page of the GDT, as far as ring 3 can see it: the flat segments of the ABI. */
static uint64_t reserved_entry(unsigned int index)
{
	switch (index) {
	case 0xe008 >> 3: /* ring 0 code: `lar` at ring 3 does not see it (DPL), loads refuse it */
		return 0x00af9b000000ffffull;
	case 0xe010 >> 3:
		return 0x00cf93000000ffffull;
	case FLAT_RING3_CS32 >> 3:
		return 0x00cffb000000ffffull;
	case FLAT_RING3_DS32 >> 3:
		return 0x00cff3000000ffffull;
	case FLAT_RING3_CS64 >> 3:
		return 0x00affb000000ffffull;
	case 0xe038 >> 3:
		return 0x00cf9b000000ffffull;
	default:
		return 0;
	}
}

static uint64_t gdt_entry(struct core_ctx *c, unsigned int index)
{
	const struct core_vcpu *v = c->v;
	const uint64_t *frame;

	if (index >= FIRST_RESERVED_GDT_ENTRY)
		return reserved_entry(index);
	/* The last page counts as a whole. From there to its own page Xen maps zeroes. */
	if (index / 512 >= (v->gdt_ents + 511) / 512)
		return 0;
	frame = core_frame_ptr(c, v->gdt_frames[index / 512]);
	return __atomic_load_n(&frame[index % 512], __ATOMIC_RELAXED);
}

enum core_desc_result core_desc_read(struct core_ctx *c, uint16_t sel, uint64_t *ret)
{
	const struct core_vcpu *v = c->v;
	unsigned int index = sel >> 3;

	if (!(sel & 4)) {
		*ret = 0;
		if (index >= FIRST_RESERVED_GDT_ENTRY + 512)
			return DESC_OUTSIDE;
		*ret = gdt_entry(c, index);
		return DESC_OK;
	}
	if (index >= v->ldt_ents)
		return DESC_OUTSIDE;

	const uint64_t *frame;
	uint64_t mfn;

	if (!core_ldt_frame(c, index, &mfn)) {
		*ret = v->ldt_base + index * 8ull;
		return DESC_FAULT;
	}
	frame = core_frame_ptr(c, mfn);
	*ret = __atomic_load_n(&frame[index % 512], __ATOMIC_RELAXED);
	return DESC_OK;
}

static struct core_fault ldt_fault(uint16_t sel, uint64_t va)
{
	if (!core_canonical(va))
		return core_fault_vector(CORE_VEC_GP, sel & ~3u);
	return (struct core_fault){.raised = true, .page_fault = true, .cr2 = va};
}

/* The descriptor, or #GP(selector), or what a missing LDT page gives. */
static struct core_fault fetch(struct core_ctx *c, uint16_t sel, uint64_t *desc)
{
	switch (core_desc_read(c, sel, desc)) {
	case DESC_OK:
		return core_fault_none();
	case DESC_OUTSIDE:
		return core_fault_vector(CORE_VEC_GP, sel & ~3u);
	default:
		return ldt_fault(sel, *desc);
	}
}

struct core_fault core_ss_check(struct core_ctx *c, uint16_t sel)
{
	uint64_t d;

	if ((sel & ~3u) == 0) /* a null ss is for the inner rings only */
		return core_fault_vector(CORE_VEC_GP, 0);

	struct core_fault f = fetch(c, sel, &d);

	if (f.raised)
		return f;
	if (!(d & DESC_S) || (d & DESC_CODE) || !(d & DESC_RW) || DESC_DPL(d) != 3 ||
	    (sel & 3) != 3)
		return core_fault_vector(CORE_VEC_GP, sel & ~3u);
	if (!(d & DESC_P))
		return core_fault_vector(CORE_VEC_SS, sel & ~3u);
	return core_fault_none();
}

struct core_fault core_cs_check(struct core_ctx *c, uint16_t sel, uint64_t *ret_desc)
{
	if ((sel & ~3u) == 0)
		return core_fault_vector(CORE_VEC_GP, 0);

	struct core_fault f = fetch(c, sel, ret_desc);
	uint64_t d = *ret_desc;

	if (f.raised)
		return f;
	/* Conforming code may have any DPL; the guest's descriptors have DPL 3 anyway. */
	if (!(d & DESC_S) || !(d & DESC_CODE) || (!(d & DESC_EC) && DESC_DPL(d) != 3) ||
	    ((d & DESC_L) && (d & DESC_DB)))
		return core_fault_vector(CORE_VEC_GP, sel & ~3u);
	if (!(d & DESC_P))
		return core_fault_vector(CORE_VEC_NP, sel & ~3u);
	return core_fault_none();
}

static struct core_fault data_check(struct core_ctx *c, uint16_t sel, uint64_t *desc)
{
	*desc = 0;
	if ((sel & ~3u) == 0)
		return core_fault_none();

	struct core_fault f = fetch(c, sel, desc);
	uint64_t d = *desc;

	if (f.raised)
		return f;
	if (!(d & DESC_S) || ((d & DESC_CODE) && !(d & DESC_RW)))
		return core_fault_vector(CORE_VEC_GP, sel & ~3u);
	if (!((d & DESC_CODE) && (d & DESC_EC)) && DESC_DPL(d) != 3)
		return core_fault_vector(CORE_VEC_GP, sel & ~3u);
	if (!(d & DESC_P))
		return core_fault_vector(CORE_VEC_NP, sel & ~3u);
	return core_fault_none();
}

struct core_fault core_seg_load(struct core_ctx *c, enum core_seg seg, uint16_t sel)
{
	struct core_regs *r = &c->v->regs;
	uint64_t d = 0;
	struct core_fault f = seg == CORE_SEG_SS ? core_ss_check(c, sel) : data_check(c, sel, &d);

	if (f.raised)
		return f;
	switch (seg) {
	case CORE_SEG_ES:
		r->es = sel;
		break;
	case CORE_SEG_SS:
		r->ss = sel;
		break;
	case CORE_SEG_DS:
		r->ds = sel;
		break;
	case CORE_SEG_FS: /* a null selector clears the base, as on Intel's processors */
		r->fs = sel;
		r->fs_base = core_desc_base(d);
		break;
	case CORE_SEG_GS:
		r->gs = sel;
		r->gs_base = core_desc_base(d);
		break;
	default:
		return core_fault_vector(CORE_VEC_UD, 0);
	}
	return core_fault_none();
}

void core_fault_inject(struct core_ctx *c, const struct core_fault *f)
{
	if (f->page_fault)
		core_inject_pf(c, f->error, f->cr2);
	else
		core_inject(c, f->vector, f->error);
}
