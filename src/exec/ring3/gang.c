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
#include <time.h>
#include <unistd.h>

#include "exec/ring3/ring3.h"

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
	int n = snprintf(ret, size, "%s/pvvirt-turns.1.%u", dir ? dir : "/dev/shm",
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

static uint64_t hash(uint64_t h, const void *data, size_t len)
{
	const unsigned char *p = data;

	while (len--)
		h = (h ^ *p++) * 0x100000001b3ull;
	return h;
}

/*
 * The directory of this program's control group for the processor. Version 1 has a line with that
 * controller's name; else the line of version 2, which has none, names the group, and the nearest
 * one above it with a weight of its own is what counts.
 */
static void cpu_group(char *ret, size_t size)
{
	char line[4096], path[4200];
	FILE *f = fopen("/proc/self/cgroup", "re");

	snprintf(ret, size, "/sys/fs/cgroup");
	while (f && fgets(line, sizeof(line), f)) {
		char *names = strchr(line, ':'), *where = names ? strchr(names + 1, ':') : NULL;

		if (!where)
			continue;
		*where++ = '\0';
		where[strcspn(where, "\n")] = '\0';
		names++;
		if (strcmp(names, "cpu") == 0 || strcmp(names, "cpu,cpuacct") == 0 ||
		    strcmp(names, "cpuacct,cpu") == 0) {
			snprintf(ret, size, "/sys/fs/cgroup/cpu%s", where);
			break;
		}
		if (*names)
			continue;
		for (;;) {
			char *last = strrchr(where, '/');

			snprintf(path, sizeof(path), "/sys/fs/cgroup%s/cpu.weight", where);
			if (!last || !where[1] || access(path, F_OK) == 0)
				break;
			last[last == where] = '\0';
		}
		snprintf(ret, size, "/sys/fs/cgroup%s", where);
	}
	if (f)
		fclose(f);
}

/*
 * Those in one control group share its time equally, as turns do. Between groups the host's
 * scheduler decides, by weights that may change: no turns there.
 */
static uint64_t group_now(void)
{
	uint64_t ret = 0xcbf29ce484222325ull;
	char dir[4200];
	struct stat st;

	cpu_group(dir, sizeof(dir));
	ret = hash(ret, dir, strlen(dir));
	/* The same name in another namespace is another group. */
	if (stat(dir, &st) == 0 || stat("/proc/self/ns/cgroup", &st) == 0)
		ret = hash(ret, &st.st_ino, sizeof(st.st_ino));
	return ret;
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
	const struct gang_member m = {
		.used = 1,
		.cpu = ~0u,
		.group = group_now(),
		.weight = weight_for(shares),
	};
	const struct timespec moment = {.tv_nsec = 1000000};
	uint32_t nr = 0;
	int tries = 0;

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
