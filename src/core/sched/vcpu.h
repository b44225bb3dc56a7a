/* SPDX-License-Identifier: MIT */
#ifndef PVV_CORE_SCHED_VCPU_H
#define PVV_CORE_SCHED_VCPU_H

#include "core/core.h"

/* VCPUOP_initialise, up and down; `va`: struct vcpu_guest_context. */
long core_vcpu_initialise(struct core_ctx *c, struct core_vcpu *v, uint64_t va);
long core_vcpu_up(struct core_ctx *c, struct core_vcpu *v);
long core_vcpu_down(struct core_ctx *c, struct core_vcpu *v);

#endif
