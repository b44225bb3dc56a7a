/* SPDX-License-Identifier: MIT */
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libxml/parser.h>
#include <libxml/relaxng.h>

/* ---- libvirt's schema ---- */

static xmlRelaxNGPtr schema;
static bool schema_tried;

static void collect(void *opaque, const char *fmt, ...)
{
	char *buf = opaque;
	size_t n = strlen(buf);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(buf + n, 1024 - n, fmt, ap);
	va_end(ap);
}

bool schema_available(void)
{
	const char *dir = getenv("PVV_LIBVIRT_SCHEMAS");
	char path[512], why[1024] = "";

	if (schema_tried)
		return schema;
	schema_tried = true;
	snprintf(path, sizeof(path), "%s/domain.rng", dir ? dir : "/usr/share/libvirt/schemas");
	xmlRelaxNGParserCtxtPtr parser = xmlRelaxNGNewParserCtxt(path);
	if (parser) {
		xmlRelaxNGSetParserErrors(parser, collect, collect, why);
		schema = xmlRelaxNGParse(parser);
		xmlRelaxNGFreeParserCtxt(parser);
	}
	if (!schema)
		printf("SKIP: no validation against libvirt's schema: %s cannot be read (install "
		       "libvirt0, or set PVV_LIBVIRT_SCHEMAS): %s\n",
		       path, why);
	return schema;
}

bool schema_valid(const char *xml, char *why, size_t why_size)
{
	char buf[1024] = "";

	if (!schema_available())
		return true;
	xmlDocPtr doc = xmlReadMemory(xml, (int)strlen(xml), "x", NULL, XML_PARSE_NONET);
	xmlRelaxNGValidCtxtPtr valid = xmlRelaxNGNewValidCtxt(schema);
	xmlRelaxNGSetValidErrors(valid, collect, collect, buf);
	bool ok = doc && xmlRelaxNGValidateDoc(valid, doc) == 0;
	xmlRelaxNGFreeValidCtxt(valid);
	xmlFreeDoc(doc);
	snprintf(why, why_size, "%s", buf);
	return ok;
}

void schema_close(void)
{
	xmlRelaxNGFree(schema);
	schema = NULL;
	schema_tried = false;
	xmlRelaxNGCleanupTypes();
	xmlCleanupParser();
}

/* ---- documents ---- */

char *read_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	char *buf;
	long n;

	if (!f)
		fail_msg("cannot open %s", path);
	fseek(f, 0, SEEK_END);
	n = ftell(f);
	rewind(f);
	buf = malloc((size_t)n + 1);
	assert_non_null(buf);
	assert_int_equal(fread(buf, 1, (size_t)n, f), n);
	buf[n] = '\0';
	fclose(f);
	return buf;
}

struct config *parse_ok(const char *xml)
{
	struct config *cfg;

	if (xml_parse(xml, strlen(xml), "d.xml", 0, &cfg, NULL) < 0)
		fail_msg("%s\nin\n%s", pvv_error_get_message(pvv_error_last()), xml);
	assert_non_null(cfg);
	return cfg;
}

char *format_ok(const struct config *cfg)
{
	char *text;

	if (xml_format(cfg, &text) < 0)
		fail_msg("xml_format: %s", pvv_error_get_message(pvv_error_last()));
	assert_non_null(text);
	return text;
}

void assert_config_equal(const struct config *a, const struct config *b)
{
	const char *field = "";

	if (!config_equal(a, b, &field))
		fail_msg("the configurations differ in %s", field);
}

static const char *behind_name(const char *message)
{
	assert_int_equal(strncmp(message, "d.xml:", 6), 0);
	return message + 6;
}

static void check_refused(const struct xml_case *c)
{
	struct xml_warnings warnings = {(struct xml_warning *)1, 7};
	struct config *cfg = (struct config *)1;

	int r = xml_parse(c->xml, strlen(c->xml), "d.xml", 0, &cfg, &warnings);
	if (r == PVV_OK)
		fail_msg("accepted");
	const char *message = pvv_error_get_message(pvv_error_last());
	if (strcmp(behind_name(message), c->error) != 0)
		fail_msg("the message is\n  %s\nnot\n  d.xml:%s", message, c->error);
	assert_int_equal(r, c->code ? c->code : PVV_EXML);
	assert_int_equal(pvv_error_get_code(pvv_error_last()), r);
	assert_int_equal(pvv_error_get_subsystem(pvv_error_last()), PVV_SUBSYS_XML);
	assert_string_equal(pvv_error_get_object(pvv_error_last()), "d.xml");
	assert_null(cfg);
	assert_null(warnings.items);
	assert_int_equal(warnings.nr, 0);
}

static void check_warnings(const struct xml_case *c, const struct xml_warnings *w)
{
	const char *expected = c->warnings ? c->warnings : "";
	char all[8192] = "";
	size_t n = 0;

	for (size_t i = 0; i < w->nr; i++) {
		char place[64];

		snprintf(place, sizeof(place), "d.xml:%u:%u: ", w->items[i].line,
			 w->items[i].column);
		assert_int_equal(strncmp(w->items[i].text, place, strlen(place)), 0);
		n += (size_t)snprintf(all + n, sizeof(all) - n, "%s%s", i ? "\n" : "",
				      behind_name(w->items[i].text));
		assert_true(n < sizeof(all));
	}
	if (strcmp(all, expected) != 0)
		fail_msg("the warnings are\n%s\nnot\n%s", all, expected);
}

/* Strict mode refuses what has warnings, with the first of them. */
static void check_strict(const struct xml_case *c)
{
	struct config *cfg;

	int r = xml_parse(c->xml, strlen(c->xml), "d.xml", XML_STRICT, &cfg, NULL);
	if (!c->warnings) {
		if (r != PVV_OK)
			fail_msg("strict: %s", pvv_error_get_message(pvv_error_last()));
		config_free(cfg);
		return;
	}
	if (r == PVV_OK)
		fail_msg("accepted in strict mode");
	assert_int_equal(r, PVV_EUNSUPPORTED);
	assert_null(cfg);
	const char *message = behind_name(pvv_error_get_message(pvv_error_last()));
	size_t first = strcspn(c->warnings, "\n");
	size_t nr = 1;
	for (const char *s = c->warnings; *s; s++)
		nr += *s == '\n';
	char expected[1024];
	if (nr > 1)
		snprintf(expected, sizeof(expected), "%.*s; refused in strict mode (and %zu more)",
			 (int)first, c->warnings, nr - 1);
	else
		snprintf(expected, sizeof(expected), "%.*s; refused in strict mode", (int)first,
			 c->warnings);
	assert_string_equal(message, expected);
}

/* Are the lines of `part` in `text`, one after another, but for blanks at their starts? */
static bool contains_lines(const char *text, const char *part)
{
	for (const char *start = text; *start; start += strcspn(start, "\n") + 1) {
		const char *t = start, *p = part;

		for (;;) {
			t += strspn(t, " ");
			p += strspn(p, " ");
			size_t n = strcspn(p, "\n");
			if (strncmp(t, p, n) != 0 || (t[n] != '\n' && t[n] != '\0'))
				break;
			if (!p[n])
				return true;
			t += n + 1;
			p += n + 1;
		}
		if (!start[strcspn(start, "\n")])
			break;
	}
	return false;
}

static void check_accepted(const struct xml_case *c)
{
	struct xml_warnings warnings;
	struct config *cfg, *again;
	struct pvv_error before, after;
	char why[1024];

	err_set(PVV_EIO, PVV_SUBSYS_BLOCK, "unrelated", "an earlier error");
	err_save(&before);
	if (xml_parse(c->xml, strlen(c->xml), "d.xml", 0, &cfg, &warnings) < 0)
		fail_msg("refused: %s", pvv_error_get_message(pvv_error_last()));
	err_save(&after);
	/* A call that succeeds leaves the error record alone. */
	assert_memory_equal(&before, &after, sizeof(before));
	check_warnings(c, &warnings);
	xml_warnings_clear(&warnings);
	assert_null(warnings.items);
	check_strict(c);

	char *text = format_ok(cfg);
	if (c->contains && !contains_lines(text, c->contains))
		fail_msg("\n%s\ndoes not contain\n%s", text, c->contains);
	again = parse_ok(text);
	assert_config_equal(cfg, again);
	char *text2 = format_ok(again);
	assert_string_equal(text, text2);
	if (!schema_valid(text, why, sizeof(why)))
		fail_msg("\n%s\nis not valid under libvirt's schema: %s", text, why);
	free(text);
	free(text2);
	config_free(cfg);
	config_free(again);
}

void run_cases(const struct xml_case *cases, size_t nr)
{
	for (size_t i = 0; i < nr; i++) {
		/* Printed only if it fails: cmocka shows the output of failing tests. */
		print_message("case: %s\n", cases[i].what);
		if (cases[i].error)
			check_refused(&cases[i]);
		else
			check_accepted(&cases[i]);
	}
}
