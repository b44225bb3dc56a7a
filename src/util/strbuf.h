/* SPDX-License-Identifier: MIT */
/*
 * A growing string. Running out of memory makes it sticky-failed: later additions do nothing and
 * strbuf_take() returns NULL, so that a formatter needs one check at its end.
 */
#ifndef PVV_UTIL_STRBUF_H
#define PVV_UTIL_STRBUF_H

#include <stdbool.h>
#include <stddef.h>

struct strbuf {
	char *s; /* NUL-terminated once anything was added */
	size_t len, size;
	bool failed;
};

#define STRBUF_INIT                                                                                \
	{                                                                                          \
		0                                                                                  \
	}

void strbuf_add(struct strbuf *sb, const char *s, size_t len);
void strbuf_puts(struct strbuf *sb, const char *s);
void strbuf_putc(struct strbuf *sb, char c);
void strbuf_printf(struct strbuf *sb, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Drop what is behind the first `len` bytes. */
void strbuf_truncate(struct strbuf *sb, size_t len);

/* The malloc'ed string ("" if nothing was added), or NULL if memory ran out. The buffer is empty
 * afterwards. */
char *strbuf_take(struct strbuf *sb);
void strbuf_clear(struct strbuf *sb);

#endif
