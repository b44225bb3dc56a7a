/* SPDX-License-Identifier: MIT */
/*
 * insn_decode(): walks prefixes, opcode map, ModRM, SIB; everything specific comes from the
 * generated tables.
 */
#include "exec/ring3/translate/insn.h"

static int64_t load_signed(const uint8_t *p, unsigned int len)
{
	uint64_t v = 0;
	unsigned int k;

	for (k = 0; k < len; k++)
		v |= (uint64_t)p[k] << (8 * k);
	if (len && len < 8)
		v = (uint64_t)((int64_t)(v << (64 - 8 * len)) >> (64 - 8 * len));
	return (int64_t)v;
}

int64_t insn_disp(const struct insn *i)
{
	return load_signed(i->bytes + i->o_disp, i->disp_len);
}

int64_t insn_imm(const struct insn *i)
{
	return load_signed(i->bytes + i->o_imm, i->imm_len);
}

static unsigned int invalid(struct insn *i, unsigned int len)
{
	i->desc = IC_UD;
	i->len = len ? len : 1;
	i->o_modrm = 0;
	i->has_sib = 0;
	return i->len;
}

/* Bytes are missing, or they would not fit into any instruction. */
static unsigned int too_short(struct insn *i, unsigned int avail)
{
	if (avail < INSN_MAX)
		return 0;
	invalid(i, INSN_MAX);
	i->desc = IC_LONG;
	return INSN_MAX;
}

/* Legacy prefixes and REX. Returns the offset of what follows. */
static unsigned int walk_prefixes(struct insn *i, const uint8_t *p, unsigned int avail)
{
	unsigned int n = 0;
	uint8_t rex = 0;

	for (; n < avail; n++) {
		switch (p[n]) {
		case 0x66:
			i->p66 = 1;
			break;
		case 0x67:
			i->p67 = 1;
			break;
		case 0xf0:
			i->lock = 1;
			break;
		case 0xf2:
		case 0xf3:
			i->rep = p[n];
			break;
		case 0x64:
		case 0x65:
			i->seg = p[n];
			i->anyseg = 1;
			break;
		case 0x26:
		case 0x2e:
		case 0x36:
		case 0x3e: /* ignored in 64-bit mode; they do not cancel an earlier fs or gs */
			i->anyseg = 1;
			break;
		default:
			if ((p[n] & 0xf0) != 0x40)
				goto out;
			rex = p[n]; /* counts only directly before the opcode */
			continue;
		}
		rex = 0;
	}
out:
	i->rex = rex;
	i->npfx = n - !!rex;
	return n;
}

/* The first-level table value for what starts at p[n]; sets the fields; *pn = opcode offset + 1. */
static unsigned int opcode_legacy(struct insn *i, const uint8_t *p, unsigned int *pn)
{
	unsigned int n = *pn, pp;

	i->w = i->rex >> 3 & 1;
	i->r = (i->rex & 4) << 1;
	i->xb = (i->rex & 2) << 2;
	i->b = (i->rex & 1) << 3;
	i->map = 0;
	if (p[n] == 0x0f) {
		n++;
		i->map = 1;
		if (p[n] == 0x38 || p[n] == 0x3a) {
			i->map = p[n] == 0x38 ? 2 : 3;
			n++;
		}
	}
	i->op = p[n];
	i->o_op = n;
	*pn = n + 1;
	pp = i->p66 | (i->rep ? i->rep == 0xf3 ? 2 : 4 : 0);
	n = i->op;
	if (!i->map && n == 0x90 && i->b)
		n = 0x91; /* xchg r8, rax: the only opcode whose meaning depends on REX.B */
	return insn_tab_legacy[((i->map * 256u + n) * 6 + pp) * 2 + i->w];
}

static unsigned int opcode_vector(struct insn *i, const uint8_t *p, unsigned int *pn)
{
	unsigned int n = *pn;
	uint8_t b1 = p[n + 1], b2;

	if (i->rex || i->p66 || i->rep || i->lock)
		return 0;
	if (p[n] == 0xc5) {
		i->enc = IE_VEX2;
		i->map = 1;
		b2 = b1 & 0x7f;
		i->r = b1 & 0x80 ? 0 : 8;
		n += 2;
	} else {
		b2 = p[n + 2];
		i->r = b1 & 0x80 ? 0 : 8;
		i->xb = b1 & 0x40 ? 0 : 8;
		i->b = b1 & 0x20 ? 0 : 8;
		i->w = b2 >> 7;
		if (p[n] == 0xc4) {
			i->enc = IE_VEX3;
			i->map = b1 & 0x1f;
			n += 3;
		} else {
			i->enc = IE_EVEX;
			i->map = b1 & 7;
			n += 4;
			if ((b1 & 8) || !(b2 & 4)) {
				*pn = n; /* these bytes must be there to say so */
				return 0;
			}
		}
	}
	i->vvvv = ~b2 >> 3 & 15;
	i->op = p[n];
	i->o_op = n;
	*pn = n + 1;
	if (!i->map || i->map > (i->enc == IE_EVEX ? 6 : 3))
		return 0;
	n = ((i->map - 1) * 256u + i->op) * 8 + (b2 & 3) * 2 + i->w;
	return i->enc == IE_EVEX ? insn_tab_evex[n] : insn_tab_vex[n];
}

static unsigned int walk_modrm(struct insn *i, unsigned int v, unsigned int n)
{
	const uint16_t *row = insn_rows[v & ~INSN_HASMODRM];

	i->o_modrm = n;
	i->modrm = i->bytes[n++];
	if (i->modrm >= 0xc0) {
		i->desc = insn_descs[row[i->modrm - 0xc0]];
		return n;
	}
	i->desc = insn_descs[row[64 + (i->modrm >> 3 & 7)]];
	if (i->desc & ID_NOMEM) {
		i->modrm |= 0xc0;
		return n;
	}
	if ((i->modrm & 7) == 4) {
		i->has_sib = 1;
		i->sib = i->bytes[n++];
	}
	i->o_disp = n;
	if ((i->modrm & 0xc0) == 0x40)
		i->disp_len = 1;
	else if ((i->modrm & 0xc0) == 0x80 || (i->modrm & 0xc7) == 5 ||
		 (i->has_sib && (i->sib & 7) == 5 && i->modrm < 0x40))
		i->disp_len = 4;
	return n + i->disp_len;
}

unsigned int insn_decode(struct insn *i, const uint8_t *src, unsigned int avail)
{
	uint8_t *p = i->bytes;
	unsigned int n, v;

	if (avail > INSN_MAX)
		avail = INSN_MAX;
	__builtin_memset(i, 0, sizeof(*i));
	__builtin_memcpy(p, src, 16);

	n = walk_prefixes(i, p, avail);
	if (n >= avail)
		return too_short(i, avail);
	if (p[n] == 0xc4 || p[n] == 0xc5 || p[n] == 0x62) {
		v = opcode_vector(i, p, &n);
	} else if (p[n] == 0x8f && (p[n + 1] & 0x1f) >= 8) {
		return n + 2 > avail ? too_short(i, avail) : invalid(i, n + 2); /* XOP */
	} else {
		v = opcode_legacy(i, p, &n);
	}
	if (v & INSN_HASMODRM)
		n = walk_modrm(i, v, n);
	else
		i->desc = insn_descs[v];
	i->o_imm = n;
	i->imm_len = insn_imm_len[ID_IMM(i->desc)];
	if (ID_CLASS(i->desc) == IC_MOFFS && i->p67)
		i->imm_len = 4;
	n += i->imm_len;
	if (n > avail)
		return too_short(i, avail);
	i->len = n;
	if ((i->desc & ID_VSIB) && !i->has_sib)
		return invalid(i, n);
	if (i->lock && !((i->desc & ID_LOCK) && i->o_modrm && i->modrm < 0xc0))
		return invalid(i, n);
	return ID_CLASS(i->desc) == IC_UD ? invalid(i, n) : n;
}
