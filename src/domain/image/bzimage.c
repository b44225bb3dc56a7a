/* SPDX-License-Identifier: MIT */
/*
 * Linux bzImage: a real-mode setup part, then the protected-mode part that holds the compressed
 * vmlinux. Since boot protocol 2.08 the setup header says where ("payload_offset"), counted from
 * the protected-mode part. See Documentation/arch/x86/boot.rst of Linux for the offsets.
 */
#include "domain/image/internal.h"

#define HDR_SETUP_SECTS	   0x1f1
#define HDR_BOOT_FLAG	   0x1fe
#define HDR_MAGIC	   0x202
#define HDR_VERSION	   0x206
#define HDR_KERNEL_VERSION 0x20e
#define HDR_PAYLOAD_OFFSET 0x248
#define HDR_PAYLOAD_LENGTH 0x24c
#define HDR_END		   0x250

bool image_is_bzimage(const uint8_t *d, uint64_t size)
{
	return size >= HDR_VERSION + 2 && get16(d + HDR_BOOT_FLAG) == 0xaa55 &&
	       memcmp(d + HDR_MAGIC, "HdrS", 4) == 0;
}

int image_parse_bzimage(struct image *img, const uint8_t *d, uint64_t size)
{
	uint64_t setup, off, len;

	img->format = IMAGE_BZIMAGE;
	img->boot_protocol = get16(d + HDR_VERSION);
	if (img->boot_protocol < 0x208 || size < HDR_END)
		return image_err(img, PVV_EIMAGE,
				 "%s: is a Linux bzImage of boot protocol %u.%02u; 2.08 (Linux "
				 "2.6.24) or later is needed to find the kernel in it",
				 img->name, img->boot_protocol >> 8, img->boot_protocol & 0xff);
	setup = ((d[HDR_SETUP_SECTS] ? d[HDR_SETUP_SECTS] : 4u) + 1u) * 512u;

	uint64_t text = (uint64_t)get16(d + HDR_KERNEL_VERSION) + 0x200;
	if (text > 0x200 && text < setup && text < size)
		image_copy_text(img->kernel_version, sizeof(img->kernel_version), d + text,
				size - text);

	off = setup + get32(d + HDR_PAYLOAD_OFFSET);
	len = get32(d + HDR_PAYLOAD_LENGTH);
	if (!range_ok(off, len, size))
		return image_err(img, PVV_EIMAGE,
				 "%s: the bzImage's payload (payload_offset, payload_length: bytes "
				 "%llu to %llu) lies behind the end of the file (%llu bytes)",
				 img->name, (unsigned long long)off,
				 (unsigned long long)(off + len), (unsigned long long)size);
	if (len < 64)
		return image_err(img, PVV_EIMAGE,
				 "%s: the bzImage's payload_length is %llu, too small for a kernel",
				 img->name, (unsigned long long)len);
	img->payload_offset = off;
	img->payload_size = len;
	img->payload_compression = image_sniff(d + off, len);
	return 0;
}
