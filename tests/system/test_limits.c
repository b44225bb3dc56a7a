/* SPDX-License-Identifier: MIT */
/*
 * A host that has run out of something, at every step of a start: descriptors, address space,
 * memory. The start fails with a sentence, nothing is left, and the same domain starts when there
 * is room again.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

static void drain_events(pvv_host *host)
{
	pvv_event *e;

	while (pvv_event_next(host, 0, &e) == 1)
		pvv_event_free(e);
}

static char disk_path[] = "/tmp/pvv-limits-XXXXXX";

static pvv_domain *make_with_disk(pvv_host *host)
{
	pvv_domain_options o = PVV_DOMAIN_OPTIONS_INIT;
	pvv_disk_options disk = PVV_DISK_OPTIONS_INIT;
	pvv_domain *dom = NULL;

	disk.path = disk_path;
	o.name = "limited";
	o.kernel = guest_path("hello");
	o.memory = 32ull << 20;
	o.disks = &disk;
	o.nr_disks = 1;
	o.console = PVV_CONSOLE_PTY;
	ok(pvv_domain_create(host, &o, 0, &dom));
	return dom;
}

/* One start; 0 if the guest ran and powered off, else it failed as it should. */
static int attempt(pvv_host *host, pvv_domain *dom)
{
	int ret = pvv_domain_start(dom, 0), st, reason;
	char *text = NULL;

	if (ret < 0) {
		assert_true(strlen(pvv_error_get_message(pvv_error_last())) > 10);
		assert_int_equal(pvv_error_get_code(pvv_error_last()), ret);
		if (ret != PVV_ESYS && ret != PVV_ENOMEM)
			print_error("%s\n", pvv_error_get_message(pvv_error_last()));
		assert_true(ret == PVV_ESYS || ret == PVV_ENOMEM);
		if (ret == PVV_ESYS)
			assert_true(pvv_error_get_os_errno(pvv_error_last()) != 0);
		ok(pvv_domain_wait(dom, 0, 0)); /* as if nothing had been */
		return ret;
	}
	ok(pvv_domain_wait(dom, 20000, 0));
	ok(pvv_domain_get_state(dom, &st, &reason));
	assert_int_equal(st, PVV_DOMAIN_SHUTOFF);
	drain_events(host);
	if (reason == PVV_SHUTOFF_SHUTDOWN)
		return 0;
	/* For want of memory for the sentence it may be missing, for want of descriptors not. */
	if (pvv_domain_get_reason_text(dom, &text) == 0) {
		if (reason != PVV_SHUTOFF_FAILED || strlen(text) < 11)
			print_error("reason %d: '%s'\n", reason, text);
		assert_int_equal(reason, PVV_SHUTOFF_FAILED);
		assert_true(strlen(text) > 10);
		pvv_free(text);
	}
	return PVV_ESYS;
}

static void test_descriptors(void **state)
{
	pvv_host *host = open_host();
	pvv_domain *dom = make_with_disk(host);
	struct rlimit old, low;
	unsigned int fds, failed = 0, first_good = 0;

	assert_int_equal(attempt(host, dom), 0);
	fds = count_dir("/proc/self/fd");
	getrlimit(RLIMIT_NOFILE, &old);
	low = old;
	for (unsigned int limit = 1; limit < 64; limit++) {
		low.rlim_cur = limit;
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
		int ret = attempt(host, dom);
		setrlimit(RLIMIT_NOFILE, &old);
		assert_int_equal(count_dir("/proc/self/fd"), fds);
		if (ret < 0) {
			failed++;
			assert_int_equal(first_good, 0); /* more is never worse */
		} else if (!first_good) {
			first_good = limit;
		}
	}
	assert_true(failed > 5 && first_good > 5);
	assert_int_equal(waitpid(-1, NULL, WNOHANG | __WALL), -1);
	assert_int_equal(attempt(host, dom), 0);
	pvv_domain_unref(dom);
	pvv_host_unref(host);
}

/* The same for handles and consoles. */
static void test_descriptors_for_handles(void **state)
{
	struct rlimit old, low;
	unsigned int fds = count_dir("/proc/self/fd"), failed = 0;

	getrlimit(RLIMIT_NOFILE, &old);
	low = old;
	for (unsigned int limit = 1; limit < 24; limit++) {
		pvv_host *host = NULL;
		pvv_domain *dom = NULL;
		int fd = -1, ret;

		low.rlim_cur = limit;
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
		ret = pvv_host_open(0, &host);
		if (ret < 0) {
			assert_null(host);
			assert_int_equal(ret, PVV_ESYS);
			assert_int_equal(pvv_error_get_os_errno(pvv_error_last()), EMFILE);
			failed++;
		} else {
			dom = make_domain(host, "x", "/k");
			ret = pvv_domain_open_console(dom, 0, 0, &fd);
			if (ret < 0) {
				assert_int_equal(ret, PVV_ESYS);
				assert_int_equal(pvv_error_get_os_errno(pvv_error_last()), EMFILE);
				assert_int_equal(fd, -1);
				failed++;
			} else {
				close(fd);
			}
		}
		setrlimit(RLIMIT_NOFILE, &old);
		pvv_domain_unref(dom);
		pvv_host_unref(host);
		assert_int_equal(count_dir("/proc/self/fd"), fds);
	}
	assert_true(failed >= 4);
}

/* What a domain had goes in a thread of its own: the least that is seen in a while. */
static unsigned int settled_fds(void)
{
	unsigned int least = count_dir("/proc/self/fd");

	for (int i = 0; i < 25; i++) {
		unsigned int now = count_dir("/proc/self/fd");

		least = now < least ? now : least;
		usleep(20000);
	}
	return least;
}

/* In a child, since address space cannot be given back for sure. */
static void in_child(void (*fn)(void))
{
	int status;

	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		fn();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static unsigned long address_space(void)
{
	unsigned long pages = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%lu", &pages), 1);
	fclose(f);
	return pages * 4096;
}

static void limited_address_space(void)
{
	pvv_host *host = open_host();
	pvv_domain *dom = make_with_disk(host);
	struct rlimit old, low;
	unsigned int failed = 0, fds;

	assert_int_equal(attempt(host, dom), 0);
	fds = settled_fds();
	getrlimit(RLIMIT_AS, &old);
	/* From hardly anything to enough for the library, but not for a sandbox of some 20 GiB. */
	for (unsigned long more = 64 << 10; more < 4ul << 30; more = more * 3 / 2) {
		low = old;
		low.rlim_cur = address_space() + more;
		assert_int_equal(setrlimit(RLIMIT_AS, &low), 0);
		failed += attempt(host, dom) < 0;
		setrlimit(RLIMIT_AS, &old);
		for (int i = 0; i < 100 && count_dir("/proc/self/fd") != fds; i++)
			usleep(20000);
		assert_int_equal(count_dir("/proc/self/fd"), fds);
	}
	assert_true(failed > 10);
	assert_int_equal(attempt(host, dom), 0);
	pvv_domain_unref(dom);
	pvv_host_unref(host);
}

static void test_address_space(void **state)
{
	if (SANITIZED) {
		print_message("skipped: a sanitizer needs the address space for itself\n");
		skip();
	}
	in_child(limited_address_space);
}

/* ---- memory: the n-th allocation of the program fails ---- */

#if !SANITIZED
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t m, size_t n);
void *__libc_realloc(void *p, size_t n);

static int countdown; /* 0: none fails; else that one and all behind it, until set to 0 */
static uint32_t refused;

static bool refuse(void)
{
	int left = __atomic_load_n(&countdown, __ATOMIC_RELAXED);

	if (left <= 0)
		return false;
	if (__atomic_sub_fetch(&countdown, 1, __ATOMIC_RELAXED) > 0)
		return false;
	/* One failure: what was allocated before must be found again by the error paths. */
	__atomic_add_fetch(&refused, 1, __ATOMIC_RELAXED);
	errno = ENOMEM;
	return true;
}

void *malloc(size_t n)
{
	return refuse() ? NULL : __libc_malloc(n);
}

void *calloc(size_t m, size_t n)
{
	return refuse() ? NULL : __libc_calloc(m, n);
}

void *realloc(void *p, size_t n)
{
	return refuse() ? NULL : __libc_realloc(p, n);
}

static void test_allocations(void **state)
{
	pvv_host *host = open_host();
	pvv_domain *dom = make_with_disk(host);
	unsigned int fds, failed = 0, passed = 0;
	int n;

	for (int i = 0; i < 3; i++)
		assert_int_equal(attempt(host, dom), 0);
	fds = settled_fds();
	for (n = 1; n < 2000; n++) {
		uint32_t before = refused;
		int ret, reason = 0;
		char *text = NULL;

		__atomic_store_n(&countdown, n, __ATOMIC_RELAXED);
		ret = pvv_domain_start(dom, 0);
		if (ret == 0)
			ok(pvv_domain_wait(dom, 20000, 0));
		__atomic_store_n(&countdown, 0, __ATOMIC_RELAXED);
		if (refused == before)
			break; /* fewer allocations than that: all were tried */
		if (ret < 0) {
			assert_true(strlen(pvv_error_get_message(pvv_error_last())) > 10);
			failed++;
		} else {
			ok(pvv_domain_get_state(dom, NULL, &reason));
			ok(pvv_domain_get_reason_text(dom, &text));
			/* Some can be done without (a message); then it ran. */
			if (reason != PVV_SHUTOFF_SHUTDOWN) {
				if (reason != PVV_SHUTOFF_FAILED || strlen(text) < 11)
					print_error("n %d: reason %d '%s'\n", n, reason, text);
				assert_int_equal(reason, PVV_SHUTOFF_FAILED);
				assert_true(strlen(text) > 10);
				failed++;
			} else {
				passed++;
			}
			pvv_free(text);
		}
		drain_events(host);
		for (int i = 0; i < 100 && count_dir("/proc/self/fd") != fds; i++)
			usleep(20000);
		assert_int_equal(count_dir("/proc/self/fd"), fds);
	}
	print_message("%d allocations: %u ended the start, %u did not matter\n", n - 1, failed,
		      passed);
	assert_true(failed > 20);
	assert_int_equal(attempt(host, dom), 0);
	pvv_domain_unref(dom);
	pvv_host_unref(host);
}

/* Making things: handles, domains by options and by XML, changes, descriptions. */
static void test_allocations_of_objects(void **state)
{
	static const char xml[] =
		"<domain type='xen'><name>x</name><memory unit='MiB'>64</memory><os><type "
		"machine='xenpv'>linux</type><kernel>/k</kernel></os><devices><disk type='file' "
		"device='disk'><source file='/d'/><target dev='xvda'/></disk><sound "
		"model='ich6'/></devices></domain>";
	unsigned int fds = count_dir("/proc/self/fd");
	int n;

	for (n = 1; n < 5000; n++) {
		uint32_t before = refused;
		pvv_host *host = NULL;
		pvv_domain *dom = NULL, *two = NULL;
		pvv_domain_options o = PVV_DOMAIN_OPTIONS_INIT;
		char *text = NULL;
		int ret;

		o.name = "two";
		o.kernel = "/k";
		__atomic_store_n(&countdown, n, __ATOMIC_RELAXED);
		ret = pvv_host_open(0, &host);
		if (!ret)
			ret = pvv_domain_create_xml(host, xml, 0, &dom);
		if (!ret)
			ret = pvv_domain_create(host, &o, 0, &two);
		if (!ret)
			ret = pvv_domain_set_console(dom, 0, PVV_CONSOLE_UNIX, "/tmp/x", 0);
		if (!ret)
			ret = pvv_domain_set_executor(two, 1, 0);
		if (!ret)
			ret = pvv_domain_get_xml(dom, 0, &text);
		pvv_free(text);
		text = NULL;
		if (!ret)
			ret = pvv_host_get_capabilities(host, 0, &text);
		pvv_free(text);
		text = NULL;
		if (!ret)
			ret = pvv_domain_get_warnings(dom, &text);
		pvv_free(text);
		__atomic_store_n(&countdown, 0, __ATOMIC_RELAXED);
		if (ret < 0 && ret != PVV_ENOMEM && ret != PVV_ESYS)
			print_error("n %d: %s\n", n, pvv_error_get_message(pvv_error_last()));
		assert_true(ret == 0 || ret == PVV_ENOMEM || ret == PVV_ESYS);
		pvv_domain_unref(dom);
		pvv_domain_unref(two);
		pvv_host_unref(host);
		assert_int_equal(count_dir("/proc/self/fd"), fds);
		if (refused == before)
			break;
	}
	print_message("%d allocations\n", n - 1);
	assert_in_range(n, 50, 4999);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_descriptors),
		cmocka_unit_test(test_descriptors_for_handles),
		cmocka_unit_test(test_address_space),
#if !SANITIZED
		cmocka_unit_test(test_allocations),
		cmocka_unit_test(test_allocations_of_objects),
#endif
	};
	int fd = mkstemp(disk_path), ret;

	if (fd < 0 || ftruncate(fd, 1 << 20))
		return 1;
	close(fd);
	if (SANITIZED)
		print_message("without failing allocations: the sanitizer has its own allocator\n");
	ret = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(disk_path);
	return ret;
}
