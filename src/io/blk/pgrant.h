/* SPDX-License-Identifier: MIT */
/*
 * Persistent grants: mappings that are kept because the front end promised to use the same grants
 * again. At most `max`; beyond that the least recently used one that no request uses goes.
 */
#ifndef PVV_IO_BLK_PGRANT_H
#define PVV_IO_BLK_PGRANT_H

#include <stdint.h>

#include "io/guest.h"

#define BLK_PGRANT_MAX 1056u /* what a one-page ring of plain and indirect requests can use */

struct blk_pgrants;

/* NULL if out of memory. */
struct blk_pgrants *blk_pgrants_new(struct io_guest *guest, unsigned int max);
/* Unmaps all; none may be in use. NULL is accepted. */
void blk_pgrants_free(struct blk_pgrants *pg);

/*
 * The page of a grant, mapped writable now or earlier, and a handle for the put. A negative number
 * if all entries are in use or the grant cannot be mapped for writing: map it for this request
 * only.
 */
int blk_pgrants_get(struct blk_pgrants *pg, uint32_t ref, void **ret_page);
void blk_pgrants_put(struct blk_pgrants *pg, int handle);
unsigned int blk_pgrants_count(const struct blk_pgrants *pg);

#endif
