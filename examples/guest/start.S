/* SPDX-License-Identifier: MIT */
/*
 * What makes an ELF file a PV guest: the notes, and an entry point. Execution starts here with rsi
 * pointing to struct start_info, events masked, and the page tables made by the builder.
 */
#include <xen/elfnote.h>

#define BASE 0xffffffff80000000 /* virtual address of the first page; also in guest.lds */

.macro note type, value:vararg
	.pushsection .note.Xen, "a", @note
	.balign	4
	.long	2f - 1f, 4f - 3f, \type
1:	.asciz	"Xen"
2:	.balign	4
3:	\value
4:	.balign	4
	.popsection
.endm

	note	XEN_ELFNOTE_GUEST_OS, .asciz "example"
	note	XEN_ELFNOTE_XEN_VERSION, .asciz "xen-3.0"
	note	XEN_ELFNOTE_LOADER, .asciz "generic"
	note	XEN_ELFNOTE_VIRT_BASE, .quad BASE
	note	XEN_ELFNOTE_PADDR_OFFSET, .quad 0
	note	XEN_ELFNOTE_ENTRY, .quad _start

	.section .text.start, "ax"
	.globl	_start
_start:
	cld
	leaq	stack_end(%rip), %rsp
	xorl	%ebp, %ebp
	movq	%rsi, %rdi
	call	guest_main
	ud2

	.bss
	.balign	4096
	.skip	16384
stack_end:

	.section .note.GNU-stack, "", @progbits
