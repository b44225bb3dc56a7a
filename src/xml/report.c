/* SPDX-License-Identifier: MIT */
/* Errors and warnings that say where. */
#include "xml/parse.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/err.h"
#include "util/strbuf.h"

/* A document of 1 MiB could ask for 100,000 warnings; nobody reads them. */
#define MAX_WARNINGS 1000u

/* "file:line:column: <name> " */
static void put_start(struct strbuf *sb, const struct xml_ctx *ctx, const struct tree_node *node,
		      const struct tree_pos *pos)
{
	strbuf_printf(sb, "%s:%u:%u: <%s%s%s> ", ctx->filename, pos->line, pos->column,
		      node->prefix ? node->prefix : "", node->prefix ? ":" : "", node->name);
}

int xml_fail(struct xml_ctx *ctx, int code, const struct tree_node *node,
	     const struct tree_pos *pos, const char *fmt, ...)
{
	struct strbuf sb = STRBUF_INIT;
	char text[PVV_ERR_MESSAGE_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	put_start(&sb, ctx, node, pos ? pos : &node->pos);
	strbuf_puts(&sb, text);
	if (sb.failed)
		code = err_nomem(PVV_SUBSYS_XML, "reporting an error of the domain XML");
	else
		err_set(code, PVV_SUBSYS_XML, ctx->filename, "%s", sb.s);
	strbuf_clear(&sb);
	return code;
}

int xml_fail_problem(struct xml_ctx *ctx, const struct tree_node *node,
		     const struct config_problem *problem)
{
	/* In a document a wrong value is a fault of the document. */
	int code = problem->code == PVV_EINVAL ? PVV_EXML : problem->code;

	return xml_fail(ctx, code, node, NULL, "%s", problem->text);
}

static void add_warning(struct xml_ctx *ctx, const struct tree_pos *pos, char *text)
{
	struct xml_warnings *w = &ctx->warnings;

	if (text && (w->nr & (w->nr - 1)) == 0) {
		void *bigger = reallocarray(w->items, w->nr ? w->nr * 2 : 1, sizeof(w->items[0]));

		if (bigger)
			w->items = bigger;
		else
			ctx->failed = true;
	}
	if (!text || ctx->failed) {
		ctx->failed = true;
		free(text);
		return;
	}
	w->items[w->nr++] = (struct xml_warning){pos->line, pos->column, text};
}

void xml_warn(struct xml_ctx *ctx, const struct tree_node *node, const struct tree_pos *pos,
	      const char *fmt, ...)
{
	struct strbuf sb = STRBUF_INIT;
	char text[512];
	va_list ap;

	if (ctx->failed || ctx->warnings.nr > MAX_WARNINGS)
		return;
	if (!pos)
		pos = &node->pos;
	if (ctx->warnings.nr == MAX_WARNINGS) {
		strbuf_printf(&sb, "%s:%u:%u: and more: only the first %u are listed",
			      ctx->filename, pos->line, pos->column, MAX_WARNINGS);
		add_warning(ctx, pos, strbuf_take(&sb));
		return;
	}
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	put_start(&sb, ctx, node, pos);
	strbuf_puts(&sb, text);
	add_warning(ctx, pos, strbuf_take(&sb));
}

void xml_kept(struct xml_ctx *ctx, const struct tree_node *node, const char *why)
{
	xml_warn(ctx, node, NULL, "is kept, but without effect (%s)", why);
}

static int by_position(const void *a, const void *b)
{
	const struct xml_warning *x = a, *y = b;

	if (x->line != y->line)
		return x->line < y->line ? -1 : 1;
	if (x->column != y->column)
		return x->column < y->column ? -1 : 1;
	return strcmp(x->text, y->text);
}

void xml_warnings_sort(struct xml_warnings *warnings)
{
	if (warnings->nr)
		qsort(warnings->items, warnings->nr, sizeof(warnings->items[0]), by_position);
}

void xml_warnings_clear(struct xml_warnings *warnings)
{
	for (size_t i = 0; i < warnings->nr; i++)
		free(warnings->items[i].text);
	free(warnings->items);
	*warnings = (struct xml_warnings){0};
}

/* Elements that people do write for Xen guests, and what they should know. */
static const struct {
	const char *name, *why;
} reasons[] = {
	{"address", "a PV domain has no bus to place a device on"},
	{"alias", "it is chosen by libvirt for a running domain"},
	{"audio", "a PV domain has no sound"},
	{"backingStore", "images are raw and have no backing file"},
	{"bandwidth", "traffic is not shaped"},
	{"blkiotune", "block I/O is not throttled"},
	{"boot", "the kernel or PV GRUB decides what is booted"},
	{"bootmenu", "there is no firmware"},
	{"controller", "only type 'xenbus' means something to a PV domain"},
	{"cpu", "the guest sees the host's processor"},
	{"emulator", "there is no device model"},
	{"filesystem", "host folders cannot be shared with a PV domain"},
	{"filterref", "traffic is not filtered"},
	{"geometry", "a PV disk has no geometry"},
	{"graphics", "a PV domain has no screen, use the console"},
	{"hostdev", "host devices cannot be passed through"},
	{"hub", "there is no USB"},
	{"input", "a PV domain has no screen, use the console"},
	{"iotune", "block I/O is not throttled"},
	{"iothreads", "there is one I/O thread per host handle"},
	{"loader", "a PV domain has no firmware"},
	{"memoryBacking", "memory is one memfd"},
	{"memtune", "memory limits are set with cgroups"},
	{"mirror", "it describes a running job"},
	{"numatune", "memory is not bound to nodes"},
	{"nvram", "a PV domain has no firmware"},
	{"parallel", "a PV domain has no parallel ports"},
	{"pm", "a PV domain has no ACPI"},
	{"redirdev", "there is no USB"},
	{"reconnect", "a lost connection is not made again"},
	{"rng", "there is no PV random number device"},
	{"serial", "a PV domain has no serial ports, use <console>"},
	{"shmem", "memory cannot be shared between domains"},
	{"smartcard", "there are no smart cards"},
	{"sound", "a PV domain has no sound"},
	{"sysinfo", "a PV domain has no SMBIOS"},
	{"timer", "the guest uses Xen's clock"},
	{"tpm", "a PV domain has no TPM"},
	{"video", "a PV domain has no screen, use the console"},
	{"virtualport", "it is left to the script"},
	{"vlan", "it is left to the script"},
	{"vsock", "there are no sockets between host and guest, use <channel>"},
	{"watchdog", "there is no watchdog device"},
};

const char *xml_why_ignored(const struct tree_node *node)
{
	if (node->ns)
		return NULL;
	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (strcmp(reasons[i].name, node->name) == 0)
			return reasons[i].why;
	return NULL;
}

static bool blank(const char *s)
{
	return s[strspn(s, " \t\r\n")] == '\0';
}

static void warn_attrs(struct xml_ctx *ctx, const struct tree_node *node)
{
	for (size_t i = 0; i < node->nr_attrs; i++) {
		const struct tree_attr *a = &node->attrs[i];

		if (!a->used)
			xml_warn(ctx, node, &a->pos, "attribute '%s%s%s' is ignored",
				 a->prefix ? a->prefix : "", a->prefix ? ":" : "", a->name);
	}
}

void xml_warn_unused(struct xml_ctx *ctx, const struct tree_node *node)
{
	if (node->opaque)
		return;
	warn_attrs(ctx, node);
	for (const struct tree_node *c = node->first; c; c = c->next) {
		if (c->kind == TREE_COMMENT)
			continue;
		if (c->kind == TREE_TEXT) {
			if (!node->text_used && !blank(c->text))
				xml_warn(ctx, node, NULL, "text in it is ignored");
			continue;
		}
		if (c->used) {
			xml_warn_unused(ctx, c);
			continue;
		}
		const char *why = xml_why_ignored(c);
		xml_warn(ctx, c, NULL, "is ignored%s%s%s", why ? " (" : "", why ? why : "",
			 why ? ")" : "");
	}
}
