/* SPDX-License-Identifier: MIT */
/*
 * The translator: runs guest-kernel code in the monitor's own process.
 *
 * Guest code is never executed in place. It is translated, x86-64 to x86-64, piece by piece into a
 * code cache: nearly every instruction is copied, and memory operands get a segment prefix whose
 * base is the constant shift S, so that
 *
 *	host linear address = guest virtual address + S (mod 2^64).
 *
 * While guest code runs:
 *	hardware registers	= the guest's, one to one, except
 *	hardware rsp		= guest rsp + S   (so push, pop, call, ret, [rsp+x] need nothing)
 *	hardware GS base	= S		  (the prefix that is inserted)
 *	hardware FS base	= guest GS base + S (guest gs:x is executed as fs:x)
 * The guest's FS base is applied by extra instructions; guest FPU state is simply in the FPU.
 *
 * Control flow. A guest stack only ever holds guest addresses. A call pushes the guest's return
 * address and then is a real `call`; where it arrives the host's return address is taken off the
 * stack again (one lea). An indirect call is the same behind a comparison with the function that it
 * called last; one of many functions looks them up, and goes through a small stub which overwrites
 * the host's return address with the guest's. A return looks the guest address up in a flat table,
 * writes the host address over it and executes a real `ret`: the processor's return prediction
 * works, and a modified return address works as well. The flat table serves (-2 GiB, 2 GiB);
 * anything else makes the look-up fault, and the transfer is redone in the exact way, by C. A guest
 * with code elsewhere is run in an exact mode altogether.
 *
 * Who does what
 *	monitor: maps the areas below; maps guest pages at guest VA + S on demand; write-protects
 *		frames that were noted; owns signals. It must run signal handlers on an alternate
 *		stack (the guest's rsp is the guest's) and must not use FS or GS.
 *	translator: everything from xlate_enter() to its return.
 *
 * A run:	for (;;) {
 *			switch (xlate_enter(x)) {	// runs from *x's core_regs
 *			case XLATE_HYPERCALL: core_hypercall(c); break;
 *			...
 *		}
 * When xlate_enter() returns, core_regs hold the exact guest state.
 *
 * Faults and kicks. A signal handler that interrupts the cache calls xlate_recover(), which writes
 * the precise guest state to core_regs: every host instruction of every expansion has a rule that
 * either takes it back or completes it; there is no position at which it would have to wait. If the
 * cause can be removed without the guest noticing (a page of the window is mapped), the handler
 * simply returns and the host instruction is repeated: xlate_recover() is not needed. To leave, it
 * calls xlate_leave(), which edits the signal frame so that xlate_enter() returns XLATE_SIGNAL.
 *
 *	where = xlate_where(x, rip)
 *	XLATE_IN_CACHE		fault: recover, leave.	kick: recover, leave.
 *	XLATE_IN_ENTRY		fault: a bug.		kick: xlate_leave() (undoes the entry).
 *	XLATE_LEAVING		fault: a bug.		kick: return; the way out looks at the flag.
 *	XLATE_OUTSIDE		fault: the monitor's.	kick: return; likewise.
 * An instruction fetch fault at an address below 64 KiB is a table miss: XLATE_MISS, call
 * xlate_miss(x, regs) and return from the handler.
 *
 * Kernel accesses to user memory. Addresses in [2^47 - S, 2^47) are not in the window: such an
 * access faults as #GP (SI_KERNEL). On any SIGSEGV/SIGBUS in the cache the handler may ask
 * xlate_user_access(): true = it was one, and the instruction will be executed with its operand
 * redirected through the `user` callback from now on; leave with xlate_leave(), and call
 * xlate_enter() again. If the callback refuses, xlate_enter() returns XLATE_PAGE_FAULT. Its
 * answers are kept in a small TLB: see xlate_user_forget().
 *
 * Code that changes. note() is called before a frame's bytes are read: the monitor removes write
 * access to it for all vCPUs. On a write fault to a noted frame: xlate_invalidate_frame(), allow
 * the write, leave and enter again. Frames that do this too often (code and hot data in one page)
 * are no longer noted; their blocks compare their source bytes each time they are entered.
 */
#ifndef PVV_TRANSLATE_H
#define PVV_TRANSLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/state.h"
#include "exec/ring3/translate/layout.h"

struct xlate;

/* The fixed areas the monitor maps, anonymous and private, before xlate_init(). */
struct xlate_area {
	uint64_t addr, size;
	bool exec;	/* RWX instead of RW */
	bool noreserve; /* huge and sparse: MAP_NORESERVE */
};
#define XLATE_NR_AREAS 4
/* `cache_size`: 0 = default (128 MiB); a multiple of 1 MiB up to XLATE_CACHE_SIZE_MAX. */
void xlate_areas(struct xlate_area areas[XLATE_NR_AREAS], uint64_t cache_size);

struct xlate_code {	    /* what fetch() says about the page of a guest address */
	const uint8_t *ptr; /* the 4 KiB page's first byte, in the monitor's view of RAM */
	uint64_t mfn;
};

struct xlate_config {
	uint64_t cache_size; /* as given to xlate_areas() */
	struct core_regs *regs;
	/* Not zero: do not enter, come back soon (core_ctl.vcpu[i].kick). */
	const uint32_t *kick;
	void *priv;
	/*
	 * The page of code at `gva`, through the guest's current page tables: 0, or the #PF error
	 * code of an instruction fetch (bit 4 set).
	 */
	uint32_t (*fetch)(void *priv, uint64_t gva, struct xlate_code *ret);
	/* `mfn` starts to hold translated source: from now on writes to it must fault. */
	void (*note)(void *priv, uint64_t mfn);
	/*
	 * Redirected accesses of the guest kernel: a pointer to the byte at `va` in the monitor's
	 * view of RAM, valid up to the end of its page, through the guest's current page tables
	 * with the rights of the guest kernel; or the #PF error code (bit 1 set for writes; as 0
	 * means success, bit 2 is always set in it). It is also asked for kernel addresses (the
	 * other operand of movs). The bytes will be written to if `write`: what write protection is
	 * there for (noted frames) is the callback's business. May be NULL: nothing is redirected.
	 * Answers are remembered: see xlate_user_forget().
	 */
	uint32_t (*user)(void *priv, uint64_t va, bool write, uint8_t **ret);
	/* Give the memory of these pages back; they are zero from now on. May be NULL. */
	void (*zero)(void *priv, uint64_t addr, uint64_t len);
	/* Addresses in [user_from, 2^47) are redirected; 0 = those outside of the window. */
	uint64_t user_from;
};

/* Sets up everything in the areas; call it again to forget everything. NULL: bad config. */
struct xlate *xlate_init(const struct xlate_config *cfg);

enum xlate_exit {
	XLATE_KICKED = 1,  /* the kick flag was seen; regs are exact */
	XLATE_SIGNAL,	   /* a handler called xlate_leave() */
	XLATE_HYPERCALL,   /* syscall: rip behind it, rcx and r11 as the instruction sets them */
	XLATE_SENSITIVE,   /* rip at an instruction for core_emulate() */
	XLATE_SOFT_INT,	   /* int n, int3: rip behind it; xlate_exit_vector(), xlate_exit_len() */
	XLATE_NM,	   /* rip at an FPU instruction, and cr0.TS is set */
	XLATE_FPU,	   /* rip at an FPU instruction, and xlate_set_fpu_trap() is set */
	XLATE_UD,	   /* rip at an invalid opcode or ud2 (forced emulation prefix or not) */
	XLATE_GP,	   /* rip at an instruction that is longer than 15 bytes: #GP(0) */
	XLATE_FETCH_FAULT, /* #PF: rip at the instruction; xlate_exit_addr(), xlate_exit_error() */
	XLATE_PAGE_FAULT,  /* #PF of a redirected user access; likewise */
	XLATE_STEP,	   /* rflags.TF was set and one instruction was executed: #DB is due */
};

/* Run the guest from *regs until one of the above. */
enum xlate_exit xlate_enter(struct xlate *x);
/* The next xlate_enter() executes one instruction only, without rflags.TF: XLATE_STEP. */
void xlate_step_next(struct xlate *x);
unsigned int xlate_exit_vector(const struct xlate *x);
unsigned int xlate_exit_len(const struct xlate *x);
uint64_t xlate_exit_addr(const struct xlate *x);
uint32_t xlate_exit_error(const struct xlate *x);

/*
 * The guest's cr0.TS: while it is set, FPU instructions leave with XLATE_NM. Outside of the cache
 * only. Without cost for kernels that leave it alone.
 */
void xlate_set_ts(struct xlate *x, bool ts);

/*
 * A trap of the monitor's own, for lazy switching: while it is set, the FPU does not hold the state
 * that the guest's kernel would see, and FPU instructions (x87, MMX, SSE, AVX, also those that save
 * and restore state: fxsave, xsave, ldmxcsr, fninit, emms ...) leave with XLATE_FPU in front of the
 * instruction. The monitor brings the state, clears the trap and enters again. xsaves and xrstors
 * are XLATE_SENSITIVE as always. cr0.TS goes first: the guest's #NM.
 *
 * Outside of the cache only. To set and clear it is a store; before it is set for the first time,
 * FPU instructions cost nothing more, and from then on a load and a branch for each run of them.
 */
void xlate_set_fpu_trap(struct xlate *x, bool trap);
/* From now on `rdtscp` is executed in place (false, and at the start: it leaves), with this in ecx.
 */
void xlate_set_rdtscp(struct xlate *x, bool in_place, uint32_t aux);

/* For rflags.AC: is an access of the instruction at regs->rip not aligned? The first one that is
 * not. */
struct xlate_access {
	uint64_t va;
	unsigned int len;
	bool write;
};
bool xlate_misaligned(const struct xlate *x, struct xlate_access *ret);

/* ---- signal handlers ---------------------------------------------------------------------- */

/* The general registers of a signal frame: uc_mcontext.gregs of Linux, in its order. */
struct xlate_sigregs {
	uint64_t r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip,
		eflags;
};

enum xlate_where { XLATE_OUTSIDE, XLATE_IN_CACHE, XLATE_IN_ENTRY, XLATE_LEAVING, XLATE_MISS };
enum xlate_where xlate_where(const struct xlate *x, uint64_t host_rip);

/* What a fault in the cache means beyond its registers. */
struct xlate_recovered {
	bool fetch;	/* it is an instruction fetch of the guest at regs->rip (verified blocks) */
	bool completed; /* nothing to report to the guest: leave, and enter again */
	bool lookup;	/* the translator's own business (completed is set) */
};
/* XLATE_IN_CACHE only: write the precise guest state to core_regs. */
void xlate_recover(struct xlate *x, const struct xlate_sigregs *s, struct xlate_recovered *ret);
/*
 * IN_CACHE (after xlate_recover()) and IN_ENTRY: edit the frame so that returning from the handler
 * makes xlate_enter() return XLATE_SIGNAL (in the entry: XLATE_KICKED).
 */
void xlate_leave(struct xlate *x, struct xlate_sigregs *s);
/* Was this frame edited by xlate_leave()? */
bool xlate_left(const struct xlate_sigregs *s);
/* XLATE_MISS: edit the frame so that the lookup that failed is resolved. */
void xlate_miss(struct xlate *x, struct xlate_sigregs *s);
/*
 * After xlate_recover(): does the instruction at regs->rip access user memory, with an operand
 * outside of the window? Then it will be redirected from now on; leave and enter again.
 */
bool xlate_user_access(struct xlate *x);
/*
 * Likewise for an instruction that stored to a page which the window has read-only: from now on the
 * callback is asked first, which costs a tenth of a fault. Where the window could have the page
 * writable (`allowed`) only for what clears or copies whole pages, or faults time and again; else
 * for any single store. `taken`: the page became read-only by what the guest did to it, so there
 * will be more of the kind; else what rests (below) does so on. False: nothing changes.
 */
bool xlate_store_access(struct xlate *x, bool allowed, bool taken);
/*
 * From within the callback: the page that is to be stored to is not read-only in the window. What
 * clears or copies whole pages goes through the window again when that was so for long.
 */
void xlate_store_needless(struct xlate *x);
/* From within the callback: is it asked for a string instruction? Else a single store follows. */
bool xlate_at_string(const struct xlate *x);
/* Single stores of such instructions go through the window all the same (somebody watches it). */
void xlate_store_by_window(struct xlate *x, bool on);

/*
 * After xlate_recover(), for a fault that is none of those above: the vector that the guest gets
 * for `host_vector`. Addresses that are not canonical are #SS if they are meant for the stack,
 * whatever way they were accessed here.
 */
unsigned int xlate_guest_vector(const struct xlate *x, unsigned int host_vector);

/* ---- changes ------------------------------------------------------------------------------ */
/* Outside of the cache, or in a handler after xlate_recover() that then calls xlate_leave(). */

/* The content of a machine frame changes or changed. True if it held translated source. */
bool xlate_invalidate_frame(struct xlate *x, uint64_t mfn);
/* Is this frame to be write-protected? (Noted, and not in the verifying mode.) */
bool xlate_frame_noted(const struct xlate *x, uint64_t mfn);
/* Guest addresses [va, va + len) may be mapped differently now. Cheap if no code was there. */
void xlate_invalidate_va_range(struct xlate *x, uint64_t va, uint64_t len);
/* Any mapping may have changed: ask fetch() for each page of code and drop those that moved. */
void xlate_revalidate(struct xlate *x);
void xlate_invalidate_all(struct xlate *x);

/*
 * What the `user` callback answered is remembered, as a TLB does, until one of these: everything,
 * one page, or everything that was asked for writing (a frame must not be written any more; the
 * translator does so by itself when it has called note()). To be called wherever the window forgets
 * mappings, and for the same reasons. Anywhere but in a handler that does not leave the cache.
 */
void xlate_user_forget(struct xlate *x);
void xlate_user_forget_va(struct xlate *x, uint64_t va);
void xlate_user_forget_writes(struct xlate *x);
/* Counts these calls: who keeps answers of its own drops them when it is another number. */
uint64_t xlate_user_forgets(const struct xlate *x);
/*
 * Instead of xlate_user_forget() when the guest goes from one root to another, where all that makes
 * an answer of `user` wrong is one of these calls or makes `changes` another number.
 */
void xlate_user_switch(struct xlate *x, uint64_t from, uint64_t to, uint64_t changes);

/*
 * The look-up table takes four times the memory of the guest code that was run. This gives it back;
 * what is needed again is made from the recovery notes, a page at a time (some microseconds each).
 * For a guest that sleeps; outside of the cache only. Worth it: there is some.
 */
bool xlate_worth_trimming(const struct xlate *x);
void xlate_trim(struct xlate *x);

struct xlate_stats {
	uint64_t fragments, guest_insns, guest_bytes, host_bytes;
	uint64_t edges_resolved, misses, invalidated_frames, invalidated_fragments, flushes;
	uint64_t exact_mode, verify_frames, user_sites, user_accesses, trims;
};
void xlate_get_stats(const struct xlate *x, struct xlate_stats *ret);

#endif
