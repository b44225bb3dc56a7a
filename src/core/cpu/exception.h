/* SPDX-License-Identifier: MIT */
#ifndef PVV_CORE_EXCEPTION_H
#define PVV_CORE_EXCEPTION_H

#include "core/core.h"

#define CORE_DR6_BS 0x4000ull /* single step */

/* #DB with these causes recorded in dr6. */
void core_debug_trap(struct core_ctx *c, uint64_t dr6);

/* After a #GP without error code: true if the instruction was emulated (or faulted otherwise). */
bool core_emulate_privileged(struct core_ctx *c);

#endif
