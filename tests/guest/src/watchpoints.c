/* SPDX-License-Identifier: MIT */
/* Breakpoints and watchpoints of the guest's kernel, at addresses of its own. */
#include "pvg.h"

static struct {
	u64 before[8], cell, other, after[8];
} page __attribute__((aligned(4096)));

static u64 hits, dr6, where[4];

static u64 read_dr6(void)
{
	u64 v;

	__asm__ volatile("movq %%dr6, %0" : "=r"(v));
	return v;
}

static bool trap(struct trap_frame *f)
{
	if (f->vector != 1)
		return false;
	if (hits < 4)
		where[hits] = f->rip;
	hits++;
	dr6 |= read_dr6() & 0xe00f;
	HC2(set_debugreg, 6, 0);
	f->rflags |= 1ul << 16; /* RF: not once more if it was a breakpoint */
	return true;
}

/* rip behind the access, in bytes from the function's beginning */
INSN(load, "movq (%rdi), %rax");
INSN(store, "movq %rsi, (%rdi)");
INSN(store4, "movl %esi, (%rdi)");
INSN(store1, "movb %sil, (%rdi)");
INSN(add, "lock addq $1, (%rdi)");
INSN(two, "movq %rsi, (%rdi)\n movq %rsi, 8(%rdi)");
INSN(pushes, "movq %rsp, %rax\n leaq 8(%rdi), %rsp\n pushq %rsi\n movq %rax, %rsp");
INSN(moves, "leaq 8(%rdi), %rsi\n movsq");
INSN(nops, "nop\n nop\n nop");

typedef void fn_t(u64, u64, u64);

static void go(const char *name, void (*fn)(void), u64 a, u64 b)
{
	bool other;

	hits = dr6 = 0;
	other = pvg_try3((fn_t *)fn, a, b, 0);
	printf("%s: %lu, dr6 %lx", name, hits, dr6);
	for (u64 i = 0; i < hits && i < 4; i++)
		printf(" +%lx", where[i] - (u64)fn);
	printf("%s\n", other ? ", and another trap" : "");
}

static void arm(u32 nr, u64 addr, u32 rw, u32 len)
{
	u64 bits = 2ul << (2 * nr) | (u64)(rw | len << 2) << (16 + 4 * nr);

	printf("breakpoint %u, type %u, length %u: %ld\n", nr, rw, len + 1,
	       HC2(set_debugreg, nr, addr) + HC2(set_debugreg, 7, bits | 0x400));
}

#define LEN1 0
#define LEN8 2
#define LEN4 3
#define X    0
#define W    1
#define RW   3

void guest_main(void)
{
	u64 cell = (u64)&page.cell;

	pvg_events_init();
	pvg_traps_init();
	pvg_trap_hook = trap;
	go("nothing armed", t_store, cell, 1);

	arm(0, cell, W, LEN8);
	go("store", t_store, cell, 2);
	go("store of the same", t_store, cell, 2);
	go("load", t_load, cell, 0);
	go("locked add", t_add, cell, 0);
	go("store of 4 bytes at its end", t_store4, cell + 4, 5);
	go("store of 1 byte", t_store1, cell + 7, 5);
	go("store behind it", t_store, cell + 8, 5);
	go("store before it", t_store, cell - 8, 5);
	go("store across its beginning", t_store, cell - 4, ~0ul);
	go("both", t_two, cell, 7);
	go("push", t_pushes, cell, 9);
	go("movs to it", t_moves, cell, 0);

	arm(1, cell + 8, RW, LEN4);
	go("load", t_load, cell + 8, 0);
	go("load, the other one", t_load, cell, 0);
	go("store", t_store4, cell + 8, 0);
	go("store behind it", t_store1, cell + 12, 0);
	go("movs from it", t_moves, cell, 0);

	arm(2, (u64)t_nops + 1, X, LEN1);
	go("run", t_nops, 0, 0);
	go("again", t_nops, 0, 0);
	go("other code", t_store, cell + 16, 0);
	go("and a load", t_load, cell + 8, 0);

	arm(3, (u64)t_store, X, LEN1);
	go("code that stores", t_store, cell + 16, 0);

	printf("disarmed: %ld\n", HC2(set_debugreg, 7, 0x400));
	go("store", t_store, cell, 2);
	go("run", t_nops, 0, 0);
	printf("the cell: %lx\n", page.cell);
}
