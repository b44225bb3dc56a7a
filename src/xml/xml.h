/* SPDX-License-Identifier: MIT */
/*
 * libvirt's domain XML to struct config and back. What each element means to us is listed in
 * doc/domain-xml.md; the files of this folder hold one element family each, its parser next to its
 * formatter.
 *
 * No global state of libxml2 is changed and nothing is printed; any thread may call.
 */
#ifndef PVV_XML_XML_H
#define PVV_XML_XML_H

#include <stddef.h>
#include <stdint.h>

struct config;

#define XML_STRICT 1ull /* refuse what would otherwise be a warning; PVV_XML_STRICT */

#define XML_MAX_SIZE (1u << 20) /* bytes of a document */

struct xml_warning {
	unsigned int line, column; /* from 1; columns count characters */
	char *text;		   /* "domain.xml:14:5: <sound> is not supported and ignored" */
};

struct xml_warnings {
	struct xml_warning *items;
	size_t nr;
};

/*
 * Parse a domain. `filename` is for messages only (NULL: "domain.xml"). The document must be UTF-8
 * without a document type declaration, at most XML_MAX_SIZE bytes. The result is what the document
 * says plus the constant defaults: call config_complete() for the rest.
 *
 * On success *ret_warnings (may be NULL) names everything that was ignored, in document order; it
 * is overwritten, and freed with xml_warnings_clear(). On failure *ret_config is NULL and the list
 * is empty. Errors: PVV_EXML (with "file:line:column: <element>: what is wrong"), PVV_EUNSUPPORTED
 * (well-formed and known to libvirt, but not something we run: hvm, a network disk), PVV_ELIMIT,
 * PVV_ENOMEM, PVV_EINVAL (unknown flags).
 */
int xml_parse(const char *text, size_t len, const char *filename, uint64_t flags,
	      struct config **ret_config, struct xml_warnings *ret_warnings);

void xml_warnings_clear(struct xml_warnings *warnings);

/*
 * The canonical document of a configuration: valid under libvirt's domain.rng, and parsing it gives
 * the same configuration (but for the numbers of descriptors). *ret_text is malloc'ed. Errors: as
 * config_check(), PVV_ENOMEM; PVV_EINVAL also if a string cannot be written in XML.
 */
int xml_format(const struct config *cfg, char **ret_text);

#endif
