/* SPDX-License-Identifier: MIT */
/* The monitor image as data of the library. MONITOR_BIN is its path, from meson. */
	.section .rodata
	.globl	ring3_image_start, ring3_image_end
	.hidden	ring3_image_start, ring3_image_end
	.balign	4096
ring3_image_start:
	.incbin MONITOR_BIN
ring3_image_end:
	.section .note.GNU-stack, "", @progbits
