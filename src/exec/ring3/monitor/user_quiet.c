/* SPDX-License-Identifier: MIT */
/*
 * A G that says "your turn" and runs on (adr/0013) sees what its process has mapped, and no other
 * vCPU may rely on that not being used: this vCPU is out of the guest, but that G is not. So of
 * each G that had the turn K knows whether it has seen it asleep since. Until then it is awake, and
 * others that change its page tables wait until the change is carried out (smp.c). K looks when it
 * goes to another process, and before it sleeps. An honest G is asleep as soon as it is
 * given the processor for a moment; one that is not gets its process emptied, and can look at
 * nothing then.
 *
 * With one vCPU K unmaps before it goes on, and none of this is needed.
 */
#include "exec/ring3/monitor/user.h"

#include <linux/futex.h>

#include "core/time/time.h"
#include "exec/ring3/monitor/smp.h"

/*
 * Who waits in a futex is counted by moving the waiters to where they are: nobody wakes. Only K and
 * M can wake this G then, for its filter lets it wait without a timeout only.
 */
static bool asleep(struct u_slot *s)
{
	uint32_t *turn = &s->state->turn;

	return (__atomic_load_n(turn, __ATOMIC_RELAXED) & UT_G_SLEEPS) &&
	       sys6(SYS_futex, (long)turn, FUTEX_REQUEUE, 0, 1, (long)turn, 0) > 0;
}

static uint64_t awake[(U_SLOTS + 63) / 64];

static void set_awake(unsigned int i, bool to)
{
	awake[i / 64] ^= 1ull << (i % 64);
	__atomic_store_n(&user_slot_number(i)->order->awake, to, __ATOMIC_RELAXED);
	__atomic_store_n(&k.me->awake, k.me->awake + (to ? 1u : ~0u), __ATOMIC_SEQ_CST);
}

void quiet_gives_turn(struct u_slot *s)
{
	if (!s->order->awake)
		set_awake(user_number_of(s), true);
}

bool quiet_look(bool now)
{
	if (!k.me->awake)
		return true;
	for (unsigned int w = 0; w < sizeof(awake) / sizeof(awake[0]); w++) {
		for (uint64_t m = awake[w]; m; m &= m - 1) {
			unsigned int i = w * 64 + (unsigned int)__builtin_ctzll(m);
			struct u_slot *s = user_slot_number(i);

			if (!asleep(s)) {
				if (!now)
					continue;
				s->gone.all = true;
				user_drain_slot(s);
			}
			set_awake(i, false);
		}
	}
	if (k.me->awake)
		return false;
	smp_away();
	return true;
}

/* For K that waits, again and again: what it waits for may be a vCPU that waits for this. */
#define PATIENCE 20u

bool quiet_look_waiting(void)
{
	static unsigned int times;

	if (!k.smp)
		return true;
	if (quiet_look(times >= PATIENCE)) {
		times = 0;
		return true;
	}
	times++;
	return false;
}

#define YIELDS 3u
#define TRIES  12u
#define NAP_NS 25000ull

void quiet_before_sleep(uint64_t ns)
{
	for (unsigned int i = 0; !quiet_look(i == TRIES); i++) {
		uint64_t now = core_time_now(&k.c), until = now + (NAP_NS << i);
		struct {
			uint64_t sec, ns;
		} ts;

		if (__atomic_load_n(&k.ctlv->kick, __ATOMIC_SEQ_CST) || now >= ns)
			return;
		if (i < YIELDS) {
			sys0(SYS_sched_yield);
			continue;
		}
		until = until < ns ? until : ns;
		ts.sec = until / 1000000000u;
		ts.ns = until % 1000000000u;
		sys6(SYS_futex, (long)&k.ctlv->kick, FUTEX_WAIT_BITSET, 0, (long)&ts, 0,
		     FUTEX_BITSET_MATCH_ANY);
	}
}
