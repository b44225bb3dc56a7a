/* SPDX-License-Identifier: MIT */
/*
 * The debug registers of guest programs: hardware breakpoints and watchpoints. The host's own are
 * out of reach for K, so a page with such a place is mapped with fewer rights (not executable, not
 * writable, not at all), and an access to it faults. If it is what is waited for, an instruction at
 * a breakpoint, the guest gets its #DB. Else the page is mapped as it should be for one
 * instruction, which G executes with the trap flag set; then it is known what that wrote, and the
 * page goes again. Around a breakpoint that costs some 20 us for each instruction on the same page,
 * elsewhere nothing.
 *
 * What differs from hardware: an instruction that is met in a watched page and pushes the flags
 * pushes the trap flag, too; reading a place by an operand that begins in front of it is not
 * noticed; neither is what the guest's kernel does there on behalf of the program.
 */
#include "exec/ring3/monitor/user.h"

#include <sys/mman.h>

#include "core/cpu/cpu.h"
#include "core/cpu/exception.h"
#include "core/lib/mem.h"
#include "core/mm/mm.h"
#include "exec/ring3/monitor/dr.h"
#include "exec/ring3/monitor/k.h"

static uint64_t place(const struct u_debug *d, unsigned int i)
{
	return dr_place(d->dr7, d->addr, i);
}

static void forget_pages(const struct u_slot *s)
{
	for (unsigned int i = 0; i < 4; i++)
		if (dr_kind(s->debug.dr7, i) != ON_IO)
			user_forget_page(s, place(&s->debug, i) & ~0xfffull);
}

static void end_step(struct u_slot *s)
{
	s->debug.stepping = false;
	forget_pages(s);
}

/* The page may be mapped with at most these rights. */
int debug_prot(const struct u_slot *s, uint64_t page, int prot)
{
	const struct u_debug *d = &s->debug;

	if (!d->dr7 || d->stepping)
		return prot;
	for (unsigned int i = 0; i < 4; i++) {
		unsigned int on = dr_kind(d->dr7, i);

		if (on == ON_IO || (place(d, i) ^ page) >> 12)
			continue;
		prot &= on == ON_EXECUTE ? ~PROT_EXEC : on == ON_WRITE ? ~PROT_WRITE : 0;
	}
	return prot;
}

void debug_enter(struct u_slot *s)
{
	const struct core_vcpu *v = k.c.v;
	struct u_debug *d = &s->debug;
	uint32_t dr7 = v->debugreg[7] & DR7_ENABLED ? (uint32_t)v->debugreg[7] : 0;

	if (d->stepping && d->thread != v->regs.fs_base)
		end_step(s);
	if (d->dr7 != dr7 || (dr7 && memcmp(d->addr, v->debugreg, sizeof(d->addr)))) {
		/* (what was watched before comes back by itself, with a fault) */
		d->stepping = false;
		d->dr7 = dr7;
		memcpy(d->addr, v->debugreg, sizeof(d->addr));
		forget_pages(s);
	}
	d->resumed = v->regs.rflags & CORE_FLAG_RF ? v->regs.rip : ~0ull;
	d->own_tf = v->regs.rflags & CORE_FLAG_TF;
}

uint64_t debug_flags(const struct u_slot *s)
{
	return s->debug.stepping ? CORE_FLAG_TF : 0;
}

static unsigned int breakpoint_at(const struct u_debug *d, uint64_t rip)
{
	unsigned int hits = 0;

	for (unsigned int i = 0; i < 4; i++)
		if (dr_kind(d->dr7, i) == ON_EXECUTE && d->addr[i] == rip && rip != d->resumed)
			hits |= 1u << i;
	return hits;
}

static void look(const struct u_debug *d, uint64_t values[4])
{
	for (unsigned int i = 0; i < 4; i++) {
		values[i] = 0;
		if (dr_kind(d->dr7, i) == ON_WRITE || dr_kind(d->dr7, i) == ON_ACCESS)
			(void)core_guest_read(&k.c, &values[i], place(d, i), dr_length(d->dr7, i));
	}
}

void debug_came_back(struct u_slot *s, bool goes_on)
{
	struct core_regs *r = &k.c.v->regs;

	if (!s->debug.dr7)
		return;
	/* The host says "resume" with each fault, also where a breakpoint was not looked for. */
	r->rflags &= ~CORE_FLAG_RF;
	if (r->rip == s->debug.resumed)
		r->rflags |= CORE_FLAG_RF;
	if (s->debug.stepping && !s->debug.own_tf)
		r->rflags &= ~CORE_FLAG_TF;
	if (s->debug.stepping && !goes_on)
		end_step(s);
}

bool debug_fault(struct u_slot *s, uint64_t cr2, uint32_t access)
{
	const int all = PROT_READ | PROT_WRITE | PROT_EXEC;
	struct core_regs *r = &k.c.v->regs;
	struct u_debug *d = &s->debug;
	int want = access & PF_FETCH ? PROT_EXEC : access & PF_WRITE ? PROT_WRITE : PROT_READ;
	unsigned int hits;
	uint32_t error;

	if (!d->dr7 || d->stepping || (debug_prot(s, cr2 & ~0xfffull, all) & want) ||
	    !user_allowed(cr2, access))
		return false;
	hits = access & PF_FETCH ? breakpoint_at(d, r->rip) : 0;
	if (hits) {
		core_exception(&k.c, CORE_VEC_DB, hits, 0);
		return true;
	}
	look(d, d->before);
	d->stepping = true;
	d->thread = r->fs_base;
	d->touched = want == PROT_EXEC ? ~0ull : cr2;
	d->written = want == PROT_WRITE;
	(void)user_map(s, cr2, access, &error);
	return true;
}

bool debug_trap(struct u_slot *s)
{
	struct u_debug *d = &s->debug;
	uint64_t rip = k.c.v->regs.rip, now[4];
	unsigned int hits = 0;
	bool on_page = false;

	if (!d->stepping)
		return false;
	look(d, now);
	for (unsigned int i = 0; i < 4; i++) {
		unsigned int on = dr_kind(d->dr7, i);

		if (on == ON_EXECUTE)
			on_page |= (d->addr[i] ^ rip) >> 12 == 0;
		else if (on != ON_IO && (now[i] != d->before[i] ||
					 ((d->written || on == ON_ACCESS) &&
					  d->touched - place(d, i) < dr_length(d->dr7, i))))
			hits |= 1u << i;
	}
	d->resumed = ~0ull;
	if (d->own_tf)
		hits |= CORE_DR6_BS;
	else if (!hits && on_page && !breakpoint_at(d, rip)) {
		/* Still where each instruction has to be looked at: without a fault in between. */
		memcpy(d->before, now, sizeof(now));
		d->touched = ~0ull;
		return true;
	}
	end_step(s);
	if (!hits)
		hits = breakpoint_at(d, rip);
	if (hits)
		core_exception(&k.c, CORE_VEC_DB, hits, 0);
	return true;
}
