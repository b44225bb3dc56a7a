/* SPDX-License-Identifier: MIT */
/*
 * The text of a __xen_guest section, which ELF notes replaced in 2006:
 * "GUEST_OS=linux,XEN_VER=xen-3.0,VIRT_BASE=0x...,LOADER=generic". <xen/elfnote.h> gives each key's
 * meaning ("LEGACY").
 */
#include <stdio.h>
#include <stdlib.h>

#include <xen/elfnote.h>

#include "domain/image/internal.h"

#define LEGACY_MAX 2048u

static int number(struct image *img, const char *key, const char *value, uint64_t *ret)
{
	char *end;
	unsigned long long v = strtoull(value, &end, 0);

	if (!*value || *end || *value == '-')
		return image_err(img, PVV_EIMAGE, "%s: __xen_guest: %s='%.40s' is not a number",
				 img->name, key, value);
	*ret = v;
	return 0;
}

static int pair(struct image *img, const char *key, const char *value)
{
	uint64_t v = 0;
	int r;

	if (!strcmp(key, "GUEST_OS")) {
		snprintf(img->guest_os, sizeof(img->guest_os), "%s", value);
	} else if (!strcmp(key, "GUEST_VER")) {
		snprintf(img->guest_version, sizeof(img->guest_version), "%s", value);
	} else if (!strcmp(key, "XEN_VER")) {
		snprintf(img->xen_version, sizeof(img->xen_version), "%s", value);
	} else if (!strcmp(key, "LOADER")) {
		snprintf(img->loader, sizeof(img->loader), "%s", value);
	} else if (!strcmp(key, "PAE")) {
		snprintf(img->pae_mode, sizeof(img->pae_mode), "%s", value);
	} else if (!strcmp(key, "BSD_SYMTAB")) {
		img->bsd_symtab = true;
	} else if (!strcmp(key, "VIRT_BASE")) {
		return number(img, key, value, &img->virt_base);
	} else if (!strcmp(key, "VIRT_ENTRY")) {
		return number(img, key, value, &img->entry);
	} else if (!strcmp(key, "ELF_PADDR_OFFSET")) {
		return number(img, key, value, &img->paddr_offset);
	} else if (!strcmp(key, "INIT_P2M")) {
		return number(img, key, value, &img->init_p2m);
	} else if (!strcmp(key, "HYPERCALL_PAGE")) {
		/* A frame number here; turned into an address when VIRT_BASE is known. */
		r = number(img, key, value, &v);
		if (r < 0)
			return r;
		if (v >> 40)
			return image_err(img, PVV_EIMAGE,
					 "%s: __xen_guest: HYPERCALL_PAGE is no frame number",
					 img->name);
		img->hypercall_page = v << 12;
	} else if (!strcmp(key, "FEATURES")) {
		snprintf(img->features, sizeof(img->features), "%s", value);
		return image_parse_features(img, value);
	}
	return 0;
}

int image_parse_legacy(struct image *img, const uint8_t *text, uint64_t size)
{
	char buf[LEGACY_MAX], *next = buf;

	if (strnlen((const char *)text, size) >= sizeof(buf))
		return image_err(img, PVV_EIMAGE, "%s: the __xen_guest section is too long",
				 img->name);
	image_copy_text(buf, sizeof(buf), text, size);
	img->notes_from = IMAGE_NOTES_LEGACY;
	while (next) {
		char *key = next, *value;

		next = strchr(key, ',');
		if (next)
			*next++ = '\0';
		value = strchr(key, '=');
		if (value)
			*value++ = '\0';
		int r = pair(img, key, value ? value : (char *)"");
		if (r < 0)
			return r;
	}
	/* Kernels of that age wrote virtual addresses into p_paddr. */
	if (img->paddr_offset == IMAGE_UNSET)
		img->paddr_offset = img->virt_base;
	if (img->hypercall_page != IMAGE_UNSET && img->virt_base != IMAGE_UNSET)
		img->hypercall_page += img->virt_base;
	return 0;
}
