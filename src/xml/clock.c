/* SPDX-License-Identifier: MIT */
/* clock. */
#include <stdio.h>
#include <string.h>

#include "util/err.h"
#include "xml/out.h"
#include "xml/parse.h"

/* In the order of enum config_clock_offset. */
static const char *const offsets[] = {"utc", "localtime", "variable", "absolute", NULL};
static const char *const bases[] = {"utc", "localtime", NULL};

static int parse_adjustment(struct xml_ctx *ctx, struct tree_node *node, struct config_clock *clock)
{
	const char *text = xml_attr(node, "adjustment");

	if (!text)
		return PVV_OK;
	if (strcmp(text, "reset") == 0 && clock->offset != CONFIG_CLOCK_VARIABLE) {
		clock->adjustment_reset = true;
		return PVV_OK;
	}
	clock->has_adjustment = true;
	return xml_signed(ctx, node, xml_attr_pos(node, "adjustment"), "adjustment", text,
			  &clock->adjustment);
}

int clock_parse(struct xml_ctx *ctx, struct tree_node *domain, struct config *cfg)
{
	struct config_clock *clock = &cfg->clock;
	struct config_problem problem;
	struct tree_node *node;
	const char *text;
	unsigned int value = 0;

	XML_CHECK(xml_child(ctx, domain, "clock", &node));
	if (!node)
		return PVV_OK;
	XML_CHECK(xml_need_attr(ctx, node, "offset", &text));
	XML_CHECK(xml_attr_enum(ctx, node, "offset", offsets, &value));
	clock->offset = (enum config_clock_offset)value;
	if (clock->offset == CONFIG_CLOCK_ABSOLUTE) {
		XML_CHECK(xml_need_attr(ctx, node, "start", &text));
		XML_CHECK(xml_attr_number(ctx, node, "start", UINT64_MAX, &clock->start, NULL));
	} else {
		XML_CHECK(parse_adjustment(ctx, node, clock));
	}
	if (clock->offset == CONFIG_CLOCK_VARIABLE) {
		value = 0;
		XML_CHECK(xml_attr_enum(ctx, node, "basis", bases, &value));
		clock->basis_localtime = value;
	}
	if (!config_check_clock(clock, &problem))
		return xml_fail_problem(ctx, node, &problem);
	return PVV_OK;
}

void clock_format(struct xml_out *out, const struct config *cfg)
{
	const struct config_clock *clock = &cfg->clock;
	char text[24];

	xml_out_start(out, "clock");
	xml_out_attr(out, "offset", offsets[clock->offset]);
	if (clock->offset == CONFIG_CLOCK_ABSOLUTE) {
		xml_out_attr_number(out, "start", clock->start);
	} else if (clock->adjustment_reset && clock->offset != CONFIG_CLOCK_VARIABLE) {
		xml_out_attr(out, "adjustment", "reset");
	} else if (clock->has_adjustment) {
		snprintf(text, sizeof(text), "%lld", (long long)clock->adjustment);
		xml_out_attr(out, "adjustment", text);
	}
	if (clock->offset == CONFIG_CLOCK_VARIABLE)
		xml_out_attr(out, "basis", bases[clock->basis_localtime]);
	xml_out_end(out);
}
