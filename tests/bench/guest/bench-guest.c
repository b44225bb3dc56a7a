/* SPDX-License-Identifier: MIT */
/*
 * What the hypervisor's hot paths cost, measured from inside a guest. Prints "name value unit"
 * lines; each is the minimum of several rounds. tests/bench/guest.py runs it and compares.
 */
#include "pvg.h"

#include <xen/io/blkif.h>
#include <xen/io/ring.h>

/* Many short ones: on a busy machine some of them are not interrupted. */
#define ROUNDS 70

/* Nanoseconds of `n` calls of fn, the least of ROUNDS, in picoseconds per call. */
static u64 measure(void (*fn)(void), u64 n)
{
	u64 best = ~0ul;

	for (int r = 0; r < ROUNDS; r++) {
		/* (nothing but sensitive instructions for long is taken for polling, and slept out)
		 */
		HC2(xen_version, XENVER_version, NULL);
		u64 a = pvg_now();

		for (u64 i = 0; i < n; i++)
			fn();
		u64 ns = pvg_now() - a;
		if (ns < best)
			best = ns;
	}
	return best * 1000 / n;
}

static void say(const char *name, u64 ps)
{
	printf("%s %lu.%u%u ns\n", name, ps / 1000, (u32)(ps / 100 % 10), (u32)(ps / 10 % 10));
}

static void nothing(void)
{
	barrier();
}

static void null_hypercall(void)
{
	HC2(xen_version, XENVER_version, 0);
}

static void do_ud2(void)
{
	__asm__ volatile("ud2");
}

static void do_int3(void)
{
	__asm__ volatile("int3");
}

static volatile u8 *hole = (volatile u8 *)0xffffc90000000000ul;
static void do_pf(void)
{
	__asm__ volatile("movb (%%rax), %%al" : : "a"(hole)); /* two bytes: 8a 00 */
}

static void do_div(void)
{
	__asm__ volatile("divl %%ecx" : : "a"(1), "d"(0), "c"(0)); /* two bytes: f7 f1 */
}

static bool skip(struct trap_frame *f)
{
	if (f->vector != 3)
		f->rip += 2;
	return true;
}

static void do_cpuid(void)
{
	u32 a = 0, b, c = 0, d;

	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
}

static evtchn_port_t self;
static void do_send(void)
{
	struct evtchn_send s = {.port = self};

	HC2(event_channel_op, EVTCHNOP_send, &s);
}

#define BATCH 512
static mmu_update_t updates[BATCH];
static void do_mmu_update(void)
{
	HC4(mmu_update, updates, BATCH, 0, DOMID_SELF);
}

static void measure_mmu(void)
{
	/* An L1 of its own, filled with read-only entries of one page, flipped by NORMAL updates.
	 */
	u64 *table = pvg_page_alloc();
	u8 *page = pvg_page_alloc();
	u64 mfn = pvg_mfn_of(table), leaf = pvg_mfn_of(page) << 12 | PTE_P | PTE_A;

	for (int i = 0; i < BATCH; i++)
		table[i] = leaf;
	pvg_set_ro(table);
	if (pvg_mmuext(MMUEXT_PIN_L1_TABLE, mfn, 0))
		printf("the table was not pinned\n");
	for (int i = 0; i < BATCH; i++) {
		updates[i].ptr = mfn << 12 | (u64)i * 8;
		updates[i].val = leaf | (i & 1 ? PTE_D : 0);
	}
	say("mmu_update_each_of_512", measure(do_mmu_update, 20) / BATCH);
	for (int i = 0; i < BATCH; i++)
		updates[i].val = leaf | PTE_RW;
	say("mmu_update_each_of_512_writable", measure(do_mmu_update, 20) / BATCH);
}

/* ---- block: as many requests in flight as the ring takes, 11 segments each ---- */

#define SEGS 11
static struct pvg_blk disk;
static u32 depth;

static void measure_block(void)
{
	struct blkif_request req;
	struct blkif_response rsp;
	u64 sector = 0, total = 0, bytes = 0, begin, end;
	int step = pvg_blk_open(&disk, 51712);

	if (step) {
		printf("no disk (step %d)\n", step);
		return;
	}
	depth = 32;
	for (u32 i = 0; i < depth * SEGS; i++)
		pvg_grant(100 + i, 0, pvg_mfn_of(pvg_page_alloc()), false);
	for (int pass = 0; pass < 3; pass++) {
		u32 inflight = 0, next = 0;
		bool broken = false;

		sector = 0;
		bytes = 0;
		begin = pvg_now();
		while (!broken && (sector + SEGS * 8 <= disk.sectors || inflight)) {
			bool pushed = false;

			while (inflight < depth && sector + SEGS * 8 <= disk.sectors) {
				memset(&req, 0, sizeof(req));
				req.operation = BLKIF_OP_READ;
				req.nr_segments = SEGS;
				req.id = next;
				req.sector_number = sector;
				for (int s = 0; s < SEGS; s++) {
					req.seg[s].gref = 100 + next % depth * SEGS + (u32)s;
					req.seg[s].last_sect = 7;
				}
				pvg_blk_push(&disk, &req);
				sector += SEGS * 8;
				next++;
				inflight++;
				pushed = true;
			}
			if (pushed)
				pvg_blk_kick(&disk);
			if (!pvg_blk_wait(&disk, &rsp) || rsp.status != BLKIF_RSP_OKAY)
				broken = true;
			inflight--;
			bytes += SEGS * 4096;
		}
		end = pvg_now();
		if (broken)
			printf("a read failed\n");
		if (bytes * 1000 / (end - begin) > total)
			total = bytes * 1000 / (end - begin);
	}
	printf("block_read_sequential %lu MB/s\n", total);
}

void guest_main(void)
{
	struct evtchn_alloc_unbound u = {.dom = DOMID_SELF, .remote_dom = DOMID_SELF};
	struct evtchn_bind_interdomain b = {.remote_dom = DOMID_SELF};

	pvg_traps_init();
	pvg_events_init();
	say("empty_call", measure(nothing, 100000));
	say("null_hypercall", measure(null_hypercall, 50000));
	pvg_trap_hook = skip;
	say("exception_ud2", measure(do_ud2, 10000));
	say("exception_int3", measure(do_int3, 10000));
	say("exception_page_fault", measure(do_pf, 1000));
	say("exception_divide", measure(do_div, 1000));
	pvg_trap_hook = NULL;
	say("emulated_cpuid", measure(do_cpuid, 5000));
	if (HC2(event_channel_op, EVTCHNOP_alloc_unbound, &u) == 0) {
		b.remote_port = u.port;
		if (HC2(event_channel_op, EVTCHNOP_bind_interdomain, &b) == 0) {
			self = b.local_port;
			pvg_mask_port(u.port);
			say("event_send_masked", measure(do_send, 10000));
			pvg_unmask_port(u.port);
			pvg_sti();
			say("event_send_and_upcall", measure(do_send, 10000));
			pvg_cli();
		}
	}
	measure_mmu();
	pvg_store_init();
	pvg_grants_init();
	measure_block();
}
