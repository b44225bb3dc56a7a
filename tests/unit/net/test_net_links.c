/* SPDX-License-Identifier: MIT */
/* Links made of descriptors: streams with lengths, messages, and what is neither. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rig.h"

static uint8_t packet[70000];
static struct rig_frame frame;

static void make(size_t size)
{
	for (size_t i = 0; i < size; i++)
		packet[i] = (uint8_t)(i * 11 + i / 253 + size);
}

/* A rig on one end of a socket pair; the other end. */
static int start(struct rig *r, int type)
{
	struct net_link *link;
	int pair[2];

	rig_init(r);
	assert_int_equal(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(net_link_open_fd("rig", pair[0], &link), 0);
	close(pair[0]); /* the link has its own */
	rig_vif(r, 1, false, link);
	assert_int_equal(rig_back_number(r, "feature-gso-tcpv4"), 0);
	rig_connect(r);
	rig_offer(r, 0, RIG_RX, 64);
	rig_run(r);
	return pair[1];
}

static void messages(void **state)
{
	static const int types[] = {SOCK_SEQPACKET, SOCK_DGRAM};

	for (int t = 0; t < 2; t++) {
		struct rig r;
		int fd = start(&r, types[t]);

		for (size_t size = 14; size < 60000; size = size * 2 + 1) {
			make(size);
			assert_int_equal(send(fd, packet, size, 0), size);
			rig_until(&r, rig_receive(&r, 0, &frame));
			assert_int_equal(frame.size, size);
			assert_memory_equal(frame.data, packet, size);
		}
		uint8_t *page = fake_page(r.guest, RIG_DATA);
		make(1500);
		memcpy(page, packet, 1500);
		assert_int_equal(rig_send(&r, RIG_DATA, 1500, 0), NETIF_RSP_OKAY);
		memset(packet, 0, 1500);
		assert_int_equal(recv(fd, packet, sizeof(packet), 0), 1500);
		assert_memory_equal(packet, page, 1500);
		rig_stop(&r);
		close(fd);
	}
}

static void put(int fd, const void *data, size_t size)
{
	const uint8_t *p = data;

	while (size) {
		ssize_t n = write(fd, p, size);

		assert_true(n > 0);
		p += n;
		size -= (size_t)n;
	}
}

/* Frames cut anywhere by the stream. */
static void stream_to_guest(void **state)
{
	struct rig r;
	int fd = start(&r, SOCK_STREAM);
	static uint8_t stream[8 * 70000];
	size_t size[8], end = 0;

	for (int round = 0; round < 20; round++) {
		end = 0;
		for (int i = 0; i < 8; i++) {
			size[i] = 14 + (size_t)rand() % (i & 1 ? 1500 : 20000);
			uint32_t length = htonl((uint32_t)size[i]);

			make(size[i]);
			memcpy(stream + end, &length, 4);
			memcpy(stream + end + 4, packet, size[i]);
			end += 4 + size[i];
		}
		int got = 0;
		for (size_t at = 0; at < end;) {
			size_t n = 1 + (size_t)rand() % 30000;

			n = n < end - at ? n : end - at;
			put(fd, stream + at, n);
			at += n;
			rig_step(&r);
			while (rig_receive(&r, 0, &frame)) {
				assert_int_equal(frame.size, size[got]);
				make(size[got]);
				assert_memory_equal(frame.data, packet, size[got]);
				got++;
			}
		}
		while (got < 8) {
			rig_until(&r, rig_receive(&r, 0, &frame));
			assert_int_equal(frame.size, size[got++]);
		}
	}
	rig_stop(&r);
	close(fd);
}

/* A slow reader: the stream fills, frames are cut, and still nothing is lost or mixed up. */
static void stream_from_guest(void **state)
{
	struct rig r;
	int fd = start(&r, SOCK_STREAM), got = 0, sent = 0;
	struct netif_tx_response rsp;
	static uint8_t buf[200000];
	size_t have = 0;

	for (unsigned int p = 0; p < 16; p++)
		for (unsigned int i = 0; i < 4096; i++)
			((uint8_t *)fake_page(r.guest, RIG_DATA + p))[i] = (uint8_t)(p * 3 + i);
	while (got < 400) {
		while (sent < 400 && r.q[0].tx_prod - r.q[0].tx_cons < 200) {
			unsigned int n = 1 + (unsigned int)sent % 16;

			for (unsigned int i = 0; i < n; i++)
				rig_tx(&r, 0, RIG_DATA + i, 0, i ? 4096 : n * 4096 - 1,
				       i + 1 < n ? NETTXF_more_data : 0, (unsigned int)sent);
			if (n == 1)
				r.q[0].tx_prod--, rig_tx(&r, 0, RIG_DATA, 0, 4095, 0, 0);
			sent++;
		}
		rig_tx_push(&r, 0);
		rig_step(&r);
		while (rig_tx_poll(&r, 0, &rsp))
			assert_int_equal(rsp.status, NETIF_RSP_OKAY);
		/* A little at a time. */
		ssize_t n = recv(fd, buf + have, 1 + (size_t)rand() % 50000, MSG_DONTWAIT);
		if (n > 0)
			have += (size_t)n;
		for (;;) {
			uint32_t length;

			if (have < 4)
				break;
			memcpy(&length, buf, 4);
			length = ntohl(length);
			assert_int_equal(length, (1 + (unsigned int)got % 16) * 4096 - 1);
			if (have < 4 + length)
				break;
			/* The first piece is what the others leave: one byte less. */
			assert_memory_equal(buf + 4, fake_page(r.guest, RIG_DATA), 4095);
			for (unsigned int p = 1; p < 1 + (unsigned int)got % 16; p++)
				assert_memory_equal(buf + 4 + 4095 + (p - 1) * 4096,
						    fake_page(r.guest, RIG_DATA + p), 4096);
			memmove(buf, buf + 4 + length, have - 4 - length);
			have -= 4 + length;
			got++;
		}
	}
	rig_stop(&r);
	close(fd);
}

static void the_other_side_goes(void **state)
{
	static const int types[] = {SOCK_STREAM, SOCK_SEQPACKET};

	for (int t = 0; t < 2; t++) {
		struct rig r;
		int fd = start(&r, types[t]);

		close(fd);
		rig_until(&r, r.link_errors == 1);
		assert_non_null(strstr(r.last_why, "closed the connection"));
		assert_int_equal(rig_send(&r, RIG_DATA, 100, 0), NETIF_RSP_DROPPED);
		rig_stop(&r);
	}
}

/* The other side goes while the guest offers no pages: noticed all the same, without spinning. */
static void goes_while_starved(void **state)
{
	struct net_link *link;
	struct rig r;
	int pair[2];

	rig_init(&r);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(net_link_open_fd("rig", pair[0], &link), 0);
	close(pair[0]);
	rig_vif(&r, 1, false, link);
	rig_connect(&r);
	close(pair[1]);
	rig_run(&r);
	assert_int_equal(rig_send(&r, RIG_DATA, 100, 0), NETIF_RSP_DROPPED);
	assert_int_equal(r.link_errors, 1);
	rig_stop(&r);
}

static void speaks_another_language(void **state)
{
	static const uint32_t lengths[] = {0, NET_FRAME_MAX + 1, 0x47455420, 0xffffffff};

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		struct rig r;
		int fd = start(&r, SOCK_STREAM);
		uint32_t length = htonl(lengths[i]);

		put(fd, &length, 4);
		rig_until(&r, r.link_errors == 1);
		rig_stop(&r);
		close(fd);
	}
}

static void what_is_no_link(void **state)
{
	struct net_link *link;
	int pipes[2], null = open("/dev/null", O_RDWR | O_CLOEXEC);

	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	assert_int_equal(net_link_open_fd("rig", null, &link), PVV_EINVAL);
	assert_null(link);
	assert_int_equal(net_link_open_fd("rig", pipes[0], &link), PVV_EINVAL);
	assert_int_equal(net_link_open_fd("rig", 12345, &link), PVV_ESYS);
	close(null);
	close(pipes[0]);
	close(pipes[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages),	      cmocka_unit_test(stream_to_guest),
		cmocka_unit_test(stream_from_guest),  cmocka_unit_test(the_other_side_goes),
		cmocka_unit_test(goes_while_starved), cmocka_unit_test(speaks_another_language),
		cmocka_unit_test(what_is_no_link),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
