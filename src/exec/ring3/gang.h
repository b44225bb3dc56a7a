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
#include <sys/types.h>

#define GANG_SLOTS 512u
#define GANG_NONE  ~0u
#define GANG_LINE  64u /* as many can take turns on a processor */
#define GANG_FEW   16u /* as many if they are of several control groups */

/* Cycles of the counter; 2^20 of them are a third of a millisecond. */
#define GANG_SLICE     (1u << 23) /* of the one with the most weight */
#define GANG_SLICE_MIN (1u << 20)
#define GANG_WEIGHT    1024u /* the usual one */
/* A claim or a rest that lasts longer than this from now is no word to be taken. */
#define GANG_CLAIM_MAX (1ull << 34)
#define GANG_OFF_MAX   (1ull << 34)
/* Of what the library read about a control group: read it again; it is no longer to be believed. */
#define GANG_OLD       (1ull << 32)
#define GANG_STALE     (1ull << 35)

/* Where it is in the file. */
#define GANG_MEMBERS 4096u
#define GANG_CLAIMS  (GANG_MEMBERS + 4096u * 20u)
#define GANG_SIZE    (GANG_CLAIMS + GANG_SLOTS * 4096u)

/* A control group that has a weight, among the others of its parent. */
struct gang_level {
	uint64_t id;
	uint32_t weight;
	uint32_t pad;
};

#define GANG_LEVELS 8u

/*
 * Written by the library, and by K before the guest is there; later on K can only read it. The
 * levels are those of its control group, from the top one on (which has no weight).
 */
struct gang_member {
	uint32_t used;
	uint32_t cpu;	 /* where it is pinned, ~0 = not known yet */
	uint32_t weight; /* in its group */
	uint32_t depth;	 /* levels; 0 = turns with those of the same group only */
	uint64_t group;
	uint64_t read; /* when the levels were */
	struct gang_level level[GANG_LEVELS];
};
_Static_assert(GANG_MEMBERS + GANG_SLOTS * sizeof(struct gang_member) == GANG_CLAIMS, "layout");

struct gang_board {
	uint32_t nr; /* no number from here on was ever used */
	uint32_t pad;
	uint64_t moved; /* when a vCPU was last given another processor */
	uint64_t pad2[510];
	struct gang_member member[GANG_SLOTS];
};

struct gang_claim {
	uint64_t until; /* it wants the processor now, and (if nothing is heard of it) until then */
	uint64_t off;	/* no turns on this processor until then */
	uint64_t asks;	/* another number than before: see gang_heard() */
};

struct gang_view {
	uint64_t period; /* once round */
	uint64_t left;	 /* not 0: it is one's turn, so long */
	uint64_t wait;	 /* otherwise: until it is */
	uint64_t off;	 /* no turns until then; 0: turns */
	bool alone;
	bool old; /* somebody else wants the processor, and one's own group was not read of late */
};

/* Do turns with this one follow what the host's scheduler would give the groups of both? */
static inline bool gang_levels(const struct gang_member *m, uint64_t now)
{
	uint32_t depth = __atomic_load_n(&m->depth, __ATOMIC_RELAXED);
	uint64_t read = __atomic_load_n(&m->read, __ATOMIC_RELAXED);

	return depth > 0 && depth <= GANG_LEVELS && now - read < GANG_STALE;
}

struct gang_one {
	const struct gang_member *path; /* whose levels are this one's */
	uint32_t weight;
	uint32_t depth;
	uint32_t first;			 /* bit n: none before it in the line has its level n */
	uint32_t elsewhere[GANG_LEVELS]; /* of the same group, on other processors */
};

struct gang_line {
	struct gang_one one[GANG_LINE];
	uint32_t nr, own;
	bool groups; /* more than one */
};

/*
 * What vCPU i of the line has of the processor, in parts of 2^20: at each level what its group (or
 * it) weighs next to those beside it. A group that wants several processors has its weight divided
 * among them, by how many of it want each.
 */
static inline uint64_t gang_weigh(const struct gang_line *l, uint32_t j, uint32_t level)
{
	const struct gang_one *o = &l->one[j];
	uint32_t here = 0;

	if (level == o->depth)
		return (uint64_t)o->weight << 8;
	for (uint32_t i = 0; i < l->nr; i++)
		here += l->one[i].depth > level &&
			l->one[i].path->level[level].id == o->path->level[level].id;
	/* (others may write there meanwhile) */
	return ((uint64_t)o->path->level[level].weight << 8) * here /
	       (here + o->elsewhere[level] + !here);
}

static inline uint64_t gang_share(const struct gang_line *l, uint32_t i)
{
	const struct gang_one *o = &l->one[i];
	uint64_t ret = 1u << 20;

	for (uint32_t d = 0; d < o->depth; d++) {
		uint64_t sum = 0, own = gang_weigh(l, i, d + 1);

		for (uint32_t j = 0; j < l->nr; j++) {
			const struct gang_one *b = &l->one[j];

			if (b->depth > d && b->path->level[d].id == o->path->level[d].id &&
			    (b->depth == d + 1 || (b->first >> (d + 1) & 1)))
				sum += gang_weigh(l, j, d + 1);
		}
		/* (a part of a second: 2^20 * 2^40 is no overflow) */
		ret = sum ? ret * own / sum : ret;
	}
	return ret;
}

/* Of each its part; relative to each other is all that counts. */
static inline void gang_shares(struct gang_line *l, uint64_t *share)
{
	for (uint32_t i = 0; i < l->nr; i++) {
		struct gang_one *o = &l->one[i];

		if (!l->groups) {
			share[i] = o->weight;
			continue;
		}
		o->first = ~0u;
		for (uint32_t j = 0; j < i; j++)
			for (uint32_t d = 0; d < o->depth && d < l->one[j].depth; d++)
				if (l->one[j].path->level[d].id == o->path->level[d].id)
					o->first &= ~(1u << d);
	}
	for (uint32_t i = 0; i < l->nr && l->groups; i++)
		share[i] = gang_share(l, i);
}

/* Its slice, next to one that has `most`. */
static inline uint64_t gang_slice(uint64_t share, uint64_t most)
{
	uint64_t slice = GANG_SLICE * share / most;

	return slice > GANG_SLICE_MIN ? slice : GANG_SLICE_MIN;
}

static inline const struct gang_claim *gang_claim_of(const void *board, uint32_t i)
{
	return (const void *)((const uint8_t *)board + GANG_CLAIMS + i * 4096u);
}

/*
 * Who stands in line with vCPU `self`: those that want its processor, and have the same group or
 * one whose weight next to its own is known.
 */
static inline void gang_gather(const void *board, uint32_t self, uint64_t now, bool groups,
			       struct gang_line *l, struct gang_view *v)
{
	const struct gang_board *b = board;
	const struct gang_member *me = &b->member[self];
	uint32_t nr = __atomic_load_n(&b->nr, __ATOMIC_RELAXED);
	bool levels = groups && gang_levels(me, now);

	l->nr = l->own = 0;
	l->groups = false;
	v->off = 0;
	if (nr > GANG_SLOTS || nr <= self)
		nr = self + 1;
	for (uint32_t i = 0; i < nr && l->nr < GANG_LINE; i++) {
		const struct gang_member *m = &b->member[i];
		const struct gang_claim *c = gang_claim_of(board, i);
		bool same = m->group == me->group;

		if (!__atomic_load_n(&m->used, __ATOMIC_ACQUIRE) || m->cpu != me->cpu)
			continue;
		uint64_t until = __atomic_load_n(&c->until, __ATOMIC_RELAXED);
		uint64_t off = __atomic_load_n(&c->off, __ATOMIC_RELAXED);
		bool wants = until > now && until - now <= GANG_CLAIM_MAX;

		v->old |= wants && i != self && now - me->read >= GANG_OLD;
		if (!same && !(levels && gang_levels(m, now) && m->level[0].id == me->level[0].id))
			continue;
		if (off > now && off - now < GANG_OFF_MAX && off > v->off)
			v->off = off;
		if (i == self)
			l->own = l->nr;
		else if (!wants)
			continue;
		l->groups |= !same;
		l->one[l->nr++] = (struct gang_one){
			.path = same ? me : m,
			.weight = __atomic_load_n(&m->weight, __ATOMIC_RELAXED),
			.depth = levels ? __atomic_load_n(same ? &me->depth : &m->depth,
							  __ATOMIC_RELAXED) %
						  (GANG_LEVELS + 1)
					: 0,
		};
	}
}

/* Of the groups in line: who else of them wants another processor? */
static inline void gang_elsewhere(const void *board, uint32_t self, uint64_t now,
				  struct gang_line *l)
{
	const struct gang_board *b = board;
	const struct gang_member *me = &b->member[self];
	uint32_t nr = __atomic_load_n(&b->nr, __ATOMIC_RELAXED);

	for (uint32_t i = 0; i < nr && i < GANG_SLOTS; i++) {
		const struct gang_member *m = &b->member[i];
		uint64_t until = gang_claim_of(board, i)->until;

		if (!m->used || m->cpu == me->cpu || until <= now || until - now > GANG_CLAIM_MAX ||
		    !gang_levels(m, now))
			continue;
		for (uint32_t j = 0; j < l->nr; j++)
			for (uint32_t d = 1; d < l->one[j].depth && d < m->depth; d++)
				l->one[j].elsewhere[d] +=
					m->level[d].id == l->one[j].path->level[d].id;
	}
}

/* What vCPU `self` makes of the board. Others may write to their claims meanwhile. */
static inline void gang_look(const void *board, uint32_t self, uint64_t now, struct gang_view *v)
{
	uint64_t share[GANG_LINE] = {0}, most = 1, before = 0, at, slice;
	struct gang_line l;

	*v = (struct gang_view){.alone = true};
	gang_gather(board, self, now, true, &l, v);
	/* A line that is too long is one of each group; and if that is, too, it is none. */
	if (l.groups && l.nr > GANG_FEW)
		gang_gather(board, self, now, false, &l, v);
	v->alone = l.nr < 2 || l.nr == GANG_LINE;
	if (v->alone)
		return;
	if (l.groups)
		gang_elsewhere(board, self, now, &l);
	gang_shares(&l, share);
	for (uint32_t i = 0; i < l.nr; i++)
		if (share[i] > most)
			most = share[i];
	for (uint32_t i = 0; i < l.nr; i++) {
		if (i == l.own)
			before = v->period;
		v->period += gang_slice(share[i], most);
	}
	slice = gang_slice(share[l.own], most);
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
	uint64_t asks; /* how often its K has asked */
	time_t heard;
};
/*
 * A place for a vCPU about to start, on the board in `dir` (NULL: /dev/shm). Without a board, or
 * without room on it, the vCPU simply takes no turns.
 */
void gang_join(const char *dir, uint32_t shares, struct gang_place *ret);
void gang_leave(const char *dir, struct gang_place *p);
/*
 * The doorbell rang: does its K, process `pid`, ask for what gang_read_group() reads? True: yes, so
 * it shares its processor.
 */
bool gang_heard(struct gang_place *p, pid_t pid);
/* K and all that belong to it go to a processor with nothing to do, if there is one. True: they
 * did. */
struct gang_idle;
bool gang_move(struct gang_place *p, pid_t pid, const uint64_t *allowed, struct gang_idle *idle);

/* Its part: they go there, and the board says so. */
bool gang_bind(struct gang_place *p, pid_t pid, unsigned int from, unsigned int cpu);

/* gang_idle.c: what the processors of the host did lately. */
#define GANG_CPUS 1024u

struct gang_idle {
	uint64_t since; /* by the counter; 0 = never looked */
	uint32_t idle[GANG_CPUS], all[GANG_CPUS];
};
/*
 * Looks at `path` (/proc/stat) again: a processor of `allowed` that had hardly anything to do since
 * the last time, while `cpu` was never idle. -1: none, or that was too long or short ago.
 */
int gang_find_idle(struct gang_idle *g, const char *path, const uint64_t *allowed,
		   unsigned int cpu);

/* gang_group.c: depth, group, read and level, of the process (0: this one) */
void gang_read_group(pid_t pid, struct gang_member *m);

#endif
