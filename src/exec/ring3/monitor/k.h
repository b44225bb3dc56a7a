/* SPDX-License-Identifier: MIT */
/*
 * K, the kernel process: the executor's half that runs inside the sandbox. One K per vCPU. Reading
 * order: main.c (how it comes up and its loop), signal.c (how the guest's faults and the library's
 * kicks arrive), window.c (how the guest's page tables become host mappings), ops.c (what the core
 * asks for), user.c (the guest's programs).
 */
#ifndef PVV_MONITOR_K_H
#define PVV_MONITOR_K_H

#include <stdbool.h>
#include <stdint.h>

#include "core/core.h"
#include "exec/ring3/layout.h"
#include "exec/ring3/monitor/tlb.h"
#include "exec/ring3/sys.h"
#include "exec/ring3/translate/translate.h"

/*
 * What K knows about the host mappings of a machine frame; anonymous memory of K, zero = none. Up
 * to two guest virtual pages at which the frame is mapped now: most frames have one (the direct
 * map) or two (and the kernel image). The low 12 bits hold KF_* and the epoch of the window in
 * which the entry was made: emptying the window starts a new epoch and so forgets all entries at
 * once.
 */
struct k_frame {
	uint64_t va[2];
};
#define KF_MAPPED      1u
#define KF_WRITABLE    2u
#define KF_MANY	       4u  /* in va[0]: mapped at more places than were recorded */
#define KF_CODE	       8u  /* in va[1]: this vCPU translated from it; says nothing of mappings */
#define KF_TAKEN       8u  /* in va[0]: made read-only since it was last mapped writable */
#define KF_POINTER     16u /* the translator may store through its own pointer to the frame */
#define KF_EPOCH_SHIFT 5
#define KF_EPOCH       0xfe0u

struct k {
	struct core_ctx c;
	struct xlate *x;
	struct core_ctl_vcpu *ctlv;
	struct k_frame *kframes;
	uint64_t nr_frames, vdso;
	uint64_t nr_maps;     /* mappings made since the window was last emptied */
	uint32_t epoch;	      /* of the window, 0..127 << KF_EPOCH_SHIFT */
	uint32_t low_epoch;   /* of its part for addresses in the low half */
	bool low_code;	      /* code was translated from addresses in the low half */
	uint64_t window_root; /* kernel root at the last look at it */
	/* The executor's region of the memfd, see exec/ring3/user.h. */
	uint8_t *exec;
	uint64_t exec_off;
	struct tlb_table *tables;
	struct u_nursery *nursery;
	bool rdtscp;	      /* the guest's CPUID shows it */
	uint32_t poll_streak; /* sensitive instructions since anything else happened */
	uint32_t timer;	      /* kernel timer that kicks this vCPU */
	uint64_t timer_ns;    /* system time it is armed for, ~0 = not armed */
	uint64_t trim_ns;     /* not before that xlate_trim() again */
	/* Left by the fault handler for the run loop. */
	uint32_t exc_vector, exc_error;
	uint64_t exc_cr2;
	uint32_t in_guest; /* between xlate_enter() and its return */
	/* Several vCPUs: see smp.h. kframes is shared then. */
	bool smp;
	uint32_t id, nr_vcpus;
	struct k_peer *peers, *me;
	uint8_t *peer_frames;
	uint64_t peer_frames_size;
};

#define K_NO_EXC ~0u

extern struct k k;

/* ---- window.c ---- */
enum k_map {
	K_MAP_DONE,    /* repeat the access */
	K_MAP_CODE,    /* likewise, but translated code was dropped: leave the cache first */
	K_MAP_FAULT,   /* the guest gets a #PF */
	K_MAP_WATCHED, /* the guest waits for such an access: kernel_debug.c */
};
/*
 * Guest code touched `va` (write: stored to it) and no host mapping was there, or one without the
 * right. Map it (and its neighbours), or say what page fault the guest gets. is_protected: it met a
 * page that window_page_protect() has protected.
 */
enum k_map window_fill(uint64_t va, bool write, bool is_protected, uint32_t *ret_error);
void window_flush_all(void);
/* The content of a frame with code changes: whoever translated from it forgets that. */
void window_code_written(uint64_t mfn);
/* ... which is this vCPU alone. */
void window_code_gone(uint64_t mfn);
/* Was anything translated (or copied, user_site.c) from it? */
bool window_is_code(uint64_t mfn);
/*
 * Was the right to write to it taken away there (1) or not (0)? -1: what is mapped there is not
 * known. `once`: and not again by the next question, if it is not taken away again.
 */
int window_taken(uint64_t mfn, uint64_t va, bool once);
/*
 * With other vCPUs: this one is about to map `nr` frames at va, or to use them by the translator's
 * pointers, with the right `how` (0: to read, KF_WRITABLE, KF_POINTER). False: one of them may not
 * be written.
 */
bool window_announce(uint64_t va, uint64_t mfn, uint64_t nr, unsigned int how);
void window_flush_range(uint64_t va, uint64_t len);
void window_entry_changed(uint64_t va, uint64_t old, uint64_t new);
/* The kernel root is another one. */
void window_root_changed(void);
/* No mapping of the frame may be writable any more. */
void window_protect(uint64_t mfn);
static inline bool window_holds(uint64_t host)
{
	return host >= K_WINDOW && host < K_WINDOW_END;
}
static inline uint64_t window_guest_va(uint64_t host)
{
	return host - K_SHIFT;
}

/* ---- window_protect.c ---- */
void window_protect_init(void);
/* These pages were mapped to these frames. */
void window_page_mapped(uint64_t va, uint64_t mfn, uint64_t nr);
/* The page cannot be written any more. False: the host cannot do it. */
bool window_page_protect(uint64_t va);
/* A protected page was met: is it known to be this frame? And then, it can be written again. */
bool window_page_is(uint64_t va, uint64_t mfn);
bool window_page_allow(uint64_t va);

/* ---- main.c ---- */
/* Until a kick, or system time `ns`; what others see as the state meanwhile. */
void k_sleep(uint32_t state, uint64_t ns);

/* ---- signal.c ---- */
void signals_init(void);
void timer_init(void);
/* Arm the kick for system time `ns` (~0 = never). */
void timer_arm(uint64_t ns);

/* ---- ops.c ---- */
extern const struct core_exec_ops k_ops;
/* Callbacks of the translator: see struct xlate_config. */
uint32_t k_fetch(void *priv, uint64_t gva, struct xlate_code *ret);
void k_note(void *priv, uint64_t mfn);
uint32_t k_user(void *priv, uint64_t va, bool write, uint8_t **ret);
/* The same for the interpreter of programs: struct brief_config. */
uint32_t k_program(void *priv, uint64_t va, uint32_t access, uint8_t **ret);
/* A back end wrote to frames from which code was translated: drop that code. */
void k_code_stale(void);

/* The end of the domain's sandbox because of the host or a bug, not the guest: never returns. */
_Noreturn void k_die(const char *why);

#endif
