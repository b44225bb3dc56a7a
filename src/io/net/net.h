/* SPDX-License-Identifier: MIT */
/*
 * The network back end: one interface of a domain, over Xen's netif protocol.
 *
 * Life: net_link_open_*() on any thread (it may block; all errors a user can make are reported
 * here), net_vif_new() on the I/O thread, net_vif_free() there before the io_guest and the store
 * end. The interface follows the front end's xenbus state by itself.
 */
#ifndef PVV_IO_NET_H
#define PVV_IO_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "io/guest.h"
#include "io/loop.h"

#define NET_MAX_QUEUES 8u

struct net_link; /* what the interface is plugged into; link.h */
struct net_vif;
struct xs_store;

/* --- links ------------------------------------------------------------------------------------ */

struct net_tap_params {
	const char *object; /* the domain's name, for error messages */
	const char *name;   /* of the device; NULL or "": the host chooses one */
	const char *bridge; /* attach it to this bridge; NULL: none */
	bool must_exist;    /* use an existing device, do not configure it */
	uint32_t mtu;	    /* 0: as it is */
	unsigned int max_queues;
	const uint8_t *mac; /* the guest's */
};

/*
 * A tap device of the host. Errors: PVV_ENOENT (must_exist; no /dev/net/tun; no such bridge),
 * PVV_EPERM (may not be made or opened), PVV_EBUSY (in use), PVV_EINVAL (not a tap device),
 * PVV_EUNSUPPORTED, PVV_ESYS, PVV_ENOMEM.
 */
int net_link_open_tap(const struct net_tap_params *p, struct net_link **ret_link);

/*
 * An open descriptor, which is duplicated and made non-blocking: a tap device without packet
 * information; a stream socket on which a frame follows its length (32 bits, big endian); or a
 * datagram or seqpacket socket with a frame per message. Errors: PVV_EINVAL, PVV_ESYS, PVV_ENOMEM.
 */
int net_link_open_fd(const char *object, int fd, struct net_link **ret_link);

struct net_ip {
	uint8_t family; /* 4, 6 */
	uint8_t addr[16];
	int prefix; /* -1: not said */
};

struct net_user_params {
	const char *object;
	const char
		*host_dev; /* addresses and routes are taken from it; NULL: the default route's */
	const char *log_file; /* NULL: none */
	uint32_t mtu;	      /* 0: the largest possible */
	const uint8_t *mac;   /* the guest's */
	const struct net_ip *ips;
	size_t nr_ips;
	const char *const *forwards; /* passt's words: "-t", "127.0.0.1/8080:80", ... */
	size_t nr_forwards;
	const char *program; /* NULL: passt from PATH */
};

/*
 * User networking without privileges, by a passt process. Errors: PVV_EUNSUPPORTED (passt is not
 * installed), PVV_ESYS, PVV_ENOMEM. What passt itself finds wrong is known a moment later:
 * net_link_check().
 */
int net_link_open_user(const struct net_user_params *p, struct net_link **ret_link);
/* Has the other side gone already? PVV_EIO with what it said. */
int net_link_check(struct net_link *link);
/* For a link that no interface took over. NULL is accepted. */
void net_link_free(struct net_link *link);
/* "tap0", "passt", "fd 7" */
const char *net_link_name(const struct net_link *link);

/* --- interfaces ------------------------------------------------------------------------------- */

/* Each may be NULL. They run on the I/O thread. */
struct net_events {
	/* The link is lost: the device was deleted, or its process ended. `why` is a sentence. */
	void (*link_error)(void *opaque, unsigned int handle, const char *why);
	/* The guest broke the protocol: the interface was disconnected. */
	void (*guest_error)(void *opaque, unsigned int handle, const char *why);
	/* The guest connected (true) or disconnected (false). */
	void (*connected)(void *opaque, unsigned int handle, bool connected);
	void *opaque;
};

/* As the guest sees it: rx is what it received. */
struct net_stats {
	uint64_t rx_bytes, rx_packets;
	uint64_t rx_errors; /* frames for the guest that could not be given to it */
	uint64_t rx_dropped;
	uint64_t tx_bytes, tx_packets;
	uint64_t tx_errors;  /* malformed packets */
	uint64_t tx_dropped; /* packets that the host did not take */
};

struct net_vif_params {
	unsigned int handle; /* 0, 1, ... */
	uint8_t mac[6];
	uint32_t mtu;		 /* told to the guest; 0: nothing said */
	const char *bridge;	 /* for the toolstack's nodes; NULL */
	const char *script;	 /* likewise */
	bool link_down;		 /* the cable is not plugged in */
	unsigned int max_queues; /* offered to the guest at most; 0: as many as the link has */
};

/* Takes over `link` (also on failure) and publishes the device's nodes, front and back. */
int net_vif_new(struct io_loop *loop, struct io_guest *guest, struct xs_store *store,
		struct net_link *link, const struct net_vif_params *params,
		const struct net_events *events, struct net_vif **ret_vif);
/* End it, on the loop's thread: unmap, remove the nodes, close the link. NULL is accepted. */
void net_vif_free(struct net_vif *vif);

/* Any thread, while the interface exists. */
void net_vif_stats(const struct net_vif *vif, struct net_stats *ret_stats);

#endif
