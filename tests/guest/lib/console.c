/* SPDX-License-Identifier: MIT */
/* The PV console: a ring of characters; as dom0, the hypervisor's own console. */
#include "pvg.h"
#include <xen/io/console.h>

static volatile struct xencons_interface *ring;
static unsigned int port;

void pvg_console_init(void)
{
	if (start_info->flags & SIF_INITDOMAIN)
		return;
	ring = pvg_va_of_mfn(start_info->console.domU.mfn);
	port = start_info->console.domU.evtchn;
}

static void kick(void)
{
	struct evtchn_send send = {.port = port};

	HC2(event_channel_op, EVTCHNOP_send, &send);
}

static void put(char c)
{
	if (!ring) {
		HC3(console_io, CONSOLEIO_write, 1, &c);
		return;
	}
	while (ring->out_prod - ring->out_cons >= sizeof(ring->out)) {
		kick();
		HC2(sched_op, SCHEDOP_yield, 0);
	}
	ring->out[MASK_XENCONS_IDX(ring->out_prod, ring->out)] = c;
	wmb();
	ring->out_prod++;
}

void pvg_putc(char c)
{
	put(c);
	if (c == '\n' && ring)
		kick();
}

void pvg_console_flush(void)
{
	if (!ring)
		return;
	kick();
	while (ring->out_cons != ring->out_prod)
		HC2(sched_op, SCHEDOP_yield, 0);
}

int pvg_getc(void)
{
	int c;

	if (!ring || ring->in_cons == ring->in_prod)
		return -1;
	rmb();
	c = (u8)ring->in[MASK_XENCONS_IDX(ring->in_cons, ring->in)];
	mb();
	ring->in_cons++;
	kick();
	return c;
}
