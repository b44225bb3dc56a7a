/* SPDX-License-Identifier: MIT */
/*
 * Unpacking, through each format's own library. Every loop below is bounded by the input's size and
 * by `max` bytes of output; the libraries' own memory by LIMIT_DICT.
 */
#include <stdlib.h>

#include <bzlib.h>
#include <lz4.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include "domain/image/internal.h"

#define LIMIT_DICT	 (192ull << 20) /* xz -9 needs 65 MiB, the kernel's xz 128 MiB at most */
#define LZ4_LEGACY	 0x184c2102u
#define LZ4_BLOCK	 (8u << 20) /* what one block of the legacy frame unpacks to, at most */
#define FIRST_ALLOCATION (16ull << 20)

enum image_compression image_sniff(const uint8_t *d, uint64_t n)
{
	static const struct {
		enum image_compression c;
		uint8_t len, magic[8];
	} known[] = {
		{IMAGE_GZIP, 2, {0x1f, 0x8b}},
		{IMAGE_XZ, 6, {0xfd, '7', 'z', 'X', 'Z', 0}},
		{IMAGE_ZSTD, 4, {0x28, 0xb5, 0x2f, 0xfd}},
		{IMAGE_LZ4, 4, {0x02, 0x21, 0x4c, 0x18}},
		{IMAGE_LZMA, 3, {0x5d, 0, 0}},
		{IMAGE_BZIP2, 3, {'B', 'Z', 'h'}},
		{IMAGE_LZO, 8, {0x89, 'L', 'Z', 'O', 0, '\r', '\n', 0x1a}},
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (n >= known[i].len && memcmp(d, known[i].magic, known[i].len) == 0)
			return known[i].c;
	return IMAGE_PLAIN;
}

/* The output: a buffer that doubles up to `max`. */
struct out {
	const struct image *img;
	enum image_compression c;
	uint8_t *p;
	uint64_t n, room, max;
};

static int out_grow(struct out *o)
{
	uint64_t room = o->room ? o->room * 2 : FIRST_ALLOCATION;
	uint8_t *p;

	if (room > o->max)
		room = o->max;
	if (room <= o->room)
		return image_err(o->img, PVV_ELIMIT,
				 "%s: unpacks (%s) to more than the %llu MiB allowed here; give "
				 "the domain more memory if the image is sound",
				 o->img->name, image_compression_name(o->c),
				 (unsigned long long)(o->max >> 20));
	p = realloc(o->p, room);
	if (!p)
		return err_nomem(PVV_SUBSYS_IMAGE, "unpacking a kernel image");
	o->p = p;
	o->room = room;
	return 0;
}

static int bad(const struct out *o, uint64_t at, const char *why)
{
	return image_err(o->img, PVV_EIMAGE, "%s: the %s data is damaged near byte %llu: %s",
			 o->img->name, image_compression_name(o->c), (unsigned long long)at, why);
}

static int cut(const struct out *o, uint64_t size)
{
	return image_err(o->img, PVV_EIMAGE, "%s: the %s data ends too early, after %llu bytes",
			 o->img->name, image_compression_name(o->c), (unsigned long long)size);
}

static int unpack_gzip(struct out *o, const uint8_t *d, uint64_t n)
{
	z_stream z = {0};
	int ret = 0, r;

	if (inflateInit2(&z, 15 + 16) != Z_OK)
		return err_nomem(PVV_SUBSYS_IMAGE, "unpacking a kernel image");
	z.next_in = (Bytef *)(uintptr_t)d;
	z.avail_in = (uInt)n; /* n <= IMAGE_MAX_UNPACKED */
	for (;;) {
		if (o->n == o->room && (ret = out_grow(o)) < 0)
			break;
		z.next_out = o->p + o->n;
		z.avail_out = (uInt)(o->room - o->n);
		r = inflate(&z, Z_NO_FLUSH);
		o->n = o->room - z.avail_out;
		if (r == Z_STREAM_END)
			break;
		if (r == Z_MEM_ERROR) {
			ret = err_nomem(PVV_SUBSYS_IMAGE, "unpacking a kernel image");
			break;
		}
		if (r != Z_OK && r != Z_BUF_ERROR) {
			ret = bad(o, z.total_in, z.msg ? z.msg : "no gzip stream");
			break;
		}
		if (z.avail_in == 0 && z.avail_out != 0) {
			ret = cut(o, n);
			break;
		}
	}
	inflateEnd(&z);
	return ret;
}

static const char *lzma_why(lzma_ret r)
{
	switch (r) {
	case LZMA_MEMLIMIT_ERROR:
		return "its dictionary is larger than 192 MiB allow";
	case LZMA_OPTIONS_ERROR:
		return "it uses a filter that is not known";
	case LZMA_FORMAT_ERROR:
		return "its header is wrong";
	default:
		return "a checksum or code is wrong";
	}
}

static int unpack_lzma(struct out *o, const uint8_t *d, uint64_t n)
{
	lzma_stream s = LZMA_STREAM_INIT;
	lzma_ret r = o->c == IMAGE_XZ ? lzma_stream_decoder(&s, LIMIT_DICT, 0)
				      : lzma_alone_decoder(&s, LIMIT_DICT);
	int ret = 0;

	if (r != LZMA_OK)
		return err_nomem(PVV_SUBSYS_IMAGE, "unpacking a kernel image");
	s.next_in = d;
	s.avail_in = n;
	for (;;) {
		if (o->n == o->room && (ret = out_grow(o)) < 0)
			break;
		s.next_out = o->p + o->n;
		s.avail_out = o->room - o->n;
		r = lzma_code(&s, LZMA_RUN);
		o->n = o->room - s.avail_out;
		if (r == LZMA_STREAM_END)
			break;
		if (r == LZMA_MEM_ERROR) {
			ret = err_nomem(PVV_SUBSYS_IMAGE, "unpacking a kernel image");
			break;
		}
		if (r != LZMA_OK && r != LZMA_BUF_ERROR) {
			ret = bad(o, s.total_in, lzma_why(r));
			break;
		}
		if (s.avail_in == 0 && s.avail_out != 0) {
			ret = cut(o, n);
			break;
		}
	}
	lzma_end(&s);
	return ret;
}

static int unpack_zstd(struct out *o, const uint8_t *d, uint64_t n)
{
	ZSTD_DStream *s = ZSTD_createDStream();
	ZSTD_inBuffer in = {d, n, 0};
	int ret = 0;

	if (!s)
		return err_nomem(PVV_SUBSYS_IMAGE, "unpacking a kernel image");
	/* 128 MiB: what the kernel's own unpacker takes at most. */
	ZSTD_DCtx_setParameter(s, ZSTD_d_windowLogMax, 27);
	for (;;) {
		if (o->n == o->room && (ret = out_grow(o)) < 0)
			break;
		ZSTD_outBuffer out = {o->p, o->room, o->n};
		size_t r = ZSTD_decompressStream(s, &out, &in);

		if (ZSTD_isError(r)) {
			ret = bad(o, in.pos, ZSTD_getErrorName(r));
			break;
		}
		o->n = out.pos;
		if (r == 0)
			break;
		if (in.pos == in.size && out.pos < out.size) {
			ret = cut(o, n);
			break;
		}
	}
	ZSTD_freeDStream(s);
	return ret;
}

static int unpack_bzip2(struct out *o, const uint8_t *d, uint64_t n)
{
	bz_stream s = {0};
	int ret = 0, r;

	if (BZ2_bzDecompressInit(&s, 0, 0) != BZ_OK)
		return err_nomem(PVV_SUBSYS_IMAGE, "unpacking a kernel image");
	s.next_in = (char *)(uintptr_t)d;
	s.avail_in = (unsigned int)n; /* n <= IMAGE_MAX_UNPACKED */
	for (;;) {
		if (o->n == o->room && (ret = out_grow(o)) < 0)
			break;
		s.next_out = (char *)o->p + o->n;
		s.avail_out = (unsigned int)(o->room - o->n);
		r = BZ2_bzDecompress(&s);
		o->n = o->room - s.avail_out;
		if (r == BZ_STREAM_END)
			break;
		if (r == BZ_MEM_ERROR) {
			ret = err_nomem(PVV_SUBSYS_IMAGE, "unpacking a kernel image");
			break;
		}
		if (r != BZ_OK) {
			ret = bad(o, n - s.avail_in,
				  r == BZ_DATA_ERROR_MAGIC ? "its header is wrong"
							   : "a checksum or code is wrong");
			break;
		}
		if (s.avail_in == 0 && s.avail_out != 0) {
			ret = cut(o, n);
			break;
		}
	}
	BZ2_bzDecompressEnd(&s);
	return ret;
}

/*
 * The legacy frame: a magic number, then blocks of a 32-bit compressed size and that many bytes, up
 * to the end of the input. Nothing marks the end, so a size with nothing behind it is the 4-byte
 * length that Linux appends to a payload.
 */
static int unpack_lz4(struct out *o, const uint8_t *d, uint64_t n)
{
	uint64_t at = 4;

	while (at < n) {
		if (n - at < 4)
			return cut(o, n);
		uint32_t len = get32(d + at);

		if (n - at == 4 && at > 4)
			break;
		at += 4;
		if (len == LZ4_LEGACY) /* a frame behind a frame */
			continue;
		if (len == 0 || len > (uint32_t)LZ4_COMPRESSBOUND(LZ4_BLOCK))
			return bad(o, at - 4, "a block has an impossible size");
		if (len > n - at)
			return cut(o, n);
		/* Grow for a whole block if that is allowed, else see whether it fits. */
		while (o->room - o->n < LZ4_BLOCK && o->room < o->max) {
			int r = out_grow(o);

			if (r < 0)
				return r;
		}
		uint64_t room = o->room - o->n;
		int got = LZ4_decompress_safe((const char *)d + at, (char *)o->p + o->n, (int)len,
					      room > LZ4_BLOCK ? (int)LZ4_BLOCK : (int)room);

		if (got < 0)
			return room < LZ4_BLOCK ? out_grow(o)
						: bad(o, at, "a block does not unpack");
		o->n += (uint64_t)got;
		at += len;
	}
	return 0;
}

int image_decompress(const struct image *img, enum image_compression c, const uint8_t *data,
		     uint64_t size, uint64_t max, uint8_t **ret, uint64_t *ret_size)
{
	struct out o = {.img = img, .c = c, .max = max};
	int r;

	switch (c) {
	case IMAGE_GZIP:
		r = unpack_gzip(&o, data, size);
		break;
	case IMAGE_XZ:
	case IMAGE_LZMA:
		r = unpack_lzma(&o, data, size);
		break;
	case IMAGE_ZSTD:
		r = unpack_zstd(&o, data, size);
		break;
	case IMAGE_LZ4:
		r = unpack_lz4(&o, data, size);
		break;
	case IMAGE_BZIP2:
		r = unpack_bzip2(&o, data, size);
		break;
	default:
		r = image_err(img, PVV_EUNSUPPORTED,
			      "%s: is packed with %s, which is not supported (gzip, bzip2, xz, "
			      "lzma, lz4 and zstd are); unpack it first",
			      img->name, image_compression_name(c));
	}
	if (r < 0) {
		free(o.p);
		return r;
	}
	if (o.n && o.n < o.room) { /* give the tail back; keeping it is no failure */
		uint8_t *p = realloc(o.p, o.n);

		if (p)
			o.p = p;
	}
	*ret = o.p;
	*ret_size = o.n;
	return 0;
}
