/* SPDX-License-Identifier: MIT */
/*
 * An interface with all that it needs, and a front end played by the test: a fake domain, a store,
 * a link, rings. Everything runs in the test's thread; the loop is stepped.
 */
#ifndef PVV_TESTS_NET_RIG_H
#define PVV_TESTS_NET_RIG_H

#include "io/net/net.h"
#include "io/net/vif.h"
#include "io_rig.h"
#include "mock_link.h"
#include "util/err.h"

#define RIG_DOMID 7u
#define RIG_FRONT "/local/domain/7/device/vif/0"
#define RIG_BACK  "/local/domain/0/backend/vif/7/0"
#define RIG_ERROR "/local/domain/0/error/backend/vif/7/0/error"
#define RIG_PAGES 1024u
#define RIG_DATA  32u  /* the first page for packets from the guest */
#define RIG_RX	  300u /* the first page for packets to it */
#define RIG_PORT  5u   /* of queue 0; one or two a queue */
#define RIG_ENTS  256u

/* A queue as the front end sees it. */
struct rig_queue {
	unsigned int tx_page, rx_page; /* also their grants */
	uint32_t tx_port, rx_port;
	uint32_t tx_prod, tx_cons, rx_prod, rx_cons;
	uint32_t rx_ref[RIG_ENTS]; /* what was offered in each entry */
};

struct rig {
	IO_RIG;
	struct net_vif *vif;
	struct mock_link *link;
	bool link_freed;
	struct net_vif_params params;
	struct net_events events;

	/* The front end. */
	unsigned int nr_queues;
	bool split;
	struct rig_queue q[NET_MAX_QUEUES];

	/* What was reported. */
	unsigned int link_errors, guest_errors, connects, disconnects;
	char last_why[256];
};

/* Loop, guest, store; every page is granted under its own number. */
void rig_init(struct rig *r);
/* The interface on a mock link, or on `link`. */
void rig_vif(struct rig *r, unsigned int queues, bool offload, struct net_link *link);
void rig_fini(struct rig *r);
/* All of it, connected, with pages offered. */
void rig_start(struct rig *r, bool offload);
void rig_stop(struct rig *r);

/* Let the loop run what is queued now. */
void rig_run(struct rig *r);

/* The usual features: copy, notify, sg, gso, checksums. */
void rig_features(struct rig *r);
/* Fresh rings, and their nodes. */
void rig_make_rings(struct rig *r);
/* The same, then state Connected, until the back end is. */
void rig_connect(struct rig *r);

/* Transmit: entries of the ring, then publish them. */
void rig_tx(struct rig *r, unsigned int queue, uint32_t ref, unsigned int offset, unsigned int size,
	    unsigned int flags, unsigned int id);
void rig_tx_raw(struct rig *r, unsigned int queue, const void *entry, size_t size);
void rig_tx_gso(struct rig *r, unsigned int queue, unsigned int type, unsigned int size);
void rig_tx_push(struct rig *r, unsigned int queue);
bool rig_tx_poll(struct rig *r, unsigned int queue, struct netif_tx_response *rsp);
/* One packet of one slot, from page `pfn`; its status. */
int rig_send(struct rig *r, uint32_t pfn, unsigned int size, unsigned int flags);

/* Receive: offer pages from `pfn` on, take responses. */
void rig_offer(struct rig *r, unsigned int queue, uint32_t ref, unsigned int count);
bool rig_rx_poll(struct rig *r, unsigned int queue, struct netif_rx_response *rsp, uint32_t *ref);
struct rig_frame {
	size_t size;
	unsigned int slots; /* entries used, with extra information */
	uint16_t flags;
	uint16_t gso_size;
	uint8_t gso_type;
	uint8_t data[NET_RX_PAGES * 4096];
};
/* A whole frame; its pages are offered again. False if there is none. */
bool rig_receive(struct rig *r, unsigned int queue, struct rig_frame *f);

/* Packets: an Ethernet, IP, TCP or UDP packet with `payload` bytes of a pattern; its size. */
size_t rig_packet(uint8_t *buf, unsigned int version, unsigned int proto, size_t payload);
/* The checksum of its transport, pseudo header included, is right. */
bool rig_packet_good(const uint8_t *buf, size_t size);
/* Leave the checksum of the pseudo header in its field, as for CHECKSUM_PARTIAL. */
void rig_packet_blank(uint8_t *buf, size_t size);

#endif
