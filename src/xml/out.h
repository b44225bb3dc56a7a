/* SPDX-License-Identifier: MIT */
/*
 * Writing the canonical document: two blanks per level, attributes in single quotes, one element
 * per line. Failures (memory, a string that XML cannot hold) stick and are reported at the end.
 */
#ifndef PVV_XML_OUT_H
#define PVV_XML_OUT_H

#include <stdbool.h>
#include <stdint.h>

#include "domain/config.h"
#include "util/strbuf.h"

struct xml_out {
	struct strbuf sb;
	const char *names[8]; /* of the open elements */
	unsigned int depth;
	bool tag_open; /* the last start tag has no '>' yet */
	int error;     /* recorded */
};

void xml_out_start(struct xml_out *out, const char *name);
void xml_out_end(struct xml_out *out);
/* Attributes of the element just started. NULL: none. */
void xml_out_attr(struct xml_out *out, const char *name, const char *value);
void xml_out_attr_number(struct xml_out *out, const char *name, uint64_t value);
void xml_out_attr_onoff(struct xml_out *out, const char *name, enum config_tristate value);
/* <name>text</name>; NULL: nothing. */
void xml_out_text(struct xml_out *out, const char *name, const char *text);
void xml_out_number(struct xml_out *out, const char *name, uint64_t value);
/* <name/> if `present`. */
void xml_out_flag(struct xml_out *out, const char *name, bool present);
/* The text inside the element just started, which then ends. */
void xml_out_end_text(struct xml_out *out, const char *text);
/* A size in KiB with its unit; 0: nothing. */
void xml_out_size(struct xml_out *out, const char *name, uint64_t bytes);
/* An element that is XML already. */
void xml_out_raw(struct xml_out *out, const char *xml);

/* The element families; each writes nothing if there is nothing to say. */
void general_format(struct xml_out *out, const struct config *cfg);
void metadata_format(struct xml_out *out, const struct config *cfg);
void pvvirt_format(struct xml_out *out, const struct config *cfg);
bool pvvirt_wanted(const struct config *cfg);
void memory_format(struct xml_out *out, const struct config *cfg);
void cpu_format(struct xml_out *out, const struct config *cfg);
void os_format(struct xml_out *out, const struct config *cfg);
void features_format(struct xml_out *out, const struct config *cfg);
void clock_format(struct xml_out *out, const struct config *cfg);
void events_format(struct xml_out *out, const struct config *cfg);
void devices_format(struct xml_out *out, const struct config *cfg);
void disk_format(struct xml_out *out, const struct config_disk *disk);
void controller_format(struct xml_out *out, const struct config *cfg);
void interface_format(struct xml_out *out, const struct config_interface *net);
void console_format(struct xml_out *out, const struct config_console *console);
void channel_format(struct xml_out *out, const struct config_channel *channel);
void memballoon_format(struct xml_out *out, const struct config *cfg);
void seclabel_format(struct xml_out *out, const struct config *cfg);

#endif
