// SPDX-License-Identifier: MIT
/*
 * Writes to a file system and says what the kernel acknowledged: the guest's half of crash.py.
 *
 *   writer write DIR SEED   for ever: a slot of a file is overwritten in place, fsync, and a line
 * says so writer check DIR	     what every slot holds
 *
 * Lines: `try FILE SLOT SEQ` before a write, `ack FILE SLOT SEQ` when fsync has returned, `has FILE
 * SLOT SEQ`, or `torn FILE SLOT` if a slot is none of what was written there. All bytes of a slot
 * follow from the three numbers.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define FILES	4
#define WRITERS 2
#define SLOTS	64
#define WORDS	2048 /* 16 KiB: several pages, so that a write can be torn */

static uint64_t slot[WORDS], seen[WORDS];

static void fill(unsigned int file, unsigned int nr, uint64_t seq)
{
	uint64_t x = (seq + 1) * 0x9e3779b97f4a7c15ull ^ file << 16 ^ nr;

	slot[0] = seq;
	for (unsigned int i = 1; i < WORDS; i++) {
		x = x * 6364136223846793005ull + 1442695040888963407ull;
		slot[i] = x;
	}
}

static int fail(const char *what)
{
	perror(what);
	return 1;
}

static int open_file(const char *dir, unsigned int file)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/file%u", dir, file);
	return open(path, O_RDWR | O_CREAT, 0600);
}

static void say(const char *what, unsigned int file, unsigned int nr, uint64_t seq)
{
	char line[80];
	int n = snprintf(line, sizeof(line), "%s %u %u %llu\n", what, file, nr,
			 (unsigned long long)seq);

	if (write(1, line, (size_t)n) != n)
		_exit(1);
}

static int write_for_ever(const char *dir, unsigned int writer, unsigned int round)
{
	unsigned int seed = round * WRITERS + writer;
	unsigned int mine = FILES / WRITERS;
	int fd[FILES];

	for (unsigned int i = 0; i < mine; i++)
		if ((fd[i] = open_file(dir, writer * mine + i)) < 0)
			return fail(dir);
	for (uint64_t seq = 1;; seq++) {
		unsigned int i = (unsigned int)rand_r(&seed) % mine, file = writer * mine + i;
		unsigned int nr = (unsigned int)rand_r(&seed) % SLOTS;

		fill(file, nr, seq + ((uint64_t)round << 32));
		if (pwrite(fd[i], slot, sizeof(slot), (off_t)(nr * sizeof(slot))) != sizeof(slot) ||
		    fsync(fd[i]))
			return fail("writing");
		say("ack", file, nr, slot[0]);
	}
}

static int check(const char *dir)
{
	for (unsigned int file = 0; file < FILES; file++) {
		int fd = open_file(dir, file);

		if (fd < 0)
			return fail(dir);
		for (unsigned int nr = 0; nr < SLOTS; nr++) {
			ssize_t n = pread(fd, seen, sizeof(seen), (off_t)(nr * sizeof(seen)));

			if (n < 0)
				return fail("reading");
			if (n != sizeof(seen) || !seen[0])
				continue; /* nothing was written here */
			fill(file, nr, seen[0]);
			if (memcmp(slot, seen, sizeof(slot)))
				say("torn", file, nr, 0);
			else
				say("has", file, nr, seen[0]);
		}
		close(fd);
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "check"))
		return check(argv[2]);
	if (argc != 4 || strcmp(argv[1], "write")) {
		fprintf(stderr, "usage: writer write DIR ROUND | writer check DIR\n");
		return 2;
	}
	for (unsigned int w = 1; w < WRITERS; w++)
		if (!fork())
			return write_for_ever(argv[2], w, (unsigned int)atoi(argv[3]));
	return write_for_ever(argv[2], 0, (unsigned int)atoi(argv[3]));
}
