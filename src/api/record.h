/* SPDX-License-Identifier: MIT */
/* Versioned records: the caller's struct may be older (shorter) or newer (longer) than ours. */
#ifndef PVV_API_RECORD_H
#define PVV_API_RECORD_H

#include <stddef.h>

/* An upper bound no version of a record will reach: a forgotten `size` is noticed. */
#define RECORD_SIZE_MAX 65536u

/* For records the library fills: is the pointer there and the size plausible? */
int record_check(const void *rec, size_t size, const char *function);
/* Fill the caller's record: as many fields as both know; the rest of a longer one becomes 0. */
void record_give(void *rec, size_t size, const void *full, size_t full_size);
/*
 * Take the caller's record into `full`, which the function has set to the defaults: a shorter one
 * leaves the rest, a longer one must be 0 behind what we know. PVV_EINVAL otherwise.
 */
int record_take(void *full, size_t full_size, const void *rec, size_t size, const char *function);
/*
 * The same for record i of an array. The records are `stride` bytes apart, 0: as many as the first
 * one's size says. Each has its own size, which its caller's version of the headers set.
 */
int record_take_at(void *full, size_t full_size, const void *array, size_t stride, size_t i,
		   const char *function);

#endif
