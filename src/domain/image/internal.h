/* SPDX-License-Identifier: MIT */
/* Between the files of this folder only. */
#ifndef PVV_DOMAIN_IMAGE_INTERNAL_H
#define PVV_DOMAIN_IMAGE_INTERNAL_H

#include <string.h>

#include "domain/image/image.h"
#include "util/err.h"

#define image_err(img, code, ...) err_set((code), PVV_SUBSYS_IMAGE, (img)->name, __VA_ARGS__)

/*
 * The image is sound but cannot be started here: an error, or when it is only inspected a remark in
 * img->refused (the first one stays) and 0. "NAME: " is put before the text.
 */
int image_refuse(struct image *img, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Little-endian loads from anywhere; the caller has checked the bounds. */
static inline uint16_t get16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline uint64_t get64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* Do [off, off + len) lie inside `size` bytes? Immune to wrap-around. */
static inline bool range_ok(uint64_t off, uint64_t len, uint64_t size)
{
	return off <= size && len <= size - off;
}

/* decompress.c */
enum image_compression image_sniff(const uint8_t *data, uint64_t size);
/*
 * Unpack one stream. Bytes behind its end are ignored (a bzImage's payload has its size there).
 * PVV_ELIMIT when it unpacks to more than `max` bytes. *ret is for free().
 */
int image_decompress(const struct image *img, enum image_compression c, const uint8_t *data,
		     uint64_t size, uint64_t max, uint8_t **ret, uint64_t *ret_size);

/* bzimage.c: fills the setup header's fields of `img`. */
bool image_is_bzimage(const uint8_t *data, uint64_t size);
int image_parse_bzimage(struct image *img, const uint8_t *data, uint64_t size);

/* elf.c: img->elf is there; fills segments (p_paddr as in the file) and finds the notes. */
int image_parse_elf(struct image *img);

/* notes.c: one region of notes; counts all it looks at in *budget. */
int image_parse_notes(struct image *img, uint64_t off, uint64_t size, enum image_notes_from from,
		      unsigned int *budget);
/* legacy.c: the text of a __xen_guest section. */
int image_parse_legacy(struct image *img, const uint8_t *text, uint64_t size);
/* features.c */
int image_parse_features(struct image *img, const char *list);
/* Copy an unterminated text from a file; control characters become '?'. */
void image_copy_text(char *dst, size_t dst_size, const uint8_t *src, uint64_t size);

/* symtab.c: find the symbols and put them behind the image; none is no error, as with Xen. */
void image_find_symtab(struct image *img);

/* check.c: defaults, and whether the image can be started at all. */
int image_check(struct image *img);

#endif
