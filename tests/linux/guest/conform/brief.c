// SPDX-License-Identifier: MIT
/*
 * Programs that are back in the kernel after some dozens of instructions: hosts may execute these
 * by other means than the processor (ring3 interprets them), by what they remember of the page
 * tables. So what a program has mapped changes all the time here, by itself and by others.
 */
#include "conform.h"
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>

enum { PAGE = 4096, OFTEN = 3000 };

/* So that what comes next is a turn of its own, and a short one. */
static inline void cheap_call(void)
{
	long r = SYS_getppid;

	__asm__ volatile("syscall" : "+a"(r) : : "rcx", "r11", "memory");
}

static inline uint64_t load(const volatile uint64_t *p)
{
	cheap_call();
	return *p;
}

static inline void store(volatile uint64_t *p, uint64_t v)
{
	cheap_call();
	*p = v;
	cheap_call();
}

static void load_action(void *p)
{
	(void)load(p);
}

static void store_action(void *p)
{
	store(p, 1);
}

/* ---- one thread ---------------------------------------------------------------------------- */

static void test_rights(void)
{
	uint64_t *p = pages(2, PROT_READ | PROT_WRITE), *q;

	for (uint64_t i = 1; i <= OFTEN / 3; i++) {
		store(p, i);
		MUST(mprotect(p, PAGE, PROT_READ));
		CHECK(load(p) == i, "read-only: %lu, not %lu", *p, i);
		CHECK(catch_signal(store_action, p) == SIGSEGV, "a store to a read-only page");
		CHECK(caught.addr == (uint64_t)p && caught.error == 7, "%lx, error %lx",
		      caught.addr, caught.error);
		MUST(mprotect(p, PAGE, PROT_NONE));
		CHECK(catch_signal(load_action, p) == SIGSEGV, "a load without any right");
		MUST(mprotect(p, PAGE, PROT_READ | PROT_WRITE));
		CHECK(load(p) == i, "again writable: %lu, not %lu", *p, i);
		/* another frame at the same place, and this one at another */
		q = mremap(p, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, p + PAGE / 8);
		CHECK(q == p + PAGE / 8, "mremap: %s", strerror(errno));
		CHECK(catch_signal(load_action, p) == SIGSEGV, "a load where it was");
		CHECK(load(q) == i, "moved: %lu, not %lu", *q, i);
		MUST(mmap(p, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
			  -1, 0));
		CHECK(load(p) == 0, "a new page is not empty");
		store(q, ~i);
		CHECK(load(p) == 0, "a new page is the old one");
		MUST(madvise(q, PAGE, MADV_DONTNEED));
		CHECK(load(q) == 0, "a page that was given back is not empty");
	}
}

static void test_copies(void)
{
	uint64_t *p = pages(1, PROT_READ | PROT_WRITE);
	pid_t pid;

	for (uint64_t i = 1; i <= OFTEN / 4; i++) {
		store(p, i);
		pid = (pid_t)MUST(fork());
		if (!pid) {
			bool same = load(p) == i;

			store(p, ~i);
			_exit(same && load(p) == ~i ? 3 : 4);
		}
		if (i & 1)
			store(p + 1, i);
		expect_status(pid, 3 << 8);
		CHECK(load(p) == i, "a child's store is the parent's");
	}
}

/* mov $imm, %eax; ret: by its other address, by the kernel, by itself with the same address */
static void test_code(void)
{
	const uint8_t bytes[] = {0xb8, 0, 0, 0, 0, 0xc3};
	int fd = (int)MUST(syscall(SYS_memfd_create, "code", 0)), (*f)(void);
	uint8_t *w, *x;

	MUST(ftruncate(fd, PAGE));
	w = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	x = mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	CHECK(w != MAP_FAILED && x != MAP_FAILED, "mmap: %s", strerror(errno));
	/* at the end of the page, too */
	for (unsigned int at = 0; at < PAGE; at += at ? PAGE : PAGE - sizeof(bytes)) {
		memcpy(w + at, bytes, sizeof(bytes));
		f = (int (*)(void))(uintptr_t)(x + at);
		for (int i = 1; i <= OFTEN; i++) {
			if (i % 3)
				memcpy(w + at + 1, &i, 4);
			else
				MUST(pwrite(fd, &i, 4, at + 1));
			cheap_call();
			CHECK(f() == i, "the code of before");
			cheap_call();
		}
	}
}

/* ---- every register where it faults -------------------------------------------------------- */

static struct {
	greg_t gregs[NGREG];
	volatile unsigned int nr;
	uint8_t *fixes; /* the page that becomes accessible */
} fault;

static void on_fault(int sig __attribute__((unused)), siginfo_t *si __attribute__((unused)),
		     void *context)
{
	ucontext_t *u = context;

	memcpy(fault.gregs, u->uc_mcontext.gregs, sizeof(fault.gregs));
	fault.nr++;
	MUST(mprotect(fault.fixes, PAGE, PROT_READ | PROT_WRITE));
}

extern const uint8_t brief_faults[], brief_string[];

/*
 * regs: rax rbx rcx rdx rsi rdi rbp r8-r15; loaded, used with flags, stored to (%rdi), and read
 * back
 */
static __attribute__((noinline)) void use_registers(uint64_t *regs, const uint64_t *string)
{
	__asm__ volatile("sub $128, %%rsp; push %%rbp; push %%rsi; push %%rdi\n\t"
			 "mov %%rdi, %%rax\n\t"
			 "mov 8(%%rax), %%rbx; mov 16(%%rax), %%rcx; mov 24(%%rax), %%rdx\n\t"
			 "mov 32(%%rax), %%rsi; mov 40(%%rax), %%rdi; mov 48(%%rax), %%rbp\n\t"
			 "mov 56(%%rax), %%r8; mov 64(%%rax), %%r9; mov 72(%%rax), %%r10\n\t"
			 "mov 88(%%rax), %%r12; mov 96(%%rax), %%r13; mov 104(%%rax), %%r14\n\t"
			 "mov 112(%%rax), %%r15\n\t"
			 "push %%rcx; mov $110, %%eax; syscall; pop %%rcx\n\t"
			 "mov $-1, %%r11; add $1, %%r11\n" /* ZF, CF, PF, AF */
			 ".globl brief_faults\n"
			 "brief_faults: mov %%rdx, (%%rdi)\n\t"
			 "pushf; pop %%r11\n\t"
			 "mov (%%rsp), %%rax\n\t"
			 "mov %%rbx, 8(%%rax); mov %%rcx, 16(%%rax); mov %%rdx, 24(%%rax)\n\t"
			 "mov %%rsi, 32(%%rax); mov %%rdi, 40(%%rax); mov %%rbp, 48(%%rax)\n\t"
			 "mov %%r8, 56(%%rax); mov %%r9, 64(%%rax); mov %%r10, 72(%%rax)\n\t"
			 "mov %%r11, 80(%%rax)\n\t"
			 "mov %%r12, 88(%%rax); mov %%r13, 96(%%rax); mov %%r14, 104(%%rax)\n\t"
			 "mov %%r15, 112(%%rax)\n\t"
			 "mov 8(%%rsp), %%rax\n\t" /* a copy that ends in the page behind */
			 "mov (%%rax), %%rsi; mov 8(%%rax), %%rdi; mov 16(%%rax), %%rcx\n\t"
			 "mov $110, %%eax; push %%rcx; syscall; pop %%rcx\n\t"
			 "std; cld\n"
			 ".globl brief_string\n"
			 "brief_string: rep movsb\n\t"
			 "pop %%rax; pop %%rax; pop %%rbp; add $128, %%rsp"
			 : "+D"(regs), "+S"(string)
			 :
			 : "rax", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13",
			   "r14", "r15", "memory", "cc");
}

static void test_registers(void)
{
	static const int where[] = {REG_RBX, REG_RCX, REG_RDX, REG_RSI, REG_RDI, REG_RBP, REG_R8,
				    REG_R9,  REG_R10, -1,      REG_R12, REG_R13, REG_R14, REG_R15};
	uint8_t *p = pages(3, PROT_READ | PROT_WRITE), *from = pages(1, PROT_READ | PROT_WRITE);
	uint64_t regs[15], was[15], string[3];

	on_signal(SIGSEGV, on_fault, 0);
	for (uint64_t i = 1; i <= OFTEN; i++) {
		for (unsigned int n = 0; n < 15; n++)
			regs[n] = i * 0x9e3779b97f4a7c15ull * (n + 1);
		regs[5] = (uint64_t)(p + PAGE + 8 * (i % 500));
		memcpy(was, regs, sizeof(was));
		string[0] = (uint64_t)from;
		string[1] = (uint64_t)(p + 2 * PAGE - i % 64);
		string[2] = 200;
		memset(from, (int)i, 200);
		fault.nr = 0;
		if (i % 2) {
			fault.fixes = p + PAGE;
			MUST(mprotect(p + PAGE, PAGE, i % 3 ? PROT_READ : PROT_NONE));
			/* (the string's page is accessible) */
			MUST(mprotect(p + 2 * PAGE, PAGE, PROT_READ | PROT_WRITE));
		} else {
			fault.fixes = p + 2 * PAGE;
			MUST(mprotect(p + 2 * PAGE, PAGE, i % 3 ? PROT_READ : PROT_NONE));
		}
		use_registers(regs, string);
		CHECK(fault.nr == 1, "%u faults", fault.nr);
		CHECK((fault.gregs[REG_ERR] & ~1) == 6, "error %llx", fault.gregs[REG_ERR]);
		for (unsigned int n = 1; n < 15; n++)
			CHECK(n == 10 || regs[n] == was[n], "register %u: %lx, not %lx", n, regs[n],
			      was[n]);
		CHECK((regs[10] & 0xcd5) == 0x55, "flags %lx", regs[10]);
		CHECK(*(uint64_t *)regs[5] == was[3], "what was stored");
		for (unsigned int n = 0; n < 200; n++)
			CHECK(((uint8_t *)string[1])[n] == (uint8_t)i, "byte %u of the string", n);
		if (i % 2) {
			CHECK(fault.gregs[REG_RIP] == (greg_t)(uintptr_t)brief_faults, "rip %llx",
			      fault.gregs[REG_RIP]);
			CHECK(fault.gregs[REG_CR2] == (greg_t)was[5], "cr2 %llx",
			      fault.gregs[REG_CR2]);
			CHECK((fault.gregs[REG_EFL] & 0xcd5) == 0x55, "flags %llx",
			      fault.gregs[REG_EFL]);
			for (unsigned int n = 0; n < 14; n++)
				CHECK(where[n] < 0 || fault.gregs[where[n]] == (greg_t)was[n + 1],
				      "register %u in the signal: %llx", n + 1,
				      fault.gregs[where[n]]);
		} else {
			uint64_t done = i % 64;

			CHECK(fault.gregs[REG_RIP] == (greg_t)(uintptr_t)brief_string, "rip %llx",
			      fault.gregs[REG_RIP]);
			CHECK(fault.gregs[REG_CR2] == (greg_t)(uintptr_t)(p + 2 * PAGE), "cr2 %llx",
			      fault.gregs[REG_CR2]);
			CHECK(fault.gregs[REG_RCX] == (greg_t)(200 - done) &&
				      fault.gregs[REG_RSI] == (greg_t)(string[0] + done) &&
				      fault.gregs[REG_RDI] == (greg_t)(string[1] + done),
			      "in the middle of the string: %llx %llx %llx, %lu done",
			      fault.gregs[REG_RCX], fault.gregs[REG_RSI], fault.gregs[REG_RDI],
			      done);
		}
	}
}

/* ---- another thread changes what is mapped ------------------------------------------------- */

static struct {
	volatile uint64_t *p;
	_Atomic uint64_t generation, wrong, loops;
	_Atomic int stop;
} other;

/* Long enough for some turns of the other thread, on whichever processor. */
static void let_run(void)
{
	uint64_t loops = other.loops, until = now_ns() + 20000000;

	while (other.loops < loops + 3 && now_ns() < until)
		sched_yield();
}

static pthread_t begin(void *(*thread)(void *), void *p)
{
	pthread_t t;

	other.p = p;
	other.generation = other.wrong = other.loops = 0;
	other.stop = 0;
	CHECK(pthread_create(&t, NULL, thread, NULL) == 0, "pthread_create");
	return t;
}

static void end(pthread_t t)
{
	other.stop = 1;
	pthread_join(t, NULL);
}

/*
 * The page is never older than the generation that was seen before it was read. Looked at often in
 * a turn, so that most of the time a change meets one: a page that was looked up and is not any
 * more must not be used, either.
 */
static void *reader(void *arg __attribute__((unused)))
{
	while (!other.stop) {
		cheap_call();
		for (unsigned int n = 0; n < 50; n++) {
			uint64_t least = other.generation, v = *other.p;

			if (v < least)
				other.wrong = least;
		}
		cheap_call();
		other.loops++;
	}
	return NULL;
}

static void test_other_maps(void)
{
	enum { NR = 16 };
	uint64_t *p = pages(1, PROT_READ | PROT_WRITE), *q;
	int fd = (int)MUST(syscall(SYS_memfd_create, "generations", 0));
	pthread_t t;

	MUST(ftruncate(fd, NR * PAGE));
	q = mmap(NULL, NR * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(q != MAP_FAILED, "mmap: %s", strerror(errno));
	t = begin(reader, p);
	for (uint64_t i = 1; i <= OFTEN && !other.wrong; i++) {
		volatile uint64_t *to = q + PAGE / 8 * (i % NR);

		*to = i;
		if (i % 2) {
			MUST(mmap(p, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, fd,
				  (off_t)(i % NR) * PAGE));
		} else {
			uint64_t *n = pages(1, PROT_READ | PROT_WRITE);

			*n = i;
			CHECK(mremap(n, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, p) == p,
			      "mremap: %s", strerror(errno));
		}
		other.generation = i;
		if (i % 64 == 0)
			let_run();
	}
	end(t);
	CHECK(!other.wrong, "an old page at generation %lu", other.wrong);
}

static void *writer(void *arg __attribute__((unused)))
{
	uint64_t i = 1;

	while (!other.stop) {
		volatile uint64_t *p = other.p;

		cheap_call();
		for (unsigned int n = 0; n < 80; n++)
			*p = i++;
		cheap_call();
		other.loops++;
	}
	return NULL;
}

static void test_other_protects(void)
{
	uint64_t *p = pages(1, PROT_READ | PROT_WRITE), v;
	pthread_t t;

	fault.fixes = (uint8_t *)pages(1, PROT_READ);
	on_signal(SIGSEGV, on_fault, 0); /* (changes another page: it is tried again) */
	t = begin(writer, p);
	for (unsigned int i = 0; i < OFTEN; i++) {
		if (i % 64 == 0)
			let_run();
		MUST(mprotect(p, PAGE, PROT_READ));
		v = *(volatile uint64_t *)p;
		for (unsigned int n = 0; n < 2000; n++) {
			if (i % 16 == 0 && n % 256 == 0)
				sched_yield();
			CHECK(*(volatile uint64_t *)p == v, "a store to a read-only page");
		}
		MUST(mprotect(p, PAGE, PROT_READ | PROT_WRITE));
	}
	end(t);
}

/* A fork's child has what was there then, whatever the other thread stores meanwhile. */
static void test_other_forks(void)
{
	uint64_t *p = pages(1, PROT_READ | PROT_WRITE);
	pthread_t t = begin(writer, p);

	for (unsigned int i = 0; i < OFTEN / 20; i++) {
		pid_t pid = (pid_t)MUST(fork());

		if (!pid) {
			uint64_t v = load(p);

			for (unsigned int n = 0; n < 20; n++)
				if (load(p) != v)
					_exit(4);
			_exit(3);
		}
		expect_status(pid, 3 << 8);
	}
	end(t);
}

const struct test brief_tests[] = {{"brief-rights", test_rights},
				   {"brief-copies", test_copies},
				   {"brief-code", test_code},
				   {"brief-registers", test_registers},
				   {"brief-other-maps", test_other_maps},
				   {"brief-other-protects", test_other_protects},
				   {"brief-other-forks", test_other_forks},
				   {0}};
