/* SPDX-License-Identifier: MIT */
/*
 * Running out of memory at each single allocation. If it is one of ours, the call fails with
 * PVV_ENOMEM; if it is one of libxml2's, it fails or still gives the right result. It leaves
 * nothing behind (the sanitizer build sees to that) and never crashes.
 */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libxml/xmlmemory.h>
#include <libxml/parser.h>

#include "util/strbuf.h"

static unsigned long until_failure; /* 0: never fail */

static bool fails(void)
{
	return until_failure && --until_failure == 0;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t nr, size_t size);
void *__real_realloc(void *p, size_t size);
void *__real_reallocarray(void *p, size_t nr, size_t size);
char *__real_strdup(const char *s);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t nr, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_reallocarray(void *p, size_t nr, size_t size);
char *__wrap_strdup(const char *s);

void *__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t nr, size_t size)
{
	return fails() ? NULL : __real_calloc(nr, size);
}

void *__wrap_realloc(void *p, size_t size)
{
	return fails() ? NULL : __real_realloc(p, size);
}

void *__wrap_reallocarray(void *p, size_t nr, size_t size)
{
	return fails() ? NULL : __real_reallocarray(p, nr, size);
}

char *__wrap_strdup(const char *s)
{
	return fails() ? NULL : __real_strdup(s);
}

/* libxml2's, see main(). */
static unsigned long xml_until_failure;

static bool xml_fails(void)
{
	return xml_until_failure && --xml_until_failure == 0;
}

static void *xml_malloc(size_t size)
{
	return xml_fails() ? NULL : __real_malloc(size);
}

static void *xml_realloc(void *p, size_t size)
{
	return xml_fails() ? NULL : __real_realloc(p, size);
}

static char *xml_strdup(const char *s)
{
	return xml_fails() ? NULL : __real_strdup(s);
}

static void be_quiet(void *opaque, const char *fmt, ...)
{
}

/* Together they have everything. */
static const char *const goldens[] = {
	"running", "linux-direct", "user-net", "consoles", "pvvirt-namespace", "escapes",
};
static char *documents[sizeof(goldens) / sizeof(goldens[0])];
#define NR_DOCUMENTS (sizeof(goldens) / sizeof(goldens[0]))

/* Calls `what` with every allocation failing once, until it gets through. Returns how many. */
static unsigned long fail_each(int (*what)(void *), void *arg)
{
	for (unsigned long n = 1;; n++) {
		until_failure = n;
		int r = what(arg);
		bool failed = until_failure == 0;
		until_failure = 0;
		if (!failed) {
			assert_int_equal(r, PVV_OK);
			return n - 1;
		}
		if (r != PVV_ENOMEM)
			fail_msg("allocation %lu failed, the call returned %d (%s)", n, r,
				 r < 0 ? pvv_error_get_message(pvv_error_last()) : "");
		assert_int_equal(pvv_error_get_code(pvv_error_last()), PVV_ENOMEM);
		assert_true(n < 100000);
	}
}

static int do_parse(void *arg)
{
	struct config *cfg;
	struct xml_warnings w;

	int r = xml_parse(arg, strlen(arg), "d.xml", 0, &cfg, &w);
	if (r < 0) {
		assert_null(cfg);
		assert_null(w.items);
	}
	config_free(cfg);
	xml_warnings_clear(&w);
	return r;
}

static int do_format(void *arg)
{
	char *text;
	int r = xml_format(arg, &text);

	if (r < 0)
		assert_null(text);
	free(text);
	return r;
}

static int do_copy(void *arg)
{
	struct config *copy;
	int r = config_copy(arg, &copy);

	if (r < 0)
		assert_null(copy);
	config_free(copy);
	return r;
}

static void test_parse(void **state)
{
	for (size_t i = 0; i < NR_DOCUMENTS; i++)
		assert_true(fail_each(do_parse, documents[i]) > 20);
}

/* A document that is read is read right: nothing of it gets lost on the way. */
static void parse_libxml(char *document)
{
	struct config *expected = parse_ok(document);

	for (unsigned long n = 1;; n++) {
		struct config *cfg;

		xml_until_failure = n;
		int r = xml_parse(document, strlen(document), "d.xml", 0, &cfg, NULL);
		bool failed = xml_until_failure == 0;
		xml_until_failure = 0;
		if (r == PVV_OK)
			assert_config_equal(expected, cfg);
		else
			assert_true(failed && !cfg && (r == PVV_ENOMEM || r == PVV_EXML));
		config_free(cfg);
		if (!failed)
			break;
	}
	config_free(expected);
}

static void test_parse_libxml(void **state)
{
	for (size_t i = 0; i < NR_DOCUMENTS; i++)
		parse_libxml(documents[i]);
}

static void test_format(void **state)
{
	for (size_t i = 0; i < NR_DOCUMENTS; i++) {
		struct config *cfg = parse_ok(documents[i]);

		assert_true(fail_each(do_format, cfg) > 3);
		config_free(cfg);
	}
}

static void test_copy(void **state)
{
	for (size_t i = 0; i < NR_DOCUMENTS; i++) {
		struct config *cfg = parse_ok(documents[i]);

		assert_true(fail_each(do_copy, cfg) > 3);
		config_free(cfg);
	}
}

/* Completion works in place; what it has not done when it fails, a second call does. */
static void test_complete(void **state)
{
	for (unsigned long n = 1;; n++) {
		struct config *cfg = config_new();

		config_set_string(&cfg->name, "d");
		config_set_string(&cfg->kernel, "relative");
		cfg->memory = 1;
		until_failure = n;
		int r = config_complete(cfg);
		bool failed = until_failure == 0;
		until_failure = 0;
		assert_int_equal(r, failed ? PVV_ENOMEM : PVV_OK);
		assert_int_equal(config_complete(cfg), PVV_OK);
		assert_int_equal(config_check(cfg), PVV_OK);
		config_free(cfg);
		if (!failed)
			break;
	}
}

static void test_new(void **state)
{
	until_failure = 1;
	assert_null(config_new());
	assert_int_equal(pvv_error_get_code(pvv_error_last()), PVV_ENOMEM);
}

static void test_strbuf(void **state)
{
	for (unsigned long n = 1; n < 6; n++) {
		struct strbuf sb = STRBUF_INIT;

		until_failure = n;
		for (int i = 0; i < 100; i++)
			strbuf_printf(&sb, "%d ", i);
		bool failed = until_failure == 0;
		until_failure = 0;
		/* Sticky: memory coming back does not make a string with a hole. */
		strbuf_puts(&sb, "end");
		char *s = strbuf_take(&sb);
		assert_true(failed == (s == NULL));
		free(s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),	 cmocka_unit_test(test_parse_libxml),
		cmocka_unit_test(test_format),	 cmocka_unit_test(test_copy),
		cmocka_unit_test(test_complete), cmocka_unit_test(test_new),
		cmocka_unit_test(test_strbuf),
	};

	/* Before libxml2's first allocation; this program is its only user. */
	xmlMemSetup(free, xml_malloc, xml_realloc, xml_strdup);
	xmlInitParser();
	/* libxml2 complains of memory where no handler can be given. */
	xmlSetGenericErrorFunc(NULL, be_quiet);
	for (size_t i = 0; i < NR_DOCUMENTS; i++) {
		char path[512];

		snprintf(path, sizeof(path), "%s/%s.xml", GOLDEN_DIR, goldens[i]);
		documents[i] = read_file(path);
	}
	int r = cmocka_run_group_tests(tests, NULL, NULL);
	for (size_t i = 0; i < NR_DOCUMENTS; i++)
		free(documents[i]);
	xmlCleanupParser();
	return r;
}
