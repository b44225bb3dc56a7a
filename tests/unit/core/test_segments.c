/* SPDX-License-Identifier: MIT */
/* Descriptor tables by hypercall, segment registers and far transfers by instruction. */
#include "harness.h"

#include "core/cpu/desc.h"
#include "core/mm/mm.h"

#define CODE64	0x00affb000000ffffull
#define CODE32	0x00cffb000000ffffull
#define DATA	0x00cff3000000ffffull
#define RODATA	0x00cff1000000ffffull
#define EXEONLY 0x00aff9000000ffffull
#define ABSENT	0x00cf73000000ffffull

/* Base 0x12345678, limit 0x9abcd bytes. */
static uint64_t based(void)
{
	return 0x12ull << 56 | 0x4ull << 52 | 0x9ull << 48 | 0xf3ull << 40 | 0x34ull << 32 |
	       0x5678ull << 16 | 0xabcd;
}

enum { S_CODE64 = 1, S_CODE32, S_DATA, S_RO, S_EXE, S_ABSENT, S_BASED, S_DPL0 };
#define SEL(index) ((uint16_t)((index) << 3 | 3))

/* A GDT with one of each. S_DPL0 is raised to DPL 3 by the check. */
static void load_gdt(struct dom *t)
{
	uint64_t *gdt = page_ptr(t, PG_GDT);
	uint64_t frame = PG_GDT;

	gdt[S_CODE64] = CODE64;
	gdt[S_CODE32] = CODE32;
	gdt[S_DATA] = DATA;
	gdt[S_RO] = RODATA;
	gdt[S_EXE] = EXEONLY;
	gdt[S_ABSENT] = ABSENT;
	gdt[S_BASED] = based();
	gdt[S_DPL0] = DATA & ~(3ull << 45);
	assert_int_equal(call(t, __HYPERVISOR_set_gdt, ARG(t, &frame), 32, 0, 0), 0);
}

static long set_gdt(struct dom *t, uint64_t frame, unsigned int entries)
{
	return call(t, __HYPERVISOR_set_gdt, ARG(t, &frame), entries, 0, 0);
}

/* ---- set_gdt, update_descriptor ---------------------------------------------------------- */

static void a_gdt_is_checked_and_taken(void **state)
{
	struct dom *t = dom_new();

	load_gdt(t);
	assert_int_equal(t->c.v->gdt_ents, 32);
	assert_true(frame_is(t->frames[PG_GDT].type, FRAME_SEG_DESC));
	assert_int_equal(((uint64_t *)page_ptr(t, PG_GDT))[S_DPL0], DATA);
	/* A system segment is not for guests: the old table stays. */
	uint64_t refs = t->frames[PG_GDT].type;

	((uint64_t *)page_ptr(t, PG_READONLY))[5] = 0x0000890000000067ull; /* a TSS */
	assert_int_equal(set_gdt(t, PG_READONLY, 512), -XEN_EINVAL);
	assert_int_equal(t->frames[PG_GDT].type, refs);
	assert_int_equal(set_gdt(t, PG_DATA, 512), -XEN_EINVAL); /* writable */
	assert_int_equal(set_gdt(t, PG_L1, 512), -XEN_EINVAL);
	assert_int_equal(set_gdt(t, NR_FRAMES + 5, 512), -XEN_EINVAL);
	assert_int_equal(set_gdt(t, ~0ull, 1), -XEN_EINVAL);
	assert_int_equal(set_gdt(t, PG_GDT, FIRST_RESERVED_GDT_ENTRY + 1), -XEN_EINVAL);
	assert_int_equal(call(t, __HYPERVISOR_set_gdt, UNMAPPED, 512, 0, 0), -XEN_EFAULT);
	assert_int_equal(t->c.v->gdt_ents, 32);
	/* The same again, then none. */
	assert_int_equal(set_gdt(t, PG_GDT, 32), 0);
	assert_int_equal(t->frames[PG_GDT].type, refs);
	assert_int_equal(set_gdt(t, 0, 0), 0);
	assert_int_equal(t->c.v->gdt_ents, 0);
	assert_int_equal(frame_trefs(t->frames[PG_GDT].type), 0);
	dom_free(t);
}

static void all_frames_or_none(void **state)
{
	struct dom *t = dom_new();
	uint64_t frames[2] = {PG_GDT, PG_DATA};

	assert_int_equal(call(t, __HYPERVISOR_set_gdt, ARG(t, &frames), 513, 0, 0), -XEN_EINVAL);
	assert_int_equal(frame_trefs(t->frames[PG_GDT].type), 0);
	assert_int_equal(frame_refs(t->frames[PG_GDT].type), 2); /* the reservation, one PTE */
	dom_free(t);
}

static long update(struct dom *t, uint64_t address, uint64_t desc)
{
	return call(t, __HYPERVISOR_update_descriptor, address, desc, 0, 0);
}

static void descriptors_are_updated_in_place(void **state)
{
	struct dom *t = dom_new();
	const uint64_t *gdt = page_ptr(t, PG_GDT);

	load_gdt(t);
	assert_int_equal(update(t, VA(PG_GDT) + 8 * 20, DATA & ~(3ull << 45)), 0);
	assert_int_equal(gdt[20], DATA);
	assert_int_equal(update(t, VA(PG_GDT) + 8 * 20, 0), 0);
	assert_int_equal(gdt[20], 0);
	assert_int_equal(update(t, VA(PG_DATA) + 16, DATA), 0); /* a plain page */
	assert_int_equal(peek(t, VA(PG_DATA) + 16), DATA);
	assert_int_equal(update(t, VA(PG_GDT) + 4, DATA), -XEN_EINVAL);
	assert_int_equal(update(t, VA(PG_GDT) + 8, 0x0000890000000067ull), -XEN_EINVAL);
	assert_int_equal(update(t, VA(PG_L1) + 8, DATA), -XEN_EINVAL);
	assert_int_equal(update(t, VA(NR_FRAMES), DATA), -XEN_EINVAL);
	assert_int_equal(update(t, VA(M2P), DATA), -XEN_EINVAL);
	assert_int_equal(update(t, ~7ull, DATA), -XEN_EINVAL);
	/* Gates: to the guest's own code only. */
	assert_int_equal(update(t, VA(PG_GDT) + 8, 0x0000ec0000080000ull), 0);
	assert_int_equal(update(t, VA(PG_GDT) + 8, 0x0000ec00e0080000ull), -XEN_EINVAL);
	dom_free(t);
}

/* ---- segment bases ----------------------------------------------------------------------- */

static void bases_by_hypercall(void **state)
{
	struct dom *t = dom_new();
	struct core_regs *r = &t->c.v->regs;
#define BASE(which, base) call(t, __HYPERVISOR_set_segment_base, (which), (base), 0, 0)

	load_gdt(t);
	assert_int_equal(BASE(SEGBASE_FS, 0x1000), 0);
	assert_int_equal(BASE(SEGBASE_GS_USER, 0x2000), 0);
	assert_int_equal(BASE(SEGBASE_GS_KERNEL, 0xffff888000000000ull), 0);
	assert_int_equal(r->fs_base, 0x1000);
	assert_int_equal(r->gs_base_other, 0x2000);
	assert_int_equal(r->gs_base, 0xffff888000000000ull);
	assert_int_equal(BASE(SEGBASE_FS, 1ull << 47), -XEN_EINVAL);
	assert_int_equal(BASE(SEGBASE_GS_USER, 1ull << 63), -XEN_EINVAL);
	assert_int_equal(BASE(SEGBASE_GS_KERNEL, 1ull << 47), -XEN_EINVAL);
	assert_int_equal(BASE(4, 0), -XEN_EINVAL);

	assert_int_equal(BASE(SEGBASE_GS_USER_SEL, S_BASED << 3), 0);
	assert_int_equal(r->gs, SEL(S_BASED));
	assert_int_equal(r->gs_base_other, 0x12345678);
	assert_int_equal(r->gs_base, 0xffff888000000000ull);
	assert_int_equal(BASE(SEGBASE_GS_USER_SEL, SEL(S_ABSENT)), 0); /* becomes null */
	assert_int_equal(r->gs, 0);
	assert_int_equal(r->gs_base_other, 0);
	dom_free(t);
}

static void stack_switch(void **state)
{
	struct dom *t = dom_new();

	assert_int_equal(call(t, __HYPERVISOR_stack_switch, 0x2b, 0x5000, 0, 0), 0);
	assert_int_equal(t->c.v->kernel_ss, 0x2b);
	assert_int_equal(t->c.v->kernel_sp, 0x5000);
	assert_int_equal(call(t, __HYPERVISOR_stack_switch, 0xe010, 0x5000, 0, 0), 0);
	assert_int_equal(t->c.v->kernel_ss, 0xe02b);
	dom_free(t);
}

/* ---- loading segment registers ----------------------------------------------------------- */

static void try_load(struct dom *t, uint8_t modrm, uint16_t sel)
{
	uint8_t insn[2] = {0x8e, modrm};

	REG(t, RAX) = 0xabcd0000 | sel;
	REG(t, RSP) = STACK_TOP;
	code(t, insn, 2);
	core_emulate(&t->c);
}

static void loads(struct dom *t, uint8_t modrm, uint16_t sel)
{
	try_load(t, modrm, sel);
	if (t->c.v->regs.rip != VA(PG_CODE) + 2)
		fail_msg("selector %04x is not loaded", sel);
}

static void load_faults(struct dom *t, uint8_t modrm, uint16_t sel, unsigned int vector,
			uint32_t error)
{
	try_load(t, modrm, sel);
	assert_int_equal(assert_bounced(t, vector, error).rip, VA(PG_CODE));
}

#define TO_ES 0xc0
#define TO_CS 0xc8
#define TO_SS 0xd0
#define TO_DS 0xd8
#define TO_FS 0xe0
#define TO_GS 0xe8

static struct dom *with_traps(void)
{
	struct dom *t = dom_new();

	load_gdt(t);
	for (unsigned int v = 6; v < 15; v++)
		set_trap(t, v, 0);
	return t;
}

static void mov_to_data_segments(void **state)
{
	struct dom *t = with_traps();
	struct core_regs *r = &t->c.v->regs;

	loads(t, TO_DS, SEL(S_DATA));
	loads(t, TO_ES, SEL(S_RO));
	loads(t, TO_DS, SEL(S_CODE64)); /* readable code */
	loads(t, TO_DS, 0);
	loads(t, TO_DS, 3);
	loads(t, TO_ES, FLAT_RING3_DS32);
	loads(t, TO_ES, SEL(S_DPL0));
	loads(t, TO_ES, S_DATA << 3); /* RPL 0: the CPL counts */
	assert_int_equal(r->es, S_DATA << 3);
	load_faults(t, TO_ES, SEL(S_EXE), 13, S_EXE << 3);
	load_faults(t, TO_ES, SEL(S_ABSENT), 11, S_ABSENT << 3);
	load_faults(t, TO_ES, SEL(20), 13, 20 << 3);	   /* an empty entry */
	load_faults(t, TO_ES, SEL(40), 13, 40 << 3);	   /* beyond the table */
	load_faults(t, TO_ES, 0xe013, 13, 0xe010);	   /* the hypervisor's: DPL 0 */
	load_faults(t, TO_ES, 0xfff3, 13, 0xfff0);	   /* beyond everything */
	load_faults(t, TO_ES, SEL(1) | 4, 13, 1 << 3 | 4); /* there is no LDT */
	load_faults(t, TO_CS, SEL(S_CODE64), 6, 0);
	assert_int_equal(r->es, S_DATA << 3);
	dom_free(t);
}

static void mov_to_fs_and_gs_loads_the_base(void **state)
{
	struct dom *t = with_traps();
	struct core_regs *r = &t->c.v->regs;

	r->fs_base = 0x5555;
	loads(t, TO_FS, SEL(S_BASED));
	assert_int_equal(r->fs_base, 0x12345678);
	loads(t, TO_GS, SEL(S_BASED));
	assert_int_equal(r->gs_base, 0x12345678);
	loads(t, TO_FS, SEL(S_DATA));
	assert_int_equal(r->fs_base, 0);
	loads(t, TO_GS, 0);
	assert_int_equal(r->gs_base, 0);
	dom_free(t);
}

static void mov_to_ss_is_strict(void **state)
{
	struct dom *t = with_traps();

	loads(t, TO_SS, SEL(S_DATA));
	loads(t, TO_SS, FLAT_RING3_SS64);
	load_faults(t, TO_SS, 0, 13, 0);
	load_faults(t, TO_SS, S_DATA << 3, 13, S_DATA << 3); /* RPL must be 3 */
	load_faults(t, TO_SS, SEL(S_RO), 13, S_RO << 3);
	load_faults(t, TO_SS, SEL(S_CODE64), 13, S_CODE64 << 3);
	load_faults(t, TO_SS, SEL(S_ABSENT), 12, S_ABSENT << 3);
	dom_free(t);
}

static void mov_from_segments(void **state)
{
	struct dom *t = with_traps();

	REG(t, RAX) = ~0ull;
	EMULATE(t, 0x8c, 0xc8); /* mov %cs, %eax */
	assert_int_equal(REG(t, RAX), 0xe033);
	REG(t, RAX) = ~0ull;
	EMULATE(t, 0x66, 0x8c, 0xd0); /* mov %ss, %ax */
	assert_int_equal(REG(t, RAX), 0xffffffffffffe02bull);
	REG(t, RAX) = ~0ull;
	EMULATE(t, 0x48, 0x8c, 0xd8); /* mov %ds, %rax */
	assert_int_equal(REG(t, RAX), 0);
	poke(t, VA(PG_DATA), ~0ull);
	REG(t, RBX) = VA(PG_DATA);
	EMULATE(t, 0x48, 0x8c, 0x0b); /* mov %cs, (%rbx): 16 bits */
	assert_int_equal(peek(t, VA(PG_DATA)), 0xffffffffffffe033ull);
	CODE(t, 0x8c, 0xf0); /* no such register */
	core_emulate(&t->c);
	assert_bounced(t, 6, 0);
	dom_free(t);
}

static void memory_operands_in_all_forms(void **state)
{
	struct dom *t = with_traps();
	struct core_regs *r = &t->c.v->regs;
	uint16_t *data = page_ptr(t, PG_DATA);

#define FROM(...)                                                                                  \
	do {                                                                                       \
		r->es = 0;                                                                         \
		EMULATE(t, __VA_ARGS__);                                                           \
		assert_int_equal(r->es, SEL(S_DATA));                                              \
	} while (0)
	data[8] = SEL(S_DATA); /* at PG_DATA + 16 */
	REG(t, RBX) = VA(PG_DATA);
	REG(t, R12) = VA(PG_DATA);
	REG(t, R13) = 8;
	REG(t, RBP) = VA(PG_DATA) + 128;
	FROM(0x8e, 0x43, 0x10);				/* 16(%rbx) */
	FROM(0x8e, 0x83, 0x10, 0x00, 0x00, 0x00);	/* 16(%rbx), disp32 */
	FROM(0x41, 0x8e, 0x44, 0x24, 0x10);		/* 16(%r12): needs a SIB */
	FROM(0x43, 0x8e, 0x04, 0x6c);			/* (%r12,%r13,2) */
	FROM(0x8e, 0x45, 0x90);				/* -112(%rbp) */
	FROM(0x8e, 0x04, 0x25, 0x10, 0xf0, 0x00, 0x00); /* absolute */
	assert_int_equal(VA(PG_DATA), 0xf000);
	/* rip-relative: the code page is just below. */
	FROM(0x8e, 0x05, 0x0a, 0x10, 0x00, 0x00);
	/* Segment bases and 32-bit addresses. */
	r->fs_base = 16;
	FROM(0x64, 0x8e, 0x03);
	r->gs_base = (uint64_t)-16;
	FROM(0x65, 0x8e, 0x43, 0x20);
	REG(t, RBX) |= 0xdead00000000ull;
	FROM(0x67, 0x8e, 0x43, 0x10);
	REG(t, RBX) = VA(PG_HOLE);
	CODE(t, 0x8e, 0x03);
	core_emulate(&t->c);
	assert_bounced(t, 14, 0);
	REG(t, RBX) = 0x800000000000ull;
	CODE(t, 0x8e, 0x03);
	core_emulate(&t->c);
	assert_bounced(t, 13, 0);
	dom_free(t);
}

static void push_and_pop(void **state)
{
	struct dom *t = with_traps();
	struct core_regs *r = &t->c.v->regs;

	r->fs = SEL(S_DATA);
	EMULATE(t, 0x0f, 0xa0); /* push %fs */
	assert_int_equal(REG(t, RSP), STACK_TOP - 8);
	assert_int_equal(peek(t, STACK_TOP - 8), SEL(S_DATA));
	EMULATE(t, 0x0f, 0xa9); /* pop %gs */
	assert_int_equal(r->gs, SEL(S_DATA));
	assert_int_equal(REG(t, RSP), STACK_TOP);
	EMULATE(t, 0x66, 0x0f, 0xa8);
	assert_int_equal(REG(t, RSP), STACK_TOP - 2);
	EMULATE(t, 0x66, 0x0f, 0xa1);
	assert_int_equal(REG(t, RSP), STACK_TOP);
	poke(t, STACK_TOP - 8, SEL(S_ABSENT));
	REG(t, RSP) = STACK_TOP - 8;
	CODE(t, 0x0f, 0xa1);
	core_emulate(&t->c);
	assert_int_equal(assert_bounced(t, 11, S_ABSENT << 3).rsp, STACK_TOP - 8);
	dom_free(t);
}

static void far_pointers(void **state)
{
	struct dom *t = with_traps();
	struct core_regs *r = &t->c.v->regs;
	uint8_t *data = page_ptr(t, PG_DATA);
	uint16_t sel = SEL(S_BASED);

	poke(t, VA(PG_DATA), 0x1122334455667788ull);
	memcpy(data + 8, &sel, 2);
	memcpy(data + 32, data, 4);
	memcpy(data + 36, &sel, 2);
	REG(t, RBX) = VA(PG_DATA);
	EMULATE(t, 0x48, 0x0f, 0xb4, 0x0b); /* lfs (%rbx), %rcx */
	assert_int_equal(REG(t, RCX), 0x1122334455667788ull);
	assert_int_equal(r->fs, sel);
	assert_int_equal(r->fs_base, 0x12345678);
	REG(t, RBX) = VA(PG_DATA) + 32;
	EMULATE(t, 0x0f, 0xb5, 0x0b); /* lgs, 32 bits */
	assert_int_equal(REG(t, RCX), 0x55667788);
	assert_int_equal(r->gs, sel);
	EMULATE(t, 0x0f, 0xb2, 0x0b); /* lss */
	assert_int_equal(r->ss, sel);
	CODE(t, 0x0f, 0xb4, 0xcb); /* register form */
	core_emulate(&t->c);
	assert_bounced(t, 6, 0);
	dom_free(t);
}

/* ---- LDT --------------------------------------------------------------------------------- */

static void set_ldt(struct dom *t, uint64_t base, unsigned int entries)
{
	struct mmuext_op op = {.cmd = MMUEXT_SET_LDT, .arg1.linear_addr = base};

	op.arg2.nr_ents = entries;
	assert_int_equal(call(t, __HYPERVISOR_mmuext_op, ARG(t, &op), 1, 0, DOMID_SELF), 0);
}

static void ldt_descriptors(void **state)
{
	struct dom *t = with_traps();
	uint64_t *ldt = page_ptr(t, PG_LDT);

	ldt[0] = DATA;
	ldt[1] = based();
	set_ldt(t, VA(PG_LDT), 3);
	loads(t, TO_ES, 0 << 3 | 7);
	loads(t, TO_FS, 1 << 3 | 7);
	assert_int_equal(t->c.v->regs.fs_base, 0x12345678);
	load_faults(t, TO_ES, 2 << 3 | 7, 13, 2 << 3 | 4);
	load_faults(t, TO_ES, 3 << 3 | 7, 13, 3 << 3 | 4);
	set_ldt(t, VA(PG_HOLE), 512);
	load_faults(t, TO_ES, 2 << 3 | 7, 14, 0);
	assert_int_equal(core_vcpu_info(&t->c, t->c.v)->arch.cr2, VA(PG_HOLE) + 16);
	dom_free(t);
}

static long map(struct dom *t, unsigned int page, uint64_t pte)
{
	return call(t, __HYPERVISOR_update_va_mapping, VA(page), pte, 0, 0);
}

/* A page of the LDT is a descriptor page from its first use until there is another LDT. */
static void ldt_pages(void **state)
{
	const uint64_t ro = VA(PG_LDT) | PTE_PRESENT, rw = ro | PTE_RW;
	struct dom *t = with_traps();
	uint64_t *ldt = page_ptr(t, PG_LDT), refs = t->frames[PG_LDT].type;

	ldt[0] = DATA & ~(3ull << 45);
	set_ldt(t, VA(PG_LDT), 3);
	/* Mapped writable. */
	assert_int_equal(map(t, PG_LDT, rw), 0);
	load_faults(t, TO_ES, 7, 14, 0);
	assert_int_equal(core_vcpu_info(&t->c, t->c.v)->arch.cr2, VA(PG_LDT));
	assert_int_equal(map(t, PG_LDT, ro), 0);
	/* A descriptor no guest may have, whichever selector is loaded. */
	ldt[2] = 0x0000890000000067ull;
	load_faults(t, TO_ES, 7, 14, 0);
	assert_int_equal(frame_trefs(t->frames[PG_LDT].type), 0);
	ldt[2] = 0;
	loads(t, TO_ES, 7);
	assert_int_equal(ldt[0], DATA); /* DPL 3 now */
	assert_true(frame_is(t->frames[PG_LDT].type, FRAME_SEG_DESC));
	assert_int_equal(map(t, PG_LDT, rw), -XEN_EBUSY);
	loads(t, TO_ES, 7);
	assert_int_equal(frame_trefs(t->frames[PG_LDT].type), 1);
	/* That its mapping goes changes nothing. */
	assert_int_equal(map(t, PG_LDT, 0), 0);
	assert_int_equal(frame_trefs(t->frames[PG_LDT].type), 1);
	loads(t, TO_ES, 7);
	assert_int_equal(map(t, PG_LDT, ro), 0);
	/* Another LDT. */
	set_ldt(t, VA(PG_HOLE), 3);
	assert_int_equal(frame_trefs(t->frames[PG_LDT].type), 0);
	assert_int_equal(frame_refs(t->frames[PG_LDT].type), frame_refs(refs));
	dom_free(t);
}

/* ---- looking at selectors ---------------------------------------------------------------- */

static bool zf(struct dom *t)
{
	return (t->c.v->regs.rflags & CORE_FLAG_ZF) != 0;
}

static void lar_and_lsl(void **state)
{
	struct dom *t = with_traps();

	REG(t, RAX) = SEL(S_BASED);
	EMULATE(t, 0x0f, 0x02, 0xc8); /* lar %eax, %ecx */
	assert_true(zf(t));
	assert_int_equal(REG(t, RCX), 0x0040f300);
	EMULATE(t, 0x0f, 0x03, 0xc8); /* lsl */
	assert_int_equal(REG(t, RCX), 0x9abcd);
	REG(t, RAX) = SEL(S_DATA);
	EMULATE(t, 0x48, 0x0f, 0x03, 0xc8); /* page granular */
	assert_int_equal(REG(t, RCX), 0xffffffff);
	REG(t, RCX) = ~0ull;
	EMULATE(t, 0x66, 0x0f, 0x03, 0xc8);
	assert_int_equal(REG(t, RCX), ~0ull);

	static const uint16_t invisible[] = {0, 3, SEL(20), SEL(40), 0xe013, 0xfffb, SEL(1) | 4};

	for (unsigned int i = 0; i < sizeof(invisible) / 2; i++) {
		REG(t, RAX) = invisible[i];
		REG(t, RCX) = 0x77;
		t->c.v->regs.rflags |= CORE_FLAG_ZF;
		EMULATE(t, 0x0f, 0x02, 0xc8);
		assert_false(zf(t));
		assert_int_equal(REG(t, RCX), 0x77);
		t->c.v->regs.rflags |= CORE_FLAG_ZF;
		EMULATE(t, 0x0f, 0x03, 0xc8);
		assert_false(zf(t));
	}
	dom_free(t);
}

static void verr_and_verw(void **state)
{
	static const struct {
		uint16_t sel;
		bool read, write;
	} cases[] = {
		{SEL(S_DATA), true, true},
		{SEL(S_RO), true, false},
		{SEL(S_CODE64), true, false},
		{SEL(S_EXE), false, false},
		{0, false, false},
		{SEL(20), false, false},
		{FLAT_RING3_DS32, true, true},
	};
	struct dom *t = with_traps();

	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		REG(t, RAX) = cases[i].sel;
		EMULATE(t, 0x0f, 0x00, 0xe0);
		assert_int_equal(zf(t), cases[i].read);
		EMULATE(t, 0x0f, 0x00, 0xe8);
		assert_int_equal(zf(t), cases[i].write);
	}
	dom_free(t);
}

static void tables_are_the_hypervisors(void **state)
{
	struct dom *t = with_traps();
	uint8_t *data = page_ptr(t, PG_DATA);
	uint64_t base;

	REG(t, RBX) = VA(PG_DATA);
	memset(data, 0xcc, 16);
	EMULATE(t, 0x0f, 0x01, 0x03); /* sgdt */
	memcpy(&base, data + 2, 8);
	assert_int_equal(data[0] | data[1] << 8, 0xefff);
	assert_true(base >= 0xffff800000000000ull && base < 0xffff880000000000ull);
	assert_int_equal(data[10], 0xcc);
	EMULATE(t, 0x0f, 0x01, 0x0b); /* sidt */
	assert_int_equal(data[0] | data[1] << 8, 0xfff);
	EMULATE(t, 0x0f, 0x00, 0xc8); /* str %eax */
	assert_int_equal(REG(t, RAX), 0xe040);
	EMULATE(t, 0x0f, 0x00, 0xc0); /* sldt %eax */
	assert_int_equal(REG(t, RAX), 0);
	set_ldt(t, VA(PG_LDT), 1);
	EMULATE(t, 0x0f, 0x00, 0x03);
	assert_int_equal(data[0] | data[1] << 8, 0xe050);
	EMULATE(t, 0x0f, 0x01, 0xe0); /* smsw %eax */
	assert_int_equal(REG(t, RAX), 0x80050033);
	REG(t, RBX) = VA(PG_READONLY);
	CODE(t, 0x0f, 0x01, 0x03);
	core_emulate(&t->c);
	assert_bounced(t, 14, 3);
	dom_free(t);
}

/* ---- flags ------------------------------------------------------------------------------- */

static void pushf_and_popf(void **state)
{
	struct dom *t = with_traps();
	struct core_regs *r = &t->c.v->regs;

	r->rflags = 0x202 | CORE_FLAG_CF | CORE_FLAG_DF;
	t->c.v->iopl = 3;
	EMULATE(t, 0x9c);
	assert_int_equal(peek(t, STACK_TOP - 8), 0x202 | CORE_FLAG_CF | CORE_FLAG_DF);
	poke(t, STACK_TOP - 8, 0x3ff7fd7 & ~CORE_FLAG_TF); /* everything, but IF off, IOPL 3 */
	EMULATE(t, 0x9d);
	assert_int_equal(r->rflags, 0x202 | (CORE_FLAGS_USER & ~CORE_FLAG_TF));
	assert_int_equal(REG(t, RSP), STACK_TOP);
	/* 16 bits: the upper flags stay. */
	poke(t, STACK_TOP - 2, 0);
	REG(t, RSP) = STACK_TOP - 2;
	EMULATE(t, 0x66, 0x9d);
	assert_int_equal(r->rflags, 0x202 | CORE_FLAG_AC | CORE_FLAG_ID);
	REG(t, RSP) = VA(PG_HOLE) + 0x100;
	CODE(t, 0x9c);
	core_emulate(&t->c);
	assert_crashed(t, "stack"); /* and the handler has no stack either */
	dom_free(t);
}

static void fsgsbase(void **state)
{
	struct dom *t = with_traps();
	struct core_regs *r = &t->c.v->regs;

	CODE(t, 0xf3, 0x48, 0x0f, 0xae, 0xc0);
	core_emulate(&t->c);
	assert_bounced(t, 6, 0); /* cr4.FSGSBASE is off */
	t->c.v->cr4 |= CORE_CR4_FSGSBASE;
	r->fs_base = 0xffff888012345678ull;
	EMULATE(t, 0xf3, 0x48, 0x0f, 0xae, 0xc0); /* rdfsbase %rax */
	assert_int_equal(REG(t, RAX), 0xffff888012345678ull);
	EMULATE(t, 0xf3, 0x0f, 0xae, 0xc0);
	assert_int_equal(REG(t, RAX), 0x12345678);
	REG(t, RCX) = 0xffffffff80001000ull;
	EMULATE(t, 0xf3, 0x48, 0x0f, 0xae, 0xd9); /* wrgsbase %rcx */
	assert_int_equal(r->gs_base, 0xffffffff80001000ull);
	EMULATE(t, 0xf3, 0x0f, 0xae, 0xd1); /* wrfsbase %ecx */
	assert_int_equal(r->fs_base, 0x80001000);
	EMULATE(t, 0xf3, 0x48, 0x0f, 0xae, 0xc9); /* rdgsbase %rcx */
	REG(t, RCX) = 1ull << 47;
	CODE(t, 0xf3, 0x48, 0x0f, 0xae, 0xd1);
	core_emulate(&t->c);
	assert_bounced(t, 13, 0);
	dom_free(t);
}

/* ---- far transfers ----------------------------------------------------------------------- */

static void iretq_within_ring_3(void **state)
{
	struct dom *t = with_traps();
	struct core_regs *r = &t->c.v->regs;
	uint64_t sp = STACK_TOP - 40;

	poke(t, sp, 0x7000);
	poke(t, sp + 8, SEL(S_CODE64));
	poke(t, sp + 16, 0x3000 | CORE_FLAG_ZF); /* IF off, IOPL 3: both without effect */
	poke(t, sp + 24, 0x8000);
	poke(t, sp + 32, SEL(S_DATA));
	REG(t, RSP) = sp;
	CODE(t, 0x48, 0xcf);
	core_emulate(&t->c);
	assert_int_equal(r->rip, 0x7000);
	assert_int_equal(r->cs, SEL(S_CODE64));
	assert_int_equal(r->rflags, 0x202 | CORE_FLAG_ZF);
	assert_int_equal(REG(t, RSP), 0x8000);
	assert_int_equal(r->ss, SEL(S_DATA));
	assert_int_equal(t->c.v->kernel_mode, 1);
	r->cs = FLAT_RING3_CS64;

	poke(t, sp + 8, S_CODE64 << 3); /* RPL 0: not from ring 3 */
	REG(t, RSP) = sp;
	CODE(t, 0x48, 0xcf);
	core_emulate(&t->c);
	assert_bounced(t, 13, S_CODE64 << 3);
	poke(t, sp + 8, SEL(S_CODE64));
	poke(t, sp + 32, 0);
	REG(t, RSP) = sp;
	CODE(t, 0x48, 0xcf);
	core_emulate(&t->c);
	assert_bounced(t, 13, 0);
	r->rflags |= CORE_FLAG_NT;
	CODE(t, 0x48, 0xcf);
	core_emulate(&t->c);
	assert_bounced(t, 13, 0);
	dom_free(t);
}

static void far_return(void **state)
{
	struct dom *t = with_traps();
	struct core_regs *r = &t->c.v->regs;
	uint64_t sp = STACK_TOP - 64;

	poke(t, sp, 0x7000);
	poke(t, sp + 8, SEL(S_CODE64));
	REG(t, RSP) = sp;
	CODE(t, 0x48, 0xcb);
	core_emulate(&t->c);
	assert_int_equal(r->rip, 0x7000);
	assert_int_equal(r->cs, SEL(S_CODE64));
	assert_int_equal(REG(t, RSP), sp + 16);
	r->cs = FLAT_RING3_CS64;
	REG(t, RSP) = sp;
	CODE(t, 0x48, 0xca, 0x10, 0x00);
	core_emulate(&t->c);
	assert_int_equal(REG(t, RSP), sp + 32);
	r->cs = FLAT_RING3_CS64;

	static const struct {
		uint64_t rip;
		uint16_t sel;
		unsigned int vector;
		uint32_t error;
	} bad[] = {
		{0x7000, 0, 13, 0},
		{0x7000, SEL(S_DATA), 13, S_DATA << 3},
		{0x7000, SEL(S_ABSENT), 13, S_ABSENT << 3},
		{0x7000, SEL(20), 13, 20 << 3},
		{0x7000, 0xe00b, 13, 0xe008},
		{0x800000000000ull, SEL(S_CODE64), 13, 0},
		{0x100000000ull, SEL(S_CODE32), 13, 0}, /* beyond its limit */
	};

	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		poke(t, sp, bad[i].rip);
		poke(t, sp + 8, bad[i].sel);
		REG(t, RSP) = sp;
		CODE(t, 0x48, 0xcb);
		core_emulate(&t->c);
		assert_int_equal(assert_bounced(t, bad[i].vector, bad[i].error).rsp, sp);
	}
	dom_free(t);
}

static void far_calls_and_jumps(void **state)
{
	struct dom *t = with_traps();
	struct core_regs *r = &t->c.v->regs;
	uint16_t sel = S_CODE64 << 3;

	poke(t, VA(PG_DATA), 0x7000);
	memcpy((uint8_t *)page_ptr(t, PG_DATA) + 8, &sel, 2);
	REG(t, RBX) = VA(PG_DATA);
	CODE(t, 0x48, 0xff, 0x2b); /* rex.w jmp *(%rbx) far */
	core_emulate(&t->c);
	assert_int_equal(r->rip, 0x7000);
	assert_int_equal(r->cs, SEL(S_CODE64)); /* the RPL becomes 3 */
	r->cs = FLAT_RING3_CS64;
	CODE(t, 0x48, 0xff, 0x1b); /* call */
	core_emulate(&t->c);
	assert_int_equal(r->rip, 0x7000);
	assert_int_equal(REG(t, RSP), STACK_TOP - 16);
	assert_int_equal(peek(t, STACK_TOP - 16), VA(PG_CODE) + 3);
	assert_int_equal(peek(t, STACK_TOP - 8), FLAT_RING3_CS64);
	r->cs = FLAT_RING3_CS64;
	CODE(t, 0xff, 0xdb); /* register form */
	core_emulate(&t->c);
	assert_bounced(t, 6, 0);
	dom_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_gdt_is_checked_and_taken),
		cmocka_unit_test(all_frames_or_none),
		cmocka_unit_test(descriptors_are_updated_in_place),
		cmocka_unit_test(bases_by_hypercall),
		cmocka_unit_test(stack_switch),
		cmocka_unit_test(mov_to_data_segments),
		cmocka_unit_test(mov_to_fs_and_gs_loads_the_base),
		cmocka_unit_test(mov_to_ss_is_strict),
		cmocka_unit_test(mov_from_segments),
		cmocka_unit_test(memory_operands_in_all_forms),
		cmocka_unit_test(push_and_pop),
		cmocka_unit_test(far_pointers),
		cmocka_unit_test(ldt_descriptors),
		cmocka_unit_test(ldt_pages),
		cmocka_unit_test(lar_and_lsl),
		cmocka_unit_test(verr_and_verw),
		cmocka_unit_test(tables_are_the_hypervisors),
		cmocka_unit_test(pushf_and_popf),
		cmocka_unit_test(fsgsbase),
		cmocka_unit_test(iretq_within_ring_3),
		cmocka_unit_test(far_return),
		cmocka_unit_test(far_calls_and_jumps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
