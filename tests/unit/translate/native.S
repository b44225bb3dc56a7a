/* SPDX-License-Identifier: MIT */
/* Run code natively with a given register file: the oracle's way in and out. */
	.bss
	.align 16
	.globl native_regs_ptr, native_host_rsp
native_regs_ptr: .quad 0
native_host_rsp: .quad 0
native_host_fs: .quad 0
native_tmp: .quad 0
native_tf: .quad 0
	.globl native_tf
	.globl native_exit_vec
	.globl native_host_fs

	.text
	.globl native_enter
	.type native_enter, @function
/* void native_enter(struct core_regs *) */
native_enter:
	push %rbx
	push %rbp
	push %r12
	push %r13
	push %r14
	push %r15
	mov %rdi, native_regs_ptr(%rip)
	mov %rsp, native_host_rsp(%rip)
	rdfsbase %rax
	mov %rax, native_host_fs(%rip)
	mov %rdi, %rax
	mov 160(%rax), %rcx /* fs_base */
	mov 168(%rax), %rdx /* gs_base */
	wrgsbase %rdx
	wrfsbase %rcx
	mov 136(%rax), %rcx
	and $0xcd5, %ecx
	or $0x202, %ecx
	or native_tf(%rip), %ecx
	push %rcx
	popfq
	mov 128(%rax), %rcx
	mov %rcx, native_tmp(%rip)
	mov 8(%rax), %rcx
	mov 16(%rax), %rdx
	mov 24(%rax), %rbx
	mov 32(%rax), %rsp
	mov 40(%rax), %rbp
	mov 48(%rax), %rsi
	mov 56(%rax), %rdi
	mov 64(%rax), %r8
	mov 72(%rax), %r9
	mov 80(%rax), %r10
	mov 88(%rax), %r11
	mov 96(%rax), %r12
	mov 104(%rax), %r13
	mov 112(%rax), %r14
	mov 120(%rax), %r15
	mov (%rax), %rax
	jmp *native_tmp(%rip)

/* arrived at by jmp from the code under test */
	.globl native_exit
native_exit:
	mov %rax, native_tmp(%rip)
	mov native_regs_ptr(%rip), %rax
	mov %rcx, 8(%rax)
	mov %rdx, 16(%rax)
	mov %rbx, 24(%rax)
	mov %rsp, 32(%rax)
	mov %rbp, 40(%rax)
	mov %rsi, 48(%rax)
	mov %rdi, 56(%rax)
	mov %r8, 64(%rax)
	mov %r9, 72(%rax)
	mov %r10, 80(%rax)
	mov %r11, 88(%rax)
	mov %r12, 96(%rax)
	mov %r13, 104(%rax)
	mov %r14, 112(%rax)
	mov %r15, 120(%rax)
	mov native_host_rsp(%rip), %rsp
	pushfq
	pop %rcx
	and $0xcd5, %ecx
	mov 136(%rax), %rdx
	and $~0xcd5, %rdx
	or %rcx, %rdx
	mov %rdx, 136(%rax)
	mov native_tmp(%rip), %rcx
	mov %rcx, (%rax)
	cld
	.globl native_return
native_return:
	mov native_host_fs(%rip), %rcx
	wrfsbase %rcx
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %rbp
	pop %rbx
	ret
	.size native_enter, . - native_enter
	.section .note.GNU-stack, "", @progbits
