/* SPDX-License-Identifier: MIT */
#ifndef PVV_CORE_MSR_H
#define PVV_CORE_MSR_H

#include "core/core.h"

/* False: the guest's kernel gets #GP(0). */
bool core_msr_read(struct core_ctx *c, uint32_t msr, uint64_t *ret);
bool core_msr_write(struct core_ctx *c, uint32_t msr, uint64_t value);

#endif
