/* SPDX-License-Identifier: MIT */
/*
 * The ELF file: headers, loadable segments and where the Xen notes are. As Xen, notes are taken
 * from PT_NOTE; only if there are no Xen notes there from SHT_NOTE sections (Mini-OS), and only if
 * there are none either from the text of a __xen_guest section (kernels before 2.6.20).
 */
#include <elf.h>

#include "domain/image/internal.h"

#define MAX_NOTES_SEEN 4096u /* in all; real kernels have some twenty */

/* Tables are copied out entry by entry: nothing in a file is aligned. */
static void get_phdr(const struct image *img, const Elf64_Ehdr *eh, unsigned int i, Elf64_Phdr *ret)
{
	memcpy(ret, img->elf + eh->e_phoff + (uint64_t)i * eh->e_phentsize, sizeof(*ret));
}

static void get_shdr(const struct image *img, const Elf64_Ehdr *eh, unsigned int i, Elf64_Shdr *ret)
{
	memcpy(ret, img->elf + eh->e_shoff + (uint64_t)i * eh->e_shentsize, sizeof(*ret));
}

static int check_ident(struct image *img)
{
	const uint8_t *id = img->elf;

	if (img->elf_size < EI_NIDENT || memcmp(id, ELFMAG, SELFMAG) != 0)
		return image_err(img, PVV_EIMAGE,
				 "%s: is no kernel image: neither an ELF file nor a Linux bzImage, "
				 "nor one of them packed",
				 img->name);
	if (id[EI_CLASS] == ELFCLASS32)
		return image_refuse(img, PVV_EUNSUPPORTED,
				    "is a 32-bit ELF image; only 64-bit (x86-64) Xen PV kernels "
				    "can be started");
	if (id[EI_CLASS] != ELFCLASS64 || id[EI_DATA] != ELFDATA2LSB)
		return image_err(img, PVV_EIMAGE,
				 "%s: the ELF header's class %u or data encoding %u is not that of "
				 "a 64-bit little-endian file",
				 img->name, id[EI_CLASS], id[EI_DATA]);
	return 0;
}

static int check_header(struct image *img, Elf64_Ehdr *eh)
{
	if (img->elf_size < sizeof(*eh))
		return image_err(img, PVV_EIMAGE, "%s: the ELF header is cut off after %llu bytes",
				 img->name, (unsigned long long)img->elf_size);
	memcpy(eh, img->elf, sizeof(*eh));
	img->elf_entry = eh->e_entry;
	if (eh->e_machine != EM_X86_64)
		return image_err(img, PVV_EIMAGE, "%s: is for ELF machine %u, not for x86-64 (62)",
				 img->name, eh->e_machine);
	if (eh->e_type != ET_EXEC && eh->e_type != ET_DYN)
		return image_err(img, PVV_EIMAGE,
				 "%s: the ELF type is %u; a kernel is an executable (2) or "
				 "position-independent (3)",
				 img->name, eh->e_type);
	if (eh->e_phnum == 0)
		return image_err(img, PVV_EIMAGE, "%s: the ELF file has no program headers",
				 img->name);
	if (eh->e_phentsize < sizeof(Elf64_Phdr))
		return image_err(img, PVV_EIMAGE, "%s: e_phentsize is %u, must be 56 or more",
				 img->name, eh->e_phentsize);
	if (!range_ok(eh->e_phoff, (uint64_t)eh->e_phnum * eh->e_phentsize, img->elf_size))
		return image_err(img, PVV_EIMAGE,
				 "%s: the program headers (e_phoff %#llx, %u entries) lie behind "
				 "the end of the file",
				 img->name, (unsigned long long)eh->e_phoff, eh->e_phnum);
	return 0;
}

static int add_segment(struct image *img, const Elf64_Phdr *ph, unsigned int i)
{
	struct image_segment *s = &img->segment[img->nr_segments];

	if (img->nr_segments == IMAGE_MAX_SEGMENTS)
		return image_err(img, PVV_EIMAGE, "%s: has more than %u loadable segments",
				 img->name, IMAGE_MAX_SEGMENTS);
	if (!range_ok(ph->p_offset, ph->p_filesz, img->elf_size))
		return image_err(img, PVV_EIMAGE,
				 "%s: program header %u: its data (p_offset %#llx, p_filesz %#llx) "
				 "lies behind the end of the file (%#llx); is the file cut off?",
				 img->name, i, (unsigned long long)ph->p_offset,
				 (unsigned long long)ph->p_filesz,
				 (unsigned long long)img->elf_size);
	if (ph->p_memsz < ph->p_filesz)
		return image_err(img, PVV_EIMAGE,
				 "%s: program header %u: p_memsz %#llx is less than p_filesz %#llx",
				 img->name, i, (unsigned long long)ph->p_memsz,
				 (unsigned long long)ph->p_filesz);
	if (ph->p_paddr + ph->p_memsz < ph->p_paddr)
		return image_err(img, PVV_EIMAGE,
				 "%s: program header %u: p_paddr %#llx plus p_memsz %#llx wraps "
				 "around",
				 img->name, i, (unsigned long long)ph->p_paddr,
				 (unsigned long long)ph->p_memsz);
	*s = (struct image_segment){
		.offset = ph->p_offset,
		.filesz = ph->p_filesz,
		.paddr = ph->p_paddr,
		.memsz = ph->p_memsz,
		.vaddr = ph->p_vaddr,
		.flags = ph->p_flags,
	};
	img->nr_segments++;
	return 0;
}

static int parse_segments(struct image *img, const Elf64_Ehdr *eh, unsigned int *budget)
{
	for (unsigned int i = 0; i < eh->e_phnum; i++) {
		Elf64_Phdr ph;
		int r = 0;

		get_phdr(img, eh, i, &ph);
		if (ph.p_type == PT_LOAD && ph.p_memsz && (ph.p_flags & (PF_R | PF_W | PF_X))) {
			r = add_segment(img, &ph, i);
		} else if (ph.p_type == PT_NOTE) {
			if (!range_ok(ph.p_offset, ph.p_filesz, img->elf_size))
				return image_err(img, PVV_EIMAGE,
						 "%s: program header %u: the notes (p_offset "
						 "%#llx, p_filesz %#llx) lie behind the end of the "
						 "file",
						 img->name, i, (unsigned long long)ph.p_offset,
						 (unsigned long long)ph.p_filesz);
			r = image_parse_notes(img, ph.p_offset, ph.p_filesz, IMAGE_NOTES_PHDR,
					      budget);
		}
		if (r < 0)
			return r;
	}
	if (img->nr_segments == 0)
		return image_err(img, PVV_EIMAGE, "%s: the ELF file has no loadable segment",
				 img->name);
	return 0;
}

/* Sections are needed for notes only: where they make no sense, they are not there. */
static bool sections_ok(const struct image *img, const Elf64_Ehdr *eh)
{
	return eh->e_shnum && eh->e_shentsize >= sizeof(Elf64_Shdr) &&
	       range_ok(eh->e_shoff, (uint64_t)eh->e_shnum * eh->e_shentsize, img->elf_size);
}

static int parse_section_notes(struct image *img, const Elf64_Ehdr *eh, unsigned int *budget)
{
	for (unsigned int i = 0; i < eh->e_shnum; i++) {
		Elf64_Shdr sh;

		get_shdr(img, eh, i, &sh);
		if (sh.sh_type != SHT_NOTE || !range_ok(sh.sh_offset, sh.sh_size, img->elf_size))
			continue;
		int r = image_parse_notes(img, sh.sh_offset, sh.sh_size, IMAGE_NOTES_SHDR, budget);
		if (r < 0)
			return r;
	}
	return 0;
}

static int parse_legacy_section(struct image *img, const Elf64_Ehdr *eh)
{
	static const char name[] = "__xen_guest";
	Elf64_Shdr names, sh;

	if (eh->e_shstrndx >= eh->e_shnum)
		return 0;
	get_shdr(img, eh, eh->e_shstrndx, &names);
	if (!range_ok(names.sh_offset, names.sh_size, img->elf_size))
		return 0;
	for (unsigned int i = 0; i < eh->e_shnum; i++) {
		get_shdr(img, eh, i, &sh);
		if (!range_ok(sh.sh_name, sizeof(name), names.sh_size) ||
		    memcmp(img->elf + names.sh_offset + sh.sh_name, name, sizeof(name)) != 0)
			continue;
		if (sh.sh_type == SHT_NOBITS || !range_ok(sh.sh_offset, sh.sh_size, img->elf_size))
			continue;
		return image_parse_legacy(img, img->elf + sh.sh_offset, sh.sh_size);
	}
	return 0;
}

int image_parse_elf(struct image *img)
{
	unsigned int budget = MAX_NOTES_SEEN;
	Elf64_Ehdr eh;
	int r = check_ident(img);

	if (r < 0 || img->refused[0])
		return r;
	r = check_header(img, &eh);
	if (r == 0)
		r = parse_segments(img, &eh, &budget);
	if (r == 0 && img->notes_from == IMAGE_NOTES_NONE && sections_ok(img, &eh)) {
		r = parse_section_notes(img, &eh, &budget);
		if (r == 0 && img->notes_from == IMAGE_NOTES_NONE)
			r = parse_legacy_section(img, &eh);
	}
	return r;
}
