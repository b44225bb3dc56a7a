/* SPDX-License-Identifier: MIT */
/* interface. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "util/err.h"
#include "xml/out.h"
#include "xml/parse.h"

static const char *const types[] = {"bridge", "ethernet", "user", NULL};
static const char *const families[] = {"ipv4", "ipv6", NULL};
static const char *const protos[] = {"tcp", "udp", NULL};
static const char *const states[] = {"up", "down", NULL};

static int parse_address(struct xml_ctx *ctx, struct tree_node *node, const char *name,
			 uint8_t *ret_family, uint8_t ret_addr[16])
{
	const char *text;

	XML_CHECK(xml_need_attr(ctx, node, name, &text));
	memset(ret_addr, 0, 16);
	if (inet_pton(AF_INET, text, ret_addr) == 1)
		*ret_family = 4;
	else if (inet_pton(AF_INET6, text, ret_addr) == 1)
		*ret_family = 6;
	else
		return xml_fail(ctx, PVV_EXML, node, xml_attr_pos(node, name),
				"%s '%s' is not an IP address", name, text);
	return PVV_OK;
}

static int parse_ip(struct xml_ctx *ctx, struct tree_node *node, struct config_interface *net)
{
	struct config_ip *ip;
	uint64_t prefix = 0;
	uint8_t peer_family;
	unsigned int family;

	XML_CHECK(config_add_ip(net, &ip));
	XML_CHECK(parse_address(ctx, node, "address", &ip->family, ip->addr));
	family = ip->family == 6;
	XML_CHECK(xml_attr_enum(ctx, node, "family", families, &family));
	if (family != (ip->family == 6))
		return xml_fail(ctx, PVV_EXML, node, xml_attr_pos(node, "family"),
				"family '%s' does not fit the address '%s'", families[family],
				xml_attr(node, "address"));
	XML_CHECK(xml_attr_number(ctx, node, "prefix", ip->family == 4 ? 32 : 128, &prefix,
				  &ip->has_prefix));
	ip->prefix = (uint8_t)prefix;
	if (!xml_attr(node, "peer"))
		return PVV_OK;
	ip->has_peer = true;
	XML_CHECK(parse_address(ctx, node, "peer", &peer_family, ip->peer));
	if (peer_family != ip->family)
		return xml_fail(ctx, PVV_EXML, node, xml_attr_pos(node, "peer"),
				"peer '%s' is of another family than the address",
				xml_attr(node, "peer"));
	return PVV_OK;
}

static int parse_port(struct xml_ctx *ctx, struct tree_node *node, const char *name,
		      uint16_t *field, bool *ret_present)
{
	uint64_t port = 0;

	XML_CHECK(xml_attr_number(ctx, node, name, 65535, &port, ret_present));
	if (*ret_present && !port)
		return xml_fail(ctx, PVV_EXML, node, xml_attr_pos(node, name), "%s is 0", name);
	if (*ret_present)
		*field = (uint16_t)port;
	return PVV_OK;
}

static int parse_range(struct xml_ctx *ctx, struct tree_node *node, struct config_forward *fwd)
{
	struct config_port_range *range;
	const char *text;
	bool present;

	XML_CHECK(config_add_port_range(fwd, &range));
	XML_CHECK(xml_need_attr(ctx, node, "start", &text));
	XML_CHECK(parse_port(ctx, node, "start", &range->start, &present));
	XML_CHECK(parse_port(ctx, node, "end", &range->end, &present));
	if (!present)
		range->end = range->start;
	XML_CHECK(parse_port(ctx, node, "to", &range->to, &present));
	return xml_attr_yesno(ctx, node, "exclude", &range->exclude);
}

static int parse_forward(struct xml_ctx *ctx, struct tree_node *node, struct config_interface *net)
{
	struct config_forward *fwd;
	unsigned int proto = 0;
	const char *text;
	uint8_t family, addr[16];
	char canonical[INET6_ADDRSTRLEN];

	XML_CHECK(config_add_forward(net, &fwd));
	XML_CHECK(xml_need_attr(ctx, node, "proto", &text));
	XML_CHECK(xml_attr_enum(ctx, node, "proto", protos, &proto));
	fwd->udp = proto;
	if (xml_attr(node, "address")) {
		XML_CHECK(parse_address(ctx, node, "address", &family, addr));
		inet_ntop(family == 4 ? AF_INET : AF_INET6, addr, canonical, sizeof(canonical));
		XML_CHECK(config_set_string(&fwd->address, canonical));
	}
	XML_CHECK(xml_attr_string(ctx, node, "dev", &fwd->dev));
	for (struct tree_node *c = NULL; (c = xml_next(node, "range", c));)
		XML_CHECK(parse_range(ctx, c, fwd));
	return PVV_OK;
}

static int parse_mac(struct xml_ctx *ctx, struct tree_node *node, struct config_interface *net)
{
	struct tree_node *mac;
	const char *text;

	XML_CHECK(xml_child(ctx, node, "mac", &mac));
	if (!mac)
		return PVV_OK;
	XML_CHECK(xml_need_attr(ctx, mac, "address", &text));
	if (!config_mac_parse(text, net->mac))
		return xml_fail(ctx, PVV_EXML, node, xml_attr_pos(mac, "address"),
				"mac '%s' is not a MAC address", text);
	net->has_mac = true;
	return PVV_OK;
}

static int parse_source(struct xml_ctx *ctx, struct tree_node *node, struct config_interface *net)
{
	struct tree_node *source;

	XML_CHECK(xml_child(ctx, node, "source", &source));
	if (!source)
		return PVV_OK;
	if (net->type == CONFIG_NET_BRIDGE)
		return xml_attr_string(ctx, source, "bridge", &net->source);
	if (net->type == CONFIG_NET_USER)
		return xml_attr_string(ctx, source, "dev", &net->source);
	return PVV_OK;
}

static int parse_target(struct xml_ctx *ctx, struct tree_node *node, struct config_interface *net)
{
	static const char *const names[] = {"yes", "no", NULL};
	struct tree_node *target;
	unsigned int value = 0;
	const char *text;

	XML_CHECK(xml_child(ctx, node, "target", &target));
	if (!target)
		return PVV_OK;
	XML_CHECK(xml_need_attr(ctx, target, "dev", &text));
	XML_CHECK(config_set_string(&net->target, text));
	if (net->type != CONFIG_NET_ETHERNET || !xml_attr(target, "managed"))
		return PVV_OK;
	XML_CHECK(xml_attr_enum(ctx, target, "managed", names, &value));
	net->managed = value ? CONFIG_OFF : CONFIG_ON;
	return PVV_OK;
}

static int warn_about(struct xml_ctx *ctx, struct tree_node *node,
		      const struct config_interface *net)
{
	struct tree_node *script, *child;

	XML_CHECK(xml_child(ctx, node, "script", &script));
	if (script)
		xml_kept(ctx, script,
			 "no programs are run; a tap device is made, brought up and "
			 "attached to its bridge");
	child = net->type == CONFIG_NET_USER ? NULL : xml_next(node, "ip", NULL);
	if (child)
		xml_kept(ctx, child, "only user networking can tell the guest its addresses");
	return PVV_OK;
}

/* The attribute of a child that has just that. */
static int parse_simple(struct xml_ctx *ctx, struct tree_node *node, const char *name,
			const char *attr, char **field)
{
	struct tree_node *child;
	const char *text;

	XML_CHECK(xml_child(ctx, node, name, &child));
	if (!child)
		return PVV_OK;
	XML_CHECK(xml_need_attr(ctx, child, attr, &text));
	return config_set_string(field, text);
}

static int parse_model(struct xml_ctx *ctx, struct tree_node *node, struct config_interface *net)
{
	struct tree_node *model;
	const char *type;

	XML_CHECK(xml_child(ctx, node, "model", &model));
	if (!model)
		return PVV_OK;
	XML_CHECK(xml_need_attr(ctx, model, "type", &type));
	if (strcmp(type, "netfront") == 0)
		return config_set_string(&net->model, type);
	xml_warn(ctx, model, xml_attr_pos(model, "type"),
		 "type '%s' is ignored (a PV domain has netfront)", type);
	return PVV_OK;
}

static int parse_options(struct xml_ctx *ctx, struct tree_node *node, struct config_interface *net)
{
	static const char *const backends[] = {"passt", NULL};
	struct tree_node *child;
	unsigned int value = 0;
	const char *text;

	XML_CHECK(xml_child(ctx, node, "link", &child));
	if (child) {
		XML_CHECK(xml_need_attr(ctx, child, "state", &text));
		XML_CHECK(xml_attr_enum(ctx, child, "state", states, &value));
		net->link = value ? CONFIG_OFF : CONFIG_ON;
	}
	XML_CHECK(xml_child(ctx, node, "mtu", &child));
	if (child) {
		XML_CHECK(xml_need_attr(ctx, child, "size", &text));
		XML_CHECK(xml_attr_u32(ctx, child, "size", &net->mtu));
		if (!net->mtu)
			return xml_fail(ctx, PVV_EXML, child, NULL, "size is 0");
	}
	if (net->type != CONFIG_NET_USER)
		return PVV_OK;
	XML_CHECK(xml_child(ctx, node, "backend", &child));
	if (!child)
		return PVV_OK;
	net->passt = xml_attr(child, "type");
	XML_CHECK(xml_attr_enum(ctx, child, "type", backends, &value));
	return xml_attr_string(ctx, child, "logFile", &net->log_file);
}

int interface_parse(struct xml_ctx *ctx, struct tree_node *node, struct config *cfg)
{
	struct config_problem problem;
	struct config_interface *net;
	struct tree_node *child;
	unsigned int value = 0;
	const char *text;
	char index[16];

	XML_CHECK(config_add_interface(cfg, &net));
	snprintf(index, sizeof(index), "%zu", cfg->nr_interfaces - 1);
	pvvirt_claim(ctx, "interface", index, &net->fd);
	XML_CHECK(xml_need_attr(ctx, node, "type", &text));
	XML_CHECK(xml_attr_enum(ctx, node, "type", types, &value));
	net->type = (enum config_net_type)value;
	XML_CHECK(parse_mac(ctx, node, net));
	XML_CHECK(parse_source(ctx, node, net));
	XML_CHECK(parse_target(ctx, node, net));
	XML_CHECK(parse_simple(ctx, node, "script", "path", &net->script));
	XML_CHECK(parse_model(ctx, node, net));
	XML_CHECK(parse_options(ctx, node, net));
	for (child = NULL; (child = xml_next(node, "ip", child));)
		XML_CHECK(parse_ip(ctx, child, net));
	for (child = NULL; (child = xml_next(node, "portForward", child));)
		XML_CHECK(parse_forward(ctx, child, net));
	XML_CHECK(xml_child(ctx, node, "backenddomain", &child));
	if (child)
		return xml_fail(ctx, PVV_EUNSUPPORTED, child, NULL,
				"is not supported (there are no driver domains)");
	XML_CHECK(warn_about(ctx, node, net));
	if (!config_check_interface(cfg, cfg->nr_interfaces - 1, &problem))
		return xml_fail_problem(ctx, node, &problem);
	return PVV_OK;
}

static void put_ip(struct xml_out *out, const struct config_ip *ip)
{
	int family = ip->family == 4 ? AF_INET : AF_INET6;
	char text[INET6_ADDRSTRLEN];

	xml_out_start(out, "ip");
	xml_out_attr(out, "address", inet_ntop(family, ip->addr, text, sizeof(text)));
	xml_out_attr(out, "family", families[ip->family == 6]);
	if (ip->has_prefix)
		xml_out_attr_number(out, "prefix", ip->prefix);
	if (ip->has_peer)
		xml_out_attr(out, "peer", inet_ntop(family, ip->peer, text, sizeof(text)));
	xml_out_end(out);
}

static void put_forward(struct xml_out *out, const struct config_forward *fwd)
{
	xml_out_start(out, "portForward");
	xml_out_attr(out, "proto", protos[fwd->udp]);
	xml_out_attr(out, "address", fwd->address);
	xml_out_attr(out, "dev", fwd->dev);
	for (size_t i = 0; i < fwd->nr_ranges; i++) {
		const struct config_port_range *range = &fwd->ranges[i];

		xml_out_start(out, "range");
		xml_out_attr_number(out, "start", range->start);
		if (range->end != range->start)
			xml_out_attr_number(out, "end", range->end);
		if (range->to)
			xml_out_attr_number(out, "to", range->to);
		xml_out_attr(out, "exclude", range->exclude ? "yes" : NULL);
		xml_out_end(out);
	}
	xml_out_end(out);
}

static void put_simple(struct xml_out *out, const char *name, const char *attr, const char *value)
{
	if (!value)
		return;
	xml_out_start(out, name);
	xml_out_attr(out, attr, value);
	xml_out_end(out);
}

void interface_format(struct xml_out *out, const struct config_interface *net)
{
	char mac[18];

	xml_out_start(out, "interface");
	xml_out_attr(out, "type", types[net->type]);
	config_mac_format(net->mac, mac);
	put_simple(out, "mac", "address", net->has_mac ? mac : NULL);
	put_simple(out, "source", net->type == CONFIG_NET_BRIDGE ? "bridge" : "dev", net->source);
	for (size_t i = 0; i < net->nr_ips; i++)
		put_ip(out, &net->ips[i]);
	for (size_t i = 0; i < net->nr_forwards; i++)
		put_forward(out, &net->forwards[i]);
	put_simple(out, "script", "path", net->script);
	if (net->target) {
		xml_out_start(out, "target");
		xml_out_attr(out, "dev", net->target);
		if (net->managed)
			xml_out_attr(out, "managed", net->managed == CONFIG_OFF ? "no" : "yes");
		xml_out_end(out);
	}
	put_simple(out, "model", "type", net->model);
	if (net->passt) {
		xml_out_start(out, "backend");
		xml_out_attr(out, "type", "passt");
		xml_out_attr(out, "logFile", net->log_file);
		xml_out_end(out);
	}
	if (net->link)
		put_simple(out, "link", "state", net->link == CONFIG_OFF ? "down" : "up");
	if (net->mtu) {
		xml_out_start(out, "mtu");
		xml_out_attr_number(out, "size", net->mtu);
		xml_out_end(out);
	}
	xml_out_end(out);
}
