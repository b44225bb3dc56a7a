/* SPDX-License-Identifier: MIT */
/* The domain's memory file, and the CPUID policy for processors of several kinds. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "core/state.h"
#include "domain/cpuid.h"
#include "domain/memory.h"
#include "util/err.h"

static void the_order_of_regions(void **state)
{
	static const uint64_t sizes[] = {1, 511, 512, 513, 1024, 4096, 65536, 65535, 1u << 20};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct memory_params p = {.name = "x",
					  .nr_pages = sizes[i],
					  .max_pages = sizes[i] * 2,
					  .grant_frames = 32};
		struct exec_memory m;
		struct core_boot b;

		assert_int_equal(memory_create(&p, &m, &b), 0);
		assert_int_equal(b.nr_pages, sizes[i]);
		assert_int_equal(b.max_pages, sizes[i] * 2);
		assert_int_equal(b.shared_info, b.max_pages);
		assert_int_equal(b.grant_first, b.shared_info + 1);
		assert_int_equal(b.grant_max, 32);
		assert_int_equal(b.m2p_first, b.grant_first + 32);
		assert_int_equal(b.nr_frames, b.m2p_first + b.m2p_frames);
		/* An entry for every frame, and no frame too many. */
		assert_true(b.m2p_frames * 512 >= b.nr_frames);
		assert_true((b.m2p_frames - 1) * 512 < b.nr_frames);
		assert_in_range(b.maptrack_max, 256, 65536);
		assert_int_equal(b.max_ports, CORE_MAX_PORTS);
		assert_int_equal(m.nr_frames, b.nr_frames);
		assert_int_equal(m.ctl_off, b.nr_frames << 12);
		assert_true(m.ctl_size >= sizeof(struct core_ctl));
		assert_int_equal(m.state_off, m.ctl_off + m.ctl_size);
		assert_true(m.state_size >= sizeof(struct core_domain));
		assert_int_equal(m.frames_off, m.state_off + m.state_size);
		assert_true(m.frames_size >= b.nr_frames * sizeof(struct core_frame));
		assert_int_equal(m.size, m.frames_off + m.frames_size);
		assert_int_equal((m.ctl_off | m.state_off | m.frames_off | m.size) & 4095, 0);
		assert_int_equal(memory_ctl(&m)->magic, CORE_CTL_MAGIC);
		assert_int_equal(memory_ctl(&m)->version, CORE_CTL_VERSION);
		assert_int_equal(memory_ctl(&m)->size, sizeof(struct core_ctl));
		assert_int_equal(memory_ctl(&m)->nr_pages, p.nr_pages);
		memory_destroy(&m);
	}
}

static void defaults(void **state)
{
	struct memory_params p = {.name = "x", .nr_pages = 100};
	struct exec_memory m;
	struct core_boot b;

	assert_int_equal(memory_create(&p, &m, &b), 0);
	assert_int_equal(b.max_pages, 100);
	assert_int_equal(b.grant_max, 64);
	memory_destroy(&m);
	memory_destroy(&m); /* again does nothing */
	assert_null(m.base);
	assert_int_equal(m.fd, -1);
}

static void the_file_is_sealed_and_private(void **state)
{
	struct memory_params p = {.name = "sealed", .nr_pages = 1000};
	struct exec_memory m;
	struct core_boot b;
	char link[64], target[256];
	ssize_t n;

	assert_int_equal(memory_create(&p, &m, &b), 0);
	assert_int_equal(fcntl(m.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	int seals = fcntl(m.fd, F_GET_SEALS);
	assert_int_equal(seals & (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL),
			 F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	assert_int_not_equal(ftruncate(m.fd, 0), 0);
	assert_int_not_equal(ftruncate(m.fd, (off_t)m.size + 4096), 0);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", m.fd);
	n = readlink(link, target, sizeof(target) - 1);
	assert_true(n > 0);
	target[n] = 0;
	assert_string_equal(target, "/memfd:pvv-sealed (deleted)");
	/* One control page, nothing else. */
	assert_in_range(memory_resident(&m), 4096, 65536);
	m.base[0] = 1;
	m.base[m.size - 1] = 1;
	assert_in_range(memory_resident(&m), 3 * 4096, 65536);
	/* Executable mappings are still possible: K and U need them. */
	void *x = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, m.fd, 0);
	assert_ptr_not_equal(x, MAP_FAILED);
	munmap(x, 4096);
	memory_destroy(&m);
	assert_int_not_equal(fcntl(m.fd, F_GETFD), 0);
}

static void impossible_sizes(void **state)
{
	static const struct {
		struct memory_params p;
		int code;
		const char *why;
	} t[] = {
		{{.nr_pages = 0}, PVV_EINVAL, "a domain needs memory"},
		{{.nr_pages = 10, .max_pages = 9}, PVV_EINVAL, "10 pages of 9"},
		{{.nr_pages = MEMORY_MAX_PAGES + 1}, PVV_ELIMIT, "1024 GiB"},
		{{.nr_pages = 1, .max_pages = ~0ull}, PVV_ELIMIT, "1024 GiB"},
		{{.nr_pages = 1, .grant_frames = 257}, PVV_ELIMIT, "256 grant table frames"},
		{{.nr_pages = 1, .max_ports = 4097}, PVV_ELIMIT, "4096 event channels"},
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct exec_memory m;
		struct core_boot b;

		assert_int_equal(memory_create(&t[i].p, &m, &b), t[i].code);
		assert_non_null(strstr(pvv_error_get_message(pvv_error_last()), t[i].why));
		assert_null(m.base);
		memory_destroy(&m);
	}
}

/* When the host refuses: an error that says so, and no descriptor left behind. */
static void host_refuses(void **state)
{
	pid_t pid = fork();

	if (pid == 0) {
		struct memory_params p = {.name = "x", .nr_pages = 1u << 20};
		struct exec_memory m;
		struct core_boot b;
		struct rlimit r = {1u << 30, 1u << 30};

		setrlimit(RLIMIT_AS, &r);
		int next = dup(0);
		close(next);
		if (memory_create(&p, &m, &b) != PVV_ENOMEM)
			_exit(1);
		if (!strstr(pvv_error_get_message(pvv_error_last()), "cannot map"))
			_exit(2);
		if (dup(0) != next)
			_exit(3);
		close(next);
		r.rlim_cur = r.rlim_max = (rlim_t)next;
		setrlimit(RLIMIT_NOFILE, &r);
		if (memory_create(&p, &m, &b) != PVV_ESYS)
			_exit(4);
		_exit(0);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
#ifdef __SANITIZE_ADDRESS__
	print_message("address limits do not work under ASan: not checked\n");
#else
	assert_int_equal(status, 0);
#endif
}

/* ---- CPUID ---- */

struct fake_cpu {
	struct cpuid_regs l0, l1, l7, l71, d0, d1, d[20], e0, e1, e8, e21;
};

static struct cpuid_regs fake_ask(void *opaque, uint32_t leaf, uint32_t subleaf)
{
	const struct fake_cpu *c = opaque;
	const struct cpuid_regs none = {0}, all = {~0u, ~0u, ~0u, ~0u};

	switch (leaf) {
	case 0:
		return c->l0;
	case 1:
		return c->l1;
	case 4:
		return subleaf < 3 ? (struct cpuid_regs){0x1c004121 + subleaf, 1, 2, 3} : none;
	case 7:
		return subleaf == 0 ? c->l7 : subleaf == 1 ? c->l71 : none;
	case 0xd:
		return subleaf == 0   ? c->d0
		       : subleaf == 1 ? c->d1
		       : subleaf < 20 ? c->d[subleaf]
				      : none;
	case 0x80000000u:
		return c->e0;
	case 0x80000001u:
		return c->e1;
	case 0x80000008u:
		return c->e8;
	case 0x80000021u:
		return c->e21;
	}
	return all; /* whatever else it has must not show */
}

static const struct fake_cpu everything = {
	.l0 = {0x20, 0x756e6547, 0x6c65746e, 0x49656e69}, /* GenuineIntel */
	.l1 = {0xc06f2, 0x12345678, ~0u, ~0u},
	.l7 = {2, ~0u, ~0u, ~0u},
	.l71 = {~0u, ~0u, ~0u, ~0u},
	.d0 = {0x602e7, 11008, 11008, 0},
	.d1 = {~0u, 9000, 0x1900, 0},
	.d = {[2] = {256, 576, 0, 0},
	      [5] = {64, 1088, 0, 0},
	      [6] = {512, 1152, 0, 0},
	      [7] = {1024, 1664, 0, 0},
	      [9] = {8, 2688, 0, 0},
	      [17] = {64, 2752, 2, 0},
	      [18] = {8192, 2816, 6, 0}},
	.e0 = {0x80000021, 0, 0, 0},
	.e1 = {0xffff, ~0u, ~0u, ~0u},
	.e8 = {0x003957, ~0u, ~0u, ~0u}, /* 87 physical, 57 linear */
	.e21 = {~0u, ~0u, ~0u, ~0u},
};

static const struct core_cpuid *leaf(const struct core_boot *b, uint32_t l, uint32_t s)
{
	const struct core_cpuid *found = NULL;

	for (uint32_t i = 0; i < b->nr_cpuid; i++)
		if (b->cpuid[i].leaf == l &&
		    (!(b->cpuid[i].flags & 1) || b->cpuid[i].subleaf == s)) {
			assert_null(found); /* one answer to each question */
			found = &b->cpuid[i];
		}
	return found;
}

static void policy_of(const struct fake_cpu *c, struct core_boot *b)
{
	memset(b, 0, sizeof(*b));
	cpuid_policy(b, fake_ask, (void *)(uintptr_t)c);
	assert_in_range(b->nr_cpuid, 1, 64);
}

/* A processor that has every bit there is. */
static void policy_of_everything(void **state)
{
	struct core_boot b;

	policy_of(&everything, &b);
	assert_int_equal(leaf(&b, 0, 0)->eax, 0xd);
	assert_int_equal(leaf(&b, 0, 0)->ebx, 0x756e6547);

	const struct core_cpuid *l = leaf(&b, 1, 0);
	assert_int_equal(l->eax, 0xc06f2);
	assert_int_equal(l->ebx, 0x00015600); /* CLFLUSH size; one processor; APIC id 0 */
	static const int hidden_c[] = {
		2 /* DTES64 */, 3 /* MONITOR */, 5 /* VMX */,	    6 /* SMX */, 15 /* PDCM */,
		17 /* PCID */,	21 /* x2APIC */, 24 /* deadline */, 27 /* OSXSAVE: the core's */};
	static const int hidden_d[] = {1 /* VME */,
				       3 /* PSE */,
				       12 /* MTRR */,
				       13 /* PGE */,
				       17 /* PSE36 */,
				       18,
				       21,
				       22,
				       28 /* HTT */,
				       29,
				       31};
	for (size_t i = 0; i < sizeof(hidden_c) / sizeof(hidden_c[0]); i++)
		assert_false(l->ecx >> hidden_c[i] & 1);
	for (size_t i = 0; i < sizeof(hidden_d) / sizeof(hidden_d[0]); i++)
		assert_false(l->edx >> hidden_d[i] & 1);
	/* What every 64-bit guest needs, and says that there is a hypervisor. */
	assert_int_equal(l->edx & 0x0701c1f1, 0x0701c1f1);
	assert_int_equal(l->ecx & (1u << 31 | 1u << 26 | 1u << 28), 1u << 31 | 1u << 26 | 1u << 28);

	l = leaf(&b, 7, 0);
	assert_int_equal(l->eax, 1);
	static const int hidden_7b[] = {
		0 /* FSGSBASE */, 1,  2 /* SGX */,  4 /* HLE */, 7 /* SMEP */,	10 /* INVPCID */,
		11 /* RTM */,	  12, 14 /* MPX */, 15,		 20 /* SMAP */, 25 /* PT */};
	static const int hidden_7c[] = {
		2 /* UMIP */,  3 /* PKU */, 4 /* OSPKE */, 5 /* WAITPKG */, 7 /* CET_SS */,
		16 /* LA57 */, 29 /* ENQCMD */};
	static const int hidden_7d[] = {
		13, 16, 18, 20 /* IBT */, 22, 24, 25 /* AMX */, 26 /* IBRS */, 27 /* STIBP */,
		29, 31 /* SSBD */};
	for (size_t i = 0; i < sizeof(hidden_7b) / sizeof(hidden_7b[0]); i++)
		assert_false(l->ebx >> hidden_7b[i] & 1);
	for (size_t i = 0; i < sizeof(hidden_7c) / sizeof(hidden_7c[0]); i++)
		assert_false(l->ecx >> hidden_7c[i] & 1);
	for (size_t i = 0; i < sizeof(hidden_7d) / sizeof(hidden_7d[0]); i++)
		assert_false(l->edx >> hidden_7d[i] & 1);
	assert_true(l->ebx >> 16 & 1);
	assert_false(leaf(&b, 7, 1)->eax >> 21 & 1); /* AMX-FP16 */
	assert_null(leaf(&b, 7, 2));

	/* Caches, private to each vCPU. */
	assert_int_equal(leaf(&b, 4, 2)->eax, 0x123);
	assert_int_equal(leaf(&b, 4, 2)->ebx, 1);
	assert_null(leaf(&b, 4, 3));

	/* XSAVE: AVX-512 yes, MPX, PKRU and AMX no; sizes without them. */
	assert_int_equal(cpuid_policy_xcr0(&b), 0xe7);
	l = leaf(&b, 0xd, 0);
	assert_int_equal(l->ebx, 2688);
	assert_int_equal(l->ecx, 2688);
	assert_int_equal(l->edx, 0);
	l = leaf(&b, 0xd, 1);
	assert_int_equal(l->eax, 7);
	assert_int_equal(l->ebx, 576 + 256 + 64 + 512 + 1024);
	assert_int_equal(l->ecx, 0);
	assert_int_equal(leaf(&b, 0xd, 7)->ebx, 1664);
	assert_null(leaf(&b, 0xd, 9));
	assert_null(leaf(&b, 0xd, 17));

	static const uint32_t none[] = {3,	    5,		6,	    0xa,       0xb,  0xf,
					0x10,	    0x12,	0x14,	    0x15,      0x1d, 0x1f,
					0x40000000, 0x80000007, 0x80000009, 0x8000001e};
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		assert_null(leaf(&b, none[i], 0));

	assert_int_equal(leaf(&b, 0x80000000, 0)->eax, 0x80000008);
	l = leaf(&b, 0x80000001, 0);
	assert_true(l->edx >> 11 & 1);				/* SYSCALL */
	assert_true(l->edx >> 20 & 1);				/* NX */
	assert_true(l->edx >> 29 & 1);				/* LM */
	assert_false(l->edx >> 26 & 1);				/* 1 GiB pages */
	assert_false(l->ecx >> 2 & 1);				/* SVM */
	assert_false(l->ecx >> 22 & 1);				/* TOPOEXT */
	assert_false(l->ecx >> 29 & 1);				/* MWAITX */
	assert_int_equal(leaf(&b, 0x80000008, 0)->eax, 0x3057); /* 48 linear */
	assert_int_equal(leaf(&b, 0x80000008, 0)->ebx, 0);
	assert_null(leaf(&b, 0x80000021, 0));
	cpuid_policy_translated(&b); /* (AMD's only) */
	assert_int_equal(leaf(&b, 0x80000008, 0)->ebx, 0);
}

/* Without AVX state there is nothing of AVX, without XSAVE no leaf 0xD. */
static void features_go_together(void **state)
{
	struct fake_cpu c = everything;
	struct core_boot b;

	c.d0.eax = 0x27; /* AVX, and only part of AVX-512 */
	policy_of(&c, &b);
	assert_int_equal(cpuid_policy_xcr0(&b), 7);
	assert_int_equal(leaf(&b, 0xd, 0)->ecx, 832);
	assert_int_equal(leaf(&b, 7, 0)->ebx & 0xd0230000, 0);
	assert_true(leaf(&b, 7, 0)->ebx >> 5 & 1);
	assert_null(leaf(&b, 0xd, 5));

	c.d0.eax = 3;
	policy_of(&c, &b);
	assert_int_equal(cpuid_policy_xcr0(&b), 3);
	assert_int_equal(leaf(&b, 0xd, 0)->ecx, 576);
	assert_false(leaf(&b, 1, 0)->ecx >> 28 & 1); /* AVX */
	assert_false(leaf(&b, 1, 0)->ecx >> 12 & 1); /* FMA */
	assert_false(leaf(&b, 1, 0)->ecx >> 29 & 1); /* F16C */
	assert_false(leaf(&b, 7, 0)->ebx >> 5 & 1);  /* AVX2 */
	assert_false(leaf(&b, 7, 0)->ecx >> 9 & 3);  /* VAES, VPCLMULQDQ */

	c = everything;
	c.l1.ecx &= ~(1u << 26);
	policy_of(&c, &b);
	assert_int_equal(cpuid_policy_xcr0(&b), 0);
	assert_null(leaf(&b, 0xd, 0));
	assert_int_equal(leaf(&b, 0, 0)->eax, 7);
	assert_false(leaf(&b, 1, 0)->ecx >> 28 & 1);

	/* A processor from before all that (QEMU's Nehalem). */
	c.l0.eax = 4;
	c.e0.eax = 0x80000008;
	policy_of(&c, &b);
	assert_int_equal(leaf(&b, 0, 0)->eax, 4);
	assert_null(leaf(&b, 7, 0));
	assert_null(leaf(&b, 0xd, 0));
}

static void amd(void **state)
{
	struct fake_cpu c = everything;
	struct core_boot b;

	c.l0 = (struct cpuid_regs){0x10, 0x68747541, 0x444d4163, 0x69746e65};
	policy_of(&c, &b);
	assert_null(leaf(&b, 2, 0));
	assert_null(leaf(&b, 4, 0));
	const struct core_cpuid *l = leaf(&b, 0x80000001, 0);
	assert_int_equal(l->eax, 0xffff);
	assert_true(l->edx >> 4 & 1);				    /* TSC, repeated */
	assert_false(l->edx >> 3 & 1);				    /* PSE, hidden here too */
	assert_false(l->edx >> 12 & 1);				    /* MTRR */
	assert_int_equal(leaf(&b, 0x80000008, 0)->ebx, 0x20000005); /* with BTC_NO */
	assert_int_equal(leaf(&b, 0x80000000, 0)->eax, 0x80000021);
	l = leaf(&b, 0x80000021, 0);
	assert_int_equal(l->eax, 0x20000044); /* LFENCE, null selectors, SRSO_NO */
	assert_int_equal(l->ebx, 0);
	assert_int_equal(l->ecx, 6); /* TSA_SQ_NO, TSA_L1_NO */
	assert_int_equal(l->edx, 0);
}

/* What a processor of AMD's suffers from is told to kernels that are executed where they lie. */
static void amd_weaknesses(void **state)
{
	struct fake_cpu c = everything;
	struct core_boot b;

	c.l0 = (struct cpuid_regs){0x10, 0x68747541, 0x444d4163, 0x69746e65};
	c.e8.ebx = 1;
	c.e21 = (struct cpuid_regs){4, 0, 2, 0};
	policy_of(&c, &b);
	assert_int_equal(leaf(&b, 0x80000008, 0)->ebx, 1);
	assert_int_equal(leaf(&b, 0x80000021, 0)->eax, 4);
	assert_int_equal(leaf(&b, 0x80000021, 0)->ecx, 2);
	cpuid_policy_translated(&b);
	assert_int_equal(leaf(&b, 0x80000008, 0)->ebx, 0x20000001);
	assert_int_equal(leaf(&b, 0x80000021, 0)->eax, 0x20000004);
	assert_int_equal(leaf(&b, 0x80000021, 0)->ecx, 2);

	/* One from before that leaf: what is behind its last one is not its own. */
	c.e0.eax = 0x8000001f;
	policy_of(&c, &b);
	assert_int_equal(leaf(&b, 0x80000000, 0)->eax, 0x80000021);
	assert_int_equal(leaf(&b, 0x80000021, 0)->eax, 0);
	cpuid_policy_translated(&b);
	assert_int_equal(leaf(&b, 0x80000021, 0)->eax, 0x20000000);
}

/* This host: nothing may be offered that it does not have. */
static void this_host(void **state)
{
	struct core_boot b = {0}, again = {0};

	cpuid_policy(&b, NULL, NULL);
	cpuid_policy(&again, NULL, NULL);
	assert_int_equal(b.nr_cpuid, again.nr_cpuid);
	assert_non_null(leaf(&b, 1, 0));
	assert_true(leaf(&b, 1, 0)->edx >> 26 & 1);
	if (__builtin_cpu_supports("avx2"))
		assert_true(leaf(&b, 7, 0)->ebx >> 5 & 1);
	else
		assert_true(!leaf(&b, 7, 0) || !(leaf(&b, 7, 0)->ebx >> 5 & 1));
	const struct core_cpuid *d = leaf(&b, 0xd, 0);
	if (d)
		assert_in_range(d->ecx, 576, 2696);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_order_of_regions),
		cmocka_unit_test(defaults),
		cmocka_unit_test(the_file_is_sealed_and_private),
		cmocka_unit_test(impossible_sizes),
		cmocka_unit_test(host_refuses),
		cmocka_unit_test(policy_of_everything),
		cmocka_unit_test(features_go_together),
		cmocka_unit_test(amd),
		cmocka_unit_test(amd_weaknesses),
		cmocka_unit_test(this_host),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
