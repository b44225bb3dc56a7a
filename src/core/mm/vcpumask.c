/* SPDX-License-Identifier: MIT */
#include "core/mm/internal.h"

_Static_assert(CORE_MAX_VCPUS <= 64, "one word holds a mask of all vCPUs");

/* Bits of vCPUs that do not exist are ignored, as are further words. */
bool mm_vcpu_mask(struct core_ctx *c, uint64_t va, uint64_t *ret_mask)
{
	uint64_t mask;

	if (!mm_get(c, &mask, va, sizeof(mask)))
		return false;
	*ret_mask = mask & core_vcpu_mask_all(c);
	return true;
}
