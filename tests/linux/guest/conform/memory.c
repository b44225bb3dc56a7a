// SPDX-License-Identifier: MIT
/* Memory maps: what is mapped, protected, moved, shared, copied on write, thrown away; and odd
 * addresses. */
#include "conform.h"
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/uio.h>

static void nothing(int sig)
{
	(void)sig;
}

static int reads(const volatile char *p)
{
	extern void conform_read(void *);

	return !catch_signal(conform_read, (void *)p);
}

void conform_read(void *p)
{
	(void)*(volatile char *)p;
}

static void do_write(void *p)
{
	*(volatile char *)p = 1;
}

static int writes(void *p)
{
	return !catch_signal(do_write, p);
}

static void anonymous(void)
{
	enum { N = 2000 };
	unsigned char *p = pages(N, PROT_READ | PROT_WRITE);

	for (int i = 0; i < N; i += 3)
		CHECK(p[i * 4096 + i] == 0, "page %d is not zero", i);
	for (int i = 0; i < N; i++)
		memset(p + i * 4096, i, 4096);
	for (int i = 0; i < N; i++)
		CHECK(p[i * 4096] == (unsigned char)i && p[i * 4096 + 4095] == (unsigned char)i,
		      "page %d changed", i);
	MUST(munmap(p + 4096 * 100, 4096 * 50));
	CHECK(!reads((char *)p + 4096 * 120) && reads((char *)p + 4096 * 99) &&
		      reads((char *)p + 4096 * 150),
	      "munmap of the middle");
	p = mmap(p + 4096 * 100, 4096 * 50, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	for (int i = 0; i < 50; i++)
		CHECK(p[i * 4096] == 0, "page %d mapped anew holds something old", i);
}

static void protections(void)
{
	char *p = pages(64, PROT_READ | PROT_WRITE);

	for (int i = 0; i < 64; i++)
		p[i * 4096] = (char)i;
	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < 64; i += 2)
			MUST(mprotect(p + i * 4096, 4096,
				      round & 1 ? PROT_READ | PROT_WRITE : PROT_READ));
		CHECK(writes(p + 4096 + 1) && writes(p + 2 * 4096 + 1) == (round & 1),
		      "round %d: writable", round);
		MUST(mprotect(p, 64 * 4096, PROT_NONE));
		CHECK(!reads(p) && !reads(p + 63 * 4096), "round %d: PROT_NONE can be read", round);
		MUST(mprotect(p, 64 * 4096, PROT_READ | PROT_WRITE));
		for (int i = 0; i < 64; i++)
			CHECK(p[i * 4096] == (char)i, "round %d: page %d changed", round, i);
	}
}

/* Page after page, as most programs use new memory; with other things happening where it goes on.
 */
static void one_by_one(void)
{
	enum { N = 1500 };
	volatile unsigned int *p = (volatile unsigned int *)pages(N, PROT_READ | PROT_WRITE), *v;
	char *page;

	for (unsigned int round = 1; round < 4; round++) {
		for (unsigned int i = 0; i < N; i++) {
			v = p + i * 1024;
			page = (char *)v;
			CHECK(*v == (round == 1 || (i % 50 == 7 && i < N / 2) ? 0 : i + round - 1),
			      "round %u: page %u holds %u", round, i, *v);
			*v = i + round;
			if (i % 50 == 20 && i + 40 < N && round == 1) {
				/* Further on: pages that cannot be written, read, or are elsewhere.
				 */
				MUST(mprotect(page + 5 * 4096, 4096, PROT_READ));
				MUST(mprotect(page + 6 * 4096, 4096, PROT_NONE));
				CHECK(!writes(page + 5 * 4096) && reads(page + 5 * 4096) &&
					      !reads(page + 6 * 4096),
				      "pages that come next are not protected");
				MUST(mprotect(page + 5 * 4096, 2 * 4096, PROT_READ | PROT_WRITE));
				MUST(munmap(page + 9 * 4096, 4096));
				CHECK(!reads(page + 9 * 4096), "a hole that comes next");
				CHECK(mmap(page + 9 * 4096, 4096, PROT_READ | PROT_WRITE,
					   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
					   0) == page + 9 * 4096,
				      "mmap: %s", strerror(errno));
				page[15 * 4096 + 8] = 1;
			}
		}
		/* What was given back is new. */
		for (unsigned int i = 7; i < N / 2; i += 50)
			MUST(madvise((char *)(p + i * 1024), 4096, MADV_DONTNEED));
	}
	MUST(munmap((char *)p, N * 4096));
	CHECK(!reads((char *)p + 77 * 4096), "unmapped, and can be read");
}

static void remap(void)
{
	unsigned char *p = pages(16, PROT_READ | PROT_WRITE), *q, *hole;

	for (int i = 0; i < 16; i++)
		p[i * 4096] = (unsigned char)(i + 1);
	hole = pages(256, PROT_NONE);
	q = mremap(p, 16 * 4096, 64 * 4096, MREMAP_MAYMOVE | MREMAP_FIXED, hole);
	CHECK(q == hole, "mremap: %s", strerror(errno));
	CHECK(!reads((char *)p), "the old place can still be read");
	for (int i = 0; i < 64; i++)
		CHECK(q[i * 4096] == (i < 16 ? i + 1 : 0), "page %d after the move", i);
	CHECK(mremap(q, 64 * 4096, 4 * 4096, 0) == q, "shrink");
	CHECK(reads((char *)q + 3 * 4096) && !reads((char *)q + 4 * 4096), "shrunk wrongly");
	for (int i = 0; i < 40; i++) { /* back and forth: stale translations would show */
		p = mremap(q, 4 * 4096, 4 * 4096, MREMAP_MAYMOVE | MREMAP_FIXED,
			   hole + (i & 1 ? 0 : 128 * 4096));
		CHECK(p != MAP_FAILED && p[3 * 4096] == 4 && !reads((char *)q), "move %d", i);
		q = p;
	}
}

static void shared(void)
{
	volatile int *p =
		mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid;

	p[1024] = 1;
	pid = fork();
	if (!pid) {
		for (int i = 0; i < 10000; i++)
			__sync_fetch_and_add(&p[0], 1);
		CHECK(p[1024] == 1, "the child does not see the parent's write");
		p[1024] = 2;
		_exit(0);
	}
	for (int i = 0; i < 10000; i++)
		__sync_fetch_and_add(&p[0], 1);
	expect_status(pid, 0);
	CHECK(p[0] == 20000 && p[1024] == 2, "%d, %d", p[0], p[1024]);
}

static void files(void)
{
	int fd = (int)MUST(memfd_create("conform", 0));
	char *shared_, *private_, buf[16] = "";

	MUST(ftruncate(fd, 8 * 4096));
	shared_ = mmap(NULL, 8 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	private_ = mmap(NULL, 8 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	strcpy(shared_, "one");
	CHECK(pread(fd, buf, 4, 0) == 4 && !strcmp(buf, "one"), "read sees '%s'", buf);
	CHECK(!strcmp(private_, "one"), "the private mapping sees '%s'", private_);
	CHECK(pwrite(fd, "two", 4, 0) == 4 && !strcmp(shared_, "two") && !strcmp(private_, "two"),
	      "write is not seen");
	private_[0] = 'T';
	CHECK(!strcmp(shared_, "two") && !strcmp(private_, "Two"), "a private write went through");
	strcpy(shared_, "six");
	CHECK(!strcmp(private_, "Two"), "the private copy changed");
	MUST(ftruncate(fd, 0));
	CHECK(!reads(shared_) && caught.sig == SIGBUS, "a truncated file can be read");
	MUST(ftruncate(fd, 4096));
	CHECK(shared_[0] == 0, "grown again it holds something");
}

static void copy_on_write(void)
{
	enum { N = 500 };
	unsigned char *p = pages(N, PROT_READ | PROT_WRITE);
	pid_t pid;

	for (int round = 0; round < 6; round++) {
		for (int i = 0; i < N; i++)
			p[i * 4096] = (unsigned char)(i + round);
		pid = fork();
		if (!pid) {
			for (int i = 0; i < N; i += 2)
				p[i * 4096] = 0xee;
			for (int i = 0; i < N; i++)
				CHECK(p[i * 4096] == (unsigned char)(i & 1 ? i + round : 0xee),
				      "child: page %d", i);
			_exit(0);
		}
		for (int i = 0; i < N; i += 3)
			p[i * 4096] = 0x77;
		expect_status(pid, 0);
		for (int i = 0; i < N; i++)
			CHECK(p[i * 4096] == (unsigned char)(i % 3 ? i + round : 0x77),
			      "parent: page %d is 0x%x", i, p[i * 4096]);
	}
}

/* The kernel's own writes break sharing, too, and do not reach the other process. */
static void kernel_writes(void)
{
	char *p = pages(4, PROT_READ | PROT_WRITE);
	int fd[2];
	pid_t pid;

	MUST(pipe(fd));
	memset(p, 'a', 4 * 4096);
	pid = fork();
	if (!pid) {
		MUST(write(fd[1], "xyz", 3));
		CHECK(read(fd[0], p + 4094, 3) == 3 && !memcmp(p + 4093, "axyza", 5),
		      "the child's read");
		_exit(0);
	}
	expect_status(pid, 0);
	CHECK(!memcmp(p + 4093, "aaaaa", 5), "the child's read went into the parent");
	MUST(write(fd[1], "q", 1));
	MUST(mprotect(p, 4096, PROT_READ));
	CHECK(read(fd[0], p, 1) == -1 && errno == EFAULT, "read into a read-only page: %s",
	      strerror(errno));
	CHECK(write(fd[1], (void *)0xffffffff81000000, 1) == -1 && errno == EFAULT,
	      "write from the kernel: %s", strerror(errno));
	CHECK(write(fd[1], (void *)0xffff800000000000, 1) == -1 && errno == EFAULT,
	      "write from the hypervisor: %s", strerror(errno));
	MUST(munmap(p + 4096, 4096));
	CHECK(write(fd[1], p + 4090, 100) == 6 || errno == EFAULT,
	      "write over the edge of a mapping");
	MUST(munmap(p, 4096));
	p = pages(300, PROT_READ | PROT_WRITE);
	for (int i = 0; i < 10; i++) { /* never touched: the kernel is the first */
		struct iovec from = {(void *)"0123456789", 10}, to = {p + i * 4096 * 20 + 4091, 10};

		CHECK(process_vm_readv(getpid(), &to, 1, &from, 1, 0) == 10 || errno == ENOSYS ||
			      errno == EPERM,
		      "process_vm_readv: %s", strerror(errno));
	}
}

static void throw_away(void)
{
	unsigned char *p = pages(64, PROT_READ | PROT_WRITE);

	for (int round = 0; round < 10; round++) {
		memset(p, round + 1, 64 * 4096);
		MUST(madvise(p + 8 * 4096, 16 * 4096, MADV_DONTNEED));
		for (int i = 0; i < 64; i++)
			CHECK(p[i * 4096] == (i >= 8 && i < 24 ? 0 : round + 1), "page %d is %d", i,
			      p[i * 4096]);
	}
}

static uint64_t deep(int n)
{
	volatile char room[4000];

	room[0] = (char)n;
	return n ? deep(n - 1) + (uint64_t)(room[0] - (char)n) : (uint64_t)&room[0];
}

static void stack_grows(void)
{
	struct rlimit limit;
	int here = 0;

	getrlimit(RLIMIT_STACK, &limit);
	if (limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < 7 << 20)
		skip("the stack may have %lu bytes only", limit.rlim_cur);
	CHECK((uint64_t)&here - deep(1500) > 5 << 20, "the stack did not grow");
}

/* Written, made executable, called, rewritten: what runs is what was written last. */
static void code(void)
{
	unsigned char *p = pages(1, PROT_READ | PROT_WRITE), *w, *x;
	int (*f)(void) = (int (*)(void))p;
	int fd = (int)MUST(memfd_create("code", 0));

	for (int i = 0; i < 50; i++) {
		MUST(mprotect(p, 4096, PROT_READ | PROT_WRITE));
		memcpy(p, (unsigned char[]){0xb8, (unsigned char)i, 0, 0, 0, 0xc3}, 6);
		MUST(mprotect(p, 4096, PROT_READ | PROT_EXEC));
		CHECK(f() == i, "round %d ran old code", i);
	}
	MUST(mprotect(p, 4096, PROT_READ | PROT_WRITE | PROT_EXEC));
	for (int i = 0; i < 50; i++) {
		p[1] = (unsigned char)(i + 100);
		CHECK(f() == i + 100, "writable code, round %d", i);
	}
	MUST(ftruncate(fd, 4096));
	w = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	x = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	memcpy(w, (unsigned char[]){0xb8, 0, 0, 0, 0, 0xc3}, 6);
	for (int i = 0; i < 50; i++) {
		w[1] = (unsigned char)i;
		CHECK(((int (*)(void))x)() == i, "code written through another mapping, round %d",
		      i);
	}
}

static void at(uint64_t where)
{
	unsigned char *p = mmap((void *)where, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	char buf[2] = "ok";
	int fd[2];

	CHECK((uint64_t)p == where, "mmap at 0x%lx: %s", where, strerror(errno));
	memcpy(p, (unsigned char[]){0xb8, 0x0d, 0xf0, 0xad, 0x0b, 0xc3}, 6);
	CHECK(((uint32_t(*)(void))p)() == 0x0badf00d, "code at 0x%lx", where);
	MUST(pipe(fd));
	p[4095] = '!';
	CHECK(write(fd[1], p + 4095, 1) == 1 && read(fd[0], buf, 1) == 1 && buf[0] == '!',
	      "system calls at 0x%lx", where);
	/* a system call made from there, with the stack there, too */
	memcpy(p,
	       (unsigned char[]){0x48, 0x89, 0xe2, 0x48, 0x89, 0xfc, 0xb8, 39, 0, 0, 0, 0x0f, 0x05,
				 0x48, 0x89, 0xd4, 0xc3},
	       17);
	CHECK(((int (*)(void *))p)(p + 4080) == getpid(), "getpid with the stack at 0x%lx", where);
	close(fd[0]);
	close(fd[1]);
	MUST(munmap(p, 4096));
	/* Not if it happens to be just below the stack, which grows down to whatever is touched. */
	if ((uint64_t)__builtin_frame_address(0) - where > 64 << 20)
		CHECK(!reads((char *)p), "0x%lx can be read after munmap", where);
}

static void all_of(const uint64_t *where, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		unsigned char vec;

		if (mincore((void *)where[i], 4096, &vec) == 0 || errno != ENOMEM)
			continue; /* the program itself is there */
		at(where[i]);
	}
}

/* Addresses that a program may have, up to the last page below the hole. */
static void edges(void)
{
	static const uint64_t where[] = {
		0x300000,	0x10000000,	0x7fff0000,	0x80000000,
		0xfffff000,	0x100000000,	0x1000000000,	0x8000000000,
		0x7f8000000000, 0x555555000000, 0x7ffff0000000, 0x7fffffffd000,
		0x7fffffffe000, 0x780000000000, 0x77ffffffe000, 0x400000000000,
	};

	all_of(where, sizeof(where) / sizeof(where[0]));
	CHECK(mmap((void *)0x7ffffffff000, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
		   -1, 0) == MAP_FAILED,
	      "the page before the hole can be mapped");
}

/* From mmap_min_addr on. The ring3 executor keeps something of its own here. */
static void low_edges(void)
{
	static const uint64_t where[] = {0x10000, 0x11000, 0x1f000,  0x20000, 0x2f000,
					 0x30000, 0x40000, 0x100000, 0x200000};

	all_of(where, sizeof(where) / sizeof(where[0]));
}

/* Single pages far apart: many page tables, nothing contiguous. */
static void scattered(void)
{
	enum { N = 1500 };
	static unsigned char *p[N];
	uint64_t seed = 12345;
	pid_t pid;

	for (int i = 0; i < N; i++) {
		seed = seed * 6364136223846793005ull + 1442695040888963407ull;
		p[i] = mmap((void *)((seed >> 20) % 0x7ff000000 << 12), 4096,
			    PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		CHECK(p[i] != MAP_FAILED, "mapping %d: %s", i, strerror(errno));
		memcpy(p[i] + (i & 0xff0), &i, 4);
	}
	for (int i = N; i-- > 0;)
		CHECK(!memcmp(p[i] + (i & 0xff0), &i, 4), "page %d at %p changed", i, (void *)p[i]);
	pid = fork();
	if (!pid) {
		for (int i = 0; i < N; i++)
			CHECK(!memcmp(p[i] + (i & 0xff0), &i, 4), "child: page %d changed", i);
		_exit(3);
	}
	expect_status(pid, 3 << 8);
	for (int i = 0; i < N; i++)
		MUST(munmap(p[i], 4096));
	CHECK(!reads((char *)p[0]) && !reads((char *)p[N - 1]), "readable after munmap");
}

static void sparse(void)
{
	char *p = mmap(NULL, 64ull << 30, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	CHECK(p != MAP_FAILED, "64 GiB without reserve: %s", strerror(errno));
	for (uint64_t at = 0; at < 64ull << 30; at += 512ull << 20) {
		CHECK(p[at] == 0, "not zero at 0x%lx", at);
		p[at] = 5;
	}
	MUST(munmap(p, 64ull << 30));
}

/* Through /proc/self/mem even read-only pages can be written, and a mapped text page becomes
 * private. */
static void self_mem(void)
{
	char *p = pages(2, PROT_READ);
	int fd = open("/proc/self/mem", O_RDWR);

	if (fd < 0)
		skip("no /proc/self/mem");
	CHECK(p[0] == 0, "not zero");
	CHECK(pwrite(fd, "forced", 7, (off_t)(uint64_t)p) == 7, "pwrite: %s", strerror(errno));
	CHECK(!strcmp(p, "forced"), "the page holds '%s'", p);
	CHECK(!writes(p), "the page became writable");
}

/* More than the guest kernel maps at once; and all is freed again. */
static void churn(void)
{
	uint64_t sum = 0;

	for (int round = 0; round < 200; round++) {
		size_t n = (size_t)(1 + round * 7 % 90);
		unsigned char *p = pages(n, PROT_READ | PROT_WRITE);

		for (size_t i = 0; i < n; i++) {
			CHECK(p[i * 4096] == 0 && p[i * 4096 + 4088] == 0,
			      "round %d: page %zu is not fresh", round, i);
			memset(p + i * 4096, 0xa5, 4096);
		}
		sum += p[0];
		MUST(munmap(p, n * 4096));
	}
	CHECK(sum == 200 * 0xa5, "sum");
}

/* Each instruction is executed once, also around page faults and interrupts. */
static void once(void)
{
	static volatile uint64_t counted;
	struct itimerval often = {{0, 500}, {0, 500}}, never = {{0, 0}, {0, 0}};
	uint64_t n = 0, end = now_ns() + 1500000000ull;

	signal(SIGALRM, nothing);
	MUST(setitimer(ITIMER_REAL, &often, NULL));
	while (now_ns() < end) {
		volatile unsigned char *p = pages(20, PROT_READ | PROT_WRITE);

		for (int i = 0; i < 20; i++) {
			p[i * 4096] = 1;
			for (int j = 0; j < 100; j++, n++)
				counted++;
		}
		MUST(munmap((void *)p, 20 * 4096));
		CHECK(counted == n, "%lu times instead of %lu", counted, n);
	}
	MUST(setitimer(ITIMER_REAL, &never, NULL));
}

/* (by the processor itself: nothing that may be interpreted instead, brief.c) */
static void store_natively(volatile uint64_t *p, uint64_t v)
{
	__asm__ volatile("pxor %%xmm0, %%xmm0\n\tmov %1, (%0)"
			 :
			 : "r"(p), "r"(v)
			 : "xmm0", "memory");
}

/*
 * Memory that moves as a whole page table, and other memory in its place. What is shared with a
 * fork's child there is not the parent's to write to, whatever happens to the memory that moved.
 */
static void moved_tables(void)
{
	enum { TABLE = 2 << 20 };
	uint8_t *all = pages(4 * TABLE / 4096, PROT_NONE), *from, *to;

	from = (uint8_t *)(((uintptr_t)all + TABLE - 1) & -(uintptr_t)TABLE);
	to = from + TABLE;
	for (uint64_t i = 1; i <= 50; i++) {
		volatile uint64_t *was = (uint64_t *)(to + 4096 * i),
				  *is = (uint64_t *)(from + 4096 * i);
		int wait[2];
		pid_t pid;

		MUST(mmap(from, TABLE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
		store_natively(is, i);
		MUST(mremap(from, TABLE, TABLE, MREMAP_MAYMOVE | MREMAP_FIXED, to));
		MUST(madvise(to, TABLE, MADV_DONTFORK));
		MUST(mmap(from, TABLE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
		store_natively(was, i + 1);
		store_natively(is, i + 2);
		MUST(pipe(wait));
		pid = (pid_t)MUST(fork());
		if (!pid) {
			char c;

			close(wait[1]);
			_exit(read(wait[0], &c, 1) == 0 && *is == i + 2 ? 3 : 4);
		}
		MUST(mprotect(to, TABLE, PROT_READ));
		MUST(mprotect(to, TABLE, PROT_READ | PROT_WRITE));
		store_natively(was, i + 3);
		store_natively(is, i + 4);
		close(wait[0]);
		close(wait[1]);
		expect_status(pid, 3 << 8);
		CHECK(*was == i + 3 && *is == i + 4, "%lu and %lu, not %lu and %lu", *was, *is,
		      i + 3, i + 4);
	}
}

const struct test memory_tests[] = {
	{"memory-anonymous", anonymous},
	{"memory-protections", protections},
	{"memory-one-by-one", one_by_one},
	{"memory-remap", remap},
	{"memory-shared", shared},
	{"memory-files", files},
	{"memory-copy-on-write", copy_on_write},
	{"memory-kernel-writes", kernel_writes},
	{"memory-throw-away", throw_away},
	{"memory-stack-grows", stack_grows},
	{"memory-code", code},
	{"memory-once", once},
	{"memory-edges", edges},
	{"memory-low-edges", low_edges},
	{"memory-scattered", scattered},
	{"memory-sparse", sparse},
	{"memory-self-mem", self_mem},
	{"memory-churn", churn},
	{"memory-moved-tables", moved_tables},
	{NULL, NULL},
};
