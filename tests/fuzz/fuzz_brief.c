/* SPDX-License-Identifier: MIT */
/*
 * The interpreter of brief turns on arbitrary code, registers and memory. Each page is shown where
 * it may be read, written or executed only, between pages that nobody may touch: an access that
 * map() did not answer for is a signal. The same is executed twice: at once; and an instruction at
 * a time, with nothing kept, each beside the processor.
 *
 * Input: byte 0 where in its page the code begins, in eighths; byte 1 bits: how many at once; bytes
 * 2-17 the registers, 18 and 19 the segment bases, as value() has them, 20 the flags; code.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../unit/brief/generate.h"

#define NR_INSNS 150u
#define READ	 0u
#define WRITE	 1u
#define FETCH	 2u

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The program's pages, by what may be done with them: bits of READ, WRITE, FETCH. */
static const struct {
	uint64_t va;
	unsigned int rights;
} pages[] = {
	{CODE, 1 << READ | 1 << FETCH},
	{CODE + 0x1000, 1 << READ | 1 << WRITE | 1 << FETCH},
	{DATA, 1 << READ | 1 << WRITE},
	{DATA + 0x1000, 1 << READ},
	{STACK - 0x1000, 1 << READ | 1 << WRITE},
};
#define PAGES (sizeof(pages) / sizeof(*pages))

static uint8_t *seen[PAGES][3]; /* as READ, WRITE, FETCH */
static uint8_t *memory[PAGES];	/* the test's own look at it */
static bool asked_for_code;	/* as data */
static volatile bool native;
static struct sigaction harness_handler;

static uint32_t show(void *priv, uint64_t va, uint32_t access, uint8_t **ret)
{
	unsigned int how = access == PF_WRITE_BIT ? WRITE : access == PF_FETCH_BIT ? FETCH : READ;

	for (unsigned int k = 0; k < PAGES; k++) {
		if (va >> 12 != pages[k].va >> 12)
			continue;
		if (!(pages[k].rights & 1u << how))
			return access | PF_USER_BIT | PF_PRESENT;
		if (how != FETCH && (pages[k].rights & 1u << FETCH))
			asked_for_code = true;
		*ret = seen[k][how] + (va & 0xfff);
		return 0;
	}
	return access | PF_USER_BIT;
}

/* A signal outside of native code is a bug; libFuzzer keeps the input if it aborts. */
HARNESS_BARE static void on_signal(int sig, siginfo_t *si, void *ctx)
{
	if (!native)
		abort();
	harness_handler.sa_sigaction(sig, si, ctx);
}

/* A guard in front, `page`, and a guard. */
static uint8_t *window(int fd, unsigned int page, int prot)
{
	uint8_t *p = mmap(NULL, 3 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED ||
	    mmap(p + 4096, 4096, prot, MAP_SHARED | MAP_FIXED, fd, 4096 * page) == MAP_FAILED)
		exit(77);
	return p + 4096;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const int sigs[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP};
	int fd = memfd_create("brief", MFD_CLOEXEC);
	struct sigaction sa;

	if (fd < 0 || ftruncate(fd, 4096 * PAGES) || !harness_init(0))
		exit(77);
	for (unsigned int k = 0; k < PAGES; k++) {
		seen[k][READ] = window(fd, k, PROT_READ);
		seen[k][WRITE] = window(fd, k, PROT_READ | PROT_WRITE);
		seen[k][FETCH] = window(fd, k, PROT_READ);
		memory[k] = window(fd, k, PROT_READ | PROT_WRITE);
	}
	for (unsigned int k = 0; k < sizeof(sigs) / sizeof(*sigs); k++) {
		sigaction(sigs[k], NULL, &harness_handler);
		sa = harness_handler;
		sa.sa_sigaction = on_signal;
		sigaction(sigs[k], &sa, NULL);
	}
	return 0;
}

static uint64_t value(uint8_t byte)
{
	const uint64_t offset = (uint64_t)(byte & 15) * 0x101 % 0xff9;

	switch (byte >> 4) {
	case 0:
		return byte & 15;
	case 1:
		return 0ull - (byte & 15);
	case 2:
	case 3:
		return DATA + offset;
	case 4:
		return DATA + 0x1000 - (byte & 15);
	case 5:
		return DATA + 0x1000 + offset;
	case 6:
		return DATA + 0x2000 - (byte & 15);
	case 7:
		return STACK - 0x800 + offset / 8 * 8;
	case 8:
		return STACK - 8 * (byte & 15);
	case 9:
		return CODE + offset;
	case 10:
		return CODE + 0x1000 + offset;
	case 11:
		return 0x8000000000000000ull >> (byte & 15);
	case 12:
		return BRIEF_VA_END - 8 + (byte & 15);
	case 13:
		return BRIEF_VA_FIRST - 8 + (byte & 15);
	case 14:
		return DATA + (1ull << (47 + (byte & 15)));
	default:
		return 0x0123456789abcdefull * (byte & 15);
	}
}

static void fill(struct core_regs *r, const uint8_t *data, size_t size)
{
	uint64_t at = CODE + 8 * data[0];

	memset(r, 0, sizeof(*r));
	for (unsigned int k = 0; k < 16; k++)
		r->gpr[k] = value(data[2 + k]);
	/* (these are canonical, or native_enter() could not load them) */
	r->fs_base = value(data[18] & 0x7f);
	r->gs_base = value(data[19] & 0x7f);
	r->rflags = 0x202 | ((uint64_t)data[20] << 4 & 0x8d5) | (data[20] & 5);
	r->rip = at;
	for (unsigned int k = 0; k < PAGES; k++)
		for (unsigned int n = 0; n < 4096; n++)
			memory[k][n] = (uint8_t)(n * 7 + k);
	/* as far as there is room */
	size -= 21;
	for (size_t n = 0; n < size && at + n < CODE + 0x2000; n++)
		memory[at + n >= CODE + 0x1000][(at + n) & 0xfff] = data[21 + n];
}

static void fail(const char *what, uint64_t rip, const struct insn *i)
{
	printf("%s at %#lx\n", what, rip);
	if (i)
		show_bytes("instruction", i->bytes, i->len);
	fflush(stdout);
	abort();
}

/* The processor's memory is as the program's, but for the pages that the program does not have. */
static void to_native(void)
{
	for (unsigned int k = 0; k < PAGES; k++)
		memcpy((uint8_t *)pages[k].va, memory[k], 4096);
}

static void like_native(const struct core_regs *before, const struct insn *i)
{
	uint8_t *end = (uint8_t *)R.rip, was;
	struct core_regs n = *before;
	struct outcome o;

	was = *end;
	*end = INT3;
	native = true;
	o = run_native(&n);
	native = false;
	*end = was;
	n.rip--;
	if (o.sig != SIGTRAP)
		fail("the processor does not execute it", before->rip, i);
	if (!same_registers(&R, &n, undefined_flags(i, gen_kind(i))))
		fail("executed otherwise", before->rip, i);
	for (unsigned int k = 0; k < PAGES; k++)
		if (memcmp((uint8_t *)pages[k].va, memory[k], 4096))
			fail("stored otherwise", before->rip, i);
}

/* The time is never the same, neither by steps nor by the processor: nothing can be compared. */
static bool time_told;

/* Until it ends, an instruction at a time. */
static enum brief_exit by_steps(unsigned int nr)
{
	enum brief_exit why = BRIEF_OVER;
	uint8_t bytes[16] = {0};
	struct insn i;

	to_native();
	for (; nr && why == BRIEF_OVER; nr--) {
		struct core_regs before = R;
		uint64_t page = R.rip >> 12, executed = B.executed;

		for (unsigned int k = 0; k < 15; k++)
			if (page == CODE >> 12 || page == (CODE >> 12) + 1)
				bytes[k] = R.rip + k < CODE + 0x2000
						   ? memory[R.rip + k >= CODE + 0x1000]
							   [(R.rip + k) & 0xfff]
						   : 0;
		brief_forget(&B);
		asked_for_code = false;
		why = brief_run(&B, 1);
		if (why != BRIEF_OVER)
			continue;
		if (B.executed != executed + 1 || !insn_decode(&i, bytes, 15))
			fail("miscounted", before.rip, NULL);
		time_told = gen_kind(&i) == BK_RDTSC || gen_kind(&i) == BK_RDTSCP;
		if (time_told)
			return why;
		/* (not: int3 in what it reads or is, a part of a string) */
		if (R.rip - CODE < 0x2000 && R.rip - before.rip >= i.len && !asked_for_code &&
		    insn_class(&i) != IC_STR)
			like_native(&before, &i);
		else
			to_native();
	}
	return why;
}

static void canonical(enum brief_exit why)
{
	if (why != BRIEF_SYSCALL && (R.rip < BRIEF_VA_FIRST || R.rip > BRIEF_VA_END))
		fail("not an address of programs", R.rip, NULL);
	if (why == BRIEF_FAULT &&
	    (B.fault_va < BRIEF_VA_FIRST || B.fault_va >= BRIEF_VA_END || !B.fault_error))
		fail("not a fault of programs", R.rip, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct brief_config cfg = {.map = show};
	static uint8_t after[PAGES][4096];
	struct core_regs end;
	unsigned int nr;
	enum brief_exit why, step_why;
	uint64_t executed, va;

	if (size < 22 || size > 4096)
		return 0;
	if (B.cfg.map != show) /* what it decoded stays, from one input to the next */
		brief_init(&B, &cfg, &R);
	nr = 1 + data[1] % NR_INSNS;
	fill(&R, data, size);
	brief_forget(&B);
	B.executed = 0;
	why = brief_run(&B, nr);
	canonical(why);
	executed = B.executed;
	/* (many strings are a turn) */
	if (executed > nr || (why == BRIEF_OVER && executed != nr && executed < 32))
		fail("miscounted", R.rip, NULL);
	end = R;
	va = B.fault_va;
	for (unsigned int k = 0; k < PAGES; k++)
		memcpy(after[k], memory[k], 4096);

	fill(&R, data, size);
	B.executed = 0;
	time_told = false;
	step_why = by_steps(why == BRIEF_OVER ? (unsigned int)executed : nr);
	if (time_told)
		return 0;
	if (step_why != why || B.executed != executed || (why == BRIEF_FAULT && va != B.fault_va) ||
	    memcmp(&R, &end, sizeof(R)))
		fail("not the same by steps", end.rip, NULL);
	for (unsigned int k = 0; k < PAGES; k++)
		if (memcmp(after[k], memory[k], 4096))
			fail("memory is not the same by steps", end.rip, NULL);
	return 0;
}
