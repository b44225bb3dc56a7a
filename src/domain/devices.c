/* SPDX-License-Identifier: MIT */
/* The devices of an incarnation: block and network back ends, and the xenstore they speak through.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "domain/run.h"

/* ---- what happens on a disk ---- */

static void on_io_error(void *opaque, const struct blk_io_error *e)
{
	struct run_disk *disk = opaque;
	char text[256];

	snprintf(text, sizeof(text), "disk %s ('%s'): %s of %llu bytes at %llu failed: %s", e->vdev,
		 e->image, e->op, (unsigned long long)e->length, (unsigned long long)e->offset,
		 strerrordesc_np(e->os_errno));
	domain_post(disk->run->d, PVV_EVENT_IO_ERROR, e->os_errno, text);
	log_post(&disk->run->h->events, PVV_LOG_ERROR, disk->run->d->name, "%s", text);
}

static void on_guest_error(void *opaque, const char *vdev, const char *why)
{
	struct run_disk *disk = opaque;

	log_post(&disk->run->h->events, PVV_LOG_WARNING, disk->run->d->name,
		 "disk %s disconnected: %s", vdev, why);
}

static void on_connected(void *opaque, const char *vdev, bool connected)
{
	struct run_disk *disk = opaque;

	log_post(&disk->run->h->events, PVV_LOG_DEBUG, disk->run->d->name, "disk %s %s", vdev,
		 connected ? "connected" : "disconnected");
}

int run_attach_devices(struct run *r)
{
	for (size_t i = 0; i < r->nr_disks; i++) {
		struct run_disk *disk = &r->disks[i];
		struct blk_events events = {
			.io_error = on_io_error,
			.guest_error = on_guest_error,
			.connected = on_connected,
			.opaque = disk,
		};
		struct blk_image *image = disk->image;
		int ret;

		if (!image)
			continue;
		disk->image = NULL;
		ret = blk_device_new(r->h->loop, r->guest, r->h->store, image, &events,
				     &disk->device);
		if (ret < 0)
			return ret;
	}
	return run_attach_nets(r);
}

static void device_done(void *opaque)
{
	struct run *r = opaque;

	if (--r->closing == 0)
		run_devices_gone(r);
}

void run_detach_devices(struct run *r)
{
	/* One for ourselves: a device may be done before the next one is asked. */
	r->closing = 1;
	run_detach_nets(r);
	for (size_t i = 0; i < r->nr_disks; i++) {
		struct blk_device *dev = r->disks[i].device;

		if (!dev)
			continue;
		r->disks[i].device = NULL;
		r->closing++;
		blk_device_close(dev, device_done, r);
	}
	device_done(r);
}
