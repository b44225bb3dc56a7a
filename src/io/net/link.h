/* SPDX-License-Identifier: MIT */
/*
 * What an interface is plugged into: something that takes and gives Ethernet frames without
 * blocking. A link belongs to one interface and is used on the loop's thread only.
 *
 * Frames may be unfinished on both ways, as struct virtio_net_hdr says, if the link has `offload`:
 * with a checksum still to be made, or larger than the MTU, to be cut by the receiver.
 */
#ifndef PVV_IO_NET_LINK_H
#define PVV_IO_NET_LINK_H

#include <linux/virtio_net.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "io/net/net.h"

#define NET_LINK_NAME_MAX 32
#define NET_FRAME_MAX	  65550u /* an IP packet of 64 KiB in an Ethernet frame */
#define NET_FRAME_MIN	  14u

/* What the guest can be given unfinished. */
struct net_offload {
	bool csum;
	bool tso4, tso6;
};

struct net_link {
	const struct net_link_ops *ops;
	char name[NET_LINK_NAME_MAX];
	unsigned int max_queues;
	bool offload;
	bool valid_sums; /* checksums of what it gives need no check */
};

struct net_link_ops {
	/*
	 * Use the first `nr_queues` queues, and give what the guest can take. 0 queues: nobody
	 * listens, frames may be dropped.
	 */
	void (*configure)(struct net_link *link, unsigned int nr_queues,
			  const struct net_offload *offload);
	/* To wait for; the same as long as the link lives. */
	int (*fd)(struct net_link *link, unsigned int queue);
	/*
	 * One frame. iov[0] is the link's own, the frame begins at iov[1] and may be changed. The
	 * bytes moved, or -errno: -EAGAIN if it has to wait for EPOLLOUT or EPOLLIN; -EPIPE if
	 * the link is lost. A frame that is longer than the room for it is cut and its whole
	 * length returned.
	 */
	ssize_t (*send)(struct net_link *link, unsigned int queue, const struct virtio_net_hdr *hdr,
			struct iovec *iov, unsigned int nr_iov);
	ssize_t (*recv)(struct net_link *link, unsigned int queue, struct virtio_net_hdr *hdr,
			struct iovec *iov, unsigned int nr_iov);
	/* Why it was lost: a sentence, or NULL if there is nothing to say. May be NULL itself. */
	const char *(*why)(struct net_link *link);
	void (*free)(struct net_link *link);
};

/* Makers of the kinds; they take over `fd`, also on failure. */
int net_tap_from_fd(const char *object, int fd, struct net_link **ret_link);
int net_message_from_fd(int fd, struct net_link **ret_link);
int net_stream_from_fd(int fd, struct net_link **ret_link);
/* A stream's other end may say on `text_fd` (taken over) why it went away. */
void net_stream_set_text(struct net_link *link, int text_fd);

#endif
