/* SPDX-License-Identifier: MIT */
/*
 * The board of gang.h: made when the first vCPU of this program starts, gone with the last. It is a
 * file in /dev/shm that all programs of a user share, for vCPUs of different programs meet on a
 * processor as well. Where that is not possible it is a memfd, and only those of this program know
 * of each other.
 *
 * Nothing here has to be tidied up after a program that was killed: a number belongs to whoever
 * holds the lock of its byte in the file, a claim ends by itself, and the last one to go removes
 * the file. What other programs of the same user write is believed as far as turns go; they could
 * stop our processes as well.
 */
#include "exec/ring3/gang.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "exec/ring3/ring3.h"

#define HERE GANG_SLOTS /* the byte on which each program that uses the file has a shared lock */

const char *gang_dir = "/dev/shm";

static struct {
	pthread_mutex_t lock;
	struct gang_board *board;
	int fd;
	pid_t pid; /* of the program whose state this is; a fork of it starts anew */
	unsigned int places;
	bool mine[GANG_SLOTS];
	char path[128]; /* "": a memfd */
} gang = {.lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1};

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

static int open_shared(void)
{
	int fd;

	snprintf(gang.path, sizeof(gang.path), "%s/pvvirt-turns.1.%u", gang_dir,
		 (unsigned int)geteuid());
	for (int i = 0; i < 5; i++) {
		fd = open(gang.path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
		if (fd < 0)
			return -1;
		if (is_ours(fd) && lock_byte(fd, F_RDLCK, HERE) && is_named(fd, gang.path))
			return fd;
		close(fd);
	}
	return -1;
}

/* With pages behind what is about to be used: a full /dev/shm is no SIGBUS later. */
static bool provide(int fd, off_t at, off_t len)
{
	return posix_fallocate(fd, at, len) == 0;
}

static bool use(int fd)
{
	void *p;

	if (!provide(fd, 0, GANG_CLAIMS) || ftruncate(fd, GANG_SIZE))
		return false;
	p = mmap(NULL, GANG_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return false;
	gang.board = p;
	gang.fd = fd;
	gang.pid = getpid();
	return true;
}

static bool board_open(void)
{
	int fd = open_shared();

	if (fd >= 0 && use(fd))
		return true;
	if (fd >= 0)
		close(fd);
	gang.path[0] = '\0';
	fd = ring3_memfd("pvv-turns");
	if (fd >= 0 && use(fd))
		return true;
	if (fd >= 0)
		close(fd);
	return false;
}

static void board_close(void)
{
	/* Nobody else is here, and who comes now sees that the name is no longer this file's. */
	if (gang.path[0] && lock_byte(gang.fd, F_WRLCK, HERE) && is_named(gang.fd, gang.path))
		unlink(gang.path);
	munmap(gang.board, GANG_SIZE);
	close(gang.fd);
	gang.board = NULL;
	gang.fd = -1;
}

/* The locks are the parent's, and so is what they stand for. */
static void forget_parents(void)
{
	if (!gang.board || gang.pid == getpid())
		return;
	munmap(gang.board, GANG_SIZE);
	close(gang.fd);
	gang.board = NULL;
	gang.fd = -1;
	gang.places = 0;
	memset(gang.mine, 0, sizeof(gang.mine));
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

static bool take(uint32_t slot)
{
	if (gang.mine[slot] || !lock_byte(gang.fd, F_WRLCK, (off_t)slot))
		return false;
	if (!provide(gang.fd, GANG_CLAIMS + (off_t)slot * 4096, 4096)) {
		lock_byte(gang.fd, F_UNLCK, (off_t)slot);
		return false;
	}
	gang.mine[slot] = true;
	return true;
}

static void enter(uint32_t slot, uint32_t shares)
{
	struct gang_member *m = &gang.board->member[slot];
	uint32_t nr = __atomic_load_n(&gang.board->nr, __ATOMIC_RELAXED);

	/* Perhaps from one who was killed. */
	memset((uint8_t *)gang.board + GANG_CLAIMS + slot * 4096u, 0, sizeof(struct gang_claim));
	m->cpu = ~0u;
	m->group = group_now();
	m->weight = weight_for(shares);
	__atomic_store_n(&m->used, 1, __ATOMIC_RELEASE);
	while (nr <= slot && !__atomic_compare_exchange_n(&gang.board->nr, &nr, slot + 1, false,
							  __ATOMIC_RELEASE, __ATOMIC_RELAXED))
		;
}

void gang_join(uint32_t shares, struct gang_place *ret)
{
	*ret = (struct gang_place){.fd = -1, .slot = GANG_NONE};
	pthread_mutex_lock(&gang.lock);
	forget_parents();
	if (gang.board || board_open()) {
		uint32_t slot = 0;

		while (slot < GANG_SLOTS && !take(slot))
			slot++;
		if (slot < GANG_SLOTS) {
			enter(slot, shares);
			gang.places++;
			*ret = (struct gang_place){.fd = gang.fd, .slot = slot};
		} else if (gang.places == 0) {
			board_close();
		}
	}
	pthread_mutex_unlock(&gang.lock);
}

void gang_leave(struct gang_place *p)
{
	if (p->slot == GANG_NONE)
		return;
	pthread_mutex_lock(&gang.lock);
	forget_parents();
	if (gang.board && gang.mine[p->slot]) {
		__atomic_store_n(&gang.board->member[p->slot].used, 0, __ATOMIC_RELEASE);
		lock_byte(gang.fd, F_UNLCK, (off_t)p->slot);
		gang.mine[p->slot] = false;
		if (--gang.places == 0)
			board_close();
	}
	pthread_mutex_unlock(&gang.lock);
	*p = (struct gang_place){.fd = -1, .slot = GANG_NONE};
}
