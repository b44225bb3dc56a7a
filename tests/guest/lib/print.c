/* SPDX-License-Identifier: MIT */
#include "pvg.h"

static const char *const names[] = {
#define XEN_ERRNO(name, value) [value] = #name,
#include <xen/errno.h>
};

const char *pvg_errname(long err)
{
	if (err < 0)
		err = -err;
	if (err < (long)ARRAY_SIZE(names) && names[err])
		return names[err];
	return "?";
}

void pvg_puts(const char *s)
{
	while (*s)
		pvg_putc(*s++);
}

static void number(u64 v, unsigned int base)
{
	char buf[24];
	unsigned int n = 0;

	do {
		buf[n++] = "0123456789abcdef"[v % base];
		v /= base;
	} while (v);
	while (n)
		pvg_putc(buf[--n]);
}

static void print_result(long v)
{
	if (v < 0 && v > -200) {
		pvg_putc('-');
		pvg_puts(pvg_errname(v));
		return;
	}
	if (v < 0) {
		pvg_putc('-');
		v = -v;
	}
	number((u64)v, 10);
}

void pvg_vprintf(const char *fmt, va_list ap)
{
	for (; *fmt; fmt++) {
		bool wide = false;
		u64 u;

		if (*fmt != '%') {
			pvg_putc(*fmt);
			continue;
		}
		fmt++;
		if (*fmt == 'l') {
			wide = true;
			fmt++;
		}
		switch (*fmt) {
		case 's':
			pvg_puts(va_arg(ap, const char *));
			break;
		case 'c':
			pvg_putc((char)va_arg(ap, int));
			break;
		case 'd': {
			long v = wide ? va_arg(ap, long) : va_arg(ap, int);

			if (v < 0)
				pvg_putc('-');
			number(v < 0 ? -(u64)v : (u64)v, 10);
			break;
		}
		case 'u':
		case 'x':
			u = wide ? va_arg(ap, u64) : va_arg(ap, unsigned int);
			number(u, *fmt == 'x' ? 16 : 10);
			break;
		case 'e':
			print_result(wide ? va_arg(ap, long) : va_arg(ap, int));
			break;
		default:
			pvg_putc(*fmt);
		}
	}
}

void pvg_printf(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	pvg_vprintf(fmt, ap);
	va_end(ap);
}
