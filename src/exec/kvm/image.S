/* SPDX-License-Identifier: MIT */
/* The monitor image as data of the library. MONITOR_BIN is its path, from meson. */
	.section .rodata
	.globl	kvm_image_start, kvm_image_end
	.hidden	kvm_image_start, kvm_image_end
	.balign	4096
kvm_image_start:
	.incbin MONITOR_BIN
kvm_image_end:
	.section .note.GNU-stack, "", @progbits
