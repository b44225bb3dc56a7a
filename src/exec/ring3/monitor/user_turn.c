/* SPDX-License-Identifier: MIT */
/*
 * The hand-over between K and G, which are on one processor. Control can pass by sleeping and
 * waking, or by sched_yield(). Yielding saves a microsecond of four while nothing else wants that
 * processor, and costs the slice of somebody else (1.4 ms, measured) when anything does. So it is
 * tried, and given up for a while, longer each time, when one of the two came late; and it is not
 * tried with a G that computes for long between two system calls.
 *
 * G stamps what it does (`started`, `told`). It may lie there: then its own guest yields at the
 * wrong times.
 */
#include "exec/ring3/monitor/user.h"

#include <linux/futex.h>

#include "core/time/time.h"
#include "exec/ring3/monitor/gang.h"
#include "exec/ring3/monitor/k.h"

#define SOON	   60000u  /* cycles, about 20 us: a short turn */
#define BUSY	   300000u /* about 100 us: K had much to do in between, and G waited for it */
#define LATE	   (uint32_t) UF_LATE
#define QUICK	   2u  /* short turns in a row that promise another one */
#define TRY_FIRST  16u /* hand-overs until yielding is tried again after a late one */
#define TRY_LAST   16384u
#define TRY_FORGET 64u /* good ones in a row after which a late one counts as the first */

static struct {
	uint32_t came;	     /* when the last one gave the turn to K */
	uint32_t asked;	     /* when K was about to give it back */
	uint32_t wait, next; /* hand-overs until the next try; and after the next late one */
	uint32_t good;
} pace = {.next = TRY_FIRST};

static uint32_t cycles(void)
{
	return (uint32_t)__builtin_ia32_rdtsc();
}

bool turn_by_yield(struct u_slot *s)
{
	pace.asked = cycles();
	s->quick = pace.asked - pace.came < BUSY ? s->quick + 1 : 0;
	if (pace.wait) {
		pace.wait--;
		return false;
	}
	return s->quick >= QUICK;
}

bool turn_alone(void)
{
	return !pace.wait;
}

void turn_afresh(void)
{
	pace.wait = 0;
	pace.next = TRY_FIRST;
}

static void judge(struct u_slot *s, bool yielded, bool ordered, uint32_t given)
{
	uint32_t started = __atomic_load_n(&s->state->started, __ATOMIC_RELAXED);
	uint32_t told = __atomic_load_n(&s->state->told, __ATOMIC_RELAXED), between;

	pace.came = cycles();
	if (told - started > SOON)
		s->quick = 0;
	between = pace.came - given;
	gang_handed(pace.came,
		    ordered || told - started > between ? 0 : between - (told - started));
	if (!yielded)
		return;
	if (started - given > LATE || pace.came - told > LATE) {
		pace.wait = pace.next;
		if (pace.next < TRY_LAST)
			pace.next *= 4;
		pace.good = 0;
	} else if (++pace.good == TRY_FORGET) {
		pace.next = TRY_FIRST;
	}
}

/*
 * Who waits by yielding while another program has its turn is in the way of both: each of their
 * hand-overs passes by it. So G sleeps at once behind a system call after which the guest's kernel
 * has gone to another program, or to sleep, the last times.
 */
#define LEAVES_SURE 2
#define LEAVES_MAX  3

static void learn(struct u_slot *s)
{
	static struct u_slot *last;
	static uint64_t blocked;
	uint64_t bit;
	uint8_t *n;

	if (last && last->called >= 0) {
		n = &last->leaves[last->called];
		bit = 1ull << last->called;
		if (last != s || k.ctlv->exits_block != blocked)
			*n += *n < LEAVES_MAX;
		else
			*n -= *n > 0;
		last->leaving = *n < LEAVES_SURE ? last->leaving & ~bit : last->leaving | bit;
		last->state->leaves = last->leaving;
	}
	last = s;
	blocked = k.ctlv->exits_block;
}

static uint32_t *volatile waiting; /* `turn` of the G that runs, for the kick's handler */

void user_kicked(void)
{
	uint32_t *turn = waiting;

	if (turn)
		__atomic_or_fetch(turn, UT_ATTENTION, __ATOMIC_SEQ_CST);
}

/* False: G has ended. */
static bool kick(struct u_slot *s)
{
	order_add(s, UO_KICK, 0, 0, 0, 0, 0, 0);
	return order_run(s);
}

/* Some G has ended since: it would never take its turn. (One that is there goes on waiting, or says
 * that it was kicked.) */
static bool still_there(struct u_slot *s)
{
	uint32_t gone = __atomic_load_n(&k.nursery->gone, __ATOMIC_RELAXED);

	if (__builtin_expect(s->gone_seen == gone, 1))
		return true;
	s->gone_seen = gone;
	order_catch_up(s);
	return kick(s);
}

/* M has an order, and is not through with it. G can write that bit, too, and then nobody would take
 * it away. */
static bool is_mapping(const struct u_slot *s, uint32_t turn)
{
	return (turn & UT_MAPPING) && s->unchecked &&
	       __atomic_load_n(&s->order->done, __ATOMIC_SEQ_CST) != s->unchecked;
}

#define SOON_NS	 50000u
/*
 * A program can jump into the stub, and write that K does not sleep: then nobody may wake it. (The
 * host may also be slow, and then the second kick is one too many, which is none.)
 */
#define AGAIN_NS 20000000u

static const void *in_ns(uint64_t ns)
{
	static struct {
		uint64_t sec, ns;
	} ts;
	uint64_t until = core_time_now(&k.c) + ns;

	ts.sec = until / 1000000000u;
	ts.ns = until % 1000000000u;
	return &ts;
}

/* Give the turn to G; with an order in the list M does, when it has executed it. */
static void give(struct u_slot *s)
{
	struct u_state *st = s->state;
	uint32_t old;

	if (s->order->nr) {
		/* It may sleep or not: that bit is M's to look at. */
		__atomic_or_fetch(&st->turn, UT_KERNEL | UT_MAPPING, __ATOMIC_SEQ_CST);
		waiting = &st->turn;
		order_run_then_go(s);
		return;
	}
	old = __atomic_exchange_n(&st->turn, 0, __ATOMIC_SEQ_CST);
	waiting = &st->turn;
	if (old & UT_G_SLEEPS)
		sys6(SYS_futex, (long)&st->turn, FUTEX_WAKE_BITSET, 1, 0, 0, UF_WAIT_G);
}

bool turn_give(struct u_slot *s, bool yield)
{
	struct u_state *st = s->state;
	unsigned int yields = yield ? UF_YIELDS : 0;
	bool kicked = false, slept = false, alive = true, ordered = s->order->nr != 0;
	uint32_t given = pace.asked, turn;
	const void *until;

	if (!still_there(s))
		return false;
	learn(s);
	give(s);
	for (;;) {
		turn = __atomic_load_n(&st->turn, __ATOMIC_SEQ_CST);
		if ((turn & (UT_KERNEL | UT_MAPPING)) == UT_KERNEL)
			break;
		if (!kicked && !is_mapping(s, turn) &&
		    __atomic_load_n(&k.ctlv->kick, __ATOMIC_SEQ_CST)) {
			kicked = true;
			alive = kick(s);
			if (!alive)
				break;
			continue;
		}
		if (yields && (yields == UF_YIELDS || cycles() - given < LATE)) {
			yields--;
			sys0(SYS_sched_yield);
			continue;
		}
		if (!(turn & UT_K_SLEEPS) &&
		    !__atomic_compare_exchange_n(&st->turn, &turn, turn | UT_K_SLEEPS, false,
						 __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			continue;
		slept = true;
		/* M wakes G only: who was kicked meanwhile has to look again. */
		if (kicked)
			until = in_ns(AGAIN_NS);
		else
			until = is_mapping(s, turn) && k.ctlv->kick ? in_ns(SOON_NS) : NULL;
		if (sys6(SYS_futex, (long)&st->turn, FUTEX_WAIT_BITSET, turn | UT_K_SLEEPS,
			 (long)until, 0, UF_WAIT_K) == -110 /* ETIMEDOUT */)
			kicked = false;
	}
	waiting = NULL;
	judge(s, yield && !slept, ordered, given);
	return alive;
}
