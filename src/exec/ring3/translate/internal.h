/* SPDX-License-Identifier: MIT */
/*
 * The translator's own state. Everything lies in the fixed areas of layout.h; nothing is allocated.
 *
 * Words:
 *	fragment	a piece of emitted code, the translation of a contiguous run of guest
 *			instructions within one page (the last one may cross into the next)
 *	hot region	fragment bodies and call stubs, allocated upwards
 *	cold region	exit stubs, allocated downwards from the end of the cache
 *	edge		a direct branch from one fragment to a guest address; linked once that
 *			address is translated, else it goes to an exit stub
 *	note		how to recover the guest state at a host instruction, see recover.c
 *
 * Every guest instruction boundary in a fragment is a valid entry point: registers map one to one
 * and nothing is carried from one instruction to the next. The exceptions are verifying fragments,
 * which are entered at their start only, and the FPU instructions of a run behind its gate
 * (op_fpu.c): neither is in the lookup tables.
 *
 * Memory is never reused piecemeal: dead fragments stay where they are until the cache is full,
 * then everything is forgotten at once. So an address in the cache never changes its meaning while
 * the guest runs.
 */
#ifndef PVV_TRANSLATE_INTERNAL_H
#define PVV_TRANSLATE_INTERNAL_H

#include "exec/ring3/translate/insn.h"
#include "exec/ring3/translate/translate.h"

#define XLATE_HIDDEN __attribute__((visibility("hidden")))

#define PAGE_MASK_(a) ((a) & ~0xfffull)

/* The vCPU page, at XLATE_VCPU. */
struct xlate_vcpu {
	uint64_t sp0, sp1, slot, target, retimm, sp2, exit_rip, exit_info;
	uint64_t resume;
	struct core_regs *regs;
	uint64_t host_rsp, exit_vec, miss_vec;
	uint64_t fs_base, redirect, hw_fs, host_fs, host_gs;
	const uint32_t *kick;
	uint64_t scratch, shift, unused, after, fs_shift, fs_unshift, host_tf;
	uint64_t sel[2], flags, fpu_trap, tsc_aux;
	uint64_t str_flags, str_dst, str_src, str_end_di, str_end_si, str_end_cx, str_try[2];
};
#define XV ((struct xlate_vcpu *)XLATE_VCPU)

/* exit_info: code in bits 0-7; edge number or vector << 8 | length << 16 above. */
enum exit_code {
	XC_ABORT,  /* the kick flag was seen on entry */
	XC_SIGNAL, /* xlate_leave() */
	XC_EDGE,   /* number in bits 8-31 */
	XC_MISS,   /* an indirect transfer that the flat table does not know */
	XC_SLOT,   /* an indirect transfer to the guest address in slot */
	XC_SYSCALL,
	XC_SENS,
	XC_INT,
	XC_UD,
	XC_GP,	   /* longer than 15 bytes */
	XC_NM,	   /* an FPU instruction while cr0.TS is set */
	XC_FPU,	   /* an FPU instruction while the monitor's trap is set */
	XC_VERIFY, /* number of the fragment whose source changed */
	XC_USER,   /* number of the user site */
	XC_ICALL,  /* number of the edge of an indirect call that calls something else */
	XC_DONE, /* a redirected instruction was executed; rip in core_regs is not yet behind it */
};

#define FRAG_DEAD    1u
#define FRAG_VERIFY  2u
#define FRAG_STEP    4u	 /* a single instruction, for this once: not in the lookup tables */
#define FRAG_SNIPPET 8u	 /* a redirected instruction, see user.c */
#define FRAG_FPU     16u /* contains FPU instructions: translated for the cr0.TS of now */
#define FRAG_CALLED  32u /* begins with an entry for calls, see op_call() */
#define CALL_ENTRY   5u	 /* its length */

struct frag {
	uint64_t gva;
	uint32_t host, body_end, end; /* body; call stubs up to end */
	uint32_t notes, notes_end;    /* offsets into the note area */
	uint32_t in;		      /* edges linked to this fragment, a list */
	/* The guest page and machine frame it starts in, and those its last instruction runs into:
	 * indexes of struct page_rec, 0 = none; and the next fragment in each one's list. */
	uint32_t page[2], frame[2];
	uint32_t next_page[2], next_frame[2];
	uint16_t glen;
	uint16_t flags;
};

struct edge {
	uint64_t target; /* guest */
	uint32_t site;	 /* address of the rel32 */
	uint32_t stub;	 /* its exit stub, 0 = not made yet */
	uint32_t next;	 /* in the target fragment's list, if linked */
	bool linked;
	bool call;	/* goes to the target's entry for calls */
	uint8_t misses; /* of an indirect call, see op_icall.c */
};

/* A guest page or a machine frame with code. */
struct page_rec {
	uint64_t key;  /* page number, | PAGE_REC_FRAME for machine frames */
	uint64_t mfn;  /* guest page: the frame it was mapped to */
	uint32_t head; /* fragments */
	uint32_t nr_invalidated;
	uint64_t last_tsc;
	uint32_t verify;       /* frame: blocks check their source; it is not write-protected */
	uint32_t noted;	       /* frame: the monitor was told */
	uint32_t verify_times; /* how often it was in that mode: it lasts twice as long each time */
};
#define PAGE_REC_FRAME (1ull << 62)

struct far_entry { /* lookup of addresses outside of the windows */
	uint64_t gva;
	uint64_t host; /* 0 = free, 1 = deleted */
};

struct tlb_entry { /* user_tlb.c */
	uint64_t tag, delta;
	uint8_t slot;
	bool write;
};
#define TLB_SAVED 96u
#define TLB_ROOTS 4u
struct tlb_saved { /* what was learned of a root that is not loaded */
	uint64_t root, forgets, changes;
	uint32_t nr;
	struct tlb_entry entry[TLB_SAVED];
};

struct user_site {
	uint64_t gva;
	uint32_t snippet;  /* host address of the redirected instruction, 0 = not made */
	uint16_t flags;	   /* SITE_* */
	uint16_t small;	   /* how often a string was too short to be worth it */
	uint16_t needless; /* pages that were not read-only, less those that were: count_needless()
			    */
	struct insn insn;
};
/* Stores to pages that the window has read-only (page tables): ask before, do not fault. */
#define SITE_STORE   1u
/* How often an instruction has to fault before it becomes one, if pages it meets can be written. */
#define STORE_FAULTS 8u
/* Such a site that mostly does something else: execute it as any other instruction. */
#define SITE_PLAIN   2u
/* Plain, until it meets a page again that is read-only. */
#define SITE_RESTS   4u

#ifdef XLATE_NO_TABLE
#define MAX_FRAGS  (1u << 18)
#define MAX_EDGES  (1u << 20)
#define NOTES_SIZE (64u << 20)
#else
#define MAX_FRAGS  (1u << 20)
#define MAX_EDGES  (1u << 22)
#define NOTES_SIZE (256u << 20)
#endif
#define MAX_PAGES      (1u << 16) /* the hash has twice as many slots */
#define MAX_FAR	       (1u << 20) /* a power of two; hash */
#define MAX_USER_SITES (1u << 12)
#define MAX_TOUCHED    (1u << 17)
#define TOUCHED_SPARE  8u	  /* for one fragment */
#define TRIM_MIN       128u	  /* pages of the flat table: half a MiB */
#define FILTER_FRAMES  (1u << 24) /* powers of two; beyond them, bits are shared */
#define FILTER_PAGES   (1u << 20)

#define XLATE_MAGIC 0x6574616c736e6172ull

struct xlate {
	uint64_t magic; /* the areas were in use before */
	struct xlate_config cfg;
	uint32_t hot_start, hot, cold, cache_end;
	uint32_t nr_frags, nr_edges, nr_pages, nr_far, nr_user, nr_touched;
	uint32_t notes_used;
	uint32_t win_quiet, exact;
	uint32_t redo; /* the instruction at redo_rip is to be executed in the exact way */
	uint64_t redo_rip;
	uint32_t nr_verify;  /* frames in verifying mode */
	uint32_t nr_entered; /* for what is done every now and then */
	uint32_t generation; /* of the cache's content; bumped when all is forgotten */
	enum xlate_exit exit;
	uint32_t exit_vector, exit_len, exit_error;
	uint64_t exit_addr;
	uint32_t cur_frag; /* of the last xlate_recover(), 0 = none */
	uint32_t stepping, step_next;
	uint32_t ts;	   /* cr0.TS */
	uint32_t rdtscp;   /* is executed in place */
	uint32_t fpu_lazy; /* FPU instructions have gates, see op_fpu.c */
	uint32_t nr_fpu_frags;
	uint64_t gs_base;  /* the one the hardware FS base was made from */
	uint32_t fs_stale; /* the hardware FS base may be the guest's FS base + shift */
	/* A guess, see em_scratch(): registers that the guest function in work has written. */
	uint32_t written;
	uint64_t written_near;
	struct xlate_stats st;

	struct frag *frags;
	struct edge *edges;
	uint8_t *notes;
	struct page_rec *pages; /* 1..nr_pages */
	uint32_t *page_hash;	/* -> index of pages */
	uint64_t *filter;	/* bits: is there a record for it at all? */
	struct far_entry *far;
	struct user_site *user; /* 1..nr_user */
	uint32_t *touched;	/* pages of the flat table that were filled */
	uint32_t trimmed;	/* others may have had entries, see xlate_trim() */
	uint64_t *touched_map;	/* a bit for each page of the flat table */
	struct em *em;		/* scratch of xlate_translate() */

	uint64_t user_bloom[(1u << 15) / 64];
	uint64_t icall_many[(1u << 15) / 64];
	/* Instructions that stored to pages which are read-only without need. */
	struct {
		uint64_t gva;
		uint32_t faults, last; /* by store_faults */
	} stored[64];
	uint32_t store_faults;
	uint32_t xsave_end[64]; /* of each component in a standard image, 0 = the host has it not */
	uint64_t xsave_has;	/* a bit for each that it has, from 2 on */
	uint32_t bmi2;		/* the processor has rorx and shrx */
	uint32_t by_window;	/* xlate_store_by_window() */
	bool needless;		/* xlate_store_needless() */
	bool at_string;		/* many elements are about to be carried out at once */
	uint64_t tlb_used[2][4]; /* user_tlb.c: entries for reads, for writes, a bit each */
	uint64_t tlb_forgets;	 /* counts what had to be forgotten: none of it is saved */
	uint64_t tlb_changes;	 /* as xlate_user_switch() was told */
	struct tlb_saved *tlb_saved;
	uint32_t tlb_victim;
	uint32_t bounce_len; /* to write back when a redirected instruction is done */
	uint64_t bounce_va;
	uint32_t done_len;   /* guest length of the redirected instruction under way */
	uint32_t saved_site; /* if it saves the x87 environment: its site, and where it saved to */
	uint64_t saved_va;
};

/* ---- asm (entry.S) ---- */
extern uint32_t xlate_asm_run(void);
extern char xlate_asm_entry_begin[], xlate_asm_entry_end[];
extern char xlate_asm_exit[], xlate_asm_miss[], xlate_asm_exit_end[];
extern char xlate_asm_abort[], xlate_asm_signal[];

/* ---- lookup.c ---- */
#define TRAMP_EXIT (XLATE_CACHE + 0)
#define TRAMP_MISS (XLATE_CACHE + 16)
#define TRAMP_DONE (XLATE_CACHE + 32)
#define TRAMP_SLOT (XLATE_CACHE + 48)
#define HOT_FIRST  (XLATE_CACHE + 64)

/*
 * The flat table serves (-2 GiB, 2 GiB), indexed by address + 2 GiB - 1: emitted code computes that
 * in 64 bits by one lea. Any address below -2 GiB makes it read in the upper half of the host's
 * address space, and those of 32 TiB and more (user memory, poison) at addresses that are not
 * canonical: the access faults, see recover.c. Only [2 GiB, 32 TiB) leads to where the monitor or
 * the guest may have memory: a guest with code there is in the exact mode, and one that jumps there
 * without having any hurts itself.
 */
static inline bool in_window(uint64_t gva)
{
#ifdef XLATE_NO_TABLE
	return false;
#else
	return gva + 0x7fffffff <= 0xfffffffe;
#endif
}
#define FLAT_INDEX(gva) ((uint32_t)(gva) + 0x7fffffffu)
#define FLAT(gva)	(((uint32_t *)XLATE_TABLE)[FLAT_INDEX(gva)])
uint32_t xlate_lookup(struct xlate *x, uint64_t gva) XLATE_HIDDEN; /* 0 = not translated */
void xlate_map(struct xlate *x, uint64_t gva, uint32_t host) XLATE_HIDDEN;
void xlate_unmap(struct xlate *x, uint64_t gva, uint32_t host) XLATE_HIDDEN;
void xlate_forget_lookups(struct xlate *x) XLATE_HIDDEN;
/* The fragment that contains this host address of the hot region, 0 = none. */
uint32_t xlate_frag_of(const struct xlate *x, uint32_t host) XLATE_HIDDEN;
struct page_rec *xlate_page(struct xlate *x, uint64_t key, bool make) XLATE_HIDDEN;
/* Where its first instruction is. */
static inline uint32_t frag_body(const struct frag *f)
{
	return f->host + (f->flags & FRAG_CALLED ? CALL_ENTRY : 0);
}
/* As xlate_lookup(), but only if there is an entry for calls in front of it. */
uint32_t xlate_lookup_call(struct xlate *x, uint64_t gva) XLATE_HIDDEN;

/* ---- block.c ---- */
/*
 * Translate at gva, with an entry for calls if `called`. Returns the host address (of the body), or
 * 0 with *err = #PF error and *addr = its cr2. May forget everything first (x->generation changes).
 */
uint32_t xlate_translate(struct xlate *x, uint64_t gva, bool called, uint32_t *err,
			 uint64_t *addr) XLATE_HIDDEN;

/* Is there room for one more fragment of any size? */
bool xlate_have_room(const struct xlate *x) XLATE_HIDDEN;
struct em;
void xlate_begin_frag(struct xlate *x, struct em *e, uint64_t gva) XLATE_HIDDEN;
void xlate_end_frag(struct xlate *x, struct em *e) XLATE_HIDDEN;

/* ---- link.c ---- */
void xlate_link(struct xlate *x, uint32_t edge, uint32_t host, uint32_t frag) XLATE_HIDDEN;
void xlate_unlink_all(struct xlate *x, struct frag *f) XLATE_HIDDEN;
uint32_t xlate_edge_stub(struct xlate *x, uint32_t edge) XLATE_HIDDEN;

/* ---- recover.c ---- */
struct note_iter {
	const uint8_t *p, *end;
	uint64_t gva;
	uint32_t host;
	/* the current instruction */
	unsigned int glen, hlen, nsteps;
	const uint8_t *steps; /* nsteps times: host length, 3 bytes of action */
};
void xlate_notes_start(const struct xlate *x, const struct frag *f,
		       struct note_iter *it) XLATE_HIDDEN;
bool xlate_notes_next(struct note_iter *it) XLATE_HIDDEN; /* false: at the end */
void xlate_notes_advance(struct note_iter *it) XLATE_HIDDEN;

/* ---- invalidate.c ---- */
/* Cycles after which a verifying frame gets another chance: 0.1 s, doubled each time. */
#define VERIFY_CYCLES (1ull << 27)
void xlate_expire_verify(struct xlate *x) XLATE_HIDDEN;
#define WIN_QUIET  20000 /* fragments */
#define THRASH_MAX 6	 /* invalidations in quick succession before a frame is verified instead */
void xlate_kill(struct xlate *x, uint32_t frag) XLATE_HIDDEN;
void xlate_flush(struct xlate *x) XLATE_HIDDEN;
/* All fragments with FPU instructions. */
void xlate_kill_fpu(struct xlate *x) XLATE_HIDDEN;

/* ---- op_icall.c ---- */
/* The indirect call with this edge calls another function: regs->rip is at the call again. */
void xlate_icall_miss(struct xlate *x, uint32_t edge) XLATE_HIDDEN;

/* ---- user.c ---- */
/* Is this instruction to be served by xlate_user_serve()? 0 = no. */
uint32_t xlate_user_site(struct xlate *x, uint64_t gva, const struct insn *i) XLATE_HIDDEN;
enum xlate_exit xlate_user_serve(struct xlate *x, uint32_t site, uint32_t *host) XLATE_HIDDEN;
enum xlate_exit xlate_user_done(struct xlate *x) XLATE_HIDDEN;

/* ---- op_fpu.c ---- */
/* An instruction that saves the x87 environment has written to va: guest addresses instead. */
void xlate_fix_saved(struct xlate *x, const struct insn *i, uint64_t va) XLATE_HIDDEN;

/* ---- user_tlb.c ---- */
void xlate_tlb_init(struct xlate *x) XLATE_HIDDEN;
void xlate_tlb_enter(struct xlate *x, uint64_t va, bool write, uint64_t delta) XLATE_HIDDEN;
/* As the monitor's callback `user`, which is asked only for what the TLB does not know. */
uint32_t xlate_user_ptr(struct xlate *x, uint64_t va, bool write, uint8_t **ret) XLATE_HIDDEN;

#endif
