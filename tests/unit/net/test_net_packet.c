/* SPDX-License-Identifier: MIT */
/* Finding headers, and checksums. */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "rig.h"

static const unsigned int versions[] = {4, 6};
static const unsigned int protos[] = {IPPROTO_TCP, IPPROTO_UDP};

#define EACH_KIND(v, p)                                                                            \
	for (int v = 0; v < 2; v++)                                                                \
		for (int p = 0; p < 2; p++)

static void finds_headers(void **state)
{
	struct packet_headers h;
	uint8_t buf[512];

	EACH_KIND(v, p)
	{
		size_t n = rig_packet(buf, versions[v], protos[p], 100);
		unsigned int l4 = versions[v] == 4 ? 34 : 54;

		assert_true(packet_parse(buf, n, &h));
		assert_int_equal(h.version, versions[v]);
		assert_int_equal(h.proto, protos[p]);
		assert_int_equal(h.l4, l4);
		assert_int_equal(h.payload, l4 + (protos[p] == IPPROTO_TCP ? 20 : 8));
		assert_int_equal(h.csum, l4 + (protos[p] == IPPROTO_TCP ? 16 : 6));
		/* And never looks beyond what there is. */
		for (size_t len = 0; len < h.payload; len++) {
			uint8_t *exact = malloc(len ? len : 1);

			memcpy(exact, buf, len);
			assert_false(packet_parse(exact, len, &h));
			free(exact);
			packet_parse(buf, n, &h);
		}
	}
}

/* Insert bytes into a frame. */
static size_t insert(uint8_t *buf, size_t n, size_t at, const void *what, size_t len)
{
	memmove(buf + at + len, buf + at, n - at);
	memcpy(buf + at, what, len);
	return n + len;
}

static void finds_headers_behind_tags_and_options(void **state)
{
	struct packet_headers h;
	uint8_t buf[512];

	size_t n = rig_packet(buf, 4, IPPROTO_TCP, 10);
	n = insert(buf, n, 12, "\x81\x00\x00\x05", 4);
	assert_true(packet_parse(buf, n, &h) && h.l4 == 38);
	n = insert(buf, n, 12, "\x88\xa8\x00\x06", 4);
	assert_true(packet_parse(buf, n, &h) && h.l4 == 42);
	n = insert(buf, n, 12, "\x81\x00\x00\x07", 4);
	assert_false(packet_parse(buf, n, &h)); /* three are too many */

	n = rig_packet(buf, 4, IPPROTO_UDP, 10);
	buf[14] = 0x47;
	n = insert(buf, n, 34, "\x01\x01\x01\x01\x01\x01\x01\x01", 8);
	assert_true(packet_parse(buf, n, &h) && h.l4 == 42 && h.csum == 48);

	n = rig_packet(buf, 6, IPPROTO_TCP, 10);
	buf[20] = IPPROTO_HOPOPTS;
	n = insert(buf, n, 54, "\x3c\x00\x00\x00\x00\x00\x00\x00",
		   8); /* then options for the end */
	n = insert(buf, n, 62, "\x06\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16);
	assert_true(packet_parse(buf, n, &h) && h.l4 == 78 && h.proto == IPPROTO_TCP);
}

static void refuses_what_it_cannot_sum(void **state)
{
	struct packet_headers h;
	uint8_t buf[512];
	size_t n = rig_packet(buf, 4, IPPROTO_UDP, 100);

	buf[20] = 0x20; /* the first of several fragments */
	assert_false(packet_parse(buf, n, &h));
	buf[20] = 0;
	buf[21] = 5; /* a later one */
	assert_false(packet_parse(buf, n, &h));
	n = rig_packet(buf, 4, IPPROTO_UDP, 100);
	buf[14] = 0x44; /* a header of 16 bytes */
	assert_false(packet_parse(buf, n, &h));
	n = rig_packet(buf, 4, IPPROTO_UDP, 100);
	buf[23] = IPPROTO_ICMP;
	assert_false(packet_parse(buf, n, &h));
	n = rig_packet(buf, 4, IPPROTO_TCP, 100);
	buf[34 + 12] = 0x40; /* 16 bytes of TCP header */
	assert_false(packet_parse(buf, n, &h));
	buf[34 + 12] = 0xf0;
	assert_false(packet_parse(buf, 34 + 59, &h)); /* options beyond the end */
	buf[12] = 8;
	buf[13] = 6; /* ARP */
	assert_false(packet_parse(buf, n, &h));
	n = rig_packet(buf, 6, IPPROTO_TCP, 100);
	buf[20] = IPPROTO_FRAGMENT;
	assert_false(packet_parse(buf, n, &h));
	/* An endless chain of options ends. */
	n = rig_packet(buf, 6, IPPROTO_TCP, 400);
	buf[20] = IPPROTO_HOPOPTS;
	memset(buf + 54, 0, 400);
	assert_false(packet_parse(buf, n, &h));
}

static void sums(void **state)
{
	uint8_t buf[2000], copy[2000];

	EACH_KIND(v, p)
	{
		for (size_t payload = 0; payload < 200; payload += 1 + payload / 9) {
			struct packet_headers h;
			size_t n = rig_packet(buf, versions[v], protos[p], payload);

			assert_true(rig_packet_good(buf, n));
			assert_true(packet_parse(buf, n, &h));
			memcpy(copy, buf, n);
			rig_packet_blank(copy, n);
			assert_memory_not_equal(copy, buf, n);
			struct iovec iov = {copy, n};
			packet_finish_csum(&iov, 1, h.l4, h.csum, protos[p] == IPPROTO_UDP);
			assert_memory_equal(copy, buf, n);
		}
	}
}

/* However the packet is cut, at odd places too. */
static void sums_over_pieces(void **state)
{
	uint8_t buf[2000], copy[2000];
	struct packet_headers h;
	size_t n = rig_packet(buf, 4, IPPROTO_TCP, 777);

	assert_true(packet_parse(buf, n, &h));
	srand(1);
	for (int round = 0; round < 500; round++) {
		struct iovec iov[8];
		size_t at = 0;
		unsigned int nr = 0;

		memcpy(copy, buf, n);
		rig_packet_blank(copy, n);
		while (nr < 7 && at < n) {
			size_t len = (size_t)rand() % (n - at + 1);

			iov[nr++] = (struct iovec){copy + at, len};
			at += len;
		}
		iov[nr++] = (struct iovec){copy + at, n - at};
		packet_finish_csum(iov, nr, h.l4, h.csum, false);
		assert_memory_equal(copy, buf, n);
	}
}

static void never_sends_udp_without_checksum(void **state)
{
	/* Two bytes that make the sum 0xffff, whose complement would mean "none". */
	uint8_t data[10] = {0};
	struct iovec iov = {data, sizeof(data)};

	data[0] = data[1] = 0xff;
	packet_finish_csum(&iov, 1, 0, 6, true);
	assert_int_equal(data[6] << 8 | data[7], 0xffff);
	data[6] = data[7] = 0;
	packet_finish_csum(&iov, 1, 0, 6, false);
	assert_int_equal(data[6] << 8 | data[7], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_headers),
		cmocka_unit_test(finds_headers_behind_tags_and_options),
		cmocka_unit_test(refuses_what_it_cannot_sum),
		cmocka_unit_test(sums),
		cmocka_unit_test(sums_over_pieces),
		cmocka_unit_test(never_sends_udp_without_checksum),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
