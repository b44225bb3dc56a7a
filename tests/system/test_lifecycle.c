/* SPDX-License-Identifier: MIT */
/* States, reasons and events of domains that power off, crash, reboot, are paused and destroyed. */
#include <poll.h>
#include <unistd.h>

#include "common.h"

/* The events of a domain so far, as "started shutdown stopped(0)". */
static void collect(pvv_host *host, char *buf, size_t size)
{
	pvv_event *e;
	size_t n = 0;

	buf[0] = '\0';
	while (pvv_event_next(host, 0, &e) == 1) {
		n += (size_t)snprintf(buf + n, size - n, "%s%s(%d)", n ? " " : "",
				      pvv_event_type_name((int)pvv_event_get_type(e)),
				      pvv_event_get_detail(e));
		pvv_event_free(e);
	}
}

static void test_power_off(void **state)
{
	pvv_host *host = open_host();
	pvv_domain *dom = make_domain(host, "off", guest_path("hello"));
	char events[256], seen[4096];
	int fd;

	assert_state(dom, PVV_DOMAIN_SHUTOFF, PVV_SHUTOFF_UNKNOWN);
	ok(pvv_domain_open_console(dom, 0, 0, &fd));
	ok(pvv_domain_start(dom, 0));
	assert_true(read_until(fd, "Hello", 10000, seen, sizeof(seen)));
	ok(pvv_domain_wait(dom, 10000, 0));
	assert_state(dom, PVV_DOMAIN_SHUTOFF, PVV_SHUTOFF_SHUTDOWN);
	collect(host, events, sizeof(events));
	assert_string_equal(events, "started(0) shutdown(0) stopped(0)");
	close(fd);
	pvv_domain_unref(dom);
	pvv_host_unref(host);
}

/* Who decides what follows a reboot has to know that it was one. */
static void test_reboot_is_told_from_power_off(void **state)
{
	pvv_host *host = open_host();
	pvv_domain_options o = PVV_DOMAIN_OPTIONS_INIT;
	pvv_domain *dom;
	char events[256];

	o.name = "reboot";
	o.kernel = guest_path("end-reboot");
	o.memory = 64ull << 20;
	o.on_reboot = PVV_ACTION_DESTROY;
	ok(pvv_domain_create(host, &o, 0, &dom));
	ok(pvv_domain_start(dom, 0));
	ok(pvv_domain_wait(dom, 10000, 0));
	collect(host, events, sizeof(events));
	assert_string_equal(events, "started(0) shutdown(100) stopped(0)");
	pvv_domain_unref(dom);
	pvv_host_unref(host);
}

static void test_start_again(void **state)
{
	pvv_host *host = open_host();
	pvv_domain *dom = make_domain(host, "again", guest_path("hello"));

	for (int i = 0; i < 5; i++) {
		ok(pvv_domain_start(dom, 0));
		ok(pvv_domain_wait(dom, 10000, 0));
		assert_state(dom, PVV_DOMAIN_SHUTOFF, PVV_SHUTOFF_SHUTDOWN);
	}
	pvv_domain_unref(dom);
	pvv_host_unref(host);
}

static void test_destroy_at_any_time(void **state)
{
	pvv_host *host = open_host();
	pvv_domain *dom = make_domain(host, "destroy", grub_or_skip());

	for (int us = 0; us < 60000; us += 4000) {
		ok(pvv_domain_start(dom, 0));
		usleep((useconds_t)us);
		ok(pvv_domain_destroy(dom, 0));
		assert_state(dom, PVV_DOMAIN_SHUTOFF, PVV_SHUTOFF_DESTROYED);
	}
	assert_code(pvv_domain_destroy(dom, 0), PVV_ESTATE);
	pvv_domain_unref(dom);
	pvv_host_unref(host);
}

static void test_pause_resume(void **state)
{
	pvv_host *host = open_host();
	pvv_domain *dom = make_domain(host, "pause", grub_or_skip());
	pvv_domain_stats a = {.size = sizeof(a)}, b = {.size = sizeof(b)};
	char events[2048];
	int fd;

	assert_code(pvv_domain_pause(dom, 0), PVV_ESTATE);
	ok(pvv_domain_open_console(dom, 0, 0, &fd));
	ok(pvv_domain_start(dom, 0));
	assert_true(read_until(fd, "grub> ", 20000, NULL, 0));
	for (int i = 0; i < 20; i++) {
		ok(pvv_domain_pause(dom, 0));
		assert_state(dom, PVV_DOMAIN_PAUSED, PVV_PAUSED_USER);
		ok(pvv_domain_resume(dom, 0));
		assert_state(dom, PVV_DOMAIN_RUNNING, PVV_RUNNING_UNPAUSED);
	}
	ok(pvv_domain_pause(dom, 0));
	ok(pvv_domain_pause(dom, 0)); /* of a paused one */
	/* Nothing runs: no hypercall is made however long we look. */
	ok(pvv_domain_get_stats(dom, 0, &a));
	usleep(100000);
	ok(pvv_domain_get_stats(dom, 0, &b));
	assert_true(a.hypercalls == b.hypercalls);
	assert_true(a.hypercalls > 0);
	ok(pvv_domain_resume(dom, 0));
	assert_code(pvv_domain_resume(dom, 0), PVV_ESTATE);
	/* And it is still the same guest. */
	type(fd, "echo still here\r");
	assert_true(read_until(fd, "still here", 10000, NULL, 0));
	type(fd, "halt\r");
	ok(pvv_domain_wait(dom, 10000, 0));
	assert_state(dom, PVV_DOMAIN_SHUTOFF, PVV_SHUTOFF_SHUTDOWN);
	collect(host, events, sizeof(events));
	assert_non_null(strstr(events, "started(0) suspended(0) resumed(0) suspended(0)"));
	close(fd);
	pvv_domain_unref(dom);
	pvv_host_unref(host);
}

/* It is up and has printed nothing; resumed, it says hello and ends. */
static void is_paused_and_says_hello_then(pvv_domain *dom, int fd)
{
	int st = 0;
	char c;

	for (int i = 0; i < 1000 && pvv_domain_get_id(dom) < 0; i++)
		usleep(5000);
	usleep(50000);
	ok(pvv_domain_get_state(dom, &st, NULL));
	assert_int_equal(st, PVV_DOMAIN_PAUSED);
	assert_true(read(fd, &c, 1) < 0); /* nothing was printed */
	ok(pvv_domain_resume(dom, 0));
	assert_true(read_until(fd, "Hello", 10000, NULL, 0));
	ok(pvv_domain_wait(dom, 10000, 0));
}

static void test_start_paused(void **state)
{
	pvv_host *host = open_host();
	pvv_domain *dom = make_domain(host, "held", guest_path("hello"));
	int fd;

	ok(pvv_domain_open_console(dom, 0, PVV_CONSOLE_NONBLOCK, &fd));
	ok(pvv_domain_start(dom, PVV_START_PAUSED));
	is_paused_and_says_hello_then(dom, fd);
	close(fd);
	pvv_domain_unref(dom);
	pvv_host_unref(host);
}

/* A program need not wait until the guest is up: what it asks for at once is what it gets. */
static void test_pause_and_resume_at_once(void **state)
{
	pvv_host *host = open_host();
	pvv_domain *dom = make_domain(host, "hasty", guest_path("hello"));
	int fd;
	char c;

	for (int i = 0; i < 20; i++) {
		ok(pvv_domain_start(dom, PVV_START_PAUSED));
		ok(pvv_domain_resume(dom, 0));
		ok(pvv_domain_wait(dom, 20000, 0));
		assert_state(dom, PVV_DOMAIN_SHUTOFF, PVV_SHUTOFF_SHUTDOWN);
	}
	ok(pvv_domain_open_console(dom, 0, PVV_CONSOLE_NONBLOCK, &fd));
	while (read(fd, &c, 1) > 0)
		; /* what the earlier ones printed */
	ok(pvv_domain_start(dom, PVV_START_PAUSED));
	ok(pvv_domain_pause(dom, 0));
	ok(pvv_domain_resume(dom, 0));
	ok(pvv_domain_pause(dom, 0));
	is_paused_and_says_hello_then(dom, fd);
	close(fd);
	pvv_domain_unref(dom);
	pvv_host_unref(host);
}

static void test_missing_kernel(void **state)
{
	pvv_host *host = open_host();
	pvv_domain *dom = make_domain(host, "missing", "/nonexistent/kernel");

	assert_code(pvv_domain_start(dom, 0), PVV_ENOENT);
	assert_non_null(strstr(pvv_error_get_message(pvv_error_last()), "/nonexistent/kernel"));
	assert_state(dom, PVV_DOMAIN_SHUTOFF, PVV_SHUTOFF_UNKNOWN);
	pvv_domain_unref(dom);
	pvv_host_unref(host);
}

static void test_bad_image(void **state)
{
	pvv_host *host = open_host();
	pvv_domain *dom = make_domain(host, "bad", "/bin/sh");
	char *text;

	ok(pvv_domain_start(dom, 0)); /* a file is there; what is in it comes out later */
	ok(pvv_domain_wait(dom, 10000, 0));
	assert_state(dom, PVV_DOMAIN_SHUTOFF, PVV_SHUTOFF_FAILED);
	ok(pvv_domain_get_reason_text(dom, &text));
	assert_non_null(strstr(text, "/bin/sh"));
	pvv_free(text);
	pvv_domain_unref(dom);
	pvv_host_unref(host);
}

static void test_autodestroy(void **state)
{
	pvv_host *host = open_host();
	pvv_domain *dom = make_domain(host, "auto", grub_or_skip()), *again;

	ok(pvv_domain_start(dom, PVV_START_AUTODESTROY));
	pvv_domain_unref(dom);
	assert_code(pvv_host_lookup_domain(host, "auto", &again), PVV_ENOENT);
	pvv_host_unref(host);
}

static void test_unref_does_not_stop(void **state)
{
	pvv_host *host = open_host();
	pvv_domain *dom = make_domain(host, "leaked", grub_or_skip()), *again;

	ok(pvv_domain_start(dom, 0));
	pvv_domain_unref(dom);
	ok(pvv_host_lookup_domain(host, "leaked", &again));
	int st = 0;
	for (int i = 0; i < 1000 && st != PVV_DOMAIN_RUNNING; i++) {
		ok(pvv_domain_get_state(again, &st, NULL));
		usleep(5000);
	}
	assert_int_equal(st, PVV_DOMAIN_RUNNING);
	ok(pvv_domain_destroy(again, 0));
	pvv_domain_unref(again);
	pvv_host_unref(host);
}

static void test_names_are_unique(void **state)
{
	pvv_host *host = open_host();
	pvv_domain *dom = make_domain(host, "one", "/k"), *two = NULL;
	pvv_domain_options o = PVV_DOMAIN_OPTIONS_INIT;

	o.name = "one";
	o.kernel = "/k";
	assert_code(pvv_domain_create(host, &o, 0, &two), PVV_EEXIST);
	assert_null(two);
	pvv_domain_unref(dom);
	ok(pvv_domain_create(host, &o, 0, &two)); /* the name is free again */
	pvv_domain_unref(two);
	pvv_host_unref(host);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_power_off),
		cmocka_unit_test(test_start_again),
		cmocka_unit_test(test_destroy_at_any_time),
		cmocka_unit_test(test_pause_resume),
		cmocka_unit_test(test_start_paused),
		cmocka_unit_test(test_pause_and_resume_at_once),
		cmocka_unit_test(test_missing_kernel),
		cmocka_unit_test(test_bad_image),
		cmocka_unit_test(test_autodestroy),
		cmocka_unit_test(test_unref_does_not_stop),
		cmocka_unit_test(test_names_are_unique),
		cmocka_unit_test(test_reboot_is_told_from_power_off),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
