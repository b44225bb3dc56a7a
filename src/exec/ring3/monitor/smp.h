/* SPDX-License-Identifier: MIT */
/*
 * Several vCPUs: one K each, which share the domain's memory and nothing else. What one of them
 * knows by itself - its window of host mappings, its translated code - the others can only ask it
 * to forget (adr/0012):
 *
 *	A asks:		puts the request on B's list and looks at B's state.
 *			In guest code: interrupts it, and waits until it has left.
 *			Anywhere else: that is all.
 *	B enters:	sets its state to "guest", then looks at its list; if there is anything it
 *			steps back, carries it out, and tries again.
 *
 * Each writes first and reads then, with a barrier between, so one of them sees the other. Nobody
 * ever waits for a vCPU that is in its monitor, so a waiter may hold locks which that one wants.
 *
 * A vCPU that waits says so by its state: it is in its monitor then, perhaps in the middle of
 * xlate_enter(). If it is asked for something in the meantime it raises its own kick flag, which
 * forbids translated code to be entered; whoever called then looks at the world again.
 */
#ifndef PVV_MONITOR_SMP_H
#define PVV_MONITOR_SMP_H

#include "exec/ring3/monitor/k.h"

#define K_PEER_LIST 1000u

/* What others may see of a vCPU and ask of it: K_PEER_SIZE bytes each. */
struct k_peer {
	uint32_t lock;	  /* of asked, flags, nr, list */
	uint32_t asked;	  /* counts requests */
	uint32_t done;	  /* the count up to which they were carried out; a futex */
	uint32_t waiters; /* somebody sleeps on `done` */
	uint32_t flags;	  /* K_ASK_ALL, K_ASK_ALL_CODE */
	uint32_t nr;
	uint32_t epoch;	     /* of its window, as in struct k */
	uint32_t cpu;	     /* of the host, where it was seen last */
	uint32_t stale_lock; /* the first one's: see k_code_stale() */
	uint32_t low_epoch;
	uint32_t awake; /* how many of its Gs may run though it is K's turn: user_quiet.c */
	uint32_t slot;	/* 1 + that of the program it ran last; 0 = it has none */
	uint32_t due;	/* it has something to drop because of changes of its own, at a flush */
	uint32_t pad[1];
	uint64_t list[K_PEER_LIST]; /* see smp.c */
};
_Static_assert(sizeof(struct k_frame) == K_SMP_PER_FRAME, "layout.h: K_SMP_PER_FRAME");
_Static_assert(sizeof(struct k_peer) <= K_PEER_SIZE, "layout.h: K_PEER_SIZE");

/* Called before the core is used. */
void smp_init(const struct k_params *p);
/* State "guest", everything that was asked for done. */
void smp_enter(void);
static inline void smp_leave(void)
{
	__atomic_store_n(&k.ctlv->state, CORE_VCPU_MONITOR, __ATOMIC_RELEASE);
}
/* Something waits to be carried out. */
static inline bool smp_asked(void)
{
	return __atomic_load_n(&k.me->asked, __ATOMIC_SEQ_CST) != k.me->done;
}
/* ... a change of an entry of that table. */
bool smp_asked_about(uint64_t mfn);
/* This vCPU is out of the guest and may stay away for a while: who waits for it need not. */
void smp_away(void);
/* Where it runs now; after it may have moved. */
void smp_note_cpu(void);
/* Take back the bytes that came with signals of other vCPUs. */
void smp_kicked(void);

/* This vCPU drops something at the next flush, also if that is another's: said, and done. */
static inline void smp_due(bool due)
{
	if (k.smp && k.me->due != due)
		__atomic_store_n(&k.me->due, due, __ATOMIC_SEQ_CST);
}
/* An entry of a page table was changed, a table is none any more: others that used it are told. */
void smp_tell(uint64_t mfn, unsigned int level, unsigned int slot, uint64_t old);
void smp_tell_gone(uint64_t mfn, unsigned int level);
/* None of these runs guest code without having done what it was asked. */
void smp_sync(uint64_t vcpu_mask);
void smp_publish_epochs(void);
/* No other vCPU has a writable mapping of these frames any more. */
void smp_protect(uint64_t mfn, uint64_t nr);
/* Others drop what they translated from these frames. */
void smp_code_changed(uint64_t mfn, uint64_t nr);
/* May this vCPU have the frame writable, now that it has said that it will? */
bool smp_may_write(uint64_t mfn);
void smp_kick(unsigned int id);
bool smp_start(unsigned int id);

#endif
