/* SPDX-License-Identifier: MIT */
/*
 * What the parsers of the element families share: a context, the ways to complain, and the ways to
 * look at the tree. Looking at an attribute, child or text marks it as used.
 *
 * Functions that return int record the error themselves and return its code.
 */
#ifndef PVV_XML_PARSE_H
#define PVV_XML_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "domain/config.h"
#include "domain/config_check.h"
#include "xml/tree.h"
#include "xml/xml.h"

#define XML_PVVIRT_NS "https://libpvvirt.org/schemas/domain/1.0"

struct xml_ctx {
	const char *filename;
	struct tree *tree;
	struct xml_warnings warnings;
	bool failed; /* no memory for a warning */
	/* <pvvirt:domain> and its <pvvirt:descriptors>, NULL if there is none. */
	struct tree_node *ours, *descriptors;
};

/* The first `return` on failure of a call that recorded it. */
#define XML_CHECK(call)                                                                            \
	do {                                                                                       \
		int r_ = (call);                                                                   \
		if (r_ < 0)                                                                        \
			return r_;                                                                 \
	} while (0)

/* ---- report.c ---- */

/* "file:line:column: <name> ..." for an element; at `pos` instead of the element's if not NULL. */
int xml_fail(struct xml_ctx *ctx, int code, const struct tree_node *node,
	     const struct tree_pos *pos, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
int xml_fail_problem(struct xml_ctx *ctx, const struct tree_node *node,
		     const struct config_problem *problem);
/* Something was not done as written. */
void xml_warn(struct xml_ctx *ctx, const struct tree_node *node, const struct tree_pos *pos,
	      const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* Kept and written again, but nothing acts on it in this version. */
void xml_kept(struct xml_ctx *ctx, const struct tree_node *node, const char *why);
/* A warning for everything that is not marked as used, from the root down. */
void xml_warn_unused(struct xml_ctx *ctx, const struct tree_node *root);
/* In document order. */
void xml_warnings_sort(struct xml_warnings *warnings);
/* Why an element is not supported ("a PV domain has no screen"), or NULL. */
const char *xml_why_ignored(const struct tree_node *node);

/* ---- access.c: elements ---- */

bool xml_is(const struct tree_node *node, const char *name); /* of no namespace */
bool xml_is_pvvirt(const struct tree_node *node, const char *name);
/* The child of that name, NULL if there is none; a second one is refused. */
int xml_child(struct xml_ctx *ctx, struct tree_node *node, const char *name,
	      struct tree_node **ret_child);
/* Children of that name one after the other: `prev` NULL for the first. */
struct tree_node *xml_next(struct tree_node *node, const char *name, struct tree_node *prev);

/* The text of an element, "" if it has none; NULL: no memory (recorded). */
const char *xml_text(struct xml_ctx *ctx, struct tree_node *node);
/* The same without blanks around it. */
const char *xml_token(struct xml_ctx *ctx, struct tree_node *node);
/* The text of child `name` into an owned string; absent or empty leaves it alone. */
int xml_child_string(struct xml_ctx *ctx, struct tree_node *node, const char *name, char **field,
		     struct tree_node **ret_child);

/* ---- access.c: attributes; NULL or false if there is none ---- */

const char *xml_attr(struct tree_node *node, const char *name);
const struct tree_pos *xml_attr_pos(const struct tree_node *node, const char *name);
int xml_need_attr(struct xml_ctx *ctx, struct tree_node *node, const char *name,
		  const char **ret_value);
/* Into an owned string; absent leaves it alone, empty is refused. */
int xml_attr_string(struct xml_ctx *ctx, struct tree_node *node, const char *name, char **field);

/* ---- value.c ---- */

/* A decimal number with blanks around it, at most `max`. `what` is for the message. */
int xml_number(struct xml_ctx *ctx, const struct tree_node *node, const struct tree_pos *pos,
	       const char *what, const char *text, uint64_t max, uint64_t *ret_value);
int xml_signed(struct xml_ctx *ctx, const struct tree_node *node, const struct tree_pos *pos,
	       const char *what, const char *text, int64_t *ret_value);
/* Attributes; absent ones leave *value alone and *ret_present (may be NULL) false. */
int xml_attr_number(struct xml_ctx *ctx, struct tree_node *node, const char *name, uint64_t max,
		    uint64_t *value, bool *ret_present);
int xml_attr_u32(struct xml_ctx *ctx, struct tree_node *node, const char *name, uint32_t *value);
/*
 * One of `names` (NULL-terminated; NULL entries are written as ""). PVV_EUNSUPPORTED with "is not
 * supported (use ...)" otherwise.
 */
int xml_enum(struct xml_ctx *ctx, const struct tree_node *node, const struct tree_pos *pos,
	     const char *what, const char *text, const char *const *names, unsigned int *ret_value);
int xml_attr_enum(struct xml_ctx *ctx, struct tree_node *node, const char *name,
		  const char *const *names, unsigned int *value);
/* 'on' / 'off'. */
int xml_attr_onoff(struct xml_ctx *ctx, struct tree_node *node, const char *name,
		   enum config_tristate *value);
/* 'yes' / 'no'. */
int xml_attr_yesno(struct xml_ctx *ctx, struct tree_node *node, const char *name, bool *value);
/* A size with its unit attribute, in bytes, rounded up to whole MiB. */
int xml_size(struct xml_ctx *ctx, struct tree_node *node, uint64_t *ret_bytes);
/* The unit's number of bytes, 0 if there is no such unit. */
uint64_t xml_unit(const char *unit);

/* ---- the element families ---- */

int general_parse(struct xml_ctx *ctx, struct tree_node *domain, struct config *cfg);
int os_parse(struct xml_ctx *ctx, struct tree_node *domain, struct config *cfg);
int memory_parse(struct xml_ctx *ctx, struct tree_node *domain, struct config *cfg);
int cpu_parse(struct xml_ctx *ctx, struct tree_node *domain, struct config *cfg);
int events_parse(struct xml_ctx *ctx, struct tree_node *domain, struct config *cfg);
int clock_parse(struct xml_ctx *ctx, struct tree_node *domain, struct config *cfg);
int features_parse(struct xml_ctx *ctx, struct tree_node *domain, struct config *cfg);
int devices_parse(struct xml_ctx *ctx, struct tree_node *domain, struct config *cfg);
int disk_parse(struct xml_ctx *ctx, struct tree_node *node, struct config *cfg);
int interface_parse(struct xml_ctx *ctx, struct tree_node *node, struct config *cfg);
int console_parse(struct xml_ctx *ctx, struct tree_node *node, struct config *cfg);
int channel_parse(struct xml_ctx *ctx, struct tree_node *node, struct config *cfg);
int controller_parse(struct xml_ctx *ctx, struct tree_node *node, struct config *cfg);
int memballoon_parse(struct xml_ctx *ctx, struct tree_node *node, struct config *cfg);
int metadata_parse(struct xml_ctx *ctx, struct tree_node *domain, struct config *cfg);
int seclabel_parse(struct xml_ctx *ctx, struct tree_node *domain, struct config *cfg);

/* ---- pvvirt.c: our own namespace ---- */

/* Finds it; before anything that may be a descriptor. */
int pvvirt_prepare(struct xml_ctx *ctx, struct tree_node *domain);
/* *fd = CONFIG_FD_PENDING if the document says that this device comes as a descriptor. */
void pvvirt_claim(struct xml_ctx *ctx, const char *name, const char *key, int *fd);
/* The rest of it; after everything that claims. */
int pvvirt_parse(struct xml_ctx *ctx, struct config *cfg);

#endif
