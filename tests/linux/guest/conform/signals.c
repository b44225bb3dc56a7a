// SPDX-License-Identifier: MIT
/* Delivery of signals and the way back: stacks, masks, nesting, changed contexts, restarts, timers.
 */
#include "conform.h"
#include <sys/time.h>

static volatile int got, depth, deepest;

static void count(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)info;
	(void)context;
	got++;
}

static void siginfo_of(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	CHECK(info->si_code == SI_QUEUE && info->si_value.sival_int == 4711, "si_code %d, value %d",
	      info->si_code, info->si_value.sival_int);
	CHECK(info->si_pid == getpid(), "si_pid %d", info->si_pid);
	got++;
}

static void queue(void)
{
	union sigval v = {.sival_int = 4711};

	on_signal(SIGRTMIN, siginfo_of, 0);
	for (int i = 0; i < 100; i++)
		MUST(sigqueue(getpid(), SIGRTMIN, v));
	CHECK(got == 100, "%d of 100 arrived", got);
}

/* Every general register and the flags survive a handler that changes them all. */
static void clobber(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)info;
	(void)context;
	got++;
	__asm__ volatile("xor %%eax, %%eax\n\tmov $-1, %%rbx\n\tmov $2, %%ecx\n\tmov $3, "
			 "%%edx\n\tmov $4, %%esi\n\t"
			 "mov $5, %%edi\n\tmov $8, %%r8d\n\tmov $9, %%r9d\n\tmov $10, "
			 "%%r10d\n\tmov $11, %%r11d\n\t"
			 "mov $12, %%r12d\n\tmov $13, %%r13d\n\tmov $14, %%r14d\n\tmov $15, "
			 "%%r15d\n\tstc\n\tstd\n\tcld"
			 :
			 :
			 : "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11",
			   "r12", "r13", "r14", "r15", "cc");
}

/*
 * Counts down with a pattern in every register; returns how many differ in the end. It never leaves
 * user mode by itself, so that only asynchronous signals interrupt it.
 */
extern long spin_registers(long rounds);
__asm__(".text\n"
	"spin_registers:\n"
	"	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
	"	movabs $0x0101010101010101, %rax\n"
	"	mov %rdi, %rcx\n"
	"	lea (%rax,%rax), %rbx\n"
	"	lea (%rbx,%rax), %rdx\n"
	"	lea (%rdx,%rax), %rsi\n"
	"	lea (%rsi,%rax), %rdi\n"
	"	lea (%rdi,%rax), %rbp\n"
	"	lea (%rbp,%rax), %r8\n"
	"	lea (%r8,%rax), %r9\n"
	"	lea (%r9,%rax), %r10\n"
	"	lea (%r10,%rax), %r11\n"
	"	lea (%r11,%rax), %r12\n"
	"	lea (%r12,%rax), %r13\n"
	"	lea (%r13,%rax), %r14\n"
	"	lea (%r14,%rax), %r15\n"
	"1:	dec %rcx\n"
	"	jnz 1b\n"
	"	sub %rax, %r15; cmp %r14, %r15; jne 2f\n"
	"	sub %rax, %r14; cmp %r13, %r14; jne 2f\n"
	"	sub %rax, %r13; cmp %r12, %r13; jne 2f\n"
	"	sub %rax, %r12; cmp %r11, %r12; jne 2f\n"
	"	sub %rax, %r11; cmp %r10, %r11; jne 2f\n"
	"	sub %rax, %r10; cmp %r9, %r10; jne 2f\n"
	"	sub %rax, %r9; cmp %r8, %r9; jne 2f\n"
	"	sub %rax, %r8; cmp %rbp, %r8; jne 2f\n"
	"	sub %rax, %rbp; cmp %rdi, %rbp; jne 2f\n"
	"	sub %rax, %rdi; cmp %rsi, %rdi; jne 2f\n"
	"	sub %rax, %rsi; cmp %rdx, %rsi; jne 2f\n"
	"	sub %rax, %rdx; cmp %rbx, %rdx; jne 2f\n"
	"	xor %eax, %eax\n"
	"	jmp 3f\n"
	"2:	mov $1, %eax\n"
	"3:	pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
	"	ret\n");

static void timer_in_a_loop(void)
{
	struct itimerval it = {{0, 2000}, {0, 2000}};
	uint64_t end = now_ns() + 5000000000ull;

	on_signal(SIGALRM, clobber, 0);
	MUST(setitimer(ITIMER_REAL, &it, NULL));
	while (got < 50 && now_ns() < end)
		CHECK(!spin_registers(20000000), "a register changed");
	CHECK(got >= 50, "only %d of 50 timer signals in 5 s", got);
}

static volatile uint64_t handler_rsp;

static void note_stack(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)info;
	(void)context;
	handler_rsp = (uint64_t)__builtin_frame_address(0);
	got++;
}

static void overflow_stack(void *arg)
{
	volatile char big[4096];

	big[0] = *(char *)arg;
	if (big[0] < 127) /* always */
		overflow_stack((void *)&big[0]);
	big[1] = 1;
}

static void alternate_stack(void)
{
	char *stack = pages(8, PROT_READ | PROT_WRITE), c = 0;
	stack_t ss = {.ss_sp = stack, .ss_size = 8 * 4096}, old;

	MUST(sigaltstack(&ss, NULL));
	on_signal(SIGUSR1, note_stack, SA_ONSTACK);
	raise(SIGUSR1);
	CHECK(handler_rsp > (uint64_t)stack && handler_rsp < (uint64_t)stack + 8 * 4096,
	      "the handler ran at 0x%lx", handler_rsp);
	on_signal(SIGUSR1, note_stack, 0);
	raise(SIGUSR1);
	CHECK(handler_rsp < (uint64_t)stack || handler_rsp >= (uint64_t)stack + 8 * 4096,
	      "without SA_ONSTACK at 0x%lx", handler_rsp);
	CHECK(got == 2, "%d handlers ran", got);
	MUST(sigaltstack(NULL, &old));
	CHECK(old.ss_sp == stack && !(old.ss_flags & SS_ONSTACK),
	      "sigaltstack reads back differently");
	/* the stack's own end can only be told on another stack */
	catch_signal(overflow_stack, &c);
	CHECK(caught.sig == SIGSEGV, "endless recursion: signal %d", caught.sig);
}

static void without_alternate_stack(void)
{
	char c = 0;
	pid_t pid = fork();

	if (!pid) {
		on_signal(SIGSEGV, count, 0);
		overflow_stack(&c);
		_exit(0);
	}
	expect_status(pid, SIGSEGV); /* no room for the frame: killed */
}

static void nest(int sig, siginfo_t *info, void *context)
{
	(void)info;
	(void)context;
	if (++depth > deepest)
		deepest = depth;
	if (sig < SIGRTMIN + 20)
		raise(sig + 1);
	depth--;
	got++;
}

static void nested(void)
{
	for (int s = SIGRTMIN; s <= SIGRTMIN + 20; s++)
		on_signal(s, nest, 0);
	raise(SIGRTMIN);
	CHECK(got == 21 && deepest == 21 && !depth, "%d handlers, %d deep", got, deepest);
}

static void redirect(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	greg_t *g = uc->uc_mcontext.gregs;

	(void)sig;
	(void)info;
	g[REG_RAX] = 0x1122334455667788;
	g[REG_R11] = 0x0f0f0f0f0f0f0f0f;
	g[REG_RCX] = 0x3333333333333333;
	g[REG_EFL] = (g[REG_EFL] & ~0x8d5) | 0x881; /* overflow, sign, carry */
	g[REG_RIP] += 2;
	memset(&uc->uc_mcontext.fpregs->_xmm[7], 0x5a, 16);
}

/* What a handler writes into its frame is what the program continues with: all registers, flags,
 * SSE. */
static void changed_context(void)
{
	uint64_t rax, r11, rcx, flags, xmm[2];

	on_signal(SIGILL, redirect, 0);
	__asm__ volatile("xor %%eax, %%eax\n\tpxor %%xmm7, %%xmm7\n\tud2\n\t"
			 "pushf\n\tpop %3\n\tmovups %%xmm7, %4"
			 : "=&a"(rax), "=&c"(rcx), "=&r"(r11), "=&r"(flags), "=m"(xmm)
			 :
			 : "r11", "xmm7", "cc", "memory");
	__asm__ volatile("ud2\n\tmov %%r11, %0" : "=r"(r11) : : "rax", "rcx", "r11", "xmm7", "cc");
	CHECK(rax == 0x1122334455667788, "rax 0x%lx", rax);
	CHECK(rcx == 0x3333333333333333, "rcx 0x%lx", rcx);
	CHECK(r11 == 0x0f0f0f0f0f0f0f0f, "r11 0x%lx", r11);
	CHECK((flags & 0x8d5) == 0x881, "flags 0x%lx", flags);
	CHECK(xmm[0] == 0x5a5a5a5a5a5a5a5a && xmm[1] == xmm[0], "xmm7 0x%lx", xmm[0]);
}

static int sabotage;

static void bad_context(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	greg_t *g = uc->uc_mcontext.gregs;

	(void)sig;
	(void)info;
	if (sabotage == 0)
		g[REG_RIP] = (greg_t)0x8000000000000000;
	else if (sabotage == 1)
		g[REG_RIP] = (greg_t)0xffffffff81000000;
	else if (sabotage == 2)
		g[REG_RSP] = (greg_t)0x8000000000000000;
	else if (sabotage == 3)
		g[REG_CSGSFS] = (g[REG_CSGSFS] & ~0xffffll) | 0xf8; /* not present, anywhere */
	else if (sabotage == 4)
		uc->uc_mcontext.fpregs->mxcsr = 0xffffffff;
	else if (sabotage == 5)
		g[REG_CSGSFS] = (g[REG_CSGSFS] & ~0xffffll) | 0xe008;
}

/* Contexts that no processor accepts kill the program, and only it. */
static void impossible_context(void)
{
	for (sabotage = 0; sabotage < 6; sabotage++) {
		pid_t pid = fork();
		int status = 0;

		if (!pid) {
			on_signal(SIGUSR1, bad_context, 0);
			raise(SIGUSR1);
			if (sabotage == 2)
				__asm__ volatile("push %rax");
			_exit(7);
		}
		waitpid(pid, &status, 0);
		/* A bad rsp faults at its first use (as #SS: SIGBUS, and then there is no stack for
		 * anything). */
		CHECK(WIFSIGNALED(status) && (WTERMSIG(status) == SIGSEGV ||
					      (sabotage == 2 && WTERMSIG(status) == SIGBUS)),
		      "sabotage %d: status 0x%x", sabotage, status);
	}
}

static void restart(void)
{
	struct itimerval it = {{0, 0}, {0, 30000}};
	int fd[2];
	char c;

	MUST(pipe(fd));
	on_signal(SIGALRM, count, 0);
	MUST(setitimer(ITIMER_REAL, &it, NULL));
	CHECK(read(fd[0], &c, 1) == -1 && errno == EINTR, "read was not interrupted");
	on_signal(SIGALRM, count, SA_RESTART);
	MUST(setitimer(ITIMER_REAL, &it, NULL));
	if (!fork()) {
		usleep(120000);
		_exit(write(fd[1], "x", 1) != 1);
	}
	CHECK(read(fd[0], &c, 1) == 1 && c == 'x' && got == 2,
	      "read was not restarted: %s, %d signals", strerror(errno), got);
}

static void masks(void)
{
	sigset_t set, pending;
	struct timespec zero = {0, 0};
	siginfo_t info;

	on_signal(SIGUSR1, count, 0);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	raise(SIGUSR1);
	raise(SIGUSR1);
	sigpending(&pending);
	CHECK(!got && sigismember(&pending, SIGUSR1), "a blocked signal was delivered");
	CHECK(sigtimedwait(&set, &info, &zero) == SIGUSR1, "sigtimedwait");
	raise(SIGUSR1);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	CHECK(got == 1, "%d delivered after unblocking", got);
}

/* A signal interrupts the very instruction before it completes or after, never in between: a string
 * copy. */
static void in_a_string_instruction(void)
{
	enum { SIZE = 8 << 20 };
	struct itimerval it = {{0, 500}, {0, 500}};
	unsigned char *a = pages(SIZE / 4096, PROT_READ | PROT_WRITE),
		      *b = pages(SIZE / 4096, PROT_READ | PROT_WRITE);

	for (size_t i = 0; i < SIZE; i++)
		a[i] = (unsigned char)(i * 7 + (i >> 12));
	on_signal(SIGALRM, clobber, 0);
	MUST(setitimer(ITIMER_REAL, &it, NULL));

	/* (An emulated machine may need longer than that for a few rounds.) */
	uint64_t end = now_ns() + 5000000000ull;

	for (int round = 0; got < 20 && (round < 5 || now_ns() < end); round++) {
		void *s = a, *d = b;
		size_t n = SIZE;

		memset(b, 0, SIZE);
		__asm__ volatile("rep movsb" : "+S"(s), "+D"(d), "+c"(n) : : "memory");
		CHECK(n == 0 && s == a + SIZE && !memcmp(a, b, SIZE), "the copy differs");
	}
	CHECK(got >= 20, "only %d signals", got);
}

const struct test signal_tests[] = {
	{"signal-queue", queue},
	{"signal-timer-in-a-loop", timer_in_a_loop},
	{"signal-alternate-stack", alternate_stack},
	{"signal-without-alternate-stack", without_alternate_stack},
	{"signal-nested", nested},
	{"signal-changed-context", changed_context},
	{"signal-impossible-context", impossible_context},
	{"signal-restart", restart},
	{"signal-masks", masks},
	{"signal-in-a-string-instruction", in_a_string_instruction},
	{NULL, NULL},
};
