/* SPDX-License-Identifier: MIT */
/* Small pieces of host code, and their recovery notes. */
#include "exec/ring3/translate/emit.h"

void em_begin(struct em *e)
{
	e->insn_start = e->p;
	e->nsteps = 0;
	e->ambient = e->ambient_next = 0;
}

void em_end(struct em *e, unsigned int glen)
{
	unsigned int hlen = (unsigned int)(e->p - e->insn_start);

	if (!e->nsteps && (!glen || hlen > 15)) {
		uint8_t *p = e->p;

		e->p = e->insn_start;
		em_step(e, 0);
		e->p = p;
	}
	if (!e->nsteps) {
		*e->note++ = (uint8_t)(glen | hlen << 4);
		return;
	}
	e->note[0] = (uint8_t)(e->nsteps << 4);
	e->note[1] = (uint8_t)glen;
	e->note[2 + 4 * (e->nsteps - 1)] = (uint8_t)(e->p - e->step_start);
	e->note += 2 + 4 * e->nsteps;
}

void em_longer(struct em *e, unsigned int hlen)
{
	uint8_t *n = e->note;
	const unsigned int glen = n[-1] & 15;

	if (hlen <= 15) {
		n[-1] = (uint8_t)(glen | hlen << 4);
		return;
	}
	n[-1] = 1 << 4;
	n[0] = (uint8_t)glen;
	n[1] = (uint8_t)hlen;
	n[2] = n[3] = n[4] = 0;
	e->note += 5;
}

void em_step(struct em *e, uint32_t act)
{
	uint8_t *s;

	if (ACT_GET_FIX(act) != FIX_REL8)
		act |= e->ambient | (act & ACT_NEXT ? e->ambient_next : 0);
	if (e->nsteps && act == e->last_act && e->p - e->step_start < 200)
		return;
	s = e->note + 2 + 4 * e->nsteps;
	if (e->nsteps)
		s[-4] = (uint8_t)(e->p - e->step_start);
	s[0] = 0;
	s[1] = (uint8_t)act;
	s[2] = (uint8_t)(act >> 8);
	s[3] = (uint8_t)(act >> 16);
	e->nsteps++;
	e->last_act = act;
	e->step_start = e->p;
}

static void abs_operand(struct em *e, unsigned int op, unsigned int r, uint32_t addr)
{
	e1(e, 0x48 | (r >> 3 & 1) << 2);
	e1(e, op);
	e1(e, 0x04 | (r & 7) << 3);
	e1(e, 0x25);
	e4(e, addr);
}

void em_store(struct em *e, uint32_t addr, unsigned int r)
{
	abs_operand(e, 0x89, r, addr);
}

void em_load(struct em *e, unsigned int r, uint32_t addr)
{
	abs_operand(e, 0x8b, r, addr);
}

void em_movi(struct em *e, unsigned int r, uint64_t v)
{
	if (v <= 0xffffffff) {
		if (r >= 8)
			e1(e, 0x41);
		e1(e, 0xb8 | (r & 7));
		e4(e, v);
	} else if (fits32(v)) {
		e1(e, 0x48 | r >> 3);
		e1(e, 0xc7);
		e1(e, 0xc0 | (r & 7));
		e4(e, v);
	} else {
		e1(e, 0x48 | r >> 3);
		e1(e, 0xb8 | (r & 7));
		e8(e, v);
	}
}

void em_lea2(struct em *e, unsigned int dst, unsigned int base, unsigned int index)
{
	e1(e, 0x48 | (dst >> 3) << 2 | (index >> 3) << 1 | base >> 3);
	e1(e, 0x8d);
	e1(e, ((base & 7) == 5 ? 0x44 : 0x04) | (dst & 7) << 3);
	e1(e, (index & 7) << 3 | (base & 7));
	if ((base & 7) == 5)
		e1(e, 0);
}

void em_rsp_from(struct em *e, unsigned int r, uint32_t act_before, uint32_t act_between)
{
	em_step(e, act_before);
	em_movi(e, R_RSP, XLATE_SHIFT);
	em_step(e, act_between);
	em_lea2(e, R_RSP, R_RSP, r);
}

void em_guest_rsp(struct em *e, unsigned int r, uint32_t act)
{
	em_step(e, act);
	em_movi(e, r, -(uint64_t)XLATE_SHIFT);
	em_step(e, act);
	em_lea2(e, r, R_RSP, r);
}

unsigned int em_scratch(const struct em *e)
{
	static const uint8_t regs[8] = {R_RCX, R_RSI, R_RDI, R_R8, R_R9, R_R10, R_R11, R_RDX};
	unsigned int k;

	for (k = 0; k < 8; k++)
		if (e->x->written >> regs[k] & 1)
			return regs[k];
	return regs[e->pc * 0x9e3779b97f4a7c15ull >> 61];
}

void em_watch(struct em *e, const struct insn *i)
{
	struct xlate *x = e->x;
	const uint32_t d = i->desc;

	/* another function, or the end of this one was translated long ago */
	if (e->pc - x->written_near > 64 && x->written_near - e->pc > 256)
		x->written = 0;
	x->written_near = e->pc + i->len;
	if ((d & ID_WRITE_REG) && ID_REG(d) == IK_GPR)
		x->written |= 1u << insn_reg(i);
	if ((d & ID_WRITE_RM) && ID_RM(d) == IK_GPR && i->modrm >= 0xc0)
		x->written |= 1u << insn_rm(i);
	if ((d & ID_GPR_WRITE) && ID_OPREG(d) == IK_GPR)
		x->written |= 1u << ((i->op & 7) | i->b);
}

void em_align(struct em *e, unsigned int n)
{
	static const uint8_t nops[9][9] = {
		{0x90},
		{0x66, 0x90},
		{0x0f, 0x1f, 0x00},
		{0x0f, 0x1f, 0x40, 0x00},
		{0x0f, 0x1f, 0x44, 0x00, 0x00},
		{0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00},
		{0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00},
		{0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00},
		{0x66, 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00},
	};
	unsigned int left = -here(e) & (n - 1), k;

	for (; left; left -= k) {
		k = left < 9 ? left : 9;
		ebytes(e, nops[k - 1], k);
	}
}

void em_edge(struct em *e, uint64_t target)
{
	struct local_edge *l = &e->edges[e->nr_edges++];

	l->site = here(e);
	l->target = target;
	l->call = false;
	e4(e, 0);
}

const uint8_t em_call_entry[CALL_ENTRY] = {0x48, 0x8d, 0x64, 0x24, 0x08};

void em_call_edge(struct em *e, uint64_t target)
{
	em_edge(e, target);
	e->edges[e->nr_edges - 1].call = true;
}

/* movl $v, addr */
static uint8_t *put_movl(uint8_t *p, uint32_t addr, uint32_t v)
{
	*p++ = 0xc7;
	*p++ = 0x04;
	*p++ = 0x25;
	__builtin_memcpy(p, &addr, 4);
	__builtin_memcpy(p + 4, &v, 4);
	return p + 8;
}

static void put_jmp(uint8_t *p, uint32_t target)
{
	uint32_t rel = target - (uint32_t)(uintptr_t)(p + 5);

	*p = 0xe9;
	__builtin_memcpy(p + 1, &rel, 4);
}

uint32_t em_exit_stub(struct em *e, uint32_t info, uint64_t rip)
{
	uint8_t *p = cold_alloc(e->x, 40);
	uint32_t stub = (uint32_t)(uintptr_t)p;

	p = put_movl(p, XLATE_VCPU + XV_EXIT_RIP, (uint32_t)rip);
	p = put_movl(p, XLATE_VCPU + XV_EXIT_RIP + 4, (uint32_t)(rip >> 32));
	p = put_movl(p, XLATE_VCPU + XV_EXIT_INFO, info);
	put_jmp(p, TRAMP_EXIT);
	return stub;
}

void em_jmp(struct em *e, uint32_t host)
{
	put_jmp(e->p, host);
	e->p += 5;
}

void em_exit(struct em *e, uint32_t info, uint64_t rip)
{
	em_jmp(e, em_exit_stub(e, info, rip));
}

/* The exit stub of an unlinked edge. */
uint32_t xlate_edge_stub(struct xlate *x, uint32_t edge)
{
	struct edge *d = &x->edges[edge];

	if (!d->stub) {
		uint8_t *p = cold_alloc(x, d->call ? 16 + CALL_ENTRY : 16);

		d->stub = (uint32_t)(uintptr_t)p;
		if (d->call) {
			__builtin_memcpy(p, em_call_entry, CALL_ENTRY);
			p += CALL_ENTRY;
		}
		p = put_movl(p, XLATE_VCPU + XV_EXIT_INFO, XC_EDGE | edge << 8);
		put_jmp(p, TRAMP_EXIT);
	}
	return d->stub;
}
