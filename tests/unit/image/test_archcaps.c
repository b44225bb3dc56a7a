/* SPDX-License-Identifier: MIT */
/* IA32_ARCH_CAPABILITIES: from what a host's kernel says to what a guest may read. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "domain/archcaps.h"
#include "domain/cpuid.h"

#define GOOD "Not affected\n"

static char folder[] = "/tmp/pvv-archcaps.XXXXXX";

static void path_of(char path[256], const char *file)
{
	snprintf(path, 256, "%s/%s", folder, file);
}

static void say(const char *file, const char *text)
{
	char path[256];
	FILE *f;

	path_of(path, file);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fputs(text, f) < 0, 0);
	assert_int_equal(fclose(f), 0);
}

static void forget(const char *file)
{
	char path[256];

	path_of(path, file);
	assert_int_equal(unlink(path), 0);
}

static void a_host_that_says_nothing(void **state)
{
	assert_int_equal(arch_caps_of_host(folder), 0);
	assert_int_equal(arch_caps_of_host("/nonexistent"), 0);
}

static void each_file_by_itself(void **state)
{
	static const struct {
		const char *file;
		uint64_t bits;
	} all[] = {
		{"spec_store_bypass", 1ull << 4},
		{"mds", 1ull << 5},
		{"itlb_multihit", 1ull << 6},
		{"tsx_async_abort", 1ull << 8},
		{"mmio_stale_data", 7ull << 13},
		{"gather_data_sampling", 1ull << 26},
		{"reg_file_data_sampling", 1ull << 27},
		{"indirect_target_selection", 1ull << 62},
		{"retbleed", 0},
		{"spectre_v2", 0},
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		say(all[i].file, GOOD);
		assert_int_equal(arch_caps_of_host(folder), all[i].bits);
		say(all[i].file, "Mitigation: Something\n");
		assert_int_equal(arch_caps_of_host(folder), 0);
		say(all[i].file, "Not affected, or hardly\n");
		assert_int_equal(arch_caps_of_host(folder), 0);
		say(all[i].file, "");
		assert_int_equal(arch_caps_of_host(folder), 0);
		forget(all[i].file);
	}
}

static void one_bit_for_two(void **state)
{
	say("meltdown", GOOD);
	assert_int_equal(arch_caps_of_host(folder), 0);
	say("l1tf", "Mitigation: PTE Inversion\n");
	assert_int_equal(arch_caps_of_host(folder), 0);
	say("l1tf", GOOD);
	assert_int_equal(arch_caps_of_host(folder), 1);
	forget("meltdown");
	assert_int_equal(arch_caps_of_host(folder), 0);
	forget("l1tf");
}

static void what_translation_adds(void **state)
{
	uint64_t host = arch_caps_of_host(NULL);

	assert_int_equal(arch_caps(false), host);
	assert_int_equal(arch_caps(true), host | 1ull << 62);
}

static struct cpuid_regs intel(void *opaque, uint32_t leaf, uint32_t subleaf)
{
	if (leaf == 0)
		return (struct cpuid_regs){7, 0x756e6547, 0x6c65746e, 0x49656e69};
	return (struct cpuid_regs){0};
}

static struct cpuid_regs old_intel(void *opaque, uint32_t leaf, uint32_t subleaf)
{
	struct cpuid_regs r = intel(opaque, leaf, subleaf);

	if (leaf == 0)
		r.eax = 6;
	return r;
}

static struct cpuid_regs amd(void *opaque, uint32_t leaf, uint32_t subleaf)
{
	if (leaf == 0)
		return (struct cpuid_regs){7, 0x68747541, 0x444d4163, 0x69746e65};
	return (struct cpuid_regs){0};
}

static bool shown(const struct core_boot *b)
{
	for (uint32_t i = 0; i < b->nr_cpuid; i++)
		if (b->cpuid[i].leaf == 7 && b->cpuid[i].subleaf == 0)
			return b->cpuid[i].edx >> 29 & 1;
	return false;
}

static void a_register_for_those_who_look(void **state)
{
	struct core_boot b = {.arch_caps = 99};

	cpuid_policy(&b, intel, NULL);
	assert_false(shown(&b));
	cpuid_policy_arch_caps(&b, 0);
	assert_false(shown(&b));
	assert_int_equal(b.arch_caps, 0);
	cpuid_policy_arch_caps(&b, 0x21);
	assert_true(shown(&b));
	assert_int_equal(b.arch_caps, 0x21);

	cpuid_policy(&b, old_intel, NULL);
	cpuid_policy_arch_caps(&b, 0x21);
	assert_false(shown(&b));
	assert_int_equal(b.arch_caps, 0);

	cpuid_policy(&b, amd, NULL);
	cpuid_policy_arch_caps(&b, 0x21);
	assert_false(shown(&b));
	assert_int_equal(b.arch_caps, 0);
}

static int setup(void **state)
{
	return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state)
{
	return rmdir(folder); /* fails if a test left something behind */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_host_that_says_nothing),
		cmocka_unit_test(each_file_by_itself),
		cmocka_unit_test(one_bit_for_two),
		cmocka_unit_test(what_translation_adds),
		cmocka_unit_test(a_register_for_those_who_look),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
