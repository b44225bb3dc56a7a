/* SPDX-License-Identifier: MIT */
/* The input as a target takes it, byte by byte; behind its end are zeroes. */
#ifndef PVV_FUZZ_INPUT_H
#define PVV_FUZZ_INPUT_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const uint8_t *data;
	size_t size;
};

static inline uint8_t byte(struct input *in)
{
	if (in->size == 0)
		return 0;
	in->size--;
	return *in->data++;
}

#endif
