/* SPDX-License-Identifier: MIT */
/*
 * U processes: guest user mode, but for the brief turns that K interprets by itself
 * (brief/brief.h). One for each live user page-table root and each vCPU that has run it natively;
 * K, the kernel process, drives them. Layout of what they share, for C and for the stub
 * (monitor/ustub.S).
 *
 * vCPUs share no U: a program with threads on two vCPUs has two address spaces of the host that map
 * the same memory. So nothing is ever mapped behind the back of a running K, each K pins all it has
 * to one processor, and the host never has to interrupt one processor for the mappings of another.
 *
 * A U is an address space with two tasks:
 *	M, the mapper: register-only code that executes the lists of system calls (mmap, munmap,
 *	   mprotect, madvise) that K writes to a page U can only read. It holds the memfd, and a
 *	   descriptor of G's process, to interrupt that and nobody else.
 *	G, the guest thread: runs guest user code natively. It holds no descriptor, and its filter
 *	   lets it wait and wake, nothing else, so that code jumping anywhere gains nothing.
 *
 * Control passes between K and G through `turn`. A system call, a fault or a kick of G is a signal
 * of the host; its frame lies on an alternate stack that K sees as well, so the handler only says
 * "your turn" and waits.
 *
 * Addresses in U. The stub sits at 64 KiB, the lowest address a process can have and the one that
 * programs use least.
 *	U_BASE			stub code, read and execute
 *	U_FILTERS		filters, for the beginning: not shared with K (nursery.c)
 *	U_SITES, U_TRAMP	the same in all U: see above
 *	U_BLOCK
 *	  + UB_ORDER		struct u_order, read only: K to M
 *	  + UB_STATE		struct u_state: K and G
 *	  + UB_STACK ...	signal stack of G
 *
 * System calls without a signal. A `syscall` that runs often is a site (monitor/user_site.c): U has
 * a copy of that page of the program, in which a jump takes its place. Site i jumps by way of its
 * entry of the table at U_SITES to the trampoline at U_TRAMP + 16 * i, and that to u_site of the
 * stub with i in ecx, which `syscall` would destroy. What the stub puts into the state page is then
 * what otherwise the host's frame says.
 *
 * Everything G can write (state, signal stack) it can also forge: K reads each value once and
 * checks it. A forged state is no more than registers that the program could have set itself.
 */
#ifndef PVV_RING3_USER_H
#define PVV_RING3_USER_H

#define U_BASE	     0x10000
#define U_FILTERS    0x11000
#define U_SITES	     0x12000
#define U_TRAMP	     0x16000
#define U_TRAMP_SIZE 16
#define U_NR_SITES   2048
#define U_TRAMP_END  (U_TRAMP + U_TRAMP_SIZE * U_NR_SITES)
#define U_BLOCK	     0x20000
#define U_BLOCK_SIZE 0x10000
#define U_FD_GUEST   0	 /* M's: the process of G */
#define U_REFUSED    117 /* with this M leaves if the host has no process for G */
#define U_FIRST	     (U_BLOCK + U_BLOCK_SIZE) /* guest programs have what is above */
#define UB_ORDER     0
#define UB_STATE     0x1000
#define UB_STACK     0x3000
#define U_VA_END     0x7ffffffff000

/* Offsets in struct u_order, for the stub. */
#define UO_SEQ	   0
#define UO_NR	   4
#define UO_DONE	   8
#define UO_FAILED  12
#define UO_OFF	   16
#define UO_STACK   24
#define UO_GO	   48
#define UO_SLEEPS  56
#define UO_ENTRIES 64
/* In place of a system call's number: */
#define UO_KICK	   0xffff /* interrupt G */
#define UO_RESET   0xfffe /* it is another program's now (fails for none that has ended) */

/* Offsets in struct u_filters. */
#define UFI_MAPPER 0
#define UFI_THREAD 16
#define UFI_BOUND  32

/* Offsets in struct u_state. */
#define US_TURN	   0
#define US_FLAGS   4
#define US_FRAME   8
#define US_FPSTATE 16
#define US_FPMASK  24
#define US_GPR	   32
#define US_IRET	   168
#define US_FSBASE  208
#define US_GSBASE  216
#define US_SEL	   224
#define US_STARTED 232
#define US_TOLD	   236
#define US_LEAVES  240
#define US_FPU	   1024
#define US_SITE	   1 /* in place of a frame's address: gpr, rflags and fpu are what G came with */

/*
 * u_state.turn. UT_KERNEL: K's turn. Who is about to sleep until it has the turn says so first, by
 * a compare and exchange; who gives it then wakes. What G says there is worth no more than any
 * other lie of it: K that is not woken is interrupted by the guest's next timer.
 */
#define UT_KERNEL	1
#define UT_ATTENTION	2 /* set by K's signal handler so that its own futex wait ends */
#define UT_MAPPING	4 /* with UT_KERNEL: M has an order, and will give the turn to G */
#define UT_K_SLEEPS	8
#define UT_G_SLEEPS	16
#define UT_G_SLEEPS_BIT 4
/* Futex bits of those who wait for `turn`. */
#define UF_WAIT_G	1
#define UF_WAIT_K	2

#define UF_SEGMENTS 1  /* load ds, es, fs and gs from `sel` */
#define UF_FLAGS    2  /* the handler came in with flags that iretq refuses */
#define UF_YIELD    4  /* K will be back soon: first give it the processor, then sleep */
#define UF_BASES    8  /* load fs_base and gs_base */
#define UF_IRETQ    16 /* popfq and a jump, in a tenth of its time, are not enough */
#define UF_XSAVEOPT 32 /* the processor has it */
/*
 * Times to do that: the first can come back at once, when the one who yields is so far behind the
 * other in what it has had of the processor that it is still its turn.
 */
#define UF_YIELDS   3
/* Cycles, about 200 us: who waits longer sleeps. Several domains that yield to each other stay
 * below, the slice of somebody who computes does not. */
#define UF_LATE	    600000

/* Offsets in the host's signal frame; rsp points to it in the handler. */
#define UC_REGS	   48 /* r8..r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, eflags */
#define UC_RSP	   (UC_REGS + 15 * 8)
#define UC_RIP	   (UC_REGS + 16 * 8)
#define UC_FPSTATE (UC_REGS + 23 * 8)
#define UC_SIGINFO 312

#define U_SLOTS 192 /* processes of a domain at once; more roots than that take turns */

#ifndef __ASSEMBLER__
#include <stdint.h>

#include "exec/ring3/layout.h"

struct u_order {
	uint32_t seq; /* M waits for it to change, then executes the entries */
	uint32_t nr;
	uint32_t done, failed; /* written by M with pwrite(): its copy of seq */
	uint64_t off;	       /* of this page in the memfd */
	struct {
		uint64_t sp;
		uint32_t flags, pad;
		uint64_t size;
	} stack;	 /* for G's sigaltstack() */
	uint32_t go;	 /* not 0: instead of waking K, let G run */
	uint32_t awake;	 /* G may run though it is K's turn: monitor/user_quiet.c */
	uint32_t sleeps; /* K waits for `done` in a futex: wake it */
	uint32_t pad;
	struct u_call {
		uint64_t nr, arg[6], pad;
	} call[62];
};

struct u_state {
	uint32_t turn;
	uint32_t flags;
	uint64_t frame;	  /* U address of the signal frame, 0 = a kick met the way out: `gpr` ... */
	uint64_t fpstate; /* U address of the XSAVE image to load */
	uint64_t fpmask;
	uint64_t gpr[16];
	uint64_t scratch;
	uint64_t rip, cs, rflags, rsp, ss; /* iretq takes them */
	uint64_t fs_base, gs_base;
	uint16_t ds, es, fs, gs;
	uint32_t started, told; /* low half of the processor's counter, when G had the turn */
	uint64_t leaves;	/* system calls behind which G sleeps at once: user_turn.c */
	uint32_t pad[194];
	uint8_t fpu[4096 + 4096 - US_FPU] __attribute__((aligned(64)));
};

/*
 * What M and G bind themselves with at their birth. A page of the nursery's that a child takes
 * along: K can write to what else U maps, and would otherwise choose the filters.
 */
struct u_filters {
	struct {
		uint16_t len, pad[3];
		uint64_t filter; /* U address */
	} mapper, thread;
	/* G has its filter. Before that M does nothing that K says, for it could be done to G. */
	uint32_t bound, pad;
	uint64_t insn[(4096 - 40) / 8];
};
_Static_assert(sizeof(struct u_filters) == 4096, "a page");
_Static_assert(__builtin_offsetof(struct u_filters, thread) == UFI_THREAD, "for the stub");
_Static_assert(__builtin_offsetof(struct u_filters, bound) == UFI_BOUND, "for the stub");

/* The same in all U, and read only there. */
struct u_common {
	uint64_t sites[U_NR_SITES];
	uint8_t tramp[U_NR_SITES][U_TRAMP_SIZE];
};
_Static_assert(U_SITES + __builtin_offsetof(struct u_common, tramp) == U_TRAMP, "layout of U");
_Static_assert(U_SITES + sizeof(struct u_common) <= U_BLOCK, "layout of U");

/* K asks N, the nursery, for processes. */
struct u_nursery {
	uint32_t want; /* number of slots asked for so far; N waits for it to change */
	uint32_t dead; /* a task of a U died: the host killed it */
	uint32_t failed;
	uint32_t gone;	     /* Gs that ended by a fault of their own */
	uint32_t left;	     /* Ms that were told to end, and did */
	uint32_t has_tls;    /* U processes have the local descriptors U_TLS_FIRST and behind */
	uint32_t slot[1018]; /* ring of slots to make */
};
#define U_NURSERY_RING 1018u
/*
 * Where Linux has a thread's descriptors in its global table. 32-bit programs read the number out
 * of gs; so a flat one of that number is what replaces theirs, in the local table of the host.
 */
#define U_TLS_FIRST    12u
#define U_TLS_NR       3u

/*
 * The executor's region of the memfd: what vCPUs say to each other (layout.h), the common pages,
 * then for each vCPU the nursery's page, the table of tlb.h, the blocks, and the copies of pages
 * with sites.
 */
#define U_PAGES(n)   (((n) + 4095) & ~4095ull)
#define U_TABLE_SIZE 96ull
#define U_SITE_PAGES 512ull /* of each vCPU */
static inline uint64_t ux_common(uint64_t nr_frames, unsigned int nr_vcpus)
{
	return U_PAGES(k_smp_size(nr_frames, nr_vcpus));
}
static inline uint64_t ux_nursery(uint64_t nr_frames, unsigned int nr_vcpus, unsigned int vcpu)
{
	return ux_common(nr_frames, nr_vcpus) + U_PAGES(sizeof(struct u_common)) + 4096ull * vcpu;
}
static inline uint64_t ux_tables(uint64_t nr_frames, unsigned int nr_vcpus, unsigned int vcpu)
{
	return ux_nursery(nr_frames, nr_vcpus, nr_vcpus) + U_PAGES(nr_frames * U_TABLE_SIZE) * vcpu;
}
static inline uint64_t ux_block(uint64_t nr_frames, unsigned int nr_vcpus, unsigned int slot,
				unsigned int vcpu)
{
	return ux_tables(nr_frames, nr_vcpus, nr_vcpus) +
	       ((uint64_t)vcpu * U_SLOTS + slot) * U_BLOCK_SIZE;
}
static inline uint64_t ux_sites(uint64_t nr_frames, unsigned int nr_vcpus, unsigned int vcpu)
{
	return ux_block(nr_frames, nr_vcpus, 0, nr_vcpus) + 4096 * U_SITE_PAGES * vcpu;
}
static inline uint64_t ux_size(uint64_t nr_frames, unsigned int nr_vcpus)
{
	return ux_sites(nr_frames, nr_vcpus, nr_vcpus);
}
#endif

#endif
