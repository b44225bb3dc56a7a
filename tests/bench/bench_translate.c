/* SPDX-License-Identifier: MIT */
/*
 * The translator against native execution: the programs of translate_kernels.c, linked at a low
 * address (run both ways) and at a kernel's address (translated only). Rounds of both are
 * interleaved and the minimum of each is taken, so that a noisy machine hurts both alike.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"

#define SCRATCH	      DATA
#define EXIT_OFF      5 /* kernel_exit in the image */
#define ARRAY_SIZE(a) (sizeof(a) / sizeof(*(a)))

static const struct {
	const char *name;
	uint64_t rounds;
} kernels[] = {
	{"pointer chasing", 60},
	{"hash table", 10},
	{"tree, recursive", 6},
	{"sort with callback", 8},
	{"copy structs", 100},
	{"strings", 6},
	{"fib (calls only)", 12},
	{"1024 functions", 60},
	{"indirect calls", 60},
	{"retpolines", 30},
	{"switch", 60},
	{"page-table walk", 60},
	{"crc", 60},
	{"bitmaps", 60},
	{"radix tree", 40},
	{"lists, allocator", 60},
	{"formatting", 20},
	{"decompression", 20},
	{"matrix", 30},
	{"rep movs/stos", 400},
	{"per-CPU data", 200},
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static size_t load(const char *path, uint64_t gva)
{
	static uint8_t buf[1 << 20];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf));

	if (n <= 0) {
		perror(path);
		exit(1);
	}
	close(fd);
	harness_reset(); /* or so many rewrites would look like thrashing */
	poke(gva, buf, (size_t)n);
	poke(gva + EXIT_OFF, "\x0f\x05", 2);
	memcpy(ram_native + (CODE - GUEST_LOW) + EXIT_OFF, native_end_code, 8);
	return (size_t)n;
}

static void setup(struct core_regs *r, uint64_t which, uint64_t rounds, bool high)
{
	uint64_t d = high ? GUEST_HIGH - GUEST_LOW : 0;

	memset(r, 0, sizeof(*r));
	r->rip = CODE + d;
	r->gpr[R_RDI] = which;
	r->gpr[R_RSI] = rounds;
	r->gpr[R_RDX] = SCRATCH + d;
	r->gpr[R_RSP] = STACK + d;
	r->gs_base = SCRATCH + 0x100000 + d;
	r->rflags = 0x202;
}

static uint64_t run(uint64_t which, uint64_t rounds, int mode, uint64_t *sum)
{
	struct core_regs n;
	struct outcome o;
	uint64_t t;

	if (mode == 0) {
		memset(ram_native + (SCRATCH + 0x100000 - GUEST_LOW), 0, 256);
		setup(&n, which, rounds, false);
		t = now_ns();
		o = run_native(&n);
		t = now_ns() - t;
		*sum = n.gpr[R_RAX];
	} else {
		memset(guest_ptr(SCRATCH + 0x100000), 0, 256);
		setup(&R, which, rounds, mode == 2);
		t = now_ns();
		o = run_guest();
		t = now_ns() - t;
		*sum = R.gpr[R_RAX];
	}
	if (o.exit != XLATE_HYPERCALL) {
		printf("%s: mode %d exit %d signal %d at %#lx address %#lx\n", kernels[which].name,
		       mode, o.exit, o.sig, mode ? R.rip : n.rip, o.addr);
		exit(1);
	}
	return t;
}

/* exp and log without libm's error handling: a geometric mean by repeated square roots */
static double nth_root(double x, int n)
{
	double lo = 0, hi = x > 1 ? x : 1;
	int k, j;

	for (k = 0; k < 200; k++) {
		double mid = (lo + hi) / 2, p = 1;

		for (j = 0; j < n; j++)
			p *= mid;
		if (p < x)
			lo = mid;
		else
			hi = mid;
	}
	return lo;
}

/* A hypercall that does nothing, out of the cache and back: ns, the best of many. */
static double hypercall_ns(void)
{
	double best = 1e9;
	int k, n;

	harness_reset();
	poke(CODE, "\x0f\x05\xeb\xfc", 4); /* 1: syscall; jmp 1b */
	memset(&R, 0, sizeof(R));
	R.rip = CODE;
	R.rflags = 0x202;
	for (n = 0; n < 200; n++) {
		uint64_t t = now_ns();

		for (k = 0; k < 1000; k++)
			xlate_enter(X);
		t = now_ns() - t;
		best = (double)t / 1000 < best ? (double)t / 1000 : best;
	}
	return best;
}

/*
 * A loop over user memory, of 1,000 times `code`: ns each. (Native: the same on the RAM behind it.)
 */
static double user_ns(const char *code, unsigned int len, uint64_t bytes, bool native)
{
	static const char tail[] = "\x41\xff\xc8\x75"; /* dec r8d; jnz */
	const uint64_t user = native ? GUEST_LOW + USER_RAM : USER_BASE;
	double best = 1e9;
	uint8_t end[3];
	int n;

	harness_reset();
	poke(CODE, code, len);
	poke(CODE + len, tail, sizeof(tail) - 1);
	end[0] = (uint8_t) - (len + sizeof(tail));
	memcpy(end + 1, "\x0f\x05", 2);
	poke(CODE + len + sizeof(tail) - 1, end, 3);
	memcpy(ram_native + (CODE - GUEST_LOW) + len + sizeof(tail), native_end_code, 8);
	for (n = 0; n < 100; n++) {
		struct core_regs r;
		uint64_t t;

		memset(&r, 0, sizeof(r));
		r.rip = CODE;
		r.rflags = 0x202;
		r.gpr[R_R8] = 1000;
		r.gpr[R_RBX] = bytes;
		r.gpr[R_R9] = user;
		r.gpr[R_R10] = DATA;
		R = r;
		t = now_ns();
		if ((native ? run_native(&r) : run_guest()).exit != XLATE_HYPERCALL)
			exit(1);
		t = now_ns() - t;
		best = (double)t / 1000 < best ? (double)t / 1000 : best;
	}
	return best;
}

static void user_accesses(void)
{
	static const struct {
		const char *what, *code;
		unsigned int len;
		uint64_t bytes;
	} list[] = {
		{"mov rax, [r9]", "\x49\x8b\x01", 3, 0},
		{"mov [r9], rax", "\x49\x89\x01", 3, 0},
		/* mov rsi, r9; mov rdi, r10; mov ecx, ebx; rep movsb */
		{"64 bytes in", "\x4c\x89\xce\x4c\x89\xd7\x89\xd9\xf3\xa4", 10, 64},
		{"4096 bytes in", "\x4c\x89\xce\x4c\x89\xd7\x89\xd9\xf3\xa4", 10, 4096},
		{"4096 bytes out", "\x4c\x89\xcf\x4c\x89\xd6\x89\xd9\xf3\xa4", 10, 4096},
		{"65536 bytes in", "\x4c\x89\xce\x4c\x89\xd7\x89\xd9\xf3\xa4", 10, 65536},
	};
	unsigned int k;

	for (k = 0; k < ARRAY_SIZE(list); k++)
		printf("user memory, %-16s %8.1f ns, native %8.1f\n", list[k].what,
		       user_ns(list[k].code, list[k].len, list[k].bytes, false),
		       user_ns(list[k].code, list[k].len, list[k].bytes, true));
}

/*
 * MB of guest code a second: runs the program with the 1,024 functions from an empty cache, less
 * the same run with everything translated.
 */
static double translation_speed(const char *image)
{
	double best = 0;
	int n;

	for (n = 0; n < 20; n++) {
		struct xlate_stats st;
		uint64_t cold, warm = ~0ull, t, sum;
		int k;

		load(image, HIGH(CODE));
		cold = run(7, 60, 2, &sum);
		for (k = 0; k < 5; k++) {
			t = run(7, 60, 2, &sum);
			warm = t < warm ? t : warm;
		}
		xlate_get_stats(X, &st);
		if (cold > warm && (double)st.guest_bytes * 1e3 / (double)(cold - warm) > best)
			best = (double)st.guest_bytes * 1e3 / (double)(cold - warm);
	}
	return best;
}

int main(int argc, char **argv)
{
	unsigned int k, r, rounds = 60, bad = 0, count = 0;
	const char *low = NULL, *high = NULL, *only = "";
	double product[2] = {1, 1}, worst[2] = {0, 0}, rep = 0, call, speed;
	bool check = false;
	int i;

	for (i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--check"))
			check = true;
		else if (!strncmp(argv[i], "--rounds=", 9))
			rounds = (unsigned int)atoi(argv[i] + 9);
		else if (!strncmp(argv[i], "--only=", 7))
			only = argv[i] + 7;
		else if (!low)
			low = argv[i];
		else
			high = argv[i];
	}
	if (!low || !high || !harness_init(0))
		return 1;
	load(low, CODE);
	printf("%-20s %10s %8s %8s\n", "", "native ns", "low", "high");
	for (k = 0; k < ARRAY_SIZE(kernels); k++) {
		uint64_t best[3] = {~0ull, ~0ull, ~0ull}, sum[3], t;
		int mode;

		if (!strstr(kernels[k].name, only))
			continue;
		load(low, CODE);
		for (mode = 0; mode < 2; mode++)
			run(k, kernels[k].rounds, mode, &sum[mode]);
		for (r = 0; r < rounds; r++)
			for (mode = 0; mode < 2; mode++) {
				t = run(k, kernels[k].rounds, mode, &sum[mode]);
				best[mode] = t < best[mode] ? t : best[mode];
			}
		load(high, HIGH(CODE));
		run(k, kernels[k].rounds, 2, &sum[2]);
		for (r = 0; r < rounds; r++) {
			t = run(k, kernels[k].rounds, 2, &sum[2]);
			best[2] = t < best[2] ? t : best[2];
		}
		if (sum[0] != sum[1] || sum[0] != sum[2]) {
			printf("%s: results differ: %#lx %#lx %#lx\n", kernels[k].name, sum[0],
			       sum[1], sum[2]);
			bad++;
		}
		printf("%-20s %10lu %8.3f %8.3f\n", kernels[k].name, best[0],
		       (double)best[1] / (double)best[0], (double)best[2] / (double)best[0]);
		if (!strcmp(kernels[k].name, "rep movs/stos"))
			rep = (double)best[2] / (double)best[0];
		count++;
		for (mode = 1; mode < 3; mode++) {
			double q = (double)best[mode] / (double)best[0];

			product[mode - 1] *= q;
			worst[mode - 1] = q > worst[mode - 1] ? q : worst[mode - 1];
		}
	}
	printf("%-20s %10s %8.3f %8.3f\n", "geometric mean", "", nth_root(product[0], (int)count),
	       nth_root(product[1], (int)count));
	if (*only)
		return bad != 0;
	printf("%-20s %10s %8.3f %8.3f\n", "worst", "", worst[0], worst[1]);
	user_accesses();
	call = hypercall_ns();
	speed = translation_speed(high);
	printf("null hypercall %.1f ns (goal 60), translation %.1f MB/s (goal 12), rep %.2f (goal "
	       "1.05)\n",
	       call, speed, rep);
	if (bad)
		return 1;
	if (check && (nth_root(product[1], (int)count) > 1.20 || worst[1] > 1.5 || call > 60 ||
		      speed < 12 || rep > 1.05)) {
		printf("goal missed: geometric mean 1.20, worst 1.5, and those above\n");
		return 1;
	}
	return 0;
}
