/* SPDX-License-Identifier: MIT */
/* features/xen. The others (acpi, apic, pae, hap ...) mean nothing to a PV domain. */
#include "util/err.h"
#include "xml/out.h"
#include "xml/parse.h"

static int parse_state(struct xml_ctx *ctx, struct tree_node *node, enum config_tristate *state)
{
	const char *text;

	XML_CHECK(xml_need_attr(ctx, node, "state", &text));
	return xml_attr_onoff(ctx, node, "state", state);
}

int features_parse(struct xml_ctx *ctx, struct tree_node *domain, struct config *cfg)
{
	static const char *const modes[] = {"sync_pt", "share_pt", NULL};
	struct tree_node *features, *xen, *node;
	unsigned int mode = 0;

	XML_CHECK(xml_child(ctx, domain, "features", &features));
	if (!features)
		return PVV_OK;
	XML_CHECK(xml_child(ctx, features, "xen", &xen));
	if (!xen)
		return PVV_OK;
	cfg->has_xen_features = true;
	XML_CHECK(xml_child(ctx, xen, "e820_host", &node));
	if (node)
		XML_CHECK(parse_state(ctx, node, &cfg->e820_host));
	XML_CHECK(xml_child(ctx, xen, "passthrough", &node));
	if (!node)
		return PVV_OK;
	XML_CHECK(parse_state(ctx, node, &cfg->passthrough));
	XML_CHECK(xml_attr_enum(ctx, node, "mode", modes, &mode));
	return xml_attr_string(ctx, node, "mode", &cfg->passthrough_mode);
}

void features_format(struct xml_out *out, const struct config *cfg)
{
	if (!cfg->has_xen_features)
		return;
	xml_out_start(out, "features");
	xml_out_start(out, "xen");
	if (cfg->e820_host) {
		xml_out_start(out, "e820_host");
		xml_out_attr_onoff(out, "state", cfg->e820_host);
		xml_out_end(out);
	}
	if (cfg->passthrough) {
		xml_out_start(out, "passthrough");
		xml_out_attr_onoff(out, "state", cfg->passthrough);
		xml_out_attr(out, "mode", cfg->passthrough_mode);
		xml_out_end(out);
	}
	xml_out_end(out);
	xml_out_end(out);
}
