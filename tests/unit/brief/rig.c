/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "rig.h"

#define NR_ALIASES 8u

struct brief B;
unsigned long nr_maps;
bool map_forgets;
uint64_t map_moves_code;

static uint8_t page_rights[NR_PAGES];
static struct {
	uint64_t va, of;
} alias[NR_ALIASES];
static unsigned int nr_aliases;

static uint32_t map(void *priv, uint64_t va, uint32_t access, uint8_t **ret)
{
	uint64_t at = va;
	int prot;

	nr_maps++;
	if (priv != &B || (access && access != PF_WRITE_BIT && access != PF_FETCH_BIT))
		abort();
	if (va < BRIEF_VA_FIRST || va >= BRIEF_VA_END)
		abort();
	if (map_forgets)
		brief_forget(&B);
	if (map_moves_code && va >> 12 == map_moves_code >> 12) {
		map_moves_code = 0;
		rig_alias(CODE, CODE + 0x1000);
	}
	for (unsigned int k = 0; k < nr_aliases; k++)
		if (va >> 12 == alias[k].va >> 12)
			at = (alias[k].of & ~0xfffull) | (va & 0xfff);
	if (at - GUEST_LOW >= GUEST_SIZE || !page_rights[(at - GUEST_LOW) >> 12])
		return access | PF_USER_BIT;
	prot = page_rights[(at - GUEST_LOW) >> 12];
	if (access == PF_WRITE_BIT && !(prot & PROT_WRITE))
		return access | PF_USER_BIT | PF_PRESENT;
	if (access == PF_FETCH_BIT && !(prot & PROT_EXEC))
		return access | PF_USER_BIT | PF_PRESENT;
	*ret = guest_ptr(at);
	return 0;
}

void rig_fresh(void)
{
	const struct brief_config cfg = {.map = map, .priv = &B};

	memset(&B, 0, sizeof(B));
	brief_init(&B, &cfg, &R);
}

void rig_begin(void)
{
	harness_begin();
	rig_no_aliases();
	map_forgets = false;
	map_moves_code = 0;
	if (!page_rights[0])
		memset(page_rights, ALL_RIGHTS, sizeof(page_rights));
	rig_fresh();
}

void rig_rights(uint64_t va, size_t len, int prot)
{
	uint64_t off = va - GUEST_LOW;

	set_rights(va, len, prot);
	for (uint64_t k = off >> 12; k <= (off + len - 1) >> 12; k++)
		page_rights[k] = (uint8_t)prot;
	brief_forget(&B);
}

void rig_alias(uint64_t va, uint64_t of)
{
	if (nr_aliases == NR_ALIASES)
		abort();
	alias[nr_aliases].va = va;
	alias[nr_aliases++].of = of;
	brief_forget(&B);
}

void rig_no_aliases(void)
{
	nr_aliases = 0;
	brief_forget(&B);
}

static void fill(uint64_t va, unsigned int len)
{
	uint8_t *g = guest_ptr(va);

	for (unsigned int k = 0; k < len; k += 8) {
		uint64_t v = rnd();

		if (!(v & 3))
			v = CODE + (v >> 8 & 0xfff);
		else if (!(v & 0x70))
			v = v & 0x80 ? 0 : ~0ull;
		memcpy(g + k, &v, 8);
	}
	memcpy(ram_native + (va - GUEST_LOW), g, len);
}

void rig_random_memory(void)
{
	fill(DATA - AREA / 2, AREA);
	fill(STACK - STACK_AREA / 2, STACK_AREA);
}

void rig_code(uint64_t va, const void *bytes, size_t len)
{
	static uint8_t page[4096];

	if (page[0] != INT3)
		memset(page, INT3, sizeof(page));
	for (unsigned int k = 0; k < CODE_PAGES; k++) {
		memcpy(guest_ptr(CODE + 4096 * k), page, 4096);
		memcpy(ram_native + (CODE - GUEST_LOW) + 4096 * k, page, 4096);
	}
	memcpy(guest_ptr(va), bytes, len);
	memcpy(ram_native + (va - GUEST_LOW), bytes, len);
}

uint64_t undefined_flags(const struct insn *i, unsigned int kind)
{
	const uint64_t zf_sf_af_pf = 0xd4, of = 0x800, af = 0x10, cf = 1;
	unsigned int count;

	if (kind >= BK_MUL && kind < BK_DIV)
		return zf_sf_af_pf;
	if (kind >= BK_IMUL3 && kind < BK_BSF)
		return zf_sf_af_pf;
	if (kind >= BK_DIV && kind < BK_XCHG)
		return FLAGS_UNDER;
	/* By an immediate; here they are done by CL. */
	if (kind >= BK_ROL && kind < BK_CMOV && (i->op & 0xfe) == 0xc0) {
		count = (unsigned int)insn_imm(i) & (i->w ? 63 : 31);
		if (kind < BK_SHL)
			return count > 1 ? of : 0;
		return (count > 1 ? of : 0) | (count ? af : 0) | (count > 7 ? cf : 0);
	}
	/* The others are done by the same instruction, so that even what is undefined is equal. */
	return 0;
}

void show_bytes(const char *what, const uint8_t *p, unsigned int len)
{
	printf("%s:", what);
	for (unsigned int k = 0; k < len; k++)
		printf(" %02x", p[k]);
	printf("\n");
}

bool same_registers(const struct core_regs *b, const struct core_regs *n, uint64_t undefined)
{
	static const char *names[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
					"r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
	const uint64_t m = FLAGS_SEEN & ~undefined;
	bool ok = true;

	for (unsigned int k = 0; k < 16; k++)
		if (b->gpr[k] != n->gpr[k]) {
			printf("  %s: brief %#lx, not %#lx\n", names[k], b->gpr[k], n->gpr[k]);
			ok = false;
		}
	if ((b->rflags & m) != (n->rflags & m)) {
		printf("  rflags: brief %#lx, not %#lx\n", b->rflags & m, n->rflags & m);
		ok = false;
	}
	if (b->rip != n->rip) {
		printf("  rip: brief %#lx, not %#lx\n", b->rip, n->rip);
		ok = false;
	}
	if (b->fs_base != n->fs_base || b->gs_base != n->gs_base) {
		printf("  fs or gs base\n");
		ok = false;
	}
	return ok;
}

static bool same_area(const char *what, uint64_t va, unsigned int len)
{
	const uint8_t *g = guest_ptr(va), *n = ram_native + (va - GUEST_LOW);

	if (!memcmp(g, n, len))
		return true;
	for (unsigned int k = 0; k < len; k++)
		if (g[k] != n[k]) {
			printf("  %s at %#lx: brief %02x, not %02x\n", what, va + k, g[k], n[k]);
			break;
		}
	return false;
}

bool same_memory(void)
{
	bool data = same_area("data", DATA - AREA / 2, AREA);

	return same_area("stack", STACK - STACK_AREA / 2, STACK_AREA) && data;
}

bool memory_untouched(const char *what)
{
	static uint8_t data[AREA], stack[STACK_AREA];
	const uint8_t *d = guest_ptr(DATA - AREA / 2), *s = guest_ptr(STACK - STACK_AREA / 2);

	if (!what) {
		memcpy(data, d, AREA);
		memcpy(stack, s, STACK_AREA);
		return true;
	}
	if (!memcmp(data, d, AREA) && !memcmp(stack, s, STACK_AREA))
		return true;
	printf("  %s: something was stored\n", what);
	return false;
}
