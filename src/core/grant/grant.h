/* SPDX-License-Identifier: MIT */
/* Grant tables, version 1. */
#ifndef PVV_CORE_GRANT_H
#define PVV_CORE_GRANT_H

#include "core/core.h"

void core_grant_init(struct core_ctx *c);

#endif
