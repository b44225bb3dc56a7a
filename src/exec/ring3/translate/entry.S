/* SPDX-License-Identifier: MIT */
/*
 * Into the cache and back. xlate_asm_run() loads the guest's registers and jumps to XV_RESUME; it
 * returns the exit information when emitted code jumps to the vectors. Hosted builds (tests) also
 * switch the FS and GS bases that the C library uses.
 *
 * A signal between xlate_asm_entry_begin and _end finds the guest's state still complete in
 * core_regs: xlate_leave() sends it to xlate_asm_abort. Between xlate_asm_exit and _exit_end the way
 * out is under way and cannot be disturbed.
 */
#include "exec/ring3/translate/layout.h"

#define R_(n)	 (8 * (n))(%rax)
#define R_RIP	 128(%rax)
#define R_RFLAGS 136(%rax)
#define XV(o)	 XLATE_VCPU + o

/* CF PF AF ZF SF DF OF: the flags that guest code itself changes. */
#define FLAGS 0xcd5

	.text
	.globl xlate_asm_run
	.type xlate_asm_run, @function
	.hidden xlate_asm_run
xlate_asm_run:
	push %rbx
	push %rbp
	push %r12
	push %r13
	push %r14
	push %r15
	mov %rsp, XV(XV_HOST_RSP)
#ifdef XLATE_HOSTED
	rdfsbase %rax
	mov %rax, XV(XV_HOST_FS)
	rdgsbase %rax
	mov %rax, XV(XV_HOST_GS)
#endif
	.globl xlate_asm_entry_begin
	.hidden xlate_asm_entry_begin
xlate_asm_entry_begin:
	mov XV(XV_KICK), %rax
	cmpl $0, (%rax)
	jne xlate_asm_abort
#ifdef XLATE_HOSTED
	mov XV(XV_SHIFT), %rax
	wrgsbase %rax
	mov XV(XV_HW_FS), %rax
	wrfsbase %rax
#endif
	mov XV(XV_REGS), %rax
	mov R_(4), %rdx
	add XV(XV_SHIFT), %rdx
	mov R_(1), %rcx
	mov R_(3), %rbx
	mov R_(5), %rbp
	mov R_(6), %rsi
	mov R_(7), %rdi
	mov R_(8), %r8
	mov R_(9), %r9
	mov R_(10), %r10
	mov R_(11), %r11
	mov R_(12), %r12
	mov R_(13), %r13
	mov R_(14), %r14
	mov R_(15), %r15
#ifdef XLATE_HOSTED
	cmpl $0, XV(XV_HOST_TF)
	jne 1f
#endif
	testl $0x400, R_RFLAGS
	jnz 1f
	/* Without DF they need no popfq, which takes 20 cycles: OF by an addition, the others by sahf. */
	mov %rdx, %rsp
	mov R_RFLAGS, %eax
	mov %eax, %edx
	shr $11, %edx
	and $1, %edx
	mov %al, %ah
	mov %dl, %al
	add $0x7f, %al
	sahf
	mov XV(XV_REGS), %rax
2:	mov R_(2), %rdx
	mov R_(0), %rax
	jmp *XV(XV_RESUME)
1:	mov R_RFLAGS, %eax
	and $FLAGS, %eax
	or $0x202, %eax
#ifdef XLATE_HOSTED
	or XV(XV_HOST_TF), %eax
#endif
	push %rax
	mov XV(XV_REGS), %rax
	popfq
	mov %rdx, %rsp
	jmp 2b
	.globl xlate_asm_entry_end
	.hidden xlate_asm_entry_end
xlate_asm_entry_end:

	.globl xlate_asm_miss
	.hidden xlate_asm_miss
xlate_asm_miss:
	movl $3, XV(XV_EXIT_INFO) /* XC_MISS */
	.globl xlate_asm_exit
	.hidden xlate_asm_exit
xlate_asm_exit:
	mov %rax, XV(XV_SCRATCH)
	mov XV(XV_REGS), %rax
	mov %rcx, R_(1)
	mov %rdx, R_(2)
	mov %rsp, %rdx
	mov XV(XV_HOST_RSP), %rsp
	pushfq
	pop %rcx
	sub XV(XV_SHIFT), %rdx
	mov %rdx, R_(4)
	mov %rbx, R_(3)
	mov %rbp, R_(5)
	mov %rsi, R_(6)
	mov %rdi, R_(7)
	mov %r8, R_(8)
	mov %r9, R_(9)
	mov %r10, R_(10)
	mov %r11, R_(11)
	mov %r12, R_(12)
	mov %r13, R_(13)
	mov %r14, R_(14)
	mov %r15, R_(15)
	and $FLAGS, %ecx
	mov R_RFLAGS, %rdx
	and $~FLAGS, %rdx
	or %rcx, %rdx
	mov %rdx, R_RFLAGS
	mov XV(XV_SCRATCH), %rcx
	mov %rcx, R_(0)
	cld
	mov XV(XV_EXIT_INFO), %eax
xlate_return:
#ifdef XLATE_HOSTED
	mov XV(XV_HOST_FS), %rcx
	wrfsbase %rcx
	mov XV(XV_HOST_GS), %rcx
	wrgsbase %rcx
#endif
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %rbp
	pop %rbx
	ret

/* rsp is XV_HOST_RSP; core_regs are complete. */
	.globl xlate_asm_abort
	.hidden xlate_asm_abort
xlate_asm_abort:
	xor %eax, %eax /* XC_ABORT */
	cld
	jmp xlate_return
	.globl xlate_asm_signal
	.hidden xlate_asm_signal
xlate_asm_signal:
	mov $1, %eax /* XC_SIGNAL */
	cld
	jmp xlate_return
	.globl xlate_asm_exit_end
	.hidden xlate_asm_exit_end
xlate_asm_exit_end:
	.size xlate_asm_run, . - xlate_asm_run
	.section .note.GNU-stack, "", @progbits
