/* SPDX-License-Identifier: MIT */
/* ELF files and their notes: what is read from sound ones, and what is said about others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <xen/elfnote.h>
#include <xen/features.h>

#include "mkelf.h"
#include "util/err.h"

#define BASE 0xffffffff80000000ull

/* Loading must fail with `code` and a message that has `text` in it. */
static void refused(struct mkelf *m, int code, const char *text)
{
	struct image *img;
	int r = mkelf_load(m, 0, &img);

	if (r != code || !strstr(pvv_error_get_message(pvv_error_last()), text))
		print_error("got %s: %s\n", pvv_error_code_name(r),
			    r < 0 ? pvv_error_get_message(pvv_error_last()) : "");
	assert_int_equal(r, code);
	assert_null(img);
	assert_non_null(strstr(pvv_error_get_message(pvv_error_last()), text));
	assert_string_equal(pvv_error_get_object(pvv_error_last()), "test.elf");
	mkelf_free(m);
}

static struct image *accepted(struct mkelf *m)
{
	struct image *img = NULL;
	int r = mkelf_load(m, 0, &img);

	if (r < 0)
		print_error("%s\n", pvv_error_get_message(pvv_error_last()));
	assert_int_equal(r, 0);
	mkelf_free(m);
	return img;
}

static void reads_all_notes(void **state)
{
	static const uint64_t valid[2] = {1, 1};
	struct mkelf m;

	mkelf_kernel(&m, BASE, 0x1000000);
	mkelf_number(&m, XEN_ELFNOTE_HYPERCALL_PAGE, BASE + 0x1003000);
	mkelf_number(&m, XEN_ELFNOTE_INIT_P2M, 0x8000000000);
	mkelf_number(&m, XEN_ELFNOTE_HV_START_LOW, 0xffff800000000000);
	mkelf_number(&m, XEN_ELFNOTE_MOD_START_PFN, 1);
	mkelf_number(&m, XEN_ELFNOTE_SUSPEND_CANCEL, 1);
	mkelf_number(&m, XEN_ELFNOTE_SUPPORTED_FEATURES, 0x8800);
	mkelf_number(&m, XEN_ELFNOTE_PADDR_OFFSET, 0);
	mkelf_number(&m, XEN_ELFNOTE_PHYS32_ENTRY, 0x1000850);
	mkelf_note(&m, XEN_ELFNOTE_L1_MFN_VALID, valid, sizeof(valid));
	mkelf_text(&m, XEN_ELFNOTE_GUEST_VERSION, "1.2");
	mkelf_text(&m, XEN_ELFNOTE_PAE_MODE, "yes");
	mkelf_text(&m, XEN_ELFNOTE_BSD_SYMTAB, "yes");
	mkelf_text(&m, XEN_ELFNOTE_FEATURES, "!writable_page_tables|pae_pgdir_above_4gb|hal9000");
	mkelf_text(&m, 0x1234, "unknown");
	mkelf_finish(&m);
	struct image *img = accepted(&m);

	assert_int_equal(img->format, IMAGE_ELF);
	assert_int_equal(img->notes_from, IMAGE_NOTES_PHDR);
	assert_int_equal(img->nr_notes, 19);
	assert_int_equal(img->entry, BASE + 0x1000010);
	assert_int_equal(img->virt_base, BASE);
	assert_int_equal(img->phys_start, 0x1000000);
	assert_int_equal(img->phys_end, 0x1020000);
	assert_int_equal(img->hypercall_page, BASE + 0x1003000);
	assert_int_equal(img->init_p2m, 0x8000000000);
	assert_int_equal(img->hv_start_low, 0xffff800000000000);
	assert_true(img->mod_start_pfn);
	assert_true(img->suspend_cancel);
	assert_true(img->bsd_symtab);
	assert_int_equal(img->phys32_entry, 0x1000850);
	assert_true(img->has_l1_mfn_valid);
	assert_int_equal(img->l1_mfn_mask, 1);
	assert_int_equal(img->l1_mfn_value, 1);
	assert_int_equal(img->features_required, 1u << XENFEAT_writable_page_tables);
	assert_int_equal(img->features_supported, 0x8800u | 1u << XENFEAT_writable_page_tables |
							  1u << XENFEAT_pae_pgdir_above_4gb);
	assert_string_equal(img->guest_os, "test");
	assert_string_equal(img->guest_version, "1.2");
	assert_string_equal(img->xen_version, "xen-3.0");
	assert_string_equal(img->loader, "generic");
	assert_string_equal(img->pae_mode, "yes");
	assert_int_equal(img->nr_segments, 1);
	assert_int_equal(img->segment[0].filesz, 0x10000);
	assert_int_equal(img->segment[0].memsz, 0x20000);
	assert_int_equal(img->elf[img->segment[0].offset + 9], mkelf_byte(0, 9));
	image_free(img);
}

static void absent_notes_have_defaults(void **state)
{
	struct mkelf m;

	mkelf_init(&m);
	mkelf_segment(&m, 0, 0, 0x1000, 0x1000);
	m.eh.e_entry = 0x20;
	mkelf_text(&m, XEN_ELFNOTE_GUEST_OS, "linux");
	mkelf_text(&m, XEN_ELFNOTE_XEN_VERSION, "xen-3.0");
	mkelf_finish(&m);
	struct image *img = accepted(&m);

	assert_int_equal(img->entry, 0x20);
	assert_int_equal(img->virt_base, 0);
	assert_int_equal(img->paddr_offset, 0);
	assert_int_equal(img->hypercall_page, IMAGE_UNSET);
	assert_int_equal(img->init_p2m, IMAGE_UNSET);
	assert_int_equal(img->hv_start_low, IMAGE_UNSET);
	assert_false(img->mod_start_pfn);
	assert_false(img->has_l1_mfn_valid);
	image_free(img);
}

static void four_byte_numbers(void **state)
{
	struct mkelf m;
	uint32_t one = 1;

	mkelf_kernel(&m, BASE, 0);
	mkelf_note(&m, XEN_ELFNOTE_MOD_START_PFN, &one, 4);
	mkelf_finish(&m);
	struct image *img = accepted(&m);

	assert_true(img->mod_start_pfn);
	image_free(img);
}

static void notes_in_sections(void **state)
{
	struct mkelf m;

	mkelf_kernel(&m, 0x400000, 0x1000); /* Mini-OS */
	m.where = MKELF_SHT_NOTE;
	mkelf_finish(&m);
	struct image *img = accepted(&m);

	assert_int_equal(img->notes_from, IMAGE_NOTES_SHDR);
	assert_int_equal(img->nr_notes, 5);
	assert_int_equal(img->virt_base, 0x400000);
	image_free(img);
}

static void legacy_text(void **state)
{
	struct mkelf m;

	mkelf_init(&m);
	/* Such kernels have virtual addresses in p_paddr: ELF_PADDR_OFFSET is VIRT_BASE. */
	mkelf_segment(&m, BASE + 0x100000, BASE + 0x100000, 0x4000, 0x5000);
	m.where = MKELF_LEGACY;
	strcpy(m.legacy,
	       "GUEST_OS=linux,GUEST_VER=2.6,XEN_VER=xen-3.0,"
	       "VIRT_BASE=0xffffffff80000000,VIRT_ENTRY=0xffffffff80100000,"
	       "HYPERCALL_PAGE=0x102,FEATURES=writable_page_tables|!gnttab_map_avail_bits,"
	       "PAE=yes,LOADER=generic,BSD_SYMTAB");
	mkelf_finish(&m);
	struct image *img = accepted(&m);

	assert_int_equal(img->notes_from, IMAGE_NOTES_LEGACY);
	assert_int_equal(img->virt_base, BASE);
	assert_int_equal(img->entry, BASE + 0x100000);
	assert_int_equal(img->paddr_offset, BASE);
	assert_int_equal(img->segment[0].paddr, 0x100000);
	assert_int_equal(img->hypercall_page, BASE + 0x102000);
	assert_int_equal(img->features_required, 1u << XENFEAT_gnttab_map_avail_bits);
	assert_true(img->bsd_symtab);
	assert_string_equal(img->guest_version, "2.6");
	image_free(img);

	mkelf_init(&m);
	mkelf_segment(&m, 0, 0, 0x4000, 0x5000);
	m.where = MKELF_LEGACY;
	strcpy(m.legacy, "GUEST_OS=linux,XEN_VER=xen-3.0,VIRT_BASE=12monkeys");
	mkelf_finish(&m);
	refused(&m, PVV_EIMAGE, "VIRT_BASE='12monkeys' is not a number");
}

static void paddr_offset_is_taken_off(void **state)
{
	struct mkelf m;

	mkelf_kernel(&m, BASE, 0x1000);
	m.ph[0].p_paddr += 0x40000000;
	mkelf_number(&m, XEN_ELFNOTE_PADDR_OFFSET, 0x40000000);
	mkelf_finish(&m);
	struct image *img = accepted(&m);

	assert_int_equal(img->segment[0].paddr, 0x1000);
	assert_int_equal(img->phys_start, 0x1000);
	image_free(img);

	mkelf_kernel(&m, BASE, 0x1000);
	mkelf_number(&m, XEN_ELFNOTE_PADDR_OFFSET, 0x40000000);
	mkelf_finish(&m);
	refused(&m, PVV_EIMAGE, "p_paddr 0x1000 is below the note PADDR_OFFSET 0x40000000");

	mkelf_init(&m);
	mkelf_segment(&m, 0, 0, 0x1000, 0x1000);
	mkelf_text(&m, XEN_ELFNOTE_LOADER, "generic");
	mkelf_text(&m, XEN_ELFNOTE_XEN_VERSION, "xen-3.0");
	mkelf_number(&m, XEN_ELFNOTE_PADDR_OFFSET, 0);
	mkelf_finish(&m);
	refused(&m, PVV_EIMAGE, "PADDR_OFFSET but no VIRT_BASE");
}

static void wrong_note_sizes_are_clamped(void **state)
{
	struct mkelf m;

	/* As PV GRUB's builder once wrote it. */
	mkelf_kernel(&m, BASE, 0);
	mkelf_note_lies(&m, XEN_ELFNOTE_PAE_MODE, "yes,bimodal", 12, 0x1000);
	mkelf_finish(&m);
	struct image *img = accepted(&m);

	assert_string_equal(img->pae_mode, "yes,bimodal");
	assert_int_equal(img->note[5].size, 12);
	assert_true(img->note[5].clamped);
	assert_false(img->note[4].clamped);
	image_free(img);

	/* The largest size must not wrap when it is rounded up. */
	for (uint32_t size = 0xfffffff0; size; size++) {
		mkelf_kernel(&m, BASE, 0);
		mkelf_note_lies(&m, XEN_ELFNOTE_PAE_MODE, "yes", 4, size);
		mkelf_finish(&m);
		image_free(accepted(&m));
	}

	/* A number of three bytes is none. */
	mkelf_kernel(&m, BASE, 0);
	mkelf_note(&m, XEN_ELFNOTE_HYPERCALL_PAGE, "abc", 3);
	mkelf_finish(&m);
	img = accepted(&m);
	assert_int_equal(img->hypercall_page, IMAGE_UNSET);
	image_free(img);
}

static void wrong_name_sizes_end_the_notes(void **state)
{
	for (uint32_t size = 0xffffffe0; size; size++) {
		struct mkelf m;

		mkelf_kernel(&m, BASE, 0);
		mkelf_text(&m, XEN_ELFNOTE_PAE_MODE, "yes");
		memcpy(m.notes + m.notes_size - 20, &size, 4);
		mkelf_finish(&m);
		struct image *img = accepted(&m);
		assert_int_equal(img->nr_notes, 5);
		image_free(img);
	}
}

static void notes_are_bounded(void **state)
{
	struct mkelf m;

	/* 200 notes are counted, 64 kept. */
	mkelf_kernel(&m, BASE, 0);
	for (int i = 0; i < 200; i++)
		mkelf_number(&m, 100, i);
	mkelf_finish(&m);
	struct image *img = accepted(&m);
	assert_int_equal(img->nr_notes, IMAGE_MAX_NOTES);
	assert_int_equal(img->nr_notes_ignored, 205 - IMAGE_MAX_NOTES);
	image_free(img);

	/* The same notes named by many program headers: a loop that must end. */
	mkelf_kernel(&m, BASE, 0);
	for (int i = 0; i < 200; i++)
		mkelf_number(&m, 100, i);
	m.nr_ph = 60;
	mkelf_finish(&m);
	for (unsigned int i = 1; i < 60; i++)
		*mkelf_phdr(&m, i) = *mkelf_phdr(&m, 60);
	refused(&m, PVV_EIMAGE, "too many ELF notes");
}

static void features_that_are_required(void **state)
{
	static const struct {
		const char *list, *why;
	} bad[] = {
		{"!hal9000", "requires the feature 'hal9000' (note FEATURES), which is not known"},
		{"writable_page_tables|!pod_bay_doors", "'pod_bay_doors'"},
		{"!auto_translated_physmap", "a paravirtualized domain does not have"},
		{"!supervisor_mode_kernel", "'supervisor_mode_kernel'"},
		{"!writable_descriptor_tables", "'writable_descriptor_tables'"},
		{"!dom0", "'dom0'"},
		{"|||!hvm_callback_vector|", "'hvm_callback_vector'"},
	};
	static const char *const good[] = {
		"",
		"|",
		"!",
		"!|!",
		"hal9000",
		"!writable_page_tables|!pae_pgdir_above_4gb|!mmu_pt_update_preserve_ad|"
		"!highmem_assist|!gnttab_map_avail_bits",
		"auto_translated_physmap|supervisor_mode_kernel|dom0",
	};
	struct mkelf m;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		mkelf_kernel(&m, BASE, 0);
		mkelf_text(&m, XEN_ELFNOTE_FEATURES, bad[i].list);
		mkelf_finish(&m);
		refused(&m, PVV_EUNSUPPORTED, bad[i].why);
	}
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		mkelf_kernel(&m, BASE, 0);
		mkelf_text(&m, XEN_ELFNOTE_FEATURES, good[i]);
		mkelf_finish(&m);
		image_free(accepted(&m));
	}
	/* Not terminated, and too long to be read whole. */
	char text[2000];
	memset(text, 'x', sizeof(text));
	mkelf_kernel(&m, BASE, 0);
	mkelf_note(&m, XEN_ELFNOTE_FEATURES, text, 1000);
	mkelf_finish(&m);
	image_free(accepted(&m));
	mkelf_kernel(&m, BASE, 0);
	mkelf_note(&m, XEN_ELFNOTE_FEATURES, text, sizeof(text));
	mkelf_finish(&m);
	refused(&m, PVV_EIMAGE, "FEATURES note is longer");
}

static void other_kinds_of_image(void **state)
{
	struct mkelf m;
	struct image *img;

	mkelf_kernel(&m, BASE, 0);
	mkelf_finish(&m);
	m.data[EI_CLASS] = ELFCLASS32;
	assert_int_equal(mkelf_load(&m, IMAGE_LOAD_INSPECT, &img), 0);
	assert_non_null(strstr(img->refused, "32-bit"));
	image_free(img);
	refused(&m, PVV_EUNSUPPORTED, "is a 32-bit ELF image");

	mkelf_kernel(&m, BASE, 0);
	mkelf_finish(&m);
	mkelf_ehdr(&m)->e_machine = EM_AARCH64;
	refused(&m, PVV_EIMAGE, "ELF machine 183");

	mkelf_kernel(&m, BASE, 0);
	mkelf_finish(&m);
	mkelf_ehdr(&m)->e_type = ET_REL;
	refused(&m, PVV_EIMAGE, "ELF type is 1");

	mkelf_kernel(&m, BASE, 0);
	mkelf_finish(&m);
	m.data[EI_DATA] = ELFDATA2MSB;
	refused(&m, PVV_EIMAGE, "data encoding 2");

	mkelf_kernel(&m, BASE, 0);
	m.notes_size = 0;
	mkelf_finish(&m);
	assert_int_equal(mkelf_load(&m, IMAGE_LOAD_INSPECT, &img), 0);
	assert_non_null(strstr(img->refused, "no Xen notes"));
	assert_int_equal(img->nr_segments, 1);
	image_free(img);
	refused(&m, PVV_EIMAGE, "no Xen notes");

	/* A kernel with CONFIG_XEN_PVH and without CONFIG_XEN_PV */
	mkelf_init(&m);
	mkelf_segment(&m, 0, 0, 0x1000, 0x1000);
	mkelf_text(&m, XEN_ELFNOTE_GUEST_OS, "linux");
	mkelf_text(&m, XEN_ELFNOTE_XEN_VERSION, "xen-3.0");
	mkelf_number(&m, XEN_ELFNOTE_PHYS32_ENTRY, 0x10);
	mkelf_finish(&m);
	refused(&m, PVV_EUNSUPPORTED, "is for PVH domains only");

	mkelf_kernel(&m, BASE, 0);
	mkelf_text(&m, XEN_ELFNOTE_XEN_VERSION, "xen-2.0");
	mkelf_finish(&m);
	refused(&m, PVV_EIMAGE, "XEN_VERSION is 'xen-2.0'");

	mkelf_kernel(&m, BASE, 0);
	mkelf_text(&m, XEN_ELFNOTE_LOADER, "special");
	mkelf_finish(&m);
	refused(&m, PVV_EIMAGE, "LOADER is 'special'");

	assert_int_equal(mkelf_load_bytes("hello", 5, 0, &img), PVV_EIMAGE);
	assert_non_null(strstr(pvv_error_get_message(pvv_error_last()), "no kernel image"));
	assert_int_equal(mkelf_load_bytes("", 0, 0, &img), PVV_EIMAGE);
	assert_non_null(strstr(pvv_error_get_message(pvv_error_last()), "is empty"));
	assert_int_equal(mkelf_load_bytes("\177ELF\2\1\1", 7, 0, &img), PVV_EIMAGE);
	assert_int_equal(mkelf_load_bytes("\177ELF\2\1\1\0\0\0\0\0\0\0\0\0", 16, 0, &img),
			 PVV_EIMAGE);
	assert_non_null(strstr(pvv_error_get_message(pvv_error_last()), "ELF header is cut off"));
}

/* Each field of a program header that can be wrong, by name. */
static void wrong_segments(void **state)
{
	static const struct {
		uint64_t offset, filesz, memsz, paddr;
		const char *why;
	} bad[] = {
		{~0ull, 0x1000, 0x1000, 0, "p_offset 0xffffffffffffffff"},
		{0, ~0ull, ~0ull, 0, "p_filesz 0xffffffffffffffff"},
		{~0ull - 0xfff, 0x1000, 0x1000, 0, "behind the end of the file"},
		{0, 0x1000, 0xfff, 0, "p_memsz 0xfff is less than p_filesz"},
		{0, 0x1000, 0, 0, "no loadable segment"}, /* nothing to load is not a segment */
		{0, 0x1000, 0x1000, ~0ull - 0xffe, "wraps around"},
		{0, 0x1000, ~0ull, 1, "wraps around"},
		{0, 0x1000, 0x1000, 1ull << 47, "does not leave room"},
		{0, 0x1000, 0x1000, 0x80000000, "does not leave room"}, /* BASE + 2 GiB wraps */
		{0, 0x1000, 1ull << 62, 0, "does not leave room"},
		{0, 0x1000, 0x80000001, 0, "does not leave room"},
	};
	struct mkelf m;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		mkelf_kernel(&m, BASE, 0);
		mkelf_finish(&m);
		Elf64_Phdr *ph = mkelf_phdr(&m, 0);
		ph->p_offset = bad[i].offset;
		ph->p_filesz = bad[i].filesz;
		ph->p_memsz = bad[i].memsz;
		ph->p_paddr = bad[i].paddr;
		refused(&m, PVV_EIMAGE, bad[i].why);
	}
	/* Up to the last byte is all right (for the loader). */
	mkelf_kernel(&m, BASE, 0);
	mkelf_finish(&m);
	mkelf_phdr(&m, 0)->p_memsz = 0x80000000;
	image_free(accepted(&m));

	/* Segments without rights are not loaded. */
	mkelf_kernel(&m, BASE, 0);
	mkelf_segment(&m, ~0ull, 0, 0, ~0ull);
	m.ph[1].p_flags = 0;
	mkelf_finish(&m);
	struct image *img = accepted(&m);
	assert_int_equal(img->nr_segments, 1);
	image_free(img);

	mkelf_kernel(&m, BASE, 0);
	for (int i = 0; i < 64; i++)
		mkelf_segment(&m, 0x100000 + i * 0x1000, 0, 1, 1);
	mkelf_finish(&m);
	refused(&m, PVV_EIMAGE, "more than 64 loadable segments");
}

static void overlapping_segments(void **state)
{
	static const struct {
		uint64_t paddr, memsz;
		bool ok;
	} second[] = {
		{0x20000, 0x1000, true},  {0x1ffff, 0x1000, false}, {0x10000, 1, false},
		{0x0, 0x1000, true},	  {0x0, 0x1001, false},	    {0x0, 0x100000, false},
		{0x1000, 0x1f000, false},
	};

	for (size_t i = 0; i < sizeof(second) / sizeof(second[0]); i++) {
		struct mkelf m;

		mkelf_kernel(&m, BASE, 0x1000);
		m.ph[0].p_memsz = 0x1f000;
		mkelf_segment(&m, second[i].paddr, 0, 1, second[i].memsz);
		mkelf_finish(&m);
		if (second[i].ok)
			image_free(accepted(&m));
		else
			refused(&m, PVV_EIMAGE, "segments 0 and 1 overlap");
	}
}

static void wrong_addresses(void **state)
{
	static const struct {
		uint64_t base, entry;
		const char *why;
	} bad[] = {
		{BASE + 0x800, BASE + 0x800, "VIRT_BASE 0xffffffff80000800 is not page aligned"},
		{BASE, BASE - 1, "entry point 0xffffffff7fffffff is outside the image"},
		{BASE, BASE + 0x20000, "entry point 0xffffffff80020000 is outside the image"},
		{BASE, 0, "entry point 0 is outside the image"},
		{0x800000000000, 0x800000000000, "does not leave room"},
		{0xffff7fffffff0000, 0xffff7fffffff0000, "does not leave room"},
		{0x7fffffff0000, 0x7fffffff0000, "does not leave room"},
		{0xfffffffffffff000, 0xfffffffffffff000, "does not leave room"},
		{0xffff800000000000, 0xffff800000000000, "where Xen itself is"},
		{0xffff87fffffff000, 0xffff87fffffff000, "where Xen itself is"},
	};
	struct mkelf m;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		mkelf_kernel(&m, BASE, 0);
		mkelf_number(&m, XEN_ELFNOTE_VIRT_BASE, bad[i].base);
		mkelf_number(&m, XEN_ELFNOTE_ENTRY, bad[i].entry);
		mkelf_finish(&m);
		refused(&m, PVV_EIMAGE, bad[i].why);
	}
	static const uint64_t good[] = {0, 0x400000, 0x7fffffe00000 - 0x1000, 0xffff880000000000,
					0xfffffffffffe0000};
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		mkelf_kernel(&m, good[i], 0);
		mkelf_finish(&m);
		image_free(accepted(&m));
	}
	static const uint64_t pages[] = {BASE + 1, BASE - 0x1000, BASE + 0x20000, 0, ~0xfffull};
	for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
		mkelf_kernel(&m, BASE, 0);
		mkelf_number(&m, XEN_ELFNOTE_HYPERCALL_PAGE, pages[i]);
		mkelf_finish(&m);
		refused(&m, PVV_EIMAGE, "note HYPERCALL_PAGE");
	}
	/* As Xen: a list that cannot be placed there goes where it goes without the note. */
	static const uint64_t lists[] = {0x8000000800, BASE, BASE + 0x40000000, ~0xfffull};
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		mkelf_kernel(&m, BASE, 0);
		mkelf_number(&m, XEN_ELFNOTE_INIT_P2M, lists[i]);
		mkelf_finish(&m);
		struct image *img = accepted(&m);
		assert_int_equal(img->init_p2m, IMAGE_UNSET);
		image_free(img);
	}
}

static void wrong_headers(void **state)
{
	struct mkelf m;

	mkelf_kernel(&m, BASE, 0);
	mkelf_finish(&m);
	mkelf_ehdr(&m)->e_phnum = 0;
	refused(&m, PVV_EIMAGE, "no program headers");
	mkelf_kernel(&m, BASE, 0);
	mkelf_finish(&m);
	mkelf_ehdr(&m)->e_phnum = 0xffff;
	refused(&m, PVV_EIMAGE, "e_phoff 0x40, 65535 entries");
	mkelf_kernel(&m, BASE, 0);
	mkelf_finish(&m);
	mkelf_ehdr(&m)->e_phoff = ~0ull;
	refused(&m, PVV_EIMAGE, "e_phoff 0xffffffffffffffff");
	mkelf_kernel(&m, BASE, 0);
	mkelf_finish(&m);
	mkelf_ehdr(&m)->e_phentsize = 55;
	refused(&m, PVV_EIMAGE, "e_phentsize is 55");
	mkelf_kernel(&m, BASE, 0);
	mkelf_finish(&m);
	mkelf_phdr(&m, 1)->p_filesz = ~0ull;
	refused(&m, PVV_EIMAGE, "program header 1: the notes");

	/* Sections matter only for notes: nonsense there is no error, but then there are none. */
	for (int i = 0; i < 6; i++) {
		mkelf_kernel(&m, BASE, 0);
		m.where = MKELF_SHT_NOTE;
		mkelf_finish(&m);
		Elf64_Shdr *sh = (Elf64_Shdr *)(m.data + mkelf_ehdr(&m)->e_shoff);
		switch (i) {
		case 0:
			mkelf_ehdr(&m)->e_shoff = ~0ull - 8;
			break;
		case 1:
			mkelf_ehdr(&m)->e_shnum = 0xffff;
			break;
		case 2:
			mkelf_ehdr(&m)->e_shentsize = 1;
			break;
		case 3:
			sh[1].sh_size = ~0ull;
			break;
		case 4:
			sh[1].sh_type = SHT_PROGBITS;
			sh[1].sh_name = 0xffffffff;
			sh[2].sh_size = ~0ull;
			break;
		case 5:
			sh[1].sh_type = SHT_PROGBITS;
			mkelf_ehdr(&m)->e_shstrndx = 0xffff;
			break;
		}
		refused(&m, PVV_EIMAGE, "no Xen notes");
	}
}

static void texts_are_cleaned(void **state)
{
	struct mkelf m;

	mkelf_kernel(&m, BASE, 0);
	mkelf_text(&m, XEN_ELFNOTE_GUEST_OS, "evil\033[2J\n\x9b");
	mkelf_finish(&m);
	struct image *img = accepted(&m);
	assert_string_equal(img->guest_os, "evil?[2J??");
	image_free(img);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_all_notes),
		cmocka_unit_test(absent_notes_have_defaults),
		cmocka_unit_test(four_byte_numbers),
		cmocka_unit_test(notes_in_sections),
		cmocka_unit_test(legacy_text),
		cmocka_unit_test(paddr_offset_is_taken_off),
		cmocka_unit_test(wrong_note_sizes_are_clamped),
		cmocka_unit_test(wrong_name_sizes_end_the_notes),
		cmocka_unit_test(notes_are_bounded),
		cmocka_unit_test(features_that_are_required),
		cmocka_unit_test(other_kinds_of_image),
		cmocka_unit_test(wrong_segments),
		cmocka_unit_test(overlapping_segments),
		cmocka_unit_test(wrong_addresses),
		cmocka_unit_test(wrong_headers),
		cmocka_unit_test(texts_are_cleaned),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
