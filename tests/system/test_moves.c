/* SPDX-License-Identifier: MIT */
/*
 * A vCPU that has to share its processor goes to an idle one (adr/0015), and nowhere else.
 *
 * Real domains, real turns and the real limits of time; only what the machine says about its
 * processors is this test's, for nobody can order an idle one. So it runs in a mount namespace of
 * its own with another /proc/stat: one processor was always busy, the other never. /dev/shm is its
 * own as well, so that other domains of this user take no part.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common.h"
#include "exec/ring3/gang.h"

#define MANY 5

static int busy = -1, idle = -1; /* two processors that this program may use */
static char stat_file[] = "/dev/shm/pvv-moves.stat";

static void bind_thread(pid_t tid, int a, int b)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(a, &set);
	CPU_SET(b, &set);
	assert_int_equal(sched_setaffinity(tid, sizeof(set), &set), 0);
}

static void assert_bound(pid_t pid, int cpu)
{
	cpu_set_t set;

	assert_int_equal(sched_getaffinity(pid, sizeof(set), &set), 0);
	assert_int_equal(CPU_COUNT(&set), 1);
	assert_true(CPU_ISSET(cpu, &set));
}

/* Ten times a second, so that any half a second has some of it. */
static void *write_stat(void *opaque)
{
	char text[4096];

	for (unsigned int ticks = 0;; ticks += 10) {
		int len = snprintf(text, sizeof(text), "cpu  1 2 3 4 5 6 7 8 0 0\n");
		int fd = open(stat_file, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

		for (int i = 0; i < CPU_SETSIZE && len < 4000; i++)
			if (i == busy || i == idle)
				len += snprintf(text + len, sizeof(text) - (size_t)len,
						"cpu%d %010u 0 0 %010u 0 0 0 0 0 0\n", i,
						i == busy ? ticks : 0, i == idle ? ticks : 0);
		if (fd < 0 || write(fd, text, (size_t)len) != len)
			abort();
		close(fd);
		if (opaque)
			return NULL;
		usleep(100000);
	}
}

static bool put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ret = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return ret;
}

/* Its own /dev/shm and /proc/stat; false: this machine does not let it. */
static bool own_namespace(void)
{
	uid_t uid = geteuid();
	char map[64];

	if (unshare(CLONE_NEWNS)) {
		if (unshare(CLONE_NEWUSER | CLONE_NEWNS))
			return false;
		snprintf(map, sizeof(map), "%u %u 1", uid, uid);
		if (!put("/proc/self/uid_map", map))
			return false;
	}
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("none", "/dev/shm", "tmpfs", 0, NULL))
		return false;
	write_stat("once");
	return mount(stat_file, "/proc/stat", NULL, MS_BIND, NULL) == 0;
}

static int set_up(void **state)
{
	cpu_set_t set;
	pthread_t t;

	assert_int_equal(sched_getaffinity(0, sizeof(set), &set), 0);
	for (int i = 0; i < CPU_SETSIZE && idle < 0; i++)
		if (CPU_ISSET(i, &set))
			*(busy < 0 ? &busy : &idle) = i;
	if (idle < 0) {
		print_message("skipped: this needs two processors\n");
		exit(77);
	}
	if (!own_namespace()) {
		print_message("skipped: no mount namespace with another /proc/stat here: %s\n",
			      strerror(errno));
		exit(77);
	}
	return pthread_create(&t, NULL, write_stat, NULL);
}

struct guest {
	pvv_domain *dom;
	pid_t monitor;
	uint32_t slot;
	int fd;
};

/* The process of that name among the children of any thread. */
static pid_t find_monitor(const char *name)
{
	DIR *d = opendir("/proc/self/task");
	pid_t found = -1;

	assert_non_null(d);
	for (struct dirent *e; (e = readdir(d));) {
		char path[300], list[4096] = "", comm[32], wanted[32];
		FILE *f;

		snprintf(wanted, sizeof(wanted), "pvv:%s\n", name);
		snprintf(path, sizeof(path), "/proc/self/task/%s/children", e->d_name);
		f = fopen(path, "re");
		if (!f || !fgets(list, sizeof(list), f))
			*list = '\0';
		if (f)
			fclose(f);
		for (char *p = strtok(list, " "); p; p = strtok(NULL, " ")) {
			snprintf(path, sizeof(path), "/proc/%s/comm", p);
			f = fopen(path, "re");
			if (f && fgets(comm, sizeof(comm), f) && !strcmp(comm, wanted))
				found = atoi(p);
			if (f)
				fclose(f);
		}
	}
	closedir(d);
	assert_true(found > 0);
	return found;
}

/* Computing; `extra` goes into <domain>. */
static struct guest begin(pvv_host *host, const char *name, const char *extra)
{
	struct guest g = {0};
	char *xml;

	assert_true(asprintf(&xml,
			     "<domain type='xen'><name>%s</name><memory unit='MiB'>16</memory>"
			     "<os><type>linux</type><kernel>%s</kernel></os>%s</domain>",
			     name, guest_path("agent"), extra) > 0);
	ok(pvv_domain_create_xml(host, xml, 0, &g.dom));
	free(xml);
	ok(pvv_domain_open_console(g.dom, 0, 0, &g.fd));
	ok(pvv_domain_start(g.dom, 0));
	assert_true(read_until(g.fd, "ready", 60000, NULL, 0));
	g.monitor = find_monitor(name);
	assert_bound(g.monitor, busy);
	type(g.fd, "compute\n");
	return g;
}

static void end(struct guest *g)
{
	ok(pvv_domain_destroy(g->dom, 0));
	close(g->fd);
	pvv_domain_unref(g->dom);
}

static uint64_t moves(struct guest *g)
{
	pvv_domain_stats s = {.size = sizeof(s)};

	ok(pvv_domain_get_stats(g->dom, 0, &s));
	return s.cpu_moves;
}

/* How often the vCPU with that place on the board has said that it shares its processor. */
static uint64_t asked(uint32_t slot)
{
	char path[64];
	uint64_t n = 0;
	int fd;

	snprintf(path, sizeof(path), "/dev/shm/pvvirt-turns.2.%u", geteuid());
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(
		pread(fd, &n, sizeof(n),
		      GANG_CLAIMS + (off_t)slot * 4096 + (off_t)offsetof(struct gang_claim, asks)),
		sizeof(n));
	close(fd);
	return n;
}

/* Until the vCPU has said so `more` times. (They do all 1.4 s, if they have the processor.) */
static void wait_for_asks(uint32_t slot, uint64_t more)
{
	uint64_t from = asked(slot);

	for (int i = 0; asked(slot) < from + more; i++) {
		assert_true(i < 1000);
		usleep(100000);
	}
}

/* K, its nursery and what that made: all are there. */
static void assert_all_bound(pid_t pid, int cpu)
{
	char path[64], list[16384] = "";
	FILE *f;

	assert_bound(pid, cpu);
	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid, (int)pid);
	f = fopen(path, "re");
	assert_non_null(f);
	if (!fgets(list, sizeof(list), f))
		*list = '\0';
	fclose(f);
	for (char *p = list, *next; *p; p = next) {
		pid_t child = (pid_t)strtol(p, &next, 10);

		if (next == p)
			break;
		assert_all_bound(child, cpu);
	}
}

/* The threads of the library that exist, or this one and what it makes. */
static void allow(bool threads, int a, int b)
{
	DIR *d = opendir("/proc/self/task");

	assert_non_null(d);
	for (struct dirent *e; threads && (e = readdir(d));)
		if (e->d_name[0] != '.')
			bind_thread(atoi(e->d_name), a, b);
	closedir(d);
	bind_thread(0, a, b);
}

static void test_who_may_goes(void **state)
{
	struct guest g[MANY];
	char pinned[100];
	pvv_host *host;

	/* All of them start on the busy one, and only then may use the other. */
	allow(false, busy, busy);
	host = open_host();
	snprintf(pinned, sizeof(pinned), "<vcpu cpuset='%d'>1</vcpu>", busy);
	g[0] = begin(host, "pinned", pinned);
	g[1] = begin(host, "pinned2", pinned);
	g[2] = begin(host, "touched", "");
	g[3] = begin(host, "free", "");
	g[4] = begin(host, "free2", "");
	bind_thread(g[2].monitor, busy, idle); /* somebody else has decided where that may run */
	allow(true, busy, idle);

	for (int i = 0; moves(&g[3]) + moves(&g[4]) < 2; i++) {
		assert_true(i < 1000);
		usleep(100000);
	}
	assert_all_bound(g[3].monitor, idle);
	assert_all_bound(g[4].monitor, idle);
	/* The two that are bound go on sharing theirs, and saying so. */
	wait_for_asks(0, 4);
	wait_for_asks(1, 1);
	for (int i = 0; i < MANY; i++)
		assert_int_equal(moves(&g[i]), i >= 3);
	assert_all_bound(g[0].monitor, busy);
	assert_all_bound(g[1].monitor, busy);
	for (int i = 0; i < MANY; i++)
		end(&g[i]);
	pvv_host_unref(host);
}

/* Both where they are busy. */
static pvv_host *begin_two(struct guest g[2])
{
	pvv_host *host;

	allow(false, busy, busy);
	host = open_host();
	g[0] = begin(host, "one", "");
	g[1] = begin(host, "two", "");
	return host;
}

/* One that goes leaves the other alone, and then there is nothing to look for. */
static void test_one_of_two(void **state)
{
	struct guest g[2];
	pvv_host *host = begin_two(g);

	allow(true, busy, idle);
	for (int i = 0; moves(&g[0]) + moves(&g[1]) < 1; i++) {
		assert_true(i < 1000);
		usleep(100000);
	}
	uint64_t asks = asked(0) + asked(1);
	sleep(6);
	assert_true(asked(0) + asked(1) <= asks + 2);
	assert_int_equal(moves(&g[0]) + moves(&g[1]), 1);
	bool first = moves(&g[0]) == 1;
	assert_all_bound(g[0].monitor, first ? idle : busy);
	assert_all_bound(g[1].monitor, first ? busy : idle);
	end(&g[0]);
	end(&g[1]);
	pvv_host_unref(host);
}

/* The program was bound to that processor, by itself or by who started it. */
static void test_program_is_bound(void **state)
{
	struct guest g[2];
	pvv_host *host = begin_two(g);

	wait_for_asks(0, 4);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(moves(&g[i]), 0);
		assert_all_bound(g[i].monitor, busy);
		end(&g[i]);
	}
	pvv_host_unref(host);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_who_may_goes),
		cmocka_unit_test(test_one_of_two),
		cmocka_unit_test(test_program_is_bound),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
