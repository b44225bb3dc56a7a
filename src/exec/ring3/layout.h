/* SPDX-License-Identifier: MIT */
/*
 * The address space of K, the kernel process of ring3.
 *
 *   0x0000_0010_0000  the monitor image: text, data, bss, stacks
 *   0x0000_0800_0000  the board of gang.h, to read; behind it the own claim
 *   0x0000_1000_0000  vCPU page, code cache, lookup tables (translate/layout.h), below 64 GiB
 *   0x0010_0000_0000  (64 GiB) the domain's memfd, all of it: "the RAM view"
 *   0x0080_0000_0000  (512 GiB) the window: guest virtual addresses shifted by S.
 *                     [0xffff888000000000, 2^64) lies at [0x0080_0000_0000, 0x7800_0000_0000),
 *                     [0, 8 TiB) lies at [0x7800_0000_0000, 0x7fff_ffff_f000)
 *
 * So one constant shift serves kernels linked in the high half and kernels linked at 0, and what
 * belongs to the monitor lies below the window.
 */
#ifndef PVV_RING3_LAYOUT_H
#define PVV_RING3_LAYOUT_H

#define K_IMAGE_BASE 0x100000ul
#define K_GANG	     0x8000000ul
#define K_RAM_BASE   0x1000000000ul
#define K_RAM_MAX    0x7000000000ul

#define K_SHIFT	     0x780000000000ul
#define K_WINDOW     0x8000000000ul
#define K_WINDOW_END 0x7ffffffff000ul

/* Descriptors that K holds; everything else is closed. */
#define K_FD_MEMORY   3
#define K_FD_DOORBELL 4
#define K_FD_IMAGE    5 /* only until the image is mapped */
#define K_FD_GANG     6 /* only until the board of gang.h is mapped */
/* The process itself, for the nursery, which can interrupt it and nobody else. */
#define K_FD_SELF     7
/* With more than one vCPU (adr/0012): a pipe for each whose readers are sent SIGUSR1. */
#define K_FD_KICKED   31 /* the own one's end to read from */
#define K_FD_KICK     32 /* + n: write a byte to interrupt vCPU n */

/* + the slot of a U process: its userfaultfd, if the host has that (monitor/user_remote.c) */
#define K_FD_REMOTE	256
/* K's own (monitor/window_protect.c); one of the numbers that its filter allows */
#define K_FD_OWN_REMOTE 511
/* UFFD_FEATURE_PAGEFAULT_FLAG_WP, _SIGBUS, _MINOR_SHMEM, _WP_HUGETLBFS_SHMEM: that one is the
 * newest. */
#define REMOTE_FEATURES (1ul << 0 | 1ul << 7 | 1ul << 10 | 1ul << 12)
#define REMOTE_FLAGS	(O_CLOEXEC | O_NONBLOCK | 1 /* UFFD_USER_MODE_ONLY */)

#define K_FILTER_MAX	    256 /* BPF instructions */
#define U_MAPPER_FILTER_MAX 128
#define U_THREAD_FILTER_MAX 64

#ifndef __ASSEMBLER__
#include <stdint.h>

/*
 * In the executor's region of the memfd, what the vCPUs of a domain share: a struct k_peer for
 * each, and for each a struct k_frame of every frame. With one vCPU there is nothing to share.
 */
#define K_PEER_SIZE	8192ull
#define K_SMP_PER_FRAME 16ull
static inline uint64_t k_smp_frames(uint64_t nr_frames)
{
	return (nr_frames * K_SMP_PER_FRAME + 4095) & ~4095ull;
}
static inline uint64_t k_smp_size(uint64_t nr_frames, unsigned int nr_vcpus)
{
	return nr_vcpus > 1 ? nr_vcpus * (K_PEER_SIZE + k_smp_frames(nr_frames)) : 0;
}

/* Start of the monitor image, made by the linker script; the library reads it from the file. */
struct k_image_header {
	uint64_t magic;
	uint64_t entry;
	uint64_t text_end; /* [K_IMAGE_BASE, text_end): read and execute, from the file */
	uint64_t data_end; /* [text_end, data_end): read and write, from the file */
	uint64_t bss_end;  /* [data_end, bss_end): zero */
	uint64_t stack_top;
};
#define K_IMAGE_MAGIC 0x313076766b6d6bull

/*
 * What the library tells a new K. Lies in a page of the trampoline; the monitor copies what it
 * keeps. The first five fields are read by the trampoline's assembly (tramp.S).
 */
struct k_params {
	uint64_t text_len, data_len, bss_len; /* whole pages */
	uint64_t entry, stack_top;
	uint64_t tramp_base, tramp_len;
	uint64_t mem_size, nr_frames;
	uint64_t ctl_off, state_off, frames_off, exec_off;
	uint64_t rlimit_as;
	uint64_t code_cache; /* bytes, 0 = default */
	uint32_t vcpu, nr_vcpus;
	uint32_t gang_slot;		  /* on the board, GANG_NONE: there is none */
	uint32_t no_brief_turns;	  /* see exec_params */
	uint64_t vdso;			  /* the host's, unmapped: see monitor/user.c */
	uint64_t smp_off;		  /* what the vCPUs share, see monitor/smp.h */
	uint32_t mapper_len, thread_len;  /* filters of the U processes, see user.h */
	uint32_t filter_len, nursery_len; /* BPF instructions */
	uint64_t filter[K_FILTER_MAX], nursery[K_FILTER_MAX];
	uint64_t mapper[U_MAPPER_FILTER_MAX], thread[U_THREAD_FILTER_MAX];
};
#endif

#endif
