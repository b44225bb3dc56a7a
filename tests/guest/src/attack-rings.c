/* SPDX-License-Identifier: MIT */
/* Garbage in every ring the back ends read. One build attacks one of them. */
#include "pvg.h"
#include <xen/io/blkif.h>
#include <xen/io/console.h>
#include <xen/io/xs_wire.h>

static u64 seed = 0x5eed5eed5eed5eedul;
static u64 rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static void __unused_ kick(unsigned int port)
{
	struct evtchn_send s = {.port = port};

	HC2(event_channel_op, EVTCHNOP_send, &s);
}

static void __unused_ spin(u64 ms)
{
	u64 end = pvg_now() + ms * 1000000;

	while (pvg_now() < end)
		HC2(sched_op, SCHEDOP_yield, 0);
}

void guest_main(void)
{
	pvg_events_init();
	pvg_traps_init();
	printf("before\n");
	pvg_console_flush();
#if defined CONSOLE
	{
		volatile struct xencons_interface *r = pvg_va_of_mfn(start_info->console.domU.mfn);
		u32 prod = r->out_prod;

		/* more than the ring holds: nothing of it may be taken for output */
		for (int i = 0; i < 1000; i++) {
			r->out_prod = prod + 4096 + (u32)rnd() % 1000000;
			r->in_cons = (u32)rnd();
			kick(start_info->console.domU.evtchn);
		}
		spin(50);
		r->in_cons = r->in_prod;
		r->out_prod = r->out_cons;
	}
#elif defined STORE
	{
		volatile struct xenstore_domain_interface *r = pvg_va_of_mfn(start_info->store_mfn);

		for (int i = 0; i < 2000; i++) {
			for (int k = 0; k < 1024; k += 8)
				*(volatile u64 *)&r->req[k] = rnd();
			r->req_prod = i & 1 ? (u32)rnd() : r->req_cons + (u32)rnd() % 1024;
			r->rsp_cons = i & 2 ? (u32)rnd() : r->rsp_prod;
			kick(start_info->store_evtchn);
		}
		spin(50);
	}
#elif defined BLOCK
	{
		struct pvg_blk b;
		u64 *page = pvg_page_alloc();
		struct blkif_request req;
		int r = pvg_blk_open(&b, 51712);

		printf("open: %d, read: %d\n", r, pvg_blk_rw(&b, false, 0, page, 0, 7));
		pvg_grant(b.next_grant, (domid_t)b.backend, pvg_mfn_of(page), false);
		for (int i = 0; i < 3000; i++) {
			u64 *w = (u64 *)&req;

			for (unsigned int k = 0; k < sizeof(req) / 8; k++)
				w[k] = rnd() & rnd();
			req.operation = (u8)(rnd() % 8);
			req.nr_segments = (u8)(rnd() % 14);
			for (int k = 0; k < 11; k++)
				if (rnd() & 1)
					req.seg[k].gref = b.next_grant;
			pvg_blk_push(&b, &req);
			if (i % 16 == 15) {
				pvg_blk_kick(&b);
				HC2(sched_op, SCHEDOP_yield, 0);
			}
		}
		spin(100);
		for (int i = 0; i < 1000; i++) { /* impossible producers */
			b.sring->req_prod = (u32)rnd();
			pvg_blk_kick(&b);
		}
		spin(100);
	}
#elif defined EVENTS
	{
		struct evtchn_bind_ipi ipi = {.vcpu = 0};

		/* pending bits of everything, and a flood */
		HC2(event_channel_op, EVTCHNOP_bind_ipi, &ipi);
		for (int i = 0; i < 100000; i++) {
			pvg_shared->evtchn_pending[rnd() % 64] = rnd();
			pvg_shared->evtchn_mask[rnd() % 64] = rnd();
			VCPU0->evtchn_pending_sel = rnd();
			kick((unsigned int)(rnd() % 16));
			if (i % 1000 == 0)
				pvg_sti(), pvg_cli();
		}
		memset((void *)pvg_shared->evtchn_pending, 0, 512);
		memset((void *)pvg_shared->evtchn_mask, 0xff, 512);
		VCPU0->evtchn_pending_sel = 0;
	}
#elif defined SHARED_INFO
	{
		/* all of it, at random, for a while */
		for (int i = 0; i < 20000; i++) {
			for (int k = 0; k < 512; k++)
				((volatile u64 *)pvg_shared)[k] = rnd();
			VCPU0->evtchn_upcall_mask = 1;
			pvg_force_callback();
		}
		memset(pvg_shared, 0, 4096);
		VCPU0->evtchn_upcall_mask = 1;
		pvg_mask_port(start_info->console.domU.evtchn);
		pvg_mask_port(start_info->store_evtchn);
	}
#elif defined GRANTS
	{
		pvg_grants_init();
		for (int i = 0; i < 50000; i++) {
			struct gnttab_copy c;
			struct gnttab_map_grant_ref m;
			u64 *w = (u64 *)&c;

			((volatile u64 *)pvg_grants)[rnd() % 512] = rnd();
			for (unsigned int k = 0; k < sizeof(c) / 8; k++)
				w[k] = rnd() & rnd() & 0xffff0fff0000ffff;
			c.source.domid = c.dest.domid = DOMID_SELF;
			/* frames of the pool only: this guest wants to live */
			c.flags = (u16)(rnd() & 3) | GNTCOPY_dest_gref;
			c.dest.u.ref = (u32)rnd() % 8;
			pvg_grants[c.dest.u.ref].flags = 0;
			HC3(grant_table_op, GNTTABOP_copy, &c, 1);
			memset(&m, 0, sizeof(m));
			m.host_addr = rnd();
			m.flags = (u32)rnd();
			m.ref = (u32)rnd() % 1024;
			m.dom = (domid_t)rnd();
			HC3(grant_table_op, GNTTABOP_map_grant_ref, &m, 1);
		}
		memset(pvg_grants, 0, 4096);
	}
#else
#error "no ring was chosen"
#endif
	printf("alive\n");
}
