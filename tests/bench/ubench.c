// SPDX-License-Identifier: MIT
/*
 * ubench: what user programs see of a kernel: system calls, pipes, processes, page faults, signals,
 * and plain computing. One static binary, run natively, as an ordinary program in some sandbox, or
 * as /init (process 1) of an initramfs: then it mounts what it needs and powers off at the end.
 *
 *   ubench [ROW...]
 *
 * One line per row: `ubench: ROW VALUE UNIT`, the best of several passes. Options come by the
 * environment, which a kernel's command line can set for init: UBENCH_PASSES (default 5), UBENCH_MS
 * the least length of a pass (default 30), UBENCH_ROWS=row,row, UBENCH_DIR where files are made: a
 * tmpfs, default /dev/shm if it is there, else /tmp.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#define PROGRAM "ubench"
#include "bench.h"

static char dir[200] = "/tmp";
static const char *self = "/proc/self/exe";
static double pass_ns = 30e6;

static void wait_ok(pid_t pid)
{
	int status;

	if (pid < 0)
		die("fork");
	if (waitpid(pid, &status, 0) != pid || status)
		die("child ended with %d", status);
}

/* ---- system calls
 * -------------------------------------------------------------------------------------------- */

static void do_getpid(long n)
{
	while (n--)
		syscall(SYS_getpid);
}

static void do_read_zero(long n)
{
	static int fd = -1;
	char c;

	if (fd < 0 && (fd = open("/dev/zero", O_RDONLY)) < 0)
		die("/dev/zero");
	while (n--)
		if (read(fd, &c, 1) != 1)
			die("read");
}

static void do_stat(long n)
{
	struct stat st;
	char path[256];

	snprintf(path, sizeof(path), "%s/ubench.stat", dir);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	while (n--)
		if (stat(path, &st))
			die("stat %s", path);
	unlink(path);
}

static void do_clock(long n)
{
	struct timespec ts;

	while (n--)
		clock_gettime(CLOCK_MONOTONIC, &ts);
}

static void do_create(long n)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/ubench.file", dir);
	while (n--) {
		fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0600);
		if (fd < 0)
			die("create %s", path);
		close(fd);
		unlink(path);
	}
}

/* ---- pipes
 * ---------------------------------------------------------------------------------------------------
 */

static void do_pipe_rtt(long n)
{
	int a[2], b[2];
	char c = 0;
	pid_t pid;

	if (pipe(a) || pipe(b))
		die("pipe");
	pid = fork();
	if (!pid) {
		close(a[1]);
		while (read(a[0], &c, 1) == 1)
			if (write(b[1], &c, 1) != 1)
				_exit(1);
		_exit(0);
	}
	close(a[0]);
	close(b[1]);
	while (n--)
		if (write(a[1], &c, 1) != 1 || read(b[0], &c, 1) != 1)
			die("pipe round trip");
	close(a[1]);
	close(b[0]);
	wait_ok(pid);
}

/* n chunks of 64 KiB */
static void do_pipe_bw(long n)
{
	static char buf[65536];
	pid_t pid;
	int a[2];

	if (pipe(a))
		die("pipe");
	pid = fork();
	if (!pid) {
		close(a[1]);
		while (read(a[0], buf, sizeof(buf)) > 0)
			;
		_exit(0);
	}
	close(a[0]);
	while (n--)
		for (size_t at = 0; at < sizeof(buf);) {
			ssize_t r = write(a[1], buf + at, sizeof(buf) - at);

			if (r <= 0)
				die("pipe write");
			at += (size_t)r;
		}
	close(a[1]);
	wait_ok(pid);
}

/* ---- processes
 * -----------------------------------------------------------------------------------------------
 */

static void do_fork(long n)
{
	while (n--) {
		pid_t pid = fork();

		if (!pid)
			_exit(0);
		wait_ok(pid);
	}
}

static char *exit_argv[] = {(char *)"ubench", (char *)"--exit", NULL};
static char *no_env[] = {NULL};

static void do_fork_exec(long n)
{
	while (n--) {
		pid_t pid = fork();

		if (!pid) {
			execve(self, exit_argv, no_env);
			_exit(1);
		}
		wait_ok(pid);
	}
}

static void do_vfork_exec(long n)
{
	while (n--) {
		pid_t pid = vfork();

		if (!pid) {
			execve(self, exit_argv, no_env);
			_exit(1);
		}
		wait_ok(pid);
	}
}

/* ---- memory
 * --------------------------------------------------------------------------------------------------
 */

static volatile char *map(size_t length)
{
	void *p = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		die("mmap");
	return p;
}

/* The time of the touches only, per page: the mapping is made and thrown away outside of it. */
static double page_fault(void)
{
	enum { PAGES = 4096 };
	volatile char *p = map(PAGES * 4096l);
	double t;

	madvise((void *)p, PAGES * 4096l, MADV_NOHUGEPAGE);
	t = now_ns();
	for (long i = 0; i < PAGES; i++)
		p[i * 4096] = 1;
	t = now_ns() - t;
	munmap((void *)p, PAGES * 4096l);
	return t / PAGES;
}

static void do_mmap(long n)
{
	while (n--) {
		volatile char *p = map(4096);

		p[0] = 1;
		munmap((void *)p, 4096);
	}
}

static void do_mprotect(long n)
{
	static volatile char *p;

	if (!p)
		p = map(4096);
	p[0] = 1;
	while (n--) {
		if (mprotect((void *)p, 4096, PROT_READ) ||
		    mprotect((void *)p, 4096, PROT_READ | PROT_WRITE))
			die("mprotect");
		p[0]++;
	}
}

/* ---- signals
 * -------------------------------------------------------------------------------------------------
 */

static volatile long signals;

static void on_segv(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)info;
	signals++;
	((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 2; /* mov (%rax), %cl */
}

static void on_usr1(int sig)
{
	(void)sig;
	signals++;
}

static void do_segv(long n)
{
	static volatile char *p;
	struct sigaction sa = {.sa_sigaction = on_segv, .sa_flags = SA_SIGINFO};
	long before = signals;

	if (!p)
		p = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	sigaction(SIGSEGV, &sa, NULL);
	for (long i = 0; i < n; i++)
		__asm__ volatile("mov (%0), %%cl" : : "a"(p) : "rcx", "memory");
	signal(SIGSEGV, SIG_DFL);
	if (signals - before != n)
		die("%ld of %ld SIGSEGVs arrived", signals - before, n);
}

static void do_kill(long n)
{
	struct sigaction sa = {.sa_handler = on_usr1};
	long before = signals;
	pid_t pid = getpid();

	sigaction(SIGUSR1, &sa, NULL);
	for (long i = 0; i < n; i++)
		kill(pid, SIGUSR1);
	if (signals - before != n)
		die("%ld of %ld SIGUSR1s arrived", signals - before, n);
}

/* ---- computing
 * -----------------------------------------------------------------------------------------------
 */

static uint32_t ror(uint32_t x, int n)
{
	return x >> n | x << (32 - n);
}

/* FIPS 180-4's compression function; the constants are computed as it defines them, by cube roots
 * of primes */
static uint32_t k256[64];

static void sha256_constants(void)
{
	int n = 0;

	for (uint32_t p = 2; n < 64; p++) {
		unsigned __int128 lo = 0, hi = (unsigned __int128)1 << 35;
		int prime = 1;

		for (uint32_t d = 2; d * d <= p; d++)
			prime &= p % d != 0;
		if (!prime)
			continue;
		/* with 32 bits behind the point: the largest x with x^3 <= p << 96; x < 2^35, so
		 * x^3 fits */
		while (hi - lo > 1) {
			unsigned __int128 mid = (lo + hi) / 2;

			if (mid * mid * mid > (unsigned __int128)p << 96)
				hi = mid;
			else
				lo = mid;
		}
		k256[n++] = (uint32_t)lo;
	}
}

static void sha256_block(uint32_t hash[8], const uint8_t *p)
{
	uint32_t a = hash[0], b = hash[1], c = hash[2], d = hash[3];
	uint32_t e = hash[4], f = hash[5], g = hash[6], h = hash[7], w[64];

	for (int i = 0; i < 16; i++)
		w[i] = (uint32_t)p[i * 4] << 24 | (uint32_t)p[i * 4 + 1] << 16 |
		       (uint32_t)p[i * 4 + 2] << 8 | p[i * 4 + 3];
	for (int i = 16; i < 64; i++)
		w[i] = w[i - 16] + w[i - 7] +
		       (ror(w[i - 15], 7) ^ ror(w[i - 15], 18) ^ w[i - 15] >> 3) +
		       (ror(w[i - 2], 17) ^ ror(w[i - 2], 19) ^ w[i - 2] >> 10);
	for (int i = 0; i < 64; i++) {
		uint32_t t1 = h + (ror(e, 6) ^ ror(e, 11) ^ ror(e, 25)) + ((e & f) ^ (~e & g)) +
			      k256[i] + w[i];
		uint32_t t2 = (ror(a, 2) ^ ror(a, 13) ^ ror(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));

		h = g;
		g = f;
		f = e;
		e = d + t1;
		d = c;
		c = b;
		b = a;
		a = t1 + t2;
	}
	hash[0] += a;
	hash[1] += b;
	hash[2] += c;
	hash[3] += d;
	hash[4] += e;
	hash[5] += f;
	hash[6] += g;
	hash[7] += h;
}

/* n blocks of 4 KiB */
static void do_sha256(long n)
{
	static uint8_t data[4096];
	static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
					  0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
	static const uint32_t abc[8] = {0xba7816bf, 0x8f01cfea, 0x414140de, 0x5dae2223,
					0xb00361a3, 0x96177a9c, 0xb410ff61, 0xf20015ad};
	uint8_t test[64] = {'a', 'b', 'c', 0x80, [63] = 24};
	uint32_t h[8];

	if (!k256[0])
		sha256_constants();
	memcpy(h, start, sizeof(h));
	sha256_block(h, test);
	if (memcmp(h, abc, sizeof(h)))
		die("sha256(\"abc\") is wrong");
	while (n--)
		for (int i = 0; i < 64; i++)
			sha256_block(h, data + i * 64);
	data[0] = (uint8_t)h[0];
}

enum { DIM = 256 };

static void do_matmul(long n)
{
	static double a[DIM][DIM], b[DIM][DIM], c[DIM][DIM];

	for (int i = 0; i < DIM; i++)
		for (int j = 0; j < DIM; j++) {
			a[i][j] = i == j;
			b[i][j] = i * 3 + j;
		}
	while (n--) {
		memset(c, 0, sizeof(c));
		for (int i = 0; i < DIM; i++)
			for (int k = 0; k < DIM; k++)
				for (int j = 0; j < DIM; j++)
					c[i][j] += a[i][k] * b[k][j];
		if (memcmp(b, c, sizeof(c)))
			die("1 * b is not b");
	}
}

enum { COPY = 4 << 20 };

static void do_memcpy(long n)
{
	static char *from, *to;

	if (!from) {
		from = (char *)map(COPY);
		to = (char *)map(COPY);
		memset(from, 1, COPY);
		memset(to, 2, COPY);
	}
	while (n--) {
		memcpy(to, from, COPY);
		__asm__ volatile("" : : "r"(to) : "memory");
	}
	if (to[COPY - 1] != 1)
		die("memcpy");
}

enum { CHASE = 16 << 20, STRIDE = 64, SLOTS = CHASE / STRIDE };

static void do_chase(long n)
{
	static char *pool;
	void **p;

	if (!pool) {
		uint32_t *order = malloc(SLOTS * sizeof(*order)), seed = 1;

		pool = (char *)map(CHASE);
		madvise(pool, CHASE, MADV_NOHUGEPAGE);
		for (uint32_t i = 0; i < SLOTS; i++)
			order[i] = i;
		for (uint32_t i = SLOTS - 1; i; i--) {
			uint32_t j = ((seed = seed * 1664525 + 1013904223) >> 8) % i, t = order[i];

			order[i] = order[j];
			order[j] = t;
		}
		for (uint32_t i = 0; i < SLOTS; i++) /* one cycle through all, in this order */
			*(void **)(pool + (size_t)order[i] * STRIDE) =
				pool + (size_t)order[(i + 1) % SLOTS] * STRIDE;
		free(order);
	}
	p = (void **)pool;
	while (n--)
		p = *p;
	__asm__ volatile("" : : "r"(p));
}

/* ---- measuring
 * -----------------------------------------------------------------------------------------------
 */

/*
 * A row is n repetitions of something, reported as time each (scale: ns per unit) or as a rate
 * (work: units each), or measures itself.
 */
static const struct row {
	const char *name;
	void (*run)(long n);
	double (*self_timed)(void);
	const char *unit;
	double scale, work;
	long at_least;
} rows[] = {
	{"getpid", do_getpid, NULL, "ns", 1, 0, 100},
	{"read_zero", do_read_zero, NULL, "ns", 1, 0, 100},
	{"stat", do_stat, NULL, "ns", 1, 0, 100},
	{"clock_gettime", do_clock, NULL, "ns", 1, 0, 100},
	{"pipe_rtt", do_pipe_rtt, NULL, "us", 1e3, 0, 50},
	{"pipe_bw", do_pipe_bw, NULL, "MB/s", 0, 65536e-6, 50},
	{"fork", do_fork, NULL, "us", 1e3, 0, 5},
	{"fork_exec", do_fork_exec, NULL, "us", 1e3, 0, 5},
	{"vfork_exec", do_vfork_exec, NULL, "us", 1e3, 0, 5},
	{"page_fault", NULL, page_fault, "ns", 1, 0, 0},
	{"mmap", do_mmap, NULL, "us", 1e3, 0, 20},
	{"mprotect", do_mprotect, NULL, "us", 1e3, 0, 20},
	{"segv", do_segv, NULL, "us", 1e3, 0, 20},
	{"kill", do_kill, NULL, "us", 1e3, 0, 20},
	{"create", do_create, NULL, "us", 1e3, 0, 20},
	{"sha256", do_sha256, NULL, "MB/s", 0, 4096e-6, 10},
	{"matmul", do_matmul, NULL, "GFLOP/s", 0, 2e-9 * DIM *DIM *DIM, 1},
	{"memcpy", do_memcpy, NULL, "GB/s", 0, COPY * 1e-9, 2},
	{"chase", do_chase, NULL, "ns", 1, 0, 1000},
};

static double timed(const struct row *row, long n)
{
	double t = now_ns();

	row->run(n);
	return now_ns() - t;
}

static void measure(const struct row *row, int passes)
{
	double best = 0, value;
	long n = row->at_least;

	/* Enough repetitions for a pass; the attempts are the warm-up. */
	while (row->run) {
		double t = timed(row, n);
		double more = t > 0 ? pass_ns / t : 1000;

		if (more < 1.2)
			break;
		n = (long)((double)n * (more > 20 ? 20 : more)) + 1;
	}
	for (int i = 0; i < passes; i++) {
		if (row->self_timed)
			value = row->self_timed();
		else if (row->scale > 0)
			value = timed(row, n) / (double)n / row->scale;
		else
			value = row->work * (double)n / (timed(row, n) * 1e-9);
		if (!i || (row->scale > 0 ? value < best : value > best))
			best = value;
	}
	printf("ubench: %s %.4g %s\n", row->name, best, row->unit);
	fflush(stdout);
}

/*
 * As process 1 of an initramfs: the little that the rows need. They run in a child, because process
 * 1 is treated specially (UML logs each of its signals), and the power goes off when the child is
 * done.
 */
static void become_init(void)
{
	mkdir("/proc", 0755);
	mkdir("/dev", 0755);
	mkdir("/tmp", 0755);
	mount("proc", "/proc", "proc", 0, NULL);
	if (access("/dev/zero", F_OK) && mount("dev", "/dev", "devtmpfs", 0, NULL))
		die("cannot mount devtmpfs");
	if (mount("tmp", "/tmp", "tmpfs", 0, NULL))
		die("cannot mount tmpfs");
	self = "/init";
	if (fork()) {
		while (wait(NULL) > 0)
			;
		reboot(RB_POWER_OFF);
	}
}

static int wanted(const char *name, int argc, char **argv)
{
	const char *list = getenv("UBENCH_ROWS"), *at;
	size_t n = strlen(name);

	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], name))
			return 1;
	for (at = list; at && (at = strstr(at, name)); at += n)
		if ((at == list || at[-1] == ',') && (at[n] == ',' || !at[n]))
			return 1;
	return argc < 2 && !list;
}

int main(int argc, char **argv)
{
	const char *where = getenv("UBENCH_DIR"), *passes = getenv("UBENCH_PASSES"),
		   *ms = getenv("UBENCH_MS");
	int chosen = 0;
	struct stat st;

	if (argc == 2 && !strcmp(argv[1], "--exit"))
		_exit(0);
	if (getpid() == 1 && !where) {
		argc = 1; /* UML gives its init words of the kernel's command line */
		become_init();
	} else if (where || !stat("/dev/shm", &st)) {
		snprintf(dir, sizeof(dir), "%s", where ? where : "/dev/shm");
	}
	if (ms)
		pass_ns = atof(ms) * 1e6;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (!wanted(rows[i].name, argc, argv))
			continue;
		measure(&rows[i], passes ? atoi(passes) : 5);
		chosen = 1;
	}
	if (!chosen)
		die("no such row");
	printf("ubench: done\n");
	fflush(stdout);
	return 0;
}
