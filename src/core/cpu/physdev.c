/* SPDX-License-Identifier: MIT */
/*
 * physdev_op for a domain without devices: I/O privilege is real (it decides whether in and out
 * read all ones or fault), everything about interrupts and PCI is refused as Xen refuses it.
 */
#include "core/hypercall/hypercall.h"

#include <xen/physdev.h>

#include "core/lib/bitops.h"
#include "core/mm/mm.h"

#define FIRST_FREE_GSI 16u
#define MAX_PORTS      65536u

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

	/* What is not there will be found out when it is looked at. */
	if (!core_addr_ok(bitmap) || op.nr_ports > MAX_PORTS)
		return -XEN_EINVAL;
	c->v->iobitmap = bitmap;
	c->v->iobitmap_ports = op.nr_ports;
	return 0;
}

/* There is no such interrupt; of one that has got a number nothing is to be done. */
static long eoi(struct core_ctx *c, uint64_t va)
{
	struct physdev_eoi op;

	if (!core_get(c, &op, va))
		return -XEN_EFAULT;
	if (op.irq >= CORE_NR_PIRQS ||
	    !(__atomic_load_n(&c->d->pirqs, __ATOMIC_RELAXED) & 1ull << op.irq))
		return -XEN_EINVAL;
	return 0;
}

static long irq_status(struct core_ctx *c, uint64_t va)
{
	struct physdev_irq_status_query op;

	if (!core_get(c, &op, va))
		return -XEN_EFAULT;
	if (op.irq >= CORE_NR_PIRQS)
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

	if (!core_get(c, &op, va))
		return -XEN_EFAULT;
	if (op.type == MAP_PIRQ_TYPE_MULTI_MSI && op.table_base != 0)
		return -XEN_EINVAL;
	if (op.type == MAP_PIRQ_TYPE_MSI_SEG)
		op.type = MAP_PIRQ_TYPE_MSI; /* with a segment in .bus: the caller gets to see it */
	return core_put(c, va, &op) ? pirq_of(c, op.domid) : -XEN_EFAULT;
}

static long unmap_pirq(struct core_ctx *c, uint64_t va)
{
	struct physdev_unmap_pirq op;

	return core_get(c, &op, va) ? pirq_of(c, op.domid) : -XEN_EFAULT;
}

/*
 * A page where Xen shows which interrupts want an EOI: there are none, so nothing is ever written
 * to it. Once given it stays, and stays writable.
 */
static long eoi_page(struct core_ctx *c, uint64_t va)
{
	struct physdev_pirq_eoi_gmfn op;
	uint64_t none = 0;

	if (!core_get(c, &op, va))
		return -XEN_EFAULT;
	if (!core_frame_get_type(c, op.gmfn, FRAME_WRITABLE))
		return -XEN_EINVAL;
	if (__atomic_compare_exchange_n(&c->d->pirq_eoi_page, &none, op.gmfn + 1, false,
					__ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
		return 0;
	core_frame_put_type(c, op.gmfn);
	return -XEN_EBUSY;
}

static bool take_pirq(struct core_ctx *c, unsigned int pirq)
{
	uint64_t bit = 1ull << pirq;

	return !(__atomic_fetch_or(&c->d->pirqs, bit, __ATOMIC_SEQ_CST) & bit);
}

/* A number that nobody has: a line's from the lowest up, or else the highest of a message. */
static int find_pirq(struct core_ctx *c, bool line)
{
	for (unsigned int pirq = FIRST_FREE_GSI; line && pirq < CORE_NR_GSIS; pirq++) {
		if (take_pirq(c, pirq))
			return (int)pirq;
	}
	for (unsigned int pirq = CORE_NR_PIRQS; pirq-- > CORE_NR_GSIS;) {
		if (take_pirq(c, pirq))
			return (int)pirq;
	}
	return -1;
}

static long free_pirq(struct core_ctx *c, uint64_t va)
{
	struct physdev_get_free_pirq op;
	int pirq;

	if (!core_get(c, &op, va))
		return -XEN_EFAULT;
	pirq = find_pirq(c, op.type == MAP_PIRQ_TYPE_GSI);
	if (pirq < 0)
		return -XEN_ENOSPC;
	op.pirq = (uint32_t)pirq;
	return core_put(c, va, &op) ? 0 : -XEN_EFAULT;
}

/* Lines and devices of the machine are the hardware domain's, but first they have to be there. */

static long setup_gsi(struct core_ctx *c, uint64_t va)
{
	struct physdev_setup_gsi op;

	if (!core_get(c, &op, va))
		return -XEN_EFAULT;
	return (uint32_t)op.gsi >= CORE_NR_GSIS ? -XEN_EINVAL : -XEN_EPERM;
}

static long add_ext(struct core_ctx *c, uint64_t va)
{
	struct physdev_manage_pci_ext op;

	if (!core_get(c, &op, va))
		return -XEN_EFAULT;
	return op.is_extfn > 1 || op.is_virtfn > 1 ? -XEN_EINVAL : -XEN_EPERM;
}

/* A host bridge, the first device of the first bus, is the one that every machine has. */
static long restore_msi(struct core_ctx *c, uint64_t va)
{
	struct physdev_restore_msi op;

	if (!core_get(c, &op, va))
		return -XEN_EFAULT;
	return op.bus != 0 || op.devfn != 0 ? -XEN_ENODEV : -XEN_EPERM;
}

static long restore_msi_ext(struct core_ctx *c, uint64_t va)
{
	struct physdev_pci_device op;

	if (!core_get(c, &op, va))
		return -XEN_EFAULT;
	return op.seg != 0 || op.bus != 0 || op.devfn != 0 ? -XEN_ENODEV : -XEN_EPERM;
}

long core_hc_physdev_op(struct core_ctx *c, const uint64_t arg[6])
{
	uint64_t va = arg[1];

	switch ((uint32_t)arg[0]) {
	case PHYSDEVOP_set_iopl: /* ABI: served */
		return set_iopl(c, va);
	case PHYSDEVOP_set_iobitmap: /* ABI: served */
		return set_iobitmap(c, va);
	case PHYSDEVOP_eoi: /* ABI: served; there is nothing to do */
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
	case PHYSDEVOP_pirq_eoi_gmfn_v1: /* ABI: served; nothing is written there */
	case PHYSDEVOP_pirq_eoi_gmfn_v2: /* ABI: served; nothing is written there */
		return eoi_page(c, va);
	case PHYSDEVOP_get_free_pirq: /* ABI: served */
		return free_pirq(c, va);
	case PHYSDEVOP_manage_pci_add:	  /* ABI: -EPERM; hardware domain only */
	case PHYSDEVOP_manage_pci_remove: /* ABI: -EPERM; hardware domain only */
		return refuse(c, va, sizeof(struct physdev_manage_pci));
	case PHYSDEVOP_manage_pci_add_ext: /* ABI: -EPERM; hardware domain only */
		return add_ext(c, va);
	case PHYSDEVOP_setup_gsi: /* ABI: -EPERM; hardware domain only */
		return setup_gsi(c, va);
	case PHYSDEVOP_restore_msi: /* ABI: -EPERM; hardware domain only */
		return restore_msi(c, va);
	case PHYSDEVOP_restore_msi_ext: /* ABI: -EPERM; hardware domain only */
		return restore_msi_ext(c, va);
	case PHYSDEVOP_pci_device_add: /* ABI: -EPERM; hardware domain only */
		return refuse(c, va, offsetof(struct physdev_pci_device_add, optarr));
	case PHYSDEVOP_pci_device_remove: /* ABI: -EPERM; hardware domain only */
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
