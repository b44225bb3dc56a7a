/* SPDX-License-Identifier: MIT */
/*
 * The image header (struct k_image_header) and the way back from signal handlers. The entry from
 * the trampoline is k_start in main.c: it finds rsp at k_stack_top and struct k_params in rdi.
 */
#include <sys/syscall.h>

	.section .header, "a"
	.quad	0x313076766b6d6b
	.quad	k_entry
	.quad	k_text_end
	.quad	k_data_end
	.quad	k_bss_end
	.quad	k_stack_top

	.text
k_entry:
	call	k_start
	ud2

	.globl	k_restorer
k_restorer:
	mov	$SYS_rt_sigreturn, %eax
	syscall
	ud2

	.bss
	.balign	64
	.skip	32768
	.globl	k_stack_top
k_stack_top:
	.skip	64

	.section .note.GNU-stack, "", @progbits
