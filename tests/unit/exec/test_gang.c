/* SPDX-License-Identifier: MIT */
/* Turns on a processor (exec/ring3/gang.h): whose it is, and the board of several programs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
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

	snprintf(file, sizeof(file), "%s/pvvirt-turns.1.%u", dir, (unsigned int)geteuid());
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_equal, fresh, gone),
		cmocka_unit_test_setup_teardown(test_weights, fresh, gone),
		cmocka_unit_test_setup_teardown(test_not_in_line, fresh, gone),
		cmocka_unit_test_setup_teardown(test_hostile, fresh, gone),
		cmocka_unit_test_setup_teardown(test_too_many, fresh, gone),
		cmocka_unit_test_setup_teardown(test_programs, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_not_ours, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_full, make_dir, remove_dir),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
