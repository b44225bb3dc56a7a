/* SPDX-License-Identifier: MIT */
#include "mkelf.h"

#undef NDEBUG /* asserts here have effects */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <xen/elfnote.h>

void mkelf_init(struct mkelf *m)
{
	memset(m, 0, sizeof(*m));
	memcpy(m->eh.e_ident, ELFMAG, SELFMAG);
	m->eh.e_ident[EI_CLASS] = ELFCLASS64;
	m->eh.e_ident[EI_DATA] = ELFDATA2LSB;
	m->eh.e_ident[EI_VERSION] = EV_CURRENT;
	m->eh.e_type = ET_EXEC;
	m->eh.e_machine = EM_X86_64;
	m->eh.e_version = EV_CURRENT;
	m->eh.e_ehsize = sizeof(Elf64_Ehdr);
	m->eh.e_phentsize = sizeof(Elf64_Phdr);
	m->eh.e_shentsize = sizeof(Elf64_Shdr);
}

void mkelf_segment(struct mkelf *m, uint64_t paddr, uint64_t vaddr, uint64_t filesz, uint64_t memsz)
{
	assert(m->nr_ph + 1 < sizeof(m->ph) / sizeof(m->ph[0]));
	m->ph[m->nr_ph++] = (Elf64_Phdr){
		.p_type = PT_LOAD,
		.p_flags = PF_R | PF_W | PF_X,
		.p_paddr = paddr,
		.p_vaddr = vaddr,
		.p_filesz = filesz,
		.p_memsz = memsz,
		.p_align = 4096,
	};
}

void mkelf_note_lies(struct mkelf *m, uint32_t type, const void *desc, uint32_t size,
		     uint32_t claimed)
{
	Elf64_Nhdr nh = {.n_namesz = 4, .n_descsz = claimed, .n_type = type};
	uint8_t *p = m->notes + m->notes_size;

	assert(m->notes_size + sizeof(nh) + 4 + size + 3 <= sizeof(m->notes));
	memcpy(p, &nh, sizeof(nh));
	memcpy(p + sizeof(nh), "Xen", 4);
	memcpy(p + sizeof(nh) + 4, desc, size);
	m->notes_size += sizeof(nh) + 4 + ((size + 3) & ~3u);
}

void mkelf_note(struct mkelf *m, uint32_t type, const void *desc, uint32_t size)
{
	mkelf_note_lies(m, type, desc, size, size);
}

void mkelf_text(struct mkelf *m, uint32_t type, const char *text)
{
	mkelf_note(m, type, text, (uint32_t)strlen(text) + 1);
}

void mkelf_number(struct mkelf *m, uint32_t type, uint64_t value)
{
	mkelf_note(m, type, &value, sizeof(value));
}

uint8_t mkelf_byte(unsigned int segment, uint64_t offset)
{
	return (uint8_t)((segment + offset) * 7);
}

static size_t align(size_t n, size_t to)
{
	return (n + to - 1) & ~(to - 1);
}

static const char section_names[] = "\0.notes\0__xen_guest\0.shstrtab";

void mkelf_finish(struct mkelf *m)
{
	Elf64_Shdr sh[3] = {0};
	size_t at = sizeof(m->eh) + sizeof(m->ph), data_end, names;

	if (m->where == MKELF_PT_NOTE)
		m->ph[m->nr_ph++] = (Elf64_Phdr){.p_type = PT_NOTE, .p_flags = PF_R};
	m->notes_offset = at;
	if (m->where == MKELF_PT_NOTE) {
		m->ph[m->nr_ph - 1].p_offset = at;
		m->ph[m->nr_ph - 1].p_filesz = m->ph[m->nr_ph - 1].p_memsz = m->notes_size;
	}
	size_t legacy = at + m->notes_size;
	at = align(legacy + strlen(m->legacy) + 1, 4096);
	for (unsigned int i = 0; i < m->nr_ph; i++) {
		if (m->ph[i].p_type != PT_LOAD)
			continue;
		m->ph[i].p_offset = at;
		at = align(at + m->ph[i].p_filesz, 4096);
	}
	data_end = at;
	names = data_end + sizeof(sh);
	m->size = names + sizeof(section_names);
	m->data = calloc(1, m->size);
	assert(m->data);

	m->eh.e_phoff = sizeof(m->eh);
	m->eh.e_phnum = (uint16_t)m->nr_ph;
	if (m->where != MKELF_PT_NOTE) {
		m->eh.e_shoff = data_end;
		m->eh.e_shnum = 3;
		m->eh.e_shstrndx = 2;
		sh[1].sh_name = m->where == MKELF_LEGACY ? 8 : 1;
		sh[1].sh_type = m->where == MKELF_LEGACY ? SHT_PROGBITS : SHT_NOTE;
		sh[1].sh_offset = m->where == MKELF_LEGACY ? legacy : m->notes_offset;
		sh[1].sh_size = m->where == MKELF_LEGACY ? strlen(m->legacy) + 1 : m->notes_size;
		sh[2].sh_name = 20;
		sh[2].sh_type = SHT_STRTAB;
		sh[2].sh_offset = names;
		sh[2].sh_size = sizeof(section_names);
	}
	memcpy(m->data, &m->eh, sizeof(m->eh));
	memcpy(m->data + sizeof(m->eh), m->ph, m->nr_ph * sizeof(m->ph[0]));
	memcpy(m->data + m->notes_offset, m->notes, m->notes_size);
	memcpy(m->data + legacy, m->legacy, strlen(m->legacy));
	memcpy(m->data + data_end, sh, sizeof(sh));
	memcpy(m->data + names, section_names, sizeof(section_names));
	for (unsigned int i = 0; i < m->nr_ph; i++)
		if (m->ph[i].p_type == PT_LOAD)
			for (uint64_t j = 0; j < m->ph[i].p_filesz; j++)
				m->data[m->ph[i].p_offset + j] = mkelf_byte(i, j);
}

Elf64_Ehdr *mkelf_ehdr(struct mkelf *m)
{
	return (Elf64_Ehdr *)m->data;
}

Elf64_Phdr *mkelf_phdr(struct mkelf *m, unsigned int i)
{
	return (Elf64_Phdr *)(m->data + sizeof(Elf64_Ehdr)) + i;
}

void mkelf_free(struct mkelf *m)
{
	free(m->data);
	m->data = NULL;
}

void mkelf_kernel(struct mkelf *m, uint64_t base, uint64_t paddr)
{
	mkelf_init(m);
	mkelf_segment(m, paddr, base + paddr, 0x10000, 0x20000);
	mkelf_text(m, XEN_ELFNOTE_GUEST_OS, "test");
	mkelf_text(m, XEN_ELFNOTE_LOADER, "generic");
	mkelf_text(m, XEN_ELFNOTE_XEN_VERSION, "xen-3.0");
	mkelf_number(m, XEN_ELFNOTE_VIRT_BASE, base);
	mkelf_number(m, XEN_ELFNOTE_ENTRY, base + paddr + 0x10);
}

int mkelf_load_bytes(const void *data, size_t size, unsigned int flags, struct image **ret)
{
	struct image_source src = {.name = "test.elf", .fd = -1, .data = data, .size = size};

	return image_load(&src, 0, flags, ret);
}

int mkelf_load(const struct mkelf *m, unsigned int flags, struct image **ret)
{
	return mkelf_load_bytes(m->data, m->size, flags, ret);
}
