/* SPDX-License-Identifier: MIT */
/* Many domains in one program, and many lives one after the other. */
#include <dirent.h>
#include <malloc.h>
#include <unistd.h>

#include "common.h"

#define DOMAINS 50

static void test_fifty_at_once(void **state)
{
	const char *grub = grub_or_skip();
	pvv_host *host = open_host();
	pvv_domain *dom[DOMAINS];
	int fd[DOMAINS];
	char name[32];

	for (int i = 0; i < DOMAINS; i++) {
		snprintf(name, sizeof(name), "many%d", i);
		dom[i] = make_domain(host, name, grub);
		ok(pvv_domain_open_console(dom[i], 0, 0, &fd[i]));
		ok(pvv_domain_start(dom[i], 0));
	}
	for (int i = 0; i < DOMAINS; i++)
		assert_true(read_until(fd[i], "grub> ", 60000, NULL, 0));
	/* Each is a machine of its own. */
	for (int i = 0; i < DOMAINS; i++) {
		snprintf(name, sizeof(name), "echo I am number %d\r", i);
		type(fd[i], name);
	}
	for (int i = 0; i < DOMAINS; i++) {
		snprintf(name, sizeof(name), "I am number %d", i);
		assert_true(read_until(fd[i], name, 20000, NULL, 0));
		type(fd[i], "halt\r");
	}
	for (int i = 0; i < DOMAINS; i++) {
		ok(pvv_domain_wait(dom[i], 20000, 0));
		assert_state(dom[i], PVV_DOMAIN_SHUTOFF, PVV_SHUTOFF_SHUTDOWN);
		close(fd[i]);
		pvv_domain_unref(dom[i]);
	}
	pvv_host_unref(host);
}

static unsigned int count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned int n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static unsigned long rss_kib(void)
{
	unsigned long size, rss;
	FILE *f = fopen("/proc/self/statm", "re");

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%lu %lu", &size, &rss), 2);
	fclose(f);
	return rss * 4;
}

#ifdef __SANITIZE_ADDRESS__ /* (not every compiler comes with its headers) */
size_t __sanitizer_get_current_allocated_bytes(void);
#endif

/* Bytes that the program itself has from malloc(), the library's included. */
static size_t heap_in_use(void)
{
#ifdef __SANITIZE_ADDRESS__ /* which has a heap of its own */
	return __sanitizer_get_current_allocated_bytes();
#else
	struct mallinfo2 m = mallinfo2();

	return m.uordblks + m.hblkhd;
#endif
}

/* PVV_TEST_CYCLES=1000 for the long run; CI does fewer. */
static void test_cycles(void **state)
{
	const char *env = getenv("PVV_TEST_CYCLES");
	int cycles = env ? atoi(env) : 100;
	pvv_host *host = open_host();
	pvv_domain *dom = make_domain(host, "cycle", guest_path("hello"));
	unsigned int fds = 0;
	unsigned long rss = 0;
	size_t heap = 0;

	for (int i = 0; i < cycles; i++) {
		ok(pvv_domain_start(dom, 0));
		if (i % 2) {
			usleep((useconds_t)(i * 37 % 5000));
			int ret = pvv_domain_destroy(dom, 0);
			assert_true(ret == 0 || ret == PVV_ESTATE); /* it may have been faster */
		}
		ok(pvv_domain_wait(dom, 20000, 0));
		pvv_event *e;
		while (pvv_event_next(host, 0, &e) == 1)
			pvv_event_free(e);
		if (i == 20) {
			fds = count_fds();
			rss = rss_kib();
			heap = heap_in_use();
		}
	}
	if (cycles > 21) {
		assert_int_equal(count_fds(), fds);
		/* Room for the allocator, none for a leak per cycle. */
#ifdef __SANITIZE_ADDRESS__
		/* (it keeps what was freed, so the process grows) */
		assert_in_range(heap_in_use(), 1, heap + (64 << 10));
		(void)rss;
#else
		assert_in_range(rss_kib(), 1, rss + 2048);
		(void)heap;
#endif
	}
	pvv_domain_unref(dom);
	pvv_host_unref(host);
}

/*
 * A domain takes little of the program's own heap: what is large, and mostly never touched, comes
 * from the kernel. After one has ended, for malloc() changes its ways with what is freed.
 */
static void test_heap(void **state)
{
	enum { NR = 8 };
	pvv_host *host = open_host();
	pvv_domain *dom[NR];
	size_t before = 0;
	char name[32];

	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < NR; i++) {
			snprintf(name, sizeof(name), "heap%d", i);
			dom[i] = make_domain(host, name, guest_path("echo"));
			ok(pvv_domain_start(dom[i], PVV_START_PAUSED));
		}
		for (int i = 0; i < NR; i++)
			while (pvv_domain_get_id(dom[i]) < 0)
				usleep(1000);
		if (round > 0)
			assert_in_range(heap_in_use(), 0, before + NR * (200 << 10));
		for (int i = 0; i < NR; i++) {
			ok(pvv_domain_destroy(dom[i], 0));
			pvv_domain_unref(dom[i]);
		}
		before = heap_in_use();
	}
	pvv_host_unref(host);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fifty_at_once),
		cmocka_unit_test(test_cycles),
		cmocka_unit_test(test_heap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
