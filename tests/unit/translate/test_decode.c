/* SPDX-License-Identifier: MIT */
/*
 * The decode tables against Zydis itself: random byte strings, and every instruction of programs
 * that are installed (and of a Linux kernel, if one is given: see
 * tests/unit/translate/meson.build).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <elf.h>
#include <unistd.h>

#include <cmocka.h>
#include <Zydis/Zydis.h>

#include "exec/ring3/translate/insn.h"

static ZydisDecoder decoder;
static uint64_t state_ = 88172645463325252ull;
static unsigned long nr_same, nr_hidden, nr_constraint, nr_bad;

static uint64_t rnd(void)
{
	state_ ^= state_ << 13;
	state_ ^= state_ >> 7;
	state_ ^= state_ << 17;
	return state_;
}

static void bad(const uint8_t *p, const char *what)
{
	unsigned int k;

	if (nr_bad++ > 10)
		return;
	printf("%s:", what);
	for (k = 0; k < 15; k++)
		printf(" %02x", p[k]);
	printf("\n");
}

/* Returns the length to advance by. */
static unsigned int compare(const uint8_t *p, unsigned int avail)
{
	ZydisDecodedInstruction z;
	ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
	struct insn i;
	unsigned int len = insn_decode(&i, p, avail), k;
	ZyanStatus s = ZydisDecoderDecodeFull(&decoder, p, avail, &z, ops);
	bool valid = len && insn_class(&i) != IC_UD;
	bool mem = false;

	if (s == ZYDIS_STATUS_NO_MORE_DATA || !len) {
		if (s == ZYDIS_STATUS_NO_MORE_DATA && valid && avail < 15)
			bad(p, "decoded with bytes missing");
		if (ZYAN_SUCCESS(s) && !len)
			bad(p, "asks for more bytes than there are");
		return 1;
	}
	if (!ZYAN_SUCCESS(s)) {
		/* VEX and EVEX have constraints that the tables do not hold; the processor does */
		if (valid && (i.enc == IE_LEGACY || insn_class(&i) != IC_COPY) &&
		    insn_class(&i) != IC_NOP && insn_class(&i) != IC_IMPL &&
		    !(i.map == 1 && (i.op & 0xfc) == 0x20)) /* mov cr9: the core refuses it */
			bad(p, "valid here, invalid for Zydis");
		nr_constraint += valid;
		return 1;
	}
	if (!valid) {
		nr_hidden++;
		return z.length;
	}
	if (len != z.length)
		bad(p, "length");
	if (!!i.o_modrm != !!(z.attributes & ZYDIS_ATTRIB_HAS_MODRM))
		bad(p, "ModRM");
	for (k = 0; k < z.operand_count; k++) {
		const ZydisDecodedOperand *o = &ops[k];

		if (o->type == ZYDIS_OPERAND_TYPE_MEMORY &&
		    o->encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM) {
			int base = insn_base(&i), index = insn_index(&i);

			mem = true;
			/* Zydis 4.0 takes [disp32 + index] with 0x67 and REX.B for [r13d + index]
			 */
			if (i.p67 && i.b && i.has_sib && (i.sib & 7) == 5 && i.modrm < 0x40)
				continue;
			if (base != (o->mem.base == ZYDIS_REGISTER_NONE ||
						     o->mem.base == ZYDIS_REGISTER_RIP ||
						     o->mem.base == ZYDIS_REGISTER_EIP
					     ? -1
					     : ZydisRegisterGetId(o->mem.base)))
				bad(p, "base register");
			if (!(i.desc & ID_VSIB) &&
			    index != (o->mem.index == ZYDIS_REGISTER_NONE
					      ? -1
					      : ZydisRegisterGetId(o->mem.index)))
				bad(p, "index register");
			if (insn_class(&i) != IC_NOP &&
			    insn_disp(&i) * (i.disp_len == 1 ? insn_disp8_scale(&i) : 1) !=
				    (o->mem.disp.has_displacement ? o->mem.disp.value : 0))
				bad(p, "displacement");
		}
		if (o->encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG && ID_REG(i.desc) == IK_GPR &&
		    o->type == ZYDIS_OPERAND_TYPE_REGISTER &&
		    (int)insn_reg(&i) != ZydisRegisterGetId(o->reg.value))
			bad(p, "ModRM.reg");
	}
	if (mem && !insn_has_mem(&i))
		bad(p, "memory operand");
	nr_same++;
	return z.length;
}

static void test_random(void **state)
{
	static const uint8_t prefixes[] = {0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x65, 0x48,
					   0x0f, 0xc4, 0xc5, 0x62, 0x41, 0x2e};
	uint8_t b[32] = {0};
	long k;

	for (k = 0; k < 1500000; k++) {
		uint64_t r = rnd(), v = rnd();

		memcpy(b, &r, 8);
		memcpy(b + 8, &v, 8);
		if (r & 1)
			b[0] = prefixes[v % sizeof(prefixes)];
		if (r & 2)
			b[1] = prefixes[(v >> 8) % sizeof(prefixes)];
		if (r & 4)
			b[2] = 0x0f;
		compare(b, r & 0x78 ? 15 : 1 + (v >> 16) % 15);
	}
	printf("%lu the same, %lu hidden from guests, %lu left to the processor\n", nr_same,
	       nr_hidden, nr_constraint);
	assert_int_equal(nr_bad, 0);
	assert_true(nr_same > 500000);
}

/*
 * An instruction of which not all bytes are there yet, at the end of a page: what happens to lie
 * behind them says nothing.
 */
static void test_truncated(void **state)
{
	unsigned long nr = 0;
	unsigned int k, n, len;

	for (k = 0; k < 400000; k++) {
		static const uint8_t start[] = {0x62, 0xc4, 0xc5, 0x0f, 0x66, 0x8f, 0x48};
		uint8_t whole[32] = {0}, part[32];
		uint64_t r = rnd(), v = rnd();
		struct insn i;

		memcpy(whole, &r, 8);
		memcpy(whole + 8, &v, 8);
		if (k & 1)
			whole[0] = start[(k >> 1) % sizeof(start)];
		len = insn_decode(&i, whole, INSN_MAX);
		if (!len || insn_class(&i) == IC_UD || insn_class(&i) == IC_LONG)
			continue;
		for (n = 1; n < len; n++) {
			v = rnd();
			memset(part, (int)v, sizeof(part));
			memcpy(part, whole, n);
			if (insn_decode(&i, part, n) != 0)
				bad(whole, "decoded from a part of it");
			nr++;
		}
	}
	printf("%lu beginnings of instructions\n", nr);
	assert_int_equal(nr_bad, 0);
	assert_true(nr > 100000);
}

/* All executable sections of an ELF file. */
static void sweep(const char *path)
{
	static uint8_t buf[32 << 20];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 32);
	const Elf64_Ehdr *eh = (void *)buf;
	unsigned int k;

	if (fd >= 0)
		close(fd);
	if (n < (ssize_t)sizeof(*eh) || memcmp(eh->e_ident, ELFMAG, 4)) {
		printf("%s: not there or no ELF file, skipped\n", path);
		return;
	}
	for (k = 0; k < eh->e_phnum; k++) {
		const Elf64_Phdr *ph = (void *)(buf + eh->e_phoff + k * eh->e_phentsize);
		uint64_t o = ph->p_offset, end;

		if (ph->p_type != PT_LOAD || !(ph->p_flags & PF_X))
			continue;
		end = o + ph->p_filesz < (uint64_t)n ? o + ph->p_filesz : (uint64_t)n;
		while (o + 15 < end)
			o += compare(buf + o, 15);
	}
}

static void test_programs(void **state)
{
	static const char *const paths[] = {
		"/bin/bash", "/usr/bin/gcc", "/usr/lib/x86_64-linux-gnu/libc.so.6",
		"/usr/lib/x86_64-linux-gnu/libm.so.6", "/usr/lib/x86_64-linux-gnu/libcrypto.so.3"};
	const char *kernel = getenv("PVV_TEST_VMLINUX");
	unsigned int k;

	nr_same = nr_hidden = nr_constraint = 0;
	for (k = 0; k < sizeof(paths) / sizeof(*paths); k++)
		sweep(paths[k]);
	if (kernel)
		sweep(kernel);
	printf("%lu the same, %lu hidden from guests, %lu left to the processor\n", nr_same,
	       nr_hidden, nr_constraint);
	assert_int_equal(nr_bad, 0);
	assert_true(nr_same > 100000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_programs),
	};

	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
