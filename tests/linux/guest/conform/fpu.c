// SPDX-License-Identifier: MIT
/* FPU, SSE, AVX and what else XSAVE keeps: across context switches, signals, fork; and that CPUID
 * tells the truth. */
#include "conform.h"
#include <cpuid.h>
#include <sched.h>
#include <sys/auxv.h>

static uint64_t xcr0(void)
{
	uint32_t a, b, c, d;

	__cpuid(1, a, b, c, d);
	if (!(c & bit_OSXSAVE))
		return 3;
	__asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
	return (uint64_t)d << 32 | a;
}

/* Fills xmm0-15 (or ymm, zmm and masks) with what depends on seed; returns whether they still are
 * after spinning. */
#define ALL16(X)                                                                                   \
	X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
#define LOAD_XMM(n)  "movups " #n "*16(%0), %%xmm" #n "\n\t"
#define STORE_XMM(n) "movups %%xmm" #n ", " #n "*16(%1)\n\t"
#define LOAD_YMM(n)  "vmovups " #n "*32(%0), %%ymm" #n "\n\t"
#define STORE_YMM(n) "vmovups %%ymm" #n ", " #n "*32(%1)\n\t"
#define LOAD_ZMM(n)  "vmovups " #n "*64(%0), %%zmm" #n "\n\t"
#define STORE_ZMM(n) "vmovups %%zmm" #n ", " #n "*64(%1)\n\t"
#define SPIN	     "mov %2, %%rcx\n1:\tdec %%rcx\n\tjnz 1b\n\t"
#define CLOBBERS                                                                                   \
	"rcx", "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",     \
		"xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"

enum { XMM, YMM, ZMM };

static int kept(int kind, uint64_t seed, long spin)
{
	_Alignas(64) uint8_t in[16 * 64], out[16 * 64];
	size_t size = kind == XMM ? 256 : kind == YMM ? 512 : 1024;

	for (size_t i = 0; i < size; i++)
		in[i] = (uint8_t)(seed * 31 + i * 7 + (i >> 4));
	memset(out, 0, sizeof(out));
	if (kind == XMM)
		__asm__ volatile(ALL16(LOAD_XMM) SPIN ALL16(STORE_XMM)
				 :
				 : "r"(in), "r"(out), "r"(spin)
				 : CLOBBERS);
	else if (kind == YMM)
		__asm__ volatile(ALL16(LOAD_YMM) SPIN ALL16(STORE_YMM) "vzeroupper"
				 :
				 : "r"(in), "r"(out), "r"(spin)
				 : CLOBBERS);
	else
		__asm__ volatile("kmovw %k3, %%k3\n\t" ALL16(LOAD_ZMM)
					 SPIN ALL16(STORE_ZMM) "vzeroupper\n\t"
							       "kmovw %%k3, %%ecx\n\tcmp %w3, "
							       "%%cx\n\tje 2f\n\tmovb $1, (%1)\n2:"
				 :
				 : "r"(in), "r"(out), "r"(spin), "r"(seed)
				 : CLOBBERS);
	return !memcmp(in, out, size);
}

static int best_kind(void)
{
	uint64_t have = xcr0();

	return (have & 0xe6) == 0xe6 ? ZMM : (have & 6) == 6 ? YMM : XMM;
}

/* Several processes on one CPU, each with values of its own in every vector register. */
static void switches(void)
{
	pid_t pid[4];
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(sched_getcpu(), &set);
	sched_setaffinity(0, sizeof(set), &set);
	for (int i = 0; i < 4; i++) {
		pid[i] = fork();
		if (!pid[i]) {
			uint64_t end = now_ns() + 700000000;

			for (int n = 0; now_ns() < end; n++) {
				int kind = n % (best_kind() + 1);

				CHECK(kept(kind, (uint64_t)(i * 100 + n), n % 3 ? 200000 : 4000000),
				      "process %d: vector registers of kind %d changed", i, kind);
				sched_yield();
			}
			_exit(0);
		}
	}
	for (int i = 0; i < 4; i++)
		expect_status(pid[i], 0);
}

static volatile int got;

static void clobber_vectors(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)info;
	(void)context;
	got++;
	kept(best_kind(), 0xdead, 1);
	__asm__ volatile("fninit\n\tfld1\n\tfldpi");
}

static void signals(void)
{
	timer_t t;
	struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
	struct itimerspec it = {{0, 1000000}, {0, 1000000}};
	uint64_t end = now_ns() + 10000000000ull;
	uint16_t cw = 0x027f, now = 0;

	on_signal(SIGUSR1, clobber_vectors, SA_RESTART);
	MUST(timer_create(CLOCK_MONOTONIC, &ev, &t));
	MUST(timer_settime(t, 0, &it, NULL));
	for (int n = 0; got < 60 && now_ns() < end; n++) {
		__asm__ volatile("fninit\n\tfldcw %0" : : "m"(cw));
		CHECK(kept(n % (best_kind() + 1), (uint64_t)n, 5000000),
		      "a handler's vector registers leaked");
		__asm__ volatile("fnstcw %0" : "=m"(now));
		CHECK(now == cw, "a handler's x87 control word leaked: 0x%x", now);
	}
	CHECK(got >= 60, "only %d signals", got);
}

/* The frame that a handler sees holds what the program had, and where the XSAVE image says it is.
 */
static void frame(void);
static volatile uint64_t seen[2];
static volatile uint32_t magic[2];

static void look(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	uint8_t *fp = (uint8_t *)uc->uc_mcontext.fpregs;
	uint32_t extended;

	(void)sig;
	(void)info;
	memcpy((void *)seen, &uc->uc_mcontext.fpregs->_xmm[9], 16);
	memcpy((void *)&magic[0], fp + 464, 4);
	memcpy(&extended, fp + 468, 4);
	if (magic[0] == 0x46505853 && extended >= 580 && extended < 1 << 20)
		memcpy((void *)&magic[1], fp + extended - 4, 4);
}

static void frame(void)
{
	uint64_t value[2] = {0x123456789abcdef0, 0x0fedcba987654321};

	on_signal(SIGUSR1, look, 0);
	__asm__ volatile(
		"movups %0, %%xmm9\n\tmov %1, %%edi\n\tmov $10, %%esi\n\tmov $62, %%eax\n\tsyscall"
		:
		: "m"(value), "r"(getpid())
		: "rax", "rcx", "r11", "rdi", "rsi", "memory", "xmm9");
	CHECK(seen[0] == value[0] && seen[1] == value[1], "xmm9 in the frame is 0x%lx", seen[0]);
	if (xcr0() != 3)
		CHECK(magic[0] == 0x46505853 && magic[1] == 0x46505845,
		      "the frame's magic numbers are 0x%x, 0x%x", magic[0], magic[1]);
}

static void forks(void)
{
	uint16_t cw = 0x0a7f, now = 0;
	uint32_t mxcsr = 0x3f80, mx = 0;
	pid_t pid;

	__asm__ volatile("fldcw %0\n\tldmxcsr %1" : : "m"(cw), "m"(mxcsr));
	pid = fork();
	__asm__ volatile("fnstcw %0\n\tstmxcsr %1" : "=m"(now), "=m"(mx));
	CHECK(now == cw && (mx & ~0x3fu) == mxcsr, "control word 0x%x, mxcsr 0x%x", now, mx);
	if (!pid)
		_exit(0);
	expect_status(pid, 0);
}

static void fresh_after_exec(void)
{
	uint16_t cw = 0;
	uint32_t mx = 0;

	/* this test's process descends from one that executed; the state at exec is the
	 * architecture's default */
	__asm__ volatile("fnstcw %0\n\tstmxcsr %1" : "=m"(cw), "=m"(mx));
	CHECK(cw == 0x37f && (mx & ~0x3fu) == 0x1f80, "control word 0x%x, mxcsr 0x%x", cw, mx);
}

/* Every feature that CPUID advertises is executed once: it must not fault. */
struct feature {
	const char *name;
	uint32_t leaf, subleaf;
	int reg; /* 0..3 eax, ebx, ecx, edx */
	int bit;
	uint64_t xcr0; /* only if the system enabled these states */
	void (*run)(void *);
};

#define TRY(name, text, ...)                                                                       \
	static void name(void *arg)                                                                \
	{                                                                                          \
		(void)arg;                                                                         \
		__asm__ volatile(text                                                              \
				 :                                                                 \
				 : "r"(arg)                                                        \
				 : "rax", "rcx", "rdx", "memory", "cc", ##__VA_ARGS__);            \
	}
#define R4 "rbx", "r8", "r9", "xmm0", "xmm1"

TRY(f_sse3, "haddps %%xmm0, %%xmm0", "xmm0")
TRY(f_pclmul, "pclmulqdq $0, %%xmm0, %%xmm0", "xmm0")
TRY(f_ssse3, "pabsb %%xmm0, %%xmm0", "xmm0")
TRY(f_fma, "vfmadd132ps %%ymm0, %%ymm0, %%ymm0", "xmm0")
TRY(f_cx16,
    "xor %%ebx, %%ebx\n\txor %%eax, %%eax\n\txor %%ecx, %%ecx\n\txor %%edx, %%edx\n\tcmpxchg16b "
    "(%0)",
    "rbx")
TRY(f_sse41, "pmulld %%xmm0, %%xmm0", "xmm0")
TRY(f_sse42, "crc32 %%rax, %%rcx")
TRY(f_movbe, "movbe (%0), %%rax")
TRY(f_popcnt, "popcnt %%rax, %%rcx")
TRY(f_aes, "aesenc %%xmm0, %%xmm0", "xmm0")
TRY(f_xsave, "xor %%ecx, %%ecx\n\txgetbv")
TRY(f_avx, "vaddps %%ymm0, %%ymm0, %%ymm0", "xmm0")
TRY(f_f16c, "vcvtph2ps %%xmm0, %%ymm0", "xmm0")
TRY(f_rdrand, "rdrand %%rax")
TRY(f_fsgsbase, "rdfsbase %%rax\n\twrfsbase %%rax\n\trdgsbase %%rax\n\twrgsbase %%rax")
TRY(f_bmi1, "andn %%rax, %%rax, %%rcx")
TRY(f_avx2, "vpaddb %%ymm0, %%ymm0, %%ymm0", "xmm0")
TRY(f_bmi2, "mulx %%rax, %%rcx, %%rax")
TRY(f_erms, "mov %0, %%rdi\n\tmov %0, %%rsi\n\tmov $16, %%ecx\n\trep movsb", "rdi", "rsi")
TRY(f_avx512f, "vaddps %%zmm0, %%zmm0, %%zmm0", "xmm0")
TRY(f_rdseed, "rdseed %%rax")
TRY(f_adx, "adcx %%rax, %%rcx")
TRY(f_clflushopt, "clflushopt (%0)")
TRY(f_clwb, "clwb (%0)")
TRY(f_sha, "sha256msg1 %%xmm0, %%xmm0", "xmm0")
TRY(f_avx512bw, "vpaddb %%zmm0, %%zmm0, %%zmm0", "xmm0")
TRY(f_avx512vl, "vpternlogd $1, %%xmm0, %%xmm0, %%xmm0", "xmm0")
TRY(f_ospke, "xor %%ecx, %%ecx\n\trdpkru")
TRY(f_waitpkg, "xor %%eax, %%eax\n\txor %%edx, %%edx\n\ttpause %%edx")
TRY(f_gfni, "gf2p8mulb %%xmm0, %%xmm0", "xmm0")
TRY(f_vaes, "vaesenc %%ymm0, %%ymm0, %%ymm0", "xmm0")
TRY(f_rdpid, "rdpid %%rax")
TRY(f_cldemote, "cldemote (%0)")
TRY(f_movdiri, "xor %%eax, %%eax\n\tmovdiri %%eax, (%0)")
TRY(f_movdir64b, "movdir64b (%0), %0")
TRY(f_serialize, "serialize")
TRY(f_rdtscp, "rdtscp")
TRY(f_lzcnt, "lzcnt %%rax, %%rcx")
TRY(f_prefetchw, "prefetchw (%0)")
TRY(f_xsavec, "mov $3, %%eax\n\txor %%edx, %%edx\n\txsavec (%0)")
TRY(f_xsaveopt, "mov $3, %%eax\n\txor %%edx, %%edx\n\txsaveopt (%0)")
TRY(f_xgetbv1, "mov $1, %%ecx\n\txgetbv")
TRY(f_tsc, "rdtsc")
TRY(f_fxsr, "fxsave64 (%0)")

static const struct feature features[] = {
	{"sse3", 1, 0, 2, 0, 2, f_sse3},
	{"pclmulqdq", 1, 0, 2, 1, 2, f_pclmul},
	{"ssse3", 1, 0, 2, 9, 2, f_ssse3},
	{"fma", 1, 0, 2, 12, 6, f_fma},
	{"cmpxchg16b", 1, 0, 2, 13, 0, f_cx16},
	{"sse4.1", 1, 0, 2, 19, 2, f_sse41},
	{"sse4.2", 1, 0, 2, 20, 2, f_sse42},
	{"movbe", 1, 0, 2, 22, 0, f_movbe},
	{"popcnt", 1, 0, 2, 23, 0, f_popcnt},
	{"aes", 1, 0, 2, 25, 2, f_aes},
	{"osxsave", 1, 0, 2, 27, 0, f_xsave},
	{"avx", 1, 0, 2, 28, 6, f_avx},
	{"f16c", 1, 0, 2, 29, 6, f_f16c},
	{"rdrand", 1, 0, 2, 30, 0, f_rdrand},
	{"tsc", 1, 0, 3, 4, 0, f_tsc},
	{"fxsr", 1, 0, 3, 24, 0, f_fxsr},
	{"bmi1", 7, 0, 1, 3, 0, f_bmi1},
	{"avx2", 7, 0, 1, 5, 6, f_avx2},
	{"bmi2", 7, 0, 1, 8, 0, f_bmi2},
	{"erms", 7, 0, 1, 9, 0, f_erms},
	{"avx512f", 7, 0, 1, 16, 0xe6, f_avx512f},
	{"rdseed", 7, 0, 1, 18, 0, f_rdseed},
	{"adx", 7, 0, 1, 19, 0, f_adx},
	{"clflushopt", 7, 0, 1, 23, 0, f_clflushopt},
	{"clwb", 7, 0, 1, 24, 0, f_clwb},
	{"sha", 7, 0, 1, 29, 2, f_sha},
	{"avx512bw", 7, 0, 1, 30, 0xe6, f_avx512bw},
	{"avx512vl", 7, 0, 1, 31, 0xe6, f_avx512vl},
	{"ospke", 7, 0, 2, 4, 0, f_ospke},
	{"waitpkg", 7, 0, 2, 5, 0, f_waitpkg},
	{"gfni", 7, 0, 2, 8, 2, f_gfni},
	{"vaes", 7, 0, 2, 9, 6, f_vaes},
	{"rdpid", 7, 0, 2, 22, 0, f_rdpid},
	{"cldemote", 7, 0, 2, 25, 0, f_cldemote},
	{"movdiri", 7, 0, 2, 27, 0, f_movdiri},
	{"movdir64b", 7, 0, 2, 28, 0, f_movdir64b},
	{"serialize", 7, 0, 3, 14, 0, f_serialize},
	{"xsaveopt", 0xd, 1, 0, 0, 2, f_xsaveopt},
	{"xsavec", 0xd, 1, 0, 1, 2, f_xsavec},
	{"xgetbv1", 0xd, 1, 0, 2, 0, f_xgetbv1},
	{"rdtscp", 0x80000001, 0, 3, 27, 0, f_rdtscp},
	{"lzcnt", 0x80000001, 0, 2, 5, 0, f_lzcnt},
	{"prefetchw", 0x80000001, 0, 2, 8, 0, f_prefetchw},
};

static void cpuid_features(void)
{
	uint64_t enabled = xcr0();
	char *area = pages(4, PROT_READ | PROT_WRITE);

	for (size_t i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
		const struct feature *f = &features[i];
		uint32_t r[4];

		if (__get_cpuid_max(f->leaf & 0x80000000, NULL) < f->leaf)
			continue;
		__cpuid_count(f->leaf, f->subleaf, r[0], r[1], r[2], r[3]);
		if (!(r[f->reg] >> f->bit & 1) || (enabled & f->xcr0) != f->xcr0)
			continue;
		catch_signal(f->run, area);
		CHECK(!caught.sig, "CPUID has %s, but it ends in signal %d", f->name, caught.sig);
	}
	/* the kernel's word for what it allows beyond */
	if (getauxval(26 /* AT_HWCAP2 */) & 2) {
		catch_signal(f_fsgsbase, area);
		CHECK(!caught.sig, "AT_HWCAP2 has fsgsbase, but it ends in signal %d", caught.sig);
	}
}

/* The sizes that CPUID gives for the state must hold what XSAVE writes. */
static void xsave_sizes(void)
{
	uint32_t a, b, c, d;
	uint8_t *area = pages(16, PROT_READ | PROT_WRITE);
	uint64_t enabled = xcr0(), present;

	__cpuid(1, a, b, c, d);
	if (!(c & bit_OSXSAVE))
		skip("no XSAVE");
	__cpuid_count(0xd, 0, a, b, c, d);
	CHECK(((uint64_t)d << 32 | a | 3) == ((uint64_t)d << 32 | a | 3) &&
		      (enabled & ~((uint64_t)d << 32 | a)) == 0,
	      "XCR0 0x%lx has what CPUID lacks", enabled);
	CHECK(b >= 576 && b <= c && c < 65536, "sizes %u, %u", b, c);
	memset(area, 0xee, 65536);
	memset(area + 512, 0, 64);
	kept(best_kind(), 77, 1);
	__asm__ volatile("mov $-1, %%eax\n\tmov $-1, %%edx\n\txsave64 (%0)"
			 :
			 : "r"(area)
			 : "rax", "rdx", "memory");
	memcpy(&present, area + 512, 8);
	CHECK((present & ~enabled) == 0, "XSTATE_BV 0x%lx", present);
	for (uint32_t i = b; i < 65536; i++)
		CHECK(area[i] == 0xee, "XSAVE wrote at %u, beyond its %u bytes", i, b);
	__asm__ volatile("mov $-1, %%eax\n\tmov $-1, %%edx\n\txrstor64 (%0)"
			 :
			 : "r"(area)
			 : "rax", "rdx", "memory");
}

const struct test fpu_tests[] = {
	{"fpu-fresh-after-exec", fresh_after_exec},
	{"fpu-switches", switches},
	{"fpu-signals", signals},
	{"fpu-frame", frame},
	{"fpu-forks", forks},
	{"fpu-cpuid-features", cpuid_features},
	{"fpu-xsave-sizes", xsave_sizes},
	{NULL, NULL},
};
