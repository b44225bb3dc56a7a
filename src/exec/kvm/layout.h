/* SPDX-License-Identifier: MIT */
/*
 * The inside of a VM: what lies where. Guest-physical address = machine address of the domain's
 * memfd, so that the guest's page tables can be loaded as they are. The monitor's own region lies
 * behind the domain's memory and is no machine frame: no PTE that the core accepts can name it.
 *
 * Guest virtual addresses, in the hypervisor's part of every address space, L4 slots 256-271:
 *
 *   slot 256  0xffff800000000000  the M2P, readable by the guest
 *   slot 260  0xffff820000000000  each vCPU's GDT and LDT (Xen has them at the same place)
 *   slot 261  0xffff82d040200000  the monitor's image
 *             0xffff82d040900000  the IDT
 *             0xffff82d041000000  each vCPU's own block: struct kcpu, stacks, its page of the GDT
 *   slot 262  0xffff830000000000  all of the memfd, for the core
 *
 * All but the first are for ring 0 only.
 */
#ifndef PVV_KVM_LAYOUT_H
#define PVV_KVM_LAYOUT_H

#define KVM_GDT_VA     0xffff820000000000
#define KVM_GDT_STRIDE 0x20000 /* a vCPU's GDT window, and its LDT window behind it */
#define KVM_LDT_OFF    0x10000
#define KVM_IMAGE_VA   0xffff82d040200000
#define KVM_IMAGE_MAX  0x600000
#define KVM_IDT_VA     0xffff82d040900000
#define KVM_CPU_VA     0xffff82d041000000
#define KVM_RAM_VA     0xffff830000000000
#define KVM_RAM_MAX    0x8000000000 /* one L4 slot */

#define KVM_SLOT_FIRST	256
#define KVM_SLOTS	16
#define KVM_SLOT_M2P	256
#define KVM_SLOT_OTHER	258 /* shown to the guest as used; nothing is there */
#define KVM_SLOT_WINDOW 260
#define KVM_SLOT_IMAGE	261
#define KVM_SLOT_RAM	262

/* A vCPU's block, aligned to its size so that rsp finds it. In pages: */
#define KVM_CPU_SIZE	0x10000
#define KVM_CPU_KCPU	0
#define KVM_CPU_GDT	1 /* the hypervisor's page of the GDT */
#define KVM_CPU_ENTRY	2 /* stacks: exceptions from ring 3, before the registers are saved */
#define KVM_CPU_IST	3 /* NMI, double fault, machine check */
#define KVM_CPU_GUARD	4 /* not mapped */
#define KVM_CPU_STACK	5
#define KVM_CPU_STACK_N 8
#define KVM_CPU_PAGES	13

/* Selectors: Xen's. */
#define KVM_CS0	    0xe008
#define KVM_SS0	    0xe010
#define KVM_TSS_SEL 0xe040
#define KVM_LDT_SEL 0xe050
#define KVM_CS32    0xe023
#define KVM_SS3	    0xe02b
#define KVM_CS64    0xe033

/* Vectors of the monitor's own interrupts. */
#define KVM_VEC_KICK	   0xf0 /* from the library, by irqfd; from other vCPUs */
#define KVM_VEC_TIMER	   0xf1
/* What guest_turn() is told besides vectors. */
#define KVM_EXIT_SYSCALL   0x100
#define KVM_EXIT_SYSCALL32 0x101
#define KVM_EXIT_NONE	   0x102 /* the beginning */
#define KVM_EXIT_IRET	   0x200 /* + vector: the registers cannot be loaded */

/* I/O ports by which the monitor asks the library. */
#define KVM_PORT_DOORBELL 0x10 /* ioeventfd: no return to the library's thread */
#define KVM_PORT_DIE	  0x20 /* the reason is in the control pages */
#define KVM_PORT_DISCARD  0x24 /* rdi: first frame, rsi: how many */
#define KVM_PORT_XCR0	  0x28 /* rdi: its value; see set_xcr0() in monitor/cpu.c */

/* Offsets in struct kcpu and struct core_regs, for entry.S; monitor/main.c asserts them. */
#define KC_REGS	   0
#define KC_RSP	   8
#define KC_SCRATCH 16
#define KC_ERROR   24
#define KC_SEGS	   32

#define KR_RSP	   32
#define KR_RIP	   128
#define KR_RFLAGS  136
#define KR_CS	   144
#define KR_SS	   146
#define KR_DS	   148
#define KR_ES	   150
#define KR_FS	   152
#define KR_GS	   154
#define KR_FS_BASE 160
#define KR_GS_BASE 168

#ifndef __ASSEMBLER__
#include <stdint.h>

/* Start of the image, made by the linker script. */
struct kvm_image_header {
	uint64_t magic;
	uint64_t entry;
	uint64_t text_end; /* [KVM_IMAGE_VA, text_end): read and execute */
	uint64_t data_end; /* [text_end, data_end): read and write */
	uint64_t bss_end;  /* [data_end, bss_end): zero */
};
#define KVM_IMAGE_MAGIC 0x323076766b6d6bull

/* What the library tells the monitor; a page of the region. Only read once it runs. */
struct kvm_params {
	uint64_t mem_size, nr_frames;
	uint64_t ctl_off, state_off, frames_off;
	uint64_t root;		   /* cr3 of the monitor's own L4 */
	uint64_t slots[KVM_SLOTS]; /* entries of every L4, from slot 256 */
	uint64_t window_va;	   /* the L1 tables of the GDT and LDT windows */
	uint64_t cpus_gpa;	   /* of the vCPU blocks */
	uint64_t zero_gpa;	   /* a page of zeroes */
	uint32_t nr_vcpus;
	uint32_t has_xsave, has_rdtscp, has_pv_eoi;
};
#endif

#endif
