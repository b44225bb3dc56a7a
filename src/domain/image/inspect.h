/* SPDX-License-Identifier: MIT */
/* What `pvvirt inspect IMAGE` prints. */
#ifndef PVV_DOMAIN_IMAGE_INSPECT_H
#define PVV_DOMAIN_IMAGE_INSPECT_H

#include <stdint.h>

#include "domain/build/build.h"
#include "domain/image/image.h"

/*
 * Format, compression, segments, notes by name, and if `layout` is not NULL the start of day in a
 * domain of nr_pages. Texts from the file are escaped, so that they cannot control a terminal.
 * Returns text for free(), NULL when out of memory.
 */
char *image_inspect_text(const struct image *img, const struct build_layout *layout,
			 uint64_t nr_pages);
char *image_inspect_json(const struct image *img, const struct build_layout *layout,
			 uint64_t nr_pages);

#endif
