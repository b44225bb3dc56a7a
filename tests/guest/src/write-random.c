/* SPDX-License-Identifier: MIT */
/*
 * Emulated writes to page tables at random: an instruction, an offset in an entry and a value, and
 * what is in the entry then. A letter for each: done, or a fault.
 */
#include "pvg.h"

static u64 *l1;
static u8 *page, *page2;
static u64 good, good2;

typedef void insn_fn(u64 ptr, u64 val, u64 old);
/* rdi = address of the entry, rsi = value, rdx = compare value; rax comes back */
#define W(name, text) INSN(name, text)
W(mov8, "movq %rsi, (%rdi)");
W(mov4, "movl %esi, (%rdi)");
W(mov4hi, "movl %esi, 4(%rdi)");
W(mov1, "movb %sil, (%rdi)");
W(movimm, "movq $0, (%rdi)");
W(xchg8, "movq %rsi, %rax\n xchgq %rax, (%rdi)");
W(xchg4, "movl %esi, %eax\n xchgl %eax, (%rdi)");
W(cmpxchg8, "movq %rdx, %rax\n lock cmpxchgq %rsi, (%rdi)");
W(cmpxchg_nolock, "movq %rdx, %rax\n cmpxchgq %rsi, (%rdi)");
W(cmpxchg4, "movl %edx, %eax\n lock cmpxchgl %esi, (%rdi)");
W(or8, "orq %rsi, (%rdi)");
W(lockor8, "lock orq %rsi, (%rdi)");
W(and8, "andq %rsi, (%rdi)");
W(and1, "andb $0xfd, (%rdi)");
W(btr, "lock btrq $1, (%rdi)");
W(bts, "lock btsq $1, (%rdi)");
W(stosq, "movq %rsi, %rax\n stosq");
W(movsq, "pushq %rsi\n movq %rsp, %rsi\n movsq\n popq %rax");
W(pop, "pushq %rsi\n popq (%rdi)");
W(movnti, "movnti %rsi, (%rdi)");
W(setcc, "xorl %eax, %eax\n setne (%rdi)");

enum kind { FULL, FLAGS, MASK, HIGH, NONE };
static const struct {
	void (*fn)(void);
	enum kind kind;
} insns[] = {
	{t_mov8, FULL},	  {t_xchg8, FULL}, {t_cmpxchg8, FULL}, {t_cmpxchg_nolock, FULL},
	{t_stosq, FULL},  {t_movsq, FULL}, {t_pop, FULL},      {t_movnti, FULL},
	{t_mov4, FULL},	  {t_xchg4, FULL}, {t_cmpxchg4, FULL}, {t_mov1, FULL},
	{t_setcc, FULL},  {t_or8, FLAGS},  {t_lockor8, FLAGS}, {t_and8, MASK},
	{t_mov4hi, HIGH}, {t_btr, NONE},   {t_bts, NONE},      {t_movimm, NONE},
	{t_and1, NONE},
};

static u64 value(void)
{
	static const u64 flags[] = {PTE_P,  PTE_RW,  PTE_US,   PTE_A,	  PTE_D,     PTE_G,
				    PTE_PS, PTE_PCD, 1ul << 9, 1ul << 52, 1ul << 62, PTE_NX};
	const u64 frames[] = {good, good2, pvg_mfn_of(l1) << 12, pvg_root_mfn() << 12, 0,
			      good, good2};
	u64 v = frames[pvg_rnd() % ARRAY_SIZE(frames)] & PTE_ADDR;

	if (pvg_rnd() % 4)
		v |= PTE_KERN;
	for (int n = (int)(pvg_rnd() % 3); n > 0; n--)
		v ^= flags[pvg_rnd() % ARRAY_SIZE(flags)];
	return v;
}

static u64 known(u64 e)
{
	u64 m = e & PTE_ADDR, r = e & ~PTE_ADDR;

	return r | (m == (good & PTE_ADDR)	? 1ul << 12
		    : m == (good2 & PTE_ADDR)	? 2ul << 12
		    : m == pvg_mfn_of(l1) << 12 ? 3ul << 12
		    : m == pvg_root_mfn() << 12 ? 4ul << 12
		    : m == 0			? 0
						: 5ul << 12);
}

static u64 operand(enum kind kind)
{
	u64 v = value();

	switch (kind) {
	case FULL:
		return v;
	case FLAGS: /* frames or'ed together would be the host's matter */
		return v & ~PTE_ADDR;
	case MASK:
		return v | PTE_ADDR;
	case HIGH:
		return v >> 32 & ~(PTE_ADDR >> 32);
	default:
		return 0;
	}
}

void guest_main(void)
{
	char line[65];

	pvg_events_init();
	pvg_traps_init();
	pvg_seed(0);
	pvg_pool_init();
	l1 = pvg_window_l1;
	page = pvg_page_alloc();
	page2 = pvg_page_alloc();
	good = pvg_mfn_of(page) << 12 | PTE_KERN;
	good2 = pvg_mfn_of(page2) << 12 | PTE_KERN;
	printf("vm_assist writable_pagetables: %le\n",
	       HC2(vm_assist, VMASST_CMD_enable, VMASST_TYPE_writable_pagetables));
	for (int n = 0; n < 200; n++) {
		u64 sum = 0;

		for (int k = 0; k < 64; k++) {
			unsigned int i = (unsigned int)(pvg_rnd() % ARRAY_SIZE(insns));
			u64 *e = &l1[pvg_rnd() % 4], v = operand(insns[i].kind),
			    old = pvg_rnd() % 4 ? *e : value();
			bool trapped;

			if (pvg_rnd() % 8 == 0) { /* used: accessed and dirty appear in it */
				void *va = (void *)(pvg_window + (u64)(e - l1) * PAGE_SIZE);

				pvg_invlpg(va);
				pvg_try3((insn_fn *)t_mov8, (u64)va, 1, 0);
				pvg_invlpg(va);
			}
			trapped = pvg_try3((insn_fn *)insns[i].fn, (u64)e, v, old);
			line[k] = !trapped ? '.'
				  : pvg_caught.f.vector == 14
					  ? (pvg_caught.cr2 == (u64)e ? 'F' : 'f')
					  : 'T';
			for (int s = 0; s < 4; s++)
				sum = pvg_mix(sum, known(l1[s]));
			if (!trapped && (insns[i].fn == t_xchg8 || insns[i].fn == t_cmpxchg8))
				sum = pvg_mix(sum, known(pvg_caught.result));
		}
		line[64] = 0;
		printf("%s %lx\n", line, sum >> 32);
	}
}
