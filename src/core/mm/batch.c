/* SPDX-License-Identifier: MIT */
#include "core/hypercall/hypercall.h"
#include "core/mm/ops.h"

static long again(struct core_ctx *c, const struct mm_batch *b, uint64_t va, uint32_t count,
		  uint64_t last)
{
	uint64_t args[6] = {va, count, b->pdone, last, b->arg[4], b->arg[5]};

	return core_hypercall_continue(c, b->hypercall, args);
}

bool mm_batch_start(struct core_ctx *c, struct mm_batch *b, unsigned int hypercall,
		    const uint64_t arg[6], long *ret_rc)
{
	*b = (struct mm_batch){
		.hypercall = hypercall,
		.arg = arg,
		.va = arg[0],
		.count = (uint32_t)arg[1],
		.pdone = arg[2],
	};

	/* What an earlier call left behind comes first. */
	if (c->v->mm_old_table != 0) {
		int rc;

		mm_lock(c);
		rc = mm_old_table_finish(c);
		mm_unlock(c);
		if (rc != 0) {
			*ret_rc = again(c, b, b->va, b->count, arg[3]);
			return false;
		}
	}
	/* A list that was finished but for such a rest: its result came along. */
	if (b->count == MMU_UPDATE_PREEMPTED && b->va == 0) {
		*ret_rc = (int32_t)arg[3];
		return false;
	}
	if (b->count & MMU_UPDATE_PREEMPTED) {
		b->count &= ~MMU_UPDATE_PREEMPTED;
		if (b->pdone != 0)
			(void)mm_get(c, &b->done_before, b->pdone, sizeof(b->done_before));
	}
	if (!core_addr_ok(b->va)) {
		*ret_rc = -XEN_EFAULT;
		return false;
	}
	return true;
}

long mm_batch_end(struct core_ctx *c, const struct mm_batch *b, long rc, uint32_t done, size_t size)
{
	uint32_t total = b->done_before + done;

	if (b->pdone != 0)
		(void)mm_put(c, b->pdone, &total, sizeof(total));
	if (rc == -MM_RESTART)
		return again(c, b, b->va + done * size, (b->count - done) | MMU_UPDATE_PREEMPTED,
			     b->arg[3]);
	if (c->v->mm_old_table != 0)
		return again(c, b, 0, MMU_UPDATE_PREEMPTED, (uint32_t)rc);
	return rc;
}
