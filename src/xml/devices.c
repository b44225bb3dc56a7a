/* SPDX-License-Identifier: MIT */
/* devices: who parses which, and in which order they are written. */
#include <stdlib.h>

#include "util/err.h"
#include "xml/out.h"
#include "xml/parse.h"

static int by_port(const void *a, const void *b)
{
	const struct config_console *x = a, *y = b;

	return x->port < y->port ? -1 : x->port > y->port;
}

int devices_parse(struct xml_ctx *ctx, struct tree_node *domain, struct config *cfg)
{
	static const struct {
		const char *name;
		int (*parse)(struct xml_ctx *ctx, struct tree_node *node, struct config *cfg);
	} families[] = {
		{"disk", disk_parse},
		{"interface", interface_parse},
		{"console", console_parse},
		{"channel", channel_parse},
	};
	struct tree_node *devices, *node;

	XML_CHECK(xml_child(ctx, domain, "devices", &devices));
	if (!devices)
		return PVV_OK;
	for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++)
		for (node = NULL; (node = xml_next(devices, families[i].name, node));)
			XML_CHECK(families[i].parse(ctx, node, cfg));
	XML_CHECK(controller_parse(ctx, devices, cfg));
	if (cfg->nr_consoles)
		qsort(cfg->consoles, cfg->nr_consoles, sizeof(cfg->consoles[0]), by_port);
	XML_CHECK(xml_child(ctx, devices, "memballoon", &node));
	return node ? memballoon_parse(ctx, node, cfg) : PVV_OK;
}

void devices_format(struct xml_out *out, const struct config *cfg)
{
	xml_out_start(out, "devices");
	for (size_t i = 0; i < cfg->nr_disks; i++)
		disk_format(out, &cfg->disks[i]);
	controller_format(out, cfg);
	for (size_t i = 0; i < cfg->nr_interfaces; i++)
		interface_format(out, &cfg->interfaces[i]);
	for (size_t i = 0; i < cfg->nr_consoles; i++)
		console_format(out, &cfg->consoles[i]);
	for (size_t i = 0; i < cfg->nr_channels; i++)
		channel_format(out, &cfg->channels[i]);
	memballoon_format(out, cfg);
	xml_out_end(out);
}
