/* SPDX-License-Identifier: MIT */
/*
 * Pages that a program is going to touch. Who touches new memory page by page most often gets
 * frames that lie in a row, for that is how kernels take them from their lists. So when two pages
 * in a row had frames in a row M maps what would come next, as a mapping in which nothing is
 * there: registered with the userfaultfd of user_remote.c, each touch of it is a SIGBUS, and K
 * puts the page there by one ioctl if it is the one expected. That saves M's turn and a mapping:
 * three microseconds of a page fault.
 *
 * prepared	mapped, with no right at all
 * active	registered, for all kinds of faults; only then M makes it readable and writable
 *
 * A page is put there only if the guest's entry for it says so, and G reaches none but those. What
 * K thinks the mapping is must be what it is: whatever else is mapped or unmapped in it ends it
 * (the rest may stay: a touch there is an ordinary fault, for which M maps the page over it).
 */
#include "exec/ring3/monitor/user.h"

#include <linux/ioctl.h>
#include <linux/userfaultfd.h>
#include <sys/mman.h>

#include "core/mm/pte.h"
#include "exec/ring3/monitor/k.h"

#define RW	    (PROT_READ | PROT_WRITE)
#define AHEAD_LEAST 8u /* pages that are worth it */

void ahead_unmapped(struct u_slot *s, uint64_t va, uint64_t len)
{
	struct u_ahead *a = &s->ahead;

	if (a->va < va + len && va < a->end)
		a->end = 0;
}

static void came(struct u_ahead *a, uint64_t va, uint64_t at, uint64_t len)
{
	a->row = va == a->next_va && at == a->next_at ? a->row + 1 : 1;
	a->next_va = va + len;
	a->next_at = at + len;
}

bool ahead_fill(struct u_slot *s, uint64_t va, uint64_t at, uint64_t len)
{
	struct uffdio_continue go = {{va, len}, 0, 0};
	struct u_ahead *a = &s->ahead;

	if (!a->active || va < a->va || va + len > a->end || at - va != a->at - a->va)
		return false;
	if (remote_ask(s, UFFDIO_CONTINUE, &go)) {
		a->end = 0;
		return false;
	}
	a->va = va + len;
	a->at = at + len;
	came(a, va, at, len);
	return true;
}

/* Pages from `pte` on, of the same table, of which none is mapped. */
static uint64_t room(const uint64_t *pte)
{
	const struct tlb_table *t = tlb_table_of(pte);
	unsigned int first = ((uintptr_t)pte & 0xfff) / sizeof(*pte), i = first;

	while (i < PTE_ENTRIES && !(t->mapped[i / 64] >> (i % 64) & 1))
		i++;
	return i - first;
}

/* What was prepared is wanted, all but its first `len` bytes, which M maps anyway. */
static void activate(struct u_slot *s, uint64_t len)
{
	struct u_ahead *a = &s->ahead;
	struct uffdio_register reg = {{a->va + len, a->end - a->va - len}, 0, 0};

	reg.mode =
		UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_MINOR | UFFDIO_REGISTER_MODE_WP;
	a->va += len;
	a->at += len;
	a->active = a->va < a->end && !remote_ask(s, UFFDIO_REGISTER, &reg);
	if (a->active)
		order_add(s, SYS_mprotect, a->va, a->end - a->va, RW, 0, 0, 0);
	else
		a->end = 0;
}

void ahead_mapped(struct u_slot *s, const uint64_t *pte, uint64_t va, uint64_t at, uint64_t len,
		  int prot)
{
	struct u_ahead *a = &s->ahead;
	uint64_t pages;

	if (prot != RW || s->no_remote) {
		ahead_unmapped(s, va, len);
		return;
	}
	came(a, va, at, len);
	if (!a->active && va == a->va && at == a->at && va + len <= a->end) {
		activate(s, len);
		return;
	}
	ahead_unmapped(s, va, len);
	pte += len >> 12;
	if (a->row < 2 || ((uintptr_t)pte & 0xfff) == 0)
		return;
	pages = room(pte);
	if (pages > k.nr_frames - (a->next_at >> 12))
		pages = k.nr_frames - (a->next_at >> 12);
	if (pages < AHEAD_LEAST || a->next_va + (pages << 12) > U_VA_END)
		return;
	keep_mapped(s, a->next_va, a->next_at, pages << 12, PROT_NONE);
	order_add(s, SYS_mmap, a->next_va, pages << 12, PROT_NONE, MAP_SHARED | MAP_FIXED,
		  K_FD_MEMORY, a->next_at);
	s->maps += 2;
	a->active = false;
	a->va = a->next_va;
	a->end = a->va + (pages << 12);
	a->at = a->next_at;
}
