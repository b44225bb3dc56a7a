/* SPDX-License-Identifier: MIT */
/* What the tests of the XML room share. */
#ifndef PVV_TEST_XML_HARNESS_H
#define PVV_TEST_XML_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "domain/config.h"
#include "util/err.h"
#include "xml/xml.h"

#define NS "https://libpvvirt.org/schemas/domain/1.0"

/*
 * A document around what a case is about. Line 1: domain, 2: name, 3: memory, 4: os, 5: `extra`,
 * then devices on a line, `devices` from the next.
 */
#define TOP                                                                                        \
	"<domain type='xen'>\n"                                                                    \
	"<name>d</name>\n"                                                                         \
	"<memory>65536</memory>\n"                                                                 \
	"<os><type arch='x86_64' machine='xenpv'>linux</type><kernel>/k</kernel></os>\n"
#define DOC(extra, devices) TOP extra "\n<devices>\n" devices "\n</devices>\n</domain>\n"
#define EXTRA(extra)	    DOC(extra, "")
#define DEVICES(devices)    DOC("", devices)

struct xml_case {
	const char *what;
	const char *xml;
	/* Accepted: NULL. Refused: the exact message behind "d.xml:". */
	const char *error;
	int code;
	/* Exact warnings behind "d.xml:", one per line; NULL: none. */
	const char *warnings;
	/* The canonical document has these lines, one after another (blanks at line starts do not
	 * count); NULL: not looked at. */
	const char *contains;
};

/*
 * For each case: the outcome is as said; strict mode refuses exactly those with warnings; the
 * canonical document is valid under libvirt's schema, means the same, and is its own canonical
 * form.
 */
void run_cases(const struct xml_case *cases, size_t nr);
#define RUN_CASES(array) run_cases(array, sizeof(array) / sizeof((array)[0]))

/* Parse a document that must be accepted; warnings are dropped. */
struct config *parse_ok(const char *xml);
char *format_ok(const struct config *cfg);

/* All that the round trip has to keep. On a difference, false and the field's name. */
bool config_equal(const struct config *a, const struct config *b, const char **ret_field);
void assert_config_equal(const struct config *a, const struct config *b);

/* A random configuration that config_check() accepts and xml_format() can write. */
struct config *config_random(uint32_t *seed);
uint32_t random_next(uint32_t *seed);

/*
 * libvirt's schema. schema_available() prints why not, once. schema_valid() is true if there is
 * no schema, so that the other assertions still run.
 */
bool schema_available(void);
bool schema_valid(const char *xml, char *why, size_t why_size);
void schema_close(void);

/* A whole file, NUL-terminated and malloc'ed; fails the test if there is none. */
char *read_file(const char *path);

#endif
