/* SPDX-License-Identifier: MIT */
/*
 * Hostile images made from sound ones: bits flipped, words replaced, cut anywhere. Each is loaded
 * and, if that works, laid out and built; whatever the outcome it must be orderly: an error with a
 * text, or a domain that passes every check of the start of day. Run it under ASan and UBSan too.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <xen/elfnote.h>

#include "domain/image/inspect.h"
#include "mkelf.h"
#include "mkpack.h"
#include "startofday.h"
#include "util/err.h"

#define BASE  0xffffffff80000000ull
#define PAGES 2304 /* 9 MiB, small, so that checking it all takes little time */

struct tally {
	unsigned int loaded, built, refused;
};

static void try(const uint8_t *data, size_t size, struct tally *t)
{
	struct image *img = NULL;
	struct sod s = {.mem.fd = -1};
	struct memory_params mp = {.name = "mutant", .nr_pages = PAGES};
	/* A copy of exactly its size, so that a checker sees an access behind it. */
	uint8_t *copy = malloc(size ? size : 1);

	memcpy(copy, data, size);
	int r = mkelf_load_bytes(copy, size, IMAGE_LOAD_INSPECT, &img);
	free(copy);
	if (r < 0) {
		assert_null(img);
		assert_int_equal(r, pvv_error_get_code(pvv_error_last()));
		assert_true(strlen(pvv_error_get_message(pvv_error_last())) > 10);
		t->refused++;
		return;
	}
	t->loaded++;
	struct build_params p = {.image = img, .nr_pages = PAGES, .nr_vcpus = 1};
	char *text = image_inspect_text(img, NULL, 0), *json = image_inspect_json(img, NULL, 0);
	assert_non_null(text);
	assert_non_null(json);
	for (const char *c = text; *c; c++)
		assert_true(*c == '\n' || (*c >= 0x20 && *c < 0x7f));
	free(text);
	free(json);
	assert_int_equal(memory_create(&mp, &s.mem, &s.boot), 0);
	if (build_domain(&p, &s.mem, &s.boot, &s.layout) == 0) {
		assert_string_equal(img->refused, "");
		sod_check(&s, &p);
		t->built++;
	}
	memory_destroy(&s.mem);
	image_free(img);
}

static void sound(struct mkelf *m)
{
	static const uint64_t valid[2] = {1, 1};

	mkelf_init(m);
	mkelf_segment(m, 0x100000, BASE + 0x100000, 0x2000, 0x3000);
	mkelf_segment(m, 0x104000, BASE + 0x104000, 0x1234, 0x1234);
	mkelf_text(m, XEN_ELFNOTE_GUEST_OS, "linux");
	mkelf_text(m, XEN_ELFNOTE_LOADER, "generic");
	mkelf_text(m, XEN_ELFNOTE_XEN_VERSION, "xen-3.0");
	mkelf_number(m, XEN_ELFNOTE_VIRT_BASE, BASE);
	mkelf_number(m, XEN_ELFNOTE_ENTRY, BASE + 0x100000);
	mkelf_number(m, XEN_ELFNOTE_PADDR_OFFSET, 0);
	mkelf_number(m, XEN_ELFNOTE_INIT_P2M, 0x8000000000);
	mkelf_number(m, XEN_ELFNOTE_HYPERCALL_PAGE, BASE + 0x101000);
	mkelf_number(m, XEN_ELFNOTE_MOD_START_PFN, 1);
	mkelf_note(m, XEN_ELFNOTE_L1_MFN_VALID, valid, sizeof(valid));
	mkelf_text(m, XEN_ELFNOTE_FEATURES, "!writable_page_tables|pae_pgdir_above_4gb");
	mkelf_finish(m);
}

/* Where something is that matters: headers, notes, and (for sections) the end. */
static size_t interesting(const struct mkelf *m, size_t i)
{
	size_t head = sizeof(Elf64_Ehdr) + (m->nr_ph + 1) * sizeof(Elf64_Phdr);

	if (i < head)
		return i;
	i -= head;
	if (i < m->notes_size)
		return m->notes_offset + i;
	i -= m->notes_size;
	return i < 256 ? m->size - 256 + i : (size_t)-1;
}

static void every_bit_of_headers_and_notes(void **state)
{
	struct tally t = {0};

	for (int where = MKELF_PT_NOTE; where <= MKELF_SHT_NOTE; where++) {
		struct mkelf m;

		sound(&m);
		mkelf_free(&m);
		m.nr_ph -= 1; /* finish again with the notes elsewhere */
		m.where = where;
		mkelf_finish(&m);
		try(m.data, m.size, &t);
		assert_int_equal(t.built, where + 1);
		t.built = 0;
		for (size_t i = 0, at; (at = interesting(&m, i)) != (size_t)-1; i++)
			for (int bit = 0; bit < 8; bit++) {
				m.data[at] ^= 1u << bit;
				try(m.data, m.size, &t);
				m.data[at] ^= 1u << bit;
			}
		mkelf_free(&m);
		t.built = where + 1;
	}
	/* Both kinds of outcome must have been seen, or the test tests nothing. */
	assert_in_range(t.refused, 1000, 100000);
	assert_in_range(t.loaded, 1000, 100000);
}

/* Each aligned 32- and 64-bit word replaced by numbers that break arithmetic. */
static void every_word_of_headers_and_notes(void **state)
{
	static const uint64_t evil[] = {
		0,
		1,
		0xfff,
		0x7fffffff,
		0x80000000,
		0xffffffff,
		0x7fffffffffffffff,
		0x8000000000000000,
		0xfffffffffffff000,
		0xffffffffffffffff,
		0xffff800000000000,
		0x7ffffffff000,
		1ull << 47,
		BASE + 0x100000,
	};
	struct tally t = {0};
	struct mkelf m;

	sound(&m);
	for (size_t i = 0, at; (at = interesting(&m, i)) != (size_t)-1; i += 4)
		for (size_t v = 0; v < sizeof(evil) / sizeof(evil[0]); v++)
			for (size_t n = 4; n <= 8; n += 4) {
				uint8_t old[8];

				if (at + n > m.size)
					continue;
				memcpy(old, m.data + at, n);
				memcpy(m.data + at, &evil[v], n);
				try(m.data, m.size, &t);
				memcpy(m.data + at, old, n);
			}
	assert_in_range(t.refused, 500, 100000);
	assert_in_range(t.built, 500, 100000);
	mkelf_free(&m);
}

static void cut_at_every_byte(void **state)
{
	struct tally t = {0};
	struct mkelf m;

	sound(&m);
	for (size_t n = 0; n < m.size; n += n < 0x1800 ? 1 : 61)
		try(m.data, n, &t);
	/* Only behind the last segment nothing is lost. */
	assert_in_range(t.refused, 0x1800, 0x10000);
	assert_in_range(t.built, 1, 100);
	mkelf_free(&m);
}

/* Several random changes at once; the seed is fixed, so that a failure can be seen again. */
static void random_changes(void **state)
{
	uint64_t seed = 0x9e3779b97f4a7c15;
	struct tally t = {0};
	struct mkelf m;

	sound(&m);
	size_t n = 0;
	while (interesting(&m, n) != (size_t)-1)
		n++;
	uint8_t *copy = malloc(m.size);
	for (int round = 0; round < 4000; round++) {
		memcpy(copy, m.data, m.size);
		for (int k = 0; k < 1 + round % 4; k++) {
			seed ^= seed << 13;
			seed ^= seed >> 7;
			seed ^= seed << 17;
			copy[interesting(&m, seed % n)] = (uint8_t)(seed >> 32);
		}
		try(copy, m.size, &t);
	}
	assert_in_range(t.refused, 100, 4000);
	assert_in_range(t.built, 100, 4000);
	free(copy);
	mkelf_free(&m);
}

/* The same inside a bzImage: header and payload. */
static void bits_of_a_bzimage(void **state)
{
	static const enum image_compression c[] = {IMAGE_GZIP, IMAGE_LZ4, IMAGE_ZSTD, IMAGE_BZIP2};
	struct tally t = {0};
	struct mkelf m;

	sound(&m);
	for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		struct bytes p = mkpack(c[i], m.data, m.size, 1);
		struct bytes b = mkbzimage(p.p, p.n, "version");

		for (size_t at = 0x1f0; at < 0x260; at++)
			for (int bit = 0; bit < 8; bit++) {
				b.p[at] ^= 1u << bit;
				try(b.p, b.n, &t);
				b.p[at] ^= 1u << bit;
			}
		for (size_t at = 0x800 + 0x2c4; at < b.n; at += 1 + b.n / 300) {
			b.p[at] ^= 0x11;
			try(b.p, b.n, &t);
			b.p[at] ^= 0x11;
		}
		free(b.p);
		free(p.p);
	}
	assert_in_range(t.refused, 100, 10000);
	assert_in_range(t.built, 100, 10000);
	mkelf_free(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_bit_of_headers_and_notes),
		cmocka_unit_test(every_word_of_headers_and_notes),
		cmocka_unit_test(cut_at_every_byte),
		cmocka_unit_test(random_changes),
		cmocka_unit_test(bits_of_a_bzimage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
