/* SPDX-License-Identifier: MIT */
#ifndef PVV_CLI_NET_H
#define PVV_CLI_NET_H

#include <stdio.h>

#include <pvvirt/pvvirt.h>

#define NET_MAX	     16
#define NET_FORWARDS 64

struct net_args {
	pvv_interface_options net[NET_MAX];
	pvv_forward_options forward[NET_MAX][NET_FORWARDS];
	size_t nr;
};

/*
 * user[,tcp:[ADDRESS:]PORT[-END][:TO]]... | tap=NAME | bridge=NAME | fd=N, each also with mac=MAC,
 * mtu=N, target=NAME. Keeps pointers into `text`, which it cuts. 0 or CLI_USAGE.
 */
int net_parse_arg(struct net_args *a, char *text);
/* One line for each interface of the domain. */
void net_print_stats(FILE *f, pvv_domain *domain);

#endif
