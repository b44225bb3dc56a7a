/* SPDX-License-Identifier: MIT */
/*
 * The border between ring 3 (the guest's kernel and its user mode) and ring 0. Out with the
 * registers of struct core_regs, back by whatever way, and then guest_turn() in C says when to go
 * out again: the loop of the monitor is here, and no stack of it survives inside an entry.
 *
 * In the monitor the GS base is this vCPU's struct kcpu and the guest's is swapped away; only this
 * file uses gs. Interrupts are off but for the one instruction in cpu_halt().
 */
#include "exec/kvm/layout.h"

	.section .header, "a"
	.quad	0x323076766b6d6b
	.quad	k_entry
	.quad	k_text_end
	.quad	k_data_end
	.quad	k_bss_end

	.text
	.globl	k_entry			/* rdi: struct kvm_params, esi: vCPU */
k_entry:
	call	k_start
	ud2

/* ---- out ---- */

	.macro	load_seg reg, off
	mov	%\reg, %ecx
	movzwl	\off(%rdi), %eax
	cmp	%cx, %ax
	je	2f
seg_\reg:
	mov	%eax, %\reg
2:
	.endm

/* Loading gs empties its base: the guest's, not ours. */
load_segs:
	swapgs
	load_seg ds, KR_DS
	load_seg es, KR_ES
	load_seg fs, KR_FS
	load_seg gs, KR_GS
	jmp	segs_loaded

/* void guest_loop(unsigned int edi): never returns. What is on the stack now stays there. */
	.globl	guest_loop
guest_loop:
	and	$-16, %rsp
	mov	%rsp, %gs:KC_RSP
	.balign	16
turn:
	call	guest_turn
	mov	%rax, %rdi		/* the registers */
	mov	KR_DS(%rdi), %rax	/* all four */
	cmp	%gs:KC_SEGS, %rax
	jne	load_segs
	swapgs
segs_loaded:
	mov	KR_FS_BASE(%rdi), %rax
	wrfsbase %rax
	mov	KR_GS_BASE(%rdi), %rax
	wrgsbase %rax

	mov	0(%rdi), %rax
	mov	16(%rdi), %rdx
	mov	24(%rdi), %rbx
	mov	40(%rdi), %rbp
	mov	48(%rdi), %rsi
	mov	64(%rdi), %r8
	mov	72(%rdi), %r9
	mov	80(%rdi), %r10
	mov	96(%rdi), %r12
	mov	104(%rdi), %r13
	mov	112(%rdi), %r14
	mov	120(%rdi), %r15

	/* sysret is faster, and does it where rcx and r11 are what it makes of them. */
	mov	8(%rdi), %rcx
	mov	88(%rdi), %r11
	cmp	KR_RIP(%rdi), %rcx
	jne	1f
	cmp	KR_RFLAGS(%rdi), %r11
	jne	1f
	cmpl	$(KVM_SS3 << 16 | KVM_CS64), KR_CS(%rdi)
	jne	1f
	/* To an address that is not canonical it faults in ring 0, on the guest's stack. */
	shl	$16, %rcx
	sar	$16, %rcx
	cmp	KR_RIP(%rdi), %rcx
	jne	1f
	mov	KR_RSP(%rdi), %rsp
	mov	56(%rdi), %rdi
	sysretq

1:	mov	8(%rdi), %rcx
	movzwl	KR_SS(%rdi), %r11d
	push	%r11
	push	KR_RSP(%rdi)
	push	KR_RFLAGS(%rdi)
	movzwl	KR_CS(%rdi), %r11d
	push	%r11
	push	KR_RIP(%rdi)
	mov	88(%rdi), %r11
	mov	56(%rdi), %rdi
	.globl	iret_out
iret_out:
	iretq

/* ---- in ---- */

	.macro	save_gprs		/* rsp: the registers; not rax, rsp */
	mov	%rcx, 8(%rsp)
	mov	%rdx, 16(%rsp)
	mov	%rbx, 24(%rsp)
	mov	%rbp, 40(%rsp)
	mov	%rsi, 48(%rsp)
	mov	%rdi, 56(%rsp)
	mov	%r8, 64(%rsp)
	mov	%r9, 72(%rsp)
	mov	%r10, 80(%rsp)
	mov	%r11, 88(%rsp)
	mov	%r12, 96(%rsp)
	mov	%r13, 104(%rsp)
	mov	%r14, 112(%rsp)
	mov	%r15, 120(%rsp)
	.endm

	.macro	syscall_in code, cs
	swapgs
	mov	%rsp, %gs:KC_SCRATCH
	mov	%gs:KC_REGS, %rsp
	mov	%rax, 0(%rsp)
	save_gprs
	mov	%rcx, KR_RIP(%rsp)
	mov	%r11, KR_RFLAGS(%rsp)
	movl	$(KVM_SS3 << 16 | \cs), KR_CS(%rsp)
	mov	%gs:KC_SCRATCH, %rcx
	mov	%rcx, KR_RSP(%rsp)
	mov	$\code, %eax
	jmp	came_back
	.endm

	.globl	syscall_entry, syscall32_entry
	.balign	64
syscall_entry:
	syscall_in KVM_EXIT_SYSCALL, KVM_CS64
syscall32_entry:
	syscall_in KVM_EXIT_SYSCALL32, KVM_CS32

	.macro	save_segs		/* rcx: as they lie in struct core_regs; rdx is lost */
	mov	%gs, %ecx
	shl	$16, %rcx
	mov	%fs, %edx
	or	%rdx, %rcx
	shl	$16, %rcx
	mov	%es, %edx
	or	%rdx, %rcx
	shl	$16, %rcx
	mov	%ds, %edx
	or	%rdx, %rcx
	mov	%rcx, %gs:KC_SEGS
	.endm

/* rsp: the registers, eax: what guest_turn() is told. */
	.balign	16
came_back:
	cld
	save_segs
	mov	%rcx, KR_DS(%rsp)
	rdfsbase %rcx
	mov	%rcx, KR_FS_BASE(%rsp)
	swapgs
	rdgsbase %rcx
	swapgs
	mov	%rcx, KR_GS_BASE(%rsp)
	mov	%eax, %edi
	mov	%gs:KC_RSP, %rsp
	jmp	turn

/*
 * Sleep until an interrupt. sti lets none in before the hlt; but QEMU's TCG 7.2 forgets that when
 * the host interrupts just there, so the handler steps over the hlt (ring0_trap() in trap.c).
 */
	.globl	cpu_halt, halt_insn
cpu_halt:
	sti
halt_insn:
	hlt
	cli
	ret

/*
 * On the stack: vector, error code, and what the processor pushed. An exception from ring 3 leaves
 * ss null, and sysret on AMD processors changes the selector only: 32-bit code would find a stack
 * segment that is not present.
 */
	.balign	16
exception:
	testb	$3, 24(%rsp)
	jz	from_ring0
	swapgs
	push	%rbp
	mov	$KVM_SS0, %ebp
	mov	%ebp, %ss
	mov	%gs:KC_REGS, %rbp
	mov	%rax, 0(%rbp)
	pop	40(%rbp)
	mov	%rsp, %rax
	mov	%rbp, %rsp
	mov	40(%rsp), %rbp
	save_gprs
	mov	8(%rax), %rcx
	mov	%rcx, %gs:KC_ERROR
	mov	16(%rax), %rcx
	mov	%rcx, KR_RIP(%rsp)
	mov	24(%rax), %ecx
	mov	%cx, KR_CS(%rsp)
	mov	32(%rax), %rcx
	mov	%rcx, KR_RFLAGS(%rsp)
	mov	40(%rax), %rcx
	mov	%rcx, KR_RSP(%rsp)
	mov	48(%rax), %ecx
	mov	%cx, KR_SS(%rsp)
	mov	0(%rax), %eax
	jmp	came_back

/*
 * The monitor itself: an interrupt while it halts, a segment register of the guest's that cannot be
 * loaded, iretq to where one cannot go; anything else is the end (ring0_trap() does not return).
 */
from_ring0:
	push	%rax
	push	%rcx
	push	%rdx
	push	%rsi
	push	%rdi
	push	%r8
	push	%r9
	push	%r10
	push	%r11
	cld
	lea	72(%rsp), %rdi
	call	ring0_trap
	test	%eax, %eax
	jnz	iret_failed
	pop	%r11
	pop	%r10
	pop	%r9
	pop	%r8
	pop	%rdi
	pop	%rsi
	pop	%rdx
	pop	%rcx
	pop	%rax
	add	$16, %rsp
	iretq

/* The saved registers are still those that were to be loaded. */
iret_failed:
	swapgs
	mov	72(%rsp), %eax
	mov	80(%rsp), %rcx
	mov	%rcx, %gs:KC_ERROR
	or	$KVM_EXIT_IRET, %eax
	save_segs
	mov	%eax, %edi
	mov	%gs:KC_RSP, %rsp
	jmp	turn

/* Where a fault in the loading of a segment register goes on: with the null selector. */
	.macro	fixup reg
	.quad	seg_\reg, null_\reg
	.endm
	.section .rodata
	.balign	8
	.globl	fixups, fixups_end
fixups:
	fixup	ds
	fixup	es
	fixup	fs
	fixup	gs
fixups_end:
	.text
	.irp	reg, ds, es, fs, gs
null_\reg:
	xor	%eax, %eax
	jmp	seg_\reg
	.endr

/* 256 stubs of 16 bytes: make the frame of all vectors the same. */
	.balign	16
	.globl	stubs
stubs:
	.set	vector, 0
	.rept	256
	.balign	16
	.if	!(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21)
	push	$0
	.endif
	push	$vector
	jmp	exception
	.set	vector, vector + 1
	.endr

	.section .note.GNU-stack, "", @progbits
