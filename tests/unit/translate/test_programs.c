/* SPDX-License-Identifier: MIT */
/*
 * Real compiler output: the programs of tests/bench/translate_kernels.c, built with several
 * optimisation levels and code models, run translated; results are compared with a native run of
 * the same image (low ones) or of the first image (high ones). Arguments: low:FILE or high:FILE.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

#include "harness.h"

#define NR_KERNELS 21
#define EXIT_OFF   5
#define SCRATCH	   DATA

static char **files;
static int nr_files;
static uint64_t expected[NR_KERNELS][2];
static const uint64_t rounds[2] = {1, 3};

static void load(const char *path, uint64_t gva)
{
	static uint8_t buf[1 << 20];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf));

	assert_true(n > 0);
	close(fd);
	harness_reset();
	poke(gva, buf, (size_t)n);
	poke(gva + EXIT_OFF, "\x0f\x05", 2);
	memcpy(ram_native + (CODE - GUEST_LOW) + EXIT_OFF, native_end_code, 8);
}

static void setup(struct core_regs *r, uint64_t which, uint64_t n, uint64_t delta)
{
	memset(r, 0, sizeof(*r));
	r->rip = CODE + delta;
	r->gpr[R_RDI] = which;
	r->gpr[R_RSI] = n;
	r->gpr[R_RDX] = SCRATCH + delta;
	r->gpr[R_RSP] = STACK + delta;
	r->gpr[R_RBX] = 0x1234;
	r->gs_base = SCRATCH + 0x100000 + delta;
	r->rflags = 0x202;
}

static uint64_t native(uint64_t which, uint64_t n)
{
	struct core_regs r;
	struct outcome o;

	memset(ram_native + (SCRATCH - GUEST_LOW), 0, 0x200000);
	setup(&r, which, n, 0);
	o = run_native(&r);
	assert_int_equal(o.exit, XLATE_HYPERCALL);
	return r.gpr[R_RAX];
}

static uint64_t guest(uint64_t which, uint64_t n, bool high)
{
	uint64_t delta = high ? GUEST_HIGH - GUEST_LOW : 0;
	struct outcome o;

	memset(guest_ptr(SCRATCH), 0, 0x200000);
	setup(&R, which, n, delta);
	o = run_guest();
	if (o.exit != XLATE_HYPERCALL)
		printf("kernel %lu: exit %d signal %d at %#lx address %#lx\n", which, o.exit, o.sig,
		       R.rip, o.addr);
	assert_int_equal(o.exit, XLATE_HYPERCALL);
	assert_int_equal(R.rip, CODE + delta + EXIT_OFF + 2);
	assert_int_equal(R.gpr[R_RSP], STACK + delta);
	assert_int_equal(R.gpr[R_RBX], 0x1234);
	return R.gpr[R_RAX];
}

static bool is_high(const char *arg, const char **path)
{
	*path = strchr(arg, ':') + 1;
	return arg[0] == 'h';
}

static void all_kernels(bool fill)
{
	const char *path;
	int f, k, r;

	for (f = 0; f < nr_files; f++) {
		bool high = is_high(files[f], &path);

		if (!VECTORS_COMPARED && !strncmp(files[f], "lowv", 4)) {
			printf("%s left out: ASan uses the vector registers\n", path);
			continue;
		}
		load(path, high ? HIGH(CODE) : CODE);
		for (k = 0; k < NR_KERNELS; k++)
			for (r = 0; r < 2; r++) {
				if (!high && fill) {
					uint64_t v = native(k, rounds[r]);

					if (f == 0)
						expected[k][r] = v;
					assert_int_equal(v, expected[k][r]);
				}
				assert_int_equal(guest(k, rounds[r], high), expected[k][r]);
			}
	}
}

static void test_results(void **state)
{
	harness_begin();
	all_kernels(true);
}

/*
 * The same while a timer interrupts: every stop must yield a state from which the program goes on
 * to the same result. Any wrong register, flag or stack word at any stop changes a checksum.
 */
static unsigned long nr_stops;
static void count_stop(void)
{
	nr_stops++;
	/* the guest owns its stack below this point: an event handler would run here */
	if (R.gpr[R_RSP] - 256 >= GUEST_LOW && R.gpr[R_RSP] < GUEST_LOW + GUEST_SIZE)
		memset(guest_ptr(R.gpr[R_RSP] - 256), 0x5a, 256 - 8);
	else if (R.gpr[R_RSP] - 256 >= GUEST_HIGH && R.gpr[R_RSP] < GUEST_HIGH + GUEST_SIZE)
		memset(guest_ptr(R.gpr[R_RSP] - 256), 0x5a, 256 - 8);
}

static void test_kicks(void **state)
{
	struct itimerval it = {{0, 61}, {0, 61}}, off = {{0, 0}, {0, 0}};
	int n;

	harness_begin();
	on_stop = count_stop;
	setitimer(ITIMER_REAL, &it, NULL);
	for (n = 0; n < 3; n++)
		all_kernels(false);
	setitimer(ITIMER_REAL, &off, NULL);
	on_stop = NULL;
	printf("%lu stops\n", nr_stops);
	assert_true(nr_stops > 100);
}

/* A cache so small that everything is forgotten again and again. */
static void test_small_cache(void **state)
{
	struct xlate_stats st;
	const char *path;
	int k;

	harness_begin();
	harness_cache(4 << 20);
	for (k = 0; k < 3; k++) {
		bool high = is_high(files[k % nr_files], &path);

		load(path, high ? HIGH(CODE) : CODE);
		for (int n = 0; n < 150; n++) {
			assert_int_equal(guest(7, 1, high), expected[7][0]);
			xlate_invalidate_va_range(X, high ? HIGH(CODE) : CODE, 0x80000);
		}
	}
	xlate_get_stats(X, &st);
	printf("%lu fragments, %lu flushes\n", st.fragments, st.flushes);
	assert_true(st.flushes > 0);
	harness_cache(0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_results),
		cmocka_unit_test(test_kicks),
		cmocka_unit_test(test_small_cache),
	};

	files = argv + 1;
	nr_files = argc - 1;
	if (nr_files < 1) {
		printf("usage: test_programs low:FILE high:FILE...\n");
		return 2;
	}
	if (!harness_init(0))
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
