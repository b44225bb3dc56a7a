/* SPDX-License-Identifier: MIT */
#include "core/cpu/cpu.h"

#include "core/lib/mem.h"

/* PE, MP, ET, NE, WP, AM, PG: what Xen runs with, and what a PV guest reads from cr0. */
#define START_CR0  0x80050033ull
/* PAE, MCE, OSFXSR, OSXMMEXCPT: the fixed part of a PV guest's cr4. */
#define START_CR4  0x660ull
/* SCE, LME, LMA, NXE. */
#define START_EFER 0xd01ull
/* Xen's memory types; a guest can read but not change them. */
#define START_PAT  0x050100070406ull

#define STUB_SIZE 32
#define NR_STUBS  128

void core_cpu_init(struct core_vcpu *v)
{
	v->cr0 = START_CR0;
	v->cr4 = START_CR4;
	v->efer = START_EFER;
	v->pat = START_PAT;
	v->debugreg[6] = 0xffff0ff0;
	v->debugreg[7] = 0x400;
}

static uint8_t *emit(uint8_t *p, const uint8_t *bytes, unsigned int n)
{
	memcpy(p, bytes, n);
	return p + n;
}

void core_fill_hypercall_page(void *page)
{
	static const uint8_t save[] = {0x51, 0x41, 0x53};	   /* push %rcx; push %r11 */
	static const uint8_t restore[] = {0x41, 0x5b, 0x59, 0xc3}; /* pop %r11; pop %rcx; ret */
	static const uint8_t syscall[] = {0x0f, 0x05};
	static const uint8_t push_rax[] = {0x50};

	memset(page, 0xcc, 4096);
	for (uint32_t nr = 0; nr < NR_STUBS; nr++) {
		uint8_t *p = (uint8_t *)page + nr * STUB_SIZE;

		p = emit(p, save, sizeof(save));
		/* iret takes the guest's rax from its frame, and never comes back. */
		if (nr == __HYPERVISOR_iret)
			p = emit(p, push_rax, sizeof(push_rax));
		*p++ = 0xb8; /* mov $nr, %eax */
		memcpy(p, &nr, 4);
		p = emit(p + 4, syscall, sizeof(syscall));
		if (nr != __HYPERVISOR_iret)
			p = emit(p, restore, sizeof(restore));
	}
}
