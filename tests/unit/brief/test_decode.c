/* SPDX-License-Identifier: MIT */
/*
 * What brief_compile() makes of bytes, against Zydis: every opcode of one and two bytes, with each
 * ModRM and every combination of prefixes that is of interest. Either it is left to the processor,
 * or it is the same instruction: length, operation, width, operands, immediate.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <Zydis/Zydis.h>

#include "exec/ring3/brief/brief.h"
#include "exec/ring3/translate/insn.h"

static ZydisDecoder decoder;
static struct brief B;
static struct core_regs R;
static unsigned long nr_seen, nr_known, nr_bad;

/* Kinds of four sizes, in the order of brief_kind. */
static const struct {
	uint8_t first, nr; /* of sizes, from the last one on backwards */
	bool lock;
	ZydisMnemonic what[2];
} kinds[] = {
	{BK_ADD, 4, false, {ZYDIS_MNEMONIC_ADD}},
	{BK_OR, 4, false, {ZYDIS_MNEMONIC_OR}},
	{BK_ADC, 4, false, {ZYDIS_MNEMONIC_ADC}},
	{BK_SBB, 4, false, {ZYDIS_MNEMONIC_SBB}},
	{BK_AND, 4, false, {ZYDIS_MNEMONIC_AND}},
	{BK_SUB, 4, false, {ZYDIS_MNEMONIC_SUB}},
	{BK_XOR, 4, false, {ZYDIS_MNEMONIC_XOR}},
	{BK_CMP, 4, false, {ZYDIS_MNEMONIC_CMP}},
	{BK_TEST, 4, false, {ZYDIS_MNEMONIC_TEST}},
	{BK_MOV, 4, false, {ZYDIS_MNEMONIC_MOV}},
	{BK_INC, 4, false, {ZYDIS_MNEMONIC_INC}},
	{BK_DEC, 4, false, {ZYDIS_MNEMONIC_DEC}},
	{BK_NOT, 4, false, {ZYDIS_MNEMONIC_NOT}},
	{BK_NEG, 4, false, {ZYDIS_MNEMONIC_NEG}},
	{BK_ROL, 4, false, {ZYDIS_MNEMONIC_ROL}},
	{BK_ROR, 4, false, {ZYDIS_MNEMONIC_ROR}},
	{BK_RCL, 4, false, {ZYDIS_MNEMONIC_RCL}},
	{BK_RCR, 4, false, {ZYDIS_MNEMONIC_RCR}},
	{BK_SHL, 4, false, {ZYDIS_MNEMONIC_SHL}},
	{BK_SHR, 4, false, {ZYDIS_MNEMONIC_SHR}},
	{BK_SAR, 4, false, {ZYDIS_MNEMONIC_SAR}},
	{BK_IMUL2, 3, false, {ZYDIS_MNEMONIC_IMUL}},
	{BK_IMUL3, 3, false, {ZYDIS_MNEMONIC_IMUL}},
	{BK_BSF, 3, false, {ZYDIS_MNEMONIC_BSF}},
	{BK_BSR, 3, false, {ZYDIS_MNEMONIC_BSR}},
	{BK_TZCNT, 3, false, {ZYDIS_MNEMONIC_TZCNT}},
	{BK_LZCNT, 3, false, {ZYDIS_MNEMONIC_LZCNT}},
	{BK_LEA, 3, false, {ZYDIS_MNEMONIC_LEA}},
	{BK_BT, 3, false, {ZYDIS_MNEMONIC_BT}},
	{BK_BTS, 3, false, {ZYDIS_MNEMONIC_BTS}},
	{BK_BTR, 3, false, {ZYDIS_MNEMONIC_BTR}},
	{BK_BTC, 3, false, {ZYDIS_MNEMONIC_BTC}},
	{BK_MUL, 2, false, {ZYDIS_MNEMONIC_MUL}},
	{BK_IMUL, 2, false, {ZYDIS_MNEMONIC_IMUL}},
	{BK_DIV, 2, false, {ZYDIS_MNEMONIC_DIV}},
	{BK_XCHG, 4, true, {ZYDIS_MNEMONIC_XCHG}},
	{BK_LOCK_ADD, 4, true, {ZYDIS_MNEMONIC_ADD}},
	{BK_LOCK_OR, 4, true, {ZYDIS_MNEMONIC_OR}},
	{BK_LOCK_AND, 4, true, {ZYDIS_MNEMONIC_AND}},
	{BK_LOCK_SUB, 4, true, {ZYDIS_MNEMONIC_SUB}},
	{BK_LOCK_XOR, 4, true, {ZYDIS_MNEMONIC_XOR}},
	{BK_LOCK_INC, 4, true, {ZYDIS_MNEMONIC_INC}},
	{BK_LOCK_DEC, 4, true, {ZYDIS_MNEMONIC_DEC}},
	{BK_XADD, 4, false, {ZYDIS_MNEMONIC_XADD}},
	{BK_LOCK_XADD, 4, true, {ZYDIS_MNEMONIC_XADD}},
	{BK_CMPXCHG, 4, false, {ZYDIS_MNEMONIC_CMPXCHG}},
	{BK_LOCK_CMPXCHG, 4, true, {ZYDIS_MNEMONIC_CMPXCHG}},
};

static const ZydisMnemonic cmov[16] = {
	ZYDIS_MNEMONIC_CMOVO, ZYDIS_MNEMONIC_CMOVNO, ZYDIS_MNEMONIC_CMOVB,  ZYDIS_MNEMONIC_CMOVNB,
	ZYDIS_MNEMONIC_CMOVZ, ZYDIS_MNEMONIC_CMOVNZ, ZYDIS_MNEMONIC_CMOVBE, ZYDIS_MNEMONIC_CMOVNBE,
	ZYDIS_MNEMONIC_CMOVS, ZYDIS_MNEMONIC_CMOVNS, ZYDIS_MNEMONIC_CMOVP,  ZYDIS_MNEMONIC_CMOVNP,
	ZYDIS_MNEMONIC_CMOVL, ZYDIS_MNEMONIC_CMOVNL, ZYDIS_MNEMONIC_CMOVLE, ZYDIS_MNEMONIC_CMOVNLE,
};
static const ZydisMnemonic setcc[16] = {
	ZYDIS_MNEMONIC_SETO, ZYDIS_MNEMONIC_SETNO, ZYDIS_MNEMONIC_SETB,	 ZYDIS_MNEMONIC_SETNB,
	ZYDIS_MNEMONIC_SETZ, ZYDIS_MNEMONIC_SETNZ, ZYDIS_MNEMONIC_SETBE, ZYDIS_MNEMONIC_SETNBE,
	ZYDIS_MNEMONIC_SETS, ZYDIS_MNEMONIC_SETNS, ZYDIS_MNEMONIC_SETP,	 ZYDIS_MNEMONIC_SETNP,
	ZYDIS_MNEMONIC_SETL, ZYDIS_MNEMONIC_SETNL, ZYDIS_MNEMONIC_SETLE, ZYDIS_MNEMONIC_SETNLE,
};
static const ZydisMnemonic jcc[16] = {
	ZYDIS_MNEMONIC_JO, ZYDIS_MNEMONIC_JNO, ZYDIS_MNEMONIC_JB,  ZYDIS_MNEMONIC_JNB,
	ZYDIS_MNEMONIC_JZ, ZYDIS_MNEMONIC_JNZ, ZYDIS_MNEMONIC_JBE, ZYDIS_MNEMONIC_JNBE,
	ZYDIS_MNEMONIC_JS, ZYDIS_MNEMONIC_JNS, ZYDIS_MNEMONIC_JP,  ZYDIS_MNEMONIC_JNP,
	ZYDIS_MNEMONIC_JL, ZYDIS_MNEMONIC_JNL, ZYDIS_MNEMONIC_JLE, ZYDIS_MNEMONIC_JNLE,
};

/* Is it a prefetch, or a long nop? Both are nothing. */
static bool is_nothing(ZydisMnemonic m)
{
	switch (m) {
	case ZYDIS_MNEMONIC_NOP:
	case ZYDIS_MNEMONIC_ENDBR64:
	case ZYDIS_MNEMONIC_PREFETCH:
	case ZYDIS_MNEMONIC_PREFETCHW:
	case ZYDIS_MNEMONIC_PREFETCHWT1:
	case ZYDIS_MNEMONIC_PREFETCHNTA:
	case ZYDIS_MNEMONIC_PREFETCHT0:
	case ZYDIS_MNEMONIC_PREFETCHT1:
	case ZYDIS_MNEMONIC_PREFETCHT2:
		return true;
	default:
		return false;
	}
}

/* Width of the first and of the second operand. */
static const struct {
	uint8_t kind, dst, src;
	ZydisMnemonic what;
} extensions[] = {
	{BK_ZX8_16, 16, 8, ZYDIS_MNEMONIC_MOVZX},    {BK_SX8_16, 16, 8, ZYDIS_MNEMONIC_MOVSX},
	{BK_SX8_32, 32, 8, ZYDIS_MNEMONIC_MOVSX},    {BK_SX8_64, 64, 8, ZYDIS_MNEMONIC_MOVSX},
	{BK_SX16_32, 32, 16, ZYDIS_MNEMONIC_MOVSX},  {BK_SX16_64, 64, 16, ZYDIS_MNEMONIC_MOVSX},
	{BK_SX32_64, 64, 32, ZYDIS_MNEMONIC_MOVSXD},
};

static const struct {
	uint8_t kind, width;
	ZydisMnemonic what;
} others[] = {
	{BK_JMP, 0, ZYDIS_MNEMONIC_JMP},	 {BK_JMPI, 64, ZYDIS_MNEMONIC_JMP},
	{BK_CALL, 0, ZYDIS_MNEMONIC_CALL},	 {BK_CALLI, 64, ZYDIS_MNEMONIC_CALL},
	{BK_RET, 0, ZYDIS_MNEMONIC_RET},	 {BK_PUSH, 64, ZYDIS_MNEMONIC_PUSH},
	{BK_POP, 64, ZYDIS_MNEMONIC_POP},	 {BK_LEAVE, 0, ZYDIS_MNEMONIC_LEAVE},
	{BK_CBW, 0, ZYDIS_MNEMONIC_CBW},	 {BK_CWDE, 0, ZYDIS_MNEMONIC_CWDE},
	{BK_CDQE, 0, ZYDIS_MNEMONIC_CDQE},	 {BK_CWD, 0, ZYDIS_MNEMONIC_CWD},
	{BK_CDQ, 0, ZYDIS_MNEMONIC_CDQ},	 {BK_CQO, 0, ZYDIS_MNEMONIC_CQO},
	{BK_RDTSC, 0, ZYDIS_MNEMONIC_RDTSC},	 {BK_RDTSCP, 0, ZYDIS_MNEMONIC_RDTSCP},
	{BK_BSWAP_32, 32, ZYDIS_MNEMONIC_BSWAP}, {BK_BSWAP_64, 64, ZYDIS_MNEMONIC_BSWAP},
	{BK_SYSCALL, 0, ZYDIS_MNEMONIC_SYSCALL},
};

static bool is_string(unsigned int kind, const ZydisDecodedInstruction *z)
{
	static const ZydisMnemonic movs[4] = {ZYDIS_MNEMONIC_MOVSB, ZYDIS_MNEMONIC_MOVSW,
					      ZYDIS_MNEMONIC_MOVSD, ZYDIS_MNEMONIC_MOVSQ};
	static const ZydisMnemonic stos[4] = {ZYDIS_MNEMONIC_STOSB, ZYDIS_MNEMONIC_STOSW,
					      ZYDIS_MNEMONIC_STOSD, ZYDIS_MNEMONIC_STOSQ};

	if (kind - BK_MOVS < 4u)
		return z->mnemonic == movs[kind - BK_MOVS];
	return kind - BK_STOS < 4u && z->mnemonic == stos[kind - BK_STOS];
}

static bool right_operation(unsigned int kind, const struct brief_op *op,
			    const ZydisDecodedInstruction *z, const ZydisDecodedOperand *o)
{
	for (unsigned int k = 0; k < sizeof(kinds) / sizeof(*kinds); k++) {
		unsigned int size = kind - kinds[k].first;

		if (kind < kinds[k].first || size > 3)
			continue;
		/* (what has no operand of one size, as lea, is as wide as its first) */
		return size >= 4u - kinds[k].nr && z->mnemonic == kinds[k].what[0] &&
		       o[0].size == 8u << size &&
		       (kinds[k].lock || !(z->attributes & ZYDIS_ATTRIB_HAS_LOCK));
	}
	for (unsigned int k = 0; k < sizeof(extensions) / sizeof(*extensions); k++)
		if (kind == extensions[k].kind)
			return z->mnemonic == extensions[k].what &&
			       o[0].size == extensions[k].dst && o[1].size == extensions[k].src;
	for (unsigned int k = 0; k < sizeof(others) / sizeof(*others); k++)
		if (kind == others[k].kind)
			return z->mnemonic == others[k].what &&
			       (!others[k].width || o[0].size == others[k].width ||
				o[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE);
	if (kind > BK_CMOV && kind < BK_CMOV + 4)
		return z->mnemonic == cmov[op->cc] && o[0].size == 8u << (kind - BK_CMOV);
	if (kind == BK_SETCC)
		return z->mnemonic == setcc[op->cc];
	if (kind - BK_JCC < 16u)
		return z->mnemonic == jcc[kind - BK_JCC];
	/* zero extension to 32 bits and to 64 is the same */
	if (kind == BK_ZX8 || kind == BK_ZX16)
		return z->mnemonic == ZYDIS_MNEMONIC_MOVZX && o[0].size >= 32 &&
		       o[1].size == (kind == BK_ZX8 ? 8 : 16);
	if (kind == BK_FENCE)
		return z->mnemonic == ZYDIS_MNEMONIC_LFENCE ||
		       z->mnemonic == ZYDIS_MNEMONIC_MFENCE || z->mnemonic == ZYDIS_MNEMONIC_SFENCE;
	if (kind == BK_NOP)
		return is_nothing(z->mnemonic);
	return is_string(kind, z);
}

/* The register at `p` (the first byte of what is used of it). */
static bool is_register(const void *p, ZydisRegister reg)
{
	const uint8_t *gpr = (const uint8_t *)R.gpr;
	int8_t id = ZydisRegisterGetId(reg);

	switch (ZydisRegisterGetClass(reg)) {
	case ZYDIS_REGCLASS_GPR8:
		if (reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH)
			return p == gpr + 8 * (reg - ZYDIS_REGISTER_AH) + 1;
		return p == gpr + 8 * (reg <= ZYDIS_REGISTER_BL ? reg - ZYDIS_REGISTER_AL
								: reg - ZYDIS_REGISTER_SPL + 4);
	case ZYDIS_REGCLASS_GPR16:
	case ZYDIS_REGCLASS_GPR32:
	case ZYDIS_REGCLASS_GPR64:
		return p == gpr + 8 * id;
	default:
		return false;
	}
}

static bool is_base(const uint64_t *p, ZydisRegister reg)
{
	if (reg == ZYDIS_REGISTER_NONE)
		return p == &B.zero;
	if (reg == ZYDIS_REGISTER_RIP)
		return p == &B.rip_next;
	return is_register(p, reg);
}

static bool right_memory(const struct brief_op *op, unsigned int how, const ZydisDecodedOperand *o)
{
	unsigned int scale = o->mem.index == ZYDIS_REGISTER_NONE ? 1 : o->mem.scale;
	const uint64_t *segment = o->mem.segment == ZYDIS_REGISTER_FS	? &R.fs_base
				  : o->mem.segment == ZYDIS_REGISTER_GS ? &R.gs_base
									: &B.zero;

	if (how == BM_ADDRESS)
		segment = &B.zero;
	else if (o->size != 8u << op->size)
		return false;
	return is_base(op->base, o->mem.base) && is_base(op->index, o->mem.index) &&
	       op->segment == segment && 1u << op->scale == scale &&
	       op->disp == (o->mem.disp.has_displacement ? o->mem.disp.value : 0);
}

static bool is_locked(const ZydisDecodedInstruction *z)
{
	return (z->attributes & ZYDIS_ATTRIB_HAS_LOCK) || z->mnemonic == ZYDIS_MNEMONIC_XCHG;
}

static bool right_operands(const struct brief_op *op, unsigned int how,
			   const ZydisDecodedInstruction *z, const ZydisDecodedOperand *o)
{
	for (unsigned int k = 0; k < z->operand_count_visible; k++) {
		bool written = o[k].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE, dst = k == 0;
		const uint8_t *at;

		/* push, and indirect jumps: what they have is read; imul, mul, div: by the other */
		if (op->kind == BK_PUSH || op->kind == BK_JMPI || op->kind == BK_CALLI)
			dst = false;
		at = dst ? op->dst : op->src;
		switch (o[k].type) {
		case ZYDIS_OPERAND_TYPE_MEMORY:
			if (op->kind >= BK_STOS && op->kind < BK_ZX8_16)
				break;
			if (how != ((unsigned int)op->kind - BK_LEA < 4u ? BM_ADDRESS
				    : dst ? (is_locked(z) ? BM_LOCKED : BM_DST)
					  : BM_SRC) ||
			    !right_memory(op, how, &o[k]) || (dst && op->write != written))
				return false;
			break;
		case ZYDIS_OPERAND_TYPE_REGISTER:
			if (op->kind >= BK_STOS && op->kind < BK_ZX8_16)
				break;
			/* (imul by an immediate has three) */
			if (!is_register(at, o[k].reg.value))
				return false;
			/* (not of what is loaded and stored as a whole) */
			if (written && o[k].size == 32 && op->kind != BK_BSWAP_32 &&
			    !(op->kind >= BK_BSF && op->kind < BK_LEA) &&
			    op->upper != (const uint32_t *)at + 1)
				return false;
			if (!written && dst && op->upper != &B.nowhere)
				return false;
			break;
		case ZYDIS_OPERAND_TYPE_IMMEDIATE:
			if (op->kind >= BK_BT && op->kind < BK_MUL) {
				if ((uint64_t)op->imm != (o[k].imm.value.u & (o[0].size - 1u)))
					return false;
			} else if (op->kind >= BK_ROL && op->kind < BK_CMOV) {
				if ((uint8_t)op->imm != (uint8_t)o[k].imm.value.u)
					return false;
			} else if ((op->imm ^ (int64_t)o[k].imm.value.u) &
				   (o[0].size == 64 || op->kind >= BK_ZX8_16
					    ? ~0ull
					    : (1ull << o[0].size) - 1)) {
				return false;
			}
			break;
		default:
			return false;
		}
	}
	return true;
}

static void bad(const uint8_t *p, unsigned int kind, const char *what)
{
	if (nr_bad++ > 20)
		return;
	printf("%s, kind %u:", what, kind);
	for (unsigned int k = 0; k < 15; k++)
		printf(" %02x", p[k]);
	printf("\n");
}

static void check(const uint8_t *p)
{
	ZydisDecodedOperand o[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction z;
	struct brief_op op = {0};
	unsigned int how;
	struct insn i;

	nr_seen++;
	if (!insn_decode(&i, p, 15))
		return;
	how = brief_compile(&B, &op, &i);
	if (op.kind == BK_NATIVE)
		return;
	nr_known++;
	if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, p, 15, &z, o)))
		bad(p, op.kind, "nothing to Zydis");
	else if (op.len != z.length)
		bad(p, op.kind, "length");
	else if (!right_operation(op.kind, &op, &z, o))
		bad(p, op.kind, "another operation");
	else if (op.kind != BK_NOP && !right_operands(&op, how, &z, o))
		bad(p, op.kind, "other operands");
}

/* All combinations of these in front of each opcode and ModRM. */
static void with_prefixes(unsigned int rex, const uint8_t *fill)
{
	static const uint8_t legacy[] = {0x66, 0xf0, 0xf3, 0xf2, 0x64, 0x3e, 0x67};
	uint8_t p[32] = {0};

	for (unsigned int set = 0; set < 1u << sizeof(legacy); set++) {
		unsigned int n = 0;

		/* at most two of them */
		if (__builtin_popcount(set) > 2)
			continue;
		for (unsigned int k = 0; k < sizeof(legacy); k++)
			if (set & 1u << k)
				p[n++] = legacy[k];
		if (rex)
			p[n++] = (uint8_t)rex;
		for (unsigned int op = 0; op < 512; op++) {
			unsigned int at = n;

			if (op > 255)
				p[at++] = 0x0f;
			p[at++] = (uint8_t)op;
			memcpy(p + at, fill, 12);
			for (unsigned int modrm = 0; modrm < 256; modrm++) {
				p[at] = (uint8_t)modrm;
				check(p);
			}
		}
	}
}

static void begin(void)
{
	const struct brief_config cfg = {0};

	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	brief_init(&B, &cfg, &R);
	nr_seen = nr_known = nr_bad = 0;
}

static void test_all(void **state)
{
	static const uint8_t fills[][12] = {
		{0, 0x24, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x08, 0x19, 0x2a},
		{0, 0x8d, 0x91, 0xa2, 0xb3, 0xc4, 0xd5, 0xe6, 0xf7, 0x88, 0x99, 0xaa},
	};
	static const uint8_t rex[] = {0, 0x40, 0x48, 0x41, 0x42, 0x44, 0x4f};

	begin();
	for (unsigned int k = 0; k < sizeof(rex); k++)
		with_prefixes(rex[k], fills[k & 1]);
	printf("%lu encodings, %lu known\n", nr_seen, nr_known);
	assert_int_equal(nr_bad, 0);
	assert_true(nr_known > nr_seen / 20);
}

static uint64_t rnd(void)
{
	static uint64_t s = 88172645463325252ull;

	s ^= s << 13;
	s ^= s >> 7;
	s ^= s << 17;
	return s;
}

/* Anything: SIB bytes, prefixes in any order, and many of them. */
static void test_random(void **state)
{
	static const uint8_t some[] = {0x66, 0x48, 0x0f, 0x41, 0xf0, 0x65, 0xf3, 0x0f, 0x4c, 0x2e};
	const char *s = getenv("BRIEF_TRIES");
	uint8_t b[32] = {0};

	begin();
	for (long k = s ? atol(s) : 1500000; k; k--) {
		uint64_t r = rnd();

		for (unsigned int n = 0; n < 16; n += 8) {
			uint64_t v = rnd();

			memcpy(b + n, &v, 8);
		}
		for (unsigned int n = 0; n < (r & 3); n++)
			b[n] = some[(r >> (8 + 8 * n)) % sizeof(some)];
		check(b);
	}
	printf("%lu encodings, %lu known\n", nr_seen, nr_known);
	assert_int_equal(nr_bad, 0);
	assert_true(nr_known > nr_seen / 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all),
		cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
