/* SPDX-License-Identifier: MIT */
/* Looking at the tree, and remembering what has been looked at. */
#include "xml/parse.h"

#include <string.h>

#include "util/err.h"

bool xml_is(const struct tree_node *node, const char *name)
{
	return node->kind == TREE_ELEMENT && !node->ns && strcmp(node->name, name) == 0;
}

bool xml_is_pvvirt(const struct tree_node *node, const char *name)
{
	return node->kind == TREE_ELEMENT && node->ns && strcmp(node->ns, XML_PVVIRT_NS) == 0 &&
	       strcmp(node->name, name) == 0;
}

struct tree_node *xml_next(struct tree_node *node, const char *name, struct tree_node *prev)
{
	for (struct tree_node *c = prev ? prev->next : node->first; c; c = c->next) {
		if (xml_is(c, name)) {
			c->used = true;
			return c;
		}
	}
	return NULL;
}

int xml_child(struct xml_ctx *ctx, struct tree_node *node, const char *name,
	      struct tree_node **ret_child)
{
	*ret_child = xml_next(node, name, NULL);
	if (!*ret_child)
		return PVV_OK;
	struct tree_node *second = xml_next(node, name, *ret_child);
	if (second)
		return xml_fail(ctx, PVV_EXML, second, NULL,
				"appears twice in <%s> (first on line %u)", node->name,
				(*ret_child)->pos.line);
	return PVV_OK;
}

const char *xml_text(struct xml_ctx *ctx, struct tree_node *node)
{
	struct strbuf sb = STRBUF_INIT;

	node->text_used = true;
	for (const struct tree_node *c = node->first; c; c = c->next)
		if (c->kind == TREE_TEXT)
			strbuf_puts(&sb, c->text);
	char *copy = sb.failed ? NULL : tree_alloc(ctx->tree, sb.len + 1);
	if (copy && sb.len)
		memcpy(copy, sb.s, sb.len);
	strbuf_clear(&sb);
	if (!copy)
		err_nomem(PVV_SUBSYS_XML, "reading the domain XML");
	return copy;
}

const char *xml_token(struct xml_ctx *ctx, struct tree_node *node)
{
	/* The arena's copy is ours to cut. */
	char *s = (char *)xml_text(ctx, node);

	if (!s)
		return NULL;
	s += strspn(s, " \t\r\n");
	size_t n = strlen(s);
	while (n && strchr(" \t\r\n", s[n - 1]))
		n--;
	s[n] = '\0';
	return s;
}

int xml_child_string(struct xml_ctx *ctx, struct tree_node *node, const char *name, char **field,
		     struct tree_node **ret_child)
{
	struct tree_node *child;

	XML_CHECK(xml_child(ctx, node, name, &child));
	if (ret_child)
		*ret_child = child;
	if (!child)
		return PVV_OK;
	const char *text = xml_text(ctx, child);
	if (!text)
		return PVV_ENOMEM;
	return *text ? config_set_string(field, text) : PVV_OK;
}

static struct tree_attr *find_attr(const struct tree_node *node, const char *name)
{
	for (size_t i = 0; i < node->nr_attrs; i++)
		if (!node->attrs[i].ns && strcmp(node->attrs[i].name, name) == 0)
			return &node->attrs[i];
	return NULL;
}

const char *xml_attr(struct tree_node *node, const char *name)
{
	struct tree_attr *a = find_attr(node, name);

	if (!a)
		return NULL;
	a->used = true;
	return a->value;
}

const struct tree_pos *xml_attr_pos(const struct tree_node *node, const char *name)
{
	const struct tree_attr *a = find_attr(node, name);

	return a ? &a->pos : NULL;
}

int xml_need_attr(struct xml_ctx *ctx, struct tree_node *node, const char *name,
		  const char **ret_value)
{
	*ret_value = xml_attr(node, name);
	if (!*ret_value)
		return xml_fail(ctx, PVV_EXML, node, NULL, "lacks the attribute '%s'", name);
	if (!**ret_value)
		return xml_fail(ctx, PVV_EXML, node, xml_attr_pos(node, name),
				"attribute '%s' is empty", name);
	return PVV_OK;
}

int xml_attr_string(struct xml_ctx *ctx, struct tree_node *node, const char *name, char **field)
{
	const char *value;

	if (!xml_attr(node, name))
		return PVV_OK;
	XML_CHECK(xml_need_attr(ctx, node, name, &value));
	return config_set_string(field, value);
}
