/* SPDX-License-Identifier: MIT */
/* What the core and the translator ask of ring3. */
#include "exec/ring3/monitor/k.h"

#include <linux/mman.h>

#include "core/cpu/cpu.h"
#include "core/mm/mm.h"

/* What a flush has to forget was reported entry by entry: tlb.h. */
static void flush_all(struct core_ctx *c, uint64_t vcpu_mask)
{
	tlb_drain();
}

static void flush_va(struct core_ctx *c, uint64_t vcpu_mask, uint64_t va)
{
	tlb_drain();
}

/* No entry maps it writable any more, so those that did are among what is to be dropped. */
static void frame_protect(struct core_ctx *c, uint64_t mfn)
{
	tlb_drain();
	window_protect(mfn);
	xlate_user_forget_writes(k.x);
}

static void frame_dirtied(struct core_ctx *c, uint64_t mfn)
{
	xlate_invalidate_frame(k.x, mfn);
}

static void root_changed(struct core_ctx *c)
{
	/* Also said when the vCPU goes from kernel to user mode and back, which changes nothing. */
	if (c->v->kernel_root == k.window_root)
		return;
	k.window_root = c->v->kernel_root;
	tlb_drain();
	window_root_changed();
	xlate_user_forget(k.x);
}

static void frames_discard(struct core_ctx *c, uint64_t mfn, uint64_t nr)
{
	tlb_drain();
	xlate_user_forget(k.x);
	for (uint64_t i = 0; i < nr; i++) {
		window_protect(mfn + i);
		xlate_invalidate_frame(k.x, mfn + i);
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
	__atomic_store_n(&c->ctl->vcpu[id].kick, 1, __ATOMIC_SEQ_CST);
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
	ret->ptr = k.c.ram + (mfn << 12);
	ret->mfn = mfn;
	return 0;
}

void k_note(void *priv, uint64_t mfn)
{
	/* First the mark for the back ends, then the bytes are read: see io_page_written(). */
	__atomic_or_fetch(&k.c.frames[mfn].aux, CORE_FRAME_CODE, __ATOMIC_SEQ_CST);
	window_protect(mfn);
}

/* Set so that no error code is 0, which means success; core_inject_pf() has its own idea of it. */
#define PF_USER_BIT 4u

uint32_t k_user(void *priv, uint64_t va, bool write, uint8_t **ret)
{
	uint64_t mfn, flags, upper;

	/* (accessed and dirty bits are set, as the processor would) */
	(void)tlb_follow(k.c.v->kernel_root, va, -1, &upper);
	if (!core_walk_access(&k.c, k.c.v->kernel_root, va, write ? PF_WRITE : 0, &mfn, &flags))
		return PF_USER_BIT | (uint32_t)flags;
	if (write)
		xlate_invalidate_frame(k.x, mfn);
	*ret = k.c.ram + (mfn << 12) + (va & 0xfff);
	return 0;
}

void k_code_stale(void)
{
	struct core_frame *f = k.c.frames;

	if (!__atomic_exchange_n(&k.c.ctl->code_stale, 0, __ATOMIC_ACQ_REL))
		return;
	for (uint64_t mfn = 0; mfn < k.nr_frames; mfn++) {
		if (!(__atomic_load_n(&f[mfn].aux, __ATOMIC_RELAXED) & CORE_FRAME_CODE_STALE))
			continue;
		__atomic_and_fetch(&f[mfn].aux, ~(CORE_FRAME_CODE | CORE_FRAME_CODE_STALE),
				   __ATOMIC_ACQ_REL);
		xlate_invalidate_frame(k.x, mfn);
	}
}
