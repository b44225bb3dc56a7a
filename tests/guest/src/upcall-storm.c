/* SPDX-License-Identifier: MIT */
/*
 * Each upcall causes the next one. On Xen this guest hangs, as Debian's rt kernel does in every
 * second boot; here what was interrupted gets on (src/core/event/deliver.c). The transcript is
 * written by hand.
 */
#include "pvg.h"

static unsigned int port;
static volatile bool storming;

static void another(void)
{
	struct evtchn_send s = {.port = port};

	if (storming)
		HC2(event_channel_op, EVTCHNOP_send, &s);
}

static void storm(const char *how, bool callback)
{
	volatile u64 progress = 0;

	pvg_upcalls = 0;
	storming = true;
	another();
	while (progress < 100000) {
		progress++;
		if (callback)
			pvg_force_callback();
	}
	storming = false;
	if (!callback)
		pvg_force_callback();
	printf("%s: upcalls %d, it got on\n", how, pvg_upcalls > 64);
	pvg_upcalls = 0;
	another();
	pvg_force_callback();
	printf("and then it is quiet: upcalls %d\n", pvg_upcalls);
}

void guest_main(void)
{
	struct evtchn_bind_ipi b = {.vcpu = 0};

	pvg_events_init();
	HC2(event_channel_op, EVTCHNOP_bind_ipi, &b);
	port = b.port;
	pvg_upcall_end = another;
	pvg_sti();
	storm("a loop", false);
	storm("a loop of hypercalls", true);
}
