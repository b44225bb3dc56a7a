/* SPDX-License-Identifier: MIT */
/*
 * The four memory functions a compiler may call by itself. Hosted builds take libc's; the
 * freestanding image links lib/mem.c (`core_freestanding_sources`).
 */
#ifndef PVV_CORE_LIB_MEM_H
#define PVV_CORE_LIB_MEM_H

#include <stddef.h>

void *memcpy(void *restrict dst, const void *restrict src, size_t n);
void *memmove(void *dst, const void *src, size_t n);
void *memset(void *dst, int byte, size_t n);
int memcmp(const void *a, const void *b, size_t n);

/* Freestanding, -fno-builtin takes a word for a call: a few words of constant size are inline. */
#if !__STDC_HOSTED__ && !defined(CORE_LIB_MEM_CALLS)
#define memcpy(...) __builtin_memcpy(__VA_ARGS__)
#define memset(...) __builtin_memset(__VA_ARGS__)
#endif

#endif
