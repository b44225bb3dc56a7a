/* SPDX-License-Identifier: MIT */
/*
 * The library against a virtual machine whose ring 0 is hostile: image.c stands in the monitor's
 * place. Whatever it does, the host program goes on: verbs answer in bounded time, the end has a
 * reason that can be printed, and afterwards nothing is left - no thread, descriptor, mapping, and
 * no processor time.
 *
 *   test_kvm_hostile [ATTACK]
 */
#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common.h"

enum outcome {
	ENDS, /* by itself, with this reason */
	RUNS, /* until it is destroyed */
	ANY,  /* one of the two */
};

static const struct attack {
	const char *name;
	enum outcome outcome;
	const char *reason;
	bool idle; /* takes no processor time while it runs */
} attacks[] = {
	{"garbage", RUNS},
	{"garbage-ends", ANY},
	{"states", ANY},
	{"reason", ENDS},
	{"port-unknown", ENDS, "unknown I/O port"},
	{"port-in", ENDS, "in a way it may not"},
	{"port-byte", ENDS, "in a way it may not"},
	{"port-string", ENDS},
	{"discards", ENDS, "the monitor gave up"},
	{"endless-exits", RUNS},
	{"endless-doorbells", RUNS},
	{"xcr0", ENDS, "XCR0"},
	{"mmio-write", ENDS, "memory that is not there"},
	{"mmio-read", ENDS, "memory that is not there"},
	{"mmio-execute", ENDS},
	{"mmio-apic-page", ENDS},
	{"triple-fault", ENDS, "exception that it could not handle"},
	{"wild-root", ENDS},
	{"wild-tables", ANY},
	{"halted", RUNS, .idle = true},
	{"spinning", RUNS},
	{"msrs", ANY},
	{"interrupts", ANY},
	{"instructions", ANY},
	{"debug-registers", ANY},
	{"code-breakpoints", ANY},
	{"hypercalls", ENDS, "the monitor gave up"},
	{"real-mode", ANY},
	{"memory", ENDS, "the monitor gave up"},
};

static pvv_host *host;
static char disk_path[] = "/tmp/pvv-hostile-XXXXXX";

/* $PVV_TEST_SLOW: how much longer anything may take (an emulated machine). */
static uint64_t seconds(uint64_t s)
{
	const char *slow = getenv("PVV_TEST_SLOW");

	return s * 1000000000u * (slow ? strtoull(slow, NULL, 10) : 1);
}

static unsigned int vcpu_threads(void)
{
	DIR *d = opendir("/proc/self/task");
	unsigned int n = 0;

	assert_non_null(d);
	for (struct dirent *e; (e = readdir(d));) {
		char path[300], name[32] = "";
		snprintf(path, sizeof(path), "/proc/self/task/%s/comm", e->d_name);
		FILE *f = fopen(path, "re");

		if (f && fgets(name, sizeof(name), f))
			n += strncmp(name, "pvv-vcpu", 8) == 0;
		if (f)
			fclose(f);
	}
	closedir(d);
	return n;
}

static uint64_t ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/*
 * How late a thread is woken that only sleeps, in all: what the machine had no time for. It is
 * taken from what a verb has needed.
 */
#define NAP_NS 10000000u
static atomic_uint_fast64_t late;

static void *sleeper(void *opaque)
{
	for (;;) {
		uint64_t start = ns(CLOCK_MONOTONIC), took;

		usleep(NAP_NS / 1000);
		took = ns(CLOCK_MONOTONIC) - start;
		atomic_fetch_add(&late, took > NAP_NS ? took - NAP_NS : 0);
	}
	return NULL;
}

struct since {
	uint64_t start, late;
};

static struct since now(void)
{
	return (struct since){ns(CLOCK_MONOTONIC), atomic_load(&late)};
}

static uint64_t took(struct since s)
{
	uint64_t all = ns(CLOCK_MONOTONIC) - s.start, missed = atomic_load(&late) - s.late;

	return all > missed ? all - missed : 0;
}

static pvv_domain *make(const char *attack, bool with_disk)
{
	pvv_domain_options o = PVV_DOMAIN_OPTIONS_INIT;
	pvv_disk_options disk = PVV_DISK_OPTIONS_INIT;
	pvv_domain *dom = NULL;

	disk.path = disk_path;
	o.name = attack;
	o.kernel = guest_path("hello");
	o.cmdline = attack;
	o.memory = 32ull << 20;
	o.vcpus = 2;
	o.executor = 2;
	o.disks = &disk;
	o.nr_disks = with_disk;
	ok(pvv_domain_create(host, &o, 0, &dom));
	return dom;
}

/* What a program does with a domain: none of it may hang, or believe nonsense. */
static void use(pvv_domain *dom)
{
	pvv_domain_info info = {.size = sizeof(info)};
	pvv_domain_stats stats = {.size = sizeof(stats)};
	pvv_block_stats block = {.size = sizeof(block)};
	char buf[4096];
	int fd = -1;

	pvv_domain_open_console(dom, 0, PVV_CONSOLE_NONBLOCK, &fd);
	for (int i = 0; i < 6; i++) {
		struct since before = now();

		ok(pvv_domain_get_info(dom, &info));
		assert_true(info.memory <= info.max_memory);
		if (pvv_domain_get_stats(dom, 0, &stats) >= 0)
			assert_true(stats.resident_memory <= 64ull << 20);
		pvv_domain_get_block_stats(dom, "xvda", 0, &block);
		assert_true(took(before) < seconds(5));
		if (fd >= 0 && read(fd, buf, sizeof(buf)) < 0)
			usleep(100);
		if (fd >= 0 && send(fd, "ls\r", 3, MSG_NOSIGNAL) < 0)
			usleep(100);
		usleep(20000);
	}
	if (fd >= 0)
		close(fd);
	pvv_domain_shutdown(dom, 0);
}

static void check_end(const struct attack *a, pvv_domain *dom)
{
	int st = -1, why = -1;
	char *text;

	ok(pvv_domain_get_state(dom, &st, &why));
	assert_int_equal(st, PVV_DOMAIN_SHUTOFF);
	ok(pvv_domain_get_reason_text(dom, &text));
	print_message("  %s: %d: %s\n", a->name, why, text);
	for (char *p = text; *p; p++)
		assert_in_range(*p, ' ', '~');
	if (a->outcome == ENDS) {
		assert_int_equal(why, PVV_SHUTOFF_CRASHED);
		assert_true(*text != 0);
	}
	if (a->reason)
		assert_non_null(strstr(text, a->reason));
	pvv_free(text);
}

/* A monitor may say now and then that it is paused: that is its own affair. */
static void seen_running(pvv_domain *dom)
{
	int st = -1, why;

	for (int i = 0; i < 200 && st != PVV_DOMAIN_RUNNING; i++) {
		ok(pvv_domain_get_state(dom, &st, &why));
		assert_int_not_equal(st, PVV_DOMAIN_SHUTOFF);
		if (st != PVV_DOMAIN_RUNNING)
			usleep(20000);
	}
	assert_int_equal(st, PVV_DOMAIN_RUNNING);
}

static void attack(const struct attack *a)
{
	pvv_domain *dom = make(a->name, true);
	struct since start;
	uint64_t cpu;

	ok(pvv_domain_start(dom, 0));
	if (a->outcome == ENDS) {
		ok(pvv_domain_wait(dom, (int)(seconds(60) / 1000000), 0));
	} else {
		use(dom);
		if (a->outcome == RUNS)
			seen_running(dom);
		cpu = ns(CLOCK_PROCESS_CPUTIME_ID);
		usleep(100000);
		cpu = ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
		if (a->idle)
			assert_true(cpu < 50000000);
		else if (a->outcome == RUNS)
			assert_true(cpu > 1000000);
		start = now();
		pvv_domain_destroy(dom, 0); /* has perhaps ended already */
		ok(pvv_domain_wait(dom, (int)(seconds(20) / 1000000), 0));
		assert_true(took(start) < seconds(10));
	}
	check_end(a, dom);
	pvv_domain_unref(dom);
}

static void test_attack(void **state)
{
	const struct attack *a = *state;
	unsigned int fds, maps, tasks;

	/* Once to have what the library makes once. */
	attack(a);
	usleep(50000);
	fds = count_dir("/proc/self/fd");
	tasks = count_dir("/proc/self/task");
	maps = count_dir("/proc/self/map_files");
	attack(a);
	for (int i = 0; vcpu_threads() && i < 100; i++)
		usleep(20000);
	assert_int_equal(vcpu_threads(), 0);
	/* The memory goes in a thread of its own. */
	for (int i = 0; i < 100 && (count_dir("/proc/self/map_files") > maps ||
				    count_dir("/proc/self/fd") > fds);
	     i++)
		usleep(20000);
	assert_true(count_dir("/proc/self/fd") <= fds);
	assert_true(count_dir("/proc/self/task") <= tasks);
	assert_true(count_dir("/proc/self/map_files") <= maps);

	uint64_t cpu = ns(CLOCK_PROCESS_CPUTIME_ID);
	usleep(100000);
	assert_true(ns(CLOCK_PROCESS_CPUTIME_ID) - cpu < 50000000);
}

/* One that does its worst beside one that is asked for something all the time. */
static void test_neighbours(void **state)
{
	pvv_domain *bad[3], *other;
	static const char *const names[] = {"endless-doorbells", "garbage", "endless-exits"};

	for (int i = 0; i < 3; i++) {
		bad[i] = make(names[i], i == 1);
		ok(pvv_domain_start(bad[i], 0));
	}
	other = make("halted", false);
	ok(pvv_domain_start(other, 0));
	use(other);
	assert_state(other, PVV_DOMAIN_RUNNING, PVV_RUNNING_BOOTED);
	ok(pvv_domain_destroy(other, 0));
	pvv_domain_unref(other);
	for (int i = 0; i < 3; i++) {
		ok(pvv_domain_destroy(bad[i], 0));
		pvv_domain_unref(bad[i]);
	}
	assert_int_equal(vcpu_threads(), 0);
}

#define NR (sizeof(attacks) / sizeof(attacks[0]))

int main(int argc, char **argv)
{
	struct CMUnitTest tests[NR + 1];
	int fd = mkstemp(disk_path), ret;
	pthread_t thread;

	if (fd < 0 || ftruncate(fd, 1 << 20))
		return 1;
	close(fd);
	for (size_t i = 0; i < NR; i++)
		tests[i] = (struct CMUnitTest){.name = attacks[i].name,
					       .test_func = test_attack,
					       .initial_state = (void *)&attacks[i]};
	tests[NR] = (struct CMUnitTest){.name = "neighbours", .test_func = test_neighbours};
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	if (argc > 2) /* all but */
		cmocka_set_skip_filter(argv[2]);
	assert_int_equal(pthread_create(&thread, NULL, sleeper, NULL), 0);
	host = open_host();
	ret = cmocka_run_group_tests(tests, NULL, NULL);
	pvv_host_unref(host);
	unlink(disk_path);
	return ret;
}
