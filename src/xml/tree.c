/* SPDX-License-Identifier: MIT */
/* Building the tree from libxml2's SAX events. */
#include "xml/tree.h"

#include <stdlib.h>
#include <string.h>

#include <libxml/parser.h>
#include <libxml/parserInternals.h>

#include "util/err.h"
#include "xml/guard.h"

struct tree_block {
	struct tree_block *next;
	size_t used, size;
	_Alignas(16) char data[];
};

#define BLOCK_SIZE 16384u

void *tree_alloc(struct tree *tree, size_t size)
{
	struct tree_block *b = tree->blocks;

	size = (size + 15) & ~(size_t)15;
	if (!b || b->size - b->used < size) {
		size_t room = size > BLOCK_SIZE ? size : BLOCK_SIZE;

		b = calloc(1, sizeof(*b) + room);
		if (!b)
			return NULL;
		b->size = room;
		b->next = tree->blocks;
		tree->blocks = b;
	}
	void *p = b->data + b->used;
	b->used += size;
	return p;
}

void tree_free(struct tree *tree)
{
	while (tree->blocks) {
		struct tree_block *b = tree->blocks;

		tree->blocks = b->next;
		free(b);
	}
	tree->root = NULL;
}

const char *tree_namespace(const struct tree_node *node, const char *prefix)
{
	for (; node; node = node->parent) {
		for (size_t i = 0; i < node->nr_decls; i++) {
			const struct tree_ns *d = &node->decls[i];

			if ((!prefix && !d->prefix) ||
			    (prefix && d->prefix && strcmp(prefix, d->prefix) == 0))
				return d->uri;
		}
	}
	return NULL;
}

struct builder {
	struct tree *tree;
	xmlParserCtxtPtr parser;
	const char *text; /* the input, for positions */
	size_t len;
	size_t at; /* `pos` is the position of this byte */
	struct tree_pos pos;
	const char *filename;
	struct tree_node *current;
	struct strbuf pending; /* text since the last tag */
	unsigned int depth;
	size_t nr_decls;
	int error; /* the first one, already recorded */
};

static bool stopped(const struct builder *b)
{
	return b->error != PVV_OK;
}

static void stop(struct builder *b, int error)
{
	if (stopped(b))
		return;
	b->error = error;
	xmlStopParser(b->parser);
}

static void stop_nomem(struct builder *b)
{
	if (!stopped(b))
		stop(b, err_nomem(PVV_SUBSYS_XML, "reading the domain XML"));
}

static const char *copy(struct builder *b, const char *s, size_t len)
{
	char *p = tree_alloc(b->tree, len + 1);

	if (p)
		memcpy(p, s, len);
	else
		stop_nomem(b);
	return p;
}

static const char *copy_string(struct builder *b, const xmlChar *s)
{
	return s ? copy(b, (const char *)s, strlen((const char *)s)) : NULL;
}

static struct tree_node *append(struct builder *b, enum tree_kind kind)
{
	struct tree_node *node = tree_alloc(b->tree, sizeof(*node));

	if (!node) {
		stop_nomem(b);
		return NULL;
	}
	node->kind = kind;
	node->parent = b->current;
	if (!b->current) {
		b->tree->root = node;
	} else {
		if (b->current->last)
			b->current->last->next = node;
		else
			b->current->first = node;
		b->current->last = node;
	}
	return node;
}

/* Text arrives in pieces; it becomes a node when the next tag or comment comes. */
static void flush_text(struct builder *b)
{
	if (!b->pending.len || !b->current || stopped(b))
		return;
	struct tree_node *node = append(b, TREE_TEXT);
	if (!node)
		return;
	node->text = copy(b, b->pending.s, b->pending.len);
	strbuf_truncate(&b->pending, 0);
}

/*
 * libxml2 reports a tag when it has read it up to its '>'. A start tag contains no '<' but its
 * first character, so that one is found by going back.
 */
static size_t tag_start(struct builder *b)
{
	long consumed = xmlByteConsumed(b->parser);
	size_t end = consumed < 0 ? b->at : (size_t)consumed;

	if (end > b->len)
		end = b->len;
	while (end > b->at && b->text[end - 1] != '<')
		end--;
	return end > b->at ? end - 1 : b->at;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/*
 * Where the attributes of the tag at b->at begin. libxml2 reports them in the order of the text,
 * without the namespace declarations; the tag is known to be well-formed.
 */
static void locate_attrs(const struct builder *b, struct tree_node *node)
{
	struct tree_pos pos = b->pos;
	size_t at = b->at, i = b->at + 1, nr = 0;

	while (i < b->len && !is_space(b->text[i]) && b->text[i] != '>' && b->text[i] != '/')
		i++;
	while (nr < node->nr_attrs) {
		while (i < b->len && is_space(b->text[i]))
			i++;
		const char *name = b->text + i;
		const char *end = memchr(name, '=', b->len - i);
		if (!end)
			break;
		guard_locate(b->text, i, &at, &pos);
		size_t left = b->len - i;
		bool decl = left > 6 && memcmp(name, "xmlns", 5) == 0 &&
			    (name[5] == ':' || name[5] == '=' || is_space(name[5]));
		if (!decl)
			node->attrs[nr++].pos = pos;
		i = (size_t)(end - b->text) + 1;
		while (i < b->len && b->text[i] != '"' && b->text[i] != '\'')
			i++;
		if (i >= b->len)
			break;
		const char *close = memchr(b->text + i + 1, b->text[i], b->len - i - 1);
		if (!close)
			break;
		i = (size_t)(close - b->text) + 1;
	}
}

static void take_attrs(struct builder *b, struct tree_node *node, int nr, const xmlChar **attrs)
{
	node->attrs = tree_alloc(b->tree, (size_t)nr * sizeof(*node->attrs));
	if (!node->attrs) {
		stop_nomem(b);
		return;
	}
	for (int i = 0; i < nr && !stopped(b); i++, attrs += 5) {
		struct tree_attr *a = &node->attrs[i];

		a->name = copy_string(b, attrs[0]);
		a->prefix = copy_string(b, attrs[1]);
		a->ns = copy_string(b, attrs[2]);
		a->value = copy(b, (const char *)attrs[3], (size_t)(attrs[4] - attrs[3]));
		a->pos = b->pos;
		node->nr_attrs = (size_t)i + 1;
	}
	locate_attrs(b, node);
}

static void take_decls(struct builder *b, struct tree_node *node, int nr, const xmlChar **decls)
{
	node->decls = tree_alloc(b->tree, (size_t)nr * sizeof(*node->decls));
	if (!node->decls) {
		stop_nomem(b);
		return;
	}
	for (int i = 0; i < nr && !stopped(b); i++, decls += 2) {
		node->decls[i].prefix = copy_string(b, decls[0]);
		node->decls[i].uri = decls[1] ? copy_string(b, decls[1]) : "";
		node->nr_decls = (size_t)i + 1;
	}
}

static int limit(struct builder *b, const char *what, unsigned int most)
{
	return err_set(PVV_ELIMIT, PVV_SUBSYS_XML, b->filename, "%s:%u:%u: more than %u %s",
		       b->filename, b->pos.line, b->pos.column, most, what);
}

static void on_start(void *opaque, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri,
		     int nr_decls, const xmlChar **decls, int nr_attrs, int nr_defaulted,
		     const xmlChar **attrs)
{
	struct builder *b = opaque;

	if (stopped(b))
		return;
	flush_text(b);
	guard_locate(b->text, tag_start(b), &b->at, &b->pos);
	b->nr_decls += (size_t)nr_decls;
	if (++b->depth > TREE_MAX_DEPTH)
		stop(b, limit(b, "levels of elements", TREE_MAX_DEPTH));
	else if ((unsigned int)nr_attrs > TREE_MAX_ATTRIBUTES)
		stop(b, limit(b, "attributes of one element", TREE_MAX_ATTRIBUTES));
	else if (b->nr_decls > TREE_MAX_NAMESPACES)
		stop(b, limit(b, "namespace declarations", TREE_MAX_NAMESPACES));
	struct tree_node *node = stopped(b) ? NULL : append(b, TREE_ELEMENT);
	if (!node)
		return;
	node->name = copy_string(b, name);
	node->prefix = copy_string(b, prefix);
	node->ns = copy_string(b, uri);
	node->pos = b->pos;
	if (nr_decls)
		take_decls(b, node, nr_decls, decls);
	if (nr_attrs && !stopped(b))
		take_attrs(b, node, nr_attrs, attrs);
	b->current = node;
}

static void on_end(void *opaque, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri)
{
	struct builder *b = opaque;

	flush_text(b);
	if (stopped(b))
		return;
	b->depth--;
	/* The root stays: nothing but comments can follow, and they have nowhere to go. */
	b->current = b->current->parent;
}

static void on_text(void *opaque, const xmlChar *s, int len)
{
	struct builder *b = opaque;

	if (stopped(b) || !b->current)
		return;
	strbuf_add(&b->pending, (const char *)s, (size_t)len);
	if (b->pending.failed)
		stop_nomem(b);
}

static void on_comment(void *opaque, const xmlChar *s)
{
	struct builder *b = opaque;

	flush_text(b);
	if (stopped(b) || !b->current)
		return;
	struct tree_node *node = append(b, TREE_COMMENT);
	if (node)
		node->text = copy_string(b, s);
}

/* The guard has refused these already; this is the second lock on the same door. */
static void on_doctype(void *opaque, const xmlChar *name, const xmlChar *public_id,
		       const xmlChar *system_id)
{
	struct builder *b = opaque;

	if (!stopped(b))
		stop(b, err_set(PVV_EXML, PVV_SUBSYS_XML, b->filename,
				"%s: document type declarations are not accepted", b->filename));
}

static void on_error(void *opaque, xmlErrorPtr e)
{
	struct builder *b = opaque;

	/* Not stop(): the parser's functions that raise errors go on using their buffers. */
	if (stopped(b) || e->level < XML_ERR_ERROR)
		return;
	if (e->code == XML_ERR_NO_MEMORY) {
		b->error = err_nomem(PVV_SUBSYS_XML, "reading the domain XML");
		return;
	}
	/* Some messages quote the document, line feeds included. */
	const char *message = e->message ? e->message : "unknown error";
	size_t n = strcspn(message, "\r\n");
	b->error = err_set(PVV_EXML, PVV_SUBSYS_XML, b->filename,
			   "%s:%d:%d: not well-formed XML: %.*s", b->filename,
			   e->line > 0 ? e->line : 1, e->int2 > 0 ? e->int2 : 1, (int)n, message);
}

static void set_handlers(xmlSAXHandler *sax)
{
	memset(sax, 0, sizeof(*sax));
	sax->initialized = XML_SAX2_MAGIC;
	sax->startElementNs = on_start;
	sax->endElementNs = on_end;
	sax->characters = on_text;
	sax->ignorableWhitespace = on_text;
	sax->cdataBlock = on_text;
	sax->comment = on_comment;
	sax->internalSubset = on_doctype;
	sax->serror = on_error;
}

/*
 * libxml2 notes the last error of a thread, whoever handled it. The embedding program may be about
 * to look at its own.
 */
static bool save_last_error(xmlError *saved)
{
	const xmlError *last = xmlGetLastError();

	memset(saved, 0, sizeof(*saved));
	return last && xmlCopyError((xmlErrorPtr)last, saved) == 0;
}

static void restore_last_error(xmlError *saved, bool any)
{
	xmlResetLastError();
	if (any)
		xmlCopyError(saved, (xmlErrorPtr)&xmlLastError);
	xmlResetError(saved);
}

static bool run_parser(struct builder *b)
{
	xmlError saved;
	bool any = save_last_error(&saved);

	set_handlers(b->parser->sax);
	b->parser->userData = b;
	/* NOENT: references to characters and to the five entities that every document has are
	 * replaced in attributes too. There are no others without a document type. */
	xmlDocPtr doc = xmlCtxtReadMemory(b->parser, b->text, (int)b->len, NULL, NULL,
					  XML_PARSE_NONET | XML_PARSE_NOENT);
	bool well_formed = b->parser->wellFormed && b->parser->nsWellFormed;
	xmlFreeDoc(doc);
	restore_last_error(&saved, any);
	return well_formed;
}

int tree_build(struct tree *tree, const char *text, size_t len, const char *filename)
{
	struct builder b = {
		.tree = tree, .filename = filename, .text = text, .len = len, .pos = {1, 1}};

	bool well_formed = false;

	*tree = (struct tree){0};
	/*
	 * Failures that libxml2 cannot tie to a parser (memory) go to the thread's handler, which
	 * is the embedding program's, or to its stderr.
	 */
	xmlStructuredErrorFunc theirs = xmlStructuredError;
	void *their_context = xmlStructuredErrorContext;
	xmlSetStructuredErrorFunc(&b, on_error);
	b.parser = xmlNewParserCtxt();
	if (b.parser)
		well_formed = run_parser(&b);
	else
		b.error = err_nomem(PVV_SUBSYS_XML, "reading the domain XML");
	xmlFreeParserCtxt(b.parser);
	xmlSetStructuredErrorFunc(their_context, theirs);
	strbuf_clear(&b.pending);
	if (b.error == PVV_OK && (!well_formed || !tree->root))
		b.error = err_set(PVV_EXML, PVV_SUBSYS_XML, filename,
				  "%s:1:1: not a well-formed XML document", filename);
	if (b.error != PVV_OK)
		tree_free(tree);
	return b.error;
}
