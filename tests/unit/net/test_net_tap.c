/* SPDX-License-Identifier: MIT */
/*
 * Real tap devices, in a network namespace of the test's own: nothing of the host's is touched.
 * The host's side of the device is a packet socket or the namespace's own IP.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/rtnetlink.h>
#include <linux/sockios.h>

#include "rig.h"

static const char *no_tap; /* why there are none here */
static uint8_t packet[70000];
static struct rig_frame frame;
static const uint8_t guest_mac[6] = {0, 0x16, 0x3e, 1, 2, 3};

static int set_up(void **state)
{
	if (unshare(CLONE_NEWNET) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0) {
		no_tap = "no network namespaces here (needs root, or user namespaces)";
		return 0;
	}
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		no_tap = "/dev/net/tun cannot be opened here";
	else
		close(fd);
	return 0;
}

#define NEED_TAP()                                                                                 \
	do {                                                                                       \
		if (no_tap) {                                                                      \
			print_message("skipped: %s\n", no_tap);                                    \
			skip();                                                                    \
		}                                                                                  \
	} while (0)

static int open_tap(const char *name, bool must_exist, unsigned int queues,
		    struct net_link **ret_link)
{
	struct net_tap_params p = {
		.object = "rig",
		.name = name,
		.must_exist = must_exist,
		.max_queues = queues,
		.mac = guest_mac,
	};

	return net_link_open_tap(&p, ret_link);
}

/* An address for the host's side. */
static void set_address(const char *dev, const char *address)
{
	int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ifr = {0};
	struct sockaddr_in sin = {.sin_family = AF_INET};

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", dev);
	assert_int_equal(inet_pton(AF_INET, address, &sin.sin_addr), 1);
	memcpy(&ifr.ifr_addr, &sin, sizeof(sin));
	assert_int_equal(ioctl(sock, SIOCSIFADDR, &ifr), 0);
	inet_pton(AF_INET, "255.255.255.0", &sin.sin_addr);
	memcpy(&ifr.ifr_netmask, &sin, sizeof(sin));
	assert_int_equal(ioctl(sock, SIOCSIFNETMASK, &ifr), 0);
	close(sock);
}

static void get_mac(const char *dev, uint8_t mac[6])
{
	int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ifr = {0};

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", dev);
	assert_int_equal(ioctl(sock, SIOCGIFHWADDR, &ifr), 0);
	memcpy(mac, ifr.ifr_hwaddr.sa_data, 6);
	close(sock);
}

/* A rig on a new tap device, whose host's side is 10.0.0.1. */
static void start(struct rig *r, const char *name, unsigned int queues)
{
	struct net_link *link;

	rig_init(r);
	assert_int_equal(open_tap(name, false, queues, &link), 0);
	r->nr_queues = queues;
	rig_vif(r, queues, true, link);
	set_address(name, "10.0.0.1");
	rig_connect(r);
	for (unsigned int q = 0; q < queues; q++)
		rig_offer(r, q, RIG_RX + q * 64, 64);
	rig_run(r);
}

/* The next frame that is not the host's own chatter (router solicitations, MLD). */
static void receive(struct rig *r)
{
	do
		rig_until(r, rig_receive(r, 0, &frame));
	while (frame.data[12] == 0x86 && frame.data[13] == 0xdd && frame.data[20] != IPPROTO_UDP);
}

static void arp(uint8_t *p, const uint8_t *mac, unsigned int op)
{
	memcpy(p, "\xff\xff\xff\xff\xff\xff", 6);
	memcpy(p + 6, mac, 6);
	memcpy(p + 12, "\x08\x06\x00\x01\x08\x00\x06\x04\x00", 9);
	p[21] = (uint8_t)op;
	memcpy(p + 22, mac, 6);
	memcpy(p + 28, "\x0a\x00\x00\x02", 4);
	memset(p + 32, 0, 6);
	memcpy(p + 38, "\x0a\x00\x00\x01", 4);
}

/* Who has 10.0.0.1? The host's address, as its kernel answers. */
static void ask_arp(struct rig *r, uint8_t host_mac[6])
{
	uint8_t *page = fake_page(r->guest, RIG_DATA);

	arp(page, guest_mac, 1);
	assert_int_equal(rig_send(r, RIG_DATA, 60, 0), NETIF_RSP_OKAY);
	do
		receive(r);
	while (frame.data[12] != 8 || frame.data[13] != 6 || frame.data[21] != 2);
	memcpy(host_mac, frame.data + 22, 6);
}

static void arp_is_answered(void **state)
{
	uint8_t mac[6], want[6];
	struct rig r;

	NEED_TAP();
	start(&r, "rig0", 1);
	ask_arp(&r, mac);
	get_mac("rig0", want);
	assert_memory_equal(mac, want, 6);
	/* High, so that a bridge does not take it for its own. */
	assert_int_equal(want[0], 0xfe);
	assert_memory_equal(want + 1, guest_mac + 1, 5);
	rig_stop(&r);
	assert_int_equal(if_nametoindex("rig0"), 0);
}

/* UDP both ways through the kernel's own stack; the guest's checksum is left to the kernel. */
static void udp_both_ways(void **state)
{
	uint8_t mac[6], buf[2000];
	struct rig r;

	NEED_TAP();
	start(&r, "rig0", 1);
	ask_arp(&r, mac);
	int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons(2000)};
	assert_int_equal(bind(sock, (struct sockaddr *)&sin, sizeof(sin)), 0);
	for (int blank = 0; blank < 2; blank++) {
		size_t n = rig_packet(packet, 4, IPPROTO_UDP, 1000);

		memcpy(packet, mac, 6);
		memcpy(packet + 6, guest_mac, 6);
		/* From 10.0.0.2 to 10.0.0.1: the sums stay as they are. */
		memcpy(packet + 26, "\x0a\x00\x00\x02\x0a\x00\x00\x01", 8);
		if (blank)
			rig_packet_blank(packet, n);
		memcpy(fake_page(r.guest, RIG_DATA), packet, n);
		assert_int_equal(rig_send(&r, RIG_DATA, (unsigned)n,
					  blank ? NETTXF_csum_blank | NETTXF_data_validated : 0),
				 NETIF_RSP_OKAY);
		socklen_t len = sizeof(sin);
		assert_int_equal(recvfrom(sock, buf, sizeof(buf), 0, (struct sockaddr *)&sin, &len),
				 1000);
		assert_memory_equal(buf, packet + 42, 1000);
	}
	/* And back; the kernel asks for our address first. */
	assert_int_equal(sendto(sock, buf, 1400, 0, (struct sockaddr *)&sin, sizeof(sin)), 1400);
	receive(&r);
	if (frame.data[13] == 6) {
		uint8_t *page = fake_page(r.guest, RIG_DATA);

		arp(page, guest_mac, 2);
		memcpy(page + 32, mac, 6);
		rig_send(&r, RIG_DATA, 60, 0);
		receive(&r);
	}
	assert_memory_equal(frame.data, guest_mac, 6);
	assert_int_equal(frame.size, 1442);
	/* The kernel leaves the checksum to us, who leave it to the guest. */
	assert_true(frame.flags & NETRXF_csum_blank);
	assert_memory_equal(frame.data + 42, buf, 1400);
	close(sock);
	rig_stop(&r);
}

static int packet_socket(const char *dev)
{
	struct sockaddr_ll sll = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(0x88b5), /* for local experiments */
		.sll_ifindex = (int)if_nametoindex(dev),
	};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(0x88b5));

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&sll, sizeof(sll)), 0);
	return fd;
}

static void local_frame(size_t size)
{
	for (size_t i = 0; i < size; i++)
		packet[i] = (uint8_t)(i * 13 + size);
	memcpy(packet, "\xff\xff\xff\xff\xff\xff", 6);
	memcpy(packet + 6, guest_mac, 6);
	packet[12] = 0x88;
	packet[13] = 0xb5;
}

static void frames_of_all_sizes(void **state)
{
	uint8_t buf[2000];
	struct rig r;

	NEED_TAP();
	start(&r, "rig0", 1);
	int fd = packet_socket("rig0");
	for (size_t size = 60; size <= 1514; size += 97) {
		local_frame(size);
		memcpy(fake_page(r.guest, RIG_DATA), packet, size);
		assert_int_equal(rig_send(&r, RIG_DATA, (unsigned)size, 0), NETIF_RSP_OKAY);
		assert_int_equal(recv(fd, buf, sizeof(buf), 0), size);
		assert_memory_equal(buf, packet, size);
		assert_int_equal(send(fd, packet, size, 0), size);
		do
			receive(&r);
		while (frame.data[12] != 0x88);
		assert_int_equal(frame.size, size);
		assert_memory_equal(frame.data, packet, size);
	}
	close(fd);
	rig_stop(&r);
}

/* A large TCP segment is taken whole, and cut by the kernel where it leaves. */
static void large_segments(void **state)
{
	struct net_stats s;
	struct rig r;

	NEED_TAP();
	start(&r, "rig0", 1);
	for (int v = 4; v <= 6; v += 2) {
		size_t n = rig_packet(packet, (unsigned)v, IPPROTO_TCP, 60000);
		unsigned int slots = 0;

		rig_packet_blank(packet, n);
		for (size_t at = 0; at < n; at += 4096, slots++) {
			size_t len = n - at < 4096 ? n - at : 4096;

			memcpy(fake_page(r.guest, RIG_DATA + slots), packet + at, len);
			rig_tx(&r, 0, RIG_DATA + slots, 0, (unsigned)(at ? len : n),
			       (at + len < n ? NETTXF_more_data : 0) |
				       (at ? 0 : NETTXF_extra_info | NETTXF_csum_blank),
			       slots);
			if (!at)
				rig_tx_gso(&r, 0,
					   v == 4 ? XEN_NETIF_GSO_TYPE_TCPV4
						  : XEN_NETIF_GSO_TYPE_TCPV6,
					   1448);
		}
		rig_tx_push(&r, 0);
		struct netif_tx_response rsp;
		for (unsigned int i = 0; i <= slots; i++) {
			rig_until(&r, rig_tx_poll(&r, 0, &rsp));
			assert_int_equal(rsp.status, i == 1 ? NETIF_RSP_NULL : NETIF_RSP_OKAY);
		}
	}
	net_vif_stats(r.vif, &s);
	assert_int_equal(s.tx_packets, 2);
	assert_int_equal(s.tx_dropped, 0);
	rig_stop(&r);
}

static bool has_carrier(const char *dev)
{
	int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ifr = {0};

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", dev);
	assert_int_equal(ioctl(sock, SIOCGIFFLAGS, &ifr), 0);
	close(sock);
	return ifr.ifr_flags & IFF_RUNNING;
}

static void carrier_follows_the_guest(void **state)
{
	struct net_link *link;
	struct rig r;

	NEED_TAP();
	rig_init(&r);
	assert_int_equal(open_tap("rig0", false, 1, &link), 0);
	rig_vif(&r, 1, true, link);
	rig_until(&r, !has_carrier("rig0"));
	rig_connect(&r);
	rig_until(&r, has_carrier("rig0"));
	rig_front_state(&r, XenbusStateClosed);
	rig_until(&r, !has_carrier("rig0"));
	rig_stop(&r);
}

static void delete_device(const char *dev)
{
	struct {
		struct nlmsghdr h;
		struct ifinfomsg i;
	} m = {
		.h = {.nlmsg_len = sizeof(m),
		      .nlmsg_type = RTM_DELLINK,
		      .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
		.i = {.ifi_index = (int)if_nametoindex(dev)},
	};
	struct {
		struct nlmsghdr h;
		struct nlmsgerr e;
		char rest[256];
	} answer;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	assert_int_equal(send(fd, &m, sizeof(m), 0), sizeof(m));
	assert_true(recv(fd, &answer, sizeof(answer), 0) > 0);
	assert_int_equal(answer.e.error, 0);
	close(fd);
}

/* The device is deleted under us. */
static void a_deleted_device(void **state)
{
	struct net_link *link;
	struct rig r;

	NEED_TAP();
	/* Made by somebody else, to stay. */
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	struct ifreq ifr = {.ifr_name = "rig1", .ifr_flags = IFF_TAP | IFF_NO_PI};
	assert_int_equal(ioctl(fd, TUNSETIFF, &ifr), 0);
	assert_int_equal(ioctl(fd, TUNSETPERSIST, 1), 0);
	close(fd);
	rig_init(&r);
	assert_int_equal(open_tap("rig1", true, 1, &link), 0);
	rig_vif(&r, 1, true, link);
	set_address("rig1", "10.0.1.1");
	rig_connect(&r);
	rig_offer(&r, 0, RIG_RX, 64);
	rig_run(&r);
	delete_device("rig1");
	rig_until(&r, r.link_errors == 1);
	assert_int_equal(rig_send(&r, RIG_DATA, 100, 0), NETIF_RSP_DROPPED);
	rig_stop(&r);
}

static void multi_queue(void **state)
{
	struct rig r;

	NEED_TAP();
	start(&r, "rig0", 3);
	assert_int_equal(r.vif->max_queues, 3);
	int fd = packet_socket("rig0");
	/* From each queue, and what comes back arrives on one of them. */
	for (unsigned int i = 0; i < 30; i++) {
		struct netif_tx_response rsp;
		unsigned int q = i % 3;
		uint8_t buf[2000];
		bool got = false;

		local_frame(100 + i);
		memcpy(fake_page(r.guest, RIG_DATA), packet, 100 + i);
		rig_tx(&r, q, RIG_DATA, 0, 100 + i, 0, i);
		rig_tx_push(&r, q);
		rig_until(&r, rig_tx_poll(&r, q, &rsp));
		assert_int_equal(rsp.status, NETIF_RSP_OKAY);
		assert_int_equal(recv(fd, buf, sizeof(buf), 0), 100 + i);
		assert_memory_equal(buf, packet, 100 + i);
		assert_int_equal(send(fd, packet, 100 + i, 0), 100 + i);
		while (!got) {
			for (unsigned int k = 0; k < 3 && !got; k++)
				got = rig_receive(&r, k, &frame) && frame.data[12] == 0x88 &&
				      frame.size == 100 + i;
			rig_step(&r);
		}
		assert_memory_equal(frame.data, packet, 100 + i);
	}
	close(fd);
	/* A front end with fewer queues: all frames go to those that it has. */
	rig_front_state(&r, XenbusStateInitialising);
	rig_until(&r, rig_back_state(&r) == XenbusStateInitWait);
	xs_rm(r.store, RIG_FRONT "/multi-queue-num-queues");
	r.nr_queues = 1;
	rig_connect(&r);
	rig_offer(&r, 0, RIG_RX, 100);
	rig_run(&r);
	fd = packet_socket("rig0");
	for (unsigned int i = 0; i < 30; i++) {
		local_frame(200 + i);
		assert_int_equal(send(fd, packet, 200 + i, 0), 200 + i);
		do
			receive(&r);
		while (frame.data[12] != 0x88);
		assert_int_equal(frame.size, 200 + i);
	}
	close(fd);
	rig_stop(&r);
}

static void bridges(void **state)
{
	struct net_tap_params p = {.object = "rig", .bridge = "rigbr", .mac = guest_mac};
	struct net_link *link;

	NEED_TAP();
	assert_int_equal(net_link_open_tap(&p, &link), PVV_ENOENT);
	assert_non_null(strstr(pvv_error_get_message(pvv_error_last()), "no bridge 'rigbr'"));
	int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (ioctl(sock, SIOCBRADDBR, "rigbr") < 0) {
		print_message("skipped: no bridges here: %s\n", strerror(errno));
		close(sock);
		skip();
	}
	assert_int_equal(net_link_open_tap(&p, &link), 0);
	/* It can be taken out, so it was in. */
	struct ifreq ifr = {.ifr_name = "rigbr",
			    .ifr_ifindex = (int)if_nametoindex(net_link_name(link))};
	assert_int_equal(ioctl(sock, SIOCBRDELIF, &ifr), 0);
	net_link_free(link);
	ioctl(sock, SIOCBRDELBR, "rigbr");
	close(sock);
}

static void mistakes(void **state)
{
	struct net_link *link, *second;

	NEED_TAP();
	assert_int_equal(open_tap("rig7", true, 1, &link), PVV_ENOENT);
	assert_null(link);
	assert_int_equal(open_tap("a-name-that-is-too-long", false, 1, &link), PVV_EINVAL);
	assert_int_equal(open_tap("lo", false, 1, &link), PVV_EINVAL);
	assert_int_equal(open_tap("rig0", false, 1, &link), 0);
	assert_int_equal(open_tap("rig0", false, 1, &second), PVV_EBUSY);
	net_link_free(link);
}

/* Descriptors of the embedder's making. */
static void descriptors(void **state)
{
	static const struct {
		short flags;
		int result;
		bool offload;
	} cases[] = {
		{IFF_TAP | IFF_NO_PI | IFF_VNET_HDR, 0, true},
		{IFF_TAP | IFF_NO_PI, 0, false},
		{IFF_TUN | IFF_NO_PI, PVV_EINVAL, false},
	};
	struct net_link *link;

	NEED_TAP();
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	assert_int_equal(net_link_open_fd("rig", fd, &link), PVV_EINVAL);
	close(fd);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ifreq ifr = {.ifr_name = "rig3", .ifr_flags = cases[i].flags};

		fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
		assert_int_equal(ioctl(fd, TUNSETIFF, &ifr), 0);
		int ret = net_link_open_fd("rig", fd, &link);
		if (ret != cases[i].result)
			fail_msg("case %zu: %d", i, ret);
		close(fd);
		if (cases[i].result)
			continue;
		assert_string_equal(net_link_name(link), "rig3");
		assert_int_equal(link->offload, cases[i].offload);
		net_link_free(link);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(arp_is_answered),
		cmocka_unit_test(udp_both_ways),
		cmocka_unit_test(frames_of_all_sizes),
		cmocka_unit_test(large_segments),
		cmocka_unit_test(carrier_follows_the_guest),
		cmocka_unit_test(a_deleted_device),
		cmocka_unit_test(multi_queue),
		cmocka_unit_test(bridges),
		cmocka_unit_test(mistakes),
		cmocka_unit_test(descriptors),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
