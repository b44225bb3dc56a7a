/* SPDX-License-Identifier: MIT */
/*
 * User networking by passt: a process of its own, confined by itself, that speaks to us through a
 * socket pair and ends when that is closed. doc/adr/0010 says why not a library.
 *
 * It must not show in the embedding program: it is made by a go-between that ends at once, so that
 * it is nobody's child here, and no SIGCHLD comes, neither now nor at its end. (exec() makes
 * SIGCHLD the signal of the end again, so that a direct child cannot be had without.)
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/net/link.h"
#include "util/clone.h"
#include "util/err.h"

#define ARGS_MAX 64
#define CHILD_FD 3 /* where passt finds its end of the pair */

struct args {
	char text[4096];
	size_t used;
	const char *argv[ARGS_MAX + 1];
	unsigned int n;
	bool overflow;
	/* Forwards can be many. */
	const char **all;
};

/* --- the command line ------------------------------------------------------------------------- */

static void add(struct args *a, const char *word)
{
	if (a->n == ARGS_MAX)
		a->overflow = true;
	else
		a->argv[a->n++] = word;
}

__attribute__((format(printf, 2, 3))) static void add_text(struct args *a, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(a->text + a->used, sizeof(a->text) - a->used, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(a->text) - a->used) {
		a->overflow = true;
		return;
	}
	add(a, a->text + a->used);
	a->used += (size_t)n + 1;
}

static void add_ip(struct args *a, const struct net_ip *ip)
{
	char text[INET6_ADDRSTRLEN];

	add(a, "-a");
	add_text(a, "%s",
		 inet_ntop(ip->family == 4 ? AF_INET : AF_INET6, ip->addr, text, sizeof(text)));
	if (ip->family == 4 && ip->prefix >= 0) {
		add(a, "-n");
		add_text(a, "%d", ip->prefix);
	}
}

static int make_args(const struct net_user_params *p, const char *program, struct args *a)
{
	add(a, program);
	add(a, "--foreground");
	add(a, "--quiet");
	/* The host's own services are not the guest's unless they are reachable from outside. */
	add(a, "--no-map-gw");
	add(a, "--fd");
	add_text(a, "%d", CHILD_FD);
	add(a, "--mtu");
	add_text(a, "%u", p->mtu ? p->mtu : 65520);
	if (p->host_dev) {
		add(a, "-i");
		add(a, p->host_dev);
	}
	if (p->log_file) {
		add(a, "--log-file");
		add(a, p->log_file);
	}
	for (size_t i = 0; i < p->nr_ips; i++)
		add_ip(a, &p->ips[i]);
	a->all = calloc(a->n + p->nr_forwards + 1, sizeof(*a->all));
	if (!a->all)
		return err_nomem(PVV_SUBSYS_NET, "starting passt");
	if (a->overflow)
		return err_set(PVV_ELIMIT, PVV_SUBSYS_NET, p->object,
			       "the interface has more addresses than passt can be told");
	memcpy(a->all, a->argv, a->n * sizeof(*a->all));
	if (p->nr_forwards)
		memcpy(a->all + a->n, p->forwards, p->nr_forwards * sizeof(*a->all));
	return PVV_OK;
}

/* As a path; NULL if there is none. Not PATH: the program's environment is not ours to read. */
static char *find_program(const char *name)
{
	char *copy = strdup("/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin");
	char *found = NULL, *save;

	if (strchr(name, '/')) {
		free(copy);
		return access(name, X_OK) == 0 ? strdup(name) : NULL;
	}
	for (char *dir = copy ? strtok_r(copy, ":", &save) : NULL; dir && !found;
	     dir = strtok_r(NULL, ":", &save)) {
		if (asprintf(&found, "%s/%s", dir, name) < 0)
			found = NULL;
		if (found && access(found, X_OK) < 0) {
			free(found);
			found = NULL;
		}
	}
	free(copy);
	return found;
}

/* --- the process ------------------------------------------------------------------------------ */

struct spawn {
	const char *path;
	char *const *argv;
	int sock, text, null, status;
};

/* In the process that becomes passt: nothing but system calls. */
static void become(const struct spawn *s)
{
	static char *const env[] = {(char *)(uintptr_t) "PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL};
	const int from[5] = {s->null, s->null, s->text, s->sock, s->status};
	sigset_t none;
	int high[5];
	int e;

	setsid();
	/* First out of the way of their new numbers. */
	for (int i = 0; i < 5; i++)
		high[i] = fcntl(from[i], F_DUPFD, 16);
	for (int i = 0; i < 5; i++)
		if (high[i] < 0 || dup2(high[i], i) < 0)
			goto fail;
	if (syscall(SYS_close_range, CHILD_FD + 2, ~0u, 0) < 0 ||
	    fcntl(CHILD_FD + 1, F_SETFD, FD_CLOEXEC) < 0 || chdir("/") < 0)
		goto fail;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execve(s->path, s->argv, env);
fail:
	e = errno;
	(void)!write(CHILD_FD + 1, &e, sizeof(e));
	_exit(127);
}

static int spawn(const struct spawn *s)
{
	sigset_t all, old;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pid_t pid = clone_quiet(NULL);
	if (pid == 0) {
		pid_t grandchild = clone_quiet(NULL);

		if (grandchild == 0)
			become(s);
		_exit(grandchild < 0 ? 1 : 0);
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (pid < 0)
		return -pid;
	/* It ends at once. */
	int status = 0;
	while (waitpid(pid, &status, __WALL) < 0 && errno == EINTR)
		;
	return status ? EAGAIN : 0;
}

/* Run it and learn whether exec() worked. 0 or an errno. */
static int run(struct spawn *s)
{
	int status[2], e, err = 0;

	if (pipe2(status, O_CLOEXEC) < 0)
		return errno;
	s->status = status[1];
	e = spawn(s);
	close(status[1]);
	if (!e) {
		ssize_t n;

		while ((n = read(status[0], &err, sizeof(err))) < 0 && errno == EINTR)
			;
		e = n == sizeof(err) ? err : 0;
	}
	close(status[0]);
	return e;
}

static int start(const struct net_user_params *p, const char *path, const struct args *a,
		 struct net_link **ret_link)
{
	int pair[2] = {-1, -1}, text[2] = {-1, -1}, null, e = 0;

	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	/* What it says must never make it wait. */
	if (null < 0 || pipe2(text, O_CLOEXEC | O_NONBLOCK) < 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0 ||
	    fcntl(pair[0], F_SETFL, O_RDWR | O_NONBLOCK) < 0)
		e = errno;
	struct spawn s = {.path = path, .sock = pair[1], .text = text[1], .null = null};
	s.argv = (char *const *)(uintptr_t)a->all;
	if (!e)
		e = run(&s);
	int theirs[] = {null, text[1], pair[1], e ? text[0] : -1, e ? pair[0] : -1};
	for (size_t i = 0; i < sizeof(theirs) / sizeof(theirs[0]); i++)
		if (theirs[i] >= 0)
			close(theirs[i]);
	if (e)
		return err_sys(PVV_ESYS, PVV_SUBSYS_NET, e, p->object, "cannot start '%s'", path);
	int r = net_stream_from_fd(pair[0], ret_link);
	if (r < 0) {
		close(text[0]);
		return r;
	}
	net_stream_set_text(*ret_link, text[0]);
	return PVV_OK;
}

int net_link_open_user(const struct net_user_params *p, struct net_link **ret_link)
{
	struct args a = {0};
	char *path = find_program(p->program ? p->program : "passt");

	*ret_link = NULL;
	if (!path)
		return err_set(PVV_EUNSUPPORTED, PVV_SUBSYS_NET, p->object,
			       "user networking needs passt, which is not in /usr/bin or "
			       "/usr/local/bin: install the package 'passt'");
	int r = make_args(p, path, &a);
	if (r == PVV_OK)
		r = start(p, path, &a, ret_link);
	free(a.all);
	free(path);
	return r;
}
