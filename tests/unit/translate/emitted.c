/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <Zydis/Zydis.h>

#include "emitted.h"
#include "exec/ring3/translate/notes.h"

static void complain(uint64_t at, const uint8_t *p, unsigned int len, const char *what)
{
	unsigned int k;

	printf("emitted code at %#lx: %s:", at, what);
	for (k = 0; k < len; k++)
		printf(" %02x", p[k]);
	printf("\n");
}

/* Instructions that would show or change host state, or leave for the host's kernel. */
static bool forbidden(const ZydisDecodedInstruction *in, const ZydisDecodedOperand *ops)
{
	unsigned int i;

	switch (in->meta.category) {
	case ZYDIS_CATEGORY_INTERRUPT:
	case ZYDIS_CATEGORY_IO:
	case ZYDIS_CATEGORY_IOSTRINGOP:
	case ZYDIS_CATEGORY_SYSCALL:
	case ZYDIS_CATEGORY_SYSRET:
	case ZYDIS_CATEGORY_RDWRFSGS:
	case ZYDIS_CATEGORY_VTX:
	case ZYDIS_CATEGORY_SGX:
	case ZYDIS_CATEGORY_PKU:
	case ZYDIS_CATEGORY_UINTR:
	case ZYDIS_CATEGORY_SMAP:
	case ZYDIS_CATEGORY_ENQCMD:
	case ZYDIS_CATEGORY_AMX_TILE:
	case ZYDIS_CATEGORY_KEYLOCKER:
		return true;
	default:
		break;
	}
	switch (in->mnemonic) {
	case ZYDIS_MNEMONIC_CPUID:
	case ZYDIS_MNEMONIC_HLT:
	case ZYDIS_MNEMONIC_PUSHF: /* (pushfq is completed from what the core knows) */
	case ZYDIS_MNEMONIC_POPF:
	case ZYDIS_MNEMONIC_POPFQ:
	case ZYDIS_MNEMONIC_SGDT:
	case ZYDIS_MNEMONIC_SIDT:
	case ZYDIS_MNEMONIC_SLDT:
	case ZYDIS_MNEMONIC_STR:
	case ZYDIS_MNEMONIC_SMSW:
	case ZYDIS_MNEMONIC_LAR:
	case ZYDIS_MNEMONIC_LSL:
	case ZYDIS_MNEMONIC_VERR:
	case ZYDIS_MNEMONIC_VERW:
	case ZYDIS_MNEMONIC_RDTSCP:
	case ZYDIS_MNEMONIC_RDPID:
	case ZYDIS_MNEMONIC_XGETBV:
	case ZYDIS_MNEMONIC_XBEGIN:
	case ZYDIS_MNEMONIC_MOVDIR64B:
		return true;
	default:
		break;
	}
	if (in->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR)
		return true;
	for (i = 0; i < in->operand_count; i++) {
		ZydisRegisterClass rc;

		if (ops[i].type != ZYDIS_OPERAND_TYPE_REGISTER ||
		    ops[i].visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN)
			continue;
		rc = ZydisRegisterGetClass(ops[i].reg.value);
		if (rc == ZYDIS_REGCLASS_SEGMENT || rc == ZYDIS_REGCLASS_CONTROL ||
		    rc == ZYDIS_REGCLASS_DEBUG)
			return true;
	}
	return false;
}

/* An operand must be shifted (gs: or fs:, or by rsp) or be the translator's own. */
static bool operand_ok(const ZydisDecodedInstruction *in, const ZydisDecodedOperand *o)
{
	bool prefixed =
		in->attributes & (ZYDIS_ATTRIB_HAS_SEGMENT_FS | ZYDIS_ATTRIB_HAS_SEGMENT_GS);
	int64_t d = o->mem.disp.has_displacement ? o->mem.disp.value : 0;

	if (o->mem.type == ZYDIS_MEMOP_TYPE_AGEN || in->mnemonic == ZYDIS_MNEMONIC_NOP)
		return true;
	if (in->meta.category == ZYDIS_CATEGORY_STRINGOP)
		return true; /* shifted by the instructions around it: the notes test proves it */
	if (prefixed)
		return true;
	if (o->mem.base == ZYDIS_REGISTER_RSP)
		return true;
	if (o->mem.base == ZYDIS_REGISTER_NONE && o->mem.index == ZYDIS_REGISTER_NONE)
		return d >= XLATE_VCPU && d < XLATE_VCPU + 0x1000;
	if (o->mem.base == ZYDIS_REGISTER_NONE && o->mem.scale == 4)
		return d == XLATE_TABLE;
	return false;
}

/* fs: with rsp as base stays unprefixed with a scratch index that holds the guest's FS base. */
static bool rsp_in_scratch(const uint8_t *p)
{
	/* the preceding instruction of the expansion loads XV_FS_BASE */
	const uint32_t a = XLATE_VCPU + XV_FS_BASE;

	return p[-8] == 0x48 && p[-7] == 0x8b && !__builtin_memcmp(p - 4, &a, 4);
}

/* A redirected operand: the index has just been cut to a byte, the base comes from XV_REDIRECT. */
static bool redirect_ok(const uint8_t *p, const ZydisDecodedOperand *o)
{
	const uint32_t a = XLATE_VCPU + XV_REDIRECT;

	if (o->mem.base == ZYDIS_REGISTER_NONE)
		return o->mem.scale == 8 && o->mem.disp.value >= XLATE_VCPU + XV_TLB_TAG &&
		       o->mem.disp.value <= XLATE_VCPU + XV_TLB_DELTA + 0x800 && p[-4] == 0x40 &&
		       p[-3] == 0x0f && p[-2] == 0xb6;
	return o->mem.index == ZYDIS_REGISTER_NONE && p[-8] == 0x48 && p[-7] == 0x8b &&
	       !__builtin_memcmp(p - 4, &a, 4);
}

/* wrfsbase rax with what the translator keeps for that */
static bool fsbase_ok(const uint8_t *p, const ZydisDecodedInstruction *in)
{
	uint32_t a;

	__builtin_memcpy(&a, p - 4, 4);
	a -= XLATE_VCPU;
	return in->mnemonic == ZYDIS_MNEMONIC_WRFSBASE &&
	       !__builtin_memcmp(p, "\xf3\x48\x0f\xae\xd0", 5) &&
	       !__builtin_memcmp(p - 8, "\x48\x8b\x04\x25", 4) &&
	       (a == XV_FS_BASE || a == XV_FS_SHIFT || a == XV_HW_FS);
}

/*
 * A run of stores (op_group.c): a register that has been loaded with the shift and then with the
 * sum of that and another one; until it is written again.
 */
struct sum {
	ZydisRegister shift, base;
};

static bool sum_ok(const struct sum *sum, const ZydisDecodedOperand *o)
{
	return sum->base != ZYDIS_REGISTER_NONE && o->mem.base == sum->base &&
	       o->mem.index != sum->base;
}

static void watch_sum(struct sum *sum, const ZydisDecodedInstruction *in,
		      const ZydisDecodedOperand *ops)
{
	const ZydisRegister to = ops[0].reg.value;
	unsigned int i;

	if (sum->shift != ZYDIS_REGISTER_NONE && in->mnemonic == ZYDIS_MNEMONIC_LEA &&
	    to == sum->shift && ops[1].mem.base == to && ops[1].mem.scale == 1 &&
	    !ops[1].mem.disp.value && ops[1].mem.index != to) {
		*sum = (struct sum){.base = to};
		return;
	}
	sum->shift = ZYDIS_REGISTER_NONE;
	for (i = 0; i < in->operand_count; i++)
		if (ops[i].type == ZYDIS_OPERAND_TYPE_REGISTER &&
		    ops[i].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE &&
		    ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64,
						     ops[i].reg.value) == sum->base)
			sum->base = ZYDIS_REGISTER_NONE;
	if (in->meta.branch_type != ZYDIS_BRANCH_TYPE_NONE)
		sum->base = ZYDIS_REGISTER_NONE;
	if (in->mnemonic == ZYDIS_MNEMONIC_MOV && ops[0].type == ZYDIS_OPERAND_TYPE_REGISTER &&
	    ops[1].type == ZYDIS_OPERAND_TYPE_MEMORY && ops[1].mem.base == ZYDIS_REGISTER_NONE &&
	    ops[1].mem.index == ZYDIS_REGISTER_NONE &&
	    ops[1].mem.disp.value == XLATE_VCPU + XV_SHIFT && in->operand_width == 64)
		sum->shift = to;
}

static bool insn_ok(struct xlate *x, const struct frag *f, const uint8_t *p, const struct sum *sum,
		    const ZydisDecodedInstruction *in, const ZydisDecodedOperand *ops)
{
	uint64_t at = (uint64_t)p;
	unsigned int i;

	if (forbidden(in, ops) && !fsbase_ok(p, in)) {
		complain(at, p, in->length, "must not be executed");
		return false;
	}
	for (i = 0; i < in->operand_count; i++) {
		bool ok = ops[i].type != ZYDIS_OPERAND_TYPE_MEMORY || operand_ok(in, &ops[i]);

		if (!ok && !sum_ok(sum, &ops[i]) && !rsp_in_scratch(p) &&
		    !redirect_ok(p, &ops[i])) {
			complain(at, p, in->length, "memory operand is not shifted");
			return false;
		}
		if (ops[i].type == ZYDIS_OPERAND_TYPE_IMMEDIATE && ops[i].imm.is_relative) {
			uint64_t t;

			ZydisCalcAbsoluteAddress(in, &ops[i], at, &t);
			if (t < XLATE_CACHE || t >= x->cache_end || (t >= x->hot && t < x->cold)) {
				complain(at, p, in->length, "branch out of the cache");
				return false;
			}
		}
	}
	return true;
}

/* Is there a host instruction boundary where the notes say a guest instruction or step begins? */
static bool notes_agree(struct xlate *x, const struct frag *f, const uint8_t *boundary)
{
	struct note_iter it;
	unsigned int k;

	for (xlate_notes_start(x, f, &it); xlate_notes_next(&it); xlate_notes_advance(&it)) {
		uint32_t at = it.host;

		if (it.host - f->host > f->body_end - f->host)
			return false;
		if (!boundary[it.host - f->host])
			return false;
		/* with a register spilled: nobody may enter there */
		if (it.nsteps && ACT_GET_SP0(it.steps[1]) && xlate_lookup(x, it.gva) == it.host)
			return false;
		for (k = 0; k < it.nsteps; k++) {
			if (!boundary[at - f->host])
				return false;
			at += it.steps[4 * k];
		}
	}
	return it.gva == f->gva + f->glen || (f->flags & FRAG_SNIPPET);
}

bool emitted_ok(struct xlate *x, const struct frag *f)
{
	static ZydisDecoder decoder;
	static uint8_t boundary[1 << 17];
	ZydisDecodedInstruction in;
	ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
	struct sum sum = {ZYDIS_REGISTER_NONE, ZYDIS_REGISTER_NONE};
	uint32_t at;

	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	__builtin_memset(boundary, 0, f->end - f->host + 1);
	for (at = f->host; at < f->end; at += in.length) {
		const uint8_t *p = (const uint8_t *)(uintptr_t)at;

		boundary[at - f->host] = 1;
		if (*p == 0xcc) { /* alignment, never reached */
			in.length = 1;
			continue;
		}
		if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, p, f->end - at, &in, ops))) {
			/* what only the processor knows to be invalid: VEX, EVEX */
			struct insn i;

			insn_decode(&i, p, 15);
			if (i.enc == IE_LEGACY || insn_class(&i) == IC_UD) {
				complain(at, p, 15, "Zydis does not know it");
				return false;
			}
			in.length = i.len;
			continue;
		}
		if (!insn_ok(x, f, p, &sum, &in, ops))
			return false;
		watch_sum(&sum, &in, ops);
	}
	boundary[f->end - f->host] = 1;
	if (at != f->end || !notes_agree(x, f, boundary)) {
		printf("fragment of %#lx: notes and code disagree\n", f->gva);
		return false;
	}
	return true;
}
