/* SPDX-License-Identifier: MIT */
#ifndef PVV_CORE_DEBUGREG_H
#define PVV_CORE_DEBUGREG_H

#include "core/core.h"

/* 0, -XEN_EPERM for values a guest may not set, -XEN_ENODEV for registers that do not exist. */
long core_debugreg_set(struct core_ctx *c, unsigned int reg, uint64_t value);
/* The same on any vCPU, without telling the executor: one that does not run. */
long core_debugreg_load(struct core_vcpu *v, unsigned int reg, uint64_t value);
bool core_debugreg_get(const struct core_ctx *c, unsigned int reg, uint64_t *ret);

#endif
