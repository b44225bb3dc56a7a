/* SPDX-License-Identifier: MIT */
/*
 * The network front end against the back end; the other side of the link is netpeer.py, which
 * answers ARP, ICMP echo and UDP as a host at 10.0.0.1 would. At the end, what a hostile front end
 * may try.
 */
#include "net.h"
#include <xen/io/xenbus.h>

static struct pvg_net net;
static u8 *page[4];
static u8 buf[70000];
static const u8 mac[6] = {0, 0x16, 0x3e, 0x11, 0x22, 0x33};

static void put16(u8 *p, u32 v)
{
	p[0] = (u8)(v >> 8);
	p[1] = (u8)v;
}

static u32 get16(const u8 *p)
{
	return (u32)p[0] << 8 | p[1];
}

static u32 sum(const u8 *p, u32 len, u32 start)
{
	for (u32 i = 0; i < len; i++)
		start += i & 1 ? p[i] : (u32)p[i] << 8;
	while (start >> 16)
		start = (start & 0xffff) + (start >> 16);
	return start;
}

static void ethernet(u8 *p, u32 type)
{
	memset(p, 0xff, 6);
	memcpy(p + 6, mac, 6);
	put16(p + 12, type);
}

/* From 10.0.0.2 to 10.0.0.1 with `len` bytes behind the header; where those begin. */
static u8 *ip(u8 *p, u32 proto, u32 len)
{
	ethernet(p, 0x0800);
	memset(p + 14, 0, 20);
	p[14] = 0x45;
	put16(p + 16, 20 + len);
	p[22] = 64;
	p[23] = (u8)proto;
	memcpy(p + 26, "\x0a\0\0\2\x0a\0\0\1", 8);
	put16(p + 24, ~sum(p + 14, 20, 0));
	return p + 34;
}

static u32 udp_pseudo(u32 len)
{
	u8 h[12] = {10, 0, 0, 2, 10, 0, 0, 1, 0, 17, (u8)(len >> 8), (u8)len};

	return sum(h, 12, 0);
}

/* The next frame for us, of this type; its length. */
static long await(u32 type)
{
	u16 flags;
	long n;

	do
		n = pvg_net_receive(&net, buf, sizeof(buf), &flags, 3000000000ul);
	while (n > 0 && get16(buf + 12) != type);
	return n;
}

static void arp(void)
{
	u8 *p = page[0];

	ethernet(p, 0x0806);
	memcpy(p + 14, "\0\1\x08\0\6\4\0\1", 8);
	memcpy(p + 22, mac, 6);
	memcpy(p + 28, "\x0a\0\0\2\0\0\0\0\0\0\x0a\0\0\1", 14);
	printf("arp request: %d\n", pvg_net_send(&net, PVG_NET_REF + 2, 0, 42, 0));
	long n = await(0x0806);
	printf("answer: %d bytes, reply %d, from 10.0.0.1 %d\n", (int)n, buf[21] == 2,
	       !memcmp(buf + 28, "\x0a\0\0\1", 4));
}

static void ping(u32 len)
{
	u8 *p = ip(page[0], 1, 8 + len);

	memset(p, 0, 8);
	p[0] = 8;
	put16(p + 6, len);
	for (u32 i = 0; i < len; i++)
		p[8 + i] = (u8)(i * 7);
	put16(p + 2, ~sum(p, 8 + len, 0));
	int r = pvg_net_send(&net, PVG_NET_REF + 2, 0, 42 + len, 0);
	long n = await(0x0800);
	printf("ping with %d bytes: %d", (int)len, r);
	printf(", answer %d bytes, right %d\n", (int)n,
	       n == (long)(42 + len) && buf[34] == 0 && !memcmp(buf + 42, p + 8, len));
}

/* A packet of three pieces whose checksum the back end has to make. */
static void udp_in_pieces(void)
{
	struct netif_tx_request req[3];
	struct netif_tx_response rsp;
	u32 len = 3000, at = 0, size[3] = {50, 1950, 0};
	static u8 packet[3100];
	u8 *p = ip(packet, 17, 8 + len);

	put16(p, 1000);
	put16(p + 2, 7);
	put16(p + 4, 8 + len);
	put16(p + 6, udp_pseudo(8 + len));
	for (u32 i = 0; i < len; i++)
		p[8 + i] = (u8)(i * 3 + 1);
	size[2] = 42 + len - 2000;
	for (u32 i = 0; i < 3; i++) {
		memcpy(page[i] + 100 * i, packet + at, size[i]);
		at += size[i];
		req[i] = (struct netif_tx_request){
			.gref = PVG_NET_REF + 2 + i,
			.offset = (u16)(100 * i),
			.flags = (u16)((i < 2 ? NETTXF_more_data : 0) |
				       (i ? 0 : NETTXF_csum_blank | NETTXF_data_validated)),
			.id = (u16)(40 + i),
			.size = (u16)(i ? size[i] : 42 + len),
		};
		pvg_net_put(&net, &req[i], sizeof(req[i]));
	}
	pvg_net_push(&net);
	for (u32 i = 0; i < 3; i++) {
		bool got = pvg_net_response(&net, &rsp);

		printf("piece %d: %d %d\n", (int)i, got && rsp.id == 40 + i, rsp.status);
	}
	/* It comes back as it arrived there: with a whole checksum. */
	long n = await(0x0800);
	u32 s = sum(buf + 34, 8 + len, udp_pseudo(8 + len));
	printf("udp echo: %d bytes, data right %d, checksum right %d\n", (int)n,
	       !memcmp(buf + 42, packet + 42, len), s == 0xffff);
}

/* The peer sends a frame larger than three pages when it is asked to. */
static void large_frame(void)
{
	u8 *p = ip(page[0], 17, 8 + 4);
	u32 bad = 0;

	memset(p, 0, 12);
	put16(p, 1000);
	put16(p + 2, 9);
	put16(p + 4, 12);
	put16(p + 8, 14000);
	pvg_net_send(&net, PVG_NET_REF + 2, 0, 46, 0);
	long n = await(0x0800);
	for (u32 i = 0; i < 14000; i++)
		bad += buf[42 + i] != (u8)(i * 5);
	printf("a large frame: %d bytes, %d of them wrong\n", (int)n, (int)bad);
}

static void many(void)
{
	u32 ok = 0, back = 0;
	u16 flags;

	for (u32 i = 0; i < 500; i++) {
		u8 *p = ip(page[0], 1, 8 + 4);

		memset(p, 0, 12);
		p[0] = 8;
		put16(p + 8, i);
		put16(p + 2, ~sum(p, 12, 0));
		ok += pvg_net_send(&net, PVG_NET_REF + 2, 0, 46, 0) == NETIF_RSP_OKAY;
		long n = pvg_net_receive(&net, buf, sizeof(buf), &flags, 3000000000ul);
		back += n == 46 && get16(buf + 42) == i;
	}
	printf("500 pings: %d sent, %d answered\n", (int)ok, (int)back);
}

static void refusals(void)
{
	printf("13 bytes: %d\n", pvg_net_send(&net, PVG_NET_REF + 2, 0, 13, 0));
	printf("a grant that is none: %d\n", pvg_net_send(&net, 7, 0, 60, 0));
	printf("a grant beyond the table: %d\n", pvg_net_send(&net, 1 << 24, 0, 60, 0));
	memset(page[0], 0xaa, PAGE_SIZE);
	printf("a checksum of nothing: %d\n",
	       pvg_net_send(&net, PVG_NET_REF + 2, 0, 60, NETTXF_csum_blank));
}

/* It disconnects; and goes on as if nothing had been with one that begins anew. */
static void after_nonsense(const char *what)
{
	printf("%s: state %d", what, pvg_net_wait_state(&net, XenbusStateClosing));
	pvg_net_state(&net, XenbusStateInitialising);
	printf(", connects again: %d\n", pvg_net_open(&net, 0));
	ping(20);
}

static void hostile(void)
{
	struct netif_tx_request req = {.gref = PVG_NET_REF + 2, .offset = 4090, .size = 60};

	pvg_net_put(&net, &req, sizeof(req));
	pvg_net_push(&net);
	after_nonsense("over the end of a page");
	req.offset = 0;
	req.flags = NETTXF_more_data;
	pvg_net_put(&net, &req, sizeof(req));
	pvg_net_push(&net);
	after_nonsense("a packet without end");
	for (int i = 0; i < 200; i++)
		pvg_net_put(&net, &req, sizeof(req));
	pvg_net_push(&net);
	after_nonsense("a packet of 200 pieces");
	net.tx_prod += 300;
	pvg_net_push(&net);
	after_nonsense("an impossible index");
	/* Scribble over all of both rings, and events without end. */
	for (int i = 0; i < 64; i++) {
		memset(net.tx, i * 37 + 1, PAGE_SIZE);
		memset(net.rx, i * 91 + 1, PAGE_SIZE);
		for (int k = 0; k < 50; k++)
			pvg_net_send_event(&net);
	}
	after_nonsense("noise");
}

void guest_main(void)
{
	char text[32];

	pvg_events_init();
	pvg_traps_init();
	printf("connect: %d\n", pvg_net_open(&net, 0));
	pvg_store_read("device/vif/0/mac", text, sizeof(text));
	printf("mac %s\n", text);
	printf("gso %d, sg %d, csum6 %d, queues %d\n", (int)pvg_net_back(&net, "feature-gso-tcpv4"),
	       (int)pvg_net_back(&net, "feature-sg"),
	       (int)pvg_net_back(&net, "feature-ipv6-csum-offload"),
	       (int)pvg_net_back(&net, "multi-queue-max-queues"));
	for (u32 i = 0; i < 4; i++) {
		page[i] = pvg_page_alloc();
		pvg_grant(PVG_NET_REF + 2 + i, 0, pvg_mfn_of(page[i]), true);
	}
	arp();
	ping(56);
	ping(1400);
	udp_in_pieces();
	large_frame();
	many();
	refusals();
	ping(10);
	hostile();
	pvg_net_state(&net, XenbusStateClosing);
	printf("closing: %d\n", pvg_net_wait_state(&net, XenbusStateClosing));
	pvg_net_state(&net, XenbusStateClosed);
	printf("closed: %d\n", pvg_net_wait_state(&net, XenbusStateClosed));
}
