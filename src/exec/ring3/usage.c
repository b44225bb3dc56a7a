/* SPDX-License-Identifier: MIT */
/*
 * What the processes of a vCPU use, as the host's /proc has it: the monitor (K), its nursery, and
 * the nursery's children, two for each U process, of which both show the same memory (user.h).
 */
#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "exec/ring3/ring3.h"
#include "exec/ring3/user.h"

/* A file of a process's /proc folder; false: it is gone. */
static bool read_proc(pid_t pid, const char *file, char *buf, size_t size)
{
	char path[64];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, buf, size - 1);
	close(fd);
	if (n <= 0)
		return false;
	buf[n] = '\0';
	return true;
}

/* None on a host whose kernel does not list them (CONFIG_PROC_CHILDREN). */
unsigned int ring3_children_of(pid_t pid, pid_t thread, pid_t *ret, unsigned int max)
{
	char file[48], buf[16384], *at = buf, *end;
	unsigned int nr = 0;

	snprintf(file, sizeof(file), "task/%d/children", (int)thread);
	if (!read_proc(pid, file, buf, sizeof(buf)))
		return 0;
	for (; nr < max; at = end) {
		long id = strtol(at, &end, 10);

		/* (a number that the buffer cut short is none) */
		if (end == at || !isspace((unsigned char)*end) || id <= 0)
			break;
		ret[nr++] = (pid_t)id;
	}
	return nr;
}

unsigned int ring3_children(pid_t pid, pid_t *ret, unsigned int max)
{
	return ring3_children_of(pid, pid, ret, max);
}

static uint64_t kib(const char *status, const char *name)
{
	const char *line = strstr(status, name);

	return line ? strtoull(line + strlen(name), NULL, 10) : 0;
}

/* Anonymous pages and page tables. The rest is the domain's RAM, and the library's own image. */
static uint64_t memory(pid_t pid)
{
	char buf[4096];

	if (!read_proc(pid, "status", buf, sizeof(buf)))
		return 0;
	return (kib(buf, "\nRssAnon:") + kib(buf, "\nVmPTE:")) << 10;
}

static uint64_t cpu_time(pid_t pid)
{
	char buf[128];

	/* Nanoseconds on the processor, nanoseconds waiting for it, slices. */
	return read_proc(pid, "schedstat", buf, sizeof(buf)) ? strtoull(buf, NULL, 10) : 0;
}

static void users(pid_t nursery, struct ring3_usage *u)
{
	pid_t pid[2 * U_SLOTS];
	unsigned int nr = ring3_children(nursery, pid, 2 * U_SLOTS);
	uint64_t twice = 0;

	for (unsigned int i = 0; i < nr; i++) {
		twice += memory(pid[i]);
		u->cpu_time += cpu_time(pid[i]);
	}
	u->memory += twice / 2;
}

/*
 * A look at all U processes costs a millisecond. They grow only while the monitor works for them,
 * so for the watchdog's sake they are looked at again when it has.
 */
#define WORK_NS 5000000u

void ring3_usage(pid_t monitor, bool exact, struct ring3_usage *u)
{
	uint64_t own = cpu_time(monitor);
	pid_t nursery;

	if (exact || !u->monitor_memory || own - u->looked_at > WORK_NS) {
		u->looked_at = own;
		u->memory = 0;
		u->cpu_time = 0;
		if (ring3_children(monitor, &nursery, 1) == 1) {
			u->memory = memory(nursery);
			u->cpu_time = cpu_time(nursery);
			users(nursery, u);
		}
	}
	u->monitor_memory = memory(monitor);
	u->monitor_cpu_time = own;
}
