/* SPDX-License-Identifier: MIT */
/*
 * Build-time generator of the decode tables: probes Zydis with every (map, opcode, mandatory
 * prefix, W, ModRM) and prints a C file with the tables that insn.h declares. Zydis decides what is
 * valid, how long it is and what it touches; this file only says which instructions are sensitive.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <Zydis/Zydis.h>

#include "exec/ring3/translate/insn.h"

#define MAX_ROWS  2048
#define MAX_DESCS 4096

static ZydisDecoder decoder;
static uint16_t rows[MAX_ROWS][INSN_ROW];
static unsigned int nr_rows;
static uint32_t descs[MAX_DESCS];
static unsigned int nr_descs;

static unsigned int desc_index(uint32_t d)
{
	unsigned int i;

	for (i = 0; i < nr_descs; i++)
		if (descs[i] == d)
			return i;
	if (nr_descs == MAX_DESCS)
		abort();
	descs[nr_descs] = d;
	return nr_descs++;
}

static unsigned int row_index(const uint16_t *row)
{
	unsigned int i;

	for (i = 0; i < nr_rows; i++)
		if (!memcmp(rows[i], row, sizeof(rows[i])))
			return i;
	if (nr_rows == MAX_ROWS)
		abort();
	memcpy(rows[nr_rows], row, sizeof(rows[0]));
	return nr_rows++;
}

/* Instruction-set extensions that a guest never gets to see. */
static int hidden(const ZydisDecodedInstruction *in)
{
	switch (in->meta.isa_ext) {
	case ZYDIS_ISA_EXT_AMD3DNOW:
	case ZYDIS_ISA_EXT_AMD_INVLPGB:
	case ZYDIS_ISA_EXT_AMX_BF16:
	case ZYDIS_ISA_EXT_AMX_INT8:
	case ZYDIS_ISA_EXT_AMX_TILE:
	case ZYDIS_ISA_EXT_CLZERO:
	case ZYDIS_ISA_EXT_ENQCMD:
	case ZYDIS_ISA_EXT_FMA4:
	case ZYDIS_ISA_EXT_HRESET:
	case ZYDIS_ISA_EXT_KEYLOCKER:
	case ZYDIS_ISA_EXT_KEYLOCKER_WIDE:
	case ZYDIS_ISA_EXT_KNC:
	case ZYDIS_ISA_EXT_KNCE:
	case ZYDIS_ISA_EXT_KNCV:
	case ZYDIS_ISA_EXT_MCOMMIT:
	case ZYDIS_ISA_EXT_MONITORX:
	case ZYDIS_ISA_EXT_PADLOCK:
	case ZYDIS_ISA_EXT_PCONFIG:
	case ZYDIS_ISA_EXT_PKU:
	case ZYDIS_ISA_EXT_PT:
	case ZYDIS_ISA_EXT_RDPRU:
	case ZYDIS_ISA_EXT_RTM:
	case ZYDIS_ISA_EXT_SGX:
	case ZYDIS_ISA_EXT_SGX_ENCLV:
	case ZYDIS_ISA_EXT_SMX:
	case ZYDIS_ISA_EXT_SNP:
	case ZYDIS_ISA_EXT_SVM:
	case ZYDIS_ISA_EXT_TBM:
	case ZYDIS_ISA_EXT_TDX:
	case ZYDIS_ISA_EXT_TSX_LDTRK:
	case ZYDIS_ISA_EXT_UINTR:
	case ZYDIS_ISA_EXT_VMFUNC:
	case ZYDIS_ISA_EXT_VTX:
	case ZYDIS_ISA_EXT_WAITPKG:
	case ZYDIS_ISA_EXT_XOP:
		return 1;
	default:
		break;
	}
	switch (in->mnemonic) {
	case ZYDIS_MNEMONIC_MOVDIR64B: /* its destination takes no segment override */
	case ZYDIS_MNEMONIC_RSM:
	case ZYDIS_MNEMONIC_GETSEC:
	case ZYDIS_MNEMONIC_UD0:
	case ZYDIS_MNEMONIC_UD1:
	case ZYDIS_MNEMONIC_UD2:
		return 1;
	default:
		return 0;
	}
}

static int sensitive(const ZydisDecodedInstruction *in)
{
	switch (in->mnemonic) {
	case ZYDIS_MNEMONIC_CLI:
	case ZYDIS_MNEMONIC_STI:
	case ZYDIS_MNEMONIC_PUSHF:
	case ZYDIS_MNEMONIC_PUSHFD:
	case ZYDIS_MNEMONIC_PUSHFQ:
	case ZYDIS_MNEMONIC_POPF:
	case ZYDIS_MNEMONIC_POPFD:
	case ZYDIS_MNEMONIC_POPFQ:
	case ZYDIS_MNEMONIC_IN:
	case ZYDIS_MNEMONIC_OUT:
	case ZYDIS_MNEMONIC_INSB:
	case ZYDIS_MNEMONIC_INSW:
	case ZYDIS_MNEMONIC_INSD:
	case ZYDIS_MNEMONIC_OUTSB:
	case ZYDIS_MNEMONIC_OUTSW:
	case ZYDIS_MNEMONIC_OUTSD:
	case ZYDIS_MNEMONIC_HLT:
	case ZYDIS_MNEMONIC_CPUID:
	case ZYDIS_MNEMONIC_RDMSR:
	case ZYDIS_MNEMONIC_WRMSR:
	case ZYDIS_MNEMONIC_RDPMC:
	case ZYDIS_MNEMONIC_RDTSCP:
	case ZYDIS_MNEMONIC_RDPID:
	case ZYDIS_MNEMONIC_XGETBV:
	case ZYDIS_MNEMONIC_XSETBV:
	case ZYDIS_MNEMONIC_IRET:
	case ZYDIS_MNEMONIC_IRETD:
	case ZYDIS_MNEMONIC_IRETQ:
	case ZYDIS_MNEMONIC_SYSRET:
	case ZYDIS_MNEMONIC_SYSENTER:
	case ZYDIS_MNEMONIC_SYSEXIT:
	case ZYDIS_MNEMONIC_SWAPGS:
	case ZYDIS_MNEMONIC_RDFSBASE:
	case ZYDIS_MNEMONIC_RDGSBASE:
	case ZYDIS_MNEMONIC_WRFSBASE:
	case ZYDIS_MNEMONIC_WRGSBASE:
	case ZYDIS_MNEMONIC_LGDT:
	case ZYDIS_MNEMONIC_LIDT:
	case ZYDIS_MNEMONIC_LLDT:
	case ZYDIS_MNEMONIC_LTR:
	case ZYDIS_MNEMONIC_SGDT:
	case ZYDIS_MNEMONIC_SIDT:
	case ZYDIS_MNEMONIC_SLDT:
	case ZYDIS_MNEMONIC_STR:
	case ZYDIS_MNEMONIC_SMSW:
	case ZYDIS_MNEMONIC_LMSW:
	case ZYDIS_MNEMONIC_INVLPG:
	case ZYDIS_MNEMONIC_INVPCID:
	case ZYDIS_MNEMONIC_WBINVD:
	case ZYDIS_MNEMONIC_INVD:
	case ZYDIS_MNEMONIC_CLTS:
	case ZYDIS_MNEMONIC_LSS:
	case ZYDIS_MNEMONIC_LFS:
	case ZYDIS_MNEMONIC_LGS:
	case ZYDIS_MNEMONIC_LAR:
	case ZYDIS_MNEMONIC_LSL:
	case ZYDIS_MNEMONIC_VERR:
	case ZYDIS_MNEMONIC_VERW:
	case ZYDIS_MNEMONIC_MONITOR:
	case ZYDIS_MNEMONIC_MWAIT:
	case ZYDIS_MNEMONIC_CLAC:
	case ZYDIS_MNEMONIC_STAC:
	case ZYDIS_MNEMONIC_XSAVES:
	case ZYDIS_MNEMONIC_XSAVES64:
	case ZYDIS_MNEMONIC_XRSTORS:
	case ZYDIS_MNEMONIC_XRSTORS64:
	case ZYDIS_MNEMONIC_INT1:
		return 1;
	default:
		break;
	}
	return in->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR;
}

static enum insn_class branch_class(const ZydisDecodedInstruction *in)
{
	int rel = in->raw.imm[0].is_relative;

	switch (in->mnemonic) {
	case ZYDIS_MNEMONIC_JMP:
		return rel ? IC_JMP : IC_JMPI;
	case ZYDIS_MNEMONIC_CALL:
		return rel ? IC_CALL : IC_CALLI;
	case ZYDIS_MNEMONIC_RET:
		return IC_RET;
	case ZYDIS_MNEMONIC_LOOP:
	case ZYDIS_MNEMONIC_LOOPE:
	case ZYDIS_MNEMONIC_LOOPNE:
	case ZYDIS_MNEMONIC_JRCXZ:
	case ZYDIS_MNEMONIC_JECXZ:
	case ZYDIS_MNEMONIC_JCXZ:
		return IC_LOOP;
	default:
		return in->meta.category == ZYDIS_CATEGORY_COND_BR ? IC_JCC : IC_UD;
	}
}

static enum insn_class classify(const ZydisDecodedInstruction *in, const ZydisDecodedOperand *ops)
{
	unsigned int i;

	if (hidden(in))
		return IC_UD;
	if (sensitive(in))
		return IC_SENS;
	for (i = 0; i < in->operand_count; i++) {
		ZydisRegisterClass rc;

		if (ops[i].type != ZYDIS_OPERAND_TYPE_REGISTER ||
		    ops[i].visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN)
			continue;
		rc = ZydisRegisterGetClass(ops[i].reg.value);
		if (rc == ZYDIS_REGCLASS_SEGMENT || rc == ZYDIS_REGCLASS_CONTROL ||
		    rc == ZYDIS_REGCLASS_DEBUG || rc == ZYDIS_REGCLASS_TEST)
			return IC_SENS;
	}
	switch (in->mnemonic) {
	case ZYDIS_MNEMONIC_SYSCALL:
		return IC_SYSCALL;
	case ZYDIS_MNEMONIC_INT:
		return IC_INT;
	case ZYDIS_MNEMONIC_INT3:
		return IC_INT3;
	case ZYDIS_MNEMONIC_ENTER:
		return IC_ENTER;
	case ZYDIS_MNEMONIC_LEAVE:
		return IC_LEAVE;
	case ZYDIS_MNEMONIC_LEA:
		return IC_LEA;
	case ZYDIS_MNEMONIC_XLAT:
	case ZYDIS_MNEMONIC_MASKMOVQ:
	case ZYDIS_MNEMONIC_MASKMOVDQU:
	case ZYDIS_MNEMONIC_VMASKMOVDQU:
		return IC_IMPL;
	case ZYDIS_MNEMONIC_ENDBR32:
	case ZYDIS_MNEMONIC_ENDBR64:
	case ZYDIS_MNEMONIC_RDSSPD: /* no effect while shadow stacks are off */
	case ZYDIS_MNEMONIC_RDSSPQ:
		return IC_NOP;
	default:
		break;
	}
	switch (in->meta.category) {
	case ZYDIS_CATEGORY_CET:
		return IC_UD;
	case ZYDIS_CATEGORY_WIDENOP:
	case ZYDIS_CATEGORY_NOP:
	case ZYDIS_CATEGORY_MPX: /* likewise */
		return IC_NOP;
	case ZYDIS_CATEGORY_STRINGOP:
		return IC_STR;
	case ZYDIS_CATEGORY_COND_BR:
	case ZYDIS_CATEGORY_UNCOND_BR:
	case ZYDIS_CATEGORY_CALL:
	case ZYDIS_CATEGORY_RET:
		return branch_class(in);
	case ZYDIS_CATEGORY_PUSH:
	case ZYDIS_CATEGORY_POP:
		if (ops[0].type == ZYDIS_OPERAND_TYPE_REGISTER)
			return in->meta.category == ZYDIS_CATEGORY_PUSH ? IC_PUSHR : IC_POPR;
		break;
	default:
		break;
	}
	if (in->meta.isa_ext != ZYDIS_ISA_EXT_BASE || in->opcode < 0xa0 || in->opcode > 0xa3 ||
	    in->opcode_map != ZYDIS_OPCODE_MAP_DEFAULT)
		return IC_COPY;
	return IC_MOFFS;
}

static unsigned int reg_kind(const ZydisDecodedOperand *op)
{
	if (op->type != ZYDIS_OPERAND_TYPE_REGISTER)
		return IK_NONE;
	switch (ZydisRegisterGetClass(op->reg.value)) {
	case ZYDIS_REGCLASS_GPR8:
		return IK_GPR8;
	case ZYDIS_REGCLASS_GPR16:
	case ZYDIS_REGCLASS_GPR32:
	case ZYDIS_REGCLASS_GPR64:
		return IK_GPR;
	default:
		return IK_NONE;
	}
}

static unsigned int mem_size_code(unsigned int bytes)
{
	unsigned int i, best = 12;

	for (i = 0; i < 16; i++)
		if (insn_mem_size[i] >= bytes && insn_mem_size[i] < insn_mem_size[best])
			best = i;
	return best;
}

/* Uses the x87, MMX or vector registers, or saves them: #NM while cr0.TS is set. */
static int uses_fpu(const ZydisDecodedInstruction *in, const ZydisDecodedOperand *ops)
{
	unsigned int i;

	switch (in->mnemonic) {
	case ZYDIS_MNEMONIC_FXSAVE:
	case ZYDIS_MNEMONIC_FXSAVE64:
	case ZYDIS_MNEMONIC_FXRSTOR:
	case ZYDIS_MNEMONIC_FXRSTOR64:
	case ZYDIS_MNEMONIC_LDMXCSR:
	case ZYDIS_MNEMONIC_STMXCSR:
	case ZYDIS_MNEMONIC_VLDMXCSR:
	case ZYDIS_MNEMONIC_VSTMXCSR:
	case ZYDIS_MNEMONIC_XSAVE:
	case ZYDIS_MNEMONIC_XSAVE64:
	case ZYDIS_MNEMONIC_XSAVEC:
	case ZYDIS_MNEMONIC_XSAVEC64:
	case ZYDIS_MNEMONIC_XSAVEOPT:
	case ZYDIS_MNEMONIC_XSAVEOPT64:
	case ZYDIS_MNEMONIC_XRSTOR:
	case ZYDIS_MNEMONIC_XRSTOR64:
	case ZYDIS_MNEMONIC_EMMS:
	case ZYDIS_MNEMONIC_VZEROALL:
	case ZYDIS_MNEMONIC_VZEROUPPER:
		return 1;
	default:
		break;
	}
	if (in->meta.isa_ext == ZYDIS_ISA_EXT_X87)
		return 1;
	for (i = 0; i < in->operand_count; i++) {
		if (ops[i].type != ZYDIS_OPERAND_TYPE_REGISTER)
			continue;
		switch (ZydisRegisterGetClass(ops[i].reg.value)) {
		case ZYDIS_REGCLASS_X87:
		case ZYDIS_REGCLASS_MMX:
		case ZYDIS_REGCLASS_XMM:
		case ZYDIS_REGCLASS_YMM:
		case ZYDIS_REGCLASS_ZMM:
		case ZYDIS_REGCLASS_MASK:
			return 1;
		default:
			break;
		}
	}
	return 0;
}

static uint32_t describe(const ZydisDecodedInstruction *in, const ZydisDecodedOperand *ops)
{
	const enum insn_class cls = classify(in, ops);
	uint32_t d = cls;
	unsigned int imm = (in->raw.imm[0].size + in->raw.imm[1].size) / 8, i, code, size = 0;

	for (code = 0; code < 6 && insn_imm_len[code] != imm; code++)
		;
	if (code == 6)
		abort();
	if (cls == IC_MOFFS) /* Zydis calls its address a displacement */
		code = 5;
	d |= code << 5;
	for (i = 0; i < in->operand_count; i++) {
		unsigned int kind = reg_kind(&ops[i]);
		const bool write = ops[i].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;

		if (ops[i].type == ZYDIS_OPERAND_TYPE_MEMORY && cls != IC_LEA) {
			if (ops[i].actions & ZYDIS_OPERAND_ACTION_MASK_READ)
				d |= ID_MEM_READ;
			if (ops[i].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)
				d |= ID_MEM_WRITE;
			if (ops[i].mem.type == ZYDIS_MEMOP_TYPE_VSIB)
				d |= ID_VSIB;
			if (ops[i].visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT &&
			    ops[i].size / 8 > size)
				size = ops[i].size / 8;
		}
		if (kind == IK_NONE)
			continue;
		switch (ops[i].encoding) {
		case ZYDIS_OPERAND_ENCODING_MODRM_REG:
			d |= kind << 8 | (write ? ID_WRITE_REG : 0);
			break;
		case ZYDIS_OPERAND_ENCODING_MODRM_RM:
			d |= kind << 10 | (write ? ID_WRITE_RM : 0);
			break;
		case ZYDIS_OPERAND_ENCODING_OPCODE:
			d |= kind << 12;
			break;
		case ZYDIS_OPERAND_ENCODING_NDSNDD:
			d |= 1u << 14;
			break;
		default:
			continue;
		}
		if (write)
			d |= ID_GPR_WRITE;
	}
	d |= mem_size_code(size) << 21;
	if (uses_fpu(in, ops))
		d |= ID_FPU;
	if (in->attributes & ZYDIS_ATTRIB_ACCEPTS_LOCK)
		d |= ID_LOCK;
	return d;
}

/* One way to fill in what a probe leaves open: vector length, vvvv, masks. */
struct variant {
	unsigned int l, vvvv_ones, b, aaa;
};

struct probe {
	int enc;		     /* IE_* */
	unsigned int map, op, pp, w; /* pp: legacy 0-5, else 0-3 */
};

static unsigned int build(uint8_t *p, const struct probe *pr, const struct variant *v)
{
	static const uint8_t legacy_rep[3] = {0, 0xf3, 0xf2};
	unsigned int n = 0;

	switch (pr->enc) {
	case IE_LEGACY:
		if (pr->pp & 1)
			p[n++] = 0x66;
		if (legacy_rep[pr->pp >> 1])
			p[n++] = legacy_rep[pr->pp >> 1];
		if (pr->w)
			p[n++] = 0x48;
		if (pr->map)
			p[n++] = 0x0f;
		if (pr->map == 2)
			p[n++] = 0x38;
		if (pr->map == 3)
			p[n++] = 0x3a;
		break;
	case IE_VEX3:
		p[n++] = 0xc4;
		p[n++] = 0xe0 | pr->map;
		p[n++] = pr->w << 7 | (v->vvvv_ones ? 0x78 : 0x68) | v->l << 2 | pr->pp;
		break;
	case IE_EVEX:
		p[n++] = 0x62;
		p[n++] = 0xf0 | pr->map;
		p[n++] = pr->w << 7 | (v->vvvv_ones ? 0x78 : 0x68) | 4 | pr->pp;
		p[n++] = v->l << 5 | v->b << 4 | 8 | v->aaa;
		break;
	}
	p[n++] = pr->op;
	return n;
}

static int decode(const uint8_t *p, ZydisDecodedInstruction *in, ZydisDecodedOperand *ops)
{
	return ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, p, 15, in, ops));
}

/* mov to and from control and debug registers have no memory form: mod is ignored. */
static int has_displacement(const uint8_t *insn, unsigned int o_modrm)
{
	ZydisDecodedInstruction in;
	ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
	uint8_t p[32];

	memcpy(p, insn, sizeof(p));
	p[o_modrm] |= 0x80;
	return !decode(p, &in, ops) || in.raw.disp.size == 32;
}

/* By what an EVEX instruction multiplies an 8-bit displacement, by vector length and broadcast. */
struct scales {
	unsigned int n[3][2];
};

static void probe_scale(const uint8_t *insn, unsigned int o_modrm, const struct variant *v,
			struct scales *ret)
{
	ZydisDecodedInstruction in;
	ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
	unsigned int i;
	uint8_t p[32];

	memcpy(p, insn, sizeof(p));
	p[o_modrm] |= 0x40;
	p[o_modrm + ((p[o_modrm] & 7) == 4 ? 2 : 1)] = 1;
	if (v->l > 2 || !decode(p, &in, ops))
		return;
	for (i = 0; i < in.operand_count; i++)
		if (ops[i].type == ZYDIS_OPERAND_TYPE_MEMORY)
			ret->n[v->l][v->b] = (unsigned int)ops[i].mem.disp.value;
}

static uint32_t code_of(unsigned int bytes)
{
	return bytes == 8 ? 3 : bytes == 4 ? 2 : bytes == 2 ? 1 : 0;
}

/* The same as a rule for insn_disp8_scale(); there is no other one. */
static uint32_t describe_scale(const struct scales *s, uint32_t d)
{
	const unsigned int size = insn_mem_size[ID_MEMSIZE(d)];
	unsigned int l, fixed = 1, shifted = 1, ddup = 1, b = 0;

	for (l = 0; l < 3; l++) {
		unsigned int n = s->n[l][0];

		fixed &= !n || n == size;
		shifted &= !n || n == size >> (2 - l);
		ddup &= !n || n == (l ? 16u << l : 8);
		if (s->n[l][1]) {
			if (b && b != s->n[l][1])
				abort();
			b = s->n[l][1];
		}
	}
	/* Compressed and expanded elements: as if there was one only. */
	if (!fixed && !shifted && !ddup) {
		b = s->n[2][0];
		if (s->n[0][0] != b || s->n[1][0] != b || b > 8 || s->n[2][1])
			abort();
		return d | ID_DISP8_L | ID_DISP8_DDUP | code_of(b) << 28;
	}
	if (b && !shifted)
		abort();
	fixed &= !b;
	return d | (fixed ? 0 : shifted ? ID_DISP8_L : ID_DISP8_DDUP) | code_of(b) << 28;
}

/* The union over all variants of one ModRM form: valid if any is. */
static int probe_form(const struct probe *pr, int modrm, uint32_t *ret, int *has_modrm)
{
	ZydisDecodedInstruction in;
	ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
	unsigned int nv = pr->enc == IE_LEGACY ? 1 : pr->enc == IE_VEX3 ? 4 : 32, k, sib;
	struct scales scales = {0};
	int found = 0;
	uint8_t p[32];

	*ret = 0;
	for (k = 0; k < nv; k++) {
		struct variant v = {.vvvv_ones = !(k & 1),
				    .l = k >> 1 & (pr->enc == IE_EVEX ? 3 : 1)};

		if (pr->enc == IE_EVEX) {
			v.b = k >> 3 & 1;
			v.aaa = k >> 4 & 1;
		}
		for (sib = 0; sib < 2; sib++) {
			unsigned int n = build(p, pr, &v);
			uint32_t d;

			memset(p + n, 0, sizeof(p) - n);
			p[n] = modrm;
			if (sib) { /* memory operands that need a SIB byte: [rax + reg2] */
				if (modrm >= 0xc0)
					break;
				p[n] = modrm | 4;
				p[n + 1] = 0x10;
			}
			if (!decode(p, &in, ops))
				continue;
			d = describe(&in, ops);
			if (modrm < 0xc0 && (in.attributes & ZYDIS_ATTRIB_HAS_MODRM) &&
			    !has_displacement(p, n))
				d |= ID_NOMEM;
			if (modrm < 0xc0 && pr->enc == IE_EVEX)
				probe_scale(p, n, &v, &scales);
			*has_modrm = !!(in.attributes & ZYDIS_ATTRIB_HAS_MODRM);
			if (found && ID_IMM(*ret) != ID_IMM(d) && ID_CLASS(d) != IC_UD)
				abort();
			if (!found || ID_CLASS(*ret) == IC_UD)
				*ret = d;
			else if (ID_CLASS(d) != IC_UD)
				*ret |= d & ~(15u << 21);
			if (found && ID_MEMSIZE(d) > ID_MEMSIZE(*ret))
				*ret = (*ret & ~(15u << 21)) | (d & (15u << 21));
			found = 1;
			break;
		}
	}
	if (found && modrm < 0xc0 && pr->enc == IE_EVEX && ID_CLASS(*ret) != IC_UD)
		*ret = describe_scale(&scales, *ret);
	return found;
}

static unsigned int probe_opcode(const struct probe *pr)
{
	uint16_t row[INSN_ROW];
	unsigned int i, any = 0;
	int has_modrm = 0;
	uint32_t d;

	for (i = 0; i < INSN_ROW; i++) {
		int m = i < 64 ? 0xc0 + (int)i : (int)(i - 64) << 3, hm = 0;

		row[i] = desc_index(IC_UD);
		if (!probe_form(pr, m, &d, &hm))
			continue;
		any = 1;
		has_modrm |= hm;
		if (!has_modrm)
			return desc_index(d);
		row[i] = desc_index(d);
	}
	/* An opcode that is not valid at all still ends decoding; its length does not matter. */
	return any ? INSN_HASMODRM | row_index(row) : desc_index(IC_UD);
}

static void print_tab(const char *name, int enc, unsigned int map0, unsigned int maps,
		      unsigned int pps)
{
	unsigned int m, op, pp, w;

	printf("const uint16_t %s[%u * 256 * %u * 2] = {", name, maps, pps);
	for (m = 0; m < maps; m++)
		for (op = 0; op < 256; op++) {
			printf("\n\t");
			for (pp = 0; pp < pps; pp++)
				for (w = 0; w < 2; w++) {
					struct probe pr = {enc, m + map0, op, pp, w};
					unsigned int v = 0;
					int escape =
						enc == IE_LEGACY &&
						((!m && (op == 0x0f || op == 0xc4 || op == 0xc5 ||
							 op == 0x62 || op == 0x66 || op == 0x67 ||
							 (op >= 0x40 && op < 0x50) || op == 0xf0 ||
							 op == 0xf2 || op == 0xf3 || op == 0x2e ||
							 op == 0x36 || op == 0x3e || op == 0x26 ||
							 op == 0x64 || op == 0x65)) ||
						 (m == 1 && (op == 0x38 || op == 0x3a)));

					v = escape ? desc_index(IC_UD) : probe_opcode(&pr);
					printf("%u,", v);
				}
		}
	printf("\n};\n");
}

int main(void)
{
	unsigned int i, j;

	if (!ZYAN_SUCCESS(
		    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)))
		return 1;
	desc_index(IC_UD);
	printf("/* Generated by gen_tables.c from Zydis; do not edit. */\n"
	       "#include \"exec/ring3/translate/insn.h\"\n");
	print_tab("insn_tab_legacy", IE_LEGACY, 0, 4, 6);
	print_tab("insn_tab_vex", IE_VEX3, 1, 3, 4);
	print_tab("insn_tab_evex", IE_EVEX, 1, 6, 4);
	printf("const uint16_t insn_rows[][INSN_ROW] = {\n");
	for (i = 0; i < nr_rows; i++) {
		printf("\t{");
		for (j = 0; j < INSN_ROW; j++)
			printf("%u,", rows[i][j]);
		printf("},\n");
	}
	printf("};\nconst uint32_t insn_descs[] = {");
	for (i = 0; i < nr_descs; i++)
		printf("%s0x%x,", i % 8 ? "" : "\n\t", descs[i]);
	printf("\n};\n/* %u rows, %u descriptors */\n", nr_rows, nr_descs);
	return 0;
}
