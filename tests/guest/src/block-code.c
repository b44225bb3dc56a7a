/* SPDX-License-Identifier: MIT */
/*
 * Code that comes from a disk: read over code that was run just before, by a guest that only looks
 * at its ring (no hypercall, no event) and jumps as soon as the response is there.
 */
#include "pvg.h"
#include <xen/io/blkif.h>

#define BLOCKS 4u
#define ROUNDS 2000u

static struct pvg_blk blk;
static u8 *code;

static bool wait_and_look_only(void)
{
	u64 end = pvg_now() + 5000000000ul;

	while (*(volatile u32 *)&blk.sring->rsp_prod == blk.rsp_cons)
		if (pvg_now() > end)
			return false;
	blk.rsp_cons++;
	return true;
}

void guest_main(void)
{
	struct blkif_request req = {.operation = BLKIF_OP_READ, .nr_segments = 1};
	u32 stale = 0, lost = 0;
	u8 *page;

	pvg_events_init();
	pvg_traps_init();
	pvg_store_init();
	printf("open: %d\n", pvg_blk_open(&blk, 51712));
	code = pvg_page_alloc();
	page = pvg_page_alloc();
	for (u32 i = 0; i < BLOCKS; i++) {
		pvg_code_put(page, 100 + i);
		printf("write block %d: %d\n", i, pvg_blk_rw(&blk, true, i * 8, page, 0, 7));
	}
	pvg_code_put(code, 99);
	printf("before: %d\n", pvg_code_run(code));
	pvg_grant(blk.next_grant, (domid_t)blk.backend, pvg_mfn_of(code), false);
	req.seg[0].gref = blk.next_grant;
	req.seg[0].last_sect = 7;
	for (u32 i = 0; i < ROUNDS; i++) {
		req.sector_number = i % BLOCKS * 8;
		req.id = i;
		pvg_blk_push(&blk, &req);
		pvg_blk_kick(&blk);
		if (!wait_and_look_only())
			lost++;
		stale += pvg_code_run(code) != 100 + i % BLOCKS;
	}
	printf("%d reads: %d without an answer, %d times stale code was run\n", ROUNDS, lost,
	       stale);
}
