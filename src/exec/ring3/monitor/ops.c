/* SPDX-License-Identifier: MIT */
/* What the core and the translator ask of ring3. */
#include "exec/ring3/monitor/k.h"

#include <linux/mman.h>

#include "core/cpu/cpu.h"
#include "core/mm/mm.h"

static void flush_all(struct core_ctx *c, uint64_t vcpu_mask)
{
	window_flush_all();
	xlate_user_forget(k.x);
	xlate_revalidate(k.x);
}

static void flush_va(struct core_ctx *c, uint64_t vcpu_mask, uint64_t va)
{
	window_flush_va(va);
	xlate_user_forget_va(k.x, va);
	xlate_invalidate_va_range(k.x, va & ~0xfffull, 4096);
}

static void frame_protect(struct core_ctx *c, uint64_t mfn)
{
	window_protect(mfn);
	xlate_user_forget_writes(k.x);
}

static void frame_dirtied(struct core_ctx *c, uint64_t mfn)
{
	xlate_invalidate_frame(k.x, mfn);
}

static void root_changed(struct core_ctx *c)
{
	flush_all(c, ~0ull);
}

static void frames_discard(struct core_ctx *c, uint64_t mfn, uint64_t nr)
{
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
	.doorbell = doorbell,
	.kick_vcpu = kick_vcpu,
	.rdtsc = k_rdtsc,
	.cpu_changed = cpu_changed,
};

/* ---- for the translator ---- */

uint32_t k_fetch(void *priv, uint64_t gva, struct xlate_code *ret)
{
	uint64_t mfn, flags;

	if (!core_walk(&k.c, k.c.v->kernel_root, gva, &mfn, &flags))
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
	uint64_t mfn, flags;

	/* (accessed and dirty bits are set, as the processor would) */
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
