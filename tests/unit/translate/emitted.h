/* SPDX-License-Identifier: MIT */
/*
 * A second opinion on emitted code: Zydis decodes every host instruction of a fragment, and each
 * must be one that guest code may make the process execute. See emitted.c.
 */
#ifndef TEST_TRANSLATE_EMITTED_H
#define TEST_TRANSLATE_EMITTED_H

#include "exec/ring3/translate/internal.h"

/* False, with the reason printed: the fragment contains something it must not. */
bool emitted_ok(struct xlate *x, const struct frag *f);

#endif
