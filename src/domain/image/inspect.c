/* SPDX-License-Identifier: MIT */
#include "domain/image/inspect.h"

#include <elf.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xen/elfnote.h>

#include "domain/image/internal.h"

static const char *from_name(enum image_notes_from from)
{
	static const char *const names[] = {
		[IMAGE_NOTES_NONE] = "none",
		[IMAGE_NOTES_PHDR] = "PT_NOTE",
		[IMAGE_NOTES_SHDR] = "SHT_NOTE",
		[IMAGE_NOTES_LEGACY] = "__xen_guest",
	};

	return names[from];
}

enum note_kind { NOTE_NUMBER, NOTE_TEXT, NOTE_PAIRS, NOTE_BYTES };

static enum note_kind note_kind(uint32_t type)
{
	switch (type) {
	case XEN_ELFNOTE_INFO:
	case XEN_ELFNOTE_XEN_VERSION:
	case XEN_ELFNOTE_GUEST_OS:
	case XEN_ELFNOTE_GUEST_VERSION:
	case XEN_ELFNOTE_LOADER:
	case XEN_ELFNOTE_PAE_MODE:
	case XEN_ELFNOTE_FEATURES:
	case XEN_ELFNOTE_BSD_SYMTAB:
		return NOTE_TEXT;
	case XEN_ELFNOTE_L1_MFN_VALID:
		return NOTE_PAIRS;
	default:
		return image_note_name(type) ? NOTE_NUMBER : NOTE_BYTES;
	}
}

/* A note's value; texts from the file come out printable, long ones end in "...". */
static void note_value(const struct image_note *n, char *dst, size_t size)
{
	char text[IMAGE_STRING_MAX];

	switch (note_kind(n->type)) {
	case NOTE_TEXT:
		image_copy_text(text, sizeof(text), n->desc, n->size);
		snprintf(dst, size, "%s%s", text, n->size > sizeof(text) ? "..." : "");
		return;
	case NOTE_NUMBER:
		if (n->size >= 4) {
			snprintf(dst, size, "%#" PRIx64,
				 n->size >= 8 ? get64(n->desc) : get32(n->desc));
			return;
		}
		break;
	case NOTE_PAIRS:
		if (n->size >= 16) {
			snprintf(dst, size, "mask %#" PRIx64 " value %#" PRIx64, get64(n->desc),
				 get64(n->desc + 8));
			return;
		}
		break;
	case NOTE_BYTES:
		break;
	}
	snprintf(dst, size, "(%u bytes)", n->size);
}

static void note_label(const struct image_note *n, char *dst, size_t size)
{
	const char *name = image_note_name(n->type);

	if (name)
		snprintf(dst, size, "%s", name);
	else
		snprintf(dst, size, "type %u", n->type);
}

/* The next region behind `pfn`; NULL after the last. Regions do not overlap. */
static const struct build_region *next_region(const struct build_layout *l, uint64_t pfn)
{
	const struct build_region *next = NULL;

	for (unsigned int i = 0; i < BUILD_NR_REGIONS; i++) {
		const struct build_region *r = &l->region[i];

		if (r->nr && r->pfn >= pfn && (!next || r->pfn < next->pfn))
			next = r;
	}
	return next;
}

static void text_layout(FILE *f, const struct build_layout *l, uint64_t nr_pages)
{
	const struct build_region *r;

	fprintf(f, "layout in %" PRIu64 " MiB:\n", nr_pages >> 8);
	for (r = next_region(l, 0); r; r = next_region(l, r->pfn + r->nr)) {
		fprintf(f, "  %-24s pfn %#9" PRIx64 " +%#8" PRIx64, r->name, r->pfn, r->nr);
		if (r->va != BUILD_UNMAPPED)
			fprintf(f, "  at 0x%016" PRIx64 "\n", r->va);
		else if (r == &l->region[BUILD_P2M])
			fprintf(f, "  at 0x%016" PRIx64 " (INIT_P2M)\n", l->p2m_va);
		else
			fprintf(f, "  not mapped\n");
	}
	fprintf(f,
		"  initial mapping          %#" PRIx64 " to %#" PRIx64 "\n"
		"  first vCPU               rip %#" PRIx64 " rsi %#" PRIx64 " rsp %#" PRIx64
		" cr3 pfn %#" PRIx64 "\n",
		l->virt_base, l->virt_end, l->entry, l->start_info, l->stack, l->root);
}

static void text_features(FILE *f, const char *label, uint32_t bits)
{
	if (!bits)
		return;
	fprintf(f, "%s", label);
	for (unsigned int i = 0; i < 32; i++) {
		if (!(bits & 1u << i))
			continue;
		const char *name = image_feature_name(i);

		if (name)
			fprintf(f, " %s", name);
		else
			fprintf(f, " bit%u", i);
	}
	fputc('\n', f);
}

char *image_inspect_text(const struct image *img, const struct build_layout *layout,
			 uint64_t nr_pages)
{
	char *text = NULL, label[64], value[2 * IMAGE_STRING_MAX];
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return NULL;
	fprintf(f, "format:       ");
	if (img->file_compression != IMAGE_PLAIN)
		fprintf(f, "%s of ", image_compression_name(img->file_compression));
	if (img->format == IMAGE_BZIMAGE)
		fprintf(f,
			"Linux bzImage (boot protocol %u.%02u), payload %s at %#" PRIx64
			" +%#" PRIx64 "\n",
			img->boot_protocol >> 8, img->boot_protocol & 0xff,
			image_compression_name(img->payload_compression), img->payload_offset,
			img->payload_size);
	else
		fprintf(f, "ELF\n");
	if (img->kernel_version[0])
		fprintf(f, "kernel:       %s\n", img->kernel_version);
	fprintf(f, "size:         %" PRIu64 " bytes, unpacked %" PRIu64 "\n", img->file_size,
		img->elf_size);
	if (img->refused[0])
		fprintf(f, "startable:    no, it %s\n", img->refused);
	else
		fprintf(f, "startable:    yes\n");
	if (img->nr_segments) {
		fprintf(f, "segments:\n");
		for (unsigned int i = 0; i < img->nr_segments; i++) {
			const struct image_segment *s = &img->segment[i];

			fprintf(f,
				"  physical 0x%09" PRIx64 " to 0x%09" PRIx64
				"  virtual 0x%016" PRIx64 "  file 0x%09" PRIx64 " +%#" PRIx64
				"  %c%c%c\n",
				s->paddr, s->paddr + s->memsz, s->vaddr, s->offset, s->filesz,
				s->flags & PF_R ? 'r' : '-', s->flags & PF_W ? 'w' : '-',
				s->flags & PF_X ? 'x' : '-');
		}
	}
	fprintf(f, "notes (%s):\n", from_name(img->notes_from));
	for (unsigned int i = 0; i < img->nr_notes; i++) {
		note_label(&img->note[i], label, sizeof(label));
		note_value(&img->note[i], value, sizeof(value));
		fprintf(f, "  %-20s %s%s\n", label, value,
			img->note[i].clamped ? " (its size is wrong, clamped)" : "");
	}
	if (img->nr_notes_ignored)
		fprintf(f, "  and %u more\n", img->nr_notes_ignored);
	text_features(f, "features required:  ", img->features_required);
	text_features(f, "features supported: ", img->features_supported);
	if (layout)
		text_layout(f, layout, nr_pages);
	if (fclose(f) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

/* A JSON string; what comes from files is printable ASCII already, quotes and \ are left to do. */
static void json_string(FILE *f, const char *s)
{
	fputc('"', f);
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == '"' || c == '\\')
			fprintf(f, "\\%c", c);
		else if (c < 0x20 || c == 0x7f)
			fprintf(f, "\\u%04x", c);
		else
			fputc(c, f);
	}
	fputc('"', f);
}

static void json_member(FILE *f, const char *key, const char *value)
{
	fprintf(f, "\"%s\": ", key);
	json_string(f, value);
	fprintf(f, ",\n  ");
}

/* 64-bit numbers are strings: JSON readers keep 53 bits. */
static void json_hex(FILE *f, const char *key, uint64_t v, const char *end)
{
	fprintf(f, "\"%s\": \"%#" PRIx64 "\"%s", key, v, end);
}

static void json_layout(FILE *f, const struct build_layout *l, uint64_t nr_pages)
{
	const struct build_region *r;
	const char *sep = "";

	fprintf(f, ",\n  \"layout\": {\"memory_pages\": %" PRIu64 ", ", nr_pages);
	json_hex(f, "virt_base", l->virt_base, ", ");
	json_hex(f, "virt_end", l->virt_end, ", ");
	json_hex(f, "rip", l->entry, ", ");
	json_hex(f, "rsi", l->start_info, ", ");
	json_hex(f, "rsp", l->stack, ", ");
	json_hex(f, "p2m", l->p2m_va, ", ");
	fprintf(f, "\"root_pfn\": %" PRIu64 ", \"regions\": [", l->root);
	for (r = next_region(l, 0); r; r = next_region(l, r->pfn + r->nr)) {
		fprintf(f,
			"%s\n    {\"name\": \"%s\", \"pfn\": %" PRIu64 ", \"pages\": %" PRIu64
			", \"va\": ",
			sep, r->name, r->pfn, r->nr);
		if (r->va == BUILD_UNMAPPED)
			fprintf(f, "null}");
		else
			fprintf(f, "\"%#" PRIx64 "\"}", r->va);
		sep = ",";
	}
	fprintf(f, "\n  ]}");
}

char *image_inspect_json(const struct image *img, const struct build_layout *layout,
			 uint64_t nr_pages)
{
	char *text = NULL, label[64], value[2 * IMAGE_STRING_MAX];
	size_t size = 0;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return NULL;
	fprintf(f, "{\n  ");
	json_member(f, "format", image_format_name(img->format));
	json_member(f, "file_compression", image_compression_name(img->file_compression));
	json_member(f, "payload_compression", image_compression_name(img->payload_compression));
	json_member(f, "kernel_version", img->kernel_version);
	fprintf(f, "\"file_size\": %" PRIu64 ",\n  \"unpacked_size\": %" PRIu64 ",\n  ",
		img->file_size, img->elf_size);
	fprintf(f, "\"startable\": %s,\n  ", img->refused[0] ? "false" : "true");
	json_member(f, "refused", img->refused);
	json_member(f, "notes_from", from_name(img->notes_from));
	fprintf(f, "\"segments\": [");
	for (unsigned int i = 0; i < img->nr_segments; i++) {
		const struct image_segment *s = &img->segment[i];

		fprintf(f, "%s\n    {", i ? "," : "");
		json_hex(f, "paddr", s->paddr, ", ");
		json_hex(f, "vaddr", s->vaddr, ", ");
		json_hex(f, "filesz", s->filesz, ", ");
		json_hex(f, "memsz", s->memsz, ", ");
		fprintf(f, "\"flags\": %u}", s->flags);
	}
	fprintf(f, "\n  ],\n  \"notes\": [");
	for (unsigned int i = 0; i < img->nr_notes; i++) {
		note_label(&img->note[i], label, sizeof(label));
		note_value(&img->note[i], value, sizeof(value));
		fprintf(f, "%s\n    {\"name\": \"%s\", \"type\": %u, \"value\": ", i ? "," : "",
			label, img->note[i].type);
		json_string(f, value);
		fprintf(f, ", \"clamped\": %s}", img->note[i].clamped ? "true" : "false");
	}
	fprintf(f, "\n  ]");
	if (layout)
		json_layout(f, layout, nr_pages);
	fprintf(f, "\n}\n");
	if (fclose(f) != 0) {
		free(text);
		return NULL;
	}
	return text;
}
