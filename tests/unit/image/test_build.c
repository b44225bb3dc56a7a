/* SPDX-License-Identifier: MIT */
/* The start of day: regions, start_info, lists and page tables, walked as hardware walks them. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include <xen/elfnote.h>

#include "domain/image/source.h"
#include "mkelf.h"
#include "startofday.h"
#include "util/err.h"

#define BASE 0xffffffff80000000ull
#define MIB  256ull /* pages */

static const char *message(void)
{
	return pvv_error_get_message(pvv_error_last());
}

static struct image *load(struct mkelf *m)
{
	struct image *img = NULL;

	mkelf_finish(m);
	if (mkelf_load(m, 0, &img) < 0)
		fail_msg("%s", message());
	return img;
}

/* No notes beyond the least: everything is in the initial mapping. */
static void everything_is_mapped(void **state)
{
	struct mkelf m;
	struct sod s;
	uint8_t module[5000];

	memset(module, 0xa5, sizeof(module));
	mkelf_kernel(&m, 0, 0);
	mkelf_segment(&m, 0x20000, 0, 0x123, 0x4567);
	struct image *img = load(&m);
	struct image_source mod = {.name = "module", .fd = -1, .data = module, .size = 5000};
	struct build_params p = {.image = img,
				 .module = &mod,
				 .cmdline = "console=hvc0 root=/dev/xvda",
				 .nr_pages = 64 * MIB,
				 .store_port = 1,
				 .console_port = 2,
				 .nr_vcpus = 3};

	sod_build(&s, &p);
	const struct build_region *r = s.layout.region;
	/* One behind the other, in the order of <xen/xen.h>. */
	assert_int_equal(r[BUILD_KERNEL].pfn, 0);
	assert_int_equal(r[BUILD_KERNEL].nr, 0x25);
	assert_int_equal(r[BUILD_MODULE].pfn, 0x25);
	assert_int_equal(r[BUILD_MODULE].nr, 2);
	assert_int_equal(r[BUILD_P2M].pfn, 0x27);
	assert_int_equal(r[BUILD_P2M].nr, 32);
	assert_int_equal(r[BUILD_START_INFO].pfn, 0x47);
	assert_int_equal(r[BUILD_STORE].pfn, 0x48);
	assert_int_equal(r[BUILD_CONSOLE].pfn, 0x49);
	assert_int_equal(r[BUILD_PAGE_TABLES].pfn, 0x4a);
	assert_int_equal(r[BUILD_PAGE_TABLES].nr, 5); /* L4, L3, L2, two L1 */
	assert_int_equal(r[BUILD_STACK].pfn, 0x4f);
	assert_int_equal(r[BUILD_P2M_TABLES].nr, 0);
	assert_int_equal(s.layout.virt_end, 4u << 20);
	assert_int_equal(s.boot.root, 0x4a);
	assert_int_equal(s.boot.entry_rip, 0x10);
	assert_int_equal(s.boot.entry_rsi, 0x47000);
	assert_int_equal(s.boot.entry_rsp, 0x50000);
	assert_int_equal(s.boot.hypercall_page, ~0ull);
	assert_int_equal(s.boot.virt_base, 0);
	assert_int_equal(s.boot.vm_assist, 0);
	assert_int_equal(s.boot.nr_vcpus, 3);
	assert_int_equal(s.boot.store_port, 1);
	assert_int_equal(s.boot.console_port, 2);

	const struct start_info *si = sod_start_info(&s);
	assert_int_equal(si->flags, 0);
	assert_int_equal(si->mod_start, 0x25000);
	assert_int_equal(si->mod_len, 5000);
	assert_int_equal(si->mfn_list, 0x27000);
	assert_int_equal(si->first_p2m_pfn, 0);
	assert_int_equal(si->nr_p2m_frames, 0);
	assert_string_equal((const char *)si->cmd_line, "console=hvc0 root=/dev/xvda");
	assert_memory_equal(s.mem.base + 0x25000, module, sizeof(module));
	assert_int_equal(s.mem.base[0x25000 + 5000], 0);
	sod_check(&s, &p);
	sod_free(&s);
	image_free(img);
	mkelf_free(&m);
}

/* As a 64-bit Linux asks for it. */
static void list_and_module_apart(void **state)
{
	struct mkelf m;
	struct sod s;
	uint8_t module[3 * 4096];

	memset(module, 0x5a, sizeof(module));
	mkelf_kernel(&m, BASE, 0x1000000);
	mkelf_number(&m, XEN_ELFNOTE_INIT_P2M, 0x8000000000);
	mkelf_number(&m, XEN_ELFNOTE_MOD_START_PFN, 1);
	mkelf_number(&m, XEN_ELFNOTE_HYPERCALL_PAGE, BASE + 0x1005000);
	struct image *img = load(&m);
	struct image_source mod = {.name = "m", .fd = -1, .data = module, .size = sizeof(module)};
	struct build_params p = {.image = img, .module = &mod, .nr_pages = 600 * MIB};

	sod_build(&s, &p);
	const struct build_region *r = s.layout.region;
	assert_int_equal(r[BUILD_KERNEL].pfn, 0x1000);
	assert_int_equal(r[BUILD_KERNEL].va, BASE + 0x1000000);
	assert_int_equal(r[BUILD_START_INFO].pfn, 0x1020);
	assert_int_equal(r[BUILD_PAGE_TABLES].pfn, 0x1023);
	assert_int_equal(r[BUILD_PAGE_TABLES].nr, 13); /* 20 MiB: ten L1 */
	assert_int_equal(s.layout.virt_end, BASE + (20 << 20));
	assert_int_equal(r[BUILD_MODULE].pfn, 20 * MIB);
	assert_int_equal(r[BUILD_MODULE].va, BUILD_UNMAPPED);
	assert_int_equal(r[BUILD_P2M].pfn, 20 * MIB + 3);
	assert_int_equal(r[BUILD_P2M].nr, 300);
	assert_int_equal(r[BUILD_P2M_TABLES].nr, 3); /* an L3, an L2, an L1; the root is shared */
	assert_int_equal(s.boot.hypercall_page, 0x1005);

	const struct start_info *si = sod_start_info(&s);
	assert_int_equal(si->flags, SIF_MOD_START_PFN);
	assert_int_equal(si->mod_start, 20 * MIB);
	assert_int_equal(si->mod_len, sizeof(module));
	assert_int_equal(si->mfn_list, 0x8000000000);
	assert_int_equal(si->first_p2m_pfn, 20 * MIB + 3);
	assert_int_equal(si->nr_p2m_frames, 303);
	assert_int_equal(si->cmd_line[0], 0);
	assert_memory_equal(s.mem.base + (20 << 20), module, sizeof(module));
	sod_check(&s, &p);
	sod_free(&s);
	image_free(img);
	mkelf_free(&m);
}

/*
 * A matrix of virtual addresses and sizes, each checked by the walk: tables that are shared between
 * the two mappings at each level, boundaries of each level, both halves, the very end.
 */
static void many_layouts(void **state)
{
	static const struct {
		uint64_t base, paddr, p2m, mib;
	} t[] = {
		{0, 0, IMAGE_UNSET, 4},
		{0x400000, 0x1000, IMAGE_UNSET, 8},	  /* Mini-OS */
		{0x200000, 0, IMAGE_UNSET, 16},		  /* base aligned to 2 MiB only */
		{0x1000, 0x3000, IMAGE_UNSET, 16},	  /* to a page only */
		{0x1fffff000, 0, IMAGE_UNSET, 32},	  /* L1, L2 boundary inside */
		{0x7ffffff000, 0, IMAGE_UNSET, 32},	  /* L3 boundary */
		{0x7fffff000000, 0, IMAGE_UNSET, 32},	  /* the last 16 MiB of the low half */
		{0xffff880000000000, 0, IMAGE_UNSET, 32}, /* the first of the high half */
		{0xffffffffff800000, 0, IMAGE_UNSET, 32}, /* ends at 2^64 */
		{0xffffffffff800000, 0, 0x8000000000, 32},
		{BASE, 0x1000000, 0x8000000000, 64},
		{BASE, 0x1000000, 0x8000000000, 1100}, /* list of two L1 tables */
		{BASE, 0x1000000, 0x7fffe00000, 2200}, /* the list crosses an L3 boundary */
		{BASE, 0, BASE - 0x200000, 300},       /* shares root, L3; own L2 */
		{BASE + 0x40000000, 0, BASE, 100},     /* shares L4, L3 */
		{BASE + 0x1000000, 0, BASE, 100},      /* shares all but the L1 */
		{BASE + 0x100000, 0, BASE, 100},       /* shares the L1 */
		{0x400000, 0x1000, 0x200000, 64},
		{0x40000000, 0, 0x3ffe0000, 64}, /* list ends where the mapping begins */
		{0xffff888000000000, 0, 0x7f0000000000, 64},	     /* from half to half */
		{0xffffffff80000000, 0x40000000, IMAGE_UNSET, 1100}, /* 1 GiB of mapping and more */
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct mkelf m;
		struct sod s;

		mkelf_kernel(&m, t[i].base, t[i].paddr);
		if (t[i].p2m != IMAGE_UNSET)
			mkelf_number(&m, XEN_ELFNOTE_INIT_P2M, t[i].p2m);
		struct image *img = load(&m);
		struct build_params p = {.image = img, .nr_pages = t[i].mib * MIB};

		sod_build(&s, &p);
		sod_check(&s, &p);
		if (t[i].p2m == IMAGE_UNSET)
			assert_int_equal(s.layout.p2m_va, s.layout.region[BUILD_P2M].va);
		else
			assert_int_equal(s.layout.p2m_va, t[i].p2m);
		sod_free(&s);
		image_free(img);
		mkelf_free(&m);
	}
}

/* For every size from too small up: either it says how much is needed, or it is right. */
static void every_memory_size(void **state)
{
	struct mkelf m;
	uint64_t first = 0;
	unsigned int need = 0;

	mkelf_kernel(&m, BASE, 0x300000);
	mkelf_number(&m, XEN_ELFNOTE_INIT_P2M, 0x8000000000);
	struct image *img = load(&m);
	for (uint64_t pages = 1; pages < 2200; pages++) {
		struct build_params p = {.image = img, .nr_pages = pages};
		struct build_layout l;
		int r = build_plan(&p, &l);

		if (r < 0) {
			assert_int_equal(r, PVV_ELIMIT);
			assert_int_equal(first, 0);
			const char *text = strstr(message(), "data need ");
			assert_non_null(text);
			need = (unsigned int)atoi(text + 10);
			assert_true(need * MIB > pages);
			continue;
		}
		if (!first)
			first = pages;
		assert_true(l.nr_used <= pages);
	}
	/* 4 MiB of mapping and a few frames for the list: "5 MiB" was what it said at the end. */
	assert_in_range(first, 4 * MIB + 2, 4 * MIB + 16);
	assert_int_equal(need, 5);
	image_free(img);
	mkelf_free(&m);
}

static void what_does_not_fit(void **state)
{
	struct mkelf m;
	struct build_layout l;
	char cmdline[1100];

	mkelf_kernel(&m, BASE, 0);
	struct image *img = load(&m);
	struct build_params p = {.image = img, .nr_pages = 16 * MIB};
	struct image_source mod = {.name = "initrd", .fd = -1, .data = cmdline};

	memset(cmdline, 'x', sizeof(cmdline));
	cmdline[1024] = 0;
	p.cmdline = cmdline;
	assert_int_equal(build_plan(&p, &l), PVV_EINVAL);
	assert_non_null(strstr(message(), "1024 bytes long, 1023 are possible"));
	cmdline[1023] = 0;
	assert_int_equal(build_plan(&p, &l), 0);

	p.module = &mod;
	static const uint64_t sizes[] = {31u << 19, 16u << 20, 1ull << 40, 1ull << 63, ~0ull};
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		mod.size = sizes[i];
		assert_int_equal(build_plan(&p, &l), PVV_ELIMIT);
		assert_non_null(strstr(message(), "the kernel, the module and its start-up data"));
	}
	mod.size = 8u << 20;
	assert_int_equal(build_plan(&p, &l), 0);
	mod.data = NULL;
	assert_int_equal(build_plan(&p, &l), PVV_EINVAL);
	p.module = NULL;
	p.nr_pages = 0;
	assert_int_equal(build_plan(&p, &l), PVV_EINVAL);
	p.nr_pages = (1ull << 32) + 1;
	assert_int_equal(build_plan(&p, &l), PVV_EINVAL);
	image_free(img);
	mkelf_free(&m);

	/* Segments that ask for the whole machine. */
	mkelf_kernel(&m, 0x1000000, 0);
	m.ph[0].p_memsz = 1ull << 46;
	img = load(&m);
	p = (struct build_params){.image = img, .nr_pages = 64 * MIB};
	assert_int_equal(build_plan(&p, &l), PVV_ELIMIT);
	assert_non_null(strstr(message(), "MiB of memory, the domain has 65536 KiB"));
	image_free(img);
	mkelf_free(&m);
}

/* The image is fine but what must be mapped around it would leave the address space. */
static void no_room_at_that_address(void **state)
{
	static const struct {
		uint64_t base, p2m;
		const char *why;
	} t[] = {
		{0xfffffffffff80000, IMAGE_UNSET, "would leave the address space"},
		{0xfffffffffffd0000, IMAGE_UNSET, "would leave the address space"},
		{0x7ffffff80000, IMAGE_UNSET, "addresses a guest does"},
		{BASE, 0xffff800000000000, "note INIT_P2M 0xffff800000000000"},
		{BASE, 0xffff87fffffff000, "note INIT_P2M"},
		{BASE, 0x800000000000, "note INIT_P2M"},
		{BASE, 0x7fffffff0000, "note INIT_P2M"},
		{BASE, BASE - 0x1000, "leaves no room for a list of 16384 frames"},
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct mkelf m;
		struct build_layout l;

		mkelf_kernel(&m, t[i].base, 0);
		if (t[i].p2m != IMAGE_UNSET)
			mkelf_number(&m, XEN_ELFNOTE_INIT_P2M, t[i].p2m);
		struct image *img = load(&m);
		struct build_params p = {.image = img, .nr_pages = 64 * MIB};

		assert_int_equal(build_plan(&p, &l), PVV_EIMAGE);
		if (!strstr(message(), t[i].why))
			fail_msg("%zu: %s", i, message());
		image_free(img);
		mkelf_free(&m);
	}
}

/* A module that comes by descriptor: its offset neither matters nor moves; one cut short is
 * noticed. */
static void module_by_descriptor(void **state)
{
	struct mkelf m;
	struct sod s;
	static uint8_t module[10000], back[10000];
	int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	for (size_t i = 0; i < sizeof(module); i++)
		module[i] = (uint8_t)(i * 13);
	assert_int_equal(write(fd, module, sizeof(module)), sizeof(module));
	assert_int_equal(lseek(fd, 77, SEEK_SET), 77);
	mkelf_kernel(&m, 0, 0);
	struct image *img = load(&m);
	struct image_source mod = {.name = "initrd", .fd = fd};
	struct build_params p = {.image = img, .module = &mod, .nr_pages = 16 * MIB};

	sod_build(&s, &p);
	assert_int_equal(sod_start_info(&s)->mod_len, sizeof(module));
	memcpy(back, s.mem.base + (s.layout.region[BUILD_MODULE].pfn << 12), sizeof(back));
	assert_memory_equal(back, module, sizeof(module));
	sod_check(&s, &p);
	sod_free(&s);
	assert_int_equal(lseek(fd, 0, SEEK_CUR), 77);

	/* What is read is what was measured, or an error. */
	uint8_t byte;
	assert_int_equal(ftruncate(fd, 5000), 0);
	assert_int_equal(image_source_read(&mod, 4999, &byte, 1), 0);
	assert_int_equal(byte, module[4999]);
	assert_int_equal(image_source_read(&mod, 4000, back, 2000), PVV_EIO);
	assert_non_null(strstr(message(), "initrd: ends at byte 5000"));
	mod = (struct image_source){.name = "data", .fd = -1, .data = module, .size = 100};
	assert_int_equal(image_source_read(&mod, 0, back, 101), PVV_EIO);
	assert_int_equal(image_source_read(&mod, ~0ull, back, 2), PVV_EIO);
	assert_int_equal(image_source_read(&mod, 100, back, 0), 0);

	/* An empty one is none. */
	assert_int_equal(ftruncate(fd, 0), 0);
	mod = (struct image_source){.name = "empty", .fd = fd};
	sod_build(&s, &p);
	assert_int_equal(sod_start_info(&s)->mod_start, 0);
	assert_int_equal(sod_start_info(&s)->mod_len, 0);
	sod_check(&s, &p);
	sod_free(&s);
	close(fd);
	image_free(img);
	mkelf_free(&m);
}

/* Memory made for another size is refused before anything is written. */
static void wrong_memory(void **state)
{
	struct mkelf m;
	struct exec_memory mem;
	struct core_boot boot;
	struct memory_params mp = {.name = "x", .nr_pages = 8 * MIB};

	mkelf_kernel(&m, 0, 0);
	struct image *img = load(&m);
	struct build_params p = {.image = img, .nr_pages = 16 * MIB};
	assert_int_equal(memory_create(&mp, &mem, &boot), 0);
	assert_int_equal(build_domain(&p, &mem, &boot, NULL), PVV_EINVAL);
	assert_non_null(strstr(message(), "made for 2048 pages, not 4096"));
	assert_in_range(memory_resident(&mem), 0, 65536);
	memory_destroy(&mem);
	image_free(img);
	mkelf_free(&m);
}

static void a_refused_image_is_not_built(void **state)
{
	struct mkelf m;
	struct image *img;
	struct build_layout l;

	mkelf_kernel(&m, BASE, 0);
	mkelf_text(&m, XEN_ELFNOTE_FEATURES, "!hal9000");
	mkelf_finish(&m);
	assert_int_equal(mkelf_load(&m, IMAGE_LOAD_INSPECT, &img), 0);
	struct build_params p = {.image = img, .nr_pages = 64 * MIB};
	assert_int_equal(build_plan(&p, &l), PVV_EIMAGE);
	assert_non_null(strstr(message(), "hal9000"));
	image_free(img);
	mkelf_free(&m);
}

/* Sections for the symbols behind a finished file: none, names, symbols. */
static void add_symbols(struct mkelf *m, const Elf64_Sym *sym, size_t nr, const char *names,
			size_t names_size)
{
	size_t at = (m->size + 7) & ~7ul, sym_at = at + 3 * sizeof(Elf64_Shdr);
	size_t str_at = sym_at + nr * sizeof(*sym);
	Elf64_Shdr sh[3] = {
		{.sh_type = SHT_NULL},
		{.sh_type = SHT_STRTAB, .sh_offset = str_at, .sh_size = names_size},
		{.sh_type = SHT_SYMTAB,
		 .sh_offset = sym_at,
		 .sh_size = nr * sizeof(*sym),
		 .sh_link = 1,
		 .sh_info = 1},
	};

	m->size = str_at + names_size;
	m->data = realloc(m->data, m->size);
	assert_non_null(m->data);
	memset(m->data + at - 7, 0, 7);
	memcpy(m->data + at, sh, sizeof(sh));
	memcpy(m->data + sym_at, sym, nr * sizeof(*sym));
	memcpy(m->data + str_at, names, names_size);
	mkelf_ehdr(m)->e_shoff = at;
	mkelf_ehdr(m)->e_shnum = 3;
	mkelf_ehdr(m)->e_shentsize = sizeof(sh[0]);
}

/* As <xen/elfnote.h>'s BSD_SYMTAB: read back as a kernel's debugger does it. */
static void symbols_behind_the_kernel(void **state)
{
	static const Elf64_Sym sym[3] = {{0}, {.st_name = 1, .st_value = 0x1010}, {.st_name = 7}};
	static const char names[] = "\0start\0other";
	struct mkelf m;
	struct sod s;
	struct image *img = NULL;

	mkelf_kernel(&m, 0, 0);
	mkelf_segment(&m, 0x20000, 0, 0x123, 0x4563); /* ends at no multiple of 8 */
	mkelf_text(&m, XEN_ELFNOTE_BSD_SYMTAB, "yes");
	mkelf_finish(&m);
	add_symbols(&m, sym, 3, names, sizeof(names));
	assert_int_equal(mkelf_load(&m, 0, &img), 0);
	struct build_params p = {.image = img, .nr_pages = 64 * MIB, .nr_vcpus = 1};

	sod_build(&s, &p);
	sod_check(&s, &p);
	const uint8_t *at = s.mem.base + (s.mem.ram_first << 12) + 0x24568;
	uint32_t count;
	Elf64_Ehdr eh;
	Elf64_Shdr sh[3];
	memcpy(&count, at, 4);
	memcpy(&eh, at + 4, sizeof(eh));
	assert_memory_equal(eh.e_ident, ELFMAG, SELFMAG);
	assert_int_equal(eh.e_shnum, 3);
	assert_int_equal(eh.e_phnum, 0);
	assert_int_equal(eh.e_shstrndx, SHN_UNDEF);
	memcpy(sh, at + 4 + eh.e_shoff, sizeof(sh));
	assert_int_equal(sh[0].sh_type, SHT_NULL);
	assert_int_equal(sh[1].sh_type, SHT_SYMTAB);
	assert_int_equal(sh[1].sh_link, 2);
	assert_int_equal(sh[1].sh_info, 1);
	assert_int_equal(sh[1].sh_size, sizeof(sym));
	assert_memory_equal(at + 4 + sh[1].sh_offset, sym, sizeof(sym));
	assert_int_equal(sh[2].sh_type, SHT_STRTAB);
	assert_int_equal(sh[2].sh_size, sizeof(names));
	assert_memory_equal(at + 4 + sh[2].sh_offset, names, sizeof(names));
	assert_true(sh[2].sh_offset + sh[2].sh_size <= count);
	/* It is part of the kernel's region, and mapped. */
	assert_true(0x24568 + 4 + (uint64_t)count <= s.layout.region[BUILD_KERNEL].nr << 12);
	sod_free(&s);
	image_free(img);

	/* Symbols that lie elsewhere than in the file, are too many, or have no names: none. */
	Elf64_Shdr *raw = (Elf64_Shdr *)(m.data + mkelf_ehdr(&m)->e_shoff), good = raw[2];
	for (int i = 0; i < 6; i++) {
		raw[2] = good;
		if (i == 0)
			raw[2].sh_offset = ~0ull;
		else if (i == 1)
			raw[2].sh_size = ~0ull;
		else if (i == 2)
			raw[2].sh_link = 3;
		else if (i == 3)
			raw[2].sh_link = ~0u;
		else if (i == 4)
			raw[2].sh_link = 2;
		else
			raw[2].sh_size = 0;
		assert_int_equal(mkelf_load(&m, 0, &img), 0);
		assert_int_equal(img->symtab.size, 0);
		assert_int_equal(img->phys_end, 0x24563);
		image_free(img);
	}
	mkelf_free(&m);
}

/* Only what is filled costs memory: a terabyte of it costs its list, which is not asked for here.
 */
static void memory_stays_sparse(void **state)
{
	struct mkelf m;
	struct sod s;

	mkelf_kernel(&m, 0, 0);
	struct image *img = load(&m);
	struct build_params p = {.image = img, .nr_pages = 8192 * MIB};

	sod_build(&s, &p);
	/* 16 MiB of list, 64 KiB of kernel, tables and single pages. */
	assert_in_range(memory_resident(&s.mem), 16u << 20, (16u << 20) + (512u << 10));
	sod_free(&s);
	image_free(img);
	mkelf_free(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything_is_mapped),
		cmocka_unit_test(symbols_behind_the_kernel),
		cmocka_unit_test(list_and_module_apart),
		cmocka_unit_test(many_layouts),
		cmocka_unit_test(every_memory_size),
		cmocka_unit_test(what_does_not_fit),
		cmocka_unit_test(no_room_at_that_address),
		cmocka_unit_test(module_by_descriptor),
		cmocka_unit_test(wrong_memory),
		cmocka_unit_test(a_refused_image_is_not_built),
		cmocka_unit_test(memory_stays_sparse),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
