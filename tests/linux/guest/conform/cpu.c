// SPDX-License-Identifier: MIT
/* Odd corners of the instruction set and of Linux's entry: syscall's flags, int 0x80, 32-bit code,
 * vsyscall, clocks. */
#include "conform.h"
#include <cpuid.h>
#include <sched.h>
#include <sys/auxv.h>
#include <sys/time.h>

/* syscall leaves rip in rcx and the flags in r11, and restores the flags, whatever they were. */
static void syscall_flags(void)
{
	static const uint64_t sets[] = {0,     1,    0x400 /* DF */,	0x40000 /* AC */,
					0x800, 0xd5, 0x200000 /* ID */, 0x4000 /* NT */};

	for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
		uint64_t rcx, r11, after, next, rax = 39;

		__asm__ volatile("pushf\n\tpop %%rdx\n\tand $~0x244cd5, %%rdx\n\tor %5, "
				 "%%rdx\n\tpush %%rdx\n\tpopf\n\t"
				 "syscall\n1:\tpushf\n\tpop %2\n\t"
				 "pushf\n\tandl $~0x44400, (%%rsp)\n\tpopf\n\t"
				 "lea 1b(%%rip), %3\n\tmov %%r11, %1"
				 : "=&c"(rcx), "=&r"(r11), "=&r"(after), "=&r"(next), "+a"(rax)
				 : "r"(sets[i])
				 : "rdx", "r11", "memory", "cc");
		CHECK(rax == (uint64_t)getpid(), "flags 0x%lx: getpid is %ld", sets[i], rax);
		CHECK(rcx == next, "flags 0x%lx: rcx is 0x%lx, not the next instruction 0x%lx",
		      sets[i], rcx, next);
		CHECK((after & 0x244cd5) == sets[i], "flags 0x%lx come back as 0x%lx", sets[i],
		      after & 0x244cd5);
		CHECK((r11 & 0x244cd5) == sets[i], "flags 0x%lx: r11 is 0x%lx", sets[i], r11);
	}
}

static void syscall_numbers(void)
{
	static const uint64_t numbers[] = {600,
					   1023,
					   0x7fffffff,
					   0x80000000,
					   0xffffffff,
					   0x100000000,
					   0xffffffffffffffff,
					   0x7fffffffffffffff,
					   0x8000000000000000};

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		uint64_t rax = numbers[i];

		__asm__ volatile("syscall" : "+a"(rax) : : "rcx", "r11", "memory");
		/* Linux looks at the lower half only: 0x100000000 is read(0, ...), whatever it
		 * answers */
		if ((uint32_t)numbers[i])
			CHECK(rax == (uint64_t)-ENOSYS, "number 0x%lx: 0x%lx", numbers[i], rax);
	}
}

/* The stack pointer may be anything while the kernel works. */
static void syscall_stacks(void)
{
	static const uint64_t where[] = {0,
					 8,
					 0x1000,
					 0x7fffffffffff,
					 0x800000000000,
					 0xffffffffffffffff,
					 0xffffffff81000000,
					 0xffff800000000000,
					 0x123456789abcdef0};

	for (size_t i = 0; i < sizeof(where) / sizeof(where[0]); i++) {
		uint64_t rax = 39, rsp;

		__asm__ volatile("mov %%rsp, %%r12\n\tmov %2, %%rsp\n\tsyscall\n\tmov %%rsp, "
				 "%1\n\tmov %%r12, %%rsp"
				 : "+a"(rax), "=&r"(rsp)
				 : "r"(where[i])
				 : "rcx", "r11", "r12", "memory");
		CHECK(rax == (uint64_t)getpid() && rsp == where[i],
		      "rsp 0x%lx: getpid %ld, rsp after it 0x%lx", where[i], rax, rsp);
	}
}

/* The last two bytes of a page, of the address space: the next instruction lies in the next page.
 */
static void syscall_at_the_edge(void)
{
	unsigned char *p = pages(2, PROT_READ | PROT_WRITE | PROT_EXEC);
	uint64_t rax;

	memcpy(p + 4096 - 7, (unsigned char[]){0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0xc3}, 8);
	rax = ((uint64_t(*)(void))(p + 4096 - 7))();
	CHECK(rax == (uint64_t)getpid(), "over two pages: %ld", rax);
	memcpy(p + 4096 - 6, (unsigned char[]){0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0xc3}, 8);
	rax = ((uint64_t(*)(void))(p + 4096 - 6))();
	CHECK(rax == (uint64_t)getpid(), "split over two pages: %ld", rax);
}

static void int80(void)
{
	long r, bad = -1;

	__asm__ volatile("int $0x80" : "=a"(r) : "0"(20) : "memory");
	if (r == -ENOSYS)
		skip("the kernel has no 32-bit system calls");
	CHECK(r == getpid(), "getpid by int 0x80: %ld", r);
	/* arguments are 32 bits wide: write(-1, ...) = EBADF; registers are kept */
	__asm__ volatile("mov $0x1234567800000004, %%rax\n\tint $0x80"
			 : "=a"(r), "+b"(bad)
			 : "c"(0), "d"(0)
			 : "memory");
	CHECK(r == -EBADF, "write to -1: %ld", r);
	CHECK(bad == -1, "rbx changed: 0x%lx", bad);
}

extern char conform_elf32[], conform_elf32_end[];
__asm__(".section .rodata\n"
	".globl conform_elf32, conform_elf32_end\n"
	"conform_elf32: .incbin \"" EXIT32 "\"\n"
	"conform_elf32_end: .previous\n");

static pid_t run32(char *arg)
{
	int fd = (int)MUST(memfd_create("exit32", MFD_CLOEXEC));
	char *argv[] = {(char *)"exit32", arg, NULL}, *env[] = {NULL};
	pid_t pid;

	CHECK(write(fd, conform_elf32, (size_t)(conform_elf32_end - conform_elf32)) ==
		      conform_elf32_end - conform_elf32,
	      "write");
	pid = fork();
	if (!pid) {
		syscall(SYS_execveat, fd, "", argv, env, 0x1000 /* AT_EMPTY_PATH */);
		_exit(errno == ENOEXEC ? 100 : 101);
	}
	return pid;
}

static void program32(void)
{
	int status = 0;

	waitpid(run32(NULL), &status, 0);
	if (status == 100 << 8)
		skip("the kernel runs no 32-bit programs");
	CHECK(status == 32 << 8, "status 0x%x: step %d of exit32.S", status, status >> 8);
	for (int i = 0; i < 5; i++)
		expect_status(run32(NULL), 32 << 8);
	expect_status(run32((char *)"fault"), SIGILL);
}

/* A 64-bit program may jump into 32-bit code and back. */
static void far_jump(void)
{
	unsigned char *low = mmap(NULL, 8192, PROT_READ | PROT_WRITE | PROT_EXEC,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	/* mov eax, 7; dec eax (in 64-bit code this byte is a REX prefix); jmp far 0x33:back */
	unsigned char code[] = {0xb8, 7, 0, 0, 0, 0x48, 0xea, 0, 0, 0, 0, 0x33, 0};
	struct {
		uint32_t offset;
		uint16_t selector;
	} __attribute__((packed)) target;
	uint32_t back, result = 0;

	CHECK(low != MAP_FAILED, "mmap");
	back = (uint32_t)(uint64_t)low + 64;
	memcpy(code + 7, &back, 4);
	memcpy(low, code, sizeof(code));
	low[64] = 0xc3;
	target.offset = (uint32_t)(uint64_t)low;
	target.selector = 0x23;
	__asm__ volatile("mov %%rsp, %%r12\n\tlea 1f(%%rip), %%rax\n\tlea 4080(%2), %%rsp\n\tmov "
			 "%%rax, (%%rsp)\n\t"
			 "ljmp *(%1)\n1:\tmov %%r12, %%rsp"
			 : "=&a"(result)
			 : "r"(&target), "r"((uint64_t)low)
			 : "r12", "memory", "cc");
	CHECK(result == 6, "32-bit code answered %u", result);
}

static void segments(void)
{
	uint64_t value = 0x1122334455667788, read = 0, base = 0;
	uint16_t sel = 0x2b, got = 0;

	MUST(syscall(SYS_arch_prctl, 0x1001 /* ARCH_SET_GS */, &value));
	__asm__ volatile("mov %%gs:0, %0" : "=r"(read));
	CHECK(read == value, "gs:0 is 0x%lx", read);
	sched_yield();
	for (int i = 0; i < 3; i++) {
		pid_t pid = fork();

		if (!pid)
			_exit(0);
		expect_status(pid, 0);
	}
	__asm__ volatile("mov %%gs:0, %0" : "=r"(read));
	CHECK(read == value, "gs:0 after switches is 0x%lx", read);
	MUST(syscall(SYS_arch_prctl, 0x1004 /* ARCH_GET_GS */, &base));
	CHECK(base == (uint64_t)&value, "ARCH_GET_GS 0x%lx", base);
	CHECK(syscall(SYS_arch_prctl, 0x1001, 0xffff800000000000) == -1,
	      "a kernel address as gs base is accepted");
	__asm__ volatile("mov %1, %%ds\n\tmov %1, %%es\n\tmov %%ds, %0" : "=r"(got) : "r"(sel));
	CHECK(got == sel, "ds is 0x%x", got);
	usleep(1000);
	__asm__ volatile("mov %%es, %0" : "=r"(got));
	CHECK(got == sel, "es after a sleep is 0x%x", got);
	__asm__ volatile("mov %%cs, %0" : "=r"(got));
	CHECK(got == 0x33, "cs is 0x%x", got);
	__asm__ volatile("mov %%ss, %0" : "=r"(got));
	CHECK(got == 0x2b, "ss is 0x%x", got);
}

static void fsgsbase(void)
{
	uint64_t old, got, value = 0x77;

	if (!(getauxval(26) & 2))
		skip("the kernel does not offer fsgsbase");
	__asm__ volatile("rdgsbase %0" : "=r"(old));
	__asm__ volatile("wrgsbase %0" : : "r"(&value));
	sched_yield();
	usleep(1000);
	__asm__ volatile("mov %%gs:0, %0" : "=r"(got));
	CHECK(got == 0x77, "gs:0 is 0x%lx", got);
	__asm__ volatile("wrgsbase %0" : : "r"(old));
}

/* The page that old programs jump to for the time: three addresses, nothing else. */
static void touch_vsyscall(void *p)
{
	(void)*(volatile char *)p;
}

static void call_vsyscall(void *p)
{
	((long (*)(void *))p)(NULL);
}

static void vsyscall(void)
{
	time_t (*vtime)(time_t *) = (time_t(*)(time_t *))0xffffffffff600400;
	int (*vgettimeofday)(struct timeval *, void *) =
		(int (*)(struct timeval *, void *))0xffffffffff600000;
	long (*vgetcpu)(unsigned int *, unsigned int *, void *) =
		(long (*)(unsigned int *, unsigned int *, void *))0xffffffffff600800;
	struct timeval tv = {0, 0};
	unsigned int cpu = 99;
	time_t t;

	if (catch_signal(call_vsyscall, (void *)0xffffffffff600400))
		skip("the kernel has no vsyscall page");
	t = time(NULL);
	CHECK(labs((long)(vtime(NULL) - t)) <= 1, "time");
	CHECK(vgettimeofday(&tv, NULL) == 0 && labs((long)(tv.tv_sec - t)) <= 1, "gettimeofday");
	CHECK(vgetcpu(&cpu, NULL, NULL) == 0 && cpu < 4096, "getcpu");
	catch_signal(call_vsyscall, (void *)0xffffffffff600401);
	CHECK(caught.sig == SIGSEGV, "a jump into the middle: signal %d", caught.sig);
	catch_signal(touch_vsyscall, (void *)0xffffffffff601000);
	CHECK(caught.sig == SIGSEGV && caught.addr == 0xffffffffff601000, "behind it: signal %d",
	      caught.sig);
}

static void clocks(void)
{
	static const int ids[] = {CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_MONOTONIC_RAW,
				  CLOCK_MONOTONIC_COARSE, CLOCK_BOOTTIME};

	for (size_t c = 0; c < sizeof(ids) / sizeof(ids[0]); c++) {
		struct timespec a = {0, 0}, b, s;

		for (int i = 0; i < 20000; i++) {
			CHECK(!clock_gettime(ids[c], &b), "clock %d", ids[c]);
			CHECK(b.tv_nsec >= 0 && b.tv_nsec < 1000000000, "clock %d: %ld ns", ids[c],
			      b.tv_nsec);
			CHECK(b.tv_sec > a.tv_sec ||
				      (b.tv_sec == a.tv_sec && b.tv_nsec >= a.tv_nsec),
			      "clock %d went back from %ld.%09ld to %ld.%09ld", ids[c],
			      (long)a.tv_sec, a.tv_nsec, (long)b.tv_sec, b.tv_nsec);
			a = b;
			if (i % 100 == 0 &&
			    ids[c] != CLOCK_MONOTONIC_COARSE) { /* the kernel's answer lies between
								   two of the vDSO's */
				MUST(syscall(SYS_clock_gettime, ids[c], &s));
				clock_gettime(ids[c], &b);
				CHECK((s.tv_sec > a.tv_sec ||
				       (s.tv_sec == a.tv_sec && s.tv_nsec >= a.tv_nsec)) &&
					      (b.tv_sec > s.tv_sec ||
					       (b.tv_sec == s.tv_sec && b.tv_nsec >= s.tv_nsec)),
				      "clock %d: vDSO and kernel differ: %ld.%09ld, %ld.%09ld, "
				      "%ld.%09ld",
				      ids[c], (long)a.tv_sec, a.tv_nsec, (long)s.tv_sec, s.tv_nsec,
				      (long)b.tv_sec, b.tv_nsec);
			}
		}
	}
}

static void cpu_time(void)
{
	struct timespec cpu;
	uint64_t wall = now_ns(), used;
	volatile uint64_t n = 0;

	while (now_ns() - wall < 200000000)
		n++;
	wall = now_ns() - wall;
	MUST(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu));
	used = (uint64_t)cpu.tv_sec * 1000000000ull + (uint64_t)cpu.tv_nsec;
	CHECK(used <= wall + 50000000 && used > 0, "%lu ms of CPU time in %lu ms", used / 1000000,
	      wall / 1000000);
}

static void time_stamps(void)
{
	uint64_t last = 0;

	for (int i = 0; i < 100000; i++) {
		uint64_t now = __builtin_ia32_rdtsc();

		CHECK(now >= last, "rdtsc went back by %lu", last - now);
		last = now;
	}
}

static void do_cpuid(void *arg)
{
	uint32_t *r = arg;

	__cpuid(0, r[0], r[1], r[2], r[3]);
}

static void cpuid_same(void)
{
	uint32_t a[4], b[4];

	do_cpuid(a);
	for (int i = 0; i < 100; i++) {
		do_cpuid(b);
		CHECK(!memcmp(a, b, sizeof(a)), "leaf 0 changed");
	}
	CHECK(a[0] >= 1 && a[1], "leaf 0 is empty");
}

const struct test cpu_tests[] = {
	{"cpu-syscall-flags", syscall_flags},
	{"cpu-syscall-numbers", syscall_numbers},
	{"cpu-syscall-stacks", syscall_stacks},
	{"cpu-syscall-edge", syscall_at_the_edge},
	{"cpu-int80", int80},
	{"cpu-program32", program32},
	{"cpu-far-jump", far_jump},
	{"cpu-segments", segments},
	{"cpu-fsgsbase", fsgsbase},
	{"cpu-vsyscall", vsyscall},
	{"cpu-clocks", clocks},
	{"cpu-time", cpu_time},
	{"cpu-time-stamps", time_stamps},
	{"cpu-cpuid", cpuid_same},
	{NULL, NULL},
};
