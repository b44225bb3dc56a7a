/* SPDX-License-Identifier: MIT */
/*
 * Writes to page tables by ordinary instructions: Xen emulates those to L1 tables as checked
 * updates, and raises #PF for the rest.
 */
#include "pvg.h"

static u64 *l1; /* an L1 table in use: it maps the 2 MiB at `window` */
static u64 *l2;
static u8 *page, *page2;
static u64 good, good2;

typedef void insn_fn(u64 ptr, u64 val, u64 old);
/* rdi = address of the entry, rsi = value, rdx = compare value; rax comes back */
#define W(name, text) INSN(name, text)
W(mov8, "movq %rsi, (%rdi)");
W(mov4, "movl %esi, (%rdi)");
W(mov4hi, "movl %esi, 4(%rdi)");
W(mov2, "movw %si, (%rdi)");
W(mov1, "movb %sil, (%rdi)");
W(movimm, "movq $0, (%rdi)");
W(mov_across, "movq %rsi, 4(%rdi)");
W(xchg8, "movq %rsi, %rax\n xchgq %rax, (%rdi)");
W(xchg4, "movl %esi, %eax\n xchgl %eax, (%rdi)");
W(cmpxchg8, "movq %rdx, %rax\n lock cmpxchgq %rsi, (%rdi)");
W(cmpxchg_nolock, "movq %rdx, %rax\n cmpxchgq %rsi, (%rdi)");
W(cmpxchg4, "movl %edx, %eax\n lock cmpxchgl %esi, (%rdi)");
W(cmpxchg16,
  "pushq %rbx\n movq (%rdi), %rax\n movq 8(%rdi), %rdx\n movq %rsi, %rbx\n movq 8(%rdi), %rcx\n"
  " lock cmpxchg16b (%rdi)\n popq %rbx");
W(or8, "orq %rsi, (%rdi)");
W(lockor8, "lock orq %rsi, (%rdi)");
W(and8, "andq %rsi, (%rdi)");
W(and1, "andb $0xfd, (%rdi)");
W(add8, "addq %rsi, (%rdi)");
W(btr, "lock btrq $1, (%rdi)");
W(bts, "lock btsq $1, (%rdi)");
W(xadd, "movq %rsi, %rax\n lock xaddq %rax, (%rdi)");
W(inc, "incq (%rdi)");
W(stosq, "movq %rsi, %rax\n stosq");
W(movsq, "pushq %rsi\n movq %rsp, %rsi\n movsq\n popq %rax");
W(rep_stosq, "movq %rsi, %rax\n movl $4, %ecx\n rep stosq");
W(push, "movq %rsp, %rax\n leaq 8(%rdi), %rsp\n pushq %rsi\n movq %rax, %rsp");
W(pop, "pushq %rsi\n popq (%rdi)");
W(movnti, "movnti %rsi, (%rdi)");
W(movups, "pushq %rsi\n pushq %rsi\n movups (%rsp), %xmm0\n movups %xmm0, (%rdi)\n addq $16, %rsp");
W(movq_xmm, "movq %rsi, %xmm0\n movq %xmm0, (%rdi)");
W(neg, "negq (%rdi)");
W(setcc, "xorl %eax, %eax\n setne (%rdi)");

static void try_write(const char *name, void (*fn)(void), u64 *entry, u64 val, u64 old)
{
	bool trapped = pvg_try3((insn_fn *)fn, (u64)entry, val, old);

	printf("%s: ", name);
	if (trapped)
		printf("%s error %lx cr2 %s", pvg_vector_name((unsigned int)pvg_caught.f.vector),
		       pvg_caught.f.error,
		       pvg_caught.cr2 == (u64)entry ? "is the entry" : "is elsewhere");
	else
		printf("done");
	if ((*entry & PTE_ADDR) == (good & PTE_ADDR))
		printf(", entry = page 1 | %lx\n", *entry & ~PTE_ADDR);
	else if ((*entry & PTE_ADDR) == (good2 & PTE_ADDR))
		printf(", entry = page 2 | %lx\n", *entry & ~PTE_ADDR);
	else if ((*entry & PTE_ADDR) >> 12 == pvg_root_mfn() ||
		 (*entry & PTE_ADDR) >> 12 == pvg_mfn_of(l1))
		printf(", entry = a page table | %lx\n", *entry & ~PTE_ADDR);
	else
		printf(", entry = %lx\n", *entry);
}

static void reset(u64 *entry, u64 val)
{
	pvg_mmu_update((pvg_mfn_of(entry) << 12) + ((u64)entry & 4095), val);
}

static void valid_values(void)
{
	u64 *e = &l1[5];

	try_write("mov8 valid", t_mov8, e, good, 0);
	try_write("mov8 another page", t_mov8, e, good2, 0);
	try_write("mov8 with US and G", t_mov8, e, good | PTE_US | PTE_G, 0);
	try_write("mov8 read-only", t_mov8, e, good & ~PTE_RW, 0);
	try_write("mov8 zero", t_mov8, e, 0, 0);
	try_write("mov8 junk, not present", t_mov8, e, 0x123456780, 0);
	reset(e, good);
	try_write("mov imm", t_movimm, e, 0, 0);
	reset(e, good);
	try_write("mov4 low, clears", t_mov4, e, 0, 0);
	reset(e, good);
	try_write("mov4 low, same address", t_mov4, e, good, 0);
	try_write("mov4 high, same address", t_mov4hi, e, good >> 32, 0);
	reset(e, 0);
	try_write("mov4 low of an empty entry, present", t_mov4, e, good, 0);
	reset(e, good);
	try_write("mov1", t_mov1, e, good & ~PTE_RW, 0);
	reset(e, good);
	try_write("mov2", t_mov2, e, good & ~PTE_RW, 0);
	reset(e, good);
	try_write("xchg8", t_xchg8, e, good2, 0);
	printf("  rax is the old: %d\n", (pvg_caught.result & PTE_ADDR) == (good & PTE_ADDR));
	try_write("xchg4 zero", t_xchg4, e, 0, 0);
	reset(e, good);
	try_write("cmpxchg8, equal", t_cmpxchg8, e, good2, *e);
	try_write("cmpxchg8, not equal", t_cmpxchg8, e, good, 1);
	printf("  rax is the entry: %d\n", pvg_caught.result == *e);
	try_write("cmpxchg8 without lock", t_cmpxchg_nolock, e, good, *e);
	try_write("cmpxchg4, equal", t_cmpxchg4, e, 0, *e);
	reset(e, good);
	reset(&l1[6], 0x20);
	try_write("cmpxchg16b", t_cmpxchg16, &l1[6], good2, 0);
	reset(&l1[6], 0);
	reset(e, good & ~PTE_RW);
	try_write("or RW", t_or8, e, PTE_RW, 0);
	reset(e, good & ~PTE_RW);
	try_write("lock or RW", t_lockor8, e, PTE_RW, 0);
	try_write("and ~RW", t_and8, e, ~PTE_RW, 0);
	reset(e, good);
	try_write("andb ~RW", t_and1, e, 0, 0);
	reset(e, good);
	try_write("lock btr RW", t_btr, e, 0, 0);
	try_write("lock bts RW", t_bts, e, 0, 0);
	reset(e, good);
	try_write("add 0x200", t_add8, e, 0x200, 0);
	reset(e, good);
	try_write("lock xadd 0x200", t_xadd, e, 0x200, 0);
	reset(e, good & ~PTE_P);
	try_write("inc of a not-present entry", t_inc, e, 0, 0);
	reset(e, 0x10);
	try_write("neg of a not-present entry", t_neg, e, 0, 0);
	reset(e, 0);
	try_write("stosq", t_stosq, e, good, 0);
	reset(e, 0);
	try_write("movsq", t_movsq, e, good, 0);
	reset(e, 0);
	try_write("rep stosq of 4", t_rep_stosq, e, good, 0);
	printf("  entries 6-9: %d %d %d %d\n", l1[6] != 0, l1[7] != 0, l1[8] != 0, l1[9] != 0);
	for (int i = 5; i < 10; i++)
		reset(&l1[i], 0);
	try_write("push", t_push, e, good, 0);
	reset(e, 0);
	try_write("pop", t_pop, e, good, 0);
	reset(e, 0);
	try_write("movnti", t_movnti, e, good, 0);
	reset(e, 0);
	try_write("setcc", t_setcc, e, 0, 0);
	reset(e, 0);
	try_write("movups (16 bytes)", t_movups, e, 0x10, 0);
	reset(e, 0);
	try_write("movq from xmm", t_movq_xmm, e, 0x10, 0);
	reset(e, 0);
	try_write("mov8 across two entries", t_mov_across, e, 0x10, 0);
	reset(e, 0);
	reset(&l1[6], 0);
}

static void refused_values(void)
{
	u64 *e = &l1[5];

	reset(e, good);
	try_write("mov8 no such frame", t_mov8, e, 0x3ffffffful << 12 | PTE_KERN, 0);
	try_write("mov8 a page table writable", t_mov8, e, pvg_mfn_of(l1) << 12 | PTE_KERN, 0);
	try_write("mov8 the root writable", t_mov8, e, pvg_root_mfn() << 12 | PTE_KERN, 0);
	try_write("mov8 a page table read-only", t_mov8, e, pvg_mfn_of(l1) << 12 | PTE_P, 0);
	reset(e, good);
	try_write("mov8 PWT PCD", t_mov8, e, good | PTE_PWT | PTE_PCD, 0);
	try_write("xchg8 no such frame", t_xchg8, e, 0x3ffffffful << 12 | PTE_KERN, 0);
	try_write("cmpxchg8 no such frame", t_cmpxchg8, e, 0x3ffffffful << 12 | PTE_KERN, *e);
	reset(e, pvg_root_mfn() << 12 | PTE_P);
	try_write("or RW to a page table's entry", t_or8, e, PTE_RW, 0);
	try_write("mov4 low, same but RW, to a page table's entry", t_mov4, e,
		  pvg_root_mfn() << 12 | PTE_KERN, 0);
	try_write("movb RW to a page table's entry", t_mov1, e, PTE_P | PTE_RW | PTE_US, 0);
	reset(e, 0);
}

static void other_levels(void)
{
	u64 *x = pvg_page_alloc();

	try_write("L2 entry, mov8", t_mov8, &l2[7], pvg_mfn_of(l1) << 12 | PTE_KERN, 0);
	try_write("L2 entry, mov8 of 0", t_mov8, &l2[7], 0, 0);
	try_write("L3 entry, mov8 of 0", t_mov8, pvg_entry(1ul << 38, 3) ?: &l2[7], 0, 0);
	try_write("L4 entry, mov8 of 0", t_mov8, (u64 *)start_info->pt_base + 300, 0, 0);
	pvg_set_ro(x);
	try_write("a read-only data page", t_mov8, x, 0, 0);
	pvg_mmuext(MMUEXT_PIN_L1_TABLE, pvg_mfn_of(x), 0);
	try_write("a pinned L1 that is not linked", t_mov8, x, good, 0);
	try_write("a pinned L1 that is not linked, mov8 no such frame", t_mov8, x,
		  0x3ffffffful << 12 | PTE_KERN, 0);
	pvg_mmuext(MMUEXT_UNPIN_TABLE, pvg_mfn_of(x), 0);
	try_write("unpinned, still mapped read-only", t_mov8, x, 0, 0);
}

static void assists(void)
{
	static const unsigned int types[] = {0, 1, 2, 3, 4, 5, 6, 32, 63, 64};

	for (unsigned int i = 0; i < ARRAY_SIZE(types); i++) {
		long on = HC2(vm_assist, VMASST_CMD_enable, types[i]);
		long off = HC2(vm_assist, VMASST_CMD_disable, types[i]);

		printf("vm_assist %d: enable %le, disable %le\n", (int)types[i], on, off);
	}
	printf("vm_assist command 2: %le\n", HC2(vm_assist, 2, 2));
	try_write("mov8 with writable_pagetables off", t_mov8, &l1[5], good, 0);
	reset(&l1[5], 0);
	HC2(vm_assist, VMASST_CMD_enable, VMASST_TYPE_writable_pagetables);
	try_write("mov8 with writable_pagetables on", t_mov8, &l1[5], good, 0);
	reset(&l1[5], 0);
}

void guest_main(void)
{
	u64 window;

	pvg_events_init();
	pvg_traps_init();
	l1 = pvg_page_alloc();
	page = pvg_page_alloc();
	page2 = pvg_page_alloc();
	good = pvg_mfn_of(page) << 12 | PTE_KERN;
	good2 = pvg_mfn_of(page2) << 12 | PTE_KERN;
	/* link l1 into a free slot of the L2 that maps the image */
	l2 = pvg_entry((u64)pvg_image, 2);
	l2 -= ((u64)l2 & 4095) / 8;
	window = ((u64)pvg_image & ~((1ul << 30) - 1)) + (300ul << 21);
	pvg_set_ro(l1);
	printf("link the table: %le\n",
	       pvg_mmu_update((pvg_mfn_of(l2) << 12) + 300 * 8, pvg_mfn_of(l1) << 12 | PTE_KERN));
	try_write("mov8 before vm_assist", t_mov8, &l1[5], good, 0);
	try_write("lock or before vm_assist", t_lockor8, &l1[5], 0x10, 0);
	printf("vm_assist writable_pagetables: %le\n",
	       HC2(vm_assist, VMASST_CMD_enable, VMASST_TYPE_writable_pagetables));
	valid_values();
	refused_values();
	other_levels();
	assists();
	reset(&l1[5], good);
	*(volatile u64 *)(window + 5 * PAGE_SIZE) = 0x55;
	printf("the window shows page 1: %d\n", *(volatile u64 *)page == 0x55);
}
