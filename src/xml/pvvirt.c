/* SPDX-License-Identifier: MIT */
/*
 * Our own element, <pvvirt:domain>: what libvirt's language has no words for. libvirt's schema
 * takes elements of other namespaces in <metadata> only, so that is where it is written; <domain>
 * is accepted too.
 */
#include <string.h>

#include "util/err.h"
#include "xml/out.h"
#include "xml/parse.h"

/* As xml_child(), of our namespace. */
static int child(struct xml_ctx *ctx, struct tree_node *node, const char *name,
		 struct tree_node **ret_child)
{
	*ret_child = NULL;
	for (struct tree_node *c = node->first; c; c = c->next) {
		if (!xml_is_pvvirt(c, name))
			continue;
		c->used = true;
		if (*ret_child)
			return xml_fail(ctx, PVV_EXML, c, NULL, "appears twice (first on line %u)",
					(*ret_child)->pos.line);
		*ret_child = c;
	}
	return PVV_OK;
}

static int parse_executor(struct xml_ctx *ctx, struct tree_node *domain, struct config *cfg)
{
	static const char *const names[] = {"auto", "ring3", "kvm", NULL};
	struct tree_node *node;
	const char *text;
	unsigned int value = 0;
	bool brief = true;

	XML_CHECK(child(ctx, domain, "executor", &node));
	if (!node)
		return PVV_OK;
	XML_CHECK(xml_need_attr(ctx, node, "name", &text));
	XML_CHECK(xml_attr_enum(ctx, node, "name", names, &value));
	XML_CHECK(xml_attr_yesno(ctx, node, "briefTurns", &brief));
	cfg->executor = (enum config_executor)value;
	cfg->no_brief_turns = !brief;
	return PVV_OK;
}

static int parse_limit(struct xml_ctx *ctx, struct tree_node *limits, const char *name,
		       uint32_t *field)
{
	struct tree_node *node;
	uint64_t value;

	XML_CHECK(child(ctx, limits, name, &node));
	if (!node)
		return PVV_OK;
	const char *text = xml_token(ctx, node);
	if (!text)
		return PVV_ENOMEM;
	XML_CHECK(xml_number(ctx, node, NULL, "", text, UINT32_MAX, &value));
	if (!value)
		return xml_fail(ctx, PVV_EXML, node, NULL, "is 0");
	*field = (uint32_t)value;
	return PVV_OK;
}

static int parse_size_limit(struct xml_ctx *ctx, struct tree_node *limits, const char *name,
			    uint64_t *field)
{
	struct tree_node *node;

	XML_CHECK(child(ctx, limits, name, &node));
	if (!node)
		return PVV_OK;
	XML_CHECK(xml_size(ctx, node, field));
	if (!*field || *field > CONFIG_MEMORY_MAX)
		return xml_fail(ctx, PVV_EXML, node, NULL, "is not within 1..%llu MiB",
				CONFIG_MEMORY_MAX >> 20);
	return PVV_OK;
}

static int parse_limits(struct xml_ctx *ctx, struct tree_node *domain, struct config *cfg)
{
	struct config_limits *l = &cfg->limits;
	struct tree_node *limits;

	XML_CHECK(child(ctx, domain, "limits", &limits));
	if (!limits)
		return PVV_OK;
	XML_CHECK(parse_size_limit(ctx, limits, "codeCache", &l->code_cache));
	XML_CHECK(parse_size_limit(ctx, limits, "overhead", &l->overhead));
	XML_CHECK(parse_limit(ctx, limits, "xenstoreNodes", &l->xenstore_nodes));
	XML_CHECK(parse_limit(ctx, limits, "xenstoreWatches", &l->xenstore_watches));
	return parse_limit(ctx, limits, "xenstoreTransactions", &l->xenstore_transactions);
}

/* Elements of <pvvirt:descriptors>, and the attribute that says which device is meant. */
static const struct {
	const char *name, *key;
} kinds[] = {
	{"kernel", NULL},	{"initrd", NULL},    {"disk", "target"},
	{"interface", "index"}, {"console", "port"}, {"channel", "name"},
};
#define NR_KINDS (sizeof(kinds) / sizeof(kinds[0]))

void pvvirt_claim(struct xml_ctx *ctx, const char *name, const char *key, int *fd)
{
	for (struct tree_node *c = ctx->descriptors ? ctx->descriptors->first : NULL; c;
	     c = c->next) {
		if (!xml_is_pvvirt(c, name))
			continue;
		const char *key_attr = NULL;
		for (size_t i = 0; i < NR_KINDS; i++)
			if (strcmp(kinds[i].name, name) == 0)
				key_attr = kinds[i].key;
		const char *value = key_attr ? xml_attr(c, key_attr) : NULL;
		if (key && (!value || strcmp(value, key) != 0))
			continue;
		c->used = true;
		*fd = CONFIG_FD_PENDING;
		return;
	}
}

/* A descriptor for a device that is not there is a mistake that would show only at start. */
static int check_claimed(struct xml_ctx *ctx, struct tree_node *node)
{
	for (size_t i = 0; i < NR_KINDS; i++) {
		const char *value;

		if (!xml_is_pvvirt(node, kinds[i].name) || node->used)
			continue;
		if (!kinds[i].key)
			return xml_fail(ctx, PVV_EXML, node, NULL, "appears twice");
		XML_CHECK(xml_need_attr(ctx, node, kinds[i].key, &value));
		return xml_fail(ctx, PVV_EXML, node, NULL,
				"%s='%s' is no device of this domain, or appears twice",
				kinds[i].key, value);
	}
	return PVV_OK;
}

int pvvirt_prepare(struct xml_ctx *ctx, struct tree_node *domain)
{
	struct tree_node *metadata;

	XML_CHECK(child(ctx, domain, "domain", &ctx->ours));
	XML_CHECK(xml_child(ctx, domain, "metadata", &metadata));
	if (metadata) {
		struct tree_node *second;

		XML_CHECK(child(ctx, metadata, "domain", &second));
		if (second && ctx->ours)
			return xml_fail(ctx, PVV_EXML, second, NULL,
					"is in <metadata> and in <domain>");
		if (second)
			ctx->ours = second;
	}
	if (!ctx->ours)
		return PVV_OK;
	return child(ctx, ctx->ours, "descriptors", &ctx->descriptors);
}

int pvvirt_parse(struct xml_ctx *ctx, struct config *cfg)
{
	if (!ctx->ours)
		return PVV_OK;
	XML_CHECK(parse_executor(ctx, ctx->ours, cfg));
	XML_CHECK(parse_limits(ctx, ctx->ours, cfg));
	for (struct tree_node *c = ctx->descriptors ? ctx->descriptors->first : NULL; c;
	     c = c->next)
		XML_CHECK(check_claimed(ctx, c));
	return PVV_OK;
}

static bool has_executor(const struct config *cfg)
{
	return cfg->executor != CONFIG_EXECUTOR_AUTO || cfg->no_brief_turns;
}

static bool has_limits(const struct config_limits *l)
{
	return l->code_cache || l->overhead || l->xenstore_nodes || l->xenstore_watches ||
	       l->xenstore_transactions;
}

static bool has_descriptors(const struct config *cfg)
{
	bool any = cfg->kernel_fd != CONFIG_FD_NONE || cfg->initrd_fd != CONFIG_FD_NONE;

	for (size_t i = 0; i < cfg->nr_disks; i++)
		any |= cfg->disks[i].fd != CONFIG_FD_NONE;
	for (size_t i = 0; i < cfg->nr_interfaces; i++)
		any |= cfg->interfaces[i].fd != CONFIG_FD_NONE;
	for (size_t i = 0; i < cfg->nr_consoles; i++)
		any |= cfg->consoles[i].chr.type == CONFIG_CHR_FD;
	for (size_t i = 0; i < cfg->nr_channels; i++)
		any |= cfg->channels[i].chr.type == CONFIG_CHR_FD;
	return any;
}

bool pvvirt_wanted(const struct config *cfg)
{
	return has_executor(cfg) || has_limits(&cfg->limits) || has_descriptors(cfg);
}

static void put_number(struct xml_out *out, const char *name, uint64_t value)
{
	if (value)
		xml_out_number(out, name, value);
}

static void put_device(struct xml_out *out, const char *name, const char *attr, const char *value)
{
	xml_out_start(out, name);
	xml_out_attr(out, attr, value);
	xml_out_end(out);
}

static void put_device_number(struct xml_out *out, const char *name, const char *attr,
			      uint64_t value)
{
	xml_out_start(out, name);
	xml_out_attr_number(out, attr, value);
	xml_out_end(out);
}

static void put_descriptors(struct xml_out *out, const struct config *cfg)
{
	xml_out_start(out, "pvvirt:descriptors");
	xml_out_flag(out, "pvvirt:kernel", cfg->kernel_fd != CONFIG_FD_NONE);
	xml_out_flag(out, "pvvirt:initrd", cfg->initrd_fd != CONFIG_FD_NONE);
	for (size_t i = 0; i < cfg->nr_disks; i++)
		if (cfg->disks[i].fd != CONFIG_FD_NONE)
			put_device(out, "pvvirt:disk", "target", cfg->disks[i].target);
	for (size_t i = 0; i < cfg->nr_interfaces; i++)
		if (cfg->interfaces[i].fd != CONFIG_FD_NONE)
			put_device_number(out, "pvvirt:interface", "index", i);
	for (size_t i = 0; i < cfg->nr_consoles; i++)
		if (cfg->consoles[i].chr.type == CONFIG_CHR_FD)
			put_device_number(out, "pvvirt:console", "port", cfg->consoles[i].port);
	for (size_t i = 0; i < cfg->nr_channels; i++)
		if (cfg->channels[i].chr.type == CONFIG_CHR_FD)
			put_device(out, "pvvirt:channel", "name", cfg->channels[i].name);
	xml_out_end(out);
}

void pvvirt_format(struct xml_out *out, const struct config *cfg)
{
	const struct config_limits *l = &cfg->limits;

	xml_out_start(out, "pvvirt:domain");
	xml_out_attr(out, "xmlns:pvvirt", XML_PVVIRT_NS);
	if (has_executor(cfg)) {
		xml_out_start(out, "pvvirt:executor");
		xml_out_attr(out, "name", config_executor_name(cfg->executor));
		xml_out_attr(out, "briefTurns", cfg->no_brief_turns ? "no" : NULL);
		xml_out_end(out);
	}
	if (has_limits(l)) {
		xml_out_start(out, "pvvirt:limits");
		xml_out_size(out, "pvvirt:codeCache", l->code_cache);
		xml_out_size(out, "pvvirt:overhead", l->overhead);
		put_number(out, "pvvirt:xenstoreNodes", l->xenstore_nodes);
		put_number(out, "pvvirt:xenstoreWatches", l->xenstore_watches);
		put_number(out, "pvvirt:xenstoreTransactions", l->xenstore_transactions);
		xml_out_end(out);
	}
	if (has_descriptors(cfg))
		put_descriptors(out, cfg);
	xml_out_end(out);
}
