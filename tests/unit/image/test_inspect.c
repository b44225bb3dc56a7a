/* SPDX-License-Identifier: MIT */
/* What `pvvirt inspect` prints: the text word for word, the JSON by its grammar and content. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include <xen/elfnote.h>

#include "domain/image/inspect.h"
#include "mkelf.h"
#include "mkpack.h"
#include "util/err.h"

#define BASE 0xffffffff80000000ull

/* A JSON value ends where? NULL: it is none. */
static const char *json(const char *p);

static const char *space(const char *p)
{
	return p + strspn(p, " \n\t");
}

static const char *json_text(const char *p)
{
	for (p++; *p != '"'; p++) {
		if ((unsigned char)*p < 0x20 || (unsigned char)*p >= 0x80)
			return NULL;
		if (*p == '\\' && !strchr("\"\\u", *++p))
			return NULL;
	}
	return p + 1;
}

static const char *json_list(const char *p, char end)
{
	p = space(p + 1);
	if (*p == end)
		return p + 1;
	for (;;) {
		if (end == '}') {
			if (*p != '"' || !(p = json_text(p)) || *(p = space(p)) != ':')
				return NULL;
			p = space(p + 1);
		}
		p = json(p);
		if (!p)
			return NULL;
		p = space(p);
		if (*p == end)
			return p + 1;
		if (*p != ',')
			return NULL;
		p = space(p + 1);
	}
}

static const char *json(const char *p)
{
	static const char *const words[] = {"true", "false", "null"};

	if (*p == '{')
		return json_list(p, '}');
	if (*p == '[')
		return json_list(p, ']');
	if (*p == '"')
		return json_text(p);
	for (int i = 0; i < 3; i++)
		if (!strncmp(p, words[i], strlen(words[i])))
			return p + strlen(words[i]);
	size_t n = strspn(p, "0123456789");
	return n ? p + n : NULL;
}

static void is_json(const char *text)
{
	const char *end = json(text);

	if (!end || *space(end))
		fail_msg("no JSON: %s", text);
}

static struct image *load(struct mkelf *m, unsigned int flags)
{
	struct image *img = NULL;

	mkelf_finish(m);
	if (mkelf_load(m, flags, &img) < 0)
		fail_msg("%s", pvv_error_get_message(pvv_error_last()));
	mkelf_free(m);
	return img;
}

static void the_text(void **state)
{
	static const uint64_t valid[2] = {1, 1};
	struct mkelf m;
	struct build_layout l;

	mkelf_kernel(&m, BASE, 0x100000);
	mkelf_segment(&m, 0x120000, 0, 0x1000, 0x1000);
	m.ph[1].p_flags = PF_R | PF_W;
	mkelf_number(&m, XEN_ELFNOTE_INIT_P2M, 0x8000000000);
	mkelf_note(&m, XEN_ELFNOTE_L1_MFN_VALID, valid, sizeof(valid));
	mkelf_text(&m, XEN_ELFNOTE_FEATURES, "!writable_page_tables|dom0");
	mkelf_number(&m, XEN_ELFNOTE_SUPPORTED_FEATURES, 1u << 31);
	mkelf_text(&m, 77, "what");
	mkelf_note_lies(&m, XEN_ELFNOTE_PAE_MODE, "yes", 4, 400);
	struct image *img = load(&m, 0);
	struct build_params p = {.image = img, .nr_pages = 8192};

	assert_int_equal(build_plan(&p, &l), 0);
	char *text = image_inspect_text(img, &l, p.nr_pages);
	assert_string_equal(
		text,
		"format:       ELF\n"
		"size:         78046 bytes, unpacked 78046\n"
		"startable:    yes\n"
		"segments:\n"
		"  physical 0x000100000 to 0x000120000  virtual 0xffffffff80100000  file "
		"0x000002000 +0x10000  rwx\n"
		"  physical 0x000120000 to 0x000121000  virtual 0x0000000000000000  file "
		"0x000012000 +0x1000  rw-\n"
		"notes (PT_NOTE):\n"
		"  GUEST_OS             test\n"
		"  LOADER               generic\n"
		"  XEN_VERSION          xen-3.0\n"
		"  VIRT_BASE            0xffffffff80000000\n"
		"  ENTRY                0xffffffff80100010\n"
		"  INIT_P2M             0x8000000000\n"
		"  L1_MFN_VALID         mask 0x1 value 0x1\n"
		"  FEATURES             !writable_page_tables|dom0\n"
		"  SUPPORTED_FEATURES   0x80000000\n"
		"  type 77              (5 bytes)\n"
		"  PAE_MODE             yes (its size is wrong, clamped)\n"
		"features required:   writable_page_tables\n"
		"features supported:  writable_page_tables dom0 bit31\n"
		"layout in 32 MiB:\n"
		"  kernel                   pfn     0x100 +    0x21  at 0xffffffff80100000\n"
		"  start_info               pfn     0x121 +     0x1  at 0xffffffff80121000\n"
		"  xenstore ring            pfn     0x122 +     0x1  at 0xffffffff80122000\n"
		"  console ring             pfn     0x123 +     0x1  at 0xffffffff80123000\n"
		"  page tables              pfn     0x124 +     0x5  at 0xffffffff80124000\n"
		"  boot stack               pfn     0x129 +     0x1  at 0xffffffff80129000\n"
		"  padding                  pfn     0x12a +   0x2d6  at 0xffffffff8012a000\n"
		"  phys-to-machine list     pfn     0x400 +    0x10  at 0x0000008000000000 "
		"(INIT_P2M)\n"
		"  page tables of the list  pfn     0x410 +     0x3  not mapped\n"
		"  initial mapping          0xffffffff80000000 to 0xffffffff80400000\n"
		"  first vCPU               rip 0xffffffff80100010 rsi 0xffffffff80121000 rsp "
		"0xffffffff8012a000 cr3 pfn 0x124\n");
	free(text);
	text = image_inspect_json(img, &l, p.nr_pages);
	is_json(text);
	assert_non_null(strstr(text, "\"startable\": true"));
	assert_non_null(strstr(text, "{\"name\": \"INIT_P2M\", \"type\": 15, \"value\": "
				     "\"0x8000000000\", \"clamped\": false}"));
	assert_non_null(strstr(text, "\"name\": \"page tables of the list\", \"pfn\": 1040, "
				     "\"pages\": 3, \"va\": null}"));
	assert_non_null(strstr(text, "\"rsi\": \"0xffffffff80121000\""));
	free(text);
	text = image_inspect_json(img, NULL, 0);
	is_json(text);
	assert_null(strstr(text, "layout"));
	free(text);
	image_free(img);
}

/* Texts of the file cannot break out of the terminal or of the JSON. */
static void hostile_texts(void **state)
{
	struct mkelf m;

	mkelf_kernel(&m, BASE, 0);
	mkelf_text(&m, XEN_ELFNOTE_GUEST_OS, "\033[31m\"}],\\\"\x01\xff\n");
	struct image *img = load(&m, 0);
	char *text = image_inspect_text(img, NULL, 0);

	assert_non_null(strstr(text, "GUEST_OS             ?[31m\"}],\\\"???\n"));
	free(text);
	text = image_inspect_json(img, NULL, 0);
	is_json(text);
	assert_non_null(strstr(text, "\"value\": \"?[31m\\\"}],\\\\\\\"???\""));
	free(text);
	image_free(img);
}

static void images_that_cannot_start(void **state)
{
	struct mkelf m;

	mkelf_kernel(&m, BASE, 0);
	mkelf_text(&m, XEN_ELFNOTE_FEATURES, "!hal9000");
	struct image *img = load(&m, IMAGE_LOAD_INSPECT);
	char *text = image_inspect_text(img, NULL, 0);
	assert_non_null(strstr(text, "startable:    no, it requires the feature 'hal9000'"));
	free(text);
	text = image_inspect_json(img, NULL, 0);
	is_json(text);
	assert_non_null(strstr(text, "\"startable\": false"));
	assert_non_null(strstr(text, "\"refused\": \"requires the feature 'hal9000'"));
	free(text);
	image_free(img);

	/* A program that is no kernel at all still has segments to show, wherever they are. */
	mkelf_init(&m);
	mkelf_segment(&m, 0xffffffffff600000, 0, 0x1000, 0x1000);
	m.eh.e_entry = 12345;
	img = load(&m, IMAGE_LOAD_INSPECT);
	text = image_inspect_text(img, NULL, 0);
	assert_non_null(strstr(text, "startable:    no, it is not a Xen PV kernel"));
	assert_non_null(strstr(text, "physical 0xffffffffff600000"));
	free(text);
	image_free(img);
}

static void packed_images(void **state)
{
	struct mkelf m;
	struct image *img;

	mkelf_kernel(&m, BASE, 0);
	mkelf_finish(&m);
	struct bytes p = mkpack(IMAGE_LZ4, m.data, m.size, 1);
	struct bytes b = mkbzimage(p.p, p.n, "6.1.0 \"x\"");
	struct bytes z = mkpack(IMAGE_GZIP, b.p, b.n, 0);

	assert_int_equal(mkelf_load_bytes(z.p, z.n, 0, &img), 0);
	char *text = image_inspect_text(img, NULL, 0);
	assert_non_null(strstr(text, "format:       gzip of Linux bzImage (boot protocol 2.15), "
				     "payload lz4 at 0xac4 +0x"));
	assert_non_null(strstr(text, "kernel:       6.1.0 \"x\"\n"));
	free(text);
	text = image_inspect_json(img, NULL, 0);
	is_json(text);
	assert_non_null(strstr(text, "\"file_compression\": \"gzip\""));
	assert_non_null(strstr(text, "\"payload_compression\": \"lz4\""));
	assert_non_null(strstr(text, "\"kernel_version\": \"6.1.0 \\\"x\\\"\""));
	free(text);
	image_free(img);
	free(z.p);
	free(b.p);
	free(p.p);
	mkelf_free(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_text),
		cmocka_unit_test(hostile_texts),
		cmocka_unit_test(images_that_cannot_start),
		cmocka_unit_test(packed_images),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
