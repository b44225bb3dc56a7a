/* SPDX-License-Identifier: MIT */
/*
 * Pieces of code for test_flow.c: position-independent, each ends at its last byte, where the exit
 * is put. rdi points to data, rsi to a second area, rbx holds a random number.
 */
	.macro begin name
	.globl snip_\name, snip_\name\()_end
	.balign 16
snip_\name:
	.endm
	.macro finish name
snip_\name\()_end:
	.quad 0, 0
	.endm

	.section .rodata
begin calls
	call 1f
	add %rax, %rbx
	call 2f
	jmp 9f
1:	lea 5(%rbx), %rax
	call 3f
	ret
2:	push %rbp
	mov %rsp, %rbp
	sub $0x28, %rsp
	mov %rax, -8(%rbp)
	call 3f
	add -8(%rbp), %rax
	leave
	ret
3:	xor %rbx, %rax
	stc
	ret
9:
finish calls

begin ret_imm
	push $1
	push $2
	call 1f
	jmp 9f
1:	mov 8(%rsp), %rax
	cmp $2, %rax
	ret $16
9:
finish ret_imm

begin push_ret
	lea 1f(%rip), %rax
	push %rax
	ret
	ud2
1:	call 2f
	ud2
3:	jmp 9f
2:	lea 3b(%rip), %rcx
	mov %rcx, (%rsp)
	ret
9:
finish push_ret

begin get_pc
	call 1f
1:	pop %rax
	lea 9f-1b(%rax), %rdx
	jmp *%rdx
	ud2
9:
finish get_pc

begin indirect
	lea 1f(%rip), %rax
	call *%rax
	lea 2f(%rip), %rcx
	mov %rcx, 8(%rdi)
	call *8(%rdi)
	.fill 12, 1, 0x67 /* 15 bytes, and mov with the same prefixes would be 16 */
	call *8(%rdi)
	mov $3, %edx
	lea 3f(%rip), %r11
	mov %r11, 24(%rdi)
	call *(%rdi,%rdx,8)
	push %r11
	call *(%rsp)
	call *0x0(%rsp)
	add $8, %rsp
	lea 4f(%rip), %r9
	push %r9
	push %rbx
	jmp *8(%rsp)
	ud2
1:	inc %rbx
	ret
2:	add $7, %rbx
	ret
3:	xor %rdx, %rbx
	ret
4:	pop %rbx
	pop %r9
	lea 5f(%rip), %r15
	jmp *%r15
	ud2
5:	lea 6f(%rip), %rax
	mov %rax, 0x40(%rdi)
	mov $8, %ecx
	jmp *(%rdi,%rcx,8)
	ud2
6:	lea 7f(%rip), %r12
	jmp *%r12
	ud2
7:
finish indirect

/* The same sites with one function, with several, with too many of them; flags and rcx matter. */
begin functions
	mov $24, %r10d
	lea 20f(%rip), %rax
	lea 21f(%rip), %rdx
	lea 22f(%rip), %r8
	mov %rax, 0x100(%rdi)
	mov %rdx, 0x108(%rdi)
	mov %r8, 0x110(%rdi)
	mov %rax, 0x118(%rdi)
1:	mov %r10d, %ecx
	and $3, %ecx
	cmp $9, %r10d
	jb 2f
	xor %ecx, %ecx
2:	cmp %rbx, %rax
	call *0x100(%rdi,%rcx,8)
	adc $0, %r9
	mov 0x100(%rdi,%rcx,8), %rcx
	stc
	call *%rcx
	setc %r9b
	add %rcx, %rbx
	push 0x108(%rdi)
	clc
	call *(%rsp)
	adc %rbx, %r9
	pop %rcx
	xor %rcx, %rcx
	.byte 0x67
	call *0x100(%edi)
	dec %r10d
	jnz 1b
	jmp 9f
20:	lea 1(%rbx,%rcx), %rbx
	ret
21:	adc %rcx, %rbx
	ret
22:	inc %rbx
	ret
9:
finish functions

/* Runs of stores, also entered in the middle, also with everything in use. */
begin stores
	mov $3, %ecx
	xor %eax, %eax
1:	cmp $2, %ecx
	je 3f
	mov %rbx, (%rdi)
	mov %ecx, 8(%rdi)
	mov %dx, 12(%rdi)
3:	mov %bl, 15(%rdi)
	mov %bh, 16(%rdi)
	movq $-5, 24(%rdi)
	movw $77, 32(%rdi)
	movb $7, 34(%rdi,%rax,2)
	mov %rdi, 40(%rdi,%rcx,8)
	mov %r15, -64(%rdi)
	add %rbx, %rdx
	dec %ecx
	jnz 1b
	mov %rdi, %r13
	lea 0x100(%rdi), %r12
	mov %rax, (%r13)
	mov %rbx, 8(%r13)
	mov %rcx, 16(%r13)
	mov %rdx, 24(%r13)
	mov %rsi, 32(%r13)
	mov %r8, 40(%r13)
	mov %r9, 48(%r13)
	mov %r10, 56(%r13)
	mov %r11, 64(%r13)
	mov %r12, 72(%r13)
	mov %r14, 80(%r13)
	mov %r15, 88(%r13)
	mov %sil, 96(%r13)
	mov %dil, 97(%r13)
	movl $1, 100(%r13,%rax)
	movl $2, 104(%r13,%rax,4)
	movl $3, 108(%r13)
	movl $4, 112(%r13)
	movl $5, 116(%r13)
	movl $6, 120(%r13)
	mov %rax, (%r12)
	mov %rax, 8(%r12,%rcx)
	mov %eax, 16(%r12)
	mov %r9w, 24(%r12)
	lea 0x200(%rdi), %rax
	mov %rbx, (%rax)
	mov %rcx, 8(%rax)
	mov %rax, 0x40(%rax)
	mov %rdx, 0x1f8(%rax)
	mov 0x40(%rax), %rbx
	mov %rbp, %r11
	lea 0x300(%rdi), %rbp
	mov %rbx, (%rbp)
	mov %rcx, 8(%rbp)
	mov %rsi, 16(%rbp,%rcx)
	mov %r11, 24(%rbp)
	mov %r11, %rbp
finish stores

/* Compare and branch at every place in a cache line; the branch is also jumped to. */
begin lines
	mov $2, %ecx
1:	.rept 12
	cmp $0x11223344, %rbx
	ja 2f
	add $0x01020304, %rbx
2:	test %ecx, %ecx
	jz 3f
	sub $3, %rdx
3:	jmp 5f
4:	cmp %rdx, %rbx
5:	jc 6f
	inc %rdx
	nop
6:	cmpl $0x12345678, 0x10(%rdi)
	jne 7f
	dec %rdx
7:
	.endr
	dec %ecx
	jnz 1b
finish lines

begin loops
	mov $3, %ecx
1:	add %rbx, %rax
	loop 1b
	mov $5, %ecx
2:	dec %rbx
	test $3, %bl
	loopne 2b
	mov $4, %ecx
3:	and $0, %edx
	loope 3b
	jrcxz 4f
	ud2
4:	mov $0x100000000, %rcx
	jecxz 5f
	ud2
5:	mov $1, %ecx
	jrcxz 6f
	inc %rdx
6:	mov $2, %ecx
7:	loopl 7b
	mov $0x200000001, %rcx
	addr32 loop 8f
8:
finish loops

	.macro both cc
	mov %r8, %rax
	cmp %rbx, %rax
	j\cc 1f
	add $1, %r9
	jmp 2f
1:	add $2, %r9
2:	test %r8, %rbx
	j\cc 1f
	rol $1, %r9
1:	add %r8, %rbx
	j\cc 1f
	xor $0x55, %r9
1:
	.endm
begin jcc
	both o
	both no
	both b
	both ae
	both e
	both ne
	both be
	both a
	both s
	both ns
	both p
	both np
	both l
	both ge
	both le
	both g
finish jcc

begin retpoline
	lea 3f(%rip), %rax
	call 1f
	jmp 9f
1:	call 2f
5:	pause
	lfence
	jmp 5b
2:	mov %rax, (%rsp)
	ret
3:	add %rax, %rbx
	ret
9:
finish retpoline

/* in the forms that are recognised, and in some that only look like them */
begin thunks
	lea 3f(%rip), %r11
	call thunk_r11
	lea 4f(%rip), %rbp
	call thunk_rbp
	mov -8(%rsp), %r13
	call 5f
	mov -8(%rsp), %r14
	lea 6f(%rip), %rcx
	call 7f
	jmp 9f
thunk_r11:
	call 2f
	int3
2:	mov %r11, (%rsp)
	ret
thunk_rbp:
	call 2f
1:	pause
	lfence
	jmp 1b
2:	mov %rbp, (%rsp)
	ret
3:	add %rax, %rbx
	ret
4:	lea 1(%rbx), %rbx
	jmp return_thunk
5:	xor %rbx, %rax
return_thunk:
	call 2f
	int3
2:	lea 8(%rsp), %rsp
	ret
6:	dec %rbx
	lea 9f(%rip), %rdx
	call 2f		/* not a retpoline: it comes back */
	mov -8(%rsp), %r9
	push %rdx
	push %rbx
	call 1f		/* nor this: two words */
	int3
1:	lea 16(%rsp), %rsp
	ret
2:	mov %ebx, 0x100(%rdi)
	ret
7:	call 2f		/* the low half only */
	int3
2:	mov %ecx, (%rsp)
	ret
9:
finish thunks

begin stacks
	mov %rsp, %r12
	mov %rsp, (%rdi)
	lea 0x400(%rdi), %rsp
	push %rbx
	push %rsp
	pop %rax
	push %rsp
	pop %rsp
	xchg %rsp, %r12
	mov %r12, %rcx
	xchg %rsp, %rcx
	push $-5
	pushq (%rsp)
	popq 0x10(%rdi)
	mov %rsp, %rbp
	enter $32, $0
	mov %rsp, %rdx
	leave
	enter $16, $3
	leave
	pop %rax
	mov (%rdi), %rsp
	push %rbx
	mov %rsp, %rax
	add %rsp, %rbx
	sub %rsp, %rbx
	cmp %rsp, %rax
	sete %cl
	add $-8, %rsp
	lea 8(%rsp), %rsp
	lea 8(%rsp), %rdx
	lea (%rsp,%rcx,4), %r14
	and $-16, %rsp
	mov (%rdi), %rsp
	mov %esp, %edx
	movslq %esp, %r13
	imul $3, %rsp, %r10
	bt %rbx, %rsp
	push %rdi
	mov %rsp, 0x18(%rdi)
	mov 0x18(%rdi), %rsp
	pop %rdi
	cmova %rsp, %r15
	cmove (%rdi), %rsp
	cmovne (%rdi), %rsp
	test %rsp, %rsp
	lea -8(%rsp), %rcx
	mov %rcx, %rsp
	push %sp
	pop %ax
	pop %rcx
	mov (%rdi), %rsp
finish stacks

begin overlap
	xor %eax, %eax
	mov $2, %ecx
1:	dec %ecx
	js 3f
	jz 2f+1
2:	.byte 0xb8, 0x48, 0xff, 0xc3, 0x90 /* mov eax, imm; one byte on: inc rbx; nop */
	jmp 1b
3:
finish overlap

begin strings
	mov $16, %ecx
	mov %rdi, %r8
	mov %rsi, %r9
	rep movsb
	mov %r8, %rdi
	mov %r9, %rsi
	mov $16, %ecx
	repe cmpsb
	mov %r8, %rdi
	mov $9, %ecx
	mov %bl, %al
	repne scasb
	std
	mov $3, %ecx
	rep stosq
	cld
	movsl
	stosw
	lodsq
	scasl
	cmpsw
	mov %r8, %rdi
	mov %r9, %rsi
	fs movsq
	gs movsq
	gs lodsl
	fs lodsl
	rep fs movsb
	mov %r8, %rdi
	mov %r9, %rsi
	mov $7, %ecx
	rep gs movsb
	mov %r8, %rdi
	mov %r9, %rsi
	mov $0x100000003, %rcx
	mov $2, %ecx
	addr32 rep stosb
finish strings

begin pages
	mov %rdi, %r8
	mov $512, %ecx
	xor %eax, %eax
	rep stosq
	mov %rdi, %r9
	mov %r8, %rdi
	mov $0x77, %edx
finish pages

begin segments
	mov %gs:0x10, %rax
	add %rax, %gs:(%rdi)
	mov %fs:0x18, %rcx
	mov %rcx, %fs:8(%rdi)
	push %rdi
	mov %rsp, %rdx
	sub %rdi, %rdx
	pop %rdi
	mov $0, %ebp
	lea (%rdi), %r8
	mov %gs:(%r8), %r9
	mov %fs:(%r8,%rbp,2), %r10
	movzbl %fs:4(%r8), %r11d
	xadd %r9, %fs:0x20(%r8)
	lock incl %gs:0x30(%r8)
	push %gs:8
	pop %fs:0x38(%r8)
	addr32 mov %gs:4(%edi), %eax
	addr32 mov %eax, %gs:0x44(%edi)
finish segments

begin pushes
	push %rbx
	push $0x12345678
	push $-1
	pushw $7
	pushw %bx
	popw %ax
	pop %cx
	pop %rax
	pop %rdx
	pop %rcx
	push 8(%rdi)
	pop 16(%rdi)
	push %r12
	pop %r13
	movl $0x11, -8(%rsp)
	movq $-3, -16(%rsp)
	pushq -16(%rsp)
	popq (%rsp)
	pushq -8(%rsp)
	popq 8(%rsp)
	cmp %rbx, %r8
	pushf
	pop %rax
	and $~0x100, %rax /* the oracle is single-stepped */
	add $0, %rsp
finish pushes
	.section .note.GNU-stack, "", @progbits
