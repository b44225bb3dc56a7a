/* SPDX-License-Identifier: MIT */
/*
 * A 32-bit program, for conform: system calls by int $0x80 and the vDSO, the stack, a handler-less fault. exit status:
 * 32 if all is well, else the number of the step that went wrong; with an argument it executes ud2 instead.
 */
	.code32
	.globl	_start
	.text
_start:
	cmpl	$1, (%esp)
	jne	fault
	mov	$20, %eax		/* getpid */
	mov	$0x11111111, %ebx
	mov	$0x22222222, %ecx
	mov	$0x33333333, %edx
	mov	$0x44444444, %esi
	mov	$0x55555555, %edi
	mov	$0x66666666, %ebp
	int	$0x80
	mov	%eax, pid
	mov	$1, %eax
	cmp	$0x11111111, %ebx
	jne	out
	cmp	$0x22222222, %ecx
	jne	out
	cmp	$0x33333333, %edx
	jne	out
	cmp	$0x44444444, %esi
	jne	out
	cmp	$0x55555555, %edi
	jne	out
	cmp	$0x66666666, %ebp
	jne	out
	/* the stack and its width */
	mov	%esp, %ecx
	push	%eax
	sub	%esp, %ecx
	pop	%eax
	mov	$2, %eax
	cmp	$4, %ecx
	jne	out
	/* addresses wrap at 4 GiB: -4 + 4 + data */
	mov	$-4, %ebx
	mov	$3, %eax
	cmpl	$0x12345678, data+4(%ebx)
	jne	out
	/* daa and friends exist here only */
	mov	$0x19, %al
	add	$0x28, %al
	daa
	mov	%al, %cl
	mov	$4, %eax
	cmp	$0x47, %cl
	jne	out
	/* brk, then touch what it gave */
	mov	$45, %eax
	xor	%ebx, %ebx
	int	$0x80
	lea	8192(%eax), %ebx
	mov	%eax, %esi
	mov	$45, %eax
	int	$0x80
	mov	%eax, %edi
	mov	$5, %eax
	cmp	%edi, %ebx
	jne	out
	movl	$7, 4096(%esi)
	/* set_thread_area: gs: in 32-bit programs */
	mov	$243, %eax
	mov	$desc, %ebx
	int	$0x80
	mov	%eax, %ecx
	mov	$6, %eax
	test	%ecx, %ecx
	jnz	out
	mov	desc, %ecx
	lea	3(,%ecx,8), %ecx
	mov	%ecx, %gs
	mov	$7, %eax
	cmpl	$0x12345678, %gs:0
	jne	out
	/* and after a switch to another process and back */
	mov	$158, %eax		/* sched_yield */
	int	$0x80
	mov	$8, %eax
	cmpl	$0x12345678, %gs:0
	jne	out
	/* which descriptor that is: pthread_create() asks for it there */
	mov	%gs, %ecx
	shr	$3, %ecx
	mov	$12, %eax
	cmp	desc, %ecx
	jne	out
	/* a signal and its return: kill(pid, SIGUSR1) with a handler */
	mov	$67, %eax		/* sigaction, the old one */
	mov	$10, %ebx
	mov	$action, %ecx
	xor	%edx, %edx
	int	$0x80
	mov	%eax, %ecx
	mov	$9, %eax
	test	%ecx, %ecx
	jnz	out
	mov	$37, %eax
	mov	pid, %ebx
	mov	$10, %ecx
	int	$0x80
	mov	$10, %eax
	cmpl	$10, got
	jne	out
	/* the C library's way: the vDSO, by sysenter on Intel's processors. Behind environment, AT_SYSINFO */
	lea	12(%esp), %esi
1:	lodsl
	test	%eax, %eax
	jnz	1b
2:	lodsl
	mov	%eax, %ecx
	lodsl
	test	%ecx, %ecx
	jz	3f
	cmp	$32, %ecx
	jne	2b
	mov	%eax, %edi
	mov	%esp, %esi
	mov	$0x66666666, %ebp
	mov	$20, %eax
	call	*%edi
	mov	%eax, %ecx
	mov	$11, %eax
	cmp	pid, %ecx
	jne	out
	cmp	%esi, %esp
	jne	out
	cmp	$0x66666666, %ebp
	jne	out
3:	mov	$32, %eax
out:	mov	%eax, %ebx
	mov	$1, %eax
	int	$0x80
fault:	ud2

handler:
	mov	4(%esp), %eax
	mov	%eax, got
	ret
restorer:
	pop	%eax
	mov	$119, %eax		/* sigreturn */
	int	$0x80

	.data
data:	.long	0x12345678
pid:	.long	0
got:	.long	0
desc:	.long	-1, data, 0xfffff, 0x51	/* 32-bit segment, limit in pages, useable */
action:	.long	handler, 0, 0x04000000, restorer
	.section .note.GNU-stack, "", @progbits
