/* SPDX-License-Identifier: MIT */
/*
 * physdev_op for a domain without devices: I/O privilege is real (it decides whether in and out
 * read all ones or fault), everything about interrupts and PCI is refused as Xen refuses it.
 */
#include "core/hypercall/hypercall.h"

#include <xen/physdev.h>

#include "core/lib/bitops.h"
#include "core/mm/mm.h"

#define NR_PIRQS	80u
#define FIRST_FREE_PIRQ 16u
#define IOBITMAP_BYTES	8192u
#define MAX_PORTS	65536u

static long set_iopl(struct core_ctx *c, uint64_t va)
{
	struct physdev_set_iopl op;

	if (!core_get(c, &op, va))
		return -XEN_EFAULT;
	if (op.iopl > 3)
		return -XEN_EINVAL;
	c->v->iopl = op.iopl;
	return 0;
}

static long set_iobitmap(struct core_ctx *c, uint64_t va)
{
	struct physdev_set_iobitmap op;

	if (!core_get(c, &op, va))
		return -XEN_EFAULT;
	uint64_t bitmap = (uint64_t)(uintptr_t)op.bitmap.p;

	if (!core_addr_ok(bitmap) || !core_addr_ok(bitmap + IOBITMAP_BYTES - 1) ||
	    op.nr_ports > MAX_PORTS)
		return -XEN_EINVAL;
	c->v->iobitmap = bitmap;
	c->v->iobitmap_ports = op.nr_ports;
	return 0;
}

/* There is no such interrupt, whichever it is. */
static long eoi(struct core_ctx *c, uint64_t va)
{
	struct physdev_eoi op;

	return core_get(c, &op, va) ? -XEN_EINVAL : -XEN_EFAULT;
}

static long irq_status(struct core_ctx *c, uint64_t va)
{
	struct physdev_irq_status_query op;

	if (!core_get(c, &op, va))
		return -XEN_EFAULT;
	if (op.irq >= NR_PIRQS)
		return -XEN_EINVAL;
	op.flags = XENIRQSTAT_needs_eoi;
	return core_put(c, va, &op) ? 0 : -XEN_EFAULT;
}

static long refuse(struct core_ctx *c, uint64_t va, size_t size)
{
	uint8_t op[64];

	return core_get_bytes(c, op, va, size) ? -XEN_EPERM : -XEN_EFAULT;
}

/* Mapping interrupts of a domain: one that exists is not ours to change. */
static long pirq_of(const struct core_ctx *c, domid_t id)
{
	return id == 0 || id == DOMID_SELF || id == c->d->domid ? -XEN_EPERM : -XEN_ESRCH;
}

static long map_pirq(struct core_ctx *c, uint64_t va)
{
	struct physdev_map_pirq op;

	if (!core_get(c, &op, va) || !core_put(c, va, &op))
		return -XEN_EFAULT;
	return pirq_of(c, op.domid);
}

static long unmap_pirq(struct core_ctx *c, uint64_t va)
{
	struct physdev_unmap_pirq op;

	return core_get(c, &op, va) ? pirq_of(c, op.domid) : -XEN_EFAULT;
}

/* A page where Xen shows which interrupts want an EOI. No interrupts: a kernel does without. */
static long eoi_page(struct core_ctx *c, uint64_t va)
{
	struct physdev_pirq_eoi_gmfn op;

	if (!core_get(c, &op, va))
		return -XEN_EFAULT;
	if (!core_frame_get_type(c, op.gmfn, FRAME_WRITABLE))
		return -XEN_EINVAL;
	core_frame_put_type(c, op.gmfn);
	return -XEN_ENOSYS;
}

/* Numbers nobody uses, the lowest for lines, the highest for messages: it is only a number. */
static long free_pirq(struct core_ctx *c, uint64_t va)
{
	struct physdev_get_free_pirq op;

	if (!core_get(c, &op, va))
		return -XEN_EFAULT;
	op.pirq = op.type == MAP_PIRQ_TYPE_GSI ? FIRST_FREE_PIRQ : NR_PIRQS - 1;
	return core_put(c, va, &op) ? 0 : -XEN_EFAULT;
}

long core_hc_physdev_op(struct core_ctx *c, const uint64_t arg[6])
{
	uint64_t va = arg[1];

	switch ((uint32_t)arg[0]) {
	case PHYSDEVOP_set_iopl: /* ABI: served */
		return set_iopl(c, va);
	case PHYSDEVOP_set_iobitmap: /* ABI: served */
		return set_iobitmap(c, va);
	case PHYSDEVOP_eoi: /* ABI: -EINVAL; no physical interrupts */
		return eoi(c, va);
	case PHYSDEVOP_irq_status_query: /* ABI: served; always "needs EOI" */
		return irq_status(c, va);
	case PHYSDEVOP_IRQ_UNMASK_NOTIFY: /* ABI: served; nothing to unmask */
		return 0;
	case PHYSDEVOP_map_pirq: /* ABI: -EPERM; no physical interrupts */
		return map_pirq(c, va);
	case PHYSDEVOP_unmap_pirq: /* ABI: -EPERM; no physical interrupts */
		return unmap_pirq(c, va);
	case PHYSDEVOP_apic_read:  /* ABI: -EPERM; no I/O APIC */
	case PHYSDEVOP_apic_write: /* ABI: -EPERM; no I/O APIC */
		return refuse(c, va, sizeof(struct physdev_apic));
	case PHYSDEVOP_alloc_irq_vector: /* ABI: -EPERM; no I/O APIC */
		return refuse(c, va, sizeof(struct physdev_irq));
	case PHYSDEVOP_pirq_eoi_gmfn_v1: /* ABI: -ENOSYS; no physical interrupts */
	case PHYSDEVOP_pirq_eoi_gmfn_v2: /* ABI: -ENOSYS; no physical interrupts */
		return eoi_page(c, va);
	case PHYSDEVOP_get_free_pirq: /* ABI: served */
		return free_pirq(c, va);
	case PHYSDEVOP_manage_pci_add:	  /* ABI: -EPERM; hardware domain only */
	case PHYSDEVOP_manage_pci_remove: /* ABI: -EPERM; hardware domain only */
		return refuse(c, va, sizeof(struct physdev_manage_pci));
	case PHYSDEVOP_manage_pci_add_ext: /* ABI: -EPERM; hardware domain only */
		return refuse(c, va, sizeof(struct physdev_manage_pci_ext));
	case PHYSDEVOP_setup_gsi: /* ABI: -EPERM; hardware domain only */
		return refuse(c, va, sizeof(struct physdev_setup_gsi));
	case PHYSDEVOP_restore_msi: /* ABI: -EPERM; hardware domain only */
		return refuse(c, va, sizeof(struct physdev_restore_msi));
	case PHYSDEVOP_pci_device_add: /* ABI: -EPERM; hardware domain only */
		return refuse(c, va, offsetof(struct physdev_pci_device_add, optarr));
	case PHYSDEVOP_pci_device_remove: /* ABI: -EPERM; hardware domain only */
	case PHYSDEVOP_restore_msi_ext:	  /* ABI: -EPERM; hardware domain only */
	case PHYSDEVOP_prepare_msix:	  /* ABI: -EPERM; hardware domain only */
	case PHYSDEVOP_release_msix:	  /* ABI: -EPERM; hardware domain only */
		return refuse(c, va, sizeof(struct physdev_pci_device));
	case PHYSDEVOP_pci_mmcfg_reserved: /* ABI: -EPERM; hardware domain only */
	case PHYSDEVOP_dbgp_op:		   /* ABI: -EPERM; hardware domain only */
		return -XEN_EPERM;
	default:
		return -XEN_ENOSYS;
	}
}
