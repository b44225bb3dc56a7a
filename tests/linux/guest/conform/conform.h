/* SPDX-License-Identifier: MIT */
/*
 * conform: does user mode behave as the hardware and Linux say? Each test runs in a process of its
 * own and ends in one line, `ok NAME`, `skip NAME: why` or `FAIL NAME: what`. The expectations are
 * those of a native run, which is a test of its own; in a guest the same binary must print the
 * same.
 */
#ifndef CONFORM_H
#define CONFORM_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

struct test {
	const char *name;
	void (*run)(void);
};

extern const struct test signal_tests[], fault_tests[], fpu_tests[], memory_tests[], thread_tests[],
	process_tests[], ptrace_tests[], cpu_tests[], site_tests[], brief_tests[];

__attribute__((noreturn, format(printf, 1, 2))) void fail(const char *fmt, ...);
__attribute__((noreturn, format(printf, 1, 2))) void skip(const char *fmt, ...);

#define CHECK(cond, ...)                                                                           \
	do {                                                                                       \
		if (!(cond))                                                                       \
			fail(__VA_ARGS__);                                                         \
	} while (0)

/* For calls that cannot fail here unless something is wrong */
#define MUST(expr)                                                                                 \
	({                                                                                         \
		long must_r = (long)(expr);                                                        \
		if (must_r == -1)                                                                  \
			fail("%s: %s", #expr, strerror(errno));                                    \
		must_r;                                                                            \
	})

/* anonymous memory, never huge pages */
void *pages(size_t count, int prot);
void on_signal(int sig, void (*handler)(int, siginfo_t *, void *), int flags);
/* waits for a child and fails unless it ended with exactly this wait status */
void expect_status(pid_t pid, int status);
uint64_t now_ns(void);

/*
 * The signal that an action caused: the handler notes everything and goes back to the place where
 * catch_signal() was called.
 */
struct caught {
	int sig, code;
	uint64_t addr, rip, rsp, trapno, error, cr2, rflags;
};
extern struct caught caught;
/* 0, or the signal that action(arg) ran into */
int catch_signal(void (*action)(void *), void *arg);

#endif
