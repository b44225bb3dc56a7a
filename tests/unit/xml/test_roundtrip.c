/* SPDX-License-Identifier: MIT */
/*
 * parse(format(x)) = x: for random configurations, for the golden documents, and for libvirt's own
 * sample documents where they are (fetch-libvirt gets them; they are LGPL and not in this tree).
 */
#include "harness.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check_schema(const char *text)
{
	char why[1024];

	if (!schema_valid(text, why, sizeof(why)))
		fail_msg("\n%s\nis not valid under libvirt's schema: %s", text, why);
}

static void test_random(void **state)
{
	for (uint32_t n = 1; n <= 3000; n++) {
		uint32_t seed = n * 2654435761u;
		struct config *cfg = config_random(&seed), *again;

		if (config_check(cfg) < 0)
			fail_msg("seed %u: %s", n, pvv_error_get_message(pvv_error_last()));
		char *text = format_ok(cfg);
		if (xml_parse(text, strlen(text), "again", 0, &again, NULL) < 0)
			fail_msg("seed %u: %s in\n%s", n, pvv_error_get_message(pvv_error_last()),
				 text);
		const char *field = "";
		if (!config_equal(cfg, again, &field))
			fail_msg("seed %u: %s differs in\n%s", n, field, text);
		char *text2 = format_ok(again);
		assert_string_equal(text, text2);
		/* Validation is slow. */
		if (n <= 300)
			check_schema(text);

		/* A copy is the same, and outlives its original. */
		struct config *copy;
		assert_int_equal(config_copy(cfg, &copy), PVV_OK);
		config_free(cfg);
		assert_config_equal(copy, again);
		config_free(copy);
		config_free(again);
		free(text);
		free(text2);
	}
}

/* What completion makes up survives as well, and completing again changes nothing. */
static void test_completed(void **state)
{
	for (uint32_t n = 1; n <= 300; n++) {
		uint32_t seed = n * 2246822519u;
		struct config *cfg = config_random(&seed), *again, *copy;

		assert_int_equal(config_complete(cfg), PVV_OK);
		assert_int_equal(config_check(cfg), PVV_OK);
		char *text = format_ok(cfg);
		again = parse_ok(text);
		assert_config_equal(cfg, again);
		assert_int_equal(config_copy(cfg, &copy), PVV_OK);
		assert_int_equal(config_complete(copy), PVV_OK);
		assert_config_equal(cfg, copy);
		check_schema(text);
		free(text);
		config_free(cfg);
		config_free(again);
		config_free(copy);
	}
}

static int is_input(const struct dirent *d)
{
	const char *dot = strstr(d->d_name, ".xml");

	return dot && !dot[4] && !strstr(d->d_name, ".out.xml");
}

/* golden/X.xml gives golden/X.out.xml, with the warnings of golden/X.warn (if it is there). */
static void check_golden(const char *name)
{
	char path[512], out_path[512], warn_path[512];
	struct xml_warnings warnings;
	struct config *cfg, *again;
	int stem = (int)strlen(name) - 4;

	print_message("golden: %s\n", name);
	snprintf(path, sizeof(path), "%s/%s", GOLDEN_DIR, name);
	snprintf(out_path, sizeof(out_path), "%s/%.*s.out.xml", GOLDEN_DIR, stem, name);
	snprintf(warn_path, sizeof(warn_path), "%s/%.*s.warn", GOLDEN_DIR, stem, name);
	char *xml = read_file(path);
	if (xml_parse(xml, strlen(xml), name, 0, &cfg, &warnings) < 0)
		fail_msg("%s", pvv_error_get_message(pvv_error_last()));
	char *text = format_ok(cfg);

	FILE *f = fopen(warn_path, "r");
	if (f)
		fclose(f);
	char *expected = f ? read_file(warn_path) : strdup("");
	char all[16384] = "";
	size_t n = 0;
	for (size_t i = 0; i < warnings.nr; i++)
		n += (size_t)snprintf(all + n, sizeof(all) - n, "%s\n", warnings.items[i].text);
	if (getenv("PVV_UPDATE_GOLDEN")) {
		f = fopen(out_path, "w");
		fputs(text, f);
		fclose(f);
		f = warnings.nr ? fopen(warn_path, "w") : NULL;
		if (f) {
			fputs(all, f);
			fclose(f);
		}
	} else {
		char *out = read_file(out_path);

		assert_string_equal(text, out);
		assert_string_equal(all, expected);
		free(out);
	}
	again = parse_ok(text);
	assert_config_equal(cfg, again);
	char *text2 = format_ok(again);
	assert_string_equal(text, text2);
	check_schema(text);
	xml_warnings_clear(&warnings);
	config_free(cfg);
	config_free(again);
	free(expected);
	free(xml);
	free(text);
	free(text2);
}

static void test_golden(void **state)
{
	struct dirent **names;
	int n = scandir(GOLDEN_DIR, &names, is_input, alphasort);

	assert_true(n >= 10);
	for (int i = 0; i < n; i++) {
		check_golden(names[i]->d_name);
		free(names[i]);
	}
	free(names);
}

static int is_xml(const struct dirent *d)
{
	size_t n = strlen(d->d_name);

	return n > 4 && strcmp(d->d_name + n - 4, ".xml") == 0;
}

/* Those for PV domains are accepted; those for other kinds are refused by name. */
static int check_sample(const char *dir, const char *name, unsigned int *nr_pv)
{
	char path[1024];
	struct config *cfg, *again;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	char *xml = read_file(path);
	bool pv = strstr(xml, "machine='xenpv'") || strstr(xml, "machine=\"xenpv\"");
	int r = xml_parse(xml, strlen(xml), name, 0, &cfg, NULL);
	free(xml);
	if (!pv) {
		if (r == PVV_OK) {
			config_free(cfg);
			return PVV_OK; /* no machine named: may well be one */
		}
		assert_true(r == PVV_EUNSUPPORTED || r == PVV_EXML);
		return r;
	}
	if (r != PVV_OK)
		fail_msg("%s", pvv_error_get_message(pvv_error_last()));
	(*nr_pv)++;
	char *text = format_ok(cfg);
	again = parse_ok(text);
	assert_config_equal(cfg, again);
	check_schema(text);
	free(text);
	config_free(cfg);
	config_free(again);
	return PVV_OK;
}

static void test_libvirt_samples(void **state)
{
	const char *dir = getenv("PVV_LIBVIRT_SAMPLES");
	static const char *const folders[] = {"libxlxml2domconfigdata", "xmconfigdata",
					      "xlconfigdata"};
	unsigned int nr_pv = 0, nr = 0;

	if (!dir) {
		printf("SKIP: libvirt's sample documents: PVV_LIBVIRT_SAMPLES is not set (run "
		       "tests/unit/xml/fetch-libvirt DIR and set it to DIR)\n");
		skip();
	}
	for (size_t k = 0; k < 3; k++) {
		struct dirent **names;
		char path[512];

		snprintf(path, sizeof(path), "%s/%s", dir, folders[k]);
		int n = scandir(path, &names, is_xml, alphasort);
		for (int i = 0; i < n; i++) {
			check_sample(path, names[i]->d_name, &nr_pv);
			nr++;
			free(names[i]);
		}
		if (n >= 0)
			free(names);
	}
	printf("%u sample documents, %u of them with machine='xenpv', all of these accepted\n", nr,
	       nr_pv);
	assert_true(nr_pv >= 25);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_completed),
		cmocka_unit_test(test_golden),
		cmocka_unit_test(test_libvirt_samples),
	};
	int r = cmocka_run_group_tests(tests, NULL, NULL);

	schema_close();
	return r;
}
