/* SPDX-License-Identifier: MIT */
/*
 * What a document must be before libxml2 sees it: small, UTF-8, without a document type
 * declaration (hence without entities of its own and without references to other files), and
 * without the shapes that make a parser slow.
 */
#ifndef PVV_XML_GUARD_H
#define PVV_XML_GUARD_H

#include <stddef.h>

#include "xml/tree.h"

/* Errors: PVV_EXML, PVV_ELIMIT. */
int guard_check(const char *text, size_t len, const char *filename);

/* The position of byte `offset`, going on from *pos at byte *at, both of which are advanced. */
void guard_locate(const char *text, size_t offset, size_t *at, struct tree_pos *pos);

#endif
