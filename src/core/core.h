/* SPDX-License-Identifier: MIT */
/*
 * The core: the hypervisor proper, seen from an executor. Freestanding C: no libc, no OS, no
 * floating point, no globals that are written. It is compiled three times from the same sources:
 * into the image that runs in the sandbox, into the unit tests, and (frame counts and the start-up
 * code only) into the library.
 *
 * All state is plain data in one region of the domain's memfd (struct core_domain, struct
 * core_vcpu, the frame table): no pointers, versioned, so that it can be inspected, saved and
 * restored under another executor. Pointers live in struct core_ctx only, one for each vCPU and
 * attached address space.
 *
 * How an executor uses it:
 *
 *	for (;;) {
 *		switch (core_next(c)) {          // deliver events, decide what the vCPU does
 *		case CORE_RUN:   enter the guest with c->v->regs; it comes back with an exit:
 *				 syscall in guest-kernel mode -> core_hypercall(c)
 *				 exception     -> core_exception(c, vector, error, cr2)
 *				 sensitive instruction        -> core_emulate(c)
 *				 kick, or v->wake_ns is over  -> nothing, loop
 *		case CORE_BLOCK: sleep until ctl->vcpu[i].kick or v->wake_ns, loop
 *		case CORE_PAUSE: sleep until the library resumes or destroys, loop
 *		case CORE_STOP:  the domain is shut down or crashed: leave
 *		}
 *	}
 */
#ifndef PVV_CORE_CORE_H
#define PVV_CORE_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <xen/xen.h>

#include "core/ctl.h"
#include "core/state.h"

struct core_ctx;

/*
 * What the core asks of an executor. Called with the vCPU out of the guest. Mandatory but
 * for those that say otherwise.
 * An executor keeps real mappings as a cache of the guest's page tables ("TLB"); as on hardware,
 * a guest that changes a present PTE sees the old mapping until it flushes.
 */
struct core_exec_ops {
	/* Forget every cached mapping on the vCPUs of `vcpu_mask` (bit = vCPU id). */
	void (*flush_all)(struct core_ctx *c, uint64_t vcpu_mask);
	/* Forget the cached mapping of the page at guest virtual address `va`. */
	void (*flush_va)(struct core_ctx *c, uint64_t vcpu_mask, uint64_t va);
	/*
	 * `mfn` leaves the type "writable" (it becomes a page table, a descriptor page or is given
	 * back). On return no vCPU can write to it through a stale mapping.
	 */
	void (*frame_protect)(struct core_ctx *c, uint64_t mfn);
	/*
	 * The content of `mfn` was changed by the core itself on behalf of the guest (emulated
	 * page-table write, grant copy, populate ...): anything derived from it (translated code)
	 * is stale.
	 */
	void (*frame_dirtied)(struct core_ctx *c, uint64_t mfn);
	/*
	 * The entry that every L4 gets in `slot`, one of the hypervisor's (256 to 271), where the
	 * executor's own mappings are. 0: none. May be NULL: entries that lead nowhere.
	 */
	uint64_t (*root_slot)(struct core_ctx *c, unsigned int slot);
	/* This vCPU's kernel or user page-table root changed (v->kernel_root, v->user_root). */
	void (*root_changed)(struct core_ctx *c);
	/* The host may reclaim the memory of these frames; they read as zero afterwards. */
	void (*frames_discard)(struct core_ctx *c, uint64_t mfn, uint64_t nr);
	/* ctl->outbound has news and ctl->doorbell was clear: wake the library's I/O thread. */
	void (*doorbell)(struct core_ctx *c);
	/* Make vCPU `id` call core_next() soon (it is running or blocked). */
	void (*kick_vcpu)(struct core_ctx *c, unsigned int id);
	/*
	 * Start running vCPU `id`, which the guest has initialised: false if this executor cannot.
	 * May be NULL: it runs vCPU 0 only.
	 */
	bool (*start_vcpu)(struct core_ctx *c, unsigned int id);
	/*
	 * More than one vCPU: sleep while *word is `value` (a lock; may return early), wake one
	 * that sleeps so, let others run. May be NULL: waiting is spinning then.
	 */
	void (*wait)(struct core_ctx *c, uint32_t *word, uint32_t value);
	void (*wake)(struct core_ctx *c, uint32_t *word);
	void (*yield)(struct core_ctx *c);
	/*
	 * Entry `slot` of the page table `mfn` of `level` was present and is another now. For
	 * executors that follow the guest's tables exactly instead of forgetting everything at each
	 * flush: what they cached through the entry, beyond what it still allows, must be gone
	 * after the next flush. May be NULL.
	 */
	void (*pte_changed)(struct core_ctx *c, uint64_t mfn, unsigned int level, unsigned int slot,
			    uint64_t old, uint64_t new);
	/* `mfn` is no page table any more. On return no vCPU walks it. May be NULL. */
	void (*table_gone)(struct core_ctx *c, uint64_t mfn, unsigned int level);
	/* The time-stamp counter. A function, so that tests own the time. */
	uint64_t (*rdtsc)(struct core_ctx *c);
	/* Guest debug registers or cr0.TS changed, for executors that mirror them. */
	void (*cpu_changed)(struct core_ctx *c);
};

#define CORE_WALK_ROOTS 4u
/* One vCPU as seen by one executor thread. Never stored in the domain's memory. */
struct core_ctx {
	struct core_domain *d;	   /* in the state region */
	struct core_vcpu *v;	   /* this vCPU, in the state region */
	struct core_frame *frames; /* frame table, d->nr_frames entries */
	struct core_ctl *ctl;	   /* control pages shared with the library */
	uint8_t *ram;		   /* machine frame n lies at ram + (n << 12) */
	const struct core_exec_ops *ops;
	void *priv;		 /* the executor's own */
	uint64_t kick_due;	 /* vCPUs to kick when event_lock is given back */
	bool kick_later;	 /* event_lock is held */
	bool kicked_at_wake;	 /* when v->wake_ns is over, the executor kicks, or sets it to 0 */
	bool mm_flush_due;	 /* mm/: an upper-level entry went, flush before the guest runs */
	struct core_walk_cache { /* last translations of core_guest_*, see mm/access.c */
		uint64_t va[16], mfn_flags[16];
		uint64_t root, gen, loads, tables; /* of all entries */
	} walk[CORE_WALK_ROOTS];
	unsigned int walk_now, walk_victim;
	struct core_hypercall_state { /* of the hypercall being served, see hypercall/ */
		bool in_multicall;
		bool preempted;	  /* core_hypercall_continue() was called */
		uint64_t args[6]; /* the arguments it left */
	} hc;
};

enum core_action { CORE_RUN, CORE_BLOCK, CORE_PAUSE, CORE_STOP };

/*
 * Build the state of a new domain from ctl->boot: frame table, M2P, types and pins of the initial
 * page tables (validated as if the guest had pinned them), event channels, vCPU 0. Called once, by
 * the first vCPU's thread inside the sandbox. False: the layout is not valid; the reason is
 * recorded as by core_crash().
 */
bool core_domain_init(struct core_ctx *c);
/* Attach to vCPU `id` of an initialised domain: fills c->v. */
void core_attach(struct core_ctx *c, unsigned int id);

/*
 * Before each entry to the guest and after each sleep. v->wake_ns says when to come back at the
 * latest, also after CORE_RUN (a timer is due then): system time (core_time_now()), ~0 = never.
 */
enum core_action core_next(struct core_ctx *c);

/* A `syscall` in guest-kernel mode: v->regs as the instruction left them (rip behind it). */
void core_hypercall(struct core_ctx *c);

/*
 * The guest took an exception at v->regs (rip at the instruction for faults, behind it for traps).
 * Handles what belongs to the hypervisor (writes to read-only page tables, forced emulation,
 * privileged instructions on #GP/#UD, lazy FPU), else bounces it to the guest's handler or crashes
 * the domain if there is none. `error` is ignored for vectors without an error code.
 */
void core_exception(struct core_ctx *c, unsigned int vector, uint32_t error, uint64_t cr2);

/*
 * Software interrupt `int n` / int3 / into from guest mode; v->regs.rip is behind the instruction
 * (`len` bytes). Honours the DPL the guest registered.
 */
void core_soft_interrupt(struct core_ctx *c, unsigned int vector, unsigned int len);

/*
 * Emulate the privileged or sensitive instruction at v->regs.rip: decodes it from guest memory.
 * Also those that hardware would execute differently without trapping (pushf, popf, mov from
 * segment registers, sgdt/sidt/str/sldt/smsw, lar/lsl/verr/verw, far transfers): the ring3
 * translator exits here for all that it does not rewrite itself. Bounces #GP/#UD for those the
 * guest may not execute.
 */
void core_emulate(struct core_ctx *c);

/* `syscall` from guest user mode: bounce to the registered syscall callback. */
void core_user_syscall(struct core_ctx *c);
/* `sysenter` from guest user mode; where it was executed is not known. */
void core_user_sysenter(struct core_ctx *c);

/* ---- for the rooms inside core ---------------------------------------------------------- */

/*
 * The guest did something that ends it. One function for all of core: records "crashed" with a
 * reason that names the operation and its operands, and stops every vCPU. Returns to the caller,
 * which must unwind without touching guest state further. Format: %s %d %u %x %lx %lu %llx %p, see
 * lib/fmt.c.
 */
void core_crash(struct core_ctx *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/*
 * mm/: build the frame table and the M2P from ctl->boot, check and pin the initial page tables and
 * load vCPU 0's kernel_root. False: core_crash() has recorded why not.
 */
bool core_mm_init(struct core_ctx *c);

/* True when the vCPU should go back to core_next() soon: long hypercalls continue later then. */
static inline bool core_preempt_pending(const struct core_ctx *c)
{
	return __atomic_load_n(&c->ctl->vcpu[c->v->id].kick, __ATOMIC_RELAXED) != 0;
}

/* Machine frame -> pointer; the caller has checked mfn < d->nr_frames. */
static inline void *core_frame_ptr(const struct core_ctx *c, uint64_t mfn)
{
	return c->ram + (mfn << 12);
}

/*
 * Guest virtual memory, through the current page tables (the kernel root in kernel mode), with the
 * permissions a guest access has. All or nothing is not promised: they stop at the first bad page.
 * Return the number of bytes NOT copied (0 = success), as Xen's copy_from_guest.
 */
size_t core_guest_read(struct core_ctx *c, void *dst, uint64_t va, size_t len);
size_t core_guest_write(struct core_ctx *c, uint64_t va, const void *src, size_t len);
/*
 * Walk the guest's page tables. Returns true and the leaf's frame and the AND of the rights
 * (_PAGE_* bits: PRESENT, RW, USER; NX is the OR) or false and a #PF error code.
 */
bool core_walk(struct core_ctx *c, uint64_t root_mfn, uint64_t va, uint64_t *ret_mfn,
	       uint64_t *ret_flags);

#endif
