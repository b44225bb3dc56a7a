/* SPDX-License-Identifier: MIT */
/*
 * The FEATURES text: names separated by '|', a '!' before those without which the kernel does not
 * work. What is required and cannot be given is a refusal; what is merely supported and not known
 * is passed over.
 */
#include <stdio.h>

#include <xen/features.h>

#include "domain/image/internal.h"

/* Those of PV guests; others have no name here (ARM) or none any more. */
static const char *const feature_names[] = {
	[XENFEAT_writable_page_tables] = "writable_page_tables",
	[XENFEAT_writable_descriptor_tables] = "writable_descriptor_tables",
	[XENFEAT_auto_translated_physmap] = "auto_translated_physmap",
	[XENFEAT_supervisor_mode_kernel] = "supervisor_mode_kernel",
	[XENFEAT_pae_pgdir_above_4gb] = "pae_pgdir_above_4gb",
	[XENFEAT_mmu_pt_update_preserve_ad] = "mmu_pt_update_preserve_ad",
	[XENFEAT_highmem_assist] = "highmem_assist",
	[XENFEAT_gnttab_map_avail_bits] = "gnttab_map_avail_bits",
	[XENFEAT_hvm_callback_vector] = "hvm_callback_vector",
	[XENFEAT_hvm_safe_pvclock] = "hvm_safe_pvclock",
	[XENFEAT_hvm_pirqs] = "hvm_pirqs",
	[XENFEAT_dom0] = "dom0",
	[XENFEAT_memory_op_vnode_supported] = "memory_op_vnode_supported",
	[XENFEAT_linux_rsdp_unrestricted] = "linux_rsdp_unrestricted",
	[XENFEAT_not_direct_mapped] = "not_direct_mapped",
	[XENFEAT_direct_mapped] = "direct_mapped",
};

/*
 * What may stand behind a '!'. Linux requires writable_page_tables, and runs without it all the
 * same: it asks the hypervisor again at run time. Xen starts it, so do we.
 */
#define SERVED                                                                                     \
	(1u << XENFEAT_writable_page_tables | 1u << XENFEAT_pae_pgdir_above_4gb |                  \
	 1u << XENFEAT_mmu_pt_update_preserve_ad | 1u << XENFEAT_highmem_assist |                  \
	 1u << XENFEAT_gnttab_map_avail_bits | 1u << XENFEAT_memory_op_vnode_supported |           \
	 1u << XENFEAT_not_direct_mapped)

const char *image_feature_name(unsigned int bit)
{
	return bit < sizeof(feature_names) / sizeof(feature_names[0]) ? feature_names[bit] : NULL;
}

static int feature_bit(const char *name, size_t len)
{
	for (unsigned int i = 0; i < sizeof(feature_names) / sizeof(feature_names[0]); i++)
		if (feature_names[i] && strlen(feature_names[i]) == len &&
		    memcmp(feature_names[i], name, len) == 0)
			return (int)i;
	return -1;
}

int image_parse_features(struct image *img, const char *list)
{
	const char *p = list;

	while (*p) {
		bool required = *p == '!';

		p += required;
		size_t len = strcspn(p, "|");
		int bit = feature_bit(p, len);

		if (bit >= 0)
			img->features_supported |= 1u << bit;
		if (required && bit >= 0)
			img->features_required |= 1u << bit;
		if (required && len && (bit < 0 || !(SERVED & 1u << bit))) {
			int r = image_refuse(img, PVV_EUNSUPPORTED,
					     "requires the feature '%.*s' (note FEATURES), which "
					     "%s",
					     (int)(len > 64 ? 64 : len), p,
					     bit < 0 ? "is not known"
						     : "a paravirtualized domain does not have");
			if (r < 0)
				return r;
		}
		p += len;
		if (*p == '|')
			p++;
	}
	return 0;
}
