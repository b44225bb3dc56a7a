/* SPDX-License-Identifier: MIT */
/*
 * The kvm executor's judgement of exits (exits.c), and of what it is told about processors
 * (cpuid.c), with inputs from nobody in particular: a struct kvm_run, two registers, a CPUID. No
 * KVM is needed. The first byte chooses how the rest is read.
 */
#include <stdlib.h>
#include <string.h>

#include "exec/kvm/kvm.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void take(const uint8_t **data, size_t *size, void *to, size_t n)
{
	size_t have = *size < n ? *size : n;

	memset(to, 0, n);
	memcpy(to, *data, have);
	*data += have;
	*size -= have;
}

static void check(bool good)
{
	if (!good)
		abort();
}

static void one_exit(const uint8_t *data, size_t size)
{
	const struct exec_memory m = {.nr_frames = 0x9000, .ram_first = 0x1000};
	struct kvm_run run = {0};
	struct kvm_regs r = {0};
	char why[KVM_WHY_MAX + 8];
	enum kvm_verdict v;

	take(&data, &size, &r.rdi, 8);
	take(&data, &size, &r.rsi, 8);
	take(&data, &size, &run.exit_reason, sizeof(run.exit_reason));
	take(&data, &size, &run.io, sizeof(run.io));
	memset(why, 0x55, sizeof(why));
	v = kvm_exit_meaning(&run, why);
	check(!memcmp(why + KVM_WHY_MAX, "\x55\x55\x55\x55\x55\x55\x55\x55", 8));
	if (v == KVM_OVER) {
		check(memchr(why, 0, KVM_WHY_MAX) != NULL && why[0]);
		for (const char *p = why; *p; p++)
			check(*p >= ' ' && *p <= '~');
		return;
	}
	/* What goes on is an interruption or one of two requests, in their only form. */
	if (v == KVM_AGAIN) {
		check(run.exit_reason == KVM_EXIT_INTR);
		return;
	}
	check(run.exit_reason == KVM_EXIT_IO && run.io.size == 4 && run.io.count == 1 &&
	      run.io.direction == KVM_EXIT_IO_OUT);
	check((v == KVM_DISCARD && run.io.port == KVM_PORT_DISCARD) ||
	      (v == KVM_SET_XCR0 && run.io.port == KVM_PORT_XCR0));
	if (v == KVM_DISCARD && kvm_discard_ok(&m, r.rdi, r.rsi))
		for (uint64_t n = r.rdi; n < r.rdi + r.rsi; n++)
			check(n >= m.ram_first && n < m.nr_frames);
}

/* What is left of a policy was in it, and KVM offers it. */
static void one_cpuid(const uint8_t *data, size_t size)
{
	static const uint32_t leaves[] = {0, 1, 7, 0xd, 0x80000001u, 0x40000001u};
	struct {
		struct kvm_cpuid2 h;
		struct kvm_cpuid_entry2 e[16];
	} offered = {0};
	struct core_boot b, was;
	uint8_t c;

	memset(&b, 0, sizeof(b));
	take(&data, &size, &c, 1);
	offered.h.nent = c % 16;
	take(&data, &size, &c, 1);
	b.nr_cpuid = c; /* more than fit, too */
	for (uint32_t i = 0; i < offered.h.nent; i++) {
		take(&data, &size, &c, 1);
		offered.e[i].function = leaves[c % 6];
		offered.e[i].index = c / 6 % 8;
		offered.e[i].flags = c & 0x80 ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0;
		take(&data, &size, &offered.e[i].eax, 16);
	}
	for (uint32_t i = 0; i < 64 && size; i++) {
		take(&data, &size, &c, 1);
		b.cpuid[i].leaf = leaves[c % 6];
		b.cpuid[i].subleaf = c / 6 % 8;
		take(&data, &size, &b.cpuid[i].eax, 16);
	}
	was = b;
	kvm_cpuid_limit(&offered.h, &b);
	for (uint32_t i = 0; i < 64; i++) {
		check(b.cpuid[i].leaf == was.cpuid[i].leaf);
		if (b.cpuid[i].leaf == 1 || (b.cpuid[i].leaf == 0xd && b.cpuid[i].subleaf == 0))
			check((b.cpuid[i].eax & ~was.cpuid[i].eax) == 0);
		if (b.cpuid[i].leaf == 1)
			check((b.cpuid[i].ecx & ~was.cpuid[i].ecx) == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	if (data[0] & 1)
		one_cpuid(data + 1, size - 1);
	else
		one_exit(data + 1, size - 1);
	return 0;
}
