// SPDX-License-Identifier: MIT
/*
 * System calls that run thousands of times, from code of all shapes: a host that makes them faster
 * by other means than the instruction must not be noticed. The code is made here, so that what
 * stands around the syscall is known: what ends a function, what aligns, nothing.
 */
#include "conform.h"
#include <pthread.h>
#include <sched.h>
#include <sys/ptrace.h>
#include <sys/time.h>
#include <sys/user.h>

enum { HOT = 20000, PAGE = 4096 };
#define NOP4  "\x0f\x1f\x40\x00"
#define NOP8  "\x0f\x1f\x84\x00\x00\x00\x00\x00"
#define NOP11 "\x66\x66\x2e\x0f\x1f\x84\x00\x00\x00\x00\x00"

/* Where a shape has its syscall, and what of it may be the address of an interrupted instruction.
 */
struct shape {
	uint8_t *page;
	unsigned int start, call;
	uint8_t boundary[PAGE];
};

static void put(struct shape *s, unsigned int *at, const char *bytes, unsigned int len)
{
	s->boundary[*at] = 1;
	memcpy(s->page + *at, bytes, len);
	*at += len;
}
#define PUT(s, at, bytes) put(s, at, bytes, sizeof(bytes) - 1)

static void one_byte_each(struct shape *s, unsigned int *at, unsigned int len)
{
	while (len--)
		PUT(s, at, "\xfc"); /* cld */
}

static void nops_until(struct shape *s, unsigned int *at, const char *nop, unsigned int len)
{
	while ((*at + len) % 16)
		PUT(s, at, "\xfc");
	put(s, at, nop, len);
}

enum {
	PADDED,
	INT3,
	LOOSE,
	EXECUTED_NOP,
	RELAY_NEAR,
	RELAY_SHORT,
	BACKWARDS,
	LAST_BYTES,
	NR_SHAPES
};

/* mov $39, %eax; syscall; ...; ret with what makes the shape */
static void shape_make(struct shape *s, unsigned int kind)
{
	unsigned int at = 64;

	memset(s->boundary, 0, sizeof(s->boundary));
	memset(s->page, 0xcc, PAGE);
	if (kind == LAST_BYTES)
		at = PAGE - 8;
	s->start = at;
	if (kind == BACKWARDS)
		nops_until(s, &at, NOP11, 11);
	PUT(s, &at, "\xb8\x27\x00\x00\x00");
	s->call = at;
	PUT(s, &at, "\x0f\x05");
	switch (kind) {
	case PADDED:
		PUT(s, &at, "\xc3");
		memset(s->page + at, 0x90, 16 - at % 16);
		break;
	case LOOSE:
	case BACKWARDS:
		one_byte_each(s, &at, 200);
		break;
	case EXECUTED_NOP:
		one_byte_each(s, &at, 20);
		nops_until(s, &at, NOP11, 11);
		one_byte_each(s, &at, 150);
		break;
	case RELAY_NEAR:
		nops_until(s, &at, NOP8, 8);
		one_byte_each(s, &at, 300);
		nops_until(s, &at, NOP11, 11);
		break;
	case RELAY_SHORT:
		one_byte_each(s, &at, 90);
		nops_until(s, &at, NOP4, 4);
		one_byte_each(s, &at, 64);
		nops_until(s, &at, NOP11, 11);
		break;
	default:
		break;
	}
	PUT(s, &at, "\xc3");
}

static void shape_map(struct shape *s, unsigned int kind)
{
	s->page = pages(1, PROT_READ | PROT_WRITE);
	shape_make(s, kind);
	MUST(mprotect(s->page, PAGE, PROT_READ | PROT_EXEC));
}

/* ---- registers, with a timer that interrupts anywhere -------------------------------------- */

static struct shape *interrupted;
static volatile unsigned int ticks, strange;
static volatile uint64_t strange_rip;

static void on_tick(int sig, siginfo_t *si, void *context)
{
	uint64_t rip = (uint64_t)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
	uint64_t off = rip - (uint64_t)interrupted->page;

	(void)sig;
	(void)si;
	ticks++;
	if (rip < 0x100000 || (off < PAGE && !interrupted->boundary[off])) {
		strange_rip = rip;
		strange++;
	}
}

struct regs {
	uint64_t r[16], flags;
	uint8_t x[16][16];
};

/* Calls `code` with these registers (not rsp), and notes what they are afterwards. */
static void call_with(const void *code, struct regs *regs, uint32_t *mxcsr)
{
	__asm__ volatile("sub $128, %%rsp; push %%rbp; push %0; push %1; push %2\n\t"
			 "mov %1, %%rbx\n\t"
			 ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n\t"
			 "movdqu 136+16*\\n(%%rbx), %%xmm\\n\n\t.endr\n\t"
			 "ldmxcsr (%2)\n\t"
			 "mov 16(%%rbx), %%rdx; mov 40(%%rbx), %%rbp; mov 48(%%rbx), %%rsi\n\t"
			 "mov 56(%%rbx), %%rdi; mov 64(%%rbx), %%r8; mov 72(%%rbx), %%r9\n\t"
			 "mov 80(%%rbx), %%r10; mov 96(%%rbx), %%r12; mov 104(%%rbx), %%r13\n\t"
			 "mov 112(%%rbx), %%r14; mov 120(%%rbx), %%r15; push 128(%%rbx); popf\n\t"
			 "mov 24(%%rbx), %%rbx\n\t"
			 "call *16(%%rsp)\n\t"
			 "push %%rbx; mov 16(%%rsp), %%rbx\n\t"
			 "pushf; pop 128(%%rbx); cld\n\t"
			 "mov %%rax, (%%rbx); mov %%rcx, 8(%%rbx); mov %%rdx, 16(%%rbx)\n\t"
			 "mov %%rbp, 40(%%rbx); mov %%rsi, 48(%%rbx); mov %%rdi, 56(%%rbx)\n\t"
			 "mov %%r8, 64(%%rbx); mov %%r9, 72(%%rbx); mov %%r10, 80(%%rbx)\n\t"
			 "mov %%r11, 88(%%rbx); mov %%r12, 96(%%rbx); mov %%r13, 104(%%rbx)\n\t"
			 "mov %%r14, 112(%%rbx); mov %%r15, 120(%%rbx); pop 24(%%rbx)\n\t"
			 ".irp n,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n\t"
			 "movdqu %%xmm\\n, 136+16*\\n(%%rbx)\n\t.endr\n\t"
			 "mov (%%rsp), %%rdx; stmxcsr (%%rdx); ldmxcsr 4(%%rdx)\n\t"
			 "add $24, %%rsp; pop %%rbp; add $128, %%rsp"
			 : "+a"(code), "+c"(regs), "+d"(mxcsr)
			 :
			 : "rbx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
			   "r15", "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5",
			   "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13",
			   "xmm14", "xmm15");
}

static void check_registers(struct shape *s, unsigned int kind, unsigned int n)
{
	static const uint64_t flags[] = {0x202, 0x203, 0x246, 0xa93, 0x200ad7};
	uint64_t want = flags[n % 5];
	uint32_t mxcsr[2] = {n & 1 ? 0x7f80 : 0x1fa1, 0x1f80};
	struct regs in, out;

	for (unsigned int i = 0; i < 16; i++) {
		in.r[i] = n * 0x9e3779b97f4a7c15ull + i;
		for (unsigned int j = 0; j < 16; j++)
			in.x[i][j] = (uint8_t)(n + 16 * i + j);
	}
	in.flags = want;
	out = in;
	call_with(s->page + s->start, &out, mxcsr);
	CHECK(out.r[0] == (uint64_t)getpid(), "shape %u, call %u: rax 0x%lx", kind, n, out.r[0]);
	CHECK(out.r[1] == (uint64_t)s->page + s->call + 2, "shape %u, call %u: rcx 0x%lx", kind, n,
	      out.r[1]);
	for (unsigned int i = 2; i < 16; i++)
		CHECK(i == 4 || i == 11 || out.r[i] == in.r[i],
		      "shape %u, call %u: register %u is 0x%lx, not 0x%lx", kind, n, i, out.r[i],
		      in.r[i]);
	CHECK(!((out.flags ^ want) & 0x200cd5 & (kind == PADDED ? ~0ul : ~0x400ul)),
	      "shape %u, call %u: flags 0x%lx, not 0x%lx", kind, n, out.flags, want);
	CHECK(!((out.r[11] ^ want) & 0x2008d5), "shape %u, call %u: r11 0x%lx, not 0x%lx", kind, n,
	      out.r[11], want);
	CHECK(memcmp(in.x, out.x, sizeof(in.x)) == 0, "shape %u, call %u: vector registers", kind,
	      n);
	CHECK(mxcsr[0] == (n & 1 ? 0x7f80u : 0x1fa1u), "shape %u, call %u: mxcsr 0x%x", kind, n,
	      mxcsr[0]);
}

static void registers(void)
{
	struct itimerval every = {{0, 300}, {0, 300}}, never = {{0, 0}, {0, 0}};
	static struct shape s;

	interrupted = &s;
	on_signal(SIGALRM, on_tick, SA_RESTART);
	for (unsigned int kind = 0; kind < NR_SHAPES; kind++) {
		shape_map(&s, kind);
		MUST(setitimer(ITIMER_REAL, &every, NULL));
		for (unsigned int n = 0; n < HOT; n++)
			check_registers(&s, kind, n);
		MUST(setitimer(ITIMER_REAL, &never, NULL));
		CHECK(!strange, "shape %u: interrupted at 0x%lx, the page is at %p", kind,
		      strange_rip, (void *)s.page);
		MUST(munmap(s.page, PAGE));
	}
	CHECK(ticks > 10, "%u ticks", ticks);
}

/* ---- system calls that are started again, and entered in the middle -------------------------- */

static int restart_pipe[2];

static void *write_later(void *arg)
{
	(void)arg;
	usleep(60000);
	MUST(write(restart_pipe[1], "x", 1));
	return NULL;
}

static long call3(const void *code, long nr, long a, long b, long c)
{
	long r = nr;

	__asm__ volatile("sub $128, %%rsp; call *%1; add $128, %%rsp"
			 : "+a"(r)
			 : "r"(code), "D"(a), "S"(b), "d"(c)
			 : "rcx", "r11", "memory", "cc");
	return r;
}

/* Jumps to the syscall itself: the number is in eax by then. */
static void restarts(void)
{
	struct itimerval every = {{0, 2000}, {0, 2000}}, never = {{0, 0}, {0, 0}};
	static struct shape s;
	const void *code;
	pthread_t t;
	char c = 0;

	interrupted = &s;
	on_signal(SIGALRM, on_tick, SA_RESTART);
	for (unsigned int kind = 0; kind < NR_SHAPES; kind++) {
		shape_map(&s, kind);
		code = s.page + s.call;
		MUST(pipe(restart_pipe));
		for (unsigned int n = 0; n < 200; n++)
			CHECK(call3(code, SYS_getppid, 0, 0, 0) == getppid(), "getppid");
		ticks = 0;
		MUST(setitimer(ITIMER_REAL, &every, NULL));
		CHECK(!pthread_create(&t, NULL, write_later, NULL), "thread");
		long r = call3(code, SYS_read, restart_pipe[0], (long)&c, 1);
		MUST(setitimer(ITIMER_REAL, &never, NULL));
		CHECK(r == 1 && c == 'x', "shape %u: read returns %ld", kind, r);
		pthread_join(t, NULL);
		CHECK(!strange, "interrupted at 0x%lx, the page is at %p", strange_rip,
		      (void *)s.page);
		close(restart_pipe[0]);
		close(restart_pipe[1]);
		MUST(munmap(s.page, PAGE));
	}
}

/* ---- code that changes ------------------------------------------------------------------------
 */

static long hot(struct shape *s, const uint8_t *at)
{
	long r = 0;

	for (unsigned int n = 0; n < 100; n++)
		r = call3(at + s->start, 0, 0, 0, 0);
	return r;
}

/* The number that the code passes, by another mapping, by write() and by mprotect(). */
static void rewritten(void)
{
	int fd = (int)MUST(memfd_create("code", 0));
	struct shape s;
	uint8_t *run, *again, number;

	MUST(ftruncate(fd, PAGE));
	s.page = (uint8_t *)MUST(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	shape_make(&s, PADDED);
	MUST(munmap(s.page, PAGE));
	run = (uint8_t *)MUST(mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0));
	again = (uint8_t *)MUST(mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0));
	for (unsigned int round = 0; round < 8; round++) {
		CHECK(hot(&s, run) == getpid(), "round %u: not getpid", round);
		CHECK(hot(&s, again) == getpid(), "round %u: not getpid at the second place",
		      round);
		number = SYS_getppid;
		if (round & 1) {
			MUST(pwrite(fd, &number, 1, s.start + 1));
		} else {
			s.page = (uint8_t *)MUST(
				mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
			s.page[s.start + 1] = number;
		}
		CHECK(hot(&s, run) == getppid(), "round %u: not getppid", round);
		CHECK(hot(&s, again) == getppid(), "round %u: not getppid at the second place",
		      round);
		number = SYS_getpid;
		if (!(round & 1)) {
			s.page[s.start + 1] = number;
			MUST(munmap(s.page, PAGE));
		} else {
			MUST(mprotect(run, PAGE, PROT_READ | PROT_WRITE));
			run[s.start + 1] = number;
			MUST(mprotect(run, PAGE, PROT_READ | PROT_EXEC));
		}
	}
	/* Another page in the same place. */
	shape_map(&s, LOOSE);
	CHECK(hot(&s, s.page) == getpid(), "not getpid");
	MUST(mremap(s.page, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, run));
	CHECK(hot(&s, run) == getpid() && hot(&s, again) == getpid(), "moved");
}

static struct {
	uint8_t *run;
	const uint32_t *number;
	volatile uint32_t *write;
	volatile unsigned int told, seen;
} other;

static void *changes_it(void *arg)
{
	(void)arg;
	for (unsigned int n = 1; n <= 400; n++) {
		__atomic_store_n(other.write, n & 1 ? SYS_getppid : SYS_getpid, __ATOMIC_SEQ_CST);
		__atomic_store_n(&other.told, n, __ATOMIC_SEQ_CST);
		while (__atomic_load_n(&other.seen, __ATOMIC_SEQ_CST) != n)
			sched_yield();
	}
	return NULL;
}

/* By another thread, perhaps on another processor; who is told executes a serializing instruction.
 */
static void rewritten_elsewhere(void)
{
	int fd = (int)MUST(memfd_create("code", 0));
	struct shape s;
	pthread_t t;

	MUST(ftruncate(fd, PAGE));
	s.page = (uint8_t *)MUST(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	shape_make(&s, PADDED);
	memmove(s.page + 67, s.page + 64, 32); /* the number aligned */
	s.start = 67;
	other.write = (uint32_t *)(s.page + 68);
	other.run = (uint8_t *)MUST(mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0));
	CHECK(hot(&s, other.run) == getpid(), "not getpid");
	CHECK(!pthread_create(&t, NULL, changes_it, NULL), "thread");
	for (unsigned int n = 1; n <= 400; n++) {
		uint32_t a = 0, b, c = 0, d;

		while (__atomic_load_n(&other.told, __ATOMIC_SEQ_CST) != n)
			sched_yield();
		__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
		long r = n % 8 ? call3(other.run + s.start, 0, 0, 0, 0) : hot(&s, other.run);
		CHECK(r == (n & 1 ? getppid() : getpid()), "round %u: %ld", n, r);
		__atomic_store_n(&other.seen, n, __ATOMIC_SEQ_CST);
	}
	pthread_join(t, NULL);
}

/* ---- who looks closely ------------------------------------------------------------------------
 */

static void inherited(void)
{
	struct shape s;
	int status;

	shape_map(&s, PADDED);
	hot(&s, s.page);
	for (unsigned int n = 0; n < 20; n++) {
		pid_t pid = (pid_t)MUST(fork());

		if (!pid)
			_exit(hot(&s, s.page) == getpid() ? 7 : 8);
		CHECK(waitpid(pid, &status, 0) == pid && status == 7 << 8, "child %u: 0x%x", n,
		      status);
		CHECK(hot(&s, s.page) == getpid(), "after child %u", n);
	}
}

/* Single steps see each instruction once, and the debugger the bytes that the program has. */
static void stepped(void)
{
	struct user_regs_struct r;
	struct shape s;
	int status;
	pid_t pid;

	shape_map(&s, PADDED);
	hot(&s, s.page);
	pid = (pid_t)MUST(fork());
	if (!pid) {
		MUST(ptrace(PTRACE_TRACEME, 0, 0, 0));
		hot(&s, s.page);
		raise(SIGSTOP);
		_exit(hot(&s, s.page) == getpid() ? 5 : 6);
	}
	CHECK(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status), "stop");
	CHECK((ptrace(PTRACE_PEEKTEXT, pid, s.page + s.call, 0) & 0xffff) == 0x050f,
	      "not a syscall");
	for (unsigned int n = 0, in = 0; in < 40 && n < 4000; n++) {
		uint64_t off, was;

		MUST(ptrace(PTRACE_GETREGS, pid, 0, &r));
		was = r.rip - (uint64_t)s.page;
		MUST(ptrace(PTRACE_SINGLESTEP, pid, 0, 0));
		CHECK(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status), "status 0x%x", status);
		MUST(ptrace(PTRACE_GETREGS, pid, 0, &r));
		off = r.rip - (uint64_t)s.page;
		CHECK(r.rip >= 0x100000 && (off >= PAGE || s.boundary[off]), "steps to 0x%llx",
		      r.rip);
		if (was >= PAGE)
			continue;
		in++;
		if (was == s.start)
			CHECK(off == s.call, "from the mov to +0x%lx", off);
		if (was == s.call)
			CHECK(off == s.call + 2 && r.rax == (uint64_t)pid,
			      "from the syscall to +0x%lx, rax 0x%llx", off, r.rax);
	}
	MUST(ptrace(PTRACE_DETACH, pid, 0, 0));
	expect_status(pid, 5 << 8);
}

/*
 * Two bytes in the middle of an instruction that are a system call for who jumps there: that is his
 * affair alone, whoever else executes the page.
 */
static void of_others(void)
{
	uint8_t *page = pages(1, PROT_READ | PROT_WRITE);
	pid_t pid;

	memset(page, 0x90, PAGE);
	/* mov $0xc3c3050f, %eax; ret, and room for a jump behind it */
	memcpy(page + 64, "\xb8\x0f\x05\xc3\xc3\xc3", 6);
	MUST(mprotect(page, PAGE, PROT_READ | PROT_EXEC));
	pid = (pid_t)MUST(fork());
	if (!pid) {
		long r = 0;

		for (unsigned int i = 0; i < HOT; i++)
			__asm__ volatile("call *%1"
					 : "=a"(r)
					 : "r"(page + 65), "0"(39L)
					 : "rcx", "r11", "memory");
		_exit(r == getpid() ? 7 : 8);
	}
	expect_status(pid, 7 << 8);
	for (unsigned int n = 0; n < 3; n++) {
		unsigned int got = ((unsigned int (*)(void))(uintptr_t)(page + 64))();

		CHECK(got == 0xc3c3050f, "another process has changed an instruction: 0x%x", got);
		pid = (pid_t)MUST(fork());
		if (!pid)
			_exit(((unsigned int (*)(void))(uintptr_t)(page + 64))() == 0xc3c3050f ? 7
											       : 8);
		expect_status(pid, 7 << 8);
	}
}

const struct test site_tests[] = {
	{"sites-registers", registers}, {"sites-restarts", restarts},
	{"sites-rewritten", rewritten}, {"sites-rewritten-elsewhere", rewritten_elsewhere},
	{"sites-inherited", inherited}, {"sites-stepped", stepped},
	{"sites-of-others", of_others}, {NULL, NULL},
};
