/* SPDX-License-Identifier: MIT */
/* doc/domain-xml.md says what the program does: its examples, and its tables of what is ignored and
 * refused, are tried. */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *doc;

static void test_examples(void **state)
{
	unsigned int nr = 0;

	for (char *p = doc; (p = strstr(p, "```xml\n")); nr++) {
		char *start = p + 7, *end = strstr(start, "```"), why[1024];

		assert_non_null(end);
		char *xml = strndup(start, (size_t)(end - start));
		struct config *cfg = parse_ok(xml);
		char *text = format_ok(cfg);
		if (!schema_valid(xml, why, sizeof(why)))
			fail_msg("an example is not valid under libvirt's schema: %s", why);
		free(text);
		free(xml);
		config_free(cfg);
		p = end + 3;
	}
	assert_int_equal(nr, 2);
}

/* A document with `element` in `place`. */
static void build(char *out, size_t size, const char *place, const char *element)
{
	static const struct {
		const char *place, *before, *after;
	} places[] = {
		{"domain", TOP, "</domain>"},
		{"devices", TOP "<devices>", "</devices></domain>"},
		{"disk", TOP "<devices><disk><source file='/a'/><target dev='xvda'/>",
		 "</disk></devices></domain>"},
		{"interface", TOP "<devices><interface type='user'>",
		 "</interface></devices></domain>"},
		{"clock", TOP "<clock offset='utc'>", "</clock></domain>"},
		{"os",
		 "<domain type='xen'><name>d</name><memory>1</memory><os><type>linux</type>"
		 "<kernel>/k</kernel>",
		 "</os></domain>"},
	};

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		if (strcmp(places[i].place, place) == 0) {
			snprintf(out, size, "%s<%s/>%s", places[i].before, element,
				 places[i].after);
			return;
		}
	}
	fail_msg("the table has an unknown place '%s'", place);
}

/* Markdown needs \<, the program does not. */
static void unescape(char *s)
{
	char *out = s;

	for (; *s; s++)
		if (*s != '\\')
			*out++ = *s;
	*out = '\0';
}

typedef void row_fn(const char *element, const char *xml, const char *why);

/* For each row "| `element` | `place` | why |" of a section. */
static unsigned int each_row(const char *heading, row_fn *fn)
{
	char *section = strstr(doc, heading);
	unsigned int nr = 0;

	assert_non_null(section);
	char *end = strstr(section + 1, "\n## ");
	for (char *line = section; line && line < end; line = strchr(line + 1, '\n')) {
		char element[64], place[64], why[256], xml[2048];

		if (sscanf(line, "\n| `%63[^`]` | `%63[^`]` | %255[^|]|", element, place, why) != 3)
			continue;
		for (size_t n = strlen(why); n && why[n - 1] == ' '; n--)
			why[n - 1] = '\0';
		unescape(why);
		print_message("%s in %s\n", element, place);
		build(xml, sizeof(xml), place, element);
		fn(element, xml, why);
		nr++;
	}
	return nr;
}

static void is_ignored(const char *element, const char *xml, const char *why)
{
	struct xml_warnings w;
	struct config *cfg;
	char expected[512];
	bool found = false;

	snprintf(expected, sizeof(expected), "<%s> is ignored (%s)", element, why);
	assert_int_equal(xml_parse(xml, strlen(xml), "d.xml", 0, &cfg, &w), PVV_OK);
	for (size_t i = 0; i < w.nr; i++)
		found |= strstr(w.items[i].text, expected) != NULL;
	if (!found)
		fail_msg("no warning '%s'", expected);
	xml_warnings_clear(&w);
	config_free(cfg);
}

static void is_refused(const char *element, const char *xml, const char *why)
{
	struct config *cfg;
	char start[128], reason[512];

	assert_int_equal(xml_parse(xml, strlen(xml), "d.xml", 0, &cfg, NULL), PVV_EUNSUPPORTED);
	const char *m = pvv_error_get_message(pvv_error_last());
	snprintf(start, sizeof(start), "<%s> is not supported", element);
	snprintf(reason, sizeof(reason), "(%s)", why);
	if (!strstr(m, start) || !strstr(m, reason))
		fail_msg("'%s' is not '%s ... %s'", m, start, reason);
}

static void test_ignored(void **state)
{
	assert_true(each_row("\n## Ignored\n", is_ignored) >= 40);
}

static void test_refused(void **state)
{
	assert_true(each_row("\n## Refused\n", is_refused) >= 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_examples),
		cmocka_unit_test(test_ignored),
		cmocka_unit_test(test_refused),
	};

	doc = read_file(DOC_FILE);
	int r = cmocka_run_group_tests(tests, NULL, NULL);
	free(doc);
	schema_close();
	return r;
}
