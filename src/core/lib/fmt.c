/* SPDX-License-Identifier: MIT */
#include "core/lib/fmt.h"

#include <stdbool.h>
#include <stdint.h>

struct out {
	char *buf;
	size_t size, len;
};

static void put(struct out *o, char ch)
{
	if (o->len + 1 < o->size)
		o->buf[o->len] = ch;
	o->len++;
}

static void put_number(struct out *o, uint64_t value, bool negative, unsigned int base,
		       unsigned int width, char fill)
{
	char digits[24];
	unsigned int n = 0;

	do {
		digits[n++] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value != 0);

	unsigned int used = n + (negative ? 1 : 0);

	if (negative && fill == '0')
		put(o, '-');
	for (; used < width; used++)
		put(o, fill);
	if (negative && fill != '0')
		put(o, '-');
	while (n > 0)
		put(o, digits[--n]);
}

static void put_string(struct out *o, const char *s, unsigned int width)
{
	unsigned int n = 0;

	if (s == NULL)
		s = "(null)";
	while (s[n] != '\0')
		n++;
	for (unsigned int i = n; i < width; i++)
		put(o, ' ');
	for (unsigned int i = 0; i < n; i++)
		put(o, s[i]);
}

/* One conversion, `p` behind the '%'. Returns what follows it, NULL if it is not one of ours. */
static const char *convert(struct out *o, const char *p, va_list *ap)
{
	unsigned int width = 0, longs = 0;
	char fill = ' ';

	if (*p == '0') {
		fill = '0';
		p++;
	}
	for (; *p >= '0' && *p <= '9'; p++)
		width = width < 64 ? width * 10 + (unsigned int)(*p - '0') : width;
	for (; *p == 'l' || *p == 'z' || *p == 'h'; p++)
		longs += *p != 'h';

	switch (*p) {
	case '%':
		put(o, '%');
		break;
	case 'c':
		put(o, (char)va_arg(*ap, int));
		break;
	case 's':
		put_string(o, va_arg(*ap, const char *), width);
		break;
	case 'd':
	case 'i': {
		int64_t v = longs > 0 ? va_arg(*ap, long) : va_arg(*ap, int);
		uint64_t magnitude = v < 0 ? -(uint64_t)v : (uint64_t)v;

		put_number(o, magnitude, v < 0, 10, width, fill);
		break;
	}
	case 'u':
	case 'x': {
		uint64_t v = longs > 0 ? va_arg(*ap, unsigned long) : va_arg(*ap, unsigned int);

		put_number(o, v, false, *p == 'u' ? 10 : 16, width, fill);
		break;
	}
	case 'p':
		put(o, '0');
		put(o, 'x');
		put_number(o, (uintptr_t)va_arg(*ap, void *), false, 16, width, '0');
		break;
	default:
		return NULL;
	}
	return p + 1;
}

size_t core_vfmt(char *buf, size_t size, const char *fmt, va_list ap)
{
	struct out o = {.buf = buf, .size = size};
	va_list args;

	va_copy(args, ap);
	while (*fmt != '\0') {
		const char *next = NULL;

		if (*fmt == '%')
			next = convert(&o, fmt + 1, &args);
		if (next == NULL) {
			put(&o, *fmt);
			next = fmt + 1;
		}
		fmt = next;
	}
	va_end(args);
	if (size > 0)
		buf[o.len < size ? o.len : size - 1] = '\0';
	return o.len;
}

size_t core_fmt(char *buf, size_t size, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	size_t len = core_vfmt(buf, size, fmt, ap);
	va_end(ap);
	return len;
}
