/* SPDX-License-Identifier: MIT */
/* on_poweroff, on_reboot, on_crash. */
#include "util/err.h"
#include "xml/out.h"
#include "xml/parse.h"

/* In the order of enum config_action. */
static const char *const off_actions[] = {"destroy", "restart", "rename-restart", "preserve", NULL};
static const char *const crash_actions[] = {
	"destroy",	    "restart", "rename-restart", "preserve", "coredump-destroy",
	"coredump-restart", NULL,
};

static int parse_action(struct xml_ctx *ctx, struct tree_node *domain, const char *name,
			const char *const *names, enum config_action *action)
{
	struct tree_node *node;
	unsigned int value;

	XML_CHECK(xml_child(ctx, domain, name, &node));
	if (!node)
		return PVV_OK;
	const char *text = xml_token(ctx, node);
	if (!text)
		return PVV_ENOMEM;
	XML_CHECK(xml_enum(ctx, node, NULL, "", text, names, &value));
	*action = (enum config_action)value;
	if (value >= CONFIG_ACTION_COREDUMP_DESTROY)
		xml_warn(ctx, node, NULL, "'%s' is kept, but no core is dumped", text);
	if (value == CONFIG_ACTION_RENAME_RESTART)
		xml_warn(ctx, node, NULL, "'%s' is kept, but restarts under the same name", text);
	return PVV_OK;
}

int events_parse(struct xml_ctx *ctx, struct tree_node *domain, struct config *cfg)
{
	XML_CHECK(parse_action(ctx, domain, "on_poweroff", off_actions, &cfg->on_poweroff));
	XML_CHECK(parse_action(ctx, domain, "on_reboot", off_actions, &cfg->on_reboot));
	return parse_action(ctx, domain, "on_crash", crash_actions, &cfg->on_crash);
}

void events_format(struct xml_out *out, const struct config *cfg)
{
	xml_out_text(out, "on_poweroff", config_action_name(cfg->on_poweroff));
	xml_out_text(out, "on_reboot", config_action_name(cfg->on_reboot));
	xml_out_text(out, "on_crash", config_action_name(cfg->on_crash));
}
