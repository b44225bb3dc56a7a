/* SPDX-License-Identifier: MIT */
/*
 * Whole programs translated, not run: all of the code of a C library (and of a Linux kernel, where
 * one is at hand: PVV_TEST_VMLINUX) placed at a kernel's address. Every fragment is checked by
 * emitted_ok(); and the translator must keep its pace.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "emitted.h"
#include "harness.h"

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* The executable bytes of an ELF file, to `gva`. Returns their number. */
static size_t load_text(const char *path, uint64_t gva)
{
	size_t got = 0, max = GUEST_SIZE - 0x300000;
	Elf64_Ehdr eh;
	Elf64_Phdr ph;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	unsigned int k;

	if (fd < 0 || read(fd, &eh, sizeof(eh)) != sizeof(eh) || memcmp(eh.e_ident, ELFMAG, 4)) {
		printf("%s: not there or no ELF file, skipped\n", path);
		if (fd >= 0)
			close(fd);
		return 0;
	}
	for (k = 0; k < eh.e_phnum && got < max; k++) {
		size_t n;

		if (pread(fd, &ph, sizeof(ph), (off_t)(eh.e_phoff + k * eh.e_phentsize)) !=
		    sizeof(ph))
			break;
		if (ph.p_type != PT_LOAD || !(ph.p_flags & PF_X))
			continue;
		n = ph.p_filesz < max - got ? ph.p_filesz : max - got;
		if (pread(fd, guest_ptr(gva + got), n, (off_t)ph.p_offset) == (ssize_t)n)
			got += n;
	}
	close(fd);
	return got;
}

/* Linear: each fragment starts where the last one ended. */
static void translate_all(uint64_t gva, size_t len, unsigned int *bad)
{
	uint64_t pc = gva, addr;
	struct xlate_stats st;
	uint32_t err, k;
	double t = now();

	while (pc + 16 < gva + len) {
		uint32_t host = xlate_translate(X, pc, false, &err, &addr);

		if (!host)
			break;
		pc += X->frags[X->nr_frags].glen;
		while (pc + 16 < gva + len && xlate_lookup(X, pc))
			pc++;
	}
	t = now() - t;
	xlate_get_stats(X, &st);
	printf("%lu bytes, %lu instructions, %lu fragments: %.1f MB/s, %.0f ns an instruction, "
	       "growth %.2f\n",
	       st.guest_bytes, st.guest_insns, st.fragments, (double)st.guest_bytes / t / 1e6,
	       t * 1e9 / (double)st.guest_insns, (double)st.host_bytes / (double)st.guest_bytes);
	assert_true(st.flushes == 0 || X->exact);
	for (k = 1; k <= X->nr_frags && *bad < 10; k++)
		if (!emitted_ok(X, &X->frags[k])) {
			printf("  fragment at guest %#lx\n", X->frags[k].gva);
			(*bad)++;
		}
}

static void test_text(void **state)
{
	const char *paths[] = {"/usr/lib/x86_64-linux-gnu/libc.so.6",
			       "/usr/lib/x86_64-linux-gnu/libcrypto.so.3", "/bin/bash",
			       getenv("PVV_TEST_VMLINUX")};
	unsigned int k, bad = 0, done = 0;

	harness_begin();
	for (k = 0; k < 4; k++) {
		int low;

		if (!paths[k])
			continue;
		for (low = 0; low < 2; low++) {
			uint64_t gva = low ? CODE : HIGH(CODE);
			size_t n;

			harness_cache(0);
			n = load_text(paths[k], gva);
			if (n)
				translate_all(gva, n, &bad);
			done += n > 0;
		}
	}
	assert_int_equal(bad, 0);
	assert_true(done > 0);
}

/* Random bytes, in all modes: nothing that is emitted may be dangerous. */
static void test_random(void **state)
{
	unsigned int k, j, bad = 0;
	uint32_t err;
	uint64_t addr;

	harness_begin();
	for (k = 0; k < 300 && bad < 10; k++) {
		harness_cache(0);
		for (j = 0; j < 0x4000; j += 8) {
			uint64_t v = rnd();

			memcpy(guest_ptr(CODE + j), &v, 8);
		}
		if (k % 3 == 0)
			X->exact = 1;
		X->stepping = k % 5 == 0;
		for (j = 0; j < 200; j++) {
			uint64_t delta[3] = {0, GUEST_HIGH - GUEST_LOW, GUEST_FAR - GUEST_LOW};

			xlate_translate(X,
					CODE + rnd() % 0x3fc0 + delta[k % 7 == 0 ? j % 3 : k % 2],
					!X->stepping && j % 2, &err, &addr);
			if (j % 50 == 49) /* some of it in the verifying mode */
				xlate_invalidate_frame(X, ((CODE - GUEST_LOW) >> 12) + j / 50);
		}
		for (j = 1; j <= X->nr_frags && bad < 10; j++)
			bad += !emitted_ok(X, &X->frags[j]);
	}
	assert_int_equal(bad, 0);
}

/* The checker itself: it must notice what it is there for. */
static void test_checker(void **state)
{
	static const uint8_t load[] = {0x48, 0x8b, 0x07, 0x0f, 0x05};
	static const struct {
		uint8_t bytes[4];
		unsigned int len;
	} breakage[] = {
		{{0x3e, 0x48, 0x8b, 0x07}, 4}, /* no shift */
		{{0x0f, 0xa2, 0x90, 0x90}, 4}, /* cpuid */
		{{0x0f, 0x05, 0x90, 0x90}, 4}, /* syscall */
		{{0x8c, 0xd8, 0x90, 0x90}, 4}, /* mov eax, ds */
		{{0x9d, 0x90, 0x90, 0x90}, 4}, /* popf */
	};
	uint64_t addr;
	uint32_t err;
	unsigned int k;

	harness_begin();
	harness_cache(0);
	poke(CODE, load, sizeof(load));
	assert_true(xlate_translate(X, CODE, false, &err, &addr) != 0);
	assert_true(emitted_ok(X, &X->frags[1]));
	for (k = 0; k < sizeof(breakage) / sizeof(*breakage); k++) {
		uint8_t *p = (uint8_t *)(uintptr_t)X->frags[1].host, saved[4];

		memcpy(saved, p, 4);
		memcpy(p, breakage[k].bytes, breakage[k].len);
		assert_false(emitted_ok(X, &X->frags[1]));
		memcpy(p, saved, 4);
	}
	/* notes that do not fit */
	X->frags[1].glen++;
	assert_false(emitted_ok(X, &X->frags[1]));
	X->frags[1].glen--;
	assert_true(emitted_ok(X, &X->frags[1]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_checker),
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_random),
	};

	if (!harness_init(0))
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
