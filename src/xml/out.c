/* SPDX-License-Identifier: MIT */
#include "xml/out.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "util/err.h"
#include "util/utf8.h"
#include "xml/tree.h"

/* What XML 1.0 allows: no control characters but tab and line ends, no U+FFFE, U+FFFF. */
static bool expressible(const char *s)
{
	size_t len = strlen(s);
	uint32_t c;

	while (len) {
		size_t n = utf8_char(s, len, &c);

		if (!n || (c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0xfffe ||
		    c == 0xffff)
			return false;
		s += n;
		len -= n;
	}
	return true;
}

static void put(struct xml_out *out, const char *name, const char *text, bool attr)
{
	if (!expressible(text)) {
		if (out->error == PVV_OK)
			out->error = err_set(PVV_EINVAL, PVV_SUBSYS_XML, NULL,
					     "'%s' holds something that XML cannot express (not "
					     "UTF-8, or a control character)",
					     name);
		return;
	}
	tree_escape(&out->sb, text, attr);
}

static void close_tag(struct xml_out *out)
{
	if (out->tag_open)
		strbuf_puts(&out->sb, ">\n");
	out->tag_open = false;
}

static void indent(struct xml_out *out)
{
	for (unsigned int i = 0; i < out->depth; i++)
		strbuf_puts(&out->sb, "  ");
}

void xml_out_start(struct xml_out *out, const char *name)
{
	close_tag(out);
	indent(out);
	strbuf_printf(&out->sb, "<%s", name);
	assert(out->depth < sizeof(out->names) / sizeof(out->names[0]));
	out->names[out->depth++] = name;
	out->tag_open = true;
}

void xml_out_end(struct xml_out *out)
{
	const char *name = out->names[--out->depth];

	if (out->tag_open) {
		strbuf_puts(&out->sb, "/>\n");
	} else {
		indent(out);
		strbuf_printf(&out->sb, "</%s>\n", name);
	}
	out->tag_open = false;
}

void xml_out_end_text(struct xml_out *out, const char *text)
{
	const char *name = out->names[--out->depth];

	strbuf_putc(&out->sb, '>');
	put(out, name, text, false);
	strbuf_printf(&out->sb, "</%s>\n", name);
	out->tag_open = false;
}

void xml_out_attr(struct xml_out *out, const char *name, const char *value)
{
	if (!value)
		return;
	strbuf_printf(&out->sb, " %s='", name);
	put(out, name, value, true);
	strbuf_putc(&out->sb, '\'');
}

void xml_out_attr_number(struct xml_out *out, const char *name, uint64_t value)
{
	strbuf_printf(&out->sb, " %s='%" PRIu64 "'", name, value);
}

void xml_out_attr_onoff(struct xml_out *out, const char *name, enum config_tristate value)
{
	if (value != CONFIG_UNSET)
		xml_out_attr(out, name, value == CONFIG_ON ? "on" : "off");
}

void xml_out_text(struct xml_out *out, const char *name, const char *text)
{
	if (!text)
		return;
	xml_out_start(out, name);
	xml_out_end_text(out, text);
}

void xml_out_number(struct xml_out *out, const char *name, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, value);
	xml_out_text(out, name, text);
}

void xml_out_flag(struct xml_out *out, const char *name, bool present)
{
	if (!present)
		return;
	xml_out_start(out, name);
	xml_out_end(out);
}

void xml_out_size(struct xml_out *out, const char *name, uint64_t bytes)
{
	char text[24];

	if (!bytes)
		return;
	snprintf(text, sizeof(text), "%" PRIu64, bytes >> 10);
	xml_out_start(out, name);
	xml_out_attr(out, "unit", "KiB");
	xml_out_end_text(out, text);
}

void xml_out_raw(struct xml_out *out, const char *xml)
{
	close_tag(out);
	indent(out);
	strbuf_puts(&out->sb, xml);
	strbuf_putc(&out->sb, '\n');
}
