/* SPDX-License-Identifier: MIT */
/* Descriptor tables: set_gdt, update_descriptor, LDTs, loading selectors. */
#include "pvg.h"

static u64 *gdt, *ldt, *plain;

static long set_gdt(u64 *frames, unsigned int entries)
{
	return HC2(set_gdt, frames, entries);
}

static void load_fs(u64 sel, u64 b, u64 c)
{
	__asm__ volatile("movl %0, %%fs\n xorl %%eax, %%eax\n movl %%eax, %%fs" ::"r"((u32)sel)
			 : "rax");
}

static void load(const char *name, void (*fn)(u64, u64, u64), u64 sel)
{
	if (pvg_try3(fn, sel, 0, 0))
		printf("%s: %s error %lx%s\n", name,
		       pvg_vector_name((unsigned int)pvg_caught.f.vector), pvg_caught.f.error,
		       pvg_caught.f.vector != 14		   ? ""
		       : pvg_caught.cr2 == (u64)ldt + (sel & ~7ul) ? ", cr2 is the descriptor"
								   : ", cr2 is elsewhere");
	else
		printf("%s: loads\n", name);
}

static const struct {
	const char *name;
	u64 d;
} descs[] = {
	{"zero", 0},
	{"64-bit code, DPL 3", 0x00affb000000ffff},
	{"64-bit code, DPL 0", 0x00af9b000000ffff},
	{"64-bit code, DPL 1", 0x00afbb000000ffff},
	{"32-bit code, DPL 3", 0x00cffb000000ffff},
	{"32-bit code, DPL 3, base above 4 GiB - 64 MiB", 0xffcffb000000ffff},
	{"data, DPL 3", 0x00cff3000000ffff},
	{"data, DPL 3, not accessed", 0x00cff2000000ffff},
	{"data, DPL 0", 0x00cf93000000ffff},
	{"data, DPL 3, not present", 0x00cf73000000ffff},
	{"data, expand down", 0x00cff7000000ffff},
	{"data, byte granular, base", 0x1240f2345678ffff},
	{"conforming code, DPL 3", 0x00affe000000ffff},
	{"conforming code, DPL 0", 0x00af9e000000ffff},
	{"code with L and D", 0x00effb000000ffff},
	{"TSS", 0x0000890000000067},
	{"TSS, not present", 0x0000090000000067},
	{"LDT", 0x0000820000000067},
	{"call gate, 64-bit", 0x0000ec00e0330000},
	{"call gate, 64-bit, to the kernel's cs, not present", 0x00006c00e0330000},
	{"interrupt gate", 0x0000ee00e0330000},
	{"trap gate", 0x0000ef00e0330000},
	{"task gate", 0x0000e50000000000},
	{"reserved system type 8", 0x0000e80000000000},
	{"reserved system type 0", 0x0000e00000000000},
};

static void update_all(const char *what, u64 *table)
{
	u64 ma = pvg_mfn_of(table) << 12;

	for (unsigned int i = 0; i < ARRAY_SIZE(descs); i++) {
		long r = HC2(update_descriptor, ma + 8 * 20, descs[i].d);

		printf("%s: %s: %le", what, descs[i].name, r);
		if (!r && table[20] != descs[i].d)
			printf(", became %lx", table[20]);
		printf("\n");
		HC2(update_descriptor, ma + 8 * 20, 0);
	}
}

static void gdts(void)
{
	u64 frames[16];

	frames[0] = pvg_mfn_of(gdt);
	frames[1] = 0x3fffffff;
	gdt[1] = 0x00cff3000000ffff;
	gdt[2] = 0x00affb000000ffff;
	R("set_gdt, page mapped writable", set_gdt(frames, 512));
	R("make it read-only", pvg_set_ro(gdt));
	R("set_gdt, 0 entries", set_gdt(frames, 0));
	R("set_gdt, 512 entries", set_gdt(frames, 512));
	R("  map the page writable", pvg_set_rw(gdt));
	load("  ds = 0x0b", pvg_load_ds, 0x0b);
	load("  ds = 0x08", pvg_load_ds, 0x08);
	load("  ss = 0x0b", pvg_load_ss, 0x0b);
	load("  cs = 0x13", pvg_far_return, 0x13);
	load("  ds = 0x1b (empty)", pvg_load_ds, 0x1b);
	load("  cs = 0xe033 still", pvg_far_return, 0xe033);
	R("set_gdt, 513 entries, second frame bad", set_gdt(frames, 513));
	load("  ds = 0x0b", pvg_load_ds, 0x0b);
	R("set_gdt, 7168 entries", set_gdt(frames, 7168));
	R("set_gdt, 7169 entries", set_gdt(frames, 7169));
	R("set_gdt, 8192 entries", set_gdt(frames, 8192));
	R("set_gdt, list at a bad pointer", set_gdt((u64 *)0x600000000000, 512));
	R("set_gdt, list in Xen", set_gdt((u64 *)0xffff82d040200000, 512));
	frames[0] = pvg_root_mfn();
	R("set_gdt, a page table", set_gdt(frames, 512));
	frames[0] = start_info->shared_info >> 12;
	R("set_gdt, shared_info", set_gdt(frames, 512));
	frames[0] = pvg_mfn_of(gdt);
	R("set_gdt, 5 entries", set_gdt(frames, 5));
	load("  ds = 0x0b", pvg_load_ds, 0x0b);
	frames[1] = pvg_mfn_of(gdt);
	R("set_gdt, the same frame twice", set_gdt(frames, 1024));
	load("  ds = 0x100b, in the second", pvg_load_ds, 0x100b);
}

static void bad_gdt_contents(void)
{
	u64 frames[1];

	pvg_set_ro(plain);
	frames[0] = pvg_mfn_of(plain);
	for (unsigned int i = 0; i < ARRAY_SIZE(descs); i++) {
		long r;

		pvg_set_rw(plain);
		plain[3] = descs[i].d;
		pvg_set_ro(plain);
		r = set_gdt(frames, 512);
		printf("set_gdt with a %s: %le", descs[i].name, r);
		if (!r && plain[3] != descs[i].d)
			printf(", became %lx", plain[3]);
		printf("\n");
		frames[0] = pvg_mfn_of(gdt);
		set_gdt(frames, 512);
		frames[0] = pvg_mfn_of(plain);
	}
	pvg_set_rw(plain);
	plain[3] = 0;
}

static void updates(void)
{
	u64 ma = pvg_mfn_of(gdt) << 12, ok = 0x00cff3000000ffff;

	update_all("update", gdt);
	R("update, not a multiple of 8", HC2(update_descriptor, ma + 4, ok));
	R("update, no such frame", HC2(update_descriptor, 0x3ffffffful << 12, ok));
	R("update, in the root", HC2(update_descriptor, pvg_root_mfn() << 12, ok));
	R("update, in an ordinary page",
	  HC2(update_descriptor, (pvg_mfn_of(plain) << 12) + 16, ok));
	printf("  written: %d\n", plain[2] == ok);
	R("update, a bad one in an ordinary page",
	  HC2(update_descriptor, (pvg_mfn_of(plain) << 12) + 16, 0x0000890000000067));
}

static void ldts(void)
{
	ldt[1] = 0x00cff3000000ffff;
	ldt[2] = 0x0000890000000067; /* a TSS: not allowed */
	R("SET_LDT, page mapped writable", pvg_mmuext(MMUEXT_SET_LDT, (u64)ldt, 512));
	load("  ds = 0x0f", pvg_load_ds, 0x0f);
	R("  make it read-only", pvg_set_ro(ldt));
	load("  ds = 0x0f, a bad one in the page", pvg_load_ds, 0x0f);
	pvg_set_rw(ldt);
	ldt[2] = 0;
	pvg_set_ro(ldt);
	load("  ds = 0x0f", pvg_load_ds, 0x0f);
	R("  map it writable", pvg_set_rw(ldt));
	load("  fs = 0x0f", load_fs, 0x0f);
	load("  ds = 0x17, empty", pvg_load_ds, 0x17);
	load("  ds = 0x100f, beyond", pvg_load_ds, 0x100f);
	R("  update entry 3",
	  HC2(update_descriptor, (pvg_mfn_of(ldt) << 12) + 24, 0x00cff3000000ffff));
	load("  ds = 0x1f", pvg_load_ds, 0x1f);
	R("SET_LDT null", pvg_mmuext(MMUEXT_SET_LDT, 0, 0));
	load("  ds = 0x0f", pvg_load_ds, 0x0f);
	R("  map it writable", pvg_set_rw(ldt));
	R("SET_LDT on an unmapped page",
	  (pvg_map(ldt, 0), pvg_mmuext(MMUEXT_SET_LDT, (u64)ldt, 512)));
	load("  ds = 0x0f", pvg_load_ds, 0x0f);
}

void guest_main(void)
{
	pvg_events_init();
	pvg_traps_init();
	gdt = pvg_page_alloc();
	ldt = pvg_page_alloc();
	plain = pvg_page_alloc();
	gdts();
	bad_gdt_contents();
	updates();
	ldts();
}
