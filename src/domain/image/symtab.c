/* SPDX-License-Identifier: MIT */
/*
 * The symbol table behind the kernel, for images with the note BSD_SYMTAB (<xen/elfnote.h>): at the
 * next multiple of 8 behind the last segment a 32-bit count of the bytes that follow, an ELF header
 * with three section headers (none, the symbols, their names), symbols and names. All offsets count
 * from that ELF header. The BSDs' kernel debuggers read it there.
 */
#include <elf.h>

#include "domain/image/internal.h"

struct head { /* behind the count */
	Elf64_Ehdr eh;
	Elf64_Shdr sh[3];
};

#define ALIGN	   8u
#define align(n)   (((n) + ALIGN - 1) & ~(uint64_t)(ALIGN - 1))
#define COUNT_SIZE sizeof(uint32_t)
#define SYMTAB_MAX (256ull << 20) /* bytes; the count must hold it, and nobody has a tenth */

static bool get_section(const struct image *img, const Elf64_Ehdr *eh, unsigned int i,
			Elf64_Shdr *ret)
{
	if (i >= eh->e_shnum)
		return false;
	memcpy(ret, img->elf + eh->e_shoff + (uint64_t)i * eh->e_shentsize, sizeof(*ret));
	return ret->sh_size && ret->sh_size <= SYMTAB_MAX &&
	       range_ok(ret->sh_offset, ret->sh_size, img->elf_size);
}

void image_find_symtab(struct image *img)
{
	struct image_symtab *st = &img->symtab;
	Elf64_Shdr sym, str;
	Elf64_Ehdr eh;

	memcpy(&eh, img->elf, sizeof(eh)); /* elf.c has checked that it is there */
	if (!eh.e_shnum || eh.e_shentsize < sizeof(Elf64_Shdr) ||
	    !range_ok(eh.e_shoff, (uint64_t)eh.e_shnum * eh.e_shentsize, img->elf_size))
		return;
	for (unsigned int i = 0; i < eh.e_shnum; i++) {
		if (!get_section(img, &eh, i, &sym) || sym.sh_type != SHT_SYMTAB ||
		    !get_section(img, &eh, sym.sh_link, &str) || str.sh_type != SHT_STRTAB)
			continue;
		st->sym_offset = sym.sh_offset;
		st->sym_size = sym.sh_size;
		st->sym_info = sym.sh_info;
		st->str_offset = str.sh_offset;
		st->str_size = str.sh_size;
		st->paddr = align(img->phys_end);
		st->size =
			COUNT_SIZE + sizeof(struct head) + align(sym.sh_size) + align(str.sh_size);
		img->phys_end = st->paddr + st->size;
		return;
	}
}

void image_put_symtab(const struct image *img, uint8_t *dst)
{
	const struct image_symtab *st = &img->symtab;
	uint64_t sym = sizeof(struct head), str = sym + align(st->sym_size);
	uint32_t count = (uint32_t)(st->size - COUNT_SIZE);
	struct head h = {0};

	memcpy(&h.eh, img->elf, sizeof(h.eh));
	h.eh.e_entry = h.eh.e_phoff = 0;
	h.eh.e_phnum = h.eh.e_phentsize = 0;
	h.eh.e_ehsize = sizeof(h.eh);
	h.eh.e_shoff = sizeof(h.eh);
	h.eh.e_shentsize = sizeof(h.sh[0]);
	h.eh.e_shnum = 3;
	h.eh.e_shstrndx = SHN_UNDEF;
	h.sh[1] = (Elf64_Shdr){
		.sh_type = SHT_SYMTAB,
		.sh_offset = sym,
		.sh_size = st->sym_size,
		.sh_link = 2,
		.sh_info = st->sym_info,
		.sh_addralign = ALIGN,
		.sh_entsize = sizeof(Elf64_Sym),
	};
	h.sh[2] = (Elf64_Shdr){
		.sh_type = SHT_STRTAB,
		.sh_offset = str,
		.sh_size = st->str_size,
		.sh_addralign = 1,
	};
	memcpy(dst, &count, sizeof(count));
	dst += COUNT_SIZE;
	memcpy(dst, &h, sizeof(h));
	memcpy(dst + sym, img->elf + st->sym_offset, st->sym_size);
	memcpy(dst + str, img->elf + st->str_offset, st->str_size);
}
