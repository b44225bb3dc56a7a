/* SPDX-License-Identifier: MIT */
/*
 * The guest's vector registers. While its user mode runs they are in G. When that comes back they
 * are an XSAVE image in the host's signal frame, and there they stay: most system calls touch no
 * vector register, and G loads them from the frame again. Only when the guest's kernel executes an
 * FPU instruction (the translator stops in front of it) K loads them into its own registers, so
 * that the kernel's XSAVE and XRSTOR mean what they say.
 */
#include "exec/ring3/monitor/k.h"
#include "exec/ring3/monitor/user.h"

#include "core/lib/mem.h"

#define LEGACY	   512u
#define HEADER	   64u
#define IMAGE_MAX  (4096u + 4096u - US_FPU)
#define AT_MXCSR   24u
#define AT_BV	   512u
#define COMPONENTS 0xe7ull /* x87, SSE, AVX, AVX-512; not AMX: see domain/cpuid.c */
#define MXCSR_DFLT 0x0000ffbfu

static struct {
	uint64_t mask;
	bool xsaveopt;
	uint32_t mxcsr_mask;
	uint32_t end[8]; /* end of each component in a standard image */
} fpu;

/* Where the registers are: in K, or in an image in the block of this process. */
static struct {
	const struct u_slot *slot; /* NULL: in K */
	uint64_t at;		   /* U address */
} home;

static uint8_t buffer[IMAGE_MAX] __attribute__((aligned(64)));

void fpu_setup(void)
{
	uint32_t a, b, c, d;

	__asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
	fpu.mask = a & COMPONENTS;
	for (unsigned int i = 0; i < 8; i++) {
		fpu.end[i] = LEGACY + HEADER;
		if (i < 2 || !(fpu.mask >> i & 1))
			continue;
		__asm__ volatile("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(0xd), "c"(i));
		fpu.end[i] = a + b;
		if (fpu.end[i] > IMAGE_MAX)
			k_die("this processor's vector state is larger than the ring3 executor "
			      "knows");
	}
	__asm__ volatile("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(0xd), "c"(1));
	fpu.xsaveopt = a & 1;
	__asm__ volatile("fxsave64 %0" : "=m"(buffer));
	memcpy(&fpu.mxcsr_mask, buffer + 28, 4);
	if (!fpu.mxcsr_mask)
		fpu.mxcsr_mask = MXCSR_DFLT;
}

uint64_t fpu_mask(void)
{
	return fpu.mask;
}

uint32_t fpu_flags(void)
{
	return fpu.xsaveopt ? UF_XSAVEOPT : 0;
}

/*
 * XSAVEOPT leaves out what is in its initial state, and what is still as the last XRSTOR made it,
 * if that was from the same address. K never does that; G does, at a site, and between its XRSTOR
 * and its XSAVEOPT nobody but G writes there.
 */
static void save(uint8_t *image)
{
	uint32_t a = (uint32_t)fpu.mask, d = (uint32_t)(fpu.mask >> 32);

	memset(image + AT_BV, 0, HEADER);
	if (fpu.xsaveopt)
		__asm__ volatile("xsaveopt64 (%0)" : : "r"(image), "a"(a), "d"(d) : "memory");
	else
		__asm__ volatile("xsave64 (%0)" : : "r"(image), "a"(a), "d"(d) : "memory");
}

/* From memory that the guest can write to: a copy, made such that XRSTOR accepts it. */
static void load(const uint8_t *image, uint64_t room)
{
	uint64_t bv = __atomic_load_n((const uint64_t *)(image + AT_BV), __ATOMIC_RELAXED);
	uint32_t mxcsr, len = LEGACY + HEADER;

	bv &= fpu.mask;
	for (unsigned int i = 2; i < 8; i++)
		if ((bv >> i & 1) && fpu.end[i] > len)
			len = fpu.end[i];
	if (len > room) {
		bv &= 3;
		len = LEGACY + HEADER;
	}
	memcpy(buffer, image, len);
	memset(buffer + AT_BV, 0, HEADER);
	memcpy(buffer + AT_BV, &bv, sizeof(bv));
	memcpy(&mxcsr, buffer + AT_MXCSR, 4);
	mxcsr &= fpu.mxcsr_mask;
	memcpy(buffer + AT_MXCSR, &mxcsr, 4);
	__asm__ volatile("xrstor64 %0"
			 :
			 : "m"(buffer), "a"((uint32_t)fpu.mask), "d"((uint32_t)(fpu.mask >> 32))
			 : "memory");
}

void fpu_came_back(const struct u_slot *s, uint64_t at)
{
	uint64_t off = at - U_BLOCK;

	/* An address that no host made up: the program loses its own registers. */
	if (off < UB_STATE + US_FPU || off > U_BLOCK_SIZE - LEGACY - HEADER || (at & 63)) {
		at = U_BLOCK + UB_STATE + US_FPU;
		memset(s->state->fpu, 0, LEGACY + HEADER);
	}
	home.slot = s;
	home.at = at;
	xlate_set_fpu_trap(k.x, true);
}

void fpu_claim(void)
{
	uint64_t off = home.at - U_BLOCK;

	if (home.slot)
		load(home.slot->block + off, U_BLOCK_SIZE - off);
	home.slot = NULL;
	xlate_set_fpu_trap(k.x, false);
}

bool fpu_in_user(void)
{
	return home.slot != NULL;
}

uint64_t fpu_give(struct u_slot *s)
{
	/* (nothing to load where nothing has changed) */
	if (home.slot == s)
		return s->fpu_live ? 0 : home.at;
	s->fpu_live = false;
	fpu_claim();
	save(s->state->fpu);
	return U_BLOCK + UB_STATE + US_FPU;
}
