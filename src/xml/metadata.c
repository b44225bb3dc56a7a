/* SPDX-License-Identifier: MIT */
/*
 * metadata and seclabel: other people's XML, which passes through. It is kept as text that stands
 * alone, in the form tree_serialise() gives it, so that it does not change any more when it is
 * parsed and written again.
 */
#include <stdlib.h>
#include <string.h>

#include "util/err.h"
#include "xml/guard.h"
#include "xml/out.h"
#include "xml/parse.h"

static bool is_ours(const struct tree_node *node)
{
	return node->kind == TREE_ELEMENT && node->ns && strcmp(node->ns, XML_PVVIRT_NS) == 0;
}

static int no_memory(void)
{
	return err_nomem(PVV_SUBSYS_XML, "handling the domain's metadata");
}

int metadata_parse(struct xml_ctx *ctx, struct tree_node *domain, struct config *cfg)
{
	struct tree_node *metadata;
	struct strbuf sb = STRBUF_INIT;

	XML_CHECK(xml_child(ctx, domain, "metadata", &metadata));
	for (struct tree_node *c = metadata ? metadata->first : NULL; c; c = c->next) {
		/* pvvirt.c looks at <pvvirt:domain>; others of our namespace are mistakes, and left
		 * to be warnings. */
		if (c->kind != TREE_ELEMENT || is_ours(c))
			continue;
		c->used = c->opaque = true;
		if (sb.len)
			strbuf_putc(&sb, '\n');
		tree_serialise(&sb, c);
	}
	bool any = sb.len > 0;
	char *text = strbuf_take(&sb);
	if (!text)
		return no_memory();
	int r = any ? config_set_string(&cfg->metadata, text) : PVV_OK;
	free(text);
	return r;
}

int seclabel_parse(struct xml_ctx *ctx, struct tree_node *domain, struct config *cfg)
{
	for (struct tree_node *c = NULL; (c = xml_next(domain, "seclabel", c));) {
		struct strbuf sb = STRBUF_INIT;

		c->opaque = true;
		tree_serialise(&sb, c);
		char *text = strbuf_take(&sb);
		if (!text)
			return no_memory();
		int r = config_add_seclabel(cfg, text);
		free(text);
		if (r < 0)
			return r;
	}
	return PVV_OK;
}

/*
 * The elements of an opaque text, which may come from a C program: it must not be able to break
 * out of the place where we put it. `wrapped` gets the tree, whose root's children they are.
 */
static int open_opaque(const char *text, const char *what, struct tree *wrapped)
{
	struct strbuf sb = STRBUF_INIT;

	strbuf_printf(&sb, "<opaque>%s</opaque>", text);
	if (sb.failed)
		return no_memory();
	int r = guard_check(sb.s, sb.len, what);
	if (r == PVV_OK)
		r = tree_build(wrapped, sb.s, sb.len, what);
	strbuf_clear(&sb);
	if (r == PVV_EXML) {
		struct pvv_error e;

		err_save(&e);
		r = err_set(PVV_EINVAL, PVV_SUBSYS_XML, what, "%s", e.message);
	}
	return r;
}

static void out_fail(struct xml_out *out, int error)
{
	if (out->error == PVV_OK)
		out->error = error;
}

static void put_element(struct xml_out *out, const struct tree_node *node)
{
	struct strbuf sb = STRBUF_INIT;

	tree_serialise(&sb, node);
	char *text = strbuf_take(&sb);
	if (text)
		xml_out_raw(out, text);
	else
		out->sb.failed = true;
	free(text);
}

static void put_metadata(struct xml_out *out, const char *text)
{
	struct tree tree = {0};
	int r = open_opaque(text, "metadata", &tree);

	if (r < 0) {
		out_fail(out, r);
		return;
	}
	for (const struct tree_node *c = tree.root->first; c; c = c->next) {
		if (c->kind != TREE_ELEMENT)
			continue;
		if (is_ours(c))
			out_fail(out, err_set(PVV_EINVAL, PVV_SUBSYS_XML, "metadata",
					      "metadata: elements of %s do not belong here",
					      XML_PVVIRT_NS));
		put_element(out, c);
	}
	tree_free(&tree);
}

void metadata_format(struct xml_out *out, const struct config *cfg)
{
	if (!cfg->metadata && !pvvirt_wanted(cfg))
		return;
	xml_out_start(out, "metadata");
	if (cfg->metadata)
		put_metadata(out, cfg->metadata);
	if (pvvirt_wanted(cfg))
		pvvirt_format(out, cfg);
	xml_out_end(out);
}

void seclabel_format(struct xml_out *out, const struct config *cfg)
{
	for (size_t i = 0; i < cfg->nr_seclabels; i++) {
		struct tree tree = {0};
		int r = open_opaque(cfg->seclabels[i], "seclabel", &tree);

		if (r < 0) {
			out_fail(out, r);
			continue;
		}
		const struct tree_node *node = tree.root->first;
		if (!node || node->next || !xml_is(node, "seclabel"))
			out_fail(out, err_set(PVV_EINVAL, PVV_SUBSYS_XML, "seclabel",
					      "seclabel: '%s' is not one <seclabel> element",
					      cfg->seclabels[i]));
		else
			put_element(out, node);
		tree_free(&tree);
	}
}
