// SPDX-License-Identifier: MIT
/*
 * remap [SECONDS [PROCESSES [THREADS]]], or REMAP=... for a guest's init: memory is mapped,
 * unmapped, protected, thrown away, moved and copied at random by one thread, and all threads look
 * whether they see what a model says: the value, or a SIGSEGV. A processor that goes on using a
 * mapping which is no more is found out. Prints "remap: right" or what was wrong.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PAGES = 640, MAX_THREADS = 8, LOOKS = 48 };
/* Across the border of a page table, and at the address that was once under suspicion. */
static unsigned char *const base = (unsigned char *)0x7ff000000000 - 300 * 4096;

enum right { NONE, READ, WRITE };
static struct {
	enum right right;
	uint64_t value[MAX_THREADS]; /* one for each thread */
} model[PAGES];

static unsigned int nr_threads;
static pthread_barrier_t barrier;
static volatile int stop, last; /* asked for, and then: this round is the last */
static unsigned long rounds;

static __thread sigjmp_buf back;
static __thread volatile int looking;
static __thread unsigned int self;
static __thread uint64_t seed;

static void wrong(const char *what, unsigned int page, uint64_t got, uint64_t want)
{
	printf("remap: WRONG: process %d, thread %u, cpu %d, round %lu, page %u (%p): %s, 0x%lx "
	       "instead of 0x%lx\n",
	       getpid(), self, sched_getcpu(), rounds, page, (void *)(base + page * 4096ul), what,
	       (unsigned long)got, (unsigned long)want);
	fflush(stdout);
	_exit(1);
}

static unsigned int any(unsigned int below)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned int)(seed >> 33) % below;
}

static void on_fault(int sig, siginfo_t *si, void *context)
{
	(void)sig;
	(void)context;
	if (!looking) {
		unsigned char *at = si->si_addr;

		wrong("faults", (unsigned int)((at - base) / 4096), (uint64_t)at, 0);
	}
	siglongjmp(back, 1);
}

static volatile uint64_t *word(unsigned int page, unsigned int thread)
{
	return (volatile uint64_t *)(base + page * 4096ul + thread * 8);
}

static void look(unsigned int page)
{
	enum right right = model[page].right;
	unsigned int t = any(nr_threads);
	volatile uint64_t got = 0;

	looking = 1;
	if (sigsetjmp(back, 1) == 0) {
		got = *word(page, t == self ? self : t);
		if (right == NONE)
			wrong("can be read", page, got, 0);
	} else if (right != NONE) {
		wrong("cannot be read", page, 0, 0);
	}
	/* (others may be writing theirs now) */
	if (right != NONE && t == self && got != model[page].value[self])
		wrong("holds", page, got, model[page].value[self]);
	if (sigsetjmp(back, 1) == 0) {
		uint64_t new = seed | 1;

		*word(page, self) = new;
		if (right != WRITE)
			wrong("can be written", page, new, 0);
		model[page].value[self] = new;
	} else if (right == WRITE) {
		wrong("cannot be written", page, 0, 0);
	}
	looking = 0;
}

/* Between two barriers: all values. */
static void look_at_all(void)
{
	for (unsigned int i = 0; i < PAGES; i++)
		for (unsigned int t = 0; model[i].right != NONE && t < nr_threads; t++)
			if (*word(i, t) != model[i].value[t])
				wrong("holds", i, *word(i, t), model[i].value[t]);
}

static void must(int ok, const char *what)
{
	if (!ok) {
		printf("remap: WRONG: %s: %s\n", what, strerror(errno));
		fflush(stdout);
		_exit(1);
	}
}

static void fork_and_look(void)
{
	int status = -1;
	pid_t pid = fork();

	must(pid >= 0, "fork");
	if (!pid) {
		look_at_all();
		for (unsigned int i = 0; i < PAGES; i += 1 + any(9))
			if (model[i].right == WRITE)
				*word(i, 0) = 0xdead;
		_exit(0);
	}
	/* Both write, to pages that are shared until then. */
	for (unsigned int i = 0; i < PAGES; i += 1 + any(9))
		if (model[i].right == WRITE)
			*word(i, self) = model[i].value[self] = seed;
	must(waitpid(pid, &status, 0) == pid && status == 0, "the child");
}

static void set(unsigned int from, unsigned int n, enum right right, int clear)
{
	for (unsigned int i = from; i < from + n; i++) {
		model[i].right = right;
		if (clear)
			memset(model[i].value, 0, sizeof(model[i].value));
	}
}

/* The same pages come and go, as buffers do: with the same frames each time, most likely. */
static void come_and_go(unsigned int from, unsigned int n)
{
	unsigned char *at = base + from * 4096ul;
	unsigned int times = 3 + any(4);

	for (unsigned int r = 0; r < times; r++) {
		must(mmap(at, n * 4096ul, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == at,
		     "mmap");
		set(from, n, WRITE, 1);
		/* Written first, most often: what is read has another frame until then. */
		for (unsigned int i = from; i < from + n; i++)
			if (any(8))
				*word(i, self) = model[i].value[self] = seed | 1;
		if (any(4) == 0 && mprotect(at, 4096, PROT_READ) == 0)
			model[from].right = READ;
		for (unsigned int i = from; i < from + n; i++)
			look(i);
		if (r == times - 1 && any(2))
			break;
		must(munmap(at, n * 4096ul) == 0, "munmap");
		set(from, n, NONE, 1);
		look(from + any(n));
		if (any(4) == 0) /* something else has the frames */
			look(any(PAGES));
	}
}

static void change(void)
{
	static const int prot[] = {PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE};
	unsigned int n = any(4) ? 1 + any(6) : 1 + any(200), from = any(PAGES - n), to;
	unsigned char *at = base + from * 4096ul;
	enum right right = any(3);

	switch (any(10)) {
	case 0:
	case 1:
		must(mmap(at, n * 4096ul, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == at,
		     "mmap");
		set(from, n, WRITE, 1);
		break;
	case 2:
		must(munmap(at, n * 4096ul) == 0, "munmap");
		set(from, n, NONE, 1);
		break;
	case 3:
	case 4: /* only where there is something */
		for (unsigned int i = from; i < from + n; i++) {
			if (mprotect(base + i * 4096ul, 4096, prot[right]) == 0)
				model[i].right = right;
		}
		break;
	case 5:
		for (unsigned int i = from; i < from + n; i++)
			if (madvise(base + i * 4096ul, 4096, MADV_DONTNEED) == 0)
				memset(model[i].value, 0, sizeof(model[i].value));
		break;
	case 6:
		to = any(PAGES - n);
		if (to + n > from && from + n > to)
			break;
		for (unsigned int i = 0; i < n; i++) {
			unsigned char *p = base + (from + i) * 4096ul,
				      *q = base + (to + i) * 4096ul;

			if (model[from + i].right == NONE) /* perhaps there is nothing */
				continue;
			if (mremap(p, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, q) != q)
				continue;
			model[to + i] = model[from + i];
			set(from + i, 1, NONE, 1);
		}
		break;
	case 7:
	case 8:
		come_and_go(from, n < 4 ? n : 1);
		break;
	default:
		if (any(8) == 0)
			fork_and_look();
		break;
	}
}

static void *run(void *arg)
{
	cpu_set_t cpus;
	int end;

	self = (unsigned int)(uintptr_t)arg;
	seed = (uint64_t)getpid() << 32 | (self + 1);
	for (unsigned long r = 0;; r++) {
		if (r % 64 == 0) { /* to another processor */
			CPU_ZERO(&cpus);
			CPU_SET((self + r / 64) % (unsigned int)sysconf(_SC_NPROCESSORS_ONLN),
				&cpus);
			sched_setaffinity(0, sizeof(cpus), &cpus);
		}
		if (self == 0) {
			change();
			if (r % 16 == 0)
				look_at_all();
			rounds = r;
			last = stop;
		}
		pthread_barrier_wait(&barrier);
		end = last;
		for (unsigned int i = 0; i < LOOKS; i++)
			look(any(PAGES));
		pthread_barrier_wait(&barrier);
		if (end)
			return NULL;
	}
}

static int process(unsigned int seconds)
{
	pthread_t t[MAX_THREADS];
	struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_NODEFER | SA_SIGINFO};

	sigaction(SIGSEGV, &sa, NULL);
	pthread_barrier_init(&barrier, NULL, nr_threads);
	for (unsigned int i = 0; i < nr_threads; i++)
		must(pthread_create(&t[i], NULL, run, (void *)(uintptr_t)i) == 0, "pthread_create");
	sleep(seconds);
	stop = 1;
	alarm(60);
	for (unsigned int i = 0; i < nr_threads; i++)
		pthread_join(t[i], NULL);
	printf("remap: process %d: %lu rounds\n", getpid(), rounds);
	fflush(stdout);
	_exit(0);
}

int main(int argc, char **argv)
{
	unsigned int seconds = 5, processes = 2, bad = 0;
	char *text = getenv("REMAP");
	int status;

	nr_threads = 3;
	if (text)
		sscanf(text, "%u,%u,%u", &seconds, &processes, &nr_threads);
	if (argc > 1)
		seconds = (unsigned int)atoi(argv[1]);
	if (argc > 2)
		processes = (unsigned int)atoi(argv[2]);
	if (argc > 3)
		nr_threads = (unsigned int)atoi(argv[3]);
	if (nr_threads < 1 || nr_threads > MAX_THREADS)
		nr_threads = MAX_THREADS;
	for (unsigned int i = 0; i < processes; i++)
		if (fork() == 0)
			process(seconds);
	while (wait(&status) > 0)
		bad += status != 0;
	printf(bad ? "remap: %u processes were wrong\n" : "remap: right\n", bad);
	fflush(stdout);
	if (getpid() == 1)
		reboot(RB_POWER_OFF);
	return bad != 0;
}
