/* SPDX-License-Identifier: MIT */
/*
 * The inside of an interface, shared by the files of this folder:
 *
 *	vif.c	   making and ending, statistics, reports
 *	xenbus.c   nodes, and following the front end's state
 *	connect.c  the front end's transport nodes, the queues made of them
 *	queue.c	   who runs when, events and wake-ups
 *	tx.c	   packets from the guest to the link
 *	rx.c	   frames from the link to the guest
 *
 * Everything here runs on the loop's thread.
 */
#ifndef PVV_IO_NET_VIF_H
#define PVV_IO_NET_VIF_H

#include <stdint.h>

#include <xen/xen.h>
#include <xen/io/netif.h>
#include <xen/io/xenbus.h>

#include "io/net/link.h"
#include "io/net/net.h"
#include "io/net/packet.h"
#include "io/ring.h"
#include "io/xenstore/xenstore.h"

#define NET_PAGE     4096u
#define NET_PATH_MAX 96

/* What a packet from the guest may have: data slots as in every back end, and extra information. */
#define NET_TX_SLOTS  XEN_NETIF_NR_SLOTS_MIN
#define NET_TX_FATAL  (NET_TX_SLOTS + 2) /* beyond it the front end has lost its mind */
#define NET_TX_EXTRAS XEN_NETIF_EXTRA_TYPE_MAX

/* Pages for the largest frame, and the slot that its extra information takes. */
#define NET_RX_PAGES ((NET_FRAME_MAX + NET_PAGE - 1) / NET_PAGE)
#define NET_RX_SLOTS (NET_RX_PAGES + 1)

struct net_tx_map {
	uint32_t ref;
	uint16_t offset, size;
	void *page;
};

/* A packet that was taken from the ring and not answered yet. */
struct net_packet {
	unsigned int nr_slots; /* entries of the ring, in order */
	struct {
		uint16_t id;
		bool extra;
	} slot[NET_TX_FATAL + NET_TX_EXTRAS];
	unsigned int nr_parts;
	struct net_tx_map part[NET_TX_FATAL];
	unsigned int nr_maps; /* the first of the parts are mapped */
	uint16_t flags;	      /* NETTXF_* of the first slot */
	uint32_t size;
	uint8_t gso_type;
	uint16_t gso_size;
	struct virtio_net_hdr hdr;
	/* The headers as they were checked. */
	uint8_t head[PACKET_HEAD];
	struct iovec iov[NET_TX_SLOTS + 2]; /* the link's, the head, the rest of the pages */
	unsigned int nr_iov;
};

/* A page the guest offered to receive into. */
struct net_rx_slot {
	uint16_t id;
	uint32_t ref;
	uint8_t *page;
};

struct net_queue_transport {
	uint32_t tx_ref, rx_ref;
	uint32_t tx_port, rx_port; /* the same if they are not split */
};

/* How the front end wants to talk. */
struct net_transport {
	unsigned int nr_queues;
	bool sg;
	bool rx_notify; /* it tells when it has offered pages */
	bool csum4, csum6;
	bool gso4, gso6;
	struct net_queue_transport queue[NET_MAX_QUEUES];
};

struct net_queue {
	struct net_vif *vif;
	unsigned int index;
	struct net_queue_transport at;
	struct io_ring tx, rx;
	struct io_fd *reg;
	uint32_t reg_events;
	struct io_work rerun;
	struct io_timer poll; /* for front ends that do not notify */
	bool tx_again, rx_again;

	/* tx.c */
	bool tx_blocked; /* `packet` waits for room in the link */
	struct net_packet packet;

	/* rx.c */
	bool rx_starved; /* the guest has to offer pages first */
	unsigned int rx_first, rx_count;
	struct net_rx_slot window[NET_RX_SLOTS];
	struct iovec rx_iov[NET_RX_PAGES + 2]; /* the link's, the pages, what notices a rest */
	uint8_t rx_rest[16];
};

struct net_vif {
	struct io_loop *loop;
	struct io_guest *guest;
	struct xs_store *store;
	struct net_link *link;
	struct net_vif_params params;
	struct net_events events;

	unsigned int domid;
	char front[NET_PATH_MAX];
	char back[NET_PATH_MAX];
	unsigned int max_queues;

	/* xenbus.c */
	enum xenbus_state state;
	struct xs_watch *watch;
	bool front_connected; /* the front end has said Connected in this connection */
	bool failed;	      /* after an error: not again before the front end has reset itself */

	/* connect.c: one connection with the front end */
	bool up;
	struct net_transport transport;
	bool rx_gso;		  /* the link may give frames that the guest has to cut */
	unsigned int rx_pages;	  /* that the largest frame may take */
	unsigned int rx_needed;	  /* and slots */
	struct net_queue *queues; /* max_queues of them */

	bool link_lost;
	const char *broken; /* found while a queue ran: what the front end did */
	uint64_t next_guest_report_ns;

	struct net_stats stats; /* accessed with relaxed atomics */
};

/* vif.c */
void net_stat_add(uint64_t *counter, uint64_t n);
void net_report_guest_error(struct net_vif *vif, const char *why);

/* xenbus.c */
int net_xenbus_init(struct net_vif *vif);
void net_xenbus_fini(struct net_vif *vif);
/* The front end broke the protocol: say so, disconnect. */
void net_xenbus_fail(struct net_vif *vif, const char *why);

/* connect.c; the sentences say what is wrong, NULL: nothing */
const char *net_transport_read(struct net_vif *vif, struct net_transport *t);
const char *net_connect(struct net_vif *vif, const struct net_transport *t);
void net_disconnect(struct net_vif *vif);

/* queue.c */
void net_queue_start(struct net_queue *q);
void net_queue_stop(struct net_queue *q);
void net_queue_on_event(void *queue);
void net_queue_on_tx_event(void *queue);
void net_queue_on_rx_event(void *queue);
void net_link_is_lost(struct net_vif *vif);
/* Before responses become visible: nobody runs what pages held before they were received into. */
void net_ring_settle(struct net_queue *q, struct io_ring *ring);

/*
 * tx.c and rx.c. A run does a bounded amount of work; true if there was more of it that can be
 * done now. May set vif->broken.
 */
bool net_tx_run(struct net_queue *q);
void net_tx_drop(struct net_queue *q);
bool net_rx_run(struct net_queue *q);
void net_rx_drop(struct net_queue *q);

#endif
