/* SPDX-License-Identifier: MIT */
#ifndef PVV_CORE_MM_ROOTS_H
#define PVV_CORE_MM_ROOTS_H

#include "core/mm/internal.h"

/* NEW_BASEPTR and NEW_USER_BASEPTR. 0, -XEN_E*, -MM_RESTART; the old root may end in
 * v->mm_old_table. With mm_lock held. */
int mm_load_kernel_root(struct core_ctx *c, uint64_t mfn);
int mm_load_user_root(struct core_ctx *c, uint64_t mfn);

#endif
