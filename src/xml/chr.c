/* SPDX-License-Identifier: MIT */
/* console and channel: character devices with the same back ends. */
#include <stdio.h>
#include <string.h>

#include "util/err.h"
#include "xml/out.h"
#include "xml/parse.h"

/* In the order of enum config_chr_type; a descriptor is 'null' here, see pvvirt.c. */
static const char *const types[] = {"null", "pty", "file", "unix", "tcp", NULL};
static const char *const modes[] = {"connect", "bind", NULL};
static const char *const protocols[] = {"raw", "telnet", NULL};

static int parse_tcp(struct xml_ctx *ctx, struct tree_node *node, struct tree_node *source,
		     struct config_chr *chr)
{
	struct tree_node *protocol;
	unsigned int value = 0;

	if (source) {
		XML_CHECK(xml_attr_string(ctx, source, "host", &chr->host));
		XML_CHECK(xml_attr_string(ctx, source, "service", &chr->service));
		const char *tls = xml_attr(source, "tls");
		if (tls && strcmp(tls, "no") != 0)
			return xml_fail(ctx, PVV_EUNSUPPORTED, source, xml_attr_pos(source, "tls"),
					"tls '%s' is not supported", tls);
	}
	XML_CHECK(xml_child(ctx, node, "protocol", &protocol));
	if (protocol)
		XML_CHECK(xml_attr_enum(ctx, protocol, "type", protocols, &value));
	chr->telnet = value;
	if (chr->telnet)
		xml_kept(ctx, protocol, "bytes are passed on as they are");
	return PVV_OK;
}

static int parse_chr(struct xml_ctx *ctx, struct tree_node *node, struct config_chr *chr)
{
	struct tree_node *source, *log;
	const char *type = xml_attr(node, "type");
	unsigned int value = CONFIG_CHR_PTY; /* libvirt's default */

	if (type && strcmp(type, "stdio") == 0)
		return xml_fail(ctx, PVV_EUNSUPPORTED, node, xml_attr_pos(node, "type"),
				"type 'stdio' is not supported: the program's own streams are not "
				"the library's (pass a descriptor)");
	XML_CHECK(xml_attr_enum(ctx, node, "type", types, &value));
	chr->type = (enum config_chr_type)value;
	XML_CHECK(xml_child(ctx, node, "source", &source));
	if (source && (chr->type == CONFIG_CHR_FILE || chr->type == CONFIG_CHR_UNIX))
		XML_CHECK(xml_attr_string(ctx, source, "path", &chr->path));
	if (source && chr->type == CONFIG_CHR_FILE)
		XML_CHECK(xml_attr_onoff(ctx, source, "append", &chr->append));
	if (source && (chr->type == CONFIG_CHR_UNIX || chr->type == CONFIG_CHR_TCP)) {
		value = 0;
		XML_CHECK(xml_attr_enum(ctx, source, "mode", modes, &value));
		chr->listen = value;
	}
	if (chr->type == CONFIG_CHR_TCP)
		XML_CHECK(parse_tcp(ctx, node, source, chr));
	XML_CHECK(xml_child(ctx, node, "log", &log));
	if (log) {
		const char *file;

		XML_CHECK(xml_need_attr(ctx, log, "file", &file));
		XML_CHECK(xml_attr_string(ctx, log, "file", &chr->log_file));
		XML_CHECK(xml_attr_onoff(ctx, log, "append", &chr->log_append));
	}
	return PVV_OK;
}

static int check_target_type(struct xml_ctx *ctx, struct tree_node *node, struct tree_node *target)
{
	const char *type = xml_attr(target, "type");

	if (type && strcmp(type, "xen") != 0)
		return xml_fail(ctx, PVV_EUNSUPPORTED, node, xml_attr_pos(target, "type"),
				"target type '%s' is not supported (use type='xen')", type);
	return PVV_OK;
}

/* The document has 'null' where a descriptor will be, see pvvirt.c. */
static int claim(struct xml_ctx *ctx, struct tree_node *node, const char *key,
		 struct config_chr *chr)
{
	pvvirt_claim(ctx, node->name, key, &chr->fd);
	if (chr->fd == CONFIG_FD_NONE)
		return PVV_OK;
	if (chr->type != CONFIG_CHR_NULL)
		return xml_fail(ctx, PVV_EXML, node, NULL,
				"type '%s': one that comes as a descriptor has type 'null'",
				types[chr->type]);
	chr->type = CONFIG_CHR_FD;
	return PVV_OK;
}

static bool port_taken(const struct config *cfg, uint32_t port)
{
	for (size_t i = 0; i < cfg->nr_consoles; i++)
		if (cfg->consoles[i].port == port)
			return true;
	return false;
}

int console_parse(struct xml_ctx *ctx, struct tree_node *node, struct config *cfg)
{
	struct config_problem problem;
	struct config_console *console;
	struct tree_node *target;
	uint32_t port = 0;
	char key[16];

	/* The lowest free port, unless it says otherwise. */
	while (port_taken(cfg, port))
		port++;
	XML_CHECK(config_add_console(cfg, &console));
	XML_CHECK(parse_chr(ctx, node, &console->chr));
	XML_CHECK(xml_child(ctx, node, "target", &target));
	if (target) {
		XML_CHECK(check_target_type(ctx, node, target));
		XML_CHECK(xml_attr_u32(ctx, target, "port", &port));
	}
	console->port = port;
	snprintf(key, sizeof(key), "%u", port);
	XML_CHECK(claim(ctx, node, key, &console->chr));
	if (!config_check_console(cfg, cfg->nr_consoles - 1, &problem))
		return xml_fail_problem(ctx, node, &problem);
	return PVV_OK;
}

int channel_parse(struct xml_ctx *ctx, struct tree_node *node, struct config *cfg)
{
	struct config_problem problem;
	struct config_channel *channel;
	struct tree_node *target;

	XML_CHECK(config_add_channel(cfg, &channel));
	XML_CHECK(parse_chr(ctx, node, &channel->chr));
	XML_CHECK(xml_child(ctx, node, "target", &target));
	if (!target)
		return xml_fail(ctx, PVV_EXML, node, NULL, "lacks <target>");
	XML_CHECK(check_target_type(ctx, node, target));
	XML_CHECK(xml_attr_string(ctx, target, "name", &channel->name));
	if (channel->name)
		XML_CHECK(claim(ctx, node, channel->name, &channel->chr));
	if (!config_check_channel(cfg, cfg->nr_channels - 1, &problem))
		return xml_fail_problem(ctx, node, &problem);
	return PVV_OK;
}

static void put_chr(struct xml_out *out, const struct config_chr *chr)
{
	bool tcp = chr->type == CONFIG_CHR_TCP;

	if (chr->type == CONFIG_CHR_FILE || chr->type == CONFIG_CHR_UNIX || tcp) {
		xml_out_start(out, "source");
		if (chr->type != CONFIG_CHR_FILE)
			xml_out_attr(out, "mode", modes[chr->listen]);
		xml_out_attr(out, "path", chr->path);
		xml_out_attr(out, "host", chr->host);
		xml_out_attr(out, "service", chr->service);
		xml_out_attr_onoff(out, "append", chr->append);
		xml_out_end(out);
	}
	if (tcp) {
		xml_out_start(out, "protocol");
		xml_out_attr(out, "type", protocols[chr->telnet]);
		xml_out_end(out);
	}
	if (chr->log_file) {
		xml_out_start(out, "log");
		xml_out_attr(out, "file", chr->log_file);
		xml_out_attr_onoff(out, "append", chr->log_append);
		xml_out_end(out);
	}
}

static const char *type_name(const struct config_chr *chr)
{
	return types[chr->type == CONFIG_CHR_FD ? CONFIG_CHR_NULL : chr->type];
}

/* The element but for its target, of which the start is written. */
static void start_of(struct xml_out *out, const char *element, const struct config_chr *chr)
{
	xml_out_start(out, element);
	xml_out_attr(out, "type", type_name(chr));
	put_chr(out, chr);
	xml_out_start(out, "target");
	xml_out_attr(out, "type", "xen");
}

void console_format(struct xml_out *out, const struct config_console *console)
{
	start_of(out, "console", &console->chr);
	xml_out_attr_number(out, "port", console->port);
	xml_out_end(out);
	xml_out_end(out);
}

void channel_format(struct xml_out *out, const struct config_channel *channel)
{
	start_of(out, "channel", &channel->chr);
	xml_out_attr(out, "name", channel->name);
	xml_out_end(out);
	xml_out_end(out);
}
