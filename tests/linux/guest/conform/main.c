// SPDX-License-Identifier: MIT
/*
 * conform [TEST...]: runs all tests, or those whose names begin with an argument.
 * CONFORM_ONLY=name,name does the same for a guest's init. As process 1 it mounts what the tests
 * need and powers off at the end.
 */
#include "conform.h"
#include <setjmp.h>
#include <stdarg.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/stat.h>

static char *verdict; /* shared with the test's process */
static unsigned int limit =
	60; /* seconds for a test; CONFORM_LIMIT where the machine is emulated */
enum { VERDICT = 512 };

static void conclude(const char *what, const char *fmt, va_list ap)
{
	char text[VERDICT - 16];

	vsnprintf(text, sizeof(text), fmt, ap);
	if (!verdict[0])
		snprintf(verdict, VERDICT, "%s%s", what, text);
	_exit(1);
}

void fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	conclude("F", fmt, ap);
	_exit(1);
}

void skip(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	conclude("S", fmt, ap);
	_exit(1);
}

void *pages(size_t count, int prot)
{
	void *p = mmap(NULL, count * 4096, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED, "mmap of %zu pages: %s", count, strerror(errno));
	madvise(p, count * 4096, MADV_NOHUGEPAGE);
	return p;
}

void on_signal(int sig, void (*handler)(int, siginfo_t *, void *), int flags)
{
	struct sigaction sa = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};

	sigemptyset(&sa.sa_mask);
	MUST(sigaction(sig, &sa, NULL));
}

void expect_status(pid_t pid, int status)
{
	int got = -1;
	pid_t r;

	CHECK(pid > 0, "no child: %s", strerror(errno));
	while ((r = waitpid(pid, &got, 0)) < 0 && errno == EINTR)
		;
	CHECK(r == pid, "waitpid: %s", strerror(errno));
	CHECK(got == status, "the child ended with status 0x%x, not 0x%x", got, status);
}

uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

struct caught caught;
static sigjmp_buf back;

static void note(int sig, siginfo_t *info, void *context)
{
	greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;

	/* (nor alignment checks any more: what follows copies as it likes) */
	__asm__ volatile("pushf\n\tandl $~0x40000, (%%rsp)\n\tpopf" ::: "cc", "memory");
	caught = (struct caught){
		.sig = sig,
		.code = info->si_code,
		.addr = (uint64_t)info->si_addr,
		.rip = (uint64_t)g[REG_RIP],
		.rsp = (uint64_t)g[REG_RSP],
		.trapno = (uint64_t)g[REG_TRAPNO],
		.error = (uint64_t)g[REG_ERR],
		.cr2 = (uint64_t)g[REG_CR2],
		.rflags = (uint64_t)g[REG_EFL],
	};
	siglongjmp(back, 1);
}

int catch_signal(void (*action)(void *), void *arg)
{
	static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP};
	static char stack[32768];
	stack_t ss = {.ss_sp = stack, .ss_size = sizeof(stack)};

	memset(&caught, 0, sizeof(caught));
	MUST(sigaltstack(&ss, NULL));
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		on_signal(signals[i], note, SA_ONSTACK);
	if (!sigsetjmp(back, 1))
		action(arg);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		signal(signals[i], SIG_DFL);
	return caught.sig;
}

static int counts[3];

static void run(const struct test *t)
{
	int status = 0;
	pid_t pid;

	memset(verdict, 0, VERDICT);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		setpgid(0, 0);
		alarm(limit);
		t->run();
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		snprintf(verdict, VERDICT, "Fthe test's process was lost: %s", strerror(errno));
	kill(-pid, SIGKILL);
	while (waitpid(-1, NULL, getpid() == 1 ? WNOHANG : 0) > 0)
		;
	if (!verdict[0] && WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
		snprintf(verdict, VERDICT, "Fdid not end within %u s", limit);
	else if (!verdict[0] && status)
		snprintf(verdict, VERDICT, "Fthe test's process ended with status 0x%x", status);
	if (!verdict[0])
		printf("ok %s\n", t->name);
	else
		printf("%s %s: %s\n", verdict[0] == 'S' ? "skip" : "FAIL", t->name, verdict + 1);
	counts[!verdict[0] ? 0 : verdict[0] == 'S' ? 1 : 2]++;
	fflush(stdout);
}

static int chosen(const char *name, int argc, char **argv)
{
	char list[1024] = "", *word, *save;

	for (int i = 1; i < argc; i++)
		if (!strncmp(name, argv[i], strlen(argv[i])))
			return 1;
	if (getenv("CONFORM_ONLY"))
		snprintf(list, sizeof(list), "%s", getenv("CONFORM_ONLY"));
	for (word = strtok_r(list, ",", &save); word; word = strtok_r(NULL, ",", &save))
		if (!strncmp(name, word, strlen(word)))
			return 1;
	return argc < 2 && !getenv("CONFORM_ONLY");
}

static void become_init(void)
{
	static const char *const mounts[][3] = {{"proc", "/proc", "proc"},
						{"dev", "/dev", "devtmpfs"},
						{"sys", "/sys", "sysfs"},
						{"tmp", "/tmp", "tmpfs"}};

	for (size_t i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
		mkdir(mounts[i][1], 0755);
		mount(mounts[i][0], mounts[i][1], mounts[i][2], 0, NULL);
	}
}

int main(int argc, char **argv)
{
	const struct test *groups[] = {signal_tests, fault_tests,   fpu_tests,	  memory_tests,
				       thread_tests, process_tests, ptrace_tests, cpu_tests,
				       site_tests,   brief_tests};
	int init = getpid() == 1;

	if (argc == 3 && !strcmp(argv[1], "--exit"))
		_exit(atoi(argv[2]));
	if (init)
		become_init();
	if (getenv("CONFORM_LIMIT"))
		limit = (unsigned int)atoi(getenv("CONFORM_LIMIT"));
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	verdict = mmap(NULL, VERDICT, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (verdict == MAP_FAILED)
		return 2;
	for (size_t g = 0; g < sizeof(groups) / sizeof(groups[0]); g++)
		for (const struct test *t = groups[g]; t->name; t++)
			if (chosen(t->name, argc, argv))
				run(t);
	printf("conform: %d ok, %d skipped, %d failed\n", counts[0], counts[1], counts[2]);
	fflush(stdout);
	if (init)
		reboot(RB_POWER_OFF);
	return counts[2] || !counts[0];
}
