/* SPDX-License-Identifier: MIT */
/*
 * The debug registers of the guest's kernel. As with those of programs (user_debug.c) a page with
 * such a place is mapped with fewer rights, and code in it is not translated: what touches it
 * stops. Then one instruction is executed as for a guest that steps itself, with the page as it
 * should be, and it is known whether the place was touched or has changed. While the guest has
 * armed none for an address of its kernel, this costs a comparison for each entry.
 *
 * What differs from hardware: reading a place by an operand that begins in front of it is not
 * noticed; a repeated string instruction traps when it is done, and not at all where such an
 * instruction has cleared or copied what was a page table before.
 */
#include "exec/ring3/monitor/kernel_debug.h"

#include <sys/mman.h>

#include "core/cpu/cpu.h"
#include "core/cpu/exception.h"
#include "core/lib/mem.h"
#include "core/mm/mm.h"
#include "exec/ring3/monitor/dr.h"

#define ALL_PROT (PROT_READ | PROT_WRITE | PROT_EXEC)

bool kdebug_on;

static struct {
	uint32_t dr7; /* those for addresses of the window only */
	uint64_t addr[4];
	uint64_t resumed; /* no breakpoint there, once: the guest has set RF */
	bool stepping;
	bool refused; /* what the translator could not fetch is there */
} d;

/* At its next use each of these pages is looked at again. */
static void forget_pages(bool code)
{
	for (unsigned int i = 0; i < 4; i++) {
		uint64_t page = dr_place(d.dr7, d.addr, i) & ~0xfffull;

		switch (dr_kind(d.dr7, i)) {
		case ON_IO:
			break;
		case ON_EXECUTE:
			if (code)
				xlate_invalidate_va_range(k.x, page, 4096);
			break;
		default:
			window_flush_range(page, 4096);
		}
	}
}

int kdebug_prot(uint64_t va)
{
	int prot = ALL_PROT;

	if (d.stepping)
		return prot;
	for (unsigned int i = 0; i < 4; i++) {
		unsigned int on = dr_kind(d.dr7, i);

		if (on == ON_IO || (d.addr[i] ^ va) >> 12)
			continue;
		prot &= on == ON_EXECUTE ? ~PROT_EXEC : on == ON_WRITE ? ~PROT_WRITE : PROT_EXEC;
	}
	return prot;
}

bool kdebug_refuses(uint64_t va)
{
	if (kdebug_prot(va) & PROT_EXEC)
		return false;
	d.refused = true;
	return true;
}

void kdebug_enter(void)
{
	const struct core_vcpu *v = k.c.v;
	struct core_regs *r = &k.c.v->regs;
	uint32_t dr7 = (uint32_t)v->debugreg[7];

	for (unsigned int i = 0; i < 4; i++)
		if (!window_holds(v->debugreg[i] + K_SHIFT))
			dr7 &= ~(3u << (2 * i));
	if (!(dr7 & DR7_ENABLED))
		dr7 = 0;
	if (dr7 != d.dr7 || (dr7 && memcmp(d.addr, v->debugreg, sizeof(d.addr)))) {
		forget_pages(true);
		d.dr7 = dr7;
		memcpy(d.addr, v->debugreg, sizeof(d.addr));
		forget_pages(true);
		kdebug_on = dr7 != 0;
		xlate_store_by_window(k.x, kdebug_on);
	}
	if (!dr7)
		r->rflags &= ~CORE_FLAG_RF;
	d.resumed = r->rflags & CORE_FLAG_RF ? r->rip : ~0ull;
	d.refused = false;
}

static unsigned int breakpoint_at(uint64_t rip)
{
	unsigned int hits = 0;

	for (unsigned int i = 0; i < 4; i++)
		if (dr_kind(d.dr7, i) == ON_EXECUTE && d.addr[i] == rip && rip != d.resumed)
			hits |= 1u << i;
	return hits;
}

static void look(uint64_t values[4])
{
	for (unsigned int i = 0; i < 4; i++) {
		unsigned int on = dr_kind(d.dr7, i);

		values[i] = 0;
		if (on == ON_WRITE || on == ON_ACCESS)
			(void)core_guest_read(&k.c, &values[i], dr_place(d.dr7, d.addr, i),
					      dr_length(d.dr7, i));
	}
}

/* One instruction, with everything accessible. What it left with, if it was not executed. */
static enum xlate_exit step(uint64_t touched, bool written)
{
	struct core_regs *r = &k.c.v->regs;
	const uint64_t own_tf = r->rflags & CORE_FLAG_TF;
	uint64_t before[4], now[4];
	enum xlate_exit why;
	uint32_t hits = own_tf ? CORE_DR6_BS : 0;

	look(before);
	d.stepping = true;
	xlate_step_next(k.x);
	why = enter_guest();
	d.stepping = false;
	forget_pages(false);
	if (why != XLATE_STEP)
		return why;
	r->rflags &= ~CORE_FLAG_RF;
	look(now);
	for (unsigned int i = 0; i < 4; i++) {
		unsigned int on = dr_kind(d.dr7, i);

		if ((on == ON_WRITE || on == ON_ACCESS) &&
		    (now[i] != before[i] ||
		     ((written || on == ON_ACCESS) &&
		      touched - dr_place(d.dr7, d.addr, i) < dr_length(d.dr7, i))))
			hits |= 1u << i;
	}
	if (hits)
		core_exception(&k.c, CORE_VEC_DB, hits, 0);
	return 0;
}

enum xlate_exit kdebug_exit(enum xlate_exit why)
{
	struct core_regs *r = &k.c.v->regs;
	uint64_t touched = ~0ull;
	bool written = false;
	uint32_t hits;

	if (r->rip != d.resumed)
		r->rflags &= ~CORE_FLAG_RF;
	if (why == XLATE_SIGNAL && k.exc_vector == K_WATCHED) {
		k.exc_vector = K_NO_EXC;
		if (!(k.exc_error & 1))
			touched = k.exc_cr2;
		written = k.exc_error & PF_WRITE;
	} else if (why == XLATE_FETCH_FAULT && d.refused) {
		hits = breakpoint_at(r->rip);
		if (hits) {
			core_exception(&k.c, CORE_VEC_DB, hits, 0);
			return 0;
		}
	} else {
		return why;
	}
	return step(touched, written);
}
