/* SPDX-License-Identifier: MIT */
/*
 * From headers and notes to what the builder needs: defaults, consistency, and whether this is a
 * kernel that a 64-bit PV domain can start. The rules are those of Xen's domain builder.
 */
#include <inttypes.h>

#include "domain/image/internal.h"

/* Linear addresses that belong to Xen in a 64-bit PV guest. */
#define XEN_HOLE_START 0xffff800000000000ull
#define XEN_HOLE_END   0xffff880000000000ull

static int check_identity(struct image *img)
{
	bool loader = strncmp(img->loader, "generic", 7) == 0;
	bool linux_os = strncmp(img->guest_os, "linux", 5) == 0;

	if (img->notes_from == IMAGE_NOTES_NONE)
		return image_refuse(img, PVV_EIMAGE,
				    "is not a Xen PV kernel: it has no Xen notes (a Linux kernel "
				    "has them when built with CONFIG_XEN_PV)");
	if (img->phys32_entry != IMAGE_UNSET && img->entry == IMAGE_UNSET &&
	    img->virt_base == IMAGE_UNSET)
		return image_refuse(img, PVV_EUNSUPPORTED,
				    "is for PVH domains only: its notes have PHYS32_ENTRY but no "
				    "ENTRY (a Linux kernel has both when built with "
				    "CONFIG_XEN_PV)");
	if (!loader && !linux_os)
		return image_refuse(img, PVV_EIMAGE,
				    "its notes name neither the loader 'generic' (LOADER is '%s') "
				    "nor the guest 'linux' (GUEST_OS is '%s')",
				    img->loader, img->guest_os);
	if (strncmp(img->xen_version, "xen-3.0", 7) != 0)
		return image_refuse(img, PVV_EIMAGE,
				    "its note XEN_VERSION is '%s'; the ABI served is 'xen-3.0'",
				    img->xen_version);
	return 0;
}

/* Take PADDR_OFFSET off, find the extent, and see that no two segments claim the same bytes. */
static int check_segments(struct image *img)
{
	img->phys_start = ~0ull;
	img->phys_end = 0;
	for (unsigned int i = 0; i < img->nr_segments; i++) {
		struct image_segment *s = &img->segment[i];

		if (s->paddr < img->paddr_offset)
			return image_err(img, PVV_EIMAGE,
					 "%s: segment %u: p_paddr %#" PRIx64
					 " is below the note PADDR_OFFSET %#" PRIx64,
					 img->name, i, s->paddr, img->paddr_offset);
		s->paddr -= img->paddr_offset;
		for (unsigned int j = 0; j < i; j++) {
			const struct image_segment *o = &img->segment[j];

			if (s->paddr < o->paddr + o->memsz && o->paddr < s->paddr + s->memsz)
				return image_err(img, PVV_EIMAGE,
						 "%s: segments %u and %u overlap at physical "
						 "address %#" PRIx64,
						 img->name, j, i,
						 s->paddr > o->paddr ? s->paddr : o->paddr);
		}
		if (s->paddr < img->phys_start)
			img->phys_start = s->paddr;
		if (s->paddr + s->memsz > img->phys_end)
			img->phys_end = s->paddr + s->memsz;
	}
	return 0;
}

static int check_addresses(struct image *img)
{
	uint64_t base = img->virt_base, start = base + img->phys_start, end = base + img->phys_end;

	if (base & 0xfff)
		return image_err(img, PVV_EIMAGE,
				 "%s: the note VIRT_BASE %#" PRIx64 " is not page aligned",
				 img->name, base);
	/* end may be 2^64 exactly, never beyond; nor may the image leave its half of memory. */
	if (img->phys_end > (1ull << 47) || (end < base && end != 0) || ((end - 1) ^ base) >> 47 ||
	    (base >> 47 != 0 && base >> 47 != 0x1ffff))
		return image_err(img, PVV_EIMAGE,
				 "%s: the note VIRT_BASE %#" PRIx64 " does not leave room for an "
				 "image that ends at %#" PRIx64,
				 img->name, base, img->phys_end);
	if (start < XEN_HOLE_END && end - 1 >= XEN_HOLE_START)
		return image_err(img, PVV_EIMAGE,
				 "%s: the image at %#" PRIx64 " to %#" PRIx64
				 " lies where Xen itself is (0xffff800000000000 and 8 TiB up)",
				 img->name, start, end);
	if (img->entry < start || img->entry > end - 1)
		return image_err(img, PVV_EIMAGE,
				 "%s: the entry point %#" PRIx64 " is outside the image (%#" PRIx64
				 " to %#" PRIx64 ")",
				 img->name, img->entry, start, end);
	if (img->hypercall_page != IMAGE_UNSET &&
	    (img->hypercall_page & 0xfff || img->hypercall_page < start ||
	     img->hypercall_page - base >= ((img->phys_end + 0xfff) & ~0xfffull)))
		return image_err(img, PVV_EIMAGE,
				 "%s: the note HYPERCALL_PAGE %#" PRIx64
				 " is not a page of the image (%#" PRIx64 " to %#" PRIx64 ")",
				 img->name, img->hypercall_page, start, end);
	return 0;
}

int image_check(struct image *img)
{
	int r = check_identity(img);

	if (r < 0)
		return r;
	if (img->paddr_offset != IMAGE_UNSET && img->virt_base == IMAGE_UNSET)
		return image_err(img, PVV_EIMAGE, "%s: has a note PADDR_OFFSET but no VIRT_BASE",
				 img->name);
	if (img->virt_base == IMAGE_UNSET)
		img->virt_base = 0;
	if (img->paddr_offset == IMAGE_UNSET)
		img->paddr_offset = 0;
	if (img->entry == IMAGE_UNSET)
		img->entry = img->elf_entry;
	/* Xen puts the list into the initial mapping when it cannot be placed as asked. */
	if (img->init_p2m != IMAGE_UNSET &&
	    (img->init_p2m & 0xfff || img->init_p2m >= img->virt_base))
		img->init_p2m = IMAGE_UNSET;
	if (img->refused[0]) /* only looked at: addresses need not make sense */
		return 0;
	r = check_segments(img);
	if (r == 0 && img->bsd_symtab && img->phys_end <= 1ull << 47)
		image_find_symtab(img);
	return r < 0 ? r : check_addresses(img);
}
