/* SPDX-License-Identifier: MIT */
/* What is true when PVV_EVENT_STOPPED is there: the state is final, the domain may start again. */
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "common.h"

#define ROUNDS 25

/* The next event as soon as it is there: polling in between would hide what comes a moment later.
 */
static pvv_event *next_event(pvv_host *host)
{
	pvv_event *e = NULL;
	struct pollfd p = {pvv_host_fd(host), POLLIN, 0};

	assert_int_equal(poll(&p, 1, 20000), 1);
	assert_int_equal(pvv_event_next(host, 0, &e), 1);
	return e;
}

/* Until the domain has stopped; the detail. */
static int wait_stopped(pvv_host *host)
{
	for (;;) {
		pvv_event *e = next_event(host);
		pvv_event_type type = pvv_event_get_type(e);
		int detail = pvv_event_get_detail(e);

		pvv_event_free(e);
		if (type == PVV_EVENT_STOPPED)
			return detail;
	}
}

static void test_starts_again_at_once(void **state)
{
	pvv_host *host = open_host();
	pvv_domain *dom = make_domain(host, "again", guest_path("hello"));

	ok(pvv_domain_start(dom, 0));
	for (int i = 0; i < ROUNDS; i++) {
		assert_int_equal(wait_stopped(host), PVV_EVENT_STOPPED_SHUTDOWN);
		assert_state(dom, PVV_DOMAIN_SHUTOFF, PVV_SHUTOFF_SHUTDOWN);
		assert_int_equal(pvv_domain_get_id(dom), -1);
		ok(pvv_domain_start(dom, 0));
	}
	ok(pvv_domain_wait(dom, 20000, 0));
	pvv_domain_unref(dom);
	pvv_host_unref(host);
}

struct restarter {
	pvv_domain *dom;
	int stopped, started, out_of_order;
};

static void on_event(pvv_host *host, const pvv_event *e, void *opaque)
{
	struct restarter *r = opaque;

	if (pvv_event_get_type(e) == PVV_EVENT_STARTED)
		r->out_of_order += ++r->started != r->stopped + 1;
	if (pvv_event_get_type(e) != PVV_EVENT_STOPPED)
		return;
	if (++r->stopped < ROUNDS)
		ok(pvv_domain_start(r->dom, 0));
}

static void test_starts_from_the_callback(void **state)
{
	pvv_host *host = open_host();
	struct restarter r = {.dom = make_domain(host, "callback", guest_path("hello"))};
	struct pollfd p = {pvv_host_fd(host), POLLIN, 0};

	ok(pvv_host_set_event_callback(host, on_event, &r));
	ok(pvv_domain_start(r.dom, 0));
	while (r.stopped < ROUNDS) {
		assert_int_equal(poll(&p, 1, 20000), 1);
		assert_true(pvv_dispatch(host, 0) > 0);
	}
	assert_int_equal(r.started, ROUNDS);
	assert_int_equal(r.out_of_order, 0);
	assert_state(r.dom, PVV_DOMAIN_SHUTOFF, PVV_SHUTOFF_SHUTDOWN);
	pvv_domain_unref(r.dom);
	pvv_host_unref(host);
}

/* The event is there when the wait is over: who waits first and looks then misses none. */
static void test_waiting_then_looking(void **state)
{
	pvv_host *host = open_host();
	pvv_domain *dom = make_domain(host, "wait", guest_path("hello"));
	pvv_event *e;

	for (int i = 0; i < ROUNDS; i++) {
		int stopped = 0;

		ok(pvv_domain_start(dom, 0));
		ok(pvv_domain_wait(dom, 20000, 0));
		while (pvv_event_next(host, 0, &e) == 1) {
			stopped += pvv_event_get_type(e) == PVV_EVENT_STOPPED;
			pvv_event_free(e);
		}
		assert_int_equal(stopped, 1);
	}
	pvv_domain_unref(dom);
	pvv_host_unref(host);
}

static void test_preserved(void **state)
{
	pvv_host *host = open_host();
	pvv_domain_options o = PVV_DOMAIN_OPTIONS_INIT;
	pvv_domain *dom = NULL;

	o.name = "preserved";
	o.kernel = guest_path("end-ud");
	o.memory = 64ull << 20;
	o.on_crash = PVV_ACTION_PRESERVE;
	ok(pvv_domain_create(host, &o, 0, &dom));
	for (int i = 0; i < 3; i++) {
		ok(pvv_domain_start(dom, 0));
		assert_int_equal(wait_stopped(host), PVV_EVENT_STOPPED_CRASHED);
		assert_state(dom, PVV_DOMAIN_CRASHED, PVV_CRASHED_PANICKED);
		assert_code(pvv_domain_start(dom, 0), PVV_ESTATE);
		ok(pvv_domain_destroy(dom, 0));
		assert_state(dom, PVV_DOMAIN_SHUTOFF, PVV_SHUTOFF_DESTROYED);
	}
	pvv_domain_unref(dom);
	pvv_host_unref(host);
}

/* A pseudo terminal lingers for those who have it open, and has no name for others by then. */
static void test_console_path(void **state)
{
	pvv_host *host = open_host();
	pvv_domain_options o = PVV_DOMAIN_OPTIONS_INIT;
	pvv_domain *dom = NULL;
	char *path = NULL;
	int fd;

	o.name = "pty";
	o.kernel = grub_or_skip();
	o.memory = 64ull << 20;
	o.console = PVV_CONSOLE_PTY;
	ok(pvv_domain_create(host, &o, 0, &dom));
	for (int i = 0; i < 2; i++) {
		assert_code(pvv_domain_get_console_path(dom, 0, &path), PVV_ENOENT);
		assert_null(path);
		assert_non_null(strstr(pvv_error_get_message(pvv_error_last()), "active"));
		ok(pvv_domain_start(dom, 0));
		while (pvv_domain_get_id(dom) < 0)
			usleep(1000);
		ok(pvv_domain_get_console_path(dom, 0, &path));
		fd = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
		assert_true(fd >= 0);
		pvv_free(path);
		/* What it prints from now on nobody has read when it ends. */
		struct pollfd p = {fd, POLLIN, 0};
		assert_int_equal(poll(&p, 1, 20000), 1);
		ok(pvv_domain_destroy(dom, 0));
		assert_code(pvv_domain_get_console_path(dom, 0, &path), PVV_ENOENT);
		assert_null(path);
		/* And it still can be read. */
		char c;
		assert_int_equal(read(fd, &c, 1), 1);
		close(fd);
	}
	assert_code(pvv_domain_get_console_path(dom, 1, &path), PVV_ENOENT);
	assert_non_null(strstr(pvv_error_get_message(pvv_error_last()), "no console 1"));
	pvv_domain_unref(dom);
	pvv_host_unref(host);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_starts_again_at_once),
		cmocka_unit_test(test_starts_from_the_callback),
		cmocka_unit_test(test_waiting_then_looking),
		cmocka_unit_test(test_preserved),
		cmocka_unit_test(test_console_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
