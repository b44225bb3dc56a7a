// SPDX-License-Identifier: MIT
/* Processes: fork, vfork, exec, wait, stop and continue, pipes between them, sleeping and waking.
 */
#include "conform.h"
#include <poll.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>

extern char **environ;

static void statuses(void)
{
	for (int i = 0; i < 100; i++) {
		pid_t pid = fork();

		if (!pid)
			_exit(i);
		expect_status(pid, i << 8);
	}
	for (int sig = 1; sig < 32; sig++) {
		pid_t pid;

		if (sig == SIGCHLD || sig == SIGCONT || sig == SIGURG || sig == SIGWINCH ||
		    sig == SIGSTOP || sig == SIGTSTP || sig == SIGTTIN || sig == SIGTTOU)
			continue;
		pid = fork();
		if (!pid) {
			signal(sig, SIG_DFL);
			raise(sig);
			_exit(0);
		}
		int status = 0;
		waitpid(pid, &status, 0);
		CHECK((status & 0x7f) == sig, "signal %d: status 0x%x", sig, status);
	}
}

static void at_once(void)
{
	enum { N = 60 };
	pid_t pid[N];

	for (int i = 0; i < N; i++) {
		pid[i] = fork();
		if (!pid[i]) {
			volatile uint64_t sum = 0;

			for (int k = 0; k < 300000; k++)
				sum += (uint64_t)k;
			_exit(sum == 300000ull * 299999 / 2 ? i : 255);
		}
	}
	for (int i = 0; i < N; i++)
		expect_status(pid[i], i << 8);
}

static void vforks(void)
{
	volatile int value = 0;

	for (int i = 0; i < 50; i++) {
		char *argv[] = {(char *)"conform", (char *)"--exit", (char *)"9", NULL};
		pid_t pid = vfork();

		if (!pid) {
			value++; /* the same memory */
			if (i & 1)
				execv("/proc/self/exe", argv);
			_exit(9);
		}
		CHECK(value == i + 1, "the child's write is not seen");
		expect_status(pid, 9 << 8);
	}
}

static void deep_forks(void)
{
	int depth = 0;

	while (depth < 30) {
		pid_t pid = fork();

		if (!pid) {
			depth++;
			continue;
		}
		expect_status(pid, 1 << 8);
		if (depth)
			_exit(1);
		return;
	}
	_exit(1);
}

/* Arguments and environment arrive whole, also large ones. */
static void arguments(void)
{
	enum { BIG = 100000 };
	char *big = malloc(BIG + 1), *argv[] = {(char *)"sh", (char *)"--exit", (char *)"33", NULL};
	char *env[] = {big, (char *)"A=1", NULL};
	pid_t pid;

	memset(big, 'x', BIG);
	big[1] = '=';
	big[BIG] = 0;
	pid = fork();
	if (!pid) {
		execve("/proc/self/exe", argv, env);
		_exit(1);
	}
	expect_status(pid, 33 << 8);
	CHECK(execve("/nonexistent", argv, env) == -1 && errno == ENOENT, "ENOENT: %s",
	      strerror(errno));
	CHECK(syscall(SYS_execve, "/proc/self/exe", 8, env) == -1 && errno == EFAULT, "EFAULT: %s",
	      strerror(errno));
	CHECK(execve("/", argv, env) == -1 && errno == EACCES, "EACCES: %s", strerror(errno));
}

static void stop_and_continue(void)
{
	int status;
	pid_t pid = fork();

	if (!pid)
		for (;;)
			;
	for (int i = 0; i < 10; i++) {
		kill(pid, SIGSTOP);
		CHECK(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status) &&
			      WSTOPSIG(status) == SIGSTOP,
		      "stop: status 0x%x", status);
		CHECK(waitpid(pid, &status, WNOHANG) == 0, "a stopped child has something to tell");
		kill(pid, SIGCONT);
		CHECK(waitpid(pid, &status, WCONTINUED) == pid && WIFCONTINUED(status),
		      "continue: status 0x%x", status);
	}
	kill(pid, SIGKILL);
	expect_status(pid, SIGKILL);
}

/* A child that never enters the kernel is preempted, so that its sibling and parent go on. */
static void preemption(void)
{
	cpu_set_t set;
	pid_t spinner;
	uint64_t start;

	CPU_ZERO(&set);
	CPU_SET(sched_getcpu(), &set);
	sched_setaffinity(0, sizeof(set), &set);
	spinner = fork();
	if (!spinner)
		for (;;)
			;
	start = now_ns();
	for (int i = 0; i < 20; i++)
		usleep(1000);
	CHECK(now_ns() - start < 20000000000ull, "20 sleeps of 1 ms took %lu ms",
	      (now_ns() - start) / 1000000);
	kill(spinner, SIGKILL);
	expect_status(spinner, SIGKILL);
}

static void pipes(void)
{
	enum { SIZE = 3 << 20 };
	unsigned char *data = pages(SIZE / 4096, PROT_READ | PROT_WRITE), buf[8192];
	int fd[2], sum = 0, expected = 0;
	pid_t pid;

	for (int i = 0; i < SIZE; i++)
		expected += data[i] = (unsigned char)(i * 13 + (i >> 9));
	MUST(pipe(fd));
	pid = fork();
	if (!pid) {
		close(fd[0]);
		for (ssize_t at = 0, n; at < SIZE; at += n)
			n = MUST(write(fd[1], data + at,
				       (size_t)(SIZE - at > 70001 ? 70001 : SIZE - at)));
		_exit(0);
	}
	close(fd[1]);
	for (ssize_t n, at = 0; (n = MUST(read(fd[0], buf, sizeof(buf)))) > 0; at += n)
		for (ssize_t i = 0; i < n; i++) {
			CHECK(buf[i] == data[at + i], "byte %zd", at + i);
			sum += buf[i];
		}
	expect_status(pid, 0);
	CHECK(sum == expected, "sum");
	signal(SIGPIPE, SIG_IGN);
	MUST(pipe(fd));
	close(fd[0]);
	CHECK(write(fd[1], "x", 1) == -1 && errno == EPIPE, "EPIPE: %s", strerror(errno));
}

static void descriptors(void)
{
	int sv[2], fd[2], n = -1;
	char c = 'd', control[CMSG_SPACE(sizeof(int))] = "";
	struct iovec iov = {&c, 1};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control,
			     .msg_controllen = sizeof(control)};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, sv));
	MUST(pipe(fd));
	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &fd[1], sizeof(int));
	MUST(sendmsg(sv[0], &msg, 0));
	memset(control, 0, sizeof(control));
	MUST(recvmsg(sv[1], &msg, 0));
	memcpy(&n, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(int));
	CHECK(write(n, "p", 1) == 1 && read(fd[0], &c, 1) == 1 && c == 'p',
	      "the passed descriptor does not work");
}

static void waiting(void)
{
	struct epoll_event ev = {.events = EPOLLIN}, out[4];
	struct itimerspec it = {{0, 5000000}, {0, 5000000}};
	int tfd = (int)MUST(timerfd_create(CLOCK_MONOTONIC, 0)), efd = (int)MUST(eventfd(0, 0));
	int ep = (int)MUST(epoll_create1(0));
	uint64_t n, sum = 0, start = now_ns();
	struct pollfd p = {.fd = efd, .events = POLLIN};

	ev.data.fd = tfd;
	MUST(epoll_ctl(ep, EPOLL_CTL_ADD, tfd, &ev));
	ev.data.fd = efd;
	MUST(epoll_ctl(ep, EPOLL_CTL_ADD, efd, &ev));
	MUST(timerfd_settime(tfd, 0, &it, NULL));
	while (sum < 10) {
		int k = (int)MUST(epoll_wait(ep, out, 4, 5000));

		CHECK(k == 1 && out[0].data.fd == tfd, "epoll_wait: %d", k);
		MUST(read(tfd, &n, 8));
		sum += n;
	}
	CHECK(now_ns() - start >= 50000000, "ten periods of 5 ms took %lu us",
	      (now_ns() - start) / 1000);
	CHECK(poll(&p, 1, 10) == 0, "poll of nothing");
	MUST(write(efd, &(uint64_t){3}, 8));
	CHECK(poll(&p, 1, 1000) == 1 && read(efd, &n, 8) == 8 && n == 3, "eventfd");
}

static void sleeps(void)
{
	for (int i = 0; i < 20; i++) {
		uint64_t before = now_ns();
		struct timespec ts = {0, 1000000 + i * 777777};

		MUST(clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, NULL));
		CHECK(now_ns() - before >= (uint64_t)ts.tv_nsec, "a sleep of %ld ns took %lu",
		      ts.tv_nsec, now_ns() - before);
	}
}

const struct test process_tests[] = {
	{"process-statuses", statuses},
	{"process-at-once", at_once},
	{"process-vfork", vforks},
	{"process-deep-forks", deep_forks},
	{"process-arguments", arguments},
	{"process-stop", stop_and_continue},
	{"process-preemption", preemption},
	{"process-pipes", pipes},
	{"process-descriptors", descriptors},
	{"process-waiting", waiting},
	{"process-sleeps", sleeps},
	{NULL, NULL},
};
