/* SPDX-License-Identifier: MIT */
/* What the core and the translator ask of ring3. */
#include "exec/ring3/brief/brief.h"
#include "exec/ring3/monitor/kernel_debug.h"
#include "exec/ring3/monitor/smp.h"
#include "exec/ring3/monitor/user.h"

#include <linux/futex.h>
#include <linux/mman.h>

#include "core/cpu/cpu.h"
#include "core/lib/lock.h"
#include "core/mm/mm.h"
#include "core/time/time.h"

/* What a flush has to forget was reported entry by entry: tlb.h. */
static void flush_all(struct core_ctx *c, uint64_t vcpu_mask)
{
	tlb_drain();
	if (k.smp)
		smp_sync(vcpu_mask);
}

static void flush_va(struct core_ctx *c, uint64_t vcpu_mask, uint64_t va)
{
	tlb_drain();
	if (k.smp)
		smp_sync(vcpu_mask);
}

/* No entry maps it writable any more, so those that did are among what is to be dropped. */
static void frame_protect(struct core_ctx *c, uint64_t mfn)
{
	tlb_drain();
	window_protect(mfn);
	xlate_user_forget_writes(k.x);
	if (k.smp) {
		smp_protect(mfn, 1);
		smp_sync(~0ull);
	}
}

static void frame_dirtied(struct core_ctx *c, uint64_t mfn)
{
	window_code_written(mfn);
}

static void root_changed(struct core_ctx *c)
{
	uint64_t from = k.window_root;

	/* Also said when the vCPU goes from kernel to user mode and back, which changes nothing. */
	if (c->v->kernel_root == from)
		return;
	k.window_root = c->v->kernel_root;
	tlb_drain();
	window_root_changed();
	/*
	 * With other vCPUs nobody would tell us that they translate from a frame, or make it a page
	 * table, to which only a root that is not loaded now has led.
	 */
	if (k.smp)
		xlate_user_forget(k.x);
	else
		xlate_user_switch(k.x, from, k.window_root, c->d->tables_gen);
}

static void frames_discard(struct core_ctx *c, uint64_t mfn, uint64_t nr)
{
	tlb_drain();
	xlate_user_forget(k.x);
	for (uint64_t i = 0; i < nr; i++) {
		window_protect(mfn + i);
		if (c->frames[mfn + i].aux & CORE_FRAME_CODE)
			window_code_written(mfn + i);
	}
	if (k.smp) {
		smp_protect(mfn, nr);
		smp_sync(~0ull);
	}
	sys3(SYS_madvise, c->ram + (mfn << 12), nr << 12, MADV_REMOVE);
}

static void doorbell(struct core_ctx *c)
{
	uint64_t one = 1;

	sys3(SYS_write, K_FD_DOORBELL, &one, sizeof(one));
}

static void kick_vcpu(struct core_ctx *c, unsigned int id)
{
	smp_kick(id);
}

static bool start_vcpu(struct core_ctx *c, unsigned int id)
{
	return smp_start(id);
}

static void wait(struct core_ctx *c, uint32_t *word, uint32_t value)
{
	uint64_t until = core_time_now(c) + (quiet_look_waiting() ? 10000000u : 1000000u);
	struct {
		uint64_t sec, ns;
	} ts = {until / 1000000000u, until % 1000000000u};

	smp_away();
	sys6(SYS_futex, (long)word, FUTEX_WAIT_BITSET, value, (long)&ts, 0, FUTEX_BITSET_MATCH_ANY);
}

static void wake(struct core_ctx *c, uint32_t *word)
{
	sys3(SYS_futex, word, FUTEX_WAKE, 1);
}

static void yield(struct core_ctx *c)
{
	sys0(SYS_sched_yield);
}

static uint64_t k_rdtsc(struct core_ctx *c)
{
	return __builtin_ia32_rdtsc();
}

static void cpu_changed(struct core_ctx *c)
{
	/* Registers and debug registers are looked at by the translator at each entry. */
	xlate_set_ts(k.x, c->v->cr0 & CORE_CR0_TS);
}

const struct core_exec_ops k_ops = {
	.flush_all = flush_all,
	.flush_va = flush_va,
	.frame_protect = frame_protect,
	.frame_dirtied = frame_dirtied,
	.root_changed = root_changed,
	.frames_discard = frames_discard,
	.pte_changed = tlb_pte_changed,
	.table_gone = tlb_table_gone,
	.doorbell = doorbell,
	.kick_vcpu = kick_vcpu,
	.start_vcpu = start_vcpu,
	.wait = wait,
	.wake = wake,
	.yield = yield,
	.rdtsc = k_rdtsc,
	.cpu_changed = cpu_changed,
};

/* ---- for the translator ---- */

uint32_t k_fetch(void *priv, uint64_t gva, struct xlate_code *ret)
{
	uint64_t mfn, flags, upper;

	(void)tlb_follow(k.c.v->kernel_root, gva, -1, &upper);
	if (!(gva >> 63))
		k.low_code = true;
	if (!core_walk_access(&k.c, k.c.v->kernel_root, gva, 0, &mfn, &flags))
		return 0x10;
	if (flags & (1ull << 63))
		return 0x11;
	if (kdebug_on && kdebug_refuses(gva))
		return 0x11;
	ret->ptr = k.c.ram + (mfn << 12);
	ret->mfn = mfn;
	return 0;
}

void k_note(void *priv, uint64_t mfn)
{
	/* First the mark for the back ends, then the bytes are read: see io_page_written(). */
	__atomic_or_fetch(&k.c.frames[mfn].aux, CORE_FRAME_CODE, __ATOMIC_SEQ_CST);
	window_protect(mfn);
	xlate_user_forget_writes(k.x);
	if (k.smp) {
		k.kframes[mfn].va[1] |= KF_CODE;
		smp_protect(mfn, 1);
	}
}

/* Set so that no error code is 0, which means success; core_inject_pf() has its own idea of it. */
#define PF_USER_BIT 4u

/*
 * The translator keeps the pointer, so it counts as a mapping: say so first, and then look whether
 * the frame may be written.
 */
static bool may_write(uint64_t mfn, uint64_t va)
{
	if (k.c.frames[mfn].aux & CORE_FRAME_CODE) {
		window_code_written(mfn); /* may have waited: the guest's tables have changed */
		return false;
	}
	return window_announce(va & ~0xfffull, mfn, 1, KF_POINTER);
}

/*
 * May it be used as it was found? With other vCPUs, which look at what was announced and noted;
 * what they had changed in front of that they did not report. So the entry is looked at once more,
 * the one that the way which was noted led to (`pte`, `upper`: tlb_follow()): on another way, by
 * tables that were put there meanwhile, nobody would tell.
 */
static bool may_use(uint64_t root, const uint64_t *pte, uint64_t upper, uint64_t mfn, uint64_t va,
		    uint32_t access)
{
	const uint64_t rights =
		(access & PF_WRITE ? PTE_RW : 0) | (access & PF_USER ? PTE_USER : 0);
	const uint64_t need = PTE_PRESENT | PTE_ACCESSED | (access & PF_WRITE ? PTE_DIRTY : 0);
	uint64_t v;

	if ((access & PF_WRITE) && !may_write(mfn, va))
		return false;
	if (!(access & PF_WRITE) && va >> 63)
		(void)window_announce(va & ~0xfffull, mfn, 1, 0);
	if (!core_addr_ok(va))
		return true; /* the M2P: in no table of the guest's, and always there */
	if (!pte || !tlb_is_there(root, va, pte))
		return false;
	v = pte_read(pte);
	return tlb_was_there(pte) && pte_mfn(v) == mfn && (v & need) == need &&
	       (v & upper & rights) == rights && !((access & PF_FETCH) && ((v | upper) & PTE_NX));
}

#define USER_TRIES 1000 /* a guest that changes it back and forth gets a fault */

/* The frame at va, by the tables of this root; 0 or an error code. */
static uint32_t frame_at(uint64_t root, uint64_t va, uint32_t access, uint64_t *ret_mfn)
{
	uint64_t flags, upper = 0, *pte = NULL;
	unsigned int tries = 0;

	do {
		/* (Alone, who asks for programs looks whether any entry has lost anything.) */
		if (k.smp || !(access & PF_USER))
			pte = tlb_follow(root, va, -1, &upper);
		/* (accessed and dirty bits are set, as the processor would) */
		if (!core_walk_access(&k.c, root, va, access, ret_mfn, &flags))
			return PF_USER_BIT | (uint32_t)flags;
		if (tries++ == USER_TRIES)
			return PF_USER_BIT | access;
	} while (k.smp && !may_use(root, pte, upper, *ret_mfn, va, access));
	return 0;
}

uint32_t k_user(void *priv, uint64_t va, bool write, uint8_t **ret)
{
	uint64_t mfn = 0;
	uint32_t err = frame_at(k.c.v->kernel_root, va, write ? PF_WRITE : 0, &mfn);

	if (err)
		return err;
	if (write && !k.smp && window_is_code(mfn))
		window_code_written(mfn);
	else if (write && window_taken(mfn, va, xlate_at_string(k.x)) != 1)
		xlate_store_needless(k.x);
	*ret = k.c.ram + (mfn << 12) + (va & 0xfff);
	return 0;
}

uint32_t k_program(void *priv, uint64_t va, uint32_t access, uint8_t **ret)
{
	uint64_t mfn = 0;
	uint32_t err = frame_at(k.c.v->user_root, va, access | PF_USER, &mfn);

	if (err)
		return err;
	/*
	 * It may have waited for another vCPU that waited for this one: then the world is another.
	 * And a turn that goes from page to page takes a hundred times as long as others.
	 */
	if (__atomic_load_n(&k.ctlv->kick, __ATOMIC_RELAXED))
		return BRIEF_STOP;
	if ((access & PF_WRITE) && !k.smp && window_is_code(mfn))
		window_code_written(mfn);
	*ret = k.c.ram + (mfn << 12) + (va & 0xfff);
	return 0;
}

static void drop_stale(void)
{
	struct core_frame *f = k.c.frames;

	for (uint64_t mfn = 0; mfn < k.nr_frames; mfn++)
		if (__atomic_load_n(&f[mfn].aux, __ATOMIC_RELAXED) & CORE_FRAME_CODE_STALE)
			window_code_written(mfn);
}

void k_code_stale(void)
{
	/* Who comes while another vCPU is at it waits until that one has told everybody. */
	if (k.smp)
		core_lock(&k.c, &k.peers->stale_lock);
	if (__atomic_exchange_n(&k.c.ctl->code_stale, 0, __ATOMIC_ACQ_REL))
		drop_stale();
	if (k.smp)
		core_unlock(&k.c, &k.peers->stale_lock);
}
