/* SPDX-License-Identifier: MIT */
#include "io/xenstore/internal.h"

#include <stdio.h>
#include <string.h>

static bool valid_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '/' || c == '_' || c == '@';
}

/* The part of the path that does not count: "/local/domain/N/", so that all domains have equal
 * room. */
static size_t home_prefix(const char *path, size_t len)
{
	static const char home[] = "/local/domain/";
	size_t i = sizeof(home) - 1;

	if (len < i || memcmp(path, home, i) != 0)
		return 0;
	size_t digits = 0;
	while (i < len && path[i] >= '0' && path[i] <= '9') {
		i++;
		digits++;
	}
	if (digits == 0 || digits > 5 || i >= len || path[i] != '/')
		return 0;
	return i + 1;
}

int xsp_resolve(const struct xs_client *client, const char *path, bool special,
		char buf[XS_PATH_BUF], size_t *ret_len)
{
	size_t len = strlen(path);
	size_t prefix = 0;

	if (path[0] != '/' && path[0] != '@') {
		/* Domain 0 has no home: its relative paths mean nothing. */
		if (client->domid == 0)
			return EINVAL;
		prefix = (size_t)snprintf(buf, XS_PATH_BUF, "/local/domain/%u/", client->domid);
	}
	if (prefix + len >= XS_PATH_BUF)
		return EINVAL;
	memcpy(buf + prefix, path, len + 1);
	len += prefix;
	if (buf[0] == '@' && !special)
		return EINVAL;
	if (len > 1 && buf[len - 1] == '/')
		return EINVAL;
	for (size_t i = 0; i < len; i++)
		if (!valid_char(buf[i]) || (buf[i] == '/' && i > 0 && buf[i - 1] == '/'))
			return EINVAL;
	if (len > home_prefix(buf, len) + client->quota->path_len)
		return EINVAL;
	*ret_len = len;
	return 0;
}

size_t xsp_parent(const char *path, size_t len)
{
	if (path[0] != '/' || len <= 1)
		return 0;
	while (path[len - 1] != '/')
		len--;
	return len > 1 ? len - 1 : 1;
}

const char *xsp_leaf(const char *path, size_t len, size_t *ret_len)
{
	size_t i = len;

	while (i > 0 && path[i - 1] != '/')
		i--;
	*ret_len = len - i;
	return path + i;
}

/* --- SipHash-1-3: guests choose the paths, and shall not be able to choose the buckets ----------
 */

static inline uint64_t rotl(uint64_t x, int n)
{
	return x << n | x >> (64 - n);
}

static inline void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = rotl(v[1], 13) ^ v[0];
	v[0] = rotl(v[0], 32);
	v[2] += v[3];
	v[3] = rotl(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotl(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotl(v[1], 17) ^ v[2];
	v[2] = rotl(v[2], 32);
}

uint64_t xsp_hash(const uint64_t key[2], const char *path, size_t len)
{
	uint64_t v[4] = {key[0] ^ 0x736f6d6570736575u, key[1] ^ 0x646f72616e646f6du,
			 key[0] ^ 0x6c7967656e657261u, key[1] ^ 0x7465646279746573u};
	size_t left = len;
	uint64_t word;

	for (; left >= 8; left -= 8, path += 8) {
		memcpy(&word, path, 8);
		v[3] ^= word;
		sip_round(v);
		v[0] ^= word;
	}
	word = 0;
	memcpy(&word, path, left);
	word |= (uint64_t)len << 56;
	v[3] ^= word;
	sip_round(v);
	v[0] ^= word;
	v[2] ^= 0xff;
	for (int i = 0; i < 3; i++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}
