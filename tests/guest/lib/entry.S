/* SPDX-License-Identifier: MIT */
/*
 * Where Xen enters the guest. A bounce frame has, from the top of the stack:
 *	rcx, r11, [error code,] rip, cs, rflags, rsp, ss
 * cs carries the saved upcall mask in bits 32-39 and has RPL 0 when the guest kernel was
 * interrupted. Everything returns by HYPERVISOR_iret.
 */
	.text

/* rdi..r15 below vector and error: struct trap_frame. */
.macro SAVE
	pushq	%rdi
	pushq	%rsi
	pushq	%rdx
	pushq	%rcx
	pushq	%rax
	pushq	%r8
	pushq	%r9
	pushq	%r10
	pushq	%r11
	pushq	%rbx
	pushq	%rbp
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
.endm
.macro RESTORE
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbp
	popq	%rbx
	popq	%r11
	popq	%r10
	popq	%r9
	popq	%r8
	popq	%rax
	popq	%rcx
	popq	%rdx
	popq	%rsi
	popq	%rdi
.endm
.macro CALL_C fn
	cld
	movq	%rsp, %rdi
	movq	%rsp, %rbx
	andq	$-16, %rsp
	call	\fn
	movq	%rbx, %rsp
.endm

	.globl	pvg_trap_common
pvg_trap_common:
	SAVE
	pushfq			/* as the handler was entered */
	popq	pvg_entry_rflags(%rip)
	movl	%ss, %eax
	movl	%eax, pvg_entry_ss(%rip)
	CALL_C	pvg_trap
	.globl	pvg_return
pvg_return:
	RESTORE
	addq	$16, %rsp
	pushq	$0		/* VGCF flags */
	pushq	%rcx
	pushq	%r11
	pushq	%rax
	movl	$23, %eax	/* __HYPERVISOR_iret */
	syscall
	ud2

.macro STUB n, has_error
	.balign	32
stub_\n:
	popq	%rcx
	popq	%r11
	.if !\has_error
	pushq	$-1
	.endif
	pushq	$\n
	jmp	pvg_trap_common
	.pushsection .data.rel.ro, "aw"
	.quad	stub_\n
	.popsection
.endm

	.pushsection .data.rel.ro, "aw"
	.globl	pvg_trap_stubs
	.balign	8
pvg_trap_stubs:
	.popsection
	.altmacro
	.set	n, 0
	.rept	256
	.if	(n == 8) || ((n >= 10) && (n <= 14)) || (n == 17) || (n == 21)
	STUB	%n, 1
	.else
	STUB	%n, 0
	.endif
	.set	n, n + 1
	.endr
	.noaltmacro

	.globl	pvg_event_entry
	.balign	16
pvg_event_entry:
	popq	%rcx
	popq	%r11
	pushq	$-1
	pushq	$256
	SAVE
	CALL_C	pvg_upcall
	jmp	pvg_return

/* The failsafe frame: rcx, r11, ds, es, fs, gs, rip, cs, rflags, rsp, ss. */
	.globl	pvg_failsafe_entry
	.balign	16
pvg_failsafe_entry:
	popq	%rcx
	popq	%r11
	popq	pvg_failsafe_segs(%rip)
	popq	pvg_failsafe_segs+8(%rip)
	popq	pvg_failsafe_segs+16(%rip)
	popq	pvg_failsafe_segs+24(%rip)
	pushq	$-1
	pushq	$257
	jmp	pvg_trap_common

/*
 * bool pvg_try_call(fn, a, b, c): the way back after a trap is pvg_try_exit with the saved rsp.
 */
	.globl	pvg_try_call, pvg_try_exit
	.type	pvg_try_call, @function
pvg_try_call:
	pushq	%rbx
	pushq	%rbp
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	pushq	pvg_try_rsp(%rip)
	movq	%rsp, pvg_try_rsp(%rip)
	movq	%rdi, %rax
	movq	%rsi, %rdi
	movq	%rdx, %rsi
	movq	%rcx, %rdx
	call	*%rax
	movq	%rax, pvg_try_result(%rip)
	movq	%rdx, pvg_try_result+8(%rip)
	xorl	%eax, %eax
	jmp	1f
pvg_try_exit:
	movl	$1, %eax
1:	popq	pvg_try_rsp(%rip)
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbp
	popq	%rbx
	ret

	.section .bss
	.globl	pvg_entry_rflags, pvg_entry_ss
	.balign	8
pvg_entry_rflags:
	.skip	8
pvg_entry_ss:
	.skip	8
	.globl	pvg_try_rsp, pvg_try_result, pvg_failsafe_segs
	.balign	8
pvg_try_rsp:
	.skip	8
pvg_try_result:
	.skip	16
pvg_failsafe_segs:
	.skip	32

	.section .note.GNU-stack, "", @progbits
