/* SPDX-License-Identifier: MIT */
/* `pvvirt run --net`. */
#include "cli/net.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

static bool parse_uint(const char *text, uint32_t max, uint32_t *ret)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || n > max)
		return false;
	*ret = (uint32_t)n;
	return true;
}

/* PORT[-END] */
static bool parse_ports(char *text, pvv_forward_options *f)
{
	char *dash = strchr(text, '-');

	if (dash)
		*dash++ = '\0';
	return parse_uint(text, 65535, &f->start) && f->start &&
	       (!dash || (parse_uint(dash, 65535, &f->end) && f->end >= f->start));
}

/* [ADDRESS:]PORT[-END][:TO]; an IPv6 address stands in brackets. */
static bool parse_forward(char *text, pvv_forward_options *f)
{
	char *ports = text, *to;

	if (*text == '[') {
		char *end = strstr(text, "]:");

		if (!end)
			return false;
		*end = '\0';
		f->address = text + 1;
		ports = end + 2;
	} else if (strchr(text, '.')) {
		ports = strchr(text, ':');
		if (!ports)
			return false;
		*ports++ = '\0';
		f->address = text;
	}
	to = strchr(ports, ':');
	if (to)
		*to++ = '\0';
	return parse_ports(ports, f) && (!to || (parse_uint(to, 65535, &f->to) && f->to));
}

static int add_forward(struct net_args *a, pvv_interface_options *net, char *text)
{
	pvv_forward_options *f = &a->forward[a->nr][net->nr_forwards];

	if (net->nr_forwards == NET_FORWARDS)
		return cli_usage("run", "at most %d forwards are possible", NET_FORWARDS);
	*f = (pvv_forward_options)PVV_FORWARD_OPTIONS_INIT;
	f->udp = text[0] == 'u';
	if (!parse_forward(text + 4, f))
		return cli_usage("run", "--net: a forward is tcp:[ADDRESS:]PORT[-END][:TO]");
	net->nr_forwards++;
	net->forwards = a->forward[a->nr];
	return 0;
}

static int add_word(struct net_args *a, pvv_interface_options *net, char *word, bool first)
{
	char *value = strchr(word, '=');
	uint32_t fd;

	if (!strncmp(word, "tcp:", 4) || !strncmp(word, "udp:", 4))
		return add_forward(a, net, word);
	if (value)
		*value++ = '\0';
	if (first && !strcmp(word, "user") && !value)
		return 0;
	if (first && !strcmp(word, "tap") && value) {
		net->type = PVV_INTERFACE_TAP;
		net->target = value;
		return 0;
	}
	if (first && !strcmp(word, "bridge") && value) {
		net->type = PVV_INTERFACE_BRIDGE;
		net->bridge = value;
		return 0;
	}
	if (first && !strcmp(word, "fd") && value && parse_uint(value, INT32_MAX, &fd)) {
		net->type = PVV_INTERFACE_TAP;
		net->fd = (int)fd;
		return 0;
	}
	if (!first && !strcmp(word, "mac") && value) {
		net->mac = value;
		return 0;
	}
	if (!first && !strcmp(word, "target") && value) {
		net->target = value;
		return 0;
	}
	if (!first && !strcmp(word, "existing") && !value) {
		net->existing = 1;
		return 0;
	}
	if (!first && !strcmp(word, "mtu") && value && parse_uint(value, 65535, &net->mtu))
		return 0;
	return cli_usage("run", "--net: '%s' is not understood", word);
}

int net_parse_arg(struct net_args *a, char *text)
{
	pvv_interface_options net = PVV_INTERFACE_OPTIONS_INIT;
	char *save, *word = strtok_r(text, ",", &save);

	if (a->nr == NET_MAX)
		return cli_usage("run", "at most %d interfaces are possible", NET_MAX);
	if (!word)
		return cli_usage("run", "--net needs user, tap=NAME, bridge=NAME or fd=N");
	for (bool first = true; word; word = strtok_r(NULL, ",", &save), first = false) {
		int ret = add_word(a, &net, word, first);

		if (ret)
			return ret;
	}
	a->net[a->nr++] = net;
	return 0;
}

void net_print_stats(FILE *f, pvv_domain *domain)
{
	for (unsigned int i = 0;; i++) {
		pvv_interface_stats s = {.size = sizeof(s)};
		char name[16];

		snprintf(name, sizeof(name), "%u", i);
		if (pvv_domain_get_interface_stats(domain, name, 0, &s) < 0)
			return;
		fprintf(f,
			"interface %-5u %" PRIu64 " packets (%" PRIu64 " bytes) received, %" PRIu64
			" (%" PRIu64 ") sent, %" PRIu64 " errors, %" PRIu64 " dropped\n",
			i, s.rx_packets, s.rx_bytes, s.tx_packets, s.tx_bytes,
			s.rx_errors + s.tx_errors, s.rx_dropped + s.tx_dropped);
	}
}
