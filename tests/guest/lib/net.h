/* SPDX-License-Identifier: MIT */
#ifndef PVG_NET_H
#define PVG_NET_H

#include "pvg.h"
#include <xen/io/netif.h>

#define PVG_NET_RX     64
#define PVG_NET_REF    16 /* the rings' grants, then those that the guest may use */
#define PVG_NET_RX_REF 128

struct pvg_net {
	struct netif_tx_sring *tx;
	struct netif_rx_sring *rx;
	u32 tx_prod, tx_cons, rx_prod, rx_cons;
	unsigned int port;
	u8 *rx_page[PVG_NET_RX];
	char path[64], backend_path[96];
};

/* Connects (also anew) to device/vif/<handle>; 0 or the step that failed. */
int pvg_net_open(struct pvg_net *n, unsigned int handle);
u64 pvg_net_back(struct pvg_net *n, const char *leaf);
bool pvg_net_wait_state(struct pvg_net *n, u64 state);
void pvg_net_state(struct pvg_net *n, u64 state);
void pvg_net_send_event(struct pvg_net *n);
void pvg_net_offer(struct pvg_net *n);
/* Entries of the transmit ring, publishing them, an answer (false: none within two seconds). */
void pvg_net_put(struct pvg_net *n, const void *entry, u32 size);
void pvg_net_push(struct pvg_net *n);
bool pvg_net_response(struct pvg_net *n, struct netif_tx_response *rsp);
/* One packet in one piece: its status. */
int pvg_net_send(struct pvg_net *n, u32 ref, u32 offset, u32 size, u32 flags);
/* A frame within this time: its length, or negative. */
long pvg_net_receive(struct pvg_net *n, u8 *buf, u32 size, u16 *flags, u64 ns);

#endif
