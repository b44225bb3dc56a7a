/* SPDX-License-Identifier: MIT */
/*
 * The way from a site to the stub (user_site.c). In place of the syscall there is room for a short
 * jump; the jump to the stub takes seven bytes, and they are where nobody else's are: in the nops
 * that align functions and loops. Two kinds of these are taken:
 *
 *	what follows a return or a jump, as read from the syscall on, instruction by instruction:
 *		never executed, all of it is free;
 *	a nop of four bytes and more as compilers write them, that ends at a multiple of 16:
 *		perhaps executed, so the first two bytes become a jump over the rest.
 *
 * If there is none of seven bytes that a short jump reaches, a smaller one that it does reach holds
 * another jump. In Debian's C library that finds a way for 19 of 20.
 */
#include "core/lib/mem.h"
#include "exec/ring3/monitor/user.h"
#include "exec/ring3/translate/insn.h"

#define PAGE	   4096u
#define HOLE	   7u /* jmp *(address) */
#define NEAR_JUMP  5u
#define SHORT_JUMP 2u
#define SPOTS	   32u

static bool reaches(uint32_t from, uint32_t to)
{
	int32_t rel = (int32_t)(to - from - SHORT_JUMP);

	return rel >= -128 && rel <= 127;
}

static bool is_free(const uint8_t *code, const uint8_t *copy, uint32_t at, uint32_t len)
{
	return memcmp(code + at, copy + at, len) == 0;
}

/* ---- nops that end at a multiple of 16 ---------------------------------------------------- */

#define NOP_MIN 4u
#define NOP_MAX 11u
static const uint8_t nop[][NOP_MAX] = {
	{0x0f, 0x1f, 0x40},
	{0x0f, 0x1f, 0x44},
	{0x66, 0x0f, 0x1f, 0x44},
	{0x0f, 0x1f, 0x80},
	{0x0f, 0x1f, 0x84},
	{0x66, 0x0f, 0x1f, 0x84},
	{0x66, 0x2e, 0x0f, 0x1f, 0x84},
	{0x66, 0x66, 0x2e, 0x0f, 0x1f, 0x84},
};

/* Length of the nop in front of `end`, as an assembler writes it, 0 = none. */
static uint32_t nop_before(const uint8_t *code, uint32_t end)
{
	/* The longest first: some have a shorter one for an end. */
	for (uint32_t n = NOP_MAX; n >= NOP_MIN; n--) {
		if (end < n || memcmp(code + end - n, nop[n - NOP_MIN], n) != 0)
			continue;
		/* Not what may be the end of one with more prefixes. */
		return end > n && (code[end - n - 1] == 0x66 || code[end - n - 1] == 0x2e) ? 0 : n;
	}
	return 0;
}

static bool spot_before(const uint8_t *code, const uint8_t *copy, uint32_t end,
			struct site_spot *ret)
{
	uint32_t n = nop_before(code, end);

	if (!n || !is_free(code, copy, end - n, n))
		return false;
	*ret = (struct site_spot){(uint16_t)(end - n + SHORT_JUMP), (uint16_t)(n - SHORT_JUMP),
				  true};
	return true;
}

/* ---- what is never executed --------------------------------------------------------------- */

static bool is_nop(const struct insn *i)
{
	return !i->rex && !i->lock && !i->rep && i->enc == IE_LEGACY &&
	       ((i->map == 0 && i->op == 0x90) || (i->map == 1 && i->op == 0x1f));
}

/* (the decoder looks at 16 bytes, of which those behind the page are not ours to look at) */
static uint32_t decode(struct insn *i, const uint8_t *code, uint32_t at)
{
	uint8_t end[16] = {0};

	if (at + sizeof(end) <= PAGE)
		return insn_decode(i, code + at, PAGE - at);
	memcpy(end, code + at, PAGE - at);
	return insn_decode(i, end, PAGE - at);
}

/* The length of what aligns: nops, or int3. */
static uint32_t padding(const uint8_t *code, uint32_t at)
{
	uint32_t end = at, n;
	struct insn i;

	while (end < PAGE && (end & 15 || end == at)) {
		n = decode(&i, code, end);
		if (!n || !(code[end] == 0xcc || is_nop(&i)))
			break;
		end += n;
	}
	return end & 15 ? 0 : end - at;
}

static bool goes_away(const struct insn *i)
{
	switch (insn_class(i)) {
	case IC_RET:
	case IC_JMP:
	case IC_JMPI:
		return true;
	default:
		return false;
	}
}

/* ---- both --------------------------------------------------------------------------------- */

static unsigned int spots_near(const uint8_t *code, const uint8_t *copy, uint32_t off,
			       struct site_spot *spot)
{
	uint32_t at = off + 2, n;
	unsigned int nr = 0;
	bool away = false;
	struct insn i;

	for (; at < PAGE && reaches(off, at); at += n) {
		uint32_t room = away ? padding(code, at) : 0;

		if (room >= SHORT_JUMP && nr < SPOTS && is_free(code, copy, at, room))
			spot[nr++] = (struct site_spot){(uint16_t)at, (uint16_t)room, false};
		n = decode(&i, code, at);
		if (!n || insn_class(&i) == IC_LONG)
			break;
		away = goes_away(&i);
	}
	for (uint32_t end = 16; end <= PAGE && nr < SPOTS; end += 16)
		if (spot_before(code, copy, end, &spot[nr]) && reaches(off, spot[nr].at))
			nr++;
	return nr;
}

static bool overlap(const struct site_spot *a, const struct site_spot *b)
{
	return a->at < b->at + b->room && b->at < a->at + a->room;
}

/* A hole for a relay. */
static bool hole_for(const uint8_t *code, const uint8_t *copy, const struct site_spot *relay,
		     struct site_spot *ret)
{
	if (relay->room < SHORT_JUMP)
		return false;
	for (uint32_t end = 16; end <= PAGE; end += 16)
		if (spot_before(code, copy, end, ret) && ret->room >= HOLE &&
		    !overlap(ret, relay) &&
		    (relay->room >= NEAR_JUMP || reaches(relay->at, ret->at)))
			return true;
	return false;
}

bool site_find_way(const uint8_t *code, const uint8_t *copy, uint32_t off, struct site_way *ret)
{
	struct site_spot spot[SPOTS];
	unsigned int nr;

	memset(ret, 0, sizeof(*ret));
	/* (behind an operand-size prefix a jump is something else on some processors) */
	if (off > PAGE - 2 || code[off] != 0x0f || code[off + 1] != 0x05 ||
	    (off && code[off - 1] == 0x66))
		return false;
	/*
	 * The nearest first, be it large or small: a large one further on may be the only one that
	 * another system call reaches.
	 */
	nr = spots_near(code, copy, off, spot);
	for (unsigned int i = 0; i < nr; i++) {
		if (spot[i].room >= HOLE) {
			ret->hole = spot[i];
			return true;
		}
		if (hole_for(code, copy, &spot[i], &ret->hole)) {
			ret->relay = spot[i];
			return true;
		}
	}
	return false;
}

static void jump_short(uint8_t *copy, uint32_t from, uint32_t to)
{
	copy[from + 1] = (uint8_t)(to - from - SHORT_JUMP);
	copy[from] = 0xeb;
}

static void step_over(uint8_t *copy, const struct site_spot *s)
{
	if (s->stepped_on)
		jump_short(copy, s->at - SHORT_JUMP, s->at + s->room);
}

void site_write_way(uint8_t *copy, uint32_t off, const struct site_way *way, uint32_t entry)
{
	const struct site_spot *relay = &way->relay, *hole = &way->hole;
	uint32_t rel = hole->at - relay->at - NEAR_JUMP;

	step_over(copy, hole);
	memcpy(copy + hole->at, (const uint8_t[]){0xff, 0x24, 0x25}, 3);
	memcpy(copy + hole->at + 3, &entry, 4);
	if (!relay->room) {
		jump_short(copy, off, hole->at);
		return;
	}
	step_over(copy, relay);
	if (relay->room >= NEAR_JUMP) {
		copy[relay->at] = 0xe9;
		memcpy(copy + relay->at + 1, &rel, 4);
	} else {
		jump_short(copy, relay->at, hole->at);
	}
	jump_short(copy, off, relay->at);
}
