/* SPDX-License-Identifier: MIT */
/*
 * The prologue of a block whose source may change at any time: compares the source bytes with what
 * they were, eight at a time, without touching flags: a + (-b) by lea, then jrcxz.
 */
#include "exec/ring3/translate/emit.h"

#define ABS(o) (XLATE_VCPU + (o))

/* rax = n (1, 2, 4, 8) bytes at guest address gva, zero-extended */
static void load_source(struct em *e, uint64_t gva, unsigned int n)
{
	bool near = fits32(gva);

	if (!near)
		em_movi(e, R_RAX, gva);
	em_step(e, ACT_SP0(R_RAX) | ACT_SP1(R_RCX) | ACT_FIX(FIX_FETCH));
	e1(e, 0x65);
	if (n == 8)
		e1(e, 0x48);
	if (n <= 2)
		e1(e, 0x0f);
	e1(e, n == 1 ? 0xb6 : n == 2 ? 0xb7 : 0x8b);
	if (near) {
		e1(e, 0x04);
		e1(e, 0x25);
		e4(e, gva);
	} else {
		e1(e, 0x00);
	}
}

static uint64_t snapshot(const uint8_t *p, unsigned int n)
{
	uint64_t v = 0;

	while (n--)
		v = v << 8 | p[n];
	return v;
}

void op_verify(struct em *e, unsigned int len)
{
	const uint32_t act = ACT_SP0(R_RAX) | ACT_SP1(R_RCX);
	const uint8_t *src = e->src + (e->pc - e->src_gva);
	uint8_t *stub = cold_alloc(e->x, 48), *hot;
	unsigned int done = 0, n;

	/* the exit: registers back, then leave */
	hot = e->p;
	e->p = stub;
	em_load(e, R_RAX, ABS(XV_SP0));
	em_load(e, R_RCX, ABS(XV_SP1));
	e1(e, 0xc7);
	e1(e, 0x04);
	e1(e, 0x25);
	e4(e, ABS(XV_EXIT_INFO));
	e4(e, XC_VERIFY | e->fi << 8);
	e1(e, 0xe9);
	e4(e, TRAMP_EXIT - (here(e) + 4));
	e->p = hot;

	em_begin(e);
	em_step(e, 0);
	em_store(e, ABS(XV_SP0), R_RAX);
	em_store(e, ABS(XV_SP1), R_RCX);
	em_end(e, 0);
	while (done < len) {
		uint32_t rel;

		n = len - done >= 8 ? 8 : len - done >= 4 ? 4 : len - done >= 2 ? 2 : 1;
		em_begin(e);
		em_step(e, act);
		load_source(e, e->pc + done, n);
		em_step(e, act);
		em_movi(e, R_RCX, -snapshot(src + done, n));
		em_lea2(e, R_RCX, R_RCX, R_RAX);
		e1(e, 0xe3); /* jrcxz over the exit */
		e1(e, 5);
		rel = (uint32_t)(uintptr_t)stub - (here(e) + 5);
		e1(e, 0xe9);
		e4(e, rel);
		em_end(e, 0);
		done += n;
	}
	em_begin(e);
	em_step(e, act);
	em_load(e, R_RCX, ABS(XV_SP1));
	em_load(e, R_RAX, ABS(XV_SP0));
	em_end(e, 0);
}
