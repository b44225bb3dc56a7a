/* SPDX-License-Identifier: MIT */
/*
 * The embedding etiquette (doc/architecture.md): a program with a SIGCHLD handler, children and a
 * waitpid(-1) loop of its own, and closed standard streams, notices nothing; and nothing is left
 * behind.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common.h"

static volatile sig_atomic_t sigchld_seen;

static void on_sigchld(int sig)
{
	sigchld_seen++;
}

static unsigned int count_lines(const char *path)
{
	FILE *f = fopen(path, "re");
	unsigned int n = 0;
	int c;

	assert_non_null(f);
	while ((c = getc(f)) != EOF)
		n += c == '\n';
	fclose(f);
	return n;
}

static void run_hello(pvv_host *host, const char *name)
{
	pvv_domain *dom = make_domain(host, name, guest_path("hello"));

	ok(pvv_domain_start(dom, 0));
	ok(pvv_domain_wait(dom, 20000, 0));
	assert_state(dom, PVV_DOMAIN_SHUTOFF, PVV_SHUTOFF_SHUTDOWN);
	pvv_domain_unref(dom);
}

static void test_children_are_invisible(void **state)
{
	struct sigaction sa = {.sa_handler = on_sigchld}, old, now;
	sigset_t before, after;
	pvv_host *host;
	pid_t own, got;
	int status;

	sigaction(SIGCHLD, &sa, &old);
	sigprocmask(SIG_SETMASK, NULL, &before);
	own = fork();
	if (own == 0) {
		usleep(300000);
		_exit(7);
	}
	host = open_host();
	run_hello(host, "child");
	/* The guest has ended long before the program's own child: only that one is seen. */
	do
		got = waitpid(-1, &status, 0);
	while (got < 0 && errno == EINTR);
	assert_int_equal(got, own);
	assert_int_equal(WEXITSTATUS(status), 7);
	assert_int_equal(waitpid(-1, &status, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	assert_int_equal(sigchld_seen, 1);
	sigaction(SIGCHLD, NULL, &now);
	assert_ptr_equal(now.sa_handler, on_sigchld);
	sigprocmask(SIG_SETMASK, NULL, &after);
	for (int sig = 1; sig < 65; sig++)
		assert_int_equal(sigismember(&before, sig), sigismember(&after, sig));
	sigaction(SIGCHLD, &old, NULL);
	pvv_host_unref(host);
}

static void test_ignored_sigchld(void **state)
{
	struct sigaction sa = {.sa_handler = SIG_IGN}, old;
	pvv_host *host;

	sigaction(SIGCHLD, &sa, &old);
	host = open_host();
	run_hello(host, "ignored");
	pvv_host_unref(host);
	sigaction(SIGCHLD, &old, NULL);
}

static void test_closed_standard_streams(void **state)
{
	int keep[3], probe;

	fflush(NULL);
	for (int i = 0; i < 3; i++)
		keep[i] = fcntl(i, F_DUPFD_CLOEXEC, 100);
	for (int i = 0; i < 3; i++)
		close(i);
	/* The library's descriptors now get the numbers 0 to 2, also on their way to the sandbox.
	 */
	pvv_host *host = NULL;
	pvv_domain *dom = NULL;
	pvv_domain_options o = PVV_DOMAIN_OPTIONS_INIT;
	int ret, st = 0;

	o.name = "closed";
	o.kernel = guest_path("hello");
	o.memory = 64ull << 20;
	ret = pvv_host_open(0, &host);
	if (!ret)
		ret = pvv_domain_create(host, &o, 0, &dom);
	if (!ret)
		ret = pvv_domain_start(dom, 0);
	if (!ret)
		ret = pvv_domain_wait(dom, 20000, 0);
	if (!ret)
		ret = pvv_domain_get_state(dom, NULL, &st);
	pvv_domain_unref(dom);
	pvv_host_unref(host);
	probe = open("/dev/null", O_RDWR);
	for (int i = 0; i < 3; i++) {
		dup2(keep[i], i);
		close(keep[i]);
	}
	assert_int_equal(ret, 0);
	assert_int_equal(st, PVV_SHUTOFF_SHUTDOWN);
	assert_int_equal(probe, 0); /* nothing was left open down there */
}

static void test_nothing_is_left(void **state)
{
	pvv_host *host = open_host();
	unsigned int fds, tasks, maps;

	run_hello(host, "first"); /* lazy initialisations of libc and libxml2 */
	pvv_host_unref(host);
	fds = count_dir("/proc/self/fd");
	tasks = count_dir("/proc/self/task");
	maps = count_lines("/proc/self/maps");
	for (int i = 0; i < 10; i++) {
		host = open_host();
		run_hello(host, "a");
		run_hello(host, "b");
		pvv_host_unref(host);
	}
	/* A detached builder thread may still be on its way out. */
	for (int i = 0; i < 200 && count_dir("/proc/self/task") != tasks; i++)
		usleep(5000);
	assert_int_equal(count_dir("/proc/self/fd"), fds);
	assert_int_equal(count_dir("/proc/self/task"), tasks);
	/* malloc arenas and thread stacks are cached by libc: a few, not one per round. */
	assert_in_range(count_lines("/proc/self/maps"), 1, maps + 16);
}

/* What a program has only once. */
struct process {
	struct sigaction action[65];
	sigset_t mask;
	stack_t altstack;
	mode_t umask;
	char cwd[4096], env[65536];
};

static void take_process(struct process *p)
{
	extern char **environ;
	size_t n = 0;

	memset(p, 0, sizeof(*p));
	for (int sig = 1; sig < 65; sig++)
		sigaction(sig, NULL, &p->action[sig]);
	sigprocmask(SIG_SETMASK, NULL, &p->mask);
	sigaltstack(NULL, &p->altstack);
	p->umask = umask(0);
	umask(p->umask);
	assert_non_null(getcwd(p->cwd, sizeof(p->cwd)));
	for (char **e = environ; *e; e++) {
		n += (size_t)snprintf(p->env + n, sizeof(p->env) - n, "%s\n", *e);
		assert_true(n < sizeof(p->env));
	}
}

static void test_process_is_unchanged(void **state)
{
	static struct process before, after;
	pvv_host *host;

	take_process(&before);
	host = open_host();
	run_hello(host, "unchanged");
	pvv_host_unref(host);
	take_process(&after);
	for (int sig = 1; sig < 65; sig++) {
		assert_ptr_equal(before.action[sig].sa_handler, after.action[sig].sa_handler);
		assert_int_equal(sigismember(&before.mask, sig), sigismember(&after.mask, sig));
	}
	assert_ptr_equal(before.altstack.ss_sp, after.altstack.ss_sp);
	assert_int_equal(before.umask, after.umask);
	assert_string_equal(before.cwd, after.cwd);
	assert_string_equal(before.env, after.env);
}

/* Whatever goes wrong, standard output and error are the program's. */
static void test_silence(void **state)
{
	const char *bad[] = {"<domain", "<domain type='xen'><name>x</name></domain>", "",
			     "<!DOCTYPE a [<!ENTITY x SYSTEM '/etc/passwd'>]><a>&x;</a>"};
	const char *guests[] = {"hello", "end-ud", "hello"};
	pvv_host *host = open_host();
	pvv_domain *dom = NULL;
	FILE *out = tmpfile();
	int keep[2];

	fflush(NULL);
	for (int i = 0; i < 2; i++) {
		keep[i] = fcntl(1 + i, F_DUPFD_CLOEXEC, 100);
		dup2(fileno(out), 1 + i);
	}
	int made = 0, started = 0;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		made += pvv_domain_create_xml(host, bad[i], 0, &dom) == 0;
	for (size_t i = 0; i < sizeof(guests) / sizeof(guests[0]); i++) {
		pvv_domain_options o = PVV_DOMAIN_OPTIONS_INIT;

		o.name = guests[i];
		o.kernel = i == 2 ? "/etc/passwd" : guest_path(guests[i]);
		o.memory = 64ull << 20;
		if (pvv_domain_create(host, &o, 0, &dom) < 0)
			continue;
		started += pvv_domain_start(dom, 0) == 0 && pvv_domain_wait(dom, 20000, 0) == 0;
		pvv_domain_unref(dom);
	}
	pvv_host_unref(host);
	fflush(NULL);
	for (int i = 0; i < 2; i++) {
		dup2(keep[i], 1 + i);
		close(keep[i]);
	}
	assert_int_equal(made, 0);
	assert_int_equal(started, 3);
	assert_int_equal(lseek(fileno(out), 0, SEEK_END), 0);
	fclose(out);
}

struct calls {
	pid_t thread;
	bool inside;
	int made, elsewhere;
};

static void note_call(struct calls *c)
{
	c->made++;
	c->elsewhere += !c->inside || gettid() != c->thread;
}

static void on_event(pvv_host *host, const pvv_event *event, void *opaque)
{
	note_call(opaque);
}

static void on_log(pvv_log_level level, const char *domain, const char *message, void *opaque)
{
	note_call(opaque);
}

/* No thread of the library calls the program: what waits, waits for pvv_dispatch(). */
static void test_callbacks_only_in_dispatch(void **state)
{
	pvv_host *host = open_host();
	struct calls c = {.thread = gettid()};

	ok(pvv_host_set_event_callback(host, on_event, &c));
	ok(pvv_host_set_log(host, PVV_LOG_DEBUG, on_log, &c));
	for (int i = 0; i < 3; i++)
		run_hello(host, "calls");
	assert_int_equal(c.made, 0);
	c.inside = true;
	while (pvv_dispatch(host, 0) > 0)
		;
	c.inside = false;
	assert_true(c.made >= 9); /* started, shutdown, stopped */
	assert_int_equal(c.elsewhere, 0);
	run_hello(host, "after");
	assert_int_equal(c.elsewhere, 0);
	pvv_host_unref(host);
}

/* In the caller's processor time, so that a busy machine changes nothing. */
static void test_start_returns_at_once(void **state)
{
	pvv_host *host = open_host();
	pvv_domain *dom = make_domain(host, "at-once", grub_or_skip());
	int64_t least = INT64_MAX;

	for (int i = 0; i < 5; i++) {
		struct timespec a, b;
		int st = 0, reason = 0;

		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &a);
		ok(pvv_domain_start(dom, 0));
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &b);
		ok(pvv_domain_get_state(dom, &st, &reason));
		assert_true(st == PVV_DOMAIN_PAUSED || st == PVV_DOMAIN_RUNNING ||
			    st == PVV_DOMAIN_BLOCKED);
		int64_t ns = (b.tv_sec - a.tv_sec) * 1000000000ll + b.tv_nsec - a.tv_nsec;
		least = ns < least ? ns : least;
		ok(pvv_domain_destroy(dom, 0));
	}
	print_message("pvv_domain_start(): %lld us of the caller\n", (long long)least / 1000);
	assert_true(least < 5000000);
	pvv_domain_unref(dom);
	pvv_host_unref(host);
}

/* Descriptor n was open before. */
static bool was_open(const uint64_t *before, int n)
{
	return before[n / 64] >> (n % 64) & 1;
}

static void test_close_on_exec(void **state)
{
	uint64_t before[16] = {0};
	int fd;

	for (fd = 0; fd < 1024; fd++)
		before[fd / 64] |= (uint64_t)(fcntl(fd, F_GETFD) >= 0) << (fd % 64);
	pvv_host *host = open_host();
	pvv_domain_options o = PVV_DOMAIN_OPTIONS_INIT;
	pvv_disk_options disk = PVV_DISK_OPTIONS_INIT;
	pvv_domain *dom = NULL;
	char image[] = "/tmp/pvv-etiquette-XXXXXX";
	int image_fd = mkostemp(image, O_CLOEXEC);

	assert_true(image_fd >= 0 && ftruncate(image_fd, 1 << 20) == 0);
	disk.path = image;
	o.name = "cloexec";
	o.kernel = guest_path("hello");
	o.memory = 64ull << 20;
	o.disks = &disk;
	o.nr_disks = 1;
	o.console = PVV_CONSOLE_PTY;
	ok(pvv_domain_create(host, &o, 0, &dom));

	ok(pvv_domain_open_console(dom, 0, 0, &fd));
	ok(pvv_domain_start(dom, PVV_START_PAUSED));
	for (int i = 0; i < 1000 && pvv_domain_get_id(dom) < 0; i++)
		usleep(5000);
	DIR *d = opendir("/proc/self/fd");
	struct dirent *e;
	int ours = 0;
	while ((e = readdir(d))) {
		int n = atoi(e->d_name), flags;

		/* What the test runner handed down is not ours. */
		if (e->d_name[0] == '.' || n == dirfd(d) || n >= 1024 || was_open(before, n))
			continue;
		flags = fcntl(n, F_GETFD);
		char link[64], target[256] = "";
		snprintf(link, sizeof(link), "/proc/self/fd/%d", n);
		if (readlink(link, target, sizeof(target) - 1) < 0)
			continue;
		if (!(flags & FD_CLOEXEC))
			print_error("descriptor %d (%s) is inherited by children\n", n, target);
		assert_true(flags & FD_CLOEXEC);
		ours++;
	}
	closedir(d);
	assert_true(ours >= 10); /* memory, doorbell, process, image, pty ... */
	unlink(image);
	close(image_fd);
	ok(pvv_domain_destroy(dom, 0));
	close(fd);
	pvv_domain_unref(dom);
	pvv_host_unref(host);
}

static void test_fork(void **state)
{
	pvv_host *host = open_host();
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		pvv_domain *dom = NULL;
		pvv_domain_options o = PVV_DOMAIN_OPTIONS_INIT;

		o.name = "x";
		o.kernel = "/x";
		if (pvv_domain_create(host, &o, 0, &dom) != PVV_EFORK ||
		    pvv_host_fd(host) != PVV_EFORK)
			_exit(1);
		pvv_host_unref(host); /* must not hang: there is no I/O thread here */
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	run_hello(host, "parent");
	pvv_host_unref(host);
}

static void refuse_clone3(int error)
{
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {.len = sizeof(f) / sizeof(f[0]), .filter = f};

	assert_int_equal(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	assert_int_equal(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog), 0);
}

/* Container engines and systemd's RestrictNamespaces= refuse clone3 so. */
static void without_clone3(void)
{
	refuse_clone3(ENOSYS);
	pvv_host *host = open_host();
	run_hello(host, "contained");
	pvv_host_unref(host);
}

/* Libc's threads may need it then; if they do, it is said what to change. */
static void with_clone3_forbidden(void)
{
	refuse_clone3(EPERM);
	pvv_host *host = NULL;
	if (pvv_host_open(0, &host) < 0) {
		assert_non_null(strstr(pvv_error_get_message(pvv_error_last()), "ENOSYS"));
		return;
	}
	run_hello(host, "contained");
	pvv_host_unref(host);
}

/* In a process of its own, for a filter stays. */
static void in_child(void (*body)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		body();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void test_no_clone3(void **state)
{
	in_child(without_clone3);
	in_child(with_clone3_forbidden);
}

/*
 * A program that orphans are given to, as the first one in a container is. (It is used to children
 * that it never made, and SIGCHLD for them; but it need not look for ours.)
 */
static void as_subreaper(void)
{
	struct sigaction sa = {.sa_handler = SIG_DFL};
	const char *guests[] = {"hello", "end-ud", "agent"};
	int status;

	sigaction(SIGCHLD, &sa, NULL);
	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	pid_t own = fork();
	if (own == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		pause();
		_exit(7);
	}
	pvv_host *host = open_host();
	for (size_t i = 0; i < sizeof(guests) / sizeof(guests[0]); i++) {
		pvv_domain *dom = make_domain(host, guests[i], guest_path(guests[i]));

		ok(pvv_domain_start(dom, 0));
		if (i == 2) {
			while (pvv_domain_get_id(dom) < 0)
				usleep(1000);
			usleep(200000);
			ok(pvv_domain_destroy(dom, 0));
		}
		ok(pvv_domain_wait(dom, 20000, 0));
		pvv_domain_unref(dom);
		/* Nothing but the program's own child, which is still there. */
		assert_int_equal(waitpid(-1, &status, WNOHANG | __WALL), 0);
		assert_int_equal(kill(own, 0), 0);
	}
	pvv_host_unref(host);
	kill(own, SIGTERM);
	assert_int_equal(waitpid(-1, &status, __WALL), own);
	assert_int_equal(waitpid(-1, &status, __WALL), -1);
	assert_int_equal(errno, ECHILD);
}

static void test_subreaper(void **state)
{
	in_child(as_subreaper);
}

/* A program that dies by SIGKILL leaves no sandbox behind. */
static void test_killed_program(void **state)
{
	int pipefd[2], status;
	pid_t pid, sandbox = 0;
	const char *grub = grub_or_skip();

	assert_int_equal(pipe(pipefd), 0);
	pid = fork();
	if (pid == 0) {
		pvv_host *host = open_host();
		pvv_domain *dom = make_domain(host, "orphan", grub);
		char path[64], buf[64] = "";

		ok(pvv_domain_start(dom, 0));
		while (pvv_domain_get_id(dom) < 0)
			usleep(1000);
		/* The sandbox is a child of one of our threads. */
		DIR *d = opendir("/proc/self/task");
		struct dirent *e;
		while ((e = readdir(d))) {
			snprintf(path, sizeof(path), "/proc/self/task/%.20s/children", e->d_name);
			FILE *f = fopen(path, "re");
			if (f && fgets(buf, sizeof(buf), f) && atoi(buf))
				sandbox = atoi(buf);
			if (f)
				fclose(f);
		}
		if (write(pipefd[1], &sandbox, sizeof(sandbox)) < 0)
			_exit(1);
		pause();
	}
	assert_int_equal(read(pipefd[0], &sandbox, sizeof(sandbox)), sizeof(sandbox));
	assert_true(sandbox > 0);
	assert_int_equal(kill(sandbox, 0), 0);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	for (int i = 0; i < 1000 && kill(sandbox, 0) == 0; i++)
		usleep(5000);
	/* Gone, or a zombie that nobody has collected yet (in a container without init). */
	char path[64], line[256] = "";
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)sandbox);
	FILE *f = fopen(path, "re");
	if (f && fgets(line, sizeof(line), f))
		assert_non_null(strstr(line, ") Z"));
	if (f)
		fclose(f);
	close(pipefd[0]);
	close(pipefd[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_children_are_invisible),
		cmocka_unit_test(test_ignored_sigchld),
		cmocka_unit_test(test_closed_standard_streams),
		cmocka_unit_test(test_nothing_is_left),
		cmocka_unit_test(test_process_is_unchanged),
		cmocka_unit_test(test_silence),
		cmocka_unit_test(test_callbacks_only_in_dispatch),
		cmocka_unit_test(test_start_returns_at_once),
		cmocka_unit_test(test_close_on_exec),
		cmocka_unit_test(test_fork),
		cmocka_unit_test(test_no_clone3),
		cmocka_unit_test(test_subreaper),
		cmocka_unit_test(test_killed_program),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
