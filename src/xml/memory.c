/* SPDX-License-Identifier: MIT */
/* memory, currentMemory, maxMemory. */
#include <stdio.h>

#include "util/err.h"
#include "xml/out.h"
#include "xml/parse.h"

static int parse_size(struct xml_ctx *ctx, struct tree_node *domain, const char *name,
		      uint64_t *field, struct tree_node **ret_node)
{
	XML_CHECK(xml_child(ctx, domain, name, ret_node));
	if (!*ret_node)
		return PVV_OK;
	XML_CHECK(xml_size(ctx, *ret_node, field));
	if (*field > CONFIG_MEMORY_MAX)
		return xml_fail(ctx, PVV_ELIMIT, *ret_node, NULL, "%llu MiB is more than %llu MiB",
				*field / (1ull << 20), CONFIG_MEMORY_MAX >> 20);
	return PVV_OK;
}

int memory_parse(struct xml_ctx *ctx, struct tree_node *domain, struct config *cfg)
{
	struct config_problem problem;
	struct tree_node *memory, *current, *max;
	uint64_t slots = 0;

	XML_CHECK(parse_size(ctx, domain, "memory", &cfg->memory, &memory));
	XML_CHECK(parse_size(ctx, domain, "currentMemory", &cfg->current_memory, &current));
	XML_CHECK(parse_size(ctx, domain, "maxMemory", &cfg->max_memory, &max));
	if (!memory)
		return xml_fail(ctx, PVV_EXML, domain, NULL, "lacks <memory>");
	if (max) {
		XML_CHECK(xml_attr_number(ctx, max, "slots", UINT32_MAX, &slots, NULL));
		cfg->max_memory_slots = (uint32_t)slots;
	}
	/* libvirt's way with it; an error would refuse documents it accepts. */
	if (cfg->current_memory > cfg->memory) {
		xml_warn(ctx, current, NULL, "is more than <memory> and reduced to it");
		cfg->current_memory = cfg->memory;
	}
	if (!config_check_memory(cfg, &problem))
		return xml_fail_problem(ctx, memory, &problem);
	return PVV_OK;
}

void memory_format(struct xml_out *out, const struct config *cfg)
{
	char kib[24];

	/* The schema wants slots with a maxMemory. */
	if (cfg->max_memory) {
		snprintf(kib, sizeof(kib), "%llu", cfg->max_memory / 1024ull);
		xml_out_start(out, "maxMemory");
		xml_out_attr_number(out, "slots", cfg->max_memory_slots);
		xml_out_attr(out, "unit", "KiB");
		xml_out_end_text(out, kib);
	}
	xml_out_size(out, "memory", cfg->memory);
	xml_out_size(out, "currentMemory", cfg->current_memory);
}
