/* SPDX-License-Identifier: MIT */
/* The library against a sandbox that has been taken over: see fake_exec.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <pvvirt/pvvirt.h>

#include "fake_exec.h"

static char disk_path[] = "/tmp/pvv-hostile-XXXXXX";
static char kernel_path[512];

static pvv_domain *make(pvv_host *host)
{
	pvv_domain_options o = PVV_DOMAIN_OPTIONS_INIT;
	pvv_disk_options disk = PVV_DISK_OPTIONS_INIT;
	pvv_domain *dom = NULL;

	disk.path = disk_path;
	o.name = "hostile";
	o.kernel = kernel_path;
	o.memory = 32ull << 20;
	o.disks = &disk;
	o.nr_disks = 1;
	assert_int_equal(pvv_domain_create(host, &o, 0, &dom), 0);
	return dom;
}

static void use(pvv_domain *dom, int rounds)
{
	pvv_domain_info info = {.size = sizeof(info)};
	pvv_domain_stats stats = {.size = sizeof(stats)};
	pvv_block_stats block = {.size = sizeof(block)};
	char buf[4096];
	int fd = -1;

	int st = PVV_DOMAIN_PAUSED; /* starting up */

	while (st == PVV_DOMAIN_PAUSED && pvv_domain_get_id(dom) < 0) {
		usleep(1000);
		assert_int_equal(pvv_domain_get_state(dom, &st, NULL), 0);
	}
	pvv_domain_open_console(dom, 0, PVV_CONSOLE_NONBLOCK, &fd);
	for (int i = 0; i < rounds; i++) {
		assert_int_equal(pvv_domain_get_info(dom, &info), 0);
		assert_true(info.memory <= info.max_memory);
		assert_int_equal(pvv_domain_get_stats(dom, 0, &stats), 0);
		pvv_domain_get_block_stats(dom, "xvda", 0, &block); /* not all have a disk */
		if (fd >= 0 && read(fd, buf, sizeof(buf)) < 0)
			usleep(100);
		if (fd >= 0 && send(fd, "ls\r", 3, MSG_NOSIGNAL) < 0)
			usleep(100);
		usleep(2000);
	}
	if (fd >= 0)
		close(fd);
}

static void test_garbage_everywhere(void **state)
{
	pvv_host *host = NULL;
	pvv_domain *dom;
	int st;

	assert_int_equal(pvv_host_open(0, &host), 0);
	dom = make(host);
	hostile_mode = HOSTILE_ALL;
	for (hostile_seed = 1; hostile_seed <= 8; hostile_seed++) {
		assert_int_equal(pvv_domain_start(dom, 0), 0);
		use(dom, 40);
		pvv_domain_shutdown(dom, 0);
		assert_int_equal(pvv_domain_get_state(dom, &st, NULL), 0);
		assert_int_equal(pvv_domain_destroy(dom, 0), 0);
	}
	assert_true(hostile_writes > 10000);
	pvv_domain_unref(dom);
	pvv_host_unref(host);
}

static void test_ends_of_any_kind(void **state)
{
	pvv_host *host = NULL;
	pvv_domain *dom;
	char *text;
	int ends = 0;

	assert_int_equal(pvv_host_open(0, &host), 0);
	dom = make(host);
	hostile_mode = HOSTILE_ENDS;
	for (hostile_seed = 100; hostile_seed < 130; hostile_seed++) {
		int st = 0;

		assert_int_equal(pvv_domain_start(dom, 0), 0);
		use(dom, 5);
		/* It may have ended, be restarting (a "reboot"), or run. */
		pvv_domain_destroy(dom, 0);
		assert_int_equal(pvv_domain_wait(dom, 10000, 0), 0);
		assert_int_equal(pvv_domain_get_state(dom, &st, NULL), 0);
		assert_int_equal(st, PVV_DOMAIN_SHUTOFF);
		/* Whatever the "monitor" wrote as its reason: text that cannot hurt a terminal. */
		assert_int_equal(pvv_domain_get_reason_text(dom, &text), 0);
		for (char *p = text; *p; p++)
			assert_in_range(*p, ' ', '~');
		ends += *text != 0;
		pvv_free(text);
	}
	assert_true(ends > 0);
	pvv_domain_unref(dom);
	pvv_host_unref(host);
}

static void test_pause(void **state)
{
	pvv_host *host = NULL;
	pvv_domain *dom;
	int state_now = 0, reason = 0;

	assert_int_equal(pvv_host_open(0, &host), 0);
	dom = make(host);
	/* One that never answers: an error that says so, in bounded time, and it runs on. */
	hostile_mode = HOSTILE_ALL;
	hostile_seed = 7;
	assert_int_equal(pvv_domain_start(dom, 0), 0);
	while (pvv_domain_get_id(dom) < 0)
		usleep(1000);
	assert_int_equal(pvv_domain_pause(dom, 0), PVV_ETIMEDOUT);
	assert_int_equal(pvv_domain_get_state(dom, &state_now, &reason), 0);
	assert_int_equal(state_now, PVV_DOMAIN_RUNNING);
	assert_int_equal(pvv_domain_resume(dom, 0), PVV_ESTATE);
	assert_int_equal(pvv_domain_destroy(dom, 0), 0);
	/* One that lies: the library believes it, and nothing worse happens. */
	hostile_mode = HOSTILE_POLITE_PAUSE;
	assert_int_equal(pvv_domain_start(dom, 0), 0);
	while (pvv_domain_get_id(dom) < 0)
		usleep(1000);
	for (int i = 0; i < 5; i++) {
		int ret = pvv_domain_pause(dom, 0);
		if (ret == 0)
			pvv_domain_resume(dom, 0);
	}
	pvv_domain_destroy(dom, 0);
	assert_int_equal(pvv_domain_wait(dom, 10000, 0), 0);
	pvv_domain_unref(dom);
	pvv_host_unref(host);
}

static void test_forbidden_system_call(void **state)
{
	pvv_host *host = NULL;
	pvv_domain *dom;
	char *text;
	int st = 0, reason = 0;

	assert_int_equal(pvv_host_open(0, &host), 0);
	dom = make(host);
	hostile_mode = HOSTILE_SYSCALL;
	hostile_seed = 3;
	assert_int_equal(pvv_domain_start(dom, 0), 0);
	assert_int_equal(pvv_domain_wait(dom, 10000, 0), 0);
	assert_int_equal(pvv_domain_get_state(dom, &st, &reason), 0);
	assert_int_equal(st, PVV_DOMAIN_SHUTOFF);
	assert_int_equal(reason, PVV_SHUTOFF_CRASHED);
	assert_int_equal(pvv_domain_get_reason_text(dom, &text), 0);
	assert_non_null(strstr(text, "made a system call that it may not make"));
	pvv_free(text);
	pvv_domain_unref(dom);
	pvv_host_unref(host);
}

/* It fills its tables with the host's memory. */
static void test_memory_hog(void **state)
{
	pvv_host *host = NULL;
	pvv_domain *dom;
	char *text;
	int st = 0, reason = 0;

	assert_int_equal(pvv_host_open(0, &host), 0);
	dom = make(host);
	hostile_mode = HOSTILE_ALL;
	hostile_seed = 9;
	__atomic_store_n(&hostile_overhead, 500ull << 20, __ATOMIC_RELAXED);
	assert_int_equal(pvv_domain_start(dom, 0), 0);
	assert_int_equal(pvv_domain_wait(dom, 1500, 0), PVV_ETIMEDOUT);
	__atomic_store_n(&hostile_overhead, 600ull << 20, __ATOMIC_RELAXED);
	assert_int_equal(pvv_domain_wait(dom, 20000, 0), 0);
	__atomic_store_n(&hostile_overhead, 0, __ATOMIC_RELAXED);
	assert_int_equal(pvv_domain_get_state(dom, &st, &reason), 0);
	assert_int_equal(st, PVV_DOMAIN_SHUTOFF);
	assert_int_equal(reason, PVV_SHUTOFF_CRASHED);
	assert_int_equal(pvv_domain_get_reason_text(dom, &text), 0);
	assert_non_null(strstr(text, "took 600 MiB of the host's memory"));
	pvv_free(text);
	pvv_domain_unref(dom);
	pvv_host_unref(host);
}

/* One bad neighbour: the others' verbs still work in bounded time. */
static void test_neighbours(void **state)
{
	pvv_host *host = NULL;
	pvv_domain *dom[4];

	assert_int_equal(pvv_host_open(0, &host), 0);
	hostile_mode = HOSTILE_ALL;
	for (int i = 0; i < 4; i++) {
		pvv_domain_options o = PVV_DOMAIN_OPTIONS_INIT;
		char name[16];

		snprintf(name, sizeof(name), "n%d", i);
		o.name = name;
		o.kernel = kernel_path;
		o.memory = 32ull << 20;
		assert_int_equal(pvv_domain_create(host, &o, 0, &dom[i]), 0);
		assert_int_equal(pvv_domain_start(dom[i], 0), 0);
	}
	for (int i = 0; i < 4; i++) {
		use(dom[i], 10);
		assert_int_equal(pvv_domain_destroy(dom[i], 0), 0);
		pvv_domain_unref(dom[i]);
	}
	pvv_host_unref(host);
}

/* vCPU n + 1 is asked for when the library has looked at the request for vCPU n, and is at it. */
static void test_starting_vcpus(void **state)
{
	pvv_domain_options o = PVV_DOMAIN_OPTIONS_INIT;
	pvv_host *host = NULL;
	pvv_domain *dom = NULL;

	o.name = "starts";
	o.kernel = kernel_path;
	o.memory = 32ull << 20;
	o.vcpus = 8;
	hostile_mode = FRIENDLY_STARTS;
	vcpus_started = 0;
	assert_int_equal(pvv_host_open(0, &host), 0);
	assert_int_equal(pvv_domain_create(host, &o, 0, &dom), 0);
	assert_int_equal(pvv_domain_start(dom, 0), 0);
	for (int i = 0; i < 10000 && __atomic_load_n(&vcpus_started, __ATOMIC_SEQ_CST) != 0xfe; i++)
		usleep(1000);
	assert_int_equal(vcpus_started, 0xfe);
	assert_int_equal(pvv_domain_destroy(dom, 0), 0);
	pvv_domain_unref(dom);
	pvv_host_unref(host);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_garbage_everywhere),
		cmocka_unit_test(test_ends_of_any_kind),
		cmocka_unit_test(test_pause),
		cmocka_unit_test(test_forbidden_system_call),
		cmocka_unit_test(test_memory_hog),
		cmocka_unit_test(test_neighbours),
		cmocka_unit_test(test_starting_vcpus),
	};
	int fd = mkstemp(disk_path), ret;

	if (fd < 0 || ftruncate(fd, 1 << 20))
		return 1;
	close(fd);
	snprintf(kernel_path, sizeof(kernel_path), "%s/hello.elf", getenv("PVV_TEST_GUESTS"));
	ret = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(disk_path);
	return ret;
}
