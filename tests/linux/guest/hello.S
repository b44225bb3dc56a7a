/* SPDX-License-Identifier: MIT */
/*
 * hello-init: the first user program to try, two system calls and no stack, no memory of its own but its text:
 * write(1, ...) and reboot(POWER_OFF). Where the kernel gave it no console (no /dev/console in the initramfs)
 * the write fails and the power-off still happens.
 */
	.globl	_start
	.text
_start:
	mov	$1, %eax		/* write */
	mov	$1, %edi
	lea	text(%rip), %rsi
	mov	$(end - text), %edx
	syscall
	mov	$169, %eax		/* reboot(MAGIC1, MAGIC2, POWER_OFF) */
	mov	$0xfee1dead, %edi
	mov	$672274793, %esi
	mov	$0x4321fedc, %edx
	syscall
	/* Not reached: power-off does not come back. Say so by an exit status, which init's panic message shows. */
	mov	%eax, %edi
	mov	$231, %eax
	syscall
text:	.ascii	"hello from user mode\n"
end:
	.section .note.GNU-stack, "", @progbits
