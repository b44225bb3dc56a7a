/* SPDX-License-Identifier: MIT */
/* name, uuid, title, description. */
#include <string.h>

#include "util/err.h"
#include "xml/out.h"
#include "xml/parse.h"

int general_parse(struct xml_ctx *ctx, struct tree_node *domain, struct config *cfg)
{
	struct config_problem problem;
	struct tree_node *node;
	const char *text;

	XML_CHECK(xml_child_string(ctx, domain, "name", &cfg->name, &node));
	if (!node)
		return xml_fail(ctx, PVV_EXML, domain, NULL, "lacks <name>");
	if (!config_check_name(cfg->name, &problem))
		return xml_fail_problem(ctx, node, &problem);

	XML_CHECK(xml_child(ctx, domain, "uuid", &node));
	if (node) {
		text = xml_token(ctx, node);
		if (!text)
			return PVV_ENOMEM;
		if (!config_uuid_parse(text, cfg->uuid))
			return xml_fail(ctx, PVV_EXML, node, NULL, "'%s' is not a uuid", text);
		cfg->has_uuid = true;
	}

	XML_CHECK(xml_child_string(ctx, domain, "title", &cfg->title, &node));
	if (!config_check_title(cfg->title, &problem))
		return xml_fail_problem(ctx, node, &problem);
	return xml_child_string(ctx, domain, "description", &cfg->description, NULL);
}

void general_format(struct xml_out *out, const struct config *cfg)
{
	char uuid[37];

	xml_out_text(out, "name", cfg->name);
	if (cfg->has_uuid) {
		config_uuid_format(cfg->uuid, uuid);
		xml_out_text(out, "uuid", uuid);
	}
	xml_out_text(out, "title", cfg->title);
	xml_out_text(out, "description", cfg->description);
}
