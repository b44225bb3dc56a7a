/* SPDX-License-Identifier: MIT */
/* The network interfaces of an incarnation: from the configuration to links and back ends. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "domain/run.h"
#include "util/strbuf.h"

/* ---- the words passt has for forwarded ports ---- */

static void put_range(struct strbuf *sb, const struct config_port_range *r, bool first)
{
	strbuf_printf(sb, "%s%s%u", first ? "" : ",", r->exclude ? "~" : "", r->start);
	if (r->end != r->start)
		strbuf_printf(sb, "-%u", r->end);
	if (!r->to)
		return;
	strbuf_printf(sb, ":%u", r->to);
	if (r->end != r->start)
		strbuf_printf(sb, "-%u", r->to + (r->end - r->start));
}

/* "127.0.0.1%eth0/8080-8090:80-90,~8085"; malloc'ed, NULL if out of memory. */
static char *forward_words(const struct config_forward *f)
{
	struct strbuf sb = STRBUF_INIT;

	if (f->address)
		strbuf_printf(&sb, "%s", f->address);
	if (f->dev)
		strbuf_printf(&sb, "%%%s", f->dev);
	if (f->address || f->dev)
		strbuf_printf(&sb, "/");
	for (size_t i = 0; i < f->nr_ranges; i++)
		put_range(&sb, &f->ranges[i], i == 0);
	if (!f->nr_ranges)
		strbuf_printf(&sb, "all");
	return strbuf_take(&sb);
}

static char **make_forwards(const struct config_interface *ci)
{
	char **words = calloc(ci->nr_forwards * 2 + 1, sizeof(*words));

	for (size_t i = 0; words && i < ci->nr_forwards; i++) {
		words[i * 2] = strdup(ci->forwards[i].udp ? "-u" : "-t");
		words[i * 2 + 1] = forward_words(&ci->forwards[i]);
	}
	return words;
}

static bool complete(char *const *words, size_t n)
{
	for (size_t i = 0; words && i < n; i++)
		if (!words[i])
			return false;
	return words != NULL;
}

static void free_words(char **words, size_t n)
{
	for (size_t i = 0; words && i < n; i++)
		free(words[i]);
	free(words);
}

/* ---- opening ---- */

static int open_user(const struct run *r, const struct config_interface *ci,
		     struct net_link **ret_link)
{
	size_t nr_words = ci->nr_forwards * 2;
	char **words = make_forwards(ci);
	struct net_ip *ips = calloc(ci->nr_ips + 1, sizeof(*ips));
	int ret = PVV_ENOMEM;

	for (size_t i = 0; ips && i < ci->nr_ips; i++) {
		ips[i].family = ci->ips[i].family;
		memcpy(ips[i].addr, ci->ips[i].addr, sizeof(ips[i].addr));
		ips[i].prefix = ci->ips[i].has_prefix ? ci->ips[i].prefix : -1;
	}
	if (ips && complete(words, nr_words)) {
		struct net_user_params p = {
			.object = r->d->name,
			.host_dev = ci->source,
			.log_file = ci->log_file,
			.mtu = ci->mtu,
			.mac = ci->mac,
			.ips = ips,
			.nr_ips = ci->nr_ips,
			.forwards = (const char *const *)words,
			.nr_forwards = nr_words,
		};
		ret = net_link_open_user(&p, ret_link);
	} else {
		ret = err_nomem(PVV_SUBSYS_NET, "starting passt");
	}
	free_words(words, nr_words);
	free(ips);
	return ret;
}

static int open_tap(const struct run *r, const struct config_interface *ci,
		    struct net_link **ret_link)
{
	const struct config *cfg = r->d->cfg;
	struct net_tap_params p = {
		.object = r->d->name,
		.name = ci->target,
		.bridge = ci->type == CONFIG_NET_BRIDGE ? ci->source : NULL,
		.must_exist = ci->managed == CONFIG_OFF,
		.mtu = ci->mtu,
		/* All queues are served by one thread: more do not help. */
		.max_queues = cfg->vcpus < 4 ? cfg->vcpus : 4,
		.mac = ci->mac,
	};

	return net_link_open_tap(&p, ret_link);
}

int run_open_nets(struct run *r)
{
	const struct config *cfg = r->d->cfg;

	r->nets = calloc(cfg->nr_interfaces ? cfg->nr_interfaces : 1, sizeof(*r->nets));
	if (!r->nets)
		return err_nomem(PVV_SUBSYS_DOMAIN, "starting a domain");
	r->nr_nets = cfg->nr_interfaces;
	for (size_t i = 0; i < cfg->nr_interfaces; i++) {
		const struct config_interface *ci = &cfg->interfaces[i];
		struct run_net *net = &r->nets[i];
		int ret;

		net->run = r;
		if (ci->fd >= 0)
			ret = net_link_open_fd(r->d->name, ci->fd, &net->link);
		else if (ci->type == CONFIG_NET_USER)
			ret = open_user(r, ci, &net->link);
		else
			ret = open_tap(r, ci, &net->link);
		if (ret < 0)
			return ret;
		snprintf(net->name, sizeof(net->name), "%s", net_link_name(net->link));
	}
	return 0;
}

void run_free_nets(struct run *r)
{
	for (size_t i = 0; i < r->nr_nets; i++)
		net_link_free(r->nets[i].link);
	free(r->nets);
}

/* ---- what happens on an interface ---- */

static void on_link_error(void *opaque, unsigned int handle, const char *why)
{
	struct run_net *net = opaque;
	char text[640];

	snprintf(text, sizeof(text), "interface %u (%s) is lost: %s", handle, net->name, why);
	domain_post(net->run->d, PVV_EVENT_IO_ERROR, 0, text);
	log_post(&net->run->h->events, PVV_LOG_ERROR, net->run->d->name, "%s", text);
}

static void on_guest_error(void *opaque, unsigned int handle, const char *why)
{
	struct run_net *net = opaque;

	log_post(&net->run->h->events, PVV_LOG_WARNING, net->run->d->name,
		 "interface %u disconnected: %s", handle, why);
}

static void on_connected(void *opaque, unsigned int handle, bool connected)
{
	struct run_net *net = opaque;

	log_post(&net->run->h->events, PVV_LOG_DEBUG, net->run->d->name, "interface %u %s", handle,
		 connected ? "connected" : "disconnected");
}

int run_attach_nets(struct run *r)
{
	for (size_t i = 0; i < r->nr_nets; i++) {
		const struct config_interface *ci = &r->d->cfg->interfaces[i];
		struct run_net *net = &r->nets[i];
		struct net_link *link = net->link;
		struct net_vif_params p = {
			.handle = (unsigned int)i,
			.mtu = ci->mtu,
			.bridge = ci->type == CONFIG_NET_BRIDGE ? ci->source : NULL,
			.script = ci->script,
			.link_down = ci->link == CONFIG_OFF,
		};
		struct net_events events = {
			.link_error = on_link_error,
			.guest_error = on_guest_error,
			.connected = on_connected,
			.opaque = net,
		};

		memcpy(p.mac, ci->mac, sizeof(p.mac));
		/* passt has had the time since it was started to find its arguments wrong. */
		int ret = net_link_check(link);
		if (ret < 0)
			return ret;
		net->link = NULL;
		ret = net_vif_new(r->h->loop, r->guest, r->h->store, link, &p, &events, &net->vif);
		if (ret < 0)
			return ret;
	}
	return 0;
}

void run_detach_nets(struct run *r)
{
	for (size_t i = 0; i < r->nr_nets; i++) {
		net_vif_free(r->nets[i].vif);
		r->nets[i].vif = NULL;
	}
}

/* ---- counters ---- */

void run_refresh_nets(struct run *r)
{
	for (size_t i = 0; i < r->nr_nets; i++) {
		struct net_stats n;
		pvv_interface_stats *p = &r->d->nets[i].stats;

		if (!r->nets[i].vif)
			continue;
		net_vif_stats(r->nets[i].vif, &n);
		*p = (pvv_interface_stats){
			.size = sizeof(*p),
			.rx_bytes = n.rx_bytes,
			.rx_packets = n.rx_packets,
			.rx_errors = n.rx_errors,
			.rx_dropped = n.rx_dropped,
			.tx_bytes = n.tx_bytes,
			.tx_packets = n.tx_packets,
			.tx_errors = n.tx_errors,
			.tx_dropped = n.tx_dropped,
		};
	}
}

int domain_make_net_counters(struct pvv_domain *d)
{
	const struct config *cfg = d->cfg;

	d->nr_nets = (unsigned int)cfg->nr_interfaces;
	d->nets = calloc(d->nr_nets ? d->nr_nets : 1, sizeof(*d->nets));
	if (!d->nets)
		return err_nomem(PVV_SUBSYS_DOMAIN, "making a domain");
	for (unsigned int i = 0; i < d->nr_nets; i++) {
		config_mac_format(cfg->interfaces[i].mac, d->nets[i].mac);
		if (cfg->interfaces[i].target)
			snprintf(d->nets[i].target, sizeof(d->nets[i].target), "%s",
				 cfg->interfaces[i].target);
	}
	return 0;
}
