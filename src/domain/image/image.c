/* SPDX-License-Identifier: MIT */
#include "domain/image/image.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "domain/image/internal.h"
#include "domain/image/source.h"

const char *image_format_name(enum image_format format)
{
	return format == IMAGE_BZIMAGE ? "bzImage" : "ELF";
}

const char *image_compression_name(enum image_compression c)
{
	static const char *const names[] = {
		[IMAGE_PLAIN] = "none",	 [IMAGE_GZIP] = "gzip", [IMAGE_XZ] = "xz",
		[IMAGE_LZMA] = "lzma",	 [IMAGE_LZ4] = "lz4",	[IMAGE_ZSTD] = "zstd",
		[IMAGE_BZIP2] = "bzip2", [IMAGE_LZO] = "lzo",
	};

	return names[c];
}

int image_refuse(struct image *img, int code, const char *fmt, ...)
{
	char why[sizeof(img->refused)];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	if (!img->inspect)
		return image_err(img, code, "%s: %s", img->name, why);
	if (!img->refused[0])
		memcpy(img->refused, why, sizeof(why));
	return 0;
}

/* Replace *data by what it unpacks to. */
static int unpack(const struct image *img, enum image_compression c, uint64_t max, uint8_t **data,
		  uint64_t *size)
{
	uint8_t *out;
	uint64_t out_size;
	int r = image_decompress(img, c, *data, *size, max, &out, &out_size);

	if (r < 0)
		return r;
	free(*data);
	*data = out;
	*size = out_size;
	return 0;
}

static int load(struct image *img, const struct image_source *src, uint64_t max, uint8_t **data)
{
	uint64_t size;
	int r = image_source_size(src, &size);

	if (r < 0)
		return r;
	img->file_size = size;
	if (size == 0)
		return image_err(img, PVV_EIMAGE, "%s: is empty", img->name);
	if (size > IMAGE_MAX_FILE)
		return image_err(img, PVV_ELIMIT, "%s: is larger than %llu MiB", img->name,
				 IMAGE_MAX_FILE >> 20);
	*data = malloc(size);
	if (!*data)
		return err_nomem(PVV_SUBSYS_IMAGE, "reading a kernel image");
	r = image_source_read(src, 0, *data, size);
	if (r < 0)
		return r;

	img->file_compression = image_sniff(*data, size);
	if (img->file_compression != IMAGE_PLAIN) {
		r = unpack(img, img->file_compression, max, data, &size);
		if (r < 0)
			return r;
	}
	if (!image_is_bzimage(*data, size)) {
		img->elf = *data;
		img->elf_size = size;
		*data = NULL;
		return 0;
	}
	r = image_parse_bzimage(img, *data, size);
	if (r < 0)
		return r;
	if (img->payload_compression != IMAGE_PLAIN)
		return image_decompress(img, img->payload_compression, *data + img->payload_offset,
					img->payload_size, max, &img->elf, &img->elf_size);
	memmove(*data, *data + img->payload_offset, img->payload_size);
	img->elf = *data;
	img->elf_size = img->payload_size;
	*data = NULL;
	return 0;
}

int image_load(const struct image_source *src, uint64_t max_unpacked, unsigned int flags,
	       struct image **ret_image)
{
	struct image *img = calloc(1, sizeof(*img));
	uint8_t *data = NULL;
	int r;

	*ret_image = NULL;
	if (!img)
		return err_nomem(PVV_SUBSYS_IMAGE, "reading a kernel image");
	snprintf(img->name, sizeof(img->name), "%s", src->name ? src->name : "kernel");
	img->inspect = flags & IMAGE_LOAD_INSPECT;
	img->entry = img->virt_base = img->paddr_offset = IMAGE_UNSET;
	img->hypercall_page = img->init_p2m = IMAGE_UNSET;
	img->hv_start_low = img->phys32_entry = IMAGE_UNSET;
	if (max_unpacked == 0 || max_unpacked > IMAGE_MAX_UNPACKED)
		max_unpacked = IMAGE_MAX_UNPACKED;

	r = load(img, src, max_unpacked, &data);
	free(data);
	if (r == 0)
		r = image_parse_elf(img);
	/* Without segments (32-bit, for the inspector) there is nothing more to say. */
	if (r == 0 && img->nr_segments)
		r = image_check(img);
	if (r < 0) {
		image_free(img);
		return r;
	}
	*ret_image = img;
	return 0;
}

void image_free(struct image *img)
{
	if (!img)
		return;
	free(img->elf);
	free(img);
}
