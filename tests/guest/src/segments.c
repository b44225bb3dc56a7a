/* SPDX-License-Identifier: MIT */
/* fs and gs, far transfers, gates, and the processor's identity by forced emulation. */
#include "pvg.h"

static u64 cell[4] = {0x1111, 0x2222, 0x3333, 0x4444};

static u64 fs0(void)
{
	u64 v;

	__asm__ volatile("movq %%fs:0, %0" : "=r"(v)::"memory");
	return v;
}
static u64 gs0(void)
{
	u64 v;

	__asm__ volatile("movq %%gs:0, %0" : "=r"(v)::"memory");
	return v;
}
static void wrmsr(u32 nr, u64 v)
{
	__asm__ volatile("wrmsr" ::"c"(nr), "a"((u32)v), "d"((u32)(v >> 32)));
}
static u64 rdmsr(u32 nr)
{
	u32 lo, hi;

	__asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(nr));
	return (u64)hi << 32 | lo;
}

static void bases(void)
{
	u32 sel;

	HC2(set_segment_base, SEGBASE_FS, &cell[0]);
	HC2(set_segment_base, SEGBASE_GS_KERNEL, &cell[1]);
	printf("by hypercall: fs %lx gs %lx\n", fs0(), gs0());
	wrmsr(0xc0000100, (u64)&cell[2]);
	wrmsr(0xc0000101, (u64)&cell[3]);
	printf("by wrmsr: fs %lx gs %lx\n", fs0(), gs0());
	printf("rdmsr agrees: %d %d\n", rdmsr(0xc0000100) == (u64)&cell[2],
	       rdmsr(0xc0000101) == (u64)&cell[3]);
	HC2(set_segment_base, SEGBASE_GS_USER, &cell[0]);
	printf("the user's gs does not matter here: %lx, rdmsr KERNEL_GS_BASE is it: %d\n", gs0(),
	       rdmsr(0xc0000102) == (u64)&cell[0]);
	__asm__ volatile("movl %%fs, %0" : "=r"(sel));
	printf("fs selector %x\n", sel);
	/* a null selector: Intel clears the base, AMD keeps it; gs goes on working after a reload
	 */
	__asm__ volatile("xorl %%eax, %%eax\n movl %%eax, %%fs\n movl %%eax, %%gs" ::: "eax");
	HC2(set_segment_base, SEGBASE_FS, &cell[0]);
	HC2(set_segment_base, SEGBASE_GS_KERNEL, &cell[1]);
	printf("null selectors, then bases: fs %lx gs %lx\n", fs0(), gs0());
	HC2(sched_op, SCHEDOP_yield, 0);
	printf("after a yield: fs %lx gs %lx\n", fs0(), gs0());
	__asm__ volatile("movl %0, %%fs" ::"r"(KERNEL_DS));
	printf("fs = kernel ds: base is 0: %d\n", rdmsr(0xc0000100) == 0);
	__asm__ volatile("xorl %%eax, %%eax\n movl %%eax, %%fs" ::: "eax");
	{
		u64 a = 0, b = 1, c = 2;

		HC2(set_segment_base, SEGBASE_GS_KERNEL, cell);
		__asm__ volatile(
			"movq %%gs:8(,%3,8), %0\n addq $1, %%gs:16\n lock xaddq %1, %%gs:24\n"
			"movq $0x77, %%gs:0\n"
			: "=r"(a), "+r"(b)
			: "r"(0ul), "r"(c)
			: "memory");
		printf("forms: %lx %lx %lx %lx %lx\n", a, b, cell[2], cell[3], cell[0]);
	}
}

static u64 gdt_page[512] __page;

/* Runs at the target of far transfers. */
static void far_targets(void)
{
	u64 sel;
	struct {
		u64 off;
		u16 sel;
	} __attribute__((packed)) ptr;

	__asm__ volatile(
		"leaq 1f(%%rip), %%rax\n movq %%rax, %0\n movw $0xe033, %1\n rex.w ljmp *%0\n1:"
		: "=m"(ptr.off), "=m"(ptr.sel)::"rax", "memory");
	printf("ljmp to the kernel's cs: works\n");
	__asm__ volatile(
		"leaq 1f(%%rip), %%rax\n movq %%rax, %0\n movw $0xe033, %1\n rex.w lcall *%0\n"
		"jmp 2f\n1: movq 8(%%rsp), %2\n lretq\n2:"
		: "=m"(ptr.off), "=m"(ptr.sel), "=r"(sel)::"rax", "memory");
	printf("lcall to the kernel's cs: cs on the stack %lx\n", sel & 0xffff);
}

static void far_to(u64 sel, u64 b, u64 c)
{
	struct {
		u64 off;
		u16 sel;
	} __attribute__((packed)) volatile ptr = {b, (u16)sel};

	__asm__ volatile("rex.w lcall *%0" ::"m"(ptr) : "memory");
}

static void try_far(const char *name, u64 sel)
{
	if (pvg_try3(far_to, sel, (u64)pvg_image, 0))
		printf("%s: %s error %lx\n", name,
		       pvg_vector_name((unsigned int)pvg_caught.f.vector), pvg_caught.f.error);
	else
		printf("%s: came back\n", name);
}

static void gates(void)
{
	u64 f;

	gdt_page[1] = 0x0000ec00e0330000; /* call gate, DPL 3 */
	gdt_page[3] = 0x00cff3000000ffff;
	f = pvg_mfn_of(gdt_page);
	pvg_set_ro(gdt_page);
	printf("set_gdt with a call gate: %le\n", HC2(set_gdt, &f, 512));
	try_far("lcall through the gate", 0x0b);
	try_far("lcall to a data segment", 0x1b);
	try_far("lcall to an empty one", 0x23);
	try_far("lcall to Xen's cs", 0xe008);
	try_far("lcall to null", 0);
}

static void cpuid(u32 leaf, u32 sub, u32 *r)
{
	__asm__ volatile("ud2\n .ascii \"xen\"\n cpuid"
			 : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3])
			 : "0"(leaf), "2"(sub));
}

static void identity(void)
{
	u32 r[4];

	cpuid(0x40000000, 0, r);
	printf("leaf 40000000: maximum >= 40000003 %d, %x %x %x\n", r[0] >= 0x40000003, r[1], r[2],
	       r[3]);
	cpuid(0x40000001, 0, r);
	printf("leaf 40000001: %x %x %x %x\n", r[0], r[1], r[2], r[3]);
	cpuid(0x40000002, 0, r);
	printf("leaf 40000002: pages %d msr %x features %x %x\n", r[0], r[1], r[2], r[3]);
	cpuid(0x40000003, 0, r);
	printf("leaf 40000003, 0: TSC mode %d\n", r[1]);
	cpuid(1, 0, r);
	printf("leaf 1 ecx: vmx %d monitor %d smx %d est %d tm2 %d pdcm %d dca %d hypervisor %d\n",
	       r[2] >> 5 & 1, r[2] >> 3 & 1, r[2] >> 6 & 1, r[2] >> 7 & 1, r[2] >> 8 & 1,
	       r[2] >> 15 & 1, r[2] >> 18 & 1, r[2] >> 31 & 1);
	printf("leaf 1 edx: fpu %d vme %d de %d pse %d tsc %d msr %d pae %d mce %d cx8 %d apic %d "
	       "sep %d\n",
	       r[3] & 1, r[3] >> 1 & 1, r[3] >> 2 & 1, r[3] >> 3 & 1, r[3] >> 4 & 1, r[3] >> 5 & 1,
	       r[3] >> 6 & 1, r[3] >> 7 & 1, r[3] >> 8 & 1, r[3] >> 9 & 1, r[3] >> 11 & 1);
	printf("  mtrr %d pge %d mca %d cmov %d pat %d pse36 %d ds %d acpi %d mmx %d fxsr %d sse "
	       "%d sse2 %d"
	       " tm %d pbe %d\n",
	       r[3] >> 12 & 1, r[3] >> 13 & 1, r[3] >> 14 & 1, r[3] >> 15 & 1, r[3] >> 16 & 1,
	       r[3] >> 17 & 1, r[3] >> 21 & 1, r[3] >> 22 & 1, r[3] >> 23 & 1, r[3] >> 24 & 1,
	       r[3] >> 25 & 1, r[3] >> 26 & 1, r[3] >> 29 & 1, r[3] >> 31 & 1);
	cpuid(0x80000001, 0, r);
	printf("leaf 80000001 edx: syscall %d nx %d 1gb %d lm %d; ecx: lahf %d svm %d\n",
	       r[3] >> 11 & 1, r[3] >> 20 & 1, r[3] >> 26 & 1, r[3] >> 29 & 1, r[2] & 1,
	       r[2] >> 2 & 1);
	cpuid(5, 0, r);
	printf("leaf 5 (monitor): %x %x %x %x\n", r[0], r[1], r[2], r[3]);
	cpuid(0xa, 0, r);
	printf("leaf a (pmu): %x %x %x %x\n", r[0], r[1], r[2], r[3]);
	cpuid(0x40000100, 0, r);
	printf("leaf 40000100: %x\n", r[0] | r[1] | r[2] | r[3]);
}

void guest_main(void)
{
	pvg_events_init();
	pvg_traps_init();
	bases();
	far_targets();
	gates();
	identity();
}
