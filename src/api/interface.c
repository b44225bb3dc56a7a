/* SPDX-License-Identifier: MIT */
/* Network interfaces of the options record. */
#include "api/interface.h"

#include <arpa/inet.h>
#include <string.h>

#include "api/check.h"
#include "api/record.h"

#define FN "pvv_domain_create"

static int take_forward(struct config_interface *ci, const pvv_forward_options *f, size_t index)
{
	struct config_port_range *range;
	struct config_forward *fwd;
	char text[INET6_ADDRSTRLEN];
	uint8_t addr[16];
	int ret;

	if (f->udp > 1 || !f->start || f->start > 65535 || f->end > 65535 || f->to > 65535)
		return API_EINVAL(FN ": forwards[%zu] is not a range of ports", index);
	ret = config_add_forward(ci, &fwd);
	if (!ret)
		ret = config_add_port_range(fwd, &range);
	if (ret < 0)
		return ret;
	fwd->udp = f->udp;
	range->start = (uint16_t)f->start;
	range->end = (uint16_t)(f->end ? f->end : f->start);
	range->to = (uint16_t)f->to;
	if (!f->address)
		return 0;
	int family = strchr(f->address, ':') ? AF_INET6 : AF_INET;
	if (inet_pton(family, f->address, addr) != 1)
		return API_EINVAL(FN ": forwards[%zu]: '%s' is not an IP address", index,
				  f->address);
	return config_set_string(&fwd->address, inet_ntop(family, addr, text, sizeof(text)));
}

static int take_forwards(struct config_interface *ci, const pvv_interface_options *o)
{
	for (size_t i = 0; i < o->nr_forwards; i++) {
		pvv_forward_options f = PVV_FORWARD_OPTIONS_INIT;
		int ret = record_take_at(&f, sizeof(f), o->forwards, o->forward_stride, i, FN);

		if (!ret)
			ret = take_forward(ci, &f, i);
		if (ret < 0)
			return ret;
	}
	return 0;
}

static int take_interface(struct config *cfg, const pvv_interface_options *o, size_t index)
{
	static const enum config_net_type types[] = {
		[PVV_INTERFACE_USER] = CONFIG_NET_USER,
		[PVV_INTERFACE_TAP] = CONFIG_NET_ETHERNET,
		[PVV_INTERFACE_BRIDGE] = CONFIG_NET_BRIDGE,
	};
	struct config_interface *ci;
	int ret = config_add_interface(cfg, &ci);

	if (ret < 0)
		return ret;
	if (o->type > PVV_INTERFACE_BRIDGE)
		return API_EINVAL(FN ": interfaces[%zu]: %u is not an interface type (0 to 2)",
				  index, o->type);
	if (o->nr_forwards > 64 || (o->nr_forwards && !o->forwards))
		return API_EINVAL(FN ": interfaces[%zu]: nr_forwards is %zu; 0 to 64 are possible, "
				     "with forwards set",
				  index, o->nr_forwards);
	if (o->mac && !config_mac_parse(o->mac, ci->mac))
		return API_EINVAL(FN ": interfaces[%zu]: '%s' is not a MAC address", index, o->mac);
	if (o->bridge && o->type != PVV_INTERFACE_BRIDGE)
		return API_EINVAL(FN ": interfaces[%zu]: a bridge needs PVV_INTERFACE_BRIDGE",
				  index);
	ci->has_mac = o->mac != NULL;
	ci->type = types[o->type];
	ci->mtu = o->mtu;
	ci->managed = o->existing ? CONFIG_OFF : CONFIG_UNSET;
	ret = config_set_string(&ci->target, o->target);
	if (!ret)
		ret = config_set_string(&ci->source, o->bridge);
	if (!ret && o->fd >= 0)
		ret = config_set_fd(&ci->fd, o->fd);
	return ret < 0 ? ret : take_forwards(ci, o);
}

int take_interfaces(struct config *cfg, const pvv_domain_options *o)
{
	if (o->nr_interfaces > 64 || (o->nr_interfaces && !o->interfaces))
		return API_EINVAL(
			FN ": nr_interfaces is %zu; 0 to 64 are possible, with interfaces set",
			o->nr_interfaces);
	for (size_t i = 0; i < o->nr_interfaces; i++) {
		pvv_interface_options net = PVV_INTERFACE_OPTIONS_INIT;
		int ret = record_take_at(&net, sizeof(net), o->interfaces, o->interface_stride, i,
					 FN);

		if (!ret)
			ret = take_interface(cfg, &net, i);
		if (ret < 0)
			return ret;
	}
	return 0;
}
