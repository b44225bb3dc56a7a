/* SPDX-License-Identifier: MIT */
/*
 * Children that nobody notices, also where a seccomp filter refuses clone3, as those of container
 * engines do (with ENOSYS, or with EPERM), or clone, too.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/clone.h"

#define CHILD_STATUS 42

static volatile sig_atomic_t sigchld_seen;

static void on_signal(int sig)
{
	sigchld_seen += sig == SIGCHLD;
}

/* From now on the two calls fail with these errors (0: they do not). */
static void refuse(int clone3_error, int clone_error)
{
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, clone3_error ? SECCOMP_RET_ERRNO | (uint32_t)clone3_error
						       : SECCOMP_RET_ALLOW),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, clone_error ? SECCOMP_RET_ERRNO | (uint32_t)clone_error
						      : SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {.len = sizeof(f) / sizeof(f[0]), .filter = f};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog))
		_exit(90);
}

static struct sigaction handler_of(int sig)
{
	struct sigaction sa;

	sigaction(sig, NULL, &sa);
	return sa;
}

/* In the new child: no handler of the program is left, what it ignores is ignored. */
static int look_around(void)
{
	if (handler_of(SIGUSR1).sa_handler != SIG_DFL ||
	    handler_of(SIGCHLD).sa_handler != SIG_DFL || handler_of(40).sa_handler != SIG_DFL)
		return 1;
	return handler_of(SIGUSR2).sa_handler == SIG_IGN ? CHILD_STATUS : 2;
}

#define CHECK(what)                                                                                \
	do {                                                                                       \
		if (!(what)) {                                                                     \
			fprintf(stderr, "line %d: %s (errno %d)\n", __LINE__, #what, errno);       \
			_exit(1);                                                                  \
		}                                                                                  \
	} while (0)

/* In a process of its own, for a filter stays. */
static void body(int clone3_error, int clone_error)
{
	struct sigaction sa = {.sa_handler = on_signal};
	sigset_t all, old;
	siginfo_t info = {0};
	int pidfd = -1;
	pid_t pid;

	sigaction(SIGUSR1, &sa, NULL);
	sigaction(SIGCHLD, &sa, NULL);
	sigaction(40, &sa, NULL);
	signal(SIGUSR2, SIG_IGN);
	refuse(clone3_error, clone_error);
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old);
	pid = clone_quiet(&pidfd);
	if (pid == 0)
		_exit(look_around());
	sigprocmask(SIG_SETMASK, &old, NULL);
	if (clone3_error && clone_error) {
		CHECK(pid == -clone_error);
		_exit(0);
	}
	CHECK(pid > 0);
	CHECK(fcntl(pidfd, F_GETFD) == FD_CLOEXEC);
	struct pollfd p = {pidfd, POLLIN, 0};
	CHECK(poll(&p, 1, 10000) == 1);
	/* The program's own waiting does not see it ... */
	CHECK(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
	/* ... ours does. */
	CHECK(waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED | __WALL) == 0);
	CHECK(info.si_pid == pid && info.si_code == CLD_EXITED);
	CHECK(info.si_status == CHILD_STATUS);
	CHECK(sigchld_seen == 0);
	CHECK(handler_of(SIGUSR1).sa_handler == on_signal);
	/* Without a descriptor, as well. */
	sigprocmask(SIG_SETMASK, &all, &old);
	pid = clone_quiet(NULL);
	if (pid == 0)
		_exit(look_around());
	sigprocmask(SIG_SETMASK, &old, NULL);
	int status = 0;
	CHECK(pid > 0 && waitpid(pid, &status, __WALL) == pid);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == CHILD_STATUS);
	_exit(0);
}

static void run(int clone3_error, int clone_error)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		body(clone3_error, clone_error);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void test_no_filter(void **state)
{
	run(0, 0);
}

static void test_clone3_unknown(void **state)
{
	run(ENOSYS, 0);
}

static void test_clone3_forbidden(void **state)
{
	run(EPERM, 0);
}

static void test_both_forbidden(void **state)
{
	run(ENOSYS, EPERM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_filter),
		cmocka_unit_test(test_clone3_unknown),
		cmocka_unit_test(test_clone3_forbidden),
		cmocka_unit_test(test_both_forbidden),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
