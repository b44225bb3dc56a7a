/* SPDX-License-Identifier: MIT */
/*
 * Privileged and odd instructions with every prefix that may stand in front of them, as the guest's
 * kernel executes them: emulated, refused with which exception, and where rip is then. (Without
 * LOCK and some undefined opcodes: QEMU's TCG, under which Xen was recorded, takes no notice.)
 */
#include "pvg.h"

static u8 code[4096] __page;
static u64 um_rax;

static const struct {
	const char *name;
	u8 len;
	u8 text[10];
	u64 rax, rcx, rdx;
} insns[] = {
	{"hlt", 1, {0xf4}, 0, 0, 0},
	{"cli", 1, {0xfa}, 0, 0, 0},
	{"sti", 1, {0xfb}, 0, 0, 0},
	{"in imm8", 2, {0xe4, 0x80}, 0, 0, 0},
	{"in imm8, 32", 2, {0xe5, 0x80}, 0, 0, 0},
	{"in dx", 1, {0xec}, 0, 0, 0x80},
	{"in dx, 32", 1, {0xed}, 0, 0, 0x80},
	{"out imm8", 2, {0xe6, 0x80}, 0, 0, 0},
	{"out dx", 1, {0xee}, 0, 0, 0x80},
	{"out dx, 32", 1, {0xef}, 0, 0, 0x80},
	{"insb", 1, {0x6c}, 0, 0, 0x80},
	{"insl", 1, {0x6d}, 0, 0, 0x80},
	{"outsb", 1, {0x6e}, 0, 0, 0x80},
	{"outsl", 1, {0x6f}, 0, 0, 0x80},
	{"rdmsr FS_BASE", 2, {0x0f, 0x32}, 0, 0xc0000100, 0},
	{"wrmsr FS_BASE", 2, {0x0f, 0x30}, 0, 0xc0000100, 0},
	{"rdmsr 0x5000", 2, {0x0f, 0x32}, 0, 0x5000, 0},
	{"clts", 2, {0x0f, 0x06}, 0, 0, 0},
	{"wbinvd", 2, {0x0f, 0x09}, 0, 0, 0},
	{"invd", 2, {0x0f, 0x08}, 0, 0, 0},
	{"mov cr0, rax", 3, {0x0f, 0x20, 0xc0}, 0, 0, 0},
	{"mov rax, cr0", 3, {0x0f, 0x22, 0xc0}, 0x80050033, 0, 0},
	{"mov 0, cr0", 3, {0x0f, 0x22, 0xc0}, 0, 0, 0},
	{"mov cr2, rcx", 3, {0x0f, 0x20, 0xd1}, 0, 0, 0},
	{"mov rcx, cr2", 3, {0x0f, 0x22, 0xd1}, 0, 5, 0},
	{"mov cr2 with mod 0", 3, {0x0f, 0x20, 0x11}, 0, 0, 0},
	{"mov cr8, rax", 3, {0x0f, 0x20, 0xc0 | 0 << 3}, 0, 0, 0},
	{"mov bad, cr3", 3, {0x0f, 0x22, 0xd8}, 0x3fffffff000, 0, 0},
	{"mov cr4, rax", 3, {0x0f, 0x20, 0xe0}, 0, 0, 0},
	{"mov dr7, rax", 3, {0x0f, 0x21, 0xf8}, 0, 0, 0},
	{"mov rax, dr7 bad", 3, {0x0f, 0x23, 0xf8}, 0x2000, 0, 0},
	{"mov rax, dr0 non-canonical", 3, {0x0f, 0x23, 0xc0}, 1ul << 47, 0, 0},
	{"mov rax, dr6 high", 3, {0x0f, 0x23, 0xf0}, 1ul << 32, 0, 0},
	{"mov dr4, rax", 3, {0x0f, 0x21, 0xe0}, 0, 0, 0},
	{"lmsw", 3, {0x0f, 0x01, 0xf0}, 0x33, 0, 0},
	{"smsw", 3, {0x0f, 0x01, 0xe0}, 0, 0, 0},
	{"lgdt", 8, {0x0f, 0x01, 0x14, 0x25, 0, 0, 0, 0}, 0, 0, 0},
	{"lidt", 8, {0x0f, 0x01, 0x1c, 0x25, 0, 0, 0, 0}, 0, 0, 0},
	{"lgdt of a register", 3, {0x0f, 0x01, 0xd0 | 4}, 0, 0, 0},
	{"invlpg", 3, {0x0f, 0x01, 0x38}, 0, 0, 0},
	{"swapgs", 3, {0x0f, 0x01, 0xf8}, 0, 0, 0},
	{"monitor", 3, {0x0f, 0x01, 0xc8}, 0, 0, 0},
	{"mwait", 3, {0x0f, 0x01, 0xc9}, 0, 0, 0},
	{"rdpmc", 2, {0x0f, 0x33}, 0, 0, 0},
	{"sysret", 2, {0x0f, 0x07}, 0, 0, 0},
	{"sysexit", 2, {0x0f, 0x35}, 0, 0, 0},
	{"lldt", 3, {0x0f, 0x00, 0xd0}, 0, 0, 0},
	{"ltr", 3, {0x0f, 0x00, 0xd8}, 0, 0, 0},
	{"0f 00 /6", 3, {0x0f, 0x00, 0xf0}, 0, 0, 0},
	{"0f 01 /5", 3, {0x0f, 0x01, 0x28}, 0, 0, 0},
	{"ud2", 2, {0x0f, 0x0b}, 0, 0, 0},
	{"ud1", 3, {0x0f, 0xb9, 0xc0}, 0, 0, 0},
	{"ud0", 3, {0x0f, 0xff, 0xc0}, 0, 0, 0},
	{"into", 1, {0xce}, 0, 0, 0},
	{"bound", 2, {0x62, 0x00}, 0, 0, 0},
	{"aam", 2, {0xd4, 0x0a}, 0, 0, 0},
	{"daa", 1, {0x27}, 0, 0, 0},
	{"push es", 1, {0x06}, 0, 0, 0},
	{"far call", 7, {0x9a, 0, 0, 0, 0, 0, 0}, 0, 0, 0},
	{"far jmp", 7, {0xea, 0, 0, 0, 0, 0, 0}, 0, 0, 0},
	{"mov cs", 2, {0x8e, 0xc8}, 0, 0, 0},
	{"mov to segment 6", 2, {0x8e, 0xf0}, 0, 0, 0},
	{"rsm", 2, {0x0f, 0xaa}, 0, 0, 0},
	{"getsec", 2, {0x0f, 0x37}, 0, 0, 0},
	{"0f 04", 2, {0x0f, 0x04}, 0, 0, 0},
	{"0f 0a", 2, {0x0f, 0x0a}, 0, 0, 0},
	{"0f 24", 3, {0x0f, 0x24, 0xc0}, 0, 0, 0},
	{"salc", 1, {0xd6}, 0, 0, 0},
	{"82", 3, {0x82, 0xc0, 0}, 0, 0, 0},
	{"ff /7", 2, {0xff, 0xf8}, 0, 0, 0},
	{"fe /2", 2, {0xfe, 0xd0}, 0, 0, 0},
	{"int3", 1, {0xcc}, 0, 0, 0},
	{"int 0x80", 2, {0xcd, 0x80}, 0, 0, 0},
};

static const struct {
	const char *name;
	u8 len;
	u8 text[3];
} prefixes[] = {
	{"", 0, {0}},
	{"66", 1, {0x66}},
	{"67", 1, {0x67}},
	{"f2", 1, {0xf2}},
	{"f3", 1, {0xf3}},
	{"2e", 1, {0x2e}},
	{"64", 1, {0x64}},
	{"rex", 1, {0x40}},
	{"rex.w", 1, {0x48}},
	{"rex.r", 1, {0x44}},
	{"rex.b", 1, {0x41}},
	{"66 66", 2, {0x66, 0x66}},
	{"rex.w 66", 2, {0x48, 0x66}},
	{"66 rex.w", 2, {0x66, 0x48}},
};

static void run(u64 i, u64 p, u64 c)
{
	u64 a = insns[i].rax, cx = insns[i].rcx, dx = insns[i].rdx;
	static u8 buffer[64];

	/* Registers that forms with REX name are harmless, too. */
	__asm__ volatile("xorl %%r8d, %%r8d\n xorl %%r9d, %%r9d\n xorl %%r15d, %%r15d\n call *%%rbx"
			 : "+a"(a), "+c"(cx), "+d"(dx)
			 : "b"(code), "S"(buffer), "D"(buffer)
			 : "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc");
	um_rax = a;
}

static u32 outcome(unsigned int i, unsigned int p)
{
	u8 *t = code;

	memcpy(t, prefixes[p].text, prefixes[p].len);
	t += prefixes[p].len;
	memcpy(t, insns[i].text, insns[i].len);
	t += insns[i].len;
	*t++ = 0xc3;
	memset(t, 0xcc, 8);
	if (!pvg_try3(run, i, p, 0))
		return 0xffff;
	return (u32)(pvg_caught.f.vector << 24 | (pvg_caught.f.error & 0xffff) << 8 |
		     ((pvg_caught.f.rip - (u64)code) & 0xff));
}

static void all(void)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(insns); i++) {
		u32 last = 1;

		printf("%s:\n", insns[i].name);
		for (unsigned int p = 0; p < ARRAY_SIZE(prefixes); p++) {
			u32 o = outcome(i, p);
			u32 key = (o & 0xff) == 0 || o == 0xffff ? o : o - prefixes[p].len;

			HC2(set_segment_base, SEGBASE_FS, 0);
			if (p && key == last)
				continue;
			last = key;
			if (o == 0xffff)
				printf("  %s: done\n", prefixes[p].name);
			else
				printf("  %s: %s error %x rip+%d\n", prefixes[p].name,
				       pvg_vector_name(o >> 24), o >> 8 & 0xffff, o & 0xff);
		}
	}
}

void guest_main(void)
{
	struct physdev_set_iopl iopl = {.iopl = 1};

	pvg_events_init();
	pvg_traps_init();
	all();
	printf("IOPL 1\n");
	HC2(physdev_op, PHYSDEVOP_set_iopl, &iopl);
	for (unsigned int i = 0; i < 14; i++) {
		printf("%s:", insns[i].name);
		for (unsigned int p = 0; p < ARRAY_SIZE(prefixes); p++) {
			u32 o;

			/* A repeated one would use up all of rcx. */
			if (i >= 10 && prefixes[p].len &&
			    (prefixes[p].text[0] == 0xf2 || prefixes[p].text[0] == 0xf3))
				continue;
			o = outcome(i, p);
			if (o == 0xffff)
				printf(" %lx", i == 3 || i == 4 || i == 5 || i == 6 ? um_rax : 0);
			else
				printf(" %s+%d", pvg_vector_name(o >> 24), o & 0xff);
		}
		printf("\n");
	}
}
