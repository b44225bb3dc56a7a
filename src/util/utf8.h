/* SPDX-License-Identifier: MIT */
/* UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF. */
#ifndef PVV_UTIL_UTF8_H
#define PVV_UTIL_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The length (1..4) of the well-formed character at the start of `s`, 0 if there is none; its code
 * point in *ret_char (may be NULL).
 */
size_t utf8_char(const char *s, size_t len, uint32_t *ret_char);
/* The offset of the first byte that is not part of a well-formed character, `len` if all is well.
 */
size_t utf8_check(const char *s, size_t len);
bool utf8_valid(const char *s, size_t len);

#endif
