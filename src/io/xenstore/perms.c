/* SPDX-License-Identifier: MIT */
#include "io/xenstore/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint32_t xsp_bits(const struct xs_client *client, const struct xs_perm *perms, uint32_t nr)
{
	if (client->privileged || perms[0].domid == client->domid)
		return XS_PERM_R | XS_PERM_W | XS_PERM_OWNER;
	for (uint32_t i = 1; i < nr; i++)
		if (perms[i].domid == client->domid)
			return perms[i].bits;
	return perms[0].bits;
}

/* As strtol() with base 0 takes it, which is what xenstored leaves the numbers to. */
static int parse_domid(const char *s, size_t len, uint32_t *ret)
{
	char text[24], *end;

	if (len == 0 || len >= sizeof(text))
		return EINVAL;
	memcpy(text, s, len);
	text[len] = '\0';
	*ret = (uint32_t)strtol(text, &end, 0);
	return *end || end == text ? EINVAL : 0;
}

int xsp_parse(const char *s, size_t len, char sep, struct xs_perm perms[XS_PERMS_MAX],
	      uint32_t *ret_nr)
{
	static const char kinds[] = "nrwb"; /* the index is the bits */
	uint32_t nr = 0;

	while (len) {
		const char *end = memchr(s, sep, len);
		size_t n = end ? (size_t)(end - s) : len;
		const char *kind = n ? memchr(kinds, s[0], 4) : NULL;

		if (!kind)
			return EINVAL;
		if (nr == XS_PERMS_MAX)
			return E2BIG;
		perms[nr].bits = (uint32_t)(kind - kinds);
		if (parse_domid(s + 1, n - 1, &perms[nr].domid))
			return EINVAL;
		nr++;
		size_t step = end ? n + 1 : n;
		s += step;
		len -= step;
	}
	*ret_nr = nr;
	return nr ? 0 : EINVAL;
}

size_t xsp_format(const struct xs_perm *perms, uint32_t nr, char *buf, size_t size)
{
	size_t len = 0;

	for (uint32_t i = 0; i < nr; i++) {
		int n = snprintf(buf + len, size - len, "%c%u",
				 "nrwb"[perms[i].bits & (XS_PERM_R | XS_PERM_W)], perms[i].domid);

		if (n < 0 || (size_t)n + 1 > size - len)
			return 0;
		len += (size_t)n + 1;
	}
	return len;
}
