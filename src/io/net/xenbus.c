/* SPDX-License-Identifier: MIT */
/*
 * The interface in xenstore. As for disks (io/blk/xenbus.c), the library plays the toolstack and
 * the back end driver, and decides by the two states alone, never by a transition that a watch
 * might have missed. Unlike a disk nothing has to be finished: a disconnection happens at once.
 */
#include "io/net/vif.h"

#include <stdio.h>
#include <string.h>

#include "util/err.h"

/* --- nodes ------------------------------------------------------------------------------------ */

struct node {
	const char *name;
	unsigned int value;
};

static int put_numbers(struct net_vif *vif, const char *dir, const struct node *nodes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int r = xs_put(vif->store, dir, nodes[i].name, "%u", nodes[i].value);
		if (r < 0)
			return r;
	}
	return PVV_OK;
}

#define PUT_NUMBERS(vif, dir, nodes) put_numbers(vif, dir, nodes, sizeof(nodes) / sizeof(nodes[0]))

static int put_mac(struct net_vif *vif, const char *dir)
{
	const uint8_t *m = vif->params.mac;

	return xs_put(vif->store, dir, "mac", "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2],
		      m[3], m[4], m[5]);
}

/* A node that the guest has no business to read: names of the host. */
static int put_private(struct net_vif *vif, const char *name, const char *value)
{
	char path[NET_PATH_MAX + 16];

	if (!value)
		return PVV_OK;
	snprintf(path, sizeof(path), "%s/%s", vif->back, name);
	int r = xs_put(vif->store, vif->back, name, "%s", value);
	return r < 0 ? r : xs_set_perms(vif->store, path, "n0");
}

static int put_front_nodes(struct net_vif *vif)
{
	const struct node front[] = {
		{"backend-id", 0},
		{"handle", vif->params.handle},
		{"state", XenbusStateInitialising},
	};
	int r = xs_mkdir_perms(vif->store, vif->front, "n%u r0", vif->domid);

	if (r == PVV_OK)
		r = xs_put(vif->store, vif->front, "backend", "%s", vif->back);
	if (r == PVV_OK)
		r = put_mac(vif, vif->front);
	if (r == PVV_OK && vif->params.mtu)
		r = xs_put(vif->store, vif->front, "mtu", "%u", vif->params.mtu);
	if (r == PVV_OK)
		r = PUT_NUMBERS(vif, vif->front, front);
	return r;
}

/* What the toolstack writes, and what the back end can do: all of it before InitWait. */
static int put_back_nodes(struct net_vif *vif)
{
	bool offload = vif->link->offload;
	const struct node back[] = {
		{"frontend-id", vif->domid},
		{"online", 1},
		{"handle", vif->params.handle},
		{"state", XenbusStateInitialising},
		{"feature-rx-copy", 1},
		{"feature-rx-flip", 0},
		{"feature-sg", 1},
		{"feature-ipv6-csum-offload", 1},
		{"feature-gso-tcpv4", offload},
		{"feature-gso-tcpv6", offload},
		{"feature-split-event-channels", 1},
		{"feature-multicast-control", 0},
		{"feature-ctrl-ring", 0},
		{"multi-queue-max-queues", vif->max_queues},
		{"carrier", !vif->params.link_down},
	};
	int r = xs_mkdir_perms(vif->store, vif->back, "n0 r%u", vif->domid);

	if (r == PVV_OK)
		r = xs_put(vif->store, vif->back, "frontend", "%s", vif->front);
	if (r == PVV_OK)
		r = xs_put(vif->store, vif->back, "type", "vif");
	if (r == PVV_OK)
		r = put_mac(vif, vif->back);
	if (r == PVV_OK)
		r = put_private(vif, "bridge", vif->params.bridge);
	if (r == PVV_OK)
		r = put_private(vif, "script", vif->params.script);
	if (r == PVV_OK)
		r = put_private(vif, "vifname", vif->link->name);
	if (r == PVV_OK)
		r = PUT_NUMBERS(vif, vif->back, back);
	if (r == PVV_OK)
		r = xs_put(vif->store, vif->back, "hotplug-status", "connected");
	return r;
}

static void error_path(const struct net_vif *vif, char *buf, size_t size)
{
	snprintf(buf, size, "/local/domain/0/error/backend/vif/%u/%u", vif->domid,
		 vif->params.handle);
}

static void set_state(struct net_vif *vif, enum xenbus_state state)
{
	if (vif->state == state)
		return;
	vif->state = state;
	/* Nothing can be done about a full store; the front end will then wait for ever. */
	(void)xs_put(vif->store, vif->back, "state", "%d", (int)state);
}

/* --- following the front end ------------------------------------------------------------------ */

void net_xenbus_fail(struct net_vif *vif, const char *why)
{
	char dir[NET_PATH_MAX];

	error_path(vif, dir, sizeof(dir));
	(void)xs_put(vif->store, dir, "error", "the network front end broke the protocol: %s", why);
	net_report_guest_error(vif, why);
	vif->failed = true;
	net_disconnect(vif);
	set_state(vif, XenbusStateClosing);
}

static void connect_front(struct net_vif *vif, const struct net_transport *t, bool connected)
{
	const char *why = net_connect(vif, t);

	if (why) {
		net_xenbus_fail(vif, why);
		return;
	}
	vif->front_connected = connected;
	set_state(vif, XenbusStateConnected);
	if (vif->events.connected)
		vif->events.connected(vif->events.opaque, vif->params.handle, true);
}

static void on_ready(struct net_vif *vif, bool connected)
{
	struct net_transport t;

	if (vif->failed)
		return;
	const char *why = net_transport_read(vif, &t);
	if (vif->up) {
		/*
		 * Another front end in the place of the one that we are connected with? Then it
		 * did not wait for us and we did not see it begin. Only of its rings can we tell:
		 * one and the same may say more about itself later.
		 */
		bool anew = !connected && vif->front_connected;
		if (!anew && !why)
			anew = vif->transport.nr_queues != t.nr_queues ||
			       memcmp(vif->transport.queue, t.queue, sizeof(t.queue)) != 0;
		if (!anew) {
			vif->front_connected |= connected;
			return;
		}
		net_disconnect(vif);
	}
	if (why)
		net_xenbus_fail(vif, why);
	else
		connect_front(vif, &t, connected);
}

static void on_watch(void *opaque, const char *path)
{
	struct net_vif *vif = opaque;
	uint64_t front;

	if (xs_get_uint(vif->store, vif->front, "state", XenbusStateReconfigured, &front) < 0)
		front = XenbusStateUnknown;
	switch (front) {
	case XenbusStateInitialising:
		net_disconnect(vif);
		vif->failed = false;
		set_state(vif, XenbusStateInitWait);
		break;
	case XenbusStateInitialised:
	case XenbusStateConnected:
		on_ready(vif, front == XenbusStateConnected);
		break;
	case XenbusStateClosing:
		net_disconnect(vif);
		set_state(vif, XenbusStateClosing);
		break;
	case XenbusStateUnknown: /* its directory has gone */
	case XenbusStateClosed:
		net_disconnect(vif);
		vif->failed = false;
		set_state(vif, XenbusStateClosed);
		break;
	default:
		break;
	}
}

/* --- beginning and end ------------------------------------------------------------------------ */

int net_xenbus_init(struct net_vif *vif)
{
	char path[NET_PATH_MAX + 8];

	if (xs_exists(vif->store, vif->back))
		return err_set(PVV_EEXIST, PVV_SUBSYS_NET, io_guest_name(vif->guest),
			       "the domain has an interface %u already", vif->params.handle);
	/* The watch runs once by itself: that takes us to InitWait. */
	vif->state = XenbusStateInitialising;
	int r = put_back_nodes(vif);
	if (r == PVV_OK)
		r = put_front_nodes(vif);
	snprintf(path, sizeof(path), "%s/state", vif->front);
	if (r == PVV_OK)
		r = xs_watch(vif->store, path, on_watch, vif, &vif->watch);
	if (r < 0)
		net_xenbus_fini(vif);
	return r;
}

void net_xenbus_fini(struct net_vif *vif)
{
	char dir[NET_PATH_MAX];

	if (vif->watch)
		xs_unwatch(vif->store, vif->watch);
	error_path(vif, dir, sizeof(dir));
	xs_rm(vif->store, dir);
	xs_rm(vif->store, vif->front);
	xs_rm(vif->store, vif->back);
}
