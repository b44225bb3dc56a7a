/* SPDX-License-Identifier: MIT */
/* Compresses, and wraps into a bzImage, for the tests of the image loader. */
#ifndef PVV_TEST_MKPACK_H
#define PVV_TEST_MKPACK_H

#include <stddef.h>
#include <stdint.h>

#include "domain/image/image.h"

struct bytes {
	uint8_t *p;
	size_t n;
};

/* Compress as the kernel's build does; `trailer` appends the 32-bit size. p is for free(). */
struct bytes mkpack(enum image_compression c, const void *data, size_t size, int trailer);
/* A bzImage of boot protocol 2.15 with this payload and kernel version text. */
struct bytes mkbzimage(const void *payload, size_t size, const char *version);

#endif
