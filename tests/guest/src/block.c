/* SPDX-License-Identifier: MIT */
/* The block front end against the back end: reading, writing, flushing, refusals. */
#include "pvg.h"
#include <xen/io/blkif.h>

#define DISK_A 51712 /* xvda */
#define DISK_B 51728 /* xvdb, read-only */

static struct pvg_blk a, b;
static u64 *page;

/* Each 8-byte word of the disk is its index times this. */
static u64 word(u64 index)
{
	return index * 0x9E3779B97F4A7C15ul;
}

static int check(u64 sector, unsigned int first, unsigned int last)
{
	for (unsigned int i = first * 64; i < (last + 1) * 64; i++)
		if (page[i] != word((sector - first) * 64 + i))
			return 0;
	return 1;
}

static void attach(const char *name, struct pvg_blk *d, unsigned int vbd)
{
	int r = pvg_blk_open(d, vbd);

	printf("%s: %d, %d sectors of %d, info %x\n", name, r, (int)d->sectors, (int)d->sector_size,
	       (unsigned int)d->info);
}

static void reads(void)
{
	u64 sum = 0, s;
	int r = 0;

	memset(page, 0, PAGE_SIZE);
	printf("read 8 sectors at 0: %d", pvg_blk_rw(&a, false, 0, page, 0, 7));
	printf(", right %d\n", check(0, 0, 7));
	memset(page, 0, PAGE_SIZE);
	printf("read sector 5 into 512..1023: %d", pvg_blk_rw(&a, false, 5, page, 1, 1));
	printf(", right %d, rest zero %d\n", check(5, 1, 1), page[0] == 0 && page[128] == 0);
	for (s = 0; s < a.sectors; s += 8) {
		r |= pvg_blk_rw(&a, false, s, page, 0, 7);
		for (int i = 0; i < 512; i++)
			sum += page[i];
	}
	printf("read the whole disk: %d, sum %lx\n", r, sum);
	printf("read the last sector: %d\n", pvg_blk_rw(&a, false, a.sectors - 1, page, 0, 0));
	printf("read past the end: %d\n", pvg_blk_rw(&a, false, a.sectors, page, 0, 0));
	printf("read across the end: %d\n", pvg_blk_rw(&a, false, a.sectors - 1, page, 0, 1));
	printf("read at 2^63: %d\n", pvg_blk_rw(&a, false, 1ul << 63, page, 0, 0));
	printf("read with first > last: %d\n", pvg_blk_rw(&a, false, 0, page, 3, 2));
	printf("read with last = 8: %d\n", pvg_blk_rw(&a, false, 0, page, 0, 8));
}

static void writes(void)
{
	struct blkif_request req;
	int r = 0;

	for (int i = 0; i < 512; i++)
		page[i] = 0xabcd0000u + (u64)i;
	printf("write 8 sectors at 16: %d\n", pvg_blk_rw(&a, true, 16, page, 0, 7));
	memset(page, 0, PAGE_SIZE);
	printf("read them back: %d", pvg_blk_rw(&a, false, 16, page, 0, 7));
	printf(", right %d\n", page[0] == 0xabcd0000u && page[511] == 0xabcd0000u + 511);
	printf("the sector before is as it was: %d", pvg_blk_rw(&a, false, 15, page, 0, 0));
	printf(", right %d\n", check(15, 0, 0));
	printf("write past the end: %d\n", pvg_blk_rw(&a, true, a.sectors, page, 0, 0));
	memset(&req, 0, sizeof(req));
	req.operation = BLKIF_OP_FLUSH_DISKCACHE;
	printf("flush: %d\n", pvg_blk_do(&a, &req));
	for (int i = 0; i < 200; i++) {
		page[0] = (u64)i;
		r |= pvg_blk_rw(&a, true, 100 + (u64)i, page, 0, 0);
	}
	for (int i = 199; i >= 0; i--) {
		r |= pvg_blk_rw(&a, false, 100 + (u64)i, page, 0, 0);
		if (page[0] != (u64)i)
			r |= 1024;
	}
	printf("200 writes and reads of one sector: %d\n", r);
	printf("read-only disk, read: %d", pvg_blk_rw(&b, false, 3, page, 0, 0));
	printf(", right %d\n", check(3, 0, 0));
	printf("read-only disk, write: %d\n", pvg_blk_rw(&b, true, 3, page, 0, 0));
	printf("read-only disk, read again: %d", pvg_blk_rw(&b, false, 3, page, 0, 0));
	printf(", right %d\n", check(3, 0, 0));
}

static struct blkif_request one(unsigned int op, unsigned int ref)
{
	struct blkif_request req;

	memset(&req, 0, sizeof(req));
	req.operation = (u8)op;
	req.nr_segments = 1;
	req.seg[0].gref = ref;
	return req;
}

static void refusals(void)
{
	struct blkif_request req;

	pvg_grant(a.next_grant, (domid_t)a.backend, pvg_mfn_of(page), false);
	req = one(BLKIF_OP_READ, 7);
	printf("a grant that is none: %d\n", pvg_blk_do(&a, &req));
	req = one(BLKIF_OP_READ, 1 << 24);
	printf("a grant beyond the table: %d\n", pvg_blk_do(&a, &req));
	req = one(BLKIF_OP_READ, a.next_grant);
	req.nr_segments = 0;
	printf("no segments: %d\n", pvg_blk_do(&a, &req));
	req.nr_segments = 12;
	printf("12 segments: %d\n", pvg_blk_do(&a, &req));
	req.nr_segments = 255;
	printf("255 segments: %d\n", pvg_blk_do(&a, &req));
	req = one(99, a.next_grant);
	printf("operation 99: %d\n", pvg_blk_do(&a, &req));
	pvg_grant(a.next_grant, (domid_t)a.backend, pvg_mfn_of(page), true);
	req = one(BLKIF_OP_READ, a.next_grant);
	printf("read into a read-only grant: %d\n", pvg_blk_do(&a, &req));
	printf("and a good one after: %d\n", pvg_blk_rw(&a, false, 0, page, 0, 0));
}

static void segments(void)
{
	struct blkif_request req;
	u64 *p[11], ok = 1;

	memset(&req, 0, sizeof(req));
	req.operation = BLKIF_OP_READ;
	req.nr_segments = 11;
	req.sector_number = 300;
	for (unsigned int i = 0; i < 11; i++) {
		p[i] = pvg_page_alloc();
		pvg_grant(a.next_grant + i, (domid_t)a.backend, pvg_mfn_of(p[i]), false);
		req.seg[i].gref = a.next_grant + i;
		req.seg[i].last_sect = 7;
	}
	printf("read of 11 segments: %d", pvg_blk_do(&a, &req));
	for (unsigned int i = 0; i < 11 * 512; i++)
		ok &= p[i / 512][i % 512] == word(300 * 64 + i);
	printf(", right %d\n", (int)ok);
}

/* A full ring at once: each request is answered once. */
static void full_ring(void)
{
	struct blkif_request req;
	struct blkif_response rsp;
	u64 seen = 0;
	int n = 0, bad = 0;

	pvg_grant(a.next_grant, (domid_t)a.backend, pvg_mfn_of(page), false);
	for (unsigned int i = 0; i < 32; i++) {
		req = one(BLKIF_OP_READ, a.next_grant);
		req.id = i;
		req.sector_number = i;
		pvg_blk_push(&a, &req);
	}
	pvg_blk_kick(&a);
	while (n < 32 && pvg_blk_wait(&a, &rsp)) {
		if (rsp.status || rsp.id >= 32 || (seen >> rsp.id & 1))
			bad++;
		seen |= 1ul << rsp.id;
		n++;
	}
	printf("32 requests at once: %d answers, %d bad\n", n, bad);
}

void guest_main(void)
{
	pvg_events_init();
	pvg_traps_init();
	page = pvg_page_alloc();
	attach("xvda", &a, DISK_A);
	attach("xvdb", &b, DISK_B);
	reads();
	writes();
	refusals();
	segments();
	full_ring();
	printf("close xvda: %d\n", pvg_blk_close(&a));
}
