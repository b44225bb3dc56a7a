/* SPDX-License-Identifier: MIT */
/* Turns on a processor (exec/ring3/gang.h): whose it is, and the board of several programs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "exec/ring3/gang.h"

/* ---- whose turn it is --------------------------------------------------------------------- */

static uint8_t *image;

static struct gang_board *board(void)
{
	return (struct gang_board *)image;
}

static struct gang_claim *claim(uint32_t slot)
{
	return (struct gang_claim *)(image + GANG_CLAIMS + slot * 4096u);
}

static void add(uint32_t slot, uint32_t cpu, uint64_t group, uint32_t weight, uint64_t until)
{
	board()->member[slot] =
		(struct gang_member){.used = 1, .cpu = cpu, .group = group, .weight = weight};
	*claim(slot) = (struct gang_claim){.until = until};
	if (board()->nr <= slot)
		board()->nr = slot + 1;
}

static int fresh(void **state)
{
	image = mmap(NULL, GANG_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return image == MAP_FAILED ? -1 : 0;
}

static int gone(void **state)
{
	return munmap(image, GANG_SIZE);
}

#define NOW  (1ull << 50)
#define LONG (1ull << 33)
#define STEP (GANG_SLICE / 16 + 12345)

/* How often it is whose turn, of `n` looks; at each time it must be that of exactly one. */
static void shares(const uint32_t *who, unsigned int nr, unsigned int n, unsigned int *ret)
{
	memset(ret, 0, nr * sizeof(*ret));
	for (uint64_t t = NOW; n--; t += STEP) {
		unsigned int turns = 0;

		for (unsigned int i = 0; i < nr; i++) {
			struct gang_view v;

			gang_look(image, who[i], t, &v);
			assert_false(v.alone);
			assert_int_equal(v.off, 0);
			assert_true(!v.left != !v.wait);
			assert_true(v.left <= GANG_SLICE && v.wait < v.period);
			turns += v.left != 0;
			ret[i] += v.left != 0;
			if (!v.wait)
				continue;
			/* It comes when it was said to. */
			uint64_t then = t + v.wait;
			gang_look(image, who[i], then - 1, &v);
			assert_int_equal(v.left, 0);
			gang_look(image, who[i], then, &v);
			assert_true(v.left > 0);
		}
		assert_int_equal(turns, 1);
	}
}

static void test_equal(void **state)
{
	static const uint32_t who[] = {3, 7, 8, 300};
	unsigned int got[4];

	for (int i = 0; i < 4; i++)
		add(who[i], 1, 42, GANG_WEIGHT, NOW + LONG);
	shares(who, 4, 4000, got);
	for (int i = 0; i < 4; i++)
		assert_in_range(got[i], 980, 1020);
}

static void test_weights(void **state)
{
	static const uint32_t who[] = {0, 1};
	unsigned int got[2];

	add(0, 1, 42, 1024, NOW + LONG);
	add(1, 1, 42, 512, NOW + LONG);
	shares(who, 2, 3000, got);
	assert_in_range(got[0], 1960, 2040);
	/* What counts is how they compare. */
	add(0, 1, 42, 30, NOW + LONG);
	add(1, 1, 42, 15, NOW + LONG);
	shares(who, 2, 3000, got);
	assert_in_range(got[0], 1960, 2040);
	/* A program of the same user wrote nonsense: no division by it. */
	add(1, 1, 42, 0, NOW + LONG);
	shares(who, 2, 3000, got);
	assert_true(got[0] > got[1] && got[1] > 0);
}

/* Who is not in line is nobody to wait for. */
static void test_not_in_line(void **state)
{
	struct gang_view v;

	add(5, 1, 42, GANG_WEIGHT, 0);
	gang_look(image, 5, NOW, &v);
	assert_true(v.alone);
	add(0, 2, 42, GANG_WEIGHT, NOW + LONG);	  /* another processor */
	add(1, ~0u, 42, GANG_WEIGHT, NOW + LONG); /* not started yet */
	add(2, 1, 43, GANG_WEIGHT, NOW + LONG);	  /* another control group */
	add(3, 1, 42, GANG_WEIGHT, NOW);	  /* wants nothing, or died */
	add(4, 1, 42, GANG_WEIGHT, NOW + LONG);
	board()->member[4].used = 0; /* left */
	gang_look(image, 5, NOW, &v);
	assert_true(v.alone);
	assert_int_equal(v.off, 0);
	board()->member[4].used = 1;
	gang_look(image, 5, NOW, &v);
	assert_false(v.alone);
}

/* What a hostile K may write: it gets its own turns at most, or none of the others has any. */
static void test_hostile(void **state)
{
	static const uint32_t who[] = {0, 1, 2};
	static const uint32_t honest[] = {0, 1};
	unsigned int got[3];
	struct gang_view v;

	add(0, 1, 42, GANG_WEIGHT, NOW + LONG);
	add(1, 1, 42, GANG_WEIGHT, NOW + LONG);
	add(2, 1, 42, GANG_WEIGHT, NOW + LONG);
	memset(claim(2) + 1, 0xff, 4096 - sizeof(struct gang_claim));
	shares(who, 3, 3000, got);
	assert_in_range(got[2], 980, 1020);
	/* For ever, or long ago: no word to be taken. */
	claim(2)->until = ~0ull;
	claim(2)->off = ~0ull;
	shares(honest, 2, 3000, got);
	assert_in_range(got[0], 1480, 1520);
	claim(2)->off = NOW - 1;
	shares(honest, 2, 3000, got);
	/* A rest is for all of them, and ends. */
	claim(2)->off = NOW + 1000;
	gang_look(image, 0, NOW, &v);
	assert_int_equal(v.off, NOW + 1000);
	gang_look(image, 0, NOW + 1000, &v);
	assert_int_equal(v.off, 0);
	/* Of its own processor and group only. */
	board()->member[2].cpu = 7;
	gang_look(image, 0, NOW, &v);
	assert_int_equal(v.off, 0);
}

/* Whatever the user's other programs write: a turn that comes, or none. */
static void test_nonsense(void **state)
{
	uint64_t x = 88172645463325252ull;

	for (int round = 0; round < 200; round++) {
		board()->nr = 40;
		for (uint32_t i = 0; i < 40; i++) {
			struct gang_member *m = &board()->member[i];
			uint8_t *p = (uint8_t *)m;

			for (size_t at = 0; at < sizeof(*m); at++) {
				x ^= x << 13, x ^= x >> 7, x ^= x << 17;
				p[at] = (uint8_t)(x >> 30);
			}
			m->cpu = x % 16 ? 1 : 2;
			m->depth = x % 3 ? m->depth % (GANG_LEVELS + 2) : m->depth;
			m->read = x % 5 ? NOW - x % GANG_STALE : m->read;
			for (uint32_t d = 0; d < GANG_LEVELS; d++)
				m->level[d].id &= d;
			claim(i)->until = x % 7 ? NOW + LONG : x;
		}
		for (uint32_t i = 0; i < 40; i++) {
			struct gang_view v;

			gang_look(image, i, NOW, &v);
			assert_true(v.alone || !v.left != !v.wait);
			assert_true(v.left <= GANG_SLICE && v.period <= 64ull * GANG_SLICE);
			assert_true(v.wait < v.period || !v.wait);
		}
	}
}

/* A vCPU in a group of its own below the top one. */
static void add_group(uint32_t slot, uint32_t cpu, uint64_t group, uint32_t weight)
{
	add(slot, cpu, group, GANG_WEIGHT, NOW + LONG);
	struct gang_member *m = &board()->member[slot];

	m->read = NOW - 1000;
	m->depth = 2;
	m->level[0] = (struct gang_level){.id = 1};
	m->level[1] = (struct gang_level){.id = group, .weight = weight};
}

/* Groups have what their weights give them, and what is in them shares that. */
static void test_groups(void **state)
{
	static const uint32_t two[] = {0, 1}, three[] = {0, 1, 2}, four[] = {0, 1, 2, 3};
	unsigned int got[4];

	add_group(0, 1, 50, 1024);
	add_group(1, 1, 51, 1024);
	shares(two, 2, 3000, got);
	assert_in_range(got[0], 1480, 1520);
	board()->member[0].level[1].weight = 512;
	shares(two, 2, 3000, got);
	assert_in_range(got[0], 980, 1020);
	/* Two in one group, one in the other; and one that is in none, beside both. */
	add_group(0, 1, 50, 1024);
	add_group(2, 1, 51, 1024);
	shares(three, 3, 4000, got);
	assert_in_range(got[0], 1970, 2030);
	assert_in_range(got[2], 980, 1020);
	add_group(3, 1, 1, 0);
	board()->member[3].depth = 1;
	shares(four, 4, 6000, got);
	assert_in_range(got[3], 1960, 2040);
	assert_in_range(got[0], 1960, 2040);
	assert_in_range(got[1], 970, 1030);
}

/* A group below a group: what the upper ones have is divided among the lower ones. */
static void test_nested(void **state)
{
	static const uint32_t who[] = {0, 1, 2};
	unsigned int got[3];

	for (uint32_t i = 0; i < 3; i++) {
		add_group(i, 1, 60 + i, 1024);
		board()->member[i].depth = 3;
		board()->member[i].level[2] = board()->member[i].level[1];
		board()->member[i].level[1] =
			(struct gang_level){.id = i ? 71 : 70, .weight = i ? 1024 : 2048};
	}
	board()->member[1].level[2].weight = 3072;
	shares(who, 3, 12000, got);
	assert_in_range(got[0], 7900, 8100);
	assert_in_range(got[1], 2900, 3100);
	assert_in_range(got[2], 900, 1100);
}

/* A group that wants another processor, too, has half of its weight on each. */
static void test_elsewhere(void **state)
{
	static const uint32_t who[] = {0, 1};
	unsigned int got[2];

	add_group(0, 1, 50, 1024);
	add_group(1, 1, 51, 1024);
	add_group(2, 2, 51, 1024);
	shares(who, 2, 3000, got);
	assert_in_range(got[0], 1960, 2040);
	claim(2)->until = NOW;
	shares(who, 2, 3000, got);
	assert_in_range(got[0], 1480, 1520);
}

/* Where the weights are not known, there are turns in each group only, and somebody has to ask. */
static void test_unknown(void **state)
{
	struct gang_view v;

	add_group(0, 1, 50, 1024);
	add_group(1, 1, 51, 1024);
	gang_look(image, 0, NOW, &v);
	assert_false(v.alone || v.old);
	board()->member[0].read = NOW - GANG_OLD;
	gang_look(image, 0, NOW, &v);
	assert_true(v.old && !v.alone);
	gang_look(image, 1, NOW, &v);
	assert_false(v.old || v.alone);
	board()->member[0].read = NOW - GANG_STALE;
	gang_look(image, 0, NOW, &v);
	assert_true(v.old && v.alone);
	gang_look(image, 1, NOW, &v);
	assert_true(v.alone && !v.old);
	claim(1)->until = NOW; /* nobody else: nothing to ask for */
	gang_look(image, 0, NOW, &v);
	assert_false(v.old);
	add_group(0, 1, 50, 1024);
	add_group(1, 1, 51, 1024);
	board()->member[1].level[0].id = 2; /* another tree */
	gang_look(image, 0, NOW, &v);
	assert_true(v.alone);
	board()->member[1].level[0].id = 1;
	board()->member[1].depth = ~0u; /* nonsense */
	gang_look(image, 0, NOW, &v);
	assert_true(v.alone);
	gang_look(image, 1, NOW, &v);
	assert_true(v.alone);
	/* Too many of several groups: each group by itself. */
	for (uint32_t i = 0; i < 2 * GANG_FEW; i++)
		add_group(i, 1, i % 2 ? 50 : 51, 1024);
	gang_look(image, 0, NOW, &v);
	assert_false(v.alone);
	assert_int_equal(v.period, GANG_FEW * (uint64_t)GANG_SLICE);
}

static void test_too_many(void **state)
{
	struct gang_view v;

	for (uint32_t i = 0; i < GANG_SLOTS; i++)
		add(i, 1, 42, GANG_WEIGHT, NOW + LONG);
	for (uint32_t i = 0; i < GANG_SLOTS; i++) {
		gang_look(image, i, NOW, &v);
		assert_true(v.alone);
	}
	board()->nr = ~0u;
	gang_look(image, GANG_SLOTS - 1, NOW, &v);
	assert_true(v.alone);
	board()->nr = GANG_LINE - 1;
	gang_look(image, 0, NOW, &v);
	assert_false(v.alone);
}

/* ---- the board ---------------------------------------------------------------------------- */

static char dir[] = "/tmp/pvv-gang-XXXXXX", file[96];

static int make_dir(void **state)
{
	strcpy(dir + sizeof(dir) - 7, "XXXXXX");
	char *made = mkdtemp(dir);

	snprintf(file, sizeof(file), "%s/pvvirt-turns.2.%u", dir, (unsigned int)geteuid());
	return made ? 0 : -1;
}

static int remove_dir(void **state)
{
	unlink(file);
	return rmdir(dir);
}

/* A program that joins, tells its number, and stays until its end is read from. */
static pid_t other_program(uint32_t *slot)
{
	int up[2];
	pid_t pid;

	assert_int_equal(pipe(up), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct gang_place p;

		gang_join(dir, 0, &p);
		if (write(up[1], &p.slot, sizeof(p.slot)) != sizeof(p.slot))
			_exit(1);
		for (;;)
			pause();
	}
	close(up[1]);
	assert_int_equal(read(up[0], slot, sizeof(*slot)), sizeof(*slot));
	close(up[0]);
	return pid;
}

static void end(pid_t pid)
{
	int status;

	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
}

static void test_programs(void **state)
{
	struct gang_place a, b, c;
	uint32_t other, second;
	pid_t pid = other_program(&other);
	struct stat st;

	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	gang_join(dir, 0, &a);
	gang_join(dir, 0, &b);
	assert_true(a.fd >= 0 && b.fd >= 0);
	assert_true(a.slot != b.slot && a.slot != other && b.slot != other);
	/* The other is killed: its number is free, and what it wanted is forgotten. */
	end(pid);
	gang_join(dir, 0, &c);
	assert_int_equal(c.slot, other);
	gang_leave(dir, &c);
	assert_int_equal(c.slot, GANG_NONE);
	gang_leave(dir, &c);
	/* The last one removes the file, and no other. */
	pid = other_program(&second);
	gang_leave(dir, &a);
	gang_leave(dir, &b);
	assert_int_equal(stat(file, &st), 0);
	gang_join(dir, 0, &a);
	end(pid);
	gang_leave(dir, &a);
	assert_int_equal(stat(file, &st), -1);
}

/* What is not ours is not used: then there are no turns. */
static void test_not_ours(void **state)
{
	struct gang_place p;
	struct stat st;
	int fd = open(file, O_RDWR | O_CREAT, 0600);

	assert_true(fd >= 0);
	assert_int_equal(fchmod(fd, 0666), 0); /* others could write to it */
	gang_join(dir, 0, &p);
	assert_true(p.fd == -1 && p.slot == GANG_NONE);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 0);
	gang_leave(dir, &p);
	assert_int_equal(stat(file, &st), 0); /* and not removed */
	unlink(file);
	close(fd);

	assert_int_equal(symlink("/etc/passwd", file), 0);
	gang_join(dir, 0, &p);
	assert_int_equal(p.slot, GANG_NONE);
	gang_leave(dir, &p);
	unlink(file);

	gang_join("/nonexistent", 0, &p);
	assert_int_equal(p.slot, GANG_NONE);
	gang_leave("/nonexistent", &p);
}

static void test_full(void **state)
{
	static struct gang_place p[GANG_SLOTS + 1];

	for (uint32_t i = 0; i <= GANG_SLOTS; i++) {
		gang_join(dir, 1024, &p[i]);
		assert_int_equal(p[i].slot, i < GANG_SLOTS ? i : GANG_NONE);
	}
	assert_int_equal(p[GANG_SLOTS].fd, -1);
	for (uint32_t i = 0; i <= GANG_SLOTS; i++)
		gang_leave(dir, &p[i]);
}

/* ---- control groups ----------------------------------------------------------------------- */

/* A group below our own, for the processor; false: none can be made here. */
static bool make_group(char *path, size_t size, bool *ret_v1)
{
	static const char *const tops[] = {"/sys/fs/cgroup/cpu", "/sys/fs/cgroup"};
	char line[512], file_[700];
	struct stat st;

	for (int i = 0; i < 2; i++) {
		FILE *f = fopen("/proc/self/cgroup", "re");
		char own[256] = "";

		while (f && fgets(line, sizeof(line), f)) {
			char *names = strchr(line, ':') + 1, *where = strchr(names, ':');

			*where++ = '\0';
			where[strcspn(where, "\n")] = '\0';
			if (i == 0 ? strstr(names, "cpu") && !strstr(names, "cpuset") : !*names)
				snprintf(own, sizeof(own), "%s", where);
		}
		if (f)
			fclose(f);
		snprintf(path, size, "%s%s/pvv-test-%d", tops[i], own, (int)getpid());
		if (!*own || mkdir(path, 0755))
			continue;
		*ret_v1 = i == 0;
		snprintf(file_, sizeof(file_), "%s/%s", path, i ? "cpu.weight" : "cpu.shares");
		if (stat(file_, &st) == 0)
			return true;
		rmdir(path);
	}
	return false;
}

static void write_to(const char *dir_, const char *name, const char *text)
{
	char path[700];

	snprintf(path, sizeof(path), "%s/%s", dir_, name);
	FILE *f = fopen(path, "we");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static void test_read_group(void **state)
{
	struct gang_member own = {0}, m = {0};
	char path[512], text[32];
	bool v1;
	pid_t pid;

	gang_read_group(0, &own);
	gang_read_group(getpid(), &m);
	assert_int_equal(m.group, own.group);
	assert_int_equal(m.depth, own.depth);
	assert_true(m.group != 0 && own.depth <= GANG_LEVELS);
	if (!make_group(path, sizeof(path), &v1)) {
		print_message("skipped: no control group for the processor can be made here\n");
		return;
	}
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		for (;;)
			pause();
	snprintf(text, sizeof(text), "%d", (int)pid);
	write_to(path, "cgroup.procs", text);
	write_to(path, v1 ? "cpu.shares" : "cpu.weight", v1 ? "3072" : "300");
	gang_read_group(pid, &m);
	assert_true(m.group != own.group);
	assert_true(own.depth == 0 || m.depth == own.depth + 1);
	/* (one of those above it may have a limit, or it is too deep) */
	if (m.depth > 0) {
		assert_int_equal(m.level[m.depth - 1].id, m.group);
		assert_int_equal(m.level[m.depth - 1].weight, 3 * GANG_WEIGHT);
	} else {
		print_message("not looked at: the weight, for a group above has a limit\n");
	}
	/* One that has a limit stays out of turns with others. */
	write_to(path, v1 ? "cpu.cfs_quota_us" : "cpu.max", "50000");
	gang_read_group(pid, &m);
	assert_int_equal(m.depth, 0);
	assert_true(m.group != own.group);
	end(pid);
	assert_int_equal(rmdir(path), 0);
}

/* What K asks for is read when the doorbell rings, and not more often than once a second. */
static void test_heard(void **state)
{
	const off_t asks_at = offsetof(struct gang_claim, asks);
	struct gang_place p;
	struct gang_member m;
	uint64_t asks = 1;

	gang_join(dir, 0, &p);
	assert_true(p.fd >= 0);
	const off_t at = GANG_MEMBERS + (off_t)p.slot * (off_t)sizeof(m);
	const off_t read_at = at + (off_t)offsetof(struct gang_member, read);
	const uint64_t none = 0;

	assert_int_equal(pwrite(p.fd, &none, sizeof(none), read_at), sizeof(none));
	gang_heard(&p, getpid());
	assert_int_equal(pread(p.fd, &m, sizeof(m), at), sizeof(m));
	assert_int_equal(m.read, 0); /* it did not ask */
	p.heard = 0;
	assert_int_equal(
		pwrite(p.fd, &asks, sizeof(asks), GANG_CLAIMS + (off_t)p.slot * 4096 + asks_at),
		sizeof(asks));
	gang_heard(&p, getpid());
	assert_int_equal(pread(p.fd, &m, sizeof(m), at), sizeof(m));
	assert_true(m.read != 0 && m.used == 1 && m.cpu == ~0u && m.weight != 0);
	gang_leave(dir, &p);
	gang_heard(&p, getpid());
}

/* ---- another processor -------------------------------------------------------------------- */

static const uint64_t all_cpus[GANG_CPUS / 64] = {~0ull};

/* What is found when the three processors were idle for so many of the last hundred moments. */
static int find(struct gang_idle *g, const uint64_t *allowed, unsigned int cpu, const int idle[3])
{
	static unsigned int sum[3][2];
	FILE *f = fopen(file, "we");

	assert_non_null(f);
	fprintf(f, "cpu  1 2 3 4 5 6 7 8 0 0\n");
	for (int i = 0; i < 3; i++) {
		sum[i][0] += 100 - (unsigned int)idle[i];
		sum[i][1] += (unsigned int)idle[i];
		fprintf(f, "cpu%d %u 0 0 %u 0 0 0 0 0 0\n", i, sum[i][0], sum[i][1]);
	}
	fprintf(f, "intr 1 2 3\n");
	fclose(f);
	return gang_find_idle(g, file, allowed, cpu);
}

static void test_find_idle(void **state)
{
	static const int busy[] = {0, 0, 0}, one[] = {80, 2, 95}, some[] = {60, 0, 69};
	static const int itself[] = {90, 20, 90};
	static const uint64_t not_2[GANG_CPUS / 64] = {3}, none[GANG_CPUS / 64];
	static struct gang_idle g;
	const uint64_t second = 1ull << 31;

	memset(&g, 0, sizeof(g));
	assert_int_equal(find(&g, all_cpus, 1, one), -1); /* the first look */
	assert_int_equal(find(&g, all_cpus, 1, one), -1); /* too soon */
	g.since -= second;
	find(&g, all_cpus, 1, busy);
	g.since -= second;
	assert_int_equal(find(&g, all_cpus, 1, one), 2);
	g.since -= second;
	assert_int_equal(find(&g, not_2, 1, one), 0);
	g.since -= second;
	assert_int_equal(find(&g, none, 1, one), -1);
	g.since -= second;
	assert_int_equal(find(&g, all_cpus, 1, some), -1);
	g.since -= second;
	assert_int_equal(find(&g, all_cpus, 1, itself), -1); /* its own is not busy */
	g.since -= second;
	assert_int_equal(find(&g, all_cpus, 1, busy), -1);
	g.since -= second * 16; /* too long ago to say anything */
	assert_int_equal(find(&g, all_cpus, 1, one), -1);
	g.since -= second;
	assert_int_equal(gang_find_idle(&g, "/nonexistent", all_cpus, 1), -1);
}

/* A stand-in for K with its nursery and a guest's process: all of them go, or none. */
static void test_move(void **state)
{
	static struct gang_idle g;
	cpu_set_t before, set;
	struct gang_place p;
	int up[2], cpu = -1, other = -1;
	pid_t pid[3];
	uint32_t at;

	assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
	for (int i = CPU_SETSIZE; i--;)
		if (CPU_ISSET(i, &before))
			other = cpu, cpu = i;
	if (other < 0) {
		print_message("skipped: this needs two processors\n");
		return;
	}
	gang_join(dir, 0, &p);
	assert_true(p.fd >= 0);
	assert_int_equal(pipe(up), 0);
	pid[0] = fork();
	if (pid[0] == 0) {
		CPU_ZERO(&set);
		CPU_SET(cpu, &set);
		sched_setaffinity(0, sizeof(set), &set);
		for (int i = 1; i < 3; i++)
			if ((pid[i] = fork()) != 0)
				break;
		at = (uint32_t)getpid();
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (write(up[1], &at, sizeof(at)) != sizeof(at))
			_exit(1);
		for (;;)
			pause();
	}
	for (int i = 0; i < 3; i++) {
		assert_int_equal(read(up[0], &at, sizeof(at)), sizeof(at));
		pid[i] = (pid_t)at;
		if (i && pid[i] < pid[0]) /* (in whatever order they say so) */
			pid[i] = pid[0], pid[0] = (pid_t)at;
	}
	at = (uint32_t)cpu;
	const off_t cpu_at = GANG_MEMBERS + (off_t)p.slot * (off_t)sizeof(struct gang_member) +
			     (off_t)offsetof(struct gang_member, cpu);
	assert_int_equal(pwrite(p.fd, &at, sizeof(at), cpu_at), sizeof(at));
	assert_true(gang_bind(&p, pid[0], (unsigned int)cpu, (unsigned int)other));
	for (int i = 0; i < 3; i++) {
		assert_int_equal(sched_getaffinity(pid[i], sizeof(set), &set), 0);
		assert_true(CPU_COUNT(&set) == 1 && CPU_ISSET(other, &set));
	}
	assert_int_equal(pread(p.fd, &at, sizeof(at), cpu_at), sizeof(at));
	assert_int_equal(at, other);
	/* Where somebody else has bound it, it stays. */
	assert_int_equal(sched_setaffinity(pid[0], sizeof(before), &before), 0);
	assert_false(gang_move(&p, pid[0], all_cpus, &g));
	assert_int_equal(g.since, 0);
	close(up[0]);
	close(up[1]);
	end(pid[0]);
	gang_leave(dir, &p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_equal, fresh, gone),
		cmocka_unit_test_setup_teardown(test_weights, fresh, gone),
		cmocka_unit_test_setup_teardown(test_not_in_line, fresh, gone),
		cmocka_unit_test_setup_teardown(test_hostile, fresh, gone),
		cmocka_unit_test_setup_teardown(test_nonsense, fresh, gone),
		cmocka_unit_test_setup_teardown(test_groups, fresh, gone),
		cmocka_unit_test_setup_teardown(test_nested, fresh, gone),
		cmocka_unit_test_setup_teardown(test_elsewhere, fresh, gone),
		cmocka_unit_test_setup_teardown(test_unknown, fresh, gone),
		cmocka_unit_test_setup_teardown(test_too_many, fresh, gone),
		cmocka_unit_test_setup_teardown(test_programs, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_not_ours, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_full, make_dir, remove_dir),
		cmocka_unit_test(test_read_group),
		cmocka_unit_test_setup_teardown(test_find_idle, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_move, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_heard, make_dir, remove_dir),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
