/* SPDX-License-Identifier: MIT */
/* Reading a struct image_source (image.h). */
#ifndef PVV_DOMAIN_IMAGE_SOURCE_H
#define PVV_DOMAIN_IMAGE_SOURCE_H

#include "domain/image/image.h"

/* How many bytes there are. PVV_EINVAL: a pipe, socket or directory; PVV_ESYS. */
int image_source_size(const struct image_source *src, uint64_t *ret_size);
/*
 * Copy exactly `size` bytes from `offset`. PVV_EIO when the file has become shorter or cannot be
 * read.
 */
int image_source_read(const struct image_source *src, uint64_t offset, void *dst, uint64_t size);

#endif
