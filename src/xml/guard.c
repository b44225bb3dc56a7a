/* SPDX-License-Identifier: MIT */
#include "xml/guard.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "util/err.h"
#include "util/utf8.h"
#include "xml/xml.h"

/*
 * libxml2 compares each attribute of an element with each other one before it tells us that there
 * are too many. No start tag can hold more attributes than there are occurrences of `="` and `='`
 * between two '<'; this bound also holds for documents that are not well-formed.
 */
#define GUARD_MAX_ATTRIBUTES 1024u

void guard_locate(const char *text, size_t offset, size_t *at, struct tree_pos *pos)
{
	for (; *at < offset; (*at)++) {
		unsigned char c = (unsigned char)text[*at];

		if (c == '\n') {
			pos->line++;
			pos->column = 1;
		} else if ((c & 0xc0) != 0x80) {
			pos->column++;
		}
	}
}

static int fail(const char *text, size_t offset, const char *filename, int code, const char *what)
{
	struct tree_pos pos = {1, 1};
	size_t at = 0;

	guard_locate(text, offset, &at, &pos);
	return err_set(code, PVV_SUBSYS_XML, filename, "%s:%u:%u: %s", filename, pos.line,
		       pos.column, what);
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static const char *find(const char *text, size_t len, const char *what)
{
	return memmem(text, len, what, strlen(what));
}

/*
 * The encoding that an XML declaration names. Anything but UTF-8 would make libxml2 convert the
 * input, after which our offsets into the text mean nothing.
 */
static int check_encoding(const char *text, size_t len, const char *filename)
{
	if (len < 6 || memcmp(text, "<?xml", 5) != 0 || !is_space(text[5]))
		return PVV_OK;
	const char *end = find(text, len, "?>");
	if (!end)
		return PVV_OK; /* not well-formed; libxml2 says so */
	const char *name = find(text, (size_t)(end - text), "encoding");
	if (!name)
		return PVV_OK;
	const char *p = name + strlen("encoding");
	while (p < end && (is_space(*p) || *p == '=' || *p == '"' || *p == '\''))
		p++;
	if (end - p < 5 || strncasecmp(p, "utf-8", 5) != 0 || (p[5] != '"' && p[5] != '\''))
		return fail(text, (size_t)(p - text), filename, PVV_EXML,
			    "the document's encoding is not UTF-8 (write encoding='UTF-8', or "
			    "nothing)");
	return PVV_OK;
}

static int check_attributes(const char *text, size_t len, const char *filename)
{
	size_t nr = 0;

	for (size_t i = 0; i < len; i++) {
		if (text[i] == '<')
			nr = 0;
		if (text[i] != '=')
			continue;
		size_t k = i + 1;
		while (k < len && is_space(text[k]))
			k++;
		if (k < len && (text[k] == '"' || text[k] == '\'') && ++nr > GUARD_MAX_ATTRIBUTES)
			return fail(text, i, filename, PVV_ELIMIT,
				    "an element with more than 1024 attributes");
		/* Never look at the same blanks twice. */
		i = k - 1;
	}
	return PVV_OK;
}

/* A declaration of a document type, outside of comments and CDATA sections. */
static int check_doctype(const char *text, size_t len, const char *filename)
{
	size_t i = 0;

	while (i < len) {
		const char *lt = memchr(text + i, '<', len - i);
		const char *skip_to = NULL;

		if (!lt)
			break;
		i = (size_t)(lt - text) + 1;
		if (len - i >= 3 && memcmp(text + i, "!--", 3) == 0)
			skip_to = "-->";
		else if (len - i >= 8 && memcmp(text + i, "![CDATA[", 8) == 0)
			skip_to = "]]>";
		else if (len - i >= 1 && text[i] == '?')
			skip_to = "?>";
		else if (len - i >= 1 && text[i] == '!')
			return fail(text, i - 1, filename, PVV_EXML,
				    "document type declarations and entities are not accepted");
		if (skip_to) {
			const char *end = find(text + i, len - i, skip_to);

			if (!end)
				break; /* not well-formed; libxml2 says so */
			i = (size_t)(end - text) + strlen(skip_to);
		}
	}
	return PVV_OK;
}

int guard_check(const char *text, size_t len, const char *filename)
{
	if (len > XML_MAX_SIZE)
		return err_set(PVV_ELIMIT, PVV_SUBSYS_XML, filename,
			       "%s: the document has %zu bytes; at most %u are accepted", filename,
			       len, XML_MAX_SIZE);
	size_t bad = utf8_check(text, len);
	if (bad < len)
		return fail(text, bad, filename, PVV_EXML, "a byte that is not valid UTF-8");
	const char *nul = memchr(text, '\0', len);
	if (nul)
		return fail(text, (size_t)(nul - text), filename, PVV_EXML, "a NUL byte");
	int r = check_encoding(text, len, filename);
	if (r == PVV_OK)
		r = check_doctype(text, len, filename);
	if (r == PVV_OK)
		r = check_attributes(text, len, filename);
	return r;
}
