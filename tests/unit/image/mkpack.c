/* SPDX-License-Identifier: MIT */
#include "mkpack.h"

#undef NDEBUG /* asserts here have effects */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <bzlib.h>
#include <lz4.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

static size_t pack_gzip(uint8_t *out, size_t room, const void *data, size_t size)
{
	z_stream z = {0};

	assert(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
	z.next_in = (Bytef *)(uintptr_t)data;
	z.avail_in = (uInt)size;
	z.next_out = out;
	z.avail_out = (uInt)room;
	assert(deflate(&z, Z_FINISH) == Z_STREAM_END);
	deflateEnd(&z);
	return z.total_out;
}

static size_t pack_lzma(enum image_compression c, uint8_t *out, size_t room, const void *data,
			size_t size)
{
	lzma_stream s = LZMA_STREAM_INIT;
	lzma_options_lzma opt;

	assert(!lzma_lzma_preset(&opt, 1));
	if (c == IMAGE_XZ)
		assert(lzma_easy_encoder(&s, 1, LZMA_CHECK_CRC32) == LZMA_OK);
	else
		assert(lzma_alone_encoder(&s, &opt) == LZMA_OK);
	s.next_in = data;
	s.avail_in = size;
	s.next_out = out;
	s.avail_out = room;
	assert(lzma_code(&s, LZMA_FINISH) == LZMA_STREAM_END);
	size = s.total_out;
	lzma_end(&s);
	return size;
}

static size_t pack_lz4(uint8_t *out, const uint8_t *data, size_t size)
{
	static const uint8_t magic[4] = {0x02, 0x21, 0x4c, 0x18};
	const size_t block = 8u << 20;
	size_t at = 4;

	memcpy(out, magic, 4);
	for (size_t i = 0; i < size; i += block) {
		size_t n = size - i < block ? size - i : block;
		int32_t got = LZ4_compress_default((const char *)data + i, (char *)out + at + 4,
						   (int)n, LZ4_compressBound((int)n));

		assert(got > 0);
		memcpy(out + at, &got, 4);
		at += 4 + (size_t)got;
	}
	return at;
}

struct bytes mkpack(enum image_compression c, const void *data, size_t size, int trailer)
{
	size_t room = size + size / 8 + 65536;
	struct bytes b = {.p = malloc(room)};
	uint32_t len = (uint32_t)size;

	assert(b.p);
	switch (c) {
	case IMAGE_GZIP:
		b.n = pack_gzip(b.p, room, data, size);
		break;
	case IMAGE_XZ:
	case IMAGE_LZMA:
		b.n = pack_lzma(c, b.p, room, data, size);
		break;
	case IMAGE_LZ4:
		b.n = pack_lz4(b.p, data, size);
		break;
	case IMAGE_BZIP2: {
		unsigned int n = (unsigned int)room;

		assert(BZ2_bzBuffToBuffCompress((char *)b.p, &n, (char *)(uintptr_t)data,
						(unsigned int)size, 1, 0, 0) == BZ_OK);
		b.n = n;
		break;
	}
	case IMAGE_ZSTD:
		b.n = ZSTD_compress(b.p, room, data, size, 1);
		assert(!ZSTD_isError(b.n));
		break;
	default:
		memcpy(b.p, data, size);
		b.n = size;
	}
	if (trailer) {
		memcpy(b.p + b.n, &len, 4);
		b.n += 4;
	}
	return b;
}

static void put(struct bytes *b, size_t at, uint64_t v, size_t size)
{
	memcpy(b->p + at, &v, size);
}

struct bytes mkbzimage(const void *payload, size_t size, const char *version)
{
	const size_t setup = (3 + 1) * 512, offset = 0x2c4;
	struct bytes b = {.n = setup + offset + size + 100};

	b.p = calloc(1, b.n);
	assert(b.p);
	put(&b, 0x1f1, 3, 1);
	put(&b, 0x1fe, 0xaa55, 2);
	memcpy(b.p + 0x202, "HdrS", 4);
	put(&b, 0x206, 0x20f, 2);
	put(&b, 0x20e, 0x300 - 0x200, 2);
	strcpy((char *)b.p + 0x300, version);
	put(&b, 0x248, offset, 4);
	put(&b, 0x24c, size, 4);
	memcpy(b.p + setup + offset, payload, size);
	return b;
}
