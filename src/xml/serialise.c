/* SPDX-License-Identifier: MIT */
/* Writing a part of the tree as XML again: metadata and seclabels, which pass through us. */
#include <string.h>

#include "xml/tree.h"

void tree_escape(struct strbuf *out, const char *text, bool attr)
{
	for (; *text; text++) {
		switch (*text) {
		case '&':
			strbuf_puts(out, "&amp;");
			break;
		case '<':
			strbuf_puts(out, "&lt;");
			break;
		case '>':
			strbuf_puts(out, "&gt;");
			break;
		case '\r': /* a parser would turn it into a line feed */
			strbuf_puts(out, "&#13;");
			break;
		case '\'':
			strbuf_puts(out, attr ? "&apos;" : "'");
			break;
		case '\n': /* a parser would turn these into blanks */
			strbuf_puts(out, attr ? "&#10;" : "\n");
			break;
		case '\t':
			strbuf_puts(out, attr ? "&#9;" : "\t");
			break;
		default:
			strbuf_putc(out, *text);
		}
	}
}

static void put_name(struct strbuf *out, const char *prefix, const char *name)
{
	if (prefix)
		strbuf_printf(out, "%s:", prefix);
	strbuf_puts(out, name);
}

static void put_decl(struct strbuf *out, const char *prefix, const char *uri)
{
	strbuf_puts(out, prefix ? " xmlns:" : " xmlns");
	if (prefix)
		strbuf_puts(out, prefix);
	strbuf_puts(out, "='");
	tree_escape(out, uri, true);
	strbuf_putc(out, '\'');
}

/* Is the prefix declared at `node` or above it, but not above `top`? */
static bool declared_within(const struct tree_node *node, const struct tree_node *top,
			    const char *prefix)
{
	for (;; node = node->parent) {
		for (size_t i = 0; i < node->nr_decls; i++) {
			const char *p = node->decls[i].prefix;

			if ((!p && !prefix) || (p && prefix && strcmp(p, prefix) == 0))
				return true;
		}
		if (node == top)
			return false;
	}
}

struct inherited { /* prefixes that a part takes from above it */
	const char *prefixes[TREE_MAX_NAMESPACES];
	size_t nr;
};

static void need(struct inherited *in, const struct tree_node *node, const struct tree_node *top,
		 const char *prefix)
{
	if (prefix && strcmp(prefix, "xml") == 0)
		return;
	if (declared_within(node, top, prefix))
		return;
	for (size_t i = 0; i < in->nr; i++) {
		const char *p = in->prefixes[i];

		if ((!p && !prefix) || (p && prefix && strcmp(p, prefix) == 0))
			return;
	}
	/* No document has more declarations than this; see TREE_MAX_NAMESPACES. */
	if (in->nr < TREE_MAX_NAMESPACES)
		in->prefixes[in->nr++] = prefix;
}

static void collect(struct inherited *in, const struct tree_node *node, const struct tree_node *top)
{
	if (node->kind != TREE_ELEMENT)
		return;
	if (node->prefix || node->ns)
		need(in, node, top, node->prefix);
	for (size_t i = 0; i < node->nr_attrs; i++)
		if (node->attrs[i].prefix)
			need(in, node, top, node->attrs[i].prefix);
	for (const struct tree_node *c = node->first; c; c = c->next)
		collect(in, c, top);
}

static void put_node(struct strbuf *out, const struct tree_node *node, const struct inherited *in)
{
	if (node->kind == TREE_TEXT) {
		tree_escape(out, node->text, false);
		return;
	}
	if (node->kind == TREE_COMMENT) {
		strbuf_printf(out, "<!--%s-->", node->text);
		return;
	}
	strbuf_putc(out, '<');
	put_name(out, node->prefix, node->name);
	for (size_t i = 0; in && i < in->nr; i++) {
		const char *uri = tree_namespace(node->parent, in->prefixes[i]);

		if (uri)
			put_decl(out, in->prefixes[i], uri);
	}
	for (size_t i = 0; i < node->nr_decls; i++)
		put_decl(out, node->decls[i].prefix, node->decls[i].uri);
	for (size_t i = 0; i < node->nr_attrs; i++) {
		const struct tree_attr *a = &node->attrs[i];

		strbuf_putc(out, ' ');
		put_name(out, a->prefix, a->name);
		strbuf_puts(out, "='");
		tree_escape(out, a->value, true);
		strbuf_putc(out, '\'');
	}
	if (!node->first) {
		strbuf_puts(out, "/>");
		return;
	}
	strbuf_putc(out, '>');
	for (const struct tree_node *c = node->first; c; c = c->next)
		put_node(out, c, NULL);
	strbuf_puts(out, "</");
	put_name(out, node->prefix, node->name);
	strbuf_putc(out, '>');
}

void tree_serialise(struct strbuf *out, const struct tree_node *node)
{
	struct inherited in = {.nr = 0};

	collect(&in, node, node);
	put_node(out, node, &in);
}
