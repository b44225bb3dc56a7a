/* SPDX-License-Identifier: MIT */
/* A link whose other side is the test. */
#ifndef PVV_TESTS_MOCK_LINK_H
#define PVV_TESTS_MOCK_LINK_H

#include "io/net/link.h"

#define MOCK_FRAMES 512u

struct mock_frame {
	struct virtio_net_hdr hdr;
	size_t size;
	unsigned int queue;
	uint8_t *data;
};

struct mock_link {
	struct net_link link;
	int fd[NET_MAX_QUEUES]; /* eventfds: readable if there is a frame */
	/* What the guest sent. */
	struct mock_frame sent[MOCK_FRAMES];
	unsigned int nr_sent;
	uint64_t sent_ever; /* also those beyond the array, which are not kept */
	/* What waits for the guest, per queue. */
	struct mock_frame waiting[NET_MAX_QUEUES][MOCK_FRAMES];
	unsigned int nr_waiting[NET_MAX_QUEUES];
	unsigned int room;   /* frames it takes before it says EAGAIN */
	int fail_send;	     /* instead of taking a frame */
	int fail_recv;	     /* instead of giving one */
	unsigned int queues; /* as configured */
	struct net_offload offload;
	unsigned int configured; /* how often */
	unsigned int reads, writes;
	bool *freed;
};

/* Freed by the interface; *freed becomes true then. */
struct mock_link *mock_link_new(unsigned int queues, bool offload, bool *freed);
/* A frame for the guest. */
void mock_link_put(struct mock_link *m, unsigned int queue, const struct virtio_net_hdr *hdr,
		   const void *data, size_t size);
/* Forget what was sent. */
void mock_link_clear(struct mock_link *m);

#endif
