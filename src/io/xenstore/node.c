/* SPDX-License-Identifier: MIT */
#include "io/xenstore/internal.h"

#include <stdlib.h>
#include <string.h>

struct xs_node *xsn_new(const struct xs_perm *perms, uint32_t nr_perms, const void *data,
			uint32_t data_len, const char *children, uint32_t child_len)
{
	struct xs_node *n =
		malloc(sizeof(*n) + nr_perms * sizeof(*perms) + (size_t)data_len + child_len);

	if (!n)
		return NULL;
	*n = (struct xs_node){
		.refs = 1, .nr_perms = nr_perms, .data_len = data_len, .child_len = child_len};
	memcpy(n->perms, perms, nr_perms * sizeof(*perms));
	if (data_len)
		memcpy((char *)xsn_data(n), data, data_len);
	if (child_len && children)
		memcpy((char *)xsn_children(n), children, child_len);
	return n;
}

struct xs_node *xsn_ref(struct xs_node *n)
{
	if (n)
		n->refs++;
	return n;
}

void xsn_unref(struct xs_node *n)
{
	if (n && --n->refs == 0)
		free(n);
}

struct xs_node *xsn_with_data(const struct xs_node *n, const void *data, uint32_t len)
{
	return xsn_new(n->perms, n->nr_perms, data, len, xsn_children(n), n->child_len);
}

struct xs_node *xsn_with_perms(const struct xs_node *n, const struct xs_perm *perms, uint32_t nr)
{
	return xsn_new(perms, nr, xsn_data(n), n->data_len, xsn_children(n), n->child_len);
}

struct xs_node *xsn_with_child(const struct xs_node *n, const char *name, size_t len)
{
	/* No child list comes near 4 GiB: it would hold names of that many bytes of nodes. */
	struct xs_node *m = xsn_new(n->perms, n->nr_perms, xsn_data(n), n->data_len, NULL,
				    n->child_len + (uint32_t)len + 1);

	if (!m)
		return NULL;
	char *children = (char *)xsn_children(m);
	memcpy(children, xsn_children(n), n->child_len);
	memcpy(children + n->child_len, name, len);
	children[n->child_len + len] = '\0';
	return m;
}

struct xs_node *xsn_without_child(const struct xs_node *n, const char *name, size_t len)
{
	const char *children = xsn_children(n), *end = children + n->child_len;
	const char *p = children;

	while (p < end && !(strlen(p) == len && memcmp(p, name, len) == 0))
		p += strlen(p) + 1;
	if (p >= end)
		return xsn_with_data(n, xsn_data(n), n->data_len);
	struct xs_node *m = xsn_new(n->perms, n->nr_perms, xsn_data(n), n->data_len, NULL,
				    n->child_len - (uint32_t)len - 1);
	if (!m)
		return NULL;
	size_t before = (size_t)(p - children);
	memcpy((char *)xsn_children(m), children, before);
	memcpy((char *)xsn_children(m) + before, p + len + 1, n->child_len - before - len - 1);
	return m;
}

size_t xsn_quota_size(const struct xs_node *n)
{
	/* xenstored keeps a 24-byte header and 8 bytes per permission with each record. */
	return 24 + 8 * (size_t)n->nr_perms + n->data_len + n->child_len;
}

size_t xsn_memory(const struct xs_node *n)
{
	return sizeof(*n) + n->nr_perms * sizeof(n->perms[0]) + n->data_len + n->child_len;
}
