/* SPDX-License-Identifier: MIT */
/* ABI: mmuext_op */
#include "core/hypercall/hypercall.h"
#include "core/lib/mem.h"
#include "core/mm/ops.h"
#include "core/mm/roots.h"

static int pin(struct core_ctx *c, uint64_t mfn, enum frame_type type)
{
	struct core_frame *f;
	int rc = mm_type_get(c, mfn, type, MM_PREEMPT);

	if (rc != 0)
		return rc;
	f = mm_frame(c, mfn);
	if (frame_word(f) & FRAME_PINNED) {
		mm_type_put(c, mfn, MM_PREEMPT);
		return -XEN_EINVAL;
	}
	/* The reference stays: it is the pin's. */
	frame_set_word(f, frame_word(f) | FRAME_PINNED);
	return 0;
}

static int unpin(struct core_ctx *c, uint64_t mfn)
{
	struct core_frame *f;

	if (mfn >= c->d->nr_frames)
		return -XEN_EINVAL;
	f = mm_frame(c, mfn);
	/* The flag means something only where there are references. */
	if (frame_refs(frame_word(f)) == 0 || !(frame_word(f) & FRAME_PINNED))
		return -XEN_EINVAL;
	frame_set_word(f, frame_word(f) & ~FRAME_PINNED);
	mm_type_put(c, mfn, MM_PREEMPT);
	return 0;
}

static int set_ldt(struct core_ctx *c, uint64_t base, uint32_t ents)
{
	struct core_vcpu *v = c->v;

	if (ents == 0)
		base = 0;
	if ((base & 0xfff) != 0 || !core_addr_ok(base) || ents > 8192)
		return -XEN_EINVAL;
	if (v->ldt_ents != ents || v->ldt_base != base) {
		mm_ldt_forget(c, v);
		v->ldt_base = base;
		v->ldt_ents = ents;
		c->ops->cpu_changed(c);
	}
	return 0;
}

/* Both as the guest itself might do it to a page it has mapped writable. */
static int clear_page(struct core_ctx *c, uint64_t mfn)
{
	if (mfn >= c->d->nr_frames || !frame_ref_writable(mm_frame(c, mfn)))
		return -XEN_EINVAL;
	memset(core_frame_ptr(c, mfn), 0, 4096);
	core_frame_dirtied(c, mfn);
	mm_unref_writable(c, mfn);
	return 0;
}

static int copy_page(struct core_ctx *c, uint64_t dst, uint64_t src)
{
	int rc = -XEN_EINVAL;

	if (src >= c->d->nr_frames || !frame_ref(mm_frame(c, src)))
		return rc;
	if (dst < c->d->nr_frames && frame_ref_writable(mm_frame(c, dst))) {
		memmove(core_frame_ptr(c, dst), core_frame_ptr(c, src), 4096);
		core_frame_dirtied(c, dst);
		mm_unref_writable(c, dst);
		rc = 0;
	}
	mm_unref(c, src);
	return rc;
}

static int flush(struct core_ctx *c, const struct mmuext_op *op)
{
	uint64_t mask, va = op->arg1.linear_addr;

	switch (op->cmd) {
	case MMUEXT_TLB_FLUSH_LOCAL:
		core_mm_flush_all(c, core_vcpu_mask_self(c));
		return 0;
	case MMUEXT_TLB_FLUSH_ALL:
		core_mm_flush_all(c, core_vcpu_mask_all(c));
		return 0;
	case MMUEXT_INVLPG_LOCAL:
		mask = core_vcpu_mask_self(c);
		break;
	case MMUEXT_INVLPG_ALL:
		mask = core_vcpu_mask_all(c);
		break;
	default: /* the two with a bitmap */
		if (!mm_vcpu_mask(c, (uint64_t)(uintptr_t)op->arg2.vcpumask.p, &mask))
			return -XEN_EINVAL;
		if (op->cmd == MMUEXT_TLB_FLUSH_MULTI) {
			core_mm_flush_all(c, mask);
			return 0;
		}
		break;
	}
	if (core_addr_ok(va))
		core_mm_flush_va(c, mask, va);
	return 0;
}

static int do_one(struct core_ctx *c, const struct mmuext_op *op)
{
	switch (op->cmd) {
	case MMUEXT_PIN_L1_TABLE: /* ABI: served */
	case MMUEXT_PIN_L2_TABLE: /* ABI: served */
	case MMUEXT_PIN_L3_TABLE: /* ABI: served */
	case MMUEXT_PIN_L4_TABLE: /* ABI: served */
		return pin(c, op->arg1.mfn,
			   (enum frame_type)(FRAME_L1 + (op->cmd - MMUEXT_PIN_L1_TABLE)));
	case MMUEXT_UNPIN_TABLE: /* ABI: served */
		return unpin(c, op->arg1.mfn);
	case MMUEXT_NEW_BASEPTR: /* ABI: served */
		return mm_load_kernel_root(c, op->arg1.mfn);
	case MMUEXT_NEW_USER_BASEPTR: /* ABI: served */
		return mm_load_user_root(c, op->arg1.mfn);
	case MMUEXT_TLB_FLUSH_LOCAL: /* ABI: served */
	case MMUEXT_TLB_FLUSH_MULTI: /* ABI: served */
	case MMUEXT_TLB_FLUSH_ALL:   /* ABI: served */
	case MMUEXT_INVLPG_LOCAL:    /* ABI: served */
	case MMUEXT_INVLPG_MULTI:    /* ABI: served */
	case MMUEXT_INVLPG_ALL:	     /* ABI: served */
		return flush(c, op);
	case MMUEXT_FLUSH_CACHE: /* ABI: -EACCES; for domains with devices of their own */
		return -XEN_EACCES;
	case MMUEXT_FLUSH_CACHE_GLOBAL: /* ABI: -EINVAL; for domains with devices of their own */
		return -XEN_EINVAL;
	case MMUEXT_SET_LDT: /* ABI: served */
		return set_ldt(c, op->arg1.linear_addr, op->arg2.nr_ents);
	case MMUEXT_CLEAR_PAGE: /* ABI: served */
		return clear_page(c, op->arg1.mfn);
	case MMUEXT_COPY_PAGE: /* ABI: served */
		return copy_page(c, op->arg1.mfn, op->arg2.src_mfn);
	case MMUEXT_MARK_SUPER:	  /* ABI: -EOPNOTSUPP; no superpages */
	case MMUEXT_UNMARK_SUPER: /* ABI: -EOPNOTSUPP; no superpages */
		return -XEN_EOPNOTSUPP;
	default:
		return -XEN_ENOSYS;
	}
}

static int do_requests(struct core_ctx *c, uint64_t va, uint32_t count, uint32_t *ret_done)
{
	for (*ret_done = 0; *ret_done < count; (*ret_done)++) {
		struct mmuext_op op;
		int rc;

		if (c->v->mm_old_table != 0 || (*ret_done > 0 && core_preempt_pending(c)))
			return -MM_RESTART;
		if (core_guest_read(c, &op, va + *ret_done * sizeof(op), sizeof(op)) != 0)
			return -XEN_EFAULT;
		rc = do_one(c, &op);
		if (rc != 0)
			return rc;
	}
	return 0;
}

long core_hc_mmuext_op(struct core_ctx *c, const uint64_t arg[6])
{
	struct mm_batch b;
	uint32_t done = 0, id = (uint16_t)arg[3];
	long rc;

	if (!mm_batch_start(c, &b, __HYPERVISOR_mmuext_op, arg, &rc))
		return rc;
	if (id != DOMID_SELF) {
		/* Own number: refused as a foreign one. Others exist, but are not ours to touch. */
		if (id == DOMID_IO || id == DOMID_XEN)
			return -XEN_EPERM;
		if (id == c->d->domid || mm_domain_by_any_id(c, (domid_t)id) == MM_DOM_NONE)
			return -XEN_ESRCH;
		return -XEN_EPERM;
	}
	mm_lock(c);
	rc = do_requests(c, b.va, b.count, &done);
	mm_unlock(c);
	return mm_batch_end(c, &b, rc, done, sizeof(struct mmuext_op));
}
