/* SPDX-License-Identifier: MIT */
/* Makes small ELF images, sound ones and others, for the tests of the image loader. */
#ifndef PVV_TEST_MKELF_H
#define PVV_TEST_MKELF_H

#include <elf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "domain/image/image.h"

enum mkelf_notes { MKELF_PT_NOTE, MKELF_SHT_NOTE, MKELF_LEGACY };

struct mkelf {
	Elf64_Ehdr eh;
	Elf64_Phdr ph[80];
	unsigned int nr_ph;
	uint8_t notes[8192];
	size_t notes_size;
	char legacy[4096]; /* text of __xen_guest */
	enum mkelf_notes where;
	/* Set by mkelf_finish(): the file, for free(). Headers may be changed in place with
	 * mkelf_ehdr(), mkelf_phdr(). */
	uint8_t *data;
	size_t size;
	size_t notes_offset;
};

/* Headers of an x86-64 executable, nothing else. */
void mkelf_init(struct mkelf *m);
void mkelf_segment(struct mkelf *m, uint64_t paddr, uint64_t vaddr, uint64_t filesz,
		   uint64_t memsz);
void mkelf_note(struct mkelf *m, uint32_t type, const void *desc, uint32_t size);
/* A note whose header claims `claimed` bytes; must be the last. */
void mkelf_note_lies(struct mkelf *m, uint32_t type, const void *desc, uint32_t size,
		     uint32_t claimed);
void mkelf_text(struct mkelf *m, uint32_t type, const char *text);
void mkelf_number(struct mkelf *m, uint32_t type, uint64_t value);
/*
 * Lay the file out. The bytes of segment i are (i + offset in it) * 7. Can be called once; the
 * file's order is headers, notes, segments (page aligned), sections.
 */
void mkelf_finish(struct mkelf *m);
Elf64_Ehdr *mkelf_ehdr(struct mkelf *m);
Elf64_Phdr *mkelf_phdr(struct mkelf *m, unsigned int i);
void mkelf_free(struct mkelf *m);
uint8_t mkelf_byte(unsigned int segment, uint64_t offset);

/* A startable kernel: one segment of 64 KiB plus 64 KiB bss at `paddr`, VIRT_BASE `base`. */
void mkelf_kernel(struct mkelf *m, uint64_t base, uint64_t paddr);
/* Load what mkelf_finish() made. */
int mkelf_load(const struct mkelf *m, unsigned int flags, struct image **ret);
int mkelf_load_bytes(const void *data, size_t size, unsigned int flags, struct image **ret);

#endif
