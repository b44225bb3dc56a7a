/* SPDX-License-Identifier: MIT */
#include "util/strbuf.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Room for `more` bytes and the NUL. */
static bool reserve(struct strbuf *sb, size_t more)
{
	if (sb->failed)
		return false;
	if (more < sb->size - sb->len)
		return true;
	size_t need = sb->len + more + 1;
	size_t size = sb->size ? sb->size : 64;
	if (need <= more || need > SIZE_MAX / 2) {
		sb->failed = true;
		return false;
	}
	while (size < need)
		size *= 2;
	char *s = realloc(sb->s, size);
	if (!s) {
		sb->failed = true;
		return false;
	}
	sb->s = s;
	sb->size = size;
	return true;
}

void strbuf_add(struct strbuf *sb, const char *s, size_t len)
{
	if (!reserve(sb, len))
		return;
	memcpy(sb->s + sb->len, s, len);
	sb->len += len;
	sb->s[sb->len] = '\0';
}

void strbuf_puts(struct strbuf *sb, const char *s)
{
	strbuf_add(sb, s, strlen(s));
}

void strbuf_putc(struct strbuf *sb, char c)
{
	strbuf_add(sb, &c, 1);
}

void strbuf_printf(struct strbuf *sb, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0) {
		sb->failed = true;
		return;
	}
	if (!reserve(sb, (size_t)n))
		return;
	va_start(ap, fmt);
	vsnprintf(sb->s + sb->len, (size_t)n + 1, fmt, ap);
	va_end(ap);
	sb->len += (size_t)n;
}

void strbuf_truncate(struct strbuf *sb, size_t len)
{
	if (len >= sb->len)
		return;
	sb->len = len;
	sb->s[len] = '\0';
}

char *strbuf_take(struct strbuf *sb)
{
	if (!sb->s)
		strbuf_add(sb, "", 0);
	char *s = sb->failed ? NULL : sb->s;
	if (!s)
		free(sb->s);
	*sb = (struct strbuf)STRBUF_INIT;
	return s;
}

void strbuf_clear(struct strbuf *sb)
{
	free(sb->s);
	*sb = (struct strbuf)STRBUF_INIT;
}
