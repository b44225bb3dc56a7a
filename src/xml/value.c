/* SPDX-License-Identifier: MIT */
/* Numbers, sizes and enumerations. */
#include "xml/parse.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "util/err.h"
#include "util/strbuf.h"

static const char *skip_blanks(const char *s)
{
	return s + strspn(s, " \t\r\n");
}

/* Decimal digits at *s, moved behind them. False: no digits. *ret_overflow: too large. */
static bool take_digits(const char **s, uint64_t max, uint64_t *ret_value, bool *ret_overflow)
{
	uint64_t v = 0;
	bool overflow = false;

	if (!isdigit((unsigned char)**s))
		return false;
	for (; isdigit((unsigned char)**s); (*s)++) {
		uint64_t digit = (uint64_t)(**s - '0');

		if (digit > max || v > (max - digit) / 10)
			overflow = true;
		else
			v = v * 10 + digit;
	}
	*ret_value = v;
	*ret_overflow = overflow;
	return true;
}

int xml_number(struct xml_ctx *ctx, const struct tree_node *node, const struct tree_pos *pos,
	       const char *what, const char *text, uint64_t max, uint64_t *ret_value)
{
	const char *s = skip_blanks(text);
	const char *space = *what ? " " : "";
	uint64_t v = 0;
	bool overflow = false;

	if (!take_digits(&s, max, &v, &overflow) || *skip_blanks(s))
		return xml_fail(ctx, PVV_EXML, node, pos, "%s%s'%s' is not a decimal number", what,
				space, text);
	if (overflow)
		return xml_fail(ctx, PVV_EXML, node, pos, "%s%s'%s' is more than %" PRIu64, what,
				space, text, max);
	*ret_value = v;
	return PVV_OK;
}

int xml_signed(struct xml_ctx *ctx, const struct tree_node *node, const struct tree_pos *pos,
	       const char *what, const char *text, int64_t *ret_value)
{
	const char *s = skip_blanks(text);
	const char *space = *what ? " " : "";
	bool negative = *s == '-', overflow = false;
	uint64_t v = 0;

	if (*s == '-' || *s == '+')
		s++;
	if (!take_digits(&s, INT64_MAX, &v, &overflow) || *skip_blanks(s))
		return xml_fail(ctx, PVV_EXML, node, pos, "%s%s'%s' is not a decimal number", what,
				space, text);
	if (overflow)
		return xml_fail(ctx, PVV_EXML, node, pos, "%s%s'%s' does not fit 64 bits", what,
				space, text);
	*ret_value = negative ? -(int64_t)v : (int64_t)v;
	return PVV_OK;
}

/* "attribute 'port'" */
struct what {
	char text[64];
};

static struct what attr_what(const char *name)
{
	struct what w;

	/* The longest attribute's name has 16 characters. */
	snprintf(w.text, sizeof(w.text), "attribute '%s'", name);
	return w;
}

int xml_attr_number(struct xml_ctx *ctx, struct tree_node *node, const char *name, uint64_t max,
		    uint64_t *value, bool *ret_present)
{
	const char *text = xml_attr(node, name);

	if (ret_present)
		*ret_present = text != NULL;
	if (!text)
		return PVV_OK;
	return xml_number(ctx, node, xml_attr_pos(node, name), attr_what(name).text, text, max,
			  value);
}

int xml_attr_u32(struct xml_ctx *ctx, struct tree_node *node, const char *name, uint32_t *value)
{
	uint64_t v = *value;

	XML_CHECK(xml_attr_number(ctx, node, name, UINT32_MAX, &v, NULL));
	*value = (uint32_t)v;
	return PVV_OK;
}

int xml_enum(struct xml_ctx *ctx, const struct tree_node *node, const struct tree_pos *pos,
	     const char *what, const char *text, const char *const *names, unsigned int *ret_value)
{
	struct strbuf sb = STRBUF_INIT;

	for (unsigned int i = 0; names[i]; i++) {
		if (strcmp(names[i], text) == 0) {
			*ret_value = i;
			return PVV_OK;
		}
	}
	for (unsigned int i = 0; names[i]; i++) {
		const char *before = !i ? "" : names[i + 1] ? ", " : " or ";

		strbuf_printf(&sb, "%s'%s'", before, names[i]);
	}
	int r = xml_fail(ctx, PVV_EUNSUPPORTED, node, pos, "%s%s'%s' is not supported (use %s)",
			 what, *what ? " " : "", text, sb.s ? sb.s : "another");
	strbuf_clear(&sb);
	return r;
}

int xml_attr_enum(struct xml_ctx *ctx, struct tree_node *node, const char *name,
		  const char *const *names, unsigned int *value)
{
	const char *text = xml_attr(node, name);

	if (!text)
		return PVV_OK;
	return xml_enum(ctx, node, xml_attr_pos(node, name), name, text, names, value);
}

int xml_attr_onoff(struct xml_ctx *ctx, struct tree_node *node, const char *name,
		   enum config_tristate *value)
{
	static const char *const names[] = {"on", "off", NULL};
	unsigned int v = ~0u;

	XML_CHECK(xml_attr_enum(ctx, node, name, names, &v));
	if (v != ~0u)
		*value = v ? CONFIG_OFF : CONFIG_ON;
	return PVV_OK;
}

int xml_attr_yesno(struct xml_ctx *ctx, struct tree_node *node, const char *name, bool *value)
{
	static const char *const names[] = {"no", "yes", NULL};
	unsigned int v = ~0u;

	XML_CHECK(xml_attr_enum(ctx, node, name, names, &v));
	if (v != ~0u)
		*value = v;
	return PVV_OK;
}

/* strcasecmp() goes by the embedding program's locale, in which an I may not be an i. */
static bool same_letters(const char *a, const char *lower)
{
	for (; *a && *lower; a++, lower++)
		if ((*a >= 'A' && *a <= 'Z' ? *a + ('a' - 'A') : *a) != *lower)
			return false;
	return *a == *lower;
}

uint64_t xml_unit(const char *unit)
{
	static const char lower[] = "kmgtpe", upper[] = "KMGTPE";
	uint64_t scale = 1;

	if (same_letters(unit, "b") || same_letters(unit, "byte") || same_letters(unit, "bytes"))
		return 1;
	if (!*unit)
		return 0;
	const char *l = strchr(lower, *unit), *u = strchr(upper, *unit);
	if (!l && !u)
		return 0;
	/* KB = 1000, K and KiB = 1024. */
	bool decimal = same_letters(unit + 1, "b");
	if (!decimal && unit[1] && !same_letters(unit + 1, "ib"))
		return 0;
	for (ptrdiff_t i = l ? l - lower : u - upper; i >= 0; i--)
		scale *= decimal ? 1000 : 1024;
	return scale;
}

int xml_size(struct xml_ctx *ctx, struct tree_node *node, uint64_t *ret_bytes)
{
	const char *unit = xml_attr(node, "unit");
	const char *text = xml_token(ctx, node);
	uint64_t scale = xml_unit(unit ? unit : "KiB");
	uint64_t v, kib;

	if (!text)
		return PVV_ENOMEM;
	if (!scale)
		return xml_fail(ctx, PVV_EXML, node, xml_attr_pos(node, "unit"),
				"unit '%s' is unknown (use 'b', 'KiB', 'MiB', 'GiB', ...)", unit);
	XML_CHECK(xml_number(ctx, node, NULL, "", text, UINT64_MAX, &v));
	/* libvirt's rounding to KiB first, then ours to what the ABI's tools deal in. */
	if (__builtin_mul_overflow(v, scale, &v) || __builtin_add_overflow(v, 1023, &kib) ||
	    !config_round_memory(kib & ~1023ull, ret_bytes))
		return xml_fail(ctx, PVV_EXML, node, NULL, "%s %s is too large", text,
				unit ? unit : "KiB");
	return PVV_OK;
}
