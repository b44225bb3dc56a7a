/* SPDX-License-Identifier: MIT */
/*
 * Bouncing: the guest's kernel gets control at an address it registered, with a frame on its stack
 * that says where it came from. One frame layout for exceptions, events and system calls:
 *
 *	rsp -> rcx, r11, [error code], rip, cs | saved upcall mask << 32, rflags, rsp, ss
 */
#ifndef PVV_CORE_BOUNCE_H
#define PVV_CORE_BOUNCE_H

#include "core/core.h"

#define CORE_BOUNCE_ERROR 1u /* push `error` */
#define CORE_BOUNCE_MASK  2u /* mask events on the way in */

/*
 * Build the frame for v->regs and load the handler's state. `what` names the cause if the domain
 * has to be crashed: no handler, or a stack that cannot be written.
 */
void core_bounce(struct core_ctx *c, uint64_t handler, unsigned int flags, uint32_t error,
		 const char *what);

/* Deliver exception `vector` to the guest's trap table; #PF sets cr2 in vcpu_info first. */
void core_inject(struct core_ctx *c, unsigned int vector, uint32_t error);
void core_inject_pf(struct core_ctx *c, uint32_t error, uint64_t cr2);

void core_bounce_event(struct core_ctx *c);
void core_bounce_nmi(struct core_ctx *c);

#endif
