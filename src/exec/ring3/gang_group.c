/* SPDX-License-Identifier: MIT */
/*
 * The control groups of a vCPU, for gang.h: what each weighs next to those beside it, from the top
 * one on. The host's scheduler divides the time by these weights, and turns have to do the same.
 * They may change, and so may the group, so this is read again while somebody wants to know.
 */
#include "exec/ring3/gang.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <x86intrin.h>

#define WEIGHT_MAX (1u << 18) /* the most that version 1 takes */

struct tree {
	const char *top;
	const char *weight, *limit, *unlimited;
	uint32_t usual; /* the weight that a task has, too */
	char path[4096];
};

static uint64_t hash(uint64_t h, const void *data, size_t len)
{
	const unsigned char *p = data;

	while (len--)
		h = (h ^ *p++) * 0x100000001b3ull;
	return h;
}

#define HASH_START 0xcbf29ce484222325ull

static uint64_t hash_dir(const struct stat *st)
{
	return hash(hash(HASH_START, &st->st_dev, sizeof(st->st_dev)), &st->st_ino,
		    sizeof(st->st_ino));
}

/*
 * Where this process is in the tree that is about processors. Version 1 has a line with that
 * controller's name; else it is the line of version 2, which has none.
 */
static void find_tree(pid_t pid, struct tree *t)
{
	char line[4096], name[64] = "/proc/self/cgroup";
	FILE *f;

	*t = (struct tree){.top = "/sys/fs/cgroup",
			   .weight = "cpu.weight",
			   .limit = "cpu.max",
			   .unlimited = "max",
			   .usual = 100};
	if (pid > 0)
		snprintf(name, sizeof(name), "/proc/%d/cgroup", (int)pid);
	f = fopen(name, "re");
	while (f && fgets(line, sizeof(line), f)) {
		char *names = strchr(line, ':'), *where = names ? strchr(names + 1, ':') : NULL;

		if (!where)
			continue;
		*where++ = '\0';
		where[strcspn(where, "\n")] = '\0';
		names++;
		if (strcmp(names, "cpu") == 0 || strcmp(names, "cpu,cpuacct") == 0 ||
		    strcmp(names, "cpuacct,cpu") == 0) {
			*t = (struct tree){.top = "/sys/fs/cgroup/cpu",
					   .weight = "cpu.shares",
					   .limit = "cpu.cfs_quota_us",
					   .unlimited = "-1",
					   .usual = GANG_WEIGHT};
			snprintf(t->path, sizeof(t->path), "%s", where);
			break;
		}
		if (!*names)
			snprintf(t->path, sizeof(t->path), "%s", where);
	}
	if (f)
		fclose(f);
}

static bool first_word(const char *dir, const char *file, char *ret, size_t size)
{
	char path[4300];
	FILE *f;
	bool ok;

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	f = fopen(path, "re");
	if (!f)
		return false;
	ok = fgets(ret, (int)size, f) != NULL;
	fclose(f);
	if (ok)
		ret[strcspn(ret, " \n")] = '\0';
	return ok;
}

/* A group that may not use all of its part, or only what nobody else wants: no turns with others.
 */
static bool is_limited(const struct tree *t, const char *dir)
{
	char word[64];

	return (first_word(dir, t->limit, word, sizeof(word)) && strcmp(word, t->unlimited) != 0) ||
	       (first_word(dir, "cpu.idle", word, sizeof(word)) && strcmp(word, "0") != 0);
}

static uint32_t weight_of(const struct tree *t, const char *dir)
{
	char word[64];
	uint64_t weight;

	if (!first_word(dir, t->weight, word, sizeof(word)))
		return 0;
	weight = strtoull(word, NULL, 10) * GANG_WEIGHT / t->usual;
	return weight < WEIGHT_MAX ? (uint32_t)weight : WEIGHT_MAX;
}

/* There each session is a group of its own, with a niceness of its own. */
static bool has_autogroups(void)
{
	char word[64];

	return first_word("/proc/sys/kernel", "sched_autogroup_enabled", word, sizeof(word)) &&
	       strcmp(word, "0") != 0;
}

void gang_read_group(pid_t pid, struct gang_member *m)
{
	char dir[4200];
	struct tree t;
	struct stat st;
	size_t len;
	char *at;
	bool known;

	memset(m->level, 0, sizeof(m->level));
	m->depth = 0;
	m->read = __rdtsc();
	find_tree(pid, &t);
	snprintf(dir, sizeof(dir), "%s", t.top);
	len = strlen(dir);
	/* The same name in another namespace is another group. */
	known = stat(dir, &st) == 0 && !strstr(t.path, "..");
	if (!known && stat("/proc/self/ns/cgroup", &st))
		memset(&st, 0, sizeof(st));
	m->group = hash(hash_dir(&st), t.path, known ? 0 : strlen(t.path));
	if (!known)
		return;
	m->level[m->depth++].id = m->group;
	for (at = t.path; *at;) {
		size_t part;
		uint32_t weight;

		at += strspn(at, "/");
		part = strcspn(at, "/");
		if (part == 0)
			break;
		len += (size_t)snprintf(dir + len, sizeof(dir) - len, "/%.*s", (int)part, at);
		at += part;
		weight = weight_of(&t, dir);
		/* (where the controller is not, what is below belongs to the group above it) */
		if (!weight || stat(dir, &st))
			break;
		m->group = hash_dir(&st);
		known &= m->depth < GANG_LEVELS && !is_limited(&t, dir);
		if (known)
			m->level[m->depth++] =
				(struct gang_level){.id = m->group, .weight = weight};
	}
	if (!known || (m->depth == 1 && has_autogroups()))
		m->depth = 0;
}
