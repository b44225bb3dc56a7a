/* SPDX-License-Identifier: MIT */
/*
 * Documents that mean harm, and the etiquette: whatever the document, libxml2's settings and error
 * record stay the embedding program's, nothing is printed, and nothing takes long.
 */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <libxml/parser.h>
#include <libxml/xmlerror.h>

#include "util/strbuf.h"

static int parse(const char *text, size_t len)
{
	struct config *cfg;
	int r = xml_parse(text, len, "d.xml", 0, &cfg, NULL);

	assert_true((r == PVV_OK) == (cfg != NULL));
	config_free(cfg);
	return r;
}

static void assert_refused(const char *text, int code, const char *message)
{
	assert_int_equal(parse(text, strlen(text)), code);
	assert_string_equal(pvv_error_get_message(pvv_error_last()), message);
}

static const char doctype[] = "document type declarations and entities are not accepted";

static void assert_doctype(const char *text, const char *where)
{
	char message[256];

	snprintf(message, sizeof(message), "d.xml:%s: %s", where, doctype);
	assert_refused(text, PVV_EXML, message);
}

static void test_entities(void **state)
{
	assert_doctype("<!DOCTYPE domain><domain type='xen'/>", "1:1");
	assert_doctype("<?xml version='1.0'?>\n <!DOCTYPE d [<!ENTITY a 'b'>]><d>&a;</d>", "2:2");
	assert_doctype("<!DOCTYPE d SYSTEM 'file:///etc/passwd'><d/>", "1:1");
	assert_doctype("<!DOCTYPE d SYSTEM 'http://127.0.0.1:1/x.dtd'><d/>", "1:1");
	assert_doctype("<!DOCTYPE d [<!ENTITY % p SYSTEM 'file:///etc/hostname'>%p;]><d/>", "1:1");
	assert_doctype("<!DOCTYPE lolz [<!ENTITY lol 'lol'>"
		       "<!ENTITY lol2 '&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;'>"
		       "<!ENTITY lol3 '&lol2;&lol2;&lol2;&lol2;&lol2;&lol2;&lol2;&lol2;&lol2;'>]>"
		       "<lolz>&lol3;</lolz>",
		       "1:1");
	/* In places where it is not well-formed either. */
	assert_doctype("<domain type='xen'><!ENTITY a 'b'></domain>", "1:20");
	assert_doctype("<domain type='xen'/><!DOCTYPE x>", "1:21");
	/* Without a declaration. */
	assert_refused("<domain type='xen'><name>&nosuch;</name></domain>", PVV_EXML,
		       "d.xml:1:34: not well-formed XML: Entity 'nosuch' not defined");
	/* What looks like one is not one. */
	assert_refused("<domain type='kvm'><!-- <!DOCTYPE x> --></domain>", PVV_EUNSUPPORTED,
		       "d.xml:1:9: <domain> type 'kvm' is not supported (use 'xen')");
	assert_refused("<domain type='kvm'><a><![CDATA[<!DOCTYPE x>]]></a><?p <!DOCTYPE y>?>"
		       "</domain>",
		       PVV_EUNSUPPORTED,
		       "d.xml:1:9: <domain> type 'kvm' is not supported (use 'xen')");
}

static void test_not_well_formed(void **state)
{
	static const char *const documents[] = {
		"",
		" ",
		"x",
		"<",
		"<domain",
		"<domain type='xen'",
		"<domain type='xen'>",
		"<domain type='xen'><name>a</domain>",
		"<domain type='xen' type='xen'/>",
		"<domain type=xen/>",
		"<domain type='xen'/><domain type='xen'/>",
		"<domain type='xen'/>x",
		"<a:domain type='xen'/>",
		"<domain a:b='c'/>",
		"<domain type='<'/>",
		"<domain>&#0;</domain>",
		"<domain>&#xFFFE;</domain>",
		"<domain>&#x110000;</domain>",
		"<domain>\x01</domain>",
		"<domain><!-- -- --></domain>",
		"<domain><![CDATA[x</domain>",
		"<domain>]]></domain>",
		"<?xml version='1.0'",
		"<domain><?xml version='1.0'?></domain>",
		"<domain><",
		"<domain></",
		"<domain xmlns:a='' />",
		"<domain xmlns:xml='urn:x'/>",
		"<domain xmlns:a='b' xmlns:a='c'/>",
	};

	for (size_t i = 0; i < sizeof(documents) / sizeof(documents[0]); i++) {
		print_message("document: %s\n", documents[i]);
		assert_int_equal(parse(documents[i], strlen(documents[i])), PVV_EXML);
		const char *m = pvv_error_get_message(pvv_error_last());
		assert_int_equal(strncmp(m, "d.xml:", 6), 0);
		assert_non_null(strstr(m, "not "));
		/* One line, without the parser's line feed. */
		assert_null(strchr(m, '\n'));
	}
	/* The place is the right one. */
	assert_refused(
		"<domain type='xen'>\n  <name>a</nam>\n</domain>", PVV_EXML,
		"d.xml:2:16: not well-formed XML: Opening and ending tag mismatch: name line "
		"2 and nam");
}

static void test_encodings(void **state)
{
	static const char invalid[][32] = {
		"<domain>\xff</domain>",	     /* never valid */
		"<domain>\xc0\xaf</domain>",	     /* overlong */
		"<domain>\xed\xa0\x80</domain>",     /* a surrogate */
		"<domain>\xf4\x90\x80\x80</domain>", /* above U+10FFFF */
		"<domain>\xe2\x82</domain>",	     /* cut short */
	};

	for (size_t i = 0; i < sizeof(invalid) / sizeof(invalid[0]); i++)
		assert_refused(invalid[i], PVV_EXML, "d.xml:1:9: a byte that is not valid UTF-8");
	assert_refused("<domain>\n \xc3\xa9\xc3\xa9\xff</domain>", PVV_EXML,
		       "d.xml:2:4: a byte that is not valid UTF-8");
	/* UTF-16, with and without a mark. */
	static const char utf16[] = "\xff\xfe<\0d\0/\0>\0";
	assert_int_equal(parse(utf16, sizeof(utf16) - 1), PVV_EXML);
	assert_int_equal(parse(utf16 + 2, sizeof(utf16) - 3), PVV_EXML);
	assert_string_equal(pvv_error_get_message(pvv_error_last()), "d.xml:1:2: a NUL byte");
	static const char nul[] = "<domain type='xen'/>\0<x/>";
	assert_int_equal(parse(nul, sizeof(nul) - 1), PVV_EXML);

	static const char *const encodings[] = {
		"<?xml version='1.0' encoding='ISO-8859-1'?><d/>",
		"<?xml version='1.0' encoding = \"UTF-16\"?><d/>",
		"<?xml\tversion='1.0' encoding='UTF-7'?><d/>",
		"<?xml version='1.0' encoding='utf-8x'?><d/>",
		"\xef\xbb\xbf<?xml version='1.0' encoding='EBCDIC-CP-US'?><d/>",
	};
	for (size_t i = 0; i < sizeof(encodings) / sizeof(encodings[0]); i++) {
		assert_int_equal(parse(encodings[i], strlen(encodings[i])), PVV_EXML);
		assert_non_null(strstr(pvv_error_get_message(pvv_error_last()),
				       "the document's encoding is not UTF-8"));
	}
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void repeat(struct strbuf *sb, const char *what, size_t upto)
{
	while (sb->len + strlen(what) <= upto)
		strbuf_puts(sb, what);
}

/* Refused with that message's part, or NULL: whatever; in any case quickly. */
static void assert_quick(struct strbuf *sb, int code, const char *part)
{
	double start = now();

	assert_int_equal(parse(sb->s, sb->len), code);
	if (part) {
		const char *m = pvv_error_get_message(pvv_error_last());

		if (!strstr(m, part))
			fail_msg("'%s' does not contain '%s'", m, part);
	}
	/* Generous: sanitizers and a loaded machine. Quadratic behaviour takes minutes. */
	assert_true(now() - start < 10);
	strbuf_clear(sb);
}

static void test_sizes(void **state)
{
	struct strbuf sb = STRBUF_INIT;
	char attr[64];

	/* One byte too many; exactly the limit. */
	strbuf_puts(&sb, "<domain type='kvm'>");
	repeat(&sb, " ", XML_MAX_SIZE - 9 + 1);
	strbuf_puts(&sb, "</domain>");
	assert_quick(&sb, PVV_ELIMIT, "d.xml: the document has 1048577 bytes; at most 1048576");
	strbuf_puts(&sb, "<domain type='kvm'>");
	repeat(&sb, " ", XML_MAX_SIZE - 9);
	strbuf_puts(&sb, "</domain>");
	assert_quick(&sb, PVV_EUNSUPPORTED, "type 'kvm'");

	/* Depth. */
	strbuf_puts(&sb, "<domain type='kvm'>");
	repeat(&sb, "<a>", 1u << 19);
	assert_quick(&sb, PVV_ELIMIT, "d.xml:1:209: more than 64 levels of elements");
	/* Attributes of one element, three sizes. */
	for (unsigned int n = 300; n <= 90000; n *= 17) {
		strbuf_puts(&sb, "<domain");
		for (unsigned int i = 0; i < n; i++) {
			snprintf(attr, sizeof(attr), " a%u=''", i);
			strbuf_puts(&sb, attr);
		}
		strbuf_puts(&sb, "/>");
		assert_quick(&sb, PVV_ELIMIT,
			     n == 300 ? "d.xml:1:1: more than 256 attributes of one element"
				      : "an element with more than 1024 attributes");
	}
	/* Namespace declarations. */
	strbuf_puts(&sb, "<domain type='kvm'>");
	for (unsigned int i = 0; i < 300; i++) {
		snprintf(attr, sizeof(attr), "<a xmlns:n%u='u'/>", i);
		strbuf_puts(&sb, attr);
	}
	assert_quick(&sb, PVV_ELIMIT, "more than 256 namespace declarations");
	/* Many elements, much text in small pieces, many attributes with long values, many '='. */
	strbuf_puts(&sb, "<domain type='kvm'>");
	repeat(&sb, "<a/>", XML_MAX_SIZE - 9);
	strbuf_puts(&sb, "</domain>");
	assert_quick(&sb, PVV_EUNSUPPORTED, NULL);
	strbuf_puts(&sb, "<domain type='kvm'>");
	repeat(&sb, "x&#65;", XML_MAX_SIZE - 9);
	strbuf_puts(&sb, "</domain>");
	assert_quick(&sb, PVV_EUNSUPPORTED, NULL);
	strbuf_puts(&sb, "<domain type='kvm'");
	for (unsigned int i = 0; i < 250; i++) {
		snprintf(attr, sizeof(attr), " a%u='", i);
		strbuf_puts(&sb, attr);
		repeat(&sb, "xxxxxxxxxxxxxxxx", sb.len + 4000);
		strbuf_puts(&sb, "'");
	}
	strbuf_puts(&sb, "/>");
	assert_quick(&sb, PVV_EUNSUPPORTED, NULL);
	strbuf_puts(&sb, "<domain type='kvm'><a>");
	repeat(&sb, "=   ", XML_MAX_SIZE - 13);
	strbuf_puts(&sb, "</a></domain>");
	assert_quick(&sb, PVV_EUNSUPPORTED, NULL);
	/* Errors all the way: the parser goes on after the first. */
	strbuf_puts(&sb, "<domain>");
	repeat(&sb, "<a b=c>&x;</d>", XML_MAX_SIZE);
	assert_quick(&sb, PVV_EXML, NULL);
}

/* As many warnings as fit; the list has an end. */
static void test_many_warnings(void **state)
{
	struct strbuf sb = STRBUF_INIT;
	struct xml_warnings w;
	struct config *cfg;

	strbuf_puts(&sb, "<domain type='xen'><name>d</name><memory>1</memory><bootloader/>");
	repeat(&sb, "<x/>\n", 100000);
	strbuf_puts(&sb, "</domain>");
	assert_int_equal(xml_parse(sb.s, sb.len, "d.xml", 0, &cfg, &w), PVV_OK);
	assert_int_equal(w.nr, 1001);
	assert_string_equal(w.items[0].text, "d.xml:1:65: <x> is ignored");
	assert_string_equal(w.items[1000].text,
			    "d.xml:1001:1: and more: only the first 1000 are listed");
	xml_warnings_clear(&w);
	config_free(cfg);
	strbuf_clear(&sb);
}

static void test_many_devices(void **state)
{
	struct strbuf sb = STRBUF_INIT;
	char disk[128];

	strbuf_puts(&sb, TOP "<devices>");
	for (unsigned int i = 0; i < 257; i++) {
		snprintf(disk, sizeof(disk),
			 "<disk><source file='/%u'/><target dev='xvd%c%c'/></disk>", i,
			 'a' + i / 26, 'a' + i % 26);
		strbuf_puts(&sb, disk);
	}
	strbuf_puts(&sb, "</devices></domain>");
	assert_quick(&sb, PVV_ELIMIT, "more than 256 disks");
}

/* ---- the embedding program's libxml2 ---- */

static unsigned int calls;

static void on_generic(void *opaque, const char *fmt, ...)
{
	calls++;
}

static void on_structured(void *opaque, xmlErrorPtr e)
{
	calls++;
}

static xmlParserInputPtr on_load(const char *url, const char *id, xmlParserCtxtPtr ctxt)
{
	calls++;
	return NULL;
}

static const char *const documents[] = {
	EXTRA(""),
	"<domain",
	"<domain type='xen'>&x;</domain>",
	"<a:b/>",
	"<domain/>",
	"<!DOCTYPE d SYSTEM 'http://127.0.0.1:1/x.dtd'><d/>",
	"<?xml version='1.1'?><domain type='xen'/>",
	"<domain type='xen' xmlns:x='relative' xml:lang='zzzzzzzzz'/>",
};
#define NR_DOCUMENTS (sizeof(documents) / sizeof(documents[0]))

static void parse_all(void)
{
	for (size_t i = 0; i < NR_DOCUMENTS; i++)
		parse(documents[i], strlen(documents[i]));
}

static void test_globals(void **state)
{
	xmlDocPtr doc;

	/* An embedding program with handlers of its own, unusual defaults and an error on record.
	 */
	xmlSetGenericErrorFunc(&calls, on_generic);
	xmlSetStructuredErrorFunc(&calls, on_structured);
	xmlExternalEntityLoader loader = xmlGetExternalEntityLoader();
	xmlSetExternalEntityLoader(on_load);
	int blanks = xmlKeepBlanksDefault(0);
	int subst = xmlSubstituteEntitiesDefault(1);
	int load = xmlLoadExtDtdDefaultValue;
	xmlLoadExtDtdDefaultValue = 1;
	doc = xmlReadMemory("<a>", 3, "theirs", NULL, 0);
	assert_null(doc);
	assert_true(calls > 0);
	xmlErrorPtr e = xmlGetLastError();
	assert_non_null(e);
	char *before = strdup(e->message);
	int code = e->code;

	calls = 0;
	parse_all();
	assert_int_equal(calls, 0);
	e = xmlGetLastError();
	assert_non_null(e);
	assert_int_equal(e->code, code);
	assert_string_equal(e->message, before);
	free(before);
	assert_ptr_equal(xmlGenericError, on_generic);
	assert_ptr_equal(xmlGenericErrorContext, &calls);
	assert_ptr_equal(xmlStructuredError, on_structured);
	assert_ptr_equal(xmlStructuredErrorContext, &calls);
	assert_ptr_equal(xmlGetExternalEntityLoader(), on_load);
	assert_int_equal(xmlKeepBlanksDefault(blanks), 0);
	assert_int_equal(xmlSubstituteEntitiesDefault(subst), 1);
	assert_int_equal(xmlLoadExtDtdDefaultValue, 1);
	xmlLoadExtDtdDefaultValue = load;

	/* Their settings do not change what we read either. */
	struct config *cfg = parse_ok(EXTRA("<metadata><a> <b/> </a></metadata>"));
	assert_string_equal(cfg->metadata, "<a> <b/> </a>");
	config_free(cfg);
	xmlSetExternalEntityLoader(loader);
	xmlSetStructuredErrorFunc(NULL, NULL);
	xmlSetGenericErrorFunc(NULL, NULL);
	/* No error on record stays no error on record. */
	xmlResetLastError();
	parse_all();
	assert_null(xmlGetLastError());
}

static void test_silence(void **state)
{
	char path[] = "/tmp/pvv-xml-silence-XXXXXX";
	int fd = mkstemp(path);
	int out = dup(1), err = dup(2);

	assert_true(fd >= 0 && out >= 0 && err >= 0);
	unlink(path);
	fflush(NULL);
	dup2(fd, 1);
	dup2(fd, 2);
	parse_all();
	fflush(NULL);
	dup2(out, 1);
	dup2(err, 2);
	close(out);
	close(err);
	assert_int_equal(lseek(fd, 0, SEEK_END), 0);
	close(fd);
}

/* Closed standard descriptors, and no descriptor opened or left behind. */
static void test_descriptors(void **state)
{
	int before = dup(0), after;

	assert_true(before >= 0);
	close(before);
	parse_all();
	after = dup(0);
	assert_int_equal(before, after);
	close(after);
}

static void *thread_main(void *opaque)
{
	for (int i = 0; i < 200; i++) {
		struct config *cfg = parse_ok(DEVICES("<console/>"));
		char *text = format_ok(cfg);

		free(text);
		config_free(cfg);
		if (parse("<domain", 7) != PVV_EXML)
			return (void *)1;
	}
	return NULL;
}

static void test_threads(void **state)
{
	pthread_t threads[8];
	void *result;

	for (int i = 0; i < 8; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, thread_main, NULL), 0);
	for (int i = 0; i < 8; i++) {
		assert_int_equal(pthread_join(threads[i], &result), 0);
		assert_null(result);
	}
}

static void test_arguments(void **state)
{
	struct config *cfg = (struct config *)1;
	struct xml_warnings w = {(struct xml_warning *)1, 1};

	assert_int_equal(xml_parse("<domain/>", 9, NULL, 2, &cfg, &w), PVV_EINVAL);
	assert_null(cfg);
	assert_null(w.items);
	assert_string_equal(pvv_error_get_message(pvv_error_last()), "unknown flags 0x2");
	/* The text need not end in NUL, and the name may be missing. */
	assert_int_equal(xml_parse("<domain/>garbage", 9, NULL, 0, &cfg, NULL), PVV_EXML);
	assert_string_equal(pvv_error_get_message(pvv_error_last()),
			    "domain.xml:1:1: <domain> lacks the attribute 'type'");
	assert_int_equal(parse("", 0), PVV_EXML);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_entities),      cmocka_unit_test(test_not_well_formed),
		cmocka_unit_test(test_encodings),     cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_many_warnings), cmocka_unit_test(test_many_devices),
		cmocka_unit_test(test_globals),	      cmocka_unit_test(test_silence),
		cmocka_unit_test(test_descriptors),   cmocka_unit_test(test_threads),
		cmocka_unit_test(test_arguments),
	};
	int r = cmocka_run_group_tests(tests, NULL, NULL);

	xmlCleanupParser();
	return r;
}
