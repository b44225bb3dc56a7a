/* SPDX-License-Identifier: MIT */
/*
 * Consoles other than the first, and channels: devices in the xenstore, /device/console/ID, with a
 * ring that the guest makes, grants and announces there. A channel is a console with a name.
 */
#ifndef PVV_IO_CONSOLE_DEVICE_H
#define PVV_IO_CONSOLE_DEVICE_H

#include "io/console/console.h"
#include "io/xenstore/xenstore.h"

struct io_console_device;

/*
 * Writes both ends' nodes, opens the console's back end (its errors), and connects `con` to the
 * guest's ring when the guest has one. `channel` is the name, NULL for a plain console. `con` and
 * `guest` must outlive the device. Loop thread for both functions. Errors: as io_console_attach(),
 * PVV_ENOMEM.
 */
int io_console_device_new(struct io_loop *loop, struct io_guest *guest, struct xs_store *store,
			  struct io_console *con, unsigned int devid, const char *channel,
			  struct io_console_device **ret_dev);
/* Takes what is left in the ring. The nodes go with the domain's own. NULL is accepted. */
void io_console_device_free(struct io_console_device *dev);

#endif
