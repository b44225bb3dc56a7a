/* SPDX-License-Identifier: MIT */
/* A network front end: one queue, every page of it for the caller's use. */
#include "pvg.h"
#include "net.h"
#include <xen/io/xenbus.h>

static int write_number(struct pvg_net *n, const char *leaf, u64 value)
{
	return pvg_store_put(n->path, leaf, value) < 0;
}

u64 pvg_net_back(struct pvg_net *n, const char *leaf)
{
	return pvg_store_number(pvg_store_under(n->backend_path, leaf));
}

bool pvg_net_wait_state(struct pvg_net *n, u64 state)
{
	return pvg_store_wait(n->backend_path, "state", state, state);
}

void pvg_net_state(struct pvg_net *n, u64 state)
{
	write_number(n, "state", state);
}

void pvg_net_send_event(struct pvg_net *n)
{
	struct evtchn_send send = {.port = n->port};

	HC2(event_channel_op, EVTCHNOP_send, &send);
}

/* Offer a page again, or for the first time: entry i has page i. */
void pvg_net_offer(struct pvg_net *n)
{
	u32 i = n->rx_prod % PVG_NET_RX;

	pvg_grant(PVG_NET_RX_REF + i, 0, pvg_mfn_of(n->rx_page[i]), false);
	n->rx->ring[n->rx_prod % 256].req =
		(struct netif_rx_request){.id = (u16)i, .gref = PVG_NET_RX_REF + i};
	n->rx_prod++;
	wmb();
	n->rx->req_prod = n->rx_prod;
}

int pvg_net_open(struct pvg_net *n, unsigned int handle)
{
	struct evtchn_alloc_unbound alloc = {.dom = DOMID_SELF};
	u8 *tx = (u8 *)n->tx, *rx = (u8 *)n->rx;

	pvg_shared_init();
	pvg_store_init();
	pvg_grants_init();
	pvg_store_name(n->path, "device/vif/", handle);
	if (pvg_store_read(pvg_store_under(n->path, "backend"), n->backend_path,
			   sizeof(n->backend_path)) < 0)
		return 1;
	if (!pvg_net_wait_state(n, XenbusStateInitWait))
		return 2;
	n->tx = tx ? (void *)tx : pvg_page_alloc();
	n->rx = rx ? (void *)rx : pvg_page_alloc();
	memset(n->tx, 0, PAGE_SIZE);
	memset(n->rx, 0, PAGE_SIZE);
	n->tx->req_event = n->tx->rsp_event = n->rx->req_event = n->rx->rsp_event = 1;
	n->tx_prod = n->tx_cons = n->rx_prod = n->rx_cons = 0;
	pvg_grant(PVG_NET_REF, 0, pvg_mfn_of(n->tx), false);
	pvg_grant(PVG_NET_REF + 1, 0, pvg_mfn_of(n->rx), false);
	for (int i = 0; i < PVG_NET_RX; i++) {
		if (!n->rx_page[i])
			n->rx_page[i] = pvg_page_alloc();
		pvg_net_offer(n);
	}
	if (!n->port) {
		if (HC2(event_channel_op, EVTCHNOP_alloc_unbound, &alloc))
			return 3;
		n->port = alloc.port;
	}
	if (write_number(n, "tx-ring-ref", PVG_NET_REF) ||
	    write_number(n, "rx-ring-ref", PVG_NET_REF + 1) ||
	    write_number(n, "event-channel", n->port) || write_number(n, "request-rx-copy", 1) ||
	    write_number(n, "feature-rx-notify", 1) || write_number(n, "feature-sg", 1) ||
	    write_number(n, "feature-gso-tcpv4", 1))
		return 4;
	pvg_net_state(n, XenbusStateConnected);
	return pvg_net_wait_state(n, XenbusStateConnected) ? 0 : 5;
}

void pvg_net_put(struct pvg_net *n, const void *entry, u32 size)
{
	memcpy(&n->tx->ring[n->tx_prod++ % 256], entry, size);
}

void pvg_net_push(struct pvg_net *n)
{
	wmb();
	n->tx->req_prod = n->tx_prod;
	pvg_net_send_event(n);
}

bool pvg_net_response(struct pvg_net *n, struct netif_tx_response *rsp)
{
	u64 end = pvg_now() + 2000000000ul;

	n->tx->rsp_event = n->tx_cons + 1;
	mb();
	while (*(volatile u32 *)&n->tx->rsp_prod == n->tx_cons) {
		if (pvg_now() > end)
			return false;
		HC2(sched_op, SCHEDOP_yield, 0);
	}
	rmb();
	*rsp = n->tx->ring[n->tx_cons++ % 256].rsp;
	return true;
}

int pvg_net_send(struct pvg_net *n, u32 ref, u32 offset, u32 size, u32 flags)
{
	struct netif_tx_request req = {.gref = ref,
				       .offset = (u16)offset,
				       .flags = (u16)flags,
				       .id = 7,
				       .size = (u16)size};
	struct netif_tx_response rsp;

	pvg_net_put(n, &req, sizeof(req));
	pvg_net_push(n);
	if (!pvg_net_response(n, &rsp))
		return -99;
	return rsp.id == 7 ? rsp.status : -98;
}

long pvg_net_receive(struct pvg_net *n, u8 *buf, u32 size, u16 *flags, u64 ns)
{
	u64 end = pvg_now() + ns;
	struct netif_rx_response rsp;
	long total = 0;

	for (;;) {
		while (*(volatile u32 *)&n->rx->rsp_prod == n->rx_cons) {
			if (pvg_now() > end)
				return -1;
			n->rx->rsp_event = n->rx_cons + 1;
			HC2(sched_op, SCHEDOP_yield, 0);
		}
		rmb();
		rsp = n->rx->ring[n->rx_cons % 256].rsp;
		u8 *page = n->rx_page[n->rx_cons % PVG_NET_RX];
		n->rx_cons++;
		if (rsp.status < 0)
			return rsp.status;
		if (!total)
			*flags = rsp.flags;
		for (int i = 0; i < rsp.status && total < (long)size; i++)
			buf[total++] = page[rsp.offset + i];
		pvg_net_offer(n);
		if (!(rsp.flags & NETRXF_more_data))
			break;
	}
	if (n->rx_prod - n->rx->req_event < 64)
		pvg_net_send_event(n);
	return total;
}
