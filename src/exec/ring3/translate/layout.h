/* SPDX-License-Identifier: MIT */
/*
 * Where the translator's memory lies in K's address space, and the vCPU page. Included by C and by
 * entry.S.
 *
 * K is one process for each vCPU, so everything of the vCPU can sit at fixed absolute addresses
 * below 2 GiB, where translated code reaches it with a plain disp32 and no base register (measured:
 * half a cycle for a spill, against five for a rip-relative one).
 */
#ifndef PVV_TRANSLATE_LAYOUT_H
#define PVV_TRANSLATE_LAYOUT_H

/* host address = guest virtual address + shift, modulo 2^64 */
#define XLATE_SHIFT 0x780000000000

/* The vCPU page: spill slots and what entry.S and the emitted code say to each other. */
#define XLATE_VCPU	0x10000000
#define XLATE_VCPU_SIZE 0x10000

/* Emitted code. The monitor may map less than the maximum; that is the size of the cache. */
#define XLATE_CACHE	     0x20000000
#define XLATE_CACHE_SIZE_MAX 0x40000000

/*
 * The flat table: 32 bits of host address for each value of the low 32 bits of a guest address.
 * Demand-zero; its base must be below 2 GiB because it is a disp32.
 *
 * Behind it fragments, edges, frames, recovery notes, struct xlate itself.
 *
 * AddressSanitizer has its shadow from 0x7fff8000 on: such builds (tests only) do without the
 * table, always in exact mode, and with less of everything.
 */
#define XLATE_TABLE 0x60000000
#if defined(__SANITIZE_ADDRESS__)
#define XLATE_NO_TABLE 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define XLATE_NO_TABLE 1
#endif
#endif
#define XLATE_TABLE_FULL 0x400000000 /* what the monitor has, which no sanitizer touches */
#ifdef XLATE_NO_TABLE
#define XLATE_TABLE_SIZE 0x1000
#define XLATE_META	 0x60001000
#define XLATE_META_SIZE	 0x1fff0000
#else
#define XLATE_TABLE_SIZE XLATE_TABLE_FULL
#define XLATE_META	 0x500000000
#define XLATE_META_SIZE	 0x40000000
#endif

/* Offsets in the vCPU page; struct xlate_vcpu in internal.h asserts them. */
#define XV_SP0	      0	  /* spill slots of the emitted code */
#define XV_SP1	      8	  /* */
#define XV_SLOT	      16  /* guest target of the indirect transfer in flight */
#define XV_TARGET     24  /* its host target */
#define XV_RETIMM     32  /* n of the `ret n` in flight */
#define XV_SP2	      40  /* a third spill slot, in the same cache line */
#define XV_EXIT_RIP   48  /* guest rip of an exit */
#define XV_EXIT_INFO  56  /* internal exit code, vector, length */
#define XV_RESUME     64  /* host address at which to enter the cache */
#define XV_REGS	      72  /* struct core_regs of the vCPU */
#define XV_HOST_RSP   80  /* the monitor's stack while in the cache */
#define XV_EXIT_VEC   88  /* -> xlate_asm_exit */
#define XV_MISS_VEC   96  /* -> xlate_asm_miss */
#define XV_FS_BASE    104 /* guest's FS base, for the rare fs: operand */
#define XV_REDIRECT   112 /* host address of a redirected memory operand */
#define XV_HW_FS      120 /* hardware FS base in the cache: guest GS base + shift */
#define XV_HOST_FS    128 /* hosted builds: the C library's FS base */
#define XV_HOST_GS    136 /* hosted builds: likewise */
#define XV_KICK	      144 /* -> the flag that forbids to enter */
#define XV_SCRATCH    152 /* entry.S */
#define XV_SHIFT      160 /* the constant XLATE_SHIFT */
#define XV_AFTER      176 /* host address behind a redirected instruction */
#define XV_FS_SHIFT   184 /* guest's FS base + shift */
#define XV_FS_UNSHIFT 192 /* and its negative */
#define XV_HOST_TF    200 /* hosted builds: 0x100 = single-step the host in the cache */
#define XV_SEL	      208 /* the guest's selectors: cs, ss, ds, es, fs, gs */
#define XV_FLAGS      224 /* what pushf shows beyond the hardware's flags */
#define XV_FPU_TRAP   232 /* not 0: FPU instructions leave */
#define XV_TSC_AUX    240 /* what rdtscp leaves in ecx */
#define XV_STR_FLAGS  248 /* user_string.c: flags, OF in al and the others in ah */
#define XV_STR_DST    256 /* host addresses */
#define XV_STR_SRC    264
#define XV_STR_END_DI 272 /* the guest's registers at the end of the round */
#define XV_STR_END_SI 280
#define XV_STR_END_CX 288
#define XV_STR_TRY    296 /* written by stosb, read by nobody */

/* The rest of the vCPU page. */
#define XV_BOUNCE      0x8000 /* for redirected operands that cross pages */
#define XV_BOUNCE_SIZE 0x4000
#define XV_TLB_TAG     0xc000 /* user_tlb.c: 256 entries each for reads and, behind them, writes */
#define XV_TLB_DELTA   0xd000

#endif
