/* SPDX-License-Identifier: MIT */
/*
 * Random walks over the debug registers: by hypercall and by instruction, values legal and not,
 * with CR4.DE set and clear; what #DB leaves in dr6; watchpoints that hit and that do not.
 */
#include "pvg.h"

#define WALKS 8
#define STEPS 640

static struct {
	u64 before[8], cell[4], after[8];
} page __attribute__((aligned(4096)));

static u64 extra, hits, seen6;
static bool keep6; /* the handler leaves dr6 as it is */

u64 dbg_value;

#define DR(n)                                                                                      \
	INSN(to_dr##n, "movq dbg_value(%rip), %rax\n movq %rax, %dr" #n);                          \
	INSN(from_dr##n, "movq %dr" #n ", %rax\n movq %rax, dbg_value(%rip)")
DR(0);
DR(1);
DR(2);
DR(3);
DR(6);
DR(7);
/* 4 and 5 are other names of 6 and 7, unless CR4.DE is set; 8 does not exist. */
INSN(to_dr4, "movq dbg_value(%rip), %rax\n .byte 0x0f, 0x23, 0xe0");
INSN(from_dr4, ".byte 0x0f, 0x21, 0xe0\n movq %rax, dbg_value(%rip)");
INSN(to_dr5, "movq dbg_value(%rip), %rax\n .byte 0x0f, 0x23, 0xe8");
INSN(from_dr5, ".byte 0x0f, 0x21, 0xe8\n movq %rax, dbg_value(%rip)");
INSN(to_dr8, "movq dbg_value(%rip), %rax\n .byte 0x44, 0x0f, 0x23, 0xc0");
INSN(from_dr8, ".byte 0x44, 0x0f, 0x21, 0xc0\n movq %rax, dbg_value(%rip)");
INSN(step, "pushfq\n orq $0x100, (%rsp)\n popfq\n nop\n pushfq\n andq $~0x100, (%rsp)\n popfq");
INSN(load, "movq (%rdi), %rax");
INSN(store, "movq %rsi, (%rdi)");
INSN(store4, "movl %esi, 4(%rdi)");
INSN(store1, "movb %sil, 2(%rdi)");

static void (*const to[9])(void) = {t_to_dr0, t_to_dr1, t_to_dr2, t_to_dr3, t_to_dr4,
				    t_to_dr5, t_to_dr6, t_to_dr7, t_to_dr8};
static void (*const from[9])(void) = {t_from_dr0, t_from_dr1, t_from_dr2, t_from_dr3, t_from_dr4,
				      t_from_dr5, t_from_dr6, t_from_dr7, t_from_dr8};

static bool trap(struct trap_frame *f)
{
	if (f->vector != 1)
		return false;
	hits++;
	seen6 = pvg_mix(seen6, (u64)HC1(get_debugreg, 6));
	seen6 = pvg_mix(seen6, (u64)HC1(get_debugreg, 7));
	SAY(" [#DB dr6 %lx]", (u64)HC1(get_debugreg, 6));
	if (!keep6)
		HC2(set_debugreg, 6, 0);
	f->rflags &= ~0x100ul;
	return true;
}

/* A vector as a result, so that it is a letter. */
static long caught(void)
{
	SAY(" [vector %ld error %lx]", pvg_caught.f.vector, pvg_caught.f.error);
	return pvg_caught.f.vector == 13 ? -3 : pvg_caught.f.vector == 6 ? -38 : -62;
}

static u32 reg(void)
{
	static const u32 odd[] = {8, 9, 15, 16, 1u << 31, ~0u};

	return pvg_rnd() % 8 ? (u32)(pvg_rnd() % 8) : PICK(odd);
}

static u64 value(u32 r)
{
	const u64 addresses[] = {(u64)&page.cell[0],
				 (u64)&page.cell[1],
				 (u64)&page.cell[2],
				 (u64)&page.cell[3],
				 0,
				 0x600000000000,
				 0xffff82d040200000,
				 0xffff800000000000 - 8,
				 0xffff880000000000 - 1,
				 0xffff7fffffffffff,
				 1ul << 47,
				 (1ul << 47) - 1,
				 1ul << 63,
				 ~0ul};
	static const u64 states[] = {0,	     0xffff0ff0, 0x400,	 0xf,	 0x4000,
				     0x8000, 0x2000,	 0x1000, ~0u,	 1ul << 32,
				     ~0ul,   1u << 16,	 0xff00, 0x10000};
	u64 v;

	if ((r & 7) < 4)
		return PICK(addresses);
	if (r == 4 || r == 6)
		return PICK(states);
	if (pvg_rnd() % 4 == 0)
		return PICK(states) & ~0xfful;
	/* How, but none is armed: touch() does that. And now and then a bit that may not be. */
	v = 0;
	for (unsigned int i = 0; i < 4; i++) {
		static const u8 kinds[] = {0, 1, 1, 3, 3, 1, 3, 2};

		v |= (u64)(PICK(kinds) | (pvg_rnd() & 3) << 2) << (16 + 4 * i);
	}
	if (pvg_rnd() % 8 == 0)
		v |= 1ul << (8 + pvg_rnd() % 56);
	return v;
}

/* Nothing of it may be armed for execution or for I/O where the walk itself goes. */
static long set(u32 r)
{
	u64 v = value(r);

	if (pvg_rnd() & 1 && r <= 8) {
		dbg_value = v;
		SAY("mov %lx to dr%d", v, r);
		return pvg_try(to[r]) ? caught() : 0;
	}
	SAY("set_debugreg %x %lx", r, v);
	return HC2(set_debugreg, r | (pvg_rnd() % 16 ? 0 : 1ul << 32), v);
}

static long get(u32 r)
{
	long v;

	if (pvg_rnd() & 1 && r <= 8) {
		dbg_value = 0;
		SAY("mov from dr%d", r);
		if (pvg_try(from[r]))
			return caught();
		v = (long)dbg_value;
	} else {
		v = HC1(get_debugreg, r);
		SAY("get_debugreg %x", r);
	}
	SAY(" = %lx", v);
	/* Addresses within the image are where the linker put them. */
	extra = pvg_mix(extra, (u64)v - (u64)&page < PAGE_SIZE ? (u64)v & 0xfff : (u64)v);
	return v < 0 && v > -4096 ? v : 0;
}

static u64 cr4(void)
{
	u64 v;

	__asm__ volatile("movq %%cr4, %0" : "=r"(v));
	return v;
}

static long touch(void)
{
	static void (*const how[])(void) = {t_load, t_store, t_store4, t_store1};
	u64 *at = &page.cell[pvg_rnd() % 4];
	unsigned int k = (unsigned int)(pvg_rnd() % 4), i = (unsigned int)(pvg_rnd() % 4),
		     kind = pvg_rnd() & 1 ? 1 : 3, len = (unsigned int)(pvg_rnd() & 3);
	bool trapped;

	/*
	 * One at a time, aligned, and dr6 as it is at the start: QEMU keeps in dr6 what others had
	 * hit before.
	 */
	HC2(set_debugreg, 7, 0);
	HC2(set_debugreg, 6, 0);
	HC2(set_debugreg, i, (u64)&page.cell[pvg_rnd() % 4]);
	HC2(set_debugreg, 7, 2ul << 2 * i | (u64)(kind | len << 2) << (16 + 4 * i));
	SAY("touch %d cell %ld, dr%d kind %d len %d", k, at - page.cell, i, kind, len);
	trapped = pvg_try3((void (*)(u64, u64, u64))how[k], (u64)at, 5, 0);
	HC2(set_debugreg, 7, 0);
	HC2(set_debugreg, 6, 0);
	return trapped ? caught() : 0;
}

static long one(void)
{
	u64 v;
	long r;

	hits = seen6 = 0;
	keep6 = pvg_rnd() & 1;
	switch (pvg_rnd() % 16) {
	case 0 ... 5:
		r = set(reg());
		break;
	case 6 ... 8:
		r = get(reg());
		break;
	case 9:
		v = cr4() ^ 8;
		SAY("cr4.DE = %d", v >> 3 & 1);
		__asm__ volatile("movq %0, %%cr4" ::"r"(v));
		r = (long)(cr4() >> 3 & 1);
		break;
	case 10:
		/* QEMU shows in dr6 what an armed watchpoint had hit before. */
		HC2(set_debugreg, 7, 0);
		SAY("step");
		r = pvg_try(t_step) ? caught() : 0;
		break;
	default:
		r = touch();
		break;
	}
	extra = pvg_mix(pvg_mix(extra, hits), seen6);
	return r;
}

static u64 state(void)
{
	u64 sum = extra;

	for (unsigned int i = 0; i < 8; i++) {
		u64 v = (u64)HC1(get_debugreg, i);

		sum = pvg_mix(sum, v - (u64)&page < PAGE_SIZE ? v & 0xfff : v);
	}
	return sum;
}

void guest_main(void)
{
	pvg_events_init();
	pvg_traps_init();
	pvg_trap_hook = trap;
	for (unsigned int walk = 0; walk < WALKS; walk++) {
		pvg_seed(walk + 7000);
		extra = 0;
		HC2(set_debugreg, 7, 0);
		HC2(set_debugreg, 6, 0);
		for (unsigned int i = 0; i < 4; i++)
			HC2(set_debugreg, i, 0);
		printf("walk %d\n", walk);
		pvg_walk(walk, STEPS, one, state);
	}
	HC2(set_debugreg, 7, 0);
}
