/* SPDX-License-Identifier: MIT */
/*
 * Turns on a processor that several vCPUs want (adr/0015).
 *
 * A vCPU is K and its guest threads, which hand over to each other every microsecond or two. The
 * host's scheduler takes each hand-over for a reason to look who has had least, so with n vCPUs on
 * a processor 2n address spaces rotate and none of them finds its TLB and caches warm. The vCPUs
 * that would otherwise run all the time therefore take turns of milliseconds: all but one of them
 * sleep.
 *
 * Nobody hands out the turns. They follow from the processor's counter and from a board that all
 * vCPUs of a user's programs have mapped: who is there (written by the library), and until when
 * each wants the processor (its claim: a page for each, which only its own K can write). Those who
 * want it stand in the order of their numbers, each with a slice, over and over again, so each K
 * can tell for itself whose turn it is. All that a hostile K can do there is to want its own turns,
 * used or not, and to say that it does not like the game; then it rests for all of them.
 */
#ifndef PVV_RING3_GANG_H
#define PVV_RING3_GANG_H

#include <stdbool.h>
#include <stdint.h>

#define GANG_SLOTS 512u
#define GANG_NONE  ~0u
#define GANG_LINE  64u /* as many can take turns on a processor */

/* Cycles of the counter; 2^20 of them are a third of a millisecond. */
#define GANG_SLICE     (1u << 23) /* of the one with the most weight */
#define GANG_SLICE_MIN (1u << 20)
#define GANG_WEIGHT    1024u /* the usual one */
/* A claim or a rest that lasts longer than this from now is no word to be taken. */
#define GANG_CLAIM_MAX (1ull << 34)
#define GANG_OFF_MAX   (1ull << 34)

/* Where it is in the file. */
#define GANG_MEMBERS 4096u
#define GANG_CLAIMS  (GANG_MEMBERS + 4096u * 4u)
#define GANG_SIZE    (GANG_CLAIMS + GANG_SLOTS * 4096u)

/* Written by the library, and by K before the guest is there; later on K can only read it. */
struct gang_member {
	uint32_t used;
	uint32_t cpu;	/* where it is pinned, ~0 = not known yet */
	uint64_t group; /* those of the same group have the same right to the processor */
	uint32_t weight;
	uint32_t pad[3];
};
_Static_assert(GANG_MEMBERS + GANG_SLOTS * sizeof(struct gang_member) == GANG_CLAIMS, "layout");

struct gang_board {
	uint32_t nr; /* no number from here on was ever used */
	uint32_t pad[1023];
	struct gang_member member[GANG_SLOTS];
};

struct gang_claim {
	uint64_t until; /* it wants the processor now, and (if nothing is heard of it) until then */
	uint64_t off;	/* no turns on this processor until then */
};

struct gang_view {
	uint64_t period; /* once round */
	uint64_t left;	 /* not 0: it is one's turn, so long */
	uint64_t wait;	 /* otherwise: until it is */
	uint64_t off;	 /* no turns until then; 0: turns */
	bool alone;
};

/* Its slice, next to one of the weight `most`. */
static inline uint64_t gang_slice(uint32_t weight, uint32_t most)
{
	uint64_t slice = (uint64_t)GANG_SLICE * weight / most;

	return slice > GANG_SLICE_MIN ? slice : GANG_SLICE_MIN;
}

/* What vCPU `self` makes of the board. Others may write to their claims meanwhile. */
static inline void gang_look(const void *board, uint32_t self, uint64_t now, struct gang_view *v)
{
	const struct gang_board *b = board;
	uint32_t nr = __atomic_load_n(&b->nr, __ATOMIC_RELAXED), most = 1;
	uint32_t weight[GANG_LINE], in_line = 0, own = 0;
	uint64_t before = 0, at, slice;

	*v = (struct gang_view){.alone = true};
	if (nr > GANG_SLOTS || nr <= self)
		nr = self + 1;
	for (uint32_t i = 0; i < nr && in_line < GANG_LINE; i++) {
		const struct gang_member *m = &b->member[i], *me = &b->member[self];
		const struct gang_claim *c =
			(const void *)((const uint8_t *)board + GANG_CLAIMS + i * 4096u);

		if (!__atomic_load_n(&m->used, __ATOMIC_ACQUIRE) || m->cpu != me->cpu ||
		    m->group != me->group)
			continue;
		uint64_t until = __atomic_load_n(&c->until, __ATOMIC_RELAXED);
		uint64_t off = __atomic_load_n(&c->off, __ATOMIC_RELAXED);

		if (off > now && off - now < GANG_OFF_MAX && off > v->off)
			v->off = off;
		if (i == self)
			own = in_line;
		else if (until <= now || until - now > GANG_CLAIM_MAX)
			continue;
		weight[in_line] = __atomic_load_n(&m->weight, __ATOMIC_RELAXED);
		if (weight[in_line] > most)
			most = weight[in_line];
		in_line++;
	}
	for (uint32_t i = 0; i < in_line; i++) {
		if (i == own)
			before = v->period;
		v->period += gang_slice(weight[i], most);
	}
	/* (a line that is too long is none) */
	v->alone = in_line < 2 || in_line == GANG_LINE;
	if (v->alone)
		return;
	slice = gang_slice(weight[own], most);
	at = now % v->period;
	if (at >= before && at - before < slice)
		v->left = before + slice - at;
	else
		v->wait = (before > at ? before : before + v->period) - at;
}

/* ---- the library's side: gang.c ---- */
struct gang_place {
	int fd;	       /* the board, held as long as the place; -1: none */
	uint32_t slot; /* GANG_NONE: none */
};
/*
 * A place for a vCPU about to start, on the board in `dir` (NULL: /dev/shm). Without a board, or
 * without room on it, the vCPU simply takes no turns.
 */
void gang_join(const char *dir, uint32_t shares, struct gang_place *ret);
void gang_leave(const char *dir, struct gang_place *p);

#endif
