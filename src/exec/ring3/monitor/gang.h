/* SPDX-License-Identifier: MIT */
/* K's side of the turns on a processor that several vCPUs want: exec/ring3/gang.h has the idea. */
#ifndef PVV_MONITOR_GANG_H
#define PVV_MONITOR_GANG_H

#include "exec/ring3/gang.h"
#include "exec/ring3/monitor/k.h"

struct gang {
	bool look;	   /* gang_turn() is due */
	uint32_t next;	   /* low half of the counter: when it will be */
	uint32_t handed;   /* hand-overs since the last look */
	uint64_t spent;	   /* cycles in which neither K nor G ran in them */
	uint64_t timer_ns; /* system time: interrupt the guest then; ~0 = not for this */
};
extern struct gang gang;

/* Before the door closes. */
void gang_init(const struct k_params *p);
/* The guest is about to run: may it now? False: that was slept out, look at the world again. */
bool gang_turn(void);
/* There is nothing to run; there is again. */
void gang_idle(void);
void gang_awake(void);

/* The guest was interrupted. */
static inline void gang_tick(void)
{
	if ((int32_t)((uint32_t)__builtin_ia32_rdtsc() - gang.next) >= 0)
		gang.look = true;
}

/* G came back at `now`; `between`: in which neither of the two ran, 0 = cannot be told. */
static inline void gang_handed(uint32_t now, uint32_t between)
{
	if (between) {
		gang.handed++;
		gang.spent += between;
	}
	if ((int32_t)(now - gang.next) >= 0)
		gang.look = true;
}

static inline uint64_t gang_timer(uint64_t ns)
{
	return ns < gang.timer_ns ? ns : gang.timer_ns;
}

#endif
