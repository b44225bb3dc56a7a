/* SPDX-License-Identifier: MIT */
/*
 * A document in memory, built from libxml2's SAX events. libxml2's own tree is not used because it
 * has no columns, because its node callbacks and defaults are process-wide settings of the
 * embedding program, and because ours can mark what has been looked at: whatever is still unmarked
 * when the parser is done was ignored, and becomes a warning (see warn.c).
 *
 * Everything lies in one arena and is freed at once.
 */
#ifndef PVV_XML_TREE_H
#define PVV_XML_TREE_H

#include <stdbool.h>
#include <stddef.h>

#include "util/strbuf.h"

#define TREE_MAX_DEPTH	    64u
#define TREE_MAX_ATTRIBUTES 256u /* of one element */
#define TREE_MAX_NAMESPACES 256u /* declarations in the document */

struct tree_pos { /* from 1, columns in characters */
	unsigned int line, column;
};

struct tree_attr {
	const char *name, *prefix, *ns; /* prefix, ns: NULL if none */
	const char *value;
	struct tree_pos pos;
	bool used;
};

struct tree_ns {	    /* a namespace declaration */
	const char *prefix; /* NULL: the default namespace */
	const char *uri;    /* "": none */
};

enum tree_kind {
	TREE_ELEMENT,
	TREE_TEXT,
	TREE_COMMENT,
};

struct tree_node {
	enum tree_kind kind;
	const char *name, *prefix, *ns; /* elements; prefix, ns: NULL if none */
	const char *text;		/* text and comments */
	struct tree_attr *attrs;
	size_t nr_attrs;
	struct tree_ns *decls;
	size_t nr_decls;
	struct tree_node *parent, *first, *last, *next;
	struct tree_pos pos; /* elements: of the '<' */
	bool used;	     /* the element itself has been looked at */
	bool text_used;	     /* so has its text */
	bool opaque;	     /* taken whole: nothing below is a warning */
};

struct tree {
	struct tree_node *root;
	struct tree_block *blocks; /* the arena */
};

/*
 * Build the tree of `text`, which guard_check() has passed. `filename` starts the messages. On
 * failure the error is recorded, the tree empty. Errors: PVV_EXML, PVV_ELIMIT, PVV_ENOMEM.
 */
int tree_build(struct tree *tree, const char *text, size_t len, const char *filename);
void tree_free(struct tree *tree);

/* Arena allocation, zeroed; NULL if out of memory. */
void *tree_alloc(struct tree *tree, size_t size);

/* What the prefix means at `node`: its namespace, or NULL. */
const char *tree_namespace(const struct tree_node *node, const char *prefix);

/*
 * Write an element as XML, with declarations added for the prefixes that it inherits, so that the
 * text stands alone. Parsing the output and writing it again gives the same text.
 */
void tree_serialise(struct strbuf *out, const struct tree_node *node);
/* Text with what XML needs escaped; `attr`: for an attribute's value in single quotes. */
void tree_escape(struct strbuf *out, const char *text, bool attr);

#endif
