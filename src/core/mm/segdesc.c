/* SPDX-License-Identifier: MIT */
/* Descriptor pages: what may be in a GDT that a guest loads. */
#include "core/mm/internal.h"

#define DESC_PRESENT   (1u << 15) /* of the upper half */
#define DESC_DPL_SHIFT 13
#define DESC_DPL       (3u << DESC_DPL_SHIFT)
#define DESC_CODE_DATA (1u << 12)
#define DESC_TYPE      (15u << 8)
#define DESC_CALL_GATE (12u << 8)
#define GATE_RESERVED  0xffu

#define FIRST_RESERVED_ENTRY 7168u /* Xen's own part of each GDT: 14 pages in */

static bool gate_selector_ok(uint16_t sel)
{
	return (sel >> 3) < FIRST_RESERVED_ENTRY || sel == FLAT_KERNEL_CS64 || (sel & 4) != 0;
}

bool core_descriptor_fix(uint64_t *desc)
{
	uint32_t low = (uint32_t)*desc, high = (uint32_t)(*desc >> 32);

	/* Faults when it is used, so it is harmless. */
	if (!(high & DESC_PRESENT))
		return true;
	if (high & DESC_CODE_DATA) {
		/* The guest's kernel runs in ring 3, with what it thinks is ring 0. */
		high |= DESC_DPL;
	} else if ((high & DESC_TYPE) != 0) {
		/* Type 0 may be the second half of a call gate. Of the rest, only call gates. */
		if ((high & DESC_TYPE) != DESC_CALL_GATE)
			return false;
		if (!gate_selector_ok((uint16_t)(low >> 16)) || (high & GATE_RESERVED))
			return false;
		/*
		 * Out of everybody's reach, so that a use of the gate is a #GP: it would lead to
		 * ring 3 without a change of stack.
		 */
		low |= 3u << 16; /* like every code selector of a guest */
		high &= ~DESC_DPL;
	}
	*desc = (uint64_t)high << 32 | low;
	return true;
}

bool mm_segdesc_validate(struct core_ctx *c, uint64_t mfn)
{
	uint64_t *desc = core_frame_ptr(c, mfn);

	for (unsigned int i = 0; i < 4096 / sizeof(*desc); i++) {
		uint64_t old = pte_read(&desc[i]), new = old;

		if (!core_descriptor_fix(&new))
			return false;
		if (new != old)
			pte_write(&desc[i], new);
	}
	return true;
}
