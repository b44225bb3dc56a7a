/* SPDX-License-Identifier: MIT */
/* Looking into Ethernet frames: where the transport header lies, and checksums. */
#ifndef PVV_IO_NET_PACKET_H
#define PVV_IO_NET_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* Bytes from the beginning of a frame that are enough for packet_parse(). */
#define PACKET_HEAD 256u

struct packet_headers {
	unsigned int version; /* of IP: 4, 6 */
	unsigned int proto;   /* IPPROTO_TCP, IPPROTO_UDP */
	unsigned int l4;      /* offset of its header */
	unsigned int payload; /* and of what follows that */
	unsigned int csum;    /* offset of the checksum */
};

/* False if it is anything but an unfragmented TCP or UDP packet with whole headers in `len`. */
bool packet_parse(const uint8_t *head, size_t len, struct packet_headers *ret);

/* The Internet checksum of what follows the first `skip` bytes, not yet complemented. */
uint16_t packet_sum(const struct iovec *iov, unsigned int nr_iov, size_t skip);
/* Finish a checksum whose field holds the pseudo header's: start and field are offsets. */
void packet_finish_csum(const struct iovec *iov, unsigned int nr_iov, size_t start, size_t field,
			bool udp);

#endif
