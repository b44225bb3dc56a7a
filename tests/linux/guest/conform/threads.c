// SPDX-License-Identifier: MIT
/* Threads: sharing, futexes, thread-local storage, robust mutexes, restartable sequences, signals
 * to one of them. */
#include "conform.h"
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/rseq.h>

static atomic_int counter;
static int plain;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static __thread int mine;
static __thread char mine_big[5000];

static pthread_t start(void *(*run)(void *), void *arg)
{
	pthread_attr_t attr;
	pthread_t t;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 128 << 10);
	CHECK(!pthread_create(&t, &attr, run, arg), "pthread_create: %s", strerror(errno));
	return t;
}

static void *add(void *arg)
{
	mine = (int)(intptr_t)arg;
	for (int i = 0; i < 20000; i++) {
		atomic_fetch_add(&counter, 1);
		pthread_mutex_lock(&mutex);
		plain++;
		pthread_mutex_unlock(&mutex);
		if (mine != (int)(intptr_t)arg)
			return (void *)1;
		if (i % 1000 == 0)
			sched_yield();
	}
	return NULL;
}

static void counters(void)
{
	pthread_t t[8];
	void *r;

	for (int i = 0; i < 8; i++)
		t[i] = start(add, (void *)(intptr_t)(i + 1));
	for (int i = 0; i < 8; i++) {
		pthread_join(t[i], &r);
		CHECK(!r, "thread %d: its thread-local variable changed", i);
	}
	CHECK(counter == 160000 && plain == 160000, "%d, %d", counter, plain);
}

static void *local(void *arg)
{
	for (size_t i = 0; i < sizeof(mine_big); i++)
		if (mine_big[i])
			return (void *)1;
	memset(mine_big, (int)(intptr_t)arg, sizeof(mine_big));
	sched_yield();
	for (size_t i = 0; i < sizeof(mine_big); i++)
		if (mine_big[i] != (char)(intptr_t)arg)
			return (void *)2;
	return NULL;
}

static void many(void)
{
	pthread_t t[60];
	void *r;

	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < 60; i++)
			t[i] = start(local, (void *)(intptr_t)(i + 1));
		for (int i = 0; i < 60; i++) {
			pthread_join(t[i], &r);
			CHECK(!r, "thread %d: %ld", i, (long)r);
		}
	}
}

static int word;

static long futex(int *at, int op, int value, const struct timespec *ts)
{
	return syscall(SYS_futex, at, op, value, ts, NULL, 0);
}

static void *answer(void *arg)
{
	(void)arg;
	for (int i = 0; i < 3000; i++) {
		while (__atomic_load_n(&word, __ATOMIC_ACQUIRE) != 1)
			futex(&word, FUTEX_WAIT_PRIVATE, 0, NULL);
		__atomic_store_n(&word, 0, __ATOMIC_RELEASE);
		futex(&word, FUTEX_WAKE_PRIVATE, 1, NULL);
	}
	return NULL;
}

static void ping_pong(void)
{
	struct timespec ts = {0, 20000000};
	pthread_t t = start(answer, NULL);
	uint64_t before;

	for (int i = 0; i < 3000; i++) {
		__atomic_store_n(&word, 1, __ATOMIC_RELEASE);
		futex(&word, FUTEX_WAKE_PRIVATE, 1, NULL);
		while (__atomic_load_n(&word, __ATOMIC_ACQUIRE) != 0)
			futex(&word, FUTEX_WAIT_PRIVATE, 1, NULL);
	}
	pthread_join(t, NULL);
	before = now_ns();
	CHECK(futex(&word, FUTEX_WAIT, 0, &ts) == -1 && errno == ETIMEDOUT, "futex timeout: %s",
	      strerror(errno));
	CHECK(now_ns() - before >= 20000000, "a timeout came early");
	CHECK(futex(&word, FUTEX_WAIT, 1, NULL) == -1 && errno == EAGAIN,
	      "futex with another value: %s", strerror(errno));
	CHECK(futex((int *)0x1000, FUTEX_WAIT, 1, NULL) == -1 && errno == EFAULT,
	      "futex nowhere: %s", strerror(errno));
}

/* A futex in shared memory, between processes, which the kernel finds by its page. */
static void between_processes(void)
{
	int *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid = fork();

	for (int i = 0; i < 500; i++) {
		int me = !pid;

		while (__atomic_load_n(p, __ATOMIC_ACQUIRE) != me)
			futex(p, FUTEX_WAIT, !me, NULL);
		__atomic_store_n(p, !me, __ATOMIC_RELEASE);
		futex(p, FUTEX_WAKE, 1, NULL);
	}
	if (!pid)
		_exit(0);
	expect_status(pid, 0);
}

static pthread_mutex_t *robust_mutex;

static void *die_holding(void *arg)
{
	(void)arg;
	pthread_mutex_lock(robust_mutex);
	return NULL;
}

static void robust(void)
{
	pthread_mutexattr_t attr;
	pid_t pid;

	robust_mutex = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_mutex_init(robust_mutex, &attr);
	pthread_join(start(die_holding, NULL), NULL);
	CHECK(pthread_mutex_lock(robust_mutex) == EOWNERDEAD, "the owner's death was not told");
	pthread_mutex_consistent(robust_mutex);
	pthread_mutex_unlock(robust_mutex);
	pid = fork();
	if (!pid) {
		pthread_mutex_lock(robust_mutex);
		raise(SIGKILL);
	}
	expect_status(pid, SIGKILL);
	CHECK(pthread_mutex_lock(robust_mutex) == EOWNERDEAD,
	      "the killed owner's death was not told");
}

static atomic_int handled;
static pthread_t handled_by;

static void handler(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)info;
	(void)context;
	handled_by = pthread_self();
	handled++;
}

static atomic_int stop;

static void *spin(void *arg)
{
	(void)arg;
	while (!stop)
		;
	return NULL;
}

/* A signal reaches the very thread, also one that never enters the kernel. */
static void to_one(void)
{
	pthread_t t[3];

	on_signal(SIGUSR1, handler, SA_RESTART);
	for (int i = 0; i < 3; i++)
		t[i] = start(spin, NULL);
	for (int i = 0; i < 30; i++) {
		int before = handled;
		uint64_t end = now_ns() + 10000000000ull;

		pthread_kill(t[i % 3], SIGUSR1);
		while (handled == before && now_ns() < end)
			sched_yield();
		CHECK(handled == before + 1 && pthread_equal(handled_by, t[i % 3]), "signal %d", i);
	}
	stop = 1;
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
}

/* exit_group ends threads that spin in user mode. */
static void group_exit(void)
{
	pid_t pid = fork();

	if (!pid) {
		for (int i = 0; i < 4; i++)
			start(spin, NULL);
		usleep(30000);
		_exit(5);
	}
	expect_status(pid, 5 << 8);
}

static void *exec_now(void *arg)
{
	char *argv[] = {(char *)"conform", (char *)"--exit", (char *)"6", NULL};

	(void)arg;
	execv("/proc/self/exe", argv);
	_exit(1);
}

static void exec_from_a_thread(void)
{
	pid_t pid = fork();

	if (!pid) {
		for (int i = 0; i < 3; i++)
			start(spin, NULL);
		pthread_join(start(exec_now, NULL), NULL);
		_exit(2);
	}
	expect_status(pid, 6 << 8);
}

static void *unmap_and_map(void *arg)
{
	volatile char *p = arg;

	while (!stop) {
		mprotect((void *)p, 4096 * 16, PROT_READ);
		mprotect((void *)p, 4096 * 16, PROT_READ | PROT_WRITE);
		madvise((void *)(p + 4096 * 16), 4096 * 16, MADV_DONTNEED);
	}
	return NULL;
}

static volatile int faults;
static char *race_page;

static void retry(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	CHECK((char *)info->si_addr >= race_page && (char *)info->si_addr < race_page + 4096 * 16,
	      "fault at %p", info->si_addr);
	CHECK(info->si_code == SEGV_ACCERR, "si_code %d", info->si_code);
	faults++; /* and again: the other thread makes it writable soon */
}

/* One thread changes protections, others use the pages: only the faults that must be. */
static void races(void)
{
	char *p = pages(32, PROT_READ | PROT_WRITE);
	pthread_t t;
	uint64_t end = now_ns() + 400000000;

	race_page = p;
	on_signal(SIGSEGV, retry, SA_NODEFER);
	t = start(unmap_and_map, p);
	for (unsigned int i = 0; now_ns() < end; i++) {
		volatile char *at = p + i % 32 * 4096;

		at[1] = (char)i;
		CHECK(i % 32 >= 16 ? at[1] == (char)i || at[1] == 0 : at[1] == (char)i,
		      "page %u holds %d, not %d", i % 32, at[1], (char)i);
	}
	stop = 1;
	pthread_join(t, NULL);
}

static void restartable(void)
{
	struct rseq *r = (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);

	if (!__rseq_size)
		skip("the kernel or libc has no rseq");
	volatile uint32_t *id = &r->cpu_id;
	uint32_t before, asked;
	int tries = 0;

	/* It may be moved to another processor at any moment, but not each time. */
	do {
		before = *id;
		asked = (uint32_t)sched_getcpu();
	} while (before != *id && ++tries < 100);
	CHECK((int)before >= 0 && before == asked, "cpu_id %d, getcpu %d", (int)before, (int)asked);
}

/* A sequence that is interrupted goes to its abort handler and not on: count how often that
 * happens. */
static long rseq_rounds(struct rseq *r, long *aborts)
{
	static struct {
		uint32_t version, flags;
		uint64_t start, length, abort;
	} __attribute__((aligned(32))) cs;
	long done = 0;

	__asm__ volatile("lea 1f(%%rip), %%rax\n\tmov %%rax, 8(%[cs])\n\t"
			 "lea 2f(%%rip), %%rcx\n\tsub %%rax, %%rcx\n\tmov %%rcx, 16(%[cs])\n\t"
			 "lea 4f(%%rip), %%rax\n\tmov %%rax, 24(%[cs])\n\t"
			 "mov %[cs], 8(%[r])\n\t"
			 "1:\n\t"
			 "mov $3000000, %%rcx\n"
			 "5:\tdec %%rcx\n\tjnz 5b\n\t"
			 "incq %[done]\n"
			 "2:\n\t"
			 "jmp 6f\n\t"
			 ".long 0x53053053\n" /* the signature that glibc registered */
			 "4:\tincq %[aborts]\n"
			 "6:\tmovq $0, 8(%[r])"
			 : [done] "+m"(done), [aborts] "+m"(*aborts)
			 : [cs] "r"(&cs), [r] "r"(r)
			 : "rax", "rcx", "memory", "cc");
	return done;
}

static void restarts(void)
{
	struct rseq *r = (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset);
	long aborts = 0, done = 0, rounds = 0;
	timer_t t;
	struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
	struct itimerspec it = {{0, 700000}, {0, 700000}};
	uint64_t end = now_ns() + 5000000000ull;

	if (!__rseq_size)
		skip("the kernel or libc has no rseq");
	on_signal(SIGUSR1, handler, 0);
	MUST(timer_create(CLOCK_MONOTONIC, &ev, &t));
	MUST(timer_settime(t, 0, &it, NULL));
	for (; aborts < 10 && now_ns() < end; rounds++)
		done += rseq_rounds(r, &aborts);
	CHECK(done + aborts == rounds, "%ld done, %ld aborted of %ld", done, aborts, rounds);
	CHECK(aborts >= 10, "%ld aborts, %d signals", aborts, handled);
}

const struct test thread_tests[] = {
	{"thread-counters", counters},
	{"thread-many", many},
	{"thread-futex", ping_pong},
	{"thread-futex-processes", between_processes},
	{"thread-robust", robust},
	{"thread-signal", to_one},
	{"thread-exit-group", group_exit},
	{"thread-exec", exec_from_a_thread},
	{"thread-races", races},
	{"thread-rseq", restartable},
	{"thread-rseq-restarts", restarts},
	{NULL, NULL},
};
