/* SPDX-License-Identifier: MIT */
/* controller type='xenbus' (limits of the ABI) and memballoon. */
#include <string.h>

#include "core/ctl.h"
#include "core/state.h"
#include "util/err.h"
#include "xml/out.h"
#include "xml/parse.h"

/* A document that asks for more than there is gets what there is; its guest will find out. */
static int parse_limit(struct xml_ctx *ctx, struct tree_node *node, const char *name, uint32_t most,
		       uint32_t *field)
{
	uint64_t value;
	bool present;

	XML_CHECK(xml_attr_number(ctx, node, name, UINT32_MAX, &value, &present));
	if (!present)
		return PVV_OK;
	if (!value)
		return xml_fail(ctx, PVV_EXML, node, xml_attr_pos(node, name), "%s is 0", name);
	if (value > most) {
		xml_warn(ctx, node, xml_attr_pos(node, name), "%s='%s' is reduced to %u", name,
			 xml_attr(node, name), most);
		value = most;
	}
	*field = (uint32_t)value;
	return PVV_OK;
}

static int parse_xenbus(struct xml_ctx *ctx, struct tree_node *node, struct config *cfg)
{
	uint32_t index = 0;

	XML_CHECK(xml_attr_u32(ctx, node, "index", &index));
	if (index)
		return xml_fail(ctx, PVV_EXML, node, xml_attr_pos(node, "index"),
				"index '%u': there is one xenbus, number 0", index);
	XML_CHECK(parse_limit(ctx, node, "maxGrantFrames", CORE_MAX_GRANT_FRAMES,
			      &cfg->max_grant_frames));
	return parse_limit(ctx, node, "maxEventChannels", CORE_MAX_PORTS, &cfg->max_event_channels);
}

/* The others (usb, pci, scsi ...) are left to be warnings. */
int controller_parse(struct xml_ctx *ctx, struct tree_node *devices, struct config *cfg)
{
	struct tree_node *xenbus = NULL;

	for (struct tree_node *c = devices->first; c; c = c->next) {
		if (!xml_is(c, "controller"))
			continue;
		const char *type = xml_attr(c, "type");
		if (!type)
			return xml_fail(ctx, PVV_EXML, c, NULL, "lacks the attribute 'type'");
		if (strcmp(type, "xenbus") != 0)
			continue;
		if (xenbus)
			return xml_fail(ctx, PVV_EXML, c, NULL,
					"type 'xenbus' appears twice (first on line %u)",
					xenbus->pos.line);
		xenbus = c;
		c->used = true;
		XML_CHECK(parse_xenbus(ctx, c, cfg));
	}
	return PVV_OK;
}

void controller_format(struct xml_out *out, const struct config *cfg)
{
	xml_out_start(out, "controller");
	xml_out_attr(out, "type", "xenbus");
	xml_out_attr(out, "index", "0");
	if (cfg->max_grant_frames)
		xml_out_attr_number(out, "maxGrantFrames", cfg->max_grant_frames);
	if (cfg->max_event_channels)
		xml_out_attr_number(out, "maxEventChannels", cfg->max_event_channels);
	xml_out_end(out);
}

int memballoon_parse(struct xml_ctx *ctx, struct tree_node *node, struct config *cfg)
{
	static const char *const models[] = {"xen", "none", NULL};
	const char *text;
	unsigned int value = 0;

	XML_CHECK(xml_need_attr(ctx, node, "model", &text));
	XML_CHECK(xml_attr_enum(ctx, node, "model", models, &value));
	cfg->balloon = value == 0;
	return PVV_OK;
}

void memballoon_format(struct xml_out *out, const struct config *cfg)
{
	xml_out_start(out, "memballoon");
	xml_out_attr(out, "model", cfg->balloon ? "xen" : "none");
	xml_out_end(out);
}
