/* SPDX-License-Identifier: MIT */
/*
 * Code that changes: patched in place, run from data, remapped under the same address, written
 * through another mapping, copied by the hypervisor.
 */
#include "pvg.h"

static u8 *code, *other; /* two pages */

static void in_place(void)
{
	u32 sum = 0;

	pvg_code_put(code, 1);
	printf("generated code: %d\n", pvg_code_run(code));
	pvg_code_put(code, 2);
	printf("overwritten: %d\n", pvg_code_run(code));
	for (u32 i = 0; i < 1000; i++) {
		pvg_code_put(code, i);
		sum += pvg_code_run(code);
	}
	printf("overwritten 1000 times: %d\n", sum);
	code[1] = 0x77;
	printf("one byte of its operand changed: %d\n", pvg_code_run(code));
	__asm__ volatile("lock xaddl %0, (%1)" ::"r"(0x100), "r"(code + 1) : "memory");
	printf("changed by xadd: %d\n", pvg_code_run(code));
	__asm__ volatile("rep stosb" ::"D"(code), "a"(0x90), "c"(8ul) : "memory");
	pvg_code_put(code + 8, 9);
	printf("nops written by stosb: %d\n", pvg_code_run(code));
}

/* The instruction after next is rewritten from inside the same block. */
static void ahead(void)
{
	u32 v;

	for (u32 i = 0; i < 5; i++) {
		__asm__ volatile("movl %1, 1f+1(%%rip)\n"
				 "jmp 1f\n"
				 ".balign 16\n"
				 "1: movl $0x12345678, %%eax\n"
				 "movl %%eax, %0\n"
				 : "=r"(v)
				 : "r"(i * 11)
				 : "eax", "memory");
		printf("patched just ahead: %d\n", v);
	}
}

static void other_mapping(void)
{
	u64 mc = pvg_mfn_of(code), mo = pvg_mfn_of(other);

	pvg_code_put(code, 100);
	pvg_code_put(other, 200);
	printf("before: %d %d\n", pvg_code_run(code), pvg_code_run(other));
	printf("map the other's frame here: %le, ", pvg_map(code, mo << 12 | PTE_KERN));
	printf("runs %d\n", pvg_code_run(code));
	pvg_code_put(other, 201);
	printf("written through the other address: %d\n", pvg_code_run(code));
	printf("map it back: %le, ", pvg_map(code, mc << 12 | PTE_KERN));
	printf("runs %d\n", pvg_code_run(code));
	for (u32 i = 0, sum = 0; i < 100; i++) {
		pvg_map(code, (i & 1 ? mo : mc) << 12 | PTE_KERN);
		sum += pvg_code_run(code);
		if (i == 99)
			printf("remapped 100 times: %d\n", sum);
	}
	pvg_map(code, mc << 12 | PTE_KERN);
	pvg_code_put(code, 300);
	pvg_mmuext(MMUEXT_COPY_PAGE, mo, mc);
	printf("copied by mmuext: %d\n", pvg_code_run(other));
	pvg_code_put(code, 400);
	printf("run: %d\n", pvg_code_run(code));
	pvg_mmuext(MMUEXT_CLEAR_PAGE, mc, 0);
	code[0] = 0xc3;
	printf("cleared by mmuext, then a ret: %d\n", pvg_code_run(code) != 400);
	pvg_code_put(code, 500);
	{
		struct gnttab_copy c = {.len = 64, .flags = 0};

		c.source.domid = c.dest.domid = DOMID_SELF;
		c.source.u.gmfn = mc;
		c.dest.u.gmfn = mo;
		HC3(grant_table_op, GNTTABOP_copy, &c, 1);
		printf("copied by grant copy: %le %d\n", (long)c.status, pvg_code_run(other));
	}
	pvg_mmu_update(mo << 12, 0x90909000000258b8); /* mov $0x258, eax; nops */
	other[5] = 0xc3;
	printf("written by mmu_update: %d\n", pvg_code_run(other));
}

static void rights(void)
{
	u64 *e = pvg_entry((u64)code, 1), v = *e;

	pvg_code_put(code, 7);
	printf("run: %d\n", pvg_code_run(code));
	pvg_map(code, v | PTE_NX);
	printf("NX: %d", pvg_try((void (*)(void))code));
	printf(" error %lx\n", pvg_caught.f.error);
	pvg_map(code, v & ~PTE_RW);
	printf("executable and read-only: %d\n", pvg_code_run(code));
	pvg_map(code, 0);
	printf("unmapped: %d", pvg_try((void (*)(void))code));
	printf(" error %lx\n", pvg_caught.f.error);
	pvg_map(code, v);
	printf("mapped again: %d\n", pvg_code_run(code));
}

/* A function across the end of a page; its second half is remapped. */
static void across(void)
{
	u8 *p = pvg_pages_alloc(2), *spare = pvg_page_alloc();
	u32 v = 0x11223344;
	u64 second = pvg_mfn_of(p + PAGE_SIZE);

	pvg_code_put(p + PAGE_SIZE - 3, v);
	printf("across two pages: %x\n", pvg_code_run(p + PAGE_SIZE - 3));
	memcpy(spare, p + PAGE_SIZE, 64);
	spare[0] = 0xaa;
	pvg_map(p + PAGE_SIZE, pvg_mfn_of(spare) << 12 | PTE_KERN);
	printf("the second page replaced: %x\n", pvg_code_run(p + PAGE_SIZE - 3));
	pvg_map(p + PAGE_SIZE, 0);
	printf("the second page missing: %d", pvg_try((void (*)(void))(p + PAGE_SIZE - 3)));
	printf(" error %lx, rip at the function: %d, cr2 at the page: %d\n", pvg_caught.f.error,
	       pvg_caught.f.rip == (u64)p + PAGE_SIZE - 3, pvg_caught.cr2 == (u64)p + PAGE_SIZE);
	pvg_map(p + PAGE_SIZE, second << 12 | PTE_KERN);
	printf("back: %x\n", pvg_code_run(p + PAGE_SIZE - 3));
}

/* Two functions at one address in two address spaces. */
static void roots(void)
{
	u64 *root = (u64 *)start_info->pt_base, *copy = pvg_page_alloc(), *l3 = pvg_page_alloc(),
	    *l2 = pvg_page_alloc(), *l1 = pvg_page_alloc();
	u8 *fn = (u8 *)(300ul << 39 | 0xffff000000000000);
	u64 old = pvg_mfn_of(root);

	pvg_code_put(code, 1000);
	l1[0] = pvg_mfn_of(code) << 12 | PTE_KERN;
	pvg_set_ro(l1);
	l2[0] = pvg_mfn_of(l1) << 12 | PTE_KERN;
	pvg_set_ro(l2);
	l3[0] = pvg_mfn_of(l2) << 12 | PTE_KERN;
	pvg_set_ro(l3);
	for (int i = 0; i < 512; i++)
		copy[i] = i >= 256 && i < 272 ? 0 : root[i];
	copy[300] = pvg_mfn_of(l3) << 12 | PTE_KERN;
	pvg_set_ro(copy);
	printf("new root: %le\n", pvg_mmuext(MMUEXT_NEW_BASEPTR, pvg_mfn_of(copy), 0));
	printf("code at a high address there: %d\n", pvg_code_run(fn));
	printf("old root: %le\n", pvg_mmuext(MMUEXT_NEW_BASEPTR, old, 0));
	printf("not there: %d", pvg_try((void (*)(void))fn));
	printf(" error %lx\n", pvg_caught.f.error);
}

void guest_main(void)
{
	pvg_events_init();
	pvg_traps_init();
	code = pvg_page_alloc();
	other = pvg_page_alloc();
	/* the text is writable in the builder's map unless its owner says otherwise */
	in_place();
	ahead();
	other_mapping();
	rights();
	across();
	roots();
}
