/* SPDX-License-Identifier: MIT */
/* Builds a domain and checks everything about its start of day that holds for every image. */
#ifndef PVV_TEST_STARTOFDAY_H
#define PVV_TEST_STARTOFDAY_H

#include <stdint.h>

#include <xen/xen.h>

#include "domain/build/build.h"
#include "domain/memory.h"

struct sod {
	struct exec_memory mem;
	struct core_boot boot;
	struct build_layout layout;
};

/* Fails the test when it cannot be built. */
void sod_build(struct sod *s, const struct build_params *p);
void sod_free(struct sod *s);
const struct start_info *sod_start_info(const struct sod *s);
/*
 * Walk as the processor does: the frame `va` leads to, or ~0. *ret_rw: writable at all levels.
 */
uint64_t sod_walk(const struct sod *s, uint64_t va, int *ret_rw);
/*
 * All that <xen/xen.h> promises: regions inside RAM that do not overlap, alignment and padding,
 * every page of the initial mapping (and of the list at INIT_P2M) maps its frame, the page tables
 * read-only and all else writable; nothing else is mapped; every page-table frame is used, none
 * twice; start_info agrees; the list is the identity; the image's bytes are where they belong;
 * shared_info and grant entries are as Xen's toolstack leaves them.
 */
void sod_check(const struct sod *s, const struct build_params *p);

#endif
