/* SPDX-License-Identifier: MIT */
/*
 * When a vCPU takes turns with others, and when not (gang.h has the rules of the turns themselves).
 *
 * It stands in line when it has run for a while without ever sleeping. Who wakes up only now and
 * then never waits for a turn; and who goes to sleep is out of the line at once, so the others,
 * which look again every millisecond, have his time.
 *
 * Turns are of use where all who want the processor take them. Somebody else who computes there
 * would have the time of all that sleep. So each watches what its hand-overs cost: in a turn of
 * its own they should take what they take alone. Where a good part of the turn is lost, turns rest
 * on this processor, for longer each time, and the host's scheduler decides as if there were none.
 */
#include "exec/ring3/monitor/gang.h"

#include <sys/mman.h>
#include <sys/prctl.h>

#include "core/run.h"
#include "core/time/time.h"
#include "exec/ring3/monitor/user.h"
#include "exec/ring3/sys.h"

#define LOOK	   (1u << 21) /* cycles between two looks at the board: 0.7 ms */
#define HUNGRY	   (1u << 22) /* who ran so long without sleeping wants all there is */
#define STALE	   (1u << 24) /* a claim is good for this much more than the next turn but one */
#define NAP_NS	   1000000u
#define GRACE_NS   100000u
#define LATE	   (1u << 17)	/* 40 us */
#define OFF_FIRST  (1ull << 26) /* 20 ms */
#define OFF_LAST   (1ull << 33) /* 3 s */
#define GOOD_TURNS 64u		/* after which the next rest is a short one again */
#define LOST	   26000u	/* of 65,536: who has lost so much of its turns wants none */
#define ENOUGH	   256u		/* hand-overs whose mean says something */

struct gang gang = {.timer_ns = ~0ull};

static struct {
	const struct gang_board *board;
	struct gang_claim *claim; /* NULL: no turns for this one */
	uint32_t slot, cpu;
	uint64_t awake; /* since then it did not sleep */
	uint64_t begin; /* of what gang.handed and gang.spent are about */
	bool turn;	/* and that was a turn */
	bool fresh;	/* which has just begun */
	uint64_t best;	/* cycles between K and G, both ways, when nobody is there */
	uint64_t lost;	/* of 2^16, of late */
	uint64_t rest;	/* the next one */
	uint64_t until; /* of the last one */
	uint64_t asked; /* for the weight of its group */
	uint32_t good;
} g;

static uint64_t counter(uint32_t *cpu)
{
	uint32_t a, d, c;

	__asm__ volatile("rdtscp" : "=a"(a), "=d"(d), "=c"(c));
	*cpu = c & 0xfff;
	return (uint64_t)d << 32 | a;
}

static uint64_t ns_of(uint64_t cycles)
{
	int shift = k.c.ctl->tsc_shift;

	cycles = shift < 0 ? cycles >> -shift : cycles << shift;
	return (uint64_t)((unsigned __int128)cycles * k.c.ctl->tsc_mul >> 32);
}

static bool mapped(uint64_t at, uint64_t len, int prot, uint64_t offset)
{
	return sys_mmap(at, len, prot, MAP_SHARED | MAP_FIXED, K_FD_GANG, offset) == (long)at;
}

/* The claim is the only page of the board that can be written once the guest is there. */
void gang_init(const struct k_params *p)
{
	uint64_t claim = K_GANG + GANG_SIZE, scratch = claim + 4096;
	uint64_t at = GANG_MEMBERS + p->gang_slot * sizeof(struct gang_member);
	uint32_t cpu;

	if (p->gang_slot == GANG_NONE)
		return;
	if (p->gang_slot < GANG_SLOTS && mapped(K_GANG, GANG_SIZE, PROT_READ, 0) &&
	    mapped(claim, 4096, PROT_READ | PROT_WRITE, GANG_CLAIMS + p->gang_slot * 4096ull) &&
	    mapped(scratch, 4096, PROT_READ | PROT_WRITE, at & ~4095ull)) {
		struct gang_member *m = (struct gang_member *)(scratch + (at & 4095));

		counter(&cpu);
		__atomic_store_n(&m->cpu, cpu, __ATOMIC_RELEASE);
		sys2(SYS_munmap, scratch, 4096);
		g.board = (const struct gang_board *)K_GANG;
		g.claim = (struct gang_claim *)claim;
		g.slot = p->gang_slot;
		g.cpu = cpu;
		g.rest = OFF_FIRST;
		gang_awake();
		/* A turn is to begin when it begins, not 50 us later. */
		sys2(SYS_prctl, PR_SET_TIMERSLACK, 1000);
	}
	sys1(SYS_close, K_FD_GANG);
}

static void say(uint64_t until)
{
	__atomic_store_n(&g.claim->until, until, __ATOMIC_RELAXED);
}

static bool go_on(uint64_t next)
{
	gang.next = (uint32_t)next;
	gang.look = false;
	gang.timer_ns = ~0ull;
	return true;
}

static void begin(uint64_t now, bool turn)
{
	g.begin = now;
	g.turn = turn;
	gang.handed = 0;
	gang.spent = 0;
}

/* What were the hand-overs since g.begin like? */
static void judge(uint64_t now)
{
	uint64_t took = now - g.begin, mean, lost;

	if (gang.handed == 0 || took == 0)
		return;
	mean = gang.spent / gang.handed;
	if (gang.handed >= ENOUGH) {
		/* It follows what the guest does, and hardly anything while somebody disturbs. */
		if (!g.best || mean < g.best)
			g.best = mean;
		else
			g.best += (mean - g.best) / (mean < 2 * g.best ? 512 : 8192);
	}
	if (!g.turn || !g.best)
		return;
	lost = mean > g.best ? (mean - g.best) * gang.handed : 0;
	lost = lost < took ? (lost << 16) / took : 1u << 16;
	g.lost = (15 * g.lost + lost) / 16;
	if (g.lost < LOST) {
		if (++g.good == GOOD_TURNS)
			g.rest = OFF_FIRST;
		return;
	}
	__atomic_store_n(&g.claim->off, now + g.rest, __ATOMIC_RELAXED);
}

/* Others of another group want the processor, too: what are their weights now? */
static void ask(uint64_t now)
{
	if (now - g.asked < GANG_OLD)
		return;
	g.asked = now;
	__atomic_store_n(&g.claim->asks, g.claim->asks + 1, __ATOMIC_RELEASE);
	core_ring_doorbell(&k.c);
}

/* There are no turns, because this one or another said so. */
static void rested(uint64_t until)
{
	if (until == g.until)
		return;
	g.until = until;
	g.rest = g.rest * 2 < OFF_LAST ? g.rest * 2 : OFF_LAST;
	g.lost = LOST - LOST / 4; /* it is soon seen whether that goes on */
	g.good = 0;
}

/* Until the turn comes, or a kick. */
static void wait(struct gang_view *v, uint64_t now)
{
	uint32_t cpu;
	bool whole, late;

	core_runstate_change(&k.c, k.c.v, RUNSTATE_runnable);
	do {
		uint64_t ns = ns_of(v->wait), from = now + v->wait;

		whole = ns <= NAP_NS;
		k_sleep(CORE_VCPU_BLOCKED, core_time_now(&k.c) + (whole ? ns : NAP_NS));
		now = counter(&cpu);
		/* Whoever had the processor when the turn began had it of this turn. */
		begin(from, true);
		late = now > from + LATE;
		if (late)
			gang_handed((uint32_t)now, (uint32_t)(now - from));
		g.fresh = true;
		turn_afresh();
		if (__atomic_load_n(&k.ctlv->kick, __ATOMIC_RELAXED))
			return;
		gang_look(g.board, g.slot, now, v);
		say(now + 2 * v->period + STALE);
	} while (v->wait && !v->off && !whole && !late);
}

bool gang_turn(void)
{
	struct gang_view v;
	uint64_t now;
	uint32_t cpu;

	if (!g.claim)
		return go_on(__builtin_ia32_rdtsc() + (1u << 30));
	now = counter(&cpu);
	/* The library has given it another processor; if somebody else did there are no turns. */
	if (cpu != g.cpu && __atomic_load_n(&g.board->member[g.slot].cpu, __ATOMIC_RELAXED) == cpu)
		g.cpu = cpu;
	if (cpu != g.cpu || now - g.awake < HUNGRY) {
		say(0);
		begin(now, false);
		return go_on(now + LOOK);
	}
	gang_look(g.board, g.slot, now, &v);
	if (!v.left || !g.fresh) {
		judge(now);
		begin(now, v.left != 0);
		gang_look(g.board, g.slot, now, &v);
	}
	g.fresh = false;
	if (v.old)
		ask(now);
	if (v.off) {
		rested(v.off);
		say(0);
		g.turn = false;
		return go_on(v.off - now < 8 * LOOK ? v.off : now + 8 * LOOK);
	}
	say(now + 2 * v.period + STALE);
	if (v.alone)
		return go_on(now + LOOK);
	if (v.wait) {
		wait(&v, now);
		return false;
	}
	go_on(now + v.left);
	/* A guest that hands nothing over is interrupted; the others notice by themselves. */
	gang.timer_ns = core_time_now(&k.c) + ns_of(v.left) + GRACE_NS;
	return true;
}

void gang_idle(void)
{
	if (g.claim)
		say(0);
	gang.timer_ns = ~0ull;
}

void gang_awake(void)
{
	if (!g.claim)
		return;
	g.awake = __builtin_ia32_rdtsc();
	begin(g.awake, false);
	go_on(g.awake + HUNGRY);
}
