/* SPDX-License-Identifier: MIT */
/* A block front end with one request under way, and raw access to its ring. */
#include "pvg.h"
#include <xen/io/blkif.h>
#include <xen/io/xenbus.h>

/* Waits for the back end to reach `state`, or a later one. */
static bool wait_state(struct pvg_blk *b, u64 state)
{
	return pvg_store_wait(b->backend_path, "state", state, ~0ul);
}

int pvg_blk_open(struct pvg_blk *b, unsigned int vbd)
{
	struct evtchn_alloc_unbound alloc = {.dom = DOMID_SELF};

	memset(b, 0, sizeof(*b));
	pvg_shared_init();
	pvg_store_init();
	pvg_grants_init();
	pvg_store_name(b->path, "device/vbd/", vbd);
	if (pvg_store_read(pvg_store_under(b->path, "backend"), b->backend_path,
			   sizeof(b->backend_path)) < 0)
		return 1;
	b->backend = (unsigned int)pvg_store_number(pvg_store_under(b->path, "backend-id"));
	if (!wait_state(b, XenbusStateInitWait))
		return 2;
	b->sring = pvg_page_alloc();
	if (!b->sring)
		return 3;
	b->sring->req_event = b->sring->rsp_event = 1;
	/* refs 0-7 are reserved; each disk takes 64 of the rest */
	b->ref = 8 + (vbd & 0xf0) * 4;
	b->next_grant = b->ref + 1;
	pvg_grant(b->ref, (domid_t)b->backend, pvg_mfn_of(b->sring), false);
	alloc.remote_dom = (domid_t)b->backend;
	if (HC2(event_channel_op, EVTCHNOP_alloc_unbound, &alloc))
		return 4;
	b->port = alloc.port;
	if (pvg_store_put(b->path, "ring-ref", b->ref) < 0)
		return 5;
	if (pvg_store_put(b->path, "event-channel", b->port) < 0)
		return 6;
	pvg_store_write(pvg_store_under(b->path, "protocol"), "x86_64-abi");
	pvg_store_write(pvg_store_under(b->path, "state"), "3");
	if (!wait_state(b, XenbusStateConnected))
		return 7;
	b->sectors = pvg_store_number(pvg_store_under(b->backend_path, "sectors"));
	b->sector_size = pvg_store_number(pvg_store_under(b->backend_path, "sector-size"));
	b->info = pvg_store_number(pvg_store_under(b->backend_path, "info"));
	pvg_store_write(pvg_store_under(b->path, "state"), "4");
	return 0;
}

void pvg_blk_push(struct pvg_blk *b, const struct blkif_request *req)
{
	u32 n = __RD32((u32)((PAGE_SIZE - 64) / sizeof(b->sring->ring[0])));

	memcpy(&b->sring->ring[b->req_prod & (n - 1)].req, req, sizeof(*req));
	wmb();
	b->req_prod++;
	b->sring->req_prod = b->req_prod;
}

void pvg_blk_kick(struct pvg_blk *b)
{
	struct evtchn_send send = {.port = b->port};

	HC2(event_channel_op, EVTCHNOP_send, &send);
}

bool pvg_blk_wait(struct pvg_blk *b, struct blkif_response *rsp)
{
	u32 n = __RD32((u32)((PAGE_SIZE - 64) / sizeof(b->sring->ring[0])));
	u64 end = pvg_now() + 2000000000ul;

	b->sring->rsp_event = b->rsp_cons + 1;
	mb();
	while (*(volatile u32 *)&b->sring->rsp_prod == b->rsp_cons) {
		if (pvg_now() > end)
			return false;
		HC2(sched_op, SCHEDOP_yield, 0);
	}
	rmb();
	*rsp = *(struct blkif_response *)&b->sring->ring[b->rsp_cons & (n - 1)].rsp;
	b->rsp_cons++;
	return true;
}

int pvg_blk_do(struct pvg_blk *b, struct blkif_request *req)
{
	struct blkif_response rsp;

	req->handle = 0;
	req->id = 0x1000 + b->req_prod;
	pvg_blk_push(b, req);
	pvg_blk_kick(b);
	if (!pvg_blk_wait(b, &rsp))
		return -99;
	if (rsp.id != req->id || rsp.operation != req->operation)
		return -98;
	return rsp.status;
}

int pvg_blk_rw(struct pvg_blk *b, bool write, u64 sector, void *page, unsigned int first,
	       unsigned int last)
{
	struct blkif_request req = {
		.operation = write ? BLKIF_OP_WRITE : BLKIF_OP_READ,
		.nr_segments = 1,
		.sector_number = sector,
	};
	int status;

	pvg_grant(b->next_grant, (domid_t)b->backend, pvg_mfn_of(page), write);
	req.seg[0].gref = b->next_grant;
	req.seg[0].first_sect = (u8)first;
	req.seg[0].last_sect = (u8)last;
	status = pvg_blk_do(b, &req);
	pvg_grants[b->next_grant].flags = 0;
	return status;
}

int pvg_blk_close(struct pvg_blk *b)
{
	pvg_store_write(pvg_store_under(b->path, "state"), "5");
	if (!wait_state(b, XenbusStateClosing))
		return 1;
	pvg_store_write(pvg_store_under(b->path, "state"), "6");
	return wait_state(b, XenbusStateClosed) ? 0 : 2;
}
