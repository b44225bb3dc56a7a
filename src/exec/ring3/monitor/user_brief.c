/* SPDX-License-Identifier: MIT */
/*
 * Which turns of programs are interpreted here (exec/ring3/brief), and which G runs. A hand-over
 * and back takes some 4,000 cycles, an instruction here some 10. So a program that came back at
 * once the last times it went on from some address is tried here the next time; where that ends
 * without an entry to the guest's kernel, the address is left alone, for longer each time. A
 * program that has no process yet, or an empty one, is tried at once.
 *
 * To the guest there is no difference: it is shown the same registers at the same places. What is
 * touched here is not mapped in the process; it is when G runs again (a few pages at once).
 */
#include "exec/ring3/brief/brief.h"
#include "core/cpu/cpu.h"
#include "core/mm/mm.h"
#include "exec/ring3/monitor/gang.h"
#include "exec/ring3/monitor/smp.h"
#include "exec/ring3/monitor/user.h"

_Static_assert(BRIEF_VA_FIRST == U_FIRST && BRIEF_VA_END == U_VA_END, "the same programs");

#define INSNS	   400u	 /* of a turn: as long as two hand-overs */
#define INSNS_NEW  4000u /* of a program without a process: that has to be filled, too */
#define SHORT	   2500u /* cycles of G until it came back by a site; */
#define SHORT_MORE 4000u /* more, if it was by a signal of the host */
#define SURE	   2u	 /* short turns in a row */
#define SKIP_LAST  10u	 /* 2^10 */
#define TOUCHED	   8u

/*
 * Addresses where programs go on, by their last twelve bits: the same code lies elsewhere in each
 * program, and two places that are taken for one are tried too often, or not often enough.
 */
struct place {
	uint8_t shorts;
	uint8_t fails; /* in a row */
	uint16_t skip; /* turns until the next try */
};

static struct place places[4096];
static struct brief brief;
static bool off; /* briefTurns='no' */
/* What its entries are worth: */
static struct {
	uint64_t root, changes, forgets;
} seen;
/* What faulted here, for G. */
static struct {
	uint64_t root;
	uint32_t nr;
	struct {
		uint64_t va;
		uint32_t access;
	} page[TOUCHED];
} touched;

void brief_setup(bool is_off)
{
	const struct brief_config cfg = {.map = k_program};

	off = is_off;
	brief_init(&brief, &cfg, &k.c.v->regs);
}

/* Its process has not run yet, or there is none. */
static bool is_new(void)
{
	uint64_t root = k.c.v->user_root;
	uint16_t slot = k.tables[root].slot;
	const struct u_slot *s = slot ? user_slot_number(slot - 1u) : NULL;

	return !s || s->root != root || s->fresh;
}

/* Registers that mean what they mean to programs on a processor without debugging. */
static bool is_plain(void)
{
	const struct core_vcpu *v = k.c.v;
	const struct core_regs *r = &v->regs;

	return (r->cs == FLAT_USER_CS64 || r->cs == 0x33) &&
	       !(r->rflags & (CORE_FLAG_TF | CORE_FLAG_AC)) && !(v->debugreg[7] & 0xff);
}

static void refresh(void)
{
	uint64_t root = k.c.v->user_root, changes = k.c.d->tables_gen,
		 forgets = xlate_user_forgets(k.x);

	if (root == seen.root && changes == seen.changes && forgets == seen.forgets)
		return;
	seen.root = root;
	seen.changes = changes;
	seen.forgets = forgets;
	brief_forget(&brief);
}

void brief_touched(uint64_t va, uint32_t access)
{
	if (touched.root != k.c.v->user_root) {
		touched.root = k.c.v->user_root;
		touched.nr = 0;
	}
	if (touched.nr < TOUCHED) {
		touched.page[touched.nr].va = va;
		touched.page[touched.nr++].access = access;
	}
}

bool brief_turn(void)
{
	struct place *p = &places[k.c.v->regs.rip & 0xfff];
	enum brief_exit why;
	bool new;

	if (off || !is_plain())
		return false;
	new = is_new();
	if (p->shorts < SURE && !new)
		return false;
	if (p->skip) {
		p->skip--;
		return false;
	}
	if (k.smp) {
		user_slot_brief();
		smp_enter(); /* what others asked to be forgotten is */
	}
	refresh();
	why = brief_run(&brief, new ? INSNS_NEW : INSNS);
	if (k.smp)
		smp_leave();
	gang_tick();
	k.ctlv->brief_turns++;
	switch (why) {
	case BRIEF_SYSCALL:
		p->fails = 0;
		core_user_syscall(&k.c);
		return true;
	case BRIEF_FAULT:
		p->fails = 0;
		brief_touched(brief.fault_va, brief.fault_error & (PF_WRITE | PF_FETCH));
		core_exception(&k.c, CORE_VEC_PF, brief.fault_error, brief.fault_va);
		return true;
	default:
		if (why == BRIEF_OVER && brief.fault_error == BRIEF_STOP)
			return true;
		p->fails += p->fails < SKIP_LAST;
		p->skip = (uint16_t)(1u << p->fails);
		return false;
	}
}

/*
 * Hints, no accesses: the guest may have answered with a signal, or have mapped something else
 * there by now, and then its accessed and dirty bits are not for us to set.
 */
static bool was_accessed(uint64_t va, uint32_t access)
{
	const uint64_t need = PTE_ACCESSED | (access & PF_WRITE ? PTE_DIRTY : 0);
	uint64_t mfn, flags;

	return core_walk(&k.c, k.c.v->user_root, va, &mfn, &flags) && (flags & need) == need;
}

void brief_map_touched(struct u_slot *s)
{
	uint32_t error;

	if (!touched.nr)
		return;
	for (uint32_t i = 0; touched.root == k.c.v->user_root && i < touched.nr; i++)
		if (was_accessed(touched.page[i].va, touched.page[i].access))
			(void)user_map(s, touched.page[i].va, touched.page[i].access, &error);
	touched.nr = 0;
}

void brief_learn(uint64_t rip, uint32_t cycles, bool by_site)
{
	struct place *p = &places[rip & 0xfff];

	if (off)
		return;
	if (cycles > SHORT + (by_site ? 0 : SHORT_MORE))
		p->shorts = 0;
	else if (p->shorts < SURE)
		p->shorts++;
}
