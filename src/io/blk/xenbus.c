/* SPDX-License-Identifier: MIT */
/*
 * The device in xenstore. The library plays two parts here: the toolstack's, which makes the
 * directories of both ends, and the back end driver's, which follows the front end's state.
 *
 * Changes of the front end's state may reach us coalesced, and a front end may begin anew without
 * having closed (a boot loader that hands over to a kernel, a crash kernel). So what to do is
 * decided from the two states alone, not from the transitions.
 */
#include "io/blk/device.h"

#include <inttypes.h>
#include <stdio.h>

#include "util/err.h"

/* --- nodes ------------------------------------------------------------------------------------ */

struct node {
	const char *name;
	uint64_t value;
	bool if_discard;
};

static int put_numbers(struct blk_device *dev, const char *dir, const struct node *nodes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (nodes[i].if_discard && !dev->image->discard)
			continue;
		int r = xs_put(dev->store, dir, nodes[i].name, "%" PRIu64, nodes[i].value);
		if (r < 0)
			return r;
	}
	return PVV_OK;
}

#define PUT_NUMBERS(dev, dir, nodes) put_numbers(dev, dir, nodes, sizeof(nodes) / sizeof(nodes[0]))

/* What the toolstack writes: who is connected with whom. */
static int put_toolstack_nodes(struct blk_device *dev)
{
	const struct blk_params *p = &dev->image->params;
	const char *type = p->cdrom ? "cdrom" : "disk";
	const struct node back[] = {
		{"frontend-id", dev->domid},	    {"online", 1},
		{"removable", p->removable},	    {"bootable", p->bootable},
		{"state", XenbusStateInitialising},
	};
	const struct node front[] = {
		{"backend-id", 0},
		{"virtual-device", dev->image->vdev},
		{"state", XenbusStateInitialising},
	};
	int r = xs_mkdir_perms(dev->store, dev->back, "n0 r%u", dev->domid);

	if (r == PVV_OK)
		r = xs_put(dev->store, dev->back, "frontend", "%s", dev->front);
	if (r == PVV_OK)
		r = xs_put(dev->store, dev->back, "dev", "%s", dev->image->vdev_name);
	if (r == PVV_OK)
		r = xs_put(dev->store, dev->back, "mode", "%s", p->readonly ? "r" : "w");
	if (r == PVV_OK)
		r = xs_put(dev->store, dev->back, "device-type", "%s", type);
	if (r == PVV_OK)
		r = xs_put(dev->store, dev->back, "type", "%s",
			   dev->image->is_blkdev ? "phy" : "file");
	/* The host's names are no business of the guest's. */
	if (r == PVV_OK)
		r = xs_put(dev->store, dev->back, "params", "%s", dev->image->name);
	char params[BLK_PATH_MAX + 8];
	snprintf(params, sizeof(params), "%s/params", dev->back);
	if (r == PVV_OK)
		r = xs_set_perms(dev->store, params, "n0");
	if (r == PVV_OK)
		r = PUT_NUMBERS(dev, dev->back, back);
	/* The guest's own directory, in which domain 0 reads. */
	if (r == PVV_OK)
		r = xs_mkdir_perms(dev->store, dev->front, "n%u r0", dev->domid);
	if (r == PVV_OK)
		r = xs_put(dev->store, dev->front, "backend", "%s", dev->back);
	if (r == PVV_OK)
		r = xs_put(dev->store, dev->front, "device-type", "%s", type);
	if (r == PVV_OK)
		r = PUT_NUMBERS(dev, dev->front, front);
	return r;
}

/* What the back end can do. All of it before InitWait, also the size: some read it early. */
static int put_backend_nodes(struct blk_device *dev)
{
	const struct blk_image *image = dev->image;
	const struct blk_params *p = &image->params;
	const struct node nodes[] = {
		{"sectors", image->sectors},
		{"sector-size", BLK_SECTOR_SIZE},
		{"physical-sector-size", image->physical_sector},
		{"info", (p->cdrom ? VDISK_CDROM : 0) | (p->removable ? VDISK_REMOVABLE : 0) |
				 (p->readonly ? VDISK_READONLY : 0)},
		{"feature-flush-cache", !p->readonly},
		{"feature-barrier", !p->readonly},
		{"feature-persistent", p->persistent},
		{"feature-max-indirect-segments", BLK_MAX_INDIRECT},
		{"max-ring-page-order", IO_RING_MAX_ORDER},
		{"max-ring-pages", IO_RING_MAX_PAGES},
		{"multi-queue-max-queues", 1},
		{"feature-discard", image->discard},
		{"discard-granularity", image->discard_granularity, .if_discard = true},
		{"discard-alignment", image->discard_alignment, .if_discard = true},
		{"discard-secure", 0, .if_discard = true},
	};

	return PUT_NUMBERS(dev, dev->back, nodes);
}

static void error_path(const struct blk_device *dev, char *buf, size_t size)
{
	snprintf(buf, size, "/local/domain/0/error/backend/vbd/%u/%u", dev->domid,
		 dev->image->vdev);
}

void blk_xenbus_set_state(struct blk_device *dev, enum xenbus_state state)
{
	if (dev->state == state)
		return;
	dev->state = state;
	/* Nothing can be done about a full store; the front end will then wait for ever. */
	(void)xs_put(dev->store, dev->back, "state", "%d", (int)state);
}

/* --- connecting ------------------------------------------------------------------------------- */

static void connect_front(struct blk_device *dev, bool front_connected)
{
	struct blk_transport t;
	const char *why = blk_transport_read(dev, &t);

	if (!why)
		why = blk_conn_attach(dev, &t);
	if (why) {
		blk_xenbus_fail(dev, why);
		return;
	}
	dev->front_connected = front_connected;
	blk_xenbus_set_state(dev, XenbusStateConnected);
	/* It may have sent requests, and their event, before we listened. */
	io_loop_post(dev->loop, &dev->rerun);
	if (dev->events.connected)
		dev->events.connected(dev->events.opaque, dev->image->vdev_name, true);
}

void blk_xenbus_disconnect(struct blk_device *dev, bool muted)
{
	dev->disconnecting = true;
	dev->conn.muted |= muted;
	/* Not from inside of blk_run(), nor of a watch: at the next opportunity. */
	io_loop_post(dev->loop, &dev->rerun);
}

void blk_xenbus_disconnected(struct blk_device *dev)
{
	blk_conn_detach(dev);
	dev->disconnecting = false;
	if (dev->events.connected)
		dev->events.connected(dev->events.opaque, dev->image->vdev_name, false);
	blk_xenbus_evaluate(dev);
}

void blk_xenbus_fail(struct blk_device *dev, const char *why)
{
	char dir[BLK_PATH_MAX];

	error_path(dev, dir, sizeof(dir));
	(void)xs_put(dev->store, dir, "error", "the block front end of %s broke the protocol: %s",
		     dev->image->vdev_name, why);
	blk_report_guest_error(dev, why);
	dev->failed = true;
	if (dev->conn.up)
		blk_xenbus_disconnect(dev, true);
	blk_xenbus_set_state(dev, XenbusStateClosing);
}

/* --- following the front end ------------------------------------------------------------------ */

static void on_ready(struct blk_device *dev, bool connected)
{
	struct blk_transport t;

	if (dev->failed || dev->unplugging)
		return;
	if (!dev->conn.up) {
		connect_front(dev, connected);
		return;
	}
	/*
	 * Another front end in the place of the one that we are connected with? Then it did not
	 * wait for us and we did not see it begin.
	 */
	bool anew = !connected && dev->front_connected;
	if (!anew && !blk_transport_read(dev, &t))
		anew = !blk_transport_same(&dev->conn, &t);
	if (anew)
		blk_xenbus_disconnect(dev, true);
	else
		dev->front_connected |= connected;
}

void blk_xenbus_evaluate(struct blk_device *dev)
{
	uint64_t front;

	/* A disconnection comes back here at its end. */
	if (dev->closing || dev->disconnecting)
		return;
	if (xs_get_uint(dev->store, dev->front, "state", XenbusStateReconfigured, &front) < 0)
		front = XenbusStateUnknown;
	switch (front) {
	case XenbusStateInitialising:
		if (dev->conn.up) {
			blk_xenbus_disconnect(dev, true);
			break;
		}
		dev->failed = false;
		blk_xenbus_set_state(dev,
				     dev->unplugging ? XenbusStateClosed : XenbusStateInitWait);
		break;
	case XenbusStateInitialised:
	case XenbusStateConnected:
		on_ready(dev, front == XenbusStateConnected);
		break;
	case XenbusStateClosing:
		/* It may still have requests in the ring; they are served until it has closed. */
		blk_xenbus_set_state(dev, XenbusStateClosing);
		break;
	case XenbusStateUnknown: /* its directory has gone */
	case XenbusStateClosed:
		if (dev->conn.up) {
			blk_xenbus_disconnect(dev, true);
			break;
		}
		dev->failed = false;
		blk_xenbus_set_state(dev, XenbusStateClosed);
		break;
	default:
		break;
	}
}

static void on_watch(void *opaque, const char *path)
{
	(void)path;
	blk_xenbus_evaluate(opaque);
}

/* --- beginning and end ------------------------------------------------------------------------ */

int blk_xenbus_init(struct blk_device *dev)
{
	char path[BLK_PATH_MAX + 8];

	/* The watch runs once by itself: that takes us to InitWait. */
	dev->state = XenbusStateInitialising;
	int r = xs_exists(dev->store, dev->back)
			? err_set(PVV_EEXIST, PVV_SUBSYS_BLOCK, dev->image->vdev_name,
				  "the domain has a disk '%s' already", dev->image->vdev_name)
			: put_toolstack_nodes(dev);
	if (r == PVV_EEXIST)
		return r;
	if (r == PVV_OK)
		r = put_backend_nodes(dev);
	snprintf(path, sizeof(path), "%s/state", dev->front);
	if (r == PVV_OK)
		r = xs_watch(dev->store, path, on_watch, dev, &dev->watch);
	if (r < 0)
		blk_xenbus_fini(dev);
	return r;
}

void blk_xenbus_fini(struct blk_device *dev)
{
	char dir[BLK_PATH_MAX];

	if (dev->watch)
		xs_unwatch(dev->store, dev->watch);
	error_path(dev, dir, sizeof(dir));
	xs_rm(dev->store, dir);
	xs_rm(dev->store, dev->front);
	xs_rm(dev->store, dev->back);
}

void blk_device_unplug(struct blk_device *dev)
{
	dev->unplugging = true;
	(void)xs_put(dev->store, dev->back, "online", "0");
	blk_xenbus_set_state(dev, dev->conn.up ? XenbusStateClosing : XenbusStateClosed);
}

int blk_device_resize(struct blk_device *dev)
{
	int r = blk_image_measure(dev->image);

	if (r == PVV_OK)
		r = put_backend_nodes(dev);
	/* Front ends look at the size again when the state is written, be it the same. */
	if (r == PVV_OK)
		r = xs_put(dev->store, dev->back, "state", "%d", (int)dev->state);
	return r;
}
