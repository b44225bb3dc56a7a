/* SPDX-License-Identifier: MIT */
/*
 * What QEMU's TCG, under which the other transcripts were recorded, gets wrong. The expected
 * transcript of this guest is written by hand, from the processor manuals and Xen's rules.
 */
#include "pvg.h"

static u64 cell;

INSN(ss_noncanon, "movq %rbp, %rcx\n movabsq $0x8000000000000000, %rbp\n movq (%rbp), %rax\n"
		  " movq %rcx, %rbp");
INSN(icebp, ".byte 0xf1");
INSN(int_20, "int $0x20");
INSN(int_2, "int $2");
INSN(int_0, "int $0");
INSN(int_6, "int $6");
INSN(int_14, "int $14");
INSN(int_85, "int $0x85");
INSN(int_8f, "int $0x8f");
INSN(int_ff, "int $0xff");
INSN(ac, "pushfq\n orl $0x40000, (%rsp)\n popfq\n movl -0x27(%rsp), %eax\n pushfq\n"
	 " andl $~0x40000, (%rsp)\n popfq");
INSN(ac_aligned, "pushfq\n orl $0x40000, (%rsp)\n popfq\n movl -0x28(%rsp), %eax\n pushfq\n"
		 " andl $~0x40000, (%rsp)\n popfq");
#define WITH_AC(name, insns)                                                                       \
	INSN(name, "pushfq\n orl $0x40000, (%rsp)\n popfq\n" insns                                 \
		   "\n pushfq\n andl $~0x40000, (%rsp)\n popfq")
WITH_AC(ac_word, "movw -0x27(%rsp), %ax");
WITH_AC(ac_byte, "movb -0x27(%rsp), %al");
WITH_AC(ac_store, "movq %rax, -0x84(%rsp)");
WITH_AC(ac_quad4, "movq -0x84(%rsp), %rax");
WITH_AC(ac_long4, "movl -0x84(%rsp), %eax");
WITH_AC(ac_push, "subq $1, %rsp\n pushq %rax\n popq %rax\n addq $1, %rsp");
WITH_AC(ac_hole, "movabsq $0x600000000001, %rax\n movl (%rax), %eax");
WITH_AC(ac_nop, "nopl -0x27(%rsp)");
WITH_AC(ac_lea, "leaq -0x27(%rsp), %rax");
WITH_AC(ac_call, "pushfq\n popq %rax\n call 1f\n jmp 2f\n 1: ret\n 2: movl -0x2f(%rsp), %eax");
INSN(rmw, "movabsq $0x600000000000, %rax\n lock incq (%rax)");
INSN(rmw_plain, "movabsq $0x600000000000, %rax\n addl $1, (%rax)");
INSN(movaps, "movaps 8+aligned(%rip), %xmm0");
INSN(movaps_ok, "movaps aligned(%rip), %xmm0");
INSN(xm, "pushq $0x1d80\n ldmxcsr (%rsp)\n popq %rax\n movl $0x3f800000, %eax\n movd %eax, %xmm0\n"
	 " xorps %xmm1, %xmm1\n divss %xmm1, %xmm0");
INSN(len15, ".byte 0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x90");
INSN(len16,
     ".byte 0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x90");
INSN(fs_null_write, "movabsq $0x600000000000, %rax\n movb $1, %fs:(%rax)");
__asm__(".pushsection .data\n .balign 16\n aligned: .quad 1, 2, 3, 4\n .popsection");

void guest_main(void)
{
	pvg_events_init();
	pvg_traps_init();
	pvg_report("non-canonical by rbp", t_ss_noncanon);
	pvg_report("icebp", t_icebp);
	pvg_report("int $0x20, DPL 0", t_int_20);
	pvg_report("int $2, DPL 0", t_int_2);
	pvg_report("int $0, DPL 0", t_int_0);
	pvg_report("int $6, DPL 0", t_int_6);
	pvg_report("int $14, DPL 0", t_int_14);
	pvg_report("int $0xff, DPL 0", t_int_ff);
	pvg_report("int $0x85, DPL 3", t_int_85);
	pvg_report("int $0x8f, DPL 3", t_int_8f);
	pvg_report("misaligned with AC", t_ac);
	pvg_report("aligned with AC", t_ac_aligned);
	pvg_report("misaligned word with AC", t_ac_word);
	pvg_report("a byte with AC", t_ac_byte);
	pvg_report("misaligned store with AC", t_ac_store);
	pvg_report("misaligned quadword, by 4, with AC", t_ac_quad4);
	pvg_report("aligned by 4 with AC", t_ac_long4);
	pvg_report("misaligned push with AC", t_ac_push);
	pvg_report("a hole with AC", t_ac_hole);
	pvg_report("long nop with AC", t_ac_nop);
	pvg_report("lea with AC", t_ac_lea);
	pvg_report("misaligned after a call with AC", t_ac_call);
	pvg_report("lock inc of a hole", t_rmw);
	pvg_report("add to a hole", t_rmw_plain);
	pvg_report("movaps misaligned", t_movaps);
	pvg_report("movaps aligned", t_movaps_ok);
	pvg_report("SSE division by zero, unmasked", t_xm);
	__asm__ volatile("pushq $0x1f80\n ldmxcsr (%%rsp)\n addq $8, %%rsp" ::: "memory");
	pvg_report("15 bytes", t_len15);
	pvg_report("16 bytes", t_len16);
	pvg_report("write by fs to a hole", t_fs_null_write);
	cell = 1;
}
