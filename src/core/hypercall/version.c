/* SPDX-License-Identifier: MIT */
/*
 * xen_version: who we say we are. The version is the one whose answers this library gives, 4.17;
 * the extra version and the compile information name libpvvirt, so that a guest's boot log tells
 * the truth.
 */
#include "core/hypercall/hypercall.h"

#include <xen/version.h>

#include "core/lib/mem.h"

#define VERSION_MAJOR 4
#define VERSION_MINOR 17

#define FEATURE(name) (1u << XENFEAT_##name)

/* What an unprivileged 64-bit PV domain is told by Xen. Bits: xen/features.h. */
static uint32_t features(const struct core_ctx *c)
{
	uint32_t submap = FEATURE(memory_op_vnode_supported) | FEATURE(mmu_pt_update_preserve_ad) |
			  FEATURE(highmem_assist) | FEATURE(gnttab_map_avail_bits) |
			  FEATURE(direct_mapped);

	if (c->d->vm_assist & (1u << VMASST_TYPE_pae_extended_cr3))
		submap |= FEATURE(pae_pgdir_above_4gb);
	return submap;
}

static long put_text(struct core_ctx *c, uint64_t va, const char *text, size_t size)
{
	char buf[1024] = "";
	size_t len = 0;

	while (text[len] != '\0')
		len++;
	memcpy(buf, text, len + 1 < size ? len + 1 : size);
	return core_put_bytes(c, va, buf, size) ? 0 : -XEN_EFAULT;
}

static long put_compile_info(struct core_ctx *c, uint64_t va)
{
	struct xen_compile_info info = {
		.compiler = "gcc",
		.compile_by = "libpvvirt",
		.compile_domain = "",
		.compile_date = "",
	};

	return core_put(c, va, &info) ? 0 : -XEN_EFAULT;
}

static long get_features(struct core_ctx *c, uint64_t va)
{
	struct xen_feature_info info;

	if (!core_get(c, &info, va))
		return -XEN_EFAULT;
	if (info.submap_idx >= XENFEAT_NR_SUBMAPS)
		return -XEN_EINVAL;
	info.submap = features(c);
	return core_put(c, va, &info) ? 0 : -XEN_EFAULT;
}

long core_hc_xen_version(struct core_ctx *c, const uint64_t arg[6])
{
	uint64_t va = arg[1];

	switch ((uint32_t)arg[0]) {
	case XENVER_version: /* ABI: served; 4.17 */
		return VERSION_MAJOR << 16 | VERSION_MINOR;
	case XENVER_extraversion: /* ABI: served; names libpvvirt */
		return put_text(c, va, ".0-libpvvirt", XEN_EXTRAVERSION_LEN);
	case XENVER_compile_info: /* ABI: served; names libpvvirt */
		return put_compile_info(c, va);
	case XENVER_capabilities: /* ABI: served; 64-bit PV only */
		return put_text(c, va, "xen-3.0-x86_64 ", XEN_CAPABILITIES_INFO_LEN);
	case XENVER_changeset: /* ABI: served; "unavailable" */
		return put_text(c, va, "unavailable", XEN_CHANGESET_INFO_LEN);
	case XENVER_platform_parameters: { /* ABI: served */
		struct xen_platform_parameters params = {.virt_start = HYPERVISOR_VIRT_START};

		return core_put(c, va, &params) ? 0 : -XEN_EFAULT;
	}
	case XENVER_get_features: /* ABI: served */
		return get_features(c, va);
	case XENVER_pagesize: /* ABI: served; 4096 */
		return va == 0 ? 4096 : -XEN_EINVAL;
	case XENVER_guest_handle: /* ABI: served; the domain's UUID */
		return core_put_bytes(c, va, c->ctl->boot.uuid, 16) ? 0 : -XEN_EFAULT;
	case XENVER_commandline: /* ABI: served; "<denied>" as for any guest but the control domain
				  */
		return put_text(c, va, "<denied>", sizeof("<denied>"));
	case XENVER_build_id: /* ABI: -EPERM; not for guests */
		return -XEN_EPERM;
	default:
		return -XEN_ENOSYS;
	}
}
