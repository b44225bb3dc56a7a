/* SPDX-License-Identifier: MIT */
/* Jumps to where nothing is, at addresses that have their low 32 bits in common with code. */
#include "pvg.h"

u64 hits;
void landing(void);
/* Counts its calls and returns. */
__asm__(".pushsection .text\n.globl landing\nlanding: incq hits(%rip)\n ret\n .popsection");

static void jump(u64 to, u64 b, u64 c)
{
	__asm__ volatile("leaq 1f(%%rip), %%rcx\n pushq %%rcx\n jmp *%0\n1:" ::"r"(to)
			 : "rcx", "memory");
}
static void call(u64 to, u64 b, u64 c)
{
	__asm__ volatile("call *%0" ::"r"(to) : "memory");
}
static void ret(u64 to, u64 b, u64 c)
{
	__asm__ volatile("leaq 1f(%%rip), %%rcx\n pushq %%rcx\n pushq %0\n ret\n1:" ::"r"(to)
			 : "rcx", "memory");
}

static void go(const char *name, void (*fn)(u64, u64, u64), u64 to)
{
	u64 before = hits;

	if (pvg_try3(fn, to, 0, 0))
		printf("%s: %s error %lx%s\n", name,
		       pvg_vector_name((unsigned int)pvg_caught.f.vector), pvg_caught.f.error,
		       pvg_caught.f.vector == 14 && pvg_caught.f.rip == to ? ", rip is the target"
									   : "");
	else
		printf("%s: %s\n", name, hits != before ? "ran the code" : "came back");
}

void guest_main(void)
{
	u64 low = (u32)(u64)landing;

	pvg_events_init();
	pvg_traps_init();
	go("jump to the code", jump, (u64)landing);
	for (int round = 0; round < 2; round++) {
		go("jump to a hole", jump, 0x123400000000 | low);
		go("call to a hole", call, 0x123400000000 | low);
		go("ret to a hole", ret, 0x123400000000 | low);
		go("jump to a hole in the high half", jump, 0xffff923400000000 | low);
		go("jump to non-canonical", jump, 0x8000000000000000 | low);
		go("ret to non-canonical", ret, 0x8000000000000000 | low);
	}
}
