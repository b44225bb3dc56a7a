/* SPDX-License-Identifier: MIT */
/*
 * The board of gang.h: a file in /dev/shm that all programs of a user share, for vCPUs of different
 * programs meet on a processor as well. Nothing is kept in this program but a descriptor for each
 * vCPU, and it is read and written, not mapped: whatever becomes of the file, it is no SIGBUS here.
 *
 * Nothing has to be tidied up after a program that was killed: a number belongs to whoever holds
 * the lock of its byte in the file, a claim ends by itself, and the last one to go removes the
 * file. What other programs of the same user write is believed as far as turns go; they could stop
 * our processes as well.
 */
#include "exec/ring3/gang.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "exec/ring3/ring3.h"
#include "exec/ring3/user.h"

#define HERE  GANG_SLOTS       /* the byte on which each place has a shared lock */
#define ENTRY (GANG_SLOTS + 1) /* and the one to lock while entering */

/* Locks of the open file: the kernel gives them back with its last descriptor. */
static bool lock_byte(int fd, short type, off_t at)
{
	struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};

	return fcntl(fd, F_OFD_SETLK, &l) == 0;
}

/* Is it what the name stands for (and not removed by the last of its users just now)? */
static bool is_named(int fd, const char *path)
{
	struct stat a, b;

	return fstat(fd, &a) == 0 && lstat(path, &b) == 0 && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
}

static bool is_ours(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() &&
	       (st.st_mode & 077) == 0 && st.st_nlink <= 1;
}

static bool path_of(const char *dir, char *ret, size_t size)
{
	int n = snprintf(ret, size, "%s/pvvirt-turns.2.%u", dir ? dir : "/dev/shm",
			 (unsigned int)geteuid());

	return n > 0 && (size_t)n < size;
}

/* With pages behind what is about to be used: a full /dev/shm is no SIGBUS of K later. */
static bool provide(int fd, off_t at, off_t len)
{
	return posix_fallocate(fd, at, len) == 0;
}

static int board_open(const char *path)
{
	for (int i = 0; i < 5; i++) {
		int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);

		if (fd < 0)
			return -1;
		if (is_ours(fd) && lock_byte(fd, F_RDLCK, HERE) && is_named(fd, path) &&
		    provide(fd, 0, GANG_CLAIMS) && ftruncate(fd, GANG_SIZE) == 0)
			return fd;
		close(fd);
	}
	return -1;
}

static void board_close(int fd, const char *path)
{
	/* Nobody else is here, and who comes now sees that the name is no longer this file's. */
	if (lock_byte(fd, F_WRLCK, HERE) && is_named(fd, path))
		unlink(path);
	close(fd);
}

/* As the host's scheduler will weigh it: a step of niceness is a quarter. */
static uint32_t weight_for(uint32_t shares)
{
	int nice = getpriority(PRIO_PROCESS, 0) + (shares ? exec_nice(shares) : 0);
	uint32_t weight = GANG_WEIGHT;

	for (; nice > 0 && weight > 15; nice--)
		weight -= weight / 5;
	for (; nice < 0 && weight < 88761; nice++)
		weight += weight / 4;
	return weight;
}

static bool put(int fd, const void *data, size_t len, off_t at)
{
	return pwrite(fd, data, len, at) == (ssize_t)len;
}

static off_t member_at(uint32_t slot)
{
	return GANG_MEMBERS + (off_t)slot * (off_t)sizeof(struct gang_member);
}

/* The number is locked; what is there may be of one who was killed. */
static bool enter(int fd, uint32_t slot, uint32_t shares)
{
	const off_t nr_at = offsetof(struct gang_board, nr);
	const struct gang_claim none = {0};
	struct gang_member m = {.used = 1, .cpu = ~0u, .weight = weight_for(shares)};
	const struct timespec moment = {.tv_nsec = 1000000};
	uint32_t nr = 0;
	int tries = 0;

	gang_read_group(0, &m);
	if (!put(fd, &none, sizeof(none), GANG_CLAIMS + (off_t)slot * 4096) ||
	    !put(fd, &m, sizeof(m), member_at(slot)))
		return false;
	while (!lock_byte(fd, F_WRLCK, ENTRY)) {
		if (tries++ == 50)
			return false;
		nanosleep(&moment, NULL);
	}
	bool ok = pread(fd, &nr, sizeof(nr), nr_at) == sizeof(nr);
	if (ok && nr <= slot) {
		nr = slot + 1;
		ok = put(fd, &nr, sizeof(nr), nr_at);
	}
	lock_byte(fd, F_UNLCK, ENTRY);
	return ok;
}

void gang_join(const char *dir, uint32_t shares, struct gang_place *ret)
{
	char path[128];
	uint32_t slot = 0;
	int fd;

	*ret = (struct gang_place){.fd = -1, .slot = GANG_NONE};
	if (!path_of(dir, path, sizeof(path)) || (fd = board_open(path)) < 0)
		return;
	while (slot < GANG_SLOTS && !lock_byte(fd, F_WRLCK, (off_t)slot))
		slot++;
	if (slot < GANG_SLOTS && provide(fd, GANG_CLAIMS + (off_t)slot * 4096, 4096) &&
	    enter(fd, slot, shares))
		*ret = (struct gang_place){.fd = fd, .slot = slot};
	else
		board_close(fd, path);
}

/* Everything but what K writes there, and what does not change. */
static void read_again(struct gang_place *p, pid_t pid)
{
	const size_t from = offsetof(struct gang_member, depth);
	struct gang_member m;

	gang_read_group(pid, &m);
	(void)put(p->fd, (const uint8_t *)&m + from, sizeof(m) - from,
		  member_at(p->slot) + (off_t)from);
}

bool gang_heard(struct gang_place *p, pid_t pid)
{
	struct timespec now;
	uint64_t asks;

	if (p->slot == GANG_NONE)
		return false;
	/* A monitor that asks all the time is heard once a second. */
	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	if (now.tv_sec == p->heard)
		return false;
	p->heard = now.tv_sec;
	if (pread(p->fd, &asks, sizeof(asks),
		  GANG_CLAIMS + (off_t)p->slot * 4096 + (off_t)offsetof(struct gang_claim, asks)) !=
		    sizeof(asks) ||
	    asks == p->asks)
		return false;
	p->asks = asks;
	read_again(p, pid);
	return true;
}

static bool bind_to(pid_t pid, unsigned int cpu)
{
	uint64_t mask[GANG_CPUS / 64] = {0};

	mask[cpu / 64] = 1ull << (cpu % 64);
	return syscall(SYS_sched_setaffinity, pid, sizeof(mask), mask) == 0;
}

/*
 * First the one that makes others: what it makes from now on goes there, too. A group of processors
 * (cpuset) that K or the nursery has been put into may refuse it: then all stay together.
 */
bool gang_bind(struct gang_place *p, pid_t pid, unsigned int from, unsigned int cpu)
{
	pid_t nursery, others[2 * U_SLOTS];
	unsigned int nr;

	if (ring3_children(pid, &nursery, 1) != 1 || !bind_to(nursery, cpu))
		return false;
	if (!bind_to(pid, cpu)) {
		bind_to(nursery, from);
		return false;
	}
	nr = ring3_children(nursery, others, 2 * U_SLOTS);
	for (unsigned int i = 0; i < nr; i++)
		bind_to(others[i], cpu);
	return put(p->fd, &cpu, sizeof(cpu),
		   member_at(p->slot) + (off_t)offsetof(struct gang_member, cpu));
}

/* Is it bound to that processor alone, as it was left? If not, somebody else has decided. */
static bool is_bound(pid_t pid, unsigned int cpu)
{
	uint64_t mask[GANG_CPUS / 64] = {0};
	unsigned int nr = 0;

	if (cpu >= GANG_CPUS || syscall(SYS_sched_getaffinity, pid, sizeof(mask), mask) <= 0)
		return false;
	for (unsigned int i = 0; i < GANG_CPUS / 64; i++)
		nr += (unsigned int)__builtin_popcountll(mask[i]);
	return nr == 1 && (mask[cpu / 64] >> (cpu % 64) & 1);
}

bool gang_move(struct gang_place *p, pid_t pid, const uint64_t *allowed, struct gang_idle *idle)
{
	const off_t cpu_at = member_at(p->slot) + (off_t)offsetof(struct gang_member, cpu);
	const off_t moved_at = offsetof(struct gang_board, moved);
	uint64_t since = idle->since, moved = 0, now = __builtin_ia32_rdtsc();
	uint32_t cpu;
	bool ret = false;
	int found;

	if (pread(p->fd, &cpu, sizeof(cpu), cpu_at) != sizeof(cpu) || !is_bound(pid, cpu))
		return false;
	found = gang_find_idle(idle, "/proc/stat", allowed, cpu);
	if (found < 0 || !lock_byte(p->fd, F_WRLCK, ENTRY))
		return false;
	/* One at a time: who is next looks at what the processors do then. */
	if (pread(p->fd, &moved, sizeof(moved), moved_at) == sizeof(moved) &&
	    (moved < since || moved > now) && put(p->fd, &now, sizeof(now), moved_at))
		ret = gang_bind(p, pid, cpu, (unsigned int)found);
	lock_byte(p->fd, F_UNLCK, ENTRY);
	return ret;
}

void gang_leave(const char *dir, struct gang_place *p)
{
	const uint32_t used = 0;
	char path[128];

	if (p->slot == GANG_NONE)
		return;
	(void)put(p->fd, &used, sizeof(used),
		  member_at(p->slot) + (off_t)offsetof(struct gang_member, used));
	lock_byte(p->fd, F_UNLCK, (off_t)p->slot);
	if (path_of(dir, path, sizeof(path)))
		board_close(p->fd, path);
	else
		close(p->fd);
	*p = (struct gang_place){.fd = -1, .slot = GANG_NONE};
}
