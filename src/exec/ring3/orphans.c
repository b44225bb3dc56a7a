/* SPDX-License-Identifier: MIT */
/*
 * What is left of a vCPU whose monitor has ended: its nursery and the processes of guest programs
 * die with it, and who collects them is init's business. But the program that embeds the library
 * may be init itself, in a container, or a subreaper (prctl(2)). Then they are its children now,
 * and it has never heard of them.
 */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "exec/ring3/ring3.h"
#include "exec/ring3/user.h"

/* They have been killed. What is there for longer is the program's to collect. */
#define PATIENCE_MS 2000

/* They inherit the monitor's session and cannot leave it; nobody else gets its number meanwhile. */
static bool is_of(pid_t pid, pid_t session)
{
	char path[32], line[512], *at;
	int found = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	/* (a name may have spaces and parentheses in it) */
	at = fgets(line, sizeof(line), f) ? strrchr(line, ')') : NULL;
	fclose(f);
	return at && sscanf(at, ") %*c %*d %*d %d", &found) == 1 && found == session;
}

static int left_ms(const struct timespec *begin)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return PATIENCE_MS - (int)((now.tv_sec - begin->tv_sec) * 1000 +
				   (now.tv_nsec - begin->tv_nsec) / 1000000);
}

/* By a descriptor, so that it is this process whatever others wait for. False: it was none. */
static bool reap(pid_t pid, pid_t session, const struct timespec *begin)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	siginfo_t si = {0};
	bool ret = false;

	if (fd < 0)
		return false;
	if (is_of(pid, session)) {
		int ms = left_ms(begin);

		while (ms > 0 && poll(&p, 1, ms) < 0 && errno == EINTR)
			ms = left_ms(begin);
		ret = waitid(P_PIDFD, (id_t)fd, &si, WEXITED | WNOHANG | __WALL) == 0 && si.si_pid;
	}
	close(fd);
	return ret;
}

/* Those among the children of all threads: orphans are given to any of them. */
static unsigned int reap_all(pid_t session, const struct timespec *begin)
{
	DIR *d = opendir("/proc/self/task");
	unsigned int nr = 0;

	for (struct dirent *e; d && (e = readdir(d));) {
		pid_t child[2 * U_SLOTS + 64];
		unsigned int n = ring3_children_of(getpid(), atoi(e->d_name), child,
						   sizeof(child) / sizeof(child[0]));

		for (unsigned int i = 0; i < n; i++)
			nr += is_of(child[i], session) && reap(child[i], session, begin);
	}
	if (d)
		closedir(d);
	return nr;
}

void ring3_reap_orphans(pid_t monitor)
{
	struct timespec begin;
	int subreaper = 0;

	if (getpid() != 1 && (prctl(PR_GET_CHILD_SUBREAPER, &subreaper) || !subreaper))
		return;
	clock_gettime(CLOCK_MONOTONIC, &begin);
	/* The nursery's end makes orphans of what it made. */
	while (left_ms(&begin) > 0 && reap_all(monitor, &begin) > 0)
		;
}
