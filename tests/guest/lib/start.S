/* SPDX-License-Identifier: MIT */
/*
 * ELF notes and the first instructions. PVG_BASE is the virtual address of pfn 0. With
 * PVG_SHNOTE_ONLY the notes sit in a section that no program header covers, as in Mini-OS images.
 */
#include <xen/elfnote.h>

#ifdef PVG_SHNOTE_ONLY
#define NOTE_FLAGS ""
#else
#define NOTE_FLAGS "a"
#endif

.macro note type, body:vararg
	.pushsection .note.Xen, NOTE_FLAGS, @note
	.balign	4
	.long	2f - 1f, 4f - 3f, \type
1:	.asciz	"Xen"
2:	.balign	4
3:	\body
4:	.balign	4
	.popsection
.endm

	note	XEN_ELFNOTE_GUEST_OS, .asciz "pvg"
	note	XEN_ELFNOTE_GUEST_VERSION, .asciz "1"
	note	XEN_ELFNOTE_LOADER, .asciz "generic"
	note	XEN_ELFNOTE_XEN_VERSION, .asciz "xen-3.0"
	note	XEN_ELFNOTE_VIRT_BASE, .quad PVG_BASE
	note	XEN_ELFNOTE_PADDR_OFFSET, .quad 0
	note	XEN_ELFNOTE_ENTRY, .quad _start
	note	XEN_ELFNOTE_PAE_MODE, .asciz "yes"
#ifdef PVG_HYPERCALL_PAGE
	note	XEN_ELFNOTE_HYPERCALL_PAGE, .quad hypercall_page
#endif
#ifdef PVG_FEATURES
	note	XEN_ELFNOTE_FEATURES, .asciz PVG_FEATURES
#endif

	.section .text.start, "ax"
	.globl	_start
	.type	_start, @function
_start:
	cld
	leaq	boot_stack_end(%rip), %rsp
	xorl	%ebp, %ebp
	movq	%rsi, %rdi
	call	pvg_main
	ud2

	.section .bss
	.balign	4096
boot_stack:
	.skip	32768
	.globl	boot_stack_end
boot_stack_end:

#ifdef PVG_HYPERCALL_PAGE
	.text
	.balign	4096
	.globl	hypercall_page
hypercall_page:
	.skip	4096, 0xcc
#endif

	.section .note.GNU-stack, "", @progbits
