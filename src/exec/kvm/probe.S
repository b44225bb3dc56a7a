/* SPDX-License-Identifier: MIT */
/*
 * What the probe's virtual machine executes. Ring 0 goes to ring 3 by iretq; ring 3 bounces by
 * syscall and sysret, and takes three exceptions. All is told to the host by struct probe_result
 * and an `out`. r14: length of the instruction that is to fault, 0: none is.
 */
#include "exec/kvm/probe.h"

	.section .rodata
	.globl	probe_start, probe_end, probe_entry, probe_syscall, probe_stubs
	.hidden	probe_start, probe_end, probe_entry, probe_syscall, probe_stubs
	.balign	16
probe_start:
probe_entry:
	mov	$PROBE_VA + PROBE_DATA * 4096, %rbp
	xor	%r14d, %r14d
	pushq	$0x23
	pushq	$PROBE_VA + (PROBE_STACK + 2) * 4096 - 64
	pushq	$0x2
	pushq	$0x2b
	pushq	$PROBE_VA + (ring3 - probe_start)
	iretq

ring3:
	mov	$2, %r14d
	ud2
	mov	$PROBE_HOLE, %rdi
	mov	$3, %r14d
	mov	(%rdi), %rax
	mov	$2, %r14d
	int	$0x40
	xor	%r14d, %r14d
again:
	mov	$PROBE_BOUNCES, %ebx
1:	xor	%eax, %eax
	syscall
	dec	%ebx
	jnz	1b
	mov	$1, %eax
	syscall
	jmp	again

probe_syscall:
	test	%eax, %eax
	jnz	2f
	incq	(%rbp)
	sysretq
2:	out	%eax, $PROBE_PORT
	sysretq

	/* On the stack: vector, error code, frame. */
exception:
	push	%rax
	push	%rcx
	mov	8(%rbp), %rcx
	cmp	$PROBE_RECORDS, %rcx
	jae	3f
	imul	$PROBE_RECORD, %rcx, %rcx
	mov	16(%rsp), %rax
	mov	%rax, 16(%rbp, %rcx)
	mov	24(%rsp), %rax
	mov	%rax, 24(%rbp, %rcx)
	mov	%cr2, %rax
	mov	%rax, 32(%rbp, %rcx)
	mov	40(%rsp), %rax
	mov	%rax, 40(%rbp, %rcx)
	mov	32(%rsp), %rax
	mov	%rax, 48(%rbp, %rcx)
	incq	8(%rbp)
	test	%r14, %r14
	jz	3f
	add	%r14, 32(%rsp)
	pop	%rcx
	pop	%rax
	add	$16, %rsp
	iretq
3:	out	%eax, $PROBE_PORT
	jmp	3b

	.balign	16
probe_stubs:
	.set	vector, 0
	.rept	256
	.balign	16
	.if	!(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17)
	pushq	$0
	.endif
	pushq	$vector
	jmp	exception
	.set	vector, vector + 1
	.endr
probe_end:
	.section .note.GNU-stack, "", @progbits
