/* SPDX-License-Identifier: MIT */
/* The document as a whole: xml_parse() and xml_format(). */
#include <stdlib.h>
#include <string.h>

#include "util/err.h"
#include "xml/guard.h"
#include "xml/out.h"
#include "xml/parse.h"

static int check_root(struct xml_ctx *ctx, struct tree_node *root)
{
	const char *type;

	if (!xml_is(root, "domain"))
		return xml_fail(ctx, PVV_EXML, root, NULL, "is not a <domain>%s",
				root->ns ? " (it is of another namespace)" : "");
	root->used = true;
	XML_CHECK(xml_need_attr(ctx, root, "type", &type));
	if (strcmp(type, "xen") != 0 && strcmp(type, "pvvirt") != 0)
		return xml_fail(ctx, PVV_EUNSUPPORTED, root, xml_attr_pos(root, "type"),
				"type '%s' is not supported (use 'xen')", type);
	return PVV_OK;
}

static int refuse_dangerous(struct xml_ctx *ctx, struct tree_node *root)
{
	struct tree_node *node;

	XML_CHECK(xml_child(ctx, root, "launchSecurity", &node));
	if (node)
		return xml_fail(ctx, PVV_EUNSUPPORTED, node, NULL,
				"is not supported (memory would not be protected from the host)");
	return PVV_OK;
}

static int parse_domain(struct xml_ctx *ctx, struct config *cfg)
{
	struct tree_node *root = ctx->tree->root;

	XML_CHECK(check_root(ctx, root));
	XML_CHECK(pvvirt_prepare(ctx, root));
	/* First what decides whether this is for us at all. */
	XML_CHECK(os_parse(ctx, root, cfg));
	XML_CHECK(general_parse(ctx, root, cfg));
	XML_CHECK(memory_parse(ctx, root, cfg));
	XML_CHECK(cpu_parse(ctx, root, cfg));
	XML_CHECK(events_parse(ctx, root, cfg));
	XML_CHECK(clock_parse(ctx, root, cfg));
	XML_CHECK(features_parse(ctx, root, cfg));
	XML_CHECK(devices_parse(ctx, root, cfg));
	XML_CHECK(metadata_parse(ctx, root, cfg));
	XML_CHECK(pvvirt_parse(ctx, cfg));
	XML_CHECK(seclabel_parse(ctx, root, cfg));
	XML_CHECK(refuse_dangerous(ctx, root));
	xml_warn_unused(ctx, root);
	return ctx->failed ? err_nomem(PVV_SUBSYS_XML, "listing what is ignored") : PVV_OK;
}

/* In strict mode the first warning is the error. */
static int refuse_warnings(struct xml_ctx *ctx)
{
	const struct xml_warnings *w = &ctx->warnings;

	if (!w->nr)
		return PVV_OK;
	if (w->nr == 1)
		return err_set(PVV_EUNSUPPORTED, PVV_SUBSYS_XML, ctx->filename,
			       "%s; refused in strict mode", w->items[0].text);
	return err_set(PVV_EUNSUPPORTED, PVV_SUBSYS_XML, ctx->filename,
		       "%s; refused in strict mode (and %zu more)", w->items[0].text, w->nr - 1);
}

static int parse_text(struct xml_ctx *ctx, const char *text, size_t len, uint64_t flags,
		      struct config *cfg)
{
	static const char bom[] = "\xef\xbb\xbf";

	if (len >= 3 && memcmp(text, bom, 3) == 0) {
		text += 3;
		len -= 3;
	}
	XML_CHECK(guard_check(text, len, ctx->filename));
	XML_CHECK(tree_build(ctx->tree, text, len, ctx->filename));
	XML_CHECK(parse_domain(ctx, cfg));
	xml_warnings_sort(&ctx->warnings);
	return flags & XML_STRICT ? refuse_warnings(ctx) : PVV_OK;
}

int xml_parse(const char *text, size_t len, const char *filename, uint64_t flags,
	      struct config **ret_config, struct xml_warnings *ret_warnings)
{
	struct tree tree = {0};
	struct xml_ctx ctx = {.filename = filename ? filename : "domain.xml", .tree = &tree};

	*ret_config = NULL;
	if (ret_warnings)
		*ret_warnings = (struct xml_warnings){0};
	if (flags & ~XML_STRICT)
		return err_set(PVV_EINVAL, PVV_SUBSYS_XML, ctx.filename, "unknown flags 0x%llx",
			       (unsigned long long)(flags & ~XML_STRICT));
	struct config *cfg = config_new();
	if (!cfg)
		return PVV_ENOMEM;
	int r = parse_text(&ctx, text, len, flags, cfg);
	tree_free(&tree);
	if (r == PVV_OK && ret_warnings)
		*ret_warnings = ctx.warnings;
	else
		xml_warnings_clear(&ctx.warnings);
	if (r == PVV_OK)
		*ret_config = cfg;
	else
		config_free(cfg);
	return r;
}

int xml_format(const struct config *cfg, char **ret_text)
{
	struct xml_out out = {.error = PVV_OK};

	*ret_text = NULL;
	XML_CHECK(config_check(cfg));
	xml_out_start(&out, "domain");
	xml_out_attr(&out, "type", "xen");
	general_format(&out, cfg);
	metadata_format(&out, cfg);
	memory_format(&out, cfg);
	cpu_format(&out, cfg);
	os_format(&out, cfg);
	features_format(&out, cfg);
	clock_format(&out, cfg);
	events_format(&out, cfg);
	devices_format(&out, cfg);
	seclabel_format(&out, cfg);
	xml_out_end(&out);

	char *text = strbuf_take(&out.sb);
	if (out.error != PVV_OK) {
		free(text);
		return out.error;
	}
	if (!text)
		return err_nomem(PVV_SUBSYS_XML, "writing the domain XML");
	*ret_text = text;
	return PVV_OK;
}
