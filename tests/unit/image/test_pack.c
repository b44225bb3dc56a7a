/* SPDX-License-Identifier: MIT */
/* Compressed images and bzImages: each format, where each is cut or damaged, and bombs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include <lzma.h>
#include <zlib.h>

#include "mkelf.h"
#include "mkpack.h"
#include "util/err.h"

#define BASE 0xffffffff80000000ull

static const enum image_compression all[] = {IMAGE_PLAIN, IMAGE_GZIP, IMAGE_XZ,	  IMAGE_LZMA,
					     IMAGE_LZ4,	  IMAGE_ZSTD, IMAGE_BZIP2};

static void make_elf(struct mkelf *m)
{
	mkelf_kernel(m, BASE, 0x1000000);
	mkelf_segment(m, 0x2000000, BASE, 0x30000, 0x30000);
	mkelf_finish(m);
}

static int load(struct bytes b, uint64_t max, struct image **ret)
{
	struct image_source src = {.name = "packed", .fd = -1, .data = b.p, .size = b.n};

	return image_load(&src, max, 0, ret);
}

static const char *message(void)
{
	return pvv_error_get_message(pvv_error_last());
}

static void every_format_as_payload_and_as_file(void **state)
{
	struct mkelf m;

	make_elf(&m);
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		/* With the length that Linux appends, and without. */
		for (int trailer = 0; trailer < 2; trailer++) {
			struct bytes p = mkpack(all[i], m.data, m.size, trailer);
			struct bytes bz = mkbzimage(p.p, p.n, "6.1.0-test (someone@somewhere) #1");
			struct image *img = NULL;

			assert_int_equal(load(bz, 0, &img), 0);
			assert_int_equal(img->format, IMAGE_BZIMAGE);
			assert_int_equal(img->payload_compression, all[i]);
			assert_int_equal(img->file_compression, IMAGE_PLAIN);
			assert_int_equal(img->boot_protocol, 0x20f);
			assert_int_equal(img->payload_size, p.n);
			assert_string_equal(img->kernel_version,
					    "6.1.0-test (someone@somewhere) #1");
			assert_int_equal(img->elf_size, all[i] ? m.size : p.n);
			assert_memory_equal(img->elf, m.data, m.size);
			assert_int_equal(img->entry, BASE + 0x1000010);
			image_free(img);

			if (all[i] != IMAGE_PLAIN) {
				assert_int_equal(load(p, 0, &img), 0);
				assert_int_equal(img->format, IMAGE_ELF);
				assert_int_equal(img->file_compression, all[i]);
				assert_memory_equal(img->elf, m.data, m.size);
				image_free(img);

				/* A packed bzImage: one layer around, one inside. */
				struct bytes twice = mkpack(all[i], bz.p, bz.n, 0);
				assert_int_equal(load(twice, 0, &img), 0);
				assert_int_equal(img->format, IMAGE_BZIMAGE);
				assert_int_equal(img->file_compression, all[i]);
				assert_int_equal(img->payload_compression, all[i]);
				image_free(img);
				free(twice.p);

				/* Not two around. */
				twice = mkpack(all[i], p.p, p.n, 0);
				assert_int_equal(load(twice, 0, &img), PVV_EIMAGE);
				free(twice.p);
			}
			free(bz.p);
			free(p.p);
		}
	}
	mkelf_free(&m);
}

static void lz4_of_many_blocks(void **state)
{
	struct mkelf m;

	/* 8 MiB a block: this takes three, the second ends inside the segment. */
	mkelf_kernel(&m, BASE, 0);
	mkelf_segment(&m, 0x1000000, 0, 20u << 20, 20u << 20);
	mkelf_finish(&m);
	struct bytes p = mkpack(IMAGE_LZ4, m.data, m.size, 1);
	struct image *img;
	assert_int_equal(load(p, 0, &img), 0);
	assert_int_equal(img->elf_size, m.size);
	assert_memory_equal(img->elf, m.data, m.size);
	image_free(img);

	/* A limit that ends inside the last block; exactly enough; one too little. */
	assert_int_equal(load(p, 17u << 20, &img), PVV_ELIMIT);
	assert_int_equal(load(p, m.size, &img), 0);
	image_free(img);
	assert_int_equal(load(p, m.size - 1, &img), PVV_ELIMIT);
	assert_non_null(strstr(message(), "unpacks (lz4) to more than"));
	free(p.p);
	mkelf_free(&m);
}

static void a_limit_is_exact(void **state)
{
	struct mkelf m;

	make_elf(&m);
	for (size_t i = 1; i < sizeof(all) / sizeof(all[0]); i++) {
		struct bytes p = mkpack(all[i], m.data, m.size, 1);
		struct image *img;

		assert_int_equal(load(p, m.size, &img), 0);
		image_free(img);
		assert_int_equal(load(p, m.size - 1, &img), PVV_ELIMIT);
		assert_non_null(strstr(message(), "more than"));
		free(p.p);
	}
	mkelf_free(&m);
}

/* Cut after each byte: an error, whichever, and with a checker no access behind the end. */
static void cut_after_every_byte(void **state)
{
	struct mkelf m;

	make_elf(&m);
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		struct bytes p = mkpack(all[i], m.data, m.size, 0);
		/* Behind the headers only samples: each is a whole decompression. */
		for (size_t n = 0; n < p.n; n += n < 200 ? 1 : 1 + p.n / 50) {
			struct bytes cut = {malloc(n ? n : 1), n};
			struct image *img = NULL;
			int r;

			memcpy(cut.p, p.p, n);
			r = load(cut, 0, &img);
			/* A plain file may lose what nothing refers to: its section table. */
			if (all[i] == IMAGE_PLAIN && r == 0)
				image_free(img);
			else
				assert_int_equal(r, PVV_EIMAGE);
			free(cut.p);
		}
		/* Cut in the payload: payload_length tells. */
		struct bytes bz = mkbzimage(p.p, p.n, "x");
		struct image *img;
		for (size_t n = 0; n < bz.n - 100; n += n < 0x300 ? 1 : 1 + bz.n / 50) {
			struct bytes cut = {bz.p, n};

			assert_int_equal(load(cut, 0, &img), PVV_EIMAGE);
		}
		free(bz.p);
		free(p.p);
	}
	mkelf_free(&m);
}

static void bytes_that_are_wrong(void **state)
{
	struct mkelf m;

	make_elf(&m);
	for (size_t i = 1; i < sizeof(all) / sizeof(all[0]); i++) {
		struct bytes p = mkpack(all[i], m.data, m.size, 1);

		for (size_t at = 0; at < p.n; at += at < 64 ? 1 : 1 + p.n / 100) {
			struct image *img = NULL;

			p.p[at] ^= 0x20;
			/* gzip, xz and zstd may notice; lz4 need not. No crash either way. */
			if (load(p, 16u << 20, &img) == 0)
				image_free(img);
			p.p[at] ^= 0x20;
		}
		free(p.p);
	}
	mkelf_free(&m);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* 256 MiB of zeros in few bytes: ends at the limit, soon, and says so. */
static void bombs(void **state)
{
	const size_t size = 256u << 20;
	uint8_t *zeros = calloc(1, size);

	assert_non_null(zeros);
	for (size_t i = 1; i < sizeof(all) / sizeof(all[0]); i++) {
		struct bytes p = mkpack(all[i], zeros, size, 1);
		struct image *img;
		double start = now();

		assert_in_range(p.n, 1, 2u << 20);
		assert_int_equal(load(p, 64u << 20, &img), PVV_ELIMIT);
		assert_non_null(strstr(message(), "more than the 64 MiB allowed"));
		assert_true(now() - start < 20);
		free(p.p);
	}
	free(zeros);
}

static void xz_with_a_huge_dictionary(void **state)
{
	struct mkelf m;
	struct image *img;

	make_elf(&m);
	struct bytes p = mkpack(IMAGE_XZ, m.data, m.size, 0);
	/* Stream header 12, block header: size, flags, id, size of properties, dictionary. */
	assert_int_equal(p.p[14], 0x21);
	p.p[16] = 40; /* 4 GiB - 1 */
	uint32_t crc = lzma_crc32(p.p + 12, 8, 0);
	memcpy(p.p + 20, &crc, 4);
	assert_int_equal(load(p, 0, &img), PVV_EIMAGE);
	assert_non_null(strstr(message(), "its dictionary is larger"));
	free(p.p);
	mkelf_free(&m);
}

static void formats_that_are_refused_by_name(void **state)
{
	static const uint8_t lzo[64] = "\x89LZO\0\r\n\x1a\n";
	struct image *img;
	struct bytes b = {(uint8_t *)(uintptr_t)lzo, sizeof(lzo)};

	assert_int_equal(load(b, 0, &img), PVV_EUNSUPPORTED);
	assert_non_null(strstr(message(), "packed with lzo"));
	b = mkbzimage(lzo, sizeof(lzo), "");
	assert_int_equal(load(b, 0, &img), PVV_EUNSUPPORTED);
	assert_non_null(strstr(message(), "packed with lzo"));
	free(b.p);
}

static void setup_headers_that_are_wrong(void **state)
{
	struct mkelf m;
	struct image *img;

	make_elf(&m);
	struct bytes b = mkbzimage(m.data, m.size, "v");
	uint32_t v;

	b.p[0x206] = 7;
	assert_int_equal(load(b, 0, &img), PVV_EIMAGE);
	assert_non_null(strstr(message(), "boot protocol 2.07"));
	b.p[0x206] = 15;

	v = 0xffffffff;
	memcpy(b.p + 0x248, &v, 4);
	assert_int_equal(load(b, 0, &img), PVV_EIMAGE);
	assert_non_null(strstr(message(), "payload_offset"));
	v = 0x2c4;
	memcpy(b.p + 0x248, &v, 4);

	v = 0xffffffff;
	memcpy(b.p + 0x24c, &v, 4);
	assert_int_equal(load(b, 0, &img), PVV_EIMAGE);
	assert_non_null(strstr(message(), "payload_length"));
	v = 63;
	memcpy(b.p + 0x24c, &v, 4);
	assert_int_equal(load(b, 0, &img), PVV_EIMAGE);
	assert_non_null(strstr(message(), "payload_length is 63"));
	v = (uint32_t)m.size;
	memcpy(b.p + 0x24c, &v, 4);

	/* The version text: outside the setup part it is nothing, unterminated it is cut. */
	b.p[0x20f] = 0xff;
	assert_int_equal(load(b, 0, &img), 0);
	assert_string_equal(img->kernel_version, "");
	image_free(img);
	b.p[0x20f] = 1;
	memset(b.p + 0x300, 'v', 0x500);
	assert_int_equal(load(b, 0, &img), 0);
	assert_int_equal(strlen(img->kernel_version), IMAGE_STRING_MAX - 1);
	image_free(img);
	/* setup_sects 0 means 4. */
	b.p[0x1f1] = 0;
	v = 0x2c4 - 512;
	memcpy(b.p + 0x248, &v, 4);
	assert_int_equal(load(b, 0, &img), 0);
	image_free(img);
	free(b.p);
	mkelf_free(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_format_as_payload_and_as_file),
		cmocka_unit_test(lz4_of_many_blocks),
		cmocka_unit_test(a_limit_is_exact),
		cmocka_unit_test(cut_after_every_byte),
		cmocka_unit_test(bytes_that_are_wrong),
		cmocka_unit_test(bombs),
		cmocka_unit_test(xz_with_a_huge_dictionary),
		cmocka_unit_test(formats_that_are_refused_by_name),
		cmocka_unit_test(setup_headers_that_are_wrong),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
