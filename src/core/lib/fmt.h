/* SPDX-License-Identifier: MIT */
#ifndef PVV_CORE_LIB_FMT_H
#define PVV_CORE_LIB_FMT_H

#include <stdarg.h>
#include <stddef.h>

/*
 * A bounded printf for reasons and debug lines: %s %c %d %i %u %x %p %%, the sizes h, l, ll and z,
 * a minimal width and the flag 0. Anything else is copied as it stands. Always ends the string
 * (size > 0); returns the length that the whole text has, like snprintf.
 */
size_t core_vfmt(char *buf, size_t size, const char *fmt, va_list ap);
size_t core_fmt(char *buf, size_t size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
