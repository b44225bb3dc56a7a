/* SPDX-License-Identifier: MIT */
#include "util/utf8.h"

size_t utf8_char(const char *s, size_t len, uint32_t *ret_char)
{
	static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
	const unsigned char *u = (const unsigned char *)s;
	uint32_t c;
	size_t n;

	if (!len)
		return 0;
	c = u[0];
	if (c < 0x80)
		n = 1;
	else if (c >= 0xc2 && c < 0xe0)
		n = 2;
	else if (c >= 0xe0 && c < 0xf0)
		n = 3;
	else if (c >= 0xf0 && c < 0xf5)
		n = 4;
	else
		return 0;
	if (len < n)
		return 0;
	if (n > 1)
		c &= 0x7fu >> n;
	for (size_t i = 1; i < n; i++) {
		if ((u[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (u[i] & 0x3f);
	}
	if (n > 1 && (c < smallest[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000)))
		return 0;
	if (ret_char)
		*ret_char = c;
	return n;
}

size_t utf8_check(const char *s, size_t len)
{
	size_t i = 0;

	while (i < len) {
		size_t n = utf8_char(s + i, len - i, NULL);

		if (!n)
			break;
		i += n;
	}
	return i;
}

bool utf8_valid(const char *s, size_t len)
{
	return utf8_check(s, len) == len;
}
