/* SPDX-License-Identifier: MIT */
#include "io/net/vif.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/err.h"

#define REPORT_INTERVAL_NS 1000000000u

static void free_vif(struct net_vif *vif)
{
	net_link_free(vif->link);
	free((void *)(uintptr_t)vif->params.bridge);
	free((void *)(uintptr_t)vif->params.script);
	free(vif->queues);
	free(vif);
}

/* The strings of the parameters are the vif's from here on. */
static bool copy_params(struct net_vif *vif, const struct net_vif_params *params)
{
	vif->params = *params;
	vif->params.bridge = params->bridge ? strdup(params->bridge) : NULL;
	vif->params.script = params->script ? strdup(params->script) : NULL;
	return (!params->bridge || vif->params.bridge) && (!params->script || vif->params.script);
}

static struct net_vif *make_vif(struct io_guest *guest, struct net_link *link,
				const struct net_vif_params *params)
{
	struct net_vif *vif = calloc(1, sizeof(*vif));

	if (!vif) {
		net_link_free(link);
		return NULL;
	}
	vif->guest = guest;
	vif->link = link;
	vif->domid = io_guest_domid(guest);
	vif->max_queues = link->max_queues;
	if (params->max_queues && params->max_queues < vif->max_queues)
		vif->max_queues = params->max_queues;
	assert(vif->max_queues && vif->max_queues <= NET_MAX_QUEUES);
	vif->queues = calloc(vif->max_queues, sizeof(*vif->queues));
	if (!copy_params(vif, params) || !vif->queues) {
		free_vif(vif);
		return NULL;
	}
	for (unsigned int i = 0; i < vif->max_queues; i++) {
		vif->queues[i].vif = vif;
		vif->queues[i].index = i;
	}
	snprintf(vif->front, sizeof(vif->front), "/local/domain/%u/device/vif/%u", vif->domid,
		 params->handle);
	snprintf(vif->back, sizeof(vif->back), "/local/domain/0/backend/vif/%u/%u", vif->domid,
		 params->handle);
	return vif;
}

int net_vif_new(struct io_loop *loop, struct io_guest *guest, struct xs_store *store,
		struct net_link *link, const struct net_vif_params *params,
		const struct net_events *events, struct net_vif **ret_vif)
{
	struct net_vif *vif = make_vif(guest, link, params);

	*ret_vif = NULL;
	if (!vif)
		return err_nomem(PVV_SUBSYS_NET, "making a network interface");
	vif->loop = loop;
	vif->store = store;
	if (events)
		vif->events = *events;
	/* Nobody listens before the guest does. */
	link->ops->configure(link, 0, &(struct net_offload){0});
	int r = net_xenbus_init(vif);
	if (r < 0) {
		free_vif(vif);
		return r;
	}
	*ret_vif = vif;
	return PVV_OK;
}

void net_vif_free(struct net_vif *vif)
{
	if (!vif)
		return;
	vif->events.connected = NULL;
	net_disconnect(vif);
	net_xenbus_fini(vif);
	free_vif(vif);
}

/* --- reports and numbers ---------------------------------------------------------------------- */

void net_stat_add(uint64_t *counter, uint64_t n)
{
	/* One writer: no need for an atomic addition. */
	__atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

void net_vif_stats(const struct net_vif *vif, struct net_stats *ret_stats)
{
	const uint64_t *from = (const uint64_t *)&vif->stats;
	uint64_t *to = (uint64_t *)ret_stats;

	_Static_assert(sizeof(*ret_stats) % sizeof(uint64_t) == 0, "all counters are 64 bits");
	for (size_t i = 0; i < sizeof(*ret_stats) / sizeof(uint64_t); i++)
		to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
}

void net_report_guest_error(struct net_vif *vif, const char *why)
{
	uint64_t now = io_now_ns();

	if (!vif->events.guest_error || now < vif->next_guest_report_ns)
		return;
	vif->next_guest_report_ns = now + REPORT_INTERVAL_NS;
	vif->events.guest_error(vif->events.opaque, vif->params.handle, why);
}

void net_link_free(struct net_link *link)
{
	if (link)
		link->ops->free(link);
}

const char *net_link_name(const struct net_link *link)
{
	return link->name;
}

int net_link_check(struct net_link *link)
{
	const char *why = link->ops->why ? link->ops->why(link) : NULL;

	return why ? err_set(PVV_EIO, PVV_SUBSYS_NET, link->name, "%s: %s", link->name, why)
		   : PVV_OK;
}
