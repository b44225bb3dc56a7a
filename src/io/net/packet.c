/* SPDX-License-Identifier: MIT */
#include "io/net/packet.h"

#include <netinet/in.h>
#include <string.h>

#define ETH_HEADER   14u
#define ETH_TYPE_IP4 0x0800u
#define ETH_TYPE_IP6 0x86ddu
#define MAX_VLANS    2
#define MAX_IP6_EXTS 8

static unsigned int be16(const uint8_t *p)
{
	return (unsigned int)p[0] << 8 | p[1];
}

static bool is_vlan(unsigned int type)
{
	return type == 0x8100 || type == 0x88a8;
}

/* The offset of the IP header behind Ethernet's and VLAN tags; 0 if cut. */
static size_t find_l3(const uint8_t *p, size_t len, unsigned int *ret_type)
{
	size_t at = ETH_HEADER;

	if (len < at)
		return 0;
	*ret_type = be16(p + 12);
	for (int i = 0; i < MAX_VLANS && is_vlan(*ret_type); i++) {
		if (len < at + 4)
			return 0;
		*ret_type = be16(p + at + 2);
		at += 4;
	}
	return at;
}

static size_t parse_ip4(const uint8_t *p, size_t len, size_t at, unsigned int *ret_proto)
{
	if (len < at + 20 || p[at] >> 4 != 4)
		return 0;
	size_t header = (size_t)(p[at] & 15) * 4;
	/* Parts of a packet cannot be summed: neither a first one nor the others. */
	if (header < 20 || be16(p + at + 6) & 0x3fff)
		return 0;
	*ret_proto = p[at + 9];
	return at + header;
}

static size_t parse_ip6(const uint8_t *p, size_t len, size_t at, unsigned int *ret_proto)
{
	if (len < at + 40 || p[at] >> 4 != 6)
		return 0;
	unsigned int next = p[at + 6];
	at += 40;
	for (int i = 0; i < MAX_IP6_EXTS; i++) {
		if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_DSTOPTS)
			break;
		if (len < at + 8)
			return 0;
		next = p[at];
		at += ((size_t)p[at + 1] + 1) * 8;
	}
	*ret_proto = next;
	return at;
}

bool packet_parse(const uint8_t *head, size_t len, struct packet_headers *ret)
{
	unsigned int type, proto = 0;
	size_t at = find_l3(head, len, &type);

	if (at && type == ETH_TYPE_IP4)
		at = parse_ip4(head, len, at, &proto);
	else if (at && type == ETH_TYPE_IP6)
		at = parse_ip6(head, len, at, &proto);
	else
		return false;
	if (!at)
		return false;
	*ret = (struct packet_headers){
		.version = type == ETH_TYPE_IP4 ? 4 : 6,
		.proto = proto,
		.l4 = (unsigned int)at,
	};
	if (proto == IPPROTO_UDP && len >= at + 8) {
		ret->csum = ret->l4 + 6;
		ret->payload = ret->l4 + 8;
		return true;
	}
	if (proto != IPPROTO_TCP || len < at + 20)
		return false;
	ret->csum = ret->l4 + 16;
	ret->payload = ret->l4 + (unsigned int)(head[at + 12] >> 4) * 4;
	return ret->payload >= ret->l4 + 20 && ret->payload <= len;
}

/* --- checksums -------------------------------------------------------------------------------- */

static uint16_t fold(uint64_t sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* In the machine's byte order, which the sum does not mind. At most 2^32 words: 64 bits hold it. */
static uint64_t sum_bytes(const uint8_t *p, size_t len)
{
	uint64_t sum = 0;

	for (; len >= 32; p += 32, len -= 32) {
		uint32_t w[8];

		memcpy(w, p, 32);
		for (int i = 0; i < 8; i++)
			sum += w[i];
	}
	for (; len >= 2; p += 2, len -= 2) {
		uint16_t w;

		memcpy(&w, p, 2);
		sum += w;
	}
	return len ? sum + *p : sum;
}

uint16_t packet_sum(const struct iovec *iov, unsigned int nr_iov, size_t skip)
{
	uint64_t sum = 0;
	bool odd = false;

	for (unsigned int i = 0; i < nr_iov; i++) {
		const uint8_t *p = iov[i].iov_base;
		size_t len = iov[i].iov_len;

		if (skip >= len) {
			skip -= len;
			continue;
		}
		uint16_t part = fold(sum_bytes(p + skip, len - skip));
		/* A piece that begins at an odd offset has its bytes in the other lanes. */
		sum += odd ? (uint16_t)(part << 8 | part >> 8) : part;
		odd ^= (len - skip) & 1;
		skip = 0;
	}
	uint16_t s = fold(sum);
	return (uint16_t)(s << 8 | s >> 8); /* little endian to the order of the wire */
}

static void put_byte(const struct iovec *iov, unsigned int nr_iov, size_t at, uint8_t value)
{
	for (unsigned int i = 0; i < nr_iov; i++) {
		if (at < iov[i].iov_len) {
			((uint8_t *)iov[i].iov_base)[at] = value;
			return;
		}
		at -= iov[i].iov_len;
	}
}

void packet_finish_csum(const struct iovec *iov, unsigned int nr_iov, size_t start, size_t field,
			bool udp)
{
	uint16_t sum = (uint16_t)~packet_sum(iov, nr_iov, start);

	if (!sum && udp) /* 0 would mean that there is none */
		sum = 0xffff;
	put_byte(iov, nr_iov, field, (uint8_t)(sum >> 8));
	put_byte(iov, nr_iov, field + 1, (uint8_t)sum);
}
