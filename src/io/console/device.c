/* SPDX-License-Identifier: MIT */
/*
 * Console devices in the xenstore (device.h). As with disks the library is toolstack and back end
 * in one, and decides from the two states alone: changes of the front end's state may come
 * coalesced, and a front end may begin anew without having closed.
 */
#include "io/console/device.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <xen/io/xenbus.h>

#include "io/console/internal.h"
#include "util/err.h"

#define PATH_MAX_ 96

struct io_console_device {
	struct io_loop *loop;
	struct io_guest *guest;
	struct xs_store *store;
	struct io_console *con;
	unsigned int domid;
	char front[PATH_MAX_], back[PATH_MAX_];
	struct xs_watch *watch;
	enum xenbus_state state; /* ours */
	bool connected;
	uint32_t ref, port; /* of the ring, while connected */
};

/* ---- nodes ---- */

struct node {
	const char *name, *value;
};

static int put_nodes(struct io_console_device *dev, const char *dir, const struct node *n,
		     size_t nr, bool read_only)
{
	char path[PATH_MAX_ + 24];

	for (size_t i = 0; i < nr; i++) {
		int r = n[i].value ? xs_put(dev->store, dir, n[i].name, "%s", n[i].value) : 0;

		snprintf(path, sizeof(path), "%s/%s", dir, n[i].name);
		if (!r && n[i].value && read_only)
			r = xs_set_perms(dev->store, path, "n0 r%u", dev->domid);
		if (r < 0)
			return r;
	}
	return 0;
}

#define PUT(dev, dir, nodes, read_only)                                                            \
	put_nodes(dev, dir, nodes, sizeof(nodes) / sizeof(nodes[0]), read_only)

/* As libxl writes them. What is the tools' business the guest may read, the rest is its own. */
static int put_all(struct io_console_device *dev, const char *channel)
{
	const char *tty = io_console_tty(dev->con);
	char domid[16];
	const struct node back[] = {
		{"frontend", dev->front}, {"frontend-id", domid}, {"online", "1"},
		{"state", "1"},		  {"protocol", "vt100"},  {"name", channel},
	};
	const struct node told[] = {
		{"backend", dev->back},	 {"backend-id", "0"}, {"limit", "1048576"},
		{"type", "ioemu"},	 {"output", "pty"},   {"name", channel},
		{"tty", tty ? tty : ""},
	};
	const struct node own[] = {{"protocol", "vt100"}, {"state", "1"}};
	int r;

	snprintf(domid, sizeof(domid), "%u", dev->domid);
	r = xs_mkdir_perms(dev->store, dev->back, "n0 r%u", dev->domid);
	if (!r)
		r = PUT(dev, dev->back, back, false);
	if (!r)
		r = xs_mkdir_perms(dev->store, dev->front, "n%u r0", dev->domid);
	if (!r)
		r = PUT(dev, dev->front, told, true);
	if (!r)
		r = PUT(dev, dev->front, own, false);
	return r;
}

static void set_state(struct io_console_device *dev, enum xenbus_state state)
{
	if (dev->state == state)
		return;
	dev->state = state;
	/* Nothing can be done about a full store; the front end will then wait for ever. */
	(void)xs_put(dev->store, dev->back, "state", "%d", (int)state);
}

/* ---- the ring ---- */

static void disconnect(struct io_console_device *dev)
{
	if (!dev->connected)
		return;
	io_console_detach(dev->con);
	io_grant_unmap(dev->guest, dev->ref, true);
	dev->connected = false;
}

static int read_ring(struct io_console_device *dev, uint32_t *ret_ref, uint32_t *ret_port)
{
	uint64_t ref, port;
	int r = xs_get_uint(dev->store, dev->front, "ring-ref", UINT32_MAX, &ref);

	if (!r)
		r = xs_get_uint(dev->store, dev->front, "port", UINT32_MAX, &port);
	if (r < 0)
		return r;
	*ret_ref = (uint32_t)ref;
	*ret_port = (uint32_t)port;
	return 0;
}

static int connect_ring(struct io_console_device *dev, uint32_t ref, uint32_t port)
{
	void *page;
	int r = io_grant_map(dev->guest, ref, true, &page);

	if (r < 0)
		return r;
	r = io_console_attach(dev->con, dev->guest, page, port);
	if (r < 0) {
		io_grant_unmap(dev->guest, ref, true);
		return r;
	}
	dev->ref = ref;
	dev->port = port;
	dev->connected = true;
	return 0;
}

static void on_ready(struct io_console_device *dev)
{
	uint32_t ref, port;
	int r = read_ring(dev, &ref, &port);

	/* Another front end in the place of the one that we know: it has not waited for us. */
	if (!r && dev->connected && (ref != dev->ref || port != dev->port))
		disconnect(dev);
	if (!r && !dev->connected)
		r = connect_ring(dev, ref, port);
	if (r < 0)
		disconnect(dev);
	set_state(dev, r < 0 ? XenbusStateClosing : XenbusStateConnected);
}

static void on_watch(void *opaque, const char *path)
{
	struct io_console_device *dev = opaque;
	uint64_t front;

	if (xs_get_uint(dev->store, dev->front, "state", XenbusStateReconfigured, &front) < 0)
		front = XenbusStateUnknown;
	switch (front) {
	case XenbusStateInitialising:
		disconnect(dev);
		set_state(dev, XenbusStateInitWait);
		break;
	case XenbusStateInitialised:
	case XenbusStateConnected:
		on_ready(dev);
		break;
	case XenbusStateClosing:
		set_state(dev, XenbusStateClosing);
		break;
	case XenbusStateUnknown: /* its directory has gone */
	case XenbusStateClosed:
		disconnect(dev);
		set_state(dev, XenbusStateClosed);
		break;
	default:
		break;
	}
}

/* ---- beginning and end ---- */

int io_console_device_new(struct io_loop *loop, struct io_guest *guest, struct xs_store *store,
			  struct io_console *con, unsigned int devid, const char *channel,
			  struct io_console_device **ret_dev)
{
	struct io_console_device *dev = calloc(1, sizeof(*dev));
	char path[PATH_MAX_ + 8];
	int r;

	*ret_dev = NULL;
	if (!dev)
		return err_nomem(PVV_SUBSYS_CONSOLE, "starting a domain");
	dev->loop = loop;
	dev->guest = guest;
	dev->store = store;
	dev->con = con;
	dev->domid = io_guest_domid(guest);
	dev->state = XenbusStateInitialising;
	snprintf(dev->front, sizeof(dev->front), "/local/domain/%u/device/console/%u", dev->domid,
		 devid);
	snprintf(dev->back, sizeof(dev->back), "/local/domain/0/backend/console/%u/%u", dev->domid,
		 devid);
	snprintf(path, sizeof(path), "%s/state", dev->front);
	/* Now: a pty's name goes into the store, and what cannot be opened fails the start. */
	r = con_backend_open(con);
	if (!r)
		r = put_all(dev, channel);
	/* Runs once by itself: that takes us to InitWait. */
	if (!r)
		r = xs_watch(store, path, on_watch, dev, &dev->watch);
	if (r < 0) {
		io_console_device_free(dev);
		return r;
	}
	*ret_dev = dev;
	return 0;
}

void io_console_device_free(struct io_console_device *dev)
{
	if (!dev)
		return;
	if (dev->watch)
		xs_unwatch(dev->store, dev->watch);
	disconnect(dev);
	free(dev);
}
