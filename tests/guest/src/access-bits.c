/* SPDX-License-Identifier: MIT */
/*
 * Who may do what to a page: every combination of the rights in the L1 and the L2 entry, and some
 * further up; the guest's kernel and a program read, write and jump there.
 */
#include "pvg.h"

#define SPACE 0x8000000000ul /* the second slot of the root is in both roots */
#define CODE  (SPACE + (1ul << 21))
#define STACK (CODE + 0x1000)
#define PAGE  (SPACE + 0x5000)

static u64 *l3, *l2, *l1, *code_l1, *user_root;
static u8 *data;

static void load(u64 a, u64 b, u64 c)
{
	(void)*(volatile u8 *)a;
}
static void store(u64 a, u64 b, u64 c)
{
	*(volatile u8 *)a = 0xc3;
}
static void jump(u64 a, u64 b, u64 c)
{
	((void (*)(void))a)();
}

/* "." or the error code of the page fault, behind a letter of its own if it is none. */
static void end(bool trapped, u64 vector, u64 error, bool place)
{
	if (!trapped)
		printf(" .");
	else if (vector == 14 && place)
		printf(" %lx", error);
	else
		printf(" %s/%lx", pvg_vector_name((unsigned int)vector), error);
}

static void by_kernel(void (*fn)(u64, u64, u64))
{
	bool trapped;

	pvg_invlpg((void *)PAGE);
	data[0] = 0xc3;
	trapped = pvg_try3(fn, PAGE, 0, 0);
	end(trapped, pvg_caught.f.vector, pvg_caught.f.error, pvg_caught.cr2 == PAGE);
}

/* rcx: the page */
__asm__(".pushsection .text\n.globl user_code, user_code_end\nuser_code:\n"
	"movb (%rcx), %al\n jmp 1f\n.balign 16\n"
	"movb $0xc3, (%rcx)\n jmp 1f\n.balign 16\n"
	"call *%rcx\n"
	"1: syscall\nuser_code_end:\n.popsection");
extern const u8 user_code[], user_code_end[];

static void by_program(unsigned int what)
{
	pvg_invlpg((void *)PAGE);
	data[0] = 0xc3;
	pvg_user_defaults(CODE + what * 16, STACK + 2048);
	pvg_user_frame.rcx = PAGE;
	pvg_user_go();
	end(pvg_user.how == PVG_USER_TRAP, pvg_user.f.vector, pvg_user.f.error,
	    pvg_user.cr2 == PAGE);
}

static void all(void)
{
	by_kernel(load);
	by_kernel(store);
	by_kernel(jump);
	printf(" |");
	by_program(0);
	by_program(1);
	by_program(2);
	printf("\n");
}

static u64 rights(unsigned int k)
{
	return PTE_P | (k & 1 ? PTE_RW : 0) | (k & 2 ? PTE_US : 0) | (k & 4 ? PTE_NX : 0);
}

static void show(const char *name, unsigned int k)
{
	printf("%s%s%s%s", name, k & 1 ? "w" : "-", k & 2 ? "u" : "-", k & 4 ? "n" : "-");
}

static long set(u64 *table, unsigned int slot, const void *page, u64 flags)
{
	return pvg_mmu_update((pvg_mfn_of(table) << 12) + slot * 8, pvg_mfn_of(page) << 12 | flags);
}

static u64 *table(void)
{
	u64 *t = pvg_page_alloc();

	pvg_set_ro(t);
	return t;
}

static void build(void)
{
	u8 *code = pvg_page_alloc(), *stack = pvg_page_alloc();

	memcpy(code, user_code, (u64)(user_code_end - user_code));
	data = pvg_page_alloc();
	l3 = table();
	l2 = table();
	l1 = table();
	code_l1 = table();
	user_root = table();
	printf("root %le", set((u64 *)start_info->pt_base, 1, l3, PTE_KERN | PTE_US));
	printf(" %le", set(l3, 0, l2, PTE_KERN | PTE_US));
	printf(" %le", set(l2, 0, l1, PTE_KERN | PTE_US));
	printf(" %le", set(l2, 1, code_l1, PTE_KERN | PTE_US));
	printf(" %le", set(code_l1, 0, code, PTE_P | PTE_US));
	printf(" %le", set(code_l1, 1, stack, PTE_KERN | PTE_US));
	printf(" %le", pvg_mmuext(MMUEXT_PIN_L4_TABLE, pvg_mfn_of(user_root), 0));
	printf(" %le", set(user_root, 1, l3, PTE_KERN | PTE_US));
	printf(" %le\n", pvg_mmuext(MMUEXT_NEW_USER_BASEPTR, pvg_mfn_of(user_root), 0));
}

void guest_main(void)
{
	pvg_events_init();
	pvg_traps_init();
	pvg_user_init();
	build();
	printf("rights of the entries: the kernel reads, writes, jumps | a program does\n");
	for (unsigned int k2 = 0; k2 < 8; k2++) {
		for (unsigned int k1 = 0; k1 < 8; k1++) {
			set(l2, 0, l1, rights(k2));
			set(l1, 5, data, rights(k1));
			show("L2 ", k2);
			show(" L1 ", k1);
			all();
		}
	}
	set(l2, 0, l1, PTE_KERN | PTE_US);
	for (unsigned int k = 0; k < 8; k++) {
		set(l1, 5, data, rights(3));
		set(l3, 0, l2, rights(k | 2));
		show("L3 ", k | 2);
		all();
	}
	set(l3, 0, l2, rights(3));
	for (unsigned int k = 0; k < 8; k++) {
		set(l1, 5, data, rights(k));
		printf("global, ");
		pvg_mmu_update((pvg_mfn_of(l1) << 12) + 5 * 8,
			       pvg_mfn_of(data) << 12 | rights(k) | PTE_G | 7ul << 9 | 1ul << 58);
		show("L1 ", k);
		all();
	}
	for (unsigned int k = 0; k < 4; k++) {
		static const u64 odd[] = {0, PTE_RW | PTE_US, PTE_NX, ~1ul & ~PTE_ADDR};

		pvg_mmu_update((pvg_mfn_of(l1) << 12) + 5 * 8, pvg_mfn_of(data) << 12 | odd[k]);
		printf("not present, %lx:", odd[k]);
		all();
		printf("  entry %lx\n", l1[5] & ~PTE_ADDR);
	}
	set(l1, 5, data, PTE_P | PTE_RW | PTE_US);
	by_kernel(load);
	printf(" entry after a read: %lx\n", l1[5] & ~PTE_ADDR);
	by_program(1);
	printf(" entry after a write: %lx, L2 %lx\n", l1[5] & ~PTE_ADDR, l2[0] & ~PTE_ADDR);
	for (unsigned int k = 0; k < 4; k++) { /* another frame, another table in the middle */
		u64 *other = table();

		set(l2, 0, other, PTE_KERN | PTE_US);
		printf("another L1");
		all();
		set(l2, 0, l1, PTE_KERN | PTE_US);
		printf("the first one");
		all();
	}
	pvg_mmuext(MMUEXT_NEW_USER_BASEPTR, 0, 0);
}
