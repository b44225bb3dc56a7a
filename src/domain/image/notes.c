/* SPDX-License-Identifier: MIT */
/*
 * Xen's ELF notes (<xen/elfnote.h>). Sizes in real images are not always right: PV GRUB's builder
 * has written a PAE note that claims more than its segment holds. Such a note is clamped to what is
 * there, not refused; a number that is too short to be one counts as absent.
 */
#include <elf.h>
#include <xen/elfnote.h>

#include "domain/image/internal.h"

static const char *const note_names[] = {
	[XEN_ELFNOTE_INFO] = "INFO",
	[XEN_ELFNOTE_ENTRY] = "ENTRY",
	[XEN_ELFNOTE_HYPERCALL_PAGE] = "HYPERCALL_PAGE",
	[XEN_ELFNOTE_VIRT_BASE] = "VIRT_BASE",
	[XEN_ELFNOTE_PADDR_OFFSET] = "PADDR_OFFSET",
	[XEN_ELFNOTE_XEN_VERSION] = "XEN_VERSION",
	[XEN_ELFNOTE_GUEST_OS] = "GUEST_OS",
	[XEN_ELFNOTE_GUEST_VERSION] = "GUEST_VERSION",
	[XEN_ELFNOTE_LOADER] = "LOADER",
	[XEN_ELFNOTE_PAE_MODE] = "PAE_MODE",
	[XEN_ELFNOTE_FEATURES] = "FEATURES",
	[XEN_ELFNOTE_BSD_SYMTAB] = "BSD_SYMTAB",
	[XEN_ELFNOTE_HV_START_LOW] = "HV_START_LOW",
	[XEN_ELFNOTE_L1_MFN_VALID] = "L1_MFN_VALID",
	[XEN_ELFNOTE_SUSPEND_CANCEL] = "SUSPEND_CANCEL",
	[XEN_ELFNOTE_INIT_P2M] = "INIT_P2M",
	[XEN_ELFNOTE_MOD_START_PFN] = "MOD_START_PFN",
	[XEN_ELFNOTE_SUPPORTED_FEATURES] = "SUPPORTED_FEATURES",
	[XEN_ELFNOTE_PHYS32_ENTRY] = "PHYS32_ENTRY",
};

const char *image_note_name(uint32_t type)
{
	return type < sizeof(note_names) / sizeof(note_names[0]) ? note_names[type] : NULL;
}

void image_copy_text(char *dst, size_t dst_size, const uint8_t *src, uint64_t size)
{
	size_t i;

	for (i = 0; i + 1 < dst_size && i < size && src[i]; i++)
		dst[i] = src[i] < 0x20 || src[i] >= 0x7f ? '?' : (char)src[i];
	dst[i] = '\0';
}

/* A number of 4 or 8 bytes; leaves *ret alone if there is none. */
static void number(const struct image_note *n, uint64_t *ret)
{
	if (n->size >= 8)
		*ret = get64(n->desc);
	else if (n->size >= 4)
		*ret = get32(n->desc);
}

static void text(const struct image_note *n, char dst[IMAGE_STRING_MAX])
{
	image_copy_text(dst, IMAGE_STRING_MAX, n->desc, n->size);
}

static int features_note(struct image *img, const struct image_note *n)
{
	/* Cutting a list of features could lose a '!'. */
	char list[1024];

	if (strnlen((const char *)n->desc, n->size) >= sizeof(list))
		return image_err(img, PVV_EIMAGE, "%s: the FEATURES note is longer than %zu bytes",
				 img->name, sizeof(list) - 1);
	image_copy_text(list, sizeof(list), n->desc, n->size);
	image_copy_text(img->features, sizeof(img->features), n->desc, n->size);
	return image_parse_features(img, list);
}

static int interpret(struct image *img, const struct image_note *n)
{
	uint64_t v = 0;
	char yes[IMAGE_STRING_MAX];

	switch (n->type) {
	case XEN_ELFNOTE_ENTRY:
		number(n, &img->entry);
		break;
	case XEN_ELFNOTE_HYPERCALL_PAGE:
		number(n, &img->hypercall_page);
		break;
	case XEN_ELFNOTE_VIRT_BASE:
		number(n, &img->virt_base);
		break;
	case XEN_ELFNOTE_PADDR_OFFSET:
		number(n, &img->paddr_offset);
		break;
	case XEN_ELFNOTE_XEN_VERSION:
		text(n, img->xen_version);
		break;
	case XEN_ELFNOTE_GUEST_OS:
		text(n, img->guest_os);
		break;
	case XEN_ELFNOTE_GUEST_VERSION:
		text(n, img->guest_version);
		break;
	case XEN_ELFNOTE_LOADER:
		text(n, img->loader);
		break;
	case XEN_ELFNOTE_PAE_MODE:
		text(n, img->pae_mode);
		break;
	case XEN_ELFNOTE_FEATURES:
		return features_note(img, n);
	case XEN_ELFNOTE_SUPPORTED_FEATURES:
		number(n, &v);
		img->features_supported |= (uint32_t)v;
		break;
	case XEN_ELFNOTE_BSD_SYMTAB:
		text(n, yes);
		img->bsd_symtab = strncmp(yes, "yes", 3) == 0;
		break;
	case XEN_ELFNOTE_HV_START_LOW:
		number(n, &img->hv_start_low);
		break;
	case XEN_ELFNOTE_L1_MFN_VALID:
		if (n->size >= 16) {
			img->has_l1_mfn_valid = true;
			img->l1_mfn_mask = get64(n->desc);
			img->l1_mfn_value = get64(n->desc + 8);
		}
		break;
	case XEN_ELFNOTE_SUSPEND_CANCEL:
		number(n, &v);
		img->suspend_cancel = v != 0;
		break;
	case XEN_ELFNOTE_INIT_P2M:
		number(n, &img->init_p2m);
		break;
	case XEN_ELFNOTE_MOD_START_PFN:
		number(n, &v);
		img->mod_start_pfn = v != 0;
		break;
	case XEN_ELFNOTE_PHYS32_ENTRY:
		number(n, &img->phys32_entry);
		break;
	}
	return 0;
}

int image_parse_notes(struct image *img, uint64_t off, uint64_t size, enum image_notes_from from,
		      unsigned int *budget)
{
	const uint8_t *p = img->elf + off;
	uint64_t left = size;

	while (left >= sizeof(Elf64_Nhdr)) {
		uint64_t name_size = get32(p), desc_size = get32(p + 4);
		uint64_t head = sizeof(Elf64_Nhdr) + ((name_size + 3) & ~3ull);
		struct image_note n = {.type = get32(p + 8)};

		if ((*budget)-- == 0)
			return image_err(img, PVV_EIMAGE, "%s: has too many ELF notes", img->name);
		if (head > left) /* the rest is not made of notes */
			break;
		if (desc_size > left - head) {
			desc_size = left - head;
			n.clamped = true;
		}
		n.size = (uint32_t)desc_size;
		n.desc = p + head;
		if (name_size == 4 && memcmp(p + sizeof(Elf64_Nhdr), "Xen", 4) == 0) {
			img->notes_from = from;
			int r = interpret(img, &n);
			if (r < 0)
				return r;
			if (img->nr_notes < IMAGE_MAX_NOTES)
				img->note[img->nr_notes++] = n;
			else
				img->nr_notes_ignored++;
		}
		uint64_t step = head + ((desc_size + 3) & ~3ull);
		if (step >= left)
			break;
		p += step;
		left -= step;
	}
	return 0;
}
