/* SPDX-License-Identifier: MIT */
/* Guest user mode, for the other files of the monitor: see exec/ring3/user.h for the whole. */
#ifndef PVV_MONITOR_USER_H
#define PVV_MONITOR_USER_H

#include <stdbool.h>
#include <stdint.h>

#include "exec/ring3/layout.h"
#include "exec/ring3/monitor/tlb.h"
#include "exec/ring3/user.h"

/* ---- nursery.c ---- */
/* Make N; the very first thing K does. */
void nursery_start(const struct k_params *p);
/* From now on CPUID faults in this task and those it makes, where that is cheap. */
void nursery_hide_cpuid(void);

/* ---- user.c: running ---- */
/* The host's signal frame, as far as it matters; a copy, for G can write to the original. */
struct u_frame {
	uint64_t r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip,
		eflags;
	uint16_t cs, gs, fs, ss;
	uint64_t err, trapno, oldmask, cr2, fpstate;
};
_Static_assert(__builtin_offsetof(struct u_frame, fpstate) + UC_REGS == UC_FPSTATE, "ucontext");

void user_init(const struct k_params *p);
/* Run user mode until something has to be done; v->regs are exact then. */
void user_run(void);

/* ---- user_debug.c: hardware breakpoints and watchpoints of programs ---- */
struct u_debug {
	uint64_t addr[4];
	uint32_t dr7;	    /* 0 = none */
	bool own_tf;	    /* the guest itself has set the trap flag */
	uint64_t resumed;   /* here the guest goes on without looking at breakpoints */
	bool stepping;	    /* one instruction is executed with all pages as they should be */
	uint64_t thread;    /* whose: its fs base */
	uint64_t touched;   /* the address that it faulted at, ~0 = for its own code */
	bool written;	    /* by a store */
	uint64_t before[4]; /* what was there */
};
/* ---- user_ahead.c: what a program is expected to touch next ---- */
struct u_ahead {
	uint64_t va, end, at; /* from va to end (0: there is none) nothing but a mapping of `at` */
	uint64_t next_va, next_at; /* behind the page that was mapped last */
	uint32_t row;		   /* pages in a row that were in a row */
	bool active;
};
/* ---- user_keep.c: mappings that are wanted again and again ---- */
#define U_KEEP	   8u
#define U_KEEP_MAX 0x10000u /* bytes */
struct u_keep {
	uint64_t va, len, at; /* len 0: there is none */
	uint32_t times;	      /* mapped just so, in a row */
	bool kept;	      /* the mapping is there and registered, with or without its pages */
};
/* ---- user_slot.c: the processes ---- */
struct u_slot {
	uint64_t root;	    /* mfn, CORE_INVALID_MFN = none */
	uint64_t used;	    /* by user_clock, for the choice of a victim */
	uint64_t maps;	    /* mappings made since all were dropped */
	uint64_t life;	    /* counts how often all were dropped */
	bool loose;	    /* it had the turn since it was one root's, or none's */
	bool own;	    /* what G does is this program's doing: it has run, and come back */
	uint32_t gone_seen; /* as of the nursery's count of ended tasks its G was there */
	bool born, lost;    /* the latter: the host would not make it again */
	uint32_t unchecked; /* seq of an order that nobody waited for, 0 = none */
	uint32_t failures;  /* in a row */
	bool order_failed;  /* a call of that order */
	uint32_t quick;	    /* short turns in a row */
	int32_t called;	    /* number of the system call it came with, -1 = something else */
	uint8_t leaves[64]; /* by the last bits of that: another one had the next turn, so often */
	uint64_t leaving;   /* a bit for each: often enough */
	bool nt;	    /* G came in with the NT flag set */
	bool bases;	    /* the next two are known: what G has */
	uint64_t fs_base, gs_base;
	bool no_remote; /* K has no descriptor of it: user_remote.c */
	struct tlb_queue gone;
	bool fpu_live;	    /* G still has the vector registers that it came with, as home says */
	bool plain;	    /* no sites: it executes single steps */
	uint16_t site_page; /* first of its copies with sites + 1: user_site.c */
	bool fresh;	    /* its program has not run yet */
	uint64_t begun_at;  /* where it began, 0 = not yet */
	struct u_debug debug;
	struct u_ahead ahead;
	struct u_keep keep[U_KEEP];
	uint32_t keep_next;
	struct u_order *order; /* K's view of its block */
	struct u_state *state;
	uint8_t *block;
};
/* The process for the current user root. */
struct u_slot *user_slot(void);
/* K executes the program itself, whether it has a process or not: other vCPUs ask where. */
void user_slot_brief(void);
struct u_slot *user_slot_number(unsigned int i);
unsigned int user_number_of(const struct u_slot *s);
void user_forget(unsigned int slot, uint64_t va, uint64_t len);
void user_forget_page(const struct u_slot *s, uint64_t va);
void user_forget_all(void);
/* Its G has ended: another one, with nothing mapped, that waits for its first turn. True: that was
 * the program's own fault. */
bool user_again(struct u_slot *s);
/* This root is none any more; it was last seen in the slot. */
void user_root_gone(unsigned int slot, uint64_t root);
/* The same for all that have ended, of which this vCPU could not be told one by one. */
void user_roots_ended(void);
void user_drain(void);
void user_drain_slot(struct u_slot *s);

/* Lists of system calls for M. */
void order_add(struct u_slot *s, uint64_t nr, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3,
	       uint64_t a4, uint64_t a5);
/* Execute what was added; false: one failed. */
bool order_run(struct u_slot *s);
/* Likewise, and then let G run; nobody waits for it. */
void order_run_then_go(struct u_slot *s);
/* What was added is done now, whatever it was. */
void order_catch_up(struct u_slot *s);
/* G came back (or is about to run): did all of that succeed? If not, G starts again with nothing
 * mapped. */
void order_check(struct u_slot *s);

/* ---- user_turn.c ---- */
/* Will the next turn of G be short, and nobody else come between? Asked once before each. */
bool turn_by_yield(struct u_slot *s);
/* Does nobody else want this processor, as far as is known? */
bool turn_alone(void);
/* G runs (after M's orders, if there are any) until it gives the turn back, or is kicked. False: it
 * has ended. */
bool turn_give(struct u_slot *s, bool yield);
/* Everybody else sleeps now: what was learned of late ones says nothing about that. */
void turn_afresh(void);
/* For the kick's handler: if K waits for a guest thread, end that wait. */
void user_kicked(void);

/* ---- user_quiet.c, with several vCPUs: who has been seen asleep ---- */
void quiet_gives_turn(struct u_slot *s);
/* Has each G of this vCPU been seen asleep? now: those that are awake lose what they have mapped.
 */
bool quiet_look(bool now);
/* K is about to wait for another vCPU, for a while; about to sleep until it is kicked, or `ns`. */
bool quiet_look_waiting(void);
void quiet_before_sleep(uint64_t ns);

/* ---- user_map.c ---- */
/*
 * The process needs the page at va (`access`: PF_* bits). True: mapped, go on. False: *ret_error is
 * the guest's page fault.
 */
bool user_map(struct u_slot *s, uint64_t va, uint32_t access, uint32_t *ret_error);
/* May the process have the page of this L1 entry mapped? */
bool user_may_have(const struct u_slot *s, const uint64_t *pte);
/* Do the guest's own tables allow this access of a program? */
bool user_allowed(uint64_t va, uint32_t access);

/* ---- user_remote.c: K takes the write right away, and gives it back, without M ---- */
/* The entry of a page that is mapped lost it. False: this cannot be done, the page has to go. */
bool remote_write_lost(struct u_slot *s, uint64_t va);
/* ... and from now on nobody writes to those pages. */
void remote_settle(void);
/* The entry has it now. */
void remote_write_given(struct u_slot *s, uint64_t va, uint64_t mfn);
/* Was that so for this page, since G ran? (asked once) */
bool remote_was_given(uint64_t va);
/* A SIGBUS of G. True: that was all, go on. */
bool remote_fault(struct u_slot *s, uint64_t va, uint32_t access);

/* An ioctl of the process's userfaultfd. */
long remote_ask(struct u_slot *s, unsigned long what, void *arg);

/* ---- user_ahead.c ---- */
/* These pages, readable and writable: true if they are there now. */
bool ahead_fill(struct u_slot *s, uint64_t va, uint64_t at, uint64_t len);
/* M maps them (`pte`: the first one's entry); M unmaps them. */
void ahead_mapped(struct u_slot *s, const uint64_t *pte, uint64_t va, uint64_t at, uint64_t len,
		  int prot);
void ahead_unmapped(struct u_slot *s, uint64_t va, uint64_t len);

/* ---- user_keep.c ---- */
/* M maps this. */
void keep_mapped(struct u_slot *s, uint64_t va, uint64_t at, uint64_t len, int prot);
/* It goes. True: its pages go, and the mapping stays; false: it has to be unmapped. */
bool keep_unmap(struct u_slot *s, uint64_t va, uint64_t len);
/* These pages, readable and writable: true if they are there now. */
bool keep_fill(struct u_slot *s, uint64_t va, uint64_t at, uint64_t len);

/* ---- user_begin.c: what programs touch first ---- */
/* A fresh process is given what it will certainly want. False: the page of its first instruction is
 * not there, which is a page fault of the guest. */
bool begin_run(struct u_slot *s, uint32_t *ret_error);
/* It faulted there. */
void begin_touched(struct u_slot *s, uint64_t va, uint32_t access);
/* Is a neighbour of a page that it touched worth a mapping? */
bool begin_wants(const struct u_slot *s, uint64_t va);

/* ---- user_brief.c: turns that K executes by itself ---- */
void brief_setup(bool off);
/* Try to: false, G has to go on from where the registers are now. */
bool brief_turn(void);
/* A page that the program will touch natively as well; and now G is about to. */
void brief_touched(uint64_t va, uint32_t access);
void brief_map_touched(struct u_slot *s);
/* A turn of G that began at rip took so long until it entered the guest's kernel. */
void brief_learn(uint64_t rip, uint32_t cycles, bool by_site);

/* ---- user_site.c ---- */
extern const uint8_t u_stub[], u_birth[], u_handler[], u_site[], u_site_saved[], u_site_end[];
void site_init(struct u_common *common);
/* G came by site i: the address behind its system call, 0 = it made that up. */
uint64_t site_came(struct u_slot *s, uint32_t i);
/* G came by a signal, from the system call in front of rip. */
void site_called(struct u_slot *s, uint64_t rip);
/* Interrupted on the way from a site to K: the registers become those in front of it. */
bool site_rewind(struct u_slot *s, struct u_frame *f);
/* What to map at va, where the program may execute and not write the frame: place in the memfd, 0 =
 * the frame itself. */
uint64_t site_copy(struct u_slot *s, uint64_t va, uint64_t mfn);
/* From now on this process has none. */
void site_plain(struct u_slot *s);
/* All was unmapped. */
void site_emptied(struct u_slot *s);
/* Somebody is about to write to the frame. */
void site_frame_written(uint64_t mfn);

/* ---- user_site_way.c ---- */
struct site_spot {
	uint16_t at;	 /* offset in the page of the first byte to use */
	uint16_t room;	 /* bytes; 0 = there is none */
	bool stepped_on; /* the two bytes in front are executed by the program, and jump over it */
};
struct site_way {
	struct site_spot relay, hole;
};
/*
 * A way from the syscall at `off` to a place for seven bytes, all in one page of code; none of it
 * in use: there both copies of the page are the same.
 */
bool site_find_way(const uint8_t *code, const uint8_t *copy, uint32_t off, struct site_way *ret);
/* `entry`: address of the pointer to jump to. The syscall itself changes last. */
void site_write_way(uint8_t *copy, uint32_t off, const struct site_way *way, uint32_t entry);

/* ---- user_debug.c ---- */
int debug_prot(const struct u_slot *s, uint64_t page, int prot);
/* Before G runs; the flags that it runs with in addition. */
void debug_enter(struct u_slot *s);
uint64_t debug_flags(const struct u_slot *s);
/* It came back; goes_on: before or in the middle of the instruction. */
void debug_came_back(struct u_slot *s, bool goes_on);
/* A page fault, a single step: true if it was of this file's making, and is dealt with. */
bool debug_fault(struct u_slot *s, uint64_t cr2, uint32_t access);
bool debug_trap(struct u_slot *s);
/* Is there anything to do? */
static inline bool debug_active(const struct u_slot *s, uint64_t dr7)
{
	return __builtin_expect((s->debug.dr7 | (dr7 & 0xff)) != 0, 0);
}

/* ---- user_fpu.c ---- */
void fpu_setup(void);
/* UF_XSAVEOPT, or 0 */
uint32_t fpu_flags(void);
/* G came back, its vector registers are in the image at U address `at`. */
void fpu_came_back(const struct u_slot *s, uint64_t at);
/* The guest's kernel needs them: into K. */
void fpu_claim(void);
bool fpu_in_user(void);
/* G goes on: the U address of the image for it to load. */
uint64_t fpu_give(struct u_slot *s);
uint64_t fpu_mask(void);

#endif
