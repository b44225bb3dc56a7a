/* SPDX-License-Identifier: MIT */
/*
 * The first thing a sandbox process runs: position-independent code that the library copied into a
 * page of its own before it forked. It empties the address space it inherited from the embedding
 * program (all but this page), maps the monitor image in its place, and jumps there. It uses no
 * stack: there is none.
 *
 *	rdi	struct k_params, in the trampoline's pages
 */
#include <sys/syscall.h>
#include "exec/ring3/layout.h"

#define P_TEXT_LEN   0
#define P_DATA_LEN   8
#define P_BSS_LEN    16
#define P_ENTRY      24
#define P_STACK_TOP  32
#define P_TRAMP_BASE 40
#define P_TRAMP_LEN  48

	.section .rodata
	.globl	ring3_tramp_start, ring3_tramp_end
	.hidden	ring3_tramp_start, ring3_tramp_end
	.balign	16
ring3_tramp_start:
	mov	%rdi, %r12

	xor	%edi, %edi
	mov	P_TRAMP_BASE(%r12), %rsi
	mov	$SYS_munmap, %eax
	syscall
	test	%rax, %rax
	jnz	1f
	mov	P_TRAMP_BASE(%r12), %rdi
	add	P_TRAMP_LEN(%r12), %rdi
	movabs	$K_WINDOW_END, %rsi
	sub	%rdi, %rsi
	mov	$SYS_munmap, %eax
	syscall
	test	%rax, %rax
	jnz	1f

	/* text: MAP_PRIVATE | MAP_FIXED, read + execute */
	mov	$K_IMAGE_BASE, %edi
	mov	P_TEXT_LEN(%r12), %rsi
	mov	$5, %edx
	mov	$0x12, %r10d
	mov	$K_FD_IMAGE, %r8d
	xor	%r9d, %r9d
	mov	$SYS_mmap, %eax
	syscall
	cmp	$K_IMAGE_BASE, %rax
	jne	1f
	/* data: private, read + write, behind it in the file and in memory */
	mov	$K_IMAGE_BASE, %edi
	add	P_TEXT_LEN(%r12), %rdi
	mov	P_DATA_LEN(%r12), %rsi
	mov	$3, %edx
	mov	$0x12, %r10d
	mov	$K_FD_IMAGE, %r8d
	mov	P_TEXT_LEN(%r12), %r9
	mov	$SYS_mmap, %eax
	syscall
	cmp	%rdi, %rax
	jne	1f
	/* bss: MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS */
	add	P_DATA_LEN(%r12), %rdi
	mov	P_BSS_LEN(%r12), %rsi
	mov	$3, %edx
	mov	$0x32, %r10d
	mov	$-1, %r8
	xor	%r9d, %r9d
	mov	$SYS_mmap, %eax
	syscall
	cmp	%rdi, %rax
	jne	1f
	mov	$K_FD_IMAGE, %edi
	mov	$SYS_close, %eax
	syscall

	mov	P_STACK_TOP(%r12), %rsp
	mov	%r12, %rdi
	xor	%ebp, %ebp
	jmp	*P_ENTRY(%r12)

1:	mov	$120, %edi	/* seen by the library as "could not set up" */
	mov	$SYS_exit_group, %eax
	syscall
	ud2
ring3_tramp_end:

	.section .note.GNU-stack, "", @progbits
