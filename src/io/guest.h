/* SPDX-License-Identifier: MIT */
/*
 * What a back end sees of a domain: granted guest memory and event channels, nothing else. The
 * implementation (domain/guest.c) checks every number that comes from the guest; a back end must
 * still copy each value out of shared memory once before it checks and uses it.
 *
 * All functions run on the host's I/O thread unless said otherwise.
 */
#ifndef PVV_IO_GUEST_H
#define PVV_IO_GUEST_H

#include <stdbool.h>
#include <stdint.h>

struct io_guest; /* one domain */

/* Domain id and name, for log messages and xenstore paths. */
unsigned int io_guest_domid(const struct io_guest *g);
const char *io_guest_name(const struct io_guest *g);

/*
 * Grants (version 1) that the domain gave to domain 0. Map: checks the reference, marks the entry
 * as in use (GTF_reading, and GTF_writing if `write`), takes the frame reference, and returns in
 * *ret_page a pointer to the page in the library's view of guest memory; valid until unmapped or
 * the io_guest ends. Errors: PVV_EGUEST (bad reference, not granted, read-only, bad frame). The
 * same reference may be mapped several times.
 */
int io_grant_map(struct io_guest *g, uint32_t ref, bool write, void **ret_page);
void io_grant_unmap(struct io_guest *g, uint32_t ref, bool write);

/*
 * Data was put into a page that was mapped for writing (io_grant_map, io_frame_map): call it for
 * each page after the data is there. Code that was run from the page before is stale then. Cheap;
 * any thread.
 */
void io_page_written(struct io_guest *g, void *page);
/*
 * Then, before the guest can see that the data is there (in a ring it may be looking at all the
 * time): its vCPUs stop running what is stale. Nothing, but for pages that held code.
 */
void io_pages_settle(struct io_guest *g);

/* A page the domain builder shared without a grant (console ring, xenstore ring), by mfn. */
int io_frame_map(struct io_guest *g, uint64_t mfn, void **ret_page);

/*
 * Bind to the guest's port (which it allocated for domain 0). `notify` runs on the I/O thread after
 * the guest sent one or more events to it. PVV_EGUEST if the port number is out of range,
 * PVV_EBUSY if a back end has bound it already. A guest that lies about the port only loses events.
 */
typedef void io_event_fn(void *opaque);
int io_event_bind(struct io_guest *g, uint32_t port, io_event_fn *notify, void *opaque);
void io_event_unbind(struct io_guest *g, uint32_t port);
/* Raise the guest's port. Cheap; any thread. */
void io_event_send(struct io_guest *g, uint32_t port);

#endif
