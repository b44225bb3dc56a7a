/* SPDX-License-Identifier: MIT */
/*
 * How programs begin: what an empty process is given before its guest thread runs for the first
 * time. A fork's child and an exec's program of a kind that was seen before touch the same pages
 * first, so these are remembered by the address at which such a process begins. The second one of
 * its kind is given only what it touches, one page after the other, and so shows what that is;
 * those after it get that and nothing else. Text pages are neighbours in the program, but hardly
 * ever in memory, so each is a mapping of the host that takes as long as a fifth of a fault.
 *
 * Nothing but hints: what is mapped is what the guest's tables allow. A program that touches more
 * than is remembered gets neighbours at each fault, as all others do (user_map.c).
 */
#include "exec/ring3/monitor/user.h"

#include "core/cpu/cpu.h"
#include "core/mm/mm.h"
#include "exec/ring3/monitor/k.h"

#define KINDS	 64u
#define PAGES	 24u
#define LEARNING 2u   /* the one that is learned from */
#define FORGET	 250u /* so often used it is learned anew */

/* In a page's address: the first touch was a store. Where that is refused, as after a fork, the
 * page is about to become another one, and not worth mapping. */
#define BY_STORE 1ull

static struct kind {
	uint64_t rip;
	uint8_t seen;
	uint8_t nr;
	bool many;
	uint64_t page[PAGES];
} kinds[KINDS];

static struct kind *kind_of(const struct u_slot *s)
{
	struct kind *n = s->begun_at ? &kinds[(s->begun_at * 0x9e3779b97f4a7c15ull) >> 58] : NULL;

	return n && n->rip == s->begun_at ? n : NULL;
}

static bool listed(const struct kind *n, uint64_t page)
{
	for (unsigned int i = 0; i < n->nr; i++)
		if ((n->page[i] & ~0xfffull) == page)
			return true;
	return false;
}

void begin_touched(struct u_slot *s, uint64_t va, uint32_t access)
{
	struct kind *n = kind_of(s);

	va &= ~0xfffull;
	if (!n || n->seen < LEARNING || n->many || listed(n, va))
		return;
	if (n->nr == PAGES)
		n->many = true;
	else
		n->page[n->nr++] = va | (access & PF_WRITE ? BY_STORE : 0);
}

bool begin_wants(const struct u_slot *s, uint64_t va)
{
	const struct kind *n = kind_of(s);

	return !n || n->seen < LEARNING || n->many || listed(n, va);
}

static bool has(const struct u_slot *s, uint64_t va)
{
	uint64_t upper, *pte;

	pte = tlb_follow(k.c.v->user_root, va, (int)user_number_of(s), &upper);
	return pte && user_may_have(s, pte);
}

static void look_up(struct u_slot *s, uint64_t rip)
{
	struct kind *n;

	if (s->begun_at)
		return;
	s->begun_at = rip;
	n = &kinds[(rip * 0x9e3779b97f4a7c15ull) >> 58];
	if (n->rip != rip || n->seen == FORGET) {
		n->rip = rip;
		n->seen = 0;
		n->nr = 0;
		n->many = false;
	}
	n->seen++;
}

bool begin_run(struct u_slot *s, uint32_t *ret_error)
{
	struct core_regs *r = &k.c.v->regs;
	const struct kind *n;
	uint32_t error;

	look_up(s, r->rip);
	if (!has(s, r->rip) && !user_map(s, r->rip, PF_FETCH, ret_error) && r->rip >= U_FIRST &&
	    r->rip < U_VA_END && !user_allowed(r->rip, PF_FETCH))
		return false;
	s->fresh = false;
	(void)user_map(s, r->gpr[R_RSP], PF_WRITE, &error);
	n = kind_of(s);
	for (unsigned int i = 0; n && i < n->nr; i++)
		if (!(n->page[i] & BY_STORE) && !has(s, n->page[i]))
			(void)user_map(s, n->page[i], 0, &error);
	return true;
}
