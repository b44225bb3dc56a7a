/* SPDX-License-Identifier: MIT */
/*
 * System time: nanoseconds since the domain was started, as the guest computes them from the TSC
 * and its vcpu_time_info. All deadlines of the core are in it.
 */
#ifndef PVV_CORE_TIME_H
#define PVV_CORE_TIME_H

#include "core/core.h"

#define CORE_NEVER (~0ull)

uint64_t core_time_now(const struct core_ctx *c);

/*
 * Bring vcpu_time_info (and its registered copy) up to date with the control pages, and the wall
 * clock in shared_info. Cheap when nothing has changed, unless `force`.
 */
void core_time_update(struct core_ctx *c, bool force);

/* Raise VIRQ_TIMER for the vCPU's timers that are due, fire watchdogs. */
void core_timers_run(struct core_ctx *c);
/* Earliest deadline of this vCPU's timers, CORE_NEVER if none is set. */
uint64_t core_timers_next(const struct core_ctx *c);

/* Period of the vCPU's ticker, 0 = off. */
void core_timer_set_periodic(struct core_ctx *c, struct core_vcpu *v, uint64_t period_ns);

/*
 * Runstate accounting (RUNSTATE_*): the time since the last change goes to the old state. The
 * registered area is written only with the vCPU's page tables current, that is by its own thread.
 */
void core_runstate_change(struct core_ctx *c, struct core_vcpu *v, int state);
void core_runstate_publish(struct core_ctx *c);
/* Bring this vCPU's times up to now; a copy for anybody. */
void core_runstate_account(struct core_ctx *c);
void core_runstate_snapshot(struct core_ctx *c, const struct core_vcpu *v,
			    struct vcpu_runstate_info *ret);
/* Move what the host stole since the last call from "running" to "runnable". True: it did. */
bool core_runstate_steal(struct core_ctx *c);
/* The vCPU was to run at `since` and runs only now. */
void core_runstate_late(struct core_ctx *c, uint64_t since);

#endif
