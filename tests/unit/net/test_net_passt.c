/* SPDX-License-Identifier: MIT */
/*
 * User networking: passt as a process that does not show, in a network namespace of the test's own
 * with one interface that leads nowhere.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rig.h"

static const char *no_passt;
static struct rig_frame frame;
static const uint8_t guest_mac[6] = {0, 0x16, 0x3e, 1, 2, 3};
static volatile sig_atomic_t sigchlds;

static void on_sigchld(int sig)
{
	(void)sig;
	sigchlds++;
}

static int set_up(void **state)
{
	static const char script[] = "ip link set lo up && ip tuntap add dev out mode tap && "
				     "ip addr add 192.0.2.2/24 dev out && ip link set out up && "
				     "ip route add default via 192.0.2.1";

	if (system("command -v passt >/dev/null && command -v ip >/dev/null") != 0)
		no_passt = "passt or ip (iproute2) is not installed";
	else if (unshare(CLONE_NEWNET) < 0)
		no_passt = "no network namespaces here (needs root)";
	else if (system(script) != 0)
		no_passt = "no interface can be made here (/dev/net/tun)";
	signal(SIGCHLD, on_sigchld);
	return 0;
}

#define NEED_PASST()                                                                               \
	do {                                                                                       \
		if (no_passt) {                                                                    \
			print_message("skipped: %s\n", no_passt);                                  \
			skip();                                                                    \
		}                                                                                  \
		sigchlds = 0;                                                                      \
	} while (0)

static void start(struct rig *r, const char *const *forwards, size_t nr_forwards)
{
	struct net_user_params p = {
		.object = "rig",
		.mac = guest_mac,
		.forwards = forwards,
		.nr_forwards = nr_forwards,
	};
	struct net_link *link;

	rig_init(r);
	assert_int_equal(net_link_open_user(&p, &link), 0);
	assert_string_equal(net_link_name(link), "passt");
	rig_vif(r, 1, false, link);
	rig_connect(r);
	rig_offer(r, 0, RIG_RX, 64);
	rig_run(r);
}

static unsigned int get16(const uint8_t *p)
{
	return (unsigned int)p[0] << 8 | p[1];
}

/* Nothing of it is to be seen: no child, no signal. */
static void expect_invisible(void)
{
	assert_int_equal(waitpid(-1, NULL, WNOHANG | __WALL), -1);
	assert_int_equal(errno, ECHILD);
	assert_int_equal(sigchlds, 0);
}

/* Who has the gateway? Somebody else's address is not asked for: passt answers in its place. */
static void ask_arp(struct rig *r)
{
	uint8_t *p = fake_page(r->guest, RIG_DATA);

	memset(p, 0, 60);
	memcpy(p, "\xff\xff\xff\xff\xff\xff", 6);
	memcpy(p + 6, guest_mac, 6);
	memcpy(p + 12, "\x08\x06\x00\x01\x08\x00\x06\x04\x00\x01", 10);
	memcpy(p + 22, guest_mac, 6);
	memcpy(p + 28, "\xc0\x00\x02\x02", 4);
	memcpy(p + 38, "\xc0\x00\x02\x01", 4);
	assert_int_equal(rig_send(r, RIG_DATA, 42, 0), NETIF_RSP_OKAY);
	do
		rig_until(r, rig_receive(r, 0, &frame));
	while (get16(frame.data + 12) != 0x0806);
	assert_int_equal(frame.data[21], 2);
	assert_memory_equal(frame.data + 28, "\xc0\x00\x02\x01", 4);
	/* Sums that passt made itself need no check. */
	assert_int_equal(frame.flags, NETRXF_data_validated);
}

static void arp(void **state)
{
	struct rig r;

	NEED_PASST();
	start(&r, NULL, 0);
	expect_invisible();
	ask_arp(&r);
	rig_stop(&r);
	expect_invisible();
}

/* DHCP gives the guest the host's address, the gateway's and the large MTU. */
static void dhcp(void **state)
{
	struct rig r;

	NEED_PASST();
	start(&r, NULL, 0);
	uint8_t *p = fake_page(r.guest, RIG_DATA);
	size_t n = 14 + 20 + 8 + 240 + 60;
	memset(p, 0, n);
	memcpy(p, "\xff\xff\xff\xff\xff\xff", 6);
	memcpy(p + 6, guest_mac, 6);
	memcpy(p + 12, "\x08\x00\x45\x00", 4);
	p[16] = (uint8_t)((n - 14) >> 8);
	p[17] = (uint8_t)(n - 14);
	p[22] = 64;
	p[23] = IPPROTO_UDP;
	memset(p + 30, 0xff, 4);
	struct iovec ip = {p + 14, 20};
	packet_finish_csum(&ip, 1, 0, 10, false);
	p[35] = 68;
	p[37] = 67;
	p[38] = (uint8_t)((n - 34) >> 8);
	p[39] = (uint8_t)(n - 34);
	memcpy(p + 42, "\x01\x01\x06\x00\x12\x34\x56\x78", 8);
	memcpy(p + 42 + 28, guest_mac, 6);
	memcpy(p + 42 + 236, "\x63\x82\x53\x63\x35\x01\x01\xff", 8);
	assert_int_equal(rig_send(&r, RIG_DATA, (unsigned int)n, 0), NETIF_RSP_OKAY);
	do
		rig_until(&r, rig_receive(&r, 0, &frame));
	while (get16(frame.data + 12) != 0x0800 || frame.data[23] != IPPROTO_UDP ||
	       get16(frame.data + 36) != 68);
	assert_memory_equal(frame.data + 42 + 4, "\x12\x34\x56\x78", 4);
	assert_memory_equal(frame.data + 42 + 16, "\xc0\x00\x02\x02", 4);
	/* Option 26: the MTU. */
	const uint8_t *o = frame.data + 42 + 240, *end = frame.data + frame.size;
	unsigned int mtu = 0;
	while (o + 2 < end && *o != 255) {
		if (*o == 26)
			mtu = get16(o + 2);
		o += *o ? 2 + o[1] : 1;
	}
	assert_int_equal(mtu, 65520);
	rig_stop(&r);
}

/* A connection to the host's port arrives as a SYN at the guest's. */
static void a_forwarded_port(void **state)
{
	static const char *const forwards[] = {"-t", "127.0.0.1/18080:80"};
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons(18080)};
	struct rig r;

	NEED_PASST();
	start(&r, forwards, 2);
	ask_arp(&r); /* now it is ready, and knows our address */
	inet_pton(AF_INET, "127.0.0.1", &sin.sin_addr);
	int sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_true(connect(sock, (struct sockaddr *)&sin, sizeof(sin)) == 0 ||
		    errno == EINPROGRESS);
	do
		rig_until(&r, rig_receive(&r, 0, &frame));
	while (get16(frame.data + 12) != 0x0800 || frame.data[23] != IPPROTO_TCP);
	assert_int_equal(get16(frame.data + 36), 80);
	assert_int_equal(frame.data[47] & 0x12, 0x02); /* SYN, not ACK */
	assert_true(rig_packet_good(frame.data, frame.size));
	close(sock);
	rig_stop(&r);
	expect_invisible();
}

/* What passt finds wrong is said in its own words. */
static void says_what_is_wrong(void **state)
{
	static const char *const forwards[] = {"-t", "99999"};
	struct net_user_params p = {
		.object = "rig",
		.mac = guest_mac,
		.forwards = forwards,
		.nr_forwards = 2,
	};
	struct net_link *link;

	NEED_PASST();
	assert_int_equal(net_link_open_user(&p, &link), 0);
	uint64_t end = io_now_ns() + 20000000000u;
	while (net_link_check(link) == 0 && io_now_ns() < end)
		usleep(1000);
	assert_int_equal(net_link_check(link), PVV_EIO);
	assert_non_null(strstr(pvv_error_get_message(pvv_error_last()), "99999"));
	net_link_free(link);
	expect_invisible();
}

static void not_installed(void **state)
{
	struct net_user_params p = {.object = "rig", .mac = guest_mac};
	struct net_link *link;

	p.program = "no-such-passt";
	assert_int_equal(net_link_open_user(&p, &link), PVV_EUNSUPPORTED);
	assert_null(link);
	assert_non_null(strstr(pvv_error_get_message(pvv_error_last()), "install"));
	/* A program that cannot be run at all. */
	char path[] = "/var/tmp/pvv-passt-XXXXXX";
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "\177ELF nonsense", 13), 13);
	fchmod(fd, 0755);
	close(fd);
	p.program = path;
	int r = net_link_open_user(&p, &link);
	unlink(path);
	assert_int_equal(r, PVV_ESYS);
	assert_null(link);
	expect_invisible();
}

/* The process is ended when the link is closed: its end of the socket is not there any more. */
static void ends_with_the_link(void **state)
{
	struct rig r;

	NEED_PASST();
	for (int i = 0; i < 3; i++) {
		static const char *const forwards[] = {"-t", "127.0.0.1/18081:80"};

		start(&r, forwards, 2);
		ask_arp(&r); /* had the last one stayed, it would have the port */
		rig_stop(&r);
		/* Until the port is free again. */
		struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons(18081)};
		uint64_t end = io_now_ns() + 20000000000u;
		int ret;
		do {
			int one = 1, sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

			setsockopt(sock, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
			inet_pton(AF_INET, "127.0.0.1", &sin.sin_addr);
			ret = bind(sock, (struct sockaddr *)&sin, sizeof(sin));
			if (ret == 0)
				ret = listen(sock, 1);
			close(sock);
		} while (ret < 0 && io_now_ns() < end);
		assert_int_equal(ret, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(arp),
		cmocka_unit_test(dhcp),
		cmocka_unit_test(a_forwarded_port),
		cmocka_unit_test(says_what_is_wrong),
		cmocka_unit_test(not_installed),
		cmocka_unit_test(ends_with_the_link),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
